/* Hugging Face's tokenizer.json: WordPiece and byte-level BPE with the normalizers, pre-tokenizers, post-processors and
 * decoders that those models come with. What would change ids and is not known here is refused by name; truncation and
 * padding are the caller's affair (nn_encoding). */
#include "models/tokenizer/tokenizer_internal.h"

#include <jansson.h>
#include <string.h>

typedef struct source {
    nn_tokenizer *k;
    const char *path;
    json_t *root, *model, *added;        /* root: without model.vocab; model: object; added: array or NULL */
    nn_json_vocab vocab;
    ag_error *err;
} source;

/* ---- fields ---- */

static const char *string_of(const json_t *object, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : otherwise;
}

static bool flag_of(const json_t *object, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static const char *type_of(const json_t *object)
{
    return string_of(object, "type", "(no type)");
}

static bool is_type(const json_t *object, const char *type)
{
    return strcmp(type_of(object), type) == 0;
}

/* Absent, null, false, 0 and "" all mean that an option is off. */
static bool is_off(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0) ||
           (json_is_string(v) && json_string_length(v) == 0);
}

static ag_code id_of(const source *s, const json_t *v, const char *what, int64_t *id)
{
    *id = json_is_integer(v) ? (int64_t)json_integer_value(v) : -1;
    AG_REQUIRE(*id >= 0 && *id < NN_VOCAB_MAX, s->err, AG_EDATA, "%s: the id of '%.40s' is %s, expected an integer from 0 to %d", s->path,
               what, json_is_integer(v) ? "out of range" : "no integer", NN_VOCAB_MAX - 1);
    return AG_OK;
}

static ag_code copy_prefix(const source *s, const json_t *object, const char *key, char out[32])
{
    const char *prefix = string_of(object, key, "##");
    AG_REQUIRE(strlen(prefix) < 32, s->err, AG_EDATA, "%s: %s '%.80s' is longer than 31 bytes", s->path, key, prefix);
    strcpy(out, prefix);
    return AG_OK;
}

/* ---- vocabulary and added tokens ---- */

static const char *content_of(const json_t *token)
{
    return string_of(token, "content", "");
}

/* The number of ids and the bytes of all tokens. */
static ag_code measure(source *s, int64_t *n, size_t *bytes)
{
    const char *token;
    json_t *value;
    size_t i, length;
    int64_t id;
    ag_code code;
    *n = 0;
    *bytes = 0;
    while (nn_json_vocab_next(&s->vocab, &token, &length, &id, &code, s->err)) {
        *n = id >= *n ? id + 1 : *n;
        *bytes += length;
    }
    nn_json_vocab_rewind(&s->vocab);
    AG_TRY(s->err, code);
    json_array_foreach(s->added, i, value) {
        AG_TRY(s->err, id_of(s, json_object_get(value, "id"), content_of(value), &id));
        *n = id >= *n ? id + 1 : *n;
        *bytes += strlen(content_of(value));
    }
    return AG_OK;
}

static ag_code put_vocab(source *s)
{
    const char *token;
    size_t length;
    int64_t id;
    ag_code code;
    while (nn_json_vocab_next(&s->vocab, &token, &length, &id, &code, s->err))
        AG_TRY(s->err, nn_vocab_put(&s->k->vocab, id, token, length, s->err));
    return code;
}

static ag_code read_vocab(source *s)
{
    AG_REQUIRE(s->vocab.text, s->err, AG_EDATA, "%s: model.vocab is not there, expected an object of tokens and ids", s->path);
    int64_t n, hidden;
    size_t bytes;
    AG_TRY(s->err, measure(s, &n, &bytes));
    AG_TRY(s->err, nn_vocab_init(&s->k->vocab, n, bytes, s->err));
    AG_TRY(s->err, put_vocab(s));
    AG_TRY(s->err, nn_vocab_build_index(&s->k->vocab, &hidden, s->err));
    AG_REQUIRE(hidden == 0, s->err, AG_EDATA, "%s: model.vocab has %lld tokens twice", s->path, (long long)hidden);
    return AG_OK;
}

