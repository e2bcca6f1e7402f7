/* Sinusoids (Finn, Abbeel & Levine 2017, section 5.1): y = amplitude sin(x - phase) + N(0, noise^2).
 * One generator an episode, drawn from in this order: amplitude, phase, x of the support, x of the query, noise of
 * the support, noise of the query. So any sizes draw from one id, and shot + query points of a task are one series. */
#include "experiments/tasks_internal.h"

#include "autograd/random.h"

#include <math.h>

typedef struct sinusoid {
    double amplitude[2], phase[2], x[2], noise;
} sinusoid;

static ag_code check_range(const char *knob, const double range[2], ag_error *err)
{
    AG_REQUIRE(isfinite(range[0]) && isfinite(range[1]) && range[0] <= range[1], err, AG_ECONFIG,
               "tasks.%s: [%g, %g] is no range; expected two finite numbers, the smaller first", knob, range[0], range[1]);
    return AG_OK;
}

static ag_code check_knobs(const xp_tasks *tasks, ag_error *err)
{
    AG_TRY(err, check_range("amplitude", tasks->amplitude, err));
    AG_TRY(err, check_range("phase", tasks->phase, err));
    AG_TRY(err, check_range("x", tasks->x, err));
    AG_REQUIRE(isfinite(tasks->noise) && tasks->noise >= 0, err, AG_ECONFIG,
               "tasks.noise: %g; expected a standard deviation of 0 or more", tasks->noise);
    return AG_OK;
}

static ag_code sinusoid_open(void **state, xp_example_shape *shape, const xp_tasks *tasks, const xp_source_options *opt,
                             ag_error *err)
{
    (void)opt;
    AG_TRY(err, check_knobs(tasks, err));
    sinusoid *s = ag_alloc(sizeof *s);
    AG_REQUIRE(s, err, AG_ENOMEM, "sinusoid: out of memory (%zu bytes)", sizeof *s);
    *s = (sinusoid){ .noise = tasks->noise };
    for (int i = 0; i < 2; i++) {
        s->amplitude[i] = tasks->amplitude[i];
        s->phase[i] = tasks->phase[i];
        s->x[i] = tasks->x[i];
    }
    *shape = (xp_example_shape){ .x_ndim = 1, .x_shape = { 1 }, .y_width = 1 };
    *state = s;
    return AG_OK;
}

static void draw_x(const sinusoid *s, ag_random *r, int64_t n, ag_real *x)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (ag_real)ag_random_uniform(r, s->x[0], s->x[1]);
}

/* y belongs to the x that the learner sees, after rounding to ag_real. */
static void make_y(const sinusoid *s, ag_random *r, double amplitude, double phase, int64_t n, const ag_real *x, ag_real *y)
{
    for (int64_t i = 0; i < n; i++) {
        double clean = amplitude * sin((double)x[i] - phase);
        y[i] = (ag_real)(s->noise > 0 ? clean + s->noise * ag_random_normal(r) : clean);
    }
}

static ag_code sinusoid_episode(const void *state, const xp_episode_id *id, const xp_episode_size *size,
                                const xp_episode_out *out, ag_error *err)
{
    (void)err;
    const sinusoid *s = state;
    ag_random r;
    ag_random_init(&r, id->seed, id->stream, id->iteration, id->task);
    double amplitude = ag_random_uniform(&r, s->amplitude[0], s->amplitude[1]);
    double phase = ag_random_uniform(&r, s->phase[0], s->phase[1]);
    draw_x(s, &r, size->shot, out->support_x);
    draw_x(s, &r, size->query, out->query_x);
    make_y(s, &r, amplitude, phase, size->shot, out->support_x, out->support_y);
    make_y(s, &r, amplitude, phase, size->query, out->query_x, out->query_y);
    return AG_OK;
}

const xp_source_type xp_source_sinusoid = {
    .name = "sinusoid",
    .about = "sine curves of random amplitude and phase (Finn et al. 2017), generated",
    .open = sinusoid_open,
    .close = ag_free,
    .episode = sinusoid_episode,
};
