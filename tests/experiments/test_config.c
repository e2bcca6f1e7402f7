/* The configuration: every knob and rule by table, golden messages of broken files, and text nobody meant as YAML. */
#include "autograd/random.h"
#include "experiments/config.h"
#include "experiments/config_values.h"
#include "tests/check.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#define MINIMAL "tasks:\n  source: sinusoid\n"

static ag_code parse_with(xp_config *c, const char *text, int n_set, const char *const *sets, ag_error *err)
{
    ag_error_clear(err);
    return xp_config_parse(c, text, strlen(text), "t.yaml", n_set, sets, err);
}

static void expect_ok(xp_config *c, const char *text, const char *set)
{
    ag_error err = { 0 };
    ck_assert_msg(parse_with(c, text, set != NULL, &set, &err) == AG_OK, "%s", err.message);
}

/* Fails as a configuration and the message has this part. */
static void expect_broken(const char *text, size_t length, const char *set, const char *part)
{
    xp_config c;
    ag_error err = { 0 };
    ag_code code = xp_config_parse(&c, text, length, "t.yaml", set != NULL, &set, &err);
    ck_assert_msg(code == AG_ECONFIG, "%s gave %s", set ? set : text, ag_code_name(code));
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' is not in: %s", part, err.message);
    ck_assert_ptr_null(c.resolved);
    ck_assert_ptr_null(c.strings);
}

static char *read_text(const char *path, size_t *length)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s cannot be read", path);
    char *text = calloc(1, 1 << 20);
    *length = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    return text;
}

static void write_text(const char *path, const char *text, size_t length)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, length, f), length);
    fclose(f);
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* ---- golden messages ----------------------------------------------------------------------------------- */

/* Overrides stand in the file's first lines as "# --set KEY=VALUE". */
static int overrides_of(char *text, const char *sets[8])
{
    static const char mark[] = "# --set ";
    int n = 0;
    for (char *line = text; strncmp(line, mark, strlen(mark)) == 0 && n < 8;) {
        char *end = strchr(line, '\n');
        sets[n++] = line + strlen(mark);
        *end = '\0';
        line = end + 1;
    }
    return n;
}

static void check_golden(const char *file)
{
    char golden[300];
    const char *sets[8];
    xp_config c;
    ag_error err = { 0 };
    size_t length, expected_length;
    char *text = read_text(file, &length);
    snprintf(golden, sizeof golden, "%.*s.txt", (int)strlen(file) - 5, file);
    ag_code code = xp_config_load(&c, file, overrides_of(text, sets), sets, &err);
    ck_assert_msg(code == AG_ECONFIG, "%s gave %s", file, ag_code_name(code));
    strcat(err.message, "\n");
    if (getenv("METALORA_WRITE_GOLDEN"))
        write_text(golden, err.message, strlen(err.message));
    char *expected = read_text(golden, &expected_length);
    ck_assert_str_eq(err.message, expected);
    free(expected);
    free(text);
}

START_TEST(every_broken_file_gets_its_golden_message)
{
    ck_assert_int_eq(chdir(TEST_DIR "/broken"), 0);
    DIR *folder = opendir(".");
    ck_assert_ptr_nonnull(folder);
    int n_yaml = 0, n_golden = 0;
    for (struct dirent *e = readdir(folder); e; e = readdir(folder))
        if (ends_with(e->d_name, ".yaml")) {
            check_golden(e->d_name);
            n_yaml++;
        }
    rewinddir(folder);
    for (struct dirent *e = readdir(folder); e; e = readdir(folder))
        n_golden += ends_with(e->d_name, ".txt");
    closedir(folder);
    ck_assert_int_ge(n_yaml, 110);
    ck_assert_int_eq(n_yaml, n_golden);
}
END_TEST

/* ---- the list ------------------------------------------------------------------------------------------ */

