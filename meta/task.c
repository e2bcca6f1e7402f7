/* Adapts to one task, and estimates how well it will do (task.h). */
#include "meta/task.h"

#include "meta/task_features.h"
#include "meta/task_head.h"

#include <math.h>
#include <string.h>

enum { PART = 16 };                  /* examples of a part, where there are as many */

struct meta_task {
    const nn_model *model;
    meta_task_options options;
    meta_examples support;
    const int32_t *labels;
    int64_t n, d, dropped;
    meta_plan plan;
    meta_rates rates;
    meta_features features;
    ag_real *alpha;                  /* the rates' copy; NULL: inner_lr */
    ag_real *theta, *start, *g, *second;   /* [plan.n_adapted]: adapted values, start of a centroid head, gradient, Adam's */
    ag_real *f, *by_f;               /* [n, d] */
    /* leave-one-out */
    int64_t *all, *index;            /* [n]: 0 .. n - 1; those kept, then those left out */
    int32_t *fold_labels;            /* [n] of index */
    ag_real *values, *w, *b, *scores;/* of a fold; [n, way] */
};

/* ---- making ---- */

static ag_code check_options(const nn_model *m, const meta_task_options *o, ag_error *err)
{
    AG_REQUIRE(o->head != META_HEAD_MODEL, err, AG_EINVAL, "task: the head must be made from the support: prototype or centroid");
    AG_REQUIRE(o->steps >= 0 && isfinite(o->inner_lr) && isfinite(o->head_scale) && isfinite(o->support_scale), err, AG_EINVAL,
               "task: %lld steps of %g, scales %g and %g; finite numbers, and at least 0 steps, are expected", (long long)o->steps,
               o->inner_lr, o->head_scale, o->support_scale);
    AG_REQUIRE(m->options.n_out >= 1 && !m->language, err, AG_EINVAL, "task: the model gives no features of an example");
    return AG_OK;
}

static ag_code check_labels(const meta_task *k, ag_error *err)
{
    AG_REQUIRE(k->n >= 1, err, AG_EINVAL, "task: there are no examples");
    for (int64_t i = 0; i < k->n; i++)
        AG_REQUIRE(k->labels[i] >= 0 && k->labels[i] < k->options.way, err, AG_EINVAL, "task: example %lld has the label %d; expected 0 to %lld",
                   (long long)i, k->labels[i], (long long)k->options.way - 1);
    for (int64_t c = 0; c < k->options.way; c++) {
        bool found = false;
        for (int64_t i = 0; i < k->n && !found; i++)
            found = k->labels[i] == c;
        AG_REQUIRE(found, err, AG_EINVAL, "task: class %lld has no example", (long long)c);
    }
    return AG_OK;
}

/* The same for any number of threads: the parts decide the order of sums. */
static int64_t parts_of(int64_t n)
{
    return n < 2 ? 1 : n <= 2 * PART ? 2 : (n + PART - 1) / PART;
}

/* The shape of a part: the longest text, and the part with the most tokens. */
static ag_code make_features(meta_task *k, ag_error *err)
{
    const meta_examples *x = &k->support;
    int64_t parts = parts_of(k->n), tokens = 0, n_param = 0;
    nn_text_shape shape = { .n = (k->n + parts - 1) / parts };
    AG_REQUIRE((k->model->max_tokens > 0) == (x->ids != NULL), err, AG_EINVAL, "task: the model reads %s; expected such examples",
               k->model->max_tokens > 0 ? "texts" : "arrays");
    for (int64_t i = 0; x->ids && i < k->n; i++) {
        int64_t length = meta_example_tokens(x, i, k->model->max_tokens), spare = i + 1 < k->n ? 0 : parts * shape.n - k->n;
        AG_REQUIRE(length > 0, err, AG_EINVAL, "task: text %lld has no token", (long long)i);
        tokens = (i % shape.n ? tokens : 0) + length;        /* of the part so far; a place that is left needs one */
        shape.length = length > shape.length ? length : shape.length;
        shape.capacity = tokens + spare > shape.capacity ? tokens + spare : shape.capacity;
        k->dropped += x->length[i] - length;
    }
    for (int i = 0; i < k->plan.n_param; i++)
        n_param += k->plan.param[i].adapted && k->plan.param[i].offset >= 0;
    bool gradient = k->options.steps > 0 && n_param > 0;
    return meta_features_init(&k->features, k->model, gradient ? &k->plan : NULL, &shape, parts, k->options.threads, err);
}

