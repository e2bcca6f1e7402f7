/* Runs a compiled program: a frame is one replay's memory and its bound inputs and outputs. */
#include "autograd/program.h"

struct ag_frame {
    const ag_program *program;
    char *arena;
    void **base;                     /* [program->n_base] */
    ag_call *call;                   /* [program->n_instruction], with data pointers when not stale */
    void **operand;                  /* [program->n_operand], of fused instructions */
    bool stale;                      /* a binding changed since the pointers were set */
};

ag_code ag_frame_new(const ag_program *p, ag_frame **out, ag_error *err)
{
    *out = NULL;
    ag_frame *f = ag_alloc_zero(sizeof *f);
    AG_REQUIRE(f, err, AG_ENOMEM, "ag_frame_new: no memory");
    f->program = p;
    f->stale = true;
    f->base = ag_alloc_zero((size_t)p->n_base * sizeof *f->base);
    f->arena = ag_alloc(p->arena_bytes);
    f->call = ag_alloc((size_t)p->n_instruction * sizeof *f->call);
    f->operand = ag_alloc_zero((size_t)(p->n_operand + 1) * sizeof *f->operand);
    if (!f->base || !f->arena || !f->call || !f->operand) {
        ag_frame_free(f);
        return ag_fail(err, AG_ENOMEM, "ag_frame_new: no memory for an arena of %zu bytes", p->arena_bytes);
    }
    f->base[AG_BASE_ARENA] = f->arena;
    f->base[AG_BASE_CONSTANTS] = p->constants;
    for (int64_t i = 0; i < p->n_instruction; i++)
        f->call[i] = p->instruction[i].call;
    *out = f;
    return AG_OK;
}

void ag_frame_free(ag_frame *f)
{
    if (!f)
        return;
    ag_free(f->base);
    ag_free(f->arena);
    ag_free(f->call);
    ag_free(f->operand);
    ag_free(f);
}

size_t ag_program_frame_bytes(const ag_program *p)
{
    const ag_frame *f;
    return sizeof *f + p->arena_bytes + (size_t)p->n_base * sizeof *f->base + (size_t)p->n_instruction * sizeof *f->call +
           (size_t)(p->n_operand + 1) * sizeof *f->operand;
}

size_t ag_frame_bytes(const ag_frame *f)
{
    return f ? ag_program_frame_bytes(f->program) : 0;
}

static void bind(ag_frame *f, int base, void *data)
{
    if (f->base[base] != data)
        f->stale = true;
    f->base[base] = data;
}

void ag_frame_input(ag_frame *f, int i, const void *data)
{
    if (i >= 0 && i < f->program->n_input)
        bind(f, AG_BASE_FIRST_INPUT + i, (void *)data);
}

void ag_frame_output(ag_frame *f, int i, void *data)
{
    if (i >= 0 && i < f->program->n_output)
        bind(f, AG_BASE_FIRST_INPUT + f->program->n_input + i, data);
}

static void *address(const ag_frame *f, ag_place at)
{
    return (char *)f->base[at.base] + at.offset;
}

static void resolve_fused(ag_frame *f, const ag_fused *fused)
{
    void **operand = f->operand + fused->first_operand;
    for (int i = 0; i < fused->n_load; i++)
        *operand++ = address(f, fused->load[i].from);
    for (int i = 0; i < fused->n_store; i++)
        *operand++ = address(f, fused->store[i]);
}

/* Points every operand at its memory. */
static ag_code resolve(ag_frame *f, ag_error *err)
{
    const ag_program *p = f->program;
    for (int i = 0; i < p->n_base; i++)
        AG_REQUIRE(f->base[i], err, AG_EINVAL, "ag_frame_run: %s %d is not bound", i < AG_BASE_FIRST_INPUT + p->n_input ? "input" : "output",
                   i - AG_BASE_FIRST_INPUT - (i < AG_BASE_FIRST_INPUT + p->n_input ? 0 : p->n_input));
    for (int64_t i = 0; i < p->n_instruction; i++) {
        const ag_instruction *ins = &p->instruction[i];
        f->call[i].scratch = f->arena + p->scratch_offset;
        if (ins->fused) {
            resolve_fused(f, ins->fused);
            continue;
        }
        f->call[i].out.data = address(f, ins->out);
        for (int k = 0; k < ins->call.n_in; k++)
            f->call[i].in[k].data = address(f, ins->in[k]);
    }
    f->stale = false;
    return AG_OK;
}

ag_code ag_frame_run(ag_frame *f, int first_stage, int last_stage, ag_error *err)
{
    AG_REQUIRE(first_stage >= 0 && first_stage <= last_stage && last_stage < AG_MAX_STAGES, err, AG_EINVAL, "ag_frame_run: stages %d to %d; 0 to %d exist",
               first_stage, last_stage, AG_MAX_STAGES - 1);
    if (f->stale)
        AG_TRY(err, resolve(f, err));
    for (int64_t i = f->program->stage_begin[first_stage]; i < f->program->stage_begin[last_stage + 1]; i++) {
        const ag_call *call = &f->call[i];
        const ag_fused *fused = f->program->instruction[i].fused;
        if (fused)
            ag_fused_run(fused, f->operand + fused->first_operand, call->scratch);
        else if (call->op->span)
            ag_elementwise(call);
        else
            call->op->forward(call);
    }
    return AG_OK;
}
