/* The head on numbers: what task.c and task_scores.c do with features. */
#ifndef META_TASK_HEAD_H
#define META_TASK_HEAD_H

#include "meta/learn_internal.h"

/* Features [n, d] of labelled examples. */
typedef struct meta_labelled {
    int64_t n, d;
    const ag_real *features;
    const int32_t *labels;
} meta_labelled;

/* The layer w [way, d], b [way] of the classes' means. */
ag_code meta_head_start(const meta_plan *plan, const meta_labelled *x, ag_real *w, ag_real *b, ag_error *err);
/* The loss of the support itself [nats]; by_features [n, d], if not NULL, receives the gradient of the scaled loss, and by_w,
 * by_b that by a centroid head's layer, which w and b are. Of a prototype head those four are not used. */
ag_code meta_head_loss(const meta_plan *plan, const meta_labelled *x, const ag_real *w, const ag_real *b, double *loss, ag_real *by_features,
                       ag_real *by_w, ag_real *by_b, ag_error *err);
/* scores [n, way] of any features (labels are not used). */
ag_code meta_head_scores(const meta_plan *plan, const meta_labelled *x, const ag_real *w, const ag_real *b, ag_real *scores, ag_error *err);

#endif
