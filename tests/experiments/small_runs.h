/* Small experiments and their files, for the tests of whole runs. */
#ifndef SMALL_RUNS_H
#define SMALL_RUNS_H

#include "experiments/results.h"
#include "experiments/run_summary.h"
#include "experiments/runner.h"
#include "tests/check.h"

#include <stdio.h>
#include <unistd.h>

__attribute__((unused)) static const char SINE[] =
    "name: t\ntasks: {source: sinusoid, shot: 5, query: 5}\nmodel: {kind: mlp, hidden: [8, 8], init: he}\n"
    "inner: {lr: 0.01, steps: 2}\nouter: {algorithm: maml, meta_batch: 7, iterations: 12, chunk: 2}\n"
    "eval: {episodes: 9, steps: 3, shots: [5, 10], query: 20, validate_every: 4, validation_episodes: 5, select: best}\n";

__attribute__((unused)) static const char LINEAR[] =
    "name: l\nrepeats: 3\ntasks: {source: lora-linear, dim: 4, n_task: 3, train_samples: 200}\nmodel: {kind: linear}\n"
    "adapter: {kind: lora, rank: 1, init_std: 0.1}\ninner: {lr: 0.01, steps: 10, lr_query: 0.02}\n"
    "outer: {algorithm: lora-ml, optimizer: sgd, lr: 0.1, meta_batch: 3, iterations: 1500}\n"
    "eval: {episodes: 1, steps: 600, diverged_above: 1.0e+06}\n";

typedef struct files {
    char out[64], journal[80], checkpoint[80];
} files;

__attribute__((unused)) static void forget(const files *f)
{
    remove(f->out);
    remove(f->journal);
    remove(f->checkpoint);
}

/* In the current folder; what an earlier test left is removed. */
__attribute__((unused)) static void name_files(files *f, const char *tag)
{
    snprintf(f->out, sizeof f->out, "run-%s-%ld.h5", tag, (long)getpid());
    snprintf(f->journal, sizeof f->journal, "%s.journal", f->out);
    snprintf(f->checkpoint, sizeof f->checkpoint, "%s.ckpt", f->out);
    forget(f);
}

__attribute__((unused)) static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* o.out is the caller's or f->out. */
__attribute__((unused)) static ag_code run(const char *yaml, const char *set, const files *f, xp_run_options o, ag_error *err)
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

__attribute__((unused)) static ag_code resume(const files *f, xp_run_options o, ag_error *err)
{
    o.out = f->out;
    return xp_experiment_resume(&o, err);
}

__attribute__((unused)) static void digest_of(const files *f, char digest[65])
{
    ag_error err = { 0 };
    ck_assert_msg(xp_results_digest(f->out, digest, &err) == AG_OK, "%s", err.message);
}

__attribute__((unused)) static void must_run(const char *yaml, const char *set, const files *f, xp_run_options o, char digest[65])
{
    ag_error err = { 0 };
    ck_assert_msg(run(yaml, set, f, o, &err) == AG_OK, "%s (%s)", err.message, err.trail);
    digest_of(f, digest);
}

/* What a file says of its run: "complete", "interrupted", ... */
__attribute__((unused)) static void expect_status(const files *f, const char *status, int64_t least_rows)
{
    xp_run r;
    ag_error err = { 0 };
    ck_assert_msg(xp_run_read(&r, f->out, &err) == AG_OK, "%s", err.message);
    ck_assert_str_eq(r.status, status);
    ck_assert_int_ge(r.train.n, least_rows);
    xp_run_release(&r);
}

#endif
