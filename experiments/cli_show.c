/* metalora show: a result file as a table or as JSON. */
#include "experiments/cli_commands.h"
#include "experiments/results.h"

ag_code xp_cli_show(const xp_cli_call *c, ag_error *err)
{
    char *text;
    ag_code code = xp_results_show(c->args->operands.at[0], c->args->json, xp_cli_colour(c->out), &text, err);
    if (code != AG_OK)
        return ag_trail(err, xp_cli_input(code), __func__);
    code = xp_cli_print(c, text, err);
    ag_free(text);
    return ag_trail(err, code, __func__);
}