static ag_code new_array(void **a, int64_t n, size_t size, ag_error *err)
{
    *a = ag_alloc_zero((size_t)(n > 0 ? n : 1) * size);
    AG_REQUIRE(*a, err, AG_ENOMEM, "task: no memory for %lld entries", (long long)n);
    return AG_OK;
}

static ag_code make_arrays(meta_task *k, ag_error *err)
{
    const int64_t adapted = k->plan.n_adapted, way = k->options.way, features = k->n * k->d;
    const struct { void **a; int64_t n; size_t size; } list[] = {
        { (void **)&k->theta, adapted, sizeof *k->theta }, { (void **)&k->start, adapted, sizeof *k->start },
        { (void **)&k->g, adapted, sizeof *k->g },
        { (void **)&k->second, k->options.rule == META_RULE_ADAM ? adapted : 0, sizeof *k->second },
        { (void **)&k->f, features, sizeof *k->f }, { (void **)&k->by_f, features, sizeof *k->by_f },
        { (void **)&k->all, k->n, sizeof *k->all }, { (void **)&k->index, k->n, sizeof *k->index },
        { (void **)&k->fold_labels, k->n, sizeof *k->fold_labels },
        { (void **)&k->values, k->model->n_value, sizeof *k->values }, { (void **)&k->w, way * k->d, sizeof *k->w },
        { (void **)&k->b, way, sizeof *k->b }, { (void **)&k->scores, k->n * way, sizeof *k->scores },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        AG_TRY(err, new_array(list[i].a, list[i].n, list[i].size, err));
    for (int64_t i = 0; i < k->n; i++)
        k->all[i] = i;
    return AG_OK;
}

static ag_code make_rates(meta_task *k, ag_error *err)
{
    const meta_task_options *o = &k->options;
    k->rates = (meta_rates){ .fixed = (ag_real)o->inner_lr };
    if (!o->rates || o->n_rate == 0)
        return AG_OK;
    AG_TRY(err, new_array((void **)&k->alpha, o->n_rate, sizeof *k->alpha, err));
    memcpy(k->alpha, o->rates, (size_t)o->n_rate * sizeof *k->alpha);
    k->rates.alpha = k->alpha;
    k->rates.n = o->n_rate;
    return AG_OK;
}

static ag_code build(meta_task *k, ag_error *err)
{
    const meta_task_options *o = &k->options;
    meta_options plan = { .loss = META_CROSS_ENTROPY, .head = o->head, .similarity = o->similarity, .head_scale = o->head_scale, .way = o->way,
                          .support_scale = o->support_scale, .rate_scope = o->rate_scope, .head_only = o->head_only };
    AG_TRY(err, check_options(k->model, o, err));
    AG_TRY(err, meta_plan_init(&k->plan, k->model, &plan, err));
    AG_TRY(err, check_labels(k, err));
    AG_REQUIRE(o->steps == 0 || k->plan.n_adapted > 0, err, AG_EINVAL, "task: there is nothing to adapt; expected 0 steps");
    AG_TRY(err, make_rates(k, err));
    AG_TRY(err, make_features(k, err));
    return make_arrays(k, err);
}

ag_code meta_task_new(meta_task **out, const nn_model *m, const meta_task_options *o, const meta_examples *support,
                      const int32_t *labels, ag_error *err)
{
    *out = NULL;
    meta_task *k = ag_alloc_zero(sizeof *k);
    AG_REQUIRE(k, err, AG_ENOMEM, "task: no memory");
    *k = (meta_task){ .model = m, .options = *o, .support = *support, .labels = labels, .n = support->n, .d = m->options.n_out };
    ag_code code = build(k, err);
    if (code == AG_OK)
        *out = k;
    else
        meta_task_free(k);
    return ag_trail(err, code, __func__);
}

void meta_task_free(meta_task *k)
{
    if (!k)
        return;
    void *arrays[] = { k->alpha, k->theta, k->start, k->g, k->second, k->f, k->by_f, k->all, k->index, k->fold_labels, k->values, k->w, k->b,
                       k->scores };
    meta_features_release(&k->features);
    meta_plan_release(&k->plan);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        ag_free(arrays[i]);
    ag_free(k);
}

size_t meta_task_bytes(const meta_task *k)
{
    int64_t numbers = 4 * k->plan.n_adapted + 2 * k->n * k->d + k->model->n_value + k->options.way * (k->d + k->n);
    return (size_t)numbers * sizeof(ag_real) + meta_features_bytes(&k->features);
}

int64_t meta_task_dropped(const meta_task *k)
{
    return k->dropped;
}

/* ---- adapting ---- */

/* What is adapted to: index [n] of the support, and their labels. */
typedef struct subset {
    const int64_t *index;
    const int32_t *labels;
    int64_t n;
} subset;

static meta_labelled labelled(const meta_task *k, const subset *s)
{
    return (meta_labelled){ .n = s->n, .d = k->d, .features = k->f, .labels = s->labels };
}

static int64_t place(const meta_task *k, int from_last)
{
    return k->plan.param[k->plan.n_param - 1 - from_last].place;
}

static ag_code check_finite(const meta_task *k, double loss, int64_t step, ag_error *err)
{
    AG_REQUIRE(isfinite(loss), err, AG_ENAN, "task: the loss after %lld of %lld steps is not finite; a smaller step size may help",
               (long long)step, (long long)k->options.steps);
    return AG_OK;
}

/* theta and out->values go on by one step; *layer: of a centroid head, theta's or its start. */
static ag_code take_step(meta_task *k, const subset *s, const ag_real *start, int64_t step, const ag_real *layer, double *loss,
                         const meta_adapted *out, ag_error *err)
{
    const meta_plan *plan = &k->plan;
    bool centroid = plan->head == META_HEAD_CENTROID;
    int64_t w = centroid ? place(k, 1) : 0, b = centroid ? place(k, 0) : 0;
    meta_labelled x = labelled(k, s);
    AG_TRY(err, meta_head_loss(plan, &x, layer + w, layer + b, loss, k->by_f, k->g + w, k->g + b, err));
    AG_TRY(err, check_finite(k, *loss, step, err));
    if (k->features.plan)
        AG_TRY(err, meta_features_back(&k->features, k->by_f, k->g, err));
    if (k->options.rule == META_RULE_ADAM)
        meta_adam_scale(plan->n_adapted, step + 1, k->second, k->g);
    meta_inner_step(plan, &k->rates, 1, start, k->start, step ? k->theta : NULL, k->g, k->theta);
    for (int i = 0; i < plan->n_param; i++) {
        const meta_plan_param *p = &plan->param[i];
        if (meta_in_group(p, META_ADAPTED_MODEL))
            memcpy(out->values + p->offset, k->theta + p->place, (size_t)p->numel * sizeof *out->values);
    }
    return AG_OK;
}

/* Without a loss that would tell. */
static ag_code check_theta(const meta_task *k, ag_error *err)
{
    ag_real sum = 0;
    for (int64_t i = 0; i < k->plan.n_adapted; i++)
        sum += k->theta[i] * 0;      /* NaN if it is not finite */
    return check_finite(k, (double)sum, k->options.steps, err);
}

/* Whether adapt ends with the features at the values it arrives at. */
static bool needs_last_features(const meta_task *k, const meta_adapted *out)
{
    return k->plan.head == META_HEAD_PROTOTYPE || (out->loss && !k->options.loss_later);
}

/* The layer at the end, and the loss with it where there are features for it. */
static ag_code finish(meta_task *k, const subset *s, bool features, const meta_adapted *out, ag_error *err)
{
    meta_labelled x = labelled(k, s);
    const ag_real *layer = k->options.steps ? k->theta : k->start;
    double loss = NAN;
    if (k->plan.head == META_HEAD_CENTROID) {
        memcpy(out->w, layer + place(k, 1), (size_t)(k->options.way * k->d) * sizeof *out->w);
        memcpy(out->b, layer + place(k, 0), (size_t)k->options.way * sizeof *out->b);
    } else {
        AG_TRY(err, meta_head_start(&k->plan, &x, out->w, out->b, err));
    }
    if (features) {
        AG_TRY(err, meta_head_loss(&k->plan, &x, out->w, out->b, &loss, NULL, NULL, NULL, err));
        AG_TRY(err, check_finite(k, loss, k->options.steps, err));
    }
    if (out->loss)
        out->loss[k->options.steps] = loss;
    return check_theta(k, err);
}

static ag_code run_features(meta_task *k, const subset *s, bool again, const ag_real *values, ag_error *err)
{
    return meta_features_run(&k->features, &k->support, s->index, s->n, again, values, k->f, err);
}

static ag_code adapt(meta_task *k, const subset *s, const ag_real *start, const meta_adapted *out, ag_error *err)
{
    bool features = true;            /* those at hand are of out->values */
    double loss;
    if (out->values != start)
        memcpy(out->values, start, (size_t)k->model->n_value * sizeof *start);
    AG_TRY(err, run_features(k, s, false, out->values, err));
    if (k->plan.head == META_HEAD_CENTROID) {
        meta_labelled x = labelled(k, s);
        AG_TRY(err, meta_head_start(&k->plan, &x, k->start + place(k, 1), k->start + place(k, 0), err));
    }
    for (int64_t step = 0; step < k->options.steps; step++) {
        AG_TRY(err, take_step(k, s, start, step, step ? k->theta : k->start, &loss, out, err));
        if (out->loss)
            out->loss[step] = loss;
        features = !k->features.plan;
        if (!features && (step + 1 < k->options.steps || needs_last_features(k, out))) {
            AG_TRY(err, run_features(k, s, true, out->values, err));
            features = true;
        }
    }
    return finish(k, s, features, out, err);
}

ag_code meta_task_loss(meta_task *k, const meta_adapted *a, double *loss, ag_error *err)
{
    subset all = { k->all, k->labels, k->n };
    meta_labelled x = labelled(k, &all);
    AG_TRY(err, run_features(k, &all, false, a->values, err));
    return meta_head_loss(&k->plan, &x, a->w, a->b, loss, NULL, NULL, NULL, err);
}

ag_code meta_task_adapt(meta_task *k, const ag_real *start, const meta_adapted *out, ag_error *err)
{
    subset all = { k->all, k->labels, k->n };
    AG_TRY(err, adapt(k, &all, start, out, err));
    return AG_OK;
}

/* ---- leave-one-out ---- */

/* Puts the fold's order into index: those kept, then those left out. Returns how many are left out. */
static int64_t make_fold(meta_task *k, int64_t fold)
{
    int64_t kept = 0, out = 0;
    for (int64_t i = k->n - 1; i >= 0; i--) {
        int64_t before = 0, others = -1;
        for (int64_t j = 0; j < k->n; j++) {
            before += j < i && k->labels[j] == k->labels[i];
            others += k->labels[j] == k->labels[i];
        }
        if (before == fold && others > 0)
            k->index[k->n - 1 - out++] = i;
    }
    for (int64_t i = 0; i < k->n; i++) {
        bool left = false;
        for (int64_t j = k->n - out; j < k->n && !left; j++)
            left = k->index[j] == i;
        if (!left)
            k->index[kept++] = i;
    }
    for (int64_t i = 0; i < k->n; i++)
        k->fold_labels[i] = k->labels[k->index[i]];
    return out;
}

static int32_t largest(int64_t n, const ag_real *x)
{
    int32_t at = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[at])
            at = (int32_t)i;
    return at;
}

