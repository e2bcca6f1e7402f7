/* Features part by part (task_features.h). Stages of the program: 0 the examples and frozen weights, 1 the parameters, 2 the
 * gradient by the features. Places of a part without example hold a text of one token, and their gradient is 0. */
#include "meta/task_features.h"

#include <string.h>

/* One part's memory. */
typedef struct meta_slot {
    ag_frame *frame;
    void *x;
    ag_real *features, *by_features; /* [shape.n, d] */
    int64_t *start, *length;         /* [shape.n], of texts being packed */
    ag_code code;
    ag_error error;
} meta_slot;

/* A program's inputs: x, the parameters, the frozen weights, the gradient by the features. */
enum { IN_X = 0, IN_PARAMS, KEPT_MOST = 1 << 30 /* bytes */ };

/* ---- the program ---- */

static ag_tensor *shaped(ag_tape *t, int stage, int ndim, const int64_t *shape)
{
    ag_spec spec = { .stage = stage, .ndim = ndim };
    memcpy(spec.shape, shape, (size_t)ndim * sizeof *shape);
    return ag_input(t, &spec);
}

static ag_spec x_spec(const meta_features *f)
{
    if (f->shape.length)   /* which may be less than the model's */
        return (ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { nn_text_numel(&f->shape) } };
    return nn_model_x(f->model, f->shape.n, 0);
}

static bool wants(const meta_features *f, int i)
{
    return f->plan && f->plan->param[i].adapted;
}

/* room: n_param + n_frozen inputs, then n_param adapted ones, then 1 + n_param outputs. */
static int record(const meta_features *f, ag_tape *t, ag_tensor **room)
{
    const nn_model *m = f->model;
    ag_tensor **frozen = room + m->n_param, **adapted = frozen + m->n_frozen, **outs = adapted + m->n_param;
    int n = 0;
    ag_spec spec = x_spec(f);
    nn_input in = { .x = ag_input(t, &spec), .text = f->shape.length ? f->shape : (nn_text_shape){ 0 }, .frozen = frozen };
    for (int i = 0; i < m->n_param; i++) {
        room[i] = shaped(t, 1, m->param[i].ndim, m->param[i].shape);
        if (wants(f, i))
            adapted[n++] = room[i];
    }
    for (int i = 0; i < m->n_frozen; i++)
        frozen[i] = shaped(t, 0, m->frozen[i].ndim, m->frozen[i].shape);
    outs[0] = m->forward(m, t, room, &in);
    if (n == 0)
        return 1;
    ag_grad(t, outs[0], shaped(t, 2, 2, (int64_t[]){ f->shape.n, f->d }), n, adapted, outs + 1);
    return 1 + n;
}

static ag_code compile(meta_features *f, ag_error *err)
{
    const nn_model *m = f->model;
    size_t inputs = (size_t)(m->n_param + m->n_frozen);
    ag_tensor **room = ag_alloc_zero((inputs + 2 * (size_t)m->n_param + 1) * sizeof *room);
    ag_tape *t = room ? ag_tape_new(&(ag_tape_options){ .symbolic = true }, err) : NULL;
    ag_code code = t ? AG_OK : ag_fail(err, AG_ENOMEM, "task: no memory to record a model of %d parameters", m->n_param);
    if (code == AG_OK) {
        int n = record(f, t, room);
        ag_tensor **outs = room + inputs + m->n_param;
        code = ag_tape_status(t, err);
        for (int i = 0; i < n && code == AG_OK; i++)
            if (!outs[i])   /* a model that needed memory to record itself */
                code = ag_fail(err, AG_ENOMEM, "task: no memory to record the model");
        if (code == AG_OK)
            code = ag_compile(t, n, outs, &f->program, err);
    }
    ag_tape_free(t);
    ag_free(room);
    return ag_trail(err, code, __func__);
}

/* ---- slots ---- */

static size_t x_bytes(const meta_features *f)
{
    ag_spec spec = x_spec(f);
    size_t bytes = spec.dtype == AG_INT ? sizeof(int32_t) : sizeof(ag_real);
    for (int i = 0; i < spec.ndim; i++)
        bytes *= (size_t)spec.shape[i];
    return bytes;
}

/* Of one part; 0: no gradient is recorded. */
static int64_t gradient_numbers(const meta_features *f)
{
    int64_t n = 0;
    for (int i = 0; i < f->model->n_param; i++)
        n += wants(f, i) ? f->model->param[i].numel : 0;
    return n > 0 ? f->plan->n_adapted : 0;
}

static void bind_gradients(const meta_features *f, meta_slot *s, int64_t part)
{
    ag_real *g = f->g + part * gradient_numbers(f);
    int out = 1;
    for (int i = 0; i < f->model->n_param; i++)
        if (wants(f, i))
            ag_frame_output(s->frame, out++, g + f->plan->param[i].place);
}

