/* Task sources that generate their data: against NumPy's numbers (golden_tasks.py) and by their properties. */
#include "tests/check.h"
#include "tests/failing_allocator.h"

#include "autograd/random.h"
#include "experiments/tasks.h"
#include "golden_tasks.h"

#include <pthread.h>
#include <stdint.h>

static const xp_tasks sine = { .source = "sinusoid", .amplitude = { 0.1, 5 }, .phase = { 0, 3.14159265358979323846 },
                               .x = { -5, 5 } };
static const xp_tasks linear = { .source = "lora-linear", .dim = 4, .n_task = 3, .true_rank = 2, .train_samples = 50,
                                 .test_samples = 30, .noise_std = 0.1 };

static xp_source *open_source(const xp_tasks *tasks)
{
    xp_source *s;
    ag_error err = { 0 };
    ck_assert_msg(xp_source_open(&s, tasks, &(xp_source_options){ .seed = 5 }, &err) == AG_OK, "%s", err.message);
    return s;
}

/* One episode's four buffers in one piece, so that episodes compare by memcmp. */
typedef struct episode {
    ag_real sx[1024], sy[1024], qx[1024], qy[1024];
} episode;

static void draw(const xp_source *s, xp_episode_id id, int64_t shot, int64_t query, episode *e)
{
    ag_error err = { 0 };
    memset(e, 0, sizeof *e);
    ag_code code = xp_source_episode(s, &id, &(xp_episode_size){ .way = 1, .shot = shot, .query = query }, e->sx, e->sy, e->qx, e->qy, &err);
    ck_assert_msg(code == AG_OK, "%s", err.message);
}

static void expect_all(const ag_real *got, const double *want, int n)
{
    for (int i = 0; i < n; i++)
        ck_close(got[i], want[i], 2e-6);
}

START_TEST(sinusoids_are_those_numpy_makes)
{
    xp_source *s = open_source(&sine);
    episode e;
    draw(s, (xp_episode_id){ 7, AG_STREAM_TRAIN, 3, 11 }, 3, 4, &e);
    expect_all(e.sx, golden_sine_x, 3);
    expect_all(e.qx, golden_sine_x + 3, 4);
    expect_all(e.sy, golden_sine_y, 3);
    expect_all(e.qy, golden_sine_y + 3, 4);
    xp_source_close(s);
    xp_tasks noisy = sine;
    noisy.noise = 0.5;
    s = open_source(&noisy);
    draw(s, (xp_episode_id){ 7, AG_STREAM_TRAIN, 3, 11 }, 3, 4, &e);
    expect_all(e.qx, golden_sine_x + 3, 4);
    expect_all(e.sy, golden_sine_noisy_y, 3);
    expect_all(e.qy, golden_sine_noisy_y + 3, 4);
    xp_source_close(s);
}
END_TEST

START_TEST(linear_tasks_are_those_numpy_makes)
{
    xp_source *s = open_source(&linear);
    episode e;
    double m[16];
    xp_episode_id train = { 5, AG_STREAM_TRAIN, 0, 1 }, test = { 5, AG_STREAM_TEST, 2, 9 };
    draw(s, train, 4, 4, &e);
    expect_all(e.sx, golden_lora_train_x, 16);
    expect_all(e.sy, golden_lora_train_y, 16);
    expect_all(e.qx, golden_lora_train_x, 16);
    expect_all(e.qy, golden_lora_train_y, 16);
    ck_assert_int_eq(xp_lora_linear_truth(s, &train, m, NULL), AG_OK);
    for (int i = 0; i < 16; i++)
        ck_close(m[i], golden_lora_train_m[i], 1e-12);
    draw(s, test, 4, 4, &e);
    expect_all(e.sx, golden_lora_test_x, 16);
    expect_all(e.sy, golden_lora_test_y, 16);
    ck_assert_int_eq(xp_lora_linear_truth(s, &test, m, NULL), AG_OK);
    for (int i = 0; i < 16; i++)
        ck_close(m[i], golden_lora_test_m[i], 1e-12);
    xp_source_close(s);
}
END_TEST

