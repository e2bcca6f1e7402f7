/* The resolved text of a configuration: whatever is in it survives, and what depends on other knobs is worked out. */
#include "tests/experiments/config_cases.h"

#include "autograd/random.h"

#include <dirent.h>

START_TEST(every_shipped_config_reads_back_from_its_resolved_text)
{
    DIR *folder = opendir(TEST_DIR "/../../configs");
    ck_assert_ptr_nonnull(folder);
    int n = 0;
    for (struct dirent *e = readdir(folder); e; e = readdir(folder)) {
        char path[1024];
        xp_config c, again;
        ag_error err = { 0 };
        if (!ends_with(e->d_name, ".yaml"))
            continue;
        snprintf(path, sizeof path, TEST_DIR "/../../configs/%s", e->d_name);
        ck_assert_msg(xp_config_load(&c, path, 0, NULL, &err) == AG_OK, "%s", err.message);
        ck_assert_msg(strncmp(c.name, e->d_name, strlen(c.name)) == 0, "%s is named %s", e->d_name, c.name);
        expect_ok(&again, c.resolved, NULL);
        expect_same(&c, &again);
        xp_config_release(&c);
        xp_config_release(&again);
        n++;
    }
    closedir(folder);
    ck_assert_int_ge(n, 9);
}
END_TEST

START_TEST(numbers_and_names_survive_the_resolved_text_bit_by_bit)
{
    static const char *const names[] = { "null", "TRUE", "no", "5e3", "1.0", "x", "2024-01-01", "a_b.c+d" };
    ag_random r;
    ag_random_init(&r, 1, AG_STREAM_USER, 0, 0);
    for (int i = 0; i < 200; i++) {
        char lr[64], name[64], x[100];
        snprintf(lr, sizeof lr, "inner.lr=%.17g", exp(ag_random_uniform(&r, -300, 6.9)));
        snprintf(name, sizeof name, "name=\"%s\"", names[i % 8]);
        snprintf(x, sizeof x, "tasks.x=[%.17g, %.17g]", ag_random_uniform(&r, -9, 0), ag_random_uniform(&r, 0, 1e6));
        const char *sets[] = { lr, name, x };
        xp_config c, again;
        ag_error err = { 0 };
        ck_assert_msg(parse_with(&c, MINIMAL, 3, sets, &err) == AG_OK, "%s", err.message);
        expect_ok(&again, c.resolved, NULL);
        expect_same(&c, &again);
        xp_config_release(&c);
        xp_config_release(&again);
    }
}
END_TEST

/* The characters a TEXT may be made of, those that YAML cares about most often. */
static void random_text(ag_random *r, char *out)
{
    static const char *const units[] = { "a", "Z", "7", ".", "*", "\\", "\"", "'", "#", " #", ": ", " ", "[", "]", "{", "}", ",", "$",
                                         "&", "!", "|", "%", "@", "~", "-", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                                         "\xE2\x80\xA8", "\xE2\x80\xA9", "\xEF\xBF\xBF", "\xEF\xBF\xBE", "null", "0x1", "=" };
    size_t used = 0;
    for (uint64_t n = ag_random_below(r, 30); n > 0; n--) {
        const char *unit = units[ag_random_below(r, sizeof units / sizeof *units)];
        if (used && out[used - 1] == '$' && *unit == '{')
            continue;
        used += (size_t)sprintf(out + used, "%s", unit);
    }
    out[used] = '\0';
}

/* The text as a YAML value that is sure to mean it. */
static void quote(const char *text, char *out)
{
    *out++ = '"';
    for (; *text; text++) {
        if ((unsigned char)*text == 0xE2 && (unsigned char)text[1] == 0x80) {
            out += sprintf(out, "\\u20%02X", (unsigned char)text[2] - 0x80);
            text += 2;
        } else if ((unsigned char)*text == 0xEF) {
            out += sprintf(out, "\\uFFF%X", (unsigned char)text[2] & 0xFu);
            text += 2;
        } else {
            if (*text == '"' || *text == '\\')
                *out++ = '\\';
            *out++ = *text;
        }
    }
    strcpy(out, "\"");
}

START_TEST(texts_survive_the_resolved_text_alone_and_in_lists)
{
    ag_random r;
    ag_random_init(&r, 2, AG_STREAM_USER, 0, 0);
    for (int i = 0; i < 500; i++) {
        char texts[3][200], quoted[3][400], path[500], pattern[1300];
        for (int j = 0; j < 3; j++) {
            random_text(&r, texts[j]);
            quote(texts[j], quoted[j]);
        }
        snprintf(path, sizeof path, "tasks.path=%s", quoted[0]);
        snprintf(pattern, sizeof pattern, "adapter.targets=[%s, %s, %s]", quoted[0], quoted[1], quoted[2]);
        const char *sets[] = { path, pattern, "model.kind=network", "model.path=minilm", "tasks={source: clinc150, way: 5}",
                               "adapter.kind=lora" };
        xp_config c, again;
        ag_error err = { 0 };
        ck_assert_msg(parse_with(&c, MINIMAL, 6, sets, &err) == AG_OK, "%s", err.message);
        ck_assert_str_eq(c.tasks.path, texts[0]);
        ck_assert_int_eq(c.adapter.n_targets, 3);
        for (int j = 0; j < 3; j++)
            ck_assert_str_eq(c.adapter.targets[j], texts[j]);
        expect_ok(&again, c.resolved, NULL);
        expect_same(&c, &again);
        xp_config_release(&again);
        expect_ok(&again, c.annotated, NULL);
        expect_same(&c, &again);
        xp_config_release(&again);
        xp_config_release(&c);
    }
}
END_TEST

