/* BERT's vocab.txt: a token a line, the line's number its id. What the file does not say is as in BERT uncased, but where a
 * tokenizer_config.json beside it says "do_lower_case": false, letters keep case and accents. */
#include "models/tokenizer/tokenizer_internal.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static size_t trimmed(const char *line, size_t n)
{
    while (n > 0) {
        size_t start = n - 1, size;
        while (start > 0 && (line[start] & 0xc0) == 0x80)
            start--;
        if (!nn_char_space(nn_char_at(line + start, &size)))
            break;
        n = start;
    }
    return n;
}

static ag_code read_lines(nn_vocab *v, const char *path, const char *data, size_t length, ag_error *err)
{
    size_t bad;
    const size_t valid = nn_utf8_valid(data, length, &bad);
    AG_REQUIRE(valid == length, err, AG_EDATA, "%s is not UTF-8 at byte %zu", path, valid);
    int64_t lines = length > 0 && data[length - 1] != '\n';
    for (size_t i = 0; i < length; i++)
        lines += data[i] == '\n';
    AG_REQUIRE(lines > 0, err, AG_EDATA, "%s is empty, expected a token a line", path);
    AG_TRY(err, nn_vocab_init(v, lines, length, err));
    for (int64_t id = 0; id < lines; id++) {
        const char *end = memchr(data, '\n', length);
        const size_t line = end ? (size_t)(end - data) : length;
        AG_TRY(err, nn_vocab_put(v, id, data, trimmed(data, line), err));
        data += line + (end != NULL);
        length -= line + (end != NULL);
    }
    return AG_OK;
}

/* A token that stands there again has the later id alone. */
static void forget_hidden(nn_vocab *v)
{
    for (int64_t id = 0; id < v->n; id++)
        if (nn_vocab_find(v, v->bytes + v->spans[id].at, v->spans[id].length) != id)
            v->spans[id].at = NN_NO_TOKEN;
}

/* What BertTokenizer treats as special where the vocabulary has it. */
static ag_code add_special(nn_tokenizer *k, ag_error *err)
{
    static const char *const names[] = { "[UNK]", "[SEP]", "[CLS]", "[PAD]", "[MASK]" };
    enum { N = sizeof names / sizeof *names };
    nn_added_token found[N];
    int64_t n = 0;
    for (int i = 0; i < N; i++) {
        const int32_t id = nn_vocab_find(&k->vocab, names[i], strlen(names[i]));
        if (id >= 0)
            found[n++] = (nn_added_token){ .id = id, .special = true };
    }
    AG_TRY(err, nn_added_init(&k->added, n, k->vocab.n, err));
    for (int64_t i = 0; i < n; i++) {
        size_t length;
        const char *token = nn_vocab_token(&k->vocab, found[i].id, &length);
        AG_TRY(err, nn_added_put(&k->added, i, &found[i], token, length, &k->normalizer, err));
    }
    nn_added_order(&k->added);
    return AG_OK;
}

static ag_code special_id(const nn_tokenizer *k, const char *path, const char *name, int32_t *id, ag_error *err)
{
    *id = nn_vocab_find(&k->vocab, name, strlen(name));
    AG_REQUIRE(*id >= 0, err, AG_EDATA, "%s has no token '%s', expected the vocabulary of a BERT", path, name);
    return AG_OK;
}

static ag_code lower_case(const char *path, bool *lower, ag_error *err)
{
    static const char name[] = "tokenizer_config.json";
    char beside[4096];
    const char *slash = strrchr(path, '/');
    const int folder = slash ? (int)(slash - path) + 1 : 0;
    const int n = snprintf(beside, sizeof beside, "%.*s%s", folder, path, name);
    *lower = true;
    if (n < 0 || (size_t)n >= sizeof beside || access(beside, R_OK) != 0)
        return AG_OK;
    json_error_t e;
    json_t *config = json_load_file(beside, 0, &e);
    AG_REQUIRE(config, err, AG_EDATA, "%s, line %d: %s", beside, e.line, e.text);
    *lower = !json_is_false(json_object_get(config, "do_lower_case"));
    json_decref(config);
    return AG_OK;
}

static ag_code finish(nn_tokenizer *k, const char *path, ag_error *err)
{
    int64_t hidden;
    bool lower;
    AG_TRY(err, nn_vocab_build_index(&k->vocab, &hidden, err));
    if (hidden > 0)
        forget_hidden(&k->vocab);
    AG_TRY(err, lower_case(path, &lower, err));
    k->normalizer = (nn_normalizer){ NN_NORMALIZE_BERT, .clean = true, .cjk = true, .strip_accents = lower, .lower = lower };
    k->splits[k->n_splits++] = NN_SPLIT_BERT;
    k->wordpiece.max_chars = 100;
    AG_TRY(err, special_id(k, path, "[UNK]", &k->wordpiece.unknown, err));
    AG_TRY(err, special_id(k, path, "[CLS]", &k->before[k->n_before++], err));
    AG_TRY(err, special_id(k, path, "[SEP]", &k->after[k->n_after++], err));
    AG_TRY(err, nn_vocab_index_behind(&k->vocab, "##", &k->wordpiece.behind, err));
    return add_special(k, err);
}

ag_code nn_tokenizer_read_vocab_txt(nn_tokenizer *k, const char *path, ag_error *err)
{
    char *data;
    size_t length;
    k->model = NN_WORDPIECE;
    k->decoder = NN_DECODE_WORDPIECE;
    k->cleanup = true;
    strcpy(k->decoder_prefix, "##");
    AG_TRY(err, nn_file_read(path, &data, &length, err));
    ag_code code = read_lines(&k->vocab, path, data, length, err);
    ag_free(data);
    if (code == AG_OK)
        code = finish(k, path, err);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}
