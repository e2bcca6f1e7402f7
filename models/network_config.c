/* Configurations of networks, see network_config.h. */
#include "models/network_config.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define FIELD(name) offsetof(nn_network_config, name)

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static int64_t *field(nn_network_config *c, size_t offset)
{
    return (int64_t *)(void *)((char *)c + offset);
}

/* ---- completing and checking ---- */

static bool is_conv(const nn_network_config *c)
{
    return is(c->architecture, "conv1d") || is(c->architecture, "conv2d");
}

static bool is_rotary(const nn_network_config *c)
{
    return is(c->architecture, "llama") || is(c->architecture, "moe");
}

static void fill_in_text(nn_network_config *c)
{
    if (c->n_kv_head == 0)
        c->n_kv_head = c->n_head;
    if (c->head_size == 0 && c->n_head > 0)
        c->head_size = c->hidden_size / c->n_head;
    if (c->max_position == 0)
        c->max_position = is(c->architecture, "bert") ? 512 : is(c->architecture, "gpt2") ? 1024 : 2048;
    if (c->norm_epsilon == 0)
        c->norm_epsilon = is(c->architecture, "bert") ? 1e-12 : 1e-5;
    if (c->rope_theta == 0 && is_rotary(c))
        c->rope_theta = 10000;
    if (c->intermediate_size == 0 && c->hidden_size < INT32_MAX && (is(c->architecture, "bert") || is(c->architecture, "gpt2")))
        c->intermediate_size = 4 * c->hidden_size;
    if (c->type_vocab == 0 && is(c->architecture, "bert"))
        c->type_vocab = 2;
}

static void fill_in(nn_network_config *c)
{
    const char *usual = is_conv(c) ? "relu" : is_rotary(c) ? "silu" : is(c->architecture, "gpt2") ? "gelu_tanh" : "gelu";
    if (!c->activation[0])
        snprintf(c->activation, sizeof c->activation, "%s", usual);
    if (!is_conv(c))
        fill_in_text(c);
}

enum { TEXT = 1, CONV = 2, MOE = 4, MOST_EXPERTS = 1 << 16 };   /* so that a few bytes of JSON list no gigabytes of names */

/* Sizes, their bounds, and whose they are. */
static const struct {
    const char *name;
    size_t offset;
    int64_t most;
    int who;
} sizes[] = {
    { "vocab_size", FIELD(vocab_size), INT32_MAX, TEXT },
    { "hidden_size", FIELD(hidden_size), INT32_MAX, TEXT | CONV },
    { "n_layer", FIELD(n_layer), 4096, TEXT | CONV },
    { "n_head", FIELD(n_head), 65536, TEXT },
    { "n_kv_head", FIELD(n_kv_head), 65536, TEXT },
    { "head_size", FIELD(head_size), 65536, TEXT },
    { "intermediate_size", FIELD(intermediate_size), INT32_MAX, TEXT | CONV },
    { "max_position", FIELD(max_position), INT32_MAX, TEXT },
    { "in_channels", FIELD(in_channels), INT32_MAX, CONV },
    { "n_expert", FIELD(n_expert), 256, MOE },
    { "experts_per_token", FIELD(experts_per_token), 256, MOE },
};

static ag_code check_sizes(nn_network_config *c, const char *what, ag_error *err)
{
    int who = (is_conv(c) ? CONV : TEXT) | (is(c->architecture, "moe") ? MOE : 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t v = *field(c, sizes[i].offset);
        AG_REQUIRE(!(sizes[i].who & who) || (v >= 1 && v <= sizes[i].most), err, AG_EDATA, "%s: %s is %lld; 1 to %lld is expected",
                   what, sizes[i].name, (long long)v, (long long)sizes[i].most);
    }
    AG_REQUIRE(!(who & MOE) || c->n_layer * c->n_expert <= MOST_EXPERTS, err, AG_EDATA,
               "%s: %lld layers of %lld experts; at most %d experts together are expected", what, (long long)c->n_layer,
               (long long)c->n_expert, MOST_EXPERTS);
    return AG_OK;
}

