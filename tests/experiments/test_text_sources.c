/* Sources of labelled texts, from small files whose texts say which they are, read by a small BERT vocabulary; and, with
 * METALORA_DATA and METALORA_MODELS, the published sets read by MiniLM's. */
#include "tests/check.h"
#include "tests/failing_allocator.h"

#include "autograd/random.h"
#include "experiments/tasks.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

/* Text i of class c is "c<c> t<i>" and i % 4 times "x": [CLS] c t x... [SEP], 4 to 7 tokens. */
enum { CLASSES = 6, CLS = 2, SEP = 3, FIRST_C = 6, FIRST_T = FIRST_C + CLASSES, MOST_T = 16, LENGTH = 10, X_MAX = 4096, N_MAX = 64 };

static char dir[32];
static nn_tokenizer *tokenizer;

static int texts_of(int c)
{
    return 8 + c;
}

static const char *in_dir(const char *name)
{
    static char path[2][64];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(in_dir(name), "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void write_examples(const char *name, const char *head, const char *format)
{
    FILE *f = fopen(in_dir(name), "w");
    ck_assert_ptr_nonnull(f);
    fputs(head, f);
    for (int i = 0; i < MOST_T; i++)
        for (int c = 0; c < CLASSES; c++) {
            char text[32];
            int n = snprintf(text, sizeof text, "c%d t%d", c, i);
            for (int k = 0; k < i % 4; k++)
                n += snprintf(text + n, sizeof text - (size_t)n, " x");
            if (i < texts_of(c))
                fprintf(f, format, text, c, c / 2);
        }
    fclose(f);
}

static const char *const files[] = { "vocab.txt", "a.csv", "a.jsonl", "bad.csv" };

static void forget_files(void)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(in_dir(files[i]));
    rmdir(dir);
    nn_tokenizer_close(tokenizer);
    tokenizer = NULL;
}

static void make_files(void)
{
    char vocab[1024];
    ag_error err = { 0 };
    int n = snprintf(vocab, sizeof vocab, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nx\n");
    for (int c = 0; c < CLASSES; c++)
        n += snprintf(vocab + n, sizeof vocab - (size_t)n, "c%d\n", c);
    for (int i = 0; i < MOST_T; i++)
        n += snprintf(vocab + n, sizeof vocab - (size_t)n, "t%d\n", i);
    snprintf(dir, sizeof dir, "text-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    write_file("vocab.txt", vocab);
    write_examples("a.csv", "text,label,domain\n", "\"%s\",L%d,D%d\n");
    write_examples("a.jsonl", "", "{\"label\": \"L%2$d\", \"domain\": \"D%3$d\", \"text\": \"%1$s\"}\n");
    ck_assert_msg(nn_tokenizer_open(&tokenizer, in_dir("vocab.txt"), &err) == AG_OK, "%s", err.message);
}

static xp_tasks own(void)
{
    return (xp_tasks){ .source = "text", .path = in_dir("a.csv"), .text_column = "text", .label_column = "label", .domain_column = "",
                       .shot = 1, .query = 1 };
}

static char notes[4096];

static void keep_note(void *ctx, const char *text)
{
    (void)ctx;
    snprintf(notes + strlen(notes), sizeof notes - strlen(notes), "%s\n", text);
}

static xp_source *open_source(const xp_tasks *tasks, int64_t max_tokens)
{
    xp_source *s;
    ag_error err = { 0 };
    xp_source_options opt = { .tokenizer = tokenizer, .max_tokens = max_tokens, .note = keep_note };
    *notes = '\0';
    ck_assert_msg(xp_source_open(&s, tasks, &opt, &err) == AG_OK, "%s", err.message);
    return s;
}

typedef struct episode {
    int32_t sx[X_MAX], qx[X_MAX], sy[N_MAX], qy[N_MAX];
} episode;

/* size with the capacities that the source gives */
static xp_episode_size sized(const xp_source *s, uint64_t stream, int64_t way, int64_t shot, int64_t query)
{
    xp_episode_size size = { .way = way, .shot = shot, .query = query };
    nn_text_shape a, b;
    ag_error err = { 0 };
    ck_assert_msg(xp_source_text_shape(s, stream, &size, &a, &b, &err) == AG_OK, "%s", err.message);
    ck_assert(nn_text_numel(&a) <= X_MAX && nn_text_numel(&b) <= X_MAX);
    size.support_capacity = a.capacity;
    size.query_capacity = b.capacity;
    return size;
}

static void draw(const xp_source *s, xp_episode_id id, const xp_episode_size *size, episode *e)
{
    ag_error err = { 0 };
    memset(e, 0, sizeof *e);
    ag_code code = xp_source_episode(s, &id, size, e->sx, e->sy, e->qx, e->qy, &err);
    expect(code == AG_OK, "%s", err.message);
}

typedef struct sight {
    int c, t, tokens;
} sight;

/* Which text a row of x is, by its token ids. */
static sight look(const int32_t *x, const nn_text_shape *shape, int64_t row)
{
    const int32_t *ids = x, *packed = x + 3 * shape->capacity, *valid = packed + shape->n * shape->length;
    int64_t at = row * shape->length;
    sight s = { 0, 0, 0 };
    while (s.tokens < shape->length && valid[at + s.tokens])
        s.tokens++;
    ck_assert_int_ge(s.tokens, 4);
    s.c = ids[packed[at + 1]] - FIRST_C;
    s.t = ids[packed[at + 2]] - FIRST_T;
    ck_assert_int_eq(ids[packed[at]], CLS);
    ck_assert_int_eq(ids[packed[at + s.tokens - 1]], SEP);
    ck_assert(s.c >= 0 && s.c < CLASSES && s.t >= 0 && s.t < texts_of(s.c));
    return s;
}

START_TEST(episodes_hold_the_texts_shot_major_and_support_and_query_share_none)
{
    make_files();
    const xp_tasks tasks = own();
    xp_source *s = open_source(&tasks, LENGTH);
    ck_assert(xp_source_example(s).text && xp_source_example(s).labels && xp_source_example(s).x_ndim == 0);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TEST), CLASSES);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TRAIN), 0);
    ck_assert_int_eq(xp_source_examples_per_class(s), 13);
    ck_assert_str_eq(notes, "");
    xp_episode_size size = sized(s, AG_STREAM_TEST, 3, 2, 4);
    const nn_text_shape shapes[2] = { { 6, LENGTH, size.support_capacity }, { 12, LENGTH, size.query_capacity } };
    for (uint64_t t = 0; t < 100; t++) {
        static episode e;
        bool seen[CLASSES][MOST_T] = { { false } };
        draw(s, (xp_episode_id){ 3, AG_STREAM_TEST, 9, t }, &size, &e);
        for (int64_t i = 0; i < 18; i++) {
            int set = i >= 6;
            int64_t row = set ? i - 6 : i;
            sight now = look(set ? e.qx : e.sx, &shapes[set], row), first = look(e.sx, &shapes[0], row % 3);
            ck_assert_int_eq((set ? e.qy : e.sy)[row], row % 3);
            ck_assert_int_eq(now.c, first.c);
            ck_assert_int_eq(now.tokens, 4 + now.t % 4);
            ck_assert(!seen[now.c][now.t]);
            seen[now.c][now.t] = true;
        }
    }
    ck_assert_int_eq(xp_source_dropped(s), 0);
    xp_source_close(s);
    forget_files();
}
END_TEST

