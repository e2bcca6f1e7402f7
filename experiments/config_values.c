/* The table of knobs made from config_knobs.h, and values from YAML (config_values.h). */
#include "experiments/config_values.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XP_ELEMENTS(field) ((int)(sizeof ((xp_config *)0)->field / sizeof(int64_t)))   /* of arrays */
#define XP_KNOB(type, field, standard, range, unit, meaning) \
    { #field, XP_##type, standard, range, unit, meaning, offsetof(xp_config, field), 0, 0 },
#define XP_TUPLE(type, field, standard, range, unit, meaning) \
    { #field, XP_##type, standard, range, unit, meaning, offsetof(xp_config, field), 0, XP_ELEMENTS(field) },
#define XP_LIST(type, field, count, standard, range, unit, meaning)                                       \
    { #field, XP_##type, standard, range, unit, meaning, offsetof(xp_config, field), offsetof(xp_config, count), \
      XP_ELEMENTS(field) },
const xp_knob xp_knobs[] = {
#include "experiments/config_knobs.h"
};
const int xp_n_knobs = sizeof xp_knobs / sizeof *xp_knobs;

_Static_assert(sizeof(int64_t) == sizeof(double) && sizeof(int64_t) == sizeof(char *),
               "xp_knob.capacity counts whole numbers, numbers and strings by the same size");

enum { WORD_LENGTH_MAX = 100 };

struct xp_strings {
    xp_strings *next;
    char text[];
};

ag_code xp_strings_keep(xp_strings **s, const char *text, size_t length, const char **kept, ag_error *err)
{
    xp_strings *n = ag_alloc(sizeof *n + length + 1);
    AG_REQUIRE(n, err, AG_ENOMEM, "out of memory for a configuration");
    memcpy(n->text, text, length);
    n->text[length] = '\0';
    n->next = *s;
    *s = n;
    *kept = n->text;
    return AG_OK;
}

void xp_strings_free(xp_strings *s)
{
    for (xp_strings *next; s; s = next) {
        next = s->next;
        ag_free(s);
    }
}

int xp_knob_find(const char *path)
{
    for (int i = 0; i < xp_n_knobs; i++)
        if (strcmp(xp_knobs[i].path, path) == 0)
            return i;
    return -1;
}

bool xp_knob_required(const xp_knob *k)
{
    return strcmp(k->standard, "(required)") == 0;
}

bool xp_knob_derived(const xp_knob *k)
{
    return k->standard[0] == '(' && !xp_knob_required(k);
}

size_t xp_knob_section(const xp_knob *k)
{
    const char *dot = strchr(k->path, '.');
    return dot ? (size_t)(dot - k->path) : 0;
}

bool xp_knob_is_string(const xp_knob *k)
{
    return k->type == XP_WORD || k->type == XP_TEXT || k->type == XP_CHOICE;
}

int xp_knob_values(const xp_knob *k, const xp_config *c)
{
    if (k->count_offset)
        return *(const int *)(const void *)((const char *)c + k->count_offset);
    return k->capacity ? k->capacity : 1;
}

const char *xp_knob_expected(const xp_knob *k, char *out, size_t size)
{
    static const char *const one[] = { [XP_INT] = "a whole number in ", [XP_REAL] = "a number in ", [XP_BOOL] = "true or false",
                                       [XP_WORD] = "", [XP_TEXT] = "", [XP_CHOICE] = "", [XP_SEED] = "a whole number in " };
    static const char *const many[] = { [XP_INT] = "whole numbers in ", [XP_REAL] = "numbers in ", [XP_BOOL] = "", [XP_WORD] = "",
                                        [XP_TEXT] = "", [XP_CHOICE] = "", [XP_SEED] = "" };
    size_t used = 0;
    if (k->count_offset)
        used = (size_t)snprintf(out, size, "a list of up to %d %s", k->capacity, many[k->type]);
    else if (k->capacity)
        used = (size_t)snprintf(out, size, "a list of %d %s", k->capacity, many[k->type]);
    else
        used = (size_t)snprintf(out, size, "%s", one[k->type]);
    snprintf(out + used, size - used, "%s%s%s%s", k->range, *k->unit ? " (" : "", k->unit, *k->unit ? ")" : "");
    return out;
}

/* ---- from YAML ----------------------------------------------------------------------------------------- */

/* "[1, 100]", "(0, 1)" */
static bool in_range(const char *range, double value)
{
    char *end;
    double low = strtod(range + 1, &end);
    double high = strtod(end + 1, &end);
    return (range[0] == '(' ? value > low : value >= low) && (*end == ')' ? value < high : value <= high);
}

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

/* -?digits without needless zeros, which YAML 1.1 takes for octal. */
static bool is_whole(const char *s)
{
    s += *s == '-';
    size_t n = digits(s);
    return n > 0 && s[n] == '\0' && (n == 1 || s[0] != '0');
}

/* 1  1.  1.5  .5  1e-3  +1.5E+3 */
static bool is_number(const char *s)
{
    s += *s == '-' || *s == '+';
    size_t whole = digits(s), fraction = 0;
    s += whole;
    if (*s == '.') {
        fraction = digits(++s);
        s += fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        s += 1 + (s[1] == '-' || s[1] == '+');
        size_t exponent = digits(s);
        s += exponent;
        if (!exponent)
            return false;
    }
    return *s == '\0';
}

static bool read_int(const xp_knob *k, const char *text, void *out)
{
    errno = 0;
    long long value = is_whole(text) ? strtoll(text, NULL, 10) : 0;
    if (!is_whole(text) || errno || !in_range(k->range, (double)value))
        return false;
    *(int64_t *)out = value;
    return true;
}

static bool read_real(const xp_knob *k, const char *text, void *out)
{
    double value = is_number(text) ? strtod(text, NULL) : 0;
    if (!is_number(text) || !in_range(k->range, value))   /* an overflow is infinite and in no range */
        return false;
    *(double *)out = value;
    return true;
}

static bool read_bool(const char *text, bool *out)
{
    *out = strcmp(text, "true") == 0;
    return *out || strcmp(text, "false") == 0;
}

static bool read_seed(const char *text, uint64_t *out)
{
    errno = 0;
    *out = strtoull(text, NULL, 10);
    return is_whole(text) && text[0] != '-' && !errno;
}

static bool is_word(const char *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";
    size_t n = strlen(s);
    return n > 0 && n <= WORD_LENGTH_MAX && strspn(s, letters) == n && !strchr("._+-", s[0]);
}

/* Unicode's control characters, and the byte order mark, which YAML readers drop. */
static bool is_control(const char *character, size_t bytes)
{
    unsigned char lead = (unsigned char)character[0], second = (unsigned char)character[1];
    if (bytes == 1)
        return lead < 0x20 || lead == 0x7F;
    return bytes == 2 ? lead == 0xC2 && second < 0xA0 : bytes == 3 && memcmp(character, "\xEF\xBB\xBF", 3) == 0;
}

/* "${" would be a reference when the resolved text is read again. */
static bool is_text(const char *s)
{
    if (strlen(s) > XP_TEXT_BYTES || strstr(s, "${"))
        return false;
    for (size_t n; *s; s += n) {
        n = xp_text_character(s);
        if (!n || is_control(s, n))
            return false;
    }
    return true;
}

/* What YAML readers take for nothing; in quotes it is text. */
static bool is_nothing(const xp_yaml_node *n)
{
    static const char *const nothing[] = { "", "~", "null", "Null", "NULL" };
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        if (!n->quoted && strcmp(n->text, nothing[i]) == 0)
            return true;
    return false;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t n = strlen(text);
    for (const char *c = choices; c; c = strstr(c, " | ") ? strstr(c, " | ") + 3 : NULL)
        if (n && strcspn(c, " ") == n && strncmp(c, text, n) == 0)
            return true;
    return false;
}

static ag_code refuse(const xp_knob *k, const xp_yaml *y, const xp_yaml_node *n, ag_error *err)
{
    char shown[XP_YAML_SHOWN], expected[300];
    bool quoted = n->kind == XP_YAML_SCALAR && n->quoted && !xp_knob_is_string(k);
    return xp_yaml_fail(y, n->at, err, "%s is %s%s; expected %s", k->path, xp_yaml_show(n, shown),
                        quoted ? " in quotes, which is text" : "", xp_knob_expected(k, expected, sizeof expected));
}

static ag_code refuse_choice(const xp_knob *k, const xp_yaml *y, const xp_yaml_node *n, ag_error *err)
{
    char words[XP_CHOICES_BYTES], shown[XP_YAML_SHOWN];
    const char *list[XP_CHOICES], *near = NULL;
    int count = 0;
    snprintf(words, sizeof words, "%s", k->range);
    for (char *w = words; w && count < XP_CHOICES;) {
        char *bar = strstr(w, " | ");
        list[count++] = w;
        if (bar)
            *bar = '\0';
        w = bar ? bar + 3 : NULL;
    }
    if (n->kind == XP_YAML_SCALAR)
        near = xp_nearest(n->text, list, count);
    if (!near)
        return refuse(k, y, n, err);
    return xp_yaml_fail(y, n->at, err, "%s is %s; did you mean '%s'? Expected %s", k->path, xp_yaml_show(n, shown), near,
                        k->range);
}

/* One element. */
static ag_code read_one(const xp_knob *k, const xp_yaml *y, const xp_yaml_node *n, void *out, xp_strings **s,
                        ag_error *err)
{
    bool text = xp_knob_is_string(k), ok = n->kind == XP_YAML_SCALAR;
    if (ok && (strlen(n->text) != n->length || (n->quoted && !text)))
        ok = false;
    if (ok && k->type == XP_INT)
        ok = read_int(k, n->text, out);
    else if (ok && k->type == XP_REAL)
        ok = read_real(k, n->text, out);
    else if (ok && k->type == XP_BOOL)
        ok = read_bool(n->text, out);
    else if (ok && k->type == XP_SEED)
        ok = read_seed(n->text, out);
    else if (ok && k->type == XP_WORD)
        ok = is_word(n->text);
    else if (ok && k->type == XP_TEXT)
        ok = !is_nothing(n) && is_text(n->text);
    else if (ok)
        ok = is_choice(k->range, n->text);
    if (!ok)
        return k->type == XP_CHOICE ? refuse_choice(k, y, n, err) : refuse(k, y, n, err);
    if (text)
        AG_TRY(err, xp_strings_keep(s, n->text, n->length, out, err));
    return AG_OK;
}

static ag_code read_many(const xp_knob *k, const xp_yaml *y, const xp_yaml_node *n, xp_config *c, xp_strings **s,
                         ag_error *err)
{
    char expected[300];
    char *array = (char *)c + k->offset;
    if (n->kind != XP_YAML_LIST)
        return refuse(k, y, n, err);
    if (n->n > k->capacity || (!k->count_offset && n->n != k->capacity))
        return xp_yaml_fail(y, n->at, err, "%s has %d value%s; expected %s", k->path, n->n, n->n == 1 ? "" : "s",
                            xp_knob_expected(k, expected, sizeof expected));
    memset(array, 0, (size_t)k->capacity * sizeof(int64_t));
    int i = 0;
    for (const xp_yaml_node *item = n->first; item; item = item->next)
        AG_TRY(err, read_one(k, y, item, array + sizeof(int64_t) * (size_t)i++, s, err));
    if (k->count_offset)
        *(int *)(void *)((char *)c + k->count_offset) = n->n;
    return AG_OK;
}

ag_code xp_knob_read(const xp_knob *k, const xp_yaml *y, const xp_yaml_node *n, xp_config *c, xp_strings **s,
                     ag_error *err)
{
    if (k->capacity)
        return read_many(k, y, n, c, s, err);
    return read_one(k, y, n, (char *)c + k->offset, s, err);
}
