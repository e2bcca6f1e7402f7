/* How ag_gemm multiplies: our kernels, one file an instruction set (gemm_kernel.h), or BLIS. For the tests, which take each
 * in turn, and bench/gemm.c, which compares them. */
#ifndef AG_GEMM_H
#define AG_GEMM_H

#include "autograd/op.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define AG_GEMM_X86 1
#endif

/* Arguments as ag_gemm's (op.h); m, n and k are at least 1. */
typedef void ag_gemm_kernel(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, int64_t cs_a, const ag_real *b,
                            int64_t rs_b, int64_t cs_b, bool accumulate, ag_real *c, int64_t rs_c);
ag_gemm_kernel ag_gemm_generic, ag_gemm_blis;
#ifdef AG_GEMM_X86
ag_gemm_kernel ag_gemm_avx512, ag_gemm_avx2;   /* only where ag_gemm_sets lists them */
#endif

/* C = P B (+ C if add) where P's numbers lie wherever two tables say (gemm_windows.h); m, n and k are at least 1. */
typedef struct ag_windows {
    int64_t m, n, k;
    const ag_real *a;
    const int64_t *row, *step;       /* [m], [k]: P[i, p] = a[row[i] + step[p]] */
    const ag_real *b;                /* [k, n], rows rs_b apart */
    int64_t rs_b;
    bool add;
    ag_real *c;
    const int64_t *to;               /* [m]: row i of C begins at c + to[i] */
} ag_windows;
typedef void ag_windows_kernel(const ag_windows *w);
ag_windows_kernel ag_windows_generic;
#ifdef AG_GEMM_X86
ag_windows_kernel ag_windows_avx512, ag_windows_avx2;
#endif

/* The kernels this machine can run, best first; ag_gemm takes the first, or BLIS; ag_windows_multiply the first. */
typedef struct ag_gemm_set {
    const char *name;
    ag_gemm_kernel *kernel;
    ag_windows_kernel *windows;
} ag_gemm_set;
void ag_windows_multiply(const ag_windows *w);
const ag_gemm_set *ag_gemm_sets(int *n);

/* "zen3", "skx": the kernels BLIS chose. */
const char *ag_gemm_blis_kernels(void);

/* The most of k that is summed before it is added to C, and the size of a thread's buffer for copies [numbers]. */
enum { AG_GEMM_DEPTH = 384, AG_GEMM_BUFFER = AG_GEMM_DEPTH * (384 + 16) };

/* This thread's buffer, aligned to 64 bytes, until it is done with (gemm_memory.c). */
ag_real *ag_gemm_buffer(void);
void ag_gemm_buffer_done(ag_real *buffer);

#endif
