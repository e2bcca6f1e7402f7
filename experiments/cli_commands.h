/* Private to cli*.c: the functions of the commands, one file a noun. */
#ifndef XP_CLI_COMMANDS_H
#define XP_CLI_COMMANDS_H

#include "experiments/cli_options.h"
#include "experiments/text.h"

ag_code xp_cli_run(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_check(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_reference(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_show(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_data_list(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_data_import(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_data_verify(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_help(const xp_cli_call *c, ag_error *err);

/* "  left      right": right begins at the column and is wrapped there. */
void xp_cli_add_entry(xp_text *t, const char *left, int column, const char *right);
/* What --version prints, freed with ag_free. */
ag_code xp_cli_version(char **text, ag_error *err);

#endif
