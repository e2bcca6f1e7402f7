/* The thread pool (pool.h): the caller is worker 0, the others wait for a new round. */
#include "meta/pool.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct member {
    struct meta_pool *pool;
    int worker;
    pthread_t thread;
} member;

struct meta_pool {
    int threads, started;            /* started: threads created besides the caller's */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    uint64_t round;                  /* counts meta_pool_run calls */
    int running;                     /* members still in this round */
    int closing;
    atomic_llong next;               /* item to be taken */
    int64_t n;
    meta_pool_work work;
    void *ctx;
    member *members;                 /* [threads - 1] */
};

static void take_items(meta_pool *p, int worker)
{
    for (;;) {
        int64_t item = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (item >= p->n)
            return;
        p->work(p->ctx, item, worker);
    }
}

static void *member_main(void *arg)
{
    member *m = arg;
    meta_pool *p = m->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->round == seen && !p->closing)
            pthread_cond_wait(&p->wake, &p->lock);
        if (p->closing)
            break;
        seen = p->round;
        pthread_mutex_unlock(&p->lock);
        take_items(p, m->worker);
        pthread_mutex_lock(&p->lock);
        if (--p->running == 0)
            pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

ag_code meta_pool_new(meta_pool **out, int threads, ag_error *err)
{
    *out = NULL;
    AG_REQUIRE(threads >= 1 && threads <= 4096, err, AG_EINVAL, "pool: %d threads; 1 to 4096 are possible", threads);
    meta_pool *p = ag_alloc_zero(sizeof *p);
    AG_REQUIRE(p, err, AG_ENOMEM, "pool: no memory");
    p->threads = threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    p->members = ag_alloc((size_t)threads * sizeof *p->members);
    for (int i = 0; p->members && i < threads - 1; i++) {
        p->members[i] = (member){ .pool = p, .worker = i + 1 };
        if (pthread_create(&p->members[i].thread, NULL, member_main, &p->members[i]) != 0)
            break;
        p->started++;
    }
    if (!p->members || p->started < threads - 1) {
        int started = p->started;
        meta_pool_free(p);
        return ag_fail(err, AG_ENOMEM, "pool: only %d of %d threads could be started", started + 1, threads);
    }
    *out = p;
    return AG_OK;
}

void meta_pool_free(meta_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = 1;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->started; i++)
        pthread_join(p->members[i].thread, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    ag_free(p->members);
    ag_free(p);
}

void meta_pool_run(meta_pool *p, int64_t n, meta_pool_work work, void *ctx)
{
    pthread_mutex_lock(&p->lock);
    p->n = n;
    p->work = work;
    p->ctx = ctx;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    p->running = p->started;
    p->round++;
    if (p->started)
        pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    take_items(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->running > 0)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
