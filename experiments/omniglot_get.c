/* Getting Omniglot (omniglot_get.h): look, download, verify, rename. */
#include "experiments/omniglot_get.h"

#include "experiments/omniglot_cache.h"
#include "experiments/replace_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT = 64 << 20, URL = 2048 };

typedef struct get {
    const xp_omniglot_get_options *o;
    const xp_omniglot_expect *expect;
    char cache[XP_PATH_MAX];
    char final[2][XP_PATH_MAX];      /* where the archives are or go */
    char fresh[2][XP_PATH_MAX];      /* the unverified one; "" when the archive was there */
} get;

static void note(const get *g, const char *text)
{
    if (g->o->note)
        g->o->note(g->o->download.ctx, text);
}

/* ---- what is there ---- */

static ag_code look_into_cache(const get *g, bool *sound, ag_error *err)
{
    char text[AG_MESSAGE_MAX];
    xp_omniglot_pack pack;
    ag_error why = { 0 };
    *sound = false;
    if (access(g->cache, F_OK) != 0)
        return AG_OK;
    ag_code code = xp_omniglot_cache_read(&pack, g->cache, g->expect->digest, &why);
    xp_omniglot_pack_release(&pack);
    AG_REQUIRE(code != AG_ENOMEM, err, code, "%s", why.message);
    *sound = code == AG_OK;
    snprintf(text, sizeof text, "note: the packed Omniglot is spoilt and will be made anew (%.1500s)", why.message);
    if (!*sound)
        note(g, text);
    return AG_OK;
}

/* Whether the archive must be downloaded. A whole one may be there unverified: the process was ended in between. */
static bool lacks(const get *g, int part)
{
    return g->fresh[part][0] && access(g->fresh[part], F_OK) != 0;
}

static ag_code place_archive(get *g, const char *dir, const char *inside, int part, ag_error *err)
{
    struct stat st;
    if (xp_omniglot_find_archive(dir, part, g->final[part], NULL) == AG_OK)
        return AG_OK;
    const char *name = xp_omniglot_archive_name(part);
    int n = snprintf(g->final[part], XP_PATH_MAX, "%s%s/%s", dir, inside, name);
    if (n < XP_PATH_MAX)
        n = snprintf(g->fresh[part], XP_PATH_MAX, "%s%s/%s.unverified", dir, inside, name);
    AG_REQUIRE(n < XP_PATH_MAX, err, AG_ECONFIG, "the path %.60s... is longer than %d bytes", dir, XP_PATH_MAX);
    AG_REQUIRE(stat(g->final[part], &st) != 0, err, AG_ECONFIG, "%s: this is no file; expected a zip archive", g->final[part]);
    return AG_OK;
}

static ag_code look(get *g, ag_error *err)
{
    char dir[XP_PATH_MAX];
    const char *data = g->o->data_dir ? g->o->data_dir : getenv("METALORA_DATA");
    AG_TRY(err, xp_omniglot_cache_path(g->o->cache_dir, g->cache, err));
    AG_TRY(err, xp_omniglot_data_dir(g->o->data_dir, g->o->cache_dir, dir, err));
    for (int part = 0; part < 2; part++)
        AG_TRY(err, place_archive(g, dir, data && *data ? "" : "/omniglot", part, err));
    return AG_OK;
}

/* ---- downloading ---- */

static ag_code address(char url[URL], int part, ag_error *err)
{
    const char *base = getenv("METALORA_OMNIGLOT_URL");
    base = base && *base ? base : XP_OMNIGLOT_URL;
    size_t length = strlen(base);
    int n = snprintf(url, URL, "%s%s%s", base, base[length - 1] == '/' ? "" : "/", xp_omniglot_archive_name(part));
    AG_REQUIRE(n < URL, err, AG_ECONFIG, "METALORA_OMNIGLOT_URL: an address of %zu bytes; expected less than %d", length, URL);
    return AG_OK;
}

