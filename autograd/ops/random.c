/* Operators whose result is random, yet a function of their input: the seed is a tensor, so that a replay with another
 * seed gives other numbers, and one with the same seed the same. */
#include "autograd/op.h"
#include "autograd/random.h"

#include <string.h>

/* dropout_mask: f[0] p; i[0] stream, i[1] ndim, i[2..] shape */
static bool dropout_mask_shape(ag_tape *t, ag_tensor *y)
{
    const ag_tensor *seed = y->in[0];
    const ag_attr *a = &y->attr;
    char text[AG_SHAPE_TEXT];
    if (seed->dtype != AG_INT || seed->ndim != 1 || seed->shape[0] != 2 || !ag_is_contiguous(seed))
        return ag_tape_fail(t, AG_ESHAPE, "dropout_mask: the seed is %s %s; int32 [2] is expected",
                            seed->dtype == AG_INT ? "int32" : "a tensor of numbers", ag_shape_text(seed, text));
    if (!(a->f[0] >= 0 && a->f[0] < 1))
        return ag_tape_fail(t, AG_EINVAL, "dropout_mask: p is %g; 0 <= p < 1 is expected", a->f[0]);
    ag_set_shape(y, AG_REAL, (int)a->i[1], a->i + 2);
    return true;
}

/* Each 64-bit word decides two places. */
static void fill_mask(ag_real *y, int64_t n, const int32_t *seed, const ag_attr *a)
{
    uint64_t limit = (uint64_t)(a->f[0] * 0x1p32), word = 0;
    ag_real kept = (ag_real)(1 / (1 - a->f[0]));
    ag_random r;
    ag_random_init(&r, (uint64_t)(uint32_t)seed[0] | (uint64_t)(uint32_t)seed[1] << 32, AG_STREAM_DROPOUT, (uint64_t)a->i[0], 0);
    for (int64_t i = 0; i < n; i++, word >>= 32) {
        if (i % 2 == 0)
            word = ag_random_u64(&r);
        y[i] = (word & 0xffffffffu) < limit ? 0 : kept;
    }
}

static void dropout_mask_forward(const ag_call *c)
{
    int64_t n = ag_product(c->out.rank - 1, c->out.shape + 1);
    for (int64_t task = 0; task < c->out.shape[0]; task++)
        fill_mask((ag_real *)c->out.data + task * n, n, (const int32_t *)c->in[0].data + task * c->in[0].stride[0], c->attr);
}

static ag_tensor *dropout_mask_check(ag_tape *t, ag_tensor *const *x)
{
    ag_tensor *seed = ag_value(t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { 2 } }, (int32_t[]){ 7, -3 });
    return ag_mul(t, x[0], ag_dropout_mask(t, seed, 2, (int64_t[]){ 3, 4 }, 0.5, 1));
}

const ag_op ag_op_dropout_mask = {
    .name = "dropout_mask", .arity = 1, .shape = dropout_mask_shape, .forward = dropout_mask_forward, .not_differentiable = true,
    .check = {{ .n = 1, .in = {{ 2, { 3, 4 } }}, .build = dropout_mask_check }},
};

ag_tensor *ag_dropout_mask(ag_tape *t, ag_tensor *seed, int ndim, const int64_t *shape, double p, int64_t stream)
{
    ag_attr a = { .f = { p }, .i = { stream, ndim } };
    if (ndim < 0 || ndim > AG_MAX_DIMS) {
        ag_tape_fail(t, AG_ESHAPE, "dropout_mask: %d axes; 0 to %d are expected", ndim, AG_MAX_DIMS);
        return NULL;
    }
    memcpy(a.i + 2, shape, (size_t)ndim * sizeof *shape);
    return ag_apply(t, &ag_op_dropout_mask, 1, &seed, &a);
}
