/* The table of architectures; listing weights and modules; applying modules. Reading is in network_open.c. */
#include "models/network_internal.h"

#include "autograd/op.h"
#include "models/grow.h"
#include "models/network_config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const nn_architecture *const architectures[] = {
    &nn_arch_bert, &nn_arch_llama, &nn_arch_gpt2, &nn_arch_moe, &nn_arch_conv1d, &nn_arch_conv2d,
};

static const nn_architecture *find_architecture(const char *name)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (strcmp(architectures[i]->name, name) == 0)
            return architectures[i];
    return NULL;
}

/* ---- listing ---- */

static ag_code grow(void *array, int n, size_t entry, ag_error *err)
{
    AG_REQUIRE(nn_grow(array, n, entry), err, AG_ENOMEM, "network: no memory for its list of weights");
    return AG_OK;
}

static ag_code count_numbers(nn_weight *w, ag_error *err)
{
    const int64_t most = (int64_t)1 << 40;
    w->numel = 1;
    for (int i = 0; i < w->ndim; i++) {
        AG_REQUIRE(w->shape[i] >= 1, err, AG_EDATA, "%s: axis %d has size %lld; at least 1 is expected", w->name, i, (long long)w->shape[i]);
        AG_REQUIRE(w->shape[i] <= most / w->numel, err, AG_EDATA, "%s: more than 2^40 numbers", w->name);
        w->numel *= w->shape[i];
    }
    return AG_OK;
}

ag_code nn_add_weight(nn_network *net, ag_error *err, int ndim, const int64_t *shape, const char *fmt, ...)
{
    va_list args;
    AG_TRY(err, grow(&net->weight, net->n_weight, sizeof *net->weight, err));
    nn_weight *w = &net->weight[net->n_weight++];
    va_start(args, fmt);
    vsnprintf(w->name, sizeof w->name, fmt, args);
    va_end(args);
    w->ndim = ndim;
    memcpy(w->shape, shape, (size_t)ndim * sizeof *shape);
    return count_numbers(w, err);
}

/* The module `like` with W [shape...] and a bias [like->out]. */
static ag_code add_module(nn_network *net, ag_error *err, const nn_module *like, int ndim, const int64_t *shape, bool bias,
                          const char *fmt, va_list args)
{
    AG_TRY(err, grow(&net->module, net->n_module, sizeof *net->module, err));
    nn_module *m = &net->module[net->n_module++];
    *m = *like;
    vsnprintf(m->name, sizeof m->name, fmt, args);
    m->weight = net->n_weight;
    m->bias = bias ? net->n_weight + 1 : -1;
    AG_TRY(err, nn_add_weight(net, err, ndim, shape, "%s.weight", m->name));
    return bias ? nn_add_weight(net, err, 1, &like->out, "%s.bias", m->name) : AG_OK;
}

ag_code nn_add_module(nn_network *net, ag_error *err, nn_module_kind kind, int64_t in, int64_t out, bool bias, const char *fmt, ...)
{
    int64_t shape[2] = { kind == NN_LINEAR ? out : in, kind == NN_LINEAR ? in : out };
    va_list args;
    va_start(args, fmt);
    ag_code code = add_module(net, err, &(nn_module){ .kind = kind, .in = in, .out = out }, 2, shape, bias, fmt, args);
    va_end(args);
    return code;
}

ag_code nn_add_conv(nn_network *net, ag_error *err, int64_t kh, int64_t kw, int64_t in, int64_t out, const ag_conv *conv,
                    const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    ag_code code = add_module(net, err, &(nn_module){ .kind = NN_CONV, .in = in, .out = out, .conv = *conv }, 4,
                              (int64_t[]){ kh, kw, in, out }, true, fmt, args);
    va_end(args);
    return code;
}

ag_code nn_add_layer_norm(nn_network *net, ag_error *err, int64_t width, const char *fmt, ...)
{
    char name[NN_WEIGHT_NAME - 8];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    AG_TRY(err, nn_add_weight(net, err, 1, &width, "%s.weight", name));
    return nn_add_weight(net, err, 1, &width, "%s.bias", name);
}

ag_code nn_add_lm_head(nn_network *net, ag_error *err, int embedding)
{
    int64_t in = net->config.hidden_size, out = net->config.vocab_size;
    if (!net->config.tied)
        return nn_add_module(net, err, NN_LINEAR, in, out, false, "lm_head");
    AG_TRY(err, grow(&net->module, net->n_module, sizeof *net->module, err));
    net->module[net->n_module++] = (nn_module){ .name = "lm_head", .kind = NN_LINEAR, .weight = net->module[embedding].weight,
                                                .bias = -1, .in = in, .out = out };
    return AG_OK;
}

/* ---- life ---- */

static ag_code fill(nn_network *net, const nn_network_config *c, const char *what, ag_error *err)
{
    net->config = *c;
    net->type = find_architecture(c->architecture);
    AG_REQUIRE(net->type, err, AG_EDATA, "%s: architecture '%.15s'; bert, llama, gpt2, moe, conv1d or conv2d is expected", what,
               c->architecture);
    AG_TRY(err, nn_config_complete(&net->config, what, err));
    return net->type->build(net, err);
}

