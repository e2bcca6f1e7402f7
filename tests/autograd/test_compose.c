/* Compositions: logsumexp, losses and normalisations against direct formulas, and the derivative checker. */
#include "tests/autograd/gradcheck.h"
#include "tests/autograd/tensors.h"
#include "tests/check.h"

/* ---- logsumexp ---- */

START_TEST(logsumexp_is_the_logarithm_of_the_sum_over_any_axes)
{
    ag_tape *t = eager(1);
    ag_random r;
    ag_random_init(&r, 1, AG_STREAM_USER, 0, 0);
    ag_tensor *x = random_leaf(t, &r, &(ag_spec){ SHAPE(2, 3, 4) }, -3, 3, NULL);
    for (unsigned axes = 1; axes < 8; axes++) {
        ag_tensor *y = ag_logsumexp(t, x, axes), *plain = ag_log(t, ag_sum(t, ag_exp(t, x), axes));
        ag_real *got = read_all(y), *want = read_all(plain);
        ck_assert(ag_same_shape(y, plain));
        ck_assert_msg(!differ(got, want, ag_numel(y), 10 * TIGHT), "%s", differ(got, want, ag_numel(y), 10 * TIGHT));
        free(got);
        free(want);
    }
    finish(t);
}
END_TEST

START_TEST(logsumexp_survives_huge_numbers_of_both_signs)
{
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(2, 2) }, (ag_real[]){ 1e4, 1e4, -1e4, -1e4 }), *g;
    ag_tensor *y = ag_logsumexp(t, x, AG_AXIS(1));
    ag_real *got = read_all(y);
    ck_close(got[0], 1e4 + log(2.0), TIGHT);
    ck_close(got[1], -1e4 + log(2.0), TIGHT);
    ag_grad(t, y, NULL, 1, &x, &g);
    ag_real *slope = read_all(g);
    for (int i = 0; i < 4; i++)
        ck_close(slope[i], 0.5, TIGHT);
    free(got);
    free(slope);
    finish(t);
}
END_TEST

/* ---- every composition to the second order ---- */

static ag_tensor *labels(ag_tape *t)
{
    return ag_value(t, &(ag_spec){ .dtype = AG_INT, SHAPE(4) }, (int32_t[]){ 2, 0, 1, 2 });
}

static ag_tensor *logsumexp(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    (void)ctx;
    return ag_logsumexp(t, x[0], AG_AXIS(0) | AG_AXIS(1));
}

static ag_tensor *mean(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    (void)ctx;
    return ag_square(t, ag_mean(t, x[0], AG_AXIS(0)));
}

static ag_tensor *mse(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    (void)ctx;
    return ag_mse(t, x[0], x[1]);
}

static ag_tensor *layer_norm(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    (void)ctx;
    return ag_layer_norm(t, x[0], 1e-5, x[1], x[2]);
}

static ag_tensor *batch_norm(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    (void)ctx;
    ag_tensor *m, *v, *y = ag_batch_norm(t, x[0], 1e-5, x[1], x[2], &m, &v);
    return ag_concat(t, y, ag_concat(t, ag_reshape(t, m, 2, (int64_t[]){ 1, 3 }), ag_reshape(t, v, 2, (int64_t[]){ 1, 3 }), 0), 0);
}

static ag_tensor *running_norm(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    (void)ctx;
    return ag_batch_norm_running(t, x[0], 1e-3, x[1], x[1], x[2], ag_square(t, x[2]));
}

static ag_tensor *normalize(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    (void)ctx;
    return ag_normalize(t, x[0], AG_AXIS(0), 1e-2, NULL, NULL);
}

static ag_tensor *max_over(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    (void)ctx;
    return ag_max_over(t, x[0], AG_AXIS(1));
}

static ag_tensor *classify(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    (void)ctx;
    return ag_mean(t, ag_cross_entropy(t, ag_matmul(t, ag_tanh(t, x[0]), x[1]), labels(t)), AG_ALL_AXES);
}

typedef struct composition {
    const char *name;
    ag_tensor *(*f)(ag_tape *t, ag_tensor *const *x, const void *ctx);
    int n;
    ag_spec spec[3];
} composition;

static const composition compositions[] = {
    { "logsumexp", logsumexp, 1, {{ SHAPE(3, 4) }} },
    { "mean", mean, 1, {{ SHAPE(3, 4) }} },
    { "mse", mse, 2, {{ SHAPE(3, 4) }, { SHAPE(3, 4) }} },
    { "layer_norm", layer_norm, 3, {{ SHAPE(3, 5) }, { SHAPE(5) }, { SHAPE(5) }} },
    { "batch_norm", batch_norm, 3, {{ SHAPE(5, 3) }, { SHAPE(3) }, { SHAPE(3) }} },
    { "batch_norm_running", running_norm, 3, {{ SHAPE(5, 3) }, { SHAPE(3) }, { SHAPE(3) }} },
    { "normalize", normalize, 1, {{ SHAPE(5, 3) }} },
    { "max_over", max_over, 1, {{ SHAPE(5, 3) }} },
    { "classify", classify, 2, {{ SHAPE(4, 5) }, { SHAPE(5, 3) }} },
};

