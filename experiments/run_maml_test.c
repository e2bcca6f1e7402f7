/* Validation and test of a run: which episodes of which source, with which head, after which inner steps (run_maml.h). */
#include "experiments/run_maml.h"

#include "autograd/random.h"

#include <string.h>

int64_t xp_query_at_test(const xp_config *c)
{
    return c->eval.query > 0 ? c->eval.query : c->tasks.query;
}

/* ---- learners and scorers ---- */

static bool own_layer(const xp_maml_run *r)
{
    return r->labels && xp_is(r->c->outer.algorithm, "multitask");
}

ag_code xp_make_test_learner(xp_maml_run *r, ag_error *err)
{
    meta_head head = xp_test_head(r->c), trained = meta_learner_head(r->train.learner);
    if (!r->labels || (!own_layer(r) && (head == META_HEAD_MODEL) == (trained == META_HEAD_MODEL)))
        return AG_OK;
    meta_options o = xp_learner_options(r, &r->x->train);
    o.head = head;
    o.train_steps = 0;
    o.first_order = true;
    return xp_learner_make(r, &o, head == META_HEAD_MODEL ? r->c->tasks.way : 0, &r->test, err);
}

ag_code xp_make_scorer(xp_maml_run *r, const xp_episode_size *size, xp_steps steps, meta_scorer **sc, ag_error *err)
{
    const xp_config *c = r->c;
    meta_scorer_options o = {
        .n_support = size->way * size->shot, .n_query = size->way * size->query, .steps = c->eval.steps,
        .score = steps.at, .n_score = steps.n,
        .inductive = xp_is(c->eval.protocol, "inductive") && xp_is(c->model.norm, "batch"), .inner_lr = c->eval.lr,
        .other_head = r->labels, .head = xp_test_head(c), .way = size->way,
        .support_capacity = size->support_capacity, .query_capacity = size->query_capacity,
    };
    return meta_scorer_new(sc, r->test.learner ? r->test.learner : r->train.learner, &o, err);
}

/* What the test learner's model has in common with the trained one stands at the front of both. */
ag_code xp_test_state(const xp_maml_run *r, const meta_state *trained, meta_state *s, ag_error *err)
{
    if (!r->test.learner) {
        *s = *trained;
        return AG_OK;
    }
    AG_TRY(err, meta_state_init(s, r->test.learner, r->c->seed, err));
    int64_t common = 0;
    const nn_model *a = &r->train.model, *b = &r->test.model;
    for (int p = 0; p < a->n_param && p < b->n_param && strcmp(a->param[p].name, b->param[p].name) == 0 &&
                    a->param[p].numel == b->param[p].numel; p++)
        common = a->param[p].offset + a->param[p].numel;
    memcpy(s->values, trained->values, (size_t)common * sizeof *s->values);
    return AG_OK;
}

void xp_test_state_release(const xp_maml_run *r, meta_state *s)
{
    if (r->test.learner)
        meta_state_release(s);
}

ag_code xp_score_episodes(xp_maml_run *r, meta_scorer *sc, const xp_source *source, const xp_score_wish *wish, const meta_state *trained,
                          double *scores, ag_error *err)
{
    meta_state s;
    meta_scorer *own = NULL;
    xp_episodes e = { r->x, source, { r->c->eval.seed, wish->stream, 0, 0 }, wish->size };
    if (!sc)
        AG_TRY(err, xp_make_scorer(r, &wish->size, wish->steps, &own, err));
    ag_code code = xp_test_state(r, trained, &s, err);
    if (code == AG_OK) {
        meta_batch b = { .n_task = wish->n, .fetch = xp_fetch, .ctx = &e };
        code = meta_scorer_run(sc ? sc : own, &s, &b, scores, scores + wish->n * wish->steps.n, err);
        xp_test_state_release(r, &s);
    }
    meta_scorer_free(own);
    return ag_trail(err, code, __func__);
}

/* ---- the list of tests ---- */

bool xp_tests_best(const xp_maml_run *r)
{
    return xp_is(r->c->eval.select, "best") && r->has_best;
}

static int64_t shot_counts(const xp_maml_run *r)
{
    return r->c->eval.n_shots > 0 ? r->c->eval.n_shots : 1;
}

static int64_t source_counts(const xp_maml_run *r)
{
    return r->c->eval.n_tests > 0 ? r->c->eval.n_tests : 1;
}

int64_t xp_test_count(const xp_maml_run *r)
{
    return source_counts(r) * shot_counts(r) * (xp_tests_best(r) ? 2 : 1);
}

/* One test: number i counts shots fastest, then sources, then the chosen parameters before the last ones. */
typedef struct test_case {
    bool last;
    const char *entry;                   /* of eval.tests; NULL: the training source */
    char source[64], name[128];
    xp_episode_size size;
} test_case;

