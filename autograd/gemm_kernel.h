/* The matrix product in vectors of one instruction set. gemm_avx512.c, gemm_avx2.c and gemm_generic.c each say what a
 * vector is and include this file; what they get are static functions of their own.
 *
 * C is made of tiles that stay in registers, TILE_ROWS x TILE_VECS vectors: a step of k loads TILE_VECS vectors of B, spreads
 * TILE_ROWS numbers of A over vectors and does their products (Goto & van de Geijn 2008; Van Zee & van de Geijn 2015).
 * Blocks of B that fit the second-level cache are copied into panels one tile wide, unless B already lies in rows and is
 * used too few times; a strip of A is copied only where it would be read out of step. So any strides cost the same.
 * With at most DOT_COLUMNS columns, which would leave most of a vector empty, the vector runs along k instead or, where
 * A lies in columns, C' = B' A' is made.
 *
 * How an entry of C is summed depends on n, k and on whether A lies in rows, never on m: a row has the same bits alone
 * and among others. Except along k, it does not even depend on the instruction set, given a fused multiply-add: k goes in
 * blocks, in a block one product after the other is added from zero on, and the blocks' sums are added to C in order.
 *
 * An including file has vec and loose_vec (unaligned), LANES of them; spread, fused (a b + c), load_part and store_part of the
 * first lanes, and fold (lanes to four sums); and
 *   GEMM_NAME  what the product is called             TARGET     the attribute of all functions
 *   TILE_ROWS  at most 12, with TILE_VECS = 2         TALL_ROWS  at most 12, the same of a tile one vector wide
 *   WIDE_VECS  4, for tiles of one or two rows        DOT_ROWS   rows times four sums that fit the registers
 *   BLOCK_COLUMNS  of B in a block                    CACHED     the most entries of B that are always read in place
 *   TURN       columns that are transposed at once, 4 or 8 */
#include <string.h>

#define INLINE TARGET static inline __attribute__((always_inline))
#define OUTLINE TARGET static __attribute__((noinline))   /* else everything is one function, short of registers */

enum { TILE_COLUMNS = TILE_VECS * LANES, FEW_ROWS = 64 };
_Static_assert(TILE_VECS == 2 && WIDE_VECS == 4, "what one_tile chooses from");
_Static_assert(TILE_COLUMNS % 4 == 0 && BLOCK_COLUMNS % TILE_COLUMNS == 0, "panels are copied by fours and fill a block");
_Static_assert(AG_GEMM_DEPTH * (BLOCK_COLUMNS + TILE_ROWS) <= AG_GEMM_BUFFER, "a block of B and a strip of A fit the buffer");

typedef ag_real four __attribute__((vector_size(4 * sizeof(ag_real))));
typedef ag_real loose_four __attribute__((vector_size(4 * sizeof(ag_real)), aligned(sizeof(ag_real))));
#if TURN == 8
typedef ag_real eight __attribute__((vector_size(8 * sizeof(ag_real))));
typedef ag_real loose_eight __attribute__((vector_size(8 * sizeof(ag_real)), aligned(sizeof(ag_real))));
#endif

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

INLINE void put(ag_real *c, vec x, bool add, bool full, int tail)
{
    if (full)
        store(c, add ? load(c) + x : x);
    else
        store_part(c, add ? load_part(c, tail) + x : x, tail);
}

/* Rows and vecs are constants where this is called; `whole`: all lanes of b may be read, `full`: and all of c written. */
INLINE void multiply(const int rows, const int vecs, const bool whole, const bool full, const tile *t, int64_t rs_a, int64_t cs_a)
{
    vec sum[TALL_ROWS > TILE_ROWS ? TALL_ROWS : TILE_ROWS][WIDE_VECS];
    const ag_real *a = t->a, *b = t->b;
    int64_t rs_b = t->rs_b;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++)
            sum[i][j] = spread(0);
    for (int64_t p = t->k; p > 0; p--) {
        vec row[WIDE_VECS];
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
        for (int j = 0; j < vecs; j++)
            put(c + j * LANES, sum[i][j], t->add, full || j < vecs - 1, t->tail);
}

