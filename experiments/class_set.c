/* Splits, and the drawing of episodes (class_set.h). */
#include "experiments/class_set.h"

#include "autograd/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNUSED = 3 };
static const char *const split_names[] = { "training", "validation", "test" };
static const double mixed_share = 0.7;

/* --- making a set --- */

ag_code xp_class_set_init(xp_class_set *s, const char *source, const char *noun, int64_t n_class, int64_t n_member, ag_error *err)
{
    *s = (xp_class_set){ .source = source, .noun = noun, .n_class = n_class, .n_member = n_member };
    s->classes = ag_alloc_zero((size_t)n_class * sizeof *s->classes);
    s->members = ag_alloc((size_t)n_member * sizeof *s->members);
    s->ranges = ag_alloc((size_t)n_class * sizeof *s->ranges);
    if (s->classes && s->members && s->ranges)
        return AG_OK;
    xp_class_set_release(s);
    return ag_fail(err, AG_ENOMEM, "%s: out of memory for %lld classes of %lld %s", source, (long long)n_class,
                   (long long)n_member, noun);
}

void xp_class_set_release(xp_class_set *s)
{
    ag_free(s->classes);
    ag_free(s->members);
    ag_free(s->ranges);
    *s = (xp_class_set){ 0 };
}

static bool none(const int64_t counts[3])
{
    return !counts[0] && !counts[1] && !counts[2];
}

static ag_code check_counts(const char *knob, const char *noun, const int64_t counts[3], int64_t most, ag_error *err)
{
    int64_t left = most;
    for (int i = 0; i < 3; i++) {
        AG_REQUIRE(counts[i] >= 0 && counts[i] <= left, err, AG_ECONFIG,
                   "tasks.%s: [%lld, %lld, %lld]; expected three counts of 0 or more, together at most the %lld %s there are",
                   knob, (long long)counts[0], (long long)counts[1], (long long)counts[2], (long long)most, noun);
        left -= counts[i];
    }
    return AG_OK;
}

/* The split of what stands at a place when counts[0] go to the first, ... */
static int split_at(int64_t place, const int64_t counts[3])
{
    int split = 0;
    for (; split < UNUSED && place >= counts[split]; split++)
        place -= counts[split];
    return split;
}

static ag_code split_by_class(xp_class_set *s, const int64_t counts[3], ag_error *err)
{
    AG_TRY(err, check_counts("class_split", "classes", counts, s->n_class, err));
    int64_t *place = ag_alloc((size_t)s->n_class * sizeof *place);
    AG_REQUIRE(place, err, AG_ENOMEM, "%s: out of memory for %lld classes", s->source, (long long)s->n_class);
    ag_random r;
    ag_random_init(&r, 0, AG_STREAM_WORLD, 0, 0);
    for (int64_t i = 0; i < s->n_class; i++)
        place[i] = i;
    for (int64_t i = s->n_class; i > 1; i--) {
        int64_t j = (int64_t)ag_random_below(&r, (uint64_t)i), swap = place[i - 1];
        place[i - 1] = place[j];
        place[j] = swap;
    }
    for (int64_t i = 0; i < s->n_class; i++)
        s->classes[place[i]].split = split_at(i, counts);
    ag_free(place);
    return AG_OK;
}

static ag_code split_by_domain(xp_class_set *s, const int64_t counts[3], ag_error *err)
{
    int64_t n = 0;
    for (int64_t i = 0; i < s->n_class; i++) {
        AG_REQUIRE(s->classes[i].domain, err, AG_ECONFIG, "tasks.split_domains: the classes of %s have no domains; expected "
                   "[0, 0, 0], or tasks.domain_column", s->source);
        n = s->classes[i].rank >= n ? s->classes[i].rank + 1 : n;
    }
    AG_TRY(err, check_counts("split_domains", "domains", counts, n, err));
    for (int64_t i = 0; i < s->n_class; i++)
        s->classes[i].split = split_at(s->classes[i].rank, counts);
    return AG_OK;
}

