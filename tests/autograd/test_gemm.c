/* Every kernel this machine can run against plain loops: sizes around the tiles, any strides, accumulation; NaN; and rows
 * that keep their bits whatever is computed with them. */
#include "autograd/gemm.h"
#include "tests/autograd/tensors.h"
#include "tests/check.h"

#include <pthread.h>
#include <sys/resource.h>

enum { ROWS, COLUMNS, WIDE_ROWS, WIDE_COLUMNS, SPREAD, ONE_ROW, ONE_COLUMN, N_LIE };   /* how a matrix lies in memory */

typedef struct matrix {
    ag_real *memory;
    int64_t rows, columns, rs, cs, numel;
} matrix;

static matrix matrix_new(ag_random *r, int64_t rows, int64_t columns, int lie)
{
    matrix m = { .rows = rows, .columns = columns, .rs = lie == ONE_ROW ? 0 : 1, .cs = lie == ONE_COLUMN ? 0 : 1 };
    if (lie == ROWS || lie == ONE_COLUMN)
        m.rs = columns;
    if (lie == COLUMNS || lie == ONE_ROW)
        m.cs = rows;
    if (lie == WIDE_ROWS)
        m.rs = columns + 3;
    if (lie == WIDE_COLUMNS)
        m.cs = rows + 5;
    if (lie == SPREAD) {
        m.rs = 2 * columns + 1;
        m.cs = 2;
    }
    m.numel = (rows - 1) * m.rs + (columns - 1) * m.cs + 1;
    m.memory = random_reals(r, m.numel, -1, 1);
    return m;
}

static double at(const matrix *m, int64_t i, int64_t j)
{
    return (double)m->memory[i * m->rs + j * m->cs];
}

static void multiply(ag_gemm_kernel *kernel, int64_t m, const matrix *a, int64_t first, const matrix *b, bool add, ag_real *c, int64_t rs_c)
{
    kernel(m, b->columns, a->columns, a->memory + first * a->rs, a->rs, a->cs, b->memory, b->rs, b->cs, add, c, rs_c);
}

/* A B (+ C) by the kernel, in C's first columns; two columns of C beside them must stay. */
static void check_against_loops(const ag_gemm_set *set, const matrix *a, const matrix *b, bool add)
{
    int64_t m = a->rows, n = b->columns, k = a->columns, width = n + 2;
    ag_real *c = malloc((size_t)(m * width) * sizeof *c);
    for (int64_t i = 0; i < m * width; i++)
        c[i] = add || i % width >= n ? (ag_real)(i % 5) : (ag_real)NAN;   /* overwritten: whatever there was is not read */
    multiply(set->kernel, m, a, 0, b, add, c, width);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < width; j++) {
            double sum = add || j >= n ? (double)((i * width + j) % 5) : 0, size = fabs(sum);
            for (int64_t p = 0; p < k && j < n; p++) {
                double x = at(a, i, p) * at(b, p, j);
                sum += x;
                size += fabs(x);
            }
            expect(fabs((double)c[i * width + j] - sum) <= TIGHT * 0.1 * (1 + size),
                   "%s [%d,%d] x [%d,%d], strides %d %d, %d %d, %s, at %d,%d: %g, not %g", set->name, (int)m,
                   (int)k, (int)k, (int)n, (int)a->rs, (int)a->cs, (int)b->rs, (int)b->cs, add ? "added" : "put", (int)i, (int)j, (double)c[i * width + j], sum);
        }
    free(c);
}

static void check_shape(ag_random *r, int64_t m, int64_t n, int64_t k, int left, int right)
{
    int n_set;
    const ag_gemm_set *sets = ag_gemm_sets(&n_set);
    matrix a = matrix_new(r, m, k, left), b = matrix_new(r, k, n, right);
    for (int i = 0; i < n_set; i++) {
        check_against_loops(&sets[i], &a, &b, false);
        check_against_loops(&sets[i], &a, &b, true);
    }
    if (!test_under_valgrind())   /* BLIS 0.9 reads a vector beyond the end of some operands */
        check_against_loops(&(ag_gemm_set){ "BLIS", ag_gemm_blis, NULL }, &a, &b, true);
    free(a.memory);
    free(b.memory);
}

static int64_t between(ag_random *r, int64_t lo, int64_t hi)
{
    return lo + (int64_t)ag_random_below(r, (uint32_t)(hi - lo + 1));
}

