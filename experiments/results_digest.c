/* A digest of a result file's contents (results.h): SHA-256 over every object outside /system in the order of its
 * path: path, attributes by name, and for data sets type, shape and bytes. Nothing of the file's layout enters:
 * references between data sets and scales are digested as the paths they lead to. */
#include "experiments/results.h"
#include "experiments/results_hdf5.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

typedef struct digest {
    crypto_hash_sha256_state sha;
    hid_t file;
    const char *path;            /* of the file */
    char **names;                /* paths of the objects */
    size_t n, capacity;
    ag_code code;                /* of a callback that failed */
    ag_error *err;
} digest;

static void add_bytes(digest *d, const void *data, size_t n)
{
    crypto_hash_sha256_update(&d->sha, data, n);
}

/* Strings are digested with their NUL, so that "ab", "c" and "a", "bc" differ. */
static void add_string(digest *d, const char *s)
{
    add_bytes(d, s, strlen(s) + 1);
}

static void add_number(digest *d, uint64_t v)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(v >> 8 * i);
    add_bytes(d, bytes, sizeof bytes);
}

/* The type a value is digested in, little-endian whatever the machine; negative if metalora writes no such type. */
static hid_t digest_type(hid_t stored)
{
    switch (H5Tget_class(stored)) {
    case H5T_INTEGER:
        return H5Tcopy(H5Tget_sign(stored) == H5T_SGN_NONE ? H5T_STD_U64LE : H5T_STD_I64LE);
    case H5T_FLOAT:
        return H5Tcopy(H5Tget_size(stored) == 4 ? H5T_IEEE_F32LE : H5T_IEEE_F64LE);
    case H5T_STRING:
        return H5Tcopy(stored);
    default:
        return H5I_INVALID_HID;
    }
}

static void add_type(digest *d, hid_t type)
{
    add_number(d, (uint64_t)H5Tget_class(type));
    add_number(d, H5Tis_variable_str(type) > 0 ? 0 : (uint64_t)H5Tget_size(type));
    add_number(d, H5Tget_class(type) == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_NONE);
}

static ag_code add_dataset(digest *d, hid_t dataset, const char *name)
{
    int rank = 0;
    size_t n = 0;
    hsize_t shape[H5S_MAX_RANK];
    AG_TRY(d->err, xp_h5_extent(dataset, d->path, &rank, shape, &n, d->err));
    hid_t stored = H5Dget_type(dataset), type = stored < 0 ? H5I_INVALID_HID : digest_type(stored);
    ag_code code = AG_OK;
    void *data = NULL;
    if (type < 0 || H5Tget_class(type) == H5T_STRING)
        code = ag_fail(d->err, AG_EDATA, "'%s': '%s' is neither of whole numbers nor of real ones", d->path, name);
    else if (!(data = ag_alloc(n * H5Tget_size(type))))
        code = ag_fail(d->err, AG_ENOMEM, "'%s': out of memory for '%s'", d->path, name);
    else if (n > 0 && H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        code = xp_h5_fail(d->err, AG_EDATA, "'%s': cannot read '%s'", d->path, name);
    else {
        add_type(d, type);
        add_number(d, (uint64_t)rank);
        for (int i = 0; i < rank; i++)
            add_number(d, shape[i]);
        add_bytes(d, data, n * H5Tget_size(type));
    }
    ag_free(data);
    xp_h5_close(type);
    xp_h5_close(stored);
    return code;
}

static herr_t add_scale(hid_t dataset, unsigned dimension, hid_t scale, void *data)
{
    char name[1024];
    (void)dataset;
    if (H5Iget_name(scale, name, sizeof name) < 0)
        return -1;
    add_number(data, dimension);
    add_string(data, name);
    return 0;
}

/* The scales on each dimension, in place of the attribute DIMENSION_LIST. */
static ag_code add_scales(digest *d, hid_t dataset, const char *name)
{
    hid_t space = H5Dget_space(dataset);
    int rank = H5Sget_simple_extent_ndims(space);
    bool bad = rank < 0;
    for (int i = 0; i < rank && !bad; i++)
        bad = H5DSiterate_scales(dataset, (unsigned)i, NULL, add_scale, d) < 0;
    xp_h5_close(space);
    return bad ? xp_h5_fail(d->err, AG_EDATA, "'%s': cannot read the scales of '%s'", d->path, name) : AG_OK;
}

static herr_t read_value(hid_t attribute, hid_t type, digest *d)
{
    if (H5Tis_variable_str(type) > 0) {
        char *text = NULL;
        herr_t status = H5Aread(attribute, type, &text);
        if (status >= 0)
            add_string(d, text ? text : "");
        if (text)
            H5free_memory(text);
        return status;
    }
    unsigned char bytes[4096];
    if (H5Tget_size(type) > sizeof bytes)
        return -1;
    herr_t status = H5Aread(attribute, type, bytes);
    if (status >= 0)
        add_bytes(d, bytes, H5Tget_size(type));
    return status;
}

/* Called by H5Aiterate2 in the order of names. */
static herr_t add_attribute(hid_t object, const char *name, const H5A_info_t *info, void *data)
{
    digest *d = data;
    (void)info;
    if (strcmp(name, "DIMENSION_LIST") == 0 || strcmp(name, "REFERENCE_LIST") == 0)
        return 0;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT), stored = H5Aget_type(attribute);
    hid_t space = H5Aget_space(attribute), type = stored < 0 ? H5I_INVALID_HID : digest_type(stored);
    bool bad = type < 0 || H5Sget_simple_extent_npoints(space) != 1;
    if (!bad) {
        add_string(d, name);
        add_type(d, type);
        bad = read_value(attribute, type, d) < 0;
    }
    if (bad)
        d->code = xp_h5_fail(d->err, AG_EDATA, "'%s': the attribute '%s' is not a single string or number", d->path, name);
    xp_h5_close(type);
    xp_h5_close(space);
    xp_h5_close(stored);
    xp_h5_close(attribute);
    return bad ? -1 : 0;
}

