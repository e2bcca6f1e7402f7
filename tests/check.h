/* What every test file shares: Check, a main for one suite, and comparison by relative error.
 *
 *     START_TEST(a_sentence_about_what_holds) { ... } END_TEST
 *     TEST_MAIN(a_sentence_about_what_holds, another_one)
 */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Valgrind is fifty times slower and looks for other faults: fewer repetitions will do there. */
static inline bool test_under_valgrind(void)
{
    return getenv("CK_RUN_UNDER_VALGRIND") != NULL;
}

/* |a - b| <= tolerance * max(1, |a|, |b|); false for NaN. */
static inline int test_close(double a, double b, double tolerance)
{
    return fabs(a - b) <= tolerance * fmax(1.0, fmax(fabs(a), fabs(b)));
}

/* ck_assert_msg for inner loops: Check writes to a file at each of its own assertions, kept or not. */
#define expect(cond, ...)               \
    do {                                \
        if (!(cond))                    \
            ck_abort_msg(__VA_ARGS__);  \
    } while (0)

#define ck_close(a, b, tolerance)                                                                      \
    do {                                                                                               \
        double ck_a_ = (a), ck_b_ = (b);                                                               \
        expect(test_close(ck_a_, ck_b_, tolerance), "%s = %.10g, %s = %.10g", #a, ck_a_, #b, ck_b_);   \
    } while (0)

static inline int test_run(const char *name, const TTest *const *tests, int n, double timeout)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, timeout);
    for (int i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#define TEST_MAIN(...)                                                                   \
    int main(void)                                                                       \
    {                                                                                    \
        const TTest *const tests[] = { __VA_ARGS__ };                                    \
        return test_run(__FILE__, tests, sizeof tests / sizeof *tests, 300);             \
    }

#endif