START_TEST(every_kernel_agrees_with_plain_loops_for_random_sizes_and_strides)
{
    ag_random r;
    ag_random_init(&r, 1, AG_STREAM_USER, 0, 0);
    for (int i = 0; i < effort(400); i++) {
        int64_t m = between(&r, 1, 70), n = between(&r, 1, i % 2 ? 70 : 9), k = between(&r, 1, i % 3 ? 70 : 9);
        check_shape(&r, m, n, k, (int)ag_random_below(&r, N_LIE), (int)ag_random_below(&r, N_LIE));
    }
}
END_TEST

START_TEST(every_kernel_agrees_with_plain_loops_on_every_height_and_width_of_a_tile)
{
    ag_random r;
    ag_random_init(&r, 2, AG_STREAM_USER, 0, 0);
    for (int64_t m = 1; m <= 17; m++)
        for (int64_t n = 1; n <= 70; n += n < 18 ? 1 : 13)
            for (int left = ROWS; left <= COLUMNS; left++)
                for (int right = ROWS; right <= COLUMNS; right++)
                    check_shape(&r, m, n, m % 2 ? 37 : 5, left, right);
}
END_TEST

/* Beyond the blocks in every direction, the shapes of low-rank adapters, and rows apart by powers of two. */
static const int64_t large[][3] = { { 165, 384, 8 }, { 165, 8, 384 }, { 384, 8, 165 }, { 8, 384, 165 }, { 50, 800, 400 }, { 61, 33, 1170 },
                                    { 384, 16, 100 }, { 70, 512, 512 }, { 100, 1, 512 }, { 1, 400, 390 }, { 2, 130, 20 }, { 9, 3, 39000 } };

START_TEST(every_kernel_agrees_with_plain_loops_beyond_its_blocks)
{
    ag_random r;
    ag_random_init(&r, 3, AG_STREAM_USER, 0, 0);
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        for (int kind = 0; kind < 4; kind++)
            check_shape(&r, large[i][0], large[i][1], large[i][2], kind & 1 ? COLUMNS : ROWS, kind & 2 ? COLUMNS : ROWS);
    check_shape(&r, 60, 200, 400, SPREAD, SPREAD);
}
END_TEST

START_TEST(nan_and_infinity_reach_their_row_and_column_and_nothing_else)
{
    ag_random r;
    int n_set;
    const ag_gemm_set *sets = ag_gemm_sets(&n_set);
    ag_random_init(&r, 4, AG_STREAM_USER, 0, 0);
    for (int i = 0; i < n_set * 60; i++) {
        int64_t m = between(&r, 2, 30), n = between(&r, 2, 40), k = between(&r, 2, 45);
        matrix a = matrix_new(&r, m, k, i % 2), b = matrix_new(&r, k, n, i / 2 % 2);
        int64_t row = between(&r, 0, m - 1), column = between(&r, 0, n - 1), p = between(&r, 0, k - 1);
        ag_real *c = malloc((size_t)(m * n) * sizeof *c);
        a.memory[row * a.rs + p * a.cs] = NAN;
        b.memory[p * b.rs + column * b.cs] = INFINITY;
        a.memory[(row ? 0 : 1) * a.rs + p * a.cs] = 0;   /* 0 x infinity */
        multiply(sets[i % n_set].kernel, m, &a, 0, &b, false, c, n);
        for (int64_t q = 0; q < m * n; q++) {
            bool is_nan = q / n == row || (q % n == column && q / n == (row ? 0 : 1));
            expect(is_nan ? isnan(c[q]) : q % n == column ? isinf(c[q]) : isfinite(c[q]), "%s [%d,%d] x [%d,%d]: %g at %d,%d", sets[i % n_set].name,
                   (int)m, (int)k, (int)k, (int)n, (double)c[q], (int)(q / n), (int)(q % n));
        }
        free(c);
        free(a.memory);
        free(b.memory);
    }
}
END_TEST

/* ---- products with windows ---- */

static int64_t *random_places(ag_random *r, int64_t n, int64_t below)
{
    int64_t *place = malloc((size_t)n * sizeof *place);
    for (int64_t i = 0; i < n; i++)
        place[i] = between(r, 0, below - 1);
    return place;
}

