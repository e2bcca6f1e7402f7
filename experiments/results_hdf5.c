/* HDF5 calls that answer as ours do (results_hdf5.h). */
#include "experiments/results_hdf5.h"

#include "experiments/seal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

xp_h5_silence xp_h5_begin(void)
{
    xp_h5_silence s = { NULL, NULL };
    H5Eget_auto2(H5E_DEFAULT, &s.print, &s.data);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return s;
}

void xp_h5_end(xp_h5_silence s)
{
    H5Eset_auto2(H5E_DEFAULT, s.print, s.data);
}

/* Called for the innermost line first; stops there. */
static herr_t keep_innermost(unsigned n, const H5E_error2_t *line, void *data)
{
    (void)n;
    snprintf(data, AG_MESSAGE_MAX / 2, "%s", line->desc ? line->desc : "");
    return 1;
}

/* The operating system's words out of HDF5's "..., errno = 28, error message = 'No space left on device', buf = ...". */
static void keep_system_message(char *text)
{
    static const char mark[] = "error message = '";
    char *start = strstr(text, mark);
    if (!start)
        return;
    start += sizeof mark - 1;
    size_t n = strcspn(start, "'");
    memmove(text, start, n);
    text[n] = '\0';
}

ag_code xp_h5_fail(ag_error *err, ag_code code, const char *fmt, ...)
{
    char reason[AG_MESSAGE_MAX / 2] = "", message[AG_MESSAGE_MAX / 2];
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, reason);
    H5Eclear2(H5E_DEFAULT);
    keep_system_message(reason);
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    return ag_fail(err, code, "%s%s%s", message, *reason ? ": HDF5: " : "", reason);
}

bool xp_h5_close(hid_t id)
{
    return id < 0 || H5Idec_ref(id) >= 0;
}

hid_t xp_h5_track_order(hid_t property_class)
{
    const unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    hid_t list = H5Pcreate(property_class);
    bool bad = list < 0 || H5Pset_obj_track_times(list, false) < 0 || H5Pset_attr_creation_order(list, order) < 0;
    if (!bad && property_class != H5P_DATASET_CREATE)
        bad = H5Pset_link_creation_order(list, order) < 0;
    if (!bad)
        return list;
    xp_h5_close(list);
    return H5I_INVALID_HID;
}

hid_t xp_h5_string_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 && H5Tset_size(type, H5T_VARIABLE) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0)
        return type;
    xp_h5_close(type);
    return H5I_INVALID_HID;
}

/* Writes a scalar attribute, over an older value of the same type if there is one. */
static ag_code set_scalar(hid_t object, const char *name, hid_t file_type, hid_t memory_type, const void *value,
                          ag_error *err)
{
    hid_t space = H5Screate(H5S_SCALAR);
    htri_t exists = H5Aexists(object, name);
    hid_t attribute = exists > 0 ? H5Aopen(object, name, H5P_DEFAULT)
                                 : H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool bad = space < 0 || attribute < 0 || H5Awrite(attribute, memory_type, value) < 0;
    ag_code code = bad ? xp_h5_fail(err, AG_EIO, "cannot write the attribute '%s'", name) : AG_OK;
    bad = !xp_h5_close(attribute) || !xp_h5_close(space);
    if (bad && code == AG_OK)
        code = xp_h5_fail(err, AG_EIO, "cannot close the attribute '%s'", name);
    return code;
}

ag_code xp_h5_set_string(hid_t object, const char *name, const char *value, ag_error *err)
{
    const char *text = value ? value : "";
    hid_t type = xp_h5_string_type();
    if (type < 0)
        return xp_h5_fail(err, AG_ENOMEM, "cannot make a string type for the attribute '%s'", name);
    ag_code code = set_scalar(object, name, type, type, &text, err);
    xp_h5_close(type);
    return code;
}

ag_code xp_h5_set_int(hid_t object, const char *name, int64_t value, ag_error *err)
{
    return set_scalar(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value, err);
}

ag_code xp_h5_set_uint(hid_t object, const char *name, uint64_t value, ag_error *err)
{
    return set_scalar(object, name, H5T_STD_U64LE, H5T_NATIVE_UINT64, &value, err);
}

ag_code xp_h5_set_double(hid_t object, const char *name, double value, ag_error *err)
{
    return set_scalar(object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value, err);
}

