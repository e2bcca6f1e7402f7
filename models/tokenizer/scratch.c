/* Memory of one call: short texts need none from the allocator. */
#include "models/tokenizer/tokenizer_internal.h"

void *nn_scratch_need(nn_scratch *s, size_t bytes)
{
    if (bytes <= sizeof s->local)
        return s->local;
    if (bytes > s->room) {
        ag_free(s->heap);
        s->heap = ag_alloc(bytes + bytes / 4);
        s->room = s->heap ? bytes + bytes / 4 : 0;
    }
    return s->heap;
}

void nn_scratch_release(nn_scratch *s)
{
    ag_free(s->heap);
    s->heap = NULL;
    s->room = 0;
}
