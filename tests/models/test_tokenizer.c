/* Tokenizers against golden ids (golden_tokenizer.py), and everything that can go wrong with their files and arguments.
 *
 *     models_tokenizer encode TOKENIZER TEXTS > RESULTS       for live_tokenizer.py: see drive()
 *     models_tokenizer characters                             those that utf8proc's version of Unicode has, a number a line */
#include "models/tokenizer/tokenizer.h"
#include "models/tokenizer/tokenizer_internal.h"
#include "tests/check.h"
#include "tests/failing_allocator.h"

#include <time.h>
#include <unistd.h>
#include <utf8proc.h>

#define FOLDER TEST_DIR "/tokenizers/"

enum { IDS = 4096, TEXT = 16384, TEXTS = 200 };

static nn_tokenizer *open_or_fail(const char *path)
{
    nn_tokenizer *k;
    ag_error err = { 0 };
    expect(nn_tokenizer_open(&k, path, &err) == AG_OK, "%s", err.message);
    return k;
}

static int64_t encode(const nn_tokenizer *k, const char *text, size_t length, int32_t *ids, int64_t max, bool plain)
{
    ag_error err = { 0 };
    nn_encoding e = { .ids = ids, .max = max, .plain = plain };
    expect(nn_tokenizer_encode(k, text, length, &e, &err) == AG_OK, "%s", err.message);
    return e.n;
}

/* ---- golden.txt ---- */

typedef struct golden { char *texts[TEXTS]; size_t lengths[TEXTS]; int n; int cases; int compared; } golden;

/* Undoes golden_tokenizer.py's written(). */
static size_t unescape(char *s)
{
    size_t n = 0;
    for (char *p = s; *p; n++) {
        unsigned byte = (unsigned char)*p;
        const bool escaped = *p == '\\';
        expect(!escaped || sscanf(p, "\\x%2x", &byte) == 1, "golden.txt: '%s'", p);
        p += escaped ? 4 : 1;
        s[n] = (char)byte;
    }
    s[n] = '\0';
    return n;
}

static void compare_decoded(const nn_tokenizer *k, const char *name, int text, const int32_t *ids, int64_t n, const char *expected,
                            size_t length)
{
    static char out[TEXT];
    size_t got;
    ag_error err = { 0 };
    expect(nn_tokenizer_decode(k, ids, n, out, sizeof out, &got, &err) == AG_OK, "%s", err.message);
    expect(got == length && memcmp(out, expected, length) == 0, "%s, text %d decodes to '%s' (%zu bytes), expected '%s' (%zu)", name, text,
           out, got, expected, length);
}

static void compare_ids(const char *name, int text, const int32_t *got, int64_t n, const int32_t *expected, int64_t m)
{
    for (int64_t i = 0; i < n && i < m; i++)
        expect(got[i] == expected[i], "%s, text %d: id %d is %d, expected %d", name, text, (int)i, got[i], expected[i]);
    expect(n == m, "%s, text %d: %d ids, expected %d", name, text, (int)n, (int)m);
}

/* "NUMBER ids;TEXT" */
static void compare_line(const golden *g, const nn_tokenizer *k, const char *name, int before, int after, char *line)
{
    static int32_t expected[IDS], got[IDS];
    char *p, *decoded = strchr(line, ';');
    const int text = (int)strtol(line, &p, 10);
    int64_t m = 0;
    while (p + 1 < decoded && m < IDS)
        expected[m++] = (int32_t)strtol(p, &p, 10);
    const int64_t n = encode(k, g->texts[text], g->lengths[text], got, IDS, false);
    compare_ids(name, text, got, n, expected, m);
    const int64_t plain = encode(k, g->texts[text], g->lengths[text], got, IDS, true);
    compare_ids(name, text, got, plain, expected + before, m - before - after);
    if (strcmp(decoded + 1, "=") == 0)
        compare_decoded(k, name, text, expected, m, g->texts[text], g->lengths[text]);
    else {
        const size_t length = unescape(decoded + 1);
        compare_decoded(k, name, text, expected, m, decoded + 1, length);
    }
}

