/* Elementary functions of an ag_real that the compiler can vectorise: no branches, no tables, no calls. A loop over one
 * of them inside an AG_KERNEL runs in full vectors.
 *
 *     for (int64_t i = 0; i < n; i++)
 *         y[i] = vec_exp(x[i]);
 *
 * float32, greatest error against the C library's double: over all 2^32 arguments for exp, log, tanh and gelu_tanh; for
 * the others over all those of size 5e-4 to 4.1 (erf), 1e-7 to 106 (sigmoid), 1e-5 to 106 (silu) and 1e-5 to 15.1
 * (gelu), and samples beyond. tests/autograd/test_vecmath.c holds these bounds, over samples or all arguments:
 *
 *     vec_exp         0.71 ulp, 0.78 of a subnormal result; 0 below -103.98, infinity above 88.72
 *     vec_log         0.93 ulp; -infinity at +-0, NaN below, subnormal arguments as any
 *     vec_tanh        1.35 ulp; odd bit for bit, +-1 at +-infinity
 *     vec_erf         1.15 ulp; odd bit for bit, +-1 from 4 on
 *     vec_sigmoid     1.17 ulp
 *     vec_silu        1.97 ulp; 0 at -infinity
 *     vec_gelu        1.67 ulp for x >= 0, 7.3e-8 (and 8 ulp) for x < 0; 0 at -infinity
 *     vec_gelu_tanh   1.55 ulp for x >= 0, 5e-8 for x < 0; 0 at -infinity
 *
 * Underflow is gradual, so far as the processor's is. NaN in, NaN out. Only +, -, *, / and operations on bits are used,
 * each rounded as IEEE 754 says, and nothing is contracted to a fused multiply-add (GCC does not in ISO C; the pragma
 * below says it to clang): the same bits on every instruction set, in a vector's body and in a loop's scalar tail.
 * float64 (AG_DOUBLE) is the C library's: the oracle of the checks.
 *
 * Methods: reduction by multiples of ln 2 in two parts (Cody & Waite, Software Manual for the Elementary Functions,
 * 1980), minimax polynomials, sums kept with their rounding error (Dekker 1971). Every constant of a polynomial is
 * printed by tests/autograd/vecmath_coefficients.py. */
#ifndef AG_VECMATH_H
#define AG_VECMATH_H

#include "autograd/real.h"

#include <math.h>
#include <string.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

#if defined(__GNUC__)
#define VEC_FUNCTION static inline __attribute__((always_inline, unused))
#else
#define VEC_FUNCTION static inline
#endif

#ifndef AG_DOUBLE

VEC_FUNCTION uint32_t vec_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

VEC_FUNCTION float vec_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* a or b by their bits: both are computed, so that no branch appears and no loop stays scalar. */
VEC_FUNCTION float vec_pick(int first, float a, float b)
{
    uint32_t mask = -(uint32_t)first;
    return vec_float((vec_bits(a) & mask) | (vec_bits(b) & ~mask));
}

VEC_FUNCTION float vec_abs(float x)
{
    return vec_float(vec_bits(x) & 0x7fffffff);
}

VEC_FUNCTION float vec_at_most(float x, float limit)   /* NaN stays */
{
    return vec_pick(x > limit, limit, x);
}

VEC_FUNCTION float vec_at_least(float x, float limit)
{
    return vec_pick(x < limit, limit, x);
}

VEC_FUNCTION float vec_signed(float size, float sign)
{
    return vec_float(vec_bits(size) | (vec_bits(sign) & 0x80000000));
}

#define VEC_LN2_HIGH 0.693145752f   /* 15 bits: times a whole number below 2^9 it is exact */
#define VEC_LN2_LOW 1.42860677e-06f
#define VEC_TO_WHOLE 12582912.0f    /* 1.5 x 2^23: added, the sum's last bits are the nearest whole number */

/* A number as (high + low) 2^k by two factors, so that multiplying by both overflows and underflows as it should. */
typedef struct vec_parts {
    float high, low, factor[2];
} vec_parts;

VEC_FUNCTION float vec_power_of_2(uint32_t k)   /* -126 <= k <= 127 */
{
    return vec_float((k + 127) << 23);
}

