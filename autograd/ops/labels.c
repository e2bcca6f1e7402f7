/* Scores [n, c] with labels [n]: hit, pick, and cross-entropy, whose derivative makes no one-hot rows: a vocabulary is large. */
#include "autograd/ops/index.h"
#include "autograd/ops/rows.h"

/* hit, pick, cross_entropy: logits [n, c], labels [n] -> [n] */
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

/* pick */
static void pick_forward(const ag_call *c)
{
    int64_t count = c->in[0].shape[1], n = c->in[0].shape[2];
    ag_real *y = c->out.data;
    for (int64_t task = 0; task < c->out.shape[0]; task++) {
        const ag_real *x = of_task(&c->in[0], task, sizeof *x);
        const int32_t *label = of_task(&c->in[1], task, sizeof *label);
        for (int64_t j = 0; j < count; j++, x += n)
            *y++ = x[row_of(label[j], n)];
    }
}

static ag_tensor *as_column(ag_tape *t, ag_tensor *g)
{
    return g ? ag_reshape(t, g, 2, (int64_t[]){ g->shape[0], 1 }) : NULL;
}

static ag_tensor *pick_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g where it came from */
{
    return k == 0 ? ag_mul(t, ag_one_hot(t, y->in[1], y->in[0]->shape[1]), as_column(t, g)) : NULL;
}

static ag_tensor *pick_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* the same places */
{
    return k == 0 ? ag_pick(t, dx, y->in[1]) : NULL;
}

static ag_tensor *pick_check(ag_tape *t, ag_tensor *const *x)
{
    ag_tensor *i = check_index(t, x[0]->shape[1], 1, x[0]->shape);
    return ag_pick(t, x[0], i);
}

const ag_op ag_op_pick = {
    .name = "pick", .arity = 2, .shape = per_example_shape, .forward = pick_forward, .vjp = pick_vjp, .jvp = pick_jvp,
    .check = {{ .n = 1, .in = {{ 2, { 3, 4 } }}, .build = pick_check }},
};

ag_tensor *ag_pick(ag_tape *t, ag_tensor *x, ag_tensor *labels)
{
    ag_tensor *in[] = { ag_contiguous(t, x), labels };
    return ag_apply(t, &ag_op_pick, 2, in, NULL);
}

/* ---- cross_entropy ---- */

AG_KERNEL static void cross_entropy_rows(const ag_real *restrict x, const int32_t *label, int64_t rows, int64_t n, ag_real *restrict y)
{
    ag_real e[ROW_BLOCK];
    row_block b;
    exp_rows(x, e, rows, n, &b);
    for (int64_t r = 0; r < rows; r++)
        y[r] = vec_log(b.sum[r]);
    for (int64_t r = 0; r < rows; r++)
        y[r] = y[r] + b.max[r] - x[r * n + row_of(label[r], n)];
}

/* One long row. */
AG_KERNEL static void cross_entropy_row(const ag_real *restrict x, const int32_t *label, int64_t n, ag_real *restrict y)
{
    ag_real max = vec_row_max(x, n), sum = 0, e[ROW_BLOCK];
    for (int64_t at = 0; at < n; at += ROW_BLOCK) {
        int64_t count = n - at < ROW_BLOCK ? n - at : ROW_BLOCK;
        for (int64_t i = 0; i < count; i++)
            e[i] = vec_exp(x[at + i] - max);
        sum += vec_row_sum(e, count);
    }
    *y = vec_log(sum) + max - x[row_of(*label, n)];
}

static void cross_entropy_forward(const ag_call *c)
{
    int64_t count = c->in[0].shape[1], n = c->in[0].shape[2];
    ag_real *y = c->out.data;
    for (int64_t task = 0; task < c->out.shape[0]; task++) {
        const ag_real *x = of_task(&c->in[0], task, sizeof *x);
        const int32_t *label = of_task(&c->in[1], task, sizeof *label);
        for (int64_t j = 0, rows; j < count; j += rows, y += rows) {
            rows = count - j < rows_together(n) ? count - j : rows_together(n);
            if (n > ROW_BLOCK)
                cross_entropy_row(x + j * n, label + j, n, y);
            else
                cross_entropy_rows(x + j * n, label + j, rows, n, y);
        }
    }
}

static ag_tensor *cross_entropy_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    return k == 0 ? ag_cross_entropy_grad(t, y->in[0], y->in[1], g) : NULL;
}

