/* CLINC150 as its authors publish it (text_table.h): data_full.json has lists "train", "val" and "test" of [text, intent],
 * domains.json {domain: [intent, ...]}. */
#include "experiments/text_table.h"

#include <jansson.h>
#include <string.h>

static const char *const parts[] = { "train", "val", "test" };

typedef struct clinc {
    json_t *data, *domains;
    json_t *domain_of;           /* intent -> number of its domain */
    const char *data_name, *domains_name;
    char *text;                  /* where cells are kept */
    size_t out, room;
} clinc;

static ag_code load(json_t **out, const char *bytes, size_t n, const char *name, ag_error *err)
{
    json_error_t why;
    *out = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &why);
    if (!*out)
        return ag_fail(err, json_error_code(&why) == json_error_out_of_memory ? AG_ENOMEM : AG_EDATA, "%s:%d:%d: not JSON: %s", name,
                       why.line, why.column, why.text);
    AG_REQUIRE(json_is_object(*out), err, AG_EDATA, "%s: this is no JSON object", name);
    return AG_OK;
}

static ag_code read_domains(clinc *c, ag_error *err)
{
    const char *domain;
    json_t *intents, *intent;
    size_t i;
    json_int_t number = 0;
    c->domain_of = json_object();
    AG_REQUIRE(c->domain_of, err, AG_ENOMEM, "%s: out of memory", c->domains_name);
    json_object_foreach(c->domains, domain, intents) {
        AG_REQUIRE(json_is_array(intents), err, AG_EDATA, "%s: '%.60s' is no list; expected one of intents", c->domains_name, domain);
        json_array_foreach(intents, i, intent) {
            AG_REQUIRE(json_is_string(intent), err, AG_EDATA, "%s: '%.60s' holds what is no text; expected names of intents",
                       c->domains_name, domain);
            const char *name = json_string_value(intent);
            AG_REQUIRE(!json_object_get(c->domain_of, name), err, AG_EDATA, "%s: the intent '%.60s' stands in two places",
                       c->domains_name, name);
            AG_REQUIRE(json_object_set_new(c->domain_of, name, json_integer(number)) == 0, err, AG_ENOMEM, "%s: out of memory",
                       c->domains_name);
        }
        number++;
    }
    return AG_OK;
}

/* Fits, since every cell comes from its own place in the files; but NUL characters may be hidden there. */
static ag_code keep(clinc *c, const char *s, const char **kept, ag_error *err)
{
    size_t n = strlen(s) + 1;
    AG_REQUIRE(n <= c->room - c->out, err, AG_EDATA, "%s: '%.60s' does not fit", c->data_name, s);
    *kept = memcpy(c->text + c->out, s, n);
    c->out += n;
    return AG_OK;
}

static ag_code check_entry(const clinc *c, const char *part, size_t i, const json_t *entry, ag_error *err)
{
    AG_REQUIRE(json_array_size(entry) == 2, err, AG_EDATA, "%s: entry %zu of '%s' is no pair; expected [text, intent]", c->data_name,
               i, part);
    for (size_t k = 0; k < 2; k++) {
        const json_t *s = json_array_get(entry, k);
        AG_REQUIRE(json_is_string(s) && strlen(json_string_value(s)) == json_string_length(s), err, AG_EDATA,
                   "%s: entry %zu of '%s' holds what is no text", c->data_name, i, part);
    }
    const char *intent = json_string_value(json_array_get(entry, 1));
    AG_REQUIRE(json_object_get(c->domain_of, intent), err, AG_EDATA, "%s: entry %zu of '%s': %s names no domain of the intent '%.60s'",
               c->data_name, i, part, c->domains_name, intent);
    return AG_OK;
}

/* All texts of a domain. */
static ag_code read_domain(clinc *c, xp_table *t, json_int_t number, const char *domain, ag_error *err)
{
    xp_table_row row = { .file = t->n_file - 1 };
    json_t *entry;
    size_t i;
    AG_TRY(err, keep(c, domain, &row.cell[2], err));
    for (int p = 0; p < 3; p++)
        json_array_foreach(json_object_get(c->data, parts[p]), i, entry) {
            if (number == 0)
                AG_TRY(err, check_entry(c, parts[p], i, entry, err));
            const char *intent = json_string_value(json_array_get(entry, 1));
            if (json_integer_value(json_object_get(c->domain_of, intent)) != number)
                continue;
            AG_TRY(err, keep(c, json_string_value(json_array_get(entry, 0)), &row.cell[0], err));
            AG_TRY(err, keep(c, intent, &row.cell[1], err));
            AG_TRY(err, xp_table_add_row(t, &row, err));
        }
    return AG_OK;
}

static ag_code read_parts(clinc *c, xp_table *t, ag_error *err)
{
    const char *domain;
    json_t *intents;
    json_int_t number = 0;
    int64_t before = t->n_row;
    for (int p = 0; p < 3; p++)
        AG_REQUIRE(json_is_array(json_object_get(c->data, parts[p])), err, AG_EDATA,
                   "%s: there is no list '%s'; expected data_full.json of CLINC150", c->data_name, parts[p]);
    json_object_foreach(c->domains, domain, intents)
        AG_TRY(err, read_domain(c, t, number++, domain, err));
    AG_REQUIRE(t->n_row > before, err, AG_EDATA, "%s: there are no texts", c->data_name);
    return AG_OK;
}

static ag_code read_both(clinc *c, xp_table *t, const char *data, size_t n_data, const char *domains, size_t n_domains,
                         ag_error *err)
{
    AG_TRY(err, load(&c->data, data, n_data, c->data_name, err));
    AG_TRY(err, load(&c->domains, domains, n_domains, c->domains_name, err));
    AG_TRY(err, read_domains(c, err));
    c->room = n_data + n_domains;
    AG_TRY(err, xp_table_add_file(t, c->data_name, c->room, &c->text, err));
    return read_parts(c, t, err);
}

ag_code xp_table_parse_clinc(xp_table *t, const char *data, size_t n_data, const char *data_name, const char *domains,
                             size_t n_domains, const char *domains_name, ag_error *err)
{
    clinc c = { .data_name = data_name, .domains_name = domains_name };
    ag_code code = read_both(&c, t, data, n_data, domains, n_domains, err);
    json_decref(c.data);
    json_decref(c.domains);
    json_decref(c.domain_of);
    return ag_trail(err, code, __func__);
}

ag_code xp_table_read_clinc(xp_table *t, const char *data_path, const char *domains_path, ag_error *err)
{
    char *data = NULL, *domains = NULL;
    size_t n_data, n_domains;
    ag_code code = xp_table_bytes(data_path, &data, &n_data, err);
    if (code == AG_OK)
        code = xp_table_bytes(domains_path, &domains, &n_domains, err);
    if (code == AG_OK)
        code = xp_table_parse_clinc(t, data, n_data, data_path, domains, n_domains, domains_path, err);
    ag_free(data);
    ag_free(domains);
    return code;
}
