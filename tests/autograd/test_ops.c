/* Walks the operator table: every row is complete, and every check case of every row passes the derivative checker
 * without tasks, with tasks on all inputs, on each single input, and on inputs that are views of other memory. */
#include "tests/autograd/gradcheck.h"
#include "tests/autograd/tensors.h"
#include "tests/check.h"

/* ---- the rows are complete ---- */

/* What is wrong with a row; NULL: nothing. */
static const char *row_fault(const ag_op *op)
{
    if (!op->name || op->arity < 1 || op->arity > AG_MAX_ARITY || !op->shape)
        return "has no name, arity or shape rule";
    if ((op->span != NULL) + (op->forward != NULL) + op->view != 1)
        return "needs exactly one of span, forward and view";
    if (op->not_differentiable ? op->vjp || op->jvp : !op->vjp || !op->jvp)
        return "needs both rules, or to be marked non-differentiable and have none";
    if (op->check[0].n < 1)
        return "has no check";
    for (int i = 0; i < AG_MAX_CHECKS && op->check[i].n; i++)
        if (op->check[i].n != op->arity && !op->check[i].build)
            return "has a check with another number of inputs than the operator and no build";
    return NULL;
}

START_TEST(every_row_of_the_table_is_complete)
{
    for (int i = 0; ag_op_table[i]; i++) {
        const char *fault = row_fault(ag_op_table[i]);
        expect(!fault, "%s %s", ag_op_table[i]->name, fault);
    }
}
END_TEST

START_TEST(the_table_has_the_names_of_the_list_in_its_order)
{
    static const char *const names[] = {
#define AG_OP(name, parameters, meaning) #name,
#include "autograd/ops.h"
#undef AG_OP
    };
    int n = (int)(sizeof names / sizeof *names);
    for (int i = 0; i < n; i++)
        ck_assert_str_eq(ag_op_table[i]->name, names[i]);
    ck_assert_ptr_null(ag_op_table[n]);
}
END_TEST

START_TEST(an_incomplete_row_is_noticed)
{
    ag_op row = ag_op_tanh;
    ck_assert_ptr_null(row_fault(&row));
    row.check[0].n = 0;
    ck_assert_str_eq(row_fault(&row), "has no check");
    row = ag_op_tanh;
    row.jvp = NULL;
    ck_assert_ptr_nonnull(row_fault(&row));
    row.vjp = NULL;
    ck_assert_ptr_nonnull(row_fault(&row));
    row.not_differentiable = true;
    ck_assert_ptr_null(row_fault(&row));
    row = ag_op_tanh;
    row.span = NULL;
    ck_assert_ptr_nonnull(row_fault(&row));
}
END_TEST

/* ---- every case in every variant ---- */

enum { PLAIN, TRANSPOSED, SLICED, EXPANDED, N_LOOK };

typedef struct subject {
    const ag_op *op;
    const ag_check *check;
    int look;                        /* how the inputs lie in memory */
} subject;

static ag_conv conv_of(const ag_attr *a)
{
    return (ag_conv){ a->i[0], a->i[1], a->i[2], a->i[3], a->i[4], a->i[5] };
}

