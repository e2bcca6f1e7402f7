/* Texts by class, read by a model's tokenizer: CLINC150 (Larson et al. 2019), Banking77 (Casanueva et al. 2020), HWU64 (Liu et
 * al. 2019) and any table of texts and labels. class_set.h has splits and the order of drawing, text_classes.h what counts
 * as an example. Texts are tokenised once, when the source is opened. */
#include "experiments/tasks_internal.h"

#include "autograd/random.h"
#include "experiments/omniglot_cache.h"
#include "experiments/text_classes.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TOKENS_MAX = 65536,          /* of one text */
    SET_MAX = 8192,              /* texts of one set, which are listed on the stack */
    SIMULATED = 1000,            /* episodes behind a capacity */
    ROUND = 8
};

typedef struct texts {
    xp_table table;
    xp_class_set set;
    int32_t *ids;                /* of all texts */
    int64_t n_id, room, max_tokens;
    int64_t *start, *length;     /* [rows of the table] in ids */
    const ag_real *features;     /* instead of the texts, [rows][width]; borrowed; NULL: the texts */
    int64_t width;
    atomic_llong count, *dropped;   /* tokens left out; dropped = &count, so that it counts behind const */
} texts;

/* What is different about each source. */
typedef struct text_kind {
    const char *name;
    ag_code (*read)(xp_table *t, int *n_column, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err);
    bool by_domain;              /* split_domains splits it where class_split does not */
} text_kind;

/* --- the files --- */

/* DIR/NAME/FILE or DIR/FILE, the first that exists. */
static ag_code find(const xp_source_options *opt, const char *name, const char *file, char path[XP_PATH_MAX], ag_error *err)
{
    const char *dir = opt->data_dir && *opt->data_dir ? opt->data_dir : getenv("METALORA_DATA");
    AG_REQUIRE(dir && *dir, err, AG_ECONFIG, "%s: it is not known where the data are; give --data-dir DIR, or set METALORA_DATA, DIR "
               "being the folder that holds %s/%s", name, name, file);
    for (int i = 0; i < 2; i++) {
        int n = snprintf(path, XP_PATH_MAX, "%s/%s%s%s", dir, i ? "" : name, i ? "" : "/", file);
        AG_REQUIRE(n > 0 && n < XP_PATH_MAX, err, AG_ECONFIG, "the path %.60s... is longer than %d bytes", dir, XP_PATH_MAX);
        if (access(path, F_OK) == 0)
            return AG_OK;
    }
    return ag_fail(err, AG_ECONFIG, "%s: %s has no %s/%s, nor %s", name, dir, name, file, file);
}

static ag_code read_clinc(xp_table *t, int *n_column, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    char data[XP_PATH_MAX], domains[XP_PATH_MAX];
    (void)tasks;
    *n_column = 3;
    AG_TRY(err, find(opt, "clinc150", "data_full.json", data, err));
    AG_TRY(err, find(opt, "clinc150", "domains.json", domains, err));
    return xp_table_read_clinc(t, data, domains, err);
}

static ag_code read_banking(xp_table *t, int *n_column, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    static const char *const columns[] = { "text", "category" }, *const files[] = { "train.csv", "test.csv" };
    char path[XP_PATH_MAX];
    (void)tasks;
    *n_column = 2;
    for (int i = 0; i < 2; i++) {
        AG_TRY(err, find(opt, "banking77", files[i], path, err));
        AG_TRY(err, xp_table_read(t, path, columns, 2, err));
    }
    return AG_OK;
}

static ag_code read_hwu(xp_table *t, int *n_column, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    static const char *const columns[] = { "text", "label", "scenario" };
    char path[XP_PATH_MAX];
    (void)tasks;
    *n_column = 3;
    AG_TRY(err, find(opt, "hwu64", "hwu64_10fold.csv", path, err));
    return xp_table_read(t, path, columns, 3, err);
}

