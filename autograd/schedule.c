/* The order in which a program computes its nodes, and which of them go through memory in one pass.
 *
 * Nodes are taken stage by stage in the order of recording. An elementwise operator joins the open group of as many numbers;
 * one that reads another group's results, or broadcasts this one's, closes that first, and everything else (a product, a sum)
 * closes all. So groups never depend on one another in a circle, what is used inside its group only never reaches memory,
 * and nothing waits long: groups left open across products took some 5 % longer on Omniglot and held their inputs in memory.
 *
 * A later stage that reads an elementwise result of an earlier one would keep it in memory in between. Where it can be had
 * again, in a few operations, from values that are kept anyway, the group that reads it computes it anew instead. */
#include "autograd/program.h"
#include "autograd/tape_internal.h"

#include <string.h>

enum { MOST_OPEN = 6, MOST_COST = 11, MOST_JOINED = 24, MOST_READ = 16 };

typedef struct group {
    int64_t total;
    int n, n_load;                   /* n_load: at most so many operands */
    int64_t entry[AG_MOST_STEPS];
} group;

typedef struct scheduler {
    ag_schedule *s;
    int64_t n_node;
    const bool *needed;
    bool *kept;                      /* a later stage reads it */
    bool *again;                     /* later stages compute it anew */
    bool *wanted;                    /* in its own stage */
    int *cost;                       /* of computing it anew, in additions; 0: impossible */
    group open[MOST_OPEN];           /* oldest first; none reads another's results */
    int n_open;
    ag_error *err;
} scheduler;

bool ag_aligned(const ag_tensor *x)
{
    const ag_tensor *root = x->root;
    return x->offset == 0 && x->tasks == root->tasks && ag_numel(x) == ag_numel(root) && ag_is_contiguous(x) &&
           (!x->tasks || x->task_stride == root->task_stride);
}

static bool has_work(const scheduler *c, const ag_tensor *y)
{
    return c->needed[y->id] && y->op && !y->op->view && ag_total(c->s->t, y) > 0;
}

static bool elementwise(const ag_tensor *y)
{
    if (!y->op || !y->op->span || y->dtype != AG_REAL)
        return false;
    for (int k = 0; k < y->n_in; k++)
        if (y->in[k]->dtype != AG_REAL)
            return false;
    return true;
}

/* Reads its root's numbers one for one. */
static bool in_step(const ag_tensor *y, const ag_tensor *x)
{
    return ag_aligned(x) && x->tasks == y->tasks;
}

/* ---- what is computed anew ---- */

/* What it costs to have y again in a later stage; 0: impossible, or too much. */
static int cost_again(const scheduler *c, const ag_tensor *y)
{
    if (y->stage == 0 || !elementwise(y))
        return 0;
    int cost = y->op->cost ? y->op->cost : 1;
    for (int k = 0; k < y->n_in; k++) {
        const ag_tensor *x = y->in[k], *root = x->root;
        bool there = !root->op || root->stage < y->stage || c->kept[root->id];
        if (!c->again[root->id] && (there || 8 * ag_total(c->s->t, root) <= ag_total(c->s->t, y)))
            continue;                /* in memory already, or as good as nothing to keep */
        if (!c->again[root->id] || !in_step(y, x))
            return 0;
        cost += c->cost[root->id];
    }
    return cost <= MOST_COST ? cost : 0;
}

static void choose_again(scheduler *c)
{
    for (int64_t id = 0; id < c->n_node; id++) {
        const ag_tensor *y = c->s->t->node[id];
        for (int k = 0; has_work(c, y) && k < y->n_in; k++)
            if (y->in[k]->root->stage < y->stage)
                c->kept[y->in[k]->root->id] = true;
    }
    for (int64_t id = 0; id < c->n_node; id++) {
        const ag_tensor *y = c->s->t->node[id];
        if (has_work(c, y))
            c->again[id] = (c->cost[id] = cost_again(c, y)) > 0 && !c->s->stored[id];
    }
}

/* stored: what a later stage reads in a way that no group can follow. */
static void mark_pinned(scheduler *c)
{
    for (int64_t id = 0; id < c->n_node; id++) {
        const ag_tensor *y = c->s->t->node[id];
        for (int k = 0; has_work(c, y) && k < y->n_in; k++)
            if (y->in[k]->root->stage < y->stage && !(elementwise(y) && in_step(y, y->in[k])))
                c->s->stored[y->in[k]->root->id] = true;
    }
}

