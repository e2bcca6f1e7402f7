/* Operators with int32 indices: gather and its adjoint scatter_add, one_hot, hit, and cross_entropy with labels. */
#include "autograd/op.h"
#include "autograd/vecmath.h"

#include <string.h>

static bool expect(ag_tape *t, const ag_tensor *y, int k, ag_dtype dtype)
{
    if (y->in[k]->dtype != dtype)
        return ag_tape_fail(t, AG_ESHAPE, "%s: input %d must be %s", y->op->name, k, dtype == AG_INT ? "an index tensor (int32)" : "a tensor of numbers");
    if (dtype == AG_INT && !ag_is_contiguous(y->in[k]))
        return ag_tape_fail(t, AG_ESHAPE, "%s: the indices are a view that is not row-major", y->op->name);
    return true;
}

/* Indices whose values are known must be 0 .. n - 1. */
static bool in_range(ag_tape *t, const ag_tensor *y, int k, int64_t n)
{
    const ag_tensor *i = y->in[k];
    const int32_t *index = i->root->data;
    int64_t tasks = i->tasks ? i->n_task : 1, count = ag_numel(i);
    for (int64_t task = 0; index && task < tasks; task++)
        for (int64_t j = 0; j < count; j++) {
            int32_t at = index[i->offset + task * i->task_stride + j];
            if (at < 0 || at >= n)
                return ag_tape_fail(t, AG_EINVAL, "%s: index %d at place %lld of task %lld; 0 to %lld are possible", y->op->name,
                                    (int)at, (long long)j, (long long)task, (long long)n - 1);
        }
    return true;
}

static const void *of_task(const ag_array *a, int64_t task, size_t bytes)
{
    return (const char *)a->data + (size_t)(task * a->stride[0]) * bytes;
}

/* Row i of n; what is out of range reads row 0, so that a replay never leaves its memory. */
static int64_t row_of(int32_t i, int64_t n)
{
    return i >= 0 && i < n ? i : 0;
}

/* Indices 0 .. range - 1 in some order with repeats, for the checks. */
static ag_tensor *check_index(ag_tape *t, int64_t range, int ndim, const int64_t *shape)
{
    static const int32_t pattern[] = { 2, 0, 1, 2, 2, 1, 0, 0, 1, 2, 1, 0 };
    int32_t index[sizeof pattern / sizeof *pattern];
    ag_spec spec = { .dtype = AG_INT, .ndim = ndim };
    for (size_t j = 0; j < sizeof pattern / sizeof *pattern; j++)
        index[j] = (int32_t)(pattern[j] % range);
    memcpy(spec.shape, shape, (size_t)ndim * sizeof *shape);
    return ag_value(t, &spec, index);
}

/* gather */
static bool gather_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *x = y->in[0], *i = y->in[1];
    int64_t shape[2 * AG_MAX_DIMS];
    char text[AG_SHAPE_TEXT];
    if (!expect(t, y, 0, AG_REAL) || !expect(t, y, 1, AG_INT))
        return false;
    if (x->ndim < 1 || i->ndim + x->ndim - 1 > AG_MAX_DIMS || (x->shape[0] == 0 && ag_numel(i) > 0))
        return ag_tape_fail(t, AG_ESHAPE, "gather: %s has no rows to take, or the result too many axes", ag_shape_text(x, text));
    memcpy(shape, i->shape, i->ndim * sizeof *shape);
    memcpy(shape + i->ndim, x->shape + 1, (size_t)(x->ndim - 1) * sizeof *shape);
    ag_set_shape(y, AG_REAL, i->ndim + x->ndim - 1, shape);
    return in_range(t, y, 1, x->shape[0]);
}

