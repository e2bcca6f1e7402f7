/* Whole runs on running text: a folder of small texts and a small random decoder, from the configuration to what is shown. */
#include "tests/experiments/small_network.h"
#include "tests/experiments/small_runs.h"

enum { TASKS = 6, LINES = 40 };

static char folder[80];                      /* models llama and bert, texts */

static void in_folder(char path[300], const char *name)
{
    snprintf(path, 300, "%s/%s", folder, name);
}

/* Each task says its own three words over and over: what comes next is learned from little. */
static void write_texts(void)
{
    char path[300], name[40], text[LINES * 40];
    in_folder(path, "texts");
    mkdir(path, 0777);
    for (int task = 0; task < TASKS; task++) {
        size_t used = 0;
        for (int line = 0; line < LINES; line++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s %s %s\n", small_words[5 + task], small_words[11 + task],
                                     small_words[17 + (task + line % 2) % 6]);
        snprintf(name, sizeof name, "%d.txt", task);
        small_write(path, name, text);
    }
}

static void remove_file(const char *of, const char *name)
{
    char path[500];
    snprintf(path, sizeof path, "%s/%s/%s", folder, of, name);
    remove(path);
}

static void setup(void)
{
    char path[300];
    snprintf(folder, sizeof folder, "language-%ld", (long)getpid());
    mkdir(folder, 0777);
    in_folder(path, "llama");
    small_network_write(path, "llama", 3);
    in_folder(path, "bert");
    small_network_write(path, "bert", 3);
    write_texts();
}

static void teardown(void)
{
    static const char *const models[] = { "llama", "bert" }, *const parts[] = { "model.safetensors", "config.json", "vocab.txt" };
    char name[300];
    for (int i = 0; i < 6; i++)
        remove_file(models[i / 3], parts[i % 3]);
    for (int task = 0; task < TASKS; task++) {
        snprintf(name, sizeof name, "%d.txt", task);
        remove_file("texts", name);
    }
    for (int i = 0; i < 3; i++) {
        in_folder(name, i < 2 ? models[i] : "texts");
        rmdir(name);
    }
    rmdir(folder);
}

/* The configuration with this model, these lines for `outer` and more. */
static const char *yaml_of(const char *model, const char *outer, const char *more)
{
    static char yaml[2000];
    snprintf(yaml, sizeof yaml,
             "name: lm\ntasks: {source: lm, path: %s/texts, shot: 2, query: 2, class_split: [3, 1, 2]}\n"
             "model: {kind: network, path: %s/%s, max_tokens: 8}\n"
             "adapter: {kind: lora, rank: 2, targets: [q_proj, v_proj, lm_head]}\n"
             "inner: {lr: 0.5, steps: 2}\nouter: {%s, meta_batch: 4, chunk: 2}\n"
             "eval: {episodes: 6, steps: 4%s}\n", folder, folder, model, outer, more);
    return yaml;
}

static double mean_loss(const xp_run *r, int64_t step, double *accuracy)
{
    xp_summary loss, right;
    xp_run_score(&r->protocols[0], step, &loss, &right);
    if (accuracy)
        *accuracy = right.mean;
    return loss.mean;
}

START_TEST(a_run_on_running_text_learns_and_says_its_losses_in_nats_per_token)
{
    files f;
    char digest[65];
    xp_run r;
    ag_error err = { 0 };
    double accuracy[2];
    name_files(&f, "language");
    must_run(yaml_of("llama", "algorithm: maml, lr: 0.02, iterations: 60", ", validate_every: 20, validation_episodes: 4, select: best"), NULL, &f,
             (xp_run_options){ 0 }, digest);
    ck_assert_msg(xp_run_read(&r, f.out, &err) == AG_OK, "%s", err.message);
    const xp_protocol *p = &r.protocols[0];
    ck_assert_str_eq(p->loss_unit, "nats per token");
    ck_assert_ptr_nonnull(p->accuracy);
    double before = mean_loss(&r, 0, &accuracy[0]), after = mean_loss(&r, 4, &accuracy[1]);
    ck_assert_msg(before > 1 && before < 20 && after < before - 0.5 && accuracy[1] > accuracy[0] && accuracy[1] <= 1,
                  "%g nats before, %g after; right %g and %g", before, after, accuracy[0], accuracy[1]);
    ck_assert_msg(r.train.loss[59] < r.train.loss[0] - 0.5, "training: %g, then %g", r.train.loss[0], r.train.loss[59]);
    ck_assert(r.train.accuracy[59] >= 0 && r.train.accuracy[59] <= 1 && r.validation.n == 4 && r.validation.accuracy[3] >= 0);
    xp_run_release(&r);
    forget(&f);
}
END_TEST

