/* From arguments to an exit code: read them, run the command, say what went wrong (cli.h). */
#include "experiments/cli.h"

#include "experiments/cli_commands.h"
#include "experiments/cli_stop.h"
#include "experiments/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the two streams ---- */

ag_code xp_cli_print(const xp_cli_call *c, const char *text, ag_error *err)
{
    errno = 0;
    bool good = fputs(text, c->out) >= 0 && fflush(c->out) == 0 && !ferror(c->out);
    AG_REQUIRE(good, err, AG_EIO, "the result cannot be written to stdout: %s", errno ? strerror(errno) : "unknown reason");
    return AG_OK;
}

/* Line by line: what a terminal would obey becomes '?', line breaks stay. */
static void write_clean(FILE *messages, const char *text)
{
    xp_text t = { 0 };
    for (const char *s = text; *s; s++) {
        bool c1 = (unsigned char)s[0] == 0xc2 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] < 0xa0;
        if (*s == '\n')
            xp_text_bytes(&t, "\n", 1);
        else if (c1)
            xp_text_bytes(&t, "?", (s++, 1));
        else
            xp_text_clean(&t, (char[]){ *s, '\0' });
    }
    fprintf(messages, "metalora: %s\n", t.failed || !t.data ? "out of memory" : t.data);
    fflush(messages);
    xp_text_release(&t);
}

void xp_cli_say(FILE *messages, const char *fmt, ...)
{
    char text[AG_MESSAGE_MAX + AG_TRAIL_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    write_clean(messages, text);
}

bool xp_cli_colour(FILE *stream)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    int fd = fileno(stream);
    return fd >= 0 && isatty(fd) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

/* ---- failures ---- */

ag_code xp_cli_input(ag_code code)
{
    return code == AG_EIO ? AG_ECONFIG : code;
}

static int exit_code(ag_code code)
{
    switch (code) {
    case AG_OK: return XP_EXIT_DONE;
    case AG_ECONFIG:
    case AG_EDATA: return XP_EXIT_MEND;
    case AG_ESTOP: return xp_cli_stop_signal() ? XP_EXIT_SIGNAL + xp_cli_stop_signal() : XP_EXIT_FAILED;
    default: return XP_EXIT_FAILED;
    }
}

static void report(FILE *messages, ag_code code, const ag_error *err)
{
    const char *trace = getenv("METALORA_TRACE");
    if (code == AG_OK)
        return;
    xp_cli_say(messages, "%s", err->message[0] ? err->message : ag_code_name(code));
    if (trace && *trace)
        xp_cli_say(messages, "trace: %s in %s", ag_code_name(err->code), err->trail[0] ? err->trail : "the command line");
}

/* ---- the command line as text ---- */

static void add_quoted(xp_text *t, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
    if (*word && strspn(word, plain) == strlen(word)) {
        xp_text_bytes(t, word, strlen(word));
        return;
    }
    xp_text_bytes(t, "'", 1);
    for (; *word; word++)
        xp_text_bytes(t, *word == '\'' ? "'\\''" : word, *word == '\'' ? 4 : 1);
    xp_text_bytes(t, "'", 1);
}

static ag_code command_line(int argc, const char *const *argv, char **line, ag_error *err)
{
    xp_text t = { 0 };
    xp_text_add(&t, "metalora");
    for (int i = 1; i < argc; i++) {
        xp_text_bytes(&t, " ", 1);
        add_quoted(&t, argv[i]);
    }
    return xp_text_take(&t, line, err);
}

/* ---- what was asked for ---- */

static const char begin[] =
    "nothing to do yet; for instance:\n"
    "  metalora run configs/quickstart.yaml     meta-learn sine waves, in about a minute\n"
    "  metalora show quickstart.h5              look at the result\n"
    "  metalora --help                          everything else";

static ag_code help_text(const xp_cli_args *a, char **text, ag_error *err)
{
    if (a->version)
        return xp_cli_version(text, err);
    if (a->group)
        return xp_cli_help_group(a->group, text, err);
    return a->command ? xp_cli_help_command(a->command, text, err) : xp_cli_help_all(text, err);
}

static ag_code print_help(const xp_cli_call *c, ag_error *err)
{
    char *text;
    AG_TRY(err, help_text(c->args, &text, err));
    ag_code code = xp_cli_print(c, text, err);
    ag_free(text);
    return code;
}

static ag_code run_command(const xp_cli_call *c, ag_error *err)
{
    if (c->args->help || c->args->version)
        return print_help(c, err);
    if (!c->args->command)
        return ag_fail(err, AG_ECONFIG, "%s", begin);
    return c->args->command->run(c, err);
}

/* The page of the command its words name. */
ag_code xp_cli_help(const xp_cli_call *c, ag_error *err)
{
    xp_cli_args wanted;
    const char *argv[4] = { "metalora" };
    xp_cli_words w = c->args->operands;
    for (int i = 0; i < w.n; i++)
        argv[i + 1] = w.at[i];
    argv[w.n + 1] = "--help";
    ag_code code = xp_cli_parse(&wanted, w.n + 2, argv, err);
    xp_cli_call call = *c;
    call.args = &wanted;
    if (code == AG_OK)
        code = print_help(&call, err);
    xp_cli_args_release(&wanted);
    return code;
}

int xp_cli(int argc, const char *const *argv, FILE *out, FILE *messages)
{
    xp_cli_args args;
    ag_error err = { 0 };
    char *line = NULL;
    ag_code code = xp_cli_parse(&args, argc, argv, &err);
    if (code == AG_OK)
        code = command_line(argc, argv, &line, &err);
    if (code == AG_OK) {
        xp_cli_call call = { .args = &args, .out = out, .messages = messages, .command_line = line };
        code = run_command(&call, &err);
    }
    report(messages, code, &err);
    ag_free(line);
    xp_cli_args_release(&args);
    return exit_code(code);
}
