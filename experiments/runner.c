/* Opens an experiment, lets its kind of run do the work, and closes the result file whatever happened. */
#include "experiments/run_internal.h"

#include <string.h>
#include <sys/resource.h>
#include <time.h>

static const struct {
    const char *algorithm;
    ag_code (*run)(xp_context *x, ag_error *err);
} algorithms[] = {
    { "maml", xp_run_maml },
    { "fomaml", xp_run_maml },
    { "joint", xp_run_maml },
    { "lora-ml", xp_run_lora },
    { "standard-retraining", xp_run_lora },
};

double xp_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool xp_is(const char *option, const char *value)
{
    return strcmp(option, value) == 0;
}

ag_code xp_check_stop(const xp_context *x, ag_error *err)
{
    AG_REQUIRE(!x->o->stop || !*x->o->stop, err, AG_ESTOP, "stopped on request");
    return AG_OK;
}

/* ---- what the kinds of runs share ---- */

ag_code xp_fetch(void *ctx, int64_t first, int64_t count, ag_real *support_x, void *support_y, ag_real *query_x, void *query_y,
                 ag_error *err)
{
    const xp_episodes *e = ctx;
    xp_example_shape shape = xp_source_example(e->source);
    size_t x = 1, y = shape.labels ? sizeof(int32_t) : (size_t)shape.y_width * sizeof(ag_real);
    for (int i = 0; i < shape.x_ndim; i++)
        x *= (size_t)shape.x_shape[i];
    size_t support = (size_t)(e->size.way * e->size.shot), query = (size_t)(e->size.way * e->size.query);
    for (int64_t i = 0; i < count; i++) {
        xp_episode_id id = e->id;
        id.task += (uint64_t)(first + i);
        AG_TRY(err, xp_source_episode(e->source, &id, &e->size, support_x + (size_t)i * support * x,
                                      (char *)support_y + (size_t)i * support * y, query_x + (size_t)i * query * x,
                                      (char *)query_y + (size_t)i * query * y, err));
    }
    return AG_OK;
}

ag_code xp_open_source(const xp_context *x, uint64_t seed, xp_source **s, ag_error *err)
{
    return xp_source_open(s, &x->c->tasks, &(xp_source_options){ x->o->data_dir, x->o->cache_dir, seed }, err);
}

ag_code xp_make_model(const xp_context *x, const xp_source *s, int64_t adapter_rank, bool symmetric, nn_model *m, ag_error *err)
{
    const xp_model *c = &x->c->model;
    xp_example_shape shape = xp_source_example(s);
    nn_options o = {
        .kind = c->kind, .x_ndim = shape.x_ndim, .n_out = shape.labels ? x->c->tasks.way : shape.y_width,
        .n_hidden = c->n_hidden, .activation = c->activation, .init = c->init, .init_std = c->init_std,
        .head_init = c->head_init, .filters = c->filters, .max_pool = xp_is(c->pooling, "max"),
        .batch_norm = xp_is(c->norm, "batch"), .norm_scale = c->norm_scale, .norm_epsilon = c->norm_epsilon,
        .adapter_rank = adapter_rank, .adapter_symmetric = symmetric, .adapter_std = x->c->adapter.init_std,
    };
    memcpy(o.x_shape, shape.x_shape, sizeof o.x_shape);
    memcpy(o.hidden, c->hidden, sizeof o.hidden);
    return nn_model_init(m, &o, err);
}

ag_code xp_make_optimizer(const xp_context *x, int64_t n, meta_optimizer *opt, ag_error *err)
{
    const xp_outer *c = &x->c->outer;
    meta_optimizer_options o = {
        .kind = xp_is(c->optimizer, "sgd") ? META_SGD : META_ADAM, .beta1 = c->beta1 > 0 ? c->beta1 : -1, .beta2 = c->beta2,
        .epsilon = c->epsilon, .momentum = c->momentum, .clip_value = c->clip_value, .clip_norm = c->clip_norm,
    };
    return meta_optimizer_init(opt, &o, n, err);
}

double xp_outer_rate(const xp_config *c, int64_t iteration)
{
    meta_schedule s = xp_is(c->outer.schedule, "linear") ? META_LINEAR : xp_is(c->outer.schedule, "cosine") ? META_COSINE : META_CONSTANT;
    return meta_schedule_rate(s, c->outer.lr, c->outer.lr_final, iteration, c->outer.iterations);
}

ag_code xp_store_parameters(const xp_context *x, const nn_model *m, const char *prefix, const ag_real *values, ag_error *err)
{
    for (int p = 0; p < m->n_param; p++) {
        char name[NN_NAME_MAX + 64];
        snprintf(name, sizeof name, "%s%s", prefix, m->param[p].name);
        AG_TRY(err, xp_results_parameter(x->results, name, m->param[p].ndim, m->param[p].shape, values + m->param[p].offset, err));
    }
    return AG_OK;
}

/* ---- opening and closing ---- */

static ag_code store_system(const xp_context *x, ag_error *err)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    AG_TRY(err, xp_results_system(x->results, "seconds", xp_now() - x->started, "s", err));
    return xp_results_system(x->results, "peak_bytes", 1024.0 * (double)usage.ru_maxrss, "byte", err);
}

static ag_code create_results(xp_context *x, ag_error *err)
{
    xp_provenance p = {
        .version = METALORA_VERSION, .instruction_set = ag_instruction_set(), .gemm = ag_gemm_kernels(),
        .libraries = xp_library_versions(), .command_line = x->o->command_line, .threads = x->o->threads > 0 ? x->o->threads : 1,
        .loss_unit = xp_is(x->c->tasks.source, "omniglot") ? "nats" : "mean squared error",
    };
    return xp_results_create(&x->results, x->o->out, x->o->force, x->c, &p, err);
}

static void start_progress(xp_context *x)
{
    xp_progress_init(&x->progress, &(xp_progress_options){ .stream = x->o->progress, .label = x->c->name,
        .total = x->c->outer.iterations * x->c->repeats, .tasks = x->c->outer.meta_batch });
}

/* Keeps what was done of a run that did not end well. The run's own error stays; a failure to save is added to it. */
static void save_unfinished(xp_context *x, const char *status, ag_error *err)
{
    ag_error saving = { 0 };
    size_t used = strlen(err->message);
    store_system(x, NULL);
    if (xp_results_close(x->results, status, &saving) != AG_OK)
        snprintf(err->message + used, sizeof err->message - used, "; and what was done could not be saved: %.1000s", saving.message);
}

ag_code xp_experiment_run(const xp_config *c, const xp_run_options *o, ag_error *err)
{
    xp_context x = { .c = c, .o = o, .started = xp_now(), .train = { c->tasks.way, c->tasks.shot, c->tasks.query } };
    ag_error local = { 0 }, *e = err ? err : &local;
    ag_code code = AG_ECONFIG;
    AG_TRY(err, create_results(&x, e));
    start_progress(&x);
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++)
        if (xp_is(c->outer.algorithm, algorithms[i].algorithm))
            code = algorithms[i].run(&x, e);
    xp_progress_release(&x.progress);
    if (code == AG_OK)
        code = store_system(&x, e);
    if (code == AG_OK)
        return xp_results_close(x.results, "complete", err);
    if (code == AG_ESTOP || code == AG_ENAN)
        save_unfinished(&x, code == AG_ESTOP ? "interrupted" : "failed", e);
    else
        xp_results_abandon(x.results);
    return ag_trail(err, code, __func__);
}
