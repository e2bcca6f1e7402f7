/* metalora completion fish (cli_completion.h): one line of 'complete' for each word that can stand somewhere. */
#include "experiments/cli_completion.h"

#include <string.h>

static const char head[] =
    "# fish completion for metalora. Made by 'metalora completion fish'; do not edit.\n"
    "# For this shell alone: metalora completion fish | source\n"
    "\n"
    "# The command so far: its one word or two.\n"
    "function __metalora_command\n"
    "    set -l tokens (commandline -opc)\n"
    "    set -e tokens[1]\n"
    "    set -l found\n"
    "    set -l value no\n"
    "    for token in $tokens\n"
    "        if test $value = yes\n"
    "            set value no\n"
    "            continue\n"
    "        end\n"
    "        switch $token\n"
    "            case ";

static const char middle[] =
    "\n"
    "                set value yes\n"
    "            case '-*'\n"
    "            case '*'\n"
    "                set -a found $token\n"
    "        end\n"
    "    end\n"
    "    if contains -- \"$found[1]\"";

static const char tail[] =
    "\n"
    "        echo \"$found[1..2]\"\n"
    "    else\n"
    "        echo \"$found[1]\"\n"
    "    end\n"
    "end\n"
    "\n"
    "function __metalora_is\n"
    "    set -l command (__metalora_command)\n"
    "    contains -- \"$command\" $argv\n"
    "end\n"
    "\n"
    "complete -c metalora -f\n";

/* 'text' within quotes */
static void add_quoted(xp_text *t, const char *text)
{
    xp_text_add(t, "'");
    for (const char *s = text; *s; s++)
        xp_text_add(t, "%s%c", *s == '\'' || *s == '\\' ? "\\" : "", *s);
    xp_text_add(t, "'");
}

static void add_groups(xp_text *t)
{
    char group[XP_PLACEHOLDER_MAX];
    for (int i = 0; i < xp_cli_n_commands; i++)
        if (xp_cli_first_of_group(&xp_cli_commands[i]) && xp_cli_group(&xp_cli_commands[i], group))
            xp_text_add(t, " %s", group);
}

/* The argument of -a. */
static void add_fill(xp_text *t, const char *placeholder)
{
    switch (xp_cli_fill_of(placeholder)) {
    case XP_FILL_FILE:
        xp_text_add(t, " -k -a '(__fish_complete_suffix .%s)'", xp_cli_ending(placeholder));
        break;
    case XP_FILL_FOLDER:
        xp_text_add(t, " -a '(__fish_complete_directories)'");
        break;
    case XP_FILL_KEY:
        xp_text_add(t, " -a '(__metalora_settings)'");
        break;
    case XP_FILL_WORDS:
        xp_text_add(t, " -a '");
        xp_cli_add_words(t, placeholder);
        xp_text_add(t, "'");
        break;
    case XP_FILL_NOTHING:
        break;
    }
}

/* "key=" or "key=choice", a tab, the meaning: a line each. */
static void add_setting(xp_text *t, const xp_knob *k)
{
    xp_text choices = { 0 };
    bool any = xp_cli_add_choices(&choices, k);
    const char *words = any && choices.data ? choices.data : "";
    size_t left = any ? choices.length : 0;
    do {
        size_t n = left ? strcspn(words, " ") : 0;
        n = n < left ? n : left;
        xp_text_add(t, "        '%s=%.*s'\\t", k->path, (int)n, words);
        add_quoted(t, k->meaning);
        xp_text_add(t, " \\\n");
        words += n + (n < left);
        left -= n + (n < left);
    } while (left);
    t->failed = t->failed || choices.failed;
    xp_text_release(&choices);
}

static void add_settings(xp_text *t)
{
    xp_text_add(t, "\nfunction __metalora_settings\n    printf '%%s\\n' \\\n");
    for (int i = 0; i < xp_n_knobs; i++)
        add_setting(t, &xp_knobs[i]);
    t->length -= t->length > 3 ? 3 : 0;   /* the last line goes on nowhere */
    xp_text_add(t, "\nend\n");
}

static void add_commands(xp_text *t)
{
    char group[XP_PLACEHOLDER_MAX], about[200];
    xp_text_add(t, "\n");
    for (int i = 0; i < xp_cli_n_commands; i++) {
        const xp_cli_command *c = &xp_cli_commands[i];
        bool second = xp_cli_group(c, group);
        if (c->hidden)
            continue;
        if (!second || xp_cli_first_of_group(c)) {
            xp_cli_about_group(c, about, sizeof about);
            xp_text_add(t, "complete -c metalora -n '__metalora_is \"\"' -a %s -d ", group);
            add_quoted(t, second ? about : c->about);
            xp_text_add(t, "\n");
        }
        if (second) {
            xp_text_add(t, "complete -c metalora -n '__metalora_is %s' -a %s -d ", group, strchr(c->name, ' ') + 1);
            add_quoted(t, c->about);
            xp_text_add(t, "\n");
        }
    }
}

/* "__metalora_is run 'data list'" of the commands that take the option; every one takes --help. */
static void add_takers(xp_text *t, const xp_cli_option *o)
{
    if (strcmp(o->name, "help") == 0)
        return;
    xp_text_add(t, " -n \"__metalora_is");
    if (strcmp(o->name, "version") == 0)
        xp_text_add(t, " ''");
    for (int i = 0; i < xp_cli_n_commands; i++)
        if (!xp_cli_commands[i].hidden && xp_cli_takes(&xp_cli_commands[i], o))
            xp_text_add(t, " '%s'", xp_cli_commands[i].name);
    xp_text_add(t, "\"");
}

static void add_options(xp_text *t)
{
    xp_text_add(t, "\n");
    for (int i = 0; i < xp_cli_n_options; i++) {
        const xp_cli_option *o = &xp_cli_options[i];
        xp_text_add(t, "complete -c metalora");
        add_takers(t, o);
        if (o->letter)
            xp_text_add(t, " -s %c", o->letter);
        xp_text_add(t, " -l %s", o->name);
        if (o->value) {
            xp_text_add(t, " -x");
            add_fill(t, o->value);
        }
        xp_text_add(t, " -d ");
        add_quoted(t, o->meaning);
        xp_text_add(t, "\n");
    }
}

static void add_operands(xp_text *t)
{
    char operand[XP_PLACEHOLDER_MAX];
    xp_text_add(t, "\n");
    for (int i = 0; i < xp_cli_n_commands; i++) {
        const xp_cli_command *c = &xp_cli_commands[i];
        for (int j = 0; !c->hidden && xp_cli_operand(c, j, operand); j++) {
            if (xp_cli_fill_of(operand) == XP_FILL_NOTHING)
                continue;
            xp_text_add(t, "complete -c metalora -n \"__metalora_is '%s'\"", c->name);
            add_fill(t, operand);
            xp_text_add(t, "\n");
        }
    }
}

void xp_cli_complete_fish(xp_text *t)
{
    xp_text_add(t, "%s", head);
    xp_cli_add_valued(t, " ");
    xp_text_add(t, "%s", middle);
    add_groups(t);
    xp_text_add(t, "%s", tail);
    add_settings(t);
    add_commands(t);
    add_options(t);
    add_operands(t);
}
