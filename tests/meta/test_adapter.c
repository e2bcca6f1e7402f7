/* Adapted modules: outputs and gradients against PEFT's own layers (golden_adapter.py), adapters on whole networks, merging,
 * dropout, and allocations that fail. */
#include "meta/adapter_internal.h"
#include "tests/check.h"
#include "tests/meta/adapters.h"

#ifdef AG_DOUBLE
static const double tolerance = 1e-10, loose = 1e-9;
#else
static const double tolerance = 2e-5, loose = 2e-5;
#endif

static const char *const architectures[] = { "bert", "llama", "gpt2", "moe", "conv1d", "conv2d" };
enum { N_ARCHITECTURE = 6 };

/* ---- golden modules ---- */

typedef struct record {
    char name[48];
    int n;
    ag_real v[512];
} record;

static record *golden;
static int n_golden;

static void read_golden(void)
{
    FILE *f = fopen(TEST_DIR "/golden_adapter.txt", "r");
    ck_assert_ptr_nonnull(f);
    golden = calloc(256, sizeof *golden);
    for (record *r = golden; fscanf(f, "%47s %d", r->name, &r->n) == 2; r++, n_golden++) {
        ck_assert_int_le(r->n, 512);
        for (int i = 0; i < r->n; i++) {
            double v;
            ck_assert_int_eq(fscanf(f, "%lf", &v), 1);
            r->v[i] = (ag_real)v;
        }
    }
    fclose(f);
}

static const record *find(const char *word, const char *kind, const char *part)
{
    char name[48];
    snprintf(name, sizeof name, "%s.%s.%s", word, kind, part);
    for (int i = 0; i < n_golden; i++)
        if (strcmp(golden[i].name, name) == 0)
            return &golden[i];
    return NULL;
}

/* A network of one module. */
typedef struct single {
    nn_network net;
    nn_weight weight[2];
    nn_module module;
} single;

static void make_single(single *s, const char *word, const char *kind)
{
    static const struct { const char *name; nn_module_kind kind; int ndim; int64_t shape[4]; } kinds[] = {
        { "linear", NN_LINEAR, 2, { 4, 5 } }, { "in_out", NN_LINEAR_IN_OUT, 2, { 5, 4 } }, { "embedding", NN_EMBEDDING, 2, { 5,
                4 } },
        { "conv", NN_CONV, 4, { 3, 2, 3, 4 } } };
    const record *bias = find(word, kind, "bias");
    memset(s, 0, sizeof *s);
    for (int i = 0; i < 4; i++)
        if (strcmp(kinds[i].name, kind) == 0) {
            s->module = (nn_module){ .name = "m", .kind = kinds[i].kind, .bias = bias ? 1 : -1, .in = i == 3 ? 3 : 5, .out = 4 };
            s->weight[0].ndim = kinds[i].ndim;
            memcpy(s->weight[0].shape, kinds[i].shape, sizeof kinds[i].shape);
        }
    if (s->module.kind == NN_CONV)
        s->module.conv = (ag_conv){ 2, 2, 1, 1, 1, 1 };
    s->weight[0].data = find(word, kind, "w")->v;
    s->weight[0].numel = find(word, kind, "w")->n;
    s->weight[1] = (nn_weight){ .ndim = 1, .shape = { 4 }, .numel = 4, .data = bias ? bias->v : NULL };
    s->net = (nn_network){ .config.architecture = "test", .n_weight = bias ? 2 : 1, .n_module = 1, .weight = s->weight,
                           .module = &s->module };
}

static ag_tensor *leaf(ag_tape *t, int ndim, const int64_t *shape, const ag_real *data)
{
    ag_spec spec = { .ndim = ndim };
    memcpy(spec.shape, shape, (size_t)ndim * sizeof *shape);
    return ag_value(t, &spec, data);
}

