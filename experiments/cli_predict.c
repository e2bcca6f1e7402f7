/* metalora predict: labels for texts, line by line as they come. */
#include "experiments/adapt_base.h"
#include "experiments/cli_commands.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_LENGTH = 16, LENGTHS = 20, TOGETHER = 16, READ_BYTES = 1 << 16, LINE_MOST = 16 << 20 };

typedef struct predicting {
    const xp_cli_call *c;
    xp_task_base base;
    nn_model model;
    meta_adapted adapter;                /* values, w, b */
    int64_t way, most;                   /* labels; tokens of a text */
    bool readable;                       /* a table and no JSON */
    meta_scores *scores[LENGTHS][2];     /* by the length of texts; of one text, of several. Made when they are needed */
    xp_tokens tokens;                    /* of the texts that wait */
    char **text;                         /* [tokens.n] */
    int64_t room;
    ag_real *score;                      /* [tokens.n, way], grown */
    int64_t score_room;
    const char *source;                  /* of messages */
    int64_t line, bad;                   /* read; that could not be */
} predicting;

/* ---- the texts that wait ---- */

static ag_code keep(predicting *p, const char *text, ag_error *err)
{
    if (p->tokens.n > p->room) {
        int64_t room = 2 * p->tokens.n;
        char **wider = ag_alloc((size_t)room * sizeof *wider);
        AG_REQUIRE(wider, err, AG_ENOMEM, "predict: out of memory for %lld texts", (long long)room);
        if (p->room)
            memcpy(wider, p->text, (size_t)(p->tokens.n - 1) * sizeof *wider);
        ag_free(p->text);
        p->text = wider;
        p->room = room;
    }
    char *copy = p->text[p->tokens.n - 1] = ag_strdup(text);
    AG_REQUIRE(copy, err, AG_ENOMEM, "predict: out of memory for a text");
    return AG_OK;
}

/* AG_EDATA: this text cannot be answered, the others can. */
static ag_code add_text(predicting *p, const char *text, size_t n, ag_error *err)
{
    int64_t at = p->tokens.n;
    AG_REQUIRE(!memchr(text, '\0', n), err, AG_EDATA, "the text holds a NUL character");
    AG_TRY(err, xp_tokens_add(&p->tokens, p->base.tokenizer, text, n, p->most, err));
    if (p->c->args->strict && p->tokens.dropped[at] > 0) {
        int64_t dropped = p->tokens.dropped[at];
        p->tokens.n--;
        return ag_fail(err, AG_EDATA, "the text has %lld tokens more than the %lld that are read", (long long)dropped, (long long)p->most);
    }
    ag_code code = keep(p, text, err);
    p->tokens.n -= code != AG_OK;
    return code;
}

static void forget_texts(predicting *p)
{
    for (int64_t i = 0; i < p->tokens.n; i++)
        ag_free(p->text[i]);
    p->tokens.n = p->tokens.n_id = 0;
}

/* ---- scores ---- */

static int bucket_of(const predicting *p, int64_t i)
{
    int bucket = 0;
    while (((int64_t)FIRST_LENGTH << bucket) < p->tokens.length[i])
        bucket++;
    return bucket;
}

static ag_code program_of(predicting *p, int bucket, bool several, meta_scores **s, ag_error *err)
{
    meta_scores **slot = &p->scores[bucket][several];
    const xp_card *card = &p->base.card;
    meta_scores_options o = { .similarity = card->similarity, .head_scale = card->head_scale, .way = p->way, .n = several ? TOGETHER : 1,
                              .length = (int64_t)FIRST_LENGTH << bucket, .threads = several ? xp_task_threads(p->c->args->threads) : 1 };
    if (!*slot)
        AG_TRY(err, meta_scores_new(slot, &p->model, &o, err));
    *s = *slot;
    return AG_OK;
}

