/* The packed Omniglot: one file of 28x28 bytes a drawing, verified whenever it is opened.
 *
 * File: 128 bytes of header, then uint8 pixels [n_character, n_drawing, 28, 28], characters in byte order of their
 * names, drawings in byte order of theirs. Header: "METALORA-OMNI28\n", then little-endian uint32 version, n_character,
 * n_drawing, side; then SHA-256 (32 bytes) of the data it was made from, SHA-256 of the pixels, zeros. */
#ifndef XP_OMNIGLOT_CACHE_H
#define XP_OMNIGLOT_CACHE_H

#include "experiments/cache.h"
#include "experiments/digest.h"

#include <stdint.h>

enum { XP_OMNIGLOT_SIDE = 28, XP_OMNIGLOT_PIXELS = 28 * 28 };

typedef struct xp_omniglot_pack {
    int64_t n_character, n_drawing;
    unsigned char source[32];    /* SHA-256 of what it was made from, see XP_OMNIGLOT_DIGEST */
    uint8_t *pixels;             /* [n_character, n_drawing, 28, 28]; ag_alloc */
} xp_omniglot_pack;

/* Where the packed file is, as xp_cache_path. */
ag_code xp_omniglot_cache_path(const char *cache_dir, char *path, ag_error *err);
/* The folder whose archives the cache can be made from: data_dir, or METALORA_DATA, or the cache's own (there 'metalora data
 * get' keeps them in omniglot/). dir has XP_PATH_MAX bytes. Fails as xp_omniglot_cache_path. */
ag_code xp_omniglot_data_dir(const char *data_dir, const char *cache_dir, char *dir, ag_error *err);
/* Makes the folder, writes a neighbour of path, flushes it to the disk, renames it (replace_file.h). AG_EIO, AG_ECONFIG. */
ag_code xp_omniglot_cache_write(const xp_omniglot_pack *p, const char *path, ag_error *err);
/* Reads and verifies. AG_EIO: cannot be read. AG_EDATA: not such a file, another version, truncated, damaged, or made
 * from other data than source_hex (64 digits). On failure p holds nothing. */
ag_code xp_omniglot_cache_read(xp_omniglot_pack *p, const char *path, const char *source_hex, ag_error *err);
void xp_omniglot_pack_release(xp_omniglot_pack *p);

#endif