START_TEST(every_row_of_the_list_is_complete_and_sections_are_contiguous)
{
    for (int i = 0; i < xp_n_knobs; i++) {
        const xp_knob *k = &xp_knobs[i];
        ck_assert_msg(xp_knob_find(k->path) == i, "%s is listed twice", k->path);
        ck_assert_msg(strlen(k->meaning) > 8 && k->unit && *k->standard, "%s is not complete", k->path);
        ck_assert_msg((k->range[0] == '\0') == (k->type == XP_BOOL), "%s has a wrong range", k->path);
        for (int j = i + 2; j < xp_n_knobs; j++) {
            size_t n = xp_knob_section(k);
            bool same = n && strncmp(k->path, xp_knobs[j].path, n + 1) == 0;
            ck_assert_msg(!same || strncmp(k->path, xp_knobs[j - 1].path, n + 1) == 0, "%s is apart", xp_knobs[j].path);
        }
    }
}
END_TEST

START_TEST(the_defaults_hold_together_and_every_field_of_the_structs_is_listed)
{
    xp_config c;
    expect_ok(&c, MINIMAL, NULL);
    ck_assert_str_eq(c.name, "t");
    ck_assert_int_eq(c.outer.chunk, 4);
    ck_assert_int_eq(c.model.n_hidden, 2);
    ck_assert_int_eq(c.model.hidden[1], 40);
    xp_config_release(&c);
    expect_ok(&c, MINIMAL, "outer.meta_batch=3");
    ck_assert_int_eq(c.outer.chunk, 3);
    xp_config_release(&c);
    /* The structs hold nothing but knobs: their bytes, without padding and counts, add up. */
    size_t bytes = 0;
    for (int i = 0; i < xp_n_knobs; i++)
        bytes += (xp_knobs[i].capacity ? (size_t)xp_knobs[i].capacity : 1) * 8;
    size_t counts_and_last_two = 9 * 8 + sizeof c.resolved + sizeof c.annotated + sizeof c.strings;
    ck_assert_uint_eq(sizeof c, bytes + counts_and_last_two);
}
END_TEST

START_TEST(the_committed_reference_is_what_the_list_makes)
{
    size_t length;
    char *made = xp_config_reference();
    ck_assert_ptr_nonnull(made);
    if (getenv("METALORA_WRITE_GOLDEN"))
        write_text(TEST_DIR "/../../docs/config-reference.md", made, strlen(made));
    char *committed = read_text(TEST_DIR "/../../docs/config-reference.md", &length);
    ck_assert_str_eq(made, committed);
    free(committed);
    ag_free(made);
}
END_TEST

/* Reads one value for a knob the way a file's value is read. */
static ag_code read_value(const xp_knob *k, const char *value, xp_config *c)
{
    xp_yaml *y;
    xp_strings *strings = NULL;
    memset(c, 0, sizeof *c);
    ck_assert_int_eq(xp_yaml_parse(&y, value, strlen(value), "v", true, NULL), AG_OK);
    ag_code code = xp_knob_read(k, y, y->root, c, &strings, NULL);
    xp_yaml_free(y);
    xp_strings_free(strings);
    return code;
}

/* The value in as many brackets and repeats as the knob wants. */
static ag_code read_number(const xp_knob *k, const char *number, xp_config *c)
{
    char value[200];
    if (!k->capacity)
        return read_value(k, number, c);
    size_t used = (size_t)snprintf(value, sizeof value, "[%s", number);
    for (int i = 1; i < k->capacity && !k->count_offset; i++)
        used += (size_t)snprintf(value + used, sizeof value - used, ", %s", number);
    snprintf(value + used, sizeof value - used, "]");
    return read_value(k, value, c);
}

