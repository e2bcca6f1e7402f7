/* The same outer gradient by one long reverse-over-reverse tape: the oracle that tests hold the recurrence against. */
#include "meta/learn_internal.h"

#include <math.h>
#include <string.h>

typedef struct oracle {
    const nn_model *m;
    const meta_options *o;
    const meta_state *s;
    meta_plan plan;
    ag_tape *t;
    ag_tensor **theta;                   /* leaves; [plan.n_param], those of a centroid head are NULL */
    ag_tensor **params, **frozen, **grads;
    ag_tensor **alpha;                   /* leaves: one per rate, or one per tensor whose numbers have each their own */
    int n_alpha;
} oracle;

static ag_tensor *leaf(oracle *c, int ndim, const int64_t *shape, const ag_real *data)
{
    ag_spec spec = { .ndim = ndim };
    memcpy(spec.shape, shape, (size_t)ndim * sizeof *shape);
    return ag_value(c->t, &spec, data);
}

static void make_leaves(oracle *c)
{
    const ag_real *alpha = c->s->values + c->s->n_value;
    int64_t known = 0;
    for (int p = 0; p < c->plan.n_param; p++) {
        const meta_plan_param *param = &c->plan.param[p];
        c->theta[p] = param->offset < 0 ? NULL : leaf(c, param->ndim, param->shape, c->s->values + param->offset);
        if (!param->adapted || param->rate < known)
            continue;
        c->alpha[c->n_alpha++] = param->rate_each ? leaf(c, param->ndim, param->shape, alpha + param->rate)
                                                  : leaf(c, 0, (int64_t[]){ 1 }, alpha + param->rate);
        known = param->rate + (param->rate_each ? param->numel : 1);
    }
    for (int i = 0; i < c->m->n_frozen; i++)
        c->frozen[i] = leaf(c, c->m->frozen[i].ndim, c->m->frozen[i].shape, c->m->frozen[i].data);
}

static ag_tensor *x_of(oracle *c, meta_set set, const void *x)
{
    ag_spec spec = nn_model_x(c->m, set.n, set.capacity);
    return ag_value(c->t, &spec, x);
}

static ag_tensor *y_of(oracle *c, meta_set set, const void *y)
{
    if (c->o->loss == META_NEXT_TOKEN)
        return ag_value(c->t, &(ag_spec){ .ndim = 1, .shape = { 2 * nn_model_text(c->m, set.n, set.capacity).capacity }, .dtype = AG_INT }, y);
    if (c->o->loss == META_MSE)
        return ag_value(c->t, &(ag_spec){ .ndim = 2, .shape = { set.n, c->m->options.n_out } }, y);
    return ag_value(c->t, &(ag_spec){ .ndim = 1, .shape = { set.n }, .dtype = AG_INT }, y);
}

static ag_tensor *model_out(oracle *c, meta_set set, const void *x)
{
    nn_input in = { .x = x_of(c, set, x), .text = nn_model_text(c->m, set.n, set.capacity), .frozen = c->frozen };
    return c->m->forward(c->m, c->t, c->params, &in);
}

static ag_tensor *cross_entropy(ag_tape *t, ag_tensor *out, ag_tensor *labels, ag_tensor **hits)
{
    *hits = ag_mean(t, ag_hit(t, out, labels), AG_ALL_AXES);
    return ag_mean(t, ag_cross_entropy(t, out, labels), AG_ALL_AXES);
}

static ag_tensor *loss_of(oracle *c, const meta_data *d, bool query, double *accuracy)
{
    const meta_plan *plan = &c->plan;
    meta_set set = query ? d->query : d->support;
    ag_tensor *out = model_out(c, set, query ? d->query_x : d->support_x), *labels = y_of(c, set, meta_data_y(d, query)), *hits;
    if (plan->head == META_HEAD_CENTROID)
        out = meta_centroid_scores(c->t, plan, out, c->params[plan->n_param - 2], c->params[plan->n_param - 1]);
    else if (plan->head == META_HEAD_PROTOTYPE && query)
        out = meta_prototype_scores(c->t, plan, out, model_out(c, d->support, d->support_x), y_of(c, d->support, d->support_y));
    else if (plan->head == META_HEAD_PROTOTYPE)
        out = meta_prototype_own_scores(c->t, plan, out, labels);
    if (c->o->loss == META_MSE)
        return ag_mse(c->t, out, labels);
    ag_tensor *loss = c->o->loss == META_NEXT_TOKEN ? meta_next_token_loss(c->t, out, labels, &hits)
                                                    : cross_entropy(c->t, out, labels, &hits);
    ag_real hit = 0;
    ag_read(hits, &hit);
    *accuracy = (double)hit;
    return loss;
}

static void start_head(oracle *c, const meta_data *d)
{
    ag_tensor **head = c->params + c->plan.n_param - 2;
    if (c->plan.head != META_HEAD_CENTROID)
        return;
    meta_centroid_start(c->t, &c->plan, model_out(c, d->support, d->support_x), y_of(c, d->support, d->support_y), &head[0], &head[1]);
    for (int i = 0; i < 2 && c->o->first_order; i++)
        head[i] = ag_detach(c->t, head[i]);
}

/* The leaf of parameter p's rate. */
static ag_tensor *rate_leaf(const oracle *c, int p)
{
    int index = -1;
    int64_t known = 0;
    for (int i = 0; i <= p; i++) {
        const meta_plan_param *param = &c->plan.param[i];
        if (!param->adapted || param->rate < known)
            continue;
        index++;
        known = param->rate + (param->rate_each ? param->numel : 1);
    }
    return c->alpha[index];
}

