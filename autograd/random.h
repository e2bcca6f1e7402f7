/* Counter-based random numbers: (seed, stream, iteration, task) -> bits, so anything drawn can be drawn again alone.
 * Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), from Random123.
 *
 *     ag_random r;
 *     ag_random_init(&r, seed, stream, iteration, task);
 *     double a = ag_random_uniform(&r, 0.1, 5.0);
 *
 * A generator is a plain value: copy it, keep it on the stack; no locks, no frees. Streams with different
 * names never overlap: a stream is any 64-bit number, by custom one of the AG_STREAM_ constants. */
#ifndef AG_RANDOM_H
#define AG_RANDOM_H

#include <stdint.h>

enum {
    AG_STREAM_INIT = 1,        /* initial parameters: task = index of the tensor */
    AG_STREAM_TRAIN = 2,       /* training episodes */
    AG_STREAM_VALIDATION = 3,
    AG_STREAM_TEST = 4,
    AG_STREAM_WORLD = 5,       /* what all tasks of a source share (the A* of the linear tasks) */
    AG_STREAM_ADAPTER = 6,     /* private adapters of tasks */
    AG_STREAM_DROPOUT = 7,     /* masks: iteration = which one */
    AG_STREAM_USER = 1000      /* and above: anybody's */
};

typedef struct ag_random {
    uint64_t key[2], counter[4], block[4];
    unsigned used;       /* words of block handed out; 4 = empty */
    double spare;        /* second number of the last Box-Muller pair */
    int has_spare;
} ag_random;

void ag_random_init(ag_random *r, uint64_t seed, uint64_t stream, uint64_t iteration, uint64_t task);
uint64_t ag_random_u64(ag_random *r);
/* Uniform in [lo, hi), 53 bits. */
double ag_random_uniform(ag_random *r, double lo, double hi);
/* Standard normal (Box-Muller). */
double ag_random_normal(ag_random *r);
/* Standard normal kept within [-2, 2] by drawing again, as TensorFlow's truncated_normal. */
double ag_random_truncated_normal(ag_random *r);
/* Uniform in 0 .. n-1 without bias (Lemire 2019); n >= 1. */
uint64_t ag_random_below(ag_random *r, uint64_t n);
/* k different numbers of 0 .. n-1 in random order into out; 0 <= k <= n. Needs no memory of size n. */
void ag_random_choose(ag_random *r, uint64_t n, uint64_t k, uint64_t *out);

#endif
