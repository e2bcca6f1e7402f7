/* The sweeps: what ag_grad and ag_jvp record, by what one may differentiate, tasks, seeds, and high orders. */
#include "tests/autograd/tensors.h"
#include "tests/check.h"

static ag_tensor *number(ag_tape *t, double v)
{
    ag_real x = (ag_real)v;
    return ag_value(t, &(ag_spec){ .ndim = 0 }, &x);
}

static double value_of(const ag_tensor *x)
{
    ag_real v = NAN;
    ck_assert_int_eq(ag_read(x, &v), AG_OK);
    return (double)v;
}

START_TEST(the_manuals_example_gives_the_closed_forms)
{
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(3) }, (ag_real[]){ 0.1, 0.2, 0.3 }), *g, *h;
    ag_grad(t, ag_sum(t, ag_tanh(t, ag_square(t, x)), AG_ALL_AXES), NULL, 1, &x, &g);
    ag_grad(t, ag_sum(t, g, AG_ALL_AXES), NULL, 1, &x, &h);
    ag_real *first = read_all(g), *second = read_all(h);
    for (int i = 0; i < 3; i++) {
        double u = 0.1 * (i + 1), th = tanh(u * u), d = 1 - th * th;
        ck_close(first[i], d * 2 * u, TIGHT);
        ck_close(second[i], 2 * d - 2 * th * d * 4 * u * u, TIGHT);
    }
    free(first);
    free(second);
    finish(t);
}
END_TEST

START_TEST(derivatives_of_a_polynomial_are_right_to_the_sixth_order)
{
    ag_tape *t = eager(1);
    ag_tensor *x = number(t, 1.5), *y = ag_mul(t, ag_square(t, x), ag_mul(t, x, ag_square(t, x))), *d = y;   /* x^5 */
    static const double falling[] = { 1, 5, 20, 60, 120, 120, 0 };
    for (int order = 1; order <= 6; order++) {
        ag_tensor *next;
        if (order % 2) {
            ag_grad(t, d, NULL, 1, &x, &next);
        } else {
            ag_tensor *one = number(t, 1);
            ag_jvp(t, 1, &x, &one, 1, &d, &next);
        }
        d = next;
        ck_close(value_of(d), falling[order] * pow(1.5, 5 - order), 10 * TIGHT);
    }
    finish(t);
}
END_TEST

START_TEST(one_may_differentiate_by_any_intermediate_result)
{
    /* y = f(m(x)) for every way of making m and f: dy/dm must be seen even where m and f could be merged. */
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(2, 2) }, (ag_real[]){ 1, 2, 3, 4 });
    ag_tensor *middles[] = { ag_scale(t, x, 3), ag_affine(t, x, 1, 2), ag_transpose(t, x, NULL), ag_neg(t, x), ag_copy(t, x),
                             ag_expand(t, x, 3, (int64_t[]){ 1, 2, 2 }), ag_reshape(t, x, 1, (int64_t[]){ 4 }), ag_slice(t, x, 0, 0, 1) };
    for (size_t i = 0; i < sizeof middles / sizeof *middles; i++) {
        ag_tensor *m = middles[i], *one = ag_full(t, 1, ag_ndim(m), ag_shape(m));
        ag_tensor *outer[] = { ag_scale(t, m, 5), ag_affine(t, m, 5, 1), ag_mul(t, m, ag_scalar(t, 5)),
                               ag_ndim(m) > 1 ? ag_scale(t, ag_transpose(t, m, NULL), 5) : ag_scale(t, m, 5),
                               ag_scale(t, ag_reshape(t, m, 1, (int64_t[]){ -1 }), 5), ag_neg(t, ag_scale(t, m, -5)) };
        for (size_t j = 0; j < sizeof outer / sizeof *outer; j++) {
            ag_tensor *g, *dy;
            ck_assert_int_eq(ag_grad(t, outer[j], NULL, 1, &m, &g), AG_OK);
            ck_assert_int_eq(ag_jvp(t, 1, &m, &one, 1, &outer[j], &dy), AG_OK);
            ag_real *numbers = read_all(g), *tangents = read_all(dy);
            for (int64_t k = 0; k < ag_numel(m); k++)
                expect(numbers[k] == 5 && tangents[k] == 5, "middle %d, outer %d: %g, %g", (int)i, (int)j, (double)numbers[k], (double)tangents[k]);
            free(numbers);
            free(tangents);
        }
    }
    finish(t);
}
END_TEST

START_TEST(differentiating_by_a_constant_is_an_error_and_not_a_silent_zero)
{
    for (int mode = 0; mode < 2; mode++) {
        ag_error err = { 0 };
        ag_tape *t = eager(1);
        ag_tensor *x = number(t, 2), *c = ag_scalar(t, 3), *y = ag_mul(t, x, c), *g;
        ck_assert_int_eq(mode ? ag_jvp(t, 1, &c, &x, 1, &y, &g) : ag_grad(t, y, NULL, 1, &c, &g), AG_EINVAL);
        ag_tape_status(t, &err);
        expect(strstr(err.message, "constant") && strstr(err.message, mode ? "ag_jvp" : "ag_grad"), "%s", err.message);
        ag_tape_free(t);
    }
}
END_TEST

