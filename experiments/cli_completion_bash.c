/* metalora completion bash (cli_completion.h). Needs nothing but bash itself, 3.2 or later: the parts that are always the
 * same stand here as text, between them what the tables say. */
#include "experiments/cli_completion.h"

#include <string.h>

static const char head[] =
    "# bash completion for metalora. Made by 'metalora completion bash'; do not edit.\n"
    "# For this shell alone: source <(metalora completion bash)\n"
    "# shellcheck shell=bash\n"
    "\n";

static const char helpers[] =
    "\n"
    "# _metalora_offer PREFIX COMPGEN-ARGUMENTS...: adds what compgen finds, each behind PREFIX.\n"
    "_metalora_offer() {\n"
    "    local prefix=$1 word\n"
    "    shift\n"
    "    while IFS= read -r word; do\n"
    "        COMPREPLY+=(\"$prefix$word\")\n"
    "    done < <(compgen \"$@\" 2>/dev/null)\n"
    "}\n"
    "\n"
    "# _metalora_files PREFIX VALUE ENDING...: files of these endings, and folders on the way to them.\n"
    "_metalora_files() {\n"
    "    local prefix=$1 value=$2 ending\n"
    "    shift 2\n"
    "    compopt -o filenames 2>/dev/null\n"
    "    for ending; do\n"
    "        _metalora_offer \"$prefix\" -f -X \"!*.$ending\" -- \"$value\"\n"
    "    done\n"
    "    _metalora_offer \"$prefix\" -d -- \"$value\"\n"
    "}\n"
    "\n"
    "# _metalora_set PREFIX VALUE: keys, and behind '=' the choices of the key.\n"
    "_metalora_set() {\n"
    "    local word\n"
    "    if [[ $2 == *=* ]]; then\n"
    "        _metalora_offer \"$1${2%%=*}=\" -W \"$(_metalora_choices \"${2%%=*}\")\" -- \"${2#*=}\"\n"
    "        return\n"
    "    fi\n"
    "    compopt -o nospace 2>/dev/null\n"
    "    for word in $_metalora_keys; do\n"
    "        if [[ $word == \"$2\"* ]]; then COMPREPLY+=(\"$1$word=\"); fi\n"
    "    done\n"
    "}\n"
    "\n";

static const char body[] =
    "\n"
    "_metalora() {\n"
    "    local i word current prefix='' option='' command='' position=0 words=()\n"
    "    COMPREPLY=()\n"
    "    # To readline '=' is a word of its own: KEY = VALUE is put together again.\n"
    "    for ((i = 1; i <= COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if ((${#words[@]})) && [[ $word == = || ${COMP_WORDS[i - 1]} == = ]]; then\n"
    "            words[${#words[@]} - 1]+=$word\n"
    "        else\n"
    "            words[${#words[@]}]=$word\n"
    "        fi\n"
    "    done\n"
    "    for ((i = 0; i < ${#words[@]} - 1; i++)); do\n"
    "        word=${words[i]}\n"
    "        if [[ $option ]]; then\n"
    "            option=\n"
    "        elif _metalora_valued \"$word\"; then\n"
    "            option=$word\n"
    "        elif [[ $word == -* ]]; then\n"
    "            :\n"
    "        elif [[ ! $command ]]; then\n"
    "            command=$word\n"
    "        elif _metalora_is_group \"$command\"; then\n"
    "            command=\"$command $word\"\n"
    "        else\n"
    "            ((++position))\n"
    "        fi\n"
    "    done\n"
    "    current=${words[${#words[@]} - 1]}\n"
    "    word=$current\n"
    "    if [[ ! $option && $word == --*=* ]]; then   # --out=FILE.h5\n"
    "        option=${word%%=*}\n"
    "        word=${word#*=}\n"
    "        prefix=$option=\n"
    "    fi\n"
    "    if [[ $option ]]; then\n"
    "        _metalora_value \"$option\" \"$prefix\" \"$word\"\n"
    "    elif [[ $word == -* ]]; then\n"
    "        _metalora_offer '' -W \"$(_metalora_options \"$command\")\" -- \"$word\"\n"
    "    else\n"
    "        _metalora_operand \"$command:$position\" \"$word\"\n"
    "    fi\n"
    "    # Only what stands behind the last '=' is readline's word.\n"
    "    if [[ $COMP_WORDBREAKS == *=* && $current == *=* ]]; then\n"
    "        prefix=${current%\"${current##*=}\"}\n"
    "        for ((i = 0; i < ${#COMPREPLY[@]}; i++)); do\n"
    "            COMPREPLY[i]=${COMPREPLY[i]#\"$prefix\"}\n"
    "        done\n"
    "    fi\n"
    "}\n"
    "\n"
    "complete -F _metalora metalora\n";

