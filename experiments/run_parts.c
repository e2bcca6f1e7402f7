/* What the kinds of runs are made of: episodes, models, optimisers (run_internal.h). */
#include "experiments/run_internal.h"

#include <string.h>
#include <time.h>

double xp_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

xp_steps xp_test_steps(const xp_config *c)
{
    return c->eval.n_score_steps ? (xp_steps){ c->eval.n_score_steps, c->eval.score_steps } : (xp_steps){ c->eval.steps + 1, NULL };
}

xp_steps xp_last_step(const xp_config *c)
{
    return (xp_steps){ 1, &c->eval.steps };
}

bool xp_is(const char *option, const char *value)
{
    return strcmp(option, value) == 0;
}

const char *xp_loss_unit(const xp_config *c)
{
    if (xp_is(c->tasks.source, "lm"))
        return "nats per token";
    return xp_is(c->tasks.source, "sinusoid") || xp_is(c->tasks.source, "lora-linear") ? "mean squared error" : "nats";
}

ag_code xp_check_stop(const xp_context *x, ag_error *err)
{
    AG_REQUIRE(!x->o->stop || !*x->o->stop, err, AG_ESTOP, "stopped on request");
    return AG_OK;
}

/* Bytes of x and y of one task's set of n examples. */
static void set_bytes(const xp_episodes *e, int64_t n, int64_t capacity, size_t *x, size_t *y)
{
    xp_example_shape shape = xp_source_example(e->source);
    nn_text_shape text = { n, e->x->c->model.max_tokens, capacity };
    *x = (size_t)n * sizeof(ag_real);
    for (int i = 0; i < shape.x_ndim; i++)
        *x *= (size_t)shape.x_shape[i];
    if (shape.text)
        *x = (size_t)nn_text_numel(&text) * sizeof(int32_t);
    size_t next_tokens = (size_t)shape.y_width * sizeof(int32_t), numbers = (size_t)shape.y_width * sizeof(ag_real);
    *y = (size_t)n * (shape.labels ? sizeof(int32_t) : shape.text ? next_tokens : numbers);
}

ag_code xp_fetch(void *ctx, int64_t first, int64_t count, void *support_x, void *support_y, void *query_x, void *query_y, ag_error *err)
{
    const xp_episodes *e = ctx;
    size_t sx, sy, qx, qy;
    AG_TRY(err, xp_check_stop(e->x, err));
    set_bytes(e, e->size.way * e->size.shot, e->size.support_capacity, &sx, &sy);
    set_bytes(e, e->size.way * e->size.query, e->size.query_capacity, &qx, &qy);
    for (int64_t i = 0; i < count; i++) {
        xp_episode_id id = e->id;
        size_t k = (size_t)i;
        id.task += (uint64_t)(first + i);
        AG_TRY(err, xp_source_episode(e->source, &id, &e->size, (char *)support_x + k * sx, (char *)support_y + k * sy,
                                      (char *)query_x + k * qx, (char *)query_y + k * qy, err));
    }
    return AG_OK;
}

ag_code xp_size_episode(const xp_source *s, uint64_t stream, xp_episode_size *size, ag_error *err)
{
    nn_text_shape support, query;
    if (!xp_source_example(s).text)
        return AG_OK;
    AG_TRY(err, xp_source_text_shape(s, stream, size, &support, &query, err));
    size->support_capacity = support.capacity;
    size->query_capacity = query.capacity;
    return AG_OK;
}

static void show_note(void *ctx, const char *text)
{
    xp_context *x = ctx;
    if (!x->hush)
        xp_progress_line(&x->progress, text);
}

ag_code xp_open_source(const xp_context *x, const xp_tasks *tasks, uint64_t seed, const nn_tokenizer *k, xp_source **s, ag_error *err)
{
    xp_source_options o = { .data_dir = x->o->data_dir, .cache_dir = x->o->cache_dir, .seed = seed, .note = show_note,
                            .note_ctx = (void *)x, .tokenizer = k, .max_tokens = x->c->model.max_tokens };
    return xp_source_open(s, tasks, &o, err);
}

ag_code xp_make_optimizer(const xp_context *x, const meta_optimizer_options *more, int64_t n, meta_optimizer *opt, ag_error *err)
{
    const xp_outer *c = &x->c->outer;
    meta_optimizer_options o = {
        .kind = xp_is(c->optimizer, "sgd") ? META_SGD : META_ADAM, .beta1 = c->beta1 > 0 ? c->beta1 : -1, .beta2 = c->beta2,
        .epsilon = c->epsilon, .momentum = c->momentum, .clip_value = c->clip_value, .clip_norm = c->clip_norm,
        .weight_decay = c->weight_decay,
    };
    if (more) {
        o.n_decay = more->n_decay;
        o.scale = more->scale;
    }
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

/* "COMMAND --replay 7:3"; in front where "--" ends the options. */
static void replay_command(const xp_context *x, int64_t iteration, int64_t task, char *text, size_t size)
{
    const char *line = x->command_line ? x->command_line : "metalora run FILE.yaml", *ends = strstr(line, " -- ");
    size_t program = ends ? strcspn(line, " ") : strlen(line);
    snprintf(text, size, "%.*s --replay %lld:%lld%s", (int)program, line, (long long)iteration, (long long)task, line + program);
}

ag_code xp_fail_nan(const xp_context *x, int64_t iteration, int64_t task, ag_error *err)
{
    char why[400], command[1000];
    if (!err)
        return AG_ENAN;
    snprintf(why, sizeof why, "%.390s", err->message);
    replay_command(x, iteration, task, command, sizeof command);
    ag_error_clear(err);
    return ag_fail(err, AG_ENAN, "iteration %lld, %s; a smaller inner.lr or outer.lr may help; to see that episode alone: %s",
                   (long long)iteration, why, command);
}
