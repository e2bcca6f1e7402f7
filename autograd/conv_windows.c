/* Convolutions as products with windows (gemm_windows.h). Where a window begins in its image and where a tap (ky, kx, c)
 * lies in a window add up, so the matrix of all windows [places, kh kw c_in] is two tables and the image itself, and is
 * never written out:
 *
 *     y = windows w        weight gradient = windows' g        x gradient: windows += g w'
 *
 * Only a border of zeros is: some images at a time are copied with it, as many as stay in the second-level cache. Without a
 * border the images are used where they lie. */
#include "autograd/conv_windows.h"

#include "autograd/gemm.h"

#include <string.h>

enum { BLOCK_BYTES = 1 << 18, BLOCK_PLACES = 512, CACHED_NUMBERS = 1 << 16, LEAST_DEPTH = 64 };

/* A block of images, as the windows see them, and the tables. */
typedef struct windows {
    const ag_conv_sizes *s;
    bool bare;                       /* no border is needed */
    int64_t h, w;                    /* of an image as it is read */
    int64_t images, places, taps;    /* images of a block, places of an image, taps of a window */
    ag_real *copy;                   /* [images, h, w, c_in], unless bare */
    ag_real *turned;                 /* weights [c_out, taps] */
    int64_t *place, *tap;            /* where windows and taps begin: [images places], [taps] */
    int64_t *line, *number;          /* multiples of c_out [the greater of those], and of 1 [c_out] */
} windows;

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static windows plan(const ag_conv_sizes *s)
{
    windows v = { .s = s, .h = (s->rows - 1) * s->stride_h + s->kh, .w = (s->columns - 1) * s->stride_w + s->kw,
                  .places = s->rows * s->columns, .taps = s->kh * s->kw * s->c_in };
    v.bare = s->top == 0 && s->left == 0 && v.h <= s->h && v.w <= s->w;
    if (v.bare) {
        v.h = s->h;
        v.w = s->w;
    }
    int64_t bytes = v.h * v.w * s->c_in * (int64_t)sizeof(ag_real), fit = BLOCK_BYTES / (bytes + 1), few = BLOCK_PLACES / (v.places + 1);
    v.images = larger(1, fit < few ? fit : few);
    v.images = v.images < s->n ? v.images : s->n;
    return v;
}

static size_t whole_lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Gives the parts of the scratch memory, if there is one, and returns their size [bytes]. */
static size_t place_parts(windows *v, char *scratch)
{
    int64_t places = v->images * v->places, image = v->bare ? 0 : v->images * v->h * v->w * v->s->c_in;
    size_t copy = whole_lines((size_t)image * sizeof(ag_real)), turned = whole_lines((size_t)(v->taps * v->s->c_out) * sizeof(ag_real));
    size_t tables = (size_t)(places + v->taps + larger(places, v->taps) + v->s->c_out) * sizeof(int64_t);
    if (scratch) {
        v->copy = (ag_real *)scratch;
        v->turned = (ag_real *)(scratch + copy);
        v->place = (int64_t *)(scratch + copy + turned);
        v->tap = v->place + places;
        v->line = v->tap + v->taps;
        v->number = v->line + larger(places, v->taps);
    }
    return copy + turned + tables;
}

size_t ag_conv_scratch(const ag_conv_sizes *s)
{
    windows v = plan(s);
    return place_parts(&v, NULL);
}

static void fill_tables(windows *v)
{
    const ag_conv_sizes *s = v->s;
    int64_t *place = v->place, *tap = v->tap;
    for (int64_t n = 0; n < v->images; n++)
        for (int64_t row = 0; row < s->rows; row++)
            for (int64_t column = 0; column < s->columns; column++)
                *place++ = ((n * v->h + row * s->stride_h) * v->w + column * s->stride_w) * s->c_in;
    for (int64_t ky = 0; ky < s->kh; ky++)
        for (int64_t i = 0; i < s->kw * s->c_in; i++)
            *tap++ = ky * v->w * s->c_in + i;
    for (int64_t i = 0; i < larger(v->images * v->places, v->taps); i++)
        v->line[i] = i * s->c_out;
    for (int64_t i = 0; i < s->c_out; i++)
        v->number[i] = i;
}

static windows prepare(const ag_conv_sizes *s, void *scratch)
{
    windows v = plan(s);
    place_parts(&v, scratch);
    fill_tables(&v);
    return v;
}

/* The part of a bordered row that the image fills. */
static int64_t filled(const windows *v, int64_t *first)
{
    int64_t w = v->s->w, left = v->s->left < v->w ? v->s->left : v->w, room = v->w - left;
    *first = left * v->s->c_in;
    return (w < room ? w : room) * v->s->c_in;
}

static const ag_real *with_border(const windows *v, const ag_real *x, int64_t images)
{
    const ag_conv_sizes *s = v->s;
    int64_t width = v->w * s->c_in, first, length = filled(v, &first);
    ag_real *to = v->copy;
    if (v->bare)
        return x;
    for (int64_t n = 0; n < images; n++)
        for (int64_t row = 0; row < v->h; row++, to += width) {
            int64_t y = row - s->top;
            bool inside = y >= 0 && y < s->h;
            memset(to, 0, (size_t)(inside ? first : width) * sizeof *to);
            if (!inside)
                continue;
            memcpy(to + first, x + (n * s->h + y) * s->w * s->c_in, (size_t)length * sizeof *to);
            memset(to + first + length, 0, (size_t)(width - first - length) * sizeof *to);
        }
    return v->copy;
}

