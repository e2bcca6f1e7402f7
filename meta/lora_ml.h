/* PEFT-ML with LoRA ("Provable Meta-Learning with Low-Rank Adaptations", Block et al. 2024, alg. 1): the base is trained
 * together with one private adapter a task, min over base of sum over tasks of min over adapter of the task's loss; then
 * the adapters are thrown away. Without an adapter it is the paper's baseline, standard retraining.
 *
 *     meta_lora_ml *l;
 *     AG_TRY(err, meta_lora_ml_new(&l, &model, &options, &batch, seed, err));     // all tasks, read once
 *     AG_TRY(err, meta_lora_ml_gradient(l, theta, grad, &loss, err));             // one outer iteration's gradient
 */
#ifndef META_LORA_ML_H
#define META_LORA_ML_H

#include "meta/meta.h"

typedef struct meta_lora_ml_options {
    double loss_scale;           /* the mean-of-squares loss is multiplied by this; 0: 1 */
    double inner_lr;
    int64_t inner_steps;         /* of each private adapter in every outer iteration; they go on from where they were */
    int64_t n_support;           /* examples of a task */
} meta_lora_ml_options;

typedef struct meta_lora_ml meta_lora_ml;

/* The model's adapter factors are private, its other parameters the base. The batch's tasks are fetched once (support
 * only); their adapters are drawn from (seed, AG_STREAM_ADAPTER, task). */
ag_code meta_lora_ml_new(meta_lora_ml **l, const nn_model *m, const meta_lora_ml_options *o, const meta_batch *b, uint64_t seed,
                         ag_error *err);
void meta_lora_ml_free(meta_lora_ml *l);      /* NULL is allowed */
/* Moves every private adapter by inner_steps steps of gradient descent at the base theta [n_value of the model], then
 * grad [n_value] = the mean over tasks of the gradient for the base, 0 for the adapters; loss is the tasks' mean,
 * unscaled. Fails with AG_ENAN when it is not finite and names the first such task; the adapters have moved all the same. */
ag_code meta_lora_ml_gradient(meta_lora_ml *l, const ag_real *theta, ag_real *grad, double *loss, ag_error *err);
/* The private adapters of all tasks [*n], which are all that changes from one iteration to the next: to be kept and put
 * back. Theirs is the learner's lifetime. */
ag_real *meta_lora_ml_adapters(meta_lora_ml *l, int64_t *n);
/* Of the last gradient: one task's loss, unscaled, and the Euclidean norm of its part for the base. */
void meta_lora_ml_task(const meta_lora_ml *l, int64_t task, double *loss, double *grad_norm);
/* The first task whose loss in the last gradient is not finite; -1: none. */
int64_t meta_lora_ml_bad_task(const meta_lora_ml *l);

#endif
