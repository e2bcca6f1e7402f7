/* The derivative checker (gradcheck.h). */
#include "tests/autograd/gradcheck.h"
#include "tests/autograd/tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef AG_DOUBLE
#define STEP 5e-4
#define TOLERANCE 2e-7
#define LAST_ORDER 3
#else
#define STEP 2e-3
#define TOLERANCE 4e-3
#define LAST_ORDER 1
#endif

enum { MANY = 48 };   /* inputs of a third derivative of GRADCHECK_INPUTS inputs */

/* A function of several tensors: the one to check, or a derivative of another. */
typedef struct function {
    enum { BASE, REVERSE, FORWARD } kind;
    const struct function *of;
    const gradcheck *check;
    const char *name;
    int n, m;                        /* inputs, outputs */
    ag_spec spec[MANY];              /* of the inputs */
    ag_real *at[MANY];               /* the point where it is checked, [total of spec] */
} function;

/* Numbers of several tensors one after the other. */
typedef struct flat {
    int64_t size[MANY];
    ag_real *data[MANY];
    bool tasks[MANY];
    ag_spec spec[MANY];
} flat;

static int64_t tasks_of(const gradcheck *c)
{
    return c->n_task ? c->n_task : 1;
}

static void flat_free(flat *f, int n)
{
    for (int i = 0; i < n; i++)
        free(f->data[i]);
}

/* y[0..m) from x[0..n) on the tape; entries are NULL after an error. */
static void apply(const function *f, ag_tape *t, ag_tensor *const *x, ag_tensor **y)
{
    if (f->kind == BASE) {
        y[0] = f->check->f(t, x, f->check->ctx);
        return;
    }
    ag_tensor *inner[MANY];
    apply(f->of, t, x, inner);
    if (f->kind == FORWARD) {
        ag_jvp(t, f->of->n, x, x + f->of->n, f->of->m, inner, y);
        return;
    }
    ag_tensor *part[MANY];
    memset(y, 0, (size_t)f->m * sizeof *y);
    for (int j = 0; j < f->of->m; j++) {
        ag_grad(t, inner[j], x[f->of->n + j], f->of->n, x, part);
        for (int k = 0; k < f->of->n; k++)
            y[k] = y[k] ? ag_add(t, y[k], part[k]) : part[k];
    }
}

static bool leaves(const function *f, ag_tape *t, ag_real *const *at, ag_tensor **x)
{
    for (int k = 0; k < f->n; k++)
        x[k] = ag_value(t, &f->spec[k], at[k]);
    return ag_tape_status(t, NULL) == AG_OK;
}

static bool say(char *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool say(char *why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, GRADCHECK_TEXT, fmt, args);
    va_end(args);
    return false;
}

static bool tape_is_well(const ag_tape *t, const char *name, char *why)
{
    ag_error err = { 0 };
    return ag_tape_status(t, &err) == AG_OK || say(why, "%s: %.400s", name, err.message);
}

/* Copies the tensors' numbers out. */
static bool take(const ag_tape *t, const char *name, int n, ag_tensor *const *x, flat *out, char *why)
{
    memset(out, 0, sizeof *out);
    if (!tape_is_well(t, name, why))
        return false;
    for (int i = 0; i < n; i++) {
        if (!x[i])
            return say(why, "%s: output %d is NULL without an error", name, i);
        out->size[i] = total_of(x[i]);
        out->tasks[i] = ag_has_tasks(x[i]);
        out->spec[i] = (ag_spec){ .tasks = out->tasks[i], .ndim = ag_ndim(x[i]) };
        memcpy(out->spec[i].shape, ag_shape(x[i]), (size_t)ag_ndim(x[i]) * sizeof(int64_t));
        out->data[i] = malloc((size_t)(out->size[i] + 1) * sizeof(ag_real));
        if (ag_read(x[i], out->data[i]) != AG_OK)
            return say(why, "%s: output %d cannot be read", name, i);
    }
    return true;
}

static bool evaluate(const function *f, ag_real *const *at, flat *y, char *why)
{
    ag_tensor *x[MANY], *out[MANY];
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .n_task = tasks_of(f->check) }, NULL);
    leaves(f, t, at, x);
    apply(f, t, x, out);
    bool well = take(t, f->name, f->m, out, y, why);
    ag_tape_free(t);
    return well;
}

