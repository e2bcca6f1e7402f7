/* Adapters' folders (adapt_files.h). */
#include "experiments/adapt_files.h"

#include "experiments/replace_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CARD "metalora.json"
#define RATES "metalora_rates.safetensors"
#define FORMAT "metalora-adapter-1"
enum { PATH = 1024, LABELS_MOST = 1 << 20 };

static const char *const files[] = { CARD, RATES, "adapter_config.json", "adapter_model.safetensors" };
enum { N_FILE = sizeof files / sizeof *files };

static ag_code join(char path[PATH], const char *dir, const char *name, ag_error *err)
{
    int n = snprintf(path, PATH, "%s/%s", dir, name);
    AG_REQUIRE(n > 0 && n < PATH, err, AG_ECONFIG, "'%.100s...': a path of more than %d bytes", dir, PATH - 1);
    return AG_OK;
}

/* ---- words ---- */

static const char *const heads[] = { "model", "prototype", "centroid" };
static const char *const similarities[] = { "cosine", "euclidean" };
static const char *const poolings[] = { "mean", "first", "last" };
static const char *const rules[] = { "sgd", "adam" };
static const char *const scopes[] = { "all", "tensor", "element" };

const char *xp_head_name(meta_head head)
{
    return heads[head];
}

const char *xp_pooling_name(nn_pooling pooling)
{
    return poolings[pooling];
}

/* ---- reading ---- */

typedef struct reader {
    const char *path;
    const json_t *root;
    ag_error *err;
} reader;

static ag_code wrong(const reader *r, const char *key, const char *expected)
{
    return ag_fail(r->err, AG_EDATA, "%s: %s: expected %s", r->path, key, expected);
}

static ag_code get_text(const reader *r, const json_t *from, const char *key, char **to)
{
    const json_t *v = json_object_get(from, key);
    if (!v)
        return AG_OK;
    if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
        return wrong(r, key, "a text");
    *to = ag_strdup(json_string_value(v));
    return *to ? AG_OK : ag_fail(r->err, AG_ENOMEM, "%s: out of memory", r->path);
}

/* One of n words; *given (may be NULL) tells whether it is there. */
static ag_code get_word(const reader *r, const char *key, int n, const char *const *words, int *to, bool *given)
{
    char expected[100] = "one of";
    const json_t *v = json_object_get(r->root, key);
    if (!v)
        return AG_OK;
    for (int i = 0; i < n; i++) {
        size_t used = strlen(expected);
        if (json_is_string(v) && strcmp(json_string_value(v), words[i]) == 0) {
            *to = i;
            if (given)
                *given = true;
            return AG_OK;
        }
        snprintf(expected + used, sizeof expected - used, " %s", words[i]);
    }
    return wrong(r, key, expected);
}

static ag_code get_whole(const reader *r, const char *key, int64_t most, int64_t *to, bool *given)
{
    const json_t *v = json_object_get(r->root, key);
    if (!v)
        return AG_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > most)
        return wrong(r, key, "a whole number, not too large");
    *to = json_integer_value(v);
    if (given)
        *given = true;
    return AG_OK;
}

static ag_code get_positive(const reader *r, const char *key, double *to)
{
    const json_t *v = json_object_get(r->root, key);
    if (!v)
        return AG_OK;
    if (!json_is_number(v) || !isfinite(json_number_value(v)) || json_number_value(v) <= 0)
        return wrong(r, key, "a number above 0");
    *to = json_number_value(v);
    return AG_OK;
}

static ag_code get_bool(const reader *r, const char *key, bool *to)
{
    const json_t *v = json_object_get(r->root, key);
    if (v && !json_is_boolean(v))
        return wrong(r, key, "true or false");
    *to = json_is_true(v);
    return AG_OK;
}

