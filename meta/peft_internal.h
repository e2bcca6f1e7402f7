/* What writing (peft.c) and reading (peft_read.c, peft_config.c) PEFT's folder share. */
#ifndef META_PEFT_INTERNAL_H
#define META_PEFT_INTERNAL_H

#include "meta/adapter_internal.h"

#include <jansson.h>

#define META_PEFT_ROOT "base_model.model."
#define META_PEFT_CONFIG "adapter_config.json"
#define META_PEFT_TENSORS "adapter_model.safetensors"
#define META_PEFT_BASE "metalora.base"
enum { META_PEFT_NAME = NN_NAME_MAX + 32, META_PEFT_PATH = 1024 };

int meta_adapter_parts(const meta_adapter *a);                /* parameters of each module: 2 or 3 */
/* How part k of a module lies in the file. */
void meta_peft_shape(const meta_adapter *a, const meta_adapted *m, int part, int *ndim, int64_t *shape);
/* Between the adapter's layout and the file's: one of them is read, the other written. */
void meta_peft_to_file(const meta_adapter *a, const meta_adapted *m, int part, const ag_real *values, ag_real *file);
void meta_peft_from_file(const meta_adapter *a, const meta_adapted *m, int part, const ag_real *file, ag_real *values);

/* path [META_PEFT_PATH] of a file in the folder. Fails with AG_EINVAL. */
ag_code meta_peft_path(char *path, const char *dir, const char *file, ag_error *err);
/* NULL without memory. */
json_t *meta_peft_config(const meta_adapter *a, int n_extra, const meta_extra *extra);

/* A folder's config as an adapter's options; strings point into json or memory. */
typedef struct meta_peft_read {
    json_t *json;
    void *memory;
    meta_adapter_options options;
    int n_saved;                                              /* modules_to_save */
    const char **saved;
    json_t *rank_masks;                                       /* adalora: which triplets are there, by name; borrowed, or NULL */
} meta_peft_read;
ag_code meta_peft_read_config(meta_peft_read *r, const char *dir, const nn_network *net, ag_error *err);
void meta_peft_read_release(meta_peft_read *r);

#endif