START_TEST(threads_change_no_bit_of_a_run_on_running_text)
{
    static const char *const algorithms[] = { "maml", "reptile" };
    char digest[2][65], outer[100];
    files f;
    for (int a = 0; a < 2; a++) {
        snprintf(outer, sizeof outer, "algorithm: %s, lr: 0.01, iterations: 3", algorithms[a]);
        for (int i = 0; i < 2; i++) {
            name_files(&f, "threads");
            must_run(yaml_of("llama", outer, ""), NULL, &f, (xp_run_options){ .threads = 1 + i }, digest[i]);
            forget(&f);
        }
        ck_assert_str_eq(digest[0], digest[1]);
    }
}
END_TEST

static void refused(const char *yaml, const char *set, const char *part)
{
    files f;
    ag_error err = { 0 };
    name_files(&f, "refused");
    ck_assert_int_eq(run(yaml, set, &f, (xp_run_options){ 0 }, &err), AG_ECONFIG);
    ck_assert_msg(strstr(err.message, part), "'%s' does not say '%s'", err.message, part);
    forget(&f);
}

START_TEST(what_running_text_cannot_be_used_with_is_refused)
{
    refused(yaml_of("bert", "algorithm: maml, iterations: 3", ""), "adapter.targets=[query]", "does not predict tokens");
    refused(yaml_of("llama", "algorithm: maml, iterations: 3", ", tests: [banking77/5]"), NULL, "eval.tests are of classes");
    refused(yaml_of("llama", "algorithm: maml, iterations: 3", ""), "model.head=prototype", "has no classes");
    refused(yaml_of("llama", "algorithm: protonet, iterations: 3", ""), NULL, "does not work on tasks of the source 'lm'");
}
END_TEST

/* ---- a real model ---- */

/* Written by the model itself, word by word the likeliest (SOURCE_stories260K.md beside it). */
static const char STORY[] =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. "
    "She wanted to play with it, but it was too high.\nLily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know "
    "what to do. She said, \"I want to play with your ball, but I can't find it.\"\n";

/* llama2.c's tokenizer file must be named tokenizer.bin. */
static void copy_file(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    ck_assert(in && out);
    for (int c = fgetc(in); c != EOF; c = fgetc(in))
        fputc(c, out);
    fclose(in);
    fclose(out);
}

START_TEST(stories260k_says_what_comes_next_in_its_own_story)
{
    const char *data = getenv("METALORA_DATA");
    char from[600], path[300], yaml[2000], digest[65];
    files f;
    xp_run r;
    ag_error err = { 0 };
    if (!data)
        return;
    in_folder(path, "stories");
    mkdir(path, 0777);
    snprintf(from, sizeof from, "%s/models/stories260K/stories260K.bin", data);
    in_folder(path, "stories/stories260K.bin");
    copy_file(from, path);
    snprintf(from, sizeof from, "%s/models/stories260K/tok512.bin", data);
    in_folder(path, "stories/tokenizer.bin");
    copy_file(from, path);
    in_folder(path, "story");
    mkdir(path, 0777);
    small_write(path, "lily.txt", STORY);
    snprintf(yaml, sizeof yaml, "tasks: {source: lm, path: %s/story, shot: 1, query: 1}\n"
             "model: {kind: network, path: %s/stories/stories260K.bin, max_tokens: 64}\nouter: {algorithm: none, iterations: 0}\n"
             "eval: {episodes: 10, steps: 0}\n", folder, folder);
    name_files(&f, "stories");
    must_run(yaml, NULL, &f, (xp_run_options){ 0 }, digest);
    ck_assert_msg(xp_run_read(&r, f.out, &err) == AG_OK, "%s", err.message);
    double accuracy, loss = mean_loss(&r, 0, &accuracy);
    ck_assert_msg(loss < 1.2968 && accuracy > 0.75,   /* 1.2968: its validation loss, of the same file */
                  "%g nats per token, right %g", loss, accuracy);
    xp_run_release(&r);
    forget(&f);
    remove_file("story", "lily.txt");
    remove_file("stories", "stories260K.bin");
    remove_file("stories", "tokenizer.bin");
    in_folder(path, "story");
    rmdir(path);
    in_folder(path, "stories");
    rmdir(path);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { a_run_on_running_text_learns_and_says_its_losses_in_nats_per_token,
                                   threads_change_no_bit_of_a_run_on_running_text, what_running_text_cannot_be_used_with_is_refused,
                                   stories260k_says_what_comes_next_in_its_own_story };
    setup();
    int failed = test_run(__FILE__, tests, sizeof tests / sizeof *tests, 300);
    teardown();
    return failed;
}
