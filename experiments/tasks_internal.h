/* What the author of a task source needs; users read tasks.h, docs/howto-dataset.md has the steps.
 *
 * A source is one file that defines one xp_source_type, and one row in tasks.c. */
#ifndef XP_TASKS_INTERNAL_H
#define XP_TASKS_INTERNAL_H

#include "experiments/tasks.h"

/* Where an episode goes: the arguments of xp_source_episode. NULL where there are no examples. */
typedef struct xp_episode_out {
    void *support_x, *query_x;
    void *support_y, *query_y;
} xp_episode_out;

typedef struct xp_source_type {
    const char *name;            /* as in the configuration */
    const char *about;           /* one line for the user */
    /* Checks the knobs, sets *state (freed by close) and *shape. opt is never NULL. */
    ag_code (*open)(void **state, xp_example_shape *shape, const xp_tasks *tasks, const xp_source_options *opt,
                    ag_error *err);
    void (*close)(void *state);
    int64_t (*classes)(const void *state, uint64_t stream);   /* NULL: none */
    int64_t (*examples)(const void *state);                   /* per class; NULL: as many as wanted */
    /* Text sources; else NULL. What capacity found comes back in the size of the episodes asked for (support_capacity,
     * query_capacity): nothing is remembered. */
    ag_code (*capacity)(const void *state, uint64_t stream, const xp_episode_size *size, nn_text_shape *support,
                        nn_text_shape *query, ag_error *err);
    int64_t (*dropped)(const void *state);
    int64_t (*texts)(const void *state, uint64_t stream, int64_t *index, xp_text_tokens *tokens);
    ag_code (*picks)(const void *state, const xp_episode_id *id, const xp_episode_size *size, int64_t *index, ag_error *err);
    void (*use_features)(void *state, const ag_real *features, int64_t width);
    /* way >= 1, shot and query >= 0 and buffers are checked before. Pure, thread-safe, no allocation. */
    ag_code (*episode)(const void *state, const xp_episode_id *id, const xp_episode_size *size,
                       const xp_episode_out *out, ag_error *err);
} xp_source_type;

struct xp_source {
    const xp_source_type *type;
    xp_example_shape shape;
    void *state;
};

extern const xp_source_type xp_source_sinusoid, xp_source_lora_linear, xp_source_omniglot, xp_source_clinc150, xp_source_banking77,
    xp_source_hwu64, xp_source_text, xp_source_arrays, xp_source_caltech101, xp_source_lm;

#endif
