/* MAML's outer gradient by the backward recurrence (docs/architecture.md, "Meta-gradients without the long tape").
 *
 *   theta_{k+1} = theta_k - alpha g_k,  g_k = grad of the support loss at theta_k
 *   lambda_K = grad of the query loss at theta_K
 *   lambda_k = lambda_{k+1} - H_k (alpha lambda_{k+1}),  d/d alpha = -sum_k g_k lambda_{k+1}
 *   shared parameters: grad of the query loss - sum_k (mixed derivative)_k (alpha lambda_{k+1})
 *
 * H_k v is stage 2 of the support program, whose stage 1 gave g_k. Only theta_k is kept of each step; the stage-1
 * results of the last step (and of step 0, which has a frame of its own) are still there when its H is needed, those of
 * the steps between are computed again. */
#include "meta/learn_internal.h"

#include "autograd/random.h"

#include <math.h>
#include <string.h>

/* One thread's memory. Arrays of adapted values are [chunk * n_adapted], of shared ones [chunk * n_shared]. */
typedef struct meta_worker {
    ag_frame *first, *later, *query;
    meta_data data;
    ag_real *theta;                  /* [steps][chunk * n_adapted]: theta_1 .. theta_K */
    ag_real *g_first, *g_later, *lambda, *tangent, *hv, *shared, *hv_shared, *rate_grad;
    ag_real *support_loss, *unused_loss, *query_loss, *accuracy;   /* [chunk] */
} meta_worker;

struct meta_chunk_result {
    ag_code code;
    int64_t bad_task;
    double support_loss, query_loss, accuracy;   /* sums over the chunk's tasks */
    ag_error error;
};

/* ---- making and freeing ---- */

static int64_t rate_count(const meta_plan *plan, meta_rate_scope scope)
{
    return scope == META_RATE_ALL ? 1 : scope == META_RATE_TENSOR ? plan->n_adapted_params : plan->n_adapted;
}

static ag_code compile_programs(meta_learner *l, ag_error *err)
{
    const meta_options *o = &l->options;
    meta_program_options p = { .n_task = l->chunk, .n_example = o->n_support, .theta_shared = true, .hessian = !o->first_order };
    if (o->train_steps >= 1)
        AG_TRY(err, meta_compile_support(&l->plan, &p, &l->first, err));
    p.theta_shared = false;
    if (o->train_steps >= 2)
        AG_TRY(err, meta_compile_support(&l->plan, &p, &l->later, err));
    p = (meta_program_options){ .n_task = l->chunk, .n_example = o->n_query, .theta_shared = o->train_steps == 0, .gradient = true };
    return meta_compile_query(&l->plan, &p, &l->query, err);
}

static ag_code new_array(ag_real **a, int64_t n, ag_error *err)
{
    *a = ag_alloc_zero((size_t)(n > 0 ? n : 1) * sizeof **a);
    AG_REQUIRE(*a, err, AG_ENOMEM, "meta: no memory for %lld numbers", (long long)n);
    return AG_OK;
}

static void bind_support(const meta_learner *l, meta_worker *w, ag_frame *f, ag_real *g, ag_real *loss)
{
    const meta_plan *plan = &l->plan;
    ag_frame_input(f, META_IN_X, w->data.support_x);
    ag_frame_input(f, META_IN_Y, w->data.support_y);
    ag_frame_output(f, META_OUT_LOSS, loss);
    int next = meta_bind_outputs(plan, f, 1, l->chunk, true, g);
    if (l->options.first_order)
        return;
    meta_bind_tangents(plan, f, META_IN_PARAMS + plan->model->n_param, l->chunk, w->tangent);
    next = meta_bind_outputs(plan, f, next, l->chunk, true, w->hv);
    meta_bind_outputs(plan, f, next, l->chunk, false, w->hv_shared);
}

static void bind_query(const meta_learner *l, meta_worker *w)
{
    ag_frame_input(w->query, META_IN_X, w->data.query_x);
    ag_frame_input(w->query, META_IN_Y, w->data.query_y);
    int next = 0;
    ag_frame_output(w->query, next++, w->query_loss);
    if (l->plan.loss == META_CROSS_ENTROPY)
        ag_frame_output(w->query, next++, w->accuracy);
    next = meta_bind_outputs(&l->plan, w->query, next, l->chunk, true, w->lambda);
    meta_bind_outputs(&l->plan, w->query, next, l->chunk, false, w->shared);
}

