/* Meta-gradients of adapters on frozen networks, second order through attention, against the long tape; and that frozen
 * weights stay out of it. */
#include "meta/network_model.h"
#include "tests/meta/episodes.h"

#ifdef AG_DOUBLE
#define SAME 1e-9
#else
#define SAME 5e-3
#endif

enum { WAY = 2, SHOT = 2, QUERY = 2, TASK = 3, LENGTH = 6, N = WAY * SHOT, VOCABULARY = 23 };

typedef struct world {
    nn_network *net;
    meta_adapter *adapter;
    nn_model m;
} world;

static world world_of(const char *architecture, const char *kind, const char *train, int64_t n_class)
{
    static const char *const bert[] = { "query", "value", "dense" }, *const llama[] = { "q_proj", "v_proj", "up_proj" };
    bool is_bert = strcmp(architecture, "bert") == 0;
    world w = { 0 };
    ag_error err = { 0 };
    nn_network_config c = { .vocab_size = VOCABULARY, .hidden_size = 8, .n_layer = 2, .n_head = 2, .n_kv_head = is_bert ? 2 : 1,
                            .intermediate_size = 12, .max_position = 16 };
    snprintf(c.architecture, sizeof c.architecture, "%s", architecture);
    ck_assert_msg(nn_network_random(&w.net, &c, 3, &err) == AG_OK, "%s", err.message);
    if (kind) {
        meta_adapter_options o = { .kind = kind, .init = "gaussian", .rank = 2, .alpha = 4, .n_target = 3, .targets = is_bert ? bert : llama };
        ck_assert_msg(meta_adapter_new(&w.adapter, w.net, &o, &err) == AG_OK, "%s", err.message);
    }
    meta_network_model_options o = { .net = w.net, .adapter = w.adapter, .train = train, .n_class = n_class, .max_tokens = LENGTH };
    ck_assert_msg(meta_network_model(&w.m, &o, &err) == AG_OK, "%s", err.message);
    return w;
}

static void world_release(world *w)
{
    nn_model_release(&w->m);
    meta_adapter_free(w->adapter);
    nn_network_close(w->net);
}

/* Texts of 2 to 6 tokens. */
static void draw_set(const nn_text_shape *shape, ag_random *r, int32_t *x, int32_t *y)
{
    int32_t ids[N * LENGTH];
    int64_t start[N], length[N], used = 0;
    for (int64_t i = 0; i < shape->n; i++) {
        start[i] = used;
        length[i] = 2 + (int64_t)ag_random_below(r, LENGTH - 1);
        for (int64_t j = 0; j < length[i]; j++)
            ids[used++] = 1 + (int32_t)ag_random_below(r, VOCABULARY - 1);
        y[i] = (int32_t)(i % WAY);
    }
    nn_text_pack(shape, ids, start, length, x);
}

static ag_code fetch(void *ctx, int64_t first, int64_t count, void *sx, void *sy, void *qx, void *qy, ag_error *err)
{
    const meta_options *o = ctx;
    nn_text_shape support = { N, LENGTH, o->support_capacity > 0 ? o->support_capacity : N * LENGTH };
    nn_text_shape query = { N, LENGTH, o->query_capacity > 0 ? o->query_capacity : N * LENGTH };
    AG_REQUIRE(first + count <= TASK, err, AG_EINVAL, "no such task");
    for (int64_t i = 0; i < count; i++) {
        ag_random r;
        ag_random_init(&r, 8, AG_STREAM_USER, 0, (uint64_t)(first + i));
        draw_set(&support, &r, (int32_t *)sx + i * nn_text_numel(&support), (int32_t *)sy + i * N);
        draw_set(&query, &r, (int32_t *)qx + i * nn_text_numel(&query), (int32_t *)qy + i * N);
    }
    return AG_OK;
}

static meta_options options_of(meta_head head, int64_t steps)
{
    return (meta_options){ .loss = META_CROSS_ENTROPY, .inner_lr = 0.3, .train_steps = steps, .n_support = N, .n_query = N, .chunk = 2,
                           .head = head, .head_scale = 3, .way = WAY };
}

