/* Implicit MAML (Rajeswaran, Finn, Kakade & Levine 2019): the inner loop descends the support loss + lambda/2 |theta -
 * theta_0|^2 (learner.c adds the pull), and at its end phi the outer gradient is
 *
 *   (I + H / lambda)^-1 grad of the query loss at phi,   H the support loss's Hessian at phi                (eq. 6)
 *
 * by conjugate gradients (algorithm 2) on Hessian-vector products: memory does not grow with the inner steps, and the way
 * taken to phi does not matter. Each task of the chunk has a system of its own. Shared parameters s get their direct
 * gradient - 1/lambda (d^2 support loss / ds dphi) x. */
#include "meta/learn_internal.h"

#include <string.h>

enum { USUAL_STEPS = 5 };

/* One task's part of two arrays laid out like theta. */
static double dot_task(const meta_learner *l, int64_t task, const ag_real *a, const ag_real *b)
{
    double sum = 0;
    for (int i = 0; i < l->plan.n_param; i++) {
        const meta_plan_param *p = &l->plan.param[i];
        int64_t at = l->chunk * p->place + task * p->numel;
        for (int64_t j = 0; p->adapted && j < p->numel; j++)
            sum += (double)a[at + j] * (double)b[at + j];
    }
    return sum;
}

/* a = ca a + cb b for one task. */
static void combine_task(const meta_learner *l, int64_t task, double ca, ag_real *a, double cb, const ag_real *b)
{
    for (int i = 0; i < l->plan.n_param; i++) {
        const meta_plan_param *p = &l->plan.param[i];
        int64_t at = l->chunk * p->place + task * p->numel;
        for (int64_t j = 0; p->adapted && j < p->numel; j++)
            a[at + j] = (ag_real)(ca * (double)a[at + j] + cb * (double)b[at + j]);
    }
}

/* w->hv = H v and w->hv_shared = the mixed product, at phi, whose stage 1 has run. */
static ag_code product(const meta_learner *l, meta_worker *w, const ag_real *v, ag_error *err)
{
    memcpy(w->tangent, v, (size_t)(l->chunk * l->plan.n_adapted) * sizeof *v);
    return ag_frame_run(w->later[0], 2, 2, err);
}

/* One step of conjugate gradients for each task: residual cg[0], direction cg[1], solution x. */
static ag_code cg_step(const meta_learner *l, meta_worker *w, ag_real *x, ag_error *err)
{
    AG_TRY(err, product(l, w, w->cg[1], err));
    for (int64_t task = 0; task < l->chunk; task++) {
        combine_task(l, task, 1 / l->options.proximal, w->hv, 1, w->cg[1]);
        double rr = dot_task(l, task, w->cg[0], w->cg[0]), curve = dot_task(l, task, w->cg[1], w->hv);
        if (rr == 0 || curve == 0)   /* solved */
            continue;
        double step = rr / curve;
        combine_task(l, task, 1, x, step, w->cg[1]);
        combine_task(l, task, 1, w->cg[0], -step, w->hv);
        combine_task(l, task, dot_task(l, task, w->cg[0], w->cg[0]) / rr, w->cg[1], 1, w->cg[0]);
    }
    return AG_OK;
}

static ag_code solve(const meta_learner *l, meta_worker *w, const meta_state *s, const meta_rates *rates, ag_error *err)
{
    (void)rates;
    int64_t size = l->chunk * l->plan.n_adapted, steps = l->options.cg_steps > 0 ? l->options.cg_steps : USUAL_STEPS;
    const ag_real *phi = meta_last_theta(l, w);
    if (!phi)
        return AG_OK;
    meta_bind_params(&l->plan, w->later[0], l->chunk, s->values, phi, w->start_values);
    AG_TRY(err, ag_frame_run(w->later[0], 0, 1, err));
    memcpy(w->cg[0], w->lambda, (size_t)size * sizeof *w->lambda);
    memcpy(w->cg[1], w->lambda, (size_t)size * sizeof *w->lambda);
    memset(w->lambda, 0, (size_t)size * sizeof *w->lambda);
    for (int64_t k = 0; k < steps; k++)
        AG_TRY(err, cg_step(l, w, w->lambda, err));
    if (l->plan.n_shared == 0)
        return AG_OK;
    AG_TRY(err, product(l, w, w->lambda, err));
    for (int64_t i = 0; i < l->chunk * l->plan.n_shared; i++)
        w->shared[i] -= w->hv_shared[i] / (ag_real)l->options.proximal;
    return AG_OK;
}

const meta_backward meta_backward_imaml = { .hessian_later = true, .needs_later = true, .query_gradient = true, .run = solve };