static ag_code read_own(xp_table *t, int *n_column, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    const char *columns[3] = { tasks->text_column, tasks->label_column, tasks->domain_column };
    static const char *const usual[2] = { "text", "label" };
    (void)opt;
    for (int i = 0; i < 2; i++)
        columns[i] = columns[i] && *columns[i] ? columns[i] : usual[i];
    *n_column = columns[2] && *columns[2] ? 3 : 2;
    AG_REQUIRE(tasks->path && *tasks->path, err, AG_ECONFIG, "tasks.path is empty; expected a .csv, .tsv or .jsonl file");
    for (int i = 1; i < *n_column; i++)
        for (int j = 0; j < i; j++)
            AG_REQUIRE(strcmp(columns[i], columns[j]) != 0, err, AG_ECONFIG, "tasks.text_column, label_column and domain_column: "
                       "'%.60s' twice; expected different columns", columns[i]);
    return xp_table_read(t, tasks->path, columns, *n_column, err);
}

/* --- tokens --- */

static ag_code reserve(texts *s, int64_t n, ag_error *err)
{
    if (s->n_id + n <= s->room)
        return AG_OK;
    int64_t room = 2 * (s->n_id + n);
    int32_t *ids = ag_alloc((size_t)room * sizeof *ids);
    AG_REQUIRE(ids, err, AG_ENOMEM, "%s: out of memory for %lld tokens", s->set.source, (long long)room);
    if (s->n_id)
        memcpy(ids, s->ids, (size_t)s->n_id * sizeof *ids);
    ag_free(s->ids);
    s->ids = ids;
    s->room = room;
    return AG_OK;
}

static ag_code tokenise_row(texts *s, int64_t row, const nn_tokenizer *k, int64_t *cut, int64_t *lost, ag_error *err)
{
    const char *text = s->table.rows[row].cell[0];
    char where[XP_TABLE_NAME + 32];
    ag_error why = { 0 };
    AG_TRY(err, reserve(s, s->max_tokens, err));
    nn_encoding e = { .ids = s->ids + s->n_id, .max = s->max_tokens };
    ag_code code = nn_tokenizer_encode(k, text, strlen(text), &e, &why);
    xp_table_where(&s->table, &s->table.rows[row], where, sizeof where);
    AG_REQUIRE(code == AG_OK, err, code == AG_EINVAL ? AG_ECONFIG : code, "%s: %s", where, why.message);
    AG_REQUIRE(e.n > 0, err, AG_EDATA, "%s: the tokenizer finds nothing in the text '%.60s'", where, text);
    s->start[row] = s->n_id;
    s->length[row] = e.n;
    s->n_id += e.n;
    *cut += e.dropped > 0;
    *lost += e.dropped;
    return AG_OK;
}

static ag_code tokenise(texts *s, const xp_source_options *opt, ag_error *err)
{
    int64_t cut = 0, lost = 0, n = 0;
    size_t bytes = (size_t)s->table.n_row * sizeof *s->start;
    char text[400];
    s->start = ag_alloc_zero(bytes);
    s->length = ag_alloc_zero(bytes);
    AG_REQUIRE(s->start && s->length, err, AG_ENOMEM, "%s: out of memory for %lld texts", s->set.source, (long long)s->table.n_row);
    for (int64_t c = 0; c < s->set.n_class; c++)
        for (int64_t i = 0; i < s->set.classes[c].count; i++, n++)
            AG_TRY(err, tokenise_row(s, s->set.members[s->set.classes[c].first + i], opt->tokenizer, &cut, &lost, err));
    atomic_store(s->dropped, lost);
    snprintf(text, sizeof text, "note: %s: %lld of %lld texts have more than %lld tokens and lose their ends, %lld tokens in all",
             s->set.source, (long long)cut, (long long)n, (long long)s->max_tokens, (long long)lost);
    if (cut && opt->note)
        opt->note(opt->note_ctx, text);
    return AG_OK;
}

/* --- opening --- */

