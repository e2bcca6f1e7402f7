/* The seal behind a file's last byte: SHA-256 over all before it. HDF5 1.10 crashes on some damaged files (a length in
 * a global heap that is wrong), so it is given only files whose seal is right. Readers of HDF5 ignore what lies behind
 * the end that the superblock names, so a sealed file opens everywhere. It tells damage, not forgery: anyone can seal.
 *
 * 48 bytes: "MLSEAL1\n", the length of what is sealed as little-endian uint64, its SHA-256. */
#ifndef XP_SEAL_H
#define XP_SEAL_H

#include "autograd/status.h"

enum { XP_SEAL_BYTES = 48 };

/* Seals the n bytes at data: writes XP_SEAL_BYTES behind them. Fails only when libsodium does not start: AG_EIO. */
ag_code xp_seal_write(void *data, size_t n, ag_error *err);
/* Reads the file through. AG_EDATA: no seal at its end, or contents that do not have its digest. AG_ECONFIG: cannot be
 * opened. AG_EIO: cannot be read. */
ag_code xp_seal_check(const char *path, ag_error *err);

#endif
