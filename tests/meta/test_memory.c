/* Memory of exact second order: it grows with the inner steps by the adapted parameters only, and once a learner is made,
 * gradients and scores allocate nothing. */
#include "tests/meta/episodes.h"

#include <stdatomic.h>
#include <stdint.h>

/* ---- an allocator that counts ---- */

typedef struct counter {
    atomic_llong calls, live_blocks;
    atomic_llong live, peak;       /* [bytes] */
    long long fail_at;             /* this call fails; 0: none */
} counter;

enum { HEADER = 64 };

static void *counting_alloc(size_t bytes, void *ctx)
{
    counter *c = ctx;
    if (atomic_fetch_add(&c->calls, 1) + 1 == c->fail_at)
        return NULL;
    char *p = aligned_alloc(64, HEADER + (bytes + 63) / 64 * 64);
    if (!p)
        return NULL;
    memcpy(p, &bytes, sizeof bytes);
    long long live = atomic_fetch_add(&c->live, (long long)bytes) + (long long)bytes, peak = atomic_load(&c->peak);
    while (live > peak && !atomic_compare_exchange_weak(&c->peak, &peak, live))
        ;
    atomic_fetch_add(&c->live_blocks, 1);
    return p + HEADER;
}

static void counting_release(void *p, void *ctx)
{
    counter *c = ctx;
    size_t bytes;
    if (!p)
        return;
    memcpy(&bytes, (char *)p - HEADER, sizeof bytes);
    atomic_fetch_sub(&c->live, (long long)bytes);
    atomic_fetch_sub(&c->live_blocks, 1);
    free((char *)p - HEADER);
}

static void count_with(counter *c)
{
    ag_set_allocator(c ? &(ag_allocator){ counting_alloc, counting_release, c } : NULL);
}

/* ---- what is measured ---- */

static const nn_options mlp = { .kind = "mlp", .x_ndim = 1, .x_shape = { 1 }, .n_out = 1, .n_hidden = 2, .hidden = { 40, 40 } };
static const nn_options conv4 = { .kind = "conv4", .x_ndim = 3, .x_shape = { 16, 16, 1 }, .n_out = 3, .filters = 4,
                                  .batch_norm = true, .norm_epsilon = 1e-3 };

typedef struct usage {
    long long peak, held, after;   /* [bytes] the most ever; after a gradient; after everything was freed */
    size_t bytes, step_bytes;      /* what the learner says of itself */
} usage;

/* gradient: if given, receives the meta-gradient, which the caller frees. */
static usage measure_keeping(const nn_options *model, meta_loss loss, int64_t steps, int threads, int64_t keep_bytes, ag_real **gradient)
{
    nn_model m = test_model(model);
    episodes e;
    episodes_draw(&e, &m, loss, 6, 3, 3);
    counter c = { 0 };
    count_with(&c);
    meta_options o = { .loss = loss, .inner_lr = 1e-3, .train_steps = steps, .n_support = 3, .n_query = 3, .chunk = 2, .threads = threads,
                       .keep_bytes = keep_bytes };
    meta_learner *l = test_learner(&m, &o);
    meta_state s = test_state(l, 1);
    ag_real *grad = test_gradient(l, &s, &e, NULL);
    if (gradient)
        *gradient = grad;
    else
        free(grad);
    usage u = { .bytes = meta_learner_bytes(l), .step_bytes = meta_learner_step_bytes(l) };
    u.peak = atomic_load(&c.peak);
    u.held = atomic_load(&c.live);
    meta_state_release(&s);
    meta_learner_free(l);
    u.after = atomic_load(&c.live);
    count_with(NULL);
    episodes_release(&e);
    return u;
}

static usage measure(const nn_options *model, meta_loss loss, int64_t steps, int threads)
{
    return measure_keeping(model, loss, steps, threads, 0, NULL);
}

/* A learner of one step has no program for later steps, so exact equality is from two steps on. */
static void check_growth(const nn_options *model, meta_loss loss, int threads)
{
    int64_t many = test_under_valgrind() ? 20 : 1000;
    usage one = measure(model, loss, 1, threads), two = measure(model, loss, 2, threads), last = measure(model, loss, many, threads);
    nn_model m = test_model(model);
    int64_t adapted = 0;
    for (int p = 0; p < m.n_param; p++)
        adapted += m.param[p].norm ? 0 : m.param[p].numel;
    ck_assert_int_eq(one.step_bytes, (size_t)threads * 2 * (size_t)adapted * sizeof(ag_real));
    ck_assert_int_eq(last.step_bytes, one.step_bytes);
    ck_assert_int_eq(last.bytes, two.bytes);
    ck_assert_int_eq(last.peak - two.peak, (many - 2) * (long long)two.step_bytes);
    ck_assert_msg(last.bytes <= 2 * one.bytes, "%zu bytes at many steps, %zu at 1", last.bytes, one.bytes);
    ck_assert_int_eq(one.after + two.after + last.after, 0);
}

