/* Tables of text: the named columns of CSV, TSV and JSON-lines files, and CLINC150's own JSON.
 *
 *     static const char *const columns[] = { "text", "category" };
 *     xp_table t = { 0 };
 *     AG_TRY(err, xp_table_read(&t, "train.csv", columns, 2, err));
 *     AG_TRY(err, xp_table_read(&t, "test.csv", columns, 2, err));      // more rows
 *     ... xp_table_cell(&t, row, 0) ...
 *     xp_table_release(&t);
 *
 * CSV is RFC 4180 (UTF-8, an optional byte order mark, lines that end in LF or CR LF, fields in quotes with "" for a quote;
 * the first line names the columns; empty lines are skipped; a quote inside a field that does not begin with one stands for
 * itself). TSV is the same with tabs. JSONL has one object a line; a column is a string or a whole number.
 * Everything is AG_EDATA "FILE:LINE: what; what was expected", but a column that the first row does not have is AG_ECONFIG. */
#ifndef XP_TEXT_TABLE_H
#define XP_TEXT_TABLE_H

#include "autograd/status.h"

#include <stdint.h>

enum { XP_TABLE_COLUMNS = 4, XP_TABLE_FILES = 4, XP_TABLE_NAME = 256 };

typedef enum xp_table_kind { XP_TABLE_CSV, XP_TABLE_TSV, XP_TABLE_JSONL } xp_table_kind;

typedef struct xp_table_row {
    const char *cell[XP_TABLE_COLUMNS];   /* NUL-terminated UTF-8 without NUL bytes inside */
    int64_t line;                         /* where it begins, from 1; 0: not known (CLINC150) */
    int file;
} xp_table_row;

typedef struct xp_table {
    int64_t n_row, room;
    xp_table_row *rows;
    int n_file;
    char *text[XP_TABLE_FILES];           /* what cells point into */
    char name[XP_TABLE_FILES][XP_TABLE_NAME];
} xp_table;

/* By its extension: .csv, .tsv, .jsonl (or .ndjson); another one is AG_ECONFIG. Rows go behind those that t has.
 * columns [n_column], n_column <= XP_TABLE_COLUMNS, all different. Fails with AG_ECONFIG (no such file, no such column: the
 * nearest is named), AG_EDATA, AG_EIO, AG_ENOMEM; t is then to be released. */
ag_code xp_table_read(xp_table *t, const char *path, const char *const *columns, int n_column, ag_error *err);
/* The same from bytes; name stands in messages. */
ag_code xp_table_parse(xp_table *t, const char *bytes, size_t n, xp_table_kind kind, const char *name,
                       const char *const *columns, int n_column, ag_error *err);
/* CLINC150: cells are text, intent, domain, taken domain by domain in domains.json's order, and within a domain the texts of
 * train, val and test one behind the other. Out-of-scope texts are no part. */
ag_code xp_table_read_clinc(xp_table *t, const char *data_path, const char *domains_path, ag_error *err);
ag_code xp_table_parse_clinc(xp_table *t, const char *data, size_t n_data, const char *data_name, const char *domains,
                             size_t n_domains, const char *domains_name, ag_error *err);
void xp_table_release(xp_table *t);

/* "FILE:LINE" of a row, "FILE" where its line is not known. */
void xp_table_where(const xp_table *t, const xp_table_row *row, char *out, size_t size);

/* The whole of a regular file, with a 0 behind it; *bytes is freed with ag_free. AG_ECONFIG: not there, or a folder; AG_EIO;
 * AG_ENOMEM. */
ag_code xp_table_bytes(const char *path, char **bytes, size_t *n, ag_error *err);

/* --- for text_table*.c --- */

ag_code xp_table_add_row(xp_table *t, const xp_table_row *row, ag_error *err);
/* Makes room for a file's n bytes of text: *text; its name is kept. */
ag_code xp_table_add_file(xp_table *t, const char *name, size_t n, char **text, ag_error *err);

#endif
