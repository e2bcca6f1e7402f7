/* docs/config-reference.md, made from the list of knobs (config.h). */
#include "experiments/config.h"
#include "experiments/config_values.h"

#include <string.h>

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

static void put_heading(xp_text *t, const xp_knob *k)
{
    size_t n = xp_knob_section(k);
    xp_text_add(t, "\n## %.*s: %s\n\n| key | values | default | unit | meaning |\n|---|---|---|---|---|\n",
                n ? (int)n : 9, n ? k->path : "top level", xp_section_about(k->path));
}

/* "`a`, `b`": a bar would end the table's cell. */
static void put_choices(xp_text *t, const char *range)
{
    for (const char *c = range; c; c = strstr(c, " | ") ? strstr(c, " | ") + 3 : NULL)
        xp_text_add(t, "%s`%.*s`", c == range ? "" : ", ", (int)strcspn(c, " "), c);
}

static void put_values(xp_text *t, const xp_knob *k)
{
    const char *type = k->type == XP_REAL ? "number in " : "whole number in ";
    if (k->count_offset)
        xp_text_add(t, "list of up to %d: ", k->capacity);
    else if (k->capacity)
        xp_text_add(t, "list of %d: ", k->capacity);
    if (k->type == XP_CHOICE)
        put_choices(t, k->range);
    else if (k->type == XP_BOOL)
        xp_text_add(t, "`true`, `false`");
    else if (xp_knob_is_string(k))
        xp_text_add(t, "%s", k->range);
    else
        xp_text_add(t, "%s`%s`", type, k->range);
}

static void put_row(xp_text *t, const xp_knob *k)
{
    const char *tick = k->standard[0] == '(' ? "" : "`";
    size_t inside = k->standard[0] == '(' ? strlen(k->standard) - 2 : strlen(k->standard);
    xp_text_add(t, "| `%s` | ", k->path);
    put_values(t, k);
    xp_text_add(t, " | %s%.*s%s | %s | %s |\n", tick, (int)inside, k->standard + (k->standard[0] == '('), tick, k->unit,
                k->meaning);
}

char *xp_config_reference(void)
{
    xp_text t = { 0 };
    char *text;
    xp_text_add(&t, "%s", head);
    for (int i = 0; i < xp_n_knobs; i++) {
        const xp_knob *k = &xp_knobs[i], *before = i ? k - 1 : NULL;
        size_t n = xp_knob_section(k);
        if (!before || n != xp_knob_section(before) || strncmp(k->path, before->path, n) != 0)
            put_heading(&t, k);
        put_row(&t, k);
    }
    return xp_text_take(&t, &text, NULL) == AG_OK ? text : NULL;
}
