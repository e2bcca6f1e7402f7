/* Downloading with libcurl (download.h). An attempt is one request; its answer decides whether the part is gone on with. */
#include "experiments/download.h"

#include "experiments/replace_file.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { VALUE = 256, ADDRESS = 2048, REDIRECTS = 5, SLOWEST = 100 /* [bytes/s] */, USUAL_LIMIT = 1000000000 };
static const char what[] = "download";

/* What a server says of the file, or PATH.part.from of the part. */
typedef struct identity {
    char validator[VALUE];       /* ETag, else Last-Modified; "": none */
    int64_t total;               /* [bytes]; 0: unknown */
} identity;

typedef struct transfer {
    const char *url, *path;
    xp_download_options o;
    char *part, *from;           /* file names */
    int fd;                      /* of the part, locked */
    int64_t have, most;          /* [bytes] in the part; the most there ever were */
    identity of;                 /* what the part is of */
    bool received;               /* a byte, in this process */
    bool finished;               /* renamed */
    CURL *curl;
    char reason[CURL_ERROR_SIZE];
    /* the answer being read */
    char tag[VALUE], modified[VALUE];
    int64_t range_first, range_total;   /* -1: not given */
    bool begun, mismatch;
    ag_code code;                /* of a failure of ours while curl was reading */
    ag_error *err;
} transfer;

/* ---- address ---- */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready = CURLE_FAILED_INIT;

