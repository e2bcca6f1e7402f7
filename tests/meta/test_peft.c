/* PEFT's folder: what is written is read again, bad folders are refused by name, and allocations that fail are reported.
 * live_peft.py holds both directions against PEFT itself; with arguments this program is its tool (peft_driver.c). */
#include "meta/adapter_internal.h"
#include "tests/check.h"
#include "tests/meta/adapters.h"

#include <dirent.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVERY_LINEAR "(?!.*(embed|wte|wpe|lm_head)).*"

static char dir[64];

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "peft-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
    DIR *d = opendir(dir);
    char path[512];
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

static const char *in_dir(const char *file)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    return path;
}

/* ---- changing what was written ---- */

/* Sets a field of the configuration to JSON text; NULL: takes it out. */
static void set_field(const char *key, const char *text)
{
    json_t *config = json_load_file(in_dir("adapter_config.json"), 0, NULL);
    ck_assert_ptr_nonnull(config);
    if (text)
        json_object_set_new(config, key, json_loads(text, JSON_DECODE_ANY, NULL));
    else
        json_object_del(config, key);
    ck_assert_int_eq(json_dump_file(config, in_dir("adapter_config.json"), 0), 0);
    json_decref(config);
}

static void write_text(const char *file, const char *text)
{
    FILE *f = fopen(in_dir(file), "wb");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

enum { MOST = 96 };
typedef struct tensors {
    int n;
    nn_to_store t[MOST];
    char name[MOST][256];
    ag_real *data[MOST];
} tensors;

static void read_tensors(tensors *all)
{
    nn_weights *w;
    ag_error err = { 0 };
    ck_assert_msg(nn_weights_open(&w, in_dir("adapter_model.safetensors"), &err) == AG_OK, "%s", err.message);
    all->n = nn_weights_count(w);
    ck_assert_int_lt(all->n, MOST - 2);
    for (int i = 0; i < all->n; i++) {
        const nn_stored *s = nn_weights_at(w, i);
        all->data[i] = calloc((size_t)s->numel + 1, sizeof(ag_real));
        nn_stored_read(s, all->data[i], NULL);
        snprintf(all->name[i], sizeof all->name[i], "%s", s->name);
        all->t[i] = (nn_to_store){ .name = all->name[i], .ndim = s->ndim, .data = all->data[i] };
        memcpy(all->t[i].shape, s->shape, sizeof s->shape);
    }
    nn_weights_close(w);
}

static void add_tensor(tensors *all, const char *name, int ndim, const int64_t *shape, int64_t numel, double value)
{
    int i = all->n++;
    all->data[i] = calloc((size_t)numel, sizeof(ag_real));
    for (int64_t j = 0; j < numel; j++)
        all->data[i][j] = (ag_real)value;
    snprintf(all->name[i], sizeof all->name[i], "%s", name);
    all->t[i] = (nn_to_store){ .name = all->name[i], .ndim = ndim, .data = all->data[i] };
    memcpy(all->t[i].shape, shape, (size_t)ndim * sizeof *shape);
}

static void write_tensors(tensors *all)
{
    ag_error err = { 0 };
    ck_assert_msg(nn_safetensors_write(in_dir("adapter_model.safetensors"), all->n, all->t, 0, NULL, &err) == AG_OK, "%s",
                  err.message);
    for (int i = 0; i < all->n; i++)
        free(all->data[i]);
}

static void rename_all(tensors *all, const char *from, const char *to)
{
    for (int i = 0; i < all->n; i++) {
        char name[256], *at = strstr(all->name[i], from);
        if (!at)
            continue;
        snprintf(name, sizeof name, "%.*s%s%s", (int)(at - all->name[i]), all->name[i], to, at + strlen(from));
        memcpy(all->name[i], name, sizeof name);
    }
}

/* ---- there and back ---- */

static meta_adapter *saved(const nn_network *net, const meta_adapter_options *o, ag_real **values)
{
    ag_error err = { 0 };
    meta_adapter *a = new_adapter(net, o);
    *values = adapter_values(a, 6, 0.2);
    ck_assert_msg(meta_peft_save(dir, a, *values, 0, NULL, &err) == AG_OK, "%s", err.message);
    return a;
}

static void check_output(const nn_network *net, const meta_adapter *a, const ag_real *values, const meta_adapter *b,
                         const ag_real *other, double tolerance)
{
    network_input in = tiny_input(net);
    int64_t n, m;
    ag_real *y = network_output(net, a, values, &in, &n), *z = network_output(net, b, other, &in, &m);
    ck_assert_int_eq(n, m);
    for (int64_t i = 0; i < n; i++)
        expect(test_close((double)y[i], (double)z[i], tolerance), "%s, number %d: %.9g, read again %.9g",
               net->config.architecture, (int)i, (double)y[i], (double)z[i]);
    free(y), free(z);
}

static void check_there_and_back(const char *architecture, const meta_adapter_options *o)
{
    nn_network *net = tiny_network(architecture);
    ag_error err = { 0 };
    ag_real *values, *read;
    meta_adapter *b, *a = saved(net, o, &values);
    ck_assert_msg(meta_peft_load(&b, &read, dir, net, &err) == AG_OK, "%s %s %s: %s", architecture, o->kind ? o->kind : "",
                  o->init ? o->init : "", err.message);
    bool joined = a->start == META_PISSA || a->start == META_OLORA;
    ck_assert_int_eq(meta_adapter_params(b), meta_adapter_params(a));
    for (int64_t i = 0; !joined && i < meta_adapter_values(a); i++)
        expect(read[i] == (ag_real)(float)values[i], "%s: number %d", architecture, (int)i);
    for (int i = 0; joined && i < meta_adapter_modules(a); i++) {
        ck_assert_int_eq(b->module[i].rank, 2 * a->module[i].rank);
        ck_close(b->module[i].scale, a->module[i].scale, 1e-12);
    }
    check_output(net, a, values, b, read, 1e-5);
    free(values);
    ag_free(read);
    meta_adapter_free(a);
    meta_adapter_free(b);
    nn_network_close(net);
}

#define WITH(...) &(meta_adapter_options){ __VA_ARGS__ }
#define NAMES(...) .n_target = sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), .targets = (const char *[]){ __VA_ARGS__ }

START_TEST(what_is_written_is_read_again)
{
    static const char *const texts[] = { "bert", "llama", "gpt2", "moe" }, *const kinds[] = { "lora", "dora", "adalora", "vera" };
    static const char *const inits[] = { "pissa", "olora", "orthogonal", "gaussian" }, *const convs[] = { "conv1d", "conv2d" };
    make_dir();
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 4; k++)
            check_there_and_back(texts[i], WITH(.kind = kinds[k], .rank = 3, .alpha = 5, .target_regex = EVERY_LINEAR));
        for (int k = 0; k < 4; k++)
            check_there_and_back(texts[i], WITH(.init = inits[k], .rank = 2, .alpha = 3, .rslora = k == 1,
                                                .target_regex = EVERY_LINEAR));
        check_there_and_back(texts[i], WITH(.kind = "dora", .init = "pissa", .rank = 2, .target_regex = EVERY_LINEAR));
        check_there_and_back(texts[i], WITH(.rank = 2, .target_regex = ".*"));
        check_there_and_back(texts[i], WITH(.kind = "dora", .rank = 2, .target_regex = ".*"));
        check_there_and_back(texts[i], WITH(.rank = 2));
        check_there_and_back(texts[i], WITH(.rank = 2, NAMES("all-linear")));
    }
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 3; k++)
            check_there_and_back(convs[i], WITH(.kind = kinds[k], .rank = 3, NAMES("conv")));
    remove_dir();
}
END_TEST

