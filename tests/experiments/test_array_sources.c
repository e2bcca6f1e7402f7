/* Sources of labelled arrays (HDF5, .npz, .npy) and of Caltech-101's pictures, from small files made here. */
#include "tests/check.h"
#include "tests/failing_allocator.h"

#include "autograd/random.h"
#include "experiments/arrays.h"
#include "experiments/tasks.h"
#include "golden_arrays.h"

#include <hdf5.h>
#include <hdf5_hl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>
#include <zlib.h>

enum { N = 60, CLASSES = 6, WIDTH = 3, HEAD = 128 };

static char dir[32];

static const char *in_dir(const char *name)
{
    static char path[4][96];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "array-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void write_bytes(const char *name, const void *data, size_t n)
{
    FILE *f = fopen(in_dir(name), "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    fclose(f);
}

/* Example i: numbers i, i + 0.25, i + 0.5; label -5 + 10 (i % CLASSES). */
static void make_numbers(float *x, int64_t *y)
{
    for (int i = 0; i < N; i++) {
        y[i] = -5 + 10 * (i % CLASSES);
        for (int k = 0; k < WIDTH; k++)
            x[i * WIDTH + k] = (float)i + 0.25F * (float)k;
    }
}

/* A .npy file of version 1: the header is filled up with spaces. */
static size_t npy(char *out, const char *header, const void *data, size_t n)
{
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)(HEAD - 10);
    out[9] = 0;
    memset(out + 10, ' ', HEAD - 10);
    memcpy(out + 10, header, strlen(header));
    out[HEAD - 1] = '\n';
    if (n)
        memcpy(out + HEAD, data, n);
    return HEAD + n;
}

static char x_npy[HEAD + N * WIDTH * 4], y_npy[HEAD + N * 8];

static void make_npy(void)
{
    float x[N * WIDTH];
    int64_t y[N];
    make_numbers(x, y);
    npy(x_npy, "{'descr': '<f4', 'fortran_order': False, 'shape': (60, 3), }", x, sizeof x);
    npy(y_npy, "{'descr': '<i8', 'fortran_order': False, 'shape': (60,), }", y, sizeof y);
}

static void write_npz(const char *name, const char *first)
{
    int status;
    char member[32];
    make_npy();
    zip_t *z = zip_open(in_dir(name), ZIP_CREATE | ZIP_TRUNCATE, &status);
    ck_assert_ptr_nonnull(z);
    snprintf(member, sizeof member, "%s.npy", first);
    zip_file_add(z, member, zip_source_buffer(z, x_npy, sizeof x_npy, 0), 0);
    zip_file_add(z, "y.npy", zip_source_buffer(z, y_npy, sizeof y_npy, 0), 0);
    ck_assert_int_eq(zip_close(z), 0);
}

static void write_folder(const char *name)
{
    char path[64];
    make_npy();
    ck_assert_int_eq(mkdir(in_dir(name), 0777), 0);
    snprintf(path, sizeof path, "%s/x.npy", name);
    write_bytes(path, x_npy, sizeof x_npy);
    snprintf(path, sizeof path, "%s/y.npy", name);
    write_bytes(path, y_npy, sizeof y_npy);
}

static void write_hdf5(const char *name)
{
    float x[N * WIDTH];
    int64_t y[N];
    hsize_t shape[2] = { N, WIDTH };
    make_numbers(x, y);
    hid_t f = H5Fcreate(in_dir(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    ck_assert(f >= 0);
    H5LTmake_dataset(f, "x", 2, shape, H5T_NATIVE_FLOAT, x);
    H5LTmake_dataset(f, "y", 1, shape, H5T_NATIVE_INT64, y);
    H5LTmake_dataset(f, "short", 1, &(hsize_t){ 7 }, H5T_NATIVE_INT64, y);
    H5LTmake_dataset_string(f, "words", "no numbers");
    H5Fclose(f);
}

static xp_source *open_source(const xp_tasks *tasks, const char *data_dir)
{
    xp_source *s;
    ag_error err = { 0 };
    ck_assert_msg(xp_source_open(&s, tasks, &(xp_source_options){ .data_dir = data_dir }, &err) == AG_OK, "%s", err.message);
    return s;
}

typedef struct episode {
    ag_real sx[8 * WIDTH], qx[16 * WIDTH];
    int32_t sy[8], qy[16];
} episode;

static void draw(const xp_source *s, uint64_t stream, uint64_t task, episode *e)
{
    ag_error err = { 0 };
    memset(e, 0, sizeof *e);
    xp_episode_size size = { .way = 2, .shot = 3, .query = 4 };
    ag_code code = xp_source_episode(s, &(xp_episode_id){ 4, stream, 1, task }, &size, e->sx, e->sy, e->qx, e->qy, &err);
    ck_assert_msg(code == AG_OK, "%s", err.message);
}

/* The number of the example in a row, by what stands there. */
static int look(const ag_real *x)
{
    int i = (int)x[0];
    for (int k = 0; k < WIDTH; k++)
        ck_assert(x[k] == (ag_real)(i + 0.25 * k));
    return i;
}

static void expect_episodes(const xp_source *s)
{
    static episode e;
    xp_example_shape shape = xp_source_example(s);
    ck_assert(shape.x_ndim == 1 && shape.x_shape[0] == WIDTH && shape.labels && !shape.text);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TRAIN), 3);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_VALIDATION), 1);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TEST), 2);
    ck_assert_int_eq(xp_source_examples_per_class(s), N / CLASSES);
    for (uint64_t t = 0; t < 100; t++) {
        bool seen[N] = { false };
        draw(s, AG_STREAM_TRAIN, t, &e);
        for (int r = 0; r < 14; r++) {
            bool support = r < 6;
            int row = support ? r : r - 6, i = look(support ? e.sx + row * WIDTH : e.qx + row * WIDTH);
            ck_assert_int_eq((support ? e.sy : e.qy)[row], row % 2);
            ck_assert_int_eq(i % CLASSES, look(e.sx + row % 2 * WIDTH) % CLASSES);
            ck_assert(!seen[i]);
            seen[i] = true;
        }
    }
}

