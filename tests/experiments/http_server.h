/* A small HTTP server for tests, in a thread of this process: pages with the habits and faults of servers. One request a
 * connection, one connection at a time.
 *
 *     http_page page = { .path = "/data.zip", .bytes = bytes, .n = n, .etag = "\"1\"", .break_after = 1000 };
 *     http_server *s = http_server_start(&page, 1);
 *     ...  http_server_url(s, "/data.zip", url) ...  http_server_request(s, 0) is "/data.zip - -"
 *     http_server_stop(s);
 */
#ifndef TESTS_HTTP_SERVER_H
#define TESTS_HTTP_SERVER_H

#include "tests/check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HTTP_PAGES = 4, HTTP_LOG = 256, HTTP_LINE = 256 };

typedef struct http_page {
    const char *path;
    const unsigned char *bytes;
    size_t n;
    const char *etag, *modified;   /* NULL: not sent */
    bool no_ranges;                /* always the whole */
    bool no_length;                /* no Content-Length: the end of the connection is the end */
    bool wrong_range;              /* answers begin one byte too early, and say so */
    size_t break_after;            /* every connection breaks after so many bytes; 0: none */
    size_t stall_after;            /* nothing more comes after so many bytes; 0: all comes */
    int status;                    /* 0: 200 or 206 */
    int unavailable;               /* so many answers are 503 first */
    const char *location;
} http_page;

typedef struct http_server {
    int listener, wake[2], port;
    pthread_t thread;
    pthread_mutex_t lock;          /* of what follows */
    http_page pages[HTTP_PAGES];
    int n_page, n_request;
    char log[HTTP_LOG][HTTP_LINE]; /* "PATH RANGE IF-RANGE", "-" where none was sent */
} http_server;

static inline void http_send(int fd, const void *bytes, size_t n)
{
    for (const char *at = bytes; n > 0;) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        at += sent;
        n -= (size_t)sent;
    }
}

/* The value of a request's header, "-" when it was not sent. */
static inline void http_header(const char *request, const char *name, char value[HTTP_LINE])
{
    size_t n = strlen(name);
    strcpy(value, "-");
    for (const char *line = strstr(request, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':')
            snprintf(value, HTTP_LINE, "%.*s", (int)strcspn(line + 4 + n, "\r"), line + 4 + n);
}

/* Until the client goes or the server stops. */
static inline void http_stall(const http_server *s, int fd)
{
    struct pollfd ends[2] = { { .fd = fd, .events = POLLIN }, { .fd = s->wake[0], .events = POLLIN } };
    poll(ends, 2, 20000);
}

static inline void http_body(const http_server *s, const http_page *p, int fd, size_t first)
{
    size_t n = p->n - first;
    size_t end = p->break_after && p->break_after < n ? p->break_after : n;
    if (p->stall_after && p->stall_after < end)
        end = p->stall_after;
    http_send(fd, p->bytes + first, end);
    if (p->stall_after && end == p->stall_after)
        http_stall(s, fd);
}

static inline void http_answer(const http_server *s, http_page *p, int fd, const char *range, const char *if_range)
{
    char head[2 * HTTP_LINE], length[64] = "", place[96] = "";
    size_t first = 0;
    int status = p->status ? p->status : 200;
    if (p->unavailable > 0) {
        p->unavailable--;
        status = 503;
    }
    bool same = strcmp(if_range, "-") == 0 || (p->etag && strcmp(if_range, p->etag) == 0);
    if (status == 200 && !p->no_ranges && same && sscanf(range, "bytes=%zu-", &first) == 1) {
        first -= p->wrong_range;
        status = first < p->n ? 206 : 416;
        if (status == 206)
            snprintf(place, sizeof place, "Content-Range: bytes %zu-%zu/%zu\r\n", first, p->n - 1, p->n);
    }
    bool body = status == 200 || status == 206;
    if (!p->no_length || !body)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", body ? p->n - first : 0);
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d Status\r\nConnection: close\r\n%s%s%s%s%s%s%s%s%s%s%s\r\n", status, length,
                     place, p->etag ? "ETag: " : "", p->etag ? p->etag : "", p->etag ? "\r\n" : "",
                     p->modified ? "Last-Modified: " : "", p->modified ? p->modified : "", p->modified ? "\r\n" : "",
                     p->location ? "Location: " : "", p->location ? p->location : "", p->location ? "\r\n" : "");
    http_send(fd, head, (size_t)n);
    if (body)
        http_body(s, p, fd, first);
}

