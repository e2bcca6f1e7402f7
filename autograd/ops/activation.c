/* Elementwise operators of one input: activations, and those with constants or kinks. Each has a span, one rule for
 * both modes (the Jacobian is diagonal) and a row. Kinks are checked on each side of them. */
#include "autograd/op.h"
#include "autograd/ops/real_math.h"
#include "autograd/vecmath.h"

#define INV_SQRT_2 0.70710678118654752
#define INV_SQRT_2PI 0.39894228040143268
#define SQRT_2_OVER_PI 0.79788456080286536

/* gelu */
AG_KERNEL static void gelu_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = vec_gelu(x[i]);
}

static ag_tensor *gelu_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* (Phi(x) + x phi(x)) g */
{
    (void)k;
    ag_tensor *x = y->in[0];
    ag_tensor *cdf = ag_affine(t, ag_erf(t, ag_scale(t, x, INV_SQRT_2)), 0.5, 0.5);
    ag_tensor *density = ag_scale(t, ag_exp(t, ag_scale(t, ag_square(t, x), -0.5)), INV_SQRT_2PI);
    return ag_mul(t, g, ag_add(t, cdf, ag_mul(t, x, density)));
}

const ag_op ag_op_gelu = {
    .name = "gelu", .arity = 1, .shape = ag_like_first, .span = gelu_span, .cost = 6, .vjp = gelu_rule, .jvp = gelu_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }},
};

ag_tensor *ag_gelu(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_gelu, 1, &x, NULL);
}

/* gelu_tanh: u = sqrt(2/pi) (x + a x^3), y = x/2 (1 + tanh u) */
AG_KERNEL static void gelu_tanh_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = vec_gelu_tanh(x[i]);
}

static ag_tensor *gelu_tanh_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* (1 + T + x (1 - T^2) u') g / 2 */
{
    (void)k;
    ag_tensor *x = y->in[0], *square = ag_square(t, x);
    ag_tensor *u = ag_mul(t, x, ag_affine(t, square, SQRT_2_OVER_PI * 0.044715, SQRT_2_OVER_PI));
    ag_tensor *slope = ag_affine(t, square, 3 * SQRT_2_OVER_PI * 0.044715, SQRT_2_OVER_PI);
    ag_tensor *th = ag_tanh(t, u);
    ag_tensor *bend = ag_mul(t, ag_mul(t, x, slope), ag_one_minus(t, ag_square(t, th)));
    return ag_mul(t, ag_scale(t, g, 0.5), ag_add(t, ag_affine(t, th, 1, 1), bend));
}

const ag_op ag_op_gelu_tanh = {
    .name = "gelu_tanh", .arity = 1, .shape = ag_like_first, .span = gelu_tanh_span, .cost = 6,
    .vjp = gelu_tanh_rule, .jvp = gelu_tanh_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }},
};

ag_tensor *ag_gelu_tanh(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_gelu_tanh, 1, &x, NULL);
}

/* silu */
AG_KERNEL static void silu_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = vec_silu(x[i]);
}

static ag_tensor *silu_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* s (1 + x (1 - s)) g */
{
    (void)k;
    ag_tensor *x = y->in[0], *s = ag_sigmoid(t, x);
    ag_tensor *slope = ag_mul(t, s, ag_affine(t, ag_mul(t, x, ag_one_minus(t, s)), 1, 1));
    return ag_mul(t, g, slope);
}

const ag_op ag_op_silu = {
    .name = "silu", .arity = 1, .shape = ag_like_first, .span = silu_span, .cost = 6, .vjp = silu_rule, .jvp = silu_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }},
};

ag_tensor *ag_silu(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_silu, 1, &x, NULL);
}

/* abs */
AG_KERNEL static void abs_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = x[i] < 0 ? -x[i] : x[i];
}

static ag_tensor *abs_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* sign(x) g */
{
    (void)k;
    return ag_mul(t, g, ag_sign(t, y->in[0]));
}

const ag_op ag_op_abs = {
    .name = "abs", .arity = 1, .shape = ag_like_first, .span = abs_span, .vjp = abs_rule, .jvp = abs_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 }, 0.1, 2 }} }, { .n = 1, .in = {{ 2, { 3, 5 }, -2, -0.1 }} }},
};

