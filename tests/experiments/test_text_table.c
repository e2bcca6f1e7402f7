/* Tables of text: CSV by RFC 4180, JSON lines, CLINC150's JSON, and classes made of them; the real data where they are, against
 * Python's csv and json (golden_text_sources.py). */
#include "tests/check.h"

#include "experiments/text_classes.h"
#include "experiments/text_table.h"
#include "golden_text_sources.h"

#include <sodium.h>
#include <unistd.h>

static const char *const both[] = { "text", "label" }, *const three[] = { "text", "label", "domain" };

static xp_table parsed(const char *text, xp_table_kind kind)
{
    xp_table t = { 0 };
    ag_error err = { 0 };
    ck_assert_msg(xp_table_parse(&t, text, strlen(text), kind, "t", both, 2, &err) == AG_OK, "%s", err.message);
    return t;
}

static void expect_row(const xp_table *t, int64_t row, const char *text, const char *label, int64_t line)
{
    ck_assert_int_lt(row, t->n_row);
    ck_assert_str_eq(t->rows[row].cell[0], text);
    ck_assert_str_eq(t->rows[row].cell[1], label);
    ck_assert_int_eq(t->rows[row].line, line);
}

START_TEST(csv_is_read_as_rfc_4180_has_it)
{
    xp_table t = parsed("\xef\xbb\xbflabel,more,text\r\n"
                        "a,,\"one, two\"\r\n"
                        "b,\"\",\"he said \"\"no\"\"\"\n"
                        "\n"
                        "c,x,\"two\r\nlines\"\n"
                        "d,a\"b,plain \"quotes\" inside\n"
                        "\"e\",,\xc3\xa9t\xc3\xa9", XP_TABLE_CSV);
    ck_assert_int_eq(t.n_row, 5);
    expect_row(&t, 0, "one, two", "a", 2);
    expect_row(&t, 1, "he said \"no\"", "b", 3);
    expect_row(&t, 2, "two\r\nlines", "c", 5);
    expect_row(&t, 3, "plain \"quotes\" inside", "d", 7);
    expect_row(&t, 4, "\xc3\xa9t\xc3\xa9", "e", 8);
    xp_table_release(&t);
    t = parsed("text\tlabel\na, b\t1\n\"x\ty\"\t2\n", XP_TABLE_TSV);
    expect_row(&t, 0, "a, b", "1", 2);
    expect_row(&t, 1, "x\ty", "2", 3);
    xp_table_release(&t);
}
END_TEST

START_TEST(json_lines_give_texts_and_whole_numbers)
{
    xp_table t = parsed("{\"label\": 7, \"text\": \"a \\\"b\\\" \\u00e9\\n\"}\n"
                        "\n"
                        "{\"text\": \"\\ud83d\\ude00\", \"other\": [1, 2], \"label\": \"x\"}\r\n"
                        "{\"text\":\"t\",\"label\":-12345678901}", XP_TABLE_JSONL);
    ck_assert_int_eq(t.n_row, 3);
    expect_row(&t, 0, "a \"b\" \xc3\xa9\n", "7", 1);
    expect_row(&t, 1, "\xf0\x9f\x98\x80", "x", 3);
    expect_row(&t, 2, "t", "-12345678901", 4);
    xp_table_release(&t);
}
END_TEST

static void expect_wrong(const char *text, size_t n, xp_table_kind kind, ag_code want, const char *part)
{
    xp_table t = { 0 };
    ag_error err = { 0 };
    ck_assert_msg(xp_table_parse(&t, text, n, kind, "t", both, 2, &err) == want, "%s: %s", ag_code_name(err.code), err.message);
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' does not say '%s'", err.message, part);
    xp_table_release(&t);
}

