/* Arrays that grow one entry at a time (grow.h). */
#include "models/grow.h"

#include "autograd/status.h"

#include <string.h>

bool nn_grow(void *array, int n, size_t entry)
{
    void *old, *p;
    if (n & (n - 1))
        return true;
    p = ag_alloc_zero((size_t)(n ? 2 * n : 1) * entry);
    if (!p)
        return false;
    memcpy(&old, array, sizeof old);
    if (n)
        memcpy(p, old, (size_t)n * entry);
    ag_free(old);
    memcpy(array, &p, sizeof p);
    return true;
}
