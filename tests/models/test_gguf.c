/* GGUF: files made by hand (ggml's docs/gguf.md), and every kind of damage. */
#include "tests/failing_allocator.h"
#include "tests/models/weights_bytes.h"

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 };   /* of a value */
enum { T_F32 = 0, T_F16 = 1, T_Q4_0 = 2, T_Q8_0 = 8, T_GONE = 4, T_Q6_K = 14 };   /* of a tensor */

static void begin(bytes *b, uint32_t version, uint64_t n_tensor, uint64_t n_key)
{
    *b = (bytes){ 0 };
    put(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, n_tensor);
    put_u64(b, n_key);
}

static void put_key(bytes *b, const char *key, uint32_t type)
{
    put_string(b, key);
    put_u32(b, type);
}

static void put_array(bytes *b, uint32_t type, uint64_t n)
{
    put_u32(b, type);
    put_u64(b, n);
}

static void put_tensor(bytes *b, const char *name, uint32_t ndim, const uint64_t *shape, uint32_t type, uint64_t offset)
{
    put_string(b, name);
    put_u32(b, ndim);
    for (uint32_t i = 0; i < ndim; i++)
        put_u64(b, shape[i]);
    put_u32(b, type);
    put_u64(b, offset);
}

static void finish(bytes *b, size_t room)
{
    put_zeros(b, (32 - b->n % 32) % 32 + room);
}

static void refuse_bytes(bytes *b, const char *because)
{
    refuse(b->data, b->n, because);
    free(b->data);
}

static void accept_bytes(bytes *b)
{
    accept_and_close(b->data, b->n);
    free(b->data);
}

/* One tensor in a file with `room` bytes of data. */
static bytes one(uint32_t ndim, const uint64_t *shape, uint32_t type, uint64_t offset, size_t room)
{
    bytes b;
    begin(&b, 3, 1, 0);
    put_tensor(&b, "a", ndim, shape, type, offset);
    finish(&b, room);
    return b;
}

#define SHAPE(...) sizeof((uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t), (uint64_t[]){ __VA_ARGS__ }

START_TEST(a_shape_is_outermost_first_and_a_tensor_lies_where_it_says)
{
    bytes b;
    for (uint32_t version = 2; version <= 3; version++) {
        begin(&b, version, 3, 0);
        put_tensor(&b, "second", SHAPE(5, 3, 2), T_F32, 64);
        put_tensor(&b, "first", SHAPE(64, 1), T_Q8_0, 192);
        put_tensor(&b, "scalar", 0, NULL, T_F32, 0);
        finish(&b, 192 + 68);
        nn_weights *w = accept(b.data, b.n);
        const nn_stored *s = nn_weights_at(w, 0), *t = nn_weights_at(w, 1);
        ck_assert_str_eq(nn_weights_format(w), "gguf");
        ck_assert(s->ndim == 3 && s->shape[0] == 2 && s->shape[1] == 3 && s->shape[2] == 5 && s->numel == 30 && s->bytes == 120);
        ck_assert(t->ndim == 2 && t->shape[0] == 1 && t->shape[1] == 64 && t->bytes == 68 && t->dtype == NN_Q8_0);
        ck_assert(nn_weights_at(w, 2)->ndim == 0 && nn_weights_at(w, 2)->numel == 1);
        ck_assert_int_eq((const char *)t->data - (const char *)s->data, 128);
        ck_assert_ptr_eq((const uint8_t *)t->data + t->bytes, w->data + w->size);
        close_exact(w);
        free(b.data);
    }
}
END_TEST

START_TEST(absurd_counts_are_refused)
{
    static const uint64_t absurd[] = { 4, 1000, INT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 61, UINT64_MAX };
    bytes b;
    for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
        begin(&b, 3, absurd[i], 0);
        put_zeros(&b, 60);
        refuse_bytes(&b, "expected no more than fit");
        begin(&b, 3, 0, absurd[i] + (absurd[i] == 4) * 5);
        put_zeros(&b, 60);
        refuse_bytes(&b, "expected no more than fit");
    }
    begin(&b, 1, 0, 0);
    refuse_bytes(&b, "version 1");
    begin(&b, 0x03000000, 0, 0);
    refuse_bytes(&b, "big-endian");
}
END_TEST

