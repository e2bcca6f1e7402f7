/* Omniglot (Lake, Salakhutdinov & Tenenbaum 2015) from its two published archives to the packed cache.
 *
 *     char report[512];
 *     AG_TRY(err, xp_omniglot_import("~/data/omniglot", NULL, report, sizeof report, err)); */
#ifndef XP_OMNIGLOT_IMPORT_H
#define XP_OMNIGLOT_IMPORT_H

#include "autograd/status.h"

/* SHA-256 over the drawings in byte order of their names; of each the name
 * ("images_background/Angelic/character01/0965_01.png"), a zero byte, 105 x 105 bytes (0 ink, 1 paper).
 * So archives zipped anew pass, and not one changed pixel. Computed by tests/experiments/golden_omniglot.py. */
#define XP_OMNIGLOT_DIGEST "9b5b485f805e3355b74567404eaf3c00a5276dde98c83d3ece1288903a1e9d9e"

/* Reads images_background.zip and images_evaluation.zip in dir or dir/omniglot, checks names, sizes, counts (964 + 659
 * characters of 20 drawings, 105x105 pixels of 1 bit) and the digest, shrinks to 28x28 as Pillow's LANCZOS, and
 * replaces the packed file in cache_dir (NULL: as xp_source_options). Nothing is written unless all is well.
 * report (n bytes, may be NULL) gets one line for the user.
 * Fails with AG_ECONFIG (an archive is not there), AG_EDATA (names archive, entry, what was expected), AG_EIO, AG_ENOMEM. */
ag_code xp_omniglot_import(const char *dir, const char *cache_dir, char *report, size_t n, ag_error *err);

/* What the archives must hold; tests ask for less. */
typedef struct xp_omniglot_expect {
    int characters[2];       /* in images_background, images_evaluation */
    int drawings;            /* of each character */
    const char *digest;      /* as XP_OMNIGLOT_DIGEST, 64 digits */
} xp_omniglot_expect;
extern const xp_omniglot_expect xp_omniglot_published;
ag_code xp_omniglot_import_expecting(const xp_omniglot_expect *expect, const char *dir, const char *cache_dir,
                                     char *report, size_t n, ag_error *err);

/* The same for two archives of any name, background first. cache_file: where to pack them; NULL: nothing is written, the
 * archives are only verified. */
ag_code xp_omniglot_import_files(const xp_omniglot_expect *expect, const char *const archives[2], const char *cache_file,
                                 char *report, size_t n, ag_error *err);
/* Where dir or dir/omniglot has the archive of a part (0 background, 1 evaluation): path [XP_PATH_MAX].
 * Fails with AG_ECONFIG when it is not there or is no file. */
ag_code xp_omniglot_find_archive(const char *dir, int part, char *path, ag_error *err);
const char *xp_omniglot_archive_name(int part);   /* "images_background.zip" */

#endif
