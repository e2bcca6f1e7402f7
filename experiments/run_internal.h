/* What the kinds of runs share. runner.c opens, drives and closes a run; run_maml.c and run_lora.c do the work between;
 * run_parts.c makes models and the like; run_log.c writes down what happened; run_state.c keeps and restores states. */
#ifndef XP_RUN_INTERNAL_H
#define XP_RUN_INTERNAL_H

#include "experiments/checkpoint.h"
#include "experiments/journal.h"
#include "experiments/progress.h"
#include "experiments/results.h"
#include "experiments/runner.h"
#include "experiments/tasks.h"
#include "meta/meta.h"
#include "meta/network_model.h"
#include "meta/optimizer.h"

typedef struct xp_context xp_context;

/* One array of what a run must know to go on. */
typedef struct xp_state {
    const char *name;
    void *data;                          /* NULL only with 0 bytes */
    size_t bytes;
} xp_state;
enum { XP_MAX_STATE = 16 };

/* A kind of run, as a sequence of steps. */
typedef struct xp_run_kind {
    ag_code (*open)(xp_context *x, void **run, ag_error *err);
    /* The next piece of work, which happens wholly or, on failure, not at all: one training iteration, one validation, one
     * test. *finished: there was none. What it did it writes down by xp_log_*. */
    ag_code (*step)(void *run, bool *finished, ag_error *err);
    /* All that later steps depend on; returns how many. */
    int (*state)(void *run, xp_state table[XP_MAX_STATE]);
    /* Takes the state from a checkpoint. On failure the run is only fit to be closed. */
    ag_code (*restore)(void *run, const xp_checkpoint *c, ag_error *err);
    /* Puts the parameters into the result file. */
    ag_code (*store)(void *run, ag_error *err);
    /* Goes on to just before training iteration `iteration` (from 1) and computes that one task of it. */
    ag_code (*replay)(void *run, int64_t iteration, int64_t task, xp_episode_report *report, ag_error *err);
    void (*close)(void *run);            /* NULL is allowed */
} xp_run_kind;

extern const xp_run_kind xp_kind_maml, xp_kind_lora;

/* An experiment under way; everything borrowed from xp_experiment_run and its kin. */
struct xp_context {
    const xp_config *c;
    const xp_run_options *o;
    const xp_run_kind *kind;
    xp_results *results;                 /* these two are NULL while an episode is replayed: nothing is written then */
    xp_journal *journal;
    xp_progress progress;
    xp_episode_size train;               /* size of a training episode */
    const char *command_line;            /* the run's, not that of a process which resumes it; may be NULL */
    double started;                      /* monotonic clock [s]; earlier by what was spent before a resumption */
    int64_t iteration;                   /* of the last training row */
    bool trained;                        /* the step under way wrote one */
    bool hush;                           /* sources opened again have told their notes */
    /* run_state.c */
    char *checkpoint;                    /* path */
    xp_sha256 identity;                  /* of all that decides the bits */
    xp_journal_mark mark;                /* behind the last whole step */
    double begun, next_checkpoint;       /* monotonic clock [s]; begun: by this process */
};

/* ---- run_parts.c ---- */

/* Episodes of one iteration for meta_batch.fetch. */
typedef struct xp_episodes {
    const xp_context *x;
    const xp_source *source;
    xp_episode_id id;                    /* task is the number of the batch's first task */
    xp_episode_size size;
} xp_episodes;
/* Fails with AG_ESTOP when the caller asked to stop: a long test ends within a chunk of tasks. */
ag_code xp_fetch(void *episodes, int64_t first, int64_t count, void *support_x, void *support_y, void *query_x, void *query_y,
                 ag_error *err);

/* The inner steps that are scored: their numbers, ascending; at NULL: 0 .. n - 1. */
typedef struct xp_steps {
    int64_t n;
    const int64_t *at;
} xp_steps;
xp_steps xp_test_steps(const xp_config *c);       /* borrowed from c, as the next */
xp_steps xp_last_step(const xp_config *c);        /* of a validation */

