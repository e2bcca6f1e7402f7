/* PNG by libspng (image_png.h). */
#include "experiments/image_png.h"

#include <spng.h>

/* libspng's limits: a drawing needs neither big chunks nor a picture larger than asked for. */
enum { CHUNK_MAX = 1 << 20 };

static ag_code check_header(spng_ctx *ctx, int width, int height, const char *where, ag_error *err)
{
    struct spng_ihdr h;
    int status = spng_get_ihdr(ctx, &h);
    AG_REQUIRE(status == 0, err, AG_EDATA, "%s: not a PNG picture: %s", where, spng_strerror(status));
    AG_REQUIRE(h.width == (uint32_t)width && h.height == (uint32_t)height, err, AG_EDATA,
               "%s: the picture is %u x %u pixels; expected %d x %d", where, h.width, h.height, width, height);
    AG_REQUIRE(h.bit_depth == 1 && h.color_type == SPNG_COLOR_TYPE_GRAYSCALE, err, AG_EDATA,
               "%s: the picture has %u bits a channel and PNG colour type %u; expected 1 bit grey (colour type 0)",
               where, h.bit_depth, h.color_type);
    return AG_OK;
}

static ag_code decode(spng_ctx *ctx, const void *png, size_t n, int width, int height, uint8_t *pixels,
                      const char *where, ag_error *err)
{
    size_t size = 0, expected = (size_t)width * (size_t)height;
    spng_set_chunk_limits(ctx, CHUNK_MAX, CHUNK_MAX);
    int status = spng_set_png_buffer(ctx, png, n);
    AG_REQUIRE(status == 0, err, AG_EDATA, "%s: not a PNG picture: %s", where, spng_strerror(status));
    AG_TRY(err, check_header(ctx, width, height, where, err));
    status = spng_decoded_image_size(ctx, SPNG_FMT_G8, &size);
    if (status == 0 && size == expected)
        status = spng_decode_image(ctx, pixels, expected, SPNG_FMT_G8, 0);
    AG_REQUIRE(status == 0 && size == expected, err, status == SPNG_EMEM ? AG_ENOMEM : AG_EDATA,
               "%s: damaged PNG picture: %s", where, status ? spng_strerror(status) : "wrong decoded size");
    return AG_OK;
}

ag_code xp_png_read_bilevel(const void *png, size_t n, int width, int height, uint8_t *pixels, const char *where,
                            ag_error *err)
{
    spng_ctx *ctx = spng_ctx_new(0);
    AG_REQUIRE(ctx, err, AG_ENOMEM, "%s: out of memory for the PNG reader", where);
    ag_code code = decode(ctx, png, n, width, height, pixels, where, err);
    spng_ctx_free(ctx);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}

const char *xp_png_version(void)
{
    return spng_version_string();
}
