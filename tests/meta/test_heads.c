/* Heads made from the support: scores against plain loops, and meta-gradients through them against the long tape. */
#include "meta/learn_internal.h"
#include "tests/meta/episodes.h"

#ifdef AG_DOUBLE
#define SAME 1e-9
#define ACTIVATION "relu"
#else
#define SAME 1e-3
#define ACTIVATION "tanh"
#endif

enum { WAY = 3, SHOT = 2, QUERY = 3, TASK = 4, WIDTH = 3 };

/* Features [n, 3]; an example is the feature where there is no hidden layer. */
static const nn_options features = { .kind = "mlp", .x_ndim = 1, .x_shape = { 4 }, .n_out = WAY, .n_hidden = 2, .hidden = { 6, WIDTH },
                                     .activation = ACTIVATION, .features = true };

static meta_options options_of(meta_head head, meta_similarity similarity, int64_t steps)
{
    return (meta_options){ .loss = META_CROSS_ENTROPY, .inner_lr = 0.2, .train_steps = steps, .n_support = WAY * SHOT,
                           .n_query = WAY * QUERY, .head = head, .similarity = similarity, .head_scale = 1.7, .way = WAY, .chunk = 3 };
}

static void check_against_tape(const meta_options *o)
{
    nn_model m = test_model(&features);
    meta_learner *l = test_learner(&m, o);
    meta_state s = test_state(l, 4);
    episodes e;
    meta_report report, expected;
    ag_error err = { 0 };
    episodes_draw(&e, &m, o->loss, TASK, o->n_support, o->n_query);
    for (int64_t i = 0; i < s.n_value; i++)
        s.values[i] += (ag_real)(0.3 * cos((double)i));
    ag_real *grad = test_gradient(l, &s, &e, &report), *want = test_alloc((size_t)s.n * sizeof *want);
    meta_batch b = episodes_batch(&e);
    ck_assert_msg(meta_outer_gradient_by_tape(&m, o, &s, &b, want, &expected, &err) == AG_OK, "%s", err.message);
    ck_close(report.query_loss, expected.query_loss, SAME);
    double distance = test_distance_real(s.n_value, grad, want);
    ck_assert_msg(distance <= SAME, "head %d, similarity %d, %lld steps, head only %d, first order %d: %.3g from the tape", (int)o->head,
                  (int)o->similarity, (long long)o->train_steps, o->head_only, o->first_order, distance);
    distance = test_distance_real(s.n - s.n_value, grad + s.n_value, want + s.n_value);
    ck_assert_msg(distance <= SAME, "rates: %.3g from the tape", distance);
    free(grad);
    free(want);
    episodes_release(&e);
    meta_state_release(&s);
    meta_learner_free(l);
}

START_TEST(gradients_through_both_heads_equal_the_long_tape)
{
    for (int head = META_HEAD_PROTOTYPE; head <= META_HEAD_CENTROID; head++)
        for (int similarity = META_SIMILARITY_COSINE; similarity <= META_SIMILARITY_EUCLIDEAN; similarity++)
            for (int64_t steps = 0; steps <= 3; steps++)
                for (int first_order = 0; first_order < 2; first_order++) {
                    meta_options o = options_of((meta_head)head, (meta_similarity)similarity, steps);
                    o.first_order = first_order;
                    check_against_tape(&o);
                }
}
END_TEST

START_TEST(gradients_of_learned_rates_equal_the_long_tape)
{
    for (int scope = META_RATE_ALL; scope <= META_RATE_ELEMENT; scope++) {
        meta_options o = options_of(META_HEAD_CENTROID, META_SIMILARITY_COSINE, 2);
        o.rate_scope = (meta_rate_scope)scope;
        o.learn_rates = true;
        check_against_tape(&o);
    }
}
END_TEST

START_TEST(anil_adapts_the_head_alone_and_learns_the_rest)
{
    for (int similarity = META_SIMILARITY_COSINE; similarity <= META_SIMILARITY_EUCLIDEAN; similarity++)
        for (int64_t steps = 1; steps <= 3; steps++) {
            meta_options o = options_of(META_HEAD_CENTROID, (meta_similarity)similarity, steps);
            o.head_only = true;
            check_against_tape(&o);
        }
}
END_TEST

