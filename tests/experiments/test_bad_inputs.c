/* Bad input, one row each, given to the real program: the exit code, what the message says, and that no file was left or
 * half-written. With METALORA_TABLE=FILE the rows and their whole messages are written there as a table. */
#include "tests/check.h"

#include <dirent.h>
#include <spng.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zip.h>

enum { MAX_WORDS = 12, TEXT_MAX = 8192, BIG = 100 << 20 };

static char folder[64], home[4096];

/* ---- the inputs ---- */

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static void write_text(const char *path, const char *text)
{
    write_file(path, text, strlen(text));
}

/* A hole of 100 MB behind the first bytes. */
static void write_big(const char *path, const char *first)
{
    write_text(path, first);
    ck_assert_int_eq(truncate(path, BIG), 0);
}

static void write_binary(const char *path)
{
    unsigned char bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * i * 31 + 0x89);
    write_file(path, bytes, sizeof bytes);
}

static unsigned char *make_png(uint32_t side, size_t *n)
{
    unsigned char bits[105 * 14] = { 0x55, 0xaa };
    spng_ctx *ctx = spng_ctx_new(SPNG_CTX_ENCODER);
    struct spng_ihdr h = { .width = side, .height = side, .bit_depth = 1 };
    int status = 0;
    spng_set_option(ctx, SPNG_ENCODE_TO_BUFFER, 1);
    spng_set_ihdr(ctx, &h);
    ck_assert_int_eq(spng_encode_image(ctx, bits, (side + 7) / 8 * side, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
    unsigned char *png = spng_get_png_buffer(ctx, n, &status);
    spng_ctx_free(ctx);
    return png;
}

/* As many characters and drawings as Omniglot's archive, every drawing the same PNG. */
static void write_archive(const char *path, int characters, uint32_t side)
{
    int status;
    size_t n;
    unsigned char *png = make_png(side, &n);
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &status);
    ck_assert_ptr_nonnull(zip);
    for (int i = 0; i < characters * 20; i++) {
        char name[80];
        snprintf(name, sizeof name, "%.17s/Alphabet/character%04d/%04d.png", strrchr(path, '/') + 1, i / 20, i % 20);
        zip_int64_t index = zip_file_add(zip, name, zip_source_buffer(zip, png, n, 0), 0);
        ck_assert_int_ge(index, 0);
        zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0);
    }
    ck_assert_int_eq(zip_close(zip), 0);
    free(png);
}

/* A folder of both archives; side: of the drawings. */
static void make_archives(const char *dir, uint32_t side)
{
    char path[100];
    ck_assert_int_eq(mkdir(dir, 0755), 0);
    snprintf(path, sizeof path, "%s/images_background.zip", dir);
    write_archive(path, 964, side);
    snprintf(path, sizeof path, "%s/images_evaluation.zip", dir);
    write_archive(path, 659, side);
}

static void spoil_byte(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
    int byte = fgetc(f);
    ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
    fputc(byte ^ 0xff, f);
    fclose(f);
}

#define HEAD "tasks: {source: sinusoid, shot: 5, query: 5}\n"

static void make_inputs(void)
{
    struct stat st;
    write_text("good.yaml", HEAD "model: {hidden: [4]}\nouter: {meta_batch: 2, chunk: 2, iterations: 5}\neval: {episodes: 4, steps: 1}\n");
    write_text("images.yaml", "tasks: {source: omniglot, way: 5, shot: 1, query: 5}\nmodel: {kind: conv4}\n");
    write_text("types.yaml", HEAD "inner:\n  steps: many\n");
    write_text("list.yaml", HEAD "inner:\n  lr: [0.1]\n");
    write_text("section.yaml", HEAD "inner: 0.1\n");
    write_text("unknown.yaml", HEAD "inner:\n  stps: 3\n");
    write_text("bomb.yaml", "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
                            "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
                            "e: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n");
    write_text("empty.yaml", "");
    write_text("empty.h5", "");
    write_binary("binary.yaml");
    write_binary("binary.h5");
    write_big("big.yaml", "seed: 1\n");
    write_big("big.h5", "\211HDF\r\n\032\n");
    write_text("locked.yaml", HEAD);
    write_text("locked.h5", "");
    ck_assert_int_eq(chmod("locked.yaml", 0) | chmod("locked.h5", 0), 0);
    ck_assert_int_eq(mkdir("folder.yaml", 0755) | mkdir("folder.h5", 0755), 0);
    make_archives("small", 28);
    make_archives("damaged", 105);
    spoil_byte("damaged/images_background.zip", 100);   /* within the first drawing */
    make_archives("truncated", 28);
    ck_assert_int_eq(stat("truncated/images_background.zip", &st), 0);
    ck_assert_int_eq(truncate("truncated/images_background.zip", st.st_size / 2), 0);
    ck_assert_int_eq(mkdir("binary", 0755) | mkdir("big", 0755), 0);
    write_binary("binary/images_background.zip");
    write_binary("binary/images_evaluation.zip");
    write_big("big/images_background.zip", "PK\003\004");
    write_big("big/images_evaluation.zip", "PK\003\004");
}

