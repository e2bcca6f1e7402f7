/* Omniglot episodes from a packed file whose pictures say which character and drawing they are. */
#include "tests/check.h"

#include "autograd/random.h"
#include "experiments/omniglot_cache.h"
#include "experiments/omniglot_import.h"
#include "experiments/tasks.h"

#include <pthread.h>
#include <sodium.h>
#include <unistd.h>

enum { CHARACTERS = 1623, DRAWINGS = 20, PIXELS = 28 * 28, WAY = 20, SHOT = 3, QUERY = 4, SUPPORT = WAY * SHOT,
       QUERIES = WAY * QUERY };
static const xp_episode_size usual = { .way = WAY, .shot = SHOT, .query = QUERY };

static char dir[32];

static void forget_cache(void)
{
    char path[XP_PATH_MAX];
    xp_omniglot_cache_path(dir, path, NULL);
    unlink(path);
    rmdir(dir);
}

/* Row 0 of each picture: 255, character / 256, character % 256, drawing; zeros below. Only the right way up does a
 * corner hold 255. */
static void make_cache(void)
{
    char path[XP_PATH_MAX];
    xp_omniglot_pack p = { .n_character = CHARACTERS, .n_drawing = DRAWINGS };
    ag_error err = { 0 };
    snprintf(dir, sizeof dir, "omniglot-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    unsetenv("METALORA_DATA");
    p.pixels = ag_alloc_zero((size_t)CHARACTERS * DRAWINGS * PIXELS);
    for (int i = 0; i < CHARACTERS * DRAWINGS; i++) {
        uint8_t *row = p.pixels + (size_t)i * PIXELS;
        row[0] = 255;
        row[1] = (uint8_t)(i / DRAWINGS / 256);
        row[2] = (uint8_t)(i / DRAWINGS % 256);
        row[3] = (uint8_t)(i % DRAWINGS);
    }
    ck_assert_int_eq(sodium_hex2bin(p.source, 32, XP_OMNIGLOT_DIGEST, 64, NULL, NULL, NULL), 0);
    xp_omniglot_cache_path(dir, path, NULL);
    ck_assert_msg(xp_omniglot_cache_write(&p, path, &err) == AG_OK, "%s", err.message);
    xp_omniglot_pack_release(&p);
}

static xp_source *open_source(const xp_tasks *tasks)
{
    xp_source *s;
    ag_error err = { 0 };
    ag_code code = xp_source_open(&s, tasks, &(xp_source_options){ .cache_dir = dir }, &err);
    ck_assert_msg(code == AG_OK, "%s", err.message);
    return s;
}

typedef struct episode {
    ag_real sx[SUPPORT * PIXELS], qx[QUERIES * PIXELS];
    int32_t sy[SUPPORT], qy[QUERIES];
} episode;

static void draw(const xp_source *s, uint64_t stream, uint64_t task, episode *e)
{
    ag_error err = { 0 };
    memset(e, 0, sizeof *e);
    ag_code code = xp_source_episode(s, &(xp_episode_id){ 3, stream, 9, task }, &usual, e->sx, e->sy, e->qx, e->qy, &err);
    ck_assert_msg(code == AG_OK, "%s", err.message);
}

typedef struct sight {
    int character, drawing, turns;
} sight;

/* What a picture says of itself; turned back by NumPy's rule: rot90(p)[i][j] = p[j][27 - i]. */
static sight look(const ag_real *x, bool inverted)
{
    int picture[28][28], next[28][28];
    for (int i = 0; i < PIXELS; i++)
        picture[i / 28][i % 28] = (int)lround((inverted ? 1 - (double)x[i] : (double)x[i]) * 255);
    for (int back = 0; back < 4; back++) {
        if (picture[0][0] == 255)
            return (sight){ picture[0][1] * 256 + picture[0][2], picture[0][3], (4 - back) % 4 };
        for (int i = 0; i < 28; i++)
            for (int j = 0; j < 28; j++)
                next[i][j] = picture[j][27 - i];
        memcpy(picture, next, sizeof next);
    }
    ck_abort_msg("a picture that was never made");
}

static const xp_tasks plain = { .source = "omniglot" };

START_TEST(examples_are_shot_major_and_support_and_query_share_no_drawing)
{
    make_cache();
    xp_source *s = open_source(&plain);
    static episode e;
    for (uint64_t t = 0; t < 50; t++) {
        bool used[WAY][DRAWINGS] = { { false } };
        draw(s, AG_STREAM_TRAIN, t, &e);
        for (int row = 0; row < SUPPORT + QUERIES; row++) {
            bool support = row < SUPPORT;
            int r = support ? row : row - SUPPORT, c = r % WAY;
            sight seen = look(support ? e.sx + r * PIXELS : e.qx + r * PIXELS, false);
            ck_assert_int_eq(support ? e.sy[r] : e.qy[r], c);
            ck_assert_int_eq(seen.character, look(e.sx + c * PIXELS, false).character);
            ck_assert_int_eq(seen.turns, 0);
            ck_assert(!used[c][seen.drawing]);
            used[c][seen.drawing] = true;
            for (int other = 0; support && other < c; other++)
                ck_assert_int_ne(seen.character, look(e.sx + other * PIXELS, false).character);
        }
    }
    xp_source_close(s);
    forget_cache();
}
END_TEST

static void count_characters(const xp_source *s, uint64_t stream, int episodes, int *seen)
{
    static episode e;
    for (int t = 0; t < episodes; t++) {
        draw(s, stream, (uint64_t)t, &e);
        for (int c = 0; c < WAY; c++)
            seen[look(e.sx + c * PIXELS, false).character]++;
    }
}

static int distinct(const int *seen)
{
    int n = 0;
    for (int i = 0; i < CHARACTERS; i++)
        n += seen[i] > 0;
    return n;
}

START_TEST(splits_share_no_character_and_every_character_of_one_comes_up_evenly)
{
    static int train[CHARACTERS], validation[CHARACTERS], test[CHARACTERS];
    make_cache();
    xp_source *s = open_source(&plain);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TRAIN), 1100);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_VALIDATION), 100);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TEST), 423);
    ck_assert_int_eq(xp_source_examples_per_class(s), 20);
    count_characters(s, AG_STREAM_TRAIN, 1100, train);
    count_characters(s, AG_STREAM_VALIDATION, 100, validation);
    count_characters(s, AG_STREAM_TEST, 423, test);
    ck_assert_int_eq(distinct(train), 1100);
    ck_assert_int_eq(distinct(validation), 100);
    ck_assert_int_eq(distinct(test), 423);
    double chi = 0;
    for (int i = 0; i < CHARACTERS; i++) {
        ck_assert_int_eq((train[i] > 0) + (validation[i] > 0) + (test[i] > 0), 1);
        chi += train[i] ? (train[i] - 20.0) * (train[i] - 20.0) / 20.0 : 0;
    }
    ck_assert_msg(chi > 860 && chi < 1340, "chi-square %g with 1,099 degrees of freedom", chi);   /* 5 sigma */
    xp_source_close(s);
    xp_tasks fewer = plain;   /* other counts walk the same order */
    fewer.split[0] = 1000;
    fewer.split[1] = 200;
    static int shifted[CHARACTERS];
    s = open_source(&fewer);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TEST), 0);
    count_characters(s, AG_STREAM_VALIDATION, 400, shifted);
    for (int i = 0; i < CHARACTERS; i++)
        ck_assert(!shifted[i] || train[i] || validation[i]);
    for (int i = 0; i < CHARACTERS; i++)
        ck_assert(!validation[i] || shifted[i]);
    xp_source_close(s);
    forget_cache();
}
END_TEST

