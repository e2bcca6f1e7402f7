/* Making an adapter: options, modules, parameters (adapter.h). */
#include "meta/adapter_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const meta_kind_names[META_N_KIND] = { "lora", "dora", "adalora", "vera" };
const char *const meta_start_names[META_N_START] = { "default", "gaussian", "pissa", "olora", "orthogonal" };

/* ---- options ---- */

static ag_code name_of(const char *what, const char *value, int n, const char *const *names, int *found, ag_error *err)
{
    char list[128] = "";
    *found = 0;
    if (!value)
        return AG_OK;
    for (; *found < n; ++*found) {
        if (strcmp(value, names[*found]) == 0)
            return AG_OK;
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", *found ? ", " : "", names[*found]);
    }
    return ag_fail(err, AG_ECONFIG, "adapter: %s is '%s'; one of %s is expected", what, value, list);
}

static ag_code check_ranges(const meta_adapter_options *o, ag_error *err)
{
    AG_REQUIRE(o->rank >= 0, err, AG_ECONFIG, "adapter: rank is %lld; at least 1 is expected", (long long)o->rank);
    AG_REQUIRE(o->alpha >= 0 && isfinite(o->alpha), err, AG_ECONFIG, "adapter: alpha is %g; a number above 0 is expected",
               o->alpha);
    AG_REQUIRE(o->dropout >= 0 && o->dropout < 1, err, AG_ECONFIG, "adapter: dropout is %g; 0 <= dropout < 1 is expected",
               o->dropout);
    AG_REQUIRE(o->lr_ratio >= 0 && isfinite(o->lr_ratio), err, AG_ECONFIG, "adapter: lr_ratio is %g; a number above 0 is expected",
               o->lr_ratio);
    AG_REQUIRE(isfinite(o->vera_d_initial), err, AG_ECONFIG, "adapter: vera_d_initial is not finite");
    AG_REQUIRE(!o->target_regex || !o->n_target, err, AG_ECONFIG,
               "adapter: both target names and a target expression are given; one of them is expected");
    AG_REQUIRE(!o->target_regex || !o->n_layer, err, AG_ECONFIG,
               "adapter: layers do not go with a target expression: the expression can name them");
    return AG_OK;
}

static ag_code check_kind(const meta_adapter *a, ag_error *err)
{
    const meta_adapter_options *o = &a->options;
    const char *kind = meta_kind_names[a->kind];
    if (a->kind == META_LORA || a->kind == META_DORA)
        return AG_OK;
    AG_REQUIRE(a->start == META_DEFAULT, err, AG_ECONFIG, "adapter: init '%s' is for lora and dora; %s has one of its own",
               o->init, kind);
    AG_REQUIRE(!o->rslora, err, AG_ECONFIG, "adapter: rslora is for lora and dora, not for %s", kind);
    AG_REQUIRE(!o->n_rank_pattern && !o->n_alpha_pattern, err, AG_ECONFIG,
               "adapter: rank_pattern and alpha_pattern are for lora and dora, not for %s", kind);
    return AG_OK;
}

/* Copies into one block: the first pass, with at NULL, counts. */
typedef struct bump {
    char *at;
    size_t used;
} bump;

static void *take(bump *b, const void *from, size_t bytes)
{
    char *to = b->at ? b->at + b->used : NULL;
    if (to && bytes)
        memcpy(to, from, bytes);
    b->used += (bytes + 15) / 16 * 16;
    return to;
}

static const char *take_text(bump *b, const char *s)
{
    return s ? take(b, s, strlen(s) + 1) : NULL;
}

static const char *const *take_list(bump *b, int n, const char *const *from)
{
    const char **to = take(b, from, (size_t)n * sizeof *from);
    for (int i = 0; i < n; i++) {
        const char *s = take_text(b, from[i]);
        if (to)
            to[i] = s;
    }
    return to;
}

static const meta_pattern *take_patterns(bump *b, int n, const meta_pattern *from)
{
    meta_pattern *to = take(b, from, (size_t)n * sizeof *from);
    for (int i = 0; i < n; i++) {
        const char *s = take_text(b, from[i].pattern);
        if (to)
            to[i].pattern = s;
    }
    return to;
}

