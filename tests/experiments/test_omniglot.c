/* Importing Omniglot: small archives made here, whole and spoilt; the real ones where METALORA_DATA is set. */
#include "tests/check.h"
#include "tests/failing_allocator.h"
#include "tests/experiments/omniglot_fixture.h"

#include "experiments/omniglot_cache.h"
#include "experiments/omniglot_import.h"
#include "experiments/tasks.h"
#include "autograd/random.h"

#include <errno.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of the real data, by golden_omniglot.py, which reads them here and compares. */
#define PACKED_DIGEST "064c72a352f9e549c13af971be4d08e06ad22a438a17d630f7131a03ee0665c2"
static const int64_t dealt_sums[3] = { 3661738, 3738795, 3507938 };

/* Every occurrence in the file of `from` becomes `to`, of the same length. */
static void patch_file(const char *path, const char *from, const char *to)
{
    size_t n, length = strlen(from);
    int found = 0;
    unsigned char *bytes = read_whole(path, &n);
    for (size_t i = 0; i + length <= n; i++)
        if (memcmp(bytes + i, from, length) == 0) {
            memcpy(bytes + i, to, length);
            found++;
        }
    ck_assert_int_eq(found, 2);   /* the entry's own header and the directory's */
    write_whole(path, bytes, n);
    free(bytes);
}

static bool cache_exists(const fixture *f)
{
    char path[XP_PATH_MAX];
    xp_omniglot_cache_path(f->cache, path, NULL);
    return access(path, F_OK) == 0;
}

static void expect_refused(const fixture *f, ag_code want, const char *part)
{
    ag_error err = { 0 };
    ag_code code = xp_omniglot_import_expecting(&f->expect, f->dir, f->cache, NULL, 0, &err);
    ck_assert_msg(code == want, "%s, expected %s: %s", ag_code_name(code), ag_code_name(want), err.message);
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' does not say '%s'", err.message, part);
    ck_assert(!cache_exists(f));
}

START_TEST(archives_are_checked_packed_and_read_back)
{
    fixture f;
    fixture_init(&f);
    write_archives(&f);
    char report[512], path[XP_PATH_MAX];
    ag_error err = { 0 };
    ag_code code = xp_omniglot_import_expecting(&f.expect, f.dir, f.cache, report, sizeof report, &err);
    ck_assert_msg(code == AG_OK, "%s", err.message);
    ck_assert_ptr_nonnull(strstr(report, "3 characters x 2 drawings verified"));
    xp_omniglot_pack p;
    xp_omniglot_cache_path(f.cache, path, NULL);
    code = xp_omniglot_cache_read(&p, path, f.digest, &err);
    ck_assert_msg(code == AG_OK, "%s", err.message);
    ck_assert(p.n_character == 3 && p.n_drawing == 2);
    ck_assert_int_ne(memcmp(p.pixels, p.pixels + 784, 784), 0);
    xp_omniglot_pack_release(&p);
    ck_assert_int_eq(xp_omniglot_cache_read(&p, path, PACKED_DIGEST, &err), AG_EDATA);
    ck_assert_ptr_nonnull(strstr(err.message, "packed from other data"));
    fixture_release(&f);
}
END_TEST

START_TEST(archives_zipped_anew_in_other_ways_pass)
{
    fixture f;
    fixture_init(&f);
    item first = f.items[0][0];
    f.items[0][0] = f.items[0][3];   /* another order */
    f.items[0][3] = first;
    for (int i = 0; i < f.n[1]; i++) {   /* zipped from within the folder */
        char name[128];
        snprintf(name, sizeof name, "./%s", f.items[1][i].name + strlen("images_evaluation/"));
        memcpy(f.items[1][i].name, name, sizeof name);
    }
    add_item(&f, 0, "__MACOSX/images_background/Abc/character01/._0001_01.png", calloc(1, 8), 8);
    add_item(&f, 0, "images_background/.DS_Store", calloc(1, 8), 8);
    write_archives(&f);
    char inner[64], from[128], to[128];
    snprintf(inner, sizeof inner, "%s/omniglot", f.dir);   /* and one folder further down */
    ck_assert_int_eq(mkdir(inner, 0777), 0);
    archive_path(&f, 0, from);
    snprintf(to, sizeof to, "%s/images_background.zip", inner);
    ck_assert_int_eq(rename(from, to), 0);
    ag_error err = { 0 };
    ck_assert_msg(xp_omniglot_import_expecting(&f.expect, f.dir, f.cache, NULL, 0, &err) == AG_OK, "%s", err.message);
    ck_assert(cache_exists(&f));
    fixture_release(&f);
}
END_TEST