static ag_code check_heads(const nn_network_config *c, const char *what, ag_error *err)
{
    AG_REQUIRE(c->n_head % c->n_kv_head == 0, err, AG_EDATA, "%s: %lld heads do not share %lld heads of keys evenly", what,
               (long long)c->n_head, (long long)c->n_kv_head);
    AG_REQUIRE(is_rotary(c) || (c->n_kv_head == c->n_head && c->n_head * c->head_size == c->hidden_size), err, AG_EDATA,
               "%s: %lld heads (%lld of keys) of size %lld; %s needs as many of keys, together hidden_size %lld", what,
               (long long)c->n_head, (long long)c->n_kv_head, (long long)c->head_size, c->architecture, (long long)c->hidden_size);
    AG_REQUIRE(!is_rotary(c) || (c->head_size % 2 == 0 && c->rope_theta > 0 && isfinite(c->rope_theta)), err, AG_EDATA,
               "%s: head_size %lld, rope_theta %g; an even size and a positive number are expected", what, (long long)c->head_size,
               c->rope_theta);
    return AG_OK;
}

ag_code nn_config_complete(nn_network_config *c, const char *what, ag_error *err)
{
    fill_in(c);
    AG_TRY(err, check_sizes(c, what, err));
    if (!is_conv(c))
        AG_TRY(err, check_heads(c, what, err));
    AG_REQUIRE(is_conv(c) ? c->norm_epsilon >= 0 && c->norm_epsilon < 1 : c->norm_epsilon > 0 && c->norm_epsilon < 1, err, AG_EDATA,
               "%s: norm_epsilon is %g; a small positive number is expected", what, c->norm_epsilon);
    AG_REQUIRE(is(c->activation, "gelu") || is(c->activation, "gelu_tanh") || is(c->activation, "silu") || is(c->activation, "relu"),
               err, AG_EDATA, "%s: activation '%.15s'; gelu, gelu_tanh, silu or relu is expected", what, c->activation);
    return AG_OK;
}

static ag_code set_architecture(nn_network_config *c, const char *name, const char *what, ag_error *err)
{
    static const char *const types[][2] = {
        { "bert", "bert" }, { "llama", "llama" }, { "mistral", "llama" }, { "gpt2", "gpt2" }, { "mixtral", "moe" }, { "moe", "moe" },
        { "conv1d", "conv1d" }, { "conv2d", "conv2d" },
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (is(name, types[i][0])) {
            snprintf(c->architecture, sizeof c->architecture, "%s", types[i][1]);
            return AG_OK;
        }
    return ag_fail(err, AG_EDATA, "%s: architecture '%.40s'; bert, llama, mistral, gpt2, mixtral, conv1d or conv2d is expected", what,
                   name ? name : "(none)");
}

/* ---- config.json ---- */

/* Hugging Face's names of a size; GPT-2 has its own. */
static const struct {
    size_t offset;
    const char *key, *gpt2;
} size_keys[] = {
    { FIELD(vocab_size), "vocab_size", NULL },
    { FIELD(hidden_size), "hidden_size", "n_embd" },
    { FIELD(n_layer), "num_hidden_layers", "n_layer" },
    { FIELD(n_head), "num_attention_heads", "n_head" },
    { FIELD(n_kv_head), "num_key_value_heads", NULL },
    { FIELD(head_size), "head_dim", NULL },
    { FIELD(intermediate_size), "intermediate_size", "n_inner" },
    { FIELD(intermediate_size), "kernel_size", NULL },
    { FIELD(max_position), "max_position_embeddings", "n_positions" },
    { FIELD(type_vocab), "type_vocab_size", NULL },
    { FIELD(n_expert), "num_local_experts", NULL },
    { FIELD(experts_per_token), "num_experts_per_tok", NULL },
    { FIELD(in_channels), "in_channels", NULL },
};

static ag_code read_sizes(nn_network_config *c, json_t *j, const char *path, ag_error *err)
{
    for (size_t i = 0; i < sizeof size_keys / sizeof *size_keys; i++) {
        const char *key = size_keys[i].key;
        json_t *v = json_object_get(j, key);
        if (!v && size_keys[i].gpt2)
            v = json_object_get(j, key = size_keys[i].gpt2);
        if (!v || json_is_null(v))
            continue;
        AG_REQUIRE(json_is_integer(v) && json_integer_value(v) >= 1, err, AG_EDATA, "%s: '%s' is no positive whole number", path, key);
        *field(c, size_keys[i].offset) = json_integer_value(v);
    }
    return AG_OK;
}

static ag_code read_number(json_t *j, const char *path, const char *key, double *value, ag_error *err)
{
    json_t *v = json_object_get(j, key);
    if (!v || json_is_null(v))
        return AG_OK;
    AG_REQUIRE(json_is_number(v), err, AG_EDATA, "%s: '%s' is no number", path, key);
    *value = json_number_value(v);
    return AG_OK;
}

static ag_code read_activation(nn_network_config *c, json_t *j, const char *path, ag_error *err)
{
    static const char *const names[][2] = {
        { "gelu", "gelu" }, { "gelu_new", "gelu_tanh" }, { "gelu_pytorch_tanh", "gelu_tanh" }, { "gelu_tanh", "gelu_tanh" },
        { "silu", "silu" }, { "swish", "silu" }, { "relu", "relu" },
    };
    json_t *v = json_object_get(j, "hidden_act");
    const char *name = json_string_value(v ? v : json_object_get(j, "activation_function"));
    if (!name)
        return AG_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is(name, names[i][0])) {
            snprintf(c->activation, sizeof c->activation, "%s", names[i][1]);
            return AG_OK;
        }
    return ag_fail(err, AG_EDATA, "%s: activation '%.40s'; gelu, gelu_new, gelu_pytorch_tanh, silu, swish or relu is expected", path, name);
}

