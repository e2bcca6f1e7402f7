/* Checkpoints (checkpoint.h). The file, in the machine's byte order:
 *
 *     header   [128 bytes]
 *     entries  name_length u64, data_length u64, name, zeros up to 64 bytes, data, zeros up to 64 bytes
 *     digest   SHA-256 of all before it [32 bytes]
 *
 * The header tells the file's length, so that a truncated file is told from an edited one. */
#include "experiments/checkpoint.h"

#include "experiments/replace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT = 1, ALIGN = 64, DIGEST = sizeof(xp_sha256), MAX_NAME = 255, MAX_ENTRIES = 1 << 20 };
static const char MAGIC[8] = "\x89MLCKPT\n";
static const uint64_t BYTE_ORDER_MARK = UINT64_C(0x0102030405060708);

typedef struct header {
    char magic[8];
    uint64_t byte_order;
    uint32_t format, n_entry;
    uint64_t length;             /* of the file, with the digest */
    xp_sha256 config;
    char version[32];            /* of metalora; zeros behind */
    char reserved[32];
} header;
_Static_assert(sizeof(header) == 2 * ALIGN, "the header keeps data aligned");

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

ag_code xp_sha256_text(xp_sha256 *digest, const char *text, ag_error *err)
{
    AG_REQUIRE(digest && text, err, AG_EINVAL, "xp_sha256_text: digest or text is NULL");
    AG_REQUIRE(sodium_init() >= 0, err, AG_EIO, "libsodium does not start");
    crypto_hash_sha256(digest->bytes, (const unsigned char *)text, strlen(text));
    return AG_OK;
}

/* ---- save ---- */

typedef struct writer {
    int fd, error;               /* errno of the first failed write */
    crypto_hash_sha256_state sha;
} writer;

static void write_raw(writer *w, const void *data, size_t n)
{
    const char *at = data;
    while (n > 0 && w->error == 0) {
        ssize_t done = write(w->fd, at, n < 1 << 30 ? n : 1 << 30);
        if (done < 0 && errno != EINTR)
            w->error = errno;
        if (done > 0) {
            at += done;
            n -= (size_t)done;
        }
    }
}

static void write_hashed(writer *w, const void *data, size_t n)
{
    if (n == 0)
        return;
    crypto_hash_sha256_update(&w->sha, data, n);
    write_raw(w, data, n);
}

static void write_padding(writer *w, size_t written)
{
    static const char zeros[ALIGN];
    write_hashed(w, zeros, aligned(written) - written);
}

static void write_entry(writer *w, const xp_checkpoint_entry *e)
{
    const uint64_t lengths[2] = { strlen(e->name), e->bytes };
    write_hashed(w, lengths, sizeof lengths);
    write_hashed(w, e->name, lengths[0]);
    write_padding(w, sizeof lengths + lengths[0]);
    write_hashed(w, e->data, e->bytes);
    write_padding(w, e->bytes);
}

static ag_code check_entries(int n, const xp_checkpoint_entry *entries, uint64_t *length, ag_error *err)
{
    *length = sizeof(header) + DIGEST;
    AG_REQUIRE(n >= 0 && n <= MAX_ENTRIES && (entries || n == 0), err, AG_EINVAL, "checkpoint: %d entries", n);
    for (int i = 0; i < n; i++) {
        const xp_checkpoint_entry *e = &entries[i];
        size_t name = e->name ? strlen(e->name) : 0;
        AG_REQUIRE(name > 0 && name <= MAX_NAME, err, AG_EINVAL, "checkpoint: entry %d has a name of %zu bytes; expected 1 to %d",
                   i, name, MAX_NAME);
        AG_REQUIRE(e->data || e->bytes == 0, err, AG_EINVAL, "checkpoint: '%s' has no data", e->name);
        for (int j = 0; j < i; j++)
            AG_REQUIRE(strcmp(entries[j].name, e->name) != 0, err, AG_EINVAL, "checkpoint: '%s' is there twice", e->name);
        AG_REQUIRE(e->bytes < SIZE_MAX / 4, err, AG_EINVAL, "checkpoint: '%s' has %zu bytes", e->name, e->bytes);
        *length += aligned(2 * sizeof(uint64_t) + name) + aligned(e->bytes);
    }
    return AG_OK;
}

static header make_header(const xp_sha256 *config, int n, uint64_t length)
{
    header h = { .byte_order = BYTE_ORDER_MARK, .format = FORMAT, .n_entry = (uint32_t)n, .length = length,
                 .config = *config, .version = METALORA_VERSION };
    memcpy(h.magic, MAGIC, sizeof h.magic);
    return h;
}

