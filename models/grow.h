/* Arrays that grow one entry at a time. */
#ifndef NN_GROW_H
#define NN_GROW_H

#include <stdbool.h>
#include <stddef.h>

/* Room for one more in *array (a pointer of any type, freed with ag_free) of n entries of `entry` bytes: it doubles whenever n is a
 * power of two, which is when it may be full. What is new is zero. False without memory: then nothing has changed. */
bool nn_grow(void *array, int n, size_t entry);

#endif