START_TEST(lines_of_json_give_the_episodes_that_csv_gives)
{
    static episode a, b;
    make_files();
    xp_tasks tasks = own();
    xp_source *s = open_source(&tasks, LENGTH);
    tasks.path = in_dir("a.jsonl");
    xp_source *twin = open_source(&tasks, LENGTH);
    xp_episode_size size = sized(s, AG_STREAM_TEST, 3, 2, 4);
    for (uint64_t t = 0; t < 20; t++) {
        draw(s, (xp_episode_id){ 3, AG_STREAM_TEST, 9, t }, &size, &a);
        draw(twin, (xp_episode_id){ 3, AG_STREAM_TEST, 9, t }, &size, &b);
        ck_assert_int_eq(memcmp(&a, &b, sizeof a), 0);
    }
    xp_source_close(s);
    xp_source_close(twin);
    forget_files();
}
END_TEST

START_TEST(the_capacity_holds_the_tokens_of_episodes_and_not_the_padding)
{
    make_files();
    xp_tasks tasks = own();
    xp_source *s = open_source(&tasks, LENGTH);
    static episode e;
    int64_t most = 0;
    xp_episode_size size = sized(s, AG_STREAM_TEST, 3, 2, 4);
    for (uint64_t t = 0; t < 1000; t++) {
        int64_t tokens = 0;
        xp_episode_size all = size;
        all.query_capacity = 12 * LENGTH;
        draw(s, (xp_episode_id){ 5, AG_STREAM_TEST, 1, t }, &all, &e);
        for (int64_t row = 0; row < 12; row++)
            tokens += look(e.qx, &(nn_text_shape){ 12, LENGTH, all.query_capacity }, row).tokens;
        most = tokens > most ? tokens : most;
    }
    ck_assert_int_eq(size.query_capacity % 8, 0);
    ck_assert_msg(llabs((long long)(size.query_capacity - most)) <= 8, "a capacity of %lld, and an episode had %lld",
                  (long long)size.query_capacity, (long long)most);
    ck_assert_int_lt(size.query_capacity, 12 * LENGTH);
    ck_assert_int_eq(sized(s, AG_STREAM_TEST, 3, 2, 4).query_capacity, size.query_capacity);
    xp_source_close(s);
    s = open_source(&tasks, 4);   /* every text has 4 tokens now, and 8 texts no room to round up */
    size = sized(s, AG_STREAM_TEST, 3, 1, 1);
    ck_assert_int_eq(size.support_capacity, 12);
    xp_source_close(s);
    forget_files();
}
END_TEST