static ag_code read_added_token(const source *s, int64_t i, const json_t *object)
{
    nn_tokenizer *k = s->k;
    const char *content = content_of(object);
    const size_t length = strlen(content);
    const int32_t id = (int32_t)json_integer_value(json_object_get(object, "id")), known = nn_vocab_find(&k->vocab, content, length);
    AG_REQUIRE(length > 0, s->err, AG_EDATA, "%s: added token %d has no content", s->path, id);
    AG_REQUIRE(known < 0 || known == id, s->err, AG_EDATA, "%s: '%.40s' has id %d as an added token, %d in the vocabulary", s->path,
               content, id, known);
    if (known < 0)
        AG_TRY(s->err, nn_vocab_put(&k->vocab, id, content, length, s->err));
    const bool special = flag_of(object, "special", false);
    const nn_added_token token = {
        .id = id, .special = special, .single_word = flag_of(object, "single_word", false), .lstrip = flag_of(object, "lstrip", false),
        .rstrip = flag_of(object, "rstrip", false), .normalized = flag_of(object, "normalized", !special),
    };
    return nn_added_put(&k->added, i, &token, content, length, &k->normalizer, s->err);
}

static ag_code read_added(const source *s)
{
    size_t i;
    json_t *object;
    AG_TRY(s->err, nn_added_init(&s->k->added, (int64_t)json_array_size(s->added), s->k->vocab.n, s->err));
    json_array_foreach(s->added, i, object)
        AG_TRY(s->err, read_added_token(s, (int64_t)i, object));
    nn_added_order(&s->k->added);
    return AG_OK;
}

/* ---- normalizer, pre-tokenizer ---- */

static ag_code read_normalizer(const source *s)
{
    const json_t *z = json_object_get(s->root, "normalizer");
    if (is_off(z))
        return AG_OK;
    if (is_type(z, "NFC")) {
        s->k->normalizer.kind = NN_NORMALIZE_NFC;
        return AG_OK;
    }
    AG_REQUIRE(is_type(z, "BertNormalizer"), s->err, AG_EDATA, "%s: normalizer is %s, expected null, BertNormalizer or NFC", s->path,
               type_of(z));
    const bool lower = flag_of(z, "lowercase", true);
    s->k->normalizer = (nn_normalizer){
        NN_NORMALIZE_BERT, .clean = flag_of(z, "clean_text", true), .cjk = flag_of(z, "handle_chinese_chars", true),
        .strip_accents = flag_of(z, "strip_accents", lower), .lower = lower,
    };
    return AG_OK;
}

static ag_code add_split(const source *s, nn_split_kind kind)
{
    nn_tokenizer *k = s->k;
    AG_REQUIRE(k->n_splits < NN_SPLIT_MAX, s->err, AG_EDATA, "%s: more than %d pre-tokenizers", s->path, NN_SPLIT_MAX);
    k->splits[k->n_splits++] = kind;
    return AG_OK;
}

static ag_code read_pattern(const source *s, const json_t *p)
{
    nn_split_kind kind;
    const char *pattern = string_of(json_object_get(p, "pattern"), "Regex", "(none)");
    AG_REQUIRE(strcmp(string_of(p, "behavior", ""), "Isolated") == 0 && !flag_of(p, "invert", false), s->err, AG_EDATA,
               "%s: pre-tokenizer Split is %s%s, expected Isolated", s->path, string_of(p, "behavior", "of no behavior"),
               flag_of(p, "invert", false) ? " and inverted" : "");
    AG_REQUIRE(nn_split_pattern(pattern, &kind), s->err, AG_EDATA,
               "%s: the regular expression of a pre-tokenizer is none of GPT-2's, Llama 3's and Qwen 2's: %.200s", s->path, pattern);
    return add_split(s, kind);
}

static ag_code read_byte_level(const source *s, const json_t *p)
{
    if (flag_of(p, "add_prefix_space", true))
        AG_TRY(s->err, add_split(s, NN_SPLIT_PREFIX_SPACE));
    return flag_of(p, "use_regex", true) ? add_split(s, NN_SPLIT_GPT2) : AG_OK;
}

