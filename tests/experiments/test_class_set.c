/* Splits and few-shot episodes: against NumPy's draws (golden_class_draw.py) and by their properties. */
#include "tests/check.h"

#include "autograd/random.h"
#include "experiments/class_set.h"
#include "golden_class_draw.h"

enum { CLASSES = 12, MEMBERS = 102, MOST = 512 };
static const int64_t none[3] = { 0 };

/* Class c has c + 3 examples, 100 c + 0, 1, ..., and the domain c mod 3. */
static void make_set(xp_class_set *s, const int64_t class_split[3], const int64_t split_domains[3])
{
    static const char *const names[CLASSES] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l" };
    static const char *const domains[3] = { "x", "y", "z" };
    int64_t n = 0;
    ag_error err = { 0 };
    ck_assert_int_eq(xp_class_set_init(s, "letters", "examples", CLASSES, MEMBERS, NULL), AG_OK);
    for (int c = 0; c < CLASSES; c++) {
        s->classes[c] = (xp_class){ .name = names[c], .domain = domains[c % 3], .rank = c % 3, .first = n, .count = c + 3 };
        for (int i = 0; i < c + 3; i++)
            s->members[n++] = 100 * c + i;
    }
    ck_assert_msg(xp_class_set_split(s, class_split, split_domains, &err) == AG_OK, "%s", err.message);
}

typedef struct episode {
    xp_pick picks[MOST];
    int n;
} episode;

static void keep(void *ctx, const xp_pick *p)
{
    episode *e = ctx;
    e->picks[e->n++] = *p;
}

static episode draw(const xp_class_set *s, xp_episode_id id, int64_t way, int64_t shot, int64_t query)
{
    ag_error err = { 0 };
    static episode e;
    e.n = 0;
    ck_assert_msg(xp_class_draw(s, &id, &(xp_episode_size){ .way = way, .shot = shot, .query = query }, keep, &e, &err) == AG_OK, "%s",
                  err.message);
    return e;
}

static void expect_picks(const episode *e, const xp_pick *want, size_t n)
{
    ck_assert_int_eq(e->n, (int)n);
    for (size_t i = 0; i < n; i++) {
        const xp_pick *p = &e->picks[i];
        ck_assert_msg(p->example == want[i].example && p->row == want[i].row && p->label == want[i].label && p->support == want[i].support,
                      "pick %zu is example %lld in row %lld; expected %lld in %lld", i, (long long)p->example, (long long)p->row,
                      (long long)want[i].example, (long long)want[i].row);
    }
}
#define expect_golden(e, want) expect_picks(&(e), want, sizeof(want) / sizeof *(want))

START_TEST(splits_and_episodes_are_those_numpy_draws)
{
    static const int64_t classes[3] = { 5, 3, 3 }, domains[3] = { 2, 0, 1 }, all[3] = { 3, 0, 0 };
    xp_class_set s;
    make_set(&s, classes, none);
    for (int i = 0; i < CLASSES; i++)
        ck_assert_int_eq(s.classes[i].split, golden_by_class[*s.classes[i].name - 'a']);
    episode e = draw(&s, (xp_episode_id){ 7, AG_STREAM_TRAIN, 3, 11 }, 3, 2, 3);
    expect_golden(e, golden_by_class_picks);
    e = draw(&s, (xp_episode_id){ 7, AG_STREAM_TEST, 3, 11 }, 2, 1, 4);
    expect_golden(e, golden_by_class_test);
    xp_class_set_release(&s);
    make_set(&s, none, domains);
    xp_class_set_from(&s, "domain", NULL);
    e = draw(&s, (xp_episode_id){ 9, AG_STREAM_TRAIN, 0, 5 }, 2, 3, 4);
    expect_golden(e, golden_domain);
    xp_class_set_release(&s);
    make_set(&s, none, all);
    xp_class_set_from(&s, "mixed", NULL);
    e = draw(&s, (xp_episode_id){ 1, AG_STREAM_TRAIN, 0, 0 }, 2, 1, 2);
    expect_golden(e, golden_mixed);
    e = draw(&s, (xp_episode_id){ 1, AG_STREAM_TRAIN, 0, 1 }, 2, 1, 2);
    expect_golden(e, golden_mixed_all);
    xp_class_set_release(&s);
}
END_TEST