START_TEST(tokens_left_out_are_counted)
{
    static episode e;
    make_files();
    xp_tasks tasks = own();
    xp_source *s = open_source(&tasks, 6);
    int64_t cut = 0;
    for (int c = 0; c < CLASSES; c++)
        for (int i = 0; i < texts_of(c); i++)
            cut += i % 4 == 3;   /* 7 tokens */
    char want[200];
    snprintf(want, sizeof want, "note: text: %lld of 63 texts have more than 6 tokens and lose their ends, %lld tokens in all\n",
             (long long)cut, (long long)cut);
    ck_assert_str_eq(notes, want);
    ck_assert_int_eq(xp_source_dropped(s), cut);
    xp_episode_size size = sized(s, AG_STREAM_TEST, 2, 1, 3), roomy = size;
    int64_t tokens = 0;
    roomy.query_capacity = 6 * 6;
    size.query_capacity = 25;
    draw(s, (xp_episode_id){ 5, AG_STREAM_TEST, 1, 1 }, &roomy, &e);
    ck_assert_int_eq(xp_source_dropped(s), cut);
    for (int64_t row = 0; row < 6; row++)
        tokens += look(e.qx, &(nn_text_shape){ 6, 6, 36 }, row).tokens;
    ck_assert_int_gt(tokens, 25);
    draw(s, (xp_episode_id){ 5, AG_STREAM_TEST, 1, 1 }, &size, &e);
    ck_assert_int_eq(xp_source_dropped(s), cut + tokens - 25);
    xp_source_close(s);
    forget_files();
}
END_TEST

START_TEST(classes_and_domains_are_shared_out_among_the_splits)
{
    static episode e;
    make_files();
    xp_tasks tasks = own();
    tasks.class_split[0] = 3, tasks.class_split[1] = 1, tasks.class_split[2] = 2;
    xp_source *s = open_source(&tasks, LENGTH);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TRAIN), 3);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_VALIDATION), 1);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TEST), 2);
    xp_source_close(s);
    memset(tasks.class_split, 0, sizeof tasks.class_split);
    tasks.domain_column = "domain";
    tasks.split_domains[0] = 2, tasks.split_domains[2] = 1;
    tasks.classes_from = "domain";
    s = open_source(&tasks, LENGTH);
    xp_episode_size size = sized(s, AG_STREAM_TRAIN, 2, 1, 1);
    int domain[3] = { 0 };
    for (uint64_t t = 0; t < 100; t++) {
        draw(s, (xp_episode_id){ 5, AG_STREAM_TRAIN, 1, t }, &size, &e);
        nn_text_shape shape = { 2, LENGTH, size.support_capacity };
        int a = look(e.sx, &shape, 0).c / 2, b = look(e.sx, &shape, 1).c / 2;
        ck_assert_int_eq(a, b);
        domain[a]++;
    }
    ck_assert(domain[0] > 25 && domain[1] > 25 && domain[2] == 0);
    xp_source_close(s);
    forget_files();
}
END_TEST

enum { THREADS = 4, TASKS = 32 };
typedef struct worker {
    const xp_source *source;
    const xp_episode_size *size;
    int number;
    episode *out;
} worker;

