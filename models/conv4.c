/* The four-block convolution network of few-shot learning (Vinyals et al. 2016; Finn, Abbeel & Levine 2017, app. A.1):
 * four times 3x3 convolution, batch norm, relu; then either stride 2 in each block and the mean over places (Omniglot),
 * or 2x2 max-pooling in each block and all places (miniImageNet); then a dense head. Padding is TensorFlow's SAME. */
#include "models/model_internal.h"

#include <stdio.h>
#include <string.h>

enum { BLOCKS = 4, KERNEL = 3 };

static ag_tensor *conv4_forward(const nn_model *m, ag_tape *t, ag_tensor *const *params, const nn_input *in)
{
    ag_tensor *x = in->x;
    int next = 0;
    int64_t stride = m->options.max_pool ? 1 : 2;
    for (int block = 0; x && block < BLOCKS; block++) {                  /* x [n, h, w, c] */
        const int64_t *shape = ag_shape(x);
        ag_conv c = ag_conv_same(shape[1], shape[2], KERNEL, KERNEL, stride);
        x = ag_conv2d(t, x, params[next++], &c);                         /* w [3, 3, c, filters] */
        if (m->options.batch_norm)
            x = nn_apply_norm(m, t, params, &next, x);
        else
            x = ag_add(t, x, params[next++]);                            /* b [filters] */
        x = nn_activate(m, t, x);
        if (m->options.max_pool)
            x = ag_max_pool2d(t, x, 2, 2, false);
    }
    x = m->options.max_pool ? ag_flatten(t, x, 1) : ag_mean(t, x, AG_AXIS(1) | AG_AXIS(2));   /* x [n, features] */
    return m->options.features ? x : ag_add(t, ag_matmul(t, x, params[next]), params[next + 1]);
}

static bool add_block(nn_model *m, int block, int64_t c_in)
{
    char name[NN_NAME_MAX];
    int64_t filters = m->options.filters;
    snprintf(name, sizeof name, "layer%d.weight", block + 1);
    nn_param *w = nn_add_param(m, name, 4, (int64_t[]){ KERNEL, KERNEL, c_in, filters });
    if (!w)
        return false;
    nn_init_weight(m, w, KERNEL * KERNEL * c_in, KERNEL * KERNEL * filters);
    if (m->options.batch_norm)                                           /* its beta is the bias */
        return nn_add_norm(m, block + 1, filters);
    snprintf(name, sizeof name, "layer%d.bias", block + 1);
    return nn_add_param(m, name, 1, &filters) != NULL;
}

static bool add_head(nn_model *m, int64_t features)
{
    nn_param *w = nn_add_param(m, "head.weight", 2, (int64_t[]){ features, m->options.n_out });
    if (!w)
        return false;
    nn_init_weight(m, w, features, m->options.n_out);
    const char *init = m->options.head_init;
    if (init && strcmp(init, "normal") == 0) {
        w->init = NN_NORMAL;
        w->scale = 1;
    } else if (init && strcmp(init, "zero") == 0) {
        w->init = NN_ZEROS;
    }
    w->head = true;
    nn_param *b = nn_add_param(m, "head.bias", 1, &m->options.n_out);
    if (b)
        b->head = true;
    return b != NULL;
}

ag_code nn_conv4_build(nn_model *m, ag_error *err)
{
    const nn_options *o = &m->options;
    AG_REQUIRE(o->x_ndim == 3, err, AG_EINVAL, "conv4: examples have %d axes; [h, w, c] is expected", o->x_ndim);
    AG_REQUIRE(o->filters >= 1, err, AG_EINVAL, "conv4: %lld filters; at least 1 is expected", (long long)o->filters);
    int64_t h = o->x_shape[0], w = o->x_shape[1];
    bool fits = true;
    for (int block = 0; fits && block < BLOCKS; block++) {
        fits = add_block(m, block, block ? o->filters : o->x_shape[2]);
        h = o->max_pool ? h / 2 : (h + 1) / 2;
        w = o->max_pool ? w / 2 : (w + 1) / 2;
    }
    AG_REQUIRE(h >= 1 && w >= 1, err, AG_EINVAL, "conv4: images of %lld x %lld vanish in four poolings; at least 16 x 16 is expected",
               (long long)o->x_shape[0], (long long)o->x_shape[1]);
    int64_t width = o->filters * (o->max_pool ? h * w : 1);
    if (o->features)
        m->options.n_out = width;
    else
        fits = fits && add_head(m, width);
    AG_REQUIRE(fits, err, AG_ENOMEM, "conv4: no memory for its parameters");
    m->forward = conv4_forward;
    return AG_OK;
}
