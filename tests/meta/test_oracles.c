/* Meta-gradients against what is known otherwise: closed forms on quadratics, one long reverse-over-reverse tape, central
 * differences, and the limits in which MAML is something simpler. */
#include "tests/meta/quadratics.h"

#ifdef AG_DOUBLE
#define CLOSED_FORM 1e-12
#define RELATIVE 1e-10
#define SAME 1e-10
#define ACTIVATION "relu"
#else
#define CLOSED_FORM 2e-6
#define RELATIVE 1e-3
#define SAME 2e-4
#define ACTIVATION "tanh"   /* two roundings of one number may lie on both sides of a kink */
#endif

/* (grad [DIM], d/d alpha, query loss), means over the tasks. */
static void closed_form(const quadratic_world *w, int steps, bool first_order, const double *w0, double *grad, double *rate, double *loss)
{
    double a = ALPHA * SCALE;
    memset(grad, 0, DIM * sizeof *grad);
    *rate = *loss = 0;
    for (int task = 0; task < TASKS; task++) {
        const quadratic *s = &w->support[task], *q = &w->query[task];
        double off[DIM], end[DIM], lambda[DIM], back[DIM], slope[DIM];
        for (int i = 0; i < DIM; i++)
            off[i] = w0[i] - s->c[i];
        apply(s, 0, a, steps, off, end);
        for (int i = 0; i < DIM; i++)
            end[i] += s->c[i] - q->c[i];
        apply(q, 1, 0, 0, end, lambda);
        apply(s, 0, a, first_order ? 0 : steps, lambda, back);
        apply(s, 1, a, steps - 1, off, slope);
        for (int i = 0; i < DIM; i++) {
            grad[i] += back[i] / TASKS;
            *loss += 0.5 * end[i] * lambda[i] / TASKS;
            if (!first_order)
                *rate -= steps * SCALE * slope[i] * lambda[i] / TASKS;
        }
    }
}

static void check_quadratic(quadratic_world *w, int steps, bool first_order)
{
    meta_options o = { .loss = META_MSE, .support_scale = SCALE, .inner_lr = ALPHA, .learn_rates = !first_order, .train_steps = steps,
                       .first_order = first_order, .n_support = DIM, .n_query = DIM, .chunk = 2 };
    meta_learner *l = test_learner(&w->m, &o);
    meta_state s = test_state(l, 0);
    double w0[DIM], want[DIM], rate, loss;
    meta_report report;
    for (int i = 0; i < DIM; i++)
        s.values[i] = (ag_real)(w0[i] = (i - 2) * 0.5);
    ag_real *grad = test_gradient(l, &s, &w->e, &report);
    closed_form(w, steps, first_order, w0, want, &rate, &loss);
    for (int i = 0; i < DIM; i++)      /* the start's gradient is of the order of 1, the fiftieth's of 1e-4 */
        ck_close((double)grad[i], want[i], CLOSED_FORM);
    double distance = test_distance(DIM, grad, want);
    ck_assert_msg(distance <= RELATIVE, "%d steps: %.3g from the closed form", steps, distance);
    ck_close(report.query_loss, loss, CLOSED_FORM);
    if (!first_order)
        ck_close((double)grad[DIM], rate, 10 * CLOSED_FORM);
    free(grad);
    meta_state_release(&s);
    meta_learner_free(l);
}

START_TEST(one_to_fifty_steps_on_quadratics_have_their_closed_form)
{
    for (int same_query = 0; same_query < 2; same_query++) {
        quadratic_world w;
        world_init(&w, false, same_query);
        for (int steps = 1; steps <= 50; steps++)
            check_quadratic(&w, steps, false);
        episodes_release(&w.e);
    }
}
END_TEST

START_TEST(fomaml_on_quadratics_is_the_query_gradient_at_the_end)
{
    quadratic_world w;
    world_init(&w, false, false);
    for (int steps = 1; steps <= 50; steps += 7)
        check_quadratic(&w, steps, true);
    episodes_release(&w.e);
}
END_TEST

