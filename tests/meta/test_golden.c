/* The learner's losses and meta-gradients against JAX (golden_maml.py), entry by entry.
 *
 * METALORA_GOLDEN names another golden file, made from other seeds (live_maml.py). Of any seed float32 keeps 5e-5 only:
 * JAX's own float32 differs from its float64 by up to 2e-5 behind four batch norms. */
#include "tests/meta/episodes.h"

static double tolerance(void)
{
    return sizeof(ag_real) == sizeof(double) ? 1e-9 : getenv("METALORA_GOLDEN") ? 5e-5 : 1e-5;
}

/* ---- the numbers both sides compute ---- */

enum { BITS = 19 };
enum { THETA = 1, RATE, PICTURE, NOISE, X, AMPLITUDE, PHASE };   /* streams */

static double number(uint64_t seed, uint64_t stream, uint64_t tensor, int64_t i)
{
    uint64_t z = ((seed << 48) + (stream << 40) + (tensor << 32) + (uint64_t)i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)((int64_t)(z >> (63 - BITS)) - (1 << BITS)) / (1 << BITS);
}

typedef enum family { SINUSOID, STRIDE, POOL } family;

typedef struct golden_case {
    const char *name;
    family family;
    int steps;
    bool learn_rates;
    meta_rate_scope scope;
    bool norm_scale, adapt_norm;
} golden_case;

static const golden_case cases[] = {
    { "sinusoid-1", SINUSOID, 1, false, META_RATE_ALL, false, false },
    { "sinusoid-5", SINUSOID, 5, false, META_RATE_ALL, false, false },
    { "sinusoid-3-one-rate", SINUSOID, 3, true, META_RATE_ALL, false, false },
    { "sinusoid-3-tensor-rates", SINUSOID, 3, true, META_RATE_TENSOR, false, false },
    { "sinusoid-3-element-rates", SINUSOID, 3, true, META_RATE_ELEMENT, false, false },
    { "conv4-1", STRIDE, 1, false, META_RATE_ALL, false, false },
    { "conv4-1-adapted", STRIDE, 1, false, META_RATE_ALL, false, true },
    { "conv4-1-gamma", STRIDE, 1, false, META_RATE_ALL, true, false },
    { "conv4-1-gamma-adapted", STRIDE, 1, false, META_RATE_ALL, true, true },
    { "conv4-3", STRIDE, 3, false, META_RATE_ALL, false, false },
    { "conv4-3-adapted", STRIDE, 3, false, META_RATE_ALL, false, true },
    { "conv4-3-gamma", STRIDE, 3, false, META_RATE_ALL, true, false },
    { "conv4-3-gamma-adapted", STRIDE, 3, false, META_RATE_ALL, true, true },
    { "conv4-2-tensor-rates", STRIDE, 2, true, META_RATE_TENSOR, true, true },
    { "conv4-2-element-rates", STRIDE, 2, true, META_RATE_ELEMENT, true, false },
    { "pool-1", POOL, 1, false, META_RATE_ALL, false, false },
    { "pool-3-gamma-adapted", POOL, 3, false, META_RATE_ALL, true, true },
};
enum { N_CASES = sizeof cases / sizeof *cases, WAY = 5 };

static nn_model case_model(const golden_case *c)
{
    if (c->family == SINUSOID)
        return test_model(&(nn_options){ .kind = "mlp", .x_ndim = 1, .x_shape = { 1 }, .n_out = 1, .n_hidden = 2, .hidden = { 40, 40 } });
    nn_options o = { .kind = "conv4", .x_ndim = 3, .n_out = WAY, .filters = 8, .max_pool = c->family == POOL,
                     .batch_norm = true, .norm_scale = c->norm_scale, .norm_epsilon = 1e-3 };
    memcpy(o.x_shape, c->family == POOL ? (int64_t[]){ 20, 20, 3 } : (int64_t[]){ 28, 28, 1 }, sizeof o.x_shape);
    return test_model(&o);
}

static meta_options case_options(const golden_case *c, bool first_order)
{
    meta_options o = { .first_order = first_order, .train_steps = c->steps, .learn_rates = c->learn_rates, .rate_scope = c->scope,
                       .adapt_norm = c->adapt_norm, .chunk = 3, .threads = 2 };
    if (c->family == SINUSOID) {
        o.loss = META_MSE;
        o.inner_lr = 0.01;
        o.n_support = o.n_query = 10;
    } else {
        o.loss = META_CROSS_ENTROPY;
        o.inner_lr = c->family == POOL ? 0.05 : 0.4;
        o.support_scale = WAY;
        o.n_support = o.n_query = WAY;
    }
    return o;
}

