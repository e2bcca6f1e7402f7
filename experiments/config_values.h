/* For authors of the configuration's own files: the knobs as a table, and values from and to YAML. */
#ifndef XP_CONFIG_VALUES_H
#define XP_CONFIG_VALUES_H

#include "experiments/config.h"
#include "experiments/text.h"
#include "experiments/yaml_read.h"

typedef enum xp_knob_type { XP_INT, XP_REAL, XP_BOOL, XP_WORD, XP_TEXT, XP_CHOICE, XP_SEED } xp_knob_type;

typedef struct xp_knob {
    const char *path;               /* "inner.lr" */
    xp_knob_type type;
    const char *standard;           /* the default as YAML, or in parentheses how it is found */
    const char *range, *unit, *meaning;
    size_t offset;                  /* in xp_config */
    size_t count_offset;            /* of a list's int; 0: not a list */
    int capacity;                   /* 0: one value; else elements of the array */
} xp_knob;

extern const xp_knob xp_knobs[];    /* in the list's order; sections are contiguous */
extern const int xp_n_knobs;

enum {
    XP_KEY_MAX = 64,
    XP_TEXT_BYTES = 400,            /* of a TEXT */
    XP_CHOICES = 32,                /* words of a CHOICE, */
    XP_CHOICES_BYTES = 512          /* and of its range */
};

/* Number of the knob, -1: none of this name. */
int xp_knob_find(const char *path);
bool xp_knob_required(const xp_knob *k);
/* Default worked out, not written in the list: "(...)". */
bool xp_knob_derived(const xp_knob *k);
/* Length of "inner" in "inner.lr"; 0 at the top level. */
size_t xp_knob_section(const xp_knob *k);
/* Words, texts and choices: their field is a string. */
bool xp_knob_is_string(const xp_knob *k);
/* How many values the field holds. */
int xp_knob_values(const xp_knob *k, const xp_config *c);
/* Half a line on the section of a key; of the top level where it has none. */
const char *xp_section_about(const char *path);
/* "a number in (0, 1e3]": what a value of the knob may be; for messages. Returns out. */
const char *xp_knob_expected(const xp_knob *k, char *out, size_t size);

/* Owner of a config's strings. */
typedef struct xp_strings xp_strings;
ag_code xp_strings_keep(xp_strings **s, const char *text, size_t length, const char **kept, ag_error *err);
void xp_strings_free(xp_strings *s);

/* Node -> the knob's field of c, with type, range and choice checked. Words are kept in *s. */
ag_code xp_knob_read(const xp_knob *k, const xp_yaml *y, const xp_yaml_node *n, xp_config *c, xp_strings **s,
                     ag_error *err);
/* Adds the knob's field as YAML that reads back to the same bits, and that YAML 1.1 readers type the same way. */
void xp_knob_write(const xp_knob *k, const xp_config *c, xp_text *out);
/* One real number that way. */
void xp_real_write(double value, xp_text *out);

/* The nearest of n words, NULL when none is near. */
const char *xp_nearest(const char *word, const char *const *words, int n);
/* Edits (insert, delete, replace, swap neighbours) between two words. */
int xp_edit_distance(const char *a, const char *b);
/* "tasks", "model", ... */
bool xp_is_section(const char *name);
/* What to say after "unknown key 'section.leaf'; " (section "": top level): "did you mean 'inner.lr'?", or which keys
 * there are. */
void xp_suggest(const char *section, const char *leaf, char *out, size_t size);

/* What must hold between knobs. A broken rule names the knobs to blame, the first one foremost, and says why. */
typedef struct xp_conflict {
    const char *knobs[3];           /* paths; NULL: fewer */
    char why[400];
} xp_conflict;
/* false: everything fits. */
bool xp_config_conflict(const xp_config *c, xp_conflict *out);

#endif