/* exp(x + rest), high in [0.7, 1.42], low its rounding error; for -170 <= x <= 89 and |rest| small against 1. */
VEC_FUNCTION vec_parts vec_exp_parts(float x, float rest)
{
    float shifted = x * 1.44269502f + VEC_TO_WHOLE, whole = shifted - VEC_TO_WHOLE;
    float a = x - whole * VEC_LN2_HIGH, b = whole * VEC_LN2_LOW - rest;
    float r = a - b, r_low = (a - r) - b;
    float p = 0.00836868677f + r * 0.00138197851f;
    p = 0.0416682772f + r * p;
    p = 0.166665211f + r * p;
    p = 0.49999994f + r * p;
    float one_r = 1 + r, lost = r - (one_r - 1);
    float small = lost + (r_low + r * r * p), high = one_r + small;
    uint32_t k = vec_bits(shifted) - vec_bits(VEC_TO_WHOLE), half = (uint32_t)((int32_t)k >> 1);
    return (vec_parts){ high, small - (high - one_r), { vec_power_of_2(half), vec_power_of_2(k - half) } };
}

VEC_FUNCTION float vec_scaled(float x, vec_parts p)
{
    return x * p.factor[0] * p.factor[1];
}

VEC_FUNCTION float vec_exp(float x)
{
    vec_parts p = vec_exp_parts(vec_at_most(vec_at_least(x, -104), 89), 0);
    return vec_scaled(p.high, p);
}

/* ln x = k ln 2 + ln(1 + f), 1 + f in [sqrt(1/2), sqrt 2). */
VEC_FUNCTION float vec_log(float x)
{
    const uint32_t one = 0x3f800000, root_half = 0x3f3504f3, subnormal = x < 1.17549435e-38f;
    uint32_t u = vec_bits(x * vec_float(one + subnormal * (23u << 23)));   /* times 2^23 */
    int32_t whole = (int32_t)(u - root_half) >> 23;
    float k = (float)(whole - 23 * (int32_t)subnormal), f = vec_float(u - ((uint32_t)whole << 23)) - 1;
    float p = 0.127622202f - f * 0.0763643682f;
    p = -0.131596118f + f * p;
    p = 0.1420158f + f * p;
    p = -0.166234091f + f * p;
    p = 0.200012416f + f * p;
    p = -0.250008196f + f * p;
    p = 0.333333313f + f * p;
    float k_ln2 = k * VEC_LN2_HIGH, high = k_ln2 + f, lost = f - (high - k_ln2);
    float y = high + (lost + (f * f * (f * p - 0.5f) + k * VEC_LN2_LOW));
    y = vec_pick(x < INFINITY, y, x);   /* infinity and NaN are their own logarithms */
    y = vec_pick(x < 0, NAN, y);
    return vec_pick(x == 0, -INFINITY, y);
}

/* x + x^3 P(x^2) up to 0.625; 1 - 2 / (exp(2 x) + 1) beyond. */
VEC_FUNCTION float vec_tanh(float x)
{
    float a = vec_abs(x), z = a * a;
    float p = 0.0206281971f - z * 0.00569235254f;
    p = -0.0537365191f + z * p;
    p = 0.133314058f + z * p;
    p = -0.333332807f + z * p;
    vec_parts e = vec_exp_parts(2 * vec_at_most(a, 10), 0);
    return vec_signed(vec_pick(a < 0.625f, a + a * (z * p), 1 - 2 / (vec_scaled(e.high, e) + 1)), x);
}

/* x + x P(x^2) up to 0.9; 1 - exp(Q(x)) beyond, 1 from 4 on. */
VEC_FUNCTION float vec_erf(float x)
{
    float size = vec_abs(x), a = vec_at_most(size, 4), z = a * a;
    float p = 0.00500292983f - z * 0.000604389934f;
    p = -0.026772799f + z * p;
    p = 0.112819724f + z * p;
    p = -0.376125067f + z * p;
    p = 0.128379151f + z * p;
    float q = -0.00306548667f + a * 0.000198219757f;
    q = 0.0223151874f + a * q;
    q = -0.104113623f + a * q;
    q = -0.636976123f + a * q;
    q = -1.12779725f + a * q;
    vec_parts e = vec_exp_parts(a * q, -0.000166437967f);
    return vec_signed(vec_pick(size < 0.9f, a + a * p, 1 - vec_scaled(e.high, e)), x);
}

/* x / (1 + exp(-u)); u has x's sign. With e = exp(-|u|) it is x e / (1 + e) where x is negative: no overflow, and small
 * results keep their digits. What rounding takes from e and 1 + e is put back. */