static void begin_curl(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool is_this_machine(const char *host)
{
    return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

static ag_code check_parts(const char *url, CURLU *u, ag_error *err)
{
    char *scheme = NULL, *host = NULL, *user = NULL;
    CURLUcode bad = curl_url_set(u, CURLUPART_URL, url, 0);
    bool good = !bad && curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK
                && curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK;
    bool secret = good && curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK;
    bool safe = good && (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && is_this_machine(host)));
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    AG_REQUIRE(bad != CURLUE_OUT_OF_MEMORY, err, AG_ENOMEM, "%s: out of memory", url);
    AG_REQUIRE(!secret, err, AG_ECONFIG, "an address with a user name or password; expected an address without");
    AG_REQUIRE(safe, err, AG_ECONFIG, "%s: %s; expected an address that begins with https://", url,
               bad ? curl_url_strerror(bad) : "not encrypted");
    return AG_OK;
}

static ag_code check_address(const char *url, ag_error *err)
{
    AG_REQUIRE(strlen(url) < ADDRESS && !strpbrk(url, "\r\n"), err, AG_ECONFIG,
               "%.60s...: expected an address of one line, shorter than %d bytes", url, ADDRESS);
    CURLU *u = curl_url();
    AG_REQUIRE(u, err, AG_ENOMEM, "%s: out of memory", url);
    ag_code code = check_parts(url, u, err);
    curl_url_cleanup(u);
    return code;
}

/* ---- the part and what it is of ---- */

static ag_code write_identity(const transfer *t, ag_error *err)
{
    FILE *f = fopen(t->from, "we");
    AG_REQUIRE(f, err, AG_EIO, "%s: cannot be written: %s", t->from, strerror(errno));
    bool good = fprintf(f, "%s\n%s\n%" PRId64 "\nend\n", t->url, t->of.validator, t->of.total) > 0;
    good = fclose(f) == 0 && good;
    AG_REQUIRE(good, err, AG_EIO, "%s: cannot be written: %s", t->from, strerror(errno));
    return AG_OK;
}

static bool read_line(FILE *f, char *line, size_t size)
{
    if (!fgets(line, (int)size, f))
        return false;
    size_t n = strcspn(line, "\n");
    bool whole = line[n] == '\n';
    line[n] = '\0';
    return whole;
}

/* False when there is none, it is damaged, or it is of another address. */
static bool read_identity(transfer *t)
{
    char url[ADDRESS], total[VALUE], end[VALUE];
    FILE *f = fopen(t->from, "re");
    if (!f)
        return false;
    bool whole = read_line(f, url, sizeof url) && read_line(f, t->of.validator, VALUE) && read_line(f, total, VALUE)
                 && read_line(f, end, VALUE);
    fclose(f);
    t->of.total = whole ? strtoll(total, NULL, 10) : 0;
    return whole && strcmp(end, "end") == 0 && strcmp(url, t->url) == 0 && t->of.total >= 0;
}

/* Empties the part. */
static ag_code start_over(transfer *t, ag_error *err)
{
    t->have = 0;
    t->of = (identity){ .total = 0 };
    AG_REQUIRE(ftruncate(t->fd, 0) == 0 && lseek(t->fd, 0, SEEK_SET) == 0, err, AG_EIO, "%s: cannot be emptied: %s", t->part,
               strerror(errno));
    return AG_OK;
}

static ag_code refuse_part(const transfer *t, int why, ag_error *err)
{
    bool mend = why == EACCES || why == EPERM || why == EROFS || why == ENOENT || why == ENOTDIR || why == EISDIR || why == ELOOP;
    return ag_fail(err, mend ? AG_ECONFIG : AG_EIO, "%s: cannot be written: %s", t->part, strerror(why));
}

/* A lock taken while another process renamed the part is one on a finished file: tries again. */
static ag_code open_part(transfer *t, struct stat *st, ag_error *err)
{
    enum { TRIES = 10 };
    struct stat named;
    AG_REQUIRE(lstat(t->part, st) != 0 || S_ISREG(st->st_mode), err, AG_ECONFIG, "%s: this is no file", t->part);
    for (int i = 0; i < TRIES; i++) {
        int fd = open(t->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
        if (fd < 0)
            return refuse_part(t, errno, err);
        bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;   /* some file systems know no locks */
        if (locked && fstat(fd, st) == 0 && stat(t->part, &named) == 0 && named.st_ino == st->st_ino && named.st_dev == st->st_dev) {
            t->fd = fd;
            return AG_OK;
        }
        close(fd);
        AG_REQUIRE(locked, err, AG_ECONFIG, "%s: another process is downloading this; wait for it, or end it", t->part);
    }
    return ag_fail(err, AG_ECONFIG, "%s: other processes are downloading this", t->part);
}

static ag_code take_up_part(transfer *t, ag_error *err)
{
    struct stat st;
    AG_TRY(err, open_part(t, &st, err));
    t->have = t->most = st.st_size;
    if (t->have == 0 || !read_identity(t) || (t->of.total && t->have > t->of.total) || t->have > t->o.max_bytes)
        return start_over(t, err);
    AG_REQUIRE(lseek(t->fd, 0, SEEK_END) == t->have, err, AG_EIO, "%s: %s", t->part, strerror(errno));
    return AG_OK;
}

/* ---- the answer ---- */

static void read_value(char value[VALUE], const char *from, size_t n)
{
    while (n && (*from == ' ' || *from == '\t')) {
        from++;
        n--;
    }
    while (n && strchr(" \t\r\n", from[n - 1]))
        n--;
    snprintf(value, VALUE, "%.*s", n < VALUE ? (int)n : 0, from);   /* one that is too long identifies nothing */
}

/* "bytes 100-199/200" or "bytes 100-199/" with a star for an unknown length */
static void read_range(transfer *t, const char *value)
{
    int64_t first, last, total;
    int n = sscanf(value, "bytes %" SCNd64 "-%" SCNd64 "/%" SCNd64, &first, &last, &total);
    if (n >= 2) {
        t->range_first = first;
        t->range_total = n == 3 ? total : 0;
    }
}

/* curl's header function. A status line begins a new answer: after a redirect, too. */
static size_t on_header(char *line, size_t one, size_t n, void *ctx)
{
    transfer *t = ctx;
    char value[VALUE];
    const char *colon = memchr(line, ':', n);
    (void)one;
    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        t->tag[0] = t->modified[0] = '\0';
        t->range_first = t->range_total = -1;
        t->begun = false;
    } else if (colon) {
        size_t name = (size_t)(colon - line);
        read_value(value, colon + 1, n - name - 1);
        if (name == 4 && strncasecmp(line, "ETag", name) == 0)
            memcpy(t->tag, value, VALUE);
        if (name == 13 && strncasecmp(line, "Last-Modified", name) == 0)
            memcpy(t->modified, value, VALUE);
        if (name == 13 && strncasecmp(line, "Content-Range", name) == 0)
            read_range(t, value);
    }
    return n;
}

static ag_code check_size(const transfer *t, int64_t bytes, ag_error *err)
{
    AG_REQUIRE(bytes <= t->o.max_bytes, err, AG_EDATA, "%s: refused: %" PRId64 " bytes or more; expected at most %" PRId64,
               t->url, bytes, t->o.max_bytes);
    return AG_OK;
}

/* The whole file is coming, asked for or not. */
static ag_code begin_whole(transfer *t, ag_error *err)
{
    curl_off_t length = -1;
    curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    AG_TRY(err, start_over(t, err));
    memcpy(t->of.validator, t->tag[0] ? t->tag : t->modified, VALUE);
    t->of.total = length > 0 ? length : 0;
    AG_TRY(err, check_size(t, t->of.total, err));
    return write_identity(t, err);
}

/* The rest is coming; of something else than the part: no byte of it is kept, the part is begun anew. */
static ag_code begin_rest(transfer *t, ag_error *err)
{
    const char *validator = t->tag[0] ? t->tag : t->modified;
    bool same = t->range_first == t->have && strcmp(validator, t->of.validator) == 0
                && (t->range_total <= 0 || t->of.total == 0 || t->range_total == t->of.total);
    if (!same) {
        t->mismatch = true;
        return ag_fail(err, AG_EIO, "%s: the file has changed meanwhile", t->url);
    }
    if (t->range_total > 0)
        t->of.total = t->range_total;
    return check_size(t, t->of.total, err);
}

static ag_code begin_body(transfer *t, ag_error *err)
{
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    t->begun = true;
    if (status == 200)
        return begin_whole(t, err);
    if (status == 206)
        return begin_rest(t, err);
    return ag_fail(err, AG_EIO, "%s: the server answers with status %ld; expected 200", t->url, status);
}

static ag_code keep(transfer *t, const char *bytes, size_t n, ag_error *err)
{
    if (!t->begun)
        AG_TRY(err, begin_body(t, err));
    AG_TRY(err, check_size(t, t->have + (int64_t)n, err));
    while (n > 0) {
        ssize_t done = write(t->fd, bytes, n);
        AG_REQUIRE(done >= 0 || errno == EINTR, err, AG_EIO, "%s: cannot be written: %s", t->part, strerror(errno));
        if (done > 0) {
            bytes += done;
            n -= (size_t)done;
            t->have += done;
        }
    }
    t->received = true;
    if (t->o.progress)
        t->o.progress(t->o.ctx, t->have, t->of.total);
    return AG_OK;
}

/* curl's write function: anything but n ends the transfer. */
static size_t on_bytes(char *bytes, size_t one, size_t n, void *ctx)
{
    transfer *t = ctx;
    t->code = keep(t, bytes, n * one, t->err);
    return t->code == AG_OK ? n * one : n == 0;
}

static bool stopped(const transfer *t)
{
    return t->o.stop && *t->o.stop;
}

static int on_tick(void *ctx, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
    (void)total, (void)now, (void)up_total, (void)up;
    return stopped(ctx);
}

/* ---- one request ---- */

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* The variables that the curl program reads: the library does not. */
static CURLcode set_authorities(CURL *c)
{
    const char *file = environment("CURL_CA_BUNDLE"), *dir = environment("SSL_CERT_DIR");
    CURLcode bad = CURLE_OK;
    if (!file)
        file = environment("SSL_CERT_FILE");
    if (file)
        bad = curl_easy_setopt(c, CURLOPT_CAINFO, file);
    if (dir && !bad)
        bad = curl_easy_setopt(c, CURLOPT_CAPATH, dir);
    return bad;
}

static CURLcode set_options(transfer *t)
{
    CURL *c = t->curl;
    CURLcode bad = CURLE_OK;
#define SET(option, value) bad = bad ? bad : curl_easy_setopt(c, option, value)
    SET(CURLOPT_ERRORBUFFER, t->reason);
    SET(CURLOPT_URL, t->url);
    SET(CURLOPT_USERAGENT, "metalora/" METALORA_VERSION);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_FAILONERROR, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "https,http");   /* of the first address, checked */
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, (long)REDIRECTS);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_CONNECTTIMEOUT, (long)t->o.stall_seconds);
    SET(CURLOPT_LOW_SPEED_LIMIT, (long)SLOWEST);
    SET(CURLOPT_LOW_SPEED_TIME, (long)t->o.stall_seconds);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_bytes);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_XFERINFOFUNCTION, on_tick);
    SET(CURLOPT_XFERINFODATA, t);
    SET(CURLOPT_NOPROGRESS, 0L);