static void setup(void)
{
    const char *const unset[] = { "METALORA_DATA", "METALORA_TRACE", "LC_ALL", "LC_CTYPE", "LANG" };
    for (int i = 0; i < 5; i++)
        unsetenv(unset[i]);
    char here[5000];
    ck_assert_ptr_nonnull(getcwd(home, sizeof home));
    strcpy(folder, "test-bad-inputs-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    snprintf(here, sizeof here, "%s/%s", home, folder);
    setenv("XDG_CACHE_HOME", here, 1);
    setenv("HOME", here, 1);
    make_inputs();
}

/* ---- what is there ---- */

/* Removes (or only adds to a digest the names and sizes of) what is below the folder. */
static uint64_t walk(const char *path, bool delete)
{
    uint64_t sum = 0;
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        char name[600];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        ck_assert_int_eq(lstat(name, &st), 0);
        uint64_t hash = 14695981039346656037u;
        for (const char *s = name; *s; s++)
            hash = (hash ^ (unsigned char)*s) * 1099511628211u;
        sum += hash * (uint64_t)(S_ISDIR(st.st_mode) ? 1 : st.st_size + 2) + (uint64_t)st.st_mtime;
        if (S_ISDIR(st.st_mode))
            sum += walk(name, delete);
        if (delete)
            remove(name);
    }
    closedir(dir);
    return sum;
}

