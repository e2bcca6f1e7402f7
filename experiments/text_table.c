/* Files, rows, CSV and JSON lines (text_table.h). */
#include "experiments/text_table.h"

#include "experiments/config_values.h"
#include "experiments/text.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* --- rows and files --- */

ag_code xp_table_add_row(xp_table *t, const xp_table_row *row, ag_error *err)
{
    if (t->n_row == t->room) {
        int64_t room = t->room ? 2 * t->room : 1024;
        xp_table_row *rows = ag_alloc((size_t)room * sizeof *rows);
        AG_REQUIRE(rows, err, AG_ENOMEM, "%s: out of memory for %lld rows", t->name[row->file], (long long)room);
        if (t->n_row)
            memcpy(rows, t->rows, (size_t)t->n_row * sizeof *rows);
        ag_free(t->rows);
        t->rows = rows;
        t->room = room;
    }
    t->rows[t->n_row++] = *row;
    return AG_OK;
}

ag_code xp_table_add_file(xp_table *t, const char *name, size_t n, char **text, ag_error *err)
{
    AG_REQUIRE(t->n_file < XP_TABLE_FILES, err, AG_EINVAL, "%s: a table has at most %d files", name, XP_TABLE_FILES);
    size_t length = strlen(name), skip = length < XP_TABLE_NAME ? 0 : length - XP_TABLE_NAME + 1;
    snprintf(t->name[t->n_file], XP_TABLE_NAME, "%s", name + skip);
    *text = t->text[t->n_file] = ag_alloc(n);
    AG_REQUIRE(*text, err, AG_ENOMEM, "%s: out of memory for %zu bytes", name, n);
    t->n_file++;
    return AG_OK;
}

void xp_table_release(xp_table *t)
{
    for (int i = 0; i < XP_TABLE_FILES; i++)
        ag_free(t->text[i]);
    ag_free(t->rows);
    *t = (xp_table){ 0 };
}

void xp_table_where(const xp_table *t, const xp_table_row *row, char *out, size_t size)
{
    if (row->line)
        snprintf(out, size, "%s:%lld", t->name[row->file], (long long)row->line);
    else
        snprintf(out, size, "%s", t->name[row->file]);
}

static ag_code read_all(FILE *f, const char *path, size_t size, char **bytes, size_t *n, ag_error *err)
{
    *bytes = ag_alloc(size + 1);
    AG_REQUIRE(*bytes, err, AG_ENOMEM, "%s: out of memory for %zu bytes", path, size);
    *n = fread(*bytes, 1, size, f);
    if (ferror(f)) {
        ag_free(*bytes);
        *bytes = NULL;
        return ag_fail(err, AG_EIO, "%s: cannot be read: %s", path, strerror(errno));
    }
    (*bytes)[*n] = '\0';
    return AG_OK;
}

ag_code xp_table_bytes(const char *path, char **bytes, size_t *n, ag_error *err)
{
    struct stat st;
    *bytes = NULL;
    *n = 0;
    AG_REQUIRE(stat(path, &st) == 0, err, errno == ENOENT || errno == ENOTDIR ? AG_ECONFIG : AG_EIO, "%s: %s", path, strerror(errno));
    AG_REQUIRE(S_ISREG(st.st_mode), err, AG_ECONFIG, "%s: this is no file", path);
    FILE *f = fopen(path, "rbe");
    AG_REQUIRE(f, err, AG_EIO, "%s: cannot be opened: %s", path, strerror(errno));
    ag_code code = read_all(f, path, (size_t)st.st_size, bytes, n, err);
    fclose(f);
    return code;
}

/* --- what both kinds need --- */

typedef struct reader {
    xp_table *t;
    const char *name, *const *columns;
    int n_column;
    char *text;              /* the file's, a copy with a 0 behind it; shrinks as cells are unquoted */
    size_t n, at, out;       /* read to at, cells written to out <= at */
    int64_t line;            /* of text[at], from 1 */
    char delimiter;
} reader;