/* Applies the operator with the check's attributes; through the public function where that puts inputs in order. */
static ag_tensor *apply_op(ag_tape *t, const ag_op *op, int n, ag_tensor *const *x, const ag_attr *a)
{
    ag_conv c = conv_of(a);
    if (op == &ag_op_softmax)
        return ag_softmax(t, x[0]);
    if (op == &ag_op_log_softmax)
        return ag_log_softmax(t, x[0]);
    if (op == &ag_op_conv2d)
        return ag_conv2d(t, x[0], x[1], &c);
    if (op == &ag_op_conv2d_input_grad)
        return ag_conv2d_input_grad(t, x[0], x[1], &c, a->i[6], a->i[7]);
    if (op == &ag_op_conv2d_weight_grad)
        return ag_conv2d_weight_grad(t, x[0], x[1], &c, a->i[6], a->i[7]);
    if (op == &ag_op_avg_pool2d)
        return ag_avg_pool2d(t, x[0], a->i[0], a->i[1]);
    if (op == &ag_op_avg_pool2d_grad)
        return ag_avg_pool2d_grad(t, x[0], a->i[0], a->i[1], a->i[2], a->i[3]);
    if (op == &ag_op_product_sum)
        return ag_product_sum(t, x[0], x[1], (unsigned)a->i[0]);
    if (op == &ag_op_moments)
        return ag_moments(t, x[0], (unsigned)a->i[0], a->f[0]);
    if (op == &ag_op_standardise_grad)
        return ag_standardise_grad(t, x[0], x[1], x[2], (unsigned)a->i[0]);
    if (op == &ag_op_scale_shift)
        return ag_scale_shift(t, x[0], x[1], x[2]);
    return ag_apply(t, op, n, x, a);
}

/* From the leaf to the input of the wanted shape. */
static ag_tensor *look_at(ag_tape *t, ag_tensor *leaf, int ndim, const int64_t *shape, int look)
{
    int reversed[AG_MAX_DIMS];
    for (int i = 0; i < ndim; i++)
        reversed[i] = ndim - 1 - i;
    if (look == TRANSPOSED)
        return ag_transpose(t, leaf, reversed);
    if (look == SLICED)
        return ag_slice(t, leaf, ndim - 1, 1, 1 + shape[ndim - 1]);
    return look == EXPANDED ? ag_expand(t, leaf, ndim, shape) : leaf;
}

static bool can_look(int ndim, const int64_t *shape, int look)
{
    return look == PLAIN || (look == TRANSPOSED && ndim >= 2) || (look == SLICED && ndim >= 1) ||
           (look == EXPANDED && ndim >= 1 && shape[0] > 1);
}

static ag_spec leaf_spec(int ndim, const int64_t *shape, int look, bool tasks)
{
    ag_spec spec = { .tasks = tasks, .ndim = ndim };
    for (int i = 0; i < ndim; i++)
        spec.shape[i] = look == TRANSPOSED ? shape[ndim - 1 - i] : shape[i];
    if (look == SLICED)
        spec.shape[ndim - 1] += 3;
    if (look == EXPANDED)
        spec.shape[0] = 1;
    return spec;
}

static ag_tensor *run_subject(ag_tape *t, ag_tensor *const *leaf, const void *ctx)
{
    const subject *s = ctx;
    ag_tensor *x[AG_MAX_ARITY];
    for (int k = 0; k < s->check->n; k++) {
        int look = can_look(s->check->in[k].ndim, s->check->in[k].shape, s->look) ? s->look : PLAIN;
        x[k] = look_at(t, leaf[k], s->check->in[k].ndim, s->check->in[k].shape, look);
    }
    return s->check->build ? s->check->build(t, x) : apply_op(t, s->op, s->check->n, x, &s->check->attr);
}

/* tasks: bit k gives input k a task axis. */
static void check_variant(const ag_op *op, int number, int look, unsigned tasks, int order)
{
    const ag_check *k = &op->check[number];
    subject s = { op, k, look };
    gradcheck c = { .f = run_subject, .ctx = &s, .n = k->n, .n_task = tasks ? 3 : 1, .order = order, .seed = (uint64_t)number };
    char why[GRADCHECK_TEXT];
    if (op == &ag_op_task_expand && tasks)   /* it is the operator that gives the axis */
        return;
    for (int i = 0; i < k->n; i++) {
        c.in[i].spec = leaf_spec(k->in[i].ndim, k->in[i].shape, can_look(k->in[i].ndim, k->in[i].shape, look) ? look : PLAIN,
                                 tasks >> i & 1);
        c.in[i].lo = k->in[i].lo;
        c.in[i].hi = k->in[i].hi;
    }
    bool well = op->not_differentiable && !k->build ? gradcheck_zero(&c, why) : gradcheck_run(&c, why);
    expect(well, "%s, check %d, look %d, tasks %u: %s", op->name, number, look, tasks, why);
}

