/* Checkpoints of any format: opening, finding, reading; against what the safetensors and gguf packages read
 * (golden_weights.py). */
#include "tests/failing_allocator.h"
#include "tests/models/weights_bytes.h"

#include <glob.h>
#include <jansson.h>

static nn_weights *open_golden(const char *name)
{
    nn_weights *w;
    ag_error err = { 0 };
    expect(nn_weights_open(&w, golden_path(name), &err) == AG_OK, "%s", err.message);
    return w;
}

/* ---- what the packages read ---- */

static bool same(double got, double wanted)
{
    return (isnan(got) && isnan(wanted)) || (got == wanted && signbit(got) == signbit(wanted));
}

/* A line "name shape..." has been read up to the name: the shape, then the numbers. */
static void check_golden_tensor(FILE *f, const nn_weights *w, const char *name, const char *shape)
{
    const nn_stored *s = nn_weights_find(w, name);
    expect(s, "%s has no '%s'", nn_weights_format(w), name);
    int ndim = 0;
    for (char *end; *shape && *shape != '\n'; shape = end, ndim++) {
        int64_t size = strtoll(shape, &end, 10);
        expect(ndim < s->ndim && s->shape[ndim] == size, "'%s': axis %d", name, ndim);
    }
    ck_assert_int_eq(ndim, s->ndim);
    ag_real *out = malloc((size_t)s->numel * sizeof *out + 1);
    ag_error err = { 0 };
    expect(nn_stored_read(s, out, &err) == AG_OK, "%s", err.message);
    bool wide = s->dtype == NN_F64 || s->dtype == NN_I64 || s->dtype == NN_I32;
    for (int64_t i = 0; i < s->numel; i++) {
        char line[64];
        expect(fgets(line, sizeof line, f), "'%s' ends at %lld", name, (long long)i);
        double wanted = strtod(line, NULL);
        expect(wide ? same((double)out[i], (double)(ag_real)wanted) : same((double)out[i], (double)(float)wanted),
               "'%s'[%lld] = %.9g, expected %s", name, (long long)i, (double)out[i], line);
    }
    free(out);
}

START_TEST(every_type_reads_as_the_packages_read_it)
{
    nn_weights *w[2] = { open_golden("golden_weights.safetensors"), open_golden("golden_weights.gguf") };
    FILE *f = fopen(golden_path("golden_weights.txt"), "r");
    char line[256], format[16], name[64];
    int n, checked = 0;
    expect(f, "no golden_weights.txt");
    for (; fgets(line, sizeof line, f); checked++) {
        expect(sscanf(line, "%15s %63s%n", format, name, &n) == 2, "not a tensor: %s", line);
        check_golden_tensor(f, w[strcmp(format, "gguf") == 0], name, line + n);
    }
    fclose(f);
    ck_assert_int_eq(checked, nn_weights_count(w[0]) + nn_weights_count(w[1]) - 1);   /* but for the Q6_K */
    nn_weights_close(w[0]);
    nn_weights_close(w[1]);
}
END_TEST

static void check_rows(const nn_stored *s)
{
    ag_real *all = malloc((size_t)s->numel * sizeof *all), *rows = malloc((size_t)s->numel * sizeof *rows);
    const int64_t row = s->numel / s->shape[0];
    ck_assert_int_eq(nn_stored_read(s, all, NULL), AG_OK);
    for (int64_t first = 0; first <= s->shape[0]; first++)
        for (int64_t count = 0; count <= s->shape[0] - first; count++) {
            memset(rows, 7, (size_t)s->numel * sizeof *rows);
            ck_assert_int_eq(nn_stored_read_rows(s, first, count, rows, NULL), AG_OK);
            expect(memcmp(rows, all + first * row, (size_t)(count * row) * sizeof *rows) == 0, "'%s': %lld rows from %lld", s->name,
                   (long long)count, (long long)first);
        }
    ck_assert_int_eq(nn_stored_read_rows(s, 1, s->shape[0], rows, NULL), AG_EINVAL);
    ck_assert_int_eq(nn_stored_read_rows(s, -1, 1, rows, NULL), AG_EINVAL);
    ck_assert_int_eq(nn_stored_read_rows(s, INT64_MAX, 1, rows, NULL), AG_EINVAL);
    ck_assert_int_eq(nn_stored_read_rows(s, 0, INT64_MAX, rows, NULL), AG_EINVAL);
    free(all);
    free(rows);
}