START_TEST(support_and_query_share_nothing_and_rows_are_shot_major)
{
    xp_class_set s;
    make_set(&s, none, none);
    for (uint64_t t = 0; t < 200; t++) {
        bool seen[CLASSES * 100] = { false };
        int rows[2][64] = { { 0 } };
        episode e = draw(&s, (xp_episode_id){ 3, AG_STREAM_TEST, 1, t }, 4, 2, 5);
        ck_assert_int_eq(e.n, 4 * 7);
        for (int i = 0; i < e.n; i++) {
            const xp_pick *p = &e.picks[i];
            ck_assert(!seen[p->example]);
            seen[p->example] = true;
            ck_assert_int_eq(p->row % 4, p->label);
            ck_assert_int_lt(p->row, p->support ? 4 * 2 : 4 * 5);
            ck_assert_int_eq(rows[p->support][p->row]++, 0);
            ck_assert_int_ge(p->example / 100 + 3, 7);   /* classes of fewer than 7 are left out */
        }
    }
    xp_class_set_release(&s);
}
END_TEST

START_TEST(fixed_labels_are_a_classs_place_in_its_split_whatever_the_episode)
{
    static const int64_t classes[3] = { 5, 3, 3 };
    xp_class_set s;
    int label_of[CLASSES], used[5] = { 0 };
    ag_error err = { 0 };
    make_set(&s, classes, none);
    memset(label_of, -1, sizeof label_of);
    for (uint64_t t = 0; t < 100; t++) {
        static episode e;
        e.n = 0;
        xp_episode_size size = { .way = 3, .shot = 1, .query = 1, .fixed_labels = true };
        ck_assert_int_eq(xp_class_draw(&s, &(xp_episode_id){ 3, AG_STREAM_TRAIN, 1, t }, &size, keep, &e, &err), AG_OK);
        for (int i = 0; i < e.n; i++) {
            const xp_pick *p = &e.picks[i];
            int c = (int)(p->example / 100);
            ck_assert(p->label >= 0 && p->label < 5);
            ck_assert(label_of[c] < 0 || label_of[c] == p->label);
            ck_assert_int_eq(p->row, i / 2);   /* one example of each set a class: row is the class's column */
            label_of[c] = p->label;
            used[p->label]++;
        }
    }
    for (int i = 0; i < 5; i++)
        ck_assert_int_gt(used[i], 0);
    for (int a = 0; a < CLASSES; a++)
        for (int b = 0; b < a; b++)
            ck_assert(label_of[a] < 0 || label_of[a] != label_of[b]);
    xp_class_set_release(&s);
}
END_TEST

START_TEST(splits_share_no_class_and_what_is_left_over_is_not_used)
{
    static const int64_t classes[3] = { 5, 3, 3 };
    xp_class_set s;
    bool seen[3][CLASSES] = { { false } };
    make_set(&s, classes, none);
    for (uint64_t t = 0; t < 300; t++)
        for (uint64_t stream = AG_STREAM_TRAIN; stream <= AG_STREAM_TEST; stream++) {
            episode e = draw(&s, (xp_episode_id){ 3, stream, 1, t }, 2, 1, 1);
            for (int i = 0; i < e.n; i++)
                seen[stream - AG_STREAM_TRAIN][e.picks[i].example / 100] = true;
        }
    for (int k = 0, n[3] = { 0 }; k < 3; k++) {
        for (int c = 0; c < CLASSES; c++) {
            n[k] += seen[k][c];
            ck_assert(!seen[k][c] || (!seen[(k + 1) % 3][c] && !seen[(k + 2) % 3][c]));
        }
        ck_assert_int_eq(n[k], classes[k]);
        ck_assert_int_eq(xp_class_set_classes(&s, AG_STREAM_TRAIN + (uint64_t)k), classes[k]);
    }
    xp_class_set_release(&s);
}
END_TEST

static bool one_domain(const episode *e)
{
    for (int i = 1; i < e->n; i++)
        if (e->picks[i].example / 100 % 3 != e->picks[0].example / 100 % 3)
            return false;
    return true;
}

