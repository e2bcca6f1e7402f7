/* A stack of memory: chunks double and never move, marks and rewinds are LIFO. */
#ifndef AG_ARENA_H
#define AG_ARENA_H

#include <stddef.h>
#include <stdint.h>

enum { AG_ARENA_CHUNKS = 40 };

typedef struct ag_arena {
    char *chunk[AG_ARENA_CHUNKS];
    size_t size[AG_ARENA_CHUNKS];
    int64_t current;                 /* chunk in use; -1: none yet */
    size_t used;                     /* of the current chunk */
} ag_arena;

void ag_arena_init(ag_arena *a);
void ag_arena_release(ag_arena *a);
/* 64-byte aligned, not cleared; NULL when memory ran out, and then nothing has moved. */
void *ag_arena_take(ag_arena *a, size_t bytes);
/* Back to an earlier (current, used); debug builds poison what was forgotten. */
void ag_arena_rewind(ag_arena *a, int64_t current, size_t used);

#endif
