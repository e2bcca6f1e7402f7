/* Models: their parameter tables, initial values, and forward passes against plain loops in double. */
#include "models/model.h"
#include "tests/check.h"
#include "tests/models_made.h"

#include "autograd/random.h"

#include <stdbool.h>

enum { MAX_PARAMS = 32 };

#ifdef AG_DOUBLE
#define TOLERANCE 1e-12
#else
#define TOLERANCE 2e-5
#endif

static const nn_options sinusoid = { .kind = "mlp", .x_ndim = 1, .x_shape = { 1 }, .n_out = 1, .n_hidden = 2, .hidden = { 40, 40 } };
static const nn_options omniglot = { .kind = "conv4", .x_ndim = 3, .x_shape = { 28, 28, 1 }, .n_out = 5, .filters = 64,
                                     .batch_norm = true, .norm_epsilon = 1e-3, .init = "truncated-normal", .init_std = 0.02,
                                     .head_init = "normal" };

/* ---- the parameter tables ---- */

typedef struct expected {
    const char *name;
    int ndim;
    int64_t shape[4];
    bool norm, adapter;
} expected;

static void check_table(const nn_model *m, int n, const expected *want)
{
    int64_t offset = 0;
    ck_assert_int_eq(m->n_param, n);
    for (int i = 0; i < n; i++) {
        const nn_param *p = &m->param[i];
        int64_t numel = 1;
        ck_assert_str_eq(p->name, want[i].name);
        ck_assert_int_eq(p->ndim, want[i].ndim);
        for (int d = 0; d < p->ndim; d++) {
            ck_assert_msg(p->shape[d] == want[i].shape[d], "%s: axis %d has %lld", p->name, d, (long long)p->shape[d]);
            numel *= p->shape[d];
        }
        ck_assert_int_eq(p->numel, numel);
        ck_assert_int_eq(p->offset, offset);
        ck_assert_int_eq(p->norm, want[i].norm);
        ck_assert_int_eq(p->adapter, want[i].adapter);
        offset += numel;
    }
    ck_assert_int_eq(m->n_value, offset);
}

START_TEST(the_sinusoid_network_has_1761_numbers)
{
    nn_model m = test_model(&sinusoid);
    check_table(&m, 6, (expected[]){ { "layer1.weight", 2, { 1, 40 }, 0, 0 }, { "layer1.bias", 1, { 40 }, 0, 0 },
                                     { "layer2.weight", 2, { 40, 40 }, 0, 0 }, { "layer2.bias", 1, { 40 }, 0, 0 },
                                     { "layer3.weight", 2, { 40, 1 }, 0, 0 }, { "layer3.bias", 1, { 1 }, 0, 0 } });
    ck_assert_int_eq(m.n_value, 1761);
}
END_TEST

START_TEST(the_omniglot_network_has_a_beta_for_each_convolution_and_no_bias)
{
    nn_model m = test_model(&omniglot);
    check_table(&m, 10, (expected[]){
        { "layer1.weight", 4, { 3, 3, 1, 64 }, 0, 0 }, { "layer1.norm.beta", 1, { 64 }, 1, 0 },
        { "layer2.weight", 4, { 3, 3, 64, 64 }, 0, 0 }, { "layer2.norm.beta", 1, { 64 }, 1, 0 },
        { "layer3.weight", 4, { 3, 3, 64, 64 }, 0, 0 }, { "layer3.norm.beta", 1, { 64 }, 1, 0 },
        { "layer4.weight", 4, { 3, 3, 64, 64 }, 0, 0 }, { "layer4.norm.beta", 1, { 64 }, 1, 0 },
        { "head.weight", 2, { 64, 5 }, 0, 0 }, { "head.bias", 1, { 5 }, 0, 0 } });
    ck_assert_int_eq(m.n_value, 111749);
}
END_TEST

