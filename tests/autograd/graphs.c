/* Random graphs (graphs.h). */
#include "tests/autograd/graphs.h"
#include "tests/autograd/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 120 };   /* numbers in one tensor of a graph */

/* What a step works with: the operand x, another y from the pool, and random numbers. */
typedef struct site {
    ag_tape *t;
    ag_random *r;
    ag_tensor *x, *y;
    double bx, by;                   /* bounds of |x|, |y| */
    double bound;                    /* of the result: to be set */
} site;

static int64_t below(site *s, int64_t n)
{
    return (int64_t)ag_random_below(s->r, (uint64_t)n);
}

static ag_tensor *bounded(site *s, ag_tensor *y, double bound)
{
    s->bound = bound;
    return y;
}

/* Steps return NULL, with nothing recorded, where the shapes do not suit. */
static ag_tensor *step_neg(site *s) { return bounded(s, ag_neg(s->t, s->x), s->bx); }
static ag_tensor *step_tanh(site *s) { return bounded(s, ag_tanh(s->t, s->x), 1); }
static ag_tensor *step_sigmoid(site *s) { return bounded(s, ag_sigmoid(s->t, s->x), 1); }
static ag_tensor *step_relu(site *s) { return bounded(s, ag_relu(s->t, s->x), s->bx); }
static ag_tensor *step_gelu(site *s) { return bounded(s, ag_gelu(s->t, s->x), s->bx); }
static ag_tensor *step_gelu_tanh(site *s) { return bounded(s, ag_gelu_tanh(s->t, s->x), s->bx); }
static ag_tensor *step_silu(site *s) { return bounded(s, ag_silu(s->t, s->x), s->bx); }
static ag_tensor *step_abs(site *s) { return bounded(s, ag_abs(s->t, s->x), s->bx); }
static ag_tensor *step_erf(site *s) { return bounded(s, ag_erf(s->t, s->x), 1); }
static ag_tensor *step_exp(site *s) { return s->bx > 2 ? NULL : bounded(s, ag_exp(s->t, s->x), exp(s->bx)); }
static ag_tensor *positive(site *s, ag_tensor *x) { return ag_affine(s->t, ag_square(s->t, x), 1, 0.5); }
static ag_tensor *step_log(site *s) { return bounded(s, ag_log(s->t, positive(s, s->x)), 1 + s->bx); }
static ag_tensor *step_sqrt(site *s) { return bounded(s, ag_sqrt(s->t, positive(s, s->x)), 1 + s->bx); }
static ag_tensor *step_rsqrt(site *s) { return bounded(s, ag_rsqrt(s->t, positive(s, s->x)), 1.5); }
static ag_tensor *step_reciprocal(site *s) { return bounded(s, ag_reciprocal(s->t, positive(s, s->x)), 2); }
static ag_tensor *step_pow_scalar(site *s) { return bounded(s, ag_pow_scalar(s->t, positive(s, s->x), 0.7), 2 + s->bx * s->bx); }
static ag_tensor *step_clip(site *s) { return bounded(s, ag_clip(s->t, s->x, -0.7, 0.6), 1); }
static ag_tensor *step_affine(site *s) { return bounded(s, ag_affine(s->t, s->x, -0.8, 0.3), s->bx + 1); }
static ag_tensor *step_copy(site *s) { return bounded(s, ag_copy(s->t, s->x), s->bx); }
static ag_tensor *step_task_expand(site *s) { return bounded(s, ag_task_expand(s->t, s->x), s->bx); }
static ag_tensor *step_detach(site *s) { return bounded(s, ag_mul(s->t, s->x, ag_detach(s->t, s->x)), s->bx * s->bx); }

static bool fits(const site *s)   /* x and y broadcast to something not too large */
{
    int ndim;
    int64_t shape[AG_MAX_DIMS];
    return ag_broadcast_shapes(s->x, s->y, &ndim, shape) && ag_product(ndim, shape) <= LARGEST;
}

static ag_tensor *step_add(site *s) { return fits(s) ? bounded(s, ag_add(s->t, s->x, s->y), s->bx + s->by) : NULL; }
static ag_tensor *step_sub(site *s) { return fits(s) ? bounded(s, ag_sub(s->t, s->x, s->y), s->bx + s->by) : NULL; }
static ag_tensor *step_mul(site *s) { return fits(s) ? bounded(s, ag_mul(s->t, s->x, s->y), s->bx * s->by) : NULL; }
static ag_tensor *step_div(site *s) { return fits(s) ? bounded(s, ag_div(s->t, s->x, positive(s, s->y)), 2 * s->bx) : NULL; }
static ag_tensor *step_max(site *s) { return fits(s) ? bounded(s, ag_max(s->t, s->x, s->y), s->bx + s->by) : NULL; }
static ag_tensor *step_min(site *s) { return fits(s) ? bounded(s, ag_min(s->t, s->x, s->y), s->bx + s->by) : NULL; }
static ag_tensor *step_gate(site *s) { return fits(s) ? bounded(s, ag_relu_gate(s->t, s->x, s->y), s->by) : NULL; }