/* Mean over n examples of |a x - y|^2; x, y [n, d] */
static double loss(const double *a, const ag_real *x, const ag_real *y, int n, int d)
{
    double sum = 0;
    for (int t = 0; t < n; t++)
        for (int i = 0; i < d; i++) {
            double e = -(double)y[t * d + i];
            for (int j = 0; j < d; j++)
                e += a[i * d + j] * (double)x[t * d + j];
            sum += e * e;
        }
    return sum / n;
}

/* The samples themselves, by the order of drawing that source_lora_linear.c documents. */
static void draw_samples(const double *m, const xp_episode_id *id, int n, int d, int k, double noise, ag_real *x, ag_real *y)
{
    ag_random r;
    ag_random_init(&r, id->seed, id->stream, id->iteration, id->task);
    for (int i = 0; i < d * k; i++)
        ag_random_normal(&r);
    for (int t = 0; t < n; t++) {
        double row[8];
        for (int i = 0; i < d; i++)
            x[t * d + i] = (ag_real)(row[i] = ag_random_normal(&r));
        for (int i = 0; i < d; i++) {
            double sum = noise * ag_random_normal(&r);
            for (int j = 0; j < d; j++)
                sum += m[i * d + j] * row[j];
            y[t * d + i] = (ag_real)sum;
        }
    }
}

START_TEST(virtual_examples_have_the_loss_of_all_samples_up_to_a_constant)
{
    static const int sizes[] = { 1, 3, 4, 5, 200 };
    for (int z = 0; z < 5; z++) {
        xp_tasks tasks = linear;
        tasks.test_samples = sizes[z];
        xp_source *s = open_source(&tasks);
        xp_episode_id id = { 21, AG_STREAM_TEST, 0, 4 };
        double m[16], a[2][16];
        ag_real x[800], y[800];
        episode e;
        ag_random r;
        ag_random_init(&r, 1, AG_STREAM_USER, 0, 0);
        for (int i = 0; i < 32; i++)
            a[i / 16][i % 16] = ag_random_normal(&r);
        xp_lora_linear_truth(s, &id, m, NULL);
        draw(s, id, 4, 0, &e);
        draw_samples(m, &id, sizes[z], 4, 2, 0.1, x, y);
        double virtual_gap = loss(a[0], e.sx, e.sy, 4, 4) - loss(a[1], e.sx, e.sy, 4, 4);
        double sample_gap = loss(a[0], x, y, sizes[z], 4) - loss(a[1], x, y, sizes[z], 4);
        ck_close(virtual_gap, sample_gap, 2e-6);
        xp_source_close(s);
    }
}
END_TEST

START_TEST(the_query_of_a_test_task_measures_the_distance_to_its_matrix)
{
    xp_source *s = open_source(&linear);
    xp_episode_id id = { 3, AG_STREAM_VALIDATION, 1, 2 };
    double m[16], a[16], distance = 0;
    episode e;
    xp_lora_linear_truth(s, &id, m, NULL);
    draw(s, id, 0, 4, &e);
    for (int i = 0; i < 16; i++) {
        a[i] = 0.25 * i - 1;
        distance += (a[i] - m[i]) * (a[i] - m[i]);
    }
    ck_close(loss(a, e.qx, e.qy, 4, 4), distance, 1e-6);
    xp_source_close(s);
}
END_TEST

START_TEST(training_tasks_of_the_linear_source_are_a_fixed_set)
{
    xp_source *s = open_source(&linear);
    episode first, again, other;
    draw(s, (xp_episode_id){ 1, AG_STREAM_TRAIN, 0, 2 }, 4, 4, &first);
    draw(s, (xp_episode_id){ 99, AG_STREAM_TRAIN, 7, 5 }, 4, 4, &again);   /* 5 mod 3 = 2 */
    draw(s, (xp_episode_id){ 1, AG_STREAM_TRAIN, 0, 1 }, 4, 4, &other);
    ck_assert_int_eq(memcmp(&first, &again, sizeof first), 0);
    ck_assert_int_ne(memcmp(&first, &other, sizeof first), 0);
    xp_source_close(s);
}
END_TEST