/* Calls for every case of every row. */
static void each_case(void (*call)(const ag_op *op, int number))
{
    for (int i = 0; ag_op_table[i]; i++)
        for (int j = 0; j < AG_MAX_CHECKS && ag_op_table[i]->check[j].n; j++)
            call(ag_op_table[i], j);
}

static void without_tasks(const ag_op *op, int number)
{
    check_variant(op, number, PLAIN, 0, 3);
}

static void with_tasks(const ag_op *op, int number)
{
    int n = op->check[number].n;
    check_variant(op, number, PLAIN, (1u << n) - 1, 2);
    for (int k = 0; n > 1 && k < n; k++)
        check_variant(op, number, PLAIN, 1u << k, 2);
}

static void with_views(const ag_op *op, int number)
{
    bool any = false;
    for (int look = TRANSPOSED; look < N_LOOK; look++) {
        for (int k = 0; k < op->check[number].n; k++)
            any |= can_look(op->check[number].in[k].ndim, op->check[number].in[k].shape, look);
        if (any)
            check_variant(op, number, look, 0, 2);
        if (any)
            check_variant(op, number, look, 1, 2);
    }
}

START_TEST(every_case_passes_to_the_third_order_without_tasks)
{
    each_case(without_tasks);
}
END_TEST

START_TEST(every_case_passes_to_the_second_order_with_tasks)
{
    each_case(with_tasks);
}
END_TEST

START_TEST(every_case_passes_to_the_second_order_on_views)
{
    each_case(with_views);
}
END_TEST

static ag_tensor *expand_then_square(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    (void)ctx;
    return ag_square(t, ag_task_expand(t, x[0]));
}

START_TEST(a_task_expanded_tensor_gets_gradients_per_task_and_its_leaf_the_sum)
{
    gradcheck c = { .f = expand_then_square, .n = 1, .in = {{ { SHAPE(2, 3) }, 0, 0 }}, .n_task = 3, .order = 3 };
    char why[GRADCHECK_TEXT];
    expect(gradcheck_run(&c, why), "%s", why);
    ag_tape *t = eager(3);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(2) }, (ag_real[]){ 2, 5 }), *each = ag_task_expand(t, x), *g[2];
    ag_tensor *xs[] = { x, each };
    ck_assert_int_eq(ag_grad(t, ag_square(t, each), NULL, 2, xs, g), AG_OK);
    ag_real shared[2], tasks[6];
    ck_assert(!ag_has_tasks(g[0]) && ag_has_tasks(g[1]));
    ck_assert_int_eq(ag_read(g[0], shared), AG_OK);
    ck_assert_int_eq(ag_read(g[1], tasks), AG_OK);
    ck_assert(shared[0] == 12 && shared[1] == 30);
    for (int i = 0; i < 3; i++)
        ck_assert(tasks[2 * i] == 4 && tasks[2 * i + 1] == 10);
    finish(t);
}
END_TEST

/* ---- at the kinks ---- */

/* The derivative of f at x, by both modes, which must agree exactly. */
static double slope_at(ag_tensor *(*f)(ag_tape *t, ag_tensor *const *x), int n, const double *at, int k)
{
    ag_tape *t = eager(1);
    ag_tensor *x[3], *g, *dy, *one = ag_value(t, &(ag_spec){ SHAPE(1) }, (ag_real[]){ 1 });
    for (int i = 0; i < n; i++)
        x[i] = ag_value(t, &(ag_spec){ SHAPE(1) }, (ag_real[]){ (ag_real)at[i] });
    ag_tensor *y = f(t, x);
    ag_grad(t, y, NULL, 1, &x[k], &g);
    ag_jvp(t, 1, &x[k], &one, 1, &y, &dy);
    ag_real reverse = NAN, forward = NAN;
    ck_assert_int_eq(ag_read(g, &reverse), AG_OK);
    ck_assert_int_eq(ag_read(dy, &forward), AG_OK);
    expect(reverse == forward, "reverse %g, forward %g", (double)reverse, (double)forward);
    finish(t);
    return (double)reverse;
}

