/* Normalisation with the statistics of the numbers themselves, for batch norm (over all axes but the last) and layer norm
 * (over the last). Each operator here reads its operands once, or twice while a channel's block is in cache. The
 * derivative of the standardised y is symmetric, J v = r (v - mean(v) - y mean(y v)) with r = 1 / sqrt(variance + epsilon), so
 * one operator, standardise_grad, serves forward and reverse mode. */
#include "autograd/op.h"
#include "autograd/ops/real_math.h"

#include <string.h>

enum { AXES, CHANNELS = 64, BLOCK_ROWS = 32 };   /* a block: so many rows of so many channels at most */

/* One task's numbers as a matrix. Along columns: one statistic a channel; else one a row. */
typedef struct layout {
    bool columns;
    int64_t rows, n;                 /* n: size of the last axis */
} layout;

static bool has_layout(const ag_tensor *x, unsigned axes)
{
    unsigned last = x->ndim ? AG_AXIS(x->ndim - 1) : 0;
    return x->ndim > 0 && (axes == last || axes == last - 1);
}

static layout layout_of(const ag_call *c, const ag_array *x)
{
    int64_t n = x->shape[x->rank - 1];
    unsigned last = AG_AXIS(x->rank - 2);
    return (layout){ c->attr->i[AXES] != (int64_t)last, n ? ag_product(x->rank - 1, x->shape) / x->shape[0] : 0, n };
}

static int64_t statistics(const layout *l)
{
    return l->columns ? l->n : l->rows;
}

static ag_real *of_task(const ag_array *a, int64_t task)
{
    return (ag_real *)a->data + (a->shape[0] == 1 ? 0 : task * a->stride[0]);
}

static int64_t at_most(int64_t x, int64_t most)
{
    return x < most ? x : most;
}

/* How many numbers a statistic is of. */
static double count_of(const ag_tensor *x, unsigned axes)
{
    double n = 1;
    for (int i = 0; i < x->ndim; i++)
        if (axes & AG_AXIS(i))
            n *= (double)x->shape[i];
    return n;
}

static void keep_shape(const ag_tensor *x, unsigned axes, int64_t *shape)
{
    for (int i = 0; i < x->ndim; i++)
        shape[i] = axes & AG_AXIS(i) ? 1 : x->shape[i];
}

static ag_attr axes_attr(const ag_tensor *x, unsigned axes, double epsilon)
{
    return (ag_attr){ .f = { epsilon }, .i = { axes & ((1u << x->ndim) - 1) } };
}

static unsigned axes_of(const ag_tensor *y)
{
    return (unsigned)y->attr.i[AXES];
}

static unsigned all_but_last(const ag_tensor *x)
{
    return AG_AXIS(x->ndim - 1) - 1;
}

static bool expect_numbers(ag_tape *t, const ag_tensor *y)
{
    for (int k = 0; k < y->n_in; k++)
        if (y->in[k]->dtype != AG_REAL || y->in[k]->ndim == 0)
            return ag_tape_fail(t, AG_ESHAPE, "%s: input %d is no tensor of numbers with at least one axis", y->op->name, k);
    return true;
}

static bool expect_alike(ag_tape *t, const ag_tensor *y, const ag_tensor *a, const ag_tensor *b)
{
    char left[AG_SHAPE_TEXT], right[AG_SHAPE_TEXT];
    return ag_same_shape(a, b) ||
           ag_tape_fail(t, AG_ESHAPE, "%s: %s and %s; the same shape is expected", y->op->name, ag_shape_text(a, left), ag_shape_text(b, right));
}

/* ---- sums of products: what every rule here is made of ---- */

/* sum[j] += sum over rows of a[i, j] b[i, j], rows n apart; in blocks, so that few rounding errors meet. */
AG_KERNEL static void column_products(int64_t rows, int64_t n, int64_t channels, const ag_real *restrict a, const ag_real *restrict b, ag_real *restrict sum)
{
    for (int64_t begin = 0; begin < rows; begin += BLOCK_ROWS) {
        ag_real part[CHANNELS] = { 0 };
        int64_t end = begin + BLOCK_ROWS < rows ? begin + BLOCK_ROWS : rows;
        for (int64_t i = begin; i < end; i++)
            for (int64_t j = 0; j < channels; j++)
                part[j] += a[i * n + j] * b[i * n + j];
        for (int64_t j = 0; j < channels; j++)
            sum[j] += part[j];
    }
}

