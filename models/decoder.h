/* What llama and moe share: a decoder's attention with rotary positions and root-mean-square norms, and its ends. */
#ifndef NN_DECODER_H
#define NN_DECODER_H

#include "models/network_internal.h"

enum { NN_DECODER_EMBED, NN_DECODER_FIRST };                   /* modules */
enum { NN_DECODER_Q, NN_DECODER_K, NN_DECODER_V, NN_DECODER_O, NN_DECODER_ATTENTION };   /* the first of each layer */

/* Adds the token embedding; of layer l the first norm, the attention and the second norm; the last norm and lm_head. */
ag_code nn_decoder_add_embedding(nn_network *net, ag_error *err);
ag_code nn_decoder_add_attention(nn_network *net, int l, ag_error *err);
ag_code nn_decoder_add_end(nn_network *net, ag_error *err);

/* What every layer of a pass uses. */
typedef struct nn_decoder {
    nn_pass *pass;
    const nn_text *text;
    ag_tensor *mask, *turn_q, *turn_k;
} nn_decoder;
nn_decoder nn_decoder_begin(nn_pass *p, const nn_text *text);
ag_tensor *nn_decoder_embed(const nn_decoder *d);
/* x + attention(norm(x)) for the layer whose modules begin at `first`. */
ag_tensor *nn_decoder_attention(const nn_decoder *d, int first, ag_tensor *x);
/* norm(x) in front of that layer's feed-forward part. */
ag_tensor *nn_decoder_second_norm(const nn_decoder *d, int first, ag_tensor *x);
ag_tensor *nn_decoder_last_norm(const nn_decoder *d, ag_tensor *x);

#endif
