/* Checkpoints, as they are and with length, version and digest made right, so that the entries are reached. */
#include "experiments/checkpoint.h"
#include "tests/fuzz/fuzz.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION_AT = 64, VERSION = 32, LENGTH_AT = 24, HEADER = 128, DIGEST = 32 };   /* checkpoint.c's header */

/* Every byte of every entry is there to be read, and found by its name. */
static void walk(const xp_checkpoint *c)
{
    unsigned sum = 0;
    for (int i = 0; i < c->n; i++) {
        const xp_checkpoint_entry *e = &c->entries[i];
        for (size_t k = 0; k < e->bytes; k++)
            sum += ((const unsigned char *)e->data)[k];
        fuzz_check((uintptr_t)e->data % 64 == 0, "entry %d is not aligned", i);
        fuzz_check(xp_checkpoint_find(c, e->name), "entry %d is not found", i);
    }
    static volatile unsigned sink;
    sink = sum;
    (void)sink;
}

static void load(const uint8_t *data, size_t size)
{
    xp_checkpoint c;
    ag_error err = { 0 };
    if (!fuzz_answer(xp_checkpoint_load(&c, fuzz_file(0, data, size), NULL, &err), &err)) {
        fuzz_check(!c.memory && !c.entries && c.n == 0, "a refused checkpoint holds something");
        return;
    }
    walk(&c);
    xp_checkpoint_release(&c);
}

static void mend(uint8_t *data, size_t size)
{
    const uint64_t length = size;
    memcpy(data + LENGTH_AT, &length, sizeof length);
    memset(data + VERSION_AT, 0, VERSION);
    memcpy(data + VERSION_AT, METALORA_VERSION, sizeof METALORA_VERSION);
    crypto_hash_sha256(data + size - DIGEST, data, size - DIGEST);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    load(data, size);
    if (size < HEADER + DIGEST)
        return 0;
    uint8_t *mended = (uint8_t *)fuzz_string(data, size);
    mend(mended, size);
    load(mended, size);
    free(mended);
    return 0;
}
