/* Runs that are killed, stopped or starved at any moment go on and end with the same bits.
 *
 * METALORA_TEST_KILLS=100 kills that many runs at random moments (default 10) and dies at every single system call
 * (default: every thirteenth). */
#include "tests/experiments/small_runs.h"

#include "experiments/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

static const char LORA[] =
    "name: l\nrepeats: 3\ntasks: {source: lora-linear, dim: 4, n_task: 3, train_samples: 50}\nmodel: {kind: linear}\n"
    "adapter: {kind: lora, rank: 1, init_std: 0.1}\ninner: {lr: 0.01, steps: 3}\n"
    "outer: {algorithm: lora-ml, optimizer: adam, lr: 0.1, meta_batch: 3, iterations: 9}\n"
    "eval: {episodes: 1, steps: 5, checkpoint_every: 4}\n";
static const char OFTEN[] = "eval.checkpoint_every=3";

/* ---- system calls that kill, stop or fail (linked with --wrap) ---- */

static enum { KILL_BEFORE, KILL_HALFWAY, RAISE_STOP, FAIL } what;
static long calls_left = -1;             /* -1: nothing happens */
static atomic_int stop;

ssize_t __real_write(int fd, const void *data, size_t n);

/* Whether the call is to fail. */
static bool strike(int fd, const void *data, size_t n)
{
    if (calls_left < 0 || calls_left-- > 0)
        return false;
    if (what == KILL_HALFWAY && n > 1 && __real_write(fd, data, n / 2) < 0)
        _exit(9);
    if (what == KILL_BEFORE || what == KILL_HALFWAY)
        kill(getpid(), SIGKILL);
    if (what == RAISE_STOP)
        stop = 1;
    errno = ENOSPC;
    return what == FAIL;
}

ssize_t __wrap_write(int fd, const void *data, size_t n);
ssize_t __wrap_write(int fd, const void *data, size_t n)
{
    return strike(fd, data, n) ? -1 : __real_write(fd, data, n);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    return strike(-1, NULL, 0) ? -1 : __real_rename(from, to);
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
    return strike(-1, NULL, 0) ? -1 : __real_unlink(path);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    return strike(-1, NULL, 0) ? -1 : __real_fsync(fd);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    return strike(-1, NULL, 0) ? -1 : __real_fdatasync(fd);
}

int __real_ftruncate(int fd, off_t n);
int __wrap_ftruncate(int fd, off_t n);
int __wrap_ftruncate(int fd, off_t n)
{
    return strike(-1, NULL, 0) ? -1 : __real_ftruncate(fd, n);
}

/* ---- clocks that jump ---- */

static bool clocks_jump;
static unsigned looks;

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    int result = __real_clock_gettime(id, t);
    if (clocks_jump && id == CLOCK_REALTIME)
        t->tv_sec += (looks++ % 2 ? 1 : -1) * 100000000;
    if (clocks_jump && id == CLOCK_MONOTONIC)
        t->tv_sec += 50 * (long)looks++;   /* a machine that slept */
    return result;
}

time_t __real_time(time_t *t);
time_t __wrap_time(time_t *t);
time_t __wrap_time(time_t *t)
{
    time_t now = __real_time(NULL) + (clocks_jump ? (looks++ % 2 ? 1 : -1) * 1000000000L : 0);
    if (t)
        *t = now;
    return now;
}

/* ---- running and going on ---- */

static const xp_run_options quick = { .checkpoint_seconds = 1e-9, .stop = &stop };   /* a checkpoint after every step but training */

static int kills(void)
{
    const char *n = getenv("METALORA_TEST_KILLS");
    return n ? atoi(n) : test_under_valgrind() ? 2 : 10;
}

/* Every how many system calls something happens: every one where many kills are asked for; memcheck is slow. */
static long sparse(long stride)
{
    return kills() >= 100 ? 1 : kills() < 10 ? 8 * stride : stride;
}