START_TEST(a_turn_for_each_class_of_a_task_in_every_split)
{
    static episode e;
    make_cache();
    xp_tasks tasks = plain;
    tasks.rotate = "task";
    xp_source *s = open_source(&tasks);
    static const uint64_t streams[] = { AG_STREAM_TRAIN, AG_STREAM_VALIDATION, AG_STREAM_TEST };
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TRAIN), 1100);
    for (int z = 0; z < 3; z++) {
        int turns[4] = { 0 };
        for (uint64_t t = 0; t < 50; t++) {
            draw(s, streams[z], t, &e);
            for (int r = 0; r < QUERIES; r++)
                ck_assert_int_eq(look(e.qx + r * PIXELS, false).turns, look(e.sx + r % WAY * PIXELS, false).turns);
            for (int c = 0; c < WAY; c++)
                turns[look(e.sx + c * PIXELS, false).turns]++;
        }
        for (int i = 0; i < 4; i++)
            ck_assert_msg(abs(turns[i] - 250) < 70, "%d of 1000 turned by %d quarters", turns[i], i);   /* 5 sigma */
    }
    xp_source_close(s);
    forget_cache();
}
END_TEST

START_TEST(turned_characters_are_classes_of_their_own_in_training_only)
{
    static episode e;
    make_cache();
    xp_tasks tasks = plain;
    tasks.rotate = "classes";
    xp_source *s = open_source(&tasks);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TRAIN), 4400);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_VALIDATION), 100);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TEST), 423);
    int turns[4] = { 0 }, twins = 0;
    for (uint64_t t = 0; t < 500; t++) {
        draw(s, AG_STREAM_TRAIN, t, &e);
        for (int c = 0; c < WAY; c++) {
            sight seen = look(e.sx + c * PIXELS, false);
            turns[seen.turns]++;
            ck_assert_int_eq(look(e.qx + c * PIXELS, false).turns, seen.turns);
            for (int other = 0; other < c; other++) {
                sight twin = look(e.sx + other * PIXELS, false);
                ck_assert(twin.character != seen.character || twin.turns != seen.turns);
                twins += twin.character == seen.character;
            }
        }
        draw(s, AG_STREAM_TEST, t, &e);
        for (int r = 0; r < SUPPORT; r++)
            ck_assert_int_eq(look(e.sx + r * PIXELS, false).turns, 0);
    }
    for (int i = 0; i < 4; i++)
        ck_assert_msg(abs(turns[i] - 2500) < 220, "%d of 10000 turned by %d quarters", turns[i], i);
    ck_assert_int_gt(twins, 20);   /* 65 expected: the same character turned otherwise */
    xp_source_close(s);
    forget_cache();
}
END_TEST

