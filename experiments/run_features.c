/* Scores of episodes of texts whose features no episode moves: each text that they are made of goes through the network once,
 * then the head works on arrays (run_maml.h). The episodes are those that the network itself would be scored on. */
#include "experiments/run_maml.h"

#include "autograd/random.h"
#include "meta/task.h"

#include <string.h>

enum { TOGETHER = 32, TOKENS = 384, PIECE = 768 };   /* texts and tokens in one forward pass; texts between two looks at the stop */

bool xp_features_stay(const xp_maml_run *r, const xp_source *source)
{
    const nn_model *m = r->test.learner ? &r->test.model : &r->train.model;
    bool head_moves_alone = m->n_param == 0 || xp_is(r->c->outer.algorithm, "anil");
    return xp_source_example(source).text && r->labels && xp_test_head(r->c) != META_HEAD_MODEL &&
           (r->c->eval.steps == 0 || head_moves_alone);
}

/* ---- features of the texts of all tests of a source ---- */

typedef struct xp_feature_table {
    char source[32];                     /* whose texts, of which split, */
    uint64_t stream;
    const meta_state *trained;           /* at whose parameters: these do not move between two tests */
    int64_t n, rows, d;                  /* texts that episodes need; the highest number of the split's + 1; width */
    bool *needed;                        /* [rows] */
    int64_t *index, *start, *length;     /* [n] */
    ag_real *some, *all, *w;             /* [n][d], [rows][d], a layer of no account */
    ag_real *score;                      /* [n] */
} table;

void xp_features_free(table *t)
{
    if (!t)
        return;
    void *arrays[] = { t->needed, t->index, t->start, t->length, t->some, t->all, t->w, t->score };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        ag_free(arrays[i]);
    ag_free(t);
}

/* The split's texts: index and rows. */
static ag_code list_texts(table *t, const xp_source *source, uint64_t stream, xp_text_tokens *tokens, ag_error *err)
{
    t->n = xp_source_texts(source, stream, NULL, NULL);
    AG_REQUIRE(t->n > 0, err, AG_ECONFIG, "run: nothing to test");
    t->index = ag_alloc((size_t)t->n * sizeof *t->index);
    AG_REQUIRE(t->index, err, AG_ENOMEM, "run: no memory for the numbers of %lld texts", (long long)t->n);
    xp_source_texts(source, stream, t->index, tokens);
    for (int64_t i = 0; i < t->n; i++)
        t->rows = t->index[i] >= t->rows ? t->index[i] + 1 : t->rows;
    t->needed = ag_alloc_zero((size_t)t->rows * sizeof *t->needed);
    AG_REQUIRE(t->needed, err, AG_ENOMEM, "run: no memory for marks of %lld texts", (long long)t->rows);
    return AG_OK;
}

/* Marks what `wish->n` episodes of this size are made of. */
static ag_code mark_episodes(table *t, const xp_maml_run *r, const xp_source *source, const xp_score_wish *wish, const xp_episode_size *size,
                             ag_error *err)
{
    const int64_t n = size->way * (size->shot + size->query);
    int64_t *picks = ag_alloc((size_t)n * sizeof *picks);
    AG_REQUIRE(picks, err, AG_ENOMEM, "run: no memory for an episode of %lld texts", (long long)n);
    ag_code code = AG_OK;
    for (int64_t task = 0; task < wish->n && code == AG_OK; task++) {
        code = xp_check_stop(r->x, err);
        if (code == AG_OK)
            code = xp_source_picks(source, &(xp_episode_id){ r->c->eval.seed, wish->stream, 0, (uint64_t)task }, size, picks, err);
        for (int64_t i = 0; i < n && code == AG_OK; i++)
            t->needed[picks[i]] = true;
    }
    ag_free(picks);
    return code;
}

/* Of a test: the texts of all tests of the source, so that the table serves them all and is the same one whichever comes
 * first, as after a resumption. */