START_TEST(the_mini_imagenet_network_keeps_five_by_five_places)
{
    nn_model m = test_model(&(nn_options){ .kind = "conv4", .x_ndim = 3, .x_shape = { 84, 84, 3 }, .n_out = 5, .filters = 32,
                                         .max_pool = true, .batch_norm = true, .norm_scale = true, .norm_epsilon = 1e-3 });
    ck_assert_int_eq(m.n_param, 14);
    ck_assert_str_eq(m.param[2].name, "layer1.norm.gamma");
    ck_assert(m.param[2].norm && m.param[2].init == NN_ONES);
    ck_assert_int_eq(m.param[12].shape[0], 800);
}
END_TEST

START_TEST(without_batch_norm_every_layer_has_a_bias)
{
    nn_model m = test_model(&(nn_options){ .kind = "conv4", .x_ndim = 3, .x_shape = { 16, 16, 2 }, .n_out = 3, .filters = 4 });
    ck_assert_int_eq(m.n_param, 10);
    ck_assert_str_eq(m.param[7].name, "layer4.bias");
    ck_assert(!m.param[7].norm);
}
END_TEST

START_TEST(the_linear_model_marks_its_adapter)
{
    nn_options o = { .kind = "linear", .x_ndim = 1, .x_shape = { 6 }, .n_out = 4, .adapter_rank = 2, .adapter_std = 0.1 };
    nn_model m = test_model(&o);
    check_table(&m, 3, (expected[]){ { "weight", 2, { 4, 6 }, 0, 0 }, { "adapter.U", 2, { 4, 2 }, 0, 1 }, { "adapter.V", 2, { 6, 2 }, 0, 1 } });
    o.adapter_symmetric = true;
    o.n_out = 6;
    m = test_model(&o);
    check_table(&m, 2, (expected[]){ { "weight", 2, { 6, 6 }, 0, 0 }, { "adapter.U", 2, { 6, 2 }, 0, 1 } });
    o.adapter_rank = 0;
    m = test_model(&o);
    ck_assert_int_eq(m.n_param, 1);
}
END_TEST

/* ---- initial values ---- */

/* Checks mean and variance (to five standard errors) and the largest value of parameter i over ten seeds. */
static void check_draws(const nn_options *o, int i, double variance, double largest)
{
    nn_model m = test_model(o);
    const nn_param *p = &m.param[i];
    ag_real *values = malloc((size_t)m.n_value * sizeof *values);
    double sum = 0, squares = 0, top = 0, n = 10.0 * (double)p->numel;
    for (uint64_t seed = 0; seed < 10; seed++) {
        nn_model_draw(&m, seed, values);
        for (int64_t j = 0; j < p->numel; j++) {
            double v = (double)values[p->offset + j];
            sum += v;
            squares += v * v;
            top = fmax(top, fabs(v));
        }
    }
    free(values);
    ck_assert_msg(fabs(sum / n) < 5 * sqrt(variance / n), "%s: mean %g", p->name, sum / n);
    ck_assert_msg(fabs(squares / n / variance - 1) < 5 * sqrt(2 / n), "%s: variance %g, expected %g", p->name, squares / n, variance);
    ck_assert_msg(top <= largest * (1 + 1e-6), "%s: a value of %g", p->name, top);
}

START_TEST(initial_values_have_the_variance_of_their_rule)
{
    nn_options o = omniglot;
    /* A normal cut at two standard deviations keeps 1 - 4 phi(2) / (2 Phi(2) - 1) = 0.774 of its variance. */
    check_draws(&o, 2, 0.7737413 * 0.02 * 0.02, 0.04);
    check_draws(&o, 8, 1, INFINITY);                             /* head.weight, N(0, 1) */
    o.init = "xavier";
    check_draws(&o, 2, 2.0 / (9 * 64 + 9 * 64), sqrt(6.0 / (9 * 64 + 9 * 64)));
    check_draws(&o, 0, 2.0 / (9 * 1 + 9 * 64), sqrt(6.0 / (9 * 1 + 9 * 64)));
    o.init = "he";
    check_draws(&o, 2, 2.0 / (9 * 64), INFINITY);
    o = sinusoid;
    check_draws(&o, 2, 2.0 / 80, sqrt(6.0 / 80));
    o.init = "he";
    check_draws(&o, 2, 2.0 / 40, INFINITY);
}
END_TEST