/* What changes the formula. Absent or null is as expected. */
static const struct {
    const char *key;
    enum { MUST_BE_FALSE, MUST_BE_TRUE } kind;
} switches[] = {
    { "attention_bias", MUST_BE_FALSE }, { "mlp_bias", MUST_BE_FALSE }, { "is_decoder", MUST_BE_FALSE },
    { "add_cross_attention", MUST_BE_FALSE }, { "scale_attn_weights", MUST_BE_TRUE }, { "scale_attn_by_inverse_layer_idx", MUST_BE_FALSE },
};

static ag_code check_switches(json_t *j, const char *path, ag_error *err)
{
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        json_t *v = json_object_get(j, switches[i].key);
        bool expected = switches[i].kind == MUST_BE_TRUE;
        AG_REQUIRE(!v || json_is_null(v) || (json_is_boolean(v) && json_is_true(v) == expected), err, AG_EDATA,
                   "%s: '%s' is not %s; no other value is supported", path, switches[i].key, expected ? "true" : "false");
    }
    const char *position = json_string_value(json_object_get(j, "position_embedding_type"));
    AG_REQUIRE(!position || is(position, "absolute"), err, AG_EDATA, "%s: position_embedding_type '%.40s'; only 'absolute' is supported",
               path, position);
    return AG_OK;
}

/* The base of rotary positions, at the top or within an object (rope_scaling, rope_parameters), without scaling. */
static ag_code read_rotary(nn_network_config *c, json_t *j, const char *path, ag_error *err)
{
    static const char *const objects[] = { "rope_scaling", "rope_parameters" };
    double part = 1;
    AG_TRY(err, read_number(j, path, "rope_theta", &c->rope_theta, err));
    AG_TRY(err, read_number(j, path, "partial_rotary_factor", &part, err));
    for (int i = 0; i < 2; i++) {
        json_t *rope = json_object_get(j, objects[i]), *type = json_object_get(rope, "rope_type");
        const char *name = json_string_value(type ? type : json_object_get(rope, "type"));
        AG_REQUIRE(!name || is(name, "default"), err, AG_EDATA, "%s: %s of type '%.40s'; only plain rotary positions are supported", path,
                   objects[i], name);
        AG_TRY(err, read_number(rope, path, "rope_theta", &c->rope_theta, err));
        AG_TRY(err, read_number(rope, path, "partial_rotary_factor", &part, err));
    }
    AG_REQUIRE(part == 1, err, AG_EDATA, "%s: partial_rotary_factor %g; only 1 is supported", path, part);
    return AG_OK;
}

