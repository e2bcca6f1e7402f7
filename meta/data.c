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

/* Of one task, as programs get them of a language model. */
static int64_t rows(const nn_model *m, meta_set s)
{
    return m->language ? 2 * nn_model_text(m, s.n, s.capacity).capacity : 0;
}

static size_t y_bytes(const meta_plan *plan)
{
    const nn_model *m = plan->model;
    if (plan->loss == META_MSE)
        return (size_t)m->options.n_out * sizeof(ag_real);
    return sizeof(int32_t) * (size_t)(plan->loss == META_NEXT_TOKEN ? m->max_tokens : 1);
}

ag_code meta_data_init(meta_data *d, const meta_plan *plan, int64_t n_task, meta_set support, meta_set query, ag_error *err)
{
    const nn_model *m = plan->model;
    *d = (meta_data){ .model = m, .support = support, .query = query, .support_bytes = x_bytes(m, support),
                      .query_bytes = x_bytes(m, query), .y_bytes = y_bytes(plan) };
    d->support_x = ag_alloc_zero((size_t)n_task * d->support_bytes);
    d->support_y = ag_alloc_zero((size_t)(n_task * support.n) * d->y_bytes);
    d->query_x = ag_alloc_zero((size_t)n_task * d->query_bytes);
    d->query_y = ag_alloc_zero((size_t)(n_task * query.n) * d->y_bytes);
    d->seed = ag_alloc_zero((size_t)n_task * 2 * sizeof *d->seed);
    if (m->language) {
        d->support_rows = ag_alloc_zero((size_t)(n_task * rows(m, support)) * sizeof *d->support_rows);
        d->query_rows = ag_alloc_zero((size_t)(n_task * rows(m, query)) * sizeof *d->query_rows);
    }
    bool labelled = !m->language || (d->support_rows && d->query_rows);
    if (d->support_x && d->support_y && d->query_x && d->query_y && d->seed && labelled)
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
    ag_free(d->support_rows);
    ag_free(d->query_rows);
    ag_free(d->seed);
    memset(d, 0, sizeof *d);
}

size_t meta_data_bytes(const meta_data *d, int64_t n_task)
{
    size_t labels = (size_t)(d->support.n + d->query.n) * d->y_bytes;
    labels += (size_t)(rows(d->model, d->support) + rows(d->model, d->query)) * sizeof *d->support_rows;
    return (size_t)n_task * (d->support_bytes + d->query_bytes + labels + 2 * sizeof *d->seed);
}

static void repeat_first(void *data, size_t bytes, int64_t count, int64_t n_task)
{
    for (int64_t i = count; i < n_task && bytes; i++)
        memcpy((char *)data + (size_t)i * bytes, data, bytes);
}

/* The rows of a set of each of the first `count` tasks. */
static ag_code label_rows(const meta_data *d, bool query, int64_t first, int64_t count, ag_error *err)
{
    meta_set set = query ? d->query : d->support;
    nn_text_shape s = nn_model_text(d->model, set.n, set.capacity);
    const int32_t *x = query ? d->query_x : d->support_x, *y = query ? d->query_y : d->support_y;
    int32_t *to = query ? d->query_rows : d->support_rows;
    for (int64_t i = 0; i < count && set.n > 0; i++) {
        ag_error why = { 0 };
        ag_code code = meta_row_labels(d->model, &s, x + i * nn_text_numel(&s), y + i * s.n * s.length, to + 2 * i * s.capacity, &why);
        AG_REQUIRE(code == AG_OK, err, code, "task %lld: %s, %s", (long long)(first + i), query ? "query" : "support", why.message);
    }
    return AG_OK;
}

ag_code meta_data_fetch(meta_data *d, const meta_batch *b, int64_t first, int64_t count, int64_t n_task, ag_error *err)
{
    AG_TRY(err, b->fetch(b->ctx, first, count, d->support_x, d->support_y, d->query_x, d->query_y, err));
    for (int query = 0; query < 2 && d->model->language; query++)
        AG_TRY(err, label_rows(d, query, first, count, err));
    repeat_first(d->support_x, d->support_bytes, count, n_task);
    repeat_first(d->support_y, (size_t)d->support.n * d->y_bytes, count, n_task);
    repeat_first(d->query_x, d->query_bytes, count, n_task);
    repeat_first(d->query_y, (size_t)d->query.n * d->y_bytes, count, n_task);
    repeat_first(d->support_rows, (size_t)rows(d->model, d->support) * sizeof *d->support_rows, count, n_task);
    repeat_first(d->query_rows, (size_t)rows(d->model, d->query) * sizeof *d->query_rows, count, n_task);
    for (int64_t i = 0; i < n_task; i++) {
        d->seed[2 * i] = (int32_t)(uint32_t)(b->seed ^ b->seed >> 32);
        d->seed[2 * i + 1] = (int32_t)(uint32_t)(first + i);
    }
    return AG_OK;
}

const void *meta_data_y(const meta_data *d, bool query)
{
    if (d->model->language)
        return query ? d->query_rows : d->support_rows;
    return query ? d->query_y : d->support_y;
}

void meta_bind_data(const meta_data *d, ag_frame *f, bool query)
{
    ag_frame_input(f, META_IN_X, query ? d->query_x : d->support_x);
    ag_frame_input(f, META_IN_Y, meta_data_y(d, query));
    ag_frame_input(f, META_IN_SUPPORT_X, d->support_x);
    ag_frame_input(f, META_IN_SUPPORT_Y, meta_data_y(d, false));
    ag_frame_input(f, META_IN_SEED, d->seed);
}