VEC_FUNCTION float vec_gate(float x, float at_negative, float u)
{
    float size = vec_abs(u);
    vec_parts p = vec_exp_parts(vec_float(vec_bits(vec_at_most(size, 150)) | 0x80000000), 0);
    float e = vec_scaled(p.high, p), sum = 1 + e, lost = (e - (sum - 1)) + vec_scaled(p.low, p);
    float over = vec_pick(u < 0, vec_scaled(at_negative * p.high, p), x);
    float rest = vec_pick(u < 0, vec_scaled(at_negative * p.low, p), 0);
    float y = over / sum;
    return y + (rest - vec_at_most(y, 3e38f) * lost) / sum;
}

VEC_FUNCTION float vec_sigmoid(float x)
{
    return vec_gate(1, 1, x);
}

VEC_FUNCTION float vec_silu(float x)
{
    return vec_gate(x, vec_at_least(x, -200), x);   /* at -200 it is 0, and at -infinity too */
}

/* x/2 (1 + tanh u) = x sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3) */
VEC_FUNCTION float vec_gelu_tanh(float x)
{
    return vec_gate(x, vec_at_least(x, -200), 1.59576917f * (x + 0.044715f * x * x * x));
}

/* x Phi(x). Up to 1: x/2 + x^2 P(x^2). Beyond: max(x, 0) - a Phi(-a), a = |x|, Phi(-a) = exp(-a^2/2) t Q(t),
 * t = 1 / (1 + 0.3 a): no cancellation where x is negative. a^2 is the exact square of a's upper 12 bits and a rest. */
VEC_FUNCTION float vec_gelu(float x)
{
    float size = vec_abs(x), a = vec_at_most(size, 15), upper = vec_float(vec_bits(a) & 0xfffff000), z = a * a;
    float p = 0.0001153798f - z * 8.24780909e-06f;
    p = -0.00118850463f + z * p;
    p = 0.00997440424f + z * p;
    p = -0.0664905757f + z * p;
    p = 0.398942292f + z * p;
    float t = 1 / (1 + 0.3f * a);
    float q = 0.112440139f - t * 0.0206242893f;
    q = -0.228224412f + t * q;
    q = 0.191799164f + t * q;
    q = -0.0794358179f + t * q;
    q = 0.0961635262f + t * q;
    q = 0.0783873126f + t * q;
    q = 0.110235929f + t * q;
    q = 0.119571753f + t * q;
    q = 0.119686693f + t * q;
    vec_parts e = vec_exp_parts(vec_at_least(-0.5f * upper * upper, -104), -0.5f * (a - upper) * (a + upper));
    float far = vec_at_least(x, 0) - vec_scaled(a * (t * q) * e.high, e);
    return vec_pick(size < 1, 0.5f * x + z * p, far);
}

#else   /* AG_DOUBLE */

static inline double vec_exp(double x) { return exp(x); }
static inline double vec_log(double x) { return log(x); }
static inline double vec_tanh(double x) { return tanh(x); }
static inline double vec_erf(double x) { return erf(x); }
static inline double vec_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static inline double vec_silu(double x) { return x / (1 + exp(-x)); }
static inline double vec_gelu(double x) { return 0.5 * x * (1 + erf(x * 0.70710678118654752)); }
static inline double vec_gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
}

#endif

/* The largest of n >= 1 numbers. Where NaN is among them it may be NaN or any: exp(x - max) has a NaN then anyhow. */
VEC_FUNCTION ag_real vec_row_max(const ag_real *x, int64_t n)
{
#ifdef AG_DOUBLE
    double max = x[0];
    for (int64_t i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
#else
    int32_t max = INT32_MIN;   /* whole numbers in the order of the floats they stand for: such a maximum vectorises */
    for (int64_t i = 0; i < n; i++) {
        int32_t u = (int32_t)vec_bits(x[i]), key = u ^ (int32_t)((uint32_t)(u >> 31) >> 1);
        max = key > max ? key : max;
    }
    return vec_float((uint32_t)max ^ ((uint32_t)(max >> 31) >> 1));
#endif
}

/* The sum of n numbers by partial sums: the same order whatever the width of the machine's vectors. */
VEC_FUNCTION ag_real vec_row_sum(const ag_real *x, int64_t n)
{
    enum { LANES = 32 };
    ag_real lane[LANES] = { 0 }, sum = 0;
    const int64_t whole = n / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += x[i + l];
    if (whole > 0)
        for (int width = LANES / 2; width > 0; width /= 2)
            for (int l = 0; l < width; l++)
                lane[l] += lane[l + width];
    for (int64_t i = whole; i < n; i++)
        sum += x[i];
    return sum + lane[0];
}

#endif
