/* Tokens by id and by their bytes. */
#include "models/tokenizer/tokenizer_internal.h"

#include <string.h>
#include <xxhash.h>

ag_code nn_vocab_init(nn_vocab *v, int64_t n, size_t bytes, ag_error *err)
{
    AG_REQUIRE(n > 0 && n <= NN_VOCAB_MAX, err, AG_EDATA, "a vocabulary of %lld ids, expected 1 to %d", (long long)n, NN_VOCAB_MAX);
    AG_REQUIRE(bytes < NN_NO_TOKEN - NN_VOCAB_MAX, err, AG_EDATA, "a vocabulary of %zu bytes, which is too large", bytes);
    v->n = n;
    v->room = bytes + (size_t)n;
    v->bytes = ag_alloc(v->room);
    v->spans = ag_alloc((size_t)n * sizeof *v->spans);
    AG_REQUIRE(v->bytes && v->spans, err, AG_ENOMEM, "no memory for a vocabulary of %lld ids", (long long)n);
    for (int64_t i = 0; i < n; i++)
        v->spans[i] = (nn_span){ .at = NN_NO_TOKEN };
    return AG_OK;
}

void nn_vocab_release(nn_vocab *v)
{
    ag_free(v->bytes);
    ag_free(v->spans);
    ag_free(v->index.slots);
    *v = (nn_vocab){ 0 };
}

ag_code nn_vocab_put(nn_vocab *v, int64_t id, const char *token, size_t length, ag_error *err)
{
    const int shown = length < 40 ? (int)length : 40;
    AG_REQUIRE(id >= 0 && id < v->n, err, AG_EDATA, "the id %lld of '%.*s' is out of range, expected 0 to %lld", (long long)id, shown, token,
               (long long)v->n - 1);
    nn_span *s = &v->spans[id];
    AG_REQUIRE(s->at == NN_NO_TOKEN, err, AG_EDATA, "'%.40s' and '%.*s' have the same id %lld", v->bytes + s->at, shown, token,
               (long long)id);
    AG_REQUIRE(length < v->room - v->used, err, AG_EDATA, "'%.*s': the tokens are longer than expected", shown, token);
    *s = (nn_span){ (uint32_t)v->used, (uint32_t)length };
    memcpy(v->bytes + v->used, token, length);
    v->bytes[v->used + length] = '\0';
    v->used += length + 1;
    if (length > v->longest)
        v->longest = length;
    return AG_OK;
}

static uint32_t *slot_of(const nn_vocab *v, const nn_vocab_index *x, const char *bytes, size_t length)
{
    uint32_t i = (uint32_t)XXH3_64bits(bytes, length) & x->mask;
    for (; x->slots[i]; i = (i + 1) & x->mask) {
        const nn_span *s = &v->spans[x->slots[i] - 1];
        if (s->length - x->skip == length && memcmp(v->bytes + s->at + x->skip, bytes, length) == 0)
            break;
    }
    return &x->slots[i];
}

/* At most half of the slots are used. */
static ag_code new_slots(nn_vocab_index *x, int64_t n, ag_error *err)
{
    size_t size = 16;
    while (size < 2 * (size_t)n)
        size *= 2;
    x->mask = (uint32_t)size - 1;
    x->slots = ag_alloc_zero(size * sizeof *x->slots);
    AG_REQUIRE(x->slots, err, AG_ENOMEM, "no memory for the index of %lld tokens", (long long)n);
    return AG_OK;
}

ag_code nn_vocab_build_index(nn_vocab *v, int64_t *hidden, ag_error *err)
{
    AG_TRY(err, new_slots(&v->index, v->n, err));
    int64_t n = 0;
    for (int64_t id = 0; id < v->n; id++) {
        const nn_span *s = &v->spans[id];
        if (s->at == NN_NO_TOKEN)
            continue;
        uint32_t *slot = slot_of(v, &v->index, v->bytes + s->at, s->length);
        n += *slot != 0;
        *slot = (uint32_t)id + 1;
    }
    if (hidden)
        *hidden = n;
    return AG_OK;
}

static bool starts_with(const nn_vocab *v, int64_t id, const char *prefix, size_t length)
{
    const nn_span *s = &v->spans[id];
    return s->at != NN_NO_TOKEN && s->length >= length && memcmp(v->bytes + s->at, prefix, length) == 0;
}

ag_code nn_vocab_index_behind(const nn_vocab *v, const char *prefix, nn_vocab_index *x, ag_error *err)
{
    const size_t length = strlen(prefix);
    int64_t n = 0;
    for (int64_t id = 0; id < v->n; id++)
        n += starts_with(v, id, prefix, length);
    AG_TRY(err, new_slots(x, n, err));
    x->skip = (uint32_t)length;
    for (int64_t id = 0; id < v->n; id++)
        if (starts_with(v, id, prefix, length))
            *slot_of(v, x, v->bytes + v->spans[id].at + length, v->spans[id].length - length) = (uint32_t)id + 1;
    return AG_OK;
}

int32_t nn_vocab_find_in(const nn_vocab *v, const nn_vocab_index *x, const char *bytes, size_t length)
{
    return (int32_t)*slot_of(v, x, bytes, length) - 1;
}

int32_t nn_vocab_find(const nn_vocab *v, const char *bytes, size_t length)
{
    return nn_vocab_find_in(v, &v->index, bytes, length);
}

const char *nn_vocab_token(const nn_vocab *v, int64_t id, size_t *length)
{
    if (id < 0 || id >= v->n || v->spans[id].at == NN_NO_TOKEN)
        return NULL;
    *length = v->spans[id].length;
    return v->bytes + v->spans[id].at;
}
