/* Elementary functions: ours of autograd/vecmath.h, vectorised for each instruction set the machine has, against the C
 * library's in the same loops.
 *
 *     ./dev bench elementwise
 *
 * One line a function: nanoseconds an element (medians of alternating runs over an array that fits the first cache, one
 * thread) of the C library and of ours for the baseline, AVX2 and AVX-512. */
#include "autograd/autograd.h"
#include "autograd/vecmath.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N = 2048, REPS = 100, RUNS = 15 };

typedef enum which { EXP, LOG, TANH, ERF, SIGMOID, SILU, GELU, GELU_TANH, SOFTMAX, N_WHICH } which;

static const char *const names[N_WHICH] = { "exp", "log", "tanh", "erf", "sigmoid", "silu", "gelu", "gelu_tanh", "softmax" };

typedef void loop(which f, int64_t n, const ag_real *restrict x, ag_real *restrict y);

/* One row, as the operator does it. */
VEC_FUNCTION void softmax(int64_t n, const ag_real *restrict x, ag_real *restrict y)
{
    const ag_real max = vec_row_max(x, n);
    for (int64_t i = 0; i < n; i++)
        y[i] = vec_exp(x[i] - max);
    const ag_real sum = vec_row_sum(y, n);
    for (int64_t i = 0; i < n; i++)
        y[i] /= sum;
}

VEC_FUNCTION void ours(which f, int64_t n, const ag_real *restrict x, ag_real *restrict y)
{
    switch (f) {
    case EXP: for (int64_t i = 0; i < n; i++) y[i] = vec_exp(x[i]); break;
    case LOG: for (int64_t i = 0; i < n; i++) y[i] = vec_log(x[i]); break;
    case TANH: for (int64_t i = 0; i < n; i++) y[i] = vec_tanh(x[i]); break;
    case ERF: for (int64_t i = 0; i < n; i++) y[i] = vec_erf(x[i]); break;
    case SIGMOID: for (int64_t i = 0; i < n; i++) y[i] = vec_sigmoid(x[i]); break;
    case SILU: for (int64_t i = 0; i < n; i++) y[i] = vec_silu(x[i]); break;
    case GELU: for (int64_t i = 0; i < n; i++) y[i] = vec_gelu(x[i]); break;
    case GELU_TANH: for (int64_t i = 0; i < n; i++) y[i] = vec_gelu_tanh(x[i]); break;
    case SOFTMAX: softmax(n, x, y); break;
    case N_WHICH: break;
    }
}

static void ours_baseline(which f, int64_t n, const ag_real *restrict x, ag_real *restrict y)
{
    ours(f, n, x, y);
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define HAVE_X86_LEVELS
__attribute__((target("arch=x86-64-v3"))) static void ours_avx2(which f, int64_t n, const ag_real *restrict x, ag_real *restrict y)
{
    ours(f, n, x, y);
}

__attribute__((target("arch=x86-64-v4"))) static void ours_avx512(which f, int64_t n, const ag_real *restrict x, ag_real *restrict y)
{
    ours(f, n, x, y);
}
#endif

/* sqrt(2/pi) (x + 0.044715 x^3) */
static ag_real gelu_argument(ag_real x)
{
    return 0.797884561f * (x + 0.044715f * x * x * x);
}

static void library_softmax(int64_t n, const ag_real *restrict x, ag_real *restrict y)
{
    ag_real max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    for (int64_t i = 0; i < n; i++)
        sum += y[i] = expf(x[i] - max);
    for (int64_t i = 0; i < n; i++)
        y[i] /= sum;
}

static void library(which f, int64_t n, const ag_real *restrict x, ag_real *restrict y)
{
    switch (f) {
    case EXP: for (int64_t i = 0; i < n; i++) y[i] = expf(x[i]); break;
    case LOG: for (int64_t i = 0; i < n; i++) y[i] = logf(x[i]); break;
    case TANH: for (int64_t i = 0; i < n; i++) y[i] = tanhf(x[i]); break;
    case ERF: for (int64_t i = 0; i < n; i++) y[i] = erff(x[i]); break;
    case SIGMOID: for (int64_t i = 0; i < n; i++) y[i] = 1 / (1 + expf(-x[i])); break;
    case SILU: for (int64_t i = 0; i < n; i++) y[i] = x[i] / (1 + expf(-x[i])); break;
    case GELU: for (int64_t i = 0; i < n; i++) y[i] = 0.5f * x[i] * (1 + erff(x[i] * 0.707106781f)); break;
    case GELU_TANH: for (int64_t i = 0; i < n; i++) y[i] = 0.5f * x[i] * (1 + tanhf(gelu_argument(x[i]))); break;
    case SOFTMAX: library_softmax(n, x, y); break;
    case N_WHICH: break;
    }
}

typedef struct variant {
    const char *name;
    loop *run;
    bool possible;
} variant;

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

static double nanoseconds(loop *run, which f, const ag_real *x, ag_real *y)
{
    double start = now();
    for (int i = 0; i < REPS; i++)
        run(f, N, x, y);
    return (now() - start) * 1e9 / REPS / N;
}

static void measure(which f, const variant *v, int n_variant, const ag_real *x, ag_real *y)
{
    double taken[4][RUNS];
    for (int i = 0; i < RUNS; i++)
        for (int k = 0; k < n_variant; k++)
            taken[k][i] = v[k].possible ? nanoseconds(v[k].run, f, x, y) : NAN;
    printf("%-10s", names[f]);
    for (int k = 0; k < n_variant; k++) {
        qsort(taken[k], RUNS, sizeof *taken[k], ascending);
        printf(" %9.2f", taken[k][RUNS / 2]);
    }
    printf("\n");
}

int main(void)
{
    static ag_real x[N], positive[N], y[N];
    variant v[] = {
        { "library", library, true }, { "baseline", ours_baseline, true },
#ifdef HAVE_X86_LEVELS
        { "AVX2", ours_avx2, __builtin_cpu_supports("x86-64-v3") }, { "AVX-512", ours_avx512, __builtin_cpu_supports("x86-64-v4") },
#endif
    };
    const int n_variant = sizeof v / sizeof *v;
    for (int i = 0; i < N; i++) {
        x[i] = (ag_real)((i * 7919) % N) / (N / 8) - 4;   /* [-4, 4) in no order */
        positive[i] = x[i] * x[i] + (ag_real)1e-3;
    }
    printf("[ns]      ");
    for (int k = 0; k < n_variant; k++)
        printf(" %9s", v[k].name);
    printf("   (the operators run on %s)\n", ag_instruction_set());
    for (int f = 0; f < N_WHICH; f++)
        measure((which)f, v, n_variant, f == LOG ? positive : x, y);
    return 0;
}
