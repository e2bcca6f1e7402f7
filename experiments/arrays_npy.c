/* NumPy's .npy format, versions 1 to 3: a magic, the length of a header, the header (a Python dictionary of three keys as
 * NumPy writes it), the numbers (arrays.h). */
#include "experiments/arrays.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The header while it is read. */
typedef struct header {
    const char *at, *end;
    const char *name;
} header;

static void skip_spaces(header *h)
{
    while (h->at < h->end && strchr(" \t\r\n", *h->at))
        h->at++;
}

static bool take(header *h, const char *word)
{
    size_t n = strlen(word);
    skip_spaces(h);
    if ((size_t)(h->end - h->at) < n || memcmp(h->at, word, n) != 0)
        return false;
    h->at += n;
    return true;
}

static bool take_int(header *h, int64_t *value)
{
    skip_spaces(h);
    const char *start = h->at;
    *value = 0;
    for (; h->at < h->end && *h->at >= '0' && *h->at <= '9' && *value < INT64_MAX / 10 - 1; h->at++)
        *value = 10 * *value + (*h->at - '0');
    return h->at > start;
}

static ag_code bad_header(const header *h, const char *what, ag_error *err)
{
    return ag_fail(err, AG_EDATA, "%s: not the header of a .npy file: %s", h->name, what);
}

/* '<f4' */
static ag_code read_type(header *h, xp_npy *a, ag_error *err)
{
    static const char known[] = "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1";
    char word[3] = "";
    bool quoted = take(h, "'") && h->end - h->at > 4;
    if (quoted)
        memcpy(word, h->at + 1, 2);
    bool whole = strlen(word) == 2 && h->at[0];   /* strstr and strchr find what a NUL leaves of them anywhere */
    if (!quoted || !whole || !strchr("<>|=", h->at[0]) || !strstr(known, word) || word[0] == ' ' || word[1] == ' ' || h->at[3] != '\'')
        return ag_fail(err, AG_EDATA, "%s: its numbers are of a type %.12s; expected one of %s", h->name, quoted ? h->at - 1 : "", known);
    a->kind = word[0];
    a->bytes = word[1] - '0';
    a->big_endian = h->at[0] == '>';
    h->at += 4;
    return AG_OK;
}

/* (3, 4) */
static ag_code read_shape(header *h, xp_npy *a, ag_error *err)
{
    if (!take(h, "("))
        return bad_header(h, "the shape is missing", err);
    for (a->count = 1, a->ndim = 0; !take(h, ")"); a->ndim++) {
        AG_REQUIRE(a->ndim < XP_ARRAY_DIMS, err, AG_EDATA, "%s: more than %d dimensions", h->name, XP_ARRAY_DIMS);
        int64_t *size = &a->shape[a->ndim];
        if (!take_int(h, size) || (!take(h, ",") && (h->at == h->end || *h->at != ')')))
            return bad_header(h, "the shape is no list of whole numbers", err);
        AG_REQUIRE(*size == 0 || a->count <= INT64_MAX / 8 / *size, err, AG_EDATA, "%s: a shape that cannot be", h->name);
        a->count *= *size;
    }
    return AG_OK;
}

static ag_code read_header(header *h, xp_npy *a, ag_error *err)
{
    bool type = false, order = false, shape = false;
    if (!take(h, "{"))
        return bad_header(h, "no dictionary", err);
    while (!take(h, "}")) {
        if (take(h, "'descr':")) {
            AG_TRY(err, read_type(h, a, err));
            type = true;
        } else if (take(h, "'fortran_order':")) {
            order = take(h, "False");
            AG_REQUIRE(order, err, AG_EDATA, "%s: its numbers are in Fortran's order; expected C's, as numpy.ascontiguousarray gives",
                       h->name);
        } else if (take(h, "'shape':")) {
            AG_TRY(err, read_shape(h, a, err));
            shape = true;
        } else {
            return bad_header(h, "an unknown key", err);
        }
        take(h, ",");
    }
    return type && order && shape ? AG_OK : bad_header(h, "one of descr, fortran_order and shape is missing", err);
}

ag_code xp_npy_parse(xp_npy *a, const void *bytes, size_t n, const char *name, ag_error *err)
{
    const unsigned char *p = bytes;
    *a = (xp_npy){ 0 };
    AG_REQUIRE(n >= 12 && memcmp(p, "\x93NUMPY", 6) == 0 && p[6] >= 1 && p[6] <= 3, err, AG_EDATA,
               "%s: this is no .npy file of version 1, 2 or 3", name);
    size_t start = p[6] == 1 ? 10 : 12, length = (size_t)p[8] | (size_t)p[9] << 8;
    if (p[6] > 1)
        length |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    AG_REQUIRE(length <= n - start, err, AG_EDATA, "%s: cut short in its header", name);
    header h = { (const char *)p + start, (const char *)p + start + length, name };
    AG_TRY(err, read_header(&h, a, err));
    size_t room = n - start - length;
    AG_REQUIRE((size_t)a->count <= room / (size_t)a->bytes, err, AG_EDATA, "%s: %zu bytes of numbers; expected %lld numbers of %d",
               name, room, (long long)a->count, a->bytes);
    a->data = p + start + length;
    return AG_OK;
}

/* The bits of a number, least significant first. */
static uint64_t bits_of(const xp_npy *a, int64_t i)
{
    const unsigned char *p = a->data + (size_t)i * (size_t)a->bytes;
    uint64_t bits = 0;
    for (int k = 0; k < a->bytes; k++)
        bits |= (uint64_t)p[a->big_endian ? a->bytes - 1 - k : k] << 8 * k;
    return bits;
}

static double half(uint64_t bits)
{
    int exponent = (int)(bits >> 10 & 31);
    double fraction = (double)(bits & 1023), sign = bits >> 15 ? -1 : 1;
    if (exponent == 31)
        return fraction > 0 ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(fraction + 1024, exponent - 25) : ldexp(fraction, -24));
}

int64_t xp_npy_int(const xp_npy *a, int64_t i)
{
    uint64_t bits = bits_of(a, i), sign = (uint64_t)1 << (8 * a->bytes - 1);
    if (a->kind != 'i')
        return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
    return bits & sign ? -(int64_t)(sign - 1 - (bits & (sign - 1))) - 1 : (int64_t)bits;
}

double xp_npy_real(const xp_npy *a, int64_t i)
{
    uint64_t bits = bits_of(a, i);
    uint32_t low = (uint32_t)bits;
    float single;
    double real;
    if (a->kind == 'u')
        return (double)bits;
    if (a->kind != 'f')
        return (double)xp_npy_int(a, i);
    if (a->bytes == 2)
        return half(bits);
    memcpy(&single, &low, sizeof single);
    memcpy(&real, &bits, sizeof real);
    return a->bytes == 4 ? (double)single : real;
}
