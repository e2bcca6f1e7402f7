/* Writing PEFT's folder (adapter.h). Keys are "base_model.model." and the parameter's name; vera's shared factors are
 * base_model.vera_A and base_model.vera_B. */
#include "meta/peft_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- adapter_config.json ---- */

static bool doubled(const meta_adapter *a)
{
    return a->start == META_PISSA || a->start == META_OLORA;
}

static json_t *number(double x)
{
    return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x) : json_real(x);
}

static json_t *text_or_null(const char *s)
{
    json_t *j = s && *s ? json_string(s) : NULL;
    return j ? j : json_null();
}

static json_t *names(int n, const char *const *from)
{
    json_t *list = json_array();
    for (int i = 0; list && i < n; i++)
        if (json_array_append_new(list, json_string(from[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* "all-linear" as PEFT writes it: every module by its name, so that one our network does not have stays out. Vera's
 * configuration knows no exclusion. */
static bool by_full_names(const meta_adapter *a)
{
    const meta_adapter_options *o = &a->options;
    return (a->kind == META_VERA && o->n_exclude > 0) || (!o->target_regex && strcmp(o->targets[0], "all-linear") == 0);
}

static json_t *target_modules(const meta_adapter *a)
{
    const meta_adapter_options *o = &a->options;
    if (!by_full_names(a))
        return o->target_regex ? json_string(o->target_regex) : names(o->n_target, o->targets);
    json_t *list = json_array();
    for (int i = 0; list && i < a->n_module; i++)
        if (json_array_append_new(list, json_string(a->net->module[a->module[i].module].name)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *patterns(int n, const meta_pattern *from, double factor)
{
    json_t *object = json_object();
    for (int i = 0; object && i < n; i++)
        if (json_object_set_new(object, from[i].pattern, number(from[i].value * factor)) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

static json_t *layers(const meta_adapter *a)
{
    json_t *list = json_array();
    for (int i = 0; list && i < a->options.n_layer; i++)
        if (json_array_append_new(list, json_integer(a->options.layers[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* What stands before the number: with it PEFT finds the number wherever it is. */
static json_t *layers_pattern(const meta_adapter *a)
{
    int64_t layer;
    const char *before;
    int length;
    if (!meta_layer_of(a->net->module[a->module[0].module].name, &layer, &before, &length))
        return json_null();
    return json_stringn(before, (size_t)length);
}

/* "classifier" of "classifier.weight", each once. */
static json_t *modules_to_save(int n, const meta_extra *extra)
{
    json_t *list = n ? json_array() : json_null();
    for (int i = 0; list && i < n; i++) {
        const char *dot = strrchr(extra[i].name, '.');
        size_t length = dot ? (size_t)(dot - extra[i].name) : strlen(extra[i].name);
        bool there = false;
        for (int j = 0; j < i && !there; j++)
            there = strncmp(extra[j].name, extra[i].name, length) == 0 && extra[j].name[length] == '.' && !strchr(extra[j].name + length + 1, '.');
        if (!there && json_array_append_new(list, json_stringn(extra[i].name, length)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static bool has_in_out(const meta_adapter *a)
{
    bool found = false;
    for (int i = 0; i < a->n_module; i++)
        found |= a->module[i].kind == NN_LINEAR_IN_OUT;
    return found;
}

/* Takes `value` over; remembers failure. */
static void put(json_t *o, const char *key, json_t *value, bool *well)
{
    *well = json_object_set_new(o, key, value) == 0 && *well;
}

static void put_common(json_t *o, const meta_adapter *a, int n_extra, const meta_extra *extra, bool *well)
{
    const meta_adapter_options *p = &a->options;
    bool layered = p->n_layer > 0 && !by_full_names(a);
    put(o, "peft_type", json_string(a->kind == META_ADALORA ? "ADALORA" : a->kind == META_VERA ? "VERA" : "LORA"), well);
    put(o, "auto_mapping", json_null(), well);
    put(o, "base_model_name_or_path", text_or_null(a->net->path), well);
    put(o, "revision", json_null(), well);
    put(o, "task_type", json_null(), well);
    put(o, "inference_mode", json_true(), well);
    put(o, "target_modules", target_modules(a), well);
    if (a->kind != META_VERA)
        put(o, "exclude_modules", p->n_exclude ? names(p->n_exclude, p->exclude) : json_null(), well);
    put(o, "layers_to_transform", layered ? layers(a) : json_null(), well);
    put(o, "layers_pattern", layered ? layers_pattern(a) : json_null(), well);
    put(o, "modules_to_save", modules_to_save(n_extra, extra), well);
    put(o, "bias", json_string("none"), well);
    put(o, "fan_in_fan_out", json_boolean(has_in_out(a)), well);
}

static void put_lora(json_t *o, const meta_adapter *a, bool *well)
{
    const meta_adapter_options *p = &a->options;
    bool twice = doubled(a), orthogonal = a->start == META_ORTHOGONAL, gaussian = a->start == META_GAUSSIAN;
    double alpha = !twice ? 1 : p->rslora ? sqrt(2) : 2;   /* so that the scale stays */
    put(o, "r", number((double)p->rank * (twice ? 2 : 1)), well);
    put(o, "lora_alpha", number(p->alpha * alpha), well);
    put(o, "lora_dropout", number(p->dropout), well);
    put(o, "init_lora_weights", orthogonal ? json_string("orthogonal") : gaussian ? json_string("gaussian") : json_true(), well);
    put(o, "use_rslora", json_boolean(p->rslora), well);
    put(o, "use_dora", json_boolean(a->kind == META_DORA), well);
    put(o, "rank_pattern", patterns(p->n_rank_pattern, p->rank_pattern, twice ? 2 : 1), well);
    put(o, "alpha_pattern", patterns(p->n_alpha_pattern, p->alpha_pattern, alpha), well);
    put(o, "lora_bias", json_false(), well);
}

/* The schedule is over: total_step only has to be above 0. */
static void put_adalora(json_t *o, const meta_adapter *a, bool *well)
{
    put(o, "init_r", json_integer(a->options.rank), well);
    put(o, "target_r", json_integer(a->options.rank), well);
    put(o, "tinit", json_integer(0), well);
    put(o, "tfinal", json_integer(0), well);
    put(o, "deltaT", json_integer(1), well);
    put(o, "total_step", json_integer(1), well);
    put(o, "lora_alpha", number(a->options.alpha), well);
    put(o, "lora_dropout", number(a->options.dropout), well);
    put(o, "rank_pattern", json_null(), well);
    put(o, "init_lora_weights", json_true(), well);
}

static void put_vera(json_t *o, const meta_adapter *a, bool *well)
{
    put(o, "r", json_integer(a->options.rank), well);
    put(o, "projection_prng_key", json_integer(0), well);   /* not used: the projections are saved */
    put(o, "save_projection", json_true(), well);
    put(o, "vera_dropout", number(a->options.dropout), well);
    put(o, "d_initial", json_real(a->options.vera_d_initial), well);
    put(o, "init_weights", json_true(), well);
}

json_t *meta_peft_config(const meta_adapter *a, int n_extra, const meta_extra *extra)
{
    bool well = true;
    json_t *o = json_object();
    put_common(o, a, n_extra, extra, &well);
    if (a->kind == META_ADALORA)
        put_adalora(o, a, &well);
    else if (a->kind == META_VERA)
        put_vera(o, a, &well);
    else
        put_lora(o, a, &well);
    if (!well)
        json_decref(o);
    return well ? o : NULL;
}

static ag_code write_file(const char *path, const char *text, size_t n, ag_error *err)
{
    char aside[META_PEFT_PATH + 16];
    snprintf(aside, sizeof aside, "%s.new", path);
    FILE *f = fopen(aside, "wb");
    AG_REQUIRE(f, err, AG_EIO, "cannot write '%s': %s", aside, strerror(errno));
    bool well = fwrite(text, 1, n, f) == n && fflush(f) == 0 && fsync(fileno(f)) == 0;
    int why = errno;
    if (fclose(f) != 0 && well) {
        well = false;
        why = errno;
    }
    if (well && rename(aside, path) != 0) {
        well = false;
        why = errno;
    }
    if (well)
        return AG_OK;
    unlink(aside);
    return ag_fail(err, AG_EIO, "cannot write '%s': %s", path, strerror(why));
}

static ag_code write_config(const char *dir, const meta_adapter *a, int n_extra, const meta_extra *extra, ag_error *err)
{
    const size_t flags = JSON_INDENT(2) | JSON_REAL_PRECISION(17);
    char path[META_PEFT_PATH];
    AG_TRY(err, meta_peft_path(path, dir, META_PEFT_CONFIG, err));
    json_t *config = meta_peft_config(a, n_extra, extra);
    size_t n = config ? json_dumpb(config, NULL, 0, flags) : 0;
    char *text = n ? ag_alloc(n + 1) : NULL;
    ag_code code = AG_OK;
    if (!text || json_dumpb(config, text, n, flags) != n)
        code = ag_fail(err, AG_ENOMEM, "'%s': no memory for the configuration", path);
    if (code == AG_OK) {
        text[n] = '\n';
        code = write_file(path, text, n + 1, err);
    }
    ag_free(text);
    json_decref(config);
    return code;
}

/* ---- adapter_model.safetensors ---- */

typedef struct listing {
    int n;
    nn_to_store *tensor;
    char (*name)[META_PEFT_NAME];
    ag_real *numbers;                      /* of what is written otherwise than it lies */
} listing;

static nn_to_store *list_tensor(listing *l, const char *root, const char *name, int ndim, const int64_t *shape, const ag_real *data)
{
    nn_to_store *t = &l->tensor[l->n];
    snprintf(l->name[l->n], sizeof l->name[l->n], "%s%s", root, name);
    *t = (nn_to_store){ .name = l->name[l->n++], .ndim = ndim, .data = data };
    for (int i = 0; i < ndim; i++)
        t->shape[i] = shape[i];
    return t;
}

/* [A; A0] and [B, -B0]: (B A - B0 A0) in one product. */
static void join(const meta_adapted *m, int part, const ag_real *values, ag_real *to)
{
    int64_t r = m->rank, n = r * m->in;
    const ag_real *start = m->start + (part ? n : 0);
    if (part == 0) {
        memcpy(to, values, (size_t)n * sizeof *to);
        memcpy(to + n, start, (size_t)n * sizeof *to);
        return;
    }
    for (int64_t o = 0; o < m->out; o++)
        for (int64_t k = 0; k < r; k++) {
            to[o * 2 * r + k] = values[o * r + k];
            to[o * 2 * r + r + k] = -start[o * r + k];
        }
}

static ag_real *list_part(listing *l, const meta_adapter *a, const meta_adapted *m, int part, const ag_real *values, ag_real *room)
{
    const nn_param *p = &a->param[m->first + part];
    int64_t shape[4];
    int ndim;
    bool twice = doubled(a) && part < 2;
    meta_peft_shape(a, m, part, &ndim, shape);
    if (twice) {
        shape[part] *= 2;
        join(m, part, values + p->offset, room);
    } else {
        meta_peft_to_file(a, m, part, values + p->offset, room);
    }
    list_tensor(l, META_PEFT_ROOT, p->name, ndim, shape, room);
    return room + p->numel * (twice ? 2 : 1);
}

static void list_all(listing *l, const meta_adapter *a, const ag_real *values, int n_extra, const meta_extra *extra)
{
    ag_real *room = l->numbers;
    for (int i = 0; i < a->n_module; i++)
        for (int part = 0; part < meta_adapter_parts(a); part++)
            room = list_part(l, a, &a->module[i], part, values, room);
    for (int i = 0; i < n_extra; i++)
        list_tensor(l, META_PEFT_ROOT, extra[i].name, extra[i].ndim, extra[i].shape, extra[i].data);
    if (a->kind != META_VERA)
        return;
    list_tensor(l, "base_model.", "vera_A", 2, (int64_t[]){ a->options.rank, a->wide_in }, a->wide_a);
    list_tensor(l, "base_model.", "vera_B", 2, (int64_t[]){ a->wide_out, a->options.rank }, a->wide_b);
}

static ag_code write_tensors(const char *dir, const meta_adapter *a, const ag_real *values, int n_extra, const meta_extra *extra,
                             ag_error *err)
{
    const char *const metadata[2][2] = { { "format", "pt" }, { META_PEFT_BASE, a->net->digest } };
    char path[META_PEFT_PATH];
    size_t most = (size_t)(a->n_param + n_extra + 2);
    AG_TRY(err, meta_peft_path(path, dir, META_PEFT_TENSORS, err));
    listing l = { .tensor = ag_alloc_zero(most * sizeof *l.tensor), .name = ag_alloc(most * sizeof *l.name),
                  .numbers = ag_alloc((size_t)a->n_value * (doubled(a) ? 2 : 1) * sizeof *l.numbers) };
    ag_code code = l.tensor && l.name && l.numbers ? AG_OK : ag_fail(err, AG_ENOMEM, "'%s': no memory for %zu tensors", path, most);
    if (code == AG_OK) {
        list_all(&l, a, values, n_extra, extra);
        code = nn_safetensors_write(path, l.n, l.tensor, *a->net->digest ? 2 : 1, metadata, err);
    }
    ag_free(l.tensor);
    ag_free(l.name);
    ag_free(l.numbers);
    return code;
}

ag_code meta_peft_save(const char *dir, const meta_adapter *a, const ag_real *values, int n_extra, const meta_extra *extra,
                       ag_error *err)
{
    for (int i = 0; i < n_extra; i++)
        AG_REQUIRE(strlen(extra[i].name) < NN_NAME_MAX, err, AG_EINVAL, "the extra tensor '%.60s...' has too long a name",
                   extra[i].name);
    AG_REQUIRE(mkdir(dir, 0777) == 0 || errno == EEXIST, err, AG_EIO, "cannot make the folder '%s': %s", dir, strerror(errno));
    AG_TRY(err, write_tensors(dir, a, values, n_extra, extra, err));
    return write_config(dir, a, n_extra, extra, err);   /* last: who finds it finds the tensors too */
}