#undef SET
    return bad ? bad : set_authorities(c);
}

/* Asks for the rest, and for the whole if it is no longer the same: If-Range takes a strong ETag. */
static CURLcode ask_for_rest(transfer *t, struct curl_slist **headers)
{
    char range[64], line[VALUE + 16];
    snprintf(range, sizeof range, "%" PRId64 "-", t->have);
    CURLcode bad = curl_easy_setopt(t->curl, CURLOPT_RANGE, t->have > 0 ? range : NULL);
    if (t->have == 0 || t->of.validator[0] != '"')
        return bad;
    snprintf(line, sizeof line, "If-Range: %s", t->of.validator);
    *headers = curl_slist_append(NULL, line);
    return bad || !*headers ? CURLE_OUT_OF_MEMORY : curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, *headers);
}

static CURLcode request(transfer *t)
{
    struct curl_slist *headers = NULL;
    t->reason[0] = '\0';
    t->begun = t->mismatch = false;
    t->code = AG_OK;
    ag_error_clear(t->err);
    curl_easy_reset(t->curl);
    CURLcode bad = set_options(t);
    if (!bad)
        bad = ask_for_rest(t, &headers);
    if (!bad)
        bad = curl_easy_perform(t->curl);
    if (!bad && !t->begun && (t->code = begin_body(t, t->err)) != AG_OK)   /* an answer without a body */
        bad = CURLE_WRITE_ERROR;
    curl_slist_free_all(headers);
    return bad;
}