START_TEST(rows_are_those_of_the_whole)
{
    nn_weights *w = open_golden("golden_weights.gguf");
    for (int i = 0; i < nn_weights_count(w); i++)
        if (nn_weights_at(w, i)->dtype != NN_OTHER)
            check_rows(nn_weights_at(w, i));
    nn_stored vector = *nn_weights_find(w, "Q4_1");       /* whose rows begin and end within blocks */
    vector.ndim = 1;
    vector.shape[0] = vector.numel = 96;
    check_rows(&vector);
    nn_weights_close(w);
}
END_TEST

START_TEST(a_type_that_cannot_be_read_is_named_and_refused)
{
    nn_weights *w = open_golden("golden_weights.gguf");
    const nn_stored *s = nn_weights_find(w, "Q6_K");
    ag_real out[256];
    ag_error err = { 0 };
    ck_assert_int_eq(s->dtype, NN_OTHER);
    ck_assert_uint_eq(s->bytes, 210);
    ck_assert_int_eq(nn_stored_read(s, out, &err), AG_EDATA);
    ck_assert_ptr_nonnull(strstr(err.message, "Q6_K"));
    nn_weights_close(w);
}
END_TEST

START_TEST(numbers_are_read_in_place_only_where_they_are_ours_and_aligned)
{
    nn_weights *w = open_golden("golden_weights.safetensors");
    const char *ours = sizeof(ag_real) == sizeof(float) ? "F32" : "F64", *other = sizeof(ag_real) == sizeof(float) ? "F64" : "F32";
    nn_stored s = *nn_weights_find(w, ours);
    const ag_real *in_place = nn_stored_in_place(&s);
    ag_real out[64];
    ck_assert_ptr_nonnull(in_place);
    ck_assert_int_eq(nn_stored_read(&s, out, NULL), AG_OK);
    ck_assert_mem_eq(in_place, out, (size_t)s.numel * sizeof *out);
    ck_assert_ptr_null(nn_stored_in_place(nn_weights_find(w, other)));
    s.data = (const char *)s.data + 1;
    ck_assert_ptr_null(nn_stored_in_place(&s));
    nn_weights_close(w);
}
END_TEST

/* ---- metadata ---- */

static double number(const nn_weights *w, const char *key)
{
    double v = NAN;
    expect(nn_weights_number(w, key, &v), "'%s' is no number", key);
    return v;
}

static void check_array(const nn_weights *w, const char *key, int n, const double *wanted)
{
    double v;
    ck_assert_int_eq(nn_weights_array(w, key), n);
    for (int i = 0; i < n; i++) {
        expect(nn_weights_array_number(w, key, i, &v) && v == wanted[i], "%s[%d]", key, i);
    }
    expect(!nn_weights_array_number(w, key, n, &v) && !nn_weights_array_number(w, key, -1, &v), "'%s' has more", key);
}

START_TEST(metadata_of_every_kind_is_what_was_written)
{
    nn_weights *w = open_golden("golden_weights.gguf");
    const char *s = NULL, *strings[] = { "", "a", "Ġthe", "<|end|>" };
    size_t n;
    double v;
    ck_assert(number(w, "a.u8") == 200 && number(w, "a.i8") == -100 && number(w, "a.u16") == 60000 && number(w, "a.i16") == -30000);
    ck_assert(number(w, "a.u32") == 4e9 && number(w, "a.i32") == -2e9 && number(w, "a.f32") == (double)0.1f);
    ck_assert(number(w, "a.bool") == 1 && number(w, "a.f64") == 0.1 && number(w, "general.alignment") == 64);
    ck_assert(number(w, "a.u64") == 0x1p53 && number(w, "a.i64") == -0x1p53);
    ck_assert(nn_weights_string(w, "a.string", &s));
    ck_assert_str_eq(s, "grüß dich");
    check_array(w, "a.integers", 3, (double[]){ 1, -2, 3 });
    check_array(w, "a.floats", 2, (double[]){ 0.5, -0.25 });
    check_array(w, "a.booleans", 2, (double[]){ 1, 0 });
    ck_assert_int_eq(nn_weights_array(w, "a.strings"), 4);
    for (int i = 0; i < 4; i++) {
        ck_assert(nn_weights_array_string(w, "a.strings", i, &s, &n));
        ck_assert_str_eq(s, strings[i]);
        ck_assert_uint_eq(n, strlen(s));
    }
    ck_assert(!nn_weights_array_string(w, "a.strings", 4, &s, &n) && !nn_weights_array_string(w, "a.strings", -1, &s, &n));
    ck_assert(!nn_weights_string(w, "a.u8", &s) && !nn_weights_string(w, "a.strin", &s) && !nn_weights_number(w, "a.string", &v));
    ck_assert(nn_weights_array(w, "a.string") == -1 && nn_weights_array(w, "none") == -1);
    ck_assert(!nn_weights_array_number(w, "a.strings", 0, &v) && !nn_weights_array_string(w, "a.integers", 0, &s, &n));
    nn_weights_close(w);
    w = open_golden("golden_weights.safetensors");
    ck_assert(nn_weights_string(w, "a key", &s));
    ck_assert_str_eq(s, "a value ä");
    nn_weights_close(w);
}
END_TEST

