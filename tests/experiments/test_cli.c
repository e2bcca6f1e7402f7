/* The command line as a user meets it: what stands on stdout, what on stderr, and the exit code. Pages of help are kept in
 * cli_help/; metalora COMMAND --help makes one anew. */
#include "experiments/cli.h"
#include "experiments/cli_options.h"
#include "experiments/cli_stop.h"
#include "experiments/config.h"
#include "experiments/results.h"
#include "experiments/run_summary.h"
#include "tests/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ARGS = 16 };

static char folder[64], home[4096];

/* A tiny experiment in an empty current folder. */
static const char tiny[] = "tasks: {source: sinusoid, shot: 5, query: 5}\n"
                           "model: {hidden: [4]}\n"
                           "outer: {meta_batch: 4, chunk: 2, iterations: 20}\n"
                           "eval: {episodes: 8, steps: 2}\n";

static void write_file(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static void enter(void)
{
    const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG", "METALORA_TRACE" };
    for (int i = 0; i < 4; i++)
        unsetenv(names[i]);
    ck_assert_ptr_nonnull(getcwd(home, sizeof home));
    strcpy(folder, "test-cli-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    write_file("tiny.yaml", tiny, strlen(tiny));
}

/* Removes the folder and checks that it held nothing but the files named (NULL at the end) and tiny.yaml. */
static void leave(const char *const *expected)
{
    ck_assert_int_eq(unlink("tiny.yaml"), 0);
    for (int i = 0; expected && expected[i]; i++)
        ck_assert_msg(remove(expected[i]) == 0, "'%s' is not there", expected[i]);
    ck_assert_int_eq(chdir(home), 0);
    ck_assert_msg(rmdir(folder) == 0, "files were left in '%s'", folder);
}

/* What a call of the program gave. */
typedef struct outcome {
    int code;
    char *out, *messages;
} outcome;

static int count(const char *const *argv)
{
    int n = 0;
    while (argv[n])
        n++;
    return n;
}

/* The words after the program's name, NULL at the end. */
static outcome call(const char *const *words)
{
    const char *argv[MAX_ARGS] = { "metalora" };
    outcome o = { 0 };
    size_t n_out, n_messages;
    int n = count(words);
    memcpy(argv + 1, words, (size_t)n * sizeof *argv);
    FILE *out = open_memstream(&o.out, &n_out), *messages = open_memstream(&o.messages, &n_messages);
    o.code = xp_cli(n + 1, argv, out, messages);
    fclose(out);
    fclose(messages);
    return o;
}

static void forget(outcome *o)
{
    free(o->out);
    free(o->messages);
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* A mistake: nothing on stdout, exactly this message, exit code 2. */
static void expect_mistake(const char *const *words, const char *message)
{
    outcome o = call(words);
    char whole[4096];
    snprintf(whole, sizeof whole, "metalora: %s\n", message);
    ck_assert_str_eq(o.messages, whole);
    ck_assert_str_eq(o.out, "");
    ck_assert_int_eq(o.code, XP_EXIT_MEND);
    forget(&o);
}

static char *read_all(const char *path)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s cannot be opened", path);
    enum { LONGEST = 1 << 16 };
    char *text = calloc(1, LONGEST + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_lt(fread(text, 1, LONGEST, f), LONGEST);
    fclose(f);
    return text;
}

/* ---- help ---- */

static const struct {
    const char *page;
    const char *words[4];
} pages[] = {
    { "metalora", { "--help" } },
    { "run", { "run", "--help" } },
    { "resume", { "resume", "--help" } },
    { "check", { "check", "--help" } },
    { "show", { "show", "--help" } },
    { "adapt", { "adapt", "--help" } },
    { "predict", { "predict", "--help" } },
    { "export", { "export", "--help" } },
    { "data", { "data", "--help" } },
    { "data-list", { "data", "list", "--help" } },
    { "data-get", { "data", "get", "--help" } },
    { "data-import", { "data", "import", "--help" } },
    { "data-verify", { "data", "verify", "--help" } },
    { "help", { "help", "--help" } },
    { "schema", { "schema", "--help" } },
    { "completion", { "completion", "--help" } },
};
enum { N_PAGE = sizeof pages / sizeof *pages };

START_TEST(every_page_of_help_is_as_kept)
{
    for (int i = 0; i < N_PAGE; i++) {
        char path[4200];
        snprintf(path, sizeof path, TEST_DIR "/cli_help/%s.txt", pages[i].page);
        char *kept = read_all(path);
        outcome o = call(pages[i].words);
        ck_assert_str_eq(o.out, kept);
        ck_assert_str_eq(o.messages, "");
        ck_assert_int_eq(o.code, XP_EXIT_DONE);
        free(kept);
        forget(&o);
    }
}
END_TEST

START_TEST(no_line_of_help_is_wider_than_a_terminal_and_all_is_ascii)
{
    for (int i = 0; i < N_PAGE; i++) {
        outcome o = call(pages[i].words);
        for (const char *line = o.out; *line; line += strcspn(line, "\n"), line += *line == '\n')
            ck_assert_msg(strcspn(line, "\n") < 80, "%s: %.*s", pages[i].page, (int)strcspn(line, "\n"), line);
        for (const char *c = o.out; *c; c++)
            ck_assert_msg((*c >= ' ' && *c < 127) || *c == '\n', "%s: byte %d", pages[i].page, (unsigned char)*c);
        forget(&o);
    }
}
END_TEST

START_TEST(help_for_a_command_is_the_same_by_every_way)
{
    outcome by[] = { call(WORDS("data", "import", "--help")), call(WORDS("help", "data", "import")),
                     call(WORDS("-h", "data", "import", "omniglot")), call(WORDS("data", "--help", "import", "--quiet")) };
    for (int i = 1; i < 4; i++) {
        ck_assert_str_eq(by[i].out, by[0].out);
        ck_assert_int_eq(by[i].code, 0);
    }
    outcome all[] = { call(WORDS("help")), call(WORDS("--help")), call(WORDS("-h")) };
    for (int i = 0; i < 3; i++)
        ck_assert_str_eq(all[i].out, all[1].out);
    for (int i = 0; i < 3; i++)
        forget(&all[i]);
    for (int i = 0; i < 4; i++)
        forget(&by[i]);
}
END_TEST

START_TEST(no_arguments_say_what_to_do_next)
{
    outcome o = call((const char *const[]){ NULL });
    ck_assert_int_eq(o.code, XP_EXIT_MEND);
    ck_assert_str_eq(o.out, "");
    ck_assert_ptr_nonnull(strstr(o.messages, "metalora run configs/quickstart.yaml"));
    ck_assert_ptr_nonnull(strstr(o.messages, "metalora --help"));
    forget(&o);
}
END_TEST

START_TEST(the_version_names_kernels_instruction_set_and_libraries)
{
    static const char *const parts[] = { "metalora " METALORA_VERSION "\n", "GEMM kernels ", "instruction set ", "float32\n",
                                         "BLIS ", "HDF5 1.", "libyaml 0.", "libzip 1.", "libspng 0.", "libsodium 1." };
    outcome o = call(WORDS("--version"));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        ck_assert_msg(strstr(o.out, parts[i]) != NULL, "'%s' is not in\n%s", parts[i], o.out);
    ck_assert_int_eq(o.code, 0);
    ck_assert_str_eq(o.messages, "");
    forget(&o);
}
END_TEST

START_TEST(the_reference_page_is_that_of_the_configuration)
{
    char *page = xp_config_reference();
    outcome o = call(WORDS("reference"));
    ck_assert_ptr_nonnull(page);
    ck_assert(strcmp(o.out, page) == 0);   /* too long to be shown */
    ag_free(page);
    forget(&o);
}
END_TEST

/* ---- the tables ---- */

START_TEST(every_option_a_command_names_is_in_the_table_and_the_other_way_round)
{
    bool taken[64] = { false };
    for (int c = 0; c < xp_cli_n_commands; c++) {
        int words = 0, found = 0;
        const xp_cli_command *command = &xp_cli_commands[c];
        for (const char *w = command->options; *w; w += strcspn(w, " "), w += *w == ' ')
            words++;
        for (int i = 0; i < xp_cli_n_options; i++)
            if (strcmp(xp_cli_options[i].name, "help") != 0 && xp_cli_takes(command, &xp_cli_options[i])) {
                found++;
                taken[i] = true;
            }
        ck_assert_msg(words == found, "%s: %d options named, %d found", command->name, words, found);
    }
    for (int i = 0; i < xp_cli_n_options; i++)
        ck_assert_msg(taken[i] || strcmp(xp_cli_options[i].name, "help") == 0 || strcmp(xp_cli_options[i].name, "version") == 0,
                      "nothing takes --%s", xp_cli_options[i].name);
}
END_TEST

START_TEST(names_and_letters_of_options_are_unique)
{
    for (int i = 0; i < xp_cli_n_options; i++)
        for (int j = 0; j < i; j++) {
            const xp_cli_option *a = &xp_cli_options[i], *b = &xp_cli_options[j];
            ck_assert_str_ne(a->name, b->name);
            ck_assert_msg(!a->letter || a->letter != b->letter, "-%c is --%s and --%s", a->letter, a->name, b->name);
        }
}
END_TEST

static xp_cli_args parse(const char *const *argv)
{
    xp_cli_args a;
    ag_error err = { 0 };
    ck_assert_msg(xp_cli_parse(&a, count(argv), argv, &err) == AG_OK, "%s", err.message);
    return a;
}

START_TEST(options_stand_anywhere_with_or_without_an_equals_sign)
{
    xp_cli_args a = parse(WORDS("metalora", "--quiet", "run", "--out=a b.h5", "--set", "inner.lr=1", "f.yaml", "--threads", "3",
                                "--set=seed=2", "-f", "--seed", "18446744073709551615"));
    ck_assert_str_eq(a.command->name, "run");
    ck_assert_int_eq(a.operands.n, 1);
    ck_assert_str_eq(a.operands.at[0], "f.yaml");
    ck_assert_str_eq(a.out, "a b.h5");
    ck_assert_int_eq(a.threads, 3);
    ck_assert_int_eq(a.set.n, 2);
    ck_assert_str_eq(a.set.at[0], "inner.lr=1");
    ck_assert_str_eq(a.set.at[1], "seed=2");
    ck_assert_str_eq(a.seed, "18446744073709551615");
    ck_assert(a.quiet && a.force && !a.json && !a.help);
    xp_cli_args_release(&a);
}
END_TEST

START_TEST(the_last_value_counts_and_two_dashes_end_the_options)
{
    xp_cli_args a = parse(WORDS("metalora", "run", "-o", "a.h5", "-o", "b.h5", "--", "--odd.yaml"));
    ck_assert_str_eq(a.out, "b.h5");
    ck_assert_str_eq(a.operands.at[0], "--odd.yaml");
    xp_cli_args_release(&a);
    a = parse(WORDS("metalora", "show", "-"));
    ck_assert_str_eq(a.operands.at[0], "-");
    xp_cli_args_release(&a);
}
END_TEST

/* ---- mistakes ---- */

START_TEST(mistaken_words_get_the_nearest_valid_one)
{
    expect_mistake(WORDS("rnu", "a.yaml"), "there is no command 'rnu'; did you mean 'run'?");
    expect_mistake(WORDS("shwo"), "there is no command 'shwo'; did you mean 'show'?");
    expect_mistake(WORDS("xyzzy"), "there is no command 'xyzzy'; expected one of run, resume, check, show, adapt, predict, export, data, help, "
                                  "schema, completion");
    expect_mistake(WORDS(""), "there is no command ''; expected one of run, resume, check, show, adapt, predict, export, data, help, "
                                  "schema, completion");
    expect_mistake(WORDS("version"), "there is no command 'version'; did you mean '--version'?");
    expect_mistake(WORDS("a.yaml"), "there is no command 'a.yaml'; did you mean 'metalora run a.yaml'?");
    expect_mistake(WORDS("data"), "data: a command of it is missing; expected metalora data followed by one of list, get, "
                                  "import, verify");
    expect_mistake(WORDS("data", "improt"), "there is no command 'data improt'; did you mean 'data import'?");
    expect_mistake(WORDS("data", "xyzzy"), "there is no command 'data xyzzy'; expected one of list, get, import, verify");
    expect_mistake(WORDS("help", "shwo"), "there is no command 'shwo'; did you mean 'show'?");
    expect_mistake(WORDS("run", "a.yaml", "--thread", "2"), "run: there is no option '--thread'; did you mean '--threads'?");
    expect_mistake(WORDS("run", "a.yaml", "-threads=2"), "run: there is no option '-threads'; did you mean '--threads'?");
    expect_mistake(WORDS("--jsn"), "there is no option '--jsn'; did you mean '--json'?");
    expect_mistake(WORDS("show", "-x"), "show: there is no option '-x'; expected one of --json, --help");
    expect_mistake(WORDS("show", "a.h5", "--threads", "2"), "show: '--threads' is an option of other commands; show takes "
                                                            "--json, --help");
}
END_TEST

START_TEST(missing_and_superfluous_arguments_are_told)
{
    expect_mistake(WORDS("run"), "run: FILE.yaml is missing; expected: metalora run FILE.yaml");
    expect_mistake(WORDS("data", "import", "omniglot"), "data import: DIR is missing; expected: metalora data import SOURCE DIR");
    expect_mistake(WORDS("show", "a.h5", "b.h5"), "show: 'b.h5' is one argument too many; expected: metalora show FILE.h5");
    expect_mistake(WORDS("data", "list", "x"), "data list: 'x' is one argument too many; expected: metalora data list");
    expect_mistake(WORDS("run", "a.yaml", "--out"), "--out: its value is missing; expected --out FILE.h5");
    expect_mistake(WORDS("run", "a.yaml", "--out", "--json"), "--out: its value is missing; expected --out FILE.h5");
    expect_mistake(WORDS("run", "a.yaml", "--out="), "--out: nothing; expected FILE.h5");
    expect_mistake(WORDS("run", "a.yaml", "--json=1"), "--json takes no value; '1' was given");
}
END_TEST

START_TEST(threads_and_seed_must_be_whole_numbers_in_their_range)
{
    static const char *const bad_threads[] = { "0", "-1", "abc", "2x", " 2", "+2", "1.5", "1025", "99999999999999999999" };
    static const char *const bad_seeds[] = { "-1", "abc", "1x", " 1", "+1", "1.5", "18446744073709551616" };
    char message[200];
    for (size_t i = 0; i < sizeof bad_threads / sizeof *bad_threads; i++) {
        snprintf(message, sizeof message, "--threads: '%s'; expected a whole number from 1 to 1024", bad_threads[i]);
        expect_mistake(WORDS("run", "a.yaml", "--threads", bad_threads[i]), message);
    }
    for (size_t i = 0; i < sizeof bad_seeds / sizeof *bad_seeds; i++) {
        snprintf(message, sizeof message, "--seed: '%s'; expected a whole number from 0 to 18446744073709551615", bad_seeds[i]);
        expect_mistake(WORDS("run", "a.yaml", "--seed", bad_seeds[i]), message);
    }
}
END_TEST

START_TEST(control_characters_of_arguments_do_not_reach_the_terminal)
{
    expect_mistake(WORDS("\033[31mred\xc2\x9b\x7f"), "there is no command '?[31mred?\?'; expected one of run, resume, check, show, adapt, predict, export, data, "
                                                     "help, schema, completion");
}
END_TEST

START_TEST(the_trail_is_shown_on_request_only)
{
    setenv("METALORA_TRACE", "1", 1);
    outcome o = call(WORDS("run", "no.yaml"));
    ck_assert_ptr_nonnull(strstr(o.messages, "metalora: no.yaml: No such file or directory; expected an experiment's YAML file\n"));
    ck_assert_ptr_nonnull(strstr(o.messages, "metalora: trace: EIO in "));
    ck_assert_ptr_nonnull(strstr(o.messages, "xp_cli_run"));
    forget(&o);
    unsetenv("METALORA_TRACE");
    expect_mistake(WORDS("run", "no.yaml"), "no.yaml: No such file or directory; expected an experiment's YAML file");
}
END_TEST

/* ---- check ---- */

START_TEST(input_files_that_cannot_be_read_are_for_the_user_to_mend)
{
    enter();
    write_file("empty", "", 0);
    write_file("locked.yaml", tiny, strlen(tiny));
    ck_assert_int_eq(chmod("locked.yaml", 0), 0);
    expect_mistake(WORDS("check", "no.yaml"), "no.yaml: No such file or directory; expected an experiment's YAML file");
    expect_mistake(WORDS("check", "."), ".: is a folder; expected an experiment's YAML file");
    expect_mistake(WORDS("show", "no.h5"), "cannot open the result file 'no.h5': No such file or directory");
    expect_mistake(WORDS("show", "."), "'.' is not a file; expected a run's result file");
    expect_mistake(WORDS("show", "empty"), "'empty' cannot be read as an HDF5 file: it does not begin like one");
    expect_mistake(WORDS("show", "tiny.yaml"), "'tiny.yaml' cannot be read as an HDF5 file: it does not begin like one");
    if (geteuid() != 0)   /* nothing is locked for root */
        expect_mistake(WORDS("check", "locked.yaml"), "locked.yaml: Permission denied; expected an experiment's YAML file");
    leave((const char *const[]){ "empty", "locked.yaml", NULL });
}
END_TEST

START_TEST(mistakes_of_a_configuration_are_shown_in_place)
{
    static const char wrong[] = "tasks:\n  source: sinusoid\ninner:\n  stps: 3\n";
    enter();
    write_file("wrong.yaml", wrong, strlen(wrong));
    expect_mistake(WORDS("check", "wrong.yaml"), "wrong.yaml:4:3: unknown key 'inner.stps'; did you mean 'inner.steps'?\n"
                                                 "      stps: 3\n"
                                                 "      ^~~~");
    expect_mistake(WORDS("check", "tiny.yaml", "--set", "inner.stps=3"),
                   "--set inner.stps=3: unknown key 'inner.stps'; did you mean 'inner.steps'?");
    expect_mistake(WORDS("run", "tiny.yaml", "--set", "inner.lr=-1"),
                   "--set inner.lr=-1: inner.lr is '-1'; expected a number in (0, 1e3]");
    expect_mistake(WORDS("run", "tiny.yaml", "--set", "foo"),
                   "--set foo: not an override; expected KEY=VALUE, such as inner.lr=0.4");
    leave((const char *const[]){ "wrong.yaml", NULL });
}
END_TEST

START_TEST(a_good_configuration_is_ok_and_printed_so_that_it_reads_back)
{
    xp_config before, after;
    enter();
    outcome o = call(WORDS("check", "tiny.yaml"));
    ck_assert_str_eq(o.out, "tiny.yaml: ok\n");
    ck_assert_str_eq(o.messages, "");
    ck_assert_int_eq(o.code, 0);
    forget(&o);
    o = call(WORDS("check", "tiny.yaml", "--print-config", "--set", "seed=3", "--seed", "0010"));
    ck_assert_ptr_nonnull(strstr(o.out, "seed: 10   # --set seed=10\n"));   /* the option wins, and is decimal */
    const char *const sets[] = { "seed=10" };
    ck_assert_int_eq(xp_config_load(&before, "tiny.yaml", 1, sets, NULL), AG_OK);
    ck_assert_int_eq(xp_config_parse(&after, o.out, strlen(o.out), "printed", 0, NULL, NULL), AG_OK);
    ck_assert_str_eq(before.resolved, after.resolved);
    xp_config_release(&before);
    xp_config_release(&after);
    forget(&o);
    leave(NULL);
}
END_TEST

START_TEST(a_seed_of_zeros_is_zero)
{
    enter();
    outcome o = call(WORDS("check", "tiny.yaml", "--print-config", "--seed", "000"));
    ck_assert_ptr_nonnull(strstr(o.out, "seed: 0   # --set seed=0\n"));
    forget(&o);
    leave(NULL);
}
END_TEST

/* ---- run and show ---- */

START_TEST(a_run_writes_its_file_and_prints_its_table)
{
    enter();
    outcome o = call(WORDS("run", "tiny.yaml"));
    ck_assert_msg(o.code == XP_EXIT_DONE, "%s", o.messages);
    ck_assert_ptr_nonnull(strstr(o.messages, "metalora: wrote tiny.h5\n"));
    outcome again = call(WORDS("show", "tiny.h5"));
    ck_assert_str_eq(o.out, again.out);
    ck_assert_ptr_nonnull(strstr(o.out, "tiny: complete"));
    ck_assert_ptr_nonnull(strstr(o.out, "8 test episodes"));
    forget(&o);
    forget(&again);
    leave((const char *const[]){ "tiny.h5", NULL });
}
END_TEST

START_TEST(an_existing_result_file_stays_unless_forced)
{
    enter();
    write_file("tiny.h5", "precious", 8);
    expect_mistake(WORDS("run", "tiny.yaml"),
                   "the result file 'tiny.h5' exists; name another with --out, or replace it with --force");
    char *kept = read_all("tiny.h5");
    ck_assert_str_eq(kept, "precious");
    free(kept);
    outcome o = call(WORDS("run", "tiny.yaml", "--force", "--quiet"));
    ck_assert_msg(o.code == XP_EXIT_DONE, "%s", o.messages);
    ck_assert_str_eq(o.out, "");
    ck_assert_str_eq(o.messages, "");
    forget(&o);
    o = call(WORDS("show", "tiny.h5"));
    ck_assert_int_eq(o.code, 0);
    forget(&o);
    leave((const char *const[]){ "tiny.h5", NULL });
}
END_TEST

START_TEST(a_result_file_that_cannot_be_made_stops_the_run_before_it_begins)
{
    enter();
    expect_mistake(WORDS("run", "tiny.yaml", "--out", "no/tiny.h5"),
                   "result file 'no/tiny.h5': the folder 'no' does not exist; create it or name another");
    outcome o = call(WORDS("run", "tiny.yaml", "--out", ".", "--force"));
    ck_assert_int_eq(o.code, XP_EXIT_MEND);
    ck_assert_str_eq(o.out, "");
    forget(&o);
    leave(NULL);
}
END_TEST

START_TEST(not_even_force_replaces_what_is_no_file)
{
    struct stat st;
    enter();
    ck_assert_int_eq(mkfifo("pipe", 0600), 0);
    expect_mistake(WORDS("run", "tiny.yaml", "--out", "pipe", "--force"),
                   "result file 'pipe': that is a device, pipe or socket; expected the name of a file");
    ck_assert_int_eq(stat("pipe", &st), 0);
    ck_assert(S_ISFIFO(st.st_mode));
    leave((const char *const[]){ "pipe", NULL });
}
END_TEST

/* The value of "digest" in a run's JSON. */
static void digest_of(const char *json, char hex[65])
{
    const char *at = strstr(json, "\"digest\":\"");
    ck_assert_msg(at != NULL, "no digest in %s", json);
    snprintf(hex, 65, "%s", at + strlen("\"digest\":\""));
    ck_assert_uint_eq(strspn(hex, "0123456789abcdef"), 64);
}

START_TEST(json_is_alone_on_stdout_and_bits_do_not_depend_on_threads)
{
    char one[65], three[65], other[65];
    enter();
    outcome o = call(WORDS("run", "tiny.yaml", "--threads", "1", "--json", "-o", "1.h5"));
    ck_assert_msg(o.code == XP_EXIT_DONE, "%s", o.messages);
    ck_assert(o.out[0] == '{' && strcmp(strchr(o.out, '\n'), "\n") == 0);
    digest_of(o.out, one);
    forget(&o);
    o = call(WORDS("run", "tiny.yaml", "--threads", "3", "--json", "--quiet", "-o", "3.h5"));
    ck_assert_str_eq(o.messages, "");
    digest_of(o.out, three);
    forget(&o);
    o = call(WORDS("run", "tiny.yaml", "--seed", "9", "--json", "-o", "9.h5"));
    digest_of(o.out, other);
    forget(&o);
    ck_assert_str_eq(one, three);
    ck_assert_str_ne(one, other);
    leave((const char *const[]){ "1.h5", "3.h5", "9.h5", NULL });
}
END_TEST

START_TEST(more_threads_than_cores_are_allowed_with_a_note)
{
    enter();
    char threads[24], note[64];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    snprintf(threads, sizeof threads, "%ld", cores + 1);
    snprintf(note, sizeof note, "metalora: note: %ld threads on %ld core", cores + 1, cores);
    outcome o = call(WORDS("run", "tiny.yaml", "--threads", threads));
    ck_assert_msg(o.code == XP_EXIT_DONE, "%s", o.messages);
    ck_assert_ptr_nonnull(strstr(o.messages, note));
    forget(&o);
    leave((const char *const[]){ "tiny.h5", NULL });
}
END_TEST

START_TEST(the_file_keeps_a_command_line_that_can_be_typed_again)
{
    enter();
    outcome o = call(WORDS("run", "tiny.yaml", "-o", "it's.h5", "-q", "--set", "model.hidden=[4, 5]"));
    ck_assert_msg(o.code == XP_EXIT_DONE, "%s", o.messages);
    forget(&o);
    FILE *f = fopen("it's.h5", "rb");
    char *bytes = calloc(1, 1 << 20);
    size_t n = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    static const char line[] = "metalora run tiny.yaml -o 'it'\\''s.h5' -q --set 'model.hidden=[4, 5]'";
    bool found = false;
    for (size_t i = 0; i + strlen(line) <= n; i++)
        found |= memcmp(bytes + i, line, strlen(line)) == 0;
    ck_assert(found);
    free(bytes);
    leave((const char *const[]){ "it's.h5", NULL });
}
END_TEST

START_TEST(a_result_that_cannot_be_printed_is_a_failure)
{
    char *message;
    size_t n;
    FILE *full = fopen("/dev/full", "w"), *messages = open_memstream(&message, &n);
    if (full) {
        int code = xp_cli(2, WORDS("metalora", "--help"), full, messages);
        fclose(messages);
        ck_assert_int_eq(code, XP_EXIT_FAILED);
        ck_assert_str_eq(message, "metalora: the result cannot be written to stdout: No space left on device\n");
        free(message);
        fclose(full);
    }
}
END_TEST

/* ---- signals ---- */

/* Waits until the run has begun: its file is there. */
static void wait_for_run(void)
{
    for (int tries = 0; tries < 6000; tries++) {
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
        if (access("tiny.h5", F_OK) == 0)
            return;
    }
    ck_abort_msg("the run did not begin");
}

static pid_t start_long_run(const char *messages)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return pid;
    alarm(120);
    signal(SIGINT, SIG_DFL);   /* a shell starts what is in the background with SIGINT ignored */
    FILE *out = fopen("out", "w"), *text = fopen(messages, "w");
    int code = xp_cli(5, WORDS("metalora", "run", "tiny.yaml", "--set", "outer.iterations=100000000"), out, text);
    fclose(out);
    fclose(text);
    _exit(code);
}

static void expect_stop(int signal, int code, const char *message)
{
    int status;
    xp_run run;
    enter();
    pid_t pid = start_long_run("messages");
    wait_for_run();
    nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
    ck_assert_int_eq(kill(pid, signal), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    char *messages = read_all("messages");
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == code, "status %x, %s", (unsigned)status, messages);
    ck_assert_ptr_nonnull(strstr(messages, message));
    free(messages);
    ck_assert_int_eq(xp_run_read(&run, "tiny.h5", NULL), AG_OK);
    ck_assert_str_eq(run.status, "interrupted");
    ck_assert_int_gt(run.train.n, 0);
    xp_run_release(&run);
    leave((const char *const[]){ "tiny.h5", "tiny.h5.journal", "tiny.h5.ckpt", "out", "messages", NULL });
}

START_TEST(an_interrupted_run_saves_and_exits_130)
{
    expect_stop(SIGINT, 130, "metalora: stopped by SIGINT (Ctrl-C); what was done is in tiny.h5; to go on: metalora resume tiny.h5\n");
}
END_TEST

START_TEST(a_terminated_run_saves_and_exits_143)
{
    expect_stop(SIGTERM, 143, "metalora: stopped by SIGTERM; what was done is in tiny.h5; to go on: metalora resume tiny.h5\n");
}
END_TEST

START_TEST(a_second_signal_ends_the_process_at_once)
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        const atomic_int *stop = xp_cli_stop_begin();
        if (*stop != 0)
            _exit(1);
        raise(SIGINT);
        if (*stop != SIGINT || xp_cli_stop_signal() != SIGINT)
            _exit(2);
        raise(SIGTERM);
        _exit(3);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "status %x", (unsigned)status);
}
END_TEST

