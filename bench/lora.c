/* One meta-iteration of LoRA on a frozen transformer: 6 layers of width 384, 12 heads, 32 tokens, 5-way 5-shot, 3 inner steps.
 *
 *     bench_lora [qv | all] [maml | fomaml | reptile] [tasks] [threads] [steps] */
#include "autograd/random.h"
#include "meta/meta.h"
#include "meta/network_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { WAY = 5, SHOT = 5, LENGTH = 32, VOCABULARY = 4096, N = WAY * SHOT };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void draw_set(ag_random *r, int32_t *x, int32_t *y)
{
    int32_t ids[N * LENGTH];
    int64_t start[N], length[N];
    nn_text_shape shape = { N, LENGTH, N * LENGTH };
    for (int i = 0; i < N; i++) {
        start[i] = i * LENGTH;
        length[i] = LENGTH;
        y[i] = i % WAY;
        for (int j = 0; j < LENGTH; j++)
            ids[i * LENGTH + j] = (int32_t)ag_random_below(r, VOCABULARY);
    }
    nn_text_pack(&shape, ids, start, length, x);
}

static ag_code fetch(void *ctx, int64_t first, int64_t count, void *sx, void *sy, void *qx, void *qy, ag_error *err)
{
    (void)ctx;
    (void)err;
    nn_text_shape shape = { N, LENGTH, N * LENGTH };
    int64_t x = nn_text_numel(&shape);
    for (int64_t i = 0; i < count; i++) {
        ag_random r;
        ag_random_init(&r, 1, AG_STREAM_USER, 0, (uint64_t)(first + i));
        draw_set(&r, (int32_t *)sx + i * x, (int32_t *)sy + i * N);
        draw_set(&r, (int32_t *)qx + i * x, (int32_t *)qy + i * N);
    }
    return AG_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    const char *which = argc > 1 ? argv[1] : "qv", *algorithm = argc > 2 ? argv[2] : "maml";
    int64_t tasks = argc > 3 ? atoi(argv[3]) : 2, steps = argc > 5 ? atoi(argv[5]) : 3;
    int threads = argc > 4 ? atoi(argv[4]) : 2;
    ag_error err = { 0 };
    nn_network *net;
    meta_adapter *a;
    nn_model m;
    meta_learner *l;
    meta_state s;
    nn_network_config c = { .architecture = "bert", .vocab_size = VOCABULARY, .hidden_size = 384, .n_layer = 6, .n_head = 12, .n_kv_head = 12,
                            .head_size = 32, .intermediate_size = 1536, .max_position = 512, .type_vocab = 2, .norm_epsilon = 1e-12,
                            .activation = "gelu" };
    static const char *const qv[] = { "query", "value" }, *const all[] = { "query", "key", "value", "dense" };
    bool everything = strcmp(which, "all") == 0;
    meta_adapter_options ao = { .rank = 8, .alpha = 16, .n_target = everything ? 4 : 2, .targets = everything ? all : qv };
    meta_options o = { .loss = META_CROSS_ENTROPY, .inner_lr = 0.05, .train_steps = steps, .n_support = N, .n_query = N,
                       .chunk = 1, .threads = threads, .first_order = strcmp(algorithm, "fomaml") == 0,
                       .algorithm = strcmp(algorithm, "reptile") == 0 ? META_REPTILE : META_MAML };
    double t0 = now();
    if (nn_network_random(&net, &c, 1, &err) != AG_OK || meta_adapter_new(&a, net, &ao, &err) != AG_OK ||
        meta_network_model(&m, &(meta_network_model_options){ .net = net, .adapter = a, .n_class = WAY, .max_tokens = LENGTH }, &err) != AG_OK ||
        meta_learner_new(&l, &m, &o, &err) != AG_OK || meta_state_init(&s, l, 1, &err) != AG_OK) {
        fprintf(stderr, "bench_lora: %s\n", err.message);
        return 1;
    }
    ag_real *grad = calloc((size_t)s.n, sizeof *grad);
    double ms[64];
    int n = 0;
    meta_report report;
    fprintf(stderr, "made in %.0f ms, %.0f MB\n", 1e3 * (now() - t0), (double)meta_learner_bytes(l) / 1e6);
    for (double begin = now(); n < 64 && (n < 3 || now() - begin < 20); n++) {
        double t = now();
        meta_batch b = { .n_task = tasks, .fetch = fetch };
        if (meta_outer_gradient(l, &s, &b, grad, &report, &err) != AG_OK) {
            fprintf(stderr, "bench_lora: %s\n", err.message);
            return 1;
        }
        ms[n] = 1e3 * (now() - t);
    }
    qsort(ms, (size_t)n, sizeof *ms, by_value);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"workload\": \"w4%s\", \"algorithm\": \"%s\", \"tasks\": %d, \"threads\": %d, \"steps\": %d, \"ms\": %.1f, \"min\": %.1f, \"max\": %.1f, "
           "\"query_loss\": %.6f, \"peak_mb\": %.0f}\n", everything ? "all" : "", algorithm, (int)tasks, threads, (int)steps, ms[n / 2], ms[0], ms[n - 1],
           report.query_loss, (double)usage.ru_maxrss / 1024);
    free(grad);
    meta_state_release(&s);
    meta_learner_free(l);
    nn_model_release(&m);
    meta_adapter_free(a);
    nn_network_close(net);
    return 0;
}
