/* Reading PEFT's folder (adapter.h): the configuration makes an adapter, and every tensor of the file must be one of its. */
#include "meta/peft_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct reader {
    const char *dir, *path;                /* of the safetensors */
    const nn_network *net;
    meta_peft_read config;
    meta_adapter *a;
    nn_weights *file;
    bool *used;                            /* [tensors of the file] */
    ag_real *values, *stored, *spread;     /* the last two: one parameter, as stored and in full rank */
    /* The file's names may have more in front than ours ("bert.", of a model with a head) or less ("model." left out). */
    char more[NN_NAME_MAX];
    size_t less;
    ag_error *err;
} reader;

/* ---- names ---- */

static bool ends_in(const char *name, const char *end, size_t *front)
{
    size_t n = strlen(name), k = strlen(end);
    *front = n > k ? n - k : 0;
    return n > k && name[n - k - 1] == '.' && strcmp(name + n - k, end) == 0;
}

static void find_names(reader *r)
{
    const char *ours = r->a->param[0].name;
    size_t root = strlen(META_PEFT_ROOT), front;
    for (int i = 0; i < nn_weights_count(r->file); i++) {
        const char *theirs = nn_weights_at(r->file, i)->name;
        if (strncmp(theirs, META_PEFT_ROOT, root) != 0)
            continue;
        theirs += root;
        if (ends_in(theirs, ours, &front) && front < sizeof r->more) {
            memcpy(r->more, theirs, front);
            r->more[front] = '\0';
            return;
        }
        if (ends_in(ours, theirs, &front) && !memchr(ours, '.', front - 1))
            r->less = front;
        if (strcmp(ours, theirs) == 0) {
            r->less = 0;
            return;
        }
    }
}

static const char *name_in_file(const reader *r, const char *ours, char name[META_PEFT_NAME + NN_NAME_MAX])
{
    bool shorter = r->less > 0 && strncmp(ours, r->a->param[0].name, r->less) == 0;
    snprintf(name, META_PEFT_NAME + NN_NAME_MAX, META_PEFT_ROOT "%s%s", r->more, ours + (shorter ? r->less : 0));
    return name;
}

static const nn_stored *find(reader *r, const char *name)
{
    const nn_stored *s = nn_weights_find(r->file, name);
    for (int i = 0; s && i < nn_weights_count(r->file); i++)
        if (nn_weights_at(r->file, i) == s)
            r->used[i] = true;
    return s;
}

/* ---- shapes ---- */

static void shape_text(int ndim, const int64_t *shape, char text[128])
{
    size_t n = (size_t)snprintf(text, 128, "[");
    for (int i = 0; i < ndim && n < 100; i++)
        n += (size_t)snprintf(text + n, 128 - n, "%s%lld", i ? ", " : "", (long long)shape[i]);
    snprintf(text + n, 128 - n, "]");
}

static ag_code check_shape(const char *path, const nn_stored *s, int ndim, const int64_t *shape, ag_error *err)
{
    char is[128], expected[128];
    if (s->ndim == ndim && memcmp(s->shape, shape, (size_t)ndim * sizeof *shape) == 0)
        return AG_OK;
    shape_text(s->ndim, s->shape, is);
    shape_text(ndim, shape, expected);
    return ag_fail(err, AG_EDATA, "'%s': '%.180s' is %s; %s is expected", path, s->name, is, expected);
}

static ag_code read_finite(const char *path, const nn_stored *s, ag_real *x, ag_error *err)
{
    AG_TRY(err, nn_stored_read(s, x, err));
    for (int64_t i = 0; i < s->numel; i++)
        AG_REQUIRE(isfinite(x[i]), err, AG_EDATA, "'%s': '%.180s': number %lld is not finite", path, s->name, (long long)i);
    return AG_OK;
}

/* ---- adalora with triplets left out ---- */

/* The list of the module's triplets in the configuration; NULL: all are there. */
static const json_t *mask_of(const reader *r, const meta_adapted *m)
{
    const char *key, *name = r->net->module[m->module].name;
    json_t *value;
    char ours[NN_NAME_MAX + 16];
    size_t front;
    snprintf(ours, sizeof ours, "%s.lora_E", name + (strncmp(name, r->a->param[0].name, r->less) == 0 ? r->less : 0));
    json_object_foreach (r->config.rank_masks, key, value)
        if (strcmp(key, ours) == 0 || ends_in(key, ours, &front))
            return value;
    return NULL;
}

