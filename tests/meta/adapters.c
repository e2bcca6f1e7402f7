/* Shared by the tests of adapters (adapters.h). */
#include "tests/meta/adapters.h"

#include "autograd/random.h"
#include "tests/check.h"

/* Not Check's assertion: the driver runs no test. */
static void must(bool well, const ag_error *err)
{
    if (well)
        return;
    fprintf(stderr, "%s\n", err->message);
    abort();
}

static const nn_network_config tiny[] = {
    { .architecture = "bert", .vocab_size = 11, .hidden_size = 8, .n_layer = 2, .n_head = 2, .intermediate_size = 12,
      .max_position = 9,
      .type_vocab = 2 },
    { .architecture = "llama", .vocab_size = 11, .hidden_size = 8, .n_layer = 2, .n_head = 2, .n_kv_head = 1,
      .intermediate_size = 12,
      .max_position = 9 },
    { .architecture = "gpt2", .vocab_size = 11, .hidden_size = 8, .n_layer = 2, .n_head = 2, .intermediate_size = 12,
      .max_position = 9, .tied = true },
    { .architecture = "moe", .vocab_size = 11, .hidden_size = 8, .n_layer = 2, .n_head = 2, .n_kv_head = 2, .intermediate_size = 12,
      .max_position = 9, .n_expert = 3, .experts_per_token = 2 },
    { .architecture = "conv1d", .hidden_size = 6, .n_layer = 2, .intermediate_size = 3, .in_channels = 2 },
    { .architecture = "conv2d", .hidden_size = 6, .n_layer = 2, .intermediate_size = 3, .in_channels = 2 },
};

nn_network *tiny_network(const char *architecture)
{
    ag_error err = { 0 };
    nn_network *net = NULL;
    for (size_t i = 0; i < sizeof tiny / sizeof *tiny; i++)
        if (strcmp(tiny[i].architecture, architecture) == 0)
            nn_network_random(&net, &tiny[i], 5, &err);
    must(net != NULL, &err);
    for (int i = 0; i < net->n_weight; i++) {
        ag_real *w = (ag_real *)(uintptr_t)net->weight[i].data;   /* the test made it: larger than 0.02 tells more */
        ag_random r;
        ag_random_init(&r, 77, AG_STREAM_USER, 0, (uint64_t)i);
        for (int64_t j = 0; j < net->weight[i].numel; j++)
            w[j] = net->weight[i].ndim == 1 ? w[j] + (ag_real)(0.1 * ag_random_normal(&r)) : 15 * w[j];
    }
    return net;
}

network_input tiny_input(const nn_network *net)
{
    static const int32_t ids[] = { 1, 7, 3, 10, 0, 5, 2, 2 };
    static ag_real x[2 * 6 * 5 * 2];
    bool flat = strcmp(net->config.architecture, "conv1d") == 0, image = strcmp(net->config.architecture, "conv2d") == 0;
    for (int i = 0; i < (int)(sizeof x / sizeof *x); i++)
        x[i] = (ag_real)((i * 37 % 19) / 9.0 - 1);
    if (flat || image)
        return (network_input){ .shape = { 2, flat ? 1 : 6, 5, 2 }, .x = x };
    return (network_input){ .n = 2, .length = 4, .ids = ids };
}

static ag_tensor *leaf(ag_tape *t, int ndim, const int64_t *shape, const ag_real *data)
{
    ag_spec spec = { .ndim = ndim };
    memcpy(spec.shape, shape, (size_t)ndim * sizeof *shape);
    return ag_value(t, &spec, data);
}

static ag_tensor *hidden_of_texts(recording *r, const network_input *in)
{
    nn_text_shape shape = { in->n, in->length, in->n * in->length };
    int64_t n = nn_text_numel(&shape), *start = malloc((size_t)in->n * sizeof *start), *length = malloc((size_t)in->n * sizeof *length);
    int32_t *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < in->n; i++) {
        start[i] = i * in->length;
        length[i] = in->length;
    }
    nn_text_pack(&shape, in->ids, start, length, x);
    nn_text text = nn_text_split(r->t, ag_value(r->t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { n } }, x), &shape);
    free(start);
    free(length);
    free(x);
    return nn_network_hidden(&r->pass, &text);
}

void record_network(recording *r, const nn_network *net, const meta_adapter *a, const ag_real *values, const network_input *in,
                    const int32_t *seed)
{
    ag_error err = { 0 };
    int n_param = a ? meta_adapter_params(a) : 0;
    *r = (recording){ .t = ag_tape_new(NULL, &err), .weights = calloc((size_t)net->n_weight, sizeof *r->weights),
                      .params = calloc((size_t)n_param + 1, sizeof *r->params) };
    for (int i = 0; i < net->n_weight; i++) {
        const ag_real *frozen = a ? meta_adapter_weight(a, i) : NULL;
        r->weights[i] = leaf(r->t, net->weight[i].ndim, net->weight[i].shape, frozen ? frozen : net->weight[i].data);
    }
    for (int i = 0; i < n_param; i++) {
        const nn_param *p = meta_adapter_param(a, i);
        r->params[i] = leaf(r->t, p->ndim, p->shape, values + p->offset);
    }
    r->with = (meta_adapter_pass){ .adapter = a, .params = r->params };
    if (seed)
        r->with.seed = ag_value(r->t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { 2 } }, seed);
    r->pass = (nn_pass){ .t = r->t, .net = net, .weight = r->weights, .adapt = a ? meta_adapter_apply : NULL, .ctx = &r->with };
    r->hidden = in->ids ? hidden_of_texts(r, in) : nn_network_features(&r->pass, leaf(r->t, 4, in->shape, in->x));
    if (in->ids && strcmp(net->config.architecture, "bert") != 0)
        r->logits = nn_network_logits(&r->pass, r->hidden);
    must(ag_tape_status(r->t, &err) == AG_OK, &err);
}

void recording_release(recording *r)
{
    ag_tape_free(r->t);
    free(r->weights);
    free(r->params);
}

ag_real *numbers_of(const ag_tensor *x, int64_t *n)
{
    *n = x ? ag_numel(x) : 0;
    ag_real *y = malloc((size_t)(*n + 1) * sizeof *y);
    if (x)
        ag_read(x, y);
    return y;
}

ag_real *network_output(const nn_network *net, const meta_adapter *a, const ag_real *values, const network_input *in, int64_t *n)
{
    recording r;
    int64_t n_hidden, n_logits;
    record_network(&r, net, a, values, in, NULL);
    ag_real *hidden = numbers_of(r.hidden, &n_hidden), *logits = numbers_of(r.logits, &n_logits);
    *n = n_hidden + n_logits;
    hidden = realloc(hidden, (size_t)(*n + 1) * sizeof *hidden);
    memcpy(hidden + n_hidden, logits, (size_t)n_logits * sizeof *logits);
    free(logits);
    recording_release(&r);
    return hidden;
}

meta_adapter *new_adapter(const nn_network *net, const meta_adapter_options *o)
{
    ag_error err = { 0 };
    meta_adapter *a;
    must(meta_adapter_new(&a, net, o, &err) == AG_OK, &err);
    return a;
}

ag_real *adapter_values(const meta_adapter *a, uint64_t seed, double noise)
{
    ag_random r;
    ag_real *values = malloc((size_t)meta_adapter_values(a) * sizeof *values);
    meta_adapter_draw(a, seed, values);
    ag_random_init(&r, seed, AG_STREAM_USER, 9, 9);
    for (int64_t i = 0; i < meta_adapter_values(a); i++)
        values[i] += (ag_real)(noise * ag_random_normal(&r));
    return values;
}
