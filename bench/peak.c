/* The machine's own speed at a large matrix product, for a share of it to be stated: 1024^3, each thread its own.
 *
 *     bench_peak [THREADS]
 *
 * One line of JSON: the sum over the threads of their GFLOP per second of processor time, each the best of many runs, so that
 * other programs disturb little; of ag_gemm and of BLIS with the kernels it chooses (BLIS_ARCH_TYPE chooses others). */
#include "autograd/gemm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N = 1024, RUNS = 20, MOST = 64 };

typedef struct work {
    pthread_barrier_t *barrier;
    ag_gemm_kernel *kernel;
    float *a, *b, *c;
    double best;                         /* [s] */
} work;

/* This thread's own time [s]. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void ours(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, int64_t cs_a, const ag_real *b, int64_t rs_b,
                 int64_t cs_b, bool accumulate, ag_real *c, int64_t rs_c)
{
    ag_gemm(m, n, k, a, rs_a, cs_a, b, rs_b, cs_b, accumulate, c, rs_c);
}

static void *multiply(void *arg)
{
    work *w = arg;
    for (int run = 0; run < RUNS; run++) {
        pthread_barrier_wait(w->barrier);
        double start = now();
        w->kernel(N, N, N, w->a, N, 1, w->b, N, 1, false, w->c, N);
        double t = now() - start;
        w->best = t < w->best ? t : w->best;
    }
    return NULL;
}

static double gflops(ag_gemm_kernel *kernel, int threads)
{
    pthread_barrier_t barrier;
    pthread_t id[MOST];
    work w[MOST];
    double sum = 0;
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        w[i] = (work){ &barrier, kernel, calloc(N * N, sizeof(float)), calloc(N * N, sizeof(float)), calloc(N * N, sizeof(float)), 1e30 };
        for (int j = 0; w[i].a && w[i].b && j < N * N; j++) {
            w[i].a[j] = (float)(j % 7);
            w[i].b[j] = (float)(j % 5);
        }
        if (!w[i].a || !w[i].b || !w[i].c || pthread_create(&id[i], NULL, multiply, &w[i]) != 0)
            exit(1);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(id[i], NULL);
        sum += 2.0 * N * N * N / w[i].best * 1e-9;
        free(w[i].a);
        free(w[i].b);
        free(w[i].c);
    }
    pthread_barrier_destroy(&barrier);
    return sum;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1, n;
    if (threads < 1 || threads > MOST) {
        fprintf(stderr, "bench_peak [THREADS]: 1 to %d\n", MOST);
        return 2;
    }
    double us = gflops(ours, threads), blis = gflops(ag_gemm_blis, threads);
    printf("{\"threads\": %d, \"kernels\": \"%s\", \"ours\": %.1f, \"blis\": %.1f, \"blis_kernels\": \"%s\"}\n", threads, ag_gemm_sets(&n)->name,
           us, blis, ag_gemm_blis_kernels());
    return 0;
}