/* The factors start away from zero, so that no gradient is zero by a zero factor. */
static meta_state state_of(const meta_learner *l)
{
    meta_state s = test_state(l, 4);
    for (int64_t i = 0; i < s.n_value; i++)
        s.values[i] += (ag_real)(0.3 * cos((double)(3 * i)));
    return s;
}

static void check_against_tape(const world *w, const meta_options *o, const char *what)
{
    meta_learner *l = test_learner(&w->m, o);
    meta_state s = state_of(l);
    meta_report report, expected;
    ag_error err = { 0 };
    meta_batch b = { .n_task = TASK, .fetch = fetch, .ctx = (void *)o };
    ag_real *grad = test_alloc((size_t)s.n * sizeof *grad), *want = test_alloc((size_t)s.n * sizeof *want);
    ck_assert_msg(meta_outer_gradient(l, &s, &b, grad, &report, &err) == AG_OK, "%s: %s", what, err.message);
    ck_assert_msg(meta_outer_gradient_by_tape(&w->m, o, &s, &b, want, &expected, &err) == AG_OK, "%s: %s", what, err.message);
    ck_close(report.query_loss, expected.query_loss, SAME);
    double distance = test_distance_real(s.n, grad, want);
    ck_assert_msg(distance <= SAME, "%s: %.3g from the tape", what, distance);
    free(grad);
    free(want);
    meta_state_release(&s);
    meta_learner_free(l);
}

START_TEST(second_order_through_attention_equals_the_long_tape)
{
    static const char *const architectures[] = { "bert", "llama" }, *const kinds[] = { "lora", "dora" };
    for (int a = 0; a < 2; a++)
        for (int k = 0; k < 2; k++) {
            world w = world_of(architectures[a], kinds[k], NULL, WAY);
            for (int64_t steps = 0; steps <= 3; steps += 1 + k) {
                meta_options o = options_of(META_HEAD_MODEL, steps);
                check_against_tape(&w, &o, architectures[a]);
            }
            world_release(&w);
        }
}
END_TEST

START_TEST(heads_made_from_the_support_work_on_networks)
{
    for (int head = META_HEAD_PROTOTYPE; head <= META_HEAD_CENTROID; head++) {
        world w = world_of("llama", "lora", NULL, 0);
        meta_options o = options_of((meta_head)head, 2);
        check_against_tape(&w, &o, head == META_HEAD_PROTOTYPE ? "prototype" : "centroid");
        world_release(&w);
    }
}
END_TEST

START_TEST(base_weights_can_be_trained_too)
{
    world w = world_of("bert", NULL, ".*attention.*weight", WAY);
    meta_options o = options_of(META_HEAD_MODEL, 1);
    ck_assert_int_gt(w.m.n_param, 8);
    check_against_tape(&w, &o, "bert, attention trained");
    world_release(&w);
}
END_TEST

/* Room that no text fills changes no bit of what is computed for the texts that are there. */
START_TEST(unused_capacity_changes_nothing)
{
    world w = world_of("llama", "lora", NULL, WAY);
    ag_real *grad[2];
    for (int i = 0; i < 2; i++) {
        meta_options o = options_of(META_HEAD_MODEL, 2);
        o.support_capacity = o.query_capacity = i ? N * LENGTH : N * LENGTH - 1;
        meta_learner *l = test_learner(&w.m, &o);
        meta_state s = state_of(l);
        ag_error err = { 0 };
        meta_batch b = { .n_task = TASK, .fetch = fetch, .ctx = &o };
        grad[i] = test_alloc((size_t)s.n * sizeof **grad);
        ck_assert_int_eq(meta_outer_gradient(l, &s, &b, grad[i], NULL, &err), AG_OK);
        if (i) {
            double distance = test_distance_real(s.n, grad[1], grad[0]);
            ck_assert_msg(distance <= SAME, "%.3g apart", distance);
        }
        meta_state_release(&s);
        meta_learner_free(l);
    }
    free(grad[0]);
    free(grad[1]);
    world_release(&w);
}
END_TEST

