/* Omniglot's archives -> checked -> packed (omniglot_import.h). */
#include "experiments/omniglot_import.h"

#include "experiments/archive.h"
#include "experiments/image_png.h"
#include "experiments/image_resize.h"
#include "experiments/omniglot_cache.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SIDE = 105, ENTRY_MAX = 65536, ENTRIES_MAX = 200000 };
static const char *const parts[2] = { "images_background", "images_evaluation" };

/* One drawing in an archive. */
typedef struct entry {
    const char *name;       /* "alphabet/character/file.png", borrowed from the archive until it is closed */
    int part;
    xp_archive_entry in;
} entry;

typedef struct import {
    const xp_omniglot_expect *expect;
    const char *path[2];
    xp_archive *archive[2];
    entry *entries;
    size_t n, room;
    xp_lanczos filter;
    xp_omniglot_pack pack;
} import;

/* --- finding and opening the archives --- */

const char *xp_omniglot_archive_name(int part)
{
    static const char *const names[2] = { "images_background.zip", "images_evaluation.zip" };
    return names[part];
}

ag_code xp_omniglot_find_archive(const char *dir, int part, char *path, ag_error *err)
{
    static const char *const inside[] = { "", "/omniglot" };
    const char *name = xp_omniglot_archive_name(part);
    for (int i = 0; i < 2; i++) {
        int n = snprintf(path, XP_PATH_MAX, "%s%s/%s", dir, inside[i], name);
        AG_REQUIRE(n > 0 && n < XP_PATH_MAX, err, AG_ECONFIG, "the path %.60s... is longer than %d bytes", dir, XP_PATH_MAX);
        struct stat st;
        if (stat(path, &st) != 0)
            continue;
        AG_REQUIRE(S_ISREG(st.st_mode), err, AG_ECONFIG, "%s: this is no file; expected a zip archive", path);
        return AG_OK;
    }
    return ag_fail(err, AG_ECONFIG, "%s: there is no %s, nor in %s/omniglot; expected the folder that holds "
                   "Omniglot's images_background.zip and images_evaluation.zip", dir, name, dir);
}

/* --- listing the drawings --- */

/* Folders, other files and what macOS adds when it zips are no drawings. */
static bool is_drawing(const char *name)
{
    const char *slash = strrchr(name, '/'), *file = slash ? slash + 1 : name;
    size_t n = strlen(file);
    return n > 4 && strcmp(file + n - 4, ".png") == 0 && file[0] != '.' && strncmp(name, "__MACOSX/", 9) != 0;
}

/* "./" and the part's folder cut off; NULL when what is left is not alphabet/character/file. */
static const char *inner_name(const char *name, int part)
{
    size_t n = strlen(parts[part]);
    while (strncmp(name, "./", 2) == 0)
        name += 2;
    if (strncmp(name, parts[part], n) == 0 && name[n] == '/')
        name += n + 1;
    const char *first = strchr(name, '/'), *second = first ? strchr(first + 1, '/') : NULL;
    return second && first > name && second > first + 1 && !strchr(second + 1, '/') ? name : NULL;
}

static ag_code list_entry(import *m, int part, int64_t index, ag_error *err)
{
    xp_archive_entry e;
    const char *path = m->path[part];
    AG_TRY(err, xp_archive_entry_at(m->archive[part], index, &e, err));
    AG_REQUIRE(e.size <= ENTRY_MAX, err, AG_EDATA,
               "%s: refused: the entry '%s' declares %lld bytes unpacked; expected at most %d", path, e.name, (long long)e.size,
               ENTRY_MAX);
    if (!is_drawing(e.name))
        return AG_OK;
    const char *inner = inner_name(e.name, part);
    AG_REQUIRE(inner, err, AG_EDATA, "%s: the picture '%s' is out of place; expected %s/ALPHABET/CHARACTER/FILE.png", path,
               e.name, parts[part]);
    m->entries[m->n++] = (entry){ .name = inner, .part = part, .in = e };
    return AG_OK;
}

static int by_name(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return x->part != y->part ? x->part - y->part : strcmp(x->name, y->name);
}

