/* The insides of meta-learning: which parameters are adapted, the compiled programs, and one episode chunk's data.
 * For learner.c, scorer.c, lora_ml.c and programs.c. */
#ifndef META_LEARN_INTERNAL_H
#define META_LEARN_INTERNAL_H

#include "meta/meta.h"
#include "meta/pool.h"

/* Parameters are adapted (each task has its own), or shared (all tasks see one; meta-learned all the same). Buffers of
 * adapted values hold, parameter by parameter, [n_task, numel]; so do per-task gradients of shared ones. */
typedef struct meta_plan {
    const nn_model *model;           /* borrowed from the learner */
    meta_loss loss;
    double support_scale;
    bool adapted[NN_MAX_PARAMS];
    int64_t place[NN_MAX_PARAMS];    /* numbers before parameter p among the adapted (or shared) ones of one task */
    int64_t n_adapted, n_shared;     /* numbers of one task */
    int n_adapted_params, n_shared_params;
} meta_plan;

void meta_plan_init(meta_plan *plan, const nn_model *m, const meta_options *o);

/* The support program: stage 0 the data, stage 1 the parameters, stage 2 the tangents.
 *   inputs   x, y, every parameter, then (if .hessian) one tangent for each adapted parameter
 *   outputs  loss [n_task] (unscaled), the scaled loss's gradient for each adapted parameter, (if .shared_gradient) for
 *            each shared one, then (if .hessian) H v for each adapted and the mixed product for each shared parameter.
 * The query program: stage 0 data, stage 1 parameters; outputs loss, (classification) accuracy, and (if .gradient)
 * the gradient for each parameter, adapted ones first. */
typedef struct meta_program_options {
    int64_t n_task, n_example;
    bool theta_shared;               /* adapted parameters are given once for all tasks (the first step) */
    bool gradient, shared_gradient, hessian;
    int64_t score_from;              /* query: the first example that is scored (inductive scoring) */
} meta_program_options;
ag_code meta_compile_support(const meta_plan *plan, const meta_program_options *o, ag_program **p, ag_error *err);
ag_code meta_compile_query(const meta_plan *plan, const meta_program_options *o, ag_program **p, ag_error *err);

/* Indices of a program's inputs and outputs. */
enum { META_IN_X = 0, META_IN_Y, META_IN_PARAMS, META_OUT_LOSS = 0 };

/* Binds the parameters: adapted ones from `adapted` [plan->n_adapted * n_task], or all from theta if it is NULL. */
void meta_bind_params(const meta_plan *plan, ag_frame *f, int64_t n_task, const ag_real *theta, const ag_real *adapted);
/* Binds one array per adapted (shared) parameter to consecutive outputs (or inputs) from `first`; returns the next index. */
int meta_bind_outputs(const meta_plan *plan, ag_frame *f, int first, int64_t n_task, bool of_adapted, ag_real *data);
int meta_bind_tangents(const meta_plan *plan, ag_frame *f, int first, int64_t n_task, const ag_real *data);

/* Episodes of one chunk. */
typedef struct meta_data {
    ag_real *support_x, *query_x;
    void *support_y, *query_y;
    int64_t n_support, n_query, x_numel;
    size_t y_bytes;                  /* of one example */
} meta_data;
ag_code meta_data_init(meta_data *d, const meta_plan *plan, int64_t n_task, int64_t n_support, int64_t n_query, ag_error *err);
void meta_data_release(meta_data *d);
size_t meta_data_bytes(const meta_data *d, int64_t n_task);
/* Fetches `count` episodes; the places behind them repeat the first, so that a program of n_task always has data. */
ag_code meta_data_fetch(meta_data *d, const meta_batch *b, int64_t first, int64_t count, int64_t n_task, ag_error *err);

/* next = theta - alpha * g for the adapted parameters; theta NULL: from the shared `init`. rates as in meta_state. */
typedef struct meta_rates {
    meta_rate_scope scope;
    const ag_real *alpha;
    ag_real fixed;                   /* used where alpha is NULL */
} meta_rates;
void meta_inner_step(const meta_plan *plan, const meta_rates *r, int64_t n_task, const ag_real *init, const ag_real *theta,
                     const ag_real *g, ag_real *next);
/* out = alpha * x */
void meta_apply_rates(const meta_plan *plan, const meta_rates *r, int64_t n_task, const ag_real *x, ag_real *out);

struct meta_learner {
    nn_model model;
    meta_options options;
    meta_plan plan;
    meta_pool *pool;
    int threads;
    int64_t n_rate;
    ag_program *first, *later, *query;   /* support at step 0, support at later steps, query */
    struct meta_worker *workers;         /* [threads] */
    int64_t chunk;
    /* results of each chunk, grown when a batch has more: [n_chunk][n] gradients and sums of losses */
    int64_t n_chunk;
    ag_real *chunk_grad;
    struct meta_chunk_result *chunk_result;
};

#endif