/* One process's attempt: resumes if there is what to resume, begins if there is not. A run killed before it had begun says so. */
static ag_code attempt(const char *yaml, const char *set, const files *f, ag_error *err)
{
    xp_run_options o = quick;
    if (!exists(f->journal))
        return run(yaml, set, f, o, err);
    ag_code code = resume(f, o, err);
    if (code != AG_EDATA || !strstr(err->message, "begin it again with --force"))
        return code;
    o.force = true;
    ag_error_clear(err);
    return run(yaml, set, f, o, err);
}

static bool finished(const files *f)
{
    xp_run r;
    if (exists(f->journal) || xp_run_read(&r, f->out, NULL) != AG_OK)
        return false;
    bool complete = strcmp(r.status, "complete") == 0;
    xp_run_release(&r);
    return complete;
}

/* In a child, killed after that many calls. Returns whether it came to its end. */
static bool attempt_and_die(const char *yaml, const char *set, const files *f, long calls)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        ag_error err = { 0 };
        calls_left = calls;
        ag_code code = attempt(yaml, set, f, &err);
        if (code != AG_OK)
            fprintf(stderr, "%s: %s\n", ag_code_name(code), err.message);
        _exit(code != AG_OK);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0, "after %ld calls: status %x", calls,
                  (unsigned)status);
    return WIFEXITED(status);
}

static void finish(const char *yaml, const char *set, const files *f, const char *digest, const char *when, long n)
{
    ag_error err = { 0 };
    char found[65];
    if (!finished(f)) {
        ag_code code = attempt(yaml, set, f, &err);
        ck_assert_msg(code == AG_OK, "%s %ld: %s", when, n, err.message);
    }
    digest_of(f, found);
    ck_assert_msg(strcmp(found, digest) == 0, "%s %ld: %s, expected %s", when, n, found, digest);
    ck_assert_msg(!exists(f->journal) && !exists(f->checkpoint), "%s %ld: files were left", when, n);
    forget(f);
}

/* Dies at the n-th call, again at another one when resumed, then goes on to the end; for every n-th, until none is left. */
static void die_at_every_call(const char *yaml, const char *set, const char *tag)
{
    files f;
    char digest[65];
    name_files(&f, tag);
    must_run(yaml, set, &f, quick, digest);
    forget(&f);
    long stride = sparse(13);
    bool whole = false;
    for (long n = 0; !whole; n += stride) {
        what = n / stride % 2 ? KILL_HALFWAY : KILL_BEFORE;
        whole = attempt_and_die(yaml, set, &f, n);
        if (!whole && !finished(&f))
            attempt_and_die(yaml, set, &f, n * 11 % 61);
        finish(yaml, set, &f, digest, "killed at call", n);
        ck_assert_int_lt(n, 5000);
    }
}

START_TEST(a_maml_run_that_dies_at_any_system_call_ends_with_the_same_bits)
{
    die_at_every_call(SINE, OFTEN, "calls");
}
END_TEST

START_TEST(a_lora_run_that_dies_at_any_system_call_ends_with_the_same_bits)
{
    die_at_every_call(LORA, NULL, "lora-calls");
}
END_TEST

static uint64_t random_state = 88172645463325252u;

static double uniform(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (double)(random_state >> 11) / 9007199254740992.0;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Starts or resumes the run in a child and kills it after that time; whether it was killed in time. */
static bool attempt_and_kill(const char *yaml, const char *set, const files *f, double seconds)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(attempt(yaml, set, f, &(ag_error){ 0 }) != AG_OK);
    nanosleep(&(struct timespec){ (time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds)) }, NULL);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
    return WIFSIGNALED(status);
}

static void kill_at_random(const char *yaml, const char *set, const char *tag)
{
    files f;
    char digest[65];
    name_files(&f, tag);
    double start = seconds_now();
    must_run(yaml, set, &f, quick, digest);
    double whole = seconds_now() - start;
    forget(&f);
    for (int killed = 0; killed < kills();) {
        int in_this_run = 0;
        while (!finished(&f) && in_this_run < 6 && killed < kills())
            if (attempt_and_kill(yaml, set, &f, uniform() * whole)) {
                killed++;
                in_this_run++;
            }
        finish(yaml, set, &f, digest, "kills so far", killed);
    }
}

