/* Caltech-101 (Fei-Fei et al. 2004) as 32x32 pictures: caltech101_32px_rgb_u8.bin.gz (uint8 [row][32][32][3]) and
 * caltech101_index.csv (row, class). x is [32, 32, 3], 0 to 1. 99 classes; class_set.h has splits and the order of drawing.
 * There is no customary few-shot split: 60, 15 and 24 classes by default, not to be compared with published numbers. */
#include "experiments/tasks_internal.h"

#include "experiments/omniglot_cache.h"
#include "experiments/text_classes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { SIDE = 32, CHANNELS = 3, PIXELS = SIDE * SIDE * CHANNELS, ROWS_MAX = 1000000 };

typedef struct images {
    xp_table table;
    xp_class_set set;            /* members are rows of the table */
    int64_t *place;              /* row of the table -> row of pixels */
    uint8_t *pixels;             /* [rows of the table, 32, 32, 3] */
    ag_real shade[256];
} images;

static ag_code find(const xp_source_options *opt, const char *file, char path[XP_PATH_MAX], ag_error *err)
{
    const char *dir = opt->data_dir && *opt->data_dir ? opt->data_dir : getenv("METALORA_DATA");
    AG_REQUIRE(dir && *dir, err, AG_ECONFIG, "caltech101: it is not known where the data are; give --data-dir DIR, or set METALORA_DATA, "
               "DIR being the folder that holds caltech101/%s", file);
    for (int i = 0; i < 2; i++) {
        int n = snprintf(path, XP_PATH_MAX, "%s/%s%s", dir, i ? "" : "caltech101/", file);
        AG_REQUIRE(n > 0 && n < XP_PATH_MAX, err, AG_ECONFIG, "the path %.60s... is longer than %d bytes", dir, XP_PATH_MAX);
        if (access(path, F_OK) == 0)
            return AG_OK;
    }
    return ag_fail(err, AG_ECONFIG, "caltech101: %s has no caltech101/%s, nor %s", dir, file, file);
}

static ag_code unpack(images *s, gzFile f, const char *path, ag_error *err)
{
    char more;
    int problem;
    for (int64_t i = 0; i < s->table.n_row; i++) {
        int got = gzread(f, s->pixels + i * PIXELS, PIXELS);
        AG_REQUIRE(got == PIXELS, err, AG_EDATA, "%s: picture %lld is missing or damaged (%s); the index has %lld", path, (long long)i,
                   got < 0 ? gzerror(f, &problem) : "the file ends", (long long)s->table.n_row);
    }
    int got = gzread(f, &more, 1);
    AG_REQUIRE(got == 0, err, AG_EDATA, "%s: %s behind the %lld pictures of the index", path, got < 0 ? gzerror(f, &problem) : "more",
               (long long)s->table.n_row);
    return AG_OK;
}

static ag_code read_pixels(images *s, const xp_source_options *opt, ag_error *err)
{
    char path[XP_PATH_MAX];
    AG_TRY(err, find(opt, "caltech101_32px_rgb_u8.bin.gz", path, err));
    AG_REQUIRE(s->table.n_row <= ROWS_MAX, err, AG_EDATA, "%s: the index has more than %d pictures", path, ROWS_MAX);
    s->pixels = ag_alloc((size_t)s->table.n_row * PIXELS);
    AG_REQUIRE(s->pixels, err, AG_ENOMEM, "caltech101: out of memory for %lld pictures", (long long)s->table.n_row);
    gzFile f = gzopen(path, "rbe");
    AG_REQUIRE(f, err, AG_EIO, "%s: cannot be opened: %s", path, strerror(errno));
    ag_code code = unpack(s, f, path, err);
    gzclose(f);
    return code;
}

