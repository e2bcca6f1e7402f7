/* The model a configuration names: a small one that starts at random, or a pretrained network with adapters (run_internal.h). */
#include "experiments/model_store.h"
#include "experiments/run_internal.h"

#include <string.h>

/* ---- the network and its adapter ---- */

typedef struct patterns {
    meta_pattern at[XP_MAX_PATTERNS];
    char text[XP_MAX_PATTERNS][512];
} patterns;

static void split_patterns(int n, const char *const *entries, patterns *p)
{
    for (int i = 0; i < n; i++) {
        size_t length = 0;
        xp_pattern_split(entries[i], &length, &p->at[i].value);
        snprintf(p->text[i], sizeof p->text[i], "%.*s", (int)length, entries[i]);
        p->at[i].pattern = p->text[i];
    }
}

static ag_code make_adapter(xp_base *b, const xp_adapter *c, ag_error *err)
{
    patterns ranks, alphas;
    if (xp_is(c->kind, "none"))
        return AG_OK;
    if (*c->path)
        return meta_peft_load(&b->adapter, &b->values, c->path, b->net, err);
    split_patterns(c->n_rank_pattern, c->rank_pattern, &ranks);
    split_patterns(c->n_alpha_pattern, c->alpha_pattern, &alphas);
    meta_adapter_options o = {
        .kind = c->kind, .init = c->init, .rank = c->rank, .alpha = c->alpha > 0 ? c->alpha : 2 * (double)c->rank, .rslora = c->rslora,
        .dropout = c->dropout, .n_target = c->n_targets, .targets = c->targets, .n_exclude = c->n_exclude, .exclude = c->exclude,
        .n_layer = c->n_layers, .layers = c->layers, .n_rank_pattern = c->n_rank_pattern, .rank_pattern = ranks.at,
        .n_alpha_pattern = c->n_alpha_pattern, .alpha_pattern = alphas.at, .lr_ratio = c->lr_ratio,
    };
    return meta_adapter_new(&b->adapter, b->net, &o, err);
}

static ag_code open_parts(xp_base *b, const xp_context *x, ag_error *err)
{
    char *path;
    AG_TRY(err, xp_model_path(x->c->model.path, x->o->cache_dir, &path, err));
    ag_code code = nn_network_open(&b->net, path, NULL, err);
    if (code == AG_OK && b->net->config.vocab_size > 0)
        code = xp_model_tokenizer(&b->tokenizer, path, err);
    ag_free(path);
    AG_TRY(err, code);
    return make_adapter(b, &x->c->adapter, err);
}

ag_code xp_base_open(xp_base *b, const xp_context *x, ag_error *err)
{
    *b = (xp_base){ 0 };
    return xp_is(x->c->model.kind, "network") ? open_parts(b, x, err) : AG_OK;
}

void xp_base_close(xp_base *b)
{
    meta_adapter_free(b->adapter);
    ag_free(b->values);
    nn_tokenizer_close(b->tokenizer);
    nn_network_close(b->net);
    *b = (xp_base){ 0 };
}

/* ---- models ---- */

static nn_pooling pooling_of(const char *features)
{
    return xp_is(features, "first") ? NN_POOL_FIRST : xp_is(features, "last") ? NN_POOL_LAST : NN_POOL_MEAN;
}

static ag_code make_network_model(const xp_context *x, const xp_base *b, const xp_example_shape *shape, int64_t n_class, nn_model *m,
                                  ag_error *err)
{
    const xp_model *c = &x->c->model;
    meta_network_model_options o = { .net = b->net, .adapter = b->adapter, .values = b->values, .train = *c->train ? c->train : NULL,
                                     .language = shape->text && !shape->labels, .n_class = shape->labels ? n_class : 0, .max_tokens = shape->text ? c->max_tokens : 0, .pooling = pooling_of(c->features) };
    memcpy(o.x_shape, shape->x_shape, sizeof o.x_shape);
    return meta_network_model(m, &o, err);
}

ag_code xp_make_model(const xp_context *x, const xp_base *b, const xp_source *s, const xp_wish *wish, nn_model *m, ag_error *err)
{
    const xp_model *c = &x->c->model;
    xp_example_shape shape = xp_source_example(s);
    if (b && b->net)
        return make_network_model(x, b, &shape, wish->n_class, m, err);
    nn_options o = {
        .kind = c->kind, .x_ndim = shape.x_ndim, .n_out = shape.labels ? wish->n_class : shape.y_width,
        .features = shape.labels && wish->n_class == 0,
        .n_hidden = c->n_hidden, .activation = c->activation, .init = c->init, .init_std = c->init_std,
        .head_init = c->head_init, .filters = c->filters, .max_pool = xp_is(c->pooling, "max"),
        .batch_norm = xp_is(c->norm, "batch"), .norm_scale = c->norm_scale, .norm_epsilon = c->norm_epsilon,
        .adapter_rank = wish->adapter_rank, .adapter_symmetric = wish->symmetric, .adapter_std = x->c->adapter.init_std,
    };
    o.n_out = o.features ? 1 : o.n_out;
    memcpy(o.x_shape, shape.x_shape, sizeof o.x_shape);
    memcpy(o.hidden, c->hidden, sizeof o.hidden);
    return nn_model_init(m, &o, err);
}
