/* What must hold between knobs of the inner and the outer loop (config_check.h). */
#include "experiments/config_check.h"

/* "maml | fomaml": whether the algorithm is one of them. */
static bool one_of(const char *const *names, size_t n, const char *algorithm)
{
    for (size_t i = 0; i < n; i++)
        if (xp_same(names[i], algorithm))
            return true;
    return false;
}

#define ONE_OF(algorithm, ...) \
    one_of((const char *const[]){ __VA_ARGS__ }, sizeof (const char *const[]){ __VA_ARGS__ } / sizeof (char *), algorithm)

static bool learned_rates(const xp_config *c, xp_conflict *out)
{
    if (!c->inner.learn_lr || ONE_OF(c->outer.algorithm, "maml", "fomaml", "anil"))
        return false;
    return xp_broken(out, "inner.learn_lr", "outer.algorithm", "inner.learn_lr needs an outer loop that sees the inner one, "
                     "and the algorithm is '%s'; expected maml | fomaml | anil", c->outer.algorithm);
}

static bool inner_rule(const xp_config *c, xp_conflict *out)
{
    if (xp_same(c->inner.rule, "sgd") || ONE_OF(c->outer.algorithm, "fomaml", "joint", "reptile", "none"))
        return false;
    return xp_broken(out, "inner.rule", "outer.algorithm", "the algorithm '%s' does not see through inner.rule: %s; expected "
                     "inner.rule: sgd, or outer.algorithm: fomaml | joint | reptile | none", c->outer.algorithm,
                     c->inner.rule);
}

static bool inner_steps(const xp_config *c, xp_conflict *out)
{
    if (xp_same(c->outer.algorithm, "protonet") && c->inner.steps)
        return xp_broken(out, "inner.steps", "outer.algorithm", "the algorithm 'protonet' adapts nothing while training, and "
                         "inner.steps is %lld; expected inner.steps: 0", (long long)c->inner.steps);
    if (c->inner.steps || ONE_OF(c->outer.algorithm, "protonet", "multitask", "none"))
        return false;
    return xp_broken(out, "inner.steps", "outer.algorithm", "the algorithm '%s' learns by adapting, and inner.steps is 0; "
                     "expected 1 or more, or outer.algorithm: protonet", c->outer.algorithm);
}

static bool heads(const xp_config *c, xp_conflict *out)
{
    bool prototype = xp_same(c->model.head, "prototype");
    if (xp_same(c->outer.algorithm, "protonet") && !prototype)
        return xp_broken(out, "model.head", "outer.algorithm", "the algorithm 'protonet' classifies by prototypes, and "
                         "model.head is '%s'; expected model.head: prototype", c->model.head);
    if (xp_same(c->outer.algorithm, "anil") && prototype)
        return xp_broken(out, "model.head", "outer.algorithm", "the algorithm 'anil' adapts the head, and a prototype head "
                         "has nothing to adapt; expected model.head: linear | centroid");
    return false;
}

static bool proximal(const xp_config *c, xp_conflict *out)
{
    bool imaml = xp_same(c->outer.algorithm, "imaml");
    if (imaml && c->inner.proximal == 0)
        return xp_broken(out, "inner.proximal", "outer.algorithm", "the algorithm 'imaml' needs the pull to the start, and "
                         "inner.proximal is 0; expected inner.proximal above 0");
    if (!imaml && c->inner.proximal != 0)
        return xp_broken(out, "inner.proximal", "outer.algorithm", "inner.proximal belongs to imaml, and the algorithm is "
                         "'%s'; expected inner.proximal: 0.0", c->outer.algorithm);
    return false;
}

static bool iterations(const xp_config *c, xp_conflict *out)
{
    if (c->outer.iterations || xp_same(c->outer.algorithm, "none"))
        return false;
    return xp_broken(out, "outer.iterations", "outer.algorithm", "the algorithm '%s' trains, and outer.iterations is 0; "
                     "expected 1 or more, or outer.algorithm: none", c->outer.algorithm);
}

static bool optimizer(const xp_config *c, xp_conflict *out)
{
    bool adam = xp_same(c->outer.optimizer, "adam");
    if (c->outer.momentum != 0 && adam)
        return xp_broken(out, "outer.momentum", "outer.optimizer", "outer.momentum belongs to sgd, and the optimizer is adam; "
                         "expected outer.optimizer: sgd, or outer.beta1");
    if (c->outer.weight_decay != 0 && !adam)
        return xp_broken(out, "outer.weight_decay", "outer.optimizer", "outer.weight_decay belongs to adam, and the optimizer "
                         "is '%s'; expected outer.optimizer: adam", c->outer.optimizer);
    return false;
}

static bool chunk(const xp_config *c, xp_conflict *out)
{
    if (c->outer.chunk <= c->outer.meta_batch)
        return false;
    return xp_broken(out, "outer.chunk", "outer.meta_batch", "outer.chunk %lld exceeds outer.meta_batch %lld; expected at "
                     "most that", (long long)c->outer.chunk, (long long)c->outer.meta_batch);
}

bool xp_check_training(const xp_config *c, xp_conflict *out)
{
    static bool (*const rules[])(const xp_config *, xp_conflict *) = {
        learned_rates, inner_rule, inner_steps, heads, proximal, iterations, optimizer, chunk
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i](c, out))
            return true;
    return false;
}
