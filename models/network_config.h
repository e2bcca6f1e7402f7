/* Configurations: from config.json, from GGUF's keys, from llama2.c's header. */
#ifndef NN_NETWORK_CONFIG_H
#define NN_NETWORK_CONFIG_H

#include "models/network.h"

/* Fills in what is 0 and has a usual value for the architecture (head_size, n_kv_head, norm_epsilon, ...) and checks the rest.
 * Fails with AG_EDATA, which names `what` and the size. */
ag_code nn_config_complete(nn_network_config *c, const char *what, ag_error *err);

/* architecture NULL: by model_type. What the file says and no formula here does (other positions, scaled rotations, biases
 * where we have none) is refused. Sets c->tied as the file says or the type's default is. Fails with AG_EIO, AG_EDATA, AG_ENOMEM. */
ag_code nn_config_from_json(nn_network_config *c, const char *path, const char *architecture, ag_error *err);
/* Of a GGUF or llama2.c file. */
ag_code nn_config_from_weights(nn_network_config *c, const nn_weights *w, const char *architecture, ag_error *err);

#endif
