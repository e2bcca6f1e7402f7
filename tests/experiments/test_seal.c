/* Seals: the right bytes, and nothing else passes. */
#include "experiments/seal.h"
#include "tests/check.h"

#include <unistd.h>

static char path[64];

static void write_file(const void *data, size_t n)
{
    FILE *f;
    strcpy(path, "test-seal-XXXXXX");
    int fd = mkstemp(path);
    ck_assert((f = fdopen(fd, "wb")) && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

/* The answer for a file of these bytes; the message contains the words. */
static void expect_answer(const void *data, size_t n, ag_code code, const char *words)
{
    ag_error err = { 0 };
    write_file(data, n);
    ag_code got = xp_seal_check(path, &err);
    unlink(path);
    ck_assert_msg(got == code && strstr(err.message, words), "%zu bytes: %s '%s'", n, ag_code_name(got), err.message);
}

/* FIPS 180-2, appendix B.1: SHA-256 of "abc". */
START_TEST(a_seal_is_magic_length_and_digest)
{
    static const unsigned char seal[XP_SEAL_BYTES] =
        "MLSEAL1\n\x03\0\0\0\0\0\0\0\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23"
        "\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad";
    unsigned char data[3 + XP_SEAL_BYTES] = "abc";
    ck_assert_int_eq(xp_seal_write(data, 3, NULL), AG_OK);
    ck_assert_mem_eq(data, "abc", 3);
    ck_assert_mem_eq(data + 3, seal, sizeof seal);
    expect_answer(data, sizeof data, AG_OK, "");
}
END_TEST

/* Around the size in which a file is read. */
START_TEST(files_of_every_size_pass_and_are_refused_when_cut_or_longer)
{
    static const size_t sizes[] = { 0, 1, 48, 65535, 65536, 65537, 200000 };
    unsigned char *data = malloc(200000 + XP_SEAL_BYTES + 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t n = sizes[i];
        memset(data, (int)i, n + XP_SEAL_BYTES + 1);
        ck_assert_int_eq(xp_seal_write(data, n, NULL), AG_OK);
        expect_answer(data, n + XP_SEAL_BYTES, AG_OK, "");
        expect_answer(data, n + XP_SEAL_BYTES - 1, AG_EDATA, "no seal at its end");
        expect_answer(data, n + XP_SEAL_BYTES + 1, AG_EDATA, "no seal at its end");
        if (n > 0)
            expect_answer(data + 1, n + XP_SEAL_BYTES - 1, AG_EDATA, "was edited or damaged");
    }
    free(data);
}
END_TEST

START_TEST(every_flipped_bit_is_noticed)
{
    unsigned char data[100 + XP_SEAL_BYTES] = "a result";
    ck_assert_int_eq(xp_seal_write(data, 100, NULL), AG_OK);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        expect_answer(data, sizeof data, AG_EDATA, bit / 8 >= 100 && bit / 8 < 108 ? "no seal at its end" : "was edited or damaged");
        data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    expect_answer(data, sizeof data, AG_OK, "");
}
END_TEST

START_TEST(what_cannot_be_read_is_told_from_what_is_damaged)
{
    ag_error err = { 0 };
    ck_assert_int_eq(xp_seal_check("no-such-file", &err), AG_ECONFIG);
    ck_assert_str_eq(err.message, "cannot open 'no-such-file': No such file or directory");
    ag_error_clear(&err);
    ck_assert_int_ne(xp_seal_check(".", &err), AG_OK);
}
END_TEST

TEST_MAIN(a_seal_is_magic_length_and_digest, files_of_every_size_pass_and_are_refused_when_cut_or_longer,
          every_flipped_bit_is_noticed, what_cannot_be_read_is_told_from_what_is_damaged)
