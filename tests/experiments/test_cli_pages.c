/* What is made from the tables and committed: manual pages, completion scripts, the editor's schema. With
 * METALORA_WRITE_GOLDEN set the files are written anew first. What shells make of the scripts: shells.sh. */
#include "experiments/cli_commands.h"
#include "experiments/cli.h"
#include "experiments/config.h"
#include "tests/check.h"

#include <dirent.h>

#define ROOT TEST_DIR "/../../"

enum { MAX_ARGS = 8, LONGEST = 1 << 17 };

/* Stdout of a call of the program that must succeed; freed with free. */
static char *output(int n, const char *const *words)
{
    const char *argv[MAX_ARGS] = { "metalora" };
    char *out, *messages;
    size_t n_out, n_messages;
    memcpy(argv + 1, words, (size_t)n * sizeof *argv);
    FILE *o = open_memstream(&out, &n_out), *m = open_memstream(&messages, &n_messages);
    int code = xp_cli(n + 1, argv, o, m);
    fclose(o);
    fclose(m);
    ck_assert_msg(code == 0, "%s", messages);
    free(messages);
    return out;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "%s cannot be written", path);
    ck_assert_uint_eq(fwrite(text, 1, strlen(text), f), strlen(text));
    ck_assert_int_eq(fclose(f), 0);
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s cannot be opened", path);
    char *text = calloc(1, LONGEST + 1);
    ck_assert_uint_lt(fread(text, 1, LONGEST, f), LONGEST);
    fclose(f);
    return text;
}

/* Committed under that name is what this call prints. */
static void expect_committed(const char *name, int n, const char *const *words)
{
    char path[4200];
    char *made = output(n, words);
    snprintf(path, sizeof path, ROOT "%s", name);
    if (getenv("METALORA_WRITE_GOLDEN"))
        write_file(path, made);
    char *committed = read_file(path);
    const char *a = made, *b = committed;
    while (*a && *a == *b)
        a++, b++;
    ck_assert_msg(*a == *b, "%s is not what the tables make (METALORA_WRITE_GOLDEN=1 writes it anew): '%.60s' was '%.60s'",
                  name, a, b);
    free(committed);
    free(made);
}

/* The first words of the call, then the command's own one or two; how many in all. */
static int call_words(const char *first, const xp_cli_command *c, char storage[2][32], const char *words[3])
{
    int n = 0;
    words[n++] = first;
    for (const char *word = c->name; *word; word += strcspn(word, " "), word += *word == ' ') {
        snprintf(storage[n - 1], 32, "%.*s", (int)strcspn(word, " "), word);
        words[n] = storage[n - 1];
        n++;
    }
    return n;
}

START_TEST(every_command_has_its_manual_page_and_no_page_is_left_over)
{
    int pages = 1, files = 0;
    expect_committed("share/man/man1/metalora.1", 1, (const char *const[]){ "manual" });
    for (int i = 0; i < xp_cli_n_commands; i++) {
        char name[100], storage[2][32];
        const char *words[3];
        if (xp_cli_commands[i].hidden)
            continue;
        int n = call_words("manual", &xp_cli_commands[i], storage, words);
        snprintf(name, sizeof name, "share/man/man1/metalora-%s%s%s.1", words[1], n > 2 ? "-" : "", n > 2 ? words[2] : "");
        expect_committed(name, n, words);
        pages++;
    }
    DIR *dir = opendir(ROOT "share/man/man1");
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *e; (e = readdir(dir));)
        files += e->d_name[0] != '.';
    closedir(dir);
    ck_assert_int_eq(files, pages);
}
END_TEST

