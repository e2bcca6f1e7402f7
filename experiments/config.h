/* An experiment as read from YAML: every knob the runner knows, filled with defaults where the file is silent.
 *
 *     xp_config c;
 *     AG_TRY(err, xp_config_load(&c, "configs/quickstart.yaml", n_set, sets, err));
 *     ... c.outer.iterations ...
 *     xp_config_release(&c);
 *
 * One list of knobs (config_knobs.h) holds name, type, default, range, unit and meaning; the parser, the resolved
 * file, docs/config-reference.md and error messages are made from it. Strings are owned by the config. */
#ifndef XP_CONFIG_H
#define XP_CONFIG_H

#include "autograd/status.h"

#include <stdint.h>

enum { XP_MAX_HIDDEN = 8, XP_MAX_SHOTS = 8, XP_MAX_SOURCE_FILES = 16 };

typedef struct xp_tasks {
    const char *source;          /* sinusoid | lora-linear | omniglot */
    int64_t way, shot, query;    /* classes; support and query examples (per class in classification) */
    /* sinusoid: y = amplitude sin(x - phase) + noise N(0, noise^2) */
    double amplitude[2], phase[2], x[2], noise;
    /* lora-linear (papers: Block et al. 2024): d, T tasks, true rank k, n samples */
    int64_t dim, n_task, true_rank, train_samples, test_samples;
    double noise_std;
    /* omniglot */
    bool invert;                 /* 1 - x: ink is 1 */
    const char *rotate;          /* none | task (a turn per class per task) | classes (turned characters are new classes) */
    int64_t split[3];            /* train, validation, test characters; the fixed order is in the repository */
} xp_tasks;

typedef struct xp_model {
    const char *kind;            /* mlp | conv4 | linear */
    int64_t hidden[XP_MAX_HIDDEN];
    int n_hidden;
    const char *activation;      /* relu | tanh */
    const char *init;            /* truncated-normal | xavier | he */
    double init_std;             /* of truncated-normal */
    int64_t filters;             /* conv4 */
    const char *pooling;         /* stride | max */
    const char *norm;            /* none | batch */
    bool norm_scale;             /* batch norm has a scale (gamma) besides the shift (beta) */
    double norm_epsilon;
    bool adapt_norm;             /* beta and gamma are adapted in the inner loop */
    const char *head_init;       /* xavier | normal */
} xp_model;

typedef struct xp_adapter {
    const char *kind;            /* none | lora */
    int64_t rank;                /* while meta-training */
    int64_t test_rank;           /* 0: as rank */
    double init_std;             /* of the factors */
} xp_adapter;

typedef struct xp_inner {
    const char *rule;            /* sgd */
    double lr;
    double lr_query;             /* lora-linear: step size when fine-tuning at test; 0: lr */
    int64_t steps;               /* while training */
    const char *lr_scope;        /* all | tensor | element */
    bool learn_lr;
    const char *loss_scale;      /* mean | per-shot (sum over all examples / shot: Finn's code, way times the mean) */
} xp_inner;

typedef struct xp_outer {
    const char *algorithm;       /* maml | fomaml | joint | lora-ml | standard-retraining */
    const char *optimizer;       /* adam | sgd */
    double lr, beta1, beta2, epsilon, momentum;
    const char *schedule;        /* constant | linear | cosine */
    double lr_final;             /* end of linear and cosine */
    int64_t meta_batch, iterations, chunk;   /* chunk: tasks computed together; results depend on it, not on threads */
    double clip_value, clip_norm;            /* 0: off */
} xp_outer;

typedef struct xp_eval {
    int64_t episodes, steps;
    int64_t shots[XP_MAX_SHOTS];     /* support sizes tested; none: tasks.shot */
    int n_shots;
    int64_t query;                   /* per class; 0: tasks.query */
    const char *protocol;            /* transductive | inductive (without batch norm both are the same) */
    int64_t validate_every, validation_episodes;   /* iterations; 0: never */
    double diverged_above;           /* an episode whose loss exceeds this, or is not finite, counts as diverged */
    const char *select;              /* best (validation) | last */
    uint64_t seed;                   /* of the validation and test episodes, whatever the run's seed */
    int64_t checkpoint_every;        /* iterations; 0: never */
} xp_eval;

typedef struct xp_config {
    const char *name;
    uint64_t seed;
    int64_t repeats;             /* runs with seeds seed, seed + 1, ... in one file (lora-linear: 10) */
    xp_tasks tasks;
    xp_model model;
    xp_adapter adapter;
    xp_inner inner;
    xp_outer outer;
    xp_eval eval;
    char *resolved;              /* the whole configuration as YAML, every knob, in the list's order */
    char *annotated;             /* the same, each line with where the value came from, as a comment */
    void *strings;               /* owner of every string above */
} xp_config;

/* Reads a file, after the files its "defaults:" names, and applies n_set overrides "inner.lr=0.4"
 * in order; then fills in ${key} and ${env:NAME}. Errors are AG_ECONFIG with
 *     path:line:column: what is wrong; what was expected
 *         the line
 *         ^
 * (or the override's text in place of path:line:column), AG_EIO when the file cannot be read.
 * Checks single knobs and what must hold between them. On failure *c holds nothing to release. */
ag_code xp_config_load(xp_config *c, const char *path, int n_set, const char *const *sets, ag_error *err);
/* The same from text; name stands in messages. */
ag_code xp_config_parse(xp_config *c, const char *text, size_t length, const char *name, int n_set,
                        const char *const *sets, ag_error *err);
void xp_config_release(xp_config *c);

/* docs/config-reference.md: every knob with its range, default, unit and meaning. Freed with ag_free; NULL: no memory. */
char *xp_config_reference(void);
/* docs/experiment.schema.json: a JSON Schema of what single keys may be, for editors. Freed with ag_free. Fails with
 * AG_ENOMEM. */
ag_code xp_config_schema(char **text, ag_error *err);

#endif