/* Where C is added to, its rows lie 2 apart: they overlap, and what one got the next one reads. */
static void check_windows(ag_random *r, const ag_gemm_set *set, int64_t m, int64_t n, int64_t k, bool add)
{
    enum { NUMBERS = 100 };
    ag_real *a = random_reals(r, 2 * NUMBERS, -1, 1), *b = random_reals(r, k * (n + 1), -1, 1), *c = random_reals(r, m * n + 2, -1, 1);
    int64_t *row = random_places(r, m, NUMBERS), *step = random_places(r, k, NUMBERS), *to = random_places(r, m, 1), total = m * n;
    double *want = malloc((size_t)(total + 2) * sizeof *want);
    for (int64_t i = 0; i < total + 2; i++)
        want[i] = (double)c[i];
    for (int64_t i = 0; i < m; i++) {
        to[i] = add && n > 2 ? 2 * i : i * n;
        for (int64_t j = 0; j < n; j++) {
            double sum = add ? want[to[i] + j] : 0;
            for (int64_t p = 0; p < k; p++)
                sum += (double)a[row[i] + step[p]] * (double)b[p * (n + 1) + j];
            want[to[i] + j] = sum;
        }
    }
    set->windows(&(ag_windows){ m, n, k, a, row, step, b, n + 1, add, c, to });
    for (int64_t i = 0; i < total + 2; i++)
        expect(fabs((double)c[i] - want[i]) <= TIGHT * (double)(k + n), "%s windows [%d,%d,%d], %s, at %d: %g, not %g", set->name, (int)m, (int)n,
               (int)k, add ? "added" : "put", (int)i, (double)c[i], want[i]);
    free(a);
    free(b);
    free(c);
    free(row);
    free(step);
    free(to);
    free(want);
}

START_TEST(every_kernel_multiplies_with_numbers_that_lie_where_tables_say)
{
    ag_random r;
    int n_set;
    const ag_gemm_set *sets = ag_gemm_sets(&n_set);
    ag_random_init(&r, 7, AG_STREAM_USER, 0, 0);
    for (int s = 0; s < n_set; s++)
        for (int64_t m = 1; m <= 27; m++)
            for (int64_t n = 1; n <= 70; n += n < 18 ? 1 : 7)
                check_windows(&r, &sets[s], m, n, between(&r, 1, 30), (m + n) % 2);
}
END_TEST

/* ---- bits ---- */

static void check_rows_alone(ag_random *r, const ag_gemm_set *set, int64_t m, int64_t n, int64_t k, int left, int right, bool add)
{
    matrix a = matrix_new(r, m, k, left), b = matrix_new(r, k, n, right);
    ag_real *before = random_reals(r, m * n, -1, 1), *all = malloc((size_t)(m * n) * sizeof *all), *some = malloc((size_t)(m * n) * sizeof *some);
    size_t bytes = (size_t)(m * n) * sizeof *all;
    memcpy(all, before, bytes);
    memcpy(some, before, bytes);
    multiply(set->kernel, m, &a, 0, &b, add, all, n);
    for (int64_t i = 0, rows; i < m; i += rows) {
        rows = between(r, 1, m - i < 40 ? m - i : 40);
        multiply(set->kernel, rows, &a, i, &b, add, some + i * n, n);
    }
    expect(!memcmp(all, some, bytes), "%s [%d,%d] x [%d,%d]: rows in parts have other bits", set->name, (int)m, (int)k, (int)k, (int)n);
    multiply(set->kernel, m, &a, 0, &b, add, before, n);
    expect(!memcmp(all, before, bytes), "%s: a second time, other bits", set->name);
    free(a.memory);
    free(b.memory);
    free(before);
    free(all);
    free(some);
}

START_TEST(a_row_has_the_same_bits_alone_and_among_others)
{
    ag_random r;
    int n_set;
    const ag_gemm_set *sets = ag_gemm_sets(&n_set);
    ag_random_init(&r, 5, AG_STREAM_USER, 0, 0);
    for (int i = 0; i < effort(200); i++)
        for (int s = 0; s < n_set; s++)
            check_rows_alone(&r, &sets[s], between(&r, 1, 130), between(&r, 1, i % 3 ? 60 : 9), between(&r, 1, 90), (int)ag_random_below(&r, N_LIE),
                             (int)ag_random_below(&r, N_LIE), i % 2);
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        for (int kind = 0; kind < 4; kind++)
            for (int s = 0; s < n_set; s++)
                check_rows_alone(&r, &sets[s], large[i][0], large[i][1], large[i][2], kind & 1 ? COLUMNS : ROWS, kind & 2 ? COLUMNS : ROWS, false);
}
END_TEST

/* ---- threads ---- */

enum { N_THREAD = 3, SIDE = 120, TIMES = 1000 };   /* so long that they meet */

