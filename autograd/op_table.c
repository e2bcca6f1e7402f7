/* The table of operators, in the order of ops.h. */
#include "autograd/op.h"

#define AG_OP(name, parameters, meaning) &ag_op_##name,
const ag_op *const ag_op_table[] = {
#include "autograd/ops.h"
    NULL,
};
#undef AG_OP
