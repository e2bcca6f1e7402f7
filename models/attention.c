/* What transformers share, see attention.h. */
#include "models/attention.h"

#include "autograd/op.h"

#include <math.h>

/* Scores are of the order of 1 to 100; exp of this below the largest is 0 in either precision, and twice it is finite. */
#define FAR_BELOW (-1e9)

/* A constant [shape...] whose numbers fill() gives. */
static ag_tensor *table(ag_tape *t, int ndim, const int64_t *shape, void (*fill)(const int64_t *shape, const double *args, ag_real *x),
                        const double *args)
{
    ag_spec spec = { .ndim = ndim };
    for (int i = 0; i < ndim; i++)
        spec.shape[i] = shape[i];
    ag_real *x = ag_alloc((size_t)ag_product(ndim, shape) * sizeof *x);
    if (!x) {
        ag_tape_fail(t, AG_ENOMEM, "attention: no memory for a table of %lld numbers", (long long)ag_product(ndim, shape));
        return NULL;
    }
    fill(shape, args, x);
    ag_tensor *y = ag_value(t, &spec, x);
    ag_free(x);
    return y;
}

ag_tensor *nn_heads(ag_tape *t, const nn_text *b, ag_tensor *rows, int64_t groups, int64_t per_group, int64_t size)
{
    return ag_reshape(t, nn_text_pad(t, b, rows), 5, (int64_t[]){ b->shape.n, b->shape.length, groups, per_group, size });
}

static void fill_triangle(const int64_t *shape, const double *args, ag_real *x)
{
    (void)args;
    for (int64_t i = 0; i < shape[0]; i++)
        for (int64_t j = 0; j < shape[1]; j++)
            *x++ = j <= i ? 0 : (ag_real)FAR_BELOW;
}

ag_tensor *nn_attention_mask(ag_tape *t, const nn_text *b, bool causal)
{
    int64_t l = b->shape.length;
    ag_tensor *keys = ag_reshape(t, ag_affine(t, b->valid, -FAR_BELOW, FAR_BELOW), 5, (int64_t[]){ b->shape.n, 1, 1, 1, l });
    return causal ? ag_add(t, keys, table(t, 2, (int64_t[]){ l, l }, fill_triangle, NULL)) : keys;
}

ag_tensor *nn_attend(ag_tape *t, const nn_text *b, ag_tensor *q, ag_tensor *k, ag_tensor *v, ag_tensor *mask, double scale)
{
    if (!q)
        return NULL;
    int64_t width = ag_product(3, ag_shape(q) + 2);
    q = ag_transpose(t, scale == 1 ? q : ag_scale(t, q, scale), (int[]){ 0, 2, 3, 1, 4 });   /* [n, groups, per_group, L, size] */
    k = ag_transpose(t, k, (int[]){ 0, 2, 3, 4, 1 });                                        /* [n, groups, 1, size, L] */
    v = ag_transpose(t, v, (int[]){ 0, 2, 3, 1, 4 });                                        /* [n, groups, 1, L, size] */
    ag_tensor *weight = ag_softmax(t, ag_add(t, ag_matmul(t, q, k), mask));
    ag_tensor *y = ag_transpose(t, ag_matmul(t, weight, v), (int[]){ 0, 3, 1, 2, 4 });       /* [n, L, groups, per_group, size] */
    return nn_text_unpad(t, b, ag_reshape(t, y, 3, (int64_t[]){ b->shape.n, b->shape.length, width }));
}

/* [L, 2, 2, size / 2]: y_i = sum over j of [i][j] x_j turns a pair by the angle position * theta^(-2 k / size). */
static void fill_rotations(const int64_t *shape, const double *args, ag_real *x)
{
    int64_t half = shape[3];
    double theta = args[0], scale = args[1];
    for (int64_t position = 0; position < shape[0]; position++, x += 4 * half)
        for (int64_t k = 0; k < half; k++) {
            double angle = (double)position * pow(theta, -(double)k / (double)half);
            x[k] = x[3 * half + k] = (ag_real)(scale * cos(angle));
            x[2 * half + k] = (ag_real)(scale * sin(angle));
            x[half + k] = -x[2 * half + k];
        }
}

ag_tensor *nn_rotary_table(ag_tape *t, const nn_text *b, int64_t size, double theta, double scale)
{
    int64_t half = size / 2;
    ag_tensor *all = table(t, 4, (int64_t[]){ b->shape.length, 2, 2, half }, fill_rotations, (double[]){ theta, scale });
    return ag_reshape(t, ag_gather(t, all, b->position), 5, (int64_t[]){ b->shape.capacity, 1, 2, 2, half });
}

ag_tensor *nn_rotate(ag_tape *t, ag_tensor *rows, int64_t n_head, int64_t size, ag_tensor *turn)
{
    ag_tensor *x = ag_reshape(t, rows, 5, (int64_t[]){ -1, n_head, 1, 2, size / 2 });
    ag_tensor *y = ag_sum_keep(t, ag_mul(t, x, turn), AG_AXIS(3));   /* one product and one sum, all else views */
    return ag_reshape(t, y, 2, (int64_t[]){ -1, n_head * size });
}

ag_tensor *nn_rms_norm(ag_tape *t, ag_tensor *x, double epsilon, ag_tensor *gamma)
{
    if (!x)
        return NULL;
    int last = ag_ndim(x) - 1;
    ag_tensor *sum = ag_sum_keep(t, ag_square(t, x), AG_AXIS(last));
    ag_tensor *scale = ag_rsqrt(t, ag_affine(t, sum, 1.0 / (double)ag_shape(x)[last], epsilon));
    return ag_mul(t, ag_mul(t, x, scale), gamma);
}