START_TEST(runs_killed_at_random_moments_again_and_again_end_with_the_same_bits)
{
    kill_at_random(SINE, "outer={algorithm: maml, meta_batch: 7, iterations: 400, chunk: 2}", "random");
    kill_at_random(LORA, "outer.iterations=200", "lora-random");
}
END_TEST

/* ---- being stopped, and failing ---- */

/* Stopped at the n-th system call, for all n: the flag is seen at the next chunk of tasks, wherever that is. */
static void stop_at_every_call(const char *yaml, const char *set, const char *tag)
{
    files f;
    char digest[65];
    ag_error err = { 0 };
    name_files(&f, tag);
    must_run(yaml, set, &f, quick, digest);
    forget(&f);
    bool whole = false;
    for (long n = 0; !whole; n += sparse(23)) {
        what = RAISE_STOP;
        calls_left = n;
        stop = 0;
        ag_code code = run(yaml, set, &f, quick, &err);
        whole = calls_left >= 0;
        calls_left = -1;
        ck_assert_msg(code == AG_OK || code == AG_ESTOP, "call %ld: %s", n, err.message);
        ck_assert_msg(code == AG_OK || !exists(f.journal) || exists(f.checkpoint), "call %ld: no checkpoint", n);
        if (code == AG_ESTOP && exists(f.journal))
            expect_status(&f, "interrupted", 0);
        ag_error_clear(&err);
        stop = 0;
        finish(yaml, set, &f, digest, "stopped at call", n);
    }
}

START_TEST(a_run_that_is_stopped_anywhere_is_interrupted_and_goes_on)
{
    stop_at_every_call(SINE, OFTEN, "stop");
    stop_at_every_call(LORA, NULL, "lora-stop");
    stop_at_every_call(SINE, "eval={episodes: 9, steps: 3, score_steps: [1, 3], shots: [5, 10]}", "steps-stop");
}
END_TEST

/* Every call in turn finds the disk full; whatever the run says of it, it goes on afterwards. */
START_TEST(a_run_that_cannot_write_fails_with_its_reason_and_goes_on_when_it_can)
{
    files f;
    char digest[65];
    ag_error err = { 0 };
    name_files(&f, "full");
    must_run(SINE, OFTEN, &f, quick, digest);
    forget(&f);
    bool whole = false;
    for (long n = 0; !whole; n += sparse(5)) {
        what = FAIL;
        calls_left = n;
        ag_code code = run(SINE, OFTEN, &f, quick, &err);
        whole = calls_left >= 0;
        calls_left = -1;
        ck_assert_msg(code == AG_OK || (code == AG_EIO && strstr(err.message, "No space left")), "call %ld: %s: %s", n,
                      ag_code_name(code), err.message);
        ag_error_clear(&err);
        finish(SINE, OFTEN, &f, digest, "no space at call", n);
    }
}
END_TEST

START_TEST(clocks_that_jump_change_nothing)
{
    files f;
    char plain[65], jumping[65];
    name_files(&f, "clock");
    must_run(SINE, NULL, &f, (xp_run_options){ 0 }, plain);
    forget(&f);
    clocks_jump = true;
    must_run(SINE, NULL, &f, (xp_run_options){ 0 }, jumping);
    clocks_jump = false;
    ck_assert_str_eq(plain, jumping);
    ck_assert_uint_gt(looks, 10);
    forget(&f);
}
END_TEST

START_TEST(a_run_stopped_twice_goes_on_with_other_threads)
{
    files f;
    char digest[65], found[65];
    ag_error err = { 0 };
    name_files(&f, "threads");
    must_run(SINE, OFTEN, &f, (xp_run_options){ .threads = 1 }, digest);
    forget(&f);
    stop = 1;
    ck_assert_int_eq(run(SINE, OFTEN, &f, quick, &err), AG_ESTOP);
    ag_error_clear(&err);
    ck_assert_int_eq(resume(&f, quick, &err), AG_ESTOP);
    ag_error_clear(&err);
    stop = 0;
    ck_assert_msg(resume(&f, (xp_run_options){ .threads = 3 }, &err) == AG_OK, "%s", err.message);
    digest_of(&f, found);
    ck_assert_str_eq(digest, found);
    forget(&f);
}
END_TEST

