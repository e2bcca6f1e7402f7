/* Outer optimisers against closed forms and loops written from the papers; clipping; schedules. */
#include "meta/optimizer.h"
#include "tests/check.h"

#ifdef AG_DOUBLE
#define TOLERANCE 1e-12
#else
#define TOLERANCE 2e-6
#endif

enum { N = 5 };

static meta_optimizer made(meta_optimizer_options options)
{
    meta_optimizer o;
    ag_error err = { 0 };
    ck_assert_msg(meta_optimizer_init(&o, &options, N, &err) == AG_OK, "%s", err.message);
    return o;
}

/* Some gradient that changes from step to step. */
static double gradient_at(int step, int i)
{
    return sin(1.7 * step + i) * pow(10, i - 2);
}

static void fill(int step, ag_real *grad)
{
    for (int i = 0; i < N; i++)
        grad[i] = (ag_real)gradient_at(step, i);
}

/* Kingma & Ba 2015, algorithm 1 with the order of section 2's last paragraph, whose epsilon is not corrected for bias. */
static void plain_adam(int steps, double lr, double b1, double b2, double epsilon, double *x)
{
    double m[N] = { 0 }, v[N] = { 0 };
    for (int t = 1; t <= steps; t++)
        for (int i = 0; i < N; i++) {
            double g = gradient_at(t, i);
            m[i] = b1 * m[i] + (1 - b1) * g;
            v[i] = b2 * v[i] + (1 - b2) * g * g;
            x[i] -= lr * sqrt(1 - pow(b2, t)) / (1 - pow(b1, t)) * m[i] / (sqrt(v[i]) + epsilon);
        }
}

static void check_adam(meta_optimizer_options options, double b1, double b2, double epsilon)
{
    meta_optimizer o = made(options);
    ag_real x[N] = { 0 }, grad[N];
    double want[N] = { 0 };
    for (int t = 1; t <= 200; t++) {
        fill(t, grad);
        meta_optimizer_step(&o, 0.01, grad, x);
    }
    plain_adam(200, 0.01, b1, b2, epsilon, want);
    for (int i = 0; i < N; i++)
        ck_close((double)x[i], want[i], 20 * TOLERANCE);
    ck_assert_int_eq(o.step, 200);
    meta_optimizer_release(&o);
}

START_TEST(adam_agrees_with_its_paper)
{
    check_adam((meta_optimizer_options){ .kind = META_ADAM }, 0.9, 0.999, 1e-8);
    check_adam((meta_optimizer_options){ .beta1 = 0.5, .beta2 = 0.9, .epsilon = 1e-3 }, 0.5, 0.9, 1e-3);
    check_adam((meta_optimizer_options){ .beta1 = -1, .beta2 = 0.95 }, 0, 0.95, 1e-8);   /* Reptile's Adam has no momentum */
}
END_TEST

START_TEST(adam_moves_by_the_rate_whatever_the_scale_of_a_constant_gradient)
{
    meta_optimizer o = made((meta_optimizer_options){ .kind = META_ADAM });
    ag_real x[N] = { 0 };
    for (int t = 1; t <= 50; t++) {
        ag_real grad[N] = { 1e6f, -1e3f, 1, -1, 7 };
        meta_optimizer_step(&o, 0.1, grad, x);
        for (int i = 0; i < N; i++)      /* m / sqrt(v), both corrected for bias, is the gradient's sign */
            ck_close((double)x[i], (grad[i] > 0 ? -0.1 : 0.1) * t, 2e-5);
    }
    meta_optimizer_release(&o);
}
END_TEST

START_TEST(adam_leaves_what_has_no_gradient)
{
    meta_optimizer o = made((meta_optimizer_options){ .kind = META_ADAM });
    ag_real x[N] = { 1, 2, 3, 4, 5 }, grad[N] = { 0, 0, 1, 0, 0 };
    meta_optimizer_step(&o, 0.1, grad, x);
    ck_assert(x[0] == 1 && x[1] == 2 && x[3] == 4 && x[4] == 5);
    ck_assert(x[2] < 3);
    meta_optimizer_release(&o);
}
END_TEST

START_TEST(momentum_sums_a_geometric_series)
{
    /* v_t = sum of mu^j for j < t; x_t = -lr sum of v; with mu = 1/2 both are exact: v_t = 2 - 2^(1-t). */
    meta_optimizer o = made((meta_optimizer_options){ .kind = META_SGD, .momentum = 0.5 });
    ag_real x[N] = { 0 };
    for (int t = 1; t <= 10; t++) {
        ag_real grad[N] = { 1, 2, -1, 0, 4 };
        meta_optimizer_step(&o, 0.25, grad, x);
        double sum = 2 * t - 2 * (1 - pow(0.5, t));
        for (int i = 0; i < N; i++)
            ck_assert((double)x[i] == -0.25 * sum * (double)grad[i]);
    }
    meta_optimizer_release(&o);
}
END_TEST

START_TEST(sgd_without_momentum_is_one_subtraction)
{
    meta_optimizer o = made((meta_optimizer_options){ .kind = META_SGD });
    ag_real x[N] = { 1, 1, 1, 1, 1 };
    for (int t = 1; t <= 3; t++) {
        ag_real grad[N] = { 1, 2, -1, 0, 4 };
        meta_optimizer_step(&o, 0.5, grad, x);
    }
    ck_assert(x[0] == -0.5 && x[1] == -2 && x[2] == 2.5 && x[3] == 1 && x[4] == -5);
    meta_optimizer_release(&o);
}
END_TEST