static void copy_options(bump *b, meta_adapter_options *to, const meta_adapter_options *from)
{
    *to = *from;
    to->kind = take_text(b, from->kind);
    to->init = take_text(b, from->init);
    to->targets = take_list(b, from->n_target, from->targets);
    to->target_regex = take_text(b, from->target_regex);
    to->exclude = take_list(b, from->n_exclude, from->exclude);
    to->layers = take(b, from->layers, (size_t)from->n_layer * sizeof *from->layers);
    to->rank_pattern = take_patterns(b, from->n_rank_pattern, from->rank_pattern);
    to->alpha_pattern = take_patterns(b, from->n_alpha_pattern, from->alpha_pattern);
}

/* PEFT's table of usual targets. */
static ag_code default_targets(const nn_network *net, meta_adapter_options *o, ag_error *err)
{
    static const char *const bert[] = { "query", "value" }, *const llama[] = { "q_proj", "v_proj" }, *const gpt2[] = { "c_attn" };
    const char *arch = net->config.architecture;
    if (o->n_target || o->target_regex)
        return AG_OK;
    bool is_gpt2 = strcmp(arch, "gpt2") == 0, is_bert = strcmp(arch, "bert") == 0;
    AG_REQUIRE(is_gpt2 || is_bert || strcmp(arch, "llama") == 0 || strcmp(arch, "moe") == 0, err, AG_ECONFIG,
               "adapter: a network of type '%s' has no usual targets: they must be named", arch);
    o->n_target = is_gpt2 ? 1 : 2;
    o->targets = is_gpt2 ? gpt2 : is_bert ? bert : llama;
    return AG_OK;
}

static ag_code resolve(meta_adapter *a, const meta_adapter_options *given, ag_error *err)
{
    meta_adapter_options o = *given;
    int kind, start;
    AG_TRY(err, name_of("kind", o.kind, META_N_KIND, meta_kind_names, &kind, err));
    AG_TRY(err, name_of("init", o.init, META_N_START, meta_start_names, &start, err));
    AG_TRY(err, check_ranges(&o, err));
    AG_TRY(err, default_targets(a->net, &o, err));
    a->kind = (meta_kind)kind;
    a->start = (meta_start)start;
    o.kind = meta_kind_names[kind];
    o.init = meta_start_names[start];
    o.rank = o.rank ? o.rank : a->kind == META_VERA ? 256 : a->kind == META_ADALORA ? 12 : 8;
    o.alpha = o.alpha > 0 ? o.alpha : 8;
    o.lr_ratio = o.lr_ratio > 0 ? o.lr_ratio : 1;
    o.vera_d_initial = o.vera_d_initial != 0 ? o.vera_d_initial : 0.1;
    bump b = { 0 };
    copy_options(&b, &a->options, &o);
    b = (bump){ .at = ag_alloc(b.used) };
    AG_REQUIRE(b.at, err, AG_ENOMEM, "adapter: no memory for its options");
    a->text = b.at;
    copy_options(&b, &a->options, &o);
    return check_kind(a, err);
}

/* ---- modules ---- */

static const char *const kind_words[] = { "a linear module", "a linear module", "an embedding", "a convolution" };

static ag_code check_module(const meta_adapter *a, const meta_adapted *m, ag_error *err)
{
    const char *name = a->net->module[m->module].name;
    bool linear = m->kind == NN_LINEAR || m->kind == NN_LINEAR_IN_OUT;
    bool fits = a->kind == META_VERA ? linear : a->kind == META_ADALORA ? m->kind != NN_EMBEDDING : true;
    AG_REQUIRE(fits, err, AG_ECONFIG, "adapter: %s cannot be put on '%s', %s", a->options.kind, name, kind_words[m->kind]);
    AG_REQUIRE(linear || a->start == META_DEFAULT || a->start == META_GAUSSIAN, err, AG_ECONFIG,
               "adapter: init %s is for linear modules; '%s' is %s", a->options.init, name, kind_words[m->kind]);
    bool factors = a->start == META_PISSA || a->start == META_OLORA;
    for (int i = 0; factors && i < a->net->n_module; i++)
        AG_REQUIRE(i == m->module || a->net->module[i].weight != a->net->module[m->module].weight, err, AG_ECONFIG,
                   "adapter: init %s would change '%s' too, which shares the weight of '%s'", a->options.init, a->net->module[i].name, name);
    int64_t side = m->in < m->out ? m->in : m->out;
    AG_REQUIRE(!factors || m->rank <= side, err, AG_ECONFIG, "adapter: init %s takes rank %lld out of '%s', which has at most %lld",
               a->options.init, (long long)m->rank, name, (long long)side);
    AG_REQUIRE(a->start != META_ORTHOGONAL || (m->rank % 2 == 0 && m->rank <= META_ORTHOGONAL_RANK), err, AG_ECONFIG,
               "adapter: init orthogonal needs an even rank of at most %d; '%s' has %lld", META_ORTHOGONAL_RANK, name, (long long)m->rank);
    return AG_OK;
}

