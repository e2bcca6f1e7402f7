/* A compiled program's insides, for compile.c (builds it), plan.c (places its buffers) and frame.c (runs it). */
#ifndef AG_PROGRAM_H
#define AG_PROGRAM_H

#include "autograd/op.h"

/* Where an operand's memory is: a base (the arena, the constants, an input or an output) and bytes from it. */
enum { AG_BASE_ARENA = 0, AG_BASE_CONSTANTS, AG_BASE_FIRST_INPUT };

typedef struct ag_place {
    int32_t base;
    int64_t offset;                  /* [bytes] */
} ag_place;

typedef struct ag_instruction {
    ag_call call;                    /* arrays without data pointers */
    ag_attr attr;
    ag_place out, in[AG_MAX_ARITY];
    int stage;
} ag_instruction;

struct ag_program {
    int64_t n_instruction;
    ag_instruction *instruction;     /* by stage, then in the order of recording */
    int64_t stage_begin[AG_MAX_STAGES + 1];
    int n_input, n_output, n_base;   /* outputs follow the inputs among the bases */
    size_t arena_bytes, scratch_offset;
    void *constants;
    size_t constant_bytes;
};

/* A buffer to be placed: needed from instruction `first` to `last`, both included. */
typedef struct ag_buffer {
    int64_t first, last;
    size_t bytes, offset;            /* offset: the answer */
} ag_buffer;

/* Places n buffers so that those needed at the same time do not overlap; *total becomes the size of the whole. Large
 * buffers first, each at the lowest place that is free throughout its life. */
ag_code ag_plan_buffers(int64_t n, ag_buffer *buffer, size_t *total, ag_error *err);

#endif
