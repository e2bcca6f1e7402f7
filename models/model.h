/* Models: a named set of parameters and a formula over them. The user's manual.
 *
 *     nn_model m;
 *     AG_TRY(err, nn_model_init(&m, &(nn_options){ .kind = "mlp", .x_ndim = 1, .x_shape = { 1 }, .n_out = 1,
 *                                                  .n_hidden = 2, .hidden = { 40, 40 } }, err));
 *     nn_model_draw(&m, seed, values);                       // values [m.n_value]
 *     ag_tensor *y = m.forward(&m, tape, params, &(nn_input){ .x = x });   // params[i] has the shape m.param[i].shape
 *     nn_model_release(&m);
 *
 * Built once, a model is read-only and may be shared between threads. A model that stands on a pretrained network has
 * frozen weights besides its parameters: they are given to forward too, and nobody differentiates by them. */
#ifndef NN_MODEL_H
#define NN_MODEL_H

#include "models/text.h"

enum { NN_MAX_HIDDEN = 8, NN_NAME_MAX = 160 };

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
    bool head;               /* of the last layer, which ANIL adapts alone */
    double rate;             /* its inner step size is multiplied by this (LoRA+); 0: 1 */
} nn_param;

/* A weight that is used and never trained. */
typedef struct nn_frozen {
    int ndim;
    int64_t shape[4];
    const ag_real *data;     /* row-major, borrowed as long as the model lives */
} nn_frozen;

/* What forward gets besides the parameters. */
typedef struct nn_input {
    ag_tensor *x;            /* [n, x_shape...], or texts: int32 as models/text.h lays them out */
    nn_text_shape text;      /* of texts */
    ag_tensor *const *frozen;   /* [n_frozen] */
    ag_tensor *seed;         /* int32 [2], of dropout; NULL: none */
} nn_input;

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
    const char *head_init;   /* conv4: xavier (default) | normal (N(0, 1), as Finn's code) | zero */
    bool features;           /* mlp, conv4: without the last layer; n_out is then what comes out before it */
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
    nn_param *param;
    int64_t n_value;         /* numbers of all parameters */
    int n_frozen;
    nn_frozen *frozen;
    nn_options options;      /* strings borrowed */
    int64_t max_tokens;      /* of a text, where the model reads texts; else 0 */
    bool language;           /* forward gives next-token logits [C, n_out] of the packed texts' rows */
    void *own;               /* of forward; freed with the model by ag_free */
    /* x -> [n, n_out]; params in the order of param. */
    ag_tensor *(*forward)(const struct nn_model *m, ag_tape *t, ag_tensor *const *params, const nn_input *in);
    /* Initial values besides the inits of param; NULL: none. */
    void (*draw)(const struct nn_model *m, uint64_t seed, ag_real *values);
} nn_model;

/* On failure there is nothing to release. */
ag_code nn_model_init(nn_model *m, const nn_options *o, ag_error *err);
void nn_model_release(nn_model *m);
/* Initial values [n_value], a pure function of the seed. */
void nn_model_draw(const nn_model *m, uint64_t seed, ag_real *values);
/* What x of a set of n examples looks like; capacity: tokens of all texts together, 0: n max_tokens. */
ag_spec nn_model_x(const nn_model *m, int64_t n, int64_t capacity);
nn_text_shape nn_model_text(const nn_model *m, int64_t n, int64_t capacity);   /* zeros where it reads no texts */
/* Adds a parameter and returns it; NULL: no memory. init and flags are then set by the caller. */
nn_param *nn_add_param(nn_model *m, const char *name, int ndim, const int64_t *shape);

#endif