/* One pre-tokenizer; *bytes: it is the byte-level one, behind which there can be no other. */
static ag_code read_pre_tokenizer(const source *s, const json_t *p, bool *bytes)
{
    AG_REQUIRE(!*bytes, s->err, AG_EDATA, "%s: pre-tokenizer %s behind ByteLevel", s->path, type_of(p));
    if (is_type(p, "ByteLevel")) {
        *bytes = true;
        return read_byte_level(s, p);
    }
    if (is_type(p, "BertPreTokenizer"))
        return add_split(s, NN_SPLIT_BERT);
    if (is_type(p, "Digits"))
        return add_split(s, flag_of(p, "individual_digits", false) ? NN_SPLIT_EACH_DIGIT : NN_SPLIT_DIGITS);
    if (is_type(p, "Split"))
        return read_pattern(s, p);
    return ag_fail(s->err, AG_EDATA, "%s: pre-tokenizer is %s, expected BertPreTokenizer, Digits, Split or ByteLevel", s->path, type_of(p));
}

static ag_code read_pre_tokenizers(const source *s)
{
    const json_t *p = json_object_get(s->root, "pre_tokenizer"), *list = json_object_get(p, "pretokenizers"), *one;
    bool bytes = false;
    size_t i;
    if (!is_off(p) && !is_type(p, "Sequence"))
        AG_TRY(s->err, read_pre_tokenizer(s, p, &bytes));
    json_array_foreach(list, i, one)
        AG_TRY(s->err, read_pre_tokenizer(s, one, &bytes));
    AG_REQUIRE(bytes == (s->k->model == NN_BYTE_BPE), s->err, AG_EDATA, "%s: model %s %s pre-tokenizer ByteLevel", s->path,
               type_of(s->model), bytes ? "with" : "without");
    return AG_OK;
}

/* ---- post-processor ---- */

static ag_code put_around(const source *s, int32_t *ids, int *n, const json_t *id, const char *what)
{
    int64_t v;
    AG_TRY(s->err, id_of(s, id, what, &v));
    AG_REQUIRE(v < s->k->vocab.n, s->err, AG_EDATA, "%s: post_processor names the id %lld of '%.40s', the vocabulary ends at %lld", s->path,
               (long long)v, what, (long long)s->k->vocab.n - 1);
    AG_REQUIRE(*n < NN_AROUND_MAX, s->err, AG_EDATA, "%s: post_processor puts more than %d tokens on one side of a text", s->path,
               NN_AROUND_MAX);
    ids[(*n)++] = (int32_t)v;
    return AG_OK;
}

static ag_code put_special(const source *s, const json_t *processor, const json_t *special, bool behind)
{
    nn_tokenizer *k = s->k;
    const char *name = string_of(special, "id", "(no id)");
    const json_t *ids = json_object_get(json_object_get(json_object_get(processor, "special_tokens"), name), "ids"), *id;
    AG_REQUIRE(json_array_size(ids) > 0, s->err, AG_EDATA, "%s: post_processor.special_tokens has no ids for '%.40s'", s->path, name);
    size_t i;
    json_array_foreach(ids, i, id)
        AG_TRY(s->err, put_around(s, behind ? k->after : k->before, behind ? &k->n_after : &k->n_before, id, name));
    return AG_OK;
}

static ag_code read_template(const source *s, const json_t *processor)
{
    const json_t *single = json_object_get(processor, "single"), *piece;
    bool text = false;
    size_t i;
    json_array_foreach(single, i, piece) {
        const json_t *special = json_object_get(piece, "SpecialToken");
        if (special) {
            AG_TRY(s->err, put_special(s, processor, special, text));
            continue;
        }
        AG_REQUIRE(json_object_get(piece, "Sequence") && !text, s->err, AG_EDATA,
                   "%s: post_processor.single is not special tokens around one text", s->path);
        text = true;
    }
    AG_REQUIRE(text, s->err, AG_EDATA, "%s: post_processor.single has no Sequence", s->path);
    return AG_OK;
}

/* BertProcessing and RobertaProcessing: "cls": ["[CLS]", 101], "sep": ["[SEP]", 102]. */
static ag_code read_cls_and_sep(const source *s, const json_t *processor)
{
    nn_tokenizer *k = s->k;
    AG_TRY(s->err, put_around(s, k->before, &k->n_before, json_array_get(json_object_get(processor, "cls"), 1), "cls"));
    return put_around(s, k->after, &k->n_after, json_array_get(json_object_get(processor, "sep"), 1), "sep");
}

