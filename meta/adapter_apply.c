/* The formulas of adapted modules (docs/adapters.md), one function a kind:
 *     lora, adalora, vera   y = base(x) + scale B (middle * (A dropout(x)))
 *     dora                  y = m / |V| (V x) + bias with V = W + scale B A, row by row, |V| held constant
 * Factors are applied to x one after the other, so that W itself is touched by the base's tall product only. */
#include "meta/adapter_internal.h"

typedef struct site {
    const meta_adapter *a;
    const meta_adapted *m;
    const nn_module *module;
    nn_pass *pass;
    meta_adapter_pass *with;
    ag_tape *t;
    ag_tensor *const *param;               /* the module's first */
} site;

static ag_tensor *turned(ag_tape *t, ag_tensor *x)
{
    return ag_transpose(t, x, NULL);
}

/* Not on indices: an embedding's input cannot be scaled. */
static ag_tensor *dropped(const site *s, ag_tensor *x)
{
    double p = s->a->options.dropout;
    if (!s->with->seed || p <= 0 || s->m->kind == NN_EMBEDDING)
        return x;
    return ag_mul(s->t, x, ag_dropout_mask(s->t, s->with->seed, ag_ndim(x), ag_shape(x), p, s->m->module));
}

/* A x: rows [.., r]. */
static ag_tensor *into(const site *s, ag_tensor *a, ag_tensor *x)
{
    switch (s->m->kind) {
    case NN_EMBEDDING: return ag_gather(s->t, a, x);
    case NN_CONV: return ag_conv2d(s->t, x, a, &s->module->conv);
    default: return ag_matmul(s->t, x, turned(s->t, a));
    }
}

/* h [.., r] B' [r, out]: places of a convolution are rows, as in its 1 x 1 convolution. */
static ag_tensor *out_of(const site *s, ag_tensor *b, ag_tensor *h)
{
    if (!h || s->m->kind != NN_CONV)
        return ag_matmul(s->t, h, turned(s->t, b));
    const int64_t *shape = ag_shape(h);
    int64_t places[] = { shape[0], shape[1], shape[2], s->m->out };
    ag_tensor *rows = ag_reshape(s->t, h, 2, (int64_t[]){ shape[0] * shape[1] * shape[2], s->m->rank });
    return ag_reshape(s->t, ag_matmul(s->t, rows, turned(s->t, b)), 4, places);
}

static ag_tensor *apply_lora(const site *s, ag_tensor *x)
{
    ag_tensor *h = ag_scale(s->t, into(s, s->param[0], dropped(s, x)), s->m->scale);
    return ag_add(s->t, nn_module_base(s->pass, s->m->module, x), out_of(s, s->param[1], h));
}

static ag_tensor *apply_adalora(const site *s, ag_tensor *x)
{
    ag_tensor *e = ag_reshape(s->t, s->param[2], 1, &s->m->rank);
    ag_tensor *h = ag_scale(s->t, ag_mul(s->t, into(s, s->param[0], dropped(s, x)), e), s->m->scale);
    return ag_add(s->t, nn_module_base(s->pass, s->m->module, x), out_of(s, s->param[1], h));
}

/* The shared factors are one constant of the recording. */
static void shared_factors(const site *s)
{
    const meta_adapter *a = s->a;
    if (s->with->vera_a)
        return;
    s->with->vera_a = ag_value(s->t, &(ag_spec){ .ndim = 2, .shape = { a->options.rank, a->wide_in } }, a->wide_a);
    s->with->vera_b = ag_value(s->t, &(ag_spec){ .ndim = 2, .shape = { a->wide_out, a->options.rank } }, a->wide_b);
}

static ag_tensor *apply_vera(const site *s, ag_tensor *x)
{
    shared_factors(s);
    ag_tensor *a = ag_slice(s->t, s->with->vera_a, 1, 0, s->m->in), *b = ag_slice(s->t, s->with->vera_b, 0, 0, s->m->out);
    ag_tensor *h = ag_mul(s->t, into(s, a, dropped(s, x)), s->param[1]);
    return ag_add(s->t, nn_module_base(s->pass, s->m->module, x), ag_mul(s->t, out_of(s, b, h), s->param[0]));
}