START_TEST(an_episode_is_a_function_of_its_id)
{
    static const xp_episode_id ids[] = { { 1, AG_STREAM_TEST, 5, 6 }, { 2, AG_STREAM_TEST, 5, 6 },
                                         { 1, AG_STREAM_VALIDATION, 5, 6 }, { 1, AG_STREAM_TEST, 6, 6 },
                                         { 1, AG_STREAM_TEST, 5, 7 } };
    const xp_tasks *kinds[] = { &sine, &linear };
    for (int k = 0; k < 2; k++) {
        xp_source *s = open_source(kinds[k]), *twin = open_source(kinds[k]);
        static episode e[5], again;
        for (int i = 0; i < 5; i++)
            draw(s, ids[i], 4, 4, &e[i]);
        for (int i = 0; i < 5; i++) {
            draw(twin, ids[4 - i], 4, 4, &again);
            for (int j = 0; j < 5; j++)
                ck_assert_int_eq(memcmp(&again, &e[j], sizeof again) == 0, j == 4 - i);
        }
        xp_source_close(s);
        xp_source_close(twin);
    }
}
END_TEST

START_TEST(fewer_shots_are_the_first_of_more)
{
    xp_source *s = open_source(&sine);
    episode few, many;
    xp_episode_id id = { 8, AG_STREAM_TEST, 0, 17 };
    draw(s, id, 5, 15, &few);
    draw(s, id, 20, 0, &many);
    ck_assert_int_eq(memcmp(few.sx, many.sx, 5 * sizeof(ag_real)), 0);
    ck_assert_int_eq(memcmp(few.sy, many.sy, 5 * sizeof(ag_real)), 0);
    ck_assert_int_eq(memcmp(few.qx, many.sx + 5, 15 * sizeof(ag_real)), 0);
    ck_assert_int_eq(memcmp(few.qy, many.sy + 5, 15 * sizeof(ag_real)), 0);
    xp_source_close(s);
}
END_TEST

/* For x uniform and phase averaged: E y^2 = E A^2 / 2 is only approximate, so phase and x are given whole periods. */
START_TEST(amplitude_phase_and_x_fill_their_ranges_evenly)
{
    xp_tasks tasks = sine;
    tasks.phase[1] = 2 * 3.14159265358979323846;
    xp_source *s = open_source(&tasks);
    enum { N = 20000, BINS = 20 };
    int bins[BINS] = { 0 };
    double square = 0, largest = 0, chi = 0;
    for (int t = 0; t < N; t++) {
        episode e;
        draw(s, (xp_episode_id){ 4, AG_STREAM_TRAIN, 0, (uint64_t)t }, 1, 0, &e);
        ck_assert(e.sx[0] >= -5 && e.sx[0] <= 5);
        bins[(int)fmin((e.sx[0] + 5) / 10 * BINS, BINS - 1)]++;
        square += (double)e.sy[0] * e.sy[0] / N;
        largest = fmax(largest, fabs((double)e.sy[0]));
    }
    for (int i = 0; i < BINS; i++)
        chi += (bins[i] - N / BINS) * (bins[i] - N / BINS) / (double)(N / BINS);
    ck_assert_msg(chi < 60, "chi-square %g with 19 degrees of freedom", chi);   /* beyond 60: 4 in a million */
    double expected = (5.0 * 5 * 5 - 0.1 * 0.1 * 0.1) / 3 / 4.9 / 2;
    ck_assert_msg(fabs(square - expected) < 0.2, "mean square %g, expected %g", square, expected);   /* 6 sigma */
    ck_assert(largest > 4.9 && largest <= 5);
    xp_source_close(s);
}
END_TEST