START_TEST(a_thousand_steps_need_no_more_memory_than_two_but_for_the_adapted_parameters)
{
    check_growth(&mlp, META_MSE, 1);
    check_growth(&mlp, META_MSE, 2);
    check_growth(&conv4, META_CROSS_ENTROPY, 1);
}
END_TEST

START_TEST(kept_steps_fit_their_memory_and_change_no_bits)
{
    enum { STEPS = 6 };
    ag_real *want = NULL, *got = NULL;
    nn_model m = test_model(&conv4);
    usage none = measure_keeping(&conv4, META_CROSS_ENTROPY, STEPS, 1, 0, &want);
    usage two = measure_keeping(&conv4, META_CROSS_ENTROPY, STEPS, 2, 0, NULL);
    usage all = measure_keeping(&conv4, META_CROSS_ENTROPY, STEPS, 1, INT64_MAX, &got);
    int64_t each = (int64_t)(all.bytes - none.bytes) / (STEPS - 2);
    ck_assert(each > 0 && (int64_t)(all.bytes - none.bytes) == each * (STEPS - 2));
    ck_assert(memcmp(got, want, (size_t)m.n_value * sizeof *got) == 0);
    free(got);
    for (int64_t kept = 0; kept <= STEPS; kept++)
        for (int64_t more = 0; more < each; more += each - 1) {
            usage u = measure_keeping(&conv4, META_CROSS_ENTROPY, STEPS, 2, kept * each + more, &got);
            int64_t fit = kept < STEPS - 2 ? kept : STEPS - 2;
            ck_assert_int_eq((int64_t)(u.bytes - two.bytes), 2 * fit * each);
            ck_assert_msg(memcmp(got, want, (size_t)m.n_value * sizeof *got) == 0, "%lld kept", (long long)kept);
            free(got);
        }
    free(want);
}
END_TEST

START_TEST(a_learner_holds_little_more_than_it_says)
{
    nn_options model = conv4;
    model.x_shape[0] = model.x_shape[1] = 28;
    model.filters = 64;
    for (int64_t steps = 0; steps <= (test_under_valgrind() ? 0 : 3); steps++) {
        usage u = measure(&model, META_CROSS_ENTROPY, steps, 2);
        double said = (double)(u.bytes + (size_t)steps * u.step_bytes), held = (double)u.held;
        ck_assert_msg(held >= said && held < 1.2 * said, "%lld steps: it says %.0f bytes and holds %.0f", (long long)steps, said, held);
    }
}
END_TEST

static long long calls(counter *c)
{
    return atomic_load(&c->calls);
}

static void check_no_allocation(const nn_options *model, meta_loss loss, int threads, int64_t steps, bool first_order)
{
    enum { N_TASK = 7 };
    nn_model m = test_model(model);
    episodes e;
    episodes_draw(&e, &m, loss, N_TASK, 3, 3);
    counter c = { 0 };
    count_with(&c);
    meta_options o = { .loss = loss, .inner_lr = 0.01, .train_steps = steps, .first_order = first_order, .learn_rates = true,
                       .rate_scope = META_RATE_TENSOR, .n_support = 3, .n_query = 3, .chunk = 2, .threads = threads };
    meta_learner *l = test_learner(&m, &o);
    meta_state s = test_state(l, 1);
    ag_real *grad = test_gradient(l, &s, &e, NULL);     /* the first call makes room for the chunks */
    meta_batch b = episodes_batch(&e);
    meta_report report;
    long long before = calls(&c);
    for (int again = 0; again < 3; again++) {
        ck_assert_int_eq(meta_outer_gradient(l, &s, &b, grad, &report, NULL), AG_OK);
        b.n_task--;                                     /* fewer tasks need no more room */
    }
    ck_assert_int_eq(calls(&c) - before, 0);
    for (int inductive = 0; inductive < 2; inductive++) {
        meta_scorer *sc;
        double scores[2][N_TASK * 4];
        ck_assert_int_eq(meta_scorer_new(&sc, l, &(meta_scorer_options){ .n_support = 3, .n_query = 3, .steps = 3, .inductive = inductive }, NULL), AG_OK);
        before = calls(&c);
        ck_assert_int_eq(meta_scorer_run(sc, &s, &b, scores[0], scores[1], NULL), AG_OK);
        ck_assert_int_eq(calls(&c) - before, 0);
        meta_scorer_free(sc);
    }
    free(grad);
    meta_state_release(&s);
    meta_learner_free(l);
    ck_assert_int_eq(atomic_load(&c.live_blocks), 0);
    count_with(NULL);
    episodes_release(&e);
}

