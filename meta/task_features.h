/* What task.c and task_scores.c share: features of listed examples, part by part, and the gradient's way back. */
#ifndef META_TASK_FEATURES_H
#define META_TASK_FEATURES_H

#include "meta/learn_internal.h"
#include "meta/task.h"

/* Examples index[first .. first + n - 1] of a list. */
typedef struct meta_part {
    int64_t first, n;
} meta_part;

/* One program and what runs it. */
typedef struct meta_features {
    const nn_model *model;
    const meta_plan *plan;           /* NULL: no gradient */
    nn_text_shape shape;             /* of a part; arrays: n only */
    int64_t d;
    ag_program *program;
    int threads, n_slot;
    bool kept;                       /* each part has a slot of its own: its intermediates stay for the way back */
    struct meta_slot *slots;         /* [n_slot] */
    ag_real *g;                      /* [most_parts, plan->n_adapted] */
    meta_pool *pool;
    int64_t n_part, most_parts;
    meta_part *part;                 /* [most_parts], of the list run last */
    const meta_examples *x;          /* what was run last */
    const int64_t *index;
    const ag_real *values;
} meta_features;

/* plan: gradients of its adapted parameters are wanted; NULL: none. most_parts: of any list that will be given. */
ag_code meta_features_init(meta_features *f, const nn_model *m, const meta_plan *plan, const nn_text_shape *shape, int64_t most_parts,
                           int threads, ag_error *err);
void meta_features_release(meta_features *f);
size_t meta_features_bytes(const meta_features *f);

/* The features [n, d] of x's examples index[0 .. n - 1] at values. again: the same list as last time, at other values. */
ag_code meta_features_run(meta_features *f, const meta_examples *x, const int64_t *index, int64_t n, bool again, const ag_real *values,
                          ag_real *features, ag_error *err);
/* From d loss / d features [n, d] of the list run last, which must still stand: g [plan->n_adapted], the places of the model's
 * parameters; others are left alone. */
ag_code meta_features_back(meta_features *f, const ag_real *by_features, ag_real *g, ag_error *err);

/* Tokens of an example; 0: of arrays. */
int64_t meta_example_tokens(const meta_examples *x, int64_t i, int64_t length);

#endif
