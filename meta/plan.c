/* Which parameters the inner loop adapts, how their numbers lie in buffers and frames, and the arithmetic of its step. */
#include "meta/learn_internal.h"

#include <math.h>
#include <string.h>

/* ---- making ---- */

static bool is_adapted(const nn_param *p, const meta_options *o)
{
    if (o->head_only)
        return p->head;
    return o->adapters_only ? p->adapter : !p->norm || o->adapt_norm;
}

static void add_param(meta_plan *plan, const meta_plan_param *given, meta_rate_scope scope, int64_t *n_rate)
{
    meta_plan_param *p = &plan->param[plan->n_param++];
    int64_t *n = given->adapted ? &plan->n_adapted : &plan->n_shared;
    *p = *given;
    p->place = *n;
    *n += p->numel;
    *(p->adapted ? &plan->n_adapted_params : &plan->n_shared_params) += 1;
    if (!p->adapted || scope == META_RATE_ALL)
        return;
    p->rate = *n_rate;
    p->rate_each = scope == META_RATE_ELEMENT && p->offset >= 0;
    *n_rate += p->rate_each ? p->numel : 1;
}

static void add_all(meta_plan *plan, const meta_options *o)
{
    const nn_model *m = plan->model;
    int64_t n_rate = 0;
    for (int i = 0; i < m->n_param; i++) {
        const nn_param *from = &m->param[i];
        meta_plan_param p = { .ndim = from->ndim, .numel = from->numel, .offset = from->offset, .adapted = is_adapted(from, o),
                              .rate_scale = from->rate > 0 ? (ag_real)from->rate : 1 };
        memcpy(p.shape, from->shape, sizeof p.shape);
        add_param(plan, &p, o->rate_scope, &n_rate);
    }
    if (plan->head == META_HEAD_CENTROID) {
        int64_t d = m->options.n_out;
        add_param(plan, &(meta_plan_param){ 2, { plan->way, d }, plan->way * d, -1, true, .rate_scale = 1 }, o->rate_scope, &n_rate);
        add_param(plan, &(meta_plan_param){ 1, { plan->way }, plan->way, -1, true, .rate_scale = 1 }, o->rate_scope, &n_rate);
    }
    plan->n_rate = n_rate > 0 ? n_rate : 1;
}

ag_code meta_plan_init(meta_plan *plan, const nn_model *m, const meta_options *o, ag_error *err)
{
    *plan = (meta_plan){ .model = m, .loss = o->loss, .support_scale = o->support_scale > 0 ? o->support_scale : 1, .head = o->head,
                         .similarity = o->similarity, .head_scale = o->head_scale > 0 ? o->head_scale : 1, .way = o->way };
    AG_REQUIRE(o->head == META_HEAD_MODEL || (o->way >= 2 && o->loss == META_CROSS_ENTROPY), err, AG_EINVAL,
               "meta: a head made from the support needs 2 or more classes and the cross-entropy loss; there are %lld", (long long)o->way);
    AG_REQUIRE((o->loss == META_NEXT_TOKEN) == m->language, err, AG_EINVAL, "meta: %s",
               m->language ? "the model gives logits of every token; the next-token loss is expected"
                           : "the next-token loss needs a model that gives logits of every token");
    plan->param = ag_alloc_zero((size_t)(m->n_param + 2) * sizeof *plan->param);
    AG_REQUIRE(plan->param, err, AG_ENOMEM, "meta: no memory for a plan of %d parameters", m->n_param);
    add_all(plan, o);
    return AG_OK;
}

void meta_plan_release(meta_plan *plan)
{
    ag_free(plan->param);
    plan->param = NULL;
}

bool meta_in_group(const meta_plan_param *p, meta_group g)
{
    switch (g) {
    case META_ADAPTED: return p->adapted;
    case META_SHARED: return !p->adapted;
    case META_START: return p->offset < 0;
    case META_ADAPTED_MODEL: return p->adapted && p->offset >= 0;
    }
    return false;
}

/* ---- binding ---- */

int meta_first_tangent(const meta_plan *plan)
{
    return META_IN_PARAMS + plan->n_param + plan->model->n_frozen;
}

