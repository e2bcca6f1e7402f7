/* Which reader a file needs; NumPy's files; what every reader checks (arrays.h). */
#include "experiments/arrays.h"

#include "experiments/text_table.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

enum { PATH = 4096 };

void xp_arrays_release(xp_arrays *a)
{
    ag_free(a->x);
    ag_free(a->y);
    *a = (xp_arrays){ 0 };
}

ag_code xp_arrays_set_shape(xp_arrays *a, const char *path, int ndim, const int64_t *shape, int y_ndim, const int64_t *y_shape,
                            ag_error *err)
{
    AG_REQUIRE(ndim >= 1 && ndim <= XP_ARRAY_DIMS, err, AG_EDATA, "%s: x has %d dimensions; expected examples first, then one to %d",
               path, ndim, XP_ARRAY_DIMS - 1);
    AG_REQUIRE(y_ndim == 1, err, AG_EDATA, "%s: y has %d dimensions; expected one, a label for each example", path, y_ndim);
    AG_REQUIRE(shape[0] == y_shape[0], err, AG_EDATA, "%s: x has %lld examples and y %lld labels; expected as many", path,
               (long long)shape[0], (long long)y_shape[0]);
    a->n = shape[0];
    a->ndim = ndim > 1 ? ndim - 1 : 1;
    a->shape[0] = a->size = 1;
    for (int i = 1; i < ndim; i++) {
        AG_REQUIRE(shape[i] >= 1 && shape[i] <= INT32_MAX / a->size, err, AG_EDATA, "%s: one example of x is too large, or empty", path);
        a->shape[i - 1] = shape[i];
        a->size *= shape[i];
    }
    AG_REQUIRE(a->n >= 1, err, AG_EDATA, "%s: x holds no examples", path);
    return AG_OK;
}

ag_code xp_arrays_reserve(xp_arrays *a, const char *path, ag_error *err)
{
    a->x = ag_alloc((size_t)a->n * (size_t)a->size * sizeof *a->x);
    a->y = ag_alloc((size_t)a->n * sizeof *a->y);
    AG_REQUIRE(a->x && a->y, err, AG_ENOMEM, "%s: out of memory for %lld examples of %lld numbers", path, (long long)a->n,
               (long long)a->size);
    return AG_OK;
}

static ag_code check_finite(const xp_arrays *a, const char *path, ag_error *err)
{
    for (int64_t i = 0; i < a->n * a->size; i++)
        AG_REQUIRE(isfinite(a->x[i]), err, AG_ENAN, "%s: x of example %lld is %g; expected finite numbers", path,
                   (long long)(i / a->size), (double)a->x[i]);
    return AG_OK;
}

/* --- NumPy --- */

static ag_code from_npy(xp_arrays *a, const char *path, const xp_npy *x, const xp_npy *y, ag_error *err)
{
    AG_REQUIRE(y->kind != 'f', err, AG_EDATA, "%s: the labels y are fractions; expected whole numbers", path);
    AG_TRY(err, xp_arrays_set_shape(a, path, x->ndim, x->shape, y->ndim, y->shape, err));
    AG_TRY(err, xp_arrays_reserve(a, path, err));
    for (int64_t i = 0; i < a->n * a->size; i++)
        a->x[i] = (ag_real)xp_npy_real(x, i);
    for (int64_t i = 0; i < a->n; i++)
        a->y[i] = xp_npy_int(y, i);
    return AG_OK;
}

/* Both arrays' bytes, from wherever. */
typedef struct pair {
    char *bytes[2], name[2][PATH];
    size_t n[2];
} pair;

static ag_code parse_pair(xp_arrays *a, const char *path, const pair *p, ag_error *err)
{
    xp_npy array[2];
    for (int i = 0; i < 2; i++)
        AG_TRY(err, xp_npy_parse(&array[i], p->bytes[i], p->n[i], p->name[i], err));
    return from_npy(a, path, &array[0], &array[1], err);
}

static ag_code load_folder(pair *p, const char *path, const char *const names[2], ag_error *err)
{
    for (int i = 0; i < 2; i++) {
        int n = snprintf(p->name[i], PATH, "%s/%s.npy", path, names[i]);
        AG_REQUIRE(n > 0 && n < PATH, err, AG_ECONFIG, "the path %.60s... is longer than %d bytes", path, PATH);
        AG_TRY(err, xp_table_bytes(p->name[i], &p->bytes[i], &p->n[i], err));
    }
    return AG_OK;
}

