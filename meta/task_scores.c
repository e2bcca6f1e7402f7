/* Class scores of new examples by a task's adapter (task.h). */
#include "meta/task.h"

#include "meta/task_features.h"
#include "meta/task_head.h"

enum { PARTS = 64 };                 /* computed in one go, whatever the threads */

struct meta_scores {
    meta_plan plan;                  /* of the head only */
    meta_features features;
    int64_t *index;                  /* [PARTS n] */
    ag_real *f;                      /* [PARTS n, d] */
};

static ag_code build(meta_scores *s, const nn_model *m, const meta_scores_options *o, ag_error *err)
{
    int64_t n = o->n > 0 ? o->n : 1;
    bool shorter = o->length > 0 && o->length < m->max_tokens;
    nn_text_shape shape = { .n = n, .length = shorter ? o->length : m->max_tokens };
    shape.capacity = o->tokens > 0 ? o->tokens : n * shape.length;
    AG_REQUIRE(shape.capacity >= shape.length && shape.capacity <= n * shape.length, err, AG_EINVAL,
               "scores: room for %lld tokens; expected %lld to %lld", (long long)shape.capacity, (long long)shape.length,
               (long long)(n * shape.length));
    AG_REQUIRE(o->way >= 1, err, AG_EINVAL, "scores: %lld classes; at least 1 is expected", (long long)o->way);
    s->plan = (meta_plan){ .model = m, .head = META_HEAD_CENTROID, .similarity = o->similarity, .way = o->way,
                           .head_scale = o->head_scale > 0 ? o->head_scale : 1 };
    int64_t parts = o->threads > 1 ? PARTS : 1;
    AG_TRY(err, meta_features_init(&s->features, m, NULL, &shape, parts, o->threads, err));
    s->index = ag_alloc_zero((size_t)(parts * n) * sizeof *s->index);
    s->f = ag_alloc_zero((size_t)(parts * n * m->options.n_out) * sizeof *s->f);
    AG_REQUIRE(s->index && s->f, err, AG_ENOMEM, "scores: no memory for %lld examples", (long long)(parts * n));
    return AG_OK;
}

ag_code meta_scores_new(meta_scores **out, const nn_model *m, const meta_scores_options *o, ag_error *err)
{
    *out = NULL;
    meta_scores *s = ag_alloc_zero(sizeof *s);
    AG_REQUIRE(s, err, AG_ENOMEM, "scores: no memory");
    ag_code code = build(s, m, o, err);
    if (code == AG_OK)
        *out = s;
    else
        meta_scores_free(s);
    return ag_trail(err, code, __func__);
}

void meta_scores_free(meta_scores *s)
{
    if (!s)
        return;
    meta_features_release(&s->features);
    ag_free(s->index);
    ag_free(s->f);
    ag_free(s);
}

ag_code meta_scores_run(meta_scores *s, const meta_adapted *a, const meta_examples *x, ag_real *scores, ag_real *features, ag_error *err)
{
    const nn_text_shape *shape = &s->features.shape;
    /* However long the texts are, a part holds so many. */
    const int64_t sure = shape->length && shape->capacity / shape->length < shape->n ? shape->capacity / shape->length : shape->n;
    const int64_t d = s->features.d, most = s->features.most_parts * sure;
    AG_REQUIRE((s->features.shape.length > 0) == (x->ids != NULL) || x->n == 0, err, AG_EINVAL, "scores: the model reads %s; expected such examples",
               s->features.shape.length > 0 ? "texts" : "arrays");
    for (int64_t first = 0, n; first < x->n; first += n) {
        n = x->n - first < most ? x->n - first : most;
        ag_real *f = features ? features + first * d : s->f;
        for (int64_t i = 0; i < n; i++)
            s->index[i] = first + i;
        AG_TRY(err, meta_features_run(&s->features, x, s->index, n, false, a->values, f, err));
        meta_labelled batch = { .n = n, .d = d, .features = f };
        AG_TRY(err, meta_head_scores(&s->plan, &batch, a->w, a->b, scores + first * s->plan.way, err));
    }
    return AG_OK;
}