START_TEST(one_changed_pixel_fails_with_both_digests)
{
    fixture f;
    fixture_init(&f);
    unsigned char bits[SIDE * 14];
    make_bits(1, bits);
    bits[50 * 14 + 5] ^= 4;
    free(f.items[0][1].bytes);
    f.items[0][1].bytes = make_png(SIDE, SIDE, bits, &f.items[0][1].n);
    write_archives(&f);
    expect_refused(&f, AG_EDATA, f.digest);
    expect_refused(&f, AG_EDATA, "not these pictures or file names: digest ");
    fixture_release(&f);
}
END_TEST

START_TEST(missing_drawings_and_characters_are_counted)
{
    fixture f;
    fixture_init(&f);
    f.n[0] = 3;
    write_archives(&f);
    expect_refused(&f, AG_EDATA, "images_background.zip: the character Abc/character02 has 1 drawings; expected 2 (1 such");
    f.n[0] = 2;
    write_archives(&f);
    expect_refused(&f, AG_EDATA, "images_background.zip: 1 characters; expected 2");
    f.n[0] = 4;
    fixture_release(&f);
}
END_TEST

START_TEST(archives_that_are_missing_or_no_archives_are_named)
{
    fixture f;
    char path[128];
    fixture_init(&f);
    expect_refused(&f, AG_ECONFIG, "there is no images_background.zip");
    write_archives(&f);
    archive_path(&f, 1, path);
    unlink(path);
    expect_refused(&f, AG_ECONFIG, "there is no images_evaluation.zip");
    write_whole(path, (const unsigned char *)"not a zip archive at all, only text", 35);
    expect_refused(&f, AG_EDATA, "images_evaluation.zip: cannot be opened as a zip archive");
    write_whole(path, (const unsigned char *)"", 0);
    expect_refused(&f, AG_EDATA, "images_evaluation.zip: ");
    unlink(path);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    expect_refused(&f, AG_ECONFIG, "images_evaluation.zip: this is no file");
    fixture_release(&f);
}
END_TEST

START_TEST(an_archive_cut_anywhere_or_with_any_flipped_byte_never_passes_unnoticed)
{
    fixture f;
    char path[128];
    size_t n;
    fixture_init(&f);
    write_archives(&f);
    archive_path(&f, 0, path);
    unsigned char *bytes = read_whole(path, &n);
    for (size_t cut = 0; cut < n; cut += 1 + n / 97) {
        write_whole(path, bytes, cut);
        expect_refused(&f, AG_EDATA, "images_background.zip");
    }
    for (size_t at = 0; at < n; at += 1 + n / 997) {   /* a flipped date harms nothing: the digest decides */
        ag_error err = { 0 };
        bytes[at] ^= 0x11;
        write_whole(path, bytes, n);
        ag_code code = xp_omniglot_import_expecting(&f.expect, f.dir, f.cache, NULL, 0, &err);
        ck_assert_msg(code == AG_OK || (code == AG_EDATA && err.message[0]), "byte %zu: %s", at, err.message);
        ck_assert_int_eq(cache_exists(&f), code == AG_OK);
        remove_tree(f.cache);
        bytes[at] ^= 0x11;
    }
    free(bytes);
    fixture_release(&f);
}
END_TEST

