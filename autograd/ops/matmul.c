/* Matrix products. Where one operand is shared by all leading axes and the other runs on through them, all rows go
 * as one tall product; else each pair of matrices is multiplied on its own. */
#include "autograd/op.h"

#include <string.h>

static bool matmul_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *a = y->in[0], *b = y->in[1];
    int n = a->ndim;
    int64_t shape[AG_MAX_DIMS];
    char left[AG_SHAPE_TEXT], right[AG_SHAPE_TEXT];
    bool fits = n >= 2 && b->ndim == n && a->dtype == AG_REAL && b->dtype == AG_REAL;
    if (!fits || a->shape[n - 1] != b->shape[n - 2] || memcmp(a->shape, b->shape, (size_t)(n - 2) * sizeof *a->shape))
        return ag_tape_fail(t, AG_ESHAPE, "matmul: %s x %s: inner dimensions differ", ag_shape_text(a, left),
                            ag_shape_text(b, right));
    memcpy(shape, a->shape, sizeof shape);
    shape[n - 1] = b->shape[n - 1];
    ag_set_shape(y, AG_REAL, n, shape);
    return true;
}

typedef struct product {
    int64_t m, n, k, rs_a, cs_a, rs_b, cs_b;
} product;

/* True when the leading axes of a (which has rank - 2 of them) continue its rows and b does not move along them:
 * then *rows is the number of all rows. */
static bool rows_run_on(const ag_array *a, const ag_array *b, int64_t *rows)
{
    int m = a->rank - 2;
    *rows = a->shape[m];
    for (int i = m - 1; i >= 0; i--) {
        if (a->shape[i] == 1)
            continue;
        if (b->stride[i] != 0 || a->stride[i] != *rows * a->stride[m])
            return false;
        *rows *= a->shape[i];
    }
    return true;
}

static void matmul_forward(const ag_call *c)
{
    const ag_array *a = &c->in[0], *b = &c->in[1];
    int r = a->rank;
    product p = { a->shape[r - 2], b->shape[r - 1], a->shape[r - 1], a->stride[r - 2], a->stride[r - 1],
                  b->stride[r - 2], b->stride[r - 1] };
    int64_t rows, index[AG_RANK] = { 0 };
    const ag_real *pa = a->data, *pb = b->data;
    ag_real *y = c->out.data;
    if (ag_array_numel(&c->out) == 0)
        return;
    if (rows_run_on(a, b, &rows)) {
        ag_gemm(rows, p.n, p.k, pa, p.rs_a, p.cs_a, pb, p.rs_b, p.cs_b, false, y, p.n);
        return;
    }
    for (;;) {
        ag_gemm(p.m, p.n, p.k, pa, p.rs_a, p.cs_a, pb, p.rs_b, p.cs_b, false, y, p.n);
        y += p.m * p.n;
        int axis = r - 3;
        for (; axis >= 0; axis--) {
            pa += a->stride[axis];
            pb += b->stride[axis];
            if (++index[axis] < c->out.shape[axis])
                break;
            pa -= c->out.shape[axis] * a->stride[axis];
            pb -= c->out.shape[axis] * b->stride[axis];
            index[axis] = 0;
        }
        if (axis < 0)
            return;
    }
}

static ag_tensor *matmul_vjp(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g b', a' g */
{
    if (k == 0)
        return ag_matmul(t, g, ag_transpose(t, y->in[1], NULL));
    return ag_matmul(t, ag_transpose(t, y->in[0], NULL), g);
}

static ag_tensor *matmul_jvp(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k)   /* da b, a db */
{
    return k == 0 ? ag_matmul(t, dx, y->in[1]) : ag_matmul(t, y->in[0], dx);
}

static ag_tensor *matmul_broadcast_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_matmul(t, x[0], x[1]);
}

static ag_tensor *matmul_transposed_check(ag_tape *t, ag_tensor *const *x)
{
    return ag_matmul(t, ag_transpose(t, x[0], NULL), ag_transpose(t, x[1], NULL));
}

const ag_op ag_op_matmul = {
    .name = "matmul", .arity = 2, .shape = matmul_shape, .forward = matmul_forward,
    .vjp = matmul_vjp, .jvp = matmul_jvp,
    .check = {{ .n = 2, .in = {{ 2, { 3, 4 } }, { 2, { 4, 5 } }} },
              { .n = 2, .in = {{ 3, { 2, 3, 4 } }, { 3, { 2, 4, 1 } }} },
              { .n = 2, .in = {{ 3, { 2, 3, 4 } }, { 2, { 4, 2 } }}, .build = matmul_broadcast_check },
              { .n = 2, .in = {{ 4, { 2, 1, 3, 2 } }, { 3, { 3, 2, 2 } }}, .build = matmul_broadcast_check },
              { .n = 2, .in = {{ 2, { 4, 3 } }, { 2, { 5, 4 } }}, .build = matmul_transposed_check },
              { .n = 2, .in = {{ 2, { 3, 0 } }, { 2, { 0, 2 } }} }},
};

/* Leading axes of x become those of shape, which has n - 2 of them. */
static ag_tensor *expand_leading(ag_tape *t, ag_tensor *x, int n, const int64_t *leading)
{
    int64_t shape[AG_MAX_DIMS];
    memcpy(shape, leading, (size_t)(n - 2) * sizeof *shape);
    memcpy(shape + n - 2, x->shape + x->ndim - 2, 2 * sizeof *shape);
    return ag_expand(t, x, n, shape);
}

ag_tensor *ag_matmul(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    char left[AG_SHAPE_TEXT], right[AG_SHAPE_TEXT];
    if (!a || !b)
        return NULL;
    if (a->ndim < 2 || b->ndim < 2 || a->shape[a->ndim - 1] != b->shape[b->ndim - 2]) {
        ag_tape_fail(t, AG_ESHAPE, "matmul: %s x %s: inner dimensions differ", ag_shape_text(a, left),
                     ag_shape_text(b, right));
        return NULL;
    }
    if (b->ndim == 2 && a->ndim > 2) {   /* one matrix for all: its gradient is then one product too */
        int64_t shape[AG_MAX_DIMS];
        memcpy(shape, a->shape, sizeof shape);
        shape[a->ndim - 1] = b->shape[1];
        ag_tensor *rows = ag_reshape(t, a, 2, (int64_t[]){ ag_product(a->ndim - 1, a->shape), a->shape[a->ndim - 1] });
        return ag_reshape(t, ag_matmul(t, rows, b), a->ndim, shape);
    }
    int ndim;
    int64_t leading[AG_MAX_DIMS];
    ag_tensor lead_a = { .ndim = (uint8_t)(a->ndim - 2) }, lead_b = { .ndim = (uint8_t)(b->ndim - 2) };
    memcpy(lead_a.shape, a->shape, sizeof lead_a.shape);
    memcpy(lead_b.shape, b->shape, sizeof lead_b.shape);
    if (!ag_broadcast_shapes(&lead_a, &lead_b, &ndim, leading)) {
        ag_tape_fail(t, AG_ESHAPE, "matmul: %s x %s: leading axes do not broadcast", ag_shape_text(a, left),
                     ag_shape_text(b, right));
        return NULL;
    }
    ag_tensor *in[] = { expand_leading(t, a, ndim + 2, leading), expand_leading(t, b, ndim + 2, leading) };
    return ag_apply(t, &ag_op_matmul, 2, in, NULL);
}