static ag_code mark(table *t, const xp_maml_run *r, const xp_source *source, const char *name, const xp_score_wish *wish, ag_error *err)
{
    xp_episode_size size;
    if (wish->stream != AG_STREAM_TEST)
        return mark_episodes(t, r, source, wish, &wish->size, err);
    const int64_t n = xp_test_count(r) / (xp_tests_best(r) ? 2 : 1);
    for (int64_t i = 0; i < n; i++)
        if (xp_test_size(r, i, name, &size))
            AG_TRY(err, mark_episodes(t, r, source, wish, &size, err));
    return AG_OK;
}

/* Keeps the marked ones, in their order. */
static ag_code table_init(table *t, const xp_text_tokens *tokens, int64_t d, ag_error *err)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < t->n; i++)
        if (t->needed[t->index[i]])
            t->index[kept++] = t->index[i];
    t->n = kept;
    t->d = d;
    t->start = ag_alloc((size_t)t->n * sizeof *t->start);
    t->length = ag_alloc((size_t)t->n * sizeof *t->length);
    t->some = ag_alloc((size_t)(t->n * d) * sizeof *t->some);
    t->all = ag_alloc_zero((size_t)(t->rows * d) * sizeof *t->all);
    t->w = ag_alloc_zero((size_t)(d + 1) * sizeof *t->w);
    t->score = ag_alloc((size_t)t->n * sizeof *t->score);
    AG_REQUIRE(t->start && t->length && t->some && t->all && t->w && t->score, err, AG_ENOMEM,
               "run: no memory for the features of %lld texts", (long long)t->n);
    for (int64_t i = 0; i < t->n; i++) {
        t->start[i] = tokens->start[t->index[i]];
        t->length[i] = tokens->length[t->index[i]];
    }
    return AG_OK;
}

static ag_code fill(table *t, const xp_maml_run *r, const nn_model *m, const xp_text_tokens *tokens, const meta_state *s, ag_error *err)
{
    meta_scores *sc;
    int64_t length = m->max_tokens, room = TOGETHER * length;
    meta_scores_options o = { .way = 1, .n = TOGETHER, .tokens = length < TOKENS && TOKENS < room ? TOKENS : room, .threads = r->x->o->threads };
    AG_TRY(err, meta_scores_new(&sc, m, &o, err));
    ag_code code = AG_OK;
    for (int64_t at = 0; at < t->n && code == AG_OK; at += PIECE) {
        int64_t n = t->n - at < PIECE ? t->n - at : PIECE;
        meta_examples x = { .n = n, .ids = tokens->ids, .start = t->start + at, .length = t->length + at };
        code = xp_check_stop(r->x, err);
        if (code == AG_OK)
            code = meta_scores_run(sc, &(meta_adapted){ .values = s->values, .w = t->w, .b = t->w + t->d }, &x, t->score, t->some + at * t->d, err);
    }
    meta_scores_free(sc);
    for (int64_t i = 0; i < t->n; i++)
        memcpy(t->all + t->index[i] * t->d, t->some + i * t->d, (size_t)t->d * sizeof *t->all);
    return code;
}

/* ---- the head on them ---- */

/* The rates of a head that was meta-learned are the last ones. */
static void take_rates(const meta_state *trained, meta_state *s)
{
    for (int64_t i = 0; i < s->n_rate; i++) {
        int64_t from = trained->n_rate - s->n_rate + i;
        s->values[s->n_value + i] = trained->values[trained->n_value + (from > 0 ? from : 0)];
    }
}

typedef struct head_test {
    nn_model identity;
    meta_learner *learner;
    meta_state state;
    meta_scorer *scorer;
} head_test;