START_TEST(biases_and_betas_start_at_zero_and_gammas_at_one)
{
    nn_options o = omniglot;
    o.norm_scale = true;
    nn_model m = test_model(&o);
    ag_real *values = malloc((size_t)m.n_value * sizeof *values);
    nn_model_draw(&m, 3, values);
    for (int i = 0; i < m.n_param; i++) {
        const nn_param *p = &m.param[i];
        if (p->init != NN_ZEROS && p->init != NN_ONES)
            continue;
        ck_assert(p->norm || strcmp(p->name, "head.bias") == 0);
        for (int64_t j = 0; j < p->numel; j++)
            ck_assert(values[p->offset + j] == (strstr(p->name, "gamma") ? 1 : 0));
    }
    free(values);
}
END_TEST

START_TEST(initial_values_are_a_pure_function_of_the_seed)
{
    nn_model m = test_model(&sinusoid);
    ag_real a[1761], b[1761];
    nn_model_draw(&m, 7, a);
    nn_model_draw(&m, 7, b);
    ck_assert_mem_eq(a, b, sizeof a);
    nn_model_draw(&m, 8, b);
    int same = 0;
    for (int i = 80; i < 1680; i++)
        same += a[i] == b[i];
    ck_assert_int_eq(same, 0);
}
END_TEST

/* ---- forward passes against plain loops ---- */

typedef struct plain {                     /* a batch of pictures or rows in double */
    int64_t n, h, w, c;
    double *v;
} plain;

static plain plain_new(int64_t n, int64_t h, int64_t w, int64_t c)
{
    return (plain){ n, h, w, c, calloc((size_t)(n * h * w * c), sizeof(double)) };
}

static double *at(const plain *x, int64_t n, int64_t i, int64_t j, int64_t c)
{
    return &x->v[((n * x->h + i) * x->w + j) * x->c + c];
}

static void replace(plain *x, plain y)
{
    free(x->v);
    *x = y;
}

static plain plain_conv(const plain *x, const ag_real *w, int64_t out, int64_t stride)
{
    int64_t h = (x->h + stride - 1) / stride, wide = (x->w + stride - 1) / stride;
    int64_t need_h = (h - 1) * stride + 3 - x->h, need_w = (wide - 1) * stride + 3 - x->w;
    int64_t top = need_h > 0 ? need_h / 2 : 0, left = need_w > 0 ? need_w / 2 : 0;   /* TensorFlow's SAME */
    plain y = plain_new(x->n, h, wide, out);
    for (int64_t n = 0; n < y.n; n++)
        for (int64_t i = 0; i < h; i++)
            for (int64_t j = 0; j < wide; j++)
                for (int64_t tap = 0; tap < 9; tap++) {
                    int64_t from_i = i * stride - top + tap / 3, from_j = j * stride - left + tap % 3;
                    if (from_i < 0 || from_i >= x->h || from_j < 0 || from_j >= x->w)
                        continue;
                    for (int64_t c = 0; c < x->c; c++)
                        for (int64_t o = 0; o < out; o++)
                            *at(&y, n, i, j, o) += *at(x, n, from_i, from_j, c) * (double)w[(tap * x->c + c) * out + o];
                }
    return y;
}

static plain plain_dense(const plain *x, const ag_real *w, int64_t out)
{
    int64_t in = x->h * x->w * x->c;
    plain y = plain_new(x->n, 1, 1, out);
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t i = 0; i < in; i++)
            for (int64_t o = 0; o < out; o++)
                y.v[n * out + o] += x->v[n * in + i] * (double)w[i * out + o];
    return y;
}

