/* AdaLoRA's budget against the paper's formulas written out. */
#include "meta/adapter_internal.h"
#include "tests/check.h"
#include "tests/meta/adapters.h"
#include "tests/meta/golden_adalora.h"

static const meta_adapter_options options = { .kind = "adalora", .rank = 3 };

START_TEST(importance_is_smoothed_sensitivity_and_uncertainty)
{
    nn_network *net = tiny_network("bert");
    meta_adapter *a = new_adapter(net, &options);
    int64_t n = meta_adapter_values(a);
    ag_real *values = adapter_values(a, 1, 0.5), *grad = adapter_values(a, 2, 0.5), *s = calloc((size_t)n,
            sizeof *s), *u = calloc((size_t)n, sizeof *u);
    double es[5] = { 0 }, eu[5] = { 0 };
    for (int step = 0; step < 3; step++) {
        meta_adalora_importance(a, values, grad, 0.85, 0.7, s, u);
        for (int i = 0; i < 5; i++) {
            double now = fabs((double)values[i] * (double)grad[i]);
            es[i] = 0.85 * es[i] + 0.15 * now;
            eu[i] = 0.7 * eu[i] + 0.3 * fabs(now - es[i]);
            ck_close((double)s[i], es[i], 1e-6);
            ck_close((double)u[i], eu[i], 1e-6);
        }
        grad[step] *= 2;
    }
    free(values), free(grad), free(s), free(u);
    meta_adapter_free(a);
    nn_network_close(net);
}
END_TEST

static ag_real *value_of(const meta_adapter *a, ag_real *values, int triplet)
{
    return values + a->param[a->module[triplet / 3].first + 2].offset + triplet % 3;
}

static int kept(const meta_adapter *a, ag_real *values)
{
    int n = 0;
    for (int i = 0; i < 12; i++)
        n += *value_of(a, values, i) != 0;
    return n;
}

/* The score of a triplet, from its three parts. */
static double score(const meta_adapter *a, const ag_real *s, const ag_real *u, int triplet)
{
    const meta_adapted *m = &a->module[triplet / 3];
    int64_t k = triplet % 3, oa = a->param[m->first].offset, ob = a->param[m->first + 1].offset, oe = a->param[m->first + 2].offset;
    double sum = (double)s[oe + k] * (double)u[oe + k];
    for (int i = 0; i < 8; i++)
        sum += (double)s[oa + k * 8 + i] * (double)u[oa + k * 8 + i] / 8 + (double)s[ob + i * 3 + k] * (double)u[ob + i * 3 + k] / 8;
    return sum;
}

START_TEST(pruning_leaves_the_budget_of_the_highest_scores)
{
    nn_network *net = tiny_network("bert");
    meta_adapter *a = new_adapter(net, &options);
    int64_t n = meta_adapter_values(a);
    ag_real *s = calloc((size_t)n, sizeof *s), *u = calloc((size_t)n, sizeof *u);
    for (int64_t i = 0; i < n; i++) {
        s[i] = (ag_real)(i * 7919 % 101) / 50;
        u[i] = (ag_real)(i * 104729 % 97) / 60;
    }
    for (int budget = 12; budget >= 0; budget--) {
        ag_real *values = adapter_values(a, 1, 1);
        meta_adalora_prune(a, values, s, u, budget);
        ck_assert_int_eq(kept(a, values), budget);
        for (int i = 0; i < 12; i++)
            for (int j = 0; j < 12; j++)
                if (*value_of(a, values, i) != 0 && *value_of(a, values, j) == 0)
                    expect(score(a, s, u, i) >= score(a, s, u, j), "budget %d: %d is kept, %d is not", budget, i, j);
        free(values);
    }
    free(s), free(u);
    meta_adapter_free(a);
    nn_network_close(net);
}
END_TEST

START_TEST(of_equal_scores_exactly_as_many_go_as_must)
{
    nn_network *net = tiny_network("bert");
    meta_adapter *a = new_adapter(net, &options), *lora = new_adapter(net, &(meta_adapter_options){ .rank = 3 });
    int64_t n = meta_adapter_values(a);
    ag_real *flat = malloc((size_t)n * sizeof *flat);
    for (int64_t i = 0; i < n; i++)
        flat[i] = 1;
    for (int budget = 0; budget <= 13; budget++) {
        ag_real *values = adapter_values(a, 1, 1);
        meta_adalora_prune(a, values, flat, flat, budget);
        ck_assert_int_eq(kept(a, values), budget < 12 ? budget : 12);
        free(values);
    }
    ag_real *values = adapter_values(lora, 1, 1), *before = adapter_values(lora, 1, 1);
    meta_adalora_prune(lora, values, flat, flat, 1);   /* of another kind: nothing */
    ck_assert(memcmp(values, before, (size_t)meta_adapter_values(lora) * sizeof *values) == 0);
    free(values), free(before), free(flat);
    meta_adapter_free(a);
    meta_adapter_free(lora);
    nn_network_close(net);
}
END_TEST

