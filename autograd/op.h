/* What the author of an operator needs (docs/howto-operator.md has the steps).
 *
 *     AG_KERNEL static void tanh_span(ag_span s) { for (i < s.n) s.y[i] = tanh(s.x[0][i]); }
 *     static ag_tensor *tanh_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
 *     {
 *         return ag_mul(t, g, ag_one_minus(t, ag_square(t, y)));      // (1 - y^2) g
 *     }
 *     const ag_op ag_op_tanh = { .name = "tanh", .arity = 1, .span = tanh_span, .shape = ag_like_first,
 *                                .vjp = tanh_rule, .jvp = tanh_rule, .check = {{ .n = 1, .in = {{ 2, { 3, 4 } }} }} };
 *     ag_tensor *ag_tanh(ag_tape *t, ag_tensor *x) { return ag_apply(t, &ag_op_tanh, 1, &x, NULL); } */
#ifndef AG_OP_H
#define AG_OP_H

#include "autograd/autograd.h"

#include <math.h>

enum { AG_MAX_ARITY = 3, AG_RANK = AG_MAX_DIMS + 1, AG_ATTR_INTS = 12, AG_MAX_CHECKS = 6 };

/* Kernels are compiled for several instruction sets; the loader picks the best the machine has. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(AG_NO_CLONES)
#define AG_KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define AG_KERNEL
#endif

/* An operator's constants. Cleared before it is filled: equal attributes have equal bytes. */
typedef struct ag_attr {
    double f[2];
    int64_t i[AG_ATTR_INTS];
} ag_attr;

/* One operand as a kernel sees it: the task axis is axis 0, of size 1 or with stride 0 where all tasks share it. */
typedef struct ag_array {
    void *data;
    int rank;                        /* ndim + 1 */
    int64_t shape[AG_RANK];
    int64_t stride[AG_RANK];         /* in elements */
} ag_array;

typedef struct ag_call {
    const struct ag_op *op;
    const ag_attr *attr;
    int n_in;
    ag_array out;                    /* row-major, to be overwritten */
    ag_array in[AG_MAX_ARITY];
    void *scratch;                   /* op->scratch bytes, 64-byte aligned */
} ag_call;

/* A run of elements of an elementwise operator: every operand contiguous. */
typedef struct ag_span {
    int64_t n;
    ag_real *restrict y;
    const ag_real *x[AG_MAX_ARITY];
    const ag_attr *attr;
} ag_span;

/* One case of the table test: inputs are drawn uniformly from [lo, hi] (both 0: [-2, 2]). Without `build` the case
 * applies the operator itself with `attr`. */
typedef struct ag_check {
    int n;
    struct {
        int ndim;
        int64_t shape[AG_MAX_DIMS];
        double lo, hi;
    } in[AG_MAX_ARITY];
    ag_tensor *(*build)(ag_tape *t, ag_tensor *const *x);
    ag_attr attr;
} ag_check;

typedef struct ag_op {
    const char *name;
    int arity;
    bool view;                       /* the result is another look at in[0]; no kernel */
    bool not_differentiable;         /* no rules: derivative 0 everywhere */
    /* Checks the inputs and sets y->dtype, ndim and shape (views: stride and offset too); false after
     * ag_tape_fail. y->in, attr and tasks are set before. */
    bool (*shape)(ag_tape *t, ag_tensor *y);
    void (*span)(ag_span s);                 /* elementwise operators have this, */
    void (*forward)(const ag_call *c);       /* the others this */
    int cost;                                /* of one number of an elementwise result, in additions; 0: 1 */
    size_t (*scratch)(const ag_call *c);     /* [bytes]; NULL: none */
    /* What input k receives of the gradient g at y; NULL means 0. Written in operators. */
    ag_tensor *(*vjp)(ag_tape *t, ag_tensor *y, ag_tensor *g, int k);
    /* What y's tangent receives of input k's tangent dx; NULL means 0. */
    ag_tensor *(*jvp)(ag_tape *t, ag_tensor *y, ag_tensor *dx, int k);
    ag_check check[AG_MAX_CHECKS];
} ag_op;

struct ag_tensor {
    const ag_op *op;                 /* NULL: a leaf */
    ag_tensor *in[AG_MAX_ARITY];
    ag_attr attr;
    int64_t id;                      /* place on the tape */
    uint8_t n_in, dtype, ndim, stage;
    bool tasks, is_input, is_scalar; /* is_scalar: every entry is the constant `value` */
    double value;
    int64_t shape[AG_MAX_DIMS], stride[AG_MAX_DIMS];
    int64_t n_task, task_stride;     /* n_task is the tape's */
    ag_tensor *root;                 /* whose memory this is a look at; itself if its own */
    int64_t offset;                  /* into root's memory [elements] */
    void *data;                      /* root's memory when evaluated or constant, else NULL */
};

/* Every operator, in the order of ops.h; ends with NULL. */
extern const ag_op *const ag_op_table[];
#define AG_OP(name, parameters, meaning) extern const ag_op ag_op_##name;
#include "autograd/ops.h"
#undef AG_OP

/* Records (and on an eager tape evaluates) one operator. attr may be NULL. NULL in, NULL out. */
ag_tensor *ag_apply(ag_tape *t, const ag_op *op, int n, ag_tensor *const *in, const ag_attr *attr);
/* Sets the tape's error, unless it has one. Returns false. */
bool ag_tape_fail(ag_tape *t, ag_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "[3,4]" into a buffer of at least 128 bytes; returns it. */
enum { AG_SHAPE_TEXT = 160 };
const char *ag_shape_text(const ag_tensor *x, char *buffer);

/* Helpers for shape rules. */
bool ag_like_first(ag_tape *t, ag_tensor *y);        /* y has the shape of in[0]; all inputs must have it */
void ag_set_shape(ag_tensor *y, ag_dtype dtype, int ndim, const int64_t *shape);   /* with row-major strides */
bool ag_same_shape(const ag_tensor *a, const ag_tensor *b);
bool ag_is_contiguous(const ag_tensor *x);           /* within one task */
int64_t ag_product(int n, const int64_t *shape);
/* Broadcasts two shapes by NumPy's rules into shape; false if they do not fit. */
bool ag_broadcast_shapes(const ag_tensor *a, const ag_tensor *b, int *ndim, int64_t *shape);
ag_tensor *ag_binary(ag_tape *t, const ag_op *op, ag_tensor *a, ag_tensor *b);     /* expands both, then applies */

/* The number v in a shape, not differentiable (is_scalar); with tasks it looks per-task. */
ag_tensor *ag_constant(ag_tape *t, double v, int ndim, const int64_t *shape, bool tasks);

/* Helpers for kernels. */
void ag_elementwise(const ag_call *c);               /* runs op->span over strided operands */
static inline int64_t ag_array_numel(const ag_array *a)
{
    return ag_product(a->rank, a->shape);
}
/* C = A B (+ C if accumulate), row-major with rs_c >= n and apart from A and B; the strides of A and B in elements, any. One
 * thread; allocates nothing, but maps 614 kB (float32) of memory at a thread's first call. In float32 on AVX2 and
 * AVX-512 a row of C has the same bits whatever other rows are computed with it. */
void ag_gemm(int64_t m, int64_t n, int64_t k, const ag_real *a, int64_t rs_a, int64_t cs_a,
             const ag_real *b, int64_t rs_b, int64_t cs_b, bool accumulate, ag_real *c, int64_t rs_c);
/* Fills the call's arrays from y and its inputs, without data pointers. */
void ag_call_init(ag_call *c, const ag_tensor *y);

#endif
