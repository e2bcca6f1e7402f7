/* A batch of texts as one int32 array, without padding where it costs: the tokens of all texts of a set lie one behind
 * the other ("packed", C tokens), so that linear layers see no padding; attention looks at them as [n, L] ("padded").
 *
 *     x [nn_text_numel(b)] = ids [C] | place [C] | position [C] | packed [n L] | valid [n L]
 *       ids       token ids, 0 behind the last
 *       place     where each token stands in [n L]: text * L + position; 0 behind the last
 *       position  within its text; 0 behind the last
 *       packed    the inverse of place: where in [C] the token of a place is; 0 where there is none
 *       valid     1 where a place has a token
 * Places without a token read token 0's numbers and are masked; what is masked has gradient 0 exactly. */
#ifndef NN_TEXT_H
#define NN_TEXT_H

#include "autograd/autograd.h"

typedef struct nn_text_shape {
    int64_t n;               /* texts */
    int64_t length;          /* L: tokens of the longest text allowed */
    int64_t capacity;        /* C: tokens of all texts together, n <= C <= n L */
} nn_text_shape;

int64_t nn_text_numel(const nn_text_shape *s);

/* Fills x from texts' tokens: text i has length[i] tokens at ids + start[i]. A text longer than L loses its end; while
 * all together exceed C, the longest text (the last of equals) loses one token before its last, which stays (it is a special
 * token in most models). Returns the number of tokens left out. Allocates nothing. */
int64_t nn_text_pack(const nn_text_shape *s, const int32_t *ids, const int64_t *start, const int64_t *length, int32_t *x);

/* The parts of x on a tape. */
typedef struct nn_text {
    nn_text_shape shape;
    ag_tensor *ids, *place, *position;   /* int32 [C] */
    ag_tensor *packed;                   /* int32 [n L] */
    ag_tensor *valid;                    /* ag_real [n, L] */
} nn_text;
nn_text nn_text_split(ag_tape *t, ag_tensor *x, const nn_text_shape *s);
/* rows [C, d...] -> [n, L, d...] and back. */
ag_tensor *nn_text_pad(ag_tape *t, const nn_text *b, ag_tensor *rows);
ag_tensor *nn_text_unpad(ag_tape *t, const nn_text *b, ag_tensor *padded);
/* Features of each text [n, d] from rows [C, d]: the mean over its tokens, its first token, its last. */
typedef enum nn_pooling { NN_POOL_MEAN, NN_POOL_FIRST, NN_POOL_LAST } nn_pooling;
ag_tensor *nn_text_pool(ag_tape *t, const nn_text *b, ag_tensor *rows, nn_pooling pooling);

#endif
