/* The next-token loss: against plain loops over each text alone, central differences and the long tape; padding stays out. */
#include "meta/network_model.h"
#include "tests/meta/episodes.h"

#ifdef AG_DOUBLE
#define SAME 1e-9
#define LOOPS 1e-12
#else
#define SAME 5e-3
#define LOOPS 2e-5
#endif

enum { N = 3, TASK = 3, LENGTH = 6, VOCABULARY = 23, WIDTH = 8 };

typedef struct world {
    nn_network *net;
    meta_adapter *adapter;
    nn_model m;
} world;

static nn_network *network_of(const char *architecture)
{
    ag_error err = { 0 };
    nn_network *net;
    nn_network_config c = { .vocab_size = VOCABULARY, .hidden_size = WIDTH, .n_layer = 2, .n_head = 2, .n_kv_head = 2,
                            .intermediate_size = 12, .max_position = 16, .tied = strcmp(architecture, "gpt2") == 0 };
    if (strcmp(architecture, "moe") == 0) {
        c.n_expert = 3;
        c.experts_per_token = 2;
    }
    snprintf(c.architecture, sizeof c.architecture, "%s", architecture);
    ck_assert_msg(nn_network_random(&net, &c, 3, &err) == AG_OK, "%s", err.message);
    for (int i = 0; i < net->n_weight; i++)      /* wider than 0.02, so that the words differ */
        for (int64_t j = 0; j < net->weight[i].numel && net->weight[i].ndim > 1; j++)
            ((ag_real *)(uintptr_t)net->weight[i].data)[j] *= 15;
    return net;
}

static world world_of(const char *architecture, const char *kind, const char *train, int64_t max_tokens)
{
    static const char *const targets[] = { "q_proj", "v_proj", "c_attn", "lm_head" };
    world w = { .net = network_of(architecture) };
    ag_error err = { 0 };
    if (kind) {
        bool gpt2 = strcmp(architecture, "gpt2") == 0;
        meta_adapter_options o = { .kind = kind, .init = "gaussian", .rank = 2, .alpha = 4, .n_target = 2, .targets = targets + (gpt2 ? 2 : 0) };
        ck_assert_msg(meta_adapter_new(&w.adapter, w.net, &o, &err) == AG_OK, "%s", err.message);
    }
    meta_network_model_options o = { .net = w.net, .adapter = w.adapter, .train = train, .language = true, .max_tokens = max_tokens };
    ck_assert_msg(meta_network_model(&w.m, &o, &err) == AG_OK, "%s", err.message);
    ck_assert(w.m.language && w.m.options.n_out == VOCABULARY);
    return w;
}

static void world_release(world *w)
{
    nn_model_release(&w->m);
    meta_adapter_free(w->adapter);
    nn_network_close(w->net);
}

/* ---- episodes ---- */

typedef struct text {
    int64_t length;
    int32_t ids[LENGTH], next[LENGTH];   /* next: -1 for none */
} text;

/* A function of task, set (0: support) and place. */
static text text_of(int64_t task, int set, int64_t i)
{
    ag_random r;
    ag_random_init(&r, 8, AG_STREAM_USER, (uint64_t)set, (uint64_t)(task * N + i));
    text x = { .length = 1 + (int64_t)ag_random_below(&r, LENGTH) };
    for (int64_t j = 0; j < x.length; j++) {
        x.ids[j] = (int32_t)ag_random_below(&r, VOCABULARY);
        x.next[j] = (int32_t)ag_random_below(&r, VOCABULARY + 6) - 6;
        x.next[j] = x.next[j] < 0 ? -1 : x.next[j];
    }
    return x;
}

typedef struct stream {
    int64_t max_tokens, spare;           /* a set's capacity is N max_tokens - spare */
    int32_t beyond;                      /* what y says of places without a token */
    bool unlabelled;                     /* no token has a next one */
    int32_t first;                       /* the next token of the first place of task 1's query; 0: as drawn */
} stream;

static nn_text_shape shape_of(const stream *s)
{
    return (nn_text_shape){ N, s->max_tokens, N * s->max_tokens - s->spare };
}

