/* Runs of MAML and its kin (FOMAML, joint training): train, validate, test. */
#include "experiments/checkpoint.h"
#include "experiments/run_internal.h"

#include "autograd/random.h"

#include <math.h>
#include <string.h>

typedef struct maml_run {
    xp_context *x;
    const xp_config *c;
    xp_source *source;
    bool labels;                         /* classification */
    nn_model model;
    meta_learner *learner;
    meta_state state, best;              /* best: on the validation episodes */
    bool has_best;
    double best_score;
    meta_optimizer optimizer;
    meta_scorer *validator;
    ag_real *grad;                       /* [state.n] */
    double *scores;                      /* [2][episodes][steps + 1]: losses, then accuracies */
} maml_run;

/* ---- making ---- */

static meta_options learner_options(const maml_run *r)
{
    const xp_config *c = r->c;
    const xp_episode_size *size = &r->x->train;
    return (meta_options){
        .loss = r->labels ? META_CROSS_ENTROPY : META_MSE,
        .support_scale = xp_is(c->inner.loss_scale, "per-shot") ? (double)c->tasks.way : 1,
        .inner_lr = c->inner.lr,
        .rate_scope = xp_is(c->inner.lr_scope, "element") ? META_RATE_ELEMENT
                    : xp_is(c->inner.lr_scope, "tensor") ? META_RATE_TENSOR : META_RATE_ALL,
        .learn_rates = c->inner.learn_lr,
        .first_order = xp_is(c->outer.algorithm, "fomaml"),
        .adapt_norm = c->model.adapt_norm,
        .train_steps = xp_is(c->outer.algorithm, "joint") ? 0 : c->inner.steps,
        .n_support = size->way * size->shot,
        .n_query = size->way * size->query,
        .chunk = c->outer.chunk,
        .threads = r->x->o->threads,
    };
}

static int64_t query_at_test(const xp_config *c)
{
    return c->eval.query > 0 ? c->eval.query : c->tasks.query;
}

static ag_code make_scorer(maml_run *r, int64_t shot, meta_scorer **sc, ag_error *err)
{
    meta_scorer_options o = {
        .n_support = r->c->tasks.way * shot, .n_query = r->c->tasks.way * query_at_test(r->c), .steps = r->c->eval.steps,
        .inductive = xp_is(r->c->eval.protocol, "inductive"),
    };
    return meta_scorer_new(sc, r->learner, &o, err);
}

static ag_code make_scores(double **scores, int64_t episodes, int64_t steps, ag_error *err)
{
    *scores = ag_alloc_zero((size_t)(2 * episodes * (steps + 1)) * sizeof **scores);
    AG_REQUIRE(*scores, err, AG_ENOMEM, "run: no memory for the scores of %lld episodes", (long long)episodes);
    return AG_OK;
}

static ag_code make(maml_run *r, ag_error *err)
{
    AG_TRY(err, xp_open_source(r->x, r->c->seed, &r->source, err));
    r->labels = xp_source_example(r->source).labels;
    AG_TRY(err, xp_make_model(r->x, r->source, 0, false, &r->model, err));
    meta_options o = learner_options(r);
    AG_TRY(err, meta_learner_new(&r->learner, &r->model, &o, err));
    AG_TRY(err, meta_state_init(&r->state, r->learner, r->c->seed, err));
    AG_TRY(err, meta_state_init(&r->best, r->learner, r->c->seed, err));
    AG_TRY(err, xp_make_optimizer(r->x, r->state.n, &r->optimizer, err));
    r->grad = ag_alloc((size_t)r->state.n * sizeof *r->grad);
    AG_REQUIRE(r->grad, err, AG_ENOMEM, "run: no memory for a gradient of %lld numbers", (long long)r->state.n);
    if (r->c->eval.validate_every == 0)
        return AG_OK;
    AG_TRY(err, make_scorer(r, r->c->tasks.shot, &r->validator, err));
    return make_scores(&r->scores, r->c->eval.validation_episodes, r->c->eval.steps, err);
}

static void release(maml_run *r)
{
    meta_scorer_free(r->validator);
    meta_optimizer_release(&r->optimizer);
    meta_state_release(&r->state);
    meta_state_release(&r->best);
    meta_learner_free(r->learner);
    xp_source_close(r->source);
    ag_free(r->grad);
    ag_free(r->scores);
}

/* ---- checkpoints ---- */

static size_t state_bytes(const meta_state *s)
{
    return (size_t)(s->n_value + s->n_rate) * sizeof *s->values;
}

