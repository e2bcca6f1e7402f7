/* What must hold between the sizes of episodes and of what they are drawn from, and what is tested (config_check.h). */
#include "experiments/config_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWINGS = 20, CHARACTERS = 1623 };        /* Omniglot: drawings of a character, characters */
enum { DOMAINS = 10, INTENTS_OF_DOMAIN = 15 };    /* CLINC150 */

static bool bounds(const xp_config *c, xp_conflict *out)
{
    const struct { const char *path; const double *range; bool empty; } pairs[] = {
        { "tasks.amplitude", c->tasks.amplitude, true }, { "tasks.phase", c->tasks.phase, true },
        { "tasks.x", c->tasks.x, false }
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const double *r = pairs[i].range;
        if (r[0] > r[1] || (r[0] == r[1] && !pairs[i].empty))
            return xp_broken(out, pairs[i].path, NULL, "%s runs from %g to %g; expected the lower bound first", pairs[i].path,
                          r[0], r[1]);
    }
    return false;
}

static bool way(const xp_config *c, xp_conflict *out)
{
    bool classes = xp_source_has_classes(c->tasks.source);
    if (!classes && c->tasks.way != 1)
        return xp_broken(out, "tasks.way", NULL, "the source '%s' has no classes; expected tasks.way: 1", c->tasks.source);
    if (classes && c->tasks.way < 2)
        return xp_broken(out, "tasks.way", NULL, "the source '%s' is classified among tasks.way classes, and it is 1; "
                         "expected 2 or more", c->tasks.source);
    return false;
}

static bool characters(const xp_config *c, xp_conflict *out)
{
    const int64_t *n = c->tasks.split;
    if (!xp_same(c->tasks.source, "omniglot"))
        return false;
    if (n[0] + n[1] + n[2] > CHARACTERS)
        return xp_broken(out, "tasks.split", NULL, "the splits have %lld characters together; expected at most Omniglot's %d",
                      (long long)(n[0] + n[1] + n[2]), CHARACTERS);
    int64_t turns = xp_same(c->tasks.rotate, "classes") ? 4 : 1;
    const struct { const char *name; int64_t classes; } parts[] = {
        { "training", n[0] * turns }, { "test", n[2] }, { "validation", c->eval.validate_every ? n[1] : c->tasks.way }
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (c->tasks.way > parts[i].classes)
            return xp_broken(out, "tasks.way", "tasks.split", "tasks.way %lld exceeds the %lld classes of the %s split; "
                          "expected at most that", (long long)c->tasks.way, (long long)parts[i].classes, parts[i].name);
    return false;
}

static bool too_many_drawings(xp_conflict *out, const char *shot_path, int64_t shot, const char *query_path, int64_t query)
{
    if (shot + query <= DRAWINGS)
        return false;
    return xp_broken(out, shot_path, query_path, "%s %lld and %s %lld need %lld drawings of a character; expected at most "
                  "Omniglot's %d", shot_path, (long long)shot, query_path, (long long)query, (long long)(shot + query),
                  DRAWINGS);
}

static bool drawings(const xp_config *c, xp_conflict *out)
{
    if (!xp_same(c->tasks.source, "omniglot"))
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
                return xp_broken(out, "eval.shots", NULL, "eval.shots has %lld twice; expected each size once",
                              (long long)c->eval.shots[i]);
    return false;
}

/* ---- domains and classes ------------------------------------------------------------------------------- */

static bool domains(const xp_config *c, xp_conflict *out)
{
    const xp_tasks *t = &c->tasks;
    bool clinc = xp_same(t->source, "clinc150");
    bool have = clinc || xp_same(t->source, "hwu64") || (xp_same(t->source, "text") && *t->domain_column);
    int64_t n = t->split_domains[0] + t->split_domains[1] + t->split_domains[2];
    if (!have && !xp_same(t->classes_from, "all"))
        return xp_broken(out, "tasks.classes_from", NULL, "tasks.classes_from: %s needs domains, and the source '%s' has "
                         "none%s; expected tasks.classes_from: all", t->classes_from, t->source,
                         xp_same(t->source, "text") ? " without tasks.domain_column" : "");
    if (clinc && n > DOMAINS)
        return xp_broken(out, "tasks.split_domains", NULL, "the splits have %lld domains together; expected at most "
                         "CLINC150's %d", (long long)n, DOMAINS);
    if (clinc && !xp_same(t->classes_from, "all") && t->way > INTENTS_OF_DOMAIN)
        return xp_broken(out, "tasks.way", "tasks.classes_from", "tasks.way %lld exceeds the %d intents of one domain; "
                         "expected at most that, or tasks.classes_from: all", (long long)t->way, INTENTS_OF_DOMAIN);
    return false;
}

/* Training classes an algorithm needs. */
static int64_t training_classes(const xp_config *c)
{
    if (xp_same(c->outer.algorithm, "none"))
        return 0;
    return xp_same(c->outer.algorithm, "multitask") ? 2 : c->tasks.way;
}

static bool class_split(const xp_config *c, xp_conflict *out)
{
    const int64_t *n = c->tasks.class_split;
    const struct { const char *name; int64_t classes, needed; } parts[] = {
        { "training", n[0], training_classes(c) }, { "validation", n[1], c->eval.validate_every ? c->tasks.way : 0 },
        { "test", n[2], c->eval.n_tests ? 0 : c->tasks.way }
    };
    if (!xp_source_has_classes(c->tasks.source) || n[0] + n[1] + n[2] == 0)
        return false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].needed > parts[i].classes)
            return xp_broken(out, "tasks.class_split", "tasks.way", "the %s split has %lld classes, and its episodes %lld; "
                             "expected at least that many, or [0, 0, 0] for the source's own split", parts[i].name,
                             (long long)parts[i].classes, (long long)parts[i].needed);
    return false;
}

