/* Values to YAML (config_values.h). */
#include "experiments/config_values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/* The fewest digits, from 15 on, that read back to the same bits; always with a point, without which YAML 1.1 may see
 * text. */
void xp_real_write(double value, xp_text *out)
{
    char text[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    size_t whole = strcspn(text, "e");
    bool point = memchr(text, '.', whole) != NULL;
    xp_text_add(out, "%.*s%s%s", (int)whole, text, point ? "" : ".0", text + whole);
}

/* A word that no YAML 1.1 reader takes for a number, a truth value or nothing. */
static bool is_plain(const char *s)
{
    static const char *const special[] = { "true", "false", "yes", "no", "on", "off", "y", "n", "null" };
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (strcasecmp(s, special[i]) == 0)
            return false;
    const char *rest = s + strspn(s, letters);
    while (*rest && (strchr(letters, *rest) || strchr("0123456789._+-", *rest)))
        rest++;
    return *s && strchr(letters, *s) && !*rest;
}

/* Line separators and what is no character to YAML readers are written as escapes; TEXT has no control characters. */
static void write_quoted(const char *s, xp_text *out)
{
    static const struct { const char *character, *escape; } escapes[] = {
        { "\"", "\\\"" }, { "\\", "\\\\" }, { "\xE2\x80\xA8", "\\u2028" }, { "\xE2\x80\xA9", "\\u2029" },
        { "\xEF\xBF\xBE", "\\uFFFE" }, { "\xEF\xBF\xBF", "\\uFFFF" }
    };
    xp_text_bytes(out, "\"", 1);
    while (*s) {
        const char *escape = NULL;
        size_t n = 1;
        for (size_t i = 0; i < sizeof escapes / sizeof *escapes && !escape; i++) {
            n = strlen(escapes[i].character);
            escape = strncmp(s, escapes[i].character, n) == 0 ? escapes[i].escape : NULL;
        }
        n = escape ? n : 1;
        xp_text_bytes(out, escape ? escape : s, escape ? strlen(escape) : 1);
        s += n;
    }
    xp_text_bytes(out, "\"", 1);
}

static void write_string(const char *s, xp_text *out)
{
    if (is_plain(s))
        xp_text_bytes(out, s, strlen(s));
    else
        write_quoted(s, out);
}

static void write_one(const xp_knob *k, const void *value, xp_text *out)
{
    switch (k->type) {
    case XP_INT:
        xp_text_add(out, "%lld", (long long)*(const int64_t *)value);
        break;
    case XP_REAL:
        xp_real_write(*(const double *)value, out);
        break;
    case XP_BOOL:
        xp_text_add(out, "%s", *(const bool *)value ? "true" : "false");
        break;
    case XP_SEED:
        xp_text_add(out, "%llu", (unsigned long long)*(const uint64_t *)value);
        break;
    case XP_WORD:
    case XP_TEXT:
    case XP_CHOICE:
        write_string(*(const char *const *)value, out);
        break;
    }
}

void xp_knob_write(const xp_knob *k, const xp_config *c, xp_text *out)
{
    const char *value = (const char *)c + k->offset;
    if (!k->capacity) {
        write_one(k, value, out);
        return;
    }
    int n = xp_knob_values(k, c);
    xp_text_add(out, "[");
    for (int i = 0; i < n; i++) {
        xp_text_add(out, "%s", i ? ", " : "");
        write_one(k, value + sizeof(int64_t) * (size_t)i, out);
    }
    xp_text_add(out, "]");
}