static ag_tensor *golden_input(ag_tape *t, const char *word, const char *kind)
{
    const record *x = find(word, kind, "x");
    int32_t ids[4];
    for (int i = 0; i < 4; i++)
        ids[i] = (int32_t)x->v[i];
    if (strcmp(kind, "embedding") == 0)
        return ag_value(t, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { 4 } }, ids);
    return strcmp(kind, "conv") == 0 ? leaf(t, 4, (int64_t[]){ 2, 5, 4, 3 }, x->v) : leaf(t, 2, (int64_t[]){ 3, 5 }, x->v);
}

static void compare(const char *word, const char *kind, const char *part, const ag_tensor *x)
{
    const record *r = find(word, kind, part);
    int64_t n;
    ag_real *is = numbers_of(x, &n);
    expect(r && n == r->n, "%s.%s.%s has %d numbers, not %d", word, kind, part, (int)n, r ? r->n : -1);
    for (int64_t i = 0; i < n; i++)
        expect(test_close((double)is[i], (double)r->v[i], tolerance), "%s.%s.%s[%d] is %.10g; PEFT has %.10g", word, kind, part,
               (int)i,
               (double)is[i], (double)r->v[i]);
    free(is);
}

static void check_golden(const char *word, const char *kind)
{
    static const char *const names[] = { "a", "b", "third" }, *const targets[] = { "m" };
    bool rslora = strcmp(word, "rslora") == 0;
    ag_error err = { 0 };
    single s;
    make_single(&s, word, kind);
    meta_adapter *a = new_adapter(&s.net, &(meta_adapter_options){ .kind = rslora ? "lora" : word, .rslora = rslora, .rank = 2,
                                                                   .alpha = 3,
                                                                   .n_target = 1, .targets = targets });
    if (find(word, kind, "wide_a")) {
        memcpy(a->wide_a, find(word, kind, "wide_a")->v, sizeof(ag_real) * 10);
        memcpy(a->wide_b, find(word, kind, "wide_b")->v, sizeof(ag_real) * 8);
    }
    ag_tape *t = ag_tape_new(NULL, &err);
    ag_tensor *w[2], *p[4] = { NULL }, *g[4];
    for (int i = 0; i < s.net.n_weight; i++)
        w[i] = leaf(t, s.weight[i].ndim, s.weight[i].shape, s.weight[i].data);
    int n = meta_adapter_params(a);
    for (int i = 0; i < n; i++) {
        const nn_param *param = meta_adapter_param(a, i);
        expect(find(word, kind, names[i]) && find(word, kind, names[i])->n == param->numel, "%s.%s: parameter %d has %d numbers",
               word, kind, i, (int)param->numel);
        p[i] = leaf(t, param->ndim, param->shape, find(word, kind, names[i])->v);
    }
    meta_adapter_pass with = { .adapter = a, .params = p };
    nn_pass pass = { .t = t, .net = &s.net, .weight = w, .adapt = meta_adapter_apply, .ctx = &with };
    ag_tensor *x = golden_input(t, word, kind), *y = nn_module_apply(&pass, 0, x);
    compare(word, kind, "y", y);
    bool smooth = strcmp(kind, "embedding") != 0;
    p[n] = x;
    ag_tensor *c = y ? leaf(t, ag_ndim(y), ag_shape(y), find(word, kind, "c")->v) : NULL;
    ag_grad(t, y, c, n + smooth, p, g);
    expect(ag_tape_status(t, &err) == AG_OK, "%s.%s: %s", word, kind, err.message);
    for (int i = 0; i < n + smooth; i++) {
        char part[16];
        snprintf(part, sizeof part, "g%s", i < n ? names[i] : "x");
        compare(word, kind, part, g[i]);
    }
    ag_tape_free(t);
    meta_adapter_free(a);
}

