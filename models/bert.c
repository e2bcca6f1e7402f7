/* BERT (Devlin et al. 2018): an encoder with learned positions and the norm behind each residual sum. Dropout is left out, as
 * in evaluation; so is the pooler, which hidden states do not need. Every token is of type 0. */
#include "models/attention.h"
#include "models/network_internal.h"

#include <math.h>

enum { WORD, POSITION, TYPE, FIRST_LAYER };                                       /* modules */
enum { QUERY, KEY, VALUE, ATTENTION_OUT, INTERMEDIATE, OUTPUT, PER_LAYER };       /* of a layer */

static ag_code build_embeddings(nn_network *net, ag_error *err)
{
    const nn_network_config *c = &net->config;
    int64_t d = c->hidden_size;
    AG_TRY(err, nn_add_module(net, err, NN_EMBEDDING, c->vocab_size, d, false, "embeddings.word_embeddings"));
    AG_TRY(err, nn_add_module(net, err, NN_EMBEDDING, c->max_position, d, false, "embeddings.position_embeddings"));
    AG_TRY(err, nn_add_module(net, err, NN_EMBEDDING, c->type_vocab, d, false, "embeddings.token_type_embeddings"));
    return nn_add_layer_norm(net, err, d, "embeddings.LayerNorm");
}

static ag_code build_layer(nn_network *net, int l, ag_error *err)
{
    static const char *const attention[] = { "query", "key", "value" };
    int64_t d = net->config.hidden_size, wide = net->config.intermediate_size;
    for (int i = 0; i < 3; i++)
        AG_TRY(err, nn_add_module(net, err, NN_LINEAR, d, d, true, "encoder.layer.%d.attention.self.%s", l, attention[i]));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR, d, d, true, "encoder.layer.%d.attention.output.dense", l));
    AG_TRY(err, nn_add_layer_norm(net, err, d, "encoder.layer.%d.attention.output.LayerNorm", l));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR, d, wide, true, "encoder.layer.%d.intermediate.dense", l));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR, wide, d, true, "encoder.layer.%d.output.dense", l));
    return nn_add_layer_norm(net, err, d, "encoder.layer.%d.output.LayerNorm", l);
}

static ag_code bert_build(nn_network *net, ag_error *err)
{
    AG_TRY(err, build_embeddings(net, err));
    for (int l = 0; l < net->config.n_layer; l++)
        AG_TRY(err, build_layer(net, l, err));
    return AG_OK;
}

static ag_tensor *embed(nn_pass *p, const nn_text *text)
{
    ag_tensor *type = ag_value(p->t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { 1 } }, (int32_t[]){ 0 });   /* one row for all */
    ag_tensor *x = ag_add(p->t, nn_module_apply(p, WORD, text->ids), nn_module_apply(p, POSITION, text->position));
    x = ag_add(p->t, x, nn_module_apply(p, TYPE, type));
    return nn_layer_norm(p, p->net->module[TYPE].weight + 1, x);
}

/* x + the module's output, normalised by the norm whose weights stand behind the module's. */
static ag_tensor *add_and_norm(nn_pass *p, int module, ag_tensor *x, ag_tensor *inner)
{
    return nn_layer_norm(p, p->net->module[module].bias + 1, ag_add(p->t, x, nn_module_apply(p, module, inner)));
}

static ag_tensor *layer(nn_pass *p, const nn_text *text, int first, ag_tensor *mask, ag_tensor *x)
{
    const nn_network_config *c = &p->net->config;
    ag_tensor *part[3];
    for (int i = QUERY; i <= VALUE; i++)
        part[i] = nn_heads(p->t, text, nn_module_apply(p, first + i, x), c->n_head, 1, c->head_size);
    ag_tensor *seen = nn_attend(p->t, text, part[QUERY], part[KEY], part[VALUE], mask, 1 / sqrt((double)c->head_size));
    x = add_and_norm(p, first + ATTENTION_OUT, x, seen);
    return add_and_norm(p, first + OUTPUT, x, nn_activation(p, nn_module_apply(p, first + INTERMEDIATE, x)));
}

static ag_tensor *bert_hidden(nn_pass *p, const nn_text *text)
{
    ag_tensor *mask = nn_attention_mask(p->t, text, false), *x = embed(p, text);
    for (int l = 0; l < p->net->config.n_layer; l++)
        x = layer(p, text, FIRST_LAYER + l * PER_LAYER, mask, x);
    return x;
}

const nn_architecture nn_arch_bert = { .name = "bert", .prefix = "bert", .text = true, .build = bert_build, .hidden = bert_hidden };
