/* Class scores from features and a support set: prototypes, and the layer that starts at them (meta.h, meta_head).
 *
 * Cosine: f and c of length 1, score = scale f.c_k. Euclidean: -scale |f - c_k|^2, without the term |f|^2 that is the same
 * for all classes and falls out of the softmax: scale (2 f.c_k - |c_k|^2). */
#include "meta/learn_internal.h"

static const double tiny = 1e-12;    /* keeps the direction of a zero vector finite */

static ag_tensor *column(ag_tape *t, ag_tensor *x)   /* [n] -> [n, 1] */
{
    return x ? ag_reshape(t, x, 2, (int64_t[]){ ag_shape(x)[0], 1 }) : NULL;
}

static ag_tensor *dot_rows(ag_tape *t, ag_tensor *a, ag_tensor *b)   /* [n, d] [n, d] -> [n] */
{
    return ag_sum(t, ag_mul(t, a, b), AG_AXIS(1));
}

static ag_tensor *as_compared(ag_tape *t, const meta_plan *plan, ag_tensor *x)
{
    if (plan->similarity == META_SIMILARITY_EUCLIDEAN)
        return x;
    return ag_mul(t, x, column(t, ag_rsqrt(t, ag_affine(t, dot_rows(t, x, x), 1, tiny))));
}

/* f, c as compared -> [n, way]. */
static ag_tensor *scores(ag_tape *t, const meta_plan *plan, ag_tensor *f, ag_tensor *c)
{
    ag_tensor *product = ag_matmul(t, f, ag_transpose(t, c, NULL));
    if (plan->similarity == META_SIMILARITY_COSINE)
        return ag_scale(t, product, plan->head_scale);
    return ag_scale(t, ag_sub(t, ag_scale(t, product, 2), dot_rows(t, c, c)), plan->head_scale);
}

/* The classes of a support: one row an example, and how many each has (at least 1, so that none is divided by 0). */
typedef struct classes {
    ag_tensor *one_hot;              /* [n, way] */
    ag_tensor *count;                /* [way] */
    ag_tensor *mean;                 /* [way, d] of features as compared */
} classes;

static classes classes_of(ag_tape *t, const meta_plan *plan, ag_tensor *support, ag_tensor *labels)
{
    classes c = { .one_hot = ag_one_hot(t, labels, plan->way) };
    c.count = ag_max(t, ag_sum(t, c.one_hot, AG_AXIS(0)), ag_scalar(t, 1));
    c.mean = ag_div(t, ag_matmul(t, ag_transpose(t, c.one_hot, NULL), support), column(t, c.count));
    return c;
}

ag_tensor *meta_prototype_scores(ag_tape *t, const meta_plan *plan, ag_tensor *features, ag_tensor *support, ag_tensor *labels)
{
    classes c = classes_of(t, plan, as_compared(t, plan, support), labels);
    return scores(t, plan, as_compared(t, plan, features), as_compared(t, plan, c.mean));
}

ag_tensor *meta_prototype_own_scores(ag_tape *t, const meta_plan *plan, ag_tensor *support, ag_tensor *labels)
{
    ag_tensor *f = as_compared(t, plan, support);
    classes c = classes_of(t, plan, f, labels);
    ag_tensor *all = scores(t, plan, f, as_compared(t, plan, c.mean));
    ag_tensor *mean = ag_matmul(t, c.one_hot, c.mean);                                 /* [n, d], of each one's class */
    ag_tensor *count = ag_matmul(t, c.one_hot, column(t, c.count));                    /* [n, 1] */
    ag_tensor *others = ag_affine(t, count, 1, -1);
    ag_tensor *rest = ag_div(t, ag_sub(t, ag_mul(t, mean, count), f), ag_max(t, others, ag_scalar(t, 1)));
    ag_tensor *shape = ag_mul(t, ag_greater(t, others, ag_scalar(t, 0)), ag_full(t, 1, 2, f ? ag_shape(f) : (int64_t[]){ 1, 1 }));
    rest = as_compared(t, plan, ag_where(t, shape, rest, mean));
    ag_tensor *own = ag_scale(t, dot_rows(t, f, rest), plan->head_scale);
    if (plan->similarity == META_SIMILARITY_EUCLIDEAN)
        own = ag_scale(t, ag_sub(t, ag_scale(t, dot_rows(t, f, rest), 2), dot_rows(t, rest, rest)), plan->head_scale);
    return ag_add(t, all, ag_mul(t, c.one_hot, ag_sub(t, column(t, own), all)));
}

ag_tensor *meta_centroid_scores(ag_tape *t, const meta_plan *plan, ag_tensor *features, ag_tensor *w, ag_tensor *b)
{
    ag_tensor *product = ag_matmul(t, as_compared(t, plan, features), ag_transpose(t, w, NULL));
    return ag_add(t, ag_scale(t, product, plan->head_scale), b);
}

void meta_centroid_start(ag_tape *t, const meta_plan *plan, ag_tensor *support, ag_tensor *labels, ag_tensor **w, ag_tensor **b)
{
    classes c = classes_of(t, plan, as_compared(t, plan, support), labels);
    ag_tensor *mean = as_compared(t, plan, c.mean), *square = dot_rows(t, mean, mean);
    bool cosine = plan->similarity == META_SIMILARITY_COSINE;
    *w = cosine ? mean : ag_scale(t, mean, 2);
    *b = cosine ? ag_sub(t, square, square) : ag_scale(t, square, -plan->head_scale);   /* 0, but no constant: one differentiates by it */
}