/* Among them: DoRA's gradient, for which the length of a row is a constant. */
START_TEST(outputs_and_gradients_of_every_kind_on_every_module_are_those_of_peft)
{
    static const char *const words[] = { "lora", "rslora", "dora", "adalora", "vera" }, *const kinds[] = { "linear", "in_out",
            "embedding", "conv" };
    int n = 0;
    read_golden();
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 4; k++)
            if (find(words[i], kinds[k], "y")) {
                check_golden(words[i], kinds[k]);
                n++;
            }
    ck_assert_int_eq(n, 17);
    free(golden);
}
END_TEST

/* ---- networks ---- */

typedef struct variant {
    meta_adapter_options o;
    bool linear_only, embedding_too;
} variant;

static const variant variants[] = {
    { { .rank = 3 }, false, true },
    { { .rank = 3, .alpha = 2, .rslora = true, .init = "gaussian" }, false, true },
    { { .kind = "dora", .rank = 2 }, false, true },
    { { .kind = "adalora", .rank = 3 }, false, false },
    { { .kind = "vera", .rank = 4 }, true, false },
    { { .init = "pissa", .rank = 3 }, true, false },
    { { .init = "olora", .rank = 2, .alpha = 3 }, true, false },
    { { .init = "orthogonal", .rank = 4 }, true, false },
    { { .kind = "dora", .init = "pissa", .rank = 3 }, true, false },
};
enum { N_VARIANT = sizeof variants / sizeof *variants };

/* On everything the variant can be put on; NULL where the network has none of it. */
static meta_adapter *on_all(const nn_network *net, const variant *v)
{
    static const char *const conv[] = { "conv" };
    meta_adapter_options o = v->o;
    bool is_conv = strncmp(net->config.architecture, "conv", 4) == 0;
    if (is_conv && v->linear_only)
        return NULL;
    if (is_conv) {
        o.n_target = 1;
        o.targets = conv;
    } else {
        o.target_regex = v->embedding_too ? ".*" : "(?!.*(embed|wte|wpe|lm_head)).*";
    }
    return new_adapter(net, &o);
}

static double furthest(const ag_real *a, const ag_real *b, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]) / fmax(1, fabs((double)b[i])));
    return worst;
}

static void each_pair(void (*check)(const nn_network *net, const meta_adapter *a, const char *what))
{
    for (int i = 0; i < N_ARCHITECTURE; i++) {
        nn_network *net = tiny_network(architectures[i]);
        for (int v = 0; v < N_VARIANT; v++) {
            meta_adapter *a = on_all(net, &variants[v]);
            char what[64];
            snprintf(what, sizeof what, "%s, variant %d", architectures[i], v);
            if (a)
                check(net, a, what);
            meta_adapter_free(a);
        }
        nn_network_close(net);
    }
}

static void check_start(const nn_network *net, const meta_adapter *a, const char *what)
{
    network_input in = tiny_input(net);
    int64_t n, m;
    ag_real *values = adapter_values(a, 4, 0), *adapted = network_output(net, a, values, &in, &n), *base = network_output(net,
            NULL, NULL, &in, &m);
    expect(n == m && n > 0, "%s: %d numbers, %d of the base", what, (int)n, (int)m);
    expect(furthest(adapted, base, n) <= loose, "%s: drawn, it is %g from the base", what, furthest(adapted, base, n));
    free(values);
    free(adapted);
    free(base);
}

START_TEST(at_the_start_every_adapter_is_the_base)
{
    each_pair(check_start);
}
END_TEST

/* The network with merged weights, as a network. */
static ag_real *merged_output(const nn_network *net, const meta_adapter *a, const ag_real *values, int64_t *n)
{
    nn_network copy = *net;
    network_input in = tiny_input(net);
    ag_real **merged = calloc((size_t)meta_adapter_modules(a), sizeof *merged);
    copy.weight = malloc((size_t)net->n_weight * sizeof *copy.weight);
    memcpy(copy.weight, net->weight, (size_t)net->n_weight * sizeof *copy.weight);
    for (int i = 0; i < meta_adapter_modules(a); i++) {
        nn_weight *w = &copy.weight[net->module[meta_adapter_module(a, i)].weight];
        merged[i] = malloc((size_t)w->numel * sizeof **merged);
        ck_assert_int_eq(meta_adapter_merge(a, values, i, merged[i], NULL), AG_OK);
        w->data = merged[i];
    }
    ag_real *out = network_output(&copy, NULL, NULL, &in, n);
    for (int i = 0; i < meta_adapter_modules(a); i++)
        free(merged[i]);
    free(merged);
    free(copy.weight);
    return out;
}

