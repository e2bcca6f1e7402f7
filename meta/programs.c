/* The compiled programs behind every gradient-based meta-learner, and the arithmetic of the inner step. */
#include "meta/learn_internal.h"

#include <string.h>

void meta_plan_init(meta_plan *plan, const nn_model *m, const meta_options *o)
{
    memset(plan, 0, sizeof *plan);
    plan->model = m;
    plan->loss = o->loss;
    plan->support_scale = o->support_scale > 0 ? o->support_scale : 1;
    for (int i = 0; i < m->n_param; i++) {
        const nn_param *p = &m->param[i];
        plan->adapted[i] = o->adapters_only ? p->adapter : !p->norm || o->adapt_norm;
        int64_t *n = plan->adapted[i] ? &plan->n_adapted : &plan->n_shared;
        plan->place[i] = *n;
        *n += p->numel;
        *(plan->adapted[i] ? &plan->n_adapted_params : &plan->n_shared_params) += 1;
    }
}

/* ---- recording ---- */

typedef struct recorder {
    const meta_plan *plan;
    const meta_program_options *o;
    ag_tape *t;
    ag_tensor *x, *y;
    ag_tensor *param[NN_MAX_PARAMS];                 /* per task, in the model's order */
    ag_tensor *ordered[NN_MAX_PARAMS];               /* adapted first, then shared */
    int n_param;
} recorder;

static void record_inputs(recorder *r)
{
    const nn_model *m = r->plan->model;
    const nn_options *mo = &m->options;
    ag_spec x = { .tasks = true, .ndim = 1 + mo->x_ndim, .shape = { r->o->n_example } };
    ag_spec y = { .tasks = true, .ndim = 1, .shape = { r->o->n_example }, .dtype = AG_INT };
    memcpy(x.shape + 1, mo->x_shape, (size_t)mo->x_ndim * sizeof *x.shape);
    if (r->plan->loss == META_MSE)
        y = (ag_spec){ .tasks = true, .ndim = 2, .shape = { r->o->n_example, mo->n_out } };
    r->x = ag_input(r->t, &x);
    r->y = ag_input(r->t, &y);
    r->n_param = m->n_param;
    int adapted = 0, shared = r->plan->n_adapted_params;
    for (int i = 0; i < m->n_param; i++) {
        bool own = r->plan->adapted[i];
        ag_spec spec = { .tasks = own && !r->o->theta_shared, .stage = 1, .ndim = m->param[i].ndim };
        memcpy(spec.shape, m->param[i].shape, sizeof m->param[i].shape);
        /* Gradients are wanted per task, also for what all tasks share: sums then have a fixed order of ours. */
        r->param[i] = ag_task_expand(r->t, ag_input(r->t, &spec));
        r->ordered[own ? adapted++ : shared++] = r->param[i];
    }
}

/* The mean loss [] of each task, over the examples from `from` on; *hits, if not NULL, the share that is right. */
static ag_tensor *record_loss(recorder *r, int64_t from, ag_tensor **hits)
{
    ag_tape *t = r->t;
    const nn_model *m = r->plan->model;
    ag_tensor *out = ag_slice(t, m->forward(m, t, r->param, r->x), 0, from, r->o->n_example);
    ag_tensor *y = ag_slice(t, r->y, 0, from, r->o->n_example);
    if (r->plan->loss == META_MSE)
        return ag_mse(t, out, y);
    if (hits)
        *hits = ag_mean(t, ag_hit(t, out, y), AG_ALL_AXES);
    return ag_mean(t, ag_cross_entropy(t, out, y), AG_ALL_AXES);
}

static void record_hessian(recorder *r, ag_tensor *loss, ag_tensor **out)
{
    const nn_model *m = r->plan->model;
    ag_tensor *grads[NN_MAX_PARAMS], *tangents[NN_MAX_PARAMS];
    int adapted = r->plan->n_adapted_params, n = 0;
    for (int i = 0; i < m->n_param; i++) {
        if (!r->plan->adapted[i])
            continue;
        ag_spec spec = { .tasks = true, .stage = 2, .ndim = m->param[i].ndim };
        memcpy(spec.shape, m->param[i].shape, sizeof m->param[i].shape);
        tangents[n++] = ag_input(r->t, &spec);
    }
    ag_grad(r->t, loss, NULL, r->n_param, r->ordered, grads);
    ag_jvp(r->t, adapted, r->ordered, tangents, r->n_param, grads, out);
}

