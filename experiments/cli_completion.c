/* metalora completion: what can stand where, from the tables (cli_completion.h). */
#include "experiments/cli_completion.h"

#include <string.h>

static const struct {
    const char *name;
    void (*write)(xp_text *t);
} shells[] = {
    { "bash", xp_cli_complete_bash }, { "zsh", xp_cli_complete_zsh }, { "fish", xp_cli_complete_fish },
};
enum { N_SHELL = sizeof shells / sizeof *shells };

/* ---- placeholders ---- */

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static void add_word(xp_text *t, const char *word, size_t n)
{
    xp_text_add(t, "%s", t->length ? " " : "");
    xp_text_bytes(t, word, n);
}

static void shell_words(xp_text *t)
{
    for (int i = 0; i < N_SHELL; i++)
        add_word(t, shells[i].name, strlen(shells[i].name));
}

static void source_words(xp_text *t)
{
    for (int i = 0; xp_cli_published(i); i++)
        add_word(t, xp_cli_published(i), strlen(xp_cli_published(i)));
}

static void command_words(xp_text *t)
{
    for (int i = 0; i < xp_cli_n_commands; i++) {
        char group[XP_PLACEHOLDER_MAX];
        const xp_cli_command *c = &xp_cli_commands[i];
        if (!c->hidden && (!xp_cli_group(c, group) || xp_cli_first_of_group(c)))
            add_word(t, c->name, strcspn(c->name, " "));
    }
}

static void second_words(xp_text *t)
{
    for (int i = 0; i < xp_cli_n_commands; i++) {
        const char *space = strchr(xp_cli_commands[i].name, ' ');
        if (!xp_cli_commands[i].hidden && space)
            add_word(t, space + 1, strlen(space + 1));
    }
}

static void head_words(xp_text *t)
{
    add_word(t, "prototype", strlen("prototype"));
    add_word(t, "centroid", strlen("centroid"));
}

static const struct {
    const char *placeholder;
    void (*words)(xp_text *t);
} lists[] = {
    { "SHELL", shell_words }, { "SOURCE", source_words }, { "COMMAND", command_words }, { "SUB", second_words },
    { "HEAD", head_words },
};
enum { N_LIST = sizeof lists / sizeof *lists };

xp_cli_fill xp_cli_fill_of(const char *placeholder)
{
    for (int i = 0; i < N_LIST; i++)
        if (is(lists[i].placeholder, placeholder))
            return XP_FILL_WORDS;
    if (is(placeholder, "DIR"))
        return XP_FILL_FOLDER;
    if (is(placeholder, "KEY=VALUE"))
        return XP_FILL_KEY;
    return strchr(placeholder, '.') ? XP_FILL_FILE : XP_FILL_NOTHING;
}

const char *xp_cli_ending(const char *placeholder)
{
    return strchr(placeholder, '.') + 1;
}

/* In a text of its own, so that a list begins without a space. */
void xp_cli_add_words(xp_text *t, const char *placeholder)
{
    xp_text words = { 0 };
    for (int i = 0; i < N_LIST; i++)
        if (is(lists[i].placeholder, placeholder))
            lists[i].words(&words);
    xp_text_bytes(t, words.data ? words.data : "", words.length);
    t->failed = t->failed || words.failed;
    xp_text_release(&words);
}

/* ---- commands, options, knobs ---- */

bool xp_cli_operand(const xp_cli_command *c, int i, char out[XP_PLACEHOLDER_MAX])
{
    const char *word = c->operands;
    for (; i > 0 && *word; i--) {
        word += strcspn(word, " ");
        word += *word == ' ';
    }
    word += strspn(word, "[");
    snprintf(out, XP_PLACEHOLDER_MAX, "%.*s", (int)strcspn(word, " ]"), word);
    return *out != '\0';
}

bool xp_cli_group(const xp_cli_command *c, char out[XP_PLACEHOLDER_MAX])
{
    snprintf(out, XP_PLACEHOLDER_MAX, "%.*s", (int)strcspn(c->name, " "), c->name);
    return strchr(c->name, ' ') != NULL;
}

bool xp_cli_first_of_group(const xp_cli_command *c)
{
    char group[XP_PLACEHOLDER_MAX], other[XP_PLACEHOLDER_MAX];
    if (c->hidden || !xp_cli_group(c, group))
        return false;
    for (const xp_cli_command *before = xp_cli_commands; before < c; before++)
        if (!before->hidden && xp_cli_group(before, other) && is(group, other))
            return false;
    return true;
}

void xp_cli_about_group(const xp_cli_command *first, char *out, size_t size)
{
    char group[XP_PLACEHOLDER_MAX], other[XP_PLACEHOLDER_MAX];
    const char *between = " ";
    xp_cli_group(first, group);
    size_t used = (size_t)snprintf(out, size, "%s", group);
    for (const xp_cli_command *c = first; c < xp_cli_commands + xp_cli_n_commands && used < size; c++) {
        if (c->hidden || !xp_cli_group(c, other) || !is(group, other))
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s", between, strchr(c->name, ' ') + 1);
        between = ", ";
    }
}

void xp_cli_add_valued(xp_text *t, const char *between)
{
    bool first = true;
    for (int i = 0; i < xp_cli_n_options; i++) {
        const xp_cli_option *o = &xp_cli_options[i];
        if (!o->value)
            continue;
        xp_text_add(t, "%s--%s", first ? "" : between, o->name);
        if (o->letter)
            xp_text_add(t, "%s-%c", between, o->letter);
        first = false;
    }
}

bool xp_cli_add_choices(xp_text *t, const xp_knob *k)
{
    if (k->type == XP_BOOL)
        xp_text_add(t, "true false");
    if (k->type != XP_CHOICE)
        return k->type == XP_BOOL;
    for (const char *c = k->range; *c; c += strcspn(c, " "), c += strspn(c, " |"))
        xp_text_add(t, "%s%.*s", c == k->range ? "" : " ", (int)strcspn(c, " "), c);
    return true;
}

/* ---- the command ---- */

ag_code xp_cli_completion(const xp_cli_call *c, ag_error *err)
{
    const char *wanted = c->args->operands.at[0];
    xp_text t = { 0 };
    char *text;
    for (int i = 0; i < N_SHELL; i++)
        if (is(shells[i].name, wanted))
            shells[i].write(&t);
    AG_REQUIRE(t.length || t.failed, err, AG_ECONFIG, "completion: there is none for '%s'; expected bash, zsh or fish", wanted);
    AG_TRY(err, xp_text_take(&t, &text, err));
    ag_code code = xp_cli_print(c, text, err);
    ag_free(text);
    return code;
}
