/* metalora autograd: tensors, tape, gradients of any order, compiled programs. The user's manual.
 *
 *     ag_error err = { 0 };
 *     ag_tape *t = ag_tape_new(NULL, &err);
 *     ag_tensor *x = ag_value(t, &(ag_spec){ .ndim = 1, .shape = { 3 } }, (ag_real[]){ 1, 2, 3 });
 *     ag_tensor *y = ag_sum(t, ag_tanh(t, ag_square(t, x)), AG_ALL_AXES);      // a number
 *     ag_tensor *g, *h;
 *     ag_grad(t, y, NULL, 1, &x, &g);                                          // dy/dx [3]
 *     ag_grad(t, ag_sum(t, g, AG_ALL_AXES), NULL, 1, &x, &h);                  // gradient of a gradient
 *     if (ag_tape_status(t, &err) == AG_OK) ag_read(h, out);
 *     ag_tape_free(t);
 *
 * Expressions do not fail out loud: the first error stays on the tape, NULL in gives NULL out, and one
 * ag_tape_status at the end tells. A tensor belongs to its tape and is gone when the tape is freed or rewound.
 *
 * The task axis. A tensor may hold one value per task (spec.tasks); its shape stays that of one task, formulas are
 * written for one task, and every operator does all tasks of the tape at once. A tensor without tasks is shared:
 * through a shared weight all tasks go as one tall product. The gradient of a shared tensor is summed over the
 * tasks; ag_task_expand makes a shared tensor look per-task, so that its gradient comes per task.
 *
 * A tape records and evaluates at once (options zero), or only records (.symbolic) to be compiled into a program
 * that is replayed many times without an allocation (ag_compile).
 *
 * Threads: one tape, one thread. A program is read-only and may be shared; a frame belongs to one thread. */
#ifndef AG_AUTOGRAD_H
#define AG_AUTOGRAD_H

#include "autograd/real.h"
#include "autograd/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { AG_MAX_DIMS = 6, AG_MAX_STAGES = 4 };

typedef struct ag_tape ag_tape;
typedef struct ag_tensor ag_tensor;
typedef struct ag_program ag_program;
typedef struct ag_frame ag_frame;

typedef enum ag_dtype { AG_REAL = 0, AG_INT } ag_dtype;   /* ag_real, int32_t */

/* What a leaf looks like. */
typedef struct ag_spec {
    ag_dtype dtype;
    bool tasks;                      /* one value per task */
    int stage;                       /* compiled programs: the stage in which the input may change, see ag_compile */
    int ndim;
    int64_t shape[AG_MAX_DIMS];      /* of one task */
} ag_spec;

typedef struct ag_tape_options {
    int64_t n_task;                  /* size of the task axis; 0: 1 */
    bool symbolic;                   /* record only, for ag_compile */
} ag_tape_options;

ag_tape *ag_tape_new(const ag_tape_options *opt, ag_error *err);   /* opt may be NULL */
void ag_tape_free(ag_tape *t);                                     /* NULL is allowed */
/* The first error of the tape's expressions, copied into err (may be NULL). */
ag_code ag_tape_status(const ag_tape *t, ag_error *err);
/* Marks and rewinds are LIFO: everything recorded after the mark is forgotten and its memory used again. */
typedef struct ag_mark { int64_t n_node; int64_t chunk; size_t used; } ag_mark;
ag_mark ag_tape_mark(const ag_tape *t);
void ag_tape_rewind(ag_tape *t, ag_mark m);
int64_t ag_tape_size(const ag_tape *t);    /* nodes recorded */
int64_t ag_tape_tasks(const ag_tape *t);   /* size of the task axis */

/* Leaves. ag_value copies data: [n_task, shape...] if spec.tasks, else [shape...]; on a symbolic tape it becomes a
 * constant of the program. ag_input is a symbolic tape's argument, bound before each replay. */
ag_tensor *ag_value(ag_tape *t, const ag_spec *spec, const void *data);
ag_tensor *ag_input(ag_tape *t, const ag_spec *spec);
ag_tensor *ag_scalar(ag_tape *t, double v);                                     /* shape [] */
ag_tensor *ag_full(ag_tape *t, double v, int ndim, const int64_t *shape);       /* a view of one number */
ag_tensor *ag_zeros_like(ag_tape *t, const ag_tensor *x);

int ag_ndim(const ag_tensor *x);
const int64_t *ag_shape(const ag_tensor *x);     /* [ag_ndim(x)], of one task; lives as long as x */
int64_t ag_numel(const ag_tensor *x);            /* of one task */
bool ag_has_tasks(const ag_tensor *x);
/* Copies an evaluated tensor to out, row-major: [n_task, shape...] or [shape...]. */
ag_code ag_read(const ag_tensor *x, void *out);

/* Geometry of a convolution; zero strides mean 1. */
typedef struct ag_conv {
    int64_t stride_h, stride_w;
    int64_t top, bottom, left, right;            /* zeros around x */
} ag_conv;
/* TensorFlow's SAME: y has ceil(h / stride) rows; of an odd number of padding rows the extra one is at the bottom. */
ag_conv ag_conv_same(int64_t h, int64_t w, int64_t kh, int64_t kw, int64_t stride);

enum { AG_ALL_AXES = 0x7fffffff };
#define AG_AXIS(i) (1u << (i))

/* The operators (ops.h has their meanings). */
#define AG_OP(name, parameters, meaning) ag_tensor *ag_##name parameters;
#include "autograd/ops.h"
#undef AG_OP