static void case_values(const golden_case *c, const nn_model *m, uint64_t seed, double rate, meta_state *s)
{
    double scale = c->family == SINUSOID ? 0.25 : 0.5;
    for (int p = 0; p < m->n_param; p++) {
        bool gamma = m->param[p].init == NN_ONES;
        for (int64_t i = 0; i < m->param[p].numel; i++) {
            double v = number(seed, THETA, (uint64_t)p, i);
            s->values[m->param[p].offset + i] = (ag_real)(gamma ? 1 + v / 4 : scale * v);
        }
    }
    if (c->learn_rates && c->scope != META_RATE_ALL)
        for (int64_t i = 0; i < s->n_rate; i++)
            s->values[s->n_value + i] = (ag_real)(rate * (1 + number(seed, RATE, 0, i) / 2));
}

static void sinusoid_episodes(uint64_t seed, episodes *e)
{
    for (int64_t i = 0; i < e->n_task * 20; i++) {
        int64_t task = i / 20, k = i % 20, at = task * 10 + k % 10;
        double x = 4 * number(seed, X, 0, i);
        double a = 2.5 + 2 * number(seed, AMPLITUDE, 0, task), phase = 1.5 + 1.5 * number(seed, PHASE, 0, task);
        double y = floor(a * sin(x - phase) * 262144 + 0.5) / 262144;
        (k < 10 ? e->support_x : e->query_x)[at] = (ag_real)x;
        ((ag_real *)(k < 10 ? e->support_y : e->query_y))[at] = (ag_real)y;
    }
}

/* A picture of noise for each class; examples add noise of their own. */
static void picture_episodes(uint64_t seed, episodes *e)
{
    int64_t numel = e->x_numel;
    for (int64_t i = 0; i < e->n_task * 2 * WAY; i++) {
        int64_t task = i / (2 * WAY), query = i / WAY % 2, class = i % WAY, at = task * WAY + class;
        ag_real *x = (query ? e->query_x : e->support_x) + at * numel;
        for (int64_t j = 0; j < numel; j++)
            x[j] = (ag_real)((3 * number(seed, PICTURE, 0, at * numel + j) + number(seed, NOISE, 0, i * numel + j)) / 4);
        ((int32_t *)(query ? e->query_y : e->support_y))[at] = (int32_t)class;
    }
}

/* ---- the golden file ---- */

typedef struct record {
    char name[128];
    int64_t n;
    double *values;
} record;

typedef struct golden {
    int n;
    record records[256];
} golden;

static const char *golden_path(void)
{
    const char *path = getenv("METALORA_GOLDEN");
    return path ? path : TEST_DIR "/golden_maml.txt";
}

static golden *golden_read(void)
{
    golden *g = test_alloc(sizeof *g);
    FILE *f = fopen(golden_path(), "r");
    ck_assert_msg(f, "no golden file %s", golden_path());
    long long n;
    while (g->n < 256 && fscanf(f, "%127s %lld", g->records[g->n].name, &n) == 2) {
        record *r = &g->records[g->n++];
        r->n = n;
        r->values = test_alloc((size_t)n * sizeof *r->values);
        for (int64_t i = 0; i < n; i++)
            ck_assert_msg(fscanf(f, "%lf", &r->values[i]) == 1, "%s: value %lld is missing", r->name, (long long)i);
    }
    ck_assert_msg(feof(f), "%s: not a golden file after record %d", golden_path(), g->n);
    fclose(f);
    return g;
}

static void golden_free(golden *g)
{
    for (int i = 0; i < g->n; i++)
        free(g->records[i].values);
    free(g);
}

static const record *golden_find(const golden *g, const golden_case *c, const char *method, const char *what)
{
    char name[128];
    snprintf(name, sizeof name, "%s/%s%s", c->name, method, what);
    for (int i = 0; i < g->n; i++)
        if (strcmp(g->records[i].name, name) == 0)
            return &g->records[i];
    ck_abort_msg("no record %s in %s", name, golden_path());
    return NULL;
}

/* ---- the comparison ---- */

static void check_number(const golden *g, const golden_case *c, const char *method, const char *what, double got)
{
    double want = golden_find(g, c, method, what)->values[0];
    ck_assert_msg(fabs(got - want) <= tolerance() * fabs(want), "%s/%s%s: %.12g, JAX %.12g", c->name, method, what, got, want);
}