/* ---- the command line ---- */

static int command(const char *const *words, char *messages, size_t size)
{
    const char *argv[12] = { "metalora" };
    int n = 1;
    while (words[n - 1]) {
        argv[n] = words[n - 1];
        n++;
    }
    FILE *out = fopen("/dev/null", "w"), *text = fmemopen(messages, size, "w");
    int code = xp_cli(n, argv, out, text);
    fclose(out);
    fclose(text);
    return code;
}
#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

/* A signal that comes while the n-th journal record is long written: in training, in validation or in the test. */
static void signalled(int signal_number, const char *set, const char *phase)
{
    files f;
    char yaml[80], messages[4096] = "", hint[256];
    int status;
    name_files(&f, phase);
    snprintf(yaml, sizeof yaml, "%s.yaml", f.out);
    write_text(yaml, SINE);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGINT, SIG_DFL);
        alarm(120);
        _exit(command(WORDS("run", yaml, "--out", f.out, "--set", set, "-q", "--threads", "1"), messages, sizeof messages));
    }
    for (int i = 0; i < 6000 && !exists(f.out); i++)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
    double start = seconds_now();
    kill(child, signal_number);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 128 + signal_number, "%s: status %x", phase, (unsigned)status);
    ck_assert_msg(seconds_now() - start < 20, "%s: took %g s to stop", phase, seconds_now() - start);
    expect_status(&f, "interrupted", 0);
    ck_assert(exists(f.journal) && exists(f.checkpoint));
    ck_assert_int_eq(command(WORDS("run", yaml, "--out", f.out, "-q"), messages, sizeof messages), XP_EXIT_MEND);
    snprintf(hint, sizeof hint, "%s is an unfinished run: go on with metalora resume %s, or begin again with --force", f.out, f.out);
    ck_assert_msg(strstr(messages, hint), "%s", messages);
    forget(&f);
    remove(yaml);
}

START_TEST(signals_stop_training_validation_and_test_and_exit_130_or_143)
{
    signalled(SIGINT, "outer.iterations=100000000", "training");
    signalled(SIGTERM, "eval={validate_every: 1, validation_episodes: 1000000, episodes: 9}", "validation");
    signalled(SIGTERM, "eval={episodes: 1000000, steps: 3}", "test");
}
END_TEST

START_TEST(the_command_resumes_and_refuses_a_finished_run)
{
    files f;
    char digest[65], found[65], messages[4096] = "";
    ag_error err = { 0 };
    name_files(&f, "cli");
    must_run(SINE, NULL, &f, quick, digest);
    forget(&f);
    stop = 1;
    ck_assert_int_eq(run(SINE, NULL, &f, quick, &err), AG_ESTOP);
    stop = 0;
    ck_assert_msg(command(WORDS("resume", f.out, "--threads", "2", "--json"), messages, sizeof messages) == 0, "%s", messages);
    digest_of(&f, found);
    ck_assert_str_eq(digest, found);
    ck_assert_int_eq(command(WORDS("resume", f.out), messages, sizeof messages), XP_EXIT_MEND);
    ck_assert_msg(strstr(messages, "is finished: there is nothing to resume"), "%s", messages);
    forget(&f);
    ck_assert_int_eq(command(WORDS("resume", f.out), messages, sizeof messages), XP_EXIT_MEND);
    ck_assert_msg(strstr(messages, "No such file"), "%s", messages);
}
END_TEST

TEST_MAIN(a_maml_run_that_dies_at_any_system_call_ends_with_the_same_bits, a_lora_run_that_dies_at_any_system_call_ends_with_the_same_bits,
          runs_killed_at_random_moments_again_and_again_end_with_the_same_bits, a_run_that_is_stopped_anywhere_is_interrupted_and_goes_on,
          a_run_that_cannot_write_fails_with_its_reason_and_goes_on_when_it_can, clocks_that_jump_change_nothing,
          a_run_stopped_twice_goes_on_with_other_threads, signals_stop_training_validation_and_test_and_exit_130_or_143,
          the_command_resumes_and_refuses_a_finished_run)
