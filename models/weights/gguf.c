/* Reading GGUF, versions 2 and 3 (weights.h; ggml's docs/gguf.md):
 *
 *     "GGUF" version u32 tensors u64 keys u64 | keys: name, type u32, value | tensors: name, axes u32, sizes u64 [axes],
 *     type u32, offset u64 | zeros up to the alignment | data; offsets count from here
 *
 * A string is its length u64 and its bytes. Nothing is believed before the file has been seen to have room for it: memory
 * asked for is at most a few times the file. */
#include "models/weights/gguf_cursor.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 32, DIMS_MOST = 4, NAME_MOST = 1024, TENSOR_LEAST = 8 + 4 + 4 + 8, KEY_LEAST = 8 + 4 + 1 };

typedef struct type {
    nn_dtype dtype;
    int32_t values, bytes;       /* of a block; 0: there is no such type */
} type;

/* By ggml's number; gguf-py's GGML_QUANT_SIZES. Those that are not read, by line: Q5_0 Q5_1 Q8_1; Q2_K to Q8_K; IQ2_XXS IQ2_XS
 * IQ3_XXS IQ1_S; IQ4_NL IQ3_S IQ2_S IQ4_XS; IQ1_M TQ1_0 TQ2_0; MXFP4 NVFP4 Q1_0. */
static const type types[] = {
    [0] = { NN_F32, 1, 4 }, [1] = { NN_F16, 1, 2 }, [2] = { NN_Q4_0, 32, 18 }, [3] = { NN_Q4_1, 32, 20 }, [8] = { NN_Q8_0, 32, 34 },
    [24] = { NN_I8, 1, 1 }, [25] = { NN_I16, 1, 2 }, [26] = { NN_I32, 1, 4 }, [27] = { NN_I64, 1, 8 }, [28] = { NN_F64, 1, 8 },
    [30] = { NN_BF16, 1, 2 },
    [6] = { NN_OTHER, 32, 22 }, [7] = { NN_OTHER, 32, 24 }, [9] = { NN_OTHER, 32, 40 },
    [10] = { NN_OTHER, 256, 84 }, [11] = { NN_OTHER, 256, 110 }, [12] = { NN_OTHER, 256, 144 }, [13] = { NN_OTHER, 256, 176 },
    [14] = { NN_OTHER, 256, 210 }, [15] = { NN_OTHER, 256, 292 },
    [16] = { NN_OTHER, 256, 66 }, [17] = { NN_OTHER, 256, 74 }, [18] = { NN_OTHER, 256, 98 }, [19] = { NN_OTHER, 256, 50 },
    [20] = { NN_OTHER, 32, 18 }, [21] = { NN_OTHER, 256, 110 }, [22] = { NN_OTHER, 256, 82 }, [23] = { NN_OTHER, 256, 136 },
    [29] = { NN_OTHER, 256, 56 }, [34] = { NN_OTHER, 256, 54 }, [35] = { NN_OTHER, 256, 66 },
    [39] = { NN_OTHER, 32, 17 }, [40] = { NN_OTHER, 64, 36 }, [41] = { NN_OTHER, 128, 18 },
};

/* ---- the header ---- */

static ag_code take_counts(nn_cursor *c, uint64_t *n_tensor, uint64_t *n_key, ag_error *err)
{
    uint32_t version = 0;
    c->at = 4;
    AG_TRY(err, nn_take(c, &version, sizeof version, "the version", err));
    AG_REQUIRE(version == 2 || version == 3, err, AG_EDATA, "'%s' is GGUF of version %u%s; expected 2 or 3", c->w->path, version,
               version & 0xFFFF ? "" : ", big-endian");
    AG_TRY(err, nn_take(c, n_tensor, sizeof *n_tensor, "the number of tensors", err));
    AG_TRY(err, nn_take(c, n_key, sizeof *n_key, "the number of keys", err));
    const size_t left = nn_left(c);
    AG_REQUIRE(*n_key <= left / KEY_LEAST && *n_tensor <= left / TENSOR_LEAST && *n_tensor <= INT32_MAX && *n_key <= INT32_MAX, err,
               AG_EDATA, "'%s': %llu tensors and %llu keys in %zu bytes; expected no more than fit", c->w->path,
               (unsigned long long)*n_tensor, (unsigned long long)*n_key, left);
    return AG_OK;
}

