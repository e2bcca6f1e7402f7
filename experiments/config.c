/* YAML and overrides -> xp_config (config.h): layers (config_layers.h), then values, then what must hold between them. */
#include "experiments/config.h"
#include "experiments/config_layers.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

enum { ORIGIN_MAX = 300 };

static bool given(const xp_layers *l, const char *path)
{
    return l->slots[xp_knob_find(path)].value != NULL;
}

/* Points at the section a required knob is missing from, else at the file's first line. */
static ag_code missing(const xp_layers *l, const xp_knob *k, ag_error *err)
{
    xp_yaml_mark at = { 1, 1, 1 };
    char expected[300];
    size_t n = xp_knob_section(k);
    for (const xp_yaml_node *key = l->file->root->first; key; key = key->next->next)
        if (n && key->length == n && strncmp(key->text, k->path, n) == 0)
            at = key->at;
    return xp_yaml_fail(l->file, at, err, "%s is missing; expected %s", k->path,
                        xp_knob_expected(k, expected, sizeof expected));
}

static ag_code read_values(xp_config *c, const xp_layers *l, xp_strings **strings, ag_error *err)
{
    for (int i = 0; i < xp_n_knobs; i++) {
        const xp_slot *s = &l->slots[i];
        if (s->value)
            AG_TRY(err, xp_knob_read(&xp_knobs[i], s->layer, s->value, c, strings, err));
        else if (xp_knob_required(&xp_knobs[i]))
            return missing(l, &xp_knobs[i], err);
    }
    return AG_OK;
}

/* "runs/My run.yaml" -> "My-run" */
static ag_code name_from_file(xp_config *c, xp_strings **strings, const char *file, ag_error *err)
{
    enum { LONGEST = 100 };
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    const char *dot = strrchr(base, '.');
    size_t n = dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0) ? (size_t)(dot - base) : strlen(base);
    char name[LONGEST + 1] = "";
    n = n < LONGEST ? n : LONGEST;
    for (size_t i = 0; i < n; i++) {
        bool plain = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-", base[i]) != NULL;
        name[i] = plain ? base[i] : '-';
    }
    if (!n || strchr("._+-", name[0]))
        n = (size_t)snprintf(name, sizeof name, "experiment");
    return xp_strings_keep(strings, name, n, &c->name, err);
}

/* The knobs whose default stands in parentheses in the list, and those that others overrule. */
static ag_code derive(xp_config *c, const xp_layers *l, xp_strings **strings, ag_error *err)
{
    if (!given(l, "outer.chunk"))
        c->outer.chunk = c->outer.meta_batch < 4 ? c->outer.meta_batch : 4;
    if (!given(l, "adapter.rank"))
        c->adapter.rank = strcmp(c->model.kind, "linear") == 0 ? 1 : 8;
    if (strcmp(c->outer.algorithm, "none") == 0)
        c->outer.iterations = 0;
    if (!given(l, "name"))
        return name_from_file(c, strings, l->file->name, err);
    return AG_OK;
}

/* Which of the knobs in a conflict to show: an override before the file, in the conflict's order. */
static const xp_slot *to_blame(const xp_layers *l, const xp_conflict *conflict)
{
    const xp_slot *best = NULL;
    for (int i = 0; i < 3; i++) {
        int knob = conflict->knobs[i] ? xp_knob_find(conflict->knobs[i]) : -1;
        const xp_slot *s = knob >= 0 ? &l->slots[knob] : NULL;
        if (!s || !s->value || s->layer == l->layers[0])
            continue;
        if (!best || (s->layer->one_line && !best->layer->one_line))
            best = s;
    }
    return best;
}

static ag_code check(const xp_config *c, const xp_layers *l, ag_error *err)
{
    xp_conflict conflict = { { NULL }, "" };
    xp_yaml_mark top = { 1, 1, 1 };
    if (!xp_config_conflict(c, &conflict))
        return AG_OK;
    const xp_slot *s = to_blame(l, &conflict);
    return xp_yaml_fail(s ? s->layer : l->file, s ? s->value->at : top, err, "%s", conflict.why);
}

