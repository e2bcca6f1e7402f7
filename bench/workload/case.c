/* Reading a case, see case.h. */
#include "bench/workload/case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUPPORT, QUERY, LORA_RANK = 8, LORA_ALPHA = 16, MAX_TARGETS = 8 };

/* ---- what the file says ---- */

static ag_code text_of(const bench_case *c, const char *key, const char **value, ag_error *err)
{
    AG_REQUIRE(nn_weights_string(c->file, key, value), err, AG_EDATA, "%s: no metadata '%s'; bench/run.py writes cases",
               nn_weights_path(c->file), key);
    return AG_OK;
}

static ag_code number_of(const bench_case *c, const char *key, double *value, ag_error *err)
{
    const char *text;
    char *end;
    AG_TRY(err, text_of(c, key, &text, err));
    *value = strtod(text, &end);
    AG_REQUIRE(end != text && !*end, err, AG_EDATA, "%s: metadata '%s' is '%s'; a number is expected", nn_weights_path(c->file), key, text);
    return AG_OK;
}

static ag_code count_of(const bench_case *c, const char *key, int64_t *value, ag_error *err)
{
    double x = 0;
    AG_TRY(err, number_of(c, key, &x, err));
    AG_REQUIRE(x >= 0 && x < 1e9, err, AG_EDATA, "%s: metadata '%s' is %g; a count is expected", nn_weights_path(c->file), key, x);
    *value = (int64_t)x;
    return AG_OK;
}

static ag_code array_of(const bench_case *c, const char *name, nn_dtype dtype, const nn_stored **s, ag_error *err)
{
    *s = nn_weights_find(c->file, name);
    AG_REQUIRE(*s && (*s)->dtype == dtype && (*s)->ndim >= 3, err, AG_EDATA, "%s: no %s [batches, tasks, examples, ...] of type %s",
               nn_weights_path(c->file), name, nn_dtype_name(dtype));
    return AG_OK;
}

/* x [batches, tasks, n, one example...], y [batches, tasks, n] or [batches, tasks, n, 1]. */
static ag_code find_data(bench_case *c, bool text, bool classes, ag_error *err)
{
    AG_TRY(err, array_of(c, "support_x", text ? NN_I32 : NN_F32, &c->x[SUPPORT], err));
    AG_TRY(err, array_of(c, "query_x", text ? NN_I32 : NN_F32, &c->x[QUERY], err));
    AG_TRY(err, array_of(c, "support_y", classes ? NN_I32 : NN_F32, &c->y[SUPPORT], err));
    AG_TRY(err, array_of(c, "query_y", classes ? NN_I32 : NN_F32, &c->y[QUERY], err));
    c->n_batch = c->x[SUPPORT]->shape[0];
    c->n_task = c->x[SUPPORT]->shape[1];
    for (int i = 0; i < 2; i++)
        for (int d = 0; d < 3; d++)
            AG_REQUIRE(c->x[i]->shape[d] == c->y[i]->shape[d] && (d == 2 || c->x[i]->shape[d] == c->x[SUPPORT]->shape[d]), err, AG_EDATA,
                       "%s: x and y disagree in axis %d", nn_weights_path(c->file), d);
    return AG_OK;
}

/* ---- models ---- */

static ag_code make_mlp(bench_case *c, ag_error *err)
{
    c->options.loss = META_MSE;
    AG_TRY(err, find_data(c, false, false, err));
    return nn_model_init(&c->model, &(nn_options){ .kind = "mlp", .x_ndim = 1, .x_shape = { 1 }, .n_out = 1, .n_hidden = 2, .hidden = { 40, 40 } }, err);
}

