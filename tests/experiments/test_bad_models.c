/* Bad input of pretrained networks, adapters and examples, one row each (bad_inputs.h): adapt, predict, export and runs. */
#include "tests/experiments/bad_inputs.h"
#include "tests/experiments/small_network.h"

/* ---- files ---- */

static char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    enum { MOST = 1 << 20 };
    char *bytes = malloc(MOST);
    ck_assert(f && bytes);
    *n = fread(bytes, 1, MOST - 1, f);
    bytes[*n] = '\0';
    fclose(f);
    return bytes;
}

static void copy_model(const char *to)
{
    static const char *const files[] = { "config.json", "model.safetensors", "vocab.txt" };
    ck_assert_int_eq(mkdir(to, 0777), 0);
    for (int i = 0; i < 3; i++) {
        char from[100], path[100];
        size_t n;
        snprintf(from, sizeof from, "model/%s", files[i]);
        snprintf(path, sizeof path, "%s/%s", to, files[i]);
        char *bytes = read_file(from, &n);
        write_file(path, bytes, n);
        free(bytes);
    }
}

/* A copy of the model with other weights. */
static void model_with(const char *to, const void *weights, size_t n)
{
    char path[100];
    copy_model(to);
    snprintf(path, sizeof path, "%s/model.safetensors", to);
    write_file(path, weights, n);
}

/* The header's length, the header, and `zeros` bytes of data. */
static void model_with_header(const char *to, uint64_t length, const char *header, size_t zeros)
{
    char bytes[1000] = "";
    const size_t n = strlen(header);
    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + 8, header, n);
    model_with(to, bytes, 8 + n + zeros);
}

#define TENSOR(name, offsets) "\"" name "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" offsets "}"

static void make_safetensors(void)
{
    size_t n;
    char *bytes = read_file("model/model.safetensors", &n);
    model_with("cut", bytes, n / 2);
    model_with("trailing", bytes, n + 1);
    char *name = NULL;
    for (size_t i = 0; i < n && !name; i++)
        if (strncmp(bytes + i, "encoder.layer.1.output.dense.weight", 35) == 0)
            name = bytes + i;
    ck_assert_ptr_nonnull(name);
    name[34] = 'T';
    model_with("missing-tensor", bytes, n);
    free(bytes);
    static const char twice[] = "{" TENSOR("a", "[0,8]") "," TENSOR("a", "[8,16]") "}", shared[] = "{" TENSOR("a", "[0,8]") "," TENSOR("b", "[4,12]") "}";
    model_with_header("duplicate", strlen(twice), twice, 16);
    model_with_header("overlap", strlen(shared), shared, 12);
    model_with_header("huge-header", UINT64_C(1) << 60, "{}", 0);
}

static void put(char *bytes, size_t *n, const void *data, size_t size)
{
    memcpy(bytes + *n, data, size);
    *n += size;
}

/* Magic, version 3, and then these numbers and strings (NULL: the number alone). */
typedef struct gguf_piece {
    uint64_t number;
    size_t bytes;
    const char *text;
} gguf_piece;

static void write_gguf(const char *path, int n_piece, const gguf_piece *pieces)
{
    char bytes[1000] = "GGUF\3\0\0\0";
    size_t n = 8;
    for (int i = 0; i < n_piece; i++) {
        put(bytes, &n, &pieces[i].number, pieces[i].bytes);
        if (pieces[i].text)
            put(bytes, &n, pieces[i].text, strlen(pieces[i].text));
    }
    write_file(path, bytes, n + 64);
}

static void make_gguf(void)
{
    write_gguf("counts.gguf", 2, (const gguf_piece[]){ { UINT64_C(1) << 60, 8, NULL }, { UINT64_C(1) << 60, 8, NULL } });
    write_gguf("strings.gguf", 3, (const gguf_piece[]){ { 0, 8, NULL }, { 1, 8, NULL }, { UINT64_C(1) << 62, 8, "general.name" } });
    write_gguf("offsets.gguf", 7, (const gguf_piece[]){ { 1, 8, NULL }, { 0, 8, NULL }, { 1, 8, "a" }, { 1, 4, NULL }, { 4, 8, NULL }, { 0, 4, NULL },
               { UINT64_C(1) << 50, 8, NULL } });
}

static void make_configs(void)
{
    size_t n;
    copy_model("disagrees");
    char *text = read_file("disagrees/config.json", &n), *size = strstr(text, "\"intermediate_size\": 24");
    ck_assert_ptr_nonnull(size);
    size[strlen("\"intermediate_size\": ")] = '3';
    write_file("disagrees/config.json", text, n);
    free(text);
    copy_model("no-json");
    write_text("no-json/config.json", "{\"model_type\": \"bert\",");
    copy_model("unknown-type");
    write_text("unknown-type/config.json", "{\"model_type\": \"t5\"}");
    copy_model("no-vocabulary");
    ck_assert_int_eq(remove("no-vocabulary/vocab.txt"), 0);
}

