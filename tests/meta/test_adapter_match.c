/* Which modules an adapter is put on: PEFT's rules, and refusals that name what was probably meant. */
#include "meta/adapter_internal.h"
#include "tests/check.h"
#include "tests/meta/adapters.h"

static bool has(const meta_adapter *a, const char *name)
{
    int module = nn_network_module(meta_adapter_network(a), name);
    for (int i = 0; i < meta_adapter_modules(a); i++)
        if (meta_adapter_module(a, i) == module && module >= 0)
            return true;
    return false;
}

static void check_count(const char *architecture, const meta_adapter_options *o, int n)
{
    nn_network *net = tiny_network(architecture);
    meta_adapter *a = new_adapter(net, o);
    expect(meta_adapter_modules(a) == n, "%s: %d modules, not %d", architecture, meta_adapter_modules(a), n);
    meta_adapter_free(a);
    nn_network_close(net);
}

#define WITH(...) &(meta_adapter_options){ .rank = 2, __VA_ARGS__ }
#define NAMES(...) .n_target = sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), .targets = (const char *[]){ __VA_ARGS__ }

START_TEST(a_name_matches_whole_segments_at_the_end)
{
    nn_network *net = tiny_network("bert");
    meta_adapter *a = new_adapter(net, WITH(NAMES("output.dense")));
    ck_assert_int_eq(meta_adapter_modules(a), 4);   /* attention.output.dense and output.dense of two layers */
    ck_assert(has(a, "encoder.layer.0.attention.output.dense") && has(a, "encoder.layer.1.output.dense"));
    ck_assert(!has(a, "encoder.layer.0.intermediate.dense"));
    meta_adapter_free(a);
    a = new_adapter(net, WITH(NAMES("encoder.layer.1.output.dense")));
    ck_assert_int_eq(meta_adapter_modules(a), 1);
    meta_adapter_free(a);
    nn_network_close(net);
}
END_TEST

START_TEST(the_usual_targets_are_those_of_pefts_table)
{
    check_count("bert", WITH(.n_target = 0), 4);
    check_count("llama", WITH(.n_target = 0), 4);
    check_count("moe", WITH(.n_target = 0), 4);
    check_count("gpt2", WITH(.n_target = 0), 2);
}
END_TEST

START_TEST(all_linear_leaves_out_embeddings_and_the_output_head)
{
    check_count("bert", WITH(NAMES("all-linear")), 12);
    check_count("llama", WITH(NAMES("all-linear")), 14);
    check_count("gpt2", WITH(NAMES("all-linear")), 8);
    check_count("moe", WITH(NAMES("all-linear")), 2 * (4 + 1 + 9));
}
END_TEST

START_TEST(experts_embeddings_convolutions_and_heads_can_be_named)
{
    check_count("moe", WITH(NAMES("w1", "experts.2.w2")), 2 * (3 + 1));
    check_count("llama", WITH(NAMES("embed_tokens", "lm_head")), 2);
    check_count("conv1d", WITH(NAMES("conv")), 2);
    check_count("conv2d", WITH(NAMES("layers.0.conv")), 1);
    check_count("gpt2", WITH(NAMES("wte", "wpe", "lm_head")), 3);
}
END_TEST

START_TEST(an_expression_must_match_the_whole_name)
{
    check_count("bert", WITH(.target_regex = ".*\\.(query|key)"), 4);
    check_count("bert", WITH(.target_regex = "encoder\\.layer\\.0\\..*"), 6);
    check_count("bert", WITH(.target_regex = "(?!.*query)encoder.*self.*"), 4);
    nn_network *net = tiny_network("bert");
    ag_error err = { 0 };
    meta_adapter *a;
    ck_assert_int_eq(meta_adapter_new(&a, net, WITH(.target_regex = "query"), &err), AG_ECONFIG);   /* re.fullmatch */
    ck_assert_ptr_nonnull(strstr(err.message, "'query' matches no whole name of a module; the names are like '"));
    ag_error_clear(&err);
    ck_assert_int_eq(meta_adapter_new(&a, net, WITH(.target_regex = "(query"), &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "at character"));
    ag_error_clear(&err);
    ck_assert_int_eq(meta_adapter_new(&a, net, WITH(.target_regex = "(((.*)*)*)*\\.x"), &err), AG_ECONFIG);
    nn_network_close(net);
}
END_TEST

