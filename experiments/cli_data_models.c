/* metalora data, for models (cli_data.h). */
#include "experiments/cli_data.h"

#include "experiments/model_get.h"

#include <unistd.h>

static ag_code get_model(const char *name, const xp_cli_args *a, const xp_download_options *download,
                         void (*note)(void *ctx, const char *text), char *report, size_t n, ag_error *err)
{
    AG_REQUIRE(!a->data_dir, err, AG_ECONFIG, "data get %s: --data-dir is for archives, and a model's wheel is not kept; expected "
               "--cache-dir DIR, or nothing", name);
    xp_model_get_options o = { .cache_dir = a->cache_dir, .offline = a->offline, .stop = download->stop, .note = note,
                               .progress = download->progress, .ctx = download->ctx };
    return xp_model_get(xp_model_named(name), &o, report, n, err);
}

static ag_code import_model(const char *name, const char *dir, const char *cache_dir, char *report, size_t n, ag_error *err)
{
    return xp_model_import(xp_model_named(name), dir, cache_dir, report, n, err);
}

static ag_code verify_wheel(const char *name, const char *dir, char *report, size_t n, ag_error *err)
{
    return xp_model_verify_source(xp_model_named(name), dir, report, n, err);
}

static ag_code verify_model(const char *name, const char *cache_dir, char *report, size_t n, ag_error *err)
{
    const xp_model_package *m = xp_model_named(name);
    char folder[XP_PATH_MAX];
    AG_TRY(err, xp_model_folder(m, cache_dir, folder, err));
    AG_REQUIRE(access(folder, F_OK) == 0, err, AG_ECONFIG, "%s is not there: there is no %s; see 'metalora data get --help' and "
               "'metalora data import --help'", name, folder);
    AG_TRY(err, xp_model_check(m, folder, true, err));
    snprintf(report, n, "%s: %.1f MB as published by %s %s are intact in %s", name, 1e-6 * (double)xp_model_bytes(m), m->package,
             m->version, folder);
    return AG_OK;
}

/* By sizes alone: the list is to come at once. */
static ag_code look_at_model(const char *name, const char *cache_dir, bool *ready, char *state, size_t n, ag_error *err)
{
    const xp_model_package *m = xp_model_named(name);
    char folder[XP_PATH_MAX];
    ag_error why = { 0 };
    *ready = false;
    snprintf(state, n, "not there (%s, %.0f MB to download)", m->licence, 1e-6 * (double)m->wheel_bytes);
    if (xp_model_folder(m, cache_dir, folder, &why) != AG_OK || access(folder, F_OK) != 0)
        return AG_OK;
    ag_code code = xp_model_check(m, folder, false, &why);
    AG_REQUIRE(code != AG_ENOMEM, err, code, "%s", why.message);
    *ready = code == AG_OK;
    if (*ready)
        snprintf(state, n, "ready: %s, %.1f MB (%s)", folder, 1e-6 * (double)xp_model_bytes(m), m->licence);
    else
        snprintf(state, n, "spoilt: %s", why.message);
    return AG_OK;
}

const xp_published xp_cli_model = { "to download", "with its wheel in DIR", NULL, get_model, import_model, verify_wheel, verify_model,
                                    look_at_model };
