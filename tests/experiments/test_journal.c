/* Journals: what was appended is read back, torn ends are dropped, anything else that was changed is refused, and so are
 * runs whose files do not belong together. */
#include "tests/experiments/small_runs.h"

#include "experiments/checkpoint.h"
#include "experiments/journal.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

static files at;
static const xp_journal_head head = { "0", "float32", "set", "gemm", "libraries", "metalora run x", "name: x\n" };

static char *read_bytes(const char *path, size_t *n)
{
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    *n = (size_t)status.st_size;
    char *bytes = calloc(1, *n + 1);
    FILE *file = fopen(path, "rb");
    ck_assert_uint_eq(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

/* ---- the file ---- */

enum { RECORDS = 6 };

/* A head and RECORDS records of 0, 1, ... bytes. */
static char *sample(size_t *n)
{
    xp_journal *j;
    ag_error err = { 0 };
    name_files(&at, "journal");
    ck_assert_msg(xp_journal_open(&j, at.out, true, &err) == AG_OK, "%s", err.message);
    ck_assert(xp_journal_empty(j));
    ck_assert_int_eq(xp_journal_start(j, &head, &err), AG_OK);
    for (int i = 0; i < RECORDS; i++)
        ck_assert_int_eq(xp_journal_append(j, XP_RECORD_TRAIN, "abcdefgh", (size_t)i, &err), AG_OK);
    ck_assert_int_eq(xp_journal_sync(j, &err), AG_OK);
    xp_journal_close(j);
    char *bytes = read_bytes(at.journal, n);
    forget(&at);
    return bytes;
}

/* The records, the head included; 0: refused. Whatever is accepted must be a beginning of what was written. */
static size_t count(const char *bytes, size_t n)
{
    xp_records r;
    ag_error err = { 0 };
    ag_code code = xp_journal_parse(&r, bytes, n, "j", &err);
    if (code != AG_OK) {
        expect(code == AG_EDATA || code == AG_ECONFIG, "%s: %s", ag_code_name(code), err.message);
        expect(r.n == 0 && !r.at, "a refused journal holds records");
        return 0;
    }
    expect(strcmp(r.head.config, head.config) == 0 && strcmp(r.head.version, head.version) == 0, "another head");
    for (size_t i = 1; i < r.n; i++)
        expect(r.at[i].type == XP_RECORD_TRAIN && r.at[i].bytes == i - 1 && memcmp(r.at[i].data, "abcdefgh", i - 1) == 0,
               "record %zu is another", i);
    size_t records = r.n;
    xp_records_release(&r);
    return records;
}

START_TEST(what_was_appended_is_read_back)
{
    size_t n;
    char *bytes = sample(&n);
    ck_assert_uint_eq(count(bytes, n), RECORDS + 1);
    free(bytes);
}
END_TEST

START_TEST(a_record_torn_at_any_length_is_dropped_and_those_before_it_stay)
{
    size_t n, least = 0;
    char *bytes = sample(&n);
    for (size_t length = 0; length <= n; length++) {
        char *part = malloc(length + 1);   /* of its own size: a read behind the end is noticed */
        memcpy(part, bytes, length);
        size_t records = count(part, length);
        expect(records >= least && records <= least + 1, "%zu bytes: %zu records, before %zu", length, records, least);
        least = records;
        free(part);
    }
    ck_assert_uint_eq(least, RECORDS + 1);
    free(bytes);
}
END_TEST

START_TEST(zeros_at_the_end_are_a_disk_that_lost_the_last_write)
{
    size_t n;
    char *bytes = sample(&n), *longer = calloc(1, n + 4096);
    memcpy(longer, bytes, n);
    ck_assert_uint_eq(count(longer, n + 4096), RECORDS + 1);
    longer[n + 4095] = 1;
    ck_assert_uint_eq(count(longer, n + 4096), 0);
    free(longer);
    free(bytes);
}
END_TEST

START_TEST(no_bit_can_be_changed_unnoticed)
{
    size_t n;
    char *bytes = sample(&n);
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (char)(1 << bit);
            size_t records = count(bytes, n);   /* checks what is accepted */
            expect(records < RECORDS + 1, "byte %zu, bit %d: accepted", i, bit);
            bytes[i] ^= (char)(1 << bit);
        }
    free(bytes);
}
END_TEST

START_TEST(records_cannot_be_left_out_swapped_or_put_in)
{
    size_t n;
    xp_records r;
    char *bytes = sample(&n), *other = malloc(2 * n);
    ck_assert_int_eq(xp_journal_parse(&r, bytes, n, "j", NULL), AG_OK);
    size_t a = r.at[2].end.length, b = r.at[3].end.length, c = r.at[4].end.length;
    memcpy(other, bytes, a);
    memcpy(other + a, bytes + b, n - b);                  /* without record 3 */
    ck_assert_uint_eq(count(other, n - (b - a)), 0);
    memcpy(other + a, bytes + b, c - b);                  /* 4 before 3 */
    memcpy(other + a + (c - b), bytes + a, b - a);
    memcpy(other + c, bytes + c, n - c);
    ck_assert_uint_eq(count(other, n), 0);
    memcpy(other, bytes, b);
    memcpy(other + b, bytes + a, n - a);                  /* 3 twice */
    ck_assert_uint_eq(count(other, n + b - a), 0);
    xp_records_release(&r);
    free(other);
    free(bytes);
}
END_TEST

START_TEST(a_mark_is_found_again_and_rewound_to)
{
    xp_journal *j;
    xp_records r;
    ag_error err = { 0 };
    name_files(&at, "marks");
    ck_assert_int_eq(xp_journal_open(&j, at.out, true, &err), AG_OK);
    ck_assert_int_eq(xp_journal_start(j, &head, &err), AG_OK);
    ck_assert_int_eq(xp_journal_append(j, XP_RECORD_TRAIN, "a", 1, &err), AG_OK);
    xp_journal_mark mark = xp_journal_end(j), wrong = mark;
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(xp_journal_append(j, XP_RECORD_TRAIN, "bc", 2, &err), AG_OK);
        ck_assert_int_eq(xp_journal_load(j, &r, &err), AG_OK);
        ck_assert_uint_eq(r.n, 3);
        ck_assert_int_eq(xp_records_find(&r, &mark), 1);
        wrong.tag[3] ^= 1;
        ck_assert_int_eq(xp_records_find(&r, &wrong), -1);
        wrong.tag[3] ^= 1;
        xp_records_release(&r);
        ck_assert_int_eq(xp_journal_rewind(j, &mark, &err), AG_OK);
    }
    xp_journal_close(j);
    forget(&at);
}
END_TEST

