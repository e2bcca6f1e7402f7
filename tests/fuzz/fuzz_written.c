/* What a run writes, whatever its names and numbers, is read back and can be shown. The bytes: seven lines (name,
 * configuration, status, protocol, unit, parameter, command line), then numbers. */
#include "experiments/results.h"
#include "experiments/run_summary.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME, CONFIG, STATUS, PROTOCOL, UNIT, PARAMETER, COMMAND, LINES, NUMBERS = 64 };
static char path[64];

typedef struct run {
    char *text;
    const char *line[LINES];
    double number[NUMBERS];
    int n;                       /* numbers, at least 1 */
} run;

static void run_init(run *r, const uint8_t *data, size_t size)
{
    char *at = r->text = fuzz_string(data, size);
    const char *end = at + size;
    for (int i = 0; i < LINES; i++) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        r->line[i] = at;
        if (stop)
            *stop = '\0';
        at = stop ? stop + 1 : r->text + size;
    }
    r->number[0] = 0.5;
    r->n = (int)((size_t)(end - at) / sizeof(double));
    r->n = r->n < NUMBERS ? r->n : NUMBERS;
    memcpy(r->number, at, (size_t)r->n * sizeof(double));
    r->n += r->n == 0;
}

static ag_code write_rows(xp_results *w, const run *r, ag_error *err)
{
    ag_real values[NUMBERS];
    uint64_t seeds[NUMBERS];
    const int64_t shape = r->n;
    for (int i = 0; i < r->n; i++) {
        const double v = r->number[i];
        values[i] = (ag_real)i;
        memcpy(&seeds[i], &v, sizeof v);
        AG_TRY(err, xp_results_train(w, &(xp_train_row){ (int64_t)seeds[i], v, v, v, v, v, v }, err));
        AG_TRY(err, xp_results_validation(w, &(xp_validation_row){ i, v, v }, err));
    }
    const double *accuracy = r->n % 2 ? NULL : r->number;
    const xp_scores s = { r->line[PROTOCOL], r->n, 1, r->number, accuracy, seeds, r->line[UNIT], r->number[0], NULL };
    AG_TRY(err, xp_results_scores(w, &s, err));
    AG_TRY(err, xp_results_parameter(w, r->line[PARAMETER], 1, &shape, values, err));
    return xp_results_system(w, "seconds", r->number[0], "s", err);
}

static ag_code write_run(const run *r, ag_error *err)
{
    xp_results *w;
    char name[] = "", *resolved = (char *)(uintptr_t)r->line[CONFIG];
    const xp_config c = { .name = *r->line[NAME] ? r->line[NAME] : name, .seed = (uint64_t)r->n, .repeats = 1, .resolved = resolved };
    const xp_provenance p = { "0", "0", "0", "0", r->line[COMMAND], 1, r->line[UNIT] };
    AG_TRY(err, xp_results_create(&w, path, true, &c, &p, err));
    ag_code code = write_rows(w, r, err);
    if (code == AG_OK)
        return xp_results_close(w, r->line[STATUS], err);
    xp_results_abandon(w);
    return code;
}

static void check_read(const run *r)
{
    xp_run back;
    ag_error err = { 0 };
    fuzz_check(xp_run_read(&back, path, &err) == AG_OK, "written, but not read: %s", err.message);
    fuzz_check(strcmp(back.name, r->line[NAME]) == 0 && strcmp(back.config, r->line[CONFIG]) == 0, "other strings");
    fuzz_check(back.train.n == r->n && memcmp(back.train.loss, r->number, (size_t)r->n * sizeof(double)) == 0, "other losses");
    fuzz_check(back.n_protocol == 1 && strcmp(back.protocols[0].name, r->line[PROTOCOL]) == 0, "another protocol");
    fuzz_check(memcmp(back.protocols[0].loss, r->number, (size_t)r->n * sizeof(double)) == 0, "other scores");
    xp_run_release(&back);
}

static void check_shown(bool json)
{
    char *text;
    ag_error err = { 0 };
    fuzz_check(xp_results_show(path, json, false, &text, &err) == AG_OK, "written, but not shown: %s", err.message);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        fuzz_check((*c >= 0x20 && *c != 0x7F) || *c == '\n', "the control character %d reached the terminal", *c);
    ag_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run r;
    ag_error err = { 0 };
    run_init(&r, data, size);
    setenv("LC_ALL", "C.UTF-8", 1);   /* so that curves are drawn */
    snprintf(path, sizeof path, "fuzz-written-%ld.h5", (long)getpid());   /* tests run side by side */
    if (fuzz_answer(write_run(&r, &err), &err)) {
        check_read(&r);
        check_shown(false);
        check_shown(true);
        unlink(path);
    } else
        fuzz_check(err.code == AG_EINVAL || err.code == AG_ENOMEM || err.code == AG_EIO, "%s: %s", ag_code_name(err.code),
                   err.message);
    free(r.text);
    return 0;
}
