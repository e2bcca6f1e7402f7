/* The matrix product in vectors of four numbers, for machines without a file of their own: what any compiler makes of
 * GNU C's vectors. On arm64 the fused multiply-add is the machine's; on x86-64 before AVX2 there is none. */
#include "autograd/gemm.h"

#pragma GCC diagnostic ignored "-Wpsabi"   /* a vector wider than the machine's is passed within this file only */

#define TARGET
#define TURN 4
#define DOT_ROWS 2
#define GEMM_NAME ag_gemm_generic
#define WINDOWS_NAME ag_windows_generic
#if defined(__aarch64__)
#include <arm_neon.h>
#define TALL_ROWS 12
#define TILE_ROWS 8
#else
#define TALL_ROWS 8
#define TILE_ROWS 4
#endif
enum { LANES = 16 / sizeof(ag_real), TILE_VECS = 2, WIDE_VECS = 4, BLOCK_COLUMNS = 48 * TILE_VECS * LANES, CACHED = 64 * 64 };
typedef ag_real vec __attribute__((vector_size(16))), loose_vec __attribute__((vector_size(16), aligned(sizeof(ag_real))));

static inline vec spread(ag_real x)
{
#ifdef AG_DOUBLE
    return (vec){ x, x };
#else
    return (vec){ x, x, x, x };
#endif
}

static inline vec fused(vec a, vec b, vec c)
{
#if defined(__aarch64__) && defined(AG_DOUBLE)
    return vfmaq_f64(c, a, b);
#elif defined(__aarch64__)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}

/* Four sums of lanes that are four apart. */
static inline ag_real __attribute__((vector_size(4 * sizeof(ag_real)))) fold(vec x)
{
#ifdef AG_DOUBLE
    return (ag_real __attribute__((vector_size(4 * sizeof(ag_real))))){ x[0], x[1], 0, 0 };
#else
    return x;
#endif
}

static inline vec load_part(const ag_real *p, int n)
{
    if (n == LANES)
        return *(const loose_vec *)p;
    vec x = { 0 };
    for (int i = 0; i < n; i++)
        x[i] = p[i];
    return x;
}

static inline void store_part(ag_real *p, vec x, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = x[i];
}

#include "autograd/gemm_kernel.h"
#include "autograd/gemm_windows.h"