static ag_code run_fold(meta_task *k, const ag_real *start, int64_t left, meta_estimate *e, int32_t *predicted, ag_error *err)
{
    const int64_t kept = k->n - left, way = k->options.way;
    const meta_adapted fold = { .values = k->values, .w = k->w, .b = k->b };
    subset s = { k->index, k->fold_labels, kept };
    AG_TRY(err, adapt(k, &s, start, &fold, err));
    AG_TRY(err, meta_features_run(&k->features, &k->support, k->index + kept, left, false, k->values, k->f, err));
    meta_labelled x = { .n = left, .d = k->d, .features = k->f };
    AG_TRY(err, meta_head_scores(&k->plan, &x, k->w, k->b, k->scores, err));
    for (int64_t i = 0; i < left; i++) {
        int32_t class = largest(way, k->scores + i * way);
        e->counted++;
        e->right += class == k->fold_labels[kept + i];
        if (predicted)
            predicted[k->index[kept + i]] = class;
    }
    e->folds++;
    return AG_OK;
}

ag_code meta_task_leave_one_out(meta_task *k, const ag_real *start, meta_estimate *e, int32_t *predicted, ag_error *err)
{
    *e = (meta_estimate){ 0 };
    for (int64_t i = 0; predicted && i < k->n; i++)
        predicted[i] = -1;
    for (int64_t fold = 0, left; (left = make_fold(k, fold)) > 0; fold++)
        AG_TRY(err, run_fold(k, start, left, e, predicted, err));
    e->accuracy = (double)e->right / (double)e->counted;
    return AG_OK;
}
