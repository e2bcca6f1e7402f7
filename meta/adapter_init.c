/* First values of an adapter. PEFT's defaults, and three starts:
 *   pissa       W = U S V': B = U_r sqrt(S_r / s), A = sqrt(S_r / s) V_r', frozen W - s B A (Meng, Wang & Zhang 2024)
 *   olora       W = Q R: B = Q_r, A = R_r, frozen W - s B A (Buyukakyuz 2024)
 *   orthogonal  B A = 0 though neither is: A' from the odd, B from the even rows of a random orthogonal matrix */
#include "meta/adapter_internal.h"

#include "autograd/random.h"

#include <math.h>
#include <string.h>

enum { VERA_A = 1, VERA_B };

/* ---- factors taken out of the base weight ---- */

/* b [r, out], a [r, in] as rows. */
static ag_code pissa_rows(const meta_adapted *m, const ag_real *w, double *b, double *a, double *s, ag_error *err)
{
    int64_t so, si;
    meta_weight_strides(m, &so, &si);
    AG_TRY(err, meta_svd_top(w, m->out, m->in, so, si, m->rank, s, b, a, err));
    for (int64_t k = 0; k < m->rank; k++) {
        double root = sqrt(s[k] / m->scale);
        for (int64_t o = 0; o < m->out; o++)
            b[k * m->out + o] *= root;
        for (int64_t i = 0; i < m->in; i++)
            a[k * m->in + i] *= root;
    }
    return AG_OK;
}

static void olora_rows(const meta_adapted *m, const ag_real *w, double *b, double *a)
{
    int64_t so, si;
    meta_weight_strides(m, &so, &si);
    for (int64_t k = 0; k < m->rank; k++) {
        for (int64_t o = 0; o < m->out; o++)
            b[k * m->out + o] = (double)w[o * so + k * si];
        meta_orthogonalize(b, k, m->out);
    }
    memset(a, 0, (size_t)(m->rank * m->in) * sizeof *a);
    for (int64_t k = 0; k < m->rank; k++)
        for (int64_t o = 0; o < m->out; o++)
            for (int64_t i = 0; i < m->in; i++)
                a[k * m->in + i] += b[k * m->out + o] * (double)w[o * so + i * si];
}

/* Rounded to what the adapter stores first, so that residual + s B A is W to rounding. */
static void keep_start(meta_adapted *m, const ag_real *w, const double *b, const double *a)
{
    int64_t so, si, r = m->rank;
    meta_weight_strides(m, &so, &si);
    ag_real *start_a = m->start, *start_b = m->start + r * m->in;
    for (int64_t i = 0; i < r * m->in; i++)
        start_a[i] = (ag_real)a[i];
    for (int64_t o = 0; o < m->out; o++)
        for (int64_t k = 0; k < r; k++)
            start_b[o * r + k] = (ag_real)b[k * m->out + o];
    for (int64_t o = 0; o < m->out; o++)
        for (int64_t i = 0; i < m->in; i++) {
            double sum = 0;
            for (int64_t k = 0; k < r; k++)
                sum += (double)start_b[o * r + k] * (double)start_a[k * m->in + i];
            m->residual[o * so + i * si] = (ag_real)((double)w[o * so + i * si] - m->scale * sum);
        }
}

static ag_code take_out(const meta_adapter *a, meta_adapted *m, ag_error *err)
{
    const nn_module *module = &a->net->module[m->module];
    const ag_real *w = a->net->weight[module->weight].data;
    int64_t r = m->rank;
    AG_REQUIRE(m->scale > 0, err, AG_ECONFIG, "adapter: init %s needs an alpha above 0; '%s' has none", a->options.init,
               module->name);
    m->residual = ag_alloc((size_t)(m->in * m->out) * sizeof *m->residual);
    m->start = ag_alloc((size_t)(r * (m->in + m->out)) * sizeof *m->start);
    double *b = ag_alloc((size_t)(r * m->out) * sizeof *b), *rows = ag_alloc((size_t)(r * m->in) * sizeof *rows), *s = ag_alloc((size_t)r * sizeof *s);
    bool room = m->residual && m->start && b && rows && s;
    ag_code code = room ? AG_OK : ag_fail(err, AG_ENOMEM, "adapter: no memory for the start of '%s'", module->name);
    if (code == AG_OK && a->start == META_PISSA)
        code = pissa_rows(m, w, b, rows, s, err);
    else if (code == AG_OK)
        olora_rows(m, w, b, rows);
    if (code == AG_OK)
        keep_start(m, w, b, rows);
    ag_free(b);
    ag_free(rows);
    ag_free(s);
    return code;
}

/* ---- vera: Kaiming-uniform, shared by all modules ---- */

static void draw_wide(const meta_adapter *a, uint64_t which, ag_real *to, int64_t n, int64_t fan_in)
{
    ag_random r;
    double bound = sqrt(6.0 / (double)fan_in);
    ag_random_init(&r, a->options.vera_seed, AG_STREAM_ADAPTER, which, 0);
    for (int64_t i = 0; i < n; i++)
        to[i] = (ag_real)ag_random_uniform(&r, -bound, bound);
}

