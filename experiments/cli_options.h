/* For authors of commands, man pages and completions: options and commands are two tables, and a command line that was
 * read is one struct.
 *
 * To add an option: a field of xp_cli_args, a row in cli_options.c, its name in the rows of the commands that take it.
 * To add a command: a row in cli_commands.c and its function. */
#ifndef XP_CLI_OPTIONS_H
#define XP_CLI_OPTIONS_H

#include "autograd/status.h"

#include <stdint.h>
#include <stdio.h>

typedef struct xp_cli_command xp_cli_command;

typedef struct xp_cli_words {
    int n;
    const char **at;
} xp_cli_words;

/* A number whose zero means something, too. */
typedef struct xp_cli_number {
    bool given;
    double value;
} xp_cli_number;

/* A command line; zero or NULL where an option was not given. Strings are argv's. */
typedef struct xp_cli_args {
    const xp_cli_command *command;   /* NULL: none was given */
    const char *group;               /* "data", with help: its commands are asked for */
    xp_cli_words operands;           /* behind the command's own words */
    bool help, version, force, json, quiet, print_config, offline;
    int64_t threads;
    const char *out, *data_dir, *cache_dir;
    const char *replay;              /* "7:3" */
    const char *seed;                /* decimal digits, below 2^64 */
    xp_cli_words set;
    /* adapting to a task, and what becomes of it */
    const char *model, *adapter, *support, *to, *head, *text_column, *label_column;
    xp_cli_number steps, lr, scale;
    int64_t max_tokens;
    bool no_estimate, plain, strict;
    xp_cli_words texts;
    const char **memory;             /* owner of the words */
} xp_cli_args;

typedef enum xp_cli_kind {
    XP_CLI_FLAG,                     /* bool */
    XP_CLI_TEXT,                     /* const char *, not empty; the last one counts */
    XP_CLI_COUNT,                    /* int64_t from 1 to XP_CLI_COUNT_MAX */
    XP_CLI_WHOLE,                    /* xp_cli_number: a whole number from 0 to XP_CLI_WHOLE_MAX */
    XP_CLI_POSITIVE,                 /* xp_cli_number: above 0, at most XP_CLI_WHOLE_MAX */
    XP_CLI_SEED,                     /* const char *, checked */
    XP_CLI_LIST                      /* xp_cli_words, in the order given */
} xp_cli_kind;

enum { XP_CLI_COUNT_MAX = 1024, XP_CLI_WHOLE_MAX = 1000000 };

typedef struct xp_cli_option {
    const char *name;                /* "out" for --out */
    char letter;                     /* 'h' for -h; 0: none */
    const char *value;               /* what stands for it in help: "FILE.h5"; NULL: a flag */
    xp_cli_kind kind;
    size_t offset;                   /* in xp_cli_args */
    const char *meaning;
} xp_cli_option;

extern const xp_cli_option xp_cli_options[];
extern const int xp_cli_n_options;

/* A command being run. */
typedef struct xp_cli_call {
    const xp_cli_args *args;
    FILE *out, *messages;
    const char *command_line;        /* as one could type it again */
} xp_cli_call;

struct xp_cli_command {
    const char *name;                /* one word or two: "run", "data import" */
    const char *operands;            /* "FILE.yaml"; in brackets: may be left out */
    const char *options;             /* their names, in the order of its help page */
    const char *about;               /* half a line, for the list of commands */
    const char *more;                /* a paragraph, for its own help page */
    const char *example;
    bool hidden;                     /* not in the list of commands */
    ag_code (*run)(const xp_cli_call *c, ag_error *err);
};

extern const xp_cli_command xp_cli_commands[];
extern const int xp_cli_n_commands;

/* Whether the option is one of the command's; command NULL: whether it is one of all. --help always is. */
bool xp_cli_takes(const xp_cli_command *command, const xp_cli_option *option);
/* The command that the first words name, *used of them (1 or 2); NULL: none. */
const xp_cli_command *xp_cli_find(int n, const char *const *words, int *used);
/* Whether commands of two words begin with this one. */
bool xp_cli_is_group(const char *word);

/* Reads a command line. Fails with AG_ECONFIG (the user can mend it; the nearest valid word is suggested), AG_ENOMEM.
 * Release also after a failure. */
ag_code xp_cli_parse(xp_cli_args *a, int argc, const char *const *argv, ag_error *err);
void xp_cli_args_release(xp_cli_args *a);

/* Help pages, freed with ag_free: of everything, of the commands of a group, of one command. */
ag_code xp_cli_help_all(char **text, ag_error *err);
ag_code xp_cli_help_group(const char *group, char **text, ag_error *err);
ag_code xp_cli_help_command(const xp_cli_command *command, char **text, ag_error *err);

/* Writes to the result stream; AG_EIO with the reason when that fails, now or for what was written before. */
ag_code xp_cli_print(const xp_cli_call *c, const char *text, ag_error *err);
/* "metalora: ..." and a line break to the messages; control characters are replaced. */
void xp_cli_say(FILE *messages, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Whether text on this stream may be coloured: a terminal that is not dumb, and no NO_COLOR. */
bool xp_cli_colour(FILE *stream);
/* The code an input file's failure is reported with: a file that cannot be read is for the user to mend. */
ag_code xp_cli_input(ag_code code);

#endif
