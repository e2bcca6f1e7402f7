/* Going on with an unfinished run, and computing one of its episodes alone (runner.h). */
#include "experiments/replace_file.h"
#include "experiments/run_internal.h"
#include "experiments/run_summary.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what may be resumed ---- */

/* The same bits come only from the same program. */
static ag_code check_program(const xp_journal_head *then, const xp_journal_head *now, const char *out, ag_error *err)
{
    const struct { const char *what, *then, *now; } all[] = {
        { "version", then->version, now->version },
        { "precision", then->precision, now->precision },
        { "instruction set", then->instruction_set, now->instruction_set },
        { "GEMM kernels", then->gemm, now->gemm },
        { "libraries", then->libraries, now->libraries },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        AG_REQUIRE(strcmp(all[i].then, all[i].now) == 0, err, AG_ECONFIG,
                   "%s was begun with another %s: '%s', here it is '%s'; the run would not end with the same bits", out, all[i].what,
                   all[i].then, all[i].now);
    return AG_OK;
}

/* Without a journal the result file tells why. */
static ag_code no_journal(const char *out, ag_error *err)
{
    xp_run run;
    AG_TRY(err, xp_run_read(&run, out, err));
    if (strcmp(run.status, "complete") == 0)
        ag_fail(err, AG_ECONFIG, "%s is finished: there is nothing to resume", out);
    else
        ag_fail(err, AG_ECONFIG, "%s is unfinished, but its journal '%s.journal' is missing: without it nothing can be resumed; "
                "begin again with metalora run --force", out, out);
    xp_run_release(&run);
    return AG_ECONFIG;
}

static bool has_journal(const char *out)
{
    char *name = xp_journal_name(out);
    bool there = name && access(name, F_OK) == 0;
    ag_free(name);
    return there;
}

static ag_code parse_config(xp_config *c, const xp_journal_head *head, const char *out, ag_error *err)
{
    AG_TRY(err, xp_config_parse(c, head->config, strlen(head->config), out, 0, NULL, err));
    bool same = strcmp(c->resolved, head->config) == 0;
    if (!same)
        xp_config_release(c);
    AG_REQUIRE(same, err, AG_EDATA, "the journal of '%s' holds a configuration that does not read back", out);
    return AG_OK;
}

/* The file beside the journal must be this run's: nobody's work is overwritten. *complete: it was sealed, and the process
 * died before it could remove the journal. */
static ag_code check_out(const char *out, const xp_records *r, bool *complete, ag_error *err)
{
    struct stat status;
    xp_run run;
    ag_error why = { 0 };
    *complete = false;
    if (stat(out, &status) != 0)
        return AG_OK;
    if (xp_run_read(&run, out, &why) != AG_OK)
        return ag_fail(err, why.code == AG_ENOMEM ? AG_ENOMEM : AG_EDATA, "%.1200s; move that file away, then resume again: the "
                       "journal holds everything", why.message);
    bool same = strcmp(run.config, r->head.config) == 0;
    *complete = strcmp(run.status, "complete") == 0;
    xp_run_release(&run);
    AG_REQUIRE(same, err, AG_EDATA, "'%s' is of another run than its journal; move that file away, then resume again", out);
    return AG_OK;
}

ag_code xp_unfinished_config(xp_config *c, const char *out, ag_error *err)
{
    xp_records r;
    AG_REQUIRE(c && out, err, AG_EINVAL, "xp_unfinished_config: the configuration or the file is NULL");
    memset(c, 0, sizeof *c);
    if (!has_journal(out))
        return no_journal(out, err);
    AG_TRY(err, xp_journal_read(out, &r, err));
    const xp_journal_head now = xp_run_head(NULL, NULL);
    ag_code code = check_program(&r.head, &now, out, err);
    if (code == AG_OK)
        code = parse_config(c, &r.head, out, err);
    xp_records_release(&r);
    return ag_trail(err, code, __func__);
}

/* ---- going on ---- */

/* How often it was resumed, this time included. */
static int64_t resumptions(const xp_records *r)
{
    int64_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->at[i].type == XP_RECORD_RESUMED && r->at[i].bytes == sizeof n)
            memcpy(&n, r->at[i].data, sizeof n);
    return n < INT32_MAX ? n + 1 : n;
}

/* Nothing was changed before this. */
static ag_code go_on(xp_context *x, const xp_records *r, int64_t last, ag_error *err)
{
    const int64_t times = resumptions(r);
    xp_aside_sweep(x->o->out);
    xp_aside_sweep(x->checkpoint);
    AG_TRY(err, xp_journal_rewind(x->journal, &r->at[last].end, err));
    if (last > 0)
        AG_TRY(err, xp_journal_append(x->journal, XP_RECORD_CHECKPOINT, &x->iteration, sizeof x->iteration, err));
    AG_TRY(err, xp_journal_append(x->journal, XP_RECORD_RESUMED, &times, sizeof times, err));
    xp_state_begin(x);
    AG_TRY(err, xp_results_system(x->results, "resumed", (double)times, "1", err));
    return xp_results_publish(x->results, err);
}