static void bind(const meta_features *f, meta_slot *s)
{
    const nn_model *m = f->model;
    bind_gradients(f, s, s - f->slots);
    ag_frame_input(s->frame, IN_X, s->x);
    for (int i = 0; i < m->n_frozen; i++)
        ag_frame_input(s->frame, IN_PARAMS + m->n_param + i, m->frozen[i].data);
    ag_frame_output(s->frame, 0, s->features);
    if (gradient_numbers(f))
        ag_frame_input(s->frame, IN_PARAMS + m->n_param + m->n_frozen, s->by_features);
}

static ag_code slot_init(const meta_features *f, meta_slot *s, ag_error *err)
{
    size_t n = (size_t)f->shape.n, features = n * (size_t)f->d * sizeof(ag_real);
    s->x = ag_alloc_zero(x_bytes(f));
    s->features = ag_alloc_zero(features);
    s->by_features = ag_alloc_zero(features);
    s->start = ag_alloc_zero(n * sizeof *s->start);
    s->length = ag_alloc_zero(n * sizeof *s->length);
    AG_REQUIRE(s->x && s->features && s->by_features && s->start && s->length, err, AG_ENOMEM,
               "task: no memory for a part of %lld examples", (long long)f->shape.n);
    AG_TRY(err, ag_frame_new(f->program, &s->frame, err));
    bind(f, s);
    return AG_OK;
}

static void slot_release(meta_slot *s)
{
    void *arrays[] = { s->x, s->features, s->by_features, s->start, s->length };
    ag_frame_free(s->frame);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        ag_free(arrays[i]);
}

static ag_code build(meta_features *f, ag_error *err)
{
    AG_TRY(err, compile(f, err));
    f->kept = f->plan && (double)ag_program_bytes(f->program) * (double)f->most_parts <= KEPT_MOST;
    f->n_slot = f->kept ? (int)f->most_parts : f->threads;
    f->slots = ag_alloc_zero((size_t)f->n_slot * sizeof *f->slots);
    f->part = ag_alloc_zero((size_t)f->most_parts * sizeof *f->part);
    f->g = ag_alloc_zero((size_t)(f->most_parts * gradient_numbers(f) + 1) * sizeof *f->g);
    AG_REQUIRE(f->slots && f->part && f->g, err, AG_ENOMEM, "task: no memory for %lld parts", (long long)f->most_parts);
    for (int i = 0; i < f->n_slot; i++)
        AG_TRY(err, slot_init(f, &f->slots[i], err));
    return meta_pool_new(&f->pool, f->threads, err);
}

ag_code meta_features_init(meta_features *f, const nn_model *m, const meta_plan *plan, const nn_text_shape *shape, int64_t most_parts,
                           int threads, ag_error *err)
{
    *f = (meta_features){ .model = m, .plan = plan, .shape = *shape, .d = m->options.n_out, .most_parts = most_parts };
    f->threads = threads < 1 ? 1 : threads > most_parts ? (int)most_parts : threads;
    for (int i = 0; i < m->n_param; i++)
        AG_REQUIRE(!m->param[i].norm, err, AG_EINVAL, "task: '%s' normalises over a batch; expected a model whose features of an example do "
                   "not depend on others", m->param[i].name);
    ag_code code = build(f, err);
    if (code != AG_OK)
        meta_features_release(f);
    return ag_trail(err, code, __func__);
}

void meta_features_release(meta_features *f)
{
    meta_pool_free(f->pool);
    for (int i = 0; f->slots && i < f->n_slot; i++)
        slot_release(&f->slots[i]);
    ag_free(f->slots);
    ag_free(f->part);
    ag_free(f->g);
    ag_program_free(f->program);
    *f = (meta_features){ 0 };
}

size_t meta_features_bytes(const meta_features *f)
{
    size_t slot = x_bytes(f) + (size_t)(2 * f->shape.n * f->d) * sizeof(ag_real) + ag_frame_bytes(f->slots[0].frame);
    return (size_t)f->n_slot * slot + (size_t)(f->most_parts * gradient_numbers(f)) * sizeof *f->g;
}

/* ---- parts ---- */

int64_t meta_example_tokens(const meta_examples *x, int64_t i, int64_t length)
{
    return !x->ids ? 0 : x->length[i] < length ? x->length[i] : length;
}

/* As many as fit, one after the other; each place left needs room for one token. A list has no more parts than a longer one it
 * was taken from: who is left out leaves room for the token of his place. */
static ag_code cut(meta_features *f, const meta_examples *x, const int64_t *index, int64_t n, ag_error *err)
{
    int64_t tokens = 0;
    f->n_part = 0;
    for (int64_t i = 0; i < n; i++) {
        meta_part *p = f->n_part ? &f->part[f->n_part - 1] : NULL;
        int64_t more = meta_example_tokens(x, index[i], f->shape.length), spare = p ? f->shape.n - p->n : 0;
        if (!p || spare == 0 || (f->shape.length && tokens + more + spare - 1 > f->shape.capacity)) {
            AG_REQUIRE(f->n_part < f->most_parts, err, AG_EINVAL, "task: more than %lld parts of examples", (long long)f->most_parts);
            f->part[f->n_part++] = (meta_part){ i, 0 };
            p = &f->part[f->n_part - 1];
            tokens = 0;
        }
        p->n++;
        tokens += more;
    }
    return AG_OK;
}

