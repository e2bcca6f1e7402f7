/* Checkpoints made by hand, for the tests of their readers: bytes that are put together, opened and refused. */
#ifndef TESTS_WEIGHTS_BYTES_H
#define TESTS_WEIGHTS_BYTES_H

#include "models/weights/weights_internal.h"
#include "tests/check.h"

#include <fcntl.h>
#include <unistd.h>

typedef struct bytes {
    uint8_t *data;
    size_t n;
} bytes;

static inline void put(bytes *b, const void *data, size_t n)
{
    b->data = realloc(b->data, b->n + n + 1);
    expect(b->data, "out of memory");
    if (n)
        memcpy(b->data + b->n, data, n);
    b->n += n;
}

static inline void put_zeros(bytes *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(b, "", 1);
}

static inline void put_u32(bytes *b, uint32_t v)
{
    put(b, &v, sizeof v);
}

static inline void put_u64(bytes *b, uint64_t v)
{
    put(b, &v, sizeof v);
}

/* GGUF's */
static inline void put_string(bytes *b, const char *s)
{
    put_u64(b, strlen(s));
    put(b, s, strlen(s));
}

/* Opens exactly these bytes, in memory of exactly their size, so that a sanitizer sees a read behind them. */
static inline ag_code open_exact(nn_weights **w, const void *data, size_t n, ag_error *err)
{
    uint8_t *exact = malloc(n ? n : 1);
    expect(exact, "out of memory");
    if (n)
        memcpy(exact, data, n);
    ag_code code = nn_weights_open_bytes(w, "bytes", exact, n, err);
    if (code != AG_OK)
        free(exact);
    return code;
}

static inline void close_exact(nn_weights *w)
{
    void *data = (void *)(uintptr_t)w->data;
    nn_weights_close(w);
    free(data);
}

/* AG_EDATA, and a message with `because` in it; nothing is handed out. */
static inline void refuse(const void *data, size_t n, const char *because)
{
    nn_weights *w = (nn_weights *)(uintptr_t)8;
    ag_error err = { 0 };
    ag_code code = open_exact(&w, data, n, &err);
    expect(code == AG_EDATA && !w, "%zu bytes: %s '%s'; expected AG_EDATA for '%s'", n, ag_code_name(code), err.message, because);
    expect(strstr(err.message, because) && strstr(err.message, "'bytes'"), "'%s' does not say '%s'", err.message, because);
}

static inline nn_weights *accept(const void *data, size_t n)
{
    nn_weights *w;
    ag_error err = { 0 };
    expect(open_exact(&w, data, n, &err) == AG_OK, "refused: %s", err.message);
    return w;
}

static inline void accept_and_close(const void *data, size_t n)
{
    close_exact(accept(data, n));
}

/* A committed or freshly made golden file: METALORA_WEIGHTS_GOLDEN names another folder of them. */
static inline const char *golden_path(const char *name)
{
    static char path[2][4096];
    static int next;
    const char *folder = getenv("METALORA_WEIGHTS_GOLDEN");
    next = !next;
    snprintf(path[next], sizeof path[next], "%s/%s", folder ? folder : TEST_DIR, name);
    return path[next];
}

#endif