/* ---- locks ---- */

static void expect_refusal(ag_code got, const ag_error *err, ag_code code, const char *words)
{
    ck_assert_msg(got == code && strstr(err->message, words), "%s: '%s'; expected %s: '%s'", ag_code_name(got), err->message,
                  ag_code_name(code), words);
}

static void run_refused(const char *set, bool force, ag_code code, const char *words)
{
    ag_error err = { 0 };
    ag_code got = run(SINE, set, &at, (xp_run_options){ .force = force }, &err);
    expect_refusal(got, &err, code, words);
}

static void resume_refused(ag_code code, const char *words)
{
    ag_error err = { 0 };
    ag_code got = resume(&at, (xp_run_options){ 0 }, &err);
    expect_refusal(got, &err, code, words);
}

START_TEST(a_second_process_is_refused_with_the_pid_of_the_first_until_that_is_dead)
{
    char who[64];
    name_files(&at, "lock");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(120);
        run(SINE, "outer.iterations=100000000", &at, (xp_run_options){ 0 }, NULL);
        _exit(1);
    }
    while (!exists(at.out))
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    snprintf(who, sizeof who, "process %ld is at work on this run", (long)child);
    run_refused(NULL, false, AG_ECONFIG, who);
    run_refused(NULL, true, AG_ECONFIG, who);
    resume_refused(AG_ECONFIG, who);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    run_refused(NULL, false, AG_ECONFIG, "is an unfinished run: go on with metalora resume");
    ag_error err = { 0 };
    char digest[65];
    must_run(SINE, NULL, &at, (xp_run_options){ .force = true }, digest);
    ck_assert_int_eq(err.code, AG_OK);
    forget(&at);
}
END_TEST

START_TEST(a_second_run_in_the_same_process_is_refused)
{
    xp_journal *first, *second;
    ag_error err = { 0 };
    name_files(&at, "twice");
    ck_assert_int_eq(xp_journal_open(&first, at.out, true, &err), AG_OK);
    ag_code code = xp_journal_open(&second, at.out, true, &err);
    expect_refusal(code, &err, AG_ECONFIG, "this process is already at work");
    ck_assert_ptr_null(second);
    xp_journal_close(first);
    ck_assert(!exists(at.journal));   /* nothing was in it */
}
END_TEST

/* ---- files that do not belong together ---- */

/* Whether the journal tells of a checkpoint. */
static bool told(void)
{
    xp_records r;
    bool found = false;
    if (xp_journal_read(at.out, &r, NULL) != AG_OK)
        return false;
    for (size_t i = 0; i < r.n; i++)
        found |= r.at[i].type == XP_RECORD_CHECKPOINT;
    xp_records_release(&r);
    return found;
}