static double check_tensor(const char *name, const char *method, const char *tensor, int64_t n, const ag_real *got, const double *want)
{
    double distance = test_distance(n, got, want);
    ck_assert_msg(distance <= tolerance(), "%s/%s: gradient of %s is %.3g from JAX's", name, method, tensor, distance);
    return distance;
}

static double check_gradient(const golden *g, const golden_case *c, const char *method, const nn_model *m, const meta_state *s,
                             const ag_real *got)
{
    const record *want = golden_find(g, c, method, "gradient");
    double worst = 0;
    ck_assert_msg(want->n == s->n, "%s: %lld entries, JAX has %lld", c->name, (long long)s->n, (long long)want->n);
    for (int p = 0; p < m->n_param; p++) {
        int64_t at = m->param[p].offset;
        worst = fmax(worst, check_tensor(c->name, method, m->param[p].name, m->param[p].numel, got + at, want->values + at));
    }
    int64_t rates = s->n - s->n_value;
    if (rates > 0)
        worst = fmax(worst, check_tensor(c->name, method, "the rates", rates, got + s->n_value, want->values + s->n_value));
    return worst;
}

static ag_real *check_method(const golden *g, const golden_case *c, bool first_order, episodes *e, const nn_model *m)
{
    const char *method = first_order ? "fomaml/" : "maml/";
    uint64_t seed = (uint64_t)golden_find(g, c, "", "seed")->values[0];
    meta_options o = case_options(c, first_order);
    meta_learner *l = test_learner(m, &o);
    meta_state s = test_state(l, 0);
    meta_report report;
    case_values(c, m, seed, o.inner_lr, &s);
    ag_real *grad = test_gradient(l, &s, e, &report);
    check_number(g, c, method, "support_loss", report.support_loss);
    check_number(g, c, method, "query_loss", report.query_loss);
    if (o.loss == META_CROSS_ENTROPY)
        check_number(g, c, method, "query_accuracy", report.query_accuracy);
    else
        ck_assert(isnan(report.query_accuracy));
    double worst = check_gradient(g, c, method, m, &s, grad);
    if (getenv("METALORA_GOLDEN"))
        printf("%-7s %-26s %-7s largest difference %.1e\n", AG_REAL_NAME, c->name, method, worst);
    meta_state_release(&s);
    meta_learner_free(l);
    return grad;
}

static void check_case(const golden *g, const golden_case *c)
{
    nn_model m = case_model(c);
    episodes e;
    uint64_t seed = (uint64_t)golden_find(g, c, "", "seed")->values[0];
    if (c->family == SINUSOID) {
        episodes_init(&e, &m, META_MSE, 25, 10, 10);
        sinusoid_episodes(seed, &e);
    } else {
        episodes_init(&e, &m, META_CROSS_ENTROPY, 4, WAY, WAY);
        picture_episodes(seed, &e);
    }
    ag_real *second = check_method(g, c, false, &e, &m), *first = check_method(g, c, true, &e, &m);
    ck_assert_msg(test_distance_real(m.n_value, second, first) > 1e-3, "%s: MAML and FOMAML do not differ", c->name);
    free(first);
    free(second);
    episodes_release(&e);
}

static void check_family(family f)
{
    golden *g = golden_read();
    for (int i = 0; i < N_CASES; i++)
        if (cases[i].family == f)
            check_case(g, &cases[i]);
    golden_free(g);
}

START_TEST(maml_and_fomaml_on_sinusoids_agree_with_jax)
{
    check_family(SINUSOID);
}
END_TEST

START_TEST(maml_and_fomaml_on_conv4_with_strides_agree_with_jax)
{
    check_family(STRIDE);
}
END_TEST

START_TEST(maml_and_fomaml_on_conv4_with_max_pooling_agree_with_jax)
{
    check_family(POOL);
}
END_TEST

START_TEST(every_golden_record_has_a_case)
{
    golden *g = golden_read();
    for (int i = 0; i < g->n; i++) {
        bool known = false;
        for (int c = 0; c < N_CASES; c++) {
            size_t length = strlen(cases[c].name);
            known = known || (strncmp(g->records[i].name, cases[c].name, length) == 0 && g->records[i].name[length] == '/');
        }
        ck_assert_msg(known, "no case for %s", g->records[i].name);
    }
    golden_free(g);
}
END_TEST

TEST_MAIN(maml_and_fomaml_on_sinusoids_agree_with_jax, maml_and_fomaml_on_conv4_with_strides_agree_with_jax,
          maml_and_fomaml_on_conv4_with_max_pooling_agree_with_jax, every_golden_record_has_a_case)
