/* A mixture of experts (Mixtral, Jiang et al. 2024): Llama's attention, and in place of the feed-forward part n_expert of
 * them, of which each token takes the experts_per_token with the largest router logits, weighted by the softmax over those.
 *
 * Every expert is computed for every token and the weights of those not taken are 0 exactly: the shapes do not depend on the
 * numbers, so one program serves all. Gradients reach the router through the weights of those taken; which ones are taken is
 * piecewise constant and has derivative 0, as in every such network. */
#include "models/decoder.h"

#include "autograd/op.h"

enum { GATE = NN_DECODER_ATTENTION, FIRST_EXPERT };            /* modules of a layer, behind its attention */
enum { W1, W2, W3, PER_EXPERT };                               /* of an expert: w2 (silu(w1 x) * w3 x) */

static int64_t per_layer(const nn_network_config *c)
{
    return FIRST_EXPERT + c->n_expert * PER_EXPERT;
}

static ag_code build_layer(nn_network *net, int l, ag_error *err)
{
    const nn_network_config *c = &net->config;
    int64_t d = c->hidden_size, wide = c->intermediate_size;
    AG_TRY(err, nn_decoder_add_attention(net, l, err));
    AG_TRY(err, nn_add_module(net, err, NN_LINEAR, d, c->n_expert, false, "model.layers.%d.block_sparse_moe.gate", l));
    for (int e = 0; e < c->n_expert; e++)
        for (int i = W1; i <= W3; i++)
            AG_TRY(err, nn_add_module(net, err, NN_LINEAR, i == W2 ? wide : d, i == W2 ? d : wide, false,
                                      "model.layers.%d.block_sparse_moe.experts.%d.w%d", l, e, i + 1));
    return AG_OK;
}

static ag_code moe_build(nn_network *net, ag_error *err)
{
    AG_REQUIRE(net->config.experts_per_token <= net->config.n_expert, err, AG_EDATA, "moe: %lld experts a token of %lld",
               (long long)net->config.experts_per_token, (long long)net->config.n_expert);
    AG_TRY(err, nn_decoder_add_embedding(net, err));
    for (int l = 0; l < net->config.n_layer; l++)
        AG_TRY(err, build_layer(net, l, err));
    return nn_decoder_add_end(net, err);
}

/* earlier [E, E]: 1 where the second expert stands before the first. */
static ag_tensor *earlier(ag_tape *t, int64_t e)
{
    ag_real *x = ag_alloc((size_t)(e * e) * sizeof *x);
    if (!x) {
        ag_tape_fail(t, AG_ENOMEM, "moe: no memory for %lld x %lld numbers", (long long)e, (long long)e);
        return NULL;
    }
    for (int64_t i = 0; i < e * e; i++)
        x[i] = i % e < i / e;
    ag_tensor *y = ag_value(t, &(ag_spec){ .ndim = 2, .shape = { e, e } }, x);
    ag_free(x);
    return y;
}

/* 1 where fewer than k logits of the row are larger, of equals the earlier counting as larger: exactly k a row. [m, E] */
static ag_tensor *taken(ag_tape *t, ag_tensor *logits, ag_tensor *before, int64_t k)
{
    int64_t m = ag_shape(logits)[0], e = ag_shape(logits)[1];
    ag_tensor *mine = ag_reshape(t, logits, 3, (int64_t[]){ m, e, 1 }), *other = ag_reshape(t, logits, 3, (int64_t[]){ m, 1, e });
    ag_tensor *larger = ag_add(t, ag_less(t, mine, other), ag_mul(t, ag_equal(t, mine, other), before));
    return ag_less(t, ag_sum(t, larger, AG_AXIS(2)), ag_scalar(t, (double)k - 0.5));
}

/* Weights of the experts [m, E]: the softmax over those taken, 0 for the others. */
static ag_tensor *route(nn_pass *p, int gate, ag_tensor *before, ag_tensor *x)
{
    ag_tensor *logits = nn_module_apply(p, gate, x);
    if (!logits)
        return NULL;
    ag_tensor *take = taken(p->t, ag_detach(p->t, logits), before, p->net->config.experts_per_token);
    return ag_softmax(p->t, ag_add(p->t, logits, ag_affine(p->t, take, 1e9, -1e9)));
}

static ag_tensor *expert(nn_pass *p, int first, ag_tensor *x)
{
    ag_tensor *gate = nn_activation(p, nn_module_apply(p, first + W1, x));
    return nn_module_apply(p, first + W2, ag_mul(p->t, gate, nn_module_apply(p, first + W3, x)));
}

static ag_tensor *feed_forward(nn_pass *p, int first, ag_tensor *before, ag_tensor *x)
{
    ag_tensor *weight = route(p, first + GATE, before, x), *sum = NULL;
    for (int e = 0; e < p->net->config.n_expert; e++) {
        ag_tensor *part = ag_mul(p->t, expert(p, first + FIRST_EXPERT + e * PER_EXPERT, x), ag_slice(p->t, weight, 1, e, e + 1));
        sum = e ? ag_add(p->t, sum, part) : part;
    }
    return sum;
}

static ag_tensor *moe_hidden(nn_pass *p, const nn_text *text)
{
    nn_decoder d = nn_decoder_begin(p, text);
    ag_tensor *x = nn_decoder_embed(&d), *before = earlier(p->t, p->net->config.n_expert);
    for (int64_t l = 0; l < p->net->config.n_layer; l++) {
        int first = (int)(NN_DECODER_FIRST + l * per_layer(&p->net->config));
        x = nn_decoder_attention(&d, first, x);
        x = ag_add(p->t, x, feed_forward(p, first, before, nn_decoder_second_norm(&d, first, x)));
    }
    return nn_decoder_last_norm(&d, x);
}

const nn_architecture nn_arch_moe = { .name = "moe", .prefix = "model", .text = true, .build = moe_build, .hidden = moe_hidden,
                                      .logits = nn_lm_logits };
