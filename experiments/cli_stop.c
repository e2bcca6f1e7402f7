/* Signals while a run goes on (cli_stop.h). */
#include "experiments/cli_stop.h"

#include <string.h>

enum { N_SIGNAL = 3 };
static const int signals[N_SIGNAL] = { SIGINT, SIGTERM, SIGPIPE };
static struct sigaction before[N_SIGNAL];
static atomic_int stop;               /* workers read it too */

static void restore_default(int signal)
{
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_handler = SIG_DFL;
    sigaction(signal, &act, NULL);
}

/* Async-signal-safe. */
static void raise_flag(int signal)
{
    stop = signal;
    restore_default(SIGINT);
    restore_default(SIGTERM);
}

const atomic_int *xp_cli_stop_begin(void)
{
    stop = 0;
    for (int i = 0; i < N_SIGNAL; i++) {
        struct sigaction act;
        memset(&act, 0, sizeof act);
        act.sa_handler = signals[i] == SIGPIPE ? SIG_IGN : raise_flag;
        act.sa_flags = SA_RESTART;
        sigaction(signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &act, NULL);
    }
    return &stop;
}

void xp_cli_stop_end(void)
{
    for (int i = 0; i < N_SIGNAL; i++)
        sigaction(signals[i], &before[i], NULL);
}

int xp_cli_stop_signal(void)
{
    return (int)stop;
}
