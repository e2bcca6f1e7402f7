/* The parameters of a result file, and what they were made for (run_summary.h). */
#include "experiments/results_hdf5.h"
#include "experiments/run_summary.h"

#include <stdio.h>
#include <string.h>

static const char group_name[] = "parameters";

static hid_t native_real(void)
{
    return sizeof(ag_real) == sizeof(double) ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT;
}

/* The data set of that name: its shape, at most 4 dimensions. */
static ag_code open_parameter(hid_t file, const char *path, const char *name, hid_t *dataset, int *rank, hsize_t shape[H5S_MAX_RANK],
                              ag_error *err)
{
    char full[512];
    size_t count;
    snprintf(full, sizeof full, "%s/%s", group_name, name);
    *dataset = H5Dopen2(file, full, H5P_DEFAULT);
    if (*dataset < 0)
        return xp_h5_fail(err, AG_EDATA, "'%s': the parameter '%s' is missing", path, name);
    ag_code code = xp_h5_extent(*dataset, path, rank, shape, &count, err);
    if (code != AG_OK)
        xp_h5_close(*dataset);
    return code;
}

static ag_code read_array(hid_t file, const char *path, const xp_run_array *a, ag_error *err)
{
    hid_t dataset;
    hsize_t shape[H5S_MAX_RANK];
    int rank;
    AG_TRY(err, open_parameter(file, path, a->name, &dataset, &rank, shape, err));
    bool same = rank == a->ndim;
    for (int i = 0; same && i < rank; i++)
        same = (int64_t)shape[i] == a->shape[i];
    ag_code code = AG_OK;
    if (!same)
        code = ag_fail(err, AG_EDATA, "'%s': the parameter '%s' has another shape than the run's configuration makes", path, a->name);
    else if (H5Dread(dataset, native_real(), H5S_ALL, H5S_ALL, H5P_DEFAULT, a->data) < 0)
        code = xp_h5_fail(err, AG_EDATA, "'%s': cannot read the parameter '%s'", path, a->name);
    xp_h5_close(dataset);
    return code;
}

static ag_code read_rates(hid_t file, const char *path, xp_run_start *s, ag_error *err)
{
    hid_t dataset;
    hsize_t shape[H5S_MAX_RANK];
    int rank;
    AG_TRY(err, open_parameter(file, path, "inner_lr", &dataset, &rank, shape, err));
    ag_code code = AG_OK;
    if (rank != 1 || shape[0] < 1)
        code = ag_fail(err, AG_EDATA, "'%s': the parameter 'inner_lr' is no list of rates", path);
    else if (!(s->rates = ag_alloc((size_t)shape[0] * sizeof *s->rates)))
        code = ag_fail(err, AG_ENOMEM, "'%s': out of memory for its rates", path);
    else if (H5Dread(dataset, native_real(), H5S_ALL, H5S_ALL, H5P_DEFAULT, s->rates) < 0)
        code = xp_h5_fail(err, AG_EDATA, "'%s': cannot read the parameter 'inner_lr'", path);
    s->n_rate = code == AG_OK ? (int64_t)shape[0] : 0;
    xp_h5_close(dataset);
    return code;
}

static ag_code read_all(hid_t file, const char *path, int n, const xp_run_array *arrays, xp_run_start *s, ag_error *err)
{
    AG_TRY(err, xp_h5_get_string(file, path, "base_digest", &s->base_digest, err));
    for (int i = 0; i < n; i++)
        AG_TRY(err, read_array(file, path, &arrays[i], err));
    return read_rates(file, path, s, err);
}

ag_code xp_run_read_start(xp_run_start *s, const char *path, int n, const xp_run_array *arrays, ag_error *err)
{
    hid_t file = H5I_INVALID_HID;
    *s = (xp_run_start){ 0 };
    xp_h5_silence silence = xp_h5_begin();
    ag_code code = xp_h5_open_run(path, &file, err);
    if (code == AG_OK)
        code = read_all(file, path, n, arrays, s, err);
    xp_h5_close(file);
    xp_h5_end(silence);
    if (code != AG_OK)
        xp_run_start_release(s);
    return ag_trail(err, code, __func__);
}

void xp_run_start_release(xp_run_start *s)
{
    ag_free(s->base_digest);
    ag_free(s->rates);
    *s = (xp_run_start){ 0 };
}
