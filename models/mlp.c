/* A multi-layer perceptron: dense layers, each but the last followed by batch norm (if asked for) and activation. */
#include "models/model_internal.h"

#include <stdio.h>

static ag_tensor *mlp_forward(const nn_model *m, ag_tape *t, ag_tensor *const *params, const nn_input *in)
{
    ag_tensor *x = in->x;
    int next = 0;
    x = ag_flatten(t, x, 1);                                             /* x [n, width] */
    int layers = m->options.n_hidden + !m->options.features;
    for (int layer = 0; layer < layers; layer++) {
        x = ag_matmul(t, x, params[next++]);                             /* w [in, out] */
        if (layer == m->options.n_hidden || !m->options.batch_norm)
            x = ag_add(t, x, params[next++]);                            /* b [out] */
        if (layer == m->options.n_hidden)
            break;
        if (m->options.batch_norm)                                       /* its beta is the bias */
            x = nn_apply_norm(m, t, params, &next, x);
        x = nn_activate(m, t, x);
    }
    return x;
}

static bool add_layer(nn_model *m, int layer, int64_t in, int64_t out)
{
    char name[NN_NAME_MAX];
    bool last = layer == m->options.n_hidden;
    snprintf(name, sizeof name, "layer%d.weight", layer + 1);
    nn_param *w = nn_add_param(m, name, 2, (int64_t[]){ in, out });
    if (!w)
        return false;
    nn_init_weight(m, w, in, out);
    w->head = last;
    if (m->options.batch_norm && !last)
        return nn_add_norm(m, layer + 1, out);
    snprintf(name, sizeof name, "layer%d.bias", layer + 1);
    nn_param *b = nn_add_param(m, name, 1, &out);
    if (b)
        b->head = last;
    return b != NULL;
}

ag_code nn_mlp_build(nn_model *m, ag_error *err)
{
    const nn_options *o = &m->options;
    int64_t width = 1;
    for (int i = 0; i < o->x_ndim; i++)
        width *= o->x_shape[i];
    for (int layer = 0; layer < o->n_hidden + !o->features; layer++) {
        int64_t out = layer == o->n_hidden ? o->n_out : o->hidden[layer];
        AG_REQUIRE(out >= 1, err, AG_EINVAL, "mlp: layer %d is %lld wide; at least 1 is expected", layer + 1, (long long)out);
        AG_REQUIRE(add_layer(m, layer, width, out), err, AG_ENOMEM, "mlp: no memory for its parameters");
        width = out;
    }
    if (o->features)
        m->options.n_out = width;
    m->forward = mlp_forward;
    return AG_OK;
}
