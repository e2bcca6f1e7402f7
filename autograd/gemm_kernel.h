/* The matrix product in vectors of one instruction set. gemm_avx512.c, gemm_avx2.c and gemm_generic.c each say what a
 * vector is and include this file; what they get are static functions of their own.
 *
 * C is made of tiles that stay in registers: TILE_ROWS x TILE_VECS vectors. A step of k loads TILE_VECS vectors of B,
 * spreads TILE_ROWS numbers of A and does their products (Goto & van de Geijn 2008; Van Zee & van de Geijn 2015).
 * B goes by blocks of BLOCK_K x block_columns that fit the second-level cache, copied into panels one tile wide unless it
 * already lies in rows and is used too few times; a strip of A is copied only where it would be read out of step.
 *
 * Every entry of C is summed the same way, whatever the tile, the copies and the instruction set (as long as it has a
 * fused multiply-add): k in blocks of block_length(k), in a block one fused multiply-add after the other from zero, the
 * blocks' sums added to C in order. So a row of C has the same bits alone and among others.
 *
 * Wanted: GEMM_NAME; TARGET, the attribute of functions; LANES; TILE_ROWS (a multiple of 2), TILE_VECS; TALL_ROWS, the rows of a
 * tile one vector wide; BLOCK_COLUMNS; CACHED, the most entries of B that are read where they lie; and the functions spread, fused,
 * load_part and store_part. */
#include <string.h>

#define INLINE TARGET static inline __attribute__((always_inline))

enum { TILE_COLUMNS = TILE_VECS * LANES };
_Static_assert(TILE_COLUMNS % 4 == 0 && BLOCK_COLUMNS % TILE_COLUMNS == 0, "panels are copied by fours and fill a block");
_Static_assert(BLOCK_K * (BLOCK_COLUMNS + TALL_ROWS) <= AG_GEMM_BUFFER, "a block of B and a strip of A fit the buffer");

typedef vec loose_vec __attribute__((aligned(sizeof(ag_real))));
typedef ag_real four __attribute__((vector_size(4 * sizeof(ag_real)))), loose_four __attribute__((vector_size(4 * sizeof(ag_real)), aligned(sizeof(ag_real))));

INLINE vec load(const ag_real *p)
{
    return *(const loose_vec *)p;
}

INLINE void store(ag_real *p, vec x)
{
    *(loose_vec *)p = x;
}

/* ---- one tile ---- */

typedef struct tile {
    int64_t k;
    const ag_real *a, *b;            /* b: rows of vectors, rs_b apart */
    int64_t rs_a, cs_a, rs_b;
    int tail;                        /* lanes of the last vector */
    bool add;
    ag_real *c;
    int64_t rs_c;
} tile;

/* Rows and vecs are constants where this is called; `whole`: all lanes of b may be read, `full`: and all of c written. */
INLINE void multiply(const int rows, const int vecs, const bool whole, const bool full, const tile *t, int64_t rs_a, int64_t cs_a)
{
    vec sum[TALL_ROWS > TILE_ROWS ? TALL_ROWS : TILE_ROWS][TILE_VECS > WIDE_VECS ? TILE_VECS : WIDE_VECS];
    const ag_real *a = t->a, *b = t->b;
    int64_t rs_b = t->rs_b;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++)
            sum[i][j] = spread(0);
    for (int64_t p = t->k; p > 0; p--) {
        vec row[TILE_VECS > WIDE_VECS ? TILE_VECS : WIDE_VECS];
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++)
            row[j] = whole || j < vecs - 1 ? load(b + j * LANES) : load_part(b + j * LANES, t->tail);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            vec x = spread(a[i * rs_a]);
#pragma GCC unroll 8
            for (int j = 0; j < vecs; j++)
                sum[i][j] = fused(x, row[j], sum[i][j]);
        }
        a += cs_a;
        b += rs_b;
    }
    ag_real *c = t->c;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++, c += t->rs_c)
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++) {
            ag_real *at = c + j * LANES;
            if (full || j < vecs - 1)
                store(at, t->add ? load(at) + sum[i][j] : sum[i][j]);
            else
                store_part(at, t->add ? load_part(at, t->tail) + sum[i][j] : sum[i][j], t->tail);
        }
}