START_TEST(what_y_does_not_depend_on_gets_zeros_of_its_shape_and_tasks)
{
    ag_tape *t = eager(2);
    ag_tensor *x = number(t, 2), *y = ag_square(t, x), *g[3];
    ag_tensor *other = ag_value(t, &(ag_spec){ .tasks = true, SHAPE(2) }, (ag_real[4]){ 1, 2, 3, 4 }), *cut = ag_detach(t, x);
    ag_tensor *z = ag_mul(t, y, cut), *xs[] = { x, other, cut };
    ck_assert_int_eq(ag_grad(t, z, NULL, 3, xs, g), AG_OK);
    ck_close(value_of(g[0]), 8, TIGHT);   /* through y only */
    ck_close(value_of(g[2]), 4, TIGHT);
    ck_assert(ag_has_tasks(g[1]) && ag_same_shape(g[1], other));
    ag_real *zeros = read_all(g[1]);
    for (int i = 0; i < 4; i++)
        ck_assert(zeros[i] == 0);
    free(zeros);
    finish(t);
}
END_TEST

START_TEST(the_same_input_twice_and_the_output_itself_are_answered)
{
    ag_tape *t = eager(1);
    ag_tensor *x = number(t, 3), *y = ag_square(t, x), *xs[] = { x, y, x }, *g[3], *dy[2], *one = number(t, 1);
    ck_assert_int_eq(ag_grad(t, y, NULL, 3, xs, g), AG_OK);
    ck_close(value_of(g[0]), 6, TIGHT);
    ck_close(value_of(g[1]), 1, TIGHT);
    ck_close(value_of(g[2]), 6, TIGHT);
    ag_tensor *ys[] = { y, x };
    ck_assert_int_eq(ag_jvp(t, 1, &x, &one, 2, ys, dy), AG_OK);
    ck_close(value_of(dy[0]), 6, TIGHT);
    ck_close(value_of(dy[1]), 1, TIGHT);
    finish(t);
}
END_TEST

START_TEST(a_seed_must_look_like_the_output)
{
    ag_error err = { 0 };
    ag_tape *t = eager(2);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(2) }, (ag_real[]){ 1, 2 }), *g;
    ck_assert_int_eq(ag_grad(t, ag_square(t, x), number(t, 1), 1, &x, &g), AG_ESHAPE);
    ag_tape_status(t, &err);
    expect(strstr(err.message, "[]") && strstr(err.message, "[2]"), "%s", err.message);
    ag_tape_free(t);
    t = eager(2);
    x = ag_value(t, &(ag_spec){ SHAPE(2) }, (ag_real[]){ 1, 2 });
    ag_tensor *seed = ag_value(t, &(ag_spec){ .tasks = true, SHAPE(2) }, (ag_real[]){ 1, 2, 3, 4 });
    ck_assert_int_eq(ag_grad(t, ag_square(t, x), seed, 1, &x, &g), AG_ESHAPE);
    ag_tape_free(t);
    t = eager(2);
    x = ag_value(t, &(ag_spec){ SHAPE(2) }, (ag_real[]){ 1, 2 });
    ag_tensor *y = ag_square(t, x), *dx = number(t, 1);
    ck_assert_int_eq(ag_jvp(t, 1, &x, &dx, 1, &y, &g), AG_ESHAPE);
    ag_tape_free(t);
}
END_TEST

START_TEST(the_gradient_of_a_shared_tensor_is_the_sum_over_the_tasks)
{
    ag_tape *t = eager(3);
    ag_tensor *w = number(t, 2), *x = ag_value(t, &(ag_spec){ .tasks = true, .ndim = 0 }, (ag_real[]){ 1, 10, 100 });
    ag_tensor *y = ag_mul(t, w, x), *xs[] = { w, x }, *g[2];
    ck_assert_int_eq(ag_grad(t, y, NULL, 2, xs, g), AG_OK);
    ck_assert(!ag_has_tasks(g[0]) && ag_has_tasks(g[1]));
    ck_close(value_of(g[0]), 111, TIGHT);
    ag_real *each = read_all(g[1]);
    for (int i = 0; i < 3; i++)
        ck_assert(each[i] == 2);
    free(each);
    /* A gradient that is the same for every task counts once a task. */
    ag_tensor *z = ag_add(t, w, x);
    ag_grad(t, z, NULL, 1, &w, g);
    ck_close(value_of(g[0]), 3, TIGHT);
    finish(t);
}
END_TEST

