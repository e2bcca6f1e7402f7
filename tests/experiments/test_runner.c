/* Whole runs, small: the same bits for any number of threads, stopping, going on from a checkpoint, and failing. */
#include "experiments/results.h"
#include "experiments/run_summary.h"
#include "experiments/runner.h"
#include "tests/check.h"

#include <stdio.h>
#include <unistd.h>

static const char SINE[] =
    "name: t\ntasks: {source: sinusoid, shot: 5, query: 5}\nmodel: {kind: mlp, hidden: [8, 8], init: he}\n"
    "inner: {lr: 0.01, steps: 2}\nouter: {algorithm: maml, meta_batch: 7, iterations: 12, chunk: 2}\n"
    "eval: {episodes: 9, steps: 3, shots: [5, 10], query: 20, validate_every: 4, validation_episodes: 5, select: best}\n";

static const char LINEAR[] =
    "name: l\nrepeats: 3\ntasks: {source: lora-linear, dim: 4, n_task: 3, train_samples: 200}\nmodel: {kind: linear}\n"
    "adapter: {kind: lora, rank: 1, init_std: 0.1}\ninner: {lr: 0.01, steps: 10, lr_query: 0.02}\n"
    "outer: {algorithm: lora-ml, optimizer: sgd, lr: 0.1, meta_batch: 3, iterations: 1500}\n"
    "eval: {episodes: 1, steps: 600, diverged_above: 1.0e+06}\n";

typedef struct files {
    char out[64], checkpoint[80];
} files;

static void name_files(files *f, const char *tag)
{
    snprintf(f->out, sizeof f->out, "runner-%s-%ld.h5", tag, (long)getpid());
    snprintf(f->checkpoint, sizeof f->checkpoint, "%s.ckpt", f->out);
}

static void forget(const files *f)
{
    remove(f->out);
    remove(f->checkpoint);
}

static ag_code run(const char *yaml, const char *set, const files *f, xp_run_options o, ag_error *err)
{
    xp_config c;
    const char *sets[] = { set };
    ag_code code = xp_config_parse(&c, yaml, strlen(yaml), "test.yaml", set ? 1 : 0, sets, err);
    if (code != AG_OK)
        return code;
    o.out = f->out;
    code = xp_experiment_run(&c, &o, err);
    xp_config_release(&c);
    return code;
}

static void must_run(const char *yaml, const char *set, const files *f, xp_run_options o, char digest[65])
{
    ag_error err = { 0 };
    ck_assert_msg(run(yaml, set, f, o, &err) == AG_OK, "%s (%s)", err.message, err.trail);
    ck_assert_msg(xp_results_digest(f->out, digest, &err) == AG_OK, "%s", err.message);
}

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