/* Tiles whose last vector is in part: one vector wide, and TILE_VECS. */
TARGET static void one_vector(int rows, const tile *t)
{
    switch (rows) {
    case 1: multiply(1, 1, false, false, t, t->rs_a, t->cs_a); break;
    case 2: multiply(2, 1, false, false, t, t->rs_a, t->cs_a); break;
    case 3: multiply(3, 1, false, false, t, t->rs_a, t->cs_a); break;
    case 4: multiply(4, 1, false, false, t, t->rs_a, t->cs_a); break;
    case 5: multiply(5, 1, false, false, t, t->rs_a, t->cs_a); break;
    case 6: multiply(6, 1, false, false, t, t->rs_a, t->cs_a); break;
    case 7: multiply(7, 1, false, false, t, t->rs_a, t->cs_a); break;
    case 8: multiply(8, 1, false, false, t, t->rs_a, t->cs_a); break;
#if TALL_ROWS > 8
    case 9: multiply(9, 1, false, false, t, t->rs_a, t->cs_a); break;
    case 10: multiply(10, 1, false, false, t, t->rs_a, t->cs_a); break;
    case 11: multiply(11, 1, false, false, t, t->rs_a, t->cs_a); break;
    case 12: multiply(12, 1, false, false, t, t->rs_a, t->cs_a); break;
#endif
    }
}

