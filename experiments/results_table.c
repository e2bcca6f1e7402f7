/* Growing tables of a result file (results_table.h). */
#include "experiments/results_table.h"

enum { CHUNK_ROWS = 1024 };

void xp_table_close(xp_table *t)
{
    for (int i = 0; i < t->n_column; i++)
        xp_h5_close(t->columns[i]);
    xp_h5_close(t->iteration);
    t->n_column = 0;
    t->iteration = H5I_INVALID_HID;
}

static ag_code table_create_in(xp_table *t, hid_t group, int n, const xp_column *columns, const char *loss_unit, ag_error *err)
{
    const hsize_t none = 0;
    AG_TRY(err, xp_h5_create_dataset(group, "iteration", H5T_STD_I64LE, 1, &none, CHUNK_ROWS, &t->iteration, err));
    AG_TRY(err, xp_h5_describe(t->iteration, "1", "outer iteration", err));
    AG_TRY(err, xp_h5_make_scale(t->iteration, "iteration", err));
    for (int i = 0; i < n; i++) {
        const xp_column *c = &columns[i];
        AG_TRY(err, xp_h5_create_dataset(group, c->name, H5T_IEEE_F64LE, 1, &none, CHUNK_ROWS, &t->columns[i], err));
        t->n_column = i + 1;
        AG_TRY(err, xp_h5_describe(t->columns[i], c->unit ? c->unit : loss_unit, c->long_name, err));
        AG_TRY(err, xp_h5_attach_scale(t->columns[i], t->iteration, 0, err));
    }
    return AG_OK;
}

ag_code xp_table_create(xp_table *t, hid_t file, const char *path, int n, const xp_column *columns, const char *loss_unit,
                        ag_error *err)
{
    hid_t group;
    AG_TRY(err, xp_h5_create_group(file, path, &group, err));
    ag_code code = table_create_in(t, group, n, columns, loss_unit, err);
    xp_h5_close(group);
    return code == AG_OK ? code : ag_trail(err, code, __func__);
}

/* Writes n numbers behind the rows that are there. */
static ag_code append(hid_t dataset, hid_t memory_type, hsize_t rows, hsize_t n, const void *data, ag_error *err)
{
    const hsize_t extent = rows + n;
    hid_t memory = H5Screate_simple(1, &n, NULL), space = H5I_INVALID_HID;
    bool bad = memory < 0 || H5Dset_extent(dataset, &extent) < 0 || (space = H5Dget_space(dataset)) < 0
               || H5Sselect_hyperslab(space, H5S_SELECT_SET, &rows, NULL, &n, NULL) < 0
               || H5Dwrite(dataset, memory_type, memory, space, H5P_DEFAULT, data) < 0;
    ag_code code = bad ? xp_h5_fail(err, AG_EIO, "cannot append a row") : AG_OK;
    xp_h5_close(memory);
    xp_h5_close(space);
    return code;
}

ag_code xp_table_flush(xp_table *t, ag_error *err)
{
    const hsize_t n = (hsize_t)t->waiting;
    if (n == 0)
        return AG_OK;
    AG_TRY(err, append(t->iteration, H5T_NATIVE_INT64, t->rows, n, t->next_iteration, err));
    for (int i = 0; i < t->n_column; i++)
        AG_TRY(err, append(t->columns[i], H5T_NATIVE_DOUBLE, t->rows, n, t->next[i], err));
    t->rows += n;
    t->waiting = 0;
    return AG_OK;
}

void xp_table_add(xp_table *t, int64_t iteration, const double *values)
{
    t->next_iteration[t->waiting] = iteration;
    for (int i = 0; i < t->n_column; i++)
        t->next[i][t->waiting] = values[i];
    t->waiting++;
}
