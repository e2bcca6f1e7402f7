/* A run's journal, OUT.journal: what happened, record by record, and the lock that keeps a second process away.
 *
 *     xp_journal *j;
 *     AG_TRY(err, xp_journal_open(&j, "run.h5", true, err));             // made if missing, locked until closed
 *     AG_TRY(err, xp_journal_start(j, &head, err));                      // emptied; the head is its first record
 *     AG_TRY(err, xp_journal_append(j, XP_RECORD_TRAIN, &row, sizeof row, err));
 *     xp_journal_mark mark = xp_journal_end(j);                          // a point one can come back to
 *     xp_journal_close(j);
 *
 * Every record carries a tag, SHA-256 over the tag before it and the record, so a mark (length and tag) vouches for all
 * that stands before it: nothing can be changed, left out or put in unnoticed. Rows are the machine's own bytes, as in a
 * checkpoint. One thread at a time. */
#ifndef XP_JOURNAL_H
#define XP_JOURNAL_H

#include "autograd/status.h"

#include <stdint.h>

enum { XP_JOURNAL_TAG = 16 };

typedef enum xp_record_type {
    XP_RECORD_HEAD = 1,          /* xp_journal_head as "key\0value\0" pairs; the first record, and only there */
    XP_RECORD_TRAIN,             /* xp_train_row */
    XP_RECORD_VALIDATION,        /* xp_validation_row */
    XP_RECORD_SCORES,            /* run_record.c */
    XP_RECORD_CHECKPOINT,        /* int64: the iteration; OUT.ckpt was replaced before this was written */
    XP_RECORD_RESUMED            /* int64: how often the run was resumed */
} xp_record_type;

/* What a run was begun with. It goes on only where all but the command line is the same. */
typedef struct xp_journal_head {
    const char *version, *precision, *instruction_set, *gemm, *libraries;
    const char *command_line, *config;   /* config: resolved, with the seed */
} xp_journal_head;

typedef struct xp_journal_mark {
    uint64_t length;
    unsigned char tag[XP_JOURNAL_TAG];
} xp_journal_mark;

typedef struct xp_record {
    xp_record_type type;
    const void *data;            /* not aligned */
    size_t bytes;
    xp_journal_mark end;         /* behind the record */
} xp_record;

typedef struct xp_records {
    size_t n;
    xp_record *at;               /* at[0] is the head */
    xp_journal_head head;
    void *memory;                /* the file; owner of the strings and the data */
} xp_records;

typedef struct xp_journal xp_journal;

/* "OUT.journal" and "OUT.ckpt", freed with ag_free; NULL without memory. */
char *xp_journal_name(const char *out);
char *xp_journal_checkpoint_name(const char *out);

/* AG_ECONFIG: missing (and not to be made), not a file, not a journal, or locked (names the process); AG_EIO; AG_ENOMEM.
 * A dead process holds no lock. */
ag_code xp_journal_open(xp_journal **j, const char *out, bool create, ag_error *err);
bool xp_journal_empty(const xp_journal *j);
/* Unlocks; an empty journal is removed. NULL is allowed. */
void xp_journal_close(xp_journal *j);
/* Removes the file and closes. */
ag_code xp_journal_remove(xp_journal *j, ag_error *err);

ag_code xp_journal_start(xp_journal *j, const xp_journal_head *head, ag_error *err);
/* Written to the system at once, to the disk by xp_journal_sync. On AG_EIO the journal is as it was. */
ag_code xp_journal_append(xp_journal *j, xp_record_type type, const void *data, size_t bytes, ag_error *err);
ag_code xp_journal_sync(xp_journal *j, ag_error *err);
xp_journal_mark xp_journal_end(const xp_journal *j);
/* Drops everything behind the mark, which must be one of this journal's. */
ag_code xp_journal_rewind(xp_journal *j, const xp_journal_mark *mark, ag_error *err);

/* Reads and verifies everything. A last record that is cut short is left out: that is how a crash looks. AG_EDATA: not a
 * journal, damaged, no head; AG_ECONFIG: of another format. On failure *r holds nothing to release. */
ag_code xp_journal_load(const xp_journal *j, xp_records *r, ag_error *err);
/* The same without a lock: what stands there now. */
ag_code xp_journal_read(const char *out, xp_records *r, ag_error *err);
/* The same from n bytes in memory, which stay the caller's and must outlive r; name stands in messages. */
ag_code xp_journal_parse(xp_records *r, const void *bytes, size_t n, const char *name, ag_error *err);
void xp_records_release(xp_records *r);
/* The record that ends at the mark: its index, or -1. */
int64_t xp_records_find(const xp_records *r, const xp_journal_mark *mark);

#endif
