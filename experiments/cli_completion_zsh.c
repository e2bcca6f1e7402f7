/* metalora completion zsh (cli_completion.h): a function for _arguments a command, as zshcompsys(1) has them. */
#include "experiments/cli_completion.h"

#include <string.h>

/* Text within quotes, and within [...] or behind a colon of a specification. */
static void add_quoted(xp_text *t, const char *text)
{
    for (const char *s = text; *s; s++) {
        if (*s == '\'')
            xp_text_add(t, "'\\''");
        else if (strchr("[]:\\", *s))
            xp_text_add(t, "\\%c", *s);
        else
            xp_text_bytes(t, s, 1);
    }
}

/* ":FILE.h5:_files ..." behind an option or a position. */
static void add_action(xp_text *t, const char *placeholder)
{
    xp_text_add(t, ":%s:", placeholder);
    switch (xp_cli_fill_of(placeholder)) {
    case XP_FILL_FILE:
        xp_text_add(t, "_files -g \"*.%s\"", strcmp(xp_cli_ending(placeholder), "yaml") == 0 ? "(yaml|yml)"
                                             : xp_cli_ending(placeholder));
        break;
    case XP_FILL_FOLDER:
        xp_text_add(t, "_files -/");
        break;
    case XP_FILL_KEY:
        xp_text_add(t, "_metalora_set");
        break;
    case XP_FILL_WORDS:
        xp_text_add(t, "(");
        xp_cli_add_words(t, placeholder);
        xp_text_add(t, ")");
        break;
    case XP_FILL_NOTHING:
        xp_text_add(t, " ");
        break;
    }
}

static void add_spelling(xp_text *t, const xp_cli_option *o, const char *spelling)
{
    xp_text_add(t, " \\\n    '");
    if (o->kind == XP_CLI_LIST)
        xp_text_add(t, "*");
    else if (o->letter)
        xp_text_add(t, "(-%c --%s)", o->letter, o->name);
    xp_text_add(t, "%s[", spelling);
    add_quoted(t, o->meaning);
    xp_text_add(t, "]");
    if (o->value)
        add_action(t, o->value);
    xp_text_add(t, "'");
}

static void add_option(xp_text *t, const xp_cli_option *o)
{
    char spelling[64];
    snprintf(spelling, sizeof spelling, "-%c", o->letter);
    if (o->letter)
        add_spelling(t, o, spelling);
    snprintf(spelling, sizeof spelling, "--%s%s", o->name, o->value ? "=" : "");
    add_spelling(t, o, spelling);
}

/* ---- keys ---- */

static void add_keys(xp_text *t)
{
    xp_text_add(t, "_metalora_set() {\n  local -a keys\n  if compset -P '*='; then\n    case ${${IPREFIX%%=}##*=} in\n");
    for (int i = 0; i < xp_n_knobs; i++) {
        xp_text choices = { 0 };
        if (xp_cli_add_choices(&choices, &xp_knobs[i]))
            xp_text_add(t, "      %s) compadd -- %.*s ;;\n", xp_knobs[i].path, (int)choices.length,
                        choices.data ? choices.data : "");
        t->failed = t->failed || choices.failed;
        xp_text_release(&choices);
    }
    xp_text_add(t, "    esac\n    return\n  fi\n  keys=(\n");
    for (int i = 0; i < xp_n_knobs; i++) {
        xp_text_add(t, "    '%s:", xp_knobs[i].path);
        add_quoted(t, xp_knobs[i].meaning);
        xp_text_add(t, "'\n");
    }
    xp_text_add(t, "  )\n  _describe -t keys key keys -S =\n}\n\n");
}

/* ---- commands ---- */

static void add_list(xp_text *t, const char *name, const char *about)
{
    xp_text_add(t, "    '%s:", name);
    add_quoted(t, about);
    xp_text_add(t, "'\n");
}