static void make_set(const stream *s, int64_t task, int set, int32_t *x, int32_t *y)
{
    nn_text_shape shape = shape_of(s);
    int32_t ids[N * LENGTH];
    int64_t start[N], length[N];
    for (int64_t i = 0; i < N; i++) {
        text t = text_of(task, set, i);
        start[i] = i * LENGTH;
        length[i] = t.length;
        memcpy(ids + start[i], t.ids, sizeof t.ids);
        for (int64_t j = 0; j < s->max_tokens; j++)
            y[i * s->max_tokens + j] = j >= t.length ? s->beyond : s->unlabelled ? -1 : t.next[j];
    }
    if (s->first && task == 1 && set == 1)
        y[0] = s->first;
    nn_text_pack(&shape, ids, start, length, x);
}

static ag_code fetch(void *ctx, int64_t first, int64_t count, void *sx, void *sy, void *qx, void *qy, ag_error *err)
{
    const stream *s = ctx;
    nn_text_shape shape = shape_of(s);
    int64_t x = nn_text_numel(&shape), y = N * s->max_tokens;
    AG_REQUIRE(first + count <= TASK, err, AG_EINVAL, "no such task");
    for (int64_t i = 0; i < count; i++) {
        make_set(s, first + i, 0, (int32_t *)sx + i * x, (int32_t *)sy + i * y);
        make_set(s, first + i, 1, (int32_t *)qx + i * x, (int32_t *)qy + i * y);
    }
    return AG_OK;
}

static meta_options options_of(int64_t steps, const stream *s)
{
    int64_t capacity = shape_of(s).capacity;
    return (meta_options){ .loss = META_NEXT_TOKEN, .inner_lr = 0.1, .train_steps = steps, .n_support = N, .n_query = N, .chunk = 2,
                           .support_capacity = capacity, .query_capacity = capacity };
}

/* The factors start away from zero, so that no gradient is zero by a zero factor. */
static meta_state state_of(const meta_learner *l)
{
    meta_state s = test_state(l, 4);
    for (int64_t i = 0; i < s.n_value; i++)
        s.values[i] += (ag_real)(0.3 * cos((double)(3 * i)));
    return s;
}

/* The outer gradient, freed with free. */
static ag_real *gradient(meta_learner *l, const meta_state *s, const stream *data, meta_report *report)
{
    ag_error err = { 0 };
    ag_real *grad = test_alloc((size_t)s->n * sizeof *grad);
    meta_batch b = { .n_task = TASK, .fetch = fetch, .ctx = (void *)data };
    ck_assert_msg(meta_outer_gradient(l, s, &b, grad, report, &err) == AG_OK, "%s (%s)", err.message, err.trail);
    return grad;
}

static void score(const meta_learner *l, const meta_state *s, const stream *data, int64_t steps, double *loss, double *accuracy)
{
    ag_error err = { 0 };
    meta_scorer *sc;
    int64_t capacity = shape_of(data).capacity;
    meta_scorer_options o = { .n_support = N, .n_query = N, .steps = steps, .support_capacity = capacity, .query_capacity = capacity };
    meta_batch b = { .n_task = TASK, .fetch = fetch, .ctx = (void *)data };
    ck_assert_msg(meta_scorer_new(&sc, l, &o, &err) == AG_OK, "%s", err.message);
    ck_assert_msg(meta_scorer_run(sc, s, &b, loss, accuracy, &err) == AG_OK, "%s", err.message);
    meta_scorer_free(sc);
}

/* ---- plain loops ---- */

