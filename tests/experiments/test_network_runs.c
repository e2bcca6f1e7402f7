/* Whole runs on a small frozen network: every algorithm and head on tasks of texts, the same bits for any number of threads and
 * after a stop, and scores by features computed once. */
#include "tests/experiments/small_network.h"
#include "tests/experiments/small_runs.h"

#include <stdatomic.h>

static char folder[64], texts[64];

/* Four labels in two domains' worth of classes for each split: the split is by class. */
static void write_texts(void)
{
    static const char *const verbs[] = { "call", "pay", "play", "ring", "rain", "sun" }, *const things[] = { "phone", "bank", "song", "music" };
    FILE *f = fopen(texts, "w");
    ck_assert_ptr_nonnull(f);
    fputs("text,label\n", f);
    for (int label = 0; label < 9; label++)
        for (int i = 0; i < 8; i++)
            fprintf(f, "%s%s the %s %s,%c\n", i & 4 ? "please " : "", verbs[label % 6], things[(label + i) % 4], small_words[12 + (label * 3 + i) % 14],
                    'a' + label);
    ck_assert_int_eq(fclose(f), 0);
}

static void set_up(void)
{
    snprintf(folder, sizeof folder, "network-%ld", (long)getpid());
    snprintf(texts, sizeof texts, "texts-%ld.csv", (long)getpid());
    small_network_write(folder, "bert", 5);
    write_texts();
}

static void tear_down(void)
{
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s' '%s'", folder, texts);
    ck_assert_int_eq(system(command), 0);
}

/* extra: further sections and keys. */
static const char *yaml_of(const char *algorithm, const char *model, const char *inner, const char *eval)
{
    static char text[2000];
    snprintf(text, sizeof text,
             "name: n\ntasks: {source: text, path: %s, way: 2, shot: 2, query: 2, class_split: [4, 2, 3]}\n"
             "model: {kind: network, path: %s, max_tokens: 12, %s}\nadapter: {kind: lora, rank: 2, init: gaussian, targets: [query, value]}\n"
             "inner: {%s}\nouter: {algorithm: %s, meta_batch: 3, iterations: 4, chunk: 2}\n"
             "eval: {episodes: 6, shots: [1, 2], validate_every: 2, validation_episodes: 3, select: best, %s}\n",
             texts, folder, model, inner, algorithm, eval);
    return text;
}

static void run_both_ways(const char *yaml, const char *tag)
{
    files f;
    char one[65], three[65];
    name_files(&f, tag);
    must_run(yaml, NULL, &f, (xp_run_options){ .threads = 1 }, one);
    forget(&f);
    must_run(yaml, NULL, &f, (xp_run_options){ .threads = 3 }, three);
    ck_assert_msg(strcmp(one, three) == 0, "%s: 1 and 3 threads differ", tag);
    forget(&f);
}

START_TEST(every_algorithm_runs_on_a_frozen_network_with_the_same_bits_for_any_threads)
{
    static const struct { const char *algorithm, *model, *inner, *eval; } runs[] = {
        { "maml", "head: linear", "lr: 0.1, steps: 2", "steps: 2" },
        { "maml", "head: prototype", "lr: 0.1, steps: 2", "steps: 2" },
        { "maml", "head: centroid", "lr: 0.1, steps: 2, learn_lr: true, lr_scope: element", "steps: 2" },
        { "fomaml", "head: centroid", "lr: 0.1, steps: 2", "steps: 2" },
        { "anil", "head: centroid", "lr: 0.1, steps: 2", "steps: 2" },
        { "reptile", "head: prototype", "lr: 0.1, steps: 2, rule: adam", "steps: 2" },
        { "imaml", "head: prototype", "lr: 0.1, steps: 2, proximal: 2.0", "steps: 2" },
        { "protonet", "head: prototype", "lr: 0.1, steps: 0", "steps: 0" },
        { "protonet", "head: prototype, similarity: euclidean, head_scale: 0.1", "lr: 0.1, steps: 0", "steps: 1" },
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        run_both_ways(yaml_of(runs[i].algorithm, runs[i].model, runs[i].inner, runs[i].eval), runs[i].algorithm);
}
END_TEST

START_TEST(multitask_training_is_tested_with_a_head_made_from_the_support)
{
    run_both_ways(yaml_of("multitask", "head: centroid", "lr: 0.1, steps: 1", "steps: 2"), "multitask");
}
END_TEST

START_TEST(every_kind_of_adapter_can_be_meta_learned)
{
    static const char *const kinds[] = { "adapter.kind=dora", "adapter.kind=adalora", "adapter.kind=vera", "adapter.init=pissa", "adapter.init=olora",
                                         "adapter.rslora=true", "adapter.dropout=0.2", "adapter.lr_ratio=4.0" };
    const char *yaml = yaml_of("maml", "head: prototype", "lr: 0.1, steps: 1", "steps: 1");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        files f;
        char digest[65];
        const char *set = kinds[i];
        char copy[2200];
        snprintf(copy, sizeof copy, "%s", yaml);
        char *init = strstr(copy, "init: gaussian, ");
        if (!strstr(set, "rslora") && !strstr(set, "dropout") && !strstr(set, "lr_ratio") && init)
            memmove(init, init + strlen("init: gaussian, "), strlen(init + strlen("init: gaussian, ")) + 1);
        name_files(&f, "kind");
        must_run(copy, set, &f, (xp_run_options){ .threads = 2 }, digest);
        forget(&f);
    }
}
END_TEST

