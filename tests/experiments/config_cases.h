/* Configurations that are read and compared, for the tests of the configuration. */
#ifndef CONFIG_CASES_H
#define CONFIG_CASES_H

#include "experiments/config.h"
#include "experiments/config_values.h"
#include "tests/check.h"

#define MINIMAL "tasks:\n  source: sinusoid\n"

static inline ag_code parse_with(xp_config *c, const char *text, int n_set, const char *const *sets, ag_error *err)
{
    ag_error_clear(err);
    return xp_config_parse(c, text, strlen(text), "t.yaml", n_set, sets, err);
}

static inline void expect_ok(xp_config *c, const char *text, const char *set)
{
    ag_error err = { 0 };
    ck_assert_msg(parse_with(c, text, set != NULL, &set, &err) == AG_OK, "%s", err.message);
}

/* Fails as a configuration and the message has this part. */
static inline void expect_broken(const char *text, size_t length, const char *set, const char *part)
{
    xp_config c;
    ag_error err = { 0 };
    ag_code code = xp_config_parse(&c, text, length, "t.yaml", set != NULL, &set, &err);
    ck_assert_msg(code == AG_ECONFIG, "%s gave %s", set ? set : text, ag_code_name(code));
    ck_assert_msg(strstr(err.message, part) != NULL, "'%s' is not in: %s", part, err.message);
    ck_assert_ptr_null(c.resolved);
    ck_assert_ptr_null(c.strings);
}

static inline char *read_text(const char *path, size_t *length)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s cannot be read", path);
    char *text = calloc(1, 1 << 20);
    *length = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    return text;
}

static inline void write_text(const char *path, const char *text, size_t length)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, length, f), length);
    fclose(f);
}

static inline bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* Reads one value for a knob the way a file's value is read. */
static inline ag_code read_value(const xp_knob *k, const char *value, xp_config *c)
{
    xp_yaml *y;
    xp_strings *strings = NULL;
    memset(c, 0, sizeof *c);
    ck_assert_int_eq(xp_yaml_parse(&y, value, strlen(value), "v", true, NULL), AG_OK);
    ag_code code = xp_knob_read(k, y, y->root, c, &strings, NULL);
    xp_yaml_free(y);
    xp_strings_free(strings);
    return code;
}

/* Every knob has the same value, bit for bit. */
static inline void expect_same(const xp_config *a, const xp_config *b)
{
    for (int i = 0; i < xp_n_knobs; i++) {
        const xp_knob *k = &xp_knobs[i];
        const char *x = (const char *)a + k->offset, *y = (const char *)b + k->offset;
        ck_assert_int_eq(xp_knob_values(k, a), xp_knob_values(k, b));
        if (xp_knob_is_string(k))
            for (int v = 0; v < xp_knob_values(k, a); v++)
                ck_assert_str_eq(((const char *const *)(const void *)x)[v], ((const char *const *)(const void *)y)[v]);
        else
            ck_assert_msg(memcmp(x, y, k->type == XP_BOOL ? 1 : 8 * (size_t)(k->capacity ? k->capacity : 1)) == 0, "%s",
                          k->path);
    }
    ck_assert_str_eq(a->resolved, b->resolved);
}

#endif
