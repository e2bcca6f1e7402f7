/* PEFT's layout of tensors: it stores what PyTorch convolves and embeds with.
 *     embedding A    ours [count, r]           theirs [r, count]
 *     convolution A  ours [kh, kw, c_in, r]    theirs [r, c_in, kh, kw], one axis less in one dimension; adalora [r, c_in kh kw]
 *     convolution B  ours [out, r]             theirs [out, r, 1, 1]; adalora [out, r]
 *     its magnitude  ours [out]                theirs [1, out, 1, 1] */
#include "meta/peft_internal.h"

#include <stdio.h>
#include <string.h>

int meta_adapter_parts(const meta_adapter *a)
{
    return a->kind == META_DORA || a->kind == META_ADALORA ? 3 : 2;
}

static bool one_dimension(const meta_adapter *a)
{
    return strcmp(a->net->config.architecture, "conv1d") == 0;
}

static void conv_shape(const meta_adapter *a, const meta_adapted *m, int part, int *ndim, int64_t *shape)
{
    const int64_t *w = a->net->weight[a->net->module[m->module].weight].shape;
    bool flat = one_dimension(a);
    int64_t of_a[] = { m->rank, w[2], flat ? w[1] : w[0], w[1] }, of_b[] = { m->out, m->rank, 1, 1 }, of_m[] = { 1, m->out, 1, 1 };
    *ndim = flat ? 3 : 4;
    memcpy(shape, part == 0 ? of_a : part == 1 ? of_b : of_m, sizeof of_a);
}

void meta_peft_shape(const meta_adapter *a, const meta_adapted *m, int part, int *ndim, int64_t *shape)
{
    const nn_param *p = &a->param[m->first + part];
    if (m->kind == NN_CONV && a->kind != META_ADALORA) {
        conv_shape(a, m, part, ndim, shape);
        return;
    }
    *ndim = p->ndim;
    memcpy(shape, p->shape, (size_t)p->ndim * sizeof *shape);
    if (part == 0 && a->kind != META_VERA) {
        *ndim = 2;
        shape[0] = m->rank;
        shape[1] = m->in;
    }
}

/* Where entry (row k, column i) of A is in the file; our column order is [kh, kw, c_in], theirs [c_in, kh, kw]. */
static int64_t place_in_file(const meta_adapter *a, const meta_adapted *m, int64_t k, int64_t i)
{
    if (m->kind == NN_CONV) {
        int64_t channels = a->net->weight[a->net->module[m->module].weight].shape[2];
        i = i % channels * (m->in / channels) + i / channels;
    }
    return k * m->in + i;
}

static bool is_turned(const meta_adapter *a, const meta_adapted *m, int part)
{
    return part == 0 && a->kind != META_VERA && (m->kind == NN_CONV || m->kind == NN_EMBEDDING);
}

void meta_peft_to_file(const meta_adapter *a, const meta_adapted *m, int part, const ag_real *values, ag_real *file)
{
    if (!is_turned(a, m, part)) {
        memcpy(file, values, (size_t)a->param[m->first + part].numel * sizeof *file);
        return;
    }
    for (int64_t i = 0; i < m->in; i++)
        for (int64_t k = 0; k < m->rank; k++)
            file[place_in_file(a, m, k, i)] = values[i * m->rank + k];
}

void meta_peft_from_file(const meta_adapter *a, const meta_adapted *m, int part, const ag_real *file, ag_real *values)
{
    if (!is_turned(a, m, part)) {
        memcpy(values, file, (size_t)a->param[m->first + part].numel * sizeof *file);
        return;
    }
    for (int64_t i = 0; i < m->in; i++)
        for (int64_t k = 0; k < m->rank; k++)
            values[i * m->rank + k] = file[place_in_file(a, m, k, i)];
}

ag_code meta_peft_path(char *path, const char *dir, const char *file, ag_error *err)
{
    int n = snprintf(path, META_PEFT_PATH, "%s/%s", dir, file);
    AG_REQUIRE(n > 0 && n < META_PEFT_PATH, err, AG_EINVAL, "the folder's name '%.60s...' is too long; %d bytes with the file's are allowed", dir, META_PEFT_PATH - 1);
    return AG_OK;
}
