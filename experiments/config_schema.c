/* docs/experiment.schema.json, made from the list of knobs (config.h): a JSON Schema for editors, which complete keys and
 * choices and mark what is out of range while one types. Draft 7, the newest the YAML editors read. It holds what one key
 * can tell; rules between keys (config_check.c) are 'metalora check's. */
#include "experiments/config.h"
#include "experiments/config_values.h"
#include "experiments/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char head[] =
    "{\n"
    "  \"$schema\": \"http://json-schema.org/draft-07/schema#\",\n"
    "  \"title\": \"metalora experiment\",\n"
    "  \"description\": \"An experiment of metalora " METALORA_VERSION ". Made by 'metalora schema'; do not edit.\",\n"
    "  \"type\": \"object\",\n"
    "  \"additionalProperties\": false,\n"
    "  \"definitions\": {\n"
    "    \"reference\": {\n"
    "      \"description\": \"${key}, the value of another key, or ${env:NAME}, that of an environment variable\",\n"
    "      \"type\": \"string\",\n"
    "      \"pattern\": \"\\\\$\\\\{[A-Za-z0-9_.:-]+\\\\}\"\n"
    "    }\n"
    "  },\n"
    "  \"if\": { \"not\": { \"required\": [\"defaults\"] } },\n"
    "  \"then\": { \"required\": [\"tasks\"], \"properties\": { \"tasks\": { \"required\": [\"source\"] } } },\n"
    "  \"properties\": {\n"
    "    \"defaults\": {\n"
    "      \"description\": \"Files whose keys are taken first, named from this file's folder; later ones win over earlier "
    "ones, this file over all.\",\n"
    "      \"anyOf\": [ { \"type\": \"string\", \"minLength\": 1 }, { \"type\": \"array\", \"items\": { \"type\": \"string\", "
    "\"minLength\": 1 } } ]\n"
    "    }";

/* ---- one knob ---- */

/* "[1, 100]", "(0, 1e3]" -> "minimum": 1, "exclusiveMaximum": ...; the numbers as they stand in the list */
static void add_range(xp_text *t, const char *range)
{
    size_t low = strcspn(range, ","), high = strlen(range) - 1;
    xp_text_add(t, ", \"%s\": %.*s", range[0] == '(' ? "exclusiveMinimum" : "minimum", (int)low - 1, range + 1);
    xp_text_add(t, ", \"%s\": %.*s", range[high] == ')' ? "exclusiveMaximum" : "maximum", (int)(high - low - 2),
                range + low + 2);
}

static void add_choices(xp_text *t, const char *range)
{
    xp_text_add(t, "\"enum\": [");
    for (const char *c = range; c; c = strstr(c, " | ") ? strstr(c, " | ") + 3 : NULL)
        xp_text_add(t, "%s\"%.*s\"", c == range ? "" : ", ", (int)strcspn(c, " "), c);
    xp_text_add(t, "]");
}

/* What one value of the knob may be. */
static void add_type(xp_text *t, const xp_knob *k)
{
    switch (k->type) {
    case XP_INT:
    case XP_SEED:
        xp_text_add(t, "\"type\": \"integer\"");
        add_range(t, k->range);
        break;
    case XP_REAL:
        xp_text_add(t, "\"type\": \"number\"");
        add_range(t, k->range);
        break;
    case XP_BOOL:
        xp_text_add(t, "\"type\": \"boolean\"");
        break;
    case XP_WORD:   /* names such as 7 and true are no text to YAML */
        xp_text_add(t, "\"type\": [\"string\", \"number\", \"boolean\"], \"minimum\": 0, \"pattern\": \"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$\"");
        break;
    case XP_TEXT:
        xp_text_add(t, "\"type\": [\"string\", \"number\", \"boolean\"], \"maxLength\": %d, \"pattern\": ", XP_TEXT_BYTES);
        xp_text_json_string(t, "^(?:[^\\u0000-\\u001f\\u007f-\\u009f\\ufeff$]|\\$(?!\\{))*$");
        break;
    case XP_CHOICE:
        add_choices(t, k->range);
        break;
    }
}

static void add_value(xp_text *t, const xp_knob *k)
{
    static const char reference[] = "{ \"$ref\": \"#/definitions/reference\" }";
    if (!k->capacity) {
        xp_text_add(t, "{ ");
        add_type(t, k);
        xp_text_add(t, " }, %s", reference);
        return;
    }
    xp_text_add(t, "{ \"type\": \"array\", ");
    if (!k->count_offset)
        xp_text_add(t, "\"minItems\": %d, ", k->capacity);
    xp_text_add(t, "\"maxItems\": %d, \"items\": { ", k->capacity);
    add_type(t, k);
    xp_text_add(t, " } }, %s", reference);
}

/* "step size [steps]. Default: ..." where the list only says how the default is found */
static void add_description(xp_text *t, const xp_knob *k)
{
    char text[600];
    bool derived = xp_knob_derived(k);
    snprintf(text, sizeof text, "%s%s%s%s%s%.*s", k->meaning, *k->unit ? " [" : "", k->unit, *k->unit ? "]" : "",
             derived ? "; without it " : "", derived ? (int)strlen(k->standard) - 2 : 0, k->standard + derived);
    xp_text_json_string(t, text);
}

static void add_knob(xp_text *t, const xp_knob *k, int indent)
{
    size_t n = xp_knob_section(k);
    xp_text_add(t, "%*s\"%s\": {\n%*s\"description\": ", indent, "", n ? k->path + n + 1 : k->path, indent + 2, "");
    add_description(t, k);
    bool quoted = xp_knob_is_string(k) && !k->capacity && k->standard[0] != '"';
    if (k->standard[0] != '(')
        xp_text_add(t, ",\n%*s\"default\": %s%s%s", indent + 2, "", quoted ? "\"" : "", k->standard, quoted ? "\"" : "");
    xp_text_add(t, ",\n%*s\"anyOf\": [ ", indent + 2, "");
    add_value(t, k);
    xp_text_add(t, " ]\n%*s}", indent, "");
}

/* ---- the whole ---- */

static void open_section(xp_text *t, const xp_knob *k)
{
    xp_text_add(t, ",\n    \"%.*s\": {\n      \"description\": ", (int)xp_knob_section(k), k->path);
    xp_text_json_string(t, xp_section_about(k->path));
    xp_text_add(t, ",\n      \"type\": \"object\",\n      \"additionalProperties\": false,\n      \"properties\": {\n");
}

static bool same_section(const xp_knob *a, const xp_knob *b)
{
    return xp_knob_section(a) == xp_knob_section(b) && strncmp(a->path, b->path, xp_knob_section(a)) == 0;
}

ag_code xp_config_schema(char **text, ag_error *err)
{
    xp_text t = { 0 };
    xp_text_add(&t, "%s", head);
    for (int i = 0; i < xp_n_knobs; i++) {
        const xp_knob *k = &xp_knobs[i];
        bool section = xp_knob_section(k) > 0;
        bool first = section && (i == 0 || !same_section(k, k - 1));
        bool last = section && (i + 1 == xp_n_knobs || !same_section(k, k + 1));
        if (first)
            open_section(&t, k);
        else
            xp_text_add(&t, ",\n");
        add_knob(&t, k, section ? 8 : 4);
        if (last)
            xp_text_add(&t, "\n      }\n    }");
    }
    xp_text_add(&t, "\n  }\n}\n");
    return xp_text_take(&t, text, err);
}
