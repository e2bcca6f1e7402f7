/* Progress of a long loop on a terminal or in a log, by the rules of tqdm and rich.
 *
 *     xp_progress p;
 *     xp_progress_init(&p, &(xp_progress_options){ .stream = stderr, .label = "train", .total = 5000, .tasks = 4 });
 *     for (...) {
 *         xp_progress_update(&p, done, loss);               // cheap: most calls read no clock
 *         if (...) xp_progress_score(&p, "val 97.3 %");
 *     }
 *     xp_progress_release(&p);
 *
 * A terminal gets a bar, drawn at most 10 times a second and wiped at the end; anything else, and TERM=dumb, gets a
 * plain line every 10 s and one at the end of the loop; quiet gets nothing. NO_COLOR is respected. Only the command
 * line calls this, with its own stream: the library never prints. Nothing is allocated; a stream that fails is left
 * alone. */
#ifndef XP_PROGRESS_H
#define XP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum xp_progress_kind {
    XP_PROGRESS_AUTO,            /* by the stream and the environment */
    XP_PROGRESS_BAR,
    XP_PROGRESS_LINES,
    XP_PROGRESS_NONE
} xp_progress_kind;

typedef struct xp_progress_options {
    FILE *stream;                /* NULL: nothing is shown */
    const char *label;           /* borrowed until release; NULL: none */
    int64_t total;               /* iterations; 0: unknown */
    int64_t first;               /* iterations done before this process began (a resumed run) */
    int64_t tasks;               /* per iteration, for the tasks per second; 0: iterations per second */
    const char *unit;            /* "kB": of these instead of iterations, and no loss; NULL: iterations */
    bool quiet;
    xp_progress_kind kind;
    int columns;                 /* 0: asks the terminal, else COLUMNS, else 80 */
    double (*clock)(void *ctx);  /* monotonic [s]; NULL: the system's */
    void *clock_ctx;
} xp_progress_options;

enum { XP_PROGRESS_SCORE = 48 };

typedef struct xp_progress {
    xp_progress_options o;
    xp_progress_kind kind;
    bool colour, utf8, drawn;
    int64_t done, next_look;     /* the clock is not read before next_look iterations are done */
    double loss, started, shown; /* [s] */
    double rate;                 /* iterations per second, smoothed; 0: not known yet */
    double rate_time;
    int64_t rate_done;
    char score[XP_PROGRESS_SCORE];
} xp_progress;

void xp_progress_init(xp_progress *p, const xp_progress_options *o);
/* done iterations of total; a loss that is NaN is shown as such. */
void xp_progress_update(xp_progress *p, int64_t done, double loss);
/* A short text shown behind the loss from now on, for instance the validation score. */
void xp_progress_score(xp_progress *p, const char *text);
/* A line of its own, above the bar. */
void xp_progress_line(xp_progress *p, const char *text);
/* Wipes the bar, or writes the last plain line. */
void xp_progress_release(xp_progress *p);

#endif
