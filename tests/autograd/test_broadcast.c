/* Broadcasting, and what the tape says when shapes do not fit. */
#include "tests/autograd/gradcheck.h"
#include "tests/autograd/tensors.h"
#include "tests/check.h"

/* ---- values against the definition ---- */

/* Entry of x at the index of the broadcast result, by NumPy's rule: aligned at the right, size 1 repeats. */
static double entry(const ag_real *x, const ag_spec *spec, const int64_t *index, int ndim)
{
    int64_t at = 0;
    for (int i = 0; i < spec->ndim; i++)
        at = at * spec->shape[i] + (spec->shape[i] == 1 ? 0 : index[ndim - spec->ndim + i]);
    return (double)x[at];
}

static const struct { ag_spec a, b; int ndim; int64_t shape[AG_MAX_DIMS]; } pairs[] = {
    { { SHAPE(7, 1) }, { SHAPE(1, 5) }, 2, { 7, 5 } },
    { { SHAPE(0, 3) }, { SHAPE(3) }, 2, { 0, 3 } },
    { { SHAPE(0, 3) }, { SHAPE(1, 1) }, 2, { 0, 3 } },
    { { SHAPE(1, 3) }, { SHAPE(0, 1) }, 2, { 0, 3 } },
    { { SHAPE(13) }, { 0 }, 1, { 13 } },
    { { 0 }, { 0 }, 0, { 0 } },
    { { 0 }, { SHAPE(2, 3) }, 2, { 2, 3 } },
    { { SHAPE(1) }, { 0 }, 1, { 1 } },
    { { SHAPE(2, 1, 3, 1) }, { SHAPE(4, 1, 5) }, 4, { 2, 4, 3, 5 } },
    { { SHAPE(1, 1, 1, 1, 1, 2) }, { SHAPE(3, 1, 1, 1, 2, 1) }, 6, { 3, 1, 1, 1, 2, 2 } },
    { { SHAPE(3) }, { SHAPE(4, 3) }, 2, { 4, 3 } },
};
enum { N_PAIR = sizeof pairs / sizeof *pairs };

static void check_values(int number)
{
    ag_tape *t = eager(1);
    ag_random r;
    ag_random_init(&r, 1, AG_STREAM_USER, (uint64_t)number, 0);
    ag_real *a, *b;
    ag_tensor *x = random_leaf(t, &r, &pairs[number].a, -2, 2, &a), *z = random_leaf(t, &r, &pairs[number].b, -2, 2, &b);
    ag_tensor *y = ag_sub(t, x, z);
    ck_assert_int_eq(ag_ndim(y), pairs[number].ndim);
    for (int i = 0; i < ag_ndim(y); i++)
        ck_assert_int_eq(ag_shape(y)[i], pairs[number].shape[i]);
    ag_real *got = read_all(y);
    for (int64_t i = 0; i < ag_numel(y); i++) {
        int64_t index[AG_MAX_DIMS], rest = i;
        for (int axis = ag_ndim(y) - 1; axis >= 0; axis--) {
            index[axis] = rest % ag_shape(y)[axis];
            rest /= ag_shape(y)[axis];
        }
        ck_close(got[i], entry(a, &pairs[number].a, index, ag_ndim(y)) - entry(b, &pairs[number].b, index, ag_ndim(y)), TIGHT);
    }
    free(a);
    free(b);
    free(got);
    finish(t);
}

START_TEST(shapes_broadcast_by_numpys_rules_empty_and_odd_ones_too)
{
    for (int i = 0; i < N_PAIR; i++)
        check_values(i);
}
END_TEST

/* ---- derivatives through broadcasting ---- */

typedef ag_tensor *binary(ag_tape *t, ag_tensor *a, ag_tensor *b);

static ag_tensor *apply_binary(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    binary *const *op = ctx;
    return (*op)(t, x[0], x[1]);
}

static ag_tensor *where_positive(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_where(t, ag_less(t, ag_scalar(t, 1.0), a), ag_square(t, a), b);
}

static binary *const binaries[] = { ag_add, ag_sub, ag_mul, ag_div, ag_pow, ag_max, ag_min, ag_relu_gate, where_positive };

