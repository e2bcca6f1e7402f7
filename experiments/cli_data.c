/* metalora data: where tasks come from, and the data some of them need. To add a source of published data: a row in
 * `published`. */
#include "experiments/cli_commands.h"
#include "experiments/omniglot_cache.h"
#include "experiments/omniglot_import.h"
#include "experiments/tasks.h"

#include <string.h>
#include <unistd.h>

/* ---- omniglot ---- */

static ag_code verify_omniglot(const char *cache_dir, char *report, size_t n, ag_error *err)
{
    char path[XP_PATH_MAX];
    xp_omniglot_pack pack;
    AG_TRY(err, xp_omniglot_cache_path(cache_dir, path, err));
    AG_REQUIRE(access(path, F_OK) == 0, err, AG_ECONFIG, "omniglot is not imported: there is no %s; see 'metalora data "
               "import --help'", path);
    AG_TRY(err, xp_omniglot_cache_read(&pack, path, XP_OMNIGLOT_DIGEST, err));
    snprintf(report, n, "omniglot: %lld characters x %lld drawings are intact in %s", (long long)pack.n_character,
             (long long)pack.n_drawing, path);
    xp_omniglot_pack_release(&pack);
    return AG_OK;
}

/* ---- the table of published data ---- */

typedef struct published_data {
    const char *source;
    ag_code (*import)(const char *dir, const char *cache_dir, char *report, size_t n, ag_error *err);
    ag_code (*verify)(const char *cache_dir, char *report, size_t n, ag_error *err);
    ag_code (*cache_path)(const char *cache_dir, char *path, ag_error *err);   /* path [XP_PATH_MAX] */
} published_data;

static const published_data published[] = {
    { "omniglot", xp_omniglot_import, verify_omniglot, xp_omniglot_cache_path },
};
enum { N_PUBLISHED = sizeof published / sizeof *published, REPORT_MAX = XP_PATH_MAX + 300, COLUMN = 16 };

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
                   "%s makes its tasks itself: there is nothing to import or verify", source);
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

ag_code xp_cli_data_verify(const xp_cli_call *c, ag_error *err)
{
    const published_data *data;
    char report[REPORT_MAX];
    AG_TRY(err, need_published(c->args->operands.at[0], &data, err));
    ag_code code = data->verify(c->args->cache_dir, report, sizeof report, err);
    if (code != AG_OK)
        return ag_trail(err, xp_cli_input(code), __func__);
    return print_line(c, report, err);
}

static void add_state(xp_text *t, const published_data *data, const char *cache_dir)
{
    char path[XP_PATH_MAX];
    if (data->cache_path(cache_dir, path, NULL) == AG_OK && access(path, R_OK) == 0) {
        xp_text_add(t, "%*sready: ", COLUMN, "");
        xp_text_clean(t, path);
        xp_text_add(t, "\n");
    } else {
        xp_text_add(t, "%*snot imported yet\n", COLUMN, "");
    }
}

ag_code xp_cli_data_list(const xp_cli_call *c, ag_error *err)
{
    xp_text t = { 0 };
    char *text;
    for (int i = 0; xp_source_name(i); i++) {
        const published_data *data = find_published(xp_source_name(i));
        xp_cli_add_entry(&t, xp_source_name(i), COLUMN, xp_source_about(i));
        if (data)
            add_state(&t, data, c->args->cache_dir);
    }
    AG_TRY(err, xp_text_take(&t, &text, err));
    ag_code code = xp_cli_print(c, text, err);
    ag_free(text);
    return code;
}
