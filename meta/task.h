/* Adapting to the one task at hand: what commands, notebooks and servers need. The user's manual.
 *
 *     meta_examples support = { .n = 25, .ids = ids, .start = start, .length = length };       // texts; or .x = arrays
 *     meta_task *k;
 *     AG_TRY(err, meta_task_new(&k, &model, &(meta_task_options){ .head = META_HEAD_CENTROID, .way = 5, .inner_lr = 0.1,
 *                                                                 .steps = 5, .threads = 2 }, &support, labels, err));
 *     AG_TRY(err, meta_task_adapt(k, start, &(meta_adapted){ values, w, b, loss }, err));
 *     AG_TRY(err, meta_task_leave_one_out(k, start, &estimate, NULL, err));
 *     meta_task_free(k);
 *     meta_scores *s;                                                                          // any time later
 *     AG_TRY(err, meta_scores_new(&s, &model, &(meta_scores_options){ .way = 5, .n = 16, .length = 32 }, err));
 *     AG_TRY(err, meta_scores_run(s, &(meta_adapted){ values, w, b }, &examples, scores, NULL, err));
 *
 * The arithmetic is meta_scorer's, but the support is cut into parts that threads take: the adapted features of an example do
 * not depend on the others, so each part gives its features, the head gives the gradient by them, and each part takes it
 * back to the parameters. One program serves every step, every part and every fold. Results have the same bits for any
 * number of threads. One task, one calling thread. Models with batch normalisation do not fit (features would depend on the
 * part) and are refused. */
#ifndef META_TASK_H
#define META_TASK_H

#include "meta/meta.h"

/* Examples for the model: arrays x [n, x_shape...], or texts as tokens: text i is length[i] tokens at ids + start[i]; a longer
 * one than the model reads loses its end, but for its last token. Borrowed. */
typedef struct meta_examples {
    int64_t n;
    const ag_real *x;
    const int32_t *ids;
    const int64_t *start, *length;
} meta_examples;

/* Zero is the default of every field but way. The fields mean what they mean in meta_options. */
typedef struct meta_task_options {
    meta_head head;              /* prototype or centroid; META_HEAD_MODEL is refused */
    meta_similarity similarity;
    double head_scale;           /* 0: 1 */
    int64_t way;                 /* labels are 0 .. way - 1, each with an example; at least 2 */
    int64_t steps;
    double inner_lr;
    meta_rule rule;
    double support_scale;        /* 0: 1 */
    meta_rate_scope rate_scope;
    const ag_real *rates;        /* [n_rate] as they were meta-learned, copied; NULL: inner_lr everywhere. Those of a head come
                                    last and need not be there, or are not used */
    int64_t n_rate;
    bool head_only;              /* only the head is adapted */
    bool loss_later;             /* the loss after the last step is left out (NaN) where it would cost a forward pass of its own:
                                    meta_task_loss gives it when there is time */
    int threads;                 /* 0: 1 */
} meta_task_options;

/* A task's adapter: the parameters and a layer, score = scale f.w_k + b_k of features f (cosine: of length 1). Of a
 * prototype head the layer is made from the class means after the last step. Arrays are the caller's. */
typedef struct meta_adapted {
    ag_real *values;             /* [model n_value] */
    ag_real *w, *b;              /* [way, d], [way] */
    double *loss;                /* [steps + 1]: of the support before each step and after the last [nats]; may be NULL */
} meta_adapted;

/* Every example predicted by an adaptation that has not seen it. Fold i leaves out the i-th example of each class; that of a
 * class with one example stays in and is not counted. */
typedef struct meta_estimate {
    int64_t folds, counted, right;
    double accuracy;             /* right / counted; NaN where none is counted */
} meta_estimate;

typedef struct meta_task meta_task;

/* Compiles what the task needs. The model, the examples and the labels [n] must outlive the task. Fails with AG_EINVAL (a
 * class without example, fewer than 2 classes, a head or a model that does not fit), AG_ENOMEM. */
ag_code meta_task_new(meta_task **k, const nn_model *m, const meta_task_options *o, const meta_examples *support,
                      const int32_t *labels, ag_error *err);
void meta_task_free(meta_task *k);                       /* NULL is allowed */
size_t meta_task_bytes(const meta_task *k);              /* its memory, nearly all of it [bytes] */
int64_t meta_task_dropped(const meta_task *k);           /* tokens of the support beyond what the model reads */
/* start [n_value] is where the inner steps begin; out->values may be it. Fails with AG_ENAN where the loss is not finite (names
 * the step), AG_ENOMEM; out is then unspecified. */
ag_code meta_task_adapt(meta_task *k, const ag_real *start, const meta_adapted *out, ag_error *err);
/* The loss of the support with an adapter of this task: adapt's last. */
ag_code meta_task_loss(meta_task *k, const meta_adapted *a, double *loss, ag_error *err);
/* predicted [n], if not NULL: the class each example was taken for, -1 where it was not left out. */
ag_code meta_task_leave_one_out(meta_task *k, const ag_real *start, meta_estimate *e, int32_t *predicted, ag_error *err);

/* ---- scores of new examples ---- */

typedef struct meta_scores_options {
    meta_similarity similarity;
    double head_scale;           /* 0: 1 */
    int64_t way;
    int64_t n;                   /* examples computed together; 0: 1 */
    int64_t length;              /* texts: tokens of one at most; 0: what the model reads */
    int64_t tokens;              /* texts: room for those computed together, at least length; 0: n length */
    int threads;                 /* 0: 1 */
} meta_scores_options;

typedef struct meta_scores meta_scores;

/* The model must outlive it. Fails with AG_EINVAL, AG_ENOMEM. */
ag_code meta_scores_new(meta_scores **s, const nn_model *m, const meta_scores_options *o, ag_error *err);
void meta_scores_free(meta_scores *s);                   /* NULL is allowed */
/* scores [x->n, way] of any number of examples; features [x->n, d] may be NULL. */
ag_code meta_scores_run(meta_scores *s, const meta_adapted *a, const meta_examples *x, ag_real *scores, ag_real *features, ag_error *err);

#endif
