/* The insides of a tokenizer, shared by the files of this folder. What a text goes through:
 *
 *     added tokens cut out (added.c) -> normalised (normalize.c) -> split into words (split.c) -> the model's pieces of each
 *     word (wordpiece.c, bpe.c), all of it driven by encode.c; and back (decode.c).
 *
 * Who fills it: read_json.c, read_vocab_txt.c, read_gguf.c, read_llama2c.c. After that nothing changes, so any number of
 * threads may encode. */
#ifndef NN_TOKENIZER_INTERNAL_H
#define NN_TOKENIZER_INTERNAL_H

#include "models/tokenizer/tokenizer.h"

/* ---- vocabulary.c: token <-> id ---- */

enum { NN_VOCAB_MAX = 1 << 22 };         /* ids; the largest vocabularies there are have 2^18 */
enum { NN_NO_TOKEN = UINT32_MAX };       /* nn_span.at of an id without a token */

typedef struct nn_span { uint32_t at, length; } nn_span;

/* Open addressing; finds a token by its bytes without the first `skip`. */
typedef struct nn_vocab_index {
    uint32_t *slots;                     /* id + 1; 0: free */
    uint32_t mask, skip;
} nn_vocab_index;

typedef struct nn_vocab {
    char *bytes;                         /* of all tokens, each with a 0 behind it */
    size_t used, room;
    nn_span *spans;                      /* [n] */
    int64_t n;
    size_t longest;                      /* [bytes] */
    nn_vocab_index index;                /* the model's own tokens: what is only added (added.c) is not in it */
} nn_vocab;

/* Room for n ids and `bytes` of tokens (without the zeros behind them). */
ag_code nn_vocab_init(nn_vocab *v, int64_t n, size_t bytes, ag_error *err);
void nn_vocab_release(nn_vocab *v);
/* Fails with AG_EDATA where the id is out of range or has a token already. */
ag_code nn_vocab_put(nn_vocab *v, int64_t id, const char *token, size_t length, ag_error *err);
/* A token that stands there twice is found under the higher id; *hidden counts them (may be NULL). */
ag_code nn_vocab_build_index(nn_vocab *v, int64_t *hidden, ag_error *err);
/* An index of the tokens that start with `prefix`, by what comes behind it. */
ag_code nn_vocab_index_behind(const nn_vocab *v, const char *prefix, nn_vocab_index *x, ag_error *err);
int32_t nn_vocab_find_in(const nn_vocab *v, const nn_vocab_index *x, const char *bytes, size_t length);   /* -1 */
int32_t nn_vocab_find(const nn_vocab *v, const char *bytes, size_t length);                               /* -1 */
const char *nn_vocab_token(const nn_vocab *v, int64_t id, size_t *length);                                /* NULL */

/* ---- characters.c: what the `tokenizers` package means by a space, a control character ... ---- */

typedef enum nn_char_class { NN_CHAR_OTHER, NN_CHAR_LETTER, NN_CHAR_NUMBER, NN_CHAR_SPACE } nn_char_class;

/* The character at p (valid UTF-8); *size its bytes. */
int32_t nn_char_at(const char *p, size_t *size);
size_t nn_char_put(int32_t c, char *out);           /* at most 4 bytes; returns their number */
/* Offset of the first byte that is not UTF-8; length where all of it is. *bad: bytes of the broken sequence, 1 to 3. */
size_t nn_utf8_valid(const char *p, size_t length, size_t *bad);
nn_char_class nn_char_classify(int32_t c);          /* regular expressions' \p{L}, \p{N}, \s */
bool nn_char_space(int32_t c);
bool nn_char_word(int32_t c);                       /* \w */
/* As BERT's code has them, whose tables are those of Unicode 8. */
bool nn_char_control(int32_t c);
bool nn_char_cjk(int32_t c);
bool nn_char_mark(int32_t c);
bool nn_char_punctuation(int32_t c);
enum { NN_CHAR_PARTS = 4 };
/* Canonical decomposition, full lower case: both at most NN_CHAR_PARTS characters; return their number. */
int nn_char_decompose(int32_t c, int32_t parts[NN_CHAR_PARTS]);
int nn_char_lower(int32_t c, int32_t parts[NN_CHAR_PARTS]);
int nn_char_combining(int32_t c);                   /* canonical combining class */

