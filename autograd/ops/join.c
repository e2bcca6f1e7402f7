/* pad and concat: results made of pieces. */
#include "autograd/op.h"

#include <string.h>

/* Copies in to the place `at` (in elements from the start) of the row-major out, which has the same rank. */
static void copy_into(const ag_call *c, const ag_array *in, int64_t at)
{
    ag_call piece = { .op = &ag_op_copy, .n_in = 1, .attr = c->attr };
    int last = in->rank - 1;
    int64_t index[AG_RANK] = { 0 };
    if (ag_array_numel(in) == 0)
        return;
    /* Row by row: the rows of out are contiguous, those of in need not be. */
    piece.out = (ag_array){ .rank = 1, .shape = { in->shape[last] }, .stride = { 1 } };
    piece.in[0] = (ag_array){ .rank = 1, .shape = { in->shape[last] }, .stride = { in->stride[last] } };
    for (;;) {
        int64_t from = 0, to = at;
        for (int i = 0; i < last; i++) {
            from += index[i] * in->stride[i];
            to += index[i] * c->out.stride[i];
        }
        piece.in[0].data = (ag_real *)in->data + from;
        piece.out.data = (ag_real *)c->out.data + to;
        ag_elementwise(&piece);
        int axis = last - 1;
        while (axis >= 0 && ++index[axis] == in->shape[axis])
            index[axis--] = 0;
        if (axis < 0)
            return;
    }
}

static void set_row_major(ag_array *a)
{
    int64_t stride = 1;
    for (int i = a->rank - 1; i >= 0; i--) {
        a->stride[i] = stride;
        stride *= a->shape[i];
    }
}

/* pad: axis i[0], i[1] before, i[2] after */
static bool pad_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *x = y->in[0];
    int64_t axis = y->attr.i[0], shape[AG_MAX_DIMS];
    char text[AG_SHAPE_TEXT];
    if (x->dtype != AG_REAL || axis < 0 || axis >= x->ndim || y->attr.i[1] < 0 || y->attr.i[2] < 0)
        return ag_tape_fail(t, AG_ESHAPE, "pad: %lld before and %lld after along axis %lld of %s",
                            (long long)y->attr.i[1], (long long)y->attr.i[2], (long long)axis, ag_shape_text(x, text));
    memcpy(shape, x->shape, sizeof shape);
    shape[axis] += y->attr.i[1] + y->attr.i[2];
    ag_set_shape(y, AG_REAL, x->ndim, shape);
    return true;
}

static void pad_forward(const ag_call *c)
{
    ag_call call = *c;
    set_row_major(&call.out);
    memset(c->out.data, 0, (size_t)ag_array_numel(&c->out) * sizeof(ag_real));
    copy_into(&call, &c->in[0], c->attr->i[1] * call.out.stride[c->attr->i[0] + 1]);
}

static ag_tensor *pad_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* the part of g that was x */
{
    (void)k;
    int axis = (int)y->attr.i[0];
    return ag_slice(t, g, axis, y->attr.i[1], y->attr.i[1] + y->in[0]->shape[axis]);
}

static ag_tensor *pad_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* the same pad */
{
    (void)k;
    return ag_pad(t, dx, (int)y->attr.i[0], y->attr.i[1], y->attr.i[2]);
}

const ag_op ag_op_pad = {
    .name = "pad", .arity = 1, .shape = pad_shape, .forward = pad_forward, .vjp = pad_vjp, .jvp = pad_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 3, 4 } }}, .attr = { .i = { 1, 2, 1 } } },
              { .n = 1, .in = {{ 3, { 2, 3, 2 } }}, .attr = { .i = { 0, 1, 0 } } },
              { .n = 1, .in = {{ 2, { 0, 4 } }}, .attr = { .i = { 0, 1, 1 } } }},
};

ag_tensor *ag_pad(ag_tape *t, ag_tensor *x, int axis, int64_t before, int64_t after)
{
    if (before == 0 && after == 0)
        return x;
    return ag_apply(t, &ag_op_pad, 1, &x, &(ag_attr){ .i = { axis, before, after } });
}

/* concat: axis i[0] */
static bool concat_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *a = y->in[0], *b = y->in[1];
    int64_t axis = y->attr.i[0], shape[AG_MAX_DIMS];
    char left[AG_SHAPE_TEXT], right[AG_SHAPE_TEXT];
    bool fits = a->ndim == b->ndim && axis >= 0 && axis < a->ndim && a->dtype == AG_REAL && b->dtype == AG_REAL;
    for (int i = 0; fits && i < a->ndim; i++)
        fits = i == axis || a->shape[i] == b->shape[i];
    if (!fits)
        return ag_tape_fail(t, AG_ESHAPE, "concat: %s and %s along axis %lld", ag_shape_text(a, left),
                            ag_shape_text(b, right), (long long)axis);
    memcpy(shape, a->shape, sizeof shape);
    shape[axis] += b->shape[axis];
    ag_set_shape(y, AG_REAL, a->ndim, shape);
    return true;
}

static void concat_forward(const ag_call *c)
{
    ag_call call = *c;
    int axis = (int)c->attr->i[0] + 1;
    set_row_major(&call.out);
    copy_into(&call, &c->in[0], 0);
    copy_into(&call, &c->in[1], c->in[0].shape[axis] * call.out.stride[axis]);
}

static ag_tensor *concat_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* the part of g that was input k */
{
    int axis = (int)y->attr.i[0];
    int64_t first = y->in[0]->shape[axis];
    return k == 0 ? ag_slice(t, g, axis, 0, first) : ag_slice(t, g, axis, first, y->shape[axis]);
}

static ag_tensor *concat_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* zeros where the other is */
{
    int axis = (int)y->attr.i[0];
    int64_t other = y->in[1 - k]->shape[axis];
    return k == 0 ? ag_pad(t, dx, axis, 0, other) : ag_pad(t, dx, axis, other, 0);
}

const ag_op ag_op_concat = {
    .name = "concat", .arity = 2, .shape = concat_shape, .forward = concat_forward,
    .vjp = concat_vjp, .jvp = concat_jvp,
    .check = {{ .n = 2, .in = {{ 2, { 3, 4 } }, { 2, { 3, 1 } }}, .attr = { .i = { 1 } } },
              { .n = 2, .in = {{ 2, { 2, 3 } }, { 2, { 0, 3 } }}, .attr = { .i = { 0 } } }},
};

ag_tensor *ag_concat(ag_tape *t, ag_tensor *a, ag_tensor *b, int axis)
{
    ag_tensor *in[] = { a, b };
    return ag_apply(t, &ag_op_concat, 2, in, &(ag_attr){ .i = { axis } });
}
