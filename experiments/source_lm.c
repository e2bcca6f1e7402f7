/* Running text for language models: a folder, of which each file, or each folder of files, is a task. A file's tokens (without
 * the special ones) are cut into windows of max_tokens + 1 that do not overlap: the first max_tokens are what the model reads,
 * the last max_tokens what it is to say, each the token behind. A file's last window may be shorter, of 2 tokens or more.
 * Support and query are windows of one task, as the examples of one class in class_set.h (way is 1), which also has splits
 * (tasks.class_split: tasks in byte order of their names, then shuffled) and the order of drawing.
 *
 * x is texts as models/text.h lays them out; y int32 [windows, max_tokens], the token behind each place, -1 where there is none:
 * the shape says text, no labels, y_width = max_tokens. The capacity is the whole [n, max_tokens], so that no token is left out
 * and y stays where it is. */
#include "experiments/tasks_internal.h"

#include "experiments/class_set.h"
#include "experiments/text_table.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { TOKENS_MAX = 65536, SET_MAX = 8192, PATH = 4096, NAME = 256, MOST_TASKS = 100000 };

/* A file of the folder, or of a folder in it. */
typedef struct lm_file {
    char name[NAME];             /* of the task: the entry of the folder */
    char *path;
} lm_file;

typedef struct lm {
    lm_file *files;
    int64_t n_file, room_file;
    xp_class_set set;
    int32_t *ids;                /* of all files */
    int64_t n_id, room;
    int64_t *start, *length, n_window, room_window;   /* of windows, in ids; length counts the last token, too */
    int64_t *task;               /* [n_window] the file's number */
    int64_t max_tokens;
} lm;

/* --- memory that grows --- */

static ag_code grow(void **p, int64_t used, int64_t *room, int64_t want, size_t size, ag_error *err)
{
    if (want <= *room)
        return AG_OK;
    void *more = ag_alloc(2 * (size_t)want * size);
    AG_REQUIRE(more, err, AG_ENOMEM, "lm: out of memory (%zu bytes)", 2 * (size_t)want * size);
    if (used)
        memcpy(more, *p, (size_t)used * size);
    ag_free(*p);
    *p = more;
    *room = 2 * want;
    return AG_OK;
}

/* --- the folder --- */

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static ag_code add_file(lm *s, const char *task, const char *path, ag_error *err)
{
    void *files = s->files;
    AG_REQUIRE(strlen(task) < NAME, err, AG_ECONFIG, "%s: its name is longer than %d bytes", path, NAME);
    AG_TRY(err, grow(&files, s->n_file, &s->room_file, s->n_file + 1, sizeof *s->files, err));
    s->files = files;
    lm_file *f = &s->files[s->n_file];
    f->path = ag_strdup(path);
    AG_REQUIRE(f->path, err, AG_ENOMEM, "lm: out of memory");
    snprintf(f->name, NAME, "%s", task);
    s->n_file++;
    return AG_OK;
}

static ag_code list_folder(lm *s, const char *path, const char *task, ag_error *err);

