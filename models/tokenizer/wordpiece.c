/* WordPiece (Schuster & Nakajima 2012, as BERT uses it): the longest token at the front of a word, then the longest that
 * continues it, and so on; a word that cannot be made so is unknown as a whole. */
#include "models/tokenizer/tokenizer_internal.h"

static int64_t count_characters(const char *word, size_t length)
{
    int64_t n = 0;
    for (size_t i = 0; i < length; i++)
        n += (word[i] & 0xc0) != 0x80;
    return n;
}

/* The longest token of the index at word[start]; *end is behind it. -1: none. */
static int32_t longest(const nn_vocab *v, const nn_vocab_index *x, const char *word, size_t length, size_t start, size_t *end)
{
    size_t stop = length - start > v->longest ? start + v->longest : length;
    for (; stop > start; stop--) {
        if (stop < length && (word[stop] & 0xc0) == 0x80)
            continue;
        const int32_t id = nn_vocab_find_in(v, x, word + start, stop - start);
        if (id >= 0) {
            *end = stop;
            return id;
        }
    }
    return -1;
}

void nn_wordpiece_word(nn_encoder *c, const char *word, size_t length)
{
    const nn_tokenizer *k = c->k;
    const nn_encoding before = *c->e;
    if (count_characters(word, length) > k->wordpiece.max_chars) {
        nn_encoder_emit(c, k->wordpiece.unknown);
        return;
    }
    for (size_t at = 0; at < length;) {
        const int32_t id = longest(&k->vocab, at == 0 ? &k->vocab.index : &k->wordpiece.behind, word, length, at, &at);
        if (id < 0) {
            *c->e = before;
            nn_encoder_emit(c, k->wordpiece.unknown);
            return;
        }
        nn_encoder_emit(c, id);
    }
}