typedef struct work {
    matrix a, b;
    ag_real *c, *want;
    int wrong;
    pthread_barrier_t *ready;
} work;

static void multiply_once(const work *w, ag_real *c)
{
    ag_gemm(SIDE, SIDE, SIDE, w->a.memory, w->a.rs, w->a.cs, w->b.memory, w->b.rs, w->b.cs, false, c, SIDE);
}

static void *multiply_often(void *arg)
{
    work *w = arg;
    pthread_barrier_wait(w->ready);
    pthread_barrier_wait(w->ready);   /* by now memory may be short */
    for (int i = 0; i < TIMES; i++) {
        multiply_once(w, w->c);
        w->wrong += memcmp(w->c, w->want, SIDE * SIDE * sizeof *w->c) != 0;
    }
    return NULL;
}

static void work_init(work *w, ag_random *r, pthread_barrier_t *ready)
{
    *w = (work){ matrix_new(r, SIDE, SIDE, SPREAD), matrix_new(r, SIDE, SIDE, COLUMNS), calloc(SIDE * SIDE, sizeof(ag_real)),
                 malloc(SIDE * SIDE * sizeof(ag_real)), 0, ready };
    multiply_once(w, w->want);
}

static void work_release(work *w)
{
    free(w->a.memory);
    free(w->b.memory);
    free(w->c);
    free(w->want);
}

static void check_threads(bool short_of_memory)
{
    ag_random r;
    pthread_t thread[N_THREAD];
    pthread_barrier_t ready;
    work w[N_THREAD];
    struct rlimit before, none;
    ag_random_init(&r, 6, AG_STREAM_USER, 0, 0);
    pthread_barrier_init(&ready, NULL, N_THREAD + 1);
    getrlimit(RLIMIT_AS, &before);
    none = before;
    none.rlim_cur = 1;
    for (int i = 0; i < N_THREAD; i++) {
        work_init(&w[i], &r, &ready);
        ck_assert_int_eq(pthread_create(&thread[i], NULL, multiply_often, &w[i]), 0);
    }
    pthread_barrier_wait(&ready);
    ck_assert_int_eq(short_of_memory ? setrlimit(RLIMIT_AS, &none) : 0, 0);
    pthread_barrier_wait(&ready);
    for (int i = 0; i < N_THREAD; i++)
        pthread_join(thread[i], NULL);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &before), 0);
    for (int i = 0; i < N_THREAD; i++) {
        ck_assert_int_eq(w[i].wrong, 0);
        work_release(&w[i]);
    }
    pthread_barrier_destroy(&ready);
}

START_TEST(threads_multiply_at_once_without_disturbing_each_other)
{
    check_threads(false);
}
END_TEST

START_TEST(threads_without_memory_for_copies_take_turns)
{
#ifdef AG_DOUBLE
    return;   /* these products are BLIS's */
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return;   /* the sanitizers need memory of their own */
#endif
    if (!test_under_valgrind())
        check_threads(true);
}
END_TEST

START_TEST(nothing_times_something_is_zero_or_nothing)
{
    ag_real a[6] = { 1, 2, 3, 4, 5, 6 }, c[6] = { 7, 7, 7, 7, 7, 7 };
    ag_gemm(0, 3, 2, a, 2, 1, a, 3, 1, false, c, 3);
    ag_gemm(2, 0, 3, a, 3, 1, a, 0, 1, false, c, 3);
    ag_gemm(2, 2, 0, a, 0, 1, a, 2, 1, true, c, 3);
    for (int i = 0; i < 6; i++)
        ck_assert(c[i] == 7);
    ag_gemm(2, 2, 0, a, 0, 1, a, 2, 1, false, c, 3);
    ck_assert(c[0] == 0 && c[1] == 0 && c[2] == 7 && c[3] == 0 && c[4] == 0 && c[5] == 7);
}
END_TEST

TEST_MAIN(every_kernel_agrees_with_plain_loops_for_random_sizes_and_strides,
          every_kernel_agrees_with_plain_loops_on_every_height_and_width_of_a_tile, every_kernel_agrees_with_plain_loops_beyond_its_blocks,
          every_kernel_multiplies_with_numbers_that_lie_where_tables_say, nan_and_infinity_reach_their_row_and_column_and_nothing_else, a_row_has_the_same_bits_alone_and_among_others,
          threads_multiply_at_once_without_disturbing_each_other, threads_without_memory_for_copies_take_turns,
          nothing_times_something_is_zero_or_nothing)