START_TEST(pictures_damaged_or_of_another_size_are_named)
{
    fixture f;
    unsigned char bits[SIDE * 14];
    fixture_init(&f);
    make_bits(0, bits);
    unsigned char *kept = f.items[1][1].bytes;
    f.items[1][1].bytes[60] ^= 0xff;
    write_archives(&f);
    expect_refused(&f, AG_EDATA, "images_evaluation.zip: Xyz/character01/0003_02.png: damaged PNG picture");
    f.items[1][1].bytes = make_png(100, SIDE, bits, &f.items[1][1].n);
    write_archives(&f);
    expect_refused(&f, AG_EDATA, "Xyz/character01/0003_02.png: the picture is 100 x 105 pixels; expected 105 x 105");
    memcpy(f.items[1][1].bytes, "GIF89a", 6);
    write_archives(&f);
    expect_refused(&f, AG_EDATA, "0003_02.png: not a PNG picture");
    free(kept);
    fixture_release(&f);
}
END_TEST

START_TEST(names_that_lead_out_of_the_archive_are_refused)
{
    static const char *const names[] = { "images_background/../../evil.png", "../evil.png", "..", "images_background/..",
                                         "/absolute/Abc/evil.png", "C:/Abc/evil.png", "..\\evil.png" };
    static const char *const says[] = { "climbs out", "climbs out", "climbs out", "climbs out", "absolute", "absolute", "absolute" };
    fixture f;
    fixture_init(&f);
    add_item(&f, 0, "", calloc(1, 4), 4);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(f.items[0][4].name, sizeof f.items[0][4].name, "%s", names[i]);
        write_archives(&f);
        expect_refused(&f, AG_EDATA, says[i]);
        expect_refused(&f, AG_EDATA, names[i]);
    }
    snprintf(f.items[0][4].name, sizeof f.items[0][4].name, "images_background/stray.png");
    write_archives(&f);
    expect_refused(&f, AG_EDATA, "'images_background/stray.png' is out of place");
    fixture_release(&f);
}
END_TEST

START_TEST(an_entry_that_is_there_twice_is_refused)
{
    fixture f;
    char path[128];
    fixture_init(&f);
    write_archives(&f);
    archive_path(&f, 0, path);
    patch_file(path, "character01/0001_02.png", "character01/0001_01.png");
    expect_refused(&f, AG_EDATA, "the entry 'Abc/character01/0001_01.png' is there twice");
    fixture_release(&f);
}
END_TEST

START_TEST(entries_too_large_or_larger_than_declared_are_refused)
{
    fixture f;
    char path[128];
    size_t n;
    fixture_init(&f);
    unsigned char *kept = f.items[0][0].bytes;
    f.items[0][0].bytes = calloc(1, 50000000);
    f.items[0][0].n = 50000000;
    write_archives(&f);
    expect_refused(&f, AG_EDATA, "declares 50000000 bytes unpacked; expected at most 65536");
    f.items[0][0].n = 60000;
    write_archives(&f);
    archive_path(&f, 0, path);
    unsigned char *bytes = read_whole(path, &n);
    for (size_t i = 0; i + 4 <= n; i++)   /* 60000 little-endian: both places that declare the size */
        if (memcmp(bytes + i, "\x60\xea\0\0", 4) == 0)
            bytes[i] = 0x10;
    write_whole(path, bytes, n);
    expect_refused(&f, AG_EDATA, "the entry 'images_background/Abc/character01/0001_01.png' is damaged");
    free(bytes);
    free(kept);
    fixture_release(&f);
}
END_TEST

START_TEST(names_too_long_are_refused)
{
    fixture f;
    char path[128], name[400];
    fixture_init(&f);
    write_archives(&f);
    archive_path(&f, 0, path);
    zip_t *z = zip_open(path, 0, NULL);
    snprintf(name, sizeof name, "images_background/%0300d.txt", 0);
    ck_assert_int_ge(zip_file_add(z, name, zip_source_buffer(z, "", 0, 0), 0), 0);
    ck_assert_int_eq(zip_close(z), 0);
    expect_refused(&f, AG_EDATA, "an entry's name has 322 bytes; expected at most 255");
    fixture_release(&f);
}
END_TEST