/* Opens a scalar attribute whose type is of the wanted class. */
static ag_code open_scalar(hid_t object, const char *path, const char *name, H5T_class_t a, H5T_class_t b,
                           hid_t *attribute, ag_error *err)
{
    *attribute = H5I_INVALID_HID;
    if (H5Aexists(object, name) <= 0)
        return ag_fail(err, AG_EDATA, "'%s': the attribute '%s' is missing; expected a run's result file", path, name);
    hid_t open = H5Aopen(object, name, H5P_DEFAULT), type = H5Aget_type(open), space = H5Aget_space(open);
    H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    bool fits = open >= 0 && (class == a || class == b) && H5Sget_simple_extent_npoints(space) == 1;
    xp_h5_close(space);
    xp_h5_close(type);
    if (fits) {
        *attribute = open;
        return AG_OK;
    }
    xp_h5_close(open);
    return ag_fail(err, AG_EDATA, "'%s': the attribute '%s' is not a single %s", path, name,
                   a == H5T_STRING ? "string" : "number");
}

ag_code xp_h5_get_string(hid_t object, const char *path, const char *name, char **value, ag_error *err)
{
    hid_t attribute;
    *value = NULL;
    AG_TRY(err, open_scalar(object, path, name, H5T_STRING, H5T_STRING, &attribute, err));
    hid_t stored = H5Aget_type(attribute), type = H5Tcopy(stored);   /* a copy: the library's own is read-only */
    char *text = NULL;
    bool bad = stored < 0 || H5Tis_variable_str(stored) <= 0 || H5Aread(attribute, type, &text) < 0;
    ag_code code = AG_OK;
    if (bad)
        code = xp_h5_fail(err, AG_EDATA, "'%s': cannot read the attribute '%s' as a string", path, name);
    else if (!(*value = ag_strdup(text ? text : "")))
        code = ag_fail(err, AG_ENOMEM, "'%s': out of memory for the attribute '%s'", path, name);
    if (text)
        H5free_memory(text);
    xp_h5_close(type);
    xp_h5_close(stored);
    xp_h5_close(attribute);
    return code;
}

ag_code xp_h5_get_number(hid_t object, const char *path, const char *name, hid_t type, void *value, ag_error *err)
{
    hid_t attribute;
    AG_TRY(err, open_scalar(object, path, name, H5T_INTEGER, H5T_FLOAT, &attribute, err));
    ag_code code = AG_OK;
    if (H5Aread(attribute, type, value) < 0)
        code = xp_h5_fail(err, AG_EDATA, "'%s': cannot read the attribute '%s'", path, name);
    xp_h5_close(attribute);
    return code;
}

ag_code xp_h5_create_group(hid_t parent, const char *name, hid_t *group, ag_error *err)
{
    hid_t order = xp_h5_track_order(H5P_GROUP_CREATE);
    *group = order < 0 ? H5I_INVALID_HID : H5Gcreate2(parent, name, H5P_DEFAULT, order, H5P_DEFAULT);
    ag_code code = *group < 0 ? xp_h5_fail(err, AG_EIO, "cannot create the group '%s'", name) : AG_OK;
    xp_h5_close(order);
    return code;
}