static ag_code prepare_vera(meta_adapter *a, ag_error *err)
{
    int64_t r = a->options.rank;
    for (int i = 0; i < a->n_module; i++) {
        a->wide_in = a->wide_in > a->module[i].in ? a->wide_in : a->module[i].in;
        a->wide_out = a->wide_out > a->module[i].out ? a->wide_out : a->module[i].out;
    }
    a->wide_a = ag_alloc((size_t)(r * a->wide_in) * sizeof *a->wide_a);
    a->wide_b = ag_alloc((size_t)(r * a->wide_out) * sizeof *a->wide_b);
    AG_REQUIRE(a->wide_a && a->wide_b, err, AG_ENOMEM, "adapter: no memory for the shared factors");
    draw_wide(a, VERA_A, a->wide_a, r * a->wide_in, a->wide_in);
    draw_wide(a, VERA_B, a->wide_b, r * a->wide_out, r);
    return AG_OK;
}

ag_code meta_adapter_prepare(meta_adapter *a, ag_error *err)
{
    if (a->kind == META_VERA)
        return prepare_vera(a, err);
    for (int i = 0; i < a->n_module && (a->start == META_PISSA || a->start == META_OLORA); i++)
        AG_TRY(err, take_out(a, &a->module[i], err));
    return AG_OK;
}

/* ---- drawing ---- */

static double one_number(const nn_param *p, ag_random *r)
{
    switch (p->init) {
    case NN_NORMAL: return p->scale * ag_random_normal(r);
    case NN_UNIFORM: return ag_random_uniform(r, -p->scale, p->scale);
    case NN_ONES: return 1;
    default: return 0;
    }
}

static void draw_param(const meta_adapter *a, int i, uint64_t seed, ag_real *values)
{
    const nn_param *p = &a->param[i];
    ag_random r;
    ag_random_init(&r, seed, AG_STREAM_ADAPTER, (uint64_t)i, 0);
    for (int64_t j = 0; j < p->numel; j++)
        values[p->offset + j] = (ag_real)one_number(p, &r);
}

/* Turns every vector of r numbers (vector j at x + j step, entries `stride` apart) by the k-th Householder reflection. */
static void reflect(ag_real *x, int64_t count, int64_t step, int64_t stride, const double *h, int64_t k, int64_t r)
{
    for (int64_t j = 0; j < count; j++) {
        ag_real *at = x + j * step;
        double sum = 0;
        for (int64_t i = k; i < r; i++)
            sum += h[i] * (double)at[i * stride];
        for (int64_t i = k; i < r; i++)
            at[i * stride] = (ag_real)((double)at[i * stride] - 2 * sum * h[i]);
    }
}

/* A's columns become Q' z and B's rows Q' z for z with random entries in the even, or odd, places. Q is the Q of a random
 * matrix's QR (Stewart 1980): a product of reflections, of which each is made, used on all and forgotten. */
static void draw_orthogonal(const meta_adapter *a, const meta_adapted *m, uint64_t seed, ag_real *values)
{
    double h[META_ORTHOGONAL_RANK];
    ag_real *va = values + a->param[m->first].offset, *vb = values + a->param[m->first + 1].offset;
    int64_t r = m->rank;
    ag_random random;
    ag_random_init(&random, seed, AG_STREAM_ADAPTER, (uint64_t)m->first, 1);
    for (int64_t k = 0; k < r; k++) {
        for (int64_t i = 0; i < m->in; i++)
            va[k * m->in + i] = (ag_real)(k % 2 ? 0 : ag_random_normal(&random) / 10);
        for (int64_t o = 0; o < m->out; o++)
            vb[o * r + k] = (ag_real)(k % 2 ? ag_random_normal(&random) / 10 : 0);
    }
    for (int64_t k = 0; k + 1 < r; k++) {
        double length = 0;
        for (int64_t i = k; i < r; i++) {
            h[i] = ag_random_normal(&random);
            length += h[i] * h[i];
        }
        h[k] += copysign(sqrt(length), h[k]);
        length = 0;
        for (int64_t i = k; i < r; i++)
            length += h[i] * h[i];
        for (int64_t i = k; i < r; i++)
            h[i] /= sqrt(length);
        reflect(va, m->in, 1, m->in, h, k, r);
        reflect(vb, m->out, r, 1, h, k, r);
    }
}

/* The lengths of the base weight's rows: every start has residual + s B A = W. */
static void draw_magnitude(const meta_adapter *a, const meta_adapted *m, ag_real *to)
{
    const ag_real *w = a->net->weight[a->net->module[m->module].weight].data;
    int64_t so, si;
    meta_weight_strides(m, &so, &si);
    for (int64_t o = 0; o < m->out; o++) {
        double sum = 0;
        for (int64_t i = 0; i < m->in; i++)
            sum += (double)w[o * so + i * si] * (double)w[o * so + i * si];
        to[o] = (ag_real)sqrt(sum);
    }
}

static void draw_module(const meta_adapter *a, const meta_adapted *m, uint64_t seed, ag_real *values)
{
    ag_real *first = values + a->param[m->first].offset;
    if (a->start == META_ORTHOGONAL)
        draw_orthogonal(a, m, seed, values);
    if (m->start)
        memcpy(first, m->start, (size_t)(m->rank * (m->in + m->out)) * sizeof *first);
    if (a->kind == META_DORA)
        draw_magnitude(a, m, values + a->param[m->first + 2].offset);
    for (int64_t k = 0; a->kind == META_VERA && k < m->rank; k++)
        values[a->param[m->first + 1].offset + k] = (ag_real)a->options.vera_d_initial;
}

void meta_adapter_draw(const meta_adapter *a, uint64_t seed, ag_real *values)
{
    for (int i = 0; i < a->n_param; i++)
        draw_param(a, i, seed, values);
    for (int i = 0; i < a->n_module; i++)
        draw_module(a, &a->module[i], seed, values);
}