START_TEST(values_are_clipped_to_the_limit)
{
    meta_optimizer o = made((meta_optimizer_options){ .kind = META_SGD, .clip_value = 2 });
    ag_real x[N] = { 0 }, grad[N] = { 1, -1, 3, -100, 2 };
    meta_optimizer_step(&o, 1, grad, x);
    ck_assert(x[0] == -1 && x[1] == 1 && x[2] == -2 && x[3] == 2 && x[4] == -2);
    ck_assert(grad[3] == -2);                        /* in place, so that a caller can log what was used */
    meta_optimizer_release(&o);
}
END_TEST

START_TEST(a_long_gradient_is_shortened_and_keeps_its_direction)
{
    meta_optimizer o = made((meta_optimizer_options){ .kind = META_SGD, .clip_norm = 6.5 });
    ag_real x[N] = { 0 }, grad[N] = { 3, 4, 0, 12, 0 };     /* 13 long */
    meta_optimizer_step(&o, 1, grad, x);
    ck_close((double)x[0], -1.5, TOLERANCE);
    ck_close((double)x[1], -2, TOLERANCE);
    ck_close((double)x[3], -6, TOLERANCE);
    ck_close(meta_norm(N, grad), 6.5, TOLERANCE);
    ag_real y[N] = { 0 }, small[N] = { 3, 4, 0, 0, 0 };     /* 5 long: left alone, to the bit */
    meta_optimizer_step(&o, 1, small, y);
    ck_assert(small[0] == 3 && small[1] == 4 && y[0] == -3 && y[1] == -4);
    meta_optimizer_release(&o);
}
END_TEST

START_TEST(the_norm_is_that_of_the_clipped_values)
{
    meta_optimizer o = made((meta_optimizer_options){ .kind = META_SGD, .clip_value = 4, .clip_norm = 2.5 });
    ag_real x[N] = { 0 }, grad[N] = { 3, 400, 0, 0, 0 };    /* 3, 4: 5 long */
    meta_optimizer_step(&o, 1, grad, x);
    ck_close((double)x[0], -1.5, TOLERANCE);
    ck_close((double)x[1], -2, TOLERANCE);
    meta_optimizer_release(&o);
}
END_TEST

START_TEST(the_norm_is_summed_in_double)
{
    ag_real x[3] = { 3e3f, 4e3f, 1e-4f };
    ck_close(meta_norm(3, x), sqrt(9e6 + 16e6 + 1e-8), 1e-15);
    ck_assert(meta_norm(0, NULL) == 0);
    ck_assert(isnan(meta_norm(1, (ag_real[]){ (ag_real)NAN })));
}
END_TEST

START_TEST(schedules_go_from_the_first_rate_to_the_last)
{
    for (int i = 0; i <= 10; i++) {
        ck_assert(meta_schedule_rate(META_CONSTANT, 0.3, 0.1, i, 10) == 0.3);
        ck_close(meta_schedule_rate(META_LINEAR, 0.3, 0.1, i, 10), 0.3 - 0.02 * i, 1e-15);
        /* half a turn of a circle seen from the side (Loshchilov & Hutter 2017, eq. 5) */
        ck_close(meta_schedule_rate(META_COSINE, 0.3, 0.1, i, 10), 0.1 + 0.2 * pow(cos(acos(-1) * i / 20), 2), 1e-15);
    }
    ck_close(meta_schedule_rate(META_COSINE, 1, 0, 5, 10), 0.5, 1e-15);
    ck_assert(meta_schedule_rate(META_LINEAR, 1, 0, 0, 0) == 1);
    ck_assert(meta_schedule_rate(META_COSINE, 1, 0, 0, 0) == 1);
}
END_TEST

/* ---- memory ---- */

typedef struct fault {
    int left, live;            /* allocations until one fails; blocks not yet freed */
} fault;

static void *failing_alloc(size_t bytes, void *ctx)
{
    fault *f = ctx;
    if (f->left-- == 0)
        return NULL;
    void *p = malloc(bytes);
    f->live += p != NULL;
    return p;
}

static void failing_release(void *p, void *ctx)
{
    ((fault *)ctx)->live -= p != NULL;
    free(p);
}

START_TEST(a_failed_allocation_is_reported_and_nothing_is_kept)
{
    for (int n = 0; n < 2; n++) {
        fault f = { .left = n };
        meta_optimizer o;
        ag_error err = { 0 };
        ag_set_allocator(&(ag_allocator){ failing_alloc, failing_release, &f });
        ag_code code = meta_optimizer_init(&o, &(meta_optimizer_options){ .kind = META_ADAM }, N, &err);
        ag_set_allocator(NULL);
        ck_assert_int_eq(code, AG_ENOMEM);
        ck_assert(strstr(err.message, "5 parameters"));
        ck_assert_int_eq(f.live, 0);
        meta_optimizer_release(&o);
    }
}
END_TEST

TEST_MAIN(adam_agrees_with_its_paper, adam_moves_by_the_rate_whatever_the_scale_of_a_constant_gradient,
          adam_leaves_what_has_no_gradient, momentum_sums_a_geometric_series, sgd_without_momentum_is_one_subtraction,
          values_are_clipped_to_the_limit, a_long_gradient_is_shortened_and_keeps_its_direction,
          the_norm_is_that_of_the_clipped_values, the_norm_is_summed_in_double, schedules_go_from_the_first_rate_to_the_last,
          a_failed_allocation_is_reported_and_nothing_is_kept)
