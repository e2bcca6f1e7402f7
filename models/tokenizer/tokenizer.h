/* Tokenizers: text -> token ids and back. The user's manual.
 *
 *     nn_tokenizer *k;
 *     AG_TRY(err, nn_tokenizer_open(&k, "models/minilm", err));          // a folder or a file
 *     int32_t ids[32];
 *     nn_encoding e = { .ids = ids, .max = 32 };
 *     AG_TRY(err, nn_tokenizer_encode(k, text, strlen(text), &e, err));  // e.n ids, e.dropped did not fit
 *     nn_tokenizer_close(k);
 *
 * Opens tokenizer.json (WordPiece, byte-level BPE), vocab.txt (BERT), a GGUF file's own tokenizer, or llama2.c's
 * tokenizer.bin. Encoding is thread-safe and gives the ids that the `tokenizers` package gives. */
#ifndef NN_TOKENIZER_H
#define NN_TOKENIZER_H

#include "autograd/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nn_tokenizer nn_tokenizer;

typedef struct nn_encoding {
    int32_t *ids;            /* the caller's, room for max */
    int64_t max;
    bool plain;              /* without the special tokens ([CLS] ... [SEP], <s>) that the model expects around a text */
    int64_t n;               /* ids written */
    int64_t dropped;         /* ids of the text that found no room; the special tokens at the ends always do */
} nn_encoding;

/* path: a tokenizer file, or a folder with tokenizer.json, vocab.txt, a .gguf or tokenizer.bin (looked for in this order).
 * *k is NULL on failure. Fails with AG_EIO, AG_EDATA (file, what, expected), AG_ENOMEM. */
ag_code nn_tokenizer_open(nn_tokenizer **k, const char *path, ag_error *err);
void nn_tokenizer_close(nn_tokenizer *k);                        /* NULL is allowed */
const char *nn_tokenizer_kind(const nn_tokenizer *k);            /* "wordpiece" | "byte-level bpe" | "llama2.c bpe" */
int64_t nn_tokenizer_size(const nn_tokenizer *k);                /* number of ids */
/* The bytes of a token as it stands in the vocabulary; NULL: no such id. */
const char *nn_tokenizer_token(const nn_tokenizer *k, int32_t id, size_t *length);
int32_t nn_tokenizer_id(const nn_tokenizer *k, const char *token);   /* -1: not there */

/* Invalid UTF-8 is AG_EDATA, naming the byte; max too small for the special tokens is AG_EINVAL. */
ag_code nn_tokenizer_encode(const nn_tokenizer *k, const char *text, size_t length, nn_encoding *e, ag_error *err);
/* Ids -> text, as the `tokenizers` package decodes (special tokens left out). *length: bytes written to out without the 0,
 * at most max - 1; AG_EINVAL where more room is needed. */
ag_code nn_tokenizer_decode(const nn_tokenizer *k, const int32_t *ids, int64_t n, char *out, size_t max, size_t *length, ag_error *err);

#endif