START_TEST(absurd_lengths_of_strings_are_refused)
{
    static const uint64_t absurd[] = { 100, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 7 };
    bytes b;
    for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
        begin(&b, 3, 0, 1);                       /* a key's */
        put_u64(&b, absurd[i]);
        put_zeros(&b, 40);
        refuse_bytes(&b, "has a length of");
        begin(&b, 3, 0, 1);                       /* a value's */
        put_key(&b, "a", STRING);
        put_u64(&b, absurd[i]);
        put_zeros(&b, 40);
        refuse_bytes(&b, "has a length of");
        begin(&b, 3, 0, 1);                       /* of an array */
        put_key(&b, "a", ARRAY);
        put_array(&b, STRING, 2);
        put_string(&b, "x");
        put_u64(&b, absurd[i]);
        put_zeros(&b, 40);
        refuse_bytes(&b, "has a length of");
        begin(&b, 3, 1, 0);                       /* a tensor's name */
        put_u64(&b, absurd[i]);
        put_zeros(&b, 40);
        refuse_bytes(&b, "has a length of");
    }
}
END_TEST

START_TEST(arrays_longer_than_the_file_are_refused)
{
    static const uint32_t types[] = { U8, U16, F32, BOOL, STRING, ARRAY, F64 };
    bytes b;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int k = 0; k < 3; k++) {
            begin(&b, 3, 0, 1);
            put_key(&b, "a", ARRAY);
            put_array(&b, types[i], k == 0 ? 41 : k == 1 ? UINT64_C(1) << 61 : UINT64_MAX);
            put_zeros(&b, 40);
            refuse_bytes(&b, "40 bytes are left");
        }
    begin(&b, 3, 0, 1);
    put_key(&b, "a", ARRAY);
    put_array(&b, 13, 0);
    refuse_bytes(&b, "array of type 13");
}
END_TEST

START_TEST(arrays_of_arrays_are_passed_over_but_not_without_end)
{
    bytes b;
    for (int depth = 1; depth < 12; depth++) {
        begin(&b, 3, 0, 2);
        put_key(&b, "a", ARRAY);
        for (int i = 0; i < depth; i++)
            put_array(&b, ARRAY, 1);
        put_array(&b, STRING, 2);
        put_string(&b, "x");
        put_string(&b, "yz");
        put_key(&b, "b", U8);
        put(&b, "\7", 1);
        if (depth < 8) {
            nn_weights *w = accept(b.data, b.n);
            double v = 0;
            ck_assert(nn_weights_number(w, "b", &v) && v == 7);
            ck_assert_int_eq(nn_weights_array(w, "a"), -1);
            close_exact(w);
            free(b.data);
        } else {
            refuse_bytes(&b, "arrays in arrays");
        }
    }
}
END_TEST

START_TEST(keys_that_are_wrong_are_refused)
{
    bytes b;
    begin(&b, 3, 0, 1);
    put_key(&b, "", U8);
    put_zeros(&b, 8);
    refuse_bytes(&b, "has 0 bytes");
    begin(&b, 3, 0, 1);
    put_key(&b, "\xff", U8);
    put_zeros(&b, 8);
    refuse_bytes(&b, "no UTF-8");
    begin(&b, 3, 0, 1);
    put_u64(&b, 2);
    put(&b, "a\0", 2);
    put_zeros(&b, 8);
    refuse_bytes(&b, "a 0 in it");
    begin(&b, 3, 0, 1);
    put_key(&b, "a", 13);
    put_zeros(&b, 8);
    refuse_bytes(&b, "of type 13");
    begin(&b, 3, 0, 1);
    put_key(&b, "a", BOOL);
    put(&b, "\2", 1);
    refuse_bytes(&b, "the boolean 2");
    begin(&b, 3, 0, 1);
    put_key(&b, "a", ARRAY);
    put_array(&b, BOOL, 2);
    put(&b, "\1\3", 2);
    refuse_bytes(&b, "the boolean 3");
    begin(&b, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_key(&b, "again", U8);
        put(&b, "\1", 1);
    }
    refuse_bytes(&b, "'again' is there twice");
}
END_TEST

