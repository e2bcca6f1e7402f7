/* Runs an experiment: episodes, meta-training, validation, test, result file.
 *
 *     xp_run_options o = { .out = "run.h5", .threads = 2, .progress = stderr };
 *     AG_TRY(err, xp_experiment_run(&config, &o, err));
 *
 * The same configuration gives the same bits outside /system for any number of threads. */
#ifndef XP_RUNNER_H
#define XP_RUNNER_H

#include "experiments/config.h"

#include <signal.h>
#include <stdio.h>

typedef struct xp_run_options {
    const char *out;                     /* the result file */
    bool force;                          /* an existing result file is replaced */
    int threads;                         /* 0: 1 */
    const char *data_dir, *cache_dir;    /* as in xp_source_options */
    const char *command_line;            /* for /system; may be NULL */
    const char *checkpoint;              /* where eval.checkpoint_every writes; NULL: OUT.ckpt */
    const char *resume;                  /* a checkpoint of this configuration to go on from; NULL: from the start. The
                                            result file then holds the training rows from there on */
    FILE *progress;                      /* NULL: none is shown */
    const volatile sig_atomic_t *stop;   /* not 0: finish the iteration, save, return AG_ESTOP; may be NULL */
} xp_run_options;

/* Fails with AG_ECONFIG and AG_EDATA (the user can mend it), AG_ENAN (names iteration and task; the file then has
 * status failed), AG_ESTOP (status interrupted), AG_EIO, AG_ENOMEM. */
ag_code xp_experiment_run(const xp_config *c, const xp_run_options *o, ag_error *err);

/* "zen3 (BLIS 0.9.0), x86-64-v4, HDF5 1.10.8, ..." in parts, static storage; for --version and the result file. */
const char *xp_library_versions(void);

#endif