static ag_code list_drawings(import *m, ag_error *err)
{
    for (int part = 0; part < 2; part++) {
        int64_t n = xp_archive_count(m->archive[part]);
        AG_REQUIRE(n <= ENTRIES_MAX, err, AG_EDATA, "%s: refused: %lld entries; expected at most %d", m->path[part],
                   (long long)n, ENTRIES_MAX);
        m->room += (size_t)n;
    }
    m->entries = ag_alloc(m->room * sizeof *m->entries);
    AG_REQUIRE(m->entries, err, AG_ENOMEM, "omniglot: out of memory for %zu names", m->room);
    for (int part = 0; part < 2; part++)
        for (int64_t i = 0; i < xp_archive_count(m->archive[part]); i++)
            AG_TRY(err, list_entry(m, part, i, err));
    qsort(m->entries, m->n, sizeof *m->entries, by_name);
    for (size_t i = 1; i < m->n; i++)
        AG_REQUIRE(by_name(&m->entries[i - 1], &m->entries[i]) != 0, err, AG_EDATA,
                   "%s: refused: the entry '%s' is there twice", m->path[m->entries[i].part], m->entries[i].name);
    return AG_OK;
}

/* --- counting --- */

static int character_length(const entry *e)
{
    return (int)(strrchr(e->name, '/') - e->name);
}

static bool same_character(const entry *a, const entry *b)
{
    int n = character_length(a);
    return a->part == b->part && n == character_length(b) && strncmp(a->name, b->name, (size_t)n) == 0;
}

/* Number of drawings of the character that begins at entry i of the sorted list. */
static size_t run_length(const import *m, size_t i)
{
    size_t end = i + 1;
    while (end < m->n && same_character(&m->entries[i], &m->entries[end]))
        end++;
    return end - i;
}

static ag_code check_counts(const import *m, ag_error *err)
{
    int characters[2] = { 0, 0 }, off = 0, want = m->expect->drawings;
    size_t first_off = 0;
    for (size_t i = 0, run; i < m->n; i += run) {
        run = run_length(m, i);
        characters[m->entries[i].part]++;
        if (run != (size_t)want && off++ == 0)
            first_off = i;
    }
    for (int part = 0; part < 2; part++)
        AG_REQUIRE(characters[part] == m->expect->characters[part], err, AG_EDATA,
                   "%s: %d characters; expected %d (is a part of the archive missing?)", m->path[part], characters[part],
                   m->expect->characters[part]);
    if (off) {
        const entry *e = &m->entries[first_off];
        return ag_fail(err, AG_EDATA, "%s: the character %.*s has %zu drawings; expected %d (%d such characters in all)",
                       m->path[e->part], character_length(e), e->name, run_length(m, first_off), want, off);
    }
    return AG_OK;
}

/* --- reading --- */

static void hash_drawing(crypto_hash_sha256_state *hash, const entry *e, const uint8_t *picture)
{
    uint8_t bits[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++)
        bits[i] = picture[i] != 0;
    crypto_hash_sha256_update(hash, (const unsigned char *)parts[e->part], strlen(parts[e->part]));
    crypto_hash_sha256_update(hash, (const unsigned char *)"/", 1);
    crypto_hash_sha256_update(hash, (const unsigned char *)e->name, strlen(e->name) + 1);
    crypto_hash_sha256_update(hash, bits, sizeof bits);
}

static ag_code read_drawings(import *m, unsigned char *bytes, ag_error *err)
{
    char where[XP_PATH_MAX + XP_ARCHIVE_NAME_MAX + 4];
    uint8_t picture[SIDE * SIDE], scratch[SIDE * XP_OMNIGLOT_SIDE];
    crypto_hash_sha256_state hash;
    crypto_hash_sha256_init(&hash);
    for (size_t i = 0; i < m->n; i++) {
        const entry *e = &m->entries[i];
        AG_TRY(err, xp_archive_read(m->archive[e->part], &e->in, bytes, err));
        snprintf(where, sizeof where, "%s: %s", m->path[e->part], e->name);
        AG_TRY(err, xp_png_read_bilevel(bytes, (size_t)e->in.size, SIDE, SIDE, picture, where, err));
        hash_drawing(&hash, e, picture);
        xp_lanczos_apply(&m->filter, &m->filter, picture, scratch, m->pack.pixels + i * XP_OMNIGLOT_PIXELS);
    }
    crypto_hash_sha256_final(&hash, m->pack.source);
    return AG_OK;
}

