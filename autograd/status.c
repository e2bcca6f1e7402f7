/* Errors and the replaceable allocator (status.h). */
#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <stdint.h>
#include <string.h>

ag_code ag_fail_v(ag_error *err, ag_code code, const char *fmt, va_list args)
{
    if (err && err->code == AG_OK) {
        err->code = code;
        err->trail[0] = '\0';
        vsnprintf(err->message, sizeof err->message, fmt, args);
    }
    return code;
}

ag_code ag_fail(ag_error *err, ag_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    ag_fail_v(err, code, fmt, args);
    va_end(args);
    return code;
}

ag_code ag_trail(ag_error *err, ag_code code, const char *function)
{
    if (err && err->code != AG_OK) {
        size_t used = strlen(err->trail);
        snprintf(err->trail + used, sizeof err->trail - used, "%s%s", used ? " < " : "", function);
    }
    return code;
}

void ag_error_clear(ag_error *err)
{
    if (err) {
        err->code = AG_OK;
        err->message[0] = err->trail[0] = '\0';
    }
}

const char *ag_code_name(ag_code code)
{
    static const char *const names[] = { "OK", "EINVAL", "ESHAPE", "ENOMEM", "ENAN", "EIO", "EDATA", "ECONFIG", "ESTOP" };
    return (unsigned)code < sizeof names / sizeof *names ? names[code] : "unknown";
}

static void *default_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void default_release(void *p, void *ctx)
{
    (void)ctx;
    free(p);
}

static ag_allocator allocator = { default_alloc, default_release, NULL };

void ag_set_allocator(const ag_allocator *a)
{
    allocator = a ? *a : (ag_allocator){ default_alloc, default_release, NULL };
}

void *ag_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX - 64)
        return NULL;
    return allocator.alloc(bytes ? bytes : 1, allocator.ctx);
}

void *ag_alloc_zero(size_t bytes)
{
    void *p = ag_alloc(bytes);
    if (p)
        memset(p, 0, bytes ? bytes : 1);
    return p;
}

void ag_free(void *p)
{
    if (p)
        allocator.release(p, allocator.ctx);
}

char *ag_strdup(const char *s)
{
    if (!s)
        return NULL;
    size_t n = strlen(s) + 1;
    char *copy = ag_alloc(n);
    if (copy)
        memcpy(copy, s, n);
    return copy;
}
