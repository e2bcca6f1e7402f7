/* Reptile (Nichol, Achiam & Schulman 2018, algorithm 1 and 2): the outer gradient is theta_0 - theta_K, so that an outer
 * step of plain gradient descent with rate epsilon is theta <- theta + epsilon (mean theta_K - theta). The query is only
 * scored. Parameters that are not adapted do not move. */
#include "meta/learn_internal.h"

#include <string.h>

static ag_code way_gone(const meta_learner *l, meta_worker *w, const meta_state *s, const meta_rates *rates, ag_error *err)
{
    (void)rates;
    (void)err;
    const ag_real *last = meta_last_theta(l, w);
    memset(w->shared, 0, (size_t)(l->chunk * l->plan.n_shared) * sizeof *w->shared);
    memset(w->lambda, 0, (size_t)(l->chunk * l->plan.n_adapted) * sizeof *w->lambda);
    for (int i = 0; last && i < l->plan.n_param; i++) {
        const meta_plan_param *p = &l->plan.param[i];
        int64_t at = l->chunk * p->place;
        if (!meta_in_group(p, META_ADAPTED_MODEL))
            continue;
        for (int64_t j = 0; j < l->chunk * p->numel; j++)
            w->lambda[at + j] = s->values[p->offset + j % p->numel] - last[at + j];
    }
    return AG_OK;
}

const meta_backward meta_backward_reptile = { .run = way_gone };
