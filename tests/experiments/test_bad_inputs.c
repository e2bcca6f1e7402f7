/* Bad input of runs, result files and archives, one row each (bad_inputs.h). */
#include "tests/experiments/bad_inputs.h"

#include <spng.h>
#include <zip.h>

/* ---- the inputs ---- */

static unsigned char *make_png(uint32_t side, size_t *n)
{
    unsigned char bits[105 * 14] = { 0x55, 0xaa };
    spng_ctx *ctx = spng_ctx_new(SPNG_CTX_ENCODER);
    struct spng_ihdr h = { .width = side, .height = side, .bit_depth = 1 };
    int status = 0;
    spng_set_option(ctx, SPNG_ENCODE_TO_BUFFER, 1);
    spng_set_ihdr(ctx, &h);
    ck_assert_int_eq(spng_encode_image(ctx, bits, (side + 7) / 8 * side, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
    unsigned char *png = spng_get_png_buffer(ctx, n, &status);
    spng_ctx_free(ctx);
    return png;
}

/* As many characters and drawings as Omniglot's archive, every drawing the same PNG. */
static void write_archive(const char *path, int characters, uint32_t side)
{
    int status;
    size_t n;
    unsigned char *png = make_png(side, &n);
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &status);
    ck_assert_ptr_nonnull(zip);
    for (int i = 0; i < characters * 20; i++) {
        char name[80];
        snprintf(name, sizeof name, "%.17s/Alphabet/character%04d/%04d.png", strrchr(path, '/') + 1, i / 20, i % 20);
        zip_int64_t index = zip_file_add(zip, name, zip_source_buffer(zip, png, n, 0), 0);
        ck_assert_int_ge(index, 0);
        zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0);
    }
    ck_assert_int_eq(zip_close(zip), 0);
    free(png);
}

/* A folder of both archives; side: of the drawings. */
static void make_archives(const char *dir, uint32_t side)
{
    char path[100];
    ck_assert_int_eq(mkdir(dir, 0755), 0);
    snprintf(path, sizeof path, "%s/images_background.zip", dir);
    write_archive(path, 964, side);
    snprintf(path, sizeof path, "%s/images_evaluation.zip", dir);
    write_archive(path, 659, side);
}

#define HEAD "tasks: {source: sinusoid, shot: 5, query: 5}\n"

static void make_inputs(void)
{
    struct stat st;
    write_text("good.yaml", HEAD "model: {hidden: [4]}\nouter: {meta_batch: 2, chunk: 2, iterations: 5}\neval: {episodes: 4, steps: 1}\n");
    write_text("images.yaml", "tasks: {source: omniglot, way: 5, shot: 1, query: 5}\nmodel: {kind: conv4}\n");
    write_text("types.yaml", HEAD "inner:\n  steps: many\n");
    write_text("list.yaml", HEAD "inner:\n  lr: [0.1]\n");
    write_text("section.yaml", HEAD "inner: 0.1\n");
    write_text("unknown.yaml", HEAD "inner:\n  stps: 3\n");
    write_text("bomb.yaml", "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
                            "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
                            "e: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n");
    write_text("empty.yaml", "");
    write_text("empty.h5", "");
    write_binary("binary.yaml");
    write_binary("binary.h5");
    write_big("big.yaml", "seed: 1\n");
    write_big("big.h5", "\211HDF\r\n\032\n");
    write_text("locked.yaml", HEAD);
    write_text("locked.h5", "");
    ck_assert_int_eq(chmod("locked.yaml", 0) | chmod("locked.h5", 0), 0);
    ck_assert_int_eq(mkdir("folder.yaml", 0755) | mkdir("folder.h5", 0755), 0);
    make_archives("small", 28);
    make_archives("damaged", 105);
    spoil_byte("damaged/images_background.zip", 100);   /* within the first drawing */
    make_archives("truncated", 28);
    ck_assert_int_eq(stat("truncated/images_background.zip", &st), 0);
    ck_assert_int_eq(truncate("truncated/images_background.zip", st.st_size / 2), 0);
    ck_assert_int_eq(mkdir("binary", 0755) | mkdir("big", 0755), 0);
    write_binary("binary/images_background.zip");
    write_binary("binary/images_evaluation.zip");
    write_big("big/images_background.zip", "PK\003\004");
    write_big("big/images_evaluation.zip", "PK\003\004");
}