enum { THREADS = 4, TASKS = 64 };
typedef struct worker {
    const xp_source *source;
    int number;
    episode *out;     /* [TASKS] */
} worker;

/* Each thread draws all tasks, from another start. */
static void *draw_all(void *arg)
{
    worker *w = arg;
    for (int i = 0; i < TASKS; i++) {
        int t = (i * 7 + w->number * 16) % TASKS;
        draw(w->source, (xp_episode_id){ 6, AG_STREAM_TEST, 1, (uint64_t)t }, 4, 4, &w->out[t]);
    }
    return NULL;
}

START_TEST(threads_draw_the_same_bits)
{
    const xp_tasks *kinds[] = { &sine, &linear };
    for (int k = 0; k < 2; k++) {
        xp_source *s = open_source(kinds[k]);
        pthread_t threads[THREADS];
        worker w[THREADS];
        for (int i = 0; i < THREADS; i++) {
            w[i] = (worker){ s, i, malloc(TASKS * sizeof(episode)) };
            ck_assert_int_eq(pthread_create(&threads[i], NULL, draw_all, &w[i]), 0);
        }
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 1; i < THREADS; i++)
            ck_assert_int_eq(memcmp(w[0].out, w[i].out, TASKS * sizeof(episode)), 0);
        for (int i = 0; i < THREADS; i++)
            free(w[i].out);
        xp_source_close(s);
    }
}
END_TEST

START_TEST(sampling_allocates_nothing_and_a_failed_allocation_is_reported)
{
    failing_allocator c = { 0 };
    const xp_tasks *kinds[] = { &sine, &linear };
    failing_use(&c);
    for (int k = 0; k < 2; k++) {
        c = (failing_allocator){ 0 };
        xp_source *s = open_source(kinds[k]);
        int calls = c.calls;
        episode e;
        draw(s, (xp_episode_id){ 6, AG_STREAM_TEST, 1, 2 }, 4, 4, &e);
        draw(s, (xp_episode_id){ 6, AG_STREAM_TRAIN, 1, 2 }, 4, 4, &e);
        ck_assert_int_eq(c.calls, calls);
        xp_source_close(s);
        ck_assert_int_eq(c.live_blocks, 0);
        for (int n = 1; n <= calls; n++) {
            ag_error err = { 0 };
            c = (failing_allocator){ .fail_at = n };
            ck_assert_int_eq(xp_source_open(&s, kinds[k], NULL, &err), AG_ENOMEM);
            ck_assert_ptr_null(s);
            ck_assert_ptr_nonnull(strstr(err.message, "out of memory"));
            ck_assert_int_eq(c.live_blocks, 0);
        }
    }
    failing_use(NULL);
}
END_TEST

static void expect_refused(xp_tasks tasks, const char *part)
{
    xp_source *s;
    ag_error err = { 0 };
    ck_assert_int_eq(xp_source_open(&s, &tasks, NULL, &err), AG_ECONFIG);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' does not say '%s'", err.message, part);
}

START_TEST(knobs_out_of_range_are_named)
{
    xp_tasks t = sine;
    t.source = "sinusiod";
    expect_refused(t, "'sinusiod'; expected one of sinusoid, lora-linear, omniglot");
    t = sine, t.amplitude[0] = 6;
    expect_refused(t, "tasks.amplitude: [6, 5]");
    t = sine, t.x[1] = INFINITY;
    expect_refused(t, "tasks.x:");
    t = sine, t.noise = -1;
    expect_refused(t, "tasks.noise: -1");
    t = linear, t.dim = 65;
    expect_refused(t, "tasks.dim: 65; expected 1 .. 64");
    t = linear, t.true_rank = 5;
    expect_refused(t, "tasks.true_rank: 5; expected 0 .. dim = 4");
    t = linear, t.n_task = 0;
    expect_refused(t, "tasks.n_task: 0");
    t = linear, t.train_samples = 0;
    expect_refused(t, "tasks.train_samples: 0");
    t = linear, t.noise_std = NAN;
    expect_refused(t, "tasks.noise_std");
}
END_TEST

