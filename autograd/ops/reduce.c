/* Reductions over sets of axes, over the tasks, and softmax along the last axis. */
#include "autograd/op.h"
#include "autograd/ops/rows.h"

/* Merged axes of a reduction, outermost first; out_stride 0 marks a reduced axis. */
typedef struct reduction {
    int n_axis;
    int64_t size[AG_RANK], in_stride[AG_RANK], out_stride[AG_RANK];
} reduction;

static void plan_reduction(const ag_call *c, reduction *r)
{
    int64_t out_stride[AG_RANK], next = 1;
    for (int i = c->out.rank - 1; i >= 0; i--) {
        out_stride[i] = c->out.shape[i] == c->in[0].shape[i] ? next : 0;
        next *= c->out.shape[i];
    }
    r->n_axis = 0;
    for (int i = 0; i < c->out.rank; i++) {
        int64_t size = c->in[0].shape[i], in = c->in[0].stride[i], out = out_stride[i];
        if (size == 1)
            continue;
        int last = r->n_axis - 1;
        if (last >= 0 && r->in_stride[last] == in * size && r->out_stride[last] == out * size) {
            r->size[last] *= size;
        } else {
            last = r->n_axis++;
            r->size[last] = size;
        }
        r->in_stride[last] = in;
        r->out_stride[last] = out;
    }
    if (r->n_axis == 0) {
        r->n_axis = 1;
        r->size[0] = 1;
        r->in_stride[0] = r->out_stride[0] = 0;
    }
}

/* y[i * out_stride] = combine(y, x[i * stride]) for one run of the innermost axis. */
typedef void reduce_run(ag_real *y, int64_t out_stride, const ag_real *x, int64_t stride, int64_t n);

static void reduce(const ag_call *c, ag_real identity, reduce_run *run)
{
    reduction r;
    int64_t index[AG_RANK] = { 0 }, n_out = ag_array_numel(&c->out);
    ag_real *y = c->out.data;
    const ag_real *x = c->in[0].data;
    for (int64_t i = 0; i < n_out; i++)
        y[i] = identity;
    if (ag_array_numel(&c->in[0]) == 0)
        return;
    plan_reduction(c, &r);
    int last = r.n_axis - 1;
    for (;;) {
        run(y, r.out_stride[last], x, r.in_stride[last], r.size[last]);
        int axis = last - 1;
        for (; axis >= 0; axis--) {
            x += r.in_stride[axis];
            y += r.out_stride[axis];
            if (++index[axis] < r.size[axis])
                break;
            x -= r.size[axis] * r.in_stride[axis];
            y -= r.size[axis] * r.out_stride[axis];
            index[axis] = 0;
        }
        if (axis < 0)
            return;
    }
}

AG_KERNEL static void sum_run(ag_real *restrict y, int64_t out_stride, const ag_real *restrict x, int64_t stride, int64_t n)
{
    if (out_stride == 0 && stride == 1) {
        ag_real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++)
            sum += x[i];
        *y += sum;
    } else if (out_stride == 0) {
        ag_real sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += x[i * stride];
        *y += sum;
    } else if (out_stride == 1 && stride == 1) {
        for (int64_t i = 0; i < n; i++)
            y[i] += x[i];
    } else {
        for (int64_t i = 0; i < n; i++)
            y[i * out_stride] += x[i * stride];
    }
}

static ag_real larger(ag_real a, ag_real b)   /* NaN wins */
{
    return a > b || a != a ? a : b;
}

static void max_run(ag_real *y, int64_t out_stride, const ag_real *x, int64_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i * out_stride] = larger(x[i * stride], y[i * out_stride]);
}

static bool keep_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *x = y->in[0];
    int64_t shape[AG_MAX_DIMS];
    if (x->dtype != AG_REAL)
        return ag_tape_fail(t, AG_ESHAPE, "%s: an index tensor; numbers are expected", y->op->name);
    for (int i = 0; i < x->ndim; i++)
        shape[i] = y->attr.i[0] & AG_AXIS(i) ? 1 : x->shape[i];
    ag_set_shape(y, AG_REAL, x->ndim, shape);
    return true;
}

/* The axes as a set without those the tensor does not have, so that equal sets are equal numbers. */
static ag_attr axes_attr(const ag_tensor *x, unsigned axes)
{
    return (ag_attr){ .i = { axes & ((1u << x->ndim) - 1) } };
}

/* sum_keep */
static void sum_keep_forward(const ag_call *c)
{
    reduce(c, 0, sum_run);
}