#define SET(...) { "run", "good.yaml", "--set", __VA_ARGS__ }
#define IMAGES(...) { "run", "images.yaml", "--set", __VA_ARGS__ }
#define IMPORT(dir) { "data", "import", "omniglot", dir, "--quiet" }

static const row rows[] = {
    { "missing configuration", { "run", "missing.yaml" }, { "missing.yaml: No such file or directory", "expected" }, false },
    { "missing result file", { "show", "missing.h5" }, { "missing.h5", "No such file or directory" }, false },
    { "missing result file", { "resume", "missing.h5" }, { "missing.h5", "No such file" }, false },
    { "missing archive", IMPORT("."), { "there is no images_background.zip", "expected" }, false },
    { "missing folder of archives", IMPORT("missing"), { "missing: ", "images_background.zip", "expected" }, false },
    { "missing data", { "run", "images.yaml", "--quiet" }, { "Omniglot is not ready", "metalora data import omniglot DIR" }, false },
    { "directory instead of a configuration", { "run", "folder.yaml" }, { "folder.yaml: is a folder", "expected" }, false },
    { "directory instead of a result file", { "show", "folder.h5" }, { "'folder.h5' is not a file", "expected" }, false },
    { "directory instead of a result file", { "resume", "folder.h5" }, { "folder.h5" }, false },
    { "directory as output", { "run", "good.yaml", "--out", "folder.h5", "--force", "-q" }, { "folder.h5" }, false },
    { "unreadable configuration", { "run", "locked.yaml" }, { "locked.yaml: Permission denied", "expected" }, true },
    { "unreadable result file", { "show", "locked.h5" }, { "locked.h5", "Permission denied" }, true },
    { "empty configuration", { "run", "empty.yaml" }, { "empty.yaml:1:1", "the file is empty", "expected" }, false },
    { "empty result file", { "show", "empty.h5" }, { "empty.h5" }, false },
    { "empty result file", { "resume", "empty.h5" }, { "empty.h5" }, false },
    { "binary configuration", { "run", "binary.yaml" }, { "binary.yaml:1:", "expected YAML in UTF-8" }, false },
    { "binary result file", { "show", "binary.h5" }, { "binary.h5" }, false },
    { "binary result file", { "resume", "binary.h5" }, { "binary.h5" }, false },
    { "binary archive", IMPORT("binary"), { "binary/images_background.zip: cannot be opened as a zip archive" }, false },
    { "100 MB configuration", { "run", "big.yaml" }, { "big.yaml: more than 1048576 bytes", "expected" }, false },
    { "100 MB result file", { "show", "big.h5" }, { "big.h5" }, false },
    { "100 MB result file", { "resume", "big.h5" }, { "big.h5" }, false },
    { "100 MB archive", IMPORT("big"), { "big/images_background.zip: cannot be opened as a zip archive" }, false },
    { "alias bomb", { "run", "bomb.yaml" }, { "bomb.yaml:5:", "more than 20000 values once aliases are written out" }, false },
    { "word for a number", { "run", "types.yaml" }, { "types.yaml:3:10: inner.steps is 'many'", "expected a whole number" }, false },
    { "list for a number", { "run", "list.yaml" }, { "list.yaml:3:7: inner.lr is a list", "expected a number" }, false },
    { "number for a section", { "run", "section.yaml" }, { "section.yaml:2:8: inner is '0.1'", "expected" }, false },
    { "unknown key", { "run", "unknown.yaml" }, { "unknown.yaml:3:3: unknown key 'inner.stps'", "did you mean 'inner.steps'?" }, false },
    { "unknown key on the command line", SET("outer.learning=1"), { "unknown key 'outer.learning'" }, false },
    { "n-way above the number of classes", IMAGES("tasks.way=500"), { "tasks.way 500 exceeds the 423 classes of the test split" }, false },
    { "k + query above the images of a class", IMAGES("tasks.query=20"), { "tasks.shot 1 and tasks.query 20 need 21 drawings", "at most" }, false },
    { "k + query above, at test", IMAGES("eval.shots=[1, 18]"), { "eval.shots 18 and tasks.query 5 need 23 drawings" }, false },
    { "learning rate 0", SET("inner.lr=0"), { "inner.lr is '0'; expected a number in (0, 1e3]" }, false },
    { "learning rate negative", SET("outer.lr=-0.001"), { "outer.lr is '-0.001'; expected a number in (0, 1e3]" }, false },
    { "learning rate NaN", SET("inner.lr=nan"), { "inner.lr is 'nan'; expected a number in (0, 1e3]" }, false },
    { "learning rate .nan", SET("outer.lr=.nan"), { "outer.lr is '.nan'; expected a number in (0, 1e3]" }, false },
    { "learning rate infinite", SET("inner.lr=1e999"), { "inner.lr is '1e999'; expected a number in (0, 1e3]" }, false },
    { "zero tasks in a batch", SET("outer.meta_batch=0"), { "outer.meta_batch is '0'; expected a whole number in [1, 100000] (tasks)" }, false },
    { "zero training tasks", SET("tasks.n_task=0"), { "tasks.n_task is '0'; expected a whole number in [1, 1000] (tasks)" }, false },
    { "zero episodes", SET("eval.episodes=0"), { "eval.episodes is '0'; expected a whole number in [1, 1000000] (episodes)" }, false },
    { "zero iterations", SET("outer.iterations=0"), { "outer.iterations is 0; expected 1 or more" }, false },
    { "zero threads", { "run", "good.yaml", "--threads", "0" }, { "--threads: '0'; expected a whole number from 1 to 1024" }, false },
    { "absurdly many threads", { "run", "good.yaml", "--threads", "100000" }, { "--threads: '100000'; expected a whole number from 1 to 1024" }, false },
    { "seed beyond 64 bits", { "run", "good.yaml", "--seed", "18446744073709551616" }, { "--seed: '18446744073709551616'; expected a whole number from 0 to 18446744073709551615" }, false },
    { "seed beyond 64 bits", SET("seed=18446744073709551616"), { "seed is '18446744073709551616'; expected a whole number in [0, 18446744073709551615]" }, false },
    { "negative seed", SET("seed=-1"), { "seed is '-1'; expected a whole number in" }, false },
    { "corrupt zip", IMPORT("damaged"), { "damaged/images_background.zip: the entry", "is damaged" }, false },
    { "truncated zip", IMPORT("truncated"), { "truncated/images_background.zip: cannot be opened as a zip archive" }, false },
    { "a PNG of another size", IMPORT("small"), { "small/images_background.zip: ", "28 x 28", "105 x 105" }, false },
    { "a file instead of the folder of archives", IMPORT("good.yaml"), { "good.yaml: there is no images_background.zip" }, false },
};
enum { N_ROW = sizeof rows / sizeof *rows };

