/* The options and how a command line is read (cli_options.h). */
#include "experiments/cli_options.h"

#include "experiments/config_values.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(xp_cli_args, name)

const xp_cli_option xp_cli_options[] = {
    { "set", 0, "KEY=VALUE", XP_CLI_LIST, FIELD(set),
      "one key of the configuration, as in inner.lr=0.1; wins over the file. May be given many times" },
    { "out", 'o', "FILE.h5", XP_CLI_TEXT, FIELD(out),
      "the result file; without it NAME.h5 in the current folder, NAME being the configuration's" },
    { "model", 0, "DIR", XP_CLI_TEXT, FIELD(model),
      "the frozen model: a folder or file, or minilm or smollm2 as metalora data get got them; without it the one the "
      "adapter was made for" },
    { "adapter", 0, "DIR", XP_CLI_TEXT, FIELD(adapter), "the folder of an adapter, as adapt, export or PEFT wrote it" },
    { "support", 0, "FILE.jsonl", XP_CLI_TEXT, FIELD(support),
      "the examples: JSON lines with text and label, .csv or .tsv; - reads JSON lines from stdin" },
    { "to", 0, "DIR", XP_CLI_TEXT, FIELD(to), "the folder to write; it must not be there yet" },
    { "force", 'f', NULL, XP_CLI_FLAG, FIELD(force), "replace an existing result file or adapter" },
    { "steps", 0, "N", XP_CLI_WHOLE, FIELD(steps), "inner steps; 0: only the head is made" },
    { "lr", 0, "X", XP_CLI_POSITIVE, FIELD(lr), "step size, in place of the one the adapter was trained with" },
    { "head", 0, "HEAD", XP_CLI_TEXT, FIELD(head), "prototype or centroid: whether the layer that starts at the class means is adapted" },
    { "scale", 0, "X", XP_CLI_POSITIVE, FIELD(scale), "class scores are this times the similarity" },
    { "max-tokens", 0, "N", XP_CLI_COUNT, FIELD(max_tokens), "tokens read of a text; the rest is cut and counted" },
    { "text-column", 0, "NAME", XP_CLI_TEXT, FIELD(text_column), "the texts' column or key; without it text" },
    { "label-column", 0, "NAME", XP_CLI_TEXT, FIELD(label_column), "the labels' column or key; without it label" },
    { "no-estimate", 0, NULL, XP_CLI_FLAG, FIELD(no_estimate), "no estimate of the accuracy by leaving examples out" },
    { "text", 't', "TEXT", XP_CLI_LIST, FIELD(texts), "a text to label. May be given many times" },
    { "plain", 0, NULL, XP_CLI_FLAG, FIELD(plain), "the input's lines are texts, not JSON" },
    { "strict", 0, NULL, XP_CLI_FLAG, FIELD(strict), "refuse a text of too many tokens; without it, it is cut" },
    { "seed", 0, "S", XP_CLI_SEED, FIELD(seed), "the same as --set seed=S, and wins over it; adapt: the seed of a fresh LoRA" },
    { "threads", 0, "N", XP_CLI_COUNT, FIELD(threads),
      "threads to compute with; without it one a core, at most one for each chunk of tasks. Changes the time, "
      "never the result" },
    { "data-dir", 0, "DIR", XP_CLI_TEXT, FIELD(data_dir),
      "the folder of the data as published; without it METALORA_DATA of the environment" },
    { "cache-dir", 0, "DIR", XP_CLI_TEXT, FIELD(cache_dir),
      "the folder of packed data; without it metalora in XDG_CACHE_HOME or ~/.cache" },
    { "offline", 0, NULL, XP_CLI_FLAG, FIELD(offline), "never use the network: fail, naming what is missing" },
    { "replay", 0, "ITER:TASK", XP_CLI_TEXT, FIELD(replay),
      "compute one task of one training iteration (from 1; tasks from 0) and tell its losses; from the checkpoint of a failed run if "
      "there is one, else after training up to it. Writes nothing" },
    { "json", 0, NULL, XP_CLI_FLAG, FIELD(json), "JSON in place of a table" },
    { "quiet", 'q', NULL, XP_CLI_FLAG, FIELD(quiet), "no progress, no table, only errors (and what --json asks for)" },
    { "print-config", 0, NULL, XP_CLI_FLAG, FIELD(print_config),
      "print every key with its value and where that came from, as YAML" },
    { "help", 'h', NULL, XP_CLI_FLAG, FIELD(help), "print help, also of a command: metalora run --help" },
    { "version", 'V', NULL, XP_CLI_FLAG, FIELD(version), "print the version, the kernels chosen and the libraries" },
};
const int xp_cli_n_options = sizeof xp_cli_options / sizeof *xp_cli_options;

