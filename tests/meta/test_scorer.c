/* Scores of adaptation: against the outer gradient's report, and against a tape that evaluates one batch at a time. */
#include "tests/meta/episodes.h"

#ifdef AG_DOUBLE
#define SAME 1e-11
#else
#define SAME 1e-5
#endif

enum { N_TASK = 5, N_SUPPORT = 6, N_QUERY = 4, STEPS = 3, WIDTH = STEPS + 1 };

static const nn_options mlp = { .kind = "mlp", .x_ndim = 1, .x_shape = { 3 }, .n_out = 3, .n_hidden = 1, .hidden = { 8 },
                                .activation = "tanh" };
static const nn_options normed = { .kind = "mlp", .x_ndim = 1, .x_shape = { 3 }, .n_out = 3, .n_hidden = 1, .hidden = { 8 },
                                   .activation = "tanh", .batch_norm = true, .norm_scale = true, .norm_epsilon = 1e-3 };

static const meta_options base = { .loss = META_CROSS_ENTROPY, .support_scale = 2, .inner_lr = 0.2, .rate_scope = META_RATE_TENSOR,
                                   .n_support = N_SUPPORT, .n_query = N_QUERY, .chunk = 2 };

typedef struct scores {
    double loss[N_TASK * WIDTH], accuracy[N_TASK * WIDTH];
} scores;

static scores score(const meta_learner *l, const meta_state *s, episodes *e, const meta_scorer_options *o)
{
    scores out;
    meta_scorer *sc;
    meta_batch b = episodes_batch(e);
    ag_error err = { 0 };
    ck_assert_msg(meta_scorer_new(&sc, l, o, &err) == AG_OK, "%s", err.message);
    ck_assert_msg(meta_scorer_run(sc, s, &b, out.loss, out.accuracy, &err) == AG_OK, "%s", err.message);
    meta_scorer_free(sc);
    return out;
}

static double mean_at(const double *matrix, int64_t width, int64_t step)
{
    double sum = 0;
    for (int task = 0; task < N_TASK; task++)
        sum += matrix[task * width + step];
    return sum / N_TASK;
}

static void check_report(const nn_options *model, meta_loss loss, bool adapt_norm)
{
    nn_model m = test_model(model);
    episodes e;
    episodes_draw(&e, &m, loss, N_TASK, N_SUPPORT, N_QUERY);
    meta_options o = base;
    o.loss = loss;
    o.adapt_norm = adapt_norm;
    meta_learner *l = test_learner(&m, &o);
    meta_state s = test_state(l, 3);
    scores got = score(l, &s, &e, &(meta_scorer_options){ .n_support = N_SUPPORT, .n_query = N_QUERY, .steps = STEPS });
    for (o.train_steps = 0; o.train_steps <= STEPS; o.train_steps++) {
        meta_learner *trainer = test_learner(&m, &o);
        meta_report report;
        free(test_gradient(trainer, &s, &e, &report));
        ck_close(mean_at(got.loss, WIDTH, o.train_steps), report.query_loss, SAME);
        if (loss == META_CROSS_ENTROPY)
            ck_close(mean_at(got.accuracy, WIDTH, o.train_steps), report.query_accuracy, 1e-6);
        meta_learner_free(trainer);
    }
    ck_assert(mean_at(got.loss, WIDTH, 0) != mean_at(got.loss, WIDTH, STEPS));
    meta_state_release(&s);
    meta_learner_free(l);
    episodes_release(&e);
}

START_TEST(each_step_scores_as_the_outer_gradient_reports_for_as_many_steps)
{
    check_report(&mlp, META_MSE, false);
    check_report(&mlp, META_CROSS_ENTROPY, false);
    check_report(&normed, META_CROSS_ENTROPY, false);
    check_report(&normed, META_CROSS_ENTROPY, true);
}
END_TEST

