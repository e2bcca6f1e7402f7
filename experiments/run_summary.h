/* A result file as values in memory: what show, compare and reports work on. No HDF5 type appears here.
 *
 *     xp_run run;
 *     AG_TRY(err, xp_run_read(&run, "run.h5", err));
 *     xp_run_score(&run.protocols[0], 5, &loss, &accuracy);
 *     xp_run_release(&run);
 */
#ifndef XP_RUN_SUMMARY_H
#define XP_RUN_SUMMARY_H

#include "autograd/real.h"
#include "autograd/status.h"
#include "experiments/statistics.h"

/* A column against the outer iteration. */
typedef struct xp_curve {
    int64_t n;
    int64_t *iteration;          /* [n] */
    double *loss, *accuracy;     /* [n]; accuracy is NaN in regression */
} xp_curve;

/* Every episode of one test protocol; arrays [n_episode][n_score]. */
typedef struct xp_protocol {
    char *name, *loss_unit;
    int64_t n_episode, n_score;
    int64_t *step;               /* [n_score]: after how many inner steps, ascending; 0: before adaptation */
    double *loss, *accuracy;     /* accuracy NULL in regression */
    double diverged_above;
} xp_protocol;

typedef struct xp_run {
    char *path, *status, *name, *version, *config, *instruction_set, *gemm, *libraries, *precision;
    char *host, *started;        /* of /system, as threads and seconds */
    uint64_t seed;
    int64_t repeats, iterations; /* as configured */
    int64_t threads;
    double seconds;              /* wall clock; NaN while the run goes on */
    xp_curve train;              /* query_loss and query_accuracy of /train */
    xp_curve validation;
    int n_protocol;
    xp_protocol *protocols;      /* in the order they were written */
} xp_run;

/* AG_ECONFIG: missing, a folder, not HDF5 or not ours; AG_EDATA: damaged, or without a seal (seal.h). On failure *run
 * holds nothing to release. */
ag_code xp_run_read(xp_run *run, const char *path, ag_error *err);
void xp_run_release(xp_run *run);
/* Statistics of column i, 0 .. n_score - 1; accuracy may be NULL and is not touched in regression. */
void xp_run_score(const xp_protocol *p, int64_t i, xp_summary *loss, xp_summary *accuracy);

/* What a run on a pretrained network learned: its named parameters and step sizes, and the network's digest. */
typedef struct xp_run_array {
    const char *name;
    int ndim;
    int64_t shape[4];
    ag_real *data;               /* filled */
} xp_run_array;
typedef struct xp_run_start {
    char *base_digest;
    int64_t n_rate;
    ag_real *rates;              /* [n_rate] */
} xp_run_start;
/* Fails as xp_run_read does; AG_EDATA also where an array is missing or of another shape. */
ag_code xp_run_read_start(xp_run_start *s, const char *path, int n, const xp_run_array *arrays, ag_error *err);
void xp_run_start_release(xp_run_start *s);

#endif