#define LINE(text, label) "{\"text\": \"" text "\", \"label\": \"" label "\"}\n"
#define LONG "rain rain rain rain rain rain rain rain rain rain rain rain rain rain rain rain rain rain rain rain rain rain rain rain"

static void make_examples(void)
{
    write_text("good.jsonl", LINE("call my phone", "t") LINE("ring me", "t") LINE("pay the bank", "f") LINE("my money", "f"));
    write_text("empty.jsonl", "");
    write_text("blank.jsonl", "\n\n");
    write_text("utf8.jsonl", LINE("a", "x") LINE("ring \xff me", "y"));
    write_text("utf8.csv", "text,label\na,x\nring \xc3\x28 me,y\n");
    write_text("one-label.jsonl", LINE("a", "x") LINE("b", "x"));
    write_text("one-example.jsonl", LINE("call my phone", "t") LINE("ring me", "t") LINE("pay the bank", "f"));
    write_text("unequal.jsonl", LINE("call my phone", "t") LINE("ring me", "t") LINE("my phone", "t") LINE("pay the bank", "f") LINE("my money", "f"));
    write_text("long.jsonl", LINE("call my phone", "t") LINE(LONG, "t") LINE("pay the bank", "f") LINE("my money", "f"));
    write_text("texts.csv", "text,label\ncall me,a\nring me,a\npay me,b\nbank,b\nrain,c\nsun,c\nplay,d\nmusic,d\nmy,e\nthe,e\nwhat,f\nis,f\n");
    write_text("run.yaml", "tasks: {source: text, path: texts.csv, way: 2, shot: 1, query: 1, class_split: [2, 2, 2]}\n"
                           "model: {kind: network, path: model, head: prototype}\nadapter: {kind: lora, rank: 2}\n"
                           "outer: {meta_batch: 2, iterations: 2}\neval: {episodes: 2, steps: 1}\n");
}

static void call_program(const char *const *words)
{
    char out[TEXT_MAX], messages[TEXT_MAX];
    ck_assert_msg(run(words, false, out, messages) == 0, "%s", messages);
}

/* A copy of the adapter with half of its tensors' file. */
static void make_cut_adapter(void)
{
    static const char *const files[] = { "adapter_config.json", "metalora.json", "adapter_model.safetensors" };
    ck_assert_int_eq(mkdir("cut-adapter", 0777), 0);
    for (int i = 0; i < 3; i++) {
        char from[100], to[100];
        size_t n;
        snprintf(from, sizeof from, "adapter/%s", files[i]);
        snprintf(to, sizeof to, "cut-adapter/%s", files[i]);
        char *bytes = read_file(from, &n);
        write_file(to, bytes, i == 2 ? n / 2 : n);
        free(bytes);
    }
}

static void make_inputs(void)
{
    small_network_write("model", "bert", 1);
    small_network_write("other", "bert", 2);
    make_safetensors();
    make_gguf();
    make_configs();
    make_examples();
    call_program((const char *const[]){ "adapt", "--model", "model", "--support", "good.jsonl", "--to", "adapter", "--steps", "1", "-q", NULL });
    make_cut_adapter();
    write_text("lines.jsonl", "{\"text\": \"call \xff\"}\n");
    write_text("llama2.bin", "not a checkpoint");
}

/* ---- the list ---- */

#define ADAPT(model, support) { "adapt", "--model", model, "--support", support, "--to", "never", "-q" }
#define RUN_ON(...) { "run", "run.yaml", "-q", "--set", __VA_ARGS__ }

