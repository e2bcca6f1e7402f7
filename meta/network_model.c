/* A pretrained network with adapters and a head as an nn_model (network_model.h). */
#include "meta/network_model.h"

#include "meta/adapter_internal.h"

#include <string.h>

typedef struct network_model {
    meta_network_model_options o;
    int n_adapter, head;             /* parameters of the adapter; index of the head's weight, -1: none */
    int source[];                    /* [net->n_weight]: the parameter a weight is, or -1 - its place among the frozen ones */
} network_model;

/* ---- forward ---- */

/* Features [n, d]; of a language model logits [C, vocab]. */
static ag_tensor *features_of(const network_model *n, nn_pass *pass, const nn_input *in)
{
    if (!n->o.max_tokens)
        return nn_network_features(pass, in->x);
    nn_text text = nn_text_split(pass->t, in->x, &in->text);
    if (n->o.language)
        return nn_network_logits(pass, nn_network_hidden(pass, &text));
    return nn_text_pool(pass->t, &text, nn_network_hidden(pass, &text), n->o.pooling);
}

static ag_tensor *network_forward(const nn_model *m, ag_tape *t, ag_tensor *const *params, const nn_input *in)
{
    const network_model *n = m->own;
    int count = n->o.net->n_weight;
    ag_tensor **weight = ag_alloc((size_t)count * sizeof *weight);
    if (!weight)
        return NULL;
    for (int i = 0; i < count; i++)
        weight[i] = n->source[i] >= 0 ? params[n->source[i]] : in->frozen[-1 - n->source[i]];
    meta_adapter_pass with = { .adapter = n->o.adapter, .params = params, .seed = in->seed };
    nn_pass pass = { .t = t, .net = n->o.net, .weight = weight, .adapt = n->o.adapter ? meta_adapter_apply : NULL, .ctx = &with };
    ag_tensor *y = features_of(n, &pass, in);
    ag_free(weight);
    if (n->head < 0)
        return y;
    y = ag_matmul(t, y, ag_transpose(t, params[n->head], NULL));         /* w [n_class, d] */
    return ag_add(t, y, params[n->head + 1]);
}

static void network_draw(const nn_model *m, uint64_t seed, ag_real *values)
{
    const network_model *n = m->own;
    if (n->o.adapter && n->o.values)
        memcpy(values, n->o.values, (size_t)meta_adapter_values(n->o.adapter) * sizeof *values);
    else if (n->o.adapter)
        meta_adapter_draw(n->o.adapter, seed, values);
    for (int i = 0; i < n->o.net->n_weight; i++) {
        const nn_weight *w = &n->o.net->weight[i];
        if (n->source[i] >= 0)
            memcpy(values + m->param[n->source[i]].offset, w->data, (size_t)w->numel * sizeof *values);
    }
}

/* ---- making ---- */

static nn_param *add(nn_model *m, const char *name, int ndim, const int64_t *shape, ag_error *err)
{
    nn_param *p = nn_add_param(m, name, ndim, shape);
    if (!p)
        ag_fail(err, AG_ENOMEM, "network model: no memory for the parameter %s", name);
    return p;
}

static ag_code add_adapter(nn_model *m, network_model *n, ag_error *err)
{
    n->n_adapter = n->o.adapter ? meta_adapter_params(n->o.adapter) : 0;
    for (int i = 0; i < n->n_adapter; i++) {
        const nn_param *from = meta_adapter_param(n->o.adapter, i);
        nn_param *p = add(m, from->name, from->ndim, from->shape, err);
        if (!p)
            return AG_ENOMEM;
        p->adapter = true;
        p->rate = meta_adapter_rate(n->o.adapter, i);
    }
    return AG_OK;
}

static void add_frozen(nn_model *m, const network_model *n, int i)
{
    const nn_weight *w = &n->o.net->weight[i];
    nn_frozen *f = &m->frozen[m->n_frozen++];
    const ag_real *residual = n->o.adapter ? meta_adapter_weight(n->o.adapter, i) : NULL;
    *f = (nn_frozen){ .ndim = w->ndim, .data = residual ? residual : w->data };
    memcpy(f->shape, w->shape, sizeof f->shape);
}

