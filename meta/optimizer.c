/* Adam and SGD with momentum, clipping, schedules (optimizer.h). */
#include "meta/optimizer.h"

#include <math.h>
#include <string.h>

ag_code meta_optimizer_init(meta_optimizer *o, const meta_optimizer_options *opt, int64_t n, ag_error *err)
{
    memset(o, 0, sizeof *o);
    o->options = *opt;
    o->n = n;
    if (opt->beta1 == 0)
        o->options.beta1 = 0.9;
    if (opt->beta1 < 0)
        o->options.beta1 = 0;
    if (opt->beta2 == 0)
        o->options.beta2 = 0.999;
    if (opt->epsilon == 0)
        o->options.epsilon = 1e-8;
    size_t bytes = (size_t)n * sizeof(ag_real);
    o->first = ag_alloc_zero(bytes);
    o->second = opt->kind == META_ADAM ? ag_alloc_zero(bytes) : NULL;
    if (!o->first || (opt->kind == META_ADAM && !o->second)) {
        meta_optimizer_release(o);
        return ag_fail(err, AG_ENOMEM, "optimizer: no memory for %lld parameters", (long long)n);
    }
    return AG_OK;
}

void meta_optimizer_release(meta_optimizer *o)
{
    ag_free(o->first);
    ag_free(o->second);
    o->first = o->second = NULL;
}

double meta_norm(int64_t n, const ag_real *x)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void clip(const meta_optimizer_options *opt, int64_t n, ag_real *grad)
{
    if (opt->clip_value > 0) {
        ag_real limit = (ag_real)opt->clip_value;
        for (int64_t i = 0; i < n; i++)
            grad[i] = grad[i] > limit ? limit : grad[i] < -limit ? -limit : grad[i];
    }
    double norm = opt->clip_norm > 0 ? meta_norm(n, grad) : 0;
    if (norm > opt->clip_norm) {
        ag_real scale = (ag_real)(opt->clip_norm / norm);
        for (int64_t i = 0; i < n; i++)
            grad[i] *= scale;
    }
}

static void adam(meta_optimizer *o, double lr, const ag_real *restrict grad, ag_real *restrict values)
{
    const meta_optimizer_options *opt = &o->options;
    double t = (double)o->step;
    ag_real rate = (ag_real)(lr * sqrt(1 - pow(opt->beta2, t)) / (1 - pow(opt->beta1, t)));
    ag_real b1 = (ag_real)opt->beta1, b2 = (ag_real)opt->beta2, epsilon = (ag_real)opt->epsilon;
    ag_real *restrict m = o->first, *restrict v = o->second;
    for (int64_t i = 0; i < o->n; i++) {
        m[i] = b1 * m[i] + (1 - b1) * grad[i];
        v[i] = b2 * v[i] + (1 - b2) * grad[i] * grad[i];
        ag_real each = opt->scale ? rate * opt->scale[i] : rate;
        values[i] -= each * m[i] / ((ag_real)sqrt((double)v[i]) + epsilon);
    }
}

static void sgd(meta_optimizer *o, double lr, const ag_real *restrict grad, ag_real *restrict values)
{
    ag_real momentum = (ag_real)o->options.momentum, rate = (ag_real)lr;
    for (int64_t i = 0; i < o->n; i++) {
        o->first[i] = momentum * o->first[i] + grad[i];
        values[i] -= (o->options.scale ? rate * o->options.scale[i] : rate) * o->first[i];
    }
}

void meta_optimizer_step(meta_optimizer *o, double lr, ag_real *grad, ag_real *values)
{
    clip(&o->options, o->n, grad);
    o->step++;
    ag_real keep = (ag_real)(1 - lr * o->options.weight_decay);
    for (int64_t i = 0; o->options.weight_decay > 0 && i < o->options.n_decay; i++)
        values[i] *= keep;
    (o->options.kind == META_ADAM ? adam : sgd)(o, lr, grad, values);
}

double meta_schedule_rate(meta_schedule s, double first, double last, int64_t i, int64_t n)
{
    double done = n > 0 ? (double)i / (double)n : 0;
    switch (s) {
    case META_CONSTANT: return first;
    case META_LINEAR: return first + (last - first) * done;
    case META_COSINE: return last + (first - last) * 0.5 * (1 + cos(3.14159265358979323846 * done));
    }
    return first;
}
