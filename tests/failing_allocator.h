/* An allocator that makes one allocation fail and counts what is left, to be put in place of ag_alloc's.
 *
 *     static ag_code open_it(void *ctx, ag_error *err) { ... frees all it made, also after a failure ... }
 *     ck_assert_int_gt(failing_each(open_it, ctx), 3);      // every allocation of it has failed once
 */
#ifndef TESTS_FAILING_ALLOCATOR_H
#define TESTS_FAILING_ALLOCATOR_H

#include "autograd/status.h"
#include "tests/check.h"

#include <errno.h>
#include <stdatomic.h>

typedef struct failing_allocator {
    atomic_llong calls, live_blocks;
    long long fail_at;             /* this call fails; 0: none */
} failing_allocator;

static inline void *failing_alloc(size_t bytes, void *ctx)
{
    failing_allocator *f = ctx;
    if (atomic_fetch_add(&f->calls, 1) + 1 == f->fail_at) {
        errno = ENOMEM;              /* as malloc does */
        return NULL;
    }
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    atomic_fetch_add(&f->live_blocks, p != NULL);
    return p;
}

static inline void failing_release(void *p, void *ctx)
{
    atomic_fetch_sub(&((failing_allocator *)ctx)->live_blocks, p != NULL);
    free(p);
}

/* NULL: the default allocator again. */
static inline void failing_use(failing_allocator *f)
{
    ag_set_allocator(f ? &(ag_allocator){ failing_alloc, failing_release, f } : NULL);
}

/* Runs act with its first allocation failing, its second and so on, by stride, until the one that is to fail is never asked
 * for. Each time it must succeed, or fail with AG_ENOMEM and a message, and leave no block. Returns how often it failed. */
static inline long long failing_each_by(long long stride, ag_code (*act)(void *ctx, ag_error *err), void *ctx)
{
    long long failed = 0, at = 0, made = 0;
    while (made >= at) {
        failing_allocator f = { .fail_at = at += stride };
        ag_error err = { 0 };
        failing_use(&f);
        ag_code code = act(ctx, &err);
        failing_use(NULL);
        made = atomic_load(&f.calls);
        expect(code == AG_OK || code == AG_ENOMEM, "allocation %lld: %s %s", at, ag_code_name(code), err.message);
        expect(code == err.code && (code == AG_OK || err.message[0]), "allocation %lld: no message", at);
        expect(atomic_load(&f.live_blocks) == 0, "allocation %lld: %lld blocks are left", at, (long long)atomic_load(&f.live_blocks));
        failed += code != AG_OK;
    }
    return failed;
}

static inline long long failing_each(ag_code (*act)(void *ctx, ag_error *err), void *ctx)
{
    return failing_each_by(1, act, ctx);
}

#endif
