/* Pooling. avg_pool2d has its adjoint beside it; max pooling is an index operator followed by gather (compose.c). */
#include "autograd/op.h"

#include <string.h>

enum { WINDOW, STRIDE, SIZE_H, SIZE_W, SAME = SIZE_H };

static bool check_pool(ag_tape *t, const ag_tensor *y)
{
    const int64_t *i = y->attr.i;
    if (y->in[0]->ndim != 4 || y->in[0]->dtype != AG_REAL || i[WINDOW] < 1 || i[STRIDE] < 1 || i[SIZE_H] < 0 || i[SIZE_W] < 0)
        return ag_tape_fail(t, AG_ESHAPE, "%s: [n, h, w, c], a window and a stride of at least 1 are expected", y->op->name);
    return true;
}

static int64_t pooled(int64_t size, int64_t window, int64_t stride)
{
    return size < window ? 0 : (size - window) / stride + 1;
}

/* For every pooled place and every place of its window: big is the image side, small the pooled side. */
static void each_pair(const int64_t *attr, const int64_t *big, const int64_t *small,
                      void (*pair)(int64_t at_big, int64_t at_small, int64_t channels, void *ctx), void *ctx)
{
    for (int64_t place = 0; place < small[0] * small[1] * small[2]; place++) {
        int64_t column = place % small[2], row = place / small[2] % small[1], n = place / small[2] / small[1];
        for (int64_t ky = 0; ky < attr[WINDOW]; ky++)
            for (int64_t kx = 0; kx < attr[WINDOW]; kx++) {
                int64_t y = row * attr[STRIDE] + ky, x = column * attr[STRIDE] + kx;
                pair(((n * big[1] + y) * big[2] + x) * big[3], place * small[3], big[3], ctx);
            }
    }
}

typedef struct pool_images {
    const ag_real *from;
    ag_real *to;
    ag_real weight;
    bool from_big;
} pool_images;

static void add_pair(int64_t at_big, int64_t at_small, int64_t channels, void *ctx)
{
    const pool_images *p = ctx;
    const ag_real *from = p->from + (p->from_big ? at_big : at_small);
    ag_real *to = p->to + (p->from_big ? at_small : at_big);
    for (int64_t i = 0; i < channels; i++)
        to[i] += p->weight * from[i];
}

static void pool_forward(const ag_call *c, bool from_big)
{
    const int64_t *in = c->in[0].shape + 1, *out = c->out.shape + 1;
    int64_t numel = ag_product(4, out);
    pool_images p = { .weight = (ag_real)1 / (ag_real)(c->attr->i[WINDOW] * c->attr->i[WINDOW]), .from_big = from_big };
    memset(c->out.data, 0, (size_t)ag_array_numel(&c->out) * sizeof(ag_real));
    for (int64_t task = 0; task < c->out.shape[0]; task++) {
        p.from = (const ag_real *)c->in[0].data + task * c->in[0].stride[0];
        p.to = (ag_real *)c->out.data + task * numel;
        each_pair(c->attr->i, from_big ? in : out, from_big ? out : in, add_pair, &p);
    }
}

/* avg_pool2d */
static bool avg_pool2d_shape(ag_tape *t, ag_tensor *y)
{
    const int64_t *x = y->in[0]->shape, *i = y->attr.i;
    if (!check_pool(t, y))
        return false;
    ag_set_shape(y, AG_REAL, 4, (int64_t[]){ x[0], pooled(x[1], i[WINDOW], i[STRIDE]), pooled(x[2], i[WINDOW], i[STRIDE]), x[3] });
    return true;
}

static void avg_pool2d_forward(const ag_call *c)
{
    pool_forward(c, true);
}

static ag_tensor *avg_pool2d_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* the adjoint */
{
    (void)k;
    return ag_avg_pool2d_grad(t, g, y->attr.i[WINDOW], y->attr.i[STRIDE], y->in[0]->shape[1], y->in[0]->shape[2]);
}