/* ---- tests ---- */

START_TEST(every_bad_input_ends_with_code_2_a_clear_message_and_nothing_written)
{
    expect_rows(rows, N_ROW, make_inputs);
}
END_TEST

/* Allowed, and told: the one entry of the list that is no mistake. */
START_TEST(more_threads_than_cores_run_to_the_end_with_a_note)
{
    char out[TEXT_MAX], messages[TEXT_MAX], threads[24];
    enter_folder();
    make_inputs();
    snprintf(threads, sizeof threads, "%ld", sysconf(_SC_NPROCESSORS_ONLN) + 3);
    int code = run((const char *const[]){ "run", "good.yaml", "--threads", threads, NULL }, false, out, messages);
    ck_assert_msg(code == 0, "%s", messages);
    ck_assert_ptr_nonnull(strstr(messages, "allowed, not faster"));
    ck_assert_int_eq(access("good.h5", R_OK), 0);
    teardown();
}
END_TEST

/* The checks above would see it if a file were left. */
START_TEST(a_file_that_appears_or_changes_is_noticed)
{
    enter_folder();
    make_inputs();
    uint64_t before = walk(".", false);
    ck_assert_uint_eq(walk(".", false), before);
    write_text("new", "");
    ck_assert_uint_ne(walk(".", false), before);
    ck_assert_int_eq(remove("new"), 0);
    ck_assert_uint_eq(walk(".", false), before);
    write_text("empty.yaml", "x");
    ck_assert_uint_ne(walk(".", false), before);
    teardown();
}
END_TEST

TEST_MAIN(every_bad_input_ends_with_code_2_a_clear_message_and_nothing_written, more_threads_than_cores_run_to_the_end_with_a_note,
          a_file_that_appears_or_changes_is_noticed)