AG_KERNEL static ag_real row_product(int64_t n, const ag_real *restrict a, const ag_real *restrict b)
{
    ag_real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static bool product_sum_shape(ag_tape *t, ag_tensor *y)
{
    int64_t shape[AG_MAX_DIMS];
    if (!expect_numbers(t, y) || !expect_alike(t, y, y->in[0], y->in[1]))
        return false;
    if (!has_layout(y->in[0], axes_of(y)))
        return ag_tape_fail(t, AG_ESHAPE, "%s: sums over the last axis or over all others are expected", y->op->name);
    keep_shape(y->in[0], axes_of(y), shape);
    ag_set_shape(y, AG_REAL, y->in[0]->ndim, shape);
    return true;
}

static void product_sum_forward(const ag_call *c)
{
    layout l = layout_of(c, &c->in[0]);
    ag_real *y = c->out.data;
    memset(y, 0, (size_t)ag_array_numel(&c->out) * sizeof *y);
    for (int64_t task = 0; task < c->out.shape[0]; task++, y += statistics(&l)) {
        const ag_real *a = of_task(&c->in[0], task), *b = of_task(&c->in[1], task);
        for (int64_t j = 0; l.columns && j < l.n; j += CHANNELS)
            column_products(l.rows, l.n, at_most(l.n - j, CHANNELS), a + j, b + j, y + j);
        for (int64_t i = 0; !l.columns && i < l.rows; i++)
            y[i] = row_product(l.n, a + i * l.n, b + i * l.n);
    }
}

static ag_tensor *product_sum_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g times the other */
{
    return ag_mul(t, g, y->in[1 - k]);
}

static ag_tensor *product_sum_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)
{
    return ag_product_sum(t, dx, y->in[1 - k], axes_of(y));
}

const ag_op ag_op_product_sum = {
    .name = "product_sum", .arity = 2, .shape = product_sum_shape, .forward = product_sum_forward,
    .vjp = product_sum_vjp, .jvp = product_sum_jvp,
    .check = {{ .n = 2, .in = {{ 3, { 2, 3, 4 } }, { 3, { 2, 3, 4 } }}, .attr = { .i = { AG_AXIS(0) | AG_AXIS(1) } } },
              { .n = 2, .in = {{ 2, { 3, 5 } }, { 2, { 3, 5 } }}, .attr = { .i = { AG_AXIS(1) } } },
              { .n = 2, .in = {{ 1, { 4 } }, { 1, { 4 } }}, .attr = { .i = { AG_AXIS(0) } } }},
};

ag_tensor *ag_product_sum(ag_tape *t, ag_tensor *a, ag_tensor *b, unsigned axes)
{
    if (!a || !b)
        return NULL;
    if (!has_layout(a, axes & ((1u << a->ndim) - 1)) || !ag_same_shape(a, b))
        return ag_sum_keep(t, ag_mul(t, a, b), axes);
    ag_attr attr = axes_attr(a, axes, 0);
    ag_tensor *in[] = { ag_contiguous(t, a), ag_contiguous(t, b) };
    return ag_apply(t, &ag_op_product_sum, 2, in, &attr);
}

/* ---- moments: [2, statistics], the means and 1 / sqrt(variance + epsilon) ---- */

/* Blocks of rows have their own mean and sum of squares, which are put together (Chan, Golub & LeVeque 1983). */
AG_KERNEL static void column_moments(int64_t rows, int64_t n, int64_t channels, const ag_real *restrict x, ag_real epsilon, ag_real *restrict mean,
                                     ag_real *restrict inverse)
{
    ag_real squares[CHANNELS] = { 0 };
    for (int64_t j = 0; j < channels; j++)
        mean[j] = 0;
    for (int64_t begin = 0; begin < rows; begin += BLOCK_ROWS) {
        int64_t count = rows - begin < BLOCK_ROWS ? rows - begin : BLOCK_ROWS;
        const ag_real *block = x + begin * n;
        ag_real sum[CHANNELS] = { 0 }, square[CHANNELS] = { 0 };
        const ag_real share = (ag_real)1 / (ag_real)count, weight = (ag_real)count / (ag_real)(begin + count), both = weight * (ag_real)begin;
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = 0; j < channels; j++)
                sum[j] += block[i * n + j];
        for (int64_t j = 0; j < channels; j++)
            sum[j] *= share;
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = 0; j < channels; j++)
                square[j] += (block[i * n + j] - sum[j]) * (block[i * n + j] - sum[j]);
        for (int64_t j = 0; j < channels; j++) {
            ag_real apart = sum[j] - mean[j];
            mean[j] += apart * weight;
            squares[j] += square[j] + apart * apart * both;
        }
    }
    for (int64_t j = 0; j < channels; j++)
        inverse[j] = 1 / R_SQRT(squares[j] / (ag_real)rows + epsilon);
}

