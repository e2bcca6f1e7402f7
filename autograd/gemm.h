/* The two ways ag_gemm multiplies, for bench/gemm.c to compare. Arguments as ag_gemm's (op.h). */
#ifndef AG_GEMM_H
#define AG_GEMM_H

#include "autograd/op.h"

typedef void ag_gemm_kernel(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, int64_t cs_a, const ag_real *b,
                            int64_t rs_b, int64_t cs_b, bool accumulate, ag_real *c, int64_t rs_c);
ag_gemm_kernel ag_gemm_small, ag_gemm_blis;   /* small: cs_b is 1 */
/* Which one ag_gemm takes. */
bool ag_gemm_is_small(int64_t m, int64_t n, int64_t k, int64_t cs_b);

#endif