static ag_code get_labels(const reader *r, xp_card *card)
{
    const json_t *v = json_object_get(r->root, "labels");
    size_t n = json_array_size(v);
    if (!v)
        return AG_OK;
    if (!json_is_array(v) || n < 2 || n > LABELS_MOST)
        return wrong(r, "labels", "a list of 2 or more texts");
    card->labels = ag_alloc_zero(n * sizeof *card->labels);
    AG_REQUIRE(card->labels, r->err, AG_ENOMEM, "%s: out of memory for %zu labels", r->path, n);
    card->n_label = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *label = json_array_get(v, i);
        if (!json_is_string(label))
            return wrong(r, "labels", "a list of 2 or more texts");
        card->labels[i] = ag_strdup(json_string_value(label));
        AG_REQUIRE(card->labels[i], r->err, AG_ENOMEM, "%s: out of memory for %zu labels", r->path, n);
    }
    return AG_OK;
}

static ag_code read_rates(const reader *r, xp_card *card, const char *dir)
{
    char path[PATH];
    nn_weights *w;
    if (card->n_rate == 0)
        return AG_OK;
    AG_TRY(r->err, join(path, dir, RATES, r->err));
    AG_TRY(r->err, nn_weights_open(&w, path, r->err));
    const nn_stored *s = nn_weights_find(w, "rates");
    ag_code code = AG_OK;
    if (!s || s->numel != card->n_rate)
        code = ag_fail(r->err, AG_EDATA, "%s: expected the tensor 'rates' of %lld numbers", path, (long long)card->n_rate);
    else if (!(card->rates = ag_alloc((size_t)card->n_rate * sizeof *card->rates)))
        code = ag_fail(r->err, AG_ENOMEM, "%s: out of memory", path);
    else
        code = nn_stored_read(s, card->rates, r->err);
    nn_weights_close(w);
    return code;
}

static ag_code read_card(const reader *r, xp_card *card, const char *dir)
{
    const json_t *format = json_object_get(r->root, "format"), *base = json_object_get(r->root, "base");
    int head = 0, similarity = 0, pooling = 0, rule = 0, scope = 0;
    if (!json_is_string(format) || strcmp(json_string_value(format), FORMAT) != 0)
        return wrong(r, "format", FORMAT);
    AG_TRY(r->err, get_text(r, r->root, "version", &card->version));
    AG_TRY(r->err, get_text(r, base, "path", &card->base_path));
    AG_TRY(r->err, get_text(r, base, "digest", &card->base_digest));
    AG_TRY(r->err, get_labels(r, card));
    AG_TRY(r->err, get_word(r, "head", 2, heads + 1, &head, &card->has_head));
    AG_TRY(r->err, get_word(r, "similarity", 2, similarities, &similarity, NULL));
    AG_TRY(r->err, get_positive(r, "head_scale", &card->head_scale));
    AG_TRY(r->err, get_word(r, "pooling", 3, poolings, &pooling, &card->has_pooling));
    AG_TRY(r->err, get_whole(r, "max_tokens", 1 << 20, &card->max_tokens, NULL));
    AG_TRY(r->err, get_whole(r, "steps", 1000000, &card->steps, &card->has_steps));
    AG_TRY(r->err, get_positive(r, "lr", &card->lr));
    AG_TRY(r->err, get_word(r, "rule", 2, rules, &rule, NULL));
    AG_TRY(r->err, get_bool(r, "per_shot", &card->per_shot));
    AG_TRY(r->err, get_bool(r, "head_only", &card->head_only));
    AG_TRY(r->err, get_word(r, "rate_scope", 3, scopes, &scope, NULL));
    AG_TRY(r->err, get_whole(r, "n_rate", 1 << 30, &card->n_rate, NULL));
    card->head = card->has_head ? (meta_head)(head + 1) : META_HEAD_MODEL;
    card->similarity = (meta_similarity)similarity;
    card->pooling = (nn_pooling)pooling;
    card->rule = (meta_rule)rule;
    card->rate_scope = (meta_rate_scope)scope;
    return read_rates(r, card, dir);
}