static ag_code refuse_offline(const get *g, ag_error *err)
{
    char url[2][URL], needed[2 * URL + 16];
    AG_TRY(err, address(url[0], 0, err));
    AG_TRY(err, address(url[1], 1, err));
    bool first = lacks(g, 0), second = lacks(g, 1);
    snprintf(needed, sizeof needed, "%.800s%s%.800s", first ? url[0] : "", first && second ? " and " : "", second ? url[1] : "");
    const char *path = g->final[first ? 0 : 1];
    return ag_fail(err, AG_ECONFIG, "omniglot: --offline was given, and this is not here: %s (both archives together have 16 MB). "
                   "Fetch it where there is a network, put it into %.*s, and give the same command again", needed,
                   (int)(strrchr(path, '/') - path), path);
}

/* For information: archives zipped anew have other ones. */
static ag_code tell_container(const get *g, int part, ag_error *err)
{
    char hex[XP_DIGEST_HEX], line[XP_PATH_MAX];
    int64_t bytes;
    AG_TRY(err, xp_digest_file(g->fresh[part], hex, &bytes, err));
    snprintf(line, sizeof line, "%s: %" PRId64 " bytes, SHA-256 %s", xp_omniglot_archive_name(part), bytes, hex);
    note(g, line);
    return AG_OK;
}

static ag_code download_archive(const get *g, int part, ag_error *err)
{
    char url[URL], line[URL + 64];
    xp_download_options o = g->o->download;
    o.max_bytes = o.max_bytes ? o.max_bytes : LIMIT;
    AG_TRY(err, xp_make_folder_of(g->fresh[part], err));
    if (lacks(g, part)) {
        AG_TRY(err, address(url, part, err));
        snprintf(line, sizeof line, "downloading %s", url);
        note(g, line);
        AG_TRY(err, xp_download(url, g->fresh[part], &o, err));
    }
    return tell_container(g, part, err);
}

/* ---- verifying ---- */

static ag_code refuse_contents(const get *g, const ag_error *why, ag_error *err)
{
    bool kept = !g->fresh[0][0] || !g->fresh[1][0];
    for (int part = 0; part < 2; part++)
        if (g->fresh[part][0])
            unlink(g->fresh[part]);
    return ag_fail(err, AG_EDATA, "%.1200s; what was downloaded is not Omniglot as published and was removed%s%.400s", why->message,
                   kept ? "; if it is the other archive that is spoilt, remove that: " : "",
                   !kept ? "" : g->final[g->fresh[0][0] ? 1 : 0]);
}

static ag_code import_and_rename(const get *g, char *report, size_t n, ag_error *err)
{
    const char *archives[2];
    ag_error why = { 0 };
    bool fresh = g->fresh[0][0] || g->fresh[1][0];
    for (int part = 0; part < 2; part++)
        archives[part] = g->fresh[part][0] ? g->fresh[part] : g->final[part];
    ag_code code = xp_omniglot_import_files(g->expect, archives, g->cache, report, n, &why);
    if (code == AG_EDATA && fresh)
        return refuse_contents(g, &why, err);
    AG_REQUIRE(code == AG_OK, err, code, "%s", why.message);
    for (int part = 0; part < 2; part++)
        if (g->fresh[part][0])
            AG_TRY(err, xp_aside_rename("archive", g->fresh[part], g->final[part], err));
    return AG_OK;
}

static ag_code run(get *g, char *report, size_t n, ag_error *err)
{
    bool sound;
    AG_TRY(err, look(g, err));
    AG_TRY(err, look_into_cache(g, &sound, err));
    bool fresh = g->fresh[0][0] || g->fresh[1][0];
    if (sound && !(fresh && g->o->data_dir)) {
        if (report)
            snprintf(report, n, "omniglot: nothing to get: it is packed in %s", g->cache);
        return AG_OK;
    }
    if (g->o->offline && (lacks(g, 0) || lacks(g, 1)))
        return refuse_offline(g, err);
    for (int part = 0; part < 2; part++)
        if (g->fresh[part][0])
            AG_TRY(err, download_archive(g, part, err));
    return import_and_rename(g, report, n, err);
}

ag_code xp_omniglot_get(const xp_omniglot_get_options *o, char *report, size_t n, ag_error *err)
{
    get *g = ag_alloc_zero(sizeof *g);
    AG_REQUIRE(g, err, AG_ENOMEM, "omniglot: out of memory (%zu bytes)", sizeof *g);
    g->o = o;
    g->expect = o->expect ? o->expect : &xp_omniglot_published;
    ag_code code = run(g, report, n, err);
    ag_free(g);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}
