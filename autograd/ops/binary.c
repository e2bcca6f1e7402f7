/* Elementwise operators of two and three inputs. The public functions expand their inputs to one shape first (expand
 * is an operator with a rule of its own), so no rule here thinks of broadcasting. */
#include "autograd/op.h"
#include "autograd/ops/real_math.h"

ag_tensor *ag_binary(ag_tape *t, const ag_op *op, ag_tensor *a, ag_tensor *b)
{
    int ndim;
    int64_t shape[AG_MAX_DIMS];
    char left[AG_SHAPE_TEXT], right[AG_SHAPE_TEXT];
    if (!a || !b)
        return NULL;
    if (!ag_broadcast_shapes(a, b, &ndim, shape)) {
        ag_tape_fail(t, AG_ESHAPE, "%s: %s and %s do not broadcast", op->name, ag_shape_text(a, left),
                     ag_shape_text(b, right));
        return NULL;
    }
    ag_tensor *in[] = { ag_expand(t, a, ndim, shape), ag_expand(t, b, ndim, shape) };
    return ag_apply(t, op, 2, in, NULL);
}

/* x broadcast against other's shape and tasks */
static ag_tensor *shaped(ag_tape *t, ag_tensor *x, ag_tensor *other)
{
    int ndim;
    int64_t shape[AG_MAX_DIMS];
    if (!x || !other || !ag_broadcast_shapes(x, other, &ndim, shape))
        return NULL;
    x = ag_expand(t, x, ndim, shape);
    return other->tasks ? ag_task_expand(t, x) : x;
}

