/* safetensors: the reference reader's test vectors (huggingface/safetensors, safetensors/src/tensor.rs), every kind of
 * damage, and what is written. */
#include "tests/failing_allocator.h"
#include "tests/models/weights_bytes.h"

#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define ZEROS16 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define REFUSE(literal, because) refuse(literal, sizeof(literal) - 1, because)
#define ACCEPT(literal) accept(literal, sizeof(literal) - 1)

/* ---- the reference's vectors ---- */

START_TEST(what_the_reference_accepts_is_accepted)
{
    nn_weights *w = ACCEPT("<\0\0\0\0\0\0\0{\"test\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}" ZEROS16);
    const nn_stored *s = nn_weights_find(w, "test");
    ck_assert(nn_weights_count(w) == 1 && s && s->dtype == NN_I32 && s->ndim == 2 && s->shape[0] == 2 && s->shape[1] == 2);
    ck_assert(s->numel == 4 && s->bytes == 16);
    ck_assert_mem_eq(s->data, ZEROS16, 16);
    close_exact(w);
    w = ACCEPT("8\0\0\0\0\0\0\0{\"test\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[0,4]}}\0\0\0\0");
    s = nn_weights_find(w, "test");
    ck_assert(s->ndim == 0 && s->numel == 1 && s->bytes == 4);
    close_exact(w);
    w = ACCEPT("<\0\0\0\0\0\0\0{\"test\":{\"dtype\":\"I32\",\"shape\":[2,0],\"data_offsets\":[0, 0]}}");
    s = nn_weights_find(w, "test");
    ck_assert(s->ndim == 2 && s->shape[0] == 2 && s->shape[1] == 0 && s->numel == 0);
    close_exact(w);
    w = ACCEPT("\x06\0\0\0\0\0\0\0{}\x0D\x20\x09\x0A");
    ck_assert_int_eq(nn_weights_count(w), 0);
    close_exact(w);
    w = ACCEPT("\x06\0\0\0\0\0\0\0\x09\x0A{}\x0D\x20");   /* leading white space, too */
    ck_assert_int_eq(nn_weights_count(w), 0);
    close_exact(w);
}
END_TEST

START_TEST(what_the_reference_refuses_is_refused_for_its_reason)
{
    REFUSE("", "0 bytes");
    REFUSE("<\0\0\0\0\xff\xff\xff{\"test\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}" ZEROS16, "expected at most 100000000");
    REFUSE("<\0\0\0\0\0\0\0", "ends in its header");
    REFUSE("\x01\0\0\0\0\0\0\0\xff", "no UTF-8");
    REFUSE("\x01\0\0\0\0\0\0\0{", "no JSON");
    REFUSE("<\0\0\0\0\0\0\0{\"test\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}" ZEROS16
           "extra_bogus_data_for_polyglot_file", "50 bytes behind its header; expected 16");
    REFUSE("<\0\0\0\0\0\0\0{\"test\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
           "14 bytes behind its header; expected 16");
    REFUSE("<\0\0\0\0\0\0\0{\"test\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0, 4]}}", "has 4 bytes; expected 16");
    REFUSE("O\0\0\0\0\0\0\0{\"test\":{\"dtype\":\"I32\",\"shape\":[2,18446744073709551614],\"data_offsets\":[0,16]}}" ZEROS16, "overflows");
    REFUSE("N\0\0\0\0\0\0\0{\"test\":{\"dtype\":\"I32\",\"shape\":[2,9223372036854775807],\"data_offsets\":[0,16]}}" ZEROS16, "overflows");
}
END_TEST

/* ten tensors that all claim the same bytes */
START_TEST(tensors_that_share_bytes_are_refused)
{
    bytes b = { 0 };
    char header[2048] = "{";
    for (int i = 0; i < 10; i++)
        sprintf(header + strlen(header), "%s\"weight_%d\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}", i ? "," : "", i);
    strcat(header, "}");
    put_u64(&b, strlen(header));
    put(&b, header, strlen(header));
    put_zeros(&b, 16);
    refuse(b.data, b.n, "'weight_1' lies at [0, 16]; expected it to begin at 16");
    free(b.data);
}
END_TEST

