/* Models in one line, for tests. */
#ifndef TESTS_MODELS_MADE_H
#define TESTS_MODELS_MADE_H

#include "models/model.h"
#include "tests/check.h"

#include <stdlib.h>

/* Models live until the program ends. */
static nn_model test_models_made[512];
static int test_models_count;

static void test_models_release(void)
{
    while (test_models_count > 0)
        nn_model_release(&test_models_made[--test_models_count]);
}

static inline nn_model test_model(const nn_options *o)
{
    nn_model m;
    ag_error err = { 0 };
    ck_assert_msg(nn_model_init(&m, o, &err) == AG_OK, "%s", err.message);
    ck_assert_int_lt(test_models_count, 512);
    if (test_models_count == 0)
        atexit(test_models_release);
    test_models_made[test_models_count++] = m;
    return m;
}

#endif
