/* Forward kernels against plain loops and closed forms: elementwise, reductions, softmax, indices, joins, and NaN. */
#include "tests/autograd/tensors.h"
#include "tests/check.h"

/* ---- elementwise ---- */

typedef struct unary_case {
    const char *name;
    ag_tensor *(*op)(ag_tape *t, ag_tensor *x);
    double (*f)(double x);
    double lo, hi;
} unary_case;

static double neg(double x) { return -x; }
static double rsqrt(double x) { return 1 / sqrt(x); }
static double square(double x) { return x * x; }
static double reciprocal(double x) { return 1 / x; }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double relu(double x) { return x > 0 ? x : 0; }
static double gelu(double x) { return x * 0.5 * erfc(-x / sqrt(2.0)); }
static double gelu_tanh(double x) { return x / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x))); }
static double silu(double x) { return x / (1 + exp(-x)); }
static double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }
static ag_tensor *op_affine(ag_tape *t, ag_tensor *x) { return ag_affine(t, x, -1.5, 0.25); }
static double affine(double x) { return -1.5 * x + 0.25; }
static ag_tensor *op_pow(ag_tape *t, ag_tensor *x) { return ag_pow_scalar(t, x, 2.5); }
static double power(double x) { return pow(x, 2.5); }
static ag_tensor *op_clip(ag_tape *t, ag_tensor *x) { return ag_clip(t, x, -1, 0.5); }
static double clip(double x) { return x < -1 ? -1 : x > 0.5 ? 0.5 : x; }
static ag_tensor *op_one_minus(ag_tape *t, ag_tensor *x) { return ag_one_minus(t, x); }
static double one_minus(double x) { return 1 - x; }

static const unary_case unary_cases[] = {
    { "neg", ag_neg, neg, -3, 3 }, { "exp", ag_exp, exp, -5, 5 }, { "log", ag_log, log, 0.01, 9 },
    { "sqrt", ag_sqrt, sqrt, 0, 9 }, { "rsqrt", ag_rsqrt, rsqrt, 0.1, 9 }, { "square", ag_square, square, -3, 3 },
    { "reciprocal", ag_reciprocal, reciprocal, 0.1, 3 }, { "tanh", ag_tanh, tanh, -4, 4 },
    { "sigmoid", ag_sigmoid, sigmoid, -30, 30 }, { "relu", ag_relu, relu, -2, 2 }, { "erf", ag_erf, erf, -3, 3 },
    { "gelu", ag_gelu, gelu, -4, 4 }, { "gelu_tanh", ag_gelu_tanh, gelu_tanh, -4, 4 }, { "silu", ag_silu, silu, -20, 20 },
    { "abs", ag_abs, fabs, -2, 2 }, { "sign", ag_sign, sign, -2, 2 }, { "affine", op_affine, affine, -3, 3 },
    { "pow_scalar", op_pow, power, 0, 3 }, { "clip", op_clip, clip, -2, 2 }, { "one_minus", op_one_minus, one_minus, -2, 2 },
};

static void check_unary(const unary_case *c, int64_t n, bool transposed)
{
    ag_tape *t = eager(1);
    ag_random r;
    ag_random_init(&r, 1, AG_STREAM_USER, (uint64_t)n, 0);
    ag_real *x;
    ag_tensor *leaf = random_leaf(t, &r, &(ag_spec){ SHAPE(n, 3) }, c->lo, c->hi, &x);
    ag_real *y = read_all(c->op(t, transposed ? ag_transpose(t, leaf, NULL) : leaf));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < 3; j++) {
            double want = c->f((double)x[3 * i + j]), got = (double)y[transposed ? j * n + i : 3 * i + j];
            expect(test_close(got, want, TIGHT), "%s(%g) = %.10g, not %.10g", c->name, (double)x[3 * i + j], want, got);
        }
    free(x);
    free(y);
    finish(t);
}

START_TEST(unary_operators_agree_with_the_c_library_in_any_layout_and_length)
{
    static const int64_t lengths[] = { 0, 1, 7, 171, 600 };   /* 600 x 3 is beyond one block of the driver */
    for (size_t i = 0; i < sizeof unary_cases / sizeof *unary_cases; i++)
        for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++) {
            check_unary(&unary_cases[i], lengths[j], false);
            check_unary(&unary_cases[i], lengths[j], true);
        }
}
END_TEST

