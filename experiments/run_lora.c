/* Runs of LoRA-ML and standard retraining on the linear tasks: for each seed, train the base, then fine-tune a fresh
 * adapter on the new task and score every step by || M - (W + U V') ||_F^2, the noise-free error. Step by step (run_internal.h). */
#include "experiments/run_internal.h"

#include "autograd/random.h"
#include "meta/lora_ml.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct lora_run {
    xp_context *x;
    const xp_config *c;
    /* the repeat under way; done: its iterations */
    int64_t repeat, done;
    uint64_t seed;
    xp_source *source;
    nn_model model, test_model;          /* with the private (symmetric) adapter; with the fresh one */
    meta_lora_ml *trainer;
    meta_optimizer optimizer;
    ag_real *theta, *grad, *adapters_before;   /* NULL, as source and trainer, between two repeats */
    /* of the repeats done */
    nn_param base;                       /* name and shape of what is kept */
    ag_real *bases;                      /* [repeats][base.numel] */
    double *loss;                        /* [repeats][steps + 1] */
} lora_run;

static double loss_scale(const xp_config *c)
{
    return 0.5 * (double)c->tasks.dim;   /* from the mean over outputs to half the sum over them, as in the paper */
}

/* ---- one repeat: training, then the test ---- */

static void end_repeat(lora_run *r)
{
    meta_lora_ml_free(r->trainer);
    meta_optimizer_release(&r->optimizer);
    nn_model_release(&r->model);
    xp_source_close(r->source);
    ag_free(r->theta);
    ag_free(r->grad);
    ag_free(r->adapters_before);
    r->trainer = NULL;
    r->source = NULL;
    r->theta = r->grad = r->adapters_before = NULL;
}

static ag_code make_training(lora_run *r, ag_error *err)
{
    const xp_config *c = r->c;
    int64_t private = 0;
    bool adapter = xp_is(c->outer.algorithm, "lora-ml");
    xp_episodes e = { r->x, NULL, { r->seed, AG_STREAM_TRAIN, 0, 0 }, { .way = 1, .shot = c->tasks.dim } };
    AG_TRY(err, xp_open_source(r->x, &c->tasks, r->seed, NULL, &r->source, err));
    e.source = r->source;
    AG_TRY(err, xp_make_model(r->x, NULL, r->source, &(xp_wish){ .adapter_rank = adapter ? c->adapter.rank : 0, .symmetric = true }, &r->model, err));
    meta_lora_ml_options o = { .loss_scale = loss_scale(c), .inner_lr = c->inner.lr, .inner_steps = c->inner.steps, .n_support = c->tasks.dim };
    AG_TRY(err, meta_lora_ml_new(&r->trainer, &r->model, &o, &(meta_batch){ .n_task = c->outer.meta_batch, .fetch = xp_fetch, .ctx = &e }, r->seed, err));
    meta_lora_ml_adapters(r->trainer, &private);
    r->adapters_before = ag_alloc_zero((size_t)private * sizeof *r->adapters_before);
    r->theta = ag_alloc_zero((size_t)r->model.n_value * sizeof *r->theta);
    r->grad = ag_alloc_zero((size_t)r->model.n_value * sizeof *r->grad);
    AG_REQUIRE(r->theta && r->grad && r->adapters_before, err, AG_ENOMEM, "run: no memory for %lld parameters", (long long)r->model.n_value);
    nn_model_draw(&r->model, r->seed, r->theta);
    return xp_make_optimizer(r->x, NULL, r->model.n_value, &r->optimizer, err);
}

/* Makes what the repeat needs, at its start; all or nothing. */
static ag_code begin_repeat(lora_run *r, ag_error *err)
{
    end_repeat(r);
    r->done = 0;
    r->seed = r->c->seed + (uint64_t)r->repeat;
    ag_code code = make_training(r, err);
    if (code != AG_OK)
        end_repeat(r);
    return code;
}

/* The adapters move while the gradient is computed: they are put back when the step does not come to its end. */
static ag_code train_moving(lora_run *r, ag_error *err)
{
    int64_t iteration = r->repeat * r->c->outer.iterations + r->done + 1;
    double loss = 0, lr = xp_outer_rate(r->c, r->done);
    ag_code code = meta_lora_ml_gradient(r->trainer, r->theta, r->grad, &loss, err);
    if (code == AG_ENAN)
        return xp_fail_nan(r->x, iteration, meta_lora_ml_bad_task(r->trainer), err);
    AG_TRY(err, code);
    double norm = meta_norm(r->model.n_value, r->grad);
    /* Adaptation and meta-objective are one here: the loss on the tasks' data with their private adapters. */
    AG_TRY(err, xp_log_train(r->x, &(xp_train_row){ iteration, NAN, loss, NAN, norm, lr, 0 }, err));
    meta_optimizer_step(&r->optimizer, lr, r->grad, r->theta);
    r->done++;
    xp_progress_update(&r->x->progress, iteration, loss);
    return AG_OK;
}

