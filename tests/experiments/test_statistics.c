/* Means, intervals and medians against NumPy (golden_statistics.py) and by properties. */
#include "experiments/statistics.h"
#include "tests/check.h"

#include "golden_statistics.h"

/* Equal as limits are: nan to nan, inf to inf, else to 1e-12 relative. */
static int same(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b))
        return a == b;
    return fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b));
}

static void check_summary(const char *name, const xp_summary *got, const xp_summary *want)
{
    ck_assert_msg(got->n == want->n && got->diverged == want->diverged, "%s: counts", name);
    ck_assert_msg(same(got->mean, want->mean), "%s: mean %.17g, NumPy %.17g", name, got->mean, want->mean);
    ck_assert_msg(same(got->mean_finite, want->mean_finite), "%s: mean_finite", name);
    ck_assert_msg(same(got->median, want->median), "%s: median %.17g, NumPy %.17g", name, got->median, want->median);
    ck_assert_msg(same(got->min, want->min) && same(got->max, want->max), "%s: min or max", name);
    /* NumPy sums pairwise and we in plain order: a deviation of numbers near 1e9 may differ in the 8th digit. */
    double tolerance = fabs(want->mean) > 1e6 ? 1e-6 : 1e-12;
    ck_assert_msg(same(got->ci95, want->ci95) || test_close(got->ci95, want->ci95, tolerance), "%s: ci95 %.17g, NumPy %.17g",
                  name, got->ci95, want->ci95);
    ck_assert_msg(same(got->ci95_finite, want->ci95_finite) || test_close(got->ci95_finite, want->ci95_finite, tolerance),
                  "%s: ci95_finite", name);
}

START_TEST(summaries_agree_with_numpy)
{
    for (size_t i = 0; i < sizeof golden_cases / sizeof *golden_cases; i++) {
        xp_summary got;
        xp_summarise(golden_cases[i].values, golden_cases[i].n, 1, golden_cases[i].above, &got);
        check_summary(golden_cases[i].name, &got, &golden_cases[i].want);
    }
}
END_TEST

START_TEST(a_stride_picks_one_column_of_a_matrix)
{
    double matrix[600][3];
    xp_summary column, alone;
    for (int i = 0; i < 600; i++)
        for (int k = 0; k < 3; k++)
            matrix[i][k] = k == 1 ? golden_normal_600[i] : NAN;
    xp_summarise(&matrix[0][1], 600, 3, 0.5, &column);
    xp_summarise(golden_normal_600, 600, 1, 0.5, &alone);
    ck_assert_mem_eq(&column, &alone, sizeof alone);
}
END_TEST

START_TEST(nothing_summarises_to_nan_and_counts_of_zero)
{
    xp_summary s;
    xp_summarise(NULL, 0, 1, INFINITY, &s);
    ck_assert_int_eq(s.n, 0);
    ck_assert_int_eq(s.diverged, 0);
    ck_assert(isnan(s.mean) && isnan(s.ci95) && isnan(s.mean_finite) && isnan(s.ci95_finite));
    ck_assert(isnan(s.median) && isnan(s.min) && isnan(s.max));
}
END_TEST

START_TEST(the_limit_itself_has_not_diverged)
{
    const double v[] = { 1, 2, 3, -INFINITY };
    xp_summary s;
    xp_summarise(v, 4, 1, 2, &s);
    ck_assert_int_eq(s.diverged, 2);
    ck_assert(s.mean_finite == 1.5);
}
END_TEST

START_TEST(the_median_does_not_depend_on_the_order_of_the_values)
{
    double turned[101];
    xp_summary a, b;
    for (int i = 0; i < 101; i++)
        turned[i] = golden_heavy_tails[(i * 37 + 5) % 101];
    xp_summarise(golden_heavy_tails, 101, 1, INFINITY, &a);
    xp_summarise(turned, 101, 1, INFINITY, &b);
    ck_assert(a.median == b.median && a.min == b.min && a.max == b.max);
}
END_TEST

START_TEST(the_median_of_huge_values_does_not_overflow)
{
    const double v[] = { 1.7e308, 1.6e308 };
    xp_summary s;
    xp_summarise(v, 2, 1, INFINITY, &s);
    ck_assert(fabs(s.median - 1.65e308) < 1e294);
}
END_TEST

TEST_MAIN(summaries_agree_with_numpy, a_stride_picks_one_column_of_a_matrix, nothing_summarises_to_nan_and_counts_of_zero,
          the_limit_itself_has_not_diverged, the_median_does_not_depend_on_the_order_of_the_values,
          the_median_of_huge_values_does_not_overflow)
