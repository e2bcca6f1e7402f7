/* The matrix product for AVX2 with fused multiply-add: 16 registers, so tiles of 6 x 2 vectors. */
#include "autograd/gemm.h"

#ifdef AG_GEMM_X86
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define GEMM_NAME ag_gemm_avx2
#define WINDOWS_NAME ag_windows_avx2
#define TALL_ROWS 12
#define TILE_ROWS 6
#define DOT_ROWS 3
#ifdef AG_DOUBLE
#define TURN 4
#define OF_TYPE(name) name##_pd
typedef int64_t lane_index;
#else
#define TURN 8
#define OF_TYPE(name) name##_ps
typedef int32_t lane_index;
#endif
enum { LANES = 32 / sizeof(ag_real), TILE_VECS = 2, WIDE_VECS = 4, BLOCK_COLUMNS = 24 * TILE_VECS * LANES, CACHED = 64 * 64 };
typedef ag_real vec __attribute__((vector_size(32))), loose_vec __attribute__((vector_size(32), aligned(sizeof(ag_real))));
typedef lane_index lanes __attribute__((vector_size(32)));

TARGET static inline vec spread(ag_real x)
{
    return OF_TYPE(_mm256_set1)(x);
}

TARGET static inline vec fused(vec a, vec b, vec c)
{
    return OF_TYPE(_mm256_fmadd)(a, b, c);
}

/* All bits set in the first n lanes. */
TARGET static inline __m256i first(int n)
{
#ifdef AG_DOUBLE
    return (__m256i)((lanes){ 0, 1, 2, 3 } < (lanes){ n, n, n, n });
#else
    return (__m256i)((lanes){ 0, 1, 2, 3, 4, 5, 6, 7 } < (lanes){ n, n, n, n, n, n, n, n });
#endif
}

TARGET static inline vec load_part(const ag_real *p, int n)
{
    return OF_TYPE(_mm256_maskload)(p, first(n));
}

TARGET static inline void store_part(ag_real *p, vec x, int n)
{
    if (n == LANES)   /* some machines are very slow at the other */
        *(loose_vec *)p = x;
    else
        OF_TYPE(_mm256_maskstore)(p, first(n), x);
}

/* Four sums of lanes that are four apart. */
TARGET static inline ag_real __attribute__((vector_size(4 * sizeof(ag_real)))) fold(vec x)
{
#ifdef AG_DOUBLE
    return x;
#else
    return __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
#endif
}

#include "autograd/gemm_kernel.h"
#include "autograd/gemm_windows.h"
#endif
