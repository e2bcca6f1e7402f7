/* The packed Omniglot's file (omniglot_cache.h). */
#include "experiments/omniglot_cache.h"

#include "experiments/replace_file.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, HEADER = 128, MAGIC = 16, MAX_CHARACTERS = 100000, MAX_DRAWINGS = 1000 };
static const char magic[] = "METALORA-OMNI28\n";   /* MAGIC bytes and the NUL */

ag_code xp_omniglot_cache_path(const char *cache_dir, char *path, ag_error *err)
{
    AG_TRY(err, xp_cache_path(cache_dir, "omniglot-28x28.bin", path, err));
    return AG_OK;
}

ag_code xp_omniglot_data_dir(const char *data_dir, const char *cache_dir, char *dir, ag_error *err)
{
    const char *named = data_dir ? data_dir : getenv("METALORA_DATA");
    if (named && *named) {
        int n = snprintf(dir, XP_PATH_MAX, "%s", named);
        AG_REQUIRE(n < XP_PATH_MAX, err, AG_ECONFIG, "the path %.60s... is longer than %d bytes", named, XP_PATH_MAX);
        return AG_OK;
    }
    AG_TRY(err, xp_omniglot_cache_path(cache_dir, dir, err));
    *strrchr(dir, '/') = '\0';
    return AG_OK;
}

static size_t pixel_bytes(const xp_omniglot_pack *p)
{
    return (size_t)(p->n_character * p->n_drawing) * XP_OMNIGLOT_PIXELS;
}

static void put32(unsigned char *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(v >> (8 * i));
}

static uint32_t get32(const unsigned char *from)
{
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static void encode_header(const xp_omniglot_pack *p, unsigned char *h)
{
    memset(h, 0, HEADER);
    memcpy(h, magic, MAGIC);
    put32(h + 16, VERSION);
    put32(h + 20, (uint32_t)p->n_character);
    put32(h + 24, (uint32_t)p->n_drawing);
    put32(h + 28, XP_OMNIGLOT_SIDE);
    memcpy(h + 32, p->source, 32);
    crypto_hash_sha256(h + 64, p->pixels, pixel_bytes(p));
}

static ag_code decode_header(xp_omniglot_pack *p, const unsigned char *h, const char *path, const char *source_hex,
                             ag_error *err)
{
    char hex[65];
    AG_REQUIRE(memcmp(h, magic, MAGIC) == 0, err, AG_EDATA, "%s: not a packed Omniglot", path);
    AG_REQUIRE(get32(h + 16) == VERSION && get32(h + 28) == XP_OMNIGLOT_SIDE, err, AG_EDATA,
               "%s: packed by another version (%u, pictures of %u pixels); expected %d and %d", path, get32(h + 16),
               get32(h + 28), VERSION, XP_OMNIGLOT_SIDE);
    *p = (xp_omniglot_pack){ .n_character = get32(h + 20), .n_drawing = get32(h + 24) };
    AG_REQUIRE(p->n_character >= 1 && p->n_character <= MAX_CHARACTERS && p->n_drawing >= 1 && p->n_drawing <= MAX_DRAWINGS,
               err, AG_EDATA, "%s: the header is damaged: %lld characters x %lld drawings", path,
               (long long)p->n_character, (long long)p->n_drawing);
    memcpy(p->source, h + 32, 32);
    xp_digest_hex(p->source, hex);
    AG_REQUIRE(strcmp(hex, source_hex) == 0, err, AG_EDATA, "%s: packed from other data: digest %s; expected %s", path,
               hex, source_hex);
    return AG_OK;
}

static ag_code write_pack(const xp_omniglot_pack *p, const char *name, ag_error *err)
{
    unsigned char header[HEADER];
    encode_header(p, header);
    FILE *f = fopen(name, "wb");
    AG_REQUIRE(f, err, AG_EIO, "%s: cannot be written: %s", name, strerror(errno));
    bool good = fwrite(header, 1, HEADER, f) == HEADER && fwrite(p->pixels, 1, pixel_bytes(p), f) == pixel_bytes(p);
    int why = errno;
    if (fclose(f) != 0 && good) {
        good = false;
        why = errno;
    }
    AG_REQUIRE(good, err, AG_EIO, "%s: cannot write the packed Omniglot (%zu bytes): %s", name, HEADER + pixel_bytes(p),
               strerror(why));
    return AG_OK;
}

ag_code xp_omniglot_cache_write(const xp_omniglot_pack *p, const char *path, ag_error *err)
{
    static const char what[] = "packed Omniglot";
    char *aside = NULL;
    AG_TRY(err, xp_make_folder_of(path, err));
    AG_TRY(err, xp_aside_create(what, path, &aside, err));
    ag_code code = write_pack(p, aside, err);
    if (code == AG_OK)
        code = xp_aside_rename(what, aside, path, err);
    if (code != AG_OK)
        unlink(aside);
    ag_free(aside);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}

static ag_code read_pixels(xp_omniglot_pack *p, FILE *f, const unsigned char *header, const char *path, ag_error *err)
{
    struct stat st;
    size_t n = pixel_bytes(p);
    AG_REQUIRE(fstat(fileno(f), &st) == 0, err, AG_EIO, "%s: %s", path, strerror(errno));
    AG_REQUIRE((uint64_t)st.st_size == HEADER + n, err, AG_EDATA,
               "%s: the file has %lld bytes; expected %zu (it was cut short or changed)", path, (long long)st.st_size,
               HEADER + n);
    p->pixels = ag_alloc(n);
    AG_REQUIRE(p->pixels, err, AG_ENOMEM, "%s: out of memory (%zu bytes)", path, n);
    AG_REQUIRE(fread(p->pixels, 1, n, f) == n, err, AG_EIO, "%s: cannot read %zu bytes of pixels", path, n);
    unsigned char digest[32];
    char found[65], expected[65];
    crypto_hash_sha256(digest, p->pixels, n);
    xp_digest_hex(digest, found);
    xp_digest_hex(header + 64, expected);
    AG_REQUIRE(memcmp(digest, header + 64, 32) == 0, err, AG_EDATA,
               "%s: the pixels are damaged: digest %s; the header says %s", path, found, expected);
    return AG_OK;
}

ag_code xp_omniglot_cache_read(xp_omniglot_pack *p, const char *path, const char *source_hex, ag_error *err)
{
    unsigned char header[HEADER];
    *p = (xp_omniglot_pack){ 0 };
    FILE *f = fopen(path, "rb");
    AG_REQUIRE(f, err, AG_EIO, "%s: %s", path, strerror(errno));
    ag_code code;
    if (fread(header, 1, HEADER, f) != HEADER)
        code = ag_fail(err, ferror(f) ? AG_EIO : AG_EDATA, "%s: %s", path,
                       ferror(f) ? "cannot be read" : "cut short: it has not even a header");
    else
        code = decode_header(p, header, path, source_hex, err);
    if (code == AG_OK)
        code = read_pixels(p, f, header, path, err);
    fclose(f);
    if (code != AG_OK)
        xp_omniglot_pack_release(p);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}

void xp_omniglot_pack_release(xp_omniglot_pack *p)
{
    ag_free(p->pixels);
    *p = (xp_omniglot_pack){ 0 };
}
