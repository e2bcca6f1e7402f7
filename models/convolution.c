/* Convolution networks of any depth over images [n, h, w, c] and sequences [n, 1, w, c]. In PyTorch's words, with k the kernel's
 * size (odd), C channels and d = 1 or 2:
 *
 *     layers = nn.Sequential(*[nn.Sequential(OrderedDict(
 *         conv=nn.Conv{d}d(in_channels if l == 0 else C, C, k, stride=2, padding=k // 2),
 *         norm=nn.GroupNorm(1, C, eps=norm_epsilon),             # left out where norm_epsilon is 0
 *         act=nn.ReLU())) for l in range(n_layer)])
 *     features = layers(x).flatten(2).mean(2)                    # [n, C]
 *
 * The norm is over all places and channels of one example, so no example depends on another. Checkpoints have PyTorch's names
 * ("layers.0.conv.weight") and layout [out, in, (kh,) kw]. config.json: model_type conv1d | conv2d, num_hidden_layers,
 * hidden_size, kernel_size, in_channels, norm_epsilon (0), hidden_act (relu). */
#include "models/network_internal.h"

static ag_code build(nn_network *net, bool two_dimensions, ag_error *err)
{
    const nn_network_config *c = &net->config;
    int64_t k = c->intermediate_size, pad = k / 2;
    AG_REQUIRE(k % 2 == 1, err, AG_EDATA, "%s: a kernel of size %lld; an odd size is expected", c->architecture, (long long)k);
    ag_conv conv = { .stride_h = 1, .stride_w = 2, .left = pad, .right = pad };
    if (two_dimensions) {
        conv.stride_h = 2;
        conv.top = conv.bottom = pad;
    }
    for (int l = 0; l < c->n_layer; l++) {
        AG_TRY(err, nn_add_conv(net, err, two_dimensions ? k : 1, k, l ? c->hidden_size : c->in_channels, c->hidden_size, &conv,
                                "layers.%d.conv", l));
        if (c->norm_epsilon > 0)
            AG_TRY(err, nn_add_layer_norm(net, err, c->hidden_size, "layers.%d.norm", l));
    }
    return AG_OK;
}

static ag_code conv1d_build(nn_network *net, ag_error *err)
{
    return build(net, false, err);
}

static ag_code conv2d_build(nn_network *net, ag_error *err)
{
    return build(net, true, err);
}

static ag_tensor *features(nn_pass *p, ag_tensor *x)
{
    const nn_network *net = p->net;
    double epsilon = net->config.norm_epsilon;
    for (int l = 0; l < net->n_module; l++) {
        x = nn_module_apply(p, l, x);
        if (epsilon > 0) {
            int norm = net->module[l].bias + 1;
            x = ag_normalize(p->t, x, AG_AXIS(1) | AG_AXIS(2) | AG_AXIS(3), epsilon, p->weight[norm], p->weight[norm + 1]);
        }
        x = nn_activation(p, x);
    }
    return ag_mean(p->t, x, AG_AXIS(1) | AG_AXIS(2));
}

const nn_architecture nn_arch_conv1d = { .name = "conv1d", .prefix = "", .build = conv1d_build, .features = features };
const nn_architecture nn_arch_conv2d = { .name = "conv2d", .prefix = "", .build = conv2d_build, .features = features };
