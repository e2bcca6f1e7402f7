/* Derivatives of recorded expressions: the reverse sweep (ag_grad) and the forward sweep (ag_jvp). Both record what
 * they compute on the same tape, so derivatives of derivatives need nothing more. */
#include "autograd/tape_internal.h"

#include <string.h>

/* What a sweep knows of each node; indices are node ids. */
typedef struct sweep {
    ag_tensor **value;               /* the gradient at, or the tangent of, the node; NULL: 0 */
    bool *on_path;                   /* lies between an asked-for input and an output */
    int64_t n;
} sweep;

static bool sweep_init(ag_tape *t, sweep *s, int64_t n)
{
    s->n = n;
    s->value = ag_alloc_zero((size_t)n * sizeof *s->value);
    s->on_path = ag_alloc_zero((size_t)n * sizeof *s->on_path);
    return (s->value && s->on_path) || ag_tape_fail(t, AG_ENOMEM, "gradient: no memory for a sweep over %lld nodes", (long long)n);
}

static void sweep_release(sweep *s)
{
    ag_free(s->value);
    ag_free(s->on_path);
}

/* Marks every node that depends on one of xs through differentiable operators. */
static void mark_dependents(const ag_tape *t, sweep *s, int n_x, ag_tensor *const *xs)
{
    for (int i = 0; i < n_x; i++)
        if (xs[i]->id < s->n)
            s->on_path[xs[i]->id] = true;
    for (int64_t id = 0; id < s->n; id++) {
        const ag_tensor *y = t->node[id];
        for (int k = 0; k < y->n_in && !y->op->not_differentiable; k++)
            s->on_path[id] |= s->on_path[y->in[k]->id];
    }
}

/* A rule's answer must look like what it belongs to; a shared tensor receives the sum over the tasks. */
static ag_tensor *fit(ag_tape *t, const char *rule, const ag_tensor *y, ag_tensor *g, const ag_tensor *like, bool reverse)
{
    char a[AG_SHAPE_TEXT], b[AG_SHAPE_TEXT];
    if (!g)
        return NULL;
    if (!ag_same_shape(g, like)) {
        ag_tape_fail(t, AG_ESHAPE, "%s of %s gave %s where %s is expected", rule, y->op->name, ag_shape_text(g, a),
                     ag_shape_text(like, b));
        return NULL;
    }
    if (!reverse || like->tasks || !y->tasks)
        return g;
    return g->tasks ? ag_task_sum(t, g) : ag_scale(t, g, (double)t->n_task);
}

static ag_tensor *accumulate(ag_tape *t, ag_tensor *sum, ag_tensor *term)
{
    return !sum ? term : !term ? sum : ag_add(t, sum, term);
}

static void reverse_node(ag_tape *t, sweep *s, ag_tensor *y)
{
    for (int k = 0; k < y->n_in; k++) {
        ag_tensor *x = y->in[k];
        if (!s->on_path[x->id])
            continue;
        ag_tensor *g = fit(t, "vjp", y, y->op->vjp(t, y, s->value[y->id], k), x, true);
        s->value[x->id] = accumulate(t, s->value[x->id], g);
    }
}

/* The value as the caller expects it: zeros where there is none, a task axis where `like` has one. */
static ag_tensor *finished(ag_tape *t, ag_tensor *g, const ag_tensor *like)
{
    if (!g)
        g = ag_zeros_like(t, like);
    return like->tasks ? ag_task_expand(t, g) : g;
}

/* What one differentiates by. A constant's uses are folded away, so its derivative would be a silent 0. */
static ag_code check_variables(ag_tape *t, const char *name, int n, ag_tensor *const *xs)
{
    for (int i = 0; i < n; i++) {
        if (!xs[i])
            return AG_EINVAL;
        if (xs[i]->is_scalar)
            ag_tape_fail(t, AG_EINVAL, "%s: input %d is a constant (ag_scalar, ag_full, ag_zeros_like); make it with ag_value",
                         name, i);
    }
    return t->error.code;
}

