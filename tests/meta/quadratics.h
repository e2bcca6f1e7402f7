/* Tasks whose losses are quadratics, so that everything about them has a closed form.
 *
 * A linear model y = x w under MSE has the loss 1/2 (w - c)' H (w - c) with H = 2/n X'X when the targets are X c. Rows
 * X = sqrt(n/2 diag(h)) Q' with a reflection Q = 1 - 2 v v' give H = Q diag(h) Q'. Then, with s = support_scale,
 *   w_K = c + (1 - alpha s H)^K (w_0 - c),   d query / d w_0 = (1 - alpha s H)^K Hq (w_K - cq),
 *   d query / d alpha = -K s (H (1 - alpha s H)^(K-1) (w_0 - c)) . Hq (w_K - cq). */
#ifndef TESTS_META_QUADRATICS_H
#define TESTS_META_QUADRATICS_H

#include "tests/meta/episodes.h"

enum { DIM = 6, TASKS = 3 };
static const double ALPHA = 0.1, SCALE = 1.5;

typedef struct quadratic {
    double h[DIM], v[DIM], c[DIM];       /* eigenvalues, unit vector of the reflection (0: none), minimum */
} quadratic;

static inline quadratic quadratic_draw(ag_random *r, bool diagonal, double h_max)
{
    quadratic q = { { 0 }, { 0 }, { 0 } };
    double norm = 0;
    for (int i = 0; i < DIM; i++) {
        q.h[i] = ag_random_uniform(r, 0.05 * h_max, h_max);
        q.c[i] = ag_random_uniform(r, -1, 1);
        q.v[i] = diagonal ? 0 : ag_random_uniform(r, -1, 1);
        norm += q.v[i] * q.v[i];
    }
    for (int i = 0; i < DIM && !diagonal; i++)
        q.v[i] /= sqrt(norm);
    return q;
}

static inline void reflect(const quadratic *q, const double *x, double *out)
{
    double dot = 0;
    for (int i = 0; i < DIM; i++)
        dot += q->v[i] * x[i];
    for (int i = 0; i < DIM; i++)
        out[i] = x[i] - 2 * dot * q->v[i];
}

/* out = Q diag(h^power (1 - alpha s h)^k) Q' x */
static inline void apply(const quadratic *q, int power, double alpha, int k, const double *x, double *out)
{
    double turned[DIM];
    reflect(q, x, turned);
    for (int i = 0; i < DIM; i++)
        turned[i] *= pow(q->h[i], power) * pow(1 - alpha * q->h[i], k);
    reflect(q, turned, out);
}

static inline void write_examples(const quadratic *q, ag_real *x, ag_real *y)
{
    for (int row = 0; row < DIM; row++) {
        double unit[DIM] = { 0 }, target = 0;
        unit[row] = sqrt(DIM / 2.0 * q->h[row]);
        double turned[DIM];
        reflect(q, unit, turned);
        for (int i = 0; i < DIM; i++) {
            x[row * DIM + i] = (ag_real)turned[i];
            target += turned[i] * q->c[i];
        }
        y[row] = (ag_real)target;
    }
}

typedef struct quadratic_world {
    quadratic support[TASKS], query[TASKS];
    nn_model m;
    episodes e;
} quadratic_world;

static inline void world_init(quadratic_world *w, bool diagonal, bool same_query)
{
    ag_random r;
    ag_random_init(&r, 5, AG_STREAM_USER, 0, 0);
    w->m = test_model(&(nn_options){ .kind = "linear", .x_ndim = 1, .x_shape = { DIM }, .n_out = 1 });
    episodes_init(&w->e, &w->m, META_MSE, TASKS, DIM, DIM);
    for (int task = 0; task < TASKS; task++) {
        w->support[task] = quadratic_draw(&r, diagonal, 1.6 / (ALPHA * SCALE));   /* factors from 0.92 to -0.6 */
        w->query[task] = same_query ? w->support[task] : quadratic_draw(&r, false, 2);
        write_examples(&w->support[task], w->e.support_x + task * DIM * DIM, (ag_real *)w->e.support_y + task * DIM);
        write_examples(&w->query[task], w->e.query_x + task * DIM * DIM, (ag_real *)w->e.query_y + task * DIM);
    }
}

#endif
