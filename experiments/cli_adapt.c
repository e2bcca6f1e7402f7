/* metalora adapt: from a few labelled texts to a task's adapter. */
#include "experiments/adapt_base.h"
#include "experiments/cli_commands.h"
#include "experiments/run_internal.h"
#include "experiments/text_table.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_STEPS = 1, DEFAULT_TOKENS = 128, LABELS_SHOWN = 40 };

/* Labelled texts. */
typedef struct examples {
    xp_table table;
    xp_tokens tokens;
    int64_t n, way;
    int32_t *label;              /* [n] */
    int64_t *of_label;           /* [way]: examples */
    char **names;                /* [way], in the order they come; in the table */
    int64_t dropped;
} examples;

/* Where the time went [s]. */
typedef struct times {
    double begun, opened, read, compiled, adapted, written;
} times;

typedef struct adapting {
    const xp_cli_call *c;
    xp_task_base base;
    examples x;
    xp_card card;                /* of the adapter that is written; borrows */
    meta_task_options options;
    nn_model model;
    meta_task *task;
    meta_adapted result;
    meta_estimate estimate;
    bool estimated;
    times t;
} adapting;

/* ---- the examples ---- */

static ag_code read_stdin(xp_table *t, const char *const columns[2], ag_error *err)
{
    size_t n = 0, room = 1 << 16;
    char *bytes = ag_alloc(room);
    while (bytes && !feof(stdin) && !ferror(stdin)) {
        n += fread(bytes + n, 1, room - n, stdin);
        if (n < room)
            continue;
        char *wider = ag_alloc(2 * room);
        if (wider)
            memcpy(wider, bytes, n);
        ag_free(bytes);
        bytes = wider;
        room *= 2;
    }
    ag_code code = !bytes ? ag_fail(err, AG_ENOMEM, "stdin: out of memory")
                 : ferror(stdin) ? ag_fail(err, AG_EIO, "stdin: %s", strerror(errno))
                                 : xp_table_parse(t, bytes, n, XP_TABLE_JSONL, "stdin", columns, 2, err);
    ag_free(bytes);
    return code;
}

static ag_code read_table(xp_table *t, const xp_cli_args *a, ag_error *err)
{
    const char *const columns[2] = { a->text_column ? a->text_column : "text", a->label_column ? a->label_column : "label" };
    AG_REQUIRE(strcmp(columns[0], columns[1]) != 0, err, AG_ECONFIG, "texts and labels are both in '%s'; expected two columns", columns[0]);
    if (strcmp(a->support, "-") == 0)
        return read_stdin(t, columns, err);
    return xp_table_read(t, a->support, columns, 2, err);
}

static int64_t label_of(examples *x, const char *name)
{
    for (int64_t i = 0; i < x->way; i++)
        if (strcmp(x->names[i], name) == 0)
            return i;
    x->names[x->way] = (char *)name;
    return x->way++;
}

static ag_code read_labels(examples *x, ag_error *err)
{
    char where[XP_TABLE_NAME + 32];
    size_t n = (size_t)x->table.n_row;
    x->n = x->table.n_row;
    x->label = ag_alloc_zero(n * sizeof *x->label);
    x->of_label = ag_alloc_zero(n * sizeof *x->of_label);
    x->names = ag_alloc_zero(n * sizeof *x->names);
    AG_REQUIRE(x->label && x->of_label && x->names, err, AG_ENOMEM, "out of memory for %lld examples", (long long)x->n);
    for (int64_t i = 0; i < x->n; i++) {
        const xp_table_row *row = &x->table.rows[i];
        xp_table_where(&x->table, row, where, sizeof where);
        AG_REQUIRE(*row->cell[1], err, AG_EDATA, "%s: the label is empty; expected a name", where);
        x->label[i] = (int32_t)label_of(x, row->cell[1]);
        x->of_label[x->label[i]]++;
    }
    AG_REQUIRE(x->way >= 2, err, AG_EDATA, "%s: all %lld examples have the label '%.100s'; expected two labels or more", x->table.name[0],
               (long long)x->n, x->names[0]);
    return AG_OK;
}