static double add(double a, double b) { return a + b; }
static double sub(double a, double b) { return a - b; }
static double mul(double a, double b) { return a * b; }
static double divide(double a, double b) { return a / b; }
static double gate(double a, double b) { return a > 0 ? b : 0; }
static double equal(double a, double b) { return a == b; }
static double less(double a, double b) { return a < b; }
static double less_equal(double a, double b) { return a <= b; }
static double greater(double a, double b) { return a > b; }
static double greater_equal(double a, double b) { return a >= b; }
static double not_equal(double a, double b) { return a != b; }

typedef struct binary_case {
    const char *name;
    ag_tensor *(*op)(ag_tape *t, ag_tensor *a, ag_tensor *b);
    double (*f)(double a, double b);
} binary_case;

static const binary_case binary_cases[] = {
    { "add", ag_add, add }, { "sub", ag_sub, sub }, { "mul", ag_mul, mul }, { "div", ag_div, divide }, { "pow", ag_pow, pow },
    { "max", ag_max, fmax }, { "min", ag_min, fmin }, { "relu_gate", ag_relu_gate, gate }, { "equal", ag_equal, equal },
    { "less", ag_less, less }, { "less_equal", ag_less_equal, less_equal }, { "greater", ag_greater, greater },
    { "greater_equal", ag_greater_equal, greater_equal }, { "not_equal", ag_not_equal, not_equal },
};

START_TEST(binary_operators_agree_with_plain_c_ties_included)
{
    enum { N = 1300 };
    ag_random r;
    ag_random_init(&r, 2, AG_STREAM_USER, 0, 0);
    for (size_t i = 0; i < sizeof binary_cases / sizeof *binary_cases; i++) {
        const binary_case *c = &binary_cases[i];
        ag_tape *t = eager(1);
        ag_real *a = random_reals(&r, N, 0.25, 4), *b = random_reals(&r, N, 0.25, 4);
        for (int64_t j = 0; j < N; j += 3)
            b[j] = a[j];
        ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(N) }, a), *z = ag_value(t, &(ag_spec){ SHAPE(N) }, b);
        ag_real *y = read_all(c->op(t, x, z));
        for (int64_t j = 0; j < N; j++)
            expect(test_close(c->f(a[j], b[j]), y[j], TIGHT), "%s(%g, %g) = %g", c->name, (double)a[j], (double)b[j], (double)y[j]);
        free(a);
        free(b);
        free(y);
        finish(t);
    }
}
END_TEST

START_TEST(where_takes_the_first_where_the_condition_is_not_zero)
{
    ag_tape *t = eager(1);
    ag_tensor *c = ag_value(t, &(ag_spec){ SHAPE(4) }, (ag_real[]){ 0, 1, -2, 0 });
    ag_tensor *a = ag_value(t, &(ag_spec){ SHAPE(1) }, (ag_real[]){ 7 }), *b = ag_value(t, &(ag_spec){ SHAPE(4) }, (ag_real[]){ 1, 2, 3, 4 });
    ag_real *y = read_all(ag_where(t, c, a, b));
    ck_assert(y[0] == 1 && y[1] == 7 && y[2] == 7 && y[3] == 4);
    free(y);
    finish(t);
}
END_TEST

/* ---- reductions over any axes ---- */

static void naive_reduce(const ag_real *x, const int64_t *shape, unsigned axes, bool max, double *y)
{
    int64_t n = ag_product(4, shape), out[4], n_out = 1;
    for (int i = 0; i < 4; i++)
        n_out *= out[i] = axes & AG_AXIS(i) ? 1 : shape[i];
    for (int64_t i = 0; i < n_out; i++)
        y[i] = max ? -INFINITY : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = i, place = 0, step = 1;
        for (int axis = 3; axis >= 0; axis--) {
            int64_t at = rest % shape[axis];
            rest /= shape[axis];
            place += (out[axis] == 1 ? 0 : at) * step;
            step *= out[axis];
        }
        y[place] = max ? fmax(y[place], (double)x[i]) : y[place] + (double)x[i];
    }
}

