/* Fused instructions: elementwise operators go one after the other over a tile that stays in the first-level cache, then on
 * to the next tile. Every operator's span sees the numbers it would see alone, so the bits are the same. */
#include "autograd/program.h"
#include "autograd/tape_internal.h"

#include <string.h>

enum { TILE = 512, LONGEST_TILE = 1024 };

/* While a group is built its operands are numbered so; then without gaps. */
enum { FIRST_STORE = AG_MOST_LOADS, FIRST_TEMPORARY = AG_MOST_LOADS + AG_MOST_STEPS };

/* ---- building ---- */

static void describe_load(ag_fused_load *load, const ag_array *a, ag_place from)
{
    memset(load, 0, sizeof *load);   /* padding too: equal loads have equal bytes */
    load->from.base = from.base;
    load->from.offset = from.offset;
    for (int axis = 0; axis < a->rank; axis++) {
        int last = load->n_axis - 1;
        if (a->shape[axis] == 1)
            continue;
        if (last >= 0 && load->stride[last] == a->stride[axis] * a->shape[axis]) {
            load->size[last] *= a->shape[axis];
            load->stride[last] = a->stride[axis];
            continue;
        }
        load->size[load->n_axis] = a->shape[axis];
        load->stride[load->n_axis++] = a->stride[axis];
    }
    if (load->n_axis == 1 && load->stride[0] == 0)
        load->n_axis = 0;
}

/* The load's number in f, which has it once. */
static int add_load(ag_program *p, ag_fused *f, const ag_fused_load *load)
{
    for (int i = 0; i < f->n_load; i++)
        if (memcmp(&f->load[i], load, sizeof *load) == 0)
            return i;
    memcpy(&p->load[p->n_load++], load, sizeof *load);
    return f->n_load++;
}

/* A row that is used again and again (a bias, a channel's mean): the numbers until another one's turn comes; else 0. */
static int64_t repeats_for(const ag_fused_load *l)
{
    int last = l->n_axis - 1;
    return last >= 1 && l->stride[last - 1] == 0 ? l->size[last] * l->size[last - 1] : 0;
}

/* A tile is whole rows of what is loaded, or an even part of one, and goes evenly into what repeats: so rows are used where
 * they lie, and a repeated one is written out a tile long once. */
static int64_t choose_tile(const ag_fused *f)
{
    int64_t row = 0, block = 0;
    for (int i = 0; i < f->n_load; i++) {
        const ag_fused_load *l = &f->load[i];
        int64_t size = l->n_axis > 1 ? l->size[l->n_axis - 1] : 0, repeated = repeats_for(l);
        if (size > row || (size == row && repeated > block)) {
            row = size;
            block = repeated;
        }
    }
    if (row == 0)
        return TILE;
    if (row > LONGEST_TILE) {
        int64_t parts = (row + LONGEST_TILE - 1) / LONGEST_TILE;
        return row % parts == 0 ? row / parts : TILE;
    }
    int64_t rows = (block <= LONGEST_TILE ? LONGEST_TILE : TILE + TILE / 2) / row;
    for (int64_t k = rows; k > 1 && block > 0; k--)
        if (k * row >= TILE / 4 && block % (k * row) == 0)
            return k * row;
    return row < TILE ? row * (TILE / row) : row;
}

typedef struct builder {
    ag_program *p;
    const ag_schedule *s;
    const ag_item *item;
    ag_fused *f;
    int number[AG_MOST_STEPS];       /* each step's result as an operand */
    int last_read[AG_MOST_STEPS];    /* the last step that reads the entry's result; -1 */
    bool busy[AG_MOST_STEPS];        /* temporaries */
} builder;

static const ag_tensor *entry_of(const builder *b, int i)
{
    return b->s->t->node[b->s->entry[b->item->first + i]];
}

static int index_of(const builder *b, int64_t id)
{
    for (int i = 0; i < b->item->n; i++)
        if (b->s->entry[b->item->first + i] == id)
            return i;
    return -1;
}