static void texts_close(void *state)
{
    texts *s = state;
    if (!s)
        return;
    xp_table_release(&s->table);
    xp_class_set_release(&s->set);
    ag_free(s->ids);
    ag_free(s->start);
    ag_free(s->length);
    ag_free(s);
}

static void tell_facts(const texts *s, const xp_text_facts *facts, const xp_source_options *opt)
{
    char text[400];
    snprintf(text, sizeof text, "note: %s: texts left out: %lld that a class has already, %lld that stand under several labels",
             s->set.source, (long long)facts->repeated, (long long)facts->ambiguous);
    if ((facts->repeated || facts->ambiguous) && opt->note)
        opt->note(opt->note_ctx, text);
}

static ag_code split(texts *s, const text_kind *kind, const xp_tasks *tasks, int n_column, ag_error *err)
{
    static const int64_t none[3] = { 0 }, usual[3] = { 7, 1, 2 };
    const int64_t *domains = kind->by_domain && n_column > 2 ? tasks->split_domains : none;
    if (kind->read == read_clinc && !domains[0] && !domains[1] && !domains[2])
        domains = usual;
    return xp_class_set_split(&s->set, tasks->class_split, domains, err);
}

static ag_code fill(texts *s, const text_kind *kind, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    xp_text_facts facts;
    int n_column;
    AG_REQUIRE(opt->tokenizer, err, AG_ECONFIG, "tasks.source: %s needs a model that reads text; expected model.kind: network and "
               "a language model in model.path", kind->name);
    AG_REQUIRE(opt->max_tokens >= 1 && opt->max_tokens <= TOKENS_MAX, err, AG_ECONFIG, "%s: texts of %lld tokens; expected 1 .. %d",
               kind->name, (long long)opt->max_tokens, TOKENS_MAX);
    s->max_tokens = opt->max_tokens;
    AG_TRY(err, kind->read(&s->table, &n_column, tasks, opt, err));
    AG_TRY(err, xp_text_classes(&s->set, kind->name, "texts", &s->table, n_column, tasks->max_per_class, &facts, err));
    AG_TRY(err, split(s, kind, tasks, n_column, err));
    AG_TRY(err, xp_class_set_from(&s->set, tasks->classes_from, err));
    AG_TRY(err, tokenise(s, opt, err));
    tell_facts(s, &facts, opt);
    xp_class_set_note(&s->set, tasks, opt);
    return AG_OK;
}

static ag_code texts_open(const text_kind *kind, void **state, xp_example_shape *shape, const xp_tasks *tasks,
                          const xp_source_options *opt, ag_error *err)
{
    texts *s = ag_alloc_zero(sizeof *s);
    AG_REQUIRE(s, err, AG_ENOMEM, "%s: out of memory (%zu bytes)", kind->name, sizeof *s);
    s->dropped = &s->count;
    ag_code code = fill(s, kind, tasks, opt, err);
    if (code != AG_OK) {
        texts_close(s);
        return ag_trail(err, code, __func__);
    }
    *shape = (xp_example_shape){ .labels = true, .text = true };
    *state = s;
    return AG_OK;
}

/* --- episodes --- */

/* The texts of an episode, and what they come to. */
typedef struct gathered {
    const texts *source;
    ag_real *features[2];        /* where they go, [n][width] */
    int64_t start[2][SET_MAX], length[2][SET_MAX];   /* [support, query] */
    int32_t *label[2];
} gathered;

static void gather(void *ctx, const xp_pick *p)
{
    gathered *g = ctx;
    int set = p->support ? 0 : 1;
    g->start[set][p->row] = g->source->start[p->example];
    g->length[set][p->row] = g->source->length[p->example];
    g->label[set][p->row] = p->label;
    if (g->source->features)
        memcpy(g->features[set] + p->row * g->source->width, g->source->features + p->example * g->source->width,
               (size_t)g->source->width * sizeof(ag_real));
}

