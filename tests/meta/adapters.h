/* What the tests of adapters share: tiny networks, and running them with an adapter. */
#ifndef TESTS_META_ADAPTERS_H
#define TESTS_META_ADAPTERS_H

#include "meta/adapter.h"

/* bert | llama | gpt2 | moe | conv1d | conv2d, two layers of width 8; weights of standard deviation 0.3 and biases that are
 * not 0. Ends the test where that fails. */
nn_network *tiny_network(const char *architecture);

/* What a network is run on: texts as rows of ids, or an array. */
typedef struct network_input {
    int64_t n, length;           /* texts of the same length */
    const int32_t *ids;          /* [n, length] */
    int64_t shape[4];            /* or x [n, h, w, c] */
    const ag_real *x;
} network_input;
network_input tiny_input(const nn_network *net);

/* A network with an adapter on a tape of its own. */
typedef struct recording {
    ag_tape *t;
    nn_pass pass;
    meta_adapter_pass with;
    ag_tensor **weights, **params;
    ag_tensor *hidden, *logits;  /* logits NULL where the network has none; features are `hidden` */
} recording;
/* a NULL: the bare network. seed NULL: no dropout. Weights are those of meta_adapter_weight where it has some. */
void record_network(recording *r, const nn_network *net, const meta_adapter *a, const ag_real *values, const network_input *in,
                    const int32_t *seed);
void recording_release(recording *r);
/* All numbers of a tensor, freed with free; *n their number. */
ag_real *numbers_of(const ag_tensor *x, int64_t *n);
/* hidden and, behind it, logits of one run. */
ag_real *network_output(const nn_network *net, const meta_adapter *a, const ag_real *values, const network_input *in, int64_t *n);

meta_adapter *new_adapter(const nn_network *net, const meta_adapter_options *o);
/* Drawn values, plus noise * N(0, 1); freed with free. */
ag_real *adapter_values(const meta_adapter *a, uint64_t seed, double noise);

/* The program as a tool of live_peft.py: its main calls this when it has arguments. Returns the exit code. */
int peft_driver(int argc, char **argv);

#endif