static void find_last_reads(builder *b)
{
    for (int i = 0; i < b->item->n; i++) {
        const ag_tensor *y = entry_of(b, i);
        b->last_read[i] = -1;
        for (int k = 0; k < y->n_in; k++) {
            int from = index_of(b, y->in[k]->root->id);
            if (from >= 0)
                b->last_read[from] = i;
        }
    }
}

static int free_temporary(builder *b)
{
    int slot = 0;
    while (b->busy[slot])
        slot++;
    b->busy[slot] = true;
    b->f->n_temporary = slot >= b->f->n_temporary ? slot + 1 : b->f->n_temporary;
    return FIRST_TEMPORARY + slot;
}

/* Where step i writes: the node's own memory, if this is its home and it has some, or a temporary. */
static int output_of(builder *b, int i, ag_place_of *place, const void *ctx)
{
    const ag_tensor *y = entry_of(b, i);
    if (y->stage != b->item->stage || !b->s->stored[y->id])
        return free_temporary(b);
    b->p->store[b->p->n_store++] = place(ctx, y);
    return FIRST_STORE + b->f->n_store++;
}

static void build_step(builder *b, int i, ag_place_of *place, const void *ctx)
{
    const ag_tensor *y = entry_of(b, i);
    ag_fused_step *step = &b->p->step[b->p->n_step++];
    ag_call call;
    *step = (ag_fused_step){ .op = y->op, .attr = y->attr, .n_in = y->n_in };
    ag_call_init(&call, y);
    for (int k = 0; k < y->n_in; k++) {
        int from = index_of(b, y->in[k]->root->id);
        ag_fused_load load;
        if (from >= 0) {
            step->in[k] = b->number[from];
            continue;
        }
        describe_load(&load, &call.in[k], place(ctx, y->in[k]));
        step->in[k] = add_load(b->p, b->f, &load);
    }
    step->out = b->number[i] = output_of(b, i, place, ctx);
    for (int j = 0; j <= i; j++)
        if (b->number[j] >= FIRST_TEMPORARY && b->last_read[j] == i)
            b->busy[b->number[j] - FIRST_TEMPORARY] = false;
    b->f->n_step++;
}

static int without_gaps(const ag_fused *f, int number)
{
    if (number >= FIRST_TEMPORARY)
        return f->n_load + f->n_store + number - FIRST_TEMPORARY;
    return number >= FIRST_STORE ? f->n_load + number - FIRST_STORE : number;
}

const ag_fused *ag_fused_build(ag_program *p, const ag_schedule *s, int64_t item, ag_place_of *place, const void *ctx)
{
    builder b = { .p = p, .s = s, .item = &s->item[item], .f = &p->fused[p->n_fused++] };
    ag_fused_step *step = p->step + p->n_step;
    *b.f = (ag_fused){ .total = ag_total(s->t, s->t->node[s->entry[b.item->first]]), .load = p->load + p->n_load, .store = p->store + p->n_store,
                       .step = step, .first_operand = p->n_operand };
    find_last_reads(&b);
    for (int i = 0; i < b.item->n; i++)
        build_step(&b, i, place, ctx);
    for (int i = 0; i < b.f->n_step; i++) {
        step[i].out = without_gaps(b.f, step[i].out);
        for (int k = 0; k < step[i].n_in; k++)
            step[i].in[k] = without_gaps(b.f, step[i].in[k]);
    }
    b.f->tile = choose_tile(b.f);
    p->n_operand += b.f->n_load + b.f->n_store;
    return b.f;
}

static size_t buffer_bytes(const ag_fused *f)
{
    return ((size_t)f->tile * sizeof(ag_real) + 63) / 64 * 64;
}

size_t ag_fused_scratch(const ag_fused *f)
{
    return (size_t)(f->n_load + f->n_temporary) * buffer_bytes(f);
}

/* ---- running ---- */

AG_KERNEL static void fill(ag_real *restrict to, const ag_real *restrict from, int64_t stride, int64_t n)
{
    if (stride == 1) {
        for (int64_t i = 0; i < n; i++)
            to[i] = from[i];
    } else if (stride == 0) {
        for (int64_t i = 0; i < n; i++)
            to[i] = from[0];
    } else {
        for (int64_t i = 0; i < n; i++)
            to[i] = from[i * stride];
    }
}

