/* Zip archives by libzip (archive.h). */
#include "experiments/archive.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

enum { BLOCK = 1 << 16 };

struct xp_archive {
    zip_t *zip;
    char path[];
};

/* libzip's reason, as ours */
static ag_code open_code(int status)
{
    switch (status) {
    case ZIP_ER_MEMORY: return AG_ENOMEM;
    case ZIP_ER_OPEN:
    case ZIP_ER_READ:
    case ZIP_ER_SEEK: return AG_EIO;
    default: return AG_EDATA;
    }
}

static ag_code refuse_open(const char *path, int status, ag_error *err)
{
    zip_error_t why;
    zip_error_init_with_code(&why, status);
    ag_code code = ag_fail(err, open_code(status), "%s: cannot be opened as a zip archive: %s", path, zip_error_strerror(&why));
    zip_error_fini(&why);
    return code;
}

ag_code xp_archive_open(xp_archive **archive, const char *path, ag_error *err)
{
    int status = 0;
    size_t n = strlen(path) + 1;
    *archive = NULL;
    xp_archive *a = ag_alloc(sizeof *a + n);
    AG_REQUIRE(a, err, AG_ENOMEM, "%s: out of memory (%zu bytes)", path, sizeof *a + n);
    memcpy(a->path, path, n);
    a->zip = zip_open(path, ZIP_RDONLY, &status);
    if (!a->zip) {
        ag_free(a);
        return refuse_open(path, status, err);
    }
    *archive = a;
    return AG_OK;
}

void xp_archive_close(xp_archive *a)
{
    if (!a)
        return;
    zip_discard(a->zip);
    ag_free(a);
}

int64_t xp_archive_count(const xp_archive *a)
{
    return zip_get_num_entries(a->zip, 0);
}

