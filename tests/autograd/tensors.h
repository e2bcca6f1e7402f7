/* What the tests of this room share: shapes, random tensors, reading back, and tolerance by build. */
#ifndef TESTS_TENSORS_H
#define TESTS_TENSORS_H

#include "autograd/autograd.h"
#include "autograd/op.h"
#include "autograd/random.h"

#ifdef AG_DOUBLE
#define TIGHT 1e-12   /* rounding of a few operations */
#else
#define TIGHT 2e-5
#endif

/* SHAPE(2, 3): the ndim and shape of an ag_spec. */
#define SHAPE(...) .ndim = (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), .shape = { __VA_ARGS__ }

/* Elements of a leaf of this spec over all tasks. */
int64_t spec_total(const ag_spec *spec, int64_t n_task);
/* n numbers from [lo, hi); freed with free. */
ag_real *random_reals(ag_random *r, int64_t n, double lo, double hi);
/* A leaf of random numbers; *data (may be NULL) receives them and is then the caller's to free. */
ag_tensor *random_leaf(ag_tape *t, ag_random *r, const ag_spec *spec, double lo, double hi, ag_real **data);
/* The tensor's numbers over all tasks, freed with free; fails the test if it is NULL or not evaluated. */
ag_real *read_all(const ag_tensor *x);
int32_t *read_ints(const ag_tensor *x);
int64_t total_of(const ag_tensor *x);
/* An eager tape of n_task tasks, and its end: fails the test if the tape has an error. */
ag_tape *eager(int64_t n_task);
void finish(ag_tape *t);
/* METALORA_TEST_EFFORT, a percentage (default 100), scales how many random cases are tried; at least 1. */
int effort(int n);
/* NULL where |a - b| <= tolerance max(1, |a|, |b|) throughout, NaN equal to NaN; else where they differ (static). */
const char *differ(const ag_real *a, const ag_real *b, int64_t n, double tolerance);

#endif