START_TEST(a_rate_of_the_scorer_replaces_those_of_the_state)
{
    nn_model m = test_model(&mlp);
    episodes e;
    episodes_draw(&e, &m, META_CROSS_ENTROPY, N_TASK, N_SUPPORT, N_QUERY);
    meta_learner *l = test_learner(&m, &base);
    meta_state s = test_state(l, 3);
    meta_scorer_options o = { .n_support = N_SUPPORT, .n_query = N_QUERY, .steps = STEPS, .inner_lr = 0.05 };
    scores replaced = score(l, &s, &e, &o);
    for (int64_t i = 0; i < s.n_rate; i++)
        s.values[s.n_value + i] = (ag_real)0.05;
    o.inner_lr = 0;
    scores own = score(l, &s, &e, &o);
    ck_assert_mem_eq(&replaced, &own, sizeof own);
    meta_state_release(&s);
    meta_learner_free(l);
    episodes_release(&e);
}
END_TEST

/* Columns 0 .. n - 1 of `some` are the columns at[i] of `all`, bit for bit. */
static void check_columns(const scores *some, const scores *all, const int64_t *at, int64_t n)
{
    for (int task = 0; task < N_TASK; task++)
        for (int64_t i = 0; i < n; i++) {
            ck_assert(some->loss[task * n + i] == all->loss[task * WIDTH + at[i]]);
            ck_assert(some->accuracy[task * n + i] == all->accuracy[task * WIDTH + at[i]]);
        }
}

START_TEST(chosen_steps_have_the_scores_that_they_have_among_all)
{
    static const struct { int64_t n, at[WIDTH]; } lists[] = { { 1, { 3 } }, { 2, { 0, 3 } }, { 2, { 2, 3 } }, { 3, { 0, 1, 3 } }, { 4, { 0, 1, 2, 3 } } };
    for (int inductive = 0; inductive < 2; inductive++) {
        nn_model m = test_model(&normed);
        episodes e;
        episodes_draw(&e, &m, META_CROSS_ENTROPY, N_TASK, N_SUPPORT, N_QUERY);
        meta_learner *l = test_learner(&m, &base);
        meta_state s = test_state(l, 3);
        meta_scorer_options o = { .n_support = N_SUPPORT, .n_query = N_QUERY, .steps = STEPS, .inductive = inductive };
        const scores all = score(l, &s, &e, &o);
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
            o.score = lists[i].at;
            o.n_score = lists[i].n;
            const scores some = score(l, &s, &e, &o);
            check_columns(&some, &all, lists[i].at, lists[i].n);
        }
        meta_state_release(&s);
        meta_learner_free(l);
        episodes_release(&e);
    }
}
END_TEST

START_TEST(steps_that_do_not_ascend_to_the_last_are_refused)
{
    static const struct { int64_t n, at[3]; } lists[] = { { 0, { 0 } }, { 1, { 2 } }, { 2, { 3, 3 } }, { 2, { 2, 1 } }, { 3, { 1, 0, 3 } }, { 2, { -1, 3 } }, { 2, { 4, 3 } } };
    nn_model m = test_model(&mlp);
    meta_learner *l = test_learner(&m, &base);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        meta_scorer *sc;
        ag_error err = { 0 };
        ck_assert_int_eq(meta_scorer_new(&sc, l, &(meta_scorer_options){ .n_support = N_SUPPORT, .n_query = N_QUERY, .steps = STEPS,
                                         .score = lists[i].at, .n_score = lists[i].n }, &err), AG_EINVAL);
        ck_assert_msg(strstr(err.message, "scored"), "%s", err.message);
    }
    meta_learner_free(l);
}
END_TEST