/* ---- damage of our own ---- */

/* A header as text, then `room` zeros. */
static bytes file_of(const char *header, size_t room)
{
    bytes b = { 0 };
    put_u64(&b, strlen(header));
    put(&b, header, strlen(header));
    put_zeros(&b, room);
    return b;
}

static void refuse_header(const char *header, size_t room, const char *because)
{
    bytes b = file_of(header, room);
    refuse(b.data, b.n, because);
    free(b.data);
}

static void accept_header(const char *header, size_t room)
{
    bytes b = file_of(header, room);
    accept_and_close(b.data, b.n);
    free(b.data);
}

#define A(shape, begin, end) "\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"
#define B(shape, begin, end) "\"b\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

START_TEST(headers_that_lie_are_refused)
{
    accept_header("{" A("[1]", "4", "8") "," B("[1]", "0", "4") "}", 8);               /* in any order */
    accept_header("{" A("[0]", "4", "4") "," B("[1]", "0", "4") "}", 4);
    refuse_header("{" A("[1]", "0", "4") "," B("[1]", "5", "9") "}", 9, "'b' lies at [5, 9]");              /* a hole */
    refuse_header("{" A("[2]", "0", "8") "," B("[1]", "4", "8") "}", 8, "'b' lies at [4, 8]");              /* overlapping */
    refuse_header("{" A("[1]", "0", "4") "," A("[1]", "4", "8") "}", 8, "key twice");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "key twice");
    refuse_header("{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}", 0, "key twice");
    refuse_header("{" A("[1]", "0", "4") "}}", 4, "no JSON");
    refuse_header("[]", 0, "no object");
    refuse_header("{\"a\":1}", 0, "no tensor");
    refuse_header("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "has the dtype ''");
    refuse_header("{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "has the dtype 'F31'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "has no shape");
    refuse_header("{" A("[-1]", "0", "4") "}", 4, "axis 0");
    refuse_header("{" A("[1.0]", "0", "4") "}", 4, "axis 0");
    refuse_header("{" A("[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "9 axes");
    refuse_header("{" A("[1]", "-4", "0") "}", 4, "no data_offsets");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "no data_offsets");
    refuse_header("{" A("[1]", "8", "4") "}", 4, "lies at [8, 4]");
    refuse_header("{" A("[4611686018427387904,4611686018427387904]", "0", "4") "}", 4, "overflows");
    refuse_header("{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2, "12 bits");
    refuse_header("{\"__metadata__\":{\"a\":1}}", 0, "no string");
    refuse_header("{\"__metadata__\":[]}", 0, "no object");
    refuse_header("{\"a\\u0000b\":1}", 0, "no JSON");
    accept_header("{\"__metadata__\":null}", 0);
    accept_header("{\"a\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2],\"more\":1}}", 2);
}
END_TEST

START_TEST(a_header_of_more_than_a_hundred_megabytes_is_refused)
{
    bytes b = { 0 };
    put_u64(&b, 100000001);
    put(&b, "{}", 2);
    refuse(b.data, b.n, "a header of 100000001 bytes");
    b.data[0]--;                                          /* 100000000 is allowed, but not there */
    refuse(b.data, b.n, "ends in its header");
    free(b.data);
}
END_TEST

START_TEST(a_file_cut_anywhere_is_refused)
{
    bytes b = file_of("{" A("[1]", "0", "4") "," B("[3]", "4", "16") "}", 16);
    for (size_t n = 0; n < b.n; n++)
        refuse(b.data, n, "");
    put(&b, "x", 1);
    refuse(b.data, b.n, "17 bytes behind its header; expected 16");
    free(b.data);
}
END_TEST

START_TEST(every_dtype_of_the_format_is_known)
{
    static const struct { const char *name; nn_dtype dtype; int bits; } known[] = {
        { "BOOL", NN_BOOL, 8 }, { "F4", NN_OTHER, 4 }, { "F6_E2M3", NN_OTHER, 6 }, { "F6_E3M2", NN_OTHER, 6 }, { "U8", NN_U8, 8 },
        { "I8", NN_I8, 8 }, { "F8_E5M2", NN_OTHER, 8 }, { "F8_E4M3", NN_OTHER, 8 }, { "F8_E8M0", NN_OTHER, 8 },
        { "F8_E4M3FNUZ", NN_OTHER, 8 }, { "F8_E5M2FNUZ", NN_OTHER, 8 }, { "I16", NN_I16, 16 }, { "U16", NN_OTHER, 16 },
        { "F16", NN_F16, 16 }, { "BF16", NN_BF16, 16 }, { "I32", NN_I32, 32 }, { "U32", NN_OTHER, 32 }, { "F32", NN_F32, 32 },
        { "C64", NN_OTHER, 64 }, { "F64", NN_F64, 64 }, { "I64", NN_I64, 64 }, { "U64", NN_OTHER, 64 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char header[128];
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[4],\"data_offsets\":[0,%d]}}", known[i].name, known[i].bits / 2);
        bytes b = file_of(header, (size_t)known[i].bits / 2);
        nn_weights *w = accept(b.data, b.n);
        ck_assert_int_eq(nn_weights_at(w, 0)->dtype, known[i].dtype);
        close_exact(w);
        free(b.data);
    }
}
END_TEST

/* ---- writing ---- */

static char folder[] = "metalora-written-XXXXXX", written[64];

static void enter_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(written, sizeof written, "%s/a.safetensors", folder);
}

/* Names of what is in the folder, but for the one written. */
static void check_nothing_aside(bool there)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));)
        expect(strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || (there && strcmp(e->d_name, "a.safetensors") == 0),
               "'%s' is left", e->d_name);
    closedir(d);
}

