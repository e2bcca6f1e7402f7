/* Reading PEFT's adapter_config.json. Fields we do not know are ignored; those that would change the formula and that we do
 * not have are refused where they are set. */
#include "meta/peft_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct config {
    meta_peft_read *r;
    const char *path;
    const nn_network *net;
    char *next;                            /* in r->memory */
    ag_error *err;
} config;

enum { FILE_MOST = 16 << 20 };             /* [bytes] */

static void *take(config *c, size_t bytes)
{
    void *at = c->next;
    c->next += (bytes + 7) / 8 * 8;
    return at;
}

static const json_t *get(const config *c, const char *key)
{
    const json_t *value = json_object_get(c->r->json, key);
    return json_is_null(value) ? NULL : value;
}

static ag_code wrong(const config *c, const char *key, const char *expected)
{
    return ag_fail(c->err, AG_EDATA, "'%s': %s: %s is expected", c->path, key, expected);
}

static ag_code get_bool(const config *c, const char *key, bool *to)
{
    const json_t *value = get(c, key);
    if (value && !json_is_boolean(value))
        return wrong(c, key, "true or false");
    *to = json_is_true(value);
    return AG_OK;
}

static ag_code get_number(const config *c, const char *key, double *to)
{
    const json_t *value = get(c, key);
    if (value && (!json_is_number(value) || !isfinite(json_number_value(value))))
        return wrong(c, key, "a number");
    if (value)
        *to = json_number_value(value);
    return AG_OK;
}

static ag_code get_rank(const config *c, const char *key)
{
    const json_t *value = get(c, key);
    if (value && (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > 1 << 20))
        return wrong(c, key, "a whole number of at least 1");
    c->r->options.rank = value ? json_integer_value(value) : 0;
    return AG_OK;
}

/* A list of strings. */
static ag_code get_names(config *c, const char *key, int *n, const char ***to)
{
    const json_t *value = get(c, key);
    *n = (int)json_array_size(value);
    *to = take(c, (size_t)*n * sizeof **to);
    if (value && !json_is_array(value))
        return wrong(c, key, "a list of names");
    for (int i = 0; i < *n; i++) {
        (*to)[i] = json_string_value(json_array_get(value, (size_t)i));
        if (!(*to)[i])
            return wrong(c, key, "a list of names");
    }
    return AG_OK;
}

static ag_code get_patterns(config *c, const char *key, int *n, const meta_pattern **to)
{
    json_t *object = json_object_get(c->r->json, key), *value;
    const char *pattern;
    meta_pattern *at = take(c, json_object_size(object) * sizeof *at);
    *n = 0;
    *to = at;
    if (object && !json_is_null(object) && !json_is_object(object))
        return wrong(c, key, "an object of numbers by pattern");
    json_object_foreach (object, pattern, value) {
        if (!json_is_number(value))
            return wrong(c, key, "an object of numbers by pattern");
        at[(*n)++] = (meta_pattern){ pattern, json_number_value(value) };
    }
    return AG_OK;
}

/* ---- which modules ---- */

static ag_code read_targets(config *c)
{
    static const char *const all[] = { "all-linear" };
    meta_adapter_options *o = &c->r->options;
    const json_t *value = get(c, "target_modules");
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        bool everything = strcasecmp(text, all[0]) == 0;
        o->n_target = everything;
        o->targets = everything ? all : NULL;
        o->target_regex = everything ? NULL : text;
        return AG_OK;
    }
    const char **names;
    AG_TRY(c->err, get_names(c, "target_modules", &o->n_target, &names));
    o->targets = names;
    return value && o->n_target == 0 ? wrong(c, "target_modules", "at least one name") : AG_OK;
}

/* Whether the name has the module in it: "m", "m.x", "x.m" or "x.m.y". */
static bool is_under(const char *name, const char *module)
{
    size_t n = strlen(module);
    for (const char *at = name; n > 0 && (at = strstr(at, module)); at++)
        if ((at == name || at[-1] == '.') && (at[n] == '\0' || at[n] == '.'))
            return true;
    return false;
}

/* An expression and modules_to_save exclude modules by their whole names. */
static ag_code read_excluded(config *c)
{
    meta_peft_read *r = c->r;
    const json_t *value = get(c, "exclude_modules");
    const char **names;
    meta_regex *regex = NULL;
    ag_error why = { 0 };
    ag_code code = AG_OK;
    int n = 0;
    if (json_is_string(value)) {
        code = meta_regex_new(&regex, json_string_value(value), &why);
        names = take(c, 0);
    } else {
        AG_TRY(c->err, get_names(c, "exclude_modules", &n, &names));
    }
    names = memcpy(take(c, (size_t)(n + c->net->n_module) * sizeof *names), names, (size_t)n * sizeof *names);
    for (int i = 0; code == AG_OK && i < c->net->n_module; i++) {
        bool out = false;
        if (regex)
            code = meta_regex_match(regex, c->net->module[i].name, &out, &why);
        for (int j = 0; j < r->n_saved && !out; j++)
            out = is_under(c->net->module[i].name, r->saved[j]);
        if (out)
            names[n++] = c->net->module[i].name;
    }
    meta_regex_free(regex);
    r->options.n_exclude = n;
    r->options.exclude = names;
    if (code == AG_OK)
        return AG_OK;
    return ag_fail(c->err, code == AG_ECONFIG ? AG_EDATA : code, "'%s': exclude_modules: %s", c->path, why.message);
}