START_TEST(inverted_pictures_are_one_minus_the_plain_ones)
{
    static episode e, f;
    make_cache();
    xp_tasks inverted = plain;
    inverted.invert = true;
    xp_source *s = open_source(&plain), *i = open_source(&inverted);
    draw(s, AG_STREAM_TEST, 4, &e);
    draw(i, AG_STREAM_TEST, 4, &f);
    for (int k = 0; k < SUPPORT * PIXELS; k++) {
        ck_assert(e.sx[k] >= 0 && e.sx[k] <= 1);
        ck_close(f.sx[k], 1 - (double)e.sx[k], 1e-7);
    }
    ck_assert_int_eq(look(e.sx, false).character, look(f.sx, true).character);
    ck_assert_int_eq(memcmp(e.sy, f.sy, sizeof e.sy), 0);
    xp_source_close(s);
    xp_source_close(i);
    forget_cache();
}
END_TEST

enum { THREADS = 4, TASKS = 8 };
typedef struct worker {
    const xp_source *source;
    int number;
    episode *out;
} worker;

static void *draw_all(void *arg)
{
    worker *w = arg;
    for (int i = 0; i < TASKS; i++) {
        int t = (i * 3 + w->number * 2) % TASKS;
        draw(w->source, AG_STREAM_TRAIN, (uint64_t)t, &w->out[t]);
    }
    return NULL;
}