static ag_code resume_run(xp_context *x, const xp_records *r, ag_error *err)
{
    void *run = NULL;
    int64_t last = 0;
    AG_TRY(err, xp_state_init(x, err));
    AG_TRY(err, xp_context_results(x, &r->head, err));
    ag_code code = x->kind->open(x, &run, err);
    if (code == AG_OK)
        code = xp_state_resume(x, run, r, &last, err);
    if (code == AG_OK)
        code = xp_log_restore(x, r, last, err);
    if (code == AG_OK)
        code = go_on(x, r, last, err);
    if (code == AG_OK)
        code = xp_context_drive(x, run, err);
    x->kind->close(run);
    return code;
}

static ag_code resume_with(const xp_run_options *o, xp_journal **j, const xp_records *r, ag_error *err)
{
    xp_context x;
    xp_config c;
    bool complete;
    const xp_journal_head now = xp_run_head(NULL, NULL);
    AG_TRY(err, check_program(&r->head, &now, o->out, err));
    AG_TRY(err, check_out(o->out, r, &complete, err));
    AG_TRY(err, parse_config(&c, &r->head, o->out, err));
    xp_context_init(&x, &c, o);
    x.command_line = *r->head.command_line ? r->head.command_line : NULL;
    x.journal = *j;
    *j = NULL;
    ag_code code = complete ? xp_state_init(&x, err) : resume_run(&x, r, err);
    if (complete && code == AG_OK)
        code = xp_context_tidy(&x, err);
    xp_context_release(&x);
    xp_config_release(&c);
    return code;
}

static ag_code resume(const xp_run_options *o, ag_error *err)
{
    xp_journal *j;
    xp_records r;
    if (!has_journal(o->out))
        return no_journal(o->out, err);
    AG_TRY(err, xp_journal_open(&j, o->out, false, err));
    ag_code code = xp_journal_load(j, &r, err);
    if (code == AG_OK) {
        code = resume_with(o, &j, &r, err);
        xp_records_release(&r);
    }
    xp_journal_close(j);
    return code;
}

ag_code xp_experiment_resume(const xp_run_options *o, ag_error *err)
{
    ag_error local = { 0 };
    AG_REQUIRE(o && o->out, err, AG_EINVAL, "xp_experiment_resume: options or out is NULL");
    return ag_trail(err, resume(o, err ? err : &local), __func__);
}

/* ---- one episode ---- */

/* The checkpoint at out, when it is this experiment's and not behind the episode. */
static bool find_checkpoint(const xp_context *x, int64_t iteration, xp_checkpoint *c, int64_t *done)
{
    int64_t n = -1;
    if (access(x->checkpoint, F_OK) != 0 || xp_checkpoint_load(c, x->checkpoint, &x->identity, NULL) != AG_OK)
        return false;
    if (xp_checkpoint_get(c, "iteration", &n, sizeof n, NULL) == AG_OK && n >= 0 && n < iteration) {
        *done = n;
        return true;
    }
    xp_checkpoint_release(c);
    return false;
}

static ag_code replay(xp_context *x, int64_t iteration, int64_t task, xp_episode_report *report, ag_error *err)
{
    void *run = NULL;
    xp_checkpoint c;
    AG_TRY(err, xp_state_init(x, err));
    ag_code code = x->kind->open(x, &run, err);
    if (code == AG_OK && find_checkpoint(x, iteration, &c, &report->checkpoint)) {
        code = x->kind->restore(run, &c, err);
        x->iteration = report->checkpoint;
        xp_checkpoint_release(&c);
    }
    xp_progress_init(&x->progress, &(xp_progress_options){ .stream = x->o->progress, .label = "up to the episode",
        .total = iteration - 1, .first = x->iteration, .tasks = x->c->outer.meta_batch });
    if (code == AG_OK)
        code = x->kind->replay(run, iteration, task, report, err);
    xp_progress_release(&x->progress);
    x->kind->close(run);
    return code;
}

ag_code xp_experiment_replay(const xp_config *c, const xp_run_options *o, int64_t iteration, int64_t task,
                             xp_episode_report *report, ag_error *err)
{
    xp_context x;
    ag_error local = { 0 };
    AG_REQUIRE(c && o && o->out && report, err, AG_EINVAL, "xp_experiment_replay: an argument is NULL");
    int64_t iterations = c->outer.iterations * c->repeats;
    AG_REQUIRE(iteration >= 1 && iteration <= iterations, err, AG_ECONFIG, "there is no iteration %lld; expected 1 to %lld",
               (long long)iteration, (long long)iterations);
    AG_REQUIRE(task >= 0 && task < c->outer.meta_batch, err, AG_ECONFIG,
               "there is no task %lld in an iteration; expected 0 to %lld (outer.meta_batch less one)", (long long)task,
               (long long)c->outer.meta_batch - 1);
    xp_context_init(&x, c, o);
    *report = (xp_episode_report){ .seed = c->seed, .iteration = iteration, .task = task, .checkpoint = -1 };
    ag_code code = replay(&x, iteration, task, report, err ? err : &local);
    xp_context_release(&x);
    return ag_trail(err, code, __func__);
}