static ag_code read_layers(config *c)
{
    meta_adapter_options *o = &c->r->options;
    const json_t *value = get(c, "layers_to_transform");
    int n = json_is_integer(value) ? 1 : (int)json_array_size(value);
    int64_t *layers = take(c, (size_t)n * sizeof *layers);
    if (value && !json_is_integer(value) && !json_is_array(value))
        return wrong(c, "layers_to_transform", "a number or a list of them");
    for (int i = 0; i < n; i++) {
        const json_t *one = json_is_array(value) ? json_array_get(value, (size_t)i) : value;
        if (!json_is_integer(one))
            return wrong(c, "layers_to_transform", "a number or a list of them");
        layers[i] = json_integer_value(one);
    }
    o->n_layer = n;
    o->layers = layers;
    return AG_OK;
}

static bool pattern_is(const json_t *pattern, const char *name, int length)
{
    const char *s = json_string_value(pattern);
    return s && strlen(s) == (size_t)length && strncmp(s, name, (size_t)length) == 0;
}

/* PEFT looks for the number behind this name; we take the first number, so it must stand there. */
static ag_code check_layers_pattern(config *c)
{
    const json_t *value = get(c, "layers_pattern");
    size_t n = json_is_array(value) ? json_array_size(value) : value ? 1 : 0;
    bool found = n == 0 || c->r->options.n_layer == 0;
    for (int i = 0; i < c->net->n_module && !found; i++) {
        int64_t layer;
        const char *before;
        int length;
        if (!meta_layer_of(c->net->module[i].name, &layer, &before, &length))
            continue;
        for (size_t j = 0; j < n && !found; j++)
            found = pattern_is(json_is_array(value) ? json_array_get(value, j) : value, before, length);
    }
    return found ? AG_OK : wrong(c, "layers_pattern", "the name in front of this network's layer numbers");
}

/* ---- the rest ---- */

static bool is_set(const json_t *value)
{
    return value && !json_is_false(value) && !(json_is_array(value) && json_array_size(value) == 0) &&
           !(json_is_object(value) && json_object_size(value) == 0);
}

static ag_code check_foreign(const config *c)
{
    static const char *const foreign[] = { "lora_bias", "use_qalora", "use_bdlora", "alora_invocation_tokens", "layer_replication",
        "target_parameters", "trainable_token_indices", "velora_config", "arrow_config", "kasa_config", "monteclora_config", "megatron_config" };
    const json_t *bias = get(c, "bias");
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        AG_REQUIRE(!is_set(get(c, foreign[i])), c->err, AG_EDATA, "'%s': %s is set, which metalora does not have", c->path,
                   foreign[i]);
    AG_REQUIRE(!bias || (json_is_string(bias) && strcmp(json_string_value(bias), "none") == 0), c->err, AG_EDATA,
               "'%s': bias: only \"none\" can be read", c->path);
    return AG_OK;
}

/* What changes the base on loading must be known; how else A and B began does not matter any more. */
static ag_code read_init(config *c)
{
    static const char *const plain[] = { "gaussian", "orthogonal", "eva" }, *const taken[] = { "pissa", "olora" };
    const json_t *value = get(c, "init_lora_weights");
    const char *name = json_string_value(value);
    if (!value || json_is_boolean(value))
        return AG_OK;
    for (size_t i = 0; name && i < sizeof plain / sizeof *plain; i++)
        if (strcasecmp(name, plain[i]) == 0)
            return AG_OK;
    for (size_t i = 0; name && i < sizeof taken / sizeof *taken; i++)
        if (strcasecmp(name, taken[i]) == 0) {
            c->r->options.init = taken[i];
            return AG_OK;
        }
    return ag_fail(c->err, AG_EDATA, "'%s': init_lora_weights \"%.60s\": the base it belongs to cannot be made again here; save it in PEFT with path_initial_model_for_weight_conversion",
                   c->path, name ? name : "?");
}

static ag_code read_lora(config *c)
{
    meta_adapter_options *o = &c->r->options;
    bool dora = false;
    AG_TRY(c->err, get_bool(c, "use_dora", &dora));
    AG_TRY(c->err, get_bool(c, "use_rslora", &o->rslora));
    AG_TRY(c->err, get_rank(c, "r"));
    AG_TRY(c->err, get_number(c, "lora_alpha", &o->alpha));
    if (get(c, "lora_alpha") && !(o->alpha > 0))
        return wrong(c, "lora_alpha", "a number above 0");
    AG_TRY(c->err, get_number(c, "lora_dropout", &o->dropout));
    AG_TRY(c->err, get_patterns(c, "rank_pattern", &o->n_rank_pattern, &o->rank_pattern));
    AG_TRY(c->err, get_patterns(c, "alpha_pattern", &o->n_alpha_pattern, &o->alpha_pattern));
    o->kind = dora ? "dora" : "lora";
    return read_init(c);
}