START_TEST(encrypted_entries_are_refused)
{
    fixture f;
    char path[128];
    fixture_init(&f);
    write_archives(&f);
    archive_path(&f, 0, path);
    zip_t *z = zip_open(path, 0, NULL);
    ck_assert_int_eq(zip_file_set_encryption(z, 1, ZIP_EM_AES_256, "secret"), 0);
    ck_assert_int_eq(zip_close(z), 0);
    expect_refused(&f, AG_EDATA, "the entry 'images_background/Abc/character01/0001_02.png' cannot be opened");
    fixture_release(&f);
}
END_TEST

START_TEST(a_spoilt_cache_is_detected)
{
    fixture f;
    char path[XP_PATH_MAX];
    size_t n;
    fixture_init(&f);
    write_archives(&f);
    ck_assert_int_eq(xp_omniglot_import_expecting(&f.expect, f.dir, f.cache, NULL, 0, NULL), AG_OK);
    xp_omniglot_cache_path(f.cache, path, NULL);
    unsigned char *bytes = read_whole(path, &n);
    static const struct { size_t at; const char *part; } flips[] = {
        { 0, "not a packed Omniglot" }, { 16, "another version" }, { 20, "bytes; expected" }, { 40, "from other data" },
        { 70, "damaged: digest" }, { 1000, "damaged: digest" } };
    for (size_t i = 0; i < sizeof flips / sizeof *flips; i++) {
        ag_error err = { 0 };
        xp_omniglot_pack p;
        bytes[flips[i].at] ^= 1;
        write_whole(path, bytes, n);
        ck_assert_int_eq(xp_omniglot_cache_read(&p, path, f.digest, &err), AG_EDATA);
        ck_assert_msg(strstr(err.message, flips[i].part) != NULL, "byte %zu: %s", flips[i].at, err.message);
        ck_assert_ptr_null(p.pixels);
        bytes[flips[i].at] ^= 1;
    }
    for (size_t cut = 0; cut < n; cut += 127) {
        xp_omniglot_pack p;
        write_whole(path, bytes, cut);
        ck_assert_int_eq(xp_omniglot_cache_read(&p, path, f.digest, NULL), AG_EDATA);
    }
    free(bytes);
    fixture_release(&f);
}
END_TEST

START_TEST(a_cache_folder_that_cannot_be_made_is_named_and_nothing_is_left)
{
    fixture f;
    char blocker[64];
    ag_error err = { 0 };
    fixture_init(&f);
    write_archives(&f);
    snprintf(blocker, sizeof blocker, "%s/deep", f.dir);
    write_whole(blocker, (const unsigned char *)"x", 1);
    ck_assert_int_eq(xp_omniglot_import_expecting(&f.expect, f.dir, f.cache, NULL, 0, &err) == AG_OK, 0);
    ck_assert_msg(strstr(err.message, "deep") != NULL, "%s", err.message);
    fixture_release(&f);
}
END_TEST

START_TEST(the_cache_lies_where_the_environment_says)
{
    char path[XP_PATH_MAX];
    setenv("XDG_CACHE_HOME", "/xdg", 1);
    setenv("HOME", "/home/me", 1);
    ck_assert_int_eq(xp_omniglot_cache_path("mine", path, NULL), AG_OK);
    ck_assert_str_eq(path, "mine/omniglot-28x28.bin");
    xp_omniglot_cache_path(NULL, path, NULL);
    ck_assert_str_eq(path, "/xdg/metalora/omniglot-28x28.bin");
    unsetenv("XDG_CACHE_HOME");
    xp_omniglot_cache_path(NULL, path, NULL);
    ck_assert_str_eq(path, "/home/me/.cache/metalora/omniglot-28x28.bin");
    unsetenv("HOME");
    ck_assert_int_eq(xp_omniglot_cache_path(NULL, path, NULL), AG_ECONFIG);
}
END_TEST