/* ---- what is tested ------------------------------------------------------------------------------------ */

bool xp_test_split(const char *entry, size_t *length, int64_t *way)
{
    const char *slash = strchr(entry, '/');
    *length = slash ? (size_t)(slash - entry) : strlen(entry);
    *way = 0;
    if (!slash)
        return *length > 0;
    size_t digits = strspn(slash + 1, "0123456789");
    *way = digits && digits < 5 && slash[1] != '0' && !slash[1 + digits] ? strtoll(slash + 1, NULL, 10) : 0;
    return *length > 0 && *way >= 2;
}

static bool one_test(const xp_config *c, const char *entry, xp_conflict *out)
{
    char source[XP_KEY_MAX];
    size_t length;
    int64_t n;
    if (!xp_test_split(entry, &length, &n) || length >= sizeof source)
        return xp_broken(out, "eval.tests", NULL, "the test '%.60s' of eval.tests is no source with a way of 2 to 9999; "
                         "expected such as 'banking77' or 'banking77/77'", entry);
    snprintf(source, sizeof source, "%.*s", (int)length, entry);
    if (!xp_source_has_classes(source))
        return xp_broken(out, "eval.tests", NULL, "the test '%.60s' of eval.tests names no source with classes; expected "
                         "omniglot | clinc150 | banking77 | hwu64 | text | arrays | caltech101", entry);
    if (!xp_source_fits(source, c->model.kind))
        return xp_broken(out, "eval.tests", "model.kind", "the test '%.60s' of eval.tests cannot be put to the model '%s'; "
                         "expected model.kind: %s", entry, c->model.kind, xp_source_models(source));
    if (!n && c->tasks.way < 2)
        return xp_broken(out, "eval.tests", "tasks.way", "the test '%.60s' of eval.tests has tasks.way classes, and it is 1; "
                         "expected such as '%s/5'", entry, source);
    return false;
}

static bool tests(const xp_config *c, xp_conflict *out)
{
    if (c->eval.n_tests && !xp_source_has_classes(c->tasks.source))
        return xp_broken(out, "eval.tests", NULL, "eval.tests are of classes, and the tasks of the source '%s' have none; "
                         "expected eval.tests: []", c->tasks.source);
    for (int i = 0; i < c->eval.n_tests; i++) {
        if (one_test(c, c->eval.tests[i], out))
            return true;
        for (int j = 0; j < i; j++)
            if (xp_same(c->eval.tests[i], c->eval.tests[j]))
                return xp_broken(out, "eval.tests", NULL, "eval.tests has '%.60s' twice; expected each test once",
                                 c->eval.tests[i]);
    }
    return false;
}

bool xp_check_tasks(const xp_config *c, xp_conflict *out)
{
    static bool (*const rules[])(const xp_config *, xp_conflict *) = {
        bounds, way, characters, drawings, repeated_shots, domains, class_split, tests
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i](c, out))
            return true;
    return false;
}