START_TEST(choices_of_modules_are_written_and_read)
{
    static const meta_pattern ranks[] = { { "0.self_attn.q_proj", 3 }, { "up_.*", 1 } }, alphas[] = { { "v_proj", 2.5 } };
    make_dir();
    check_there_and_back("llama", WITH(.rank = 2, NAMES("q_proj", "v_proj", "up_proj"), .n_rank_pattern = 2,
                                       .rank_pattern = ranks, .n_alpha_pattern = 1, .alpha_pattern = alphas));
    check_there_and_back("llama", WITH(.rank = 2, .init = "pissa", NAMES("q_proj", "v_proj", "up_proj"), .n_rank_pattern = 2,
                                       .rank_pattern = ranks, .n_alpha_pattern = 1,
                                       .alpha_pattern = alphas));
    check_there_and_back("bert", WITH(.rank = 2, NAMES("query", "dense"), .n_layer = 1, .layers = (int64_t[]){ 1 },
                                      .n_exclude = 1, .exclude = (const char *[]){ "intermediate.dense" }));
    check_there_and_back("bert", WITH(.kind = "vera", .rank = 2, NAMES("query", "dense"), .n_layer = 1,
                                      .layers = (int64_t[]){ 0 }, .n_exclude = 1,
                                      .exclude = (const char *[]){ "intermediate.dense" }));
    remove_dir();
}
END_TEST

