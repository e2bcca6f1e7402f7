/* llama2.c checkpoints, as they are and with small sizes in a file as long as these want, which must be accepted. */
#include "tests/fuzz/weights_walk.h"

enum { SIZES = 7, HEADER = SIZES * sizeof(int32_t) };

static size_t floats(const int32_t *h, size_t vocab, int untied)
{
    const size_t dim = (size_t)h[0], hidden = (size_t)h[1], layers = (size_t)h[2], kv = dim / (size_t)h[3] * (size_t)h[4];
    return vocab * dim * (size_t)(1 + untied) + layers * (2 * dim + 2 * dim * dim + 2 * kv * dim + 3 * hidden * dim) + dim
           + (size_t)h[6] * dim / (size_t)h[3];
}

static void mended(const uint8_t *data, size_t size)
{
    const int32_t kv = 1 + data[4] % 2, heads = kv * (1 + data[3] % 3), vocab = 1 + data[5] % 9, untied = data[5] >> 7;
    const int32_t h[SIZES] = { heads * 2 * (1 + data[0] % 4), 1 + data[1] % 20, 1 + data[2] % 4, heads, kv, untied ? -vocab : vocab,
                               1 + data[6] % 8 };
    const size_t whole = HEADER + sizeof(float) * floats(h, (size_t)vocab, untied);
    uint8_t *file = calloc(1, whole);
    fuzz_check(file, "out of memory");
    memcpy(file, data, size < whole ? size : whole);
    memcpy(file, h, HEADER);
    fuzz_check(walk_weights(file, whole, "llama2.c"), "a whole checkpoint is refused");
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    walk_weights(data, size, NULL);
    if (size >= SIZES)
        mended(data, size);
    return 0;
}
