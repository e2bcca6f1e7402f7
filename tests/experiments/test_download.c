/* Downloading: broken off, resumed, refused. The server (http_server.h) runs here; TLS, proxies and redirects between
 * addresses are in live_download.py. */
#include "tests/check.h"
#include "tests/experiments/http_server.h"

#include "autograd/random.h"
#include "experiments/download.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { BYTES = 50000 };

static char dir[32], path[64], part[80], from[80];
static unsigned char data[BYTES], other[BYTES];
static const xp_download_options quick = { .attempts = 3, .pause_ms = 1, .stall_seconds = 10 };

static void enter(void)
{
    http_no_proxy();
    strcpy(dir, "download-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/data.zip", dir);
    snprintf(part, sizeof part, "%s.part", path);
    snprintf(from, sizeof from, "%s.part.from", path);
    for (uint32_t i = 0; i < BYTES; i++) {
        data[i] = (unsigned char)(i * i >> 5);
        other[i] = (unsigned char)(i * i >> 7 ^ 0x55);
    }
}

static bool exists(const char *name)
{
    return access(name, F_OK) == 0;
}

/* Checks that nothing is left but the file, if that. */
static void leave(void)
{
    unlink(path);
    ck_assert_msg(rmdir(dir) == 0, "something is left in %s", dir);
}

static void expect_file(const char *name, const unsigned char *bytes, size_t n)
{
    static unsigned char found[2 * BYTES];
    FILE *f = fopen(name, "rb");
    ck_assert_msg(f != NULL, "there is no %s", name);
    size_t got = fread(found, 1, sizeof found, f);
    fclose(f);
    ck_assert_msg(got == n && memcmp(found, bytes, n) == 0, "%s: other bytes (%zu of them, not %zu)", name, got, n);
}

