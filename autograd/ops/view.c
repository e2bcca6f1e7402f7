/* Operators that look at the same numbers in another way (no kernel), and copy, which makes a look concrete. */
#include "autograd/op.h"

#include <string.h>

static bool same_numbers(ag_tensor *y, const ag_tensor *x)   /* starts a view rule: everything as in x */
{
    y->dtype = x->dtype;
    y->ndim = x->ndim;
    memcpy(y->shape, x->shape, sizeof y->shape);
    memcpy(y->stride, x->stride, sizeof y->stride);
    return true;
}

/* copy */
static bool copy_shape(ag_tape *t, ag_tensor *y)
{
    (void)t;
    ag_set_shape(y, y->in[0]->dtype, y->in[0]->ndim, y->in[0]->shape);
    return true;
}

static void copy_span(ag_span s)
{
    memcpy(s.y, s.x[0], (size_t)s.n * sizeof *s.y);
}

static ag_tensor *copy_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g */
{
    (void)t, (void)y, (void)k;
    return g;
}

const ag_op ag_op_copy = {
    .name = "copy", .arity = 1, .shape = copy_shape, .span = copy_span, .vjp = copy_rule, .jvp = copy_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }},
};

ag_tensor *ag_copy(ag_tape *t, ag_tensor *x)
{
    if (x && x->dtype != AG_REAL) {
        ag_tape_fail(t, AG_ESHAPE, "copy: an index tensor; numbers are expected");
        return NULL;
    }
    return ag_apply(t, &ag_op_copy, 1, &x, NULL);
}

ag_tensor *ag_contiguous(ag_tape *t, ag_tensor *x)
{
    return x && !ag_is_contiguous(x) ? ag_copy(t, x) : x;
}

/* reshape: i[0] axes of sizes i[1].. */
static bool reshape_shape(ag_tape *t, ag_tensor *y)
{
    char text[AG_SHAPE_TEXT];
    for (int i = 0; i < y->attr.i[0]; i++)
        if (y->attr.i[1 + i] < 0)
            return ag_tape_fail(t, AG_ESHAPE, "reshape: %s to a shape whose size %d is %lld", ag_shape_text(y->in[0], text), i,
                                (long long)y->attr.i[1 + i]);
    if (ag_product((int)y->attr.i[0], y->attr.i + 1) != ag_numel(y->in[0]))
        return ag_tape_fail(t, AG_ESHAPE, "reshape: %s has %lld numbers, the new shape %lld",
                            ag_shape_text(y->in[0], text), (long long)ag_numel(y->in[0]),
                            (long long)ag_product((int)y->attr.i[0], y->attr.i + 1));
    ag_set_shape(y, y->in[0]->dtype, (int)y->attr.i[0], y->attr.i + 1);
    return true;
}

static ag_tensor *reshape_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* back to x's shape */
{
    (void)k;
    return ag_reshape(t, g, y->in[0]->ndim, y->in[0]->shape);
}

static ag_tensor *reshape_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* the same reshape */
{
    (void)k;
    return ag_reshape(t, dx, y->ndim, y->shape);
}

static ag_tensor *reshape_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_reshape(t, x[0], 3, (int64_t[]){ 5, -1, 2 });
}

const ag_op ag_op_reshape = {
    .name = "reshape", .arity = 1, .view = true, .shape = reshape_shape, .vjp = reshape_vjp, .jvp = reshape_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 6, 5 } }}, .build = reshape_check }},
};

/* The size that -1 stands for; leaves shapes that do not fit to the shape rule. */
static void infer_size(const ag_tensor *x, int ndim, int64_t *shape)
{
    for (int i = 0; i < ndim; i++) {
        if (shape[i] == -1) {
            shape[i] = 1;
            int64_t others = ag_product(ndim, shape);
            shape[i] = others ? ag_numel(x) / others : 0;
        }
    }
}

/* One number seen in another shape needs no copy. */
static ag_tensor *reshaped_constant(ag_tape *t, ag_tensor *x, int ndim, const int64_t *shape)
{
    if (ag_product(ndim, shape) == ag_numel(x))
        return ag_constant(t, x->value, ndim, shape, x->tasks);
    char text[AG_SHAPE_TEXT];
    ag_tape_fail(t, AG_ESHAPE, "reshape: %s has %lld numbers, the new shape %lld", ag_shape_text(x, text),
                 (long long)ag_numel(x), (long long)ag_product(ndim, shape));
    return NULL;
}

