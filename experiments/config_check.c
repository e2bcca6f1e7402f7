/* What must hold between knobs: what goes with what, and validation; more by subject in config_check_*.c. To add a rule:
 * one function that answers whether it is broken, one name in its file's list. */
#include "experiments/config_check.h"

#include <stdio.h>
#include <string.h>

bool xp_same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool xp_broken(xp_conflict *out, const char *a, const char *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(out->why, sizeof out->why, fmt, args);
    va_end(args);
    out->knobs[0] = a;
    out->knobs[1] = b ? b : "tasks.source";
    out->knobs[2] = "tasks.source";
    return true;
}

/* ---- what goes with what ------------------------------------------------------------------------------- */

static const struct { const char *source, *models; bool classes; } sources[] = {
    { "sinusoid", "mlp", false }, { "lora-linear", "linear", false }, { "lm", "network", false },
    { "omniglot", "conv4 | mlp | network", true }, { "caltech101", "conv4 | mlp | network", true },
    { "arrays", "conv4 | mlp | network", true }, { "clinc150", "network", true }, { "banking77", "network", true },
    { "hwu64", "network", true }, { "text", "network", true }
};

static int find_source(const char *source)
{
    for (int i = 0; i < (int)(sizeof sources / sizeof *sources); i++)
        if (xp_same(source, sources[i].source))
            return i;
    return -1;
}

bool xp_source_has_classes(const char *source)
{
    int i = find_source(source);
    return i >= 0 && sources[i].classes;
}

const char *xp_source_models(const char *source)
{
    int i = find_source(source);
    return i >= 0 ? sources[i].models : NULL;
}

bool xp_source_fits(const char *source, const char *model)
{
    const char *models = xp_source_models(source);
    return models && strstr(models, model);
}

static bool source_and_model(const xp_config *c, xp_conflict *out)
{
    if (xp_source_fits(c->tasks.source, c->model.kind))
        return false;
    return xp_broken(out, "model.kind", NULL, "the model '%s' cannot learn tasks of the source '%s'; expected "
                     "model.kind: %s", c->model.kind, c->tasks.source, xp_source_models(c->tasks.source));
}

static bool source_and_algorithm(const xp_config *c, xp_conflict *out)
{
    const char *a = c->outer.algorithm;
    const char *expected = "maml | fomaml | joint | reptile | anil | imaml | protonet | multitask | none";
    bool linear = xp_same(c->tasks.source, "lora-linear"), classes = xp_source_has_classes(c->tasks.source);
    bool private = xp_same(a, "lora-ml") || xp_same(a, "standard-retraining");
    bool of_classes = xp_same(a, "protonet") || xp_same(a, "multitask");
    if (linear == private && (classes || !of_classes))
        return false;
    if (linear)
        expected = "lora-ml | standard-retraining";
    else if (!classes)
        expected = "maml | fomaml | joint | reptile | anil | imaml | none";
    return xp_broken(out, "outer.algorithm", NULL, "the algorithm '%s' does not work on tasks of the source '%s'; expected "
                     "outer.algorithm: %s", a, c->tasks.source, expected);
}

static bool normalisation(const xp_config *c, xp_conflict *out)
{
    static const char *const sources_of_images[] = { "omniglot", "caltech101", "arrays" };
    bool images = false;
    for (size_t i = 0; i < sizeof sources_of_images / sizeof *sources_of_images; i++)
        images = images || xp_same(c->tasks.source, sources_of_images[i]);
    if (c->model.adapt_norm && xp_same(c->model.norm, "none"))
        return xp_broken(out, "model.adapt_norm", "model.norm", "model.adapt_norm adapts a normalisation, and model.norm is "
                         "none; expected model.norm: batch");
    if (xp_same(c->model.norm, "batch") && !images)
        return xp_broken(out, "model.norm", NULL, "batch normalisation is not made for the source '%s'; expected "
                         "model.norm: none", c->tasks.source);
    return false;
}

/* ---- runs and validation ------------------------------------------------------------------------------- */

static bool seeds(const xp_config *c, xp_conflict *out)
{
    if (c->seed <= UINT64_MAX - (uint64_t)(c->repeats - 1))
        return false;
    return xp_broken(out, "seed", "repeats", "the last of %lld repeats has a seed beyond 64 bits; expected a smaller seed",
                     (long long)c->repeats);
}

static bool validation(const xp_config *c, xp_conflict *out)
{
    if (c->eval.validate_every && xp_same(c->tasks.source, "lora-linear"))
        return xp_broken(out, "eval.validate_every", NULL, "the source lora-linear has no validation tasks; expected "
                         "eval.validate_every: 0");
    if (!xp_same(c->eval.select, "best"))
        return false;
    if (!c->eval.validate_every)
        return xp_broken(out, "eval.select", "eval.validate_every", "eval.select: best chooses by validation, and "
                         "eval.validate_every is 0 (never); expected eval.validate_every of 1 or more, or eval.select: last");
    if (c->eval.validate_every > c->outer.iterations)
        return xp_broken(out, "eval.validate_every", "outer.iterations", "eval.select: best chooses by validation, and the "
                         "first comes after %lld of %lld iterations; expected eval.validate_every of at most "
                         "outer.iterations", (long long)c->eval.validate_every, (long long)c->outer.iterations);
    return false;
}

static bool scored_steps(const xp_config *c, xp_conflict *out)
{
    const int64_t *at = c->eval.score_steps;
    for (int i = 1; i < c->eval.n_score_steps; i++)
        if (at[i] <= at[i - 1])
            return xp_broken(out, "eval.score_steps", NULL, "eval.score_steps has %lld behind %lld; expected steps in ascending order, "
                             "each once", (long long)at[i], (long long)at[i - 1]);
    if (!c->eval.n_score_steps || at[c->eval.n_score_steps - 1] == c->eval.steps)
        return false;
    return xp_broken(out, "eval.score_steps", "eval.steps", "eval.score_steps ends with %lld and eval.steps is %lld; expected the last "
                     "inner step to be scored", (long long)at[c->eval.n_score_steps - 1], (long long)c->eval.steps);
}

bool xp_config_conflict(const xp_config *c, xp_conflict *out)
{
    static bool (*const rules[])(const xp_config *, xp_conflict *) = {
        source_and_model, source_and_algorithm, xp_check_network, normalisation, xp_check_training, xp_check_tasks, seeds,
        validation, scored_steps
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i](c, out))
            return true;
    return false;
}
