/* safetensors files, as they are and with the header's length made right. */
#include "tests/fuzz/weights_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    walk_weights(data, size, NULL);
    if (size < 10)
        return 0;
    uint8_t *mended = malloc(size);
    fuzz_check(mended, "out of memory");
    memcpy(mended, data, size);
    uint64_t end = size;                        /* the header ends with its last brace */
    while (end > 8 && mended[end - 1] != '}')
        end--;
    const uint64_t length = end - 8;
    memcpy(mended, &length, sizeof length);
    walk_weights(mended, size, "safetensors");
    free(mended);
    return 0;
}
