/* Which modules an adapter is put on: PEFT's rules (peft.tuners.tuners_utils.check_target_module_exists, get_pattern_key).
 *   a name       a module is meant whose name is it, or ends in "." and it
 *   expression   the module's whole name matches
 *   layers       the first number of the module's name; a module named in full is taken whatever its layer
 *   patterns     (.*\.)?(pattern)$ from the name's beginning; the first that matches */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "meta/adapter_internal.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MATCH_LIMIT = 1000000, NAME = NN_WEIGHT_NAME, N_NEAR = 3 };

/* ---- expressions ---- */

struct meta_regex {
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_code *code;
    pcre2_match_data *match;
    char *pattern;
};

static void *regex_alloc(PCRE2_SIZE bytes, void *ctx)
{
    (void)ctx;
    return ag_alloc(bytes);
}

static void regex_release(void *p, void *ctx)
{
    (void)ctx;
    ag_free(p);
}

static ag_code compile(meta_regex *r, ag_error *err)
{
    int why;
    PCRE2_SIZE at;
    PCRE2_UCHAR text[128] = "";
    pcre2_compile_context *c = r->memory && r->pattern ? pcre2_compile_context_create(r->memory) : NULL;   /* only for its memory */
    AG_REQUIRE(c, err, AG_ENOMEM, "adapter: no memory for an expression");
    r->code = pcre2_compile((PCRE2_SPTR)r->pattern, PCRE2_ZERO_TERMINATED, PCRE2_ANCHORED | PCRE2_ENDANCHORED, &why, &at, c);
    pcre2_compile_context_free(c);
    if (!r->code) {
        pcre2_get_error_message(why, text, sizeof text);
        return ag_fail(err, why == 121 ? AG_ENOMEM : AG_ECONFIG, "adapter: the expression '%.200s' at character %zu: %s",
                       r->pattern, (size_t)at + 1, text);
    }
    r->match = pcre2_match_data_create_from_pattern(r->code, r->memory);
    r->limits = pcre2_match_context_create(r->memory);
    AG_REQUIRE(r->match && r->limits, err, AG_ENOMEM, "adapter: no memory for an expression");
    pcre2_set_match_limit(r->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(r->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(r->limits, 1 << 14);   /* [KiB] */
    return AG_OK;
}

ag_code meta_regex_new(meta_regex **out, const char *pattern, ag_error *err)
{
    *out = NULL;
    meta_regex *r = ag_alloc_zero(sizeof *r);
    AG_REQUIRE(r, err, AG_ENOMEM, "adapter: no memory for an expression");
    r->pattern = ag_strdup(pattern);
    r->memory = pcre2_general_context_create(regex_alloc, regex_release, NULL);
    ag_code code = compile(r, err);
    if (code == AG_OK)
        *out = r;
    else
        meta_regex_free(r);
    return code;
}

void meta_regex_free(meta_regex *r)
{
    if (!r)
        return;
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->limits);
    pcre2_code_free(r->code);
    pcre2_general_context_free(r->memory);
    ag_free(r->pattern);
    ag_free(r);
}

ag_code meta_regex_match(const meta_regex *r, const char *text, bool *found, ag_error *err)
{
    int n = pcre2_match(r->code, (PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, 0, 0, r->match, r->limits);
    AG_REQUIRE(n != PCRE2_ERROR_NOMEMORY, err, AG_ENOMEM, "adapter: no memory to match '%s'", text);
    AG_REQUIRE(n >= 0 || n == PCRE2_ERROR_NOMATCH, err, AG_ECONFIG,
               "adapter: the expression '%.200s' is too hard to match against '%s'", r->pattern, text);
    *found = n >= 0;
    return AG_OK;
}

ag_code meta_pattern_value(int n, const meta_pattern *patterns, const char *name, double otherwise, double *value, ag_error *err)
{
    *value = otherwise;
    bool found = false;
    for (int i = 0; i < n && !found; i++) {
        meta_regex *r = NULL;
        size_t room = strlen(patterns[i].pattern) + 16;
        char *whole = ag_alloc(room);
        if (whole)
            snprintf(whole, room, "(.*\\.)?(%s)", patterns[i].pattern);
        ag_code code = whole ? meta_regex_new(&r, whole, err) : ag_fail(err, AG_ENOMEM, "adapter: no memory for an expression");
        if (code == AG_OK)
            code = meta_regex_match(r, name, &found, err);
        meta_regex_free(r);
        ag_free(whole);
        AG_TRY(err, code);
        if (found)
            *value = patterns[i].value;
    }
    return AG_OK;
}

/* ---- names ---- */

static bool ends_with(const char *name, const char *target)
{
    size_t n = strlen(name), k = strlen(target);
    return k > 0 && n > k && name[n - k - 1] == '.' && strcmp(name + n - k, target) == 0;
}

static bool is_named(const char *name, const char *target)
{
    return strcmp(name, target) == 0 || ends_with(name, target);
}

bool meta_layer_of(const char *name, int64_t *layer, const char **before, int *length)
{
    const char *last = name;
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
        size_t digits = strspn(dot + 1, "0123456789");
        if (digits > 0 && digits < 10 && dot[1 + digits] == '.') {
            *layer = strtoll(dot + 1, NULL, 10);
            *before = last;
            *length = (int)(dot - last);
            return true;
        }
        last = dot + 1;
    }
    return false;
}

static bool in_layers(const char *name, const meta_adapter_options *o)
{
    int64_t layer;
    const char *before;
    int length;
    if (o->n_layer == 0)
        return true;
    if (!meta_layer_of(name, &layer, &before, &length))
        return false;
    for (int i = 0; i < o->n_layer; i++)
        if (o->layers[i] == layer)
            return true;
    return false;
}

static bool is_excluded(const char *name, const meta_adapter_options *o)
{
    for (int i = 0; i < o->n_exclude; i++)
        if (is_named(name, o->exclude[i]))
            return true;
    return false;
}

static bool is_linear(const nn_module *m)
{
    return m->kind == NN_LINEAR || m->kind == NN_LINEAR_IN_OUT;
}

static bool all_linear(const meta_adapter_options *o)
{
    return o->n_target == 1 && strcmp(o->targets[0], "all-linear") == 0;
}

static bool is_target(const nn_module *m, const meta_adapter_options *o)
{
    if (all_linear(o))
        return is_linear(m) && !is_named(m->name, "lm_head") && in_layers(m->name, o);
    for (int i = 0; i < o->n_target; i++)
        if (strcmp(m->name, o->targets[i]) == 0)
            return true;
    for (int i = 0; i < o->n_target; i++)
        if (ends_with(m->name, o->targets[i]))
            return in_layers(m->name, o);
    return false;
}

/* ---- what was probably meant ---- */

/* Levenshtein's distance; texts beyond NAME count by their beginnings. */
static int distance(const char *a, const char *b)
{
    int row[NAME + 1], n = (int)strnlen(b, NAME);
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 0; a[i] && i < NAME; i++) {
        int corner = row[0];
        row[0] = i + 1;
        for (int j = 0; j < n; j++) {
            int best = corner + (a[i] != b[j]);
            corner = row[j + 1];
            best = best < corner + 1 ? best : corner + 1;
            row[j + 1] = best < row[j] + 1 ? best : row[j] + 1;
        }
    }
    return row[n];
}