static void *draw_all(void *arg)
{
    worker *w = arg;
    for (int i = 0; i < TASKS; i++) {
        int t = (i * 7 + w->number * 8) % TASKS;
        draw(w->source, (xp_episode_id){ 6, AG_STREAM_TEST, 1, (uint64_t)t }, w->size, &w->out[t]);
    }
    return NULL;
}

START_TEST(threads_draw_the_same_bits_and_other_ids_other_episodes)
{
    make_files();
    xp_tasks tasks = own();
    xp_source *s = open_source(&tasks, LENGTH);
    xp_episode_size size = sized(s, AG_STREAM_TEST, 3, 2, 4);
    pthread_t threads[THREADS];
    worker w[THREADS];
    for (int i = 0; i < THREADS; i++) {
        w[i] = (worker){ s, &size, i, malloc(TASKS * sizeof(episode)) };
        ck_assert_int_eq(pthread_create(&threads[i], NULL, draw_all, &w[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i < THREADS; i++)
        ck_assert_int_eq(memcmp(w[0].out, w[i].out, TASKS * sizeof(episode)), 0);
    for (int i = 1; i < TASKS; i++)
        ck_assert_int_ne(memcmp(&w[0].out[0], &w[0].out[i], sizeof(episode)), 0);
    for (int i = 0; i < THREADS; i++)
        free(w[i].out);
    xp_source_close(s);
    forget_files();
}
END_TEST

static void torture(failing_allocator *c, const xp_tasks *tasks)
{
    static episode e;
    const int before = c->calls, live = c->live_blocks;
    xp_source *s = open_source(tasks, LENGTH);
    const int calls = c->calls - before;
    int64_t way = xp_source_example(s).labels ? 3 : 1;
    xp_episode_size size = sized(s, AG_STREAM_TEST, way, 1, 1);
    draw(s, (xp_episode_id){ 6, AG_STREAM_TEST, 1, 2 }, &size, &e);
    ck_assert_int_eq(c->calls, before + calls);
    xp_source_close(s);
    ck_assert_int_eq(c->live_blocks, live);
    for (int n = 1; n <= calls; n++) {
        ag_error err = { 0 };
        xp_source_options opt = { .tokenizer = tokenizer, .max_tokens = LENGTH };
        c->fail_at = c->calls + n;
        ck_assert_msg(xp_source_open(&s, tasks, &opt, &err) == AG_ENOMEM, "allocation %d of %d: %s", n, calls, err.message);
        ck_assert_ptr_null(s);
        ck_assert_msg(strstr(err.message, "memory") != NULL, "%s", err.message);
        ck_assert_int_eq(c->live_blocks, live);
    }
    c->fail_at = 0;
}

START_TEST(sampling_allocates_nothing_and_a_failed_allocation_is_reported)
{
    make_files();
    xp_tasks tasks = own(), running = { .source = "lm", .path = dir };
    tasks.domain_column = "domain";
    tasks.class_split[0] = 3, tasks.class_split[2] = 3;
    nn_tokenizer_close(tokenizer);   /* it must not be made by one allocator and freed by another */
    failing_allocator c = { 0 };
    failing_use(&c);
    ck_assert_int_eq(nn_tokenizer_open(&tokenizer, in_dir("vocab.txt"), NULL), AG_OK);
    torture(&c, &tasks);
    torture(&c, &running);
    nn_tokenizer_close(tokenizer);
    tokenizer = NULL;
    failing_use(NULL);
    forget_files();
}
END_TEST

static void expect_refused(const xp_tasks *tasks, const xp_source_options *opt, ag_code want, const char *part)
{
    xp_source *s;
    ag_error err = { 0 };
    ck_assert_msg(xp_source_open(&s, tasks, opt, &err) == want, "%s: %s", ag_code_name(err.code), err.message);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' does not say '%s'", err.message, part);
}

START_TEST(what_cannot_be_read_is_refused)
{
    make_files();
    xp_source_options opt = { .tokenizer = tokenizer, .max_tokens = LENGTH };
    xp_tasks t = own();
    expect_refused(&t, &(xp_source_options){ .max_tokens = 8 }, AG_ECONFIG, "tasks.source: text needs a model that reads text");
    expect_refused(&t, &(xp_source_options){ .tokenizer = tokenizer }, AG_ECONFIG, "texts of 0 tokens");
    expect_refused(&t, &(xp_source_options){ .tokenizer = tokenizer, .max_tokens = 1 }, AG_ECONFIG, "a.csv:2: ");
    t.path = "";
    expect_refused(&t, &opt, AG_ECONFIG, "tasks.path is empty");
    t = own(), t.label_column = "labl";
    expect_refused(&t, &opt, AG_ECONFIG, "there is no 'labl' here; did you mean 'label'? the columns are text, label, domain");
    t = own(), t.label_column = "text";
    expect_refused(&t, &opt, AG_ECONFIG, "'text' twice");
    t = own(), t.classes_from = "domain";
    expect_refused(&t, &opt, AG_ECONFIG, "tasks.classes_from: domain; the classes of text have no domains");
    t = own(), t.class_split[0] = 7;
    expect_refused(&t, &opt, AG_ECONFIG, "tasks.class_split: [7, 0, 0]");
    write_file("bad.csv", "text,label\ngood,a\nbad \xff,a\n");
    t = own(), t.path = in_dir("bad.csv");
    expect_refused(&t, &opt, AG_EDATA, "bad.csv:3: byte 5 of the line (0xff) is not UTF-8 text");
    forget_files();
}
END_TEST

START_TEST(classes_with_too_few_texts_are_told_and_left_out)
{
    make_files();
    write_file("bad.csv", "text,label\none,a\ntwo,a\nthree,a\nfour,b\nfive,c\nsix,c\nseven,c\n");
    xp_tasks tasks = own();
    ag_error err = { 0 };
    nn_text_shape a, b;
    tasks.path = in_dir("bad.csv");
    xp_source *s = open_source(&tasks, LENGTH);
    ck_assert_str_eq(notes, "note: text: 1 of 3 test classes have fewer than shot + query = 2 texts and are left out of such episodes "
                     "('b' has 1)\n");
    xp_episode_size size = { .way = 2, .shot = 1, .query = 1 };
    ck_assert_int_eq(xp_source_text_shape(s, AG_STREAM_TEST, &size, &a, &b, NULL), AG_OK);
    size.way = 3;
    ck_assert_int_eq(xp_source_text_shape(s, AG_STREAM_TEST, &size, &a, &b, &err), AG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "3-way tasks of shot 1 + query 1 need 3 test classes of 2 texts; 2 of 3 have as many ('b' has 1)"));
    size.way = 2;
    ag_error_clear(&err);
    int32_t buffer[256];
    xp_episode_id id = { 1, AG_STREAM_TEST, 0, 0 };
    ck_assert_int_eq(xp_source_episode(s, &id, &size, buffer, buffer, buffer, buffer, &err), AG_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "a capacity of 0 tokens for a support set of 2 texts"));
    xp_source_close(s);
    forget_files();
}
END_TEST

/* --- CLINC150 in small, and the published sets --- */

START_TEST(clincs_domains_are_split_seven_one_two_in_the_order_of_their_file)
{
    make_files();
    char folder[64], data[96], domains[96];
    snprintf(folder, sizeof folder, "%s/clinc150", dir);
    snprintf(data, sizeof data, "%s/data_full.json", folder);
    snprintf(domains, sizeof domains, "%s/domains.json", folder);
    xp_tasks tasks = { .source = "clinc150", .classes_from = "domain" };
    xp_source_options opt = { .tokenizer = tokenizer, .max_tokens = LENGTH, .data_dir = dir };
    expect_refused(&tasks, &opt, AG_ECONFIG, "/data_full.json, nor data_full.json");
    ck_assert_int_eq(mkdir(folder, 0777), 0);
    FILE *f = fopen(data, "w"), *g = fopen(domains, "w");
    fputs("{\"val\": [], \"test\": [], \"train\": [", f);
    for (int d = 0; d < 10; d++) {
        fprintf(g, "%c\"D%d\": [\"a%d\", \"b%d\"]", d ? ',' : '{', 9 - d, d, d);
        for (int i = 0; i < 4; i++)
            fprintf(f, "%s[\"c0 d%d %d\", \"%c%d\"]", d || i ? "," : "", d, i, i % 2 ? 'a' : 'b', d);
    }
    fputs("]}", f);
    fputs("}", g);
    fclose(f);
    fclose(g);
    xp_source *s;
    ag_error err = { 0 };
    ck_assert_msg(xp_source_open(&s, &tasks, &opt, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TRAIN), 2);   /* of one domain */
    xp_source_close(s);
    tasks.classes_from = "all";
    ck_assert_msg(xp_source_open(&s, &tasks, &opt, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TRAIN), 14);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_VALIDATION), 2);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TEST), 4);
    ck_assert_int_eq(xp_source_examples_per_class(s), 2);
    xp_source_close(s);
    unlink(data);
    unlink(domains);
    rmdir(folder);
    forget_files();
}
END_TEST

