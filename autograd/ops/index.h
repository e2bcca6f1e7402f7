/* What operators with int32 indices share. */
#ifndef AG_INDEX_H
#define AG_INDEX_H

#include "autograd/op.h"

#include <string.h>

static inline bool expect(ag_tape *t, const ag_tensor *y, int k, ag_dtype dtype)
{
    if (y->in[k]->dtype != dtype)
        return ag_tape_fail(t, AG_ESHAPE, "%s: input %d must be %s", y->op->name, k, dtype == AG_INT ? "an index tensor (int32)" : "a tensor of numbers");
    if (dtype == AG_INT && !ag_is_contiguous(y->in[k]))
        return ag_tape_fail(t, AG_ESHAPE, "%s: the indices are a view that is not row-major", y->op->name);
    return true;
}

/* Indices whose values are known must be 0 .. n - 1. */
static inline bool in_range(ag_tape *t, const ag_tensor *y, int k, int64_t n)
{
    const ag_tensor *i = y->in[k];
    const int32_t *index = i->root->data;
    int64_t tasks = i->tasks ? i->n_task : 1, count = ag_numel(i);
    for (int64_t task = 0; index && task < tasks; task++)
        for (int64_t j = 0; j < count; j++) {
            int32_t at = index[i->offset + task * i->task_stride + j];
            if (at < 0 || at >= n)
                return ag_tape_fail(t, AG_EINVAL, "%s: index %d at place %lld of task %lld; 0 to %lld are possible", y->op->name,
                                    (int)at, (long long)j, (long long)task, (long long)n - 1);
        }
    return true;
}

static inline const void *of_task(const ag_array *a, int64_t task, size_t bytes)
{
    return (const char *)a->data + (size_t)(task * a->stride[0]) * bytes;
}

/* Row i of n; what is out of range reads row 0, so that a replay never leaves its memory. */
static inline int64_t row_of(int32_t i, int64_t n)
{
    return i >= 0 && i < n ? i : 0;
}

/* Indices 0 .. range - 1 in some order with repeats, for the checks. */
static inline ag_tensor *check_index(ag_tape *t, int64_t range, int ndim, const int64_t *shape)
{
    static const int32_t pattern[] = { 2, 0, 1, 2, 2, 1, 0, 0, 1, 2, 1, 0 };
    int32_t index[sizeof pattern / sizeof *pattern];
    ag_spec spec = { .dtype = AG_INT, .ndim = ndim };
    for (size_t j = 0; j < sizeof pattern / sizeof *pattern; j++)
        index[j] = (int32_t)(pattern[j] % range);
    memcpy(spec.shape, shape, (size_t)ndim * sizeof *shape);
    return ag_value(t, &spec, index);
}

#endif
