/* Private to cli*.c: the functions of the commands, one file a noun. */
#ifndef XP_CLI_COMMANDS_H
#define XP_CLI_COMMANDS_H

#include "experiments/cli_options.h"
#include "experiments/text.h"

ag_code xp_cli_run(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_resume(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_check(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_reference(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_adapt(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_predict(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_export(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_show(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_data_list(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_data_get(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_data_import(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_data_verify(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_schema(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_completion(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_manual(const xp_cli_call *c, ag_error *err);
ag_code xp_cli_help(const xp_cli_call *c, ag_error *err);

/* "  left      right": right begins at the column and is wrapped there. */
void xp_cli_add_entry(xp_text *t, const char *left, int column, const char *right);
/* The manual page of a command; NULL: of the program. Freed with ag_free. */
ag_code xp_cli_manual_page(const xp_cli_command *command, char **text, ag_error *err);
/* Name of the i-th source of published data; NULL behind the last. */
const char *xp_cli_published(int i);
/* What --version prints, freed with ag_free. */
ag_code xp_cli_version(char **text, ag_error *err);

#endif
