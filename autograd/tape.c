/* The tape: records nodes, evaluates them on the spot unless symbolic, and forgets them by mark and rewind. */
#include "autograd/tape_internal.h"

#include <stdio.h>
#include <string.h>

ag_tape *ag_tape_new(const ag_tape_options *opt, ag_error *err)
{
    ag_tape *t = ag_alloc_zero(sizeof *t);
    if (!t) {
        ag_fail(err, AG_ENOMEM, "ag_tape_new: no memory for a tape");
        return NULL;
    }
    ag_arena_init(&t->arena);
    t->n_task = opt && opt->n_task > 0 ? opt->n_task : 1;
    t->symbolic = opt && opt->symbolic;
    return t;
}

void ag_tape_free(ag_tape *t)
{
    if (!t)
        return;
    ag_arena_release(&t->arena);
    ag_free(t->node);
    ag_free(t->seen);
    ag_free(t);
}

ag_code ag_tape_status(const ag_tape *t, ag_error *err)
{
    if (!t)
        return ag_fail(err, AG_EINVAL, "ag_tape_status: tape is NULL");
    if (t->error.code != AG_OK && err && err->code == AG_OK)
        *err = t->error;
    return t->error.code;
}

bool ag_tape_fail(ag_tape *t, ag_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    ag_fail_v(&t->error, code, fmt, args);
    va_end(args);
    return false;
}

/* ---- the same operator on the same inputs is the same node (symbolic tapes) ---- */

static uint64_t hash_bytes(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;   /* FNV-1a */
    return h;
}

static uint64_t node_hash(const ag_tensor *y)
{
    uint64_t h = hash_bytes(14695981039346656037u, &y->op, sizeof y->op);
    h = hash_bytes(h, y->in, sizeof y->in);
    h = hash_bytes(h, &y->attr, sizeof y->attr);
    return hash_bytes(h, y->shape, sizeof y->shape);
}

static bool same_node(const ag_tensor *a, const ag_tensor *b)
{
    return a->op == b->op && memcmp(a->in, b->in, sizeof a->in) == 0 && memcmp(&a->attr, &b->attr, sizeof a->attr) == 0 &&
           ag_same_shape(a, b);
}

static void seen_insert(ag_tape *t, const ag_tensor *y)
{
    uint64_t slot = node_hash(y) & (uint64_t)(t->seen_size - 1);
    while (t->seen[slot])
        slot = (slot + 1) & (uint64_t)(t->seen_size - 1);
    t->seen[slot] = y->id + 1;
    t->seen_used++;
}

/* Enters the nodes recorded, as many as there is room for. */
static void seen_refill(ag_tape *t)
{
    for (int64_t i = 0; i < t->seen_size; i++)
        t->seen[i] = 0;
    t->seen_used = 0;
    for (int64_t i = 0; i < t->n_node && 2 * (t->seen_used + 1) <= t->seen_size; i++)
        if (t->node[i]->op)
            seen_insert(t, t->node[i]);
}

static ag_tensor *seen_find(ag_tape *t, const ag_tensor *y)
{
    if (!t->seen_size)
        return NULL;
    uint64_t slot = node_hash(y) & (uint64_t)(t->seen_size - 1);
    for (; t->seen[slot]; slot = (slot + 1) & (uint64_t)(t->seen_size - 1)) {
        ag_tensor *other = t->node[t->seen[slot] - 1];
        if (same_node(y, other))
            return other;
    }
    return NULL;
}

/* Makes room for one more; without memory the tape just finds fewer repeats. */
static bool seen_grow(ag_tape *t)
{
    if (2 * (t->seen_used + 1) <= t->seen_size)
        return true;
    int64_t size = t->seen_size ? t->seen_size : 512;
    while (size < 2 * (t->n_node + 1))
        size *= 2;
    int64_t *fresh = ag_alloc_zero((size_t)size * sizeof *fresh);
    if (!fresh)
        return false;
    ag_free(t->seen);
    t->seen = fresh;
    t->seen_size = size;
    seen_refill(t);
    return true;
}

/* ---- mark and rewind ---- */

ag_mark ag_tape_mark(const ag_tape *t)
{
    return (ag_mark){ .n_node = t->n_node, .chunk = t->arena.current, .used = t->arena.used };
}

void ag_tape_rewind(ag_tape *t, ag_mark m)
{
    t->n_node = m.n_node;
    /* Forgotten nodes must not be found again; symbolic tapes are small, so the table is simply made anew. */
    if (t->symbolic) {
        seen_refill(t);
        t->n_input = 0;
        for (int64_t i = 0; i < m.n_node; i++)
            t->n_input += t->node[i]->is_input;
    }
    ag_arena_rewind(&t->arena, m.chunk, m.used);
}

int64_t ag_tape_size(const ag_tape *t)
{
    return t->n_node;
}

int64_t ag_tape_tasks(const ag_tape *t)
{
    return t->n_task;
}

