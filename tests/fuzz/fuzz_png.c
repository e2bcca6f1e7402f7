/* PNG pictures, as they are and with every checksum made right, so that what lies behind the checksums is reached. */
#include "experiments/image_png.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { SIDE = 105, GUARD = 64, HEADER = 8, CHUNK = 12 };   /* a chunk: length, kind, data, checksum */

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* ISO 3309, as PNG has it */
static uint32_t crc32(const uint8_t *p, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    return ~crc;
}

static void mend_checksums(uint8_t *png, size_t n)
{
    for (size_t at = HEADER; n >= CHUNK && at <= n - CHUNK;) {
        const size_t length = get32(png + at);
        if (length > n - at - CHUNK)
            return;
        uint32_t crc = crc32(png + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            png[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += CHUNK + length;
    }
}

static void decode(const uint8_t *png, size_t size)
{
    uint8_t pixels[SIDE * SIDE + GUARD];
    ag_error err = { 0 };
    memset(pixels, 7, sizeof pixels);
    if (fuzz_answer(xp_png_read_bilevel(png, size, SIDE, SIDE, pixels, "fuzz.png", &err), &err))
        for (size_t i = 0; i < SIDE * SIDE; i++)
            fuzz_check(pixels[i] == 0 || pixels[i] == 255, "pixel %zu is %d", i, pixels[i]);
    for (size_t i = SIDE * SIDE; i < sizeof pixels; i++)
        fuzz_check(pixels[i] == 7, "byte %zu behind the picture was written", i - SIDE * SIDE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(data, size);
    uint8_t *mended = (uint8_t *)fuzz_string(data, size);
    mend_checksums(mended, size);
    decode(mended, size);
    free(mended);
    return 0;
}
