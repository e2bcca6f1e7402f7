/* The derivative checker is checked: operators with deliberately wrong rules must be caught, and named. */
#include "tests/autograd/gradcheck.h"
#include "tests/autograd/tensors.h"
#include "tests/check.h"

/* y = x^2, the subject of every mistake. */
static void bent_span(ag_span s)
{
    for (int64_t i = 0; i < s.n; i++)
        s.y[i] = s.x[0][i] * s.x[0][i];
}

typedef ag_tensor *rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k);

static ag_tensor *right_rule(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)   /* 2 x g */
{
    (void)k;
    return ag_mul(t, ag_scale(t, g, 2), y->in[0]);
}

static ag_tensor *wrong_factor(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    (void)k;
#ifdef AG_DOUBLE
    return ag_mul(t, ag_scale(t, g, 2.001), y->in[0]);
#else
    return ag_mul(t, ag_scale(t, g, 2.1), y->in[0]);   /* differences in float32 do not see a thousandth */
#endif
}

static ag_tensor *wrong_sign(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    (void)k;
    return ag_mul(t, ag_scale(t, g, -2), y->in[0]);
}

static ag_tensor *nothing(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    (void)t, (void)y, (void)g, (void)k;
    return NULL;
}

/* The right numbers, but copied: the tape does not know that they depend on x. */
static ag_tensor *copied_numbers(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    (void)k;
    ag_real *x = read_all(y->in[0]);
    ag_spec spec = { .tasks = y->in[0]->tasks, .ndim = y->in[0]->ndim };
    memcpy(spec.shape, y->in[0]->shape, sizeof spec.shape);
    ag_tensor *copy = ag_value(t, &spec, x);
    free(x);
    return ag_mul(t, ag_scale(t, g, 2), copy);
}

/* Right in x, but not linear in g: the first order at g = 1 cannot tell, other seeds can. */
static ag_tensor *bent_in_g(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    (void)k;
    return ag_mul(t, ag_scale(t, ag_square(t, g), 2), y->in[0]);
}

static ag_tensor *wrong_shape(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    (void)k;
    return ag_sum_keep(t, ag_mul(t, ag_scale(t, g, 2), y->in[0]), AG_AXIS(0));
}

static ag_tensor *only_the_first_entry(ag_tape *t, ag_tensor *y, ag_tensor *g, int k)
{
    ag_tensor *right = right_rule(t, y, g, k);
    int64_t rows = right ? right->shape[0] : 1;
    return ag_pad(t, ag_slice(t, right, 0, 0, 1), 0, 0, rows - 1);
}

static ag_tensor *apply_row(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    return ag_apply(t, ctx, 1, x, NULL);
}

/* What the checker says of x^2 with these rules; NULL: nothing. */
static const char *verdict(rule *vjp, rule *jvp, int order)
{
    static char why[GRADCHECK_TEXT];
    ag_op row = { .name = "bent", .arity = 1, .shape = ag_like_first, .span = bent_span, .vjp = vjp, .jvp = jvp };
    gradcheck c = { .f = apply_row, .ctx = &row, .n = 1, .in = {{ { SHAPE(3, 2) }, 0.5, 2 }}, .order = order };
    return gradcheck_run(&c, why) ? NULL : why;
}

static void expect_caught(const char *said, const char *mode)
{
    ck_assert_msg(said != NULL, "a wrong %s rule was not caught", mode);
    ck_assert_msg(strstr(said, mode) != NULL, "'%s' does not speak of %s", said, mode);
}

START_TEST(right_rules_pass)
{
    ck_assert_msg(!verdict(right_rule, right_rule, 3), "%s", verdict(right_rule, right_rule, 3));
}
END_TEST

START_TEST(wrong_numbers_are_caught_in_either_mode)
{
    rule *const wrong[] = { wrong_factor, wrong_sign, nothing, only_the_first_entry, bent_in_g };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        expect_caught(verdict(wrong[i], right_rule, 1), "reverse derivative");
        expect_caught(verdict(right_rule, wrong[i], 1), "forward derivative");
    }
}
END_TEST

START_TEST(a_rule_that_copies_numbers_passes_the_first_order_only)
{
    ck_assert_ptr_null(verdict(copied_numbers, right_rule, 1));
    ck_assert_ptr_null(verdict(right_rule, copied_numbers, 1));
#ifdef AG_DOUBLE   /* float32 checks the first order only */
    expect_caught(verdict(copied_numbers, right_rule, 2), "reverse of f");
    expect_caught(verdict(right_rule, copied_numbers, 2), "forward of f");
#endif
}
END_TEST

START_TEST(a_rule_of_the_wrong_shape_is_named_with_both_shapes)
{
    const char *said = verdict(wrong_shape, right_rule, 1);
    ck_assert_msg(said && strstr(said, "vjp of bent gave [1,2] where [3,2] is expected"), "%s", said ? said : "not caught");
    said = verdict(right_rule, wrong_shape, 1);
    ck_assert_msg(said && strstr(said, "jvp of bent gave [1,2] where [3,2] is expected"), "%s", said ? said : "not caught");
}
END_TEST

START_TEST(an_error_in_the_function_itself_is_passed_on)
{
    char why[GRADCHECK_TEXT];
    gradcheck c = { .f = apply_row, .ctx = &ag_op_softmax, .n = 1, .in = {{ { .ndim = 0 }, 0, 0 }} };
    ck_assert(!gradcheck_run(&c, why));
    ck_assert_msg(strstr(why, "softmax"), "%s", why);
}
END_TEST

START_TEST(a_derivative_that_should_be_zero_and_is_not_is_caught)
{
    char why[GRADCHECK_TEXT];
    gradcheck c = { .f = apply_row, .ctx = &ag_op_tanh, .n = 1, .in = {{ { SHAPE(3) }, 0, 0 }} };
    ck_assert(!gradcheck_zero(&c, why));
    c.ctx = &ag_op_detach;
    ck_assert_msg(gradcheck_zero(&c, why), "%s", why);
}
END_TEST

static ag_tensor *forgets_the_tasks(ag_tape *t, ag_tensor *const *x, const void *ctx)
{
    (void)ctx;
    return ag_mul(t, ag_square(t, x[0]), ag_detach(t, x[1]));   /* hides its dependence on x[1] */
}

START_TEST(a_hidden_dependence_is_caught)
{
    char why[GRADCHECK_TEXT];
    gradcheck c = { .f = forgets_the_tasks, .n = 2, .n_task = 3,
                    .in = {{ { SHAPE(3) }, 1, 2 }, { { .tasks = true, SHAPE(3) }, 1, 2 }} };
    ck_assert(!gradcheck_run(&c, why));
    ck_assert_msg(strstr(why, "by input 1"), "%s", why);
}
END_TEST

TEST_MAIN(right_rules_pass, wrong_numbers_are_caught_in_either_mode, a_rule_that_copies_numbers_passes_the_first_order_only,
          a_rule_of_the_wrong_shape_is_named_with_both_shapes, an_error_in_the_function_itself_is_passed_on,
          a_derivative_that_should_be_zero_and_is_not_is_caught, a_hidden_dependence_is_caught)