/* The mean over the query of the loss of each example, in a batch of {support, that one}, at the initial parameters. */
static double plain_inductive(const nn_model *m, const meta_state *s, const episodes *e, int64_t task)
{
    double sum = 0;
    for (int q = 0; q < N_QUERY; q++) {
        ag_real x[(N_SUPPORT + 1) * 3], logits[(N_SUPPORT + 1) * 3];
        ag_tensor *param[32];
        ag_tape *t = ag_tape_new(NULL, NULL);
        memcpy(x, e->support_x + task * N_SUPPORT * 3, N_SUPPORT * 3 * sizeof *x);
        memcpy(x + N_SUPPORT * 3, e->query_x + (task * N_QUERY + q) * 3, 3 * sizeof *x);
        for (int p = 0; p < m->n_param; p++) {
            ag_spec spec = { .ndim = m->param[p].ndim };
            memcpy(spec.shape, m->param[p].shape, sizeof m->param[p].shape);
            param[p] = ag_value(t, &spec, s->values + m->param[p].offset);
        }
        ag_tensor *y = m->forward(m, t, param, &(nn_input){ .x = ag_value(t, &(ag_spec){ .ndim = 2, .shape = { N_SUPPORT + 1, 3 } }, x) });
        ck_assert_int_eq(ag_read(y, logits), AG_OK);
        ag_tape_free(t);
        const ag_real *z = logits + N_SUPPORT * 3;
        int32_t label = ((int32_t *)e->query_y)[task * N_QUERY + q];
        sum += log(exp((double)z[0]) + exp((double)z[1]) + exp((double)z[2])) - (double)z[label];
    }
    return sum / N_QUERY;
}

START_TEST(inductive_scores_normalise_each_query_example_with_the_support_only)
{
    nn_model m = test_model(&normed);
    episodes e;
    episodes_draw(&e, &m, META_CROSS_ENTROPY, N_TASK, N_SUPPORT, N_QUERY);
    meta_learner *l = test_learner(&m, &base);
    meta_state s = test_state(l, 3);
    meta_scorer_options o = { .n_support = N_SUPPORT, .n_query = N_QUERY, .steps = STEPS };
    scores together = score(l, &s, &e, &o);
    o.inductive = true;
    scores got = score(l, &s, &e, &o);
    for (int task = 0; task < N_TASK; task++) {
        ck_close(got.loss[task * WIDTH], plain_inductive(&m, &s, &e, task), SAME);
        ck_assert(fabs(got.loss[task * WIDTH] - together.loss[task * WIDTH]) > 1e-3);
    }
    /* At every step a query is worth the mean of its examples scored one by one. */
    scores one, mean = { { 0 }, { 0 } };
    for (int q = 0; q < N_QUERY; q++) {
        episodes alone = e;
        alone.n_query = 1;
        alone.query_x = test_alloc(N_TASK * 3 * sizeof(ag_real));
        alone.query_y = test_alloc(N_TASK * sizeof(int32_t));
        for (int task = 0; task < N_TASK; task++) {
            memcpy(alone.query_x + task * 3, e.query_x + (task * N_QUERY + q) * 3, 3 * sizeof(ag_real));
            ((int32_t *)alone.query_y)[task] = ((int32_t *)e.query_y)[task * N_QUERY + q];
        }
        o.n_query = 1;
        one = score(l, &s, &alone, &o);
        for (int i = 0; i < N_TASK * WIDTH; i++) {
            mean.loss[i] += one.loss[i] / N_QUERY;
            mean.accuracy[i] += one.accuracy[i] / N_QUERY;
        }
        free(alone.query_x);
        free(alone.query_y);
    }
    for (int i = 0; i < N_TASK * WIDTH; i++) {
        ck_close(got.loss[i], mean.loss[i], SAME);
        ck_close(got.accuracy[i], mean.accuracy[i], 1e-6);
    }
    meta_state_release(&s);
    meta_learner_free(l);
    episodes_release(&e);
}
END_TEST

START_TEST(without_normalisation_inductive_and_transductive_scores_agree)
{
    nn_model m = test_model(&mlp);
    episodes e;
    episodes_draw(&e, &m, META_CROSS_ENTROPY, N_TASK, N_SUPPORT, N_QUERY);
    meta_learner *l = test_learner(&m, &base);
    meta_state s = test_state(l, 3);
    meta_scorer_options o = { .n_support = N_SUPPORT, .n_query = N_QUERY, .steps = STEPS };
    scores together = score(l, &s, &e, &o);
    o.inductive = true;
    scores apart = score(l, &s, &e, &o);
    for (int i = 0; i < N_TASK * WIDTH; i++) {
        ck_close(apart.loss[i], together.loss[i], SAME);
        ck_close(apart.accuracy[i], together.accuracy[i], 1e-6);
    }
    meta_state_release(&s);
    meta_learner_free(l);
    episodes_release(&e);
}
END_TEST