START_TEST(the_budget_falls_by_the_cubic_schedule)
{
    ck_assert_int_eq(meta_adalora_budget(100, 20, 0, 5, 10, 50), 100);
    ck_assert_int_eq(meta_adalora_budget(100, 20, 5, 5, 10, 50), 100);
    ck_assert_int_eq(meta_adalora_budget(100, 20, 12, 5, 10, 50), 60);    /* 80 (28/35)^3 + 20 = 60.96 */
    ck_assert_int_eq(meta_adalora_budget(100, 20, 19, 5, 10, 50), 37);    /* 80 (21/35)^3 + 20 = 37.28 */
    ck_assert_int_eq(meta_adalora_budget(100, 20, 40, 5, 10, 50), 20);
    ck_assert_int_eq(meta_adalora_budget(100, 20, 41, 5, 10, 50), 20);
    ck_assert_int_eq(meta_adalora_budget(100, 20, 50, 5, 10, 50), 20);
    ck_assert_int_eq(meta_adalora_budget(100, 20, 6, 5, 50, 50), 20);     /* no room for a schedule */
    for (int t = 1; t < 50; t++)
        ck_assert(meta_adalora_budget(100, 20, t, 5, 10, 50) <= meta_adalora_budget(100, 20, t - 1, 5, 10, 50));
}
END_TEST

/* Number i of A or B, as the script that made the golden numbers has it. */
static double golden_number(int which, int64_t i)
{
    return 0.3 * sin(1.7 * (double)(i + 1) + which);
}

static void fill_part(const meta_adapter *a, ag_real *values, int module, int part)
{
    const nn_param *p = meta_adapter_param(a, a->module[module].first + part);
    for (int64_t i = 0; i < p->numel; i++)
        values[p->offset + i] = (ag_real)golden_number(2 * module + part, i);
}

START_TEST(the_penalty_and_its_gradient_are_those_of_peft)
{
    static const char *const targets[] = { "0.attention.self.query", "0.intermediate.dense" };
    const double tolerance = sizeof(ag_real) == 8 ? 1e-12 : 1e-5;
    nn_network *net = tiny_network("bert");
    meta_adapter *a = new_adapter(net, &(meta_adapter_options){ .kind = "adalora", .rank = 3, .n_target = 2, .targets = targets });
    int64_t n = meta_adapter_values(a);
    ag_real *values = calloc((size_t)n, sizeof *values), *grad = calloc((size_t)n, sizeof *grad);
    ck_assert_int_eq(meta_adapter_modules(a), 2);
    for (int i = 0; i < 4; i++)
        fill_part(a, values, i / 2, i % 2);
    ck_close(meta_adalora_penalty(a, values, 0.5, grad), golden_adalora_penalty, tolerance);
    for (int i = 0, at = 0; i < 4; i++) {
        const nn_param *p = meta_adapter_param(a, a->module[i / 2].first + i % 2);
        for (int64_t j = 0; j < p->numel; j++)
            ck_close((double)grad[p->offset + j], golden_adalora_gradient[at++], tolerance);
    }
    ck_close(meta_adalora_penalty(a, values, 0.5, NULL), golden_adalora_penalty, tolerance);
    ck_assert(meta_adalora_penalty(a, values, 0, NULL) == 0);
    free(values), free(grad);
    meta_adapter_free(a);
    nn_network_close(net);
}
END_TEST

/* A convolution's A lies turned: against differences of the value. */
START_TEST(the_penalty_has_the_gradient_of_its_value_on_convolutions)
{
    const double h = sizeof(ag_real) == 8 ? 1e-5 : 1e-2, tolerance = sizeof(ag_real) == 8 ? 1e-8 : 1e-3;
    nn_network *net = tiny_network("conv2d");
    meta_adapter *a = new_adapter(net, &(meta_adapter_options){ .kind = "adalora", .rank = 3, .target_regex = ".*" });
    int64_t n = meta_adapter_values(a);
    ag_real *values = adapter_values(a, 3, 0.4), *grad = calloc((size_t)n, sizeof *grad);
    meta_adalora_penalty(a, values, 1, grad);
    for (int64_t i = 0; i < n; i++) {
        const ag_real kept = values[i];
        values[i] = (ag_real)((double)kept + h);
        const double above = meta_adalora_penalty(a, values, 1, NULL), up = (double)values[i];
        values[i] = (ag_real)((double)kept - h);
        const double below = meta_adalora_penalty(a, values, 1, NULL), down = (double)values[i];
        values[i] = kept;
        ck_close((double)grad[i], (above - below) / (up - down), tolerance);
    }
    free(values), free(grad);
    meta_adapter_free(a);
    nn_network_close(net);
}
END_TEST

TEST_MAIN(the_penalty_and_its_gradient_are_those_of_peft, the_penalty_has_the_gradient_of_its_value_on_convolutions, importance_is_smoothed_sensitivity_and_uncertainty, pruning_leaves_the_budget_of_the_highest_scores,
          of_equal_scores_exactly_as_many_go_as_must, the_budget_falls_by_the_cubic_schedule)