static ag_code take_keys(nn_cursor *c, uint64_t n, ag_error *err)
{
    nn_weights *w = c->w;
    AG_TRY(err, nn_keep(w, n * sizeof *w->meta, &w->meta, err));
    for (uint64_t i = 0; i < n; i++) {
        nn_meta m = { .kind = NN_META_OTHER };
        AG_TRY(err, nn_gguf_key(c, &m, err));
        w->meta[w->n_meta++] = m;
    }
    return AG_OK;
}

static ag_code find_alignment(const nn_weights *w, uint64_t *alignment, ag_error *err)
{
    *alignment = ALIGNMENT;
    for (int i = 0; i < w->n_meta; i++) {
        const nn_meta *m = &w->meta[i];
        if (strcmp(m->key, "general.alignment") != 0)
            continue;
        AG_REQUIRE(m->kind == NN_META_NUMBER && m->type == NN_NUM_U32, err, AG_EDATA,
                   "'%s': general.alignment is no u32; expected one", w->path);
        *alignment = (uint64_t)m->number;
        AG_REQUIRE(*alignment > 0 && (*alignment & (*alignment - 1)) == 0, err, AG_EDATA,
                   "'%s': general.alignment is %llu; expected a power of two", w->path, (unsigned long long)*alignment);
    }
    return AG_OK;
}

/* ---- the tensors ---- */

/* Innermost first in the file, outermost first in s. */
static ag_code take_shape(nn_cursor *c, nn_stored *s, ag_error *err)
{
    uint32_t ndim = 0;
    AG_TRY(err, nn_take(c, &ndim, sizeof ndim, "a tensor's axes", err));
    AG_REQUIRE(ndim <= DIMS_MOST, err, AG_EDATA, "'%s': tensor '%s' has %u axes; expected at most %d", c->w->path,
               nn_shown(s->name).text, ndim, DIMS_MOST);
    s->ndim = (int)ndim;
    s->numel = 1;
    for (int i = s->ndim - 1; i >= 0; i--) {
        uint64_t size = 0;
        AG_TRY(err, nn_take(c, &size, sizeof size, "a tensor's shape", err));
        s->shape[i] = (int64_t)size;
        AG_REQUIRE(size <= INT64_MAX && !__builtin_mul_overflow(s->numel, s->shape[i], &s->numel), err, AG_EDATA,
                   "'%s': tensor '%s': the size of its shape overflows at %llu", c->w->path, nn_shown(s->name).text,
                   (unsigned long long)size);
    }
    return AG_OK;
}

static ag_code take_type(nn_cursor *c, nn_stored *s, ag_error *err)
{
    uint32_t number = 0;
    AG_TRY(err, nn_take(c, &number, sizeof number, "a tensor's type", err));
    const type *t = number < sizeof types / sizeof *types ? &types[number] : NULL;
    const nn_name_shown name = nn_shown(s->name);
    AG_REQUIRE(t && t->values > 0, err, AG_EDATA, "'%s': tensor '%s' has the type %u; expected one of ggml's", c->w->path, name.text,
               number);
    const int64_t last = s->ndim > 0 ? s->shape[s->ndim - 1] : 1;
    int64_t bytes;
    AG_REQUIRE(last % t->values == 0, err, AG_EDATA, "'%s': tensor '%s': rows of %lld; expected a multiple of %d, its type's block",
               c->w->path, name.text, (long long)last, t->values);
    AG_REQUIRE(!__builtin_mul_overflow(s->numel / t->values, (int64_t)t->bytes, &bytes), err, AG_EDATA,
               "'%s': tensor '%s': its size overflows", c->w->path, name.text);
    s->dtype = t->dtype;
    s->bytes = (size_t)bytes;
    return AG_OK;
}