static ag_tensor *avg_pool2d_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* the same pooling */
{
    (void)k;
    return ag_avg_pool2d(t, dx, y->attr.i[WINDOW], y->attr.i[STRIDE]);
}

const ag_op ag_op_avg_pool2d = {
    .name = "avg_pool2d", .arity = 1, .shape = avg_pool2d_shape, .forward = avg_pool2d_forward,
    .vjp = avg_pool2d_vjp, .jvp = avg_pool2d_jvp,
    .check = {{ .n = 1, .in = {{ 4, { 2, 5, 4, 3 } }}, .attr = { .i = { 2, 2 } } },
              { .n = 1, .in = {{ 4, { 1, 5, 5, 2 } }}, .attr = { .i = { 3, 1 } } }},
};

ag_tensor *ag_avg_pool2d(ag_tape *t, ag_tensor *x, int64_t window, int64_t stride)
{
    x = ag_contiguous(t, x);
    return ag_apply(t, &ag_op_avg_pool2d, 1, &x, &(ag_attr){ .i = { window, stride } });
}

/* avg_pool2d_grad */
static bool avg_pool2d_grad_shape(ag_tape *t, ag_tensor *y)
{
    const int64_t *g = y->in[0]->shape, *i = y->attr.i;
    if (!check_pool(t, y))
        return false;
    if (g[1] != pooled(i[SIZE_H], i[WINDOW], i[STRIDE]) || g[2] != pooled(i[SIZE_W], i[WINDOW], i[STRIDE]))
        return ag_tape_fail(t, AG_ESHAPE, "avg_pool2d_grad: an image of %lld x %lld does not pool to %lld x %lld",
                            (long long)i[SIZE_H], (long long)i[SIZE_W], (long long)g[1], (long long)g[2]);
    ag_set_shape(y, AG_REAL, 4, (int64_t[]){ g[0], i[SIZE_H], i[SIZE_W], g[3] });
    return true;
}

static void avg_pool2d_grad_forward(const ag_call *c)
{
    pool_forward(c, false);
}

static ag_tensor *avg_pool2d_grad_vjp(ag_tape *t, ag_tensor *y, ag_tensor *h, int k)   /* the pooling */
{
    (void)k;
    return ag_avg_pool2d(t, h, y->attr.i[WINDOW], y->attr.i[STRIDE]);
}

static ag_tensor *avg_pool2d_grad_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dg, int k)   /* the same adjoint */
{
    (void)k;
    return ag_avg_pool2d_grad(t, dg, y->attr.i[WINDOW], y->attr.i[STRIDE], y->shape[1], y->shape[2]);
}

const ag_op ag_op_avg_pool2d_grad = {
    .name = "avg_pool2d_grad", .arity = 1, .shape = avg_pool2d_grad_shape, .forward = avg_pool2d_grad_forward,
    .vjp = avg_pool2d_grad_vjp, .jvp = avg_pool2d_grad_jvp,
    .check = {{ .n = 1, .in = {{ 4, { 2, 2, 2, 3 } }}, .attr = { .i = { 2, 2, 5, 4 } } }},
};

ag_tensor *ag_avg_pool2d_grad(ag_tape *t, ag_tensor *g, int64_t window, int64_t stride, int64_t h, int64_t w)
{
    g = ag_contiguous(t, g);
    return ag_apply(t, &ag_op_avg_pool2d_grad, 1, &g, &(ag_attr){ .i = { window, stride, h, w } });
}

/* max_pool2d_index; with SAME, windows may hang over the border, where nothing is */
static bool max_pool2d_index_shape(ag_tape *t, ag_tensor *y)
{
    const int64_t *x = y->in[0]->shape, *i = y->attr.i;
    if (!check_pool(t, y))
        return false;
    int64_t rows = i[SAME] ? (x[1] + i[STRIDE] - 1) / i[STRIDE] : pooled(x[1], i[WINDOW], i[STRIDE]);
    int64_t columns = i[SAME] ? (x[2] + i[STRIDE] - 1) / i[STRIDE] : pooled(x[2], i[WINDOW], i[STRIDE]);
    if (ag_numel(y->in[0]) > INT32_MAX)
        return ag_tape_fail(t, AG_ESHAPE, "max_pool2d_index: more than 2^31 numbers in one task");
    ag_set_shape(y, AG_INT, 4, (int64_t[]){ x[0], rows, columns, x[3] });
    return true;
}