static bool shares_a_weight(const nn_network *net, int module)
{
    for (int i = 0; i < net->n_module; i++)
        if (i != module && net->module[i].weight == net->module[module].weight)
            return true;
    return false;
}

/* Refused where the weight is another module's too, which is named. True if there was such a module. */
static bool refused_when_tied(const nn_network *net, const meta_adapter *a, const char *what)
{
    bool any = false;
    for (int i = 0; i < meta_adapter_modules(a); i++) {
        const int module = meta_adapter_module(a, i);
        ag_error err = { 0 };
        ag_real *values = adapter_values(a, 4, 0.2), *out = malloc((size_t)net->weight[net->module[module].weight].numel * sizeof *out);
        const bool shared = shares_a_weight(net, module);
        ag_code code = meta_adapter_merge(a, values, i, out, &err);
        expect(code == (shared ? AG_ECONFIG : AG_OK), "%s: %s: %s", what, net->module[module].name, ag_code_name(code));
        expect(!shared || (strstr(err.message, "lm_head") && strstr(err.message, "wte")), "%s: %s", what, err.message);
        any |= shared;
        free(values);
        free(out);
    }
    return any;
}

static void check_merge(const nn_network *net, const meta_adapter *a, const char *what)
{
    network_input in = tiny_input(net);
    int64_t n, m;
    if (refused_when_tied(net, a, what))
        return;
    ag_real *values = adapter_values(a, 4, 0.2), *adapted = network_output(net, a, values, &in, &n), *merged = merged_output(net,
            a, values, &m);
    ag_real *base = network_output(net, NULL, NULL, &in, &m);
    expect(furthest(adapted, merged, n) <= loose, "%s: merged, it is %g away", what, furthest(adapted, merged, n));
    expect(furthest(adapted, base, n) > 1e-2, "%s: the adapter does nothing", what);
    free(values);
    free(adapted);
    free(merged);
    free(base);
}

START_TEST(merged_weights_do_what_the_adapter_does)
{
    each_pair(check_merge);
}
END_TEST

START_TEST(merged_minus_the_product_is_the_base)
{
    nn_network *net = tiny_network("bert");
    meta_adapter *a = new_adapter(net, &(meta_adapter_options){ .rank = 3, .alpha = 5 });
    ag_real *values = adapter_values(a, 1, 0.3), merged[64];
    for (int i = 0; i < meta_adapter_modules(a); i++) {
        const nn_weight *w = &net->weight[net->module[meta_adapter_module(a, i)].weight];
        const ag_real *va = values + meta_adapter_param(a, 2 * i)->offset, *vb = values + meta_adapter_param(a, 2 * i + 1)->offset;
        ck_assert_int_eq(meta_adapter_merge(a, values, i, merged, NULL), AG_OK);
        for (int j = 0; j < 64; j++) {
            double product = 0;
            for (int k = 0; k < 3; k++)
                product += (double)vb[j / 8 * 3 + k] * (double)va[k * 8 + j % 8] * 5 / 3;
            expect(test_close((double)merged[j] - product, (double)w->data[j], 1e-6), "module %d, number %d", i, j);
        }
    }
    ag_error err = { 0 };
    ck_assert_int_eq(meta_adapter_merge(a, values, 99, merged, &err), AG_EINVAL);
    free(values);
    meta_adapter_free(a);
    nn_network_close(net);
}
END_TEST