START_TEST(a_signal_ignored_from_the_start_stays_ignored)
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        signal(SIGINT, SIG_IGN);
        const atomic_int *stop = xp_cli_stop_begin();
        raise(SIGINT);
        _exit(*stop != 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}
END_TEST

/* ---- data ---- */

START_TEST(sources_without_published_data_are_told_apart_from_unknown_ones)
{
    expect_mistake(WORDS("data", "verify", "sinusoid"), "sinusoid makes its tasks itself: there is nothing to get, import or verify");
    expect_mistake(WORDS("data", "get", "clinc150"), "clinc150 is read from its files as they are: there is nothing to get, import or verify");
    expect_mistake(WORDS("data", "verify", "mnist"), "there is no source or model 'mnist' with published data; "
                   "expected one of omniglot, minilm, smollm2");
    expect_mistake(WORDS("data", "verify", "omniglot", "--cache-dir", "no"),
                   "omniglot is not imported: there is no no/omniglot-28x28.bin; see 'metalora data get --help' and 'metalora "
                   "data import --help'");
    expect_mistake(WORDS("data", "verify", "omniglot", "--data-dir", "no", "--cache-dir", "no"),
                   "no: there is no images_background.zip, nor in no/omniglot; expected the folder that holds Omniglot's "
                   "images_background.zip and images_evaluation.zip");
    expect_mistake(WORDS("data", "get", "mnist"), "there is no source or model 'mnist' with published data; "
                   "expected one of omniglot, minilm, smollm2");
    expect_mistake(WORDS("data", "import", "omniglot", "no", "-q"),
                   "no: there is no images_background.zip, nor in no/omniglot; expected the folder that holds Omniglot's "
                   "images_background.zip and images_evaluation.zip");
}
END_TEST