static ag_code train_once(lora_run *r, ag_error *err)
{
    int64_t n;
    ag_real *adapters = meta_lora_ml_adapters(r->trainer, &n);
    memcpy(r->adapters_before, adapters, (size_t)n * sizeof *adapters);
    ag_code code = train_moving(r, err);
    if (code != AG_OK)
        memcpy(adapters, r->adapters_before, (size_t)n * sizeof *adapters);
    return code;
}

typedef struct tester {
    meta_learner *learner;
    meta_scorer *scorer;
    meta_state state;
} tester;

static ag_code make_tester(lora_run *r, tester *t, ag_error *err)
{
    const xp_config *c = r->c;
    int64_t dim = c->tasks.dim, rank = c->adapter.test_rank > 0 ? c->adapter.test_rank : c->adapter.rank;
    double lr = c->inner.lr_query > 0 ? c->inner.lr_query : c->inner.lr;
    AG_TRY(err, xp_make_model(r->x, NULL, r->source, &(xp_wish){ .adapter_rank = rank }, &r->test_model, err));
    meta_options o = { .loss = META_MSE, .support_scale = loss_scale(c), .inner_lr = lr, .adapters_only = true, .n_support = dim, .n_query = dim };
    AG_TRY(err, meta_learner_new(&t->learner, &r->test_model, &o, err));
    AG_TRY(err, meta_state_init(&t->state, t->learner, r->seed, err));
    memcpy(t->state.values, r->theta, (size_t)r->base.numel * sizeof *r->theta);   /* the base is parameter 0 of both */
    return meta_scorer_new(&t->scorer, t->learner, &(meta_scorer_options){ .n_support = dim, .n_query = dim, .steps = c->eval.steps,
                           .score = xp_test_steps(c).at, .n_score = xp_test_steps(c).n }, err);
}

/* A fresh adapter on the trained base. */
static ag_code test(lora_run *r, ag_error *err)
{
    const xp_config *c = r->c;
    int64_t dim = c->tasks.dim;
    const int64_t width = xp_test_steps(c).n;
    double *loss = r->loss + r->repeat * width;
    tester t = { 0 };
    xp_episodes e = { r->x, r->source, { c->eval.seed, AG_STREAM_TEST, (uint64_t)r->repeat, 0 }, { .way = 1, .shot = dim, .query = dim } };
    ag_code code = make_tester(r, &t, err);
    if (code == AG_OK)
        code = meta_scorer_run(t.scorer, &t.state, &(meta_batch){ .n_task = 1, .fetch = xp_fetch, .ctx = &e }, loss, NULL, err);
    for (int64_t k = 0; k < width && code == AG_OK; k++)
        loss[k] *= (double)dim;          /* from the mean over outputs to their sum */
    meta_scorer_free(t.scorer);
    meta_state_release(&t.state);
    meta_learner_free(t.learner);
    nn_model_release(&r->test_model);
    return code;
}

/* ---- all repeats ---- */

static ag_code make_room(lora_run *r, ag_error *err)
{
    int64_t repeats = r->c->repeats, scores = repeats * xp_test_steps(r->c).n;
    r->base = r->model.param[0];
    r->loss = ag_alloc_zero((size_t)scores * sizeof *r->loss);
    r->bases = ag_alloc_zero((size_t)(repeats * r->base.numel) * sizeof *r->bases);
    AG_REQUIRE(r->loss && r->bases, err, AG_ENOMEM, "run: no memory for %lld scores and %lld bases", (long long)scores, (long long)repeats);
    return AG_OK;
}

static ag_code open_run(xp_context *x, void **run, ag_error *err)
{
    lora_run *r = ag_alloc_zero(sizeof *r);
    *run = r;
    AG_REQUIRE(r, err, AG_ENOMEM, "run: out of memory");
    r->x = x;
    r->c = x->c;
    AG_TRY(err, begin_repeat(r, err));
    return make_room(r, err);
}

static void close_run(void *run)
{
    lora_run *r = run;
    if (!r)
        return;
    end_repeat(r);
    ag_free(r->bases);
    ag_free(r->loss);
    ag_free(r);
}

static ag_code log_scores(lora_run *r, ag_error *err)
{
    const xp_config *c = r->c;
    uint64_t *seeds = ag_alloc_zero((size_t)c->repeats * sizeof *seeds);
    AG_REQUIRE(seeds, err, AG_ENOMEM, "run: no memory for %lld seeds", (long long)c->repeats);
    for (int64_t i = 0; i < c->repeats; i++)
        seeds[i] = c->seed + (uint64_t)i;
    xp_scores s = { .protocol = "new-task", .n_episode = c->repeats, .n_score = xp_test_steps(c).n, .step = xp_test_steps(c).at, .loss = r->loss,
                    .episode_seed = seeds, .loss_unit = "squared Frobenius norm", .diverged_above = c->eval.diverged_above };
    ag_code code = xp_log_scores(r->x, &s, err);
    ag_free(seeds);
    return code;
}