static inline void http_handle(http_server *s, int fd)
{
    char request[4096] = "", path[HTTP_LINE] = "", range[HTTP_LINE], if_range[HTTP_LINE];
    for (size_t used = 0; used < sizeof request - 1 && !strstr(request, "\r\n\r\n");) {
        ssize_t got = recv(fd, request + used, sizeof request - 1 - used, 0);
        if (got <= 0)
            return;
        used += (size_t)got;
        request[used] = '\0';
    }
    sscanf(request, "GET %200s", path);
    http_header(request, "Range", range);
    http_header(request, "If-Range", if_range);
    pthread_mutex_lock(&s->lock);
    http_page none = { .status = 404 }, *page = &none;
    for (int i = 0; i < s->n_page; i++)
        if (strcmp(path, s->pages[i].path) == 0)
            page = &s->pages[i];
    if (s->n_request < HTTP_LOG)
        snprintf(s->log[s->n_request++], HTTP_LINE, "%.80s %.80s %.80s", path, range, if_range);
    http_answer(s, page, fd, range, if_range);
    pthread_mutex_unlock(&s->lock);
}

static inline void *http_serve(void *ctx)
{
    http_server *s = ctx;
    struct pollfd ends[2] = { { .fd = s->listener, .events = POLLIN }, { .fd = s->wake[0], .events = POLLIN } };
    while (poll(ends, 2, -1) > 0 && !ends[1].revents) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            continue;
        http_handle(s, fd);
        shutdown(fd, SHUT_WR);
        close(fd);
    }
    return NULL;
}

static inline http_server *http_server_start(const http_page *pages, int n)
{
    http_server *s = calloc(1, sizeof *s);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    memcpy(s->pages, pages, (size_t)n * sizeof *pages);
    s->n_page = n;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(s->listener, 0);
    ck_assert_int_eq(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(s->listener, 8), 0);
    ck_assert_int_eq(getsockname(s->listener, (struct sockaddr *)&at, &size), 0);
    s->port = ntohs(at.sin_port);
    ck_assert_int_eq(pipe(s->wake), 0);
    pthread_mutex_init(&s->lock, NULL);
    ck_assert_int_eq(pthread_create(&s->thread, NULL, http_serve, s), 0);
    return s;
}

static inline void http_server_stop(http_server *s)
{
    ck_assert_int_eq(write(s->wake[1], "x", 1), 1);
    pthread_join(s->thread, NULL);
    close(s->listener);
    close(s->wake[0]);
    close(s->wake[1]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static inline void http_server_set(http_server *s, int i, const http_page *page)
{
    pthread_mutex_lock(&s->lock);
    s->pages[i] = *page;
    pthread_mutex_unlock(&s->lock);
}

static inline void http_server_url(const http_server *s, const char *path, char url[HTTP_LINE])
{
    snprintf(url, HTTP_LINE, "http://127.0.0.1:%d%s", s->port, path);
}

/* Number of requests so far. */
static inline int http_server_requests(http_server *s)
{
    pthread_mutex_lock(&s->lock);
    int n = s->n_request;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* The i-th request, static storage, read while no request is under way. */
static inline const char *http_server_request(http_server *s, int i)
{
    static char line[HTTP_LINE];
    pthread_mutex_lock(&s->lock);
    snprintf(line, sizeof line, "%s", i < s->n_request ? s->log[i] : "none");
    pthread_mutex_unlock(&s->lock);
    return line;
}

/* The tests talk to this machine, whatever proxy the environment names. */
static inline void http_no_proxy(void)
{
    static const char *const names[] = { "http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

#endif
