/* From a symbolic tape to a program: what the outputs do not need is left out (repeats were never recorded), the rest
 * is put in order (schedule.c), and every value that is kept gets a place by its lifetime. */
#include "autograd/program.h"
#include "autograd/tape_internal.h"

#include <stdio.h>
#include <string.h>

/* What compilation knows of each node, by id. */
typedef struct compiler {
    ag_tape *t;
    ag_program *p;
    int n_out;
    ag_tensor **out;                 /* outputs, each with memory of its own */
    bool *needed;
    ag_schedule order;
    int32_t *base;                   /* where root nodes live, AG_BASE_ARENA by default */
    int64_t *buffer_of;              /* root nodes in the arena: index of their buffer; -1 */
    size_t *offset;                  /* root nodes elsewhere: bytes from their base */
    ag_buffer *buffer;
    int64_t n_buffer, n_node;
} compiler;

static ag_code allocate(void **p, int64_t n, size_t size, ag_error *err)
{
    *p = ag_alloc_zero((size_t)(n > 0 ? n : 1) * size);
    AG_REQUIRE(*p, err, AG_ENOMEM, "compile: no memory for %lld entries", (long long)n);
    return AG_OK;
}

/* An output must be written where the caller wants it: views, leaves and repeats are copied. */
static ag_code own_outputs(compiler *c, int n, ag_tensor *const *outs, ag_error *err)
{
    for (int i = 0; i < n; i++) {
        ag_tensor *y = outs[i];
        AG_REQUIRE(y, err, AG_EINVAL, "compile: output %d is NULL", i);
        bool copy = !y->op || y->op->view;
        for (int j = 0; j < i; j++)
            copy |= c->out[j] == y;
        if (copy) {
            AG_REQUIRE(y->dtype == AG_REAL, err, AG_EINVAL, "compile: output %d, an index tensor, is a view or repeated", i);
            /* Marked by a place in the attributes, lest two copies of one value become one node. */
            y = ag_apply(c->t, &ag_op_copy, 1, &y, &(ag_attr){ .i = { 1 + i } });
            AG_TRY(err, ag_tape_status(c->t, err));
        }
        c->out[i] = y;
    }
    return AG_OK;
}

static void mark_needed(compiler *c)
{
    for (int i = 0; i < c->n_out; i++)
        c->needed[c->out[i]->id] = true;
    for (int64_t id = c->n_node - 1; id >= 0; id--)
        for (int k = 0; c->needed[id] && k < c->t->node[id]->n_in; k++)
            c->needed[c->t->node[id]->in[k]->id] = true;
}

/* Whether an instruction writes the node's numbers to memory. */
static bool is_made(const compiler *c, int64_t id)
{
    return c->order.made_by[id] >= 0 && c->order.stored[id];
}

/* Gives inputs and outputs their bases, constants their offsets, and the rest a buffer. */
static void choose_bases(compiler *c)
{
    int32_t next_input = AG_BASE_FIRST_INPUT;
    size_t constants = 0;
    for (int64_t id = 0; id < c->n_node; id++) {
        const ag_tensor *y = c->t->node[id];
        c->buffer_of[id] = -1;
        if (y->is_input) {
            c->base[id] = next_input++;
        } else if (!y->op && c->needed[id]) {
            c->base[id] = AG_BASE_CONSTANTS;
            c->offset[id] = constants;
            constants += ((size_t)ag_total(c->t, y) * ag_dtype_bytes(y->dtype) + 63) / 64 * 64;
        }
    }
    c->p->constant_bytes = constants;
    for (int i = 0; i < c->n_out; i++)
        c->base[c->out[i]->id] = next_input++;
    c->p->n_base = next_input;
    for (int64_t id = 0; id < c->n_node; id++)
        if (is_made(c, id) && c->base[id] == AG_BASE_ARENA)
            c->buffer_of[id] = c->n_buffer++;
}

/* A value lives from its instruction to its last reader; one that a later stage reads lives to the end, because that
 * stage may run again. */
static void find_lifetimes(compiler *c)
{
    const ag_schedule *s = &c->order;
    for (int64_t id = 0; id < c->n_node; id++) {
        const ag_tensor *y = c->t->node[id];
        if (c->buffer_of[id] >= 0)
            c->buffer[c->buffer_of[id]] = (ag_buffer){ .first = s->made_by[id], .last = s->made_by[id],
                .bytes = (size_t)ag_total(c->t, y) * ag_dtype_bytes(y->dtype) };
    }
    for (int64_t i = 0; i < s->n_item; i++)
        for (int64_t e = s->item[i].first; e < s->item[i].first + s->item[i].n; e++) {
            const ag_tensor *y = c->t->node[s->entry[e]];
            for (int k = 0; k < y->n_in; k++) {
                const ag_tensor *root = y->in[k]->root;
                if (c->buffer_of[root->id] < 0 || ag_item_holds(s, i, root->id))
                    continue;
                ag_buffer *b = &c->buffer[c->buffer_of[root->id]];
                int64_t last = root->stage < s->item[i].stage ? s->n_item : i;
                b->last = last > b->last ? last : b->last;
            }
        }
}