START_TEST(getting_data_without_network_names_what_is_needed)
{
    enter();
    setenv("METALORA_OMNIGLOT_URL", "https://127.0.0.1:9/mirror", 1);
    expect_mistake(WORDS("data", "get", "omniglot", "--offline", "--cache-dir", "no", "--data-dir", "here"),
                   "omniglot: --offline was given, and this is not here: https://127.0.0.1:9/mirror/images_background.zip and "
                   "https://127.0.0.1:9/mirror/images_evaluation.zip (both archives together have 16 MB). Fetch it where there "
                   "is a network, put it into here, and give the same command again");
    outcome o = call(WORDS("data", "get", "omniglot", "-q", "--cache-dir", "no", "--data-dir", "here"));
    ck_assert_int_eq(o.code, XP_EXIT_FAILED);
    ck_assert_msg(strstr(o.messages, "127.0.0.1:9/mirror/images_background.zip: ") != NULL, "%s", o.messages);
    forget(&o);
    unsetenv("METALORA_OMNIGLOT_URL");
    leave((const char *const[]){ "here", NULL });
}
END_TEST

START_TEST(the_list_of_sources_says_what_is_ready)
{
    enter();
    outcome o = call(WORDS("data", "list", "--cache-dir", "."));
    ck_assert_ptr_nonnull(strstr(o.out, "\n  lora-linear "));
    ck_assert_ptr_nonnull(strstr(o.out, "ready: makes its tasks itself\n"));
    ck_assert_ptr_nonnull(strstr(o.out, "not there\n                to download 16 MB:         metalora data get omniglot\n"));
    forget(&o);
    write_file("omniglot-28x28.bin", "half", 4);
    o = call(WORDS("data", "list", "--cache-dir", "."));
    ck_assert_ptr_nonnull(strstr(o.out, "spoilt: ./omniglot-28x28.bin: cut short"));
    forget(&o);
    leave((const char *const[]){ "omniglot-28x28.bin", NULL });
}
END_TEST