START_TEST(hdf5_npz_and_npy_make_the_same_episodes)
{
    static episode a, b;
    xp_source *s[3];
    make_dir();
    write_hdf5("a.h5");
    write_npz("a.npz", "x");
    write_folder("folder");
    const char *paths[3] = { in_dir("a.h5"), in_dir("a.npz"), in_dir("folder") };
    for (int i = 0; i < 3; i++) {
        xp_tasks tasks = { .source = "arrays", .path = paths[i], .x_dataset = "x", .y_dataset = "y", .class_split = { 3, 1, 2 } };
        s[i] = open_source(&tasks, NULL);
        expect_episodes(s[i]);
    }
    for (uint64_t t = 0; t < 20; t++) {
        draw(s[0], AG_STREAM_TEST, t, &a);
        for (int i = 1; i < 3; i++) {
            draw(s[i], AG_STREAM_TEST, t, &b);
            ck_assert_int_eq(memcmp(&a, &b, sizeof a), 0);
        }
    }
    for (int i = 0; i < 3; i++)
        xp_source_close(s[i]);
    unlink(in_dir("a.h5"));
    unlink(in_dir("a.npz"));
    unlink(in_dir("folder/x.npy"));
    unlink(in_dir("folder/y.npy"));
    rmdir(in_dir("folder"));
    rmdir(dir);
}
END_TEST

START_TEST(a_file_that_numpy_wrote_is_read)
{
    xp_arrays a;
    ag_error err = { 0 };
    make_dir();
    write_bytes("numpy.npz", golden_npz, sizeof golden_npz);
    ck_assert_msg(xp_arrays_read(&a, in_dir("numpy.npz"), "x", "y", &err) == AG_OK, "%s", err.message);
    ck_assert(a.n == 24 && a.ndim == 2 && a.shape[0] == 2 && a.shape[1] == 2 && a.size == 4);
    for (int i = 0; i < 24; i++) {
        ck_assert_int_eq(a.y[i], i % 3);
        for (int k = 0; k < 4; k++)
            ck_assert(a.x[i * 4 + k] == (ag_real)(i + 0.25 * k));
    }
    xp_arrays_release(&a);
    unlink(in_dir("numpy.npz"));
    rmdir(dir);
}
END_TEST

