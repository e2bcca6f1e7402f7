/* C = P B (+ C) where the numbers of P lie wherever two tables say: P[i, p] = a[row[i] + step[p]]. The windows of an image
 * are such a matrix, and so is its transpose, so a convolution and both its adjoints are products that write no patches out
 * (conv.c). gemm_avx512.c, gemm_avx2.c and gemm_generic.c include this file behind gemm_kernel.h and say
 *   WINDOWS_NAME  what the product is called
 *
 * An entry of C is summed in the order of k from zero on, whatever the other rows; then it is added to C. Rows of C may
 * overlap: they are added one after the other. */

typedef struct window_tile {
    const ag_windows *w;
    const int64_t *row, *to;
    const ag_real *b;
    ag_real *c;
    int tail;
} window_tile;

/* Rows, vecs and whole (all lanes of the last vector) are constants where this is called. */
INLINE void multiply_windows(const int rows, const int vecs, const bool whole, const window_tile *t)
{
    vec sum[TILE_ROWS][TILE_VECS];
    const ag_real *row_of[TILE_ROWS], *b = t->b;
    int64_t rs_b = t->w->rs_b;
    const int64_t *step = t->w->step, *end = step + t->w->k;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        row_of[i] = t->w->a + t->row[i];
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++)
            sum[i][j] = spread(0);
    }
    for (; step < end; step++, b += rs_b) {
        int64_t at = *step;
        vec row[TILE_VECS];
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++)
            row[j] = whole || j < vecs - 1 ? load(b + j * LANES) : load_part(b + j * LANES, t->tail);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            vec x = spread(row_of[i][at]);
#pragma GCC unroll 8
            for (int j = 0; j < vecs; j++)
                sum[i][j] = fused(x, row[j], sum[i][j]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++)
            put(t->c + t->to[i] + j * LANES, sum[i][j], t->w->add, whole || j < vecs - 1, t->tail);
}

TARGET static void whole_windows(int rows, const window_tile *t)
{
    switch (rows) {
    case 1: multiply_windows(1, TILE_VECS, true, t); break;
    case 2: multiply_windows(2, TILE_VECS, true, t); break;
    case 3: multiply_windows(3, TILE_VECS, true, t); break;
    case 4: multiply_windows(4, TILE_VECS, true, t); break;
#if TILE_ROWS > 4
    case 5: multiply_windows(5, TILE_VECS, true, t); break;
    case 6: multiply_windows(6, TILE_VECS, true, t); break;
#endif
#if TILE_ROWS > 6
    case 7: multiply_windows(7, TILE_VECS, true, t); break;
    case 8: multiply_windows(8, TILE_VECS, true, t); break;
#endif
#if TILE_ROWS > 8
    case 9: multiply_windows(9, TILE_VECS, true, t); break;
    case 10: multiply_windows(10, TILE_VECS, true, t); break;
    case 11: multiply_windows(11, TILE_VECS, true, t); break;
    case 12: multiply_windows(12, TILE_VECS, true, t); break;
#endif
    }
}

/* The last columns: one vector or less. */
TARGET static void part_of_windows(int rows, const window_tile *t)
{
    switch (rows) {
    case 1: multiply_windows(1, 1, false, t); break;
    case 2: multiply_windows(2, 1, false, t); break;
    case 3: multiply_windows(3, 1, false, t); break;
    case 4: multiply_windows(4, 1, false, t); break;
#if TILE_ROWS > 4
    case 5: multiply_windows(5, 1, false, t); break;
    case 6: multiply_windows(6, 1, false, t); break;
#endif
#if TILE_ROWS > 6
    case 7: multiply_windows(7, 1, false, t); break;
    case 8: multiply_windows(8, 1, false, t); break;
#endif
#if TILE_ROWS > 8
    case 9: multiply_windows(9, 1, false, t); break;
    case 10: multiply_windows(10, 1, false, t); break;
    case 11: multiply_windows(11, 1, false, t); break;
    case 12: multiply_windows(12, 1, false, t); break;
#endif
    }
}

TARGET void WINDOWS_NAME(const ag_windows *w)
{
    for (int64_t i = 0, rows; i < w->m; i += rows) {
        rows = next_rows(w->m - i, TILE_ROWS);
        window_tile t = { w, w->row + i, w->to + i, w->b, w->c, 0 };
        for (int64_t j = 0, columns; j < w->n; j += columns, t.b += columns, t.c += columns) {
            columns = w->n - j >= TILE_COLUMNS ? TILE_COLUMNS : w->n - j < LANES ? w->n - j : LANES;
            t.tail = (int)columns;
            if (columns == TILE_COLUMNS)
                whole_windows((int)rows, &t);
            else
                part_of_windows((int)rows, &t);
        }
    }
}