/* What one call of meta_features_run or _back does. */
typedef struct features_job {
    meta_features *f;
    const ag_real *by_features;
    ag_real *features;
    bool fill;                       /* x of the slots is not there yet */
} features_job;

static void fill(const meta_features *f, meta_slot *s, meta_part p)
{
    const meta_examples *x = f->x;
    size_t numel = 1;
    for (int64_t i = 0; f->shape.length && i < f->shape.n; i++) {
        int64_t from = f->index[p.first + (i < p.n ? i : 0)];
        s->start[i] = x->start[from];
        s->length[i] = i < p.n ? x->length[from] : 1;
    }
    if (f->shape.length) {
        nn_text_pack(&f->shape, x->ids, s->start, s->length, s->x);
        return;
    }
    for (int i = 0; i < f->model->options.x_ndim; i++)
        numel *= (size_t)f->model->options.x_shape[i];
    for (int64_t i = 0; i < f->shape.n; i++)
        memcpy((ag_real *)s->x + (size_t)i * numel, x->x + (size_t)f->index[p.first + (i < p.n ? i : 0)] * numel, numel * sizeof(ag_real));
}

static ag_code forward(const meta_features *f, meta_slot *s, meta_part p, bool filling, ag_error *err)
{
    const nn_model *m = f->model;
    if (filling)
        fill(f, s, p);
    for (int i = 0; i < m->n_param; i++)
        ag_frame_input(s->frame, IN_PARAMS + i, f->values + m->param[i].offset);
    return ag_frame_run(s->frame, filling ? 0 : 1, 1, err);
}

static meta_slot *slot_of(const meta_features *f, int64_t part, int worker)
{
    return &f->slots[f->kept ? part : worker];
}

static void forward_work(void *ctx, int64_t part, int worker)
{
    const features_job *job = ctx;
    const meta_features *f = job->f;
    meta_slot *s = slot_of(f, part, worker);
    meta_part p = f->part[part];
    if (s->code == AG_OK)
        s->code = forward(f, s, p, job->fill, &s->error);
    memcpy(job->features + p.first * f->d, s->features, (size_t)(p.n * f->d) * sizeof *job->features);
}

static ag_code back(const features_job *job, meta_slot *s, int64_t part, ag_error *err)
{
    const meta_features *f = job->f;
    meta_part p = f->part[part];
    if (!f->kept) {
        AG_TRY(err, forward(f, s, p, true, err));
        bind_gradients(f, s, part);
    }
    memset(s->by_features, 0, (size_t)(f->shape.n * f->d) * sizeof *s->by_features);
    memcpy(s->by_features, job->by_features + p.first * f->d, (size_t)(p.n * f->d) * sizeof *s->by_features);
    return ag_frame_run(s->frame, 2, 2, err);
}

static void back_work(void *ctx, int64_t part, int worker)
{
    const features_job *job = ctx;
    meta_slot *s = slot_of(job->f, part, worker);
    if (s->code == AG_OK)
        s->code = back(job, s, part, &s->error);
}

static ag_code first_failure(meta_features *f, ag_error *err)
{
    for (int i = 0; i < f->n_slot; i++)
        if (f->slots[i].code != AG_OK) {
            if (err && err->code == AG_OK)
                *err = f->slots[i].error;
            return f->slots[i].code;
        }
    return AG_OK;
}

static void clear_failures(meta_features *f)
{
    for (int i = 0; i < f->n_slot; i++) {
        f->slots[i].code = AG_OK;
        ag_error_clear(&f->slots[i].error);
    }
}

ag_code meta_features_run(meta_features *f, const meta_examples *x, const int64_t *index, int64_t n, bool again, const ag_real *values,
                          ag_real *features, ag_error *err)
{
    if (!again)
        AG_TRY(err, cut(f, x, index, n, err));
    clear_failures(f);
    f->x = x;
    f->index = index;
    f->values = values;
    features_job job = { .f = f, .features = features, .fill = !again || !f->kept };
    meta_pool_run(f->pool, f->n_part, forward_work, &job);
    return ag_trail(err, first_failure(f, err), __func__);
}

ag_code meta_features_back(meta_features *f, const ag_real *by_features, ag_real *g, ag_error *err)
{
    features_job job = { .f = f, .by_features = by_features };
    if (!gradient_numbers(f))
        return AG_OK;
    clear_failures(f);
    meta_pool_run(f->pool, f->n_part, back_work, &job);
    AG_TRY(err, first_failure(f, err));
    for (int i = 0; i < f->model->n_param; i++) {
        int64_t at = f->plan->param[i].place, numel = wants(f, i) ? f->plan->param[i].numel : 0;
        for (int64_t part = 0; part < f->n_part; part++)
            for (int64_t j = 0; j < numel; j++)
                g[at + j] = (part ? g[at + j] : 0) + f->g[part * f->plan->n_adapted + at + j];
    }
    return AG_OK;
}
