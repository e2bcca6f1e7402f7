/* What the author of an architecture needs (docs/howto-network.md): a file with one nn_architecture, and a row in network.c.
 *
 * A formula finds its modules by their place: `build` adds them in a fixed order, so layer l's begin at first + l * per_layer.
 * A normalisation is no module; its weights stand beside those of the module next to it. */
#ifndef NN_NETWORK_INTERNAL_H
#define NN_NETWORK_INTERNAL_H

#include "models/network.h"

typedef struct nn_architecture {
    const char *name;
    const char *prefix;          /* of Hugging Face's base model ("bert"): checkpoints have it before their names or not */
    bool text;                   /* reads texts; else arrays */
    /* Lists weights and modules for net->config by nn_add_weight and nn_add_module, in a fixed order. */
    ag_code (*build)(nn_network *net, ag_error *err);
    ag_tensor *(*hidden)(nn_pass *p, const nn_text *text);
    ag_tensor *(*logits)(nn_pass *p, ag_tensor *hidden);
    ag_tensor *(*features)(nn_pass *p, ag_tensor *x);
} nn_architecture;

extern const nn_architecture nn_arch_bert, nn_arch_llama, nn_arch_gpt2, nn_arch_moe, nn_arch_conv1d, nn_arch_conv2d;

/* Each name is a format. Fails with AG_ENOMEM, or AG_EDATA where a size is below 1 or the sizes are beyond all measure. */
ag_code nn_add_weight(nn_network *net, ag_error *err, int ndim, const int64_t *shape, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* A linear module or an embedding, and its weights NAME.weight and, with bias, NAME.bias. */
ag_code nn_add_module(nn_network *net, ag_error *err, nn_module_kind kind, int64_t in, int64_t out, bool bias, const char *fmt, ...)
    __attribute__((format(printf, 7, 8)));
/* A convolution with bias, W [kh, kw, in, out]. */
ag_code nn_add_conv(nn_network *net, ag_error *err, int64_t kh, int64_t kw, int64_t in, int64_t out, const ag_conv *conv,
                    const char *fmt, ...) __attribute__((format(printf, 8, 9)));
/* "lm_head" without bias; with config.tied its weight is that of the module `embedding`. */
ag_code nn_add_lm_head(nn_network *net, ag_error *err, int embedding);
/* gamma and beta [width]: NAME.weight, NAME.bias. */
ag_code nn_add_layer_norm(nn_network *net, ag_error *err, int64_t width, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Layer norm of rows x by weights `weight` (gamma) and `weight` + 1 (beta). */
ag_tensor *nn_layer_norm(nn_pass *p, int weight, ag_tensor *x);
ag_tensor *nn_activation(nn_pass *p, ag_tensor *x);          /* config.activation */
/* The logits of every language model here: module lm_head, the last. */
ag_tensor *nn_lm_logits(nn_pass *p, ag_tensor *hidden);

/* Begins a network of this configuration: checks it, lists weights and modules. *net is NULL on failure; what: the file or
 * caller that messages name. */
ag_code nn_network_begin(nn_network **net, const nn_network_config *c, const char *what, ag_error *err);
/* What a network owns: one block of numbers and, if read from a file, the file. */
typedef struct nn_owned {
    nn_weights *file;
    ag_real *numbers;
} nn_owned;
/* Room for `count` numbers of each weight with take[i], every weight aligned to 64 bytes; sets weight[i].data into it.
 * take NULL: all. */
ag_code nn_network_reserve(nn_network *net, const bool *take, ag_error *err);

#endif
