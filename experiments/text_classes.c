/* Rows -> classes, by sorting twice (text_classes.h). */
#include "experiments/text_classes.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT, LABEL, DOMAIN };

/* A row while it is sorted. */
typedef struct entry {
    const xp_table_row *row;
    int64_t number;
} entry;

static int by_column(const void *a, const void *b, int column)
{
    const entry *x = a, *y = b;
    int order = strcmp(x->row->cell[column], y->row->cell[column]);
    return order ? order : x->number < y->number ? -1 : x->number > y->number;
}

static int by_text(const void *a, const void *b)
{
    return by_column(a, b, TEXT);
}

static int by_label(const void *a, const void *b)
{
    return by_column(a, b, LABEL);
}

static bool same(const entry *a, const entry *b, int column)
{
    return strcmp(a->row->cell[column], b->row->cell[column]) == 0;
}

static ag_code check_row(const xp_table *t, const xp_table_row *row, int n_column, ag_error *err)
{
    static const char *const names[] = { "text", "label", "domain" };
    char where[XP_TABLE_NAME + 32];
    for (int c = 0; c < n_column; c++) {
        if (row->cell[c][strspn(row->cell[c], " \t\r\n")])
            continue;
        xp_table_where(t, row, where, sizeof where);
        return ag_fail(err, AG_EDATA, "%s: the %s is empty", where, names[c]);
    }
    return AG_OK;
}

/* Sorted by text: keeps the first of equals with one label, none of equals with several. Returns how many stay. */
static int64_t drop_repeated(entry *e, int64_t n, xp_text_facts *facts)
{
    int64_t kept = 0;
    for (int64_t i = 0, end; i < n; i = end) {
        bool one_label = true;
        for (end = i + 1; end < n && same(&e[i], &e[end], TEXT); end++)
            one_label &= same(&e[i], &e[end], LABEL);
        facts->repeated += one_label ? end - i - 1 : 0;
        facts->ambiguous += !one_label;
        if (one_label)
            e[kept++] = e[i];
    }
    return kept;
}

static int64_t count_classes(const entry *e, int64_t n)
{
    int64_t classes = 0;
    for (int64_t i = 0; i < n; i++)
        classes += i == 0 || !same(&e[i - 1], &e[i], LABEL);
    return classes;
}

/* The rows of one class, in the order of the table. */
static ag_code fill_class(xp_class_set *s, const xp_table *t, xp_class *c, const entry *e, int64_t n, int n_column,
                          int64_t max_per_class, ag_error *err)
{
    char where[2][XP_TABLE_NAME + 32];
    c->name = e[0].row->cell[LABEL];
    c->domain = n_column > DOMAIN ? e[0].row->cell[DOMAIN] : NULL;
    c->count = max_per_class > 0 && max_per_class < n ? max_per_class : n;
    c->rank = e[0].number;   /* until the domains are ranked */
    for (int64_t i = 0; i < c->count; i++)
        s->members[c->first + i] = e[i].number;
    for (int64_t i = 1; c->domain && i < n; i++) {
        if (same(&e[0], &e[i], DOMAIN))
            continue;
        xp_table_where(t, e[0].row, where[0], sizeof where[0]);
        xp_table_where(t, e[i].row, where[1], sizeof where[1]);
        return ag_fail(err, AG_EDATA, "%s: the label '%.60s' is of domain '%.60s' here and of '%.60s' in %s", where[0], c->name,
                       c->domain, e[i].row->cell[DOMAIN], where[1]);
    }
    return AG_OK;
}

static int by_domain(const void *a, const void *b)
{
    const xp_class *const *x = a, *const *y = b;
    int order = strcmp((*x)->domain, (*y)->domain);
    return order ? order : (*x)->rank < (*y)->rank ? -1 : (*x)->rank > (*y)->rank;
}

static int by_rank(const void *a, const void *b)
{
    const xp_class *const *x = a, *const *y = b;
    if ((*x)->rank != (*y)->rank)
        return (*x)->rank < (*y)->rank ? -1 : 1;
    return 0;
}

/* rank: a class's first row -> its domain's first row -> its domain's place among domains. */
static ag_code rank_domains(xp_class_set *s, ag_error *err)
{
    xp_class **c = ag_alloc((size_t)s->n_class * sizeof *c);
    AG_REQUIRE(c, err, AG_ENOMEM, "%s: out of memory for %lld classes", s->source, (long long)s->n_class);
    for (int64_t i = 0; i < s->n_class; i++)
        c[i] = &s->classes[i];
    qsort(c, (size_t)s->n_class, sizeof *c, by_domain);
    for (int64_t i = 1; i < s->n_class; i++)
        if (strcmp(c[i - 1]->domain, c[i]->domain) == 0)
            c[i]->rank = c[i - 1]->rank;
    qsort(c, (size_t)s->n_class, sizeof *c, by_rank);
    int64_t rank = -1, before = -1;
    for (int64_t i = 0; i < s->n_class; i++) {
        rank += c[i]->rank != before;
        before = c[i]->rank;
        c[i]->rank = rank;
    }
    ag_free(c);
    return AG_OK;
}

static ag_code fill_set(xp_class_set *s, const xp_table *t, const entry *e, int64_t n, int n_column, int64_t max_per_class,
                        ag_error *err)
{
    xp_class *c = s->classes;
    for (int64_t i = 0, end; i < n; i = end, c++) {
        for (end = i + 1; end < n && same(&e[i], &e[end], LABEL); end++)
            ;
        c->first = i;
        AG_TRY(err, fill_class(s, t, c, e + i, end - i, n_column, max_per_class, err));
    }
    if (n_column > DOMAIN)
        return rank_domains(s, err);
    for (int64_t i = 0; i < s->n_class; i++)
        s->classes[i].rank = 0;
    return AG_OK;
}

static ag_code sort_rows(xp_class_set *s, const char *source, const char *noun, const xp_table *t, int n_column,
                         int64_t max_per_class, xp_text_facts *facts, entry *e, ag_error *err)
{
    for (int64_t i = 0; i < t->n_row; i++) {
        AG_TRY(err, check_row(t, &t->rows[i], n_column, err));
        e[i] = (entry){ &t->rows[i], i };
    }
    qsort(e, (size_t)t->n_row, sizeof *e, by_text);
    int64_t n = drop_repeated(e, t->n_row, facts);
    AG_REQUIRE(n, err, AG_EDATA, "%s: %s: every text stands under several labels", source, t->n_file ? t->name[0] : "");
    qsort(e, (size_t)n, sizeof *e, by_label);
    AG_TRY(err, xp_class_set_init(s, source, noun, count_classes(e, n), n, err));
    return fill_set(s, t, e, n, n_column, max_per_class, err);
}

ag_code xp_text_classes(xp_class_set *s, const char *source, const char *noun, const xp_table *t, int n_column,
                        int64_t max_per_class, xp_text_facts *facts, ag_error *err)
{
    *s = (xp_class_set){ 0 };
    *facts = (xp_text_facts){ 0 };
    entry *e = ag_alloc((size_t)t->n_row * sizeof *e);
    AG_REQUIRE(e, err, AG_ENOMEM, "%s: out of memory for %lld rows", source, (long long)t->n_row);
    ag_code code = sort_rows(s, source, noun, t, n_column, max_per_class, facts, e, err);
    ag_free(e);
    if (code != AG_OK)
        xp_class_set_release(s);
    return ag_trail(err, code, __func__);
}
