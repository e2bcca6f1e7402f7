/* The table of models, and what all share: parameters, initial values, activation, batch norm. */
#include "models/model_internal.h"

#include "autograd/random.h"
#include "models/grow.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *kind;
    ag_code (*build)(nn_model *m, ag_error *err);
} models[] = {
    { "mlp", nn_mlp_build },
    { "conv4", nn_conv4_build },
    { "linear", nn_linear_build },
};

static bool is(const char *option, const char *value)
{
    return option && strcmp(option, value) == 0;
}

static ag_code check_options(const nn_options *o, ag_error *err)
{
    AG_REQUIRE(o->x_ndim == 1 || o->x_ndim == 3, err, AG_EINVAL, "model: examples have %d axes; 1 or 3 are expected", o->x_ndim);
    for (int i = 0; i < o->x_ndim; i++)
        AG_REQUIRE(o->x_shape[i] >= 1, err, AG_EINVAL, "model: axis %d of an example has size %lld; at least 1 is expected", i,
                   (long long)o->x_shape[i]);
    AG_REQUIRE(o->n_out >= 1, err, AG_EINVAL, "model: %lld outputs; at least 1 is expected", (long long)o->n_out);
    AG_REQUIRE(o->n_hidden >= 0 && o->n_hidden <= NN_MAX_HIDDEN, err, AG_EINVAL, "model: %d hidden layers; 0 to %d are possible",
               o->n_hidden, NN_MAX_HIDDEN);
    AG_REQUIRE(!o->activation || is(o->activation, "relu") || is(o->activation, "tanh"), err, AG_EINVAL,
               "model: activation '%s'; relu or tanh is expected", o->activation);
    AG_REQUIRE(!o->init || is(o->init, "xavier") || is(o->init, "he") || is(o->init, "truncated-normal"), err, AG_EINVAL,
               "model: init '%s'; xavier, he or truncated-normal is expected", o->init);
    AG_REQUIRE(!is(o->init, "truncated-normal") || o->init_std > 0, err, AG_EINVAL, "model: init_std %g; above 0 is expected", o->init_std);
    AG_REQUIRE(!o->head_init || is(o->head_init, "xavier") || is(o->head_init, "normal") || is(o->head_init, "zero"), err, AG_EINVAL,
               "model: head_init '%s'; xavier, normal or zero is expected", o->head_init);
    AG_REQUIRE(!o->batch_norm || o->norm_epsilon > 0, err, AG_EINVAL, "model: norm_epsilon %g; above 0 is expected", o->norm_epsilon);
    AG_REQUIRE(o->adapter_rank >= 0, err, AG_EINVAL, "model: adapter_rank %lld; at least 0 is expected", (long long)o->adapter_rank);
    return AG_OK;
}

ag_code nn_model_init(nn_model *m, const nn_options *o, ag_error *err)
{
    memset(m, 0, sizeof *m);
    AG_TRY(err, check_options(o, err));
    m->options = *o;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (is(o->kind, models[i].kind)) {
            ag_code code = models[i].build(m, err);
            if (code != AG_OK)
                nn_model_release(m);
            return code;
        }
    return ag_fail(err, AG_EINVAL, "model: kind '%s'; mlp, conv4 or linear is expected", o->kind ? o->kind : "(none)");
}

void nn_model_release(nn_model *m)
{
    ag_free(m->param);
    ag_free(m->frozen);
    ag_free(m->own);
    memset(m, 0, sizeof *m);
}

nn_param *nn_add_param(nn_model *m, const char *name, int ndim, const int64_t *shape)
{
    if (!nn_grow(&m->param, m->n_param, sizeof *m->param))
        return NULL;
    nn_param *p = &m->param[m->n_param++];
    snprintf(p->name, sizeof p->name, "%s", name);
    p->ndim = ndim;
    p->numel = 1;
    for (int i = 0; i < ndim; i++) {
        p->shape[i] = shape[i];
        p->numel *= shape[i];
    }
    p->offset = m->n_value;
    m->n_value += p->numel;
    return p;
}

void nn_init_weight(const nn_model *m, nn_param *p, int64_t fan_in, int64_t fan_out)
{
    const char *init = m->options.init;
    if (is(init, "truncated-normal")) {
        p->init = NN_TRUNCATED_NORMAL;
        p->scale = m->options.init_std;
    } else if (is(init, "he")) {              /* He et al. 2015 */
        p->init = NN_NORMAL;
        p->scale = sqrt(2.0 / (double)fan_in);
    } else {                                  /* Glorot & Bengio 2010, eq. 16 */
        p->init = NN_UNIFORM;
        p->scale = sqrt(6.0 / (double)(fan_in + fan_out));
    }
}

bool nn_add_norm(nn_model *m, int layer, int64_t c)
{
    char name[NN_NAME_MAX];
    snprintf(name, sizeof name, "layer%d.norm.beta", layer);
    nn_param *p = nn_add_param(m, name, 1, &c);
    if (!p)
        return false;
    p->norm = true;
    if (!m->options.norm_scale)
        return true;
    snprintf(name, sizeof name, "layer%d.norm.gamma", layer);
    p = nn_add_param(m, name, 1, &c);
    if (!p)
        return false;
    p->norm = true;
    p->init = NN_ONES;
    return true;
}

ag_tensor *nn_activate(const nn_model *m, ag_tape *t, ag_tensor *x)
{
    return is(m->options.activation, "tanh") ? ag_tanh(t, x) : ag_relu(t, x);
}

ag_tensor *nn_apply_norm(const nn_model *m, ag_tape *t, ag_tensor *const *params, int *next, ag_tensor *x)
{
    ag_tensor *beta = params[(*next)++], *gamma = m->options.norm_scale ? params[(*next)++] : NULL;
    return ag_batch_norm(t, x, m->options.norm_epsilon, gamma, beta, NULL, NULL);
}

static double draw(const nn_param *p, ag_random *r)
{
    switch (p->init) {
    case NN_ZEROS: return 0;
    case NN_ONES: return 1;
    case NN_NORMAL: return p->scale * ag_random_normal(r);
    case NN_TRUNCATED_NORMAL: return p->scale * ag_random_truncated_normal(r);
    case NN_UNIFORM: return ag_random_uniform(r, -p->scale, p->scale);
    }
    return 0;
}

void nn_model_draw(const nn_model *m, uint64_t seed, ag_real *values)
{
    for (int i = 0; i < m->n_param; i++) {
        const nn_param *p = &m->param[i];
        ag_random r;
        ag_random_init(&r, seed, AG_STREAM_INIT, 0, (uint64_t)i);
        for (int64_t j = 0; j < p->numel; j++)
            values[p->offset + j] = (ag_real)draw(p, &r);
    }
    if (m->draw)
        m->draw(m, seed, values);
}

nn_text_shape nn_model_text(const nn_model *m, int64_t n, int64_t capacity)
{
    if (!m->max_tokens)
        return (nn_text_shape){ 0 };
    return (nn_text_shape){ n, m->max_tokens, capacity > 0 ? capacity : n * m->max_tokens };
}

ag_spec nn_model_x(const nn_model *m, int64_t n, int64_t capacity)
{
    nn_text_shape text = nn_model_text(m, n, capacity);
    if (m->max_tokens)
        return (ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { nn_text_numel(&text) } };
    ag_spec spec = { .ndim = 1 + m->options.x_ndim, .shape = { n } };
    memcpy(spec.shape + 1, m->options.x_shape, (size_t)m->options.x_ndim * sizeof *spec.shape);
    return spec;
}
