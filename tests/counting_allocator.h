/* An allocator that counts, fails once and knows what was not given back, for ag_set_allocator. */
#ifndef TESTS_COUNTING_ALLOCATOR_H
#define TESTS_COUNTING_ALLOCATOR_H

#include <stddef.h>
#include <stdlib.h>

typedef struct counter {
    int calls, fail_at, live;
} counter;

static void *counted_alloc(size_t bytes, void *ctx)
{
    counter *c = ctx;
    if (++c->calls == c->fail_at)
        return NULL;
    c->live++;
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void counted_release(void *p, void *ctx)
{
    ((counter *)ctx)->live -= p != NULL;
    free(p);
}

#endif
