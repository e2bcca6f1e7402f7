/* The insides of meta-learning: which parameters are adapted, the compiled programs, and one episode chunk's data.
 * plan.c, data.c, head.c and programs.c make them; learner.c and one file an algorithm, scorer.c and lora_ml.c use them. */
#ifndef META_LEARN_INTERNAL_H
#define META_LEARN_INTERNAL_H

#include "meta/meta.h"
#include "meta/pool.h"

/* ---- plan.c ---- */

/* A parameter as the inner loop sees it. */
typedef struct meta_plan_param {
    int ndim;
    int64_t shape[4], numel;
    int64_t offset;                  /* in theta; -1: of a centroid head, whose start each task makes from its support */
    bool adapted;
    int64_t place;                   /* numbers before it among the adapted (or shared) ones of one task */
    int64_t rate;                    /* index of its rate, or of the first of one for each number */
    bool rate_each;
    ag_real rate_scale;
} meta_plan_param;

/* Parameters are adapted (each task has its own), or shared (all tasks see one; meta-learned all the same). Buffers of
 * adapted values hold, parameter by parameter, [n_task, numel]; so do per-task gradients of shared ones. */
typedef struct meta_plan {
    const nn_model *model;           /* borrowed */
    meta_loss loss;
    double support_scale;
    meta_head head;
    meta_similarity similarity;
    double head_scale;
    int64_t way;
    int n_param;                     /* the model's, then w and b of a centroid head */
    meta_plan_param *param;
    int64_t n_adapted, n_shared;     /* numbers of one task */
    int n_adapted_params, n_shared_params;
    int64_t n_rate;                  /* those of a centroid head come last, one for each of its tensors */
} meta_plan;

ag_code meta_plan_init(meta_plan *plan, const nn_model *m, const meta_options *o, ag_error *err);
void meta_plan_release(meta_plan *plan);

/* Which parameters, in the plan's order, a group of inputs or outputs is for. */
typedef enum meta_group {
    META_ADAPTED, META_SHARED,
    META_START,                      /* those with offset -1 */
    META_ADAPTED_MODEL               /* adapted ones of the model */
} meta_group;
bool meta_in_group(const meta_plan_param *p, meta_group g);

/* Indices of every program's inputs: data, the parameters, the model's frozen weights, then tangents. */
enum { META_IN_X = 0, META_IN_Y, META_IN_SUPPORT_X, META_IN_SUPPORT_Y, META_IN_SEED, META_IN_PARAMS, META_OUT_LOSS = 0 };
int meta_first_tangent(const meta_plan *plan);

/* Binds the parameters: adapted ones from `adapted` [plan->n_adapted * n_task], or, if it is NULL, from theta and, where a
 * parameter is made from the support, from `start`, laid out like `adapted`. */
void meta_bind_params(const meta_plan *plan, ag_frame *f, int64_t n_task, const ag_real *theta, const ag_real *adapted,
                      const ag_real *start);
void meta_bind_frozen(const meta_plan *plan, ag_frame *f);
/* Bind one array per parameter of the group to consecutive outputs (inputs) from `first`; return the next index. */
int meta_bind_outputs(const meta_plan *plan, ag_frame *f, int first, int64_t n_task, meta_group g, ag_real *data);
int meta_bind_inputs(const meta_plan *plan, ag_frame *f, int first, int64_t n_task, meta_group g, const ag_real *data);

/* Step sizes: of the state, or one fixed number where alpha is NULL. */
typedef struct meta_rates {
    const ag_real *alpha;
    int64_t n;                       /* of alpha; a head that the state knows nothing of moves by `fixed` */
    ag_real fixed;
} meta_rates;
/* next = theta - alpha * g for the adapted parameters; theta NULL: from init and start as meta_bind_params. */
void meta_inner_step(const meta_plan *plan, const meta_rates *r, int64_t n_task, const ag_real *init, const ag_real *start,
                     const ag_real *theta, const ag_real *g, ag_real *next);
/* out = alpha * x */
void meta_apply_rates(const meta_plan *plan, const meta_rates *r, int64_t n_task, const ag_real *x, ag_real *out);

/* The inner loop's Adam (beta1 = 0): makes g / (sqrt(second / (1 - beta2^step)) + epsilon) of g; step from 1. */
void meta_adam_scale(int64_t n, int64_t step, ag_real *second, ag_real *g);

/* ---- data.c: episodes of one chunk ---- */

typedef struct meta_set {
    int64_t n, capacity;             /* examples; tokens of texts (0: room for all) */
} meta_set;

typedef struct meta_data {
    const nn_model *model;           /* borrowed */
    void *support_x, *query_x, *support_y, *query_y;   /* y as it is fetched */
    int32_t *support_rows, *query_rows;   /* next token: [n_task, 2 C], what programs get for y; else NULL */
    int32_t *seed;                   /* [n_task, 2], of dropout */
    meta_set support, query;
    size_t support_bytes, query_bytes;   /* of x, one task */
    size_t y_bytes;                  /* of one example */
} meta_data;
ag_code meta_data_init(meta_data *d, const meta_plan *plan, int64_t n_task, meta_set support, meta_set query, ag_error *err);
void meta_data_release(meta_data *d);
size_t meta_data_bytes(const meta_data *d, int64_t n_task);
/* Fetches `count` episodes; the places behind them repeat the first, so that a program of n_task always has data. */
ag_code meta_data_fetch(meta_data *d, const meta_batch *b, int64_t first, int64_t count, int64_t n_task, ag_error *err);
const void *meta_data_y(const meta_data *d, bool query);   /* what programs get for y */
/* Binds X and Y to the query (or the support), and the support to the rest. */
void meta_bind_data(const meta_data *d, ag_frame *f, bool query);

