/* Models: a named set of parameters and a formula over them. The user's manual.
 *
 *     nn_model m;
 *     AG_TRY(err, nn_model_init(&m, &(nn_options){ .kind = "mlp", .x_ndim = 1, .x_shape = { 1 }, .n_out = 1,
 *                                                  .n_hidden = 2, .hidden = { 40, 40 } }, err));
 *     nn_model_draw(&m, seed, values);                       // values [m.n_value]
 *     ag_tensor *y = m.forward(&m, tape, params, x);         // params[i] has the shape m.param[i].shape
 *
 * A model is a plain value without memory of its own; it may be copied and shared between threads. */
#ifndef NN_MODEL_H
#define NN_MODEL_H

#include "autograd/autograd.h"

enum { NN_MAX_PARAMS = 32, NN_MAX_HIDDEN = 8, NN_NAME_MAX = 32 };

typedef enum nn_init {
    NN_ZEROS = 0,
    NN_ONES,
    NN_NORMAL,               /* N(0, scale^2) */
    NN_TRUNCATED_NORMAL,     /* N(0, scale^2) within two standard deviations */
    NN_UNIFORM               /* U(-scale, scale) */
} nn_init;

typedef struct nn_param {
    char name[NN_NAME_MAX];  /* "layer1.weight" */
    int ndim;
    int64_t shape[4];
    int64_t offset;          /* of its numbers among the model's [n_value] */
    int64_t numel;
    nn_init init;
    double scale;
    bool norm;               /* belongs to a normalisation layer */
    bool adapter;            /* a low-rank factor of an adapter */
} nn_param;

/* Zero is the default of every field but the sizes. */
typedef struct nn_options {
    const char *kind;        /* mlp | conv4 | linear */
    int x_ndim;
    int64_t x_shape[3];      /* one example: [width] or [h, w, c] */
    int64_t n_out;
    int n_hidden;
    int64_t hidden[NN_MAX_HIDDEN];
    const char *activation;  /* relu (default) | tanh */
    const char *init;        /* xavier (default) | he | truncated-normal */
    double init_std;         /* of truncated-normal */
    const char *head_init;   /* conv4: xavier (default) | normal (N(0, 1), as Finn's code) */
    int64_t filters;         /* conv4 */
    bool max_pool;           /* conv4: stride 1 and max-pooling, not stride 2 and the mean over places */
    bool batch_norm, norm_scale;
    double norm_epsilon;     /* above 0 with batch_norm */
    int64_t adapter_rank;    /* linear: W + U V' with factors of this rank; 0: none */
    bool adapter_symmetric;  /* linear: W + U U' */
    double adapter_std;      /* the factors start N(0, adapter_std^2) */
} nn_options;

typedef struct nn_model {
    int n_param;
    nn_param param[NN_MAX_PARAMS];
    int64_t n_value;         /* numbers of all parameters */
    nn_options options;      /* strings borrowed */
    /* x [n, x_shape...] -> [n, n_out]; params in the order of param. */
    ag_tensor *(*forward)(const struct nn_model *m, ag_tape *t, ag_tensor *const *params, ag_tensor *x);
} nn_model;

ag_code nn_model_init(nn_model *m, const nn_options *o, ag_error *err);
/* Initial values [n_value], a pure function of the seed. */
void nn_model_draw(const nn_model *m, uint64_t seed, ag_real *values);

#endif