static ag_code pack_drawings(import *m, ag_error *err)
{
    char hex[65];
    m->pack.n_drawing = m->expect->drawings;
    m->pack.n_character = m->expect->characters[0] + m->expect->characters[1];
    AG_TRY(err, xp_lanczos_init(&m->filter, SIDE, XP_OMNIGLOT_SIDE, err));
    m->pack.pixels = ag_alloc(m->n * XP_OMNIGLOT_PIXELS);
    unsigned char *bytes = ag_alloc(ENTRY_MAX + 1);
    ag_code code = m->pack.pixels && bytes ? read_drawings(m, bytes, err)
                   : ag_fail(err, AG_ENOMEM, "omniglot: out of memory for %zu drawings", m->n);
    ag_free(bytes);
    if (code != AG_OK)
        return ag_trail(err, code, __func__);
    xp_digest_hex(m->pack.source, hex);
    AG_REQUIRE(strcmp(hex, m->expect->digest) == 0, err, AG_EDATA,
               "%s and %s.zip: names and counts are right, but not these pictures or file names: digest %s; expected %s",
               m->path[0], parts[1], hex, m->expect->digest);
    return AG_OK;
}

static ag_code run_import(import *m, const char *cache, ag_error *err)
{
    for (int part = 0; part < 2; part++)
        AG_TRY(err, xp_archive_open(&m->archive[part], m->path[part], err));
    AG_TRY(err, list_drawings(m, err));
    AG_TRY(err, check_counts(m, err));
    AG_TRY(err, pack_drawings(m, err));
    if (cache)
        AG_TRY(err, xp_omniglot_cache_write(&m->pack, cache, err));
    return AG_OK;
}

static void release_import(import *m)
{
    for (int part = 0; part < 2; part++)
        xp_archive_close(m->archive[part]);
    ag_free(m->entries);
    xp_lanczos_release(&m->filter);
    xp_omniglot_pack_release(&m->pack);
    ag_free(m);
}

ag_code xp_omniglot_import_files(const xp_omniglot_expect *expect, const char *const archives[2], const char *cache_file,
                                 char *report, size_t n, ag_error *err)
{
    import *m = ag_alloc_zero(sizeof *m);
    AG_REQUIRE(m, err, AG_ENOMEM, "omniglot: out of memory (%zu bytes)", sizeof *m);
    m->expect = expect;
    m->path[0] = archives[0];
    m->path[1] = archives[1];
    ag_code code = run_import(m, cache_file, err);
    if (code == AG_OK && report)
        snprintf(report, n, "omniglot: %lld characters x %lld drawings verified (digest %s)%s%s", (long long)m->pack.n_character,
                 (long long)m->pack.n_drawing, expect->digest, cache_file ? ", packed into " : "", cache_file ? cache_file : "");
    release_import(m);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}

ag_code xp_omniglot_import_expecting(const xp_omniglot_expect *expect, const char *dir, const char *cache_dir,
                                     char *report, size_t n, ag_error *err)
{
    char cache[XP_PATH_MAX], archives[2][XP_PATH_MAX];
    AG_REQUIRE(expect && dir, err, AG_EINVAL, "xp_omniglot_import: dir is NULL");
    AG_TRY(err, xp_omniglot_cache_path(cache_dir, cache, err));
    for (int part = 0; part < 2; part++)
        AG_TRY(err, xp_omniglot_find_archive(dir, part, archives[part], err));
    AG_TRY(err, xp_omniglot_import_files(expect, (const char *const[]){ archives[0], archives[1] }, cache, report, n, err));
    return AG_OK;
}

const xp_omniglot_expect xp_omniglot_published = { .characters = { 964, 659 }, .drawings = 20, .digest = XP_OMNIGLOT_DIGEST };

ag_code xp_omniglot_import(const char *dir, const char *cache_dir, char *report, size_t n, ag_error *err)
{
    AG_TRY(err, xp_omniglot_import_expecting(&xp_omniglot_published, dir, cache_dir, report, n, err));
    return AG_OK;
}
