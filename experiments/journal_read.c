/* Reading journals (journal.h). Nothing in the file is trusted. */
#include "experiments/journal_file.h"

#include "experiments/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 2 * sizeof(uint32_t), FIELDS = 7 };
const char xp_journal_magic[8] = "\x89MLJRNL\n";
static const uint32_t BYTE_ORDER_MARK = 0x01020304;

xp_journal_prelude xp_journal_make_prelude(void)
{
    xp_journal_prelude p = { .byte_order = BYTE_ORDER_MARK, .format = XP_JOURNAL_FORMAT };
    memcpy(p.magic, xp_journal_magic, sizeof p.magic);
    return p;
}

void xp_journal_chain(unsigned char tag[XP_JOURNAL_TAG], const void *record, size_t n)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state sha;
    crypto_hash_sha256_init(&sha);
    crypto_hash_sha256_update(&sha, tag, XP_JOURNAL_TAG);
    crypto_hash_sha256_update(&sha, record, n);
    crypto_hash_sha256_final(&sha, digest);
    memcpy(tag, digest, XP_JOURNAL_TAG);
}

/* ---- the head ---- */

static const char *const keys[FIELDS] = { "version", "precision", "instruction_set", "gemm", "libraries", "command_line", "config" };

static void fields(xp_journal_head *h, const char **at[FIELDS])
{
    const char **const list[FIELDS] = { &h->version, &h->precision, &h->instruction_set, &h->gemm, &h->libraries,
                                        &h->command_line, &h->config };
    memcpy(at, list, sizeof list);
}

ag_code xp_journal_head_write(const xp_journal_head *head, char **text, size_t *n, ag_error *err)
{
    xp_text t = { 0 };
    xp_journal_head copy = *head;
    const char **at[FIELDS];
    fields(&copy, at);
    for (int i = 0; i < FIELDS; i++) {
        const char *value = *at[i] ? *at[i] : "";
        xp_text_bytes(&t, keys[i], strlen(keys[i]) + 1);
        xp_text_bytes(&t, value, strlen(value) + 1);
    }
    *n = t.length;
    return xp_text_take(&t, text, err);
}

static ag_code read_head(xp_records *r, const char *name, ag_error *err)
{
    const char **at[FIELDS], *s = r->n ? r->at[0].data : NULL, *end = s ? s + r->at[0].bytes : NULL;
    AG_REQUIRE(r->n > 0 && r->at[0].type == XP_RECORD_HEAD, err, AG_EDATA,
               "journal '%s' has no head: the run was stopped before it began; begin it again with --force", name);
    fields(&r->head, at);
    for (int i = 0; i < FIELDS; i++) {
        size_t key = strlen(keys[i]) + 1;
        const char *value = s + key, *stop = NULL;
        if ((size_t)(end - s) > key && memcmp(s, keys[i], key) == 0)
            stop = memchr(value, '\0', (size_t)(end - value));
        AG_REQUIRE(stop, err, AG_EDATA, "journal '%s': its head does not tell '%s'", name, keys[i]);
        *at[i] = value;
        s = stop + 1;
    }
    return AG_OK;
}

/* ---- records ---- */

/* From the front: a record does not begin with a zero, and this is asked at each. */
static bool all_zero(const unsigned char *s, size_t n)
{
    size_t zeros = 0;
    while (zeros < n && s[zeros] == 0)
        zeros++;
    return zeros == n;
}

static ag_code grow(xp_records *r, size_t *capacity, const char *name, ag_error *err)
{
    if (r->n < *capacity)
        return AG_OK;
    *capacity = 2 * *capacity + 64;
    xp_record *bigger = ag_alloc(*capacity * sizeof *bigger);
    AG_REQUIRE(bigger, err, AG_ENOMEM, "journal '%s': out of memory for %zu records", name, *capacity);
    if (r->n)
        memcpy(bigger, r->at, r->n * sizeof *bigger);
    ag_free(r->at);
    r->at = bigger;
    return AG_OK;
}

/* The record at end->length; *last: what stands there is not a whole one, and nothing can come behind it. */
static ag_code read_record(xp_record *record, xp_journal_mark *end, const unsigned char *file, size_t n, bool *last,
                           const char *name, ag_error *err)
{
    const unsigned char *at = file + end->length;
    size_t left = n - (size_t)end->length;
    uint32_t head[2] = { 0 };
    *last = true;
    if (left < HEAD + XP_JOURNAL_TAG || all_zero(at, left))   /* zeros: a disk that lost what was written last */
        return AG_OK;
    memcpy(head, at, HEAD);
    size_t whole = HEAD + (size_t)head[1] + XP_JOURNAL_TAG;
    if (left < whole)
        return AG_OK;
    xp_journal_mark next = { .length = end->length + whole };
    memcpy(next.tag, end->tag, sizeof next.tag);
    xp_journal_chain(next.tag, at, HEAD + head[1]);
    bool good = memcmp(next.tag, at + whole - XP_JOURNAL_TAG, XP_JOURNAL_TAG) == 0;
    if (!good && left == whole)
        return AG_OK;
    AG_REQUIRE(good && head[0] >= XP_RECORD_HEAD && head[0] <= XP_RECORD_RESUMED, err, AG_EDATA,
               "journal '%s' was edited or damaged: the record at byte %llu does not have its digest", name,
               (unsigned long long)end->length);
    *last = false;
    *record = (xp_record){ (xp_record_type)head[0], at + HEAD, head[1], next };
    *end = next;
    return AG_OK;
}

