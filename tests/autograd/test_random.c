/* Random numbers: Random123's published answers, ranges, rough uniformity, and that names alone decide the numbers. */
#include "autograd/random.h"
#include "tests/check.h"

#include <float.h>

/* kat_vectors of Random123 1.14: philox4x64 with 10 rounds; counter, key, answer. */
static const struct { uint64_t counter[4], key[2], answer[4]; } known[] = {
    { { 0, 0, 0, 0 }, { 0, 0 }, { 0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b } },
    { { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX }, { UINT64_MAX, UINT64_MAX },
      { 0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0 } },
    { { 0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89 }, { 0x452821e638d01377, 0xbe5466cf34e90c6c },
      { 0xa528f45403e61d95, 0x38c72dbd566e9788, 0xa5a1610e72fd18b5, 0x57bd43b5e52b7fe6 } },
};

START_TEST(the_bits_are_those_of_philox4x64_10)
{
    for (int i = 0; i < 3; i++) {
        ag_random r = { .key = { known[i].key[0], known[i].key[1] }, .used = 4 };
        memcpy(r.counter, known[i].counter, sizeof r.counter);
        for (int j = 0; j < 4; j++)
            ck_assert_uint_eq(ag_random_u64(&r), known[i].answer[j]);
        ck_assert_uint_eq(r.counter[0], known[i].counter[0] + 1);
    }
}
END_TEST

START_TEST(the_names_alone_decide_the_numbers)
{
    ag_random a, b;
    ag_random_init(&a, 5, AG_STREAM_TRAIN, 17, 3);
    ag_random_init(&b, 5, AG_STREAM_TRAIN, 17, 3);
    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(ag_random_u64(&a), ag_random_u64(&b));
    ck_assert(ag_random_normal(&a) == ag_random_normal(&b));
    ag_random copy = a;   /* a generator is a plain value, its spare normal included */
    ck_assert(ag_random_normal(&a) == ag_random_normal(&copy));
    ck_assert_uint_eq(ag_random_u64(&a), ag_random_u64(&copy));
}
END_TEST

START_TEST(no_two_names_give_the_same_numbers)
{
    enum { N = 16 };
    uint64_t seen[N * N];
    int n = 0;
    for (uint64_t i = 0; i < N; i++) {
        ag_random r;
        ag_random_init(&r, i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3 & 1);
        for (int j = 0; j < N; j++) {
            uint64_t x = ag_random_u64(&r);
            for (int k = 0; k < n; k++)
                expect(seen[k] != x, "a number twice");
            seen[n++] = x;
        }
    }
}
END_TEST

START_TEST(uniform_numbers_stay_in_their_half_open_range)
{
    ag_random r;
    ag_random_init(&r, 1, AG_STREAM_USER, 0, 0);
    double sum = 0, squares = 0;
    enum { N = 200000 };
    for (int i = 0; i < N; i++) {
        double x = ag_random_uniform(&r, -2, 3);
        expect(x >= -2 && x < 3, "%g", x);
        sum += x;
        squares += (x - 0.5) * (x - 0.5);
    }
    ck_assert(fabs(sum / N - 0.5) < 5 * sqrt(25.0 / 12 / N));
    ck_assert(fabs(squares / N - 25.0 / 12) < 0.03);
    /* The largest 53-bit fraction, where lo + (hi - lo) u would round to hi. */
    static const double ranges[][2] = { { 0.1, 5.0 }, { -1e9, 1 }, { 0, 1 }, { 1, 1 + DBL_EPSILON }, { -5.0, 5.0 }, { 0.25, 1e300 } };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        ag_random top = { .block = { UINT64_MAX, 0 }, .used = 0 };
        double x = ag_random_uniform(&top, ranges[i][0], ranges[i][1]), y = ag_random_uniform(&top, ranges[i][0], ranges[i][1]);
        ck_assert_msg(x < ranges[i][1] && x >= ranges[i][0], "[%g, %g): %.17g", ranges[i][0], ranges[i][1], x);
        ck_assert(y == ranges[i][0]);
    }
    ck_assert(ag_random_uniform(&r, 2, 2) == 2);
}
END_TEST

START_TEST(normal_numbers_have_the_moments_of_a_normal)
{
    enum { N = 200000 };
    ag_random r;
    ag_random_init(&r, 2, AG_STREAM_USER, 0, 0);
    double m[5] = { 0 };
    int within = 0;
    for (int i = 0; i < N; i++) {
        double z = ag_random_normal(&r), p = 1;
        expect(isfinite(z), "%g", z);
        for (int k = 0; k < 5; k++, p *= z)
            m[k] += p / N;
        within += fabs(z) < 1;
    }
    ck_assert(fabs(m[1]) < 0.012 && fabs(m[2] - 1) < 0.017 && fabs(m[3]) < 0.05 && fabs(m[4] - 3) < 0.12);
    ck_assert(fabs((double)within / N - 0.682689) < 0.006);
}
END_TEST

