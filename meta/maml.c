/* MAML's backward pass by recurrence (docs/architecture.md, "Meta-gradients without the long tape"), and FOMAML's, which has
 * none: Finn, Abbeel & Levine 2017. With only a head adapted it is ANIL, with a rate for each number Meta-SGD (Li et al.
 * 2017).
 *
 *   theta_{k+1} = theta_k - alpha g_k,  g_k = grad of the support loss at theta_k
 *   lambda_K = grad of the query loss at theta_K
 *   lambda_k = lambda_{k+1} - H_k (alpha lambda_{k+1}),  d/d alpha = -sum_k g_k lambda_{k+1}
 *   shared parameters: grad of the query loss - sum_k (mixed derivative)_k (alpha lambda_{k+1})
 *
 * H_k v is stage 2 of the support program, whose stage 1 gave g_k. Of each step theta_k is kept, of step 0, of the
 * last one and of as many before it as keep_bytes has room for the stage-1 results too; those of the steps between are
 * computed again. */
#include "meta/learn_internal.h"

static void subtract(ag_real *restrict x, const ag_real *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] -= y[i];
}

/* Turns lambda_{k+1} into lambda_k, and adds step k's part to the gradients of the rates and the shared parameters. */
static ag_code step_back(const meta_learner *l, meta_worker *w, const meta_state *s, const meta_rates *rates, int64_t k, ag_error *err)
{
    int64_t size = l->chunk * l->plan.n_adapted;
    int64_t slot = k == 0 ? 0 : meta_later_frame(l, k);
    ag_frame *f = k == 0 ? w->first : w->later[slot];
    const ag_real *g = k == 0 ? w->g_first : w->g_later + slot * size;
    if (!meta_step_is_kept(l, k)) {
        meta_bind_params(&l->plan, f, l->chunk, s->values, w->theta + (k - 1) * size, w->start_values);
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

static ag_code all_steps_back(const meta_learner *l, meta_worker *w, const meta_state *s, const meta_rates *rates, ag_error *err)
{
    if (l->options.first_order && !l->options.learn_rates)
        return AG_OK;
    for (int64_t k = l->options.train_steps - 1; k >= 0; k--)
        AG_TRY(err, step_back(l, w, s, rates, k, err));
    return AG_OK;
}

const meta_backward *meta_backward_maml(bool first_order)
{
    static const meta_backward exact = { .hessian_first = true, .hessian_later = true, .query_gradient = true, .run = all_steps_back };
    static const meta_backward first = { .query_gradient = true, .run = all_steps_back };
    return first_order ? &first : &exact;
}
