/* metalora manual: the pages of share/man in roff's man macros, made from the tables of options and commands. */
#include "experiments/cli_commands.h"

#include <string.h>

#define REVISED "2026-11-24"   /* of the words in this file; a page must show a date, and the same one at every build */

static const struct { const char *name, *meaning; } environment[] = {
    { "METALORA_DATA", "the folder of the data as published, where --data-dir is not given" },
    { "METALORA_MODELS", "a folder with models in folders of their names, where they are looked for before the cache" },
    { "METALORA_OMNIGLOT_URL", "a mirror of Omniglot's archives, for data get" },
    { "https_proxy, no_proxy", "the proxy of downloads, and hosts reached without it" },
    { "CURL_CA_BUNDLE, SSL_CERT_FILE, SSL_CERT_DIR", "certificate authorities that downloads trust" },
    { "XDG_CACHE_HOME", "packed data are kept in its folder metalora; without it in ~/.cache/metalora" },
    { "NO_COLOR", "set to anything but nothing: no colours, not even on a terminal" },
    { "METALORA_TRACE", "set to anything but nothing: an error message is followed by the functions it came through" },
};

static const struct { const char *code, *meaning; } exit_codes[] = {
    { "0", "done" },
    { "1", "the run failed, or its result could not be written" },
    { "2", "there is something to mend in the command line, the configuration or an input file; the message says what" },
    { "130, 143", "stopped by SIGINT (Ctrl-C) or SIGTERM, after saving what there was; a second signal stops at once" },
};

/* Text as roff reads it: its own characters escaped, a sentence a line. */
static void add_roff(xp_text *t, const char *text)
{
    static const struct { char plain; const char *roff; } escapes[] = {
        { '\\', "\\e" }, { '-', "\\-" }, { '\'', "\\(aq" }, { '`', "\\(ga" }, { '^', "\\(ha" }, { '~', "\\(ti" }
    };
    enum { N = sizeof escapes / sizeof *escapes };
    for (const char *s = text; *s; s++) {
        int i = 0;
        while (i < N && escapes[i].plain != *s)
            i++;
        bool sentence = s > text && s[-1] == '.' && *s == ' ';
        bool control = *s == '.' && (s == text || s[-1] == ' ');   /* a point that begins a line is a command */
        xp_text_add(t, "%s", control ? "\\&" : "");
        if (i < N)
            xp_text_add(t, "%s", escapes[i].roff);
        else
            xp_text_bytes(t, sentence ? "\n" : s, 1);
    }
}

static void add_bold(xp_text *t, const char *text)
{
    xp_text_add(t, "\\fB");
    add_roff(t, text);
    xp_text_add(t, "\\fR");
}

static void add_italic(xp_text *t, const char *text)
{
    xp_text_add(t, "\\fI");
    add_roff(t, text);
    xp_text_add(t, "\\fR");
}

static void add_paragraph(xp_text *t, const char *text)
{
    add_roff(t, text);
    xp_text_add(t, "\n");
}

static void add_name(xp_text *t, const char *page, const char *about)
{
    char upper[64];
    size_t n = strlen(page);
    for (size_t i = 0; i <= n && i < sizeof upper; i++)
        upper[i] = page[i] >= 'a' && page[i] <= 'z' ? (char)(page[i] - 'a' + 'A') : page[i];
    xp_text_add(t, ".\\\" Made by 'metalora manual'; do not edit.\n.TH \"");
    add_roff(t, upper);
    xp_text_add(t, "\" 1 \"" REVISED "\" \"metalora " METALORA_VERSION "\" \"metalora\"\n.SH NAME\n");
    add_roff(t, page);
    xp_text_add(t, " \\- ");
    add_paragraph(t, about);
}

/* ---- options, exit codes, variables ---- */

static void add_option(xp_text *t, const xp_cli_option *o)
{
    char dashes[64];
    xp_text_add(t, ".TP\n");
    if (o->letter) {
        snprintf(dashes, sizeof dashes, "-%c", o->letter);
        add_bold(t, dashes);
        xp_text_add(t, ", ");
    }
    snprintf(dashes, sizeof dashes, "--%s", o->name);
    add_bold(t, dashes);
    if (o->value) {
        xp_text_add(t, " ");
        add_italic(t, o->value);
    }
    xp_text_add(t, "\n");
    add_paragraph(t, o->meaning);
}

/* command NULL: all */
static void add_options(xp_text *t, const xp_cli_command *command)
{
    xp_text_add(t, ".SH OPTIONS\n");
    for (int i = 0; i < xp_cli_n_options; i++)
        if (xp_cli_takes(command, &xp_cli_options[i]))
            add_option(t, &xp_cli_options[i]);
}

static void add_pair(xp_text *t, const char *term, const char *meaning)
{
    xp_text_add(t, ".TP\n");
    add_bold(t, term);
    xp_text_add(t, "\n");
    add_paragraph(t, meaning);
}

