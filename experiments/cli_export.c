/* metalora export: the start that a run meta-learned, as a folder for PEFT and for metalora adapt. */
#include "experiments/adapt_files.h"
#include "experiments/cli_commands.h"
#include "experiments/run_internal.h"
#include "experiments/run_summary.h"

#include <string.h>

typedef struct exporting {
    const xp_cli_call *c;
    const char *path;
    xp_run run;
    xp_config config;
    bool has_config;
    xp_base base;
    xp_run_start start;
    ag_real *values;             /* [meta_adapter_values] */
    xp_run_array *arrays;        /* [meta_adapter_params] */
} exporting;

static ag_code read_config(exporting *e, ag_error *err)
{
    AG_TRY(err, xp_run_read(&e->run, e->path, err));
    AG_REQUIRE(strcmp(e->run.status, "complete") == 0, err, AG_ECONFIG, "'%s' is %s; expected a run that is complete", e->path, e->run.status);
    AG_TRY(err, xp_config_parse(&e->config, e->run.config, strlen(e->run.config), e->path, 0, NULL, err));
    e->has_config = true;
    const xp_config *c = &e->config;
    AG_REQUIRE(xp_is(c->model.kind, "network") && !xp_is(c->adapter.kind, "none"), err, AG_ECONFIG, "'%s' has no adapter of a network: its model "
               "is '%s' and its adapter '%s'; expected a run with model.kind network", e->path, c->model.kind, c->adapter.kind);
    bool doubled = xp_is(c->adapter.init, "pissa") || xp_is(c->adapter.init, "olora");
    AG_REQUIRE(!doubled || !c->inner.learn_lr || !xp_is(c->inner.lr_scope, "element"), err, AG_ECONFIG, "'%s' learned a step size for each "
               "number of an adapter that began with adapter.init %s; a folder for PEFT has it with twice the rank, where they fit no more",
               e->path, c->adapter.init);
    AG_REQUIRE(!*c->model.train, err, AG_ECONFIG, "'%s' trained weights of the network itself (model.train: %s), which an adapter's folder "
               "cannot hold; expected a run that trained an adapter only", e->path, c->model.train);
    return AG_OK;
}

static ag_code open_base(exporting *e, ag_error *err)
{
    const xp_cli_args *a = e->c->args;
    xp_config c = e->config;
    xp_run_options o = { .cache_dir = a->cache_dir };
    xp_context x = { .c = &c, .o = &o };
    c.model.path = a->model ? a->model : c.model.path;
    return xp_base_open(&e->base, &x, err);
}

static ag_code read_values(exporting *e, ag_error *err)
{
    const meta_adapter *adapter = e->base.adapter;
    int n = meta_adapter_params(adapter);
    e->values = ag_alloc((size_t)meta_adapter_values(adapter) * sizeof *e->values);
    e->arrays = ag_alloc_zero((size_t)n * sizeof *e->arrays);
    AG_REQUIRE(e->values && e->arrays, err, AG_ENOMEM, "'%s': out of memory for its adapter", e->path);
    for (int i = 0; i < n; i++) {
        const nn_param *p = meta_adapter_param(adapter, i);
        e->arrays[i] = (xp_run_array){ .name = p->name, .ndim = p->ndim, .data = e->values + p->offset };
        memcpy(e->arrays[i].shape, p->shape, sizeof p->shape);
    }
    AG_TRY(err, xp_run_read_start(&e->start, e->path, n, e->arrays, err));
    AG_REQUIRE(strcmp(e->start.base_digest, e->base.net->digest) == 0, err, AG_EDATA, "'%s' was trained on another model than %s: digest %s, and "
               "this one has %s; name the right one with --model", e->path, e->base.net->path, e->start.base_digest, e->base.net->digest);
    return AG_OK;
}

/* How adapt goes on from there: with the steps it was tested with, at the rates it was trained for. */
static xp_card card_of(const exporting *e)
{
    const xp_config *c = &e->config;
    bool many = e->start.n_rate > 1, own = c->eval.lr > 0;
    meta_head head = xp_is(c->model.head, "prototype") ? META_HEAD_PROTOTYPE : xp_is(c->model.head, "centroid") ? META_HEAD_CENTROID : META_HEAD_MODEL;
    return (xp_card){
        .version = (char *)METALORA_VERSION, .base_path = e->base.net->path, .base_digest = e->base.net->digest,
        .has_head = head != META_HEAD_MODEL, .head = head,
        .similarity = xp_is(c->model.similarity, "euclidean") ? META_SIMILARITY_EUCLIDEAN : META_SIMILARITY_COSINE,
        .head_scale = c->model.head_scale,
        .pooling = xp_is(c->model.features, "first") ? NN_POOL_FIRST : xp_is(c->model.features, "last") ? NN_POOL_LAST : NN_POOL_MEAN,
        .max_tokens = c->model.max_tokens, .has_steps = true, .steps = c->eval.steps,
        .lr = own ? c->eval.lr : (double)e->start.rates[0], .rule = xp_is(c->inner.rule, "adam") ? META_RULE_ADAM : META_RULE_SGD,
        .per_shot = xp_is(c->inner.loss_scale, "per-shot"), .head_only = xp_is(c->outer.algorithm, "anil"),
        .rate_scope = xp_is(c->inner.lr_scope, "element") ? META_RATE_ELEMENT : xp_is(c->inner.lr_scope, "tensor") ? META_RATE_TENSOR : META_RATE_ALL,
        .n_rate = many && !own ? e->start.n_rate : 0, .rates = e->start.rates,
    };
}

static ag_code run(exporting *e, ag_error *err)
{
    const xp_cli_args *a = e->c->args;
    AG_REQUIRE(a->to, err, AG_ECONFIG, "export: --to is missing; expected --to DIR, the folder to write");
    AG_TRY(err, xp_adapter_place(a->to, a->force, err));
    AG_TRY(err, read_config(e, err));
    AG_TRY(err, open_base(e, err));
    AG_TRY(err, read_values(e, err));
    const xp_card card = card_of(e);
    xp_adapter_files f = { .adapter = e->base.adapter, .values = e->values, .card = &card };
    AG_TRY(err, xp_adapter_write(a->to, a->force, &f, err));
    if (!a->quiet)
        xp_cli_say(e->c->messages, "wrote %s", a->to);
    return AG_OK;
}

ag_code xp_cli_export(const xp_cli_call *c, ag_error *err)
{
    exporting e = { .c = c, .path = c->args->operands.at[0] };
    ag_code code = run(&e, err);
    ag_free(e.values);
    ag_free(e.arrays);
    xp_run_start_release(&e.start);
    xp_base_close(&e.base);
    if (e.has_config)
        xp_config_release(&e.config);
    xp_run_release(&e.run);
    return ag_trail(err, xp_cli_input(code), __func__);
}