START_TEST(the_configuration_has_pefts_fields)
{
    static const struct { const char *key, *value; } expected[] = {
        { "peft_type", "\"LORA\"" }, { "r", "3" }, { "lora_alpha", "5" }, { "lora_dropout", "0.25" }, { "target_modules",
                "[\"query\", \"value\"]" },
        { "exclude_modules", "null" }, { "layers_to_transform", "[1]" }, { "layers_pattern", "\"layer\"" }, { "rank_pattern",
                "{}" }, { "alpha_pattern", "{\"value\": 2.5}" },
        { "use_rslora", "true" }, { "use_dora", "true" }, { "init_lora_weights", "true" }, { "fan_in_fan_out",
                "false" }, { "bias", "\"none\"" },
        { "modules_to_save", "null" }, { "base_model_name_or_path", "\"random:5\"" }, { "task_type",
                "null" }, { "inference_mode", "true" } };
    static const meta_pattern alpha = { "value", 2.5 };
    nn_network *net = tiny_network("bert");
    ag_real *values;
    make_dir();
    meta_adapter *a = saved(net, WITH(.kind = "dora", .rank = 3, .alpha = 5, .dropout = 0.25, .rslora = true, .n_layer = 1,
                                      .layers = (int64_t[]){ 1 }, .n_alpha_pattern = 1,
                                      .alpha_pattern = &alpha), &values);
    json_t *config = json_load_file(in_dir("adapter_config.json"), 0, NULL);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        json_t *value = json_loads(expected[i].value, JSON_DECODE_ANY, NULL);
        expect(json_object_get(config, expected[i].key) && json_equal(json_object_get(config, expected[i].key), value),
               "%s is not %s", expected[i].key, expected[i].value);
        json_decref(value);
    }
    json_decref(config);
    free(values);
    meta_adapter_free(a);
    remove_dir();
    nn_network_close(net);
}
END_TEST

START_TEST(tensors_have_pefts_names_and_shapes)
{
    static const struct { const char *architecture, *kind, *name; int ndim; int64_t shape[4]; } expected[] = {
        { "bert", "lora", "encoder.layer.0.attention.self.query.lora_A.weight", 2, { 3, 8 } },
        { "bert", "lora", "encoder.layer.0.intermediate.dense.lora_B.weight", 2, { 12, 3 } },
        { "bert", "lora", "embeddings.word_embeddings.lora_embedding_A", 2, { 3, 11 } },
        { "bert", "lora", "embeddings.word_embeddings.lora_embedding_B", 2, { 8, 3 } },
        { "gpt2", "dora", "transformer.h.1.attn.c_attn.lora_A.weight", 2, { 3, 8 } },
        { "gpt2", "dora", "transformer.h.1.attn.c_attn.lora_B.weight", 2, { 24, 3 } },
        { "gpt2", "dora", "transformer.h.1.attn.c_attn.lora_magnitude_vector", 1, { 24 } },
        { "conv2d", "dora", "layers.1.conv.lora_A.weight", 4, { 3, 6, 3, 3 } }, { "conv2d", "dora",
                "layers.1.conv.lora_B.weight", 4, { 6, 3, 1, 1 } },
        { "conv2d", "dora", "layers.1.conv.lora_magnitude_vector", 4, { 1, 6, 1, 1 } }, { "conv1d", "lora",
                "layers.0.conv.lora_A.weight", 3, { 3, 2, 3 } },
        { "conv1d", "lora", "layers.0.conv.lora_B.weight", 3, { 6, 3, 1 } } };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        nn_network *net = tiny_network(expected[i].architecture);
        ag_real *values;
        nn_weights *w;
        char name[200];
        const char *digest;
        make_dir();
        meta_adapter *a = saved(net, WITH(.kind = expected[i].kind, .rank = 3, .target_regex = ".*"), &values);
        ck_assert_int_eq(nn_weights_open(&w, in_dir("adapter_model.safetensors"), NULL), AG_OK);
        snprintf(name, sizeof name, "base_model.model.%s", expected[i].name);
        const nn_stored *s = nn_weights_find(w, name);
        expect(s && s->ndim == expected[i].ndim && memcmp(s->shape, expected[i].shape, (size_t)s->ndim * sizeof *s->shape) == 0,
               "%s", name);
        ck_assert(nn_weights_string(w, "metalora.base", &digest) && strcmp(digest, net->digest) == 0);
        nn_weights_close(w);
        free(values);
        meta_adapter_free(a);
        remove_dir();
        nn_network_close(net);
    }
}
END_TEST

