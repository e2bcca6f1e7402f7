/* The compiled programs behind every gradient-based meta-learner (learn_internal.h says what goes in and comes out). */
#include "meta/learn_internal.h"

#include <string.h>

typedef struct recorder {
    const meta_plan *plan;
    const meta_program_options *o;
    ag_tape *t;
    ag_tensor *x, *y, *support_x, *support_y, *seed;
    ag_tensor **param;                               /* per task, in the plan's order */
    ag_tensor **ordered;                             /* adapted first, then shared */
    ag_tensor **frozen;
    ag_tensor **grads, **tangents;                   /* scratch, as many as there are parameters */
    ag_tensor **outs;
    int n_out;
} recorder;

/* ---- inputs ---- */

static ag_code recorder_init(recorder *r, const meta_plan *plan, const meta_program_options *o, ag_error *err)
{
    size_t n = (size_t)plan->n_param + 1, frozen = (size_t)plan->model->n_frozen;
    *r = (recorder){ .plan = plan, .o = o };
    ag_tensor **room = ag_alloc_zero((8 * n + frozen) * sizeof *room);
    AG_REQUIRE(room, err, AG_ENOMEM, "meta: no memory to record a program of %d parameters", plan->n_param);
    r->param = room;
    r->ordered = room + n;
    r->grads = room + 2 * n;
    r->tangents = room + 3 * n;
    r->outs = room + 4 * n;                          /* at most loss, accuracy and three for each parameter */
    r->frozen = room + 8 * n;
    r->t = ag_tape_new(&(ag_tape_options){ .n_task = o->n_task, .symbolic = true }, err);
    return r->t ? AG_OK : AG_ENOMEM;
}

static void recorder_release(recorder *r)
{
    ag_tape_free(r->t);
    ag_free(r->param);
}

static ag_tensor *x_input(recorder *r, meta_set set)
{
    ag_spec spec = nn_model_x(r->plan->model, set.n, set.capacity);
    spec.tasks = true;
    return ag_input(r->t, &spec);
}

static ag_tensor *y_input(recorder *r, meta_set set)
{
    ag_spec spec = { .tasks = true, .ndim = 1, .shape = { set.n }, .dtype = AG_INT };
    if (r->plan->loss == META_NEXT_TOKEN)
        spec.shape[0] = 2 * nn_model_text(r->plan->model, set.n, set.capacity).capacity;
    if (r->plan->loss == META_MSE)
        spec = (ag_spec){ .tasks = true, .ndim = 2, .shape = { set.n, r->plan->model->options.n_out } };
    return ag_input(r->t, &spec);
}

static ag_tensor *shaped_input(recorder *r, bool tasks, int stage, int ndim, const int64_t *shape)
{
    ag_spec spec = { .tasks = tasks, .stage = stage, .ndim = ndim };
    memcpy(spec.shape, shape, (size_t)ndim * sizeof *shape);
    return ag_input(r->t, &spec);
}

static void record_inputs(recorder *r)
{
    const meta_plan *plan = r->plan;
    int adapted = 0, shared = plan->n_adapted_params;
    meta_set support = r->o->support.n ? r->o->support : r->o->set;
    r->x = x_input(r, r->o->set);
    r->y = y_input(r, r->o->set);
    r->support_x = x_input(r, support);
    r->support_y = y_input(r, support);
    r->seed = ag_input(r->t, &(ag_spec){ .dtype = AG_INT, .tasks = true, .ndim = 1, .shape = { 2 } });
    for (int i = 0; i < plan->n_param; i++) {
        const meta_plan_param *p = &plan->param[i];
        bool own = p->offset < 0 || (p->adapted && !r->o->theta_shared);
        /* Gradients are wanted per task, also for what all tasks share: sums then have a fixed order of ours. */
        r->param[i] = ag_task_expand(r->t, shaped_input(r, own, 1, p->ndim, p->shape));
        r->ordered[p->adapted ? adapted++ : shared++] = r->param[i];
    }
    for (int i = 0; i < plan->model->n_frozen; i++)
        r->frozen[i] = shaped_input(r, false, 0, plan->model->frozen[i].ndim, plan->model->frozen[i].shape);
}

/* ---- losses ---- */

static ag_tensor *model_out(recorder *r, ag_tensor *x, meta_set set)
{
    const nn_model *m = r->plan->model;
    nn_input in = { .x = x, .text = nn_model_text(m, set.n, set.capacity), .frozen = r->frozen, .seed = r->o->dropout ? r->seed : NULL };
    return m->forward(m, r->t, r->param, &in);
}

/* What is scored against y. on_support: x is the support itself. */
static ag_tensor *outputs(recorder *r, bool on_support)
{
    const meta_plan *plan = r->plan;
    ag_tensor *out = model_out(r, r->x, r->o->set);
    if (plan->head == META_HEAD_CENTROID)
        return meta_centroid_scores(r->t, plan, out, r->param[plan->n_param - 2], r->param[plan->n_param - 1]);
    if (plan->head == META_HEAD_MODEL)
        return out;
    if (on_support)
        return meta_prototype_own_scores(r->t, plan, out, r->y);
    return meta_prototype_scores(r->t, plan, out, model_out(r, r->support_x, r->o->support), r->support_y);
}

