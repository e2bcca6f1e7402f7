/* Stored numbers -> ag_real (weights.h). What is narrower than float32 is computed in float32 whatever ag_real is, as the
 * reference readers do, so that both builds see the same weights. Stored numbers lie anywhere: memcpy loads them, and the
 * compiler makes vectors of it. */
#include "autograd/op.h"
#include "models/weights/weights_internal.h"

#include <string.h>

enum { BLOCK = 32, HALF = 2 };

/* ---- one number ---- */

static inline float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* IEEE 754 binary16. A subnormal is its mantissa times 2^-24, by arithmetic and not as a float32 subnormal, which a
 * program may have had the processor flush to zero. */
static inline float half(uint16_t h)
{
    uint32_t magnitude = h & 0x7FFFu, small, bits = (magnitude << 13) + (112u << 23);
    float f = (float)(int32_t)magnitude * 0x1p-24f;
    memcpy(&small, &f, sizeof small);
    bits += magnitude >= 0x7C00u ? 112u << 23 : 0;   /* infinities, NaN */
    bits = magnitude < 0x0400u ? small : bits;
    return float_of(bits | (uint32_t)(h & 0x8000u) << 16);
}

static inline float half_at(const uint8_t *at)
{
    uint16_t h;
    memcpy(&h, at, sizeof h);
    return half(h);
}

/* ---- plain types: n numbers at `in` ---- */

#define NN_CONVERT_LOOP(c_type, expression)                          \
    for (int64_t i = 0; i < n; i++) {                                \
        c_type v;                                                    \
        memcpy(&v, in + (size_t)i * sizeof v, sizeof v);             \
        out[i] = (ag_real)(expression);                              \
    }

AG_KERNEL static void from_f16(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    NN_CONVERT_LOOP(uint16_t, half(v))
}

AG_KERNEL static void from_bf16(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    NN_CONVERT_LOOP(uint16_t, float_of((uint32_t)v << 16))
}

AG_KERNEL static void from_f32(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    NN_CONVERT_LOOP(float, v)
}

AG_KERNEL static void from_f64(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    NN_CONVERT_LOOP(double, v)
}

AG_KERNEL static void from_i8(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    NN_CONVERT_LOOP(int8_t, v)
}

AG_KERNEL static void from_u8(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    NN_CONVERT_LOOP(uint8_t, v)
}

AG_KERNEL static void from_i16(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    NN_CONVERT_LOOP(int16_t, v)
}

AG_KERNEL static void from_i32(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    NN_CONVERT_LOOP(int32_t, v)
}

AG_KERNEL static void from_i64(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    NN_CONVERT_LOOP(int64_t, v)
}

static void from_bool(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    NN_CONVERT_LOOP(uint8_t, v != 0)
}

/* ---- GGUF's blocks: n numbers, a multiple of 32 ---- */

/* d [half], q [32 bytes]: d q */
AG_KERNEL static void from_q8_0(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    for (int64_t b = 0; b < n / BLOCK; b++, in += HALF + BLOCK, out += BLOCK) {
        const float d = half_at(in);
        const int8_t *q = (const int8_t *)in + HALF;
        for (int i = 0; i < BLOCK; i++)
            out[i] = (ag_real)(d * (float)q[i]);
    }
}

/* d [half], q [16 bytes], the first 16 numbers in the low halves and the others in the high: d (q - 8) */
AG_KERNEL static void from_q4_0(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    for (int64_t b = 0; b < n / BLOCK; b++, in += HALF + BLOCK / 2, out += BLOCK) {
        const float d = half_at(in);
        const uint8_t *q = in + HALF;
        for (int i = 0; i < BLOCK / 2; i++) {
            out[i] = (ag_real)(d * (float)((q[i] & 15) - 8));
            out[i + BLOCK / 2] = (ag_real)(d * (float)((q[i] >> 4) - 8));
        }
    }
}

/* d, m [half], q as above: d q + m, rounded after the product, which one expression need not be */
AG_KERNEL static void from_q4_1(const uint8_t *restrict in, int64_t n, ag_real *restrict out)
{
    for (int64_t b = 0; b < n / BLOCK; b++, in += 2 * HALF + BLOCK / 2, out += BLOCK) {
        const float d = half_at(in), m = half_at(in + HALF);
        const uint8_t *q = in + 2 * HALF;
        for (int i = 0; i < BLOCK / 2; i++) {
            float low = d * (float)(q[i] & 15), high = d * (float)(q[i] >> 4);
            low += m;
            high += m;
            out[i] = (ag_real)low;
            out[i + BLOCK / 2] = (ag_real)high;
        }
    }
}