START_TEST(parameters_are_named_and_placed_as_peft_names_them)
{
    static const struct { const char *kind, *names[3]; } expected[] = {
        { "lora", { "encoder.layer.0.attention.self.query.lora_A.weight", "encoder.layer.0.attention.self.query.lora_B.weight",
                    NULL } },
        { "dora", { "encoder.layer.0.attention.self.query.lora_A.weight", "encoder.layer.0.attention.self.query.lora_B.weight",
                    "encoder.layer.0.attention.self.query.lora_magnitude_vector" } },
        { "adalora", { "encoder.layer.0.attention.self.query.lora_A", "encoder.layer.0.attention.self.query.lora_B",
                       "encoder.layer.0.attention.self.query.lora_E" } },
        { "vera", { "encoder.layer.0.attention.self.query.vera_lambda_b", "encoder.layer.0.attention.self.query.vera_lambda_d",
                    NULL } },
    };
    nn_network *net = tiny_network("bert");
    for (int k = 0; k < 4; k++) {
        meta_adapter *a = new_adapter(net, &(meta_adapter_options){ .kind = expected[k].kind, .lr_ratio = 16 });
        int64_t offset = 0;
        for (int i = 0; i < 3 && expected[k].names[i]; i++)
            ck_assert_str_eq(meta_adapter_param(a, i)->name, expected[k].names[i]);
        for (int i = 0; i < meta_adapter_params(a); i++) {
            ck_assert_int_eq(meta_adapter_param(a, i)->offset, offset);
            ck_assert(meta_adapter_param(a, i)->adapter);
            offset += meta_adapter_param(a, i)->numel;
        }
        ck_assert_int_eq(meta_adapter_values(a), offset);
        ck_assert_int_eq(meta_adapter_modules(a), 4);
        ck_assert_ptr_eq(meta_adapter_network(a), net);
        ck_assert_int_eq(meta_adapter_describe(a)->rank, k == 3 ? 256 : k == 2 ? 12 : 8);
        ck_assert(meta_adapter_describe(a)->alpha == 8 && meta_adapter_rate(a, 0) == 1);
        ck_assert(meta_adapter_rate(a, 1) == (k == 3 ? 1 : 16));
        ck_assert(k != 1 || meta_adapter_rate(a, 2) == 16);
        meta_adapter_free(a);
    }
    nn_network_close(net);
}
END_TEST

/* ---- dropout ---- */

static ag_real *with_seed(const nn_network *net, const meta_adapter *a, const ag_real *values, const int32_t *seed)
{
    network_input in = tiny_input(net);
    recording r;
    int64_t n;
    record_network(&r, net, a, values, &in, seed);
    ag_real *y = numbers_of(r.hidden, &n);
    recording_release(&r);
    return y;
}

START_TEST(dropout_is_a_function_of_the_seed_and_absent_without_one)
{
    static const char *const kinds[] = { "lora", "dora", "adalora", "vera" };
    nn_network *net = tiny_network("bert");
    int64_t n = 8 * 8;
    for (int k = 0; k < 4; k++) {
        meta_adapter *a = new_adapter(net, &(meta_adapter_options){ .kind = kinds[k], .rank = 4, .dropout = 0.5 });
        meta_adapter *plain = new_adapter(net, &(meta_adapter_options){ .kind = kinds[k], .rank = 4 });
        ag_real *values = adapter_values(a, 1, 0.5), *one = with_seed(net, a, values, (int32_t[]){ 1, 2 });
        ag_real *again = with_seed(net, a, values, (int32_t[]){ 1, 2 }), *other = with_seed(net, a, values, (int32_t[]){ 1, 3 });
        ag_real *none = with_seed(net, a, values, NULL), *without = with_seed(net, plain, values, (int32_t[]){ 1, 2 });
        ck_assert(furthest(one, again, n) == 0 && furthest(none, without, n) == 0);
        ck_assert(furthest(one, other, n) > 1e-3 && furthest(one, none, n) > 1e-3);
        free(values), free(one), free(again), free(other), free(none), free(without);
        meta_adapter_free(a);
        meta_adapter_free(plain);
    }
    nn_network_close(net);
}
END_TEST