/* steps 0 takes each text through the network once; with a step the network scores the same episodes itself. */
START_TEST(features_computed_once_give_the_scores_of_the_network)
{
    files f;
    char digest[65];
    xp_run runs[2];
    ag_error err = { 0 };
    for (int steps = 0; steps < 2; steps++) {
        char set[40];
        snprintf(set, sizeof set, "eval.steps=%d", steps);
        name_files(&f, "features");
        const char *yaml = yaml_of("none", "head: prototype", "lr: 0.1", "steps: 0");
        char last[2200];
        snprintf(last, sizeof last, "%s", yaml);
        char *best = strstr(last, "select: best");
        memcpy(best, "select: last", strlen("select: last"));
        memcpy(strstr(last, "validate_every: 2"), "validate_every: 0", strlen("validate_every: 0"));
        must_run(last, set, &f, (xp_run_options){ .threads = 2 }, digest);
        ck_assert_msg(xp_run_read(&runs[steps], f.out, &err) == AG_OK, "%s", err.message);
        forget(&f);
    }
    ck_assert_int_eq(runs[0].n_protocol, 2);
    for (int t = 0; t < 2; t++)
        for (int64_t e = 0; e < 6; e++) {
            ck_close(runs[0].protocols[t].loss[e], runs[1].protocols[t].loss[e * 2], 1e-5);
            ck_close(runs[0].protocols[t].accuracy[e], runs[1].protocols[t].accuracy[e * 2], 1e-6);
        }
    xp_run_release(&runs[0]);
    xp_run_release(&runs[1]);
}
END_TEST

START_TEST(a_stopped_run_goes_on_to_the_same_bits)
{
    files f;
    char whole[65], resumed[65];
    ag_error err = { 0 };
    const char *yaml = yaml_of("maml", "head: centroid", "lr: 0.1, steps: 2", "steps: 2");
    name_files(&f, "whole");
    must_run(yaml, NULL, &f, (xp_run_options){ .threads = 1 }, whole);
    forget(&f);
    atomic_int stop;
    atomic_init(&stop, 1);
    name_files(&f, "stopped");
    ck_assert_int_eq(run(yaml, NULL, &f, (xp_run_options){ .threads = 1, .stop = &stop }, &err), AG_ESTOP);
    ag_error_clear(&err);
    ck_assert_msg(resume(&f, (xp_run_options){ .threads = 2 }, &err) == AG_OK, "%s", err.message);
    digest_of(&f, resumed);
    ck_assert_str_eq(whole, resumed);
    forget(&f);
}
END_TEST

START_TEST(targets_that_match_nothing_are_refused_with_the_nearest)
{
    files f;
    ag_error err = { 0 };
    name_files(&f, "targets");
    ck_assert_int_eq(run(yaml_of("maml", "head: prototype", "lr: 0.1", "steps: 1"), "adapter.targets=[qury]", &f, (xp_run_options){ 0 }, &err), AG_ECONFIG);
    ck_assert_msg(strstr(err.message, "qury") && strstr(err.message, "query"), "%s", err.message);
    ck_assert(!exists(f.out));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create(__FILE__);
    TCase *c = tcase_create("runs");
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, every_algorithm_runs_on_a_frozen_network_with_the_same_bits_for_any_threads);
    tcase_add_test(c, multitask_training_is_tested_with_a_head_made_from_the_support);
    tcase_add_test(c, every_kind_of_adapter_can_be_meta_learned);
    tcase_add_test(c, features_computed_once_give_the_scores_of_the_network);
    tcase_add_test(c, a_stopped_run_goes_on_to_the_same_bits);
    tcase_add_test(c, targets_that_match_nothing_are_refused_with_the_nearest);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
