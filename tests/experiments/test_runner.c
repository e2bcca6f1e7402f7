/* Whole runs, small: the same bits for any number of threads, stopping, failing, replaying. test_resume.c: going on. */
#include "tests/experiments/small_runs.h"
#include "tests/failing_allocator.h"

START_TEST(the_digest_is_the_same_for_any_number_of_threads_and_another_for_another_seed)
{
    char first[65], digest[65];
    files f;
    for (int threads = 1; threads <= 5; threads += 2) {
        name_files(&f, "threads");
        must_run(SINE, NULL, &f, (xp_run_options){ .threads = threads }, digest);
        if (threads == 1)
            strcpy(first, digest);
        ck_assert_str_eq(first, digest);
        forget(&f);
    }
    must_run(SINE, "seed=7", &f, (xp_run_options){ 0 }, digest);
    ck_assert_str_ne(first, digest);
    forget(&f);
}
END_TEST

START_TEST(a_stopped_run_leaves_a_file_with_status_interrupted)
{
    files f;
    ag_error err = { 0 };
    const atomic_int stop = 1;
    name_files(&f, "stopped");
    ck_assert_int_eq(run(SINE, NULL, &f, (xp_run_options){ .stop = &stop }, &err), AG_ESTOP);
    expect_status(&f, "interrupted", 0);
    ck_assert(exists(f.journal) && exists(f.checkpoint));
    forget(&f);
}
END_TEST

/* Of "iteration 3, task 4: ...". */
static void read_nan(const char *message, long long *iteration, long long *task)
{
    ck_assert_msg(sscanf(message, "iteration %lld, task %lld:", iteration, task) == 2, "%s", message);
    char command[64];
    snprintf(command, sizeof command, ": metalora run x.yaml -o y.h5 --replay %lld:%lld", *iteration, *task);
    ck_assert_msg(strstr(message, command), "'%s' is not in '%s'", command, message);
}

static void replay(const char *yaml, const char *set, const files *f, int64_t iteration, int64_t task, xp_episode_report *report)
{
    xp_config c;
    ag_error err = { 0 };
    const char *sets[] = { set };
    ck_assert_int_eq(xp_config_parse(&c, yaml, strlen(yaml), "test.yaml", set ? 1 : 0, sets, &err), AG_OK);
    ag_code code = xp_experiment_replay(&c, &(xp_run_options){ .out = f->out }, iteration, task, report, &err);
    ck_assert_msg(code == AG_OK, "%s", err.message);
    xp_config_release(&c);
}

/* Diverges slowly enough for some iterations to pass. */
static void fail_and_replay(const char *yaml, const char *set)
{
    files f;
    ag_error err = { 0 };
    long long iteration, task;
    xp_episode_report kept, trained;
    name_files(&f, "nan");
    ck_assert_int_eq(run(yaml, set, &f, (xp_run_options){ .command_line = "metalora run x.yaml -o y.h5" }, &err), AG_ENAN);
    read_nan(err.message, &iteration, &task);
    ck_assert_int_gt(iteration, 1);
    expect_status(&f, "failed", iteration - 1);
    replay(yaml, set, &f, iteration, task, &kept);
    ck_assert(kept.checkpoint == iteration - 1 && kept.trained == 0 && !kept.finite);
    replay(yaml, set, &f, iteration - 1, task, &trained);   /* the checkpoint is too late for that */
    ck_assert_msg(trained.checkpoint == -1 && trained.finite && isfinite(trained.query_loss) && trained.grad_norm > 0,
                  "from checkpoint %lld, %sfinite, loss %g, gradient %g", (long long)trained.checkpoint, trained.finite ? "" : "not ",
                  trained.query_loss, trained.grad_norm);
    ag_error_clear(&err);
    ck_assert_int_eq(resume(&f, (xp_run_options){ 0 }, &err), AG_ENAN);   /* once more, at once */
    read_nan(err.message, &iteration, &task);
    forget(&f);
    replay(yaml, set, &f, iteration, task, &trained);
    ck_assert(trained.checkpoint == -1 && !trained.finite);
    ck_assert(!exists(f.out) && !exists(f.journal));
}

