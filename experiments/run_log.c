/* What a run writes down: each row goes into the result file in memory and into the journal (run_internal.h). The journal
 * comes last, so that a row in it was accepted everywhere. */
#include "experiments/run_internal.h"
#include "experiments/text.h"

#include <string.h>

ag_code xp_log_train(xp_context *x, const xp_train_row *given, ag_error *err)
{
    xp_train_row row = *given;
    row.seconds = xp_now() - x->started;
    if (x->results)
        AG_TRY(err, xp_results_train(x->results, &row, err));
    if (x->journal)
        AG_TRY(err, xp_journal_append(x->journal, XP_RECORD_TRAIN, &row, sizeof row, err));
    x->iteration = row.iteration;
    x->trained = true;
    return AG_OK;
}

ag_code xp_log_validation(xp_context *x, const xp_validation_row *row, ag_error *err)
{
    if (x->results)
        AG_TRY(err, xp_results_validation(x->results, row, err));
    return x->journal ? xp_journal_append(x->journal, XP_RECORD_VALIDATION, row, sizeof *row, err) : AG_OK;
}

/* ---- scores: this, protocol and unit with their NULs, losses, then accuracies, seeds and steps where there are any ---- */

typedef struct score_head {
    int64_t n_episode, last;             /* columns - 1 */
    double diverged_above;
    uint32_t has_accuracy;
    uint16_t has_seed, has_step;         /* one number before there were steps: the same bytes */
} score_head;

static size_t score_bytes(const score_head *h)
{
    return (size_t)h->n_episode * ((size_t)h->last + 1) * sizeof(double);
}

static size_t seed_bytes(const score_head *h)
{
    return h->has_seed ? (size_t)h->n_episode * sizeof(uint64_t) : 0;
}

static ag_code encode(const xp_scores *s, char **data, size_t *n, ag_error *err)
{
    xp_text t = { 0 };
    const score_head h = { s->n_episode, s->n_score - 1, s->diverged_above, s->accuracy != NULL, s->episode_seed != NULL, s->step != NULL };
    const char *unit = s->loss_unit ? s->loss_unit : "1";
    xp_text_bytes(&t, (const char *)&h, sizeof h);
    xp_text_bytes(&t, s->protocol, strlen(s->protocol) + 1);
    xp_text_bytes(&t, unit, strlen(unit) + 1);
    xp_text_bytes(&t, (const char *)s->loss, score_bytes(&h));
    if (s->accuracy)
        xp_text_bytes(&t, (const char *)s->accuracy, score_bytes(&h));
    if (s->episode_seed)
        xp_text_bytes(&t, (const char *)s->episode_seed, (size_t)s->n_episode * sizeof *s->episode_seed);
    if (s->step)
        xp_text_bytes(&t, (const char *)s->step, (size_t)s->n_score * sizeof *s->step);
    *n = t.length;
    return xp_text_take(&t, data, err);
}

ag_code xp_log_scores(xp_context *x, const xp_scores *s, ag_error *err)
{
    char *data;
    size_t n;
    if (x->results)
        AG_TRY(err, xp_results_scores(x->results, s, err));
    if (!x->journal)
        return AG_OK;
    AG_TRY(err, encode(s, &data, &n, err));
    ag_code code = xp_journal_append(x->journal, XP_RECORD_SCORES, data, n, err);
    ag_free(data);
    return code;
}

/* Points into data, which is aligned; false if it is not of that form. */
static bool decode(const char *data, size_t n, xp_scores *s)
{
    score_head h;
    if (n < sizeof h)
        return false;
    memcpy(&h, data, sizeof h);
    if (h.n_episode < 1 || h.last < 0 || h.last > INT32_MAX || (uint64_t)h.n_episode > n / sizeof(double) / ((uint64_t)h.last + 1))
        return false;
    size_t arrays = score_bytes(&h) * (h.has_accuracy ? 2 : 1) + seed_bytes(&h) + (h.has_step ? ((size_t)h.last + 1) * sizeof(int64_t) : 0);
    size_t text = n - sizeof h - arrays;
    const char *protocol = data + sizeof h, *unit = n < sizeof h + arrays ? NULL : memchr(protocol, '\0', text);
    if (!unit || !memchr(unit + 1, '\0', text - (size_t)(unit + 1 - protocol)))
        return false;
    *s = (xp_scores){ .protocol = protocol, .n_episode = h.n_episode, .n_score = h.last + 1, .loss_unit = unit + 1,
                      .diverged_above = h.diverged_above };
    return protocol + text == unit + 1 + strlen(unit + 1) + 1;
}

/* The arrays are copied to where doubles may stand. */
static ag_code restore_scores(xp_context *x, const xp_record *record, ag_error *err)
{
    xp_scores s;
    AG_REQUIRE(decode(record->data, record->bytes, &s), err, AG_EDATA, "the journal of '%s' holds scores that cannot be read", x->o->out);
    score_head h;
    memcpy(&h, record->data, sizeof h);
    const char *from = s.loss_unit + strlen(s.loss_unit) + 1;
    size_t arrays = record->bytes - (size_t)(from - (const char *)record->data), scores = score_bytes(&h);
    char *copy = ag_alloc(arrays);
    AG_REQUIRE(copy, err, AG_ENOMEM, "out of memory for the scores of '%s'", s.protocol);
    memcpy(copy, from, arrays);
    s.loss = (const double *)copy;
    s.accuracy = h.has_accuracy ? (const double *)(copy + scores) : NULL;
    const char *behind = copy + scores * (h.has_accuracy ? 2 : 1);
    s.episode_seed = h.has_seed ? (const uint64_t *)behind : NULL;
    s.step = h.has_step ? (const int64_t *)(behind + seed_bytes(&h)) : NULL;
    ag_code code = xp_results_scores(x->results, &s, err);
    ag_free(copy);
    return code;
}

/* ---- back from the journal ---- */

static ag_code restore_train(xp_context *x, const xp_record *record, ag_error *err)
{
    xp_train_row row;
    AG_REQUIRE(record->bytes == sizeof row, err, AG_EDATA, "the journal of '%s' holds a row of %zu bytes; expected %zu", x->o->out,
               record->bytes, sizeof row);
    memcpy(&row, record->data, sizeof row);
    return xp_results_train(x->results, &row, err);
}

static ag_code restore_validation(xp_context *x, const xp_record *record, ag_error *err)
{
    xp_validation_row row;
    AG_REQUIRE(record->bytes == sizeof row, err, AG_EDATA, "the journal of '%s' holds a validation of %zu bytes; expected %zu",
               x->o->out, record->bytes, sizeof row);
    memcpy(&row, record->data, sizeof row);
    return xp_results_validation(x->results, &row, err);
}

ag_code xp_log_restore(xp_context *x, const xp_records *r, int64_t last, ag_error *err)
{
    for (int64_t i = 1; i <= last; i++) {
        const xp_record *record = &r->at[i];
        if (record->type == XP_RECORD_TRAIN)
            AG_TRY(err, restore_train(x, record, err));
        if (record->type == XP_RECORD_VALIDATION)
            AG_TRY(err, restore_validation(x, record, err));
        if (record->type == XP_RECORD_SCORES)
            AG_TRY(err, restore_scores(x, record, err));
    }
    return AG_OK;
}
