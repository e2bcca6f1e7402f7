/* For authors of the configuration's own files: how files and overrides are laid over one another, knob by knob. */
#ifndef XP_CONFIG_LAYERS_H
#define XP_CONFIG_LAYERS_H

#include "experiments/config_values.h"

/* Who set a knob last. */
typedef struct xp_slot {
    const xp_yaml *layer;
    const xp_yaml_node *value;      /* NULL: nobody */
} xp_slot;

typedef struct xp_layers {
    xp_slot *slots;                 /* [xp_n_knobs] */
    xp_yaml_node *made;             /* [xp_n_knobs]: values with ${...} filled in */
    xp_yaml **layers;               /* everything parsed; the first is the list's own defaults */
    const xp_yaml *file;            /* the experiment's own file */
    int n_layer, n_file, depth;
    xp_strings *strings;            /* texts of made values; whoever reads them takes it over */
} xp_layers;

/* Room for the defaults, XP_MAX_SOURCE_FILES files and n_set overrides. Release also after a failure. */
ag_code xp_layers_init(xp_layers *l, int n_set, ag_error *err);
void xp_layers_release(xp_layers *l);

/* The list's defaults; the file's text and, before it, the files its "defaults:" names; one "inner.lr=0.4". */
ag_code xp_layers_defaults(xp_layers *l, ag_error *err);
ag_code xp_layers_file(xp_layers *l, const char *text, size_t length, const char *name, ag_error *err);
ag_code xp_layers_override(xp_layers *l, const char *set, ag_error *err);

/* Fills in every ${key} and ${env:NAME}; call once, after the last layer. */
ag_code xp_layers_interpolate(xp_layers *l, ag_error *err);

/* "configs/a.yaml:3:7", "--set inner.lr=0.4" or "default"; control characters are replaced. */
void xp_layers_origin(const xp_layers *l, int knob, char *out, size_t size);

/* The whole of a regular file or pipe, at most one byte more than XP_YAML_BYTES_MAX. *text is freed with ag_free.
 * Fails with AG_EIO and a message without the path, such as "No such file or directory". */
ag_code xp_read_text(const char *path, char **text, size_t *length, ag_error *err);

#endif
