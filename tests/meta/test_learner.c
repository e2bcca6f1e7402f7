/* Making a learner and its state: sizes, starting values, refused options. */
#include "tests/meta/episodes.h"

static const nn_options conv4 = { .kind = "conv4", .x_ndim = 3, .x_shape = { 16, 16, 1 }, .n_out = 3, .filters = 4,
                                  .batch_norm = true, .norm_scale = true, .norm_epsilon = 1e-3 };

static meta_options options_with(meta_rate_scope scope, bool learn, bool adapt_norm)
{
    return (meta_options){ .loss = META_CROSS_ENTROPY, .inner_lr = 0.25, .rate_scope = scope, .learn_rates = learn,
                           .adapt_norm = adapt_norm, .train_steps = 1, .n_support = 3, .n_query = 3 };
}

START_TEST(a_state_holds_theta_and_one_rate_for_all_for_a_tensor_or_for_a_number)
{
    nn_model m = test_model(&conv4);
    int64_t norms = 0;
    for (int p = 0; p < m.n_param; p++)
        norms += m.param[p].norm ? m.param[p].numel : 0;
    for (int scope = META_RATE_ALL; scope <= META_RATE_ELEMENT; scope++)
        for (int bits = 0; bits < 4; bits++) {
            meta_options o = options_with((meta_rate_scope)scope, bits & 1, bits & 2);
            int64_t tensors = o.adapt_norm ? 14 : 6, numbers = o.adapt_norm ? m.n_value : m.n_value - norms;
            meta_learner *l = test_learner(&m, &o);
            meta_state s = test_state(l, 5);
            ck_assert_int_eq(s.n_value, m.n_value);
            ck_assert_int_eq(s.n_rate, scope == META_RATE_ALL ? 1 : scope == META_RATE_TENSOR ? tensors : numbers);
            ck_assert_int_eq(s.n, m.n_value + (o.learn_rates ? s.n_rate : 0));
            for (int64_t i = 0; i < s.n_rate; i++)
                ck_assert(s.values[s.n_value + i] == (ag_real)0.25);
            meta_state_release(&s);
            meta_learner_free(l);
        }
}
END_TEST

START_TEST(a_state_starts_as_the_model_draws)
{
    nn_model m = test_model(&conv4);
    meta_options o = options_with(META_RATE_ALL, false, false);
    meta_learner *l = test_learner(&m, &o);
    meta_state s = test_state(l, 5);
    ag_real *drawn = test_alloc((size_t)m.n_value * sizeof *drawn);
    nn_model_draw(&m, 5, drawn);
    ck_assert_mem_eq(s.values, drawn, (size_t)m.n_value * sizeof *drawn);
    free(drawn);
    meta_state_release(&s);
    meta_state_release(&s);              /* releasing twice does no harm */
    meta_learner_free(l);
    meta_learner_free(NULL);
}
END_TEST

static void refused(const nn_model *m, const meta_options *o, const char *part)
{
    meta_learner *l;
    ag_error err = { 0 };
    ck_assert_int_eq(meta_learner_new(&l, m, o, &err), AG_EINVAL);
    ck_assert_ptr_null(l);
    ck_assert_msg(strstr(err.message, part), "'%s' does not say '%s'", err.message, part);
    ck_assert_int_eq(meta_learner_new(&l, m, o, NULL), AG_EINVAL);
}

START_TEST(impossible_options_are_named)
{
    nn_model m = test_model(&conv4);
    const meta_options good = options_with(META_RATE_ALL, false, false);
    meta_options o = good;
    o.n_query = 0;
    refused(&m, &o, "3 support and 0 query examples");
    o = good, o.n_support = 0;
    refused(&m, &o, "0 support and 3 query examples");
    o = good, o.train_steps = -1;
    refused(&m, &o, "must not be negative");
    o = good, o.chunk = -1;
    refused(&m, &o, "must not be negative");
    o = good, o.inner_lr = NAN;
    refused(&m, &o, "inner_lr nan");
    o = good, o.support_scale = -1;
    refused(&m, &o, "support_scale -1");
    o = good, o.adapters_only = true;
    refused(&m, &o, "no parameter to adapt");
}
END_TEST

TEST_MAIN(a_state_holds_theta_and_one_rate_for_all_for_a_tensor_or_for_a_number, a_state_starts_as_the_model_draws,
          impossible_options_are_named)
