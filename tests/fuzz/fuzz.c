/* Shared by the fuzz targets (fuzz.h). */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void fuzz_die(const char *file, int line, const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

bool fuzz_answer(ag_code code, const ag_error *err)
{
    if (code == AG_OK)
        fuzz_check(err->code == AG_OK && !*err->message, "success, but with the message '%s'", err->message);
    else
        fuzz_check(err->code == code && *err->message, "%s, but the error is %s '%s'", ag_code_name(code),
                   ag_code_name(err->code), err->message);
    return code == AG_OK;
}

static char paths[FUZZ_SLOTS][32];

static void remove_files(void)
{
    for (int i = 0; i < FUZZ_SLOTS; i++)
        if (*paths[i])
            unlink(paths[i]);
}

const char *fuzz_file(int slot, const void *data, size_t size)
{
    if (!*paths[0] && !*paths[1])
        atexit(remove_files);
    if (!*paths[slot])
        snprintf(paths[slot], sizeof paths[slot], "fuzz-input-%ld-%d", (long)getpid(), slot);
    int fd = open(paths[slot], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    fuzz_check(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0, "cannot write '%s' here", paths[slot]);
    return paths[slot];
}

char *fuzz_string(const uint8_t *data, size_t size)
{
    char *s = malloc(size + 1);
    fuzz_check(s, "out of memory");
    if (size)
        memcpy(s, data, size);
    s[size] = '\0';
    return s;
}