START_TEST(every_failed_allocation_of_an_import_is_reported_and_leaves_nothing)
{
    fixture f;
    failing_allocator c = { 0 };
    fixture_init(&f);
    write_archives(&f);
    failing_use(&c);
    ck_assert_int_eq(xp_omniglot_import_expecting(&f.expect, f.dir, f.cache, NULL, 0, NULL), AG_OK);
    int calls = c.calls;
    ck_assert_int_ge(calls, 6);
    for (int n = 1; n <= calls; n++) {
        ag_error err = { 0 };
        c = (failing_allocator){ .fail_at = n };
        ck_assert_int_ne(xp_omniglot_import_expecting(&f.expect, f.dir, f.cache, NULL, 0, &err), AG_OK);
        ck_assert_msg(err.message[0], "allocation %d: no message", n);
        ck_assert_int_eq(c.live_blocks, 0);
    }
    failing_use(NULL);
    char path[XP_PATH_MAX];
    xp_omniglot_pack p;
    xp_omniglot_cache_path(f.cache, path, NULL);   /* what was there before is whole */
    ck_assert_int_eq(xp_omniglot_cache_read(&p, path, f.digest, NULL), AG_OK);
    xp_omniglot_pack_release(&p);
    unlink(path);
    ck_assert_msg(rmdir(f.cache) == 0, "something is left beside the cache");
    fixture_release(&f);
}
END_TEST

static int64_t sum_of_class(const xp_source *s, uint64_t stream)
{
    static ag_real x[20 * 784];
    int32_t y[20];
    double sum = 0;
    ag_error err = { 0 };
    ag_code code = xp_source_episode(s, &(xp_episode_id){ 1, stream, 0, 0 }, &(xp_episode_size){ .way = 1, .shot = 20 }, x, y, NULL, NULL, &err);
    ck_assert_msg(code == AG_OK, "%s", err.message);
    for (int i = 0; i < 20 * 784; i++)
        sum += round((double)x[i] * 255);
    return (int64_t)sum;
}

START_TEST(the_real_archives_give_pillows_bytes)
{
    if (!getenv("METALORA_DATA"))
        return;
    fixture f;
    char path[XP_PATH_MAX], hex[65];
    unsigned char digest[32];
    ag_error err = { 0 };
    fixture_init(&f);
    xp_tasks tasks = { .source = "omniglot", .split = { 1, 1, 1 } };
    xp_source *s;
    ag_code code = xp_source_open(&s, &tasks, &(xp_source_options){ .cache_dir = f.cache }, &err);   /* imports */
    ck_assert_msg(code == AG_OK, "%s", err.message);
    ck_assert_int_eq(sum_of_class(s, AG_STREAM_TRAIN), dealt_sums[0]);
    ck_assert_int_eq(sum_of_class(s, AG_STREAM_VALIDATION), dealt_sums[1]);
    ck_assert_int_eq(sum_of_class(s, AG_STREAM_TEST), dealt_sums[2]);
    xp_source_close(s);
    xp_omniglot_pack p;
    xp_omniglot_cache_path(f.cache, path, NULL);
    ck_assert_int_eq(xp_omniglot_cache_read(&p, path, XP_OMNIGLOT_DIGEST, &err), AG_OK);
    crypto_hash_sha256(digest, p.pixels, 1623 * 20 * 784);
    xp_digest_hex(digest, hex);
    ck_assert_str_eq(hex, PACKED_DIGEST);
    xp_omniglot_pack_release(&p);
    fixture_release(&f);
}
END_TEST

TEST_MAIN(archives_are_checked_packed_and_read_back, archives_zipped_anew_in_other_ways_pass,
          one_changed_pixel_fails_with_both_digests, missing_drawings_and_characters_are_counted,
          archives_that_are_missing_or_no_archives_are_named,
          an_archive_cut_anywhere_or_with_any_flipped_byte_never_passes_unnoticed,
          pictures_damaged_or_of_another_size_are_named, names_that_lead_out_of_the_archive_are_refused,
          an_entry_that_is_there_twice_is_refused, entries_too_large_or_larger_than_declared_are_refused,
          names_too_long_are_refused, encrypted_entries_are_refused, a_spoilt_cache_is_detected, a_cache_folder_that_cannot_be_made_is_named_and_nothing_is_left,
          the_cache_lies_where_the_environment_says,
          every_failed_allocation_of_an_import_is_reported_and_leaves_nothing, the_real_archives_give_pillows_bytes)