/* ---- plain loops ---- */

static void unit(double *x, bool cosine)
{
    double norm = 0;
    for (int i = 0; i < WIDTH; i++)
        norm += x[i] * x[i];
    for (int i = 0; i < WIDTH && cosine; i++)
        x[i] /= sqrt(norm);
}

/* The mean of class k over the support, without example `left_out` where the class has others. */
static void class_mean(const double (*support)[WIDTH], const int32_t *label, int n, int k, int left_out, double *mean)
{
    int count = 0;
    bool others = false;
    for (int i = 0; i < n; i++)
        others = others || (label[i] == k && i != left_out);
    memset(mean, 0, WIDTH * sizeof *mean);
    for (int i = 0; i < n; i++)
        if (label[i] == k && (i != left_out || !others)) {
            count++;
            for (int j = 0; j < WIDTH; j++)
                mean[j] += support[i][j];
        }
    for (int j = 0; j < WIDTH; j++)
        mean[j] /= count;
}

static double plain_score(const double *f, const double *c, bool cosine)
{
    double dot = 0, square = 0;
    for (int j = 0; j < WIDTH; j++) {
        dot += f[j] * c[j];
        square += c[j] * c[j];
    }
    return 1.7 * (cosine ? dot : 2 * dot - square);
}

/* Six examples with labels 0 0 0 1 2 2: class 1 has one only. */
static const int32_t uneven[] = { 0, 0, 0, 1, 2, 2 };
enum { N = 6 };

static void draw_features(ag_real *x, double (*wide)[WIDTH], bool cosine)
{
    ag_random r;
    ag_random_init(&r, 3, AG_STREAM_USER, 0, 0);
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < WIDTH; j++)
            wide[i][j] = (double)(x[i * WIDTH + j] = (ag_real)ag_random_uniform(&r, -1, 1));
        unit(wide[i], cosine);
    }
}

START_TEST(prototype_scores_agree_with_plain_loops_for_uneven_classes)
{
    for (int cosine = 0; cosine < 2; cosine++) {
        nn_model m = test_model(&features);
        meta_options o = options_of(META_HEAD_PROTOTYPE, cosine ? META_SIMILARITY_COSINE : META_SIMILARITY_EUCLIDEAN, 1);
        meta_plan plan;
        ag_real x[N * WIDTH], query[N * WAY], own[N * WAY];
        double wide[N][WIDTH];
        ag_error err = { 0 };
        ck_assert_int_eq(meta_plan_init(&plan, &m, &o, &err), AG_OK);
        draw_features(x, wide, cosine);
        ag_tape *t = ag_tape_new(NULL, &err);
        ag_tensor *f = ag_value(t, &(ag_spec){ .ndim = 2, .shape = { N, WIDTH } }, x);
        ag_tensor *y = ag_value(t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { N } }, uneven);
        ck_assert_int_eq(ag_read(meta_prototype_scores(t, &plan, f, f, y), query), AG_OK);
        ck_assert_int_eq(ag_read(meta_prototype_own_scores(t, &plan, f, y), own), AG_OK);
        for (int i = 0; i < N; i++)
            for (int k = 0; k < WAY; k++) {
                double mean[WIDTH];
                class_mean(wide, uneven, N, k, -1, mean);
                unit(mean, cosine);
                ck_close((double)query[i * WAY + k], plain_score(wide[i], mean, cosine), SAME);
                class_mean(wide, uneven, N, k, uneven[i] == k ? i : -1, mean);
                unit(mean, cosine);
                ck_close((double)own[i * WAY + k], plain_score(wide[i], mean, cosine), SAME);
            }
        ag_tape_free(t);
        meta_plan_release(&plan);
    }
}
END_TEST