static void walk_golden(golden *g)
{
    static char line[TEXT];
    char name[64] = "", path[512];
    int before = 0, after = 0;
    nn_tokenizer *k = NULL;
    FILE *f = fopen(FOLDER "golden.txt", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "text ", 5) == 0) {
            g->texts[g->n] = malloc(strlen(line));
            strcpy(g->texts[g->n], line + 5);
            g->lengths[g->n] = unescape(g->texts[g->n]);
            g->n++;
        } else if (sscanf(line, "case %63s %d %d", name, &before, &after) == 3) {
            nn_tokenizer_close(k);
            snprintf(path, sizeof path, FOLDER "%s", name);
            k = open_or_fail(path);
            g->cases++;
        } else {
            compare_line(g, k, name, before, after, line);
            g->compared++;
        }
    }
    nn_tokenizer_close(k);
    fclose(f);
}

START_TEST(ids_and_decoded_texts_are_those_of_the_package_and_of_run_c)
{
    golden g = { .n = 0 };
    walk_golden(&g);
    ck_assert_int_eq(g.cases, 11);
    ck_assert_int_ge(g.n, 70);
    ck_assert_int_eq(g.compared, g.cases * g.n);
    for (int i = 0; i < g.n; i++)
        free(g.texts[i]);
}
END_TEST

/* ---- the interface ---- */

START_TEST(a_tokenizer_answers_about_its_vocabulary)
{
    static const char *const kinds[][2] = { { "wordpiece.json", "wordpiece" }, { "vocab.txt", "wordpiece" }, { "gpt2.json", "byte-level bpe" },
                                            { "tokenizer.bin", "llama2.c bpe" } };
    char path[512];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        snprintf(path, sizeof path, FOLDER "%s", kinds[i][0]);
        nn_tokenizer *k = open_or_fail(path);
        ck_assert_str_eq(nn_tokenizer_kind(k), kinds[i][1]);
        int64_t tokens = 0;
        for (int32_t id = 0; id < nn_tokenizer_size(k); id++) {
            size_t length;
            const char *token = nn_tokenizer_token(k, id, &length);
            tokens += token != NULL;
            expect(!token || (strlen(token) == length && nn_tokenizer_id(k, token) == id), "%s: token %d is '%s'", path, id, token);
        }
        ck_assert_int_gt(tokens, 100);
        ck_assert_int_ge(nn_tokenizer_size(k) - tokens, 0);
        ck_assert_ptr_null(nn_tokenizer_token(k, -1, NULL));
        ck_assert_ptr_null(nn_tokenizer_token(k, (int32_t)nn_tokenizer_size(k), NULL));
        ck_assert_int_eq(nn_tokenizer_id(k, "no such token"), -1);
        nn_tokenizer_close(k);
    }
    nn_tokenizer_close(NULL);
}
END_TEST

START_TEST(an_added_token_outside_the_vocabulary_has_its_id)
{
    nn_tokenizer *k = open_or_fail(FOLDER "cased.json");
    const int32_t id = nn_tokenizer_id(k, "<right>");
    size_t length;
    ck_assert_int_ge(id, 0);
    ck_assert_str_eq(nn_tokenizer_token(k, id, &length), "<right>");
    nn_tokenizer_close(k);
}
END_TEST

START_TEST(what_finds_no_room_is_counted_and_the_special_tokens_stay)
{
    nn_tokenizer *k = open_or_fail(FOLDER "wordpiece.json");
    const char *text = "the quick dog transferring unaffable!";
    int32_t all[64], some[64];
    const int64_t n = encode(k, text, strlen(text), all, 64, false);
    for (int64_t max = 2; max <= n + 1; max++) {
        ag_error err = { 0 };
        nn_encoding e = { .ids = some, .max = max };
        memset(some, 0xff, sizeof some);
        ck_assert_int_eq(nn_tokenizer_encode(k, text, strlen(text), &e, &err), AG_OK);
        ck_assert_int_eq(e.n, max < n ? max : n);
        ck_assert_int_eq(e.dropped, max < n ? n - max : 0);
        ck_assert_mem_eq(some, all, (size_t)(e.n - 1) * sizeof *all);
        ck_assert_int_eq(some[e.n - 1], nn_tokenizer_id(k, "[SEP]"));
        ck_assert_int_eq(some[max < n ? max : n], -1);
    }
    nn_encoding e = { .ids = NULL, .max = 0, .plain = true };
    ck_assert_int_eq(nn_tokenizer_encode(k, text, strlen(text), &e, NULL), AG_OK);
    ck_assert_int_eq(e.dropped, n - 2);
    ck_assert_int_eq(e.n, 0);
    nn_tokenizer_close(k);
}
END_TEST