static ag_code check_prelude(const void *bytes, size_t n, const char *name, ag_error *err)
{
    xp_journal_prelude found = { .magic = "" };
    size_t have = n < sizeof found ? n : sizeof found;
    if (have)
        memcpy(&found, bytes, have);
    AG_REQUIRE(n > 0, err, AG_EDATA, "journal '%s' is empty: the run was stopped before it began; begin it again with --force", name);
    AG_REQUIRE(memcmp(found.magic, xp_journal_magic, have < 8 ? have : 8) == 0, err, AG_EDATA,
               "'%s' is not a run's journal", name);
    AG_REQUIRE(have == sizeof found, err, AG_EDATA, "journal '%s' is truncated: %zu bytes", name, n);
    AG_REQUIRE(found.byte_order == BYTE_ORDER_MARK, err, AG_EDATA, "journal '%s' was written on a machine of another byte order", name);
    AG_REQUIRE(found.format == XP_JOURNAL_FORMAT, err, AG_ECONFIG, "journal '%s' has format %u; this version of metalora reads %d",
               name, (unsigned)found.format, XP_JOURNAL_FORMAT);
    return AG_OK;
}

static ag_code parse(xp_records *r, const void *bytes, size_t n, const char *name, ag_error *err)
{
    size_t capacity = 0;
    xp_journal_mark end = { .length = sizeof(xp_journal_prelude) };
    AG_REQUIRE(sodium_init() >= 0, err, AG_EIO, "libsodium does not start");
    AG_TRY(err, check_prelude(bytes, n, name, err));
    memcpy(end.tag, bytes, sizeof end.tag);
    for (bool last = false; !last;) {
        AG_TRY(err, grow(r, &capacity, name, err));
        AG_TRY(err, read_record(&r->at[r->n], &end, bytes, n, &last, name, err));
        r->n += !last;
    }
    return read_head(r, name, err);
}

ag_code xp_journal_parse(xp_records *r, const void *bytes, size_t n, const char *name, ag_error *err)
{
    *r = (xp_records){ 0 };
    ag_code code = parse(r, bytes, n, name, err);
    if (code != AG_OK)
        xp_records_release(r);
    return ag_trail(err, code, __func__);
}

/* ---- the file ---- */

static ag_code read_file(int fd, const char *path, void **memory, size_t *n, ag_error *err)
{
    struct stat status;
    AG_REQUIRE(fstat(fd, &status) == 0 && S_ISREG(status.st_mode), err, AG_EDATA, "'%s' is not a run's journal: it is not a file", path);
    *n = (size_t)status.st_size;
    *memory = ag_alloc(*n);
    AG_REQUIRE(*memory, err, AG_ENOMEM, "journal '%s': out of memory for %zu bytes", path, *n);
    size_t done = 0;
    for (ssize_t got = 1; done < *n && got != 0;) {
        got = pread(fd, (char *)*memory + done, *n - done, (off_t)done);
        AG_REQUIRE(got >= 0 || errno == EINTR, err, AG_EIO, "journal '%s': cannot read: %s", path, strerror(errno));
        done += got > 0 ? (size_t)got : 0;
    }
    *n = done;
    return AG_OK;
}

ag_code xp_journal_read_open(int fd, const char *path, xp_records *r, ag_error *err)
{
    void *memory = NULL;
    size_t n = 0;
    *r = (xp_records){ 0 };
    ag_code code = read_file(fd, path, &memory, &n, err);
    if (code == AG_OK)
        code = xp_journal_parse(r, memory, n, path, err);
    if (code == AG_OK)
        r->memory = memory;
    else
        ag_free(memory);
    return code;
}

ag_code xp_journal_read(const char *out, xp_records *r, ag_error *err)
{
    *r = (xp_records){ 0 };
    char *path = xp_journal_name(out);
    AG_REQUIRE(path, err, AG_ENOMEM, "journal of '%s': out of memory", out);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ag_code code = AG_OK;
    if (fd < 0)
        code = ag_fail(err, errno == ENOENT ? AG_ECONFIG : AG_EIO, "cannot open the journal '%s': %s", path, strerror(errno));
    else
        code = xp_journal_read_open(fd, path, r, err);
    if (fd >= 0)
        close(fd);
    ag_free(path);
    return ag_trail(err, code, __func__);
}

void xp_records_release(xp_records *r)
{
    ag_free(r->at);
    ag_free(r->memory);
    *r = (xp_records){ 0 };
}

int64_t xp_records_find(const xp_records *r, const xp_journal_mark *mark)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->at[i].end.length == mark->length)
            return memcmp(r->at[i].end.tag, mark->tag, sizeof mark->tag) == 0 ? (int64_t)i : -1;
    return -1;
}
