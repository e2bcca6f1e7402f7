/* A checkpoint of a run: named arrays of bytes in one file, bound to a configuration and to this version of metalora,
 * which together promise that a resumed run ends with the same bits.
 *
 *     xp_sha256 digest;
 *     AG_TRY(err, xp_sha256_text(&digest, config.resolved, err));
 *     const xp_checkpoint_entry e[] = { { "iteration", &i, sizeof i }, { "parameters", theta, n * sizeof *theta } };
 *     AG_TRY(err, xp_checkpoint_save("run.ckpt", &digest, 2, e, err));
 *
 *     xp_checkpoint c;
 *     AG_TRY(err, xp_checkpoint_load(&c, "run.ckpt", &digest, err));
 *     code = xp_checkpoint_get(&c, "iteration", &i, sizeof i, err);
 *     xp_checkpoint_release(&c);
 *
 * The file is written aside, flushed to the disk and renamed: after a crash there is the old one or the new one.
 * Bytes are the machine's own: a checkpoint is for the kind of machine that wrote it (byte order is checked). */
#ifndef XP_CHECKPOINT_H
#define XP_CHECKPOINT_H

#include "autograd/status.h"

typedef struct xp_sha256 {
    unsigned char bytes[32];
} xp_sha256;

typedef struct xp_checkpoint_entry {
    const char *name;            /* 1 .. 255 bytes, different from the others' */
    const void *data;            /* NULL only with 0 bytes */
    size_t bytes;
} xp_checkpoint_entry;

typedef struct xp_checkpoint {
    int n;
    xp_checkpoint_entry *entries;   /* in the order of saving; data are aligned to 64 bytes */
    void *memory;                   /* owner of names and data */
} xp_checkpoint;

ag_code xp_sha256_text(xp_sha256 *digest, const char *text, ag_error *err);

/* Fails with AG_EINVAL (names), AG_ECONFIG (the folder), AG_EIO (the disk); an older checkpoint then stays. */
ag_code xp_checkpoint_save(const char *path, const xp_sha256 *config, int n, const xp_checkpoint_entry *entries,
                           ag_error *err);
/* Reads and verifies everything. AG_EIO: cannot be read. AG_EDATA: foreign, truncated or edited. AG_ECONFIG: of
 * another version or (unless config is NULL) of another configuration. On failure *c holds nothing to release. */
ag_code xp_checkpoint_load(xp_checkpoint *c, const char *path, const xp_sha256 *config, ag_error *err);
/* NULL if there is no such entry; lives as long as c. */
const xp_checkpoint_entry *xp_checkpoint_find(const xp_checkpoint *c, const char *name);
/* Copies an entry of exactly that many bytes; AG_EDATA if it is missing or of another size. */
ag_code xp_checkpoint_get(const xp_checkpoint *c, const char *name, void *out, size_t bytes, ag_error *err);
void xp_checkpoint_release(xp_checkpoint *c);

#endif