/* ---- opening and finding ---- */

START_TEST(every_tensor_is_found_by_its_name_and_others_are_not)
{
    nn_weights *w = open_golden("golden_weights.safetensors");
    ck_assert_str_eq(nn_weights_format(w), "safetensors");
    ck_assert_str_eq(nn_weights_path(w), golden_path("golden_weights.safetensors"));
    for (int i = 0; i < nn_weights_count(w); i++)
        ck_assert_ptr_eq(nn_weights_find(w, nn_weights_at(w, i)->name), nn_weights_at(w, i));
    ck_assert_ptr_null(nn_weights_find(w, ""));
    ck_assert_ptr_null(nn_weights_find(w, "F3"));
    ck_assert_ptr_null(nn_weights_find(w, NULL));
    ck_assert_ptr_null(nn_weights_at(w, nn_weights_count(w)));
    ck_assert_str_eq(nn_dtype_name(nn_weights_find(w, "BF16")->dtype), "BF16");
    nn_weights_close(w);
    nn_weights_close(NULL);
}
END_TEST

START_TEST(the_nearest_name_is_near_or_none)
{
    nn_weights *w = open_golden("golden_weights.safetensors");
    ck_assert_str_eq(nn_weights_nearest(w, "nothin"), "nothing");
    ck_assert_str_eq(nn_weights_nearest(w, "numbers"), "number");
    ck_assert_str_eq(nn_weights_nearest(w, "a.number"), "number");
    ck_assert_ptr_null(nn_weights_nearest(w, "encoder.layer.0"));
    ck_assert_ptr_null(nn_weights_nearest(w, ""));
    char long_name[1000];
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    ck_assert_ptr_null(nn_weights_nearest(w, long_name));
    nn_weights_close(w);
}
END_TEST

/* The number is that of Python's xxhash 4.1: xxh3_128_hexdigest. */
START_TEST(the_digest_is_xxh3_of_the_whole_file)
{
    static const char empty[] = "\x08\0\0\0\0\0\0\0{}      ";
    nn_weights *w = accept(empty, 16);
    char digest[NN_DIGEST_TEXT];
    ck_assert_int_eq(nn_weights_digest(w, digest, NULL), AG_OK);
    ck_assert_str_eq(digest, "20e3ecbf30e42c5fb25df8cdce94a65a");
    close_exact(w);
    w = accept("\x08\0\0\0\0\0\0\0 {}     ", 16);
    char other[NN_DIGEST_TEXT];
    ck_assert_int_eq(nn_weights_digest(w, other, NULL), AG_OK);
    ck_assert_str_ne(digest, other);
    close_exact(w);
}
END_TEST

START_TEST(what_is_no_file_is_refused)
{
    nn_weights *w;
    ag_error err = { 0 };
    ck_assert_int_eq(nn_weights_open(&w, TEST_DIR "/no such file", &err), AG_EIO);
    ck_assert_ptr_nonnull(strstr(err.message, "no such file"));
    ag_error_clear(&err);
    ck_assert_int_eq(nn_weights_open(&w, TEST_DIR, &err), AG_EIO);
    ck_assert_ptr_nonnull(strstr(err.message, "is no file"));
    ck_assert_int_eq(nn_weights_open(&w, NULL, NULL), AG_EINVAL);
    ck_assert_int_eq(nn_weights_open(NULL, TEST_DIR, NULL), AG_EINVAL);
    char path[] = "metalora-empty-XXXXXX";
    close(mkstemp(path));
    ag_error_clear(&err);
    ck_assert_int_eq(nn_weights_open(&w, path, &err), AG_EDATA);
    ck_assert_ptr_null(w);
    unlink(path);
}
END_TEST

