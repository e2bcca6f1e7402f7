/* The convolution triad against one seven-fold loop, and pooling against plain loops. */
#include "tests/autograd/tensors.h"
#include "tests/check.h"

typedef struct conv_case {
    int64_t n, h, w, ci, kh, kw, co;
    ag_conv c;
} conv_case;

static const conv_case cases[] = {
    { 2, 5, 4, 3, 3, 3, 2, { 1, 1, 0, 0, 0, 0 } },
    { 1, 6, 7, 1, 3, 2, 5, { 2, 3, 1, 2, 0, 1 } },
    { 2, 4, 4, 2, 1, 1, 3, { 0, 0, 0, 0, 0, 0 } },
    { 1, 3, 3, 2, 5, 5, 2, { 1, 1, 1, 1, 1, 1 } },     /* the window just fits */
    { 1, 3, 3, 2, 7, 3, 2, { 1, 1, 1, 1, 1, 1 } },     /* and here it does not: no rows */
    { 1, 2, 2, 1, 2, 2, 1, { 1, 1, 3, 3, 3, 3 } },     /* windows wholly outside */
    { 3, 28, 28, 2, 3, 3, 4, { 2, 2, 0, 1, 0, 1 } },
    { 1, 24, 20, 32, 3, 3, 6, { 1, 1, 1, 1, 1, 1 } },  /* more numbers than stay in a block */
    { 7, 14, 14, 24, 3, 3, 35, { 2, 2, 0, 1, 0, 1 } }, /* several blocks of images, tiles whole and in part */
    { 40, 4, 4, 3, 3, 3, 5, { 2, 2, 1, 1, 1, 1 } },    /* tiles across images */
    { 3, 6, 9, 2, 2, 3, 4, { 2, 3, 0, 0, 0, 0 } },     /* no border; one row that no window reaches */
    { 1, 2, 2, 160, 3, 3, 170, { 1, 1, 1, 1, 1, 1 } }, /* taps in several parts */
    { 0, 4, 4, 2, 3, 3, 2, { 1, 1, 0, 0, 0, 0 } },
    { 2, 4, 4, 0, 3, 3, 2, { 1, 1, 0, 0, 0, 0 } },     /* no channels to add up: zeros */
};

static int64_t out_size(int64_t size, int64_t before, int64_t after, int64_t window, int64_t stride)
{
    int64_t room = size + before + after - window;
    return room < 0 ? 0 : room / (stride ? stride : 1) + 1;
}

/* For every product x[ix] w[iw] -> y[iy] of the convolution. */
static void naive(const conv_case *k, void (*term)(double *to, double a, double b), const ag_real *x, const ag_real *w,
                  const ag_real *y, double *dx, double *dw, double *dy)
{
    int64_t sh = k->c.stride_h ? k->c.stride_h : 1, sw = k->c.stride_w ? k->c.stride_w : 1;
    int64_t rows = out_size(k->h, k->c.top, k->c.bottom, k->kh, sh), columns = out_size(k->w, k->c.left, k->c.right, k->kw, sw);
    for (int64_t n = 0; n < k->n; n++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++)
                for (int64_t a = 0; a < k->kh; a++)
                    for (int64_t b = 0; b < k->kw; b++) {
                        int64_t i = r * sh - k->c.top + a, j = c * sw - k->c.left + b;
                        if (i < 0 || i >= k->h || j < 0 || j >= k->w)
                            continue;
                        for (int64_t ci = 0; ci < k->ci; ci++)
                            for (int64_t co = 0; co < k->co; co++) {
                                int64_t ix = ((n * k->h + i) * k->w + j) * k->ci + ci, iw = ((a * k->kw + b) * k->ci + ci) * k->co + co;
                                int64_t iy = ((n * rows + r) * columns + c) * k->co + co;
                                if (dy)
                                    term(&dy[iy], x[ix], w[iw]);
                                else if (dx)
                                    term(&dx[ix], y[iy], w[iw]);
                                else
                                    term(&dw[iw], x[ix], y[iy]);
                            }
                    }
}

static void multiply_add(double *to, double a, double b)
{
    *to += a * b;
}

static void check_against(const ag_tensor *got, const double *want, int64_t per_task, int64_t task, const char *what, int number)
{
    ag_real *numbers = read_all(got);
    const ag_real *mine = numbers + (ag_has_tasks(got) ? task * per_task : 0);
    ck_assert_int_eq(ag_numel(got), per_task);
    for (int64_t i = 0; i < per_task; i++)
        expect(test_close(mine[i], want[i], 100 * TIGHT), "%s, case %d, task %lld, entry %lld: %g, not %g", what, number,
                      (long long)task, (long long)i, (double)mine[i], want[i]);
    free(numbers);
}

