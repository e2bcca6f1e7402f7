/* First values: singular values, PiSSA, OLoRA, the orthogonal start, and what is drawn. */
#include "meta/adapter_internal.h"
#include "autograd/random.h"
#include "tests/check.h"
#include "tests/meta/adapters.h"

/* ---- singular values ---- */

/* W = U diag(s) V' with known U, V: Householder reflections H = 1 - 2 x x' / x'x, which are orthogonal. */
static double reflection(int64_t n, uint64_t seed, int64_t i, int64_t j)
{
    double xi = 0, xj = 0, length = 0;
    ag_random r;
    ag_random_init(&r, seed, AG_STREAM_USER, 0, 0);
    for (int64_t k = 0; k < n; k++) {
        double x = ag_random_normal(&r);
        length += x * x;
        xi = k == i ? x : xi;
        xj = k == j ? x : xj;
    }
    return (i == j) - 2 * xi * xj / length;
}

static void check_svd(int64_t out, int64_t in, int64_t r, const double *s, int64_t n, bool turned)
{
    ag_error err = { 0 };
    ag_real *w = calloc((size_t)(out * in), sizeof *w);
    double *u = calloc((size_t)(r * out), sizeof *u), *v = calloc((size_t)(r * in), sizeof *v), *found = calloc((size_t)r,
            sizeof *found);
    int64_t so = turned ? 1 : in, si = turned ? out : 1;
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++) {
            double sum = 0;
            for (int64_t k = 0; k < n; k++)
                sum += s[k] * reflection(out, 1, o, k) * reflection(in, 2, i, k);
            w[o * so + i * si] = (ag_real)sum;
        }
    ck_assert_msg(meta_svd_top(w, out, in, so, si, r, found, u, v, &err) == AG_OK, "%s", err.message);
    double tolerance = sizeof(ag_real) == 8 ? 1e-11 : 1e-6;
    for (int64_t j = 0; j < r; j++) {
        expect(test_close(found[j], j < n ? s[j] : 0, tolerance), "%dx%d: value %d is %.15g, not %.15g", (int)out, (int)in,
               (int)j, found[j], j < n ? s[j] : 0);
        for (int64_t k = 0; k <= j; k++) {
            double uu = 0, vv = 0;
            for (int64_t o = 0; o < out; o++)
                uu += u[j * out + o] * u[k * out + o];
            for (int64_t i = 0; i < in; i++)
                vv += v[j * in + i] * v[k * in + i];
            expect(fabs(uu - (j == k)) < 1e-10 && fabs(vv - (j == k)) < 1e-10, "vectors %d and %d: %g, %g", (int)j, (int)k, uu, vv);
        }
        for (int64_t o = 0; o < out; o++) {   /* W v = s u, in the numbers as they were rounded */
            double sum = 0;
            for (int64_t i = 0; i < in; i++)
                sum += (double)w[o * so + i * si] * v[j * in + i];
            expect(fabs(sum - found[j] * u[j * out + o]) < 1e-10, "W v - s u is %g for value %d",
                   sum - found[j] * u[j * out + o], (int)j);
        }
    }
    free(w), free(u), free(v), free(found);
}

START_TEST(the_largest_singular_values_and_vectors_are_found_to_rounding)
{
    double falling[40], flat[40], repeated[] = { 5, 5, 5, 2, 2, 1 }, two[] = { 3, 1e-3 }, tail[20];
    for (int i = 0; i < 40; i++) {
        falling[i] = pow(0.7, i);
        flat[i] = 2 - 0.01 * i;
    }
    for (int i = 0; i < 20; i++)
        tail[i] = i < 2 ? 10 - i : 1;
    check_svd(60, 40, 8, falling, 40, false);
    check_svd(40, 60, 8, falling, 40, true);
    check_svd(60, 40, 8, flat, 40, true);
    check_svd(40, 60, 5, flat, 40, false);
    check_svd(20, 20, 4, tail, 20, false);
    check_svd(12, 9, 4, repeated, 6, false);
    check_svd(12, 9, 3, repeated, 6, false);
    check_svd(12, 9, 9, repeated, 6, false);
    check_svd(7, 8, 4, two, 2, false);      /* rank below r: zeros, and vectors of length 1 all the same */
    check_svd(1, 6, 1, two, 1, false);
    check_svd(6, 1, 1, two, 1, false);
    check_svd(1, 1, 1, two, 1, false);
}
END_TEST