/* Where a task's own parameter begins, before (theta NULL) or after a step. */
static const ag_real *values_of(const meta_plan_param *p, int64_t n_task, const ag_real *init, const ag_real *start, const ag_real *theta)
{
    if (p->adapted && theta)
        return theta + n_task * p->place;
    return p->offset < 0 ? start + n_task * p->place : init + p->offset;
}

void meta_bind_params(const meta_plan *plan, ag_frame *f, int64_t n_task, const ag_real *theta, const ag_real *adapted,
                      const ag_real *start)
{
    for (int i = 0; i < plan->n_param; i++)
        ag_frame_input(f, META_IN_PARAMS + i, values_of(&plan->param[i], n_task, theta, start, adapted));
}

void meta_bind_frozen(const meta_plan *plan, ag_frame *f)
{
    for (int i = 0; i < plan->model->n_frozen; i++)
        ag_frame_input(f, META_IN_PARAMS + plan->n_param + i, plan->model->frozen[i].data);
}

int meta_bind_outputs(const meta_plan *plan, ag_frame *f, int first, int64_t n_task, meta_group g, ag_real *data)
{
    for (int i = 0; i < plan->n_param; i++)
        if (meta_in_group(&plan->param[i], g))
            ag_frame_output(f, first++, data + n_task * plan->param[i].place);
    return first;
}

int meta_bind_inputs(const meta_plan *plan, ag_frame *f, int first, int64_t n_task, meta_group g, const ag_real *data)
{
    for (int i = 0; i < plan->n_param; i++)
        if (meta_in_group(&plan->param[i], g))
            ag_frame_input(f, first++, data + n_task * plan->param[i].place);
    return first;
}

/* ---- the inner step ---- */

/* The rates of a parameter: an array, or NULL and one number. */
static const ag_real *rates_of(const meta_plan_param *p, const meta_rates *r, ag_real *one)
{
    bool known = r->alpha && p->rate < r->n;
    if (known && p->rate_each)
        return r->alpha + p->rate;
    *one = p->rate_scale * (known ? r->alpha[p->rate] : r->fixed);
    return NULL;
}

/* out = from - rate * x, or rate * x where from is NULL; from moves on from task to task by `stride`. */
static void scale_tasks(const meta_plan_param *p, const meta_rates *r, int64_t n_task, const ag_real *from, int64_t stride,
                        const ag_real *x, ag_real *out)
{
    ag_real one = 0;
    const ag_real *each = rates_of(p, r, &one);
    for (int64_t task = 0; task < n_task; task++, x += p->numel, out += p->numel)
        for (int64_t i = 0; i < p->numel; i++) {
            ag_real step = (each ? each[i] * p->rate_scale : one) * x[i];
            out[i] = from ? from[task * stride + i] - step : step;
        }
}

void meta_inner_step(const meta_plan *plan, const meta_rates *r, int64_t n_task, const ag_real *init, const ag_real *start,
                     const ag_real *theta, const ag_real *g, ag_real *next)
{
    for (int i = 0; i < plan->n_param; i++) {
        const meta_plan_param *p = &plan->param[i];
        int64_t at = n_task * p->place, stride = theta || p->offset < 0 ? p->numel : 0;
        if (p->adapted)
            scale_tasks(p, r, n_task, values_of(p, n_task, init, start, theta), stride, g + at, next + at);
    }
}

void meta_apply_rates(const meta_plan *plan, const meta_rates *r, int64_t n_task, const ag_real *x, ag_real *out)
{
    for (int i = 0; i < plan->n_param; i++) {
        const meta_plan_param *p = &plan->param[i];
        if (p->adapted)
            scale_tasks(p, r, n_task, NULL, 0, x + n_task * p->place, out + n_task * p->place);
    }
}

void meta_adam_scale(int64_t n, int64_t step, ag_real *second, ag_real *g)
{
    const double beta2 = 0.999, epsilon = 1e-8, correction = 1 - pow(beta2, (double)step);
    for (int64_t i = 0; i < n; i++) {
        double v = (step > 1 ? beta2 * (double)second[i] : 0) + (1 - beta2) * (double)g[i] * (double)g[i];
        second[i] = (ag_real)v;
        g[i] = (ag_real)((double)g[i] / (sqrt(v / correction) + epsilon));
    }
}
