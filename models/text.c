/* Batches of texts: packing on the side of numbers; splitting, padding and pooling on the side of formulas. */
#include "models/text.h"

#include <string.h>

int64_t nn_text_numel(const nn_text_shape *s)
{
    return 3 * s->capacity + 2 * s->n * s->length;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Shortens the longest of kept [n] (the last of equals) until all fit. */
static int64_t shorten(const nn_text_shape *s, int64_t total, int32_t *kept)
{
    int64_t excess = total - s->capacity;
    for (int64_t step = 0; step < excess; step++) {
        int64_t longest = 0;
        for (int64_t i = 1; i < s->n; i++)
            if (kept[i] >= kept[longest])
                longest = i;
        kept[longest]--;
    }
    return excess > 0 ? excess : 0;
}

/* Text i with `count` tokens of its `length`, the first of which comes to place `at` of the packed ones. */
static void place_text(const nn_text_shape *s, const int32_t *ids, int64_t length, int64_t count, int64_t i, int64_t at, int32_t *x)
{
    int64_t c = s->capacity, l = s->length;
    int32_t *packed = x + 3 * c + i * l, *valid = packed + s->n * l;
    for (int64_t j = 0; j < count; j++) {
        x[at + j] = j < count - 1 ? ids[j] : ids[length - 1];
        x[c + at + j] = (int32_t)(i * l + j);
        x[2 * c + at + j] = (int32_t)j;
    }
    for (int64_t j = 0; j < l; j++) {
        packed[j] = j < count ? (int32_t)(at + j) : 0;
        valid[j] = j < count;
    }
}

int64_t nn_text_pack(const nn_text_shape *s, const int32_t *ids, const int64_t *start, const int64_t *length, int32_t *x)
{
    /* The lengths stand where `packed` will; from the last text to the first, each is read before it is written over. */
    int32_t *kept = x + 3 * s->capacity;
    int64_t total = 0, wanted = 0;
    for (int64_t i = 0; i < s->n; i++) {
        kept[i] = (int32_t)least(length[i], s->length);
        total += kept[i];
        wanted += length[i];
    }
    total -= shorten(s, total, kept);
    for (int part = 0; part < 3; part++)
        memset(x + part * s->capacity + total, 0, (size_t)(s->capacity - total) * sizeof *x);
    int64_t at = total;
    for (int64_t i = s->n - 1; i >= 0; i--) {
        int64_t count = kept[i];
        at -= count;
        place_text(s, ids + start[i], least(length[i], s->length), count, i, at, x);
    }
    return wanted - total;
}

nn_text nn_text_split(ag_tape *t, ag_tensor *x, const nn_text_shape *s)
{
    int64_t c = s->capacity, places = s->n * s->length;
    ag_tensor *valid = ag_one_hot(t, ag_slice(t, x, 0, 3 * c + places, 3 * c + 2 * places), 2);   /* [n L, 2]: int32 to numbers */
    return (nn_text){
        .shape = *s,
        .ids = ag_slice(t, x, 0, 0, c),
        .place = ag_slice(t, x, 0, c, 2 * c),
        .position = ag_slice(t, x, 0, 2 * c, 3 * c),
        .packed = ag_slice(t, x, 0, 3 * c, 3 * c + places),
        .valid = ag_reshape(t, ag_slice(t, valid, 1, 1, 2), 2, (int64_t[]){ s->n, s->length }),
    };
}

/* The axes first .. of x behind the given ones. */
static ag_tensor *lead(ag_tape *t, ag_tensor *x, int first, int n, const int64_t *leading)
{
    int64_t shape[2 * AG_MAX_DIMS];
    if (!x || n + ag_ndim(x) - first > AG_MAX_DIMS)
        return NULL;
    memcpy(shape, leading, (size_t)n * sizeof *shape);
    memcpy(shape + n, ag_shape(x) + first, (size_t)(ag_ndim(x) - first) * sizeof *shape);
    return ag_reshape(t, x, n + ag_ndim(x) - first, shape);
}

ag_tensor *nn_text_pad(ag_tape *t, const nn_text *b, ag_tensor *rows)
{
    return lead(t, ag_gather(t, rows, b->packed), 1, 2, (int64_t[]){ b->shape.n, b->shape.length });
}

ag_tensor *nn_text_unpad(ag_tape *t, const nn_text *b, ag_tensor *padded)
{
    return ag_gather(t, lead(t, padded, 2, 1, (int64_t[]){ b->shape.n * b->shape.length }), b->place);
}

/* How much each place of a text counts for its features, [n, L]. */
static ag_tensor *pooling_weights(ag_tape *t, const nn_text *b, nn_pooling pooling)
{
    int64_t l = b->shape.length;
    if (pooling == NN_POOL_FIRST)
        return ag_pad(t, ag_slice(t, b->valid, 1, 0, 1), 1, 0, l - 1);
    if (pooling == NN_POOL_LAST)                             /* valid itself, and the next one is not */
        return ag_sub(t, b->valid, ag_pad(t, ag_slice(t, b->valid, 1, 1, l), 1, 0, 1));
    ag_tensor *count = ag_sum_keep(t, b->valid, AG_AXIS(1));
    return ag_div(t, b->valid, ag_max(t, count, ag_scalar(t, 1)));   /* a text without tokens has features 0 */
}

ag_tensor *nn_text_pool(ag_tape *t, const nn_text *b, ag_tensor *rows, nn_pooling pooling)
{
    ag_tensor *w = ag_reshape(t, pooling_weights(t, b, pooling), 3, (int64_t[]){ b->shape.n, 1, b->shape.length });
    ag_tensor *y = ag_matmul(t, w, nn_text_pad(t, b, rows));     /* [n, 1, L] x [n, L, d] */
    return y ? ag_reshape(t, y, 2, (int64_t[]){ b->shape.n, ag_shape(y)[2] }) : NULL;
}