static ag_code worker_init(const meta_learner *l, meta_worker *w, ag_error *err)
{
    const meta_options *o = &l->options;
    int64_t adapted = l->chunk * l->plan.n_adapted, shared = l->chunk * l->plan.n_shared;
    struct { ag_real **array; int64_t n; } arrays[] = {
        { &w->theta, o->train_steps * adapted }, { &w->g_first, adapted }, { &w->g_later, adapted }, { &w->lambda, adapted },
        { &w->tangent, adapted }, { &w->hv, adapted }, { &w->shared, shared }, { &w->hv_shared, shared },
        { &w->rate_grad, adapted }, { &w->support_loss, l->chunk }, { &w->unused_loss, l->chunk },
        { &w->query_loss, l->chunk }, { &w->accuracy, l->chunk },
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        AG_TRY(err, new_array(arrays[i].array, arrays[i].n, err));
    AG_TRY(err, meta_data_init(&w->data, &l->plan, l->chunk, o->n_support, o->n_query, err));
    AG_TRY(err, ag_frame_new(l->query, &w->query, err));
    bind_query(l, w);
    if (l->first) {
        AG_TRY(err, ag_frame_new(l->first, &w->first, err));
        bind_support(l, w, w->first, w->g_first, w->support_loss);
    }
    if (l->later) {
        AG_TRY(err, ag_frame_new(l->later, &w->later, err));
        bind_support(l, w, w->later, w->g_later, w->unused_loss);
    }
    return AG_OK;
}

static void worker_release(meta_worker *w)
{
    ag_real *arrays[] = { w->theta, w->g_first, w->g_later, w->lambda, w->tangent, w->hv, w->shared, w->hv_shared, w->rate_grad,
                          w->support_loss, w->unused_loss, w->query_loss, w->accuracy };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        ag_free(arrays[i]);
    ag_frame_free(w->first);
    ag_frame_free(w->later);
    ag_frame_free(w->query);
    meta_data_release(&w->data);
}

static ag_code check_options(const meta_options *o, ag_error *err)
{
    AG_REQUIRE(o->n_query >= 1 && (o->n_support >= 1 || o->train_steps == 0), err, AG_EINVAL,
               "meta: %lld support and %lld query examples; at least 1 of each is expected", (long long)o->n_support, (long long)o->n_query);
    AG_REQUIRE(o->train_steps >= 0 && o->chunk >= 0 && o->threads >= 0, err, AG_EINVAL, "meta: steps, chunk and threads must not be negative");
    AG_REQUIRE(isfinite(o->inner_lr) && isfinite(o->support_scale) && o->support_scale >= 0, err, AG_EINVAL,
               "meta: inner_lr %g and support_scale %g; finite numbers, and a scale of at least 0, are expected", o->inner_lr, o->support_scale);
    return AG_OK;
}

static ag_code build(meta_learner *l, ag_error *err)
{
    meta_plan_init(&l->plan, &l->model, &l->options);
    AG_REQUIRE(l->plan.n_adapted > 0, err, AG_EINVAL, "meta: the model has no parameter to adapt");
    l->n_rate = rate_count(&l->plan, l->options.rate_scope);
    AG_TRY(err, compile_programs(l, err));
    AG_TRY(err, meta_pool_new(&l->pool, l->threads, err));
    l->workers = ag_alloc_zero((size_t)l->threads * sizeof *l->workers);
    AG_REQUIRE(l->workers, err, AG_ENOMEM, "meta: no memory for %d workers", l->threads);
    for (int i = 0; i < l->threads; i++)
        AG_TRY(err, worker_init(l, &l->workers[i], err));
    return AG_OK;
}

ag_code meta_learner_new(meta_learner **out, const nn_model *m, const meta_options *o, ag_error *err)
{
    *out = NULL;
    AG_TRY(err, check_options(o, err));
    meta_learner *l = ag_alloc_zero(sizeof *l);
    AG_REQUIRE(l, err, AG_ENOMEM, "meta: no memory for a learner");
    l->model = *m;
    l->options = *o;
    l->chunk = o->chunk > 0 ? o->chunk : 1;
    l->threads = o->threads > 0 ? o->threads : 1;
    ag_code code = build(l, err);
    if (code == AG_OK)
        *out = l;
    else
        meta_learner_free(l);
    return ag_trail(err, code, __func__);
}

void meta_learner_free(meta_learner *l)
{
    if (!l)
        return;
    meta_pool_free(l->pool);
    for (int i = 0; l->workers && i < l->threads; i++)
        worker_release(&l->workers[i]);
    ag_free(l->workers);
    ag_program_free(l->first);
    ag_program_free(l->later);
    ag_program_free(l->query);
    ag_free(l->chunk_grad);
    ag_free(l->chunk_result);
    ag_free(l);
}

size_t meta_learner_step_bytes(const meta_learner *l)
{
    return (size_t)l->threads * (size_t)(l->chunk * l->plan.n_adapted) * sizeof(ag_real);
}

/* Numbers the outer optimiser moves. */
static int64_t moved_count(const meta_learner *l)
{
    return l->model.n_value + (l->options.learn_rates ? l->n_rate : 0);
}

size_t meta_learner_bytes(const meta_learner *l)
{
    int64_t numbers = 6 * l->plan.n_adapted + 2 * l->plan.n_shared + 4;   /* worker_init's arrays but theta */
    const meta_worker *w = &l->workers[0];
    size_t each = (size_t)(l->chunk * numbers) * sizeof(ag_real) + meta_data_bytes(&w->data, l->chunk);
    each += ag_frame_bytes(w->query) + ag_frame_bytes(w->first) + ag_frame_bytes(w->later);
    return (size_t)l->threads * each + (size_t)(l->n_chunk * moved_count(l)) * sizeof *l->chunk_grad;
}

ag_code meta_state_init(meta_state *s, const meta_learner *l, uint64_t seed, ag_error *err)
{
    *s = (meta_state){ .n_value = l->model.n_value, .n_rate = l->n_rate };
    s->n = moved_count(l);
    AG_TRY(err, new_array(&s->values, s->n_value + s->n_rate, err));
    nn_model_draw(&l->model, seed, s->values);
    for (int64_t i = 0; i < s->n_rate; i++)
        s->values[s->n_value + i] = (ag_real)l->options.inner_lr;
    return AG_OK;
}

void meta_state_release(meta_state *s)
{
    ag_free(s->values);
    s->values = NULL;
}

/* ---- one chunk ---- */

static ag_code forward_steps(const meta_learner *l, meta_worker *w, const meta_state *s, const meta_rates *rates, ag_error *err)
{
    int64_t steps = l->options.train_steps, size = l->chunk * l->plan.n_adapted;
    if (steps == 0)
        return AG_OK;
    meta_bind_params(&l->plan, w->first, l->chunk, s->values, NULL);
    AG_TRY(err, ag_frame_run(w->first, 0, 1, err));
    meta_inner_step(&l->plan, rates, l->chunk, s->values, NULL, w->g_first, w->theta);
    for (int64_t k = 1; k < steps; k++) {
        ag_real *theta = w->theta + (k - 1) * size;
        meta_bind_params(&l->plan, w->later, l->chunk, s->values, theta);
        AG_TRY(err, ag_frame_run(w->later, k == 1 ? 0 : 1, 1, err));
        meta_inner_step(&l->plan, rates, l->chunk, s->values, theta, w->g_later, theta + size);
    }
    return AG_OK;
}

static ag_code query_gradient(const meta_learner *l, meta_worker *w, const meta_state *s, ag_error *err)
{
    int64_t steps = l->options.train_steps, size = l->chunk * l->plan.n_adapted;
    meta_bind_params(&l->plan, w->query, l->chunk, s->values, steps ? w->theta + (steps - 1) * size : NULL);
    return ag_frame_run(w->query, 0, 1, err);
}

static void subtract(ag_real *restrict x, const ag_real *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] -= y[i];
}