START_TEST(a_centroid_head_starts_with_the_prototypes_scores)
{
    for (int cosine = 0; cosine < 2; cosine++) {
        nn_model m = test_model(&features);
        meta_options o = options_of(META_HEAD_CENTROID, cosine ? META_SIMILARITY_COSINE : META_SIMILARITY_EUCLIDEAN, 1);
        meta_plan plan;
        ag_real x[N * WIDTH], want[N * WAY], got[N * WAY];
        double wide[N][WIDTH];
        ag_error err = { 0 };
        ck_assert_int_eq(meta_plan_init(&plan, &m, &o, &err), AG_OK);
        draw_features(x, wide, cosine);
        ag_tape *t = ag_tape_new(NULL, &err);
        ag_tensor *f = ag_value(t, &(ag_spec){ .ndim = 2, .shape = { N, WIDTH } }, x), *w, *b;
        ag_tensor *y = ag_value(t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { N } }, uneven);
        meta_centroid_start(t, &plan, f, y, &w, &b);
        ck_assert_int_eq(ag_read(meta_prototype_scores(t, &plan, f, f, y), want), AG_OK);
        ck_assert_int_eq(ag_read(meta_centroid_scores(t, &plan, f, w, b), got), AG_OK);
        for (int i = 0; i < N * WAY; i++)
            ck_close((double)got[i], (double)want[i], SAME);
        ag_tape_free(t);
        meta_plan_release(&plan);
    }
}
END_TEST

/* ---- scoring ---- */

START_TEST(a_scorer_may_have_another_head_than_its_learner)
{
    nn_model m = test_model(&features);
    meta_options o = options_of(META_HEAD_CENTROID, META_SIMILARITY_COSINE, 2);
    meta_learner *l = test_learner(&m, &o);
    meta_state s = test_state(l, 4);
    meta_scorer *centroid, *prototype;
    ag_error err = { 0 };
    double loss[2][TASK * 3], accuracy[2][TASK * 3];
    episodes e;
    episodes_draw(&e, &m, o.loss, TASK, o.n_support, o.n_query);
    meta_batch b = episodes_batch(&e);
    meta_scorer_options so = { .n_support = o.n_support, .n_query = o.n_query, .steps = 2 };
    ck_assert_int_eq(meta_scorer_new(&centroid, l, &so, &err), AG_OK);
    so.other_head = true;
    so.head = META_HEAD_PROTOTYPE;
    ck_assert_int_eq(meta_scorer_new(&prototype, l, &so, &err), AG_OK);
    ck_assert_int_eq(meta_scorer_run(centroid, &s, &b, loss[0], accuracy[0], &err), AG_OK);
    ck_assert_int_eq(meta_scorer_run(prototype, &s, &b, loss[1], accuracy[1], &err), AG_OK);
    for (int i = 0; i < TASK; i++) {
        ck_close(loss[0][i * 3], loss[1][i * 3], SAME);      /* before a step both are the prototypes */
        ck_assert(fabs(loss[0][i * 3 + 2] - loss[1][i * 3 + 2]) > 1e-6);
    }
    meta_scorer_free(centroid);
    meta_scorer_free(prototype);
    episodes_release(&e);
    meta_state_release(&s);
    meta_learner_free(l);
}
END_TEST

START_TEST(a_head_from_the_support_needs_classes)
{
    nn_model m = test_model(&features);
    meta_options o = options_of(META_HEAD_PROTOTYPE, META_SIMILARITY_COSINE, 1);
    meta_learner *l;
    ag_error err = { 0 };
    o.way = 1;
    ck_assert_int_eq(meta_learner_new(&l, &m, &o, &err), AG_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "2 or more classes"));
}
END_TEST

TEST_MAIN(gradients_through_both_heads_equal_the_long_tape, gradients_of_learned_rates_equal_the_long_tape,
          anil_adapts_the_head_alone_and_learns_the_rest, prototype_scores_agree_with_plain_loops_for_uneven_classes,
          a_centroid_head_starts_with_the_prototypes_scores, a_scorer_may_have_another_head_than_its_learner,
          a_head_from_the_support_needs_classes)