/* The waiting texts of one bucket; list has room for all. */
static ag_code score_bucket(predicting *p, int bucket, int64_t *list, ag_error *err)
{
    meta_scores *s = NULL;
    int64_t n = 0, all = p->tokens.n;
    int64_t *start = list + all, *length = start + all;
    for (int64_t i = 0; i < all; i++)
        if (bucket_of(p, i) == bucket) {
            start[n] = p->tokens.start[i];
            length[n] = p->tokens.length[i];
            list[n++] = i;
        }
    if (n == 0)
        return AG_OK;
    meta_examples x = { .n = n, .ids = p->tokens.ids, .start = start, .length = length };
    ag_real *own = ag_alloc((size_t)(n * p->way) * sizeof *own);
    AG_REQUIRE(own, err, AG_ENOMEM, "predict: out of memory for %lld scores", (long long)n);
    ag_code code = program_of(p, bucket, n > 1, &s, err);
    if (code == AG_OK)
        code = meta_scores_run(s, &p->adapter, &x, own, NULL, err);
    for (int64_t i = 0; i < n && code == AG_OK; i++)
        memcpy(p->score + list[i] * p->way, own + i * p->way, (size_t)p->way * sizeof *own);
    ag_free(own);
    return code;
}

static ag_code score_all(predicting *p, ag_error *err)
{
    int64_t n = p->tokens.n;
    int64_t *list = ag_alloc((size_t)(3 * n + 1) * sizeof *list);
    AG_REQUIRE(list, err, AG_ENOMEM, "predict: out of memory for %lld texts", (long long)n);
    if (n > p->score_room) {
        ag_free(p->score);
        p->score = ag_alloc((size_t)(n * p->way) * sizeof *p->score);
        p->score_room = p->score ? n : 0;
    }
    ag_code code = p->score ? AG_OK : ag_fail(err, AG_ENOMEM, "predict: out of memory for %lld scores", (long long)n);
    for (int bucket = 0; bucket < LENGTHS && code == AG_OK; bucket++)
        code = score_bucket(p, bucket, list, err);
    ag_free(list);
    return code;
}

/* ---- answers ---- */

/* Softmax: probability [way]. */
static int64_t probabilities(const ag_real *score, int64_t way, double *probability)
{
    int64_t best = 0;
    double sum = 0;
    for (int64_t i = 1; i < way; i++)
        best = score[i] > score[best] ? i : best;
    for (int64_t i = 0; i < way; i++)
        sum += probability[i] = exp((double)score[i] - (double)score[best]);
    for (int64_t i = 0; i < way; i++)
        probability[i] /= sum;
    return best;
}

static void add_answer(xp_text *t, const predicting *p, int64_t i, double *probability)
{
    char **labels = p->base.card.labels;
    int64_t best = probabilities(p->score + i * p->way, p->way, probability);
    if (p->readable) {
        xp_text_left(t, labels[best], 30);
        xp_text_add(t, " %5.1f %%  ", 100 * probability[best]);
        xp_text_clean(t, p->text[i]);
        xp_text_add(t, "\n");
        return;
    }
    xp_text_add(t, "{\"text\":");
    xp_text_json_string(t, p->text[i]);
    xp_text_add(t, ",\"label\":");
    xp_text_json_string(t, labels[best]);
    xp_text_add(t, ",\"probability\":%.6g,\"probabilities\":{", probability[best]);
    for (int64_t k = 0; k < p->way; k++) {
        xp_text_add(t, k ? "," : "");
        xp_text_json_string(t, labels[k]);
        xp_text_add(t, ":%.6g", probability[k]);
    }
    xp_text_add(t, "}");
    if (p->tokens.dropped[i])
        xp_text_add(t, ",\"dropped\":%" PRId64, p->tokens.dropped[i]);
    xp_text_add(t, "}\n");
}

/* Answers what waits. */
static ag_code answer(predicting *p, ag_error *err)
{
    xp_text t = { 0 };
    char *text;
    if (p->tokens.n == 0)
        return AG_OK;
    AG_TRY(err, score_all(p, err));
    double *probability = ag_alloc((size_t)p->way * sizeof *probability);
    AG_REQUIRE(probability, err, AG_ENOMEM, "predict: out of memory for %lld labels", (long long)p->way);
    for (int64_t i = 0; i < p->tokens.n; i++)
        add_answer(&t, p, i, probability);
    ag_free(probability);
    forget_texts(p);
    AG_TRY(err, xp_text_take(&t, &text, err));
    ag_code code = xp_cli_print(p->c, text, err);
    ag_free(text);
    return code;
}

