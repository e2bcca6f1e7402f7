/* Status codes and errors: every command returns an ag_code and fills an ag_error that may be NULL.
 *
 *     ag_code xp_open(const char *path, ag_error *err)
 *     {
 *         AG_REQUIRE(path, err, AG_EINVAL, "xp_open: path is NULL");
 *         AG_TRY(err, xp_lock(path, err));        // passes the failure on and notes that it came through here
 *         return AG_OK;
 *     }
 *
 * The library never prints and never ends the process. The first failure wins: ag_fail on an error that is
 * already set keeps the older message. */
#ifndef AG_STATUS_H
#define AG_STATUS_H

#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>

typedef enum ag_code {
    AG_OK = 0,
    AG_EINVAL,    /* an argument the caller must mend: NULL, out of range, wrong state */
    AG_ESHAPE,    /* shapes or types that do not fit together */
    AG_ENOMEM,    /* an allocation failed */
    AG_ENAN,      /* a number that is not finite where one is needed */
    AG_EIO,       /* the operating system refused: file, folder, disk */
    AG_EDATA,     /* a data file whose contents are wrong */
    AG_ECONFIG,   /* a configuration or option the user must mend */
    AG_ESTOP      /* stopped on request */
} ag_code;

enum { AG_MESSAGE_MAX = 2048, AG_TRAIL_MAX = 256 };

typedef struct ag_error {
    ag_code code;
    char message[AG_MESSAGE_MAX];   /* what, where, what was expected; no newline at the end */
    char trail[AG_TRAIL_MAX];       /* functions the failure passed through, innermost first: "a < b < c" */
} ag_error;

/* Sets *err (may be NULL; kept if already set) and returns code. */
ag_code ag_fail(ag_error *err, ag_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
ag_code ag_fail_v(ag_error *err, ag_code code, const char *fmt, va_list args);
/* Adds a function name to the trail; returns code. */
ag_code ag_trail(ag_error *err, ag_code code, const char *function);
/* Back to AG_OK and empty strings; NULL is allowed. */
void ag_error_clear(ag_error *err);
/* "EINVAL" and so on, static storage. */
const char *ag_code_name(ag_code code);

#define AG_TRY(err, call)                                     \
    do {                                                      \
        ag_code ag_try_code_ = (call);                        \
        if (ag_try_code_ != AG_OK)                            \
            return ag_trail(err, ag_try_code_, __func__);     \
    } while (0)

#define AG_REQUIRE(cond, err, code, ...)                      \
    do {                                                      \
        if (!(cond))                                          \
            return ag_fail(err, code, __VA_ARGS__);           \
    } while (0)

/* The allocator, replaceable so that tests can count allocations and make the n-th one fail.
 * Memory is aligned to 64 bytes and not cleared. Not to be swapped while anything allocated lives. */
typedef struct ag_allocator {
    void *(*alloc)(size_t bytes, void *ctx);
    void (*release)(void *p, void *ctx);
    void *ctx;
} ag_allocator;
void ag_set_allocator(const ag_allocator *a);   /* NULL: back to the default; copies *a */
void *ag_alloc(size_t bytes);                   /* NULL on failure; at least 1 byte */
void *ag_alloc_zero(size_t bytes);
void ag_free(void *p);                          /* NULL is allowed */
char *ag_strdup(const char *s);                 /* freed with ag_free; NULL in, NULL out */

#endif
