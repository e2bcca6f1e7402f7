/* What the readers of the formats share: a file's bytes, and where they put what they found. */
#ifndef NN_WEIGHTS_INTERNAL_H
#define NN_WEIGHTS_INTERNAL_H

#include "autograd/arena.h"
#include "models/weights/weights.h"

#include <stddef.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "all three formats are little-endian and are read as they lie");

/* Numbered as GGUF does. */
typedef enum nn_number_type {
    NN_NUM_U8, NN_NUM_I8, NN_NUM_U16, NN_NUM_I16, NN_NUM_U32, NN_NUM_I32, NN_NUM_F32, NN_NUM_BOOL,
    NN_NUM_U64 = 10, NN_NUM_I64, NN_NUM_F64
} nn_number_type;

typedef enum nn_meta_kind { NN_META_NUMBER, NN_META_STRING, NN_META_NUMBERS, NN_META_STRINGS, NN_META_OTHER } nn_meta_kind;

typedef struct nn_meta {
    const char *key;
    nn_meta_kind kind;
    double number;
    const char *string;
    int64_t n;                   /* of an array */
    nn_number_type type;         /* of an array of numbers, */
    const uint8_t *numbers;      /* which stays in the file */
    const char *text;            /* an array of strings: one behind the other, a 0 behind each; */
    const uint64_t *start;       /* [n + 1] where in text */
} nn_meta;

struct nn_weights {
    char *path;
    const char *format;
    const uint8_t *data;         /* [size] the file */
    size_t size;
    bool mapped;
    int n;
    nn_stored *stored;           /* [n] in the file's order */
    const nn_stored **by_name;   /* [n] */
    int n_meta;
    nn_meta *meta;               /* [n_meta] by key */
    ag_arena memory;             /* of all the above but the file */
};

/* Each fills stored and meta of a weights that has path, data and size. Fails with AG_EDATA, AG_ENOMEM. */
ag_code nn_read_safetensors(nn_weights *w, ag_error *err);
ag_code nn_read_gguf(nn_weights *w, ag_error *err);
ag_code nn_read_llama2c(nn_weights *w, ag_error *err);
/* Do the first bytes look like a llama2.c header? There is no magic number: seven plausible sizes. */
bool nn_looks_like_llama2c(const uint8_t *data, size_t size);

/* As nn_weights_open, of bytes that must stay until nn_weights_close; path is for messages only. */
ag_code nn_weights_open_bytes(nn_weights **w, const char *path, const void *data, size_t size, ag_error *err);

/* Memory that lives as long as the weights; AG_ENOMEM. nn_keep_text puts a 0 behind. */
ag_code nn_keep(nn_weights *w, size_t bytes, void *p, ag_error *err);   /* p: address of a pointer */
ag_code nn_keep_text(nn_weights *w, const char *s, size_t length, const char **copy, ag_error *err);

bool nn_utf8(const uint8_t *s, size_t length);
/* A name from a file as messages show it: cut, control characters as '?'. Given as nn_shown(name).text. */
typedef struct nn_name_shown { char text[96]; } nn_name_shown;
nn_name_shown nn_shown(const char *name);

size_t nn_number_bytes(int type);                            /* 0: no type of numbers */
double nn_number_at(nn_number_type type, const uint8_t *at);

/* A block of values along the last axis: how many, and their bytes. 0, 0 for NN_OTHER. */
void nn_dtype_block(nn_dtype d, int64_t *values, size_t *bytes);

#endif