START_TEST(numbers_of_every_npy_type_are_read)
{
    static const struct { const char *type; unsigned char bytes[8]; double value; } cases[] = {
        { "|i1", { 0x80 }, -128 }, { "|u1", { 0x80 }, 128 }, { "|b1", { 1 }, 1 },
        { "<i2", { 0xfe, 0xff }, -2 }, { ">i2", { 0xff, 0xfe }, -2 }, { "<u2", { 0xfe, 0xff }, 65534 },
        { "<i4", { 0, 0, 0, 0x80 }, -2147483648.0 }, { ">u4", { 0x80, 0, 0, 1 }, 2147483649.0 },
        { "<i8", { 0, 0, 0, 0, 0, 0, 0, 0x80 }, -9223372036854775808.0 }, { ">u8", { 0, 0, 0, 0, 0, 0, 1, 2 }, 258 },
        { "<f2", { 0x00, 0xc2 }, -3 }, { "<f2", { 0x01, 0x00 }, 0x1p-24 }, { "<f2", { 0xff, 0x7b }, 65504 },
        { "<f4", { 0, 0, 0xc0, 0x3f }, 1.5 }, { ">f4", { 0x3f, 0xc0, 0, 0 }, 1.5 },
        { "<f8", { 0, 0, 0, 0, 0, 0, 0xf8, 0xbf }, -1.5 }, { ">f8", { 0xbf, 0xf8, 0, 0, 0, 0, 0, 0 }, -1.5 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[100], file[HEAD + 8];
        xp_npy a;
        ag_error err = { 0 };
        snprintf(header, sizeof header, "{'shape': (1, 1), 'fortran_order': False, 'descr': '%s'}", cases[i].type);
        size_t n = npy(file, header, cases[i].bytes, (size_t)(cases[i].type[2] - '0'));
        ck_assert_msg(xp_npy_parse(&a, file, n, "f", &err) == AG_OK, "%s", err.message);
        ck_assert_msg(xp_npy_real(&a, 0) == cases[i].value, "%s: %g, expected %g", cases[i].type, xp_npy_real(&a, 0), cases[i].value);
        if (a.kind != 'f')
            ck_assert_msg((double)xp_npy_int(&a, 0) == cases[i].value, "%s", cases[i].type);
    }
}
END_TEST

START_TEST(headers_that_are_none_are_refused)
{
    static const struct { const char *header, *part; } cases[] = {
        { "", "no dictionary" },
        { "{'descr': '<f4', 'fortran_order': False", "an unknown key" },
        { "{'descr': '<f4', 'fortran_order': False}", "one of descr, fortran_order and shape is missing" },
        { "{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "its numbers are of a type '<c8'" },
        { "{'descr': '<O', 'fortran_order': False, 'shape': (1,)}", "its numbers are of a type" },
        { "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "its numbers are of a type" },
        { "{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", "Fortran's order" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1)}", "more than 5 dimensions" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "the shape is no list of whole numbers" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000000, 4000000000000)}", "a shape that cannot be" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", "8 bytes of numbers; expected 3 numbers of 4" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char file[HEAD + 8];
        xp_npy a;
        ag_error err = { 0 };
        size_t n = npy(file, cases[i].header, "01234567", 8);
        ck_assert_int_eq(xp_npy_parse(&a, file, n, "f", &err), AG_EDATA);
        ck_assert_msg(strstr(err.message, cases[i].part) != NULL, "'%s' does not say '%s'", err.message, cases[i].part);
    }
}
END_TEST

/* A NUL ends what C's string functions see. */
START_TEST(a_type_with_a_nul_in_it_is_refused)
{
    static const char *const headers[] = { "{'descr': '<?0', 'fortran_order': False, 'shape': (1,)}", "{'descr': '?f4', 'fortran_order': False, 'shape': (1,)}",
                                           "{'descr': '<f?', 'fortran_order': False, 'shape': (1,)}" };
    for (int i = 0; i < 3; i++) {
        char file[HEAD + 8];
        xp_npy a;
        ag_error err = { 0 };
        size_t n = npy(file, headers[i], "01234567", 8);
        *(char *)memchr(file, '?', n) = '\0';
        ck_assert_int_eq(xp_npy_parse(&a, file, n, "f", &err), AG_EDATA);
        ck_assert_msg(strstr(err.message, "its numbers are of a type") != NULL, "%s", err.message);
    }
}
END_TEST

static void expect_refused(xp_tasks tasks, ag_code want, const char *part)
{
    xp_source *s;
    ag_error err = { 0 };
    tasks.source = tasks.source ? tasks.source : "arrays";
    ck_assert_msg(xp_source_open(&s, &tasks, &(xp_source_options){ .data_dir = dir }, &err) == want, "%s: %s", ag_code_name(err.code), err.message);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' does not say '%s'", err.message, part);
}

START_TEST(files_that_do_not_fit_are_refused)
{
    make_dir();
    write_hdf5("a.h5");
    write_npz("a.npz", "other");
    write_bytes("text", "no arrays here", 14);
    write_bytes("cut.h5", "\x89HDF\r\n\x1a\n and no more", 21);
    write_bytes("cut.npz", "PK\x03\x04 and no more", 16);
    write_bytes("x.npy", "\x93NUMPY\x01\x00 and", 12);
    expect_refused((xp_tasks){ .path = "" }, AG_ECONFIG, "tasks.path is empty");
    expect_refused((xp_tasks){ .path = in_dir("none.h5") }, AG_ECONFIG, "none.h5: No such file");
    expect_refused((xp_tasks){ .path = in_dir("text") }, AG_EDATA, "is neither HDF5 nor NumPy's .npz");
    expect_refused((xp_tasks){ .path = in_dir("x.npy") }, AG_EDATA, "of .npy files, give the folder");
    expect_refused((xp_tasks){ .path = in_dir("cut.h5") }, AG_EDATA, "cut.h5: cannot be opened as HDF5");
    expect_refused((xp_tasks){ .path = in_dir("cut.npz") }, AG_EDATA, "cut.npz: cannot be opened as NumPy's .npz");
    expect_refused((xp_tasks){ .path = in_dir("a.npz") }, AG_ECONFIG, "there is no x.npy; it has other.npy, y.npy");
    expect_refused((xp_tasks){ .path = dir }, AG_ECONFIG, "y.npy: No such file");
    write_bytes("y.npy", y_npy, sizeof y_npy);
    expect_refused((xp_tasks){ .path = dir }, AG_EDATA, "x.npy: cut short in its header");
    expect_refused((xp_tasks){ .path = in_dir("a.h5"), .x_dataset = "z" }, AG_ECONFIG, "there is no data set 'z' (tasks.x_dataset, "
                   "tasks.y_dataset); it has short, words, x, y");
    expect_refused((xp_tasks){ .path = in_dir("a.h5"), .y_dataset = "x" }, AG_EDATA, "'x' does not hold whole numbers");
    expect_refused((xp_tasks){ .path = in_dir("a.h5"), .x_dataset = "words" }, AG_EDATA, "'words' does not hold numbers");
    expect_refused((xp_tasks){ .path = in_dir("a.h5"), .y_dataset = "short" }, AG_EDATA, "x has 60 examples and y 7 labels");
    expect_refused((xp_tasks){ .path = in_dir("a.h5"), .class_split = { 7, 0, 0 } }, AG_ECONFIG, "tasks.class_split: [7, 0, 0]");
    expect_refused((xp_tasks){ .path = in_dir("a.h5"), .classes_from = "domain" }, AG_ECONFIG, "the classes of arrays have no domains");
    float x[N * WIDTH];
    int64_t y[N];
    make_numbers(x, y);
    x[50] = NAN;
    npy(x_npy, "{'descr': '<f4', 'fortran_order': False, 'shape': (60, 3), }", x, sizeof x);
    write_bytes("x.npy", x_npy, sizeof x_npy);
    expect_refused((xp_tasks){ .path = dir }, AG_ENAN, "x of example 16 is nan");
    static const char *const files[] = { "a.h5", "a.npz", "text", "cut.h5", "cut.npz", "x.npy", "y.npy" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(in_dir(files[i]));
    rmdir(dir);
}
END_TEST

/* --- Caltech-101 --- */

enum { PIXELS = 32 * 32 * 3, PICTURES = 120, KINDS = 100 };

static char pictures_name[] = "caltech101_32px_rgb_u8.bin.gz", index_name[] = "caltech101_index.csv";

/* Picture i: its number in the first two bytes, then 255s. Class i % 100. */
static void write_pictures(int n)
{
    unsigned char p[PIXELS];
    gzFile g = gzopen(in_dir(pictures_name), "wb");
    FILE *f = fopen(in_dir(index_name), "w");
    fputs("row,class_id,class,file\n", f);
    for (int i = 0; i < PICTURES; i++) {
        memset(p, 255, sizeof p);
        p[0] = (unsigned char)(i / 100);
        p[1] = (unsigned char)(i % 100);
        if (i < n)
            ck_assert_int_eq(gzwrite(g, p, sizeof p), PIXELS);
        fprintf(f, "%d,%d,kind %d,image_1.jpg\n", i, i % KINDS, i % KINDS);
    }
    gzclose(g);
    fclose(f);
}

START_TEST(caltechs_pictures_are_scaled_to_one_and_classes_dealt_sixty_fifteen_twenty_four)
{
    static ag_real x[2][20 * PIXELS];
    int32_t y[2][20];
    ag_error err = { 0 };
    make_dir();
    write_pictures(PICTURES);
    xp_tasks tasks = { .source = "caltech101" };
    xp_source *s = open_source(&tasks, dir);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TRAIN), 60);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_VALIDATION), 15);
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TEST), 24);
    ck_assert(xp_source_example(s).x_ndim == 3 && xp_source_example(s).x_shape[2] == 3);
    xp_episode_size size = { .way = 5, .shot = 1 };
    for (uint64_t t = 0; t < 50; t++) {
        bool seen[KINDS] = { false };
        ck_assert_int_eq(xp_source_episode(s, &(xp_episode_id){ 2, AG_STREAM_TRAIN, 0, t }, &size, x[0], y[0], NULL, NULL, &err), AG_OK);
        for (int r = 0; r < 5; r++) {
            const ag_real *p = x[0] + r * PIXELS;
            int number = (int)lround((double)p[0] * 255) * 100 + (int)lround((double)p[1] * 255);
            ck_assert(number < PICTURES && !seen[number % KINDS]);
            seen[number % KINDS] = true;
            ck_assert(p[2] == 1 && p[PIXELS - 1] == 1);
            ck_assert_int_eq(y[0][r], r);
        }
    }
    xp_source_close(s);
    write_pictures(PICTURES - 1);
    expect_refused(tasks, AG_EDATA, "picture 119 is missing or damaged (the file ends); the index has 120");
    unlink(in_dir(pictures_name));
    expect_refused(tasks, AG_ECONFIG, "has no caltech101/caltech101_32px_rgb_u8.bin.gz");
    unlink(in_dir(index_name));
    rmdir(dir);
}
END_TEST

