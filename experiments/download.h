/* One file over HTTPS, by libcurl: broken off anywhere it goes on from there, also in another process.
 *
 *     xp_download_options o = { .max_bytes = 64 << 20 };
 *     AG_TRY(err, xp_download("https://example.org/data.zip", "data.zip", &o, err));
 *
 * Until it is whole the bytes are in PATH.part, and PATH.part.from says what of: address, validator (ETag, else
 * Last-Modified), length. A part is gone on with by Range and If-Range when address, validator and length still are the
 * same, else begun anew; so it is when the server ignores Range. Then it is flushed to the disk and renamed.
 * What the bytes are is for the caller to verify: a server without validators could have changed them in between.
 *
 * The proxy variables of the environment are respected (https_proxy, no_proxy, ...), and CURL_CA_BUNDLE, SSL_CERT_FILE and
 * SSL_CERT_DIR name other certificate authorities than the system's. Redirects go to https only, at most 5.
 * curl.h is included by download.c only. */
#ifndef XP_DOWNLOAD_H
#define XP_DOWNLOAD_H

#include "autograd/status.h"

#include <stdatomic.h>
#include <stdint.h>

typedef struct xp_download_options {
    int64_t max_bytes;                    /* a larger file is refused; 0: 1 GB */
    int attempts;                         /* failures in a row, none of which brought a byte, before giving up; 0: 4 */
    int pause_ms;                         /* before the second attempt, doubled for each further one; 0: 1000 */
    int stall_seconds;                    /* without answer or bytes: an attempt has failed; 0: 30 */
    const atomic_int *stop;    /* not 0: stop within about a second, keep the part; may be NULL */
    void (*progress)(void *ctx, int64_t done, int64_t total);   /* [bytes]; total 0: unknown; may be NULL */
    void *ctx;
} xp_download_options;

/* Downloads url to path, replacing what is there. The scheme is https; http is for the machine itself only (127.0.0.1,
 * localhost, [::1]). o may be NULL.
 * Fails with AG_ECONFIG (address, folder; another process downloads to the same path), AG_EDATA (too large), AG_EIO
 * (network, server, disk: names address, reason, and what of it is kept), AG_ESTOP, AG_ENOMEM. */
ag_code xp_download(const char *url, const char *path, const xp_download_options *o, ag_error *err);

#endif
