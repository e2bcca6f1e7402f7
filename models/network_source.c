/* Where a network's weight lies in a file, see network_source.h.
 *
 * Safetensors have Hugging Face's names, with or without the base model's prefix, and old BERTs gamma and beta. GGUF has names of
 * its own. GGUF's and llama2.c's queries and keys are stored for rotary positions on neighbouring entries: row 2 j + i of a head
 * is Hugging Face's row i size / 2 + j (convert_hf_to_gguf.py, permute). */
#include "models/network_source.h"

#include <stdio.h>
#include <string.h>

static bool ends_in(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* ---- names ---- */

enum { NAME = NN_WEIGHT_NAME + 32 };

static const nn_stored *find_old(const nn_weights *w, const char *name)
{
    static const char *const old[][2] = { { ".LayerNorm.weight", ".LayerNorm.gamma" }, { ".LayerNorm.bias", ".LayerNorm.beta" } };
    const nn_stored *s = nn_weights_find(w, name);
    for (int i = 0; !s && i < 2; i++)
        if (ends_in(name, old[i][0])) {
            char other[NAME];
            snprintf(other, sizeof other, "%.*s%s", (int)(strlen(name) - strlen(old[i][0])), name, old[i][1]);
            s = nn_weights_find(w, other);
        }
    return s;
}

static const nn_stored *find_hugging_face(const nn_weights *w, const char *prefix, const char *name)
{
    char longer[NAME];
    size_t n = strlen(prefix);
    const nn_stored *s = find_old(w, name);
    if (!s && n > 0 && strncmp(name, prefix, n) == 0 && name[n] == '.')
        s = find_old(w, name + n + 1);
    if (s || n == 0)
        return s;
    snprintf(longer, sizeof longer, "%s.%s", prefix, name);
    return find_old(w, longer);
}

/* "blk.3.attn_q.weight" of "model.layers.3.self_attn.q_proj.weight". False: GGUF has no such tensor. */
static bool gguf_name(const char *name, char out[NAME])
{
    static const char *const layer[][2] = {
        { "input_layernorm.weight", "attn_norm.weight" }, { "self_attn.q_proj.weight", "attn_q.weight" },
        { "self_attn.k_proj.weight", "attn_k.weight" }, { "self_attn.v_proj.weight", "attn_v.weight" },
        { "self_attn.o_proj.weight", "attn_output.weight" }, { "post_attention_layernorm.weight", "ffn_norm.weight" },
        { "mlp.gate_proj.weight", "ffn_gate.weight" }, { "mlp.up_proj.weight", "ffn_up.weight" },
        { "mlp.down_proj.weight", "ffn_down.weight" },
    };
    static const char *const whole[][2] = {
        { "model.embed_tokens.weight", "token_embd.weight" }, { "model.norm.weight", "output_norm.weight" },
        { "lm_head.weight", "output.weight" },
    };
    int l, read = 0;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (strcmp(name, whole[i][0]) == 0)
            return snprintf(out, NAME, "%s", whole[i][1]) > 0;
    if (sscanf(name, "model.layers.%d.%n", &l, &read) == 1 && read > 0)
        for (size_t i = 0; i < sizeof layer / sizeof *layer; i++)
            if (strcmp(name + read, layer[i][0]) == 0)
                return snprintf(out, NAME, "blk.%d.%s", l, layer[i][1]) > 0;
    return false;
}

static ag_code find_stored(const nn_stored **s, const nn_network *net, const nn_weights *w, const char *name, ag_error *err)
{
    char other[NAME];
    const char *sought = name;
    if (strcmp(nn_weights_format(w), "gguf") == 0 && gguf_name(name, other))
        *s = nn_weights_find(w, sought = other);
    else
        *s = find_hugging_face(w, net->type->prefix, name);
    if (*s)
        return AG_OK;
    const char *near = nn_weights_nearest(w, sought);
    return ag_fail(err, AG_EDATA, "%s: tensor '%s' of this %s is missing%s%s%s", nn_weights_path(w), sought, net->type->name,
                   near ? "; the nearest is '" : "", near ? near : "", near ? "'" : "");
}

/* ---- shapes ---- */

static void shape_text(int ndim, const int64_t *shape, char text[96])
{
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < ndim && at < 64; i++)
        at += (size_t)snprintf(text + at, 96 - at, "%s%lld", i ? ", " : "", (long long)shape[i]);
}

