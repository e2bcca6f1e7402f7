/* The convolution triad: conv2d and its adjoints in x and in w. One trilinear form <g, conv(x, w)> stands behind all
 * three, so each one's rules are the other two and the set is closed under differentiation.
 *
 * The products are conv_windows.c's. Images are [n, h, w, c], weights [kh, kw, c_in, c_out]. */
#include "autograd/conv_windows.h"

/* Places of the attributes: the ag_conv, then two sizes that the adjoints need. */
enum { STRIDE_H, STRIDE_W, TOP, BOTTOM, LEFT, RIGHT, SIZE_H, SIZE_W };

ag_conv ag_conv_same(int64_t h, int64_t w, int64_t kh, int64_t kw, int64_t stride)
{
    int64_t rows = (h + stride - 1) / stride, columns = (w + stride - 1) / stride;
    int64_t pad_h = (rows - 1) * stride + kh - h, pad_w = (columns - 1) * stride + kw - w;
    pad_h = pad_h > 0 ? pad_h : 0;
    pad_w = pad_w > 0 ? pad_w : 0;
    return (ag_conv){ stride, stride, pad_h / 2, pad_h - pad_h / 2, pad_w / 2, pad_w - pad_w / 2 };
}

static ag_attr conv_attr(const ag_conv *c, int64_t size_h, int64_t size_w)
{
    return (ag_attr){ .i = { c->stride_h ? c->stride_h : 1, c->stride_w ? c->stride_w : 1, c->top, c->bottom, c->left,
                             c->right, size_h, size_w } };
}

static ag_conv_sizes conv_sizes(const ag_attr *a, int64_t n, const int64_t *x, const int64_t *w, const int64_t *y)
{
    const int64_t *i = a->i;
    return (ag_conv_sizes){ n, x[1], x[2], x[3], w[0], w[1], w[3], y[1], y[2], i[STRIDE_H], i[STRIDE_W], i[TOP], i[LEFT] };
}

static ag_conv conv_of(const ag_tensor *y)
{
    const int64_t *i = y->attr.i;
    return (ag_conv){ i[STRIDE_H], i[STRIDE_W], i[TOP], i[BOTTOM], i[LEFT], i[RIGHT] };
}

static int64_t out_size(int64_t size, int64_t before, int64_t after, int64_t window, int64_t stride)
{
    int64_t room = size + before + after - window;
    return room < 0 ? 0 : room / stride + 1;
}

static bool check_geometry(ag_tape *t, const ag_tensor *y)
{
    const int64_t *i = y->attr.i;
    if (i[STRIDE_H] < 1 || i[STRIDE_W] < 1 || i[TOP] < 0 || i[BOTTOM] < 0 || i[LEFT] < 0 || i[RIGHT] < 0)
        return ag_tape_fail(t, AG_ESHAPE, "%s: strides must be at least 1 and paddings at least 0", y->op->name);
    if (i[SIZE_H] < 0 || i[SIZE_W] < 0)
        return ag_tape_fail(t, AG_ESHAPE, "%s: a result of %lld x %lld", y->op->name, (long long)i[SIZE_H], (long long)i[SIZE_W]);
    for (int k = 0; k < y->n_in; k++)
        if (y->in[k]->ndim != 4 || y->in[k]->dtype != AG_REAL)
            return ag_tape_fail(t, AG_ESHAPE, "%s: input %d has %d axes; four are expected", y->op->name, k, y->in[k]->ndim);
    return true;
}

static bool conv_mismatch(ag_tape *t, const ag_tensor *y)
{
    char a[AG_SHAPE_TEXT], b[AG_SHAPE_TEXT];
    return ag_tape_fail(t, AG_ESHAPE, "%s: %s and %s do not fit together", y->op->name, ag_shape_text(y->in[0], a),
                        ag_shape_text(y->in[1], b));
}

/* ---- tasks: where the weights are shared and both others run on, all tasks are one batch of images ---- */

