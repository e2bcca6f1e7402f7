/* One workload of the benchmark, run by metalora:
 *
 *     bench_workload CASE.safetensors [--threads N] [--tasks N] [--steps K] [--chunk N] [--keep MB] [--algorithm NAME]
 *                                     [--seconds S] [--iterations N] [--gradient FILE]
 *
 * Runs meta-iterations (outer gradient and outer step) for S seconds but at least `check` + 1 of them, or N exactly, and
 * prints one line of JSON; bench/peers/common.py prints the same of a peer. FILE gets the first meta-gradient, float32.
 * bench/run.py makes cases and calls this. */
#include "bench/workload/case.h"

#include "autograd/gemm.h"
#include "meta/optimizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_ITERATIONS = 20000, USUAL_KEEP = 512 };   /* the latter as outer.keep_memory [MB] */

typedef struct bench_run {
    bench_case c;
    meta_learner *learner;
    meta_state state;
    meta_optimizer outer;
    ag_real *grad;
    int64_t done;                        /* meta-iterations */
    double ms[MAX_ITERATIONS], loss0, loss, first_end, cpu;
} bench_run;

typedef struct bench_arguments {
    const char *path, *gradient;
    bench_changes change;
    double seconds;
    int64_t iterations;
} bench_arguments;

static double clock_s(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static ag_code prepare(bench_run *r, const bench_arguments *a, ag_error *err)
{
    AG_TRY(err, bench_case_open(&r->c, a->path, &a->change, err));
    AG_TRY(err, meta_learner_new(&r->learner, &r->c.model, &r->c.options, err));
    AG_TRY(err, meta_state_init(&r->state, r->learner, 1, err));
    AG_TRY(err, bench_case_start(&r->c, r->state.values, err));
    meta_optimizer_options o = { .kind = r->c.options.algorithm == META_REPTILE ? META_SGD : META_ADAM };
    AG_TRY(err, meta_optimizer_init(&r->outer, &o, r->state.n, err));
    r->grad = ag_alloc((size_t)r->state.n * sizeof *r->grad);
    AG_REQUIRE(r->grad, err, AG_ENOMEM, "no memory for a gradient");
    return AG_OK;
}

static void release(bench_run *r)
{
    ag_free(r->grad);
    meta_optimizer_release(&r->outer);
    meta_state_release(&r->state);
    meta_learner_free(r->learner);
    bench_case_close(&r->c);
}

static ag_code iterate(bench_run *r, ag_error *err)
{
    meta_report report;
    double start = clock_s(CLOCK_MONOTONIC);
    r->c.batch = r->done % r->c.n_batch;
    AG_TRY(err, meta_outer_gradient(r->learner, &r->state, &(meta_batch){ .n_task = r->c.n_task, .fetch = bench_case_fetch, .ctx = &r->c },
                                    r->grad, &report, err));
    meta_optimizer_step(&r->outer, r->c.outer_lr, r->grad, r->state.values);
    r->ms[r->done] = 1e3 * (clock_s(CLOCK_MONOTONIC) - start);
    /* Reptile does not look at the query: the support's loss before the first step is what peers have too */
    r->loss = r->done <= r->c.check ? (r->c.options.algorithm == META_REPTILE ? report.support_loss : report.query_loss) : r->loss;
    r->done++;
    return AG_OK;
}

static ag_code keep_gradient(const bench_run *r, const char *path, ag_error *err)
{
    FILE *f = fopen(path, "wb");
    AG_REQUIRE(f, err, AG_EIO, "%s: cannot be written", path);
    size_t n = fwrite(r->grad, sizeof *r->grad, (size_t)r->state.n, f);
    AG_REQUIRE(fclose(f) == 0 && n == (size_t)r->state.n, err, AG_EIO, "%s: cannot be written", path);
    return AG_OK;
}

static ag_code first_iteration(bench_run *r, const bench_arguments *a, ag_error *err)
{
    AG_TRY(err, iterate(r, err));
    r->first_end = clock_s(CLOCK_MONOTONIC);
    r->loss0 = r->loss;
    return a->gradient ? keep_gradient(r, a->gradient, err) : AG_OK;
}

/* The replays; bench/count.py counts the instructions in here by this name. */
ag_code bench_steady(bench_run *r, const bench_arguments *a, ag_error *err);
ag_code bench_steady(bench_run *r, const bench_arguments *a, ag_error *err)
{
    double start = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    int64_t least = a->iterations ? a->iterations : r->c.check + 1, most = a->iterations ? a->iterations : MAX_ITERATIONS;
    while (r->done < least || (r->done < most && clock_s(CLOCK_MONOTONIC) - start < a->seconds))
        AG_TRY(err, iterate(r, err));
    r->cpu = r->done > 1 ? 1e3 * (clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)(r->done - 1) : 0;
    return AG_OK;
}

/* Of this program alone: ru_maxrss would be the parent's where that was larger. */
static double peak_mb(void)
{
    char line[128];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lf", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb / 1024;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_json(bench_run *r)
{
    int64_t skip = r->done > 4 ? 2 : r->done > 1, n = r->done - skip;
    double *ms = r->ms + skip, first = r->ms[0];
    qsort(ms, (size_t)n, sizeof *ms, by_value);
    int sets;
    printf("{\"implementation\": \"metalora\", \"kernels\": \"%s\", \"algorithm\": \"%s\", \"threads\": %d, \"tasks\": %lld, \"steps\": %lld, \"chunk\": %lld, \"n\": %lld, "
           "\"ms\": %.4f, \"ms_min\": %.4f, \"ms_max\": %.4f, \"cpu_ms\": %.4f, \"first_ms\": %.2f, \"first_end\": %.6f, \"loss0\": %.8g, \"loss\": %.8g, "
           "\"peak_mb\": %.1f}\n",
           ag_gemm_sets(&sets)->name, r->c.algorithm, r->c.options.threads, (long long)r->c.n_task, (long long)r->c.options.train_steps, (long long)r->c.options.chunk,
           (long long)n, n % 2 ? ms[n / 2] : (ms[n / 2 - 1] + ms[n / 2]) / 2, ms[0], ms[n - 1], r->cpu, first, r->first_end, r->loss0,
           r->loss, peak_mb());
}

static bool parse(bench_arguments *a, int argc, char **argv)
{
    struct { const char *name; int64_t *count; const char **text; double *real; } known[] = {
        { "--threads", &a->change.threads, NULL, NULL }, { "--tasks", &a->change.tasks, NULL, NULL }, { "--steps", &a->change.steps, NULL, NULL },
        { "--chunk", &a->change.chunk, NULL, NULL }, { "--keep", &a->change.keep, NULL, NULL }, { "--algorithm", NULL, &a->change.algorithm, NULL }, { "--seconds", NULL, NULL, &a->seconds },
        { "--iterations", &a->iterations, NULL, NULL }, { "--gradient", NULL, &a->gradient, NULL },
    };
    a->path = argc > 1 ? argv[1] : NULL;
    for (int i = 2; i < argc; i += 2) {
        size_t k = 0;
        while (k < sizeof known / sizeof *known && strcmp(known[k].name, argv[i]) != 0)
            k++;
        if (k == sizeof known / sizeof *known || i + 1 == argc)
            return false;
        if (known[k].count)
            *known[k].count = atoll(argv[i + 1]);
        else if (known[k].real)
            *known[k].real = atof(argv[i + 1]);
        else
            *known[k].text = argv[i + 1];
    }
    return a->path && a->iterations >= 0 && a->iterations <= MAX_ITERATIONS;
}

int main(int argc, char **argv)
{
    static bench_run r;
    bench_arguments a = { .seconds = 5, .change.keep = USUAL_KEEP };
    ag_error err = { 0 };
    if (!parse(&a, argc, argv)) {
        fprintf(stderr, "bench_workload CASE.safetensors [--threads N] [--tasks N] [--steps K] [--chunk N] [--keep MB] [--algorithm NAME] [--seconds S] "
                        "[--iterations N] [--gradient FILE]\n");
        return 2;
    }
    ag_code code = prepare(&r, &a, &err);
    if (code == AG_OK)
        code = first_iteration(&r, &a, &err);
    if (code == AG_OK)
        code = bench_steady(&r, &a, &err);
    if (code == AG_OK)
        print_json(&r);
    else
        fprintf(stderr, "bench_workload: %s\n", err.message);
    release(&r);
    return code == AG_OK ? 0 : 1;
}
