/* A growing text and what it takes to write it for terminals and for JSON readers.
 *
 *     xp_text t = { 0 };
 *     xp_text_add(&t, "%d episodes, ", n);
 *     xp_text_json_string(&t, name);
 *     AG_TRY(err, xp_text_take(&t, &text, err));      // the caller's, freed with ag_free
 *
 * Zero is the empty text. A failed allocation is remembered and reported by xp_text_take. */
#ifndef XP_TEXT_H
#define XP_TEXT_H

#include "autograd/status.h"

typedef struct xp_text {
    char *data;
    size_t length, capacity;
    bool failed;
} xp_text;

void xp_text_add(xp_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void xp_text_bytes(xp_text *t, const char *bytes, size_t n);
/* s with every control character replaced by '?': safe on a terminal. NULL is an empty string. */
void xp_text_clean(xp_text *t, const char *s);
/* s in columns of a fixed width; widths count characters (UTF-8 code points), not bytes. */
void xp_text_left(xp_text *t, const char *s, int width);
void xp_text_right(xp_text *t, const char *s, int width);
/* s in quotes; invalid UTF-8 becomes U+FFFD. NULL is null. */
void xp_text_json_string(xp_text *t, const char *s);
/* The shortest of 15, 16 or 17 digits that reads back as v; null if v is not finite. */
void xp_text_json_number(xp_text *t, double v);
/* Hands the text over, NUL-terminated; *t is empty afterwards. Fails with AG_ENOMEM, *out is then NULL. */
ag_code xp_text_take(xp_text *t, char **out, ag_error *err);
void xp_text_release(xp_text *t);

/* Bytes of the well-formed UTF-8 character at the NUL-terminated s; 0: there is none. */
size_t xp_text_character(const char *s);
/* Characters of a UTF-8 string. */
int xp_text_width(const char *s);
/* Whether the environment's locale (LC_ALL, LC_CTYPE, LANG, the first that is set) is a UTF-8 one. */
bool xp_text_utf8(void);

#endif