enum { MAX_WORDS = 32, NAMES_SHOWN = 300 };

typedef struct parser {
    xp_cli_args *args;
    int argc, next;
    const char *const *argv;
    xp_cli_words operands;
    uint64_t given;                  /* bit i: option i */
} parser;

bool xp_cli_takes(const xp_cli_command *command, const xp_cli_option *option)
{
    if (!command || strcmp(option->name, "help") == 0)
        return true;
    size_t n = strlen(option->name);
    for (const char *word = command->options; *word; word += strcspn(word, " "), word += *word == ' ')
        if (strcspn(word, " ") == n && strncmp(word, option->name, n) == 0)
            return true;
    return false;
}

const xp_cli_command *xp_cli_find(int n, const char *const *words, int *used)
{
    for (int i = 0; i < xp_cli_n_commands; i++) {
        const char *name = xp_cli_commands[i].name, *space = strchr(name, ' ');
        size_t first = strcspn(name, " ");
        *used = space ? 2 : 1;
        if (n >= *used && strlen(words[0]) == first && strncmp(words[0], name, first) == 0
            && (!space || strcmp(words[1], space + 1) == 0))
            return &xp_cli_commands[i];
    }
    return NULL;
}

bool xp_cli_is_group(const char *word)
{
    size_t n = strlen(word);
    for (int i = 0; i < xp_cli_n_commands; i++)
        if (strncmp(xp_cli_commands[i].name, word, n) == 0 && xp_cli_commands[i].name[n] == ' ')
            return true;
    return false;
}

/* ---- what to say instead ---- */

static const xp_cli_option *find_option(const char *name, size_t length)
{
    for (int i = 0; i < xp_cli_n_options; i++)
        if (strlen(xp_cli_options[i].name) == length && strncmp(xp_cli_options[i].name, name, length) == 0)
            return &xp_cli_options[i];
    return NULL;
}

static const xp_cli_command *command_so_far(const parser *p)
{
    int used;
    return xp_cli_find(p->operands.n, p->operands.at, &used);
}

/* "a, b, c" of the names that fit; returns how many were put into names. */
static int option_names(const xp_cli_command *command, const char *names[MAX_WORDS], char shown[NAMES_SHOWN])
{
    int n = 0;
    size_t used = 0;
    shown[0] = '\0';
    for (int i = 0; i < xp_cli_n_options && n < MAX_WORDS; i++)
        if (xp_cli_takes(command, &xp_cli_options[i])) {
            names[n++] = xp_cli_options[i].name;
            if (used < NAMES_SHOWN)
                used += (size_t)snprintf(shown + used, NAMES_SHOWN - used, "%s--%s", n > 1 ? ", " : "", names[n - 1]);
        }
    return n;
}

static ag_code unknown_option(const parser *p, const char *word, ag_error *err)
{
    const xp_cli_command *command = command_so_far(p);
    const char *names[MAX_WORDS], *where = command ? command->name : "";
    char shown[NAMES_SHOWN], bare[64];
    int n = option_names(command, names, shown);
    const char *name = word + strspn(word, "-");
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(name, "="), name);
    const char *nearest = xp_nearest(bare, names, n);
    if (nearest)
        return ag_fail(err, AG_ECONFIG, "%s%sthere is no option '%.*s'; did you mean '--%s'?", where, *where ? ": " : "",
                       (int)strcspn(word, "="), word, nearest);
    return ag_fail(err, AG_ECONFIG, "%s%sthere is no option '%s'; expected one of %s", where, *where ? ": " : "", word,
                   shown);
}

static ag_code not_this_commands(const xp_cli_args *a, const xp_cli_option *o, ag_error *err)
{
    const char *names[MAX_WORDS];
    char shown[NAMES_SHOWN];
    option_names(a->command, names, shown);
    return ag_fail(err, AG_ECONFIG, "%s: '--%s' is an option of other commands; %s takes %s", a->command->name, o->name,
                   a->command->name, shown);
}

/* Names of the commands: the first words, or the second words of a group. */
static int command_names(const char *group, const char *names[MAX_WORDS], char storage[MAX_WORDS][MAX_WORDS])
{
    int n = 0;
    for (int i = 0; i < xp_cli_n_commands && n < MAX_WORDS; i++) {
        const char *name = xp_cli_commands[i].name, *space = strchr(name, ' ');
        if (xp_cli_commands[i].hidden || (group && (!space || strncmp(name, group, strlen(group)) != 0)))
            continue;
        snprintf(storage[n], MAX_WORDS, "%.*s", group ? MAX_WORDS - 1 : (int)strcspn(name, " "), group ? space + 1 : name);
        if (n && strcmp(storage[n], storage[n - 1]) == 0)   /* the commands of a group stand together */
            continue;
        names[n] = storage[n];
        n++;
    }
    return n;
}

