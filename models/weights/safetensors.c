/* Reading safetensors (weights.h):
 *
 *     length u64 | header [length], JSON: { "name": { "dtype", "shape", "data_offsets": [begin, end] }, "__metadata__": {} } | data
 *
 * Checked as the reference reader does and in its order (huggingface/safetensors, safetensors/src/tensor.rs), so that a file
 * is accepted here if it is there, but for tensors of more than NN_STORED_DIMS axes and for keys that are there twice. */
#include "models/weights/weights_internal.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = sizeof(uint64_t), HEADER_MOST = 100 * 1000 * 1000 };

typedef struct type {
    const char *name;
    nn_dtype dtype;
    unsigned bits;
} type;

static const type types[] = {
    { "BOOL", NN_BOOL, 8 }, { "F4", NN_OTHER, 4 }, { "F6_E2M3", NN_OTHER, 6 }, { "F6_E3M2", NN_OTHER, 6 }, { "U8", NN_U8, 8 },
    { "I8", NN_I8, 8 }, { "F8_E5M2", NN_OTHER, 8 }, { "F8_E4M3", NN_OTHER, 8 }, { "F8_E8M0", NN_OTHER, 8 },
    { "F8_E4M3FNUZ", NN_OTHER, 8 }, { "F8_E5M2FNUZ", NN_OTHER, 8 }, { "I16", NN_I16, 16 }, { "U16", NN_OTHER, 16 },
    { "F16", NN_F16, 16 }, { "BF16", NN_BF16, 16 }, { "I32", NN_I32, 32 }, { "U32", NN_OTHER, 32 }, { "F32", NN_F32, 32 },
    { "C64", NN_OTHER, 64 }, { "F64", NN_F64, 64 }, { "I64", NN_I64, 64 }, { "U64", NN_OTHER, 64 },
};

typedef struct entry {
    nn_stored stored;
    unsigned bits;
    uint64_t begin, end;         /* [bytes] behind the header */
} entry;

/* ---- the header's JSON ---- */

static const type *find_type(const char *name)
{
    for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

static bool take_count(const json_t *value, uint64_t *count)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *count = (uint64_t)json_integer_value(value);
    return true;
}

static ag_code take_shape(const nn_weights *w, const json_t *shape, nn_stored *s, ag_error *err)
{
    AG_REQUIRE(json_is_array(shape), err, AG_EDATA, "'%s': tensor '%s' has no shape; expected a list of sizes", w->path,
               nn_shown(s->name).text);
    AG_REQUIRE(json_array_size(shape) <= NN_STORED_DIMS, err, AG_EDATA, "'%s': tensor '%s' has %zu axes; at most %d can be read",
               w->path, nn_shown(s->name).text, json_array_size(shape), NN_STORED_DIMS);
    s->ndim = (int)json_array_size(shape);
    for (int i = 0; i < s->ndim; i++) {
        uint64_t size;
        AG_REQUIRE(take_count(json_array_get(shape, (size_t)i), &size), err, AG_EDATA,
                   "'%s': tensor '%s': axis %d has no size; expected a whole number, 0 or more", w->path, nn_shown(s->name).text, i);
        s->shape[i] = (int64_t)size;
    }
    return AG_OK;
}

static ag_code take_tensor(nn_weights *w, const char *name, const json_t *info, entry *e, ag_error *err)
{
    const char *dtype = json_string_value(json_object_get(info, "dtype"));
    const json_t *offsets = json_object_get(info, "data_offsets");
    const type *found = find_type(dtype);
    AG_TRY(err, nn_keep_text(w, name, strlen(name), &e->stored.name, err));
    AG_REQUIRE(json_is_object(info), err, AG_EDATA, "'%s': '%s' is no tensor; expected dtype, shape and data_offsets", w->path,
               nn_shown(name).text);
    AG_REQUIRE(found, err, AG_EDATA, "'%s': tensor '%s' has the dtype '%s'; expected one of safetensors', such as F32", w->path,
               nn_shown(name).text, dtype ? nn_shown(dtype).text : "");
    AG_TRY(err, take_shape(w, json_object_get(info, "shape"), &e->stored, err));
    AG_REQUIRE(json_is_array(offsets) && json_array_size(offsets) == 2 && take_count(json_array_get(offsets, 0), &e->begin)
                   && take_count(json_array_get(offsets, 1), &e->end),
               err, AG_EDATA, "'%s': tensor '%s' has no data_offsets; expected two whole numbers", w->path, nn_shown(name).text);
    e->stored.dtype = found->dtype;
    e->bits = found->bits;
    return AG_OK;
}

