/* Byte pair encoding (Sennrich, Haddow & Birch 2016): of all neighbours that may merge, those of the lowest rank do, the
 * leftmost first, until none may. Byte-level (GPT-2) the symbols are bytes and merges are listed; in llama2.c the symbols are
 * characters and two tokens may merge where the vocabulary has both together, best score first. */
#include "models/tokenizer/tokenizer_internal.h"

#include <string.h>

/* ---- merging: a heap of candidates, some of them out of date ---- */

typedef struct symbol { int32_t id, previous, next; } symbol;      /* id -1: merged away; previous, next -1: none */
typedef struct candidate { uint32_t rank, at, id; } candidate;

typedef struct merger {
    const nn_tokenizer *k;
    symbol *symbols;
    candidate *heap;
    size_t n_symbols, n_heap;
    char *both;                          /* llama2.c: room for two tokens */
} merger;

static bool sooner(candidate a, candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void push(merger *m, candidate c)
{
    size_t i = m->n_heap++;
    for (; i > 0 && sooner(c, m->heap[(i - 1) / 2]); i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = c;
}

static candidate pop(merger *m)
{
    const candidate top = m->heap[0], last = m->heap[--m->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < m->n_heap; i = child) {
        if (child + 1 < m->n_heap && sooner(m->heap[child + 1], m->heap[child]))
            child++;
        if (!sooner(m->heap[child], last))
            break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = last;
    return top;
}

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* Where the pair is, or would be. */
static nn_pair *pair_slot(const nn_bpe *b, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    while (b->pairs[h & b->mask].key != key && b->pairs[h & b->mask].key != UINT64_MAX)
        h++;
    return &b->pairs[h & b->mask];
}

/* What left and right make together: rank and id. */
static bool pair_of(const merger *m, int32_t left, int32_t right, candidate *c)
{
    if (m->k->model == NN_BYTE_BPE) {
        const nn_pair *p = pair_slot(&m->k->bpe, pair_key(left, right));
        *c = (candidate){ .rank = p->rank, .id = p->id };
        return p->key != UINT64_MAX;
    }
    const nn_span *a = &m->k->vocab.spans[left], *b = &m->k->vocab.spans[right];
    if (a->length + b->length > m->k->vocab.longest)
        return false;
    memcpy(m->both, m->k->vocab.bytes + a->at, a->length);
    memcpy(m->both + a->length, m->k->vocab.bytes + b->at, b->length);
    const int32_t id = nn_vocab_find(&m->k->vocab, m->both, a->length + b->length);
    if (id < 0)
        return false;
    *c = (candidate){ .rank = m->k->bpe.score_rank[id], .id = (uint32_t)id };
    return true;
}

static void consider(merger *m, int32_t at)
{
    candidate c;
    if (at < 0 || m->symbols[at].next < 0)
        return;
    if (pair_of(m, m->symbols[at].id, m->symbols[m->symbols[at].next].id, &c)) {
        c.at = (uint32_t)at;
        push(m, c);
    }
}

/* A candidate still holds where its two symbols make what they made then, even if by another merge: as the package does it. */
static bool holds(const merger *m, const candidate *c)
{
    const symbol *s = &m->symbols[c->at];
    candidate now;
    return s->id >= 0 && s->next >= 0 && pair_of(m, s->id, m->symbols[s->next].id, &now) && now.id == c->id;
}

static void merge(merger *m)
{
    for (size_t i = 0; i + 1 < m->n_symbols; i++)
        consider(m, (int32_t)i);
    while (m->n_heap > 0) {
        const candidate c = pop(m);
        if (!holds(m, &c))
            continue;
        symbol *left = &m->symbols[c.at], *right = &m->symbols[left->next];
        left->id = (int32_t)c.id;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0)
            m->symbols[left->next].previous = (int32_t)c.at;
        consider(m, left->previous);
        consider(m, (int32_t)c.at);
    }
}

/* n symbols at most. Each merge adds two candidates and takes away a symbol, so there are never more than 3 n. */
static ag_code merger_init(merger *m, nn_encoder *c, size_t n)
{
    const size_t both = c->k->model == NN_LLAMA2C_BPE ? c->k->vocab.longest : 0;
    const size_t bytes = n * (sizeof(symbol) + 3 * sizeof(candidate)) + both;
    void *memory = nn_scratch_need(&c->word, bytes);
    AG_REQUIRE(memory, c->err, AG_ENOMEM, "no memory to encode a word of %zu bytes", n);
    symbol *symbols = memory;
    candidate *heap = (candidate *)(symbols + n);
    *m = (merger){ .k = c->k, .symbols = symbols, .heap = heap, .both = (char *)(heap + 3 * n) };
    return AG_OK;
}

static void add(merger *m, int32_t id)
{
    const int32_t i = (int32_t)m->n_symbols++;
    m->symbols[i] = (symbol){ .id = id, .previous = i - 1, .next = -1 };
    if (i > 0)
        m->symbols[i - 1].next = i;
}

static void finish(merger *m, nn_encoder *c)
{
    merge(m);
    for (size_t i = 0; i < m->n_symbols; i++)
        if (m->symbols[i].id >= 0)
            nn_encoder_emit(c, m->symbols[i].id);
}

/* ---- byte level ---- */

int32_t nn_byte_character(int byte)
{
    if ((byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae)
        return byte;
    return byte <= ' ' ? 0x100 + byte : byte == 0xad ? 0x143 : 0x121 + byte - 0x7f;
}

int nn_character_byte(int32_t c)
{
    if (c < 0x100)
        return c > ' ' && nn_byte_character(c) == c ? c : -1;
    return c <= 0x120 ? c - 0x100 : c <= 0x142 ? c - 0x121 + 0x7f : c == 0x143 ? 0xad : -1;
}

/* The token that is the whole word; -1: none, *code tells whether for want of memory. */
static int32_t whole_word(nn_encoder *c, const char *word, size_t length, ag_code *code)
{
    if (length > c->k->vocab.longest)
        return -1;
    char *written = nn_scratch_need(&c->word, 2 * length);
    if (!written) {
        *code = ag_fail(c->err, AG_ENOMEM, "no memory to encode a word of %zu bytes", length);
        return -1;
    }
    size_t n = 0;
    for (size_t i = 0; i < length; i++)
        n += nn_char_put(nn_byte_character((unsigned char)word[i]), written + n);
    return nn_vocab_find(&c->k->vocab, written, n);
}

ag_code nn_bpe_word(nn_encoder *c, const char *word, size_t length)
{
    const nn_bpe *b = &c->k->bpe;
    ag_code code = AG_OK;
    const int32_t whole = b->whole_words ? whole_word(c, word, length, &code) : -1;
    if (code != AG_OK)
        return code;
    if (whole >= 0) {
        nn_encoder_emit(c, whole);
        return AG_OK;
    }
    merger m = { .k = c->k };
    AG_TRY(c->err, merger_init(&m, c, length));
    bool unknown = false;
    for (size_t i = 0; i < length; i++) {
        const int32_t id = b->byte_id[(unsigned char)word[i]];
        if (id >= 0)
            add(&m, id);
        else if (b->unknown >= 0 && !(unknown && b->fuse_unknown))
            add(&m, b->unknown);
        unknown = id < 0;
    }
    finish(&m, c);
    return AG_OK;
}

/* ---- llama2.c (run.c, encode) ---- */

enum { BYTES_FROM = 3 };                 /* ids of the 256 bytes, behind <unk>, <s>, </s> */

ag_code nn_llama2c_text(nn_encoder *c, const char *text, size_t length)
{
    if (length == 0)
        return AG_OK;
    merger m = { .k = c->k };
    AG_TRY(c->err, merger_init(&m, c, length + 1));
    add(&m, c->k->bpe.space);
    for (size_t i = 0, size; i < length; i += size) {
        nn_char_at(text + i, &size);
        const int32_t id = nn_vocab_find(&c->k->vocab, text + i, size);
        if (id >= 0)
            add(&m, id);
        else
            for (size_t j = 0; j < size; j++)
                add(&m, BYTES_FROM + (unsigned char)text[i + j]);
    }
    finish(&m, c);
    return AG_OK;
}

/* ---- making ---- */

ag_code nn_bpe_init(nn_tokenizer *k, int64_t n_merges, ag_error *err)
{
    nn_bpe *b = &k->bpe;
    size_t size = 16;
    while (size < 2 * (size_t)n_merges)
        size *= 2;
    b->mask = size - 1;
    b->pairs = ag_alloc(size * sizeof *b->pairs);
    AG_REQUIRE(b->pairs, err, AG_ENOMEM, "no memory for %lld merges", (long long)n_merges);
    for (size_t i = 0; i < size; i++)
        b->pairs[i] = (nn_pair){ .key = UINT64_MAX };
    for (int byte = 0; byte < 256; byte++) {
        char written[4];
        b->byte_id[byte] = nn_vocab_find(&k->vocab, written, nn_char_put(nn_byte_character(byte), written));
    }
    return AG_OK;
}

static ag_code find_token(const nn_tokenizer *k, uint32_t rank, const char *token, size_t length, int32_t *id, ag_error *err)
{
    *id = nn_vocab_find(&k->vocab, token, length);
    AG_REQUIRE(*id >= 0, err, AG_EDATA, "merge %u: '%.*s' is not in the vocabulary", rank, (int)(length < 80 ? length : 80), token);
    return AG_OK;
}

ag_code nn_bpe_put_merge(nn_tokenizer *k, uint32_t rank, const char *left, size_t n_left, const char *right, size_t n_right,
                         nn_scratch *s, ag_error *err)
{
    int32_t a, b, both;
    AG_TRY(err, find_token(k, rank, left, n_left, &a, err));
    AG_TRY(err, find_token(k, rank, right, n_right, &b, err));
    char *joined = nn_scratch_need(s, n_left + n_right + 1);
    AG_REQUIRE(joined, err, AG_ENOMEM, "no memory for merge %u", rank);
    memcpy(joined, left, n_left);
    memcpy(joined + n_left, right, n_right);
    AG_TRY(err, find_token(k, rank, joined, n_left + n_right, &both, err));
    *pair_slot(&k->bpe, pair_key(a, b)) = (nn_pair){ .key = pair_key(a, b), .rank = rank, .id = (uint32_t)both };
    return AG_OK;
}

ag_code nn_bpe_put_merge_text(nn_tokenizer *k, uint32_t rank, const char *merge, size_t length, nn_scratch *s, ag_error *err)
{
    const char *space = memchr(merge, ' ', length);
    const size_t left = space ? (size_t)(space - merge) : 0;
    AG_REQUIRE(space && !memchr(space + 1, ' ', length - left - 1), err, AG_EDATA,
               "merge %u is '%.80s', expected two tokens with one space between them", rank, merge);
    return nn_bpe_put_merge(k, rank, merge, left, space + 1, length - left - 1, s, err);
}

void nn_bpe_release(nn_bpe *b)
{
    ag_free(b->pairs);
    ag_free(b->score_rank);
    b->pairs = NULL;
    b->score_rank = NULL;
}
