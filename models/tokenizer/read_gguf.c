/* The byte-level BPE that a GGUF file carries (tokenizer.ggml.model "gpt2"); how a text is split is named, not written, there
 * (tokenizer.ggml.pre, llama.cpp's list). */
#include "models/tokenizer/tokenizer_internal.h"
#include "models/weights/weights.h"

#include <string.h>

#define KEY "tokenizer.ggml."

static const struct { const char *pre; nn_split_kind splits[2]; int n; bool llama3; } known[] = {
    { "gpt-2", { NN_SPLIT_GPT2 }, 1, false },
    { "smollm", { NN_SPLIT_EACH_DIGIT, NN_SPLIT_GPT2 }, 2, false },
    { "starcoder", { NN_SPLIT_EACH_DIGIT, NN_SPLIT_GPT2 }, 2, false },
    { "llama-bpe", { NN_SPLIT_LLAMA3 }, 1, true },
    { "qwen2", { NN_SPLIT_QWEN2 }, 1, false },
};

enum { CONTROL = 3, USER_DEFINED = 4 };  /* token_type */

typedef struct source { nn_tokenizer *k; const nn_weights *w; const char *path; ag_error *err; } source;

static ag_code read_splits(const source *s, bool *llama3)
{
    const char *pre = "(none)";
    nn_weights_string(s->w, KEY "pre", &pre);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(pre, known[i].pre) == 0) {
            s->k->n_splits = known[i].n;
            memcpy(s->k->splits, known[i].splits, sizeof known[i].splits);
            *llama3 = known[i].llama3;
            s->k->bpe.whole_words = *llama3;
            return AG_OK;
        }
    return ag_fail(s->err, AG_EDATA, "%s: " KEY "pre is %s, expected gpt-2, smollm, starcoder, llama-bpe or qwen2", s->path, pre);
}

static ag_code read_tokens(const source *s)
{
    const int64_t n = nn_weights_array(s->w, KEY "tokens");
    AG_REQUIRE(n > 0, s->err, AG_EDATA, "%s has no " KEY "tokens", s->path);
    const char *token;
    size_t length, bytes = 0;
    for (int64_t i = 0; i < n; i++) {
        size_t bad;
        AG_REQUIRE(nn_weights_array_string(s->w, KEY "tokens", i, &token, &length) && nn_utf8_valid(token, length, &bad) == length, s->err,
                   AG_EDATA, "%s: " KEY "tokens[%lld] is no text", s->path, (long long)i);
        bytes += length;
    }
    AG_TRY(s->err, nn_vocab_init(&s->k->vocab, n, bytes, s->err));
    for (int64_t i = 0; i < n; i++) {
        nn_weights_array_string(s->w, KEY "tokens", i, &token, &length);
        AG_TRY(s->err, nn_vocab_put(&s->k->vocab, i, token, length, s->err));
    }
    return nn_vocab_build_index(&s->k->vocab, NULL, s->err);
}

static ag_code read_merges(const source *s)
{
    const int64_t n = nn_weights_array(s->w, KEY "merges");
    AG_REQUIRE(n >= 0 && n < UINT32_MAX, s->err, AG_EDATA, "%s has no " KEY "merges", s->path);
    AG_TRY(s->err, nn_bpe_init(s->k, n, s->err));
    nn_scratch joined = { .heap = NULL };
    ag_code code = AG_OK;
    for (int64_t i = 0; i < n && code == AG_OK; i++) {
        const char *merge;
        size_t length;
        code = nn_weights_array_string(s->w, KEY "merges", i, &merge, &length)
                   ? nn_bpe_put_merge_text(s->k, (uint32_t)i, merge, length, &joined, s->err)
                   : ag_fail(s->err, AG_EDATA, "%s: " KEY "merges[%lld] is no text", s->path, (long long)i);
    }
    nn_scratch_release(&joined);
    return code;
}

static int type_of(const source *s, int64_t id)
{
    double type = 1;
    nn_weights_array_number(s->w, KEY "token_type", id, &type);
    return type == CONTROL ? CONTROL : type == USER_DEFINED ? USER_DEFINED : 0;
}

static ag_code read_added(const source *s)
{
    nn_tokenizer *k = s->k;
    int64_t n = 0;
    for (int64_t id = 0; id < k->vocab.n; id++)
        n += type_of(s, id) != 0 && k->vocab.spans[id].length > 0;
    AG_TRY(s->err, nn_added_init(&k->added, n, k->vocab.n, s->err));
    n = 0;
    for (int64_t id = 0; id < k->vocab.n; id++) {
        const int type = type_of(s, id);
        const nn_added_token token = { .id = (int32_t)id, .special = type == CONTROL };
        size_t length;
        const char *text = nn_vocab_token(&k->vocab, id, &length);
        if (type != 0 && length > 0)
            AG_TRY(s->err, nn_added_put(&k->added, n++, &token, text, length, &k->normalizer, s->err));
    }
    nn_added_order(&k->added);
    return AG_OK;
}

/* add_KIND_token with KIND_token_id: bos in front of a text, eos behind it. */
static ag_code read_around(const source *s, const char *add_key, const char *id_key, bool otherwise, int32_t *ids, int *n)
{
    double add = otherwise, id = -1;
    nn_weights_number(s->w, add_key, &add);
    if (add == 0)
        return AG_OK;
    AG_REQUIRE(nn_weights_number(s->w, id_key, &id) && id >= 0 && id < (double)s->k->vocab.n, s->err, AG_EDATA,
               "%s: %s is %g, expected a token's id", s->path, id_key, id);
    ids[(*n)++] = (int32_t)id;
    return AG_OK;
}

static ag_code read_all(const source *s)
{
    const char *model = "(none)";
    bool llama3 = false;
    nn_tokenizer *k = s->k;
    nn_weights_string(s->w, KEY "model", &model);
    AG_REQUIRE(strcmp(model, "gpt2") == 0, s->err, AG_EDATA, "%s: " KEY "model is %s, expected gpt2 (byte-level BPE)", s->path, model);
    k->bpe.unknown = -1;
    AG_TRY(s->err, read_splits(s, &llama3));
    AG_TRY(s->err, read_tokens(s));
    AG_TRY(s->err, read_merges(s));
    AG_TRY(s->err, read_added(s));
    AG_TRY(s->err, read_around(s, KEY "add_bos_token", KEY "bos_token_id", llama3, k->before, &k->n_before));
    return read_around(s, KEY "add_eos_token", KEY "eos_token_id", false, k->after, &k->n_after);
}

ag_code nn_tokenizer_read_gguf(nn_tokenizer *k, const char *path, ag_error *err)
{
    nn_weights *w;
    k->model = NN_BYTE_BPE;
    k->decoder = NN_DECODE_BYTES;
    AG_TRY(err, nn_weights_open(&w, path, err));
    const source s = { k, w, path, err };
    const ag_code code = read_all(&s);
    nn_weights_close(w);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}
