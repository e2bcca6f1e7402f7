/* Small archives in Omniglot's form, made in a temporary folder: 2 + 1 characters of 2 drawings, and what an import must
 * expect of them.
 *
 *     fixture f;
 *     fixture_init(&f);
 *     write_archives(&f);                    // f.dir/images_background.zip, f.dir/images_evaluation.zip
 *     ...                                    // f.items may be changed before; f.cache is a folder not made yet
 *     fixture_release(&f);
 */
#ifndef TESTS_OMNIGLOT_FIXTURE_H
#define TESTS_OMNIGLOT_FIXTURE_H

#include "tests/check.h"

#include "experiments/omniglot_cache.h"
#include "experiments/omniglot_import.h"

#include <dirent.h>
#include <sodium.h>
#include <spng.h>
#include <unistd.h>
#include <zip.h>

enum { SIDE = 105, ITEMS = 8 };

/* Two archives before they are written: 2 + 1 characters of 2 drawings. */
typedef struct item {
    char name[128];
    unsigned char *bytes;
    size_t n;
} item;

typedef struct fixture {
    char dir[32], cache[64];
    item items[2][ITEMS];
    int n[2];
    char digest[65];
    xp_omniglot_expect expect;
} fixture;

/* bits: one bit a pixel, rows padded to bytes, as PNG has them */
static inline void make_bits(int number, unsigned char *bits)
{
    for (int i = 0; i < SIDE * 14; i++)
        bits[i] = (unsigned char)(i * i * (number + 3) >> 3);
}

static inline unsigned char *make_png(int width, int height, const unsigned char *bits, size_t *n)
{
    spng_ctx *ctx = spng_ctx_new(SPNG_CTX_ENCODER);
    struct spng_ihdr h = { .width = (uint32_t)width, .height = (uint32_t)height, .bit_depth = 1 };
    int status = 0;
    spng_set_option(ctx, SPNG_ENCODE_TO_BUFFER, 1);
    spng_set_ihdr(ctx, &h);
    status = spng_encode_image(ctx, bits, (size_t)((width + 7) / 8 * height), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
    ck_assert_msg(status == 0, "%s", spng_strerror(status));
    unsigned char *png = spng_get_png_buffer(ctx, n, &status);
    spng_ctx_free(ctx);
    return png;
}

static inline void add_item(fixture *f, int part, const char *name, unsigned char *bytes, size_t n)
{
    item *i = &f->items[part][f->n[part]++];
    snprintf(i->name, sizeof i->name, "%s", name);
    i->bytes = bytes;
    i->n = n;
}

/* Adds to the digest by its definition: name, zero byte, a byte 0 or 1 a pixel. */
static inline void hash_item(crypto_hash_sha256_state *hash, const char *name, const unsigned char *bits)
{
    unsigned char pixels[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++)
        pixels[i] = bits[i / SIDE * 14 + i % SIDE / 8] >> (7 - i % SIDE % 8) & 1;
    crypto_hash_sha256_update(hash, (const unsigned char *)name, strlen(name) + 1);
    crypto_hash_sha256_update(hash, pixels, sizeof pixels);
}

static inline void fixture_init(fixture *f)
{
    static const char *const characters[] = { "images_background/Abc/character01", "images_background/Abc/character02",
                                              "images_evaluation/Xyz/character01" };
    unsigned char digest[32];
    crypto_hash_sha256_state hash;
    crypto_hash_sha256_init(&hash);
    *f = (fixture){ .dir = "omniglot-test-XXXXXX" };
    ck_assert_ptr_nonnull(mkdtemp(f->dir));
    snprintf(f->cache, sizeof f->cache, "%s/deep/cache", f->dir);
    for (int d = 0; d < 6; d++) {
        unsigned char bits[SIDE * 14];
        char name[128];
        size_t n;
        snprintf(name, sizeof name, "%s/%04d_%02d.png", characters[d / 2], d / 2 + 1, d % 2 + 1);
        make_bits(d, bits);
        hash_item(&hash, name, bits);
        unsigned char *png = make_png(SIDE, SIDE, bits, &n);
        add_item(f, d / 4, name, png, n);
    }
    crypto_hash_sha256_final(&hash, digest);
    xp_digest_hex(digest, f->digest);
    f->expect = (xp_omniglot_expect){ .characters = { 2, 1 }, .drawings = 2, .digest = f->digest };
}

static inline void archive_path(const fixture *f, int part, char path[128])
{
    snprintf(path, 128, "%s/images_%s.zip", f->dir, part ? "evaluation" : "background");
}

static inline void write_archives(const fixture *f)
{
    for (int part = 0; part < 2; part++) {
        char path[128];
        archive_path(f, part, path);
        zip_t *z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
        ck_assert_ptr_nonnull(z);
        for (int i = 0; i < f->n[part]; i++) {
            const item *it = &f->items[part][i];
            ck_assert_int_ge(zip_file_add(z, it->name, zip_source_buffer(z, it->bytes, it->n, 0), 0), 0);
        }
        ck_assert_int_eq(zip_close(z), 0);
    }
}

static inline void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char inner[800];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof inner, "%.500s/%s", path, e->d_name);
        if (unlink(inner) != 0)
            remove_tree(inner);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static inline void fixture_release(fixture *f)
{
    for (int part = 0; part < 2; part++)
        for (int i = 0; i < f->n[part]; i++)
            free(f->items[part][i].bytes);
    remove_tree(f->dir);
}

/* A whole file in memory, to be spoilt. */
static inline unsigned char *read_whole(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*n + 1);
    ck_assert_uint_eq(fread(bytes, 1, *n, f), *n);
    fclose(f);
    return bytes;
}

static inline void write_whole(const char *path, const unsigned char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

#endif