/* Whether an item of the stage computes x's numbers anew instead of reading them. */
static bool is_anew(const scheduler *c, const ag_tensor *x, int stage)
{
    return x->root->op && x->root->stage < stage && c->again[x->root->id];
}

/* What an item of the stage needs to compute y. */
static void want_inputs(scheduler *c, const ag_tensor *y, int stage)
{
    for (int k = 0; k < y->n_in; k++)
        if (is_anew(c, y->in[k], stage))
            want_inputs(c, y->in[k]->root, stage);
        else
            c->wanted[y->in[k]->root->id] = true;
}

static void mark_wanted(scheduler *c, int n_out, ag_tensor *const *outs)
{
    for (int i = 0; i < n_out; i++)
        c->wanted[outs[i]->id] = true;
    for (int64_t id = c->n_node - 1; id >= 0; id--)
        if (c->wanted[id] && has_work(c, c->s->t->node[id]))
            want_inputs(c, c->s->t->node[id], c->s->t->node[id]->stage);
}

/* ---- items ---- */

static ag_code append_item(scheduler *c, int stage, int n, const int64_t *entry)
{
    ag_schedule *s = c->s;
    if (s->n_entry + n > s->entry_capacity) {
        int64_t capacity = 2 * (s->entry_capacity + n);
        int64_t *grown = ag_alloc((size_t)capacity * sizeof *grown);
        AG_REQUIRE(grown, c->err, AG_ENOMEM, "compile: no memory for %lld operators", (long long)capacity);
        if (s->n_entry)
            memcpy(grown, s->entry, (size_t)s->n_entry * sizeof *grown);
        ag_free(s->entry);
        s->entry = grown;
        s->entry_capacity = capacity;
    }
    s->item[s->n_item] = (ag_item){ .first = s->n_entry, .stage = stage, .n = n };
    for (int i = 0; i < n; i++) {
        if (s->t->node[entry[i]]->stage == stage)
            s->made_by[entry[i]] = s->n_item;
        s->entry[s->n_entry++] = entry[i];
    }
    s->n_item++;
    return AG_OK;
}

static ag_code close_group(scheduler *c, int g, int stage)
{
    AG_TRY(c->err, append_item(c, stage, c->open[g].n, c->open[g].entry));
    c->n_open--;
    memmove(&c->open[g], &c->open[g + 1], (size_t)(c->n_open - g) * sizeof *c->open);
    return AG_OK;
}

static bool holds(const group *g, int64_t id)
{
    for (int i = 0; i < g->n; i++)
        if (g->entry[i] == id)
            return true;
    return false;
}

/* Whether y reads the group's results so that it cannot be one of `joins` numbers itself. */
static bool must_wait(const group *g, const ag_tensor *y, int64_t joins)
{
    for (int k = 0; k < y->n_in; k++)
        if (holds(g, y->in[k]->root->id) && !(g->total == joins && in_step(y, y->in[k])))
            return true;
    return false;
}

static ag_code close_read(scheduler *c, const ag_tensor *y, int64_t joins)
{
    for (int g = c->n_open - 1; g >= 0; g--)
        if (must_wait(&c->open[g], y, joins))
            AG_TRY(c->err, close_group(c, g, y->stage));
    return AG_OK;
}

/* Steps and, at most, loads that y brings to a group, with what it has to compute anew. */
static void count_new(const scheduler *c, const group *g, const ag_tensor *y, int stage, int *n, int *n_load)
{
    *n += 1;
    for (int k = 0; k < y->n_in; k++) {
        const ag_tensor *root = y->in[k]->root;
        if (holds(g, root->id))
            continue;
        if (is_anew(c, y->in[k], stage))
            count_new(c, g, root, stage, n, n_load);
        else
            *n_load += 1;
    }
}

static void put(const scheduler *c, group *g, const ag_tensor *y, int stage)
{
    for (int k = 0; k < y->n_in; k++)
        if (is_anew(c, y->in[k], stage) && !holds(g, y->in[k]->root->id))
            put(c, g, y->in[k]->root, stage);
    g->entry[g->n++] = y->id;
}

static group *open_group(const scheduler *c, int64_t total)
{
    for (int g = 0; g < c->n_open; g++)
        if (c->open[g].total == total)
            return (group *)&c->open[g];
    return NULL;
}