/* The mean loss [] of each task, over the examples from `from` on; *hits, if not NULL, the share that is right. */
static ag_tensor *record_loss(recorder *r, bool on_support, int64_t from, ag_tensor **hits)
{
    ag_tape *t = r->t;
    if (r->plan->loss == META_NEXT_TOKEN)
        return meta_next_token_loss(t, outputs(r, on_support), r->y, hits);
    ag_tensor *out = ag_slice(t, outputs(r, on_support), 0, from, r->o->set.n);
    ag_tensor *y = ag_slice(t, r->y, 0, from, r->o->set.n);
    if (r->plan->loss == META_MSE)
        return ag_mse(t, out, y);
    if (hits)
        *hits = ag_mean(t, ag_hit(t, out, y), AG_ALL_AXES);
    return ag_mean(t, ag_cross_entropy(t, out, y), AG_ALL_AXES);
}

/* ---- the programs ---- */

static int tangent_inputs(recorder *r, meta_group g)
{
    int n = 0;
    for (int i = 0; i < r->plan->n_param; i++)
        if (meta_in_group(&r->plan->param[i], g))
            r->tangents[n++] = shaped_input(r, true, 2, r->plan->param[i].ndim, r->plan->param[i].shape);
    return n;
}

static void record_hessian(recorder *r, ag_tensor *loss)
{
    int n = tangent_inputs(r, META_ADAPTED);
    ag_grad(r->t, loss, NULL, r->plan->n_param, r->ordered, r->grads);
    ag_jvp(r->t, n, r->ordered, r->tangents, r->plan->n_param, r->grads, r->outs + r->n_out);
    r->n_out += r->plan->n_param;
}

static void record_support(recorder *r)
{
    ag_tensor *loss = record_loss(r, true, 0, NULL), *scaled = ag_scale(r->t, loss, r->plan->support_scale);
    int wanted = r->o->shared_gradient ? r->plan->n_param : r->plan->n_adapted_params;
    r->outs[r->n_out++] = loss;
    ag_grad(r->t, scaled, NULL, wanted, r->ordered, r->outs + r->n_out);
    r->n_out += wanted;
    if (r->o->hessian)
        record_hessian(r, scaled);
}

static void record_query(recorder *r)
{
    ag_tensor *hits = NULL, *loss = record_loss(r, false, r->o->score_from, &hits);
    r->outs[r->n_out++] = loss;
    if (hits)
        r->outs[r->n_out++] = hits;
    if (!r->o->gradient)
        return;
    ag_grad(r->t, loss, NULL, r->plan->n_param, r->ordered, r->outs + r->n_out);
    r->n_out += r->plan->n_param;
}

static void record_start(recorder *r)
{
    ag_tape *t = r->t;
    ag_tensor **start = r->outs;
    meta_centroid_start(t, r->plan, model_out(r, r->x, r->o->set), r->y, &start[0], &start[1]);
    r->n_out = 2;
    if (!r->o->gradient)
        return;
    tangent_inputs(r, META_START);
    ag_tensor *product = ag_add(t, ag_sum(t, ag_mul(t, start[0], r->tangents[0]), AG_ALL_AXES),
                                ag_sum(t, ag_mul(t, start[1], r->tangents[1]), AG_ALL_AXES));
    int n = 0;
    for (int adapted = 1; adapted >= 0; adapted--)
        for (int i = 0; i < r->plan->n_param; i++)
            if (r->plan->param[i].offset >= 0 && r->plan->param[i].adapted == adapted)
                r->ordered[n++] = r->param[i];
    ag_grad(t, product, NULL, n, r->ordered, r->outs + r->n_out);
    r->n_out += n;
}

static ag_code compile_with(void (*record)(recorder *r), const meta_plan *plan, const meta_program_options *o, ag_program **p,
                            ag_error *err)
{
    recorder r;
    *p = NULL;
    ag_code code = recorder_init(&r, plan, o, err);
    if (code == AG_OK) {
        record_inputs(&r);
        record(&r);
        code = ag_tape_status(r.t, err);
        for (int i = 0; i < r.n_out && code == AG_OK; i++)
            if (!r.outs[i])   /* a model that needed memory to record itself */
                code = ag_fail(err, AG_ENOMEM, "meta: no memory to record the model");
    }
    if (code == AG_OK)
        code = ag_compile(r.t, r.n_out, r.outs, p, err);
    recorder_release(&r);
    return ag_trail(err, code, __func__);
}

ag_code meta_compile_support(const meta_plan *plan, const meta_program_options *o, ag_program **p, ag_error *err)
{
    return compile_with(record_support, plan, o, p, err);
}

ag_code meta_compile_query(const meta_plan *plan, const meta_program_options *o, ag_program **p, ag_error *err)
{
    return compile_with(record_query, plan, o, p, err);
}

ag_code meta_compile_start(const meta_plan *plan, const meta_program_options *o, ag_program **p, ag_error *err)
{
    return compile_with(record_start, plan, o, p, err);
}
