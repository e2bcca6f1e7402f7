/* The linear tasks of "Provable Meta-Learning with Low-Rank Adaptations" (Block et al. 2024, arXiv 2410.22264):
 *     y = (A* + U* U*^T) x + N(0, noise_std^2),   x ~ N(0, I),   A* shared, U* [d, k] the task's own.
 *
 * A squared loss sees a task only through S = X X^T / N and C = Y X^T / N, so a task of N samples is handed out as d
 * virtual examples with the same moments: with S = L L^T, x~_i = sqrt(d) L e_i and y~_i = sqrt(d) C L^-T e_i. Then
 *     1/d sum_i |M x~_i - y~_i|^2  =  1/N sum_j |M x_j - y_j|^2  -  constant of the task
 * for every M, in double, and the cost of training does not depend on N. N <= d samples are handed out themselves,
 * scaled by sqrt(d / N), and zeros after them.
 *
 * Order of drawing: U* row by row; then for each sample x and its noise. */
#include "experiments/tasks_internal.h"

#include "autograd/random.h"

#include <math.h>
#include <string.h>

enum { MAX_DIM = 64 };   /* an episode is made on the stack: 128 KiB at most */

typedef struct lora_linear {
    int64_t d, k, n_task, n_train, n_test;
    double noise;
    uint64_t seed;
    double *a;       /* [d, d] */
    double *train;   /* [n_task, 2, d, d]: virtual x and y of each training task, one example a row */
} lora_linear;

static ag_code check_knobs(const xp_tasks *t, ag_error *err)
{
    AG_REQUIRE(t->dim >= 1 && t->dim <= MAX_DIM, err, AG_ECONFIG, "tasks.dim: %lld; expected 1 .. %d", (long long)t->dim,
               MAX_DIM);
    AG_REQUIRE(t->true_rank >= 0 && t->true_rank <= t->dim, err, AG_ECONFIG,
               "tasks.true_rank: %lld; expected 0 .. dim = %lld", (long long)t->true_rank, (long long)t->dim);
    AG_REQUIRE(t->n_task >= 1 && t->n_task <= 1000000, err, AG_ECONFIG, "tasks.n_task: %lld; expected 1 .. 1000000",
               (long long)t->n_task);
    AG_REQUIRE(t->train_samples >= 1, err, AG_ECONFIG, "tasks.train_samples: %lld; expected at least 1",
               (long long)t->train_samples);
    AG_REQUIRE(t->test_samples >= 1, err, AG_ECONFIG, "tasks.test_samples: %lld; expected at least 1",
               (long long)t->test_samples);
    AG_REQUIRE(isfinite(t->noise_std) && t->noise_std >= 0, err, AG_ECONFIG,
               "tasks.noise_std: %g; expected a standard deviation of 0 or more", t->noise_std);
    return AG_OK;
}

static void draw_world(lora_linear *s)
{
    int64_t d = s->d;
    ag_random r;
    ag_random_init(&r, s->seed, AG_STREAM_WORLD, 0, 0);
    for (int64_t i = 0; i < d * d; i++)
        s->a[i] = ag_random_normal(&r);
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++)
            s->a[i * d + j] = s->a[j * d + i] = 0.5 * (s->a[i * d + j] + s->a[j * d + i]);
}

/* Starts a task's generator and draws m = A* + U* U*^T. */
static void draw_truth(const lora_linear *s, const xp_episode_id *id, ag_random *r, double *m)
{
    int64_t d = s->d, k = s->k;
    double u[MAX_DIM * MAX_DIM];   /* [d, k] */
    ag_random_init(r, id->seed, id->stream, id->iteration, id->task);
    for (int64_t i = 0; i < d * k; i++)
        u[i] = ag_random_normal(r);
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++) {
            double sum = s->a[i * d + j];
            for (int64_t c = 0; c < k; c++)
                sum += u[i * k + c] * u[j * k + c];
            m[i * d + j] = sum;
        }
}

static void draw_sample(const lora_linear *s, const double *m, ag_random *r, double *x, double *y)
{
    int64_t d = s->d;
    for (int64_t i = 0; i < d; i++)
        x[i] = ag_random_normal(r);
    for (int64_t i = 0; i < d; i++) {
        y[i] = s->noise * ag_random_normal(r);
        for (int64_t j = 0; j < d; j++)
            y[i] += m[i * d + j] * x[j];
    }
}