START_TEST(a_loss_that_is_not_finite_names_iteration_and_task_and_the_command_that_replays_it)
{
    fail_and_replay(SINE, "outer={algorithm: maml, optimizer: sgd, lr: 1000, meta_batch: 7, iterations: 12, chunk: 2}");
    fail_and_replay(LINEAR, "outer={algorithm: lora-ml, optimizer: sgd, lr: 1000, meta_batch: 3, iterations: 60}");
}
END_TEST

START_TEST(a_replayed_episode_is_that_of_the_run)
{
    files f;
    char digest[65];
    xp_run r;
    xp_episode_report e;
    double support = 0, query = 0;
    name_files(&f, "replayed");
    must_run(SINE, NULL, &f, (xp_run_options){ 0 }, digest);
    ck_assert_int_eq(xp_run_read(&r, f.out, NULL), AG_OK);
    for (int task = 0; task < 7; task++) {
        replay(SINE, NULL, &f, 10, task, &e);
        ck_assert(e.finite && e.trained == 9 && e.iteration == 10 && e.task == task);
        support += e.support_loss / 7;
        query += e.query_loss / 7;
    }
    ck_close(query, r.train.loss[9], 1e-6);
    ck_assert(support > 0);
    xp_run_release(&r);
    forget(&f);
}
END_TEST

START_TEST(an_existing_file_is_refused_without_force_and_left_as_it_was)
{
    files f;
    char before[65], after[65];
    ag_error err = { 0 };
    name_files(&f, "existing");
    must_run(SINE, NULL, &f, (xp_run_options){ 0 }, before);
    ck_assert_int_eq(run(SINE, "seed=3", &f, (xp_run_options){ 0 }, &err), AG_ECONFIG);
    ag_error_clear(&err);
    ck_assert_int_eq(xp_results_digest(f.out, after, &err), AG_OK);
    ck_assert_str_eq(before, after);
    must_run(SINE, "seed=3", &f, (xp_run_options){ .force = true }, after);
    ck_assert_str_ne(before, after);
    forget(&f);
}
END_TEST

/* Each column of `some` is that of the same step of `all`. */
static void check_columns(const xp_protocol *some, const xp_protocol *all)
{
    ck_assert_int_eq(some->n_episode, all->n_episode);
    for (int64_t e = 0; e < some->n_episode; e++)
        for (int64_t i = 0; i < some->n_score; i++)
            ck_assert(some->loss[e * some->n_score + i] == all->loss[e * all->n_score + some->step[i]]);
}

static void check_chosen_steps(const char *yaml, const char *set, int n, const int64_t *steps)
{
    files f;
    char digest[65];
    ag_error err = { 0 };
    xp_run all, some;
    name_files(&f, "steps");
    must_run(yaml, NULL, &f, (xp_run_options){ 0 }, digest);
    ck_assert_msg(xp_run_read(&all, f.out, &err) == AG_OK, "%s", err.message);
    forget(&f);
    must_run(yaml, set, &f, (xp_run_options){ 0 }, digest);
    ck_assert_msg(xp_run_read(&some, f.out, &err) == AG_OK, "%s", err.message);
    forget(&f);
    ck_assert_int_eq(all.n_protocol, some.n_protocol);
    for (int i = 0; i < some.n_protocol; i++) {
        ck_assert_int_eq(some.protocols[i].n_score, n);
        ck_assert_mem_eq(some.protocols[i].step, steps, (size_t)n * sizeof *steps);
        check_columns(&some.protocols[i], &all.protocols[i]);
    }
    ck_assert_int_eq(all.validation.n, some.validation.n);
    for (int64_t i = 0; i < all.validation.n; i++)
        ck_assert(all.validation.loss[i] == some.validation.loss[i]);
    xp_run_release(&all);
    xp_run_release(&some);
}

START_TEST(chosen_steps_have_the_scores_that_they_have_among_all)
{
    check_chosen_steps(SINE, "eval.score_steps=[0, 3]", 2, (const int64_t[]){ 0, 3 });
    check_chosen_steps(SINE, "eval.score_steps=[3]", 1, (const int64_t[]){ 3 });
    check_chosen_steps(LINEAR, "eval.score_steps=[1, 5, 600]", 3, (const int64_t[]){ 1, 5, 600 });
}
END_TEST

static double median_at_the_end(const files *f)
{
    ag_error err = { 0 };
    xp_run r;
    xp_summary loss, accuracy;
    ck_assert_msg(xp_run_read(&r, f->out, &err) == AG_OK, "%s", err.message);
    xp_run_score(&r.protocols[0], r.protocols[0].n_score - 1, &loss, &accuracy);
    xp_run_release(&r);
    return loss.median;
}

