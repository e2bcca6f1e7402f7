/* The loss of language models. Logits are as wide as the vocabulary, so they are made and compared where the texts are packed,
 * without padding; the labels, which come padded, are brought there while an episode is fetched. */
#include "meta/learn_internal.h"

#include <string.h>

ag_code meta_row_labels(const nn_model *m, const nn_text_shape *s, const int32_t *x, const int32_t *y, int32_t *rows, ag_error *err)
{
    int64_t c = s->capacity, places = s->n * s->length;
    const int32_t *packed = x + 3 * c, *valid = packed + places;
    memset(rows, 0, 2 * (size_t)c * sizeof *rows);
    for (int64_t i = 0; i < places; i++) {
        if (!valid[i] || y[i] < 0)
            continue;
        AG_REQUIRE(y[i] < m->options.n_out, err, AG_EDATA, "text %lld, place %lld: the next token is %d; expected 0 to %lld, or -1 for none",
                   (long long)(i / s->length), (long long)(i % s->length), (int)y[i], (long long)m->options.n_out - 1);
        rows[packed[i]] = y[i];
        rows[c + packed[i]] = 1;
    }
    return AG_OK;
}

/* The mean of v [c] over what counts; of nothing, 0. */
static ag_tensor *mean_of_counted(ag_tape *t, ag_tensor *v, ag_tensor *counted)
{
    ag_tensor *n = ag_max(t, ag_sum(t, counted, AG_ALL_AXES), ag_scalar(t, 1));
    return ag_div(t, ag_sum(t, ag_mul(t, v, counted), AG_ALL_AXES), n);
}

ag_tensor *meta_next_token_loss(ag_tape *t, ag_tensor *logits, ag_tensor *rows, ag_tensor **hits)
{
    if (!logits)
        return NULL;
    int64_t c = ag_shape(logits)[0];
    ag_tensor *label = ag_slice(t, rows, 0, 0, c);
    ag_tensor *counted = ag_slice(t, ag_one_hot(t, ag_slice(t, rows, 0, c, 2 * c), 2), 1, 1, 2);   /* int32 to numbers, [c, 1] */
    counted = ag_reshape(t, counted, 1, &c);
    if (hits)
        *hits = mean_of_counted(t, ag_hit(t, logits, label), counted);
    return mean_of_counted(t, ag_cross_entropy(t, logits, label), counted);
}
