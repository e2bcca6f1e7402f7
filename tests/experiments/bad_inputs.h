/* Bad input, one row each, given to the real program: the exit code, what the message says, and that no file was left or
 * half-written. With METALORA_TABLE=FILE the rows and their whole messages are written there as a table. */
#ifndef TESTS_BAD_INPUTS_H
#define TESTS_BAD_INPUTS_H

#include "tests/check.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_WORDS = 12, TEXT_MAX = 8192, BIG = 100 << 20 };

static char own_folder[64], home[4096];

/* ---- files ---- */

static inline void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static inline void write_text(const char *path, const char *text)
{
    write_file(path, text, strlen(text));
}

/* A hole of 100 MB behind the first bytes. */
static inline void write_big(const char *path, const char *first)
{
    write_text(path, first);
    ck_assert_int_eq(truncate(path, BIG), 0);
}

static inline void write_binary(const char *path)
{
    unsigned char bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * i * 31 + 0x89);
    write_file(path, bytes, sizeof bytes);
}

static inline void spoil_byte(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
    int byte = fgetc(f);
    ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
    fputc(byte ^ 0xff, f);
    fclose(f);
}

/* An empty folder, which becomes the current one and the home. */
static inline void enter_folder(void)
{
    const char *const unset[] = { "METALORA_DATA", "METALORA_TRACE", "LC_ALL", "LC_CTYPE", "LANG" };
    for (int i = 0; i < 5; i++)
        unsetenv(unset[i]);
    char here[5000];
    ck_assert_ptr_nonnull(getcwd(home, sizeof home));
    strcpy(own_folder, "test-bad-inputs-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(own_folder));
    ck_assert_int_eq(chdir(own_folder), 0);
    snprintf(here, sizeof here, "%s/%s", home, own_folder);
    setenv("XDG_CACHE_HOME", here, 1);
    setenv("HOME", here, 1);
}

/* ---- what is there ---- */

/* Removes (or only adds to a digest the names and sizes of) what is below the folder. */
static inline uint64_t walk(const char *path, bool delete)
{
    uint64_t sum = 0;
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        char name[600];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        const int length = snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        ck_assert_int_lt(length, (int)sizeof name);
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

static inline void teardown(void)
{
    walk(".", true);
    ck_assert_int_eq(chdir(home), 0);
    ck_assert_int_eq(rmdir(own_folder), 0);
}

/* ---- running the program ---- */

/* Permissions count for root too, once these are gone from what an executed program can have. */
static inline bool become_ordinary(void)
{
    enum { DAC_OVERRIDE = 1, DAC_READ_SEARCH = 2 };
    return geteuid() != 0 || (prctl(PR_CAPBSET_DROP, DAC_OVERRIDE, 0, 0, 0) == 0 && prctl(PR_CAPBSET_DROP, DAC_READ_SEARCH, 0, 0, 0) == 0);
}

static inline void child(const char *const *words, bool ordinary, FILE *out, FILE *messages)
{
    const char *argv[MAX_WORDS + 2] = { "metalora" };
    for (int i = 0; words[i]; i++)
        argv[i + 1] = words[i];
    if ((ordinary && !become_ordinary()) || dup2(fileno(out), 1) < 0 || dup2(fileno(messages), 2) < 0)
        _exit(126);
    execv(METALORA_PROGRAM, (char *const *)(uintptr_t)argv);
    _exit(127);
}

static inline size_t read_stream(FILE *f, char text[TEXT_MAX])
{
    rewind(f);
    size_t n = fread(text, 1, TEXT_MAX - 1, f);
    text[n] = '\0';
    fclose(f);
    return n;
}

/* Exit code; 128 + signal. */
static inline int run(const char *const *words, bool ordinary, char out[TEXT_MAX], char messages[TEXT_MAX])
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

/* ---- the table for people ---- */

static inline void table_line(FILE *table, const row *r, int code, const char *messages)
{
    fprintf(table, "| %s | `metalora", r->what);
    for (int i = 0; r->words[i]; i++)
        fprintf(table, strchr(r->words[i], ' ') ? " '%s'" : " %s", r->words[i]);
    fprintf(table, "`%s | %d | ", r->ordinary ? " (not as root)" : "", code);
    int n = (int)strcspn(messages, "\n");
    fprintf(table, "`%.*s` |\n", n, messages);
}

static inline FILE *open_table(void)
{
    const char *name = getenv("METALORA_TABLE");
    FILE *table = name ? fopen(name, "w") : NULL;
    if (table)
        fprintf(table, "| what | command | exit code | message (first line) |\n|---|---|---|---|\n");
    return table;
}

static inline void expect_row(const row *r, FILE *table)
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

/* make_inputs: what the rows name, in the current folder. */
static inline void expect_rows(const row *rows, int n, void (*make_inputs)(void))
{
    FILE *table = open_table();
    enter_folder();
    make_inputs();
    for (int i = 0; i < n; i++)
        expect_row(&rows[i], table);
    teardown();
    if (table)
        fclose(table);
}

#endif
