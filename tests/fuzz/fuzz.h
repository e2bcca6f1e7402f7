/* What every fuzz target shares. A target is one function, LLVMFuzzerTestOneInput, that feeds bytes to one reader of
 * foreign data and checks what must hold for any bytes whatever: ./dev fuzz. Built without clang the same function is
 * fed the committed corpus (replay.c), as a test.
 *
 *     int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
 *     {
 *         ag_error err = { 0 };
 *         thing t;
 *         fuzz_answer(thing_load(&t, fuzz_file(0, data, size), &err), &err);
 *         ...
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "autograd/status.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process with the message, so that the input is kept as a crash. */
#define fuzz_check(cond, ...)                                \
    do {                                                     \
        if (!(cond))                                         \
            fuzz_die(__FILE__, __LINE__, __VA_ARGS__);       \
    } while (0)
_Noreturn void fuzz_die(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Success leaves no message; a failure has one, of the code that was returned. True on success. */
bool fuzz_answer(ag_code code, const ag_error *err);

/* The bytes as a file in the current folder, removed at the end; slot is 0 or 1. Good until the slot is used again. Not a
 * file in memory: HDF5 follows links, and those of /proc/self/fd lead nowhere. */
enum { FUZZ_SLOTS = 2 };
const char *fuzz_file(int slot, const void *data, size_t size);

/* The bytes as a string freed with free; NUL bytes are kept, so it may be shorter than size. */
char *fuzz_string(const uint8_t *data, size_t size);

#endif
