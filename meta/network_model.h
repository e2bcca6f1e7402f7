/* A pretrained network as something to meta-learn: adapters, chosen base weights and a head are the parameters, the rest is
 * frozen.
 *
 *     nn_model m;
 *     AG_TRY(err, meta_network_model(&m, &(meta_network_model_options){ .net = net, .adapter = a, .max_tokens = 32 }, err));
 *     ... meta_learner_new(&l, &m, ...), as of any model ...
 *     nn_model_release(&m);                          // before the adapter and the network */
#ifndef META_NETWORK_MODEL_H
#define META_NETWORK_MODEL_H

#include "meta/adapter.h"

/* Zero is the default of every field but net. */
typedef struct meta_network_model_options {
    const nn_network *net;           /* both borrowed */
    const meta_adapter *adapter;     /* NULL: none */
    const char *train;               /* regular expression: base weights whose whole name matches are parameters too; NULL: none */
    bool language;                   /* next-token logits (nn_model.language) of a network with lm_head; n_class is then 0 */
    int64_t n_class;                 /* above 0: a linear head "classifier", which starts at 0; else the model gives features */
    int64_t max_tokens;              /* text networks: of one text; at most the network's positions */
    nn_pooling pooling;              /* what of a text's tokens is its feature */
    int64_t x_shape[3];              /* convolution networks: [h, w, c] */
    const ag_real *values;           /* [meta_adapter_values]: the adapter starts with these; NULL: as it draws. Borrowed */
} meta_network_model_options;

/* Parameters in this order: the adapter's, the trained base weights in the network's order, the head's weight [n_class, d] and
 * bias. A language model's last layer is lm_head.weight, where that is trained. Fails with AG_ECONFIG (`train` matches nothing
 * or is no expression, texts and arrays confused, a network that predicts no tokens as language model), AG_EINVAL, AG_ENOMEM. */
ag_code meta_network_model(nn_model *m, const meta_network_model_options *o, ag_error *err);

#endif