static ag_code tokenize(examples *x, const nn_tokenizer *k, int64_t most, ag_error *err)
{
    for (int64_t i = 0; i < x->n; i++) {
        const char *text = x->table.rows[i].cell[0];
        AG_TRY(err, xp_tokens_add(&x->tokens, k, text, strlen(text), most, err));
        x->dropped += x->tokens.dropped[i];
    }
    return AG_OK;
}

static void examples_release(examples *x)
{
    xp_table_release(&x->table);
    xp_tokens_release(&x->tokens);
    ag_free(x->label);
    ag_free(x->of_label);
    ag_free(x->names);
}

/* ---- what is to be done ---- */

static ag_code read_head(const char *text, meta_head *head, ag_error *err)
{
    AG_REQUIRE(strcmp(text, "prototype") == 0 || strcmp(text, "centroid") == 0, err, AG_ECONFIG, "--head: '%s'; expected prototype or centroid", text);
    *head = strcmp(text, "prototype") == 0 ? META_HEAD_PROTOTYPE : META_HEAD_CENTROID;
    return AG_OK;
}

/* A step size for an adapter that was not meta-trained with one; measured on intents (docs/adapt.md). */
static double usual_rate(const adapting *a)
{
    return a->card.rule == META_RULE_ADAM ? 1e-3 : 0.03;
}

/* The adapter's card, over it the command line, below it what is usual. */
static ag_code decide(adapting *a, ag_error *err)
{
    const xp_cli_args *args = a->c->args;
    xp_card *card = &a->card;
    *card = a->base.card;
    card->version = (char *)METALORA_VERSION;
    card->base_path = a->base.net->path;
    card->base_digest = a->base.net->digest;
    card->n_label = (int)a->x.way;
    card->labels = a->x.names;
    card->head = card->has_head ? card->head : META_HEAD_CENTROID;
    if (args->head)
        AG_TRY(err, read_head(args->head, &card->head, err));
    card->head_scale = args->scale.given ? args->scale.value : card->head_scale > 0 ? card->head_scale : 20;
    card->steps = args->steps.given ? (int64_t)args->steps.value : card->has_steps ? card->steps : DEFAULT_STEPS;
    card->lr = args->lr.given ? args->lr.value : card->lr > 0 ? card->lr : usual_rate(a);
    card->n_rate = args->lr.given ? 0 : card->n_rate;
    card->max_tokens = xp_task_tokens_most(&a->base, args->max_tokens ? args->max_tokens : card->max_tokens ? card->max_tokens : DEFAULT_TOKENS);
    card->has_head = card->has_steps = true;
    AG_REQUIRE(card->max_tokens >= 3, err, AG_ECONFIG, "--max-tokens: %lld; expected 3 or more", (long long)card->max_tokens);
    AG_REQUIRE(!card->head_only || card->head == META_HEAD_CENTROID || card->steps == 0, err, AG_ECONFIG,
               "this start was trained to adapt its head only, and a prototype head has nothing to adapt; expected --head centroid or --steps 0");
    a->options = (meta_task_options){
        .head = card->head, .similarity = card->similarity, .head_scale = card->head_scale, .way = a->x.way, .steps = card->steps,
        .inner_lr = card->lr, .rule = card->rule, .support_scale = card->per_shot ? (double)a->x.way : 1, .rate_scope = card->rate_scope,
        .rates = card->n_rate ? card->rates : NULL, .n_rate = card->n_rate, .head_only = card->head_only, .loss_later = true,
        .threads = xp_task_threads(args->threads),
    };
    return AG_OK;
}

static ag_code check_args(const xp_cli_args *a, ag_error *err)
{
    AG_REQUIRE(a->model || a->adapter, err, AG_ECONFIG, "adapt: --model is missing; expected --model DIR, minilm or smollm2");
    AG_REQUIRE(a->support, err, AG_ECONFIG, "adapt: --support is missing; expected --support FILE.jsonl, or - for stdin");
    AG_REQUIRE(a->to, err, AG_ECONFIG, "adapt: --to is missing; expected --to DIR, the folder to write");
    return xp_adapter_place(a->to, a->force, err);
}

/* ---- doing it ---- */