/* xx = X X^T / n and yx = Y X^T / n, both [d, d]. */
static void draw_moments(const lora_linear *s, const double *m, ag_random *r, int64_t n, double *xx, double *yx)
{
    int64_t d = s->d;
    double x[MAX_DIM], y[MAX_DIM];
    memset(xx, 0, (size_t)(d * d) * sizeof *xx);
    memset(yx, 0, (size_t)(d * d) * sizeof *yx);
    for (int64_t t = 0; t < n; t++) {
        draw_sample(s, m, r, x, y);
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j < d; j++) {
                xx[i * d + j] += x[i] * x[j];
                yx[i * d + j] += y[i] * x[j];
            }
    }
    for (int64_t i = 0; i < d * d; i++) {
        xx[i] /= (double)n;
        yx[i] /= (double)n;
    }
}

/* s [d, d] -> its lower Cholesky factor, in place, zeros above. False when s is not positive definite. */
static int cholesky(double *s, int64_t d)
{
    for (int64_t j = 0; j < d; j++)
        for (int64_t i = 0; i < d; i++) {
            double sum = s[i * d + j];
            for (int64_t c = 0; c < j && i >= j; c++)
                sum -= s[i * d + c] * s[j * d + c];
            if (i == j && !(sum > 0))
                return 0;
            s[i * d + j] = i < j ? 0 : i == j ? sqrt(sum) : sum / s[j * d + j];
        }
    return 1;
}

/* w = c l^-T, in place on c: w l^T = c, row by row. */
static void solve_right(const double *l, double *c, int64_t d)
{
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++) {
            double sum = c[i * d + j];
            for (int64_t p = 0; p < j; p++)
                sum -= c[i * d + p] * l[j * d + p];
            c[i * d + j] = sum / l[j * d + j];
        }
}

/* in place: columns become rows, times scale */
static void transpose_scaled(double *a, int64_t d, double scale)
{
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) {
            double lower = a[i * d + j], upper = a[j * d + i];
            a[i * d + j] = scale * upper;
            a[j * d + i] = scale * lower;
        }
}

/* The d virtual examples of the n samples that follow in r; x, y [d, d], one example a row. */
static ag_code draw_virtual(const lora_linear *s, const double *m, ag_random *r, int64_t n, double *x, double *y, ag_error *err)
{
    int64_t d = s->d;
    if (n <= d) {
        double scale = sqrt((double)d / (double)n);
        memset(x, 0, (size_t)(d * d) * sizeof *x);
        memset(y, 0, (size_t)(d * d) * sizeof *y);
        for (int64_t t = 0; t < n; t++)
            draw_sample(s, m, r, x + t * d, y + t * d);
        for (int64_t i = 0; i < n * d; i++) {
            x[i] *= scale;
            y[i] *= scale;
        }
        return AG_OK;
    }
    draw_moments(s, m, r, n, x, y);
    AG_REQUIRE(cholesky(x, d), err, AG_ENAN,
               "lora-linear: X X^T of %lld samples in %lld dimensions is not positive definite in double; take more samples",
               (long long)n, (long long)d);
    solve_right(x, y, d);
    transpose_scaled(x, d, sqrt((double)d));
    transpose_scaled(y, d, sqrt((double)d));
    return AG_OK;
}

/* Training tasks are a fixed set that seed and iteration of an episode do not touch. */
static xp_episode_id task_of(const lora_linear *s, const xp_episode_id *id)
{
    if (id->stream != AG_STREAM_TRAIN)
        return *id;
    return (xp_episode_id){ s->seed, AG_STREAM_TRAIN, 0, id->task % (uint64_t)s->n_task };
}

static ag_code draw_training_tasks(lora_linear *s, ag_error *err)
{
    int64_t square = s->d * s->d;
    double m[MAX_DIM * MAX_DIM];
    for (int64_t t = 0; t < s->n_task; t++) {
        double *x = s->train + 2 * square * t;
        ag_random r;
        draw_truth(s, &(xp_episode_id){ s->seed, AG_STREAM_TRAIN, 0, (uint64_t)t }, &r, m);
        AG_TRY(err, draw_virtual(s, m, &r, s->n_train, x, x + square, err));
    }
    return AG_OK;
}

static void lora_linear_close(void *state)
{
    lora_linear *s = state;
    if (!s)
        return;
    ag_free(s->a);
    ag_free(s->train);
    ag_free(s);
}