/* The mask itself, written out: y = base + scale B A (mask * x). */
START_TEST(the_mask_falls_on_the_adapters_input_only)
{
    static const char *const targets[] = { "m" };
    ag_real w[20], x[15], p[18], mask[15], y[12], base[12];
    for (int i = 0; i < 20; i++)
        w[i] = (ag_real)(i % 7 - 3) / 4;
    for (int i = 0; i < 18; i++)
        p[i] = (ag_real)(i % 5 - 2) / 3;
    for (int i = 0; i < 15; i++)
        x[i] = (ag_real)(i % 4 - 1) / 2;
    single s = { .weight = { { .ndim = 2, .shape = { 4, 5 }, .numel = 20, .data = w } }, .module = { .name = "m",
            .kind = NN_LINEAR, .bias = -1, .in = 5, .out = 4 } };
    s.net = (nn_network){ .n_weight = 1, .n_module = 1, .weight = s.weight, .module = &s.module };
    meta_adapter *a = new_adapter(&s.net, &(meta_adapter_options){ .rank = 2, .alpha = 3, .dropout = 0.4, .n_target = 1,
                                                                   .targets = targets });
    ag_tape *t = ag_tape_new(NULL, NULL);
    ag_tensor *weights[] = { leaf(t, 2, s.weight[0].shape, w) }, *xs = leaf(t, 2, (int64_t[]){ 3, 5 }, x);
    ag_tensor *params[] = { leaf(t, 2, (int64_t[]){ 2, 5 }, p), leaf(t, 2, (int64_t[]){ 4, 2 }, p + 10) };
    meta_adapter_pass with = { .adapter = a, .params = params, .seed = ag_value(t, &(ag_spec){ .dtype = AG_INT, .ndim = 1,
            .shape = { 2 } }, (int32_t[]){ 5, 6 }) };
    nn_pass pass = { .t = t, .net = &s.net, .weight = weights, .adapt = meta_adapter_apply, .ctx = &with };
    ag_read(nn_module_apply(&pass, 0, xs), y);
    ag_read(nn_module_base(&pass, 0, xs), base);
    ag_read(ag_dropout_mask(t, with.seed, 2, (int64_t[]){ 3, 5 }, 0.4, 0), mask);
    int kept = 0;
    for (int i = 0; i < 15; i++)
        kept += mask[i] != 0;
    ck_assert(kept > 0 && kept < 15);
    for (int j = 0; j < 3; j++)
        for (int o = 0; o < 4; o++) {
            double sum = 0;
            for (int k = 0; k < 2; k++)
                for (int i = 0; i < 5; i++)
                    sum += 1.5 * (double)p[10 + o * 2 + k] * (double)p[k * 5 + i] * (double)mask[j * 5 + i] * (double)x[j * 5 + i];
            ck_close((double)y[j * 4 + o], (double)base[j * 4 + o] + sum, 1e-6);
        }
    ag_tape_free(t);
    meta_adapter_free(a);
}
END_TEST

/* ---- per task, and second order ---- */

