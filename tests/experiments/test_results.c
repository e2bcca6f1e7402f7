/* Result files: what is written is read back, shown and digested; failures leave nothing behind.
 * check_results_file.py reads the sample file made here (METALORA_SAMPLE names it) with other people's readers. */
#include "experiments/results.h"
#include "experiments/run_summary.h"
#include "experiments/seal.h"
#include "tests/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EPISODES = 4, STEPS = 2 };

static char folder[64], path[128];

static void setup(void)
{
    const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
    for (int i = 0; i < 3; i++)
        unsetenv(names[i]);
    strcpy(folder, "test-results-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/run.h5", folder);
}

/* Also checks that nothing but the result file was left. */
static void teardown(void)
{
    unlink(path);
    ck_assert_msg(rmdir(folder) == 0, "files were left in '%s'", folder);
}

/* Whether a copy is at the path: the run has begun to write. */
static bool published(void)
{
    return access(path, F_OK) == 0;
}

/* ---- a sample run ---- */

typedef struct sample {
    xp_config config;
    xp_provenance provenance;
    int n_row;
    double loss[EPISODES][STEPS + 1], accuracy[EPISODES][STEPS + 1];
    uint64_t seed[EPISODES];
    ag_real weight[6];
    const char *bias, *status;
} sample;

static sample make_sample(void)
{
    sample s = { .config = { .name = "tiny \"quoted\"", .seed = UINT64_C(18446744073709551615), .repeats = 1 },
                 .provenance = { "0.1.0", "x86-64-v3", "BLIS 0.9.0 haswell", "HDF5 1.10.8", "metalora run tiny.yaml", 2,
                                 "nats" },
                 .n_row = 3, .bias = "layer1/bias", .status = "complete" };
    s.config.outer.iterations = 300;
    s.config.resolved = (char *)(uintptr_t)"name: tiny\nseed: 1\n";
    for (int e = 0; e < EPISODES; e++) {
        s.seed[e] = (uint64_t)e + UINT64_C(9223372036854775808);
        for (int k = 0; k <= STEPS; k++) {
            s.loss[e][k] = (e + 1) / (double)(1 << k);
            s.accuracy[e][k] = (k + 1) / 4.0 + e / 16.0;
        }
    }
    for (int i = 0; i < 6; i++)
        s.weight[i] = (ag_real)i / 4;
    return s;
}

static xp_train_row train_row(int i)
{
    return (xp_train_row){ .iteration = 100 * (i + 1), .support_loss = 4.0 / (i + 1), .query_loss = 2.0 / (i + 1),
                           .query_accuracy = i < 4 ? 0.25 * (i + 1) : 1, .grad_norm = 1.5, .lr = 1e-3, .seconds = 0.5 * i };
}

static ag_code write_rows(xp_results *r, const sample *s, ag_error *err)
{
    const int64_t shape[] = { 2, 3 };
    for (int i = 0; i < s->n_row; i++) {
        const xp_train_row row = train_row(i);
        AG_TRY(err, xp_results_train(r, &row, err));
    }
    AG_TRY(err, xp_results_validation(r, &(xp_validation_row){ 300, 0.75, 0.8125 }, err));
    const xp_scores classes = { "transductive", EPISODES, STEPS + 1, s->loss[0], s->accuracy[0], s->seed, "nats", 100, NULL };
    const xp_scores regression = { "5-shot", EPISODES, STEPS + 1, s->loss[0], NULL, s->seed, "mean squared error", INFINITY, NULL };
    AG_TRY(err, xp_results_scores(r, &classes, err));
    AG_TRY(err, xp_results_scores(r, &regression, err));
    AG_TRY(err, xp_results_parameter(r, "layer1/weight", 2, shape, s->weight, err));
    AG_TRY(err, xp_results_parameter(r, s->bias, 1, &shape[1], s->weight, err));
    AG_TRY(err, xp_results_parameter(r, "scale", 0, NULL, s->weight, err));
    return xp_results_system(r, "seconds", 75.25, "s", err);
}