START_TEST(a_page_names_every_option_of_its_command_and_no_other)
{
    for (int c = 0; c < xp_cli_n_commands; c++) {
        char *page;
        ck_assert_int_eq(xp_cli_manual_page(&xp_cli_commands[c], &page, NULL), AG_OK);
        for (int i = 0; i < xp_cli_n_options; i++) {
            char bold[80];
            size_t n = (size_t)snprintf(bold, sizeof bold, "\\fB\\-\\-");
            for (const char *s = xp_cli_options[i].name; *s; s++)
                n += (size_t)snprintf(bold + n, sizeof bold - n, *s == '-' ? "\\%c" : "%c", *s);
            snprintf(bold + n, sizeof bold - n, "\\fR");
            ck_assert_msg((strstr(page, bold) != NULL) == xp_cli_takes(&xp_cli_commands[c], &xp_cli_options[i]), "%s of %s",
                          bold, xp_cli_commands[c].name);
        }
        ag_free(page);
    }
}
END_TEST

START_TEST(no_line_of_a_page_is_taken_for_a_command_of_roff_by_accident)
{
    static const char *const macros[] = { ".TH ", ".SH ", ".TP", ".PP", ".BR ", ".RS ", ".RE", ".nf", ".fi", ".\\\" " };
    enum { N = sizeof macros / sizeof *macros };
    for (int c = -1; c < xp_cli_n_commands; c++) {
        char *page;
        ck_assert_int_eq(xp_cli_manual_page(c < 0 ? NULL : &xp_cli_commands[c], &page, NULL), AG_OK);
        for (const char *line = page; *line; line += strcspn(line, "\n"), line += *line == '\n') {
            bool known = *line != '.' && *line != '\'';
            for (int i = 0; i < N; i++)
                known |= strncmp(line, macros[i], strlen(macros[i])) == 0;
            ck_assert_msg(known, "%.*s", (int)strcspn(line, "\n"), line);
        }
        ag_free(page);
    }
}
END_TEST

START_TEST(completion_scripts_are_as_committed)
{
    expect_committed("share/bash-completion/completions/metalora", 2, (const char *const[]){ "completion", "bash" });
    expect_committed("share/zsh/site-functions/_metalora", 2, (const char *const[]){ "completion", "zsh" });
    expect_committed("share/fish/vendor_completions.d/metalora.fish", 2, (const char *const[]){ "completion", "fish" });
}
END_TEST

START_TEST(the_editors_schema_is_as_committed)
{
    expect_committed("docs/experiment.schema.json", 1, (const char *const[]){ "schema" });
}
END_TEST

static void expect_mistake(int n, const char *const *words, const char *message)
{
    const char *argv[MAX_ARGS] = { "metalora" };
    char *messages;
    size_t size;
    memcpy(argv + 1, words, (size_t)n * sizeof *argv);
    FILE *m = open_memstream(&messages, &size);
    int code = xp_cli(n + 1, argv, stdout, m);
    fclose(m);
    ck_assert_str_eq(messages, message);
    ck_assert_int_eq(code, XP_EXIT_MEND);
    free(messages);
}

START_TEST(unknown_shells_and_pages_are_told)
{
    expect_mistake(2, (const char *const[]){ "completion", "tcsh" },
                   "metalora: completion: there is none for 'tcsh'; expected bash, zsh or fish\n");
    expect_mistake(1, (const char *const[]){ "completion" },
                   "metalora: completion: SHELL is missing; expected: metalora completion SHELL\n");
    expect_mistake(2, (const char *const[]){ "manual", "data" },
                   "metalora: manual: there is no command 'data'; expected one that 'metalora --help' lists\n");
    expect_mistake(3, (const char *const[]){ "manual", "run", "x" },
                   "metalora: manual: there is no command 'run x'; expected one that 'metalora --help' lists\n");
}
END_TEST

TEST_MAIN(every_command_has_its_manual_page_and_no_page_is_left_over, a_page_names_every_option_of_its_command_and_no_other,
          no_line_of_a_page_is_taken_for_a_command_of_roff_by_accident, completion_scripts_are_as_committed,
          the_editors_schema_is_as_committed, unknown_shells_and_pages_are_told)