/* Every knob as YAML; with l, where each came from as a comment. */
static ag_code write_text(const xp_config *c, const xp_layers *l, char **out, ag_error *err)
{
    char origin[ORIGIN_MAX];
    const char *before = "";
    xp_text t = { 0 };
    for (int i = 0; i < xp_n_knobs; i++) {
        const xp_knob *k = &xp_knobs[i];
        size_t own = xp_knob_section(k);
        if (own && strncmp(k->path, before, own + 1) != 0)
            xp_text_add(&t, "%.*s:\n", (int)own, k->path);
        before = k->path;
        xp_text_add(&t, "%s%s: ", own ? "  " : "", k->path + own + (own > 0));
        xp_knob_write(k, c, &t);
        if (l)
            xp_layers_origin(l, i, origin, sizeof origin);
        xp_text_add(&t, "%s%s\n", l ? "   # " : "", l ? origin : "");
    }
    return xp_text_take(&t, out, err);
}

static ag_code compose(xp_layers *l, const char *text, size_t length, const char *name, int n_set,
                       const char *const *sets, ag_error *err)
{
    AG_TRY(err, xp_layers_init(l, n_set, err));
    AG_TRY(err, xp_layers_defaults(l, err));
    AG_TRY(err, xp_layers_file(l, text, length, name, err));
    for (int i = 0; i < n_set; i++)
        AG_TRY(err, xp_layers_override(l, sets[i], err));
    return xp_layers_interpolate(l, err);
}

static ag_code settle(xp_config *c, const xp_layers *l, xp_strings **strings, ag_error *err)
{
    AG_TRY(err, read_values(c, l, strings, err));
    AG_TRY(err, derive(c, l, strings, err));
    AG_TRY(err, check(c, l, err));
    AG_TRY(err, write_text(c, NULL, &c->resolved, err));
    return write_text(c, l, &c->annotated, err);
}

static ag_code parse(xp_config *c, const char *text, size_t length, const char *name, int n_set, const char *const *sets,
                     ag_error *err)
{
    xp_layers l;
    xp_strings *strings = NULL;
    ag_code code = compose(&l, text, length, name, n_set, sets, err);
    if (code == AG_OK)
        code = settle(c, &l, &strings, err);
    xp_layers_release(&l);
    c->strings = strings;
    if (code != AG_OK)
        xp_config_release(c);
    return code;
}

ag_code xp_config_parse(xp_config *c, const char *text, size_t length, const char *name, int n_set,
                        const char *const *sets, ag_error *err)
{
    AG_REQUIRE(c, err, AG_EINVAL, "xp_config_parse: the config is NULL");
    memset(c, 0, sizeof *c);
    AG_REQUIRE(text && name && n_set >= 0 && (sets || !n_set), err, AG_EINVAL, "xp_config_parse: text, name or sets is "
               "NULL");
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);   /* a host program may want "0,4" from strtod */
    AG_REQUIRE(plain != (locale_t)0, err, AG_ENOMEM, "%s: out of memory", name);
    locale_t own = uselocale(plain);
    ag_code code = parse(c, text, length, name, n_set, sets, err);
    uselocale(own);
    freelocale(plain);
    return ag_trail(err, code, __func__);
}

ag_code xp_config_load(xp_config *c, const char *path, int n_set, const char *const *sets, ag_error *err)
{
    char *text;
    size_t length;
    ag_error why = { 0 };
    AG_REQUIRE(c && path, err, AG_EINVAL, "xp_config_load: the config or path is NULL");
    memset(c, 0, sizeof *c);
    ag_code code = xp_read_text(path, &text, &length, &why);
    AG_REQUIRE(code == AG_OK, err, code, "%s: %s; expected an experiment's YAML file", path, why.message);
    code = xp_config_parse(c, text, length, path, n_set, sets, err);
    ag_free(text);
    return ag_trail(err, code, __func__);
}

void xp_config_release(xp_config *c)
{
    if (!c)
        return;
    xp_strings_free(c->strings);
    ag_free(c->resolved);
    ag_free(c->annotated);
    memset(c, 0, sizeof *c);
}
