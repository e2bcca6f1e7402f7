/* Reading zip archives of others: Omniglot's, wheels with models.
 *
 *     xp_archive *a;
 *     xp_archive_entry e;
 *     AG_TRY(err, xp_archive_open(&a, "data.zip", err));
 *     for (int64_t i = 0; i < xp_archive_count(a); i++)
 *         ... xp_archive_entry_at(a, i, &e, err), look at e.size, xp_archive_read(a, &e, bytes, err) ...
 *     xp_archive_close(a);
 *
 * An archive is foreign: a name is only compared, never opened as a file, and one that points out of the archive's own tree
 * is refused all the same. Sizes are known before anything is read, and for the caller to bound. */
#ifndef XP_ARCHIVE_H
#define XP_ARCHIVE_H

#include "experiments/digest.h"

enum { XP_ARCHIVE_NAME_MAX = 255 };

typedef struct xp_archive xp_archive;

typedef struct xp_archive_entry {
    const char *name;            /* borrowed until the archive is closed */
    int64_t index, size;         /* size [bytes] unpacked, as the archive declares */
} xp_archive_entry;

/* Fails with AG_EIO (cannot be opened), AG_EDATA (is no archive), AG_ENOMEM; *a is NULL then. */
ag_code xp_archive_open(xp_archive **a, const char *path, ag_error *err);
void xp_archive_close(xp_archive *a);                    /* NULL is allowed */

int64_t xp_archive_count(const xp_archive *a);           /* of entries; folders are entries, too */
/* AG_EDATA: cannot be read, or a name that is too long, absolute, foreign, or climbs by "..". */
ag_code xp_archive_entry_at(const xp_archive *a, int64_t i, xp_archive_entry *e, ag_error *err);
/* The entry of exactly this name; AG_EDATA when there is none. */
ag_code xp_archive_find(const xp_archive *a, const char *name, xp_archive_entry *e, ag_error *err);

/* bytes [e->size + 1]. AG_EDATA: damaged, by the archive's checksum or its length. */
ag_code xp_archive_read(const xp_archive *a, const xp_archive_entry *e, unsigned char *bytes, ag_error *err);
/* Writes the entry to a file that is not there yet, flushes it to the disk; hex: SHA-256 of what was written. AG_EDATA, AG_EIO,
 * AG_ENOMEM; what was begun is left to the caller. */
ag_code xp_archive_unpack(const xp_archive *a, const xp_archive_entry *e, const char *path, char hex[XP_DIGEST_HEX], ag_error *err);

const char *xp_zip_version(void);   /* libzip's */

#endif
