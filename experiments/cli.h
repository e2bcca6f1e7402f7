/* The command line. Of all rooms this layer alone prints, and only to the two streams it is given.
 *
 *     int main(int argc, char **argv) { return xp_cli(argc, (const char *const *)argv, stdout, stderr); }
 *
 * out gets results (tables, JSON, help that was asked for), messages everything else (progress, errors, advice).
 * An error is one paragraph "metalora: what, where, what was expected"; with METALORA_TRACE set to anything but
 * nothing, the functions it came through follow. */
#ifndef XP_CLI_H
#define XP_CLI_H

#include <stdio.h>

enum {
    XP_EXIT_DONE = 0,
    XP_EXIT_FAILED = 1,          /* the run failed, or its result could not be written */
    XP_EXIT_MEND = 2,            /* the user can mend it: options, configuration, input files */
    XP_EXIT_SIGNAL = 128         /* plus the signal: stopped by SIGINT (130) or SIGTERM (143) after saving */
};

/* Returns the exit code. Not to be called by two threads at once: it minds the process's signals while a run goes on. */
int xp_cli(int argc, const char *const *argv, FILE *out, FILE *messages);

#endif
