/* dropout_mask: what is kept, how often, and that it is a function of seed, stream and task. */
#include "tests/autograd/tensors.h"
#include "tests/check.h"

enum { N = 20000 };

static ag_tensor *seed_of(ag_tape *t, int32_t a, int32_t b)
{
    return ag_value(t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { 2 } }, (int32_t[]){ a, b });
}

static ag_real *mask_of(ag_tape *t, ag_tensor *seed, double p, int64_t stream)
{
    static const int64_t shape[] = { N / 100, 100 };
    ag_real *y = malloc(N * sizeof *y);
    ag_error err = { 0 };
    ag_read(ag_dropout_mask(t, seed, 2, shape, p, stream), y);
    ck_assert_msg(ag_tape_status(t, &err) == AG_OK, "%s", err.message);
    return y;
}

START_TEST(a_share_of_p_is_dropped_and_the_rest_scaled_so_that_the_mean_is_1)
{
    static const double ps[] = { 0, 0.1, 0.5, 0.9 };
    ag_tape *t = ag_tape_new(NULL, NULL);
    for (int i = 0; i < 4; i++) {
        double p = ps[i], dropped = 0;
        ag_real *y = mask_of(t, seed_of(t, 3, i), p, 0);
        for (int j = 0; j < N; j++) {
            expect(y[j] == 0 || y[j] == (ag_real)(1 / (1 - p)), "%g", (double)y[j]);
            dropped += y[j] == 0;
        }
        expect(fabs(dropped / N - p) <= 4 * sqrt(p * (1 - p) / N), "p = %g: %g are dropped", p, dropped / N);
        free(y);
    }
    ag_tape_free(t);
}
END_TEST

START_TEST(the_mask_is_a_function_of_seed_and_stream)
{
    ag_tape *t = ag_tape_new(NULL, NULL);
    ag_real *one = mask_of(t, seed_of(t, 3, 4), 0.5, 7), *again = mask_of(t, seed_of(t, 3, 4), 0.5, 7);
    ag_real *others[] = { mask_of(t, seed_of(t, 3, 5), 0.5, 7), mask_of(t, seed_of(t, -3, 4), 0.5, 7), mask_of(t, seed_of(t, 3, 4), 0.5, 8) };
    ck_assert(memcmp(one, again, N * sizeof *one) == 0);
    for (int i = 0; i < 3; i++) {
        int same = 0;
        for (int j = 0; j < N; j++)
            same += others[i][j] == one[j];
        expect(fabs(same - N / 2.0) <= 4 * sqrt(N / 4.0), "mask %d agrees with another in %d of %d", i, same, N);
        free(others[i]);
    }
    free(one), free(again);
    ag_tape_free(t);
}
END_TEST

START_TEST(each_task_has_the_mask_of_its_own_seed)
{
    static const int32_t seeds[] = { 1, 2, 3, 4, 1, 2 };
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .n_task = 3 }, NULL), *alone = ag_tape_new(NULL, NULL);
    ag_tensor *seed = ag_value(t, &(ag_spec){ .dtype = AG_INT, .tasks = true, .ndim = 1, .shape = { 2 } }, seeds);
    ag_tensor *y = ag_dropout_mask(t, seed, 2, (int64_t[]){ N / 100, 100 }, 0.3, 5);
    ag_real *all = malloc(3 * N * sizeof *all);
    ck_assert(ag_has_tasks(y));
    ck_assert_int_eq(ag_read(y, all), AG_OK);
    for (int task = 0; task < 3; task++) {
        ag_real *one = mask_of(alone, seed_of(alone, seeds[2 * task], seeds[2 * task + 1]), 0.3, 5);
        ck_assert(memcmp(one, all + task * N, N * sizeof *one) == 0);
        free(one);
    }
    free(all);
    ag_tape_free(t);
    ag_tape_free(alone);
}
END_TEST

/* A replay with another seed has another mask. */
START_TEST(a_program_draws_anew_for_each_seed_it_is_given)
{
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL), *eager = ag_tape_new(NULL, NULL);
    ag_tensor *seed = ag_input(t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { 2 } });
    ag_tensor *y = ag_dropout_mask(t, seed, 2, (int64_t[]){ N / 100, 100 }, 0.3, 5);
    ag_program *p;
    ag_frame *f;
    ag_error err = { 0 };
    ag_real *out = malloc(N * sizeof *out);
    ck_assert_msg(ag_compile(t, 1, &y, &p, &err) == AG_OK && ag_frame_new(p, &f, &err) == AG_OK, "%s", err.message);
    for (int32_t k = 0; k < 3; k++) {
        int32_t given[] = { 9, k };
        ag_real *one = mask_of(eager, seed_of(eager, 9, k), 0.3, 5);
        ag_frame_input(f, 0, given);
        ag_frame_output(f, 0, out);
        ck_assert_int_eq(ag_frame_run(f, 0, 0, &err), AG_OK);
        ck_assert(memcmp(one, out, N * sizeof *one) == 0);
        free(one);
    }
    free(out);
    ag_frame_free(f);
    ag_program_free(p);
    ag_tape_free(t);
    ag_tape_free(eager);
}
END_TEST

START_TEST(wrong_seeds_shapes_and_probabilities_are_refused)
{
    for (int i = 0; i < 5; i++) {
        ag_error err = { 0 };
        ag_tape *t = ag_tape_new(NULL, NULL);
        ag_tensor *seed = i == 0 ? ag_value(t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { 3 } }, (int32_t[]){ 1, 2, 3 })
                        : i == 1 ? ag_value(t, &(ag_spec){ .ndim = 1, .shape = { 2 } }, (ag_real[]){ 1, 2 }) : seed_of(t, 1, 2);
        ag_tensor *y = ag_dropout_mask(t, seed, i == 2 ? 7 : 1, (int64_t[7]){ 2 }, i == 3 ? 1 : i == 4 ? NAN : 0.5, 0);
        ck_assert_ptr_null(y);
        ag_tape_status(t, &err);
        expect(strncmp(err.message, "dropout_mask: ", 14) == 0, "%d: '%s'", i, err.message);
        ag_tape_free(t);
    }
    ag_tape *t = ag_tape_new(NULL, NULL);
    ck_assert_ptr_null(ag_dropout_mask(t, NULL, 1, (int64_t[]){ 2 }, 0.5, 0));
    ag_tape_free(t);
}
END_TEST

TEST_MAIN(a_share_of_p_is_dropped_and_the_rest_scaled_so_that_the_mean_is_1, the_mask_is_a_function_of_seed_and_stream,
          each_task_has_the_mask_of_its_own_seed, a_program_draws_anew_for_each_seed_it_is_given, wrong_seeds_shapes_and_probabilities_are_refused)