static void add_command(xp_text *t, const xp_cli_command *c, const char *word)
{
    char operand[XP_PLACEHOLDER_MAX];
    xp_text_add(t, "  %s) _arguments -s", word);
    for (int i = 0; i < xp_cli_n_options; i++)
        if (xp_cli_takes(c, &xp_cli_options[i]))
            add_option(t, &xp_cli_options[i]);
    for (int i = 0; xp_cli_operand(c, i, operand); i++) {
        xp_text_add(t, " \\\n    '%d", i + 1);
        add_action(t, operand);
        xp_text_add(t, "'");
    }
    xp_text_add(t, " ;;\n");
}

/* Both the program's function and a group's: a first word, then what the word's own command takes. */
static void add_function_head(xp_text *t, const char *name)
{
    xp_text_add(t, "_metalora%s%s() {\n  local context state state_descr line curcontext=$curcontext\n"
                   "  local -a commands\n  typeset -A opt_args\n  commands=(\n", *name ? "_" : "", name);
}

static void add_function_middle(xp_text *t, bool program)
{
    xp_text_add(t, "  )\n  _arguments -C -s");
    for (int i = 0; i < xp_cli_n_options; i++)
        if (strcmp(xp_cli_options[i].name, "help") == 0 || (program && strcmp(xp_cli_options[i].name, "version") == 0))
            add_option(t, &xp_cli_options[i]);
    xp_text_add(t, " \\\n    '1:command:->command' '*::argument:->argument' && return\n"
                   "  if [[ $state == command ]]; then\n    _describe -t commands command commands\n    return\n  fi\n"
                   "  curcontext=${curcontext%%:*:*}:metalora-$words[1]:\n  case $words[1] in\n");
}

static void add_group(xp_text *t, const char *group)
{
    char other[XP_PLACEHOLDER_MAX];
    add_function_head(t, group);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < xp_cli_n_commands; i++) {
            const xp_cli_command *c = &xp_cli_commands[i];
            if (c->hidden || !xp_cli_group(c, other) || strcmp(group, other) != 0)
                continue;
            if (pass == 0)
                add_list(t, strchr(c->name, ' ') + 1, c->about);
            else
                add_command(t, c, strchr(c->name, ' ') + 1);
        }
        if (pass == 0)
            add_function_middle(t, false);
    }
    xp_text_add(t, "  esac\n}\n\n");
}

static void add_program(xp_text *t)
{
    char group[XP_PLACEHOLDER_MAX], about[200];
    add_function_head(t, "");
    for (int i = 0; i < xp_cli_n_commands; i++) {
        const xp_cli_command *c = &xp_cli_commands[i];
        if (xp_cli_first_of_group(c) && xp_cli_group(c, group)) {
            xp_cli_about_group(c, about, sizeof about);
            add_list(t, group, about);
        } else if (!c->hidden && !xp_cli_group(c, group))
            add_list(t, c->name, c->about);
    }
    add_function_middle(t, true);
    for (int i = 0; i < xp_cli_n_commands; i++) {
        const xp_cli_command *c = &xp_cli_commands[i];
        if (xp_cli_first_of_group(c) && xp_cli_group(c, group))
            xp_text_add(t, "  %s) _metalora_%s ;;\n", group, group);
        else if (!c->hidden && !xp_cli_group(c, group))
            add_command(t, c, c->name);
    }
    xp_text_add(t, "  esac\n}\n\n");
}

void xp_cli_complete_zsh(xp_text *t)
{
    char group[XP_PLACEHOLDER_MAX];
    xp_text_add(t, "#compdef metalora\n# zsh completion for metalora. Made by 'metalora completion zsh'; do not edit.\n"
                   "# For this shell alone: source <(metalora completion zsh)\n\n");
    add_keys(t);
    for (int i = 0; i < xp_cli_n_commands; i++)
        if (xp_cli_first_of_group(&xp_cli_commands[i]) && xp_cli_group(&xp_cli_commands[i], group))
            add_group(t, group);
    add_program(t);
    xp_text_add(t, "if [[ $funcstack[1] == _metalora ]]; then\n  _metalora \"$@\"\nelse\n  compdef _metalora metalora\nfi\n");
}