static int by_place(const void *a, const void *b)
{
    const xp_class *x = a, *y = b;
    if (x->split != y->split)
        return x->split < y->split ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void find_ranges(xp_class_set *s)
{
    for (int64_t i = 0; i < s->n_class; i++) {
        const xp_class *c = &s->classes[i];
        if (i == 0 || c[-1].split != c->split || c[-1].rank != c->rank)
            s->ranges[s->n_range++] = (xp_class_range){ i, 0 };
        s->ranges[s->n_range - 1].count++;
        if (!s->split[c->split].count++)
            s->split[c->split].first = i;
    }
}

ag_code xp_class_set_split(xp_class_set *s, const int64_t class_split[3], const int64_t split_domains[3], ag_error *err)
{
    for (int64_t i = 0; i < s->n_class; i++) {
        s->classes[i].order = i;
        s->classes[i].split = 2;
    }
    if (!none(class_split))
        AG_TRY(err, split_by_class(s, class_split, err));
    else if (!none(split_domains))
        AG_TRY(err, split_by_domain(s, split_domains, err));
    qsort(s->classes, (size_t)s->n_class, sizeof *s->classes, by_place);
    find_ranges(s);
    return AG_OK;
}

ag_code xp_class_set_from(xp_class_set *s, const char *classes_from, ag_error *err)
{
    const char *from = classes_from && *classes_from ? classes_from : "all";
    s->domain_share = strcmp(from, "domain") == 0 ? 1 : strcmp(from, "mixed") == 0 ? mixed_share : 0;
    AG_REQUIRE(s->domain_share > 0 || strcmp(from, "all") == 0, err, AG_ECONFIG,
               "tasks.classes_from: '%s'; expected all, domain or mixed", from);
    AG_REQUIRE(s->domain_share <= 0 || (s->n_class && s->classes[0].domain), err, AG_ECONFIG,
               "tasks.classes_from: %s; the classes of %s have no domains, so only 'all' can be", from, s->source);
    return AG_OK;
}

/* --- what there is --- */

int xp_class_split_of(uint64_t stream)
{
    return stream == AG_STREAM_TRAIN ? 0 : stream == AG_STREAM_VALIDATION ? 1 : 2;
}

static int64_t large_enough(const xp_class_set *s, xp_class_range range, int64_t examples)
{
    int64_t n = 0;
    for (int64_t i = 0; i < range.count; i++)
        n += s->classes[range.first + i].count >= examples;
    return n;
}

int64_t xp_class_set_classes(const xp_class_set *s, uint64_t stream)
{
    int64_t most = 0;
    int split = xp_class_split_of(stream);
    if (s->domain_share <= 0)
        return s->split[split].count;
    for (int64_t i = 0; i < s->n_range; i++)
        if (s->classes[s->ranges[i].first].split == split && s->ranges[i].count > most)
            most = s->ranges[i].count;
    return most;
}

int64_t xp_class_set_examples(const xp_class_set *s)
{
    int64_t most = 0;
    for (int64_t i = 0; i < s->n_class; i++)
        if (s->classes[i].split != UNUSED && s->classes[i].count > most)
            most = s->classes[i].count;
    return most;
}

/* "'a' has 2, 'b' 5" of the first few classes that have too few; "" where there are none. */
static void name_small(const xp_class_set *s, xp_class_range range, int64_t examples, char *out, size_t size)
{
    int named = 0;
    size_t used = 0;
    *out = '\0';
    for (int64_t i = range.first; i < range.first + range.count && named < 4; i++) {
        const xp_class *c = &s->classes[i];
        if (c->count >= examples)
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s'%.60s'%s %lld", named ? ", " : "", c->name, named ? "" : " has",
                                 (long long)c->count);
        named++;
    }
}

void xp_class_set_note(const xp_class_set *s, const xp_tasks *tasks, const xp_source_options *opt)
{
    char small[400], text[900];
    int64_t need = tasks->shot + tasks->query;
    for (int i = 0; i < 3 && opt->note; i++) {
        int64_t n = s->split[i].count - large_enough(s, s->split[i], need);
        if (n == 0)
            continue;
        name_small(s, s->split[i], need, small, sizeof small);
        snprintf(text, sizeof text, "note: %s: %lld of %lld %s classes have fewer than shot + query = %lld %s and are left out of "
                 "such episodes (%s%s)", s->source, (long long)n, (long long)s->split[i].count, split_names[i],
                 (long long)need, s->noun, small, n > 4 ? ", ..." : "");
        opt->note(opt->note_ctx, text);
    }
}

/* --- drawing --- */

static ag_code check_size(const xp_class_set *s, const xp_episode_size *size, ag_error *err)
{
    AG_REQUIRE(size->way <= XP_CLASS_WAY_MAX, err, AG_ECONFIG, "%s: way is %lld; expected at most %d", s->source,
               (long long)size->way, XP_CLASS_WAY_MAX);
    AG_REQUIRE(size->shot <= XP_CLASS_PICK_MAX && size->query <= XP_CLASS_PICK_MAX - size->shot, err, AG_ECONFIG,
               "%s: shot %lld + query %lld; expected at most %d together", s->source, (long long)size->shot,
               (long long)size->query, XP_CLASS_PICK_MAX);
    return AG_OK;
}