START_TEST(a_diverged_task_is_scored_as_it_is_and_the_others_are_untouched)
{
    nn_model m = test_model(&mlp);
    episodes e;
    episodes_draw(&e, &m, META_MSE, N_TASK, N_SUPPORT, N_QUERY);
    meta_options mo = base;
    mo.loss = META_MSE;
    meta_learner *l = test_learner(&m, &mo);
    meta_state s = test_state(l, 3);
    meta_scorer_options o = { .n_support = N_SUPPORT, .n_query = N_QUERY, .steps = STEPS };
    scores before = score(l, &s, &e, &o);
    ((ag_real *)e.support_y)[2 * N_SUPPORT * 3] = (ag_real)INFINITY;
    scores after = score(l, &s, &e, &o);
    for (int task = 0; task < N_TASK; task++)
        for (int step = 0; step < WIDTH; step++) {
            int i = task * WIDTH + step;
            if (task == 2 && step > 0)
                ck_assert(!isfinite(after.loss[i]));
            else
                ck_assert(after.loss[i] == before.loss[i]);
        }
    meta_state_release(&s);
    meta_learner_free(l);
    episodes_release(&e);
}
END_TEST

static void refused(const meta_learner *l, meta_scorer_options o)
{
    meta_scorer *sc;
    ag_error err = { 0 };
    ck_assert_int_eq(meta_scorer_new(&sc, l, &o, &err), AG_EINVAL);
    ck_assert_ptr_null(sc);
    ck_assert_msg(strstr(err.message, "scorer: ") && strstr(err.message, "expected"), "%s", err.message);
}

START_TEST(impossible_sizes_are_refused)
{
    nn_model m = test_model(&mlp);
    meta_learner *l = test_learner(&m, &base);
    refused(l, (meta_scorer_options){ .n_support = 0, .n_query = 1, .steps = 1 });
    refused(l, (meta_scorer_options){ .n_support = 1, .n_query = 0, .steps = 1 });
    refused(l, (meta_scorer_options){ .n_support = 1, .n_query = 1, .steps = -1 });
    meta_learner_free(l);
}
END_TEST

START_TEST(a_failed_fetch_is_passed_on)
{
    nn_model m = test_model(&mlp);
    episodes e;
    episodes_draw(&e, &m, META_CROSS_ENTROPY, N_TASK, N_SUPPORT, N_QUERY);
    meta_learner *l = test_learner(&m, &base);
    meta_state s = test_state(l, 3);
    meta_scorer *sc;
    double loss[2 * N_TASK * WIDTH];
    meta_batch b = episodes_batch(&e);
    ag_error err = { 0 };
    b.n_task = 2 * N_TASK;               /* more than there are: chunk 2, tasks 4 and 5, is the first to fail */
    ck_assert_int_eq(meta_scorer_new(&sc, l, &(meta_scorer_options){ .n_support = N_SUPPORT, .n_query = N_QUERY, .steps = STEPS }, NULL), AG_OK);
    ck_assert_int_eq(meta_scorer_run(sc, &s, &b, loss, NULL, &err), AG_EINVAL);
    ck_assert_str_eq(err.message, "episodes 4 .. 6 were asked for");
    meta_scorer_free(sc);
    meta_state_release(&s);
    meta_learner_free(l);
    episodes_release(&e);
}
END_TEST

TEST_MAIN(each_step_scores_as_the_outer_gradient_reports_for_as_many_steps, a_rate_of_the_scorer_replaces_those_of_the_state,
          chosen_steps_have_the_scores_that_they_have_among_all, steps_that_do_not_ascend_to_the_last_are_refused,
          inductive_scores_normalise_each_query_example_with_the_support_only,
          without_normalisation_inductive_and_transductive_scores_agree,
          a_diverged_task_is_scored_as_it_is_and_the_others_are_untouched, impossible_sizes_are_refused, a_failed_fetch_is_passed_on)