AG_KERNEL static void row_moments(int64_t n, const ag_real *restrict x, ag_real epsilon, ag_real *mean, ag_real *inverse)
{
    ag_real sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    const ag_real m = sum / (ag_real)n;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; i++)
        squares += (x[i] - m) * (x[i] - m);
    *mean = m;
    *inverse = 1 / R_SQRT(squares / (ag_real)n + epsilon);
}

static bool moments_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *x = y->in[0];
    if (!expect_numbers(t, y))
        return false;
    if (!has_layout(x, axes_of(y)))
        return ag_tape_fail(t, AG_ESHAPE, "moments: statistics over the last axis or over all others are expected");
    int64_t n = x->shape[x->ndim - 1], rows = ag_product(x->ndim - 1, x->shape);
    ag_set_shape(y, AG_REAL, 2, (int64_t[]){ 2, axes_of(y) == AG_AXIS(x->ndim - 1) ? rows : n });
    return true;
}

static void moments_forward(const ag_call *c)
{
    layout l = layout_of(c, &c->in[0]);
    int64_t count = c->out.shape[2];
    ag_real *y = c->out.data, epsilon = (ag_real)c->attr->f[0];
    for (int64_t task = 0; task < c->out.shape[0]; task++, y += 2 * count) {
        const ag_real *x = of_task(&c->in[0], task);
        for (int64_t j = 0; l.columns && j < l.n; j += CHANNELS)
            column_moments(l.rows, l.n, at_most(l.n - j, CHANNELS), x + j, epsilon, y + j, y + count + j);
        for (int64_t i = 0; !l.columns && i < l.rows; i++)
            row_moments(l.n, x + i * l.n, epsilon, y + i, y + count + i);
    }
}

/* Row 0 or 1 of moments, in the shape that goes with x. */
static ag_tensor *moment(ag_tape *t, ag_tensor *moments, int which, const ag_tensor *x, unsigned axes)
{
    int64_t shape[AG_MAX_DIMS];
    keep_shape(x, axes, shape);
    return ag_reshape(t, ag_slice(t, moments, 0, which, which + 1), x->ndim, shape);
}

/* d mean = mean(dx), d r = -r^2 mean(y dx), with y = (x - mean) r. */
static ag_tensor *moments_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    ag_tensor *x = y->in[0];
    unsigned axes = axes_of(y);
    (void)k;
    ag_tensor *standard = ag_standardise(t, x, axes, y->attr.f[0]), *r = moment(t, y, 1, x, axes);
    ag_tensor *of_mean = moment(t, g, 0, x, axes), *of_r = ag_neg(t, ag_mul(t, ag_square(t, r), moment(t, g, 1, x, axes)));
    double share = 1 / count_of(x, axes);
    return ag_add(t, ag_mul(t, standard, ag_scale(t, of_r, share)), ag_scale(t, of_mean, share));
}

static ag_tensor *moments_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)
{
    ag_tensor *x = y->in[0];
    unsigned axes = axes_of(y);
    (void)k;
    ag_tensor *standard = ag_standardise(t, x, axes, y->attr.f[0]), *r = moment(t, y, 1, x, axes);
    ag_tensor *product = ag_scale(t, ag_product_sum(t, standard, dx, axes), -1 / count_of(x, axes));
    ag_tensor *of_mean = ag_reshape(t, ag_mean_keep(t, dx, axes), 2, (int64_t[]){ 1, y->shape[1] });
    return ag_concat(t, of_mean, ag_reshape(t, ag_mul(t, ag_square(t, r), product), 2, (int64_t[]){ 1, y->shape[1] }), 0);
}

