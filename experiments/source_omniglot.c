/* Omniglot episodes: handwritten characters, 28x28, in the recipes of MAML (Finn et al. 2017: tasks.rotate = task,
 * tasks.invert) and Reptile (Nichol et al. 2018: tasks.rotate = classes, training characters only).
 *
 * Order of drawing from an episode's generator: the classes; then for each class its turn (rotate = task) and its
 * drawings, support first. Turns are exact quarter turns, counterclockwise as NumPy's rot90. */
#include "experiments/tasks_internal.h"

#include "autograd/random.h"
#include "experiments/omniglot_cache.h"
#include "experiments/omniglot_import.h"
#include "experiments/omniglot_split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_CHARACTER = 1623, N_DRAWING = 20, SIDE = XP_OMNIGLOT_SIDE };

typedef enum rotation { ROTATE_NONE, ROTATE_TASK, ROTATE_CLASSES } rotation;

typedef struct omniglot {
    xp_omniglot_pack pack;
    int character[N_CHARACTER];       /* place in the split's order -> place in the pack */
    int64_t first[3], count[3];       /* of each split, in the split's order */
    rotation rotate;
    ag_real shade[256];               /* a byte of the pack -> x */
} omniglot;

/* --- knobs --- */

static ag_code read_rotation(omniglot *s, const char *name, ag_error *err)
{
    static const char *const names[] = { "none", "task", "classes" };
    for (int i = 0; i < 3; i++)
        if (strcmp(name ? name : "none", names[i]) == 0) {
            s->rotate = (rotation)i;
            return AG_OK;
        }
    return ag_fail(err, AG_ECONFIG, "tasks.rotate: '%s'; expected none, task or classes", name);
}

static ag_code read_split(omniglot *s, const int64_t split[3], ag_error *err)
{
    static const int64_t usual[3] = { 1100, 100, 423 };
    const int64_t *want = split[0] || split[1] || split[2] ? split : usual;
    int64_t used = 0;
    for (int i = 0; i < 3; i++) {
        AG_REQUIRE(want[i] >= 0 && want[i] <= N_CHARACTER - used, err, AG_ECONFIG,
                   "tasks.split: [%lld, %lld, %lld]; expected three counts of 0 or more, together at most %d characters",
                   (long long)want[0], (long long)want[1], (long long)want[2], N_CHARACTER);
        s->first[i] = used;
        s->count[i] = want[i];
        used += want[i];
    }
    return AG_OK;
}

static void fill_shades(omniglot *s, bool invert)
{
    for (int v = 0; v < 256; v++)
        s->shade[v] = (ag_real)((invert ? 255 - v : v) / 255.0);
}

static int by_order_name(const void *a, const void *b)
{
    return strcmp(omniglot_order[*(const int *)a], omniglot_order[*(const int *)b]);
}

/* The pack holds the characters in byte order of their names; the split deals them in its own. */
static void locate_characters(omniglot *s)
{
    int sorted[N_CHARACTER];
    for (int i = 0; i < N_CHARACTER; i++)
        sorted[i] = i;
    qsort(sorted, N_CHARACTER, sizeof *sorted, by_order_name);
    for (int i = 0; i < N_CHARACTER; i++)
        s->character[sorted[i]] = i;
}

/* --- data --- */

static ag_code read_pack(omniglot *s, const char *path, ag_error *err)
{
    AG_TRY(err, xp_omniglot_cache_read(&s->pack, path, XP_OMNIGLOT_DIGEST, err));
    AG_REQUIRE(s->pack.n_character == N_CHARACTER && s->pack.n_drawing == N_DRAWING, err, AG_EDATA,
               "%s: %lld characters x %lld drawings; expected %d x %d", path, (long long)s->pack.n_character,
               (long long)s->pack.n_drawing, N_CHARACTER, N_DRAWING);
    return AG_OK;
}