/* The end of a name with as many dots as the target has. */
static const char *tail(const char *name, const char *target)
{
    int dots = 0;
    for (const char *c = target; *c; c++)
        dots += *c == '.';
    const char *at = name + strlen(name);
    while (at > name && (at[-1] != '.' || dots-- > 0))
        at--;
    return at;
}

typedef struct nearest {
    const char *name[N_NEAR];
    int distance[N_NEAR], n;
} nearest;

static void offer(nearest *near, const char *name, int d)
{
    int at = near->n;
    for (int i = 0; i < near->n; i++)
        if (strcmp(near->name[i], name) == 0)
            return;
    while (at > 0 && near->distance[at - 1] > d)
        at--;
    if (at == N_NEAR)
        return;
    near->n += near->n < N_NEAR;
    for (int i = near->n - 1; i > at; i--) {
        near->name[i] = near->name[i - 1];
        near->distance[i] = near->distance[i - 1];
    }
    near->name[at] = name;
    near->distance[at] = d;
}

static ag_code no_match(const nn_network *net, const char *target, ag_error *err)
{
    nearest near = { .n = 0 };
    char list[N_NEAR * (NAME + 8)] = "";
    for (int i = 0; i < net->n_module; i++) {
        const char *name = tail(net->module[i].name, target);
        offer(&near, name, distance(target, name));
    }
    for (int i = 0; i < near.n; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s'%s'", i ? ", " : "", near.name[i]);
    return ag_fail(err, AG_ECONFIG, "adapter: the target '%.200s' matches no module; the nearest are %s", target,
                   near.n ? list : "none: the network has no modules");
}

/* ---- choosing ---- */

static ag_code each_target_matches(const nn_network *net, const meta_adapter_options *o, ag_error *err)
{
    for (int i = 0; i < o->n_target && !all_linear(o); i++) {
        bool found = false;
        for (int m = 0; m < net->n_module && !found; m++)
            found = is_named(net->module[m].name, o->targets[i]);
        if (!found)
            return no_match(net, o->targets[i], err);
    }
    return AG_OK;
}

static ag_code choose_by_regex(const nn_network *net, const char *pattern, bool *chosen, ag_error *err)
{
    meta_regex *r;
    AG_TRY(err, meta_regex_new(&r, pattern, err));
    ag_code code = AG_OK;
    for (int i = 0; code == AG_OK && i < net->n_module; i++)
        code = meta_regex_match(r, net->module[i].name, &chosen[i], err);
    meta_regex_free(r);
    return code;
}

static ag_code nothing_left(const nn_network *net, const meta_adapter_options *o, int matched, ag_error *err)
{
    if (matched)
        return ag_fail(err, AG_ECONFIG, "adapter: all %d modules that the targets match are excluded", matched);
    if (o->target_regex)
        return ag_fail(err, AG_ECONFIG, "adapter: the expression '%.200s' matches no whole name of a module; the names are like '%s'",
                       o->target_regex, net->n_module ? net->module[net->n_module / 2].name : "");
    for (int i = 0; i < o->n_target && !all_linear(o); i++)
        for (int m = 0; m < net->n_module; m++)
            if (is_named(net->module[m].name, o->targets[i]))
                return ag_fail(err, AG_ECONFIG, "adapter: no module of the targets is in the layers asked for; '%s' is one that is not", net->module[m].name);
    return no_match(net, o->n_target ? o->targets[0] : "", err);
}

ag_code meta_adapter_choose(const nn_network *net, const meta_adapter_options *o, bool lenient, bool *chosen, int *n, ag_error *err)
{
    int matched = 0;
    *n = 0;
    if (!lenient)
        AG_TRY(err, each_target_matches(net, o, err));
    if (o->target_regex)
        AG_TRY(err, choose_by_regex(net, o->target_regex, chosen, err));
    for (int i = 0; i < net->n_module; i++) {
        const char *name = net->module[i].name;
        chosen[i] = o->target_regex ? chosen[i] && in_layers(name, o) : is_target(&net->module[i], o);
        matched += chosen[i];
        chosen[i] &= !is_excluded(name, o);
        *n += chosen[i];
    }
    return *n > 0 ? AG_OK : nothing_left(net, o, matched, err);
}
