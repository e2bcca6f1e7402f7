/* A bar on a terminal, plain lines elsewhere (progress.h). */
#include "experiments/progress.h"

#include "experiments/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double BAR_SECONDS = 0.1, LINE_SECONDS = 10, SMOOTH_SECONDS = 15;

enum { LINE = 512, PART = 64, MIN_BAR = 5, MAX_BAR = 40, MAX_STRIDE = 16 };

static double system_clock(void *ctx)
{
    struct timespec t;
    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double now(const xp_progress *p)
{
    return p->o.clock(p->o.clock_ctx);
}

static bool set(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

static xp_progress_kind choose_kind(const xp_progress_options *o)
{
    if (!o->stream || o->quiet)
        return XP_PROGRESS_NONE;
    if (o->kind != XP_PROGRESS_AUTO)
        return o->kind;
    const char *term = getenv("TERM");
    int fd = fileno(o->stream);
    bool smart = term && *term && strcmp(term, "dumb") != 0;
    return smart && fd >= 0 && isatty(fd) ? XP_PROGRESS_BAR : XP_PROGRESS_LINES;
}

/* Asked at every drawing: a window may be resized. */
static int columns(const xp_progress *p)
{
    struct winsize size;
    if (p->o.columns > 0)
        return p->o.columns;
    int fd = fileno(p->o.stream);
    if (fd >= 0 && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    const char *text = getenv("COLUMNS");
    long n = text ? strtol(text, NULL, 10) : 0;
    return n > 0 && n < 10000 ? (int)n : 80;
}

void xp_progress_init(xp_progress *p, const xp_progress_options *o)
{
    *p = (xp_progress){ .o = *o, .kind = choose_kind(o), .loss = NAN, .done = o->first };
    if (!p->o.clock)
        p->o.clock = system_clock;
    p->colour = !set("NO_COLOR");
    p->utf8 = xp_text_utf8();
    p->next_look = p->rate_done = o->first;
    if (p->kind != XP_PROGRESS_NONE)
        p->started = p->shown = p->rate_time = now(p);
}

/* ---- texts ---- */

/* "07:05" or "1:02:03"; "?" when unknown. */
static void format_time(char part[PART], double seconds)
{
    if (!(seconds >= 0 && seconds < 3.6e7)) {
        snprintf(part, PART, "?");
        return;
    }
    int s = (int)seconds;
    if (s < 3600)
        snprintf(part, PART, "%02d:%02d", s / 60, s % 60);
    else
        snprintf(part, PART, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
}

static void format_rate(char part[PART], double rate, const char *unit)
{
    if (!(rate > 0))
        snprintf(part, PART, "? %s/s", unit);
    else if (rate >= 9999.5)
        snprintf(part, PART, "%.*fk %s/s", rate < 99950 ? 1 : 0, rate / 1000, unit);
    else
        snprintf(part, PART, "%.*f %s/s", rate < 9.95 ? 2 : rate < 99.5 ? 1 : 0, rate, unit);
}

static double fraction(const xp_progress *p)
{
    double f = p->o.total > 0 ? (double)p->done / (double)p->o.total : 0;
    return f < 0 ? 0 : f > 1 ? 1 : f;
}

/* "train  42%" */
static void format_left(const xp_progress *p, char text[LINE])
{
    int n = snprintf(text, LINE, "%.40s%s", p->o.label ? p->o.label : "", p->o.label ? " " : "");
    if (p->o.total > 0)
        snprintf(text + n, (size_t)(LINE - n), "%3d%%", (int)(100 * fraction(p)));
}

/* "2100/5000 00:12<00:17, 690 tasks/s, loss 0.412, val 0.398" */
static void format_right(const xp_progress *p, double elapsed, char text[LINE])
{
    char took[PART], left[PART], speed[PART], loss[PART] = "";
    double remaining = p->rate > 0 ? (double)(p->o.total - p->done) / p->rate : -1;
    format_time(took, elapsed);
    format_time(left, remaining);
    format_rate(speed, p->rate * (double)(p->o.tasks > 0 ? p->o.tasks : 1), p->o.unit ? p->o.unit : p->o.tasks > 0 ? "tasks" : "it");
    if (!isnan(p->loss))
        snprintf(loss, sizeof loss, ", loss %.4g", p->loss);
    else if (p->done > p->o.first && !p->o.unit)
        snprintf(loss, sizeof loss, ", loss nan");
    int n = snprintf(text, LINE, "%" PRId64, p->done);
    if (p->o.total > 0)
        n += snprintf(text + n, (size_t)(LINE - n), "/%" PRId64 " %s<%s", p->o.total, took, left);
    else
        n += snprintf(text + n, (size_t)(LINE - n), " %s", took);
    snprintf(text + n, (size_t)(LINE - n), ", %s%s%s%s", speed, loss, *p->score ? ", " : "", p->score);
}

/* ---- drawing ---- */

static void draw_cells(const xp_progress *p, int width)
{
    static const char *const eighths[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
    const int parts = p->utf8 ? 8 : 1, filled = (int)(fraction(p) * width * parts + 1e-9);
    int cells = filled / parts;
    fputs(p->colour ? " \033[32m" : " ", p->o.stream);
    for (int i = 0; i < cells; i++)
        fputs(p->utf8 ? "█" : "#", p->o.stream);
    if (filled % parts) {
        fputs(eighths[filled % parts], p->o.stream);
        cells++;
    }
    fprintf(p->o.stream, "%s%*s ", p->colour ? "\033[0m" : "", width - cells, "");
}

/* Keeps the first `width` characters. */
static void truncate_text(char *text, int width)
{
    for (; *text; text++)
        if (((unsigned char)*text & 0xc0) != 0x80 && width-- <= 0) {
            *text = '\0';
            return;
        }
}

/* Some columns stay free: a full line would scroll some terminals, and Ctrl-C is echoed behind it as ^C. */
static void draw_bar(const xp_progress *p, double elapsed)
{
    enum { FREE = 3 };
    char left[LINE], right[LINE];
    format_left(p, left);
    format_right(p, elapsed, right);
    truncate_text(left, columns(p) - FREE);
    int room = columns(p) - FREE - xp_text_width(left), bar = room - xp_text_width(right) - 2;
    fprintf(p->o.stream, "\r\033[K%s", left);
    if (p->o.total > 0 && bar >= MIN_BAR)
        draw_cells(p, bar < MAX_BAR ? bar : MAX_BAR);
    else {
        fputs(room > 0 ? " " : "", p->o.stream);
        truncate_text(right, room - 1);
    }
    fputs(right, p->o.stream);
}

static void draw_line(const xp_progress *p, double elapsed)
{
    char left[LINE], right[LINE];
    format_left(p, left);
    format_right(p, elapsed, right);
    fprintf(p->o.stream, "%s %s\n", left, right);
}

static void draw(xp_progress *p, double time)
{
    if (p->kind == XP_PROGRESS_BAR)
        draw_bar(p, time - p->started);
    else
        draw_line(p, time - p->started);
    fflush(p->o.stream);
    p->drawn = true;
    p->shown = time;
}

/* ---- the loop's side ---- */

/* The rate is smoothed over about SMOOTH_SECONDS, so that the time left is calm and still follows a change. */
static void measure(xp_progress *p, double time)
{
    double span = time - p->rate_time, n = (double)(p->done - p->rate_done);
    if (span < BAR_SECONDS || n <= 0)
        return;
    double old = p->rate > 0 ? exp(-span / SMOOTH_SECONDS) : 0;
    p->rate = old * p->rate + (1 - old) * n / span;
    p->rate_time = time;
    p->rate_done = p->done;
}

/* Looks at the clock about 20 times a second when iterations are short, at each of them when they are long. */
static int64_t stride(const xp_progress *p)
{
    double n = p->rate * BAR_SECONDS / 2;
    return n < 1 ? 1 : n > MAX_STRIDE ? MAX_STRIDE : (int64_t)n;
}

void xp_progress_update(xp_progress *p, int64_t done, double loss)
{
    p->done = done;
    p->loss = loss;
    if (p->kind == XP_PROGRESS_NONE || done < p->next_look)
        return;
    double time = now(p), pause = p->kind == XP_PROGRESS_BAR ? BAR_SECONDS : LINE_SECONDS;
    measure(p, time);
    p->next_look = done + stride(p);
    if (time - p->shown >= pause)
        draw(p, time);
}

void xp_progress_score(xp_progress *p, const char *text)
{
    snprintf(p->score, sizeof p->score, "%s", text ? text : "");
}

void xp_progress_line(xp_progress *p, const char *text)
{
    if (p->kind == XP_PROGRESS_NONE)
        return;
    bool bar = p->kind == XP_PROGRESS_BAR && p->drawn;
    fprintf(p->o.stream, "%s%s\n", bar ? "\r\033[K" : "", text);
    if (bar)
        draw(p, now(p));
    fflush(p->o.stream);
}

void xp_progress_release(xp_progress *p)
{
    if (p->kind == XP_PROGRESS_BAR && p->drawn)
        fputs("\r\033[K", p->o.stream);
    if (p->kind == XP_PROGRESS_LINES && p->done > p->o.first) {
        double time = now(p);
        measure(p, time);
        draw(p, time);
    }
    if (p->kind != XP_PROGRESS_NONE)
        fflush(p->o.stream);
    p->kind = XP_PROGRESS_NONE;
}