START_TEST(extra_tensors_travel_as_modules_to_save)
{
    nn_network *net = tiny_network("bert");
    ag_error err = { 0 };
    ag_real weight[6] = { 1, 2, 3, 4, 5, 6 }, bias[2] = { 7, 8 }, read[6], *values, *again;
    meta_extra extra[] = { { "classifier.weight", 2, { 2, 3 }, weight }, { "classifier.bias", 1, { 2 }, bias } };
    meta_adapter *b, *a = new_adapter(net, WITH(.rank = 2));
    make_dir();
    values = adapter_values(a, 1, 0.1);
    ck_assert_int_eq(meta_peft_save(dir, a, values, 2, extra, &err), AG_OK);
    json_t *config = json_load_file(in_dir("adapter_config.json"), 0, NULL), *list = json_object_get(config, "modules_to_save");
    ck_assert(json_array_size(list) == 1 && strcmp(json_string_value(json_array_get(list, 0)), "classifier") == 0);
    json_decref(config);
    ck_assert_msg(meta_peft_load(&b, &again, dir, net, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(meta_peft_load_extra(dir, "classifier.weight", 2, (int64_t[]){ 2, 3 }, read, &err), AG_OK);
    ck_assert(memcmp(read, weight, sizeof read) == 0);
    ck_assert_int_eq(meta_peft_load_extra(dir, "classifier.weight", 2, (int64_t[]){ 3, 2 }, read, &err), AG_EDATA);
    ck_assert_ptr_nonnull(strstr(err.message, "is [2, 3]; [3, 2] is expected"));
    ag_error_clear(&err);
    ck_assert_int_eq(meta_peft_load_extra(dir, "head.weight", 2, (int64_t[]){ 3, 2 }, read, &err), AG_EDATA);
    ck_assert_ptr_nonnull(strstr(err.message, "'base_model.model.head.weight' is missing"));
    free(values);
    ag_free(again);
    meta_adapter_free(a);
    meta_adapter_free(b);
    remove_dir();
    nn_network_close(net);
}
END_TEST

/* ---- PEFT's other ways of writing ---- */

static void loads_as(const nn_network *net, const meta_adapter *a, const ag_real *values)
{
    ag_error err = { 0 };
    ag_real *read;
    meta_adapter *b;
    ck_assert_msg(meta_peft_load(&b, &read, dir, net, &err) == AG_OK, "%s", err.message);
    check_output(net, a, values, b, read, 1e-5);
    ag_free(read);
    meta_adapter_free(b);
}

START_TEST(names_with_more_or_less_in_front_are_understood)
{
    nn_network *bert = tiny_network("bert"), *llama = tiny_network("llama");
    ag_real *values;
    static tensors all;
    make_dir();
    meta_adapter *a = saved(bert, WITH(.rank = 2), &values);   /* a model with a head on top */
    read_tensors(&all);
    rename_all(&all, "base_model.model.encoder", "base_model.model.bert.encoder");
    write_tensors(&all);
    loads_as(bert, a, values);
    free(values);
    meta_adapter_free(a);
    a = saved(llama, WITH(.rank = 2), &values);                 /* a model without one */
    read_tensors(&all);
    rename_all(&all, "base_model.model.model.", "base_model.model.");
    write_tensors(&all);
    loads_as(llama, a, values);
    free(values);
    meta_adapter_free(a);
    remove_dir();
    nn_network_close(bert);
    nn_network_close(llama);
}
END_TEST

START_TEST(fields_may_be_absent_or_written_otherwise)
{
    nn_network *net = tiny_network("bert");
    ag_real *values;
    make_dir();
    meta_adapter *a = saved(net, WITH(.rank = 8, NAMES("query", "value")), &values);
    static const char *const absent[] = { "r", "lora_alpha", "lora_dropout", "exclude_modules", "layers_to_transform",
                                          "rank_pattern", "bias", "use_dora", "init_lora_weights", "target_modules" };
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        set_field(absent[i], NULL);
    loads_as(net, a, values);                                   /* all are PEFT's defaults */
    set_field("target_modules", "\".*\\\\.(query|value)\"");
    set_field("some_new_field", "{\"x\": [1, 2]}");
    loads_as(net, a, values);
    set_field("target_modules", "[\"query\", \"value\", \"of_another_model\"]");
    set_field("layers_to_transform", "[0, 1]");
    set_field("layers_pattern", "[\"layer\"]");
    set_field("exclude_modules", "\".*output.*\"");
    loads_as(net, a, values);
    set_field("target_modules", "\"ALL-LINEAR\"");
    set_field("exclude_modules", "\".*(dense|key)\"");
    set_field("layers_to_transform", "null");
    loads_as(net, a, values);
    set_field("modules_to_save", "[\"output\", \"intermediate\"]");   /* what is under them is not adapted */
    set_field("exclude_modules", "[\"key\"]");
    loads_as(net, a, values);
    free(values);
    meta_adapter_free(a);
    remove_dir();
    nn_network_close(net);
}
END_TEST

START_TEST(copies_of_base_weights_are_let_pass_and_changed_ones_are_not)
{
    nn_network *net = tiny_network("bert");
    ag_error err = { 0 };
    ag_real *values, *read;
    static tensors all;
    meta_adapter *b;
    make_dir();
    meta_adapter *a = saved(net, WITH(.rank = 2, NAMES("word_embeddings")), &values);
    read_tensors(&all);
    add_tensor(&all, "base_model.model.embeddings.word_embeddings.base_layer.weight", 2, (int64_t[]){ 11, 8 }, 88, 0);
    memcpy(all.data[all.n - 1], net->weight[0].data, 88 * sizeof(ag_real));
    write_tensors(&all);
    loads_as(net, a, values);
    read_tensors(&all);
    all.data[all.n - 1][5] += 1;
    for (int i = 0; i < all.n; i++)
        if (strstr(all.name[i], "base_layer"))
            all.data[i][5] += 1;
    write_tensors(&all);
    ck_assert_int_eq(meta_peft_load(&b, &read, dir, net, &err), AG_EDATA);
    ck_assert_ptr_nonnull(strstr(err.message, "differs from the base's own at number 5"));
    free(values);
    meta_adapter_free(a);
    remove_dir();
    nn_network_close(net);
}
END_TEST

/* PEFT leaves out the triplets that are masked and says which in rank_pattern. */
START_TEST(triplets_that_adalora_left_out_are_zeros)
{
    nn_network *net = tiny_network("bert");
    ag_real *values;
    static tensors all;
    make_dir();
    meta_adapter *a = saved(net, WITH(.kind = "adalora", .rank = 3, NAMES("1.attention.self.query")), &values);
    values[meta_adapter_param(a, 2)->offset + 1] = 0;
    read_tensors(&all);
    for (int i = 0; i < all.n; i++) {
        ag_real *x = all.data[i];
        if (strstr(all.name[i], "lora_B")) {
            for (int o = 0; o < 8; o++) {
                x[2 * o] = x[3 * o];
                x[2 * o + 1] = x[3 * o + 2];
            }
            all.t[i].shape[1] = 2;
            continue;
        }
        int64_t row = all.t[i].shape[1];
        memmove(x + row, x + 2 * row, (size_t)row * sizeof *x);
        all.t[i].shape[0] = 2;
    }
    write_tensors(&all);
    set_field("rank_pattern", "{\"encoder.layer.1.attention.self.query.lora_E\": [true, false, true]}");
    loads_as(net, a, values);
    free(values);
    meta_adapter_free(a);
    remove_dir();
    nn_network_close(net);
}
END_TEST

/* ---- bad folders ---- */

static void refused(const nn_network *net, ag_code code, const char *text)
{
    ag_error err = { 0 };
    ag_real *read = (ag_real *)1;
    meta_adapter *b = (meta_adapter *)1;
    ag_code is = meta_peft_load(&b, &read, dir, net, &err);
    expect(is == code, "%s, not %s: %s", ag_code_name(is), ag_code_name(code), err.message);
    expect(!b && !read, "a failure leaves something");
    expect(strstr(err.message, text), "'%s' does not say '%s'", err.message, text);
}

START_TEST(a_configuration_we_cannot_follow_is_refused_by_name)
{
    static const struct { const char *key, *value, *says; } bad[] = {
        { "peft_type", "\"LOHA\"", "peft_type is 'LOHA'" }, { "peft_type", NULL, "peft_type is 'not there'" }, { "peft_type",
                "7", "peft_type" },
        { "bias", "\"all\"", "bias" }, { "lora_bias", "true", "lora_bias is set" }, { "use_qalora", "true", "use_qalora" },
        { "layer_replication", "[[0, 2]]", "layer_replication" }, { "trainable_token_indices", "[1]", "trainable_token_indices" },
        { "target_parameters", "[\"x\"]", "target_parameters" }, { "alora_invocation_tokens", "[1]", "alora_invocation_tokens" },
        { "init_lora_weights", "\"pissa_niter_4\"", "path_initial_model_for_weight_conversion" }, { "init_lora_weights",
                "\"loftq\"", "loftq" },
        { "r", "0", "r: a whole number" }, { "r", "2.5", "r: a whole number" }, { "r", "\"8\"", "r: a whole number" }, { "r",
                "9000000000", "r: a whole number" },
        { "lora_alpha", "0", "lora_alpha" }, { "lora_alpha", "-1", "lora_alpha" }, { "lora_alpha", "\"x\"",
                "lora_alpha: a number" }, { "lora_dropout", "1.5", "dropout is 1.5" },
        { "use_rslora", "1", "use_rslora: true or false" }, { "use_dora", "\"yes\"", "use_dora" }, { "target_modules", "[]",
                "target_modules: at least one name" },
        { "target_modules", "[1]", "target_modules: a list of names" }, { "target_modules", "{}",
                                                                          "target_modules" }, { "target_modules",
                                                                                  "[\"nothing\"]", "'nothing' matches no module" },
        { "target_modules", "\"(query\"", "at character" }, { "exclude_modules", "\"(query\"",
                                                              "at character" }, { "exclude_modules", "[2]", "exclude_modules" },
        { "layers_to_transform", "\"1\"", "layers_to_transform" }, { "layers_to_transform", "[\"1\"]",
                                                                     "layers_to_transform" }, { "layers_to_transform", "[9]",
                                                                             "layers asked for" },
        { "rank_pattern", "[1]", "rank_pattern" }, { "rank_pattern", "{\"query\": true}", "rank_pattern" }, { "rank_pattern",
                "{\"query\": 2.5}", "is 2.5" },
        { "rank_pattern", "{\"query\": 3}", "is [2, 8]; [3, 8] is expected" }, { "alpha_pattern", "{\"(\": 3}",
                "at character" }, { "modules_to_save", "{}", "modules_to_save" },
        { "r", "3", "is [2, 8]; [3, 8] is expected" }, { "use_dora", "true",
                                                         "'base_model.model.encoder.layer.0.attention.self.query.lora_magnitude_vector' is missing" },
    };
    nn_network *net = tiny_network("bert");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ag_real *values;
        make_dir();
        meta_adapter *a = saved(net, WITH(.rank = 2), &values);
        set_field(bad[i].key, bad[i].value);
        refused(net, AG_EDATA, bad[i].says);
        free(values);
        meta_adapter_free(a);
        remove_dir();
    }
    nn_network_close(net);
}
END_TEST

START_TEST(layers_behind_another_name_are_refused)
{
    nn_network *net = tiny_network("bert");
    ag_real *values;
    make_dir();
    meta_adapter *a = saved(net, WITH(.rank = 2, .n_layer = 1, .layers = (int64_t[]){ 1 }), &values);
    set_field("layers_pattern", "\"blocks\"");
    refused(net, AG_EDATA, "layers_pattern");
    free(values);
    meta_adapter_free(a);
    remove_dir();
    nn_network_close(net);
}
END_TEST

static void drop_one(tensors *all) { all->n--; }
static void add_one(tensors *all) { add_tensor(all, "base_model.model.pooler.dense.lora_A.weight", 2, (int64_t[]){ 2, 8 }, 16, 1); }
static void misshape(tensors *all) { all->t[0].shape[0] = 8, all->t[0].shape[1] = 2; }
static void flatten(tensors *all) { all->t[0].ndim = 1, all->t[0].shape[0] = 16; }
static void poison(tensors *all) { all->data[0][3] = NAN; }
static void foreign_root(tensors *all) { rename_all(all, "base_model.", "model."); }

START_TEST(tensors_missing_superfluous_or_misshapen_are_refused_by_name)
{
    static const struct { void (*change)(tensors *all); const char *says; } bad[] = {
        { drop_one, ".lora_B.weight' is missing" }, { add_one, "'base_model.model.pooler.dense.lora_A.weight' belongs to nothing" },
        { misshape, "lora_A.weight' is [8, 2]; [2, 8] is expected" }, { flatten, "is [16]; [2, 8] is expected" }, { poison,
                "number 3 is not finite" },
        { foreign_root, "is missing" } };
    nn_network *net = tiny_network("bert");
    static tensors all;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ag_real *values;
        make_dir();
        meta_adapter *a = saved(net, WITH(.rank = 2), &values);
        read_tensors(&all);
        bad[i].change(&all);
        write_tensors(&all);
        if (bad[i].change == drop_one)
            free(all.data[all.n]);
        refused(net, AG_EDATA, bad[i].says);
        free(values);
        meta_adapter_free(a);
        remove_dir();
    }
    nn_network_close(net);
}
END_TEST