START_TEST(texts_are_refused_for_what_no_line_of_yaml_can_hold)
{
    char longest[XP_TEXT_BYTES + 3];
    const xp_knob *path = &xp_knobs[xp_knob_find("tasks.path")];
    static const struct { const char *text; bool ok; } cases[] = {
        { "\"\"", true }, { "''", true }, { "", false }, { "~", false }, { "null", false }, { "Null", false }, { "'~'", true },
        { "~/data", true }, { "7", true }, { "true", true }, { "a b", true }, { "\"a\\tb\"", false }, { "\"a\\nb\"", false },
        { "\"a\\0b\"", false }, { "\"\\x7f\"", false }, { "\"\\x85\"", false }, { "\"\\x9f\"", false }, { "\"\\xa0\"", true },
        { "\"\\ufeff\"", false }, { "\"\\u2028\"", true }, { "'a${b'", false }, { "a$", true }, { "'{$}'", true }, { "[a]", false }
    };
    xp_config c;
    for (size_t i = 1; i < sizeof cases / sizeof *cases; i++)
        if (*cases[i].text)
            ck_assert_msg((read_value(path, cases[i].text, &c) == AG_OK) == cases[i].ok, "%s", cases[i].text);
    memset(longest, 'x', sizeof longest);
    longest[XP_TEXT_BYTES] = '\0';
    ck_assert_int_eq(read_value(path, longest, &c), AG_OK);
    longest[XP_TEXT_BYTES] = 'x';
    longest[XP_TEXT_BYTES + 1] = '\0';
    ck_assert_int_eq(read_value(path, longest, &c), AG_ECONFIG);
    ck_assert_int_eq(setenv("METALORA_TEST_TEXT", "\xC3\x28", 1), 0);
    expect_broken(MINIMAL, strlen(MINIMAL), "tasks.path=${env:METALORA_TEST_TEXT}", "expected text of one line");
    ck_assert_int_eq(setenv("METALORA_TEST_TEXT", "my data: #1", 1), 0);
    expect_ok(&c, MINIMAL, "tasks.path=/x/${env:METALORA_TEST_TEXT}/${tasks.source}");
    ck_assert_str_eq(c.tasks.path, "/x/my data: #1/sinusoid");
    xp_config_release(&c);
}
END_TEST