/* Logits [length, VOCABULARY] of one text alone, by the bare network. */
static void logits_of(const nn_network *net, const text *x, ag_real *logits)
{
    ag_error err = { 0 };
    ag_tape *t = ag_tape_new(NULL, &err);
    ag_tensor *weight[64];
    nn_text_shape shape = { 1, x->length, x->length };
    int32_t packed[5 * LENGTH];
    ck_assert_int_le(net->n_weight, 64);
    for (int i = 0; i < net->n_weight; i++) {
        ag_spec spec = { .ndim = net->weight[i].ndim };
        memcpy(spec.shape, net->weight[i].shape, sizeof net->weight[i].shape);
        weight[i] = ag_value(t, &spec, net->weight[i].data);
    }
    nn_text_pack(&shape, x->ids, (int64_t[]){ 0 }, (int64_t[]){ x->length }, packed);
    ag_tensor *in = ag_value(t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { nn_text_numel(&shape) } }, packed);
    nn_pass pass = { .t = t, .net = net, .weight = weight };
    nn_text split = nn_text_split(t, in, &shape);
    ck_assert_int_eq(ag_read(nn_network_logits(&pass, nn_network_hidden(&pass, &split)), logits), AG_OK);
    ag_tape_free(t);
}

static void add_token(const ag_real *logits, int32_t next, double sums[3])
{
    double total = 0;
    int best = 0;
    for (int v = 0; v < VOCABULARY; v++) {
        total += exp((double)logits[v]);
        best = logits[v] > logits[best] ? v : best;
    }
    sums[0] += log(total) - (double)logits[next];
    sums[1] += best == next;
    sums[2]++;
}

/* Loss and accuracy of a set. */
static void by_loops(const nn_network *net, int64_t task, int set, double *loss, double *accuracy)
{
    ag_real logits[LENGTH * VOCABULARY];
    double sums[3] = { 0 };
    for (int64_t i = 0; i < N; i++) {
        text x = text_of(task, set, i);
        logits_of(net, &x, logits);
        for (int64_t j = 0; j < x.length; j++)
            if (x.next[j] >= 0)
                add_token(logits + j * VOCABULARY, x.next[j], sums);
    }
    *loss = sums[0] / sums[2];
    *accuracy = sums[1] / sums[2];
}

START_TEST(loss_and_accuracy_are_those_of_plain_loops_over_each_text_alone)
{
    static const char *const architectures[] = { "llama", "gpt2", "moe" };
    double hits = 0;
    for (int a = 0; a < 3; a++)
        for (int spare = 0; spare < 2; spare++) {
            stream data = { .max_tokens = LENGTH + 2, .spare = 5 * spare, .beyond = -1 };
            world w = world_of(architectures[a], NULL, ".*embed.*|.*wte.*", data.max_tokens);
            meta_options o = options_of(0, &data);
            meta_learner *l = test_learner(&w.m, &o);
            meta_state s = test_state(l, 1);
            double loss[TASK], accuracy[TASK], want[2], mean[2] = { 0 };
            meta_report report;
            score(l, &s, &data, 0, loss, accuracy);
            for (int64_t task = 0; task < TASK; task++) {
                by_loops(w.net, task, 1, &want[0], &want[1]);
                ck_close(loss[task], want[0], LOOPS);
                ck_close(accuracy[task], want[1], 1e-6);
                mean[0] += want[0] / TASK;
                mean[1] += want[1] / TASK;
            }
            free(gradient(l, &s, &data, &report));
            ck_close(report.query_loss, mean[0], LOOPS);
            ck_close(report.query_accuracy, mean[1], 1e-6);
            hits += mean[1];
            meta_state_release(&s);
            meta_learner_free(l);
            world_release(&w);
        }
    ck_assert_msg(hits > 0, "no token was ever right: the accuracy is not tested");
}
END_TEST

START_TEST(the_support_loss_is_that_of_plain_loops_too)
{
    stream data = { .max_tokens = LENGTH, .beyond = -1 };
    world w = world_of("llama", NULL, "model.embed_tokens.*", LENGTH);
    meta_options o = options_of(1, &data);
    meta_learner *l = test_learner(&w.m, &o);
    meta_state s = test_state(l, 1);
    meta_report report;
    double loss, accuracy, mean = 0;
    free(gradient(l, &s, &data, &report));
    for (int64_t task = 0; task < TASK; task++) {
        by_loops(w.net, task, 0, &loss, &accuracy);
        mean += loss / TASK;
    }
    ck_close(report.support_loss, mean, LOOPS);
    meta_state_release(&s);
    meta_learner_free(l);
    world_release(&w);
}
END_TEST

