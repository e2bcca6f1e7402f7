/* YAML text -> a small tree whose every node remembers its line and column. yaml.h is included by yaml_read.c only.
 *
 *     xp_yaml *y;
 *     AG_TRY(err, xp_yaml_parse(&y, text, length, "run.yaml", false, err));
 *     for (const xp_yaml_node *key = y->root->first; key; key = key->next->next) { ... key->text, key->next ... }
 *     xp_yaml_free(y);
 *
 * Stricter than YAML, so that a mistake cannot pass for meaning: duplicate keys, keys that are not scalars, tags, a
 * second document and recursive aliases are refused. Size, nesting and the size after aliases are bounded. */
#ifndef XP_YAML_READ_H
#define XP_YAML_READ_H

#include "autograd/status.h"

enum {
    XP_YAML_BYTES_MAX = 1 << 20,    /* of text */
    XP_YAML_NODES_MAX = 20000,      /* with every alias written out */
    XP_YAML_DEPTH_MAX = 32,
    XP_YAML_ANCHORS_MAX = 64
};

typedef enum xp_yaml_kind { XP_YAML_SCALAR, XP_YAML_LIST, XP_YAML_MAP } xp_yaml_kind;

/* A place in the text: line and column from 1, the column in characters; width characters are meant. */
typedef struct xp_yaml_mark {
    int line, column, width;
} xp_yaml_mark;

typedef struct xp_yaml_node xp_yaml_node;
struct xp_yaml_node {
    xp_yaml_kind kind;
    xp_yaml_mark at;
    xp_yaml_node *next;             /* in the parent */
    xp_yaml_node *first;            /* list: the items; map: key, value, key, value, ... */
    int n;                          /* list: items; map: keys */
    const char *text;               /* scalar: UTF-8 with a 0 at the end */
    size_t length;
    bool quoted;                    /* scalar: written in quotes or as a block, so it is text whatever it looks like */
};

typedef struct xp_yaml {
    const char *name;               /* stands in messages */
    bool one_line;                  /* an option's value: messages give the name alone, no line, column or excerpt */
    const char *text;
    size_t length;
    const xp_yaml_node *root;       /* NULL: nothing but comments and white space */
    void *memory;
} xp_yaml;

/* Text is UTF-8 and is copied, as is name. Fails with AG_ECONFIG (the message names the place) or AG_ENOMEM. */
ag_code xp_yaml_parse(xp_yaml **y, const char *text, size_t length, const char *name, bool one_line, ag_error *err);
void xp_yaml_free(xp_yaml *y);      /* NULL is allowed; every node goes with it */
const char *xp_yaml_version(void);  /* libyaml's */

/* A node as messages quote it: 'text' (cut, control characters replaced), "a list", "a map" or "nothing". */
enum { XP_YAML_SHOWN = 200 };
const char *xp_yaml_show(const xp_yaml_node *n, char out[XP_YAML_SHOWN]);

/* Fails with AG_ECONFIG and the message
 *     name:line:column: FMT...
 *         the line
 *             ^~~ */
ag_code xp_yaml_fail(const xp_yaml *y, xp_yaml_mark at, ag_error *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
