/* Checkpoints: what is saved comes back, and whatever is not exactly that is refused with its reason. */
#include "experiments/checkpoint.h"
#include "tests/check.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATH = 256, N = 1000 };

static char folder[PATH], path[PATH * 2];
static double parameters[N];
static const int64_t iteration = 4321;
static xp_sha256 config;

static void setup(void)
{
    ag_error err = { 0 };
    strcpy(folder, "test-checkpoint-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/run.ckpt", folder);
    for (int i = 0; i < N; i++)
        parameters[i] = sin(i) / 3;
    ck_assert_int_eq(xp_sha256_text(&config, "name: a\n", &err), AG_OK);
}

/* Also checks that nothing but the checkpoint was left. */
static void teardown(void)
{
    unlink(path);
    ck_assert_msg(rmdir(folder) == 0, "left in '%s'", folder);
}

static ag_code save(ag_error *err)
{
    const xp_checkpoint_entry entries[] = {
        { "iteration", &iteration, sizeof iteration },
        { "parameters", parameters, sizeof parameters },
        { "nothing", NULL, 0 },
    };
    return xp_checkpoint_save(path, &config, 3, entries, err);
}

static unsigned char *read_file(size_t *n)
{
    struct stat s;
    ck_assert_int_eq(stat(path, &s), 0);
    unsigned char *bytes = malloc((size_t)s.st_size);
    FILE *f = fopen(path, "rb");
    *n = fread(bytes, 1, (size_t)s.st_size, f);
    fclose(f);
    ck_assert_uint_eq(*n, (size_t)s.st_size);
    return bytes;
}

