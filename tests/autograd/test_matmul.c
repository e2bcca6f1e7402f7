/* Matrix products against a plain triple loop: all layouts, sizes on both sides of the small-product limit (so our
 * kernel and BLIS), tall, batched, broadcast, shared and per task. */
#include "tests/autograd/tensors.h"
#include "tests/check.h"

/* Sum of |a||b| bounds the rounding of a product entry. */
static void check_product(const ag_real *a, const ag_real *b, const ag_real *y, int64_t m, int64_t n, int64_t k, const char *what)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0, size = 0;
            for (int64_t p = 0; p < k; p++) {
                sum += (double)a[i * k + p] * (double)b[p * n + j];
                size += fabs((double)a[i * k + p] * (double)b[p * n + j]);
            }
            expect(fabs((double)y[i * n + j] - sum) <= TIGHT * (1 + size), "%s [%lld,%lld] x [%lld,%lld] at %lld,%lld: %g, not %g",
                          what, (long long)m, (long long)k, (long long)k, (long long)n, (long long)i, (long long)j, (double)y[i * n + j], sum);
        }
}

enum { PLAIN, TRANSPOSED, SLICED, STRIDED, ROW_EXPANDED, COLUMN_EXPANDED, ALL_EXPANDED, N_LAYOUT };

/* A matrix of the wanted shape in the wanted layout. */
static ag_tensor *matrix(ag_tape *t, ag_random *r, int64_t rows, int64_t columns, int layout)
{
    ag_spec plain = { SHAPE(rows, columns) }, turned = { SHAPE(columns, rows) }, wide = { SHAPE(rows + 2, columns + 3) };
    ag_spec strided = { SHAPE(rows, columns, 2) }, row = { SHAPE(1, columns) }, column = { SHAPE(rows, 1) }, one = { SHAPE(1, 1) };
    switch (layout) {
    case TRANSPOSED:
        return ag_transpose(t, random_leaf(t, r, &turned, -1, 1, NULL), NULL);
    case SLICED:
        return ag_slice(t, ag_slice(t, random_leaf(t, r, &wide, -1, 1, NULL), 0, 1, rows + 1), 1, 2, columns + 2);
    case STRIDED: {   /* neither stride is 1 */
        ag_tensor *half = ag_slice(t, random_leaf(t, r, &strided, -1, 1, NULL), 2, 1, 2);
        return ag_slice(t, ag_transpose(t, half, (int[]){ 2, 0, 1 }), 0, 0, 1);
    }
    case ROW_EXPANDED:
        return ag_expand(t, random_leaf(t, r, &row, -1, 1, NULL), 2, plain.shape);
    case COLUMN_EXPANDED:
        return ag_expand(t, random_leaf(t, r, &column, -1, 1, NULL), 2, plain.shape);
    case ALL_EXPANDED:
        return ag_expand(t, random_leaf(t, r, &one, -1, 1, NULL), 2, plain.shape);
    default:
        return random_leaf(t, r, &plain, -1, 1, NULL);
    }
}

static void check_layouts(int64_t m, int64_t n, int64_t k, int left, int right)
{
    ag_tape *t = eager(1);
    ag_random r;
    ag_random_init(&r, (uint64_t)(m * 1000000 + n * 1000 + k), AG_STREAM_USER, (uint64_t)left, (uint64_t)right);
    ag_tensor *a = matrix(t, &r, m, k, left), *b = matrix(t, &r, k, n, right);
    if (left == STRIDED && right != STRIDED)
        b = ag_reshape(t, ag_contiguous(t, b), 3, (int64_t[]){ 1, k, n });
    if (right == STRIDED && left != STRIDED)
        a = ag_reshape(t, ag_contiguous(t, a), 3, (int64_t[]){ 1, m, k });
    ag_real *pa = read_all(a), *pb = read_all(b), *y = read_all(ag_matmul(t, a, b));
    char what[64];
    snprintf(what, sizeof what, "layouts %d and %d", left, right);
    check_product(pa, pb, y, m, n, k, what);
    free(pa);
    free(pb);
    free(y);
    finish(t);
}