/* --- running text --- */

/* Token i of the task is c<i / 16> t<i % 16> in turn: the stream says where a window is from. */
static void write_stream(const char *name, int first, int pairs)
{
    FILE *f = fopen(in_dir(name), "w");
    ck_assert_ptr_nonnull(f);
    for (int i = first; i < first + pairs; i++)
        fprintf(f, "c%d t%d ", i / MOST_T, i % MOST_T);
    fclose(f);
}

/* Where in the stream a window begins, checking that it goes on from there, and that y is the token behind each. */
static int look_at_window(const int32_t *x, const int32_t *y, int64_t n, int64_t length, int64_t row)
{
    const int32_t *ids = x, *packed = x + 3 * n * length, *valid = packed + n * length;
    int tokens = 0;
    int32_t said[32];
    while (tokens < length && valid[row * length + tokens]) {
        said[tokens] = ids[packed[row * length + tokens]];
        tokens++;
    }
    for (int i = 0; i < length; i++) {
        int32_t next = y[row * length + i];
        ck_assert_int_eq(next == -1, i >= tokens);
        ck_assert(i + 1 >= tokens || next == said[i + 1]);
    }
    said[tokens] = y[row * length + tokens - 1];
    int odd = said[0] >= FIRST_T;   /* begins with the second of a pair */
    ck_assert(tokens >= 1);
    int pair = (odd ? said[1] : said[0]) - FIRST_C, place = (odd ? said[0] : said[1]) - FIRST_T;
    return odd && place == MOST_T - 1 ? (pair - 1) * 2 * MOST_T + 2 * place + odd : pair * 2 * MOST_T + 2 * place + odd;
}

