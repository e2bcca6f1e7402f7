/* What a checkpoint says about itself (weights.h). */
#include "models/weights/weights_internal.h"

#include <stdlib.h>
#include <string.h>

size_t nn_number_bytes(int type)
{
    static const uint8_t bytes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return type >= 0 && type < (int)sizeof bytes ? bytes[type] : 0;
}

/* Numbers lie anywhere in a file, so they are copied. */
double nn_number_at(nn_number_type type, const uint8_t *at)
{
    union { uint16_t u16; int16_t i16; uint32_t u32; int32_t i32; float f32; uint64_t u64; int64_t i64; double f64; } v;
    memcpy(&v, at, nn_number_bytes(type));
    switch (type) {
    case NN_NUM_U8: return at[0];
    case NN_NUM_I8: return (int8_t)at[0];
    case NN_NUM_U16: return v.u16;
    case NN_NUM_I16: return v.i16;
    case NN_NUM_U32: return v.u32;
    case NN_NUM_I32: return v.i32;
    case NN_NUM_F32: return (double)v.f32;
    case NN_NUM_BOOL: return at[0] != 0;
    case NN_NUM_U64: return (double)v.u64;
    case NN_NUM_I64: return (double)v.i64;
    case NN_NUM_F64: return v.f64;
    }
    return 0;
}

static int by_key(const void *key, const void *element)
{
    return strcmp(key, ((const nn_meta *)element)->key);
}

static const nn_meta *find(const nn_weights *w, const char *key, nn_meta_kind kind)
{
    const nn_meta *m = w->n_meta > 0 && key ? bsearch(key, w->meta, (size_t)w->n_meta, sizeof *w->meta, by_key) : NULL;
    return m && m->kind == kind ? m : NULL;
}

bool nn_weights_string(const nn_weights *w, const char *key, const char **value)
{
    const nn_meta *m = find(w, key, NN_META_STRING);
    if (m)
        *value = m->string;
    return m != NULL;
}

bool nn_weights_number(const nn_weights *w, const char *key, double *value)
{
    const nn_meta *m = find(w, key, NN_META_NUMBER);
    if (m)
        *value = m->number;
    return m != NULL;
}

int64_t nn_weights_array(const nn_weights *w, const char *key)
{
    const nn_meta *numbers = find(w, key, NN_META_NUMBERS), *strings = find(w, key, NN_META_STRINGS);
    return numbers ? numbers->n : strings ? strings->n : -1;
}

bool nn_weights_array_string(const nn_weights *w, const char *key, int64_t i, const char **value, size_t *length)
{
    const nn_meta *m = find(w, key, NN_META_STRINGS);
    if (!m || i < 0 || i >= m->n)
        return false;
    *value = m->text + m->start[i];
    *length = m->start[i + 1] - m->start[i] - 1;
    return true;
}

bool nn_weights_array_number(const nn_weights *w, const char *key, int64_t i, double *value)
{
    const nn_meta *m = find(w, key, NN_META_NUMBERS);
    if (!m || i < 0 || i >= m->n)
        return false;
    *value = nn_number_at(m->type, m->numbers + (size_t)i * nn_number_bytes(m->type));
    return true;
}