static void refuse_encoding(const nn_tokenizer *k, const char *text, size_t length, int64_t max, ag_code code, const char *message)
{
    int32_t ids[8];
    ag_error err = { 0 };
    nn_encoding e = { .ids = ids, .max = max };
    ck_assert_int_eq(nn_tokenizer_encode(k, text, length, &e, &err), code);
    expect(strstr(err.message, message), "'%s', expected '%s'", err.message, message);
}

START_TEST(bad_arguments_are_refused)
{
    nn_tokenizer *k = open_or_fail(FOLDER "wordpiece.json");
    refuse_encoding(k, "the", 3, 1, AG_EINVAL, "room for 1 tokens");
    refuse_encoding(k, NULL, 3, 8, AG_EINVAL, "NULL");
    refuse_encoding(NULL, "the", 3, 8, AG_EINVAL, "NULL");
    ag_error err = { 0 };
    ck_assert_int_eq(nn_tokenizer_open(NULL, FOLDER "wordpiece.json", &err), AG_EINVAL);
    nn_tokenizer *none = k;
    ck_assert_int_eq(nn_tokenizer_open(&none, NULL, NULL), AG_EINVAL);
    ck_assert_ptr_null(none);
    nn_tokenizer_close(k);
}
END_TEST

START_TEST(invalid_utf8_names_its_byte)
{
    static const struct { const char *text; const char *message; } bad[] = {
        { "ab\xff", "byte 2 is 0xff" }, { "\x80", "byte 0 is 0x80" }, { "a\xc3", "byte 1 is 0xc3" }, { "\xc0\x80", "byte 0 is 0xc0" },
        { "\xe0\x9f\xbf", "byte 0" }, { "\xed\xa0\x80", "byte 0 is 0xed" }, { "xy\xf4\x90\x80\x80", "byte 2 is 0xf4" },
        { "\xe4\xb8 ", "byte 0 is 0xe4" }, { "\xf0\x9f\x98", "byte 0 is 0xf0" }, { "\xf5\x80\x80\x80", "byte 0 is 0xf5" },
    };
    static const char *const files[] = { "wordpiece.json", "gpt2.json", "tokenizer.bin" };
    char path[512];
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        snprintf(path, sizeof path, FOLDER "%s", files[f]);
        nn_tokenizer *k = open_or_fail(path);
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
            refuse_encoding(k, bad[i].text, strlen(bad[i].text), 8, AG_EDATA, bad[i].message);
        nn_tokenizer_close(k);
    }
}
END_TEST

START_TEST(decoding_needs_room_for_the_text_and_a_zero)
{
    nn_tokenizer *k = open_or_fail(FOLDER "gpt2.json");
    const int32_t ids[] = { nn_tokenizer_id(k, "a"), 99999, -5, nn_tokenizer_id(k, "Ġ") };
    char out[8];
    size_t n;
    ag_error err = { 0 };
    ck_assert_int_ge(ids[0], 0);
    ck_assert_int_eq(nn_tokenizer_decode(k, ids, 4, out, 3, &n, &err), AG_OK);
    ck_assert_str_eq(out, "a ");       /* ids that are none are left out */
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(nn_tokenizer_decode(k, ids, 4, out, 2, &n, &err), AG_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "2 bytes"));
    ck_assert_int_eq(nn_tokenizer_decode(k, ids, 0, out, 0, &n, NULL), AG_EINVAL);
    ck_assert_int_eq(nn_tokenizer_decode(k, NULL, 0, out, 1, &n, NULL), AG_OK);
    ck_assert_uint_eq(n, 0);
    nn_tokenizer_close(k);
}
END_TEST

