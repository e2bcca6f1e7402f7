/* llama2.c's tokenizer.bin: int32 max_token_length, then for each token float score, int32 length and its bytes, to the end
 * of the file. Ids 0, 1, 2 are <unk>, <s>, </s>; 3 to 258 the bytes. */
#include "models/tokenizer/tokenizer_internal.h"

#include <math.h>
#include <string.h>

enum { BOS = 1, EOS = 2, BYTE_TOKENS_END = 259 };
static const float NEVER = -1e10f;       /* run.c merges only what has a higher score */
enum { ENTRY_HEAD = 8, TOKEN_MAX = 1 << 16 };

static int32_t int_at(const char *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static float float_at(const char *p)
{
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Counts the tokens and checks that they end where the file does. */
static ag_code check_entries(const char *path, const char *data, size_t length, int64_t *n, ag_error *err)
{
    AG_REQUIRE(length >= 4, err, AG_EDATA, "%s has %zu bytes, expected llama2.c's tokenizer.bin", path, length);
    const int32_t longest = int_at(data);
    AG_REQUIRE(longest >= 1 && longest <= TOKEN_MAX, err, AG_EDATA, "%s: the longest token has %d bytes, expected 1 to %d", path,
               longest, TOKEN_MAX);
    *n = 0;
    for (size_t at = 4; at < length; ++*n) {
        AG_REQUIRE(length - at >= ENTRY_HEAD, err, AG_EDATA, "%s ends within token %lld", path, (long long)*n);
        const int32_t bytes = int_at(data + at + 4);
        AG_REQUIRE(bytes >= 1 && bytes <= longest, err, AG_EDATA, "%s: token %lld has %d bytes, expected 1 to %d", path, (long long)*n,
                   bytes, longest);
        AG_REQUIRE((size_t)bytes <= length - at - ENTRY_HEAD, err, AG_EDATA, "%s ends within token %lld", path, (long long)*n);
        const float score = float_at(data + at);
        AG_REQUIRE(isfinite(score) && score > NEVER, err, AG_EDATA, "%s: the score of token %lld is %g, expected more than %g", path,
                   (long long)*n, (double)score, (double)NEVER);
        at += ENTRY_HEAD + (size_t)bytes;
    }
    AG_REQUIRE(*n >= BYTE_TOKENS_END, err, AG_EDATA, "%s has %lld tokens, expected at least %d: three special ones and the bytes", path,
               (long long)*n, BYTE_TOKENS_END);
    return AG_OK;
}

/* Orders as the scores do, the highest first. */
static uint32_t rank_of(float score)
{
    uint32_t bits;
    score += 0.0f;                       /* -0 and 0 are one */
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : ~(bits | 1u << 31);
}

static ag_code read_entries(nn_tokenizer *k, const char *path, const char *data, size_t length, ag_error *err)
{
    int64_t n;
    AG_TRY(err, check_entries(path, data, length, &n, err));
    AG_TRY(err, nn_vocab_init(&k->vocab, n, length, err));
    k->bpe.score_rank = ag_alloc((size_t)n * sizeof *k->bpe.score_rank);
    AG_REQUIRE(k->bpe.score_rank, err, AG_ENOMEM, "no memory for %lld scores", (long long)n);
    size_t at = 4;
    for (int64_t id = 0; id < n; id++) {
        const int32_t bytes = int_at(data + at + 4);
        k->bpe.score_rank[id] = rank_of(float_at(data + at));
        AG_TRY(err, nn_vocab_put(&k->vocab, id, data + at + ENTRY_HEAD, (size_t)bytes, err));
        at += ENTRY_HEAD + (size_t)bytes;
    }
    AG_TRY(err, nn_vocab_build_index(&k->vocab, NULL, err));
    k->bpe.space = nn_vocab_find(&k->vocab, " ", 1);
    AG_REQUIRE(k->bpe.space >= 0, err, AG_EDATA, "%s has no token ' '", path);
    return AG_OK;
}

ag_code nn_tokenizer_read_llama2c(nn_tokenizer *k, const char *path, ag_error *err)
{
    char *data;
    size_t length;
    k->model = NN_LLAMA2C_BPE;
    k->decoder = NN_DECODE_LLAMA2C;
    k->before[k->n_before++] = BOS;
    AG_TRY(err, nn_file_read(path, &data, &length, err));
    ag_code code = read_entries(k, path, data, length, err);
    ag_free(data);
    if (code == AG_OK)
        code = nn_added_init(&k->added, 0, k->vocab.n, err);
    if (code != AG_OK)
        return ag_trail(err, code, __func__);
    nn_added_order(&k->added);
    k->added.special[BOS] = k->added.special[EOS] = 1;
    return AG_OK;
}