static ag_code write_sample(const char *to, const sample *s, bool force, ag_error *err)
{
    xp_results *r;
    AG_TRY(err, xp_results_create(&r, to, force, &s->config, &s->provenance, err));
    ag_code code = write_rows(r, s, err);
    if (code == AG_OK)
        return xp_results_close(r, s->status, err);
    xp_results_abandon(r);
    return code;
}

static void must_write(const sample *s)
{
    ag_error err = { 0 };
    ck_assert_msg(write_sample(path, s, true, &err) == AG_OK, "%s (%s)", err.message, err.trail);
}

/* ---- reading back ---- */

START_TEST(what_was_written_is_read_back)
{
    const sample s = make_sample();
    ag_error err = { 0 };
    xp_run run;
    setup();
    must_write(&s);
    ck_assert_msg(xp_run_read(&run, path, &err) == AG_OK, "%s", err.message);
    ck_assert_str_eq(run.name, s.config.name);
    ck_assert_str_eq(run.status, "complete");
    ck_assert_str_eq(run.config, s.config.resolved);
    ck_assert_str_eq(run.precision, AG_REAL_NAME);
    ck_assert(run.seed == UINT64_MAX && run.iterations == 300 && run.repeats == 1 && run.threads == 2);
    ck_assert(run.seconds == 75.25);
    ck_assert(run.train.n == 3 && run.train.iteration[2] == 300 && run.train.loss[1] == 1.0 && run.train.accuracy[0] == 0.25);
    ck_assert(run.validation.n == 1 && run.validation.loss[0] == 0.75);
    ck_assert_int_eq(run.n_protocol, 2);
    ck_assert_str_eq(run.protocols[0].name, "transductive");   /* the order of writing, not of the alphabet */
    ck_assert_str_eq(run.protocols[1].loss_unit, "mean squared error");
    ck_assert_ptr_null(run.protocols[1].accuracy);
    ck_assert(run.protocols[0].n_episode == EPISODES && run.protocols[0].n_score == STEPS + 1);
    for (int k = 0; k <= STEPS; k++)
        ck_assert_int_eq(run.protocols[0].step[k], k);
    ck_assert_mem_eq(run.protocols[0].loss, s.loss, sizeof s.loss);
    ck_assert_mem_eq(run.protocols[0].accuracy, s.accuracy, sizeof s.accuracy);
    xp_run_release(&run);
    teardown();
}
END_TEST

static ag_code write_steps(const int64_t *step, int64_t n, ag_error *err)
{
    const sample s = make_sample();
    xp_results *r;
    AG_TRY(err, xp_results_create(&r, path, true, &s.config, &s.provenance, err));
    ag_code code = xp_results_scores(r, &(xp_scores){ .protocol = "some", .n_episode = EPISODES, .n_score = n, .step = step,
                                                      .loss = s.loss[0], .loss_unit = "nats", .diverged_above = 100 }, err);
    if (code == AG_OK)
        return xp_results_close(r, "complete", err);
    xp_results_abandon(r);
    return code;
}