static void plain_bias(plain *x, const ag_real *b)
{
    for (int64_t i = 0; i < x->n * x->h * x->w * x->c; i++)
        x->v[i] += (double)b[i % x->c];
}

static void plain_norm(plain *x, double epsilon, const ag_real *beta, const ag_real *gamma)
{
    int64_t rows = x->n * x->h * x->w;
    for (int64_t c = 0; c < x->c; c++) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < rows; i++)
            mean += x->v[i * x->c + c] / (double)rows;
        for (int64_t i = 0; i < rows; i++)
            variance += pow(x->v[i * x->c + c] - mean, 2) / (double)rows;
        for (int64_t i = 0; i < rows; i++) {
            double z = (x->v[i * x->c + c] - mean) / sqrt(variance + epsilon);
            x->v[i * x->c + c] = z * (gamma ? (double)gamma[c] : 1) + (double)beta[c];
        }
    }
}

static void plain_activate(plain *x, bool use_tanh)
{
    for (int64_t i = 0; i < x->n * x->h * x->w * x->c; i++)
        x->v[i] = use_tanh ? tanh(x->v[i]) : fmax(x->v[i], 0);
}

static plain plain_max_pool(const plain *x)
{
    plain y = plain_new(x->n, x->h / 2, x->w / 2, x->c);
    for (int64_t n = 0; n < y.n; n++)
        for (int64_t i = 0; i < y.h; i++)
            for (int64_t j = 0; j < y.w; j++)
                for (int64_t c = 0; c < y.c; c++)
                    *at(&y, n, i, j, c) = fmax(fmax(*at(x, n, 2 * i, 2 * j, c), *at(x, n, 2 * i, 2 * j + 1, c)),
                                               fmax(*at(x, n, 2 * i + 1, 2 * j, c), *at(x, n, 2 * i + 1, 2 * j + 1, c)));
    return y;
}

static plain plain_place_mean(const plain *x)
{
    plain y = plain_new(x->n, 1, 1, x->c);
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t p = 0; p < x->h * x->w; p++)
            for (int64_t c = 0; c < x->c; c++)
                y.v[n * x->c + c] += x->v[(n * x->h * x->w + p) * x->c + c] / (double)(x->h * x->w);
    return y;
}

/* Bias, or beta and gamma, of the parameters from *next on; then the activation. */
static void plain_after(const nn_model *m, const ag_real *const *param, int *next, plain *x)
{
    if (m->options.batch_norm) {
        const ag_real *beta = param[(*next)++], *gamma = m->options.norm_scale ? param[(*next)++] : NULL;
        plain_norm(x, m->options.norm_epsilon, beta, gamma);
    } else {
        plain_bias(x, param[(*next)++]);
    }
    plain_activate(x, m->options.activation && strcmp(m->options.activation, "tanh") == 0);
}

static void plain_mlp(const nn_model *m, const ag_real *const *param, plain *x)
{
    int next = 0;
    for (int layer = 0; layer < m->options.n_hidden; layer++) {
        replace(x, plain_dense(x, param[next++], m->options.hidden[layer]));
        plain_after(m, param, &next, x);
    }
    replace(x, plain_dense(x, param[next], m->options.n_out));
    plain_bias(x, param[next + 1]);
}

static void plain_conv4(const nn_model *m, const ag_real *const *param, plain *x)
{
    int next = 0;
    for (int block = 0; block < 4; block++) {
        replace(x, plain_conv(x, param[next++], m->options.filters, m->options.max_pool ? 1 : 2));
        plain_after(m, param, &next, x);
        if (m->options.max_pool)
            replace(x, plain_max_pool(x));
    }
    if (!m->options.max_pool)
        replace(x, plain_place_mean(x));
    replace(x, plain_dense(x, param[next], m->options.n_out));
    plain_bias(x, param[next + 1]);
}