/* ---- long texts ---- */

/* Longer than any scratch memory on the stack; pieces of it must give the ids of the whole. */
START_TEST(a_text_of_any_length_gives_the_ids_of_its_words)
{
    static const char *const files[] = { "wordpiece.json", "gpt2.json", "qwen2.json", "llama3.json" };
    enum { REPEAT = 20000 };
    static const char one[] = " caf\xc3\xa9 the dog";
    const size_t length = sizeof one - 1;
    char *text = malloc(REPEAT * length), path[512];
    int32_t few[64], *many = malloc(REPEAT * 64 * sizeof *many);
    for (int i = 0; i < REPEAT; i++)
        memcpy(text + (size_t)i * length, one, length);
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        snprintf(path, sizeof path, FOLDER "%s", files[f]);
        nn_tokenizer *k = open_or_fail(path);
        const int64_t n = encode(k, one, length, few, 64, true);
        ck_assert_int_eq(encode(k, text, REPEAT * length, many, REPEAT * 64, true), n * REPEAT);
        for (int64_t i = 0; i < n * REPEAT; i++)
            expect(many[i] == few[i % n], "%s: id %d", files[f], (int)i);
        nn_tokenizer_close(k);
    }
    free(text);
    free(many);
}
END_TEST

/* n letters that merge in pairs, those in pairs and so on: one word, far more than fits on the stack. */
START_TEST(a_word_of_any_length_merges)
{
    enum { N = 1 << 17 };
    static const char *const files[] = { "gpt2.json", "tokenizer.bin" };
    char *text = malloc(N), path[512];
    int32_t *ids = malloc((N + 1) * sizeof *ids);
    memset(text, 'a', N);
    for (int f = 0; f < 2; f++) {
        snprintf(path, sizeof path, FOLDER "%s", files[f]);
        nn_tokenizer *k = open_or_fail(path);
        const int64_t n = encode(k, text, N, ids, N + 1, true);
        int64_t bytes = 0;
        for (int64_t i = 0; i < n; i++) {
            size_t length;
            ck_assert_ptr_nonnull(nn_tokenizer_token(k, ids[i], &length));
            bytes += (int64_t)length;
        }
        const bool two = nn_tokenizer_token(k, ids[0], NULL)[0] != ' ';      /* as which byte level writes the space in front */
        ck_assert_int_eq(bytes, N + (two ? 2 : 1));
        nn_tokenizer_close(k);
    }
    free(text);
    free(ids);
}
END_TEST

/* ---- damaged files ---- */

static char scratch_path[64];

static const char *write_file(const char *ending, const void *data, size_t length)
{
    snprintf(scratch_path, sizeof scratch_path, "tokenizer-test-%ld%s", (long)getpid(), ending);
    FILE *f = fopen(scratch_path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, length, f), length);
    fclose(f);
    return scratch_path;
}

static void refuse_file(const char *ending, const void *data, size_t length, ag_code code, const char *message)
{
    nn_tokenizer *k;
    ag_error err = { 0 };
    const ag_code got = nn_tokenizer_open(&k, write_file(ending, data, length), &err);
    unlink(scratch_path);
    expect(got == code && !k, "%s '%s', expected %s '%s'", ag_code_name(got), err.message, ag_code_name(code), message);
    expect(strstr(err.message, message), "'%s', expected '%s'", err.message, message);
}

static void refuse_json(const char *text, const char *message)
{
    refuse_file(".json", text, strlen(text), AG_EDATA, message);
}

#define WP(rest) "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":0,\"a\":1}}" rest "}"
#define BPE(model, rest) "{\"model\":{\"type\":\"BPE\"," model "},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}" rest "}"
#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}"