static void check_reduction(unsigned axes, const int *order)
{
    static const int64_t shape[] = { 3, 4, 2, 7 };
    ag_tape *t = eager(1);
    ag_random r;
    ag_random_init(&r, 3, AG_STREAM_USER, axes, 0);
    ag_spec spec = { .ndim = 4 };
    for (int i = 0; i < 4; i++)
        spec.shape[order[i]] = shape[i];   /* so that transposing by `order` gives `shape` */
    ag_tensor *leaf = random_leaf(t, &r, &spec, -2, 2, NULL), *x = ag_transpose(t, leaf, order);
    ag_real *numbers = read_all(x), *sum = read_all(ag_sum_keep(t, x, axes)), *most = read_all(ag_max_keep(t, x, axes));
    ag_real *dropped = read_all(ag_mean(t, x, axes));
    double want_sum[168], want_max[168], count = 1;
    int64_t n = 1;
    for (int i = 0; i < 4; i++)
        *(axes & AG_AXIS(i) ? &count : &(double){ 0 }) *= (double)shape[i];
    naive_reduce(numbers, shape, axes, false, want_sum);
    naive_reduce(numbers, shape, axes, true, want_max);
    for (int i = 0; i < 4; i++)
        n *= axes & AG_AXIS(i) ? 1 : shape[i];
    for (int64_t i = 0; i < n; i++) {
        ck_close(sum[i], want_sum[i], 10 * TIGHT);
        ck_close(dropped[i], want_sum[i] / count, 10 * TIGHT);
        ck_assert(most[i] == (ag_real)want_max[i]);
    }
    free(numbers);
    free(sum);
    free(most);
    free(dropped);
    finish(t);
}

START_TEST(sums_means_and_maxima_agree_with_plain_loops_over_any_axes)
{
    static const int orders[][4] = { { 0, 1, 2, 3 }, { 3, 2, 1, 0 }, { 1, 0, 3, 2 }, { 2, 3, 0, 1 } };
    for (unsigned axes = 0; axes < 16; axes++)
        for (int i = 0; i < 4; i++)
            check_reduction(axes, orders[i]);
}
END_TEST

START_TEST(a_sum_over_nothing_is_zero_and_a_maximum_minus_infinity)
{
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(2, 0) }, NULL);
    ag_real *sum = read_all(ag_sum(t, x, AG_AXIS(1))), *most = read_all(ag_max_over(t, x, AG_AXIS(1)));
    ck_assert(sum[0] == 0 && sum[1] == 0 && most[0] == -INFINITY && most[1] == -INFINITY);
    free(sum);
    free(most);
    finish(t);
}
END_TEST

START_TEST(task_sum_adds_the_tasks)
{
    ag_tape *t = eager(3);
    ag_tensor *x = ag_value(t, &(ag_spec){ .tasks = true, SHAPE(2) }, (ag_real[]){ 1, 2, 10, 20, 100, 200 });
    ag_tensor *y = ag_task_sum(t, x);
    ag_real *got = read_all(y);
    ck_assert(!ag_has_tasks(y) && got[0] == 111 && got[1] == 222);
    free(got);
    finish(t);
}
END_TEST

/* ---- softmax ---- */

START_TEST(softmax_rows_sum_to_one_and_agree_with_a_plain_loop_in_any_layout)
{
    enum { N = 5, C = 9 };
    ag_tape *t = eager(1);
    ag_random r;
    ag_random_init(&r, 4, AG_STREAM_USER, 0, 0);
    ag_real *x;
    ag_tensor *leaf = random_leaf(t, &r, &(ag_spec){ SHAPE(C, N) }, -40, 40, &x);
    ag_tensor *rows = ag_transpose(t, leaf, NULL);
    ag_real *p = read_all(ag_softmax(t, rows)), *q = read_all(ag_log_softmax(t, rows));
    for (int i = 0; i < N; i++) {
        double sum = 0, total = 0;
        for (int j = 0; j < C; j++)
            sum += exp((double)x[j * N + i]);
        for (int j = 0; j < C; j++) {
            ck_close(p[i * C + j], exp((double)x[j * N + i]) / sum, TIGHT);
            ck_close(q[i * C + j], (double)x[j * N + i] - log(sum), TIGHT);
            total += (double)p[i * C + j];
        }
        ck_close(total, 1, TIGHT);
    }
    free(x);
    free(p);
    free(q);
    finish(t);
}
END_TEST

