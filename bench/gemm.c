/* The matrix product of one thread on the shapes of meta-learning: ours beside BLIS.
 *
 *     ./dev bench gemm
 *
 * One line a shape: GFLOP/s of ag_gemm, of BLIS with the kernels it chooses, and of BLIS with its AVX-512 (skx) kernels,
 * medians of alternating runs in processor time; our share of the peak, which is that of fused multiply-adds on registers
 * alone. BLIS chooses once a process, so each choice has a process of its own. A' or B': given transposed. */
#include "autograd/gemm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#ifdef AG_GEMM_X86
#include <immintrin.h>
#endif

enum { RUNS = 21 };

/* This thread's own time [s], so that other programs disturb little. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double median(double *x, int n)
{
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && x[j - 1] > x[j]; j--) {
            double swapped = x[j];
            x[j] = x[j - 1];
            x[j - 1] = swapped;
        }
    return x[n / 2];
}

typedef struct shape {
    const char *what;
    int64_t m, n, k;
    bool a_turned, b_turned;         /* A is given as [k, m], B as [n, k] */
} shape;

static const shape shapes[] = {
    { "square", 1024, 1024, 1024, false, false }, { "", 1024, 1024, 1024, false, true }, { "", 512, 512, 512, false, false },
    { "frozen x W'", 800, 1536, 384, false, true }, { "", 800, 384, 1536, false, true }, { "", 800, 384, 384, false, true },
    { "", 165, 384, 384, false, true }, { "", 165, 1536, 384, false, true }, { "", 25, 384, 384, false, true },
    { "frozen g W", 800, 384, 384, false, false }, { "", 800, 384, 1536, false, false }, { "", 165, 384, 384, false, false },
    { "", 25, 384, 384, false, false },
    { "adapter x A'", 800, 8, 384, false, true }, { "", 165, 8, 384, false, true }, { "adapter x A", 800, 8, 384, false, false },
    { "", 800, 8, 1536, false, false }, { "rank 1", 800, 1, 384, false, true }, { "rank 16", 800, 16, 384, false, true },
    { "adapter h B'", 800, 384, 8, false, true }, { "", 165, 384, 8, false, true }, { "adapter h B", 800, 384, 8, false, false },
    { "rank 1", 800, 384, 1, false, false },
    { "adapter x' g", 384, 8, 800, true, false }, { "adapter h' g", 8, 384, 800, true, false }, { "", 8, 1536, 165, true, false },
    { "attention q k'", 32, 32, 32, false, true }, { "", 32, 32, 64, false, true }, { "attention p v", 32, 32, 32, false, false },
    { "", 32, 64, 32, false, false }, { "attention p' g", 32, 32, 32, true, false }, { "", 64, 32, 32, true, false },
    { "conv4", 245, 64, 576, false, false }, { "", 784, 64, 9, false, false }, { "", 576, 64, 245, true, false }, { "", 245, 576, 64, false, false },
    { "sinusoid", 10, 40, 40, false, false }, { "", 10, 40, 1, false, false }, { "", 10, 1, 40, false, false }, { "", 10, 40, 40, false, true },
    { "", 40, 40, 10, true, false }, { "head", 25, 5, 384, false, false }, { "", 5, 5, 64, false, false }, { "", 64, 5, 5, true, false },
    { "one row", 1, 384, 384, false, false }, { "", 1, 384, 384, false, true }, { "", 1, 40, 40, false, false },
};
enum { N_SHAPE = sizeof shapes / sizeof *shapes };

typedef struct operands {
    ag_real *a, *b, *c;
} operands;

static operands operands_new(const shape *s)
{
    operands o = { calloc((size_t)(s->m * s->k), sizeof *o.a), calloc((size_t)(s->k * s->n), sizeof *o.b),
                   calloc((size_t)(s->m * s->n), sizeof *o.c) };
    if (!o.a || !o.b || !o.c)
        exit(1);
    for (int64_t i = 0; i < s->m * s->k; i++)
        o.a[i] = (ag_real)(i % 7) * (ag_real)0.25;
    for (int64_t i = 0; i < s->k * s->n; i++)
        o.b[i] = (ag_real)(i % 5) - 2;
    return o;
}

static void operands_free(operands *o)
{
    free(o->a);
    free(o->b);
    free(o->c);
}

static double flop(const shape *s)
{
    return 2.0 * (double)(s->m * s->n * s->k);
}

static double seconds(ag_gemm_kernel *kernel, const shape *s, const operands *o)
{
    int reps = (int)(2e7 / flop(s)) + 1;
    reps = reps > 5000 ? 5000 : reps;
    double start = now();
    for (int i = 0; i < reps; i++)
        kernel(s->m, s->n, s->k, o->a, s->a_turned ? 1 : s->k, s->a_turned ? s->m : 1, o->b, s->b_turned ? 1 : s->n, s->b_turned ? s->k : 1,
               false, o->c, s->n);
    return (now() - start) / reps;
}

/* ---- BLIS in processes of its own ---- */