/* ---- scratch memory of one call: on the stack, on the heap for long texts ---- */

typedef struct nn_scratch {
    void *heap;
    size_t room;
    _Alignas(16) unsigned char local[16384];
} nn_scratch;

/* Forgets what was there. NULL: no memory. Released by nn_scratch_release. */
void *nn_scratch_need(nn_scratch *s, size_t bytes);
void nn_scratch_release(nn_scratch *s);

/* ---- normalize.c ---- */

typedef enum nn_normalizer_kind { NN_NORMALIZE_NOT, NN_NORMALIZE_BERT, NN_NORMALIZE_NFC } nn_normalizer_kind;
typedef struct nn_normalizer {
    nn_normalizer_kind kind;
    bool clean, cjk, strip_accents, lower;          /* BERT's */
} nn_normalizer;

/* *out is text itself or lives in the scratch memory. */
ag_code nn_normalize(const nn_normalizer *z, const char *text, size_t length, nn_scratch *s, const char **out, size_t *n,
                     ag_error *err);

/* ---- split.c: the pre-tokenizers ---- */

typedef enum nn_split_kind {
    NN_SPLIT_BERT, NN_SPLIT_DIGITS, NN_SPLIT_EACH_DIGIT, NN_SPLIT_GPT2, NN_SPLIT_LLAMA3, NN_SPLIT_QWEN2, NN_SPLIT_PREFIX_SPACE
} nn_split_kind;
enum { NN_SPLIT_MAX = 6 };

/* The bytes of the first piece of a text that is not empty; *word: whether it is one, or space between words to be left out. */
size_t nn_split_next(nn_split_kind kind, const char *text, size_t length, bool *word);
/* The kind whose regular expression this is; false: none of those known. */
bool nn_split_pattern(const char *pattern, nn_split_kind *kind);

/* ---- added.c: tokens found in the text before anything else happens to it ---- */

typedef struct nn_added_token {
    int32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
    char *text;                          /* what is looked for: the token, normalised where `normalized` */
    size_t length;
} nn_added_token;

typedef struct nn_added {
    nn_added_token *tokens;              /* [n], by first byte, then the longest first */
    int64_t n;
    int32_t first[2][257];               /* those of byte b: first[normalized][b] .. first[normalized][b + 1] - 1 */
    uint8_t *special;                    /* by id, [n_ids]: left out when decoding */
    bool any_normalized;
    int64_t n_ids;
} nn_added;

ag_code nn_added_init(nn_added *a, int64_t n, int64_t n_ids, ag_error *err);
void nn_added_release(nn_added *a);
/* The i-th of n; `text` is copied. */
ag_code nn_added_put(nn_added *a, int64_t i, const nn_added_token *token, const char *text, size_t length, const nn_normalizer *z,
                     ag_error *err);
void nn_added_order(nn_added *a);        /* once, after the last */
const nn_added_token *nn_added_find(const nn_added *a, int32_t id);      /* NULL */
/* The next token at or behind `from`: [*start, *stop) with the spaces it swallows; *resume: where to look next. done: where
 * the last one stopped. NULL: none. */
const nn_added_token *nn_added_next(const nn_added *a, bool normalized, const char *text, size_t length, size_t from, size_t done,
                                    size_t *start, size_t *stop, size_t *resume);

/* ---- the tokenizer ---- */

typedef struct nn_pair { uint64_t key; uint32_t rank, id; } nn_pair;     /* key: left << 32 | right */

typedef struct nn_bpe {
    nn_pair *pairs;                      /* open addressing; a free one's key is UINT64_MAX */
    uint64_t mask;
    int32_t byte_id[256];                /* -1: not in the vocabulary */
    int32_t unknown;                     /* -1: what is unknown is left out */
    bool fuse_unknown, whole_words;      /* a word that is a token stays whole ("ignore_merges") */
    uint32_t *score_rank;                /* llama2.c: [n], a pair's rank is that of the token it makes */
    int32_t space;                       /* llama2.c: id of " " */
} nn_bpe;