ag_tensor *ag_node_new(ag_tape *t)
{
    if (t->error.code != AG_OK)
        return NULL;
    ag_tensor *y = ag_arena_take(&t->arena, sizeof *y);
    if (!y) {
        ag_tape_fail(t, AG_ENOMEM, "tape: no memory for node %lld", (long long)t->n_node);
        return NULL;
    }
    memset(y, 0, sizeof *y);
    y->root = y;
    y->n_task = t->n_task;
    return y;
}

bool ag_node_append(ag_tape *t, ag_tensor *y)
{
    if (t->n_node == t->capacity) {
        int64_t capacity = t->capacity ? 2 * t->capacity : 256;
        ag_tensor **grown = ag_alloc((size_t)capacity * sizeof *grown);
        if (!grown)
            return ag_tape_fail(t, AG_ENOMEM, "tape: no memory for %lld nodes", (long long)capacity);
        if (t->n_node)
            memcpy(grown, t->node, (size_t)t->n_node * sizeof *grown);
        ag_free(t->node);
        t->node = grown;
        t->capacity = capacity;
    }
    y->id = t->n_node;
    t->node[t->n_node++] = y;
    return true;
}

/* ---- recording ---- */

static bool evaluate(ag_tape *t, ag_tensor *y)
{
    const ag_op *op = y->op;
    int64_t total = ag_total(t, y);
    y->data = ag_arena_take(&t->arena, (size_t)total * ag_dtype_bytes(y->dtype));
    if (!y->data)
        return ag_tape_fail(t, AG_ENOMEM, "%s: no memory for %lld numbers", op->name, (long long)total);
    if (total == 0)
        return true;
    ag_call call;
    ag_call_init(&call, y);
    call.out.data = y->data;
    for (int i = 0; i < y->n_in; i++)
        call.in[i].data = (char *)y->in[i]->root->data + (size_t)y->in[i]->offset * ag_dtype_bytes(y->in[i]->dtype);
    size_t scratch = op->scratch ? op->scratch(&call) : 0;
    if (scratch) {
        call.scratch = ag_alloc(scratch);
        if (!call.scratch)
            return ag_tape_fail(t, AG_ENOMEM, "%s: no memory for %zu bytes of scratch", op->name, scratch);
    }
    if (op->span)
        ag_elementwise(&call);
    else
        op->forward(&call);
    ag_free(call.scratch);
    return true;
}

static bool fill_node(ag_tape *t, ag_tensor *y, const ag_op *op, int n, ag_tensor *const *in, const ag_attr *attr)
{
    y->op = op;
    y->n_in = (uint8_t)n;
    if (attr)
        y->attr = *attr;
    for (int i = 0; i < n; i++) {
        y->in[i] = in[i];
        y->tasks |= in[i]->tasks;
        if (in[i]->stage > y->stage)
            y->stage = in[i]->stage;
    }
    y->dtype = in[0]->dtype;
    if (op->view) {
        y->root = in[0]->root;
        y->offset = in[0]->offset;
        y->task_stride = in[0]->task_stride;
        y->is_scalar = in[0]->is_scalar;
        y->value = in[0]->value;
    }
    if (!op->shape(t, y))
        return false;
    if (!op->view)
        y->task_stride = y->tasks ? ag_numel(y) : 0;
    return true;
}

ag_tensor *ag_apply(ag_tape *t, const ag_op *op, int n, ag_tensor *const *in, const ag_attr *attr)
{
    for (int i = 0; i < n; i++)
        if (!in[i])
            return NULL;
    ag_mark before = ag_tape_mark(t);
    ag_tensor *y = ag_node_new(t);
    if (!y || !fill_node(t, y, op, n, in, attr))
        return NULL;
    if (t->symbolic) {
        ag_tensor *twin = seen_find(t, y);
        if (twin) {
            ag_arena_rewind(&t->arena, before.chunk, before.used);
            return twin;
        }
    } else if (!op->view && !evaluate(t, y)) {
        return NULL;
    }
    bool remember = t->symbolic && seen_grow(t);
    if (!ag_node_append(t, y))
        return NULL;
    if (remember)
        seen_insert(t, y);
    return y;
}

void ag_call_init(ag_call *c, const ag_tensor *y)
{
    memset(c, 0, sizeof *c);
    c->op = y->op;
    c->attr = &y->attr;
    c->n_in = y->n_in;
    for (int k = -1; k < y->n_in; k++) {   /* -1: the result */
        const ag_tensor *x = k < 0 ? y : y->in[k];
        ag_array *a = k < 0 ? &c->out : &c->in[k];
        a->rank = x->ndim + 1;
        a->shape[0] = x->tasks || y->tasks ? y->n_task : 1;   /* a shared input is seen by every task: stride 0 */
        a->stride[0] = x->task_stride;
        memcpy(a->shape + 1, x->shape, x->ndim * sizeof *x->shape);
        memcpy(a->stride + 1, x->stride, x->ndim * sizeof *x->stride);
    }
}
