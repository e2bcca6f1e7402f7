/* Where a network's weight lies in a file, and how its numbers come from there. */
#ifndef NN_NETWORK_SOURCE_H
#define NN_NETWORK_SOURCE_H

#include "models/network_internal.h"

typedef struct nn_source {
    const nn_stored *stored;
    int64_t pairs;               /* rows of a rotated projection are stored in neighbouring pairs: the head's size; 0: they are not */
    bool conv;                   /* stored [out, in, (kh,) kw] */
} nn_source;

/* Finds weight i and checks its shape. Fails with AG_EDATA: the tensor, what is there, what was expected. */
ag_code nn_source_find(nn_source *s, const nn_network *net, const nn_weights *w, int i, ag_error *err);
/* The numbers in the file if they can be used there; else NULL, and nn_source_read gives them. */
const ag_real *nn_source_in_place(const nn_source *s);
/* out [numel of weight i]. */
ag_code nn_source_read(const nn_source *s, const nn_weight *weight, ag_real *out, ag_error *err);

#endif
