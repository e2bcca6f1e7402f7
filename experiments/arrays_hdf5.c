/* Arrays from HDF5 files (arrays.h); results_hdf5.h brings hdf5.h. */
#include "experiments/arrays.h"

#include "experiments/results_hdf5.h"

#include <stdio.h>

typedef struct sets {
    hid_t file, x, y;
} sets;

/* Names of the data sets at the top, for messages. */
typedef struct list {
    char text[600];
    size_t used;
} list;

static herr_t add_name(hid_t group, const char *name, const H5L_info_t *info, void *data)
{
    list *l = data;
    (void)group;
    (void)info;
    if (l->used < sizeof l->text - 80)
        l->used += (size_t)snprintf(l->text + l->used, sizeof l->text - l->used, "%s%.60s", l->used ? ", " : "", name);
    return 0;
}

static ag_code open_set(hid_t file, const char *path, const char *name, hid_t *set, ag_error *err)
{
    list l = { .text = "" };
    *set = H5Dopen2(file, name, H5P_DEFAULT);
    if (*set >= 0)
        return AG_OK;
    H5Literate(file, H5_INDEX_NAME, H5_ITER_INC, NULL, add_name, &l);
    return ag_fail(err, AG_ECONFIG, "%s: there is no data set '%s' (tasks.x_dataset, tasks.y_dataset); it has %s", path, name,
                   l.used ? l.text : "nothing");
}

/* Its shape; an array with numbers of one of the two classes. */
static ag_code inspect(hid_t set, const char *path, const char *name, bool whole, int *ndim, int64_t shape[XP_ARRAY_DIMS],
                       ag_error *err)
{
    hsize_t extent[H5S_MAX_RANK];
    size_t count;
    hid_t type = H5Dget_type(set);
    H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    xp_h5_close(type);
    AG_REQUIRE(class == H5T_INTEGER || (class == H5T_FLOAT && !whole), err, AG_EDATA, "%s: '%s' does not hold %s", path, name,
               whole ? "whole numbers, which labels are" : "numbers");
    AG_TRY(err, xp_h5_extent(set, path, ndim, extent, &count, err));
    for (int i = 0; i < *ndim && i < XP_ARRAY_DIMS; i++)
        shape[i] = (int64_t)extent[i];
    return AG_OK;
}

static ag_code read_sets(xp_arrays *a, const sets *s, const char *path, const char *x_name, const char *y_name, ag_error *err)
{
    int ndim, y_ndim;
    int64_t shape[XP_ARRAY_DIMS] = { 0 }, y_shape[XP_ARRAY_DIMS] = { 0 };
    AG_TRY(err, inspect(s->x, path, x_name, false, &ndim, shape, err));
    AG_TRY(err, inspect(s->y, path, y_name, true, &y_ndim, y_shape, err));
    AG_TRY(err, xp_arrays_set_shape(a, path, ndim, shape, y_ndim, y_shape, err));
    AG_TRY(err, xp_arrays_reserve(a, path, err));
    hid_t real = sizeof(ag_real) == sizeof(float) ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
    if (H5Dread(s->x, real, H5S_ALL, H5S_ALL, H5P_DEFAULT, a->x) < 0)
        return xp_h5_fail(err, AG_EDATA, "%s: cannot read '%s'", path, x_name);
    if (H5Dread(s->y, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, a->y) < 0)
        return xp_h5_fail(err, AG_EDATA, "%s: cannot read '%s'", path, y_name);
    return AG_OK;
}

ag_code xp_arrays_read_hdf5(xp_arrays *a, const char *path, const char *x_name, const char *y_name, ag_error *err)
{
    xp_h5_silence silence = xp_h5_begin();
    sets s = { H5I_INVALID_HID, H5I_INVALID_HID, H5I_INVALID_HID };
    s.file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    ag_code code = s.file < 0 ? xp_h5_fail(err, AG_EDATA, "%s: cannot be opened as HDF5", path) : AG_OK;
    if (code == AG_OK)
        code = open_set(s.file, path, x_name, &s.x, err);
    if (code == AG_OK)
        code = open_set(s.file, path, y_name, &s.y, err);
    if (code == AG_OK)
        code = read_sets(a, &s, path, x_name, y_name, err);
    xp_h5_close(s.x);
    xp_h5_close(s.y);
    xp_h5_close(s.file);
    xp_h5_end(silence);
    return code;
}