/* Sums of (softmax(x) - 1 at labels) v along the rows of x. */
static ag_tensor *excess_product(ag_tape *t, ag_tensor *x, ag_tensor *labels, ag_tensor *v)
{
    ag_tensor *sum = ag_product_sum(t, ag_softmax(t, x), v, AG_AXIS(1));
    return ag_sub(t, ag_reshape(t, sum, 1, labels->shape), ag_pick(t, v, labels));
}

static ag_tensor *cross_entropy_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)
{
    return k == 0 ? excess_product(t, y->in[0], y->in[1], dx) : NULL;
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

/* ---- cross_entropy_grad ---- */

AG_KERNEL static void cross_entropy_grad_rows(const ag_real *restrict x, const int32_t *label, const ag_real *restrict g, int64_t rows, int64_t n,
                                              ag_real *restrict y)
{
    row_block b;
    exp_rows(x, y, rows, n, &b);
    for (int64_t r = 0; r < rows; r++) {
        const ag_real sum = b.sum[r], weight = g[r];
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            y[i] /= sum;
        y[r * n + row_of(label[r], n)] -= 1;   /* exact where it nearly cancels */
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            y[i] *= weight;
    }
}

static bool cross_entropy_grad_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *x = y->in[0];
    if (!per_example_shape(t, y))
        return false;
    if (y->in[2]->dtype != AG_REAL || !ag_same_shape(y->in[2], y->in[1]))
        return ag_tape_fail(t, AG_ESHAPE, "cross_entropy_grad: one number g for each label is expected");
    ag_set_shape(y, AG_REAL, 2, x->shape);
    return true;
}

static void cross_entropy_grad_forward(const ag_call *c)
{
    int64_t count = c->in[0].shape[1], n = c->in[0].shape[2];
    ag_real *y = c->out.data;
    for (int64_t task = 0; task < c->out.shape[0]; task++) {
        const ag_real *x = of_task(&c->in[0], task, sizeof *x), *g = of_task(&c->in[2], task, sizeof *g);
        const int32_t *label = of_task(&c->in[1], task, sizeof *label);
        for (int64_t j = 0, rows; j < count; j += rows, y += rows * n) {
            rows = count - j < rows_together(n) ? count - j : rows_together(n);
            cross_entropy_grad_rows(x + j * n, label + j, g + j, rows, n, y);
        }
    }
}

/* g (the derivative of softmax times v), which is symmetric */
static ag_tensor *curvature(ag_tape *t, ag_tensor *y, ag_tensor *v)
{
    ag_tensor *s = ag_softmax(t, y->in[0]), *sv = ag_product_sum(t, s, v, AG_AXIS(1));
    return ag_mul(t, ag_mul(t, s, ag_sub(t, v, sv)), as_column(t, y->in[2]));
}

static ag_tensor *cross_entropy_grad_vjp(ag_tape *t, ag_tensor *y, ag_tensor *h, int k)
{
    if (k == 0)
        return curvature(t, y, h);
    return k == 2 ? excess_product(t, y->in[0], y->in[1], h) : NULL;
}

static ag_tensor *cross_entropy_grad_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)
{
    if (k == 0)
        return curvature(t, y, dx);
    return k == 2 ? ag_cross_entropy_grad(t, y->in[0], y->in[1], dx) : NULL;
}

static ag_tensor *cross_entropy_grad_check(ag_tape *t, ag_tensor *const *x)
{
    ag_tensor *i = check_index(t, x[0]->shape[1], 1, x[0]->shape);
    return ag_cross_entropy_grad(t, x[0], i, x[1]);
}

const ag_op ag_op_cross_entropy_grad = {
    .name = "cross_entropy_grad", .arity = 3, .shape = cross_entropy_grad_shape, .forward = cross_entropy_grad_forward,
    .vjp = cross_entropy_grad_vjp, .jvp = cross_entropy_grad_jvp,
    .check = {{ .n = 2, .in = {{ 2, { 3, 4 } }, { 1, { 3 } }}, .build = cross_entropy_grad_check }},
};

ag_tensor *ag_cross_entropy_grad(ag_tape *t, ag_tensor *logits, ag_tensor *labels, ag_tensor *g)
{
    ag_tensor *in[] = { ag_contiguous(t, logits), labels, ag_contiguous(t, g) };
    return ag_apply(t, &ag_op_cross_entropy_grad, 3, in, NULL);
}
