/* metalora data: where tasks come from, and the data some of them need. To add a source of published data: a row in
 * `published`. */
#include "experiments/cli_commands.h"
#include "experiments/cli_stop.h"
#include "experiments/omniglot_cache.h"
#include "experiments/omniglot_get.h"
#include "experiments/omniglot_import.h"
#include "experiments/progress.h"
#include "experiments/tasks.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { REPORT_MAX = XP_PATH_MAX + 300, COLUMN = 16 };

/* ---- omniglot ---- */

static ag_code get_omniglot(const xp_cli_args *a, const xp_download_options *download, void (*note)(void *ctx, const char *text),
                            char *report, size_t n, ag_error *err)
{
    xp_omniglot_get_options o = {
        .data_dir = a->data_dir, .cache_dir = a->cache_dir, .offline = a->offline, .download = *download, .note = note,
    };
    return xp_omniglot_get(&o, report, n, err);
}

static ag_code verify_omniglot_archives(const char *dir, char *report, size_t n, ag_error *err)
{
    char path[2][XP_PATH_MAX], text[300];
    for (int part = 0; part < 2; part++)
        AG_TRY(err, xp_omniglot_find_archive(dir, part, path[part], err));
    AG_TRY(err, xp_omniglot_import_files(&xp_omniglot_published, (const char *const[]){ path[0], path[1] }, NULL, text,
                                         sizeof text, err));
    snprintf(report, n, "%s in %s", text, dir);
    return AG_OK;
}

static ag_code verify_omniglot_cache(const char *cache_dir, char *report, size_t n, ag_error *err)
{
    char path[XP_PATH_MAX];
    xp_omniglot_pack pack;
    AG_TRY(err, xp_omniglot_cache_path(cache_dir, path, err));
    AG_REQUIRE(access(path, F_OK) == 0, err, AG_ECONFIG, "omniglot is not imported: there is no %s; see 'metalora data get "
               "--help' and 'metalora data import --help'", path);
    AG_TRY(err, xp_omniglot_cache_read(&pack, path, XP_OMNIGLOT_DIGEST, err));
    snprintf(report, n, "omniglot: %lld characters x %lld drawings are intact in %s", (long long)pack.n_character,
             (long long)pack.n_drawing, path);
    xp_omniglot_pack_release(&pack);
    return AG_OK;
}

/* "ready: ..." or what is wrong with it; *ready says which. Fails with AG_ENOMEM only. */
static ag_code look_at_omniglot(const char *cache_dir, bool *ready, char *state, size_t n, ag_error *err)
{
    char path[XP_PATH_MAX];
    xp_omniglot_pack pack;
    ag_error why = { 0 };
    *ready = false;
    snprintf(state, n, "not there");
    if (xp_omniglot_cache_path(cache_dir, path, &why) != AG_OK || access(path, F_OK) != 0)
        return AG_OK;
    ag_code code = xp_omniglot_cache_read(&pack, path, XP_OMNIGLOT_DIGEST, &why);
    AG_REQUIRE(code != AG_ENOMEM, err, code, "%s", why.message);
    *ready = code == AG_OK;
    if (*ready)
        snprintf(state, n, "ready: %s, %.1f MB, of the data with digest %.12s...", path,
                 1e-6 * (double)(pack.n_character * pack.n_drawing * XP_OMNIGLOT_PIXELS), XP_OMNIGLOT_DIGEST);
    else
        snprintf(state, n, "spoilt: %s", why.message);
    xp_omniglot_pack_release(&pack);
    return AG_OK;
}

/* ---- the table of published data ---- */

typedef struct published_data {
    const char *source;
    const char *origin, *size;       /* for the list */
    ag_code (*get)(const xp_cli_args *a, const xp_download_options *download, void (*note)(void *ctx, const char *text),
                   char *report, size_t n, ag_error *err);
    ag_code (*import)(const char *dir, const char *cache_dir, char *report, size_t n, ag_error *err);
    ag_code (*verify_archives)(const char *dir, char *report, size_t n, ag_error *err);
    ag_code (*verify_cache)(const char *cache_dir, char *report, size_t n, ag_error *err);
    ag_code (*look)(const char *cache_dir, bool *ready, char *state, size_t n, ag_error *err);
} published_data;

static const published_data published[] = {
    { "omniglot", "https://github.com/brendenlake/omniglot", "16 MB", get_omniglot, xp_omniglot_import,
      verify_omniglot_archives, verify_omniglot_cache, look_at_omniglot },
};
enum { N_PUBLISHED = sizeof published / sizeof *published };

const char *xp_cli_published(int i)
{
    return i < N_PUBLISHED ? published[i].source : NULL;
}

static const published_data *find_published(const char *source)
{
    for (int i = 0; i < N_PUBLISHED; i++)
        if (strcmp(published[i].source, source) == 0)
            return &published[i];
    return NULL;
}