static ag_code prepare(adapting *a, ag_error *err)
{
    const xp_cli_args *args = a->c->args;
    AG_TRY(err, check_args(args, err));
    AG_TRY(err, read_table(&a->x.table, args, err));
    AG_TRY(err, read_labels(&a->x, err));
    xp_task_base_options o = { .model = args->model, .adapter = args->adapter, .cache_dir = args->cache_dir,
                               .seed = args->seed ? strtoull(args->seed, NULL, 10) : 0, .threads = xp_task_threads(args->threads) };
    AG_TRY(err, xp_task_base_open(&a->base, &o, err));
    a->t.opened = xp_now();
    AG_TRY(err, decide(a, err));
    AG_TRY(err, tokenize(&a->x, a->base.tokenizer, a->card.max_tokens, err));
    a->t.read = xp_now();
    return AG_OK;
}

static ag_code make_task(adapting *a, ag_error *err)
{
    meta_network_model_options m = { .net = a->base.net, .adapter = a->base.adapter, .max_tokens = a->card.max_tokens, .pooling = a->card.pooling };
    meta_examples support = xp_tokens_examples(&a->x.tokens);
    AG_TRY(err, meta_network_model(&a->model, &m, err));
    AG_TRY(err, meta_task_new(&a->task, &a->model, &a->options, &support, a->x.label, err));
    size_t way = (size_t)a->x.way, d = (size_t)a->model.options.n_out;
    a->result = (meta_adapted){
        .values = ag_alloc((size_t)a->model.n_value * sizeof(ag_real)), .w = ag_alloc(way * d * sizeof(ag_real)),
        .b = ag_alloc(way * sizeof(ag_real)), .loss = ag_alloc((size_t)(a->options.steps + 1) * sizeof(double)),
    };
    AG_REQUIRE(a->result.values && a->result.w && a->result.b && a->result.loss, err, AG_ENOMEM, "adapt: out of memory");
    a->t.compiled = xp_now();
    return AG_OK;
}

static ag_code write_adapter(adapting *a, ag_error *err)
{
    const meta_extra layer[] = {
        { "classifier.weight", 2, { a->x.way, a->model.options.n_out }, a->result.w },
        { "classifier.bias", 1, { a->x.way }, a->result.b },
    };
    xp_adapter_files f = { .adapter = a->base.adapter, .values = a->result.values, .n_extra = 2, .extra = layer, .card = &a->card };
    AG_TRY(err, xp_adapter_write(a->c->args->to, a->c->args->force, &f, err));
    a->t.written = xp_now();
    return AG_OK;
}

/* ---- what is told ---- */

static void add_estimate(xp_text *t, const adapting *a)
{
    if (!a->estimated || a->estimate.counted == 0)
        xp_text_add(t, ",\"leave_one_out\":null");
    else
        xp_text_add(t, ",\"leave_one_out\":{\"accuracy\":%.17g,\"counted\":%" PRId64 "}", a->estimate.accuracy, a->estimate.counted);
}

static void add_json(xp_text *t, const adapting *a)
{
    const times *s = &a->t;
    xp_text_add(t, "{\"adapter\":");
    xp_text_json_string(t, a->c->args->to);
    xp_text_add(t, ",\"labels\":[");
    for (int64_t i = 0; i < a->x.way; i++) {
        xp_text_add(t, i ? "," : "");
        xp_text_json_string(t, a->x.names[i]);
    }
    xp_text_add(t, "],\"examples\":{");
    for (int64_t i = 0; i < a->x.way; i++) {
        xp_text_add(t, i ? "," : "");
        xp_text_json_string(t, a->x.names[i]);
        xp_text_add(t, ":%" PRId64, a->x.of_label[i]);
    }
    xp_text_add(t, "},\"steps\":%" PRId64 ",\"loss_before\":", a->options.steps);
    xp_text_json_number(t, a->result.loss[0]);
    xp_text_add(t, ",\"loss_after\":");
    xp_text_json_number(t, a->result.loss[a->options.steps]);
    xp_text_add(t, ",\"dropped\":%" PRId64 ",\"seconds\":%.6f,\"parts\":{\"open\":%.6f,\"read\":%.6f,\"compile\":%.6f,\"adapt\":%.6f,\"write\":%.6f}",
                a->x.dropped, s->written - s->begun, s->opened - s->begun, s->read - s->opened, s->compiled - s->read,
                s->adapted - s->compiled, s->written - s->adapted);
    add_estimate(t, a);
    xp_text_add(t, "}\n");
}