static bytes aligned(uint32_t type, uint64_t alignment, size_t room)
{
    bytes b;
    begin(&b, 3, 1, 1);
    put_key(&b, "general.alignment", type);
    put(&b, &alignment, nn_number_bytes((int)type));
    put_tensor(&b, "a", SHAPE(1), T_F32, 0);
    put_zeros(&b, room);
    return b;
}

START_TEST(alignment_is_a_power_of_two_and_moves_the_data)
{
    bytes b = aligned(U32, 0, 100);
    refuse_bytes(&b, "expected a power of two");
    b = aligned(U32, 24, 100);
    refuse_bytes(&b, "expected a power of two");
    b = aligned(U64, 32, 100);
    refuse_bytes(&b, "is no u32");
    b = aligned(U32, UINT32_C(1) << 31, 100);
    refuse_bytes(&b, "there are 0 bytes of data");
    b = aligned(U32, 512, 512 + 3 - (24 + 8 + 17 + 4 + 4 + 8 + 1 + 4 + 8 + 4 + 8));
    refuse_bytes(&b, "there are 3 bytes of data");
    b = aligned(U32, 512, 512 + 4 - (24 + 8 + 17 + 4 + 4 + 8 + 1 + 4 + 8 + 4 + 8));
    accept_bytes(&b);
    b = aligned(U32, 1, 4);
    accept_bytes(&b);
}
END_TEST

START_TEST(shapes_and_types_that_are_wrong_are_refused)
{
    bytes b = one(SHAPE(1, 1, 1, 1, 1), T_F32, 0, 4);
    refuse_bytes(&b, "has 5 axes");
    begin(&b, 3, 1, 0);
    put_string(&b, "a");
    put_u32(&b, UINT32_MAX);
    put_zeros(&b, 40);
    refuse_bytes(&b, "has 4294967295 axes");
    b = one(SHAPE(UINT64_MAX), T_F32, 0, 4);
    refuse_bytes(&b, "overflows");
    b = one(SHAPE(UINT64_C(1) << 32, UINT64_C(1) << 31), T_F32, 0, 4);
    refuse_bytes(&b, "overflows");
    b = one(SHAPE(INT64_MAX), T_F32, 0, 4);
    refuse_bytes(&b, "overflows");
    b = one(SHAPE(1), T_GONE, 0, 4);
    refuse_bytes(&b, "has the type 4");
    b = one(SHAPE(1), 42, 0, 4);
    refuse_bytes(&b, "has the type 42");
    b = one(SHAPE(1), UINT32_MAX, 0, 4);
    refuse_bytes(&b, "has the type 4294967295");
    b = one(SHAPE(33, 32), T_Q4_0, 0, 1 << 12);
    refuse_bytes(&b, "rows of 33; expected a multiple of 32");
    b = one(SHAPE(128), T_Q6_K, 0, 1 << 12);
    refuse_bytes(&b, "expected a multiple of 256");
    b = one(0, NULL, T_Q8_0, 0, 1 << 12);
    refuse_bytes(&b, "expected a multiple of 32");
    b = one(SHAPE(0, 7), T_F32, 0, 0);
    accept_bytes(&b);
}
END_TEST