/* What completes a placeholder; prefix and word are the shell's. */
static void add_fill(xp_text *t, const char *placeholder, const char *prefix, const char *word)
{
    switch (xp_cli_fill_of(placeholder)) {
    case XP_FILL_FILE:
        xp_text_add(t, "_metalora_files %s %s %s%s", prefix, word, xp_cli_ending(placeholder),
                    strcmp(xp_cli_ending(placeholder), "yaml") == 0 ? " yml" : "");
        break;
    case XP_FILL_FOLDER:
        xp_text_add(t, "_metalora_files %s %s", prefix, word);
        break;
    case XP_FILL_KEY:
        xp_text_add(t, "_metalora_set %s %s", prefix, word);
        break;
    case XP_FILL_WORDS:
        xp_text_add(t, "_metalora_offer %s -W '", prefix);
        xp_cli_add_words(t, placeholder);
        xp_text_add(t, "' -- %s", word);
        break;
    case XP_FILL_NOTHING:
        xp_text_add(t, ":");
        break;
    }
}

static void add_keys(xp_text *t)
{
    xp_text_add(t, "_metalora_keys='");
    for (int i = 0; i < xp_n_knobs; i++)
        xp_text_add(t, "%s%s", i ? " " : "", xp_knobs[i].path);
    xp_text_add(t, "'\n\n# _metalora_choices KEY: prints the values it can have, where they are few.\n"
                   "_metalora_choices() {\n    case $1 in\n");
    for (int i = 0; i < xp_n_knobs; i++) {
        xp_text choices = { 0 };
        if (xp_cli_add_choices(&choices, &xp_knobs[i]))
            xp_text_add(t, "    %s) echo '%.*s' ;;\n", xp_knobs[i].path, (int)choices.length, choices.data ? choices.data : "");
        t->failed = t->failed || choices.failed;
        xp_text_release(&choices);
    }
    xp_text_add(t, "    esac\n}\n");
}

static void add_valued(xp_text *t)
{
    xp_text_add(t, "# Whether the option's value is the next word.\n_metalora_valued() {\n    case $1 in\n    ");
    xp_cli_add_valued(t, " | ");
    xp_text_add(t, ") return 0 ;;\n    esac\n    return 1\n}\n\n");
}

static void add_groups(xp_text *t)
{
    char group[XP_PLACEHOLDER_MAX];
    xp_text_add(t, "# Whether commands of two words begin with this one.\n_metalora_is_group() {\n    case $1 in\n");
    for (int i = 0; i < xp_cli_n_commands; i++)
        if (xp_cli_first_of_group(&xp_cli_commands[i]) && xp_cli_group(&xp_cli_commands[i], group))
            xp_text_add(t, "    %s) return 0 ;;\n", group);
    xp_text_add(t, "    esac\n    return 1\n}\n\n");
}

static void add_options_of(xp_text *t, const xp_cli_command *c)
{
    const char *space = "";
    for (int i = 0; i < xp_cli_n_options; i++)
        if (c ? xp_cli_takes(c, &xp_cli_options[i])
              : strcmp(xp_cli_options[i].name, "help") == 0 || strcmp(xp_cli_options[i].name, "version") == 0) {
            xp_text_add(t, "%s--%s", space, xp_cli_options[i].name);
            space = " ";
        }
}