START_TEST(the_real_data_are_imported_listed_and_verified)
{
    const char *data = getenv("METALORA_DATA");
    if (!data)
        return;
    enter();
    outcome o = call(WORDS("data", "import", "omniglot", data, "--cache-dir", "cache"));
    ck_assert_msg(o.code == XP_EXIT_DONE, "%s", o.messages);
    ck_assert_ptr_nonnull(strstr(o.out, "1623 characters x 20 drawings"));
    forget(&o);
    o = call(WORDS("data", "list", "--cache-dir", "cache"));
    ck_assert_ptr_nonnull(strstr(o.out, "ready: cache/omniglot-28x28.bin, 25.4 MB, of the data with digest 9b5b485f805e...\n"));
    forget(&o);
    o = call(WORDS("data", "verify", "omniglot", "--cache-dir", "cache", "--data-dir", data));
    ck_assert_msg(o.code == XP_EXIT_DONE, "%s", o.messages);
    ck_assert_ptr_nonnull(strstr(o.out, "1623 characters x 20 drawings verified (digest "));
    ck_assert_ptr_nonnull(strstr(o.out, "1623 characters x 20 drawings are intact"));
    forget(&o);
    o = call(WORDS("data", "get", "omniglot", "--offline", "--cache-dir", "cache"));
    ck_assert_str_eq(o.out, "omniglot: nothing to get: it is packed in cache/omniglot-28x28.bin\n");
    forget(&o);
    leave((const char *const[]){ "cache/omniglot-28x28.bin", "cache", NULL });
}
END_TEST