enum { LANES = 64 };   /* channels whose largest numbers are kept at once */

/* Of up to LANES channels of one window place behind another: x begins at the channels' first numbers. NaN wins. */
AG_KERNEL static void keep_larger(const ag_real *restrict x, int32_t place, int64_t channels, ag_real *restrict best, int32_t *restrict at)
{
    for (int64_t c = 0; c < channels; c++) {
        const bool better = best[c] == best[c] && !(x[c] <= best[c]);
        best[c] = better ? x[c] : best[c];
        at[c] = better ? place + (int32_t)c : at[c];
    }
}

/* at: image, row and column of the result; y: its channels from `channel` on. */
static void first_largest(const ag_real *x, const int64_t *shape, const int64_t *attr, const ag_conv *pad, const int64_t *at, int64_t channel,
                          int64_t channels, int32_t *y)
{
    ag_real best[LANES];
    bool any = false;
    for (int64_t ky = 0; ky < attr[WINDOW]; ky++)
        for (int64_t kx = 0; kx < attr[WINDOW]; kx++) {
            int64_t row = at[1] * attr[STRIDE] + ky - pad->top, column = at[2] * attr[STRIDE] + kx - pad->left;
            if (row < 0 || row >= shape[1] || column < 0 || column >= shape[2])
                continue;
            int64_t place = ((at[0] * shape[1] + row) * shape[2] + column) * shape[3] + channel;
            if (any) {
                keep_larger(x + place, (int32_t)place, channels, best, y);
                continue;
            }
            memcpy(best, x + place, (size_t)channels * sizeof *best);
            for (int64_t c = 0; c < channels; c++)
                y[c] = (int32_t)(place + c);
            any = true;
        }
}

static void max_pool2d_index_forward(const ag_call *c)
{
    const int64_t *shape = c->in[0].shape + 1, *out = c->out.shape + 1, *attr = c->attr->i;
    ag_conv pad = { 0 };
    int32_t *y = c->out.data;
    if (attr[SAME])
        pad = ag_conv_same(shape[1], shape[2], attr[WINDOW], attr[WINDOW], attr[STRIDE]);
    for (int64_t task = 0; task < c->out.shape[0]; task++) {
        const ag_real *x = (const ag_real *)c->in[0].data + task * c->in[0].stride[0];
        for (int64_t i = 0; i < out[0] * out[1] * out[2]; i++, y += out[3]) {
            int64_t at[] = { i / (out[1] * out[2]), i / out[2] % out[1], i % out[2] };
            for (int64_t j = 0; j < out[3]; j += LANES)
                first_largest(x, shape, attr, &pad, at, j, out[3] - j < LANES ? out[3] - j : LANES, y + j);
        }
    }
}

static ag_tensor *max_pool_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_max_pool2d(t, x[0], 2, 2, false);
}

static ag_tensor *max_pool_same_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_max_pool2d(t, x[0], 3, 2, true);
}

const ag_op ag_op_max_pool2d_index = {
    .name = "max_pool2d_index", .arity = 1, .shape = max_pool2d_index_shape, .forward = max_pool2d_index_forward,
    .not_differentiable = true,
    .check = {{ .n = 1, .in = {{ 4, { 2, 5, 4, 3 } }}, .build = max_pool_check },
              { .n = 1, .in = {{ 4, { 1, 5, 4, 2 } }}, .build = max_pool_same_check }},
};

ag_tensor *ag_max_pool2d_index(ag_tape *t, ag_tensor *x, int64_t window, int64_t stride, bool same)
{
    x = ag_contiguous(t, x);
    return ag_apply(t, &ag_op_max_pool2d_index, 1, &x, &(ag_attr){ .i = { window, stride, same } });
}