START_TEST(a_tokenizer_json_that_is_wrong_or_not_known_is_refused_by_name)
{
    refuse_json("", "line 1");
    refuse_json("{", "line 1");
    refuse_json("[]", "model is not there");
    refuse_json("{\"model\":{\"type\":\"Unigram\"}}", "model is Unigram, expected WordPiece or BPE");
    refuse_json("{\"model\":{\"type\":\"WordPiece\"}}", "model.vocab is not there");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "a vocabulary of 0 ids");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", "unk_token '[UNK]' is not in");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0,\"b\":0}}}", "same id 0");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":-1}}}", "out of range");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":99999999999}}}", "out of range");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":\"0\"}}}", "no integer");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0,\"a\":1}}}", "1 tokens twice");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0,}}}", "byte 44: model.vocab is not tokens");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0 \"b\":1}}}", "model.vocab is not tokens");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"\\x\":0}}}", "model.vocab is not tokens");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\\u0000b\":0}}}", "model.vocab is not tokens");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\nb\":0}}}", "model.vocab is not tokens");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":01}}}", "no integer");
    refuse_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":1.5}}}", "model.vocab is not tokens");
    refuse_json("{\"x\":\"\xff\"}", "not UTF-8 at byte 6");
    refuse_json(WP(",\"normalizer\":{\"type\":\"Lowercase\"}"), "normalizer is Lowercase");
    refuse_json(WP(",\"pre_tokenizer\":{\"type\":\"Metaspace\"}"), "pre-tokenizer is Metaspace");
    refuse_json(WP(",\"pre_tokenizer\":{\"type\":\"ByteLevel\"}"), "WordPiece with pre-tokenizer ByteLevel");
    refuse_json(WP(",\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"x+\"}}"), "x+");
    refuse_json(WP(",\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Removed\",\"pattern\":{\"Regex\":\"x+\"}}"), "Removed");
    refuse_json(WP(",\"decoder\":{\"type\":\"Fuse\"}"), "decoder is Fuse");
    refuse_json(WP(",\"post_processor\":{\"type\":\"Other\"}"), "post_processor is Other");
    refuse_json(WP(",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}"), "no Sequence");
    refuse_json(WP(",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"X\"}}]}"), "'X'");
    refuse_json(WP(",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"a\",7],\"sep\":[\"a\",1]}"), "names the id 7");
    refuse_json(WP(",\"added_tokens\":[{\"id\":0,\"content\":\"a\"}]"), "has id 0 as an added token, 1 in the vocabulary");
    refuse_json(WP(",\"added_tokens\":[{\"id\":1,\"content\":\"b\"}]"), "same id 1");
    refuse_json(WP(",\"added_tokens\":[{\"id\":2}]"), "no content");
    refuse_json("{\"model\":{\"type\":\"BPE\"," VOCAB "}}", "BPE without pre-tokenizer ByteLevel");
    refuse_json(BPE(VOCAB, ""), "model.merges is not there");
    refuse_json(BPE(VOCAB ",\"merges\":[\"a c\"]", ""), "merge 0: 'c' is not in the vocabulary");
    refuse_json(BPE(VOCAB ",\"merges\":[\"a b\",[\"b\",\"a\"]]", ""), "merge 1: 'ba' is not in the vocabulary");
    refuse_json(BPE(VOCAB ",\"merges\":[\"a b c\"]", ""), "expected two tokens with one space");
    refuse_json(BPE(VOCAB ",\"merges\":[[\"a\"]]", ""), "neither");
    refuse_json(BPE(VOCAB ",\"merges\":[],\"byte_fallback\":true", ""), "model.byte_fallback is set");
    refuse_json(BPE(VOCAB ",\"merges\":[],\"dropout\":0.1", ""), "model.dropout is set");
    refuse_json(BPE(VOCAB ",\"merges\":[],\"unk_token\":\"?\"", ""), "unk_token '?'");
}
END_TEST

static size_t read_whole(const char *path, char **data)
{
    size_t length;
    ck_assert_int_eq(nn_file_read(path, data, &length, NULL), AG_OK);
    return length;
}

