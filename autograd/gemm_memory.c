/* Where the matrix product copies its operands: one buffer a thread, mapped at the thread's first product and unmapped
 * at its end. Not from malloc, for a replay must not allocate; not in thread-local storage itself, for a shared object
 * loaded late gets little of that. */
#define _DEFAULT_SOURCE              /* MAP_ANONYMOUS */
#include "autograd/gemm.h"

#include <pthread.h>
#include <sys/mman.h>

enum { BYTES = AG_GEMM_BUFFER * sizeof(ag_real) };

static _Thread_local ag_real *mine;
static pthread_key_t at_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool have_key;

/* Taken in turns where no memory could be mapped; costs nothing until then. */
static ag_real shared[AG_GEMM_BUFFER] __attribute__((aligned(64)));
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void unmap(void *buffer)
{
    munmap(buffer, BYTES);
}

static void make_key(void)
{
    have_key = pthread_key_create(&at_end, unmap) == 0;
}

/* A library that is unloaded must not be called when threads end. */
__attribute__((destructor)) static void drop_key(void)
{
    if (have_key)
        pthread_key_delete(at_end);
}

static ag_real *map(void)
{
    pthread_once(&once, make_key);
    if (!have_key)
        return NULL;
    void *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (pthread_setspecific(at_end, p) != 0) {
        munmap(p, BYTES);
        return NULL;
    }
    return p;
}

ag_real *ag_gemm_buffer(void)
{
    if (!mine)
        mine = map();
    if (mine)
        return mine;
    pthread_mutex_lock(&turn);
    return shared;
}

void ag_gemm_buffer_done(ag_real *buffer)
{
    if (buffer == shared)
        pthread_mutex_unlock(&turn);
}