static ag_tensor *sum_keep_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g for every summand */
{
    (void)k;
    return ag_expand(t, g, y->in[0]->ndim, y->in[0]->shape);
}

static ag_tensor *sum_keep_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* the same sum */
{
    (void)k;
    return ag_sum_keep(t, dx, (unsigned)y->attr.i[0]);
}

const ag_op ag_op_sum_keep = {
    .name = "sum_keep", .arity = 1, .shape = keep_shape, .forward = sum_keep_forward,
    .vjp = sum_keep_vjp, .jvp = sum_keep_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }}, .attr = { .i = { AG_AXIS(1) } } },
              { .n = 1, .in = {{ 2, { 3, 5 } }}, .attr = { .i = { AG_AXIS(0) } } },
              { .n = 1, .in = {{ 3, { 2, 3, 4 } }}, .attr = { .i = { AG_AXIS(0) | AG_AXIS(2) } } },
              { .n = 1, .in = {{ 3, { 2, 3, 4 } }}, .attr = { .i = { AG_AXIS(1) } } },
              { .n = 1, .in = {{ 2, { 3, 0 } }}, .attr = { .i = { AG_AXIS(1) } } }},
};

ag_tensor *ag_sum_keep(ag_tape *t, ag_tensor *x, unsigned axes)
{
    if (!x)
        return NULL;
    ag_attr attr = axes_attr(x, axes);
    int64_t count = 1;
    for (int i = 0; i < x->ndim; i++)
        if (attr.i[0] & AG_AXIS(i))
            count *= x->shape[i];
    if (count == 1)
        return x;
    if (x->is_scalar) {
        int64_t shape[AG_MAX_DIMS];
        for (int i = 0; i < x->ndim; i++)
            shape[i] = attr.i[0] & AG_AXIS(i) ? 1 : x->shape[i];
        return ag_constant(t, x->value * (double)count, x->ndim, shape, x->tasks);
    }
    return ag_apply(t, &ag_op_sum_keep, 1, &x, &attr);
}

/* max_keep */
static void max_keep_forward(const ag_call *c)
{
    reduce(c, -INFINITY, max_run);
}

static ag_tensor *winners(ag_tape *t, ag_tensor *y)   /* 1 / (number of largest) where x is the largest */
{
    ag_tensor *mask = ag_equal(t, y->in[0], y);
    return ag_div(t, mask, ag_sum_keep(t, mask, (unsigned)y->attr.i[0]));
}

static ag_tensor *max_keep_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    (void)k;
    return ag_mul(t, winners(t, y), g);
}

static ag_tensor *max_keep_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)
{
    (void)k;
    return ag_sum_keep(t, ag_mul(t, winners(t, y), dx), (unsigned)y->attr.i[0]);
}

const ag_op ag_op_max_keep = {
    .name = "max_keep", .arity = 1, .shape = keep_shape, .forward = max_keep_forward,
    .vjp = max_keep_vjp, .jvp = max_keep_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }}, .attr = { .i = { AG_AXIS(1) } } },
              { .n = 1, .in = {{ 3, { 2, 3, 4 } }}, .attr = { .i = { AG_AXIS(0) | AG_AXIS(2) } } }},
};

ag_tensor *ag_max_keep(ag_tape *t, ag_tensor *x, unsigned axes)
{
    if (!x)
        return NULL;
    ag_attr attr = axes_attr(x, axes);
    return ag_apply(t, &ag_op_max_keep, 1, &x, &attr);
}

/* task_sum */
static bool task_sum_shape(ag_tape *t, ag_tensor *y)
{
    if (!y->in[0]->tasks || y->in[0]->dtype != AG_REAL)
        return ag_tape_fail(t, AG_ESHAPE, "task_sum: a tensor of numbers with a task axis is expected");
    y->tasks = false;
    ag_set_shape(y, AG_REAL, y->in[0]->ndim, y->in[0]->shape);
    return true;
}

static ag_tensor *task_sum_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g for every task */
{
    (void)y, (void)k;
    return ag_task_expand(t, g);
}

static ag_tensor *task_sum_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* the same sum */
{
    (void)k;
    return dx->tasks ? ag_task_sum(t, dx) : ag_scale(t, dx, (double)y->n_task);
}

static ag_tensor *task_sum_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_task_sum(t, ag_task_expand(t, x[0]));
}