/* ---- memory ---- */

static long allocations_left;

static void *failing_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    return allocations_left-- == 0 ? NULL : aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void failing_release(void *p, void *ctx)
{
    (void)ctx;
    free(p);
}

/* Makes the n-th allocation fail for n = 0, 1, ... until the call succeeds. */
static void starve(const char *const *words)
{
    static const ag_allocator failing = { failing_alloc, failing_release, NULL };
    int code = XP_EXIT_FAILED;
    for (long n = 0; code != XP_EXIT_DONE; n++) {
        ck_assert_msg(n < 100000, "'%s' never succeeds", words[0]);
        allocations_left = n;
        ag_set_allocator(&failing);
        outcome o = call(words);
        ag_set_allocator(NULL);
        code = o.code;
        ck_assert_msg(code != XP_EXIT_DONE || allocations_left >= 0, "'%s' succeeds without its allocation %ld", words[0], n);
        ck_assert_msg(code == XP_EXIT_DONE || strstr(o.messages, "memory"), "'%s': %s", words[0], o.messages);
        forget(&o);
    }
}

START_TEST(any_allocation_may_fail)
{
    enter();
    outcome o = call(WORDS("run", "tiny.yaml", "-q"));
    ck_assert_int_eq(o.code, XP_EXIT_DONE);
    forget(&o);
    starve(WORDS("--help"));
    starve(WORDS("--version"));
    starve(WORDS("help", "run"));
    starve(WORDS("check", "tiny.yaml", "--set", "seed=1", "--seed", "2"));
    starve(WORDS("show", "tiny.h5", "--json"));
    starve(WORDS("data", "list"));
    starve(WORDS("reference"));
    starve(WORDS("schema"));
    starve(WORDS("manual"));
    starve(WORDS("manual", "data", "import"));
    starve(WORDS("completion", "bash"));
    starve(WORDS("completion", "zsh"));
    starve(WORDS("completion", "fish"));
    leave((const char *const[]){ "tiny.h5", NULL });
}
END_TEST