/* ---- attempts ---- */

static long status_of(const transfer *t)
{
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* Whether trying again may help. Without a way to the server, only one that was there a moment ago is waited for. */
static bool may_pass(const transfer *t, CURLcode bad)
{
    long status = status_of(t);
    switch (bad) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT: return t->received;
    case CURLE_HTTP_RETURNED_ERROR: return status == 408 || status == 416 || status == 429 || status >= 500;
    case CURLE_WRITE_ERROR: return t->mismatch;
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
    }
}

static void rest(const transfer *t, int64_t ms)
{
    enum { STEP = 50 };
    for (; ms > 0 && !stopped(t); ms -= STEP)
        nanosleep(&(struct timespec){ .tv_nsec = (ms < STEP ? ms : STEP) * 1000000L }, NULL);
}

static const char *explain(const transfer *t, CURLcode bad)
{
    switch (bad) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT: return " (is there a network, or a proxy to be named in https_proxy?)";
    case CURLE_PEER_FAILED_VERIFICATION: return " (a certificate authority of your own is named in CURL_CA_BUNDLE)";
    case CURLE_SSL_CACERT_BADFILE: return " (install ca-certificates, or name a file of them in CURL_CA_BUNDLE)";
    case CURLE_UNSUPPORTED_PROTOCOL: return "; expected redirects to https only";
    case CURLE_HTTP_RETURNED_ERROR: return status_of(t) == 404 ? " (not found: it may have moved)" : "";
    default: return "";
    }
}

