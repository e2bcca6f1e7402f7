/* Reading PNG pictures; spng.h is included by image_png.c only. */
#ifndef XP_IMAGE_PNG_H
#define XP_IMAGE_PNG_H

#include "autograd/status.h"

#include <stdint.h>

/* Decodes a grey picture of 1 bit a pixel and exactly the given size into pixels [height, width] of 0 and 255.
 * Nothing is allocated for a picture that declares another size. `where` opens the message.
 * Fails with AG_EDATA (damaged, another size or kind: both are named) or AG_ENOMEM. */
ag_code xp_png_read_bilevel(const void *png, size_t n, int width, int height, uint8_t *pixels, const char *where,
                            ag_error *err);

const char *xp_png_version(void);   /* libspng's */

#endif