START_TEST(veras_shared_factors_are_read_wider_than_needed_but_not_narrower)
{
    nn_network *net = tiny_network("bert");
    ag_error err = { 0 };
    ag_real *values;
    static tensors all;
    make_dir();
    meta_adapter *a = saved(net, WITH(.kind = "vera", .rank = 2, NAMES("query")), &values);
    read_tensors(&all);
    for (int i = 0; i < all.n; i++)
        if (strstr(all.name[i], "vera_B")) {                    /* two rows more */
            all.data[i] = realloc(all.data[i], 20 * sizeof(ag_real));
            memset(all.data[i] + 16, 0, 4 * sizeof(ag_real));
            all.t[i].data = all.data[i];
            all.t[i].shape[0] = 10;
        }
    write_tensors(&all);
    loads_as(net, a, values);
    ck_assert_int_eq(meta_peft_save(dir, a, values, 0, NULL, &err), AG_OK);
    read_tensors(&all);
    for (int i = 0; i < all.n; i++)
        if (strstr(all.name[i], "vera_B"))
            all.t[i].shape[0] = 7;
    write_tensors(&all);
    refused(net, AG_EDATA, "'base_model.vera_B' is [7, 2]; [8, 2] is expected");
    set_field("r", "1000000");
    refused(net, AG_EDATA, "'base_model.vera_A' has 2 rows; r = 1000000 is expected");
    set_field("save_projection", "false");
    refused(net, AG_EDATA, "save_projection is not true");
    free(values);
    meta_adapter_free(a);
    remove_dir();
    nn_network_close(net);
}
END_TEST

