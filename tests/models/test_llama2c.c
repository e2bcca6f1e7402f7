/* llama2.c's checkpoints: written here as its export.py writes them, damaged, and the real stories260K. */
#include "tests/failing_allocator.h"
#include "tests/models/weights_bytes.h"

enum { DIM = 8, HIDDEN = 12, LAYERS = 2, HEADS = 4, KV_HEADS = 2, VOCAB = 5, SEQ = 7, KV = DIM / HEADS * KV_HEADS };

static float counter;

static void put_floats(bytes *b, size_t n)
{
    for (; n > 0; n--, counter++)
        put(b, &counter, sizeof counter);
}

/* Numbers 0, 1, 2 ... in the order of the file. */
static bytes checkpoint(bool untied)
{
    const int32_t header[7] = { DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, untied ? -VOCAB : VOCAB, SEQ };
    bytes b = { 0 };
    counter = 0;
    put(&b, header, sizeof header);
    put_floats(&b, VOCAB * DIM);
    put_floats(&b, LAYERS * (DIM + DIM * DIM + 2 * KV * DIM + DIM * DIM + DIM + 3 * HIDDEN * DIM) + DIM);
    put_floats(&b, SEQ * (DIM / HEADS));
    if (untied)
        put_floats(&b, VOCAB * DIM);
    return b;
}

static void check_tensor(const nn_weights *w, const char *name, float first, int ndim, int64_t rows, int64_t columns)
{
    const nn_stored *s = nn_weights_find(w, name);
    float got;
    expect(s, "no '%s'", name);
    memcpy(&got, s->data, sizeof got);
    expect(got == first && s->ndim == ndim && s->shape[0] == rows && (ndim == 1 || s->shape[1] == columns) && s->dtype == NN_F32,
           "'%s' begins with %g, expected %g", name, (double)got, (double)first);
}

/* The offsets are those of run.c's memory_map_weights. */
START_TEST(tensors_have_hugging_faces_names_and_lie_where_run_c_has_them)
{
    bytes b = checkpoint(false);
    nn_weights *w = accept(b.data, b.n);
    float at = VOCAB * DIM;
    ck_assert_str_eq(nn_weights_format(w), "llama2.c");
    ck_assert_int_eq(nn_weights_count(w), 2 + 9 * LAYERS);
    check_tensor(w, "model.embed_tokens.weight", 0, 2, VOCAB, DIM);
    check_tensor(w, "model.layers.0.input_layernorm.weight", at, 1, DIM, 0);
    check_tensor(w, "model.layers.1.input_layernorm.weight", at + DIM, 1, DIM, 0);
    check_tensor(w, "model.layers.0.self_attn.q_proj.weight", at += LAYERS * DIM, 2, DIM, DIM);
    check_tensor(w, "model.layers.1.self_attn.q_proj.weight", at + DIM * DIM, 2, DIM, DIM);
    check_tensor(w, "model.layers.0.self_attn.k_proj.weight", at += LAYERS * DIM * DIM, 2, KV, DIM);
    check_tensor(w, "model.layers.1.self_attn.v_proj.weight", (at += LAYERS * KV * DIM) + KV * DIM, 2, KV, DIM);
    check_tensor(w, "model.layers.0.self_attn.o_proj.weight", at += LAYERS * KV * DIM, 2, DIM, DIM);
    check_tensor(w, "model.layers.0.post_attention_layernorm.weight", at += LAYERS * DIM * DIM, 1, DIM, 0);
    check_tensor(w, "model.layers.0.mlp.gate_proj.weight", at += LAYERS * DIM, 2, HIDDEN, DIM);
    check_tensor(w, "model.layers.1.mlp.down_proj.weight", (at += LAYERS * HIDDEN * DIM) + HIDDEN * DIM, 2, DIM, HIDDEN);
    check_tensor(w, "model.layers.0.mlp.up_proj.weight", at += LAYERS * HIDDEN * DIM, 2, HIDDEN, DIM);
    check_tensor(w, "model.norm.weight", at + LAYERS * HIDDEN * DIM, 1, DIM, 0);
    ck_assert_ptr_null(nn_weights_find(w, "lm_head.weight"));
    close_exact(w);
    free(b.data);
}
END_TEST

static double number(const nn_weights *w, const char *key)
{
    double v = NAN;
    expect(nn_weights_number(w, key, &v), "no '%s'", key);
    return v;
}