static void plain_linear(const nn_model *m, const ag_real *const *param, plain *x)
{
    int64_t in = m->options.x_shape[0], out = m->options.n_out, rank = m->options.adapter_rank;
    plain y = plain_new(x->n, 1, 1, out);
    const ag_real *u = rank ? param[1] : NULL, *v = rank ? param[m->options.adapter_symmetric ? 1 : 2] : NULL;
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++) {
            double w = (double)param[0][o * in + i];
            for (int64_t r = 0; r < rank; r++)
                w += (double)u[o * rank + r] * (double)v[i * rank + r];
            for (int64_t n = 0; n < x->n; n++)
                y.v[n * out + o] += w * x->v[n * in + i];
        }
    replace(x, y);
}

/* Numbers in [-1, 1). */
static ag_real *numbers(uint64_t seed, int64_t n)
{
    ag_random r;
    ag_real *v = malloc((size_t)n * sizeof *v);
    ag_random_init(&r, seed, AG_STREAM_USER, 0, 0);
    for (int64_t i = 0; i < n; i++)
        v[i] = (ag_real)ag_random_uniform(&r, -1, 1);
    return v;
}

static int64_t x_numel(const nn_model *m)
{
    int64_t n = 1;
    for (int i = 0; i < m->options.x_ndim; i++)
        n *= m->options.x_shape[i];
    return n;
}

