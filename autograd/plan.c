/* Places a program's buffers in one arena by their lifetimes (program.h). */
#include "autograd/program.h"

#include <stdlib.h>

static int larger_first(const void *a, const void *b)
{
    const ag_buffer *x = *(ag_buffer *const *)a, *y = *(ag_buffer *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y;   /* a total order: the same plan every time */
}

static bool live_together(const ag_buffer *a, const ag_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* placed[0..n) is kept sorted by offset; finds the lowest gap for b. */
static size_t lowest_gap(const ag_buffer *b, ag_buffer *const *placed, int64_t n)
{
    size_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!live_together(b, placed[i]))
            continue;
        if (placed[i]->offset >= at + b->bytes)
            break;
        size_t end = placed[i]->offset + placed[i]->bytes;
        at = end > at ? end : at;
    }
    return at;
}

ag_code ag_plan_buffers(int64_t n, ag_buffer *buffer, size_t *total, ag_error *err)
{
    ag_buffer **order = ag_alloc((size_t)n * 2 * sizeof *order), **placed = order ? order + n : NULL;
    AG_REQUIRE(order, err, AG_ENOMEM, "compile: no memory to place %lld buffers", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        buffer[i].bytes = (buffer[i].bytes + 63) / 64 * 64;
        order[i] = &buffer[i];
    }
    qsort(order, (size_t)n, sizeof *order, larger_first);
    *total = 0;
    for (int64_t i = 0; i < n; i++) {
        ag_buffer *b = order[i];
        b->offset = lowest_gap(b, placed, i);
        int64_t at = i;
        for (; at > 0 && placed[at - 1]->offset > b->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = b;
        if (b->offset + b->bytes > *total)
            *total = b->offset + b->bytes;
    }
    ag_free(order);
    return AG_OK;
}
