/* The head on numbers (task_head.h): head.c's formulas, evaluated at once on a small tape of their own. */
#include "meta/task_head.h"

typedef struct head_tape {
    ag_tape *t;
    ag_tensor *features, *labels, *w, *b;
} head_tape;

static ag_tensor *matrix(ag_tape *t, int64_t rows, int64_t columns, const ag_real *data)
{
    return ag_value(t, &(ag_spec){ .ndim = 2, .shape = { rows, columns } }, data);
}

static ag_code head_tape_init(head_tape *h, const meta_plan *plan, const meta_labelled *x, const ag_real *w, const ag_real *b, ag_error *err)
{
    *h = (head_tape){ .t = ag_tape_new(NULL, err) };
    if (!h->t)
        return AG_ENOMEM;
    h->features = matrix(h->t, x->n, x->d, x->features);
    if (x->labels)
        h->labels = ag_value(h->t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { x->n } }, x->labels);
    if (w) {
        h->w = matrix(h->t, plan->way, x->d, w);
        h->b = ag_value(h->t, &(ag_spec){ .ndim = 1, .shape = { plan->way } }, b);
    }
    return AG_OK;
}

/* What has been recorded goes to its places, and the tape goes. */
static ag_code head_tape_read(head_tape *h, int n, ag_tensor *const *from, ag_real *const *to, ag_error *err)
{
    ag_code code = ag_tape_status(h->t, err);
    for (int i = 0; i < n && code == AG_OK; i++)
        code = from[i] ? ag_read(from[i], to[i]) : ag_fail(err, AG_ENOMEM, "task: no memory for the head");
    ag_tape_free(h->t);
    return code;
}

ag_code meta_head_start(const meta_plan *plan, const meta_labelled *x, ag_real *w, ag_real *b, ag_error *err)
{
    head_tape h;
    ag_tensor *start[2] = { NULL, NULL };
    AG_TRY(err, head_tape_init(&h, plan, x, NULL, NULL, err));
    meta_centroid_start(h.t, plan, h.features, h.labels, &start[0], &start[1]);
    return head_tape_read(&h, 2, start, (ag_real *const[]){ w, b }, err);
}

ag_code meta_head_loss(const meta_plan *plan, const meta_labelled *x, const ag_real *w, const ag_real *b, double *loss, ag_real *by_features,
                       ag_real *by_w, ag_real *by_b, ag_error *err)
{
    head_tape h;
    ag_real value = 0;
    bool centroid = plan->head == META_HEAD_CENTROID;
    int n = !by_features ? 0 : centroid ? 3 : 1;
    AG_TRY(err, head_tape_init(&h, plan, x, centroid ? w : NULL, b, err));
    ag_tensor *scores = centroid ? meta_centroid_scores(h.t, plan, h.features, h.w, h.b)
                                 : meta_prototype_own_scores(h.t, plan, h.features, h.labels);
    ag_tensor *out[4] = { ag_mean(h.t, ag_cross_entropy(h.t, scores, h.labels), AG_ALL_AXES) };
    if (n)
        ag_grad(h.t, ag_scale(h.t, out[0], plan->support_scale), NULL, n, (ag_tensor *const[]){ h.features, h.w, h.b }, out + 1);
    ag_code code = head_tape_read(&h, 1 + n, out, (ag_real *const[]){ &value, by_features, by_w, by_b }, err);
    *loss = (double)value;
    return code;
}

ag_code meta_head_scores(const meta_plan *plan, const meta_labelled *x, const ag_real *w, const ag_real *b, ag_real *scores, ag_error *err)
{
    head_tape h;
    AG_TRY(err, head_tape_init(&h, plan, x, w, b, err));
    ag_tensor *out = meta_centroid_scores(h.t, plan, h.features, h.w, h.b);
    return head_tape_read(&h, 1, &out, &scores, err);
}