static void gather_forward(const ag_call *c)
{
    int64_t n = c->in[0].shape[1], row = ag_product(c->in[0].rank - 2, c->in[0].shape + 2);
    int64_t count = ag_product(c->in[1].rank - 1, c->in[1].shape + 1);
    ag_real *y = c->out.data;
    for (int64_t task = 0; task < c->out.shape[0]; task++) {
        const ag_real *x = of_task(&c->in[0], task, sizeof *x);
        const int32_t *index = of_task(&c->in[1], task, sizeof *index);
        for (int64_t j = 0; j < count; j++, y += row)
            memcpy(y, x + row_of(index[j], n) * row, (size_t)row * sizeof *y);
    }
}

static ag_tensor *gather_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* adds g's rows where they came from */
{
    return k == 0 ? ag_scatter_add(t, g, y->in[1], y->in[0]->shape[0]) : NULL;
}

static ag_tensor *gather_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* the same rows */
{
    return k == 0 ? ag_gather(t, dx, y->in[1]) : NULL;
}

static ag_tensor *gather_check(ag_tape *t, ag_tensor *const *x)
{
    ag_tensor *i = check_index(t, 3, 2, (int64_t[]){ 2, 3 });
    return ag_gather(t, x[0], i);
}

const ag_op ag_op_gather = {
    .name = "gather", .arity = 2, .shape = gather_shape, .forward = gather_forward, .vjp = gather_vjp, .jvp = gather_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 3, 4 } }}, .build = gather_check },
              { .n = 1, .in = {{ 1, { 5 } }}, .build = gather_check }},
};

ag_tensor *ag_gather(ag_tape *t, ag_tensor *x, ag_tensor *i)
{
    ag_tensor *in[] = { ag_contiguous(t, x), i };
    return ag_apply(t, &ag_op_gather, 2, in, NULL);
}

/* scatter_add: i[0] rows */
static bool scatter_add_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *g = y->in[0], *i = y->in[1];
    int64_t shape[AG_MAX_DIMS] = { y->attr.i[0] };
    char left[AG_SHAPE_TEXT], right[AG_SHAPE_TEXT];
    if (!expect(t, y, 0, AG_REAL) || !expect(t, y, 1, AG_INT))
        return false;
    if (g->ndim < i->ndim || memcmp(g->shape, i->shape, i->ndim * sizeof *shape) || shape[0] < 0 ||
        g->ndim - i->ndim + 1 > AG_MAX_DIMS || (shape[0] == 0 && ag_numel(i) > 0))
        return ag_tape_fail(t, AG_ESHAPE, "scatter_add: %s does not begin with the axes of the indices %s",
                            ag_shape_text(g, left), ag_shape_text(i, right));
    memcpy(shape + 1, g->shape + i->ndim, (size_t)(g->ndim - i->ndim) * sizeof *shape);
    ag_set_shape(y, AG_REAL, g->ndim - i->ndim + 1, shape);
    return in_range(t, y, 1, shape[0]);
}

static void scatter_add_forward(const ag_call *c)
{
    int64_t n = c->out.shape[1], row = ag_product(c->out.rank - 2, c->out.shape + 2);
    int64_t count = ag_product(c->in[1].rank - 1, c->in[1].shape + 1);
    ag_real *y = c->out.data;
    memset(y, 0, (size_t)ag_array_numel(&c->out) * sizeof *y);
    for (int64_t task = 0; task < c->out.shape[0]; task++, y += n * row) {
        const ag_real *g = of_task(&c->in[0], task, sizeof *g);
        const int32_t *index = of_task(&c->in[1], task, sizeof *index);
        for (int64_t j = 0; j < count; j++, g += row) {
            ag_real *to = y + row_of(index[j], n) * row;
            for (int64_t i = 0; i < row; i++)
                to[i] += g[i];
        }
    }
}

static ag_tensor *scatter_add_vjp(ag_tape *t, ag_tensor *y, ag_tensor *h, int k)   /* takes the rows back */
{
    return k == 0 ? ag_gather(t, h, y->in[1]) : NULL;
}

static ag_tensor *scatter_add_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dg, int k)   /* the same places */
{
    return k == 0 ? ag_scatter_add(t, dg, y->in[1], y->attr.i[0]) : NULL;
}

