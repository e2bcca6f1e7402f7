/* Packed batches of texts: where every token stands, what is left out, and the way back and forth on a tape. */
#include "models/text.h"
#include "tests/check.h"

#include <stdbool.h>

enum { MOST = 256 };

/* Three texts in one array, with something between them. */
static const int32_t ids[] = { 11, 12, 13, 99, 21, 99, 99, 31, 32, 33, 34, 35 };
static const int64_t start[] = { 0, 4, 7 }, length[] = { 3, 1, 5 };

static void check_numbers(const int32_t *x, int64_t n, const int32_t *want, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        expect(x[i] == want[i], "%s %lld is %d; %d is expected", what, (long long)i, (int)x[i], (int)want[i]);
}

START_TEST(tokens_lie_one_behind_the_other_and_every_place_finds_its_own)
{
    nn_text_shape s = { .n = 3, .length = 6, .capacity = 11 };
    int32_t x[MOST];
    memset(x, 0x55, sizeof x);
    ck_assert_int_eq(nn_text_numel(&s), 3 * 11 + 2 * 18);
    ck_assert_int_eq(nn_text_pack(&s, ids, start, length, x), 0);
    check_numbers(x, 11, (int32_t[]){ 11, 12, 13, 21, 31, 32, 33, 34, 35, 0, 0 }, "id");
    check_numbers(x + 11, 11, (int32_t[]){ 0, 1, 2, 6, 12, 13, 14, 15, 16, 0, 0 }, "place");
    check_numbers(x + 22, 11, (int32_t[]){ 0, 1, 2, 0, 0, 1, 2, 3, 4, 0, 0 }, "position");
    check_numbers(x + 33, 18, (int32_t[]){ 0, 1, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 4, 5, 6, 7, 8, 0 }, "packed");
    check_numbers(x + 51, 18, (int32_t[]){ 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0 }, "valid");
    ck_assert_int_eq(x[69], 0x55555555);
}
END_TEST

START_TEST(a_text_longer_than_allowed_loses_its_end)
{
    nn_text_shape s = { .n = 3, .length = 2, .capacity = 6 };
    int32_t x[MOST];
    ck_assert_int_eq(nn_text_pack(&s, ids, start, length, x), 1 + 3);
    check_numbers(x, 6, (int32_t[]){ 11, 12, 21, 31, 32, 0 }, "id");
}
END_TEST

START_TEST(what_is_too_much_together_is_taken_from_the_longest_before_its_last_token)
{
    nn_text_shape s = { .n = 3, .length = 6, .capacity = 6 };
    int32_t x[MOST];
    ck_assert_int_eq(nn_text_pack(&s, ids, start, length, x), 3);   /* 5 -> 4 -> 3, then the last of two of length 3 */
    check_numbers(x, 6, (int32_t[]){ 11, 12, 13, 21, 31, 35 }, "id");
    s.capacity = 3;
    ck_assert_int_eq(nn_text_pack(&s, ids, start, length, x), 6);
    check_numbers(x, 3, (int32_t[]){ 13, 21, 35 }, "id");
    check_numbers(x + 9, 18, (int32_t[]){ 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0 }, "packed");
}
END_TEST

/* Plain rules, text by text, against the packing for many random shapes. */
START_TEST(random_batches_are_packed_as_the_rules_say)
{
    unsigned r = 1;
    for (int round = 0; round < 300; round++) {
        int64_t at[8], len[8], kept[8], total = 0, wanted = 0;
        int32_t tokens[128], x[1024];
        nn_text_shape s = { .n = 1 + (r = r * 1103515245 + 12345) / 65536 % 6, .length = 1 + (r = r * 1103515245 + 12345) / 65536 % 9 };
        s.capacity = s.n + (r = r * 1103515245 + 12345) / 65536 % (s.n * s.length - s.n + 1);
        for (int i = 0; i < 128; i++)
            tokens[i] = 1000 + i;
        for (int64_t i = 0; i < s.n; i++) {
            at[i] = 16 * i;
            len[i] = (r = r * 1103515245 + 12345) / 65536 % 13;
            kept[i] = len[i] < s.length ? len[i] : s.length;
            total += kept[i];
            wanted += len[i];
        }
        while (total > s.capacity) {
            int64_t longest = 0;
            for (int64_t i = 0; i < s.n; i++)
                longest = kept[i] >= kept[longest] ? i : longest;
            kept[longest]--, total--;
        }
        ck_assert_int_eq(nn_text_pack(&s, tokens, at, len, x), wanted - total);
        for (int64_t i = 0, k = 0; i < s.n; i++)
            for (int64_t j = 0; j < kept[i]; j++, k++) {
                int64_t end = (len[i] < s.length ? len[i] : s.length) - 1;
                expect(x[k] == tokens[at[i] + (j < kept[i] - 1 ? j : end)], "token %lld of text %lld", (long long)j, (long long)i);
                expect(x[s.capacity + k] == i * s.length + j && x[2 * s.capacity + k] == j, "its place");
                expect(x[3 * s.capacity + i * s.length + j] == k, "the token of a place");
            }
    }
}
END_TEST