START_TEST(offsets_that_are_wrong_are_refused)
{
    bytes b = one(SHAPE(8), T_F32, 0, 31);
    refuse_bytes(&b, "has 32 bytes; there are 31");
    b = one(SHAPE(8), T_F32, 4, 64);
    refuse_bytes(&b, "lies at 4; expected a multiple of 32");
    b = one(SHAPE(8), T_F32, 64, 64);
    refuse_bytes(&b, "lies at 64");
    b = one(SHAPE(8), T_F32, UINT64_MAX - 31, 64);
    refuse_bytes(&b, "lies at 18446744073709551584");
    b = one(SHAPE(8), T_F32, 32, 64);
    accept_bytes(&b);
}
END_TEST

START_TEST(tensors_that_overlap_or_share_a_name_are_refused)
{
    bytes b;
    begin(&b, 3, 3, 0);
    put_tensor(&b, "a", SHAPE(8), T_F32, 96);
    put_tensor(&b, "b", SHAPE(9), T_F32, 32);
    put_tensor(&b, "c", SHAPE(16), T_F32, 0);
    finish(&b, 128);
    refuse_bytes(&b, "'c' and 'b' overlap");
    begin(&b, 3, 2, 0);
    put_tensor(&b, "a", SHAPE(8), T_F32, 0);
    put_tensor(&b, "b", SHAPE(8), T_F32, 0);
    finish(&b, 128);
    refuse_bytes(&b, "overlap");
    begin(&b, 3, 2, 0);
    put_tensor(&b, "a", SHAPE(8), T_F32, 0);
    put_tensor(&b, "a", SHAPE(8), T_F32, 32);
    finish(&b, 128);
    refuse_bytes(&b, "'a' is there twice");
}
END_TEST

/* Every key and tensor of the file is needed, so it may be cut nowhere but in the padding that nothing follows. */
START_TEST(a_file_cut_anywhere_is_refused)
{
    FILE *f = fopen(golden_path("golden_weights.gguf"), "rb");
    uint8_t *data = malloc(1 << 16);
    ck_assert(f && data);
    size_t n = fread(data, 1, 1 << 16, f);
    fclose(f);
    nn_weights *w = accept(data, n);
    size_t end = 0;
    for (int i = 0; i < w->n; i++) {
        size_t e = (size_t)((const uint8_t *)w->stored[i].data - w->data) + w->stored[i].bytes;
        end = e > end ? e : end;
    }
    close_exact(w);
    for (size_t k = 4; k < end; k++)
        refuse(data, k, "");
    free(data);
}
END_TEST

/* An array of n strings in a file of so many bytes takes memory in proportion. */
START_TEST(no_more_memory_is_asked_for_than_the_file_accounts_for)
{
    enum { N = 100000 };
    bytes b;
    begin(&b, 3, 0, 1);
    put_key(&b, "a", ARRAY);
    put_array(&b, STRING, N);
    b.data = realloc(b.data, b.n + N * 8);
    memset(b.data + b.n, 0, N * 8);
    b.n += N * 8;
    nn_weights *w = accept(b.data, b.n);
    size_t taken = 0;
    for (int i = 0; i < AG_ARENA_CHUNKS; i++)
        taken += w->memory.size[i];
    ck_assert_int_eq(nn_weights_array(w, "a"), N);
    expect(taken < 8 * b.n, "%zu bytes for a file of %zu", taken, b.n);
    close_exact(w);
    free(b.data);
}
END_TEST

TEST_MAIN(a_shape_is_outermost_first_and_a_tensor_lies_where_it_says, absurd_counts_are_refused,
          absurd_lengths_of_strings_are_refused, arrays_longer_than_the_file_are_refused,
          arrays_of_arrays_are_passed_over_but_not_without_end, keys_that_are_wrong_are_refused,
          alignment_is_a_power_of_two_and_moves_the_data, shapes_and_types_that_are_wrong_are_refused,
          offsets_that_are_wrong_are_refused, tensors_that_overlap_or_share_a_name_are_refused, a_file_cut_anywhere_is_refused,
          no_more_memory_is_asked_for_than_the_file_accounts_for)
