/* Scores of episodes of texts whose features no episode moves: each text goes through the network once, then the head works
 * on arrays (run_maml.h). The episodes are those that the network itself would be scored on. */
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

/* ---- features of every text of a split ---- */

typedef struct xp_feature_table {
    char source[32];                     /* whose texts, of which split, */
    uint64_t stream;
    const meta_state *trained;           /* at whose parameters: these do not move between two tests */
    int64_t n, rows, d;                  /* texts; the highest number + 1; width */
    int64_t *index, *start, *length;     /* [n] */
    ag_real *some, *all, *w;             /* [n][d], [rows][d], a layer of no account */
    ag_real *score;                      /* [n] */
} table;

void xp_features_free(table *t)
{
    if (!t)
        return;
    void *arrays[] = { t->index, t->start, t->length, t->some, t->all, t->w, t->score };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        ag_free(arrays[i]);
    ag_free(t);
}

static ag_code table_init(table *t, const xp_source *source, uint64_t stream, int64_t d, xp_text_tokens *tokens, ag_error *err)
{
    t->n = xp_source_texts(source, stream, NULL, NULL);
    t->d = d;
    size_t n = (size_t)t->n;
    t->index = ag_alloc(n * sizeof *t->index);
    t->start = ag_alloc(n * sizeof *t->start);
    t->length = ag_alloc(n * sizeof *t->length);
    AG_REQUIRE(n > 0 && t->index && t->start && t->length, err, n ? AG_ENOMEM : AG_ECONFIG, "run: %s for the features of %zu texts",
               n ? "no memory" : "nothing to test", n);
    xp_source_texts(source, stream, t->index, tokens);
    for (int64_t i = 0; i < t->n; i++) {
        t->start[i] = tokens->start[t->index[i]];
        t->length[i] = tokens->length[t->index[i]];
        t->rows = t->index[i] >= t->rows ? t->index[i] + 1 : t->rows;
    }
    t->some = ag_alloc((size_t)(t->n * d) * sizeof *t->some);
    t->all = ag_alloc_zero((size_t)(t->rows * d) * sizeof *t->all);
    t->w = ag_alloc_zero((size_t)(d + 1) * sizeof *t->w);
    t->score = ag_alloc((size_t)t->n * sizeof *t->score);
    AG_REQUIRE(t->some && t->all && t->w && t->score, err, AG_ENOMEM, "run: no memory for the features of %lld texts", (long long)t->n);
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

static ag_code head_init(head_test *h, const xp_maml_run *r, const xp_episode_size *size, int64_t d, const meta_state *trained, ag_error *err)
{
    const xp_config *c = r->c;
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
                               .inner_lr = c->eval.lr };
    return meta_scorer_new(&h->scorer, h->learner, &so, err);
}

static void head_release(head_test *h)
{
    meta_scorer_free(h->scorer);
    meta_state_release(&h->state);
    meta_learner_free(h->learner);
    nn_model_release(&h->identity);
}

static ag_code score(xp_maml_run *r, xp_source *source, table *t, const xp_episode_size *size, uint64_t stream, const meta_state *s,
                     int64_t n, double *scores, ag_error *err)
{
    head_test h = { 0 };
    xp_episodes e = { r->x, source, { r->c->eval.seed, stream, 0, 0 }, { .way = size->way, .shot = size->shot, .query = size->query } };
    AG_TRY(err, xp_source_use_features(source, t->all, t->d, err));
    ag_code code = head_init(&h, r, &e.size, t->d, s, err);
    meta_batch b = { .n_task = n, .fetch = xp_fetch, .ctx = &e };
    if (code == AG_OK)
        code = meta_scorer_run(h.scorer, &h.state, &b, scores, scores + n * (r->c->eval.steps + 1), err);
    head_release(&h);
    return code;
}

static bool is_of(const table *t, const char *name, uint64_t stream, const meta_state *trained)
{
    return t && stream == AG_STREAM_TEST && t->stream == stream && t->trained == trained && xp_is(t->source, name);
}

static ag_code make_table(xp_maml_run *r, const xp_source *source, const char *name, uint64_t stream, const meta_state *trained,
                          ag_error *err)
{
    const nn_model *m = r->test.learner ? &r->test.model : &r->train.model;
    xp_text_tokens tokens;
    meta_state s;
    xp_features_free(r->features);
    table *t = r->features = ag_alloc_zero(sizeof *t);
    AG_REQUIRE(t, err, AG_ENOMEM, "run: no memory for features");
    AG_TRY(err, table_init(t, source, stream, m->options.n_out, &tokens, err));
    AG_TRY(err, xp_test_state(r, trained, &s, err));
    ag_code code = fill(t, r, m, &tokens, &s, err);
    xp_test_state_release(r, &s);
    AG_TRY(err, code);
    snprintf(t->source, sizeof t->source, "%s", name);   /* from now on it is one */
    t->stream = stream;
    t->trained = trained;
    return AG_OK;
}

ag_code xp_score_by_features(xp_maml_run *r, xp_source *source, const char *name, const xp_episode_size *size, uint64_t stream,
                             const meta_state *trained, int64_t n, double *scores, ag_error *err)
{
    ag_code code = AG_OK;
    if (!is_of(r->features, name, stream, trained))
        code = make_table(r, source, name, stream, trained, err);
    if (code == AG_OK)
        code = score(r, source, r->features, size, stream, trained, n, scores, err);
    return ag_trail(err, code, __func__);
}
