/* Result files: only bytes with a right seal are shown; HDF5, which crashes on some damaged files, never sees others. */
#include "experiments/results.h"
#include "experiments/run_summary.h"
#include "experiments/seal.h"
#include "tests/fuzz/fuzz.h"

#include <sodium.h>
#include <string.h>

/* Nobody meets a right seal by chance: a sealed input of that size is the seed, which a run wrote.
 * When the format changes, seeds.py makes it anew. */
enum { SMALLEST = 4096 };

/* By the definition in seal.h. */
static bool is_sealed(const uint8_t *data, size_t size)
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    if (size < XP_SEAL_BYTES)
        return false;
    const uint8_t *seal = data + size - XP_SEAL_BYTES;
    uint64_t length = 0;
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)seal[8 + i] << 8 * i;
    crypto_hash_sha256(hash, data, size - XP_SEAL_BYTES);
    return memcmp(seal, "MLSEAL1\n", 8) == 0 && length == size - XP_SEAL_BYTES && memcmp(seal + 16, hash, sizeof hash) == 0;
}

static void show(const char *path, size_t size, bool json, bool sealed)
{
    char *text;
    ag_error err = { 0 };
    bool good = fuzz_answer(xp_results_show(path, json, false, &text, &err), &err);
    fuzz_check(good == (text != NULL), "a text and an answer that do not fit");
    fuzz_check(!good || sealed, "shown without a seal");
    fuzz_check(good || !sealed || size < SMALLEST, "sealed, but not shown: %s", err.message);
    ag_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(0, data, size);
    const bool sealed = is_sealed(data, size);
    ag_error err = { 0 };
    fuzz_check((xp_seal_check(path, &err) == AG_OK) == sealed, "the seal is %s: '%s'", sealed ? "right" : "wrong", err.message);
    show(path, size, false, sealed);
    show(path, size, true, sealed);
    return 0;
}