START_TEST(every_range_holds_at_both_ends)
{
    for (int i = 0; i < xp_n_knobs; i++) {
        const xp_knob *k = &xp_knobs[i];
        xp_config c;
        char open, close, value[64];
        double low, high;
        if (k->type != XP_INT && k->type != XP_REAL)
            continue;
        ck_assert_int_eq(sscanf(k->range, "%c%lf, %lf%c", &open, &low, &high, &close), 4);
        bool whole = k->type == XP_INT;
        const struct { double at; bool ok; } ends[] = {
            { low, open == '[' }, { high, close == ']' }, { whole ? low - 1 : low - 1e-9 * fmax(1, fabs(low)), false },
            { whole ? high + 1 : high * (1 + 1e-9), false }, { whole ? low : low + 1e-9 * fmax(1, fabs(low)), true }
        };
        for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
            snprintf(value, sizeof value, whole ? "%.0f" : "%.17g", ends[e].at);
            ck_assert_msg((read_number(k, value, &c) == AG_OK) == ends[e].ok, "%s: %s", k->path, value);
        }
    }
}
END_TEST

START_TEST(every_choice_of_the_list_is_accepted_and_others_are_not)
{
    xp_config c;
    for (int i = 0; i < xp_n_knobs; i++) {
        const xp_knob *k = &xp_knobs[i];
        char words[XP_CHOICES_BYTES];
        if (k->type != XP_CHOICE)
            continue;
        snprintf(words, sizeof words, "%s", k->range);
        for (char *w = strtok(words, " |"); w; w = strtok(NULL, " |")) {
            ck_assert_msg(read_value(k, w, &c) == AG_OK, "%s: %s", k->path, w);
            char half[64];
            snprintf(half, sizeof half, "%.*s", (int)strlen(w) - 1, w);
            ck_assert_msg(read_value(k, half, &c) == AG_ECONFIG, "%s: %s", k->path, half);
        }
        ck_assert_uint_lt(strlen(k->range), XP_CHOICES_BYTES);
        int n = 1;
        for (const char *w = k->range; *w; w++)
            n += *w == '|';
        ck_assert_int_le(n, XP_CHOICES);
        if (strchr(k->range, '|'))
            ck_assert_int_eq(read_value(k, k->range, &c), AG_ECONFIG);
        ck_assert_int_eq(read_value(k, "\"\"", &c), AG_ECONFIG);
    }
}
END_TEST

START_TEST(every_knob_refuses_values_of_another_type)
{
    static const char *const never[] = { "{a: 1}", "[[1], [2], [3]]", "~", "\"\"", "[true]", "\"a\\0b\"", "&a !x 1" };
    for (int i = 0; i < xp_n_knobs; i++) {
        xp_config c;
        bool text = xp_knobs[i].type == XP_TEXT, list = xp_knobs[i].capacity > 0;
        for (size_t v = 0; v + 1 < sizeof never / sizeof *never; v++) {
            if (text && strcmp(never[v], list ? "[true]" : "\"\"") == 0)
                continue;
            ck_assert_msg(read_value(&xp_knobs[i], never[v], &c) == AG_ECONFIG, "%s: %s", xp_knobs[i].path, never[v]);
        }
        if (xp_knobs[i].type != XP_WORD && (!text || list))
            ck_assert_int_eq(read_value(&xp_knobs[i], "xyzzy", &c), AG_ECONFIG);
        if (xp_knobs[i].capacity)
            ck_assert_int_eq(read_value(&xp_knobs[i], "1", &c), AG_ECONFIG);
    }
}
END_TEST

START_TEST(every_key_with_its_last_letter_doubled_is_recognised)
{
    for (int i = 0; i < xp_n_knobs; i++) {
        const char *path = xp_knobs[i].path;
        char set[120], help[120];
        size_t n = strlen(path);
        if (n - xp_knob_section(&xp_knobs[i]) < 3)
            continue;
        snprintf(set, sizeof set, "%s%c=1", path, path[n - 1]);
        snprintf(help, sizeof help, "did you mean '%s'?", path);
        expect_broken(MINIMAL, strlen(MINIMAL), set, help);
    }
}
END_TEST

