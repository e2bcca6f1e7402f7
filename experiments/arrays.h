/* Labelled arrays from files: x [n, ...] of numbers and y [n] of whole numbers.
 *
 *     xp_arrays a;
 *     AG_TRY(err, xp_arrays_read(&a, "features.npz", "x", "y", err));
 *     xp_arrays_release(&a);
 *
 * Reads, by what the file is and not by its name: HDF5, NumPy's .npz, or a folder with X.npy and Y.npy. */
#ifndef XP_ARRAYS_H
#define XP_ARRAYS_H

#include "autograd/real.h"
#include "autograd/status.h"

#include <stdint.h>

enum { XP_ARRAY_DIMS = 5 };      /* examples, and four dimensions of one */

typedef struct xp_arrays {
    int64_t n;                   /* examples */
    int ndim;                    /* of one example, 1 to 4: x of shape [n] counts as [n, 1] */
    int64_t shape[XP_ARRAY_DIMS - 1], size;   /* of one example, and how many numbers that is */
    ag_real *x;                  /* [n, shape...] */
    int64_t *y;                  /* [n] */
} xp_arrays;

/* x_name, y_name: of the data sets or members. Fails with AG_ECONFIG (no such file, no array of that name), AG_EDATA (damaged, no
 * numbers, lengths that differ, labels that are not whole, no examples), AG_ENAN (names the example), AG_EIO, AG_ENOMEM; *a
 * is empty then. A hostile HDF5 file can crash the HDF5 library: read files of others only where that may be. */
ag_code xp_arrays_read(xp_arrays *a, const char *path, const char *x_name, const char *y_name, ag_error *err);
void xp_arrays_release(xp_arrays *a);

/* --- for arrays*.c --- */

/* An array as it stands in a .npy file. */
typedef struct xp_npy {
    char kind;                   /* 'f' float, 'i' int, 'u' unsigned, 'b' bool */
    int bytes;                   /* of one number */
    bool big_endian;
    int ndim;
    int64_t shape[XP_ARRAY_DIMS], count;
    const unsigned char *data;   /* [count * bytes], within the file's bytes */
} xp_npy;
/* Of numbers, in C order. Borrows from bytes. AG_EDATA: anything else. */
ag_code xp_npy_parse(xp_npy *a, const void *bytes, size_t n, const char *name, ag_error *err);
double xp_npy_real(const xp_npy *a, int64_t i);
int64_t xp_npy_int(const xp_npy *a, int64_t i);   /* of kinds i, u and b */

/* shape [ndim] of the whole x -> n, ndim, shape, size; y_shape must be [n]. */
ag_code xp_arrays_set_shape(xp_arrays *a, const char *path, int ndim, const int64_t *shape, int y_ndim, const int64_t *y_shape,
                            ag_error *err);
/* Room for x and y. */
ag_code xp_arrays_reserve(xp_arrays *a, const char *path, ag_error *err);
ag_code xp_arrays_read_hdf5(xp_arrays *a, const char *path, const char *x_name, const char *y_name, ag_error *err);

#endif
