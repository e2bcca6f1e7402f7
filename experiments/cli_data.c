/* metalora data: where tasks come from, and the data some of them need; and models. To add a source of published data: a row in
 * `published`. To add a model: a row in model_store.c. */
#include "experiments/cli_data.h"

#include "experiments/cli_commands.h"
#include "experiments/cli_stop.h"
#include "experiments/model_store.h"
#include "experiments/omniglot_cache.h"
#include "experiments/omniglot_get.h"
#include "experiments/omniglot_import.h"
#include "experiments/progress.h"
#include "experiments/tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REPORT_MAX = XP_CLI_REPORT_MAX, COLUMN = 16 };

/* ---- omniglot ---- */

static ag_code get_omniglot(const char *name, const xp_cli_args *a, const xp_download_options *download,
                            void (*note)(void *ctx, const char *text), char *report, size_t n, ag_error *err)
{
    (void)name;
    xp_omniglot_get_options o = {
        .data_dir = a->data_dir, .cache_dir = a->cache_dir, .offline = a->offline, .download = *download, .note = note,
    };
    return xp_omniglot_get(&o, report, n, err);
}

static ag_code import_omniglot(const char *name, const char *dir, const char *cache_dir, char *report, size_t n, ag_error *err)
{
    (void)name;
    return xp_omniglot_import(dir, cache_dir, report, n, err);
}

static ag_code verify_omniglot_archives(const char *name, const char *dir, char *report, size_t n, ag_error *err)
{
    (void)name;
    char path[2][XP_PATH_MAX], text[300];
    for (int part = 0; part < 2; part++)
        AG_TRY(err, xp_omniglot_find_archive(dir, part, path[part], err));
    AG_TRY(err, xp_omniglot_import_files(&xp_omniglot_published, (const char *const[]){ path[0], path[1] }, NULL, text,
                                         sizeof text, err));
    snprintf(report, n, "%s in %s", text, dir);
    return AG_OK;
}