static void write_file(const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* Loading fails with that code and a message that contains the words. */
static void refused(const xp_sha256 *of, ag_code code, const char *words)
{
    ag_error err = { 0 };
    xp_checkpoint c;
    ag_code got = xp_checkpoint_load(&c, path, of, &err);
    ck_assert_msg(got == code && strstr(err.message, words), "%s: '%s'; expected %s: '%s'", ag_code_name(got), err.message,
                  ag_code_name(code), words);
    ck_assert_ptr_null(c.memory);
}

START_TEST(what_was_saved_is_loaded)
{
    ag_error err = { 0 };
    xp_checkpoint c;
    int64_t i = 0;
    static double p[N];
    setup();
    ck_assert_msg(save(&err) == AG_OK, "%s", err.message);
    ck_assert_msg(xp_checkpoint_load(&c, path, &config, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(c.n, 3);
    ck_assert_int_eq(xp_checkpoint_get(&c, "iteration", &i, sizeof i, &err), AG_OK);
    ck_assert_int_eq(xp_checkpoint_get(&c, "parameters", p, sizeof p, &err), AG_OK);
    ck_assert_int_eq(xp_checkpoint_get(&c, "nothing", NULL, 0, &err), AG_OK);
    ck_assert_int_eq(i, iteration);
    ck_assert_mem_eq(p, parameters, sizeof p);
    ck_assert_str_eq(c.entries[1].name, "parameters");
    ck_assert_uint_eq((uintptr_t)xp_checkpoint_find(&c, "parameters")->data % 64, 0);
    ck_assert_ptr_null(xp_checkpoint_find(&c, "parameter"));
    xp_checkpoint_release(&c);
    teardown();
}
END_TEST

START_TEST(an_entry_that_is_missing_or_of_another_size_is_an_error)
{
    ag_error err = { 0 };
    xp_checkpoint c;
    int32_t i;
    setup();
    save(&err);
    ck_assert_int_eq(xp_checkpoint_load(&c, path, NULL, &err), AG_OK);
    ck_assert_int_eq(xp_checkpoint_get(&c, "iteration", &i, sizeof i, &err), AG_EDATA);
    ck_assert_str_eq(err.message, "the checkpoint's 'iteration' has 8 bytes; expected 4");
    ag_error_clear(&err);
    ck_assert_int_eq(xp_checkpoint_get(&c, "moment", &i, sizeof i, &err), AG_EDATA);
    xp_checkpoint_release(&c);
    teardown();
}
END_TEST

START_TEST(the_same_run_writes_the_same_bytes)
{
    size_t n, m;
    setup();
    save(NULL);
    unsigned char *a = read_file(&n);
    save(NULL);
    unsigned char *b = read_file(&m);
    ck_assert_uint_eq(n, m);
    ck_assert_mem_eq(a, b, n);
    free(a);
    free(b);
    teardown();
}
END_TEST

START_TEST(a_file_cut_short_anywhere_is_refused)
{
    size_t n;
    setup();
    save(NULL);
    unsigned char *bytes = read_file(&n);
    for (size_t cut = 1; cut < n; cut += cut < 400 ? 1 : 97) {
        write_file(bytes, cut);
        refused(&config, AG_EDATA, "is truncated");
    }
    write_file(bytes, 0);
    refused(&config, AG_EDATA, "is empty");
    free(bytes);
    teardown();
}
END_TEST

START_TEST(a_file_with_any_byte_changed_is_refused)
{
    size_t n;
    setup();
    save(NULL);
    unsigned char *bytes = read_file(&n);
    for (size_t i = 0; i < n; i += i < 400 ? 1 : 13) {
        ag_error err = { 0 };
        xp_checkpoint c;
        bytes[i] ^= 0x20;
        write_file(bytes, n);
        ck_assert_msg(xp_checkpoint_load(&c, path, &config, &err) != AG_OK, "byte %zu", i);
        if (i >= 128)
            refused(&config, AG_EDATA, "was edited or damaged");
        bytes[i] ^= 0x20;
    }
    free(bytes);
    teardown();
}
END_TEST

START_TEST(bytes_behind_the_end_are_refused)
{
    size_t n;
    setup();
    save(NULL);
    FILE *f = fopen(path, "ab");
    fputs("more", f);
    fclose(f);
    refused(&config, AG_EDATA, "4 bytes follow its end");
    unsigned char *bytes = read_file(&n);
    free(bytes);
    teardown();
}
END_TEST

START_TEST(a_foreign_file_a_folder_and_no_file_are_refused)
{
    setup();
    refused(&config, AG_EIO, "No such file");
    write_file("name: an experiment in YAML, of no use here\n", 44);
    refused(&config, AG_EDATA, "is not a checkpoint of metalora");
    unlink(path);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    refused(&config, AG_EDATA, "is not a file");
    ck_assert_int_eq(rmdir(path), 0);
    teardown();
}
END_TEST

START_TEST(a_checkpoint_of_another_configuration_is_refused)
{
    xp_sha256 other;
    setup();
    save(NULL);
    xp_sha256_text(&other, "name: b\n", NULL);
    refused(&other, AG_ECONFIG, "belongs to another configuration");
    teardown();
}
END_TEST

/* Puts text at an offset of the header and mends the digest: what another version would have written. */
static void forge(size_t offset, const void *text, size_t length)
{
    size_t n;
    unsigned char *bytes = read_file(&n);
    memcpy(bytes + offset, text, length);
    crypto_hash_sha256(bytes + n - 32, bytes, n - 32);
    write_file(bytes, n);
    free(bytes);
}

START_TEST(a_checkpoint_of_another_version_or_byte_order_is_refused)
{
    const uint32_t format = 2;
    const unsigned char turned[] = { 1, 2, 3, 4, 5, 6, 7, 8 }, straight[] = { 8, 7, 6, 5, 4, 3, 2, 1 };
    const uint16_t one = 1;
    setup();
    save(NULL);
    forge(16, &format, sizeof format);
    refused(&config, AG_ECONFIG, "has format 2; this version of metalora reads 1");
    save(NULL);
    forge(64, "9.8.7", 6);
    refused(&config, AG_ECONFIG, "was written by metalora 9.8.7");
    save(NULL);
    forge(8, *(const unsigned char *)&one ? turned : straight, 8);
    refused(&config, AG_EDATA, "another byte order");
    teardown();
}
END_TEST

START_TEST(a_forged_file_with_a_right_digest_cannot_reach_beyond_itself)
{
    const uint64_t huge[] = { UINT64_MAX, UINT64_MAX - 40, UINT64_C(1) << 62, 100000, 8192 };
    const uint32_t many[] = { UINT32_MAX, 4, 2, 0 };
    setup();
    for (int i = 0; i < 5; i++) {
        save(NULL);
        forge(128 + 8, &huge[i], 8);      /* the first entry's data */
        refused(&config, AG_EDATA, "checkpoint");
        save(NULL);
        forge(128, &huge[i], 8);          /* the first entry's name */
        refused(&config, AG_EDATA, "without a name");
    }
    for (int i = 0; i < 4; i++) {
        save(NULL);
        forge(20, &many[i], 4);
        refused(&config, AG_EDATA, "checkpoint");
    }
    teardown();
}
END_TEST

START_TEST(bad_names_are_refused_before_anything_is_written)
{
    char long_name[300];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    const xp_checkpoint_entry twice[] = { { "a", "1", 1 }, { "b", "2", 1 }, { "a", "3", 1 } };
    const xp_checkpoint_entry bad[] = { { NULL, "1", 1 }, { "", "1", 1 }, { long_name, "1", 1 }, { "a", NULL, 1 } };
    setup();
    ck_assert_int_eq(xp_checkpoint_save(path, &config, 3, twice, NULL), AG_EINVAL);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(xp_checkpoint_save(path, &config, 1, &bad[i], NULL), AG_EINVAL);
    ck_assert_int_eq(access(path, F_OK), -1);
    teardown();
}
END_TEST

START_TEST(names_of_every_length_come_back)
{
    setup();
    for (size_t length = 1; length <= 255; length++) {
        char name[256];
        xp_checkpoint c;
        ag_error err = { 0 };
        memset(name, 'n', length);
        name[length] = '\0';
        const xp_checkpoint_entry e[] = { { name, name, length }, { "z", "last", 4 } };
        ck_assert_int_eq(xp_checkpoint_save(path, &config, 2, e, &err), AG_OK);
        ck_assert_msg(xp_checkpoint_load(&c, path, &config, &err) == AG_OK, "%s", err.message);
        ck_assert_str_eq(c.entries[0].name, name);
        ck_assert_mem_eq(xp_checkpoint_find(&c, "z")->data, "last", 4);
        xp_checkpoint_release(&c);
    }
    teardown();
}
END_TEST

START_TEST(a_missing_folder_is_the_users_to_mend)
{
    ag_error err = { 0 };
    setup();
    snprintf(path, sizeof path, "%s/none/run.ckpt", folder);
    ck_assert_int_eq(save(&err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "/none' does not exist"));
    teardown();
}
END_TEST

START_TEST(a_disk_that_is_full_leaves_the_older_checkpoint)
{
    ag_error err = { 0 };
    setup();
    ck_assert_int_eq(save(&err), AG_OK);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 0; limit < 8000; limit += 500) {
        struct rlimit full = { limit, RLIM_INFINITY };
        ag_error_clear(&err);
        setrlimit(RLIMIT_FSIZE, &full);
        ag_code code = save(&err);
        full.rlim_cur = RLIM_INFINITY;
        setrlimit(RLIMIT_FSIZE, &full);
        ck_assert_int_eq(code, AG_EIO);
        ck_assert_ptr_nonnull(strstr(err.message, "cannot write"));
    }
    xp_checkpoint c;
    ck_assert_int_eq(xp_checkpoint_load(&c, path, &config, &err), AG_OK);
    xp_checkpoint_release(&c);
    teardown();
}
END_TEST

START_TEST(a_process_killed_while_saving_leaves_a_whole_checkpoint)
{
    setup();
    save(NULL);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0)
            for (;;)
                save(NULL);
        nanosleep(&(struct timespec){ 0, 1000000 + 371000 * i }, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        xp_checkpoint c;
        ag_error err = { 0 };
        ck_assert_msg(xp_checkpoint_load(&c, path, &config, &err) == AG_OK, "%s", err.message);
        xp_checkpoint_release(&c);
        char left[PATH * 3];
        snprintf(left, sizeof left, "%s/.run.ckpt.tmp-%ld", folder, (long)child);
        unlink(left);
    }
    teardown();
}
END_TEST

typedef struct countdown {
    long left;
} countdown;

static void *failing_alloc(size_t bytes, void *ctx)
{
    countdown *c = ctx;
    return c->left-- <= 0 ? NULL : aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void plain_free(void *p, void *ctx)
{
    (void)ctx;
    free(p);
}

START_TEST(every_allocation_that_fails_is_reported_and_leaks_nothing)
{
    setup();
    save(NULL);
    bool done = false;
    for (long n = 0; !done; n++) {
        countdown c = { n };
        xp_checkpoint loaded;
        ag_error err = { 0 };
        ag_set_allocator(&(ag_allocator){ failing_alloc, plain_free, &c });
        ag_code code = save(&err);
        if (code == AG_OK)
            code = xp_checkpoint_load(&loaded, path, &config, &err);
        done = code == AG_OK;
        if (done)
            xp_checkpoint_release(&loaded);
        ag_set_allocator(NULL);
        ck_assert_msg(done || code == AG_ENOMEM || (code == AG_EIO && strstr(err.message, "memory")), "%ld: %s", n, err.message);
        ck_assert_int_lt(n, 100);
    }
    teardown();
}
END_TEST

TEST_MAIN(what_was_saved_is_loaded, an_entry_that_is_missing_or_of_another_size_is_an_error, the_same_run_writes_the_same_bytes,
          a_file_cut_short_anywhere_is_refused, a_file_with_any_byte_changed_is_refused, bytes_behind_the_end_are_refused,
          a_foreign_file_a_folder_and_no_file_are_refused, a_checkpoint_of_another_configuration_is_refused,
          a_checkpoint_of_another_version_or_byte_order_is_refused,
          a_forged_file_with_a_right_digest_cannot_reach_beyond_itself, bad_names_are_refused_before_anything_is_written,
          names_of_every_length_come_back, a_missing_folder_is_the_users_to_mend,
          a_disk_that_is_full_leaves_the_older_checkpoint, a_process_killed_while_saving_leaves_a_whole_checkpoint,
          every_allocation_that_fails_is_reported_and_leaks_nothing)