static const row rows[] = {
    { "truncated safetensors", ADAPT("cut", "good.jsonl"), { "cut/model.safetensors", "expected" }, false },
    { "truncated safetensors, in a run", RUN_ON("model.path=cut"), { "cut/model.safetensors", "expected" }, false },
    { "trailing byte behind safetensors", ADAPT("trailing", "good.jsonl"), { "trailing/model.safetensors", "behind its header; expected" }, false },
    { "overlapping safetensors", ADAPT("overlap", "good.jsonl"), { "overlap/model.safetensors", "'b'" }, false },
    { "huge header of safetensors", ADAPT("huge-header", "good.jsonl"), { "huge-header/model.safetensors", "expected at most 100000000" }, false },
    { "duplicate key in safetensors", ADAPT("duplicate", "good.jsonl"), { "duplicate/model.safetensors", "duplicate" }, false },
    { "missing tensor", ADAPT("missing-tensor", "good.jsonl"), { "encoder.layer.1.output.dense.weight" }, false },
    { "missing tensor, for predict", { "predict", "--adapter", "adapter", "--model", "missing-tensor", "--text", "a" }, { "encoder.layer.1.output.dense.weight" }, false },
    { "config that disagrees with the weights", ADAPT("disagrees", "good.jsonl"), { "encoder.layer.0.intermediate.dense.weight", "[24, 16]", "[34, 16]" }, false },
    { "config that is no JSON", ADAPT("no-json", "good.jsonl"), { "no-json/config.json: line" }, false },
    { "config of an unknown architecture", RUN_ON("model.path=unknown-type"), { "unknown-type/config.json: architecture 't5'", "expected" }, false },
    { "model without a tokenizer", ADAPT("no-vocabulary", "good.jsonl"), { "no-vocabulary" }, false },
    { "absurd counts in GGUF", ADAPT("counts.gguf", "good.jsonl"), { "counts.gguf", "1152921504606846976" }, false },
    { "absurd string length in GGUF", ADAPT("strings.gguf", "good.jsonl"), { "strings.gguf", "a length of 4611686018427387904" }, false },
    { "absurd offset in GGUF", ADAPT("offsets.gguf", "good.jsonl"), { "offsets.gguf", "tensor 'a' lies at 1125899906842624" }, false },
    { "llama2.c file that is none", ADAPT("llama2.bin", "good.jsonl"), { "llama2.bin" }, false },
    { "targets that match nothing", RUN_ON("adapter.targets=[qury]"), { "qury", "query" }, false },
    { "adapter for another base", { "predict", "--adapter", "adapter", "--model", "other", "--text", "a" }, { "was made for another model", "digest" }, false },
    { "adapter for another base, to adapt from", { "adapt", "--adapter", "adapter", "--model", "other", "--support", "good.jsonl", "--to", "never" }, { "was made for another model", "digest" }, false },
    { "truncated adapter", { "predict", "--adapter", "cut-adapter", "--text", "a" }, { "cut-adapter/adapter_model.safetensors", "expected" }, false },
    { "folder that holds no adapter", { "predict", "--adapter", "model", "--model", "model", "--text", "a" }, { "adapter_config.json" }, false },
    { "text beyond the position limit, when refused by option", { "predict", "--adapter", "adapter", "--strict", "--text", LONG }, { "tokens more than the 24" }, false },
    { "invalid UTF-8 in JSON lines", ADAPT("model", "utf8.jsonl"), { "utf8.jsonl:2: byte" }, false },
    { "invalid UTF-8 in CSV", ADAPT("model", "utf8.csv"), { "utf8.csv:3: byte" }, false },
    { "invalid UTF-8 to predict", { "predict", "--adapter", "adapter", "lines.jsonl" }, { "lines.jsonl:1" }, false },
    { "empty support set", ADAPT("model", "empty.jsonl"), { "empty.jsonl", "there are no rows" }, false },
    { "support set of empty lines", ADAPT("model", "blank.jsonl"), { "blank.jsonl", "there are no rows" }, false },
    { "one label alone", ADAPT("model", "one-label.jsonl"), { "have the label 'x'; expected two" }, false },
    { "export of what is no result file", { "export", "good.jsonl", "--to", "never" }, { "good.jsonl" }, false },
    { "export of what is not there", { "export", "missing.h5", "--to", "never" }, { "missing.h5", "No such file" }, false },
};
enum { N_ROW = sizeof rows / sizeof *rows };

START_TEST(every_bad_model_adapter_or_example_ends_with_code_2_a_clear_message_and_nothing_written)
{
    expect_rows(rows, N_ROW, make_inputs);
}
END_TEST

/* Allowed, and told. */
START_TEST(a_label_with_one_example_unequal_counts_and_long_texts_are_no_mistakes)
{
    static const struct { const char *support, *says; } table[] = {
        { "one-example.jsonl", "1 label has one example" }, { "unequal.jsonl", NULL }, { "long.jsonl", "token" },
    };
    enter_folder();
    make_inputs();
    for (int i = 0; i < 3; i++) {
        char out[TEXT_MAX], messages[TEXT_MAX];
        int code = run((const char *const[]){ "adapt", "--model", "model", "--support", table[i].support, "--to", "made", "--force", NULL }, false, out, messages);
        ck_assert_msg(code == 0, "%s: %s", table[i].support, messages);
        ck_assert_msg(!table[i].says || strstr(messages, table[i].says) || strstr(out, table[i].says), "%s: %s%s", table[i].support, messages, out);
    }
    teardown();
}
END_TEST

TEST_MAIN(every_bad_model_adapter_or_example_ends_with_code_2_a_clear_message_and_nothing_written,
          a_label_with_one_example_unequal_counts_and_long_texts_are_no_mistakes)