static ag_code check_size(const texts *s, const xp_episode_size *size, ag_error *err)
{
    int64_t most = size->shot > size->query ? size->shot : size->query;
    AG_REQUIRE(most <= SET_MAX / size->way, err, AG_ECONFIG, "%s: %lld-way tasks with %lld texts a class in one set; expected at most "
               "%d texts together", s->set.source, (long long)size->way, (long long)most, SET_MAX);
    return AG_OK;
}

static ag_code check_capacity(const texts *s, const char *set, int64_t n, int64_t capacity, ag_error *err)
{
    AG_REQUIRE(n == 0 || (capacity >= n && capacity <= n * s->max_tokens), err, AG_EINVAL,
               "%s: a capacity of %lld tokens for a %s set of %lld texts; expected what xp_source_text_shape gives", s->set.source,
               (long long)capacity, set, (long long)n);
    return AG_OK;
}

static ag_code texts_episode(const void *state, const xp_episode_id *id, const xp_episode_size *size, const xp_episode_out *out,
                             ag_error *err)
{
    const texts *s = state;
    gathered g;
    const int64_t n[2] = { size->way * size->shot, size->way * size->query };
    const int64_t capacity[2] = { size->support_capacity, size->query_capacity };
    int32_t *const x[2] = { out->support_x, out->query_x };
    AG_TRY(err, check_size(s, size, err));
    if (!s->features) {
        AG_TRY(err, check_capacity(s, "support", n[0], capacity[0], err));
        AG_TRY(err, check_capacity(s, "query", n[1], capacity[1], err));
    }
    g.source = s;
    g.features[0] = out->support_x;
    g.features[1] = out->query_x;
    g.label[0] = out->support_y;
    g.label[1] = out->query_y;
    AG_TRY(err, xp_class_draw(&s->set, id, size, gather, &g, err));
    for (int i = 0; i < 2 && !s->features; i++) {
        const nn_text_shape shape = { n[i], s->max_tokens, capacity[i] };
        int64_t lost = n[i] ? nn_text_pack(&shape, s->ids, g.start[i], g.length[i], x[i]) : 0;
        if (lost)
            atomic_fetch_add(s->dropped, lost);
    }
    return AG_OK;
}

typedef struct sums {
    const texts *source;
    int64_t tokens[2];
} sums;

static void add_length(void *ctx, const xp_pick *p)
{
    sums *u = ctx;
    u->tokens[p->support ? 0 : 1] += u->source->length[p->example];
}

/* most tokens met -> capacity */
static int64_t round_up(int64_t tokens, int64_t n, int64_t length)
{
    int64_t c = (tokens + ROUND - 1) / ROUND * ROUND;
    return c > n * length ? n * length : c;
}

static ag_code texts_capacity(const void *state, uint64_t stream, const xp_episode_size *size, nn_text_shape *support,
                              nn_text_shape *query, ag_error *err)
{
    const texts *s = state;
    int64_t most[2] = { 0, 0 };
    AG_TRY(err, check_size(s, size, err));
    for (uint64_t i = 0; i < SIMULATED; i++) {
        sums u = { .source = s };
        AG_TRY(err, xp_class_draw(&s->set, &(xp_episode_id){ 0, stream, UINT64_MAX, i }, size, add_length, &u, err));
        for (int k = 0; k < 2; k++)
            most[k] = u.tokens[k] > most[k] ? u.tokens[k] : most[k];
    }
    int64_t n = size->way * size->shot, m = size->way * size->query;
    *support = (nn_text_shape){ n, s->max_tokens, round_up(most[0], n, s->max_tokens) };
    *query = (nn_text_shape){ m, s->max_tokens, round_up(most[1], m, s->max_tokens) };
    return AG_OK;
}

static int64_t texts_dropped(const void *state)
{
    return atomic_load(((const texts *)state)->dropped);
}