/* ---- next_token.c ---- */

/* What a program gets for y of a language model's set, rows int32 [2 C] = label [C] | counted [C]: of each row of the packed
 * texts the next token, and 1 where there is one; else 0, 0. x as models/text.h lays it out, y int32 [n, L] as fetched. */
ag_code meta_row_labels(const nn_model *m, const nn_text_shape *s, const int32_t *x, const int32_t *y, int32_t *rows, ag_error *err);
/* The mean loss [] over the rows that count; *hits, if not NULL, the share that is right. logits [C, vocab]. */
ag_tensor *meta_next_token_loss(ag_tape *t, ag_tensor *logits, ag_tensor *rows, ag_tensor **hits);

/* ---- head.c: class scores [n, way] ---- */

ag_tensor *meta_prototype_scores(ag_tape *t, const meta_plan *plan, ag_tensor *features, ag_tensor *support, ag_tensor *labels);
/* Of the support itself, each example left out of its own class's mean. */
ag_tensor *meta_prototype_own_scores(ag_tape *t, const meta_plan *plan, ag_tensor *support, ag_tensor *labels);
ag_tensor *meta_centroid_scores(ag_tape *t, const meta_plan *plan, ag_tensor *features, ag_tensor *w, ag_tensor *b);
void meta_centroid_start(ag_tape *t, const meta_plan *plan, ag_tensor *support, ag_tensor *labels, ag_tensor **w, ag_tensor **b);

/* ---- programs.c ---- */

/* Stages: 0 the data and frozen weights, 1 the parameters, 2 the tangents.
 * support   tangents (if .hessian): one for each adapted parameter
 *           outputs: loss [n_task] (unscaled), the scaled loss's gradient for each adapted parameter, (if .shared_gradient)
 *           for each shared one, then (if .hessian) H v for each adapted and the mixed product for each shared parameter
 * query     outputs: loss, (but for META_MSE) accuracy, and (if .gradient) the gradient for each parameter, adapted ones first
 * start     the start of a centroid head from the support; tangents: one like each of w and b
 *           outputs: w, b, then (if .gradient) the gradients of <tangent, start> for each adapted and each shared parameter
 *           of the model */
typedef struct meta_program_options {
    int64_t n_task;
    meta_set set, support;           /* of X and Y; of the support, for query programs whose head needs it */
    bool theta_shared;               /* adapted parameters are given once for all tasks (the first step) */
    bool gradient, shared_gradient, hessian, dropout;
    int64_t score_from;              /* query: the first example that is scored (inductive scoring) */
} meta_program_options;
ag_code meta_compile_support(const meta_plan *plan, const meta_program_options *o, ag_program **p, ag_error *err);
ag_code meta_compile_query(const meta_plan *plan, const meta_program_options *o, ag_program **p, ag_error *err);
ag_code meta_compile_start(const meta_plan *plan, const meta_program_options *o, ag_program **p, ag_error *err);

/* ---- learner.c, and the algorithms ---- */

/* One thread's memory. Arrays of adapted values are [chunk * n_adapted], of shared ones [chunk * n_shared]. */
typedef struct meta_worker {
    ag_frame *first, **later, *query, *start;   /* later [n_later]: learner.c's later_frame says which step has which */
    meta_data data;
    ag_real *theta;                  /* [steps][chunk * n_adapted]: theta_1 .. theta_K */
    ag_real *start_values;           /* like theta_1; only what is made from the support is used */
    ag_real *second;                 /* Adam's, like theta_1 */
    ag_real *g_first, *g_later;      /* g_later [n_later][chunk * n_adapted] */
    ag_real *lambda, *tangent, *hv, *shared, *hv_shared, *rate_grad;
    ag_real *cg[2];                  /* imaml: residual and direction, like theta_1 */
    ag_real *support_loss, *unused_loss, *query_loss, *accuracy;   /* [chunk] */
} meta_worker;

struct meta_learner {
    const nn_model *model;
    meta_options options;
    meta_plan plan;
    meta_pool *pool;
    int threads;
    ag_program *first, *later, *query, *start;   /* support at step 0, support at later steps, query, centroid head */
    meta_worker *workers;                /* [threads] */
    int64_t chunk, n_later;              /* n_later: frames for the steps behind the first, each of which keeps one step's results */
    /* results of each chunk, grown when a batch has more: [n_chunk][n] gradients and sums of losses */
    int64_t n_chunk;
    ag_real *chunk_grad;
    struct meta_chunk_result *chunk_result;
};

/* The frame of step k >= 1, of n_later: the last steps have one each, those before them share frame 0, which the first of the
 * last steps leaves its results in. */
int64_t meta_later_frame(const meta_learner *l, int64_t k);
bool meta_step_is_kept(const meta_learner *l, int64_t k);

/* theta after the last step; NULL before the first. */
ag_real *meta_last_theta(const meta_learner *l, const meta_worker *w);

/* An algorithm: what becomes of theta_1 .. theta_K. */
typedef struct meta_backward {
    bool hessian_first, hessian_later;   /* support programs give Hessian-vector products */
    bool needs_later;                    /* the later program even for one step */
    bool query_gradient;
    /* Turns w->lambda (the query's gradient at theta_K) into the gradient at theta_0, w->shared into that of the shared
     * parameters, and fills w->rate_grad. */
    ag_code (*run)(const meta_learner *l, meta_worker *w, const meta_state *s, const meta_rates *rates, ag_error *err);
} meta_backward;
const meta_backward *meta_backward_maml(bool first_order);
extern const meta_backward meta_backward_reptile, meta_backward_imaml;

#endif
