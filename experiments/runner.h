/* Runs an experiment: episodes, meta-training, validation, test, result file.
 *
 *     xp_run_options o = { .out = "run.h5", .threads = 2, .progress = stderr };
 *     AG_TRY(err, xp_experiment_run(&config, &o, err));
 *
 * The same configuration gives the same bits outside /system for any number of threads, and for a run that was stopped or
 * killed and resumed any number of times. Beside OUT stand OUT.journal and OUT.ckpt while a run is unfinished
 * (docs/results-file.md). */
#ifndef XP_RUNNER_H
#define XP_RUNNER_H

#include "experiments/config.h"

#include <stdatomic.h>
#include <stdio.h>

typedef struct xp_run_options {
    const char *out;                     /* the result file */
    bool force;                          /* an existing result file or unfinished run is replaced */
    int threads;                         /* 0: 1 */
    const char *data_dir, *cache_dir;    /* as in xp_source_options */
    const char *command_line;            /* for /system and for messages; may be NULL */
    double checkpoint_seconds;           /* between checkpoints where the configuration does not say; 0: 1 at
                                            first, then up to 10. No influence on the result */
    FILE *progress;                      /* NULL: none is shown */
    const atomic_int *stop;   /* not 0: soon make a checkpoint and return AG_ESTOP; may be NULL */
} xp_run_options;

/* Fails with AG_ECONFIG and AG_EDATA (the user can mend it; AG_ECONFIG also when another process is at work on the file),
 * AG_ENAN (names iteration, task and the command that replays it; the file then has status failed), AG_ESTOP (status
 * interrupted), AG_EIO, AG_ENOMEM. Once it has begun, a run that fails leaves a checkpoint. */
ag_code xp_experiment_run(const xp_config *c, const xp_run_options *o, ag_error *err);

/* The configuration of the unfinished run at out. AG_ECONFIG and AG_EDATA tell why there is none. */
ag_code xp_unfinished_config(xp_config *c, const char *out, ag_error *err);
/* Goes on with the unfinished run at o->out (force has no meaning here). Fails as xp_experiment_run does, and with
 * AG_ECONFIG or AG_EDATA when the run is finished, or its files are missing, damaged, edited, of another run, version or
 * instruction set; then nothing was changed. */
ag_code xp_experiment_resume(const xp_run_options *o, ag_error *err);

/* One task of one training iteration, alone. */
typedef struct xp_episode_report {
    uint64_t seed;                       /* with stream 2 (training), iteration - 1 and task: the episode's id */
    int64_t iteration, task;             /* from 1; from 0 */
    double support_loss;                 /* before adaptation; NaN where the algorithm has none */
    double query_loss, query_accuracy;   /* after adaptation; accuracy NaN in regression */
    double grad_norm;                    /* of this task's meta-gradient */
    bool finite;                         /* loss and gradient */
    int64_t checkpoint;                  /* iterations that came from the checkpoint at out; -1: there was none that fits */
    int64_t trained;                     /* iterations trained to get there */
} xp_episode_report;

/* Computes task `task` of training iteration `iteration` at the parameters of that iteration: from the checkpoint of
 * o->out if it belongs to this configuration and is not later, else by training up to it. Writes no file. */
ag_code xp_experiment_replay(const xp_config *c, const xp_run_options *o, int64_t iteration, int64_t task,
                             xp_episode_report *report, ag_error *err);

/* "zen3 (BLIS 0.9.0), x86-64-v4, HDF5 1.10.8, ..." in parts, static storage; for --version and the result file. */
const char *xp_library_versions(void);

#endif