static int64_t texts_list(const void *state, uint64_t stream, int64_t *index, xp_text_tokens *tokens)
{
    const texts *s = state;
    int64_t n = 0;
    if (tokens)
        *tokens = (xp_text_tokens){ s->ids, s->start, s->length };
    for (int64_t c = 0; c < s->set.n_class; c++)
        for (int64_t i = 0; i < s->set.classes[c].count && s->set.classes[c].split == xp_class_split_of(stream); i++, n++)
            if (index)
                index[n] = s->set.members[s->set.classes[c].first + i];
    return n;
}

typedef struct numbers {
    int64_t n_support, *index;
} numbers;

static void note_number(void *ctx, const xp_pick *p)
{
    const numbers *n = ctx;
    n->index[p->row + (p->support ? 0 : n->n_support)] = p->example;
}

static ag_code texts_picks(const void *state, const xp_episode_id *id, const xp_episode_size *size, int64_t *index, ag_error *err)
{
    const texts *s = state;
    numbers n = { size->way * size->shot, index };
    AG_TRY(err, check_size(s, size, err));
    return xp_class_draw(&s->set, id, size, note_number, &n, err);
}

static void texts_use_features(void *state, const ag_real *features, int64_t width)
{
    texts *s = state;
    s->features = features;
    s->width = width;
}

static int64_t texts_classes(const void *state, uint64_t stream)
{
    return xp_class_set_classes(&((const texts *)state)->set, stream);
}

static int64_t texts_examples(const void *state)
{
    return xp_class_set_examples(&((const texts *)state)->set);
}

/* --- the rows --- */

static ag_code clinc_open(void **state, xp_example_shape *shape, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    return texts_open(&(text_kind){ "clinc150", read_clinc, true }, state, shape, tasks, opt, err);
}

static ag_code banking_open(void **state, xp_example_shape *shape, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    return texts_open(&(text_kind){ "banking77", read_banking, false }, state, shape, tasks, opt, err);
}

static ag_code hwu_open(void **state, xp_example_shape *shape, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    return texts_open(&(text_kind){ "hwu64", read_hwu, false }, state, shape, tasks, opt, err);
}

static ag_code own_open(void **state, xp_example_shape *shape, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    return texts_open(&(text_kind){ "text", read_own, true }, state, shape, tasks, opt, err);
}

const xp_source_type xp_source_clinc150 = {
    .name = "clinc150", .about = "150 intents of 10 domains, read by the model's tokenizer (Larson et al. 2019)",
    .open = clinc_open, .close = texts_close, .classes = texts_classes, .examples = texts_examples, .capacity = texts_capacity,
    .dropped = texts_dropped, .texts = texts_list, .picks = texts_picks, .use_features = texts_use_features, .episode = texts_episode,
};
const xp_source_type xp_source_banking77 = {
    .name = "banking77", .about = "77 intents of a bank's customers (Casanueva et al. 2020)",
    .open = banking_open, .close = texts_close, .classes = texts_classes, .examples = texts_examples, .capacity = texts_capacity,
    .dropped = texts_dropped, .texts = texts_list, .picks = texts_picks, .use_features = texts_use_features, .episode = texts_episode,
};
const xp_source_type xp_source_hwu64 = {
    .name = "hwu64", .about = "64 intents of 18 scenarios of a home assistant (Liu et al. 2019)",
    .open = hwu_open, .close = texts_close, .classes = texts_classes, .examples = texts_examples, .capacity = texts_capacity,
    .dropped = texts_dropped, .texts = texts_list, .picks = texts_picks, .use_features = texts_use_features, .episode = texts_episode,
};
const xp_source_type xp_source_text = {
    .name = "text", .about = "texts and labels of a .csv, .tsv or .jsonl file of one's own",
    .open = own_open, .close = texts_close, .classes = texts_classes, .examples = texts_examples, .capacity = texts_capacity,
    .dropped = texts_dropped, .texts = texts_list, .picks = texts_picks, .use_features = texts_use_features, .episode = texts_episode,
};