static ag_code verify_omniglot_cache(const char *name, const char *cache_dir, char *report, size_t n, ag_error *err)
{
    (void)name;
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
static ag_code look_at_omniglot(const char *name, const char *cache_dir, bool *ready, char *state, size_t n, ag_error *err)
{
    (void)name;
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

static const xp_published omniglot = {
    "to download 16 MB", "with the archives in DIR", "published at https://github.com/brendenlake/omniglot", get_omniglot,
    import_omniglot, verify_omniglot_archives, verify_omniglot_cache, look_at_omniglot,
};

static const struct {
    const char *source;
    const xp_published *data;
} published[] = {
    { "omniglot", &omniglot },
};
enum { N_PUBLISHED = sizeof published / sizeof *published };

const char *xp_cli_published(int i)
{
    const xp_model_package *m = i < N_PUBLISHED ? NULL : xp_model_at(i - N_PUBLISHED);
    return i < N_PUBLISHED ? published[i].source : m ? m->name : NULL;
}

static const xp_published *find_published(const char *name)
{
    for (int i = 0; i < N_PUBLISHED; i++)
        if (strcmp(published[i].source, name) == 0)
            return published[i].data;
    return xp_model_named(name) ? &xp_cli_model : NULL;
}

/* ---- sources read from files as they are ---- */

static const struct {
    const char *source;
    const char *file;                /* in DIR/SOURCE or DIR; NULL: tasks.path names it */
} unpacked[] = {
    { "clinc150", "data_full.json" }, { "banking77", "train.csv" }, { "hwu64", "hwu64_10fold.csv" },
    { "caltech101", "caltech101_32px_rgb_u8.bin.gz" }, { "text", NULL }, { "arrays", NULL },
};
enum { N_UNPACKED = sizeof unpacked / sizeof *unpacked };

/* -1: it is none of them. */
static int find_unpacked(const char *source)
{
    for (int i = 0; i < N_UNPACKED; i++)
        if (strcmp(unpacked[i].source, source) == 0)
            return i;
    return -1;
}

static void add_unpacked(xp_text *t, int i)
{
    const char *dir = getenv("METALORA_DATA"), *name = unpacked[i].source, *file = unpacked[i].file;
    char path[XP_PATH_MAX];
    xp_text_add(t, "%*s", COLUMN, "");
    if (!file) {
        xp_text_add(t, "reads the file that tasks.path names\n");
        return;
    }
    for (int inside = 1; inside >= 0 && dir && *dir; inside--) {
        int n = snprintf(path, sizeof path, "%s/%s%s%s", dir, inside ? name : "", inside ? "/" : "", file);
        if (n < XP_PATH_MAX && access(path, R_OK) == 0) {
            xp_text_add(t, "there: ");
            xp_text_clean(t, path);
            xp_text_add(t, "\n");
            return;
        }
    }
    xp_text_add(t, "not there: METALORA_DATA or --data-dir is to name a folder with\n%*s%s/%s\n", COLUMN, "", name, file);
}

static ag_code need_published(const char *name, const xp_published **data, ag_error *err)
{
    char names[200] = "";
    size_t used = 0;
    *data = find_published(name);
    if (*data)
        return AG_OK;
    for (int i = 0; xp_source_name(i); i++)
        AG_REQUIRE(strcmp(xp_source_name(i), name) != 0, err, AG_ECONFIG,
                   "%s %s: there is nothing to get, import or verify", name,
                   find_unpacked(name) >= 0 ? "is read from its files as they are" : "makes its tasks itself");
    for (int i = 0; xp_cli_published(i) && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", xp_cli_published(i));
    return ag_fail(err, AG_ECONFIG, "there is no source or model '%s' with published data; expected one of %s", name, names);
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
    const xp_published *data;
    char report[REPORT_MAX];
    const char *source = c->args->operands.at[0], *dir = c->args->operands.at[1];
    AG_TRY(err, need_published(source, &data, err));
    if (!c->args->quiet)
        xp_cli_say(c->messages, "reading %s in %s", source, dir);
    ag_code code = data->import(source, dir, c->args->cache_dir, report, sizeof report, err);
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

static ag_code get_interruptibly(const xp_cli_call *c, const xp_published *data, char *report, size_t n, ag_error *err)
{
    shown s = { .call = c };
    xp_download_options download = { .stop = xp_cli_stop_begin(), .progress = show_progress, .ctx = &s };
    ag_code code = data->get(c->args->operands.at[0], c->args, &download, show_note, report, n, err);
    end_progress(&s);
    xp_cli_stop_end();
    return code;
}

ag_code xp_cli_data_get(const xp_cli_call *c, ag_error *err)
{
    const xp_published *data;
    char report[REPORT_MAX];
    AG_TRY(err, need_published(c->args->operands.at[0], &data, err));
    AG_TRY(err, get_interruptibly(c, data, report, sizeof report, err));
    return print_line(c, report, err);
}

/* ---- verify ---- */

static ag_code verify(const xp_cli_call *c, const xp_published *data, ag_error *err)
{
    const char *name = c->args->operands.at[0];
    char report[REPORT_MAX];
    if (c->args->data_dir) {
        AG_TRY(err, data->verify_archives(name, c->args->data_dir, report, sizeof report, err));
        AG_TRY(err, print_line(c, report, err));
    }
    AG_TRY(err, data->verify_cache(name, c->args->cache_dir, report, sizeof report, err));
    return print_line(c, report, err);
}

ag_code xp_cli_data_verify(const xp_cli_call *c, ag_error *err)
{
    const xp_published *data;
    AG_TRY(err, need_published(c->args->operands.at[0], &data, err));
    ag_code code = verify(c, data, err);
    return code == AG_OK ? code : ag_trail(err, xp_cli_input(code), __func__);
}

/* ---- list ---- */

static ag_code add_state(xp_text *t, const char *name, const char *cache_dir, ag_error *err)
{
    const xp_published *data = find_published(name);
    char state[REPORT_MAX + AG_MESSAGE_MAX];
    bool ready;
    AG_TRY(err, data->look(name, cache_dir, &ready, state, sizeof state, err));
    xp_text_add(t, "%*s", COLUMN, "");
    xp_text_clean(t, state);
    if (!ready)
        xp_text_add(t, "\n%*s%s:%*smetalora data get %s\n%*s%s:%*smetalora data import %s DIR", COLUMN, "", data->to_get,
                    27 - (int)strlen(data->to_get) - 1, "", name, COLUMN, "", data->to_import, 27 - (int)strlen(data->to_import) - 1,
                    "", name);
    if (data->origin)
        xp_text_add(t, "\n%*s%s", COLUMN, "", data->origin);
    xp_text_add(t, "\n");
    return AG_OK;
}

static ag_code add_source(xp_text *t, int i, const char *cache_dir, ag_error *err)
{
    xp_cli_add_entry(t, xp_source_name(i), COLUMN, xp_source_about(i));
    if (find_published(xp_source_name(i)))
        return add_state(t, xp_source_name(i), cache_dir, err);
    if (find_unpacked(xp_source_name(i)) >= 0)
        add_unpacked(t, find_unpacked(xp_source_name(i)));
    else
        xp_text_add(t, "%*sready: makes its tasks itself\n", COLUMN, "");
    return AG_OK;
}

static ag_code add_all(xp_text *t, const char *cache_dir, ag_error *err)
{
    for (int i = 0; xp_source_name(i); i++)
        AG_TRY(err, add_source(t, i, cache_dir, err));
    xp_text_add(t, "\nmodels, for model.path:\n");
    for (int i = 0; xp_model_at(i); i++) {
        xp_cli_add_entry(t, xp_model_at(i)->name, COLUMN, xp_model_at(i)->about);
        AG_TRY(err, add_state(t, xp_model_at(i)->name, cache_dir, err));
    }
    return AG_OK;
}

ag_code xp_cli_data_list(const xp_cli_call *c, ag_error *err)
{
    xp_text t = { 0 };
    char *text;
    ag_code code = add_all(&t, c->args->cache_dir, err);
    if (code != AG_OK) {
        xp_text_release(&t);
        return ag_trail(err, code, __func__);
    }
    AG_TRY(err, xp_text_take(&t, &text, err));
    code = xp_cli_print(c, text, err);
    ag_free(text);
    return code;
}