START_TEST(singular_values_of_zeros_of_the_identity_and_of_what_is_not_finite)
{
    ag_real w[36] = { 0 };
    double s[4], u[24], v[24];
    ag_error err = { 0 };
    ck_assert_int_eq(meta_svd_top(w, 6, 6, 6, 1, 4, s, u, v, &err), AG_OK);
    for (int i = 0; i < 4; i++)
        ck_assert(s[i] == 0);
    for (int i = 0; i < 6; i++)
        w[7 * i] = 1;
    ck_assert_int_eq(meta_svd_top(w, 6, 6, 6, 1, 4, s, u, v, &err), AG_OK);
    for (int i = 0; i < 4; i++)
        ck_close(s[i], 1, 1e-12);
    w[3] = NAN;
    ck_assert_int_eq(meta_svd_top(w, 6, 6, 6, 1, 4, s, u, v, &err), AG_ENAN);
}
END_TEST

/* ---- starts ---- */

static const char *const networks[] = { "bert", "gpt2" };

/* residual + s B A = W for every module, in numbers as they are stored. */
static void check_residual(const nn_network *net, const char *init, const char *kind)
{
    meta_adapter *a = new_adapter(net, &(meta_adapter_options){ .kind = kind, .init = init, .rank = 3, .alpha = 5,
                                                                .target_regex = "(?!.*(embed|wte|wpe|lm_head)).*" });
    ag_real *values = adapter_values(a, 1, 0);
    for (int i = 0; i < meta_adapter_modules(a); i++) {
        const meta_adapted *m = &a->module[i];
        int weight = net->module[m->module].weight;
        const ag_real *residual = meta_adapter_weight(a, weight), *w = net->weight[weight].data;
        meta_factors f = meta_adapter_factors(a, values, i);
        int64_t so, si;
        double product = 0;
        ck_assert_ptr_nonnull(residual);
        meta_weight_strides(m, &so, &si);
        for (int64_t o = 0; o < m->out; o++)
            for (int64_t c = 0; c < m->in; c++) {
                double ba = meta_factors_at(&f, o, c);
                product = fmax(product, fabs(ba));
                expect(test_close((double)residual[o * so + c * si] + ba, (double)w[o * so + c * si], 1e-7), "%s, module %d",
                       init, i);
            }
        ck_assert(product > 0.01);
    }
    ck_assert_ptr_null(meta_adapter_weight(a, 1));
    free(values);
    meta_adapter_free(a);
}

START_TEST(residual_and_start_are_the_base_together)
{
    for (int i = 0; i < 2; i++) {
        nn_network *net = tiny_network(networks[i]);
        check_residual(net, "pissa", "lora");
        check_residual(net, "olora", "lora");
        check_residual(net, "pissa", "dora");
        nn_network_close(net);
    }
}
END_TEST

/* B' B = A A' = S_r / s, diagonal and falling: the balanced halves of the largest part. */
START_TEST(pissa_takes_balanced_halves_of_the_largest_part)
{
    nn_network *net = tiny_network("bert");
    meta_adapter *a = new_adapter(net, &(meta_adapter_options){ .init = "pissa", .rank = 3, .alpha = 5 });
    ag_real *values = adapter_values(a, 1, 0), *va = values, *vb = values + meta_adapter_param(a, 1)->offset;
    const ag_real *w = net->weight[net->module[meta_adapter_module(a, 0)].weight].data;
    double s[3], u[24], v[24];
    ck_assert_int_eq(meta_svd_top(w, 8, 8, 8, 1, 3, s, u, v, NULL), AG_OK);
    for (int j = 0; j < 3; j++)
        for (int k = 0; k < 3; k++) {
            double aa = 0, bb = 0;
            for (int i = 0; i < 8; i++) {
                aa += (double)va[j * 8 + i] * (double)va[k * 8 + i];
                bb += (double)vb[i * 3 + j] * (double)vb[i * 3 + k];
            }
            ck_close(aa, j == k ? s[j] * 3 / 5 : 0, 1e-6);
            ck_close(bb, j == k ? s[j] * 3 / 5 : 0, 1e-6);
        }
    free(values);
    meta_adapter_free(a);
    nn_network_close(net);
}
END_TEST

