/* metalora run, resume, check, reference and schema: what begins with a configuration. */
#include "experiments/cli_commands.h"
#include "experiments/cli_stop.h"
#include "experiments/results.h"
#include "experiments/runner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The configuration with the overrides of the command line; --seed comes last and wins. */
static ag_code load_config(const xp_cli_args *a, xp_config *config, ag_error *err)
{
    enum { SEED_TEXT = 32 };
    char seed[SEED_TEXT];
    const char **sets = ag_alloc(((size_t)a->set.n + 1) * sizeof *sets);
    AG_REQUIRE(sets, err, AG_ENOMEM, "out of memory for %d overrides", a->set.n);
    int n = a->set.n;
    if (n)
        memcpy(sets, a->set.at, (size_t)n * sizeof *sets);
    if (a->seed) {
        for (const char *s = a->seed; *s == '0' && s[1]; s++)   /* YAML might read 010 as octal */
            sets[n] = s + 1;
        snprintf(seed, sizeof seed, "seed=%s", a->seed + strspn(a->seed, "0") - (a->seed[strspn(a->seed, "0")] == '\0'));
        sets[n++] = seed;
    }
    ag_code code = xp_config_load(config, a->operands.at[0], n, sets, err);
    ag_free(sets);
    return xp_cli_input(code);
}

/* ---- run ---- */

static int64_t cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n >= 1 ? n : 1;
}

static int64_t chunks(const xp_config *c)
{
    return (c->outer.meta_batch + c->outer.chunk - 1) / c->outer.chunk;
}

static int threads(const xp_cli_call *c, const xp_config *config)
{
    int64_t n = c->args->threads, have = cores(), work = chunks(config);
    if (n > have && !c->args->quiet)
        xp_cli_say(c->messages, "note: %" PRId64 " threads on %" PRId64 " core%s: allowed, not faster", n, have,
                   have == 1 ? "" : "s");
    if (n == 0)
        n = have < work ? have : work;
    return (int)(n < XP_CLI_COUNT_MAX ? n : XP_CLI_COUNT_MAX);
}

static ag_code show_file(const xp_cli_call *c, const char *path, ag_error *err)
{
    char *text;
    AG_TRY(err, xp_results_show(path, c->args->json, xp_cli_colour(c->out), &text, err));
    ag_code code = xp_cli_print(c, text, err);
    ag_free(text);
    return code;
}

static xp_run_options run_options(const xp_cli_call *c, const xp_config *config, const char *path)
{
    const xp_cli_args *a = c->args;
    return (xp_run_options){
        .out = path, .force = a->force, .threads = threads(c, config), .data_dir = a->data_dir, .cache_dir = a->cache_dir,
        .command_line = c->command_line, .progress = a->quiet ? NULL : c->messages, .stop = xp_cli_stop_begin(),
    };
}

static bool is_unfinished(const char *out)
{
    char name[4096];
    return snprintf(name, sizeof name, "%s.journal", out) < (int)sizeof name && access(name, F_OK) == 0;
}

/* Adds where the part that was done is to be found, and how to go on. */
static ag_code failed(ag_code code, const char *out, const ag_error *why, ag_error *err)
{
    bool stopped = code == AG_ESTOP && xp_cli_stop_signal();
    const char *what = !stopped ? why->message : xp_cli_stop_signal() == SIGINT ? "stopped by SIGINT (Ctrl-C)" : "stopped by SIGTERM";
    bool saved = (code == AG_ESTOP || code == AG_ENAN) && access(out, F_OK) == 0;
    bool goes_on = (code == AG_ESTOP || code == AG_EIO || code == AG_ENOMEM) && is_unfinished(out);
    ag_fail(err, code, "%.1500s%s%s%s%s", what, saved ? "; what was done is in " : "", saved ? out : "",
            goes_on ? "; to go on: metalora resume " : "", goes_on ? out : "");
    return why->trail[0] ? ag_trail(err, code, why->trail) : code;
}

/* Begins the run, or goes on with it, and shows its table. */
static ag_code run_to(const xp_cli_call *c, const xp_config *config, const char *out, bool resume, ag_error *err)
{
    const xp_cli_args *a = c->args;
    ag_error why = { 0 };
    xp_run_options o = run_options(c, config, out);
    ag_code code = resume ? xp_experiment_resume(&o, &why) : xp_experiment_run(config, &o, &why);
    if (code == AG_OK && (a->json || !a->quiet))
        code = show_file(c, out, &why);
    xp_cli_stop_end();
    if (code == AG_OK && !a->quiet)
        xp_cli_say(c->messages, "wrote %s", out);
    return code == AG_OK ? code : failed(code, out, &why, err);
}

/* ---- one episode ---- */