/* How many of 25 queries are nearest to the mean of their class's 5 pictures, pixel by pixel. */
static int nearest_centroid(const ag_real *support, const ag_real *query, const int32_t *y)
{
    static ag_real mean[5 * PIXELS];
    int right = 0;
    memset(mean, 0, sizeof mean);
    for (int i = 0; i < 25 * PIXELS; i++)
        mean[i % (5 * PIXELS)] += support[i] / 5;
    for (int q = 0; q < 25; q++) {
        double best = INFINITY;
        int guess = -1;
        for (int c = 0; c < 5; c++) {
            double sum = 0;
            for (int i = 0; i < PIXELS; i++)
                sum += (query[q * PIXELS + i] - mean[c * PIXELS + i]) * (query[q * PIXELS + i] - mean[c * PIXELS + i]);
            guess = sum < best ? c : guess;
            best = sum < best ? sum : best;
        }
        right += guess == y[q];
    }
    return right;
}

START_TEST(caltech101_as_published_makes_episodes)
{
    static ag_real x[2][25 * PIXELS];
    int32_t y[2][25];
    ag_error err = { 0 };
    const char *data = getenv("METALORA_DATA");
    if (!data)
        return;
    xp_tasks tasks = { .source = "caltech101", .shot = 5, .query = 5 };
    xp_source *s = open_source(&tasks, data);
    int right = 0;
    ck_assert_int_eq(xp_source_classes(s, AG_STREAM_TEST), 24);
    ck_assert_int_eq(xp_source_examples_per_class(s), 60);
    xp_episode_size size = { .way = 5, .shot = 5, .query = 5 };
    for (uint64_t t = 0; t < 200; t++) {
        ck_assert_int_eq(xp_source_episode(s, &(xp_episode_id){ 2, AG_STREAM_TEST, 0, t }, &size, x[0], y[0], x[1], y[1], &err), AG_OK);
        right += nearest_centroid(x[0], x[1], y[1]);
    }
    ck_assert_msg(right > 0.38 * 5000 && right < 0.52 * 5000, "nearest centroid of pixels: %g", right / 5000.0);   /* 44.7 % over all classes */
    xp_source_close(s);
}
END_TEST