/* Compositions of operators. */
ag_tensor *ag_sum(ag_tape *t, ag_tensor *x, unsigned axes);              /* reduced axes disappear */
ag_tensor *ag_mean(ag_tape *t, ag_tensor *x, unsigned axes);
ag_tensor *ag_mean_keep(ag_tape *t, ag_tensor *x, unsigned axes);
ag_tensor *ag_max_over(ag_tape *t, ag_tensor *x, unsigned axes);
ag_tensor *ag_logsumexp(ag_tape *t, ag_tensor *x, unsigned axes);        /* over any axes; safe against overflow */
ag_tensor *ag_greater(ag_tape *t, ag_tensor *a, ag_tensor *b);
ag_tensor *ag_greater_equal(ag_tape *t, ag_tensor *a, ag_tensor *b);
ag_tensor *ag_not_equal(ag_tape *t, ag_tensor *a, ag_tensor *b);
ag_tensor *ag_scale(ag_tape *t, ag_tensor *x, double c);                 /* c x */
ag_tensor *ag_one_minus(ag_tape *t, ag_tensor *x);                       /* 1 - x */
ag_tensor *ag_contiguous(ag_tape *t, ag_tensor *x);                      /* x itself where it already is row-major */
ag_tensor *ag_flatten(ag_tape *t, ag_tensor *x, int from);               /* axes from.. become one */
ag_tensor *ag_mse(ag_tape *t, ag_tensor *y, ag_tensor *target);          /* mean of squares over all entries, [] */
ag_tensor *ag_max_pool2d(ag_tape *t, ag_tensor *x, int64_t window, int64_t stride, bool same);
/* Normalisation over the axes to mean 0, variance 1 (biased, as every framework's), then gamma x + beta; gamma and
 * beta broadcast against x and may be NULL. */
ag_tensor *ag_normalize(ag_tape *t, ag_tensor *x, unsigned axes, double epsilon, ag_tensor *gamma, ag_tensor *beta);
ag_tensor *ag_layer_norm(ag_tape *t, ag_tensor *x, double epsilon, ag_tensor *gamma, ag_tensor *beta);   /* last axis */
/* Batch statistics over all axes but the last (channels). mean and variance, if not NULL, receive them, [c] each. */
ag_tensor *ag_batch_norm(ag_tape *t, ag_tensor *x, double epsilon, ag_tensor *gamma, ag_tensor *beta,
                         ag_tensor **mean, ag_tensor **variance);
/* Running statistics instead: mean and variance [c] are given. */
ag_tensor *ag_batch_norm_running(ag_tape *t, ag_tensor *x, double epsilon, ag_tensor *gamma, ag_tensor *beta,
                                 ag_tensor *mean, ag_tensor *variance);

/* Reverse mode: grads[i] = d <seed, y> / d xs[i], recorded on the tape like anything else, so it can be
 * differentiated again. seed like y; NULL means ones. What y does not depend on gets zeros. One differentiates by
 * leaves of ag_value and ag_input and by results; by a constant (ag_scalar, ag_full, ag_zeros_like) is an error. */
ag_code ag_grad(ag_tape *t, ag_tensor *y, ag_tensor *seed, int n, ag_tensor *const *xs, ag_tensor **grads);
/* Forward mode over what is already recorded: dys[j] = sum over i of d ys[j] / d xs[i] . dxs[i]. */
ag_code ag_jvp(ag_tape *t, int n_x, ag_tensor *const *xs, ag_tensor *const *dxs, int n_y, ag_tensor *const *ys,
               ag_tensor **dys);

/* Compiles what the outputs need of a symbolic tape. Inputs are those of ag_input in the order of their making,
 * unused ones included. The program does not keep the tape.
 * Stages: an instruction belongs to the highest stage among the inputs it depends on. Running stage s computes its
 * instructions from the results of the stages before it, which stay; so what depends on the data only (stage 0) is
 * computed once and what depends on the parameters (stage 1) many times. */
ag_code ag_compile(ag_tape *t, int n_out, ag_tensor *const *outs, ag_program **p, ag_error *err);
void ag_program_free(ag_program *p);                   /* NULL is allowed; no frame of it may be left */
int64_t ag_program_instructions(const ag_program *p);
size_t ag_program_bytes(const ag_program *p);          /* memory of one frame's arena [bytes] */
/* The program as text, one instruction a line; freed with ag_free. NULL when memory ran out. */
char *ag_program_text(const ag_program *p);

/* A frame holds one replay's memory. Bind every input and output (row-major, [n_task, ...] where it has tasks),
 * then run stages in order. Bound memory is borrowed. An output must be left alone while later stages run: they may
 * read it. ag_frame_run allocates nothing and cannot fail once everything is bound. */
ag_code ag_frame_new(const ag_program *p, ag_frame **f, ag_error *err);
void ag_frame_free(ag_frame *f);                       /* NULL is allowed */
size_t ag_frame_bytes(const ag_frame *f);              /* all its memory; 0 for NULL [bytes] */
size_t ag_program_frame_bytes(const ag_program *p);    /* of each frame of p [bytes] */
void ag_frame_input(ag_frame *f, int i, const void *data);
void ag_frame_output(ag_frame *f, int i, void *data);
ag_code ag_frame_run(ag_frame *f, int first_stage, int last_stage, ag_error *err);

/* The kernels of matrix products, "avx512" or "avx2" (ours), "zen3", "haswell" (BLIS's); BLIS's version; and the
 * instruction set of the other kernels: "x86-64-v4", "baseline". */
const char *ag_gemm_kernels(void);
const char *ag_gemm_version(void);
const char *ag_instruction_set(void);

#endif
