/* Digests of files (digest.h): read block by block, a file may be larger than the memory. */
#include "experiments/digest.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1 << 16 };

void xp_digest_hex(const unsigned char digest[32], char hex[XP_DIGEST_HEX])
{
    sodium_bin2hex(hex, XP_DIGEST_HEX, digest, 32);
}

/* to may be NULL. */
static ag_code pass(FILE *from, const char *path, FILE *to, const char *copy, unsigned char *block, char *hex, int64_t *bytes,
                    ag_error *err)
{
    unsigned char digest[32];
    size_t n;
    crypto_hash_sha256_state hash;
    crypto_hash_sha256_init(&hash);
    for (*bytes = 0; (n = fread(block, 1, BLOCK, from)) > 0; *bytes += (int64_t)n) {
        crypto_hash_sha256_update(&hash, block, n);
        AG_REQUIRE(!to || fwrite(block, 1, n, to) == n, err, AG_EIO, "%s: cannot be written: %s", copy, strerror(errno));
    }
    AG_REQUIRE(!ferror(from), err, AG_EIO, "%s: cannot be read: %s", path, strerror(errno));
    AG_REQUIRE(!to || (fflush(to) == 0 && fsync(fileno(to)) == 0), err, AG_EIO, "%s: cannot be written: %s", copy, strerror(errno));
    crypto_hash_sha256_final(&hash, digest);
    xp_digest_hex(digest, hex);
    return AG_OK;
}

static ag_code read_through(const char *path, FILE *to, const char *copy, char *hex, int64_t *bytes, ag_error *err)
{
    FILE *from = fopen(path, "rbe");
    AG_REQUIRE(from, err, AG_EIO, "%s: cannot be read: %s", path, strerror(errno));
    unsigned char *block = ag_alloc(BLOCK);
    ag_code code = block ? pass(from, path, to, copy, block, hex, bytes, err)
                   : ag_fail(err, AG_ENOMEM, "%s: out of memory (%d bytes)", path, BLOCK);
    ag_free(block);
    fclose(from);
    return code;
}

ag_code xp_digest_file(const char *path, char hex[XP_DIGEST_HEX], int64_t *bytes, ag_error *err)
{
    AG_TRY(err, read_through(path, NULL, NULL, hex, bytes, err));
    return AG_OK;
}

ag_code xp_digest_copy(const char *from, const char *to, char hex[XP_DIGEST_HEX], ag_error *err)
{
    int64_t bytes;
    FILE *f = fopen(to, "wbxe");
    AG_REQUIRE(f, err, AG_EIO, "%s: cannot be written: %s", to, strerror(errno));
    ag_code code = read_through(from, f, to, hex, &bytes, err);
    if (fclose(f) != 0 && code == AG_OK)
        code = ag_fail(err, AG_EIO, "%s: cannot be written: %s", to, strerror(errno));
    return ag_trail(err, code, __func__);
}