static void add_table(xp_text *t, const adapting *a)
{
    int64_t shown = a->x.way < LABELS_SHOWN ? a->x.way : LABELS_SHOWN;
    xp_text_add(t, "%" PRId64 " labels, %" PRId64 " examples\n", a->x.way, a->x.n);
    for (int64_t i = 0; i < shown; i++) {
        xp_text_add(t, "  ");
        xp_text_left(t, a->x.names[i], 40);
        xp_text_add(t, " %6" PRId64 "\n", a->x.of_label[i]);
    }
    if (shown < a->x.way)
        xp_text_add(t, "  and %" PRId64 " more\n", a->x.way - shown);
    xp_text_add(t, "support loss        %.4f, after %" PRId64 " step%s %.4f\n", a->result.loss[0], a->options.steps,
                a->options.steps == 1 ? "" : "s", a->result.loss[a->options.steps]);
    if (a->estimated && a->estimate.counted)
        xp_text_add(t, "leave-one-out       %.1f %% of %" PRId64 " examples, each predicted without it\n", 100 * a->estimate.accuracy,
                    a->estimate.counted);
    else if (a->estimated)
        xp_text_add(t, "leave-one-out       no label has two examples\n");
    xp_text_add(t, "written to          ");
    xp_text_clean(t, a->c->args->to);
    xp_text_add(t, ", after %.0f ms\n", 1e3 * (a->t.written - a->t.begun));
}

static ag_code tell(const adapting *a, ag_error *err)
{
    xp_text t = { 0 };
    char *text;
    if (a->c->args->json)
        add_json(&t, a);
    else if (!a->c->args->quiet)
        add_table(&t, a);
    else
        return AG_OK;
    AG_TRY(err, xp_text_take(&t, &text, err));
    ag_code code = xp_cli_print(a->c, text, err);
    ag_free(text);
    return code;
}

static void add_notes(const adapting *a)
{
    int64_t alone = 0;
    if (a->c->args->quiet)
        return;
    for (int64_t i = 0; i < a->x.way; i++)
        alone += a->x.of_label[i] == 1;
    if (alone)
        xp_cli_say(a->c->messages, "note: %" PRId64 " label%s one example: it is not counted in the estimate", alone,
                   alone == 1 ? " has" : "s have");
    if (a->x.dropped)
        xp_cli_say(a->c->messages, "note: %" PRId64 " tokens beyond --max-tokens %" PRId64 " of a text were cut", a->x.dropped, a->card.max_tokens);
}

/* The adapter stands written: that a fold went astray is told and no failure. */
static ag_code estimate(adapting *a, ag_error *err)
{
    ag_error why = { 0 };
    if (a->c->args->no_estimate)
        return AG_OK;
    ag_code code = meta_task_leave_one_out(a->task, a->base.values, &a->estimate, NULL, &why);
    AG_REQUIRE(code == AG_OK || code == AG_ENAN, err, code, "%.1900s", why.message);
    a->estimated = code == AG_OK;
    if (!a->estimated && !a->c->args->quiet)
        xp_cli_say(a->c->messages, "note: there is no estimate: without some examples %s", why.message);
    return AG_OK;
}

static ag_code run(adapting *a, ag_error *err)
{
    AG_TRY(err, prepare(a, err));
    AG_TRY(err, make_task(a, err));
    AG_TRY(err, meta_task_adapt(a->task, a->base.values, &a->result, err));
    a->t.adapted = xp_now();
    AG_TRY(err, write_adapter(a, err));
    add_notes(a);
    if (isnan(a->result.loss[a->options.steps]))
        AG_TRY(err, meta_task_loss(a->task, &a->result, &a->result.loss[a->options.steps], err));
    AG_TRY(err, estimate(a, err));
    return tell(a, err);
}

ag_code xp_cli_adapt(const xp_cli_call *c, ag_error *err)
{
    adapting a = { .c = c, .t.begun = xp_now() };
    ag_code code = run(&a, err);
    meta_task_free(a.task);
    nn_model_release(&a.model);
    xp_task_base_close(&a.base);
    examples_release(&a.x);
    ag_free(a.result.values);
    ag_free(a.result.w);
    ag_free(a.result.b);
    ag_free(a.result.loss);
    return ag_trail(err, code == AG_ENAN ? AG_ECONFIG : xp_cli_input(code), __func__);
}