static ag_code set_rank(const meta_adapter *a, meta_adapted *m, ag_error *err)
{
    const meta_adapter_options *o = &a->options;
    const char *name = a->net->module[m->module].name;
    double rank, alpha;
    AG_TRY(err, meta_pattern_value(o->n_rank_pattern, o->rank_pattern, name, (double)o->rank, &rank, err));
    AG_TRY(err, meta_pattern_value(o->n_alpha_pattern, o->alpha_pattern, name, o->alpha, &alpha, err));
    AG_REQUIRE(rank >= 1 && rank <= 1 << 20 && rank == floor(rank), err, AG_ECONFIG,
               "adapter: rank of '%s' is %g; a whole number of at least 1 is expected", name, rank);
    AG_REQUIRE(isfinite(alpha), err, AG_ECONFIG, "adapter: alpha of '%s' is not finite", name);
    m->rank = (int64_t)rank;
    m->scale = a->kind == META_VERA ? 1 : a->kind == META_ADALORA ? alpha / (rank + 1e-5) : alpha / (o->rslora ? sqrt(rank) : rank);
    return AG_OK;
}

static ag_code set_module(meta_adapter *a, int module, ag_error *err)
{
    const nn_module *from = &a->net->module[module];
    meta_adapted *m = &a->module[a->n_module];
    const nn_weight *w = &a->net->weight[from->weight];
    *m = (meta_adapted){ .module = module, .kind = from->kind, .in = from->in, .out = from->out };
    if (from->kind == NN_CONV)
        m->in = w->shape[0] * w->shape[1] * w->shape[2];
    AG_TRY(err, set_rank(a, m, err));
    a->of_module[module] = a->n_module++;
    return check_module(a, m, err);
}

static ag_code set_modules(meta_adapter *a, bool lenient, ag_error *err)
{
    int n = 0, n_all = a->net->n_module;
    bool *chosen = ag_alloc_zero((size_t)(n_all + 1) * sizeof *chosen);
    ag_code code = chosen ? meta_adapter_choose(a->net, &a->options, lenient, chosen, &n, err) : ag_fail(err, AG_ENOMEM,
            "adapter: no memory");
    a->module = ag_alloc_zero((size_t)(n + 1) * sizeof *a->module);
    a->of_module = ag_alloc((size_t)(n_all + 1) * sizeof *a->of_module);
    a->param = ag_alloc_zero((size_t)(3 * n + 1) * sizeof *a->param);
    if (code == AG_OK && (!a->module || !a->of_module || !a->param))
        code = ag_fail(err, AG_ENOMEM, "adapter: no memory for %d modules", n);
    for (int i = 0; code == AG_OK && i < n_all; i++) {
        a->of_module[i] = -1;
        if (chosen[i])
            code = set_module(a, i, err);
    }
    ag_free(chosen);
    return code;
}

/* ---- parameters ---- */

static void add_param(meta_adapter *a, const meta_adapted *m, const char *part, int ndim, const int64_t *shape, nn_init init,
                      double scale)
{
    nn_param *p = &a->param[a->n_param++];
    *p = (nn_param){ .ndim = ndim, .offset = a->n_value, .numel = 1, .init = init, .scale = scale, .adapter = true };
    snprintf(p->name, sizeof p->name, "%s.%s", a->net->module[m->module].name, part);
    for (int i = 0; i < ndim; i++) {
        p->shape[i] = shape[i];
        p->numel *= shape[i];
    }
    a->n_value += p->numel;
}

/* Convolutions have A as the engine convolves, embeddings as it gathers: [kh, kw, c_in, r] and [count, r]. */
static void add_a(meta_adapter *a, const meta_adapted *m)
{
    const int64_t *w = a->net->weight[a->net->module[m->module].weight].shape;
    double bound = 1 / sqrt((double)m->in);
    bool normal = a->kind == META_ADALORA || a->start == META_GAUSSIAN;
    nn_init init = normal ? NN_NORMAL : NN_UNIFORM;
    double scale = a->kind == META_ADALORA ? 0.02 : normal ? 1 / (double)m->rank : bound;
    const char *part = a->kind == META_ADALORA ? "lora_A" : "lora_A.weight";
    if (m->kind == NN_CONV)
        add_param(a, m, part, 4, (int64_t[]){ w[0], w[1], w[2], m->rank }, init, scale);
    else if (m->kind == NN_EMBEDDING)
        add_param(a, m, "lora_embedding_A", 2, (int64_t[]){ m->in, m->rank }, NN_ZEROS, 0);
    else
        add_param(a, m, part, 2, (int64_t[]){ m->rank, m->in }, init, scale);
}

