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
    ag_tensor *theta[NN_MAX_PARAMS];     /* leaves */
    ag_tensor *alpha[NN_MAX_PARAMS];     /* leaves: one per rate, tensor or element */
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
    for (int p = 0; p < c->m->n_param; p++) {
        const nn_param *param = &c->m->param[p];
        c->theta[p] = leaf(c, param->ndim, param->shape, c->s->values + param->offset);
        if (!c->plan.adapted[p])
            continue;
        if (c->o->rate_scope == META_RATE_ELEMENT)
            c->alpha[c->n_alpha++] = leaf(c, param->ndim, param->shape, alpha + c->plan.place[p]);
        else if (c->o->rate_scope == META_RATE_TENSOR || c->n_alpha == 0)
            c->alpha[c->n_alpha] = leaf(c, 0, (int64_t[]){ 1 }, alpha + c->n_alpha), c->n_alpha++;
    }
}

static ag_tensor *loss_of(oracle *c, ag_tensor *const *params, int64_t n, const ag_real *x, const void *y, double *accuracy)
{
    const nn_options *mo = &c->m->options;
    ag_spec xs = { .ndim = 1 + mo->x_ndim, .shape = { n } };
    ag_spec ys = { .ndim = 1, .shape = { n }, .dtype = AG_INT };
    memcpy(xs.shape + 1, mo->x_shape, (size_t)mo->x_ndim * sizeof *xs.shape);
    ag_tensor *out = c->m->forward(c->m, c->t, params, ag_value(c->t, &xs, x));
    if (c->o->loss == META_MSE)
        return ag_mse(c->t, out, ag_value(c->t, &(ag_spec){ .ndim = 2, .shape = { n, mo->n_out } }, y));
    ag_tensor *labels = ag_value(c->t, &ys, y), *hits = ag_mean(c->t, ag_hit(c->t, out, labels), AG_ALL_AXES);
    ag_real hit = 0;
    ag_read(hits, &hit);
    *accuracy = (double)hit;
    return ag_mean(c->t, ag_cross_entropy(c->t, out, labels), AG_ALL_AXES);
}

static void adapt(oracle *c, const meta_data *d, ag_tensor **params, double *support_loss)
{
    ag_tensor *grads[NN_MAX_PARAMS];
    double unused;
    for (int64_t k = 0; k < c->o->train_steps; k++) {
        ag_tensor *loss = loss_of(c, params, d->n_support, d->support_x, d->support_y, &unused);
        ag_real value = NAN;
        ag_read(loss, &value);
        if (k == 0)
            *support_loss = (double)value;
        ag_grad(c->t, ag_scale(c->t, loss, c->plan.support_scale), NULL, c->m->n_param, params, grads);
        int a = 0;
        for (int p = 0; p < c->m->n_param; p++) {
            if (!c->plan.adapted[p])
                continue;
            ag_tensor *g = c->o->first_order ? ag_detach(c->t, grads[p]) : grads[p];
            ag_tensor *alpha = c->alpha[c->o->rate_scope == META_RATE_ALL ? 0 : a++];
            params[p] = ag_sub(c->t, params[p], ag_mul(c->t, alpha, g));
        }
    }
}

/* Adds one task's gradient to grad. */
static ag_code one_task(oracle *c, const meta_data *d, ag_real *grad, meta_report *r, ag_error *err)
{
    ag_tensor *params[NN_MAX_PARAMS], *wanted[2 * NN_MAX_PARAMS], *grads[2 * NN_MAX_PARAMS];
    double support_loss = NAN, accuracy = NAN;
    int n = c->m->n_param;
    c->n_alpha = 0;
    make_leaves(c);
    memcpy(params, c->theta, sizeof params);
    memcpy(wanted, c->theta, sizeof c->theta);
    memcpy(wanted + n, c->alpha, (size_t)c->n_alpha * sizeof *c->alpha);
    adapt(c, d, params, &support_loss);
    ag_tensor *loss = loss_of(c, params, d->n_query, d->query_x, d->query_y, &accuracy);
    ag_grad(c->t, loss, NULL, n + (c->o->learn_rates ? c->n_alpha : 0), wanted, grads);
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

ag_code meta_outer_gradient_by_tape(const nn_model *m, const meta_options *o, const meta_state *s, const meta_batch *b, ag_real *grad,
                                    meta_report *report, ag_error *err)
{
    oracle c = { .m = m, .o = o, .s = s };
    meta_data d;
    meta_plan_init(&c.plan, m, o);
    AG_TRY(err, meta_data_init(&d, &c.plan, 1, o->n_support, o->n_query, err));
    c.t = ag_tape_new(NULL, err);
    *report = (meta_report){ .bad_task = -1 };
    memset(grad, 0, (size_t)s->n * sizeof *grad);
    ag_code code = c.t ? all_tasks(&c, &d, b, grad, report, err) : AG_ENOMEM;
    for (int64_t i = 0; i < s->n; i++)
        grad[i] /= (ag_real)b->n_task;
    report->support_loss /= (double)b->n_task;
    report->query_loss /= (double)b->n_task;
    report->query_accuracy /= (double)b->n_task;
    ag_tape_free(c.t);
    meta_data_release(&d);
    return ag_trail(err, code, __func__);
}
