/* Networks read from checkpoints: weights, named modules, and a formula that an adapter can reach into. The user's manual.
 *
 *     nn_network *net;
 *     AG_TRY(err, nn_network_open(&net, "models/minilm", NULL, err));           // folder or file
 *     nn_pass pass = { .t = tape, .net = net, .weight = weights };              // weight[i] has the shape of net->weight[i]
 *     nn_text text = nn_text_split(tape, x, &shape);
 *     ag_tensor *h = nn_network_hidden(&pass, &text);                           // [C, width], the last hidden states
 *
 * A network is read-only once opened and may be shared between threads. Its numbers are in the mapped file where they are
 * stored as ag_real, else converted once. */
#ifndef NN_NETWORK_H
#define NN_NETWORK_H

#include "models/text.h"
#include "models/weights/weights.h"

enum { NN_WEIGHT_NAME = 128 };

typedef struct nn_weight {
    char name[NN_WEIGHT_NAME];   /* as Hugging Face's model names it: "encoder.layer.0.attention.self.query.weight" */
    int ndim;
    int64_t shape[4];
    int64_t numel;
    const ag_real *data;         /* row-major, lives as long as the network */
} nn_weight;

typedef enum nn_module_kind {
    NN_LINEAR,                   /* y = x W' + b, W [out, in] */
    NN_LINEAR_IN_OUT,            /* y = x W + b, W [in, out]: GPT-2's Conv1D (PEFT's fan_in_fan_out) */
    NN_EMBEDDING,                /* y = W[ids], W [count, width] */
    NN_CONV                      /* y = conv2d(x, W) + b, W [kh, kw, in, out] */
} nn_module_kind;

/* What an adapter can be put on. */
typedef struct nn_module {
    char name[NN_WEIGHT_NAME];   /* its weight's name without ".weight"; a tied "lm_head" has the token embedding's weight */
    nn_module_kind kind;
    int weight, bias;            /* indices of net->weight; bias -1: none */
    int64_t in, out;             /* embedding: count, width; convolution: channels */
    ag_conv conv;
} nn_module;

/* The sizes, as config.json names them; 0 where the architecture has no such thing. */
typedef struct nn_network_config {
    char architecture[16];       /* bert | llama | gpt2 | moe | conv1d | conv2d */
    int64_t vocab_size, hidden_size, n_layer, n_head, n_kv_head, head_size, intermediate_size, max_position, type_vocab;
    int64_t n_expert, experts_per_token;
    int64_t in_channels;         /* convolutions; their hidden_size is the channels, their intermediate_size the kernel's size */
    double norm_epsilon, rope_theta;
    char activation[16];         /* gelu | gelu_tanh | silu | relu */
    bool tied;                   /* logits by the transposed token embedding */
} nn_network_config;

typedef struct nn_network nn_network;
typedef struct nn_pass nn_pass;

struct nn_network {
    nn_network_config config;
    int n_weight, n_module;
    nn_weight *weight;
    nn_module *module;
    char path[512];              /* as it was opened; "random:SEED" */
    char digest[NN_DIGEST_TEXT]; /* of the weights' file; of a random network's numbers */
    const struct nn_architecture *type;
    void *own;                   /* of the reader */
};

typedef struct nn_network_options {
    const char *architecture;    /* NULL: as config.json, GGUF's general.architecture or llama2.c's header say */
} nn_network_options;

/* path: a folder with config.json and model.safetensors (or one .gguf), or a .gguf or llama2.c .bin file. A config that
 * disagrees with the weights, a missing tensor, a wrong shape: AG_EDATA, naming it. Also AG_EIO, AG_ENOMEM. */
ag_code nn_network_open(nn_network **net, const char *path, const nn_network_options *o, ag_error *err);
/* A network of this configuration with random weights N(0, 0.02^2) (norms: ones and zeros), for tests and generated data. */
ag_code nn_network_random(nn_network **net, const nn_network_config *c, uint64_t seed, ag_error *err);
void nn_network_close(nn_network *net);                       /* NULL is allowed */
int nn_network_module(const nn_network *net, const char *name);   /* -1: none */
int nn_network_weight(const nn_network *net, const char *name);   /* -1: none */

/* One recording of the network on a tape. */
struct nn_pass {
    ag_tape *t;
    const nn_network *net;
    ag_tensor *const *weight;    /* [n_weight] */
    /* Puts an adapter on a module: gives the module's whole output for x, or NULL where the module is left as it is (then
     * nn_module_base is taken). NULL: no adapters. */
    ag_tensor *(*adapt)(nn_pass *pass, int module, ag_tensor *x);
    void *ctx;                   /* of adapt */
};

/* The module's own output, bias included, without adapter. x: rows [m, in]; embedding: int32 [m]; convolution: [n, h, w, in]. */
ag_tensor *nn_module_base(nn_pass *p, int module, ag_tensor *x);
/* With what adapt says. Formulas call this for every module. */
ag_tensor *nn_module_apply(nn_pass *p, int module, ag_tensor *x);

/* Last hidden states [C, hidden] of a text network, after its last normalisation. */
ag_tensor *nn_network_hidden(nn_pass *p, const nn_text *text);
/* Next-token logits [m, vocab] of hidden rows [m, hidden] (llama, gpt2, moe). */
ag_tensor *nn_network_logits(nn_pass *p, ag_tensor *hidden);
/* Features [n, hidden] of a convolution network from x [n, h, w, c] (1-D: h = 1). */
ag_tensor *nn_network_features(nn_pass *p, ag_tensor *x);

#endif