static ag_code not_ready(const char *why, ag_error *err)
{
    return ag_fail(err, AG_ECONFIG,
                   "Omniglot is not ready (%s). Run 'metalora data get omniglot' once, which downloads it; or, where you have "
                   "images_background.zip and images_evaluation.zip already, 'metalora data import omniglot DIR', DIR being "
                   "their folder; or give --data-dir DIR, or set METALORA_DATA", why);
}

/* From the archives, where they are known. What became of a spoilt cache is told. */
static ag_code rebuild(const xp_source_options *opt, const char *path, const char *why, ag_error *err)
{
    char dir[XP_PATH_MAX], archive[XP_PATH_MAX], text[AG_MESSAGE_MAX];
    const char *given = opt->data_dir ? opt->data_dir : getenv("METALORA_DATA");
    bool spoilt = access(path, F_OK) == 0;
    AG_TRY(err, xp_omniglot_data_dir(opt->data_dir, opt->cache_dir, dir, err));
    if (!(given && *given) && xp_omniglot_find_archive(dir, 0, archive, NULL) != AG_OK)
        return not_ready(why, err);
    AG_TRY(err, xp_omniglot_import(dir, opt->cache_dir, NULL, 0, err));
    snprintf(text, sizeof text, "note: the packed Omniglot was spoilt and is made anew from %.400s (%.1200s)", dir, why);
    if (spoilt && opt->note)
        opt->note(opt->note_ctx, text);
    return AG_OK;
}

static ag_code load(omniglot *s, const xp_source_options *opt, ag_error *err)
{
    char path[XP_PATH_MAX];
    ag_error why = { 0 };
    AG_TRY(err, xp_omniglot_cache_path(opt->cache_dir, path, err));
    ag_code code = read_pack(s, path, &why);
    if (code == AG_OK || code == AG_ENOMEM)
        return code == AG_OK ? AG_OK : ag_fail(err, code, "%s", why.message);
    xp_omniglot_pack_release(&s->pack);
    AG_TRY(err, rebuild(opt, path, why.message, err));
    AG_TRY(err, read_pack(s, path, err));
    return AG_OK;
}

static void omniglot_close(void *state)
{
    omniglot *s = state;
    if (!s)
        return;
    xp_omniglot_pack_release(&s->pack);
    ag_free(s);
}

static ag_code fill(omniglot *s, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    AG_TRY(err, read_rotation(s, tasks->rotate, err));
    AG_TRY(err, read_split(s, tasks->split, err));
    AG_TRY(err, load(s, opt, err));
    fill_shades(s, tasks->invert);
    locate_characters(s);
    return AG_OK;
}

static ag_code omniglot_open(void **state, xp_example_shape *shape, const xp_tasks *tasks, const xp_source_options *opt,
                             ag_error *err)
{
    omniglot *s = ag_alloc_zero(sizeof *s);
    AG_REQUIRE(s, err, AG_ENOMEM, "omniglot: out of memory (%zu bytes)", sizeof *s);
    ag_code code = fill(s, tasks, opt, err);
    if (code != AG_OK) {
        omniglot_close(s);
        return ag_trail(err, code, __func__);
    }
    *shape = (xp_example_shape){ .x_ndim = 3, .x_shape = { SIDE, SIDE, 1 }, .labels = true };
    *state = s;
    return AG_OK;
}

/* --- episodes --- */

static int split_of(uint64_t stream)
{
    return stream == AG_STREAM_TRAIN ? 0 : stream == AG_STREAM_VALIDATION ? 1 : 2;
}

/* Turned characters are classes of their own while training only. */
static bool turned_classes(const omniglot *s, uint64_t stream)
{
    return s->rotate == ROTATE_CLASSES && stream == AG_STREAM_TRAIN;
}

static int64_t omniglot_classes(const void *state, uint64_t stream)
{
    const omniglot *s = state;
    return s->count[split_of(stream)] * (turned_classes(s, stream) ? 4 : 1);
}