/* ---- on a tape ---- */

static nn_text text_of(ag_tape *t, const nn_text_shape *s, const int64_t *lengths)
{
    int32_t x[MOST];
    nn_text_pack(s, ids, start, lengths, x);
    ag_tensor *y = ag_value(t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { nn_text_numel(s) } }, x);
    return nn_text_split(t, y, s);
}

static ag_tape *tape(void)
{
    ag_tape *t = ag_tape_new(NULL, NULL);
    ck_assert_ptr_nonnull(t);
    return t;
}

static void read_all(ag_tape *t, ag_tensor *x, ag_real *out)
{
    ag_error err = { 0 };
    ck_assert_msg(ag_tape_status(t, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(ag_read(x, out), AG_OK);
}

START_TEST(unpadding_what_was_padded_gives_the_rows)
{
    nn_text_shape s = { .n = 3, .length = 6, .capacity = 11 };
    ag_tape *t = tape();
    nn_text b = text_of(t, &s, length);
    ag_real rows[22], out[36];
    for (int i = 0; i < 22; i++)
        rows[i] = (ag_real)(i + 1);
    ag_tensor *x = ag_value(t, &(ag_spec){ .ndim = 2, .shape = { 11, 2 } }, rows);
    ag_tensor *padded = nn_text_pad(t, &b, x), *y = nn_text_unpad(t, &b, padded), *g;
    read_all(t, padded, out);
    ck_assert(out[0] == 1 && out[6 * 2] == 7 && out[12 * 2 + 1] == 10);
    read_all(t, y, out);
    for (int i = 0; i < 18; i++)
        ck_assert(out[i] == rows[i]);
    ag_grad(t, nn_text_pool(t, &b, x, NN_POOL_MEAN), NULL, 1, &x, &g);
    read_all(t, g, out);
    for (int i = 0; i < 22; i++)   /* a text's tokens share its mean; what lies behind the last token has none */
        ck_close(out[i], i < 6 ? 1.0 / 3 : i < 8 ? 1 : i < 18 ? 0.2 : 0, 1e-6);
    ck_assert(out[18] == 0 && out[21] == 0);
    ag_tape_free(t);
}
END_TEST

START_TEST(a_text_is_pooled_to_its_mean_its_first_or_its_last_token)
{
    static const struct {
        nn_pooling pooling;
        double want[3];
    } cases[] = { { NN_POOL_MEAN, { 2, 4, 7 } }, { NN_POOL_FIRST, { 1, 4, 5 } }, { NN_POOL_LAST, { 3, 4, 9 } } };
    ag_real rows[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, out[3];
    for (int64_t longest = 5; longest <= 6; longest++)   /* the longest fills its row, or does not */
        for (int i = 0; i < 3; i++) {
            nn_text_shape s = { .n = 3, .length = longest, .capacity = 9 };
            ag_tape *t = tape();
            nn_text b = text_of(t, &s, length);
            ag_tensor *x = ag_value(t, &(ag_spec){ .ndim = 2, .shape = { 9, 1 } }, rows);
            read_all(t, nn_text_pool(t, &b, x, cases[i].pooling), out);
            for (int j = 0; j < 3; j++)
                ck_close(out[j], cases[i].want[j], 1e-6);
            ag_tape_free(t);
        }
}
END_TEST

START_TEST(a_text_without_tokens_has_features_0)
{
    nn_text_shape s = { .n = 3, .length = 5, .capacity = 9 };
    ag_real rows[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, out[3];
    for (int pooling = NN_POOL_MEAN; pooling <= NN_POOL_LAST; pooling++) {
        ag_tape *t = tape();
        nn_text b = text_of(t, &s, (int64_t[]){ 3, 1, 0 });
        ag_tensor *x = ag_value(t, &(ag_spec){ .ndim = 2, .shape = { 9, 1 } }, rows);
        read_all(t, nn_text_pool(t, &b, x, (nn_pooling)pooling), out);
        ck_assert(out[1] == 4 && out[2] == 0);
        ag_tape_free(t);
    }
}
END_TEST

TEST_MAIN(tokens_lie_one_behind_the_other_and_every_place_finds_its_own, a_text_longer_than_allowed_loses_its_end,
          what_is_too_much_together_is_taken_from_the_longest_before_its_last_token, random_batches_are_packed_as_the_rules_say,
          unpadding_what_was_padded_gives_the_rows, a_text_is_pooled_to_its_mean_its_first_or_its_last_token,
          a_text_without_tokens_has_features_0)