/* Within a sliding window attention sees everything, so the window limits the length instead. */
static ag_code read_window(nn_network_config *c, json_t *j, const char *path, ag_error *err)
{
    double window = 0;
    json_t *use = json_object_get(j, "use_sliding_window");
    AG_TRY(err, read_number(j, path, "sliding_window", &window, err));
    if (window >= 1 && !json_is_false(use) && window < (double)c->max_position)
        c->max_position = (int64_t)window;
    return AG_OK;
}

static ag_code read_json(nn_network_config *c, json_t *j, const char *path, const char *architecture, ag_error *err)
{
    static const char *const epsilon[] = { "layer_norm_eps", "rms_norm_eps", "layer_norm_epsilon", "norm_epsilon" };
    AG_REQUIRE(json_is_object(j), err, AG_EDATA, "%s: no JSON object", path);
    if (!architecture)
        architecture = json_string_value(json_object_get(j, "model_type"));
    AG_TRY(err, set_architecture(c, architecture, path, err));
    AG_TRY(err, read_sizes(c, j, path, err));
    for (size_t i = 0; i < sizeof epsilon / sizeof *epsilon; i++)
        AG_TRY(err, read_number(j, path, epsilon[i], &c->norm_epsilon, err));
    AG_TRY(err, read_activation(c, j, path, err));
    AG_TRY(err, check_switches(j, path, err));
    AG_TRY(err, read_rotary(c, j, path, err));
    AG_TRY(err, read_window(c, j, path, err));
    json_t *tied = json_object_get(j, "tie_word_embeddings");
    c->tied = json_is_boolean(tied) ? json_is_true(tied) : is(c->architecture, "gpt2");
    return AG_OK;
}

ag_code nn_config_from_json(nn_network_config *c, const char *path, const char *architecture, ag_error *err)
{
    json_error_t where;
    memset(c, 0, sizeof *c);
    json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    if (!j)
        return ag_fail(err, json_error_code(&where) == json_error_cannot_open_file ? AG_EIO : AG_EDATA, "%s: line %d: %s", path,
                       where.line, where.text);
    ag_code code = read_json(c, j, path, architecture, err);
    json_decref(j);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}

/* ---- GGUF and llama2.c ---- */

static ag_code read_key(const nn_weights *w, const char *key, bool needed, int64_t *value, ag_error *err)
{
    double v = 0;
    if (!nn_weights_number(w, key, &v))
        return needed ? ag_fail(err, AG_EDATA, "%s: no number '%s'", nn_weights_path(w), key) : AG_OK;
    AG_REQUIRE(v >= 1 && v <= INT32_MAX && v == floor(v), err, AG_EDATA, "%s: '%s' is %g; a positive whole number is expected",
               nn_weights_path(w), key, v);
    *value = (int64_t)v;
    return AG_OK;
}