START_TEST(files_that_are_not_there_or_not_what_they_should_be_are_refused)
{
    nn_network *net = tiny_network("bert"), *other = NULL;
    ag_error err = { 0 };
    ag_real *values;
    make_dir();
    refused(net, AG_EIO, "adapter_config.json': No such file");
    meta_adapter *a = saved(net, WITH(.rank = 2), &values);
    ck_assert_int_eq(nn_network_random(&other, &net->config, 6, &err), AG_OK);
    refused(other, AG_EDATA, "was made for another base: its digest is");
    unlink(in_dir("adapter_model.safetensors"));
    refused(net, AG_EIO, "adapter_model.safetensors");
    write_text("adapter_model.safetensors", "nothing of the kind");
    refused(net, AG_EDATA, "adapter_model.safetensors");
    write_text("adapter_config.json", "{\"r\": 1,");
    refused(net, AG_EDATA, "line 1");
    write_text("adapter_config.json", "{\"r\": 1, \"r\": 2}");
    refused(net, AG_EDATA, "duplicate");
    write_text("adapter_config.json", "[]");
    refused(net, AG_EDATA, "an object is expected");
    ck_assert_int_eq(meta_peft_save("no/such/folder", a, values, 0, NULL, &err), AG_EIO);
    ag_error_clear(&err);
    char name[1200];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    free(values);
    meta_adapter_free(a);
    ck_assert_int_eq(meta_peft_load(&a, &values, name, net, &err), AG_EINVAL);
    remove_dir();
    nn_network_close(net);
    nn_network_close(other);
}
END_TEST