const ag_op ag_op_moments = {
    .name = "moments", .arity = 1, .shape = moments_shape, .forward = moments_forward, .vjp = moments_vjp, .jvp = moments_jvp,
    .check = {{ .n = 1, .in = {{ 3, { 2, 2, 3 } }}, .attr = { .f = { 0.5 }, .i = { AG_AXIS(0) | AG_AXIS(1) } } },
              { .n = 1, .in = {{ 2, { 2, 5 } }}, .attr = { .f = { 0.5 }, .i = { AG_AXIS(1) } } }},
};

ag_tensor *ag_moments(ag_tape *t, ag_tensor *x, unsigned axes, double epsilon)
{
    if (!x)
        return NULL;
    ag_attr attr = axes_attr(x, axes, epsilon);
    x = ag_contiguous(t, x);
    return ag_apply(t, &ag_op_moments, 1, &x, &attr);
}

/* ---- standardise: y = (x - mean) r; its second input, x's own moments, only saves their being computed again ---- */

AG_KERNEL static void standardise_columns(int64_t rows, int64_t n, const ag_real *restrict x, const ag_real *restrict mean, const ag_real *restrict inverse,
                                          ag_real *restrict y)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            y[i * n + j] = (x[i * n + j] - mean[j]) * inverse[j];
}

AG_KERNEL static void standardise_rows(int64_t rows, int64_t n, const ag_real *restrict x, const ag_real *restrict mean, const ag_real *restrict inverse,
                                       ag_real *restrict y)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            y[i * n + j] = (x[i * n + j] - mean[i]) * inverse[i];
}

static bool standardise_shape(ag_tape *t, ag_tensor *y)
{
    if (!expect_numbers(t, y))
        return false;
    ag_set_shape(y, AG_REAL, y->in[0]->ndim, y->in[0]->shape);
    return true;
}

static void standardise_forward(const ag_call *c)
{
    layout l = layout_of(c, &c->in[0]);
    ag_real *y = c->out.data;
    for (int64_t task = 0; task < c->out.shape[0]; task++, y += l.rows * l.n) {
        const ag_real *x = of_task(&c->in[0], task), *moments = of_task(&c->in[1], task);
        (l.columns ? standardise_columns : standardise_rows)(l.rows, l.n, x, moments, moments + statistics(&l), y);
    }
}

static ag_tensor *standardise_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* of x, all of it; symmetric */
{
    return k == 0 ? ag_standardise_grad(t, y, moment(t, y->in[1], 1, y, axes_of(y)), g, axes_of(y)) : NULL;
}

static ag_tensor *standardise_columns_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_standardise(t, x[0], AG_AXIS(0) | AG_AXIS(1), 0.5);
}

static ag_tensor *standardise_rows_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_standardise(t, x[0], AG_AXIS(1), 0.5);
}

const ag_op ag_op_standardise = {
    .name = "standardise", .arity = 2, .shape = standardise_shape, .forward = standardise_forward,
    .vjp = standardise_rule, .jvp = standardise_rule,
    .check = {{ .n = 1, .in = {{ 3, { 2, 2, 3 } }}, .build = standardise_columns_check },
              { .n = 1, .in = {{ 2, { 2, 5 } }}, .build = standardise_rows_check }},
};

ag_tensor *ag_standardise(ag_tape *t, ag_tensor *x, unsigned axes, double epsilon)
{
    if (!x)
        return NULL;
    x = ag_contiguous(t, x);
    ag_tensor *in[] = { x, ag_moments(t, x, axes, epsilon) };
    ag_attr attr = axes_attr(x, axes, epsilon);
    return ag_apply(t, &ag_op_standardise, 2, in, &attr);
}

/* ---- standardise_grad: r (v - mean(v) - y mean(y v)) ---- */