enum { TASKS = 2 };

/* in_tasks: bit 0 the image, bit 1 the weights, bit 2 the gradient. turned: the image is a transposed view. */
static void check_case(int number, unsigned in_tasks, bool turned)
{
    const conv_case *k = &cases[number];
    ag_tape *t = eager(TASKS);
    ag_random r;
    ag_random_init(&r, (uint64_t)number, AG_STREAM_USER, in_tasks, 0);
    int64_t rows = out_size(k->h, k->c.top, k->c.bottom, k->kh, k->c.stride_h);
    int64_t columns = out_size(k->w, k->c.left, k->c.right, k->kw, k->c.stride_w);
    ag_spec sx = { .tasks = in_tasks & 1, SHAPE(k->n, k->h, k->w, k->ci) }, sw = { .tasks = in_tasks & 2, SHAPE(k->kh, k->kw, k->ci, k->co) };
    ag_spec sg = { .tasks = in_tasks & 4, SHAPE(k->n, rows, columns, k->co) };
    ag_tensor *x = random_leaf(t, &r, &sx, -1, 1, NULL), *w = random_leaf(t, &r, &sw, -1, 1, NULL), *g = random_leaf(t, &r, &sg, -1, 1, NULL);
    if (turned) {
        x = ag_transpose(t, ag_copy(t, ag_transpose(t, x, (int[]){ 3, 1, 2, 0 })), (int[]){ 3, 1, 2, 0 });
        w = ag_transpose(t, ag_copy(t, ag_transpose(t, w, NULL)), NULL);
    }
    ag_tensor *y = ag_conv2d(t, x, w, &k->c), *dx = ag_conv2d_input_grad(t, g, w, &k->c, k->h, k->w);
    ag_tensor *dw = ag_conv2d_weight_grad(t, x, g, &k->c, k->kh, k->kw);
    ag_real *px = read_all(x), *pw = read_all(w), *pg = read_all(g);
    int64_t nx = ag_numel(x), nw = ag_numel(w), ng = ag_numel(g);
    for (int64_t task = 0; task < TASKS; task++) {
        const ag_real *tx = px + (sx.tasks ? task * nx : 0), *tw = pw + (sw.tasks ? task * nw : 0), *tg = pg + (sg.tasks ? task * ng : 0);
        double *want = calloc((size_t)(nx + nw + ng + 1), sizeof *want);
        naive(k, multiply_add, tx, tw, tg, want, NULL, NULL);
        naive(k, multiply_add, tx, tw, tg, NULL, want + nx, NULL);
        naive(k, multiply_add, tx, tw, tg, NULL, NULL, want + nx + nw);
        check_against(y, want + nx + nw, ng, task, "conv2d", number);
        check_against(dx, want, nx, task, "conv2d_input_grad", number);
        check_against(dw, want + nx, nw, task, "conv2d_weight_grad", number);
        free(want);
    }
    free(px);
    free(pw);
    free(pg);
    finish(t);
}

START_TEST(the_triad_agrees_with_a_plain_loop_for_every_geometry_and_task_axis)
{
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        for (unsigned tasks = 0; tasks < 8; tasks++)
            check_case(i, tasks, false);
        check_case(i, 3, true);
    }
}
END_TEST

START_TEST(same_padding_gives_as_many_rows_as_strides_and_the_extra_one_below)
{
    for (int64_t h = 1; h <= 9; h++)
        for (int64_t k = 1; k <= 4; k++)
            for (int64_t s = 1; s <= 3; s++) {
                ag_conv c = ag_conv_same(h, h, k, k, s);
                ck_assert_int_eq(out_size(h, c.top, c.bottom, k, s), (h + s - 1) / s);
                ck_assert(c.bottom == c.top || c.bottom == c.top + 1);
                ck_assert(c.left == c.top && c.right == c.bottom);
            }
    /* TensorFlow's own example: 13 columns, window 6, stride 5 are padded by 1 and 2. */
    ag_conv c = ag_conv_same(13, 13, 6, 6, 5);
    ck_assert(c.top == 1 && c.bottom == 2);
}
END_TEST

static ag_real pixel(const ag_real *x, const int64_t *s, int64_t n, int64_t i, int64_t j, int64_t c)
{
    return x[((n * s[1] + i) * s[2] + j) * s[3] + c];
}

/* Largest of the window, or its mean; what hangs over the border does not count. */
static double pooled(const ag_real *x, const int64_t *s, const int64_t *at, int64_t window, int64_t stride, const ag_conv *pad, bool max)
{
    double most = -INFINITY, sum = 0;
    for (int64_t a = 0; a < window; a++)
        for (int64_t b = 0; b < window; b++) {
            int64_t i = at[1] * stride - pad->top + a, j = at[2] * stride - pad->left + b;
            if (i < 0 || i >= s[1] || j < 0 || j >= s[2])
                continue;
            most = fmax(most, (double)pixel(x, s, at[0], i, j, at[3]));
            sum += (double)pixel(x, s, at[0], i, j, at[3]);
        }
    return max ? most : sum / (double)(window * window);
}