START_TEST(softmax_survives_huge_numbers)
{
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(3) }, (ag_real[]){ 1e4, 1e4, -1e4 });
    ag_real *p = read_all(ag_softmax(t, x)), *q = read_all(ag_log_softmax(t, x));
    ck_close(p[0], 0.5, TIGHT);
    ck_assert(p[2] == 0);
    ck_close(q[1], -log(2.0), TIGHT);
    ck_close(q[2], -2e4 - log(2.0), TIGHT);
    free(p);
    free(q);
    finish(t);
}
END_TEST

/* ---- NaN ---- */

static void check_nan(ag_tape *t, const char *name, ag_tensor *y, int n_nan, const ag_real *want, int n)
{
    ag_real *got = read_all(y);
    int nan = 0;
    for (int i = 0; i < n; i++)
        nan += isnan(got[i]);
    expect(nan == n_nan, "%s: %d NaN, expected %d", name, nan, n_nan);
    expect(!differ(got, want, n, 0), "%s: %s", name, differ(got, want, n, 0));
    free(got);
    (void)t;
}

START_TEST(nan_is_passed_on_wherever_it_stands)
{
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(3) }, (ag_real[]){ -1, NAN, 2 });
    ag_tensor *z = ag_value(t, &(ag_spec){ SHAPE(3) }, (ag_real[]){ 5, 5, NAN });
    check_nan(t, "relu", ag_relu(t, x), 1, (ag_real[]){ 0, NAN, 2 }, 3);
    check_nan(t, "abs", ag_abs(t, x), 1, (ag_real[]){ 1, NAN, 2 }, 3);
    check_nan(t, "clip", ag_clip(t, x, -0.5, 1), 1, (ag_real[]){ -0.5, NAN, 1 }, 3);
    check_nan(t, "max", ag_max(t, x, z), 2, (ag_real[]){ 5, NAN, NAN }, 3);
    check_nan(t, "max turned", ag_max(t, z, x), 2, (ag_real[]){ 5, NAN, NAN }, 3);
    check_nan(t, "min", ag_min(t, x, z), 2, (ag_real[]){ -1, NAN, NAN }, 3);
    check_nan(t, "min turned", ag_min(t, z, x), 2, (ag_real[]){ -1, NAN, NAN }, 3);
    check_nan(t, "softmax", ag_softmax(t, x), 3, (ag_real[]){ NAN, NAN, NAN }, 3);
    check_nan(t, "log_softmax", ag_log_softmax(t, z), 3, (ag_real[]){ NAN, NAN, NAN }, 3);
    finish(t);
}
END_TEST

START_TEST(a_maximum_a_pool_and_a_loss_with_nan_anywhere_are_nan)
{
    ag_tape *t = eager(1);
    for (int at = 0; at < 4; at++) {
        ag_real data[] = { 1, 3, 2, 0 };
        data[at] = NAN;
        ag_tensor *row = ag_value(t, &(ag_spec){ SHAPE(1, 4) }, data);
        ag_tensor *label = ag_value(t, &(ag_spec){ .dtype = AG_INT, SHAPE(1) }, (int32_t[]){ 1 });
        check_nan(t, "max_over", ag_max_over(t, row, AG_ALL_AXES), 1, (ag_real[]){ NAN }, 1);
        check_nan(t, "max_pool2d", ag_max_pool2d(t, ag_reshape(t, row, 4, (int64_t[]){ 1, 2, 2, 1 }), 2, 2, false), 1, (ag_real[]){ NAN }, 1);
        check_nan(t, "cross_entropy", ag_cross_entropy(t, row, label), 1, (ag_real[]){ NAN }, 1);
        check_nan(t, "logsumexp", ag_logsumexp(t, row, AG_ALL_AXES), 1, (ag_real[]){ NAN }, 1);
        check_nan(t, "hit", ag_hit(t, row, label), 0, (ag_real[]){ 0 }, 1);
    }
    finish(t);
}
END_TEST

