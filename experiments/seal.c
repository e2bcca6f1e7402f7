/* Sealed files (seal.h). */
#include "experiments/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAGIC = 8, LENGTH = 8, PIECE = 1 << 16 };
static const char magic[MAGIC + 1] = "MLSEAL1\n";

/* What does not need the data: magic and length. */
static void make_head(unsigned char head[MAGIC + LENGTH], uint64_t n)
{
    memcpy(head, magic, MAGIC);
    for (int i = 0; i < LENGTH; i++)
        head[MAGIC + i] = (unsigned char)(n >> 8 * i);
}

ag_code xp_seal_write(void *data, size_t n, ag_error *err)
{
    unsigned char *seal = (unsigned char *)data + n;
    AG_REQUIRE(sodium_init() >= 0, err, AG_EIO, "libsodium does not start");
    make_head(seal, n);
    crypto_hash_sha256(seal + MAGIC + LENGTH, data, n);
    return AG_OK;
}

/* Exactly n bytes from where the file stands. */
static ag_code read_piece(int fd, const char *path, unsigned char *piece, size_t n, ag_error *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = read(fd, piece + done, n - done);
        if (got < 0 && errno == EINTR)
            continue;
        AG_REQUIRE(got >= 0, err, AG_EIO, "'%s': cannot read: %s", path, strerror(errno));
        AG_REQUIRE(got > 0, err, AG_EDATA, "'%s' was truncated while it was read", path);
        done += (size_t)got;
    }
    return AG_OK;
}

/* Digest of the next n bytes, piece by piece: a file may be larger than the memory. */
static ag_code hash_file(int fd, const char *path, uint64_t n, unsigned char *digest, ag_error *err)
{
    unsigned char *piece = ag_alloc(PIECE);
    crypto_hash_sha256_state sha;
    ag_code code = AG_OK;
    AG_REQUIRE(piece, err, AG_ENOMEM, "'%s': out of memory", path);
    crypto_hash_sha256_init(&sha);
    for (uint64_t left = n; left > 0 && code == AG_OK;) {
        size_t step = left < PIECE ? (size_t)left : PIECE;
        code = read_piece(fd, path, piece, step, err);
        if (code == AG_OK)
            crypto_hash_sha256_update(&sha, piece, step);
        left -= step;
    }
    ag_free(piece);
    crypto_hash_sha256_final(&sha, digest);
    return code;
}

static ag_code check_open(int fd, const char *path, ag_error *err)
{
    struct stat status;
    unsigned char digest[crypto_hash_sha256_BYTES], seal[XP_SEAL_BYTES], head[MAGIC + LENGTH];
    AG_REQUIRE(fstat(fd, &status) == 0, err, AG_EIO, "'%s': %s", path, strerror(errno));
    const uint64_t n = status.st_size >= XP_SEAL_BYTES ? (uint64_t)status.st_size - XP_SEAL_BYTES : 0;
    if (status.st_size >= XP_SEAL_BYTES) {
        AG_TRY(err, hash_file(fd, path, n, digest, err));
        AG_TRY(err, read_piece(fd, path, seal, sizeof seal, err));
    }
    make_head(head, n);
    AG_REQUIRE(status.st_size >= XP_SEAL_BYTES && memcmp(seal, magic, MAGIC) == 0, err, AG_EDATA,
               "'%s' has no seal at its end: it was truncated, changed by another program, or never written by metalora", path);
    AG_REQUIRE(memcmp(seal, head, sizeof head) == 0 && memcmp(seal + sizeof head, digest, sizeof digest) == 0, err, AG_EDATA,
               "'%s' was edited or damaged: its contents do not have the digest of its seal", path);
    return AG_OK;
}

ag_code xp_seal_check(const char *path, ag_error *err)
{
    AG_REQUIRE(path, err, AG_EINVAL, "xp_seal_check: path is NULL");
    AG_REQUIRE(sodium_init() >= 0, err, AG_EIO, "libsodium does not start");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    AG_REQUIRE(fd >= 0, err, AG_ECONFIG, "cannot open '%s': %s", path, strerror(errno));
    ag_code code = check_open(fd, path, err);
    close(fd);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}