/* tasks: x->c->tasks, or a variation of it; k: of the model, for sources of texts. */
ag_code xp_open_source(const xp_context *x, const xp_tasks *tasks, uint64_t seed, const nn_tokenizer *k, xp_source **s, ag_error *err);
/* The episodes' size with the capacities that texts of it need. */
ag_code xp_size_episode(const xp_source *s, uint64_t stream, xp_episode_size *size, ag_error *err);
ag_code xp_make_optimizer(const xp_context *x, const meta_optimizer_options *more, int64_t n, meta_optimizer *opt, ag_error *err);
double xp_outer_rate(const xp_config *c, int64_t iteration);
double xp_now(void);                     /* monotonic [s] */
bool xp_is(const char *option, const char *value);
const char *xp_loss_unit(const xp_config *c);   /* of the tasks' losses: "nats", ... */
/* AG_ESTOP when the caller asked to stop. */
ag_code xp_check_stop(const xp_context *x, ag_error *err);
ag_code xp_store_parameters(const xp_context *x, const nn_model *m, const char *prefix, const ag_real *values, ag_error *err);
/* AG_ENAN with the command that replays the episode; iteration from 1. What is in *err becomes part of the message. */
ag_code xp_fail_nan(const xp_context *x, int64_t iteration, int64_t task, ag_error *err);

/* ---- run_model.c ---- */

/* What a pretrained network's models have in common; all NULL where model.kind is another. */
typedef struct xp_base {
    nn_network *net;
    nn_tokenizer *tokenizer;             /* NULL: it reads no texts */
    meta_adapter *adapter;
    ag_real *values;                     /* of the adapter, from adapter.path; NULL: drawn */
} xp_base;
ag_code xp_base_open(xp_base *b, const xp_context *x, ag_error *err);
void xp_base_close(xp_base *b);
/* A model of the configuration for this source. n_class: outputs of its own linear layer; 0: it gives features. For
 * model.kind linear adapter_rank 0 leaves the adapter out, and n_class is not used. */
typedef struct xp_wish {
    int64_t n_class, adapter_rank;
    bool symmetric;
} xp_wish;
ag_code xp_make_model(const xp_context *x, const xp_base *b, const xp_source *s, const xp_wish *wish, nn_model *m, ag_error *err);

/* ---- run_log.c: the journal and the result file. Nothing happens without them. ---- */

/* row->seconds is filled in here. */
ag_code xp_log_train(xp_context *x, const xp_train_row *row, ag_error *err);
ag_code xp_log_validation(xp_context *x, const xp_validation_row *row, ag_error *err);
ag_code xp_log_scores(xp_context *x, const xp_scores *s, ag_error *err);
/* Puts what the records 1 .. last tell into the result file. */
ag_code xp_log_restore(xp_context *x, const xp_records *r, int64_t last, ag_error *err);

/* ---- run_state.c ---- */

/* Fills checkpoint and identity from out and configuration; checkpoint is freed with ag_free. */
ag_code xp_state_init(xp_context *x, ag_error *err);
/* The journal ends where the state is: steps may begin. */
void xp_state_begin(xp_context *x);
/* The step just done is whole: from now on it is kept; a checkpoint is made if one is due. */
ag_code xp_state_advance(xp_context *x, void *run, ag_error *err);
/* Makes a checkpoint of the last whole step now. */
ag_code xp_state_save(xp_context *x, void *run, ag_error *err);
/* Copies the table's arrays from the checkpoint. */
ag_code xp_state_load(const xp_checkpoint *c, int n, const xp_state *table, ag_error *err);
/* Brings the run to where the checkpoint was made, and finds the record it was made behind. Without a checkpoint: the
 * start, record 0. AG_EDATA, AG_ECONFIG: it is missing though the journal tells of one, or does not belong to it. */
ag_code xp_state_resume(xp_context *x, void *run, const xp_records *r, int64_t *last, ag_error *err);

/* ---- runner.c ---- */

void xp_context_init(xp_context *x, const xp_config *c, const xp_run_options *o);
/* Frees what the context owns; a journal or result file still open means that the run did not begin. */
void xp_context_release(xp_context *x);
/* Makes x->results, in memory. head->libraries and the like are those of the run's beginning. */
ag_code xp_context_results(xp_context *x, const xp_journal_head *head, ag_error *err);
/* What this process would begin a run with; the strings are borrowed. */
xp_journal_head xp_run_head(const char *command_line, const char *config);
/* All steps, then the end: sealed, or a checkpoint and a file that says why. Closes journal and result file. */
ag_code xp_context_drive(xp_context *x, void *run, ag_error *err);
/* After the file was sealed: journal and checkpoint go. Closes the journal. */
ag_code xp_context_tidy(xp_context *x, ag_error *err);

#endif
