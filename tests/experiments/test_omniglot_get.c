/* Getting Omniglot from a server that runs here: small archives, whole and spoilt; and what a run makes of a spoilt cache,
 * with the real ones where METALORA_DATA is set. */
#include "tests/check.h"
#include "tests/experiments/http_server.h"
#include "tests/experiments/omniglot_fixture.h"

#include "experiments/omniglot_get.h"
#include "experiments/tasks.h"

#include <sys/stat.h>

typedef struct world {
    fixture f;
    unsigned char *bytes[2];       /* of the archives as published */
    http_page pages[2];
    http_server *server;
    char data[64];                 /* where the archives are to go */
    char notes[4096];
    char *real;                    /* METALORA_DATA as it was */
} world;

static void world_init(world *w)
{
    char url[HTTP_LINE];
    *w = (world){ .real = getenv("METALORA_DATA") };
    http_no_proxy();
    fixture_init(&w->f);
    write_archives(&w->f);
    for (int part = 0; part < 2; part++) {
        char path[128];
        archive_path(&w->f, part, path);
        w->pages[part] = (http_page){ .path = part ? "/p/images_evaluation.zip" : "/p/images_background.zip", .etag = "\"1\"" };
        w->pages[part].bytes = w->bytes[part] = read_whole(path, &w->pages[part].n);
        unlink(path);
    }
    w->server = http_server_start(w->pages, 2);
    http_server_url(w->server, "/p", url);
    setenv("METALORA_OMNIGLOT_URL", url, 1);
    if (w->real)
        w->real = strdup(w->real);
    unsetenv("METALORA_DATA");
    snprintf(w->data, sizeof w->data, "%s/new/data", w->f.dir);
}

static void world_release(world *w)
{
    http_server_stop(w->server);
    free(w->bytes[0]);
    free(w->bytes[1]);
    free(w->real);
    fixture_release(&w->f);
}

static void take_note(void *ctx, const char *text)
{
    world *w = ctx;
    size_t used = strlen(w->notes);
    snprintf(w->notes + used, sizeof w->notes - used, "%s\n", text);
}

static xp_omniglot_get_options options(world *w)
{
    return (xp_omniglot_get_options){ .data_dir = w->data, .cache_dir = w->f.cache, .expect = &w->f.expect, .note = take_note,
                                      .download = { .ctx = w, .attempts = 2, .pause_ms = 1 } };
}

static void expect_get(world *w, const xp_omniglot_get_options *o, ag_code want, const char *says)
{
    char report[2 * XP_PATH_MAX] = "";
    ag_error err = { 0 };
    w->notes[0] = '\0';
    ag_code code = xp_omniglot_get(o, report, sizeof report, &err);
    const char *text = code == AG_OK ? report : err.message;
    ck_assert_msg(code == want, "%s, not %s: %s", ag_code_name(code), ag_code_name(want), text);
    ck_assert_msg(strstr(text, says) != NULL, "'%s' does not say '%s'", text, says);
}

static void expect_cache(const world *w, bool there)
{
    char path[XP_PATH_MAX];
    ag_error err = { 0 };
    xp_omniglot_pack p;
    ck_assert_int_eq(xp_omniglot_cache_path(w->f.cache, path, NULL), AG_OK);
    ck_assert_int_eq(access(path, F_OK) == 0, there);
    if (!there)
        return;
    ck_assert_msg(xp_omniglot_cache_read(&p, path, w->f.digest, &err) == AG_OK, "%s", err.message);
    xp_omniglot_pack_release(&p);
}

/* Exactly these files are in the folder; NULL at the end. */
static void expect_files(const char *dir, const char *const *names)
{
    int n = 0, found = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        found += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    if (d)
        closedir(d);
    for (; names[n]; n++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, names[n]);
        ck_assert_msg(access(path, F_OK) == 0, "there is no %s", path);
    }
    ck_assert_msg(n == found, "%d files in %s; expected %d", found, dir, n);
}

static const char *const both[] = { "images_background.zip", "images_evaluation.zip", NULL };
static const char *const none[] = { NULL };

