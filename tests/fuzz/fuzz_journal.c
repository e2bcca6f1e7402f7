/* Journals, as they are and with every digest made right, so that what the records tell is reached: it is put into a
 * result file as on resuming. */
#include "experiments/journal_file.h"
#include "experiments/run_internal.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAD = 2 * sizeof(uint32_t), PRELUDE = sizeof(xp_journal_prelude), RESTORED_MOST = 32 };

/* Records stand one behind the other, inside the bytes; each is found by its mark. */
static void check_records(const xp_records *r, const uint8_t *data, size_t size)
{
    const uint8_t *at = data + PRELUDE;
    for (size_t i = 0; i < r->n; i++) {
        const xp_record *record = &r->at[i];
        const uint8_t *end = (const uint8_t *)record->data + record->bytes;
        fuzz_check((const uint8_t *)record->data == at + HEAD && (size_t)(data + size - end) >= XP_JOURNAL_TAG, "record %zu", i);
        fuzz_check(record->end.length == (uint64_t)(end - data) + XP_JOURNAL_TAG, "record %zu ends elsewhere", i);
        fuzz_check(xp_records_find(r, &record->end) == (int64_t)i, "record %zu is not found", i);
        at = end + XP_JOURNAL_TAG;
    }
}

static void restore(const xp_records *r)
{
    char path[64];
    const xp_config c = { .name = "fuzz", .repeats = 1, .resolved = (char *)(uintptr_t)"name: fuzz\n" };
    const xp_provenance p = { .version = "0" };
    snprintf(path, sizeof path, "fuzz-journal-%ld.h5", (long)getpid());
    const xp_run_options o = { .out = path, .force = true };
    xp_context x = { .c = &c, .o = &o };
    ag_error err = { 0 };
    fuzz_check(xp_results_create(&x.results, path, true, &c, &p, &err) == AG_OK, "%s", err.message);
    const int64_t last = (int64_t)r->n - 1 < RESTORED_MOST ? (int64_t)r->n - 1 : RESTORED_MOST;
    fuzz_answer(xp_log_restore(&x, r, last, &err), &err);
    xp_results_abandon(x.results);
}

static bool parse(const uint8_t *data, size_t size, bool restored)
{
    xp_records r;
    ag_error err = { 0 };
    if (!fuzz_answer(xp_journal_parse(&r, data, size, "fuzz", &err), &err)) {
        fuzz_check(!r.at && r.n == 0, "a refused journal holds something");
        return false;
    }
    check_records(&r, data, size);
    if (restored && r.n > 1)
        restore(&r);
    xp_records_release(&r);
    return true;
}

/* Prelude, lengths that reach behind the end, digests. */
static void mend(uint8_t *data, size_t size)
{
    const xp_journal_prelude prelude = xp_journal_make_prelude();
    uint8_t tag[XP_JOURNAL_TAG];
    memcpy(data, &prelude, sizeof prelude);
    memcpy(tag, data, sizeof tag);
    for (size_t at = PRELUDE; size - at >= HEAD + XP_JOURNAL_TAG;) {
        uint32_t bytes;
        const size_t most = size - at - HEAD - XP_JOURNAL_TAG;
        memcpy(&bytes, data + at + sizeof bytes, sizeof bytes);
        if (bytes > most)
            bytes = (uint32_t)most;
        memcpy(data + at + sizeof bytes, &bytes, sizeof bytes);
        xp_journal_chain(tag, data + at, HEAD + bytes);
        memcpy(data + at + HEAD + bytes, tag, sizeof tag);
        at += HEAD + bytes + XP_JOURNAL_TAG;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(data, size, false);
    if (size < PRELUDE)
        return 0;
    uint8_t *mended = (uint8_t *)fuzz_string(data, size);
    mend(mended, size);
    parse(mended, size, true);
    free(mended);
    return 0;
}