static ag_code take_tensors(nn_cursor *c, uint64_t n, uint64_t *offset, ag_error *err)
{
    nn_weights *w = c->w;
    for (uint64_t i = 0; i < n; i++) {
        nn_stored s = { 0 };
        AG_TRY(err, nn_take_name(c, "a tensor's name", NAME_MOST, &s.name, err));
        AG_TRY(err, take_shape(c, &s, err));
        AG_TRY(err, take_type(c, &s, err));
        AG_TRY(err, nn_take(c, &offset[i], sizeof *offset, "a tensor's offset", err));
        w->stored[w->n++] = s;
    }
    return AG_OK;
}

static int by_place(const void *a, const void *b)
{
    const nn_stored *const *x = a, *const *y = b;
    const char *p = (*x)->data, *q = (*y)->data;
    if (p != q)
        return p < q ? -1 : 1;
    return ((*x)->bytes > (*y)->bytes) - ((*x)->bytes < (*y)->bytes);
}

static ag_code check_overlap(const nn_weights *w, const nn_stored **sorted, ag_error *err)
{
    for (int i = 0; i < w->n; i++)
        sorted[i] = &w->stored[i];
    qsort(sorted, (size_t)w->n, sizeof *sorted, by_place);
    for (int i = 1; i < w->n; i++) {
        const nn_stored *a = sorted[i - 1], *b = sorted[i];
        AG_REQUIRE((const char *)a->data + a->bytes <= (const char *)b->data, err, AG_EDATA,
                   "'%s': tensors '%s' and '%s' overlap; expected each to have its own bytes", w->path, nn_shown(a->name).text,
                   nn_shown(b->name).text);
    }
    return AG_OK;
}

static ag_code place(nn_weights *w, uint64_t data, uint64_t alignment, const uint64_t *offset, ag_error *err)
{
    const uint64_t room = data <= w->size ? w->size - data : 0;
    for (int i = 0; i < w->n; i++) {
        nn_stored *s = &w->stored[i];
        AG_REQUIRE(offset[i] % alignment == 0, err, AG_EDATA, "'%s': tensor '%s' lies at %llu; expected a multiple of %llu", w->path,
                   nn_shown(s->name).text, (unsigned long long)offset[i], (unsigned long long)alignment);
        AG_REQUIRE(offset[i] <= room && s->bytes <= room - offset[i], err, AG_EDATA,
                   "'%s': tensor '%s' lies at %llu and has %zu bytes; there are %llu bytes of data", w->path, nn_shown(s->name).text,
                   (unsigned long long)offset[i], s->bytes, (unsigned long long)room);
        s->data = w->data + (data <= w->size ? data + offset[i] : w->size);
    }
    return AG_OK;
}

ag_code nn_read_gguf(nn_weights *w, ag_error *err)
{
    nn_cursor c = { .w = w };
    uint64_t n_tensor = 0, n_key = 0, alignment = 0, *offset = NULL;
    const nn_stored **sorted = NULL;
    AG_TRY(err, take_counts(&c, &n_tensor, &n_key, err));
    AG_TRY(err, take_keys(&c, n_key, err));
    AG_TRY(err, find_alignment(w, &alignment, err));
    AG_TRY(err, nn_keep(w, n_tensor * sizeof *w->stored, &w->stored, err));
    AG_TRY(err, nn_keep(w, n_tensor * sizeof *offset, &offset, err));
    AG_TRY(err, nn_keep(w, n_tensor * sizeof *sorted, &sorted, err));
    AG_TRY(err, take_tensors(&c, n_tensor, offset, err));
    AG_TRY(err, place(w, (c.at + alignment - 1) / alignment * alignment, alignment, offset, err));
    return check_overlap(w, sorted, err);
}
