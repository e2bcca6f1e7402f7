/* A compiled program's insides: compile.c builds it with schedule.c (order and groups), fused.c (one pass for a group) and
 * plan.c (places); frame.c runs it. */
#ifndef AG_PROGRAM_H
#define AG_PROGRAM_H

#include "autograd/op.h"

/* ---- the order of things ---- */

/* What becomes one instruction: `n` operators from `first` of the schedule's entries, in their order. More than one are
 * elementwise, of as many numbers each, and go through memory in one pass. */
typedef struct ag_item {
    int64_t first, stage;
    int n;
} ag_item;

typedef struct ag_schedule {
    const ag_tape *t;
    int64_t *entry;                  /* [n_entry] node ids. A node may come twice: again where an item computes it anew */
    int64_t n_entry, entry_capacity;
    ag_item *item;                   /* [n_item] by stage; inputs before what reads them */
    int64_t n_item;
    int64_t stage_begin[AG_MAX_STAGES + 1];   /* items */
    int64_t *made_by;                /* [n_node] the item of its own stage; -1: none */
    bool *stored;                    /* [n_node] has memory: someone outside its item reads it */
} ag_schedule;

enum { AG_MOST_STEPS = 40, AG_MOST_LOADS = 80 };   /* of one item: three inputs computed anew, see MOST_COST in schedule.c */

/* Orders the needed nodes. s is to be released whatever comes back. */
ag_code ag_schedule_make(ag_schedule *s, const ag_tape *t, int64_t n_node, const bool *needed, int n_out, ag_tensor *const *outs,
                         ag_error *err);
void ag_schedule_release(ag_schedule *s);
bool ag_item_holds(const ag_schedule *s, int64_t item, int64_t id);
/* Whether element i of x, in row-major order over the tasks, is element i of its root's memory. */
bool ag_aligned(const ag_tensor *x);

/* ---- instructions ---- */

/* Where an operand's memory is: a base (the arena, the constants, an input or an output) and bytes from it. */
enum { AG_BASE_ARENA = 0, AG_BASE_CONSTANTS, AG_BASE_FIRST_INPUT };

typedef struct ag_place {
    int32_t base;
    int64_t offset;                  /* [bytes] */
} ag_place;

/* What a fused instruction reads: axes that run on are merged; contiguous: one axis of stride 1; one number: none. */
typedef struct ag_fused_load {
    ag_place from;
    int n_axis;
    int64_t size[AG_RANK], stride[AG_RANK];
} ag_fused_load;

/* One operator on one tile. Operands are numbered: loads, then stores, then temporaries. */
typedef struct ag_fused_step {
    const ag_op *op;
    ag_attr attr;
    int n_in, out, in[AG_MAX_ARITY];
} ag_fused_step;

typedef struct ag_fused {
    int64_t total, tile;             /* numbers in all; in a tile */
    int n_load, n_store, n_temporary, n_step;
    const ag_fused_load *load;
    const ag_place *store;
    const ag_fused_step *step;
    int64_t first_operand;           /* of the frame's pointers, loads then stores */
} ag_fused;

typedef struct ag_instruction {
    ag_call call;                    /* arrays without data pointers */
    ag_attr attr;
    ag_place out, in[AG_MAX_ARITY];
    int stage;
    const ag_fused *fused;           /* NULL: one operator, `call` */
} ag_instruction;

struct ag_program {
    int64_t n_instruction, n_operator;
    ag_instruction *instruction;     /* by stage */
    int64_t stage_begin[AG_MAX_STAGES + 1];
    int n_input, n_output, n_base;   /* outputs follow the inputs among the bases */
    size_t arena_bytes, scratch_offset;
    void *constants;
    size_t constant_bytes;
    int64_t n_fused, n_step, n_load, n_store, n_operand;   /* what is used of: */
    ag_fused *fused;
    ag_fused_step *step;
    ag_fused_load *load;
    ag_place *store;
};

/* Builds the fused instruction of an item in the program's arrays, which have room for it; places are those that place()
 * tells. Its temporaries need ag_fused_scratch bytes. */
typedef ag_place ag_place_of(const void *ctx, const ag_tensor *x);
const ag_fused *ag_fused_build(ag_program *p, const ag_schedule *s, int64_t item, ag_place_of *place, const void *ctx);
size_t ag_fused_scratch(const ag_fused *f);
/* operand [n_load + n_store] */
void ag_fused_run(const ag_fused *f, void *const *operand, void *scratch);

/* A buffer to be placed: needed from instruction `first` to `last`, both included. */
typedef struct ag_buffer {
    int64_t first, last;
    size_t bytes, offset;            /* offset: the answer */
} ag_buffer;

/* Places n buffers so that those needed at the same time do not overlap; *total becomes the size of the whole. Large
 * buffers first, each at the lowest place that is free throughout its life. */
ag_code ag_plan_buffers(int64_t n, ag_buffer *buffer, size_t *total, ag_error *err);

#endif