static ag_code check_seed(ag_tape *t, const ag_tensor *y, const ag_tensor *seed)
{
    char a[AG_SHAPE_TEXT], b[AG_SHAPE_TEXT];
    if (seed && !ag_same_shape(seed, y))
        ag_tape_fail(t, AG_ESHAPE, "ag_grad: seed %s for an output %s", ag_shape_text(seed, a), ag_shape_text(y, b));
    else if (seed && seed->tasks && !y->tasks)
        ag_tape_fail(t, AG_ESHAPE, "ag_grad: a seed with a task axis for an output without");
    return t->error.code;
}

ag_code ag_grad(ag_tape *t, ag_tensor *y, ag_tensor *seed, int n, ag_tensor *const *xs, ag_tensor **grads)
{
    sweep s = { 0 };
    memset(grads, 0, (size_t)n * sizeof *grads);
    if (!y || t->error.code != AG_OK)
        return t->error.code != AG_OK ? t->error.code : AG_EINVAL;
    ag_code code = check_variables(t, "ag_grad", n, xs);
    if (code != AG_OK || (code = check_seed(t, y, seed)) != AG_OK)
        return code;
    if (!sweep_init(t, &s, y->id + 1)) {
        sweep_release(&s);
        return t->error.code;
    }
    mark_dependents(t, &s, n, xs);
    s.value[y->id] = seed ? seed : ag_full(t, 1, y->ndim, y->shape);
    for (int64_t id = y->id; id >= 0 && t->error.code == AG_OK; id--)
        if (s.value[id] && s.on_path[id] && t->node[id]->op && !t->node[id]->op->not_differentiable)
            reverse_node(t, &s, t->node[id]);
    for (int i = 0; i < n; i++)
        grads[i] = finished(t, xs[i]->id <= y->id ? s.value[xs[i]->id] : NULL, xs[i]);
    sweep_release(&s);
    return t->error.code;
}

static void forward_node(ag_tape *t, sweep *s, ag_tensor *y)
{
    for (int k = 0; k < y->n_in && !y->op->not_differentiable; k++) {
        ag_tensor *dx = s->value[y->in[k]->id];
        if (!dx)
            continue;
        ag_tensor *dy = fit(t, "jvp", y, y->op->jvp(t, y, dx, k), y, false);
        s->value[y->id] = accumulate(t, s->value[y->id], dy);
    }
}

/* Marks every node that one of ys depends on. */
static void mark_needed(const ag_tape *t, sweep *s, int n_y, ag_tensor *const *ys)
{
    for (int i = 0; i < n_y; i++)
        s->on_path[ys[i]->id] = true;
    for (int64_t id = s->n - 1; id >= 0; id--) {
        const ag_tensor *y = t->node[id];
        for (int k = 0; k < y->n_in && s->on_path[id]; k++)
            s->on_path[y->in[k]->id] = true;
    }
}

ag_code ag_jvp(ag_tape *t, int n_x, ag_tensor *const *xs, ag_tensor *const *dxs, int n_y, ag_tensor *const *ys,
               ag_tensor **dys)
{
    sweep s = { 0 };
    int64_t last = -1;
    memset(dys, 0, (size_t)n_y * sizeof *dys);
    if (t->error.code != AG_OK)
        return t->error.code;
    for (int i = 0; i < n_y; i++) {
        if (!ys[i])
            return AG_EINVAL;
        last = ys[i]->id > last ? ys[i]->id : last;
    }
    for (int i = 0; i < n_x; i++)
        if (!dxs[i])
            return AG_EINVAL;
    ag_code code = check_variables(t, "ag_jvp", n_x, xs);
    if (code != AG_OK)
        return code;
    if (!sweep_init(t, &s, last + 1)) {
        sweep_release(&s);
        return t->error.code;
    }
    mark_needed(t, &s, n_y, ys);
    for (int i = 0; i < n_x; i++) {
        if (!ag_same_shape(xs[i], dxs[i]))
            ag_tape_fail(t, AG_ESHAPE, "ag_jvp: tangent %d has another shape than its input", i);
        else if (xs[i]->id <= last)
            s.value[xs[i]->id] = dxs[i];
    }
    for (int64_t id = 0; id <= last && t->error.code == AG_OK; id++)
        if (s.on_path[id] && t->node[id]->op && !s.value[id])
            forward_node(t, &s, t->node[id]);
    for (int i = 0; i < n_y; i++)
        dys[i] = finished(t, s.value[ys[i]->id], ys[i]);
    sweep_release(&s);
    return t->error.code;
}
