/* Help pages, made from the tables of options and commands (cli_options.h). */
#include "experiments/cli_commands.h"

#include <string.h>

enum { WIDTH = 80, COMMAND_COLUMN = 26, OPTION_COLUMN = 24 };

/* Words of `text` from the given column on, in lines of less than WIDTH, each indented to `indent`. */
static void add_wrapped(xp_text *t, const char *text, int column, int indent)
{
    bool first = true;
    for (const char *word = text; *word;) {
        int n = (int)strcspn(word, " ");
        if (!first && column + 1 + n >= WIDTH) {
            xp_text_add(t, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        xp_text_add(t, "%s%.*s", first ? "" : " ", n, word);
        column += n + !first;
        first = false;
        word += n;
        word += *word == ' ';
    }
    xp_text_add(t, "\n");
}

void xp_cli_add_entry(xp_text *t, const char *left, int column, const char *right)
{
    int n = (int)strlen(left);
    xp_text_add(t, "  %s", left);
    if (n + 4 > column)
        xp_text_add(t, "\n%*s", column, "");
    else
        xp_text_add(t, "%*s", column - 2 - n, "");
    add_wrapped(t, right, column, column);
}

static void add_option(xp_text *t, const xp_cli_option *o)
{
    char left[64], letter[8] = "";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value ? " " : "", o->value ? o->value : "");
    xp_cli_add_entry(t, left, OPTION_COLUMN, o->meaning);
}

static void add_command(xp_text *t, const xp_cli_command *c)
{
    char left[64];
    snprintf(left, sizeof left, "%s%s%s", c->name, *c->operands ? " " : "", c->operands);
    xp_cli_add_entry(t, left, COMMAND_COLUMN, c->about);
}

static void add_usage(xp_text *t, const xp_cli_command *c)
{
    xp_text_add(t, "usage: metalora %s%s%s%s\n\n", c->name, *c->operands ? " " : "", c->operands,
                *c->options ? " [options]" : "");
}

static const char exit_codes[] =
    "Exit codes: 0 done; 1 the run failed; 2 something to mend, as the message says; 130 or 143 stopped by SIGINT "
    "(Ctrl-C) or SIGTERM after saving what there was. A second signal stops at once.";

ag_code xp_cli_help_all(char **text, ag_error *err)
{
    xp_text t = { 0 };
    xp_text_add(&t, "metalora: meta-learning experiments, from a YAML file to an HDF5 result\n\n"
                    "usage: metalora COMMAND [options]\n\ncommands:\n");
    for (int i = 0; i < xp_cli_n_commands; i++)
        if (!xp_cli_commands[i].hidden)
            add_command(&t, &xp_cli_commands[i]);
    xp_text_add(&t, "\noptions:\n");
    for (int i = 0; i < xp_cli_n_options; i++)
        add_option(&t, &xp_cli_options[i]);
    xp_text_add(&t, "\n'metalora COMMAND --help' tells which of them a command takes. Begin with:\n"
                    "  metalora run configs/quickstart.yaml\n\n");
    add_wrapped(&t, exit_codes, 0, 0);
    return xp_text_take(&t, text, err);
}

ag_code xp_cli_help_group(const char *group, char **text, ag_error *err)
{
    xp_text t = { 0 };
    size_t n = strlen(group);
    xp_text_add(&t, "usage: metalora %s COMMAND [options]\n\ncommands:\n", group);
    for (int i = 0; i < xp_cli_n_commands; i++)
        if (strncmp(xp_cli_commands[i].name, group, n) == 0 && xp_cli_commands[i].name[n] == ' ')
            add_command(&t, &xp_cli_commands[i]);
    return xp_text_take(&t, text, err);
}

ag_code xp_cli_help_command(const xp_cli_command *c, char **text, ag_error *err)
{
    xp_text t = { 0 };
    add_usage(&t, c);
    add_wrapped(&t, c->more, 0, 0);
    xp_text_add(&t, "\noptions:\n");
    for (int i = 0; i < xp_cli_n_options; i++)
        if (xp_cli_takes(c, &xp_cli_options[i]))
            add_option(&t, &xp_cli_options[i]);
    xp_text_add(&t, "\nfor example:\n  %s\n", c->example);
    return xp_text_take(&t, text, err);
}