START_TEST(a_tokenizer_bin_that_is_damaged_is_refused)
{
    char *data;
    const size_t length = read_whole(FOLDER "tokenizer.bin", &data);
    refuse_file(".bin", data, 0, AG_EDATA, "0 bytes");
    refuse_file(".bin", data, 4, AG_EDATA, "0 tokens");
    for (size_t cut = 1; cut < 9; cut++)
        refuse_file(".bin", data, length - cut, AG_EDATA, "ends within token");
    refuse_file(".bin", "\xff\xff\xff\xff", 4, AG_EDATA, "has -1 bytes");
    refuse_file(".bin", data, 30, AG_EDATA, "expected at least 259");
    data[8]++;                           /* the first token's length */
    refuse_file(".bin", data, length, AG_EDATA, "token");
    data[8]--;
    memcpy(data + 4, "\0\0\xc0\x7f", 4);
    refuse_file(".bin", data, length, AG_EDATA, "the score of token 0 is nan");
    ag_free(data);
}
END_TEST

START_TEST(a_vocab_txt_that_is_no_vocabulary_is_refused)
{
    refuse_file(".txt", "", 0, AG_EDATA, "is empty");
    refuse_file(".txt", "a\nb\n", 4, AG_EDATA, "no token '[UNK]'");
    refuse_file(".txt", "[UNK]\n[SEP]\n", 12, AG_EDATA, "no token '[CLS]'");
    refuse_file(".txt", "a\n\xff\n", 4, AG_EDATA, "not UTF-8 at byte 2");
    refuse_file(".gguf", "GGUF", 4, AG_EDATA, "");
    refuse_file(".model", "x", 1, AG_EINVAL, "*.json, *.txt, *.gguf or *.bin");
    nn_tokenizer *k;
    ag_error err = { 0 };
    ck_assert_int_eq(nn_tokenizer_open(&k, "no/such/file.json", &err), AG_EIO);
    ck_assert_ptr_nonnull(strstr(err.message, "no/such/file.json"));
    ag_error_clear(&err);
    ck_assert_int_eq(nn_tokenizer_open(&k, TEST_DIR "/golden_networks", &err), AG_EIO);
    ck_assert_ptr_nonnull(strstr(err.message, "has no tokenizer"));
}
END_TEST

START_TEST(a_folder_is_opened_by_the_file_in_it)
{
    char folder[64], path[128], *data;
    snprintf(folder, sizeof folder, "tokenizer-folder-%ld", (long)getpid());
    ck_assert_int_eq(mkdtemp(strcat(folder, "-XXXXXX")) != NULL, 1);
    static const char *const names[] = { "tokenizer.bin", "vocab.txt" };
    static const char *const kinds[] = { "llama2.c bpe", "wordpiece" };
    for (int i = 0; i < 2; i++) {        /* the second is preferred to the first */
        snprintf(path, sizeof path, FOLDER "%s", names[i]);
        const size_t length = read_whole(path, &data);
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        FILE *f = fopen(path, "wb");
        fwrite(data, 1, length, f);
        fclose(f);
        ag_free(data);
        nn_tokenizer *k = open_or_fail(folder);
        ck_assert_str_eq(nn_tokenizer_kind(k), kinds[i]);
        nn_tokenizer_close(k);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}
END_TEST

/* ---- memory ---- */

static ag_code open_encode_decode(void *ctx, ag_error *err)
{
    static char text[40000], out[80000];
    static int32_t ids[40000];
    nn_tokenizer *k;
    AG_TRY(err, nn_tokenizer_open(&k, ctx, err));
    memset(text, 'a', sizeof text);      /* long enough for every scratch memory to leave the stack */
    for (size_t i = 0; i + 1 < sizeof text; i += 1000)
        memcpy(text + i, "\xc3\xa9", 2);
    nn_encoding e = { .ids = ids, .max = 40000 };
    size_t n;
    ag_code code = nn_tokenizer_encode(k, text, sizeof text, &e, err);
    if (code == AG_OK)
        code = nn_tokenizer_decode(k, ids, e.n, out, sizeof out, &n, err);
    nn_tokenizer_close(k);
    return code;
}

START_TEST(every_allocation_may_fail)
{
    static const char *const files[] = { "wordpiece.json", "cased.json", "vocab.txt", "gpt2.json", "qwen2.json", "llama3.json", "tokenizer.bin",
                                        "smollm.gguf" };
    char path[512];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, FOLDER "%s", files[i]);
        ck_assert_int_ge(failing_each(open_encode_decode, path), 6);
    }
}
END_TEST

