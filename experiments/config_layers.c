/* Files, the files they build on, and overrides, laid over one another knob by knob (config_layers.h). A knob keeps
 * the node that set it, so every later complaint can show the place. */
#include "experiments/config_layers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { TEXT_MAX = 16384, NAME_MAX_LENGTH = 4096, SET_MAX = 400, MESSAGE_KEYS = 700 };

static const xp_yaml_mark top = { 1, 1, 1 };

ag_code xp_layers_init(xp_layers *l, int n_set, ag_error *err)
{
    size_t n = (size_t)xp_n_knobs;
    *l = (xp_layers){ 0 };
    l->slots = ag_alloc_zero(n * sizeof *l->slots);
    l->made = ag_alloc_zero(n * sizeof *l->made);
    l->layers = ag_alloc_zero(((size_t)n_set + XP_MAX_SOURCE_FILES + 1) * sizeof *l->layers);
    AG_REQUIRE(l->slots && l->made && l->layers, err, AG_ENOMEM, "out of memory for a configuration");
    return AG_OK;
}

void xp_layers_release(xp_layers *l)
{
    for (int i = 0; i < l->n_layer; i++)
        xp_yaml_free(l->layers[i]);
    xp_strings_free(l->strings);
    ag_free(l->layers);
    ag_free(l->made);
    ag_free(l->slots);
    *l = (xp_layers){ 0 };
}

/* ---- maps ---------------------------------------------------------------------------------------------- */

static ag_code unknown_key(const xp_yaml *y, xp_yaml_mark at, const char *section, const char *leaf, ag_error *err)
{
    char help[MESSAGE_KEYS], shown[XP_YAML_SHOWN], path[2 * XP_YAML_SHOWN];
    snprintf(path, sizeof path, "%.100s%s%.100s", section, *section ? "." : "", leaf);
    xp_suggest(section, leaf, help, sizeof help);
    xp_yaml_node quote = { .kind = XP_YAML_SCALAR, .quoted = true, .text = path, .length = strlen(path) };
    return xp_yaml_fail(y, at, err, "unknown key %s; %s", xp_yaml_show(&quote, shown), help);
}

static ag_code lay_map(xp_layers *l, const xp_yaml *y, const char *section, const xp_yaml_node *map, ag_error *err);

/* A section's value: a map, or nothing. */
static ag_code lay_section(xp_layers *l, const xp_yaml *y, const char *name, const xp_yaml_node *value, ag_error *err)
{
    char shown[XP_YAML_SHOWN];
    if (value->kind == XP_YAML_SCALAR && !value->length && !value->quoted)
        return AG_OK;
    if (value->kind != XP_YAML_MAP)
        return xp_yaml_fail(y, value->at, err, "%s is %s; expected its keys below it, indented", name,
                            xp_yaml_show(value, shown));
    return lay_map(l, y, name, value, err);
}

/* One key: section is "" or a section's name. */
static ag_code lay_key(xp_layers *l, const xp_yaml *y, const char *section, const char *leaf, xp_yaml_mark at,
                       const xp_yaml_node *value, ag_error *err)
{
    char path[XP_KEY_MAX];
    int length = snprintf(path, sizeof path, "%s%s%s", section, *section ? "." : "", leaf);
    int i = length < XP_KEY_MAX ? xp_knob_find(path) : -1;
    if (i >= 0) {
        l->slots[i] = (xp_slot){ y, value };
        return AG_OK;
    }
    if (!*section && xp_is_section(leaf))
        return lay_section(l, y, leaf, value, err);
    return unknown_key(y, at, section, leaf, err);
}