START_TEST(what_is_wrong_with_a_table_is_told_with_its_line)
{
    static const struct { const char *text; xp_table_kind kind; ag_code code; const char *part; } cases[] = {
        { "", XP_TABLE_CSV, AG_EDATA, "t: the file is empty; expected a line with the columns' names first" },
        { "\n\r\n", XP_TABLE_CSV, AG_EDATA, "t: the file is empty" },
        { "text,label\n", XP_TABLE_CSV, AG_EDATA, "t: there are no rows" },
        { "text,label\na,b\nc\n", XP_TABLE_CSV, AG_EDATA, "t:3: 1 fields; expected 2, as the first line has" },
        { "text,label\na,b,c\n", XP_TABLE_CSV, AG_EDATA, "t:2: 3 fields; expected 2" },
        { "text,label\na,b\n\"c\nd,e\n", XP_TABLE_CSV, AG_EDATA, "t:3: a quote opens a field here and no quote closes it" },
        { "text,label\n\"a\nb\"c,d\n", XP_TABLE_CSV, AG_EDATA, "t:3: there is text behind a field's closing quote; expected a comma" },
        { "text,lable\na,b\n", XP_TABLE_CSV, AG_ECONFIG, "t:1: there is no 'label' here; did you mean 'lable'? the columns are text, lable" },
        { "one,two\na,b\n", XP_TABLE_CSV, AG_ECONFIG, "t:1: there is no 'text' here; the columns are one, two" },
        { "text,label\na,b\n\xc3\xa9\xff,c\n", XP_TABLE_CSV, AG_EDATA, "t:3: byte 3 of the line (0xff) is not UTF-8 text" },
        { "text,label\n\xed\xa0\x80,c\n", XP_TABLE_CSV, AG_EDATA, "t:2: byte 1 of the line (0xed)" },
        { "", XP_TABLE_JSONL, AG_EDATA, "t: there are no rows" },
        { "{\"text\": \"a\", \"label\": \"b\"}\n{\"text\": \"a\", \"lable\": 1}\n", XP_TABLE_JSONL, AG_EDATA,
          "t:2: there is no 'label' here; did you mean 'lable'?" },
        { "{\"texts\": \"a\", \"label\": \"b\"}", XP_TABLE_JSONL, AG_ECONFIG, "t:1: there is no 'text' here; did you mean 'texts'?" },
        { "{\"text\": \"a\", \"label\": \"b\"}\n[1]\n", XP_TABLE_JSONL, AG_EDATA, "t:2: this is no object" },
        { "{\"text\": \"a\", \"label\": 0.5}", XP_TABLE_JSONL, AG_EDATA, "t:1: 'label' is neither text nor a whole number" },
        { "{\"text\": \"a\", \"label\": \"b\"", XP_TABLE_JSONL, AG_EDATA, "t:1:" },
        { "{\"text\": \"a\", \"text\": \"b\"}", XP_TABLE_JSONL, AG_EDATA, "not JSON: duplicate object key" },
        { "{\"text\": \"a\\u0000\", \"label\": \"b\"}", XP_TABLE_JSONL, AG_EDATA, "t:1:" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_wrong(cases[i].text, strlen(cases[i].text), cases[i].kind, cases[i].code, cases[i].part);
    expect_wrong("text,label\na\0b,c\n", 17, XP_TABLE_CSV, AG_EDATA, "t:2: byte 2 of the line (0x00) is not UTF-8 text");
}
END_TEST

START_TEST(files_are_told_by_their_extension_and_missing_ones_named)
{
    xp_table t = { 0 };
    ag_error err = { 0 };
    ck_assert_int_eq(xp_table_read(&t, "no-such-file.csv", both, 2, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "no-such-file.csv: No such file"));
    ag_error_clear(&err);
    ck_assert_int_eq(xp_table_read(&t, "examples.txt", both, 2, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "expected .csv, .tsv or .jsonl"));
    xp_table_release(&t);
}
END_TEST

static xp_class_set classes_of(const xp_table *t, int n_column, int64_t most, xp_text_facts *facts)
{
    xp_class_set s;
    ag_error err = { 0 };
    static const int64_t none[3] = { 0 };
    ck_assert_msg(xp_text_classes(&s, "text", "texts", t, n_column, most, facts, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(xp_class_set_split(&s, none, none, NULL), AG_OK);
    return s;
}

START_TEST(a_text_counts_once_in_a_class_and_not_at_all_in_two)
{
    xp_text_facts facts;
    xp_table t = parsed("text,label\nhi,b\nyou,a\nhi,b\nboth,a\nthere,b\nboth,b\nhi,b\nlast,a\n", XP_TABLE_CSV);
    xp_class_set s = classes_of(&t, 2, 0, &facts);
    ck_assert_int_eq(facts.repeated, 2);
    ck_assert_int_eq(facts.ambiguous, 1);
    ck_assert_int_eq(s.n_class, 2);
    ck_assert_str_eq(s.classes[0].name, "a");
    ck_assert_int_eq(s.classes[0].count, 2);
    ck_assert_int_eq(s.members[s.classes[0].first], 1);
    ck_assert_int_eq(s.members[s.classes[0].first + 1], 7);
    ck_assert_int_eq(s.classes[1].count, 2);
    ck_assert_int_eq(s.members[s.classes[1].first], 0);
    ck_assert_int_eq(s.members[s.classes[1].first + 1], 4);
    xp_class_set_release(&s);
    s = classes_of(&t, 2, 1, &facts);
    ck_assert_int_eq(s.classes[0].count, 1);
    ck_assert_int_eq(s.members[s.classes[1].first], 0);
    xp_class_set_release(&s);
    xp_table_release(&t);
}
END_TEST

START_TEST(domains_rank_in_the_order_of_the_rows)
{
    static const char text[] = "text,label,domain\n1,q,late\n2,a,early\n3,z,early\n4,b,late\n5,m,third\n";
    xp_table t = { 0 };
    xp_text_facts facts;
    ck_assert_int_eq(xp_table_parse(&t, text, sizeof text - 1, XP_TABLE_CSV, "t", three, 3, NULL), AG_OK);
    xp_class_set s = classes_of(&t, 3, 0, &facts);
    static const char *const names[] = { "b", "q", "a", "z", "m" };
    static const int ranks[] = { 0, 0, 1, 1, 2 };
    for (int i = 0; i < 5; i++) {
        ck_assert_str_eq(s.classes[i].name, names[i]);
        ck_assert_int_eq(s.classes[i].rank, ranks[i]);
    }
    ck_assert_int_eq(s.n_range, 3);
    xp_class_set_release(&s);
    xp_table_release(&t);
}
END_TEST

static void expect_no_classes(const char *text, int n_column, const char *part)
{
    xp_table t = { 0 };
    xp_class_set s;
    xp_text_facts facts;
    ag_error err = { 0 };
    ck_assert_int_eq(xp_table_parse(&t, text, strlen(text), XP_TABLE_CSV, "t", three, n_column, NULL), AG_OK);
    ck_assert_int_eq(xp_text_classes(&s, "text", "texts", &t, n_column, 0, &facts, &err), AG_EDATA);
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' does not say '%s'", err.message, part);
    ck_assert_ptr_null(s.classes);
    xp_table_release(&t);
}

START_TEST(rows_that_are_no_examples_are_named)
{
    expect_no_classes("text,label\na,b\n  ,c\n", 2, "t:3: the text is empty");
    expect_no_classes("text,label\na,b\nc,\n", 2, "t:3: the label is empty");
    expect_no_classes("text,label\na,b\na,c\n", 2, "every text stands under several labels");
    expect_no_classes("text,label,domain\n1,a,x\n2,b,x\n3,a,y\n", 3, "t:2: the label 'a' is of domain 'x' here and of 'y' in t:4");
}
END_TEST

static const char domains_json[] = "{\"z\": [\"two\", \"one\"], \"a\": [\"three\"]}";

START_TEST(clinc_takes_domains_in_the_order_of_their_file)
{
    static const char data[] = "{\"oos_val\": [[\"no\", \"oos\"]], \"val\": [[\"v\", \"three\"]], \"train\": [[\"t\", \"three\"], [\"o\", \"one\"]],"
                               " \"test\": [[\"e\", \"two\"], [\"f\", \"one\"]]}";
    static const char *const want[][3] = { { "o", "one", "z" }, { "e", "two", "z" }, { "f", "one", "z" }, { "t", "three", "a" },
                                           { "v", "three", "a" } };
    xp_table t = { 0 };
    ag_error err = { 0 };
    ag_code code = xp_table_parse_clinc(&t, data, sizeof data - 1, "d", domains_json, sizeof domains_json - 1, "m", &err);
    ck_assert_msg(code == AG_OK, "%s", err.message);
    ck_assert_int_eq(t.n_row, 5);
    for (int i = 0; i < 5; i++)
        for (int c = 0; c < 3; c++)
            ck_assert_str_eq(t.rows[i].cell[c], want[i][c]);
    xp_table_release(&t);
}
END_TEST

START_TEST(what_is_wrong_with_clincs_files_is_told)
{
    static const struct { const char *data, *domains, *part; } cases[] = {
        { "{", "{}", "d:1:1: not JSON" },
        { "[]", "{}", "d: this is no JSON object" },
        { "{\"train\": [], \"val\": []}", "{}", "d: there is no list 'test'; expected data_full.json of CLINC150" },
        { "{\"train\": [], \"val\": [], \"test\": []}", "{\"a\": []}", "d: there are no texts" },
        { "{\"train\": [[\"a\"]], \"val\": [], \"test\": []}", "{\"a\": []}", "d: entry 0 of 'train' is no pair" },
        { "{\"train\": [[\"a\", 3]], \"val\": [], \"test\": []}", "{\"a\": []}", "d: entry 0 of 'train' holds what is no text" },
        { "{\"train\": [[\"a\", \"b\"]], \"val\": [], \"test\": []}", "{\"a\": []}", "m names no domain of the intent 'b'" },
        { "{}", "{\"a\": [\"x\"], \"b\": [\"x\"]}", "m: the intent 'x' stands in two places" },
        { "{}", "{\"a\": \"x\"}", "m: 'a' is no list" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        xp_table t = { 0 };
        ag_error err = { 0 };
        ag_code code = xp_table_parse_clinc(&t, cases[i].data, strlen(cases[i].data), "d", cases[i].domains, strlen(cases[i].domains),
                                            "m", &err);
        ck_assert_int_eq(code, AG_EDATA);
        ck_assert_msg(strstr(err.message, cases[i].part) != NULL, "'%s' does not say '%s'", err.message, cases[i].part);
        xp_table_release(&t);
    }
}
END_TEST

/* --- the real data --- */

/* SHA-256 over "label\tdomain\tcount\n" and the texts, each with a line's end, class by class in byte order of the labels. */
static void digest(const xp_class_set *s, const xp_table *t, char hex[65])
{
    crypto_hash_sha256_state h;
    unsigned char out[32];
    char line[256];
    crypto_hash_sha256_init(&h);
    for (int64_t i = 0; i < s->n_class; i++) {
        const xp_class *c = &s->classes[i];
        int n = snprintf(line, sizeof line, "%s\t%s\t%lld\n", c->name, c->domain ? c->domain : "", (long long)c->count);
        crypto_hash_sha256_update(&h, (const unsigned char *)line, (size_t)n);
        for (int64_t e = 0; e < c->count; e++) {
            const char *text = t->rows[s->members[c->first + e]].cell[0];
            crypto_hash_sha256_update(&h, (const unsigned char *)text, strlen(text));
            crypto_hash_sha256_update(&h, (const unsigned char *)"\n", 1);
        }
    }
    crypto_hash_sha256_final(&h, out);
    sodium_bin2hex(hex, 65, out, sizeof out);
}

static void expect_data(const xp_table *t, int n_column, const golden_data *want)
{
    xp_text_facts facts;
    xp_class_set s;
    ag_error err = { 0 };
    char hex[65];
    int64_t texts = 0;
    ck_assert_msg(xp_text_classes(&s, want->name, "texts", t, n_column, 0, &facts, &err) == AG_OK, "%s", err.message);
    for (int64_t i = 0; i < s.n_class; i++)
        texts += s.classes[i].count;
    ck_assert_int_eq(t->n_row, want->rows);
    ck_assert_int_eq(s.n_class, want->classes);
    ck_assert_int_eq(texts, want->texts);
    ck_assert_int_eq(facts.repeated, want->repeated);
    ck_assert_int_eq(facts.ambiguous, want->ambiguous);
    digest(&s, t, hex);
    ck_assert_str_eq(hex, want->digest);
    xp_class_set_release(&s);
}

static xp_table read_files(const char *const *files, int n, const char *const *columns, int n_column)
{
    xp_table t = { 0 };
    ag_error err = { 0 };
    char path[2][4096];
    for (int i = 0; i < n; i++)
        snprintf(path[i], sizeof path[i], "%s/%s", getenv("METALORA_DATA"), files[i]);
    if (!columns)
        ck_assert_msg(xp_table_read_clinc(&t, path[0], path[1], &err) == AG_OK, "%s", err.message);
    for (int i = 0; i < n && columns; i++)
        ck_assert_msg(xp_table_read(&t, path[i], columns, n_column, &err) == AG_OK, "%s", err.message);
    return t;
}

START_TEST(the_real_data_are_what_python_reads)
{
    static const char *const clinc[] = { "clinc150/data_full.json", "clinc150/domains.json" };
    static const char *const banking[] = { "banking77/train.csv", "banking77/test.csv" }, *const hwu[] = { "hwu64/hwu64_10fold.csv" };
    static const char *const banking_columns[] = { "text", "category" }, *const hwu_columns[] = { "text", "label", "scenario" };
    if (!getenv("METALORA_DATA"))
        return;
    xp_table t = read_files(clinc, 2, NULL, 0);
    expect_data(&t, 3, &golden_clinc150);
    xp_table_release(&t);
    t = read_files(banking, 2, banking_columns, 2);
    expect_data(&t, 2, &golden_banking77);
    xp_table_release(&t);
    t = read_files(hwu, 1, hwu_columns, 3);
    expect_data(&t, 3, &golden_hwu64);
    xp_table_release(&t);
}
END_TEST

TEST_MAIN(csv_is_read_as_rfc_4180_has_it, json_lines_give_texts_and_whole_numbers, what_is_wrong_with_a_table_is_told_with_its_line,
          files_are_told_by_their_extension_and_missing_ones_named, a_text_counts_once_in_a_class_and_not_at_all_in_two,
          domains_rank_in_the_order_of_the_rows, rows_that_are_no_examples_are_named, clinc_takes_domains_in_the_order_of_their_file,
          what_is_wrong_with_clincs_files_is_told, the_real_data_are_what_python_reads)