/* ---- lines ---- */

static ag_code json_line(predicting *p, const char *line, size_t n, ag_error *err)
{
    const char *key = p->c->args->text_column ? p->c->args->text_column : "text";
    json_error_t why;
    json_t *object = json_loadb(line, n, JSON_REJECT_DUPLICATES, &why);
    if (!object)
        return ag_fail(err, json_error_code(&why) == json_error_out_of_memory ? AG_ENOMEM : AG_EDATA, "column %d: not JSON: %s; expected {\"%s\": ...}",
                       why.column, why.text, key);
    const json_t *text = json_object_get(object, key);
    ag_code code = json_is_string(text) ? add_text(p, json_string_value(text), json_string_length(text), err)
                                        : ag_fail(err, AG_EDATA, "there is no text '%.100s'; expected {\"%.100s\": ...}", key, key);
    json_decref(object);
    return code;
}

/* line[n] is 0. */
static ag_code one_line(predicting *p, const char *line, size_t n, ag_error *err)
{
    ag_error why = { 0 };
    p->line++;
    n -= n > 0 && line[n - 1] == '\r';
    if (n == 0 || (!p->c->args->plain && strspn(line, " \t\r") >= n))
        return AG_OK;
    ag_code code = p->c->args->plain ? add_text(p, line, n, &why) : json_line(p, line, n, &why);
    if (code == AG_OK)
        return AG_OK;
    AG_REQUIRE(code == AG_EDATA, err, code, "%.1900s", why.message);
    xp_cli_say(p->c->messages, "%s:%" PRId64 ": %s", p->source, p->line, why.message);
    p->bad++;
    return AG_OK;
}

/* The whole lines of bytes [n]; *used is how many they are. At the end the rest is a line, too. */
static ag_code lines(predicting *p, char *bytes, size_t n, bool end, size_t *used, ag_error *err)
{
    *used = 0;
    while (*used < n) {
        char *line = bytes + *used, *stop = memchr(line, '\n', n - *used);
        if (!stop && !end)
            break;
        size_t length = stop ? (size_t)(stop - line) : n - *used;
        line[length] = '\0';
        AG_TRY(err, one_line(p, line, length, err));
        *used += length + (stop != NULL);
    }
    return answer(p, err);
}

/* What there is is answered before more is waited for. */
static ag_code read_lines(predicting *p, int fd, char **bytes, ag_error *err)
{
    size_t have = 0, room = READ_BYTES, used;
    *bytes = ag_alloc(room + 1);
    for (bool end = false; !end;) {
        AG_REQUIRE(*bytes, err, AG_ENOMEM, "%s: out of memory", p->source);
        ssize_t n = read(fd, *bytes + have, room - have);
        AG_REQUIRE(n >= 0 || errno == EINTR, err, AG_EIO, "%s: %s", p->source, strerror(errno));
        if (n < 0)
            continue;
        end = n == 0;
        have += (size_t)n;
        AG_TRY(err, lines(p, *bytes, have, end, &used, err));
        memmove(*bytes, *bytes + used, have - used);
        have -= used;
        if (have < room)
            continue;
        AG_REQUIRE(room < LINE_MOST, err, AG_EDATA, "%s:%" PRId64 ": a line of more than %d bytes", p->source, p->line + 1, LINE_MOST);
        char *wider = ag_alloc(2 * room + 1);
        if (wider)
            memcpy(wider, *bytes, have);
        ag_free(*bytes);
        *bytes = wider;
        room *= 2;
    }
    return AG_OK;
}

static ag_code answer_file(predicting *p, const char *path, ag_error *err)
{
    bool in = strcmp(path, "-") == 0;
    char *bytes = NULL;
    int fd = in ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    p->source = in ? "stdin" : path;
    AG_REQUIRE(fd >= 0, err, AG_ECONFIG, "%s: %s", path, strerror(errno));
    ag_code code = read_lines(p, fd, &bytes, err);
    ag_free(bytes);
    if (!in)
        close(fd);
    AG_TRY(err, code);
    AG_REQUIRE(p->bad == 0, err, AG_EDATA, "%s: %" PRId64 " of %" PRId64 " lines could not be answered", p->source, p->bad, p->line);
    return AG_OK;
}