/* y(x + h v e_k) - y(x - h v e_k), over 2 h, into d. */
static bool quotient(const function *f, int k, const ag_real *v, double h, flat *d, char *why)
{
    int64_t n = spec_total(&f->spec[k], tasks_of(f->check));
    ag_real *at[MANY], *moved = malloc((size_t)(n + 1) * sizeof *moved);
    flat below;
    memcpy(at, f->at, sizeof at);
    at[k] = moved;
    for (int64_t i = 0; i < n; i++)
        moved[i] = f->at[k][i] + (ag_real)h * v[i];
    bool well = evaluate(f, at, d, why);
    for (int64_t i = 0; i < n; i++)
        moved[i] = f->at[k][i] - (ag_real)h * v[i];
    if (well) {
        well = evaluate(f, at, &below, why);
        for (int j = 0; well && j < f->m; j++)
            for (int64_t i = 0; i < d->size[j]; i++)
                d->data[j][i] = (ag_real)((d->data[j][i] - below.data[j][i]) / (2 * h));
        flat_free(&below, f->m);
    }
    free(moved);
    return well;
}

static bool difference(const function *f, int k, const ag_real *v, flat *d, char *why)
{
    flat coarse = { 0 };
    bool well = quotient(f, k, v, STEP / 2, d, why) && quotient(f, k, v, STEP, &coarse, why);
    for (int j = 0; well && j < f->m; j++)
        for (int64_t i = 0; i < d->size[j]; i++)
            d->data[j][i] = (4 * d->data[j][i] - coarse.data[j][i]) / 3;
    flat_free(&coarse, f->m);
    return well;
}

static double largest(const flat *f, int m)
{
    double most = 1;
    for (int j = 0; j < m; j++)
        for (int64_t i = 0; i < f->size[j]; i++)
            most = fmax(most, fabs((double)f->data[j][i]));
    return most;
}

static double tolerance(const gradcheck *c)
{
    return c->tolerance > 0 ? c->tolerance : TOLERANCE;
}

static bool forward_agrees(const function *f, int k, const ag_real *v, const flat *want, char *why)
{
    ag_tensor *x[MANY], *y[MANY], *dy[MANY];
    flat got;
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .n_task = tasks_of(f->check) }, NULL);
    leaves(f, t, f->at, x);
    apply(f, t, x, y);
    ag_tensor *dx = ag_value(t, &f->spec[k], v);
    ag_jvp(t, 1, &x[k], &dx, f->m, y, dy);
    bool well = take(t, f->name, f->m, dy, &got, why);
    double allowed = tolerance(f->check) * largest(want, f->m);
    for (int j = 0; well && j < f->m; j++) {
        if (got.size[j] != want->size[j])
            well = say(why, "%s: the tangent of output %d has %lld numbers, the output %lld", f->name, j,
                       (long long)got.size[j], (long long)want->size[j]);
        for (int64_t i = 0; well && i < want->size[j]; i++)
            if (!(fabs((double)got.data[j][i] - (double)want->data[j][i]) <= allowed))
                well = say(why, "%s: forward derivative by input %d, output %d, entry %lld: %.10g, differences say %.10g",
                           f->name, k, j, (long long)i, (double)got.data[j][i], (double)want->data[j][i]);
    }
    flat_free(&got, f->m);
    ag_tape_free(t);
    return well;
}

static bool reverse_agrees(const function *f, int k, const ag_real *v, const flat *d, ag_random *r, char *why)
{
    ag_tensor *x[MANY], *y[MANY];
    double want = 0, got = 0, scale = 1;
    bool well = true;
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .n_task = tasks_of(f->check) }, NULL);
    leaves(f, t, f->at, x);
    apply(f, t, x, y);
    for (int j = 0; well && j < f->m; j++) {
        ag_real *u = random_reals(r, d->size[j], -1, 1);
        ag_tensor *seed = ag_value(t, &d->spec[j], u), *g = NULL;
        flat numbers;
        ag_grad(t, y[j], seed, 1, &x[k], &g);
        well = take(t, f->name, 1, &g, &numbers, why);
        if (well && numbers.size[0] != spec_total(&f->spec[k], tasks_of(f->check)))
            well = say(why, "%s: the gradient of input %d has %lld numbers, the input %lld", f->name, k,
                       (long long)numbers.size[0], (long long)spec_total(&f->spec[k], tasks_of(f->check)));
        for (int64_t i = 0; well && i < d->size[j]; i++) {
            want += (double)u[i] * (double)d->data[j][i];
            scale = fmax(scale, fabs((double)d->data[j][i]));
        }
        for (int64_t i = 0; well && i < numbers.size[0]; i++)
            got += (double)v[i] * (double)numbers.data[0][i];
        flat_free(&numbers, 1);
        free(u);
    }
    ag_tape_free(t);
    if (well && !(fabs(got - want) <= 3 * tolerance(f->check) * scale))
        well = say(why, "%s: reverse derivative by input %d: %.10g, differences say %.10g", f->name, k, got, want);
    return well;
}

