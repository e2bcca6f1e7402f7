/* Learners: episodes in chunks through the inner loop, the query, and the algorithm's backward pass (maml.c, reptile.c,
 * imaml.c); sums over tasks and chunks in a fixed order. */
#include "meta/learn_internal.h"

#include "autograd/random.h"

#include <math.h>
#include <string.h>

struct meta_chunk_result {
    ag_code code;
    int64_t bad_task;
    double support_loss, query_loss, accuracy;   /* sums over the chunk's tasks */
    ag_error error;
};

/* ---- making and freeing ---- */

static const meta_backward *backward_of(const meta_options *o)
{
    return o->algorithm == META_REPTILE ? &meta_backward_reptile
         : o->algorithm == META_IMAML ? &meta_backward_imaml : meta_backward_maml(o->first_order);
}

static meta_set support_set(const meta_options *o)
{
    return (meta_set){ o->n_support, o->support_capacity };
}

/* Only exact MAML comes back to steps between the first and the last. */
static int64_t later_count(const meta_learner *l)
{
    const meta_options *o = &l->options;
    int64_t between = o->algorithm == META_MAML && !o->first_order ? o->train_steps - 2 : 0;
    int64_t bytes = (int64_t)ag_program_frame_bytes(l->later) + l->chunk * l->plan.n_adapted * (int64_t)sizeof(ag_real);
    int64_t room = o->keep_bytes / bytes, kept = between < room ? between : room;
    return 1 + (kept > 0 ? kept : 0);
}

static ag_code compile_programs(meta_learner *l, ag_error *err)
{
    const meta_options *o = &l->options;
    const meta_backward *back = backward_of(o);
    meta_program_options p = { .n_task = l->chunk, .set = support_set(o), .theta_shared = true, .dropout = o->dropout };
    p.hessian = back->hessian_first;
    if (o->train_steps >= 1)
        AG_TRY(err, meta_compile_support(&l->plan, &p, &l->first, err));
    p.gradient = !o->first_order && back->query_gradient;
    if (l->plan.head == META_HEAD_CENTROID)
        AG_TRY(err, meta_compile_start(&l->plan, &p, &l->start, err));
    p.theta_shared = false;
    p.hessian = back->hessian_later;
    if (o->train_steps >= (back->needs_later ? 1 : 2))
        AG_TRY(err, meta_compile_support(&l->plan, &p, &l->later, err));
    l->n_later = l->later ? later_count(l) : 0;
    p = (meta_program_options){ .n_task = l->chunk, .set = { o->n_query, o->query_capacity }, .support = support_set(o),
                                .theta_shared = o->train_steps == 0, .gradient = back->query_gradient, .dropout = o->dropout };
    return meta_compile_query(&l->plan, &p, &l->query, err);
}

static ag_code new_array(ag_real **a, int64_t n, ag_error *err)
{
    *a = ag_alloc_zero((size_t)(n > 0 ? n : 1) * sizeof **a);
    AG_REQUIRE(*a, err, AG_ENOMEM, "meta: no memory for %lld numbers", (long long)n);
    return AG_OK;
}

static ag_code support_frame(const meta_learner *l, meta_worker *w, const ag_program *p, bool hessian, ag_real *g, ag_real *loss,
                             ag_frame **f, ag_error *err)
{
    const meta_plan *plan = &l->plan;
    if (!p)
        return AG_OK;
    AG_TRY(err, ag_frame_new(p, f, err));
    meta_bind_data(&w->data, *f, false);
    meta_bind_frozen(plan, *f);
    ag_frame_output(*f, META_OUT_LOSS, loss);
    int next = meta_bind_outputs(plan, *f, 1, l->chunk, META_ADAPTED, g);
    if (!hessian)
        return AG_OK;
    meta_bind_inputs(plan, *f, meta_first_tangent(plan), l->chunk, META_ADAPTED, w->tangent);
    next = meta_bind_outputs(plan, *f, next, l->chunk, META_ADAPTED, w->hv);
    meta_bind_outputs(plan, *f, next, l->chunk, META_SHARED, w->hv_shared);
    return AG_OK;
}