START_TEST(derivatives_pass_through_every_broadcast_with_any_tasks)
{
    for (size_t op = 0; op < sizeof binaries / sizeof *binaries; op++)
        for (int i = 0; i < N_PAIR; i++)
            for (unsigned tasks = 0; tasks < 4; tasks++) {
                gradcheck c = { .f = apply_binary, .ctx = &binaries[op], .n = 2, .n_task = 2, .seed = (uint64_t)i };
                char why[GRADCHECK_TEXT];
                c.in[0].spec = pairs[i].a;
                c.in[1].spec = pairs[i].b;
                for (int k = 0; k < 2; k++) {
                    c.in[k].spec.tasks = tasks >> k & 1;
                    bool larger = (k + i) % 2;      /* so that max and min meet no tie, and see both orders */
                    c.in[k].lo = larger ? 1.1 : 0.5;
                    c.in[k].hi = larger ? 1.9 : 0.9;
                }
                expect(gradcheck_run(&c, why), "operator %d, pair %d, tasks %u: %s", (int)op, i, tasks, why);
            }
}
END_TEST

/* ---- errors ---- */

typedef ag_tensor *wrong(ag_tape *t, ag_tensor *m23, ag_tensor *v4, ag_tensor *image, ag_tensor *index);

static const ag_conv valid = { 0 };

static ag_tensor *wrong_add(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)i; return ag_add(t, m, v); }
static ag_tensor *wrong_where(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)i; return ag_where(t, m, m, v); }
static ag_tensor *wrong_matmul(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)x, (void)i; return ag_matmul(t, m, m); }
static ag_tensor *wrong_matmul1(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)i; return ag_matmul(t, m, v); }
static ag_tensor *wrong_batch(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)m, (void)i; return ag_matmul(t, x, ag_reshape(t, ag_concat(t, v, v, 0), 3, (int64_t[]){ 4, 2, 1 })); }
static ag_tensor *wrong_reshape(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)x, (void)i; return ag_reshape(t, m, 1, (int64_t[]){ 7 }); }
static ag_tensor *wrong_negative(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)x, (void)i; return ag_reshape(t, m, 2, (int64_t[]){ -2, -3 }); }
static ag_tensor *wrong_two_free(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)x, (void)i; return ag_reshape(t, m, 2, (int64_t[]){ -1, -1 }); }
static ag_tensor *wrong_transpose(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)x, (void)i; return ag_transpose(t, m, (int[]){ 0, 0 }); }
static ag_tensor *wrong_swap(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)m, (void)x, (void)i; return ag_transpose(t, v, NULL); }
static ag_tensor *wrong_expand(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)x, (void)i; return ag_expand(t, m, 2, (int64_t[]){ 2, 9 }); }
static ag_tensor *wrong_expand0(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)x, (void)i; return ag_expand(t, ag_sum_keep(t, m, 1), 2, (int64_t[]){ -3, 3 }); }
static ag_tensor *wrong_slice(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)x, (void)i; return ag_slice(t, m, 1, 2, 9); }
static ag_tensor *wrong_pad(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)x, (void)i; return ag_pad(t, m, 1, -1, 2); }
static ag_tensor *wrong_concat(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)i; return ag_concat(t, m, v, 0); }
static ag_tensor *wrong_flatten(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)x, (void)i; return ag_flatten(t, m, 3); }
static ag_tensor *wrong_conv(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)i; return ag_conv2d(t, x, m, &valid); }
static ag_tensor *wrong_channels(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)m, (void)i; return ag_conv2d(t, x, x, &valid); }
static ag_tensor *wrong_input_grad(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)m, (void)i; return ag_conv2d_input_grad(t, x, x, &valid, 9, 9); }
static ag_tensor *wrong_weight_grad(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)m, (void)i; return ag_conv2d_weight_grad(t, x, x, &valid, 9, 9); }
static ag_tensor *wrong_pool(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)m, (void)i; return ag_avg_pool2d(t, x, 0, 1); }
static ag_tensor *wrong_pool_grad(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)m, (void)i; return ag_avg_pool2d_grad(t, x, 2, 2, 9, 9); }
static ag_tensor *wrong_max_pool(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)v, (void)x, (void)i; return ag_max_pool2d(t, m, 2, 2, false); }
static ag_tensor *wrong_gather(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)i; return ag_gather(t, m, v); }
static ag_tensor *wrong_scatter(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)v; return ag_scatter_add(t, m, i, 4); }
static ag_tensor *wrong_one_hot(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)v, (void)m; return ag_one_hot(t, i, 0); }
static ag_tensor *wrong_loss(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)v; return ag_cross_entropy(t, m, i); }
static ag_tensor *wrong_hit(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)v; return ag_hit(t, m, i); }
static ag_tensor *wrong_softmax(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)v, (void)i; return ag_softmax(t, ag_sum(t, m, AG_ALL_AXES)); }
static ag_tensor *wrong_exp(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)v, (void)m; return ag_exp(t, i); }
static ag_tensor *wrong_sum(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)v, (void)m; return ag_sum(t, i, 1); }
static ag_tensor *wrong_task_sum(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)v, (void)i; return ag_task_sum(t, m); }
static ag_tensor *wrong_copy(ag_tape *t, ag_tensor *m, ag_tensor *v, ag_tensor *x, ag_tensor *i) { (void)x, (void)v, (void)m; return ag_copy(t, i); }