static ag_code take_metadata(nn_weights *w, json_t *metadata, ag_error *err)
{
    const char *key;
    json_t *value;
    if (json_is_null(metadata))
        return AG_OK;
    AG_REQUIRE(json_is_object(metadata), err, AG_EDATA, "'%s': __metadata__ is no object; expected strings by name", w->path);
    AG_TRY(err, nn_keep(w, json_object_size(metadata) * sizeof *w->meta, &w->meta, err));
    json_object_foreach(metadata, key, value) {
        nn_meta m = { .kind = NN_META_STRING };
        AG_REQUIRE(json_is_string(value), err, AG_EDATA, "'%s': __metadata__ has '%s', which is no string; expected a string",
                   w->path, nn_shown(key).text);
        AG_TRY(err, nn_keep_text(w, key, strlen(key), &m.key, err));
        AG_TRY(err, nn_keep_text(w, json_string_value(value), json_string_length(value), &m.string, err));
        w->meta[w->n_meta++] = m;
    }
    return AG_OK;
}

static ag_code parse(const nn_weights *w, const uint8_t *text, size_t length, json_t **header, ag_error *err)
{
    json_error_t e = { .text = "" };
    errno = 0;
    *header = json_loadb((const char *)text, length, JSON_REJECT_DUPLICATES, &e);
    if (*header)
        return AG_OK;
    /* Jansson calls a token that it had no memory for a wrong one, or says nothing; malloc's errno tells. */
    AG_REQUIRE(errno != ENOMEM && e.text[0], err, AG_ENOMEM, "'%s': out of memory for a header of %zu bytes", w->path, length);
    switch (json_error_code(&e)) {
    case json_error_duplicate_key:
        return ag_fail(err, AG_EDATA, "'%s': the header has a key twice (before byte %d of it): %s", w->path, e.position,
                       nn_shown(e.text).text);
    case json_error_numeric_overflow:
        return ag_fail(err, AG_EDATA, "'%s': the header has a number that overflows (before byte %d of it): %s", w->path,
                       e.position, nn_shown(e.text).text);
    default:
        return ag_fail(err, AG_EDATA, "'%s': the header is no JSON (byte %d of it): %s", w->path, e.position,
                       nn_shown(e.text).text);
    }
}

/* ---- where the tensors are ---- */

static int by_offset(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->stored.name, y->stored.name);
}

static bool numel(const nn_stored *s, unsigned bits, uint64_t *n, uint64_t *n_bits)
{
    *n = 1;
    for (int i = 0; i < s->ndim; i++)
        if (__builtin_mul_overflow(*n, (uint64_t)s->shape[i], n))
            return false;
    return !__builtin_mul_overflow(*n, (uint64_t)bits, n_bits);
}