/* Adapters of three tasks in one recording give what each gives alone. */
START_TEST(tasks_have_adapters_of_their_own_on_a_shared_base)
{
    static const char *const targets[] = { "m" };
    for (int kind = 0; kind < 4; kind++) {
        ag_real w[20], x[15], p[3 * 32], y[36], alone[12];
        for (int i = 0; i < 96; i++)
            p[i] = (ag_real)(i * 29 % 23 - 11) / 9;
        for (int i = 0; i < 20; i++)
            w[i] = (ag_real)(i % 7 - 3) / 4 + (ag_real)0.1;
        for (int i = 0; i < 15; i++)
            x[i] = (ag_real)(i % 4 - 1) / 2;
        single s = { .weight = { { .ndim = 2, .shape = { 4, 5 }, .numel = 20, .data = w } }, .module = { .name = "m",
                .kind = NN_LINEAR, .bias = -1, .in = 5, .out = 4 } };
        s.net = (nn_network){ .n_weight = 1, .n_module = 1, .weight = s.weight, .module = &s.module };
        meta_adapter *a = new_adapter(&s.net, &(meta_adapter_options){ .kind = meta_kind_names[kind], .rank = 2, .n_target = 1,
                                                                       .targets = targets });
        for (int task = -1; task < 3; task++) {
            int n_task = task < 0 ? 3 : 1, n = meta_adapter_params(a);
            ag_tape *t = ag_tape_new(&(ag_tape_options){ .n_task = n_task }, NULL);
            ag_tensor *weights[] = { leaf(t, 2, s.weight[0].shape, w) }, *params[3];
            for (int i = 0; i < n; i++) {
                const nn_param *q = meta_adapter_param(a, i);
                ag_spec spec = { .tasks = task < 0, .ndim = q->ndim, .shape = { q->shape[0], q->shape[1] } };
                params[i] = ag_value(t, &spec, p + 3 * q->offset + (task < 0 ? 0 : task * q->numel));
            }
            meta_adapter_pass with = { .adapter = a, .params = params };
            nn_pass pass = { .t = t, .net = &s.net, .weight = weights, .adapt = meta_adapter_apply, .ctx = &with };
            ck_assert_int_eq(ag_read(nn_module_apply(&pass, 0, leaf(t, 2, (int64_t[]){ 3, 5 }, x)), task < 0 ? y : alone), AG_OK);
            for (int i = 0; task >= 0 && i < 12; i++)
                ck_close((double)y[task * 12 + i], (double)alone[i], 1e-5);
            ag_tape_free(t);
        }
        meta_adapter_free(a);
    }
}
END_TEST

/* ---- what cannot be ---- */

static void refused(const nn_network *net, const meta_adapter_options *o, const char *word)
{
    ag_error err = { 0 };
    meta_adapter *a;
    ag_code code = meta_adapter_new(&a, net, o, &err);
    expect(code == AG_ECONFIG && !a, "%s: %s '%s'", word, ag_code_name(code), err.message);
    expect(strstr(err.message, word), "'%s' does not say '%s'", err.message, word);
}

