/* For authors of rules between knobs: what they share, and the rules by subject. */
#ifndef XP_CONFIG_CHECK_H
#define XP_CONFIG_CHECK_H

#include "experiments/config_values.h"

bool xp_same(const char *a, const char *b);

/* Blames the knobs a, b (may be NULL), tasks.source last; fmt says what is wrong and what was expected. Returns true. */
bool xp_broken(xp_conflict *out, const char *a, const char *b, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Whether the source is classified; of any word. */
bool xp_source_has_classes(const char *source);
/* "conv4 | mlp": kinds of model that learn its tasks; NULL: there is no such source. */
const char *xp_source_models(const char *source);
bool xp_source_fits(const char *source, const char *model);

/* The rules of one subject; false: everything fits. */
bool xp_check_network(const xp_config *c, xp_conflict *out);   /* the pretrained network, its adapters and heads */
bool xp_check_training(const xp_config *c, xp_conflict *out);  /* the inner and the outer loop */
bool xp_check_tasks(const xp_config *c, xp_conflict *out);     /* sizes of episodes and splits, what is tested */

#endif