static ag_tensor *step_where(site *s)
{
    if (!fits(s))
        return NULL;
    ag_tensor *c = ag_less(s->t, s->x, s->y);
    return bounded(s, ag_where(s->t, c, ag_tanh(s->t, s->x), s->y), 1 + s->by);
}

static ag_tensor *step_pow(site *s)
{
    return fits(s) && s->by < 2.5 ? bounded(s, ag_pow(s->t, positive(s, s->x), s->y), pow(2 + s->bx * s->bx, s->by)) : NULL;
}

/* x y, x y', or x x', whichever fits. */
static ag_tensor *step_matmul(site *s)
{
    ag_tensor *x = s->x, *y = s->y;
    if (x->ndim < 2 || x->shape[x->ndim - 2] * x->shape[x->ndim - 2] > LARGEST)
        return NULL;
    double inner = (double)x->shape[x->ndim - 1];
    if (y->ndim == 2 && y->shape[0] == x->shape[x->ndim - 1] && ag_numel(x) * y->shape[1] <= LARGEST)
        return bounded(s, ag_matmul(s->t, x, y), inner * s->bx * s->by);
    if (y->ndim == 2 && y->shape[1] == x->shape[x->ndim - 1] && ag_numel(x) * y->shape[0] <= LARGEST)
        return bounded(s, ag_matmul(s->t, x, ag_transpose(s->t, y, NULL)), inner * s->bx * s->by);
    if (ag_numel(x) / inner * (double)x->shape[x->ndim - 2] > LARGEST)
        return NULL;
    return bounded(s, ag_matmul(s->t, x, ag_transpose(s->t, x, NULL)), inner * s->bx * s->bx);
}

static unsigned some_axes(site *s)
{
    return (unsigned)below(s, 1 << s->x->ndim);
}

static ag_tensor *step_sum(site *s) { return bounded(s, ag_sum(s->t, s->x, some_axes(s)), s->bx * (double)ag_numel(s->x)); }
static ag_tensor *step_mean_keep(site *s) { return bounded(s, ag_mean_keep(s->t, s->x, some_axes(s)), s->bx); }
static ag_tensor *step_max_over(site *s) { return bounded(s, ag_max_over(s->t, s->x, some_axes(s)), s->bx); }
static ag_tensor *step_logsumexp(site *s) { return bounded(s, ag_logsumexp(s->t, s->x, some_axes(s)), s->bx + 5); }
static ag_tensor *step_softmax(site *s) { return s->x->ndim ? bounded(s, ag_softmax(s->t, s->x), 1) : NULL; }
static ag_tensor *step_log_softmax(site *s) { return s->x->ndim ? bounded(s, ag_log_softmax(s->t, s->x), 5 + 2 * s->bx) : NULL; }

static ag_tensor *step_layer_norm(site *s)
{
    return s->x->ndim && s->x->shape[s->x->ndim - 1] > 1 ? bounded(s, ag_layer_norm(s->t, s->x, 0.1, NULL, NULL), 6) : NULL;
}

static ag_tensor *step_transpose(site *s)
{
    int axes[AG_MAX_DIMS];
    for (int i = 0; i < s->x->ndim; i++)
        axes[i] = i;
    for (int i = s->x->ndim; i > 1; i--) {
        int j = (int)below(s, i), swap = axes[i - 1];
        axes[i - 1] = axes[j];
        axes[j] = swap;
    }
    return s->x->ndim < 2 ? NULL : bounded(s, ag_transpose(s->t, s->x, axes), s->bx);
}

static ag_tensor *step_flatten(site *s) { return bounded(s, ag_flatten(s->t, s->x, (int)below(s, s->x->ndim + 1)), s->bx); }

static ag_tensor *step_slice(site *s)
{
    if (s->x->ndim == 0)
        return NULL;
    int axis = (int)below(s, s->x->ndim);
    int64_t size = s->x->shape[axis], begin = size ? below(s, size) : 0;
    return size < 2 ? NULL : bounded(s, ag_slice(s->t, s->x, axis, begin, begin + 1 + below(s, size - begin)), s->bx);
}

static ag_tensor *step_pad(site *s)
{
    if (s->x->ndim == 0 || ag_numel(s->x) * 3 > LARGEST)
        return NULL;
    int axis = (int)below(s, s->x->ndim);
    return bounded(s, ag_pad(s->t, s->x, axis, below(s, 2), below(s, 3)), s->bx);
}