START_TEST(archives_are_downloaded_verified_packed_and_not_asked_for_again)
{
    world w;
    world_init(&w);
    xp_omniglot_get_options o = options(&w);
    expect_get(&w, &o, AG_OK, "3 characters x 2 drawings verified");
    ck_assert_ptr_nonnull(strstr(w.notes, "downloading http://127.0.0.1:"));
    ck_assert_ptr_nonnull(strstr(w.notes, "images_evaluation.zip: "));
    ck_assert_ptr_nonnull(strstr(w.notes, " bytes, SHA-256 "));
    expect_cache(&w, true);
    expect_files(w.data, both);
    ck_assert_int_eq(http_server_requests(w.server), 2);
    expect_get(&w, &o, AG_OK, "nothing to get: it is packed in ");
    remove_tree(w.f.cache);
    o.offline = true;
    expect_get(&w, &o, AG_OK, "packed into ");   /* from the archives that are there */
    remove_tree(w.data);
    o.data_dir = NULL;
    expect_get(&w, &o, AG_OK, "nothing to get");
    ck_assert_int_eq(http_server_requests(w.server), 2);
    world_release(&w);
}
END_TEST

START_TEST(without_a_data_folder_the_archives_are_kept_beside_the_cache)
{
    world w;
    char dir[128], path[XP_PATH_MAX];
    world_init(&w);
    xp_omniglot_get_options o = options(&w);
    o.data_dir = NULL;
    expect_get(&w, &o, AG_OK, "verified");
    snprintf(dir, sizeof dir, "%s/omniglot", w.f.cache);
    expect_files(dir, both);
    xp_omniglot_cache_path(w.f.cache, path, NULL);
    write_whole(path, (const unsigned char *)"METALORA-OMNI28\nhalf", 20);
    o.offline = true;
    expect_get(&w, &o, AG_OK, "verified");
    ck_assert_ptr_nonnull(strstr(w.notes, "the packed Omniglot is spoilt and will be made anew"));
    expect_cache(&w, true);
    remove_tree(w.f.cache);
    setenv("METALORA_DATA", w.data, 1);
    o.offline = false;
    expect_get(&w, &o, AG_OK, "verified");
    expect_files(w.data, both);
    unsetenv("METALORA_DATA");
    world_release(&w);
}
END_TEST

START_TEST(what_is_not_omniglot_is_removed_and_nothing_is_packed)
{
    world w;
    world_init(&w);
    xp_omniglot_get_options o = options(&w);
    http_page page = w.pages[0];
    page.bytes = (const unsigned char *)"<html>Sign in to this network</html>";
    page.n = 36;
    http_server_set(w.server, 0, &page);
    expect_get(&w, &o, AG_EDATA, "cannot be opened as a zip archive");
    expect_get(&w, &o, AG_EDATA, "; what was downloaded is not Omniglot as published and was removed");
    expect_files(w.data, none);
    expect_cache(&w, false);
    page.bytes = w.bytes[1];   /* the other archive under this name */
    page.n = w.pages[1].n;
    http_server_set(w.server, 0, &page);
    expect_get(&w, &o, AG_EDATA, "is out of place; expected images_background/ALPHABET");
    expect_files(w.data, none);
    expect_cache(&w, false);
    world_release(&w);
}
END_TEST

START_TEST(an_archive_that_is_there_is_used_and_named_when_it_may_be_the_spoilt_one)
{
    world w;
    char path[128];
    world_init(&w);
    xp_omniglot_get_options o = options(&w);
    mkdir(w.f.dir, 0777);
    snprintf(path, sizeof path, "%s/new", w.f.dir);
    mkdir(path, 0777);
    mkdir(w.data, 0777);
    snprintf(path, sizeof path, "%s/images_evaluation.zip", w.data);
    write_whole(path, w.bytes[1], w.pages[1].n / 2);
    expect_get(&w, &o, AG_EDATA, "images_evaluation.zip: cannot be opened");
    expect_get(&w, &o, AG_EDATA, "if it is the other archive that is spoilt, remove that: ");
    expect_files(w.data, both + 1);
    write_whole(path, w.bytes[1], w.pages[1].n);
    expect_get(&w, &o, AG_OK, "verified");
    expect_files(w.data, both);
    for (int i = 0; i < http_server_requests(w.server); i++)
        ck_assert_str_eq(http_server_request(w.server, i), "/p/images_background.zip - -");
    world_release(&w);
}
END_TEST