static ag_code unknown_command(const char *group, const char *word, ag_error *err)
{
    const char *names[MAX_WORDS];
    char storage[MAX_WORDS][MAX_WORDS], shown[NAMES_SHOWN];
    size_t used = 0;
    int n = command_names(group, names, storage);
    const char *nearest = word ? xp_nearest(word, names, n) : NULL, *space = group ? " " : "";
    const char *yaml = word ? strrchr(word, '.') : NULL;
    group = group ? group : "";
    if (nearest)
        return ag_fail(err, AG_ECONFIG, "there is no command '%s%s%s'; did you mean '%s%s%s'?", group, space, word, group,
                       space, nearest);
    if (!*group && yaml && (strcmp(yaml, ".yaml") == 0 || strcmp(yaml, ".yml") == 0))
        return ag_fail(err, AG_ECONFIG, "there is no command '%s'; did you mean 'metalora run %s'?", word, word);
    if (!*group && word && find_option(word, strlen(word)))
        return ag_fail(err, AG_ECONFIG, "there is no command '%s'; did you mean '--%s'?", word, word);
    for (int i = 0; i < n && used < NAMES_SHOWN; i++)
        used += (size_t)snprintf(shown + used, NAMES_SHOWN - used, "%s%s", i ? ", " : "", names[i]);
    if (!word)
        return ag_fail(err, AG_ECONFIG, "%s: a command of it is missing; expected metalora %s followed by one of %s", group,
                       group, shown);
    return ag_fail(err, AG_ECONFIG, "there is no command '%s%s%s'; expected one of %s", group, space, word, shown);
}

/* ---- values ---- */

static ag_code read_count(const xp_cli_option *o, const char *value, int64_t *count, ag_error *err)
{
    char *end;
    errno = 0;
    long n = strtol(value, &end, 10);
    bool digits = value[0] >= '0' && value[0] <= '9' && !*end;
    AG_REQUIRE(digits && errno == 0 && n >= 1 && n <= XP_CLI_COUNT_MAX, err, AG_ECONFIG,
               "--%s: '%s'; expected a whole number from 1 to %d", o->name, value, XP_CLI_COUNT_MAX);
    *count = n;
    return AG_OK;
}

static ag_code read_number(const xp_cli_option *o, const char *value, xp_cli_number *number, ag_error *err)
{
    char *end;
    double x = strtod(value, &end);
    bool whole = o->kind == XP_CLI_WHOLE, digits = *value && strspn(value, whole ? "0123456789" : "0123456789.eE+-") == strlen(value);
    AG_REQUIRE(digits && !*end && x <= XP_CLI_WHOLE_MAX && (whole || x > 0), err, AG_ECONFIG, "--%s: '%s'; expected a %s to %d", o->name, value,
               whole ? "whole number from 0" : "number above 0, up", XP_CLI_WHOLE_MAX);
    *number = (xp_cli_number){ true, x };
    return AG_OK;
}

static ag_code check_seed(const xp_cli_option *o, const char *value, ag_error *err)
{
    errno = 0;
    bool digits = *value && strspn(value, "0123456789") == strlen(value);
    AG_REQUIRE(digits && (strtoull(value, NULL, 10), errno == 0), err, AG_ECONFIG,
               "--%s: '%s'; expected a whole number from 0 to 18446744073709551615", o->name, value);
    return AG_OK;
}

static ag_code store(parser *p, const xp_cli_option *o, const char *value, ag_error *err)
{
    void *field = (char *)p->args + o->offset;
    xp_cli_words *list = field;
    p->given |= (uint64_t)1 << (o - xp_cli_options);
    switch (o->kind) {
    case XP_CLI_FLAG:
        *(bool *)field = true;
        return AG_OK;
    case XP_CLI_COUNT:
        return read_count(o, value, field, err);
    case XP_CLI_WHOLE:
    case XP_CLI_POSITIVE:
        return read_number(o, value, field, err);
    case XP_CLI_SEED:
        AG_TRY(err, check_seed(o, value, err));
        break;
    case XP_CLI_LIST:
        list->at[list->n++] = value;
        return AG_OK;
    case XP_CLI_TEXT:
        AG_REQUIRE(*value, err, AG_ECONFIG, "--%s: nothing; expected %s", o->name, o->value);
        break;
    }
    *(const char **)field = value;
    return AG_OK;
}