START_TEST(the_orthogonal_start_has_a_product_of_zero_of_factors_that_are_not)
{
    nn_network *net = tiny_network("bert");
    meta_adapter *a = new_adapter(net, &(meta_adapter_options){ .init = "orthogonal", .rank = 4 });
    ag_real *values = adapter_values(a, 1, 0);
    for (int i = 0; i < meta_adapter_modules(a); i++) {
        meta_factors f = meta_adapter_factors(a, values, i);
        double length = 0;
        for (int o = 0; o < 8; o++)
            for (int c = 0; c < 8; c++)
                expect(fabs(meta_factors_at(&f, o, c)) < 1e-7, "product %g", meta_factors_at(&f, o, c));
        for (int k = 0; k < 32; k++)
            length += (double)f.a[k] * (double)f.a[k] + (double)f.b[k] * (double)f.b[k];
        ck_assert(length > 0.05 && length < 3);   /* of 32 numbers of variance 1 / 100 */
    }
    free(values);
    meta_adapter_free(a);
    nn_network_close(net);
}
END_TEST

static double moment(const ag_real *x, int64_t n, double *largest)
{
    double sum = 0;
    *largest = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
        *largest = fmax(*largest, fabs((double)x[i]));
    }
    return sqrt(sum / (double)n);
}

START_TEST(factors_are_drawn_from_pefts_distributions)
{
    static const char *const targets[] = { "embeddings.word_embeddings", "intermediate.dense" };
    nn_network *net = tiny_network("bert");
    double largest;
    meta_adapter *a = new_adapter(net, &(meta_adapter_options){ .rank = 200, .n_target = 2, .targets = targets });
    ag_real *values = adapter_values(a, 1, 0);
    ck_assert(moment(values, 11 * 200, &largest) == 0);                                        /* an embedding's A */
    ck_close(moment(values + meta_adapter_param(a, 1)->offset, 8 * 200, &largest), 1, 0.1);     /* its B */
    ck_close(moment(values + meta_adapter_param(a, 2)->offset, 8 * 200, &largest), 1 / sqrt(3 * 8), 0.02);
    ck_assert(largest <= 1 / sqrt(8) && largest > 0.34);                                        /* U(-1/sqrt(in), ..) */
    ck_assert(moment(values + meta_adapter_param(a, 3)->offset, 12 * 200, &largest) == 0);
    free(values);
    meta_adapter_free(a);
    a = new_adapter(net, &(meta_adapter_options){ .rank = 50, .init = "gaussian" });
    values = adapter_values(a, 1, 0);
    ck_close(moment(values, 8 * 50, &largest), 0.02, 0.002);
    free(values);
    meta_adapter_free(a);
    a = new_adapter(net, &(meta_adapter_options){ .kind = "vera", .rank = 50, .vera_d_initial = 0.3 });
    values = adapter_values(a, 1, 0);
    ck_assert(values[0] == 0 && values[7] == 0 && values[8] == (ag_real)0.3 && values[57] == (ag_real)0.3);
    ck_close(moment(a->wide_a, 8 * 50, &largest), sqrt(2.0 / 8), 0.05);
    ck_close(moment(a->wide_b, 8 * 50, &largest), sqrt(2.0 / 50), 0.02);
    free(values);
    meta_adapter_free(a);
    nn_network_close(net);
}
END_TEST

START_TEST(drawing_is_a_function_of_the_seed)
{
    nn_network *net = tiny_network("bert");
    static const char *const inits[] = { "default", "gaussian", "orthogonal" };
    for (int i = 0; i < 3; i++) {
        meta_adapter *a = new_adapter(net, &(meta_adapter_options){ .rank = 4, .init = inits[i] });
        ag_real *one = adapter_values(a, 1, 0), *again = adapter_values(a, 1, 0), *other = adapter_values(a, 2, 0);
        size_t bytes = (size_t)meta_adapter_values(a) * sizeof *one;
        ck_assert(memcmp(one, again, bytes) == 0 && memcmp(one, other, bytes) != 0);
        free(one), free(again), free(other);
        meta_adapter_free(a);
    }
    nn_network_close(net);
}
END_TEST

TEST_MAIN(the_largest_singular_values_and_vectors_are_found_to_rounding,
          singular_values_of_zeros_of_the_identity_and_of_what_is_not_finite,
          residual_and_start_are_the_base_together, pissa_takes_balanced_halves_of_the_largest_part,
          the_orthogonal_start_has_a_product_of_zero_of_factors_that_are_not, factors_are_drawn_from_pefts_distributions,
          drawing_is_a_function_of_the_seed)