START_TEST(a_download_that_broke_off_goes_on_and_a_whole_one_is_verified_without_asking)
{
    world w;
    char path[128];
    world_init(&w);
    xp_omniglot_get_options o = options(&w);
    http_page page = w.pages[1];
    page.status = 500;
    http_server_set(w.server, 1, &page);
    expect_get(&w, &o, AG_EIO, "/p/images_evaluation.zip: ");
    expect_files(w.data, (const char *const[]){ "images_background.zip.unverified", NULL });
    page = w.pages[1];
    page.break_after = 300;
    http_server_set(w.server, 1, &page);
    o.download.attempts = 1;
    expect_get(&w, &o, AG_EIO, "300 bytes are kept in ");
    http_server_set(w.server, 1, &w.pages[1]);
    int asked = http_server_requests(w.server);
    expect_get(&w, &o, AG_OK, "verified");
    ck_assert_int_eq(http_server_requests(w.server), asked + 1);
    ck_assert_str_eq(http_server_request(w.server, asked), "/p/images_evaluation.zip bytes=300- \"1\"");
    expect_files(w.data, both);
    for (int part = 0; part < 2; part++) {
        snprintf(path, sizeof path, "%s/%s", w.data, both[part]);
        size_t n;
        unsigned char *bytes = read_whole(path, &n);
        ck_assert(n == w.pages[part].n && memcmp(bytes, w.bytes[part], n) == 0);
        free(bytes);
    }
    world_release(&w);
}
END_TEST

START_TEST(offline_names_what_is_needed_and_where_it_goes)
{
    world w;
    char says[256];
    world_init(&w);
    xp_omniglot_get_options o = options(&w);
    o.offline = true;
    unsetenv("METALORA_OMNIGLOT_URL");
    expect_get(&w, &o, AG_ECONFIG, XP_OMNIGLOT_URL "/images_background.zip and " XP_OMNIGLOT_URL "/images_evaluation.zip (");
    snprintf(says, sizeof says, "put it into %s, and", w.data);
    expect_get(&w, &o, AG_ECONFIG, says);
    ck_assert_int_eq(http_server_requests(w.server), 0);
    expect_cache(&w, false);
    ck_assert_int_ne(access(w.data, F_OK), 0);
    world_release(&w);
}
END_TEST