static ag_code head_init(head_test *h, const xp_maml_run *r, const xp_score_wish *wish, int64_t d, const meta_state *trained, ag_error *err)
{
    const xp_config *c = r->c;
    const xp_episode_size *size = &wish->size;
    AG_TRY(err, nn_model_init(&h->identity, &(nn_options){ .kind = "mlp", .x_ndim = 1, .x_shape = { d }, .n_out = 1, .features = true }, err));
    meta_options o = xp_learner_options(r, size);
    o.algorithm = META_MAML;
    o.head = xp_test_head(c);
    o.way = size->way;
    o.first_order = true;
    o.learn_rates = o.head_only = o.dropout = false;
    o.train_steps = o.support_capacity = o.query_capacity = 0;
    AG_TRY(err, meta_learner_new(&h->learner, &h->identity, &o, err));
    AG_TRY(err, meta_state_init(&h->state, h->learner, c->seed, err));
    take_rates(trained, &h->state);
    meta_scorer_options so = { .n_support = size->way * size->shot, .n_query = size->way * size->query, .steps = c->eval.steps,
                               .score = wish->steps.at, .n_score = wish->steps.n, .inner_lr = c->eval.lr };
    return meta_scorer_new(&h->scorer, h->learner, &so, err);
}

static void head_release(head_test *h)
{
    meta_scorer_free(h->scorer);
    meta_state_release(&h->state);
    meta_learner_free(h->learner);
    nn_model_release(&h->identity);
}

static ag_code score(xp_maml_run *r, xp_source *source, table *t, const xp_score_wish *wish, const meta_state *s, double *scores,
                     ag_error *err)
{
    head_test h = { 0 };
    xp_score_wish own = *wish;
    own.size.support_capacity = own.size.query_capacity = 0;
    xp_episodes e = { r->x, source, { r->c->eval.seed, wish->stream, 0, 0 }, own.size };
    AG_TRY(err, xp_source_use_features(source, t->all, t->d, err));
    ag_code code = head_init(&h, r, &own, t->d, s, err);
    meta_batch b = { .n_task = wish->n, .fetch = xp_fetch, .ctx = &e };
    if (code == AG_OK)
        code = meta_scorer_run(h.scorer, &h.state, &b, scores, scores + wish->n * wish->steps.n, err);
    head_release(&h);
    return code;
}

static bool is_of(const table *t, const char *name, uint64_t stream, const meta_state *trained)
{
    return t && stream == AG_STREAM_TEST && t->stream == stream && t->trained == trained && xp_is(t->source, name);
}

static ag_code make_table(xp_maml_run *r, const xp_source *source, const char *name, const xp_score_wish *wish, const meta_state *trained,
                          ag_error *err)
{
    const nn_model *m = r->test.learner ? &r->test.model : &r->train.model;
    xp_text_tokens tokens;
    meta_state s;
    xp_features_free(r->features);
    table *t = r->features = ag_alloc_zero(sizeof *t);
    AG_REQUIRE(t, err, AG_ENOMEM, "run: no memory for features");
    AG_TRY(err, list_texts(t, source, wish->stream, &tokens, err));
    AG_TRY(err, mark(t, r, source, name, wish, err));
    AG_TRY(err, table_init(t, &tokens, m->options.n_out, err));
    AG_TRY(err, xp_test_state(r, trained, &s, err));
    ag_code code = fill(t, r, m, &tokens, &s, err);
    xp_test_state_release(r, &s);
    AG_TRY(err, code);
    snprintf(t->source, sizeof t->source, "%s", name);   /* from now on it is one */
    t->stream = wish->stream;
    t->trained = trained;
    return AG_OK;
}

ag_code xp_score_by_features(xp_maml_run *r, xp_source *source, const char *name, const xp_score_wish *wish, const meta_state *trained,
                             double *scores, ag_error *err)
{
    ag_code code = AG_OK;
    if (!is_of(r->features, name, wish->stream, trained))
        code = make_table(r, source, name, wish, trained, err);
    if (code == AG_OK)
        code = score(r, source, r->features, wish, trained, scores, err);
    return ag_trail(err, code, __func__);
}
