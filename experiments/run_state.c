/* Keeping and restoring the state of a run: OUT.ckpt, bound to a point of the journal (run_internal.h).
 *
 * The checkpoint names the journal's length and tag at the moment it was made, and both change the world in one step, the
 * rename of OUT.ckpt: whatever the journal holds behind that point never happened. */
#include "experiments/run_internal.h"

#include "experiments/text.h"

#include <string.h>
#include <unistd.h>

static const double FIRST_SECONDS = 1, CHECKPOINT_SECONDS = 10, CHECKPOINT_SHARE = 0.05;   /* at most that share of the time is
                                                                                        spent on them */

/* What every kind of run keeps. */
typedef struct common {
    int64_t iteration;
    double seconds;
    xp_journal_mark mark;
} common;
enum { N_COMMON = 4 };

static void common_table(common *c, xp_state table[N_COMMON])
{
    const xp_state list[N_COMMON] = {
        { "iteration", &c->iteration, sizeof c->iteration },
        { "seconds", &c->seconds, sizeof c->seconds },
        { "journal.length", &c->mark.length, sizeof c->mark.length },
        { "journal.tag", c->mark.tag, sizeof c->mark.tag },
    };
    memcpy(table, list, sizeof list);
}

ag_code xp_state_init(xp_context *x, ag_error *err)
{
    char *text;
    xp_text t = { 0 };
    xp_text_add(&t, "%s\n%s\n%s\n%s\n", AG_REAL_NAME, ag_instruction_set(), ag_gemm_kernels(), xp_library_versions());
    xp_text_bytes(&t, x->c->resolved, strlen(x->c->resolved));
    AG_TRY(err, xp_text_take(&t, &text, err));
    ag_code code = xp_sha256_text(&x->identity, text, err);
    ag_free(text);
    AG_TRY(err, code);
    x->checkpoint = xp_journal_checkpoint_name(x->o->out);
    AG_REQUIRE(x->checkpoint, err, AG_ENOMEM, "checkpoint of '%s': out of memory", x->o->out);
    return AG_OK;
}

/* ---- keeping ---- */

/* Grows with the time there is to lose. */
static double interval(const xp_context *x)
{
    double spent = xp_now() - x->begun;
    if (x->o->checkpoint_seconds > 0)
        return x->o->checkpoint_seconds;
    return spent < FIRST_SECONDS ? FIRST_SECONDS : spent < CHECKPOINT_SECONDS ? spent : CHECKPOINT_SECONDS;
}

void xp_state_begin(xp_context *x)
{
    x->mark = xp_journal_end(x->journal);
    x->begun = xp_now();
    x->next_checkpoint = x->begun + interval(x);
}

static ag_code write_checkpoint(xp_context *x, void *run, ag_error *err)
{
    common now = { x->iteration, xp_now() - x->started, x->mark };
    xp_state table[N_COMMON + XP_MAX_STATE];
    xp_checkpoint_entry entries[N_COMMON + XP_MAX_STATE];
    common_table(&now, table);
    int n = N_COMMON + x->kind->state(run, table + N_COMMON);
    for (int i = 0; i < n; i++)
        entries[i] = (xp_checkpoint_entry){ table[i].name, table[i].data, table[i].bytes };
    return xp_checkpoint_save(x->checkpoint, &x->identity, n, entries, err);
}

ag_code xp_state_save(xp_context *x, void *run, ag_error *err)
{
    double start = xp_now();
    AG_TRY(err, xp_journal_rewind(x->journal, &x->mark, err));
    AG_TRY(err, xp_journal_sync(x->journal, err));
    AG_TRY(err, write_checkpoint(x, run, err));
    AG_TRY(err, xp_journal_append(x->journal, XP_RECORD_CHECKPOINT, &x->iteration, sizeof x->iteration, err));
    x->mark = xp_journal_end(x->journal);
    double took = xp_now() - start, pause = took / CHECKPOINT_SHARE, least = interval(x);
    x->next_checkpoint = start + took + (pause > least ? pause : least);
    return AG_OK;
}

ag_code xp_state_advance(xp_context *x, void *run, ag_error *err)
{
    int64_t every = x->c->eval.checkpoint_every;
    bool due = every > 0 && x->trained ? x->iteration % every == 0 : xp_now() >= x->next_checkpoint;
    x->mark = xp_journal_end(x->journal);
    x->trained = false;
    return due ? xp_state_save(x, run, err) : AG_OK;
}

/* ---- restoring ---- */

ag_code xp_state_load(const xp_checkpoint *c, int n, const xp_state *table, ag_error *err)
{
    for (int i = 0; i < n; i++)
        AG_TRY(err, xp_checkpoint_get(c, table[i].name, table[i].data, table[i].bytes, err));
    return AG_OK;
}

static ag_code take(xp_context *x, void *run, const xp_checkpoint *c, const xp_records *r, int64_t *last, ag_error *err)
{
    common then;
    xp_state table[N_COMMON];
    common_table(&then, table);
    AG_TRY(err, xp_state_load(c, N_COMMON, table, err));
    *last = xp_records_find(r, &then.mark);
    AG_REQUIRE(*last >= 0, err, AG_EDATA, "the journal of '%s' does not lead to its checkpoint of iteration %lld: one of the two "
               "was truncated, edited or belongs to another run", x->o->out, (long long)then.iteration);
    AG_TRY(err, x->kind->restore(run, c, err));
    x->iteration = then.iteration;
    x->started = xp_now() - then.seconds;
    return AG_OK;
}

/* The last iteration the journal tells a checkpoint of; -1: none. */
static int64_t told(const xp_records *r)
{
    int64_t iteration = -1;
    for (size_t i = 0; i < r->n; i++)
        if (r->at[i].type == XP_RECORD_CHECKPOINT && r->at[i].bytes == sizeof iteration)
            memcpy(&iteration, r->at[i].data, sizeof iteration);
    return iteration;
}

ag_code xp_state_resume(xp_context *x, void *run, const xp_records *r, int64_t *last, ag_error *err)
{
    *last = 0;
    if (access(x->checkpoint, F_OK) != 0) {
        AG_REQUIRE(told(r) < 0, err, AG_ECONFIG, "the checkpoint '%s' is missing, which the journal tells of (iteration %lld); bring "
                   "it back, or begin again with metalora run --force", x->checkpoint, (long long)told(r));
        return AG_OK;
    }
    xp_checkpoint c;
    AG_TRY(err, xp_checkpoint_load(&c, x->checkpoint, &x->identity, err));
    ag_code code = take(x, run, &c, r, last, err);
    xp_checkpoint_release(&c);
    return code;
}
