/* The elementary functions of autograd/vecmath.h through the spans that use them: errors against the C library in
 * double, special values, and bits that depend on nothing but the argument.
 *
 * METALORA_TEST_EXHAUSTIVE=1 tries all 2^32 arguments (some minutes) and prints the greatest errors. */
#include "autograd/vecmath.h"
#include "autograd/op.h"
#include "tests/autograd/tensors.h"
#include "tests/check.h"

#include <float.h>

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double silu(double x) { return x * sigmoid(x); }
static double gelu(double x) { return x * 0.5 * erfc(-x * sqrt(0.5)); }
static double gelu_tanh(double x) { return x * sigmoid(2 * sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)); }

/* An error must be at most `ulp` units in the last place, or at most `absolute`. */
typedef struct function {
    const ag_op *op;
    double (*exact)(double x);
    double ulp, absolute;
    uint32_t print;                  /* of the results' bits, see below */
} function;

static const function functions[] = {
    { &ag_op_exp, exp, 0.78, 0, 0x638a4815 }, { &ag_op_log, log, 0.93, 0, 0xa446e163 },
    { &ag_op_tanh, tanh, 1.35, 0, 0x610a3605 }, { &ag_op_erf, erf, 1.15, 0, 0xebc4a6b5 },
    { &ag_op_sigmoid, sigmoid, 1.17, 0, 0x2ec00abf }, { &ag_op_silu, silu, 1.97, 0, 0x8fd8e0d7 },
    { &ag_op_gelu, gelu, 1.67, 8e-8, 0xab5d4eea }, { &ag_op_gelu_tanh, gelu_tanh, 1.55, 8e-8, 0x5cf54c35 },
};
enum { N_FUNCTION = sizeof functions / sizeof *functions, BLOCK = 4096 };

static void apply(const function *f, int64_t n, const ag_real *x, ag_real *y)
{
    f->op->span((ag_span){ .n = n, .y = y, .x = { x } });
}

