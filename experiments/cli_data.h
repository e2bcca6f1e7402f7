/* Private to cli_data*.c: what 'metalora data' does with one kind of published data. */
#ifndef XP_CLI_DATA_H
#define XP_CLI_DATA_H

#include "experiments/cache.h"
#include "experiments/cli_options.h"
#include "experiments/download.h"

enum { XP_CLI_REPORT_MAX = XP_PATH_MAX + 300 };

/* name: of the source or model. report and state [n] get one line for the user. */
typedef struct xp_published {
    const char *to_get, *to_import;  /* what the two commands need, for the list */
    const char *origin;              /* for the list; may be NULL */
    ag_code (*get)(const char *name, const xp_cli_args *a, const xp_download_options *download,
                   void (*note)(void *ctx, const char *text), char *report, size_t n, ag_error *err);
    ag_code (*import)(const char *name, const char *dir, const char *cache_dir, char *report, size_t n, ag_error *err);
    ag_code (*verify_archives)(const char *name, const char *dir, char *report, size_t n, ag_error *err);
    ag_code (*verify_cache)(const char *name, const char *cache_dir, char *report, size_t n, ag_error *err);
    /* "ready: ..." or what is wrong; *ready says which. Fails with AG_ENOMEM only. */
    ag_code (*look)(const char *name, const char *cache_dir, bool *ready, char *state, size_t n, ag_error *err);
} xp_published;

extern const xp_published xp_cli_model;      /* every model of model_store.h */

#endif