START_TEST(edit_distances_are_those_of_the_textbook)
{
    static const struct { const char *a, *b; int distance; } cases[] = {
        { "", "", 0 }, { "", "abc", 3 }, { "abc", "", 3 }, { "kitten", "sitting", 3 }, { "saturday", "sunday", 3 },
        { "ab", "ba", 1 }, { "ca", "abc", 3 }, { "lr", "lr", 0 }, { "flaw", "lawn", 2 }, { "gumbo", "gambol", 2 }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_int_eq(xp_edit_distance(cases[i].a, cases[i].b), cases[i].distance);
}
END_TEST

/* ---- values -------------------------------------------------------------------------------------------- */

START_TEST(numbers_are_read_in_the_forms_people_write)
{
    static const struct { const char *text; double value; } good[] = {
        { "0.5", 0.5 }, { ".5", 0.5 }, { "5.", 5 }, { "1e-3", 1e-3 }, { "1E-3", 1e-3 }, { "+2.5e+1", 25 }, { "7", 7 },
        { "0.1", 0.1 }, { "1e-300", 1e-300 }, { "0x", -1 }, { "1e", -1 }, { "1e+", -1 }, { ".", -1 }, { "1.2.3", -1 },
        { "inf", -1 }, { ".inf", -1 }, { "nan", -1 }, { ".NaN", -1 }, { "0x1p3", -1 }, { "1_000", -1 }, { "1,5", -1 },
        { "- 1", -1 }, { "1 2", -1 }, { "1e999", -1 }, { "1e-999", -1 }, { "'1'", -1 }, { "--1", -1 }, { "1e5e5", -1 }
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        xp_config c;
        ag_code code = read_value(&xp_knobs[xp_knob_find("inner.lr")], good[i].text, &c);
        ck_assert_msg(code == (good[i].value < 0 ? AG_ECONFIG : AG_OK), "%s", good[i].text);
        ck_assert_msg(good[i].value < 0 || c.inner.lr == good[i].value, "%s = %.17g", good[i].text, c.inner.lr);
    }
}
END_TEST

START_TEST(whole_numbers_are_whole_and_seeds_have_64_bits)
{
    static const char *const bad[] = { "1.0", "1e3", "0x10", "007", "+5", "", "99999999999999999999", "-", "5 5" };
    xp_config c;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char set[64];
        snprintf(set, sizeof set, "inner.steps='%s'", bad[i]);
        expect_broken(MINIMAL, strlen(MINIMAL), set, "inner.steps is ");
        snprintf(set, sizeof set, "inner.steps= %s", bad[i]);
        expect_broken(MINIMAL, strlen(MINIMAL), set, "--set inner.steps=");
    }
    expect_ok(&c, MINIMAL, "seed=18446744073709551615");
    ck_assert_uint_eq(c.seed, UINT64_MAX);
    ck_assert_ptr_nonnull(strstr(c.resolved, "\nseed: 18446744073709551615\n"));
    xp_config_release(&c);
    expect_broken(MINIMAL, strlen(MINIMAL), "seed=18446744073709551616", "expected a whole number in [0, 18446744073709551615]");
    expect_broken(MINIMAL, strlen(MINIMAL), "seed=-1", "expected a whole number in [0, 18446744073709551615]");
}
END_TEST

START_TEST(overrides_win_over_the_file_and_the_last_over_the_first)
{
    static const char *const sets[] = { "inner.lr=0.2", "model={hidden: [7, 8, 9], activation: tanh}", "inner.lr=0.3",
                                        "name=other", "eval.shots=[5, 10]", "inner.learn_lr=true" };
    xp_config c;
    ag_error err = { 0 };
    ck_assert_int_eq(parse_with(&c, MINIMAL "inner:\n  lr: 0.1\n", 6, sets, &err), AG_OK);
    ck_assert(c.inner.lr == 0.3);
    ck_assert_int_eq(c.model.n_hidden, 3);
    ck_assert_int_eq(c.model.hidden[2], 9);
    ck_assert_str_eq(c.model.activation, "tanh");
    ck_assert_str_eq(c.name, "other");
    ck_assert_int_eq(c.eval.n_shots, 2);
    ck_assert(c.inner.learn_lr);
    xp_config_release(&c);
}
END_TEST

