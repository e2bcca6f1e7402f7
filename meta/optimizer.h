/* Outer optimisers over a flat vector of parameters, gradient clipping and learning-rate schedules.
 *
 *     meta_optimizer o;
 *     AG_TRY(err, meta_optimizer_init(&o, &(meta_optimizer_options){ .kind = META_ADAM }, n, err));
 *     meta_optimizer_step(&o, lr, grad, values);
 *     meta_optimizer_release(&o); */
#ifndef META_OPTIMIZER_H
#define META_OPTIMIZER_H

#include "autograd/real.h"
#include "autograd/status.h"

typedef enum meta_optimizer_kind { META_ADAM = 0, META_SGD } meta_optimizer_kind;

/* Zero: Adam with Kingma & Ba's constants, no clipping. */
typedef struct meta_optimizer_options {
    meta_optimizer_kind kind;
    double beta1, beta2, epsilon;        /* Adam; 0: 0.9, 0.999, 1e-8. beta1 < 0 means exactly 0 */
    double momentum;                     /* SGD */
    double clip_value;                   /* entries of the gradient are kept within +- this; 0: off */
    double clip_norm;                    /* the gradient is scaled down to this Euclidean norm; 0: off */
    double weight_decay;                 /* each step also takes lr weight_decay of the first n_decay numbers (Loshchilov & */
    int64_t n_decay;                     /* Hutter 2019, AdamW) */
    const ag_real *scale;                /* [n]: the rate of each number is multiplied by this (LoRA+); NULL: 1. Borrowed */
} meta_optimizer_options;

typedef struct meta_optimizer {
    meta_optimizer_options options;
    int64_t n, step;                     /* steps taken */
    ag_real *first, *second;             /* [n] moments; NULL where the kind has none */
} meta_optimizer;

ag_code meta_optimizer_init(meta_optimizer *o, const meta_optimizer_options *opt, int64_t n, ag_error *err);
void meta_optimizer_release(meta_optimizer *o);
/* One step down the gradient; grad [n] is clipped in place, values [n] are updated. Kingma & Ba 2015, alg. 1 (in the
 * form of section 2's last paragraph, as TensorFlow); Sutskever et al. 2013 without the Nesterov term. */
void meta_optimizer_step(meta_optimizer *o, double lr, ag_real *grad, ag_real *values);
/* Euclidean norm, summed in double in plain order. */
double meta_norm(int64_t n, const ag_real *x);

typedef enum meta_schedule { META_CONSTANT = 0, META_LINEAR, META_COSINE } meta_schedule;
/* The rate of iteration i of n: from `first` at 0 towards `last` at n. */
double meta_schedule_rate(meta_schedule s, double first, double last, int64_t i, int64_t n);

#endif