static ag_code check_mask(const reader *r, const meta_adapted *m, const json_t *mask, int64_t *left)
{
    const char *name = r->net->module[m->module].name;
    AG_REQUIRE(json_is_array(mask) && json_array_size(mask) == (size_t)m->rank, r->err, AG_EDATA,
               "'%s/" META_PEFT_CONFIG "': rank_pattern: a list of %lld is expected for '%s'", r->dir, (long long)m->rank, name);
    *left = 0;
    for (int64_t k = 0; k < m->rank; k++) {
        const json_t *one = json_array_get(mask, (size_t)k);
        AG_REQUIRE(json_is_boolean(one), r->err, AG_EDATA, "'%s/" META_PEFT_CONFIG "': rank_pattern: true or false is expected for '%s'", r->dir, name);
        *left += json_is_true(one);
    }
    return AG_OK;
}

/* What was left out becomes 0: `rows` of `row` numbers (A, E), or columns of B. */
static void spread(const json_t *mask, const meta_adapted *m, int64_t left, int part, int64_t row, const ag_real *from, ag_real *to)
{
    int64_t at = 0;
    for (int64_t k = 0; k < m->rank; k++) {
        bool there = json_is_true(json_array_get(mask, (size_t)k));
        if (part == 1)
            for (int64_t o = 0; o < m->out; o++)
                to[o * m->rank + k] = there ? from[o * left + at] : 0;
        for (int64_t i = 0; part != 1 && i < row; i++)
            to[k * row + i] = there ? from[at * row + i] : 0;
        at += there;
    }
}

/* ---- parameters ---- */

static ag_code read_part(reader *r, const meta_adapted *m, int part)
{
    const nn_param *p = &r->a->param[m->first + part];
    const json_t *mask = r->config.rank_masks ? mask_of(r, m) : NULL;
    char name[META_PEFT_NAME + NN_NAME_MAX];
    const nn_stored *s = find(r, name_in_file(r, p->name, name));
    int64_t shape[4], left = m->rank;
    int ndim;
    AG_REQUIRE(s, r->err, AG_EDATA, "'%s': the tensor '%s' is missing", r->path, name);
    meta_peft_shape(r->a, m, part, &ndim, shape);
    if (mask) {
        AG_TRY(r->err, check_mask(r, m, mask, &left));
        shape[part == 1 ? 1 : 0] = left;
    }
    AG_TRY(r->err, check_shape(r->path, s, ndim, shape, r->err));
    AG_TRY(r->err, read_finite(r->path, s, r->stored, r->err));
    if (mask)
        spread(mask, m, left, part, part == 0 ? m->in : 1, r->stored, r->spread);
    meta_peft_from_file(r->a, m, part, mask ? r->spread : r->stored, r->values + p->offset);
    return AG_OK;
}

/* PEFT's may be wider than our modules need: it has modules we do not. */
static ag_code read_wide(reader *r, const char *name, int axis, int64_t *wide, ag_real **to)
{
    const nn_stored *s = find(r, name);
    AG_REQUIRE(s, r->err, AG_EDATA, "'%s': the tensor '%s' is missing", r->path, name);
    int64_t shape[2] = { axis == 1 ? r->a->options.rank : *wide, axis == 1 ? *wide : r->a->options.rank };
    if (s->ndim == 2 && s->shape[axis] > *wide)
        shape[axis] = s->shape[axis];
    AG_TRY(r->err, check_shape(r->path, s, 2, shape, r->err));
    ag_real *x = ag_alloc((size_t)s->numel * sizeof *x);
    AG_REQUIRE(x, r->err, AG_ENOMEM, "'%s': no memory for '%s'", r->path, name);
    ag_free(*to);
    *to = x;
    *wide = shape[axis];
    return read_finite(r->path, s, x, r->err);
}

/* ---- what is left over ---- */

