/* What the kinds of runs share: runner.c opens and closes, run_maml.c and run_lora.c do the work between. */
#ifndef XP_RUN_INTERNAL_H
#define XP_RUN_INTERNAL_H

#include "experiments/progress.h"
#include "experiments/results.h"
#include "experiments/runner.h"
#include "experiments/tasks.h"
#include "meta/meta.h"
#include "meta/optimizer.h"

/* An experiment under way; everything borrowed from xp_experiment_run. */
typedef struct xp_context {
    const xp_config *c;
    const xp_run_options *o;
    xp_results *results;
    xp_progress progress;
    xp_episode_size train;               /* size of a training episode */
    double started;                      /* monotonic clock [s] */
} xp_context;

/* Episodes of one iteration for meta_batch.fetch. */
typedef struct xp_episodes {
    const xp_source *source;
    xp_episode_id id;                    /* task is the number of the batch's first task */
    xp_episode_size size;
} xp_episodes;
ag_code xp_fetch(void *episodes, int64_t first, int64_t count, ag_real *support_x, void *support_y, ag_real *query_x, void *query_y,
                 ag_error *err);

ag_code xp_open_source(const xp_context *x, uint64_t seed, xp_source **s, ag_error *err);
/* The model of the configuration; an adapter rank of 0 leaves the adapter out. */
ag_code xp_make_model(const xp_context *x, const xp_source *s, int64_t adapter_rank, bool symmetric, nn_model *m, ag_error *err);
ag_code xp_make_optimizer(const xp_context *x, int64_t n, meta_optimizer *opt, ag_error *err);
double xp_outer_rate(const xp_config *c, int64_t iteration);
double xp_now(void);                     /* monotonic [s] */
bool xp_is(const char *option, const char *value);
/* AG_ESTOP when the caller asked to stop. */
ag_code xp_check_stop(const xp_context *x, ag_error *err);
ag_code xp_store_parameters(const xp_context *x, const nn_model *m, const char *prefix, const ag_real *values, ag_error *err);

ag_code xp_run_maml(xp_context *x, ag_error *err);
ag_code xp_run_lora(xp_context *x, ag_error *err);

#endif