static void check_pool(int64_t h, int64_t w, int64_t window, int64_t stride, bool same, bool max)
{
    ag_tape *t = eager(2);
    ag_random r;
    ag_random_init(&r, (uint64_t)(h * 100 + w), AG_STREAM_USER, (uint64_t)window, (uint64_t)stride);
    ag_tensor *x = random_leaf(t, &r, &(ag_spec){ .tasks = true, SHAPE(2, w, h, 3) }, -1, 1, NULL);
    x = ag_transpose(t, x, (int[]){ 0, 2, 1, 3 });
    ag_tensor *y = max ? ag_max_pool2d(t, x, window, stride, same) : ag_avg_pool2d(t, x, window, stride);
    const ag_conv pad = same ? ag_conv_same(h, w, window, window, stride) : (ag_conv){ 0 };
    ag_real *px = read_all(x), *py = read_all(y);
    const int64_t *s = ag_shape(x), *o = ag_shape(y);
    ck_assert_int_eq(o[1], out_size(h, pad.top, pad.bottom, window, stride));
    for (int64_t i = 0; i < 2 * ag_numel(y); i++) {
        int64_t in_task = i % ag_numel(y), task = i / ag_numel(y);
        int64_t at[] = { in_task / (o[1] * o[2] * o[3]), in_task / (o[2] * o[3]) % o[1], in_task / o[3] % o[2], in_task % o[3] };
        ck_close(py[i], pooled(px + task * ag_numel(x), s, at, window, stride, &pad, max), TIGHT);
    }
    free(px);
    free(py);
    finish(t);
}

START_TEST(pooling_agrees_with_plain_loops)
{
    for (int64_t window = 1; window <= 3; window++)
        for (int64_t stride = 1; stride <= 3; stride++)
            for (int64_t h = 2; h <= 7; h++) {
                check_pool(h, 5, window, stride, false, true);
                check_pool(h, 5, window, stride, true, true);
                check_pool(h, 5, window, stride, false, false);
            }
}
END_TEST

START_TEST(the_first_of_equal_numbers_is_the_one_that_is_pooled)
{
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(1, 2, 2, 1) }, (ag_real[]){ 1, 4, 4, 4 });
    int32_t *index = read_ints(ag_max_pool2d_index(t, x, 2, 2, false));
    ck_assert_int_eq(index[0], 1);
    free(index);
    finish(t);
}
END_TEST

START_TEST(adjoints_satisfy_their_defining_equation)
{
    /* <g, conv(x, w)> = <x, input_grad(g, w)> = <w, weight_grad(x, g)> */
    const conv_case *k = &cases[1];
    ag_tape *t = eager(1);
    ag_random r;
    ag_random_init(&r, 8, AG_STREAM_USER, 0, 0);
    ag_tensor *x = random_leaf(t, &r, &(ag_spec){ SHAPE(k->n, k->h, k->w, k->ci) }, -1, 1, NULL);
    ag_tensor *w = random_leaf(t, &r, &(ag_spec){ SHAPE(k->kh, k->kw, k->ci, k->co) }, -1, 1, NULL), *y = ag_conv2d(t, x, w, &k->c);
    ag_spec like_y = { .ndim = 4 };
    memcpy(like_y.shape, ag_shape(y), 4 * sizeof(int64_t));
    ag_tensor *g = random_leaf(t, &r, &like_y, -1, 1, NULL);
    ag_real *a = read_all(ag_sum(t, ag_mul(t, g, y), AG_ALL_AXES));
    ag_real *b = read_all(ag_sum(t, ag_mul(t, x, ag_conv2d_input_grad(t, g, w, &k->c, k->h, k->w)), AG_ALL_AXES));
    ag_real *c = read_all(ag_sum(t, ag_mul(t, w, ag_conv2d_weight_grad(t, x, g, &k->c, k->kh, k->kw)), AG_ALL_AXES));
    ck_close(a[0], b[0], 10 * TIGHT);
    ck_close(a[0], c[0], 10 * TIGHT);
    free(a);
    free(b);
    free(c);
    finish(t);
}
END_TEST

TEST_MAIN(the_triad_agrees_with_a_plain_loop_for_every_geometry_and_task_axis,
          same_padding_gives_as_many_rows_as_strides_and_the_extra_one_below, pooling_agrees_with_plain_loops,
          the_first_of_equal_numbers_is_the_one_that_is_pooled, adjoints_satisfy_their_defining_equation)