static ag_code read_post_processor(const source *s, const json_t *processor)
{
    if (is_off(processor) || is_type(processor, "ByteLevel"))      /* ByteLevel mends offsets only */
        return AG_OK;
    AG_REQUIRE(s->k->n_before + s->k->n_after == 0, s->err, AG_EDATA, "%s: more than one post_processor adds tokens", s->path);
    if (is_type(processor, "TemplateProcessing"))
        return read_template(s, processor);
    if (is_type(processor, "BertProcessing") || is_type(processor, "RobertaProcessing"))
        return read_cls_and_sep(s, processor);
    return ag_fail(s->err, AG_EDATA, "%s: post_processor is %s, expected TemplateProcessing, BertProcessing, RobertaProcessing or ByteLevel",
                   s->path, type_of(processor));
}

static ag_code read_post_processors(const source *s)
{
    const json_t *p = json_object_get(s->root, "post_processor"), *one;
    size_t i;
    if (is_off(p) || !is_type(p, "Sequence"))
        return read_post_processor(s, p);
    json_array_foreach(json_object_get(p, "processors"), i, one)
        AG_TRY(s->err, read_post_processor(s, one));
    return AG_OK;
}

/* ---- decoder ---- */

static ag_code read_decoder(const source *s)
{
    const json_t *d = json_object_get(s->root, "decoder");
    if (is_off(d))
        return AG_OK;
    if (is_type(d, "ByteLevel")) {
        s->k->decoder = NN_DECODE_BYTES;
        return AG_OK;
    }
    AG_REQUIRE(is_type(d, "WordPiece"), s->err, AG_EDATA, "%s: decoder is %s, expected null, WordPiece or ByteLevel", s->path, type_of(d));
    s->k->decoder = NN_DECODE_WORDPIECE;
    s->k->cleanup = flag_of(d, "cleanup", true);
    return copy_prefix(s, d, "prefix", s->k->decoder_prefix);
}

/* ---- models ---- */

static ag_code read_wordpiece(const source *s)
{
    nn_wordpiece *w = &s->k->wordpiece;
    char prefix[32];
    AG_TRY(s->err, copy_prefix(s, s->model, "continuing_subword_prefix", prefix));
    const json_t *longest = json_object_get(s->model, "max_input_chars_per_word");
    w->max_chars = json_is_integer(longest) ? (int64_t)json_integer_value(longest) : 100;
    const char *unknown = string_of(s->model, "unk_token", "[UNK]");
    w->unknown = nn_vocab_find(&s->k->vocab, unknown, strlen(unknown));
    AG_REQUIRE(w->unknown >= 0, s->err, AG_EDATA, "%s: model.unk_token '%.40s' is not in the vocabulary", s->path, unknown);
    return nn_vocab_index_behind(&s->k->vocab, prefix, &w->behind, s->err);
}

static ag_code read_merge(const source *s, uint32_t rank, const json_t *merge, nn_scratch *joined)
{
    if (json_is_string(merge))
        return nn_bpe_put_merge_text(s->k, rank, json_string_value(merge), json_string_length(merge), joined, s->err);
    const char *left = json_string_value(json_array_get(merge, 0)), *right = json_string_value(json_array_get(merge, 1));
    AG_REQUIRE(left && right && json_array_size(merge) == 2, s->err, AG_EDATA, "%s: merge %u is neither a text nor a pair of texts", s->path,
               rank);
    return nn_bpe_put_merge(s->k, rank, left, strlen(left), right, strlen(right), joined, s->err);
}

static ag_code read_merges(const source *s)
{
    const json_t *merges = json_object_get(s->model, "merges"), *merge;
    AG_REQUIRE(json_is_array(merges), s->err, AG_EDATA, "%s: model.merges is not there, expected an array", s->path);
    AG_TRY(s->err, nn_bpe_init(s->k, (int64_t)json_array_size(merges), s->err));
    nn_scratch joined = { .heap = NULL };
    ag_code code = AG_OK;
    uint32_t rank = 0;
    size_t i;
    json_array_foreach(merges, i, merge) {
        const char *text = json_string_value(merge);
        if (text && strncmp(text, "#version", 8) == 0)
            continue;
        code = read_merge(s, rank++, merge, &joined);
        if (code != AG_OK)
            break;
    }
    nn_scratch_release(&joined);
    return code;
}

