/* Ids -> text, as the decoders of the `tokenizers` package and llama2.c's run.c write it. */
#include "models/tokenizer/tokenizer_internal.h"

#include <string.h>

/* ---- WordPiece ---- */

/* Every `from` of p[0 .. n) becomes `to`, which is no longer; returns the new n. */
static size_t replace(char *p, size_t n, const char *from, const char *to)
{
    const size_t n_from = strlen(from), n_to = strlen(to);
    size_t out = 0;
    for (size_t i = 0; i < n;) {
        if (n - i >= n_from && memcmp(p + i, from, n_from) == 0) {
            memcpy(p + out, to, n_to);
            out += n_to;
            i += n_from;
        } else
            p[out++] = p[i++];
    }
    return out;
}

static size_t clean_up(char *p, size_t n)
{
    static const char *const rules[][2] = {
        { " .", "." }, { " ?", "?" }, { " !", "!" }, { " ,", "," }, { " ' ", "'" }, { " n't", "n't" }, { " 'm", "'m" },
        { " do not", " don't" }, { " 's", "'s" }, { " 've", "'ve" }, { " 're", "'re" },
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        n = replace(p, n, rules[i][0], rules[i][1]);
    return n;
}

static size_t put_wordpiece(const nn_tokenizer *k, bool first, const char *token, size_t length, char *out)
{
    const size_t prefix = strlen(k->decoder_prefix);
    size_t n = 0;
    if (!first && length >= prefix && memcmp(token, k->decoder_prefix, prefix) == 0) {
        token += prefix;
        length -= prefix;
    } else if (!first)
        out[n++] = ' ';
    memcpy(out + n, token, length);
    return k->cleanup ? clean_up(out, n + length) : n + length;
}

/* ---- byte level ---- */

/* The bytes that the token's characters stand for; its own where one of them stands for none. */
static size_t put_bytes(const char *token, size_t length, char *out)
{
    size_t n = 0;
    for (size_t i = 0, size; i < length; i += size) {
        const int byte = nn_character_byte(nn_char_at(token + i, &size));
        if (byte < 0) {
            memcpy(out, token, length);
            return length;
        }
        out[n++] = (char)byte;
    }
    return n;
}

/* What is not UTF-8 becomes U+FFFD. out NULL: only counts. */
static size_t mend_utf8(const char *p, size_t n, char *out)
{
    size_t written = 0;
    while (n > 0) {
        size_t bad;
        const size_t good = nn_utf8_valid(p, n, &bad);
        if (out)
            memcpy(out + written, p, good);
        written += good;
        if (good < n && out)
            memcpy(out + written, "\xef\xbf\xbd", 3);
        written += good < n ? 3 : 0;
        p += good + bad;
        n -= good + bad;
    }
    return written;
}

/* ---- llama2.c ---- */

static int hexadecimal(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Behind <s> a space is left out; <0x0A> is a byte. */
static size_t put_llama2c(int32_t previous, const char *token, size_t length, char *out)
{
    if (previous == 1 && length > 0 && token[0] == ' ') {
        token++;
        length--;
    }
    if (length == 6 && memcmp(token, "<0x", 3) == 0 && token[5] == '>' && hexadecimal(token[3]) >= 0 && hexadecimal(token[4]) >= 0) {
        *out = (char)(hexadecimal(token[3]) << 4 | hexadecimal(token[4]));
        return 1;
    }
    memcpy(out, token, length);
    return length;
}

/* ---- all ---- */

static bool left_out(const nn_tokenizer *k, int32_t id)
{
    return id < 0 || id >= k->vocab.n || k->vocab.spans[id].at == NN_NO_TOKEN || (id < k->added.n_ids && k->added.special[id]);
}

/* An added token that is looked for in the normalised text is written as it stands there. */
static const char *written(const nn_tokenizer *k, int32_t id, size_t *length)
{
    const nn_added_token *t = k->added.any_normalized ? nn_added_find(&k->added, id) : NULL;
    if (!t || !t->normalized)
        return nn_vocab_token(&k->vocab, id, length);
    *length = t->length;
    return t->text;
}

static size_t decoded_bound(const nn_tokenizer *k, const int32_t *ids, int64_t n)
{
    size_t bytes = 1, length = 0;
    for (int64_t i = 0; i < n; i++)
        bytes += !left_out(k, ids[i]) && written(k, ids[i], &length) ? length + 1 : 0;
    return bytes;
}

static size_t decode_into(const nn_tokenizer *k, const int32_t *ids, int64_t n, char *out)
{
    size_t at = 0;
    bool first = true;
    for (int64_t i = 0; i < n; i++) {
        if (left_out(k, ids[i]))
            continue;
        size_t length;
        const char *token = written(k, ids[i], &length);
        switch (k->decoder) {
        case NN_DECODE_WORDPIECE: at += put_wordpiece(k, first, token, length, out + at); break;
        case NN_DECODE_BYTES: at += put_bytes(token, length, out + at); break;
        case NN_DECODE_LLAMA2C: at += put_llama2c(i > 0 ? ids[i - 1] : -1, token, length, out + at); break;
        case NN_DECODE_JOINED:
            if (!first)
                out[at++] = ' ';
            memcpy(out + at, token, length);
            at += length;
        }
        first = false;
    }
    return at;
}

ag_code nn_tokenizer_decode(const nn_tokenizer *k, const int32_t *ids, int64_t n, char *out, size_t max, size_t *length, ag_error *err)
{
    AG_REQUIRE(k && (ids || n == 0) && out && length, err, AG_EINVAL, "nn_tokenizer_decode: an argument is NULL");
    AG_REQUIRE(n >= 0, err, AG_EINVAL, "nn_tokenizer_decode: n is %lld", (long long)n);
    char *bytes = ag_alloc(decoded_bound(k, ids, n));
    AG_REQUIRE(bytes, err, AG_ENOMEM, "no memory to decode %lld tokens", (long long)n);
    const size_t raw = decode_into(k, ids, n, bytes);
    const bool mend = k->decoder == NN_DECODE_BYTES;
    const size_t needed = mend ? mend_utf8(bytes, raw, NULL) : raw;
    ag_code code = AG_OK;
    if (needed < max) {
        if (mend)
            mend_utf8(bytes, raw, out);
        else
            memcpy(out, bytes, raw);
        out[needed] = '\0';
        *length = needed;
    } else
        code = ag_fail(err, AG_EINVAL, "the text has %zu bytes, but there is room for %zu and a 0", needed, max > 0 ? max - 1 : 0);
    ag_free(bytes);
    return code;
}