static void add_options(xp_text *t)
{
    xp_text_add(t, "# _metalora_options COMMAND: prints those it takes.\n_metalora_options() {\n    case $1 in\n");
    for (int i = 0; i < xp_cli_n_commands; i++)
        if (!xp_cli_commands[i].hidden) {
            xp_text_add(t, "    '%s') echo '", xp_cli_commands[i].name);
            add_options_of(t, &xp_cli_commands[i]);
            xp_text_add(t, "' ;;\n");
        }
    xp_text_add(t, "    *) echo '");
    add_options_of(t, NULL);
    xp_text_add(t, "' ;;\n    esac\n}\n\n");
}

static void add_values(xp_text *t)
{
    xp_text_add(t, "# _metalora_value OPTION PREFIX VALUE\n_metalora_value() {\n    case $1 in\n");
    for (int i = 0; i < xp_cli_n_options; i++) {
        const xp_cli_option *o = &xp_cli_options[i];
        if (!o->value || xp_cli_fill_of(o->value) == XP_FILL_NOTHING)
            continue;
        xp_text_add(t, "    --%s", o->name);
        if (o->letter)
            xp_text_add(t, " | -%c", o->letter);
        xp_text_add(t, ") ");
        add_fill(t, o->value, "\"$2\"", "\"$3\"");
        xp_text_add(t, " ;;\n");
    }
    xp_text_add(t, "    esac\n}\n\n");
}

static void add_operands_of(xp_text *t, const xp_cli_command *c)
{
    char operand[XP_PLACEHOLDER_MAX];
    for (int i = 0; xp_cli_operand(c, i, operand); i++) {
        if (xp_cli_fill_of(operand) == XP_FILL_NOTHING)
            continue;
        xp_text_add(t, "    '%s:%d') ", c->name, i);
        add_fill(t, operand, "''", "\"$2\"");
        xp_text_add(t, " ;;\n");
    }
}

/* "data:0" is the second word of "data import". */
static void add_second_words(xp_text *t, const xp_cli_command *first)
{
    char group[XP_PLACEHOLDER_MAX], other[XP_PLACEHOLDER_MAX];
    const char *space = "";
    xp_cli_group(first, group);
    xp_text_add(t, "    '%s:0') _metalora_offer '' -W '", group);
    for (int i = 0; i < xp_cli_n_commands; i++) {
        const xp_cli_command *c = &xp_cli_commands[i];
        if (c->hidden || !xp_cli_group(c, other) || strcmp(group, other) != 0)
            continue;
        xp_text_add(t, "%s%s", space, strchr(c->name, ' ') + 1);
        space = " ";
    }
    xp_text_add(t, "' -- \"$2\" ;;\n");
}

static void add_operands(xp_text *t)
{
    xp_text_add(t, "# _metalora_operand COMMAND:POSITION WORD\n_metalora_operand() {\n    case $1 in\n    :0) ");
    add_fill(t, "COMMAND", "''", "\"$2\"");
    xp_text_add(t, " ;;\n");
    for (int i = 0; i < xp_cli_n_commands; i++) {
        if (xp_cli_first_of_group(&xp_cli_commands[i]))
            add_second_words(t, &xp_cli_commands[i]);
        if (!xp_cli_commands[i].hidden)
            add_operands_of(t, &xp_cli_commands[i]);
    }
    xp_text_add(t, "    esac\n}\n");
}

void xp_cli_complete_bash(xp_text *t)
{
    xp_text_add(t, "%s", head);
    add_keys(t);
    xp_text_add(t, "%s", helpers);
    add_valued(t);
    add_groups(t);
    add_options(t);
    add_values(t);
    add_operands(t);
    xp_text_add(t, "%s", body);
}
