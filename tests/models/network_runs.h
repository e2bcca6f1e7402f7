/* Running networks in tests: a tape, a network's weights on it, batches of texts. */
#ifndef TESTS_NETWORK_RUNS_H
#define TESTS_NETWORK_RUNS_H

#include "models/network.h"
#include "tests/check.h"

/* An eager tape with all weights of a network as values. pass points into the run. */
typedef struct run {
    ag_tape *tape;
    ag_tensor **weight;
    nn_pass pass;
} run;
void run_init(run *r, const nn_network *net);
void run_release(run *r);
/* Aborts the test where the tape has an error. */
void run_read(run *r, ag_tensor *x, ag_real *out);
ag_real *run_numbers(run *r, ag_tensor *x);     /* freed by free() */

nn_network *open_network(const char *path);

/* Texts one behind the other. */
typedef struct texts {
    int n;
    int64_t start[32], length[32], total;
    int32_t ids[2048];
} texts;
nn_text run_texts(run *r, const texts *x, const nn_text_shape *s);

#endif
