/* A growing text, columns, JSON escapes (text.h). */
#include "experiments/text.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Room for n more bytes and a NUL. */
static bool reserve(xp_text *t, size_t n)
{
    if (t->failed || n > SIZE_MAX / 4 || t->length > SIZE_MAX / 4)
        return !(t->failed = true);
    size_t need = t->length + n + 1;
    if (need <= t->capacity)
        return true;
    size_t capacity = 2 * need + 256;
    char *data = ag_alloc(capacity);
    if (!data)
        return !(t->failed = true);
    if (t->length)
        memcpy(data, t->data, t->length);
    ag_free(t->data);
    t->data = data;
    t->capacity = capacity;
    return true;
}

void xp_text_bytes(xp_text *t, const char *bytes, size_t n)
{
    if (!reserve(t, n))
        return;
    memcpy(t->data + t->length, bytes, n);
    t->length += n;
    t->data[t->length] = '\0';
}

void xp_text_add(xp_text *t, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n < 0)
        t->failed = true;
    else if (reserve(t, (size_t)n)) {
        vsnprintf(t->data + t->length, (size_t)n + 1, fmt, again);
        t->length += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

void xp_text_clean(xp_text *t, const char *s)
{
    for (; s && *s; s++)
        xp_text_bytes(t, (unsigned char)*s < 0x20 || *s == 0x7f ? "?" : s, 1);
}

int xp_text_width(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void xp_text_left(xp_text *t, const char *s, int width)
{
    xp_text_bytes(t, s, strlen(s));
    for (int n = xp_text_width(s); n < width; n++)
        xp_text_bytes(t, " ", 1);
}

void xp_text_right(xp_text *t, const char *s, int width)
{
    for (int n = xp_text_width(s); n < width; n++)
        xp_text_bytes(t, " ", 1);
    xp_text_bytes(t, s, strlen(s));
}

/* Unicode 15, table 3-7. */
size_t xp_text_character(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;
    unsigned char low = 0x80, high = 0xbf;   /* bounds of the second byte */
    size_t n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
    if (s[0] == 0xe0) low = 0xa0;
    if (s[0] == 0xed) high = 0x9f;
    if (s[0] == 0xf0) low = 0x90;
    if (s[0] == 0xf4) high = 0x8f;
    if (n == 0 || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

void xp_text_json_string(xp_text *t, const char *s)
{
    if (!s) {
        xp_text_add(t, "null");
        return;
    }
    xp_text_bytes(t, "\"", 1);
    while (*s) {
        size_t n = xp_text_character(s);
        if (n == 0)
            xp_text_add(t, "\\ufffd");
        else if (*s == '"' || *s == '\\')
            xp_text_add(t, "\\%c", *s);
        else if ((unsigned char)*s < 0x20 || *s == 0x7f)
            xp_text_add(t, "\\u%04x", (unsigned)(unsigned char)*s);
        else
            xp_text_bytes(t, s, n);
        s += n ? n : 1;
    }
    xp_text_bytes(t, "\"", 1);
}

void xp_text_json_number(xp_text *t, double v)
{
    char digits[40] = "null";
    for (int precision = 15; isfinite(v) && precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, v);
        if (strtod(digits, NULL) == v)
            break;
    }
    xp_text_bytes(t, digits, strlen(digits));
}

ag_code xp_text_take(xp_text *t, char **out, ag_error *err)
{
    *out = NULL;
    if (!reserve(t, 0)) {
        xp_text_release(t);
        return ag_fail(err, AG_ENOMEM, "out of memory while writing a text");
    }
    t->data[t->length] = '\0';
    *out = t->data;
    *t = (xp_text){ 0 };
    return AG_OK;
}

void xp_text_release(xp_text *t)
{
    ag_free(t->data);
    *t = (xp_text){ 0 };
}

bool xp_text_utf8(void)
{
    static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) {
            const char *dot = strchr(value, '.');
            return dot && (strncasecmp(dot, ".utf-8", 6) == 0 || strncasecmp(dot, ".utf8", 5) == 0);
        }
    }
    return false;
}