TEST_MAIN(every_page_of_help_is_as_kept, no_line_of_help_is_wider_than_a_terminal_and_all_is_ascii,
          help_for_a_command_is_the_same_by_every_way, no_arguments_say_what_to_do_next,
          the_version_names_kernels_instruction_set_and_libraries, the_reference_page_is_that_of_the_configuration,
          every_option_a_command_names_is_in_the_table_and_the_other_way_round, names_and_letters_of_options_are_unique,
          options_stand_anywhere_with_or_without_an_equals_sign, the_last_value_counts_and_two_dashes_end_the_options,
          mistaken_words_get_the_nearest_valid_one, missing_and_superfluous_arguments_are_told,
          threads_and_seed_must_be_whole_numbers_in_their_range, control_characters_of_arguments_do_not_reach_the_terminal,
          the_trail_is_shown_on_request_only, input_files_that_cannot_be_read_are_for_the_user_to_mend,
          mistakes_of_a_configuration_are_shown_in_place, a_good_configuration_is_ok_and_printed_so_that_it_reads_back,
          a_seed_of_zeros_is_zero, a_run_writes_its_file_and_prints_its_table, an_existing_result_file_stays_unless_forced,
          a_result_file_that_cannot_be_made_stops_the_run_before_it_begins,
          not_even_force_replaces_what_is_no_file, json_is_alone_on_stdout_and_bits_do_not_depend_on_threads, more_threads_than_cores_are_allowed_with_a_note,
          the_file_keeps_a_command_line_that_can_be_typed_again, a_result_that_cannot_be_printed_is_a_failure,
          an_interrupted_run_saves_and_exits_130, a_terminated_run_saves_and_exits_143,
          a_second_signal_ends_the_process_at_once, a_signal_ignored_from_the_start_stays_ignored,
          sources_without_published_data_are_told_apart_from_unknown_ones, getting_data_without_network_names_what_is_needed, the_list_of_sources_says_what_is_ready, the_real_data_are_imported_listed_and_verified,
          any_allocation_may_fail)