/* x is zero where no window reaches. */
static void without_border(const windows *v, int64_t images, ag_real *x)
{
    const ag_conv_sizes *s = v->s;
    int64_t first, length = filled(v, &first);
    for (int64_t n = 0; n < images; n++)
        for (int64_t y = 0; y < s->h && y + s->top < v->h; y++)
            memcpy(x + (n * s->h + y) * s->w * s->c_in, v->copy + ((n * v->h + y + s->top) * v->w) * s->c_in + first, (size_t)length * sizeof *x);
}

/* In parts of k whose rows of B stay in the cache while all rows of C go by. */
static void multiply(ag_windows w)
{
    int64_t k = w.k, deep = larger(LEAST_DEPTH, CACHED_NUMBERS / w.n);
    for (int64_t p = 0; p < k; p += deep) {
        w.k = k - p < deep ? k - p : deep;
        ag_windows_multiply(&w);
        w.step += deep;
        w.b += deep * w.rs_b;
        w.add = true;
    }
}

void ag_conv_forward(const ag_conv_sizes *s, const ag_real *x, const ag_real *weights, ag_real *y, void *scratch)
{
    windows v = prepare(s, scratch);
    if (v.taps == 0) {
        memset(y, 0, (size_t)(s->n * v.places * s->c_out) * sizeof *y);
        return;
    }
    for (int64_t n = 0; n < s->n; n += v.images) {
        int64_t images = s->n - n < v.images ? s->n - n : v.images;
        multiply((ag_windows){ .m = images * v.places, .n = s->c_out, .k = v.taps, .a = with_border(&v, x + n * s->h * s->w * s->c_in, images),
                               .row = v.place, .step = v.tap, .b = weights, .rs_b = s->c_out, .c = y + n * v.places * s->c_out, .to = v.line });
    }
}

void ag_conv_weight_grad(const ag_conv_sizes *s, const ag_real *x, const ag_real *grad, ag_real *weights, void *scratch)
{
    windows v = prepare(s, scratch);
    if (s->n * v.places == 0)
        memset(weights, 0, (size_t)(v.taps * s->c_out) * sizeof *weights);
    for (int64_t n = 0; n < s->n && v.places > 0; n += v.images) {
        int64_t images = s->n - n < v.images ? s->n - n : v.images;
        multiply((ag_windows){ .m = v.taps, .n = s->c_out, .k = images * v.places, .a = with_border(&v, x + n * s->h * s->w * s->c_in, images),
                               .row = v.tap, .step = v.place, .b = grad + n * v.places * s->c_out, .rs_b = s->c_out, .add = n > 0,
                               .c = weights, .to = v.line });
    }
}

typedef ag_real four __attribute__((vector_size(4 * sizeof(ag_real))));
typedef ag_real loose_four __attribute__((vector_size(4 * sizeof(ag_real)), aligned(sizeof(ag_real))));

/* Four numbers of each of four rows `step` apart, as four rows `width` apart. */
static inline void transpose_four(const ag_real *from, int64_t step, ag_real *to, int64_t width)
{
    four a = *(const loose_four *)from, b = *(const loose_four *)(from + step);
    four c = *(const loose_four *)(from + 2 * step), d = *(const loose_four *)(from + 3 * step);
    four low = __builtin_shufflevector(a, b, 0, 4, 1, 5), high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    four low2 = __builtin_shufflevector(c, d, 0, 4, 1, 5), high2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(loose_four *)to = __builtin_shufflevector(low, low2, 0, 1, 4, 5);
    *(loose_four *)(to + width) = __builtin_shufflevector(low, low2, 2, 3, 6, 7);
    *(loose_four *)(to + 2 * width) = __builtin_shufflevector(high, high2, 0, 1, 4, 5);
    *(loose_four *)(to + 3 * width) = __builtin_shufflevector(high, high2, 2, 3, 6, 7);
}

/* to [columns, rows] = from [rows, columns] transposed. */
AG_KERNEL static void transpose_matrix(int64_t rows, int64_t columns, const ag_real *restrict from, ag_real *restrict to)
{
    int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
    for (int64_t i = 0; i < whole_rows; i += 4)
        for (int64_t j = 0; j < whole_columns; j += 4)
            transpose_four(from + i * columns + j, columns, to + j * rows + i, rows);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; j++)
            to[j * rows + i] = from[i * columns + j];
}

/* The rows of the windows, one ky after the other, are added where they lie. */
void ag_conv_input_grad(const ag_conv_sizes *s, const ag_real *grad, const ag_real *weights, ag_real *x, void *scratch)
{
    windows v = prepare(s, scratch);
    int64_t width = s->kw * s->c_in, image = s->h * s->w * s->c_in;
    memset(x, 0, (size_t)(s->n * image) * sizeof *x);
    if (v.places * s->c_out == 0)
        return;
    transpose_matrix(v.taps, s->c_out, weights, v.turned);
    for (int64_t n = 0; n < s->n; n += v.images, x += v.images * image) {
        int64_t images = s->n - n < v.images ? s->n - n : v.images;
        ag_real *to = v.bare ? x : v.copy;
        if (!v.bare)
            memset(to, 0, (size_t)(images * v.h * v.w * s->c_in) * sizeof *to);
        for (int64_t ky = 0; ky < s->kh; ky++)
            multiply((ag_windows){ .m = images * v.places, .n = width, .k = s->c_out, .a = grad + n * v.places * s->c_out, .row = v.line,
                                   .step = v.number, .b = v.turned + ky * width, .rs_b = v.taps, .add = true, .c = to + ky * v.w * s->c_in,
                                   .to = v.place });
        if (!v.bare)
            without_border(&v, images, x);
    }
}