static ag_code answer_texts(predicting *p, ag_error *err)
{
    const xp_cli_words *w = &p->c->args->texts;
    p->readable = !p->c->args->json;
    for (int i = 0; i < w->n; i++)
        AG_TRY(err, add_text(p, w->at[i], strlen(w->at[i]), err));
    return answer(p, err);
}

/* ---- the adapter ---- */

static ag_code load_layer(predicting *p, ag_error *err)
{
    const char *dir = p->c->args->adapter;
    int64_t d = p->model.options.n_out;
    p->adapter = (meta_adapted){ .values = p->base.values, .w = ag_alloc((size_t)(p->way * d) * sizeof(ag_real)),
                                 .b = ag_alloc((size_t)p->way * sizeof(ag_real)) };
    AG_REQUIRE(p->adapter.w && p->adapter.b, err, AG_ENOMEM, "predict: out of memory for %lld labels", (long long)p->way);
    AG_TRY(err, meta_peft_load_extra(dir, "classifier.weight", 2, (int64_t[]){ p->way, d }, p->adapter.w, err));
    return meta_peft_load_extra(dir, "classifier.bias", 1, &p->way, p->adapter.b, err);
}

static ag_code open_adapter(predicting *p, ag_error *err)
{
    const xp_cli_args *a = p->c->args;
    AG_REQUIRE(a->adapter, err, AG_ECONFIG, "predict: --adapter is missing; expected --adapter DIR, a folder that adapt wrote");
    xp_task_base_options o = { .model = a->model, .adapter = a->adapter, .cache_dir = a->cache_dir, .threads = xp_task_threads(a->threads) };
    AG_TRY(err, xp_task_base_open(&p->base, &o, err));
    const xp_card *card = &p->base.card;
    AG_REQUIRE(card->n_label > 0, err, AG_ECONFIG, "the adapter '%s' has no labels in a metalora.json: it is a start; metalora adapt makes a task's "
               "adapter of it", a->adapter);
    p->way = card->n_label;
    p->most = xp_task_tokens_most(&p->base, card->max_tokens > 0 ? card->max_tokens : 128);
    AG_REQUIRE(p->most <= (int64_t)FIRST_LENGTH << (LENGTHS - 1), err, AG_EDATA, "the adapter '%s': max_tokens is %lld; expected at most %lld",
               a->adapter, (long long)p->most, (long long)FIRST_LENGTH << (LENGTHS - 1));
    meta_network_model_options m = { .net = p->base.net, .adapter = p->base.adapter, .max_tokens = p->most, .pooling = card->pooling };
    AG_TRY(err, meta_network_model(&p->model, &m, err));
    return load_layer(p, err);
}

static ag_code run(predicting *p, ag_error *err)
{
    const xp_cli_args *a = p->c->args;
    AG_TRY(err, open_adapter(p, err));
    if (a->texts.n)
        AG_TRY(err, answer_texts(p, err));
    p->readable = false;
    if (a->operands.n || !a->texts.n)
        return answer_file(p, a->operands.n ? a->operands.at[0] : "-", err);
    return AG_OK;
}

ag_code xp_cli_predict(const xp_cli_call *c, ag_error *err)
{
    predicting p = { .c = c, .source = "--text" };
    ag_code code = run(&p, err);
    forget_texts(&p);
    for (int i = 0; i < LENGTHS; i++)
        for (int several = 0; several < 2; several++)
            meta_scores_free(p.scores[i][several]);
    nn_model_release(&p.model);
    xp_tokens_release(&p.tokens);
    ag_free(p.text);
    ag_free(p.score);
    ag_free(p.adapter.w);
    ag_free(p.adapter.b);
    xp_task_base_close(&p.base);
    return ag_trail(err, xp_cli_input(code), __func__);
}