/* With H diagonal every coordinate adapts alone, by its own rate. */
START_TEST(a_rate_for_each_number_has_its_closed_form_on_diagonal_quadratics)
{
    quadratic_world w;
    world_init(&w, true, false);
    for (int steps = 1; steps <= 20; steps++) {
        meta_options o = { .loss = META_MSE, .support_scale = SCALE, .inner_lr = ALPHA, .rate_scope = META_RATE_ELEMENT,
                           .learn_rates = true, .train_steps = steps, .n_support = DIM, .n_query = DIM };
        meta_learner *l = test_learner(&w.m, &o);
        meta_state s = test_state(l, 0);
        ck_assert_int_eq(s.n_rate, DIM);
        double want[2 * DIM] = { 0 };
        for (int i = 0; i < DIM; i++) {
            s.values[i] = (ag_real)(i - 2) / 2;
            s.values[DIM + i] = (ag_real)(ALPHA * (1 - 0.125 * i));
        }
        for (int task = 0; task < TASKS; task++) {
            double off[DIM], end[DIM], lambda[DIM], factor[DIM];
            for (int i = 0; i < DIM; i++) {
                off[i] = (double)s.values[i] - w.support[task].c[i];
                factor[i] = 1 - (double)s.values[DIM + i] * SCALE * w.support[task].h[i];
                end[i] = pow(factor[i], steps) * off[i] + w.support[task].c[i] - w.query[task].c[i];
            }
            apply(&w.query[task], 1, 0, 0, end, lambda);
            for (int i = 0; i < DIM; i++) {
                want[i] += pow(factor[i], steps) * lambda[i] / TASKS;
                want[DIM + i] -= steps * SCALE * w.support[task].h[i] * pow(factor[i], steps - 1) * off[i] * lambda[i] / TASKS;
            }
        }
        ag_real *grad = test_gradient(l, &s, &w.e, NULL);
        ck_assert_msg(test_distance(DIM, grad, want) <= CLOSED_FORM, "%d steps, theta", steps);
        ck_assert_msg(test_distance(DIM, grad + DIM, want + DIM) <= CLOSED_FORM, "%d steps, rates", steps);
        free(grad);
        meta_state_release(&s);
        meta_learner_free(l);
    }
    episodes_release(&w.e);
}
END_TEST

/* ---- the long tape ---- */

static const nn_options small_mlp = { .kind = "mlp", .x_ndim = 1, .x_shape = { 3 }, .n_out = 2, .n_hidden = 2, .hidden = { 7, 5 },
                                      .activation = ACTIVATION, .batch_norm = true, .norm_scale = true, .norm_epsilon = 1e-3 };
static const nn_options small_conv4 = { .kind = "conv4", .x_ndim = 3, .x_shape = { 16, 17, 2 }, .n_out = 3, .filters = 3,
                                        .activation = ACTIVATION, .batch_norm = true, .norm_scale = true, .norm_epsilon = 1e-3 };

static void move_state(const nn_model *m, const meta_options *o, meta_state *s)
{
    ag_random r;
    ag_random_init(&r, 21, AG_STREAM_USER, 0, 0);
    for (int p = 0; p < m->n_param; p++)       /* zeros and ones would hide mistakes */
        for (int64_t i = 0; i < m->param[p].numel; i++)
            s->values[m->param[p].offset + i] += (ag_real)ag_random_uniform(&r, -0.3, 0.3);
    for (int64_t i = 0; i < s->n_rate; i++)
        s->values[s->n_value + i] = (ag_real)(o->inner_lr * ag_random_uniform(&r, 0.5, 1.5));
}

/* The recurrence's gradient in the learner's chunks, against the tape's. */
static void check_against_tape(const nn_options *model, const meta_options *o, episodes *e)
{
    nn_model m = test_model(model);
    meta_learner *l = test_learner(&m, o);
    meta_state s = test_state(l, 4);
    meta_report report, expected;
    ag_error err = { 0 };
    move_state(&m, o, &s);
    ag_real *grad = test_gradient(l, &s, e, &report), *want = test_alloc((size_t)s.n * sizeof *want);
    meta_batch b = episodes_batch(e);
    ck_assert_msg(meta_outer_gradient_by_tape(&m, o, &s, &b, want, &expected, &err) == AG_OK, "%s", err.message);
    ck_close(report.query_loss, expected.query_loss, SAME);
    if (o->train_steps > 0)
        ck_close(report.support_loss, expected.support_loss, SAME);
    if (o->loss == META_CROSS_ENTROPY)
        ck_close(report.query_accuracy, expected.query_accuracy, 1e-6);
    for (int p = 0; p < m.n_param; p++) {
        double distance = test_distance_real(m.param[p].numel, grad + m.param[p].offset, want + m.param[p].offset);
        ck_assert_msg(distance <= SAME, "%s %s: %lld steps, chunk %lld, scope %d, first order %d: %.3g from the tape", model->kind,
                      m.param[p].name, (long long)o->train_steps, (long long)o->chunk, (int)o->rate_scope, o->first_order, distance);
    }
    double distance = test_distance_real(s.n - s.n_value, grad + s.n_value, want + s.n_value);
    ck_assert_msg(distance <= SAME, "%s, rates: %.3g from the tape", model->kind, distance);
    free(grad);
    free(want);
    meta_state_release(&s);
    meta_learner_free(l);
}

