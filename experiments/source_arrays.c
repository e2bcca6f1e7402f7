/* Labelled arrays of one's own: any HDF5 file or NumPy arrays (arrays.h). Classes are the labels in ascending order;
 * class_set.h has splits and the order of drawing. */
#include "experiments/tasks_internal.h"

#include "experiments/arrays.h"
#include "experiments/class_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 24 };

typedef struct arrays {
    xp_arrays data;
    xp_class_set set;
    char (*names)[NAME];         /* of the classes: their labels in decimals */
} arrays;

typedef struct labelled {
    int64_t label, number;
} labelled;

static int by_label(const void *a, const void *b)
{
    const labelled *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static ag_code fill_set(arrays *s, const labelled *l, int64_t max_per_class, ag_error *err)
{
    int64_t n = s->data.n, classes = 1;
    for (int64_t i = 1; i < n; i++)
        classes += l[i].label != l[i - 1].label;
    AG_TRY(err, xp_class_set_init(&s->set, "arrays", "examples", classes, n, err));
    s->names = ag_alloc((size_t)classes * sizeof *s->names);
    AG_REQUIRE(s->names, err, AG_ENOMEM, "arrays: out of memory for %lld classes", (long long)classes);
    xp_class *c = s->set.classes - 1;
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || l[i].label != l[i - 1].label) {
            (++c)->first = i;
            c->name = s->names[c - s->set.classes];
            snprintf(s->names[c - s->set.classes], NAME, "%lld", (long long)l[i].label);
        }
        s->set.members[i] = l[i].number;
        c->count += max_per_class == 0 || c->count < max_per_class;
    }
    return AG_OK;
}

static ag_code sort_labels(arrays *s, int64_t max_per_class, ag_error *err)
{
    labelled *l = ag_alloc((size_t)s->data.n * sizeof *l);
    AG_REQUIRE(l, err, AG_ENOMEM, "arrays: out of memory for %lld labels", (long long)s->data.n);
    for (int64_t i = 0; i < s->data.n; i++)
        l[i] = (labelled){ s->data.y[i], i };
    qsort(l, (size_t)s->data.n, sizeof *l, by_label);
    ag_code code = fill_set(s, l, max_per_class, err);
    ag_free(l);
    return code;
}

static ag_code fill(arrays *s, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    static const int64_t none[3] = { 0 };
    const char *x = tasks->x_dataset && *tasks->x_dataset ? tasks->x_dataset : "x";
    const char *y = tasks->y_dataset && *tasks->y_dataset ? tasks->y_dataset : "y";
    AG_REQUIRE(tasks->path && *tasks->path, err, AG_ECONFIG, "tasks.path is empty; expected an HDF5 or .npz file, or a folder of .npy files");
    AG_TRY(err, xp_arrays_read(&s->data, tasks->path, x, y, err));
    AG_TRY(err, sort_labels(s, tasks->max_per_class, err));
    AG_TRY(err, xp_class_set_split(&s->set, tasks->class_split, none, err));
    AG_TRY(err, xp_class_set_from(&s->set, tasks->classes_from, err));
    xp_class_set_note(&s->set, tasks, opt);
    return AG_OK;
}

static void arrays_close(void *state)
{
    arrays *s = state;
    if (!s)
        return;
    xp_arrays_release(&s->data);
    xp_class_set_release(&s->set);
    ag_free(s->names);
    ag_free(s);
}

static ag_code arrays_open(void **state, xp_example_shape *shape, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    arrays *s = ag_alloc_zero(sizeof *s);
    AG_REQUIRE(s, err, AG_ENOMEM, "arrays: out of memory (%zu bytes)", sizeof *s);
    ag_code code = fill(s, tasks, opt, err);
    if (code != AG_OK) {
        arrays_close(s);
        return ag_trail(err, code, __func__);
    }
    *shape = (xp_example_shape){ .x_ndim = s->data.ndim, .labels = true };
    memcpy(shape->x_shape, s->data.shape, sizeof shape->x_shape);
    *state = s;
    return AG_OK;
}

static int64_t arrays_classes(const void *state, uint64_t stream)
{
    return xp_class_set_classes(&((const arrays *)state)->set, stream);
}

static int64_t arrays_examples(const void *state)
{
    return xp_class_set_examples(&((const arrays *)state)->set);
}

typedef struct target {
    const arrays *source;
    const xp_episode_out *out;
} target;

static void place(void *ctx, const xp_pick *p)
{
    const target *t = ctx;
    const xp_arrays *a = &t->source->data;
    ag_real *x = p->support ? t->out->support_x : t->out->query_x;
    memcpy(x + p->row * a->size, a->x + p->example * a->size, (size_t)a->size * sizeof *x);
    ((int32_t *)(p->support ? t->out->support_y : t->out->query_y))[p->row] = p->label;
}

static ag_code arrays_episode(const void *state, const xp_episode_id *id, const xp_episode_size *size, const xp_episode_out *out,
                              ag_error *err)
{
    const arrays *s = state;
    return xp_class_draw(&s->set, id, size, place, &(target){ s, out }, err);
}

const xp_source_type xp_source_arrays = {
    .name = "arrays",
    .about = "arrays and labels of an HDF5, .npz or .npy file of one's own",
    .open = arrays_open,
    .close = arrays_close,
    .classes = arrays_classes,
    .examples = arrays_examples,
    .episode = arrays_episode,
};
