/* Private to cli_completion*.c: what can stand where on a command line, and one writer a shell. To add a shell: a file with
 * its writer, a row in cli_completion.c. */
#ifndef XP_CLI_COMPLETION_H
#define XP_CLI_COMPLETION_H

#include "experiments/cli_commands.h"
#include "experiments/config_values.h"

/* What completes a placeholder of the tables. */
typedef enum xp_cli_fill {
    XP_FILL_NOTHING,                 /* a number: nobody can guess it */
    XP_FILL_FILE,                    /* with the ending of the placeholder: FILE.yaml, FILE.h5 */
    XP_FILL_FOLDER,                  /* DIR */
    XP_FILL_KEY,                     /* KEY=VALUE: knobs, and behind '=' their choices */
    XP_FILL_WORDS                    /* SOURCE, SHELL, COMMAND, SUB */
} xp_cli_fill;

xp_cli_fill xp_cli_fill_of(const char *placeholder);
/* "yaml", "h5": the ending of a placeholder of XP_FILL_FILE. */
const char *xp_cli_ending(const char *placeholder);
/* The words that a placeholder of XP_FILL_WORDS stands for, a space between them. */
void xp_cli_add_words(xp_text *t, const char *placeholder);

/* The command's operand i from 0 on, without brackets; false when there are fewer. */
enum { XP_PLACEHOLDER_MAX = 32 };
bool xp_cli_operand(const xp_cli_command *c, int i, char out[XP_PLACEHOLDER_MAX]);
/* The group of a command of two words: "data" of "data import"; false when it is of one. */
bool xp_cli_group(const xp_cli_command *c, char out[XP_PLACEHOLDER_MAX]);
/* Whether the command is the first visible one of its group; xp_cli_group tells which. */
bool xp_cli_first_of_group(const xp_cli_command *c);
/* "data list, import, verify": a line on the group of this command. */
void xp_cli_about_group(const xp_cli_command *first, char *out, size_t size);
/* The options that take a value, as "--out -o", with the text between them. */
void xp_cli_add_valued(xp_text *t, const char *between);
/* "sgd adam" of a choice, "true false" of a switch; nothing, and false, of other knobs. */
bool xp_cli_add_choices(xp_text *t, const xp_knob *k);

void xp_cli_complete_bash(xp_text *t);
void xp_cli_complete_zsh(xp_text *t);
void xp_cli_complete_fish(xp_text *t);

#endif
