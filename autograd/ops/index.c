/* Operators with int32 indices: gather and its adjoint scatter_add, and one_hot; labels.c has those with labels. */
#include "autograd/ops/index.h"

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
        if (row == 1)   /* of pooling: numbers, not rows */
            for (int64_t j = 0; j < count; j++)
                *y++ = x[row_of(index[j], n)];
        for (int64_t j = 0; j < count && row != 1; j++, y += row)
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