ag_code xp_card_read(xp_card *card, const char *dir, bool *found, ag_error *err)
{
    char path[PATH];
    json_error_t why;
    *card = (xp_card){ 0 };
    AG_TRY(err, join(path, dir, CARD, err));
    *found = access(path, F_OK) == 0;
    if (!*found)
        return AG_OK;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    AG_REQUIRE(root, err, json_error_code(&why) == json_error_out_of_memory ? AG_ENOMEM : AG_EDATA, "%s:%d:%d: %s; expected JSON", path,
               why.line, why.column, why.text);
    reader r = { path, root, err };
    ag_code code = read_card(&r, card, dir);
    json_decref(root);
    if (code != AG_OK)
        xp_card_release(card);
    return ag_trail(err, code, __func__);
}

void xp_card_release(xp_card *card)
{
    for (int i = 0; i < card->n_label; i++)
        ag_free(card->labels[i]);
    ag_free(card->labels);
    ag_free(card->version);
    ag_free(card->base_path);
    ag_free(card->base_digest);
    ag_free(card->rates);
    *card = (xp_card){ 0 };
}

/* ---- writing ---- */

static json_t *labels_of(const xp_card *card)
{
    json_t *list = json_array();
    for (int i = 0; i < card->n_label; i++)
        json_array_append_new(list, json_string(card->labels[i]));
    return list;
}

static json_t *as_json(const xp_card *c)
{
    json_t *base = json_pack("{s:s,s:s}", "path", c->base_path, "digest", c->base_digest);
    json_t *j = json_pack("{s:s,s:s,s:o}", "format", FORMAT, "version", c->version, "base", base);
    if (!j)
        return NULL;
    if (c->n_label)
        json_object_set_new(j, "labels", labels_of(c));
    if (c->has_head) {
        json_object_set_new(j, "head", json_string(heads[c->head]));
        json_object_set_new(j, "similarity", json_string(similarities[c->similarity]));
        json_object_set_new(j, "head_scale", json_real(c->head_scale));
    }
    json_object_set_new(j, "pooling", json_string(poolings[c->pooling]));
    json_object_set_new(j, "max_tokens", json_integer(c->max_tokens));
    if (c->has_steps)
        json_object_set_new(j, "steps", json_integer(c->steps));
    if (c->lr > 0)
        json_object_set_new(j, "lr", json_real(c->lr));
    json_object_set_new(j, "rule", json_string(rules[c->rule]));
    json_object_set_new(j, "per_shot", json_boolean(c->per_shot));
    json_object_set_new(j, "head_only", json_boolean(c->head_only));
    if (c->n_rate) {
        json_object_set_new(j, "rate_scope", json_string(scopes[c->rate_scope]));
        json_object_set_new(j, "n_rate", json_integer(c->n_rate));
    }
    return j;
}

static ag_code write_card(const char *dir, const xp_card *card, ag_error *err)
{
    char path[PATH];
    AG_TRY(err, join(path, dir, CARD, err));
    json_t *j = as_json(card);
    char *text = j ? json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(j);
    AG_REQUIRE(text, err, AG_ENOMEM, "%s: out of memory", path);
    ag_code code = xp_replace_file("adapter's card", path, text, strlen(text), false, err);
    free(text);
    return code;
}

static ag_code write_files(const char *dir, const xp_adapter_files *f, ag_error *err)
{
    char path[PATH];
    const xp_card *card = f->card;
    nn_to_store rates = { .name = "rates", .ndim = 1, .shape = { card->n_rate }, .data = card->rates };
    AG_TRY(err, join(path, dir, RATES, err));
    if (card->n_rate)
        AG_TRY(err, nn_safetensors_write(path, 1, &rates, 0, NULL, err));
    AG_TRY(err, write_card(dir, card, err));
    return meta_peft_save(dir, f->adapter, f->values, f->n_extra, f->extra, err);
}

/* ---- the folder ---- */

/* Whether a folder has nothing but an adapter's files. */
static bool only_files(const char *dir, char other[256])
{
    DIR *d = opendir(dir);
    bool only = d != NULL;
    for (struct dirent *e; only && (e = readdir(d));) {
        only = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        for (int i = 0; i < N_FILE && !only; i++)
            only = strcmp(e->d_name, files[i]) == 0;
        if (!only)
            snprintf(other, 256, "%s", e->d_name);
    }
    if (d)
        closedir(d);
    return only;
}

