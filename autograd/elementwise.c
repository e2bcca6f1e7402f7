/* Drives an elementwise operator's span over strided operands: axes that run on are merged, the innermost axis is
 * cut into blocks, and an operand that is not contiguous there is copied into a block-sized buffer first. So the
 * spans see contiguous memory only, and stay plain loops that the compiler vectorises. */
#include "autograd/op.h"

#include <string.h>

enum { BLOCK = 512, MAX_OPERANDS = AG_MAX_ARITY + 1 };

/* Merged axes, outermost first; operand 0 is the result. */
typedef struct loops {
    int n_axis, n_operand;
    int64_t size[AG_RANK], stride[MAX_OPERANDS][AG_RANK];
} loops;

static bool runs_on(const loops *l, int64_t const *inner, int64_t inner_size)
{
    for (int o = 0; o < l->n_operand; o++)
        if (l->stride[o][l->n_axis - 1] != inner[o] * inner_size)
            return false;
    return true;
}

static void merge_axes(const ag_call *c, loops *l)
{
    l->n_axis = 0;
    l->n_operand = c->n_in + 1;
    for (int axis = 0; axis < c->out.rank; axis++) {
        int64_t size = c->out.shape[axis], inner[MAX_OPERANDS];
        if (size == 1)
            continue;
        for (int o = 0; o < l->n_operand; o++)
            inner[o] = o == 0 ? c->out.stride[axis] : c->in[o - 1].stride[axis];
        bool merged = l->n_axis > 0 && runs_on(l, inner, size);
        int at = merged ? l->n_axis - 1 : l->n_axis++;
        l->size[at] = merged ? l->size[at] * size : size;
        for (int o = 0; o < l->n_operand; o++)
            l->stride[o][at] = inner[o];
    }
    if (l->n_axis == 0) {
        l->n_axis = 1;
        l->size[0] = 1;
        for (int o = 0; o < l->n_operand; o++)
            l->stride[o][0] = 1;
    }
}

static void fill_block(ag_real *restrict to, const ag_real *from, int64_t stride, int64_t n)
{
    if (stride == 0) {
        for (int64_t i = 0; i < n; i++)
            to[i] = from[0];
    } else {
        for (int64_t i = 0; i < n; i++)
            to[i] = from[i * stride];
    }
}

/* One run of the innermost axis where some operand is not contiguous. */
static void run_gathered(const ag_call *c, const loops *l, ag_real *y, const ag_real *const *x)
{
    _Alignas(64) ag_real buffer[AG_MAX_ARITY][BLOCK];
    int axis = l->n_axis - 1;
    int64_t size = l->size[axis];
    ag_span s = { .attr = c->attr };
    for (int k = 0; k < c->n_in; k++)
        if (l->stride[k + 1][axis] == 0)
            fill_block(buffer[k], x[k], 0, size < BLOCK ? size : BLOCK);
    for (int64_t i = 0; i < size; i += BLOCK) {
        s.n = size - i < BLOCK ? size - i : BLOCK;
        s.y = y + i;
        for (int k = 0; k < c->n_in; k++) {
            int64_t stride = l->stride[k + 1][axis];
            s.x[k] = stride == 1 ? x[k] + i : buffer[k];
            if (stride != 0 && stride != 1)
                fill_block(buffer[k], x[k] + i * stride, stride, s.n);
        }
        c->op->span(s);
    }
}

/* Rows of the innermost axis, every operand contiguous along it. Where the rows of the others run on and some operand
 * repeats its one row (a bias, a channel's mean), that row is written out a block long and many rows go as one span. */
static void run_rows(const ag_call *c, const loops *l, int64_t rows, ag_real *y, const ag_real *const *x)
{
    _Alignas(64) ag_real buffer[AG_MAX_ARITY][BLOCK];
    int axis = l->n_axis - 1;
    int64_t n = l->size[axis], together = rows > 1 ? BLOCK / n : 1;
    const int64_t unmoved = 0;
    const int64_t *step[AG_MAX_ARITY];
    for (int k = 0; k < c->n_in; k++) {
        step[k] = rows > 1 ? &l->stride[k + 1][axis - 1] : &unmoved;
        if (rows > 1 && *step[k] != n && *step[k] != 0)
            together = 1;
    }
    together = together < 1 ? 1 : together;
    ag_span s = { .attr = c->attr };
    for (int k = 0; k < c->n_in && together > 1; k++)
        for (int64_t i = 0; i < together && *step[k] == 0; i++)
            memcpy(buffer[k] + i * n, x[k], (size_t)n * sizeof *buffer[k]);
    for (int64_t row = 0; row < rows; row += together) {
        s.n = (rows - row < together ? rows - row : together) * n;
        s.y = y + row * n;
        for (int k = 0; k < c->n_in; k++)
            s.x[k] = together > 1 && *step[k] == 0 ? buffer[k] : x[k] + row * *step[k];
        c->op->span(s);
    }
}

void ag_elementwise(const ag_call *c)
{
    loops l;
    int64_t index[AG_RANK] = { 0 };
    if (ag_array_numel(&c->out) == 0)
        return;
    merge_axes(c, &l);
    ag_real *y = c->out.data;
    const ag_real *x[AG_MAX_ARITY] = { 0 };
    bool contiguous = true;
    for (int k = 0; k < c->n_in; k++) {
        x[k] = c->in[k].data;
        contiguous &= l.stride[k + 1][l.n_axis - 1] == 1;
    }
    bool in_rows = contiguous && l.n_axis >= 2;   /* the last two axes at once */
    for (;;) {
        if (contiguous)
            run_rows(c, &l, in_rows ? l.size[l.n_axis - 2] : 1, y, x);
        else
            run_gathered(c, &l, y, x);
        int axis = l.n_axis - (in_rows ? 3 : 2);
        for (; axis >= 0; axis--) {
            y += l.stride[0][axis];
            for (int k = 0; k < c->n_in; k++)
                x[k] += l.stride[k + 1][axis];
            if (++index[axis] < l.size[axis])
                break;
            y -= l.size[axis] * l.stride[0][axis];
            for (int k = 0; k < c->n_in; k++)
                x[k] -= l.size[axis] * l.stride[k + 1][axis];
            index[axis] = 0;
        }
        if (axis < 0)
            return;
    }
}