static void adapt(oracle *c, const meta_data *d, double *support_loss)
{
    double unused;
    for (int64_t k = 0; k < c->o->train_steps; k++) {
        ag_tensor *loss = loss_of(c, d, false, &unused);
        ag_real value = NAN;
        ag_read(loss, &value);
        if (k == 0)
            *support_loss = (double)value;
        ag_grad(c->t, ag_scale(c->t, loss, c->plan.support_scale), NULL, c->plan.n_param, c->params, c->grads);
        for (int p = 0; p < c->plan.n_param; p++) {
            if (!c->plan.param[p].adapted)
                continue;
            ag_tensor *g = c->o->first_order ? ag_detach(c->t, c->grads[p]) : c->grads[p];
            g = ag_scale(c->t, g, (double)c->plan.param[p].rate_scale);
            c->params[p] = ag_sub(c->t, c->params[p], ag_mul(c->t, rate_leaf(c, p), g));
        }
    }
}

/* Adds one task's gradient to grad. */
static ag_code one_task(oracle *c, const meta_data *d, ag_real *grad, meta_report *r, ag_error *err)
{
    double support_loss = NAN, accuracy = NAN;
    int n = c->m->n_param;
    c->n_alpha = 0;
    make_leaves(c);
    memcpy(c->params, c->theta, (size_t)c->plan.n_param * sizeof *c->params);
    start_head(c, d);
    /* Inner gradients are partial ones: they stop at these copies and do not go on through the head's start. */
    for (int i = 0; i < n; i++)
        c->params[i] = ag_copy(c->t, c->theta[i]);
    adapt(c, d, &support_loss);
    ag_tensor *loss = loss_of(c, d, true, &accuracy), **grads = c->grads;
    for (int i = 0; i < c->n_alpha; i++)
        c->theta[n + i] = c->alpha[i];   /* behind the model's leaves */
    ag_grad(c->t, loss, NULL, n + (c->o->learn_rates ? c->n_alpha : 0), c->theta, grads);
    AG_TRY(err, ag_tape_status(c->t, err));
    int64_t at = 0;
    for (int i = 0; i < n + (c->o->learn_rates ? c->n_alpha : 0); i++) {
        int64_t numel = ag_numel(grads[i]);
        ag_real *values = ag_alloc((size_t)numel * sizeof *values);
        AG_REQUIRE(values, err, AG_ENOMEM, "oracle: no memory");
        ag_read(grads[i], values);
        for (int64_t j = 0; j < numel; j++)
            grad[at + j] += values[j];
        ag_free(values);
        at += numel;
    }
    ag_real value = 0;
    ag_read(loss, &value);
    r->support_loss += support_loss;
    r->query_loss += (double)value;
    r->query_accuracy += accuracy;
    return AG_OK;
}

static ag_code all_tasks(oracle *c, meta_data *d, const meta_batch *b, ag_real *grad, meta_report *r, ag_error *err)
{
    for (int64_t task = 0; task < b->n_task; task++) {
        ag_mark mark = ag_tape_mark(c->t);
        AG_TRY(err, meta_data_fetch(d, b, task, 1, 1, err));
        AG_TRY(err, one_task(c, d, grad, r, err));
        ag_tape_rewind(c->t, mark);
    }
    return AG_OK;
}

static ag_code oracle_init(oracle *c, const nn_model *m, const meta_options *o, const meta_state *s, ag_error *err)
{
    *c = (oracle){ .m = m, .o = o, .s = s };
    AG_TRY(err, meta_plan_init(&c->plan, m, o, err));
    size_t n = 2 * (size_t)m->n_param + 4;
    c->theta = ag_alloc_zero((4 * n + (size_t)m->n_frozen) * sizeof *c->theta);
    AG_REQUIRE(c->theta, err, AG_ENOMEM, "oracle: no memory");
    c->params = c->theta + n;
    c->grads = c->theta + 2 * n;
    c->alpha = c->theta + 3 * n;
    c->frozen = c->theta + 4 * n;
    c->t = ag_tape_new(NULL, err);
    return c->t ? AG_OK : AG_ENOMEM;
}

ag_code meta_outer_gradient_by_tape(const nn_model *m, const meta_options *o, const meta_state *s, const meta_batch *b, ag_real *grad,
                                    meta_report *report, ag_error *err)
{
    oracle c;
    meta_data d = { 0 };
    ag_code code = oracle_init(&c, m, o, s, err);
    if (code == AG_OK)
        code = meta_data_init(&d, &c.plan, 1, (meta_set){ o->n_support, o->support_capacity }, (meta_set){ o->n_query, o->query_capacity }, err);
    *report = (meta_report){ .bad_task = -1 };
    memset(grad, 0, (size_t)s->n * sizeof *grad);
    if (code == AG_OK)
        code = all_tasks(&c, &d, b, grad, report, err);
    for (int64_t i = 0; i < s->n; i++)
        grad[i] /= (ag_real)b->n_task;
    report->support_loss /= (double)b->n_task;
    report->query_loss /= (double)b->n_task;
    report->query_accuracy /= (double)b->n_task;
    ag_tape_free(c.t);
    ag_free(c.theta);
    meta_plan_release(&c.plan);
    meta_data_release(&d);
    return ag_trail(err, code, __func__);
}
