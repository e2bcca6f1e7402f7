/* Adapting to one task: the same numbers as meta_scorer, which goes another way (one program a set, packed episodes). */
#include "autograd/random.h"
#include "meta/network_model.h"
#include "meta/task.h"
#include "tests/meta/adapters.h"
#include "tests/models_made.h"

#define TOLERANCE (sizeof(ag_real) == 8 ? 1e-10 : 2e-5)

enum { WAY = 4, SHOT = 5, QUERY = 3, N = WAY * SHOT, NQ = WAY * QUERY, TOKENS = 9, VOCABULARY = 11 };

/* Texts whose first tokens tell their class; lengths 2 .. TOKENS + 2, so that some are cut. */
typedef struct texts {
    int32_t ids[64 * (TOKENS + 2)], y[64];
    int64_t start[64], length[64], n;
} texts;

static void draw_texts(texts *x, int64_t n, uint64_t seed)
{
    ag_random r;
    int64_t at = 0;
    ag_random_init(&r, seed, AG_STREAM_USER, 0, 0);
    x->n = n;
    for (int64_t i = 0; i < n; i++) {
        x->y[i] = (int32_t)(i % WAY);
        x->start[i] = at;
        x->length[i] = 2 + (int64_t)ag_random_below(&r, TOKENS + 1);
        for (int64_t j = 0; j < x->length[i]; j++)
            x->ids[at++] = (int32_t)(j == 1 ? (uint64_t)x->y[i] : ag_random_below(&r, VOCABULARY));
    }
}

static meta_examples examples_of(const texts *x)
{
    return (meta_examples){ .n = x->n, .ids = x->ids, .start = x->start, .length = x->length };
}

typedef struct world {
    nn_network *net;
    meta_adapter *adapter;
    nn_model model;
    texts support, query;
    ag_real *values;             /* drawn, and noise, so that A and B both move */
} world;

static void world_init(world *w, const char *architecture)
{
    ag_error err = { 0 };
    *w = (world){ .net = tiny_network(architecture) };
    w->adapter = new_adapter(w->net, &(meta_adapter_options){ .rank = 2, .alpha = 4 });
    ck_assert_msg(meta_network_model(&w->model, &(meta_network_model_options){ .net = w->net, .adapter = w->adapter, .max_tokens = TOKENS }, &err)
                  == AG_OK, "%s", err.message);
    w->values = adapter_values(w->adapter, 3, 0.2);
    draw_texts(&w->support, N, 5);
    draw_texts(&w->query, NQ, 6);
}

static void world_release(world *w)
{
    free(w->values);
    nn_model_release(&w->model);
    meta_adapter_free(w->adapter);
    nn_network_close(w->net);
}

static void pack(const nn_model *m, const texts *x, void *out, void *y)
{
    nn_text_shape shape = nn_model_text(m, x->n, 0);
    nn_text_pack(&shape, x->ids, x->start, x->length, out);
    memcpy(y, x->y, (size_t)x->n * sizeof *x->y);
}

static ag_code fetch(void *ctx, int64_t first, int64_t count, void *sx, void *sy, void *qx, void *qy, ag_error *err)
{
    const world *w = ctx;
    (void)err;
    ck_assert_int_eq(first, 0);
    ck_assert_int_eq(count, 1);
    pack(&w->model, &w->support, sx, sy);
    pack(&w->model, &w->query, qx, qy);
    return AG_OK;
}