START_TEST(products_agree_with_a_plain_loop_in_every_layout_and_size)
{
    static const int64_t sizes[][3] = { { 1, 1, 1 }, { 3, 5, 4 }, { 7, 9, 20 }, { 1, 64, 9 }, { 64, 1, 9 }, { 7, 6, 1 }, { 5, 13, 33 },
                                        { 4, 0, 3 }, { 3, 2, 0 }, { 31, 33, 65 }, { 41, 43, 47 }, { 300, 3, 100 },
                                        { 2, 190, 250 }, { 1, 300, 300 }, { 300, 1, 300 }, { 300, 300, 1 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int left = 0; left < N_LAYOUT; left++)
            for (int right = 0; right < N_LAYOUT; right++)
                check_layouts(sizes[i][0], sizes[i][1], sizes[i][2], left, right);
}
END_TEST

/* C, with two columns more than the product, which must stay as they are; overwriting, C holds NaN before. */
static void check_gemm(int64_t n, bool turned, bool accumulate)
{
    ag_random r;
    ag_random_init(&r, 5, AG_STREAM_USER, (uint64_t)n, turned);
    ag_real *a = random_reals(&r, n * n, -1, 1), *b = random_reals(&r, n * n, -1, 1), *c = random_reals(&r, n * (n + 2), -1, 1);
    ag_real *before = malloc((size_t)(n * (n + 2)) * sizeof *before);
    memcpy(before, c, (size_t)(n * (n + 2)) * sizeof *c);
    for (int64_t i = 0; !accumulate && i < n * n; i++)
        c[i / n * (n + 2) + i % n] = NAN;
    ag_gemm(n, n, n, a, turned ? 1 : n, turned ? n : 1, b, n, 1, accumulate, c, n + 2);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n + 2; j++) {
            double want = accumulate || j >= n ? (double)before[i * (n + 2) + j] : 0;
            for (int64_t p = 0; j < n && p < n; p++)
                want += (double)a[turned ? p * n + i : i * n + p] * (double)b[p * n + j];
            ck_close(c[i * (n + 2) + j], want, 10 * TIGHT);
        }
    free(a);
    free(b);
    free(c);
    free(before);
}

START_TEST(gemm_overwrites_or_accumulates_as_asked_and_only_its_columns)
{
    static const int64_t sides[] = { 1, 3, 9, 12, 50 };   /* ours and BLIS */
    for (size_t s = 0; s < sizeof sides / sizeof *sides; s++)
        for (int k = 0; k < 4; k++)
            check_gemm(sides[s], k & 1, k & 2);
}
END_TEST

/* a [la..., m, k] and b [lb..., k, n] with or without tasks, each pair of matrices compared. */
static void check_batched(const ag_spec *sa, const ag_spec *sb, int64_t n_task)
{
    ag_tape *t = eager(n_task);
    ag_random r;
    ag_random_init(&r, 6, AG_STREAM_USER, (uint64_t)ag_product(sa->ndim, sa->shape), (uint64_t)ag_product(sb->ndim, sb->shape));
    ag_tensor *a = random_leaf(t, &r, sa, -1, 1, NULL), *b = random_leaf(t, &r, sb, -1, 1, NULL), *y = ag_matmul(t, a, b);
    int64_t m = sa->shape[sa->ndim - 2], k = sa->shape[sa->ndim - 1], n = sb->shape[sb->ndim - 1];
    int nl = ag_ndim(y) - 2;
    int64_t batches = ag_product(nl, ag_shape(y)), tasks = ag_has_tasks(y) ? n_task : 1;
    ag_real *py = read_all(y), *pa = read_all(a), *pb = read_all(b);
    for (int64_t task = 0; task < tasks; task++)
        for (int64_t i = 0; i < batches; i++) {
            int64_t at_a = 0, at_b = 0, step_a = 1, step_b = 1, rest = i;
            for (int axis = nl - 1; axis >= 0; axis--) {
                int64_t at = rest % ag_shape(y)[axis], ia = axis - (nl - (sa->ndim - 2)), ib = axis - (nl - (sb->ndim - 2));
                rest /= ag_shape(y)[axis];
                if (ia >= 0) {
                    at_a += (sa->shape[ia] == 1 ? 0 : at) * step_a;
                    step_a *= sa->shape[ia];
                }
                if (ib >= 0) {
                    at_b += (sb->shape[ib] == 1 ? 0 : at) * step_b;
                    step_b *= sb->shape[ib];
                }
            }
            check_product(pa + ((sa->tasks ? task * step_a : 0) + at_a) * m * k, pb + ((sb->tasks ? task * step_b : 0) + at_b) * k * n,
                          py + (task * batches + i) * m * n, m, n, k, "batched");
        }
    free(py);
    free(pa);
    free(pb);
    finish(t);
}