/* The model's outputs for n_task tasks of n examples; values [n_task] sets or one set for all. */
static ag_real *model_forward(const nn_model *m, int64_t n_task, bool own_values, const ag_real *values, int64_t n, const ag_real *x)
{
    ag_error err = { 0 };
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .n_task = n_task }, &err);
    ag_tensor *param[MAX_PARAMS];
    for (int i = 0; i < m->n_param; i++) {
        const nn_param *p = &m->param[i];
        ag_spec spec = { .tasks = own_values, .ndim = p->ndim };
        ag_real *data = malloc((size_t)(n_task * p->numel) * sizeof *data);
        memcpy(spec.shape, p->shape, sizeof p->shape);
        for (int64_t task = 0; task < (own_values ? n_task : 1); task++)
            memcpy(data + task * p->numel, values + task * m->n_value + p->offset, (size_t)p->numel * sizeof *data);
        param[i] = ag_value(t, &spec, data);
        free(data);
    }
    ag_spec spec = { .tasks = true, .ndim = 1 + m->options.x_ndim, .shape = { n } };
    memcpy(spec.shape + 1, m->options.x_shape, (size_t)m->options.x_ndim * sizeof *spec.shape);
    ag_tensor *y = m->forward(m, t, param, &(nn_input){ .x = ag_value(t, &spec, x) });
    ck_assert_msg(ag_tape_status(t, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(ag_ndim(y), 2);
    ck_assert_int_eq(ag_shape(y)[0], n);
    ck_assert_int_eq(ag_shape(y)[1], m->options.n_out);
    ag_real *out = malloc((size_t)(n_task * n * m->options.n_out) * sizeof *out);
    ck_assert_int_eq(ag_read(y, out), AG_OK);
    ag_tape_free(t);
    return out;
}

static void check_forward(const nn_options *o, void (*reference)(const nn_model *, const ag_real *const *, plain *))
{
    enum { N = 6 };
    nn_model m = test_model(o);
    ag_real *values = numbers(1, m.n_value), *x = numbers(2, N * x_numel(&m));
    const ag_real *param[MAX_PARAMS];
    for (int i = 0; i < m.n_param; i++)
        param[i] = values + m.param[i].offset;
    plain want = o->x_ndim == 3 ? plain_new(N, o->x_shape[0], o->x_shape[1], o->x_shape[2]) : plain_new(N, 1, 1, o->x_shape[0]);
    for (int64_t i = 0; i < N * x_numel(&m); i++)
        want.v[i] = (double)x[i];
    reference(&m, param, &want);
    ag_real *got = model_forward(&m, 1, false, values, N, x);
    for (int64_t i = 0; i < N * o->n_out; i++)
        ck_close((double)got[i], want.v[i], TOLERANCE);
    free(want.v);
    free(got);
    free(values);
    free(x);
}

START_TEST(the_mlp_agrees_with_plain_loops)
{
    nn_options o = { .kind = "mlp", .x_ndim = 1, .x_shape = { 3 }, .n_out = 2, .n_hidden = 2, .hidden = { 7, 5 }, .norm_epsilon = 1e-3 };
    for (int bits = 0; bits < 8; bits++) {
        o.activation = bits & 1 ? "tanh" : "relu";
        o.batch_norm = bits & 2;
        o.norm_scale = bits & 4;
        check_forward(&o, plain_mlp);
    }
    o.n_hidden = 0;
    check_forward(&o, plain_mlp);
}
END_TEST

START_TEST(an_mlp_takes_pictures_as_rows)
{
    check_forward(&(nn_options){ .kind = "mlp", .x_ndim = 3, .x_shape = { 3, 4, 2 }, .n_out = 2, .n_hidden = 1, .hidden = { 6 } },
                  plain_mlp);
}
END_TEST

START_TEST(conv4_agrees_with_plain_loops)
{
    static const int64_t shapes[][3] = { { 28, 28, 1 }, { 20, 17, 3 }, { 16, 16, 2 } };   /* even, odd, the smallest pooled */
    for (int bits = 0; bits < 8; bits++)
        for (int s = 0; s < 3; s++) {
            nn_options o = { .kind = "conv4", .x_ndim = 3, .n_out = 5, .filters = 4, .norm_epsilon = 1e-3,
                             .max_pool = bits & 1, .batch_norm = bits & 2, .norm_scale = bits & 4 };
            memcpy(o.x_shape, shapes[s], sizeof shapes[s]);
            check_forward(&o, plain_conv4);
        }
}
END_TEST

START_TEST(the_linear_model_agrees_with_plain_loops)
{
    nn_options o = { .kind = "linear", .x_ndim = 1, .x_shape = { 5 }, .n_out = 3 };
    check_forward(&o, plain_linear);
    o.adapter_rank = 2;
    check_forward(&o, plain_linear);
    o.adapter_symmetric = true;
    o.n_out = 5;
    check_forward(&o, plain_linear);
}
END_TEST

/* ---- the task axis ---- */

static void check_tasks(const nn_options *o)
{
    enum { N_TASK = 3, N = 4 };
    nn_model m = test_model(o);
    int64_t x_task = N * x_numel(&m), y_task = N * o->n_out;
    ag_real *values = numbers(3, N_TASK * m.n_value), *x = numbers(4, N_TASK * x_task);
    for (int own = 0; own < 2; own++) {
        ag_real *all = model_forward(&m, N_TASK, own, values, N, x);
        for (int64_t task = 0; task < N_TASK; task++) {
            ag_real *one = model_forward(&m, 1, false, values + (own ? task * m.n_value : 0), N, x + task * x_task);
            for (int64_t i = 0; i < y_task; i++)
                ck_close((double)all[task * y_task + i], (double)one[i], TOLERANCE);
            free(one);
        }
        free(all);
    }
    free(values);
    free(x);
}

START_TEST(tasks_together_score_as_each_alone)
{
    check_tasks(&(nn_options){ .kind = "mlp", .x_ndim = 1, .x_shape = { 3 }, .n_out = 2, .n_hidden = 1, .hidden = { 8 },
                               .batch_norm = true, .norm_scale = true, .norm_epsilon = 1e-3 });
    check_tasks(&(nn_options){ .kind = "linear", .x_ndim = 1, .x_shape = { 5 }, .n_out = 5, .adapter_rank = 2 });
    for (int bits = 0; bits < 4; bits++)
        check_tasks(&(nn_options){ .kind = "conv4", .x_ndim = 3, .x_shape = { 18, 16, 2 }, .n_out = 3, .filters = 4,
                                   .norm_epsilon = 1e-3, .max_pool = bits & 1, .batch_norm = bits & 2 });
}
END_TEST

/* ---- options the caller must mend ---- */

static void refused(const nn_options *o, const char *part)
{
    nn_model m;
    ag_error err = { 0 };
    ck_assert_int_eq(nn_model_init(&m, o, &err), AG_EINVAL);
    ck_assert_msg(strstr(err.message, part), "'%s' does not say '%s'", err.message, part);
    ck_assert_int_eq(nn_model_init(&m, o, NULL), AG_EINVAL);
}

START_TEST(a_bad_option_is_named_with_what_was_expected)
{
    nn_options o = sinusoid;
    o.kind = "resnet";
    refused(&o, "kind 'resnet'; mlp, conv4 or linear is expected");
    o.kind = NULL;
    refused(&o, "kind '(none)'");
    o = sinusoid, o.activation = "gelu";
    refused(&o, "activation 'gelu'; relu or tanh is expected");
    o = sinusoid, o.init = "zeros";
    refused(&o, "init 'zeros'; xavier, he or truncated-normal is expected");
    o = sinusoid, o.init = "truncated-normal";
    refused(&o, "init_std 0; above 0 is expected");
    o = sinusoid, o.n_out = 0;
    refused(&o, "0 outputs; at least 1 is expected");
    o = sinusoid, o.x_ndim = 2;
    refused(&o, "2 axes; 1 or 3 are expected");
    o = sinusoid, o.x_shape[0] = 0;
    refused(&o, "axis 0 of an example has size 0; at least 1 is expected");
    o = sinusoid, o.hidden[1] = 0;
    refused(&o, "layer 2 is 0 wide");
    o = sinusoid, o.n_hidden = NN_MAX_HIDDEN + 1;
    refused(&o, "9 hidden layers; 0 to 8 are possible");
    o = sinusoid, o.batch_norm = true;
    refused(&o, "norm_epsilon 0; above 0 is expected");
}
END_TEST

START_TEST(a_bad_option_of_conv4_or_linear_is_named)
{
    nn_options o = omniglot;
    o.filters = 0;
    refused(&o, "conv4: 0 filters");
    o = omniglot, o.x_ndim = 1;
    refused(&o, "conv4: examples have 1 axes; [h, w, c] is expected");
    o = omniglot, o.max_pool = true, o.x_shape[1] = 15;
    refused(&o, "images of 28 x 15 vanish in four poolings; at least 16 x 16");
    o = omniglot, o.head_init = "one";
    refused(&o, "head_init 'one'; xavier, normal or zero is expected");
    o = (nn_options){ .kind = "linear", .x_ndim = 1, .x_shape = { 5 }, .n_out = 3, .adapter_rank = 2, .adapter_symmetric = true };
    refused(&o, "as many outputs (3) as inputs (5)");
    o.adapter_rank = -1;
    refused(&o, "adapter_rank -1; at least 0 is expected");
    o.adapter_rank = 0;
    o.adapter_symmetric = false;
    o.x_ndim = 3;
    o.x_shape[1] = o.x_shape[2] = 1;
    refused(&o, "linear: examples have 3 axes; 1 is expected");
}
END_TEST

TEST_MAIN(the_sinusoid_network_has_1761_numbers, the_omniglot_network_has_a_beta_for_each_convolution_and_no_bias,
          the_mini_imagenet_network_keeps_five_by_five_places, without_batch_norm_every_layer_has_a_bias,
          the_linear_model_marks_its_adapter, initial_values_have_the_variance_of_their_rule,
          biases_and_betas_start_at_zero_and_gammas_at_one, initial_values_are_a_pure_function_of_the_seed,
          the_mlp_agrees_with_plain_loops, an_mlp_takes_pictures_as_rows, conv4_agrees_with_plain_loops,
          the_linear_model_agrees_with_plain_loops, tasks_together_score_as_each_alone,
          a_bad_option_is_named_with_what_was_expected, a_bad_option_of_conv4_or_linear_is_named)