static void add_b(meta_adapter *a, const meta_adapted *m)
{
    int64_t shape[] = { m->out, m->rank };
    if (m->kind == NN_EMBEDDING)
        add_param(a, m, "lora_embedding_B", 2, shape, NN_NORMAL, 1);
    else if (a->kind == META_ADALORA)
        add_param(a, m, "lora_B", 2, shape, NN_NORMAL, 0.02);
    else
        add_param(a, m, "lora_B.weight", 2, shape, NN_ZEROS, 0);
}

static void add_params(meta_adapter *a, meta_adapted *m)
{
    m->first = a->n_param;
    if (a->kind == META_VERA) {
        add_param(a, m, "vera_lambda_b", 1, &m->out, NN_ZEROS, 0);
        add_param(a, m, "vera_lambda_d", 1, &m->rank, NN_ONES, 0);
        return;
    }
    add_a(a, m);
    add_b(a, m);
    if (a->kind == META_DORA)
        add_param(a, m, "lora_magnitude_vector", 1, &m->out, NN_ONES, 0);
    if (a->kind == META_ADALORA)
        add_param(a, m, "lora_E", 2, (int64_t[]){ m->rank, 1 }, NN_ZEROS, 0);
}

/* ---- the whole ---- */

static ag_code build(meta_adapter *a, const meta_adapter_options *o, bool lenient, ag_error *err)
{
    AG_TRY(err, resolve(a, o, err));
    AG_TRY(err, set_modules(a, lenient, err));
    for (int i = 0; i < a->n_module; i++)
        add_params(a, &a->module[i]);
    return meta_adapter_prepare(a, err);
}

ag_code meta_adapter_make(meta_adapter **out, const nn_network *net, const meta_adapter_options *o, bool lenient, ag_error *err)
{
    *out = NULL;
    meta_adapter *a = ag_alloc_zero(sizeof *a);
    AG_REQUIRE(a, err, AG_ENOMEM, "adapter: no memory");
    a->net = net;
    ag_code code = build(a, o, lenient, err);
    if (code == AG_OK)
        *out = a;
    else
        meta_adapter_free(a);
    return ag_trail(err, code, __func__);
}

ag_code meta_adapter_new(meta_adapter **a, const nn_network *net, const meta_adapter_options *o, ag_error *err)
{
    return meta_adapter_make(a, net, o, false, err);
}

void meta_adapter_free(meta_adapter *a)
{
    if (!a)
        return;
    for (int i = 0; i < a->n_module; i++) {
        ag_free(a->module[i].residual);
        ag_free(a->module[i].start);
    }
    ag_free(a->module);
    ag_free(a->of_module);
    ag_free(a->param);
    ag_free(a->wide_a);
    ag_free(a->wide_b);
    ag_free(a->text);
    ag_free(a);
}

const meta_adapter_options *meta_adapter_describe(const meta_adapter *a) { return &a->options; }
const nn_network *meta_adapter_network(const meta_adapter *a) { return a->net; }
int meta_adapter_params(const meta_adapter *a) { return a->n_param; }
const nn_param *meta_adapter_param(const meta_adapter *a, int i) { return &a->param[i]; }
int64_t meta_adapter_values(const meta_adapter *a) { return a->n_value; }
int meta_adapter_modules(const meta_adapter *a) { return a->n_module; }
int meta_adapter_module(const meta_adapter *a, int i) { return a->module[i].module; }

const ag_real *meta_adapter_weight(const meta_adapter *a, int weight)
{
    for (int i = 0; i < a->n_module; i++)
        if (a->net->module[a->module[i].module].weight == weight)
            return a->module[i].residual;
    return NULL;
}

/* As PEFT's LoRA+ groups: B and vectors fast, A and an embedding's factors at the plain rate. */
double meta_adapter_rate(const meta_adapter *a, int i)
{
    const char *name = a->param[i].name;
    size_t n = strlen(name), part = strlen(".lora_magnitude_vector");
    bool fast = strstr(name, ".lora_B") || (n > part && strcmp(name + n - part, ".lora_magnitude_vector") == 0);
    return fast ? a->options.lr_ratio : 1;
}
