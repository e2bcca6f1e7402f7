/* C = A B, one thread a call (parallelism stands above): by our kernels for the machine's vectors, or by BLIS. The only
 * file that includes blis.h. */
#include "autograd/gemm.h"

#include <blis.h>
#include <stdatomic.h>
#include <string.h>

/* Ours win at every shape on AVX2 and AVX-512 (bench/gemm.c). BLIS does float64, so that the checks rest on somebody
 * else's products, and float32 on machines we have no kernels of their own for, from so many multiply-adds: below, its
 * set-up costs more than the product. */
enum { SMALL_PRODUCT = 4096 };

static const ag_gemm_set sets[] = {
#ifdef AG_GEMM_X86
    { "avx512", ag_gemm_avx512, ag_windows_avx512 },
    { "avx2", ag_gemm_avx2, ag_windows_avx2 },
#endif
    { "generic", ag_gemm_generic, ag_windows_generic },
};

/* How many sets at the front this machine cannot run. */
static int beyond(void)
{
#ifdef AG_GEMM_X86
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 2;
    if (!__builtin_cpu_supports("avx512f"))
        return 1;
#endif
    return 0;
}

const ag_gemm_set *ag_gemm_sets(int *n)
{
    int first = beyond();
    *n = (int)(sizeof sets / sizeof *sets) - first;
    return sets + first;
}

static const ag_gemm_set *ours(void)
{
    static const ag_gemm_set *_Atomic chosen;
    const ag_gemm_set *set = atomic_load_explicit(&chosen, memory_order_relaxed);
    int n;
    if (!set) {
        set = ag_gemm_sets(&n);   /* every thread finds the same */
        atomic_store_explicit(&chosen, set, memory_order_relaxed);
    }
    return set;
}

void ag_windows_multiply(const ag_windows *w)
{
    ours()->windows(w);
}

static bool blis_is_better(int64_t m, int64_t n, int64_t k, ag_gemm_kernel *kernel)
{
    return (sizeof(ag_real) > 4 || kernel == ag_gemm_generic) && m * n * k > SMALL_PRODUCT;
}

void ag_gemm_blis(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, int64_t cs_a, const ag_real *b, int64_t rs_b,
                  int64_t cs_b, bool accumulate, ag_real *c, int64_t rs_c)
{
    rntm_t threads = BLIS_RNTM_INITIALIZER;
    bli_rntm_set_num_threads(1, &threads);
    ag_real one = 1, beta = accumulate;
#ifdef AG_DOUBLE
    bli_dgemm_ex
#else
    bli_sgemm_ex
#endif
        (BLIS_NO_TRANSPOSE, BLIS_NO_TRANSPOSE, m, n, k, &one, (ag_real *)a, rs_a, cs_a, (ag_real *)b, rs_b, cs_b, &beta, c,
         rs_c, 1, NULL, &threads);
}

void ag_gemm(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, int64_t cs_a, const ag_real *b, int64_t rs_b,
             int64_t cs_b, bool accumulate, ag_real *c, int64_t rs_c)
{
    if (m == 0 || n == 0)
        return;
    if (k == 0) {
        for (int64_t i = 0; i < m && !accumulate; i++)
            memset(c + i * rs_c, 0, (size_t)n * sizeof *c);
        return;
    }
    ag_gemm_kernel *kernel = ours()->kernel;
    if (blis_is_better(m, n, k, kernel))
        kernel = ag_gemm_blis;
    kernel(m, n, k, a, rs_a, cs_a, b, rs_b, cs_b, accumulate, c, rs_c);
}

const char *ag_gemm_blis_kernels(void)
{
    return bli_arch_string(bli_arch_query_id());
}

const char *ag_gemm_kernels(void)
{
    int n;
    const ag_gemm_set *best = ag_gemm_sets(&n);
    return blis_is_better(1, 1, SMALL_PRODUCT + 1, best->kernel) ? ag_gemm_blis_kernels() : best->name;
}

const char *ag_gemm_version(void)
{
    return bli_info_get_version_str();
}

const char *ag_instruction_set(void)
{
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(AG_NO_CLONES)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4"))
        return "x86-64-v4";
    if (__builtin_cpu_supports("x86-64-v3"))
        return "x86-64-v3";
#endif
    return "baseline";
}