static void teardown(void)
{
    walk(".", true);
    ck_assert_int_eq(chdir(home), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}

/* ---- running the program ---- */

/* Permissions count for root too, once these are gone from what an executed program can have. */
static bool become_ordinary(void)
{
    enum { DAC_OVERRIDE = 1, DAC_READ_SEARCH = 2 };
    return geteuid() != 0 || (prctl(PR_CAPBSET_DROP, DAC_OVERRIDE, 0, 0, 0) == 0 && prctl(PR_CAPBSET_DROP, DAC_READ_SEARCH, 0, 0, 0) == 0);
}

static void child(const char *const *words, bool ordinary, FILE *out, FILE *messages)
{
    const char *argv[MAX_WORDS + 2] = { "metalora" };
    for (int i = 0; words[i]; i++)
        argv[i + 1] = words[i];
    if ((ordinary && !become_ordinary()) || dup2(fileno(out), 1) < 0 || dup2(fileno(messages), 2) < 0)
        _exit(126);
    execv(METALORA_PROGRAM, (char *const *)(uintptr_t)argv);
    _exit(127);
}

static size_t read_stream(FILE *f, char text[TEXT_MAX])
{
    rewind(f);
    size_t n = fread(text, 1, TEXT_MAX - 1, f);
    text[n] = '\0';
    fclose(f);
    return n;
}

/* Exit code; 128 + signal. */
static int run(const char *const *words, bool ordinary, char out[TEXT_MAX], char messages[TEXT_MAX])
{
    int status;
    FILE *o = tmpfile(), *m = tmpfile();
    ck_assert(o && m);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        child(words, ordinary, o, m);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    read_stream(o, out);
    read_stream(m, messages);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- the list ---- */

typedef struct row {
    const char *what;
    const char *words[MAX_WORDS];
    const char *says[3];             /* parts of the message */
    bool ordinary;                   /* not as root */
} row;

#define SET(...) { "run", "good.yaml", "--set", __VA_ARGS__ }
#define IMAGES(...) { "run", "images.yaml", "--set", __VA_ARGS__ }
#define IMPORT(dir) { "data", "import", "omniglot", dir, "--quiet" }

static const row rows[] = {
    { "missing configuration", { "run", "missing.yaml" }, { "missing.yaml: No such file or directory", "expected" }, false },
    { "missing result file", { "show", "missing.h5" }, { "missing.h5", "No such file or directory" }, false },
    { "missing result file", { "resume", "missing.h5" }, { "missing.h5", "No such file" }, false },
    { "missing archive", IMPORT("."), { "there is no images_background.zip", "expected" }, false },
    { "missing folder of archives", IMPORT("missing"), { "missing: ", "images_background.zip", "expected" }, false },
    { "missing data", { "run", "images.yaml", "--quiet" }, { "Omniglot is not ready", "metalora data import omniglot DIR" }, false },
    { "directory instead of a configuration", { "run", "folder.yaml" }, { "folder.yaml: is a folder", "expected" }, false },
    { "directory instead of a result file", { "show", "folder.h5" }, { "'folder.h5' is not a file", "expected" }, false },
    { "directory instead of a result file", { "resume", "folder.h5" }, { "folder.h5" }, false },
    { "directory as output", { "run", "good.yaml", "--out", "folder.h5", "--force", "-q" }, { "folder.h5" }, false },
    { "unreadable configuration", { "run", "locked.yaml" }, { "locked.yaml: Permission denied", "expected" }, true },
    { "unreadable result file", { "show", "locked.h5" }, { "locked.h5", "Permission denied" }, true },
    { "empty configuration", { "run", "empty.yaml" }, { "empty.yaml:1:1", "the file is empty", "expected" }, false },
    { "empty result file", { "show", "empty.h5" }, { "empty.h5" }, false },
    { "empty result file", { "resume", "empty.h5" }, { "empty.h5" }, false },
    { "binary configuration", { "run", "binary.yaml" }, { "binary.yaml:1:", "expected YAML in UTF-8" }, false },
    { "binary result file", { "show", "binary.h5" }, { "binary.h5" }, false },
    { "binary result file", { "resume", "binary.h5" }, { "binary.h5" }, false },
    { "binary archive", IMPORT("binary"), { "binary/images_background.zip: cannot be opened as a zip archive" }, false },
    { "100 MB configuration", { "run", "big.yaml" }, { "big.yaml: more than 1048576 bytes", "expected" }, false },
    { "100 MB result file", { "show", "big.h5" }, { "big.h5" }, false },
    { "100 MB result file", { "resume", "big.h5" }, { "big.h5" }, false },
    { "100 MB archive", IMPORT("big"), { "big/images_background.zip: cannot be opened as a zip archive" }, false },
    { "alias bomb", { "run", "bomb.yaml" }, { "bomb.yaml:5:", "more than 20000 values once aliases are written out" }, false },
    { "word for a number", { "run", "types.yaml" }, { "types.yaml:3:10: inner.steps is 'many'", "expected a whole number" }, false },
    { "list for a number", { "run", "list.yaml" }, { "list.yaml:3:7: inner.lr is a list", "expected a number" }, false },
    { "number for a section", { "run", "section.yaml" }, { "section.yaml:2:8: inner is '0.1'", "expected" }, false },
    { "unknown key", { "run", "unknown.yaml" }, { "unknown.yaml:3:3: unknown key 'inner.stps'", "did you mean 'inner.steps'?" }, false },
    { "unknown key on the command line", SET("outer.learning=1"), { "unknown key 'outer.learning'" }, false },
    { "n-way above the number of classes", IMAGES("tasks.way=500"), { "tasks.way 500 exceeds the 423 classes of the test split" }, false },
    { "k + query above the images of a class", IMAGES("tasks.query=20"), { "tasks.shot 1 and tasks.query 20 need 21 drawings", "at most" }, false },
    { "k + query above, at test", IMAGES("eval.shots=[1, 18]"), { "eval.shots 18 and tasks.query 5 need 23 drawings" }, false },
    { "learning rate 0", SET("inner.lr=0"), { "inner.lr is '0'; expected a number in (0, 1e3]" }, false },
    { "learning rate negative", SET("outer.lr=-0.001"), { "outer.lr is '-0.001'; expected a number in (0, 1e3]" }, false },
    { "learning rate NaN", SET("inner.lr=nan"), { "inner.lr is 'nan'; expected a number in (0, 1e3]" }, false },
    { "learning rate .nan", SET("outer.lr=.nan"), { "outer.lr is '.nan'; expected a number in (0, 1e3]" }, false },
    { "learning rate infinite", SET("inner.lr=1e999"), { "inner.lr is '1e999'; expected a number in (0, 1e3]" }, false },
    { "zero tasks in a batch", SET("outer.meta_batch=0"), { "outer.meta_batch is '0'; expected a whole number in [1, 100000] (tasks)" }, false },
    { "zero training tasks", SET("tasks.n_task=0"), { "tasks.n_task is '0'; expected a whole number in [1, 1000] (tasks)" }, false },
    { "zero episodes", SET("eval.episodes=0"), { "eval.episodes is '0'; expected a whole number in [1, 1000000] (episodes)" }, false },
    { "zero iterations", SET("outer.iterations=0"), { "outer.iterations is 0; expected 1 or more" }, false },
    { "zero threads", { "run", "good.yaml", "--threads", "0" }, { "--threads: '0'; expected a whole number from 1 to 1024" }, false },
    { "absurdly many threads", { "run", "good.yaml", "--threads", "100000" }, { "--threads: '100000'; expected a whole number from 1 to 1024" }, false },
    { "seed beyond 64 bits", { "run", "good.yaml", "--seed", "18446744073709551616" }, { "--seed: '18446744073709551616'; expected a whole number from 0 to 18446744073709551615" }, false },
    { "seed beyond 64 bits", SET("seed=18446744073709551616"), { "seed is '18446744073709551616'; expected a whole number in [0, 18446744073709551615]" }, false },
    { "negative seed", SET("seed=-1"), { "seed is '-1'; expected a whole number in" }, false },
    { "corrupt zip", IMPORT("damaged"), { "damaged/images_background.zip: the entry", "is damaged" }, false },
    { "truncated zip", IMPORT("truncated"), { "truncated/images_background.zip: cannot be opened as a zip archive" }, false },
    { "a PNG of another size", IMPORT("small"), { "small/images_background.zip: ", "28 x 28", "105 x 105" }, false },
    { "a file instead of the folder of archives", IMPORT("good.yaml"), { "good.yaml: there is no images_background.zip" }, false },
};
enum { N_ROW = sizeof rows / sizeof *rows };

/* ---- the table for people ---- */

static void table_line(FILE *table, const row *r, int code, const char *messages)
{
    fprintf(table, "| %s | `metalora", r->what);
    for (int i = 0; r->words[i]; i++)
        fprintf(table, strchr(r->words[i], ' ') ? " '%s'" : " %s", r->words[i]);
    fprintf(table, "`%s | %d | ", r->ordinary ? " (not as root)" : "", code);
    int n = (int)strcspn(messages, "\n");
    fprintf(table, "`%.*s` |\n", n, messages);
}

static FILE *open_table(void)
{
    const char *name = getenv("METALORA_TABLE");
    FILE *table = name ? fopen(name, "w") : NULL;
    if (table)
        fprintf(table, "| what | command | exit code | message (first line) |\n|---|---|---|---|\n");
    return table;
}

/* ---- tests ---- */

static void expect_row(const row *r, FILE *table)
{
    char out[TEXT_MAX], messages[TEXT_MAX];
    uint64_t before = walk(".", false);
    int code = run(r->words, r->ordinary, out, messages);
    if (r->ordinary && code == 126) {
        printf("left out: '%s', root cannot give up its privileges here\n", r->what);
        return;
    }
    if (table)
        table_line(table, r, code, messages);
    ck_assert_msg(code == 2, "%s: exit code %d, %s", r->what, code, messages);
    ck_assert_msg(*out == '\0', "%s: on stdout: %s", r->what, out);
    ck_assert_msg(strncmp(messages, "metalora: ", 10) == 0, "%s: %s", r->what, messages);
    for (int i = 0; i < 3 && r->says[i]; i++)
        ck_assert_msg(strstr(messages, r->says[i]) != NULL, "%s: '%s' is not in: %s", r->what, r->says[i], messages);
    for (const char *s = messages; *s; s++)
        ck_assert_msg((unsigned char)*s >= ' ' || *s == '\n', "%s: control character %d in: %s", r->what, *s, messages);
    ck_assert_msg(walk(".", false) == before, "%s: files were made or changed", r->what);
}

START_TEST(every_bad_input_ends_with_code_2_a_clear_message_and_nothing_written)
{
    FILE *table = open_table();
    setup();
    for (int i = 0; i < N_ROW; i++)
        expect_row(&rows[i], table);
    teardown();
    if (table)
        fclose(table);
}
END_TEST

/* Allowed, and told: the one entry of the list that is no mistake. */
START_TEST(more_threads_than_cores_run_to_the_end_with_a_note)
{
    char out[TEXT_MAX], messages[TEXT_MAX], threads[24];
    setup();
    snprintf(threads, sizeof threads, "%ld", sysconf(_SC_NPROCESSORS_ONLN) + 3);
    int code = run((const char *const[]){ "run", "good.yaml", "--threads", threads, NULL }, false, out, messages);
    ck_assert_msg(code == 0, "%s", messages);
    ck_assert_ptr_nonnull(strstr(messages, "allowed, not faster"));
    ck_assert_int_eq(access("good.h5", R_OK), 0);
    teardown();
}
END_TEST

/* The checks above would see it if a file were left. */
START_TEST(a_file_that_appears_or_changes_is_noticed)
{
    setup();
    uint64_t before = walk(".", false);
    ck_assert_uint_eq(walk(".", false), before);
    write_text("new", "");
    ck_assert_uint_ne(walk(".", false), before);
    ck_assert_int_eq(remove("new"), 0);
    ck_assert_uint_eq(walk(".", false), before);
    write_text("empty.yaml", "x");
    ck_assert_uint_ne(walk(".", false), before);
    teardown();
}
END_TEST

TEST_MAIN(every_bad_input_ends_with_code_2_a_clear_message_and_nothing_written, more_threads_than_cores_run_to_the_end_with_a_note,
          a_file_that_appears_or_changes_is_noticed)