static ag_code lay_map(xp_layers *l, const xp_yaml *y, const char *section, const xp_yaml_node *map, ag_error *err)
{
    for (const xp_yaml_node *key = map->first; key; key = key->next->next) {
        const char *dot = strchr(key->text, '.');
        if (!*section && !y->one_line && strcmp(key->text, "defaults") == 0)
            continue;
        if (dot && !*section && xp_knob_find(key->text) >= 0)
            return xp_yaml_fail(y, key->at, err, "the key '%s' has a dot; expected '%s:' below '%.*s:'", key->text,
                                dot + 1, (int)(dot - key->text), key->text);
        AG_TRY(err, lay_key(l, y, section, key->text, key->at, key->next, err));
    }
    return AG_OK;
}

/* ---- files --------------------------------------------------------------------------------------------- */

static ag_code read_stream(FILE *f, char **text, size_t *length, ag_error *err)
{
    char *buffer = ag_alloc(XP_YAML_BYTES_MAX + 1);
    AG_REQUIRE(buffer, err, AG_ENOMEM, "out of memory");
    *length = fread(buffer, 1, XP_YAML_BYTES_MAX + 1, f);
    if (ferror(f)) {
        ag_free(buffer);
        return ag_fail(err, AG_EIO, "%s while reading", strerror(errno));
    }
    *text = buffer;
    return AG_OK;
}

ag_code xp_read_text(const char *path, char **text, size_t *length, ag_error *err)
{
    struct stat st;
    *text = NULL;
    *length = 0;
    AG_REQUIRE(stat(path, &st) == 0, err, AG_EIO, "%s", strerror(errno));
    AG_REQUIRE(!S_ISDIR(st.st_mode), err, AG_EIO, "is a folder");
    FILE *f = fopen(path, "rb");
    AG_REQUIRE(f, err, AG_EIO, "%s", strerror(errno));
    ag_code code = read_stream(f, text, length, err);
    fclose(f);
    return code;
}

/* "configs/a.yaml", "base.yaml" -> "configs/base.yaml" */
static bool beside(const char *file, const char *name, char out[NAME_MAX_LENGTH])
{
    const char *slash = strrchr(file, '/');
    int folder = slash && name[0] != '/' ? (int)(slash - file) + 1 : 0;
    return snprintf(out, NAME_MAX_LENGTH, "%.*s%s", folder, file, name) < NAME_MAX_LENGTH;
}

/* One file that y builds on. */
static ag_code lay_base(xp_layers *l, const xp_yaml *y, const xp_yaml_node *name, ag_error *err)
{
    char path[NAME_MAX_LENGTH], shown[XP_YAML_SHOWN], *text;
    size_t length;
    if (name->kind != XP_YAML_SCALAR || !name->length || strlen(name->text) != name->length ||
        !beside(y->name, name->text, path))
        return xp_yaml_fail(y, name->at, err, "defaults is %s; expected a YAML file, or a list of them",
                            xp_yaml_show(name, shown));
    if (l->n_file == XP_MAX_SOURCE_FILES)
        return xp_yaml_fail(y, name->at, err, "%s is one file too many, or builds on itself; expected at most %d files",
                            xp_yaml_show(name, shown), XP_MAX_SOURCE_FILES);
    ag_error why = { 0 };
    ag_code code = xp_read_text(path, &text, &length, &why);
    if (code == AG_EIO)
        return xp_yaml_fail(y, name->at, err, "%s cannot be read: %s; expected a YAML file, named from this file's folder",
                            xp_yaml_show(name, shown), why.message);
    AG_REQUIRE(code == AG_OK, err, code, "%s: %s", path, why.message);
    code = xp_layers_file(l, text, length, path, err);
    ag_free(text);
    return code;
}

static ag_code lay_bases(xp_layers *l, const xp_yaml *y, ag_error *err)
{
    for (const xp_yaml_node *key = y->root->first; key; key = key->next->next) {
        const xp_yaml_node *value = key->next;
        if (strcmp(key->text, "defaults") != 0)
            continue;
        if (value->kind != XP_YAML_LIST)
            return lay_base(l, y, value, err);
        for (const xp_yaml_node *item = value->first; item; item = item->next)
            AG_TRY(err, lay_base(l, y, item, err));
    }
    return AG_OK;
}