static ag_code query_frame(const meta_learner *l, meta_worker *w, ag_error *err)
{
    AG_TRY(err, ag_frame_new(l->query, &w->query, err));
    meta_bind_data(&w->data, w->query, true);
    meta_bind_frozen(&l->plan, w->query);
    int next = 0;
    ag_frame_output(w->query, next++, w->query_loss);
    if (l->plan.loss != META_MSE)
        ag_frame_output(w->query, next++, w->accuracy);
    if (!backward_of(&l->options)->query_gradient)
        return AG_OK;
    next = meta_bind_outputs(&l->plan, w->query, next, l->chunk, META_ADAPTED, w->lambda);
    meta_bind_outputs(&l->plan, w->query, next, l->chunk, META_SHARED, w->shared);
    return AG_OK;
}

/* Its tangents are what lambda says of the head, its gradients go to hv and hv_shared. */
static ag_code start_frame(const meta_learner *l, meta_worker *w, ag_error *err)
{
    if (!l->start)
        return AG_OK;
    AG_TRY(err, ag_frame_new(l->start, &w->start, err));
    meta_bind_data(&w->data, w->start, false);
    meta_bind_frozen(&l->plan, w->start);
    int next = meta_bind_outputs(&l->plan, w->start, 0, l->chunk, META_START, w->start_values);
    if (l->options.first_order || !backward_of(&l->options)->query_gradient)
        return AG_OK;
    meta_bind_inputs(&l->plan, w->start, meta_first_tangent(&l->plan), l->chunk, META_START, w->lambda);
    next = meta_bind_outputs(&l->plan, w->start, next, l->chunk, META_ADAPTED_MODEL, w->hv);
    meta_bind_outputs(&l->plan, w->start, next, l->chunk, META_SHARED, w->hv_shared);
    return AG_OK;
}

static ag_code later_frames(const meta_learner *l, meta_worker *w, ag_error *err)
{
    int64_t adapted = l->chunk * l->plan.n_adapted;
    bool hessian = backward_of(&l->options)->hessian_later;
    if (!l->later)
        return AG_OK;
    w->later = ag_alloc_zero((size_t)l->n_later * sizeof *w->later);
    AG_REQUIRE(w->later, err, AG_ENOMEM, "meta: no memory for %lld frames", (long long)l->n_later);
    AG_TRY(err, new_array(&w->g_later, l->n_later * adapted, err));
    for (int64_t i = 0; i < l->n_later; i++)
        AG_TRY(err, support_frame(l, w, l->later, hessian, w->g_later + i * adapted, w->unused_loss, &w->later[i], err));
    return AG_OK;
}

int64_t meta_later_frame(const meta_learner *l, int64_t k)
{
    int64_t i = k - (l->options.train_steps - l->n_later);
    return i > 0 ? i : 0;
}

bool meta_step_is_kept(const meta_learner *l, int64_t k)
{
    return k == 0 || k >= l->options.train_steps - l->n_later;
}

