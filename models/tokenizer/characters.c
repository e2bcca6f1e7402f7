/* Characters as the `tokenizers` package sees them, by utf8proc's tables. BERT's marks, punctuation and control characters
 * come in the package from tables of Unicode 8, so what Unicode has assigned since is none of those there. */
#include "models/tokenizer/tokenizer_internal.h"

#include <utf8proc.h>

int32_t nn_char_at(const char *p, size_t *size)
{
    const unsigned char *u = (const unsigned char *)p;
    if (u[0] < 0x80) {
        *size = 1;
        return u[0];
    }
    if (u[0] < 0xe0) {
        *size = 2;
        return (u[0] & 0x1f) << 6 | (u[1] & 0x3f);
    }
    if (u[0] < 0xf0) {
        *size = 3;
        return (u[0] & 0x0f) << 12 | (u[1] & 0x3f) << 6 | (u[2] & 0x3f);
    }
    *size = 4;
    return (u[0] & 0x07) << 18 | (u[1] & 0x3f) << 12 | (u[2] & 0x3f) << 6 | (u[3] & 0x3f);
}

size_t nn_char_put(int32_t c, char *out)
{
    return (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)out);
}

/* Bytes of the sequence that starts with u[0], and what its second byte may be; 0: nothing starts so. */
static size_t sequence(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
}

size_t nn_utf8_valid(const char *p, size_t length, size_t *bad)
{
    const unsigned char *u = (const unsigned char *)p;
    for (size_t i = 0; i < length;) {
        unsigned char low, high;
        const size_t n = sequence(u[i], &low, &high);
        size_t k = 1;
        for (; k < n && i + k < length && u[i + k] >= low && u[i + k] <= high; k++) {
            low = 0x80;
            high = 0xbf;
        }
        if (k != n) {
            *bad = k;
            return i;
        }
        i += n;
    }
    *bad = 0;
    return length;
}

bool nn_char_space(int32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

static bool ascii_letter(int32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

nn_char_class nn_char_classify(int32_t c)
{
    if (nn_char_space(c))
        return NN_CHAR_SPACE;
    if (c < 0x80)
        return ascii_letter(c) ? NN_CHAR_LETTER : c >= '0' && c <= '9' ? NN_CHAR_NUMBER : NN_CHAR_OTHER;
    const utf8proc_category_t k = utf8proc_category(c);
    if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO)
        return NN_CHAR_LETTER;
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO ? NN_CHAR_NUMBER : NN_CHAR_OTHER;
}

bool nn_char_word(int32_t c)
{
    const utf8proc_category_t k = utf8proc_category(c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_ND) || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_PC ||
           c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

/* Where Unicode 9 and later have marks, punctuation and format characters. Between the ends of a range there is nothing
 * that Unicode 8 knew as one of those. */
static const struct { int32_t first, last; } younger[] = {
    { 0x61d, 0x61d }, { 0x7fd, 0x7fd }, { 0x890, 0x8e2 }, { 0x9fd, 0x9fe }, { 0xa76, 0xa76 },
    { 0xafa, 0xaff }, { 0xb55, 0xb55 }, { 0xc04, 0xc3c }, { 0xc77, 0xc77 }, { 0xc84, 0xc84 },
    { 0xd00, 0xd00 }, { 0xd3b, 0xd3c }, { 0xd81, 0xd81 }, { 0xeba, 0xeba }, { 0xece, 0xece },
    { 0x180f, 0x1886 }, { 0x1abf, 0x1aff }, { 0x1b4e, 0x1b4f }, { 0x1b7d, 0x1b7f }, { 0x1df6, 0x1dfb },
    { 0x2e43, 0x2e5d }, { 0xa82c, 0xa82c }, { 0xa8c5, 0xa8c5 }, { 0xa8ff, 0xa8ff }, { 0xa9bd, 0xa9bd },
    { 0x10d24, 0x10f89 }, { 0x11070, 0x11074 }, { 0x110c2, 0x110cd }, { 0x111cf, 0x111cf }, { 0x1123e, 0x11241 },
    { 0x1133b, 0x1133b }, { 0x11380, 0x113ff }, { 0x11438, 0x1145e }, { 0x11660, 0x1166c }, { 0x116b9, 0x116b9 },
    { 0x1182f, 0x11fff }, { 0x12ff1, 0x13455 }, { 0x16100, 0x1613f }, { 0x16d40, 0x16d7f }, { 0x16e97, 0x16f4f },
    { 0x16fe2, 0x16fe4 }, { 0x1cf00, 0x1cf46 }, { 0x1e000, 0x1e7ff }, { 0x1e944, 0x1e95f },
};

static bool is_younger(int32_t c)
{
    size_t low = 0, high = sizeof younger / sizeof *younger;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (c > younger[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof younger / sizeof *younger && c >= younger[low].first;
}

bool nn_char_control(int32_t c)
{
    if (c < 0x80)
        return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
    const utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CO || (k == UTF8PROC_CATEGORY_CF && !is_younger(c));
}

bool nn_char_cjk(int32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
           (c >= 0x2a700 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) ||
           (c >= 0x2f800 && c <= 0x2fa1f);
}

bool nn_char_mark(int32_t c)
{
    if (c < 0x300)
        return false;
    if (c == 0x1734 || c == 0x111c9)     /* Unicode has changed its mind since */
        return c == 0x1734;
    return utf8proc_category(c) == UTF8PROC_CATEGORY_MN && !is_younger(c);
}

bool nn_char_punctuation(int32_t c)
{
    if (c < 0x80)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    if (c == 0x166d || c == 0x111c9)
        return true;
    const utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO && !is_younger(c);
}

int nn_char_decompose(int32_t c, int32_t parts[NN_CHAR_PARTS])
{
    int last = 0;
    utf8proc_ssize_t n = c < 0xc0 || c == 0x11938 ? 0 :      /* the package's table is older than U+11938 */
                         utf8proc_decompose_char(c, parts, NN_CHAR_PARTS, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &last);
    if (n >= 1 && n <= NN_CHAR_PARTS)
        return (int)n;
    parts[0] = c;
    return 1;
}

int nn_char_lower(int32_t c, int32_t parts[NN_CHAR_PARTS])
{
    parts[0] = c;
    if (c < 0x80) {
        parts[0] += c >= 'A' && c <= 'Z' ? 32 : 0;
        return 1;
    }
    if (c != 0x130) {
        parts[0] = utf8proc_tolower(c);
        return 1;
    }
    parts[0] = 'i';                      /* the only letter whose small form is two characters */
    parts[1] = 0x307;
    return 2;
}

int nn_char_combining(int32_t c)
{
    return c < 0x300 ? 0 : utf8proc_get_property(c)->combining_class;
}