static void leave_folder(void)
{
    unlink(written);
    expect(rmdir(folder) == 0, "files are left in '%s'", folder);
    strcpy(folder, "metalora-written-XXXXXX");
}

static void check_file(const void *wanted, size_t n)
{
    char *got = malloc(n + 1);
    FILE *f = fopen(written, "rb");
    ck_assert(f && got);
    ck_assert_uint_eq(fread(got, 1, n + 1, f), n);
    ck_assert_mem_eq(got, wanted, n);
    fclose(f);
    free(got);
}

static const ag_real six[] = { 0, 1, 2, 3, 4, 5 };
#define SIX "\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xa0\x40"

/* test_serialization, test_empty and test_serialization_forced_alignement of the reference */
START_TEST(files_are_the_reference_writers_byte_for_byte)
{
    static const char plain[] = "\x40\0\0\0\0\0\0\0{\"attn.0\":{\"dtype\":\"F32\",\"shape\":[1,2,3],\"data_offsets\":[0,24]}}" SIX;
    static const char padded[] = "\x48\0\0\0\0\0\0\0{\"attn0\":{\"dtype\":\"F32\",\"shape\":[1,1,2,3],\"data_offsets\":[0,24]}}       " SIX;
    static const char empty[] = "\x08\0\0\0\0\0\0\0{}      ", meta[] = "\x28\0\0\0\0\0\0\0{\"__metadata__\":{\"framework\":\"pt\"}}     ";
    static const char *const framework[1][2] = { { "framework", "pt" } };
    enter_folder();
    ck_assert_int_eq(nn_safetensors_write(written, 1, &(nn_to_store){ "attn.0", 3, { 1, 2, 3 }, six }, 0, NULL, NULL), AG_OK);
    check_file(plain, sizeof plain - 1);
    ck_assert_int_eq(nn_safetensors_write(written, 1, &(nn_to_store){ "attn0", 4, { 1, 1, 2, 3 }, six }, 0, NULL, NULL), AG_OK);
    check_file(padded, sizeof padded - 1);
    ck_assert_int_eq(nn_safetensors_write(written, 0, NULL, 0, NULL, NULL), AG_OK);
    check_file(empty, sizeof empty - 1);
    ck_assert_int_eq(nn_safetensors_write(written, 0, NULL, 1, framework, NULL), AG_OK);
    check_file(meta, sizeof meta - 1);
    check_nothing_aside(true);
    leave_folder();
}
END_TEST