ag_tensor *ag_reshape(ag_tape *t, ag_tensor *x, int ndim, const int64_t *shape)
{
    ag_attr attr = { .i = { ndim } };
    if (!x)
        return NULL;
    if (ndim < 0 || ndim > AG_MAX_DIMS) {
        ag_tape_fail(t, AG_ESHAPE, "reshape: %d dimensions; 0 to %d are possible", ndim, AG_MAX_DIMS);
        return NULL;
    }
    if (ndim)
        memcpy(attr.i + 1, shape, (size_t)ndim * sizeof *shape);
    infer_size(x, ndim, attr.i + 1);
    if (x->ndim == ndim && memcmp(x->shape, attr.i + 1, (size_t)ndim * sizeof *shape) == 0)
        return x;
    if (x->is_scalar)
        return reshaped_constant(t, x, ndim, attr.i + 1);
    x = ag_contiguous(t, x);
    return ag_apply(t, &ag_op_reshape, 1, &x, &attr);
}

ag_tensor *ag_flatten(ag_tape *t, ag_tensor *x, int from)
{
    int64_t shape[AG_MAX_DIMS];
    if (!x)
        return NULL;
    if (from < 0 || from > x->ndim || from == AG_MAX_DIMS) {
        ag_tape_fail(t, AG_ESHAPE, "flatten: axis %d of a tensor with %d axes", from, x->ndim);
        return NULL;
    }
    memcpy(shape, x->shape, (size_t)from * sizeof *shape);
    shape[from] = ag_product(x->ndim - from, x->shape + from);
    return ag_reshape(t, x, from + 1, shape);
}

/* transpose: axis i is axis i[i] of x */
static bool transpose_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *x = y->in[0];
    unsigned seen = 0;
    same_numbers(y, x);
    for (int i = 0; i < x->ndim; i++) {
        int64_t axis = y->attr.i[i];
        if (axis < 0 || axis >= x->ndim || seen & AG_AXIS(axis))
            return ag_tape_fail(t, AG_ESHAPE, "transpose: axis %lld is repeated or outside 0..%d", (long long)axis,
                                x->ndim - 1);
        seen |= AG_AXIS(axis);
        y->shape[i] = x->shape[axis];
        y->stride[i] = x->stride[axis];
    }
    return true;
}

static ag_tensor *transpose_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* the inverse permutation */
{
    (void)k;
    int inverse[AG_MAX_DIMS];
    for (int i = 0; i < y->ndim; i++)
        inverse[y->attr.i[i]] = i;
    return ag_transpose(t, g, inverse);
}

static ag_tensor *transpose_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* the same permutation */
{
    (void)k;
    int axes[AG_MAX_DIMS];
    for (int i = 0; i < y->ndim; i++)
        axes[i] = (int)y->attr.i[i];
    return ag_transpose(t, dx, axes);
}

static ag_tensor *transpose_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_transpose(t, x[0], (int[]){ 2, 0, 1 });
}

const ag_op ag_op_transpose = {
    .name = "transpose", .arity = 1, .view = true, .shape = transpose_shape,
    .vjp = transpose_vjp, .jvp = transpose_jvp,
    .check = {{ .n = 1, .in = {{ 3, { 2, 3, 4 } }}, .build = transpose_check },
              { .n = 1, .in = {{ 3, { 2, 0, 4 } }}, .build = transpose_check }},
};

ag_tensor *ag_transpose(ag_tape *t, ag_tensor *x, const int *axes)
{
    ag_attr attr = { .i = { 0 } };
    if (!x)
        return NULL;
    if (!axes && x->ndim < 2) {
        ag_tape_fail(t, AG_ESHAPE, "transpose: %d axes; swapping the last two needs two", x->ndim);
        return NULL;
    }
    for (int i = 0; i < x->ndim; i++)
        attr.i[i] = axes ? axes[i] : i < x->ndim - 2 ? i : 2 * x->ndim - 3 - i;
    return ag_apply(t, &ag_op_transpose, 1, &x, &attr);
}

/* expand: i[0] axes of sizes i[1].. */
static bool expand_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *x = y->in[0];
    int ndim = (int)y->attr.i[0], lead = ndim - x->ndim;
    char text[AG_SHAPE_TEXT];
    ag_set_shape(y, x->dtype, ndim, y->attr.i + 1);
    for (int i = 0; i < ndim; i++) {
        int64_t size = i < lead ? 1 : x->shape[i - lead];
        if ((size != y->shape[i] && size != 1) || y->shape[i] < 0)
            return ag_tape_fail(t, AG_ESHAPE, "expand: axis %d of %s cannot become %lld", i - lead,
                                ag_shape_text(x, text), (long long)y->shape[i]);
        y->stride[i] = size == 1 ? 0 : x->stride[i - lead];
    }
    return true;
}

static ag_tensor *expand_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* summed over what was repeated */
{
    (void)k;
    const ag_tensor *x = y->in[0];
    unsigned axes = 0;
    for (int i = 0; i < y->ndim; i++)
        if (y->stride[i] == 0 && (i < y->ndim - x->ndim || x->shape[i - (y->ndim - x->ndim)] != y->shape[i]))
            axes |= AG_AXIS(i);
    return ag_reshape(t, ag_sum_keep(t, g, axes), x->ndim, x->shape);
}

static ag_tensor *expand_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* the same expand */
{
    (void)k;
    return ag_expand(t, dx, y->ndim, y->shape);
}