static int64_t omniglot_examples(const void *state)
{
    return ((const omniglot *)state)->pack.n_drawing;
}

/* One drawing, turned by quarter turns, into x [28, 28]. */
static void place(const omniglot *s, int character, int drawing, int turns, ag_real *x)
{
    const uint8_t *p = s->pack.pixels + ((size_t)character * N_DRAWING + (size_t)drawing) * XP_OMNIGLOT_PIXELS;
    static const struct { int start, down, right; } walk[4] = {
        { 0, SIDE, 1 },
        { SIDE - 1, -1, SIDE },
        { SIDE * SIDE - 1, -SIDE, -1 },
        { SIDE * (SIDE - 1), 1, -SIDE },
    };
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++)
            x[i * SIDE + j] = s->shade[p[walk[turns].start + i * walk[turns].down + j * walk[turns].right]];
}

/* All drawings of class c, one of way, into every set. */
static void place_class(const omniglot *s, const xp_episode_size *size, int64_t c, int character, int turns,
                        const uint64_t *drawings, const xp_episode_out *out)
{
    for (int64_t e = 0; e < size->shot + size->query; e++) {
        bool support = e < size->shot;
        int64_t row = (support ? e : e - size->shot) * size->way + c;
        place(s, character, (int)drawings[e], turns, (ag_real *)(support ? out->support_x : out->query_x) + row * XP_OMNIGLOT_PIXELS);
        ((int32_t *)(support ? out->support_y : out->query_y))[row] = (int32_t)c;
    }
}

static ag_code check_size(const omniglot *s, uint64_t stream, const xp_episode_size *size, ag_error *err)
{
    static const char *const names[] = { "training", "validation", "test" };
    int split = split_of(stream);
    int64_t classes = omniglot_classes(s, stream);
    AG_REQUIRE(size->way <= classes, err, AG_ECONFIG, "omniglot: %lld-way tasks from %lld %s classes; expected way <= %lld",
               (long long)size->way, (long long)classes, names[split], (long long)classes);
    AG_REQUIRE(size->shot <= N_DRAWING && size->query <= N_DRAWING - size->shot, err, AG_ECONFIG,
               "omniglot: shot %lld + query %lld; a character has %d drawings", (long long)size->shot,
               (long long)size->query, N_DRAWING);
    return AG_OK;
}

static ag_code omniglot_episode(const void *state, const xp_episode_id *id, const xp_episode_size *size,
                                const xp_episode_out *out, ag_error *err)
{
    const omniglot *s = state;
    uint64_t chosen[4 * N_CHARACTER], drawings[N_DRAWING];
    AG_TRY(err, check_size(s, id->stream, size, err));
    bool turned = turned_classes(s, id->stream);
    ag_random r;
    ag_random_init(&r, id->seed, id->stream, id->iteration, id->task);
    ag_random_choose(&r, (uint64_t)omniglot_classes(s, id->stream), (uint64_t)size->way, chosen);
    for (int64_t c = 0; c < size->way; c++) {
        uint64_t number = turned ? chosen[c] / 4 : chosen[c];
        int turns = turned ? (int)(chosen[c] % 4) : s->rotate == ROTATE_TASK ? (int)ag_random_below(&r, 4) : 0;
        ag_random_choose(&r, N_DRAWING, (uint64_t)(size->shot + size->query), drawings);
        int character = s->character[s->first[split_of(id->stream)] + (int64_t)number];
        place_class(s, size, c, character, turns, drawings, out);
    }
    return AG_OK;
}

const xp_source_type xp_source_omniglot = {
    .name = "omniglot",
    .about = "handwritten characters of 50 alphabets, 28x28 (Lake et al. 2015)",
    .open = omniglot_open,
    .close = omniglot_close,
    .classes = omniglot_classes,
    .examples = omniglot_examples,
    .episode = omniglot_episode,
};
