/* A pool of threads that share out numbered items. With one thread everything runs on the caller's. */
#ifndef META_POOL_H
#define META_POOL_H

#include "autograd/status.h"

#include <stdint.h>

typedef struct meta_pool meta_pool;
/* One item's work; `worker` is 0 .. threads - 1 and never runs two items at once. */
typedef void (*meta_pool_work)(void *ctx, int64_t item, int worker);

ag_code meta_pool_new(meta_pool **p, int threads, ag_error *err);
void meta_pool_free(meta_pool *p);                /* NULL is allowed */
/* Runs items 0 .. n - 1, each once, and returns when all are done. Allocates nothing. */
void meta_pool_run(meta_pool *p, int64_t n, meta_pool_work work, void *ctx);

#endif
