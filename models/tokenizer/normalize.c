/* Normalisation before splitting: BERT's (clean, spaces around CJK, accents off, lower case) and NFC. */
#include "models/tokenizer/tokenizer_internal.h"

#include <string.h>
#include <utf8proc.h>

/* Output bytes for one input byte, at most: a character of 2 bytes gives NN_CHAR_PARTS characters of 4. */
enum { GROWTH = 8 };

typedef struct writer {
    char *out;
    size_t n;
    size_t starter;                      /* combining characters behind this offset may change places */
} writer;

static size_t last_character(const writer *w)
{
    size_t at = w->n;
    do
        at--;
    while ((w->out[at] & 0xc0) == 0x80);
    return at;
}

/* Canonical order: a combining character stands behind those of its own class and of lower ones. */
static void put_ordered(writer *w, int32_t c)
{
    const int class = nn_char_combining(c);
    const size_t end = w->n;
    char bytes[4];
    const size_t size = nn_char_put(c, bytes);
    while (class > 0 && w->n > w->starter) {
        size_t at = last_character(w), unused;
        if (nn_char_combining(nn_char_at(w->out + at, &unused)) <= class)
            break;
        w->n = at;
    }
    memmove(w->out + w->n + size, w->out + w->n, end - w->n);
    memcpy(w->out + w->n, bytes, size);
    w->n = end + size;
    if (class == 0)
        w->starter = w->n;
}

static void put_lower(const nn_normalizer *z, writer *w, int32_t c)
{
    int32_t small[NN_CHAR_PARTS] = { c };
    const int n = z->lower ? nn_char_lower(c, small) : 1;
    for (int i = 0; i < n; i++)
        if (z->strip_accents)
            put_ordered(w, small[i]);
        else
            w->n += nn_char_put(small[i], w->out + w->n);
}

static void put_stripped(const nn_normalizer *z, writer *w, int32_t c)
{
    int32_t parts[NN_CHAR_PARTS] = { c };
    const int n = z->strip_accents ? nn_char_decompose(c, parts) : 1;
    for (int i = 0; i < n; i++)
        if (!z->strip_accents || !nn_char_mark(parts[i]))
            put_lower(z, w, parts[i]);
        else if (nn_char_combining(parts[i]) == 0)
            w->starter = w->n;
}

static void put_bert(const nn_normalizer *z, writer *w, int32_t c)
{
    if (z->clean && (c == 0 || c == 0xfffd || nn_char_control(c)))
        return;
    if (z->clean && nn_char_space(c))
        c = ' ';
    const bool spaced = z->cjk && nn_char_cjk(c);
    if (spaced)
        w->out[w->n++] = ' ';
    put_stripped(z, w, c);
    if (spaced)
        w->out[w->n++] = ' ';
    if (spaced)
        w->starter = w->n;
}

static size_t bert(const nn_normalizer *z, const char *text, size_t length, char *out)
{
    writer w = { .out = out };
    for (size_t i = 0, size; i < length; i += size) {
        const int32_t c = nn_char_at(text + i, &size);
        if (c >= 0x80 || c < 0x20 || c == 0x7f) {
            put_bert(z, &w, c);
            continue;
        }
        w.out[w.n++] = (char)(z->lower && c >= 'A' && c <= 'Z' ? c + 32 : c);
        w.starter = w.n;
    }
    return w.n;
}

static bool all_ascii(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length && (unsigned char)text[i] < 0x80)
        i++;
    return i == length;
}

/* Composes c[0 .. n) in place; returns the new length. utf8proc before 2.10 swallows U+11A7, which composes with nothing, so
 * what stands between two of them is composed apart. */
static utf8proc_ssize_t compose(int32_t *c, utf8proc_ssize_t n)
{
    enum { HANGUL_T_BASE = 0x11a7 };
    utf8proc_ssize_t out = 0;
    for (utf8proc_ssize_t from = 0, to; from < n; from = to + 1) {
        for (to = from; to < n && c[to] != HANGUL_T_BASE; to++)
            ;
        const utf8proc_ssize_t m = utf8proc_normalize_utf32(c + from, to - from, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (m < 0)
            return m;
        memmove(c + out, c + from, (size_t)m * sizeof *c);
        out += m;
        if (to < n)
            c[out++] = HANGUL_T_BASE;
    }
    return out;
}

/* characters [length * NN_CHAR_PARTS], then bytes: both in the scratch memory. */
static ag_code nfc(const char *text, size_t length, nn_scratch *s, const char **out, size_t *n, ag_error *err)
{
    if (all_ascii(text, length))
        return AG_OK;
    const size_t room = length * NN_CHAR_PARTS;
    int32_t *c = nn_scratch_need(s, room * (sizeof *c + 4));
    AG_REQUIRE(c, err, AG_ENOMEM, "no memory to normalise a text of %zu bytes", length);
    utf8proc_ssize_t count = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, c, (utf8proc_ssize_t)room,
                                                UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
    if (count >= 0 && (size_t)count <= room)
        count = compose(c, count);
    AG_REQUIRE(count >= 0 && (size_t)count <= room, err, AG_EDATA, "a text of %zu bytes cannot be normalised: %s", length,
               utf8proc_errmsg(count));
    char *bytes = (char *)(c + room);
    *n = 0;
    for (utf8proc_ssize_t i = 0; i < count; i++)
        *n += nn_char_put(c[i], bytes + *n);
    *out = bytes;
    return AG_OK;
}

ag_code nn_normalize(const nn_normalizer *z, const char *text, size_t length, nn_scratch *s, const char **out, size_t *n,
                     ag_error *err)
{
    *out = text;
    *n = length;
    if (z->kind == NN_NORMALIZE_NOT || length == 0)
        return AG_OK;
    if (z->kind == NN_NORMALIZE_NFC)
        return nfc(text, length, s, out, n, err);
    char *bytes = nn_scratch_need(s, length * GROWTH);
    AG_REQUIRE(bytes, err, AG_ENOMEM, "no memory to normalise a text of %zu bytes", length);
    *n = bert(z, text, length, bytes);
    *out = bytes;
    return AG_OK;
}
