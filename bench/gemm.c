/* Where our small product stops being faster than BLIS: times both over shapes like those of small networks.
 *
 *     ./dev bench gemm
 *
 * One line a shape: GFLOP/s of the small kernel and of BLIS (medians of alternating runs, one thread), and the one
 * that ag_gemm chooses. SMALL_PRODUCT in autograd/gemm.c follows from it. */
#include "autograd/gemm.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RUNS = 15 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct shape {
    int64_t m, n, k;
    bool a_turned;                   /* A is given as [k, m] */
} shape;

static double seconds(ag_gemm_kernel *kernel, const shape *s, const ag_real *a, const ag_real *b, ag_real *c, int reps)
{
    double start = now();
    for (int i = 0; i < reps; i++)
        kernel(s->m, s->n, s->k, a, s->a_turned ? 1 : s->k, s->a_turned ? s->m : 1, b, s->n, 1, false, c, s->n);
    return (now() - start) / reps;
}

static void measure(const shape *s)
{
    size_t most = (size_t)(s->m * s->k + s->k * s->n + s->m * s->n);
    ag_real *memory = calloc(most, sizeof *memory), *a = memory, *b = a + s->m * s->k, *c = b + s->k * s->n;
    double flop = 2.0 * (double)(s->m * s->n * s->k), small[RUNS], blis[RUNS];
    int reps = (int)(2e6 / flop) + 1;
    if (!memory)
        return;
    for (int64_t i = 0; i < s->m * s->k + s->k * s->n; i++)
        memory[i] = (ag_real)(i % 7) * (ag_real)0.25;
    for (int i = 0; i < RUNS; i++) {
        small[i] = seconds(ag_gemm_small, s, a, b, c, reps);
        blis[i] = seconds(ag_gemm_blis, s, a, b, c, reps);
    }
    qsort(small, RUNS, sizeof *small, ascending);
    qsort(blis, RUNS, sizeof *blis, ascending);
    printf("%5lld %5lld %5lld %s %9lld  small %7.2f  BLIS %7.2f GFLOP/s  %s\n", (long long)s->m, (long long)s->n, (long long)s->k,
           s->a_turned ? "A'" : "A ", (long long)(s->m * s->n * s->k), flop / small[RUNS / 2] * 1e-9, flop / blis[RUNS / 2] * 1e-9,
           ag_gemm_is_small(s->m, s->n, s->k, 1) ? "small" : "BLIS");
    free(memory);
}

int main(void)
{
    const int64_t sizes[][3] = { { 1, 40, 40 }, { 10, 1, 40 }, { 10, 40, 1 }, { 10, 40, 40 }, { 40, 40, 10 }, { 5, 5, 64 },
        { 64, 5, 5 }, { 16, 16, 16 }, { 24, 24, 24 }, { 32, 32, 32 }, { 40, 40, 40 }, { 48, 48, 48 }, { 64, 64, 64 }, { 25, 8, 384 },
        { 25, 384, 8 }, { 8, 384, 25 }, { 100, 64, 9 }, { 20, 64, 576 }, { 125, 40, 40 }, { 250, 40, 40 } };
    printf("    m     n     k      multiply-adds\n");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int turned = 0; turned < 2; turned++)
            measure(&(shape){ sizes[i][0], sizes[i][1], sizes[i][2], turned });
    return 0;
}