START_TEST(threads_draw_the_same_bits_and_tasks_differ)
{
    make_cache();
    xp_tasks tasks = plain;
    tasks.rotate = "task";
    xp_source *s = open_source(&tasks);
    pthread_t threads[THREADS];
    worker w[THREADS];
    for (int i = 0; i < THREADS; i++) {
        w[i] = (worker){ s, i, malloc(TASKS * sizeof(episode)) };
        ck_assert_int_eq(pthread_create(&threads[i], NULL, draw_all, &w[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i < THREADS; i++)
        ck_assert_int_eq(memcmp(w[0].out, w[i].out, TASKS * sizeof(episode)), 0);
    for (int t = 1; t < TASKS; t++)
        ck_assert_int_ne(memcmp(w[0].out, w[0].out + t, sizeof(episode)), 0);
    for (int i = 0; i < THREADS; i++)
        free(w[i].out);
    xp_source_close(s);
    forget_cache();
}
END_TEST

static void *counted_alloc(size_t bytes, void *ctx)
{
    ++*(int *)ctx;
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void counted_release(void *p, void *ctx)
{
    (void)ctx;
    free(p);
}

START_TEST(sampling_allocates_nothing)
{
    static episode e;
    int calls = 0;
    make_cache();
    ag_set_allocator(&(ag_allocator){ counted_alloc, counted_release, &calls });
    xp_source *s = open_source(&plain);
    int before = calls;
    ck_assert_int_gt(before, 0);
    draw(s, AG_STREAM_TRAIN, 0, &e);
    draw(s, AG_STREAM_TEST, 1, &e);
    ck_assert_int_eq(calls, before);
    xp_source_close(s);
    ag_set_allocator(NULL);
    forget_cache();
}
END_TEST

static void expect_wrong(const xp_source *s, uint64_t stream, xp_episode_size size, const char *part)
{
    static ag_real x[1];
    static int32_t y[1];
    ag_error err = { 0 };
    ck_assert_int_eq(xp_source_episode(s, &(xp_episode_id){ 1, stream, 0, 0 }, &size, x, y, x, y, &err), AG_ECONFIG);
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' does not say '%s'", err.message, part);
}

START_TEST(sizes_beyond_the_data_are_refused_with_numbers)
{
    make_cache();
    xp_source *s = open_source(&plain);
    expect_wrong(s, AG_STREAM_VALIDATION, (xp_episode_size){ .way = 101, .shot = 1, .query = 1 }, "101-way tasks from 100 validation classes");
    expect_wrong(s, AG_STREAM_TEST, (xp_episode_size){ .way = 424, .shot = 1, .query = 1 }, "424-way tasks from 423 test classes");
    expect_wrong(s, AG_STREAM_TRAIN, (xp_episode_size){ .way = 5, .shot = 6, .query = 15 }, "shot 6 + query 15; a character has 20 drawings");
    expect_wrong(s, AG_STREAM_TRAIN, (xp_episode_size){ .way = 5, .shot = 1, .query = INT64_MAX }, "a character has 20 drawings");
    expect_wrong(s, AG_STREAM_TRAIN, (xp_episode_size){ .way = 5, .shot = INT64_MAX, .query = 1 }, "a character has 20 drawings");
    xp_source_close(s);
    forget_cache();
}
END_TEST

static void expect_refused(const xp_tasks *tasks, const xp_source_options *opt, const char *part)
{
    xp_source *s;
    ag_error err = { 0 };
    ck_assert_int_eq(xp_source_open(&s, tasks, opt, &err), AG_ECONFIG);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' does not say '%s'", err.message, part);
}

START_TEST(missing_or_damaged_data_say_what_to_run)
{
    char path[XP_PATH_MAX];
    make_cache();
    xp_source_options opt = { .cache_dir = dir };
    xp_omniglot_cache_path(dir, path, NULL);
    FILE *f = fopen(path, "r+b");
    fseek(f, 5000000, SEEK_SET);
    fputc(0x77, f);
    fclose(f);
    expect_refused(&plain, &opt, "the pixels are damaged");
    expect_refused(&plain, &opt, "'metalora data import omniglot DIR'");
    unlink(path);
    expect_refused(&plain, &opt, "omniglot-28x28.bin: No such file or directory). Run 'metalora data get omniglot'");
    opt.data_dir = dir;   /* known, but nothing in it */
    expect_refused(&plain, &opt, "there is no images_background.zip");
    xp_tasks wrong = plain;
    wrong.rotate = "twice";
    expect_refused(&wrong, &opt, "tasks.rotate: 'twice'; expected none, task or classes");
    wrong = plain, wrong.split[0] = 1600, wrong.split[2] = 24;
    expect_refused(&wrong, &opt, "tasks.split: [1600, 0, 24]");
    forget_cache();
}
END_TEST

TEST_MAIN(examples_are_shot_major_and_support_and_query_share_no_drawing,
          splits_share_no_character_and_every_character_of_one_comes_up_evenly,
          a_turn_for_each_class_of_a_task_in_every_split, turned_characters_are_classes_of_their_own_in_training_only,
          inverted_pictures_are_one_minus_the_plain_ones, threads_draw_the_same_bits_and_tasks_differ,
          sampling_allocates_nothing, sizes_beyond_the_data_are_refused_with_numbers, missing_or_damaged_data_say_what_to_run)