static void expect_wrong(const xp_source *s, xp_episode_id id, xp_episode_size size, ag_code want, const char *part)
{
    ag_error err = { 0 };
    episode e;
    ck_assert_int_eq(xp_source_episode(s, &id, &size, e.sx, e.sy, e.qx, e.qy, &err), want);
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' does not say '%s'", err.message, part);
}

START_TEST(sizes_that_cannot_be_are_refused_with_numbers)
{
    xp_source *s = open_source(&linear);
    xp_episode_id id = { 1, AG_STREAM_TRAIN, 0, 0 };
    expect_wrong(s, id, (xp_episode_size){ .way = 1, .shot = 5, .query = 4 }, AG_ECONFIG, "shot is 5 and query 4; a set of a task is its 4");
    expect_wrong(s, id, (xp_episode_size){ .way = 2, .shot = 4, .query = 4 }, AG_ECONFIG, "way is 2");
    expect_wrong(s, id, (xp_episode_size){ .way = 0, .shot = 4, .query = 4 }, AG_ECONFIG, "way is 0");
    expect_wrong(s, id, (xp_episode_size){ .way = 1, .shot = -1, .query = 4 }, AG_ECONFIG, "shot is -1");
    id.stream = AG_STREAM_INIT;
    expect_wrong(s, id, (xp_episode_size){ .way = 1, .shot = 4, .query = 4 }, AG_EINVAL, "stream is 1");
    ck_assert_int_eq(xp_source_episode(s, &(xp_episode_id){ 1, AG_STREAM_TEST, 0, 0 }, &(xp_episode_size){ .way = 1, .shot = 4, .query = 0 }, NULL,
                                       NULL, NULL, NULL, NULL), AG_EINVAL);
    xp_source_close(s);
    s = open_source(&sine);
    double m[16];
    ck_assert_int_eq(xp_lora_linear_truth(s, &id, m, NULL), AG_EINVAL);
    xp_source_close(s);
}
END_TEST

START_TEST(sources_say_what_their_examples_look_like)
{
    xp_source *s = open_source(&sine);
    xp_example_shape shape = xp_source_example(s);
    ck_assert(shape.x_ndim == 1 && shape.x_shape[0] == 1 && !shape.labels && shape.y_width == 1);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TRAIN), 0);
    ck_assert_int_eq(xp_source_examples_per_class(s), 0);
    xp_source_close(s);
    s = open_source(&linear);
    shape = xp_source_example(s);
    ck_assert(shape.x_ndim == 1 && shape.x_shape[0] == 4 && !shape.labels && shape.y_width == 4);
    ck_assert_int_eq(xp_source_examples_per_class(s), 4);
    xp_source_close(s);
    ck_assert_str_eq(xp_source_name(0), "sinusoid");
    ck_assert_ptr_nonnull(xp_source_about(2));
    ck_assert_ptr_null(xp_source_name(100));
    ck_assert_ptr_null(xp_source_name(-1));
}
END_TEST

TEST_MAIN(sinusoids_are_those_numpy_makes, linear_tasks_are_those_numpy_makes,
          virtual_examples_have_the_loss_of_all_samples_up_to_a_constant,
          the_query_of_a_test_task_measures_the_distance_to_its_matrix,
          training_tasks_of_the_linear_source_are_a_fixed_set, an_episode_is_a_function_of_its_id,
          fewer_shots_are_the_first_of_more, amplitude_phase_and_x_fill_their_ranges_evenly, threads_draw_the_same_bits,
          sampling_allocates_nothing_and_a_failed_allocation_is_reported, knobs_out_of_range_are_named,
          sizes_that_cannot_be_are_refused_with_numbers, sources_say_what_their_examples_look_like)
