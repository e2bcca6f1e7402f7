/* What transformers share: heads of a batch of texts, masked attention, rotary positions, root-mean-square norm.
 *
 * Linear layers work on packed rows [C, width]; only the product of queries and keys needs texts side by side. */
#ifndef NN_ATTENTION_H
#define NN_ATTENTION_H

#include "models/text.h"

/* Rows [C, groups * per_group * size] as heads [n, L, groups, per_group, size]. A group of query heads shares one head of
 * keys and values; their own heads have per_group 1. */
ag_tensor *nn_heads(ag_tape *t, const nn_text *b, ag_tensor *rows, int64_t groups, int64_t per_group, int64_t size);

/* What is added to scores [n, groups, per_group, L, L]: 0, or a number so low that the weight is 0 exactly, for places without
 * a token and, causal, for those behind the query. Made once a pass: it depends on the texts only. */
ag_tensor *nn_attention_mask(ag_tape *t, const nn_text *b, bool causal);

/* softmax(scale q k' + mask) v as packed rows [C, groups * per_group * size]; q, k, v of nn_heads. */
ag_tensor *nn_attend(ag_tape *t, const nn_text *b, ag_tensor *q, ag_tensor *k, ag_tensor *v, ag_tensor *mask, double scale);

/* Rotary positions (Su et al. 2021, eq. 34, with Hugging Face's pairs: entry j of the first half with entry j of the second).
 * The table holds each token's rotations times scale, [C, 1, 2, 2, size / 2]. */
ag_tensor *nn_rotary_table(ag_tape *t, const nn_text *b, int64_t size, double theta, double scale);
ag_tensor *nn_rotate(ag_tape *t, ag_tensor *rows, int64_t n_head, int64_t size, ag_tensor *table);   /* rows [C, n_head size] */

/* gamma x / sqrt(mean x^2 + epsilon) over the last axis (Zhang & Sennrich 2019, eq. 4). */
ag_tensor *nn_rms_norm(ag_tape *t, ag_tensor *x, double epsilon, ag_tensor *gamma);

#endif