ag_code xp_layers_file(xp_layers *l, const char *text, size_t length, const char *name, ag_error *err)
{
    xp_yaml *y;
    char shown[XP_YAML_SHOWN];
    AG_TRY(err, xp_yaml_parse(&y, text, length, name, false, err));
    l->layers[l->n_layer++] = y;
    l->n_file++;
    if (!l->file)
        l->file = y;
    if (!y->root)
        return xp_yaml_fail(y, top, err, "no experiment: the file is empty; expected at least 'tasks:' with its "
                            "'source:'");
    if (y->root->kind != XP_YAML_MAP)
        return xp_yaml_fail(y, y->root->at, err, "the file is %s; expected 'key: value' lines",
                            xp_yaml_show(y->root, shown));
    AG_TRY(err, lay_bases(l, y, err));
    return lay_map(l, y, "", y->root, err);
}

/* ---- defaults and overrides ---------------------------------------------------------------------------- */

/* Goes the way every file goes. */
ag_code xp_layers_defaults(xp_layers *l, ag_error *err)
{
    char text[TEXT_MAX];
    size_t used = 0;
    const char *before = "";
    for (int i = 0; i < xp_n_knobs; i++) {
        const xp_knob *k = &xp_knobs[i];
        size_t own = xp_knob_section(k);
        if (own && strncmp(k->path, before, own + 1) != 0)
            used += (size_t)snprintf(text + used, sizeof text - used, "%.*s:\n", (int)own, k->path);
        if (k->standard[0] != '(')
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s: %s\n", own ? "  " : "",
                                     k->path + own + (own > 0), k->standard);
        AG_REQUIRE(used < sizeof text, err, AG_EINVAL, "the defaults of the knobs need more than %d bytes", TEXT_MAX);
        before = k->path;
    }
    xp_yaml *y;
    AG_TRY(err, xp_yaml_parse(&y, text, used, "defaults", false, err));
    l->layers[l->n_layer++] = y;
    return lay_map(l, y, "", y->root, err);
}

static ag_code lay_path(xp_layers *l, const xp_yaml *y, char *path, ag_error *err)
{
    char *dot = strrchr(path, '.');
    if (dot)
        *dot = '\0';
    return lay_key(l, y, dot ? path : "", dot ? dot + 1 : path, top, y->root, err);
}

ag_code xp_layers_override(xp_layers *l, const char *set, ag_error *err)
{
    AG_REQUIRE(set, err, AG_EINVAL, "an override is NULL; expected KEY=VALUE");
    const char *equals = strchr(set, '=');
    char name[SET_MAX], path[SET_MAX];
    snprintf(name, sizeof name, "--set %s", set);
    AG_REQUIRE(equals && equals > set && equals - set < SET_MAX, err, AG_ECONFIG, "%s: not an override; expected "
               "KEY=VALUE, such as inner.lr=0.4", name);
    snprintf(path, sizeof path, "%.*s", (int)(equals - set), set);
    xp_yaml *y;
    AG_TRY(err, xp_yaml_parse(&y, equals + 1, strlen(equals + 1), name, true, err));
    l->layers[l->n_layer++] = y;
    AG_REQUIRE(y->root, err, AG_ECONFIG, "%s: no value after '='; expected KEY=VALUE, such as inner.lr=0.4", name);
    return lay_path(l, y, path, err);
}

void xp_layers_origin(const xp_layers *l, int knob, char *out, size_t size)
{
    const xp_slot *s = &l->slots[knob];
    if (!s->value || s->layer == l->layers[0])
        snprintf(out, size, "default");
    else if (s->layer->one_line)
        snprintf(out, size, "%s", s->layer->name);
    else
        snprintf(out, size, "%s:%d:%d", s->layer->name, s->value->at.line, s->value->at.column);
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7F)
            *c = '?';
}