START_TEST(a_run_resumed_from_its_checkpoint_ends_with_the_same_parameters_and_scores)
{
    files whole, broken;
    char digest[65];
    ag_error err = { 0 };
    name_files(&whole, "whole");
    name_files(&broken, "broken");
    must_run(SINE, "eval.checkpoint_every=5", &whole, (xp_run_options){ 0 }, digest);   /* its last checkpoint is after 10 of 12 */
    must_run(SINE, "eval.checkpoint_every=5", &broken, (xp_run_options){ .resume = whole.checkpoint }, digest);
    xp_run a, b;
    ck_assert_msg(xp_run_read(&a, whole.out, &err) == AG_OK && xp_run_read(&b, broken.out, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(a.n_protocol, 4);   /* two shot counts, each for the best and the last parameters */
    ck_assert_int_eq(b.n_protocol, 4);
    ck_assert_int_eq(a.train.n, 12);
    ck_assert_int_eq(b.train.n, 2);
    for (int p = 0; p < a.n_protocol; p++) {
        size_t n = (size_t)(a.protocols[p].n_episode * (a.protocols[p].n_step + 1));
        ck_assert_str_eq(a.protocols[p].name, b.protocols[p].name);
        ck_assert_mem_eq(a.protocols[p].loss, b.protocols[p].loss, n * sizeof(double));
    }
    xp_run_release(&a);
    xp_run_release(&b);
    forget(&whole);
    forget(&broken);
}
END_TEST

START_TEST(a_checkpoint_of_another_configuration_is_refused)
{
    files f, other;
    char digest[65];
    ag_error err = { 0 };
    name_files(&f, "mine");
    name_files(&other, "other");
    must_run(SINE, "eval.checkpoint_every=5", &f, (xp_run_options){ 0 }, digest);
    ck_assert_int_eq(run(SINE, "inner.lr=0.02", &other, (xp_run_options){ .resume = f.checkpoint }, &err), AG_ECONFIG);
    ck_assert_int_ne(access(other.out, F_OK), 0);
    forget(&f);
}
END_TEST

START_TEST(a_stopped_run_leaves_a_file_with_status_interrupted)
{
    files f;
    ag_error err = { 0 };
    const volatile sig_atomic_t stop = 1;
    name_files(&f, "stopped");
    ck_assert_int_eq(run(SINE, NULL, &f, (xp_run_options){ .stop = &stop }, &err), AG_ESTOP);
    xp_run r;
    ag_error_clear(&err);
    ck_assert_msg(xp_run_read(&r, f.out, &err) == AG_OK, "%s", err.message);
    ck_assert_str_eq(r.status, "interrupted");
    ck_assert_int_eq(r.train.n, 0);
    xp_run_release(&r);
    forget(&f);
}
END_TEST

START_TEST(a_loss_that_is_not_finite_names_iteration_and_task_and_the_file_says_failed)
{
    files f;
    ag_error err = { 0 };
    name_files(&f, "nan");
    ck_assert_int_eq(run(SINE, "inner={lr: 1.0e+03, steps: 12}", &f, (xp_run_options){ 0 }, &err), AG_ENAN);
    ck_assert_ptr_nonnull(strstr(err.message, "iteration "));
    ck_assert_ptr_nonnull(strstr(err.message, "task "));
    xp_run r;
    ag_error_clear(&err);
    ck_assert_msg(xp_run_read(&r, f.out, &err) == AG_OK, "%s", err.message);
    ck_assert_str_eq(r.status, "failed");
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

static double median_at_the_end(const files *f)
{
    ag_error err = { 0 };
    xp_run r;
    xp_summary loss, accuracy;
    ck_assert_msg(xp_run_read(&r, f->out, &err) == AG_OK, "%s", err.message);
    xp_run_step(&r.protocols[0], r.protocols[0].n_step, &loss, &accuracy);
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
        "inner={lr: 0.01, learn_lr: true, lr_scope: tensor}", "outer={algorithm: maml, optimizer: sgd, momentum: 0.9, lr: 0.01, meta_batch: 3, "
        "iterations: 4, schedule: cosine, clip_norm: 1}", "outer={algorithm: maml, schedule: linear, clip_value: 10, meta_batch: 2, iterations: 4}" };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        files f;
        char digest[65];
        name_files(&f, "kinds");
        must_run(SINE, sets[i], &f, (xp_run_options){ .threads = 2 }, digest);
        forget(&f);
    }
}
END_TEST

TEST_MAIN(the_digest_is_the_same_for_any_number_of_threads_and_another_for_another_seed,
          a_run_resumed_from_its_checkpoint_ends_with_the_same_parameters_and_scores, a_checkpoint_of_another_configuration_is_refused,
          a_stopped_run_leaves_a_file_with_status_interrupted, a_loss_that_is_not_finite_names_iteration_and_task_and_the_file_says_failed,
          an_existing_file_is_refused_without_force_and_left_as_it_was, lora_ml_learns_the_new_task_where_standard_retraining_does_not,
          every_kind_of_run_can_be_made)