static ag_code no_member(zip_t *z, const char *path, const char *name, ag_error *err)
{
    char list[600] = "";
    size_t used = 0;
    for (zip_int64_t i = 0; i < zip_get_num_entries(z, 0) && used < sizeof list - 80; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.60s", i ? ", " : "", zip_get_name(z, (zip_uint64_t)i, 0));
    return ag_fail(err, AG_ECONFIG, "%s: there is no %s; it has %s", path, name, *list ? list : "nothing");
}

/* No compression that zip knows shrinks numbers by more than RATIO. */
static ag_code load_member(pair *p, int i, zip_t *z, const char *path, const char *name, ag_error *err)
{
    enum { RATIO = 1100, FREE = 4096 };
    char member[PATH];
    zip_stat_t st;
    snprintf(member, sizeof member, "%s.npy", name);
    snprintf(p->name[i], PATH, "%.3000s(%.900s)", path, member);
    if (zip_stat(z, member, 0, &st) != 0)
        return no_member(z, path, member, err);
    AG_REQUIRE(st.size / RATIO <= st.comp_size + FREE, err, AG_EDATA, "%s: claims more bytes than can be packed in it", p->name[i]);
    p->bytes[i] = ag_alloc((size_t)st.size + 1);
    AG_REQUIRE(p->bytes[i], err, AG_ENOMEM, "%s: out of memory for %llu bytes", p->name[i], (unsigned long long)st.size);
    zip_file_t *f = zip_fopen_index(z, st.index, 0);
    zip_int64_t got = f ? zip_fread(f, p->bytes[i], st.size) : -1;
    bool whole = f && got >= 0 && (zip_uint64_t)got == st.size && zip_fread(f, member, 1) == 0;   /* reads the checksum, too */
    ag_code code = whole ? AG_OK : ag_fail(err, AG_EDATA, "%s: damaged: %s", p->name[i], f ? zip_file_strerror(f) : zip_strerror(z));
    if (f)
        zip_fclose(f);
    p->n[i] = (size_t)st.size;
    return code;
}

static ag_code load_npz(pair *p, const char *path, const char *const names[2], ag_error *err)
{
    int status = 0;
    zip_t *z = zip_open(path, ZIP_RDONLY, &status);
    AG_REQUIRE(z, err, status == ZIP_ER_MEMORY ? AG_ENOMEM : AG_EDATA, "%s: cannot be opened as NumPy's .npz, a zip archive", path);
    ag_code code = AG_OK;
    for (int i = 0; i < 2 && code == AG_OK; i++)
        code = load_member(p, i, z, path, names[i], err);
    zip_discard(z);
    return code;
}

static ag_code read_numpy(xp_arrays *a, const char *path, bool folder, const char *const names[2], ag_error *err)
{
    pair *p = ag_alloc_zero(sizeof *p);
    AG_REQUIRE(p, err, AG_ENOMEM, "%s: out of memory", path);
    ag_code code = folder ? load_folder(p, path, names, err) : load_npz(p, path, names, err);
    if (code == AG_OK)
        code = parse_pair(a, path, p, err);
    ag_free(p->bytes[0]);
    ag_free(p->bytes[1]);
    ag_free(p);
    return code;
}

/* --- any --- */

static ag_code look(const char *path, bool *folder, char head[8], ag_error *err)
{
    struct stat st;
    memset(head, 0, 8);
    AG_REQUIRE(stat(path, &st) == 0, err, errno == ENOENT || errno == ENOTDIR ? AG_ECONFIG : AG_EIO, "%s: %s", path, strerror(errno));
    *folder = S_ISDIR(st.st_mode);
    if (*folder)
        return AG_OK;
    FILE *f = fopen(path, "rbe");
    AG_REQUIRE(f, err, AG_EIO, "%s: cannot be opened: %s", path, strerror(errno));
    size_t n = fread(head, 1, 8, f);
    fclose(f);
    AG_REQUIRE(n == 8, err, AG_EDATA, "%s: too short; expected an HDF5 or .npz file, or a folder of .npy files", path);
    return AG_OK;
}

static ag_code read_any(xp_arrays *a, const char *path, const char *const names[2], ag_error *err)
{
    bool folder = false;
    char head[8];
    AG_TRY(err, look(path, &folder, head, err));
    if (folder || memcmp(head, "PK", 2) == 0)
        AG_TRY(err, read_numpy(a, path, folder, names, err));
    else if (memcmp(head, "\x89HDF\r\n\x1a\n", 8) == 0)
        AG_TRY(err, xp_arrays_read_hdf5(a, path, names[0], names[1], err));
    else
        return ag_fail(err, AG_EDATA, "%s: is neither HDF5 nor NumPy's .npz; %s", path,
                       memcmp(head, "\x93NUMPY", 6) == 0 ? "of .npy files, give the folder" : "expected one of them, or a folder of .npy files");
    return check_finite(a, path, err);
}

ag_code xp_arrays_read(xp_arrays *a, const char *path, const char *x_name, const char *y_name, ag_error *err)
{
    const char *const names[2] = { x_name, y_name };
    *a = (xp_arrays){ 0 };
    ag_code code = read_any(a, path, names, err);
    if (code != AG_OK)
        xp_arrays_release(a);
    return ag_trail(err, code, __func__);
}
