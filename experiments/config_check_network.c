/* What must hold between knobs of a pretrained network, its adapters and heads (config_check.h). */
#include "experiments/config_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_network(const xp_config *c)
{
    return xp_same(c->model.kind, "network");
}

static bool network(const xp_config *c, xp_conflict *out)
{
    if (is_network(c) && !*c->model.path)
        return xp_broken(out, "model.path", "model.kind", "a network is read from model.path, and there is none; expected a "
                         "folder or file, or minilm or smollm2");
    if (!is_network(c) && *c->model.path)
        return xp_broken(out, "model.path", "model.kind", "model.path belongs to a network, and model.kind is '%s'; "
                         "expected model.kind: network", c->model.kind);
    if (!is_network(c) && *c->model.train)
        return xp_broken(out, "model.train", "model.kind", "model.train belongs to a network, and model.kind is '%s'; "
                         "expected model.kind: network", c->model.kind);
    return false;
}

/* ---- adapters ------------------------------------------------------------------------------------------ */

static bool adapter_and_model(const xp_config *c, xp_conflict *out)
{
    const char *kind = c->adapter.kind;
    bool none = xp_same(kind, "none"), linear = xp_same(c->model.kind, "linear");
    if (!none && !linear && !is_network(c))
        return xp_broken(out, "adapter.kind", "model.kind", "a %s adapter needs model.kind: linear or network, and it is "
                         "'%s'; expected adapter.kind: none", kind, c->model.kind);
    if (linear && !xp_same(kind, "lora"))
        return xp_broken(out, "adapter.kind", "outer.algorithm", "the source lora-linear is learnt with lora adapters, and "
                         "adapter.kind is %s; expected adapter.kind: lora", kind);
    return false;
}

static bool adapter_rank(const xp_config *c, xp_conflict *out)
{
    const struct { const char *path; int64_t rank; } ranks[] = {
        { "adapter.rank", c->adapter.rank }, { "adapter.test_rank", c->adapter.test_rank },
        { "tasks.true_rank", c->tasks.true_rank }
    };
    if (!xp_same(c->tasks.source, "lora-linear"))
        return false;
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++)
        if (ranks[i].rank > c->tasks.dim)
            return xp_broken(out, ranks[i].path, "tasks.dim", "the rank %lld of %s exceeds the matrices' tasks.dim %lld; "
                             "expected at most that", (long long)ranks[i].rank, ranks[i].path, (long long)c->tasks.dim);
    return false;
}

static bool adapter_of_network(const xp_config *c, xp_conflict *out)
{
    const xp_adapter *a = &c->adapter;
    const struct { const char *path; bool given; } ours[] = {
        { "adapter.alpha", a->alpha != 0 }, { "adapter.init", !xp_same(a->init, "default") }, { "adapter.rslora", a->rslora },
        { "adapter.dropout", a->dropout != 0 }, { "adapter.targets", a->n_targets > 0 },
        { "adapter.exclude", a->n_exclude > 0 }, { "adapter.layers", a->n_layers > 0 }, { "adapter.rank_pattern", a->n_rank_pattern > 0 },
        { "adapter.alpha_pattern", a->n_alpha_pattern > 0 }, { "adapter.lr_ratio", a->lr_ratio != 1 },
        { "adapter.path", *a->path != '\0' }
    };
    if (is_network(c) && !xp_same(a->kind, "none"))
        return false;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (ours[i].given)
            return xp_broken(out, ours[i].path, "adapter.kind", "%s belongs to a network's adapters, and model.kind is '%s' "
                             "with adapter.kind '%s'; expected model.kind: network and adapter.kind: lora | dora | adalora | "
                             "vera", ours[i].path, c->model.kind, a->kind);
    return false;
}

static bool adapter_of_kind(const xp_config *c, xp_conflict *out)
{
    if (c->adapter.budget && !xp_same(c->adapter.kind, "adalora"))
        return xp_broken(out, "adapter.budget", "adapter.kind", "adapter.budget belongs to adalora, and adapter.kind is '%s'; "
                         "expected adapter.kind: adalora", c->adapter.kind);
    if (c->adapter.test_rank && is_network(c))
        return xp_broken(out, "adapter.test_rank", "model.kind", "a network's adapters keep their rank at test; expected "
                         "adapter.test_rank: 0");
    return false;
}

bool xp_pattern_split(const char *entry, size_t *length, double *value)
{
    const char *equals = strrchr(entry, '=');
    char *end;
    if (!equals || equals == entry || !strchr("0123456789.", equals[1]) || !equals[1] || strpbrk(equals, "xX"))
        return false;
    *length = (size_t)(equals - entry);
    *value = strtod(equals + 1, &end);
    return *end == '\0' && isfinite(*value) && *value > 0;
}

static bool patterns(const xp_config *c, xp_conflict *out)
{
    enum { RANK_MAX = 4096 };
    const xp_adapter *a = &c->adapter;
    const struct { const char *path; const char *const *entries; int n; bool ranks; } lists[] = {
        { "adapter.rank_pattern", a->rank_pattern, a->n_rank_pattern, true },
        { "adapter.alpha_pattern", a->alpha_pattern, a->n_alpha_pattern, false }
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (int j = 0; j < lists[i].n; j++) {
            size_t length;
            double value;
            bool fine = xp_pattern_split(lists[i].entries[j], &length, &value);
            if (!fine || (lists[i].ranks && (value > RANK_MAX || value != floor(value))))
                return xp_broken(out, lists[i].path, NULL, "the entry '%.60s' of %s is no pattern with its number; expected "
                                 "such as 'layer.0.*query=4', %s", lists[i].entries[j], lists[i].path,
                                 lists[i].ranks ? "a rank of 1 to 4096" : "a number above 0");
        }
    return false;
}

/* ---- heads --------------------------------------------------------------------------------------------- */

static bool head_needs_classes(const xp_config *c, xp_conflict *out)
{
    const struct { const char *path, *head; } heads[] = { { "model.head", c->model.head }, { "eval.head", c->eval.head } };
    if (xp_source_has_classes(c->tasks.source) || c->eval.n_tests)
        return false;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (xp_same(heads[i].head, "prototype") || xp_same(heads[i].head, "centroid"))
            return xp_broken(out, heads[i].path, NULL, "a %s head is made of class means, and the source '%s' has no classes; "
                             "expected %s: %s", heads[i].head, c->tasks.source, heads[i].path,
                             xp_same(heads[i].path, "eval.head") ? "same" : "linear");
    return false;
}

/* A frozen network whose head has no start to be learned. */
static bool something_to_train(const xp_config *c, xp_conflict *out)
{
    bool frozen = is_network(c) && xp_same(c->adapter.kind, "none") && !*c->model.train && !c->inner.learn_lr;
    bool head = xp_same(c->model.head, "linear") && xp_source_has_classes(c->tasks.source) &&
                !xp_same(c->outer.algorithm, "multitask");
    if (!frozen || head || xp_same(c->outer.algorithm, "none"))
        return false;
    return xp_broken(out, "adapter.kind", "model.kind", "the algorithm '%s' finds nothing to train: the base is "
                     "frozen, there is no adapter, and no head whose start is kept; expected adapter.kind: lora | dora | adalora | "
                     "vera, model.train, or outer.algorithm: none", c->outer.algorithm);
}

bool xp_check_network(const xp_config *c, xp_conflict *out)
{
    static bool (*const rules[])(const xp_config *, xp_conflict *) = {
        network, adapter_and_model, adapter_rank, adapter_of_network, adapter_of_kind, patterns, head_needs_classes,
        something_to_train
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i](c, out))
            return true;
    return false;
}