static ag_code make_conv4(bench_case *c, int64_t way, ag_error *err)
{
    int64_t filters, pool;
    c->options.loss = META_CROSS_ENTROPY;
    c->options.adapt_norm = true;
    AG_TRY(err, find_data(c, false, true, err));
    AG_TRY(err, count_of(c, "filters", &filters, err));
    AG_TRY(err, count_of(c, "max_pool", &pool, err));
    AG_REQUIRE(c->x[SUPPORT]->ndim == 6, err, AG_EDATA, "%s: support_x has %d axes; 6 are expected", nn_weights_path(c->file), c->x[SUPPORT]->ndim);
    nn_options o = { .kind = "conv4", .x_ndim = 3, .n_out = way, .filters = filters, .max_pool = pool != 0, .batch_norm = true,
                     .norm_scale = true, .norm_epsilon = 1e-5 };
    memcpy(o.x_shape, c->x[SUPPORT]->shape + 3, sizeof o.x_shape);
    return nn_model_init(&c->model, &o, err);
}

/* The network lies in a folder beside the case, as people have them. */
static ag_code open_network(bench_case *c, ag_error *err)
{
    const char *name, *path = nn_weights_path(c->file), *slash = strrchr(path, '/');
    char folder[512];
    AG_TRY(err, text_of(c, "network", &name, err));
    int n = snprintf(folder, sizeof folder, "%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, name);
    AG_REQUIRE(n >= 0 && n < (int)sizeof folder, err, AG_EINVAL, "%.100s...: too long a path", path);
    return nn_network_open(&c->net, folder, NULL, err);
}

static ag_code make_lora(bench_case *c, int64_t way, ag_error *err)
{
    const char *names, *target[MAX_TARGETS];
    char list[128];
    int n = 0;
    c->options.loss = META_CROSS_ENTROPY;
    AG_TRY(err, find_data(c, true, true, err));
    AG_TRY(err, open_network(c, err));
    AG_TRY(err, text_of(c, "targets", &names, err));
    snprintf(list, sizeof list, "%s", names);
    for (char *next, *word = strtok_r(list, ",", &next); word && n < MAX_TARGETS; word = strtok_r(NULL, ",", &next))
        target[n++] = word;
    meta_adapter_options a = { .rank = LORA_RANK, .alpha = LORA_ALPHA, .n_target = n, .targets = target };
    AG_TRY(err, meta_adapter_new(&c->adapter, c->net, &a, err));
    return meta_network_model(&c->model, &(meta_network_model_options){ .net = c->net, .adapter = c->adapter, .n_class = way,
                                                                         .max_tokens = c->x[SUPPORT]->shape[3] }, err);
}

static ag_code make_model(bench_case *c, ag_error *err)
{
    const char *kind;
    int64_t way;
    AG_TRY(err, text_of(c, "model", &kind, err));
    AG_TRY(err, count_of(c, "way", &way, err));
    if (strcmp(kind, "mlp") == 0)
        return make_mlp(c, err);
    if (strcmp(kind, "conv4") == 0)
        return make_conv4(c, way, err);
    AG_REQUIRE(strcmp(kind, "lora") == 0, err, AG_EDATA, "%s: model '%s'; mlp, conv4 or lora is expected", nn_weights_path(c->file), kind);
    return make_lora(c, way, err);
}

/* ---- the learner's options ---- */

static ag_code set_options(bench_case *c, const bench_changes *change, ag_error *err)
{
    meta_options *o = &c->options;
    AG_TRY(err, number_of(c, "inner_lr", &o->inner_lr, err));
    AG_TRY(err, number_of(c, "outer_lr", &c->outer_lr, err));
    AG_TRY(err, count_of(c, "steps", &o->train_steps, err));
    AG_TRY(err, count_of(c, "chunk", &o->chunk, err));
    AG_TRY(err, count_of(c, "check", &c->check, err));
    AG_TRY(err, text_of(c, "algorithm", &c->algorithm, err));
    if (change->algorithm)
        c->algorithm = change->algorithm;
    bool reptile = strcmp(c->algorithm, "reptile") == 0;
    o->algorithm = reptile ? META_REPTILE : META_MAML;
    o->rule = reptile ? META_RULE_ADAM : META_RULE_SGD;
    o->first_order = strcmp(c->algorithm, "fomaml") == 0;
    AG_REQUIRE(reptile || o->first_order || strcmp(c->algorithm, "maml") == 0, err, AG_EDATA,
               "algorithm '%s'; maml, fomaml or reptile is expected", c->algorithm);
    o->n_support = c->x[SUPPORT]->shape[2];
    o->n_query = c->x[QUERY]->shape[2];
    o->threads = change->threads ? (int)change->threads : 1;
    o->train_steps = change->steps ? change->steps : o->train_steps;
    o->chunk = change->chunk ? change->chunk : o->chunk;
    o->keep_bytes = change->keep * 1000000;
    c->n_task = change->tasks ? change->tasks : c->n_task;
    return AG_OK;
}

ag_code bench_case_open(bench_case *c, const char *path, const bench_changes *change, ag_error *err)
{
    memset(c, 0, sizeof *c);
    AG_TRY(err, nn_weights_open(&c->file, path, err));
    AG_TRY(err, make_model(c, err));
    return set_options(c, change, err);
}

void bench_case_close(bench_case *c)
{
    nn_model_release(&c->model);
    meta_adapter_free(c->adapter);
    nn_network_close(c->net);
    nn_weights_close(c->file);
    memset(c, 0, sizeof *c);
}

ag_code bench_case_start(const bench_case *c, ag_real *values, ag_error *err)
{
    for (int i = 0; i < c->model.n_param; i++) {
        const nn_param *p = &c->model.param[i];
        char name[24];
        snprintf(name, sizeof name, "param.%02d", i);
        const nn_stored *s = nn_weights_find(c->file, name);
        AG_REQUIRE(s && s->numel == p->numel, err, AG_EDATA, "%s: %s, %lld numbers for %s, is not there", nn_weights_path(c->file), name,
                   (long long)p->numel, p->name);
        AG_TRY(err, nn_stored_read(s, values + p->offset, err));
    }
    return AG_OK;
}

/* ---- episodes ---- */

static const char *task_bytes(const bench_case *c, const nn_stored *s, int64_t task, size_t *bytes)
{
    *bytes = s->bytes / (size_t)(s->shape[0] * s->shape[1]);
    return (const char *)s->data + (size_t)(c->batch * s->shape[1] + task % s->shape[1]) * *bytes;
}

static void copy_array(const bench_case *c, const nn_stored *s, int64_t first, int64_t count, void *out)
{
    for (int64_t i = 0; i < count; i++) {
        size_t bytes;
        const char *from = task_bytes(c, s, first + i, &bytes);
        memcpy((char *)out + (size_t)i * bytes, from, bytes);
    }
}

/* All texts have the same length, so packing changes no order. */
static void copy_texts(const bench_case *c, const nn_stored *s, int64_t first, int64_t count, int32_t *out)
{
    int64_t n = s->shape[2], length = s->shape[3];
    nn_text_shape shape = nn_model_text(&c->model, n, 0);
    for (int64_t i = 0; i < count; i++) {
        size_t bytes;
        const int32_t *ids = (const int32_t *)(const void *)task_bytes(c, s, first + i, &bytes);
        int32_t *x = out + i * nn_text_numel(&shape);
        int64_t start[256], lengths[256];
        for (int64_t j = 0; j < n; j++) {
            start[j] = j * length;
            lengths[j] = length;
        }
        nn_text_pack(&shape, ids, start, lengths, x);
    }
}

ag_code bench_case_fetch(void *ctx, int64_t first, int64_t count, void *sx, void *sy, void *qx, void *qy, ag_error *err)
{
    const bench_case *c = ctx;
    void *x[2] = { sx, qx }, *y[2] = { sy, qy };
    AG_REQUIRE(!c->net || (c->options.n_support <= 256 && c->options.n_query <= 256), err, AG_EDATA, "more than 256 texts of a task");
    for (int i = 0; i < 2; i++) {
        if (c->net)
            copy_texts(c, c->x[i], first, count, x[i]);
        else
            copy_array(c, c->x[i], first, count, x[i]);
        copy_array(c, c->y[i], first, count, y[i]);
    }
    return AG_OK;
}