typedef struct server {
    int ask, answer;                 /* a shape's number goes in, seconds come out; -1 where there is none */
} server;

static void serve(int ask, int answer)
{
    int last = -1, i;
    operands o = { NULL, NULL, NULL };
    while (read(ask, &i, sizeof i) == sizeof i) {
        if (i != last) {
            operands_free(&o);
            o = operands_new(&shapes[i]);
            seconds(ag_gemm_blis, &shapes[i], &o);
        }
        last = i;
        double s = seconds(ag_gemm_blis, &shapes[i], &o);
        if (write(answer, &s, sizeof s) != sizeof s)
            break;
    }
    operands_free(&o);
}

/* BLIS_ARCH_TYPE, BLIS's number of its kernels, or NULL for its own choice. */
static server server_start(const char *architecture)
{
    int ask[2], answer[2];
    if (pipe(ask) != 0 || pipe(answer) != 0)
        return (server){ -1, -1 };
    pid_t pid = fork();
    if (pid == 0) {
        close(ask[1]);
        close(answer[0]);
        if (architecture)
            setenv("BLIS_ARCH_TYPE", architecture, 1);
        serve(ask[0], answer[1]);
        _exit(0);
    }
    close(ask[0]);
    close(answer[1]);
    return pid < 0 ? (server){ -1, -1 } : (server){ ask[1], answer[0] };
}

static double blis_seconds(const server *s, int i)
{
    double x;
    if (s->ask < 0 || write(s->ask, &i, sizeof i) != sizeof i || read(s->answer, &x, sizeof x) != sizeof x)
        return NAN;
    return x;
}

/* ---- the peak ---- */

enum { CHAINS = 12, STEPS = 100000 };   /* as many sums as hide the latency of a fused multiply-add */

#ifdef AG_GEMM_X86
__attribute__((target("avx512f"))) static float chains_512(void)
{
    __m512 sum[CHAINS], x = _mm512_set1_ps(0.5f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (int s = 0; s < STEPS; s++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_fmadd_ps(sum[i], x, x);
    for (int i = 1; i < CHAINS; i++)
        sum[0] += sum[i];
    return sum[0][0];
}

__attribute__((target("avx2,fma"))) static float chains_256(void)
{
    __m256 sum[CHAINS], x = _mm256_set1_ps(0.5f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm256_set1_ps((float)i);
    for (int s = 0; s < STEPS; s++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm256_fmadd_ps(sum[i], x, x);
    for (int i = 1; i < CHAINS; i++)
        sum[0] += sum[i];
    return sum[0][0];
}
#endif

/* Fused multiply-adds of the widest vectors [GFLOP/s]; NAN where we do not know how to ask. */
static double peak(const ag_gemm_set *best)
{
#ifdef AG_GEMM_X86
    double times[RUNS];
    volatile float kept;
    if (best->kernel == ag_gemm_generic)
        return NAN;
    bool wide = best->kernel == ag_gemm_avx512;
    for (int i = 0; i < RUNS; i++) {
        double start = now();
        kept = wide ? chains_512() : chains_256();
        times[i] = now() - start;
    }
    (void)kept;
    return 2.0 * (wide ? 16 : 8) * CHAINS * STEPS / median(times, RUNS) * 1e-9;
#else
    (void)best;
    return NAN;
#endif
}

int main(void)
{
    server any = server_start(NULL), skx = { -1, -1 };   /* before this process asks BLIS anything */
    int n;
    const ag_gemm_set *best = ag_gemm_sets(&n);
#ifdef AG_GEMM_X86
    if (best->kernel == ag_gemm_avx512)
        skx = server_start("0");
#endif
    double most = peak(best);
    printf("kernels %s; BLIS %s, by itself %s; peak %.1f GFLOP/s\n", best->name, ag_gemm_version(), ag_gemm_blis_kernels(), most);
    printf("%-15s %5s %5s %5s         ours   BLIS BLIS skx   ours/BLIS  of peak\n", "", "m", "n", "k");
    for (int i = 0; i < N_SHAPE; i++) {
        const shape *s = &shapes[i];
        operands o = operands_new(s);
        double ours[RUNS], blis[RUNS], wide[RUNS], work = flop(s) * 1e-9;
        seconds(ag_gemm, s, &o);
        for (int run = 0; run < RUNS; run++) {
            ours[run] = seconds(ag_gemm, s, &o);
            blis[run] = blis_seconds(&any, i);
            wide[run] = blis_seconds(&skx, i);
        }
        double us = work / median(ours, RUNS), them = work / median(blis, RUNS);
        printf("%-15s %5d %5d %5d %s %s %8.1f %6.1f %8.1f %10.2f %7.0f %%\n", s->what, (int)s->m, (int)s->n, (int)s->k,
               s->a_turned ? "A'" : "A ", s->b_turned ? "B'" : "B ", us, them, work / median(wide, RUNS), us / them, 100 * us / most);
        operands_free(&o);
    }
    return 0;
}