static void add_exit_codes(xp_text *t)
{
    xp_text_add(t, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++)
        add_pair(t, exit_codes[i].code, exit_codes[i].meaning);
}

static void add_example(xp_text *t, const char *line)
{
    xp_text_add(t, ".RS 4\n.nf\n");
    add_roff(t, line);
    xp_text_add(t, "\n.fi\n.RE\n");
}

/* ---- the page of one command ---- */

/* "metalora data import SOURCE DIR [options]" */
static void add_usage(xp_text *t, const xp_cli_command *c)
{
    char name[64];
    snprintf(name, sizeof name, "metalora %s", c->name);
    add_bold(t, name);
    for (const char *word = c->operands; *word; word += strcspn(word, " "), word += *word == ' ') {
        char operand[64];
        snprintf(operand, sizeof operand, "%.*s", (int)strcspn(word, " "), word);
        xp_text_add(t, " ");
        add_italic(t, operand);
    }
    xp_text_add(t, "%s\n", *c->options ? " [options]" : "");
}

/* "metalora-data-import" */
static void page_name(const xp_cli_command *c, char *out, size_t size)
{
    snprintf(out, size, "metalora-%s", c->name);
    for (char *s = out; *s; s++)
        *s = *s == ' ' ? '-' : *s;
}

static void add_command_page(xp_text *t, const xp_cli_command *c)
{
    char page[64];
    page_name(c, page, sizeof page);
    add_name(t, page, c->about);
    xp_text_add(t, ".SH SYNOPSIS\n");
    add_usage(t, c);
    xp_text_add(t, ".SH DESCRIPTION\n");
    add_paragraph(t, c->more);
    add_options(t, c);
    add_exit_codes(t);
    xp_text_add(t, ".SH EXAMPLES\n");
    add_example(t, c->example);
    xp_text_add(t, ".SH SEE ALSO\n.BR metalora (1)\n");
}

/* ---- the page of the program ---- */

static void add_commands(xp_text *t)
{
    xp_text_add(t, ".SH COMMANDS\n");
    for (int i = 0; i < xp_cli_n_commands; i++) {
        char page[64];
        const xp_cli_command *c = &xp_cli_commands[i];
        if (c->hidden)
            continue;
        page_name(c, page, sizeof page);
        xp_text_add(t, ".TP\n.BR ");
        add_roff(t, page);
        xp_text_add(t, " (1)\n");
        add_paragraph(t, c->about);
    }
}

static void add_environment(xp_text *t)
{
    xp_text_add(t, ".SH ENVIRONMENT\n");
    for (size_t i = 0; i < sizeof environment / sizeof *environment; i++)
        add_pair(t, environment[i].name, environment[i].meaning);
}

static void add_program_page(xp_text *t)
{
    add_name(t, "metalora", "meta-learning experiments, from a YAML file to an HDF5 result");
    xp_text_add(t, ".SH SYNOPSIS\n\\fBmetalora\\fR \\fICOMMAND\\fR [options]\n.SH DESCRIPTION\n");
    add_paragraph(t, "Meta-trains small models on many small tasks, as one YAML file says, tests how well they learn new ones, "
                     "and writes everything to one HDF5 file. The same configuration and seed give the same bits with any "
                     "number of threads. Results go to the standard output; progress, notes and errors to the standard "
                     "error.");
    add_commands(t);
    xp_text_add(t, ".PP\n");
    add_paragraph(t, "'metalora COMMAND --help' prints a page of each as well.");
    add_options(t, NULL);
    add_exit_codes(t);
    add_environment(t);
    xp_text_add(t, ".SH EXAMPLES\n");
    add_example(t, "metalora run configs/quickstart.yaml");
    add_example(t, "metalora show quickstart.h5");
}

ag_code xp_cli_manual_page(const xp_cli_command *command, char **text, ag_error *err)
{
    xp_text t = { 0 };
    if (command)
        add_command_page(&t, command);
    else
        add_program_page(&t);
    return xp_text_take(&t, text, err);
}

ag_code xp_cli_manual(const xp_cli_call *c, ag_error *err)
{
    const xp_cli_command *command = NULL;
    const xp_cli_words *w = &c->args->operands;
    char *text;
    int used;
    if (w->n) {
        command = xp_cli_find(w->n, w->at, &used);
        AG_REQUIRE(command && used == w->n, err, AG_ECONFIG, "manual: there is no command '%s%s%s'; expected one that "
                   "'metalora --help' lists", w->at[0], w->n > 1 ? " " : "", w->n > 1 ? w->at[1] : "");
    }
    AG_TRY(err, xp_cli_manual_page(command, &text, err));
    ag_code code = xp_cli_print(c, text, err);
    ag_free(text);
    return code;
}