static ag_tensor *expand_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_expand(t, x[0], 3, (int64_t[]){ 2, 3, 4 });
}

static ag_tensor *expand_to_empty_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_expand(t, x[0], 2, (int64_t[]){ 0, 4 });
}

const ag_op ag_op_expand = {
    .name = "expand", .arity = 1, .view = true, .shape = expand_shape, .vjp = expand_vjp, .jvp = expand_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 3, 1 } }}, .build = expand_check },
              { .n = 1, .in = {{ 1, { 4 } }}, .build = expand_check },
              { .n = 1, .in = {{ 0 }}, .build = expand_check },
              { .n = 1, .in = {{ 2, { 1, 4 } }}, .build = expand_to_empty_check }},
};

ag_tensor *ag_expand(ag_tape *t, ag_tensor *x, int ndim, const int64_t *shape)
{
    ag_attr attr = { .i = { ndim } };
    if (!x)
        return NULL;
    if (ndim < x->ndim || ndim > AG_MAX_DIMS) {
        ag_tape_fail(t, AG_ESHAPE, "expand: from %d to %d axes; no fewer, and at most %d", x->ndim, ndim, AG_MAX_DIMS);
        return NULL;
    }
    if (ndim)
        memcpy(attr.i + 1, shape, (size_t)ndim * sizeof *shape);
    if (x->ndim == ndim && memcmp(x->shape, attr.i + 1, (size_t)ndim * sizeof *shape) == 0)
        return x;
    return ag_apply(t, &ag_op_expand, 1, &x, &attr);
}

/* slice: axis i[0] from i[1] to i[2] */
static bool slice_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *x = y->in[0];
    int64_t axis = y->attr.i[0], begin = y->attr.i[1], end = y->attr.i[2];
    char text[AG_SHAPE_TEXT];
    if (axis < 0 || axis >= x->ndim || begin < 0 || begin > end || end > x->shape[axis])
        return ag_tape_fail(t, AG_ESHAPE, "slice: %lld to %lld along axis %lld of %s", (long long)begin,
                            (long long)end, (long long)axis, ag_shape_text(x, text));
    same_numbers(y, x);
    y->shape[axis] = end - begin;
    y->offset += begin * x->stride[axis];
    return true;
}

static ag_tensor *slice_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* zeros around g */
{
    (void)k;
    int axis = (int)y->attr.i[0];
    return ag_pad(t, g, axis, y->attr.i[1], y->in[0]->shape[axis] - y->attr.i[2]);
}

static ag_tensor *slice_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* the same slice */
{
    (void)k;
    return ag_slice(t, dx, (int)y->attr.i[0], y->attr.i[1], y->attr.i[2]);
}

static ag_tensor *slice_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_slice(t, x[0], 1, 1, 3);
}

static ag_tensor *slice_empty_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_slice(t, x[0], 0, 2, 2);
}

const ag_op ag_op_slice = {
    .name = "slice", .arity = 1, .view = true, .shape = slice_shape, .vjp = slice_vjp, .jvp = slice_jvp,
    .check = {{ .n = 1, .in = {{ 3, { 2, 4, 3 } }}, .build = slice_check },
              { .n = 1, .in = {{ 2, { 3, 4 } }}, .build = slice_empty_check }},
};

ag_tensor *ag_slice(ag_tape *t, ag_tensor *x, int axis, int64_t begin, int64_t end)
{
    if (x && axis >= 0 && axis < x->ndim && begin == 0 && end == x->shape[axis])
        return x;
    return ag_apply(t, &ag_op_slice, 1, &x, &(ag_attr){ .i = { axis, begin, end } });
}

/* detach */
static bool view_shape(ag_tape *t, ag_tensor *y)
{
    (void)t;
    return same_numbers(y, y->in[0]);
}

const ag_op ag_op_detach = {
    .name = "detach", .arity = 1, .view = true, .shape = view_shape, .not_differentiable = true,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }},
};

ag_tensor *ag_detach(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_detach, 1, &x, NULL);
}

/* task_expand */
static bool task_expand_shape(ag_tape *t, ag_tensor *y)
{
    (void)t;
    y->tasks = true;
    y->task_stride = 0;
    return same_numbers(y, y->in[0]);
}

static ag_tensor *task_expand_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g; the sweep sums it over the tasks */
{
    (void)t, (void)y, (void)k;
    return g;
}

static ag_tensor *task_expand_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* the same for each task */
{
    (void)y, (void)k;
    return ag_task_expand(t, dx);
}

const ag_op ag_op_task_expand = {
    .name = "task_expand", .arity = 1, .view = true, .shape = task_expand_shape,
    .vjp = task_expand_vjp, .jvp = task_expand_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }},
};

ag_tensor *ag_task_expand(ag_tape *t, ag_tensor *x)
{
    return x && x->tasks ? x : ag_apply(t, &ag_op_task_expand, 1, &x, NULL);
}