/* add */
AG_KERNEL static void add_span(ag_span s)
{
    const ag_real *restrict a = s.x[0], *restrict b = s.x[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = a[i] + b[i];
}

static ag_tensor *add_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g */
{
    (void)t, (void)y, (void)k;
    return g;
}

const ag_op ag_op_add = {
    .name = "add", .arity = 2, .shape = ag_like_first, .span = add_span, .vjp = add_rule, .jvp = add_rule,
    .check = {{ .n = 2, .in = {{ 2, { 3, 5 } }, { 2, { 3, 5 } }} }, { .n = 2, .in = {{ 2, { 0, 5 } }, { 2, { 0, 5 } }} }},
};

ag_tensor *ag_add(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    if (a && a->is_scalar && a->value == 0 && shaped(t, b, a))
        return shaped(t, b, a);
    if (b && b->is_scalar && b->value == 0 && shaped(t, a, b))
        return shaped(t, a, b);
    return ag_binary(t, &ag_op_add, a, b);
}

/* sub */
AG_KERNEL static void sub_span(ag_span s)
{
    const ag_real *restrict a = s.x[0], *restrict b = s.x[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = a[i] - b[i];
}

static ag_tensor *sub_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g, -g */
{
    (void)y;
    return ag_scale(t, g, k == 0 ? 1 : -1);
}

const ag_op ag_op_sub = {
    .name = "sub", .arity = 2, .shape = ag_like_first, .span = sub_span, .vjp = sub_rule, .jvp = sub_rule,
    .check = {{ .n = 2, .in = {{ 2, { 3, 5 } }, { 2, { 3, 5 } }} }},
};

ag_tensor *ag_sub(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_binary(t, &ag_op_sub, a, b);
}

/* mul */
AG_KERNEL static void mul_span(ag_span s)
{
    const ag_real *restrict a = s.x[0], *restrict b = s.x[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = a[i] * b[i];
}

static ag_tensor *mul_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* b g, a g */
{
    return ag_mul(t, g, y->in[1 - k]);
}

const ag_op ag_op_mul = {
    .name = "mul", .arity = 2, .shape = ag_like_first, .span = mul_span, .vjp = mul_rule, .jvp = mul_rule,
    .check = {{ .n = 2, .in = {{ 2, { 3, 5 } }, { 2, { 3, 5 } }} }, { .n = 2, .in = {{ 1, { 13 } }, { 1, { 13 } }} }},
};

ag_tensor *ag_mul(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    if (a && b && a->is_scalar && !b->is_scalar)
        return ag_mul(t, b, a);
    if (a && b && b->is_scalar && shaped(t, a, b))
        return ag_affine(t, shaped(t, a, b), b->value, 0);
    return ag_binary(t, &ag_op_mul, a, b);
}

/* div */
AG_KERNEL static void div_span(ag_span s)
{
    const ag_real *restrict a = s.x[0], *restrict b = s.x[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = a[i] / b[i];
}

static ag_tensor *div_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* g / b, -y g / b */
{
    ag_tensor *b = y->in[1];
    return k == 0 ? ag_div(t, g, b) : ag_neg(t, ag_mul(t, y, ag_div(t, g, b)));
}

const ag_op ag_op_div = {
    .name = "div", .arity = 2, .shape = ag_like_first, .span = div_span, .vjp = div_rule, .jvp = div_rule,
    .check = {{ .n = 2, .in = {{ 2, { 3, 5 } }, { 2, { 3, 5 }, 0.5, 2 }} }},
};

ag_tensor *ag_div(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_binary(t, &ag_op_div, a, b);
}

/* pow */
AG_KERNEL static void pow_span(ag_span s)
{
    const ag_real *restrict a = s.x[0], *restrict b = s.x[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = R_POW(a[i], b[i]);
}

static ag_tensor *pow_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* b a^(b - 1) g, y ln(a) g */
{
    ag_tensor *a = y->in[0], *b = y->in[1];
    if (k == 0)
        return ag_mul(t, g, ag_mul(t, b, ag_pow(t, a, ag_affine(t, b, 1, -1))));
    return ag_mul(t, g, ag_mul(t, y, ag_log(t, a)));
}

const ag_op ag_op_pow = {
    .name = "pow", .arity = 2, .shape = ag_like_first, .span = pow_span, .cost = 20, .vjp = pow_rule, .jvp = pow_rule,
    .check = {{ .n = 2, .in = {{ 2, { 3, 5 }, 0.3, 2 }, { 2, { 3, 5 } }} }},
};

ag_tensor *ag_pow(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_binary(t, &ag_op_pow, a, b);
}

/* max and min: the larger (smaller) input receives g, at a tie each half of it */
AG_KERNEL static void max_span(ag_span s)
{
    const ag_real *restrict a = s.x[0], *restrict b = s.x[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = a[i] > b[i] || a[i] != a[i] ? a[i] : b[i];   /* NaN wins */
}

AG_KERNEL static void min_span(ag_span s)
{
    const ag_real *restrict a = s.x[0], *restrict b = s.x[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = a[i] < b[i] || a[i] != a[i] ? a[i] : b[i];
}

static ag_tensor *share(ag_tape *t, ag_tensor *less, ag_tensor *more, ag_tensor *g)   /* g where less < more, half at a tie */
{
    return ag_mul(t, ag_scale(t, g, 0.5), ag_add(t, ag_less(t, less, more), ag_less_equal(t, less, more)));
}

static ag_tensor *max_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    return share(t, y->in[1 - k], y->in[k], g);
}

static ag_tensor *min_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    return share(t, y->in[k], y->in[1 - k], g);
}

const ag_op ag_op_max = {
    .name = "max", .arity = 2, .shape = ag_like_first, .span = max_span, .vjp = max_rule, .jvp = max_rule,
    .check = {{ .n = 2, .in = {{ 2, { 3, 5 }, -2, -0.1 }, { 2, { 3, 5 }, 0.1, 2 }} },
              { .n = 2, .in = {{ 2, { 3, 5 }, 0.1, 2 }, { 2, { 3, 5 }, -2, -0.1 }} }},
};

const ag_op ag_op_min = {
    .name = "min", .arity = 2, .shape = ag_like_first, .span = min_span, .vjp = min_rule, .jvp = min_rule,
    .check = {{ .n = 2, .in = {{ 2, { 3, 5 }, -2, -0.1 }, { 2, { 3, 5 }, 0.1, 2 }} },
              { .n = 2, .in = {{ 2, { 3, 5 }, 0.1, 2 }, { 2, { 3, 5 }, -2, -0.1 }} }},
};

ag_tensor *ag_max(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_binary(t, &ag_op_max, a, b);
}

ag_tensor *ag_min(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_binary(t, &ag_op_min, a, b);
}

/* relu_gate: linear in g, and flat in x */
AG_KERNEL static void relu_gate_span(ag_span s)
{
    const ag_real *restrict x = s.x[0], *restrict g = s.x[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = x[i] > 0 ? g[i] : 0;
}

static ag_tensor *relu_gate_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* 0, g where x > 0 */
{
    return k == 0 ? NULL : ag_relu_gate(t, y->in[0], g);
}

const ag_op ag_op_relu_gate = {
    .name = "relu_gate", .arity = 2, .shape = ag_like_first, .span = relu_gate_span,
    .vjp = relu_gate_rule, .jvp = relu_gate_rule,
    .check = {{ .n = 2, .in = {{ 2, { 3, 5 }, 0.1, 2 }, { 2, { 3, 5 } }} },
              { .n = 2, .in = {{ 2, { 3, 5 }, -2, -0.1 }, { 2, { 3, 5 } }} }},
};

ag_tensor *ag_relu_gate(ag_tape *t, ag_tensor *x, ag_tensor *g)
{
    return ag_binary(t, &ag_op_relu_gate, x, g);
}

/* comparisons */
AG_KERNEL static void equal_span(ag_span s)
{
    const ag_real *restrict a = s.x[0], *restrict b = s.x[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = a[i] == b[i];
}

AG_KERNEL static void less_span(ag_span s)
{
    const ag_real *restrict a = s.x[0], *restrict b = s.x[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = a[i] < b[i];
}

AG_KERNEL static void less_equal_span(ag_span s)
{
    const ag_real *restrict a = s.x[0], *restrict b = s.x[1];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = a[i] <= b[i];
}

const ag_op ag_op_equal = {
    .name = "equal", .arity = 2, .shape = ag_like_first, .span = equal_span, .not_differentiable = true,
    .check = {{ .n = 2, .in = {{ 2, { 3, 5 } }, { 2, { 3, 5 } }} }},
};

const ag_op ag_op_less = {
    .name = "less", .arity = 2, .shape = ag_like_first, .span = less_span, .not_differentiable = true,
    .check = {{ .n = 2, .in = {{ 2, { 3, 5 } }, { 2, { 3, 5 } }} }},
};

const ag_op ag_op_less_equal = {
    .name = "less_equal", .arity = 2, .shape = ag_like_first, .span = less_equal_span, .not_differentiable = true,
    .check = {{ .n = 2, .in = {{ 2, { 3, 5 } }, { 2, { 3, 5 } }} }},
};

ag_tensor *ag_equal(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_binary(t, &ag_op_equal, a, b);
}

ag_tensor *ag_less(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_binary(t, &ag_op_less, a, b);
}

ag_tensor *ag_less_equal(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_binary(t, &ag_op_less_equal, a, b);
}

/* where: flat in the condition */
AG_KERNEL static void where_span(ag_span s)
{
    const ag_real *restrict c = s.x[0], *restrict a = s.x[1], *restrict b = s.x[2];
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = c[i] != 0 ? a[i] : b[i];
}

static ag_tensor *where_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* 0, g where c, g where not c */
{
    ag_tensor *c = y->in[0], *zero = ag_scalar(t, 0);
    if (k == 0)
        return NULL;
    return k == 1 ? ag_where(t, c, g, zero) : ag_where(t, c, zero, g);
}

const ag_op ag_op_where = {
    .name = "where", .arity = 3, .shape = ag_like_first, .span = where_span, .vjp = where_rule, .jvp = where_rule,
    .check = {{ .n = 3, .in = {{ 2, { 3, 5 }, 0.1, 2 }, { 2, { 3, 5 } }, { 2, { 3, 5 } }} }},
};

ag_tensor *ag_where(ag_tape *t, ag_tensor *c, ag_tensor *a, ag_tensor *b)
{
    int ndim;
    int64_t shape[AG_MAX_DIMS];
    char text[3][AG_SHAPE_TEXT];
    if (!c || !a || !b)
        return NULL;
    ag_tensor *ab = ag_broadcast_shapes(a, b, &ndim, shape) ? ag_expand(t, a, ndim, shape) : NULL;
    if (!ab || !ag_broadcast_shapes(c, ab, &ndim, shape)) {
        ag_tape_fail(t, AG_ESHAPE, "where: %s, %s and %s do not broadcast", ag_shape_text(c, text[0]),
                     ag_shape_text(a, text[1]), ag_shape_text(b, text[2]));
        return NULL;
    }
    ag_tensor *in[] = { ag_expand(t, c, ndim, shape), ag_expand(t, a, ndim, shape), ag_expand(t, b, ndim, shape) };
    return ag_apply(t, &ag_op_where, 3, in, NULL);
}