static ag_code read_adalora(config *c)
{
    meta_adapter_options *o = &c->r->options;
    json_t *masks = json_object_get(c->r->json, "rank_pattern");
    o->kind = "adalora";
    AG_TRY(c->err, get_rank(c, "init_r"));
    AG_TRY(c->err, get_number(c, "lora_alpha", &o->alpha));
    if (get(c, "lora_alpha") && !(o->alpha > 0))
        o->alpha = o->rank ? (double)o->rank : 12;          /* as PEFT has it */
    AG_TRY(c->err, get_number(c, "lora_dropout", &o->dropout));
    if (masks && !json_is_null(masks) && !json_is_object(masks))
        return wrong(c, "rank_pattern", "an object of lists by name");
    c->r->rank_masks = json_is_object(masks) ? masks : NULL;
    return AG_OK;
}

static ag_code read_vera(config *c)
{
    meta_adapter_options *o = &c->r->options;
    const json_t *saved = get(c, "save_projection");
    o->kind = "vera";
    AG_REQUIRE(!saved || json_is_true(saved), c->err, AG_EDATA,
               "'%s': save_projection is not true: the shared factors cannot be made again here", c->path);
    AG_TRY(c->err, get_rank(c, "r"));
    AG_TRY(c->err, get_number(c, "vera_dropout", &o->dropout));
    return get_number(c, "d_initial", &o->vera_d_initial);
}

static ag_code read_type(config *c)
{
    const char *type = json_string_value(get(c, "peft_type"));
    if (type && strcmp(type, "LORA") == 0)
        return read_lora(c);
    if (type && strcmp(type, "ADALORA") == 0)
        return read_adalora(c);
    if (type && strcmp(type, "VERA") == 0)
        return read_vera(c);
    return ag_fail(c->err, AG_EDATA, "'%s': peft_type is '%.40s'; LORA, ADALORA or VERA is expected", c->path,
                   type ? type : "not there");
}

static ag_code read_fields(config *c)
{
    AG_TRY(c->err, read_type(c));
    AG_TRY(c->err, check_foreign(c));
    AG_TRY(c->err, get_names(c, "modules_to_save", &c->r->n_saved, &c->r->saved));
    AG_TRY(c->err, read_targets(c));
    AG_TRY(c->err, read_excluded(c));
    AG_TRY(c->err, read_layers(c));
    return check_layers_pattern(c);
}

static ag_code read_json(const char *path, json_t **json, ag_error *err)
{
    json_error_t why;
    FILE *f = fopen(path, "rb");
    AG_REQUIRE(f, err, AG_EIO, "cannot read '%s': %s", path, strerror(errno));
    if (fseek(f, 0, SEEK_END) != 0 || ftell(f) > FILE_MOST) {
        fclose(f);
        return ag_fail(err, AG_EDATA, "'%s' is no adapter's configuration: it has more than %d bytes", path, FILE_MOST);
    }
    rewind(f);
    *json = json_loadf(f, JSON_REJECT_DUPLICATES, &why);
    fclose(f);
    if (!*json)
        return ag_fail(err, json_error_code(&why) == json_error_out_of_memory ? AG_ENOMEM : AG_EDATA,
                       "'%s': line %d, column %d: %s", path, why.line,
                       why.column, why.text);
    AG_REQUIRE(json_is_object(*json), err, AG_EDATA, "'%s': an object is expected", path);
    return AG_OK;
}

/* Room for every list of the file, each counted at its own size. */
static size_t room_for(const json_t *json, const nn_network *net)
{
    static const char *const lists[] = { "target_modules", "exclude_modules", "exclude_modules", "modules_to_save",
                                         "layers_to_transform" };
    static const char *const objects[] = { "rank_pattern", "alpha_pattern" };
    size_t n = (size_t)net->n_module + 1;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        n += json_array_size(json_object_get(json, lists[i]));
    n *= sizeof(char *);
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        n += json_object_size(json_object_get(json, objects[i])) * sizeof(meta_pattern);
    return n;
}

ag_code meta_peft_read_config(meta_peft_read *r, const char *dir, const nn_network *net, ag_error *err)
{
    char path[META_PEFT_PATH];
    *r = (meta_peft_read){ .n_saved = 0 };
    AG_TRY(err, meta_peft_path(path, dir, META_PEFT_CONFIG, err));
    AG_TRY(err, read_json(path, &r->json, err));
    r->memory = ag_alloc(room_for(r->json, net));
    AG_REQUIRE(r->memory, err, AG_ENOMEM, "'%s': no memory for its lists", path);
    return read_fields(&(config){ r, path, net, r->memory, err });
}

void meta_peft_read_release(meta_peft_read *r)
{
    json_decref(r->json);
    ag_free(r->memory);
}
