/* A text on its way through a tokenizer. */
#include "models/tokenizer/tokenizer_internal.h"

enum { TEXT_MAX = 1 << 28 };             /* [bytes]; offsets and counts fit 32 bits */

void nn_encoder_emit(nn_encoder *c, int32_t id)
{
    if (c->e->n - (c->e->plain ? 0 : c->k->n_before) >= c->room)
        c->e->dropped++;
    else
        c->e->ids[c->e->n++] = id;
}

static ag_code encode_word(nn_encoder *c, const char *word, size_t length)
{
    if (c->k->model == NN_BYTE_BPE)
        return nn_bpe_word(c, word, length);
    nn_wordpiece_word(c, word, length);
    return AG_OK;
}

/* A space in front of what does not start with one. */
static ag_code with_space(nn_encoder *c, const char **text, size_t *length)
{
    if (**text == ' ')
        return AG_OK;
    char *spaced = nn_scratch_need(&c->spaced, *length + 1);
    AG_REQUIRE(spaced, c->err, AG_ENOMEM, "no memory to encode a text of %zu bytes", *length);
    spaced[0] = ' ';
    for (size_t i = 0; i < *length; i++)
        spaced[i + 1] = (*text)[i];
    *text = spaced;
    ++*length;
    return AG_OK;
}

/* Splits by the pre-tokenizers from number `step` on; each sees the pieces of the one before it. */
static ag_code split(nn_encoder *c, int step, const char *text, size_t length)
{
    if (step == c->k->n_splits)
        return encode_word(c, text, length);
    const nn_split_kind kind = c->k->splits[step];
    if (kind == NN_SPLIT_PREFIX_SPACE)
        AG_TRY(c->err, with_space(c, &text, &length));
    while (length > 0) {
        bool word;
        const size_t n = nn_split_next(kind, text, length, &word);
        if (word)
            AG_TRY(c->err, split(c, step + 1, text, n));
        text += n;
        length -= n;
    }
    return AG_OK;
}

static ag_code split_all(nn_encoder *c, const char *text, size_t length)
{
    return length > 0 ? split(c, 0, text, length) : AG_OK;
}

static ag_code normalize_piece(nn_encoder *c, const char *text, size_t length);

/* Cuts out the added tokens of one kind and hands on what lies between them. */
static ag_code cut_added(nn_encoder *c, bool normalized, const char *text, size_t length)
{
    ag_code (*const rest)(nn_encoder *, const char *, size_t) = normalized ? split_all : normalize_piece;
    size_t from = 0, done = 0, start, stop;
    const nn_added_token *t;
    while ((t = nn_added_next(&c->k->added, normalized, text, length, from, done, &start, &stop, &from))) {
        if (done < start)
            AG_TRY(c->err, rest(c, text + done, start - done));
        nn_encoder_emit(c, t->id);
        done = stop;
    }
    return done < length ? rest(c, text + done, length - done) : AG_OK;
}

static ag_code normalize_piece(nn_encoder *c, const char *text, size_t length)
{
    const char *out;
    size_t n;
    AG_TRY(c->err, nn_normalize(&c->k->normalizer, text, length, &c->text, &out, &n, c->err));
    return cut_added(c, true, out, n);
}

static ag_code encode_text(nn_encoder *c, const char *text, size_t length)
{
    return c->k->model == NN_LLAMA2C_BPE ? nn_llama2c_text(c, text, length) : cut_added(c, false, text, length);
}

ag_code nn_tokenizer_encode(const nn_tokenizer *k, const char *text, size_t length, nn_encoding *e, ag_error *err)
{
    AG_REQUIRE(k && e && (text || length == 0), err, AG_EINVAL, "nn_tokenizer_encode: an argument is NULL");
    AG_REQUIRE(e->ids || e->max == 0, err, AG_EINVAL, "nn_tokenizer_encode: ids is NULL");
    AG_REQUIRE(length <= TEXT_MAX, err, AG_EINVAL, "a text of %zu bytes, expected at most %d", length, TEXT_MAX);
    const int around = e->plain ? 0 : k->n_before + k->n_after;
    AG_REQUIRE(e->max >= around, err, AG_EINVAL, "room for %lld tokens, but the special ones around a text are %d", (long long)e->max,
               around);
    size_t bad;
    const size_t valid = nn_utf8_valid(text, length, &bad);
    AG_REQUIRE(valid == length, err, AG_EDATA, "the text is not UTF-8: byte %zu is 0x%02x", valid, (unsigned char)text[valid]);
    e->n = e->dropped = 0;
    for (int i = 0; i < k->n_before && !e->plain; i++)
        e->ids[e->n++] = k->before[i];
    nn_encoder c;                        /* not cleared as a whole: its scratch memory is large */
    c.k = k;
    c.e = e;
    c.err = err;
    c.room = e->max - around;
    c.text.heap = c.spaced.heap = c.word.heap = NULL;
    c.text.room = c.spaced.room = c.word.room = 0;
    const ag_code code = encode_text(&c, text, length);
    nn_scratch_release(&c.text);
    nn_scratch_release(&c.spaced);
    nn_scratch_release(&c.word);
    if (code != AG_OK)
        return ag_trail(err, code, __func__);
    for (int i = 0; i < k->n_after && !e->plain; i++)
        e->ids[e->n++] = k->after[i];
    return AG_OK;
}