/* The message must hold every word. */
static const struct { wrong *call; const char *words[3]; } errors[] = {
    { wrong_add, { "add", "[2,3]", "[4]" } }, { wrong_where, { "where", "[2,3]", "[4]" } },
    { wrong_matmul, { "matmul", "[2,3]", "inner" } }, { wrong_matmul1, { "matmul", "[2,3]", "[4]" } },
    { wrong_batch, { "matmul", "[1,3,3,2]", "[4,2,1]" } }, { wrong_reshape, { "reshape", "[2,3]", "7" } },
    { wrong_negative, { "reshape", "[2,3]", "-2" } }, { wrong_two_free, { "reshape", "[2,3]", "-" } },
    { wrong_transpose, { "transpose", "0", "" } }, { wrong_swap, { "transpose", "1", "" } },
    { wrong_expand, { "expand", "[2,3]", "9" } }, { wrong_expand0, { "expand", "[1,3]", "-3" } },
    { wrong_slice, { "slice", "[2,3]", "9" } }, { wrong_pad, { "pad", "[2,3]", "-1" } },
    { wrong_concat, { "concat", "[2,3]", "[4]" } }, { wrong_flatten, { "flatten", "3", "2" } },
    { wrong_conv, { "conv2d", "2 axes", "" } }, { wrong_channels, { "conv2d", "[1,3,3,2]", "" } },
    { wrong_input_grad, { "conv2d_input_grad", "[1,3,3,2]", "" } }, { wrong_weight_grad, { "conv2d_weight_grad", "[1,3,3,2]", "" } },
    { wrong_pool, { "avg_pool2d", "window", "" } }, { wrong_pool_grad, { "avg_pool2d_grad", "9 x 9", "" } },
    { wrong_max_pool, { "max_pool2d_index", "[n, h, w, c]", "" } }, { wrong_gather, { "gather", "index", "" } },
    { wrong_scatter, { "scatter_add", "[2,3]", "[3]" } }, { wrong_one_hot, { "one_hot", "class", "" } },
    { wrong_loss, { "cross_entropy", "[2,3]", "[3]" } }, { wrong_hit, { "hit", "[2,3]", "[3]" } },
    { wrong_softmax, { "softmax", "axis", "" } }, { wrong_exp, { "exp", "index", "" } }, { wrong_sum, { "sum_keep", "index", "" } },
    { wrong_task_sum, { "task_sum", "task", "" } }, { wrong_copy, { "copy", "index", "" } },
};

