/* Random graphs: a few leaves and 5 to 25 random operators on them, decided by random numbers and shapes only, so the
 * same graph can be built on any tape. Numbers stay in a safe range (each tensor carries a bound). */
#ifndef TESTS_GRAPHS_H
#define TESTS_GRAPHS_H

#include "autograd/autograd.h"

enum { GRAPH_LEAVES = 4, GRAPH_POOL = 40 };

typedef struct graph {
    uint64_t id;
    int64_t n_task;
    int n_leaf, n_step;
    ag_spec leaf[GRAPH_LEAVES];      /* random shapes, tasks and stages */
} graph;

void graph_choose(graph *g, uint64_t id);
/* Numbers for every leaf, [n_leaf]; version makes others. Each is freed with free. */
void graph_numbers(const graph *g, uint64_t version, ag_real **data);
/* Everything the graph computes, leaves first, into pool [GRAPH_POOL]; returns how many. */
int graph_build(const graph *g, ag_tape *t, ag_tensor *const *leaf, ag_tensor **pool);
/* A number (per task) that depends on the last few results. */
ag_tensor *graph_loss(const graph *g, ag_tape *t, ag_tensor *const *pool, int n);
/* One operator's name for each step, for messages; static storage. */
const char *graph_text(const graph *g);

#endif
