/* Private to cli*.c: SIGINT and SIGTERM while a run goes on. The first one raises a flag, after which the second one does
 * what it does by default: ends the process. A signal the process was started to ignore stays ignored. SIGPIPE is
 * ignored meanwhile: a reader of the progress who leaves must not end the run. */
#ifndef XP_CLI_STOP_H
#define XP_CLI_STOP_H

#include <signal.h>
#include <stdatomic.h>

/* From now on; the flag is 0 until a signal came. */
const atomic_int *xp_cli_stop_begin(void);
/* The process's own handlers again. */
void xp_cli_stop_end(void);
/* The signal that raised the flag since the last begin, or 0. */
int xp_cli_stop_signal(void);

#endif
