/* Episodes held in memory, and what the tests of meta/ share: models, learners and gradients in one line. */
#ifndef TESTS_META_EPISODES_H
#define TESTS_META_EPISODES_H

#include "autograd/random.h"
#include "meta/meta.h"
#include "tests/check.h"
#include "tests/models_made.h"

typedef struct episodes {
    int64_t n_task, n_support, n_query, x_numel;   /* examples of a task, numbers of an example */
    size_t y_bytes;                                /* of one example */
    ag_real *support_x, *query_x;
    void *support_y, *query_y;
} episodes;

static inline void *test_alloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    ck_assert_ptr_nonnull(p);
    return p;
}

static inline void episodes_init(episodes *e, const nn_model *m, meta_loss loss, int64_t n_task, int64_t n_support, int64_t n_query)
{
    *e = (episodes){ .n_task = n_task, .n_support = n_support, .n_query = n_query, .x_numel = 1 };
    for (int i = 0; i < m->options.x_ndim; i++)
        e->x_numel *= m->options.x_shape[i];
    e->y_bytes = loss == META_MSE ? (size_t)m->options.n_out * sizeof(ag_real) : sizeof(int32_t);
    size_t support = (size_t)(n_task * n_support), query = (size_t)(n_task * n_query);
    e->support_x = test_alloc(support * (size_t)e->x_numel * sizeof(ag_real));
    e->query_x = test_alloc(query * (size_t)e->x_numel * sizeof(ag_real));
    e->support_y = test_alloc(support * e->y_bytes);
    e->query_y = test_alloc(query * e->y_bytes);
}

static inline void episodes_release(episodes *e)
{
    free(e->support_x);
    free(e->query_x);
    free(e->support_y);
    free(e->query_y);
}

static inline void episodes_fill(const nn_model *m, meta_loss loss, ag_random *r, int64_t n, int64_t x_numel, ag_real *x, void *y)
{
    for (int64_t i = 0; i < n * x_numel; i++)
        x[i] = (ag_real)ag_random_uniform(r, -1, 1);
    for (int64_t i = 0; i < n; i++)
        if (loss == META_CROSS_ENTROPY)
            ((int32_t *)y)[i] = (int32_t)(i % m->options.n_out);
        else
            for (int64_t j = 0; j < m->options.n_out; j++)
                ((ag_real *)y)[i * m->options.n_out + j] = (ag_real)ag_random_uniform(r, -2, 2);
}

/* Uniform examples; targets are uniform, labels count through the classes. */
static inline void episodes_draw(episodes *e, const nn_model *m, meta_loss loss, int64_t n_task, int64_t n_support, int64_t n_query)
{
    ag_random r;
    episodes_init(e, m, loss, n_task, n_support, n_query);
    ag_random_init(&r, 11, AG_STREAM_USER, 0, 0);
    episodes_fill(m, loss, &r, n_task * n_support, e->x_numel, e->support_x, e->support_y);
    episodes_fill(m, loss, &r, n_task * n_query, e->x_numel, e->query_x, e->query_y);
}

static inline ag_code episodes_fetch(void *ctx, int64_t first, int64_t count, void *support_x, void *support_y, void *query_x,
                                     void *query_y, ag_error *err)
{
    const episodes *e = ctx;
    AG_REQUIRE(first >= 0 && count >= 1 && first + count <= e->n_task, err, AG_EINVAL, "episodes %lld .. %lld were asked for",
               (long long)first, (long long)(first + count));
    size_t support = (size_t)(first * e->n_support), query = (size_t)(first * e->n_query);
    size_t n_support = (size_t)(count * e->n_support), n_query = (size_t)(count * e->n_query), x = (size_t)e->x_numel;
    memcpy(support_x, e->support_x + support * x, n_support * x * sizeof(ag_real));
    memcpy(query_x, e->query_x + query * x, n_query * x * sizeof(ag_real));
    memcpy(support_y, (char *)e->support_y + support * e->y_bytes, n_support * e->y_bytes);
    memcpy(query_y, (char *)e->query_y + query * e->y_bytes, n_query * e->y_bytes);
    return AG_OK;
}

static inline meta_batch episodes_batch(episodes *e)
{
    return (meta_batch){ .n_task = e->n_task, .fetch = episodes_fetch, .ctx = e };
}

/* Commands that must succeed. */
static inline meta_learner *test_learner(const nn_model *m, const meta_options *o)
{
    meta_learner *l;
    ag_error err = { 0 };
    ck_assert_msg(meta_learner_new(&l, m, o, &err) == AG_OK, "%s (%s)", err.message, err.trail);
    return l;
}

static inline meta_state test_state(const meta_learner *l, uint64_t seed)
{
    meta_state s;
    ag_error err = { 0 };
    ck_assert_msg(meta_state_init(&s, l, seed, &err) == AG_OK, "%s", err.message);
    return s;
}

/* The outer gradient, freed with free. */
static inline ag_real *test_gradient(meta_learner *l, const meta_state *s, episodes *e, meta_report *report)
{
    ag_error err = { 0 };
    ag_real *grad = test_alloc((size_t)s->n * sizeof *grad);
    meta_batch b = episodes_batch(e);
    ck_assert_msg(meta_outer_gradient(l, s, &b, grad, report, &err) == AG_OK, "%s (%s)", err.message, err.trail);
    return grad;
}

/* The largest |a - b| / max(|b|, root mean square of b) over n numbers. */
static inline double test_distance(int64_t n, const ag_real *a, const double *b)
{
    double square = 0, worst = 0;
    for (int64_t i = 0; i < n; i++)
        square += b[i] * b[i] / (double)n;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);
        if (!(d == 0))
            worst = fmax(worst, isnan(d) ? INFINITY : d / fmax(fabs(b[i]), sqrt(square)));
    }
    return worst;
}

static inline double test_distance_real(int64_t n, const ag_real *a, const ag_real *b)
{
    double *wide = test_alloc((size_t)n * sizeof *wide);
    for (int64_t i = 0; i < n; i++)
        wide[i] = (double)b[i];
    double worst = test_distance(n, a, wide);
    free(wide);
    return worst;
}

#endif