static ag_code check_entry(const nn_weights *w, entry *e, uint64_t start, ag_error *err)
{
    uint64_t n, bits;
    const nn_name_shown name = nn_shown(e->stored.name);
    AG_REQUIRE(e->begin == start && e->end >= e->begin, err, AG_EDATA,
               "'%s': tensor '%s' lies at [%llu, %llu]; expected it to begin at %llu, where the one before it ends, and not to end "
               "before that", w->path, name.text, (unsigned long long)e->begin, (unsigned long long)e->end,
               (unsigned long long)start);
    AG_REQUIRE(numel(&e->stored, e->bits, &n, &bits), err, AG_EDATA, "'%s': tensor '%s': the size of its shape overflows", w->path,
               name.text);
    AG_REQUIRE(bits % 8 == 0, err, AG_EDATA, "'%s': tensor '%s' has %llu bits; expected whole bytes", w->path, name.text,
               (unsigned long long)bits);
    AG_REQUIRE(e->end - e->begin == bits / 8, err, AG_EDATA,
               "'%s': tensor '%s' has %llu bytes; expected %llu for its shape and dtype", w->path, name.text,
               (unsigned long long)(e->end - e->begin), (unsigned long long)(bits / 8));
    e->stored.numel = (int64_t)n;
    e->stored.bytes = (size_t)(bits / 8);
    return AG_OK;
}

static ag_code place(nn_weights *w, entry *entries, size_t length, ag_error *err)
{
    const uint64_t room = w->size - LENGTH - length;
    uint64_t end = 0;
    qsort(entries, (size_t)w->n, sizeof *entries, by_offset);
    for (int i = 0; i < w->n; i++) {
        AG_TRY(err, check_entry(w, &entries[i], end, err));
        end = entries[i].end;
    }
    AG_REQUIRE(end == room, err, AG_EDATA, "'%s' has %llu bytes behind its header; expected %llu, the end of its last tensor",
               w->path, (unsigned long long)room, (unsigned long long)end);
    for (int i = 0; i < w->n; i++) {
        w->stored[i] = entries[i].stored;
        w->stored[i].data = w->data + LENGTH + length + entries[i].begin;
    }
    return AG_OK;
}

/* ---- the whole ---- */

static ag_code take_header(nn_weights *w, json_t *header, entry *entries, size_t length, ag_error *err)
{
    const char *name;
    json_t *info;
    json_object_foreach(header, name, info) {
        if (strcmp(name, "__metadata__") == 0)
            AG_TRY(err, take_metadata(w, info, err));
        else
            AG_TRY(err, take_tensor(w, name, info, &entries[w->n++], err));
    }
    AG_TRY(err, nn_keep(w, (size_t)w->n * sizeof *w->stored, &w->stored, err));
    return place(w, entries, length, err);
}

static ag_code read_header(nn_weights *w, json_t *header, size_t length, ag_error *err)
{
    AG_REQUIRE(json_is_object(header), err, AG_EDATA, "'%s': the header is no object; expected tensors by name", w->path);
    entry *entries = ag_alloc_zero(json_object_size(header) * sizeof *entries);
    AG_REQUIRE(entries, err, AG_ENOMEM, "'%s': out of memory for %zu tensors", w->path, json_object_size(header));
    ag_code code = take_header(w, header, entries, length, err);
    ag_free(entries);
    return code;
}

ag_code nn_read_safetensors(nn_weights *w, ag_error *err)
{
    uint64_t length;
    json_t *header;
    AG_REQUIRE(w->size >= LENGTH, err, AG_EDATA, "'%s' has %zu bytes; expected a safetensors, GGUF or llama2.c file", w->path,
               w->size);
    memcpy(&length, w->data, LENGTH);
    AG_REQUIRE(length <= HEADER_MOST, err, AG_EDATA,
               "'%s': a header of %llu bytes; expected at most %d (or this is no safetensors, GGUF or llama2.c file)", w->path,
               (unsigned long long)length, HEADER_MOST);
    AG_REQUIRE(length <= w->size - LENGTH, err, AG_EDATA, "'%s' ends in its header of %llu bytes: the file has %zu", w->path,
               (unsigned long long)length, w->size);
    const uint8_t *text = w->data + LENGTH;
    AG_REQUIRE(nn_utf8(text, length), err, AG_EDATA, "'%s': the header is no UTF-8", w->path);
    AG_TRY(err, parse(w, text, length, &header, err));
    ag_code code = read_header(w, header, length, err);
    json_decref(header);
    return code;
}
