/* Checks derivatives against central differences, by recursion on the rule as a function.
 *
 *     gradcheck c = { .f = my_function, .n = 2, .in = {{ { SHAPE(3, 4) }, -2, 2 }, { { SHAPE(4) }, 0.1, 2 }}, .order = 2 };
 *     char why[GRADCHECK_TEXT];
 *     ck_assert_msg(gradcheck_run(&c, why), "%s", why);
 *
 * For a function y(x) of several tensors, along a random direction v of each input in turn:
 *   forward  ag_jvp(x, v) equals the difference quotient of y, entry by entry;
 *   reverse  <ag_grad(y, u), v> equals <u, difference quotient> for random u.
 * The reverse derivative R(x, u) and the forward derivative F(x, v) are functions again, and order 2 checks them the
 * same way: so reverse over reverse, forward over reverse, reverse over forward and forward over forward are all
 * compared with differences of the first derivative; order 3 goes on from there. A wrong number anywhere in a rule
 * changes a random bilinear form almost surely. Differences: central, Richardson-extrapolated (error h^4).
 *
 * In float32, differences are too coarse for more than the first order; the order is then cut to 1. */
#ifndef TESTS_GRADCHECK_H
#define TESTS_GRADCHECK_H

#include "autograd/autograd.h"

enum { GRADCHECK_TEXT = 512, GRADCHECK_INPUTS = 6 };

typedef struct gradcheck {
    ag_tensor *(*f)(ag_tape *t, ag_tensor *const *x, const void *ctx);
    const void *ctx;
    int n;
    struct {
        ag_spec spec;
        double lo, hi;               /* numbers spread over it, no two alike; both 0: [-2, 2] */
    } in[GRADCHECK_INPUTS];
    int64_t n_task;                  /* 0: 1 */
    int order;                       /* 1 to 3; 0: 2 */
    uint64_t seed;
    double tolerance;                /* relative to the largest entry or 1; 0: the build's */
} gradcheck;

/* True if all is right; else `why` (GRADCHECK_TEXT bytes) tells the first discrepancy. */
bool gradcheck_run(const gradcheck *c, char *why);
/* True if both modes give exactly 0 for every input (for what is marked non-differentiable). */
bool gradcheck_zero(const gradcheck *c, char *why);

#endif
