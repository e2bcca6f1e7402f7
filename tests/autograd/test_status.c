/* Errors and the replaceable allocator. */
#include "autograd/status.h"
#include "tests/check.h"

#include <stdint.h>

static ag_code innermost(ag_error *err, int n)
{
    AG_REQUIRE(n > 0, err, AG_EDATA, "row %d: expected more than %s", n, "nothing");
    return AG_OK;
}

static ag_code middle(ag_error *err, int n)
{
    AG_TRY(err, innermost(err, n));
    return AG_OK;
}

static ag_code outermost(ag_error *err, int n)
{
    AG_TRY(err, middle(err, n));
    return AG_OK;
}

START_TEST(a_failure_tells_what_where_and_the_way_it_took)
{
    ag_error err = { 0 };
    ck_assert_int_eq(outermost(&err, 1), AG_OK);
    ck_assert_int_eq(err.code, AG_OK);
    ck_assert_int_eq(outermost(&err, -4), AG_EDATA);
    ck_assert_int_eq(err.code, AG_EDATA);
    ck_assert_str_eq(err.message, "row -4: expected more than nothing");
    ck_assert_str_eq(err.trail, "middle < outermost");
}
END_TEST

START_TEST(the_first_failure_wins)
{
    ag_error err = { 0 };
    ck_assert_int_eq(ag_fail(&err, AG_EIO, "first"), AG_EIO);
    ck_assert_int_eq(ag_fail(&err, AG_ENOMEM, "second"), AG_ENOMEM);   /* the code is the caller's, the message the first's */
    ck_assert_int_eq(err.code, AG_EIO);
    ck_assert_str_eq(err.message, "first");
    ag_error_clear(&err);
    ck_assert(err.code == AG_OK && !err.message[0] && !err.trail[0]);
    ag_fail(&err, AG_ENOMEM, "third");
    ck_assert_str_eq(err.message, "third");
}
END_TEST

START_TEST(nobody_needs_to_listen)
{
    ck_assert_int_eq(outermost(NULL, -1), AG_EDATA);
    ck_assert_int_eq(ag_fail(NULL, AG_EIO, "%d", 1), AG_EIO);
    ck_assert_int_eq(ag_trail(NULL, AG_EIO, "here"), AG_EIO);
    ag_error_clear(NULL);
}
END_TEST

START_TEST(long_messages_and_long_trails_are_cut_not_overrun)
{
    struct { ag_error err; unsigned char guard[64]; } s = { 0 };
    char text[2 * AG_MESSAGE_MAX];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    ag_fail(&s.err, AG_EDATA, "%s", text);
    ck_assert_uint_eq(strlen(s.err.message), AG_MESSAGE_MAX - 1);
    for (int i = 0; i < 100; i++)
        ag_trail(&s.err, AG_EDATA, "a_function_with_a_name");
    ck_assert_uint_eq(strlen(s.err.trail), AG_TRAIL_MAX - 1);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(s.guard[i], 0);
}
END_TEST

START_TEST(a_success_leaves_no_trail)
{
    ag_error err = { 0 };
    ck_assert_int_eq(ag_trail(&err, AG_OK, "here"), AG_OK);
    ck_assert_str_eq(err.trail, "");
}
END_TEST

START_TEST(every_code_has_a_name)
{
    static const char *const names[] = { "OK", "EINVAL", "ESHAPE", "ENOMEM", "ENAN", "EIO", "EDATA", "ECONFIG", "ESTOP" };
    for (int i = 0; i <= AG_ESTOP; i++)
        ck_assert_str_eq(ag_code_name((ag_code)i), names[i]);
    ck_assert_str_eq(ag_code_name((ag_code)99), "unknown");
    ck_assert_str_eq(ag_code_name((ag_code)-1), "unknown");
}
END_TEST

START_TEST(memory_is_aligned_and_cleared_where_asked)
{
    static const size_t sizes[] = { 0, 1, 63, 64, 65, 100000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *p = ag_alloc(sizes[i]), *zero = ag_alloc_zero(sizes[i]);
        ck_assert(p && zero && (uintptr_t)p % 64 == 0 && (uintptr_t)zero % 64 == 0);
        memset(p, 1, sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++)
            expect(zero[j] == 0, "byte %zu", j);
        ag_free(p);
        ag_free(zero);
    }
    ck_assert_ptr_null(ag_alloc(SIZE_MAX));
    ck_assert_ptr_null(ag_alloc_zero(SIZE_MAX - 63));
    ag_free(NULL);
}
END_TEST

START_TEST(a_copied_string_is_a_string_of_its_own)
{
    char text[] = "text", *copy = ag_strdup(text);
    text[0] = 'n';
    ck_assert_str_eq(copy, "text");
    ag_free(copy);
    ck_assert_ptr_null(ag_strdup(NULL));
}
END_TEST

typedef struct counter {
    int alloc, release, fail;
} counter;

static void *count_alloc(size_t bytes, void *ctx)
{
    counter *c = ctx;
    c->alloc++;
    return c->fail ? NULL : malloc(bytes);
}

static void count_release(void *p, void *ctx)
{
    ((counter *)ctx)->release++;
    free(p);
}

START_TEST(the_allocator_can_be_replaced_and_put_back)
{
    counter c = { 0 };
    ag_set_allocator(&(ag_allocator){ count_alloc, count_release, &c });
    void *p = ag_alloc(10);
    ag_free(ag_alloc_zero(0));
    ag_free(p);
    ag_free(NULL);
    ck_assert(c.alloc == 2 && c.release == 2);
    c.fail = 1;
    ck_assert(!ag_alloc(1) && !ag_alloc_zero(1) && !ag_strdup("x"));
    ag_set_allocator(NULL);
    p = ag_alloc(1);
    ck_assert_ptr_nonnull(p);
    ag_free(p);
    ck_assert(c.alloc == 5 && c.release == 2);
}
END_TEST

TEST_MAIN(a_failure_tells_what_where_and_the_way_it_took, the_first_failure_wins, nobody_needs_to_listen,
          long_messages_and_long_trails_are_cut_not_overrun, a_success_leaves_no_trail, every_code_has_a_name,
          memory_is_aligned_and_cleared_where_asked, a_copied_string_is_a_string_of_its_own,
          the_allocator_can_be_replaced_and_put_back)
