/* Reptile, iMAML and the inner loop's Adam against their closed forms on quadratics. */
#include "tests/meta/quadratics.h"

#ifdef AG_DOUBLE
#define CLOSED_FORM 1e-10
#else
#define CLOSED_FORM 2e-4
#endif

static void start_of(double *w0, meta_state *s)
{
    for (int i = 0; i < DIM; i++)
        s->values[i] = (ag_real)(w0[i] = (i - 2) * 0.5);
}

/* The outer gradient [DIM] of these options on the world's tasks. */
static ag_real *gradient(const quadratic_world *w, const meta_options *o, double *w0)
{
    meta_learner *l = test_learner(&w->m, o);
    meta_state s = test_state(l, 0);
    episodes e = w->e;
    start_of(w0, &s);
    ag_real *grad = test_gradient(l, &s, &e, NULL);
    meta_state_release(&s);
    meta_learner_free(l);
    return grad;
}

static meta_options options_of(meta_algorithm algorithm, int64_t steps)
{
    return (meta_options){ .algorithm = algorithm, .loss = META_MSE, .support_scale = SCALE, .inner_lr = ALPHA / 2, .train_steps = steps,
                           .n_support = DIM, .n_query = DIM, .chunk = 2, .proximal = 2 };
}

START_TEST(reptiles_gradient_is_the_way_from_the_end_back_to_the_start)
{
    quadratic_world w;
    world_init(&w, false, false);
    for (int steps = 1; steps <= 20; steps++) {
        meta_options o = options_of(META_REPTILE, steps);
        double w0[DIM], want[DIM] = { 0 };
        ag_real *grad = gradient(&w, &o, w0);
        for (int task = 0; task < TASKS; task++) {
            double off[DIM], end[DIM];
            for (int i = 0; i < DIM; i++)
                off[i] = w0[i] - w.support[task].c[i];
            apply(&w.support[task], 0, SCALE * ALPHA / 2, steps, off, end);
            for (int i = 0; i < DIM; i++)
                want[i] += (off[i] - end[i]) / TASKS;
        }
        for (int i = 0; i < DIM; i++)
            ck_close((double)grad[i], want[i], CLOSED_FORM);
        free(grad);
    }
    episodes_release(&w.e);
}
END_TEST

/* g / sqrt(g^2) for the first step: every number moves by the rate. */
START_TEST(the_first_step_of_adam_moves_every_number_by_the_rate)
{
    quadratic_world w;
    world_init(&w, false, false);
    meta_options o = options_of(META_REPTILE, 1);
    o.rule = META_RULE_ADAM;
    double w0[DIM], want[DIM] = { 0 };
    ag_real *grad = gradient(&w, &o, w0);
    for (int task = 0; task < TASKS; task++) {
        double off[DIM], slope[DIM];
        for (int i = 0; i < DIM; i++)
            off[i] = w0[i] - w.support[task].c[i];
        apply(&w.support[task], 1, 0, 0, off, slope);
        for (int i = 0; i < DIM; i++)
            want[i] += ALPHA / 2 * (slope[i] > 0 ? 1 : -1) / TASKS;
    }
    for (int i = 0; i < DIM; i++)
        ck_close((double)grad[i], want[i], 1e-5);
    free(grad);
    episodes_release(&w.e);
}
END_TEST

/* out = Q diag(f(h)) Q' x */
static void apply_function(const quadratic *q, double (*f)(double h), const double *x, double *out)
{
    double turned[DIM];
    reflect(q, x, turned);
    for (int i = 0; i < DIM; i++)
        turned[i] *= f(q->h[i]);
    reflect(q, turned, out);
}

static double implicit_factor(double h)
{
    return 1 / (1 + SCALE * h / 2);   /* lambda = 2 */
}

/* phi after `steps` of w <- w - alpha (s H (w - c) + 2 (w - w0)). */
static void descend(const quadratic *q, const double *w0, int64_t steps, double *w)
{
    memcpy(w, w0, DIM * sizeof *w);
    for (int64_t k = 0; k < steps; k++) {
        double off[DIM], slope[DIM];
        for (int i = 0; i < DIM; i++)
            off[i] = w[i] - q->c[i];
        apply(q, 1, 0, 0, off, slope);
        for (int i = 0; i < DIM; i++)
            w[i] -= ALPHA / 2 * (SCALE * slope[i] + 2 * (w[i] - w0[i]));
    }
}

START_TEST(imaml_solves_for_the_implicit_gradient)
{
    quadratic_world w;
    world_init(&w, false, false);
    for (int steps = 1; steps <= 16; steps += 5) {
        meta_options o = options_of(META_IMAML, steps);
        o.cg_steps = DIM;   /* exact by then */
        double w0[DIM], want[DIM] = { 0 };
        ag_real *grad = gradient(&w, &o, w0);
        for (int task = 0; task < TASKS; task++) {
            double phi[DIM], lambda[DIM], back[DIM];
            descend(&w.support[task], w0, steps, phi);
            for (int i = 0; i < DIM; i++)
                phi[i] -= w.query[task].c[i];
            apply(&w.query[task], 1, 0, 0, phi, lambda);
            apply_function(&w.support[task], implicit_factor, lambda, back);
            for (int i = 0; i < DIM; i++)
                want[i] += back[i] / TASKS;
        }
        for (int i = 0; i < DIM; i++)
            ck_close((double)grad[i], want[i], 10 * CLOSED_FORM);
        free(grad);
    }
    episodes_release(&w.e);
}
END_TEST

START_TEST(impossible_combinations_are_refused)
{
    quadratic_world w;
    world_init(&w, false, false);
    meta_options o = options_of(META_IMAML, 1), adam = options_of(META_MAML, 1), rates = options_of(META_REPTILE, 1);
    meta_learner *l;
    o.proximal = 0;
    adam.rule = META_RULE_ADAM;
    rates.learn_rates = true;
    ag_error err = { 0 };
    ck_assert_int_eq(meta_learner_new(&l, &w.m, &o, &err), AG_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "proximal"));
    ag_error_clear(&err);
    ck_assert_int_eq(meta_learner_new(&l, &w.m, &adam, &err), AG_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "Adam"));
    ag_error_clear(&err);
    ck_assert_int_eq(meta_learner_new(&l, &w.m, &rates, &err), AG_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "rates"));
    episodes_release(&w.e);
}
END_TEST

TEST_MAIN(reptiles_gradient_is_the_way_from_the_end_back_to_the_start, the_first_step_of_adam_moves_every_number_by_the_rate,
          imaml_solves_for_the_implicit_gradient, impossible_combinations_are_refused)