/* PEFT adds base weights whose embedding is adapted; they must be ours. */
static ag_code check_base_weight(reader *r, const nn_stored *s, const nn_weight *w)
{
    AG_TRY(r->err, check_shape(r->path, s, w->ndim, w->shape, r->err));
    ag_real *x = ag_alloc((size_t)(s->numel + 1) * sizeof *x);
    AG_REQUIRE(x, r->err, AG_ENOMEM, "'%s': no memory for '%.180s'", r->path, s->name);
    ag_code code = nn_stored_read(s, x, r->err);
    for (int64_t i = 0; code == AG_OK && i < s->numel; i++)
        if (!(fabs((double)x[i] - (double)w->data[i]) <= 1e-6))
            code = ag_fail(r->err, AG_EDATA, "'%s': '%.180s' differs from the base's own at number %lld: only adapters can be read", r->path, s->name, (long long)i);
    ag_free(x);
    return code;
}

/* The network's weight a name of the file means: with or without ".base_layer". */
static const nn_weight *base_weight(const reader *r, const char *theirs)
{
    char name[META_PEFT_NAME + NN_NAME_MAX], plain[META_PEFT_NAME + NN_NAME_MAX];
    snprintf(plain, sizeof plain, "%s", theirs);
    char *infix = strstr(plain, ".base_layer.");
    if (infix)
        memmove(infix, infix + strlen(".base_layer"), strlen(infix + strlen(".base_layer")) + 1);
    for (int i = 0; i < r->net->n_weight; i++)
        if (strcmp(name_in_file(r, r->net->weight[i].name, name), plain) == 0)
            return &r->net->weight[i];
    if (strcmp(plain, META_PEFT_ROOT "lm_head.weight") == 0 && nn_network_module(r->net, "lm_head") >= 0)   /* tied */
        return &r->net->weight[r->net->module[nn_network_module(r->net, "lm_head")].weight];
    return NULL;
}

static bool is_saved(const reader *r, const char *theirs)
{
    size_t root = strlen(META_PEFT_ROOT);
    if (strncmp(theirs, META_PEFT_ROOT, root) != 0)
        return false;
    for (int i = 0; i < r->config.n_saved; i++) {
        const char *saved = r->config.saved[i];
        const char *at = strstr(theirs + root, saved);
        size_t n = strlen(saved);
        if (at && (at == theirs + root || at[-1] == '.') && at[n] == '.')
            return true;
    }
    return false;
}

static ag_code check_rest(reader *r)
{
    for (int i = 0; i < nn_weights_count(r->file); i++) {
        const nn_stored *s = nn_weights_at(r->file, i);
        if (r->used[i] || is_saved(r, s->name))
            continue;
        const nn_weight *w = base_weight(r, s->name);
        AG_REQUIRE(w, r->err, AG_EDATA, "'%s': the tensor '%.180s' belongs to nothing that " META_PEFT_CONFIG " asks for",
                   r->path, s->name);
        AG_TRY(r->err, check_base_weight(r, s, w));
    }
    return AG_OK;
}

static ag_code check_base(const reader *r)
{
    const char *digest;
    if (*r->net->digest && nn_weights_string(r->file, META_PEFT_BASE, &digest))
        AG_REQUIRE(strcmp(digest, r->net->digest) == 0, r->err, AG_EDATA,
                   "'%s' was made for another base: its digest is %.40s, that of '%s' is %s", r->path,
                   digest, r->net->path, r->net->digest);
    return AG_OK;
}

/* ---- the whole ---- */

/* Before anything of that size is made. */
static ag_code check_vera_rank(const reader *r)
{
    const meta_adapter_options *o = &r->config.options;
    const nn_stored *s = nn_weights_find(r->file, "base_model.vera_A");
    int64_t rank = o->rank ? o->rank : 256;
    if (strcmp(o->kind, "vera") != 0)
        return AG_OK;
    AG_REQUIRE(s, r->err, AG_EDATA, "'%s': the tensor 'base_model.vera_A' is missing", r->path);
    AG_REQUIRE(s->ndim == 2 && s->shape[0] == rank, r->err, AG_EDATA,
               "'%s': 'base_model.vera_A' has %lld rows; r = %lld is expected", r->path,
               s->ndim ? (long long)s->shape[0] : 0, (long long)rank);
    return AG_OK;
}

/* The options stand in a file: what is wrong with them is wrong with the file. */
static ag_code make_adapter(reader *r)
{
    ag_error why = { 0 };
    ag_code code = meta_adapter_make(&r->a, r->net, &r->config.options, true, &why);
    if (code == AG_ECONFIG)
        return ag_fail(r->err, AG_EDATA, "'%s/" META_PEFT_CONFIG "': %s", r->dir, why.message);
    return code == AG_OK ? AG_OK : ag_fail(r->err, code, "%s", why.message);
}

