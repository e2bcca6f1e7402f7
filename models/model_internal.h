/* What the author of a model needs (docs/howto-model.md): a row in model.c and a builder in a file of its own. */
#ifndef NN_MODEL_INTERNAL_H
#define NN_MODEL_INTERNAL_H

#include "models/model.h"

ag_code nn_mlp_build(nn_model *m, ag_error *err);
ag_code nn_conv4_build(nn_model *m, ag_error *err);
ag_code nn_linear_build(nn_model *m, ag_error *err);

/* The init of a weight with these fan-ins and fan-outs, as the options say. */
void nn_init_weight(const nn_model *m, nn_param *p, int64_t fan_in, int64_t fan_out);
/* Adds beta and, if asked for, gamma of a batch norm over c channels. */
bool nn_add_norm(nn_model *m, int layer, int64_t c);
ag_tensor *nn_activate(const nn_model *m, ag_tape *t, ag_tensor *x);
/* Applies the batch norm whose parameters begin at params[*next] and moves *next behind them. */
ag_tensor *nn_apply_norm(const nn_model *m, ag_tape *t, ag_tensor *const *params, int *next, ag_tensor *x);

#endif