START_TEST(a_second_gradient_and_any_score_allocate_nothing)
{
    int least = test_under_valgrind() ? 2 : 0;
    for (int threads = least > 1 ? least : 1; threads <= 2; threads++)
        for (int64_t steps = least; steps <= 3; steps++) {
            check_no_allocation(&mlp, META_MSE, threads, steps, false);
            check_no_allocation(&conv4, META_CROSS_ENTROPY, threads, steps, false);
            check_no_allocation(&conv4, META_CROSS_ENTROPY, threads, steps, true);
        }
}
END_TEST

/* Makes a learner, a state, a gradient and scores; the first failure ends it. */
static ag_code make_and_use(const nn_model *m, episodes *e, ag_error *err)
{
    meta_options o = { .loss = META_CROSS_ENTROPY, .inner_lr = 0.1, .train_steps = 3, .n_support = 3, .n_query = 3, .chunk = 2, .threads = 2,
                       .keep_bytes = 1 << 20 };
    meta_learner *l = NULL;
    meta_scorer *sc = NULL;
    meta_state s = { 0 };
    ag_real *grad = test_alloc((size_t)m->n_value * sizeof *grad);
    double scores[6 * 2];
    meta_batch b = episodes_batch(e);
    ag_code code = meta_learner_new(&l, m, &o, err);
    if (code == AG_OK)
        code = meta_state_init(&s, l, 1, err);
    if (code == AG_OK)
        code = meta_outer_gradient(l, &s, &b, grad, NULL, err);
    if (code == AG_OK)
        code = meta_scorer_new(&sc, l, &(meta_scorer_options){ .n_support = 3, .n_query = 3, .steps = 1, .inductive = true }, err);
    if (code == AG_OK)
        code = meta_scorer_run(sc, &s, &b, scores, NULL, err);
    meta_scorer_free(sc);
    meta_state_release(&s);
    meta_learner_free(l);
    free(grad);
    return code;
}

START_TEST(every_failed_allocation_is_reported_and_leaves_nothing_behind)
{
    nn_model m = test_model(&(nn_options){ .kind = "mlp", .x_ndim = 1, .x_shape = { 2 }, .n_out = 3, .n_hidden = 1, .hidden = { 4 } });
    episodes e;
    episodes_draw(&e, &m, META_CROSS_ENTROPY, 6, 3, 3);
    long long at = 0, made = 0, failed = 0, stride = test_under_valgrind() ? 23 : 1;
    while (made >= at) {                       /* until the one that is to fail is never asked for */
        counter c = { .fail_at = at += stride };
        ag_error err = { 0 };
        count_with(&c);
        ag_code code = make_and_use(&m, &e, &err);
        count_with(NULL);
        made = calls(&c);
        /* The tape's table of what it has seen before may stay small: then all is well, only more is recorded. */
        ck_assert_msg(code == AG_OK || code == AG_ENOMEM, "allocation %lld: %s %s", at, ag_code_name(code), err.message);
        ck_assert_msg(code == err.code && (code == AG_OK || err.message[0]), "allocation %lld: no message", at);
        ck_assert_msg(atomic_load(&c.live_blocks) == 0, "allocation %lld: %lld blocks are left", at, (long long)atomic_load(&c.live_blocks));
        failed += code != AG_OK;
    }
    ck_assert_int_gt(failed, 50 / stride);
    episodes_release(&e);
}
END_TEST

TEST_MAIN(a_thousand_steps_need_no_more_memory_than_two_but_for_the_adapted_parameters,
          kept_steps_fit_their_memory_and_change_no_bits, a_learner_holds_little_more_than_it_says, a_second_gradient_and_any_score_allocate_nothing,
          every_failed_allocation_is_reported_and_leaves_nothing_behind)