ag_tensor *ag_abs(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_abs, 1, &x, NULL);
}

/* sign */
AG_KERNEL static void sign_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = (ag_real)((x[i] > 0) - (x[i] < 0));
}

const ag_op ag_op_sign = {
    .name = "sign", .arity = 1, .shape = ag_like_first, .span = sign_span, .not_differentiable = true,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 }, 0.1, 2 }} }, { .n = 1, .in = {{ 2, { 3, 5 }, -2, -0.1 }} }},
};

ag_tensor *ag_sign(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_sign, 1, &x, NULL);
}

/* affine: f[0] x + f[1] */
AG_KERNEL static void affine_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    const ag_real scale = (ag_real)s.attr->f[0], shift = (ag_real)s.attr->f[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = scale * x[i] + shift;
}

static ag_tensor *affine_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* scale g */
{
    (void)k;
    return ag_scale(t, g, y->attr.f[0]);
}

const ag_op ag_op_affine = {
    .name = "affine", .arity = 1, .shape = ag_like_first, .span = affine_span, .vjp = affine_rule, .jvp = affine_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }}, .attr = { .f = { -1.5, 0.25 } } }},
};

ag_tensor *ag_affine(ag_tape *t, ag_tensor *x, double scale, double shift)
{
    if (!x || (scale == 1 && shift == 0))
        return x;
    if (scale == 0 || x->is_scalar)
        return ag_constant(t, scale == 0 ? shift : scale * x->value + shift, x->ndim, x->shape, x->tasks);
    return ag_apply(t, &ag_op_affine, 1, &x, &(ag_attr){ .f = { scale, shift } });
}

/* pow_scalar: x ^ f[0] */
AG_KERNEL static void pow_scalar_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    const ag_real p = (ag_real)s.attr->f[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = R_POW(x[i], p);
}

static ag_tensor *pow_scalar_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* p x^(p - 1) g */
{
    (void)k;
    double p = y->attr.f[0];
    return ag_mul(t, ag_scale(t, g, p), ag_pow_scalar(t, y->in[0], p - 1));
}

const ag_op ag_op_pow_scalar = {
    .name = "pow_scalar", .arity = 1, .shape = ag_like_first, .span = pow_scalar_span, .cost = 20,
    .vjp = pow_scalar_rule, .jvp = pow_scalar_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 }, 0.3, 2 }}, .attr = { .f = { 2.5 } } },
              { .n = 1, .in = {{ 2, { 5, 3 }, -2, -0.3 }}, .attr = { .f = { 3 } } }},
};

ag_tensor *ag_pow_scalar(ag_tape *t, ag_tensor *x, double p)
{
    if (!x || p == 1)
        return x;
    if (p == 0)
        return ag_constant(t, 1, x->ndim, x->shape, x->tasks);
    return ag_apply(t, &ag_op_pow_scalar, 1, &x, &(ag_attr){ .f = { p } });
}

/* clip: between f[0] and f[1] */
AG_KERNEL static void clip_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    const ag_real lo = (ag_real)s.attr->f[0], hi = (ag_real)s.attr->f[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = x[i] < lo ? lo : x[i] > hi ? hi : x[i];
}

static ag_tensor *clip_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g where lo < x < hi */
{
    (void)k;
    ag_tensor *x = y->in[0];
    ag_tensor *above = ag_less(t, ag_scalar(t, y->attr.f[0]), x), *below = ag_less(t, x, ag_scalar(t, y->attr.f[1]));
    return ag_mul(t, g, ag_mul(t, above, below));
}

const ag_op ag_op_clip = {
    .name = "clip", .arity = 1, .shape = ag_like_first, .span = clip_span, .vjp = clip_rule, .jvp = clip_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 }, -0.9, 0.9 }}, .attr = { .f = { -1, 1 } } },
              { .n = 1, .in = {{ 2, { 3, 5 }, 1.1, 2 }}, .attr = { .f = { -1, 1 } } },
              { .n = 1, .in = {{ 2, { 3, 5 }, -2, -1.1 }}, .attr = { .f = { -1, 1 } } }},
};

ag_tensor *ag_clip(ag_tape *t, ag_tensor *x, double lo, double hi)
{
    return ag_apply(t, &ag_op_clip, 1, &x, &(ag_attr){ .f = { lo, hi } });
}