START_TEST(addresses_and_folders_that_will_not_do_are_named)
{
    world w;
    char path[128], blocker[64];
    world_init(&w);
    snprintf(blocker, sizeof blocker, "%s/new", w.f.dir);
    xp_omniglot_get_options o = options(&w);
    write_whole(blocker, (const unsigned char *)"x", 1);
    expect_get(&w, &o, AG_ECONFIG, "new/data: cannot make this folder: Not a directory");
    unlink(blocker);
    mkdir(blocker, 0777);
    write_whole(w.data, (const unsigned char *)"x", 1);
    expect_get(&w, &o, AG_ECONFIG, "images_background.zip.unverified.part: cannot be written: Not a directory");
    unlink(w.data);
    setenv("METALORA_OMNIGLOT_URL", "http://example.org/mirror/", 1);
    expect_get(&w, &o, AG_ECONFIG, "http://example.org/mirror/images_background.zip: not encrypted");
    snprintf(path, sizeof path, "%s/images_background.zip", w.data);
    mkdir(path, 0777);
    expect_get(&w, &o, AG_ECONFIG, "images_background.zip: this is no file");
    world_release(&w);
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

START_TEST(every_failed_allocation_is_reported_and_leaves_no_half)
{
    world w;
    world_init(&w);
    xp_omniglot_get_options o = options(&w);
    ag_code code = AG_ENOMEM;
    char path[XP_PATH_MAX];
    for (fail_at = 1; code != AG_OK; fail_at++) {
        ag_error err = { 0 };
        calls = 0;
        remove_tree(w.data);
        remove_tree(w.f.cache);
        ag_set_allocator(&(ag_allocator){ failing_alloc, failing_release, NULL });
        code = xp_omniglot_get(&o, NULL, 0, &err);
        ag_set_allocator(NULL);
        ck_assert_msg(code == AG_OK ? calls < fail_at : code != AG_EDATA && err.message[0], "allocation %d: %s", fail_at, err.message);
        xp_omniglot_cache_path(w.f.cache, path, NULL);
        expect_cache(&w, access(path, F_OK) == 0);
    }
    ck_assert_int_gt(fail_at, 15);
    world_release(&w);
}
END_TEST

/* ---- a run with a spoilt cache ---- */

static ag_code open_source(world *w, const char *data_dir, ag_error *err)
{
    xp_source *s;
    w->notes[0] = '\0';
    ag_code code = xp_source_open(&s, &(xp_tasks){ .source = "omniglot" }, &(xp_source_options){ .data_dir = data_dir,
        .cache_dir = w->f.cache, .note = take_note, .note_ctx = w }, err);
    if (code == AG_OK)
        xp_source_close(s);
    return code;
}

static void spoil_cache(const world *w)
{
    char path[XP_PATH_MAX];
    xp_omniglot_cache_path(w->f.cache, path, NULL);
    ck_assert_int_eq(xp_make_folder_of(path, NULL), AG_OK);
    write_whole(path, (const unsigned char *)"METALORA-OMNI28\nhalf written", 28);
}

START_TEST(a_run_that_cannot_make_the_cache_anew_says_how)
{
    world w;
    ag_error err = { 0 };
    world_init(&w);
    ck_assert_int_eq(open_source(&w, NULL, &err), AG_ECONFIG);
    ck_assert_msg(strstr(err.message, "'metalora data get omniglot'"), "%s", err.message);
    ag_error_clear(&err);
    spoil_cache(&w);
    ck_assert_int_eq(open_source(&w, NULL, &err), AG_ECONFIG);
    ck_assert_msg(strstr(err.message, "omniglot-28x28.bin: cut short"), "%s", err.message);
    ck_assert_str_eq(w.notes, "");
    world_release(&w);
}
END_TEST

START_TEST(a_run_makes_a_spoilt_cache_anew_from_known_archives_and_says_so)
{
    world w;
    ag_error err = { 0 };
    world_init(&w);
    if (w.real) {
        char found[XP_PATH_MAX], place[256], folder[128];
        spoil_cache(&w);
        ck_assert_msg(open_source(&w, w.real, &err) == AG_OK, "%s", err.message);
        ck_assert_msg(strstr(w.notes, "note: the packed Omniglot was spoilt and is made anew from "), "%s", w.notes);
        ck_assert_msg(strstr(w.notes, "cut short"), "%s", w.notes);
        ck_assert_msg(open_source(&w, w.real, &err) == AG_OK && !*w.notes, "%s%s", err.message, w.notes);
        snprintf(folder, sizeof folder, "%s/omniglot", w.f.cache);   /* and from those that get has kept */
        mkdir(folder, 0777);
        for (int part = 0; part < 2; part++) {
            ck_assert_int_eq(xp_omniglot_find_archive(w.real, part, found, &err), AG_OK);
            snprintf(place, sizeof place, "%s/%s", folder, both[part]);
            ck_assert_int_eq(symlink(found, place), 0);
        }
        spoil_cache(&w);
        ck_assert_msg(open_source(&w, NULL, &err) == AG_OK, "%s", err.message);
        ck_assert_msg(strstr(w.notes, "is made anew from "), "%s", w.notes);
    }
    world_release(&w);
}
END_TEST

TEST_MAIN(archives_are_downloaded_verified_packed_and_not_asked_for_again,
          without_a_data_folder_the_archives_are_kept_beside_the_cache, what_is_not_omniglot_is_removed_and_nothing_is_packed,
          an_archive_that_is_there_is_used_and_named_when_it_may_be_the_spoilt_one,
          a_download_that_broke_off_goes_on_and_a_whole_one_is_verified_without_asking,
          offline_names_what_is_needed_and_where_it_goes, addresses_and_folders_that_will_not_do_are_named,
          every_failed_allocation_is_reported_and_leaves_no_half, a_run_that_cannot_make_the_cache_anew_says_how,
          a_run_makes_a_spoilt_cache_anew_from_known_archives_and_says_so)