/* The shape a weight has in a file; ndim. */
static int stored_shape(const nn_network *net, const nn_weight *weight, bool conv, int64_t shape[4])
{
    memcpy(shape, weight->shape, sizeof weight->shape);
    if (!conv)
        return weight->ndim;
    bool one = strcmp(net->type->name, "conv1d") == 0;                     /* weight [kh, kw, in, out] */
    memcpy(shape, (int64_t[]){ weight->shape[3], weight->shape[2], weight->shape[one ? 1 : 0], weight->shape[1] }, 4 * sizeof *shape);
    return one ? 3 : 4;
}

static ag_code check_shape(const nn_source *s, const nn_network *net, const nn_weights *w, const nn_weight *weight, ag_error *err)
{
    int64_t shape[4];
    char is[96], expected[96];
    int ndim = stored_shape(net, weight, s->conv, shape);
    if (s->stored->ndim == ndim && memcmp(s->stored->shape, shape, (size_t)ndim * sizeof *shape) == 0)
        return AG_OK;
    shape_text(s->stored->ndim, s->stored->shape, is);
    shape_text(ndim, shape, expected);
    return ag_fail(err, AG_EDATA, "%s: tensor '%s' has shape [%s]; by the configuration [%s] is expected", nn_weights_path(w),
                   s->stored->name, is, expected);
}

static bool in_pairs(const nn_weights *w, const char *name)
{
    return strcmp(nn_weights_format(w), "safetensors") != 0 &&
           (ends_in(name, ".q_proj.weight") || ends_in(name, ".k_proj.weight"));
}

ag_code nn_source_find(nn_source *s, const nn_network *net, const nn_weights *w, int i, ag_error *err)
{
    const nn_weight *weight = &net->weight[i];
    *s = (nn_source){ .pairs = in_pairs(w, weight->name) ? net->config.head_size : 0, .conv = weight->ndim == 4 };
    AG_TRY(err, find_stored(&s->stored, net, w, weight->name, err));
    AG_TRY(err, check_shape(s, net, w, weight, err));
    AG_REQUIRE(s->stored->dtype != NN_OTHER, err, AG_EDATA, "%s: tensor '%s' is of a type that cannot be read", nn_weights_path(w),
               s->stored->name);
    return AG_OK;
}

/* ---- numbers ---- */

const ag_real *nn_source_in_place(const nn_source *s)
{
    return s->pairs || s->conv ? NULL : nn_stored_in_place(s->stored);
}

static ag_code read_pairs(const nn_source *s, const nn_weight *weight, ag_real *out, ag_error *err)
{
    int64_t half = s->pairs / 2, columns = weight->shape[1];
    for (int64_t row = 0; row < weight->shape[0]; row++) {
        int64_t within = row % s->pairs, to = row - within + within % 2 * half + within / 2;
        AG_TRY(err, nn_stored_read_rows(s->stored, row, 1, out + to * columns, err));
    }
    return AG_OK;
}

/* [out, in, kh, kw] -> [kh, kw, in, out] */
static ag_code read_conv(const nn_source *s, const nn_weight *weight, ag_real *out, ag_error *err)
{
    int64_t places = weight->shape[0] * weight->shape[1], c_in = weight->shape[2], c_out = weight->shape[3];
    ag_real *x = ag_alloc((size_t)weight->numel * sizeof *x);
    AG_REQUIRE(x, err, AG_ENOMEM, "%s: no memory for %lld numbers", weight->name, (long long)weight->numel);
    ag_code code = nn_stored_read(s->stored, x, err);
    for (int64_t o = 0; code == AG_OK && o < c_out; o++)
        for (int64_t i = 0; i < c_in; i++)
            for (int64_t k = 0; k < places; k++)
                out[(k * c_in + i) * c_out + o] = x[(o * c_in + i) * places + k];
    ag_free(x);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}

ag_code nn_source_read(const nn_source *s, const nn_weight *weight, ag_real *out, ag_error *err)
{
    if (s->pairs)
        return read_pairs(s, weight, out, err);
    return s->conv ? read_conv(s, weight, out, err) : nn_stored_read(s->stored, out, err);
}