/* Tests the repeat under way and leaves it; behind the last one the scores of all are written. */
static ag_code finish_repeat(lora_run *r, ag_error *err)
{
    AG_TRY(err, test(r, err));
    memcpy(r->bases + r->repeat * r->base.numel, r->theta, (size_t)r->base.numel * sizeof *r->theta);
    if (r->repeat + 1 == r->c->repeats)
        AG_TRY(err, log_scores(r, err));
    end_repeat(r);
    r->repeat++;
    r->done = 0;
    return AG_OK;
}

static ag_code step(void *run, bool *finished, ag_error *err)
{
    lora_run *r = run;
    *finished = r->repeat == r->c->repeats;
    if (*finished)
        return AG_OK;
    if (!r->trainer)
        AG_TRY(err, begin_repeat(r, err));
    return r->done < r->c->outer.iterations ? train_once(r, err) : finish_repeat(r, err);
}

static int state(void *run, xp_state table[XP_MAX_STATE])
{
    lora_run *r = run;
    int64_t private = 0;
    ag_real *adapters = r->trainer ? meta_lora_ml_adapters(r->trainer, &private) : NULL;
    size_t values = r->trainer ? (size_t)r->model.n_value * sizeof *r->theta : 0;
    const xp_state list[] = {
        { "repeat", &r->repeat, sizeof r->repeat },
        { "done", &r->done, sizeof r->done },
        { "bases", r->bases, (size_t)(r->c->repeats * r->base.numel) * sizeof *r->bases },
        { "losses", r->loss, (size_t)(r->c->repeats * xp_test_steps(r->c).n) * sizeof *r->loss },
        { "theta", r->theta, values },
        { "adapters", adapters, (size_t)private * sizeof *adapters },
        { "optimizer.step", &r->optimizer.step, sizeof r->optimizer.step },
        { "optimizer.first", r->optimizer.first, r->optimizer.first ? values : 0 },
        { "optimizer.second", r->optimizer.second, r->optimizer.second ? values : 0 },
    };
    memcpy(table, list, sizeof list);
    return sizeof list / sizeof *list;
}

/* Between two repeats there is no theta, and nothing to make room for. */
static ag_code restore(void *run, const xp_checkpoint *c, ag_error *err)
{
    lora_run *r = run;
    xp_state table[XP_MAX_STATE];
    const xp_checkpoint_entry *theta = xp_checkpoint_find(c, "theta");
    AG_TRY(err, xp_checkpoint_get(c, "repeat", &r->repeat, sizeof r->repeat, err));
    AG_REQUIRE(r->repeat >= 0 && r->repeat <= r->c->repeats, err, AG_EDATA, "the checkpoint is of repeat %lld; expected 0 to %lld",
               (long long)r->repeat, (long long)r->c->repeats);
    end_repeat(r);
    if (theta && theta->bytes > 0 && r->repeat < r->c->repeats)
        AG_TRY(err, begin_repeat(r, err));
    return xp_state_load(c, state(run, table), table, err);
}

/* One group a repeat; those not done are left out. */
static ag_code store(void *run, ag_error *err)
{
    const lora_run *r = run;
    for (int64_t i = 0; i < r->repeat; i++) {
        char name[NN_NAME_MAX + 64];
        snprintf(name, sizeof name, "repeat%lld/%s", (long long)i, r->base.name);
        AG_TRY(err, xp_results_parameter(r->x->results, name, 2, r->base.shape, r->bases + i * r->base.numel, err));
    }
    return AG_OK;
}

/* Repeats do not depend on each other. */
static ag_code replay(void *run, int64_t iteration, int64_t task, xp_episode_report *report, ag_error *err)
{
    lora_run *r = run;
    int64_t n = r->c->outer.iterations, repeat = (iteration - 1) / n, before = (iteration - 1) % n;
    double mean;
    if (r->repeat != repeat || !r->trainer) {
        report->checkpoint = -1;
        r->repeat = repeat;
        AG_TRY(err, begin_repeat(r, err));
    }
    for (; r->done < before; report->trained++) {
        AG_TRY(err, xp_check_stop(r->x, err));
        AG_TRY(err, train_once(r, err));
    }
    ag_error why = { 0 };
    ag_code code = meta_lora_ml_gradient(r->trainer, r->theta, r->grad, &mean, &why);
    if (code != AG_OK && code != AG_ENAN)
        return ag_fail(err, code, "%.1900s", why.message);
    report->seed = r->seed;
    report->support_loss = report->query_accuracy = NAN;
    meta_lora_ml_task(r->trainer, task, &report->query_loss, &report->grad_norm);
    report->finite = isfinite(report->query_loss) && isfinite(report->grad_norm);
    return AG_OK;
}

const xp_run_kind xp_kind_lora = {
    .open = open_run, .step = step, .state = state, .restore = restore, .store = store, .replay = replay, .close = close_run,
};
