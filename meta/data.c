/* The episodes of one chunk of tasks: buffers, filling and binding. */
#include "meta/learn_internal.h"

#include <string.h>

static size_t x_bytes(const nn_model *m, meta_set s)
{
    ag_spec spec = nn_model_x(m, s.n, s.capacity);
    size_t bytes = spec.dtype == AG_INT ? sizeof(int32_t) : sizeof(ag_real);
    for (int i = 0; i < spec.ndim; i++)
        bytes *= (size_t)spec.shape[i];
    return bytes;
}

ag_code meta_data_init(meta_data *d, const meta_plan *plan, int64_t n_task, meta_set support, meta_set query, ag_error *err)
{
    const nn_model *m = plan->model;
    *d = (meta_data){ .support = support, .query = query, .support_bytes = x_bytes(m, support), .query_bytes = x_bytes(m, query) };
    d->y_bytes = plan->loss == META_MSE ? (size_t)m->options.n_out * sizeof(ag_real) : sizeof(int32_t);
    d->support_x = ag_alloc_zero((size_t)n_task * d->support_bytes);
    d->support_y = ag_alloc_zero((size_t)(n_task * support.n) * d->y_bytes);
    d->query_x = ag_alloc_zero((size_t)n_task * d->query_bytes);
    d->query_y = ag_alloc_zero((size_t)(n_task * query.n) * d->y_bytes);
    d->seed = ag_alloc_zero((size_t)n_task * 2 * sizeof *d->seed);
    if (d->support_x && d->support_y && d->query_x && d->query_y && d->seed)
        return AG_OK;
    meta_data_release(d);
    return ag_fail(err, AG_ENOMEM, "meta: no memory for the episodes of a chunk of %lld tasks", (long long)n_task);
}

void meta_data_release(meta_data *d)
{
    ag_free(d->support_x);
    ag_free(d->support_y);
    ag_free(d->query_x);
    ag_free(d->query_y);
    ag_free(d->seed);
    memset(d, 0, sizeof *d);
}

size_t meta_data_bytes(const meta_data *d, int64_t n_task)
{
    size_t labels = (size_t)(d->support.n + d->query.n) * d->y_bytes;
    return (size_t)n_task * (d->support_bytes + d->query_bytes + labels + 2 * sizeof *d->seed);
}

static void repeat_first(void *data, size_t bytes, int64_t count, int64_t n_task)
{
    for (int64_t i = count; i < n_task && bytes; i++)
        memcpy((char *)data + (size_t)i * bytes, data, bytes);
}

ag_code meta_data_fetch(meta_data *d, const meta_batch *b, int64_t first, int64_t count, int64_t n_task, ag_error *err)
{
    AG_TRY(err, b->fetch(b->ctx, first, count, d->support_x, d->support_y, d->query_x, d->query_y, err));
    repeat_first(d->support_x, d->support_bytes, count, n_task);
    repeat_first(d->support_y, (size_t)d->support.n * d->y_bytes, count, n_task);
    repeat_first(d->query_x, d->query_bytes, count, n_task);
    repeat_first(d->query_y, (size_t)d->query.n * d->y_bytes, count, n_task);
    for (int64_t i = 0; i < n_task; i++) {
        d->seed[2 * i] = (int32_t)(uint32_t)(b->seed ^ b->seed >> 32);
        d->seed[2 * i + 1] = (int32_t)(uint32_t)(first + i);
    }
    return AG_OK;
}

void meta_bind_data(const meta_data *d, ag_frame *f, bool query)
{
    ag_frame_input(f, META_IN_X, query ? d->query_x : d->support_x);
    ag_frame_input(f, META_IN_Y, query ? d->query_y : d->support_y);
    ag_frame_input(f, META_IN_SUPPORT_X, d->support_x);
    ag_frame_input(f, META_IN_SUPPORT_Y, d->support_y);
    ag_frame_input(f, META_IN_SEED, d->seed);
}