/* ---- indices ---- */

START_TEST(gather_takes_rows_and_scatter_add_puts_them_back_per_task)
{
    ag_tape *t = eager(2);
    ag_tensor *x = ag_value(t, &(ag_spec){ .tasks = true, SHAPE(3, 2) }, (ag_real[]){ 0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15 });
    ag_tensor *i = ag_value(t, &(ag_spec){ .dtype = AG_INT, .tasks = true, SHAPE(2, 2) }, (int32_t[]){ 2, 0, 0, 1, 1, 1, 2, 1 });
    ag_tensor *y = ag_gather(t, x, i);
    static const ag_real rows[] = { 4, 5, 0, 1, 0, 1, 2, 3, 12, 13, 12, 13, 14, 15, 12, 13 };
    ag_real *got = read_all(y), *back = read_all(ag_scatter_add(t, y, i, 4));
    ck_assert_ptr_null(differ(got, rows, 16, 0));
    static const ag_real sums[] = { 0, 2, 2, 3, 4, 5, 0, 0, 0, 0, 36, 39, 14, 15, 0, 0 };
    expect(!differ(back, sums, 16, 0), "%s", differ(back, sums, 16, 0));
    free(got);
    free(back);
    finish(t);
}
END_TEST

START_TEST(shared_rows_are_gathered_by_each_task_with_its_own_indices)
{
    ag_tape *t = eager(2);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(3) }, (ag_real[]){ 7, 8, 9 });
    ag_tensor *i = ag_value(t, &(ag_spec){ .dtype = AG_INT, .tasks = true, SHAPE(2) }, (int32_t[]){ 2, 0, 1, 1 });
    ag_real *y = read_all(ag_gather(t, x, i));
    ck_assert_ptr_null(differ(y, (ag_real[]){ 9, 7, 8, 8 }, 4, 0));
    free(y);
    finish(t);
}
END_TEST

START_TEST(one_hot_and_hit_count_classes)
{
    ag_tape *t = eager(1);
    ag_tensor *i = ag_value(t, &(ag_spec){ .dtype = AG_INT, SHAPE(3) }, (int32_t[]){ 1, 0, 2 });
    ag_real *one = read_all(ag_one_hot(t, i, 3));
    ck_assert_ptr_null(differ(one, (ag_real[]){ 0, 1, 0, 1, 0, 0, 0, 0, 1 }, 9, 0));
    ag_tensor *logits = ag_value(t, &(ag_spec){ SHAPE(3, 3) }, (ag_real[]){ 0, 2, 1, 5, 5, 1, 3, 1, 2 });
    ag_real *hit = read_all(ag_hit(t, logits, i));
    ck_assert_ptr_null(differ(hit, (ag_real[]){ 1, 1, 0 }, 3, 0));   /* a tie goes to the first */
    free(one);
    free(hit);
    finish(t);
}
END_TEST

START_TEST(an_index_out_of_range_is_an_error_when_evaluated)
{
    for (int32_t bad = -1; bad <= 3; bad += 4)
        for (int which = 0; which < 5; which++) {
            ag_error err = { 0 };
            ag_tape *t = eager(1);
            ag_tensor *i = ag_value(t, &(ag_spec){ .dtype = AG_INT, SHAPE(2) }, (int32_t[]){ 0, bad });
            ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(3, 2) }, (ag_real[]){ 1, 2, 3, 4, 5, 6 });
            ag_tensor *logits = ag_value(t, &(ag_spec){ SHAPE(2, 3) }, (ag_real[]){ 1, 2, 3, 4, 5, 6 });
            ag_tensor *y = which == 0 ? ag_gather(t, x, i) : which == 1 ? ag_scatter_add(t, logits, i, 3)
                         : which == 2 ? ag_one_hot(t, i, 3) : which == 3 ? ag_hit(t, logits, i) : ag_cross_entropy(t, logits, i);
            ck_assert_ptr_null(y);
            ck_assert_int_eq(ag_tape_status(t, &err), AG_EINVAL);
            static const char *const names[] = { "gather", "scatter_add", "one_hot", "hit", "cross_entropy" };
            expect(strstr(err.message, names[which]) && strstr(err.message, bad < 0 ? "-1" : "3"), "%s", err.message);
            ag_tape_free(t);
        }
}
END_TEST

