/* Runs of MAML and its kin (FOMAML, ANIL, Reptile, iMAML, ProtoNet, joint and multitask training, none): train, validate,
 * test, step by step (run_internal.h). */
#include "experiments/run_maml.h"

#include "autograd/random.h"

#include <math.h>
#include <string.h>

/* ---- making ---- */

static meta_head head_of(const char *head)
{
    return xp_is(head, "prototype") ? META_HEAD_PROTOTYPE : xp_is(head, "centroid") ? META_HEAD_CENTROID : META_HEAD_MODEL;
}

meta_head xp_test_head(const xp_config *c)
{
    return head_of(xp_is(c->eval.head, "same") ? c->model.head : c->eval.head);
}

/* Algorithms that look at no support while training. */
static bool trains_without_steps(const xp_config *c)
{
    static const char *const names[] = { "joint", "protonet", "multitask", "none" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (xp_is(c->outer.algorithm, names[i]))
            return true;
    return false;
}

meta_options xp_learner_options(const xp_maml_run *r, const xp_episode_size *size)
{
    const xp_config *c = r->c;
    return (meta_options){
        .algorithm = xp_is(c->outer.algorithm, "reptile") ? META_REPTILE : xp_is(c->outer.algorithm, "imaml") ? META_IMAML : META_MAML,
        .loss = r->labels ? META_CROSS_ENTROPY : r->language ? META_NEXT_TOKEN : META_MSE,
        .support_scale = xp_is(c->inner.loss_scale, "per-shot") ? (double)c->tasks.way : 1,
        .inner_lr = c->inner.lr,
        .rule = xp_is(c->inner.rule, "adam") ? META_RULE_ADAM : META_RULE_SGD,
        .rate_scope = xp_is(c->inner.lr_scope, "element") ? META_RATE_ELEMENT
                    : xp_is(c->inner.lr_scope, "tensor") ? META_RATE_TENSOR : META_RATE_ALL,
        .learn_rates = c->inner.learn_lr,
        .first_order = xp_is(c->outer.algorithm, "fomaml") || xp_is(c->outer.algorithm, "none") || xp_is(c->inner.rule, "adam"),
        .adapt_norm = c->model.adapt_norm,
        .head_only = xp_is(c->outer.algorithm, "anil"),
        .proximal = c->inner.proximal,
        .cg_steps = c->outer.cg_steps,
        .head = head_of(c->model.head),
        .similarity = xp_is(c->model.similarity, "euclidean") ? META_SIMILARITY_EUCLIDEAN : META_SIMILARITY_COSINE,
        .head_scale = c->model.head_scale,
        .way = c->tasks.way,
        .dropout = c->adapter.dropout > 0,
        .train_steps = trains_without_steps(c) ? 0 : c->inner.steps,
        .n_support = size->way * size->shot,
        .n_query = size->way * size->query,
        .support_capacity = size->support_capacity,
        .query_capacity = size->query_capacity,
        .chunk = c->outer.chunk,
        .keep_bytes = c->outer.keep_memory * 1000000,
        .threads = r->x->o->threads,
    };
}

ag_code xp_learner_make(const xp_maml_run *r, const meta_options *o, int64_t n_class, xp_learner *l, ag_error *err)
{
    AG_TRY(err, xp_make_model(r->x, &r->base, r->source, &(xp_wish){ .n_class = n_class }, &l->model, err));
    return meta_learner_new(&l->learner, &l->model, o, err);
}

void xp_learner_release(xp_learner *l)
{
    meta_learner_free(l->learner);
    nn_model_release(&l->model);
}

/* The training learner: multitask's has one layer for all training classes, whose labels are fixed. */
static ag_code make_learner(xp_maml_run *r, ag_error *err)
{
    xp_episode_size *size = &r->x->train;
    bool multitask = xp_is(r->c->outer.algorithm, "multitask");
    size->fixed_labels = multitask;
    AG_TRY(err, xp_size_episode(r->source, AG_STREAM_TRAIN, size, err));
    meta_options o = xp_learner_options(r, size);
    int64_t classes = multitask ? xp_source_classes(r->source, AG_STREAM_TRAIN) : o.head == META_HEAD_MODEL ? r->c->tasks.way : 0;
    o.head = multitask ? META_HEAD_MODEL : o.head;
    AG_TRY(err, xp_learner_make(r, &o, classes, &r->train, err));
    return xp_make_test_learner(r, err);
}

/* LoRA+: the rate of each number. */
static ag_code make_rate_scale(xp_maml_run *r, ag_error *err)
{
    const nn_model *m = &r->train.model;
    if (r->c->adapter.lr_ratio == 1 || !r->base.adapter)
        return AG_OK;
    r->rate_scale = ag_alloc((size_t)r->state.n * sizeof *r->rate_scale);
    AG_REQUIRE(r->rate_scale, err, AG_ENOMEM, "run: no memory for %lld rates", (long long)r->state.n);
    for (int64_t i = 0; i < r->state.n; i++)
        r->rate_scale[i] = 1;
    for (int p = 0; p < m->n_param; p++)
        for (int64_t i = 0; m->param[p].rate > 0 && i < m->param[p].numel; i++)
            r->rate_scale[m->param[p].offset + i] = (ag_real)m->param[p].rate;
    return AG_OK;
}

static ag_code make_importance(xp_maml_run *r, ag_error *err)
{
    if (!r->base.adapter || !xp_is(r->c->adapter.kind, "adalora"))
        return AG_OK;
    for (int i = 0; i < 2; i++) {
        r->importance[i] = ag_alloc_zero((size_t)meta_adapter_values(r->base.adapter) * sizeof *r->importance[i]);
        AG_REQUIRE(r->importance[i], err, AG_ENOMEM, "run: no memory for AdaLoRA's importances");
    }
    return AG_OK;
}

static ag_code make_validator(xp_maml_run *r, ag_error *err)
{
    const xp_config *c = r->c;
    r->validation = (xp_episode_size){ .way = c->tasks.way, .shot = c->tasks.shot, .query = xp_query_at_test(c) };
    int64_t n = c->eval.validation_episodes;
    r->validated = -1;
    if (c->eval.validate_every == 0)
        return AG_OK;
    AG_TRY(err, xp_size_episode(r->source, AG_STREAM_VALIDATION, &r->validation, err));
    if (!xp_features_stay(r, r->source))
        AG_TRY(err, xp_make_scorer(r, &r->validation, xp_last_step(c), &r->validator, err));
    r->scores = ag_alloc_zero((size_t)(2 * n) * sizeof *r->scores);
    AG_REQUIRE(r->scores, err, AG_ENOMEM, "run: no memory for the scores of %lld episodes", (long long)n);
    return AG_OK;
}

static ag_code make(xp_maml_run *r, ag_error *err)
{
    AG_TRY(err, xp_base_open(&r->base, r->x, err));
    AG_TRY(err, xp_open_source(r->x, &r->c->tasks, r->c->seed, r->base.tokenizer, &r->source, err));
    xp_example_shape shape = xp_source_example(r->source);
    r->labels = shape.labels;
    r->language = shape.text && !shape.labels;
    AG_TRY(err, make_learner(r, err));
    AG_TRY(err, meta_state_init(&r->state, r->train.learner, r->c->seed, err));
    AG_TRY(err, meta_state_init(&r->best, r->train.learner, r->c->seed, err));
    AG_TRY(err, make_rate_scale(r, err));
    AG_TRY(err, make_importance(r, err));
    meta_optimizer_options more = { .n_decay = r->state.n_value, .scale = r->rate_scale };
    AG_TRY(err, xp_make_optimizer(r->x, &more, r->state.n, &r->optimizer, err));
    r->grad = ag_alloc_zero((size_t)(r->state.n > 0 ? r->state.n : 1) * sizeof *r->grad);
    AG_REQUIRE(r->grad, err, AG_ENOMEM, "run: no memory for a gradient of %lld numbers", (long long)r->state.n);
    return make_validator(r, err);
}

static void close_run(void *run)
{
    xp_maml_run *r = run;
    if (!r)
        return;
    meta_scorer_free(r->validator);
    meta_optimizer_release(&r->optimizer);
    meta_state_release(&r->state);
    meta_state_release(&r->best);
    xp_learner_release(&r->train);
    xp_learner_release(&r->test);
    xp_source_close(r->source);
    xp_base_close(&r->base);
    xp_features_free(r->features);
    ag_free(r->rate_scale);
    ag_free(r->importance[0]);
    ag_free(r->importance[1]);
    ag_free(r->grad);
    ag_free(r->scores);
    ag_free(r);
}

static ag_code open_run(xp_context *x, void **run, ag_error *err)
{
    xp_maml_run *r = ag_alloc_zero(sizeof *r);
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
    xp_maml_run *r = run;
    size_t moments = (size_t)r->optimizer.n * sizeof *r->optimizer.first;
    size_t importance = r->importance[0] ? (size_t)meta_adapter_values(r->base.adapter) * sizeof *r->importance[0] : 0;
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
        { "adalora.sensitivity", r->importance[0], importance },
        { "adalora.uncertainty", r->importance[1], importance },
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

/* Mean over the validation episodes after the last step; the best so far (of classes by accuracy, else by loss) is kept. */
static ag_code validate(xp_maml_run *r, ag_error *err)
{
    const xp_config *c = r->c;
    int64_t n = c->eval.validation_episodes;
    double *loss = r->scores, *accuracy = r->scores + n, sums[2] = { 0, 0 };
    AG_TRY(err, xp_score_validation(r, r->scores, err));
    for (int64_t i = 0; i < n; i++) {
        sums[0] += loss[i] / (double)n;
        sums[1] += accuracy[i] / (double)n;
    }
    AG_TRY(err, xp_log_validation(r->x, &(xp_validation_row){ r->done, sums[0], r->labels || r->language ? sums[1] : NAN }, err));
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

static meta_batch batch_of(xp_maml_run *r, xp_episodes *e, int64_t n_task)
{
    return (meta_batch){ .n_task = n_task, .fetch = xp_fetch, .ctx = e,
                         .seed = r->c->seed * 0x9E3779B97F4A7C15u + (uint64_t)r->done + 1 };
}

/* AdaLoRA's budget: falls over the middle half of the iterations. */
static void prune(xp_maml_run *r)
{
    const xp_adapter *c = &r->c->adapter;
    int64_t first = c->rank * meta_adapter_modules(r->base.adapter), last = c->budget > 0 ? c->budget : first / 2;
    int64_t n = r->c->outer.iterations, budget = meta_adalora_budget(first, last, r->done, n / 4, n / 4, n);
    meta_adalora_importance(r->base.adapter, r->state.values, r->grad, 0.85, 0.85, r->importance[0], r->importance[1]);
    meta_adalora_prune(r->base.adapter, r->state.values, r->importance[0], r->importance[1], budget);
}

/* Writes first, moves the parameters then: a row that could not be written leaves them as they were. */
static ag_code train_once(xp_maml_run *r, ag_error *err)
{
    const xp_config *c = r->c;
    xp_episodes e = { r->x, r->source, { c->seed, AG_STREAM_TRAIN, (uint64_t)r->done, 0 }, r->x->train };
    meta_batch b = batch_of(r, &e, c->outer.meta_batch);
    meta_report report;
    ag_code code = meta_outer_gradient(r->train.learner, &r->state, &b, r->grad, &report, err);
    if (code == AG_ENAN)
        return xp_fail_nan(r->x, r->done + 1, report.bad_task, err);
    AG_TRY(err, code);
    if (r->importance[0])
        meta_adalora_penalty(r->base.adapter, r->state.values, c->adapter.orthogonality, r->grad);
    double norm = meta_norm(r->state.n, r->grad), lr = xp_outer_rate(c, r->done);
    AG_TRY(err, xp_log_train(r->x, &(xp_train_row){ r->done + 1, report.support_loss, report.query_loss, report.query_accuracy, norm,
                                                    lr, 0 }, err));
    meta_optimizer_step(&r->optimizer, lr, r->grad, r->state.values);
    r->done++;
    if (r->importance[0])
        prune(r);
    xp_progress_update(&r->x->progress, r->done, report.query_loss);
    return AG_OK;
}

static ag_code replay(void *run, int64_t iteration, int64_t task, xp_episode_report *report, ag_error *err)
{
    xp_maml_run *r = run;
    meta_report mean;
    for (; r->done < iteration - 1; report->trained++) {
        AG_TRY(err, xp_check_stop(r->x, err));
        AG_TRY(err, train_once(r, err));
    }
    xp_episodes e = { r->x, r->source, { r->c->seed, AG_STREAM_TRAIN, (uint64_t)r->done, (uint64_t)task }, r->x->train };
    meta_batch b = batch_of(r, &e, 1);
    ag_error why = { 0 };
    ag_code code = meta_outer_gradient(r->train.learner, &r->state, &b, r->grad, &mean, &why);
    if (code != AG_OK && code != AG_ENAN)
        return ag_fail(err, code, "%.1900s", why.message);
    report->finite = code == AG_OK;
    report->support_loss = mean.support_loss;
    report->query_loss = mean.query_loss;
    report->query_accuracy = mean.query_accuracy;
    report->grad_norm = meta_norm(r->state.n, r->grad);
    return AG_OK;
}

/* ---- steps ---- */

/* The start is validated too: it is one of those that eval.select chooses from. */
static bool validation_due(const xp_maml_run *r)
{
    int64_t every = r->c->eval.validate_every;
    return every > 0 && r->done > r->validated && r->done % every == 0;
}

static ag_code step(void *run, bool *finished, ag_error *err)
{
    xp_maml_run *r = run;
    if (validation_due(r))
        return validate(r, err);
    if (r->done < r->c->outer.iterations)
        return train_once(r, err);
    if (r->tested < xp_test_count(r))
        return xp_test_next(r, err);
    *finished = true;
    return AG_OK;
}

static ag_code store(void *run, ag_error *err)
{
    xp_maml_run *r = run;
    const meta_state *s = xp_tests_best(r) ? &r->best : &r->state;
    if (r->base.net)
        AG_TRY(err, xp_results_base(r->x->results, r->base.net->digest, err));
    AG_TRY(err, xp_results_system(r->x->results, "learner_bytes", (double)meta_learner_bytes(r->train.learner), "byte", err));
    AG_TRY(err, xp_store_parameters(r->x, &r->train.model, "", s->values, err));
    return xp_results_parameter(r->x->results, "inner_lr", 1, &s->n_rate, s->values + s->n_value, err);
}

const xp_run_kind xp_kind_maml = {
    .open = open_run, .step = step, .state = state, .restore = restore, .store = store, .replay = replay, .close = close_run,
};