static void remove_folder(const char *dir)
{
    char path[PATH];
    for (int i = 0; i < N_FILE; i++)
        if (join(path, dir, files[i], NULL) == AG_OK)
            unlink(path);
    rmdir(dir);
}

/* Without slashes at its end. */
static ag_code clean(char path[PATH], const char *dir, ag_error *err)
{
    int n = snprintf(path, PATH, "%s", dir);
    AG_REQUIRE(n > 0 && n < PATH - 64, err, AG_ECONFIG, "the folder '%.100s': expected a path of 1 to %d bytes", dir, PATH - 64);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    return AG_OK;
}

ag_code xp_adapter_place(const char *dir, bool force, ag_error *err)
{
    struct stat st;
    char path[PATH], other[256] = "", *aside;
    AG_TRY(err, clean(path, dir, err));
    if (lstat(path, &st) == 0) {
        AG_REQUIRE(force, err, AG_ECONFIG, "'%s' exists; name another folder with --to, or replace it with --force", path);
        AG_REQUIRE(S_ISDIR(st.st_mode), err, AG_ECONFIG, "'%s' is no folder; --force replaces only an adapter's folder", path);
        AG_REQUIRE(only_files(path, other), err, AG_ECONFIG, "'%s' holds '%s', which is no adapter's; --force replaces only an adapter's folder",
                   path, other);
        return AG_OK;
    }
    AG_TRY(err, xp_aside_create("adapter", path, &aside, err));   /* tells why nothing can be made there */
    unlink(aside);
    ag_free(aside);
    return AG_OK;
}

static ag_code make_aside(const char *path, int from, char **aside, ag_error *err)
{
    for (int attempt = from; attempt < from + 100; attempt++) {
        *aside = xp_aside_name(path, attempt);
        AG_REQUIRE(*aside, err, AG_ENOMEM, "'%s': out of memory", path);
        if (mkdir(*aside, 0777) == 0)
            return AG_OK;
        int why = errno;
        ag_free(*aside);
        *aside = NULL;
        AG_REQUIRE(why == EEXIST, err, AG_EIO, "'%s': cannot make a folder beside it: %s", path, strerror(why));
    }
    return ag_fail(err, AG_EIO, "'%s': cannot make a folder beside it", path);
}

/* The old folder steps aside until the new one is in its place. */
static ag_code exchange(const char *aside, const char *path, ag_error *err)
{
    char *old;
    AG_TRY(err, make_aside(path, 100, &old, err));
    int why = rename(path, old) == 0 || errno == ENOENT ? 0 : errno;
    if (!why && rename(aside, path) != 0) {
        why = errno;
        if (rename(old, path) != 0)
            why = errno;
    }
    if (!why)
        remove_folder(old);
    else
        rmdir(old);                  /* empty: what was there is back in its place */
    ag_free(old);
    AG_REQUIRE(!why, err, AG_EIO, "cannot put the adapter at '%s': %s", path, strerror(why));
    return AG_OK;
}

ag_code xp_adapter_write(const char *dir, bool force, const xp_adapter_files *f, ag_error *err)
{
    char path[PATH], *aside;
    AG_TRY(err, xp_adapter_place(dir, force, err));
    AG_TRY(err, clean(path, dir, err));
    AG_TRY(err, make_aside(path, 0, &aside, err));
    ag_code code = write_files(aside, f, err);
    if (code == AG_OK && force)
        code = exchange(aside, path, err);
    else if (code == AG_OK && rename(aside, path) != 0)
        code = ag_fail(err, errno == ENOTEMPTY || errno == EEXIST ? AG_ECONFIG : AG_EIO, "cannot put the adapter at '%s': %s", path, strerror(errno));
    if (code != AG_OK)
        remove_folder(aside);
    ag_free(aside);
    return ag_trail(err, code, __func__);
}