/* ---- torture ---- */

static long countdown;

static void *failing_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    if (countdown > 0 && --countdown == 0)
        return NULL;
    return aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
}

static void failing_release(void *p, void *ctx)
{
    (void)ctx;
    free(p);
}

static ag_code one_try(const nn_network *net, bool load, const meta_adapter *a, const ag_real *values, ag_error *err)
{
    ag_real *read = NULL;
    meta_adapter *b = NULL;
    ag_code code = load ? meta_peft_load(&b, &read, dir, net, err) : meta_peft_save(dir, a, values, 0, NULL, err);
    long left = countdown;
    countdown = 0;
    ag_free(read);
    meta_adapter_free(b);
    countdown = left;
    return code;
}

START_TEST(an_allocation_that_fails_is_reported_and_nothing_is_lost)
{
    ag_set_allocator(&(ag_allocator){ failing_alloc, failing_release, NULL });
    nn_network *net = tiny_network("bert");
    static const char *const kinds[] = { "lora", "vera" };
    make_dir();
    for (int k = 0; k < 4; k++) {
        ag_real *values;
        bool load = k & 1;
        meta_adapter *a = saved(net, WITH(.kind = kinds[k / 2], .rank = 2, NAMES("query")), &values);
        set_field("exclude_modules", k / 2 ? NULL : "\".*value\"");
        for (long n = 1;; n++) {
            ag_error err = { 0 };
            countdown = n;
            ag_code code = one_try(net, load, a, values, &err);
            bool through = countdown > 0;
            countdown = 0;
            expect(code == (through ? AG_OK : AG_ENOMEM), "%d, allocation %ld: %s '%s'", k, n, ag_code_name(code), err.message);
            if (through) {
                expect(n > 3, "only %ld allocations", n - 1);
                break;
            }
        }
        free(values);
        meta_adapter_free(a);
    }
    remove_dir();
    nn_network_close(net);
    ag_set_allocator(NULL);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = { what_is_written_is_read_again, choices_of_modules_are_written_and_read,
                                   the_configuration_has_pefts_fields,
        tensors_have_pefts_names_and_shapes, extra_tensors_travel_as_modules_to_save, names_with_more_or_less_in_front_are_understood,
        fields_may_be_absent_or_written_otherwise, copies_of_base_weights_are_let_pass_and_changed_ones_are_not, triplets_that_adalora_left_out_are_zeros,
        a_configuration_we_cannot_follow_is_refused_by_name, layers_behind_another_name_are_refused, tensors_missing_superfluous_or_misshapen_are_refused_by_name,
        veras_shared_factors_are_read_wider_than_needed_but_not_narrower, files_that_are_not_there_or_not_what_they_should_be_are_refused,
        an_allocation_that_fails_is_reported_and_nothing_is_lost };
    if (argc > 1)
        return peft_driver(argc, argv);
    return test_run(__FILE__, tests, sizeof tests / sizeof *tests, 300);
}
