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

enum {
    XP_MAX_HIDDEN = 8, XP_MAX_SHOTS = 8, XP_MAX_TESTS = 8, XP_MAX_TARGETS = 32, XP_MAX_LAYERS = 64, XP_MAX_PATTERNS = 16,
    XP_MAX_SOURCE_FILES = 16, XP_MAX_SCORE_STEPS = 64
};

typedef struct xp_tasks {
    const char *source;          /* sinusoid | lora-linear | omniglot | clinc150 | banking77 | hwu64 | text | arrays |
                                  * caltech101 | lm */
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
    /* text, arrays, lm: a file or folder and what of it is read */
    const char *path;            /* "": in the data folder */
    const char *text_column, *label_column, *domain_column;   /* domain_column "": no domains */
    const char *x_dataset, *y_dataset;                        /* arrays */
    /* classification */
    const char *classes_from;    /* all | domain (all of one) | mixed (one domain in 7 of 10 episodes) */
    int64_t split_domains[3];    /* train, validation, test domains */
    int64_t class_split[3];      /* train, validation, test classes; all 0: the source's own split */
    int64_t max_per_class;       /* examples; 0: all */
} xp_tasks;

typedef struct xp_model {
    const char *kind;            /* mlp | conv4 | linear | network */
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
    const char *head_init;       /* xavier | normal | zero */
    /* network */
    const char *path;            /* folder or file; or minilm | smollm2 as the program got them */
    int64_t max_tokens;          /* longer texts are cut */
    const char *features;        /* mean | first | last: what of a text's tokens is its feature */
    const char *head;            /* linear | prototype | centroid */
    const char *similarity;      /* cosine | euclidean; of prototype and centroid */
    double head_scale;           /* logits are this times the similarity */
    const char *train;           /* regular expression: base weights trained too; "": none */
} xp_model;

typedef struct xp_adapter {
    const char *kind;            /* none | lora | dora | adalora | vera */
    int64_t rank;                /* while meta-training */
    int64_t test_rank;           /* 0: as rank */
    double init_std;             /* linear: of the factors */
    /* network; as PEFT has them */
    double alpha;                /* 0: twice the rank */
    const char *init;            /* default | gaussian | pissa | olora | orthogonal */
    bool rslora;                 /* scale alpha / sqrt(rank) instead of alpha / rank */
    double dropout;              /* of the adapters' input, while training */
    const char *targets[XP_MAX_TARGETS];   /* names of modules; none: the architecture's usual ones */
    int n_targets;
    const char *exclude[XP_MAX_TARGETS];
    int n_exclude;
    int64_t layers[XP_MAX_LAYERS];         /* none: all */
    int n_layers;
    const char *rank_pattern[XP_MAX_PATTERNS];   /* "pattern=number" (xp_pattern_split) */
    int n_rank_pattern;
    const char *alpha_pattern[XP_MAX_PATTERNS];
    int n_alpha_pattern;
    double lr_ratio;             /* LoRA+: B's step size is this times A's */
    int64_t budget;              /* adalora: singular values left at the end; 0: half of the first */
    double orthogonality;        /* adalora: weight of the orthogonality penalty in the training loss */
    const char *path;            /* starts from this PEFT folder; "": drawn */
} xp_adapter;

typedef struct xp_inner {
    const char *rule;            /* sgd | adam */
    double lr;
    double lr_query;             /* lora-linear: step size when fine-tuning at test; 0: lr */
    int64_t steps;               /* while training; 0: none (protonet) */
    double proximal;             /* imaml: lambda, pull to the start */
    const char *lr_scope;        /* all | tensor | element */
    bool learn_lr;
    const char *loss_scale;      /* mean | per-shot (sum over all examples / shot: Finn's code, way times the mean) */
} xp_inner;

typedef struct xp_outer {
    const char *algorithm;       /* maml | fomaml | joint | reptile | anil | imaml | protonet | multitask | none | lora-ml |
                                  * standard-retraining */
    const char *optimizer;       /* adam | sgd */
    double lr, beta1, beta2, epsilon, momentum;
    const char *schedule;        /* constant | linear | cosine */
    double lr_final;             /* end of linear and cosine */
    int64_t meta_batch, iterations, chunk;   /* chunk: tasks computed together; results depend on it, not on threads.
                                              * iterations are 0 with the algorithm none */
    int64_t keep_memory;                     /* exact MAML: of each thread, for the results of inner steps [MB] */
    double clip_value, clip_norm;            /* 0: off */
    int64_t cg_steps;                        /* imaml: of the conjugate gradients */
    double weight_decay;                     /* adam: decoupled */
} xp_outer;

typedef struct xp_eval {
    int64_t episodes, steps;
    int64_t score_steps[XP_MAX_SCORE_STEPS];   /* steps that are scored, ascending up to `steps`; none: every one */
    int n_score_steps;
    int64_t shots[XP_MAX_SHOTS];     /* support sizes tested; none: tasks.shot */
    int n_shots;
    int64_t query;                   /* per class; 0: tasks.query */
    const char *protocol;            /* transductive | inductive (without batch norm both are the same) */
    int64_t validate_every, validation_episodes;   /* iterations; 0: never */
    double diverged_above;           /* an episode whose loss exceeds this, or is not finite, counts as diverged */
    const char *select;              /* best (validation) | last */
    uint64_t seed;                   /* of the validation and test episodes, whatever the run's seed */
    int64_t checkpoint_every;        /* iterations; 0: never */
    const char *tests[XP_MAX_TESTS]; /* "source" or "source/way"; none: tasks.source with tasks.way */
    int n_tests;
    const char *head;                /* same (as model.head) | linear | prototype | centroid */
    double lr;                       /* step size at test; 0: the learned one, or inner.lr */
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

/* An entry of adapter.rank_pattern or alpha_pattern, "layer.0.*query=4": the pattern's length in the entry and the number
 * after the last '='. false: it is none. */
bool xp_pattern_split(const char *entry, size_t *length, double *value);
/* An entry of eval.tests, "banking77/77": the source's length in the entry and the way, 0 where none is given (then it is
 * tasks.way). false: it is none. */
bool xp_test_split(const char *entry, size_t *length, int64_t *way);

/* docs/config-reference.md: every knob with its range, default, unit and meaning. Freed with ag_free; NULL: no memory. */
char *xp_config_reference(void);
/* docs/experiment.schema.json: a JSON Schema of what single keys may be, for editors. Freed with ag_free. Fails with
 * AG_ENOMEM. */
ag_code xp_config_schema(char **text, ag_error *err);

#endif
