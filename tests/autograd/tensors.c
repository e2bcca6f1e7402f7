/* Shared helpers (tensors.h). */
#include "tests/autograd/tensors.h"
#include "tests/check.h"

int64_t spec_total(const ag_spec *spec, int64_t n_task)
{
    return ag_product(spec->ndim, spec->shape) * (spec->tasks ? n_task : 1);
}

ag_real *random_reals(ag_random *r, int64_t n, double lo, double hi)
{
    ag_real *data = malloc((size_t)(n + 1) * sizeof *data);
    for (int64_t i = 0; i < n; i++)
        data[i] = (ag_real)ag_random_uniform(r, lo, hi);
    return data;
}

ag_tensor *random_leaf(ag_tape *t, ag_random *r, const ag_spec *spec, double lo, double hi, ag_real **data)
{
    ag_real *numbers = random_reals(r, spec_total(spec, ag_tape_tasks(t)), lo, hi);
    ag_tensor *x = ag_value(t, spec, numbers);
    if (data)
        *data = numbers;
    else
        free(numbers);
    return x;
}

int64_t total_of(const ag_tensor *x)
{
    return ag_numel(x) * (ag_has_tasks(x) ? x->n_task : 1);
}

ag_real *read_all(const ag_tensor *x)
{
    ck_assert_ptr_nonnull(x);
    ag_real *out = malloc((size_t)(total_of(x) + 1) * sizeof *out);
    ck_assert_int_eq(ag_read(x, out), AG_OK);
    return out;
}

int32_t *read_ints(const ag_tensor *x)
{
    ck_assert_ptr_nonnull(x);
    ck_assert_int_eq(x->dtype, AG_INT);
    int32_t *out = malloc((size_t)(total_of(x) + 1) * sizeof *out);
    ck_assert_int_eq(ag_read(x, out), AG_OK);
    return out;
}

ag_tape *eager(int64_t n_task)
{
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .n_task = n_task }, NULL);
    ck_assert_ptr_nonnull(t);
    return t;
}

void finish(ag_tape *t)
{
    ag_error err = { 0 };
    ag_code code = ag_tape_status(t, &err);
    expect(code == AG_OK, "the tape says: %s", err.message);
    ag_tape_free(t);
}

int effort(int n)
{
    const char *text = getenv("METALORA_TEST_EFFORT");
    int scaled = text ? (int)((long long)n * atoi(text) / 100) : n;
    return scaled > 0 ? scaled : 1;
}

const char *differ(const ag_real *a, const ag_real *b, int64_t n, double tolerance)
{
    static char text[128];
    for (int64_t i = 0; i < n; i++) {
        if ((isnan(a[i]) && isnan(b[i])) || a[i] == b[i] || test_close(a[i], b[i], tolerance))
            continue;
        snprintf(text, sizeof text, "number %lld of %lld: %.17g and %.17g", (long long)i, (long long)n, (double)a[i],
                 (double)b[i]);
        return text;
    }
    return NULL;
}