static void write_file(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(name, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void expect_code(ag_code code, ag_code want, const ag_error *err, const char *says)
{
    ck_assert_msg(code == want, "%s, not %s: %s", ag_code_name(code), ag_code_name(want), err->message);
    ck_assert_msg(!says || strstr(err->message, says), "'%s' does not say '%s'", err->message, says);
}

static void fetch(http_server *s, const xp_download_options *o, ag_code want, const char *says)
{
    char url[HTTP_LINE];
    ag_error err = { 0 };
    http_server_url(s, "/data.zip", url);
    expect_code(xp_download(url, path, o, &err), want, &err, says);
}

static const http_page whole = { .path = "/data.zip", .bytes = data, .n = BYTES, .etag = "\"one\"" };

/* ---- what goes well ---- */

typedef struct seen {
    int64_t calls, done, total;
} seen;

static void see(void *ctx, int64_t done, int64_t total)
{
    seen *s = ctx;
    ck_assert_int_gt(done, s->done);
    *s = (seen){ s->calls + 1, done, total };
}

START_TEST(a_file_arrives_whole_and_nothing_is_left_beside_it)
{
    enter();
    seen noted = { 0 };
    xp_download_options o = quick;
    o.progress = see;
    o.ctx = &noted;
    http_server *s = http_server_start(&whole, 1);
    write_file(path, "old", 3);   /* is replaced */
    fetch(s, &o, AG_OK, NULL);
    expect_file(path, data, BYTES);
    ck_assert_str_eq(http_server_request(s, 0), "/data.zip - -");
    ck_assert_int_eq(http_server_requests(s), 1);
    ck_assert(noted.calls > 0 && noted.done == BYTES && noted.total == BYTES);
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(a_file_without_length_and_one_without_bytes_arrive_too)
{
    enter();
    http_page page = whole;
    page.no_length = true;
    http_server *s = http_server_start(&page, 1);
    fetch(s, &quick, AG_OK, NULL);
    expect_file(path, data, BYTES);
    page = whole;
    page.n = 0;
    http_server_set(s, 0, &page);
    fetch(s, NULL, AG_OK, NULL);
    expect_file(path, data, 0);
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(a_connection_that_breaks_is_taken_up_where_it_broke)
{
    enter();
    http_page page = whole;
    page.break_after = 10000;
    http_server *s = http_server_start(&page, 1);
    fetch(s, &quick, AG_OK, NULL);   /* more breaks than attempts: each brought bytes */
    expect_file(path, data, BYTES);
    ck_assert_int_eq(http_server_requests(s), 5);
    ck_assert_str_eq(http_server_request(s, 1), "/data.zip bytes=10000- \"one\"");
    ck_assert_str_eq(http_server_request(s, 4), "/data.zip bytes=40000- \"one\"");
    http_server_stop(s);
    leave();
}
END_TEST

static void break_off(http_server *s, const http_page *page, size_t after)
{
    xp_download_options once = quick;
    http_page broken = *page;
    once.attempts = 1;
    broken.break_after = after;
    http_server_set(s, 0, &broken);
    fetch(s, &once, AG_EIO, "bytes are kept in");
    expect_file(part, page->bytes, after);
    ck_assert(exists(from) && !exists(path));
}

START_TEST(another_process_goes_on_with_what_is_kept)
{
    enter();
    http_server *s = http_server_start(&whole, 1);
    break_off(s, &whole, 12345);
    http_server_set(s, 0, &whole);
    fetch(s, &quick, AG_OK, NULL);
    expect_file(path, data, BYTES);
    ck_assert_str_eq(http_server_request(s, 1), "/data.zip bytes=12345- \"one\"");
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(a_server_that_ignores_ranges_is_begun_with_anew)
{
    enter();
    http_page page = whole;
    page.no_ranges = true;
    http_server *s = http_server_start(&whole, 1);
    break_off(s, &whole, 30000);
    http_server_set(s, 0, &page);
    fetch(s, &quick, AG_OK, NULL);
    expect_file(path, data, BYTES);
    ck_assert_int_eq(http_server_requests(s), 2);
    unlink(path);
    break_off(s, &whole, 30000);
    page.break_after = 20000;   /* and that breaks sooner each time: no byte more ever, so it ends */
    http_server_set(s, 0, &page);
    fetch(s, &quick, AG_EIO, "20000 bytes are kept");
    ck_assert_int_eq(http_server_requests(s), 6);
    unlink(part);
    unlink(from);
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(a_file_that_changed_meanwhile_is_never_mixed)
{
    static const struct { http_page before, after; } changes[] = {
        { { .etag = "\"one\"" }, { .etag = "\"two\"" } },
        { { .etag = "W/\"one\"" }, { .etag = "W/\"two\"" } },   /* a weak one cannot be asked about: it is compared */
        { { .modified = "Mon, 01 Jan 2024 00:00:00 GMT" }, { .modified = "Tue, 02 Jan 2024 00:00:00 GMT" } },
        { { .etag = "\"one\"" }, { .etag = NULL } },
        { { .etag = NULL }, { .n = BYTES - 7 } },               /* without any of them the length is compared */
    };
    enter();
    http_server *s = http_server_start(&whole, 1);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        http_page before = changes[i].before, after = changes[i].after;
        before.path = after.path = "/data.zip";
        before.bytes = data;
        before.n = BYTES;
        after.bytes = other;
        after.n = after.n ? after.n : BYTES;
        break_off(s, &before, 20000);
        http_server_set(s, 0, &after);
        fetch(s, &quick, AG_OK, NULL);
        expect_file(path, other, after.n);
        unlink(path);
    }
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(breaks_at_any_places_give_the_same_bytes)
{
    enter();
    ag_random r;
    ag_random_init(&r, 4, AG_STREAM_TRAIN, 0, 0);
    http_server *s = http_server_start(&whole, 1);
    xp_download_options once = quick;
    once.attempts = 1;
    for (int run = 0; run < 5; run++) {
        ag_code code = AG_EIO;
        for (int i = 0; code != AG_OK; i++) {
            char url[HTTP_LINE];
            http_page page = whole;
            page.break_after = 1 + ag_random_below(&r, BYTES / 4);
            page.no_ranges = i < 3 && ag_random_below(&r, 3) == 0;
            http_server_set(s, 0, &page);
            http_server_url(s, "/data.zip", url);
            code = xp_download(url, path, &once, NULL);
            ck_assert_msg(i < 200, "it never ends");
        }
        expect_file(path, data, BYTES);
        unlink(path);
    }
    http_server_stop(s);
    leave();
}
END_TEST

/* ---- what lies there from before ---- */

static void write_from(const char *url, const char *tag, long total, const char *end)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%s\n%s\n%ld\n%s", url, tag, total, end);
    write_file(from, text, (size_t)n);
}

START_TEST(a_part_of_something_else_or_of_nobody_knows_what_is_begun_anew)
{
    enter();
    char url[HTTP_LINE];
    http_server *s = http_server_start(&whole, 1);
    http_server_url(s, "/data.zip", url);
    for (int i = 0; i < 7; i++) {
        write_file(part, other, 1000);
        switch (i) {
        case 0: break;                                                    /* nothing says what it is */
        case 1: write_from("https://example.org/x", "\"one\"", BYTES, "end\n"); break;
        case 2: write_from(url, "\"one\"", BYTES, ""); break;             /* cut short */
        case 3: write_from(url, "\"one\"", 999, "end\n"); break;          /* shorter than the part */
        case 4: write_from(url, "\"one\"", -1, "end\n"); break;
        case 5: write_file(from, other, 5000); break;
        case 6: write_from(url, "\"one\"", BYTES, "of another version\n"); break;
        }
        fetch(s, &quick, AG_OK, NULL);
        expect_file(path, data, BYTES);
        ck_assert_str_eq(http_server_request(s, i), "/data.zip - -");
        unlink(path);
    }
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(a_part_that_is_whole_is_only_renamed)
{
    enter();
    char url[HTTP_LINE];
    http_server *s = http_server_start(&whole, 1);
    http_server_url(s, "/data.zip", url);
    write_file(part, data, BYTES);
    write_from(url, "\"one\"", BYTES, "end\n");
    fetch(s, &quick, AG_OK, NULL);
    ck_assert_int_eq(http_server_requests(s), 0);
    expect_file(path, data, BYTES);
    write_file(part, data, BYTES);   /* its length was not known: the server says that there is no more, and it begins anew */
    write_from(url, "\"one\"", 0, "end\n");
    fetch(s, &quick, AG_OK, NULL);
    ck_assert_int_eq(http_server_requests(s), 2);
    expect_file(path, data, BYTES);
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(two_processes_do_not_download_the_same)
{
    enter();
    http_server *s = http_server_start(&whole, 1);
    int fd = open(part, O_RDWR | O_CREAT, 0666);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    fetch(s, &quick, AG_ECONFIG, "another process is downloading this");
    ck_assert(exists(part));
    close(fd);
    fetch(s, &quick, AG_OK, NULL);
    http_server_stop(s);
    leave();
}
END_TEST

/* ---- what does not go well ---- */

START_TEST(a_server_that_recovers_is_waited_for_and_one_that_does_not_is_named)
{
    enter();
    http_page page = whole;
    page.unavailable = 2;
    http_server *s = http_server_start(&page, 1);
    fetch(s, &quick, AG_OK, NULL);
    ck_assert_int_eq(http_server_requests(s), 3);
    page.unavailable = 100;
    http_server_set(s, 0, &page);
    unlink(path);
    fetch(s, &quick, AG_EIO, "503");
    ck_assert_int_eq(http_server_requests(s), 6);
    page = (http_page){ .path = "/elsewhere" };
    http_server_set(s, 0, &page);
    fetch(s, &quick, AG_EIO, "404 (not found: it may have moved)");
    ck_assert_int_eq(http_server_requests(s), 7);   /* no second attempt */
    page = (http_page){ .path = "/data.zip", .status = 204 };
    http_server_set(s, 0, &page);
    fetch(s, &quick, AG_EIO, "the server answers with status 204; expected 200");
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(a_server_that_sends_other_bytes_than_asked_for_is_not_believed)
{
    enter();
    http_page page = whole;
    http_server *s = http_server_start(&whole, 1);
    break_off(s, &whole, 20000);
    page.wrong_range = true;
    page.bytes = other;
    http_server_set(s, 0, &page);
    fetch(s, &quick, AG_OK, NULL);   /* the second attempt asks for all */
    expect_file(path, other, BYTES);
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(redirects_lead_to_https_only)
{
    enter();
    http_page page = { .path = "/data.zip", .status = 302, .location = "http://127.0.0.1:1/data.zip" };
    http_server *s = http_server_start(&page, 1);
    fetch(s, &quick, AG_EIO, "expected redirects to https only");
    page.location = "file:///etc/passwd";
    http_server_set(s, 0, &page);
    fetch(s, &quick, AG_EIO, "expected redirects to https only");
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(what_is_larger_than_expected_is_refused)
{
    enter();
    xp_download_options o = quick;
    http_page page = whole;
    o.max_bytes = BYTES - 1;
    http_server *s = http_server_start(&page, 1);
    fetch(s, &o, AG_EDATA, "refused: 50000 bytes or more; expected at most 49999");
    page.no_length = true;
    http_server_set(s, 0, &page);
    fetch(s, &o, AG_EDATA, "expected at most 49999");
    unlink(part);
    unlink(from);
    o.max_bytes = BYTES;
    fetch(s, &o, AG_OK, NULL);
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(a_server_that_falls_silent_is_left_and_a_stop_is_obeyed)
{
    enter();
    static atomic_int stop;
    xp_download_options o = quick;
    http_page page = whole;
    o.stall_seconds = 1;
    o.attempts = 1;
    page.stall_after = 7000;
    http_server *s = http_server_start(&page, 1);
    fetch(s, &o, AG_EIO, "transferred the last 1 seconds; 7000 bytes are kept");
    stop = 1;
    o.stop = &stop;
    o.stall_seconds = 60;
    fetch(s, &o, AG_ESTOP, "stopped on request; ");
    expect_file(part, data, 7000);
    http_server_set(s, 0, &whole);
    fetch(s, &quick, AG_OK, NULL);
    expect_file(path, data, BYTES);
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(no_server_at_all_is_told_at_once)
{
    enter();
    ag_error err = { 0 };
    struct timespec begin, end;
    http_server *s = http_server_start(&whole, 1);
    char url[HTTP_LINE];
    http_server_url(s, "/data.zip", url);
    http_server_stop(s);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    expect_code(xp_download(url, path, NULL, &err), AG_EIO, &err, "is there a network, or a proxy to be named in https_proxy?");
    clock_gettime(CLOCK_MONOTONIC, &end);
    ck_assert_int_le(end.tv_sec - begin.tv_sec, 5);
    leave();
}
END_TEST

START_TEST(addresses_that_are_not_encrypted_or_none_are_refused)
{
    static const char *const urls[] = { "http://example.org/x", "http://127.0.0.1.example.org/x", "http://localhost@example.org/x",
                                        "ftp://127.0.0.1/x", "file:///etc/passwd", "example.org/x", "", "https://", "/x",
                                        "https://me:secret@127.0.0.1/x", "https://a/b\nc" };
    char longest[3000];
    enter();
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        ag_error err = { 0 };
        expect_code(xp_download(urls[i], path, &quick, &err), AG_ECONFIG, &err, "expected an address");
        ck_assert_msg(!strstr(err.message, "secret"), "%s", err.message);
    }
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "https://", 8);
    longest[sizeof longest - 1] = '\0';
    ck_assert_int_eq(xp_download(longest, path, &quick, NULL), AG_ECONFIG);
    leave();
}
END_TEST

START_TEST(folders_that_cannot_be_written_are_named)
{
    enter();
    ag_error err = { 0 };
    char away[128];
    http_server *s = http_server_start(&whole, 1);
    char url[HTTP_LINE];
    http_server_url(s, "/data.zip", url);
    snprintf(away, sizeof away, "%s/no/data.zip", dir);
    expect_code(xp_download(url, away, &quick, &err), AG_ECONFIG, &err, "no/data.zip.part: cannot be written: No such file");
    ck_assert_int_eq(mkdir(part, 0777), 0);
    fetch(s, &quick, AG_ECONFIG, "data.zip.part: this is no file");
    rmdir(part);
    ck_assert_int_eq(mkfifo(part, 0666), 0);
    fetch(s, &quick, AG_ECONFIG, "data.zip.part: this is no file");
    unlink(part);
    ck_assert_int_eq(mkdir(path, 0777), 0);   /* known only at the end: what came is kept */
    fetch(s, &quick, AG_EIO, "cannot rename");
    rmdir(path);
    fetch(s, &quick, AG_OK, NULL);
    ck_assert_int_eq(http_server_requests(s), 1);
    http_server_stop(s);
    leave();
}
END_TEST

START_TEST(a_disk_that_is_full_keeps_what_it_has)
{
    enter();
    struct rlimit had, small;
    http_server *s = http_server_start(&whole, 1);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &had), 0);
    small = had;
    small.rlim_cur = 16384;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    ag_error err = { 0 };
    char url[HTTP_LINE];
    http_server_url(s, "/data.zip", url);
    ag_code code = xp_download(url, path, &quick, &err);
    setrlimit(RLIMIT_FSIZE, &had);
    signal(SIGXFSZ, handler);
    expect_code(code, AG_EIO, &err, "data.zip.part: cannot be written: File too large; 16384 bytes are kept in");
    fetch(s, &quick, AG_OK, NULL);
    expect_file(path, data, BYTES);
    ck_assert_str_eq(http_server_request(s, 1), "/data.zip bytes=16384- \"one\"");
    http_server_stop(s);
    leave();
}
END_TEST

static int calls, fail_at;

static void *failing_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    return ++calls == fail_at ? NULL : aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void failing_release(void *p, void *ctx)
{
    (void)ctx;
    free(p);
}

START_TEST(every_failed_allocation_is_reported)
{
    enter();
    http_server *s = http_server_start(&whole, 1);
    ag_code code = AG_ENOMEM;
    for (fail_at = 1; code != AG_OK; fail_at++) {
        char url[HTTP_LINE];
        ag_error err = { 0 };
        calls = 0;
        http_server_url(s, "/data.zip", url);
        ag_set_allocator(&(ag_allocator){ failing_alloc, failing_release, NULL });
        code = xp_download(url, path, &quick, &err);
        ag_set_allocator(NULL);
        ck_assert_msg(code == AG_OK ? calls < fail_at : calls >= fail_at && err.message[0], "allocation %d: %s", fail_at, err.message);
    }
    ck_assert_int_gt(fail_at, 3);
    http_server_stop(s);
    leave();
}
END_TEST

TEST_MAIN(a_file_arrives_whole_and_nothing_is_left_beside_it, a_file_without_length_and_one_without_bytes_arrive_too,
          a_connection_that_breaks_is_taken_up_where_it_broke, another_process_goes_on_with_what_is_kept,
          a_server_that_ignores_ranges_is_begun_with_anew, a_file_that_changed_meanwhile_is_never_mixed,
          breaks_at_any_places_give_the_same_bytes, a_part_of_something_else_or_of_nobody_knows_what_is_begun_anew,
          a_part_that_is_whole_is_only_renamed, two_processes_do_not_download_the_same,
          a_server_that_recovers_is_waited_for_and_one_that_does_not_is_named,
          a_server_that_sends_other_bytes_than_asked_for_is_not_believed, redirects_lead_to_https_only,
          what_is_larger_than_expected_is_refused, a_server_that_falls_silent_is_left_and_a_stop_is_obeyed,
          no_server_at_all_is_told_at_once, addresses_that_are_not_encrypted_or_none_are_refused,
          folders_that_cannot_be_written_are_named, a_disk_that_is_full_keeps_what_it_has,
          every_failed_allocation_is_reported)