START_TEST(windows_of_running_text_do_not_overlap_and_y_is_the_token_behind)
{
    enum { L = 7 };
    static int32_t sx[X_MAX], qx[X_MAX], sy[N_MAX * L], qy[N_MAX * L];
    make_files();
    ck_assert_int_eq(mkdir(in_dir("lm"), 0777), 0);
    ck_assert_int_eq(mkdir(in_dir("lm/b"), 0777), 0);
    write_stream("lm/a.txt", 0, 30);       /* 60 tokens: 7 windows of 8 and one of 4 */
    write_stream("lm/b/1.txt", 32, 8);     /* 16 tokens: 2 windows */
    write_stream("lm/b/2.txt", 64, 9);     /* 18 tokens: 2 windows and one of 2 */
    xp_tasks tasks = { .source = "lm", .path = in_dir("lm"), .shot = 2, .query = 3 };
    xp_source *s = open_source(&tasks, L);
    xp_example_shape shape = xp_source_example(s);
    ck_assert(shape.text && !shape.labels && shape.y_width == L);
    ck_assert_int_eq(xp_source_examples_per_class(s), 8);
    xp_episode_size size = sized(s, AG_STREAM_TEST, 1, 2, 3);
    ck_assert_int_eq(size.query_capacity, 3 * L);
    int of_a = 0;
    for (uint64_t t = 0; t < 200; t++) {
        bool seen[CLASSES * MOST_T * 2] = { false };
        ag_error err = { 0 };
        ck_assert_msg(xp_source_episode(s, &(xp_episode_id){ 1, AG_STREAM_TEST, 0, t }, &size, sx, sy, qx, qy, &err) == AG_OK, "%s",
                      err.message);
        int first = look_at_window(sx, sy, 2, L, 0);
        of_a += first < 64;
        for (int r = 0; r < 5; r++) {
            int start = r < 2 ? look_at_window(sx, sy, 2, L, r) : look_at_window(qx, qy, 3, L, r - 2);
            ck_assert_int_eq(start % (L + 1), 0);
            ck_assert_int_eq(start < 64, first < 64);
            ck_assert(!seen[start]);
            seen[start] = true;
        }
    }
    ck_assert(of_a > 70 && of_a < 130);
    xp_source_close(s);
    tasks.path = in_dir("vocab.txt");
    expect_refused(&tasks, &(xp_source_options){ .tokenizer = tokenizer, .max_tokens = L }, AG_ECONFIG, "expected a folder of text files");
    expect_refused(&tasks, &(xp_source_options){ .max_tokens = L }, AG_ECONFIG, "lm needs a model that reads text");
    static const char *const made[] = { "lm/a.txt", "lm/b/1.txt", "lm/b/2.txt" };
    for (int i = 0; i < 3; i++)
        unlink(in_dir(made[i]));
    rmdir(in_dir("lm/b"));
    tasks.path = in_dir("lm");
    expect_refused(&tasks, &(xp_source_options){ .tokenizer = tokenizer, .max_tokens = L }, AG_EDATA, "no file in it has two tokens");
    rmdir(in_dir("lm"));
    forget_files();
}
END_TEST