static ag_code add_weights(nn_model *m, network_model *n, const meta_regex *train, ag_error *err)
{
    int trained = 0;
    for (int i = 0; i < n->o.net->n_weight; i++) {
        const nn_weight *w = &n->o.net->weight[i];
        bool matches = false;
        if (train)
            AG_TRY(err, meta_regex_match(train, w->name, &matches, err));
        n->source[i] = matches ? m->n_param : -1 - m->n_frozen;
        trained += matches;
        if (!matches) {
            add_frozen(m, n, i);
            continue;
        }
        nn_param *p = add(m, w->name, w->ndim, w->shape, err);
        if (!p)
            return AG_ENOMEM;
        p->head = n->o.language && strcmp(w->name, "lm_head.weight") == 0;
    }
    AG_REQUIRE(!train || trained, err, AG_ECONFIG, "model.train: '%s' matches none of the %d weights of %s; the first is '%s'", n->o.train,
               n->o.net->n_weight, n->o.net->path, n->o.net->weight[0].name);
    return AG_OK;
}

static ag_code add_head(nn_model *m, network_model *n, ag_error *err)
{
    int64_t width = n->o.net->config.hidden_size, classes = n->o.n_class;
    m->options.n_out = n->o.language ? n->o.net->config.vocab_size : classes > 0 ? classes : width;
    n->head = classes > 0 ? m->n_param : -1;
    if (classes <= 0)
        return AG_OK;
    nn_param *w = add(m, "classifier.weight", 2, (int64_t[]){ classes, width }, err);
    if (!w)
        return AG_ENOMEM;
    w->head = true;
    nn_param *b = add(m, "classifier.bias", 1, &classes, err);
    if (!b)
        return AG_ENOMEM;
    b->head = true;
    return AG_OK;
}

static ag_code check(const meta_network_model_options *o, ag_error *err)
{
    int64_t positions = o->net->config.max_position;
    AG_REQUIRE(o->max_tokens <= positions || positions == 0, err, AG_ECONFIG,
               "texts of up to %lld tokens, and %s has %lld positions; expected at most that", (long long)o->max_tokens, o->net->path,
               (long long)positions);
    AG_REQUIRE((o->net->config.vocab_size > 0) == (o->max_tokens > 0), err, AG_ECONFIG,
               "%s reads %s; expected tasks of such", o->net->path, o->net->config.vocab_size > 0 ? "texts" : "arrays");
    AG_REQUIRE(!o->language || nn_network_module(o->net, "lm_head") >= 0, err, AG_ECONFIG,
               "%s (%s) does not predict tokens; expected a language model, such as a llama or gpt2", o->net->path,
               o->net->config.architecture);
    AG_REQUIRE(!o->language || o->n_class == 0, err, AG_EINVAL, "network model: %lld classes of a language model; expected 0",
               (long long)o->n_class);
    return AG_OK;
}

static ag_code build(nn_model *m, const meta_network_model_options *o, ag_error *err)
{
    meta_regex *train = NULL;
    AG_TRY(err, check(o, err));
    network_model *n = m->own = ag_alloc_zero(sizeof *n + (size_t)o->net->n_weight * sizeof *n->source);
    m->frozen = ag_alloc_zero((size_t)o->net->n_weight * sizeof *m->frozen);
    AG_REQUIRE(n && m->frozen, err, AG_ENOMEM, "network model: no memory for %d weights", o->net->n_weight);
    n->o = *o;
    AG_TRY(err, add_adapter(m, n, err));
    if (o->train && *o->train)
        AG_TRY(err, meta_regex_new(&train, o->train, err));
    ag_code code = add_weights(m, n, train, err);
    meta_regex_free(train);
    AG_TRY(err, code);
    return add_head(m, n, err);
}

ag_code meta_network_model(nn_model *m, const meta_network_model_options *o, ag_error *err)
{
    *m = (nn_model){ .options = { .kind = "network", .x_ndim = 3 }, .max_tokens = o->max_tokens, .language = o->language,
                     .forward = network_forward, .draw = network_draw };
    memcpy(m->options.x_shape, o->x_shape, sizeof o->x_shape);
    ag_code code = build(m, o, err);
    if (code != AG_OK)
        nn_model_release(m);
    return ag_trail(err, code, __func__);
}