/* Up to which element a tile's numbers from i on are those of all tiles. */
static int64_t same_until(const ag_fused *f, const ag_fused_load *l, int64_t i)
{
    int64_t block = repeats_for(l);
    if (l->n_axis == 0)
        return f->total;
    return block > 0 && f->tile % l->size[l->n_axis - 1] == 0 && block % f->tile == 0 ? (i / block + 1) * block : i + 1;
}

/* Elements i .. i + n of what is loaded: where they lie if they are contiguous there, else copied to the buffer. */
static const ag_real *load_tile(const ag_fused_load *l, const ag_real *from, int64_t i, int64_t n, ag_real *buffer)
{
    int64_t index[AG_RANK], rest = i, at = 0;
    int last = l->n_axis - 1;
    if (last < 0) {
        fill(buffer, from, 0, n);
        return buffer;
    }
    if (last == 0 && l->stride[0] == 1)
        return from + i;
    for (int axis = last; axis >= 0; axis--) {
        index[axis] = rest % l->size[axis];
        rest /= l->size[axis];
        at += index[axis] * l->stride[axis];
    }
    if (l->stride[last] == 1 && index[last] + n <= l->size[last])
        return from + at;
    for (int64_t done = 0; done < n;) {
        int64_t run = l->size[last] - index[last];
        run = run < n - done ? run : n - done;
        fill(buffer + done, from + at, l->stride[last], run);
        done += run;
        at -= index[last] * l->stride[last];
        index[last] = 0;
        for (int axis = last - 1; axis >= 0; axis--) {
            at += l->stride[axis];
            if (++index[axis] < l->size[axis])
                break;
            at -= l->size[axis] * l->stride[axis];
            index[axis] = 0;
        }
    }
    return buffer;
}

/* All arguments first, then all calls: a span read as a whole right after it was written in parts would wait for the writes. */
static void run_steps(const ag_fused *f, int64_t n, ag_real *const *write, const ag_real *const *read, ag_span *span)
{
    for (int i = 0; i < f->n_step; i++) {
        const ag_fused_step *step = &f->step[i];
        span[i].n = n;
        span[i].y = write[step->out];
        for (int k = 0; k < step->n_in; k++)
            span[i].x[k] = read[step->in[k]];
    }
    for (int i = 0; i < f->n_step; i++)
        f->step[i].op->span(span[i]);
}

void ag_fused_run(const ag_fused *f, void *const *operand, void *scratch)
{
    enum { MOST = AG_MOST_LOADS + 2 * AG_MOST_STEPS };
    const ag_real *read[MOST];
    ag_real *write[MOST] = { 0 };
    int64_t until[AG_MOST_LOADS] = { 0 };
    ag_span span[AG_MOST_STEPS];
    size_t bytes = buffer_bytes(f);
    int n_pointer = f->n_load + f->n_store;
    char *buffer = (char *)scratch + (size_t)f->n_load * bytes;
    for (int i = 0; i < f->n_step; i++)
        span[i] = (ag_span){ .attr = &f->step[i].attr };
    for (int i = 0; i < f->n_temporary; i++)
        read[n_pointer + i] = write[n_pointer + i] = (ag_real *)(void *)(buffer + (size_t)i * bytes);
    for (int64_t i = 0; i < f->total; i += f->tile) {
        int64_t n = f->total - i < f->tile ? f->total - i : f->tile;
        for (int k = 0; k < f->n_load; k++) {
            if (i < until[k])
                continue;
            read[k] = load_tile(&f->load[k], operand[k], i, n, (ag_real *)(void *)((char *)scratch + (size_t)k * bytes));
            until[k] = same_until(f, &f->load[k], i);
        }
        for (int k = f->n_load; k < n_pointer; k++)
            read[k] = write[k] = (ag_real *)operand[k] + i;
        run_steps(f, n, write, read, span);
    }
}
