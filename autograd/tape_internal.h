/* The tape's insides, for tape.c, leaf.c, grad.c and compile.c. */
#ifndef AG_TAPE_INTERNAL_H
#define AG_TAPE_INTERNAL_H

#include "autograd/arena.h"
#include "autograd/op.h"

struct ag_tape {
    ag_arena arena;
    ag_tensor **node;                /* [n_node] in the order of recording */
    int64_t n_node, capacity;
    int64_t n_task, n_input;
    bool symbolic;
    ag_error error;
    /* Symbolic tapes: the same operator on the same inputs is the same node. Open addressing over node ids. */
    int64_t *seen;                   /* id + 1; 0: free */
    int64_t seen_size, seen_used;
};

/* A cleared node of the tape, not yet appended; NULL after an error. */
ag_tensor *ag_node_new(ag_tape *t);
/* Appends; false after an error. */
bool ag_node_append(ag_tape *t, ag_tensor *y);
static inline size_t ag_dtype_bytes(int dtype)
{
    return dtype == AG_INT ? sizeof(int32_t) : sizeof(ag_real);
}
static inline int64_t ag_total(const ag_tape *t, const ag_tensor *x)   /* elements, all tasks */
{
    return ag_numel(x) * (x->tasks ? t->n_task : 1);
}

#endif
