/* Opens an experiment, drives its kind of run step by step, and closes its files whatever happened (run_internal.h). */
#include "experiments/replace_file.h"
#include "experiments/run_internal.h"
#include "experiments/run_summary.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *algorithm;
    const xp_run_kind *kind;
} algorithms[] = {
    { "maml", &xp_kind_maml },
    { "fomaml", &xp_kind_maml },
    { "anil", &xp_kind_maml },
    { "reptile", &xp_kind_maml },
    { "imaml", &xp_kind_maml },
    { "protonet", &xp_kind_maml },
    { "joint", &xp_kind_maml },
    { "multitask", &xp_kind_maml },
    { "none", &xp_kind_maml },
    { "lora-ml", &xp_kind_lora },
    { "standard-retraining", &xp_kind_lora },
};

/* ---- the context ---- */

void xp_context_init(xp_context *x, const xp_config *c, const xp_run_options *o)
{
    *x = (xp_context){ .c = c, .o = o, .started = xp_now(), .train = { .way = c->tasks.way, .shot = c->tasks.shot, .query = c->tasks.query },
                       .command_line = o->command_line };
    /* Until the steps begin there is no bar, but notes are shown. */
    x->progress = (xp_progress){ .o.stream = o->progress, .kind = o->progress ? XP_PROGRESS_LINES : XP_PROGRESS_NONE };
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++)
        if (xp_is(c->outer.algorithm, algorithms[i].algorithm))
            x->kind = algorithms[i].kind;
}

void xp_context_release(xp_context *x)
{
    xp_results_abandon(x->results);
    xp_journal_close(x->journal);
    ag_free(x->checkpoint);
}

xp_journal_head xp_run_head(const char *command_line, const char *config)
{
    return (xp_journal_head){ .version = METALORA_VERSION, .precision = AG_REAL_NAME, .instruction_set = ag_instruction_set(),
                              .gemm = ag_gemm_kernels(), .libraries = xp_library_versions(),
                              .command_line = command_line, .config = config };
}

ag_code xp_context_results(xp_context *x, const xp_journal_head *head, ag_error *err)
{
    xp_provenance p = {
        .version = head->version, .instruction_set = head->instruction_set, .gemm = head->gemm, .libraries = head->libraries,
        .command_line = head->command_line, .threads = x->o->threads > 0 ? x->o->threads : 1,
        .loss_unit = xp_loss_unit(x->c),
    };
    /* Whether the file may be replaced is decided when the journal's lock is held. */
    return xp_results_create(&x->results, x->o->out, true, x->c, &p, err);
}

/* ---- steps ---- */

static void start_progress(xp_context *x)
{
    xp_progress_init(&x->progress, &(xp_progress_options){ .stream = x->o->progress, .label = x->c->name, .first = x->iteration,
        .total = x->c->outer.iterations * x->c->repeats, .tasks = x->c->outer.meta_batch });
}

static ag_code all_steps(xp_context *x, void *run, ag_error *err)
{
    for (bool finished = false; !finished;) {
        AG_TRY(err, xp_check_stop(x, err));
        AG_TRY(err, x->kind->step(run, &finished, err));
        AG_TRY(err, xp_state_advance(x, run, err));
    }
    return AG_OK;
}

/* ---- the end ---- */

static ag_code store_system(const xp_context *x, ag_error *err)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    AG_TRY(err, xp_results_system(x->results, "seconds", xp_now() - x->started, "s", err));
    return xp_results_system(x->results, "peak_bytes", 1024.0 * (double)usage.ru_maxrss, "byte", err);
}

static ag_code close_results(xp_context *x, const char *status, ag_error *err)
{
    xp_results *r = x->results;
    x->results = NULL;
    return xp_results_close(r, status, err);
}

ag_code xp_context_tidy(xp_context *x, ag_error *err)
{
    xp_journal *j = x->journal;
    x->journal = NULL;
    xp_aside_sweep(x->o->out);
    xp_aside_sweep(x->checkpoint);
    if (unlink(x->checkpoint) == 0 || errno == ENOENT)
        return xp_journal_remove(j, err);
    ag_fail(err, AG_EIO, "%s is complete, but its checkpoint '%s' cannot be removed: %s", x->o->out, x->checkpoint, strerror(errno));
    xp_journal_close(j);   /* it stays: resume tidies up */
    return AG_EIO;
}