/* Query loss and accuracy before and after each step, by the scorer. */
static void scorer_says(world *w, const meta_task_options *o, double *loss, double *accuracy)
{
    ag_error err = { 0 };
    meta_learner *l;
    meta_scorer *sc;
    meta_state s;
    meta_options lo = { .loss = META_CROSS_ENTROPY, .support_scale = o->support_scale, .inner_lr = o->inner_lr, .rule = o->rule, .first_order = true,
                        .head = o->head, .similarity = o->similarity, .head_scale = o->head_scale, .way = o->way, .rate_scope = o->rate_scope,
                        .head_only = o->head_only, .train_steps = 1, .n_support = N, .n_query = NQ };
    ck_assert_msg(meta_learner_new(&l, &w->model, &lo, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(meta_state_init(&s, l, 1, &err), AG_OK);
    memcpy(s.values, w->values, (size_t)s.n_value * sizeof *s.values);
    if (o->rates)
        memcpy(s.values + s.n_value, o->rates, (size_t)s.n_rate * sizeof *s.values);
    ck_assert_int_eq(meta_scorer_new(&sc, l, &(meta_scorer_options){ .n_support = N, .n_query = NQ, .steps = o->steps }, &err), AG_OK);
    ck_assert_int_eq(meta_scorer_run(sc, &s, &(meta_batch){ .n_task = 1, .fetch = fetch, .ctx = w }, loss, accuracy, &err), AG_OK);
    meta_scorer_free(sc);
    meta_state_release(&s);
    meta_learner_free(l);
}

typedef struct adapted {
    ag_real *values, w[WAY * 64], b[WAY];
    double loss[16];
} adapted;

static meta_adapted arrays_of(adapted *a)
{
    return (meta_adapted){ a->values, a->w, a->b, a->loss };
}

static void adapt(const world *w, const meta_task_options *o, adapted *a)
{
    ag_error err = { 0 };
    meta_task *k;
    meta_examples x = examples_of(&w->support);
    a->values = malloc((size_t)w->model.n_value * sizeof *a->values);
    meta_adapted out = arrays_of(a);
    ck_assert_int_le(w->model.options.n_out, 64);
    ck_assert_msg(meta_task_new(&k, &w->model, o, &x, w->support.y, &err) == AG_OK, "%s", err.message);
    ck_assert_msg(meta_task_adapt(k, w->values, &out, &err) == AG_OK, "%s", err.message);
    meta_task_free(k);
}

static void score(const world *w, const meta_task_options *o, adapted *a, const texts *x, int64_t together, ag_real *scores)
{
    ag_error err = { 0 };
    meta_scores *s;
    meta_adapted from = arrays_of(a);
    meta_examples e = examples_of(x);
    ck_assert_msg(meta_scores_new(&s, &w->model, &(meta_scores_options){ .similarity = o->similarity, .head_scale = o->head_scale, .way = o->way,
                  .n = together, .threads = o->threads }, &err) == AG_OK, "%s", err.message);
    ck_assert_msg(meta_scores_run(s, &from, &e, scores, NULL, &err) == AG_OK, "%s", err.message);
    meta_scores_free(s);
}

/* Mean cross-entropy and share of hits, in plain C. */
static double loss_of(const ag_real *scores, const int32_t *y, int64_t n, double *hits)
{
    double sum = 0;
    *hits = 0;
    for (int64_t i = 0; i < n; i++) {
        const ag_real *s = scores + i * WAY;
        double total = 0;
        int best = 0;
        for (int c = 0; c < WAY; c++) {
            total += exp((double)s[c]);
            best = s[c] > s[best] ? c : best;
        }
        sum += log(total) - (double)s[y[i]];
        *hits += best == y[i];
    }
    *hits /= (double)n;
    return sum / (double)n;
}

static void same_as_scorer(const char *architecture, meta_task_options o)
{
    world w;
    double loss[16], accuracy[16], hits;
    ag_real scores[NQ * WAY];
    world_init(&w, architecture);
    const int64_t steps = o.steps;
    scorer_says(&w, &o, loss, accuracy);
    for (o.steps = 0; o.steps <= steps; o.steps++) {
        adapted a;
        adapt(&w, &o, &a);
        score(&w, &o, &a, &w.query, 5, scores);
        double mine = loss_of(scores, w.query.y, NQ, &hits);
        expect(test_close(mine, loss[o.steps], TOLERANCE), "%s, head %d, step %d: %.12g, the scorer says %.12g", architecture, o.head,
               (int)o.steps, mine, loss[o.steps]);
        expect(test_close(hits, accuracy[o.steps], 1e-6), "%s, step %d: %g hits, the scorer says %g", architecture, (int)o.steps, hits,
               accuracy[o.steps]);
        free(a.values);
    }
    expect(fabs(loss[steps] - loss[0]) > 2e-4, "%s, head %d: from %g to %g", architecture, o.head, loss[0], loss[steps]);
    world_release(&w);
}

START_TEST(adapting_and_scoring_give_the_scorers_query_loss_and_hits)
{
    static const char *const architectures[] = { "bert", "llama" };
    for (int a = 0; a < 2; a++)
        for (int head = META_HEAD_PROTOTYPE; head <= META_HEAD_CENTROID; head++)
            for (int euclidean = 0; euclidean < 2; euclidean++)
                same_as_scorer(architectures[a], (meta_task_options){ .head = (meta_head)head, .similarity = (meta_similarity)euclidean,
                               .head_scale = euclidean ? 0.1 : 5, .way = WAY, .steps = 3, .inner_lr = 0.3, .threads = 1 + a });
}
END_TEST

START_TEST(adam_a_support_scale_head_only_and_learned_rates_go_as_in_the_scorer)
{
    world w;
    ag_real rates[256];
    world_init(&w, "bert");
    int64_t tensors = w.model.n_param;
    world_release(&w);
    ck_assert_int_lt(tensors + 2, 256);
    for (int64_t i = 0; i < tensors + 2; i++)
        rates[i] = (ag_real)(0.01 + 0.004 * (double)(i % 7));
    meta_task_options o = { .head = META_HEAD_CENTROID, .head_scale = 5, .way = WAY, .steps = 3, .inner_lr = 0.02 };
    meta_task_options adam = o, scaled = o, head = o, learned = o;
    adam.rule = META_RULE_ADAM;
    scaled.support_scale = WAY;
    head.head_only = true;
    learned.rate_scope = META_RATE_TENSOR;
    learned.rates = rates;
    learned.n_rate = tensors + 2;
    same_as_scorer("bert", adam);
    same_as_scorer("bert", scaled);
    same_as_scorer("bert", head);
    same_as_scorer("bert", learned);
}
END_TEST

START_TEST(the_bits_do_not_depend_on_the_number_of_threads)
{
    world w;
    adapted a, b;
    world_init(&w, "bert");
    meta_task_options o = { .head = META_HEAD_CENTROID, .head_scale = 5, .way = WAY, .steps = 4, .inner_lr = 0.1 };
    adapt(&w, &o, &a);
    o.threads = 3;
    adapt(&w, &o, &b);
    ck_assert_mem_eq(a.values, b.values, (size_t)w.model.n_value * sizeof *a.values);
    ck_assert_mem_eq(a.w, b.w, (size_t)(WAY * w.model.options.n_out) * sizeof *a.w);
    for (int i = 0; i <= 4; i++)
        ck_assert(a.loss[i] == b.loss[i]);
    ck_assert_double_lt(a.loss[4], a.loss[0]);
    free(a.values);
    free(b.values);
    world_release(&w);
}
END_TEST

START_TEST(the_last_loss_may_be_left_for_later)
{
    world w;
    ag_error err = { 0 };
    meta_task *k;
    adapted a, b;
    double loss = 0;
    world_init(&w, "bert");
    meta_examples x = examples_of(&w.support);
    for (int head = META_HEAD_PROTOTYPE; head <= META_HEAD_CENTROID; head++) {
        meta_task_options o = { .head = (meta_head)head, .head_scale = 5, .way = WAY, .steps = 2, .inner_lr = 0.1 };
        adapt(&w, &o, &a);
        o.loss_later = true;
        adapt(&w, &o, &b);
        ck_assert_mem_eq(a.values, b.values, (size_t)w.model.n_value * sizeof *a.values);
        ck_assert_int_eq(isnan(b.loss[2]), head == META_HEAD_CENTROID);
        ck_assert_int_eq(meta_task_new(&k, &w.model, &o, &x, w.support.y, &err), AG_OK);
        meta_adapted given = arrays_of(&b);
        ck_assert_int_eq(meta_task_loss(k, &given, &loss, &err), AG_OK);
        ck_assert(loss == a.loss[2]);
        meta_task_free(k);
        free(a.values);
        free(b.values);
    }
    world_release(&w);
}
END_TEST

/* Another task object that has only the others, and scores of the one. */
static int32_t predicted_without(const world *w, meta_task_options o, const bool *left, int64_t wanted)
{
    world rest = *w;
    texts one = { .n = 1, .start = { w->support.start[wanted] }, .length = { w->support.length[wanted] } };
    adapted a;
    ag_real scores[WAY];
    int32_t best = 0;
    rest.support.n = 0;
    for (int64_t i = 0; i < w->support.n; i++)
        if (!left[i]) {
            rest.support.start[rest.support.n] = w->support.start[i];
            rest.support.length[rest.support.n] = w->support.length[i];
            rest.support.y[rest.support.n++] = w->support.y[i];
        }
    memcpy(one.ids, w->support.ids, sizeof one.ids);
    adapt(&rest, &o, &a);
    score(w, &o, &a, &one, 1, scores);
    for (int32_t c = 1; c < WAY; c++)
        best = scores[c] > scores[best] ? c : best;
    free(a.values);
    return best;
}

START_TEST(leave_one_out_predicts_each_example_by_an_adaptation_without_it)
{
    world w;
    ag_error err = { 0 };
    meta_task *k;
    meta_estimate e;
    int32_t predicted[N];
    world_init(&w, "bert");
    /* Unequal classes: 0 has one example, 1 has two, 2 the rest of 0's and 1's. */
    int64_t seen[WAY] = { 0 }, right = 0;
    for (int64_t i = 0; i < N; i++) {
        int32_t c = w.support.y[i];
        w.support.y[i] = c <= 1 && seen[c] > c ? 2 : c;
        seen[c]++;
    }
    meta_examples x = examples_of(&w.support);
    meta_task_options o = { .head = META_HEAD_CENTROID, .head_scale = 5, .way = WAY, .steps = 2, .inner_lr = 0.1, .threads = 2 };
    ck_assert_msg(meta_task_new(&k, &w.model, &o, &x, w.support.y, &err) == AG_OK, "%s", err.message);
    ck_assert_msg(meta_task_leave_one_out(k, w.values, &e, predicted, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(e.counted, N - 1);                    /* all but class 0's one */
    ck_assert_int_eq(e.folds, 12);                         /* class 2 has 5 + 4 + 3 */
    for (int64_t i = 0; i < N; i++) {
        int64_t rank = 0;
        bool left[N] = { false };
        if (w.support.y[i] == 0) {
            ck_assert_int_eq(predicted[i], -1);
            continue;
        }
        for (int64_t j = 0; j < i; j++)
            rank += w.support.y[j] == w.support.y[i];
        for (int32_t c = 1; c < WAY; c++)
            for (int64_t j = 0, r = 0; j < N; j++)
                if (w.support.y[j] == c && r++ == rank)
                    left[j] = true;
        ck_assert(left[i]);
        ck_assert_int_eq(predicted[i], predicted_without(&w, o, left, i));
        right += predicted[i] == w.support.y[i];
    }
    ck_assert_int_eq(e.right, right);
    ck_close(e.accuracy, (double)right / (N - 1), 1e-12);
    meta_task_free(k);
    world_release(&w);
}
END_TEST

START_TEST(where_every_class_has_one_example_nothing_is_counted)
{
    world w;
    ag_error err = { 0 };
    meta_task *k;
    meta_estimate e;
    world_init(&w, "bert");
    w.support.n = WAY;
    meta_examples x = examples_of(&w.support);
    meta_task_options o = { .head = META_HEAD_PROTOTYPE, .way = WAY };
    ck_assert_int_eq(meta_task_new(&k, &w.model, &o, &x, w.support.y, &err), AG_OK);
    ck_assert_int_eq(meta_task_leave_one_out(k, w.values, &e, NULL, &err), AG_OK);
    ck_assert_int_eq(e.counted, 0);
    ck_assert(isnan(e.accuracy));
    meta_task_free(k);
    world_release(&w);
}
END_TEST

START_TEST(arrays_go_too_and_many_examples_are_cut_into_parts)
{
    enum { MANY = 75 };
    ag_error err = { 0 };
    nn_model m = test_model(&(nn_options){ .kind = "mlp", .x_ndim = 1, .x_shape = { 3 }, .n_out = 1, .n_hidden = 2, .hidden = { 8, 6 },
                                           .features = true });
    ag_real *x = malloc(MANY * 3 * sizeof *x), *values = malloc((size_t)m.n_value * sizeof *values), w[2 * 6], b[2], scores[MANY * 2];
    int32_t y[MANY];
    double loss[9], right = 0;
    ag_random r;
    ag_random_init(&r, 4, AG_STREAM_USER, 0, 0);
    for (int i = 0; i < MANY; i++) {
        y[i] = i % 3 == 0;
        for (int j = 0; j < 3; j++)
            x[3 * i + j] = (ag_real)(ag_random_uniform(&r, -1, 1) + (j == 0 ? 2 * y[i] : 0));
    }
    nn_model_draw(&m, 1, values);
    meta_examples e = { .n = MANY, .x = x };
    meta_task *k;
    meta_scores *s;
    meta_task_options o = { .head = META_HEAD_CENTROID, .head_scale = 4, .way = 2, .steps = 8, .inner_lr = 0.2, .threads = 2 };
    ck_assert_msg(meta_task_new(&k, &m, &o, &e, y, &err) == AG_OK, "%s", err.message);
    meta_adapted a = { values, w, b, loss };
    ck_assert_msg(meta_task_adapt(k, values, &a, &err) == AG_OK, "%s", err.message);
    ck_assert_double_lt(loss[8], 0.8 * loss[0]);
    ck_assert_int_eq(meta_scores_new(&s, &m, &(meta_scores_options){ .head_scale = 4, .way = 2, .n = 7 }, &err), AG_OK);
    ck_assert_int_eq(meta_scores_run(s, &a, &e, scores, NULL, &err), AG_OK);
    for (int i = 0; i < MANY; i++)
        right += (scores[2 * i + 1] > scores[2 * i]) == y[i];
    ck_assert_double_gt(right / MANY, 0.9);
    meta_scores_free(s);
    meta_task_free(k);
    free(x);
    free(values);
}
END_TEST

static void refused(const world *w, meta_task_options o, const int32_t *labels, const char *says)
{
    ag_error err = { 0 };
    meta_task *k;
    meta_examples x = examples_of(&w->support);
    ck_assert_int_eq(meta_task_new(&k, &w->model, &o, &x, labels, &err), AG_EINVAL);
    ck_assert_ptr_null(k);
    expect(strstr(err.message, says), "'%s' does not say '%s'", err.message, says);
}

START_TEST(what_does_not_fit_is_refused_by_name)
{
    world w;
    int32_t labels[N];
    world_init(&w, "bert");
    memcpy(labels, w.support.y, sizeof labels);
    refused(&w, (meta_task_options){ .head = META_HEAD_MODEL, .way = WAY }, labels, "prototype or centroid");
    refused(&w, (meta_task_options){ .head = META_HEAD_PROTOTYPE, .way = 1 }, labels, "2 or more classes");
    refused(&w, (meta_task_options){ .head = META_HEAD_PROTOTYPE, .way = WAY + 1 }, labels, "class 4 has no example");
    labels[3] = WAY;
    refused(&w, (meta_task_options){ .head = META_HEAD_PROTOTYPE, .way = WAY }, labels, "example 3 has the label 4");
    w.support.n = 0;
    refused(&w, (meta_task_options){ .head = META_HEAD_PROTOTYPE, .way = WAY }, labels, "no examples");
    world_release(&w);
}
END_TEST

START_TEST(a_step_that_is_too_large_is_told_with_its_number)
{
    world w;
    ag_error err = { 0 };
    adapted a;
    meta_task *k;
    world_init(&w, "bert");
    meta_examples x = examples_of(&w.support);
    meta_task_options o = { .head = META_HEAD_CENTROID, .way = WAY, .steps = 5, .inner_lr = sizeof(ag_real) == 8 ? 1e300 : 1e38, .head_scale = 100 };
    ck_assert_int_eq(meta_task_new(&k, &w.model, &o, &x, w.support.y, &err), AG_OK);
    a.values = malloc((size_t)w.model.n_value * sizeof *a.values);
    meta_adapted out = arrays_of(&a);
    ck_assert_int_eq(meta_task_adapt(k, w.values, &out, &err), AG_ENAN);
    ck_assert_ptr_nonnull(strstr(err.message, "of 5 steps is not finite"));
    meta_task_free(k);
    free(a.values);
    world_release(&w);
}
END_TEST

/* ---- every allocation fails once ---- */

static struct { long left, live; } memory;

static void *failing_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    if (memory.left-- == 0)
        return NULL;
    memory.live++;
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void failing_release(void *p, void *ctx)
{
    (void)ctx;
    memory.live -= p != NULL;
    free(p);
}

static ag_code whole_life(const world *w, adapted *a, ag_error *err)
{
    meta_task *k;
    meta_scores *s = NULL;
    meta_estimate e;
    ag_real scores[NQ * WAY];
    meta_adapted out = arrays_of(a);
    meta_examples x = examples_of(&w->support), q = examples_of(&w->query);
    meta_task_options o = { .head = META_HEAD_CENTROID, .way = WAY, .steps = 1, .inner_lr = 0.1 };
    AG_TRY(err, meta_task_new(&k, &w->model, &o, &x, w->support.y, err));
    ag_code code = meta_task_adapt(k, w->values, &out, err);
    if (code == AG_OK)
        code = meta_task_leave_one_out(k, w->values, &e, NULL, err);
    if (code == AG_OK)
        code = meta_scores_new(&s, &w->model, &(meta_scores_options){ .way = WAY, .n = 4 }, err);
    if (code == AG_OK)
        code = meta_scores_run(s, &out, &q, scores, NULL, err);
    meta_scores_free(s);
    meta_task_free(k);
    return code;
}

START_TEST(each_allocation_that_fails_is_told_and_nothing_is_kept)
{
    static world w;
    adapted a;
    world_init(&w, "bert");
    w.support.n = 2 * WAY;
    a.values = malloc((size_t)w.model.n_value * sizeof *a.values);
    ag_allocator failing = { failing_alloc, failing_release, NULL };
    long fails = 0, stride = 1;
    for (long n = 0; n < 1000000; n += stride, stride = n < 200 ? 1 : 7) {
        ag_error err = { 0 };
        memory.left = n;
        memory.live = 0;
        ag_set_allocator(&failing);
        ag_code code = whole_life(&w, &a, &err);
        ag_set_allocator(NULL);
        expect(memory.live == 0, "allocation %ld: %ld are left", n, memory.live);
        if (memory.left >= 0)                              /* there are no more allocations than that */
            break;
        expect(code == AG_OK || (code == AG_ENOMEM && err.message[0]), "allocation %ld: %s '%s'", n, ag_code_name(code), err.message);
        fails += code != AG_OK;                            /* a tape can do without its table of repeats */
    }
    ck_assert_int_gt(fails, 50);
    free(a.values);
    world_release(&w);
}
END_TEST

TEST_MAIN(adapting_and_scoring_give_the_scorers_query_loss_and_hits, adam_a_support_scale_head_only_and_learned_rates_go_as_in_the_scorer,
          the_bits_do_not_depend_on_the_number_of_threads, the_last_loss_may_be_left_for_later, leave_one_out_predicts_each_example_by_an_adaptation_without_it,
          where_every_class_has_one_example_nothing_is_counted, arrays_go_too_and_many_examples_are_cut_into_parts,
          what_does_not_fit_is_refused_by_name, a_step_that_is_too_large_is_told_with_its_number,
          each_allocation_that_fails_is_told_and_nothing_is_kept)