/* One entry: a file, or at the top a folder, whose name is the task's. */
static ag_code list_entry(lm *s, const char *folder, const char *name, const char *task, ag_error *err)
{
    char path[PATH];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    AG_REQUIRE(n > 0 && n < PATH, err, AG_ECONFIG, "the path %.60s... is longer than %d bytes", folder, PATH);
    AG_REQUIRE(stat(path, &st) == 0, err, AG_EIO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return task ? AG_OK : list_folder(s, path, name, err);
    return S_ISREG(st.st_mode) ? add_file(s, task ? task : name, path, err) : AG_OK;
}

static ag_code list_folder(lm *s, const char *path, const char *task, ag_error *err)
{
    struct dirent **entries;
    ag_code code = AG_OK;
    int n = scandir(path, &entries, visible, by_bytes);
    AG_REQUIRE(n >= 0, err, errno == ENOMEM ? AG_ENOMEM : errno == ENOENT || errno == ENOTDIR ? AG_ECONFIG : AG_EIO,
               "%s: %s; expected a folder of text files", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (code == AG_OK)
            code = list_entry(s, path, entries[i]->d_name, task, err);
        free(entries[i]);
    }
    free(entries);
    return code;
}

/* --- tokens and windows --- */

static ag_code add_windows(lm *s, int64_t file, int64_t first, ag_error *err)
{
    for (int64_t at = first; s->n_id - at >= 2; at += s->max_tokens + 1) {
        void *arrays[3] = { s->start, s->length, s->task };
        int64_t room = s->room_window, left = s->n_id - at;
        for (int i = 0; i < 3; i++) {
            room = s->room_window;
            ag_code code = grow(&arrays[i], s->n_window, &room, s->n_window + 1, sizeof *s->start, err);
            s->start = arrays[0];
            s->length = arrays[1];
            s->task = arrays[2];
            AG_TRY(err, code);
        }
        s->room_window = room;
        s->start[s->n_window] = at;
        s->length[s->n_window] = left < s->max_tokens + 1 ? left : s->max_tokens + 1;
        s->task[s->n_window++] = file;
    }
    return AG_OK;
}

static ag_code tokenise(lm *s, int64_t file, const char *bytes, size_t n, const nn_tokenizer *k, ag_error *err)
{
    void *ids = s->ids;
    const char *path = s->files[file].path;
    ag_error why = { 0 };
    int64_t first = s->n_id, most = (int64_t)n + 8;   /* a token is a byte at least; room for what a tokenizer may add */
    AG_TRY(err, grow(&ids, s->n_id, &s->room, s->n_id + most, sizeof *s->ids, err));
    s->ids = ids;
    nn_encoding e = { .ids = s->ids + s->n_id, .max = most, .plain = true };
    ag_code code = nn_tokenizer_encode(k, bytes, n, &e, &why);
    AG_REQUIRE(code == AG_OK, err, code, "%s: %s", path, why.message);
    AG_REQUIRE(e.dropped == 0, err, AG_EDATA, "%s: more tokens than bytes", path);
    s->n_id += e.n;
    return add_windows(s, file, first, err);
}

static ag_code read_files(lm *s, const nn_tokenizer *k, ag_error *err)
{
    for (int64_t i = 0; i < s->n_file; i++) {
        char *bytes;
        size_t n;
        AG_TRY(err, xp_table_bytes(s->files[i].path, &bytes, &n, err));
        ag_code code = tokenise(s, i, bytes, n, k, err);
        ag_free(bytes);
        AG_TRY(err, code);
    }
    return AG_OK;
}

/* --- tasks --- */

static bool same_task(const lm *s, int64_t a, int64_t b)
{
    return strcmp(s->files[s->task[a]].name, s->files[s->task[b]].name) == 0;
}

/* Files are in byte order of the tasks' names, so a task's windows stand together. */
static ag_code make_set(lm *s, const xp_tasks *tasks, ag_error *err)
{
    static const int64_t none[3] = { 0 };
    int64_t n = 1;
    AG_REQUIRE(s->n_window, err, AG_EDATA, "%s: no file in it has two tokens; expected a folder of text files", tasks->path);
    for (int64_t i = 1; i < s->n_window; i++)
        n += !same_task(s, i - 1, i);
    AG_REQUIRE(n <= MOST_TASKS, err, AG_ECONFIG, "%s: more than %d tasks", tasks->path, MOST_TASKS);
    AG_TRY(err, xp_class_set_init(&s->set, "lm", "windows", n, s->n_window, err));
    xp_class *c = s->set.classes - 1;
    for (int64_t i = 0; i < s->n_window; i++) {
        s->set.members[i] = i;
        if (i == 0 || !same_task(s, i - 1, i))
            *++c = (xp_class){ .name = s->files[s->task[i]].name, .first = i };
        c->count += tasks->max_per_class == 0 || c->count < tasks->max_per_class;
    }
    return xp_class_set_split(&s->set, tasks->class_split, none, err);
}

static ag_code fill(lm *s, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    AG_REQUIRE(opt->tokenizer, err, AG_ECONFIG, "tasks.source: lm needs a model that reads text; expected model.kind: network and a "
               "language model in model.path");
    AG_REQUIRE(opt->max_tokens >= 1 && opt->max_tokens <= TOKENS_MAX, err, AG_ECONFIG, "lm: windows of %lld tokens; expected 1 .. %d",
               (long long)opt->max_tokens, TOKENS_MAX);
    AG_REQUIRE(tasks->path && *tasks->path, err, AG_ECONFIG, "tasks.path is empty; expected a folder of text files");
    s->max_tokens = opt->max_tokens;
    AG_TRY(err, list_folder(s, tasks->path, NULL, err));
    AG_TRY(err, read_files(s, opt->tokenizer, err));
    AG_TRY(err, make_set(s, tasks, err));
    AG_TRY(err, xp_class_set_from(&s->set, tasks->classes_from, err));
    xp_class_set_note(&s->set, tasks, opt);
    return AG_OK;
}

static void lm_close(void *state)
{
    lm *s = state;
    if (!s)
        return;
    for (int64_t i = 0; i < s->n_file; i++)
        ag_free(s->files[i].path);
    ag_free(s->files);
    xp_class_set_release(&s->set);
    ag_free(s->ids);
    ag_free(s->start);
    ag_free(s->length);
    ag_free(s->task);
    ag_free(s);
}

static ag_code lm_open(void **state, xp_example_shape *shape, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    lm *s = ag_alloc_zero(sizeof *s);
    AG_REQUIRE(s, err, AG_ENOMEM, "lm: out of memory (%zu bytes)", sizeof *s);
    ag_code code = fill(s, tasks, opt, err);
    if (code != AG_OK) {
        lm_close(s);
        return ag_trail(err, code, __func__);
    }
    *shape = (xp_example_shape){ .text = true, .y_width = s->max_tokens };
    *state = s;
    return AG_OK;
}

/* --- episodes --- */

static int64_t lm_windows(const void *state)
{
    return xp_class_set_examples(&((const lm *)state)->set);
}

typedef struct gathered {
    const lm *source;
    int64_t start[2][SET_MAX], length[2][SET_MAX];   /* [support, query] */
    int32_t *y[2];
} gathered;

/* What the model reads of a window, and what it is to say. */
static void gather(void *ctx, const xp_pick *p)
{
    gathered *g = ctx;
    const lm *s = g->source;
    int set = p->support ? 0 : 1;
    int32_t *y = g->y[set] + p->row * s->max_tokens;
    g->start[set][p->row] = s->start[p->example];
    g->length[set][p->row] = s->length[p->example] - 1;
    for (int64_t i = 0; i < s->max_tokens; i++)
        y[i] = i < s->length[p->example] - 1 ? s->ids[s->start[p->example] + i + 1] : -1;
}

static ag_code check_size(const xp_episode_size *size, ag_error *err)
{
    AG_REQUIRE(size->shot <= SET_MAX && size->query <= SET_MAX, err, AG_ECONFIG, "lm: sets of %lld and %lld windows; expected at most %d",
               (long long)size->shot, (long long)size->query, SET_MAX);
    return AG_OK;
}

static ag_code lm_capacity(const void *state, uint64_t stream, const xp_episode_size *size, nn_text_shape *support,
                           nn_text_shape *query, ag_error *err)
{
    const lm *s = state;
    (void)stream;
    AG_TRY(err, check_size(size, err));
    *support = (nn_text_shape){ size->shot, s->max_tokens, size->shot * s->max_tokens };
    *query = (nn_text_shape){ size->query, s->max_tokens, size->query * s->max_tokens };
    return AG_OK;
}

static ag_code lm_episode(const void *state, const xp_episode_id *id, const xp_episode_size *size, const xp_episode_out *out,
                          ag_error *err)
{
    const lm *s = state;
    gathered g;
    const int64_t n[2] = { size->shot, size->query }, capacity[2] = { size->support_capacity, size->query_capacity };
    int32_t *const x[2] = { out->support_x, out->query_x };
    AG_TRY(err, check_size(size, err));
    g.source = s;
    g.y[0] = out->support_y;
    g.y[1] = out->query_y;
    for (int i = 0; i < 2; i++)
        AG_REQUIRE(n[i] == 0 || capacity[i] == n[i] * s->max_tokens, err, AG_EINVAL, "lm: a capacity of %lld tokens; expected %lld, as "
                   "xp_source_text_shape gives", (long long)capacity[i], (long long)(n[i] * s->max_tokens));
    AG_TRY(err, xp_class_draw(&s->set, id, size, gather, &g, err));
    for (int i = 0; i < 2; i++)
        if (n[i])
            nn_text_pack(&(nn_text_shape){ n[i], s->max_tokens, capacity[i] }, s->ids, g.start[i], g.length[i], x[i]);
    return AG_OK;
}

const xp_source_type xp_source_lm = {
    .name = "lm",
    .about = "running text of a folder of one's own, each file or folder in it a task",
    .open = lm_open,
    .close = lm_close,
    .examples = lm_windows,
    .capacity = lm_capacity,
    .episode = lm_episode,
};