static ag_code fill(lora_linear *s, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    size_t square = (size_t)(tasks->dim * tasks->dim) * sizeof(double), all = 2 * square * (size_t)tasks->n_task;
    *s = (lora_linear){ .d = tasks->dim, .k = tasks->true_rank, .n_task = tasks->n_task, .n_train = tasks->train_samples,
                        .n_test = tasks->test_samples, .noise = tasks->noise_std, .seed = opt->seed };
    s->a = ag_alloc(square);
    s->train = ag_alloc(all);
    AG_REQUIRE(s->a && s->train, err, AG_ENOMEM, "lora-linear: out of memory (%zu bytes for %lld tasks)", square + all,
               (long long)tasks->n_task);
    draw_world(s);
    AG_TRY(err, draw_training_tasks(s, err));
    return AG_OK;
}

static ag_code lora_linear_open(void **state, xp_example_shape *shape, const xp_tasks *tasks,
                                const xp_source_options *opt, ag_error *err)
{
    AG_TRY(err, check_knobs(tasks, err));
    lora_linear *s = ag_alloc(sizeof *s);
    AG_REQUIRE(s, err, AG_ENOMEM, "lora-linear: out of memory (%zu bytes)", sizeof *s);
    ag_code code = fill(s, tasks, opt, err);
    if (code != AG_OK) {
        lora_linear_close(s);
        return ag_trail(err, code, __func__);
    }
    *shape = (xp_example_shape){ .x_ndim = 1, .x_shape = { s->d }, .y_width = s->d };
    *state = s;
    return AG_OK;
}

static int64_t lora_linear_examples(const void *state)
{
    return ((const lora_linear *)state)->d;
}

static void copy_out(const double *from, ag_real *to, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = (ag_real)from[i];
}

/* x_i = sqrt(d) e_i, y_i = M x_i: their mean squared error is ||A_hat - M||_F^2. */
static void population(const double *m, int64_t d, ag_real *x, ag_real *y)
{
    double root = sqrt((double)d);
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++) {
            x[i * d + j] = (ag_real)(i == j ? root : 0);
            y[i * d + j] = (ag_real)(root * m[j * d + i]);
        }
}

static ag_code own_task(const lora_linear *s, const xp_episode_id *id, const xp_episode_size *size,
                        const xp_episode_out *out, ag_error *err)
{
    int64_t d = s->d;
    double m[MAX_DIM * MAX_DIM], x[MAX_DIM * MAX_DIM], y[MAX_DIM * MAX_DIM];
    ag_random r;
    draw_truth(s, id, &r, m);
    if (size->shot) {
        AG_TRY(err, draw_virtual(s, m, &r, s->n_test, x, y, err));
        copy_out(x, out->support_x, d * d);
        copy_out(y, out->support_y, d * d);
    }
    if (size->query)
        population(m, d, out->query_x, out->query_y);
    return AG_OK;
}

static ag_code lora_linear_episode(const void *state, const xp_episode_id *id, const xp_episode_size *size,
                                   const xp_episode_out *out, ag_error *err)
{
    const lora_linear *s = state;
    int64_t d = s->d;
    AG_REQUIRE((size->shot == 0 || size->shot == d) && (size->query == 0 || size->query == d), err, AG_ECONFIG,
               "lora-linear: shot is %lld and query %lld; a set of a task is its %lld (tasks.dim) virtual examples, or 0",
               (long long)size->shot, (long long)size->query, (long long)d);
    if (id->stream != AG_STREAM_TRAIN) {
        AG_TRY(err, own_task(s, id, size, out, err));
        return AG_OK;
    }
    const double *x = s->train + 2 * d * d * (int64_t)task_of(s, id).task, *y = x + d * d;
    copy_out(x, out->support_x, size->shot * d);
    copy_out(y, out->support_y, size->shot * d);
    copy_out(x, out->query_x, size->query * d);
    copy_out(y, out->query_y, size->query * d);
    return AG_OK;
}

ag_code xp_lora_linear_truth(const xp_source *s, const xp_episode_id *id, double *m, ag_error *err)
{
    AG_REQUIRE(s && id && m, err, AG_EINVAL, "xp_lora_linear_truth: an argument is NULL");
    AG_REQUIRE(s->type == &xp_source_lora_linear, err, AG_EINVAL,
               "xp_lora_linear_truth: the source is %s; expected lora-linear", s->type->name);
    const lora_linear *state = s->state;
    xp_episode_id task = task_of(state, id);
    ag_random r;
    draw_truth(state, &task, &r, m);
    return AG_OK;
}

const xp_source_type xp_source_lora_linear = {
    .name = "lora-linear",
    .about = "linear maps that differ by a matrix of low rank (Block et al. 2024), generated",
    .open = lora_linear_open,
    .close = lora_linear_close,
    .examples = lora_linear_examples,
    .episode = lora_linear_episode,
};
