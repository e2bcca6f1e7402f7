/* Another program, run to its end without a shell.
 *
 *     char output[2000];
 *     int status;
 *     xp_process p = { .argv = (const char *const[]){ "python3", "--version", NULL } };
 *     AG_TRY(err, xp_process_run(&p, output, sizeof output, &status, err));
 *
 * It is found through PATH, reads nothing, and is the leader of a process group of its own, so that all it starts ends with it
 * and Ctrl-C reaches it through us only. */
#ifndef XP_PROCESS_H
#define XP_PROCESS_H

#include "autograd/status.h"

#include <stdatomic.h>

typedef struct xp_process {
    const char *const *argv;         /* NULL at the end */
    const char *variable;            /* "TMPDIR=/a/b": set in its environment; NULL: none */
    const atomic_int *stop;          /* not 0: end it and all it started; may be NULL */
    void (*tick)(void *ctx);         /* called several times a second; may be NULL */
    void *ctx;
} xp_process;

/* output [n]: the end of what it wrote to stdout and stderr, NUL-terminated. *status: its exit code, or 128 and the signal that
 * ended it. Fails with AG_ECONFIG (there is no such program in PATH), AG_EIO (it cannot be started or watched), AG_ESTOP,
 * AG_ENOMEM; nothing of it runs on then. */
ag_code xp_process_run(const xp_process *p, char *output, size_t n, int *status, ag_error *err);

#endif