static ag_tensor *scatter_add_check(ag_tape *t, ag_tensor *const *x)
{
    ag_tensor *i = check_index(t, 3, 1, (int64_t[]){ 4 });
    return ag_scatter_add(t, x[0], i, 5);
}

const ag_op ag_op_scatter_add = {
    .name = "scatter_add", .arity = 2, .shape = scatter_add_shape, .forward = scatter_add_forward,
    .vjp = scatter_add_vjp, .jvp = scatter_add_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 4, 3 } }}, .build = scatter_add_check },
              { .n = 1, .in = {{ 1, { 4 } }}, .build = scatter_add_check }},
};

ag_tensor *ag_scatter_add(ag_tape *t, ag_tensor *g, ag_tensor *i, int64_t n)
{
    ag_tensor *in[] = { ag_contiguous(t, g), i };
    return ag_apply(t, &ag_op_scatter_add, 2, in, &(ag_attr){ .i = { n } });
}

/* one_hot: i[0] classes */
static bool one_hot_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *i = y->in[0];
    int64_t shape[AG_MAX_DIMS];
    if (!expect(t, y, 0, AG_INT))
        return false;
    if (i->ndim + 1 > AG_MAX_DIMS || y->attr.i[0] < 1)
        return ag_tape_fail(t, AG_ESHAPE, "one_hot: at least one class and at most %d axes are expected", AG_MAX_DIMS - 1);
    memcpy(shape, i->shape, i->ndim * sizeof *shape);
    shape[i->ndim] = y->attr.i[0];
    ag_set_shape(y, AG_REAL, i->ndim + 1, shape);
    return in_range(t, y, 0, y->attr.i[0]);
}

static void one_hot_forward(const ag_call *c)
{
    int64_t n = c->attr->i[0], count = ag_product(c->in[0].rank - 1, c->in[0].shape + 1);
    ag_real *y = c->out.data;
    memset(y, 0, (size_t)ag_array_numel(&c->out) * sizeof *y);
    for (int64_t task = 0; task < c->out.shape[0]; task++) {
        const int32_t *index = of_task(&c->in[0], task, sizeof *index);
        for (int64_t j = 0; j < count; j++, y += n)
            y[row_of(index[j], n)] = 1;
    }
}

static ag_tensor *one_hot_check(ag_tape *t, ag_tensor *const *x)
{
    ag_tensor *i = check_index(t, 3, 1, (int64_t[]){ 3 });
    return ag_mul(t, x[0], ag_one_hot(t, i, 4));
}

const ag_op ag_op_one_hot = {
    .name = "one_hot", .arity = 1, .shape = one_hot_shape, .forward = one_hot_forward, .not_differentiable = true,
    .check = {{ .n = 1, .in = {{ 2, { 3, 4 } }}, .build = one_hot_check }},
};

ag_tensor *ag_one_hot(ag_tape *t, ag_tensor *i, int64_t n)
{
    return ag_apply(t, &ag_op_one_hot, 1, &i, &(ag_attr){ .i = { n } });
}

/* hit and cross_entropy: logits [n, c], labels [n] -> [n] */
static bool per_example_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *x = y->in[0], *i = y->in[1];
    char left[AG_SHAPE_TEXT], right[AG_SHAPE_TEXT];
    if (!expect(t, y, 0, AG_REAL) || !expect(t, y, 1, AG_INT))
        return false;
    if (x->ndim != 2 || i->ndim != 1 || x->shape[0] != i->shape[0] || x->shape[1] < 1)
        return ag_tape_fail(t, AG_ESHAPE, "%s: logits %s and labels %s; [n, c] and [n] are expected", y->op->name,
                            ag_shape_text(x, left), ag_shape_text(i, right));
    ag_set_shape(y, AG_REAL, 1, i->shape);
    return in_range(t, y, 1, x->shape[1]);
}

