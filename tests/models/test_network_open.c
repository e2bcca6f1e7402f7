/* Opening networks: what is listed, numbers in place, random networks, and configurations or files that must be refused. */
#include "tests/models/network_runs.h"
#include "tests/failing_allocator.h"

#include "models/network_internal.h"

#include <stdint.h>
#include <unistd.h>

#define GOLDEN TEST_DIR "/golden_networks/"

/* ---- a folder to write into ---- */

typedef struct folder {
    char dir[64];
} folder;

static const char *in(const folder *f, const char *name)
{
    static char path[2][160];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", f->dir, name);
    return path[turn];
}

static folder folder_new(void)
{
    folder f = { "/tmp/network_XXXXXX" };
    ck_assert_ptr_nonnull(mkdtemp(f.dir));
    return f;
}

static void folder_remove(const folder *f)
{
    static const char *const names[] = { "config.json", "model.safetensors", "model.safetensors.index.json", "a.gguf", "b.gguf" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in(f, names[i]));
    ck_assert_int_eq(rmdir(f->dir), 0);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* A golden network's config.json with `from` replaced by `to`. */
static void write_config(const folder *f, const char *network, const char *from, const char *to)
{
    char path[600], text[2048], changed[4096];
    snprintf(path, sizeof path, GOLDEN "%s/config.json", network);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    char *at = strstr(text, from);
    ck_assert_msg(at != NULL, "%s has no %s", path, from);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    write_text(in(f, "config.json"), changed);
}

static void link_weights(const folder *f, const char *file, const char *as)
{
    char path[600];
    snprintf(path, sizeof path, GOLDEN "%s", file);
    unlink(in(f, as));
    ck_assert_int_eq(symlink(path, in(f, as)), 0);
}

static void refuse(const char *path, ag_code code, const char *message)
{
    nn_network *net = (nn_network *)(uintptr_t)1;
    ag_error err = { 0 };
    ag_code is = nn_network_open(&net, path, NULL, &err);
    ck_assert_msg(is == code && strstr(err.message, message), "%s: %s; expected %s: %s", ag_code_name(is), err.message,
                  ag_code_name(code), message);
    ck_assert_ptr_null(net);
}

/* ---- what is there ---- */

START_TEST(modules_and_weights_are_named_as_hugging_face_does)
{
    static const struct {
        const char *network, *module;
        nn_module_kind kind;
        int64_t in, out;
        bool bias;
    } cases[] = {
        { "bert", "embeddings.word_embeddings", NN_EMBEDDING, 23, 12, false },
        { "bert", "encoder.layer.1.attention.self.query", NN_LINEAR, 12, 12, true },
        { "bert-prefixed", "encoder.layer.0.intermediate.dense", NN_LINEAR, 12, 15, true },
        { "llama", "model.layers.1.self_attn.k_proj", NN_LINEAR, 16, 8, false },
        { "llama", "lm_head", NN_LINEAR, 16, 23, false },
        { "llama-tied", "lm_head", NN_LINEAR, 12, 23, false },
        { "gpt2", "transformer.h.1.attn.c_attn", NN_LINEAR_IN_OUT, 12, 36, true },
        { "moe", "model.layers.1.block_sparse_moe.experts.4.w2", NN_LINEAR, 7, 12, false },
        { "moe", "model.layers.0.block_sparse_moe.gate", NN_LINEAR, 12, 5, false },
        { "conv2d", "layers.2.conv", NN_CONV, 4, 4, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[600], name[200];
        snprintf(path, sizeof path, GOLDEN "%s", cases[i].network);
        nn_network *net = open_network(path);
        int k = nn_network_module(net, cases[i].module);
        ck_assert_msg(k >= 0, "%s has no module %s", cases[i].network, cases[i].module);
        const nn_module *m = &net->module[k];
        ck_assert(m->kind == cases[i].kind && m->in == cases[i].in && m->out == cases[i].out && (m->bias >= 0) == cases[i].bias);
        snprintf(name, sizeof name, "%s.weight", net->config.tied && strcmp(m->name, "lm_head") == 0 ? net->module[0].name : m->name);
        ck_assert_int_eq(nn_network_weight(net, name), m->weight);
        ck_assert_int_eq(nn_network_module(net, "no.such"), -1);
        ck_assert_int_eq(nn_network_weight(net, "no.such"), -1);
        ck_assert_int_eq(strlen(net->digest), NN_DIGEST_TEXT - 1);
        ck_assert_str_eq(net->path, path);
        nn_network_close(net);
    }
    nn_network_close(NULL);
}
END_TEST

START_TEST(numbers_stored_as_we_compute_are_used_in_the_file)
{
    static const struct {
        const char *path;
        bool in_place;
    } cases[] = { { "bert", true }, { "gpt2", true }, { "moe", true }, { "llama", true }, { "llama-tied", false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[600];
        snprintf(path, sizeof path, GOLDEN "%s", cases[i].path);
        nn_network *net = open_network(path);
        const nn_owned *own = net->own;
        ck_assert_int_eq(own->numbers == NULL, cases[i].in_place && sizeof(ag_real) == sizeof(float));
        nn_network_close(net);
    }
}
END_TEST

START_TEST(a_folder_may_hold_one_gguf_file_instead)
{
    folder f = folder_new();
    refuse(f.dir, AG_EDATA, "0 .gguf files and no config.json with model.safetensors");
    link_weights(&f, "llama/llama.gguf", "a.gguf");
    nn_network *net = open_network(f.dir);
    ck_assert_str_eq(net->config.architecture, "llama");
    ck_assert(net->config.vocab_size == 23 && net->config.n_kv_head == 2 && net->config.head_size == 4 && !net->config.tied);
    nn_network_close(net);
    link_weights(&f, "llama/llama.gguf", "b.gguf");
    refuse(f.dir, AG_EDATA, "2 .gguf files");
    folder_remove(&f);
}
END_TEST

START_TEST(a_safetensors_file_is_opened_with_the_config_beside_it)
{
    nn_network *net = open_network(GOLDEN "gpt2/model.safetensors");
    ck_assert_str_eq(net->config.architecture, "gpt2");
    ck_assert_str_eq(net->config.activation, "gelu_tanh");
    nn_network_close(net);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(a_config_that_disagrees_or_asks_for_what_we_have_not_is_refused)
{
    static const struct {
        const char *network, *from, *to, *message;
    } cases[] = {
        { "bert", "\"hidden_size\": 12", "\"hidden_size\": 16", "tensor 'embeddings.word_embeddings.weight' has shape [23, 12]; by the "
          "configuration [23, 16] is expected" },
        { "bert", "\"vocab_size\": 23", "\"vocab_size\": 24", "by the configuration [24, 12] is expected" },
        { "bert", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "tensor 'encoder.layer.2.attention.self.query.weight' of this "
          "bert is missing; the nearest is 'encoder.layer." },
        { "bert", "\"num_attention_heads\": 4", "\"num_attention_heads\": 5", "bert needs as many of keys, together hidden_size 12" },
        { "bert", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"mish\"", "activation 'mish'" },
        { "bert", "\"model_type\": \"bert\"", "\"model_type\": \"t5\"", "architecture 't5'" },
        { "bert", "\"model_type\": \"bert\"", "\"model\": \"bert\"", "architecture '(none)'" },
        { "bert", "\"model_type\": \"bert\"", "\"model_type\": \"bert\", \"position_embedding_type\": \"relative_key\"", "relative_key" },
        { "bert", "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": \"1e-12\"", "'layer_norm_eps' is no number" },
        { "bert", "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": -1", "norm_epsilon is -1" },
        { "bert", "\"hidden_size\": 12", "\"hidden_size\": 12, \"hidden_size\": 12", "line" },
        { "bert", "\"vocab_size\": 23", "\"vocab_size\": -23", "'vocab_size' is no positive whole number" },
        { "bert", "\"vocab_size\": 23", "\"vocab_size\": 2.5", "'vocab_size' is no positive whole number" },
        { "bert", "\"vocab_size\": 23", "\"vocab_size\": 99999999999", "vocab_size is 99999999999" },
        { "bert", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1000000", "n_layer is 1000000" },
        { "bert", "\"max_position_embeddings\": 13", "\"max_position_embeddings\": 2147483647", "[2147483647, 12] is expected" },
        { "llama", "\"rope_type\": \"default\"", "\"rope_type\": \"llama3\"", "rope_parameters of type 'llama3'" },
        { "llama", "\"hidden_size\": 16", "\"hidden_size\": 16, \"attention_bias\": true", "'attention_bias' is not false" },
        { "llama", "\"hidden_size\": 16", "\"hidden_size\": 16, \"rope_scaling\": {\"type\": \"linear\"}", "rope_scaling of type 'linear'" },
        { "llama", "\"hidden_size\": 16", "\"hidden_size\": 16, \"partial_rotary_factor\": 0.5", "partial_rotary_factor 0.5" },
        { "llama", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "4 heads do not share 3 heads of keys evenly" },
        { "llama", "\"head_dim\": 4", "\"head_dim\": 5", "head_size 5" },
        { "llama", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": null", "" },   /* Llama's default is false: opens */
        { "llama-tied", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", "tensor 'lm_head.weight' of this llama is missing" },
        { "gpt2", "\"n_embd\": 12", "\"n_embd\": 12, \"scale_attn_weights\": false", "'scale_attn_weights' is not true" },
        { "moe", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 6", "6 experts a token of 5" },
        { "moe", "\"num_local_experts\": 5", "\"num_local_experts\": null", "n_expert is 0" },
        { "conv1d", "\"kernel_size\": 3", "\"kernel_size\": 4", "a kernel of size 4" },
        { "conv2d", "\"kernel_size\": 3", "\"kernel_size\": 5", "has shape [4, 3, 3, 3]; by the configuration [4, 3, 5, 5] is expected" },
        { "conv1d", "\"kernel_size\": 3", "\"kernel_size\": 5", "has shape [4, 2, 3]; by the configuration [4, 2, 5] is expected" },
    };
    folder f = folder_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char file[100];
        snprintf(file, sizeof file, "%s/model.safetensors", cases[i].network);
        link_weights(&f, file, "model.safetensors");
        write_config(&f, cases[i].network, cases[i].from, cases[i].to);
        if (cases[i].message[0])
            refuse(f.dir, AG_EDATA, cases[i].message);
        else
            nn_network_close(open_network(f.dir));
    }
    folder_remove(&f);
}
END_TEST

START_TEST(files_that_are_not_there_or_no_json_are_refused)
{
    folder f = folder_new();
    refuse("/no/such/network", AG_EIO, "No such file");
    refuse(NULL, AG_EINVAL, "path is NULL");
    write_text(in(&f, "config.json"), "{ \"model_type\": \"bert\"");
    link_weights(&f, "bert/model.safetensors", "model.safetensors");
    refuse(f.dir, AG_EDATA, "config.json: line 1");
    write_text(in(&f, "config.json"), "[]");
    refuse(f.dir, AG_EDATA, "no JSON object");
    write_text(in(&f, "model.safetensors.index.json"), "{}");
    refuse(f.dir, AG_EDATA, "weights in several files");
    unlink(in(&f, "model.safetensors.index.json"));
    unlink(in(&f, "config.json"));
    refuse(in(&f, "model.safetensors"), AG_EIO, "config.json");
    folder_remove(&f);
}
END_TEST

/* A file of the golden bert without, or with another shape of, one tensor. */
static void write_without(const folder *f, const char *name, bool turned)
{
    nn_weights *w;
    nn_to_store t[64];
    ag_real *all[64];
    int n = 0;
    ck_assert_int_eq(nn_weights_open(&w, GOLDEN "bert/model.safetensors", NULL), AG_OK);
    for (int i = 0; i < nn_weights_count(w); i++) {
        const nn_stored *s = nn_weights_at(w, i);
        bool it = strcmp(s->name, name) == 0;
        if (it && !turned)
            continue;
        ck_assert(n < 64 && (all[n] = malloc((size_t)s->numel * sizeof **all)) && nn_stored_read(s, all[n], NULL) == AG_OK);
        t[n] = (nn_to_store){ .name = s->name, .ndim = s->ndim, .data = all[n] };
        memcpy(t[n].shape, s->shape, sizeof s->shape);
        if (it)
            memcpy(t[n].shape, (int64_t[]){ s->shape[1], s->shape[0] }, 2 * sizeof *s->shape);
        n++;
    }
    ck_assert_int_eq(nn_safetensors_write(in(f, "model.safetensors"), n, t, 0, NULL, NULL), AG_OK);
    while (n)
        free(all[--n]);
    nn_weights_close(w);
}

START_TEST(a_missing_or_misshapen_tensor_is_named)
{
    folder f = folder_new();
    write_config(&f, "bert", "\"hidden_size\": 12", "\"hidden_size\": 12");
    write_without(&f, "encoder.layer.1.output.dense.bias", false);
    refuse(f.dir, AG_EDATA, "tensor 'encoder.layer.1.output.dense.bias' of this bert is missing");
    write_without(&f, "encoder.layer.1.output.dense.weight", true);
    refuse(f.dir, AG_EDATA, "tensor 'encoder.layer.1.output.dense.weight' has shape [15, 12]; by the configuration [12, 15] is expected");
    write_without(&f, "no tensor", false);
    nn_network_close(open_network(f.dir));
    folder_remove(&f);
}
END_TEST

/* ---- random networks ---- */

static const nn_network_config random_configs[] = {
    { .architecture = "bert", .vocab_size = 40, .hidden_size = 16, .n_layer = 2, .n_head = 4 },
    { .architecture = "llama", .vocab_size = 40, .hidden_size = 16, .n_layer = 2, .n_head = 4, .n_kv_head = 2, .intermediate_size = 24,
      .tied = true },
    { .architecture = "gpt2", .vocab_size = 40, .hidden_size = 16, .n_layer = 1, .n_head = 2, .max_position = 16 },
    { .architecture = "moe", .vocab_size = 40, .hidden_size = 16, .n_layer = 1, .n_head = 2, .intermediate_size = 24, .n_expert = 4,
      .experts_per_token = 2 },
    { .architecture = "conv1d", .n_layer = 2, .hidden_size = 8, .intermediate_size = 3, .in_channels = 2, .norm_epsilon = 1e-5 },
    { .architecture = "conv2d", .n_layer = 2, .hidden_size = 8, .intermediate_size = 3, .in_channels = 3 },
};
enum { N_RANDOM = sizeof random_configs / sizeof *random_configs };

static nn_network *random_network(int i, uint64_t seed)
{
    nn_network *net;
    ag_error err = { 0 };
    ck_assert_msg(nn_network_random(&net, &random_configs[i], seed, &err) == AG_OK, "%s", err.message);
    return net;
}

static bool ends_in(const char *s, const char *end)
{
    return strlen(s) >= strlen(end) && strcmp(s + strlen(s) - strlen(end), end) == 0;
}

START_TEST(random_weights_are_small_normal_numbers_and_norms_begin_as_the_identity)
{
    nn_network *net = random_network(_i, 7);
    double sum = 0, squares = 0, n = 0;
    for (int i = 0; i < net->n_weight; i++) {
        const nn_weight *w = &net->weight[i];
        bool norm = strstr(w->name, "norm.") || strstr(w->name, "Norm.") || strstr(w->name, ".ln_");
        ck_assert_int_eq((uintptr_t)w->data % 64, 0);
        for (int64_t j = 0; j < w->numel; j++) {
            if (norm)
                expect(w->data[j] == (ends_in(w->name, ".weight") ? 1 : 0), "%s: %g", w->name, (double)w->data[j]);
            else
                sum += w->data[j], squares += w->data[j] * w->data[j], n++;
        }
    }
    ck_assert_msg(fabs(sum / n) < 5 * 0.02 / sqrt(n), "mean %g", sum / n);
    ck_assert_msg(fabs(sqrt(squares / n) / 0.02 - 1) < 5 / sqrt(2 * n), "deviation %g", sqrt(squares / n));
    nn_network_close(net);
}
END_TEST

START_TEST(a_random_network_is_a_function_of_its_seed)
{
    nn_network *a = random_network(_i, 7), *b = random_network(_i, 7), *c = random_network(_i, 8);
    for (int i = 0; i < a->n_weight; i++)
        ck_assert_mem_eq(a->weight[i].data, b->weight[i].data, (size_t)a->weight[i].numel * sizeof(ag_real));
    ck_assert_str_eq(a->digest, b->digest);
    ck_assert_str_ne(a->digest, c->digest);
    nn_network_close(a);
    nn_network_close(b);
    nn_network_close(c);
}
END_TEST

START_TEST(a_random_network_of_senseless_sizes_is_refused)
{
    nn_network *net;
    ag_error err = { 0 };
    nn_network_config c = random_configs[0];
    c.hidden_size = 0;
    ck_assert_int_eq(nn_network_random(&net, &c, 1, &err), AG_EDATA);
    ck_assert_ptr_nonnull(strstr(err.message, "random network: hidden_size is 0"));
    ck_assert_ptr_null(net);
    c = random_configs[0];
    c.vocab_size = INT32_MAX;
    c.hidden_size = 1 << 20;
    c.n_head = 64;
    ag_error_clear(&err);
    ck_assert_int_eq(nn_network_random(&net, &c, 1, &err), AG_EDATA);
    ck_assert_ptr_nonnull(strstr(err.message, "more than 2^40 numbers"));
    c = (nn_network_config){ .architecture = "moe", .vocab_size = 2, .hidden_size = 2, .n_layer = 4096, .n_head = 1, .intermediate_size = 1,
                             .n_expert = 256, .experts_per_token = 1 };
    ag_error_clear(&err);
    ck_assert_int_eq(nn_network_random(&net, &c, 1, &err), AG_EDATA);
    ck_assert_ptr_nonnull(strstr(err.message, "4096 layers of 256 experts"));
}
END_TEST

/* ---- memory ---- */

/* i: a golden network's path, or behind the last a random one. */
static ag_code make(int i, nn_network **net, ag_error *err)
{
    static const char *const paths[] = { GOLDEN "bert", GOLDEN "llama-tied", GOLDEN "llama/llama.gguf", GOLDEN "conv1d" };
    return i < 4 ? nn_network_open(net, paths[i], NULL, err) : nn_network_random(net, &random_configs[1], 1, err);
}

START_TEST(every_allocation_that_fails_is_reported_and_nothing_leaks)
{
    failing_allocator s = { 0 };
    ag_code code = AG_ENOMEM;
    for (long long n = 1; code != AG_OK; n++) {
        nn_network *net;
        ag_error err = { 0 };
        s = (failing_allocator){ .fail_at = n };
        failing_use(&s);
        code = make(_i, &net, &err);
        ck_assert_msg(code == AG_ENOMEM || (code == AG_OK && s.calls < n), "allocation %lld: %s %s", n, ag_code_name(code), err.message);
        nn_network_close(net);
        failing_use(NULL);
        ck_assert_int_eq(s.live_blocks, 0);
    }
    ck_assert_int_ge(s.calls, 4);
}
END_TEST

/* Recording a network when memory runs out leaves AG_ENOMEM on the tape. */
START_TEST(a_formula_reports_memory_that_ran_out)
{
    nn_network *net = random_network(_i, 1);
    failing_allocator s = { 0 };
    ag_code code = AG_ENOMEM;
    for (long long n = 2; code != AG_OK; n++) {
        run r;
        texts x = { .n = 2, .start = { 0, 2 }, .length = { 2, 3 }, .ids = { 1, 2, 3, 4, 5 } };
        run_init(&r, net);
        nn_text text = run_texts(&r, &x, &(nn_text_shape){ 2, 4, 6 });
        s = (failing_allocator){ .fail_at = n };
        /* What was allocated before is freed by the default; both end in free(). */
        failing_use(&s);
        nn_network_hidden(&r.pass, &text);
        code = ag_tape_status(r.tape, NULL);
        ck_assert(code == AG_ENOMEM || (code == AG_OK && s.calls < n));
        failing_use(NULL);
        run_release(&r);
    }
    nn_network_close(net);
}
END_TEST

START_TEST(minilm_is_opened_where_it_lies)
{
    const char *models = getenv("METALORA_MODELS");
    char path[600];
    if (!models)
        return;
    snprintf(path, sizeof path, "%s/minilm", models);
    nn_network *net = open_network(path);
    ck_assert(net->n_weight == 101 && net->n_module == 39 && net->config.hidden_size == 384 && net->config.norm_epsilon == 1e-12);
    ck_assert_int_eq(((nn_owned *)net->own)->numbers == NULL, sizeof(ag_real) == sizeof(float));
    nn_network_close(net);
    snprintf(path, sizeof path, "%s/smollm2", models);
    net = open_network(path);
    ck_assert(net->n_weight == 272 && net->n_module == 212 && net->config.tied && net->config.rope_theta == 100000);
    nn_network_close(net);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create(__FILE__);
    TCase *tcase = tcase_create("opening");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, modules_and_weights_are_named_as_hugging_face_does);
    tcase_add_test(tcase, numbers_stored_as_we_compute_are_used_in_the_file);
    tcase_add_test(tcase, a_folder_may_hold_one_gguf_file_instead);
    tcase_add_test(tcase, a_safetensors_file_is_opened_with_the_config_beside_it);
    tcase_add_test(tcase, a_config_that_disagrees_or_asks_for_what_we_have_not_is_refused);
    tcase_add_test(tcase, files_that_are_not_there_or_no_json_are_refused);
    tcase_add_test(tcase, a_missing_or_misshapen_tensor_is_named);
    tcase_add_loop_test(tcase, random_weights_are_small_normal_numbers_and_norms_begin_as_the_identity, 0, N_RANDOM);
    tcase_add_loop_test(tcase, a_random_network_is_a_function_of_its_seed, 0, N_RANDOM);
    tcase_add_test(tcase, a_random_network_of_senseless_sizes_is_refused);
    tcase_add_loop_test(tcase, every_allocation_that_fails_is_reported_and_nothing_leaks, 0, 5);
    tcase_add_loop_test(tcase, a_formula_reports_memory_that_ran_out, 0, 4);
    tcase_add_test(tcase, minilm_is_opened_where_it_lies);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
