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
    META_CROSS_ENTROPY,      /* mean over examples [nats] */
    META_NEXT_TOKEN          /* of models whose forward gives logits of every token (nn_model.language): mean over a set's tokens
                                that have a next one [nats per token]; META_HEAD_MODEL only */
} meta_loss;

/* What turns the model's outputs into class scores. Features f [n, d], classes' means c_k over the support; for cosine all
 * features and means are first brought to length 1. */
typedef enum meta_head {
    META_HEAD_MODEL = 0,     /* the model's outputs are the scores (or the prediction) */
    META_HEAD_PROTOTYPE,     /* scale f.c_k, or -scale |f - c_k|^2 (Snell et al. 2017); on the support itself an example is
                                left out of its own class's mean where the class has others */
    META_HEAD_CENTROID       /* a layer w, b of each task's own: scale f.w_k + b_k, which starts at the prototypes and is
                                adapted (Triantafillou et al. 2020, section 3); gradients flow through that start too */
} meta_head;
typedef enum meta_similarity { META_SIMILARITY_COSINE = 0, META_SIMILARITY_EUCLIDEAN } meta_similarity;

typedef enum meta_algorithm {
    META_MAML = 0,           /* maml.c */
    META_REPTILE,            /* reptile.c */
    META_IMAML               /* imaml.c */
} meta_algorithm;

/* Update rule of the inner loop. Adam has beta1 = 0, beta2 = 0.999 and starts anew with each task (Nichol et al. 2018);
 * nothing is differentiated through it, so it goes with first_order and Reptile. */
typedef enum meta_rule { META_RULE_SGD = 0, META_RULE_ADAM } meta_rule;

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
    bool head_only;              /* ANIL: only the last layer is adapted */
    meta_algorithm algorithm;
    meta_rule rule;
    double proximal;             /* imaml: lambda, the pull to the start, above 0 */
    int64_t cg_steps;            /* imaml: of conjugate gradients; 0: 5 */
    meta_head head;              /* other than META_HEAD_MODEL: the model's outputs are features */
    meta_similarity similarity;
    double head_scale;           /* 0: 1 */
    int64_t way;                 /* classes, for those heads */
    bool dropout;                /* while meta-training */
    int64_t support_capacity, query_capacity;   /* texts: tokens of a set (models/text.h); 0: room for all */
    int64_t train_steps;         /* inner steps while meta-training; 0: joint training */
    int64_t n_support, n_query;  /* examples of a training episode */
    int64_t chunk;               /* tasks computed together; 0: 1. Results depend on it, not on threads */
    int threads;                 /* 0: 1 */
    int64_t keep_bytes;          /* exact MAML: each thread may use so much memory to keep what inner steps leave for their
                                    Hessian-vector products; what does not fit is computed again. Changes no bits */
} meta_options;

typedef struct meta_learner meta_learner;

/* What is meta-learned: theta [n_value] of the model, then the rates [n_rate] if they are learned. */
typedef struct meta_state {
    int64_t n_value, n_rate, n;  /* n = n_value + (learn_rates ? n_rate : 0): what the outer optimiser moves */
    ag_real *values;             /* [n_value + n_rate]: theta, then alpha (also where fixed) */
} meta_state;

/* Fills episodes first .. first + count - 1: support_x [count, n_support, x_shape...] or, of texts, one packed array each
 * (nn_model_x says which), support_y int32 [count, n_support] or ag_real [count, n_support, n_out], the same for query.
 * META_NEXT_TOKEN: int32 [count, n_support, max_tokens], the token behind each place of a text, -1 where there is none; a place
 * without a token does not count, whatever y says there. A label beyond the vocabulary is AG_EDATA.
 * Called from worker threads. */
typedef ag_code (*meta_fetch)(void *ctx, int64_t first, int64_t count, void *support_x, void *support_y, void *query_x,
                              void *query_y, ag_error *err);

typedef struct meta_batch {
    int64_t n_task;
    meta_fetch fetch;
    void *ctx;
    uint64_t seed;               /* of dropout: another one for every batch */
} meta_batch;

/* Means over the tasks of a batch. */
typedef struct meta_report {
    double support_loss;         /* before adaptation, unscaled */
    double query_loss;           /* after adaptation */
    double query_accuracy;       /* share of examples, or of tokens, that are right; NaN for META_MSE */
    int64_t bad_task;            /* first task whose loss or gradient is not finite; -1 */
} meta_report;

/* The model must outlive the learner. */
ag_code meta_learner_new(meta_learner **l, const nn_model *m, const meta_options *o, ag_error *err);
void meta_learner_free(meta_learner *l);                 /* NULL is allowed */
meta_head meta_learner_head(const meta_learner *l);
size_t meta_learner_bytes(const meta_learner *l);        /* memory of all workers, without theta per step [bytes] */
size_t meta_learner_step_bytes(const meta_learner *l);   /* memory that grows with each inner step [bytes] */

ag_code meta_state_init(meta_state *s, const meta_learner *l, uint64_t seed, ag_error *err);
void meta_state_release(meta_state *s);

/* The outer gradient of the algorithm; of MAML (Finn, Abbeel & Levine 2017, eq. 1): grad [state->n], overwritten, the mean over the tasks of
 * d query_loss / d (theta, alpha). Exact second order by the backward recurrence over Hessian-vector products
 * (docs/architecture.md), unless first_order. Fails with what fetch says, AG_ENAN (names the task), AG_ENOMEM. */
ag_code meta_outer_gradient(meta_learner *l, const meta_state *s, const meta_batch *b, ag_real *grad, meta_report *report,
                            ag_error *err);

/* Adapts to each episode by `steps` inner steps and scores every step on its query, or those asked for: loss and accuracy are
 * [n_task][steps + 1] or [n_task][n_score], step 0 before adaptation; accuracy may be NULL. Losses that are not finite are
 * reported as they are. The episodes have n_support and n_query examples: a scorer is made for those sizes. */
typedef struct meta_scorer meta_scorer;
typedef struct meta_scorer_options {
    int64_t n_support, n_query, steps;
    const int64_t *score;        /* [n_score]: the steps that are scored, ascending, the last of them `steps`; NULL: every one.
                                    Not kept */
    int64_t n_score;
    bool inductive;              /* each query example is normalised with the support only: it is scored in a batch of
                                    {support, that one example} (Nichol et al. 2018) */
    double inner_lr;             /* 0: the state's rates */
    bool other_head;             /* another head than the learner's: */
    meta_head head;
    int64_t way;                 /* classes for heads made from the support; 0: the learner's */
    int64_t support_capacity, query_capacity;   /* as in meta_options */
} meta_scorer_options;
ag_code meta_scorer_new(meta_scorer **sc, const meta_learner *l, const meta_scorer_options *o, ag_error *err);
void meta_scorer_free(meta_scorer *sc);                  /* before its learner; NULL is allowed */
ag_code meta_scorer_run(meta_scorer *sc, const meta_state *s, const meta_batch *b, double *loss, double *accuracy, ag_error *err);

/* The oracle for tests: the same gradient by one long reverse-over-reverse tape, no recurrence. Slow, and its memory
 * grows with the steps. */
ag_code meta_outer_gradient_by_tape(const nn_model *m, const meta_options *o, const meta_state *s, const meta_batch *b,
                                    ag_real *grad, meta_report *report, ag_error *err);

#endif