START_TEST(anchors_serve_and_an_alias_carries_its_own_place)
{
    xp_config c;
    expect_ok(&c, MINIMAL "inner: {lr: &r 0.25}\nouter: {lr: *r}\nmodel: {hidden: &h [3, 4]}\neval: {shots: *h}\n", NULL);
    ck_assert(c.outer.lr == 0.25);
    ck_assert_int_eq(c.eval.shots[1], 4);
    xp_config_release(&c);
    const char *text = MINIMAL "eval: {shots: &h [3, 4]}\ninner:\n  lr: *h\n";
    expect_broken(text, strlen(text), NULL, "t.yaml:5:7: inner.lr is a list;");
}
END_TEST

START_TEST(files_build_on_files_and_values_on_values)
{
    static const char *const sets[] = { "outer.lr=${env:METALORA_TEST_LR}" };
    xp_config c;
    ag_error err = { 0 };
    ck_assert_int_eq(setenv("METALORA_TEST_LR", "0.125", 1), 0);
    ck_assert_msg(xp_config_load(&c, TEST_DIR "/composed/child.yaml", 1, sets, &err) == AG_OK, "%s", err.message);
    ck_assert_str_eq(c.name, "child-7");
    ck_assert_str_eq(c.tasks.source, "sinusoid");
    ck_assert(c.inner.lr == 0.25 && c.outer.lr == 0.125 && c.outer.lr_final == 0.125 && c.outer.momentum == 0.5);
    ck_assert_int_eq(c.tasks.shot, 3);
    ck_assert_int_eq(c.model.n_hidden, 3);
    ck_assert_int_eq(c.eval.n_shots, 3);
    ck_assert_int_eq(c.eval.shots[2], 30);
    static const char *const origins[] = { "/composed/child.yaml:3:7\n", "/composed/parts/size.yaml:2:9\n",
                                           "/composed/base.yaml:4:13\n", "  meta_batch: 4   # default\n",
                                           "  lr: 0.125   # --set outer.lr=${env:METALORA_TEST_LR}\n" };
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++)
        ck_assert_msg(strstr(c.annotated, origins[i]) != NULL, "%s is not in\n%s", origins[i], c.annotated);
    xp_config again;
    expect_ok(&again, c.annotated, NULL);
    ck_assert_str_eq(c.resolved, again.resolved);
    xp_config_release(&again);
    xp_config_release(&c);
}
END_TEST