static ag_code save_checkpoint(maml_run *r, int64_t next, ag_error *err)
{
    char path[4096];
    xp_sha256 digest;
    size_t moments = (size_t)r->optimizer.n * sizeof *r->optimizer.first;
    snprintf(path, sizeof path, "%s.ckpt", r->x->o->out);
    AG_TRY(err, xp_sha256_text(&digest, r->c->resolved, err));
    const xp_checkpoint_entry entries[] = {
        { "iteration", &next, sizeof next },
        { "state", r->state.values, state_bytes(&r->state) },
        { "optimizer.step", &r->optimizer.step, sizeof r->optimizer.step },
        { "optimizer.first", r->optimizer.first, moments },
        { "optimizer.second", r->optimizer.second, r->optimizer.second ? moments : 0 },
        { "best", r->best.values, state_bytes(&r->best) },
        { "best.score", &r->best_score, sizeof r->best_score },
        { "best.known", &r->has_best, sizeof r->has_best },
    };
    return xp_checkpoint_save(r->x->o->checkpoint ? r->x->o->checkpoint : path, &digest, sizeof entries / sizeof *entries, entries, err);
}

static ag_code restore(const xp_checkpoint *c, maml_run *r, int64_t *next, ag_error *err)
{
    size_t moments = (size_t)r->optimizer.n * sizeof *r->optimizer.first;
    AG_TRY(err, xp_checkpoint_get(c, "iteration", next, sizeof *next, err));
    AG_TRY(err, xp_checkpoint_get(c, "state", r->state.values, state_bytes(&r->state), err));
    AG_TRY(err, xp_checkpoint_get(c, "optimizer.step", &r->optimizer.step, sizeof r->optimizer.step, err));
    AG_TRY(err, xp_checkpoint_get(c, "optimizer.first", r->optimizer.first, moments, err));
    AG_TRY(err, xp_checkpoint_get(c, "optimizer.second", r->optimizer.second, r->optimizer.second ? moments : 0, err));
    AG_TRY(err, xp_checkpoint_get(c, "best", r->best.values, state_bytes(&r->best), err));
    AG_TRY(err, xp_checkpoint_get(c, "best.score", &r->best_score, sizeof r->best_score, err));
    return xp_checkpoint_get(c, "best.known", &r->has_best, sizeof r->has_best, err);
}

static ag_code load_checkpoint(maml_run *r, int64_t *next, ag_error *err)
{
    xp_checkpoint c;
    xp_sha256 digest;
    AG_TRY(err, xp_sha256_text(&digest, r->c->resolved, err));
    AG_TRY(err, xp_checkpoint_load(&c, r->x->o->resume, &digest, err));
    ag_code code = restore(&c, r, next, err);
    xp_checkpoint_release(&c);
    return ag_trail(err, code, __func__);
}

/* ---- training ---- */

/* Mean over the validation episodes after the last step; the best so far (by accuracy, else by loss) is kept. */
static ag_code validate(maml_run *r, int64_t iteration, ag_error *err)
{
    const xp_config *c = r->c;
    int64_t n = c->eval.validation_episodes, width = c->eval.steps + 1;
    double *loss = r->scores, *accuracy = r->scores + n * width, sums[2] = { 0, 0 };
    AG_TRY(err, xp_check_stop(r->x, err));
    xp_episodes e = { r->source, { c->eval.seed, AG_STREAM_VALIDATION, 0, 0 }, { c->tasks.way, c->tasks.shot, query_at_test(c) } };
    AG_TRY(err, meta_scorer_run(r->validator, &r->state, &(meta_batch){ n, xp_fetch, &e }, loss, accuracy, err));
    for (int64_t i = 0; i < n; i++) {
        sums[0] += loss[i * width + width - 1] / (double)n;
        sums[1] += accuracy[i * width + width - 1] / (double)n;
    }
    double score = r->labels ? sums[1] : -sums[0];
    if (!r->has_best || score > r->best_score) {
        r->has_best = true;
        r->best_score = score;
        memcpy(r->best.values, r->state.values, state_bytes(&r->state));
    }
    char text[XP_PROGRESS_SCORE];
    snprintf(text, sizeof text, r->labels ? "val %.2f %%" : "val %.4f", r->labels ? 100 * sums[1] : sums[0]);
    xp_progress_score(&r->x->progress, text);
    return xp_results_validation(r->x->results, &(xp_validation_row){ iteration, sums[0], r->labels ? sums[1] : NAN }, err);
}

static ag_code train_once(maml_run *r, int64_t iteration, ag_error *err)
{
    const xp_config *c = r->c;
    xp_episodes e = { r->source, { c->seed, AG_STREAM_TRAIN, (uint64_t)iteration, 0 }, r->x->train };
    meta_report report;
    ag_code code = meta_outer_gradient(r->learner, &r->state, &(meta_batch){ c->outer.meta_batch, xp_fetch, &e }, r->grad, &report, err);
    if (code == AG_ENAN && err) {
        char task[AG_MESSAGE_MAX / 2];
        snprintf(task, sizeof task, "%.*s", (int)sizeof task - 1, err->message);
        ag_error_clear(err);
        return ag_fail(err, code, "iteration %lld, %s; a smaller inner.lr or outer.lr may help", (long long)iteration + 1, task);
    }
    AG_TRY(err, code);
    double norm = meta_norm(r->state.n, r->grad), lr = xp_outer_rate(c, iteration);
    meta_optimizer_step(&r->optimizer, lr, r->grad, r->state.values);
    xp_progress_update(&r->x->progress, iteration + 1, report.query_loss);
    return xp_results_train(r->x->results, &(xp_train_row){ iteration + 1, report.support_loss, report.query_loss, report.query_accuracy,
                                                            norm, lr, xp_now() - r->x->started }, err);
}