/* ---- gradients ---- */

static void check_against_tape(const world *w, const meta_options *o, const stream *data, const char *what)
{
    meta_learner *l = test_learner(&w->m, o);
    meta_state s = state_of(l);
    meta_report report, expected;
    ag_error err = { 0 };
    meta_batch b = { .n_task = TASK, .fetch = fetch, .ctx = (void *)data };
    ag_real *grad = gradient(l, &s, data, &report), *want = test_alloc((size_t)s.n * sizeof *want);
    ck_assert_msg(meta_outer_gradient_by_tape(&w->m, o, &s, &b, want, &expected, &err) == AG_OK, "%s: %s", what, err.message);
    ck_close(report.query_loss, expected.query_loss, SAME);
    ck_close(report.query_accuracy, expected.query_accuracy, 1e-6);
    double distance = test_distance_real(s.n, grad, want);
    ck_assert_msg(distance <= SAME, "%s, %lld steps: %.3g from the tape", what, (long long)o->train_steps, distance);
    free(grad);
    free(want);
    meta_state_release(&s);
    meta_learner_free(l);
}

START_TEST(second_order_equals_the_long_tape)
{
    static const struct { const char *architecture, *kind, *train; } cases[] = {
        { "llama", "lora", NULL }, { "llama", "dora", "lm_head.*" }, { "gpt2", "lora", NULL }, { "moe", NULL, ".*q_proj.*|lm_head.*" },
    };
    stream data = { .max_tokens = LENGTH, .beyond = -1 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w = world_of(cases[i].architecture, cases[i].kind, cases[i].train, LENGTH);
        for (int64_t steps = 0; steps <= 3; steps++) {
            meta_options o = options_of(steps, &data);
            o.learn_rates = steps > 1;
            check_against_tape(&w, &o, &data, cases[i].architecture);
        }
        world_release(&w);
    }
}
END_TEST

START_TEST(anil_adapts_the_layer_that_makes_the_logits)
{
    stream data = { .max_tokens = LENGTH, .beyond = -1 };
    world w = world_of("llama", "lora", "lm_head.*", LENGTH);
    meta_options o = options_of(2, &data);
    o.head_only = true;
    check_against_tape(&w, &o, &data, "anil");
    world_release(&w);
}
END_TEST

#ifdef AG_DOUBLE
/* Independent of every derivative: the mean loss after two steps, with one number moved. */
static double loss_at(const meta_learner *l, meta_state *s, const stream *data, int64_t i, double by)
{
    double loss[TASK * 3], mean = 0;
    ag_real kept = s->values[i];
    s->values[i] += (ag_real)by;
    score(l, s, data, 2, loss, NULL);
    s->values[i] = kept;
    for (int task = 0; task < TASK; task++)
        mean += loss[task * 3 + 2] / TASK;
    return mean;
}

START_TEST(the_gradient_is_that_of_central_differences)
{
    const double h = 1e-4;
    stream data = { .max_tokens = LENGTH, .beyond = -1 };
    world w = world_of("llama", "lora", NULL, LENGTH);
    meta_options o = options_of(2, &data);
    meta_learner *l = test_learner(&w.m, &o);
    meta_state s = state_of(l);
    meta_report report;
    ag_real *grad = gradient(l, &s, &data, &report);
    for (int64_t i = 0; i < s.n_value; i += s.n_value / 12) {
        double slope = (loss_at(l, &s, &data, i, h) - loss_at(l, &s, &data, i, -h)) / (2 * h);
        expect(fabs(slope - (double)grad[i]) <= 1e-6, "number %lld: %.8g, by differences %.8g", (long long)i, (double)grad[i], slope);
    }
    free(grad);
    meta_state_release(&s);
    meta_learner_free(l);
    world_release(&w);
}
END_TEST
#endif

/* ---- padding ---- */

