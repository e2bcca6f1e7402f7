/* C = A B by BLIS, one thread a call (parallelism stands above), or by a small kernel of ours where BLIS's set-up
 * would cost more than the product. The only file that includes blis.h. */
#include "autograd/gemm.h"

#include <blis.h>
#include <string.h>

/* Up to so many multiply-adds, with rows of B and C contiguous and long enough for a vector, our kernel is faster
 * (bench/gemm.c). */
enum { SMALL_PRODUCT = 2048, SMALL_COLUMNS = 8 };

/* Rows of C in groups of four, each row's entries along the vector: no packing, A is read as it lies. */
AG_KERNEL static void small_product(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, int64_t cs_a,
                                    const ag_real *restrict b, int64_t rs_b, ag_real *restrict c, int64_t rs_c)
{
    int64_t i = 0;
    for (; i + 4 <= m; i += 4) {
        const ag_real *a0 = a + i * rs_a;
        ag_real *c0 = c + i * rs_c, *c1 = c0 + rs_c, *c2 = c1 + rs_c, *c3 = c2 + rs_c;
        for (int64_t p = 0; p < k; p++) {
            const ag_real *row = b + p * rs_b, *ap = a0 + p * cs_a;
            ag_real x0 = ap[0], x1 = ap[rs_a], x2 = ap[2 * rs_a], x3 = ap[3 * rs_a];
#pragma omp simd
            for (int64_t j = 0; j < n; j++) {
                c0[j] += x0 * row[j];
                c1[j] += x1 * row[j];
                c2[j] += x2 * row[j];
                c3[j] += x3 * row[j];
            }
        }
    }
    for (; i < m; i++)
        for (int64_t p = 0; p < k; p++) {
            ag_real x = a[i * rs_a + p * cs_a];
#pragma omp simd
            for (int64_t j = 0; j < n; j++)
                c[i * rs_c + j] += x * b[p * rs_b + j];
        }
}

static void clear(int64_t m, int64_t n, ag_real *c, int64_t rs_c)
{
    for (int64_t i = 0; i < m; i++)
        memset(c + i * rs_c, 0, (size_t)n * sizeof *c);
}

void ag_gemm_small(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, int64_t cs_a, const ag_real *b, int64_t rs_b,
                   int64_t cs_b, bool accumulate, ag_real *c, int64_t rs_c)
{
    (void)cs_b;
    if (!accumulate)
        clear(m, n, c, rs_c);
    small_product(m, n, k, a, rs_a, cs_a, b, rs_b, c, rs_c);
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

bool ag_gemm_is_small(int64_t m, int64_t n, int64_t k, int64_t cs_b)
{
    return cs_b == 1 && n >= SMALL_COLUMNS && m * n * k <= SMALL_PRODUCT;
}

void ag_gemm(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, int64_t cs_a, const ag_real *b, int64_t rs_b,
             int64_t cs_b, bool accumulate, ag_real *c, int64_t rs_c)
{
    if (m == 0 || n == 0)
        return;
    if (k == 0) {
        if (!accumulate)
            clear(m, n, c, rs_c);
        return;
    }
    ag_gemm_kernel *kernel = ag_gemm_is_small(m, n, k, cs_b) ? ag_gemm_small : ag_gemm_blis;
    kernel(m, n, k, a, rs_a, cs_a, b, rs_b, cs_b, accumulate, c, rs_c);
}

const char *ag_gemm_kernels(void)
{
    return bli_arch_string(bli_arch_query_id());
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
