/* Llama (Touvron et al. 2023; grouped queries as in Llama 2): the feed-forward part is SwiGLU (Shazeer 2020). */
#include "models/decoder.h"

enum { GATE = NN_DECODER_ATTENTION, UP, DOWN, PER_LAYER };     /* modules of a layer, behind its attention */

static ag_code build_layer(nn_network *net, int l, ag_error *err)
{
    int64_t d = net->config.hidden_size, wide = net->config.intermediate_size;
    AG_TRY(err, nn_decoder_add_attention(net, l, err));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR, d, wide, false, "model.layers.%d.mlp.gate_proj", l));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR, d, wide, false, "model.layers.%d.mlp.up_proj", l));
    return nn_add_module(net, err, NN_LINEAR, wide, d, false, "model.layers.%d.mlp.down_proj", l);
}

static ag_code llama_build(nn_network *net, ag_error *err)
{
    AG_TRY(err, nn_decoder_add_embedding(net, err));
    for (int l = 0; l < net->config.n_layer; l++)
        AG_TRY(err, build_layer(net, l, err));
    return nn_decoder_add_end(net, err);
}

static ag_tensor *feed_forward(nn_pass *p, int first, ag_tensor *x)
{
    ag_tensor *gate = nn_activation(p, nn_module_apply(p, first + GATE, x));
    return nn_module_apply(p, first + DOWN, ag_mul(p->t, gate, nn_module_apply(p, first + UP, x)));
}

static ag_tensor *llama_hidden(nn_pass *p, const nn_text *text)
{
    nn_decoder d = nn_decoder_begin(p, text);
    ag_tensor *x = nn_decoder_embed(&d);
    for (int l = 0; l < p->net->config.n_layer; l++) {
        int first = NN_DECODER_FIRST + l * PER_LAYER;
        x = nn_decoder_attention(&d, first, x);
        x = ag_add(p->t, x, feed_forward(p, first, nn_decoder_second_norm(&d, first, x)));
    }
    return nn_decoder_last_norm(&d, x);
}

const nn_architecture nn_arch_llama = { .name = "llama", .prefix = "model", .text = true, .build = llama_build,
                                        .hidden = llama_hidden, .logits = nn_lm_logits };
