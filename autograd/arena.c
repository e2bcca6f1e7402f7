/* A stack of memory (arena.h). */
#include "autograd/arena.h"
#include "autograd/status.h"

#include <string.h>

enum { FIRST_CHUNK = 1 << 16 };

void ag_arena_init(ag_arena *a)
{
    memset(a, 0, sizeof *a);
    a->current = -1;
}

void ag_arena_release(ag_arena *a)
{
    for (int i = 0; i < AG_ARENA_CHUNKS; i++)
        ag_free(a->chunk[i]);
    ag_arena_init(a);
}

/* Makes chunk `next` hold at least `bytes`. A chunk kept from before a rewind is used again if it is large enough. */
static int open_chunk(ag_arena *a, int64_t next, size_t bytes)
{
    if (next >= AG_ARENA_CHUNKS)
        return 0;
    if (a->size[next] < bytes) {
        size_t size = next ? 2 * a->size[next - 1] : FIRST_CHUNK;
        if (size < bytes)
            size = bytes;
        char *fresh = ag_alloc(size);
        if (!fresh)
            return 0;
        ag_free(a->chunk[next]);
        a->chunk[next] = fresh;
        a->size[next] = size;
    }
    a->current = next;
    a->used = 0;
    return 1;
}

void *ag_arena_take(ag_arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX / 4)
        return NULL;
    bytes = (bytes + 63) / 64 * 64;
    if (a->current < 0 || a->size[a->current] - a->used < bytes) {
        if (!open_chunk(a, a->current + 1, bytes))
            return NULL;
    }
    void *p = a->chunk[a->current] + a->used;
    a->used += bytes;
    return p;
}

void ag_arena_rewind(ag_arena *a, int64_t current, size_t used)
{
#ifndef NDEBUG
    for (int64_t i = current < 0 ? 0 : current; i <= a->current; i++) {
        size_t from = i == current ? used : 0, to = i == a->current ? a->used : a->size[i];
        memset(a->chunk[i] + from, 0xA5, to - from);
    }
#endif
    a->current = current;
    a->used = current < 0 ? 0 : used;
}
