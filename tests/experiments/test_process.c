/* Other programs: their words, environment, output and end. */
#include "tests/check.h"
#include "tests/failing_allocator.h"

#include "experiments/process.h"

#include <signal.h>

static ag_code run_sh(const char *script, const char *variable, char *output, size_t n, int *status, ag_error *err)
{
    xp_process p = { .argv = (const char *const[]){ "sh", "-c", script, "name", "two words", "", NULL }, .variable = variable };
    return xp_process_run(&p, output, n, status, err);
}

static void expect_run(const char *script, const char *variable, int want, const char *says)
{
    char output[200];
    int status = -1;
    ag_error err = { 0 };
    ck_assert_msg(run_sh(script, variable, output, sizeof output, &status, &err) == AG_OK, "%s", err.message);
    ck_assert_str_eq(output, says);
    ck_assert_int_eq(status, want);
}

START_TEST(words_environment_and_both_streams_arrive_as_they_are)
{
    setenv("METALORA_TEST_KEPT", "kept", 1);
    setenv("METALORA_TEST_SET", "before", 1);
    expect_run("echo \"$# [$1] [$2]\"; echo problem >&2", NULL, 0, "2 [two words] []\nproblem\n");
    expect_run("echo $METALORA_TEST_KEPT $METALORA_TEST_SET", NULL, 0, "kept before\n");
    expect_run("echo $METALORA_TEST_KEPT $METALORA_TEST_SET", "METALORA_TEST_SET=a = b", 0, "kept a = b\n");
    ck_assert_str_eq(getenv("METALORA_TEST_SET"), "before");
    expect_run("cat; echo nothing to read", NULL, 0, "nothing to read\n");
    signal(SIGPIPE, SIG_IGN);                        /* as while a download goes on; a program must not inherit that */
    expect_run("kill -PIPE $$", NULL, 128 + SIGPIPE, "");
}
END_TEST

START_TEST(the_end_is_told_apart)
{
    expect_run("exit 0", NULL, 0, "");
    expect_run("exit 7", NULL, 7, "");
    expect_run("echo then; kill -TERM $$", NULL, 128 + 15, "then\n");
}
END_TEST

START_TEST(of_much_output_the_end_is_kept)
{
    char output[11];
    int status;
    ag_error err = { 0 };
    ck_assert_int_eq(run_sh("i=0; while [ $i -lt 5000 ]; do echo 0123456789; i=$((i+1)); done; printf last", NULL, output,
                            sizeof output, &status, &err), AG_OK);
    ck_assert_str_eq(output, "56789\nlast");
    ck_assert_int_eq(run_sh("printf 12345; sleep 0.1; printf 6789; sleep 0.1; printf abc", NULL, output, sizeof output, &status, &err),
                     AG_OK);
    ck_assert_str_eq(output, "3456789abc");
}
END_TEST

START_TEST(one_that_leaves_a_child_with_its_output_has_ended)
{
    expect_run("echo begun; (sleep 2; echo late) & exit 4", NULL, 4, "begun\n");
}
END_TEST

START_TEST(a_program_that_is_not_there_is_for_the_user_to_mend)
{
    char output[20] = "x";
    int status;
    ag_error err = { 0 };
    xp_process p = { .argv = (const char *const[]){ "no-such-program", NULL } };
    ck_assert_int_eq(xp_process_run(&p, output, sizeof output, &status, &err), AG_ECONFIG);
    ck_assert_str_eq(err.message, "there is no program 'no-such-program' in PATH");
    ck_assert_str_eq(output, "");
}
END_TEST

static void count(void *ctx)
{
    ++*(int *)ctx;
}

START_TEST(ticks_come_while_it_runs)
{
    char output[20];
    int status, ticks = 0;
    xp_process p = { .argv = (const char *const[]){ "sleep", "0.5", NULL }, .tick = count, .ctx = &ticks };
    ck_assert_int_eq(xp_process_run(&p, output, sizeof output, &status, NULL), AG_OK);
    ck_assert_int_ge(ticks, 2);
}
END_TEST

static ag_code say_hello(void *ctx, ag_error *err)
{
    int status;
    return run_sh("echo hello", "A=B", ctx, 20, &status, err);
}

START_TEST(without_memory_nothing_runs)
{
    char output[20];
    ck_assert_int_eq(failing_each(say_hello, output), 1);
    ck_assert_str_eq(output, "hello\n");
}
END_TEST

TEST_MAIN(words_environment_and_both_streams_arrive_as_they_are, the_end_is_told_apart, of_much_output_the_end_is_kept,
          one_that_leaves_a_child_with_its_output_has_ended, a_program_that_is_not_there_is_for_the_user_to_mend,
          ticks_come_while_it_runs, without_memory_nothing_runs)