START_TEST(compositions_pass_the_checker_with_and_without_tasks)
{
    for (size_t i = 0; i < sizeof compositions / sizeof *compositions; i++) {
        const composition *k = &compositions[i];
        for (unsigned tasks = 0; tasks < 1u << k->n; tasks++) {
            gradcheck c = { .f = k->f, .n = k->n, .n_task = 2 };
            char why[GRADCHECK_TEXT];
            for (int j = 0; j < k->n; j++) {
                c.in[j].spec = k->spec[j];
                c.in[j].spec.tasks = tasks >> j & 1;
            }
            ck_assert_msg(gradcheck_run(&c, why), "%s, tasks %u: %s", k->name, tasks, why);
        }
    }
}
END_TEST

/* ---- cross entropy is what it says ---- */

static ag_tensor *fused(ag_tape *t, ag_tensor *x, ag_tensor *i)
{
    return ag_cross_entropy(t, x, i);
}

static ag_tensor *composed(ag_tape *t, ag_tensor *x, ag_tensor *i)
{
    return ag_neg(t, ag_sum(t, ag_mul(t, ag_log_softmax(t, x), ag_one_hot(t, i, 3)), AG_AXIS(1)));
}

/* Value, gradient and Hessian-vector product of the weighted sum, one after the other. */
static void three_orders(ag_tensor *(*loss)(ag_tape *t, ag_tensor *x, ag_tensor *i), const ag_real *logits, ag_real *out)
{
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(4, 3) }, logits), *g, *h, *dg;
    ag_tensor *weights = ag_value(t, &(ag_spec){ SHAPE(4) }, (ag_real[]){ 0.5, -1, 2, 1 });
    ag_tensor *v = ag_value(t, &(ag_spec){ SHAPE(4, 3) }, (ag_real[]){ 1, -1, 2, 0.5, 1, 3, -2, 1, 1, 0, 1, 2 });
    ag_tensor *y = loss(t, x, labels(t));
    ag_grad(t, y, weights, 1, &x, &g);
    ag_grad(t, g, v, 1, &x, &h);
    ag_jvp(t, 1, &x, &v, 1, &g, &dg);
    ag_tensor *all[] = { y, g, h, dg };
    int64_t at[] = { 0, 4, 16, 28 };
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(ag_read(all[i], out + at[i]), AG_OK);
    finish(t);
}

START_TEST(cross_entropy_equals_its_composition_to_the_second_order)
{
    static const ag_real logits[2][12] = { { 1, 2, 3, -1, 0, 1, 2, 2, 2, 0.5, -0.5, 1 },
                                           { 80, 2, -70, -1, 90, 1, 2, 50, 50, 0.5, -0.5, 60 } };
    for (int i = 0; i < 2; i++) {
        ag_real a[40], b[40];
        three_orders(fused, logits[i], a);
        three_orders(composed, logits[i], b);
        ck_assert_msg(!differ(a, b, 40, 10 * TIGHT), "%s", differ(a, b, 40, 10 * TIGHT));
    }
}
END_TEST

START_TEST(cross_entropy_of_many_short_and_of_long_rows_equals_its_composition)
{
    static const int64_t sizes[][2] = { { 70, 20 }, { 33, 1 }, { 3, 1024 }, { 2, 2500 } };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int64_t rows = sizes[s][0], n = sizes[s][1];
        int32_t label[70];
        ag_random r;
        ag_random_init(&r, s, AG_STREAM_USER, 0, 0);
        for (int64_t i = 0; i < rows; i++)
            label[i] = (int32_t)ag_random_below(&r, (uint32_t)n);
        ag_tape *t = eager(1);
        ag_tensor *x = random_leaf(t, &r, &(ag_spec){ SHAPE(rows, n) }, -3, 3, NULL), *w = random_leaf(t, &r, &(ag_spec){ SHAPE(rows) }, -1, 1, NULL);
        ag_tensor *i = ag_value(t, &(ag_spec){ .dtype = AG_INT, SHAPE(rows) }, label), *g[2];
        ag_tensor *y[] = { ag_cross_entropy(t, x, i), ag_neg(t, ag_sum(t, ag_mul(t, ag_log_softmax(t, x), ag_one_hot(t, i, n)), AG_AXIS(1))) };
        for (int k = 0; k < 2; k++)
            ck_assert_int_eq(ag_grad(t, y[k], w, 1, &x, &g[k]), AG_OK);
        ag_real *a = read_all(y[0]), *b = read_all(y[1]), *da = read_all(g[0]), *db = read_all(g[1]);
        expect(!differ(a, b, rows, 10 * TIGHT), "[%d,%d]: %s", (int)rows, (int)n, differ(a, b, rows, 10 * TIGHT));
        expect(!differ(da, db, rows * n, TIGHT), "gradient [%d,%d]: %s", (int)rows, (int)n, differ(da, db, rows * n, TIGHT));
        free(a);
        free(b);
        free(da);
        free(db);
        finish(t);
    }
}
END_TEST