START_TEST(shapes_that_do_not_fit_are_an_error_naming_operator_and_shapes)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        ag_error err = { 0 };
        ag_tape *t = eager(1);
        ag_tensor *m = ag_value(t, &(ag_spec){ SHAPE(2, 3) }, (ag_real[6]){ 0 }), *v = ag_value(t, &(ag_spec){ SHAPE(4) }, (ag_real[4]){ 0 });
        ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(1, 3, 3, 2) }, (ag_real[18]){ 0 });
        ag_tensor *index = ag_value(t, &(ag_spec){ .dtype = AG_INT, SHAPE(3) }, (int32_t[3]){ 0 });
        ck_assert_ptr_null(errors[i].call(t, m, v, x, index));
        expect(ag_tape_status(t, &err) == AG_ESHAPE, "error %d: %s %s", (int)i, ag_code_name(err.code), err.message);
        for (int k = 0; k < 3; k++)
            expect(strstr(err.message, errors[i].words[k]), "'%s' is not in '%s'", errors[i].words[k], err.message);
        ag_tape_free(t);
    }
}
END_TEST

START_TEST(null_in_gives_null_out_and_the_first_error_stays)
{
    ag_error err = { 0 }, later = { 0 };
    ag_tape *t = eager(1);
    ag_tensor *m = ag_value(t, &(ag_spec){ SHAPE(2, 3) }, (ag_real[6]){ 0 }), *g;
    ag_tensor *zero = ag_scalar(t, 0), *bad = ag_matmul(t, m, m), *x[] = { bad };
    ck_assert_ptr_null(bad);
    ag_tape_status(t, &err);
    ag_tensor *all[] = { ag_exp(t, bad), ag_add(t, bad, m), ag_sub(t, m, bad), ag_mul(t, m, bad), ag_where(t, bad, m, m), ag_reshape(t, bad, 0, NULL),
        ag_transpose(t, bad, NULL), ag_expand(t, bad, 0, NULL), ag_slice(t, bad, 0, 0, 1), ag_detach(t, bad), ag_task_expand(t, bad),
        ag_copy(t, bad), ag_pad(t, bad, 0, 1, 1), ag_concat(t, m, bad, 0), ag_sum(t, bad, 1), ag_mean(t, bad, 1), ag_max_over(t, bad, 1),
        ag_logsumexp(t, bad, 1), ag_task_sum(t, bad), ag_softmax(t, bad), ag_log_softmax(t, bad), ag_matmul(t, bad, m), ag_conv2d(t, bad, m, &valid),
        ag_avg_pool2d(t, bad, 1, 1), ag_max_pool2d(t, bad, 1, 1, true), ag_gather(t, bad, m), ag_scatter_add(t, m, bad, 1), ag_one_hot(t, bad, 2),
        ag_hit(t, bad, m), ag_cross_entropy(t, bad, m), ag_affine(t, bad, 2, 3), ag_pow_scalar(t, bad, 2), ag_clip(t, bad, 0, 1), ag_flatten(t, bad, 0),
        ag_mse(t, bad, m), ag_layer_norm(t, bad, 1, m, m), ag_batch_norm(t, bad, 1, m, m, NULL, NULL), ag_normalize(t, bad, 1, 1, NULL, NULL),
        ag_add(t, zero, bad), ag_add(t, bad, zero), ag_mul(t, zero, bad), ag_zeros_like(t, bad), ag_contiguous(t, bad), ag_scale(t, bad, 1), ag_not_equal(t, m, bad) };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        expect(!all[i], "number %d is not NULL", (int)i);
    ck_assert_int_ne(ag_grad(t, bad, NULL, 1, x, &g), AG_OK);
    ck_assert_ptr_null(g);
    ck_assert_int_ne(ag_jvp(t, 1, x, x, 1, x, &g), AG_OK);
    ck_assert_ptr_null(ag_add(t, m, ag_scalar(t, 1)));   /* nothing more is recorded after an error */
    ag_tape_status(t, &later);
    ck_assert_str_eq(err.message, later.message);
    ag_tape_free(t);
}
END_TEST

TEST_MAIN(shapes_broadcast_by_numpys_rules_empty_and_odd_ones_too, derivatives_pass_through_every_broadcast_with_any_tasks,
          shapes_that_do_not_fit_are_an_error_naming_operator_and_shapes, null_in_gives_null_out_and_the_first_error_stays)