/* PEFT takes the factors of GPT-2's weights out of the transposed matrix, so that its own start is not the base. */
static ag_code check_olora(const reader *r)
{
    for (int i = 0; i < r->a->n_module; i++)
        AG_REQUIRE(r->a->start != META_OLORA || r->a->module[i].kind == NN_LINEAR, r->err, AG_EDATA,
                   "'%s/" META_PEFT_CONFIG "': init_lora_weights \"olora\" of '%s', a module stored [in, out]: PEFT's own start is wrong there",
                   r->dir, r->net->module[r->a->module[i].module].name);
    return AG_OK;
}

static ag_code reserve(reader *r)
{
    int64_t most = 1;
    for (int i = 0; i < r->a->n_param; i++)
        most = r->a->param[i].numel > most ? r->a->param[i].numel : most;
    r->values = ag_alloc_zero((size_t)r->a->n_value * sizeof *r->values);
    r->stored = ag_alloc((size_t)most * sizeof *r->stored);
    r->spread = ag_alloc((size_t)most * sizeof *r->spread);
    r->used = ag_alloc_zero((size_t)nn_weights_count(r->file) + 1);
    AG_REQUIRE(r->values && r->stored && r->spread && r->used, r->err, AG_ENOMEM, "'%s': no memory for its numbers", r->path);
    return AG_OK;
}

static ag_code read_all(reader *r)
{
    AG_TRY(r->err, meta_peft_read_config(&r->config, r->dir, r->net, r->err));
    AG_TRY(r->err, nn_weights_open(&r->file, r->path, r->err));
    AG_REQUIRE(strcmp(nn_weights_format(r->file), "safetensors") == 0, r->err, AG_EDATA,
               "'%s' is a %s file; safetensors is expected", r->path,
               nn_weights_format(r->file));
    AG_TRY(r->err, check_base(r));
    AG_TRY(r->err, check_vera_rank(r));
    AG_TRY(r->err, make_adapter(r));
    AG_TRY(r->err, check_olora(r));
    AG_TRY(r->err, reserve(r));
    find_names(r);
    for (int i = 0; i < r->a->n_module; i++)
        for (int part = 0; part < meta_adapter_parts(r->a); part++)
            AG_TRY(r->err, read_part(r, &r->a->module[i], part));
    if (r->a->kind == META_VERA) {
        AG_TRY(r->err, read_wide(r, "base_model.vera_A", 1, &r->a->wide_in, &r->a->wide_a));
        AG_TRY(r->err, read_wide(r, "base_model.vera_B", 0, &r->a->wide_out, &r->a->wide_b));
    }
    return check_rest(r);
}

ag_code meta_peft_load(meta_adapter **a, ag_real **values, const char *dir, const nn_network *net, ag_error *err)
{
    char path[META_PEFT_PATH];
    reader r = { .dir = dir, .path = path, .net = net, .err = err };
    *a = NULL;
    *values = NULL;
    AG_TRY(err, meta_peft_path(path, dir, META_PEFT_TENSORS, err));
    ag_code code = read_all(&r);
    if (code == AG_OK) {
        *a = r.a;
        *values = r.values;
    } else {
        meta_adapter_free(r.a);
        ag_free(r.values);
    }
    meta_peft_read_release(&r.config);
    nn_weights_close(r.file);
    ag_free(r.used);
    ag_free(r.stored);
    ag_free(r.spread);
    return ag_trail(err, code, __func__);
}

ag_code meta_peft_load_extra(const char *dir, const char *name, int ndim, const int64_t *shape, ag_real *x, ag_error *err)
{
    char path[META_PEFT_PATH], key[META_PEFT_NAME];
    nn_weights *w;
    AG_TRY(err, meta_peft_path(path, dir, META_PEFT_TENSORS, err));
    AG_TRY(err, nn_weights_open(&w, path, err));
    snprintf(key, sizeof key, META_PEFT_ROOT "%s", name);
    const nn_stored *s = nn_weights_find(w, key);
    ag_code code = s ? check_shape(path, s, ndim, shape, err) : ag_fail(err, AG_EDATA, "'%s': the tensor '%s' is missing", path,
                                                                        key);
    if (code == AG_OK)
        code = read_finite(path, s, x, err);
    nn_weights_close(w);
    return ag_trail(err, code, __func__);
}
