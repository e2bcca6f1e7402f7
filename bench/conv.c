/* One meta-iteration of convolution networks on few-shot images: conv4 of 64 filters on 28 x 28 with strides (Omniglot's shape),
 * of 32 filters on 84 x 84 x 3 with max-pooling (miniImageNet's). The images are noise around a prototype of each class.
 *
 *     bench_conv [WORKLOAD] [threads] [iterations]       WORKLOAD: a row of the table below
 *
 * Prints JSON: medians of wall-clock and processor time of one iteration [ms], peak memory [MB]. */
#include "autograd/random.h"
#include "meta/meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct workload {
    const char *name;
    int64_t size, channels, filters, way, shot, query, tasks, steps;
    bool max_pool, first_order;
    meta_algorithm algorithm;
    meta_rule rule;
    double lr;
} workload;

static const workload workloads[] = {
    { "w2", 28, 1, 64, 5, 1, 15, 32, 1, .lr = 0.4 },
    { "w2q1", 28, 1, 64, 5, 1, 1, 32, 1, .lr = 0.4 },
    { "w2_20q1", 28, 1, 64, 20, 1, 1, 16, 5, .lr = 0.1 },
    { "w2fo", 28, 1, 64, 5, 1, 15, 32, 1, .first_order = true, .lr = 0.4 },
    { "w2rep", 28, 1, 64, 5, 2, 1, 5, 5, .algorithm = META_REPTILE, .rule = META_RULE_ADAM, .lr = 1e-3 },
    { "w3", 84, 3, 32, 5, 1, 15, 4, 5, .max_pool = true, .lr = 0.01 },
};
enum { N_WORKLOAD = sizeof workloads / sizeof *workloads };

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void draw_set(ag_random *r, const workload *w, const ag_real *prototypes, int64_t shot, ag_real *x, int32_t *y)
{
    int64_t numel = w->size * w->size * w->channels;
    for (int64_t i = 0; i < w->way * shot; i++) {
        y[i] = (int32_t)(i % w->way);
        for (int64_t j = 0; j < numel; j++)
            x[i * numel + j] = (ag_real)0.7 * (prototypes[y[i] * numel + j] + (ag_real)ag_random_normal(r));
    }
}

typedef struct episodes {
    ag_real *support_x, *query_x;
    int32_t *support_y, *query_y;
} episodes;

static void *room(int64_t n, size_t size)
{
    void *p = calloc((size_t)n, size);
    if (!p)
        exit(1);
    return p;
}

static episodes draw_episodes(const workload *w)
{
    int64_t numel = w->size * w->size * w->channels, n = w->way * w->shot, q = w->way * w->query;
    episodes e = { room(w->tasks * n * numel, sizeof(ag_real)), room(w->tasks * q * numel, sizeof(ag_real)),
                   room(w->tasks * n, sizeof(int32_t)), room(w->tasks * q, sizeof(int32_t)) };
    ag_real *prototypes = room(w->way * numel, sizeof *prototypes);
    for (int64_t i = 0; i < w->tasks; i++) {
        ag_random r;
        ag_random_init(&r, 1, AG_STREAM_USER, 0, (uint64_t)i);
        for (int64_t j = 0; j < w->way * numel; j++)
            prototypes[j] = (ag_real)ag_random_normal(&r);
        draw_set(&r, w, prototypes, w->shot, e.support_x + i * n * numel, e.support_y + i * n);
        draw_set(&r, w, prototypes, w->query, e.query_x + i * q * numel, e.query_y + i * q);
    }
    free(prototypes);
    return e;
}

typedef struct source {
    const workload *w;
    episodes e;
} source;