/* Turns lambda_{k+1} into lambda_k, and adds step k's part to the gradients of the rates and the shared parameters. */
static ag_code step_back(const meta_learner *l, meta_worker *w, const meta_state *s, const meta_rates *rates, int64_t k, ag_error *err)
{
    int64_t steps = l->options.train_steps, size = l->chunk * l->plan.n_adapted;
    ag_frame *f = k == 0 ? w->first : w->later;
    const ag_real *g = k == 0 ? w->g_first : w->g_later;
    if (k > 0 && k < steps - 1) {   /* its intermediates were overwritten by later steps */
        meta_bind_params(&l->plan, f, l->chunk, s->values, w->theta + (k - 1) * size);
        AG_TRY(err, ag_frame_run(f, 1, 1, err));
    }
    if (l->options.learn_rates)
        for (int64_t i = 0; i < size; i++)
            w->rate_grad[i] -= g[i] * w->lambda[i];
    if (l->options.first_order)
        return AG_OK;
    meta_apply_rates(&l->plan, rates, l->chunk, w->lambda, w->tangent);
    AG_TRY(err, ag_frame_run(f, 2, 2, err));
    subtract(w->lambda, w->hv, size);
    subtract(w->shared, w->hv_shared, l->chunk * l->plan.n_shared);
    return AG_OK;
}

