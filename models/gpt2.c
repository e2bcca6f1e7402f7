/* GPT-2 (Radford et al. 2019): a decoder with learned positions and the norm in front of each part. Its linear layers are
 * stored [in, out], queries, keys and values in one. */
#include "models/attention.h"
#include "models/network_internal.h"

#include <math.h>

enum { TOKEN, POSITION, FIRST_LAYER };                         /* modules */
enum { ATTENTION, ATTENTION_OUT, WIDE, OUT, PER_LAYER };       /* of a layer */

static ag_code build_layer(nn_network *net, int l, ag_error *err)
{
    int64_t d = net->config.hidden_size, wide = net->config.intermediate_size;
    AG_TRY(err, nn_add_layer_norm(net, err, d, "transformer.h.%d.ln_1", l));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR_IN_OUT, d, 3 * d, true, "transformer.h.%d.attn.c_attn", l));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR_IN_OUT, d, d, true, "transformer.h.%d.attn.c_proj", l));
    AG_TRY(err, nn_add_layer_norm(net, err, d, "transformer.h.%d.ln_2", l));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR_IN_OUT, d, wide, true, "transformer.h.%d.mlp.c_fc", l));
    return nn_add_module(net, err, NN_LINEAR_IN_OUT, wide, d, true, "transformer.h.%d.mlp.c_proj", l);
}

static ag_code gpt2_build(nn_network *net, ag_error *err)
{
    const nn_network_config *c = &net->config;
    AG_TRY(err, nn_add_module(net, err, NN_EMBEDDING, c->vocab_size, c->hidden_size, false, "transformer.wte"));
    AG_TRY(err, nn_add_module(net, err, NN_EMBEDDING, c->max_position, c->hidden_size, false, "transformer.wpe"));
    for (int l = 0; l < net->config.n_layer; l++)
        AG_TRY(err, build_layer(net, l, err));
    AG_TRY(err, nn_add_layer_norm(net, err, net->config.hidden_size, "transformer.ln_f"));
    return nn_add_lm_head(net, err, TOKEN);
}

/* The norm in front of a module: its weights stand before the module's. */
static ag_tensor *norm_before(nn_pass *p, int module, ag_tensor *x)
{
    return nn_layer_norm(p, p->net->module[module].weight - 2, x);
}

static ag_tensor *attend(nn_pass *p, const nn_text *text, int first, ag_tensor *mask, ag_tensor *x)
{
    int64_t heads = p->net->config.n_head, size = p->net->config.head_size;
    ag_tensor *qkv = nn_module_apply(p, first + ATTENTION, norm_before(p, first + ATTENTION, x));
    ag_tensor *all = nn_heads(p->t, text, qkv, 3 * heads, 1, size), *part[3];
    for (int i = 0; i < 3; i++)
        part[i] = ag_slice(p->t, all, 2, i * heads, (i + 1) * heads);
    ag_tensor *seen = nn_attend(p->t, text, part[0], part[1], part[2], mask, 1 / sqrt((double)size));
    return ag_add(p->t, x, nn_module_apply(p, first + ATTENTION_OUT, seen));
}

static ag_tensor *gpt2_hidden(nn_pass *p, const nn_text *text)
{
    ag_tensor *mask = nn_attention_mask(p->t, text, true);
    ag_tensor *x = ag_add(p->t, nn_module_apply(p, TOKEN, text->ids), nn_module_apply(p, POSITION, text->position));
    int first = FIRST_LAYER;
    for (int l = 0; l < p->net->config.n_layer; l++, first += PER_LAYER) {
        x = attend(p, text, first, mask, x);
        ag_tensor *wide = nn_activation(p, nn_module_apply(p, first + WIDE, norm_before(p, first + WIDE, x)));
        x = ag_add(p->t, x, nn_module_apply(p, first + OUT, wide));
    }
    return nn_layer_norm(p, p->net->module[first - 1].bias + 1, x);
}

const nn_architecture nn_arch_gpt2 = { .name = "gpt2", .prefix = "transformer", .text = true, .build = gpt2_build,
                                       .hidden = gpt2_hidden, .logits = nn_lm_logits };