static bool one_batch(const ag_array *image, const ag_array *weight, const ag_array *result)
{
    int64_t numel = ag_product(4, image->shape + 1), result_numel = ag_product(4, result->shape + 1);
    bool weight_shared = weight->stride[0] == 0 || weight->shape[0] == 1;
    return image->shape[0] == 1 || (weight_shared && image->stride[0] == numel && result->stride[0] == result_numel);
}

static void *task_data(const ag_array *a, int64_t task)
{
    return (ag_real *)a->data + (a->shape[0] == 1 ? 0 : task * a->stride[0]);
}

/* How many times that many numbers the result has. */
static int64_t calls(const ag_call *c, int64_t numel)
{
    return numel ? ag_array_numel(&c->out) / numel : 0;
}

/* ---- conv2d ---- */

static bool conv2d_shape(ag_tape *t, ag_tensor *y)
{
    const int64_t *i = y->attr.i;
    if (!check_geometry(t, y))
        return false;
    const int64_t *x = y->in[0]->shape, *w = y->in[1]->shape;
    if (x[3] != w[2] || w[0] < 1 || w[1] < 1)
        return conv_mismatch(t, y);
    ag_set_shape(y, AG_REAL, 4, (int64_t[]){ x[0], out_size(x[1], i[TOP], i[BOTTOM], w[0], i[STRIDE_H]),
                                             out_size(x[2], i[LEFT], i[RIGHT], w[1], i[STRIDE_W]), w[3] });
    return true;
}

static ag_conv_sizes conv2d_sizes(const ag_call *c)
{
    const int64_t *x = c->in[0].shape + 1, *w = c->in[1].shape + 1, *y = c->out.shape + 1;
    int64_t batch = one_batch(&c->in[0], &c->in[1], &c->out) ? c->out.shape[0] : 1;
    return conv_sizes(c->attr, x[0] * batch, x, w, y);
}

static size_t conv2d_scratch(const ag_call *c)
{
    ag_conv_sizes s = conv2d_sizes(c);
    return ag_conv_scratch(&s);
}

static void conv2d_forward(const ag_call *c)
{
    ag_conv_sizes s = conv2d_sizes(c);
    int64_t numel = s.n * s.rows * s.columns * s.c_out;
    for (int64_t task = 0; task < calls(c, numel); task++)
        ag_conv_forward(&s, task_data(&c->in[0], task), task_data(&c->in[1], task), (ag_real *)c->out.data + task * numel, c->scratch);
}

static ag_tensor *conv2d_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    ag_tensor *x = y->in[0], *w = y->in[1];
    ag_conv c = conv_of(y);
    return k == 0 ? ag_conv2d_input_grad(t, g, w, &c, x->shape[1], x->shape[2])
                  : ag_conv2d_weight_grad(t, x, g, &c, w->shape[0], w->shape[1]);
}

static ag_tensor *conv2d_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)
{
    ag_conv c = conv_of(y);
    return k == 0 ? ag_conv2d(t, dx, y->in[1], &c) : ag_conv2d(t, y->in[0], dx, &c);
}

const ag_op ag_op_conv2d = {
    .name = "conv2d", .arity = 2, .shape = conv2d_shape, .forward = conv2d_forward, .scratch = conv2d_scratch,
    .vjp = conv2d_vjp, .jvp = conv2d_jvp,
    .check = {{ .n = 2, .in = {{ 4, { 2, 5, 4, 2 } }, { 4, { 3, 3, 2, 3 } }}, .attr = { .i = { 2, 2, 0, 1, 1, 1 } } },
              { .n = 2, .in = {{ 4, { 1, 4, 5, 1 } }, { 4, { 3, 2, 1, 2 } }}, .attr = { .i = { 1, 1, 1, 1, 0, 1 } } },
              { .n = 2, .in = {{ 4, { 1, 5, 5, 2 } }, { 4, { 1, 1, 2, 2 } }}, .attr = { .i = { 3, 1 } } },
              { .n = 2, .in = {{ 4, { 0, 4, 4, 2 } }, { 4, { 3, 3, 2, 2 } }}, .attr = { .i = { 1, 1 } } }},
};

