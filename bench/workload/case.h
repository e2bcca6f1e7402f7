/* A workload of the benchmark as a learner of ours: read from a case, a safetensors file that the peers read as well
 * (bench/workloads.py writes it and says what is in it). */
#ifndef BENCH_WORKLOAD_CASE_H
#define BENCH_WORKLOAD_CASE_H

#include "meta/meta.h"
#include "meta/network_model.h"

/* What replaces the case's own; 0: the case's. */
typedef struct bench_changes {
    int64_t threads, tasks, steps, chunk, keep;   /* keep: memory for inner steps' results [MB] */
    const char *algorithm;       /* maml | fomaml | reptile */
} bench_changes;

typedef struct bench_case {
    nn_weights *file;
    nn_network *net;             /* NULL, as the adapter, where the model stands on nothing */
    meta_adapter *adapter;
    nn_model model;
    meta_options options;
    const char *algorithm;       /* borrowed, from the file or the changes */
    const nn_stored *x[2], *y[2];    /* support, query: [batches, tasks, examples, ...] */
    int64_t n_batch, n_task;     /* n_task beyond the file's goes round */
    int64_t batch;               /* the batch that fetch gives */
    double outer_lr;
    int64_t check;               /* the meta-iteration whose loss is compared */
} bench_case;

/* Fails with AG_EDATA where the case is not as workloads.py writes it. Closed also after failure. */
ag_code bench_case_open(bench_case *c, const char *path, const bench_changes *change, ag_error *err);
void bench_case_close(bench_case *c);
/* values [model.n_value] get the case's start. */
ag_code bench_case_start(const bench_case *c, ag_real *values, ag_error *err);
/* A meta_fetch; ctx is the case. */
ag_code bench_case_fetch(void *ctx, int64_t first, int64_t count, void *sx, void *sy, void *qx, void *qy, ag_error *err);

#endif