static void each_example(const ag_call *c, ag_real (*score)(const ag_real *logits, int64_t n, int64_t label))
{
    int64_t count = c->in[0].shape[1], n = c->in[0].shape[2];
    ag_real *y = c->out.data;
    for (int64_t task = 0; task < c->out.shape[0]; task++) {
        const ag_real *x = of_task(&c->in[0], task, sizeof *x);
        const int32_t *label = of_task(&c->in[1], task, sizeof *label);
        for (int64_t j = 0; j < count; j++, x += n)
            *y++ = score(x, n, row_of(label[j], n));
    }
}

static ag_real hit_score(const ag_real *logits, int64_t n, int64_t label)   /* a tie goes to the first, NaN never hits */
{
    int64_t best = 0;
    bool numbers = true;
    for (int64_t i = 0; i < n; i++) {
        numbers &= logits[i] == logits[i];
        if (logits[i] > logits[best])
            best = i;
    }
    return numbers && best == label;
}

static void hit_forward(const ag_call *c)
{
    each_example(c, hit_score);
}

static ag_tensor *hit_check(ag_tape *t, ag_tensor *const *x)
{
    ag_tensor *i = check_index(t, 3, 1, (int64_t[]){ 3 });
    return ag_hit(t, x[0], i);
}

const ag_op ag_op_hit = {
    .name = "hit", .arity = 2, .shape = per_example_shape, .forward = hit_forward, .not_differentiable = true,
    .check = {{ .n = 1, .in = {{ 2, { 3, 4 } }}, .build = hit_check }},
};

ag_tensor *ag_hit(ag_tape *t, ag_tensor *logits, ag_tensor *labels)
{
    ag_tensor *in[] = { ag_contiguous(t, logits), labels };
    return ag_apply(t, &ag_op_hit, 2, in, NULL);
}

enum { EXP_BLOCK = 512 };

AG_KERNEL static ag_real cross_entropy_score(const ag_real *logits, int64_t n, int64_t label)
{
    ag_real max = vec_row_max(logits, n), sum = 0, e[EXP_BLOCK];
    for (int64_t at = 0; at < n; at += EXP_BLOCK) {
        const ag_real *restrict x = logits + at;
        int64_t count = n - at < EXP_BLOCK ? n - at : EXP_BLOCK;
        for (int64_t i = 0; i < count; i++)
            e[i] = vec_exp(x[i] - max);
        sum += vec_row_sum(e, count);
    }
    return vec_log(sum) + max - logits[label];
}

static void cross_entropy_forward(const ag_call *c)
{
    each_example(c, cross_entropy_score);
}

/* d y / d logits = softmax(logits) - one_hot(labels) */
static ag_tensor *excess(ag_tape *t, ag_tensor *y)
{
    return ag_sub(t, ag_softmax(t, y->in[0]), ag_one_hot(t, y->in[1], y->in[0]->shape[1]));
}

static ag_tensor *cross_entropy_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    return k == 0 ? ag_mul(t, excess(t, y), ag_reshape(t, g, 2, (int64_t[]){ y->shape[0], 1 })) : NULL;
}

static ag_tensor *cross_entropy_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)
{
    return k == 0 ? ag_sum(t, ag_mul(t, excess(t, y), dx), AG_AXIS(1)) : NULL;
}

static ag_tensor *cross_entropy_check(ag_tape *t, ag_tensor *const *x)
{
    ag_tensor *i = check_index(t, x[0]->shape[1], 1, x[0]->shape);
    return ag_cross_entropy(t, x[0], i);
}

const ag_op ag_op_cross_entropy = {
    .name = "cross_entropy", .arity = 2, .shape = per_example_shape, .forward = cross_entropy_forward,
    .vjp = cross_entropy_vjp, .jvp = cross_entropy_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 3, 4 } }}, .build = cross_entropy_check },
              { .n = 1, .in = {{ 2, { 5, 1 } }}, .build = cross_entropy_check }},
};

ag_tensor *ag_cross_entropy(ag_tape *t, ag_tensor *logits, ag_tensor *labels)
{
    ag_tensor *in[] = { ag_contiguous(t, logits), labels };
    return ag_apply(t, &ag_op_cross_entropy, 2, in, NULL);
}
