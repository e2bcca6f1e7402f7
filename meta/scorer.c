/* Adapts to episodes and scores steps on the query (meta.h). First-order programs only: nothing is differentiated
 * through the adaptation. */
#include "meta/learn_internal.h"

#include <string.h>

typedef struct scorer_worker {
    ag_frame *start, *support[2], *query[2];   /* [0]: all tasks at the shared start, [1]: each task at its own parameters */
    meta_data data;
    ag_real *theta, *g, *start_values, *second;   /* [chunk * n_adapted] */
    ag_real *support_loss, *query_loss, *accuracy;   /* [chunk] */
    void *batch_x;                       /* inductive: [chunk, n_support + 1, x], the support and one query example */
    void *batch_y;
    int64_t failed_chunk;                /* the lowest that failed; -1 */
    ag_error error;
} scorer_worker;

struct meta_scorer {
    const meta_learner *l;
    meta_scorer_options options;
    meta_plan plan;                      /* the learner's, perhaps with another head */
    ag_program *start, *support[2], *query[2];
    int64_t width;                       /* steps that are scored */
    int64_t *column;                     /* [steps + 1]: where a step's scores go; -1: it is not scored */
    scorer_worker *workers;              /* [l->threads] */
};

typedef struct score_job {
    meta_scorer *sc;
    const meta_state *s;
    const meta_batch *b;
    meta_rates rates;
    double *loss, *accuracy;             /* [n_task][width]; accuracy may be NULL */
} score_job;

/* Whether a step at the shared start, or one behind it, is scored. */
static bool scores(const meta_scorer *sc, int own)
{
    return own ? sc->width > (sc->column[0] >= 0) : sc->column[0] >= 0;
}

static ag_code compile_programs(meta_scorer *sc, ag_error *err)
{
    const meta_scorer_options *o = &sc->options;
    meta_set support = { o->n_support, o->support_capacity };
    for (int own = 0; own < 2; own++) {
        meta_program_options p = { .n_task = sc->l->chunk, .set = support, .theta_shared = !own };
        if (own == 0 && sc->plan.head == META_HEAD_CENTROID)
            AG_TRY(err, meta_compile_start(&sc->plan, &p, &sc->start, err));
        if (o->steps > own)
            AG_TRY(err, meta_compile_support(&sc->plan, &p, &sc->support[own], err));
        p.support = support;
        p.set = o->inductive ? (meta_set){ o->n_support + 1, 0 } : (meta_set){ o->n_query, o->query_capacity };
        p.score_from = o->inductive ? o->n_support : 0;
        if (scores(sc, own))
            AG_TRY(err, meta_compile_query(&sc->plan, &p, &sc->query[own], err));
    }
    return AG_OK;
}

static ag_code new_array(void **a, int64_t n, size_t size, ag_error *err)
{
    *a = ag_alloc_zero((size_t)(n > 0 ? n : 1) * size);
    AG_REQUIRE(*a, err, AG_ENOMEM, "scorer: no memory for %lld entries", (long long)n);
    return AG_OK;
}

static ag_code support_frame(meta_scorer *sc, scorer_worker *w, int own, ag_error *err)
{
    if (!sc->support[own])
        return AG_OK;
    AG_TRY(err, ag_frame_new(sc->support[own], &w->support[own], err));
    meta_bind_data(&w->data, w->support[own], false);
    meta_bind_frozen(&sc->plan, w->support[own]);
    ag_frame_output(w->support[own], META_OUT_LOSS, w->support_loss);
    meta_bind_outputs(&sc->plan, w->support[own], 1, sc->l->chunk, META_ADAPTED, w->g);
    return AG_OK;
}

static ag_code query_frame(meta_scorer *sc, scorer_worker *w, int own, ag_error *err)
{
    if (!sc->query[own])
        return AG_OK;
    AG_TRY(err, ag_frame_new(sc->query[own], &w->query[own], err));
    meta_bind_data(&w->data, w->query[own], true);
    meta_bind_frozen(&sc->plan, w->query[own]);
    if (sc->options.inductive) {
        ag_frame_input(w->query[own], META_IN_X, w->batch_x);
        ag_frame_input(w->query[own], META_IN_Y, w->batch_y);
    }
    ag_frame_output(w->query[own], META_OUT_LOSS, w->query_loss);
    if (sc->plan.loss != META_MSE)
        ag_frame_output(w->query[own], META_OUT_LOSS + 1, w->accuracy);
    return AG_OK;
}