static ag_place place_of(const void *ctx, const ag_tensor *x)
{
    const compiler *c = ctx;
    const ag_tensor *root = x->root;
    size_t start = c->buffer_of[root->id] >= 0 ? c->buffer[c->buffer_of[root->id]].offset : c->offset[root->id];
    return (ag_place){ c->base[root->id], (int64_t)start + x->offset * (int64_t)ag_dtype_bytes(x->dtype) };
}

static void emit_one(compiler *c, const ag_tensor *y, ag_instruction *ins)
{
    ins->attr = y->attr;
    ag_call_init(&ins->call, y);
    ins->call.attr = &ins->attr;
    ins->out = place_of(c, y);
    for (int k = 0; k < y->n_in; k++)
        ins->in[k] = place_of(c, y->in[k]);
}

static size_t scratch_of(const ag_instruction *ins)
{
    if (ins->fused)
        return ag_fused_scratch(ins->fused);
    return ins->call.op->scratch ? ins->call.op->scratch(&ins->call) : 0;
}

static void emit(compiler *c)
{
    const ag_schedule *s = &c->order;
    size_t scratch = 0;
    for (int64_t i = 0; i < s->n_item; i++) {
        ag_instruction *ins = &c->p->instruction[i];
        ins->stage = (int)s->item[i].stage;
        if (s->item[i].n > 1)
            ins->fused = ag_fused_build(c->p, s, i, place_of, c);
        else
            emit_one(c, c->t->node[s->entry[s->item[i].first]], ins);
        size_t bytes = scratch_of(ins);
        scratch = bytes > scratch ? bytes : scratch;
    }
    c->p->scratch_offset = c->p->arena_bytes;
    c->p->arena_bytes += (scratch + 63) / 64 * 64;
}

/* Room for the fused instructions' parts, as many as there can be. */
static ag_code allocate_fused(compiler *c, ag_error *err)
{
    const ag_schedule *s = &c->order;
    int64_t n = 0, n_step = 0, n_load = 0;
    for (int64_t i = 0; i < s->n_item; i++)
        for (int64_t e = s->item[i].first; s->item[i].n > 1 && e < s->item[i].first + s->item[i].n; e++) {
            n += e == s->item[i].first;
            n_step++;
            n_load += c->t->node[s->entry[e]]->n_in;
        }
    AG_TRY(err, allocate((void **)&c->p->fused, n, sizeof *c->p->fused, err));
    AG_TRY(err, allocate((void **)&c->p->step, n_step, sizeof *c->p->step, err));
    AG_TRY(err, allocate((void **)&c->p->load, n_load, sizeof *c->p->load, err));
    return allocate((void **)&c->p->store, n_step, sizeof *c->p->store, err);
}

static ag_code copy_constants(compiler *c, ag_error *err)
{
    c->p->constants = ag_alloc(c->p->constant_bytes);
    AG_REQUIRE(c->p->constants, err, AG_ENOMEM, "compile: no memory for %zu bytes of constants", c->p->constant_bytes);
    for (int64_t id = 0; id < c->n_node; id++) {
        const ag_tensor *y = c->t->node[id];
        if (c->base[id] == AG_BASE_CONSTANTS)
            memcpy((char *)c->p->constants + c->offset[id], y->data, (size_t)ag_total(c->t, y) * ag_dtype_bytes(y->dtype));
    }
    return AG_OK;
}

static ag_code build(compiler *c, int n_out, ag_tensor *const *outs, ag_error *err)
{
    AG_TRY(err, allocate((void **)&c->p, 1, sizeof *c->p, err));
    AG_TRY(err, allocate((void **)&c->out, n_out, sizeof *c->out, err));
    AG_TRY(err, own_outputs(c, n_out, outs, err));
    c->n_node = c->t->n_node;
    c->n_out = c->p->n_output = n_out;
    c->p->n_input = (int)c->t->n_input;
    AG_TRY(err, allocate((void **)&c->needed, c->n_node, sizeof *c->needed, err));
    AG_TRY(err, allocate((void **)&c->base, c->n_node, sizeof *c->base, err));
    AG_TRY(err, allocate((void **)&c->buffer_of, c->n_node, sizeof *c->buffer_of, err));
    AG_TRY(err, allocate((void **)&c->offset, c->n_node, sizeof *c->offset, err));
    mark_needed(c);
    AG_TRY(err, ag_schedule_make(&c->order, c->t, c->n_node, c->needed, c->n_out, c->out, err));
    memcpy(c->p->stage_begin, c->order.stage_begin, sizeof c->p->stage_begin);
    c->p->n_instruction = c->order.n_item;
    c->p->n_operator = c->order.n_entry;
    choose_bases(c);
    AG_TRY(err, allocate((void **)&c->buffer, c->n_buffer, sizeof *c->buffer, err));
    AG_TRY(err, allocate((void **)&c->p->instruction, c->p->n_instruction, sizeof *c->p->instruction, err));
    AG_TRY(err, allocate_fused(c, err));
    find_lifetimes(c);
    AG_TRY(err, ag_plan_buffers(c->n_buffer, c->buffer, &c->p->arena_bytes, err));
    emit(c);
    return copy_constants(c, err);
}

