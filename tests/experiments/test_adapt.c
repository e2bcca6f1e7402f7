/* metalora adapt, predict and export from outside: what they write, print and refuse. */
#include "experiments/adapt_files.h"
#include "experiments/cli.h"
#include "experiments/model_store.h"
#include "tests/check.h"
#include "tests/experiments/small_network.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];              /* the tests' own; the current one while they run */

/* ---- calls ---- */

typedef struct answer {
    int code;
    char *out, *messages;
} answer;

static void forget(answer *a)
{
    free(a->out);
    free(a->messages);
    *a = (answer){ 0 };
}

static void give_stdin(const char *text)
{
    small_write(".", "stdin.txt", text ? text : "");
    expect(freopen("stdin.txt", "r", stdin), "stdin");
}

/* Words up to NULL; what stdin holds first. */
static answer call(const char *in, ...)
{
    enum { MOST = 32 };
    const char *argv[MOST] = { "metalora" };
    int argc = 1;
    size_t n[2];
    answer a = { 0 };
    va_list words;
    va_start(words, in);
    while (argc < MOST && (argv[argc] = va_arg(words, const char *)))
        argc++;
    va_end(words);
    give_stdin(in);
    FILE *out = open_memstream(&a.out, &n[0]), *messages = open_memstream(&a.messages, &n[1]);
    a.code = xp_cli(argc, argv, out, messages);
    fclose(out);
    fclose(messages);
    return a;
}

#define CALL(in, ...) call(in, __VA_ARGS__, NULL)

static void expect_done(const answer *a)
{
    expect(a->code == 0, "exit code %d: %s", a->code, a->messages);
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Entries of the current folder whose names begin with a dot, as things written aside do. */
static int left_aside(void)
{
    int n = 0;
    DIR *d = opendir(".");
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] == '.' && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

static json_t *parse(const char *text)
{
    json_error_t why;
    json_t *j = json_loads(text, 0, &why);
    expect(j, "'%s': %s", text, why.text);
    return j;
}

/* ---- the world ---- */

static const char SUPPORT[] =
    "{\"text\": \"call my phone\", \"label\": \"telephone\"}\n{\"text\": \"pay the bank\", \"label\": \"finance\"}\n"
    "{\"text\": \"is the sun for me\", \"label\": \"sky\"}\n{\"text\": \"ring the phone now\", \"label\": \"telephone\"}\n"
    "{\"text\": \"what is my money\", \"label\": \"finance\"}\n{\"text\": \"what is the weather\", \"label\": \"sky\"}\n"
    "{\"text\": \"please ring me\", \"label\": \"telephone\"}\n{\"text\": \"money for the bank\", \"label\": \"finance\"}\n"
    "{\"text\": \"rain now ?\", \"label\": \"sky\"}\n";

static void setup(void)
{
    snprintf(folder, sizeof folder, "adapt-%ld", (long)getpid());
    small_require(mkdir(folder, 0777) == 0 && chdir(folder) == 0);
    small_network_write("model", "bert", 1);
    small_network_write("other", "bert", 2);
    small_network_write("decoder", "llama", 3);
    small_write(".", "support.jsonl", SUPPORT);
}

static void remove_all(const char *path)
{
    char inner[600];
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
            if (remove(inner) != 0)
                remove_all(inner);
        }
    if (d)
        closedir(d);
    rmdir(path);
}

static void teardown(void)
{
    small_require(chdir("..") == 0);
    remove_all(folder);
}

static void adapt_to(const char *model, const char *to)
{
    answer a = CALL(NULL, "adapt", "--model", model, "--support", "support.jsonl", "--to", to, "--steps", "12", "--lr", "0.01", "--no-estimate", "-q");
    expect_done(&a);
    ck_assert_str_eq(a.out, "");
    ck_assert_str_eq(a.messages, "");
    forget(&a);
}

/* ---- adapt and predict ---- */