static ag_code bind(meta_scorer *sc, scorer_worker *w, ag_error *err)
{
    for (int own = 0; own < 2; own++) {
        AG_TRY(err, support_frame(sc, w, own, err));
        AG_TRY(err, query_frame(sc, w, own, err));
    }
    if (!sc->start)
        return AG_OK;
    AG_TRY(err, ag_frame_new(sc->start, &w->start, err));
    meta_bind_data(&w->data, w->start, false);
    meta_bind_frozen(&sc->plan, w->start);
    meta_bind_outputs(&sc->plan, w->start, 0, sc->l->chunk, META_START, w->start_values);
    return AG_OK;
}

/* Of one example. */
static size_t x_bytes(const meta_data *d)
{
    return d->query_bytes / (size_t)d->query.n;
}

static ag_code worker_init(meta_scorer *sc, scorer_worker *w, ag_error *err)
{
    const meta_scorer_options *o = &sc->options;
    int64_t chunk = sc->l->chunk, adapted = chunk * sc->plan.n_adapted;
    meta_set support = { o->n_support, o->support_capacity }, query = { o->n_query, o->query_capacity };
    AG_TRY(err, meta_data_init(&w->data, &sc->plan, chunk, support, query, err));
    int64_t batch = o->inductive ? chunk * (o->n_support + 1) : 0;
    AG_TRY(err, new_array((void **)&w->theta, adapted, sizeof *w->theta, err));
    AG_TRY(err, new_array((void **)&w->second, sc->l->options.rule == META_RULE_ADAM ? adapted : 0, sizeof *w->second, err));
    AG_TRY(err, new_array((void **)&w->g, adapted, sizeof *w->g, err));
    AG_TRY(err, new_array((void **)&w->support_loss, chunk, sizeof *w->support_loss, err));
    AG_TRY(err, new_array((void **)&w->query_loss, chunk, sizeof *w->query_loss, err));
    AG_TRY(err, new_array((void **)&w->accuracy, chunk, sizeof *w->accuracy, err));
    AG_TRY(err, new_array((void **)&w->start_values, sc->start ? adapted : 0, sizeof *w->start_values, err));
    AG_TRY(err, new_array(&w->batch_x, batch, x_bytes(&w->data), err));
    AG_TRY(err, new_array(&w->batch_y, batch, w->data.y_bytes, err));
    return bind(sc, w, err);
}

static void worker_release(scorer_worker *w)
{
    for (int own = 0; own < 2; own++) {
        ag_frame_free(w->support[own]);
        ag_frame_free(w->query[own]);
    }
    ag_frame_free(w->start);
    meta_data_release(&w->data);
    void *arrays[] = { w->theta, w->g, w->start_values, w->second, w->support_loss, w->query_loss, w->accuracy, w->batch_x, w->batch_y };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        ag_free(arrays[i]);
}

/* Which column each step's scores go to. */
static ag_code choose_steps(meta_scorer *sc, ag_error *err)
{
    const meta_scorer_options *o = &sc->options;
    AG_TRY(err, new_array((void **)&sc->column, o->steps + 1, sizeof *sc->column, err));
    sc->width = o->score ? o->n_score : o->steps + 1;
    for (int64_t step = 0; step <= o->steps; step++)
        sc->column[step] = o->score ? -1 : step;
    AG_REQUIRE(sc->width >= 1 && (!o->score || o->score[sc->width - 1] == o->steps), err, AG_EINVAL,
               "scorer: %lld scored steps; at least 1 is expected, the last of them step %lld", (long long)sc->width, (long long)o->steps);
    for (int64_t i = 0; o->score && i < sc->width; i++) {
        AG_REQUIRE(o->score[i] >= 0 && o->score[i] <= o->steps && (i == 0 || o->score[i] > o->score[i - 1]), err, AG_EINVAL,
                   "scorer: step %lld is scored; steps from 0 to %lld in ascending order are expected", (long long)o->score[i],
                   (long long)o->steps);
        sc->column[o->score[i]] = i;
    }
    return AG_OK;
}