AG_KERNEL static void grad_columns(int64_t rows, int64_t n, int64_t channels, const ag_real *restrict y, const ag_real *restrict inverse,
                                   const ag_real *restrict v, ag_real *restrict out)
{
    ag_real sum[CHANNELS] = { 0 }, product[CHANNELS] = { 0 };
    for (int64_t begin = 0; begin < rows; begin += BLOCK_ROWS) {
        ag_real s[CHANNELS] = { 0 }, p[CHANNELS] = { 0 };
        int64_t end = begin + BLOCK_ROWS < rows ? begin + BLOCK_ROWS : rows;
        for (int64_t i = begin; i < end; i++)
            for (int64_t j = 0; j < channels; j++) {
                s[j] += v[i * n + j];
                p[j] += v[i * n + j] * y[i * n + j];
            }
        for (int64_t j = 0; j < channels; j++) {
            sum[j] += s[j];
            product[j] += p[j];
        }
    }
    const ag_real share = (ag_real)1 / (ag_real)rows;
    for (int64_t j = 0; j < channels; j++) {
        sum[j] *= share;
        product[j] *= share;
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < channels; j++)
            out[i * n + j] = inverse[j] * (v[i * n + j] - sum[j] - y[i * n + j] * product[j]);
}

AG_KERNEL static void grad_row(int64_t n, const ag_real *restrict y, ag_real inverse, const ag_real *restrict v, ag_real *restrict out)
{
    ag_real sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t i = 0; i < n; i++) {
        sum += v[i];
        product += v[i] * y[i];
    }
    const ag_real mean = sum / (ag_real)n, share = product / (ag_real)n;
    for (int64_t i = 0; i < n; i++)
        out[i] = inverse * (v[i] - mean - y[i] * share);
}

static bool standardise_grad_shape(ag_tape *t, ag_tensor *y)
{
    if (!expect_numbers(t, y) || !expect_alike(t, y, y->in[0], y->in[2]))
        return false;
    int64_t shape[AG_MAX_DIMS];
    keep_shape(y->in[0], axes_of(y), shape);
    if (!has_layout(y->in[0], axes_of(y)) || ag_numel(y->in[1]) != ag_product(y->in[0]->ndim, shape))
        return ag_tape_fail(t, AG_ESHAPE, "standardise_grad: one r for each statistic over the last axis or over all others is expected");
    ag_set_shape(y, AG_REAL, y->in[0]->ndim, y->in[0]->shape);
    return true;
}

static void standardise_grad_forward(const ag_call *c)
{
    layout l = layout_of(c, &c->in[0]);
    ag_real *out = c->out.data;
    for (int64_t task = 0; task < c->out.shape[0]; task++, out += l.rows * l.n) {
        const ag_real *y = of_task(&c->in[0], task), *r = of_task(&c->in[1], task), *v = of_task(&c->in[2], task);
        for (int64_t j = 0; l.columns && j < l.n; j += CHANNELS)
            grad_columns(l.rows, l.n, at_most(l.n - j, CHANNELS), y + j, r + j, v + j, out + j);
        for (int64_t i = 0; !l.columns && i < l.rows; i++)
            grad_row(l.n, y + i * l.n, r[i], v + i * l.n, out + i * l.n);
    }
}

/* -r mean(a b) */
static ag_tensor *pull(ag_tape *t, ag_tensor *r, ag_tensor *a, ag_tensor *b, unsigned axes)
{
    return ag_mul(t, r, ag_scale(t, ag_product_sum(t, a, b, axes), -1 / count_of(a, axes)));
}

static ag_tensor *standardise_grad_vjp(ag_tape *t, ag_tensor *out, ag_tensor *h, int k)
{
    ag_tensor *y = out->in[0], *r = out->in[1], *v = out->in[2];
    unsigned axes = axes_of(out);
    if (k == 2)
        return ag_standardise_grad(t, y, r, h, axes);
    if (k == 1)
        return ag_div(t, ag_product_sum(t, h, out, axes), r);
    return ag_add(t, ag_mul(t, h, pull(t, r, y, v, axes)), ag_mul(t, v, pull(t, r, h, y, axes)));
}

static ag_tensor *standardise_grad_jvp(ag_tape *t, ag_tensor *out, ag_tensor *dx, int k)
{
    ag_tensor *y = out->in[0], *r = out->in[1], *v = out->in[2];
    unsigned axes = axes_of(out);
    if (k == 2)
        return ag_standardise_grad(t, y, r, dx, axes);
    if (k == 1)
        return ag_mul(t, out, ag_div(t, dx, r));
    return ag_add(t, ag_mul(t, dx, pull(t, r, y, v, axes)), ag_mul(t, y, pull(t, r, dx, v, axes)));
}