static ag_tensor *step_concat(site *s)
{
    if (s->x->ndim == 0 || 2 * ag_numel(s->x) > LARGEST)
        return NULL;
    ag_tensor *other = ag_same_shape(s->x, s->y) ? s->y : s->x;
    return bounded(s, ag_concat(s->t, s->x, other, (int)below(s, s->x->ndim)), s->bx + s->by);
}

static ag_tensor *step_expand(site *s)
{
    int64_t shape[AG_MAX_DIMS] = { 2 };
    if (s->x->ndim >= 4 || 2 * ag_numel(s->x) > LARGEST)
        return NULL;
    memcpy(shape + 1, s->x->shape, s->x->ndim * sizeof *shape);
    return bounded(s, ag_expand(s->t, s->x, s->x->ndim + 1, shape), s->bx);
}

/* Random indices 0 .. n - 1. */
static ag_tensor *indices(site *s, int64_t count, int64_t n)
{
    int32_t index[LARGEST];
    for (int64_t i = 0; i < count; i++)
        index[i] = (int32_t)below(s, n);
    return ag_value(s->t, &(ag_spec){ .dtype = AG_INT, SHAPE(count) }, index);
}

static ag_tensor *step_gather(site *s)
{
    if (s->x->ndim == 0 || s->x->shape[0] == 0 || ag_numel(s->x) / s->x->shape[0] * 3 > LARGEST)
        return NULL;
    return bounded(s, ag_gather(s->t, s->x, indices(s, 3, s->x->shape[0])), s->bx);
}

static ag_tensor *step_scatter_add(site *s)
{
    if (s->x->ndim == 0 || s->x->shape[0] == 0 || ag_numel(s->x) / s->x->shape[0] * 4 > LARGEST)
        return NULL;
    return bounded(s, ag_scatter_add(s->t, s->x, indices(s, s->x->shape[0], 4), 4), s->bx * (double)s->x->shape[0]);
}

static ag_tensor *step_cross_entropy(site *s)
{
    if (s->x->ndim != 2 || s->x->shape[1] == 0)
        return NULL;
    return bounded(s, ag_cross_entropy(s->t, s->x, indices(s, s->x->shape[0], s->x->shape[1])), 5 + 2 * s->bx);
}

/* x as one image of one channel. */
static ag_tensor *image(site *s)
{
    if (s->x->ndim != 2 || s->x->shape[0] < 2 || s->x->shape[1] < 2)
        return NULL;
    return ag_reshape(s->t, s->x, 4, (int64_t[]){ 1, s->x->shape[0], s->x->shape[1], 1 });
}

static ag_tensor *step_conv2d(site *s)
{
    ag_tensor *x = ag_numel(s->y) >= 8 ? image(s) : NULL;
    if (!x || 2 * ag_numel(x) > LARGEST)
        return NULL;
    ag_tensor *w = ag_reshape(s->t, ag_slice(s->t, ag_flatten(s->t, s->y, 0), 0, 0, 8), 4, (int64_t[]){ 2, 2, 1, 2 });
    ag_conv c = ag_conv_same(x->shape[1], x->shape[2], 2, 2, 1 + below(s, 2));
    ag_tensor *y = ag_conv2d(s->t, x, w, &c);
    return bounded(s, y ? ag_reshape(s->t, y, 2, (int64_t[]){ y->shape[1], y->shape[2] * 2 }) : NULL, 4 * s->bx * s->by);
}

static ag_tensor *step_pool(site *s)
{
    ag_tensor *x = image(s), *y = !x ? NULL : below(s, 2) ? ag_max_pool2d(s->t, x, 2, 2, true) : ag_avg_pool2d(s->t, x, 2, 1);
    return bounded(s, y ? ag_reshape(s->t, y, 2, (int64_t[]){ y->shape[1], y->shape[2] }) : NULL, s->bx);
}

#define STEP(name) { #name, step_##name }
static const struct { const char *name; ag_tensor *(*apply)(site *s); } steps[] = {
    STEP(neg), STEP(tanh), STEP(sigmoid), STEP(relu), STEP(gelu), STEP(gelu_tanh), STEP(silu), STEP(abs), STEP(erf), STEP(exp),
    STEP(log), STEP(sqrt), STEP(rsqrt), STEP(reciprocal), STEP(pow_scalar), STEP(clip), STEP(affine), STEP(copy),
    STEP(task_expand), STEP(detach), STEP(add), STEP(sub), STEP(mul), STEP(div), STEP(max), STEP(min), STEP(gate), STEP(where),
    STEP(pow), STEP(matmul), STEP(matmul), STEP(matmul), STEP(sum), STEP(mean_keep), STEP(max_over), STEP(logsumexp),
    STEP(softmax), STEP(log_softmax), STEP(layer_norm), STEP(transpose), STEP(flatten), STEP(slice), STEP(pad), STEP(concat),
    STEP(expand), STEP(gather), STEP(scatter_add), STEP(cross_entropy), STEP(conv2d), STEP(conv2d), STEP(pool),
};
enum { N_STEP = sizeof steps / sizeof *steps };