/* What went wrong, and what is kept. */
static ag_code report(const transfer *t, CURLcode bad, ag_error *err)
{
    char kept[ADDRESS + 128] = "";
    ag_code code = t->code != AG_OK ? t->code : bad == CURLE_OUT_OF_MEMORY ? AG_ENOMEM : stopped(t) ? AG_ESTOP : AG_EIO;
    if (t->have > 0 && code != AG_EDATA)
        snprintf(kept, sizeof kept, "; %" PRId64 " bytes are kept in %.1000s, the same command goes on from there", t->have,
                 t->part);
    if (t->code != AG_OK)
        return ag_fail(err, code, "%.1000s%s", t->err->message, kept);
    if (code == AG_ESTOP)
        return ag_fail(err, code, "%.900s: stopped on request%s", t->url, kept);
    return ag_fail(err, code, "%.900s: %s%s%s", t->url, t->reason[0] ? t->reason : curl_easy_strerror(bad), explain(t, bad), kept);
}

static ag_code fetch(transfer *t, ag_error *err)
{
    int failures = 0;
    int64_t pause = t->o.pause_ms;
    while (t->of.total == 0 || t->have < t->of.total) {   /* a part may be whole: it was not renamed in time */
        CURLcode bad = request(t);
        if (!bad && (t->of.total == 0 || t->have == t->of.total))
            return AG_OK;
        if (!bad)
            bad = CURLE_PARTIAL_FILE;
        if (t->have > t->most) {
            t->most = t->have;
            failures = 0;
            pause = t->o.pause_ms;
        }
        if (stopped(t) || !may_pass(t, bad) || ++failures >= t->o.attempts)
            return report(t, bad, err);
        if (t->mismatch || (bad == CURLE_HTTP_RETURNED_ERROR && status_of(t) == 416))
            AG_TRY(err, start_over(t, err));
        rest(t, pause);
        pause *= 2;
    }
    return AG_OK;
}

static ag_code run(transfer *t, ag_error *err)
{
    size_t n = strlen(t->path) + sizeof ".part.from";
    t->part = ag_alloc(n);
    t->from = ag_alloc(n);
    AG_REQUIRE(t->part && t->from, err, AG_ENOMEM, "%s: out of memory", t->url);
    snprintf(t->part, n, "%s.part", t->path);
    snprintf(t->from, n, "%s.part.from", t->path);
    AG_TRY(err, take_up_part(t, err));
    t->curl = curl_easy_init();
    AG_REQUIRE(t->curl, err, AG_ENOMEM, "%s: out of memory", t->url);
    AG_TRY(err, fetch(t, err));
    AG_TRY(err, xp_aside_rename(what, t->part, t->path, err));
    t->finished = true;
    unlink(t->from);
    return AG_OK;
}

static void release(transfer *t)
{
    if (t->fd >= 0) {
        if (t->have == 0 && !t->finished) {   /* a part without a byte is of no use; the lock is still held */
            unlink(t->from);
            unlink(t->part);
        }
        close(t->fd);
    }
    if (t->curl)
        curl_easy_cleanup(t->curl);
    ag_free(t->part);
    ag_free(t->from);
}

ag_code xp_download(const char *url, const char *path, const xp_download_options *o, ag_error *err)
{
    ag_error local = { 0 };
    AG_REQUIRE(url && path, err, AG_EINVAL, "xp_download: url or path is NULL");
    pthread_once(&curl_once, begin_curl);
    AG_REQUIRE(curl_ready == CURLE_OK, err, AG_EIO, "libcurl cannot begin: %s", curl_easy_strerror(curl_ready));
    AG_TRY(err, check_address(url, err));
    transfer t = { .url = url, .path = path, .fd = -1, .err = &local };
    if (o)
        t.o = *o;
    t.o.max_bytes = t.o.max_bytes ? t.o.max_bytes : USUAL_LIMIT;
    t.o.attempts = t.o.attempts ? t.o.attempts : 4;
    t.o.pause_ms = t.o.pause_ms ? t.o.pause_ms : 1000;
    t.o.stall_seconds = t.o.stall_seconds ? t.o.stall_seconds : 30;
    ag_code code = run(&t, err);
    release(&t);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}