START_TEST(excluded_modules_are_left_out)
{
    check_count("bert", WITH(NAMES("query", "value"), .n_exclude = 1, .exclude = (const char *[]){ "0.attention.self.query" }), 3);
    check_count("bert", WITH(.target_regex = ".*dense", .n_exclude = 1, .exclude = (const char *[]){ "intermediate.dense" }), 4);
}
END_TEST

START_TEST(layers_choose_by_the_first_number_but_full_names_win)
{
    check_count("bert", WITH(NAMES("query", "value"), .n_layer = 1, .layers = (int64_t[]){ 1 }), 2);
    check_count("moe", WITH(NAMES("w1"), .n_layer = 1, .layers = (int64_t[]){ 0 }), 3);    /* not the expert's number */
    check_count("llama", WITH(NAMES("q_proj", "model.layers.0.mlp.up_proj"), .n_layer = 1, .layers = (int64_t[]){ 1 }), 2);
    check_count("gpt2", WITH(NAMES("c_attn", "wte"), .n_layer = 2, .layers = (int64_t[]){ 0, 1 }), 2);   /* wte has no layer */
    check_count("llama", WITH(NAMES("all-linear"), .n_layer = 1, .layers = (int64_t[]){ 1 }), 7);
}
END_TEST

START_TEST(the_first_pattern_that_matches_gives_rank_and_alpha)
{
    static const meta_pattern ranks[] = { { "layer.0.attention.self.query", 3 }, { "que", 9 }, { "qu.*", 5 } };
    static const meta_pattern alphas[] = { { "value", 7 }, { ".*", 4 } };
    nn_network *net = tiny_network("bert");
    meta_adapter *a = new_adapter(net, WITH(.alpha = 6, .n_rank_pattern = 3, .rank_pattern = ranks, .n_alpha_pattern = 2,
                                            .alpha_pattern = alphas));
    static const struct { const char *name; int64_t rank; double scale; } expected[] = {
        { "encoder.layer.0.attention.self.query", 3, 4.0 / 3 }, { "encoder.layer.0.attention.self.value", 2, 3.5 },
        { "encoder.layer.1.attention.self.query", 5, 4.0 / 5 }, { "encoder.layer.1.attention.self.value", 2, 3.5 } };
    for (int i = 0; i < 4; i++) {
        ck_assert_str_eq(net->module[a->module[i].module].name, expected[i].name);
        ck_assert_int_eq(a->module[i].rank, expected[i].rank);
        ck_close(a->module[i].scale, expected[i].scale, 1e-12);
    }
    meta_adapter_free(a);
    nn_network_close(net);
}
END_TEST

static void says(const char *architecture, const meta_adapter_options *o, const char *text)
{
    nn_network *net = tiny_network(architecture);
    ag_error err = { 0 };
    meta_adapter *a;
    ck_assert_int_eq(meta_adapter_new(&a, net, o, &err), AG_ECONFIG);
    ck_assert_ptr_null(a);
    expect(strstr(err.message, text), "'%s' does not say '%s'", err.message, text);
    nn_network_close(net);
}

START_TEST(targets_that_match_nothing_are_refused_with_the_nearest_names)
{
    says("bert", WITH(NAMES("qeury")), "the target 'qeury' matches no module; the nearest are 'query', ");
    says("llama", WITH(NAMES("q_proj", "vproj")), "'vproj' matches no module; the nearest are 'v_proj', ");
    says("bert", WITH(NAMES("attention.query")), "the nearest are 'self.query'");
    says("bert", WITH(NAMES("uery")), "the nearest are 'query'");   /* the end of a segment is no segment */
    says("bert", WITH(NAMES("")), "matches no module");
    says("bert", WITH(NAMES("query"), .n_layer = 1, .layers = (int64_t[]){ 7 }), "layers asked for");
    says("bert", WITH(NAMES("query"), .n_exclude = 1, .exclude = (const char *[]){ "query" }),
         "all 2 modules that the targets match are excluded");
}
END_TEST

TEST_MAIN(a_name_matches_whole_segments_at_the_end, the_usual_targets_are_those_of_pefts_table,
          all_linear_leaves_out_embeddings_and_the_output_head, experts_embeddings_convolutions_and_heads_can_be_named,
          an_expression_must_match_the_whole_name, excluded_modules_are_left_out, layers_choose_by_the_first_number_but_full_names_win,
          the_first_pattern_that_matches_gives_rank_and_alpha, targets_that_match_nothing_are_refused_with_the_nearest_names)