static ag_code seal(xp_context *x, void *run, ag_error *err)
{
    AG_TRY(err, x->kind->store(run, err));
    AG_TRY(err, store_system(x, err));
    AG_TRY(err, close_results(x, "complete", err));
    return xp_context_tidy(x, err);
}

/* Keeps what was done of a run that did not end well. Its own error stays; a failure to save is added to it. */
static void save_unfinished(xp_context *x, void *run, ag_code why, ag_error *err)
{
    ag_error saving = { 0 };
    size_t used = strlen(err->message);
    ag_code code = xp_state_save(x, run, &saving);
    if (x->results) {
        x->kind->store(run, NULL);
        store_system(x, NULL);
        ag_code closed = close_results(x, why == AG_ENAN ? "failed" : "interrupted", &saving);
        code = code != AG_OK ? code : closed;
    }
    if (code != AG_OK)
        snprintf(err->message + used, sizeof err->message - used, "; and what was done could not be saved: %.1000s", saving.message);
}

ag_code xp_context_drive(xp_context *x, void *run, ag_error *err)
{
    start_progress(x);
    ag_code code = all_steps(x, run, err);
    xp_progress_release(&x->progress);
    if (code == AG_OK)
        code = seal(x, run, err);
    if (code != AG_OK && x->journal)
        save_unfinished(x, run, code, err);
    xp_journal_close(x->journal);
    x->journal = NULL;
    return code;
}

/* ---- the beginning ---- */

static bool is_complete(const char *path)
{
    xp_run run;
    if (xp_run_read(&run, path, NULL) != AG_OK)
        return false;
    bool complete = strcmp(run.status, "complete") == 0;
    xp_run_release(&run);
    return complete;
}

static ag_code refuse_existing(const xp_context *x, ag_error *err)
{
    struct stat status;
    const char *out = x->o->out;
    if (x->o->force)
        return AG_OK;
    AG_REQUIRE(xp_journal_empty(x->journal) || is_complete(out), err, AG_ECONFIG,
               "%s is an unfinished run: go on with metalora resume %s, or begin again with --force", out, out);
    AG_REQUIRE(lstat(out, &status) != 0, err, AG_ECONFIG,
               "the result file '%s' exists; name another with --out, or replace it with --force", out);
    return AG_OK;
}

/* From here on there is a run that can be resumed. */
static ag_code begin(xp_context *x, const xp_journal_head *head, ag_error *err)
{
    unlink(x->checkpoint);   /* an older run's, replaced by force */
    xp_aside_sweep(x->o->out);
    xp_aside_sweep(x->checkpoint);
    AG_TRY(err, xp_journal_start(x->journal, head, err));
    xp_state_begin(x);
    ag_code code = xp_results_publish(x->results, err);
    if (code != AG_OK)
        xp_journal_rewind(x->journal, &(xp_journal_mark){ 0 }, NULL);   /* empty: goes when it is closed */
    return code;
}

static ag_code run_from_start(xp_context *x, ag_error *err)
{
    void *run = NULL;
    const xp_journal_head head = xp_run_head(x->command_line, x->c->resolved);
    AG_TRY(err, xp_state_init(x, err));
    AG_TRY(err, xp_context_results(x, &head, err));
    AG_TRY(err, xp_journal_open(&x->journal, x->o->out, true, err));
    AG_TRY(err, refuse_existing(x, err));
    ag_code code = x->kind->open(x, &run, err);
    if (code == AG_OK)
        code = begin(x, &head, err);
    if (code == AG_OK)
        code = xp_context_drive(x, run, err);
    x->kind->close(run);
    return code;
}

ag_code xp_experiment_run(const xp_config *c, const xp_run_options *o, ag_error *err)
{
    xp_context x;
    ag_error local = { 0 };
    AG_REQUIRE(c && o && o->out, err, AG_EINVAL, "xp_experiment_run: configuration, options or out is NULL");
    xp_context_init(&x, c, o);
    ag_code code = run_from_start(&x, err ? err : &local);
    xp_context_release(&x);
    return ag_trail(err, code, __func__);
}
