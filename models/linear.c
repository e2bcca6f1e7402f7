/* y = (W + U V') x, or (W + U U') x, the linear model of "Provable Meta-Learning with Low-Rank Adaptations" (Block et
 * al. 2024, section 3): a base matrix and, if asked for, a low-rank adapter. */
#include "models/model_internal.h"

static ag_tensor *linear_forward(const nn_model *m, ag_tape *t, ag_tensor *const *params, const nn_input *in)
{
    ag_tensor *x = in->x;
    ag_tensor *y = ag_matmul(t, x, ag_transpose(t, params[0], NULL));   /* x [n, in]  W [out, in] */
    if (m->options.adapter_rank == 0)
        return y;
    ag_tensor *u = params[1], *v = m->options.adapter_symmetric ? u : params[2];   /* U [out, r]  V [in, r] */
    return ag_add(t, y, ag_matmul(t, ag_matmul(t, x, v), ag_transpose(t, u, NULL)));
}

static bool add_factor(nn_model *m, const char *name, int64_t rows)
{
    nn_param *p = nn_add_param(m, name, 2, (int64_t[]){ rows, m->options.adapter_rank });
    if (!p)
        return false;
    p->init = NN_NORMAL;
    p->scale = m->options.adapter_std;
    p->adapter = true;
    return true;
}

ag_code nn_linear_build(nn_model *m, ag_error *err)
{
    const nn_options *o = &m->options;
    AG_REQUIRE(o->x_ndim == 1, err, AG_EINVAL, "linear: examples have %d axes; 1 is expected", o->x_ndim);
    AG_REQUIRE(!o->adapter_symmetric || o->n_out == o->x_shape[0], err, AG_EINVAL,
               "linear: a symmetric adapter needs as many outputs (%lld) as inputs (%lld)", (long long)o->n_out, (long long)o->x_shape[0]);
    bool fits = nn_add_param(m, "weight", 2, (int64_t[]){ o->n_out, o->x_shape[0] }) != NULL;   /* starts at 0 */
    if (o->adapter_rank > 0)
        fits = fits && add_factor(m, "adapter.U", o->n_out) && (o->adapter_symmetric || add_factor(m, "adapter.V", o->x_shape[0]));
    AG_REQUIRE(fits, err, AG_ENOMEM, "linear: no memory for its parameters");
    m->forward = linear_forward;
    return AG_OK;
}
