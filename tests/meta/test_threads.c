/* Results have the same bits, and failures name the same task, whatever the number of threads. */
#include "tests/meta/episodes.h"

static const int threads[] = { 1, 2, 3, 8 };
enum { N_THREADS = sizeof threads / sizeof *threads, CHUNK = 3 };

static const nn_options mlp = { .kind = "mlp", .x_ndim = 1, .x_shape = { 2 }, .n_out = 2, .n_hidden = 2, .hidden = { 16, 16 } };
static const nn_options conv4 = { .kind = "conv4", .x_ndim = 3, .x_shape = { 16, 16, 1 }, .n_out = 3, .filters = 4,
                                  .batch_norm = true, .norm_epsilon = 1e-3 };

static meta_options options_with(meta_loss loss, int n_threads, bool first_order)
{
    return (meta_options){ .loss = loss, .inner_lr = 0.05, .rate_scope = META_RATE_TENSOR, .learn_rates = true, .train_steps = 2,
                           .first_order = first_order, .n_support = 4, .n_query = 3, .chunk = CHUNK, .threads = n_threads };
}

static void check_gradients(const nn_options *model, meta_loss loss, int64_t n_task, bool first_order)
{
    nn_model m = test_model(model);
    episodes e;
    episodes_draw(&e, &m, loss, n_task, 4, 3);
    ag_real *want = NULL;
    meta_report expected;
    for (int i = 0; i < N_THREADS; i++) {
        meta_options o = options_with(loss, threads[i], first_order);
        meta_learner *l = test_learner(&m, &o);
        meta_state s = test_state(l, 2);
        for (int again = 0; again < 3; again++) {
            meta_report report;
            ag_real *grad = test_gradient(l, &s, &e, &report);
            if (!want) {
                want = grad;
                expected = report;
                continue;
            }
            ck_assert_msg(memcmp(grad, want, (size_t)s.n * sizeof *grad) == 0, "%s: %lld tasks, %d threads", model->kind,
                          (long long)n_task, threads[i]);
            ck_assert(report.support_loss == expected.support_loss && report.query_loss == expected.query_loss);
            ck_assert(loss == META_MSE || report.query_accuracy == expected.query_accuracy);
            ck_assert_int_eq(report.bad_task, -1);
            free(grad);
        }
        meta_state_release(&s);
        meta_learner_free(l);
    }
    free(want);
    episodes_release(&e);
}

START_TEST(gradients_have_the_same_bits_for_any_number_of_threads)
{
    static const int64_t n_tasks[] = { 1, 2, 3, 4, 7, 25 };
    for (size_t i = test_under_valgrind() ? 5 : 0; i < sizeof n_tasks / sizeof *n_tasks; i++)
        for (int first_order = 0; first_order < 2; first_order++) {
            check_gradients(&mlp, META_MSE, n_tasks[i], first_order);
            check_gradients(&conv4, META_CROSS_ENTROPY, n_tasks[i], first_order);
        }
}
END_TEST

START_TEST(scores_have_the_same_bits_for_any_number_of_threads)
{
    enum { N_TASK = 11, STEPS = 3 };
    nn_model m = test_model(&conv4);
    episodes e;
    episodes_draw(&e, &m, META_CROSS_ENTROPY, N_TASK, 4, 3);
    meta_batch b = episodes_batch(&e);
    double want[2][2][N_TASK * (STEPS + 1)], got[2][N_TASK * (STEPS + 1)];
    for (int i = 0; i < N_THREADS; i++)
        for (int inductive = 0; inductive < 2; inductive++) {
            meta_options o = options_with(META_CROSS_ENTROPY, threads[i], false);
            meta_learner *l = test_learner(&m, &o);
            meta_state s = test_state(l, 2);
            meta_scorer *sc;
            meta_scorer_options so = { .n_support = 4, .n_query = 3, .steps = STEPS, .inductive = inductive };
            ck_assert_int_eq(meta_scorer_new(&sc, l, &so, NULL), AG_OK);
            ck_assert_int_eq(meta_scorer_run(sc, &s, &b, got[0], got[1], NULL), AG_OK);
            if (i == 0)
                memcpy(want[inductive], got, sizeof got);
            ck_assert_msg(memcmp(got, want[inductive], sizeof got) == 0, "%d threads", threads[i]);
            meta_scorer_free(sc);
            meta_state_release(&s);
            meta_learner_free(l);
        }
    episodes_release(&e);
}
END_TEST

/* ---- failures ---- */

typedef struct faulty {
    episodes e;
    bool refuse[32];           /* fetch fails when it is asked for this task */
} faulty;

static ag_code faulty_fetch(void *ctx, int64_t first, int64_t count, void *support_x, void *support_y, void *query_x,
                            void *query_y, ag_error *err)
{
    faulty *f = ctx;
    for (int64_t i = first; i < first + count; i++)
        AG_REQUIRE(!f->refuse[i], err, AG_EDATA, "task %lld is missing", (long long)i);
    return episodes_fetch(&f->e, first, count, support_x, support_y, query_x, query_y, err);
}

static void faulty_init(faulty *f, const nn_model *m, int64_t n_task)
{
    memset(f, 0, sizeof *f);
    episodes_draw(&f->e, m, META_MSE, n_task, 4, 3);
}