/* ---- words ---- */

static const xp_cli_option *find_letter(const char *word)
{
    for (int i = 0; i < xp_cli_n_options; i++)
        if (xp_cli_options[i].letter && word[1] == xp_cli_options[i].letter && !word[2])
            return &xp_cli_options[i];
    return NULL;
}

/* "--out=F", "--out F", "--force", "-f" */
static ag_code read_option(parser *p, const char *word, ag_error *err)
{
    bool named = word[1] == '-';
    size_t length = named ? strcspn(word + 2, "=") : 0;
    const xp_cli_option *o = named ? find_option(word + 2, length) : find_letter(word);
    const char *value = named && word[2 + length] ? word + 2 + length + 1 : NULL;
    if (!o)
        return unknown_option(p, word, err);
    AG_REQUIRE(o->value || !value, err, AG_ECONFIG, "--%s takes no value; '%s' was given", o->name, value);
    if (o->value && !value) {
        const char *next = p->next < p->argc ? p->argv[p->next] : NULL;
        AG_REQUIRE(next && strncmp(next, "--", 2) != 0, err, AG_ECONFIG, "--%s: its value is missing; expected --%s %s",
                   o->name, o->name, o->value);
        value = next;
        p->next++;
    }
    return store(p, o, value, err);
}

static ag_code read_words(parser *p, ag_error *err)
{
    bool options = true;
    while (p->next < p->argc) {
        const char *word = p->argv[p->next++];
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && word[0] == '-' && word[1])
            AG_TRY(err, read_option(p, word, err));
        else
            p->operands.at[p->operands.n++] = word;
    }
    return AG_OK;
}

/* ---- command and operands ---- */

static ag_code check_operands(const xp_cli_args *a, ag_error *err)
{
    const xp_cli_command *c = a->command;
    int wanted = 0;
    for (const char *word = c->operands; *word; word += strcspn(word, " "), word += *word == ' ', wanted++)
        AG_REQUIRE(wanted < a->operands.n || *word == '[', err, AG_ECONFIG, "%s: %.*s is missing; expected: metalora %s %s",
                   c->name, (int)strcspn(word, " "), word, c->name, c->operands);
    AG_REQUIRE(a->operands.n <= wanted, err, AG_ECONFIG, "%s: '%s' is one argument too many; expected: metalora %s%s%s",
               c->name, a->operands.at[wanted], c->name, wanted ? " " : "", c->operands);
    return AG_OK;
}

static ag_code find_command(parser *p, ag_error *err)
{
    xp_cli_args *a = p->args;
    int used = 0;
    if (p->operands.n == 0)
        return AG_OK;
    const char *word = p->operands.at[0];
    a->command = xp_cli_find(p->operands.n, p->operands.at, &used);
    if (!a->command && xp_cli_is_group(word)) {
        if (a->help) {
            a->group = word;
            return AG_OK;
        }
        return unknown_command(word, p->operands.n > 1 ? p->operands.at[1] : NULL, err);
    }
    if (!a->command)
        return unknown_command(NULL, word, err);
    a->operands.n = p->operands.n - used;
    a->operands.at = p->operands.at + used;
    return AG_OK;
}

static ag_code check_given(const parser *p, ag_error *err)
{
    const xp_cli_args *a = p->args;
    if (!a->command || a->help || a->version)
        return AG_OK;
    for (int i = 0; i < xp_cli_n_options; i++)
        if ((p->given >> i & 1) && !xp_cli_takes(a->command, &xp_cli_options[i]))
            return not_this_commands(a, &xp_cli_options[i], err);
    return check_operands(a, err);
}

ag_code xp_cli_parse(xp_cli_args *a, int argc, const char *const *argv, ag_error *err)
{
    memset(a, 0, sizeof *a);
    int room = argc > 0 ? argc : 1;
    a->memory = ag_alloc_zero(3 * (size_t)room * sizeof *a->memory);
    AG_REQUIRE(a->memory, err, AG_ENOMEM, "out of memory for %d arguments", argc);
    a->set.at = a->memory;
    a->texts.at = a->memory + 2 * room;
    parser p = { .args = a, .argc = argc, .next = 1, .argv = argv, .operands.at = a->memory + room };
    AG_TRY(err, read_words(&p, err));
    AG_TRY(err, find_command(&p, err));
    return check_given(&p, err);
}

void xp_cli_args_release(xp_cli_args *a)
{
    ag_free(a->memory);
    memset(a, 0, sizeof *a);
}