static ag_tensor *apply_conv(ag_tape *t, const ag_op *op, ag_tensor *a, ag_tensor *b, ag_attr attr)
{
    ag_tensor *in[] = { ag_contiguous(t, a), ag_contiguous(t, b) };
    return ag_apply(t, op, 2, in, &attr);
}

ag_tensor *ag_conv2d(ag_tape *t, ag_tensor *x, ag_tensor *w, const ag_conv *c)
{
    return apply_conv(t, &ag_op_conv2d, x, w, conv_attr(c, 0, 0));
}

/* ---- conv2d_input_grad: g [n, rows, columns, c_out], w -> [n, h, w, c_in] ---- */

static bool input_grad_shape(ag_tape *t, ag_tensor *y)
{
    const int64_t *i = y->attr.i;
    if (!check_geometry(t, y))
        return false;
    const int64_t *g = y->in[0]->shape, *w = y->in[1]->shape;
    if (g[3] != w[3] || g[1] != out_size(i[SIZE_H], i[TOP], i[BOTTOM], w[0], i[STRIDE_H]) ||
        g[2] != out_size(i[SIZE_W], i[LEFT], i[RIGHT], w[1], i[STRIDE_W]))
        return conv_mismatch(t, y);
    ag_set_shape(y, AG_REAL, 4, (int64_t[]){ g[0], i[SIZE_H], i[SIZE_W], w[2] });
    return true;
}

static ag_conv_sizes input_grad_sizes(const ag_call *c)
{
    const int64_t *g = c->in[0].shape + 1, *w = c->in[1].shape + 1, *x = c->out.shape + 1;
    int64_t batch = one_batch(&c->in[0], &c->in[1], &c->out) ? c->out.shape[0] : 1;
    return conv_sizes(c->attr, g[0] * batch, x, w, g);
}

static size_t input_grad_scratch(const ag_call *c)
{
    ag_conv_sizes s = input_grad_sizes(c);
    return ag_conv_scratch(&s);
}

static void input_grad_forward(const ag_call *c)
{
    ag_conv_sizes s = input_grad_sizes(c);
    int64_t numel = s.n * s.h * s.w * s.c_in;
    for (int64_t task = 0; task < calls(c, numel); task++)
        ag_conv_input_grad(&s, task_data(&c->in[0], task), task_data(&c->in[1], task), (ag_real *)c->out.data + task * numel, c->scratch);
}

static ag_tensor *input_grad_vjp(ag_tape *t, ag_tensor *y, ag_tensor *h, int k)   /* h like x */
{
    ag_conv c = conv_of(y);
    return k == 0 ? ag_conv2d(t, h, y->in[1], &c)
                  : ag_conv2d_weight_grad(t, h, y->in[0], &c, y->in[1]->shape[0], y->in[1]->shape[1]);
}

static ag_tensor *input_grad_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)
{
    ag_conv c = conv_of(y);
    int64_t h = y->shape[1], w = y->shape[2];
    return k == 0 ? ag_conv2d_input_grad(t, dx, y->in[1], &c, h, w) : ag_conv2d_input_grad(t, y->in[0], dx, &c, h, w);
}

const ag_op ag_op_conv2d_input_grad = {
    .name = "conv2d_input_grad", .arity = 2, .shape = input_grad_shape, .forward = input_grad_forward,
    .scratch = input_grad_scratch, .vjp = input_grad_vjp, .jvp = input_grad_jvp,
    .check = {{ .n = 2, .in = {{ 4, { 2, 2, 2, 3 } }, { 4, { 3, 3, 2, 3 } }}, .attr = { .i = { 2, 2, 0, 1, 1, 1, 5, 4 } } },
              { .n = 2, .in = {{ 4, { 1, 4, 5, 2 } }, { 4, { 3, 2, 1, 2 } }}, .attr = { .i = { 1, 1, 1, 1, 0, 1, 4, 5 } } }},
};

