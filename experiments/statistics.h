/* Statistics that reviewers accept, over the episodes of one protocol and one step. */
#ifndef XP_STATISTICS_H
#define XP_STATISTICS_H

#include <stdint.h>

typedef struct xp_summary {
    int64_t n, diverged;    /* diverged: not finite, or above the limit */
    double mean, ci95;      /* over all n episodes; mean +- 1.96 s / sqrt(n), s with n as in the papers' code; may be inf or nan */
    double mean_finite, ci95_finite;   /* over the episodes that did not diverge */
    double median, min, max;           /* a value that is not finite counts as +inf */
} xp_summary;

/* values[i * stride], i < n; higher than `above` counts as diverged (INFINITY: only the non-finite). */
void xp_summarise(const double *values, int64_t n, int64_t stride, double above, xp_summary *out);

#endif