static ag_code need_published(const char *source, const published_data **data, ag_error *err)
{
    char names[200] = "";
    size_t used = 0;
    *data = find_published(source);
    if (*data)
        return AG_OK;
    for (int i = 0; xp_source_name(i); i++)
        AG_REQUIRE(strcmp(xp_source_name(i), source) != 0, err, AG_ECONFIG,
                   "%s makes its tasks itself: there is nothing to get, import or verify", source);
    for (int i = 0; i < N_PUBLISHED && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", published[i].source);
    return ag_fail(err, AG_ECONFIG, "there is no source '%s' with published data; expected %s", source, names);
}

/* ---- commands ---- */

static ag_code print_line(const xp_cli_call *c, const char *line, ag_error *err)
{
    char text[REPORT_MAX + 2];
    snprintf(text, sizeof text, "%s\n", line);
    return xp_cli_print(c, text, err);
}

ag_code xp_cli_data_import(const xp_cli_call *c, ag_error *err)
{
    const published_data *data;
    char report[REPORT_MAX];
    const char *source = c->args->operands.at[0], *dir = c->args->operands.at[1];
    AG_TRY(err, need_published(source, &data, err));
    if (!c->args->quiet)
        xp_cli_say(c->messages, "reading %s in %s", source, dir);
    ag_code code = data->import(dir, c->args->cache_dir, report, sizeof report, err);
    if (code != AG_OK)
        return ag_trail(err, xp_cli_input(code), __func__);
    return print_line(c, report, err);
}

/* ---- get ---- */

typedef struct shown {
    const xp_cli_call *call;
    xp_progress progress;
    bool drawing;
} shown;

static void end_progress(shown *s)
{
    if (s->drawing)
        xp_progress_release(&s->progress);
    s->drawing = false;
}

/* A line begins the next archive. */
static void show_note(void *ctx, const char *text)
{
    shown *s = ctx;
    end_progress(s);
    if (!s->call->args->quiet)
        xp_cli_say(s->call->messages, "%s", text);
}

static void show_progress(void *ctx, int64_t done, int64_t total)
{
    enum { KB = 1000 };
    shown *s = ctx;
    if (!s->drawing)
        xp_progress_init(&s->progress, &(xp_progress_options){ .stream = s->call->messages, .label = "download", .unit = "kB",
            .first = done / KB, .quiet = s->call->args->quiet });
    s->drawing = true;
    s->progress.o.total = total / KB;
    xp_progress_update(&s->progress, done / KB, NAN);
}

static ag_code get_interruptibly(const xp_cli_call *c, const published_data *data, char *report, size_t n, ag_error *err)
{
    shown s = { .call = c };
    xp_download_options download = { .stop = xp_cli_stop_begin(), .progress = show_progress, .ctx = &s };
    ag_code code = data->get(c->args, &download, show_note, report, n, err);
    end_progress(&s);
    xp_cli_stop_end();
    return code;
}

ag_code xp_cli_data_get(const xp_cli_call *c, ag_error *err)
{
    const published_data *data;
    char report[REPORT_MAX];
    AG_TRY(err, need_published(c->args->operands.at[0], &data, err));
    AG_TRY(err, get_interruptibly(c, data, report, sizeof report, err));
    return print_line(c, report, err);
}

/* ---- verify ---- */

static ag_code verify(const xp_cli_call *c, const published_data *data, ag_error *err)
{
    char report[REPORT_MAX];
    if (c->args->data_dir) {
        AG_TRY(err, data->verify_archives(c->args->data_dir, report, sizeof report, err));
        AG_TRY(err, print_line(c, report, err));
    }
    AG_TRY(err, data->verify_cache(c->args->cache_dir, report, sizeof report, err));
    return print_line(c, report, err);
}

ag_code xp_cli_data_verify(const xp_cli_call *c, ag_error *err)
{
    const published_data *data;
    AG_TRY(err, need_published(c->args->operands.at[0], &data, err));
    ag_code code = verify(c, data, err);
    return code == AG_OK ? code : ag_trail(err, xp_cli_input(code), __func__);
}

/* ---- list ---- */

static ag_code add_state(xp_text *t, const published_data *data, const char *cache_dir, ag_error *err)
{
    char state[REPORT_MAX + AG_MESSAGE_MAX];
    bool ready;
    AG_TRY(err, data->look(cache_dir, &ready, state, sizeof state, err));
    xp_text_add(t, "%*s", COLUMN, "");
    xp_text_clean(t, state);
    if (!ready)
        xp_text_add(t, "\n%*sto download %s:         metalora data get %s\n%*swith the archives in DIR:  metalora data import %s DIR",
                    COLUMN, "", data->size, data->source, COLUMN, "", data->source);
    xp_text_add(t, "\n%*spublished at %s\n", COLUMN, "", data->origin);
    return AG_OK;
}

static ag_code add_source(xp_text *t, int i, const char *cache_dir, ag_error *err)
{
    const published_data *data = find_published(xp_source_name(i));
    xp_cli_add_entry(t, xp_source_name(i), COLUMN, xp_source_about(i));
    if (data)
        return add_state(t, data, cache_dir, err);
    xp_text_add(t, "%*sready: makes its tasks itself\n", COLUMN, "");
    return AG_OK;
}

ag_code xp_cli_data_list(const xp_cli_call *c, ag_error *err)
{
    xp_text t = { 0 };
    char *text;
    ag_code code = AG_OK;
    for (int i = 0; xp_source_name(i) && code == AG_OK; i++)
        code = add_source(&t, i, c->args->cache_dir, err);
    if (code != AG_OK) {
        xp_text_release(&t);
        return ag_trail(err, code, __func__);
    }
    AG_TRY(err, xp_text_take(&t, &text, err));
    code = xp_cli_print(c, text, err);
    ag_free(text);
    return code;
}