ag_tensor *ag_conv2d_input_grad(ag_tape *t, ag_tensor *g, ag_tensor *w, const ag_conv *c, int64_t h, int64_t wd)
{
    return apply_conv(t, &ag_op_conv2d_input_grad, g, w, conv_attr(c, h, wd));
}

/* ---- conv2d_weight_grad: x, g -> [kh, kw, c_in, c_out] ---- */

static bool weight_grad_shape(ag_tape *t, ag_tensor *y)
{
    const int64_t *i = y->attr.i;
    if (!check_geometry(t, y))
        return false;
    const int64_t *x = y->in[0]->shape, *g = y->in[1]->shape;
    if (x[0] != g[0] || g[1] != out_size(x[1], i[TOP], i[BOTTOM], i[SIZE_H], i[STRIDE_H]) ||
        g[2] != out_size(x[2], i[LEFT], i[RIGHT], i[SIZE_W], i[STRIDE_W]))
        return conv_mismatch(t, y);
    ag_set_shape(y, AG_REAL, 4, (int64_t[]){ i[SIZE_H], i[SIZE_W], x[3], g[3] });
    return true;
}

static ag_conv_sizes weight_grad_sizes(const ag_call *c)
{
    const int64_t *x = c->in[0].shape + 1, *g = c->in[1].shape + 1, *w = c->out.shape + 1;
    return conv_sizes(c->attr, x[0], x, w, g);
}

static size_t weight_grad_scratch(const ag_call *c)
{
    ag_conv_sizes s = weight_grad_sizes(c);
    return ag_conv_scratch(&s);
}

static void weight_grad_forward(const ag_call *c)
{
    ag_conv_sizes s = weight_grad_sizes(c);
    int64_t numel = s.kh * s.kw * s.c_in * s.c_out;
    for (int64_t task = 0; task < calls(c, numel); task++)
        ag_conv_weight_grad(&s, task_data(&c->in[0], task), task_data(&c->in[1], task), (ag_real *)c->out.data + task * numel, c->scratch);
}

static ag_tensor *weight_grad_vjp(ag_tape *t, ag_tensor *y, ag_tensor *v, int k)   /* v like w */
{
    ag_tensor *x = y->in[0], *g = y->in[1];
    ag_conv c = conv_of(y);
    return k == 0 ? ag_conv2d_input_grad(t, g, v, &c, x->shape[1], x->shape[2]) : ag_conv2d(t, x, v, &c);
}

static ag_tensor *weight_grad_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)
{
    ag_conv c = conv_of(y);
    int64_t kh = y->shape[0], kw = y->shape[1];
    return k == 0 ? ag_conv2d_weight_grad(t, dx, y->in[1], &c, kh, kw) : ag_conv2d_weight_grad(t, y->in[0], dx, &c, kh, kw);
}

const ag_op ag_op_conv2d_weight_grad = {
    .name = "conv2d_weight_grad", .arity = 2, .shape = weight_grad_shape, .forward = weight_grad_forward,
    .scratch = weight_grad_scratch, .vjp = weight_grad_vjp, .jvp = weight_grad_jvp,
    .check = {{ .n = 2, .in = {{ 4, { 2, 5, 4, 2 } }, { 4, { 2, 2, 2, 3 } }}, .attr = { .i = { 2, 2, 0, 1, 1, 1, 3, 3 } } },
              { .n = 2, .in = {{ 4, { 1, 4, 5, 1 } }, { 4, { 1, 4, 5, 2 } }}, .attr = { .i = { 1, 1, 1, 1, 0, 1, 3, 2 } } }},
};

ag_tensor *ag_conv2d_weight_grad(ag_tape *t, ag_tensor *x, ag_tensor *g, const ag_conv *c, int64_t kh, int64_t kw)
{
    return apply_conv(t, &ag_op_conv2d_weight_grad, x, g, conv_attr(c, kh, kw));
}