START_TEST(adapt_writes_an_adapter_that_predict_labels_its_own_examples_with)
{
    static const char *const models[] = { "model", "decoder" };
    for (int m = 0; m < 2; m++) {
        int right = 0, n = 0;
        adapt_to(models[m], models[m][0] == 'm' ? "a" : "b");
        const char *adapter = m ? "b" : "a";
        answer p = CALL(SUPPORT, "predict", "--adapter", adapter);
        expect_done(&p);
        char *line = strtok(p.out, "\n");
        for (const char *in = SUPPORT; *in; in = strchr(in, '\n') + 1, line = strtok(NULL, "\n"), n++) {
            char given[200];
            double sum = 0;
            const char *key;
            json_t *value;
            expect(line, "an answer is missing");
            snprintf(given, sizeof given, "%.*s", (int)strcspn(in, "\n"), in);
            json_t *asked = parse(given), *got = parse(line), *all = json_object_get(got, "probabilities");
            ck_assert(json_equal(json_object_get(asked, "text"), json_object_get(got, "text")));
            right += json_equal(json_object_get(asked, "label"), json_object_get(got, "label"));
            ck_assert_uint_eq(json_object_size(all), 3);
            json_object_foreach (all, key, value) {
                sum += json_number_value(value);
                ck_assert(json_number_value(value) <= json_number_value(json_object_get(got, "probability")) + 1e-9);
            }
            ck_close(sum, 1, 1e-5);
            json_decref(asked);
            json_decref(got);
        }
        ck_assert_ptr_null(line);
        ck_assert_int_eq(right, n);
        forget(&p);
    }
    ck_assert_int_eq(left_aside(), 0);
}
END_TEST

START_TEST(adapt_tells_what_it_did_as_one_json_object)
{
    answer a = CALL(NULL, "adapt", "--model", "model", "--support", "support.jsonl", "--to", "told", "--steps", "3", "--lr", "0.01", "--json");
    expect_done(&a);
    json_t *j = parse(a.out), *labels = json_object_get(j, "labels"), *examples = json_object_get(j, "examples");
    json_t *estimate = json_object_get(j, "leave_one_out");
    ck_assert_str_eq(json_string_value(json_object_get(j, "adapter")), "told");
    ck_assert_uint_eq(json_array_size(labels), 3);
    ck_assert_str_eq(json_string_value(json_array_get(labels, 1)), "finance");
    ck_assert_int_eq(json_integer_value(json_object_get(examples, "sky")), 3);
    ck_assert_int_eq(json_integer_value(json_object_get(j, "steps")), 3);
    ck_assert(json_real_value(json_object_get(j, "loss_after")) < json_real_value(json_object_get(j, "loss_before")));
    ck_assert(json_real_value(json_object_get(j, "seconds")) > 0);
    ck_assert_int_eq(json_integer_value(json_object_get(estimate, "counted")), 9);
    double accuracy = json_number_value(json_object_get(estimate, "accuracy"));
    ck_assert(accuracy >= 0 && accuracy <= 1 && fabs(accuracy * 9 - round(accuracy * 9)) < 1e-9);
    json_decref(j);
    forget(&a);
}
END_TEST

START_TEST(the_card_says_how_the_adapter_was_made)
{
    xp_card card;
    ag_error err = { 0 };
    bool found;
    adapt_to("model", "carded");
    ck_assert_msg(xp_card_read(&card, "carded", &found, &err) == AG_OK, "%s", err.message);
    ck_assert(found);
    ck_assert_str_eq(card.base_path, "model");
    ck_assert_uint_eq(strlen(card.base_digest), NN_DIGEST_TEXT - 1);
    ck_assert_int_eq(card.n_label, 3);
    ck_assert_str_eq(card.labels[2], "sky");
    ck_assert_int_eq(card.head, META_HEAD_CENTROID);
    ck_assert_int_eq(card.steps, 12);
    ck_close(card.lr, 0.01, 1e-12);
    ck_assert_int_eq(card.max_tokens, 24);                 /* 128, and the network has 24 positions */
    xp_card_release(&card);
}
END_TEST

START_TEST(a_start_gives_its_steps_and_the_command_line_wins_over_it)
{
    adapt_to("model", "start");
    answer a = CALL(NULL, "adapt", "--adapter", "start", "--support", "support.jsonl", "--to", "next", "--json", "--no-estimate");
    expect_done(&a);
    expect(strstr(a.out, "\"steps\":12"), "%s", a.out);
    forget(&a);
    a = CALL(NULL, "adapt", "--adapter", "start", "--support", "support.jsonl", "--to", "next2", "--steps", "0", "--head", "prototype", "--json");
    expect_done(&a);
    expect(strstr(a.out, "\"steps\":0"), "%s", a.out);
    forget(&a);
}
END_TEST