START_TEST(batched_broadcast_shared_and_per_task_products_agree_with_a_plain_loop)
{
    static const struct { ag_spec a, b; } cases[] = {
        { { SHAPE(4, 3, 5) }, { SHAPE(4, 5, 2) } },
        { { SHAPE(4, 3, 5) }, { SHAPE(5, 2) } },
        { { SHAPE(3, 5) }, { SHAPE(4, 5, 2) } },
        { { SHAPE(2, 1, 3, 5) }, { SHAPE(3, 5, 2) } },
        { { SHAPE(2, 3, 40, 41) }, { SHAPE(1, 3, 41, 45) } },
        { { SHAPE(1, 7, 40, 41) }, { SHAPE(41, 45) } },
        { { SHAPE(0, 3, 5) }, { SHAPE(5, 2) } },
        { { SHAPE(2, 3, 0) }, { SHAPE(0, 2) } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int tasks = 0; tasks < 4; tasks++) {
            ag_spec a = cases[i].a, b = cases[i].b;
            a.tasks = tasks & 1;
            b.tasks = tasks & 2;
            check_batched(&a, &b, 3);
        }
}
END_TEST

START_TEST(a_large_product_of_one_number_repeated_gives_the_closed_form)
{
    /* The gradient of a sum is such a matrix: every stride 0. */
    ag_tape *t = eager(1);
    ag_random r;
    ag_random_init(&r, 7, AG_STREAM_USER, 0, 0);
    ag_real *a, *b;
    ag_tensor *x = random_leaf(t, &r, &(ag_spec){ SHAPE(60, 50) }, -1, 1, &a), *w = random_leaf(t, &r, &(ag_spec){ SHAPE(50, 70) }, -1, 1, &b);
    ag_tensor *xs[] = { x, w }, *g[2];
    ck_assert_int_eq(ag_grad(t, ag_matmul(t, x, w), NULL, 2, xs, g), AG_OK);
    ag_real *gx = read_all(g[0]), *gw = read_all(g[1]);
    for (int i = 0; i < 50; i++) {
        double row = 0, column = 0;
        for (int j = 0; j < 70; j++)
            row += (double)b[i * 70 + j];
        for (int j = 0; j < 60; j++)
            column += (double)a[j * 50 + i];
        ck_close(gx[7 * 50 + i], row, 10 * TIGHT);
        ck_close(gw[i * 70 + 3], column, 10 * TIGHT);
    }
    free(a);
    free(b);
    free(gx);
    free(gw);
    finish(t);
}
END_TEST

TEST_MAIN(products_agree_with_a_plain_loop_in_every_layout_and_size, gemm_overwrites_or_accumulates_as_asked_and_only_its_columns,
          batched_broadcast_shared_and_per_task_products_agree_with_a_plain_loop,
          a_large_product_of_one_number_repeated_gives_the_closed_form)