static ag_real *gradient_with(const stream *data, int threads, meta_report *report, int64_t *n)
{
    world w = world_of("llama", "lora", NULL, data->max_tokens);
    meta_options o = options_of(2, data);
    o.threads = threads;
    meta_learner *l = test_learner(&w.m, &o);
    meta_state s = state_of(l);
    ag_real *grad = gradient(l, &s, data, report);
    *n = s.n;
    meta_state_release(&s);
    meta_learner_free(l);
    world_release(&w);
    return grad;
}

START_TEST(longer_windows_and_spare_capacity_change_nothing)
{
    static const stream others[] = { { .max_tokens = LENGTH + 3, .beyond = -1 }, { .max_tokens = LENGTH + 3, .spare = 9, .beyond = -1 } };
    const stream plain = { .max_tokens = LENGTH, .beyond = -1 };
    meta_report a, b;
    int64_t n;
    ag_real *want = gradient_with(&plain, 1, &a, &n);
    for (int i = 0; i < 2; i++) {
        ag_real *grad = gradient_with(&others[i], 1, &b, &n);
        ck_close(b.support_loss, a.support_loss, LOOPS);
        ck_close(b.query_loss, a.query_loss, LOOPS);
        double distance = test_distance_real(n, grad, want);
        ck_assert_msg(distance <= SAME, "%.3g apart", distance);
        free(grad);
    }
    free(want);
}
END_TEST

START_TEST(what_y_says_of_places_without_a_token_and_the_number_of_threads_change_no_bit)
{
    const stream plain = { .max_tokens = LENGTH + 1, .beyond = -1 }, odd = { .max_tokens = LENGTH + 1, .beyond = 999 };
    meta_report a, b;
    int64_t n;
    ag_real *want = gradient_with(&plain, 1, &a, &n), *grad = gradient_with(&odd, 2, &b, &n);
    ck_assert_mem_eq(grad, want, (size_t)n * sizeof *grad);
    ck_assert_mem_eq(&a, &b, sizeof a);
    free(want);
    free(grad);
}
END_TEST

START_TEST(sets_in_which_no_token_has_a_next_one_have_loss_and_gradient_zero)
{
    const stream data = { .max_tokens = LENGTH, .beyond = -1, .unlabelled = true };
    meta_report r;
    int64_t n;
    ag_real *grad = gradient_with(&data, 1, &r, &n);
    ck_assert(r.support_loss == 0 && r.query_loss == 0 && r.query_accuracy == 0);
    for (int64_t i = 0; i < n; i++)
        expect(grad[i] == 0, "number %lld is %g", (long long)i, (double)grad[i]);
    free(grad);
}
END_TEST

/* ---- what fails ---- */

static void refused(const nn_model *m, const meta_options *o, const char *part)
{
    meta_learner *l;
    ag_error err = { 0 };
    ck_assert_int_eq(meta_learner_new(&l, m, o, &err), AG_EINVAL);
    ck_assert_ptr_null(l);
    ck_assert_msg(strstr(err.message, part), "'%s' does not say '%s'", err.message, part);
}

static void model_refused(meta_network_model_options o, const char *architecture, ag_code code, const char *part)
{
    ag_error err = { 0 };
    nn_model m;
    nn_network *net = network_of(architecture);
    o.net = net;
    ck_assert_int_eq(meta_network_model(&m, &o, &err), code);
    ck_assert_msg(strstr(err.message, part), "'%s' does not say '%s'", err.message, part);
    nn_network_close(net);
}