typedef struct nn_wordpiece {
    nn_vocab_index behind;               /* the tokens that continue a word, without their "##" */
    int32_t unknown;
    int64_t max_chars;                   /* longer words are unknown */
} nn_wordpiece;

typedef enum nn_tokenizer_model { NN_WORDPIECE, NN_BYTE_BPE, NN_LLAMA2C_BPE } nn_tokenizer_model;
typedef enum nn_decoder_kind { NN_DECODE_JOINED, NN_DECODE_WORDPIECE, NN_DECODE_BYTES, NN_DECODE_LLAMA2C } nn_decoder_kind;
enum { NN_AROUND_MAX = 8 };

struct nn_tokenizer {
    nn_tokenizer_model model;
    nn_vocab vocab;
    nn_added added;
    nn_normalizer normalizer;
    nn_split_kind splits[NN_SPLIT_MAX];
    int n_splits;
    nn_wordpiece wordpiece;
    nn_bpe bpe;
    nn_decoder_kind decoder;
    char decoder_prefix[32];
    bool cleanup;
    int32_t before[NN_AROUND_MAX], after[NN_AROUND_MAX];     /* [CLS] ... [SEP] */
    int n_before, n_after;
};

/* ---- one call of encode: encode.c, wordpiece.c, bpe.c ---- */

typedef struct nn_encoder {
    const nn_tokenizer *k;
    nn_encoding *e;
    int64_t room;                        /* for ids of the text */
    nn_scratch text, spaced, word;
    ag_error *err;
} nn_encoder;

void nn_encoder_emit(nn_encoder *c, int32_t id);
void nn_wordpiece_word(nn_encoder *c, const char *word, size_t length);
ag_code nn_bpe_word(nn_encoder *c, const char *word, size_t length);
ag_code nn_llama2c_text(nn_encoder *c, const char *text, size_t length);

/* ---- bpe.c: making ---- */

/* What byte-level vocabularies write for a byte: a printable character (GPT-2's bytes_to_unicode). */
int32_t nn_byte_character(int byte);
int nn_character_byte(int32_t c);        /* -1: stands for none */
ag_code nn_bpe_init(nn_tokenizer *k, int64_t n_merges, ag_error *err);
/* Merge number `rank` of left and right; fails with AG_EDATA where one of the three tokens is not in the vocabulary. */
ag_code nn_bpe_put_merge(nn_tokenizer *k, uint32_t rank, const char *left, size_t n_left, const char *right, size_t n_right,
                         nn_scratch *s, ag_error *err);
ag_code nn_bpe_put_merge_text(nn_tokenizer *k, uint32_t rank, const char *merge, size_t length, nn_scratch *s, ag_error *err);
void nn_bpe_release(nn_bpe *b);

/* ---- readers; on failure the caller closes *k ---- */

/* The file's bytes and a 0; freed with ag_free. */
ag_code nn_file_read(const char *path, char **data, size_t *length, ag_error *err);

/* model.vocab of a tokenizer.json, member by member: read_json_vocab.c. */
typedef struct nn_json_vocab {
    const char *path, *text, *at;        /* text: from brace to brace */
    size_t length, offset;               /* offset: of text in the file */
    int64_t n;                           /* members read */
    struct json_t *held;                 /* what the last token lives in where it had escapes */
} nn_json_vocab;
/* Where the object stands in the file; false: there is none, or what is there is no JSON. */
bool nn_json_vocab_find(const char *data, size_t length, size_t *start, size_t *stop);
/* The next member, false at the end or with *code on a failure. The token is good until the next call, and has `length` bytes
 * without a 0 behind them. */
bool nn_json_vocab_next(nn_json_vocab *v, const char **token, size_t *length, int64_t *id, ag_code *code, ag_error *err);
void nn_json_vocab_rewind(nn_json_vocab *v);                     /* to the start; frees what it holds */

ag_code nn_tokenizer_read_json(nn_tokenizer *k, const char *path, ag_error *err);
ag_code nn_tokenizer_read_vocab_txt(nn_tokenizer *k, const char *path, ag_error *err);
ag_code nn_tokenizer_read_gguf(nn_tokenizer *k, const char *path, ag_error *err);
ag_code nn_tokenizer_read_llama2c(nn_tokenizer *k, const char *path, ag_error *err);

#endif