/* Runs 22 tasks on each number of threads; each must fail with this code and message, and report the same bad task. */
static void check_failure(const nn_model *m, faulty *f, ag_code code, const char *message, int64_t bad_task)
{
    for (int i = 0; i < N_THREADS; i++)
        for (int again = 0; again < 5; again++) {
            meta_options o = options_with(META_MSE, threads[i], false);
            meta_learner *l = test_learner(m, &o);
            meta_state s = test_state(l, 2);
            meta_report report;
            ag_error err = { 0 };
            ag_real *grad = test_alloc((size_t)s.n * sizeof *grad);
            meta_batch b = { .n_task = f->e.n_task, .fetch = faulty_fetch, .ctx = f };
            ck_assert_int_eq(meta_outer_gradient(l, &s, &b, grad, &report, &err), code);
            ck_assert_int_eq(err.code, code);
            ck_assert_msg(strstr(err.message, message), "'%s' does not say '%s'", err.message, message);
            if (bad_task >= 0)
                ck_assert_int_eq(report.bad_task, bad_task);
            ck_assert_int_eq(meta_outer_gradient(l, &s, &b, grad, NULL, NULL), code);
            free(grad);
            meta_state_release(&s);
            meta_learner_free(l);
        }
}

START_TEST(the_first_task_that_cannot_be_fetched_is_the_one_reported)
{
    nn_model m = test_model(&mlp);
    faulty f;
    faulty_init(&f, &m, 22);
    f.refuse[21] = true;
    check_failure(&m, &f, AG_EDATA, "task 21 is missing", -1);
    f.refuse[13] = f.refuse[8] = f.refuse[7] = true;
    check_failure(&m, &f, AG_EDATA, "task 7 is missing", -1);
    episodes_release(&f.e);
}
END_TEST

static void spoil(episodes *e, int64_t task, bool query)
{
    if (query)
        e->query_x[task * e->n_query * e->x_numel] = (ag_real)NAN;
    else
        e->support_x[task * e->n_support * e->x_numel + 1] = (ag_real)INFINITY;
}

START_TEST(the_first_task_that_is_not_finite_is_the_one_reported)
{
    nn_model m = test_model(&mlp);
    faulty f;
    faulty_init(&f, &m, 22);
    spoil(&f.e, 20, true);
    check_failure(&m, &f, AG_ENAN, "task 20", 20);
    spoil(&f.e, 11, false);
    check_failure(&m, &f, AG_ENAN, "task 11", 11);
    spoil(&f.e, 10, true);
    check_failure(&m, &f, AG_ENAN, "task 10", 10);
    episodes_release(&f.e);
}
END_TEST

START_TEST(a_learner_works_on_after_a_failure)
{
    nn_model m = test_model(&mlp);
    faulty f;
    faulty_init(&f, &m, 8);
    meta_options o = options_with(META_MSE, 2, false);
    meta_learner *l = test_learner(&m, &o);
    meta_state s = test_state(l, 2);
    ag_real *want = test_gradient(l, &s, &f.e, NULL), *got = test_alloc((size_t)s.n * sizeof *got);
    meta_batch b = { .n_task = 8, .fetch = faulty_fetch, .ctx = &f };
    ag_real kept = f.e.query_x[3 * f.e.n_query * f.e.x_numel];
    spoil(&f.e, 3, true);
    ck_assert_int_eq(meta_outer_gradient(l, &s, &b, got, NULL, NULL), AG_ENAN);
    f.refuse[5] = true;
    ck_assert_int_ne(meta_outer_gradient(l, &s, &b, got, NULL, NULL), AG_OK);
    f.refuse[5] = false;
    f.e.query_x[3 * f.e.n_query * f.e.x_numel] = kept;
    ck_assert_int_eq(meta_outer_gradient(l, &s, &b, got, NULL, NULL), AG_OK);
    ck_assert_mem_eq(got, want, (size_t)s.n * sizeof *got);
    free(got);
    free(want);
    meta_state_release(&s);
    meta_learner_free(l);
    episodes_release(&f.e);
}
END_TEST

START_TEST(a_batch_without_tasks_is_refused)
{
    nn_model m = test_model(&mlp);
    meta_options o = options_with(META_MSE, 1, false);
    meta_learner *l = test_learner(&m, &o);
    meta_state s = test_state(l, 2);
    ag_error err = { 0 };
    ag_real *grad = test_alloc((size_t)s.n * sizeof *grad);
    ck_assert_int_eq(meta_outer_gradient(l, &s, &(meta_batch){ .n_task = 0, .fetch = faulty_fetch }, grad, NULL, &err), AG_EINVAL);
    ck_assert(strstr(err.message, "0 tasks; at least 1 is expected"));
    free(grad);
    meta_state_release(&s);
    meta_learner_free(l);
}
END_TEST

TEST_MAIN(gradients_have_the_same_bits_for_any_number_of_threads, scores_have_the_same_bits_for_any_number_of_threads,
          the_first_task_that_cannot_be_fetched_is_the_one_reported, the_first_task_that_is_not_finite_is_the_one_reported,
          a_learner_works_on_after_a_failure, a_batch_without_tasks_is_refused)
