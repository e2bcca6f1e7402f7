/* Messages that show the place: "file:line:column: what", the source line and a caret under it (yaml_read.h). */
#include "experiments/yaml_read.h"

#include <stdio.h>
#include <string.h>

enum { EXCERPT_WIDTH = 100, EXCERPT_BEFORE = 60, WHAT_MAX = 1200, NAME_MAX_SHOWN = 300, VALUE_SHOWN = 40 };

/* Bytes of the character at s: 1 to 4, never past end. Text that is not UTF-8 goes byte by byte. */
static int char_bytes(const char *s, const char *end)
{
    unsigned char lead = (unsigned char)*s;
    int want = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    int have = 1;
    while (have < want && s + have < end && (s[have] & 0xC0) == 0x80)
        have++;
    return have == want ? want : 1;
}

/* Bytes of the line break at s, as libyaml counts lines: LF, CR, CR LF, NEL, LS, PS; 0: none. */
static int break_bytes(const char *s, const char *end)
{
    if (*s == '\n')
        return 1;
    if (*s == '\r')
        return s + 1 < end && s[1] == '\n' ? 2 : 1;
    if (end - s >= 2 && memcmp(s, "\xC2\x85", 2) == 0)
        return 2;
    if (end - s >= 3 && (memcmp(s, "\xE2\x80\xA8", 3) == 0 || memcmp(s, "\xE2\x80\xA9", 3) == 0))
        return 3;
    return 0;
}

static const char *line_start(const xp_yaml *y, int line)
{
    const char *s = y->text, *end = y->text + y->length;
    for (int at = 1; at < line && s < end;) {
        int n = break_bytes(s, end);
        at += n > 0;
        s += n ? n : 1;
    }
    return s;
}

/* One character of the excerpt: what a terminal would obey or cannot show becomes one '?', a tab one space. */
static size_t put_char(char *out, const char *s, int n)
{
    unsigned char lead = (unsigned char)*s;
    bool odd = n == 1 ? lead < 0x20 || lead >= 0x7F : n == 2 && lead == 0xC2 && (unsigned char)s[1] < 0xA0;
    if (*s == '\t' || odd) {
        *out = *s == '\t' ? ' ' : '?';
        return 1;
    }
    memcpy(out, s, (size_t)n);
    return (size_t)n;
}

/* A window of the marked line: excerpt gets the text, *before the characters left of the mark, *after the rest. */
static void cut_line(const xp_yaml *y, xp_yaml_mark at, char excerpt[4 * EXCERPT_WIDTH + 8], int *before, int *after)
{
    const char *end = y->text + y->length, *s = line_start(y, at.line);
    int skip = at.column - 1 > EXCERPT_BEFORE ? at.column - 1 - EXCERPT_BEFORE / 2 : 0;
    size_t used = 0;
    int shown = 0;
    for (int column = 0; s < end && shown < EXCERPT_WIDTH && !break_bytes(s, end); column++) {
        int n = char_bytes(s, end);
        if (column >= skip) {
            used += put_char(excerpt + used, s, n);
            shown++;
        }
        s += n;
    }
    excerpt[used] = '\0';
    *before = at.column - 1 - skip;
    *after = shown - *before;
}

/* Appends "\n    line\n    ^~~". */
static void put_excerpt(char *out, size_t size, const xp_yaml *y, xp_yaml_mark at)
{
    char excerpt[4 * EXCERPT_WIDTH + 8], caret[2 * EXCERPT_WIDTH];
    int before, after;
    cut_line(y, at, excerpt, &before, &after);
    int width = at.width < after ? at.width : after;
    memset(caret, ' ', sizeof caret);
    caret[before] = '^';
    for (int i = 1; i < width; i++)
        caret[before + i] = '~';
    caret[before + (width > 1 ? width : 1)] = '\0';
    snprintf(out, size, "\n    %s\n    %s", excerpt, caret);
}

const char *xp_yaml_show(const xp_yaml_node *n, char out[XP_YAML_SHOWN])
{
    if (n->kind != XP_YAML_SCALAR || (!n->length && !n->quoted)) {
        snprintf(out, XP_YAML_SHOWN, "%s", n->kind == XP_YAML_LIST ? "a list" : n->kind == XP_YAML_MAP ? "a map" : "nothing");
        return out;
    }
    const char *s = n->text, *end = s + n->length;
    size_t used = 0;
    out[used++] = '\'';
    for (int shown = 0; s < end && shown < VALUE_SHOWN; shown++) {
        int bytes = char_bytes(s, end);
        used += put_char(out + used, s, bytes);
        s += bytes;
    }
    snprintf(out + used, XP_YAML_SHOWN - used, "%s'", s < end ? "..." : "");
    return out;
}

ag_code xp_yaml_fail(const xp_yaml *y, xp_yaml_mark at, ag_error *err, const char *fmt, ...)
{
    char what[WHAT_MAX], where[40] = "", excerpt[EXCERPT_WIDTH * 6 + 32] = "";
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    const char *name = y->name;
    size_t length = strlen(name);
    bool cut = length > NAME_MAX_SHOWN;
    if (!y->one_line) {
        snprintf(where, sizeof where, ":%d:%d", at.line, at.column);
        if (y->length)
            put_excerpt(excerpt, sizeof excerpt, y, at);
    }
    return ag_fail(err, AG_ECONFIG, "%s%s%s: %s%s", cut ? "..." : "", cut ? name + length - NAME_MAX_SHOWN : name, where,
                   what, excerpt);
}
