/* SHA-256 of files, as digits. */
#ifndef XP_DIGEST_H
#define XP_DIGEST_H

#include "autograd/status.h"

#include <stdint.h>

enum { XP_DIGEST_HEX = 65 };

/* 32 bytes as 64 lower-case digits and a NUL. */
void xp_digest_hex(const unsigned char digest[32], char hex[XP_DIGEST_HEX]);
/* Of all of a file, and how many bytes those are. AG_EIO: cannot be read. AG_ENOMEM. */
ag_code xp_digest_file(const char *path, char hex[XP_DIGEST_HEX], int64_t *bytes, ag_error *err);
/* Copies a file to one that is not there yet, flushes it to the disk; hex: of what was copied. AG_EIO, AG_ENOMEM; what was begun is
 * left to the caller. */
ag_code xp_digest_copy(const char *from, const char *to, char hex[XP_DIGEST_HEX], ag_error *err);

#endif
