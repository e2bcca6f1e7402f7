/* Runs of LoRA-ML and standard retraining on the linear tasks: for each seed, train the base, then fine-tune a fresh
 * adapter on the new task and score every step by || M - (W + U V') ||_F^2, the noise-free error. */
#include "experiments/run_internal.h"

#include "autograd/random.h"
#include "meta/lora_ml.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct lora_run {
    xp_context *x;
    const xp_config *c;
    int64_t repeat;
    uint64_t seed;
    xp_source *source;
    nn_model model, test_model;          /* with the private (symmetric) adapter; with the fresh one */
    meta_lora_ml *trainer;
    meta_learner *tester;
    meta_scorer *scorer;
    meta_state state;                    /* of the test model */
    meta_optimizer optimizer;
    ag_real *theta, *grad;
} lora_run;

static double loss_scale(const xp_config *c)
{
    return 0.5 * (double)c->tasks.dim;   /* from the mean over outputs to half the sum over them, as in the paper */
}

static ag_code make_training(lora_run *r, ag_error *err)
{
    const xp_config *c = r->c;
    bool adapter = xp_is(c->outer.algorithm, "lora-ml");
    xp_episodes e = { NULL, { r->seed, AG_STREAM_TRAIN, 0, 0 }, { 1, c->tasks.dim, 0 } };
    AG_TRY(err, xp_open_source(r->x, r->seed, &r->source, err));
    e.source = r->source;
    AG_TRY(err, xp_make_model(r->x, r->source, adapter ? c->adapter.rank : 0, true, &r->model, err));
    meta_lora_ml_options o = { .loss_scale = loss_scale(c), .inner_lr = c->inner.lr, .inner_steps = c->inner.steps, .n_support = c->tasks.dim };
    AG_TRY(err, meta_lora_ml_new(&r->trainer, &r->model, &o, &(meta_batch){ c->outer.meta_batch, xp_fetch, &e }, r->seed, err));
    r->theta = ag_alloc_zero((size_t)r->model.n_value * sizeof *r->theta);
    r->grad = ag_alloc_zero((size_t)r->model.n_value * sizeof *r->grad);
    AG_REQUIRE(r->theta && r->grad, err, AG_ENOMEM, "run: no memory for %lld parameters", (long long)r->model.n_value);
    nn_model_draw(&r->model, r->seed, r->theta);
    return xp_make_optimizer(r->x, r->model.n_value, &r->optimizer, err);
}

static ag_code train(lora_run *r, ag_error *err)
{
    int64_t n = r->c->outer.iterations;
    for (int64_t i = 0; i < n; i++) {
        double loss = 0, lr = xp_outer_rate(r->c, i);
        AG_TRY(err, xp_check_stop(r->x, err));
        AG_TRY(err, meta_lora_ml_gradient(r->trainer, r->theta, r->grad, &loss, err));
        double norm = meta_norm(r->model.n_value, r->grad);
        meta_optimizer_step(&r->optimizer, lr, r->grad, r->theta);
        xp_progress_update(&r->x->progress, r->repeat * n + i + 1, loss);
        /* Adaptation and meta-objective are one here: the loss on the tasks' data with their private adapters. */
        AG_TRY(err, xp_results_train(r->x->results, &(xp_train_row){ r->repeat * n + i + 1, NAN, loss, NAN, norm, lr, xp_now() - r->x->started }, err));
    }
    return AG_OK;
}

/* A fresh adapter on the trained base; loss [steps + 1]. */
static ag_code test(lora_run *r, double *loss, ag_error *err)
{
    const xp_config *c = r->c;
    int64_t dim = c->tasks.dim, rank = c->adapter.test_rank > 0 ? c->adapter.test_rank : c->adapter.rank;
    double lr = c->inner.lr_query > 0 ? c->inner.lr_query : c->inner.lr;
    AG_TRY(err, xp_check_stop(r->x, err));
    AG_TRY(err, xp_make_model(r->x, r->source, rank, false, &r->test_model, err));
    meta_options o = { .loss = META_MSE, .support_scale = loss_scale(c), .inner_lr = lr, .adapters_only = true, .n_support = dim, .n_query = dim };
    AG_TRY(err, meta_learner_new(&r->tester, &r->test_model, &o, err));
    AG_TRY(err, meta_state_init(&r->state, r->tester, r->seed, err));
    memcpy(r->state.values, r->theta, (size_t)r->model.param[0].numel * sizeof *r->theta);   /* the base is parameter 0 of both */
    AG_TRY(err, meta_scorer_new(&r->scorer, r->tester, &(meta_scorer_options){ dim, dim, c->eval.steps, false, 0 }, err));
    xp_episodes e = { r->source, { c->eval.seed, AG_STREAM_TEST, (uint64_t)r->repeat, 0 }, { 1, dim, dim } };
    AG_TRY(err, meta_scorer_run(r->scorer, &r->state, &(meta_batch){ 1, xp_fetch, &e }, loss, NULL, err));
    for (int64_t k = 0; k <= c->eval.steps; k++)
        loss[k] *= (double)dim;          /* from the mean over outputs to their sum */
    return AG_OK;
}

static void release(lora_run *r)
{
    meta_scorer_free(r->scorer);
    meta_state_release(&r->state);
    meta_learner_free(r->tester);
    meta_lora_ml_free(r->trainer);
    meta_optimizer_release(&r->optimizer);
    xp_source_close(r->source);
    ag_free(r->theta);
    ag_free(r->grad);
}

static ag_code one_seed(xp_context *x, int64_t repeat, double *loss, ag_error *err)
{
    lora_run r = { .x = x, .c = x->c, .repeat = repeat, .seed = x->c->seed + (uint64_t)repeat };
    char prefix[32];
    snprintf(prefix, sizeof prefix, "repeat%lld/", (long long)repeat);
    ag_code code = make_training(&r, err);
    if (code == AG_OK)
        code = train(&r, err);
    if (code == AG_OK)
        code = test(&r, loss, err);
    if (code == AG_OK)
        code = xp_results_parameter(x->results, strcat(prefix, r.model.param[0].name), 2, r.model.param[0].shape, r.theta, err);
    release(&r);
    return ag_trail(err, code, __func__);
}

static ag_code all_seeds(xp_context *x, double *loss, uint64_t *seeds, ag_error *err)
{
    const xp_config *c = x->c;
    for (int64_t i = 0; i < c->repeats; i++) {
        seeds[i] = c->seed + (uint64_t)i;
        AG_TRY(err, one_seed(x, i, loss + i * (c->eval.steps + 1), err));
    }
    xp_scores s = { .protocol = "new-task", .n_episode = c->repeats, .n_step = c->eval.steps, .loss = loss, .episode_seed = seeds,
                    .loss_unit = "squared Frobenius norm", .diverged_above = c->eval.diverged_above };
    return xp_results_scores(x->results, &s, err);
}

ag_code xp_run_lora(xp_context *x, ag_error *err)
{
    int64_t n = x->c->repeats * (x->c->eval.steps + 1);
    double *loss = ag_alloc_zero((size_t)n * sizeof *loss);
    uint64_t *seeds = ag_alloc_zero((size_t)x->c->repeats * sizeof *seeds);
    ag_code code = loss && seeds ? all_seeds(x, loss, seeds, err) : ag_fail(err, AG_ENOMEM, "run: no memory for %lld scores", (long long)n);
    ag_free(loss);
    ag_free(seeds);
    return ag_trail(err, code, __func__);
}
