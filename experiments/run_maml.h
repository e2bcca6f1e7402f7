/* The insides of runs of MAML and its kin: run_maml.c makes and trains, run_maml_test.c scores, run_features.c
 * scores by features computed once. */
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
    bool labels, language;               /* classification; next tokens. Neither: regression */
    xp_learner train, test;              /* test.learner is NULL where the training one serves: see xp_test_learner */
    meta_state state, best;              /* best: on the validation episodes */
    bool has_best;
    double best_score;
    meta_optimizer optimizer;
    ag_real *rate_scale;                 /* [state.n], LoRA+; NULL: 1 */
    ag_real *importance[2];              /* AdaLoRA's averages, [meta_adapter_values]; NULL without */
    int64_t done, validated;             /* iterations trained; of the last validation, -1: none yet */
    int64_t tested;                      /* protocols */
    meta_scorer *validator;
    xp_episode_size validation;
    ag_real *grad;                       /* [state.n] */
    double *scores;                      /* [2][episodes] of a validation: losses, then accuracies after the last step */
    struct xp_feature_table *features;   /* run_features.c: of the last test; NULL: none yet */
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
ag_code xp_make_scorer(xp_maml_run *r, const xp_episode_size *size, xp_steps steps, meta_scorer **sc, ag_error *err);

/* Episodes to be scored, and after which steps. */
typedef struct xp_score_wish {
    xp_episode_size size;
    uint64_t stream;
    int64_t n;
    xp_steps steps;
} xp_score_wish;
/* At these parameters: losses, then accuracies, [n][steps.n] each. sc may be NULL: one is made. */
ag_code xp_score_episodes(xp_maml_run *r, meta_scorer *sc, const xp_source *source, const xp_score_wish *wish, const meta_state *s,
                          double *scores, ag_error *err);
/* The trained parameters as the learner for tests has them; released where it is another learner (xp_test_state_release). */
ag_code xp_test_state(const xp_maml_run *r, const meta_state *trained, meta_state *s, ag_error *err);
void xp_test_state_release(const xp_maml_run *r, meta_state *s);
/* True when the tests use the best parameters; the last ones are then reported besides. */
bool xp_tests_best(const xp_maml_run *r);
/* Tests of the run, and the next one. */
int64_t xp_test_count(const xp_maml_run *r);
ag_code xp_test_next(xp_maml_run *r, ag_error *err);
/* The size of test i where it is one of this source; false: it is of another. */
bool xp_test_size(const xp_maml_run *r, int64_t i, const char *source, xp_episode_size *size);
/* The validation episodes after the last step, as xp_score_episodes. */
ag_code xp_score_validation(xp_maml_run *r, double *scores, ag_error *err);

/* ---- run_features.c ---- */

/* True where no episode moves a text's features: no inner step, or only a head is adapted. Then each text goes through the
 * network once, however many episodes it is in. */
bool xp_features_stay(const xp_maml_run *r, const xp_source *source);
/* As xp_score_episodes; the source, whose name in tasks.source is given, is only fit to be closed afterwards. */
ag_code xp_score_by_features(xp_maml_run *r, xp_source *source, const char *name, const xp_score_wish *wish, const meta_state *s,
                             double *scores, ag_error *err);

void xp_features_free(struct xp_feature_table *t);   /* NULL is allowed */

#endif
