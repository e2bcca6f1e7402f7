/* ${key} and ${env:NAME} in values (config_layers.h). A value that is one reference takes over the other value whole,
 * lists too; a reference amid text is put in as text. */
#include "experiments/config_layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1024, DEPTH_MAX = 8, MESSAGE_KEYS = 700 };

static ag_code fill(xp_layers *l, int knob, ag_error *err);

/* The value of another knob, filled in itself. */
static ag_code of_knob(xp_layers *l, const xp_slot *s, const char *name, const xp_yaml_node **out, ag_error *err)
{
    char help[MESSAGE_KEYS], section[XP_KEY_MAX] = "";
    const char *dot = strchr(name, '.');
    int knob = xp_knob_find(name);
    if (knob < 0) {
        if (dot)
            snprintf(section, sizeof section, "%.*s", (int)(dot - name), name);
        xp_suggest(section, dot ? dot + 1 : name, help, sizeof help);
        return xp_yaml_fail(s->layer, s->value->at, err, "unknown key '%s' in ${...}; %s", name, help);
    }
    if (!l->slots[knob].value)
        return xp_yaml_fail(s->layer, s->value->at, err, "%s, which ${...} refers to, has no value; expected it to be "
                            "given", name);
    if (l->depth == DEPTH_MAX)
        return xp_yaml_fail(s->layer, s->value->at, err, "${%s} leads back to itself, or more than %d steps on; expected "
                            "a value at the end", name, DEPTH_MAX);
    l->depth++;
    AG_TRY(err, fill(l, knob, err));
    l->depth--;
    *out = l->slots[knob].value;
    return AG_OK;
}

static ag_code of_environment(const xp_slot *s, const char *name, xp_yaml_node *out, ag_error *err)
{
    const char *text = getenv(name);
    if (!text)
        return xp_yaml_fail(s->layer, s->value->at, err, "the environment variable '%s' is not set; expected a value for "
                            "${env:%s}", name, name);
    *out = (xp_yaml_node){ .kind = XP_YAML_SCALAR, .text = text, .length = strlen(text) };
    return AG_OK;
}

/* The reference at "${": *out is its value, *end the text after '}'. */
static ag_code refer(xp_layers *l, const xp_slot *s, const char *at, const char **end, xp_yaml_node *out, ag_error *err)
{
    char name[XP_KEY_MAX];
    const char *close = strchr(at, '}');
    const xp_yaml_node *value;
    if (!close || close - at - 2 >= XP_KEY_MAX)
        return xp_yaml_fail(s->layer, s->value->at, err, "'${' without its '}'; expected ${key} or ${env:NAME}");
    snprintf(name, sizeof name, "%.*s", (int)(close - at - 2), at + 2);
    if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-") != strlen(name))
        return xp_yaml_fail(s->layer, s->value->at, err, "a name in ${...} with odd characters; expected ${key} or "
                            "${env:NAME}");
    *end = close + 1;
    if (strncmp(name, "env:", 4) == 0)
        return of_environment(s, name + 4, out, err);
    AG_TRY(err, of_knob(l, s, name, &value, err));
    *out = *value;
    return AG_OK;
}

/* Text with references amid it. */
static ag_code splice(xp_layers *l, const xp_slot *s, xp_yaml_node *out, ag_error *err)
{
    char text[TEXT_MAX];
    size_t used = 0;
    for (const char *c = s->value->text; *c && used + 1 < sizeof text;) {
        xp_yaml_node part;
        if (strncmp(c, "${", 2) != 0) {
            text[used++] = *c++;
            continue;
        }
        AG_TRY(err, refer(l, s, c, &c, &part, err));
        if (part.kind != XP_YAML_SCALAR)
            return xp_yaml_fail(s->layer, s->value->at, err, "a list put into text by ${...}; expected a single value");
        used += (size_t)snprintf(text + used, sizeof text - used, "%s", part.text);
    }
    if (used + 1 >= sizeof text)
        return xp_yaml_fail(s->layer, s->value->at, err, "a value of more than %d bytes; expected less", TEXT_MAX - 2);
    text[used] = '\0';
    out->kind = XP_YAML_SCALAR;
    out->length = used;
    return xp_strings_keep(&l->strings, text, used, &out->text, err);
}

static ag_code fill(xp_layers *l, int knob, ag_error *err)
{
    xp_slot *s = &l->slots[knob];
    const xp_yaml_node *value = s->value;
    const char *end;
    if (!value || value == &l->made[knob] || value->kind != XP_YAML_SCALAR || !strstr(value->text, "${"))
        return AG_OK;
    xp_yaml_node made = { 0 };
    const char *close = strchr(value->text, '}');
    if (strncmp(value->text, "${", 2) == 0 && close && !close[1])
        AG_TRY(err, refer(l, s, value->text, &end, &made, err));
    else
        AG_TRY(err, splice(l, s, &made, err));
    made.at = value->at;
    made.next = NULL;
    l->made[knob] = made;
    s->value = &l->made[knob];
    return AG_OK;
}

ag_code xp_layers_interpolate(xp_layers *l, ag_error *err)
{
    for (int i = 0; i < xp_n_knobs; i++)
        AG_TRY(err, fill(l, i, err));
    return AG_OK;
}
