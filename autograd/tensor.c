/* Tensors: leaves, accessors, and the helpers that shape rules use. */
#include "autograd/tape_internal.h"

#include <stdio.h>
#include <string.h>

/* ---- helpers for shape rules ---- */

int64_t ag_product(int n, const int64_t *shape)
{
    int64_t product = 1;
    for (int i = 0; i < n; i++)
        product *= shape[i];
    return product;
}

void ag_set_shape(ag_tensor *y, ag_dtype dtype, int ndim, const int64_t *shape)
{
    int64_t stride = 1;
    y->dtype = (uint8_t)dtype;
    y->ndim = (uint8_t)ndim;
    for (int i = ndim - 1; i >= 0; i--) {
        y->shape[i] = shape[i];
        y->stride[i] = stride;
        stride *= shape[i];
    }
}

bool ag_same_shape(const ag_tensor *a, const ag_tensor *b)
{
    return a->ndim == b->ndim && memcmp(a->shape, b->shape, a->ndim * sizeof *a->shape) == 0;
}

bool ag_is_contiguous(const ag_tensor *x)
{
    int64_t stride = 1;
    for (int i = x->ndim - 1; i >= 0; i--) {
        if (x->shape[i] != 1 && x->stride[i] != stride)
            return false;
        stride *= x->shape[i];
    }
    return true;
}

bool ag_like_first(ag_tape *t, ag_tensor *y)
{
    for (int i = 0; i < y->n_in; i++) {
        char a[AG_SHAPE_TEXT], b[AG_SHAPE_TEXT];
        if (y->in[i]->dtype != AG_REAL)
            return ag_tape_fail(t, AG_ESHAPE, "%s: input %d is an index tensor; numbers are expected", y->op->name, i);
        if (!ag_same_shape(y->in[0], y->in[i]))
            return ag_tape_fail(t, AG_ESHAPE, "%s: %s and %s differ in shape", y->op->name,
                                ag_shape_text(y->in[0], a), ag_shape_text(y->in[i], b));
    }
    ag_set_shape(y, AG_REAL, y->in[0]->ndim, y->in[0]->shape);
    return true;
}

bool ag_broadcast_shapes(const ag_tensor *a, const ag_tensor *b, int *ndim, int64_t *shape)
{
    *ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (int i = 1; i <= *ndim; i++) {
        int64_t m = i <= a->ndim ? a->shape[a->ndim - i] : 1, n = i <= b->ndim ? b->shape[b->ndim - i] : 1;
        if (m != n && m != 1 && n != 1)
            return false;
        shape[*ndim - i] = m == 1 ? n : m;
    }
    return true;
}

const char *ag_shape_text(const ag_tensor *x, char *buffer)
{
    int used = snprintf(buffer, AG_SHAPE_TEXT, "[");
    for (int i = 0; i < x->ndim; i++)
        used += snprintf(buffer + used, (size_t)(AG_SHAPE_TEXT - used), "%s%lld", i ? "," : "", (long long)x->shape[i]);
    snprintf(buffer + used, (size_t)(AG_SHAPE_TEXT - used), "]");
    return buffer;
}

/* ---- leaves ---- */

static bool check_spec(ag_tape *t, const ag_spec *spec)
{
    if (spec->ndim < 0 || spec->ndim > AG_MAX_DIMS)
        return ag_tape_fail(t, AG_EINVAL, "leaf: %d dimensions; 0 to %d are possible", spec->ndim, AG_MAX_DIMS);
    if (spec->stage < 0 || spec->stage >= AG_MAX_STAGES)
        return ag_tape_fail(t, AG_EINVAL, "leaf: stage %d; 0 to %d are possible", spec->stage, AG_MAX_STAGES - 1);
    int64_t total = t->n_task;
    for (int i = 0; i < spec->ndim; i++) {
        if (spec->shape[i] < 0 || (spec->shape[i] && total > (INT64_MAX >> 8) / spec->shape[i]))
            return ag_tape_fail(t, AG_EINVAL, "leaf: size %lld of axis %d is negative or too large",
                                (long long)spec->shape[i], i);
        total *= spec->shape[i] ? spec->shape[i] : 1;
    }
    return true;
}