static ag_code read_gguf_sizes(nn_network_config *c, const nn_weights *w, ag_error *err)
{
    static const struct {
        const char *key;
        size_t offset;
        bool needed;
    } keys[] = {
        { "llama.embedding_length", FIELD(hidden_size), true }, { "llama.block_count", FIELD(n_layer), true },
        { "llama.attention.head_count", FIELD(n_head), true }, { "llama.attention.head_count_kv", FIELD(n_kv_head), false },
        { "llama.feed_forward_length", FIELD(intermediate_size), true }, { "llama.context_length", FIELD(max_position), true },
        { "llama.attention.key_length", FIELD(head_size), false },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        AG_TRY(err, read_key(w, keys[i].key, keys[i].needed, field(c, keys[i].offset), err));
    nn_weights_number(w, "llama.rope.freq_base", &c->rope_theta);
    nn_weights_number(w, "llama.attention.layer_norm_rms_epsilon", &c->norm_epsilon);
    const nn_stored *tokens = nn_weights_find(w, "token_embd.weight");
    AG_REQUIRE(tokens && tokens->ndim == 2, err, AG_EDATA, "%s: no matrix 'token_embd.weight'", nn_weights_path(w));
    c->vocab_size = tokens->shape[0];
    c->tied = !nn_weights_find(w, "output.weight");
    return nn_config_complete(c, nn_weights_path(w), err);
}

/* What changes the formula. */
static ag_code check_gguf(const nn_network_config *c, const nn_weights *w, ag_error *err)
{
    const char *path = nn_weights_path(w), *scaling = NULL;
    double experts = 0, rotated = 0;
    nn_weights_number(w, "llama.expert_count", &experts);
    AG_REQUIRE(experts == 0, err, AG_EDATA, "%s: %g experts; mixtures are read from safetensors only", path, experts);
    AG_REQUIRE(!nn_weights_string(w, "llama.rope.scaling.type", &scaling) || is(scaling, "none"), err, AG_EDATA,
               "%s: rotary positions scaled by '%.40s'; only plain ones are supported", path, scaling);
    AG_REQUIRE(!nn_weights_find(w, "rope_freqs.weight"), err, AG_EDATA, "%s: tensor 'rope_freqs.weight' scales rotary positions; only "
               "plain ones are supported", path);
    AG_REQUIRE(!nn_weights_number(w, "llama.rope.dimension_count", &rotated) || rotated == (double)c->head_size, err, AG_EDATA,
               "%s: %g of a head's %lld entries are rotated; all of them is expected", path, rotated, (long long)c->head_size);
    return AG_OK;
}

static ag_code from_gguf(nn_network_config *c, const nn_weights *w, const char *architecture, ag_error *err)
{
    const char *path = nn_weights_path(w);
    if (!architecture)
        nn_weights_string(w, "general.architecture", &architecture);
    AG_REQUIRE(is(architecture, "llama"), err, AG_EDATA, "%s: architecture '%.40s'; of GGUF files only llama is supported", path,
               architecture ? architecture : "(none)");
    AG_TRY(err, set_architecture(c, architecture, path, err));
    AG_TRY(err, read_gguf_sizes(c, w, err));
    return check_gguf(c, w, err);
}

static ag_code from_llama2c(nn_network_config *c, const nn_weights *w, const char *architecture, ag_error *err)
{
    const char *path = nn_weights_path(w);
    AG_REQUIRE(!architecture || is(architecture, "llama"), err, AG_EDATA, "%s: a llama2.c file read as '%.40s'; llama is expected", path,
               architecture);
    AG_TRY(err, set_architecture(c, "llama", path, err));
    AG_TRY(err, read_key(w, "dim", true, &c->hidden_size, err));
    AG_TRY(err, read_key(w, "hidden_dim", true, &c->intermediate_size, err));
    AG_TRY(err, read_key(w, "n_layers", true, &c->n_layer, err));
    AG_TRY(err, read_key(w, "n_heads", true, &c->n_head, err));
    AG_TRY(err, read_key(w, "n_kv_heads", true, &c->n_kv_head, err));
    AG_TRY(err, read_key(w, "vocab_size", true, &c->vocab_size, err));
    double tied = 0;
    nn_weights_number(w, "tied", &tied);
    c->tied = tied != 0;
    return read_key(w, "seq_len", true, &c->max_position, err);
}

ag_code nn_config_from_weights(nn_network_config *c, const nn_weights *w, const char *architecture, ag_error *err)
{
    const char *format = nn_weights_format(w);
    memset(c, 0, sizeof *c);
    if (is(format, "gguf"))
        return from_gguf(c, w, architecture, err);
    AG_REQUIRE(is(format, "llama2.c"), err, AG_EDATA, "%s: a safetensors file says nothing of its network: give the folder with its config.json",
               nn_weights_path(w));
    return from_llama2c(c, w, architecture, err);
}