/* Every scope of rates, learned or not, with norm parameters adapted or not, both orders; chunks of 1 to n_task in turn. */
static void check_combinations(const nn_options *model, meta_loss loss, int64_t n_task, int64_t steps, double lr)
{
    nn_model m = test_model(model);
    episodes e;
    episodes_draw(&e, &m, loss, n_task, 6, 3);
    int64_t turn = steps;
    for (int scope = META_RATE_ALL; scope <= META_RATE_ELEMENT; scope++)
        for (int bits = 0; bits < 8; bits++) {
            meta_options o = { .loss = loss, .support_scale = 1.5, .inner_lr = lr, .rate_scope = (meta_rate_scope)scope,
                               .learn_rates = bits & 1, .adapt_norm = bits & 2, .first_order = bits & 4, .train_steps = steps,
                               .n_support = 6, .n_query = 3, .chunk = 1 + turn++ % n_task };
            check_against_tape(model, &o, &e);
        }
    episodes_release(&e);
}

START_TEST(the_recurrence_equals_the_long_tape_for_an_mlp)
{
    for (int64_t steps = 0; steps <= 5; steps++)
        check_combinations(&small_mlp, META_MSE, 5, steps, 0.1);
}
END_TEST

START_TEST(the_recurrence_equals_the_long_tape_for_conv4_with_strides)
{
    for (int64_t steps = 0; steps <= (test_under_valgrind() ? 1 : 5); steps++)
        check_combinations(&small_conv4, META_CROSS_ENTROPY, 3, steps, 0.2);
}
END_TEST

START_TEST(the_recurrence_equals_the_long_tape_for_conv4_with_max_pooling)
{
    nn_options o = small_conv4;
    o.max_pool = true;
    for (int64_t steps = 1; steps <= (test_under_valgrind() ? 1 : 5); steps += 2)
        check_combinations(&o, META_CROSS_ENTROPY, 3, steps, 0.2);
}
END_TEST

START_TEST(the_recurrence_equals_the_long_tape_when_only_adapters_are_adapted)
{
    nn_options model = { .kind = "linear", .x_ndim = 1, .x_shape = { 4 }, .n_out = 3, .adapter_rank = 2, .adapter_std = 0.5 };
    nn_model m = test_model(&model);
    episodes e;
    episodes_draw(&e, &m, META_MSE, 5, 6, 3);
    for (int64_t steps = 1; steps <= 5; steps++)
        for (int bits = 0; bits < 4; bits++) {
            meta_options o = { .loss = META_MSE, .inner_lr = 0.1, .adapters_only = true, .learn_rates = bits & 1, .first_order = bits & 2,
                               .train_steps = steps, .n_support = 6, .n_query = 3, .chunk = 2 };
            check_against_tape(&model, &o, &e);
        }
    episodes_release(&e);
}
END_TEST

/* ---- central differences ---- */

#ifdef AG_DOUBLE
static double query_loss(meta_learner *l, const meta_state *s, episodes *e)
{
    meta_report report;
    free(test_gradient(l, s, e, &report));
    return report.query_loss;
}

static void check_difference(meta_learner *l, meta_state *s, episodes *e, const double *direction, const ag_real *grad)
{
    double slope = 0, h = 1e-6, loss[2];
    ag_real *at = s->values, *moved = test_alloc((size_t)s->n * sizeof *moved);
    s->values = moved;
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < s->n; i++)
            moved[i] = at[i] + (side ? h : -h) * direction[i];
        loss[side] = query_loss(l, s, e);
    }
    s->values = at;
    free(moved);
    for (int64_t i = 0; i < s->n; i++)
        slope += direction[i] * grad[i];
    double difference = (loss[1] - loss[0]) / (2 * h);
    ck_assert_msg(fabs(slope - difference) <= 1e-7 * fmax(1, fabs(difference)), "gradient %.12g, difference %.12g", slope, difference);
}