static ag_code fetch(void *ctx, int64_t first, int64_t count, void *sx, void *sy, void *qx, void *qy, ag_error *err)
{
    (void)err;
    const source *s = ctx;
    const workload *w = s->w;
    int64_t numel = w->size * w->size * w->channels, n = w->way * w->shot, q = w->way * w->query;
    memcpy(sx, s->e.support_x + first * n * numel, (size_t)(count * n * numel) * sizeof(ag_real));
    memcpy(qx, s->e.query_x + first * q * numel, (size_t)(count * q * numel) * sizeof(ag_real));
    memcpy(sy, s->e.support_y + first * n, (size_t)(count * n) * sizeof(int32_t));
    memcpy(qy, s->e.query_y + first * q, (size_t)(count * q) * sizeof(int32_t));
    return AG_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static const workload *find(const char *name)
{
    for (int i = 0; i < N_WORKLOAD; i++)
        if (strcmp(workloads[i].name, name) == 0)
            return &workloads[i];
    fprintf(stderr, "bench_conv: '%s' is no workload\n", name);
    exit(2);
}

static ag_code measure(const workload *w, int threads, int iterations, ag_error *err)
{
    nn_model m;
    meta_learner *l;
    meta_state s;
    meta_options o = { .loss = META_CROSS_ENTROPY, .inner_lr = w->lr, .adapt_norm = true, .train_steps = w->steps,
                       .n_support = w->way * w->shot, .n_query = w->way * w->query, .chunk = 1, .threads = threads,
                       .first_order = w->first_order, .algorithm = w->algorithm, .rule = w->rule };
    AG_TRY(err, nn_model_init(&m, &(nn_options){ .kind = "conv4", .x_ndim = 3, .x_shape = { w->size, w->size, w->channels },
                                                 .n_out = w->way, .filters = w->filters, .max_pool = w->max_pool, .batch_norm = true,
                                                 .norm_scale = true, .norm_epsilon = 1e-5, .init = "he" }, err));
    AG_TRY(err, meta_learner_new(&l, &m, &o, err));
    AG_TRY(err, meta_state_init(&s, l, 1, err));
    source data = { w, draw_episodes(w) };
    ag_real *grad = room(s.n, sizeof *grad);
    double *wall = room(iterations, sizeof *wall), *own = room(iterations, sizeof *own), norm = 0;
    meta_report report = { 0 };
    for (int i = 0; i < iterations; i++) {
        double begin = now(CLOCK_MONOTONIC), began = now(CLOCK_PROCESS_CPUTIME_ID);
        AG_TRY(err, meta_outer_gradient(l, &s, &(meta_batch){ .n_task = w->tasks, .fetch = fetch, .ctx = &data }, grad, &report, err));
        wall[i] = 1e3 * (now(CLOCK_MONOTONIC) - begin);
        own[i] = 1e3 * (now(CLOCK_PROCESS_CPUTIME_ID) - began);
    }
    qsort(wall, (size_t)iterations, sizeof *wall, by_value);
    qsort(own, (size_t)iterations, sizeof *own, by_value);
    for (int64_t i = 0; i < s.n; i++)
        norm += (double)grad[i] * (double)grad[i];
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"workload\": \"%s\", \"threads\": %d, \"ms\": %.1f, \"min\": %.1f, \"max\": %.1f, \"cpu_ms\": %.1f, \"query_loss\": %.6f, "
           "\"gradient_square\": %.9g, \"peak_mb\": %.0f}\n", w->name, threads, wall[iterations / 2], wall[0], wall[iterations - 1],
           own[iterations / 2], report.query_loss, norm, (double)usage.ru_maxrss / 1024);
    free(grad);
    free(wall);
    free(own);
    free(data.e.support_x);
    free(data.e.query_x);
    free(data.e.support_y);
    free(data.e.query_y);
    meta_state_release(&s);
    meta_learner_free(l);
    nn_model_release(&m);
    return AG_OK;
}

int main(int argc, char **argv)
{
    int iterations = argc > 3 ? atoi(argv[3]) : 7;
    ag_error err = { 0 };
    if (measure(find(argc > 1 ? argv[1] : "w2"), argc > 2 ? atoi(argv[2]) : 1, iterations > 0 ? iterations : 1, &err) != AG_OK) {
        fprintf(stderr, "bench_conv: %s\n", err.message);
        return 1;
    }
    return 0;
}
