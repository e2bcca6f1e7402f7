/* What must hold between knobs. To add a rule: one function that answers whether it is broken, one name in the list. */
#include "experiments/config_values.h"

#include <stdio.h>
#include <string.h>

enum { DRAWINGS = 20, CHARACTERS = 1623 };   /* Omniglot: drawings of a character, characters */

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* Blames the knobs a, b (may be NULL), tasks.source last; fmt says what is wrong and what was expected. */
static bool broken(xp_conflict *out, const char *a, const char *b, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static bool broken(xp_conflict *out, const char *a, const char *b, const char *fmt, ...)
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

static bool source_and_model(const xp_config *c, xp_conflict *out)
{
    static const struct { const char *source, *models; } fits[] = {
        { "sinusoid", "mlp" }, { "lora-linear", "linear" }, { "omniglot", "conv4 | mlp" }
    };
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++)
        if (is(c->tasks.source, fits[i].source) && !strstr(fits[i].models, c->model.kind))
            return broken(out, "model.kind", NULL, "the model '%s' cannot learn tasks of the source '%s'; expected "
                          "model.kind: %s", c->model.kind, c->tasks.source, fits[i].models);
    return false;
}

static bool source_and_algorithm(const xp_config *c, xp_conflict *out)
{
    bool linear = is(c->tasks.source, "lora-linear");
    bool private = is(c->outer.algorithm, "lora-ml") || is(c->outer.algorithm, "standard-retraining");
    if (linear == private)
        return false;
    return broken(out, "outer.algorithm", NULL, "the algorithm '%s' does not work on tasks of the source '%s'; expected "
                  "outer.algorithm: %s", c->outer.algorithm, c->tasks.source,
                  linear ? "lora-ml | standard-retraining" : "maml | fomaml | joint");
}

static bool adapter(const xp_config *c, xp_conflict *out)
{
    bool lora = is(c->adapter.kind, "lora");
    if (lora && !is(c->model.kind, "linear"))
        return broken(out, "adapter.kind", "model.kind", "a lora adapter needs model.kind: linear, and it is '%s'; expected "
                      "adapter.kind: none", c->model.kind);
    if (!lora && is(c->tasks.source, "lora-linear"))
        return broken(out, "adapter.kind", "outer.algorithm", "the source lora-linear is learnt with adapters, and "
                      "adapter.kind is none; expected adapter.kind: lora");
    return false;
}

static bool adapter_rank(const xp_config *c, xp_conflict *out)
{
    const struct { const char *path; int64_t rank; } ranks[] = {
        { "adapter.rank", c->adapter.rank }, { "adapter.test_rank", c->adapter.test_rank },
        { "tasks.true_rank", c->tasks.true_rank }
    };
    if (!is(c->tasks.source, "lora-linear"))
        return false;
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++)
        if (ranks[i].rank > c->tasks.dim)
            return broken(out, ranks[i].path, "tasks.dim", "the rank %lld of %s exceeds the matrices' tasks.dim %lld; "
                          "expected at most that", (long long)ranks[i].rank, ranks[i].path, (long long)c->tasks.dim);
    return false;
}

static bool normalisation(const xp_config *c, xp_conflict *out)
{
    if (c->model.adapt_norm && is(c->model.norm, "none"))
        return broken(out, "model.adapt_norm", "model.norm", "model.adapt_norm adapts a normalisation, and model.norm is "
                      "none; expected model.norm: batch");
    if (is(c->model.norm, "batch") && !is(c->tasks.source, "omniglot"))
        return broken(out, "model.norm", NULL, "batch normalisation is not made for the source '%s'; expected "
                      "model.norm: none", c->tasks.source);
    return false;
}

static bool learned_rates(const xp_config *c, xp_conflict *out)
{
    if (!c->inner.learn_lr || is(c->outer.algorithm, "maml") || is(c->outer.algorithm, "fomaml"))
        return false;
    return broken(out, "inner.learn_lr", "outer.algorithm", "inner.learn_lr needs an outer loop that sees the inner one, and "
                  "the algorithm is '%s'; expected maml | fomaml", c->outer.algorithm);
}

