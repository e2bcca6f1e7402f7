/* The base's gradient beside private adapters, against plain loops in double (Block et al. 2024, alg. 1). */
#include "meta/lora_ml.h"
#include "tests/meta/episodes.h"

#ifdef AG_DOUBLE
#define TOLERANCE 1e-11
#else
#define TOLERANCE 1e-5
#endif

enum { DIM = 4, RANK = 2, N_TASK = 3, N = 7, OUTER = 5 };

typedef struct plain {                   /* W + U V' (V = U if symmetric), one U and V a task */
    double w[DIM * DIM], u[N_TASK][DIM * RANK], v[N_TASK][DIM * RANK];
    int rank;
    bool symmetric;
} plain;

static void draw(plain *p, uint64_t seed, double std)
{
    for (int task = 0; task < N_TASK; task++)
        for (int factor = 0; factor < 2; factor++) {
            ag_random r;
            ag_random_init(&r, seed, AG_STREAM_ADAPTER, (uint64_t)(1 + factor), (uint64_t)task);   /* by parameter and task */
            for (int i = 0; i < DIM * RANK; i++)
                (factor ? p->v : p->u)[task][i] = (double)(ag_real)(std * ag_random_normal(&r));
        }
}

/* The loss of a task, and its gradient for the whole matrix M = W + U V': dM [DIM, DIM]. */
static double residual(const plain *p, const episodes *e, int task, double scale, double *dm)
{
    const double *u = p->u[task], *v = p->symmetric ? u : p->v[task];
    double loss = 0;
    memset(dm, 0, DIM * DIM * sizeof *dm);
    for (int n = 0; n < N; n++)
        for (int o = 0; o < DIM; o++) {
            const ag_real *x = e->support_x + (task * N + n) * DIM;
            double y = -(double)((ag_real *)e->support_y)[(task * N + n) * DIM + o];
            for (int i = 0; i < DIM; i++) {
                double m = p->w[o * DIM + i];
                for (int r = 0; r < p->rank; r++)
                    m += u[o * RANK + r] * v[i * RANK + r];
                y += m * (double)x[i];
            }
            loss += y * y / (N * DIM);
            for (int i = 0; i < DIM; i++)
                dm[o * DIM + i] += scale * 2 * y * (double)x[i] / (N * DIM);
        }
    return loss;
}

static void adapt(plain *p, const episodes *e, int task, double scale, double lr)
{
    double dm[DIM * DIM], du[DIM * RANK] = { 0 }, dv[DIM * RANK] = { 0 };
    double *u = p->u[task], *v = p->symmetric ? u : p->v[task];
    residual(p, e, task, scale, dm);
    for (int o = 0; o < DIM; o++)
        for (int i = 0; i < DIM; i++)
            for (int r = 0; r < RANK; r++) {
                du[o * RANK + r] += dm[o * DIM + i] * v[i * RANK + r];
                dv[i * RANK + r] += dm[o * DIM + i] * u[o * RANK + r];
            }
    for (int i = 0; i < DIM * RANK; i++) {
        u[i] -= lr * (du[i] + (p->symmetric ? dv[i] : 0));
        if (!p->symmetric)
            v[i] -= lr * dv[i];
    }
}

static void check(int rank, bool symmetric, int64_t steps)
{
    const double scale = DIM, lr = 0.05, outer_lr = 0.1;
    nn_model m = test_model(&(nn_options){ .kind = "linear", .x_ndim = 1, .x_shape = { DIM }, .n_out = DIM, .adapter_rank = rank,
                                           .adapter_symmetric = symmetric && rank, .adapter_std = 0.5 });
    episodes e;
    episodes_draw(&e, &m, META_MSE, N_TASK, N, 0);
    meta_batch b = episodes_batch(&e);
    meta_lora_ml *l;
    ag_error err = { 0 };
    meta_lora_ml_options o = { .loss_scale = scale, .inner_lr = lr, .inner_steps = steps, .n_support = N };
    ck_assert_msg(meta_lora_ml_new(&l, &m, &o, &b, 3, &err) == AG_OK, "%s", err.message);
    plain p = { .rank = rank, .symmetric = symmetric };
    draw(&p, 3, 0.5);
    ag_real *theta = test_alloc((size_t)m.n_value * sizeof *theta), *grad = test_alloc((size_t)m.n_value * sizeof *grad);
    for (int outer = 0; outer < OUTER; outer++) {
        double want[DIM * DIM] = { 0 }, want_loss = 0, loss, dm[DIM * DIM];
        for (int task = 0; task < N_TASK; task++) {
            for (int64_t k = 0; rank && k < steps; k++)
                adapt(&p, &e, task, scale, lr);
            want_loss += residual(&p, &e, task, scale, dm) / N_TASK;
            for (int i = 0; i < DIM * DIM; i++)
                want[i] += dm[i] / N_TASK;
        }
        ck_assert_int_eq(meta_lora_ml_gradient(l, theta, grad, &loss, NULL), AG_OK);
        ck_close(loss, want_loss, TOLERANCE);
        for (int64_t i = 0; i < m.n_value; i++)
            ck_close((double)grad[i], i < DIM * DIM ? want[i] : 0, TOLERANCE);
        for (int i = 0; i < DIM * DIM; i++) {
            theta[i] -= (ag_real)outer_lr * grad[i];
            p.w[i] = (double)theta[i];
        }
    }
    free(theta);
    free(grad);
    meta_lora_ml_free(l);
    episodes_release(&e);
}

START_TEST(the_gradient_of_the_base_agrees_with_plain_loops)
{
    for (int64_t steps = 0; steps <= 10; steps += 5) {
        check(RANK, false, steps);
        check(RANK, true, steps);
    }
}
END_TEST

START_TEST(without_adapters_it_is_standard_retraining)
{
    check(0, false, 0);
    check(0, false, 10);
}
END_TEST

START_TEST(a_loss_that_is_not_finite_and_impossible_sizes_are_errors)
{
    nn_model m = test_model(&(nn_options){ .kind = "linear", .x_ndim = 1, .x_shape = { DIM }, .n_out = DIM });
    episodes e;
    episodes_draw(&e, &m, META_MSE, N_TASK, N, 0);
    meta_batch b = episodes_batch(&e);
    meta_lora_ml *l;
    ag_error err = { 0 };
    ag_real theta[DIM * DIM] = { 0 }, grad[DIM * DIM];
    double loss;
    ((ag_real *)e.support_y)[N * DIM] = (ag_real)NAN;
    ck_assert_int_eq(meta_lora_ml_new(&l, &m, &(meta_lora_ml_options){ .n_support = N }, &b, 3, &err), AG_OK);
    ck_assert_int_eq(meta_lora_ml_gradient(l, theta, grad, &loss, &err), AG_ENAN);
    ck_assert(strstr(err.message, "not finite"));
    meta_lora_ml_free(l);
    ag_error_clear(&err);
    ck_assert_int_eq(meta_lora_ml_new(&l, &m, &(meta_lora_ml_options){ .n_support = 0 }, &b, 3, &err), AG_EINVAL);
    ck_assert(strstr(err.message, "3 tasks of 0 examples"));
    ck_assert_ptr_null(l);
    episodes_release(&e);
}
END_TEST

TEST_MAIN(the_gradient_of_the_base_agrees_with_plain_loops, without_adapters_it_is_standard_retraining,
          a_loss_that_is_not_finite_and_impossible_sizes_are_errors)