START_TEST(a_normal_of_the_extreme_bits_is_finite)
{
    ag_random r = { .block = { UINT64_MAX, UINT64_MAX, 0, 0 }, .used = 0 };
    for (int i = 0; i < 4; i++)
        ck_assert(isfinite(ag_random_normal(&r)));
}
END_TEST

START_TEST(truncated_normals_stay_within_two_and_have_the_right_variance)
{
    enum { N = 100000 };
    ag_random r;
    ag_random_init(&r, 3, AG_STREAM_USER, 0, 0);
    double squares = 0;
    for (int i = 0; i < N; i++) {
        double z = ag_random_truncated_normal(&r);
        expect(fabs(z) <= 2, "%g", z);
        squares += z * z / N;
    }
    ck_assert(fabs(squares - 0.774131) < 0.012);   /* 1 - 4 phi(2) / (2 Phi(2) - 1) */
}
END_TEST

START_TEST(numbers_below_n_are_uniform_and_without_bias)
{
    static const uint64_t sizes[] = { 1, 2, 3, 7, 10 };
    ag_random r;
    ag_random_init(&r, 4, AG_STREAM_USER, 0, 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        enum { N = 60000 };
        double count[10] = { 0 }, chi = 0, expected = (double)N / (double)sizes[i];
        for (int j = 0; j < N; j++) {
            uint64_t x = ag_random_below(&r, sizes[i]);
            expect(x < sizes[i], "%llu", (unsigned long long)x);
            count[x]++;
        }
        for (uint64_t k = 0; k < sizes[i]; k++)
            chi += (count[k] - expected) * (count[k] - expected) / expected;
        ck_assert_msg(chi < 35, "n = %llu: chi squared %g", (unsigned long long)sizes[i], chi);
    }
    /* Of 3 x 2^62, a plain product would give the first third of each four numbers twice as often. */
    uint64_t n = 3ull << 62, low = 0, draws = 20000;
    for (uint64_t j = 0; j < draws; j++)
        low += ag_random_below(&r, n) % 3 == 0;
    ck_assert(fabs((double)low / (double)draws - 1.0 / 3) < 0.02);
}
END_TEST

START_TEST(a_draw_that_would_favour_some_is_drawn_again)
{
    /* n = 2^63 + 1: the low half of x n must reach 2^64 mod n = 2^63 - 1; x = 0 and x = 1 are refused or not by that. */
    ag_random r = { .block = { 0, 2, 3, 4 }, .used = 0 };
    ck_assert_uint_eq(ag_random_below(&r, (1ull << 63) + 1), 1);   /* 0 is refused, and so is 2 (low half 2); 3 gives 1 */
    ck_assert_uint_eq(r.used, 3);
}
END_TEST

START_TEST(chosen_numbers_are_different_and_uniform_in_every_place)
{
    enum { N = 6, K = 3, DRAWS = 30000 };
    double count[K][N] = { { 0 } };
    ag_random r;
    ag_random_init(&r, 5, AG_STREAM_USER, 0, 0);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t out[K];
        ag_random_choose(&r, N, K, out);
        expect(out[0] != out[1] && out[0] != out[2] && out[1] != out[2], "draw %d repeats", i);
        for (int k = 0; k < K; k++) {
            expect(out[k] < N, "draw %d", i);
            count[k][out[k]]++;
        }
    }
    for (int k = 0; k < K; k++) {
        double chi = 0, expected = (double)DRAWS / N;
        for (int i = 0; i < N; i++)
            chi += (count[k][i] - expected) * (count[k][i] - expected) / expected;
        ck_assert_msg(chi < 25, "place %d: chi squared %g", k, chi);
    }
}
END_TEST

START_TEST(choosing_all_is_a_permutation_and_choosing_none_writes_nothing)
{
    enum { N = 50 };
    uint64_t out[N], none = 77;
    int seen[N] = { 0 };
    ag_random r;
    ag_random_init(&r, 6, AG_STREAM_USER, 0, 0);
    ag_random_choose(&r, N, N, out);
    for (int i = 0; i < N; i++)
        seen[out[i]]++;
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(seen[i], 1);
    ag_random_choose(&r, 5, 0, &none);
    ck_assert_uint_eq(none, 77);
    ag_random_choose(&r, UINT64_MAX, 3, out);   /* needs no memory of size n */
    ck_assert(out[0] != out[1]);
}
END_TEST

TEST_MAIN(the_bits_are_those_of_philox4x64_10, the_names_alone_decide_the_numbers, no_two_names_give_the_same_numbers,
          uniform_numbers_stay_in_their_half_open_range, normal_numbers_have_the_moments_of_a_normal,
          a_normal_of_the_extreme_bits_is_finite, truncated_normals_stay_within_two_and_have_the_right_variance,
          numbers_below_n_are_uniform_and_without_bias, a_draw_that_would_favour_some_is_drawn_again,
          chosen_numbers_are_different_and_uniform_in_every_place, choosing_all_is_a_permutation_and_choosing_none_writes_nothing)
