/* docs/config-reference.md, made from the list of knobs (config.h). */
#include "experiments/config.h"
#include "experiments/config_values.h"

#include <stdio.h>
#include <string.h>

enum { REFERENCE_MAX = 32768 };

static const char head[] =
    "# Configuration reference\n"
    "\n"
    "Made from experiments/config_knobs.h; do not edit. A file needs only what differs from the defaults:\n"
    "\n"
    "    tasks:\n"
    "      source: sinusoid\n"
    "    inner:\n"
    "      lr: 0.001\n"
    "\n"
    "On the command line `--set inner.lr=0.001` says the same and wins over the file. In a range, `[` and `]` include the\n"
    "bound, `(` and `)` leave it out; in a list the range is each number's.\n"
    "\n"
    "`defaults: base.yaml`, or a list of files, at the top level takes another file's keys first; files are named from the\n"
    "folder of the file that names them, later ones win over earlier ones and the file itself over all. A value\n"
    "`${outer.lr}` is that of another key, `${env:NAME}` that of an environment variable; in quotes within braces.\n"
    "\n"
    "Editors complete keys and choices and mark mistakes with experiment.schema.json, beside this page. Where the editor has a\n"
    "YAML language server (VS Code's YAML extension, for one), this as the first line of a file tells where it is, seen from\n"
    "the file's folder or as an absolute path:\n"
    "\n"
    "    # yaml-language-server: $schema=../docs/experiment.schema.json\n";

const char *xp_section_about(const char *path)
{
    static const struct { const char *section, *about; } sections[] = {
        { "tasks.", "what is learnt: where episodes come from and how large they are" },
        { "model.", "the network" },
        { "adapter.", "what of it is adapted" },
        { "inner.", "how it adapts to one task" },
        { "outer.", "how the start is meta-learnt over many tasks" },
        { "eval.", "how it is tested, validated and saved" },
    };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (strncmp(path, sections[i].section, strlen(sections[i].section)) == 0)
            return sections[i].about;
    return "the experiment as a whole";
}

static size_t put_heading(char *out, size_t size, const xp_knob *k)
{
    size_t n = xp_knob_section(k);
    return (size_t)snprintf(out, size, "\n## %.*s: %s\n\n| key | values | default | unit | meaning |\n|---|---|---|---|---|\n",
                            n ? (int)n : 9, n ? k->path : "top level", xp_section_about(k->path));
}

/* "`a`, `b`": a bar would end the table's cell. */
static void put_choices(char *out, size_t size, const char *range)
{
    size_t used = 0;
    for (const char *c = range; c; c = strstr(c, " | ") ? strstr(c, " | ") + 3 : NULL)
        used += (size_t)snprintf(out + used, size - used, "%s`%.*s`", used ? ", " : "", (int)strcspn(c, " "), c);
}

static void put_values(char *out, size_t size, const xp_knob *k)
{
    static const char *const types[] = { "whole number in `", "number in `", "", "", "", "whole number in `" };
    if (k->type == XP_CHOICE)
        put_choices(out, size, k->range);
    else if (k->type == XP_BOOL)
        snprintf(out, size, "`true`, `false`");
    else if (k->type == XP_WORD)
        snprintf(out, size, "%s", k->range);
    else if (k->count_offset)
        snprintf(out, size, "list of up to %d: %s%s`", k->capacity, types[k->type], k->range);
    else if (k->capacity)
        snprintf(out, size, "list of %d: %s%s`", k->capacity, types[k->type], k->range);
    else
        snprintf(out, size, "%s%s`", types[k->type], k->range);
}

static size_t put_row(char *out, size_t size, const xp_knob *k)
{
    char values[300];
    put_values(values, sizeof values, k);
    const char *tick = k->standard[0] == '(' ? "" : "`";
    size_t inside = k->standard[0] == '(' ? strlen(k->standard) - 2 : strlen(k->standard);
    return (size_t)snprintf(out, size, "| `%s` | %s | %s%.*s%s | %s | %s |\n", k->path, values, tick, (int)inside,
                            k->standard + (k->standard[0] == '('), tick, k->unit, k->meaning);
}

char *xp_config_reference(void)
{
    char *text = ag_alloc(REFERENCE_MAX);
    if (!text)
        return NULL;
    size_t used = (size_t)snprintf(text, REFERENCE_MAX, "%s", head);
    for (int i = 0; i < xp_n_knobs && used < REFERENCE_MAX; i++) {
        const xp_knob *k = &xp_knobs[i], *before = i ? k - 1 : NULL;
        size_t n = xp_knob_section(k);
        if (!before || n != xp_knob_section(before) || strncmp(k->path, before->path, n) != 0)
            used += put_heading(text + used, REFERENCE_MAX - used, k);
        if (used < REFERENCE_MAX)
            used += put_row(text + used, REFERENCE_MAX - used, k);
    }
    if (used < REFERENCE_MAX)
        return text;
    ag_free(text);
    return NULL;
}