static bool momentum(const xp_config *c, xp_conflict *out)
{
    if (c->outer.momentum == 0 || !is(c->outer.optimizer, "adam"))
        return false;
    return broken(out, "outer.momentum", "outer.optimizer", "outer.momentum belongs to sgd, and the optimizer is adam; expected "
                  "outer.optimizer: sgd, or outer.beta1");
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

static bool chunk(const xp_config *c, xp_conflict *out)
{
    if (c->outer.chunk <= c->outer.meta_batch)
        return false;
    return broken(out, "outer.chunk", "outer.meta_batch", "outer.chunk %lld exceeds outer.meta_batch %lld; expected at most "
                  "that", (long long)c->outer.chunk, (long long)c->outer.meta_batch);
}

static bool bounds(const xp_config *c, xp_conflict *out)
{
    const struct { const char *path; const double *range; bool empty; } pairs[] = {
        { "tasks.amplitude", c->tasks.amplitude, true }, { "tasks.phase", c->tasks.phase, true },
        { "tasks.x", c->tasks.x, false }
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const double *r = pairs[i].range;
        if (r[0] > r[1] || (r[0] == r[1] && !pairs[i].empty))
            return broken(out, pairs[i].path, NULL, "%s runs from %g to %g; expected the lower bound first", pairs[i].path,
                          r[0], r[1]);
    }
    return false;
}

static bool way(const xp_config *c, xp_conflict *out)
{
    bool classes = is(c->tasks.source, "omniglot");
    if (!classes && c->tasks.way != 1)
        return broken(out, "tasks.way", NULL, "the source '%s' is regression and has no classes; expected tasks.way: 1",
                      c->tasks.source);
    if (classes && c->tasks.way < 2)
        return broken(out, "tasks.way", NULL, "omniglot is classified among tasks.way classes, and it is 1; expected 2 or "
                      "more");
    return false;
}

static bool split(const xp_config *c, xp_conflict *out)
{
    const int64_t *n = c->tasks.split;
    if (!is(c->tasks.source, "omniglot"))
        return false;
    if (n[0] + n[1] + n[2] > CHARACTERS)
        return broken(out, "tasks.split", NULL, "the splits have %lld characters together; expected at most Omniglot's %d",
                      (long long)(n[0] + n[1] + n[2]), CHARACTERS);
    int64_t turns = is(c->tasks.rotate, "classes") ? 4 : 1;
    const struct { const char *name; int64_t classes; } parts[] = {
        { "training", n[0] * turns }, { "test", n[2] }, { "validation", c->eval.validate_every ? n[1] : c->tasks.way }
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (c->tasks.way > parts[i].classes)
            return broken(out, "tasks.way", "tasks.split", "tasks.way %lld exceeds the %lld classes of the %s split; "
                          "expected at most that", (long long)c->tasks.way, (long long)parts[i].classes, parts[i].name);
    return false;
}

static bool too_many_drawings(xp_conflict *out, const char *shot_path, int64_t shot, const char *query_path, int64_t query)
{
    if (shot + query <= DRAWINGS)
        return false;
    return broken(out, shot_path, query_path, "%s %lld and %s %lld need %lld drawings of a character; expected at most "
                  "Omniglot's %d", shot_path, (long long)shot, query_path, (long long)query, (long long)(shot + query),
                  DRAWINGS);
}

static bool drawings(const xp_config *c, xp_conflict *out)
{
    if (!is(c->tasks.source, "omniglot"))
        return false;
    if (too_many_drawings(out, "tasks.shot", c->tasks.shot, "tasks.query", c->tasks.query))
        return true;
    const char *path = c->eval.query ? "eval.query" : "tasks.query";
    int64_t query = c->eval.query ? c->eval.query : c->tasks.query;
    for (int i = 0; i < c->eval.n_shots; i++)
        if (too_many_drawings(out, "eval.shots", c->eval.shots[i], path, query))
            return true;
    return too_many_drawings(out, "tasks.shot", c->tasks.shot, path, query);
}

static bool repeated_shots(const xp_config *c, xp_conflict *out)
{
    for (int i = 0; i < c->eval.n_shots; i++)
        for (int j = 0; j < i; j++)
            if (c->eval.shots[i] == c->eval.shots[j])
                return broken(out, "eval.shots", NULL, "eval.shots has %lld twice; expected each size once",
                              (long long)c->eval.shots[i]);
    return false;
}

static bool seeds(const xp_config *c, xp_conflict *out)
{
    if (c->seed <= UINT64_MAX - (uint64_t)(c->repeats - 1))
        return false;
    return broken(out, "seed", "repeats", "the last of %lld repeats has a seed beyond 64 bits; expected a smaller seed",
                  (long long)c->repeats);
}

/* ---- validation ---------------------------------------------------------------------------------------- */

static bool validation(const xp_config *c, xp_conflict *out)
{
    if (c->eval.validate_every && is(c->tasks.source, "lora-linear"))
        return broken(out, "eval.validate_every", NULL, "the source lora-linear has no validation tasks; expected "
                      "eval.validate_every: 0");
    if (!is(c->eval.select, "best"))
        return false;
    if (!c->eval.validate_every)
        return broken(out, "eval.select", "eval.validate_every", "eval.select: best chooses by validation, and "
                      "eval.validate_every is 0 (never); expected eval.validate_every of 1 or more, or eval.select: last");
    if (c->eval.validate_every > c->outer.iterations)
        return broken(out, "eval.validate_every", "outer.iterations", "eval.select: best chooses by validation, and the first "
                      "comes after %lld of %lld iterations; expected eval.validate_every of at most outer.iterations",
                      (long long)c->eval.validate_every, (long long)c->outer.iterations);
    return false;
}

bool xp_config_conflict(const xp_config *c, xp_conflict *out)
{
    static bool (*const rules[])(const xp_config *, xp_conflict *) = {
        source_and_model, source_and_algorithm, adapter, adapter_rank, normalisation, learned_rates, momentum, chunk,
        bounds, way, split, drawings, repeated_shots, seeds, validation
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i](c, out))
            return true;
    return false;
}
