/* Mean, confidence interval, median over episodes (statistics.h). Sums run in plain order, so the same numbers
 * give the same bits; nothing is allocated, so nothing can fail. */
#include "experiments/statistics.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

typedef struct sample {
    const double *values;
    int64_t n, stride;
    double above;
} sample;

static bool diverged(const sample *s, double v)
{
    return !isfinite(v) || v > s->above;
}

/* Mean and 1.96 s / sqrt(n) over all values, or over those that did not diverge; NaN when there are none. */
static void mean_and_ci(const sample *s, bool all, double *mean, double *ci)
{
    double sum = 0, squares = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < s->n; i++) {
        double v = s->values[i * s->stride];
        if (all || !diverged(s, v)) {
            sum += v;
            n++;
        }
    }
    *mean = n ? sum / (double)n : NAN;
    for (int64_t i = 0; i < s->n; i++) {
        double v = s->values[i * s->stride];
        if (all || !diverged(s, v))
            squares += (v - *mean) * (v - *mean);
    }
    *ci = n ? 1.96 * sqrt(squares / (double)n) / sqrt((double)n) : NAN;
}

/* A whole number that orders as the value does; what is not finite is +infinity, -0 is 0. */
static uint64_t order_key(double v)
{
    uint64_t bits;
    v = isfinite(v) ? v + 0.0 : INFINITY;
    memcpy(&bits, &v, sizeof bits);
    return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

static double from_order_key(uint64_t key)
{
    double v;
    uint64_t bits = key >> 63 ? key & ~(UINT64_C(1) << 63) : ~key;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The value with `rank` values before it in ascending order, by halving the range of keys: 64 passes, no copy. */
static double value_of_rank(const sample *s, int64_t rank)
{
    uint64_t low = 0, high = UINT64_MAX;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int64_t up_to = 0;
        for (int64_t i = 0; i < s->n; i++)
            up_to += order_key(s->values[i * s->stride]) <= middle;
        if (up_to > rank)
            high = middle;
        else
            low = middle + 1;
    }
    return from_order_key(low);
}

void xp_summarise(const double *values, int64_t n, int64_t stride, double above, xp_summary *out)
{
    const sample s = { values, n, stride, above };
    *out = (xp_summary){ .n = n, .median = NAN, .min = NAN, .max = NAN };
    for (int64_t i = 0; i < n; i++)
        out->diverged += diverged(&s, values[i * stride]);
    mean_and_ci(&s, true, &out->mean, &out->ci95);
    mean_and_ci(&s, false, &out->mean_finite, &out->ci95_finite);
    if (n <= 0)
        return;
    out->min = value_of_rank(&s, 0);
    out->max = value_of_rank(&s, n - 1);
    out->median = value_of_rank(&s, n / 2);
    if (n % 2 == 0)
        out->median = value_of_rank(&s, n / 2 - 1) / 2 + out->median / 2;
}