START_TEST(chosen_steps_are_read_back_and_shown_by_their_numbers)
{
    static const int64_t steps[] = { 1, 30 };
    ag_error err = { 0 };
    xp_run run;
    char *text;
    setup();
    ck_assert_msg(write_steps(steps, 2, &err) == AG_OK, "%s", err.message);
    ck_assert_msg(xp_run_read(&run, path, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(run.protocols[0].n_score, 2);
    ck_assert_mem_eq(run.protocols[0].step, steps, sizeof steps);
    xp_run_release(&run);
    ck_assert_int_eq(xp_results_show(path, true, false, &text, &err), AG_OK);
    ck_assert_msg(strstr(text, "{\"step\":1,") && strstr(text, "{\"step\":30,") && !strstr(text, "{\"step\":0,"), "%s", text);
    ag_free(text);
    ck_assert_int_eq(xp_results_show(path, false, false, &text, &err), AG_OK);
    ck_assert_msg(strstr(text, "\n     1 ") && strstr(text, "\n    30 ") && !strstr(text, "\n     0 "), "%s", text);
    ag_free(text);
    ck_assert_int_eq(write_steps((const int64_t[]){ 3, 3 }, 2, NULL), AG_EINVAL);
    ck_assert_int_eq(write_steps((const int64_t[]){ -1, 3 }, 2, NULL), AG_EINVAL);
    teardown();
}
END_TEST

START_TEST(a_sample_is_left_for_other_readers_when_they_ask)
{
    const char *to = getenv("METALORA_SAMPLE");
    const sample s = make_sample();
    ag_error err = { 0 };
    setup();
    ck_assert_msg(write_sample(to ? to : path, &s, true, &err) == AG_OK, "%s", err.message);
    teardown();
}
END_TEST

START_TEST(thousands_of_rows_come_back_in_order)
{
    sample s = make_sample();
    ag_error err = { 0 };
    xp_run run;
    setup();
    s.n_row = 5003;
    must_write(&s);
    ck_assert_int_eq(xp_run_read(&run, path, &err), AG_OK);
    ck_assert_int_eq(run.train.n, 5003);
    for (int i = 0; i < 5003; i++)
        ck_assert(run.train.iteration[i] == 100 * (i + 1) && run.train.loss[i] == 2.0 / (i + 1));
    xp_run_release(&run);
    teardown();
}
END_TEST

/* ---- digests ---- */

static void digest_of(const sample *s, char hex[65])
{
    ag_error err = { 0 };
    must_write(s);
    ck_assert_msg(xp_results_digest(path, hex, &err) == AG_OK, "%s", err.message);
}

START_TEST(equal_runs_have_equal_digests_whatever_the_system)
{
    sample s = make_sample();
    char a[65], b[65];
    setup();
    digest_of(&s, a);
    nanosleep(&(struct timespec){ 1, 100000000 }, NULL);   /* another second in every time stamp */
    s.provenance.threads = 1;
    s.provenance.command_line = "elsewhere";
    digest_of(&s, b);
    ck_assert_str_eq(a, b);
    ck_assert_uint_eq(strspn(a, "0123456789abcdef"), 64);
    teardown();
}
END_TEST

START_TEST(every_difference_outside_the_system_changes_the_digest)
{
    char plain[65], other[65];
    sample changed[10];
    setup();
    for (int i = 0; i < 10; i++)
        changed[i] = make_sample();
    digest_of(&changed[0], plain);
    changed[0].loss[3][2] = nextafter(changed[0].loss[3][2], 9);
    changed[1].config.seed--;
    changed[2].config.resolved = (char *)(uintptr_t)"name: tiny\nseed: 2\n";
    changed[3].status = "interrupted";
    changed[4].n_row = 2;
    changed[5].weight[5] += 1;
    changed[6].bias = "layer2/bias";
    changed[7].seed[0]++;
    changed[8].provenance.gemm = "BLIS 0.9.0 generic";
    changed[9].provenance.loss_unit = "bits";
    for (int i = 0; i < 10; i++) {
        digest_of(&changed[i], other);
        ck_assert_msg(strcmp(plain, other) != 0, "change %d", i);
    }
    teardown();
}
END_TEST

START_TEST(the_digest_does_not_depend_on_when_rows_reached_the_disk)
{
    sample s = make_sample();
    char a[65], b[65];
    ag_error err = { 0 };
    xp_results *r;
    setup();
    s.n_row = 130;
    digest_of(&s, a);
    ck_assert_int_eq(xp_results_create(&r, path, true, &s.config, &s.provenance, &err), AG_OK);
    nanosleep(&(struct timespec){ 1, 10000000 }, NULL);    /* the first row is flushed alone */
    ck_assert_int_eq(write_rows(r, &s, &err), AG_OK);
    ck_assert_int_eq(xp_results_close(r, "complete", &err), AG_OK);
    ck_assert_int_eq(xp_results_digest(path, b, &err), AG_OK);
    ck_assert_str_eq(a, b);
    teardown();
}
END_TEST

/* ---- show ---- */

static void show(bool json, bool colour, char **text)
{
    ag_error err = { 0 };
    ck_assert_msg(xp_results_show(path, json, colour, text, &err) == AG_OK, "%s", err.message);
}

/* The text with the digest's figures replaced by a word. */
static void mask_digest(char *text)
{
    const char *word = strstr(text, "digest ");
    ck_assert_ptr_nonnull(word);
    size_t at = (size_t)(word - text) + strlen("digest "), behind = at + 64;
    text[at] = '#';
    memmove(text + at + 1, text + behind, strlen(text + behind) + 1);
}

START_TEST(a_run_is_shown_as_a_table)
{
    sample s = make_sample();
    setup();
    s.config.seed = 7;
    s.loss[2][1] = NAN;
    s.loss[3][1] = 1000;
    must_write(&s);
    char *text;
    show(false, false, &text);
    mask_digest(text);
    ck_assert_str_eq(text,
        "tiny \"quoted\": complete (metalora 0.1.0)\n"
        "  seed 7, 300 iterations, 1 min 15 s on 2 threads\n"
        "  digest #\n"
        "  training loss    2 -> 0.667, accuracy 75.0 %\n"
        "  validation loss  0.75 -> 0.75, accuracy 81.2 %\n"
        "\n"
        "transductive: 4 test episodes, loss in nats, diverged above 100\n"
        "  step  mean loss +- 95 % CI      median  diverged accuracy % +- 95 % CI\n"
        "     0        2.5 +- 1.1             2.5         0       34.4 +- 6.8\n"
        "     1        nan +- nan           500.5         2       59.4 +- 6.8\n"
        "     2       0.62 +- 0.27          0.625         0       84.4 +- 6.8\n"
        "\n"
        "5-shot: 4 test episodes, loss in mean squared error\n"
        "  step  mean loss +- 95 % CI      median  diverged   of the rest\n"
        "     0        2.5 +- 1.1             2.5         0        2.5 +- 1.1\n"
        "     1        nan +- nan           500.5         1        334 +- 533\n"
        "     2       0.62 +- 0.27          0.625         0       0.62 +- 0.27\n");
    ag_free(text);
    teardown();
}
END_TEST

/* Characters on a screen: UTF-8 code points outside escape sequences. */
static int screen_width(const char *line, const char *end)
{
    int n = 0;
    for (; line < end; line++) {
        if (*line == '\033')
            line += strcspn(line, "m");
        else
            n += ((unsigned char)*line & 0xc0) != 0x80;
    }
    return n;
}

START_TEST(a_table_in_colour_and_unicode_fits_in_80_columns)
{
    sample s = make_sample();
    setup();
    setenv("LANG", "C.UTF-8", 1);
    s.n_row = 500;
    for (int e = 0; e < EPISODES; e++)
        for (int k = 0; k <= STEPS; k++)
            s.loss[e][k] *= e == 1 ? 1e12 : 123.456;
    must_write(&s);
    char *text;
    show(false, true, &text);
    ck_assert_ptr_nonnull(strstr(text, "█"));
    ck_assert_ptr_nonnull(strstr(text, "\033[32mcomplete\033[m"));
    for (const char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
        ck_assert_msg(screen_width(line, end) <= 80, "%.*s", (int)(end - line), line);
    ag_free(text);
    teardown();
}
END_TEST

START_TEST(json_tells_every_step_and_writes_null_for_what_is_not_finite)
{
    sample s = make_sample();
    setup();
    s.loss[2][1] = NAN;
    must_write(&s);
    char *text;
    show(true, true, &text);
    ck_assert_ptr_nonnull(strstr(text, "\"name\":\"tiny \\\"quoted\\\"\",\"status\":\"complete\",\"seed\":18446744073709551615,"));
    ck_assert_ptr_nonnull(strstr(text, "{\"step\":0,\"loss\":{\"mean\":2.5,\"ci95\":1.09567330897"));
    ck_assert_ptr_nonnull(strstr(text, "{\"step\":1,\"loss\":{\"mean\":null,\"ci95\":null,\"median\":1.5,\"min\":0.5,\"max\":null,"
                                       "\"diverged\":1,\"mean_finite\":1.166666666666666"));
    ck_assert_ptr_nonnull(strstr(text, "\"accuracy\":{\"mean\":0.34375,"));
    ck_assert_ptr_null(strchr(text, '\033'));
    ag_free(text);
    teardown();
}
END_TEST

START_TEST(control_characters_of_a_name_do_not_reach_the_terminal)
{
    sample s = make_sample();
    setup();
    s.config.name = "evil\033[2Jname\x7f";
    must_write(&s);
    char *text, *json;
    show(false, false, &text);
    show(true, false, &json);
    ck_assert_ptr_nonnull(strstr(text, "evil?[2Jname?"));
    ck_assert_ptr_nonnull(strstr(json, "evil\\u001b[2Jname\\u007f"));
    ag_free(text);
    ag_free(json);
    teardown();
}
END_TEST

/* ---- refusals ---- */

static void create_refused(const char *to, ag_code code, const char *words)
{
    const sample s = make_sample();
    ag_error err = { 0 };
    xp_results *r;
    ag_code got = xp_results_create(&r, to, false, &s.config, &s.provenance, &err);
    ck_assert_msg(got == code && strstr(err.message, words), "%s: '%s'; expected '%s'", ag_code_name(got), err.message, words);
    ck_assert_ptr_null(r);
}

START_TEST(an_existing_result_is_refused_unless_forced)
{
    sample s = make_sample();
    char old[65], now[65];
    setup();
    digest_of(&s, old);
    create_refused(path, AG_ECONFIG, "exists; name another with --out, or replace it with --force");
    ck_assert_int_eq(xp_results_digest(path, now, NULL), AG_OK);
    ck_assert_str_eq(old, now);
    s.n_row = 1;
    ck_assert_int_eq(write_sample(path, &s, true, NULL), AG_OK);
    ck_assert_int_eq(xp_results_digest(path, now, NULL), AG_OK);
    ck_assert_str_ne(old, now);
    teardown();
}
END_TEST

START_TEST(a_result_made_by_another_during_the_run_is_not_overwritten)
{
    const sample s = make_sample();
    ag_error err = { 0 };
    xp_results *r;
    setup();
    ck_assert_int_eq(xp_results_create(&r, path, false, &s.config, &s.provenance, &err), AG_OK);
    close(open(path, O_CREAT | O_WRONLY, 0666));
    ck_assert_int_eq(xp_results_close(r, "complete", &err), AG_ECONFIG);
    char *kept = strstr(err.message, "this run's is '");
    ck_assert_msg(kept, "%s", err.message);
    kept += strlen("this run's is '");
    kept[strcspn(kept, "'")] = '\0';
    xp_run run;
    ck_assert_int_eq(xp_run_read(&run, kept, NULL), AG_OK);
    xp_run_release(&run);
    unlink(kept);
    teardown();
}
END_TEST

START_TEST(a_place_that_cannot_be_written_is_refused_with_its_reason)
{
    char to[256];
    setup();
    snprintf(to, sizeof to, "%s/none/run.h5", folder);
    create_refused(to, AG_ECONFIG, "/none' does not exist");
    close(open(path, O_CREAT | O_WRONLY, 0666));
    snprintf(to, sizeof to, "%s/run.h5/run.h5", folder);
    create_refused(to, AG_ECONFIG, "is not a folder");
    snprintf(to, sizeof to, "%s/", folder);
    create_refused(to, AG_ECONFIG, "exists");
    create_refused("", AG_ECONFIG, "is empty");
    chmod(folder, 0555);
    snprintf(to, sizeof to, "%s/new.h5", folder);
    if (geteuid() == 0)
        ck_assert_int_eq(seteuid(65534), 0);   /* root may write anywhere */
    if (access(folder, X_OK) == 0 || errno == EACCES)
        create_refused(to, AG_ECONFIG, "may not be written to");
    if (getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
    chmod(folder, 0777);
    teardown();
}
END_TEST

START_TEST(bad_names_and_states_are_refused)
{
    const sample s = make_sample();
    const int64_t negative = -1;
    const char *const names[] = { "", "/a", "a//b", "a/", ".", "a/../b" };
    xp_results *r;
    setup();
    ck_assert_int_eq(xp_results_create(&r, path, false, &s.config, &s.provenance, NULL), AG_OK);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(xp_results_parameter(r, names[i], 0, NULL, s.weight, NULL), AG_EINVAL);
    ck_assert_int_eq(xp_results_parameter(r, "a", 1, &negative, s.weight, NULL), AG_ESHAPE);
    ck_assert_int_eq(xp_results_scores(r, &(xp_scores){ "a/b", 1, 1, s.loss[0], NULL, NULL, NULL, 0, NULL }, NULL), AG_EINVAL);
    ck_assert_int_eq(xp_results_scores(r, &(xp_scores){ "a", 0, 1, s.loss[0], NULL, NULL, NULL, 0, NULL }, NULL), AG_EINVAL);
    ck_assert_int_eq(xp_results_scores(r, &(xp_scores){ "a", 1, 1, s.loss[0], NULL, NULL, NULL, 0, NULL }, NULL), AG_OK);
    ck_assert_int_ne(xp_results_scores(r, &(xp_scores){ "a", 1, 1, s.loss[0], NULL, NULL, NULL, 0, NULL }, NULL), AG_OK);
    ck_assert_int_eq(xp_results_system(r, "train", 1, "s", NULL), AG_EINVAL);
    ck_assert_int_eq(xp_results_close(r, "done", NULL), AG_EINVAL);
    ck_assert(published());   /* the copy of before stays */
    teardown();
}
END_TEST

static void read_refused(const char *of, ag_code code, const char *words)
{
    ag_error err = { 0 };
    char *text;
    ag_code got = xp_results_show(of, false, false, &text, &err);
    ck_assert_msg(got == code && strstr(err.message, words), "%s: '%s'; expected '%s'", ag_code_name(got), err.message, words);
    ck_assert_ptr_null(text);
}

START_TEST(what_is_not_a_result_file_is_refused_with_its_reason)
{
    setup();
    read_refused(path, AG_ECONFIG, "No such file");
    read_refused(folder, AG_ECONFIG, "is not a file");
    FILE *f = fopen(path, "w");
    read_refused(path, AG_ECONFIG, "cannot be read as an HDF5 file");
    fputs("name: an experiment\n", f);
    fclose(f);
    read_refused(path, AG_ECONFIG, "cannot be read as an HDF5 file");
    const sample s = make_sample();
    struct stat status;
    must_write(&s);
    stat(path, &status);
    ck_assert_int_eq(truncate(path, status.st_size - XP_SEAL_BYTES), 0);   /* as other programs write HDF5 */
    read_refused(path, AG_EDATA, "has no seal at its end");
    teardown();
}
END_TEST

START_TEST(a_truncated_file_is_refused)
{
    const sample s = make_sample();
    struct stat status;
    setup();
    must_write(&s);
    stat(path, &status);
    for (off_t size = status.st_size - 1; size > 0; size = size * 9 / 10) {
        ck_assert_int_eq(truncate(path, size), 0);
        if (size >= 8)
            read_refused(path, AG_EDATA, "has no seal at its end");
        else
            read_refused(path, AG_ECONFIG, "cannot be read as an HDF5 file");
    }
    teardown();
}
END_TEST

/* Flips the lowest bit of one byte. */
static void flip(int fd, off_t at)
{
    unsigned char byte;
    ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
}

/* HDF5 alone takes many of these for whole, and crashes on some. */
START_TEST(one_bit_changed_anywhere_is_refused)
{
    const sample s = make_sample();
    struct stat status;
    setup();
    must_write(&s);
    ck_assert_int_eq(stat(path, &status), 0);
    int fd = open(path, O_RDWR);
    for (off_t at = status.st_size - 1; at >= 0; at -= at > status.st_size - 60 || at < 20 ? 1 : 101) {
        ag_error err = { 0 };
        xp_run run;
        flip(fd, at);
        ag_code code = xp_run_read(&run, path, &err);
        ck_assert_msg(code == (at < 8 ? AG_ECONFIG : AG_EDATA), "byte %d: %s '%s'", (int)at, ag_code_name(code), err.message);
        flip(fd, at);
    }
    close(fd);
    ck_assert_int_eq(xp_results_digest(path, (char[65]){ 0 }, NULL), AG_OK);
    teardown();
}
END_TEST

/* ---- crashes, full disks, silence ---- */

/* What a killed process left aside. */
static void sweep(void)
{
    DIR *dir = opendir(folder);
    for (struct dirent *e; (e = readdir(dir));)
        if (strstr(e->d_name, ".tmp-")) {
            char name[512];
            snprintf(name, sizeof name, "%s/%s", folder, e->d_name);
            unlink(name);
        }
    closedir(dir);
}

/* Ten rows, then scores, which replace the file on the disk at once; and again. */
static void write_for_ever(const sample *s)
{
    xp_results *r;
    if (xp_results_create(&r, path, true, &s->config, &s->provenance, NULL) != AG_OK)
        _exit(1);
    for (int i = 0;; i++) {
        const xp_train_row row = train_row(i);
        char name[32];
        snprintf(name, sizeof name, "after %d", i);
        if (xp_results_train(r, &row, NULL) != AG_OK)
            _exit(1);
        if (i % 10 == 9
            && xp_results_scores(r, &(xp_scores){ name, EPISODES, STEPS + 1, s->loss[0], NULL, s->seed, "nats", 1, NULL }, NULL) != AG_OK)
            _exit(1);
    }
}

/* Returns the number of protocols found. */
static int check_interrupted(const char *found, int trial)
{
    ag_error err = { 0 };
    xp_run run;
    const sample s = make_sample();
    ck_assert_msg(xp_run_read(&run, found, &err) == AG_OK, "trial %d: %s", trial, err.message);
    ck_assert_str_eq(run.status, "running");
    ck_assert_msg(run.train.n >= 10 * run.n_protocol, "trial %d: %d rows", trial, (int)run.train.n);
    for (int64_t i = 0; i < run.train.n; i++)
        ck_assert_msg(run.train.iteration[i] == 100 * (i + 1) && run.train.loss[i] == 2.0 / (double)(i + 1),
                      "trial %d: row %d", trial, (int)i);
    for (int i = 0; i < run.n_protocol; i++)
        ck_assert_mem_eq(run.protocols[i].loss, s.loss, sizeof s.loss);
    int n = run.n_protocol;
    xp_run_release(&run);
    return n;
}

START_TEST(a_run_that_is_killed_leaves_a_file_that_opens_with_right_values)
{
    const sample s = make_sample();
    int seen = 0;
    setup();
    for (int trial = 0; trial < 25; trial++) {
        pid_t child = fork();
        if (child == 0)
            write_for_ever(&s);
        do
            nanosleep(&(struct timespec){ 0, 20000000 + 1310000 * trial }, NULL);
        while (!published());
        nanosleep(&(struct timespec){ 0, 40000000 }, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        seen += check_interrupted(path, trial);
        unlink(path);
        sweep();
    }
    ck_assert_int_gt(seen, 0);   /* how many depends on the machine */
    teardown();
}
END_TEST

START_TEST(rows_reach_the_disk_within_a_second)
{
    const sample s = make_sample();
    xp_run run;
    setup();
    pid_t child = fork();
    if (child == 0) {
        xp_results *r;
        const xp_train_row row = train_row(0);
        xp_results_create(&r, path, true, &s.config, &s.provenance, NULL);
        xp_results_train(r, &row, NULL);
        nanosleep(&(struct timespec){ 1, 50000000 }, NULL);
        xp_results_train(r, &row, NULL);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    ck_assert_int_eq(xp_run_read(&run, path, NULL), AG_OK);
    ck_assert_int_eq(run.train.n, 2);
    xp_run_release(&run);
    teardown();
}
END_TEST

START_TEST(an_abandoned_run_leaves_nothing)
{
    const sample s = make_sample();
    xp_results *r;
    setup();
    ck_assert_int_eq(xp_results_create(&r, path, false, &s.config, &s.provenance, NULL), AG_OK);
    ck_assert_int_eq(write_rows(r, &s, NULL), AG_OK);
    xp_results_abandon(r);
    xp_results_abandon(NULL);
    teardown();
}
END_TEST

/* In a child, which also goes through HDF5's exit handler: exit, not _exit. */
static int run_on_a_full_disk(const sample *s, rlim_t bytes)
{
    ag_error err = { 0 };
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ bytes, bytes });
    ag_code code = write_sample(path, s, true, &err);
    return code == AG_OK ? 1 : code == AG_EIO && strstr(err.message, "File too large") ? 2 : 3;
}

/* A file that may be missing unless it must not. */
static void expect_whole(const char *status, bool must)
{
    xp_run run;
    if (!must && !published())
        return;
    ck_assert_int_eq(xp_run_read(&run, path, NULL), AG_OK);
    ck_assert_str_eq(run.status, status);
    xp_run_release(&run);
}

START_TEST(a_full_disk_is_reported_and_leaves_the_last_whole_copy)
{
    const sample s = make_sample();
    bool fitted = false;
    setup();
    for (rlim_t bytes = 0; !fitted; bytes += 8192) {
        int status = 0;
        pid_t child = fork();
        if (child == 0)
            exit(run_on_a_full_disk(&s, bytes));
        waitpid(child, &status, 0);
        ck_assert_msg(WIFEXITED(status), "%d bytes: signal %d", (int)bytes, WTERMSIG(status));
        fitted = WEXITSTATUS(status) == 1;
        ck_assert_msg(fitted || WEXITSTATUS(status) == 2, "%d bytes: answer %d", (int)bytes, WEXITSTATUS(status));
        expect_whole(fitted ? "complete" : "running", fitted);
        unlink(path);
        ck_assert_int_lt(bytes, 1 << 24);
    }
    teardown();
}
END_TEST

START_TEST(hdf5_prints_nothing)
{
    const sample s = make_sample();
    char shown[256];
    setup();
    snprintf(shown, sizeof shown, "%s/stderr", folder);
    int kept = dup(2), file = open(shown, O_CREAT | O_RDWR, 0666);
    dup2(file, 2);
    close(open(path, O_CREAT | O_WRONLY, 0666));
    xp_run run;
    ag_code code = xp_run_read(&run, path, NULL);
    must_write(&s);
    off_t written = lseek(file, 0, SEEK_END);
    dup2(kept, 2);
    close(kept);
    close(file);
    unlink(shown);
    ck_assert_int_eq(code, AG_ECONFIG);
    ck_assert_int_eq(written, 0);
    teardown();
}
END_TEST

static long allocations_left;

static void *failing_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    return allocations_left-- <= 0 ? NULL : aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void plain_free(void *p, void *ctx)
{
    (void)ctx;
    free(p);
}

START_TEST(every_allocation_that_fails_is_reported_and_leaks_nothing)
{
    const sample s = make_sample();
    bool done = false;
    setup();
    for (long n = 0; !done; n++) {
        ag_error err = { 0 };
        char *text = NULL;
        allocations_left = n;
        ag_set_allocator(&(ag_allocator){ failing_alloc, plain_free, NULL });
        ag_code code = write_sample(path, &s, true, &err);
        if (code == AG_OK)
            code = xp_results_show(path, n % 2, false, &text, &err);
        ag_free(text);
        ag_set_allocator(NULL);
        done = code == AG_OK;
        ck_assert_msg(done || strstr(err.message, "out of memory") || strstr(err.message, "Cannot allocate memory"),
                      "%ld: %s", n, err.message);
        ck_assert_int_lt(n, 1000);
    }
    teardown();
}
END_TEST

TEST_MAIN(what_was_written_is_read_back, chosen_steps_are_read_back_and_shown_by_their_numbers, a_sample_is_left_for_other_readers_when_they_ask, thousands_of_rows_come_back_in_order,
          equal_runs_have_equal_digests_whatever_the_system, every_difference_outside_the_system_changes_the_digest,
          the_digest_does_not_depend_on_when_rows_reached_the_disk, a_run_is_shown_as_a_table,
          a_table_in_colour_and_unicode_fits_in_80_columns, json_tells_every_step_and_writes_null_for_what_is_not_finite,
          control_characters_of_a_name_do_not_reach_the_terminal, an_existing_result_is_refused_unless_forced,
          a_result_made_by_another_during_the_run_is_not_overwritten,
          a_place_that_cannot_be_written_is_refused_with_its_reason, bad_names_and_states_are_refused,
          what_is_not_a_result_file_is_refused_with_its_reason, a_truncated_file_is_refused, one_bit_changed_anywhere_is_refused,
          a_run_that_is_killed_leaves_a_file_that_opens_with_right_values, rows_reach_the_disk_within_a_second,
          an_abandoned_run_leaves_nothing, a_full_disk_is_reported_and_leaves_the_last_whole_copy, hdf5_prints_nothing,
          every_allocation_that_fails_is_reported_and_leaks_nothing)