/* Which picture a row of the index is of: its number, each once. */
static ag_code place_rows(images *s, ag_error *err)
{
    s->place = ag_alloc((size_t)s->table.n_row * sizeof *s->place);
    AG_REQUIRE(s->place, err, AG_ENOMEM, "caltech101: out of memory for %lld pictures", (long long)s->table.n_row);
    for (int64_t i = 0; i < s->table.n_row; i++) {
        char *end, where[XP_TABLE_NAME + 32];
        const char *text = s->table.rows[i].cell[0];
        long long row = strtoll(text, &end, 10);
        xp_table_where(&s->table, &s->table.rows[i], where, sizeof where);
        AG_REQUIRE(!*end && end > text && row >= 0 && row < s->table.n_row, err, AG_EDATA, "%s: the row '%.30s'; expected 0 .. %lld", where,
                   text, (long long)s->table.n_row - 1);
        s->place[i] = row;
    }
    return AG_OK;
}

static ag_code fill(images *s, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    static const char *const columns[] = { "row", "class" };
    static const int64_t usual[3] = { 60, 15, 24 }, none[3] = { 0 };
    const int64_t *split = tasks->class_split;
    char path[XP_PATH_MAX];
    xp_text_facts facts;
    AG_TRY(err, find(opt, "caltech101_index.csv", path, err));
    AG_TRY(err, xp_table_read(&s->table, path, columns, 2, err));
    AG_TRY(err, xp_text_classes(&s->set, "caltech101", "pictures", &s->table, 2, tasks->max_per_class, &facts, err));
    AG_REQUIRE(!facts.repeated && !facts.ambiguous, err, AG_EDATA, "%s: rows stand in it more than once", path);
    AG_TRY(err, place_rows(s, err));
    AG_TRY(err, read_pixels(s, opt, err));
    AG_TRY(err, xp_class_set_split(&s->set, split[0] || split[1] || split[2] ? split : usual, none, err));
    AG_TRY(err, xp_class_set_from(&s->set, tasks->classes_from, err));
    for (int v = 0; v < 256; v++)
        s->shade[v] = (ag_real)(v / 255.0);
    xp_class_set_note(&s->set, tasks, opt);
    return AG_OK;
}

static void images_close(void *state)
{
    images *s = state;
    if (!s)
        return;
    xp_table_release(&s->table);
    xp_class_set_release(&s->set);
    ag_free(s->place);
    ag_free(s->pixels);
    ag_free(s);
}

static ag_code images_open(void **state, xp_example_shape *shape, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    images *s = ag_alloc_zero(sizeof *s);
    AG_REQUIRE(s, err, AG_ENOMEM, "caltech101: out of memory (%zu bytes)", sizeof *s);
    ag_code code = fill(s, tasks, opt, err);
    if (code != AG_OK) {
        images_close(s);
        return ag_trail(err, code, __func__);
    }
    *shape = (xp_example_shape){ .x_ndim = 3, .x_shape = { SIDE, SIDE, CHANNELS }, .labels = true };
    *state = s;
    return AG_OK;
}

static int64_t images_classes(const void *state, uint64_t stream)
{
    return xp_class_set_classes(&((const images *)state)->set, stream);
}

static int64_t images_examples(const void *state)
{
    return xp_class_set_examples(&((const images *)state)->set);
}

typedef struct target {
    const images *source;
    const xp_episode_out *out;
} target;

static void place(void *ctx, const xp_pick *p)
{
    const target *t = ctx;
    const uint8_t *from = t->source->pixels + t->source->place[p->example] * PIXELS;
    ag_real *x = (ag_real *)(p->support ? t->out->support_x : t->out->query_x) + p->row * PIXELS;
    for (int i = 0; i < PIXELS; i++)
        x[i] = t->source->shade[from[i]];
    ((int32_t *)(p->support ? t->out->support_y : t->out->query_y))[p->row] = p->label;
}

static ag_code images_episode(const void *state, const xp_episode_id *id, const xp_episode_size *size, const xp_episode_out *out,
                              ag_error *err)
{
    const images *s = state;
    return xp_class_draw(&s->set, id, size, place, &(target){ s, out }, err);
}

const xp_source_type xp_source_caltech101 = {
    .name = "caltech101",
    .about = "photographs of 99 kinds of things, 32x32 in colour (Fei-Fei et al. 2004)",
    .open = images_open,
    .close = images_close,
    .classes = images_classes,
    .examples = images_examples,
    .episode = images_episode,
};