static ag_code compile_with(ag_code (*record)(recorder *r, ag_tensor **outs, int *n), const meta_plan *plan,
                            const meta_program_options *o, ag_program **p, ag_error *err)
{
    ag_tensor *outs[2 + 3 * NN_MAX_PARAMS];
    int n = 0;
    *p = NULL;
    recorder r = { .plan = plan, .o = o, .t = ag_tape_new(&(ag_tape_options){ .n_task = o->n_task, .symbolic = true }, err) };
    if (!r.t)
        return AG_ENOMEM;
    record_inputs(&r);
    ag_code code = record(&r, outs, &n);
    if (code == AG_OK)
        code = ag_tape_status(r.t, err);
    else
        ag_tape_status(r.t, err);
    if (code == AG_OK)
        code = ag_compile(r.t, n, outs, p, err);
    ag_tape_free(r.t);
    return ag_trail(err, code, __func__);
}

static ag_code record_support(recorder *r, ag_tensor **outs, int *n)
{
    int adapted = r->plan->n_adapted_params;
    ag_tensor *loss = record_loss(r, 0, NULL), *scaled = ag_scale(r->t, loss, r->plan->support_scale);
    outs[(*n)++] = loss;
    int wanted = r->o->shared_gradient ? r->n_param : adapted;
    ag_code code = ag_grad(r->t, scaled, NULL, wanted, r->ordered, outs + *n);
    *n += wanted;
    if (r->o->hessian) {
        record_hessian(r, scaled, outs + *n);
        *n += r->n_param;
    }
    return code;
}

ag_code meta_compile_support(const meta_plan *plan, const meta_program_options *o, ag_program **p, ag_error *err)
{
    return compile_with(record_support, plan, o, p, err);
}

static ag_code record_query(recorder *r, ag_tensor **outs, int *n)
{
    ag_tensor *hits = NULL, *loss = record_loss(r, r->o->score_from, &hits);
    outs[(*n)++] = loss;
    if (hits)
        outs[(*n)++] = hits;
    if (!r->o->gradient)
        return AG_OK;
    ag_code code = ag_grad(r->t, loss, NULL, r->n_param, r->ordered, outs + *n);
    *n += r->n_param;
    return code;
}

ag_code meta_compile_query(const meta_plan *plan, const meta_program_options *o, ag_program **p, ag_error *err)
{
    return compile_with(record_query, plan, o, p, err);
}

/* ---- binding ---- */

void meta_bind_params(const meta_plan *plan, ag_frame *f, int64_t n_task, const ag_real *theta, const ag_real *adapted)
{
    for (int i = 0; i < plan->model->n_param; i++) {
        const ag_real *own = adapted ? adapted + n_task * plan->place[i] : theta + plan->model->param[i].offset;
        ag_frame_input(f, META_IN_PARAMS + i, plan->adapted[i] ? own : theta + plan->model->param[i].offset);
    }
}

int meta_bind_outputs(const meta_plan *plan, ag_frame *f, int first, int64_t n_task, bool of_adapted, ag_real *data)
{
    for (int i = 0; i < plan->model->n_param; i++)
        if (plan->adapted[i] == of_adapted)
            ag_frame_output(f, first++, data + n_task * plan->place[i]);
    return first;
}

int meta_bind_tangents(const meta_plan *plan, ag_frame *f, int first, int64_t n_task, const ag_real *data)
{
    for (int i = 0; i < plan->model->n_param; i++)
        if (plan->adapted[i])
            ag_frame_input(f, first++, data + n_task * plan->place[i]);
    return first;
}

/* ---- data ---- */