static ag_code build(meta_scorer *sc, ag_error *err)
{
    const meta_scorer_options *o = &sc->options;
    AG_REQUIRE(o->steps >= 0 && o->n_query >= 1 && (o->n_support >= 1 || o->steps == 0), err, AG_EINVAL,
               "scorer: %lld steps, %lld support and %lld query examples; at least 0, 1 and 1 are expected", (long long)o->steps,
               (long long)o->n_support, (long long)o->n_query);
    meta_options plan = sc->l->options;
    plan.head = o->other_head ? o->head : plan.head;
    plan.way = o->way > 0 ? o->way : plan.way;
    AG_REQUIRE(!o->inductive || (plan.head == META_HEAD_MODEL && !sc->l->model->max_tokens), err, AG_EINVAL,
               "scorer: inductive scoring is for models that give class scores of arrays");
    AG_TRY(err, meta_plan_init(&sc->plan, sc->l->model, &plan, err));
    AG_REQUIRE(sc->plan.n_adapted > 0 || o->steps == 0, err, AG_EINVAL, "scorer: the model has no parameter to adapt; expected 0 steps");
    AG_TRY(err, choose_steps(sc, err));
    AG_TRY(err, compile_programs(sc, err));
    AG_TRY(err, new_array((void **)&sc->workers, sc->l->threads, sizeof *sc->workers, err));
    for (int i = 0; i < sc->l->threads; i++)
        AG_TRY(err, worker_init(sc, &sc->workers[i], err));
    return AG_OK;
}

ag_code meta_scorer_new(meta_scorer **out, const meta_learner *l, const meta_scorer_options *o, ag_error *err)
{
    *out = NULL;
    meta_scorer *sc = ag_alloc_zero(sizeof *sc);
    AG_REQUIRE(sc, err, AG_ENOMEM, "scorer: no memory");
    sc->l = l;
    sc->options = *o;
    ag_code code = build(sc, err);
    sc->options.score = NULL;                /* the caller's */
    if (code == AG_OK)
        *out = sc;
    else
        meta_scorer_free(sc);
    return ag_trail(err, code, __func__);
}

void meta_scorer_free(meta_scorer *sc)
{
    if (!sc)
        return;
    for (int i = 0; sc->workers && i < sc->l->threads; i++)
        worker_release(&sc->workers[i]);
    for (int own = 0; own < 2; own++) {
        ag_program_free(sc->support[own]);
        ag_program_free(sc->query[own]);
    }
    ag_program_free(sc->start);
    meta_plan_release(&sc->plan);
    ag_free(sc->workers);
    ag_free(sc->column);
    ag_free(sc);
}

/* ---- one chunk ---- */

/* Places query example `q` of each task behind its support; `all`: the support too. */
static void fill_inductive(const meta_scorer *sc, scorer_worker *w, int64_t q, bool all)
{
    const meta_data *d = &w->data;
    size_t x = x_bytes(d);
    struct { char *batch; const char *support, *query; size_t bytes; } part[] = {
        { (char *)w->batch_x, (const char *)d->support_x, (const char *)d->query_x, x },
        { w->batch_y, d->support_y, d->query_y, d->y_bytes },
    };
    for (int i = 0; i < 2; i++) {
        size_t bytes = part[i].bytes, support = (size_t)d->support.n * bytes;
        for (int64_t task = 0; task < sc->l->chunk; task++) {
            char *to = part[i].batch + (size_t)task * (support + bytes);
            if (all)
                memcpy(to, part[i].support + (size_t)task * support, support);
            memcpy(to + support, part[i].query + (size_t)(task * d->query.n + q) * bytes, bytes);
        }
    }
}

static void add_scores(const score_job *job, const scorer_worker *w, int64_t first, int64_t count, int64_t column, double weight)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t at = (first + i) * job->sc->width + column;
        job->loss[at] += weight * (double)w->query_loss[i];
        if (job->accuracy)
            job->accuracy[at] += weight * (double)w->accuracy[i];
    }
}

/* What of a chunk is in place: the frame behind the start has seen its queries, the inductive batch has its support. */
typedef struct chunk_progress {
    bool met, filled;
} chunk_progress;

