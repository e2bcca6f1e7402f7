/* The matrix product for AVX-512: 32 registers, so tiles of 12 x 2 vectors. */
#include "autograd/gemm.h"

#ifdef AG_GEMM_X86
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx2,fma")))
#define GEMM_NAME ag_gemm_avx512
#define WINDOWS_NAME ag_windows_avx512
#define TALL_ROWS 12
#define TILE_ROWS 12
#define DOT_ROWS 6
#ifdef AG_DOUBLE
#define TURN 4
#define OF_TYPE(name) name##_pd
#define MASK(n) ((__mmask8)((1u << (n)) - 1))
#else
#define TURN 8
#define OF_TYPE(name) name##_ps
#define MASK(n) ((__mmask16)((1u << (n)) - 1))
#endif
enum { LANES = 64 / sizeof(ag_real), TILE_VECS = 2, WIDE_VECS = 4, BLOCK_COLUMNS = 12 * TILE_VECS * LANES, CACHED = 64 * 64 };
typedef ag_real vec __attribute__((vector_size(64))), loose_vec __attribute__((vector_size(64), aligned(sizeof(ag_real))));

TARGET static inline vec spread(ag_real x)
{
    return OF_TYPE(_mm512_set1)(x);
}

TARGET static inline vec fused(vec a, vec b, vec c)
{
    return OF_TYPE(_mm512_fmadd)(a, b, c);
}

TARGET static inline vec load_part(const ag_real *p, int n)
{
    return OF_TYPE(_mm512_maskz_loadu)(MASK(n), p);
}

TARGET static inline void store_part(ag_real *p, vec x, int n)
{
    OF_TYPE(_mm512_mask_storeu)(p, MASK(n), x);
}

/* Four sums of lanes that are four apart. */
TARGET static inline ag_real __attribute__((vector_size(4 * sizeof(ag_real)))) fold(vec x)
{
#ifdef AG_DOUBLE
    return __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
#else
    ag_real __attribute__((vector_size(32))) half =
        __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
    return __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
#endif
}

#include "autograd/gemm_kernel.h"
#include "autograd/gemm_windows.h"
#endif