START_TEST(examples_may_be_csv_or_come_from_stdin_and_classes_may_be_unequal)
{
    small_write(".", "s.csv", "q,c\ncall my phone,t\nring me,t\n\"money, please\",f\n");
    answer a = CALL(NULL, "adapt", "--model", "model", "--support", "s.csv", "--text-column", "q", "--label-column", "c", "--to", "csv");
    expect_done(&a);
    expect(strstr(a.messages, "1 label has one example"), "%s", a.messages);
    expect(strstr(a.out, "leave-one-out") && strstr(a.out, "of 2 examples"), "%s", a.out);
    forget(&a);
    a = CALL(SUPPORT, "adapt", "--model", "model", "--support", "-", "--to", "stdin", "--json", "--no-estimate");
    expect_done(&a);
    expect(strstr(a.out, "\"leave_one_out\":null"), "%s", a.out);
    forget(&a);
    ck_assert(is_there("stdin/adapter_config.json") && is_there("stdin/adapter_model.safetensors") && is_there("stdin/metalora.json"));
}
END_TEST

START_TEST(threads_change_nothing_that_is_written)
{
    char command[200];
    answer a = CALL(NULL, "adapt", "--model", "model", "--support", "support.jsonl", "--to", "one", "--steps", "3", "--threads", "1", "-q");
    expect_done(&a);
    forget(&a);
    a = CALL(NULL, "adapt", "--model", "model", "--support", "support.jsonl", "--to", "two", "--steps", "3", "--threads", "3", "-q");
    expect_done(&a);
    forget(&a);
    snprintf(command, sizeof command, "cmp -s one/adapter_model.safetensors two/adapter_model.safetensors");
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* ---- what is refused ---- */

typedef struct refusal {
    const char *file, *text;             /* the support; NULL: support.jsonl as it is */
    const char *words[8];                /* besides --support and --to */
    const char *says;
} refusal;

START_TEST(the_tokenizer_of_a_llama2c_file_lies_beside_it)
{
    nn_tokenizer *k;
    ag_error err = { 0 };
    small_require(mkdir("llama2", 0777) == 0);
    small_write_vocabulary("llama2");
    small_write("llama2", "weights.bin", "");
    ck_assert_msg(xp_model_tokenizer(&k, "llama2/weights.bin", &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(nn_tokenizer_size(k), SMALL_VOCABULARY);
    nn_tokenizer_close(k);
    ck_assert_int_eq(xp_model_tokenizer(&k, "weights.bin", &err), AG_EIO);   /* the folder is the current one */
    expect(strstr(err.message, "has no tokenizer"), "%s", err.message);
}
END_TEST

START_TEST(bad_examples_and_options_end_with_2_and_nothing_is_written)
{
    adapt_to("other", "foreign");
    small_write(".", "plain.txt", "no folder");
    const refusal table[] = {
        { "empty.jsonl", "", { "--model", "model" }, "there are no rows" },
        { "one.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": \"x\"}\n", { "--model", "model" }, "have the label 'x'; expected two" },
        { "utf8.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"\xff\", \"label\": \"y\"}\n", { "--model", "model" }, "utf8.jsonl:2: byte" },
        { "nolabel.jsonl", "{\"text\": \"a\", \"lable\": \"x\"}\n", { "--model", "model" }, "did you mean 'lable'" },
        { "blank.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"a\", \"label\": \"\"}\n", { "--model", "model" }, "blank.jsonl:2: the label is empty" },
        { "s.parquet", "x", { "--model", "model" }, "expected .csv, .tsv or .jsonl" },
        { "missing.jsonl", NULL, { "--model", "model" }, "missing.jsonl" },
        { NULL, NULL, { "--model", "nowhere" }, "there is no 'nowhere'" },
        { NULL, NULL, { NULL }, "--model is missing" },
        { NULL, NULL, { "--model", "model", "--adapter", "nowhere" }, "the adapter 'nowhere'" },
        { NULL, NULL, { "--model", "model", "--adapter", "plain.txt" }, "is no folder" },
        { NULL, NULL, { "--model", "model", "--adapter", "foreign" }, "was made for another model" },
        { NULL, NULL, { "--model", "model", "--head", "linear" }, "expected prototype or centroid" },
        { NULL, NULL, { "--model", "model", "--steps", "-1" }, "expected a whole number from 0" },
        { NULL, NULL, { "--model", "model", "--lr", "0" }, "expected a number above 0" },
        { NULL, NULL, { "--model", "model", "--lr", "nan" }, "expected a number above 0" },
        { NULL, NULL, { "--model", "model", "--max-tokens", "2" }, "expected 3 or more" },
        { NULL, NULL, { "--model", "model", "--text-column", "label" }, "both in 'label'" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const refusal *r = &table[i];
        const char *const *w = r->words, *support = r->file ? r->file : "support.jsonl";
        if (r->text)
            small_write(".", r->file, r->text);
        answer a = CALL(NULL, "adapt", "--to", "never", "--support", support, w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
        expect(a.code == 2 && strstr(a.messages, r->says), "row %d: exit code %d, '%s' does not say '%s'", (int)i, a.code, a.messages, r->says);
        ck_assert(!is_there("never"));
        ck_assert_str_eq(a.out, "");
        forget(&a);
    }
    answer a = CALL(NULL, "adapt", "--model", "model", "--to", "none/never", "--support", "support.jsonl");
    expect(a.code == 2 && strstr(a.messages, "does not exist"), "%s", a.messages);
    forget(&a);
    a = CALL(NULL, "adapt", "--model", "model", "--support", "support.jsonl");
    expect(a.code == 2 && strstr(a.messages, "--to is missing"), "%s", a.messages);
    forget(&a);
    ck_assert_int_eq(left_aside(), 0);
}
END_TEST

START_TEST(a_folder_is_replaced_by_force_only_and_never_one_that_is_not_an_adapters)
{
    adapt_to("model", "there");
    answer a = CALL(NULL, "adapt", "--model", "model", "--support", "support.jsonl", "--to", "there");
    expect(a.code == 2 && strstr(a.messages, "--force"), "%s", a.messages);
    forget(&a);
    a = CALL(NULL, "adapt", "--model", "model", "--support", "support.jsonl", "--to", "there/", "--force", "-q", "--steps", "2");
    expect_done(&a);
    forget(&a);
    small_write("there", "notes.txt", "mine");
    a = CALL(NULL, "adapt", "--model", "model", "--support", "support.jsonl", "--to", "there", "--force");
    expect(a.code == 2 && strstr(a.messages, "'notes.txt'"), "%s", a.messages);
    forget(&a);
    ck_assert(is_there("there/notes.txt") && is_there("there/metalora.json"));
    ck_assert_int_eq(left_aside(), 0);
}
END_TEST

/* ---- predict ---- */

START_TEST(a_bad_line_is_named_and_the_others_are_answered)
{
    adapt_to("model", "lines");
    answer p = CALL("{\"text\": \"call me\"}\n{\"txt\": 1}\n\nnot json\n{\"text\": \"pay \xc3\x28\"}\n{\"text\": \"rain\"}", "predict", "--adapter", "lines");
    ck_assert_int_eq(p.code, 2);
    expect(strstr(p.messages, "stdin:2: there is no text 'text'") && strstr(p.messages, "stdin:4: ") && strstr(p.messages, "stdin:5: ")
           && strstr(p.messages, "3 of 6 lines"), "%s", p.messages);
    int lines = 0;
    for (const char *c = p.out; *c; c++)
        lines += *c == '\n';
    ck_assert_int_eq(lines, 2);
    expect(strstr(p.out, "\"rain\"") && strstr(p.out, "\"call me\""), "%s", p.out);
    forget(&p);
    p = CALL("call me\nring \xff me\n{\"text\": \"x\"}\n", "predict", "--adapter", "lines", "--plain");
    ck_assert_int_eq(p.code, 2);
    expect(strstr(p.messages, "stdin:2: ") && strstr(p.out, "\"{\\\"text\\\": \\\"x\\\"}\""), "%s%s", p.messages, p.out);
    forget(&p);
}
END_TEST

START_TEST(a_text_of_too_many_tokens_is_cut_and_counted_or_refused)
{
    char text[400] = "";
    adapt_to("model", "long");
    for (int i = 0; i < 30; i++)
        strcat(text, "rain ");
    answer p = CALL(NULL, "predict", "--adapter", "long", "--json", "--text", text, "--text", "rain");
    expect_done(&p);
    expect(strstr(p.out, "\"dropped\":8}") && strstr(strchr(p.out, '\n'), "\"rain\""), "%s", p.out);   /* 24 positions, two are special */
    forget(&p);
    p = CALL(NULL, "predict", "--adapter", "long", "--strict", "--text", text);
    expect(p.code == 2 && strstr(p.messages, "8 tokens more than the 24"), "%s", p.messages);
    forget(&p);
}
END_TEST

START_TEST(a_text_has_the_same_answer_alone_and_among_others)
{
    adapt_to("model", "same");
    char many[20000] = "", line[100];
    for (int i = 0; i < 150; i++) {
        snprintf(line, sizeof line, "{\"text\": \"%s %s now %s\"}\n", small_words[5 + i % 12], small_words[5 + i * 7 % 12], i % 3 ? "please the bank is for me to pay money a song" : "");
        strcat(many, line);
    }
    small_write(".", "many.jsonl", many);
    answer p = CALL(NULL, "predict", "--adapter", "same", "many.jsonl", "--threads", "2");
    expect_done(&p);
    char *next = p.out;
    for (int i = 0; i < 150; i++) {
        char *end = strchr(next, '\n');
        *end = '\0';
        json_t *among = parse(next);
        if (i % 10 == 0) {
            answer one = CALL(NULL, "predict", "--adapter", "same", "--json", "--text", json_string_value(json_object_get(among, "text")));
            json_t *alone = parse(one.out);
            ck_assert(json_equal(json_object_get(among, "label"), json_object_get(alone, "label")));
            ck_close(json_number_value(json_object_get(among, "probability")), json_number_value(json_object_get(alone, "probability")), 1e-5);
            json_decref(alone);
            forget(&one);
        }
        json_decref(among);
        next = end + 1;
    }
    ck_assert_str_eq(next, "");
    forget(&p);
}
END_TEST

START_TEST(an_adapter_without_labels_or_for_another_model_is_refused)
{
    adapt_to("model", "right");
    answer p = CALL(NULL, "predict", "--adapter", "right", "--model", "other", "--text", "a");
    expect(p.code == 2 && strstr(p.messages, "was made for another model"), "%s", p.messages);
    forget(&p);
    ck_assert_int_eq(remove("right/metalora.json"), 0);
    p = CALL(NULL, "predict", "--adapter", "right", "--model", "model", "--text", "a");
    expect(p.code == 2 && strstr(p.messages, "has no labels"), "%s", p.messages);
    forget(&p);
    p = CALL(NULL, "predict", "--adapter", "right", "--model", "other", "--text", "a");   /* by the digest in the tensors' file */
    expect(p.code == 2 && strstr(p.messages, "another"), "%s", p.messages);
    forget(&p);
    p = CALL(NULL, "predict", "--text", "a");
    expect(p.code == 2 && strstr(p.messages, "--adapter is missing"), "%s", p.messages);
    forget(&p);
    p = CALL(NULL, "predict", "--adapter", "right", "--model", "model", "gone.jsonl");
    expect(p.code == 2, "%s", p.messages);
    forget(&p);
}
END_TEST

START_TEST(a_damaged_card_is_refused_by_key)
{
    static const char *const table[][2] = {
        { "{", "metalora.json:1" },
        { "{\"format\": \"x\"}", "format: expected metalora-adapter-1" },
        { "{\"format\": \"metalora-adapter-1\", \"labels\": [\"a\"]}", "labels: expected a list of 2" },
        { "{\"format\": \"metalora-adapter-1\", \"head\": \"oval\"}", "head: expected one of prototype centroid" },
        { "{\"format\": \"metalora-adapter-1\", \"lr\": -1}", "lr: expected a number above 0" },
        { "{\"format\": \"metalora-adapter-1\", \"steps\": 1.5}", "steps: expected a whole number" },
        { "{\"format\": \"metalora-adapter-1\", \"n_rate\": 3}", "metalora_rates.safetensors" },
        { "{\"format\": \"metalora-adapter-1\", \"labels\": [\"a\", \"b\"]}", "classifier.weight" },   /* the layer has three classes */
    };
    adapt_to("model", "card");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        small_write("card", "metalora.json", table[i][0]);
        answer p = CALL(NULL, "predict", "--adapter", "card", "--model", "model", "--text", "a");
        expect(p.code == 2 && strstr(p.messages, table[i][1]), "row %d: %d, '%s'", (int)i, p.code, p.messages);
        forget(&p);
    }
}
END_TEST

/* One line in, its answer out, before the next is given. */
START_TEST(from_a_pipe_each_line_is_answered_at_once)
{
    int in[2], out[2];
    char line[2000];
    adapt_to("model", "pipe");
    ck_assert(pipe(in) == 0 && pipe(out) == 0);
    pid_t child = fork();
    if (child == 0) {
        const char *const argv[] = { "metalora", "predict", "--adapter", "pipe" };
        dup2(in[0], 0);
        close(in[1]);
        close(out[0]);
        FILE *f = fdopen(out[1], "w");
        int code = xp_cli(4, argv, f, stderr);
        fclose(f);
        _exit(code);
    }
    close(in[0]);
    close(out[1]);
    FILE *answers = fdopen(out[0], "r");
    for (int i = 0; i < 3; i++) {
        snprintf(line, sizeof line, "{\"text\": \"line %d\"}\n", i);
        ck_assert_int_eq(write(in[1], line, strlen(line)), (ssize_t)strlen(line));
        ck_assert_ptr_nonnull(fgets(line, sizeof line, answers));
        json_t *j = parse(line);
        ck_assert_int_eq(json_string_value(json_object_get(j, "text"))[5], '0' + i);
        json_decref(j);
    }
    close(in[1]);
    ck_assert_ptr_null(fgets(line, sizeof line, answers));
    int status;
    waitpid(child, &status, 0);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    fclose(answers);
}
END_TEST

/* ---- export ---- */

static void write_run(const char *model, const char *more)
{
    char yaml[2000];
    small_write(".", "tasks.csv", "");
    FILE *f = fopen("tasks.csv", "w");
    fprintf(f, "text,label\n");
    for (int c = 0; c < 9; c++)
        for (int i = 0; i < 6; i++)
            fprintf(f, "%s the %s %c,c%d\n", small_words[5 + c], small_words[5 + (c + i) % 12], 'a' + i, c);
    ck_assert_int_eq(fclose(f), 0);
    snprintf(yaml, sizeof yaml, "name: small\ntasks: {source: text, path: tasks.csv, way: 2, shot: 2, query: 2, class_split: [4, 2, 3]}\n"
             "model: {kind: network, path: %s, max_tokens: 12, head: centroid, head_scale: 7.0}\nadapter: {kind: lora, rank: 2, lr_ratio: 1.0}\n"
             "inner: {lr: 0.05, steps: 1%s}\nouter: {algorithm: fomaml, meta_batch: 2, iterations: 3, lr: 0.01}\n"
             "eval: {episodes: 2, steps: 2, query: 2}\n", model, more);
    small_write(".", "run.yaml", yaml);
}

static void run_small(const char *out, const char *more)
{
    write_run("model", more);
    answer a = CALL(NULL, "run", "run.yaml", "--out", out, "-q", "--force");
    expect_done(&a);
    forget(&a);
}

START_TEST(a_runs_start_is_exported_and_adapted_from)
{
    ag_error err = { 0 };
    xp_card card;
    bool found;
    nn_network *net;
    meta_adapter *adapter;
    ag_real *values, *drawn;
    run_small("run.h5", "");
    answer a = CALL(NULL, "export", "run.h5", "--to", "exported");
    expect_done(&a);
    expect(strstr(a.messages, "wrote exported"), "%s", a.messages);
    forget(&a);
    ck_assert_int_eq(xp_card_read(&card, "exported", &found, &err), AG_OK);
    ck_assert_int_eq(card.n_label, 0);
    ck_assert_int_eq(card.steps, 2);
    ck_assert_int_eq(card.max_tokens, 12);
    ck_close(card.head_scale, 7, 1e-12);
    ck_close(card.lr, 0.05, 1e-6);
    xp_card_release(&card);
    ck_assert_int_eq(nn_network_open(&net, "model", NULL, &err), AG_OK);
    ck_assert_msg(meta_peft_load(&adapter, &values, "exported", net, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(meta_adapter_describe(adapter)->rank, 2);
    drawn = malloc((size_t)meta_adapter_values(adapter) * sizeof *drawn);
    meta_adapter_draw(adapter, 0, drawn);
    double moved = 0;                                      /* B starts at 0 and has been learned */
    for (int64_t i = 0; i < meta_adapter_values(adapter); i++)
        moved += drawn[i] == 0 ? fabs((double)values[i]) : 0;
    ck_assert_double_gt(moved, 1e-3);
    free(drawn);
    ag_free(values);
    meta_adapter_free(adapter);
    nn_network_close(net);
    a = CALL(NULL, "adapt", "--adapter", "exported", "--support", "support.jsonl", "--to", "from", "--json");
    expect_done(&a);
    expect(strstr(a.out, "\"steps\":2,"), "%s", a.out);
    forget(&a);
}
END_TEST

START_TEST(learned_rates_travel_with_the_start)
{
    ag_error err = { 0 };
    xp_card card;
    bool found;
    run_small("rates.h5", ", learn_lr: true, lr_scope: tensor");
    answer a = CALL(NULL, "export", "rates.h5", "--to", "rated", "-q");
    expect_done(&a);
    forget(&a);
    ck_assert_int_eq(xp_card_read(&card, "rated", &found, &err), AG_OK);
    ck_assert_int_gt(card.n_rate, 4);
    ck_assert_ptr_nonnull(card.rates);
    bool differ = false;
    for (int64_t i = 1; i < card.n_rate; i++)
        differ |= card.rates[i] != card.rates[0];
    ck_assert(differ);
    xp_card_release(&card);
    a = CALL(NULL, "adapt", "--adapter", "rated", "--support", "support.jsonl", "--to", "rated-task", "-q");
    expect_done(&a);
    forget(&a);
    ck_assert(is_there("rated-task/metalora_rates.safetensors"));
    a = CALL(NULL, "adapt", "--adapter", "rated", "--support", "support.jsonl", "--to", "rated-task", "-q", "-f", "--head", "prototype");
    expect_done(&a);                                       /* the head's rates are left over */
    forget(&a);
}
END_TEST

START_TEST(export_refuses_what_has_no_adapter_is_not_finished_or_stands_on_another_model)
{
    run_small("fine.h5", "");
    answer a = CALL(NULL, "export", "fine.h5", "--to", "never", "--model", "other");
    expect(a.code == 2 && strstr(a.messages, "was trained on another model"), "%s", a.messages);
    forget(&a);
    a = CALL(NULL, "export", "fine.h5", "--to", "never", "--model", "decoder");
    expect(a.code == 2, "%d %s", a.code, a.messages);
    forget(&a);
    a = CALL(NULL, "export", "gone.h5", "--to", "never");
    expect(a.code == 2 && strstr(a.messages, "gone.h5"), "%s", a.messages);
    forget(&a);
    a = CALL(NULL, "export", "support.jsonl", "--to", "never");
    expect(a.code == 2, "%s", a.messages);
    forget(&a);
    small_write(".", "sine.yaml", "name: s\ntasks: {source: sinusoid, shot: 5, query: 5}\nmodel: {kind: mlp, hidden: [8], init: he}\n"
                "inner: {lr: 0.01, steps: 1}\nouter: {algorithm: maml, meta_batch: 2, iterations: 2}\neval: {episodes: 2, steps: 1}\n");
    a = CALL(NULL, "run", "sine.yaml", "-q", "--out", "sine.h5");
    expect_done(&a);
    forget(&a);
    a = CALL(NULL, "export", "sine.h5", "--to", "never");
    expect(a.code == 2 && strstr(a.messages, "has no adapter of a network"), "%s", a.messages);
    forget(&a);
    ck_assert(!is_there("never"));
    ck_assert_int_eq(left_aside(), 0);
}
END_TEST

/* ---- the real model ---- */

START_TEST(minilm_tells_five_real_intents_apart)
{
    static const char *const texts[][5] = {
        { "what is the balance of my account", "how much money do i have in checking", "tell me my bank balance", "how much is in my savings", "show me what i have in my account" },
        { "will it rain tomorrow", "what is the weather like in boston", "do i need an umbrella today", "how hot will it be this weekend", "give me the forecast for friday" },
        { "play some jazz", "put on my favourite playlist", "i want to hear the beatles", "start the music please", "play the next song" },
        { "book a table for two tonight", "reserve a table at the italian place", "i need a dinner reservation for four", "get me a table at seven", "make a reservation at the steakhouse" },
        { "set an alarm for six am", "wake me up at seven", "i need an alarm for tomorrow morning", "put an alarm on for noon", "can you set my alarm to 5:30" },
    };
    static const char *const asked[5] = { "what's my current balance", "is it going to snow tonight", "play me a song by queen", "can you reserve a table for us on sunday", "wake me at half past eight" };
    const char *models = getenv("METALORA_MODELS");
    char text[4000] = "", line[300];
    if (!models || !*models)
        return;
    for (int c = 0; c < 5; c++)
        for (int i = 0; i < 5; i++) {
            snprintf(line, sizeof line, "{\"text\": \"%s\", \"label\": \"intent %d\"}\n", texts[c][i], c);
            strcat(text, line);
        }
    answer a = CALL(text, "adapt", "--model", "minilm", "--support", "-", "--to", "intents", "--json");
    expect_done(&a);
    json_t *j = parse(a.out), *estimate = json_object_get(j, "leave_one_out");
    ck_assert_int_eq(json_integer_value(json_object_get(estimate, "counted")), 25);
    ck_assert_double_ge(json_number_value(json_object_get(estimate, "accuracy")), 0.9);
    json_decref(j);
    forget(&a);
    for (int c = 0; c < 5; c++) {
        a = CALL(NULL, "predict", "--adapter", "intents", "--json", "--text", asked[c]);
        expect_done(&a);
        snprintf(line, sizeof line, "\"label\":\"intent %d\"", c);
        expect(strstr(a.out, line), "%s", a.out);
        forget(&a);
    }
}
END_TEST

/* Built by live_adapt.py's wish: a folder with a small network that stays. */
static int make_network(const char *path, const char *architecture)
{
    small_network_write(path, architecture, 7);
    return 0;
}

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        adapt_writes_an_adapter_that_predict_labels_its_own_examples_with, adapt_tells_what_it_did_as_one_json_object,
        the_card_says_how_the_adapter_was_made, a_start_gives_its_steps_and_the_command_line_wins_over_it,
        examples_may_be_csv_or_come_from_stdin_and_classes_may_be_unequal, threads_change_nothing_that_is_written,
        the_tokenizer_of_a_llama2c_file_lies_beside_it, bad_examples_and_options_end_with_2_and_nothing_is_written,
        a_folder_is_replaced_by_force_only_and_never_one_that_is_not_an_adapters,
        a_bad_line_is_named_and_the_others_are_answered, a_text_of_too_many_tokens_is_cut_and_counted_or_refused,
        a_text_has_the_same_answer_alone_and_among_others, an_adapter_without_labels_or_for_another_model_is_refused,
        a_damaged_card_is_refused_by_key, from_a_pipe_each_line_is_answered_at_once, a_runs_start_is_exported_and_adapted_from,
        learned_rates_travel_with_the_start, export_refuses_what_has_no_adapter_is_not_finished_or_stands_on_another_model,
        minilm_tells_five_real_intents_apart,
    };
    if (argc == 4 && strcmp(argv[1], "network") == 0)
        return make_network(argv[2], argv[3]);
    setup();
    int failed = test_run(__FILE__, tests, sizeof tests / sizeof *tests, 300);
    teardown();
    return failed;
}
