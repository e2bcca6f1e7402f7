/* The fused rows of normalisation against the compositions they stand for, at sizes beyond their blocks, to the second order. */
#include "tests/autograd/tensors.h"
#include "tests/check.h"

typedef struct size_case {
    int64_t rows, n;
    bool columns;
} size_case;

static const size_case sizes[] = { { 75, 70, true }, { 32, 64, true }, { 33, 1, true }, { 1, 5, true }, { 3, 200, false }, { 9, 1, false } };
enum { N_SIZE = sizeof sizes / sizeof *sizes, TASKS = 2 };

static unsigned axes_of(const size_case *s)
{
    return s->columns ? AG_AXIS(0) : AG_AXIS(1);
}

static void check_same(const size_case *s, const char *what, const ag_tensor *got, const ag_tensor *want, double tolerance)
{
    ag_real *a = read_all(got), *b = read_all(want);
    ck_assert(ag_same_shape(got, want));
    expect(!differ(a, b, total_of(got), tolerance), "%s [%d,%d] over %s: %s", what, (int)s->rows, (int)s->n, s->columns ? "rows" : "columns",
           differ(a, b, total_of(got), tolerance));
    free(a);
    free(b);
}

static ag_tensor *plain(ag_tape *t, ag_tensor *x, unsigned axes, double epsilon)
{
    ag_tensor *centred = ag_sub(t, x, ag_mean_keep(t, x, axes));
    return ag_mul(t, centred, ag_rsqrt(t, ag_affine(t, ag_mean_keep(t, ag_square(t, centred), axes), 1, epsilon)));
}

START_TEST(standardised_numbers_and_their_derivatives_to_the_second_order_equal_the_composition)
{
    for (int i = 0; i < N_SIZE; i++) {
        const size_case *s = &sizes[i];
        ag_tape *t = eager(TASKS);
        ag_random r;
        ag_random_init(&r, 1, AG_STREAM_USER, 0, (uint64_t)i);
        ag_spec spec = { .tasks = true, SHAPE(s->rows, s->n) };
        ag_tensor *x = random_leaf(t, &r, &spec, -1, 1, NULL), *v = random_leaf(t, &r, &spec, -1, 1, NULL), *u = random_leaf(t, &r, &spec, -1, 1, NULL);
        ag_tensor *y[] = { ag_standardise(t, x, axes_of(s), 0.1), plain(t, x, axes_of(s), 0.1) }, *g[2], *h[2], *hv[2];
        for (int k = 0; k < 2; k++) {
            ck_assert_int_eq(ag_grad(t, y[k], v, 1, &x, &g[k]), AG_OK);
            ck_assert_int_eq(ag_grad(t, g[k], u, 1, &x, &h[k]), AG_OK);
            ck_assert_int_eq(ag_jvp(t, 1, &x, &u, 1, &g[k], &hv[k]), AG_OK);
        }
        check_same(s, "standardise", y[0], y[1], 10 * TIGHT);
        check_same(s, "its gradient", g[0], g[1], 30 * TIGHT);
        check_same(s, "its second derivative", h[0], h[1], 100 * TIGHT);
        check_same(s, "its gradient's tangent", hv[0], hv[1], 100 * TIGHT);
        finish(t);
    }
}
END_TEST

START_TEST(sums_of_products_scale_and_shift_equal_the_compositions)
{
    for (int i = 0; i < N_SIZE; i++) {
        const size_case *s = &sizes[i];
        ag_tape *t = eager(TASKS);
        ag_random r;
        ag_random_init(&r, 2, AG_STREAM_USER, 0, (uint64_t)i);
        ag_spec spec = { .tasks = true, SHAPE(s->rows, s->n) }, shared = { SHAPE(s->n) };
        ag_tensor *a = random_leaf(t, &r, &spec, -1, 1, NULL), *b = random_leaf(t, &r, &(ag_spec){ SHAPE(s->rows, s->n) }, -1, 1, NULL);
        ag_tensor *gamma = random_leaf(t, &r, &shared, -1, 1, NULL), *beta = random_leaf(t, &r, &shared, -1, 1, NULL);
        check_same(s, "product_sum", ag_product_sum(t, a, b, axes_of(s)), ag_sum_keep(t, ag_mul(t, a, b), axes_of(s)), 10 * TIGHT);
        check_same(s, "scale_shift", ag_scale_shift(t, a, gamma, beta), ag_add(t, ag_mul(t, a, gamma), beta), 10 * TIGHT);
        finish(t);
    }
}
END_TEST

START_TEST(a_mean_far_from_zero_costs_no_digits)
{
    enum { ROWS = 500 };
    for (int columns = 0; columns < 2; columns++) {
        ag_tape *t = eager(1);
        ag_random r;
        ag_random_init(&r, 3, AG_STREAM_USER, 0, 0);
        ag_real x[ROWS], want[ROWS];
        double sum = 0, squares = 0;
        for (int i = 0; i < ROWS; i++) {
            x[i] = 3000 + (ag_real)ag_random_uniform(&r, -1, 1);   /* the square of 3000 has no room for that of 1 in float32 */
            sum += (double)x[i];
        }
        for (int i = 0; i < ROWS; i++)
            squares += ((double)x[i] - sum / ROWS) * ((double)x[i] - sum / ROWS);
        for (int i = 0; i < ROWS; i++)
            want[i] = (ag_real)(((double)x[i] - sum / ROWS) / sqrt(squares / ROWS + 1e-5));
        ag_tensor *leaf = ag_value(t, &(ag_spec){ .ndim = 2, .shape = { columns ? ROWS : 1, columns ? 1 : ROWS } }, x);
        ag_real *got = read_all(ag_standardise(t, leaf, columns ? AG_AXIS(0) : AG_AXIS(1), 1e-5));
        expect(!differ(got, want, ROWS, sizeof(ag_real) > 4 ? 1e-10 : 2e-3), "%s", differ(got, want, ROWS, 2e-3));   /* the mean has an ulp of 2e-4 */
        free(got);
        finish(t);
    }
}
END_TEST

START_TEST(statistics_over_other_axes_are_refused_by_the_rows_and_left_to_the_composition)
{
    ag_error err = { 0 };
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(2, 2, 2) }, (ag_real[]){ 1, 2, 3, 5, 8, 13, 21, 34 });
    size_case s = { 4, 2, true };
    check_same(&s, "product_sum", ag_product_sum(t, x, x, AG_AXIS(1)), ag_sum_keep(t, ag_square(t, x), AG_AXIS(1)), TIGHT);
    check_same(&s, "normalize", ag_normalize(t, x, AG_AXIS(0), 1, NULL, NULL), plain(t, x, AG_AXIS(0), 1), TIGHT);
    ck_assert_int_eq(ag_tape_status(t, &err), AG_OK);
    ck_assert_ptr_null(ag_moments(t, x, AG_AXIS(1), 1));
    ck_assert_int_eq(ag_tape_status(t, &err), AG_ESHAPE);
    expect(strstr(err.message, "moments"), "%s", err.message);
    ag_tape_free(t);
}
END_TEST

TEST_MAIN(standardised_numbers_and_their_derivatives_to_the_second_order_equal_the_composition,
          sums_of_products_scale_and_shift_equal_the_compositions, a_mean_far_from_zero_costs_no_digits,
          statistics_over_other_axes_are_refused_by_the_rows_and_left_to_the_composition)
