/* Elementwise operators of one input: each a span, one rule that serves both modes (the Jacobian is diagonal), and a
 * row. */
#include "autograd/op.h"
#include "autograd/ops/real_math.h"
#include "autograd/vecmath.h"

/* neg */
AG_KERNEL static void neg_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = -x[i];
}

static ag_tensor *neg_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* -g */
{
    (void)k;
    (void)y;
    return ag_neg(t, g);
}

const ag_op ag_op_neg = {
    .name = "neg", .arity = 1, .shape = ag_like_first, .span = neg_span, .vjp = neg_rule, .jvp = neg_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }, { .n = 1, .in = {{ 3, { 2, 0, 3 } }} }},
};

ag_tensor *ag_neg(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_neg, 1, &x, NULL);
}

/* exp */
AG_KERNEL static void exp_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = vec_exp(x[i]);
}

static ag_tensor *exp_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* y g */
{
    (void)k;
    return ag_mul(t, g, y);
}

const ag_op ag_op_exp = {
    .name = "exp", .arity = 1, .shape = ag_like_first, .span = exp_span, .cost = 6, .vjp = exp_rule, .jvp = exp_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }, { .n = 1, .in = {{ 3, { 2, 0, 3 } }} }},
};

ag_tensor *ag_exp(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_exp, 1, &x, NULL);
}

/* log */
AG_KERNEL static void log_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = vec_log(x[i]);
}

static ag_tensor *log_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g / x */
{
    (void)k;
    ag_tensor *x = y->in[0];
    return ag_div(t, g, x);
}

const ag_op ag_op_log = {
    .name = "log", .arity = 1, .shape = ag_like_first, .span = log_span, .cost = 6, .vjp = log_rule, .jvp = log_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 }, 0.2, 2.5 }} }, { .n = 1, .in = {{ 1, { 0 }, 1, 2 }} }},
};

ag_tensor *ag_log(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_log, 1, &x, NULL);
}

/* sqrt */
AG_KERNEL static void sqrt_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = R_SQRT(x[i]);
}

static ag_tensor *sqrt_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g / (2 y) */
{
    (void)k;
    return ag_div(t, ag_scale(t, g, 0.5), y);
}

const ag_op ag_op_sqrt = {
    .name = "sqrt", .arity = 1, .shape = ag_like_first, .span = sqrt_span, .vjp = sqrt_rule, .jvp = sqrt_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 }, 0.2, 2.5 }} }, { .n = 1, .in = {{ 1, { 0 }, 1, 2 }} }},
};

ag_tensor *ag_sqrt(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_sqrt, 1, &x, NULL);
}

/* rsqrt */
AG_KERNEL static void rsqrt_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = 1 / R_SQRT(x[i]);
}

static ag_tensor *rsqrt_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* -y^3 g / 2 */
{
    (void)k;
    return ag_mul(t, ag_scale(t, g, -0.5), ag_mul(t, y, ag_square(t, y)));
}

const ag_op ag_op_rsqrt = {
    .name = "rsqrt", .arity = 1, .shape = ag_like_first, .span = rsqrt_span, .vjp = rsqrt_rule, .jvp = rsqrt_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 }, 0.2, 2.5 }} }, { .n = 1, .in = {{ 1, { 0 }, 1, 2 }} }},
};

ag_tensor *ag_rsqrt(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_rsqrt, 1, &x, NULL);
}

/* square */
AG_KERNEL static void square_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = x[i] * x[i];
}

static ag_tensor *square_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* 2 x g */
{
    (void)k;
    ag_tensor *x = y->in[0];
    return ag_mul(t, ag_scale(t, g, 2), x);
}

const ag_op ag_op_square = {
    .name = "square", .arity = 1, .shape = ag_like_first, .span = square_span, .vjp = square_rule, .jvp = square_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }, { .n = 1, .in = {{ 3, { 2, 0, 3 } }} }},
};

ag_tensor *ag_square(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_square, 1, &x, NULL);
}

/* reciprocal */
AG_KERNEL static void reciprocal_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = 1 / x[i];
}

static ag_tensor *reciprocal_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* -y^2 g */
{
    (void)k;
    return ag_neg(t, ag_mul(t, g, ag_square(t, y)));
}

const ag_op ag_op_reciprocal = {
    .name = "reciprocal", .arity = 1, .shape = ag_like_first, .span = reciprocal_span, .vjp = reciprocal_rule, .jvp = reciprocal_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 }, 0.1, 2 }} }, { .n = 1, .in = {{ 2, { 5, 3 }, -2, -0.1 }} }},
};

ag_tensor *ag_reciprocal(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_reciprocal, 1, &x, NULL);
}

/* tanh */
AG_KERNEL static void tanh_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = vec_tanh(x[i]);
}

static ag_tensor *tanh_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* (1 - y^2) g */
{
    (void)k;
    return ag_mul(t, g, ag_one_minus(t, ag_square(t, y)));
}

const ag_op ag_op_tanh = {
    .name = "tanh", .arity = 1, .shape = ag_like_first, .span = tanh_span, .cost = 6, .vjp = tanh_rule, .jvp = tanh_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }, { .n = 1, .in = {{ 3, { 2, 0, 3 } }} }},
};

ag_tensor *ag_tanh(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_tanh, 1, &x, NULL);
}

/* sigmoid */
AG_KERNEL static void sigmoid_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = vec_sigmoid(x[i]);
}

static ag_tensor *sigmoid_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* y (1 - y) g */
{
    (void)k;
    return ag_mul(t, g, ag_mul(t, y, ag_one_minus(t, y)));
}

const ag_op ag_op_sigmoid = {
    .name = "sigmoid", .arity = 1, .shape = ag_like_first, .span = sigmoid_span, .cost = 6, .vjp = sigmoid_rule, .jvp = sigmoid_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }, { .n = 1, .in = {{ 3, { 2, 0, 3 } }} }},
};

ag_tensor *ag_sigmoid(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_sigmoid, 1, &x, NULL);
}

/* relu */
AG_KERNEL static void relu_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = x[i] < 0 ? 0 : x[i];   /* NaN stays NaN */
}

static ag_tensor *relu_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g where x > 0 */
{
    (void)k;
    ag_tensor *x = y->in[0];
    return ag_relu_gate(t, x, g);
}

const ag_op ag_op_relu = {
    .name = "relu", .arity = 1, .shape = ag_like_first, .span = relu_span, .vjp = relu_rule, .jvp = relu_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 }, 0.1, 2 }} }, { .n = 1, .in = {{ 2, { 5, 3 }, -2, -0.1 }} }},
};

ag_tensor *ag_relu(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_relu, 1, &x, NULL);
}

/* erf */
AG_KERNEL static void erf_span(ag_span s)
{
    const ag_real *restrict x = s.x[0];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = vec_erf(x[i]);
}

static ag_tensor *erf_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* 2 / sqrt(pi) exp(-x^2) g */
{
    (void)k;
    ag_tensor *x = y->in[0];
    return ag_mul(t, g, ag_scale(t, ag_exp(t, ag_neg(t, ag_square(t, x))), 1.1283791670955126));
}

const ag_op ag_op_erf = {
    .name = "erf", .arity = 1, .shape = ag_like_first, .span = erf_span, .cost = 6, .vjp = erf_rule, .jvp = erf_rule,
    .check = {{ .n = 1, .in = {{ 2, { 3, 5 } }} }, { .n = 1, .in = {{ 3, { 2, 0, 3 } }} }},
};

ag_tensor *ag_erf(ag_tape *t, ag_tensor *x)
{
    return ag_apply(t, &ag_op_erf, 1, &x, NULL);
}