/* No entry may point outside the archive's own tree, even though none is ever opened by its name. */
static ag_code check_name(const char *name, const char *path, ag_error *err)
{
    AG_REQUIRE(strlen(name) <= XP_ARCHIVE_NAME_MAX, err, AG_EDATA, "%s: an entry's name has %zu bytes; expected at most %d: %.40s...",
               path, strlen(name), XP_ARCHIVE_NAME_MAX, name);
    AG_REQUIRE(name[0] != '/' && !strchr(name, '\\') && !strchr(name, ':'), err, AG_EDATA,
               "%s: refused: the entry '%s' has an absolute or foreign path", path, name);
    for (const char *p = name; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        AG_REQUIRE(strncmp(p, "..", 2) != 0 || (p[2] != '/' && p[2] != '\0'), err, AG_EDATA,
                   "%s: refused: the entry '%s' climbs out of its folder by '..'", path, name);
    return AG_OK;
}

ag_code xp_archive_entry_at(const xp_archive *a, int64_t i, xp_archive_entry *e, ag_error *err)
{
    const char *name = zip_get_name(a->zip, (zip_uint64_t)i, 0);
    zip_stat_t st;
    AG_REQUIRE(name && zip_stat_index(a->zip, (zip_uint64_t)i, 0, &st) == 0 && (st.valid & ZIP_STAT_SIZE) && st.size <= INT64_MAX,
               err, AG_EDATA, "%s: entry %lld cannot be read: %s", a->path, (long long)i, zip_strerror(a->zip));
    AG_TRY(err, check_name(name, a->path, err));
    *e = (xp_archive_entry){ .name = name, .index = i, .size = (int64_t)st.size };
    return AG_OK;
}

ag_code xp_archive_find(const xp_archive *a, const char *name, xp_archive_entry *e, ag_error *err)
{
    zip_int64_t i = zip_name_locate(a->zip, name, 0);
    AG_REQUIRE(i >= 0, err, AG_EDATA, "%s: there is no entry '%s'", a->path, name);
    AG_TRY(err, xp_archive_entry_at(a, i, e, err));
    return AG_OK;
}

static ag_code open_entry(const xp_archive *a, const xp_archive_entry *e, zip_file_t **f, ag_error *err)
{
    *f = zip_fopen_index(a->zip, (zip_uint64_t)e->index, 0);
    AG_REQUIRE(*f, err, AG_EDATA, "%s: the entry '%s' cannot be opened: %s", a->path, e->name, zip_strerror(a->zip));
    return AG_OK;
}

ag_code xp_archive_read(const xp_archive *a, const xp_archive_entry *e, unsigned char *bytes, ag_error *err)
{
    zip_file_t *f;
    AG_TRY(err, open_entry(a, e, &f, err));
    /* One byte more than declared: the reader must come to the end, where it compares the checksum. What came before a
     * wrong one is returned as if all were well; only the next read fails. */
    unsigned char beyond;
    zip_int64_t got = zip_fread(f, bytes, (zip_uint64_t)e->size + 1);
    ag_code code = AG_OK;
    if (got < 0 || (got == e->size && zip_fread(f, &beyond, 1) < 0))
        code = ag_fail(err, AG_EDATA, "%s: the entry '%s' is damaged: %s", a->path, e->name, zip_file_strerror(f));
    else if (got != e->size)
        code = ag_fail(err, AG_EDATA, "%s: the entry '%s' is damaged: %lld bytes; %lld were declared", a->path, e->name,
                       (long long)got, (long long)e->size);
    zip_fclose(f);
    return code;
}

/* Block by block; reads on to the end, where the checksum is compared, but never writes more than was declared. */
static ag_code pour(const xp_archive *a, const xp_archive_entry *e, zip_file_t *f, FILE *to, const char *path, unsigned char *block,
                    char *hex, ag_error *err)
{
    unsigned char digest[32];
    zip_int64_t got, done = 0;
    crypto_hash_sha256_state hash;
    crypto_hash_sha256_init(&hash);
    while ((got = zip_fread(f, block, BLOCK)) > 0 && (done += got) <= e->size) {
        crypto_hash_sha256_update(&hash, block, (size_t)got);
        AG_REQUIRE(fwrite(block, 1, (size_t)got, to) == (size_t)got, err, AG_EIO, "%s: cannot be written: %s", path, strerror(errno));
    }
    AG_REQUIRE(got >= 0, err, AG_EDATA, "%s: the entry '%s' is damaged: %s", a->path, e->name, zip_file_strerror(f));
    AG_REQUIRE(done == e->size, err, AG_EDATA, "%s: the entry '%s' is damaged: it has not the %lld bytes declared", a->path, e->name,
               (long long)e->size);
    AG_REQUIRE(fflush(to) == 0 && fsync(fileno(to)) == 0, err, AG_EIO, "%s: cannot be written: %s", path, strerror(errno));
    crypto_hash_sha256_final(&hash, digest);
    xp_digest_hex(digest, hex);
    return AG_OK;
}

static ag_code unpack_to(const xp_archive *a, const xp_archive_entry *e, FILE *to, const char *path, char *hex, ag_error *err)
{
    zip_file_t *f;
    AG_TRY(err, open_entry(a, e, &f, err));
    unsigned char *block = ag_alloc(BLOCK);
    ag_code code = block ? pour(a, e, f, to, path, block, hex, err)
                   : ag_fail(err, AG_ENOMEM, "%s: out of memory (%d bytes)", a->path, BLOCK);
    ag_free(block);
    zip_fclose(f);
    return code;
}

ag_code xp_archive_unpack(const xp_archive *a, const xp_archive_entry *e, const char *path, char hex[XP_DIGEST_HEX], ag_error *err)
{
    FILE *to = fopen(path, "wbxe");
    AG_REQUIRE(to, err, AG_EIO, "%s: cannot be written: %s", path, strerror(errno));
    ag_code code = unpack_to(a, e, to, path, hex, err);
    if (fclose(to) != 0 && code == AG_OK)
        code = ag_fail(err, AG_EIO, "%s: cannot be written: %s", path, strerror(errno));
    return ag_trail(err, code, __func__);
}

const char *xp_zip_version(void)
{
    return zip_libzip_version();
}