/* Killed behind its first checkpoint. */
static void make_unfinished(const char *set)
{
    ag_error err = { 0 };
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(120);
        run(SINE, set, &at, (xp_run_options){ .checkpoint_seconds = 0.01 }, &err);
        _exit(1);
    }
    for (int i = 0; i < 10000 && !told(); i++)
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    ck_assert(exists(at.checkpoint) && told());
}
static const char LONG[] = "outer.iterations=100000000";

START_TEST(an_edited_or_truncated_journal_is_refused_and_nothing_is_changed)
{
    size_t n, m;
    xp_records r;
    xp_checkpoint c;
    xp_journal_mark mark;
    name_files(&at, "edited");
    make_unfinished(LONG);
    char *bytes = read_bytes(at.journal, &n), *copy = malloc(n);
    ck_assert_int_eq(xp_checkpoint_load(&c, at.checkpoint, NULL, NULL), AG_OK);
    ck_assert_int_eq(xp_checkpoint_get(&c, "journal.length", &mark.length, sizeof mark.length, NULL), AG_OK);
    xp_checkpoint_release(&c);
    ck_assert_int_eq(xp_journal_parse(&r, bytes, n, "j", NULL), AG_OK);
    size_t begin = (size_t)r.at[0].end.length;
    xp_records_release(&r);
    for (size_t i = 0; i < 40; i++) {   /* all behind the head up to where the checkpoint was made */
        size_t place = begin + (mark.length - 1 - begin) * i / 39;
        memcpy(copy, bytes, n);
        copy[place] ^= 4;
        write_bytes(at.journal, copy, n);
        resume_refused(AG_EDATA, "edited");
        write_bytes(at.journal, bytes, place);
        resume_refused(AG_EDATA, "truncated");
        char *now = read_bytes(at.journal, &m);
        ck_assert(m == place && memcmp(now, bytes, m) == 0);
        free(now);
    }
    write_bytes(at.journal, bytes, 10);
    resume_refused(AG_EDATA, "is truncated");
    write_bytes(at.journal, "SQLite format 3 is something else", 33);
    resume_refused(AG_ECONFIG, "is not a run's journal");
    run_refused(NULL, true, AG_ECONFIG, "is not a run's journal; move it away");
    remove(at.journal);
    resume_refused(AG_ECONFIG, "its journal '");
    ck_assert_int_eq(mkdir(at.journal, 0777), 0);
    resume_refused(AG_ECONFIG, "Is a directory");
    ck_assert_int_eq(rmdir(at.journal), 0);
    forget(&at);
    free(copy);
    free(bytes);
}
END_TEST

START_TEST(a_checkpoint_that_was_edited_is_missing_or_of_another_run_is_refused)
{
    size_t n, m;
    files mine;
    name_files(&at, "another");
    make_unfinished("outer={algorithm: maml, iterations: 100000000, meta_batch: 3}");
    char *other = read_bytes(at.checkpoint, &m);
    forget(&at);
    name_files(&at, "checkpoint");
    mine = at;
    make_unfinished(LONG);
    char *bytes = read_bytes(at.checkpoint, &n);
    for (size_t i = 0; i < 30; i++) {
        bytes[n * i / 30] ^= 16;
        write_bytes(at.checkpoint, bytes, n);
        resume_refused(AG_EDATA, "checkpoint");
        bytes[n * i / 30] ^= 16;
    }
    write_bytes(at.checkpoint, bytes, n - 1);
    resume_refused(AG_EDATA, "is truncated");
    write_bytes(at.checkpoint, other, m);
    resume_refused(AG_ECONFIG, "belongs to another configuration");
    forget(&at);
    make_unfinished(LONG);   /* the same configuration, another run of it: its seconds differ, so its journal does */
    write_bytes(at.checkpoint, bytes, n);
    resume_refused(AG_EDATA, "does not lead to its checkpoint");
    remove(at.checkpoint);
    resume_refused(AG_ECONFIG, "is missing, which the journal tells of");
    forget(&mine);
    free(bytes);
    free(other);
}
END_TEST