static ag_code join_group(scheduler *c, const ag_tensor *y)
{
    int64_t total = ag_total(c->s->t, y);
    AG_TRY(c->err, close_read(c, y, total));
    group *g = open_group(c, total);
    int n = g ? g->n : 0, n_load = g ? g->n_load : 0;
    if (g)
        count_new(c, g, y, y->stage, &n, &n_load);
    if (g && (n > MOST_JOINED || n_load > MOST_READ)) {
        AG_TRY(c->err, close_group(c, (int)(g - c->open), y->stage));
        g = NULL;
    }
    if (!g) {
        if (c->n_open == MOST_OPEN)
            AG_TRY(c->err, close_group(c, 0, y->stage));
        g = &c->open[c->n_open++];
        *g = (group){ .total = total };
        n = n_load = 0;
        count_new(c, g, y, y->stage, &n, &n_load);
    }
    put(c, g, y, y->stage);
    g->n_load = n_load;
    return AG_OK;
}

static ag_code close_all(scheduler *c, int stage)
{
    while (c->n_open)
        AG_TRY(c->err, close_group(c, 0, stage));
    return AG_OK;
}

static ag_code take_stage(scheduler *c, int stage)
{
    for (int64_t id = 0; id < c->n_node; id++) {
        const ag_tensor *y = c->s->t->node[id];
        if (!c->wanted[id] || !has_work(c, y) || y->stage != stage)
            continue;
        if (elementwise(y)) {
            AG_TRY(c->err, join_group(c, y));
            continue;
        }
        AG_TRY(c->err, close_all(c, stage));
        AG_TRY(c->err, append_item(c, stage, 1, &id));
    }
    return close_all(c, stage);
}

/* What somebody outside its item reads. */
static void mark_stored(ag_schedule *s, int64_t n_node, int n_out, ag_tensor *const *outs)
{
    memset(s->stored, 0, (size_t)n_node * sizeof *s->stored);
    for (int i = 0; i < n_out; i++)
        s->stored[outs[i]->id] = true;
    for (int64_t i = 0; i < s->n_item; i++)
        for (int64_t e = s->item[i].first; e < s->item[i].first + s->item[i].n; e++) {
            const ag_tensor *y = s->t->node[s->entry[e]];
            for (int k = 0; k < y->n_in; k++)
                if (!ag_item_holds(s, i, y->in[k]->root->id))
                    s->stored[y->in[k]->root->id] = true;
        }
}

bool ag_item_holds(const ag_schedule *s, int64_t item, int64_t id)
{
    for (int64_t e = s->item[item].first; e < s->item[item].first + s->item[item].n; e++)
        if (s->entry[e] == id)
            return true;
    return false;
}

static ag_code take_all(scheduler *c, int n_out, ag_tensor *const *outs)
{
    ag_schedule *s = c->s;
    mark_pinned(c);
    choose_again(c);
    mark_wanted(c, n_out, outs);
    for (int stage = 0; stage < AG_MAX_STAGES; stage++) {
        s->stage_begin[stage] = s->n_item;
        AG_TRY(c->err, take_stage(c, stage));
    }
    s->stage_begin[AG_MAX_STAGES] = s->n_item;
    mark_stored(s, c->n_node, n_out, outs);
    return AG_OK;
}

ag_code ag_schedule_make(ag_schedule *s, const ag_tape *t, int64_t n_node, const bool *needed, int n_out, ag_tensor *const *outs,
                         ag_error *err)
{
    scheduler c = { .s = s, .n_node = n_node, .needed = needed, .err = err };
    size_t n = (size_t)(n_node > 0 ? n_node : 1);
    *s = (ag_schedule){ .t = t };
    bool *marks = ag_alloc_zero(3 * n * sizeof *marks);
    c.cost = ag_alloc_zero(n * sizeof *c.cost);
    s->item = ag_alloc_zero(n * sizeof *s->item);
    s->made_by = ag_alloc(n * sizeof *s->made_by);
    s->stored = ag_alloc_zero(n * sizeof *s->stored);
    ag_code code = AG_OK;
    if (!marks || !c.cost || !s->item || !s->made_by || !s->stored)
        code = ag_fail(err, AG_ENOMEM, "compile: no memory to order %lld operators", (long long)n_node);
    if (code == AG_OK) {
        c.kept = marks;
        c.again = marks + n;
        c.wanted = marks + 2 * n;
        memset(s->made_by, -1, n * sizeof *s->made_by);
        code = take_all(&c, n_out, outs);
    }
    ag_free(marks);
    ag_free(c.cost);
    return code;
}

void ag_schedule_release(ag_schedule *s)
{
    ag_free(s->entry);
    ag_free(s->item);
    ag_free(s->made_by);
    ag_free(s->stored);
}
