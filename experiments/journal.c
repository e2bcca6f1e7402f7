/* Writing and locking journals (journal.h); journal_read.c reads them. The file:
 *
 *     prelude  "\x89MLJRNL\n", byte order mark u32, format u32
 *     record   type u32, bytes u32, data, tag [16]
 *
 * tag = the first 16 bytes of SHA-256(tag before, type, bytes, data); before the first record stands the prelude. */
#define _GNU_SOURCE   /* F_OFD_SETLK */
#include "experiments/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct xp_journal {
    char *path;
    int fd;
    xp_journal_mark end;
};

static char *with_suffix(const char *out, const char *suffix)
{
    size_t n = strlen(out) + strlen(suffix) + 1;
    char *name = ag_alloc(n);
    if (name)
        snprintf(name, n, "%s%s", out, suffix);
    return name;
}

char *xp_journal_name(const char *out)
{
    return with_suffix(out, ".journal");
}

char *xp_journal_checkpoint_name(const char *out)
{
    return with_suffix(out, ".ckpt");
}

/* ---- the lock ---- */

/* Two locks on bytes far behind the file's end. The first belongs to the open file and keeps everybody away, other
 * threads of this process too; the second belongs to the process and only tells which one. */
enum { LOCK_ALL, LOCK_WHO };

static struct flock lock_byte(int which)
{
    return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = ((off_t)1 << 40) + which, .l_len = 1 };
}

/* A file system without locks (some of clusters) is used without them. */
static bool cannot_lock(int error)
{
    return error == EINVAL || error == ENOLCK || error == ENOSYS || error == EOPNOTSUPP;
}

static bool take_lock(int fd)
{
    struct flock who = lock_byte(LOCK_WHO);
#ifdef F_OFD_SETLK
    struct flock all = lock_byte(LOCK_ALL);
    if (fcntl(fd, F_OFD_SETLK, &all) != 0 && !cannot_lock(errno))
        return false;
#endif
    return fcntl(fd, F_SETLK, &who) == 0 || cannot_lock(errno);
}

static ag_code refuse_locked(int fd, const char *path, ag_error *err)
{
    int error = errno;
    struct flock who = lock_byte(LOCK_WHO);
    AG_REQUIRE(error == EAGAIN || error == EACCES, err, AG_EIO, "'%s' cannot be locked: %s", path, strerror(error));
    if (fcntl(fd, F_GETLK, &who) != 0 || who.l_type == F_UNLCK)
        return ag_fail(err, AG_ECONFIG, "this process is already at work on this run ('%s' is locked)", path);
    return ag_fail(err, AG_ECONFIG, "process %ld is at work on this run ('%s' is locked); wait for it, or name another file "
                   "with --out", (long)who.l_pid, path);
}

/* ---- opening and closing ---- */

/* 1: it is the file at the path; 0: the one before unlinked it meanwhile; -1: neither can be told. */
static int still_there(int fd, const char *path)
{
    struct stat mine, there;
    if (fstat(fd, &mine) != 0)
        return -1;
    return stat(path, &there) == 0 && mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

static ag_code open_locked(xp_journal *j, bool create, ag_error *err)
{
    int there = 0;
    while (there == 0) {
        j->fd = open(j->path, O_RDWR | O_APPEND | O_CLOEXEC | O_NONBLOCK | (create ? O_CREAT : 0), 0666);
        AG_REQUIRE(j->fd >= 0, err, errno == ENOENT || errno == EACCES || errno == EISDIR || errno == EROFS ? AG_ECONFIG : AG_EIO,
                   "cannot open the journal '%s': %s", j->path, strerror(errno));
        if (!take_lock(j->fd))
            return refuse_locked(j->fd, j->path, err);
        there = still_there(j->fd, j->path);
        if (there == 0)
            close(j->fd);
    }
    AG_REQUIRE(there > 0, err, AG_EIO, "cannot look at the journal '%s'", j->path);
    return AG_OK;
}

/* Not even --force empties what is no journal. */
static ag_code check_prelude(xp_journal *j, ag_error *err)
{
    char found[sizeof xp_journal_magic] = "";
    struct stat status;
    AG_REQUIRE(fstat(j->fd, &status) == 0 && S_ISREG(status.st_mode), err, AG_ECONFIG,
               "'%s' is not a file; it is in the way of the run's journal", j->path);
    j->end.length = (uint64_t)status.st_size;
    ssize_t n = pread(j->fd, found, sizeof found, 0);
    AG_REQUIRE(n >= 0, err, AG_EIO, "cannot read the journal '%s': %s", j->path, strerror(errno));
    AG_REQUIRE(memcmp(found, xp_journal_magic, (size_t)n) == 0, err, AG_ECONFIG,
               "'%s' is not a run's journal; move it away, or name another file with --out", j->path);
    return AG_OK;
}

ag_code xp_journal_open(xp_journal **out_journal, const char *out, bool create, ag_error *err)
{
    *out_journal = NULL;
    xp_journal *j = ag_alloc_zero(sizeof *j);
    AG_REQUIRE(j, err, AG_ENOMEM, "journal of '%s': out of memory", out);
    j->fd = -1;
    j->path = xp_journal_name(out);
    ag_code code = j->path ? open_locked(j, create, err) : ag_fail(err, AG_ENOMEM, "journal of '%s': out of memory", out);
    if (code == AG_OK)
        code = check_prelude(j, err);
    if (code == AG_OK) {
        *out_journal = j;
        return AG_OK;
    }
    if (j->fd >= 0)
        close(j->fd);
    ag_free(j->path);
    ag_free(j);
    return ag_trail(err, code, __func__);
}

ag_code xp_journal_load(const xp_journal *j, xp_records *r, ag_error *err)
{
    return xp_journal_read_open(j->fd, j->path, r, err);
}

bool xp_journal_empty(const xp_journal *j)
{
    return j->end.length == 0;
}

static void release(xp_journal *j)
{
    close(j->fd);
    ag_free(j->path);
    ag_free(j);
}

void xp_journal_close(xp_journal *j)
{
    if (!j)
        return;
    if (xp_journal_empty(j))
        unlink(j->path);
    release(j);
}

ag_code xp_journal_remove(xp_journal *j, ag_error *err)
{
    ag_code code = AG_OK;
    if (unlink(j->path) != 0)   /* before the lock goes: nobody finds it there unlocked */
        code = ag_fail(err, AG_EIO, "cannot remove the journal '%s': %s", j->path, strerror(errno));
    release(j);
    return code;
}

/* ---- writing ---- */

/* 0 or errno. */
static int write_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, data, n < 1 << 30 ? n : 1 << 30);
        if (done < 0 && errno != EINTR)
            return errno;
        if (done > 0) {
            data += done;
            n -= (size_t)done;
        }
    }
    return 0;
}