enum { LARGE = 10007 };

/* METALORA_WRITTEN names a file that live_weights.py reads with the safetensors package. */
START_TEST(what_is_written_is_read_back_bit_by_bit)
{
    static const char *const metadata[1][2] = { { "a \"key\" ä", "a\nvalue" } };
    ag_real *large = malloc(LARGE * sizeof *large), *got = malloc(LARGE * sizeof *got);
    const char *value, *keep = getenv("METALORA_WRITTEN");
    ag_error err = { 0 };
    nn_weights *w;
    for (int i = 0; i < LARGE; i++)
        large[i] = (ag_real)(float)(sin(i) * pow(10, i % 60 - 30));
    const nn_to_store tensors[] = { { "z.weight", 1, { LARGE }, large }, { "a.weight", 2, { 2, 3 }, six }, { "number", 0, { 0 }, six + 5 },
                                    { "nothing", 2, { 3, 0 }, NULL }, { "Ünï\"code\\/\n", 1, { 1 }, six + 4 } };
    enter_folder();
    expect(nn_safetensors_write(keep ? keep : written, 5, tensors, 1, metadata, &err) == AG_OK, "%s", err.message);
    expect(nn_weights_open(&w, keep ? keep : written, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(nn_weights_count(w), 5);
    ck_assert(nn_weights_string(w, metadata[0][0], &value) && strcmp(value, metadata[0][1]) == 0);
    for (int i = 0; i < 5; i++) {
        const nn_stored *s = nn_weights_find(w, tensors[i].name);
        ck_assert(s && s->ndim == tensors[i].ndim && s->dtype == NN_F32);
        ck_assert_mem_eq(s->shape, tensors[i].shape, (size_t)s->ndim * sizeof *s->shape);
        ck_assert_int_eq(nn_stored_read(s, got, NULL), AG_OK);
        expect(s->numel == 0 || memcmp(got, tensors[i].data, (size_t)s->numel * sizeof *got) == 0, "'%s'", s->name);
    }
    nn_weights_close(w);
    leave_folder();
    free(large);
    free(got);
}
END_TEST

static void refuse_to_write(int n, const nn_to_store *tensors, int n_meta, const char *const (*metadata)[2], const char *because)
{
    ag_error err = { 0 };
    ag_code code = nn_safetensors_write(written, n, tensors, n_meta, metadata, &err);
    expect(code == AG_EINVAL && strstr(err.message, because), "%s '%s'; expected '%s'", ag_code_name(code), err.message, because);
}

START_TEST(what_cannot_be_written_is_refused_and_leaves_nothing)
{
    static const char *const bad[1][2] = { { "a", "\xff" } }, *const missing[1][2] = { { NULL, "a" } };
    const nn_to_store twice[] = { { "a", 1, { 1 }, six }, { "b", 1, { 1 }, six }, { "a", 1, { 1 }, six } };
    const nn_to_store vast[] = { { "a", 2, { INT32_MAX, INT32_MAX / 4 }, six }, { "b", 2, { INT32_MAX, INT32_MAX / 2 + 1 }, six },
                                 { "c", 2, { INT32_MAX, INT32_MAX / 4 }, six } };
    enter_folder();
    refuse_to_write(3, twice, 0, NULL, "'a' is there twice");
    refuse_to_write(3, vast, 0, NULL, "overflow");
    refuse_to_write(1, &(nn_to_store){ NULL, 1, { 1 }, six }, 0, NULL, "NULL");
    refuse_to_write(1, &(nn_to_store){ "\xff", 1, { 1 }, six }, 0, NULL, "no UTF-8");
    refuse_to_write(1, &(nn_to_store){ "__metadata__", 1, { 1 }, six }, 0, NULL, "__metadata__");
    refuse_to_write(1, &(nn_to_store){ "a", 9, { 1 }, six }, 0, NULL, "9 axes");
    refuse_to_write(1, &(nn_to_store){ "a", 1, { -1 }, six }, 0, NULL, "negative");
    refuse_to_write(1, &(nn_to_store){ "a", 2, { INT64_MAX, 2 }, six }, 0, NULL, "overflows");
    refuse_to_write(1, &(nn_to_store){ "a", 1, { 1 }, NULL }, 0, NULL, "no data");
    refuse_to_write(0, NULL, 1, bad, "metadata 0");
    refuse_to_write(0, NULL, 1, missing, "metadata 0");
    refuse_to_write(-1, NULL, 0, NULL, "negative");
    ck_assert_int_eq(nn_safetensors_write(NULL, 0, NULL, 0, NULL, NULL), AG_EINVAL);
    check_nothing_aside(false);
    leave_folder();
}
END_TEST

START_TEST(a_disk_that_refuses_leaves_the_old_file)
{
    const nn_to_store large = { "a", 2, { 2, 3 }, six };
    static const char *const metadata[1][2] = { { "a", "a" } };
    ag_error err = { 0 };
    struct rlimit old, little = { 100, 0 };
    enter_folder();
    ck_assert_int_eq(nn_safetensors_write(written, 0, NULL, 0, NULL, NULL), AG_OK);
    getrlimit(RLIMIT_FSIZE, &old);
    little.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &little);
    ag_code code = nn_safetensors_write(written, 1, &large, 1, metadata, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    expect(code == AG_EIO && strstr(err.message, written), "%s '%s'", ag_code_name(code), err.message);
    check_file("\x08\0\0\0\0\0\0\0{}      ", 16);
    check_nothing_aside(true);
    ck_assert_int_eq(nn_safetensors_write("no such folder/a", 0, NULL, 0, NULL, NULL), AG_EIO);
    ck_assert_int_eq(nn_safetensors_write(folder, 0, NULL, 0, NULL, NULL), AG_EIO);
    leave_folder();
}
END_TEST

static ag_code write_it(void *ctx, ag_error *err)
{
    (void)ctx;
    static const char *const metadata[1][2] = { { "framework", "pt" } };
    const nn_to_store tensors[] = { { "b", 2, { 2, 3 }, six }, { "a", 1, { 6 }, six } };
    return nn_safetensors_write(written, 2, tensors, 1, metadata, err);
}

START_TEST(every_failed_allocation_is_reported_and_leaves_nothing_behind)
{
    json_set_alloc_funcs(ag_alloc, ag_free);
    enter_folder();
    ck_assert_int_gt(failing_each(write_it, NULL), 10);
    check_nothing_aside(true);
    leave_folder();
}
END_TEST

TEST_MAIN(what_the_reference_accepts_is_accepted, what_the_reference_refuses_is_refused_for_its_reason,
          tensors_that_share_bytes_are_refused, headers_that_lie_are_refused,
          a_header_of_more_than_a_hundred_megabytes_is_refused, a_file_cut_anywhere_is_refused, every_dtype_of_the_format_is_known,
          files_are_the_reference_writers_byte_for_byte, what_is_written_is_read_back_bit_by_bit,
          what_cannot_be_written_is_refused_and_leaves_nothing, a_disk_that_refuses_leaves_the_old_file,
          every_failed_allocation_is_reported_and_leaves_nothing_behind)
