/* AdaLoRA's budget and penalty (Zhang et al. 2023): which singular values are kept, and how far singular vectors are from
 * orthogonal. A triplet is a row of A, a column of B and the
 * value between them. Nothing is allocated. */
#include "meta/adapter_internal.h"

#include <math.h>
#include <string.h>

void meta_adalora_importance(const meta_adapter *a, const ag_real *values, const ag_real *grad, double beta1, double beta2,
                             ag_real *ema_s, ag_real *ema_u)
{
    for (int64_t i = 0; i < a->n_value; i++) {
        double now = fabs((double)values[i] * (double)grad[i]);                       /* eq. 8 */
        double s = beta1 * (double)ema_s[i] + (1 - beta1) * now;                      /* eq. 9 */
        ema_s[i] = (ag_real)s;
        ema_u[i] = (ag_real)(beta2 * (double)ema_u[i] + (1 - beta2) * fabs(now - s)); /* eq. 10 */
    }
}

/* n vectors of `length` numbers, number i of vector k at k * step + i * stride. */
typedef struct vectors {
    int64_t first, n, length, step, stride;
} vectors;

static vectors vectors_of(const meta_adapter *a, const meta_adapted *m, int part)
{
    vectors v = { .first = a->param[m->first + part].offset, .n = m->rank };
    if (part == 0) {
        v.length = m->in;
        meta_a_strides(m, &v.stride, &v.step);
    } else {
        v.length = m->out;
        v.stride = m->rank;
        v.step = 1;
    }
    return v;
}

/* (V V' - I)_kl */
static double excess(const vectors *v, const ag_real *values, int64_t k, int64_t l)
{
    const ag_real *x = values + v->first + k * v->step, *y = values + v->first + l * v->step;
    double sum = 0;
    for (int64_t i = 0; i < v->length; i++)
        sum += (double)x[i * v->stride] * (double)y[i * v->stride];
    return sum - (k == l);
}

static double excess_norm(const vectors *v, const ag_real *values)
{
    double sum = 0;
    for (int64_t k = 0; k < v->n; k++)
        for (int64_t l = 0; l < v->n; l++)
            sum += excess(v, values, k, l) * excess(v, values, k, l);
    return sqrt(sum);
}

/* d |V V' - I| / dV = 2 (V V' - I) V / |V V' - I| */
static void add_excess_gradient(const vectors *v, const ag_real *values, double factor, ag_real *grad)
{
    for (int64_t k = 0; k < v->n; k++)
        for (int64_t l = 0; l < v->n; l++) {
            const double f = factor * 2 * excess(v, values, k, l);
            for (int64_t i = 0; i < v->length; i++)
                grad[v->first + k * v->step + i * v->stride] += (ag_real)(f * (double)values[v->first + l * v->step + i * v->stride]);
        }
}

double meta_adalora_penalty(const meta_adapter *a, const ag_real *values, double weight, ag_real *grad)
{
    const double each = weight / (2.0 * a->n_module);
    double sum = 0;
    if (a->kind != META_ADALORA || weight == 0)
        return 0;
    for (int i = 0; i < a->n_module; i++)
        for (int part = 0; part < 2; part++) {
            const vectors v = vectors_of(a, &a->module[i], part);
            const double norm = excess_norm(&v, values);
            sum += each * norm;
            if (grad && norm > 0)
                add_excess_gradient(&v, values, each / norm, grad);
        }
    return sum;
}

static double mean_score(const ag_real *s, const ag_real *u, int64_t n, int64_t stride)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)s[i * stride] * (double)u[i * stride];
    return sum / (double)n;
}

/* Eq. 7 with the scores of eq. 11. */
static double triplet_score(const meta_adapter *a, const meta_adapted *m, int64_t k, const ag_real *s, const ag_real *u)
{
    int64_t ai, ak, at_a = a->param[m->first].offset, at_b = a->param[m->first + 1].offset + k, at_e = a->param[m->first + 2].offset + k;
    meta_a_strides(m, &ai, &ak);
    at_a += k * ak;
    return (double)s[at_e] * (double)u[at_e] + mean_score(s + at_a, u + at_a, m->in, ai) + mean_score(s + at_b, u + at_b, m->out,
            m->rank);
}

/* Numbers that are not negative sort like their bits. */
static uint64_t bits(double x)
{
    uint64_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static int64_t triplets(const meta_adapter *a)
{
    int64_t n = 0;
    for (int i = 0; i < a->n_module; i++)
        n += a->module[i].rank;
    return n;
}

static int64_t count_below(const meta_adapter *a, const ag_real *s, const ag_real *u, uint64_t limit)
{
    int64_t n = 0;
    for (int i = 0; i < a->n_module; i++)
        for (int64_t k = 0; k < a->module[i].rank; k++)
            n += bits(triplet_score(a, &a->module[i], k, s, u)) < limit;
    return n;
}

/* The largest limit with at most `wanted` scores below it, bit by bit. */
static uint64_t find_limit(const meta_adapter *a, const ag_real *s, const ag_real *u, int64_t wanted)
{
    uint64_t limit = 0;
    for (int bit = 63; bit >= 0; bit--)
        if (count_below(a, s, u, limit | (uint64_t)1 << bit) <= wanted)
            limit |= (uint64_t)1 << bit;
    return limit;
}

void meta_adalora_prune(const meta_adapter *a, ag_real *values, const ag_real *ema_s, const ag_real *ema_u, int64_t budget)
{
    int64_t drop = triplets(a) - (budget > 0 ? budget : 0);
    if (a->kind != META_ADALORA || drop <= 0)
        return;
    uint64_t limit = find_limit(a, ema_s, ema_u, drop);
    int64_t ties = drop - count_below(a, ema_s, ema_u, limit);   /* of equals the first go */
    for (int i = 0; i < a->n_module; i++)
        for (int64_t k = 0; k < a->module[i].rank; k++) {
            uint64_t score = bits(triplet_score(a, &a->module[i], k, ema_s, ema_u));
            if (score < limit || (score == limit && ties-- > 0))
                values[a->param[a->module[i].first + 2].offset + k] = 0;
        }
}

int64_t meta_adalora_budget(int64_t first, int64_t last, int64_t t, int64_t warm_up, int64_t final, int64_t steps)
{
    if (t <= warm_up)
        return first;
    if (t > steps - final || steps - final <= warm_up)
        return last;
    double left = 1 - (double)(t - warm_up) / (double)(steps - final - warm_up);
    return (int64_t)((double)(first - last) * left * left * left + (double)last);
}