/* A journal that tells of a run begun by another program. */
static void begun_by(xp_journal_head h, ag_code code, const char *words)
{
    xp_journal *j;
    xp_config c;
    ag_error err = { 0 };
    ck_assert_int_eq(xp_config_parse(&c, SINE, strlen(SINE), "x", 0, NULL, &err), AG_OK);
    h.config = h.config ? h.config : c.resolved;
    ck_assert_int_eq(xp_journal_open(&j, at.out, true, &err), AG_OK);
    ck_assert_int_eq(xp_journal_start(j, &h, &err), AG_OK);
    xp_journal_close(j);
    xp_config_release(&c);
    if (code != AG_OK) {
        resume_refused(code, words);
        return;
    }
    ck_assert_msg(resume(&at, (xp_run_options){ 0 }, &err) == AG_OK, "%s", err.message);
    forget(&at);
}

START_TEST(a_run_of_another_version_or_machine_is_refused)
{
    char digest[65];
    xp_records r;
    name_files(&at, "program");
    make_unfinished(LONG);
    ck_assert_int_eq(xp_journal_read(at.out, &r, NULL), AG_OK);
    xp_journal_head ours = r.head, h;
    ours.config = NULL;
    forget(&at);
    begun_by(ours, AG_OK, NULL);   /* the same program: it goes on */
    h = ours, h.version = "9.8.7";
    begun_by(h, AG_ECONFIG, "another version: '9.8.7'");
    h = ours, h.instruction_set = "abacus";
    begun_by(h, AG_ECONFIG, "another instruction set: 'abacus'");
    h = ours, h.gemm = "by hand";
    begun_by(h, AG_ECONFIG, "another GEMM kernels: 'by hand'");
    h = ours, h.precision = "float16";
    begun_by(h, AG_ECONFIG, "another precision: 'float16'");
    h = ours, h.libraries = "none";
    begun_by(h, AG_ECONFIG, "another libraries: 'none'");
    h = ours, h.config = "name: x\n";
    begun_by(h, AG_ECONFIG, "tasks.source is missing");
    must_run(SINE, NULL, &at, (xp_run_options){ .force = true }, digest);
    xp_records_release(&r);
    forget(&at);
}
END_TEST

START_TEST(a_result_file_of_another_run_or_damaged_is_not_overwritten)
{
    size_t n;
    char digest[65], now[65];
    name_files(&at, "beside");
    must_run(SINE, "seed=5", &at, (xp_run_options){ 0 }, digest);
    char *finished = read_bytes(at.out, &n);
    forget(&at);
    make_unfinished(LONG);
    write_bytes(at.out, finished, n);
    resume_refused(AG_EDATA, "is of another run than its journal");
    digest_of(&at, now);
    ck_assert_str_eq(digest, now);
    write_bytes(at.out, finished, n / 2);
    resume_refused(AG_EDATA, "move that file away, then resume again");
    write_bytes(at.out, "precious", 8);
    resume_refused(AG_EDATA, "move that file away, then resume again");
    forget(&at);
    free(finished);
}
END_TEST

START_TEST(a_run_that_died_between_its_seal_and_its_end_is_tidied_up)
{
    size_t n;
    ag_error err = { 0 };
    char digest[65], now[65];
    name_files(&at, "sealed");
    must_run(SINE, NULL, &at, (xp_run_options){ 0 }, digest);
    char *finished = read_bytes(at.out, &n);
    forget(&at);
    const atomic_int stop = 1;
    ck_assert_int_eq(run(SINE, NULL, &at, (xp_run_options){ .stop = &stop }, &err), AG_ESTOP);
    write_bytes(at.out, finished, n);
    run_refused(NULL, false, AG_ECONFIG, "exists; name another");
    ag_error_clear(&err);
    ck_assert_msg(resume(&at, (xp_run_options){ 0 }, &err) == AG_OK, "%s", err.message);
    digest_of(&at, now);
    ck_assert_str_eq(digest, now);
    ck_assert(!exists(at.journal) && !exists(at.checkpoint));
    resume_refused(AG_ECONFIG, "is finished: there is nothing to resume");
    forget(&at);
    free(finished);
}
END_TEST

TEST_MAIN(what_was_appended_is_read_back, a_record_torn_at_any_length_is_dropped_and_those_before_it_stay,
          zeros_at_the_end_are_a_disk_that_lost_the_last_write, no_bit_can_be_changed_unnoticed,
          records_cannot_be_left_out_swapped_or_put_in, a_mark_is_found_again_and_rewound_to,
          a_second_process_is_refused_with_the_pid_of_the_first_until_that_is_dead, a_second_run_in_the_same_process_is_refused,
          an_edited_or_truncated_journal_is_refused_and_nothing_is_changed,
          a_checkpoint_that_was_edited_is_missing_or_of_another_run_is_refused, a_run_of_another_version_or_machine_is_refused,
          a_result_file_of_another_run_or_damaged_is_not_overwritten, a_run_that_died_between_its_seal_and_its_end_is_tidied_up)