ag_code xp_journal_rewind(xp_journal *j, const xp_journal_mark *mark, ag_error *err)
{
    if (j->end.length != mark->length)
        AG_REQUIRE(ftruncate(j->fd, (off_t)mark->length) == 0, err, AG_EIO, "journal '%s': cannot be shortened: %s", j->path,
                   strerror(errno));
    j->end = *mark;
    return AG_OK;
}

ag_code xp_journal_append(xp_journal *j, xp_record_type type, const void *data, size_t bytes, ag_error *err)
{
    AG_REQUIRE(bytes <= XP_JOURNAL_MOST, err, AG_EINVAL, "journal '%s': a record of %zu bytes", j->path, bytes);
    const uint32_t head[2] = { (uint32_t)type, (uint32_t)bytes };
    const size_t size = sizeof head + bytes + XP_JOURNAL_TAG;
    char small[512], *record = size <= sizeof small ? small : ag_alloc(size);
    AG_REQUIRE(record, err, AG_ENOMEM, "journal '%s': out of memory for a record of %zu bytes", j->path, bytes);
    xp_journal_mark next = j->end;
    memcpy(record, head, sizeof head);
    if (bytes)
        memcpy(record + sizeof head, data, bytes);
    xp_journal_chain(next.tag, record, sizeof head + bytes);
    memcpy(record + sizeof head + bytes, next.tag, XP_JOURNAL_TAG);
    next.length += size;
    int error = write_all(j->fd, record, size);
    if (record != small)
        ag_free(record);
    if (error == 0) {
        j->end = next;
        return AG_OK;
    }
    if (ftruncate(j->fd, (off_t)j->end.length) != 0)
        return ag_fail(err, AG_EIO, "journal '%s': cannot write: %s; and cannot be shortened", j->path, strerror(error));
    return ag_fail(err, AG_EIO, "journal '%s': cannot write: %s", j->path, strerror(error));
}

ag_code xp_journal_start(xp_journal *j, const xp_journal_head *head, ag_error *err)
{
    const xp_journal_prelude prelude = xp_journal_make_prelude();
    char *text;
    size_t n;
    AG_TRY(err, xp_journal_head_write(head, &text, &n, err));
    ag_code code = xp_journal_rewind(j, &(xp_journal_mark){ 0 }, err);
    int error = code == AG_OK ? write_all(j->fd, (const char *)&prelude, sizeof prelude) : 0;
    if (error != 0)
        code = ag_fail(err, AG_EIO, "journal '%s': cannot write: %s", j->path, strerror(error));
    if (code == AG_OK) {
        j->end.length = sizeof prelude;
        memcpy(j->end.tag, &prelude, sizeof prelude);
        code = xp_journal_append(j, XP_RECORD_HEAD, text, n, err);
    }
    if (code != AG_OK)
        xp_journal_rewind(j, &(xp_journal_mark){ 0 }, NULL);
    ag_free(text);
    return code == AG_OK ? xp_journal_sync(j, err) : ag_trail(err, code, __func__);
}

ag_code xp_journal_sync(xp_journal *j, ag_error *err)
{
    AG_REQUIRE(fdatasync(j->fd) == 0, err, AG_EIO, "journal '%s': cannot be flushed to the disk: %s", j->path, strerror(errno));
    return AG_OK;
}

xp_journal_mark xp_journal_end(const xp_journal *j)
{
    return j->end;
}
