/* Tables of text and NumPy's arrays. The first byte chooses the reader: CSV, TSV, JSON lines, CLINC150's two files with a zero
 * byte between them, .npy. What is accepted holds only whole UTF-8 texts, makes classes whose numbers add up, and is the
 * same when it is written as CSV and read again. */
#include "experiments/arrays.h"
#include "experiments/text.h"
#include "experiments/text_classes.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <string.h>

static const char *const columns[] = { "text", "label", "domain" };

static void check_cells(const xp_table *t, int n_column)
{
    for (int64_t i = 0; i < t->n_row; i++)
        for (int c = 0; c < n_column; c++) {
            const char *s = t->rows[i].cell[c];
            fuzz_check(s, "row %lld has no cell %d", (long long)i, c);
            while (*s) {
                size_t n = xp_text_character(s);
                fuzz_check(n, "row %lld, cell %d: not UTF-8", (long long)i, c);
                s += n;
            }
        }
}

static void add_quoted(xp_text *out, const char *cell, const char *end)
{
    xp_text_bytes(out, "\"", 1);
    for (; *cell; cell++)
        xp_text_bytes(out, *cell == '"' ? "\"\"" : cell, *cell == '"' ? 2 : 1);
    xp_text_add(out, "\"%s", end);
}

static void check_again(const xp_table *t, int n_column)
{
    xp_text out = { 0 };
    char *csv;
    xp_table again = { 0 };
    ag_error err = { 0 };
    xp_text_add(&out, "%s", n_column > 2 ? "text,label,domain\r\n" : "text,label\r\n");
    for (int64_t i = 0; i < t->n_row; i++)
        for (int c = 0; c < n_column; c++)
            add_quoted(&out, t->rows[i].cell[c], c + 1 < n_column ? "," : "\r\n");
    size_t n = out.length;
    fuzz_check(xp_text_take(&out, &csv, NULL) == AG_OK, "out of memory");
    fuzz_check(xp_table_parse(&again, csv, n, XP_TABLE_CSV, "again", columns, n_column, &err) == AG_OK, "written again: %s", err.message);
    fuzz_check(again.n_row == t->n_row, "%lld rows written, %lld read", (long long)t->n_row, (long long)again.n_row);
    for (int64_t i = 0; i < t->n_row; i++)
        for (int c = 0; c < n_column; c++)
            fuzz_check(strcmp(t->rows[i].cell[c], again.rows[i].cell[c]) == 0, "row %lld, cell %d: '%s' became '%s'", (long long)i, c,
                       t->rows[i].cell[c], again.rows[i].cell[c]);
    xp_table_release(&again);
    ag_free(csv);
}

static void check_classes(const xp_table *t, int n_column)
{
    static const int64_t none[3] = { 0 }, halves[3] = { 1, 1, 1 };
    xp_class_set s;
    xp_text_facts facts;
    ag_error err = { 0 };
    int64_t n = 0;
    if (!fuzz_answer(xp_text_classes(&s, "fuzz", "texts", t, n_column, 0, &facts, &err), &err)) {
        fuzz_check(!s.classes && !s.members, "a refused set holds something");
        return;
    }
    for (int64_t i = 0; i < s.n_class; i++) {
        fuzz_check(s.classes[i].first == n && s.classes[i].count >= 1, "class %lld is not behind the one before", (long long)i);
        n += s.classes[i].count;
    }
    fuzz_check(n == s.n_member && n + facts.repeated + facts.ambiguous <= t->n_row, "%lld of %lld rows in classes", (long long)n,
               (long long)t->n_row);
    fuzz_answer(xp_class_set_split(&s, none, n_column > 2 ? halves : none, &err), &err);
    xp_class_set_release(&s);
}

static void check_table(xp_table *t, ag_code code, const ag_error *err, int n_column)
{
    if (fuzz_answer(code, err)) {
        fuzz_check(t->n_row > 0, "a table without rows is accepted");
        check_cells(t, n_column);
        check_again(t, n_column);
        check_classes(t, n_column);
    }
    xp_table_release(t);
}

static void read_clinc(const uint8_t *data, size_t size)
{
    xp_table t = { 0 };
    ag_error err = { 0 };
    const uint8_t *zero = memchr(data, 0, size);
    size_t n = zero ? (size_t)(zero - data) : size, skip = n < size ? n + 1 : n;
    ag_code code = xp_table_parse_clinc(&t, (const char *)data, n, "data", (const char *)data + skip, size - skip, "domains", &err);
    check_table(&t, code, &err, 3);
}

static void read_npy(const uint8_t *data, size_t size)
{
    xp_npy a;
    ag_error err = { 0 };
    double sum = 0;
    if (!fuzz_answer(xp_npy_parse(&a, data, size, "npy", &err), &err))
        return;
    for (int64_t i = 0; i < a.count; i++)
        sum += xp_npy_real(&a, i) + (a.kind == 'f' ? 0 : (double)xp_npy_int(&a, i));
    fuzz_check(a.kind == 'f' || isfinite(sum), "whole numbers add up to %g", sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const xp_table_kind kinds[] = { XP_TABLE_CSV, XP_TABLE_TSV, XP_TABLE_JSONL };
    if (size == 0)
        return 0;
    int choice = data[0] % 5;
    if (choice == 3)
        read_clinc(data + 1, size - 1);
    if (choice == 4)
        read_npy(data + 1, size - 1);
    for (int n_column = 2; choice < 3 && n_column <= 3; n_column++) {
        xp_table t = { 0 };
        ag_error err = { 0 };
        ag_code code = xp_table_parse(&t, (const char *)data + 1, size - 1, kinds[choice], "table", columns, n_column, &err);
        check_table(&t, code, &err, n_column);
    }
    return 0;
}
