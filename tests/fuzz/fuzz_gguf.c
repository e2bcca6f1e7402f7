/* GGUF files, as they are and with magic, version and small counts, so that keys and tensors are reached. */
#include "tests/fuzz/weights_walk.h"

enum { HEADER = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    walk_weights(data, size, NULL);
    if (size < HEADER)
        return 0;
    uint8_t *mended = malloc(size);
    fuzz_check(mended, "out of memory");
    memcpy(mended, data, size);
    memcpy(mended, "GGUF\3\0\0", 8);
    memset(mended + 9, 0, 7);
    memset(mended + 17, 0, 7);
    mended[8] &= 7;
    mended[16] &= 7;
    walk_weights(mended, size, "gguf");
    free(mended);
    return 0;
}
