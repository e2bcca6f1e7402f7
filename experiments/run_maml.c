/* Runs of MAML and its kin (FOMAML, joint training): train, validate, test, step by step (run_internal.h). */
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
    int64_t done, validated;             /* iterations trained; of the last validation */
    int64_t tested;                      /* protocols */
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

static void close_run(void *run)
{
    maml_run *r = run;
    if (!r)
        return;
    meta_scorer_free(r->validator);
    meta_optimizer_release(&r->optimizer);
    meta_state_release(&r->state);
    meta_state_release(&r->best);
    meta_learner_free(r->learner);
    xp_source_close(r->source);
    ag_free(r->grad);
    ag_free(r->scores);
    ag_free(r);
}

static ag_code open_run(xp_context *x, void **run, ag_error *err)
{
    maml_run *r = ag_alloc_zero(sizeof *r);
    *run = r;
    AG_REQUIRE(r, err, AG_ENOMEM, "run: out of memory");
    r->x = x;
    r->c = x->c;
    return make(r, err);
}

/* ---- checkpoints ---- */

static size_t state_bytes(const meta_state *s)
{
    return (size_t)(s->n_value + s->n_rate) * sizeof *s->values;
}

static int state(void *run, xp_state table[XP_MAX_STATE])
{
    maml_run *r = run;
    size_t moments = (size_t)r->optimizer.n * sizeof *r->optimizer.first;
    const xp_state list[] = {
        { "done", &r->done, sizeof r->done },
        { "validated", &r->validated, sizeof r->validated },
        { "tested", &r->tested, sizeof r->tested },
        { "state", r->state.values, state_bytes(&r->state) },
        { "optimizer.step", &r->optimizer.step, sizeof r->optimizer.step },
        { "optimizer.first", r->optimizer.first, r->optimizer.first ? moments : 0 },
        { "optimizer.second", r->optimizer.second, r->optimizer.second ? moments : 0 },
        { "best", r->best.values, state_bytes(&r->best) },
        { "best.score", &r->best_score, sizeof r->best_score },
        { "best.known", &r->has_best, sizeof r->has_best },
    };
    memcpy(table, list, sizeof list);
    return sizeof list / sizeof *list;
}

static ag_code restore(void *run, const xp_checkpoint *c, ag_error *err)
{
    xp_state table[XP_MAX_STATE];
    return xp_state_load(c, state(run, table), table, err);
}

/* ---- training ---- */

/* Mean over the validation episodes after the last step; the best so far (by accuracy, else by loss) is kept. */
static ag_code validate(maml_run *r, ag_error *err)
{
    const xp_config *c = r->c;
    int64_t n = c->eval.validation_episodes, width = c->eval.steps + 1;
    double *loss = r->scores, *accuracy = r->scores + n * width, sums[2] = { 0, 0 };
    xp_episodes e = { r->x, r->source, { c->eval.seed, AG_STREAM_VALIDATION, 0, 0 }, { c->tasks.way, c->tasks.shot, query_at_test(c) } };
    AG_TRY(err, meta_scorer_run(r->validator, &r->state, &(meta_batch){ n, xp_fetch, &e }, loss, accuracy, err));
    for (int64_t i = 0; i < n; i++) {
        sums[0] += loss[i * width + width - 1] / (double)n;
        sums[1] += accuracy[i * width + width - 1] / (double)n;
    }
    AG_TRY(err, xp_log_validation(r->x, &(xp_validation_row){ r->done, sums[0], r->labels ? sums[1] : NAN }, err));
    r->validated = r->done;
    double score = r->labels ? sums[1] : -sums[0];
    if (!r->has_best || score > r->best_score) {
        r->has_best = true;
        r->best_score = score;
        memcpy(r->best.values, r->state.values, state_bytes(&r->state));
    }
    char text[XP_PROGRESS_SCORE];
    snprintf(text, sizeof text, r->labels ? "val %.2f %%" : "val %.4f", r->labels ? 100 * sums[1] : sums[0]);
    xp_progress_score(&r->x->progress, text);
    return AG_OK;
}

/* Writes first, moves the parameters then: a row that could not be written leaves them as they were. */
static ag_code train_once(maml_run *r, ag_error *err)
{
    const xp_config *c = r->c;
    xp_episodes e = { r->x, r->source, { c->seed, AG_STREAM_TRAIN, (uint64_t)r->done, 0 }, r->x->train };
    meta_report report;
    ag_code code = meta_outer_gradient(r->learner, &r->state, &(meta_batch){ c->outer.meta_batch, xp_fetch, &e }, r->grad, &report, err);
    if (code == AG_ENAN)
        return xp_fail_nan(r->x, r->done + 1, report.bad_task, err);
    AG_TRY(err, code);
    double norm = meta_norm(r->state.n, r->grad), lr = xp_outer_rate(c, r->done);
    AG_TRY(err, xp_log_train(r->x, &(xp_train_row){ r->done + 1, report.support_loss, report.query_loss, report.query_accuracy, norm,
                                                    lr, 0 }, err));
    meta_optimizer_step(&r->optimizer, lr, r->grad, r->state.values);
    r->done++;
    xp_progress_update(&r->x->progress, r->done, report.query_loss);
    return AG_OK;
}

