/* What `metalora show` prints: a run as a table for people (80 columns), or as one JSON object for programs. */
#include "experiments/results.h"
#include "experiments/run_summary.h"
#include "experiments/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SPARK_WIDTH = 20, CELL = 32 };

typedef struct style {
    bool colour, utf8;
} style;

static const char *plus_minus(style s)
{
    return s.utf8 ? " ± " : " +- ";
}

/* Wraps what is written between two calls: code "1" is bold, "2" dim, "31" red, "" back to normal. */
static void paint(xp_text *t, style s, const char *code)
{
    if (s.colour)
        xp_text_add(t, "\033[%sm", code);
}

/* ---- numbers ---- */

static void format_special(char cell[CELL], double v)
{
    snprintf(cell, CELL, "%s", isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
}

static void format_number(char cell[CELL], int digits, double v)
{
    if (isfinite(v))
        snprintf(cell, CELL, "%.*g", digits, v);
    else
        format_special(cell, v);
}

/* Mean and interval with as many decimals as give the interval two digits. */
static void format_interval(char mean[CELL], char ci[CELL], double m, double c)
{
    enum { WIDEST = 9 };
    format_number(mean, 4, m);
    format_number(ci, 4, c);
    if (!isfinite(m) || !isfinite(c) || c <= 0)
        return;
    double digits = 1 - floor(log10(c));
    int decimals = digits < 0 ? 0 : digits > 7 ? 7 : (int)digits;
    snprintf(mean, CELL, "%.*f", decimals, m);
    snprintf(ci, CELL, "%.*f", decimals, c);
    if (digits > 7 || strlen(mean) > WIDEST || strlen(ci) > WIDEST) {
        snprintf(mean, CELL, "%.2e", m);
        snprintf(ci, CELL, "%.1e", c);
    }
}

static void add_interval(xp_text *t, style s, double m, double c)
{
    char mean[CELL], ci[CELL];
    format_interval(mean, ci, m, c);
    xp_text_right(t, mean, 11);
    xp_text_add(t, "%s", plus_minus(s));
    xp_text_left(t, ci, 8);
}

static void format_duration(char cell[CELL], double seconds)
{
    if (!(seconds >= 0 && seconds < 1e9))
        snprintf(cell, CELL, "unknown time");
    else if (seconds < 59.95)
        snprintf(cell, CELL, "%.1f s", seconds);
    else if (seconds < 3599.5)
        snprintf(cell, CELL, "%d min %02d s", (int)(seconds + 0.5) / 60, (int)(seconds + 0.5) % 60);
    else
        snprintf(cell, CELL, "%d h %02d min", (int)(seconds / 60 + 0.5) / 60, (int)(seconds / 60 + 0.5) % 60);
}

/* ---- the table ---- */

static bool is_shown(const xp_protocol *p, int64_t i)
{
    const int64_t step = p->step[i];
    return p->n_score <= 11 || step <= 3 || step == 5 || step == 10 || i == p->n_score - 1;
}

static bool any_diverged(const xp_protocol *p)
{
    for (int64_t i = 0; i < p->n_episode * p->n_score; i++)
        if (!isfinite(p->loss[i]) || p->loss[i] > p->diverged_above)
            return true;
    return false;
}

/* Column heads; "of the rest" is the mean without the diverged episodes, where there is room and need for it. */
static void add_heads(xp_text *t, style s, const xp_protocol *p, bool rest)
{
    const int interval = 11 + (s.utf8 ? 3 : 4);
    paint(t, s, "2");
    xp_text_add(t, "  step");
    xp_text_right(t, "mean loss", 11);
    xp_text_left(t, s.utf8 ? " ± 95 % CI" : " +- 95 % CI", interval - 11 + 8);
    xp_text_add(t, "     median  diverged");
    if (rest)
        xp_text_add(t, "   of the rest");
    if (p->accuracy)
        xp_text_add(t, "%s", s.utf8 ? " accuracy % ± 95 % CI" : " accuracy % +- 95 % CI");
    paint(t, s, "");
    xp_text_add(t, "\n");
}

static void add_step(xp_text *t, style s, const xp_protocol *p, int64_t i, bool rest)
{
    xp_summary loss, accuracy;
    char median[CELL];
    xp_run_score(p, i, &loss, &accuracy);
    format_number(median, 4, loss.median);
    xp_text_add(t, "%6" PRId64, p->step[i]);
    add_interval(t, s, loss.mean, loss.ci95);
    xp_text_right(t, median, 11);
    if (loss.diverged)
        paint(t, s, "31");
    xp_text_add(t, "%10" PRId64, loss.diverged);
    if (loss.diverged)
        paint(t, s, "");
    if (rest)
        add_interval(t, s, loss.mean_finite, loss.ci95_finite);
    if (p->accuracy)
        add_interval(t, s, 100 * accuracy.mean, 100 * accuracy.ci95);
    while (t->length && t->data[t->length - 1] == ' ')
        t->length--;
    xp_text_add(t, "\n");
}

static void add_protocol(xp_text *t, style s, const xp_run *run, const xp_protocol *p)
{
    const bool diverged = any_diverged(p), rest = diverged && !p->accuracy;
    xp_text_add(t, "\n");
    paint(t, s, "1");
    xp_text_clean(t, p->name);
    paint(t, s, "");
    xp_text_add(t, ": %" PRId64 " %s, loss in ", p->n_episode, run->repeats > 1 ? "repeats" : "test episodes");
    xp_text_clean(t, p->loss_unit);
    if (diverged && isfinite(p->diverged_above))
        xp_text_add(t, ", diverged above %g", p->diverged_above);
    xp_text_add(t, "\n");
    add_heads(t, s, p, rest);
    for (int64_t i = 0; i < p->n_score; i++)
        if (is_shown(p, i))
            add_step(t, s, p, i, rest);
}

/* ---- the training curve ---- */

/* Means of the finite losses of n_bin stretches of the curve; NaN where there are none. */
static void bin_curve(const xp_curve *c, int n_bin, double *bins)
{
    for (int b = 0; b < n_bin; b++) {
        double sum = 0;
        int64_t n = 0;
        for (int64_t i = c->n * b / n_bin; i < c->n * (b + 1) / n_bin; i++)
            if (isfinite(c->loss[i])) {
                sum += c->loss[i];
                n++;
            }
        bins[b] = n && isfinite(sum) ? sum / (double)n : NAN;
    }
}

static void bounds(const double *v, int n, double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (int i = 0; i < n; i++) {   /* comparisons with NaN are false */
        if (v[i] < *low) *low = v[i];
        if (v[i] > *high) *high = v[i];
    }
}

/* A curve over more than two decades is drawn by its logarithm. */
static bool to_logarithms(double *v, int n, double low, double high)
{
    if (!(low > 0 && high / low > 100))
        return false;
    for (int i = 0; i < n; i++)
        v[i] = log(v[i]);
    return true;
}

static void add_sparkline(xp_text *t, const xp_curve *c)
{
    static const char *const bars[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
    double bins[SPARK_WIDTH], low, high;
    const int n = c->n < SPARK_WIDTH ? (int)c->n : SPARK_WIDTH;
    bin_curve(c, n, bins);
    bounds(bins, n, &low, &high);
    bool logarithmic = to_logarithms(bins, n, low, high);
    if (logarithmic)
        bounds(bins, n, &low, &high);
    const double span = high / 2 - low / 2;   /* halves: the difference of two numbers may be none */
    for (int i = 0; i < n; i++) {
        double height = span > 0 ? (bins[i] / 2 - low / 2) / span : 0;
        xp_text_add(t, "%s", isnan(bins[i]) ? "×" : bars[(int)(height * 7 + 0.5)]);
    }
    xp_text_add(t, "%s  ", logarithmic ? " (log)" : "");
}

/* Mean of a curve's first or last values, as many as one bar of the sparkline stands for: single iterations are noise. */
static double mean_of_bin(const double *v, int64_t n, bool at_end)
{
    int64_t count = n > SPARK_WIDTH ? n / SPARK_WIDTH : 1, from = at_end ? n - count : 0;
    double sum = 0;
    for (int64_t i = from; i < from + count; i++)
        sum += v[i];
    return sum / (double)count;
}

static void add_curve(xp_text *t, style s, const char *label, const xp_curve *c)
{
    char first[CELL], last[CELL];
    if (c->n == 0)
        return;
    format_number(first, 3, mean_of_bin(c->loss, c->n, false));
    format_number(last, 3, mean_of_bin(c->loss, c->n, true));
    xp_text_add(t, "  ");
    xp_text_left(t, label, 17);
    if (s.utf8 && c->n > 1)
        add_sparkline(t, c);
    xp_text_add(t, "%s %s %s", first, s.utf8 ? "→" : "->", last);
    double accuracy = mean_of_bin(c->accuracy, c->n, true);
    if (isfinite(accuracy))
        xp_text_add(t, ", accuracy %.1f %%", 100 * accuracy);
    xp_text_add(t, "\n");
}

/* ---- heading ---- */

static const char *status_colour(const char *status)
{
    return strcmp(status, "complete") == 0 ? "32" : strcmp(status, "failed") == 0 ? "31" : "33";
}

static void add_progress(xp_text *t, const xp_run *run)
{
    if (strcmp(run->status, "complete") == 0 || run->train.n == 0)
        xp_text_add(t, "%" PRId64 " iterations", run->iterations);
    else
        xp_text_add(t, "iteration %" PRId64 " of %" PRId64, run->train.iteration[run->train.n - 1], run->iterations);
}

static void add_heading(xp_text *t, style s, const xp_run *run, const char *digest)
{
    char duration[CELL];
    format_duration(duration, run->seconds);
    paint(t, s, "1");
    xp_text_clean(t, run->name);
    paint(t, s, "");
    xp_text_add(t, ": ");
    paint(t, s, status_colour(run->status));
    xp_text_clean(t, run->status);
    paint(t, s, "");
    xp_text_add(t, " (metalora ");
    xp_text_clean(t, run->version);
    xp_text_add(t, ")");
    if (run->repeats > 1)
        xp_text_add(t, "\n  seeds %" PRIu64 " to %" PRIu64 ", ", run->seed, run->seed + (uint64_t)run->repeats - 1);
    else
        xp_text_add(t, "\n  seed %" PRIu64 ", ", run->seed);
    add_progress(t, run);
    xp_text_add(t, ", %s on %" PRId64 " thread%s\n  digest %s\n", duration, run->threads, run->threads == 1 ? "" : "s",
                digest);
}

static void add_table(xp_text *t, style s, const xp_run *run, const char *digest)
{
    add_heading(t, s, run, digest);
    add_curve(t, s, "training loss", &run->train);
    add_curve(t, s, "validation loss", &run->validation);
    if (run->n_protocol == 0)
        xp_text_add(t, "\n  no test scores%s\n", strcmp(run->status, "running") == 0 ? " yet" : "");
    for (int i = 0; i < run->n_protocol; i++)
        add_protocol(t, s, run, &run->protocols[i]);
}

/* ---- JSON ---- */

static void json_key(xp_text *t, const char *key)
{
    if (t->length && t->data[t->length - 1] != '{')
        xp_text_add(t, ",");
    xp_text_add(t, "\"%s\":", key);
}

static void json_real(xp_text *t, const char *key, double v)
{
    json_key(t, key);
    xp_text_json_number(t, v);
}

static void json_int(xp_text *t, const char *key, int64_t v)
{
    json_key(t, key);
    xp_text_add(t, "%" PRId64, v);
}

static void json_string(xp_text *t, const char *key, const char *v)
{
    json_key(t, key);
    xp_text_json_string(t, v);
}

static void json_summary(xp_text *t, const char *key, const xp_summary *s)
{
    json_key(t, key);
    xp_text_add(t, "{");
    json_real(t, "mean", s->mean);
    json_real(t, "ci95", s->ci95);
    json_real(t, "median", s->median);
    json_real(t, "min", s->min);
    json_real(t, "max", s->max);
    json_int(t, "diverged", s->diverged);
    json_real(t, "mean_finite", s->mean_finite);
    json_real(t, "ci95_finite", s->ci95_finite);
    xp_text_add(t, "}");
}

static void json_protocol(xp_text *t, const xp_protocol *p)
{
    xp_text_add(t, "{");
    json_string(t, "name", p->name);
    json_int(t, "episodes", p->n_episode);
    json_string(t, "loss_unit", p->loss_unit);
    json_real(t, "diverged_above", p->diverged_above);
    json_key(t, "steps");
    xp_text_add(t, "[");
    for (int64_t i = 0; i < p->n_score; i++) {
        xp_summary loss, accuracy;
        xp_run_score(p, i, &loss, &accuracy);
        xp_text_add(t, i ? ",{" : "{");
        json_int(t, "step", p->step[i]);
        json_summary(t, "loss", &loss);
        if (p->accuracy)
            json_summary(t, "accuracy", &accuracy);
        xp_text_add(t, "}");
    }
    xp_text_add(t, "]}");
}

static void json_curve(xp_text *t, const char *key, const xp_curve *c)
{
    json_key(t, key);
    xp_text_add(t, "{");
    json_int(t, "rows", c->n);
    if (c->n > 0) {
        json_int(t, "last_iteration", c->iteration[c->n - 1]);
        json_real(t, "first_loss", c->loss[0]);
        json_real(t, "last_loss", c->loss[c->n - 1]);
        json_real(t, "last_accuracy", c->accuracy[c->n - 1]);
    }
    xp_text_add(t, "}");
}

static void add_json(xp_text *t, const xp_run *run, const char *digest)
{
    xp_text_add(t, "{");
    json_string(t, "file", run->path);
    json_string(t, "name", run->name);
    json_string(t, "status", run->status);
    json_key(t, "seed");
    xp_text_add(t, "%" PRIu64, run->seed);
    json_int(t, "repeats", run->repeats);
    json_int(t, "iterations", run->iterations);
    json_int(t, "threads", run->threads);
    json_real(t, "seconds", run->seconds);
    json_string(t, "started", run->started);
    json_string(t, "host", run->host);
    json_string(t, "version", run->version);
    json_string(t, "precision", run->precision);
    json_string(t, "instruction_set", run->instruction_set);
    json_string(t, "gemm", run->gemm);
    json_string(t, "libraries", run->libraries);
    json_string(t, "digest", digest);
    json_curve(t, "train", &run->train);
    json_curve(t, "validation", &run->validation);
    json_key(t, "test");
    xp_text_add(t, "[");
    for (int i = 0; i < run->n_protocol; i++) {
        xp_text_add(t, i ? "," : "");
        json_protocol(t, &run->protocols[i]);
    }
    xp_text_add(t, "]}\n");
}

ag_code xp_results_show(const char *path, bool json, bool colour, char **text, ag_error *err)
{
    xp_run run;
    xp_text t = { 0 };
    char digest[65];
    AG_REQUIRE(text, err, AG_EINVAL, "xp_results_show: text is NULL");
    *text = NULL;
    AG_TRY(err, xp_results_digest(path, digest, err));
    AG_TRY(err, xp_run_read(&run, path, err));
    if (json)
        add_json(&t, &run, digest);
    else
        add_table(&t, (style){ colour, xp_text_utf8() }, &run, digest);
    xp_run_release(&run);
    return xp_text_take(&t, text, err);
}
