/* The result file of a run: one HDF5 file (docs/results-file.md), always whole: written aside and renamed.
 * hdf5.h is included through results_hdf5.h only. Wall-clock figures go under /system, so that everything else can be
 * compared bit by bit. One thread at a time may use an xp_results. */
#ifndef XP_RESULTS_H
#define XP_RESULTS_H

#include "autograd/real.h"
#include "autograd/status.h"
#include "experiments/config.h"

typedef struct xp_results xp_results;

/* One training iteration's line. */
typedef struct xp_train_row {
    int64_t iteration;
    double support_loss;         /* mean over tasks, before adaptation */
    double query_loss;           /* mean over tasks, after adaptation: the meta-objective */
    double query_accuracy;       /* NaN in regression */
    double grad_norm;            /* of the meta-gradient, before clipping */
    double lr;                   /* of the outer step */
    double seconds;              /* wall clock since the start; stored under /system */
} xp_train_row;

typedef struct xp_validation_row {
    int64_t iteration;
    double loss, accuracy;       /* after the last step; mean over the validation episodes */
} xp_validation_row;

/* Scores of one test protocol; arrays are [n_episode][n_score], the caller's. */
typedef struct xp_scores {
    const char *protocol;        /* the group's name: "5-shot", "transductive", ... */
    int64_t n_episode, n_score;
    const double *loss;
    const double *accuracy;      /* NULL in regression */
    const uint64_t *episode_seed;   /* [n_episode]: the task number of the episode's id */
    const char *loss_unit;       /* "mean squared error", "nats" */
    double diverged_above;
    const int64_t *step;         /* [n_score]: after how many inner steps, ascending; 0: before adaptation. NULL: 0, 1, ... */
} xp_scores;

/* What the runner knows about itself; strings borrowed during the call. */
typedef struct xp_provenance {
    const char *version, *instruction_set, *gemm, *libraries, *command_line;
    int threads;
    const char *loss_unit;       /* of the training and validation losses: "nats", ...; NULL: "1" */
} xp_provenance;

/* Begins a file in memory. PATH is made at the first row, score or publish; any HDF5 reader may open it at any moment:
 * it is replaced as a whole about once a second. force: what is at PATH by then is replaced.
 * AG_ECONFIG: PATH exists (unless force) or is a folder, its folder is missing or may not be written to. AG_EIO: the
 * disk refused. */
ag_code xp_results_create(xp_results **r, const char *path, bool force, const xp_config *c,
                          const xp_provenance *p, ag_error *err);
/* Replaces the file on the disk now. AG_ECONFIG when PATH is somebody else's meanwhile. */
ag_code xp_results_publish(xp_results *r, ag_error *err);
/* Rows reach the disk about once a second. After a failure the file should be closed as failed or abandoned. */
ag_code xp_results_train(xp_results *r, const xp_train_row *row, ag_error *err);
ag_code xp_results_validation(xp_results *r, const xp_validation_row *row, ag_error *err);
ag_code xp_results_scores(xp_results *r, const xp_scores *s, ag_error *err);
/* One named tensor under /parameters/<name> (slashes in the name make groups). */
ag_code xp_results_parameter(xp_results *r, const char *name, int ndim, const int64_t *shape, const ag_real *data,
                             ag_error *err);
/* The root attribute base_digest: the digest of the pretrained network that the parameters belong to. */
ag_code xp_results_base(xp_results *r, const char *digest, ag_error *err);
/* A scalar under /system: seconds, peak_bytes, ...; the last value of a name counts. Without "seconds" the time from
 * create to close is stored. */
ag_code xp_results_system(xp_results *r, const char *name, double value, const char *unit, ag_error *err);
/* Sets status (complete | interrupted | failed) and replaces PATH, flushed to the disk. Frees r in every case. On failure
 * the copy written before stays at PATH; when PATH is somebody else's meanwhile the message says where the data were left. */
ag_code xp_results_close(xp_results *r, const char *status, ag_error *err);
/* Frees r and removes what it put at PATH; NULL is allowed. */
void xp_results_abandon(xp_results *r);

/* A digest (SHA-256, hex) over everything outside /system, independent of how the file is laid out. */
ag_code xp_results_digest(const char *path, char hex[65], ag_error *err);
/* The summary of a file as a table for people, or as one JSON object. Text is freed with ag_free. */
ag_code xp_results_show(const char *path, bool json, bool colour, char **text, ag_error *err);

#endif
