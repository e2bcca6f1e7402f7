/* Private to results_*.c: the one place that includes hdf5.h, and what makes its calls answer as ours do.
 * A public function brackets its work with xp_h5_begin and xp_h5_end, so that HDF5 prints nothing meanwhile. */
#ifndef XP_RESULTS_HDF5_H
#define XP_RESULTS_HDF5_H

#include "autograd/status.h"

#include <hdf5.h>
#include <hdf5_hl.h>
#include <stdint.h>

#define XP_RESULTS_FORMAT "metalora-run-1"

typedef struct xp_h5_silence {
    H5E_auto2_t print;
    void *data;
} xp_h5_silence;

xp_h5_silence xp_h5_begin(void);
void xp_h5_end(xp_h5_silence s);

/* Fails with code and the message, followed by the innermost line of HDF5's error stack. */
ag_code xp_h5_fail(ag_error *err, ag_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Gives up a handle of any kind; one that is not valid is left alone. False if HDF5 reports a failure. */
bool xp_h5_close(hid_t id);

/* Property lists and types; negative on failure. */
hid_t xp_h5_track_order(hid_t property_class);   /* creation order tracked, no time stamps: files, groups, datasets */
hid_t xp_h5_string_type(void);                   /* variable length, UTF-8 */

ag_code xp_h5_set_string(hid_t object, const char *name, const char *value, ag_error *err);
ag_code xp_h5_set_int(hid_t object, const char *name, int64_t value, ag_error *err);
ag_code xp_h5_set_uint(hid_t object, const char *name, uint64_t value, ag_error *err);
ag_code xp_h5_set_double(hid_t object, const char *name, double value, ag_error *err);
/* Reads into memory freed with ag_free; a missing attribute is AG_EDATA. `path` stands in messages. */
ag_code xp_h5_get_string(hid_t object, const char *path, const char *name, char **value, ag_error *err);
/* Reads one number as `type` (a native type) into value; a missing attribute is AG_EDATA. */
ag_code xp_h5_get_number(hid_t object, const char *path, const char *name, hid_t type, void *value, ag_error *err);

ag_code xp_h5_create_group(hid_t parent, const char *name, hid_t *group, ag_error *err);
/* chunk 0: fixed extent, contiguous; else the first dimension grows by chunks of that many rows. */
ag_code xp_h5_create_dataset(hid_t group, const char *name, hid_t type, int rank, const hsize_t *shape, hsize_t chunk,
                             hid_t *dataset, ag_error *err);
/* The attributes long_name and, unless unit is NULL, units. */
ag_code xp_h5_describe(hid_t dataset, const char *unit, const char *long_name, ag_error *err);
ag_code xp_h5_make_scale(hid_t dataset, const char *name, ag_error *err);
ag_code xp_h5_attach_scale(hid_t dataset, hid_t scale, unsigned dimension, ag_error *err);

/* Opens a finished or live file for reading. HDF5 sees it only when its seal is right (seal.h). AG_ECONFIG when it is
 * missing, a folder, not HDF5 or of another format; AG_EDATA without a seal or damaged; AG_EIO. */
ag_code xp_h5_open_run(const char *path, hid_t *file, ag_error *err);
/* Elements of a data set, or AG_EDATA when it claims more than its file can hold (a damaged or hostile file).
 * shape may be NULL, else room for H5S_MAX_RANK. */
ag_code xp_h5_extent(hid_t dataset, const char *path, int *rank, hsize_t *shape, size_t *count, ag_error *err);

#endif