static ag_tensor *relu(ag_tape *t, ag_tensor *const *x)
{
    return ag_relu(t, x[0]);
}

static ag_tensor *absolute(ag_tape *t, ag_tensor *const *x)
{
    return ag_abs(t, x[0]);
}

static ag_tensor *clip(ag_tape *t, ag_tensor *const *x)
{
    return ag_clip(t, x[0], -1, 1);
}

static ag_tensor *max(ag_tape *t, ag_tensor *const *x)
{
    return ag_max(t, x[0], x[1]);
}

static ag_tensor *min(ag_tape *t, ag_tensor *const *x)
{
    return ag_min(t, x[0], x[1]);
}

static ag_tensor *gate(ag_tape *t, ag_tensor *const *x)
{
    return ag_relu_gate(t, x[0], x[1]);
}

START_TEST(derivatives_at_kinks_are_those_of_the_list)
{
    ck_assert(slope_at(relu, 1, (double[]){ 0 }, 0) == 0);
    ck_assert(slope_at(relu, 1, (double[]){ 1e-30 }, 0) == 1);
    ck_assert(slope_at(absolute, 1, (double[]){ 0 }, 0) == 0);
    ck_assert(slope_at(clip, 1, (double[]){ -1 }, 0) == 0);
    ck_assert(slope_at(clip, 1, (double[]){ 1 }, 0) == 0);
    ck_assert(slope_at(clip, 1, (double[]){ 0.999 }, 0) == 1);
    for (int k = 0; k < 2; k++) {
        ck_assert(slope_at(max, 2, (double[]){ 3, 3 }, k) == 0.5);
        ck_assert(slope_at(min, 2, (double[]){ 3, 3 }, k) == 0.5);
        ck_assert(slope_at(max, 2, (double[]){ 3, 2 }, k) == (k == 0));
        ck_assert(slope_at(min, 2, (double[]){ 3, 2 }, k) == (k == 1));
    }
    ck_assert(slope_at(gate, 2, (double[]){ 0, 2 }, 1) == 0);
    ck_assert(slope_at(gate, 2, (double[]){ 1, 2 }, 0) == 0);
}
END_TEST

START_TEST(ties_share_the_derivative_of_a_maximum)
{
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(2, 3) }, (ag_real[]){ 5, 1, 5, 7, 7, 7 }), *g, *dy;
    ag_tensor *y = ag_max_over(t, x, AG_AXIS(1)), *ramp = ag_value(t, &(ag_spec){ SHAPE(2, 3) }, (ag_real[]){ 1, 10, 3, 3, 6, 12 });
    ag_grad(t, y, NULL, 1, &x, &g);
    ag_jvp(t, 1, &x, &ramp, 1, &y, &dy);
    ag_real *got = read_all(g), *tangent = read_all(dy);
    const ag_real third = (ag_real)1 / 3, want[] = { 0.5, 0, 0.5, third, third, third };
    expect(!differ(got, want, 6, TIGHT), "%s", differ(got, want, 6, TIGHT));
    ck_close(tangent[0], 2, TIGHT);
    ck_close(tangent[1], 7, TIGHT);
    free(got);
    free(tangent);
    finish(t);
}
END_TEST

TEST_MAIN(every_row_of_the_table_is_complete, the_table_has_the_names_of_the_list_in_its_order, an_incomplete_row_is_noticed,
          every_case_passes_to_the_third_order_without_tasks, every_case_passes_to_the_second_order_with_tasks,
          every_case_passes_to_the_second_order_on_views,
          a_task_expanded_tensor_gets_gradients_per_task_and_its_leaf_the_sum, derivatives_at_kinks_are_those_of_the_list,
          ties_share_the_derivative_of_a_maximum)