ag_code meta_data_init(meta_data *d, const meta_plan *plan, int64_t n_task, int64_t n_support, int64_t n_query, ag_error *err)
{
    const nn_options *o = &plan->model->options;
    memset(d, 0, sizeof *d);
    d->n_support = n_support;
    d->n_query = n_query;
    d->x_numel = 1;
    for (int i = 0; i < o->x_ndim; i++)
        d->x_numel *= o->x_shape[i];
    d->y_bytes = plan->loss == META_MSE ? (size_t)o->n_out * sizeof(ag_real) : sizeof(int32_t);
    size_t support = (size_t)(n_task * n_support), query = (size_t)(n_task * n_query);
    d->support_x = ag_alloc_zero(support * (size_t)d->x_numel * sizeof(ag_real));
    d->support_y = ag_alloc_zero(support * d->y_bytes);
    d->query_x = ag_alloc_zero(query * (size_t)d->x_numel * sizeof(ag_real));
    d->query_y = ag_alloc_zero(query * d->y_bytes);
    if (d->support_x && d->support_y && d->query_x && d->query_y)
        return AG_OK;
    meta_data_release(d);
    return ag_fail(err, AG_ENOMEM, "meta: no memory for the episodes of a chunk of %lld tasks", (long long)n_task);
}

void meta_data_release(meta_data *d)
{
    ag_free(d->support_x);
    ag_free(d->support_y);
    ag_free(d->query_x);
    ag_free(d->query_y);
    memset(d, 0, sizeof *d);
}

size_t meta_data_bytes(const meta_data *d, int64_t n_task)
{
    return (size_t)(n_task * (d->n_support + d->n_query)) * ((size_t)d->x_numel * sizeof(ag_real) + d->y_bytes);
}

static void repeat_first(void *data, size_t bytes, int64_t count, int64_t n_task)
{
    for (int64_t i = count; i < n_task && bytes; i++)
        memcpy((char *)data + (size_t)i * bytes, data, bytes);
}

ag_code meta_data_fetch(meta_data *d, const meta_batch *b, int64_t first, int64_t count, int64_t n_task, ag_error *err)
{
    AG_TRY(err, b->fetch(b->ctx, first, count, d->support_x, d->support_y, d->query_x, d->query_y, err));
    size_t x = (size_t)d->x_numel * sizeof(ag_real);
    repeat_first(d->support_x, (size_t)d->n_support * x, count, n_task);
    repeat_first(d->support_y, (size_t)d->n_support * d->y_bytes, count, n_task);
    repeat_first(d->query_x, (size_t)d->n_query * x, count, n_task);
    repeat_first(d->query_y, (size_t)d->n_query * d->y_bytes, count, n_task);
    return AG_OK;
}

/* ---- the inner step ---- */

/* The rate of adapted parameter p: one number, or (element scope) an array. */
static const ag_real *rate_of(const meta_plan *plan, const meta_rates *r, int p, ag_real *one)
{
    if (!r->alpha) {
        *one = r->fixed;
        return NULL;
    }
    if (r->scope == META_RATE_ELEMENT)
        return r->alpha + plan->place[p];
    int index = 0;
    for (int i = 0; i < p; i++)
        index += plan->adapted[i];
    *one = r->alpha[r->scope == META_RATE_TENSOR ? index : 0];
    return NULL;
}

void meta_inner_step(const meta_plan *plan, const meta_rates *r, int64_t n_task, const ag_real *init, const ag_real *theta,
                     const ag_real *g, ag_real *next)
{
    for (int p = 0; p < plan->model->n_param; p++) {
        if (!plan->adapted[p])
            continue;
        int64_t numel = plan->model->param[p].numel, at = n_task * plan->place[p];
        ag_real one = 0;
        const ag_real *each = rate_of(plan, r, p, &one);
        for (int64_t task = 0; task < n_task; task++, at += numel) {
            const ag_real *from = theta ? theta + at : init + plan->model->param[p].offset;
            for (int64_t i = 0; i < numel; i++)
                next[at + i] = from[i] - (each ? each[i] : one) * g[at + i];
        }
    }
}

void meta_apply_rates(const meta_plan *plan, const meta_rates *r, int64_t n_task, const ag_real *x, ag_real *out)
{
    for (int p = 0; p < plan->model->n_param; p++) {
        if (!plan->adapted[p])
            continue;
        int64_t numel = plan->model->param[p].numel, at = n_task * plan->place[p];
        ag_real one = 0;
        const ag_real *each = rate_of(plan, r, p, &one);
        for (int64_t task = 0; task < n_task; task++, at += numel)
            for (int64_t i = 0; i < numel; i++)
                out[at + i] = (each ? each[i] : one) * x[at + i];
    }
}
