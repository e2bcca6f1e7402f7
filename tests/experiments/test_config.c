/* The configuration: every knob and rule by table, golden messages of broken files, and text nobody meant as YAML. */
#include "autograd/random.h"
#include "tests/experiments/config_cases.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

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

TEST_MAIN(files_build_on_files_and_values_on_values, references_that_lead_nowhere_are_refused,
          every_broken_file_gets_its_golden_message, every_row_of_the_list_is_complete_and_sections_are_contiguous,
          the_defaults_hold_together_and_every_field_of_the_structs_is_listed, the_committed_reference_is_what_the_list_makes,
          every_range_holds_at_both_ends, every_choice_of_the_list_is_accepted_and_others_are_not,
          every_knob_refuses_values_of_another_type, every_key_with_its_last_letter_doubled_is_recognised,
          edit_distances_are_those_of_the_textbook, numbers_are_read_in_the_forms_people_write,
          whole_numbers_are_whole_and_seeds_have_64_bits, overrides_win_over_the_file_and_the_last_over_the_first,
          anchors_serve_and_an_alias_carries_its_own_place, places_are_right_after_every_kind_of_line_break_and_character,
          a_message_fits_whatever_the_length_of_path_and_line, files_that_are_no_experiments_are_refused_with_the_reason,
          huge_and_bottomless_files_are_refused_at_once, wrong_calls_are_refused, the_nth_allocation_may_fail_for_every_n,
          mutated_files_end_in_a_config_that_reads_back_or_in_a_message)