/* ---- the table ---- */

typedef struct format {
    const char *name;
    int64_t values;              /* of a block */
    size_t bytes;                /* of a block */
    void (*convert)(const uint8_t *restrict in, int64_t n, ag_real *restrict out);
} format;

static const format formats[] = {
    [NN_F32] = { "F32", 1, 4, from_f32 },
    [NN_F16] = { "F16", 1, 2, from_f16 },
    [NN_BF16] = { "BF16", 1, 2, from_bf16 },
    [NN_F64] = { "F64", 1, 8, from_f64 },
    [NN_I8] = { "I8", 1, 1, from_i8 },
    [NN_U8] = { "U8", 1, 1, from_u8 },
    [NN_I16] = { "I16", 1, 2, from_i16 },
    [NN_I32] = { "I32", 1, 4, from_i32 },
    [NN_I64] = { "I64", 1, 8, from_i64 },
    [NN_BOOL] = { "BOOL", 1, 1, from_bool },
    [NN_Q8_0] = { "Q8_0", BLOCK, HALF + BLOCK, from_q8_0 },
    [NN_Q4_0] = { "Q4_0", BLOCK, HALF + BLOCK / 2, from_q4_0 },
    [NN_Q4_1] = { "Q4_1", BLOCK, 2 * HALF + BLOCK / 2, from_q4_1 },
    [NN_OTHER] = { "another type", 0, 0, NULL },
};

const char *nn_dtype_name(nn_dtype d)
{
    return (unsigned)d < sizeof formats / sizeof *formats ? formats[d].name : "no type";
}

void nn_dtype_block(nn_dtype d, int64_t *values, size_t *bytes)
{
    *values = formats[d].values;
    *bytes = formats[d].bytes;
}

/* ---- reading ---- */

/* Numbers first .. first + count - 1, all of one block; only rows of a vector begin or end inside one. */
static void within_block(const format *f, const uint8_t *in, int64_t first, int64_t count, ag_real *out)
{
    ag_real block[BLOCK];
    f->convert(in + (size_t)(first / f->values) * f->bytes, f->values, block);
    memcpy(out, block + first % f->values, (size_t)count * sizeof *out);
}

static void convert(const format *f, const uint8_t *in, int64_t first, int64_t count, ag_real *out)
{
    while (count > 0) {
        int64_t inside = first % f->values, n = count - count % f->values;
        if (inside || n == 0) {
            n = f->values - inside < count ? f->values - inside : count;
            within_block(f, in, first, n, out);
        } else {
            f->convert(in + (size_t)(first / f->values) * f->bytes, n, out);
        }
        first += n;
        count -= n;
        out += n;
    }
}

static ag_code readable(const nn_stored *s, const ag_real *out, ag_error *err)
{
    AG_REQUIRE(s, err, AG_EINVAL, "nn_stored_read: the tensor is NULL");
    AG_REQUIRE(out || s->numel == 0, err, AG_EINVAL, "nn_stored_read: '%s': out is NULL", nn_shown(s->name).text);
    AG_REQUIRE(formats[s->dtype].convert, err, AG_EDATA,
               "tensor '%s' is of a type that cannot be read; expected F32, F16, BF16, F64, an integer, Q8_0, Q4_0 or Q4_1",
               nn_shown(s->name).text);
    return AG_OK;
}

ag_code nn_stored_read(const nn_stored *s, ag_real *out, ag_error *err)
{
    AG_TRY(err, readable(s, out, err));
    convert(&formats[s->dtype], s->data, 0, s->numel, out);
    return AG_OK;
}

ag_code nn_stored_read_rows(const nn_stored *s, int64_t first, int64_t count, ag_real *out, ag_error *err)
{
    AG_TRY(err, readable(s, out, err));
    AG_REQUIRE(s->ndim > 0 && first >= 0 && count >= 0 && count <= s->shape[0] && first <= s->shape[0] - count, err, AG_EINVAL,
               "tensor '%s': %lld rows from %lld; it has %lld", nn_shown(s->name).text, (long long)count, (long long)first,
               s->ndim > 0 ? (long long)s->shape[0] : 0LL);
    const int64_t row = s->shape[0] > 0 ? s->numel / s->shape[0] : 0;
    convert(&formats[s->dtype], s->data, first * row, count * row, out);
    return AG_OK;
}

const ag_real *nn_stored_in_place(const nn_stored *s)
{
    const nn_dtype same = sizeof(ag_real) == sizeof(float) ? NN_F32 : NN_F64;
    return s->dtype == same && (uintptr_t)s->data % sizeof(ag_real) == 0 ? s->data : NULL;
}