START_TEST(classes_come_from_one_domain_as_often_as_asked_for)
{
    static const struct { const char *from; double share; } cases[] = { { "all", 0 }, { "domain", 1 }, { "mixed", 0.7 } };
    enum { N = 4000 };
    /* all: 3 of 12 classes by chance from one domain, 3 (4 choose 3) / (12 choose 3) = 12 / 220 */
    const double chance = 12.0 / 220;
    for (int k = 0; k < 3; k++) {
        xp_class_set s;
        int together = 0, domain[3] = { 0 };
        make_set(&s, none, none);
        ck_assert_int_eq(xp_class_set_from(&s, cases[k].from, NULL), AG_OK);
        ck_assert_int_eq(xp_class_set_classes(&s, AG_STREAM_TEST), k == 0 || k == 2 ? (k ? 4 : 12) : 4);
        for (uint64_t t = 0; t < N; t++) {
            episode e = draw(&s, (xp_episode_id){ 3, AG_STREAM_TEST, 1, t }, 3, 1, 1);
            together += one_domain(&e);
            domain[e.picks[0].example / 100 % 3]++;
        }
        double expected = cases[k].share + (1 - cases[k].share) * chance, sigma = sqrt(expected * (1 - expected) / N) + 1e-9;
        ck_assert_msg(fabs(together / (double)N - expected) < 5 * sigma, "%s: %d of %d, expected %g", cases[k].from, together, N, expected);
        for (int d = 0; d < 3; d++)
            ck_assert_msg(abs(domain[d] - N / 3) < 200, "%d episodes of domain %d", domain[d], d);
        xp_class_set_release(&s);
    }
}
END_TEST

static void expect_refused(const xp_class_set *s, uint64_t stream, int64_t way, int64_t shot, int64_t query, const char *part)
{
    ag_error err = { 0 };
    episode e = { .n = 0 };
    xp_episode_id id = { 1, stream, 0, 0 };
    ck_assert_int_eq(xp_class_draw(s, &id, &(xp_episode_size){ .way = way, .shot = shot, .query = query }, keep, &e, &err), AG_ECONFIG);
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' does not say '%s'", err.message, part);
}

START_TEST(sizes_that_cannot_be_are_refused_with_counts_and_names)
{
    xp_class_set s;
    make_set(&s, none, none);
    expect_refused(&s, AG_STREAM_TEST, 13, 1, 1, "13-way tasks of shot 1 + query 1 need 13 test classes of 2 examples; 12 of 12 have as many");
    expect_refused(&s, AG_STREAM_TEST, 5, 1, 10, "5-way tasks of shot 1 + query 10 need 5 test classes of 11 examples; 4 of 12 have as many "
                   "('a' has 3, 'd' 6, 'g' 9, 'b' 4)");
    expect_refused(&s, AG_STREAM_TRAIN, 2, 1, 1, "0 of 0 have as many; tasks.class_split shares classes out");
    expect_refused(&s, AG_STREAM_TEST, 1001, 1, 1, "way is 1001; expected at most 1000");
    expect_refused(&s, AG_STREAM_TEST, 2, 4000, 97, "shot 4000 + query 97; expected at most 4096");
    xp_class_set_from(&s, "domain", NULL);
    expect_refused(&s, AG_STREAM_TEST, 5, 1, 1, "5-way tasks within one domain, of shot 1 + query 1: none of the 3 test domains has 5 "
                   "classes of 2 examples");
    xp_class_set_release(&s);
}
END_TEST

static void expect_split_refused(const int64_t class_split[3], const int64_t split_domains[3], const char *part)
{
    xp_class_set s;
    ag_error err = { 0 };
    make_set(&s, none, none);
    s.n_range = 0;
    ck_assert_int_eq(xp_class_set_split(&s, class_split, split_domains, &err), AG_ECONFIG);
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' does not say '%s'", err.message, part);
    xp_class_set_release(&s);
}

START_TEST(splits_of_more_than_there_is_are_refused)
{
    expect_split_refused((int64_t[]){ 10, 2, 1 }, none, "tasks.class_split: [10, 2, 1]; expected three counts of 0 or more, together at "
                         "most the 12 classes there are");
    expect_split_refused((int64_t[]){ -1, 2, 1 }, none, "tasks.class_split: [-1, 2, 1]");
    expect_split_refused(none, (int64_t[]){ 2, 1, 1 }, "tasks.split_domains: [2, 1, 1]; expected three counts of 0 or more, together at "
                         "most the 3 domains there are");
}
END_TEST

TEST_MAIN(splits_and_episodes_are_those_numpy_draws, support_and_query_share_nothing_and_rows_are_shot_major,
          fixed_labels_are_a_classs_place_in_its_split_whatever_the_episode,
          splits_share_no_class_and_what_is_left_over_is_not_used, classes_come_from_one_domain_as_often_as_asked_for,
          sizes_that_cannot_be_are_refused_with_counts_and_names, splits_of_more_than_there_is_are_refused)