static ag_code add_object(digest *d, const char *name)
{
    hid_t object = H5Oopen(d->file, name, H5P_DEFAULT);
    if (object < 0)
        return xp_h5_fail(d->err, AG_EDATA, "'%s': cannot open '%s'", d->path, name);
    bool dataset = H5Iget_type(object) == H5I_DATASET;
    ag_code code = AG_OK;
    add_string(d, name);
    add_number(d, dataset);
    if (H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, NULL, add_attribute, d) < 0)
        code = d->code != AG_OK ? d->code : xp_h5_fail(d->err, AG_EDATA, "'%s': cannot read attributes of '%s'", d->path, name);
    add_string(d, "");   /* no attribute has an empty name: the end of the list */
    if (code == AG_OK && dataset)
        code = add_scales(d, object, name);
    if (code == AG_OK && dataset)
        code = add_dataset(d, object, name);
    xp_h5_close(object);
    return code;
}

/* ---- the list of objects ---- */

static bool grow(digest *d)
{
    size_t capacity = 2 * d->capacity + 64;
    char **names = ag_alloc(capacity * sizeof *names);
    if (!names)
        return false;
    if (d->n)
        memcpy(names, d->names, d->n * sizeof *names);
    ag_free(d->names);
    d->names = names;
    d->capacity = capacity;
    return true;
}

static herr_t collect(hid_t root, const char *name, const H5O_info_t *info, void *data)
{
    digest *d = data;
    (void)root;
    (void)info;
    if (strcmp(name, "system") == 0 || strncmp(name, "system/", 7) == 0)
        return 0;
    if ((d->n == d->capacity && !grow(d)) || !(d->names[d->n] = ag_strdup(name))) {
        d->code = ag_fail(d->err, AG_ENOMEM, "'%s': out of memory for the list of objects", d->path);
        return -1;
    }
    d->n++;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static ag_code add_objects(digest *d)
{
    if (H5Ovisit2(d->file, H5_INDEX_NAME, H5_ITER_NATIVE, collect, d, H5O_INFO_BASIC) < 0)
        return d->code != AG_OK ? d->code : xp_h5_fail(d->err, AG_EDATA, "'%s': cannot list the objects", d->path);
    qsort(d->names, d->n, sizeof *d->names, by_name);
    for (size_t i = 0; i < d->n; i++)
        AG_TRY(d->err, add_object(d, d->names[i]));
    return AG_OK;
}

ag_code xp_results_digest(const char *path, char hex[65], ag_error *err)
{
    digest d = { .path = path, .err = err, .file = H5I_INVALID_HID };
    unsigned char hash[crypto_hash_sha256_BYTES];
    AG_REQUIRE(path && hex, err, AG_EINVAL, "xp_results_digest: path or hex is NULL");
    AG_REQUIRE(sodium_init() >= 0, err, AG_EIO, "libsodium does not start");
    crypto_hash_sha256_init(&d.sha);
    xp_h5_silence silence = xp_h5_begin();
    ag_code code = xp_h5_open_run(path, &d.file, err);
    if (code == AG_OK)
        code = add_objects(&d);
    xp_h5_close(d.file);
    xp_h5_end(silence);
    for (size_t i = 0; i < d.n; i++)
        ag_free(d.names[i]);
    ag_free(d.names);
    if (code != AG_OK)
        return ag_trail(err, code, __func__);
    crypto_hash_sha256_final(&d.sha, hash);
    sodium_bin2hex(hex, 65, hash, sizeof hash);
    return AG_OK;
}
