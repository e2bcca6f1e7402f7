/* The insides of runs of MAML and its kin: run_maml.c makes and trains, run_maml_test.c scores. */
#ifndef XP_RUN_MAML_H
#define XP_RUN_MAML_H

#include "experiments/run_internal.h"

/* A learner and what it learns; the model's first numbers are the same in all of a run's learners. */
typedef struct xp_learner {
    nn_model model;
    meta_learner *learner;
} xp_learner;

typedef struct xp_maml_run {
    xp_context *x;
    const xp_config *c;
    xp_base base;
    xp_source *source;
    bool labels;                         /* classification */
    xp_learner train, test;              /* test.learner is NULL where the training one serves: see xp_test_learner */
    meta_state state, best;              /* best: on the validation episodes */
    bool has_best;
    double best_score;
    meta_optimizer optimizer;
    ag_real *rate_scale;                 /* [state.n], LoRA+; NULL: 1 */
    ag_real *importance[2];              /* AdaLoRA's averages, [meta_adapter_values]; NULL without */
    int64_t done, validated;             /* iterations trained; of the last validation */
    int64_t tested;                      /* protocols */
    meta_scorer *validator;
    xp_episode_size validation;
    ag_real *grad;                       /* [state.n] */
    double *scores;                      /* [2][episodes][steps + 1]: losses, then accuracies */
} xp_maml_run;

/* Options of the configuration; sizes of a training episode. */
meta_options xp_learner_options(const xp_maml_run *r, const xp_episode_size *size);
ag_code xp_learner_make(const xp_maml_run *r, const meta_options *o, int64_t n_class, xp_learner *l, ag_error *err);
void xp_learner_release(xp_learner *l);

/* ---- run_maml_test.c ---- */

int64_t xp_query_at_test(const xp_config *c);
/* The head that classes are scored with at test. */
meta_head xp_test_head(const xp_config *c);
/* Makes r->test where the training learner's model cannot be tested: it has a layer of its own for other classes. */
ag_code xp_make_test_learner(xp_maml_run *r, ag_error *err);
ag_code xp_make_scorer(xp_maml_run *r, const xp_episode_size *size, meta_scorer **sc, ag_error *err);
/* Scores [n] episodes of size at these parameters: losses, then accuracies, [n][steps + 1] each. */
ag_code xp_score_episodes(xp_maml_run *r, meta_scorer *sc, const xp_source *source, const xp_episode_size *size, uint64_t stream,
                          const meta_state *s, int64_t n, double *scores, ag_error *err);
/* True when the tests use the best parameters; the last ones are then reported besides. */
bool xp_tests_best(const xp_maml_run *r);
/* Tests of the run, and the next one. */
int64_t xp_test_count(const xp_maml_run *r);
ag_code xp_test_next(xp_maml_run *r, ag_error *err);

#endif