START_TEST(options_that_cannot_be_are_refused_by_name)
{
    static const char *const word[] = { "word_embeddings" }, *const conv[] = { "conv" }, *const query[] = { "query" }, *const head[] = { "lm_head" };
    nn_network *bert = tiny_network("bert"), *image = tiny_network("conv2d"), *gpt2 = tiny_network("gpt2");
#define WITH(...) &(meta_adapter_options){ __VA_ARGS__ }
    refused(bert, WITH(.kind = "qlora"), "'qlora'; one of lora, dora, adalora, vera");
    refused(bert, WITH(.init = "zero"), "init is 'zero'");
    refused(bert, WITH(.rank = -1), "rank is -1");
    refused(bert, WITH(.alpha = -2), "alpha is -2");
    refused(bert, WITH(.alpha = NAN), "alpha is");
    refused(bert, WITH(.dropout = 1), "dropout is 1");
    refused(bert, WITH(.lr_ratio = -1), "lr_ratio");
    refused(bert, WITH(.kind = "vera", .n_target = 1, .targets = word),
            "vera cannot be put on 'embeddings.word_embeddings', an embedding");
    refused(bert, WITH(.kind = "adalora", .n_target = 1, .targets = word), "adalora cannot be put on");
    refused(image, WITH(.kind = "vera", .n_target = 1, .targets = conv), "a convolution");
    refused(bert, WITH(.init = "pissa", .n_target = 1, .targets = word), "init pissa is for linear modules");
    refused(image, WITH(.init = "olora", .n_target = 1, .targets = conv), "init olora is for linear modules");
    refused(bert, WITH(.init = "pissa", .rank = 9, .n_target = 1, .targets = query), "rank 9");
    refused(bert, WITH(.init = "orthogonal", .rank = 3), "even rank");
    refused(gpt2, WITH(.init = "pissa", .n_target = 1, .targets = head), "shares the weight");
    refused(bert, WITH(.kind = "vera", .init = "pissa"), "vera has one of its own");
    refused(bert, WITH(.kind = "adalora", .rslora = true), "rslora is for lora and dora");
    refused(bert, WITH(.kind = "vera", .n_rank_pattern = 1, .rank_pattern = &(meta_pattern){ "query", 2 }),
            "rank_pattern and alpha_pattern");
    refused(bert, WITH(.n_rank_pattern = 1, .rank_pattern = &(meta_pattern){ "query", 2.5 }),
            "rank of 'encoder.layer.0.attention.self.query' is 2.5");
    refused(bert, WITH(.n_rank_pattern = 1, .rank_pattern = &(meta_pattern){ "query(", 2 }), "'(.*\\.)?(query()' at character");
    refused(bert, WITH(.target_regex = ".*query", .n_target = 1, .targets = query), "both target names and a target expression");
    refused(bert, WITH(.target_regex = ".*query", .n_layer = 1, .layers = (int64_t[]){ 0 }), "layers");
    refused(image, WITH(.rank = 2), "'conv2d' has no usual targets");
#undef WITH
    nn_network_close(bert);
    nn_network_close(image);
    nn_network_close(gpt2);
}
END_TEST

/* ---- torture ---- */

static long countdown;   /* 0: never fails */

static void *failing_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    if (countdown > 0 && --countdown == 0)
        return NULL;
    return aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
}

static void failing_release(void *p, void *ctx)
{
    (void)ctx;
    free(p);
}

START_TEST(an_allocation_that_fails_is_reported_and_nothing_is_lost)
{
    static const char *const pattern[] = { ".*query" };
    ag_set_allocator(&(ag_allocator){ failing_alloc, failing_release, NULL });
    nn_network *net = tiny_network("bert");
    for (int v = 0; v < N_VARIANT; v++)
        for (long n = 1;; n++) {
            meta_adapter_options o = variants[v].o;
            ag_error err = { 0 };
            meta_adapter *a = NULL;
            o.target_regex = pattern[0];
            o.n_alpha_pattern = strcmp(o.kind ? o.kind : "lora", "lora") == 0;
            o.alpha_pattern = &(meta_pattern){ "1.*", 3 };
            countdown = n;
            ag_code code = meta_adapter_new(&a, net, &o, &err);
            bool through = countdown > 0;
            countdown = 0;
            meta_adapter_free(a);
            expect(code == (through ? AG_OK : AG_ENOMEM), "variant %d, allocation %ld: %s '%s'", v, n, ag_code_name(code),
                   err.message);
            expect(!through || n > 5, "variant %d: only %ld allocations", v, n - 1);
            if (through)
                break;
        }
    nn_network_close(net);
    ag_set_allocator(NULL);
}
END_TEST

TEST_MAIN(outputs_and_gradients_of_every_kind_on_every_module_are_those_of_peft, at_the_start_every_adapter_is_the_base,
          merged_weights_do_what_the_adapter_does, merged_minus_the_product_is_the_base,
          parameters_are_named_and_placed_as_peft_names_them, dropout_is_a_function_of_the_seed_and_absent_without_one,
          the_mask_falls_on_the_adapters_input_only, tasks_have_adapters_of_their_own_on_a_shared_base,
          options_that_cannot_be_are_refused_by_name, an_allocation_that_fails_is_reported_and_nothing_is_lost)
