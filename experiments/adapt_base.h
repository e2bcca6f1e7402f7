/* What adapt, predict and export stand on: the frozen model, its tokenizer, an adapter with its card, and texts as tokens. */
#ifndef XP_ADAPT_BASE_H
#define XP_ADAPT_BASE_H

#include "experiments/adapt_files.h"
#include "meta/network_model.h"
#include "meta/task.h"
#include "models/tokenizer/tokenizer.h"

typedef struct xp_task_base {
    nn_network *net;
    nn_tokenizer *tokenizer;
    meta_adapter *adapter;
    ag_real *values;                     /* [meta_adapter_values] */
    xp_card card;                        /* zero where the adapter has none */
} xp_task_base;

typedef struct xp_task_base_options {
    const char *model;                   /* as xp_model_path has it; NULL: the card's */
    const char *adapter;                 /* folder; NULL: a fresh LoRA of rank 8 on the architecture's usual modules */
    const char *cache_dir;
    uint64_t seed;                       /* of the fresh one */
    int threads;                         /* with 2, network and tokenizer are opened at the same time */
} xp_task_base_options;

/* Fails with AG_ECONFIG (no such model or folder, neither is named), AG_EDATA (damaged, another base), AG_EIO, AG_ENOMEM; then
 * there is nothing to close. */
ag_code xp_task_base_open(xp_task_base *b, const xp_task_base_options *o, ag_error *err);
void xp_task_base_close(xp_task_base *b);

/* max_tokens as wanted, or the network's positions where they are fewer. */
int64_t xp_task_tokens_most(const xp_task_base *b, int64_t wanted);

/* Texts' tokens, one behind the other. */
typedef struct xp_tokens {
    int64_t n, room, n_id, id_room;
    int32_t *ids;
    int64_t *start, *length, *dropped;   /* [n]; dropped: tokens beyond the most */
} xp_tokens;
/* AG_EDATA: the text is not UTF-8. */
ag_code xp_tokens_add(xp_tokens *t, const nn_tokenizer *k, const char *text, size_t length, int64_t most, ag_error *err);
void xp_tokens_release(xp_tokens *t);
meta_examples xp_tokens_examples(const xp_tokens *t);

/* Cores, or the number asked for. */
int xp_task_threads(int64_t wanted);

#endif