static ag_real apply_to_one(const function *f, ag_real x)
{
    ag_real y = 0;
    apply(f, 1, &x, &y);
    return y;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static bool same_bits(ag_real a, ag_real b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

/* BLOCK arguments from all over the floats: all exponents, both signs, infinities and NaN. */
static void fill(uint64_t start, uint64_t stride, ag_real *x)
{
    for (uint64_t i = 0; i < BLOCK; i++)
        x[i] = (ag_real)float_of((uint32_t)(start + i * stride));
}

/* ---- errors ---- */

#ifdef AG_DOUBLE
static const double least_normal = DBL_MIN, spacing = DBL_EPSILON, slack = 4, few = 1e-13;   /* the library's own */
#else
static const double least_normal = FLT_MIN, spacing = FLT_EPSILON, slack = 0, few = 0;
#endif

static double unit_in_the_last_place(double y)
{
    int exponent;
    frexp(fmax(fabs(y), least_normal), &exponent);
    return ldexp(spacing, exponent - 1);
}

typedef struct worst {
    double ulp, ulp_at, absolute, absolute_at;   /* absolute: of results below 1 */
} worst;

static void check_one(const function *f, ag_real x, ag_real y, worst *w)
{
    double exact = f->exact((double)x), error = fabs((double)y - exact), ulp = error / unit_in_the_last_place(exact);
    if (!isfinite((ag_real)exact) || !isfinite(y)) {
        expect(same_bits((ag_real)exact, y), "%s(%.9g) = %g, not %g", f->op->name, (double)x, (double)y, exact);
        return;
    }
    expect(ulp <= f->ulp + slack || error <= f->absolute + few, "%s(%.9g) = %.9g, not %.9g: %.3f ulp", f->op->name,
           (double)x, (double)y, exact, ulp);
    if (ulp > w->ulp)
        w->ulp = ulp, w->ulp_at = (double)x;
    if (error > w->absolute && fabs(exact) < 1)
        w->absolute = error, w->absolute_at = (double)x;
}

static void check_errors(const function *f, uint64_t stride)
{
    static ag_real x[BLOCK], y[BLOCK];
    worst w = { 0 };
    for (uint64_t start = 0; start < UINT64_C(1) << 32; start += BLOCK * stride) {
        fill(start, stride, x);
        apply(f, BLOCK, x, y);
        for (int i = 0; i < BLOCK; i++)
            if (!isinf(x[i]))   /* those have a test of their own */
                check_one(f, x[i], y[i], &w);
    }
    if (stride == 1)
        printf("%-10s %.4f ulp at %.9g, below 1 %.3g at %.9g\n", f->op->name, w.ulp, w.ulp_at, w.absolute, w.absolute_at);
}

START_TEST(errors_stay_within_the_bounds_stated)
{
    bool exhaustive = getenv("METALORA_TEST_EXHAUSTIVE") != NULL;
    check_errors(&functions[_i], exhaustive ? 1 : 2039);
}
END_TEST

/* ---- special values ---- */

typedef struct special {
    const ag_op *op;
    double x, y;
} special;

static const special specials[] = {
    { &ag_op_exp, 0, 1 }, { &ag_op_exp, -0.0, 1 }, { &ag_op_exp, -INFINITY, 0 }, { &ag_op_exp, INFINITY, INFINITY },
    { &ag_op_log, 0, -INFINITY }, { &ag_op_log, -0.0, -INFINITY }, { &ag_op_log, 1, 0 }, { &ag_op_log, INFINITY, INFINITY },
    { &ag_op_log, -1, NAN }, { &ag_op_log, -INFINITY, NAN }, { &ag_op_tanh, 0, 0 }, { &ag_op_tanh, -0.0, -0.0 },
    { &ag_op_tanh, INFINITY, 1 }, { &ag_op_tanh, -INFINITY, -1 }, { &ag_op_tanh, 30, 1 }, { &ag_op_erf, 0, 0 },
    { &ag_op_erf, -0.0, -0.0 }, { &ag_op_erf, INFINITY, 1 }, { &ag_op_erf, -INFINITY, -1 }, { &ag_op_erf, 7, 1 },
    { &ag_op_sigmoid, 0, 0.5 }, { &ag_op_sigmoid, INFINITY, 1 }, { &ag_op_sigmoid, -INFINITY, 0 },
    { &ag_op_silu, 0, 0 }, { &ag_op_silu, INFINITY, INFINITY }, { &ag_op_gelu, 0, 0 }, { &ag_op_gelu, INFINITY, INFINITY },
    { &ag_op_gelu_tanh, 0, 0 }, { &ag_op_gelu_tanh, INFINITY, INFINITY },
#ifndef AG_DOUBLE   /* the C library's compositions overflow or lose their limit: -inf times 0 */
    { &ag_op_exp, 88.8, INFINITY }, { &ag_op_exp, -104, 0 }, { &ag_op_exp, -103, 0x1p-149 },
    { &ag_op_silu, -INFINITY, 0 }, { &ag_op_gelu, -INFINITY, 0 }, { &ag_op_gelu_tanh, -INFINITY, 0 },
#endif
};

START_TEST(special_values_are_exact)
{
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        const special *s = &specials[i];
        ag_real y = apply_to_one(&(function){ .op = s->op }, (ag_real)s->x);
        expect(same_bits(y, (ag_real)s->y), "%s(%g) = %.9g, not %.9g", s->op->name, s->x, (double)y, s->y);
    }
}
END_TEST

START_TEST(nan_in_gives_nan_out_whatever_its_sign)
{
    for (int i = 0; i < N_FUNCTION; i++) {
        ag_real minus_nan = (ag_real)copysign(NAN, -1);
        expect(isnan(apply_to_one(&functions[i], NAN)), "%s(NaN)", functions[i].op->name);
        expect(isnan(apply_to_one(&functions[i], minus_nan)), "%s(-NaN)", functions[i].op->name);
    }
}
END_TEST

START_TEST(odd_functions_are_odd_bit_for_bit)
{
    static ag_real x[BLOCK], y[BLOCK], z[BLOCK];
    const function odd[] = { { .op = &ag_op_tanh }, { .op = &ag_op_erf } };
    for (int k = 0; k < 2; k++) {
        fill(0, (UINT64_C(1) << 31) / BLOCK - 1, x);
        apply(&odd[k], BLOCK, x, y);
        for (int i = 0; i < BLOCK; i++)
            x[i] = -x[i];
        apply(&odd[k], BLOCK, x, z);
        for (int i = 0; i < BLOCK; i++)
            expect(same_bits(-y[i], z[i]), "%s(%.9g)", odd[k].op->name, (double)x[i]);
    }
}
END_TEST

/* ---- the same bits everywhere ---- */

START_TEST(an_element_alone_has_the_bits_it_has_in_any_array)
{
    enum { MOST = 70, SHIFTS = 17 };
    static ag_real x[BLOCK], alone[BLOCK];
    ag_real y[MOST];
    const function *f = &functions[_i];
    fill(0x1234567, 1048573, x);
    for (int i = 0; i < BLOCK; i++)
        alone[i] = apply_to_one(f, x[i]);
    for (int n = 1; n <= MOST; n++)
        for (int at = 0; at < BLOCK - MOST; at += at % 256 < SHIFTS ? 1 : 256 - SHIFTS) {
            apply(f, n, x + at, y);
            for (int i = 0; i < n; i++)
                expect(same_bits(y[i], alone[at + i]), "%s(%.9g), number %d of %d", f->op->name, (double)x[at + i], i, n);
        }
}
END_TEST

START_TEST(a_row_alone_has_the_bits_it_has_among_rows)
{
    static ag_tensor *(*const ops[])(ag_tape *, ag_tensor *) = { ag_softmax, ag_log_softmax };
    static const int64_t lengths[] = { 1, 2, 5, 10, 31, 32, 33, 64, 100, 1023, 1500 };
    ag_random r;
    ag_random_init(&r, 11, AG_STREAM_USER, 0, 0);
    for (size_t i = 0; i < 2 * sizeof lengths / sizeof *lengths; i++) {
        int64_t n = lengths[i / 2], rows = 41;
        ag_tape *t = eager(1);
        ag_real *x;
        ag_real *y = read_all(ops[i % 2](t, random_leaf(t, &r, &(ag_spec){ SHAPE(rows, n) }, -9, 9, &x)));
        for (int64_t row = 0; row < rows; row++) {
            ag_real *alone = read_all(ops[i % 2](t, ag_value(t, &(ag_spec){ SHAPE(n) }, x + row * n)));
            expect(!memcmp(alone, y + row * n, (size_t)n * sizeof *y), "row %d of %d numbers", (int)row, (int)n);
            free(alone);
        }
        free(x);
        free(y);
        finish(t);
    }
}
END_TEST

#ifndef AG_DOUBLE   /* there they are the C library's */
/* Fowler-Noll-Vo (FNV-1a) over the results' bits for arguments from all over; NaN counts as one number. The test below
 * names the new one where a function was changed on purpose. */
static uint32_t fingerprint(const function *f)
{
    static ag_real x[BLOCK], y[BLOCK];
    uint32_t hash = 2166136261u;
    for (uint64_t start = 0; start < 16; start++) {
        fill(start << 28, 65521, x);
        apply(f, BLOCK, x, y);
        for (int i = 0; i < BLOCK; i++) {
            float number = y[i] == y[i] ? (float)y[i] : 0;
            unsigned char bytes[sizeof number];
            memcpy(bytes, &number, sizeof number);
            for (size_t k = 0; k < sizeof number; k++)
                hash = (hash ^ bytes[k]) * 16777619u;
        }
    }
    return hash;
}

START_TEST(results_have_the_same_bits_on_every_machine)
{
    for (int i = 0; i < N_FUNCTION; i++)
        expect(fingerprint(&functions[i]) == functions[i].print, "%s: 0x%08x on %s", functions[i].op->name,
               (unsigned)fingerprint(&functions[i]), ag_instruction_set());
}
END_TEST
#endif

/* ---- rows ---- */

START_TEST(the_largest_of_a_row_and_its_sum_agree_with_plain_loops)
{
    static ag_real x[400];
    ag_random r;
    ag_random_init(&r, 12, AG_STREAM_USER, 0, 0);
    for (int n = 1; n <= 400; n++) {
        double shift = n % 3 == 0 ? -5 : n % 3 == 1 ? 0 : 5, sum = 0;
        ag_real max = -INFINITY;
        for (int i = 0; i < n; i++) {
            x[i] = i % 7 == 3 ? -INFINITY : (ag_real)ag_random_uniform(&r, shift - 4, shift + 4);
            max = x[i] > max ? x[i] : max;
        }
        expect(vec_row_max(x, n) == max, "the largest of %d", n);
        for (int i = 0; i < n; i++)
            sum += (double)(x[i] = isinf(x[i]) ? 0 : x[i]);
        ck_close(vec_row_sum(x, n), sum, 10 * TIGHT);
    }
    x[5] = INFINITY;
    expect(vec_row_max(x, 400) == INFINITY, "infinity is the largest");
}
END_TEST

START_TEST(cross_entropy_over_a_vocabulary_agrees_with_a_plain_loop)
{
    static const int64_t lengths[] = { 1, 5, 511, 512, 513, 1300 };
    ag_random r;
    ag_random_init(&r, 13, AG_STREAM_USER, 0, 0);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int64_t n = lengths[i];
        ag_tape *t = eager(1);
        ag_real *x;
        ag_tensor *logits = random_leaf(t, &r, &(ag_spec){ SHAPE(1, n) }, -9, 9, &x);
        ag_tensor *label = ag_value(t, &(ag_spec){ .dtype = AG_INT, SHAPE(1) }, (int32_t[]){ (int32_t)(n / 2) });
        ag_real *y = read_all(ag_cross_entropy(t, logits, label));
        double sum = 0;
        for (int64_t j = 0; j < n; j++)
            sum += exp((double)x[j]);
        ck_close(y[0], log(sum) - (double)x[n / 2], TIGHT);
        free(x);
        free(y);
        finish(t);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create(__FILE__);
    TCase *tcase = tcase_create(__FILE__);
    tcase_set_timeout(tcase, getenv("METALORA_TEST_EXHAUSTIVE") ? 3600 : 300);
    tcase_add_loop_test(tcase, errors_stay_within_the_bounds_stated, 0, N_FUNCTION);
    tcase_add_loop_test(tcase, an_element_alone_has_the_bits_it_has_in_any_array, 0, N_FUNCTION);
    tcase_add_test(tcase, special_values_are_exact);
    tcase_add_test(tcase, nan_in_gives_nan_out_whatever_its_sign);
    tcase_add_test(tcase, odd_functions_are_odd_bit_for_bit);
    tcase_add_test(tcase, a_row_alone_has_the_bits_it_has_among_rows);
#ifndef AG_DOUBLE
    tcase_add_test(tcase, results_have_the_same_bits_on_every_machine);
#endif
    tcase_add_test(tcase, the_largest_of_a_row_and_its_sum_agree_with_plain_loops);
    tcase_add_test(tcase, cross_entropy_over_a_vocabulary_agrees_with_a_plain_loop);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