/* "7:3" */
static ag_code read_episode(const char *text, int64_t *iteration, int64_t *task, ag_error *err)
{
    char *end = NULL;
    errno = 0;
    bool digits = strspn(text, "0123456789:") == strlen(text) && *text != ':';
    *iteration = strtoll(text, &end, 10);
    digits = digits && *end == ':' && end[1];
    *task = digits ? strtoll(end + 1, &end, 10) : 0;
    AG_REQUIRE(digits && !*end && errno == 0, err, AG_ECONFIG, "--replay: '%s'; expected ITER:TASK, such as 7:3, with iterations "
               "from 1 and tasks from 0", text);
    return AG_OK;
}

static void write_number(xp_text *t, bool json, const char *key, const char *words, double v)
{
    if (json) {
        xp_text_add(t, ",\"%s\":", key);
        xp_text_json_number(t, v);
    } else {
        xp_text_add(t, "  %-16s%.9g\n", words, v);
    }
}

static ag_code episode_text(const xp_episode_report *r, bool json, char **text, ag_error *err)
{
    xp_text t = { 0 };
    const char *from = r->checkpoint < 0 ? "trained from the start" : r->trained > 0 ? "from the checkpoint, trained further" : "from the checkpoint";
    xp_text_add(&t, json ? "{\"iteration\":%" PRId64 ",\"task\":%" PRId64 ",\"seed\":%" PRIu64 ",\"finite\":%s"
                         : "iteration %" PRId64 ", task %" PRId64 ", seed %" PRIu64 ": %s\n",
                r->iteration, r->task, r->seed, json ? (r->finite ? "true" : "false") : r->finite ? "finite" : "not finite");
    write_number(&t, json, "support_loss", "support loss", r->support_loss);
    write_number(&t, json, "query_loss", "query loss", r->query_loss);
    write_number(&t, json, "query_accuracy", "query accuracy", r->query_accuracy);
    write_number(&t, json, "grad_norm", "gradient norm", r->grad_norm);
    if (json && r->checkpoint >= 0)
        xp_text_add(&t, ",\"checkpoint\":%" PRId64 ",\"trained\":%" PRId64 "}\n", r->checkpoint, r->trained);
    else if (json)
        xp_text_add(&t, ",\"checkpoint\":null,\"trained\":%" PRId64 "}\n", r->trained);
    else
        xp_text_add(&t, "  %-16s%s (%" PRId64 " iterations trained now)\n", "parameters", from, r->trained);
    return xp_text_take(&t, text, err);
}

static ag_code replay_to(const xp_cli_call *c, const xp_config *config, const char *out, ag_error *err)
{
    int64_t iteration, task;
    xp_episode_report report;
    char *text;
    AG_TRY(err, read_episode(c->args->replay, &iteration, &task, err));
    xp_run_options o = run_options(c, config, out);
    ag_code code = xp_experiment_replay(config, &o, iteration, task, &report, err);
    xp_cli_stop_end();
    AG_TRY(err, code);
    AG_TRY(err, episode_text(&report, c->args->json, &text, err));
    code = xp_cli_print(c, text, err);
    ag_free(text);
    return code;
}

ag_code xp_cli_run(const xp_cli_call *c, ag_error *err)
{
    xp_config config;
    char path[256];
    AG_TRY(err, load_config(c->args, &config, err));
    snprintf(path, sizeof path, "%s.h5", config.name);   /* a name is short and without slashes */
    const char *out = c->args->out ? c->args->out : path;
    ag_code code = c->args->replay ? replay_to(c, &config, out, err) : run_to(c, &config, out, false, err);
    xp_config_release(&config);
    return ag_trail(err, code, __func__);
}

ag_code xp_cli_resume(const xp_cli_call *c, ag_error *err)
{
    xp_config config;
    const char *out = c->args->operands.at[0];
    ag_code code = xp_unfinished_config(&config, out, err);   /* tells how many threads are of use */
    if (code != AG_OK)
        return ag_trail(err, xp_cli_input(code), __func__);
    code = run_to(c, &config, out, true, err);
    xp_config_release(&config);
    return ag_trail(err, code, __func__);
}

/* ---- check, reference, schema ---- */

static ag_code print_checked(const xp_cli_call *c, const xp_config *config, ag_error *err)
{
    char line[4096];
    if (c->args->print_config)
        return xp_cli_print(c, config->annotated, err);
    snprintf(line, sizeof line, "%s: ok\n", c->args->operands.at[0]);
    return xp_cli_print(c, line, err);
}

ag_code xp_cli_check(const xp_cli_call *c, ag_error *err)
{
    xp_config config;
    AG_TRY(err, load_config(c->args, &config, err));
    ag_code code = print_checked(c, &config, err);
    xp_config_release(&config);
    return ag_trail(err, code, __func__);
}

ag_code xp_cli_reference(const xp_cli_call *c, ag_error *err)
{
    char *text = xp_config_reference();
    AG_REQUIRE(text, err, AG_ENOMEM, "out of memory for the reference page");
    ag_code code = xp_cli_print(c, text, err);
    ag_free(text);
    return code;
}

ag_code xp_cli_schema(const xp_cli_call *c, ag_error *err)
{
    char *text;
    AG_TRY(err, xp_config_schema(&text, err));
    ag_code code = xp_cli_print(c, text, err);
    ag_free(text);
    return code;
}