static ag_code worker_init(const meta_learner *l, meta_worker *w, ag_error *err)
{
    const meta_options *o = &l->options;
    int64_t adapted = l->chunk * l->plan.n_adapted, shared = l->chunk * l->plan.n_shared;
    struct { ag_real **array; int64_t n; } arrays[] = {
        { &w->theta, o->train_steps * adapted }, { &w->g_first, adapted }, { &w->lambda, adapted },
        { &w->tangent, adapted }, { &w->hv, adapted }, { &w->shared, shared }, { &w->hv_shared, shared },
        { &w->rate_grad, adapted }, { &w->support_loss, l->chunk }, { &w->unused_loss, l->chunk },
        { &w->query_loss, l->chunk }, { &w->accuracy, l->chunk },
        { &w->start_values, l->plan.head == META_HEAD_CENTROID ? adapted : 0 }, { &w->second, o->rule == META_RULE_ADAM ? adapted : 0 },
        { &w->cg[0], o->algorithm == META_IMAML ? adapted : 0 }, { &w->cg[1], o->algorithm == META_IMAML ? adapted : 0 },
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        AG_TRY(err, new_array(arrays[i].array, arrays[i].n, err));
    const meta_backward *back = backward_of(o);
    AG_TRY(err, meta_data_init(&w->data, &l->plan, l->chunk, support_set(o), (meta_set){ o->n_query, o->query_capacity }, err));
    AG_TRY(err, query_frame(l, w, err));
    AG_TRY(err, start_frame(l, w, err));
    AG_TRY(err, support_frame(l, w, l->first, back->hessian_first, w->g_first, w->support_loss, &w->first, err));
    return later_frames(l, w, err);
}

static void worker_release(meta_worker *w, int64_t n_later)
{
    ag_real *arrays[] = { w->theta, w->g_first, w->g_later, w->lambda, w->tangent, w->hv, w->shared, w->hv_shared, w->rate_grad,
                          w->support_loss, w->unused_loss, w->query_loss, w->accuracy, w->start_values, w->second, w->cg[0], w->cg[1] };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        ag_free(arrays[i]);
    ag_frame_free(w->first);
    for (int64_t i = 0; w->later && i < n_later; i++)
        ag_frame_free(w->later[i]);
    ag_free(w->later);
    ag_frame_free(w->query);
    ag_frame_free(w->start);
    meta_data_release(&w->data);
}

static ag_code check_options(const meta_options *o, ag_error *err)
{
    AG_REQUIRE(o->n_query >= 1 && (o->n_support >= 1 || o->train_steps == 0), err, AG_EINVAL,
               "meta: %lld support and %lld query examples; at least 1 of each is expected", (long long)o->n_support, (long long)o->n_query);
    AG_REQUIRE(o->train_steps >= 0 && o->chunk >= 0 && o->threads >= 0, err, AG_EINVAL, "meta: steps, chunk and threads must not be negative");
    AG_REQUIRE(isfinite(o->inner_lr) && isfinite(o->support_scale) && o->support_scale >= 0, err, AG_EINVAL,
               "meta: inner_lr %g and support_scale %g; finite numbers, and a scale of at least 0, are expected", o->inner_lr, o->support_scale);
    AG_REQUIRE(o->algorithm != META_IMAML || o->proximal > 0, err, AG_EINVAL, "meta: imaml's proximal is %g; above 0 is expected", o->proximal);
    AG_REQUIRE(o->algorithm == META_MAML || !o->learn_rates, err, AG_EINVAL, "meta: rates are learned by MAML and FOMAML only");
    AG_REQUIRE(o->rule == META_RULE_SGD || o->first_order || o->algorithm == META_REPTILE, err, AG_EINVAL,
               "meta: nothing is differentiated through Adam in the inner loop; first_order or Reptile is expected");
    return AG_OK;
}

static ag_code build(meta_learner *l, ag_error *err)
{
    AG_TRY(err, meta_plan_init(&l->plan, l->model, &l->options, err));
    AG_REQUIRE(l->plan.n_adapted > 0 || l->options.train_steps == 0, err, AG_EINVAL, "meta: the model has no parameter to adapt");
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
    l->model = m;
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
        worker_release(&l->workers[i], l->n_later);
    ag_free(l->workers);
    ag_program_free(l->first);
    ag_program_free(l->later);
    ag_program_free(l->query);
    ag_program_free(l->start);
    meta_plan_release(&l->plan);
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
    return l->model->n_value + (l->options.learn_rates ? l->plan.n_rate : 0);
}

meta_head meta_learner_head(const meta_learner *l)
{
    return l->options.head;
}

size_t meta_learner_bytes(const meta_learner *l)
{
    int64_t numbers = (5 + l->n_later) * l->plan.n_adapted + 2 * l->plan.n_shared + 4;   /* worker_init's arrays but theta */
    const meta_worker *w = &l->workers[0];
    size_t each = (size_t)(l->chunk * numbers) * sizeof(ag_real) + meta_data_bytes(&w->data, l->chunk);
    each += ag_frame_bytes(w->query) + ag_frame_bytes(w->first) + ag_frame_bytes(w->start);
    each += l->n_later ? (size_t)l->n_later * ag_frame_bytes(w->later[0]) : 0;
    return (size_t)l->threads * each + (size_t)(l->n_chunk * moved_count(l)) * sizeof *l->chunk_grad;
}

ag_code meta_state_init(meta_state *s, const meta_learner *l, uint64_t seed, ag_error *err)
{
    *s = (meta_state){ .n_value = l->model->n_value, .n_rate = l->plan.n_rate };
    s->n = moved_count(l);
    AG_TRY(err, new_array(&s->values, s->n_value + s->n_rate, err));
    nn_model_draw(l->model, seed, s->values);
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

ag_real *meta_last_theta(const meta_learner *l, const meta_worker *w)
{
    int64_t steps = l->options.train_steps;
    return steps ? w->theta + (steps - 1) * l->chunk * l->plan.n_adapted : NULL;
}

/* g += lambda (theta - theta_0): iMAML's pull to the start. */
static void add_pull(const meta_learner *l, const meta_worker *w, const meta_state *s, const ag_real *theta, ag_real *g)
{
    for (int i = 0; i < l->plan.n_param; i++) {
        const meta_plan_param *p = &l->plan.param[i];
        int64_t at = l->chunk * p->place;
        for (int64_t j = 0; p->adapted && j < l->chunk * p->numel; j++) {
            ag_real from = p->offset < 0 ? w->start_values[at + j] : s->values[p->offset + j % p->numel];
            g[at + j] += (ag_real)l->options.proximal * (theta[at + j] - from);
        }
    }
}

/* theta_{k+1} from theta_k (NULL: the start) and its gradient, which a rule may change in place. */
static void take_step(const meta_learner *l, meta_worker *w, const meta_state *s, const meta_rates *rates, int64_t k, ag_real *g)
{
    int64_t size = l->chunk * l->plan.n_adapted;
    ag_real *theta = k ? w->theta + (k - 1) * size : NULL;
    if (k && l->options.algorithm == META_IMAML)
        add_pull(l, w, s, theta, g);
    if (l->options.rule == META_RULE_ADAM)
        meta_adam_scale(size, k + 1, w->second, g);
    meta_inner_step(&l->plan, rates, l->chunk, s->values, w->start_values, theta, g, w->theta + k * size);
}

static ag_code make_start(const meta_learner *l, meta_worker *w, const meta_state *s, ag_error *err)
{
    if (!w->start)
        return AG_OK;
    meta_bind_params(&l->plan, w->start, l->chunk, s->values, NULL, w->start_values);
    return ag_frame_run(w->start, 0, 1, err);
}

static ag_code forward_steps(const meta_learner *l, meta_worker *w, const meta_state *s, const meta_rates *rates, ag_error *err)
{
    int64_t steps = l->options.train_steps, size = l->chunk * l->plan.n_adapted;
    if (steps == 0)
        return AG_OK;
    meta_bind_params(&l->plan, w->first, l->chunk, s->values, NULL, w->start_values);
    AG_TRY(err, ag_frame_run(w->first, 0, 1, err));
    take_step(l, w, s, rates, 0, w->g_first);
    for (int64_t k = 1; k < steps; k++) {
        int64_t i = meta_later_frame(l, k);
        meta_bind_params(&l->plan, w->later[i], l->chunk, s->values, w->theta + (k - 1) * size, w->start_values);
        AG_TRY(err, ag_frame_run(w->later[i], k == 1 || i > 0 ? 0 : 1, 1, err));   /* stage 0 where the frame is new to the episodes */
        take_step(l, w, s, rates, k, w->g_later + i * size);
    }
    return AG_OK;
}

static ag_code run_query(const meta_learner *l, meta_worker *w, const meta_state *s, ag_error *err)
{
    meta_bind_params(&l->plan, w->query, l->chunk, s->values, meta_last_theta(l, w), w->start_values);
    return ag_frame_run(w->query, 0, 1, err);
}

static void add(ag_real *restrict x, const ag_real *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] += y[i];
}

/* What lambda says of a centroid head goes through its start to the parameters that made the features. */
static ag_code start_back(const meta_learner *l, meta_worker *w, ag_error *err)
{
    if (!w->start || l->options.first_order || !backward_of(&l->options)->query_gradient)
        return AG_OK;
    AG_TRY(err, ag_frame_run(w->start, 2, 2, err));
    for (int i = 0; i < l->plan.n_param; i++) {
        const meta_plan_param *p = &l->plan.param[i];
        if (meta_in_group(p, META_ADAPTED_MODEL))
            add(w->lambda + l->chunk * p->place, w->hv + l->chunk * p->place, l->chunk * p->numel);
    }
    add(w->shared, w->hv_shared, l->chunk * l->plan.n_shared);
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
    for (int i = 0; i < l->plan.n_param; i++) {
        const meta_plan_param *p = &l->plan.param[i];
        const ag_real *x = w->rate_grad + l->chunk * p->place;
        if (!p->adapted)
            continue;
        if (p->rate_each) {
            add_tasks(out + p->rate, x, p->numel, count);
            for (int64_t j = 0; p->rate_scale != 1 && j < p->numel; j++)
                out[p->rate + j] *= p->rate_scale;
            continue;
        }
        double sum = 0;
        for (int64_t j = 0; j < p->numel * count; j++)
            sum += (double)x[j];
        out[p->rate] += p->rate_scale * (ag_real)sum;
    }
}

static const ag_real *gradient_of(const meta_learner *l, const meta_worker *w, const meta_plan_param *p)
{
    return (p->adapted ? w->lambda : w->shared) + l->chunk * p->place;
}

static void sum_chunk(const meta_learner *l, const meta_worker *w, const meta_state *s, int64_t count, ag_real *out)
{
    memset(out, 0, (size_t)s->n * sizeof *out);
    for (int i = 0; i < l->plan.n_param; i++) {
        const meta_plan_param *p = &l->plan.param[i];
        if (p->offset >= 0)
            add_tasks(out + p->offset, gradient_of(l, w, p), p->numel, count);
    }
    if (l->options.learn_rates)
        sum_rate_gradient(l, w, count, out + s->n_value);
}

/* The first of the chunk's tasks whose losses or gradients are not finite; -1: none. */
static int64_t bad_task(const meta_learner *l, const meta_worker *w, int64_t count)
{
    for (int64_t task = 0; task < count; task++) {
        double sum = (double)w->query_loss[task] + (l->options.train_steps ? (double)w->support_loss[task] : 0);
        for (int i = 0; i < l->plan.n_param; i++) {
            const meta_plan_param *p = &l->plan.param[i];
            const ag_real *x = gradient_of(l, w, p) + task * p->numel, *rate = w->rate_grad + l->chunk * p->place + task * p->numel;
            for (int64_t j = 0; j < p->numel; j++)
                sum += (double)x[j] * 0;   /* NaN if x is not finite */
            for (int64_t j = 0; l->options.learn_rates && p->adapted && j < p->numel; j++)
                sum += (double)rate[j] * 0;
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
    AG_TRY(err, make_start(l, w, job->s, err));
    AG_TRY(err, forward_steps(l, w, job->s, &job->rates, err));
    AG_TRY(err, run_query(l, w, job->s, err));
    if (l->options.learn_rates)
        memset(w->rate_grad, 0, (size_t)(l->chunk * l->plan.n_adapted) * sizeof *w->rate_grad);
    AG_TRY(err, backward_of(&l->options)->run(l, w, job->s, &job->rates, err));
    AG_TRY(err, start_back(l, w, err));
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
    outer_job job = { .l = l, .s = s, .b = b, .rates = { s->values + s->n_value, s->n_rate, (ag_real)l->options.inner_lr } };
    meta_pool_run(l->pool, n_chunk, outer_work, &job);
    return combine(l, s, n_chunk, b->n_task, grad, report ? report : &local, err);
}
