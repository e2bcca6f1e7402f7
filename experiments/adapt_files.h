/* The folder of an adapter: PEFT's two files, and metalora.json, the card that says how it is to be used. See docs/adapt.md.
 * The folder appears as a whole: it is written aside and renamed.
 *
 *     xp_card card;
 *     AG_TRY(err, xp_card_read(&card, "intents", &found, err));
 *     ... card.steps ...
 *     xp_card_release(&card);
 */
#ifndef XP_ADAPT_FILES_H
#define XP_ADAPT_FILES_H

#include "autograd/real.h"
#include "meta/adapter.h"
#include "meta/meta.h"

/* Zero fields are not written, and zero where the file does not have them. */
typedef struct xp_card {
    char *version;
    char *base_path, *base_digest;
    int n_label;                 /* of a task's adapter; a start has none */
    char **labels;               /* in the order of the classes */
    bool has_head;
    meta_head head;
    meta_similarity similarity;
    double head_scale;
    bool has_pooling;
    nn_pooling pooling;
    int64_t max_tokens;
    bool has_steps;
    int64_t steps;
    double lr;
    meta_rule rule;
    bool per_shot;               /* the support's loss is multiplied by the number of classes */
    bool head_only;
    meta_rate_scope rate_scope;
    int64_t n_rate;              /* learned rates, in metalora_rates.safetensors; 0: lr everywhere */
    ag_real *rates;
} xp_card;

/* found: whether there is one; without it *card is all zero. Fails with AG_EDATA (file, key, what was expected), AG_EIO, AG_ENOMEM;
 * then there is nothing to release. */
ag_code xp_card_read(xp_card *card, const char *dir, bool *found, ag_error *err);
void xp_card_release(xp_card *card);

/* What is written: strings and arrays of the card are borrowed. */
typedef struct xp_adapter_files {
    const meta_adapter *adapter;
    const ag_real *values;
    int n_extra;
    const meta_extra *extra;
    const xp_card *card;
} xp_adapter_files;

/* Whether a folder may be made there: AG_ECONFIG where it exists and force is not given, where what is there is no adapter's
 * folder (force never removes anything else), or where its folder is missing. */
ag_code xp_adapter_place(const char *dir, bool force, ag_error *err);
/* On failure what was at dir stays, and nothing is left aside. AG_ECONFIG as xp_adapter_place, AG_EIO, AG_ENOMEM. */
ag_code xp_adapter_write(const char *dir, bool force, const xp_adapter_files *f, ag_error *err);

const char *xp_head_name(meta_head head);                /* "prototype", "centroid" */
const char *xp_pooling_name(nn_pooling pooling);         /* "mean", "first", "last" */

#endif