/* Fills g, the derivative of f, and chooses the point of its new inputs. */
static bool derivative(const function *f, int kind, ag_random *r, function *g, char *why)
{
    flat y;
    char name[128];
    memset(g, 0, sizeof *g);
    g->kind = kind;
    g->of = f;
    g->check = f->check;
    g->n = f->n + (kind == REVERSE ? f->m : f->n);
    g->m = kind == REVERSE ? f->n : f->m;
    snprintf(name, sizeof name, "%s%s", kind == REVERSE ? "reverse of " : "forward of ", f->name);
    g->name = strdup(name);
    memcpy(g->spec, f->spec, sizeof g->spec);
    memcpy(g->at, f->at, sizeof g->at);
    if (g->n > MANY)
        return say(why, "%s: too many inputs", g->name);
    bool well = evaluate(f, f->at, &y, why);
    for (int i = 0; well && i < g->n - f->n; i++) {
        g->spec[f->n + i] = kind == REVERSE ? y.spec[i] : f->spec[i];
        g->at[f->n + i] = random_reals(r, spec_total(&g->spec[f->n + i], tasks_of(f->check)), -1, 1);
    }
    flat_free(&y, f->m);
    return well;
}

static bool check(const function *f, int order, ag_random *r, char *why)
{
    for (int k = 0; k < f->n; k++) {
        int64_t n = spec_total(&f->spec[k], tasks_of(f->check));
        ag_real *v = random_reals(r, n, -1, 1);
        flat d = { 0 };
        bool well = difference(f, k, v, &d, why) && forward_agrees(f, k, v, &d, why) && reverse_agrees(f, k, v, &d, r, why);
        flat_free(&d, f->m);
        free(v);
        if (!well)
            return false;
    }
    bool well = true;
    for (int kind = REVERSE; well && order > 1 && kind <= FORWARD; kind++) {
        function *g = calloc(1, sizeof *g);
        well = derivative(f, kind, r, g, why) && check(g, order - 1, r, why);
        for (int i = f->n; i < g->n; i++)
            free(g->at[i]);
        free((char *)g->name);
        free(g);
    }
    return well;
}

/* One number from each of n equal parts of [lo, hi], in random order: no two are close, so that a step ties none. */
static ag_real *spread_reals(ag_random *r, int64_t n, double lo, double hi)
{
    ag_real *data = random_reals(r, n, 0.4, 0.6);
    for (int64_t i = 0; i < n; i++)
        data[i] = (ag_real)(lo + (hi - lo) * ((double)i + (double)data[i]) / (double)n);
    for (int64_t i = n; i > 1; i--) {
        int64_t j = (int64_t)ag_random_below(r, (uint64_t)i);
        ag_real swap = data[i - 1];
        data[i - 1] = data[j];
        data[j] = swap;
    }
    return data;
}

static void base_function(const gradcheck *c, function *f, ag_random *r)
{
    memset(f, 0, sizeof *f);
    f->kind = BASE;
    f->check = c;
    f->name = "f";
    f->n = c->n;
    f->m = 1;
    for (int k = 0; k < c->n; k++) {
        bool preset = c->in[k].lo != 0 || c->in[k].hi != 0;
        f->spec[k] = c->in[k].spec;
        f->at[k] = spread_reals(r, spec_total(&f->spec[k], tasks_of(c)), preset ? c->in[k].lo : -2, preset ? c->in[k].hi : 2);
    }
}

bool gradcheck_run(const gradcheck *c, char *why)
{
    function *f = malloc(sizeof *f);
    ag_random r;
    ag_random_init(&r, c->seed, AG_STREAM_USER, 0, 0);
    base_function(c, f, &r);
    int order = c->order ? c->order : 2;
    bool well = check(f, order < LAST_ORDER ? order : LAST_ORDER, &r, why);
    for (int k = 0; k < f->n; k++)
        free(f->at[k]);
    free(f);
    return well;
}

static bool all_zero(const flat *f, int m, const char *mode, char *why)
{
    for (int j = 0; j < m; j++)
        for (int64_t i = 0; i < f->size[j]; i++)
            if (f->data[j][i] != 0)
                return say(why, "%s derivative: %.10g where 0 is expected", mode, (double)f->data[j][i]);
    return true;
}

bool gradcheck_zero(const gradcheck *c, char *why)
{
    function *f = malloc(sizeof *f), *g = malloc(sizeof *g);
    ag_random r;
    ag_random_init(&r, c->seed, AG_STREAM_USER, 0, 0);
    base_function(c, f, &r);
    bool well = true;
    for (int kind = REVERSE; well && kind <= FORWARD; kind++) {
        flat d = { 0 };
        well = derivative(f, kind, &r, g, why) && evaluate(g, g->at, &d, why) &&
               all_zero(&d, g->m, kind == REVERSE ? "reverse" : "forward", why);
        flat_free(&d, g->m);
        for (int i = f->n; i < g->n; i++)
            free(g->at[i]);
        free((char *)g->name);
    }
    for (int k = 0; k < f->n; k++)
        free(f->at[k]);
    free(f);
    free(g);
    return well;
}