static ag_code check_utf8(const reader *r, ag_error *err)
{
    int64_t line = 1;
    size_t start = 0, step;
    for (size_t i = 0; i < r->n; i += step) {
        step = xp_text_character(r->text + i);
        AG_REQUIRE(step && r->text[i], err, AG_EDATA, "%s:%lld: byte %zu of the line (0x%02x) is not UTF-8 text", r->name,
                   (long long)line, i - start + 1, (unsigned char)r->text[i]);
        if (r->text[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    return AG_OK;
}

static ag_code no_column(const reader *r, const char *column, const char *const *have, int n, int64_t line, ag_error *err)
{
    char list[600] = "";
    const char *near = xp_nearest(column, have, n);
    size_t used = 0;
    for (int i = 0; i < n && used < sizeof list - 80; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.60s", i ? ", " : "", have[i]);
    return ag_fail(err, r->t->n_row ? AG_EDATA : AG_ECONFIG, "%s:%lld: there is no '%.60s' here; %s%.60s%sthe columns are %s", r->name,
                   (long long)line, column, near ? "did you mean '" : "", near ? near : "", near ? "'? " : "", list);
}

/* --- CSV --- */

enum { FIELDS_MAX = 256 };

static bool at_end(const reader *r)
{
    return r->at == r->n || r->text[r->at] == '\n' || (r->text[r->at] == '\r' && r->text[r->at + 1] == '\n');
}

/* From behind the opening quote to behind the closing one. */
static ag_code read_quoted(reader *r, ag_error *err)
{
    int64_t began = r->line;
    for (;; r->at++) {
        AG_REQUIRE(r->at < r->n, err, AG_EDATA, "%s:%lld: a quote opens a field here and no quote closes it", r->name, (long long)began);
        char c = r->text[r->at];
        if (c == '"' && r->text[r->at + 1] != '"')
            break;
        r->at += c == '"';
        r->line += c == '\n';
        r->text[r->out++] = c;
    }
    r->at++;
    AG_REQUIRE(at_end(r) || r->text[r->at] == r->delimiter, err, AG_EDATA,
               "%s:%lld: there is text behind a field's closing quote; expected a %s or the end of the line (a quote within a "
               "quoted field is written twice)", r->name, (long long)r->line, r->delimiter == '\t' ? "tab" : "comma");
    return AG_OK;
}

/* One field, and the delimiter behind it: *last is false then. */
static ag_code read_field(reader *r, const char **field, bool *last, ag_error *err)
{
    *field = r->text + r->out;
    if (r->text[r->at] == '"') {
        r->at++;
        AG_TRY(err, read_quoted(r, err));
    } else {
        while (!at_end(r) && r->text[r->at] != r->delimiter)
            r->text[r->out++] = r->text[r->at++];
    }
    *last = at_end(r);
    if (!*last)
        r->at++;
    else if (r->at < r->n)
        r->at += r->text[r->at] == '\r' ? 2 : 1;
    r->text[r->out++] = '\0';   /* where the delimiter or the line's end was, at the latest; or the 0 behind the file */
    return AG_OK;
}

/* One line; *n is 0 where nothing is left. */
static ag_code read_line(reader *r, const char *fields[FIELDS_MAX], int *n, int64_t *line, ag_error *err)
{
    bool last = false;
    *n = 0;
    while (r->at < r->n && at_end(r)) {
        r->at += r->text[r->at] == '\r' ? 2 : 1;
        r->line++;
    }
    *line = r->line;
    if (r->at == r->n)
        return AG_OK;
    while (!last) {
        AG_REQUIRE(*n < FIELDS_MAX, err, AG_EDATA, "%s:%lld: more than %d fields", r->name, (long long)*line, FIELDS_MAX);
        AG_TRY(err, read_field(r, &fields[(*n)++], &last, err));
    }
    r->line++;
    return AG_OK;
}

static ag_code find_columns(reader *r, int place[XP_TABLE_COLUMNS], int *n_field, ag_error *err)
{
    const char *fields[FIELDS_MAX];
    int64_t line;
    AG_TRY(err, read_line(r, fields, n_field, &line, err));
    AG_REQUIRE(*n_field, err, AG_EDATA, "%s: the file is empty; expected a line with the columns' names first", r->name);
    for (int c = 0; c < r->n_column; c++) {
        place[c] = -1;
        for (int f = 0; f < *n_field && place[c] < 0; f++)
            if (strcmp(fields[f], r->columns[c]) == 0)
                place[c] = f;
        if (place[c] < 0)
            return no_column(r, r->columns[c], fields, *n_field, line, err);
    }
    return AG_OK;
}

static ag_code read_csv(reader *r, ag_error *err)
{
    const char *fields[FIELDS_MAX];
    int place[XP_TABLE_COLUMNS], n_field, n;
    AG_TRY(err, find_columns(r, place, &n_field, err));
    for (;;) {
        xp_table_row row = { .file = r->t->n_file - 1 };
        AG_TRY(err, read_line(r, fields, &n, &row.line, err));
        if (n == 0)
            return AG_OK;
        AG_REQUIRE(n == n_field, err, AG_EDATA, "%s:%lld: %d fields; expected %d, as the first line has", r->name,
                   (long long)row.line, n, n_field);
        for (int c = 0; c < r->n_column; c++)
            row.cell[c] = fields[place[c]];
        AG_TRY(err, xp_table_add_row(r->t, &row, err));
    }
}

/* --- JSON lines --- */

static ag_code no_key(const reader *r, const json_t *object, const char *column, ag_error *err)
{
    const char *keys[FIELDS_MAX], *key;
    json_t *value;
    int n = 0;
    json_object_foreach((json_t *)object, key, value)
        if (n < FIELDS_MAX)
            keys[n++] = key;
    return no_column(r, column, keys, n, r->line, err);
}

/* A column's value to r->text; it is shorter than the line it came from, with its quotes or behind its colon. */
static ag_code keep_value(reader *r, const json_t *object, int c, xp_table_row *row, ag_error *err)
{
    const json_t *v = json_object_get(object, r->columns[c]);
    size_t room = r->at - r->out, n;
    if (!v)
        return no_key(r, object, r->columns[c], err);
    AG_REQUIRE(json_is_string(v) || json_is_integer(v), err, AG_EDATA, "%s:%lld: '%.60s' is neither text nor a whole number", r->name,
               (long long)r->line, r->columns[c]);
    row->cell[c] = r->text + r->out;
    if (json_is_integer(v)) {
        n = (size_t)snprintf(r->text + r->out, room, "%lld", (long long)json_integer_value(v));
    } else {
        n = json_string_length(v);
        AG_REQUIRE(strlen(json_string_value(v)) == n, err, AG_EDATA, "%s:%lld: '%.60s' holds a NUL character", r->name,
                   (long long)r->line, r->columns[c]);
        memcpy(r->text + r->out, json_string_value(v), n + 1 <= room ? n + 1 : 0);
    }
    AG_REQUIRE(n + 1 <= room, err, AG_EINVAL, "%s:%lld: the same column is asked for twice", r->name, (long long)r->line);
    r->out += n + 1;
    return AG_OK;
}

static ag_code keep_object(reader *r, const json_t *object, ag_error *err)
{
    xp_table_row row = { .file = r->t->n_file - 1, .line = r->line };
    AG_REQUIRE(json_is_object(object), err, AG_EDATA, "%s:%lld: this is no object; expected {\"%s\": ...}", r->name, (long long)r->line,
               r->columns[0]);
    for (int c = 0; c < r->n_column; c++)
        AG_TRY(err, keep_value(r, object, c, &row, err));
    return xp_table_add_row(r->t, &row, err);
}

static ag_code read_jsonl(reader *r, ag_error *err)
{
    for (; r->at < r->n; r->line++) {
        const char *line = r->text + r->at;
        const char *end = memchr(line, '\n', r->n - r->at);
        size_t n = end ? (size_t)(end - line) : r->n - r->at;
        json_error_t why;
        r->at += n;
        if (strspn(line, " \t\r") < n) {
            json_t *object = json_loadb(line, n, JSON_REJECT_DUPLICATES, &why);
            if (!object)
                return ag_fail(err, json_error_code(&why) == json_error_out_of_memory ? AG_ENOMEM : AG_EDATA,
                               "%s:%lld:%d: not JSON: %s; expected one object a line", r->name, (long long)r->line, why.column, why.text);
            ag_code code = keep_object(r, object, err);
            json_decref(object);
            AG_TRY(err, code);
        }
        r->at += end != NULL;
    }
    return AG_OK;
}

/* --- a file --- */

ag_code xp_table_parse(xp_table *t, const char *bytes, size_t n, xp_table_kind kind, const char *name,
                       const char *const *columns, int n_column, ag_error *err)
{
    reader r = { .t = t, .name = name, .columns = columns, .n_column = n_column, .line = 1,
                 .delimiter = kind == XP_TABLE_TSV ? '\t' : ',' };
    int64_t before = t->n_row;
    size_t mark = n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    AG_REQUIRE(n_column >= 1 && n_column <= XP_TABLE_COLUMNS, err, AG_EINVAL, "%s: %d columns; expected 1 to %d", name, n_column,
               XP_TABLE_COLUMNS);
    AG_TRY(err, xp_table_add_file(t, name, n - mark + 1, &r.text, err));
    r.n = n - mark;
    if (r.n)
        memcpy(r.text, bytes + mark, r.n);
    r.text[r.n] = '\0';
    AG_TRY(err, check_utf8(&r, err));
    AG_TRY(err, kind == XP_TABLE_JSONL ? read_jsonl(&r, err) : read_csv(&r, err));
    AG_REQUIRE(t->n_row > before, err, AG_EDATA, "%s: there are no rows; expected at least one example", name);
    return AG_OK;
}

static ag_code kind_of(const char *path, xp_table_kind *kind, ag_error *err)
{
    static const struct { const char *end; xp_table_kind kind; } known[] = {
        { ".csv", XP_TABLE_CSV }, { ".tsv", XP_TABLE_TSV }, { ".jsonl", XP_TABLE_JSONL }, { ".ndjson", XP_TABLE_JSONL },
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof known / sizeof *known; i++)
        if (strcmp(dot, known[i].end) == 0) {
            *kind = known[i].kind;
            return AG_OK;
        }
    return ag_fail(err, AG_ECONFIG, "%s: its name does not tell what it is; expected .csv, .tsv or .jsonl", path);
}

ag_code xp_table_read(xp_table *t, const char *path, const char *const *columns, int n_column, ag_error *err)
{
    xp_table_kind kind = XP_TABLE_CSV;
    char *bytes;
    size_t n;
    AG_TRY(err, kind_of(path, &kind, err));
    AG_TRY(err, xp_table_bytes(path, &bytes, &n, err));
    ag_code code = xp_table_parse(t, bytes, n, kind, path, columns, n_column, err);
    ag_free(bytes);
    return ag_trail(err, code, __func__);
}