START_TEST(what_does_not_fit_is_refused)
{
    stream data = { .max_tokens = LENGTH, .beyond = -1 };
    world w = world_of("llama", "lora", NULL, LENGTH);
    meta_options o = options_of(1, &data);
    o.way = 2;
    for (int head = META_HEAD_PROTOTYPE; head <= META_HEAD_CENTROID; head++) {
        o.head = (meta_head)head;
        refused(&w.m, &o, "a head made from the support");
    }
    o = options_of(1, &data);
    for (int loss = META_MSE; loss <= META_CROSS_ENTROPY; loss++) {
        o.loss = (meta_loss)loss;
        refused(&w.m, &o, "the next-token loss is expected");
    }
    o = options_of(1, &data);
    nn_model mlp = test_model(&(nn_options){ .kind = "mlp", .x_ndim = 1, .x_shape = { 2 }, .n_out = 2 });
    refused(&mlp, &o, "needs a model that gives logits of every token");
    world_release(&w);
    model_refused((meta_network_model_options){ .language = true, .max_tokens = LENGTH }, "bert", AG_ECONFIG, "does not predict tokens");
    model_refused((meta_network_model_options){ .language = true, .max_tokens = LENGTH, .n_class = 2 }, "llama", AG_EINVAL, "2 classes");
}
END_TEST

START_TEST(a_label_beyond_the_vocabulary_names_its_place)
{
    stream data = { .max_tokens = LENGTH, .beyond = -1, .first = VOCABULARY };
    world w = world_of("llama", "lora", NULL, LENGTH);
    meta_options o = options_of(1, &data);
    meta_learner *l = test_learner(&w.m, &o);
    meta_state s = state_of(l);
    ag_error err = { 0 };
    meta_report report;
    meta_batch b = { .n_task = TASK, .fetch = fetch, .ctx = &data };
    ag_real *grad = test_alloc((size_t)s.n * sizeof *grad);
    ck_assert_int_eq(meta_outer_gradient(l, &s, &b, grad, &report, &err), AG_EDATA);
    ck_assert_msg(strstr(err.message, "task 1: query, text 0, place 0: the next token is 23; expected 0 to 22"), "%s", err.message);
    free(grad);
    meta_state_release(&s);
    meta_learner_free(l);
    world_release(&w);
}
END_TEST

/* ---- memory ---- */

typedef struct countdown { long long calls, fail_at; } countdown;

static void *failing_alloc(size_t bytes, void *ctx)
{
    countdown *c = ctx;
    return ++c->calls == c->fail_at ? NULL : aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
}

static void release(void *p, void *ctx)
{
    (void)ctx;
    free(p);
}

/* Some failures are got over: the tape does without its table of equal expressions. */
START_TEST(every_failed_allocation_of_a_learner_is_reported_or_got_over)
{
    stream data = { .max_tokens = LENGTH, .beyond = -1 };
    world w = world_of("llama", "lora", NULL, LENGTH);
    meta_options o = options_of(1, &data);
    countdown c = { .fail_at = 1 };
    int reported = 0;
    for (bool failed = true; failed; c.fail_at += test_under_valgrind() ? 13 : 1) {
        meta_learner *l = NULL;
        ag_error err = { 0 };
        c.calls = 0;
        ag_set_allocator(&(ag_allocator){ failing_alloc, release, &c });
        ag_code code = meta_learner_new(&l, &w.m, &o, &err);
        meta_learner_free(l);
        ag_set_allocator(NULL);
        ck_assert_msg(code == (l ? AG_OK : AG_ENOMEM), "allocation %lld: code %d, %s", c.fail_at, (int)code, err.message);
        reported += code != AG_OK;
        failed = c.calls >= c.fail_at;
    }
    ck_assert_int_gt(reported, test_under_valgrind() ? 3 : 40);
    world_release(&w);
}
END_TEST

TEST_MAIN(loss_and_accuracy_are_those_of_plain_loops_over_each_text_alone, the_support_loss_is_that_of_plain_loops_too,
          second_order_equals_the_long_tape, anil_adapts_the_layer_that_makes_the_logits,
#ifdef AG_DOUBLE
          the_gradient_is_that_of_central_differences,
#endif
          longer_windows_and_spare_capacity_change_nothing,
          what_y_says_of_places_without_a_token_and_the_number_of_threads_change_no_bit,
          sets_in_which_no_token_has_a_next_one_have_loss_and_gradient_zero, what_does_not_fit_is_refused,
          a_label_beyond_the_vocabulary_names_its_place, every_failed_allocation_of_a_learner_is_reported_or_got_over)