START_TEST(a_short_text_is_encoded_without_allocating)
{
    static const char *const files[] = { "wordpiece.json", "gpt2.json", "qwen2.json", "tokenizer.bin" };
    char path[512];
    int32_t ids[64];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        failing_allocator f = { .fail_at = 0 };
        snprintf(path, sizeof path, FOLDER "%s", files[i]);
        failing_use(&f);
        nn_tokenizer *k = open_or_fail(path);
        const long long before = f.calls;
        encode(k, "Caf\xc3\xa9 the quick dog", 19, ids, 64, false);
        ck_assert_int_eq(f.calls, before);
        nn_tokenizer_close(k);
        failing_use(NULL);
    }
}
END_TEST

/* ---- for live_tokenizer.py ---- */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void print_ids(const int32_t *ids, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        printf("%d ", ids[i]);
}

/* texts: of each, its length as uint32, its bytes. Prints for each "ids ;plain ids ;decoded ids as HEX", and last the
 * milliseconds that opening and encoding all took. */
static int drive(const char *path, const char *texts)
{
    enum { MANY = 1 << 20 };
    char *data, *out = malloc(MANY);
    int32_t *ids = malloc(MANY * sizeof *ids);
    ag_error err = { 0 };
    nn_tokenizer *k;
    size_t length, n;
    const double start = now_ms();
    if (nn_tokenizer_open(&k, path, &err) != AG_OK || nn_file_read(texts, &data, &length, &err) != AG_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const double opened = now_ms() - start;
    double encoding = 0;
    for (size_t at = 0; at + 4 <= length;) {
        uint32_t size;
        memcpy(&size, data + at, 4);
        const double begun = now_ms();
        nn_encoding e = { .ids = ids, .max = MANY }, plain = { .ids = ids, .max = MANY, .plain = true };
        ag_code code = nn_tokenizer_encode(k, data + at + 4, size, &e, &err);
        encoding += now_ms() - begun;
        print_ids(ids, e.n);
        if (code != AG_OK || nn_tokenizer_decode(k, ids, e.n, out, MANY, &n, &err) != AG_OK ||
            nn_tokenizer_encode(k, data + at + 4, size, &plain, &err) != AG_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        printf(";");
        print_ids(ids, plain.n);
        printf(";");
        for (size_t i = 0; i < n; i++)
            printf("%02x", (unsigned char)out[i]);
        printf("\n");
        at += 4 + size;
    }
    printf("%.1f %.1f\n", opened, encoding);
    nn_tokenizer_close(k);
    ag_free(data);
    free(ids);
    free(out);
    return 0;
}

static int print_characters(void)
{
    for (int32_t c = 0; c < 0x110000; c++)
        if (utf8proc_category(c) != UTF8PROC_CATEGORY_CN && utf8proc_category(c) != UTF8PROC_CATEGORY_CS)
            printf("%d\n", c);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "characters") == 0)
        return print_characters();
    if (argc == 4 && strcmp(argv[1], "encode") == 0)
        return drive(argv[2], argv[3]);
    const TTest *const tests[] = {
        ids_and_decoded_texts_are_those_of_the_package_and_of_run_c, a_tokenizer_answers_about_its_vocabulary,
        an_added_token_outside_the_vocabulary_has_its_id, what_finds_no_room_is_counted_and_the_special_tokens_stay, bad_arguments_are_refused,
        invalid_utf8_names_its_byte, decoding_needs_room_for_the_text_and_a_zero, a_text_of_any_length_gives_the_ids_of_its_words,
        a_word_of_any_length_merges, a_tokenizer_json_that_is_wrong_or_not_known_is_refused_by_name,
        a_tokenizer_bin_that_is_damaged_is_refused, a_vocab_txt_that_is_no_vocabulary_is_refused, a_folder_is_opened_by_the_file_in_it,
        every_allocation_may_fail, a_short_text_is_encoded_without_allocating,
    };
    return test_run(__FILE__, tests, sizeof tests / sizeof *tests, 300);
}
