/* Meta-learning: from a model and a stream of episodes to meta-gradients and adapted scores. The user's manual.
 *
 *     meta_learner *l;
 *     AG_TRY(err, meta_learner_new(&l, &model, &(meta_options){ .loss = META_CROSS_ENTROPY, .inner_lr = 0.4,
 *                                                                .train_steps = 1, .n_support = 5, .n_query = 5 }, err));
 *     meta_state state;  AG_TRY(err, meta_state_init(&state, l, seed, err));
 *     meta_report report;
 *     AG_TRY(err, meta_outer_gradient(l, &state, &(meta_batch){ .n_task = 32, .fetch = fetch, .ctx = source }, grad, &report, err));
 *
 * A learner compiles its programs once; afterwards gradients and adaptations allocate nothing. Work is cut into chunks
 * of tasks; threads take chunks and their results are added in chunk order, so all results have the same bits for any
 * number of threads. One learner, one calling thread. */
#ifndef META_META_H
#define META_META_H

#include "models/model.h"

typedef enum meta_loss {
    META_MSE = 0,            /* mean of squares over all outputs */
    META_CROSS_ENTROPY       /* mean over examples [nats] */
} meta_loss;

typedef enum meta_rate_scope { META_RATE_ALL = 0, META_RATE_TENSOR, META_RATE_ELEMENT } meta_rate_scope;

/* Zero is a sensible default where not said otherwise. */
typedef struct meta_options {
    meta_loss loss;
    double support_scale;        /* the support loss is multiplied by this; 0: 1. Finn's Omniglot code: way */
    double inner_lr;             /* alpha */
    meta_rate_scope rate_scope;  /* one alpha for all, one per tensor, one per number (Meta-SGD) */
    bool learn_rates;            /* alpha is meta-learned too */
    bool first_order;            /* FOMAML: the second derivatives are left out */
    bool adapt_norm;             /* normalisation parameters are adapted too; else only meta-learned */
    bool adapters_only;          /* only adapter factors are adapted; else every parameter (but see adapt_norm) */
    int64_t train_steps;         /* inner steps while meta-training; 0: joint training */
    int64_t n_support, n_query;  /* examples of a training episode */
    int64_t chunk;               /* tasks computed together; 0: 1. Results depend on it, not on threads */
    int threads;                 /* 0: 1 */
} meta_options;

typedef struct meta_learner meta_learner;

/* What is meta-learned: theta [n_value] of the model, then the rates [n_rate] if they are learned. */
typedef struct meta_state {
    int64_t n_value, n_rate, n;  /* n = n_value + (learn_rates ? n_rate : 0): what the outer optimiser moves */
    ag_real *values;             /* [n_value + n_rate]: theta, then alpha (also where fixed) */
} meta_state;

/* Fills episodes first .. first + count - 1: support_x [count, n_support, x_shape...], support_y int32
 * [count, n_support] or ag_real [count, n_support, n_out], the same for query. Called from worker threads. */
typedef ag_code (*meta_fetch)(void *ctx, int64_t first, int64_t count, ag_real *support_x, void *support_y, ag_real *query_x,
                              void *query_y, ag_error *err);

typedef struct meta_batch {
    int64_t n_task;
    meta_fetch fetch;
    void *ctx;
} meta_batch;

/* Means over the tasks of a batch. */
typedef struct meta_report {
    double support_loss;         /* before adaptation, unscaled */
    double query_loss;           /* after adaptation */
    double query_accuracy;       /* NaN for META_MSE */
    int64_t bad_task;            /* first task whose loss or gradient is not finite; -1 */
} meta_report;

ag_code meta_learner_new(meta_learner **l, const nn_model *m, const meta_options *o, ag_error *err);
void meta_learner_free(meta_learner *l);                 /* NULL is allowed */
size_t meta_learner_bytes(const meta_learner *l);        /* memory of all workers, without theta per step [bytes] */
size_t meta_learner_step_bytes(const meta_learner *l);   /* memory that grows with each inner step [bytes] */

ag_code meta_state_init(meta_state *s, const meta_learner *l, uint64_t seed, ag_error *err);
void meta_state_release(meta_state *s);

/* MAML's outer gradient (Finn, Abbeel & Levine 2017, eq. 1): grad [state->n], overwritten, the mean over the tasks of
 * d query_loss / d (theta, alpha). Exact second order by the backward recurrence over Hessian-vector products
 * (docs/architecture.md), unless first_order. Fails with what fetch says, AG_ENAN (names the task), AG_ENOMEM. */
ag_code meta_outer_gradient(meta_learner *l, const meta_state *s, const meta_batch *b, ag_real *grad, meta_report *report,
                            ag_error *err);

/* Adapts to each episode by `steps` inner steps and scores every step on its query: loss and accuracy are
 * [n_task][steps + 1], step 0 before adaptation; accuracy may be NULL. Losses that are not finite are reported as they
 * are. The episodes have n_support and n_query examples: a scorer is made for those sizes. */
typedef struct meta_scorer meta_scorer;
typedef struct meta_scorer_options {
    int64_t n_support, n_query, steps;
    bool inductive;              /* each query example is normalised with the support only: it is scored in a batch of
                                    {support, that one example} (Nichol et al. 2018) */
    double inner_lr;             /* 0: the state's rates */
} meta_scorer_options;
ag_code meta_scorer_new(meta_scorer **sc, const meta_learner *l, const meta_scorer_options *o, ag_error *err);
void meta_scorer_free(meta_scorer *sc);                  /* before its learner; NULL is allowed */
ag_code meta_scorer_run(meta_scorer *sc, const meta_state *s, const meta_batch *b, double *loss, double *accuracy, ag_error *err);

/* The oracle for tests: the same gradient by one long reverse-over-reverse tape, no recurrence. Slow, and its memory
 * grows with the steps. */
ag_code meta_outer_gradient_by_tape(const nn_model *m, const meta_options *o, const meta_state *s, const meta_batch *b,
                                    ag_real *grad, meta_report *report, ag_error *err);

#endif