static ag_code replay(void *run, int64_t iteration, int64_t task, xp_episode_report *report, ag_error *err)
{
    maml_run *r = run;
    meta_report mean;
    for (; r->done < iteration - 1; report->trained++) {
        AG_TRY(err, xp_check_stop(r->x, err));
        AG_TRY(err, train_once(r, err));
    }
    xp_episodes e = { r->x, r->source, { r->c->seed, AG_STREAM_TRAIN, (uint64_t)r->done, (uint64_t)task }, r->x->train };
    ag_error why = { 0 };
    ag_code code = meta_outer_gradient(r->learner, &r->state, &(meta_batch){ 1, xp_fetch, &e }, r->grad, &mean, &why);
    if (code != AG_OK && code != AG_ENAN)
        return ag_fail(err, code, "%.1900s", why.message);
    report->finite = code == AG_OK;
    report->support_loss = mean.support_loss;
    report->query_loss = mean.query_loss;
    report->query_accuracy = mean.query_accuracy;
    report->grad_norm = meta_norm(r->state.n, r->grad);
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
    xp_episodes e = { r->x, r->source, { c->eval.seed, AG_STREAM_TEST, 0, 0 }, { c->tasks.way, shot, query_at_test(c) } };
    ag_code code = make_scorer(r, shot, &sc, err);
    if (code == AG_OK)
        code = meta_scorer_run(sc, s, &(meta_batch){ n, xp_fetch, &e }, scores, scores + n * width, err);
    xp_scores result = { .protocol = protocol, .n_episode = n, .n_step = c->eval.steps, .loss = scores,
                         .accuracy = r->labels ? scores + n * width : NULL, .episode_seed = seeds,
                         .loss_unit = r->labels ? "nats" : "mean squared error", .diverged_above = c->eval.diverged_above };
    if (code == AG_OK)
        code = xp_log_scores(r->x, &result, err);
    meta_scorer_free(sc);
    ag_free(seeds);
    return ag_trail(err, code, __func__);
}

static bool tests_best(const maml_run *r)
{
    return xp_is(r->c->eval.select, "best") && r->has_best;
}

static int shot_counts(const maml_run *r)
{
    return r->c->eval.n_shots > 0 ? r->c->eval.n_shots : 1;
}

/* The last parameters are reported besides the chosen ones. */
static int protocols(const maml_run *r)
{
    return shot_counts(r) * (tests_best(r) ? 2 : 1);
}

/* The next shot count; with batch norm the protocol's name says how the query was normalised. */
static ag_code test_next(maml_run *r, ag_error *err)
{
    const xp_eval *c = &r->c->eval;
    bool norm = xp_is(r->c->model.norm, "batch"), best = tests_best(r), last = best && r->tested >= shot_counts(r);
    int64_t shot = c->n_shots > 0 ? c->shots[r->tested % c->n_shots] : r->c->tasks.shot;
    double *scores = NULL;
    char name[64];
    snprintf(name, sizeof name, "%lld-shot%s%s%s", (long long)shot, norm ? "-" : "", norm ? c->protocol : "", last ? "-last" : "");
    AG_TRY(err, make_scores(&scores, c->episodes, c->steps, err));
    ag_code code = score(r, best && !last ? &r->best : &r->state, shot, name, scores, err);
    ag_free(scores);
    r->tested += code == AG_OK;
    return ag_trail(err, code, __func__);
}

/* ---- steps ---- */

static bool validation_due(const maml_run *r)
{
    int64_t every = r->c->eval.validate_every;
    return every > 0 && r->done > r->validated && r->done % every == 0;
}

static ag_code step(void *run, bool *finished, ag_error *err)
{
    maml_run *r = run;
    if (validation_due(r))
        return validate(r, err);
    if (r->done < r->c->outer.iterations)
        return train_once(r, err);
    if (r->tested < protocols(r))
        return test_next(r, err);
    *finished = true;
    return AG_OK;
}

static ag_code store(void *run, ag_error *err)
{
    maml_run *r = run;
    const meta_state *s = tests_best(r) ? &r->best : &r->state;
    AG_TRY(err, xp_results_system(r->x->results, "learner_bytes", (double)meta_learner_bytes(r->learner), "byte", err));
    AG_TRY(err, xp_store_parameters(r->x, &r->model, "", s->values, err));
    return xp_results_parameter(r->x->results, "inner_lr", 1, &s->n_rate, s->values + s->n_value, err);
}

const xp_run_kind xp_kind_maml = {
    .open = open_run, .step = step, .state = state, .restore = restore, .store = store, .replay = replay, .close = close_run,
};