TARGET static void edge(int rows, const tile *t)
{
    switch (rows) {
    case 1: multiply(1, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    case 2: multiply(2, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    case 3: multiply(3, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    case 4: multiply(4, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    case 5: multiply(5, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    case 6: multiply(6, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
#if TILE_ROWS > 6
    case 7: multiply(7, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    case 8: multiply(8, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    case 9: multiply(9, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    case 10: multiply(10, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    case 11: multiply(11, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    case 12: multiply(12, TILE_VECS, false, false, t, t->rs_a, t->cs_a); break;
#endif
    }
}

/* Few rows: a wider tile, or the vectors would wait for their own last product. */
TARGET static void wide(int rows, const tile *t)
{
    switch (rows) {
    case 1: multiply(1, WIDE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    case 2: multiply(2, WIDE_VECS, false, false, t, t->rs_a, t->cs_a); break;
    }
}

TARGET static void whole(bool a_packed, const tile *t)
{
    for (int i = 0; i < TILE_ROWS; i++)   /* C is wanted at the end */
        for (int j = 0; j < TILE_COLUMNS; j += 64 / (int)sizeof *t->c)
            __builtin_prefetch(t->c + i * t->rs_c + j, 1);
    if (a_packed)
        multiply(TILE_ROWS, TILE_VECS, true, true, t, 1, TILE_ROWS);
    else
        multiply(TILE_ROWS, TILE_VECS, true, true, t, t->rs_a, t->cs_a);
}

/* ---- copies ---- */

/* Four rows become four columns. */
INLINE void turn(four x[4])
{
    four low = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5), high = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
    four low2 = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5), high2 = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
    x[0] = __builtin_shufflevector(low, low2, 0, 1, 4, 5);
    x[1] = __builtin_shufflevector(low, low2, 2, 3, 6, 7);
    x[2] = __builtin_shufflevector(high, high2, 0, 1, 4, 5);
    x[3] = __builtin_shufflevector(high, high2, 2, 3, 6, 7);
}

/* Four numbers of each of four columns, `step` apart, as four rows `width` apart. */
INLINE void turn_four(const ag_real *from, int64_t step, ag_real *to, int64_t width)
{
    four x[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        x[i] = *(const loose_four *)(from + i * step);
    turn(x);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        *(loose_four *)(to + i * width) = x[i];
}

#if TURN == 8
INLINE eight pair(const ag_real *low, const ag_real *high)
{
    return __builtin_shufflevector((four)*(const loose_four *)low, (four)*(const loose_four *)high, 0, 1, 2, 3, 4, 5, 6, 7);
}

/* Four numbers of each of eight columns as four rows: as turn_four, in both halves of the vector at once. */
INLINE void turn_columns(const ag_real *from, int64_t step, ag_real *to, int64_t width)
{
    eight x0 = pair(from, from + 4 * step), x1 = pair(from + step, from + 5 * step);
    eight x2 = pair(from + 2 * step, from + 6 * step), x3 = pair(from + 3 * step, from + 7 * step);
    eight low = __builtin_shufflevector(x0, x1, 0, 8, 1, 9, 4, 12, 5, 13);
    eight high = __builtin_shufflevector(x0, x1, 2, 10, 3, 11, 6, 14, 7, 15);
    eight low2 = __builtin_shufflevector(x2, x3, 0, 8, 1, 9, 4, 12, 5, 13);
    eight high2 = __builtin_shufflevector(x2, x3, 2, 10, 3, 11, 6, 14, 7, 15);
    *(loose_eight *)to = __builtin_shufflevector(low, low2, 0, 1, 8, 9, 4, 5, 12, 13);
    *(loose_eight *)(to + width) = __builtin_shufflevector(low, low2, 2, 3, 10, 11, 6, 7, 14, 15);
    *(loose_eight *)(to + 2 * width) = __builtin_shufflevector(high, high2, 0, 1, 8, 9, 4, 5, 12, 13);
    *(loose_eight *)(to + 3 * width) = __builtin_shufflevector(high, high2, 2, 3, 10, 11, 6, 7, 14, 15);
}
#else
INLINE void turn_columns(const ag_real *from, int64_t step, ag_real *to, int64_t width)
{
    turn_four(from, step, to, width);
}
#endif

/* to[p * width + j] = from[p * rs + j * cs] for j below n. What lies between n and width is not read. */
INLINE void copy_any(const int width, int64_t k, int n, const ag_real *from, int64_t rs, int64_t cs, ag_real *to)
{
    for (int64_t p = 0; p < k; p++, to += width, from += rs)
        for (int j = 0; j < n; j++)
            to[j] = from[j * cs];
}

/* The same where each column lies in one piece. */
INLINE void turn_panel(const int width, int64_t k, int n, const ag_real *from, int64_t cs, ag_real *to)
{
    for (int64_t begin = 0; begin < k; begin += 64) {   /* so many rows of the panel stay in the first-level cache */
        int64_t end = k - begin < 64 ? k : begin + 64, p;
        int j = 0;
        for (; j + TURN <= n; j += TURN) {
            for (p = begin; p + 4 <= end; p += 4)
                turn_columns(from + p + j * cs, cs, to + p * width + j, width);
            copy_any(width, end - p, TURN, from + p + j * cs, 1, cs, to + p * width + j);
        }
        copy_any(width, end - begin, n - j, from + begin + j * cs, 1, cs, to + begin * width + j);
    }
}

INLINE void copy_panel(const int width, int64_t k, int n, const ag_real *from, int64_t rs, int64_t cs, ag_real *to)
{
    if (cs == 1 && n == width)
        for (int64_t p = 0; p < k; p++)
            memcpy(to + p * width, from + p * rs, (size_t)width * sizeof *to);
    else if (rs == 1)
        turn_panel(width, k, n, from, cs, to);
    else
        copy_any(width, k, n, from, rs, cs, to);
}

OUTLINE void copy_columns(int64_t k, int n, const ag_real *from, int64_t rs, int64_t cs, ag_real *to)
{
    copy_panel(TILE_COLUMNS, k, n, from, rs, cs, to);
}

OUTLINE void copy_rows(int64_t k, const ag_real *from, int64_t rs, int64_t cs, ag_real *to)
{
    copy_panel(TILE_ROWS, k, TILE_ROWS, from, rs, cs, to);
}

/* ---- a block: all rows of A, BLOCK_COLUMNS of B at most, AG_GEMM_DEPTH of k at most ---- */

typedef struct block {
    int64_t n, k, rs_b;
    const ag_real *b;                /* panels, or rows where it lies */
    bool b_packed, add;
    int64_t rs_c, cs_c;              /* one of them is 1 */
} block;

/* The tile of so many rows and at most `most` vectors at column j. Returns its columns. */
INLINE int64_t one_tile(const block *s, int rows, int most, bool a_packed, int64_t j, tile *t)
{
    int64_t left = s->n - j;
    int vecs = most;
    if (left <= (most - 1) * LANES)
        vecs = left > LANES ? TILE_VECS : 1;
    int64_t columns = left < vecs * LANES ? left : vecs * LANES, tail = columns - (vecs - 1) * LANES;
    t->tail = (int)tail;
    t->b = s->b + (s->b_packed ? j * s->k : j);
    if (vecs == WIDE_VECS)
        wide(rows, t);
    else if (vecs == TILE_VECS && tail == LANES && rows == TILE_ROWS)
        whole(a_packed, t);
    else if (vecs == 1)
        one_vector(rows, t);
    else
        edge(rows, t);
    return columns;
}

/* The next so many rows of C; a_packed: a is a copied strip. */
TARGET static void strip(const block *s, int rows, bool a_packed, const ag_real *a, int64_t rs_a, int64_t cs_a, ag_real *c)
{
    int most = rows <= 2 && !s->b_packed ? WIDE_VECS : TILE_VECS;
    tile t = { s->k, a, NULL, rs_a, cs_a, s->rs_b, 0, s->add, c, s->rs_c };
    for (int64_t j = 0; j < s->n; t.c = c + j)
        j += one_tile(s, rows, most, a_packed, j, &t);
}

/* The same for C whose columns lie in one piece: each tile is made aside. */
OUTLINE void turned_strip(const block *s, int rows, const ag_real *a, int64_t rs_a, int64_t cs_a, ag_real *c)
{
    ag_real aside[TILE_ROWS * TILE_COLUMNS];
    tile t = { s->k, a, NULL, rs_a, cs_a, s->rs_b, 0, false, aside, TILE_COLUMNS };
    for (int64_t j = 0; j < s->n;) {
        int64_t columns = one_tile(s, rows, TILE_VECS, false, j, &t);
        for (int64_t q = j; q < j + columns; q++)
            for (int i = 0; i < rows; i++) {
                ag_real x = aside[i * TILE_COLUMNS + q - j], *at = c + q * s->cs_c + i;
                *at = s->add ? *at + x : x;
            }
        j += columns;
    }
}

/* Tiles of very few rows are slow: the last ones share what is left. */
INLINE int next_rows(int64_t left, int most)
{
    if (left > most && left < most + most / 3)
        return (int)(left + 1) / 2;
    return left < most ? (int)left : most;
}

TARGET static void multiply_block(const block *s, int64_t m, bool pack_a, const ag_real *a, int64_t rs_a, int64_t cs_a, ag_real *c,
                                  ag_real *copy)
{
    int most = s->n > LANES || s->cs_c != 1 ? TILE_ROWS : TALL_ROWS, rows;
    for (int64_t i = 0; i < m; i += rows) {
        rows = next_rows(m - i, most);
        if (s->cs_c != 1)
            turned_strip(s, rows, a + i * rs_a, rs_a, cs_a, c + i);
        else if (pack_a && rows == TILE_ROWS) {
            copy_rows(s->k, a + i * rs_a, cs_a, rs_a, copy);
            strip(s, rows, true, copy, 1, TILE_ROWS, c + i * s->rs_c);
        } else
            strip(s, rows, false, a + i * rs_a, rs_a, cs_a, c + i * s->rs_c);
    }
}

/* Nearly equal parts of at most `most`, multiples of `unit`. */
INLINE int64_t part_length(int64_t n, int64_t most, int64_t unit)
{
    int64_t parts = (n + most - 1) / most, length = (n + parts - 1) / parts;
    return (length + unit - 1) / unit * unit;
}

/* A strip of A is read once for each tile of C it makes. In place it is read out of rows `rs_a` apart, which must not fall
 * onto the same lines of the cache, or out of columns. */
INLINE bool worth_copying(int64_t n, int64_t rs_a, int64_t cs_a)
{
    return n > 4 * TILE_COLUMNS && (cs_a != 1 || rs_a * sizeof(ag_real) % 2048 == 0);
}

/* The block's part of B into panels. */
TARGET static void pack(block *s, int64_t rs_b, int64_t cs_b, ag_real *to)
{
    for (int64_t j = 0; j < s->n; j += TILE_COLUMNS) {
        int columns = s->n - j < TILE_COLUMNS ? (int)(s->n - j) : TILE_COLUMNS;
        copy_columns(s->k, columns, s->b + j * cs_b, rs_b, cs_b, to + j * s->k);
    }
    s->b = to;
    s->rs_b = TILE_COLUMNS;
}

/* C has rs_c or cs_c equal to 1. What depends on m here changes no bits. */
OUTLINE void multiply_by_blocks(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, int64_t cs_a, const ag_real *b,
                                int64_t rs_b, int64_t cs_b, bool accumulate, ag_real *c, int64_t rs_c, int64_t cs_c)
{
    bool pack_b = cs_b != 1 || (m > 4 * TILE_ROWS && n * k > CACHED), pack_a = cs_c == 1 && worth_copying(n, rs_a, cs_a);
    ag_real *buffer = pack_a || pack_b ? ag_gemm_buffer() : NULL, *strip_of_a = pack_a ? buffer + AG_GEMM_DEPTH * BLOCK_COLUMNS : NULL;
    int64_t deep = part_length(k, AG_GEMM_DEPTH, 4), broad = part_length(n, BLOCK_COLUMNS, TILE_COLUMNS);
    if (pack_b && m <= FEW_ROWS)   /* a panel is used while it is in the first-level cache */
        broad = TILE_COLUMNS;
    for (int64_t j = 0; j < n; j += broad)
        for (int64_t p = 0; p < k; p += deep) {
            block s = { n - j < broad ? n - j : broad, k - p < deep ? k - p : deep, rs_b, b + p * rs_b + j * cs_b, pack_b,
                        accumulate || p > 0, rs_c, cs_c };
            if (pack_b)
                pack(&s, rs_b, cs_b, buffer);
            multiply_block(&s, m, pack_a, a + p * cs_a, rs_a, cs_a, c + j * cs_c, strip_of_a);
        }
    if (buffer)
        ag_gemm_buffer_done(buffer);
}

/* ---- few columns: entries of C as scalar products, the vector along k ---- */

/* Rows and columns are constants. The lanes of each sum are added in halves. */
INLINE void scalar_products(const int rows, const int columns, int64_t k, const ag_real *a, int64_t rs_a, const ag_real *b, int64_t cs_b,
                            bool add, ag_real *c, int64_t rs_c)
{
    vec sum[DOT_ROWS][4];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            sum[i][j] = spread(0);
    for (int64_t p = 0; p < k; p += LANES) {
        bool all = p + LANES <= k;
        int tail = (int)(k - p);
        vec row[DOT_ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
            row[i] = all ? load(a + i * rs_a + p) : load_part(a + i * rs_a + p, tail);
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) {
            vec column = all ? load(b + j * cs_b + p) : load_part(b + j * cs_b + p, tail);
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++)
                sum[i][j] = fused(row[i], column, sum[i][j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++, c += rs_c) {
        four part[4], total;
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            part[j] = fold(sum[i][j]);
        turn(part);
        total = (part[0] + part[1]) + (part[2] + part[3]);
        if (columns == 4)
            *(loose_four *)c = add ? *(loose_four *)c + total : total;
        else
#pragma GCC unroll 4
            for (int j = 0; j < columns; j++)
                c[j] = add ? c[j] + total[j] : total[j];
    }
}

TARGET static void few_columns(int rows, int columns, int64_t k, const ag_real *a, int64_t rs_a, const ag_real *b, int64_t cs_b, bool add,
                               ag_real *c, int64_t rs_c)
{
    switch (rows == DOT_ROWS ? columns : -columns) {
    case 1: scalar_products(DOT_ROWS, 1, k, a, rs_a, b, cs_b, add, c, rs_c); break;
    case 2: scalar_products(DOT_ROWS, 2, k, a, rs_a, b, cs_b, add, c, rs_c); break;
    case 3: scalar_products(DOT_ROWS, 3, k, a, rs_a, b, cs_b, add, c, rs_c); break;
    case 4: scalar_products(DOT_ROWS, 4, k, a, rs_a, b, cs_b, add, c, rs_c); break;
    case -1: scalar_products(1, 1, k, a, rs_a, b, cs_b, add, c, rs_c); break;
    case -2: scalar_products(1, 2, k, a, rs_a, b, cs_b, add, c, rs_c); break;
    case -3: scalar_products(1, 3, k, a, rs_a, b, cs_b, add, c, rs_c); break;
    case -4: scalar_products(1, 4, k, a, rs_a, b, cs_b, add, c, rs_c); break;
    }
}

/* B's columns, each in one piece of k. */
OUTLINE void gather_columns(int64_t n, int64_t k, const ag_real *b, int64_t rs, int64_t cs, ag_real *to)
{
    int64_t j = 0, p;
    for (; cs == 1 && j + 4 <= n; j += 4) {
        for (p = 0; p + 4 <= k; p += 4)
            turn_four(b + p * rs + j, rs, to + j * k + p, k);
        for (; p < k; p++)
            for (int i = 0; i < 4; i++)
                to[(j + i) * k + p] = b[p * rs + j + i];
    }
    for (; j < n; j++)
        for (p = 0; p < k; p++)
            to[j * k + p] = b[p * rs + j * cs];
}

enum { DOT_COLUMNS = 8, DOT_LEAST_K = 32, DOT_K = AG_GEMM_BUFFER / DOT_COLUMNS / 16 * 16 };

OUTLINE void multiply_by_columns(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, const ag_real *b, int64_t rs_b,
                                 int64_t cs_b, bool accumulate, ag_real *c, int64_t rs_c)
{
    ag_real *buffer = rs_b != 1 ? ag_gemm_buffer() : NULL;
    for (int64_t p = 0; p < k; p += DOT_K) {
        int64_t length = k - p < DOT_K ? k - p : DOT_K, step = cs_b;
        const ag_real *column = b + p * rs_b;
        if (buffer) {
            gather_columns(n, length, column, rs_b, cs_b, buffer);
            column = buffer;
            step = length;
        }
        for (int64_t i = 0, rows; i < m; i += rows) {
            rows = m - i < DOT_ROWS ? 1 : DOT_ROWS;
            for (int64_t j = 0; j < n; j += 4)
                few_columns((int)rows, n - j < 4 ? (int)(n - j) : 4, length, a + i * rs_a + p, rs_a, column + j * step, step,
                            accumulate || p > 0, c + i * rs_c + j, rs_c);
        }
    }
    if (buffer)
        ag_gemm_buffer_done(buffer);
}

TARGET void GEMM_NAME(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, int64_t cs_a, const ag_real *b, int64_t rs_b,
                      int64_t cs_b, bool accumulate, ag_real *c, int64_t rs_c)
{
    if (n <= DOT_COLUMNS && cs_a == 1 && k >= DOT_LEAST_K)
        multiply_by_columns(m, n, k, a, rs_a, b, rs_b, cs_b, accumulate, c, rs_c);
    else if (n <= DOT_COLUMNS && n < m && rs_a == 1)   /* C' = B' A' */
        multiply_by_blocks(n, m, k, b, cs_b, rs_b, a, cs_a, 1, accumulate, c, 1, rs_c);
    else
        multiply_by_blocks(m, n, k, a, rs_a, cs_a, b, rs_b, cs_b, accumulate, c, rs_c, 1);
}