START_TEST(indices_that_are_not_row_major_are_refused)
{
    ag_error err = { 0 };
    ag_tape *t = eager(1);
    ag_tensor *i = ag_value(t, &(ag_spec){ .dtype = AG_INT, SHAPE(2, 3) }, (int32_t[]){ 0, 1, 2, 2, 1, 0 });
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(3) }, (ag_real[]){ 1, 2, 3 });
    ck_assert_ptr_null(ag_gather(t, x, ag_transpose(t, i, NULL)));
    ck_assert_int_eq(ag_tape_status(t, &err), AG_ESHAPE);
    expect(strstr(err.message, "gather"), "%s", err.message);
    ag_tape_free(t);
}
END_TEST

/* ---- joins and views ---- */

START_TEST(pad_concat_and_slice_move_numbers_where_they_belong)
{
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(2, 2) }, (ag_real[]){ 1, 2, 3, 4 }), *xt = ag_transpose(t, x, NULL);
    ag_real *padded = read_all(ag_pad(t, xt, 1, 1, 2)), *below = read_all(ag_concat(t, x, xt, 0)), *beside = read_all(ag_concat(t, x, xt, 1));
    ck_assert_ptr_null(differ(padded, (ag_real[]){ 0, 1, 3, 0, 0, 0, 2, 4, 0, 0 }, 10, 0));
    ck_assert_ptr_null(differ(below, (ag_real[]){ 1, 2, 3, 4, 1, 3, 2, 4 }, 8, 0));
    ck_assert_ptr_null(differ(beside, (ag_real[]){ 1, 2, 1, 3, 3, 4, 2, 4 }, 8, 0));
    ag_real *part = read_all(ag_slice(t, ag_slice(t, xt, 0, 1, 2), 1, 1, 2));
    ck_assert(part[0] == 4);
    free(padded);
    free(below);
    free(beside);
    free(part);
    finish(t);
}
END_TEST

START_TEST(transposing_twice_is_the_same_only_if_the_first_time_swapped)
{
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(2, 3) }, (ag_real[]){ 1, 2, 3, 4, 5, 6 });
    ag_tensor *same = ag_transpose(t, x, (int[]){ 0, 1 });
    ag_real *swapped = read_all(ag_transpose(t, same, NULL)), *twice = read_all(ag_transpose(t, ag_transpose(t, x, NULL), NULL));
    ck_assert_ptr_null(differ(swapped, (ag_real[]){ 1, 4, 2, 5, 3, 6 }, 6, 0));
    ck_assert_ptr_null(differ(twice, (ag_real[]){ 1, 2, 3, 4, 5, 6 }, 6, 0));
    free(swapped);
    free(twice);
    finish(t);
}
END_TEST

TEST_MAIN(unary_operators_agree_with_the_c_library_in_any_layout_and_length, binary_operators_agree_with_plain_c_ties_included,
          where_takes_the_first_where_the_condition_is_not_zero, sums_means_and_maxima_agree_with_plain_loops_over_any_axes,
          a_sum_over_nothing_is_zero_and_a_maximum_minus_infinity, task_sum_adds_the_tasks,
          softmax_rows_sum_to_one_and_agree_with_a_plain_loop_in_any_layout, softmax_survives_huge_numbers,
          nan_is_passed_on_wherever_it_stands, a_maximum_a_pool_and_a_loss_with_nan_anywhere_are_nan,
          gather_takes_rows_and_scatter_add_puts_them_back_per_task,
          shared_rows_are_gathered_by_each_task_with_its_own_indices, one_hot_and_hit_count_classes,
          an_index_out_of_range_is_an_error_when_evaluated, indices_that_are_not_row_major_are_refused,
          pad_concat_and_slice_move_numbers_where_they_belong, transposing_twice_is_the_same_only_if_the_first_time_swapped)