/* True every `every` iterations; never if 0. */
static bool due(int64_t every, int64_t done)
{
    return every > 0 && done % every == 0;
}

static ag_code train(maml_run *r, ag_error *err)
{
    int64_t first = 0;
    if (r->x->o->resume)
        AG_TRY(err, load_checkpoint(r, &first, err));
    for (int64_t i = first; i < r->c->outer.iterations; i++) {
        AG_TRY(err, xp_check_stop(r->x, err));
        AG_TRY(err, train_once(r, i, err));
        if (due(r->c->eval.validate_every, i + 1))
            AG_TRY(err, validate(r, i + 1, err));
        if (due(r->c->eval.checkpoint_every, i + 1))
            AG_TRY(err, save_checkpoint(r, i + 1, err));
    }
    return AG_OK;
}

/* ---- testing ---- */

static ag_code score(maml_run *r, const meta_state *s, int64_t shot, const char *protocol, double *scores, ag_error *err)
{
    const xp_config *c = r->c;
    int64_t n = c->eval.episodes, width = c->eval.steps + 1;
    meta_scorer *sc = NULL;
    uint64_t *seeds = ag_alloc((size_t)n * sizeof *seeds);
    AG_REQUIRE(seeds, err, AG_ENOMEM, "run: no memory for %lld episode numbers", (long long)n);
    for (int64_t i = 0; i < n; i++)
        seeds[i] = (uint64_t)i;
    xp_episodes e = { r->source, { c->eval.seed, AG_STREAM_TEST, 0, 0 }, { c->tasks.way, shot, query_at_test(c) } };
    ag_code code = make_scorer(r, shot, &sc, err);
    if (code == AG_OK)
        code = meta_scorer_run(sc, s, &(meta_batch){ n, xp_fetch, &e }, scores, scores + n * width, err);
    xp_scores result = { .protocol = protocol, .n_episode = n, .n_step = c->eval.steps, .loss = scores,
                         .accuracy = r->labels ? scores + n * width : NULL, .episode_seed = seeds,
                         .loss_unit = r->labels ? "nats" : "mean squared error", .diverged_above = c->eval.diverged_above };
    if (code == AG_OK)
        code = xp_results_scores(r->x->results, &result, err);
    meta_scorer_free(sc);
    ag_free(seeds);
    return ag_trail(err, code, __func__);
}

/* Every shot count; with batch norm the protocol's name says how the query was normalised. */
static ag_code test(maml_run *r, ag_error *err)
{
    const xp_eval *c = &r->c->eval;
    bool norm = xp_is(r->c->model.norm, "batch"), best = xp_is(c->select, "best") && r->has_best;
    double *scores = NULL;
    AG_TRY(err, make_scores(&scores, c->episodes, c->steps, err));
    ag_code code = AG_OK;
    int64_t shots[XP_MAX_SHOTS] = { r->c->tasks.shot };
    int n_shots = c->n_shots > 0 ? c->n_shots : 1;
    if (c->n_shots > 0)
        memcpy(shots, c->shots, sizeof shots);
    for (int i = 0; i < n_shots * (best ? 2 : 1) && code == AG_OK; i++) {
        bool last = best && i >= n_shots;   /* the last parameters are reported besides the chosen ones */
        if ((code = xp_check_stop(r->x, err)) != AG_OK)
            break;
        int64_t shot = shots[i % n_shots];
        char name[64];
        snprintf(name, sizeof name, "%lld-shot%s%s%s", (long long)shot, norm ? "-" : "", norm ? c->protocol : "", last ? "-last" : "");
        code = score(r, best && !last ? &r->best : &r->state, shot, name, scores, err);
    }
    ag_free(scores);
    return ag_trail(err, code, __func__);
}

static ag_code store_parameters(const maml_run *r, ag_error *err)
{
    const meta_state *s = xp_is(r->c->eval.select, "best") && r->has_best ? &r->best : &r->state;
    AG_TRY(err, xp_store_parameters(r->x, &r->model, "", s->values, err));
    return xp_results_parameter(r->x->results, "inner_lr", 1, &s->n_rate, s->values + s->n_value, err);
}

ag_code xp_run_maml(xp_context *x, ag_error *err)
{
    maml_run r = { .x = x, .c = x->c };
    ag_code code = make(&r, err);
    bool made = code == AG_OK;
    if (code == AG_OK)
        code = train(&r, err);
    if (code == AG_OK)
        code = test(&r, err);
    if (code == AG_OK)
        code = xp_results_system(x->results, "learner_bytes", (double)meta_learner_bytes(r.learner), "byte", err);
    if (code == AG_OK)
        code = store_parameters(&r, err);
    else if (made && code == AG_ESTOP)   /* what was learned so far is kept */
        store_parameters(&r, NULL);
    release(&r);
    return ag_trail(err, code, __func__);
}