/* Along random directions, which touch every number, and along single numbers. */
START_TEST(central_differences_of_the_query_loss_agree_on_the_sinusoid_network)
{
    nn_model m = test_model(&(nn_options){ .kind = "mlp", .x_ndim = 1, .x_shape = { 1 }, .n_out = 1, .n_hidden = 2, .hidden = { 40, 40 } });
    meta_options o = { .loss = META_MSE, .inner_lr = 0.01, .learn_rates = true, .rate_scope = META_RATE_TENSOR, .train_steps = 3,
                       .n_support = 10, .n_query = 10, .chunk = 2 };
    episodes e;
    episodes_draw(&e, &m, META_MSE, 4, 10, 10);
    meta_learner *l = test_learner(&m, &o);
    meta_state s = test_state(l, 9);
    move_state(&m, &o, &s);
    ag_real *grad = test_gradient(l, &s, &e, NULL);
    double *direction = test_alloc((size_t)s.n * sizeof *direction);
    ag_random r;
    ag_random_init(&r, 31, AG_STREAM_USER, 0, 0);
    for (int trial = 0; trial < 20; trial++) {
        for (int64_t i = 0; i < s.n; i++)
            direction[i] = ag_random_normal(&r) / sqrt((double)s.n);
        check_difference(l, &s, &e, direction, grad);
    }
    for (int64_t i = 0; i < s.n; i += i < s.n_value - 60 ? 53 : 1) {   /* some weights, the last layer, every rate */
        memset(direction, 0, (size_t)s.n * sizeof *direction);
        direction[i] = 1;
        check_difference(l, &s, &e, direction, grad);
    }
    free(direction);
    free(grad);
    meta_state_release(&s);
    meta_learner_free(l);
    episodes_release(&e);
}
END_TEST
#endif

/* ---- limits ---- */

static ag_real *gradient_with(const nn_model *m, const meta_options *o, episodes *e, meta_report *report)
{
    meta_learner *l = test_learner(m, o);
    meta_state s = test_state(l, 9);
    ag_real *grad = test_gradient(l, &s, e, report);
    meta_state_release(&s);
    meta_learner_free(l);
    return grad;
}

START_TEST(steps_with_rate_zero_are_joint_training)
{
    nn_model m = test_model(&small_conv4);
    episodes e;
    episodes_draw(&e, &m, META_CROSS_ENTROPY, 5, 6, 3);
    meta_options o = { .loss = META_CROSS_ENTROPY, .n_support = 6, .n_query = 3, .chunk = 2 };
    meta_report joint_report, report;
    ag_real *joint = gradient_with(&m, &o, &e, &joint_report);
    ck_assert(isnan(joint_report.support_loss));
    for (int first_order = 0; first_order < 2; first_order++)
        for (o.train_steps = 1; o.train_steps <= 4; o.train_steps++) {
            o.first_order = first_order;
            ag_real *grad = gradient_with(&m, &o, &e, &report);
            ck_assert(test_distance_real(m.n_value, grad, joint) <= SAME);
            ck_close(report.query_loss, joint_report.query_loss, SAME);
            free(grad);
        }
    free(joint);
    episodes_release(&e);
}
END_TEST

START_TEST(joint_training_needs_no_support)
{
    nn_model m = test_model(&small_mlp);
    episodes e;
    episodes_draw(&e, &m, META_MSE, 5, 0, 3);
    meta_options o = { .loss = META_MSE, .n_support = 0, .n_query = 3, .chunk = 2 };
    meta_report report;
    ag_real *grad = gradient_with(&m, &o, &e, &report);
    ck_assert(isfinite(report.query_loss));
    free(grad);
    episodes_release(&e);
}
END_TEST

#ifdef AG_DOUBLE
TEST_MAIN(one_to_fifty_steps_on_quadratics_have_their_closed_form, fomaml_on_quadratics_is_the_query_gradient_at_the_end,
          a_rate_for_each_number_has_its_closed_form_on_diagonal_quadratics, the_recurrence_equals_the_long_tape_for_an_mlp,
          the_recurrence_equals_the_long_tape_for_conv4_with_strides, the_recurrence_equals_the_long_tape_for_conv4_with_max_pooling,
          the_recurrence_equals_the_long_tape_when_only_adapters_are_adapted,
          central_differences_of_the_query_loss_agree_on_the_sinusoid_network, steps_with_rate_zero_are_joint_training,
          joint_training_needs_no_support)
#else
TEST_MAIN(one_to_fifty_steps_on_quadratics_have_their_closed_form, fomaml_on_quadratics_is_the_query_gradient_at_the_end,
          a_rate_for_each_number_has_its_closed_form_on_diagonal_quadratics, the_recurrence_equals_the_long_tape_for_an_mlp,
          the_recurrence_equals_the_long_tape_for_conv4_with_strides, the_recurrence_equals_the_long_tape_for_conv4_with_max_pooling,
          the_recurrence_equals_the_long_tape_when_only_adapters_are_adapted, steps_with_rate_zero_are_joint_training,
          joint_training_needs_no_support)
#endif
