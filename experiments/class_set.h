/* Labelled examples in classes, classes in splits, and few-shot episodes drawn from them: what the sources with classes on
 * disk share (source_text.c, source_arrays.c, source_images.c).
 *
 *     xp_class_set s;
 *     AG_TRY(err, xp_class_set_init(&s, "banking77", "texts", n_class, n_member, err));
 *     ... fill s.classes (name, domain, first, count) by name, and s.members ...
 *     AG_TRY(err, xp_class_set_split(&s, class_split, split_domains, err));
 *     AG_TRY(err, xp_class_draw(&s, id, size, place, ctx, err));       // calls place for each example
 *     xp_class_set_release(&s);
 *
 * Splits. By class: the classes in order are shuffled (Fisher-Yates from the last place down, from the generator
 * (seed 0, AG_STREAM_WORLD, 0, 0), the same for every run), then the first class_split[0] are for training, the next for
 * validation, the next for test. By domain: the domains in order of rank, split_domains[0] of them for training, ...
 * Neither: every class is for test. What is left over is not used.
 *
 * Order of drawing from an episode's generator: whether it keeps within one domain (only where domain_share is neither 0
 * nor 1: one uniform number, below domain_share: yes); the domain; the classes; then for each class its examples, support
 * first. Classes with fewer than shot + query examples are left out, and domains with fewer than way such classes. */
#ifndef XP_CLASS_SET_H
#define XP_CLASS_SET_H

#include "experiments/tasks_internal.h"

enum { XP_CLASS_WAY_MAX = 1000, XP_CLASS_PICK_MAX = 4096 };   /* of an episode; so drawing needs no memory */

typedef struct xp_class {
    const char *name, *domain;   /* borrowed from the owner of the data; domain NULL: none */
    int64_t rank;                /* of the domain, 0 where there is none */
    int64_t first, count;        /* its examples are members[first .. first + count) */
    int64_t order;               /* set by xp_class_set_split: its place in the order given */
    int split;                   /* set by xp_class_set_split: 0 training, 1 validation, 2 test, 3 none */
} xp_class;

typedef struct xp_class_range {
    int64_t first, count;        /* classes of one domain and one split */
} xp_class_range;

typedef struct xp_class_set {
    const char *source, *noun;   /* for messages: "banking77", "texts" */
    int64_t n_class, n_member, n_range;
    xp_class *classes;           /* by split, rank, order */
    int64_t *members;            /* example numbers */
    xp_class_range *ranges, split[4];
    double domain_share;         /* of the episodes that take their classes from one domain: 0 .. 1 */
} xp_class_set;

/* An example of an episode: where it goes. */
typedef struct xp_pick {
    int64_t example, row;
    int32_t label;               /* place in the episode or, with size->fixed_labels, in the split */
    bool support;
} xp_pick;
typedef void (*xp_pick_fn)(void *ctx, const xp_pick *p);

/* Makes room; names are kept by pointer. *s is empty on failure (AG_ENOMEM). */
ag_code xp_class_set_init(xp_class_set *s, const char *source, const char *noun, int64_t n_class, int64_t n_member, ag_error *err);
/* Either triple may be all zero: then it is not the one that splits; class_split goes first. Fails with AG_ECONFIG (more
 * than there are, naming the knob) or AG_ENOMEM. */
ag_code xp_class_set_split(xp_class_set *s, const int64_t class_split[3], const int64_t split_domains[3], ag_error *err);
void xp_class_set_release(xp_class_set *s);

/* tasks.classes_from: all (also NULL), domain, mixed. Fails with AG_ECONFIG where classes have no domains. */
ag_code xp_class_set_from(xp_class_set *s, const char *classes_from, ag_error *err);
/* Tells opt->note of classes too small for episodes of this size. */
void xp_class_set_note(const xp_class_set *s, const xp_tasks *tasks, const xp_source_options *opt);

/* The split of a stream: 0 training, 1 validation, 2 test. */
int xp_class_split_of(uint64_t stream);
/* Classes one episode can choose from, and examples of the largest class: for xp_source_type. */
int64_t xp_class_set_classes(const xp_class_set *s, uint64_t stream);
int64_t xp_class_set_examples(const xp_class_set *s);

/* Calls place for every example of an episode, class after class. Fails with AG_ECONFIG and the counts when there are not
 * enough classes, or examples. */
ag_code xp_class_draw(const xp_class_set *s, const xp_episode_id *id, const xp_episode_size *size, xp_pick_fn place, void *ctx,
                      ag_error *err);

#endif