static ag_code write_file(const char *aside, const char *path, const header *h, const xp_checkpoint_entry *entries,
                          ag_error *err)
{
    unsigned char digest[DIGEST];
    writer w = { .fd = open(aside, O_WRONLY | O_TRUNC | O_CLOEXEC) };
    AG_REQUIRE(w.fd >= 0, err, AG_EIO, "checkpoint '%s': cannot open '%s': %s", path, aside, strerror(errno));
    crypto_hash_sha256_init(&w.sha);
    write_hashed(&w, h, sizeof *h);
    for (uint32_t i = 0; i < h->n_entry; i++)
        write_entry(&w, &entries[i]);
    crypto_hash_sha256_final(&w.sha, digest);
    write_raw(&w, digest, sizeof digest);
    if (close(w.fd) != 0 && w.error == 0)
        w.error = errno;
    AG_REQUIRE(w.error == 0, err, AG_EIO, "checkpoint '%s': cannot write: %s", path, strerror(w.error));
    return AG_OK;
}

ag_code xp_checkpoint_save(const char *path, const xp_sha256 *config, int n, const xp_checkpoint_entry *entries,
                           ag_error *err)
{
    uint64_t length;
    char *aside;
    AG_REQUIRE(path && config, err, AG_EINVAL, "xp_checkpoint_save: path or config is NULL");
    AG_REQUIRE(sodium_init() >= 0, err, AG_EIO, "libsodium does not start");
    AG_TRY(err, check_entries(n, entries, &length, err));
    AG_TRY(err, xp_aside_create("checkpoint", path, &aside, err));
    const header h = make_header(config, n, length);
    ag_code code = write_file(aside, path, &h, entries, err);
    if (code == AG_OK)
        code = xp_aside_rename("checkpoint", aside, path, err);
    if (code != AG_OK)
        unlink(aside);
    ag_free(aside);
    return code == AG_OK ? code : ag_trail(err, code, __func__);
}

/* ---- load ---- */

static ag_code read_all(int fd, const char *path, void *memory, size_t n, ag_error *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = read(fd, (char *)memory + done, n - done);
        if (got < 0 && errno == EINTR)
            continue;
        AG_REQUIRE(got >= 0, err, AG_EIO, "checkpoint '%s': cannot read: %s", path, strerror(errno));
        AG_REQUIRE(got > 0, err, AG_EDATA, "checkpoint '%s' was truncated while it was read", path);
        done += (size_t)got;
    }
    return AG_OK;
}

/* Everything the header can tell, the cheapest and most telling reason first. */
static ag_code check_header(const header *h, const char *path, uint64_t length, ag_error *err)
{
    AG_REQUIRE(memcmp(h->magic, MAGIC, sizeof h->magic) == 0, err, AG_EDATA, "'%s' is not a checkpoint of metalora", path);
    AG_REQUIRE(h->byte_order == BYTE_ORDER_MARK, err, AG_EDATA,
               "checkpoint '%s' was written on a machine of another byte order", path);
    AG_REQUIRE(h->format == FORMAT, err, AG_ECONFIG, "checkpoint '%s' has format %u; this version of metalora reads %d",
               path, (unsigned)h->format, FORMAT);
    AG_REQUIRE(length >= h->length, err, AG_EDATA, "checkpoint '%s' is truncated: %llu of %llu bytes", path,
               (unsigned long long)length, (unsigned long long)h->length);
    AG_REQUIRE(length == h->length, err, AG_EDATA, "checkpoint '%s' was edited: %llu bytes follow its end", path,
               (unsigned long long)(length - h->length));
    return AG_OK;
}

/* Only asked of a file whose digest is right, so that the answer can be believed. */
static ag_code check_origin(const header *h, const char *path, const xp_sha256 *config, ag_error *err)
{
    AG_REQUIRE(memchr(h->version, '\0', sizeof h->version), err, AG_EDATA, "checkpoint '%s' has a damaged version", path);
    AG_REQUIRE(strcmp(h->version, METALORA_VERSION) == 0, err, AG_ECONFIG,
               "checkpoint '%s' was written by metalora %s, this is %s: the run would not end with the same bits", path,
               h->version, METALORA_VERSION);
    AG_REQUIRE(!config || memcmp(config, &h->config, sizeof *config) == 0, err, AG_ECONFIG,
               "checkpoint '%s' belongs to another configuration: resume with the one it was made with", path);
    return AG_OK;
}

static ag_code check_digest(const unsigned char *file, const char *path, size_t length, ag_error *err)
{
    unsigned char digest[DIGEST];
    AG_REQUIRE(length >= sizeof(header) + DIGEST, err, AG_EDATA, "checkpoint '%s' is truncated: %zu bytes", path, length);
    crypto_hash_sha256(digest, file, length - DIGEST);
    AG_REQUIRE(memcmp(digest, file + length - DIGEST, DIGEST) == 0, err, AG_EDATA,
               "checkpoint '%s' was edited or damaged: its contents do not have its digest", path);
    return AG_OK;
}