START_TEST(the_largest_resolved_text_is_written_whole)
{
    enum { ONE = XP_TEXT_BYTES, MANY = XP_MAX_TARGETS };
    size_t size = (size_t)MANY * (2 * ONE + 8) + 64, used;
    char *targets = malloc(size), *exclude = malloc(size);
    used = (size_t)sprintf(targets, "adapter.targets=[");
    for (int i = 0; i < MANY; i++) {
        used += (size_t)sprintf(targets + used, "%s\"", i ? ", " : "");
        for (int j = 0; j < ONE; j++)
            used += (size_t)sprintf(targets + used, "\\\"");
        used += (size_t)sprintf(targets + used, "\"");
    }
    strcpy(targets + used, "]");
    sprintf(exclude, "adapter.exclude=%s", strchr(targets, '[') );
    const char *sets[] = { targets, exclude, "model={kind: network, path: minilm}", "tasks={source: clinc150, way: 5}", "adapter.kind=lora" };
    xp_config c, again;
    ag_error err = { 0 };
    ck_assert_msg(parse_with(&c, MINIMAL, 5, sets, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(c.adapter.n_exclude, MANY);
    ck_assert_uint_eq(strlen(c.adapter.targets[MANY - 1]), ONE);
    expect_ok(&again, c.resolved, NULL);
    expect_same(&c, &again);
    xp_config_release(&again);
    xp_config_release(&c);
    free(targets);
    free(exclude);
}
END_TEST

START_TEST(defaults_that_depend_on_others_are_worked_out)
{
    xp_config c;
    expect_ok(&c, "tasks: {source: lora-linear}\nmodel: {kind: linear}\nadapter: {kind: lora}\nouter: {algorithm: lora-ml}\n", NULL);
    ck_assert_int_eq(c.adapter.rank, 1);
    xp_config_release(&c);
    expect_ok(&c, "tasks: {source: clinc150, way: 5}\nmodel: {kind: network, path: minilm}\nadapter: {kind: lora}\n", NULL);
    ck_assert_int_eq(c.adapter.rank, 8);
    ck_assert_int_eq(c.outer.iterations, 10000);
    xp_config_release(&c);
    expect_ok(&c, MINIMAL, "outer.algorithm=none");
    ck_assert_int_eq(c.outer.iterations, 0);
    ck_assert_ptr_nonnull(strstr(c.resolved, "  iterations: 0\n"));
    xp_config_release(&c);
}
END_TEST

START_TEST(patterns_and_tests_are_split_as_written)
{
    static const struct { const char *entry; int length; double value; } patterns[] = {
        { "a=4", 1, 4 }, { "layer\\.0=.*=16.5", 11, 16.5 }, { "a=.5", 1, .5 }, { "a=1e2", 1, 100 }, { "a", -1, 0 }, { "=4", -1, 0 },
        { "a=", -1, 0 }, { "a=0", -1, 0 }, { "a=-1", -1, 0 }, { "a=4x", -1, 0 }, { "a=nan", -1, 0 }, { "a=inf", -1, 0 },
        { "a=0x10", -1, 0 }, { "a= 4", -1, 0 }, { "a=1e999", -1, 0 }, { "a=.", -1, 0 }, { "", -1, 0 }
    };
    static const struct { const char *entry; int length, way; } tests[] = {
        { "banking77/77", 9, 77 }, { "banking77", 9, 0 }, { "a/2", 1, 2 }, { "a/9999", 1, 9999 }, { "a/1", -1, 0 }, { "a/0", -1, 0 },
        { "a/02", -1, 0 }, { "a/10000", -1, 0 }, { "a/", -1, 0 }, { "a/b", -1, 0 }, { "a/5/5", -1, 0 }, { "/5", -1, 0 }, { "", -1, 0 },
        { "a/-5", -1, 0 }, { "a/5.0", -1, 0 }
    };
    size_t length;
    double value;
    int64_t n;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        bool ok = xp_pattern_split(patterns[i].entry, &length, &value);
        ck_assert_msg(ok == (patterns[i].length >= 0), "%s", patterns[i].entry);
        ck_assert_msg(!ok || ((int)length == patterns[i].length && value == patterns[i].value), "%s", patterns[i].entry);
    }
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        bool ok = xp_test_split(tests[i].entry, &length, &n);
        ck_assert_msg(ok == (tests[i].length >= 0), "%s", tests[i].entry);
        ck_assert_msg(!ok || ((int)length == tests[i].length && n == tests[i].way), "%s", tests[i].entry);
    }
}
END_TEST

START_TEST(every_source_and_algorithm_has_a_configuration_that_holds_together)
{
    static const char *const good[] = {
        "tasks: {source: clinc150, way: 5, classes_from: mixed}\nmodel: {kind: network, path: minilm}\nadapter: {kind: dora, rank_pattern: ['layer.0=4']}\n",
        "tasks: {source: banking77, way: 5}\nmodel: {kind: network, path: minilm, head: prototype}\nadapter: {kind: lora}\ninner: {steps: 0}\nouter: {algorithm: protonet}\n",
        "tasks: {source: hwu64, way: 5, classes_from: domain}\nmodel: {kind: network, path: a b, head: centroid}\nadapter: {kind: vera}\nouter: {algorithm: anil}\n",
        "tasks: {source: text, way: 5, domain_column: d, classes_from: domain}\nmodel: {kind: network, path: x}\nadapter: {kind: adalora, budget: 4}\nouter: {algorithm: multitask}\n",
        "tasks: {source: arrays, way: 5}\nmodel: {kind: conv4}\ninner: {proximal: 1}\nouter: {algorithm: imaml}\n",
        "tasks: {source: caltech101, way: 5, class_split: [50, 20, 30]}\nmodel: {kind: conv4}\ninner: {rule: adam}\nouter: {algorithm: reptile, weight_decay: 0.1}\n",
        "tasks: {source: lm}\nmodel: {kind: network, path: smollm2}\nadapter: {kind: lora}\nouter: {algorithm: joint}\n",
        "tasks: {source: clinc150, way: 5}\nmodel: {kind: network, path: minilm, head: prototype}\nouter: {algorithm: none}\neval: {steps: 0, tests: [clinc150/5, banking77/77], head: centroid, lr: 0.1}\n",
        "tasks: {source: clinc150, way: 5}\nmodel: {kind: network, path: minilm, train: '.*'}\n",
        "tasks: {source: clinc150, way: 5}\nmodel: {kind: network, path: minilm, head_init: zero}\nouter: {algorithm: fomaml}\n"
    };
    xp_config c, again;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        expect_ok(&c, good[i], NULL);
        expect_ok(&again, c.resolved, NULL);
        expect_same(&c, &again);
        xp_config_release(&c);
        xp_config_release(&again);
    }
}
END_TEST

TEST_MAIN(every_shipped_config_reads_back_from_its_resolved_text, numbers_and_names_survive_the_resolved_text_bit_by_bit,
          texts_survive_the_resolved_text_alone_and_in_lists, texts_are_refused_for_what_no_line_of_yaml_can_hold,
          the_largest_resolved_text_is_written_whole, defaults_that_depend_on_others_are_worked_out,
          patterns_and_tests_are_split_as_written, every_source_and_algorithm_has_a_configuration_that_holds_together)
