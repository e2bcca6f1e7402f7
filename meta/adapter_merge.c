/* A module's factors as one matrix, and the merged weight: W + dW, or row by row m (W + dW) / |W + dW| (DoRA). */
#include "meta/adapter_internal.h"

#include <math.h>

void meta_weight_strides(const meta_adapted *m, int64_t *so, int64_t *si)
{
    *so = m->kind == NN_LINEAR ? m->in : 1;
    *si = m->kind == NN_LINEAR ? 1 : m->out;
}

void meta_a_strides(const meta_adapted *m, int64_t *ai, int64_t *ak)
{
    bool turned = m->kind == NN_EMBEDDING || m->kind == NN_CONV;   /* [in, r] */
    *ai = turned ? m->rank : 1;
    *ak = turned ? 1 : m->in;
}

const ag_real *meta_adapter_base(const meta_adapter *a, const meta_adapted *m)
{
    return m->residual ? m->residual : a->net->weight[a->net->module[m->module].weight].data;
}

meta_factors meta_adapter_factors(const meta_adapter *a, const ag_real *values, int i)
{
    const meta_adapted *m = &a->module[i];
    const nn_param *p = &a->param[m->first];
    meta_factors f = { .br = m->rank, .rank = m->rank, .in = m->in, .out = m->out, .scale = m->scale };
    if (a->kind == META_VERA) {
        f.a = a->wide_a;
        f.ai = 1;
        f.ak = a->wide_in;
        f.b = a->wide_b;
        f.row = values + p[0].offset;
        f.middle = values + p[1].offset;
        return f;
    }
    meta_a_strides(m, &f.ai, &f.ak);
    f.a = values + p[0].offset;
    f.b = values + p[1].offset;
    f.middle = a->kind == META_ADALORA ? values + p[2].offset : NULL;
    return f;
}

double meta_factors_at(const meta_factors *f, int64_t row, int64_t column)
{
    double sum = 0;
    for (int64_t k = 0; k < f->rank; k++)
        sum += (double)f->b[row * f->br + k] * (f->middle ? (double)f->middle[k] : 1) * (double)f->a[column * f->ai + k * f->ak];
    return f->scale * sum * (f->row ? (double)f->row[row] : 1);
}

/* A weight that another module has too is no place for what one of them alone adds. */
static ag_code check_alone(const meta_adapter *a, const meta_adapted *m, ag_error *err)
{
    const nn_module *module = a->net->module;
    for (int i = 0; i < a->net->n_module; i++)
        AG_REQUIRE(i == m->module || module[i].weight != module[m->module].weight, err, AG_ECONFIG,
                   "adapter: '%s' has its weight from '%s' (tied): merged, the adapter would change both", module[m->module].name,
                   module[i].name);
    return AG_OK;
}

ag_code meta_adapter_merge(const meta_adapter *a, const ag_real *values, int i, ag_real *out, ag_error *err)
{
    AG_REQUIRE(i >= 0 && i < a->n_module, err, AG_EINVAL, "adapter: module %d; it has %d", i, a->n_module);
    const meta_adapted *m = &a->module[i];
    AG_TRY(err, check_alone(a, m, err));
    const ag_real *w = meta_adapter_base(a, m);
    meta_factors f = meta_adapter_factors(a, values, i);
    int64_t so, si;
    meta_weight_strides(m, &so, &si);
    for (int64_t o = 0; o < m->out; o++) {
        double length = 0;
        for (int64_t c = 0; c < m->in; c++) {
            double whole = (double)w[o * so + c * si] + meta_factors_at(&f, o, c);
            out[o * so + c * si] = (ag_real)whole;
            length += whole * whole;
        }
        double ratio = a->kind == META_DORA ? (double)values[a->param[m->first + 2].offset + o] / sqrt(length) : 1;
        for (int64_t c = 0; a->kind == META_DORA && c < m->in; c++)
            out[o * so + c * si] = (ag_real)(ratio * (double)out[o * so + c * si]);
    }
    return AG_OK;
}