START_TEST(the_header_is_metadata_and_a_negative_vocabulary_means_a_head_of_its_own)
{
    bytes b = checkpoint(true);
    nn_weights *w = accept(b.data, b.n);
    const char *rope;
    ck_assert(number(w, "dim") == DIM && number(w, "hidden_dim") == HIDDEN && number(w, "n_layers") == LAYERS);
    ck_assert(number(w, "n_heads") == HEADS && number(w, "n_kv_heads") == KV_HEADS && number(w, "vocab_size") == VOCAB);
    ck_assert(number(w, "seq_len") == SEQ && number(w, "tied") == 0);
    ck_assert(nn_weights_string(w, "rope", &rope) && strcmp(rope, "interleaved") == 0);
    check_tensor(w, "lm_head.weight", counter - VOCAB * DIM, 2, VOCAB, DIM);
    close_exact(w);
    free(b.data);
}
END_TEST

START_TEST(a_file_cut_anywhere_or_longer_is_refused)
{
    for (int untied = 0; untied < 2; untied++) {
        bytes b = checkpoint(untied);
        for (size_t n = 0; n < b.n; n++)
            refuse(b.data, n, "");
        put(&b, "", 1);
        refuse(b.data, b.n, "bytes; expected");
        free(b.data);
    }
}
END_TEST

static void refuse_size(int which, int32_t size, const char *because)
{
    bytes b = checkpoint(false);
    memcpy(b.data + 4 * which, &size, sizeof size);
    refuse(b.data, b.n, because);
    free(b.data);
}

START_TEST(sizes_that_do_not_fit_are_refused)
{
    refuse_size(0, 10, "expected heads of one even size");
    refuse_size(0, 4, "expected heads of one even size");
    refuse_size(4, 3, "expected heads of one even size");
    refuse_size(2, 1 << 24, "for each of 16777216 layers");
    refuse_size(1, 1 << 24, "for each of 2 layers");
    refuse_size(0, 1 << 24, "for each of 2 layers");
    refuse_size(5, 1 << 24, "ends in tensor 'model.embed_tokens.weight'");
    refuse_size(6, 1 << 24, "ends in its rotary tables");
    refuse_size(6, 6, "bytes; expected");
    refuse_size(0, 0x616B3432, "expected version 0");
    refuse_size(2, 0, "");                                     /* not a llama2.c header any more, nor anything else's */
    refuse_size(3, -1, "");
    refuse_size(5, 0, "");
    refuse_size(5, INT32_MIN, "");
    refuse_size(6, INT32_MAX, "");
}
END_TEST

static ag_code open_and_close(void *ctx, ag_error *err)
{
    const bytes *b = ctx;
    nn_weights *w;
    ag_code code = nn_weights_open_bytes(&w, "bytes", b->data, b->n, err);
    nn_weights_close(w);
    return code;
}

START_TEST(every_failed_allocation_is_reported_and_leaves_nothing_behind)
{
    bytes b = checkpoint(true);
    ck_assert_int_gt(failing_each(open_and_close, &b), 2);
    free(b.data);
}
END_TEST

START_TEST(stories260k_is_read)
{
    const char *data = getenv("METALORA_DATA");
    char path[4096];
    nn_weights *w;
    ag_error err = { 0 };
    if (!data)
        return;
    snprintf(path, sizeof path, "%s/models/stories260K/stories260K.bin", data);
    if (access(path, R_OK) != 0)
        return;
    expect(nn_weights_open(&w, path, &err) == AG_OK, "%s", err.message);
    ck_assert(number(w, "dim") == 64 && number(w, "n_layers") == 5 && number(w, "n_heads") == 8 && number(w, "n_kv_heads") == 4);
    ck_assert(number(w, "vocab_size") == 512 && number(w, "seq_len") == 512 && number(w, "tied") == 1);
    ck_assert_int_eq(nn_weights_count(w), 2 + 9 * 5);
    nn_weights_close(w);
}
END_TEST

TEST_MAIN(tensors_have_hugging_faces_names_and_lie_where_run_c_has_them,
          the_header_is_metadata_and_a_negative_vocabulary_means_a_head_of_its_own, a_file_cut_anywhere_or_longer_is_refused,
          sizes_that_do_not_fit_are_refused, every_failed_allocation_is_reported_and_leaves_nothing_behind, stories260k_is_read)
