/* What llama and moe share, see decoder.h. */
#include "models/decoder.h"

#include "models/attention.h"

#include <math.h>

ag_code nn_decoder_add_embedding(nn_network *net, ag_error *err)
{
    return nn_add_module(net, err, NN_EMBEDDING, net->config.vocab_size, net->config.hidden_size, false, "model.embed_tokens");
}

ag_code nn_decoder_add_attention(nn_network *net, int l, ag_error *err)
{
    const nn_network_config *c = &net->config;
    int64_t d = c->hidden_size, q = c->n_head * c->head_size, kv = c->n_kv_head * c->head_size;
    AG_TRY(err, nn_add_weight(net, err, 1, &d, "model.layers.%d.input_layernorm.weight", l));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR, d, q, false, "model.layers.%d.self_attn.q_proj", l));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR, d, kv, false, "model.layers.%d.self_attn.k_proj", l));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR, d, kv, false, "model.layers.%d.self_attn.v_proj", l));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR, q, d, false, "model.layers.%d.self_attn.o_proj", l));
    return nn_add_weight(net, err, 1, &d, "model.layers.%d.post_attention_layernorm.weight", l);
}

ag_code nn_decoder_add_end(nn_network *net, ag_error *err)
{
    AG_TRY(err, nn_add_weight(net, err, 1, &net->config.hidden_size, "model.norm.weight"));
    return nn_add_lm_head(net, err, NN_DECODER_EMBED);
}

nn_decoder nn_decoder_begin(nn_pass *p, const nn_text *text)
{
    const nn_network_config *c = &p->net->config;
    return (nn_decoder){
        .pass = p, .text = text, .mask = nn_attention_mask(p->t, text, true),
        .turn_q = nn_rotary_table(p->t, text, c->head_size, c->rope_theta, 1 / sqrt((double)c->head_size)),   /* with the scores' scale */
        .turn_k = nn_rotary_table(p->t, text, c->head_size, c->rope_theta, 1),
    };
}

ag_tensor *nn_decoder_embed(const nn_decoder *d)
{
    return nn_module_apply(d->pass, NN_DECODER_EMBED, d->text->ids);
}

static ag_tensor *norm(const nn_decoder *d, int weight, ag_tensor *x)
{
    return nn_rms_norm(d->pass->t, x, d->pass->net->config.norm_epsilon, d->pass->weight[weight]);
}

ag_tensor *nn_decoder_attention(const nn_decoder *d, int first, ag_tensor *x)
{
    nn_pass *p = d->pass;
    const nn_network_config *c = &p->net->config;
    ag_tensor *h = norm(d, p->net->module[first + NN_DECODER_Q].weight - 1, x);
    ag_tensor *q = nn_rotate(p->t, nn_module_apply(p, first + NN_DECODER_Q, h), c->n_head, c->head_size, d->turn_q);
    ag_tensor *k = nn_rotate(p->t, nn_module_apply(p, first + NN_DECODER_K, h), c->n_kv_head, c->head_size, d->turn_k);
    ag_tensor *v = nn_module_apply(p, first + NN_DECODER_V, h);
    q = nn_heads(p->t, d->text, q, c->n_kv_head, c->n_head / c->n_kv_head, c->head_size);
    k = nn_heads(p->t, d->text, k, c->n_kv_head, 1, c->head_size);
    v = nn_heads(p->t, d->text, v, c->n_kv_head, 1, c->head_size);
    ag_tensor *seen = nn_attend(p->t, d->text, q, k, v, d->mask, 1);
    return ag_add(p->t, x, nn_module_apply(p, first + NN_DECODER_O, seen));
}

ag_tensor *nn_decoder_second_norm(const nn_decoder *d, int first, ag_tensor *x)
{
    return norm(d, d->pass->net->module[first + NN_DECODER_O].weight + 1, x);
}

ag_tensor *nn_decoder_last_norm(const nn_decoder *d, ag_tensor *x)
{
    const nn_network *net = d->pass->net;
    return norm(d, net->module[net->n_module - 2].weight + 1, x);   /* behind the last module but lm_head */
}