static ag_code score_step(const score_job *job, scorer_worker *w, int64_t first, int64_t count, int64_t step, chunk_progress *p, ag_error *err)
{
    const meta_scorer *sc = job->sc;
    ag_frame *f = w->query[step > 0];
    if (sc->column[step] < 0)
        return AG_OK;
    meta_bind_params(&sc->plan, f, sc->l->chunk, job->s->values, step ? w->theta : NULL, w->start_values);
    int64_t batches = sc->options.inductive ? sc->options.n_query : 1;
    for (int64_t q = 0; q < batches; q++) {
        if (sc->options.inductive)
            fill_inductive(sc, w, q, !p->filled);
        p->filled = true;
        AG_TRY(err, ag_frame_run(f, p->met && !sc->options.inductive ? 1 : 0, 1, err));
        add_scores(job, w, first, count, sc->column[step], 1.0 / (double)batches);
    }
    p->met = step > 0;
    return AG_OK;
}

static ag_code score_chunk(const score_job *job, scorer_worker *w, int64_t first, int64_t count, ag_error *err)
{
    const meta_scorer *sc = job->sc;
    const meta_plan *plan = &sc->plan;
    int64_t chunk = sc->l->chunk;
    chunk_progress p = { false, false };
    AG_TRY(err, meta_data_fetch(&w->data, job->b, first, count, chunk, err));
    if (w->start) {
        meta_bind_params(plan, w->start, chunk, job->s->values, NULL, w->start_values);
        AG_TRY(err, ag_frame_run(w->start, 0, 1, err));
    }
    AG_TRY(err, score_step(job, w, first, count, 0, &p, err));
    for (int64_t step = 1; step <= sc->options.steps; step++) {
        ag_frame *f = w->support[step > 1];
        const ag_real *theta = step > 1 ? w->theta : NULL;
        meta_bind_params(plan, f, chunk, job->s->values, theta, w->start_values);
        AG_TRY(err, ag_frame_run(f, step <= 2 ? 0 : 1, 1, err));
        if (sc->l->options.rule == META_RULE_ADAM)
            meta_adam_scale(chunk * plan->n_adapted, step, w->second, w->g);
        meta_inner_step(plan, &job->rates, chunk, job->s->values, w->start_values, theta, w->g, w->theta);
        AG_TRY(err, score_step(job, w, first, count, step, &p, err));
    }
    return AG_OK;
}

static void score_work(void *ctx, int64_t chunk, int worker)
{
    const score_job *job = ctx;
    scorer_worker *w = &job->sc->workers[worker];
    int64_t first = chunk * job->sc->l->chunk, count = job->b->n_task - first;
    ag_error error = { 0 };
    count = count < job->sc->l->chunk ? count : job->sc->l->chunk;
    if (score_chunk(job, w, first, count, &error) != AG_OK && (w->failed_chunk < 0 || chunk < w->failed_chunk)) {
        w->failed_chunk = chunk;
        w->error = error;
    }
}

ag_code meta_scorer_run(meta_scorer *sc, const meta_state *s, const meta_batch *b, double *loss, double *accuracy, ag_error *err)
{
    int64_t n_chunk = (b->n_task + sc->l->chunk - 1) / sc->l->chunk, width = sc->width;
    bool has_accuracy = sc->plan.loss != META_MSE && accuracy;
    score_job job = { .sc = sc, .s = s, .b = b, .loss = loss, .accuracy = has_accuracy ? accuracy : NULL,
                      .rates = { s->values + s->n_value, s->n_rate, (ag_real)sc->l->options.inner_lr } };
    if (sc->options.inner_lr != 0)
        job.rates = (meta_rates){ .fixed = (ag_real)sc->options.inner_lr };
    memset(loss, 0, (size_t)(b->n_task * width) * sizeof *loss);
    if (accuracy)
        memset(accuracy, 0, (size_t)(b->n_task * width) * sizeof *accuracy);
    for (int i = 0; i < sc->l->threads; i++)
        sc->workers[i].failed_chunk = -1;
    meta_pool_run(sc->l->pool, n_chunk, score_work, &job);
    const scorer_worker *failed = NULL;
    for (int i = 0; i < sc->l->threads; i++) {
        const scorer_worker *w = &sc->workers[i];
        if (w->failed_chunk >= 0 && (!failed || w->failed_chunk < failed->failed_chunk))
            failed = w;
    }
    if (!failed)
        return AG_OK;
    if (err && err->code == AG_OK)
        *err = failed->error;
    return ag_trail(err, failed->error.code, __func__);
}
