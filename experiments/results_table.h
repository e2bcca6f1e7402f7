/* Private to results_*.c: series along one unlimited dimension "iteration". Rows wait in memory between flushes, so
 * that all columns have the same length in the file. */
#ifndef XP_RESULTS_TABLE_H
#define XP_RESULTS_TABLE_H

#include "experiments/results_hdf5.h"

enum { XP_TABLE_COLUMNS = 5, XP_TABLE_BUFFER = 50 };

typedef struct xp_column {
    const char *name, *unit, *long_name;   /* unit NULL: the loss unit */
} xp_column;

/* Series along one unlimited dimension "iteration"; n_column doubles a row. */
typedef struct xp_table {
    int n_column;
    hid_t iteration, columns[XP_TABLE_COLUMNS];
    hsize_t rows;                                /* in the file */
    int waiting;                                 /* in memory */
    int64_t next_iteration[XP_TABLE_BUFFER];
    double next[XP_TABLE_COLUMNS][XP_TABLE_BUFFER];
} xp_table;

/* Creates the group `path` with its columns; to be closed also after a failure. */
ag_code xp_table_create(xp_table *t, hid_t file, const char *path, int n, const xp_column *columns, const char *loss_unit,
                        ag_error *err);
void xp_table_close(xp_table *t);
/* Needs waiting < XP_TABLE_BUFFER. values [n_column] */
void xp_table_add(xp_table *t, int64_t iteration, const double *values);
ag_code xp_table_flush(xp_table *t, ag_error *err);

#endif