const ag_op ag_op_standardise_grad = {
    .name = "standardise_grad", .arity = 3, .shape = standardise_grad_shape, .forward = standardise_grad_forward,
    .vjp = standardise_grad_vjp, .jvp = standardise_grad_jvp,
    .check = {{ .n = 3, .in = {{ 3, { 2, 2, 3 } }, { 3, { 1, 1, 3 }, 0.5, 2 }, { 3, { 2, 2, 3 } }}, .attr = { .i = { AG_AXIS(0) | AG_AXIS(1) } } },
              { .n = 3, .in = {{ 2, { 2, 4 } }, { 2, { 2, 1 }, 0.5, 2 }, { 2, { 2, 4 } }}, .attr = { .i = { AG_AXIS(1) } } }},
};

ag_tensor *ag_standardise_grad(ag_tape *t, ag_tensor *y, ag_tensor *r, ag_tensor *v, unsigned axes)
{
    if (!y)
        return NULL;
    ag_attr attr = axes_attr(y, axes, 0);
    ag_tensor *in[] = { ag_contiguous(t, y), ag_contiguous(t, r), ag_contiguous(t, v) };
    return ag_apply(t, &ag_op_standardise_grad, 3, in, &attr);
}

/* ---- scale_shift: y = gamma x + beta along the last axis ---- */

AG_KERNEL static void scale_shift_rows(int64_t rows, int64_t n, const ag_real *restrict x, const ag_real *restrict gamma, const ag_real *restrict beta,
                                       ag_real *restrict y)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            y[i * n + j] = x[i * n + j] * gamma[j] + beta[j];
}

static bool scale_shift_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *x = y->in[0];
    if (!expect_numbers(t, y))
        return false;
    for (int k = 1; k <= 2; k++)
        if (y->in[k]->ndim != 1 || y->in[k]->shape[0] != x->shape[x->ndim - 1])
            return ag_tape_fail(t, AG_ESHAPE, "scale_shift: input %d is not as long as the last axis, %lld", k, (long long)x->shape[x->ndim - 1]);
    ag_set_shape(y, AG_REAL, x->ndim, x->shape);
    return true;
}

static void scale_shift_forward(const ag_call *c)
{
    layout l = layout_of(c, &c->in[0]);
    ag_real *y = c->out.data;
    for (int64_t task = 0; task < c->out.shape[0]; task++, y += l.rows * l.n)
        scale_shift_rows(l.rows, l.n, of_task(&c->in[0], task), of_task(&c->in[1], task), of_task(&c->in[2], task), y);
}

static ag_tensor *scale_shift_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* gamma g, sum of x g, sum of g */
{
    ag_tensor *x = y->in[0];
    if (k == 0)
        return ag_mul(t, g, y->in[1]);
    ag_tensor *sum = k == 1 ? ag_product_sum(t, x, g, all_but_last(x)) : ag_sum_keep(t, g, all_but_last(x));
    return ag_reshape(t, sum, 1, y->in[k]->shape);
}

static ag_tensor *scale_shift_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* gamma dx, x dgamma, dbeta */
{
    if (k == 0)
        return ag_mul(t, dx, y->in[1]);
    return k == 1 ? ag_mul(t, y->in[0], dx) : ag_expand(t, dx, y->ndim, y->shape);
}

const ag_op ag_op_scale_shift = {
    .name = "scale_shift", .arity = 3, .shape = scale_shift_shape, .forward = scale_shift_forward,
    .vjp = scale_shift_vjp, .jvp = scale_shift_jvp,
    .check = {{ .n = 3, .in = {{ 3, { 2, 2, 3 } }, { 1, { 3 } }, { 1, { 3 } }} }, { .n = 3, .in = {{ 1, { 4 } }, { 1, { 4 } }, { 1, { 4 } }} }},
};

ag_tensor *ag_scale_shift(ag_tape *t, ag_tensor *x, ag_tensor *gamma, ag_tensor *beta)
{
    ag_tensor *in[] = { ag_contiguous(t, x), ag_contiguous(t, gamma), ag_contiguous(t, beta) };
    return ag_apply(t, &ag_op_scale_shift, 3, in, NULL);
}