/* Adds the first `count` tasks' parts of a [n_task, numel] array to out [numel], in task order. */
static void add_tasks(ag_real *restrict out, const ag_real *restrict x, int64_t numel, int64_t count)
{
    for (int64_t task = 0; task < count; task++)
        for (int64_t i = 0; i < numel; i++)
            out[i] += x[task * numel + i];
}

static void sum_rate_gradient(const meta_learner *l, const meta_worker *w, int64_t count, ag_real *out)
{
    const meta_plan *plan = &l->plan;
    int index = 0;
    for (int p = 0; p < plan->model->n_param; p++) {
        if (!plan->adapted[p])
            continue;
        int64_t numel = plan->model->param[p].numel;
        const ag_real *x = w->rate_grad + l->chunk * plan->place[p];
        if (l->options.rate_scope == META_RATE_ELEMENT) {
            add_tasks(out + plan->place[p], x, numel, count);
        } else {
            double sum = 0;
            for (int64_t i = 0; i < numel * count; i++)
                sum += (double)x[i];
            out[l->options.rate_scope == META_RATE_TENSOR ? index : 0] += (ag_real)sum;
        }
        index++;
    }
}

static void sum_chunk(const meta_learner *l, const meta_worker *w, const meta_state *s, int64_t count, ag_real *out)
{
    memset(out, 0, (size_t)s->n * sizeof *out);
    for (int p = 0; p < l->model.n_param; p++) {
        const ag_real *x = l->plan.adapted[p] ? w->lambda : w->shared;
        add_tasks(out + l->model.param[p].offset, x + l->chunk * l->plan.place[p], l->model.param[p].numel, count);
    }
    if (l->options.learn_rates)
        sum_rate_gradient(l, w, count, out + s->n_value);
}

/* The first of the chunk's tasks whose losses or gradients are not finite; -1: none. */
static int64_t bad_task(const meta_learner *l, const meta_worker *w, int64_t count)
{
    for (int64_t task = 0; task < count; task++) {
        double sum = (double)w->query_loss[task] + (l->options.train_steps ? (double)w->support_loss[task] : 0);
        for (int p = 0; p < l->model.n_param; p++) {
            int64_t numel = l->model.param[p].numel;
            const ag_real *x = (l->plan.adapted[p] ? w->lambda : w->shared) + l->chunk * l->plan.place[p] + task * numel;
            for (int64_t i = 0; i < numel; i++)
                sum += (double)x[i] * 0;   /* NaN if x is not finite */
            for (int64_t i = 0; l->options.learn_rates && l->plan.adapted[p] && i < numel; i++)
                sum += (double)w->rate_grad[l->chunk * l->plan.place[p] + task * numel + i] * 0;
        }
        if (!isfinite(sum))
            return task;
    }
    return -1;
}

typedef struct outer_job {
    meta_learner *l;
    const meta_state *s;
    const meta_batch *b;
    meta_rates rates;
} outer_job;

static ag_code chunk_gradient(const outer_job *job, meta_worker *w, int64_t first, int64_t count, struct meta_chunk_result *r,
                              ag_real *grad, ag_error *err)
{
    meta_learner *l = job->l;
    AG_TRY(err, meta_data_fetch(&w->data, job->b, first, count, l->chunk, err));
    AG_TRY(err, forward_steps(l, w, job->s, &job->rates, err));
    AG_TRY(err, query_gradient(l, w, job->s, err));
    if (l->options.learn_rates)
        memset(w->rate_grad, 0, (size_t)(l->chunk * l->plan.n_adapted) * sizeof *w->rate_grad);
    bool backwards = !l->options.first_order || l->options.learn_rates;
    for (int64_t k = l->options.train_steps - 1; k >= 0 && backwards; k--)
        AG_TRY(err, step_back(l, w, job->s, &job->rates, k, err));
    sum_chunk(l, w, job->s, count, grad);
    for (int64_t i = 0; i < count; i++) {
        r->support_loss += (double)w->support_loss[i];
        r->query_loss += (double)w->query_loss[i];
        r->accuracy += (double)w->accuracy[i];
    }
    int64_t bad = bad_task(l, w, count);
    r->bad_task = bad < 0 ? -1 : first + bad;
    return AG_OK;
}

