/* Private to journal*.c: the file's layout. */
#ifndef XP_JOURNAL_FILE_H
#define XP_JOURNAL_FILE_H

#include "experiments/journal.h"

enum { XP_JOURNAL_FORMAT = 1, XP_JOURNAL_MOST = 1 << 30 };   /* bytes of a record */

extern const char xp_journal_magic[8];

typedef struct xp_journal_prelude {
    char magic[8];
    uint32_t byte_order, format;
} xp_journal_prelude;
_Static_assert(sizeof(xp_journal_prelude) == XP_JOURNAL_TAG, "the prelude is the first tag");

xp_journal_prelude xp_journal_make_prelude(void);
/* tag becomes that of the record (type, bytes, data) which follows it. */
void xp_journal_chain(unsigned char tag[XP_JOURNAL_TAG], const void *record, size_t n);
/* "key\0value\0" for each field; text is freed with ag_free. */
ag_code xp_journal_head_write(const xp_journal_head *head, char **text, size_t *n, ag_error *err);
ag_code xp_journal_read_open(int fd, const char *path, xp_records *r, ag_error *err);

#endif