static ag_tensor *leaf(ag_tape *t, const ag_spec *spec)
{
    ag_tensor *y = ag_node_new(t);
    if (!y || !check_spec(t, spec))
        return NULL;
    y->tasks = spec->tasks;
    y->stage = (uint8_t)spec->stage;
    ag_set_shape(y, spec->dtype, spec->ndim, spec->shape);
    y->task_stride = y->tasks ? ag_numel(y) : 0;
    return y;
}

ag_tensor *ag_value(ag_tape *t, const ag_spec *spec, const void *data)
{
    ag_tensor *y = leaf(t, spec);
    if (!y)
        return NULL;
    size_t bytes = (size_t)ag_total(t, y) * ag_dtype_bytes(y->dtype);
    y->data = ag_arena_take(&t->arena, bytes);
    if (!y->data) {
        ag_tape_fail(t, AG_ENOMEM, "leaf: no memory for %zu bytes", bytes);
        return NULL;
    }
    if (bytes)
        memcpy(y->data, data, bytes);
    return ag_node_append(t, y) ? y : NULL;
}

ag_tensor *ag_input(ag_tape *t, const ag_spec *spec)
{
    if (!t->symbolic) {
        ag_tape_fail(t, AG_EINVAL, "ag_input: only a symbolic tape has inputs; use ag_value");
        return NULL;
    }
    ag_tensor *y = leaf(t, spec);
    if (!y)
        return NULL;
    y->is_input = true;
    t->n_input++;
    return ag_node_append(t, y) ? y : NULL;
}

ag_tensor *ag_scalar(ag_tape *t, double v)
{
    ag_real value = (ag_real)v;
    ag_tensor *y = ag_value(t, &(ag_spec){ .ndim = 0 }, &value);
    if (y) {
        y->is_scalar = true;
        y->value = v;
    }
    return y;
}

ag_tensor *ag_full(ag_tape *t, double v, int ndim, const int64_t *shape)
{
    return ag_expand(t, ag_scalar(t, v), ndim, shape);
}

ag_tensor *ag_constant(ag_tape *t, double v, int ndim, const int64_t *shape, bool tasks)
{
    ag_tensor *x = ag_full(t, v, ndim, shape);
    return tasks ? ag_task_expand(t, x) : x;
}

ag_tensor *ag_zeros_like(ag_tape *t, const ag_tensor *x)
{
    return x ? ag_constant(t, 0, x->ndim, x->shape, x->tasks) : NULL;
}

/* ---- accessors ---- */

int ag_ndim(const ag_tensor *x)
{
    return x->ndim;
}

const int64_t *ag_shape(const ag_tensor *x)
{
    return x->shape;
}

int64_t ag_numel(const ag_tensor *x)
{
    return ag_product(x->ndim, x->shape);
}

bool ag_has_tasks(const ag_tensor *x)
{
    return x->tasks;
}

/* Copies the strided numbers of one axis and those below it; returns where the next goes. */
static char *read_axis(const ag_tensor *x, int axis, const char *from, char *to, size_t bytes)
{
    if (axis >= x->ndim || axis >= AG_MAX_DIMS) {
        memcpy(to, from, bytes);
        return to + bytes;
    }
    for (int64_t i = 0; i < x->shape[axis]; i++)
        to = read_axis(x, axis + 1, from + (size_t)(i * x->stride[axis]) * bytes, to, bytes);
    return to;
}

ag_code ag_read(const ag_tensor *x, void *out)
{
    if (!x || !x->root->data)
        return AG_EINVAL;
    size_t bytes = ag_dtype_bytes(x->dtype);
    const char *data = (const char *)x->root->data + (size_t)x->offset * bytes;
    int64_t n_task = x->tasks ? x->n_task : 1;
    char *to = out;
    for (int64_t i = 0; i < n_task; i++)
        to = read_axis(x, 0, data + (size_t)(i * x->task_stride) * bytes, to, bytes);
    return AG_OK;
}
