/* metalora data get omniglot: the two archives from their publisher, verified, packed into the cache.
 *
 *     AG_TRY(err, xp_omniglot_get(&(xp_omniglot_get_options){ 0 }, report, sizeof report, err));
 *
 * An archive has its own name only when all of its contents are verified; until then it is ARCHIVE.unverified, and while it
 * is downloaded ARCHIVE.unverified.part (download.h). */
#ifndef XP_OMNIGLOT_GET_H
#define XP_OMNIGLOT_GET_H

#include "experiments/download.h"
#include "experiments/omniglot_import.h"

/* The folder of the archives at the publisher (https://github.com/brendenlake/omniglot). METALORA_OMNIGLOT_URL names
 * another one: a mirror, or a test's server. */
#define XP_OMNIGLOT_URL "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"

typedef struct xp_omniglot_get_options {
    const char *data_dir;                 /* where the archives are or go; NULL: METALORA_DATA, else omniglot/ beside the cache */
    const char *cache_dir;                /* as in xp_source_options */
    bool offline;                         /* fail instead of downloading */
    const xp_omniglot_expect *expect;     /* NULL: what was published */
    xp_download_options download;         /* max_bytes 0: 64 MB; progress tells of one archive at a time */
    void (*note)(void *ctx, const char *text);   /* gets lines for the user, with download.ctx; may be NULL */
} xp_omniglot_get_options;

/* Nothing is downloaded that is there: with a sound cache nothing at all, unless data_dir is given and lacks an archive.
 * The digest of the contents decides (XP_OMNIGLOT_DIGEST); archives that fail it are removed, those that were there before
 * stay and are named. report (n bytes, may be NULL) gets one line for the user.
 * Fails with AG_ECONFIG (offline: names what is needed; folder, address), AG_EDATA (not Omniglot), else as xp_download. */
ag_code xp_omniglot_get(const xp_omniglot_get_options *o, char *report, size_t n, ag_error *err);

#endif