void graph_choose(graph *g, uint64_t id)
{
    static const ag_spec shapes[] = { { SHAPE(3, 4) }, { SHAPE(4, 3) }, { SHAPE(3, 3) }, { SHAPE(4) }, { SHAPE(2, 3, 4) }, { .ndim = 0 },
                                      { SHAPE(3, 1) }, { SHAPE(5, 4) } };
    ag_random r;
    ag_random_init(&r, id, AG_STREAM_USER, 1, 0);
    memset(g, 0, sizeof *g);
    g->id = id;
    g->n_task = 1 + (int64_t)ag_random_below(&r, 3);
    g->n_leaf = 2 + (int)ag_random_below(&r, 3);
    g->n_step = 5 + (int)ag_random_below(&r, 21);
    for (int i = 0; i < g->n_leaf; i++) {
        g->leaf[i] = shapes[ag_random_below(&r, sizeof shapes / sizeof *shapes)];
        g->leaf[i].tasks = ag_random_below(&r, 2);
        g->leaf[i].stage = (int)ag_random_below(&r, AG_MAX_STAGES);
    }
}

void graph_numbers(const graph *g, uint64_t version, ag_real **data)
{
    ag_random r;
    ag_random_init(&r, g->id, AG_STREAM_USER, 2, version);
    for (int i = 0; i < g->n_leaf; i++)
        data[i] = random_reals(&r, spec_total(&g->leaf[i], g->n_task), -1.5, 1.5);
}

/* text, if not NULL, receives the names. */
static int build(const graph *g, ag_tape *t, ag_tensor *const *leaf, ag_tensor **pool, char *text, size_t size)
{
    double bound[GRAPH_POOL];
    int n = g->n_leaf;
    ag_random r;
    ag_random_init(&r, g->id, AG_STREAM_USER, 3, 0);
    for (int i = 0; i < n; i++) {
        pool[i] = leaf[i];
        bound[i] = 1.5;
    }
    for (int tries = 0; n < g->n_leaf + g->n_step && tries < 1000; tries++) {
        const int pick = (int)ag_random_below(&r, N_STEP), i = (int)ag_random_below(&r, (uint64_t)n), j = (int)ag_random_below(&r, (uint64_t)n);
        site s = { .t = t, .r = &r, .x = pool[i], .y = pool[j], .bx = bound[i], .by = bound[j] };
        ag_tensor *y = steps[pick].apply(&s);
        if (ag_tape_status(t, NULL) != AG_OK)
            return n;
        if (!y)
            continue;
        pool[n] = s.bound > 8 ? ag_tanh(t, y) : y;
        bound[n++] = s.bound > 8 ? 1 : s.bound;
        if (text)
            snprintf(text + strlen(text), size - strlen(text), " %s(%d,%d)", steps[pick].name, i, j);
    }
    return n;
}

int graph_build(const graph *g, ag_tape *t, ag_tensor *const *leaf, ag_tensor **pool)
{
    return build(g, t, leaf, pool, NULL, 0);
}

ag_tensor *graph_loss(const graph *g, ag_tape *t, ag_tensor *const *pool, int n)
{
    ag_tensor *loss = NULL;
    int first = n - 4 > g->n_leaf ? n - 4 : g->n_leaf;
    for (int i = first; i < n; i++) {
        ag_tensor *term = ag_sum(t, ag_mul(t, pool[i], ag_tanh(t, ag_affine(t, pool[i], 0.5, 0.2))), AG_ALL_AXES);
        loss = loss ? ag_add(t, loss, term) : term;
    }
    return loss;
}

const char *graph_text(const graph *g)
{
    static char text[2048];
    ag_real *data[GRAPH_LEAVES];
    ag_tensor *leaf[GRAPH_LEAVES], *pool[GRAPH_POOL];
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .n_task = g->n_task }, NULL);
    snprintf(text, sizeof text, "graph %llu:", (unsigned long long)g->id);
    graph_numbers(g, 0, data);
    for (int i = 0; i < g->n_leaf; i++) {
        leaf[i] = ag_value(t, &g->leaf[i], data[i]);
        free(data[i]);
    }
    build(g, t, leaf, pool, text, sizeof text);
    ag_tape_free(t);
    return text;
}
