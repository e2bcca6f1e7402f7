/* Reading llama2.c's checkpoints of version 0 (weights.h; karpathy/llama2.c, run.c and export.py): seven int32, then
 * float32 without names or padding, all layers of a kind behind each other. */
#include "models/weights/weights_internal.h"

#include <stdio.h>
#include <string.h>

enum { DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCAB, SEQ, SIZES, HEADER = SIZES * sizeof(int32_t), LAYER_KINDS = 9,
       MOST = 1 << 24, NAME = 80, NEWER = 0x616B3432 };

static const char *const size_names[SIZES] = { "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len" };

typedef struct cursor {
    nn_weights *w;
    size_t at;                   /* in the file */
    int64_t size[SIZES];
    bool untied;
} cursor;

/* One kind of tensor. rows 0: a vector. */
typedef struct layout {
    const char *name;            /* printed with the layer */
    int64_t rows, columns;
} layout;

static bool plausible(const int32_t *h)
{
    for (int i = 0; i < SIZES; i++)
        if (i != VOCAB && (h[i] < 1 || h[i] > MOST))
            return false;
    return h[VOCAB] != 0 && h[VOCAB] <= MOST && h[VOCAB] >= -MOST;
}

bool nn_looks_like_llama2c(const uint8_t *data, size_t size)
{
    int32_t h[SIZES];
    if (size < HEADER)
        return false;
    memcpy(h, data, sizeof h);
    return h[0] == NEWER || plausible(h);
}

static ag_code take_sizes(cursor *k, ag_error *err)
{
    const nn_weights *w = k->w;
    int32_t h[SIZES];
    memcpy(h, w->data, sizeof h);
    AG_REQUIRE(h[0] != NEWER, err, AG_EDATA, "'%s' is a llama2.c checkpoint of version %d; expected version 0", w->path, h[1]);
    for (int i = 0; i < SIZES; i++)
        k->size[i] = h[i];
    k->untied = h[VOCAB] < 0;
    if (k->untied)
        k->size[VOCAB] = -k->size[VOCAB];
    AG_REQUIRE(h[DIM] % h[HEADS] == 0 && h[DIM] / h[HEADS] % 2 == 0 && h[HEADS] % h[KV_HEADS] == 0, err, AG_EDATA,
               "'%s': dim %d, %d heads, %d key-value heads; expected heads of one even size, shared evenly", w->path, h[DIM], h[HEADS],
               h[KV_HEADS]);
    return AG_OK;
}

static ag_code take(cursor *k, const layout *of, int64_t layer, ag_error *err)
{
    char name[NAME];
    const int64_t n = of->rows ? of->rows * of->columns : of->columns;   /* at most 2^48 */
    const size_t bytes = (size_t)n * sizeof(float), left = k->w->size - k->at;
    nn_stored s = { .dtype = NN_F32, .ndim = of->rows ? 2 : 1, .numel = n, .data = k->w->data + k->at, .bytes = bytes };
    if (layer < 0)
        snprintf(name, sizeof name, "%s", of->name);
    else
        snprintf(name, sizeof name, "model.layers.%lld.%s", (long long)layer, of->name);
    AG_REQUIRE(bytes <= left, err, AG_EDATA, "'%s' ends in tensor '%s': %zu bytes are left; expected %zu", k->w->path, name, left,
               bytes);
    s.shape[0] = of->rows ? of->rows : of->columns;
    s.shape[1] = of->rows ? of->columns : 0;
    AG_TRY(err, nn_keep_text(k->w, name, strlen(name), &s.name, err));
    k->w->stored[k->w->n++] = s;
    k->at += bytes;
    return AG_OK;
}

static ag_code take_layers(cursor *k, ag_error *err)
{
    const int64_t dim = k->size[DIM], hidden = k->size[HIDDEN], kv = dim / k->size[HEADS] * k->size[KV_HEADS];
    const layout kinds[LAYER_KINDS] = {
        { "input_layernorm.weight", 0, dim },
        { "self_attn.q_proj.weight", dim, dim },
        { "self_attn.k_proj.weight", kv, dim },
        { "self_attn.v_proj.weight", kv, dim },
        { "self_attn.o_proj.weight", dim, dim },
        { "post_attention_layernorm.weight", 0, dim },
        { "mlp.gate_proj.weight", hidden, dim },
        { "mlp.down_proj.weight", dim, hidden },
        { "mlp.up_proj.weight", hidden, dim },
    };
    for (int i = 0; i < LAYER_KINDS; i++)
        for (int64_t layer = 0; layer < k->size[LAYERS]; layer++)
            AG_TRY(err, take(k, &kinds[i], layer, err));
    return AG_OK;
}

static ag_code take_all(cursor *k, ag_error *err)
{
    const int64_t dim = k->size[DIM], vocab = k->size[VOCAB];
    const size_t tables = (size_t)(k->size[SEQ] * (dim / k->size[HEADS])) * sizeof(float);   /* cosines and sines, not needed */
    AG_TRY(err, take(k, &(layout){ "model.embed_tokens.weight", vocab, dim }, -1, err));
    AG_TRY(err, take_layers(k, err));
    AG_TRY(err, take(k, &(layout){ "model.norm.weight", 0, dim }, -1, err));
    AG_REQUIRE(tables <= k->w->size - k->at, err, AG_EDATA, "'%s' ends in its rotary tables: %zu bytes are left; expected %zu",
               k->w->path, k->w->size - k->at, tables);
    k->at += tables;
    if (k->untied)
        AG_TRY(err, take(k, &(layout){ "lm_head.weight", vocab, dim }, -1, err));
    AG_REQUIRE(k->at == k->w->size, err, AG_EDATA, "'%s' has %zu bytes; expected %zu for the sizes in its header", k->w->path,
               k->w->size, k->at);
    return AG_OK;
}

static ag_code take_metadata(cursor *k, ag_error *err)
{
    nn_weights *w = k->w;
    AG_TRY(err, nn_keep(w, (SIZES + 2) * sizeof *w->meta, &w->meta, err));
    for (int i = 0; i < SIZES; i++)
        w->meta[w->n_meta++] = (nn_meta){ .key = size_names[i], .kind = NN_META_NUMBER, .number = (double)k->size[i] };
    w->meta[w->n_meta++] = (nn_meta){ .key = "tied", .kind = NN_META_NUMBER, .number = !k->untied };
    /* Its queries and keys are laid out for pairs of neighbours; Hugging Face's for halves of a head. */
    w->meta[w->n_meta++] = (nn_meta){ .key = "rope", .kind = NN_META_STRING, .string = "interleaved" };
    return AG_OK;
}

ag_code nn_read_llama2c(nn_weights *w, ag_error *err)
{
    cursor k = { .w = w, .at = HEADER };
    AG_TRY(err, take_sizes(&k, err));
    /* Before memory is asked for: a layer has at least its numbers in the file. */
    const int64_t layer = (int64_t)(sizeof(float) * (size_t)k.size[DIM]) * (2 + 2 * k.size[DIM] + 3 * k.size[HIDDEN]);
    AG_REQUIRE(k.size[LAYERS] <= (int64_t)(w->size - HEADER) / layer, err, AG_EDATA,
               "'%s' has %zu bytes; expected more than %lld for each of %lld layers", w->path, w->size, (long long)layer,
               (long long)k.size[LAYERS]);
    AG_TRY(err, nn_keep(w, (size_t)(LAYER_KINDS * k.size[LAYERS] + 3) * sizeof *w->stored, &w->stored, err));
    AG_TRY(err, take_all(&k, err));
    return take_metadata(&k, err);
}
