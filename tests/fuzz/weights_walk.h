/* What must hold of a checkpoint that was accepted, whatever its format; for the fuzz targets of the formats. */
#ifndef TESTS_FUZZ_WEIGHTS_WALK_H
#define TESTS_FUZZ_WEIGHTS_WALK_H

#include "models/weights/weights_internal.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { WALK_NUMBERS = 1 << 14, WALK_STRINGS = 1 << 10, WALK_TENSORS = 1 << 8 };

static inline void walk_tensor(const nn_weights *w, const nn_stored *s)
{
    static ag_real out[WALK_NUMBERS];
    const uint8_t *data = s->data;
    int64_t n = 1;
    ag_error err = { 0 };
    fuzz_check(s->ndim >= 0 && s->ndim <= NN_STORED_DIMS && s->numel >= 0, "'%s' has a wrong shape", s->name);
    for (int i = 0; i < s->ndim; i++) {
        fuzz_check(s->shape[i] >= 0, "'%s': axis %d", s->name, i);
        n = s->numel ? n * s->shape[i] : 0;   /* beside a 0 the others may be anything */
    }
    fuzz_check(n == s->numel, "'%s' has other numbers than its shape", s->name);
    fuzz_check(data >= w->data && s->bytes <= w->size && (size_t)(data - w->data) <= w->size - s->bytes, "'%s' lies outside", s->name);
    fuzz_check(nn_weights_find(w, s->name) == s, "'%s' is not found", s->name);
    if (s->numel <= WALK_NUMBERS)
        fuzz_check(fuzz_answer(nn_stored_read(s, out, &err), &err) == (s->dtype != NN_OTHER), "'%s': %s", s->name, err.message);
    const ag_real *in_place = nn_stored_in_place(s);
    fuzz_check(!in_place || (const void *)in_place == s->data, "'%s' is elsewhere", s->name);
}

static inline void walk_metadata(const nn_weights *w, const nn_meta *m)
{
    const char *s;
    double v;
    size_t length;
    const int64_t n = nn_weights_array(w, m->key);
    fuzz_check(nn_weights_string(w, m->key, &s) == (m->kind == NN_META_STRING), "'%s'", m->key);
    fuzz_check(nn_weights_number(w, m->key, &v) == (m->kind == NN_META_NUMBER), "'%s'", m->key);
    fuzz_check((n >= 0) == (m->kind == NN_META_NUMBERS || m->kind == NN_META_STRINGS), "'%s'", m->key);
    for (int64_t i = 0; i < n && i < WALK_STRINGS; i++) {
        if (m->kind == NN_META_STRINGS)
            fuzz_check(nn_weights_array_string(w, m->key, n - 1 - i, &s, &length) && strlen(s) <= length && !s[length], "'%s'", m->key);
        else
            fuzz_check(nn_weights_array_number(w, m->key, n - 1 - i, &v), "'%s'", m->key);
    }
}

/* Opens exactly these bytes and looks at all that can be asked for. True where they were accepted. */
static inline bool walk_weights(const uint8_t *data, size_t size, const char *format)
{
    nn_weights *w;
    ag_error err = { 0 };
    if (!fuzz_answer(nn_weights_open_bytes(&w, "fuzz", data, size, &err), &err)) {
        fuzz_check(err.code == AG_EDATA || err.code == AG_ENOMEM, "%s: %s", ag_code_name(err.code), err.message);
        fuzz_check(!w && strncmp(err.message, "'fuzz'", 6) == 0, "refused without the file's name: %s", err.message);
        return false;
    }
    fuzz_check(!format || strcmp(nn_weights_format(w), format) == 0, "taken for %s", nn_weights_format(w));
    for (int i = 0; i < w->n && i < WALK_TENSORS; i++)
        walk_tensor(w, nn_weights_at(w, i));
    for (int i = 0; i < w->n_meta && i < WALK_TENSORS; i++)
        walk_metadata(w, &w->meta[i]);
    const char *nearest = w->n < WALK_TENSORS ? nn_weights_nearest(w, "model.layers.0.self_attn.q_proj.weight") : NULL;
    fuzz_check(!nearest || nn_weights_find(w, nearest), "'%s' is near but not there", nearest);
    nn_weights_close(w);
    return true;
}

#endif
