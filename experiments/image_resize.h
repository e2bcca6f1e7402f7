/* Shrinking (or enlarging) 8-bit grey pictures by a Lanczos filter, to the bit as Pillow's
 * Image.resize(size, LANCZOS) on mode L: data sets are prepared with it, and others' numbers depend on it.
 * (Pillow resizes mode 1 by NEAREST: convert("L") comes first. Rows are done before columns, as all Pillows do, but
 * for 13 and later when the height shrinks more than twice as much as the width.)
 *
 *     xp_lanczos f;
 *     AG_TRY(err, xp_lanczos_init(&f, 105, 28, err));
 *     xp_lanczos_apply(&f, &f, picture, scratch, small);    // square pictures: one filter for both directions
 *     xp_lanczos_release(&f);
 */
#ifndef XP_IMAGE_RESIZE_H
#define XP_IMAGE_RESIZE_H

#include "autograd/status.h"

#include <stdint.h>

/* One direction's weights; read only once made, so threads may share it. */
typedef struct xp_lanczos {
    int in, out, taps;      /* sizes [pixels]; taps: the most inputs of one output */
    int *first, *count;     /* [out] inputs of each output */
    int32_t *weight;        /* [out, taps] fixed point, 22 bits after the point */
} xp_lanczos;

/* in, out 1 .. 32768. Fails with AG_EINVAL or AG_ENOMEM, then f holds nothing. */
ag_code xp_lanczos_init(xp_lanczos *f, int in, int out, ag_error *err);
void xp_lanczos_release(xp_lanczos *f);
/* picture [rows->in, columns->in] -> result [rows->out, columns->out]; scratch [rows->in, columns->out] */
void xp_lanczos_apply(const xp_lanczos *rows, const xp_lanczos *columns, const uint8_t *picture, uint8_t *scratch,
                      uint8_t *result);

#endif