START_TEST(references_that_lead_nowhere_are_refused)
{
    static const struct { const char *set, *part; } cases[] = {
        { "inner.lr=${inner.lrr}", "unknown key 'inner.lrr' in ${...}; did you mean 'inner.lr'?" },
        { "inner.lr=${inner.lr}", "leads back to itself" }, { "inner.lr=${outer.lr", "without its '}'" },
        { "inner.lr=${env:METALORA_NOT_SET}", "variable 'METALORA_NOT_SET' is not set" },
        { "inner.lr=${outer.chunk}", "outer.chunk, which ${...} refers to, has no value" },
        { "inner.lr=${model.hidden}", "inner.lr is a list; expected a number" }, { "name=a${model.hidden}", "a list put into text" },
        { "inner.lr=${}", "unknown key '' in ${...}" }, { "inner.lr=${a b}", "odd characters" },
        { "inner.lr=${tasks.source}", "inner.lr is 'sinusoid'; expected a number" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_broken(MINIMAL, strlen(MINIMAL), cases[i].set, cases[i].part);
}
END_TEST

/* ---- the resolved text --------------------------------------------------------------------------------- */

static void expect_same(const xp_config *a, const xp_config *b)
{
    for (int i = 0; i < xp_n_knobs; i++) {
        const xp_knob *k = &xp_knobs[i];
        const char *x = (const char *)a + k->offset, *y = (const char *)b + k->offset;
        ck_assert_int_eq(xp_knob_values(k, a), xp_knob_values(k, b));
        if (xp_knob_is_string(k))
            for (int v = 0; v < xp_knob_values(k, a); v++)
                ck_assert_str_eq(((const char *const *)(const void *)x)[v], ((const char *const *)(const void *)y)[v]);
        else
            ck_assert_msg(memcmp(x, y, k->type == XP_BOOL ? 1 : 8 * (size_t)(k->capacity ? k->capacity : 1)) == 0, "%s",
                          k->path);
    }
    ck_assert_str_eq(a->resolved, b->resolved);
}

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

/* ---- places -------------------------------------------------------------------------------------------- */

START_TEST(places_are_right_after_every_kind_of_line_break_and_character)
{
    static const struct { const char *text, *part; } cases[] = {
        { "\xEF\xBB\xBFsed: 1\n", "t.yaml:1:1: unknown key 'sed'" },
        { "# a\r\n# b\r\ntasks:\r\n  sourc: x\r\n", "t.yaml:4:3: unknown key 'tasks.sourc'; did you mean 'tasks.source'?\n      sourc: x\n      ^~~~~" },
        { "# a\r# b\rsed: 1\r", "t.yaml:3:1: unknown key 'sed'; did you mean 'seed'?\n    sed: 1\n    ^~~" },
        { "# \xC2\x85sed: 1", "t.yaml:2:1: unknown key 'sed'; did you mean 'seed'?\n    sed: 1\n    ^~~" },
        { "{\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80: 1}", "t.yaml:1:2: unknown key '\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80'" },
        { "{ name: \"\xC3\xA4\", sed: 1}", "\n    { name: \"\xC3\xA4\", sed: 1}\n                 ^~~" },
        { "tasks: {source: sinusoid,\n  shot: 'a\n\n   b'}", "t.yaml:2:9: tasks.shot is 'a?b'" },
        { "\"a\\e[0mb\": 1", "unknown key 'a?[0mb'" },
        { "tasks:\n  source: sinusoid\n  \"sh\\0ot\": 3", "t.yaml:3:3: a key that is" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_broken(cases[i].text, strlen(cases[i].text), NULL, cases[i].part);
}
END_TEST

START_TEST(a_message_fits_whatever_the_length_of_path_and_line)
{
    char *text = malloc(200000), path[5000];
    size_t n = (size_t)sprintf(text, "tasks: {source: ");
    memset(text + n, 'x', 150000);
    text[n + 150000] = '\0';
    strcat(text + n + 149000, "}\n");
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    xp_config c;
    ag_error err = { 0 };
    ck_assert_int_eq(xp_config_parse(&c, text, strlen(text), path, 0, NULL, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, ":1:17: tasks.source is 'xxxx"));
    ck_assert_ptr_nonnull(strstr(err.message, "expected sinusoid | lora-linear | omniglot | clinc150 |"));
    ck_assert(ends_with(err.message, "~~~"));
    free(text);
}
END_TEST

/* ---- files --------------------------------------------------------------------------------------------- */

static ag_code load_bytes(const char *bytes, size_t length, ag_error *err)
{
    char path[] = "metalora-config-XXXXXX";
    xp_config c;
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, bytes, length), (int)length);
    close(fd);
    ag_error_clear(err);
    ag_code code = xp_config_load(&c, path, 0, NULL, err);
    if (code == AG_OK)
        xp_config_release(&c);
    unlink(path);
    return code;
}

START_TEST(files_that_are_no_experiments_are_refused_with_the_reason)
{
    xp_config c;
    ag_error err = { 0 };
    ck_assert_int_eq(xp_config_load(&c, "no/such/file.yaml", 0, NULL, &err), AG_EIO);
    ck_assert_str_eq(err.message, "no/such/file.yaml: No such file or directory; expected an experiment's YAML file");
    ag_error_clear(&err);
    ck_assert_int_eq(xp_config_load(&c, TEST_DIR, 0, NULL, &err), AG_EIO);
    ck_assert_ptr_nonnull(strstr(err.message, "is a folder; expected"));
    ck_assert_int_eq(load_bytes("", 0, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, ":1:1: no experiment: the file is empty; expected"));
    ck_assert_int_eq(load_bytes("\x89HDF\r\n\x1a\n\0\0\0", 11, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "expected YAML in UTF-8"));
    ck_assert_int_eq(load_bytes("\0\0\0\0", 4, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "a control character (byte 0x00)"));
    ck_assert_int_eq(load_bytes("\xFF\xFEn\0a\0", 6, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "expected YAML in UTF-8"));
}
END_TEST

START_TEST(huge_and_bottomless_files_are_refused_at_once)
{
    static const struct { const char *unit, *part; } fills[] = {
        { "[", "nested more than 32 deep" }, { "{", "nested more than 32 deep" }, { "- ", "nested more than 32 deep" },
        { "a: ", "" }, { "? ", "" }, { "a", "the file is 'aaaa" }, { "x: 1\n", "is given twice" }, { "- 1\n", "more than 20000" },
        { "# a\n", "empty" }, { "\"", "" }, { "&a ", "" }, { "*a ", "" }, { "!", "" }, { "%", "" }, { "\n", "empty" },
        { "| ", "" }, { "'\n", "" }, { "[*a,", "" }, { "{a: ", "nested" }
    };
    size_t size = 1 << 20;
    char *text = malloc(size);
    ag_error err = { 0 };
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
        size_t n = strlen(fills[i].unit);
        for (size_t j = 0; j < size; j++)
            text[j] = fills[i].unit[j % n];
        ck_assert_msg(load_bytes(text, size, &err) == AG_ECONFIG, "%s", fills[i].unit);
        ck_assert_msg(strstr(err.message, fills[i].part) != NULL, "%s: %s", fills[i].unit, err.message);
    }
    free(text);
    text = calloc(1, 10 << 20);
    memset(text, '#', 10 << 20);
    ck_assert_int_eq(load_bytes(text, 10 << 20, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "more than 1048576 bytes; expected"));
    free(text);
}
END_TEST

START_TEST(wrong_calls_are_refused)
{
    xp_config c;
    const char *none = NULL;
    ck_assert_int_eq(xp_config_load(NULL, "x", 0, NULL, NULL), AG_EINVAL);
    ck_assert_int_eq(xp_config_load(&c, NULL, 0, NULL, NULL), AG_EINVAL);
    ck_assert_int_eq(xp_config_parse(&c, NULL, 0, "x", 0, NULL, NULL), AG_EINVAL);
    ck_assert_int_eq(xp_config_parse(&c, MINIMAL, strlen(MINIMAL), "x", 1, NULL, NULL), AG_EINVAL);
    ck_assert_int_eq(xp_config_parse(&c, MINIMAL, strlen(MINIMAL), "x", 1, &none, NULL), AG_EINVAL);
    xp_config_release(&c);
    xp_config_release(NULL);
}
END_TEST

/* ---- torture ------------------------------------------------------------------------------------------- */

typedef struct counter {
    long calls, fail_at, live;
} counter;

static void *counting_alloc(size_t bytes, void *ctx)
{
    counter *n = ctx;
    if (n->calls++ == n->fail_at)
        return NULL;
    n->live++;
    return malloc(bytes);
}

static void counting_release(void *p, void *ctx)
{
    ((counter *)ctx)->live--;
    free(p);
}

START_TEST(the_nth_allocation_may_fail_for_every_n)
{
    static const char *const sets[] = { "inner.lr=0.2", "eval.shots=[5, 10]", "tasks.path='a: b'" };
    ag_code code = AG_ENOMEM;
    long n = 0;
    for (; code != AG_OK; n++) {
        counter count = { .fail_at = n };
        ag_set_allocator(&(ag_allocator){ counting_alloc, counting_release, &count });
        xp_config c;
        ag_error err = { 0 };
        code = xp_config_load(&c, TEST_DIR "/../../configs/quickstart.yaml", 3, sets, &err);
        ck_assert_msg(code == (count.calls > n ? AG_ENOMEM : AG_OK), "allocation %ld: %s", n, err.message);
        if (code == AG_OK)
            xp_config_release(&c);
        ck_assert_msg(count.live == 0, "allocation %ld: %ld left", n, count.live);
    }
    ag_set_allocator(NULL);
    ck_assert_int_gt(n, 100);
}
END_TEST

/* One to four bytes changed, dropped or doubled, from an alphabet that YAML cares about. */
static size_t mutate(ag_random *r, char *text, size_t n)
{
    static const char alphabet[] = "0123456789.-+e:,[]{}#&*!|>'\"%@`?~ \t\n\r\\ax\xC3\xA4\xFF";
    for (uint64_t edits = 1 + ag_random_below(r, 4); edits > 0 && n > 1; edits--) {
        size_t at = ag_random_below(r, n);
        switch (ag_random_below(r, 3)) {
        case 0:
            text[at] = alphabet[ag_random_below(r, sizeof alphabet)];
            break;
        case 1:
            memmove(text + at, text + at + 1, --n - at);
            break;
        default:
            memmove(text + at + 1, text + at, n++ - at);
        }
    }
    return n;
}

START_TEST(mutated_files_end_in_a_config_that_reads_back_or_in_a_message)
{
    const char *wanted = getenv("METALORA_FUZZ_ROUNDS");
    long rounds = wanted ? atol(wanted) : 20000;
    size_t length, n_ok = 0;
    char *text = read_text(TEST_DIR "/../../configs/omniglot-maml-5w1s.yaml", &length), *copy = malloc(length + 16);
    ag_random r;
    ag_random_init(&r, 7, AG_STREAM_USER, 0, 0);
    for (long i = 0; i < rounds; i++) {
        xp_config c, again;
        ag_error err = { 0 };
        memcpy(copy, text, length);
        size_t n = mutate(&r, copy, length);
        ag_code code = xp_config_parse(&c, copy, n, "t.yaml", 0, NULL, &err);
        ck_assert_msg(code == AG_OK || (code == AG_ECONFIG && (strstr(err.message, "xpected") || strstr(err.message, "did you mean"))), "%s\n%.*s", err.message,
                      (int)n, copy);
        if (code != AG_OK)
            continue;
        expect_ok(&again, c.resolved, NULL);
        expect_same(&c, &again);
        xp_config_release(&c);
        xp_config_release(&again);
        n_ok++;
    }
    ck_assert_uint_gt(n_ok, (size_t)rounds / 20);
    ck_assert_uint_lt(n_ok, (size_t)rounds);
    free(copy);
    free(text);
}
END_TEST

TEST_MAIN(files_build_on_files_and_values_on_values, references_that_lead_nowhere_are_refused, every_broken_file_gets_its_golden_message, every_row_of_the_list_is_complete_and_sections_are_contiguous,
          the_defaults_hold_together_and_every_field_of_the_structs_is_listed,
          the_committed_reference_is_what_the_list_makes, every_range_holds_at_both_ends,
          every_choice_of_the_list_is_accepted_and_others_are_not, every_knob_refuses_values_of_another_type,
          every_key_with_its_last_letter_doubled_is_recognised, edit_distances_are_those_of_the_textbook,
          numbers_are_read_in_the_forms_people_write, whole_numbers_are_whole_and_seeds_have_64_bits,
          overrides_win_over_the_file_and_the_last_over_the_first, anchors_serve_and_an_alias_carries_its_own_place,
          every_shipped_config_reads_back_from_its_resolved_text,
          numbers_and_names_survive_the_resolved_text_bit_by_bit, texts_survive_the_resolved_text_alone_and_in_lists,
          texts_are_refused_for_what_no_line_of_yaml_can_hold, the_largest_resolved_text_is_written_whole,
          defaults_that_depend_on_others_are_worked_out, patterns_and_tests_are_split_as_written,
          every_source_and_algorithm_has_a_configuration_that_holds_together,
          places_are_right_after_every_kind_of_line_break_and_character,
          a_message_fits_whatever_the_length_of_path_and_line, files_that_are_no_experiments_are_refused_with_the_reason,
          huge_and_bottomless_files_are_refused_at_once, wrong_calls_are_refused, the_nth_allocation_may_fail_for_every_n,
          mutated_files_end_in_a_config_that_reads_back_or_in_a_message)