static ag_code too_few(const xp_class_set *s, int split, const xp_episode_size *size, int64_t have, ag_error *err)
{
    char small[400];
    int64_t need = size->shot + size->query;
    xp_class_range all = s->split[split];
    name_small(s, all, need, small, sizeof small);
    return ag_fail(err, AG_ECONFIG, "%s: %lld-way tasks of shot %lld + query %lld need %lld %s classes of %lld %s; %lld of %lld "
                   "have as many%s%s%s", s->source, (long long)size->way, (long long)size->shot, (long long)size->query,
                   (long long)size->way, split_names[split], (long long)need, s->noun, (long long)have, (long long)all.count,
                   *small ? " (" : "", small, *small ? ")" : all.count ? "" : "; tasks.class_split shares classes out");
}

static bool usable(const xp_class_set *s, int64_t range, int split, const xp_episode_size *size)
{
    return s->classes[s->ranges[range].first].split == split &&
           large_enough(s, s->ranges[range], size->shot + size->query) >= size->way;
}

/* The domain of an episode: one of those with enough classes. */
static ag_code choose_domain(const xp_class_set *s, ag_random *r, int split, const xp_episode_size *size, xp_class_range *out,
                             ag_error *err)
{
    int64_t n = 0, domains = 0;
    for (int64_t i = 0; i < s->n_range; i++) {
        n += usable(s, i, split, size);
        domains += s->classes[s->ranges[i].first].split == split;
    }
    AG_REQUIRE(n, err, AG_ECONFIG, "%s: %lld-way tasks within one domain, of shot %lld + query %lld: none of the %lld %s domains "
               "has %lld classes of %lld %s", s->source, (long long)size->way, (long long)size->shot, (long long)size->query,
               (long long)domains, split_names[split], (long long)size->way, (long long)(size->shot + size->query), s->noun);
    int64_t left = (int64_t)ag_random_below(r, (uint64_t)n);
    for (int64_t i = 0; i < s->n_range; i++)
        if (usable(s, i, split, size) && left-- == 0)
            *out = s->ranges[i];
    return AG_OK;
}

/* The number-th of the range's classes that are large enough. */
static const xp_class *class_at(const xp_class_set *s, xp_class_range range, int64_t examples, int64_t number)
{
    const xp_class *c = &s->classes[range.first];
    for (;; c++)
        if (c->count >= examples && number-- == 0)
            return c;
}

/* c is the number-th class of the episode. */
static void place_class(const xp_class_set *s, ag_random *r, const xp_class *c, int64_t number, const xp_episode_size *size,
                        xp_pick_fn place, void *ctx)
{
    uint64_t picks[XP_CLASS_PICK_MAX];
    int64_t need = size->shot + size->query, label = size->fixed_labels ? c - &s->classes[s->split[c->split].first] : number;
    ag_random_choose(r, (uint64_t)c->count, (uint64_t)need, picks);
    for (int64_t e = 0; e < need; e++) {
        bool support = e < size->shot;
        place(ctx, &(xp_pick){ .example = s->members[c->first + (int64_t)picks[e]], .label = (int32_t)label,
                               .support = support, .row = (support ? e : e - size->shot) * size->way + number });
    }
}

ag_code xp_class_draw(const xp_class_set *s, const xp_episode_id *id, const xp_episode_size *size, xp_pick_fn place, void *ctx,
                      ag_error *err)
{
    uint64_t chosen[XP_CLASS_WAY_MAX];
    int split = xp_class_split_of(id->stream);
    int64_t need = size->shot + size->query;
    xp_class_range range = s->split[split];
    AG_TRY(err, check_size(s, size, err));
    int64_t have = large_enough(s, range, need);
    if (have < size->way)
        return too_few(s, split, size, have, err);
    ag_random r;
    ag_random_init(&r, id->seed, id->stream, id->iteration, id->task);
    if (s->domain_share >= 1 || (s->domain_share > 0 && ag_random_uniform(&r, 0, 1) < s->domain_share)) {
        AG_TRY(err, choose_domain(s, &r, split, size, &range, err));
        have = large_enough(s, range, need);
    }
    ag_random_choose(&r, (uint64_t)have, (uint64_t)size->way, chosen);
    for (int64_t c = 0; c < size->way; c++)
        place_class(s, &r, class_at(s, range, need, (int64_t)chosen[c]), c, size, place, ctx);
    return AG_OK;
}
