/* The frozen model and an adapter on it (adapt_base.h). */
#include "experiments/adapt_base.h"

#include "experiments/model_store.h"
#include "meta/pool.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- opening ---- */

typedef struct opening {
    xp_task_base *b;
    const char *path;
    ag_code code[2];
    ag_error error[2];
} opening;

static void open_part(void *ctx, int64_t item, int worker)
{
    opening *o = ctx;
    (void)worker;
    o->code[item] = item ? xp_model_tokenizer(&o->b->tokenizer, o->path, &o->error[item])
                         : nn_network_open(&o->b->net, o->path, NULL, &o->error[item]);
}

static ag_code open_model(xp_task_base *b, const char *path, int threads, ag_error *err)
{
    meta_pool *pool;
    opening o = { .b = b, .path = path };
    AG_TRY(err, meta_pool_new(&pool, threads > 1 ? 2 : 1, err));
    meta_pool_run(pool, 2, open_part, &o);
    meta_pool_free(pool);
    for (int i = 0; i < 2; i++)
        if (o.code[i] != AG_OK)
            return ag_fail(err, o.code[i], "%.1900s", o.error[i].message);
    AG_REQUIRE(b->net->config.vocab_size > 0, err, AG_ECONFIG, "%s: a network that reads arrays; expected one that reads texts", path);
    AG_REQUIRE(nn_tokenizer_size(b->tokenizer) <= b->net->config.vocab_size, err, AG_EDATA, "%s: its tokenizer has %lld tokens and the network %lld",
               path, (long long)nn_tokenizer_size(b->tokenizer), (long long)b->net->config.vocab_size);
    return AG_OK;
}

static ag_code check_base(const xp_task_base *b, const char *dir, ag_error *err)
{
    const char *made = b->card.base_digest;
    AG_REQUIRE(!made || strcmp(made, b->net->digest) == 0, err, AG_EDATA, "the adapter '%s' was made for another model: %s, digest %s; that of %s "
               "is %s", dir, b->card.base_path ? b->card.base_path : "?", made, b->net->path, b->net->digest);
    return AG_OK;
}

static ag_code fresh_adapter(xp_task_base *b, uint64_t seed, ag_error *err)
{
    AG_TRY(err, meta_adapter_new(&b->adapter, b->net, &(meta_adapter_options){ .rank = 8, .alpha = 16 }, err));
    b->values = ag_alloc((size_t)meta_adapter_values(b->adapter) * sizeof *b->values);
    AG_REQUIRE(b->values, err, AG_ENOMEM, "adapter: out of memory");
    meta_adapter_draw(b->adapter, seed, b->values);
    return AG_OK;
}

static ag_code check_folder(const char *dir, ag_error *err)
{
    struct stat st;
    AG_REQUIRE(stat(dir, &st) == 0, err, AG_ECONFIG, "the adapter '%s': %s; expected a folder with adapter_config.json", dir, strerror(errno));
    AG_REQUIRE(S_ISDIR(st.st_mode), err, AG_ECONFIG, "the adapter '%s' is no folder; expected one with adapter_config.json", dir);
    return AG_OK;
}

static ag_code open_all(xp_task_base *b, const xp_task_base_options *o, ag_error *err)
{
    bool found;
    char *path;
    if (o->adapter) {
        AG_TRY(err, check_folder(o->adapter, err));
        AG_TRY(err, xp_card_read(&b->card, o->adapter, &found, err));
    }
    const char *model = o->model ? o->model : b->card.base_path;
    AG_REQUIRE(model, err, AG_ECONFIG, "no model is named; expected --model DIR, or an adapter whose metalora.json names one");
    AG_TRY(err, xp_model_path(model, o->cache_dir, &path, err));
    ag_code code = open_model(b, path, o->threads, err);
    ag_free(path);
    AG_TRY(err, code);
    if (!o->adapter)
        return fresh_adapter(b, o->seed, err);
    AG_TRY(err, check_base(b, o->adapter, err));
    return meta_peft_load(&b->adapter, &b->values, o->adapter, b->net, err);
}

ag_code xp_task_base_open(xp_task_base *b, const xp_task_base_options *o, ag_error *err)
{
    *b = (xp_task_base){ 0 };
    ag_code code = open_all(b, o, err);
    if (code != AG_OK)
        xp_task_base_close(b);
    return ag_trail(err, code, __func__);
}

void xp_task_base_close(xp_task_base *b)
{
    meta_adapter_free(b->adapter);
    ag_free(b->values);
    nn_tokenizer_close(b->tokenizer);
    nn_network_close(b->net);
    xp_card_release(&b->card);
    *b = (xp_task_base){ 0 };
}

int64_t xp_task_tokens_most(const xp_task_base *b, int64_t wanted)
{
    int64_t positions = b->net->config.max_position;
    return positions > 0 && positions < wanted ? positions : wanted;
}

/* ---- tokens ---- */

/* *a [n] of `size` bytes each goes on with room for `room`. */
static bool grow(void *a, int64_t n, int64_t room, size_t size)
{
    void **at = a, *wider = ag_alloc((size_t)room * size);
    if (!wider)
        return false;
    if (n)
        memcpy(wider, *at, (size_t)n * size);
    ag_free(*at);
    *at = wider;
    return true;
}

static ag_code reserve(xp_tokens *t, int64_t most, ag_error *err)
{
    int64_t room = t->room ? 2 * t->room : 64, id_room = 2 * (t->n_id + most);
    bool well = true;
    if (t->n == t->room) {
        well = grow(&t->start, t->n, room, sizeof *t->start) && grow(&t->length, t->n, room, sizeof *t->length)
            && grow(&t->dropped, t->n, room, sizeof *t->dropped);
        t->room = well ? room : t->room;
    }
    if (well && t->n_id + most > t->id_room) {
        well = grow(&t->ids, t->n_id, id_room, sizeof *t->ids);
        t->id_room = well ? id_room : t->id_room;
    }
    AG_REQUIRE(well, err, AG_ENOMEM, "out of memory for the tokens of %lld texts", (long long)t->n + 1);
    return AG_OK;
}

ag_code xp_tokens_add(xp_tokens *t, const nn_tokenizer *k, const char *text, size_t length, int64_t most, ag_error *err)
{
    AG_TRY(err, reserve(t, most, err));
    nn_encoding e = { .ids = t->ids + t->n_id, .max = most };
    AG_TRY(err, nn_tokenizer_encode(k, text, length, &e, err));
    if (e.n == 0)                            /* an empty text, and a model without special tokens */
        e.ids[e.n++] = 0;
    t->start[t->n] = t->n_id;
    t->length[t->n] = e.n;
    t->dropped[t->n++] = e.dropped;
    t->n_id += e.n;
    return AG_OK;
}

void xp_tokens_release(xp_tokens *t)
{
    ag_free(t->ids);
    ag_free(t->start);
    ag_free(t->length);
    ag_free(t->dropped);
    *t = (xp_tokens){ 0 };
}

meta_examples xp_tokens_examples(const xp_tokens *t)
{
    return (meta_examples){ .n = t->n, .ids = t->ids, .start = t->start, .length = t->length };
}

int xp_task_threads(int64_t wanted)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return wanted > 0 ? (int)wanted : cores > 1 ? (int)cores : 1;
}