static ag_code read_bpe(const source *s)
{
    static const char *const unread[] = { "dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback" };
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++)
        AG_REQUIRE(is_off(json_object_get(s->model, unread[i])), s->err, AG_EDATA,
                   "%s: model.%s is set, expected a byte-level BPE without it", s->path, unread[i]);
    nn_bpe *b = &s->k->bpe;
    const char *unknown = string_of(s->model, "unk_token", NULL);
    b->unknown = unknown ? nn_vocab_find(&s->k->vocab, unknown, strlen(unknown)) : -1;
    AG_REQUIRE(!unknown || b->unknown >= 0, s->err, AG_EDATA, "%s: model.unk_token '%.40s' is not in the vocabulary", s->path, unknown);
    b->fuse_unknown = flag_of(s->model, "fuse_unk", false);
    b->whole_words = flag_of(s->model, "ignore_merges", false);
    return read_merges(s);
}

static ag_code read_model_type(source *s)
{
    s->model = json_object_get(s->root, "model");
    s->added = json_object_get(s->root, "added_tokens");
    const bool wordpiece = is_type(s->model, "WordPiece");
    AG_REQUIRE(wordpiece || is_type(s->model, "BPE"), s->err, AG_EDATA, "%s: model is %s, expected WordPiece or BPE", s->path,
               s->model ? type_of(s->model) : "not there");
    s->k->model = wordpiece ? NN_WORDPIECE : NN_BYTE_BPE;
    return AG_OK;
}

static ag_code read_root(source *s)
{
    AG_TRY(s->err, read_model_type(s));
    AG_TRY(s->err, read_normalizer(s));
    AG_TRY(s->err, read_pre_tokenizers(s));
    AG_TRY(s->err, read_vocab(s));
    AG_TRY(s->err, s->k->model == NN_WORDPIECE ? read_wordpiece(s) : read_bpe(s));
    AG_TRY(s->err, read_added(s));
    AG_TRY(s->err, read_post_processors(s));
    return read_decoder(s);
}

/* root: the file's text without its model.vocab. */
static ag_code parse(source *s, const char *text, size_t length)
{
    json_error_t e;
    s->root = json_loadb(text, length, 0, &e);
    AG_REQUIRE(s->root || json_error_code(&e) != json_error_out_of_memory, s->err, AG_ENOMEM, "no memory to read %s", s->path);
    AG_REQUIRE(s->root, s->err, AG_EDATA, "%s, line %d (without model.vocab): %s", s->path, e.line, e.text);
    const ag_code code = read_root(s);
    json_decref(s->root);
    nn_json_vocab_rewind(&s->vocab);
    return code;
}

/* Takes model.vocab out of the text; "{}" stays in its place. */
static ag_code cut_vocab(source *s, const char *data, size_t length)
{
    static const char instead[] = "{}";
    size_t start, stop, bad;
    const size_t valid = nn_utf8_valid(data, length, &bad);
    AG_REQUIRE(valid == length, s->err, AG_EDATA, "%s is not UTF-8 at byte %zu", s->path, valid);
    if (!nn_json_vocab_find(data, length, &start, &stop))
        return parse(s, data, length);
    s->vocab = (nn_json_vocab){ .path = s->path, .text = data + start, .length = stop - start, .offset = start };
    char *rest = ag_alloc(length + sizeof instead);
    AG_REQUIRE(rest, s->err, AG_ENOMEM, "no memory to read %s", s->path);
    memcpy(rest, data, start);
    memcpy(rest + start, instead, 2);
    memcpy(rest + start + 2, data + stop, length - stop);
    const ag_code code = parse(s, rest, start + 2 + length - stop);
    ag_free(rest);
    return code;
}

ag_code nn_tokenizer_read_json(nn_tokenizer *k, const char *path, ag_error *err)
{
    source s = { .k = k, .path = path, .err = err };
    char *data;
    size_t length;
    AG_TRY(err, nn_file_read(path, &data, &length, err));
    const ag_code code = cut_vocab(&s, data, length);
    ag_free(data);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}
