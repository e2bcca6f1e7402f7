/* The table of task sources and the calls that go through it (tasks.h). */
#include "experiments/tasks_internal.h"

#include "autograd/random.h"

#include <stdio.h>
#include <string.h>

/* One row a source. */
static const xp_source_type *const sources[] = {
    &xp_source_sinusoid,
    &xp_source_lora_linear,
    &xp_source_omniglot,
    &xp_source_clinc150,
    &xp_source_banking77,
    &xp_source_hwu64,
    &xp_source_text,
    &xp_source_arrays,
    &xp_source_caltech101,
    &xp_source_lm,
};
enum { N_SOURCE = sizeof sources / sizeof *sources };

const char *xp_source_name(int i)
{
    return i >= 0 && i < N_SOURCE ? sources[i]->name : NULL;
}

const char *xp_source_about(int i)
{
    return i >= 0 && i < N_SOURCE ? sources[i]->about : NULL;
}

static ag_code unknown_source(const char *name, ag_error *err)
{
    char known[256] = "";
    size_t used = 0;
    for (int i = 0; i < N_SOURCE && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", sources[i]->name);
    return ag_fail(err, AG_ECONFIG, "tasks.source: there is no source '%s'; expected one of %s", name, known);
}

ag_code xp_source_open(xp_source **s, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err)
{
    static const xp_source_options none;
    AG_REQUIRE(s, err, AG_EINVAL, "xp_source_open: s is NULL");
    *s = NULL;
    AG_REQUIRE(tasks && tasks->source, err, AG_EINVAL, "xp_source_open: tasks or its source is NULL");
    const xp_source_type *type = NULL;
    for (int i = 0; i < N_SOURCE; i++)
        if (strcmp(sources[i]->name, tasks->source) == 0)
            type = sources[i];
    if (!type)
        return unknown_source(tasks->source, err);
    xp_source *made = ag_alloc_zero(sizeof *made);
    AG_REQUIRE(made, err, AG_ENOMEM, "task source %s: out of memory (%zu bytes)", type->name, sizeof *made);
    made->type = type;
    ag_code code = type->open(&made->state, &made->shape, tasks, opt ? opt : &none, err);
    if (code != AG_OK) {
        ag_free(made);
        return ag_trail(err, code, __func__);
    }
    *s = made;
    return AG_OK;
}

void xp_source_close(xp_source *s)
{
    if (!s)
        return;
    s->type->close(s->state);
    ag_free(s);
}

xp_example_shape xp_source_example(const xp_source *s)
{
    return s->shape;
}

int64_t xp_source_classes(const xp_source *s, uint64_t stream)
{
    return s->type->classes ? s->type->classes(s->state, stream) : 0;
}

int64_t xp_source_examples_per_class(const xp_source *s)
{
    return s->type->examples ? s->type->examples(s->state) : 0;
}

int64_t xp_source_dropped(const xp_source *s)
{
    return s->type->dropped ? s->type->dropped(s->state) : 0;
}

int64_t xp_source_texts(const xp_source *s, uint64_t stream, int64_t *index, xp_text_tokens *tokens)
{
    return s->type->texts ? s->type->texts(s->state, stream, index, tokens) : 0;
}

ag_code xp_source_use_features(xp_source *s, const ag_real *features, int64_t width, ag_error *err)
{
    AG_REQUIRE(s->type->use_features, err, AG_EINVAL, "%s: its examples are no texts", s->type->name);
    s->type->use_features(s->state, features, width);
    s->shape.text = false;
    s->shape.x_ndim = 1;
    s->shape.x_shape[0] = width;
    return AG_OK;
}

static ag_code check_size(const xp_source *s, const xp_episode_size *size, ag_error *err)
{
    const char *name = s->type->name;
    AG_REQUIRE(size->way >= 1, err, AG_ECONFIG, "%s: way is %lld; expected at least 1", name, (long long)size->way);
    AG_REQUIRE(size->shot >= 0 && size->query >= 0, err, AG_ECONFIG,
               "%s: shot is %lld and query %lld; expected 0 or more", name, (long long)size->shot,
               (long long)size->query);
    AG_REQUIRE(s->shape.labels || size->way == 1, err, AG_ECONFIG,
               "%s: way is %lld; its tasks have no classes, so way must be 1", name, (long long)size->way);
    return AG_OK;
}

ag_code xp_source_text_shape(const xp_source *s, uint64_t stream, const xp_episode_size *size, nn_text_shape *support,
                             nn_text_shape *query, ag_error *err)
{
    AG_REQUIRE(s->shape.text, err, AG_EINVAL, "%s: its examples are no texts", s->type->name);
    AG_TRY(err, check_size(s, size, err));
    return s->type->capacity(s->state, stream, size, support, query, err);
}

ag_code xp_source_picks(const xp_source *s, const xp_episode_id *id, const xp_episode_size *size, int64_t *index, ag_error *err)
{
    AG_REQUIRE(s->type->picks, err, AG_EINVAL, "%s: its examples are no texts", s->type->name);
    AG_TRY(err, check_size(s, size, err));
    return s->type->picks(s->state, id, size, index, err);
}

ag_code xp_source_episode(const xp_source *s, const xp_episode_id *id, const xp_episode_size *size,
                          void *support_x, void *support_y, void *query_x, void *query_y, ag_error *err)
{
    AG_REQUIRE(s && id && size, err, AG_EINVAL, "xp_source_episode: source, id or size is NULL");
    AG_REQUIRE(id->stream == AG_STREAM_TRAIN || id->stream == AG_STREAM_VALIDATION || id->stream == AG_STREAM_TEST,
               err, AG_EINVAL, "%s: stream is %llu; expected that of training, validation or test", s->type->name,
               (unsigned long long)id->stream);
    AG_TRY(err, check_size(s, size, err));
    AG_REQUIRE((support_x && support_y) || size->shot == 0, err, AG_EINVAL, "%s: a support buffer is NULL", s->type->name);
    AG_REQUIRE((query_x && query_y) || size->query == 0, err, AG_EINVAL, "%s: a query buffer is NULL", s->type->name);
    xp_episode_out out = { .support_x = support_x, .query_x = query_x, .support_y = support_y, .query_y = query_y };
    AG_TRY(err, s->type->episode(s->state, id, size, &out, err));
    return AG_OK;
}