START_TEST(names_from_files_are_shown_without_what_a_terminal_obeys)
{
    char long_name[300];
    memset(long_name, 'a', sizeof long_name);
    memcpy(long_name + 91, "ä", 2);
    long_name[299] = '\0';
    ck_assert_str_eq(nn_shown("a\x1b[2Jb\n").text, "a?[2Jb?");
    ck_assert_uint_eq(strlen(nn_shown(long_name).text), 94);
    ck_assert_str_eq(nn_shown(long_name).text + 88, "aaa...");
}
END_TEST

/* ---- memory ---- */

static ag_code open_and_close(void *path, ag_error *err)
{
    nn_weights *w;
    ag_code code = nn_weights_open(&w, path, err);
    expect((code == AG_OK) == (w != NULL), "a failed nn_weights_open gives something");
    nn_weights_close(w);
    return code;
}

START_TEST(every_failed_allocation_is_reported_and_leaves_nothing_behind)
{
    json_set_alloc_funcs(ag_alloc, ag_free);
    ck_assert_int_gt(failing_each(open_and_close, (void *)(uintptr_t)golden_path("golden_weights.safetensors")), 20);
    ck_assert_int_gt(failing_each(open_and_close, (void *)(uintptr_t)golden_path("golden_weights.gguf")), 2);
}
END_TEST

/* ---- real models ---- */

/* A sum over the bits of a tensor's numbers as float32, each by its place. */
static uint64_t sum_bits(const nn_stored *s)
{
    uint64_t sum = 0;
    ag_real *out = malloc((size_t)s->numel * sizeof *out + 1);
    ag_error err = { 0 };
    expect(out && nn_stored_read(s, out, &err) == AG_OK, "%s", err.message);
    for (int64_t i = 0; i < s->numel; i++) {
        float f = (float)out[i];
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        sum += bits * (2 * (uint64_t)i + 1);
    }
    free(out);
    return sum;
}

/* METALORA_WEIGHTS_SUMS names a file that live_weights.py compares with the packages' sums. */
static void check_model(const char *path, const char *wanted, const char *key)
{
    nn_weights *w;
    ag_error err = { 0 };
    const char *sums = getenv("METALORA_WEIGHTS_SUMS");
    FILE *f = sums ? fopen(sums, "a") : NULL;
    expect(nn_weights_open(&w, path, &err) == AG_OK, "%s", err.message);
    ck_assert_str_eq(nn_weights_format(w), wanted);
    expect(nn_weights_find(w, key), "'%s' has no '%s'", path, key);
    for (int i = 0; i < nn_weights_count(w); i++) {
        const nn_stored *s = nn_weights_at(w, i);
        uint64_t sum = sum_bits(s);
        if (f)
            fprintf(f, "%s %s %lld %llu\n", wanted, s->name, (long long)s->numel, (unsigned long long)sum);
    }
    nn_weights_close(w);
    if (f)
        fclose(f);
}

START_TEST(real_models_are_read_to_the_last_tensor)
{
    const char *models = getenv("METALORA_MODELS");
    char path[4096];
    glob_t found;
    if (!models)
        return;
    snprintf(path, sizeof path, "%s/minilm/model.safetensors", models);
    check_model(path, "safetensors", "encoder.layer.5.output.LayerNorm.bias");
    snprintf(path, sizeof path, "%s/smollm2/*.gguf", models);
    expect(glob(path, 0, NULL, &found) == 0, "no %s", path);
    check_model(found.gl_pathv[0], "gguf", "blk.29.ffn_down.weight");
    globfree(&found);
}
END_TEST

TEST_MAIN(every_type_reads_as_the_packages_read_it, rows_are_those_of_the_whole,
          a_type_that_cannot_be_read_is_named_and_refused, numbers_are_read_in_place_only_where_they_are_ours_and_aligned,
          metadata_of_every_kind_is_what_was_written, every_tensor_is_found_by_its_name_and_others_are_not,
          the_nearest_name_is_near_or_none, the_digest_is_xxh3_of_the_whole_file, what_is_no_file_is_refused,
          names_from_files_are_shown_without_what_a_terminal_obeys,
          every_failed_allocation_is_reported_and_leaves_nothing_behind, real_models_are_read_to_the_last_tensor)
