/* metalora run, check and reference: what begins with a configuration. */
#include "experiments/cli_commands.h"
#include "experiments/cli_stop.h"
#include "experiments/results.h"
#include "experiments/runner.h"

#include <inttypes.h>
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

static ag_code run_to(const xp_cli_call *c, const xp_config *config, const char *path, ag_error *err)
{
    const xp_cli_args *a = c->args;
    xp_run_options o = {
        .out = path, .force = a->force, .threads = threads(c, config), .data_dir = a->data_dir, .cache_dir = a->cache_dir,
        .command_line = c->command_line, .progress = a->quiet ? NULL : c->messages, .stop = xp_cli_stop_begin(),
    };
    ag_code code = xp_experiment_run(config, &o, err);
    if (code == AG_OK && (a->json || !a->quiet))
        code = show_file(c, path, err);
    xp_cli_stop_end();
    return code;
}

/* Adds where the part that was done is to be found. */
static ag_code failed(ag_code code, const char *out, const ag_error *why, ag_error *err)
{
    bool stopped = code == AG_ESTOP && xp_cli_stop_signal();
    const char *what = !stopped ? why->message : xp_cli_stop_signal() == SIGINT ? "stopped by SIGINT (Ctrl-C)" : "stopped by SIGTERM";
    bool saved = (code == AG_ESTOP || code == AG_ENAN) && access(out, F_OK) == 0;
    ag_fail(err, code, "%.1500s%s%s", what, saved ? "; what was done is in " : "", saved ? out : "");
    return why->trail[0] ? ag_trail(err, code, why->trail) : code;
}

static ag_code run_config(const xp_cli_call *c, const xp_config *config, ag_error *err)
{
    char path[256];
    snprintf(path, sizeof path, "%s.h5", config->name);   /* a name is short and without slashes */
    const char *out = c->args->out ? c->args->out : path;
    ag_error why = { 0 };
    ag_code code = run_to(c, config, out, &why);
    if (code == AG_OK && !c->args->quiet)
        xp_cli_say(c->messages, "wrote %s", out);
    return code == AG_OK ? code : failed(code, out, &why, err);
}

ag_code xp_cli_run(const xp_cli_call *c, ag_error *err)
{
    xp_config config;
    AG_TRY(err, load_config(c->args, &config, err));
    ag_code code = run_config(c, &config, err);
    xp_config_release(&config);
    return ag_trail(err, code, __func__);
}

/* ---- check, reference ---- */

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