/* --- memory --- */

static void torture(const xp_tasks *tasks)
{
    static ag_real x[2 * PIXELS];
    int32_t y[2];
    failing_allocator c = { 0 };
    xp_episode_size size = { .way = 2, .shot = 1 };
    failing_use(&c);
    xp_source *s = open_source(tasks, dir);
    const int calls = c.calls;
    ck_assert_int_eq(xp_source_episode(s, &(xp_episode_id){ 2, AG_STREAM_TEST, 0, 0 }, &size, x, y, NULL, NULL, NULL), AG_OK);
    ck_assert_int_eq(c.calls, calls);
    xp_source_close(s);
    ck_assert_int_eq(c.live_blocks, 0);
    for (int n = 1; n <= calls; n++) {
        ag_error err = { 0 };
        c = (failing_allocator){ .fail_at = n };
        ck_assert_msg(xp_source_open(&s, tasks, &(xp_source_options){ .data_dir = dir }, &err) == AG_ENOMEM, "%d: %s", n, err.message);
        ck_assert_ptr_null(s);
        ck_assert_ptr_nonnull(strstr(err.message, "out of memory"));
        ck_assert_int_eq(c.live_blocks, 0);
    }
    failing_use(NULL);
}

START_TEST(sampling_allocates_nothing_and_a_failed_allocation_is_reported)
{
    make_dir();
    write_hdf5("a.h5");
    write_npz("a.npz", "x");
    write_pictures(PICTURES);
    torture(&(xp_tasks){ .source = "arrays", .path = in_dir("a.h5"), .class_split = { 1, 1, 4 } });
    torture(&(xp_tasks){ .source = "arrays", .path = in_dir("a.npz") });
    torture(&(xp_tasks){ .source = "caltech101" });
    static const char *const files[] = { "a.h5", "a.npz", "caltech101_32px_rgb_u8.bin.gz", "caltech101_index.csv" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(in_dir(files[i]));
    rmdir(dir);
}
END_TEST

TEST_MAIN(hdf5_npz_and_npy_make_the_same_episodes, a_file_that_numpy_wrote_is_read, numbers_of_every_npy_type_are_read, headers_that_are_none_are_refused, a_type_with_a_nul_in_it_is_refused,
          files_that_do_not_fit_are_refused, caltechs_pictures_are_scaled_to_one_and_classes_dealt_sixty_fifteen_twenty_four,
          caltech101_as_published_makes_episodes, sampling_allocates_nothing_and_a_failed_allocation_is_reported)