ag_code xp_h5_create_dataset(hid_t group, const char *name, hid_t type, int rank, const hsize_t *shape, hsize_t chunk,
                              hid_t *dataset, ag_error *err)
{
    const hsize_t unlimited = H5S_UNLIMITED;
    enum { DEFLATE = 4 };
    hid_t list = xp_h5_track_order(H5P_DATASET_CREATE);
    hid_t space = rank ? H5Screate_simple(rank, shape, chunk ? &unlimited : NULL) : H5Screate(H5S_SCALAR);
    bool bad = list < 0 || space < 0 || (chunk && (H5Pset_chunk(list, 1, &chunk) < 0 || H5Pset_shuffle(list) < 0 || H5Pset_deflate(list, DEFLATE) < 0));
    *dataset = bad ? H5I_INVALID_HID : H5Dcreate2(group, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    ag_code code = *dataset < 0 ? xp_h5_fail(err, AG_EIO, "cannot create the data set '%s'", name) : AG_OK;
    xp_h5_close(space);
    xp_h5_close(list);
    return code;
}

ag_code xp_h5_describe(hid_t dataset, const char *unit, const char *long_name, ag_error *err)
{
    AG_TRY(err, xp_h5_set_string(dataset, "long_name", long_name, err));
    return unit ? xp_h5_set_string(dataset, "units", unit, err) : AG_OK;
}

ag_code xp_h5_attach_scale(hid_t dataset, hid_t scale, unsigned dimension, ag_error *err)
{
    if (H5DSattach_scale(dataset, scale, dimension) < 0)
        return xp_h5_fail(err, AG_EIO, "cannot attach a dimension scale");
    return AG_OK;
}

ag_code xp_h5_make_scale(hid_t dataset, const char *name, ag_error *err)
{
    if (H5DSset_scale(dataset, name) < 0)
        return xp_h5_fail(err, AG_EIO, "cannot make '%s' a dimension scale", name);
    return AG_OK;
}

static ag_code check_format(hid_t file, const char *path, ag_error *err)
{
    char *format = NULL;
    if (H5Aexists(file, "format") <= 0)
        return ag_fail(err, AG_ECONFIG, "'%s' is an HDF5 file, but not a result of metalora (no attribute 'format')", path);
    AG_TRY(err, xp_h5_get_string(file, path, "format", &format, err));
    bool ours = strcmp(format, XP_RESULTS_FORMAT) == 0;
    ag_code code = ours ? AG_OK : ag_fail(err, AG_ECONFIG, "'%s' has the format '%.60s'; this version reads '%s'", path,
                                          format, XP_RESULTS_FORMAT);
    ag_free(format);
    return code;
}

/* Tells a foreign file from a damaged one. A result file has no user block: the signature comes first. */
static ag_code check_signature(const char *path, ag_error *err)
{
    static const char signature[8] = "\x89HDF\r\n\x1a\n";
    char found[sizeof signature] = "";
    FILE *f = fopen(path, "rb");
    AG_REQUIRE(f, err, AG_ECONFIG, "cannot open the result file '%s': %s", path, strerror(errno));
    size_t n = fread(found, 1, sizeof found, f);
    fclose(f);
    AG_REQUIRE(n == sizeof found && memcmp(found, signature, n) == 0, err, AG_ECONFIG,
               "'%s' cannot be read as an HDF5 file: it does not begin like one", path);
    return AG_OK;
}

/* A reader without a lock: a run that still writes is looked at as it is. */
static hid_t open_unlocked(const char *path)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), file = H5I_INVALID_HID;
    if (access >= 0 && H5Pset_file_locking(access, false, true) >= 0 && H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0)
        file = H5Fopen(path, H5F_ACC_RDONLY, access);
    xp_h5_close(access);
    return file;
}

ag_code xp_h5_open_run(const char *path, hid_t *file, ag_error *err)
{
    struct stat status;
    *file = H5I_INVALID_HID;
    AG_REQUIRE(path, err, AG_EINVAL, "the path of a result file is NULL");
    AG_REQUIRE(stat(path, &status) == 0, err, AG_ECONFIG, "cannot open the result file '%s': %s", path, strerror(errno));
    AG_REQUIRE(S_ISREG(status.st_mode), err, AG_ECONFIG, "'%s' is not a file; expected a run's result file", path);
    AG_TRY(err, check_signature(path, err));
    AG_TRY(err, xp_seal_check(path, err));
    *file = open_unlocked(path);
    if (*file < 0)
        return xp_h5_fail(err, AG_EDATA, "'%s' cannot be read as an HDF5 file", path);
    ag_code code = check_format(*file, path, err);
    if (code != AG_OK) {
        xp_h5_close(*file);
        *file = H5I_INVALID_HID;
    }
    return code;
}

ag_code xp_h5_extent(hid_t dataset, const char *path, int *rank, hsize_t *shape, size_t *count, ag_error *err)
{
    enum { RATIO = 1024, FREE = 1 << 24 };   /* no compression shrinks numbers by more; small data may be unwritten */
    hsize_t room[H5S_MAX_RANK], *extent = shape ? shape : room;
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    size_t size = type < 0 ? 0 : H5Tget_size(type);
    *rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, extent, NULL);
    xp_h5_close(type);
    xp_h5_close(space);
    if (*rank < 0 || size == 0)
        return xp_h5_fail(err, AG_EDATA, "'%s': cannot read the shape of a data set", path);
    size_t n = 1, most = H5Dget_storage_size(dataset) < SIZE_MAX / RATIO / 2
                             ? ((size_t)H5Dget_storage_size(dataset) * RATIO + FREE) / size : SIZE_MAX / size;
    bool empty = false;
    for (int i = 0; i < *rank; i++)
        empty |= extent[i] == 0;
    for (int i = 0; i < *rank && !empty; i++) {
        if (extent[i] > most / n)
            return ag_fail(err, AG_EDATA, "'%s': a data set claims more elements than the file can hold", path);
        n *= (size_t)extent[i];
    }
    *count = empty ? 0 : n;
    return AG_OK;
}