static void outer_work(void *ctx, int64_t chunk, int worker)
{
    const outer_job *job = ctx;
    meta_learner *l = job->l;
    struct meta_chunk_result *r = &l->chunk_result[chunk];
    int64_t first = chunk * l->chunk, count = job->b->n_task - first;
    count = count < l->chunk ? count : l->chunk;
    r->code = AG_OK;
    r->bad_task = -1;
    r->support_loss = r->query_loss = r->accuracy = 0;
    ag_error_clear(&r->error);
    r->code = chunk_gradient(job, &l->workers[worker], first, count, r, l->chunk_grad + chunk * job->s->n, &r->error);
}

/* ---- the whole batch ---- */

static ag_code reserve_chunks(meta_learner *l, int64_t n_chunk, int64_t n, ag_error *err)
{
    if (n_chunk <= l->n_chunk)
        return AG_OK;
    ag_free(l->chunk_grad);
    ag_free(l->chunk_result);
    l->n_chunk = 0;
    l->chunk_grad = ag_alloc((size_t)(n_chunk * n) * sizeof *l->chunk_grad);
    l->chunk_result = ag_alloc_zero((size_t)n_chunk * sizeof *l->chunk_result);
    AG_REQUIRE(l->chunk_grad && l->chunk_result, err, AG_ENOMEM, "meta: no memory for the gradients of %lld chunks", (long long)n_chunk);
    l->n_chunk = n_chunk;
    return AG_OK;
}

static ag_code combine(const meta_learner *l, const meta_state *s, int64_t n_chunk, int64_t n_task, ag_real *grad, meta_report *report,
                       ag_error *err)
{
    *report = (meta_report){ .bad_task = -1 };
    for (int64_t c = 0; c < n_chunk; c++) {
        const struct meta_chunk_result *r = &l->chunk_result[c];
        if (r->code != AG_OK) {
            if (err && err->code == AG_OK)
                *err = r->error;
            return ag_trail(err, r->code, "meta_outer_gradient");
        }
        report->support_loss += r->support_loss / (double)n_task;
        report->query_loss += r->query_loss / (double)n_task;
        report->query_accuracy += r->accuracy / (double)n_task;
        if (report->bad_task < 0)
            report->bad_task = r->bad_task;
    }
    if (l->options.train_steps == 0)
        report->support_loss = NAN;
    if (l->plan.loss == META_MSE)
        report->query_accuracy = NAN;
    memcpy(grad, l->chunk_grad, (size_t)s->n * sizeof *grad);
    for (int64_t c = 1; c < n_chunk; c++)
        add_tasks(grad, l->chunk_grad + c * s->n, s->n, 1);
    ag_real scale = 1 / (ag_real)n_task;
    for (int64_t i = 0; i < s->n; i++)
        grad[i] *= scale;
    AG_REQUIRE(report->bad_task < 0, err, AG_ENAN, "task %lld: the loss or its gradient is not finite", (long long)report->bad_task);
    return AG_OK;
}

ag_code meta_outer_gradient(meta_learner *l, const meta_state *s, const meta_batch *b, ag_real *grad, meta_report *report, ag_error *err)
{
    meta_report local;
    int64_t n_chunk = (b->n_task + l->chunk - 1) / l->chunk;
    AG_REQUIRE(b->n_task >= 1, err, AG_EINVAL, "meta_outer_gradient: %lld tasks; at least 1 is expected", (long long)b->n_task);
    AG_TRY(err, reserve_chunks(l, n_chunk, s->n, err));
    outer_job job = { .l = l, .s = s, .b = b, .rates = { .scope = l->options.rate_scope, .alpha = s->values + s->n_value } };
    meta_pool_run(l->pool, n_chunk, outer_work, &job);
    return combine(l, s, n_chunk, b->n_task, grad, report ? report : &local, err);
}