/* W as [out, in] and A as [r, in], whatever they are stored like. */
static ag_tensor *as_matrix(const site *s, ag_tensor *w)
{
    if (s->m->kind == NN_LINEAR)
        return w;
    if (s->m->kind == NN_CONV)
        w = ag_reshape(s->t, w, 2, (int64_t[]){ s->m->in, s->m->out });
    return turned(s->t, w);
}

static ag_tensor *a_as_matrix(const site *s, ag_tensor *a)
{
    if (s->m->kind == NN_CONV)
        a = ag_reshape(s->t, a, 2, (int64_t[]){ s->m->in, s->m->rank });
    return s->m->kind == NN_CONV || s->m->kind == NN_EMBEDDING ? turned(s->t, a) : a;
}

/* Sums over the columns of x * y: [out, 1] -> [out]. */
static ag_tensor *row_products(ag_tape *t, ag_tensor *x, ag_tensor *y)
{
    return ag_sum(t, ag_mul(t, x, y), AG_AXIS(1));
}

/* 1 / |V| [out] without V: |V_i|^2 = |W_i|^2 + 2 s sum_r (W A')_ir B_ir + s^2 sum_r (B (A A'))_ir B_ir. */
static ag_tensor *inverse_length(const site *s)
{
    ag_tape *t = s->t;
    ag_tensor *w = as_matrix(s, s->pass->weight[s->module->weight]);
    ag_tensor *a = ag_detach(t, a_as_matrix(s, s->param[0])), *b = ag_detach(t, s->param[1]), *across = turned(t, a);
    ag_tensor *mixed = ag_scale(t, row_products(t, ag_matmul(t, w, across), b), 2 * s->m->scale);
    ag_tensor *own = ag_scale(t, row_products(t, ag_matmul(t, b, ag_matmul(t, a, across)), b), s->m->scale * s->m->scale);
    return ag_rsqrt(t, ag_add(t, ag_sum(t, ag_square(t, w), AG_AXIS(1)), ag_add(t, mixed, own)));
}

/* The base without its bias. */
static ag_tensor *bare_base(const site *s, ag_tensor *x)
{
    ag_tensor *w = s->pass->weight[s->module->weight];
    switch (s->m->kind) {
    case NN_LINEAR: return ag_matmul(s->t, x, turned(s->t, w));
    case NN_LINEAR_IN_OUT: return ag_matmul(s->t, x, w);
    case NN_EMBEDDING: return ag_gather(s->t, w, x);
    case NN_CONV: return ag_conv2d(s->t, x, w, &s->module->conv);
    }
    return NULL;
}

/* With dropout, as PEFT: base(x) + (m / |V| - 1) W dropout(x) + m / |V| s B A dropout(x). */
static ag_tensor *apply_dora(const site *s, ag_tensor *x)
{
    ag_tape *t = s->t;
    ag_tensor *seen = dropped(s, x), *wx = bare_base(s, seen);
    ag_tensor *low = out_of(s, s->param[1], ag_scale(t, into(s, s->param[0], seen), s->m->scale));
    ag_tensor *y = ag_mul(t, ag_add(t, wx, low), ag_mul(t, s->param[2], inverse_length(s)));
    if (seen != x)
        y = ag_add(t, y, ag_sub(t, bare_base(s, x), wx));
    return s->module->bias >= 0 ? ag_add(t, y, s->pass->weight[s->module->bias]) : y;
}

ag_tensor *meta_adapter_apply(nn_pass *pass, int module, ag_tensor *x)
{
    static ag_tensor *(*const apply[META_N_KIND])(const site *s, ag_tensor *x) = { apply_lora, apply_dora, apply_adalora,
            apply_vera };
    meta_adapter_pass *with = pass->ctx;
    const meta_adapter *a = with->adapter;
    int i = a->of_module[module];
    if (i < 0)
        return NULL;
    const meta_adapted *m = &a->module[i];
    site s = { a, m, &pass->net->module[module], pass, with, pass->t, with->params + m->first };
    return apply[a->kind](&s, x);
}
