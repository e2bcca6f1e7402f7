/* Added tokens: those looked for in the text as they stand, before it is split ("[SEP]", "<|im_start|>"). Of several that
 * start at one place the longest is taken. */
#include "models/tokenizer/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

ag_code nn_added_init(nn_added *a, int64_t n, int64_t n_ids, ag_error *err)
{
    a->n_ids = n_ids;
    a->tokens = ag_alloc_zero((size_t)(n > 0 ? n : 1) * sizeof *a->tokens);
    a->special = ag_alloc_zero((size_t)n_ids);
    AG_REQUIRE(a->tokens && a->special, err, AG_ENOMEM, "no memory for %lld added tokens", (long long)n);
    a->n = n;
    return AG_OK;
}

void nn_added_release(nn_added *a)
{
    for (int64_t i = 0; a->tokens && i < a->n; i++)
        ag_free(a->tokens[i].text);
    ag_free(a->tokens);
    ag_free(a->special);
    *a = (nn_added){ 0 };
}

ag_code nn_added_put(nn_added *a, int64_t i, const nn_added_token *token, const char *text, size_t length, const nn_normalizer *z,
                     ag_error *err)
{
    nn_scratch s = { .heap = NULL };
    ag_code code = AG_OK;
    const char *given = text;
    const size_t n_given = length;
    if (token->normalized)
        code = nn_normalize(z, given, n_given, &s, &text, &length, err);
    nn_added_token *t = &a->tokens[i];
    *t = *token;
    t->length = length;
    t->text = code == AG_OK ? ag_alloc(length + 1) : NULL;
    if (t->text)
        memcpy(t->text, text, length);
    else
        code = ag_fail(err, AG_ENOMEM, "no memory for an added token");
    nn_scratch_release(&s);
    if (code == AG_OK)                   /* the package knows a special token by its text, which may have changed */
        a->special[t->id] = t->special && length == n_given && memcmp(t->text, given, length) == 0;
    a->any_normalized |= t->normalized;
    return code;
}

/* Those that nothing is left of come first, where no byte leads to them. */
static int key_of(const nn_added_token *t)
{
    return t->length == 0 ? -1 : t->normalized * 256 + (unsigned char)t->text[0];
}

static int by_byte_and_length(const void *pa, const void *pb)
{
    const nn_added_token *a = pa, *b = pb;
    const int ka = key_of(a), kb = key_of(b);
    if (ka != kb)
        return ka < kb ? -1 : 1;
    if (a->length != b->length)
        return a->length > b->length ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

void nn_added_order(nn_added *a)
{
    qsort(a->tokens, (size_t)a->n, sizeof *a->tokens, by_byte_and_length);
    int32_t i = 0;
    for (int set = 0; set < 2; set++)
        for (int byte = 0; byte <= 256; byte++) {
            while (i < a->n && key_of(&a->tokens[i]) < set * 256 + byte)
                i++;
            a->first[set][byte] = i;
        }
}

const nn_added_token *nn_added_find(const nn_added *a, int32_t id)
{
    for (int64_t i = 0; i < a->n; i++)
        if (a->tokens[i].id == id)
            return &a->tokens[i];
    return NULL;
}

static const nn_added_token *token_at(const nn_added *a, bool normalized, const char *text, size_t length)
{
    const int32_t *first = &a->first[normalized][(unsigned char)*text];
    for (int32_t i = first[0]; i < first[1]; i++)
        if (a->tokens[i].length <= length && memcmp(text, a->tokens[i].text, a->tokens[i].length) == 0)
            return &a->tokens[i];
    return NULL;
}

/* Where the character before text[end] starts. */
static size_t character_before(const char *text, size_t end)
{
    while (end > 0 && (text[--end] & 0xc0) == 0x80)
        ;
    return end;
}

static bool inside_a_word(const char *text, size_t length, size_t start, size_t stop)
{
    size_t size;
    return (start > 0 && nn_char_word(nn_char_at(text + character_before(text, start), &size))) ||
           (stop < length && nn_char_word(nn_char_at(text + stop, &size)));
}

static void swallow_spaces(const nn_added_token *t, const char *text, size_t length, size_t done, size_t *start, size_t *stop)
{
    size_t size;
    if (t->lstrip) {
        size_t at = *start;
        while (at > 0 && nn_char_space(nn_char_at(text + character_before(text, at), &size)))
            at = character_before(text, at);
        *start = at > done ? at : done;
    }
    if (t->rstrip)
        while (*stop < length && nn_char_space(nn_char_at(text + *stop, &size)))
            *stop += size;
}

const nn_added_token *nn_added_next(const nn_added *a, bool normalized, const char *text, size_t length, size_t from, size_t done,
                                    size_t *start, size_t *stop, size_t *resume)
{
    if (a->first[normalized][0] == a->first[normalized][256])
        return NULL;
    while (from < length) {
        const nn_added_token *t = token_at(a, normalized, text + from, length - from);
        if (!t) {
            from++;
            continue;
        }
        *start = from;
        *stop = *resume = from + t->length;
        if (!t->single_word || !inside_a_word(text, length, *start, *stop)) {
            swallow_spaces(t, text, length, done, start, stop);
            return t;
        }
        from = *resume;
    }
    return NULL;
}