ag_code nn_network_begin(nn_network **out, const nn_network_config *c, const char *what, ag_error *err)
{
    *out = NULL;
    nn_network *net = ag_alloc_zero(sizeof *net);
    AG_REQUIRE(net, err, AG_ENOMEM, "%s: no memory for a network", what);
    net->own = ag_alloc_zero(sizeof(nn_owned));
    ag_code code = net->own ? fill(net, c, what, err) : ag_fail(err, AG_ENOMEM, "%s: no memory for a network", what);
    if (code != AG_OK) {
        nn_network_close(net);
        return ag_trail(err, code, __func__);
    }
    *out = net;
    return AG_OK;
}

static size_t aligned_bytes(const nn_weight *w)
{
    return ((size_t)w->numel * sizeof *w->data + 63) / 64 * 64;
}

ag_code nn_network_reserve(nn_network *net, const bool *take, ag_error *err)
{
    nn_owned *own = net->own;
    size_t bytes = 0;
    for (int i = 0; i < net->n_weight; i++)
        bytes += !take || take[i] ? aligned_bytes(&net->weight[i]) : 0;
    if (bytes == 0)
        return AG_OK;
    own->numbers = ag_alloc(bytes);
    AG_REQUIRE(own->numbers, err, AG_ENOMEM, "network: no memory for %zu bytes of weights", bytes);
    const ag_real *next = own->numbers;
    for (int i = 0; i < net->n_weight; i++) {
        if (take && !take[i])
            continue;
        net->weight[i].data = next;
        next += aligned_bytes(&net->weight[i]) / sizeof *next;
    }
    return AG_OK;
}

void nn_network_close(nn_network *net)
{
    if (!net)
        return;
    nn_owned *own = net->own;
    if (own) {
        nn_weights_close(own->file);
        ag_free(own->numbers);
    }
    ag_free(own);
    ag_free(net->weight);
    ag_free(net->module);
    ag_free(net);
}

int nn_network_module(const nn_network *net, const char *name)
{
    for (int i = 0; i < net->n_module; i++)
        if (strcmp(net->module[i].name, name) == 0)
            return i;
    return -1;
}

int nn_network_weight(const nn_network *net, const char *name)
{
    for (int i = 0; i < net->n_weight; i++)
        if (strcmp(net->weight[i].name, name) == 0)
            return i;
    return -1;
}

/* ---- formulas ---- */

ag_tensor *nn_module_base(nn_pass *p, int module, ag_tensor *x)
{
    const nn_module *m = &p->net->module[module];
    ag_tensor *w = p->weight[m->weight], *y = NULL;
    switch (m->kind) {
    case NN_LINEAR: y = ag_matmul(p->t, x, ag_transpose(p->t, w, NULL)); break;
    case NN_LINEAR_IN_OUT: y = ag_matmul(p->t, x, w); break;
    case NN_EMBEDDING: y = ag_gather(p->t, w, x); break;
    case NN_CONV: y = ag_conv2d(p->t, x, w, &m->conv); break;
    }
    return m->bias >= 0 ? ag_add(p->t, y, p->weight[m->bias]) : y;
}

ag_tensor *nn_module_apply(nn_pass *p, int module, ag_tensor *x)
{
    ag_tensor *y = x && p->adapt ? p->adapt(p, module, x) : NULL;
    return y ? y : nn_module_base(p, module, x);
}

ag_tensor *nn_layer_norm(nn_pass *p, int weight, ag_tensor *x)
{
    return ag_layer_norm(p->t, x, p->net->config.norm_epsilon, p->weight[weight], p->weight[weight + 1]);
}

ag_tensor *nn_activation(nn_pass *p, ag_tensor *x)
{
    const char *name = p->net->config.activation;
    if (strcmp(name, "relu") == 0)
        return ag_relu(p->t, x);
    if (strcmp(name, "silu") == 0)
        return ag_silu(p->t, x);
    return strcmp(name, "gelu_tanh") == 0 ? ag_gelu_tanh(p->t, x) : ag_gelu(p->t, x);
}

ag_tensor *nn_lm_logits(nn_pass *p, ag_tensor *hidden)
{
    return nn_module_apply(p, p->net->n_module - 1, hidden);
}

static ag_tensor *no_such(nn_pass *p, const char *what)
{
    ag_tape_fail(p->t, AG_EINVAL, "network: %s has no %s", p->net->type->name, what);
    return NULL;
}

ag_tensor *nn_network_hidden(nn_pass *p, const nn_text *text)
{
    const nn_network *net = p->net;
    if (!net->type->hidden)
        return no_such(p, "hidden states of texts");
    if (text->shape.length <= net->config.max_position)
        return net->type->hidden(p, text);
    ag_tape_fail(p->t, AG_EINVAL, "network: texts of up to %lld tokens; this network has %lld positions",
                 (long long)text->shape.length, (long long)net->config.max_position);
    return NULL;
}

ag_tensor *nn_network_logits(nn_pass *p, ag_tensor *hidden)
{
    return p->net->type->logits ? p->net->type->logits(p, hidden) : no_such(p, "logits");
}

ag_tensor *nn_network_features(nn_pass *p, ag_tensor *x)
{
    return p->net->type->features ? p->net->type->features(p, x) : no_such(p, "features of arrays");
}
