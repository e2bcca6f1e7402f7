/* exp over the last axis, many short rows at once: what softmax and cross-entropy begin with. */
#ifndef AG_ROWS_H
#define AG_ROWS_H

#include "autograd/op.h"
#include "autograd/vecmath.h"

/* Of a block of rows at a time: their largest entries, y = exp(x - largest) as one run, and the sums of that. */
enum { ROWS = 32, ROW_BLOCK = 1024 };

typedef struct row_block {
    ag_real max[ROWS], sum[ROWS];
} row_block;

static int64_t rows_together(int64_t n)
{
    return n >= ROW_BLOCK ? 1 : ROW_BLOCK / n < ROWS ? ROW_BLOCK / n : ROWS;
}

AG_KERNEL static void exp_rows(const ag_real *restrict x, ag_real *restrict y, int64_t rows, int64_t n, row_block *restrict b)
{
    for (int64_t r = 0; r < rows; r++) {
        const ag_real max = b->max[r] = vec_row_max(x + r * n, n);
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            y[i] = x[i] - max;
    }
    for (int64_t i = 0; i < rows * n; i++)
        y[i] = vec_exp(y[i]);
    for (int64_t r = 0; r < rows; r++)
        b->sum[r] = vec_row_sum(y + r * n, n);
}

#endif