static test_case test_at(const xp_maml_run *r, int64_t i)
{
    const xp_config *c = r->c;
    bool norm = xp_is(c->model.norm, "batch");
    test_case t = { .last = i >= source_counts(r) * shot_counts(r),
                    .size = { .way = c->tasks.way, .shot = c->tasks.shot, .query = xp_query_at_test(c) } };
    if (c->eval.n_shots > 0)
        t.size.shot = c->eval.shots[i % c->eval.n_shots];
    char where[96] = "";
    if (c->eval.n_tests > 0) {
        size_t length = 0;
        int64_t way = 0;
        t.entry = c->eval.tests[i / shot_counts(r) % c->eval.n_tests];
        xp_test_split(t.entry, &length, &way);
        snprintf(t.source, sizeof t.source, "%.*s", (int)length, t.entry);
        t.size.way = way > 0 ? way : t.size.way;
        snprintf(where, sizeof where, "%s-%lld-way-", t.source, (long long)t.size.way);
    }
    snprintf(t.name, sizeof t.name, "%s%lld-shot%s%s%s", where, (long long)t.size.shot, norm ? "-" : "", norm ? c->eval.protocol : "",
             t.last ? "-last" : "");
    return t;
}

bool xp_test_size(const xp_maml_run *r, int64_t i, const char *source, xp_episode_size *size)
{
    const test_case t = test_at(r, i);
    *size = t.size;
    return xp_is(t.entry ? t.source : r->c->tasks.source, source);
}

/* Another source than the training one has all its classes for test, and takes them from everywhere. */
static xp_tasks tasks_of(const xp_maml_run *r, const test_case *t)
{
    xp_tasks tasks = r->c->tasks;
    if (!t->entry || xp_is(t->source, tasks.source))
        return tasks;
    tasks.source = t->source;
    tasks.classes_from = "all";
    memset(tasks.class_split, 0, sizeof tasks.class_split);
    memset(tasks.split_domains, 0, sizeof tasks.split_domains);
    return tasks;
}

/* ---- running one ---- */

static ag_code log_scores(xp_maml_run *r, const test_case *t, double *scores, uint64_t *seeds, ag_error *err)
{
    int64_t n = r->c->eval.episodes;
    const xp_steps steps = xp_test_steps(r->c);
    for (int64_t i = 0; i < n; i++)
        seeds[i] = (uint64_t)i;
    xp_scores result = { .protocol = t->name, .n_episode = n, .n_score = steps.n, .step = steps.at, .loss = scores,
                         .accuracy = r->labels || r->language ? scores + n * steps.n : NULL, .episode_seed = seeds,
                         .loss_unit = xp_loss_unit(r->c), .diverged_above = r->c->eval.diverged_above };
    return xp_log_scores(r->x, &result, err);
}

static ag_code score_on(xp_maml_run *r, const xp_tasks *tasks, xp_score_wish wish, const meta_state *s, double *scores, ag_error *err)
{
    xp_source *source;
    r->x->hush = xp_is(tasks->source, r->c->tasks.source);
    AG_TRY(err, xp_open_source(r->x, tasks, r->c->seed, r->base.tokenizer, &source, err));
    ag_code code;
    if (xp_features_stay(r, source)) {
        code = xp_score_by_features(r, source, tasks->source, &wish, s, scores, err);
    } else {
        code = xp_size_episode(source, wish.stream, &wish.size, err);
        if (code == AG_OK)
            code = xp_score_episodes(r, NULL, source, &wish, s, scores, err);
    }
    xp_source_close(source);
    return ag_trail(err, code, __func__);
}

ag_code xp_score_validation(xp_maml_run *r, double *scores, ag_error *err)
{
    const xp_score_wish wish = { r->validation, AG_STREAM_VALIDATION, r->c->eval.validation_episodes, xp_last_step(r->c) };
    if (r->validator)
        return xp_score_episodes(r, r->validator, r->source, &wish, &r->state, scores, err);
    return score_on(r, &r->c->tasks, wish, &r->state, scores, err);
}

ag_code xp_test_next(xp_maml_run *r, ag_error *err)
{
    test_case t = test_at(r, r->tested);
    int64_t n = r->c->eval.episodes;
    const xp_score_wish wish = { t.size, AG_STREAM_TEST, n, xp_test_steps(r->c) };
    double *scores = ag_alloc_zero((size_t)(2 * n * wish.steps.n) * sizeof *scores);
    uint64_t *seeds = ag_alloc((size_t)n * sizeof *seeds);
    ag_code code = scores && seeds ? AG_OK : ag_fail(err, AG_ENOMEM, "run: no memory for the scores of %lld episodes", (long long)n);
    const meta_state *s = xp_tests_best(r) && !t.last ? &r->best : &r->state;
    const xp_tasks tasks = tasks_of(r, &t);
    if (code == AG_OK)
        code = score_on(r, &tasks, wish, s, scores, err);
    if (code == AG_OK)
        code = log_scores(r, &t, scores, seeds, err);
    ag_free(scores);
    ag_free(seeds);
    r->tested += code == AG_OK;
    return ag_trail(err, code, __func__);
}