static void expect_published(const char *source, nn_tokenizer *k, const int64_t classes[3], int64_t way)
{
    xp_source *s;
    ag_error err = { 0 };
    nn_text_shape a, b;
    xp_tasks tasks = { .source = source, .shot = 5, .query = 5 };
    xp_source_options opt = { .tokenizer = k, .max_tokens = 32, .note = keep_note };
    *notes = '\0';
    ck_assert_msg(xp_source_open(&s, &tasks, &opt, &err) == AG_OK, "%s", err.message);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TRAIN + (uint64_t)i), classes[i]);
    xp_episode_size size = { .way = way, .shot = 5, .query = 5 };
    ck_assert_msg(xp_source_text_shape(s, AG_STREAM_TEST, &size, &a, &b, &err) == AG_OK, "%s", err.message);
    size.support_capacity = a.capacity;
    size.query_capacity = b.capacity;
    int32_t *x[2] = { malloc((size_t)nn_text_numel(&a) * 4), malloc((size_t)nn_text_numel(&b) * 4) }, y[2][512];
    int64_t before = xp_source_dropped(s);
    for (uint64_t t = 0; t < 600; t++) {
        xp_episode_id id = { 1, AG_STREAM_TEST, 0, t };
        ck_assert_msg(xp_source_episode(s, &id, &size, x[0], y[0], x[1], y[1], &err) == AG_OK, "%s", err.message);
        ck_assert_int_eq(x[0][0], 101);   /* [CLS] */
    }
    int64_t lost = xp_source_dropped(s) - before;
    ck_assert_msg(lost < 50, "%s: %lld tokens lost in 600 episodes", source, (long long)lost);
    ck_assert_msg(a.capacity < a.n * 24, "%s: %lld tokens for %lld texts", source, (long long)a.capacity, (long long)a.n);
    free(x[0]);
    free(x[1]);
    xp_source_close(s);
}

START_TEST(the_published_sets_make_episodes_of_minilms_tokens)
{
    const char *models = getenv("METALORA_MODELS");
    char path[4096];
    nn_tokenizer *k;
    ag_error err = { 0 };
    if (!getenv("METALORA_DATA") || !models)
        return;
    snprintf(path, sizeof path, "%s/minilm", models);
    ck_assert_msg(nn_tokenizer_open(&k, path, &err) == AG_OK, "%s", err.message);
    expect_published("clinc150", k, (int64_t[]){ 105, 15, 30 }, 15);
    expect_published("banking77", k, (int64_t[]){ 0, 0, 77 }, 77);
    expect_published("hwu64", k, (int64_t[]){ 0, 0, 64 }, 50);
    nn_tokenizer_close(k);
}
END_TEST

TEST_MAIN(episodes_hold_the_texts_shot_major_and_support_and_query_share_none, lines_of_json_give_the_episodes_that_csv_gives,
          the_capacity_holds_the_tokens_of_episodes_and_not_the_padding, tokens_left_out_are_counted,
          classes_and_domains_are_shared_out_among_the_splits, threads_draw_the_same_bits_and_other_ids_other_episodes,
          sampling_allocates_nothing_and_a_failed_allocation_is_reported, what_cannot_be_read_is_refused,
          classes_with_too_few_texts_are_told_and_left_out,
          clincs_domains_are_split_seven_one_two_in_the_order_of_their_file,
          windows_of_running_text_do_not_overlap_and_y_is_the_token_behind, the_published_sets_make_episodes_of_minilms_tokens)