/* B = 0: the support loss's gradient for A is zero, for B it is not; only the outer gradient of A through the query may move. */
START_TEST(a_standard_start_is_the_frozen_network_itself)
{
    world plain = world_of("bert", NULL, NULL, WAY);
    ag_error err = { 0 };
    static const char *const targets[] = { "query", "value" };
    meta_adapter *a;
    nn_model m;
    ck_assert_int_eq(meta_adapter_new(&a, plain.net, &(meta_adapter_options){ .rank = 2, .n_target = 2, .targets = targets }, &err), AG_OK);
    meta_network_model_options mo = { .net = plain.net, .adapter = a, .n_class = WAY, .max_tokens = LENGTH };
    ck_assert_int_eq(meta_network_model(&m, &mo, &err), AG_OK);
    double loss[2][TASK];
    for (int i = 0; i < 2; i++) {
        meta_options o = options_of(META_HEAD_MODEL, 0);
        meta_learner *l = test_learner(i ? &m : &plain.m, &o);
        meta_state s = test_state(l, 4);
        meta_scorer *sc;
        for (int64_t j = 0; j < WAY * 8 + WAY; j++)   /* the head */
            s.values[s.n_value - 1 - j] = (ag_real)sin((double)j);
        meta_batch b = { .n_task = TASK, .fetch = fetch, .ctx = &o };
        ck_assert_int_eq(meta_scorer_new(&sc, l, &(meta_scorer_options){ .n_support = N, .n_query = N }, &err), AG_OK);
        ck_assert_int_eq(meta_scorer_run(sc, &s, &b, loss[i], NULL, &err), AG_OK);
        meta_scorer_free(sc);
        meta_state_release(&s);
        meta_learner_free(l);
    }
    for (int i = 0; i < TASK; i++)
        ck_close(loss[0][i], loss[1][i], 1e-6);
    nn_model_release(&m);
    meta_adapter_free(a);
    world_release(&plain);
}
END_TEST

START_TEST(dropout_hangs_on_the_batchs_seed_alone)
{
    world w = world_of("bert", NULL, NULL, 0);
    ag_error err = { 0 };
    static const char *const targets[] = { "query", "value" };
    meta_adapter *a;
    nn_model m;
    meta_adapter_options ao = { .init = "gaussian", .rank = 2, .dropout = 0.5, .n_target = 2, .targets = targets };
    ck_assert_int_eq(meta_adapter_new(&a, w.net, &ao, &err), AG_OK);
    ck_assert_int_eq(meta_network_model(&m, &(meta_network_model_options){ .net = w.net, .adapter = a, .n_class = WAY, .max_tokens = LENGTH }, &err), AG_OK);
    meta_options o = options_of(META_HEAD_MODEL, 1);
    o.dropout = true;
    meta_learner *l = test_learner(&m, &o);
    meta_state s = state_of(l);
    meta_report report[3];
    ag_real *grad = test_alloc((size_t)s.n * sizeof *grad);
    for (int i = 0; i < 3; i++) {
        meta_batch b = { .n_task = TASK, .fetch = fetch, .ctx = &o, .seed = i < 2 ? 7 : 8 };
        ck_assert_int_eq(meta_outer_gradient(l, &s, &b, grad, &report[i], &err), AG_OK);
    }
    ck_assert(report[0].query_loss == report[1].query_loss);
    ck_assert(report[0].query_loss != report[2].query_loss);
    free(grad);
    meta_state_release(&s);
    meta_learner_free(l);
    nn_model_release(&m);
    meta_adapter_free(a);
    world_release(&w);
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
    world w = world_of("bert", NULL, NULL, 0);
    ag_error err = { 0 };
    nn_model m;
    ck_assert_int_eq(meta_network_model(&m, &(meta_network_model_options){ .net = w.net, .max_tokens = 17 }, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "16 positions"));
    ag_error_clear(&err);
    ck_assert_int_eq(meta_network_model(&m, &(meta_network_model_options){ .net = w.net }, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "reads texts"));
    ag_error_clear(&err);
    ck_assert_int_eq(meta_network_model(&m, &(meta_network_model_options){ .net = w.net, .max_tokens = 8, .train = "nothing" }, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "matches none"));
    world_release(&w);
}
END_TEST

TEST_MAIN(second_order_through_attention_equals_the_long_tape, heads_made_from_the_support_work_on_networks,
          base_weights_can_be_trained_too, unused_capacity_changes_nothing, a_standard_start_is_the_frozen_network_itself,
          dropout_hangs_on_the_batchs_seed_alone, what_does_not_fit_is_refused)