START_TEST(cross_entropy_survives_huge_logits)
{
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(2, 2) }, (ag_real[]){ 1e4, -1e4, 1e4, -1e4 });
    ag_tensor *i = ag_value(t, &(ag_spec){ .dtype = AG_INT, SHAPE(2) }, (int32_t[]){ 0, 1 });
    ag_real *y = read_all(ag_cross_entropy(t, x, i));
    ck_assert(y[0] == 0 && y[1] == (ag_real)2e4);
    free(y);
    finish(t);
}
END_TEST

/* ---- normalisations against direct formulas ---- */

START_TEST(batch_norm_normalises_each_channel_over_batch_and_places)
{
    enum { N = 24, C = 3 };
    ag_tape *t = eager(1);
    ag_random r;
    ag_random_init(&r, 2, AG_STREAM_USER, 0, 0);
    ag_real *x, *gamma, *beta;
    ag_tensor *tx = random_leaf(t, &r, &(ag_spec){ SHAPE(2, 3, 4, C) }, -2, 5, &x), *m, *v;
    ag_tensor *tg = random_leaf(t, &r, &(ag_spec){ SHAPE(C) }, 0.5, 2, &gamma), *tb = random_leaf(t, &r, &(ag_spec){ SHAPE(C) }, -1, 1, &beta);
    ag_real *y = read_all(ag_batch_norm(t, tx, 1e-3, tg, tb, &m, &v)), *pm = read_all(m), *pv = read_all(v);
    ag_real *same = read_all(ag_batch_norm_running(t, tx, 1e-3, tg, tb, m, v));
    for (int c = 0; c < C; c++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < N; i++)
            sum += (double)x[i * C + c];
        for (int i = 0; i < N; i++)
            squares += ((double)x[i * C + c] - sum / N) * ((double)x[i * C + c] - sum / N);
        ck_close(pm[c], sum / N, 10 * TIGHT);
        ck_close(pv[c], squares / N, 10 * TIGHT);
        for (int i = 0; i < N; i++) {
            double want = ((double)x[i * C + c] - sum / N) / sqrt(squares / N + 1e-3) * (double)gamma[c] + (double)beta[c];
            ck_close(y[i * C + c], want, 10 * TIGHT);
            ck_close(same[i * C + c], want, 10 * TIGHT);
        }
    }
    ag_real *lists[] = { x, gamma, beta, y, pm, pv, same };
    for (int i = 0; i < 7; i++)
        free(lists[i]);
    finish(t);
}
END_TEST

START_TEST(layer_norm_normalises_each_row)
{
    enum { N = 4, C = 6 };
    ag_tape *t = eager(1);
    ag_random r;
    ag_random_init(&r, 3, AG_STREAM_USER, 0, 0);
    ag_real *x;
    ag_tensor *tx = random_leaf(t, &r, &(ag_spec){ SHAPE(N, C) }, -2, 5, &x);
    ag_real *y = read_all(ag_layer_norm(t, tx, 1e-5, NULL, NULL));
    for (int i = 0; i < N; i++) {
        double sum = 0, squares = 0;
        for (int c = 0; c < C; c++)
            sum += (double)x[i * C + c];
        for (int c = 0; c < C; c++)
            squares += ((double)x[i * C + c] - sum / C) * ((double)x[i * C + c] - sum / C);
        for (int c = 0; c < C; c++)
            ck_close(y[i * C + c], ((double)x[i * C + c] - sum / C) / sqrt(squares / C + 1e-5), 10 * TIGHT);
    }
    free(x);
    free(y);
    finish(t);
}
END_TEST

START_TEST(a_norm_of_a_number_is_an_error_and_leaves_no_loose_pointers)
{
    for (int which = 0; which < 2; which++) {
        ag_tape *t = eager(1);
        ag_tensor *x = ag_value(t, &(ag_spec){ 0 }, (ag_real[]){ 1 }), *m = x, *v = x;
        ag_tensor *y = which ? ag_batch_norm(t, x, 1e-5, NULL, NULL, &m, &v) : ag_layer_norm(t, x, 1e-5, NULL, NULL);
        ck_assert_ptr_null(y);
        ck_assert(!which || (!m && !v));
        ck_assert_int_eq(ag_tape_status(t, NULL), AG_ESHAPE);
        ag_tape_free(t);
    }
}
END_TEST

TEST_MAIN(logsumexp_is_the_logarithm_of_the_sum_over_any_axes, logsumexp_survives_huge_numbers_of_both_signs,
          compositions_pass_the_checker_with_and_without_tasks, cross_entropy_equals_its_composition_to_the_second_order,
          cross_entropy_of_many_short_and_of_long_rows_equals_its_composition, cross_entropy_survives_huge_logits, batch_norm_normalises_each_channel_over_batch_and_places,
          layer_norm_normalises_each_row, a_norm_of_a_number_is_an_error_and_leaves_no_loose_pointers)