const ag_op ag_op_task_sum = {
    .name = "task_sum", .arity = 1, .shape = task_sum_shape, .forward = sum_keep_forward,
    .vjp = task_sum_rule, .jvp = task_sum_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }}, .build = task_sum_check }},
};

ag_tensor *ag_task_sum(ag_tape *t, ag_tensor *x)
{
    if (x && x->is_scalar && x->tasks)
        return ag_full(t, x->value * (double)x->n_task, x->ndim, x->shape);
    return ag_apply(t, &ag_op_task_sum, 1, &x, NULL);
}

/* softmax and log_softmax: rows of the last axis, contiguous */
static bool rows_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *x = y->in[0];
    if (x->dtype != AG_REAL || x->ndim == 0)
        return ag_tape_fail(t, AG_ESHAPE, "%s: a tensor of numbers with at least one axis is expected", y->op->name);
    ag_set_shape(y, AG_REAL, x->ndim, x->shape);
    return true;
}

AG_KERNEL static void softmax_rows(const ag_real *restrict x, ag_real *restrict y, int64_t rows, int64_t n)
{
    row_block b;
    exp_rows(x, y, rows, n, &b);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            y[i] /= b.sum[r];
}

AG_KERNEL static void log_softmax_rows(const ag_real *restrict x, ag_real *restrict y, int64_t rows, int64_t n)
{
    row_block b;
    exp_rows(x, y, rows, n, &b);
    for (int64_t r = 0; r < rows; r++) {
        const ag_real log_sum = vec_log(b.sum[r]);
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            y[i] = x[i] - b.max[r] - log_sum;
    }
}

static void each_row(const ag_call *c, void (*some)(const ag_real *x, ag_real *y, int64_t rows, int64_t n))
{
    int64_t n = c->out.shape[c->out.rank - 1], tasks = c->out.shape[0];
    int64_t rows = n ? ag_array_numel(&c->out) / tasks / n : 0;
    for (int64_t task = 0; task < tasks; task++) {
        const ag_real *x = (const ag_real *)c->in[0].data + task * c->in[0].stride[0];
        ag_real *y = (ag_real *)c->out.data + task * rows * n;
        for (int64_t i = 0, step; i < rows; i += step) {
            step = rows - i < rows_together(n) ? rows - i : rows_together(n);
            some(x + i * n, y + i * n, step, n);
        }
    }
}

static unsigned last_axis(const ag_tensor *x)
{
    return AG_AXIS(x->ndim - 1);
}

static void softmax_forward(const ag_call *c)
{
    each_row(c, softmax_rows);
}

static ag_tensor *softmax_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* y (g - sum(y g)); symmetric */
{
    (void)k;
    ag_tensor *yg = ag_mul(t, y, g);
    return ag_sub(t, yg, ag_mul(t, y, ag_sum_keep(t, yg, last_axis(y))));
}

const ag_op ag_op_softmax = {
    .name = "softmax", .arity = 1, .shape = rows_shape, .forward = softmax_forward,
    .vjp = softmax_rule, .jvp = softmax_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }, { .n = 1, .in = {{ 1, { 1 } }} }, { .n = 1, .in = {{ 2, { 3, 0 } }} }},
};

ag_tensor *ag_softmax(ag_tape *t, ag_tensor *x)
{
    x = ag_contiguous(t, x);
    return ag_apply(t, &ag_op_softmax, 1, &x, NULL);
}

static void log_softmax_forward(const ag_call *c)
{
    each_row(c, log_softmax_rows);
}

static ag_tensor *log_softmax_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g - softmax(x) sum(g) */
{
    (void)k;
    return ag_sub(t, g, ag_mul(t, ag_softmax(t, y->in[0]), ag_sum_keep(t, g, last_axis(y))));
}

static ag_tensor *log_softmax_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* dx - sum(softmax(x) dx) */
{
    (void)k;
    return ag_sub(t, dx, ag_sum_keep(t, ag_mul(t, ag_softmax(t, y->in[0]), dx), last_axis(y)));
}

const ag_op ag_op_log_softmax = {
    .name = "log_softmax", .arity = 1, .shape = rows_shape, .forward = log_softmax_forward,
    .vjp = log_softmax_vjp, .jvp = log_softmax_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }, { .n = 1, .in = {{ 1, { 1 } }} }},
};

ag_tensor *ag_log_softmax(ag_tape *t, ag_tensor *x)
{
    x = ag_contiguous(t, x);
    return ag_apply(t, &ag_op_log_softmax, 1, &x, NULL);
}