/* Reads the entry at *at, within the file's first `end` bytes; its name goes to `name` [MAX_NAME + 1]. */
static ag_code parse_entry(const unsigned char *file, size_t *at, size_t end, char *name, xp_checkpoint_entry *e,
                           const char *path, ag_error *err)
{
    uint64_t lengths[2];
    AG_REQUIRE(end - *at >= sizeof lengths, err, AG_EDATA, "checkpoint '%s': an entry is cut short", path);
    memcpy(lengths, file + *at, sizeof lengths);
    AG_REQUIRE(lengths[0] > 0 && lengths[0] <= MAX_NAME, err, AG_EDATA, "checkpoint '%s': an entry without a name", path);
    const size_t head = aligned(sizeof lengths + (size_t)lengths[0]);
    AG_REQUIRE(end - *at >= head && lengths[1] <= end - *at - head
               && aligned((size_t)lengths[1]) <= end - *at - head, err, AG_EDATA,
               "checkpoint '%s': an entry is cut short", path);
    memcpy(name, file + *at + sizeof lengths, (size_t)lengths[0]);
    name[lengths[0]] = '\0';
    *e = (xp_checkpoint_entry){ name, file + *at + head, (size_t)lengths[1] };
    *at += head + aligned((size_t)lengths[1]);
    return AG_OK;
}

/* c->memory holds the file; the names lie behind the entries in one block. */
static ag_code parse(xp_checkpoint *c, const char *path, size_t length, ag_error *err)
{
    const unsigned char *file = c->memory;
    header h;
    memcpy(&h, file, sizeof h);
    size_t at = sizeof h, end = length - DIGEST, n = h.n_entry;
    AG_REQUIRE(n <= MAX_ENTRIES && n <= length / ALIGN, err, AG_EDATA, "checkpoint '%s' claims %zu entries", path, n);
    c->entries = ag_alloc(n * (sizeof *c->entries + MAX_NAME + 1));
    AG_REQUIRE(c->entries, err, AG_ENOMEM, "checkpoint '%s': out of memory for %zu entries", path, n);
    char *names = (char *)(c->entries + n);
    for (size_t i = 0; i < n; i++)
        AG_TRY(err, parse_entry(file, &at, end, names + i * (MAX_NAME + 1), &c->entries[i], path, err));
    AG_REQUIRE(at == end, err, AG_EDATA, "checkpoint '%s': %zu bytes belong to no entry", path, end - at);
    c->n = (int)n;
    return AG_OK;
}

static ag_code load_open(xp_checkpoint *c, int fd, const char *path, const xp_sha256 *config, ag_error *err)
{
    struct stat status;
    header h = { .magic = "" };
    AG_REQUIRE(fstat(fd, &status) == 0 && S_ISREG(status.st_mode), err, AG_EDATA, "checkpoint '%s' is not a file", path);
    const size_t length = (size_t)status.st_size;
    AG_REQUIRE(length > 0, err, AG_EDATA, "checkpoint '%s' is empty", path);
    AG_TRY(err, read_all(fd, path, &h, length < sizeof h ? length : sizeof h, err));
    AG_REQUIRE(length >= sizeof h || memcmp(h.magic, MAGIC, length < sizeof MAGIC ? length : sizeof MAGIC),
               err, AG_EDATA, "checkpoint '%s' is truncated: %zu bytes", path, length);
    AG_TRY(err, check_header(&h, path, length, err));
    c->memory = ag_alloc(length);
    AG_REQUIRE(c->memory, err, AG_ENOMEM, "checkpoint '%s': out of memory for %zu bytes", path, length);
    memcpy(c->memory, &h, sizeof h);
    AG_TRY(err, read_all(fd, path, (char *)c->memory + sizeof h, length - sizeof h, err));
    AG_TRY(err, check_digest(c->memory, path, length, err));
    AG_TRY(err, check_origin(&h, path, config, err));
    return parse(c, path, length, err);
}

ag_code xp_checkpoint_load(xp_checkpoint *c, const char *path, const xp_sha256 *config, ag_error *err)
{
    AG_REQUIRE(c && path, err, AG_EINVAL, "xp_checkpoint_load: checkpoint or path is NULL");
    AG_REQUIRE(sodium_init() >= 0, err, AG_EIO, "libsodium does not start");
    *c = (xp_checkpoint){ 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    AG_REQUIRE(fd >= 0, err, AG_EIO, "cannot open the checkpoint '%s': %s", path, strerror(errno));
    ag_code code = load_open(c, fd, path, config, err);
    close(fd);
    if (code == AG_OK)
        return AG_OK;
    xp_checkpoint_release(c);
    return ag_trail(err, code, __func__);
}

const xp_checkpoint_entry *xp_checkpoint_find(const xp_checkpoint *c, const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->entries[i].name, name) == 0)
            return &c->entries[i];
    return NULL;
}

ag_code xp_checkpoint_get(const xp_checkpoint *c, const char *name, void *out, size_t bytes, ag_error *err)
{
    const xp_checkpoint_entry *e = xp_checkpoint_find(c, name);
    AG_REQUIRE(e, err, AG_EDATA, "the checkpoint has no entry '%s'", name);
    AG_REQUIRE(e->bytes == bytes, err, AG_EDATA, "the checkpoint's '%s' has %zu bytes; expected %zu", name, e->bytes, bytes);
    if (bytes > 0)
        memcpy(out, e->data, bytes);
    return AG_OK;
}

void xp_checkpoint_release(xp_checkpoint *c)
{
    ag_free(c->entries);
    ag_free(c->memory);
    *c = (xp_checkpoint){ 0 };
}