START_TEST(lora_ml_learns_the_new_task_where_standard_retraining_does_not)
{
    files f;
    char digest[65];
    name_files(&f, "lora");
    must_run(LINEAR, NULL, &f, (xp_run_options){ 0 }, digest);
    double lora = median_at_the_end(&f);
    forget(&f);
    must_run(LINEAR, "outer.algorithm=standard-retraining", &f, (xp_run_options){ 0 }, digest);
    double standard = median_at_the_end(&f);
    forget(&f);
    ck_assert_msg(lora < 1e-2 && standard > 0.3, "LoRA-ML %g, standard retraining %g", lora, standard);
}
END_TEST

START_TEST(every_kind_of_run_can_be_made)
{
    static const char *const sets[] = { "outer.algorithm=fomaml", "outer.algorithm=joint", "inner={lr: 0.01, learn_lr: true, lr_scope: element}",
        "inner={lr: 0.01, learn_lr: true, lr_scope: tensor}",
        ("outer={algorithm: maml, optimizer: sgd, momentum: 0.9, lr: 0.01, meta_batch: 3, "
         "iterations: 4, schedule: cosine, clip_norm: 1}"), "outer={algorithm: maml, schedule: linear, clip_value: 10, meta_batch: 2, iterations: 4}" };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        files f;
        char digest[65];
        name_files(&f, "kinds");
        must_run(SINE, sets[i], &f, (xp_run_options){ .threads = 2 }, digest);
        forget(&f);
    }
}
END_TEST

/* ---- memory that runs out ---- */

/* Runs with the n-th allocation failing; 0: none does. Returns how many were asked for. */
static int64_t starve(const char *yaml, const char *set, int64_t n, ag_code *code)
{
    files f;
    ag_error err = { 0 };
    failing_allocator s = { .fail_at = n };
    name_files(&f, "starved");
    failing_use(&s);
    *code = run(yaml, set, &f, (xp_run_options){ 0 }, &err);
    failing_use(NULL);
    ck_assert_msg(s.live_blocks == 0, "allocation %d failed: %d were not released", (int)n, (int)s.live_blocks);
    ck_assert_msg(*code == AG_OK || (*code == AG_ENOMEM && err.message[0]), "allocation %d failed: code %d, %s", (int)n, *code, err.message);
    forget(&f);
    return s.calls;
}

/* Tests every step-th allocation of a whole run. A few may be missed without harm (the table of repeats). */
static void starve_everywhere(const char *yaml, const char *set)
{
    ag_code code;
    int64_t all = starve(yaml, set, 0, &code), failed = 0;
    int64_t step = test_under_valgrind() ? 1 + all / 20 : 1;
    ck_assert_int_eq(code, AG_OK);
    for (int64_t n = 1; n <= all; n += step) {
        starve(yaml, set, n, &code);
        failed += code == AG_ENOMEM;
    }
    ck_assert_msg(failed > all / step / 2, "only %d of %d", (int)failed, (int)(all / step));
    if (getenv("METALORA_TEST_TELL"))
        fprintf(stderr, "%d allocations failed in turn, %d told\n", (int)(all / step), (int)failed);
}

START_TEST(any_allocation_of_a_run_may_fail)
{
    starve_everywhere(SINE, "outer={algorithm: maml, meta_batch: 2, iterations: 4, chunk: 2}");
    starve_everywhere(LINEAR, "outer={algorithm: lora-ml, optimizer: sgd, lr: 0.1, meta_batch: 3, iterations: 1}");
}
END_TEST

TEST_MAIN(the_digest_is_the_same_for_any_number_of_threads_and_another_for_another_seed,
          a_stopped_run_leaves_a_file_with_status_interrupted,
          a_loss_that_is_not_finite_names_iteration_and_task_and_the_command_that_replays_it, a_replayed_episode_is_that_of_the_run,
          an_existing_file_is_refused_without_force_and_left_as_it_was, lora_ml_learns_the_new_task_where_standard_retraining_does_not,
          chosen_steps_have_the_scores_that_they_have_among_all,
          every_kind_of_run_can_be_made, any_allocation_of_a_run_may_fail)
