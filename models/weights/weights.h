/* Checkpoints: a file's named tensors, memory-mapped and checked before anything is believed. The user's manual.
 *
 *     nn_weights *w;
 *     AG_TRY(err, nn_weights_open(&w, "model.safetensors", err));       // safetensors, GGUF or llama2.c, told by contents
 *     const nn_stored *s = nn_weights_find(w, "encoder.layer.0.output.dense.weight");
 *     AG_TRY(err, nn_stored_read(s, out, err));                         // out [numel], as ag_real
 *     nn_weights_close(w);
 *
 * A file that is damaged or lies about itself is refused with AG_EDATA: file, tensor, what is wrong, what was expected.
 * Everything pointed to lives as long as the nn_weights. Reading is thread-safe. A file that is made shorter while it is open
 * ends the process (SIGBUS), as with every memory map: replace a checkpoint by renaming, as nn_safetensors_write does. */
#ifndef NN_WEIGHTS_H
#define NN_WEIGHTS_H

#include "autograd/real.h"
#include "autograd/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { NN_STORED_DIMS = 8 };

typedef enum nn_dtype {
    NN_F32, NN_F16, NN_BF16, NN_F64, NN_I8, NN_U8, NN_I16, NN_I32, NN_I64, NN_BOOL,
    NN_Q8_0, NN_Q4_0, NN_Q4_1,           /* GGUF's blocks of 32 along the last axis */
    NN_OTHER                             /* known to the format, cannot be read */
} nn_dtype;

typedef struct nn_stored {
    const char *name;
    nn_dtype dtype;
    int ndim;
    int64_t shape[NN_STORED_DIMS];       /* row-major, outermost first (GGUF writes it the other way round) */
    int64_t numel;
    const void *data;                    /* in the mapped file */
    size_t bytes;
} nn_stored;

typedef struct nn_weights nn_weights;

/* *w is NULL on failure. Fails with AG_EIO, AG_EDATA, AG_ENOMEM. */
ag_code nn_weights_open(nn_weights **w, const char *path, ag_error *err);
void nn_weights_close(nn_weights *w);                             /* NULL is allowed */
const char *nn_weights_path(const nn_weights *w);
const char *nn_weights_format(const nn_weights *w);               /* "safetensors" | "gguf" | "llama2.c" */
int nn_weights_count(const nn_weights *w);
const nn_stored *nn_weights_at(const nn_weights *w, int i);       /* in the file's order */
const nn_stored *nn_weights_find(const nn_weights *w, const char *name);   /* NULL: not there */
/* The name nearest to `name` among the file's, for messages; NULL: none is near. */
const char *nn_weights_nearest(const nn_weights *w, const char *name);

/* out [numel], row-major, whatever is stored. Fails with AG_EDATA for a type that cannot be read. */
ag_code nn_stored_read(const nn_stored *s, ag_real *out, ag_error *err);
/* Rows first .. first + count - 1 of the outermost axis. */
ag_code nn_stored_read_rows(const nn_stored *s, int64_t first, int64_t count, ag_real *out, ag_error *err);
/* The numbers in the file itself where they are ag_real and aligned; else NULL. */
const ag_real *nn_stored_in_place(const nn_stored *s);
const char *nn_dtype_name(nn_dtype d);

/* Metadata: safetensors' __metadata__, GGUF's key-values, llama2.c's header ("dim", "n_layers", ...). The getters give
 * false where the key is not there or of another kind. Strings are borrowed and 0-terminated. */
bool nn_weights_string(const nn_weights *w, const char *key, const char **value);
bool nn_weights_number(const nn_weights *w, const char *key, double *value);         /* integers, floats, booleans */
/* Arrays of GGUF: their length, -1 where there is none; entries. */
int64_t nn_weights_array(const nn_weights *w, const char *key);
bool nn_weights_array_string(const nn_weights *w, const char *key, int64_t i, const char **value, size_t *length);
bool nn_weights_array_number(const nn_weights *w, const char *key, int64_t i, double *value);

/* 128 bits over every byte of the file (XXH3), as 32 hexadecimal digits and a 0: tells one base model from another. It is
 * no proof against somebody who means to deceive. */
enum { NN_DIGEST_TEXT = 33 };
ag_code nn_weights_digest(const nn_weights *w, char digest[NN_DIGEST_TEXT], ag_error *err);

/* Writing safetensors: tensors in the caller's order are laid out as the reference writer does (by alignment, then name),
 * the header padded to 8 bytes; written aside and renamed. metadata: n_meta pairs of key, value; may be NULL. */
typedef struct nn_to_store {
    const char *name;
    int ndim;
    int64_t shape[NN_STORED_DIMS];
    const ag_real *data;                 /* stored as F32 */
} nn_to_store;
ag_code nn_safetensors_write(const char *path, int n, const nn_to_store *tensors, int n_meta, const char *const (*metadata)[2],
                             ag_error *err);

#endif