START_TEST(a_result_has_a_task_axis_wherever_an_input_has_one)
{
    ag_tape *t = eager(2);
    ag_tensor *x = ag_value(t, &(ag_spec){ .tasks = true, SHAPE(2) }, (ag_real[]){ 1, 2, 3, 4 }), *zero = ag_scale(t, x, 0);
    ag_tensor *w = ag_value(t, &(ag_spec){ SHAPE(2) }, (ag_real[]){ 5, 6 });
    ag_tensor *all[] = { zero, ag_add(t, w, zero), ag_add(t, zero, w), ag_mul(t, w, zero), ag_mul(t, zero, w), ag_sum(t, zero, 1),
                         ag_reshape(t, zero, 2, (int64_t[]){ 1, 2 }), ag_pow_scalar(t, x, 0), ag_affine(t, zero, 3, 1), ag_zeros_like(t, x) };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        expect(all[i] && ag_has_tasks(all[i]), "number %d", (int)i);
    ag_real *same = read_all(ag_add(t, w, zero));
    ck_assert(same[0] == 5 && same[1] == 6 && same[2] == 5 && same[3] == 6);
    free(same);
    ck_close(value_of(ag_sum(t, ag_task_sum(t, ag_affine(t, zero, 1, 1)), AG_ALL_AXES)), 4, TIGHT);
    finish(t);
}
END_TEST

START_TEST(a_tangent_that_is_the_same_for_every_task_counts_once_a_task_in_a_sum_over_them)
{
    ag_tape *t = eager(3);
    ag_tensor *w = number(t, 2), *x = ag_value(t, &(ag_spec){ .tasks = true, .ndim = 0 }, (ag_real[]){ 1, 10, 100 });
    ag_tensor *y = ag_task_sum(t, ag_add(t, w, x)), *one = number(t, 1), *dy, *g;
    ck_assert_int_eq(ag_jvp(t, 1, &w, &one, 1, &y, &dy), AG_OK);
    ck_close(value_of(dy), 3, TIGHT);
    ag_grad(t, y, NULL, 1, &w, &g);
    ck_close(value_of(g), 3, TIGHT);
    finish(t);
}
END_TEST

START_TEST(adding_nothing_and_multiplying_by_a_constant_record_no_more_than_needed)
{
    ag_tape *t = eager(2);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(3) }, (ag_real[]){ 1, 2, 3 }), *zero = ag_scalar(t, 0), *two = ag_scalar(t, 2);
    ag_tensor *wide = ag_full(t, 0, 2, (int64_t[]){ 2, 3 }), *each = ag_task_expand(t, zero);
    int64_t before = ag_tape_size(t);
    ck_assert_ptr_eq(ag_add(t, x, zero), x);
    ck_assert_ptr_eq(ag_add(t, zero, x), x);
    ck_assert_ptr_eq(ag_scale(t, x, 1), x);
    ck_assert_int_eq(ag_tape_size(t), before);
    ck_assert_ptr_eq(ag_mul(t, two, x)->op, &ag_op_affine);
    ck_assert_ptr_eq(ag_mul(t, x, two)->op, &ag_op_affine);
    ck_assert_int_eq(ag_tape_size(t), before + 2);
    ag_tensor *y = ag_add(t, wide, x), *z = ag_add(t, x, each);
    ck_assert(y->op == &ag_op_expand && ag_ndim(y) == 2 && z->op == &ag_op_task_expand);
    ag_real *numbers = read_all(y);
    ck_assert_ptr_null(differ(numbers, (ag_real[]){ 1, 2, 3, 1, 2, 3 }, 6, 0));
    free(numbers);
    finish(t);
}
END_TEST

START_TEST(the_reverse_sweep_stays_on_paths_from_the_asked_for_inputs)
{
    ag_tape *t = eager(1);
    ag_tensor *x = number(t, 2), *w = number(t, 3), *long_way = w, *g;
    for (int i = 0; i < 50; i++)
        long_way = ag_tanh(t, long_way);
    ag_tensor *y = ag_mul(t, x, long_way);
    int64_t before = ag_tape_size(t);
    ag_grad(t, y, NULL, 1, &x, &g);
    ck_assert_int_le(ag_tape_size(t) - before, 4);
    ck_close(value_of(g), value_of(long_way), TIGHT);
    finish(t);
}
END_TEST

TEST_MAIN(the_manuals_example_gives_the_closed_forms, derivatives_of_a_polynomial_are_right_to_the_sixth_order,
          one_may_differentiate_by_any_intermediate_result, differentiating_by_a_constant_is_an_error_and_not_a_silent_zero,
          what_y_does_not_depend_on_gets_zeros_of_its_shape_and_tasks, the_same_input_twice_and_the_output_itself_are_answered,
          a_seed_must_look_like_the_output, the_gradient_of_a_shared_tensor_is_the_sum_over_the_tasks,
          a_result_has_a_task_axis_wherever_an_input_has_one,
          a_tangent_that_is_the_same_for_every_task_counts_once_a_task_in_a_sum_over_them,
          adding_nothing_and_multiplying_by_a_constant_record_no_more_than_needed, the_reverse_sweep_stays_on_paths_from_the_asked_for_inputs)