ag_code ag_compile(ag_tape *t, int n_out, ag_tensor *const *outs, ag_program **p, ag_error *err)
{
    *p = NULL;
    AG_REQUIRE(t && t->symbolic, err, AG_EINVAL, "ag_compile: a symbolic tape is expected");
    AG_TRY(err, ag_tape_status(t, err));
    compiler c = { .t = t };
    ag_code code = build(&c, n_out, outs, err);
    ag_free(c.out);
    ag_free(c.needed);
    ag_schedule_release(&c.order);
    ag_free(c.base);
    ag_free(c.buffer_of);
    ag_free(c.offset);
    ag_free(c.buffer);
    if (code == AG_OK)
        *p = c.p;
    else
        ag_program_free(c.p);
    return ag_trail(err, code, __func__);
}

void ag_program_free(ag_program *p)
{
    if (!p)
        return;
    ag_free(p->instruction);
    ag_free(p->fused);
    ag_free(p->step);
    ag_free(p->load);
    ag_free(p->store);
    ag_free(p->constants);
    ag_free(p);
}

int64_t ag_program_instructions(const ag_program *p)
{
    return p->n_operator;
}

size_t ag_program_bytes(const ag_program *p)
{
    return p->arena_bytes;
}

static int place_text(char *to, size_t size, const ag_program *p, ag_place at, const ag_array *a)
{
    const char *kind = at.base == AG_BASE_ARENA ? "arena" : at.base == AG_BASE_CONSTANTS ? "const"
                     : at.base < AG_BASE_FIRST_INPUT + p->n_input ? "in" : "out";
    int number = at.base < AG_BASE_FIRST_INPUT ? 0 : (at.base - AG_BASE_FIRST_INPUT) % (p->n_input ? p->n_input : 1);
    if (at.base >= AG_BASE_FIRST_INPUT + p->n_input)
        number = at.base - AG_BASE_FIRST_INPUT - p->n_input;
    int used = snprintf(to, size, " %s%d+%lld[", kind, number, (long long)at.offset);
    for (int i = 0; i < a->rank && used < (int)size; i++)
        used += snprintf(to + used, size - (size_t)used, "%s%lld", i ? "," : "", (long long)a->shape[i]);
    return used < (int)size ? used + snprintf(to + used, size - (size_t)used, "]") : used;
}

/* One operator of a fused instruction: m for memory (loads, then stores), t for temporaries. */
static size_t step_text(char *to, const ag_instruction *ins, int k)
{
    const ag_fused *f = ins->fused;
    const ag_fused_step *step = &f->step[k];
    int n_memory = f->n_load + f->n_store;
    int used = sprintf(to, "%d %s%s", ins->stage, step->op->name, k ? " |" : " (");
    for (int i = -1; i < step->n_in; i++) {
        int at = i < 0 ? step->out : step->in[i];
        used += sprintf(to + used, " %c%d", at < n_memory ? 'm' : 't', at < n_memory ? at : at - n_memory);
    }
    return (size_t)(used + sprintf(to + used, " [%lld]%s\n", (long long)f->total, k == f->n_step - 1 ? " )" : ""));
}

char *ag_program_text(const ag_program *p)
{
    enum { LINE = 640 };
    char *text = ag_alloc((size_t)(p->n_operator + 1) * LINE);
    if (!text)
        return NULL;
    size_t used = 0;
    for (int64_t i = 0; i < p->n_instruction; i++) {
        const ag_instruction *ins = &p->instruction[i];
        char line[LINE];
        for (int k = 0; ins->fused && k < ins->fused->n_step; k++)
            used += step_text(text + used, ins, k);
        if (ins->fused)
            continue;
        int n = snprintf(line, sizeof line, "%d %s", ins->stage, ins->call.op->name);
        n += place_text(line + n, sizeof line - (size_t)n, p, ins->out, &ins->call.out);
        for (int k = 0; k < ins->call.n_in && n < LINE - 80; k++)
            n += place_text(line + n, sizeof line - (size_t)n, p, ins->in[k], &ins->call.in[k]);
        used += (size_t)snprintf(text + used, LINE, "%.*s\n", LINE - 2, line);
    }
    text[used] = '\0';
    return text;
}
