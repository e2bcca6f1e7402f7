/* Networks against transformers and PyTorch (golden_networks.py): hidden states, logits, features, gradients and Hessian times
 * vector of every weight; whatever the packing; and the programs and tasks of the engine. Opening is in test_network_open.c.
 *
 *     models_networks run PATH           the driver of live_networks.py: reads "n length ids..." a text from stdin until its
 *                                        end, writes hidden states, and logits if there are any, as float64 to stdout
 *     models_networks generate PATH N    greedy text behind the one token 1: N ids, one a line */
#include "tests/models/network_runs.h"

#ifdef AG_DOUBLE
#define VALUE 1e-10
#define SLOPE 1e-10
#else
#define VALUE 1e-5
#define SLOPE 1e-4
#endif

/* Beside this file, or those that live_networks.py has just made. */
static void golden_path(char path[600], const char *name, const char *file)
{
    const char *dir = getenv("NETWORKS_DIR");
    snprintf(path, 600, "%s/golden_networks/%s%s", dir ? dir : TEST_DIR, name, file);
}

/* GGUF has the norm's epsilon in float32: 1e-5 becomes 9.99999975e-6. */
static double tolerance(const nn_network *net, double usual)
{
    return strstr(net->path, ".gguf") ? fmax(usual, 1e-8) : usual;
}

typedef struct golden {
    nn_weights *file;
    texts texts;
} golden;

static ag_real *numbers(const golden *g, const char *name, int64_t *n)
{
    const nn_stored *s = nn_weights_find(g->file, name);
    if (n)
        *n = s ? s->numel : 0;
    if (!s)
        return NULL;
    ag_real *x = malloc((size_t)s->numel * sizeof *x);
    ck_assert(x && nn_stored_read(s, x, NULL) == AG_OK);
    return x;
}

static void read_texts(golden *g)
{
    int64_t n = 0, count = 0;
    ag_real *ids = numbers(g, "ids", &n), *lengths = numbers(g, "lengths", &count);
    for (int64_t i = 0; i < n; i++)
        g->texts.ids[i] = (int32_t)ids[i];
    for (int64_t i = 0; i < count; i++) {
        g->texts.start[i] = g->texts.total;
        g->texts.length[i] = (int64_t)lengths[i];
        g->texts.total += g->texts.length[i];
    }
    g->texts.n = (int)count;
    free(ids);
    free(lengths);
}

static golden read_golden(const char *name)
{
    char path[600];
    golden g = { 0 };
    ag_error err = { 0 };
    golden_path(path, name, "/golden.safetensors");
    ck_assert_msg(nn_weights_open(&g.file, path, &err) == AG_OK, "%s", err.message);
    read_texts(&g);
    return g;
}

/* The first rows of y are the numbers `name` of the file, if it has them. Returns false if not. */
static bool compare(run *r, const golden *g, const char *name, ag_tensor *y)
{
    int64_t n;
    ag_real *want = numbers(g, name, &n);
    if (!want)
        return false;
    ag_real *is = run_numbers(r, y);
    ck_assert(ag_numel(y) >= n);
    for (int64_t i = 0; i < n; i++)
        expect(test_close(is[i], want[i], tolerance(r->pass.net, VALUE)), "%s %s %lld: %.12g, golden %.12g", r->pass.net->path, name, (long long)i, is[i], want[i]);
    free(want);
    free(is);
    return true;
}

static ag_tensor *wave(run *r, const ag_tensor *like, double (*f)(double), double scale)
{
    ag_spec spec = { .ndim = ag_ndim(like) };
    memcpy(spec.shape, ag_shape(like), (size_t)spec.ndim * sizeof *spec.shape);
    ag_real *x = malloc((size_t)ag_numel(like) * sizeof *x);
    for (int64_t i = 0; i < ag_numel(like); i++)
        x[i] = (ag_real)(scale * f(1.0 + (double)i));
    ag_tensor *y = ag_value(r->tape, &spec, x);
    free(x);
    return y;
}

static ag_tensor *dot(run *r, ag_tensor *a, ag_tensor *b)
{
    return ag_sum(r->tape, ag_mul(r->tape, a, b), AG_ALL_AXES);
}

static double number(run *r, ag_tensor *x)
{
    ag_real v;
    run_read(r, x, &v);
    return v;
}

/* The loss of golden_networks.py, of the first `rows` of each output. */
static ag_tensor *loss_of(run *r, ag_tensor *y, ag_tensor *logits, int64_t rows)
{
    y = ag_slice(r->tape, y, 0, 0, rows);
    ag_tensor *loss = dot(r, y, wave(r, y, sin, 1));
    if (logits) {
        logits = ag_slice(r->tape, logits, 0, 0, rows);
        loss = ag_add(r->tape, loss, dot(r, logits, wave(r, logits, cos, 1)));
    }
    return ag_scale(r->tape, loss, 1.0 / (double)rows);
}

static void compare_slopes(run *r, const golden *g, int i, ag_tensor *slope, ag_tensor *const second[2])
{
    ag_real *want = numbers(g, r->pass.net->weight[i].name, NULL);
    ck_assert_msg(want != NULL, "the golden file has no %s", r->pass.net->weight[i].name);
    ag_tensor *s = wave(r, slope, sin, 1), *c = wave(r, slope, cos, 1);
    double is[7] = { number(r, dot(r, slope, s)), number(r, dot(r, slope, c)), number(r, dot(r, slope, slope)),
                     number(r, dot(r, second[0], s)), number(r, dot(r, second[0], c)),
                     number(r, dot(r, second[1], s)), number(r, dot(r, second[1], c)) };
    for (int k = 0; k < 7; k++) {
        int of = k < 5 ? k : k - 2;   /* the Hessian times v once by reverse, once by forward mode */
        expect(test_close(is[k], want[of], tolerance(r->pass.net, SLOPE)), "%s %s, number %d: %.12g, golden %.12g", r->pass.net->path,
               r->pass.net->weight[i].name, k, is[k], want[of]);
    }
    free(want);
}

static void check_slopes(run *r, const golden *g, ag_tensor *loss)
{
    int n = r->pass.net->n_weight;
    ag_tensor **slope = malloc((size_t)n * 4 * sizeof *slope), **v = slope + n, **back = slope + 2 * n, **forth = slope + 3 * n;
    ag_tensor *along = NULL;
    ag_grad(r->tape, loss, NULL, n, r->weight, slope);
    for (int i = 0; i < n; i++) {
        v[i] = wave(r, r->weight[i], sin, 0.1);
        along = i ? ag_add(r->tape, along, dot(r, slope[i], v[i])) : dot(r, slope[i], v[i]);
    }
    ag_jvp(r->tape, n, r->weight, v, n, slope, forth);
    ag_grad(r->tape, along, NULL, n, r->weight, back);
    for (int i = 0; i < n; i++)
        compare_slopes(r, g, i, slope[i], (ag_tensor *[]){ back[i], forth[i] });
    free(slope);
}

static const char *const text_networks[] = { "bert", "bert-prefixed", "llama", "llama-tied", "gpt2", "moe",
                                             "llama/llama.gguf", "llama/llama.bin" };
enum { N_TEXT = sizeof text_networks / sizeof *text_networks };

/* The golden numbers of a network, "llama" for those of its files. */
static nn_network *text_network(int i, golden *g)
{
    char path[600];
    golden_path(path, text_networks[i], "");
    *g = read_golden(strchr(text_networks[i], '/') ? "llama" : text_networks[i]);
    return open_network(path);
}

START_TEST(hidden_states_logits_and_derivatives_of_texts_are_those_of_transformers)
{
    golden g;
    nn_network *net = text_network(_i, &g);
    run r;
    run_init(&r, net);
    nn_text text = run_texts(&r, &g.texts, &(nn_text_shape){ g.texts.n, 12, 30 });
    ag_tensor *h = nn_network_hidden(&r.pass, &text), *logits = NULL;
    ck_assert(compare(&r, &g, "hidden", h));
    if (nn_weights_find(g.file, "logits")) {
        logits = nn_network_logits(&r.pass, h);
        ck_assert(compare(&r, &g, "logits", logits));
    }
    check_slopes(&r, &g, loss_of(&r, h, logits, g.texts.total));
    run_release(&r);
    nn_network_close(net);
    nn_weights_close(g.file);
}
END_TEST

START_TEST(features_and_derivatives_of_convolutions_are_those_of_pytorch)
{
    const char *name = _i ? "conv2d" : "conv1d";
    golden g = read_golden(name);
    char path[600];
    golden_path(path, name, "");
    nn_network *net = open_network(path);
    run r;
    run_init(&r, net);
    const nn_stored *s = nn_weights_find(g.file, "x");
    ag_real *x = numbers(&g, "x", NULL);
    ag_spec spec = { .ndim = 4 };
    memcpy(spec.shape, s->shape, 4 * sizeof *s->shape);
    ag_tensor *y = nn_network_features(&r.pass, ag_value(r.tape, &spec, x));
    ck_assert(compare(&r, &g, "features", y));
    check_slopes(&r, &g, loss_of(&r, y, NULL, s->shape[0]));
    free(x);
    run_release(&r);
    nn_network_close(net);
    nn_weights_close(g.file);
}
END_TEST

START_TEST(no_packing_or_padding_changes_what_a_text_gives)
{
    static const int64_t shapes[][2] = { { 11, 24 }, { 11, 44 }, { 12, 25 }, { 12, 48 } };
    golden g;
    nn_network *net = text_network(_i, &g);
    run r;
    run_init(&r, net);
    for (int k = 0; k < 4; k++) {
        nn_text text = run_texts(&r, &g.texts, &(nn_text_shape){ g.texts.n, shapes[k][0], shapes[k][1] });
        ck_assert(compare(&r, &g, "hidden", nn_network_hidden(&r.pass, &text)));
    }
    int64_t width = net->config.hidden_size;
    ag_real *want = numbers(&g, "hidden", NULL);
    for (int i = 0; i < g.texts.n; i++) {
        texts one = { .n = 1, .length = { g.texts.length[i] } };
        memcpy(one.ids, g.texts.ids + g.texts.start[i], (size_t)one.length[0] * sizeof *one.ids);
        nn_text text = run_texts(&r, &one, &(nn_text_shape){ 1, one.length[0], one.length[0] });
        ag_real *h = run_numbers(&r, nn_network_hidden(&r.pass, &text));
        for (int64_t j = 0; j < one.length[0] * width; j++)
            ck_close(h[j], want[g.texts.start[i] * width + j], tolerance(net, VALUE));
        free(h);
    }
    free(want);
    run_release(&r);
    nn_network_close(net);
    nn_weights_close(g.file);
}
END_TEST

/* Token 0 fills every place without a token; no golden text is changed by it, and it gets no gradient. */
START_TEST(what_is_masked_has_gradient_0_exactly_and_an_empty_text_makes_no_nan)
{
    golden g;
    nn_network *net = text_network(_i, &g);
    run r;
    run_init(&r, net);
    texts x = { .n = 3, .start = { 0, 4, 6 }, .length = { 4, 2, 0 }, .total = 6, .ids = { 1, 2, 3, 4, 5, 6 } };
    nn_text text = run_texts(&r, &x, &(nn_text_shape){ 3, 8, 20 });
    ag_tensor *h = nn_network_hidden(&r.pass, &text), *grad;
    ag_tensor *of_second = ag_slice(r.tape, h, 0, 4, 6), *embedding = r.weight[0];
    ck_assert_int_eq(net->module[0].kind, NN_EMBEDDING);
    ag_grad(r.tape, dot(&r, of_second, wave(&r, of_second, sin, 1)), NULL, 1, &embedding, &grad);
    ag_real *is = run_numbers(&r, grad), *all = run_numbers(&r, h);
    int64_t width = net->config.hidden_size;
    for (int64_t i = 0; i < ag_numel(grad); i++) {
        bool used = i / width == 5 || i / width == 6;
        expect(used ? is[i] != 0 && isfinite(is[i]) : is[i] == 0, "gradient of token %lld: %g", (long long)(i / width), (double)is[i]);
    }
    for (int64_t i = 0; i < ag_numel(h); i++)
        ck_assert(isfinite(all[i]));
    free(is);
    free(all);
    run_release(&r);
    nn_network_close(net);
    nn_weights_close(g.file);
}
END_TEST

/* ---- programs and tasks ---- */

typedef struct program {
    ag_program *p;
    ag_frame *f;
} program;

enum { N_TASK = 2 };

/* hidden states and the gradient at weight `own`, which every task has its own of, of texts that differ by task. */
static program compile(const nn_network *net, const nn_text_shape *s, int own)
{
    ag_error err = { 0 };
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .n_task = N_TASK, .symbolic = true }, &err);
    ag_tensor *w[128], *out[2];
    program c;
    ck_assert(net->n_weight <= 128);
    ag_tensor *x = ag_input(t, &(ag_spec){ .dtype = AG_INT, .tasks = true, .ndim = 1, .shape = { nn_text_numel(s) } });
    for (int i = 0; i < net->n_weight; i++) {
        ag_spec spec = { .ndim = net->weight[i].ndim, .tasks = i == own, .stage = i == own };
        memcpy(spec.shape, net->weight[i].shape, sizeof net->weight[i].shape);
        w[i] = ag_input(t, &spec);
    }
    nn_pass pass = { .t = t, .net = net, .weight = w };
    nn_text text = nn_text_split(t, x, s);
    out[0] = nn_network_hidden(&pass, &text);
    ag_grad(t, ag_sum(t, ag_square(t, nn_text_pool(t, &text, out[0], NN_POOL_MEAN)), AG_ALL_AXES), NULL, 1, &w[own], &out[1]);
    ck_assert_msg(ag_tape_status(t, &err) == AG_OK && ag_compile(t, 2, out, &c.p, &err) == AG_OK, "%s", err.message);
    ck_assert_int_eq(ag_frame_new(c.p, &c.f, &err), AG_OK);
    ag_tape_free(t);
    return c;
}

START_TEST(a_program_over_tasks_gives_what_each_task_gives_alone)
{
    golden g;
    nn_network *net = text_network(_i, &g);
    nn_text_shape s = { 2, 11, 20 };
    texts of[N_TASK] = { { .n = 2, .start = { 0, 5 }, .length = { 5, 1 } }, { .n = 2, .start = { 6, 17 }, .length = { 11, 7 } } };
    int own = net->module[net->n_module / 2].weight;
    int64_t n = nn_text_numel(&s), width = net->config.hidden_size, size = net->weight[own].numel;
    int32_t *x = malloc((size_t)(N_TASK * n) * sizeof *x);
    ag_real *mine = malloc((size_t)(N_TASK * size) * sizeof *mine), *h = malloc((size_t)(N_TASK * 20 * width) * sizeof *h);
    ag_real *grad = malloc((size_t)(N_TASK * size) * sizeof *grad);
    program c = compile(net, &s, own);
    for (int k = 0; k < N_TASK; k++) {
        memcpy(of[k].ids, g.texts.ids, sizeof g.texts.ids);
        nn_text_pack(&s, of[k].ids, of[k].start, of[k].length, x + k * n);
        for (int64_t i = 0; i < size; i++)
            mine[k * size + i] = net->weight[own].data[i] * (ag_real)(k ? 1 : 0.75);
    }
    ag_frame_input(c.f, 0, x);
    for (int i = 0; i < net->n_weight; i++)
        ag_frame_input(c.f, 1 + i, i == own ? mine : net->weight[i].data);
    ag_frame_output(c.f, 0, h);
    ag_frame_output(c.f, 1, grad);
    ck_assert_int_eq(ag_frame_run(c.f, 0, 1, NULL), AG_OK);
    for (int k = 0; k < N_TASK; k++) {
        run r;
        run_init(&r, net);
        ag_tensor *slope;
        r.weight[own] = ag_scale(r.tape, r.weight[own], k ? 1 : 0.75);
        nn_text text = run_texts(&r, &of[k], &s);
        ag_tensor *y = nn_network_hidden(&r.pass, &text);
        ag_grad(r.tape, ag_sum(r.tape, ag_square(r.tape, nn_text_pool(r.tape, &text, y, NN_POOL_MEAN)), AG_ALL_AXES), NULL, 1,
                &r.weight[own], &slope);
        ag_real *alone = run_numbers(&r, y), *slope_alone = run_numbers(&r, slope);
        for (int64_t i = 0; i < (of[k].length[0] + of[k].length[1]) * width; i++)
            ck_close(h[k * 20 * width + i], alone[i], VALUE);
        for (int64_t i = 0; i < size; i++)
            ck_close(grad[k * size + i], slope_alone[i], VALUE);
        free(alone);
        free(slope_alone);
        run_release(&r);
    }
    ag_frame_free(c.f);
    ag_program_free(c.p);
    free(x), free(mine), free(h), free(grad);
    nn_network_close(net);
    nn_weights_close(g.file);
}
END_TEST

/* ---- adapters and experts ---- */

typedef struct seen {
    int calls[64];
} seen;

static ag_tensor *count_calls(nn_pass *p, int module, ag_tensor *x)
{
    seen *s = p->ctx;
    s->calls[module]++;
    return module % 2 ? nn_module_base(p, module, x) : NULL;
}

START_TEST(an_adapter_is_asked_once_for_every_module)
{
    golden g;
    nn_network *net = text_network(_i, &g);
    seen s = { { 0 } };
    run r;
    run_init(&r, net);
    r.pass.adapt = count_calls;
    r.pass.ctx = &s;
    nn_text text = run_texts(&r, &g.texts, &(nn_text_shape){ g.texts.n, 12, 30 });
    ag_tensor *h = nn_network_hidden(&r.pass, &text);
    ck_assert(compare(&r, &g, "hidden", h));
    if (strcmp(net->config.architecture, "bert") != 0)
        nn_network_logits(&r.pass, h);
    ck_assert_int_le(net->n_module, 64);
    for (int i = 0; i < net->n_module; i++)
        ck_assert_msg(s.calls[i] == 1, "%s: %d calls", net->module[i].name, s.calls[i]);
    run_release(&r);
    nn_network_close(net);
    nn_weights_close(g.file);
}
END_TEST

/* The hidden states of the random mixture whose routers' logits are all 0, with expert `without` (-1: none) set to 0. */
static ag_real *tied_experts(const nn_network *net, int without)
{
    char name[100];
    run r;
    texts x = { .n = 1, .length = { 3 }, .ids = { 1, 2, 3 } };
    run_init(&r, net);
    for (int i = 0; i < net->n_weight; i++) {
        snprintf(name, sizeof name, ".experts.%d.w2.weight", without);
        if (strstr(net->weight[i].name, ".gate.weight") || strstr(net->weight[i].name, name))
            r.weight[i] = ag_zeros_like(r.tape, r.weight[i]);
    }
    nn_text text = run_texts(&r, &x, &(nn_text_shape){ 1, 3, 3 });
    ag_real *h = run_numbers(&r, nn_network_hidden(&r.pass, &text));
    run_release(&r);
    return h;
}

START_TEST(of_experts_with_equal_logits_exactly_the_first_are_taken)
{
    static const nn_network_config c = { .architecture = "moe", .vocab_size = 9, .hidden_size = 8, .n_layer = 1, .n_head = 2,
                                         .intermediate_size = 6, .n_expert = 4, .experts_per_token = 2 };
    nn_network *net;
    ck_assert_int_eq(nn_network_random(&net, &c, 3, NULL), AG_OK);
    ag_real *all = tied_experts(net, -1);
    for (int e = 0; e < 4; e++) {
        ag_real *h = tied_experts(net, e);
        ck_assert_msg((memcmp(h, all, 3 * 8 * sizeof *h) != 0) == (e < 2), "expert %d", e);
        free(h);
    }
    free(all);
    nn_network_close(net);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(texts_beyond_the_last_position_and_what_a_network_has_not_are_refused)
{
    ag_error err = { 0 };
    texts x = { .n = 1, .length = { 3 }, .ids = { 1, 2, 3 } };
    golden g;
    nn_network *net = text_network(0, &g);
    run r;
    run_init(&r, net);
    nn_text text = run_texts(&r, &x, &(nn_text_shape){ 1, 14, 14 });
    ck_assert_ptr_null(nn_network_hidden(&r.pass, &text));
    ck_assert_int_eq(ag_tape_status(r.tape, &err), AG_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "texts of up to 14 tokens; this network has 13 positions"));
    run_release(&r);
    run_init(&r, net);
    ck_assert_ptr_null(nn_network_logits(&r.pass, r.weight[0]));
    ck_assert_ptr_null(nn_network_features(&r.pass, r.weight[0]));
    ag_error_clear(&err);
    ag_tape_status(r.tape, &err);
    ck_assert_ptr_nonnull(strstr(err.message, "bert has no logits"));
    run_release(&r);
    nn_network_close(net);
    nn_weights_close(g.file);
}
END_TEST

/* ---- the driver ---- */

static int32_t largest(const ag_real *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return (int32_t)best;
}

/* Greedy tokens behind ids[0 .. *n), the whole text anew for each, until token 1 or `most`. */
static void generate(const nn_network *net, int32_t *ids, int64_t *n, int64_t most)
{
    int64_t width = net->config.hidden_size, vocab = net->config.vocab_size;
    run r;
    texts x = { .n = 1 };
    run_init(&r, net);
    while (*n < most) {
        ag_mark mark = ag_tape_mark(r.tape);
        memcpy(x.ids, ids, (size_t)*n * sizeof *ids);
        x.length[0] = *n;
        nn_text text = run_texts(&r, &x, &(nn_text_shape){ 1, *n, *n });
        ag_tensor *last = ag_slice(r.tape, nn_network_hidden(&r.pass, &text), 0, *n - 1, *n);
        ag_real *logits = run_numbers(&r, nn_network_logits(&r.pass, ag_reshape(r.tape, last, 2, (int64_t[]){ 1, width })));
        int32_t next = largest(logits, vocab);
        free(logits);
        ag_tape_rewind(r.tape, mark);
        if (next == 1)
            break;
        ids[(*n)++] = next;
    }
    run_release(&r);
}

/* tok512.bin of llama2.c: an int32, then per token a score, a length and its bytes. */
static void decode(const char *path, const int32_t *ids, int64_t n, char *out)
{
    static char piece[512][32];
    FILE *f = fopen(path, "rb");
    int32_t most, length;
    float score;
    ck_assert(f && fread(&most, 4, 1, f) == 1);
    for (int i = 0; i < 512; i++) {
        ck_assert(fread(&score, 4, 1, f) == 1 && fread(&length, 4, 1, f) == 1 && length < 32);
        ck_assert(fread(piece[i], 1, (size_t)length, f) == (size_t)length);
        piece[i][length] = '\0';
    }
    fclose(f);
    for (int64_t i = 1; i < n; i++) {
        unsigned byte;
        const char *s = piece[ids[i]];
        if (sscanf(s, "<0x%02X>", &byte) == 1)
            *out++ = (char)byte;
        else
            out += sprintf(out, "%s", i == 1 && *s == ' ' ? s + 1 : s);
    }
    *out = '\0';
}

START_TEST(stories260k_tells_greedily_what_its_authors_print)
{
    const char *data = getenv("METALORA_DATA");
    char path[600], text[4096], page[8192];
    int32_t ids[512] = { 1 };
    int64_t n = 1;
    if (!data)
        return;
    snprintf(path, sizeof path, "%s/models/stories260K/stories260K.bin", data);
    nn_network *net = open_network(path);
    ck_assert_str_eq(net->config.architecture, "llama");
    generate(net, ids, &n, test_under_valgrind() ? 24 : 257);
    nn_network_close(net);
    snprintf(path, sizeof path, "%s/models/stories260K/tok512.bin", data);
    decode(path, ids, n, text);
    snprintf(path, sizeof path, "%s/models/stories260K/SOURCE_stories260K.md", data);
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    page[fread(page, 1, sizeof page - 1, f)] = '\0';
    fclose(f);
    char *want = strstr(page, "-t 0.0\n") + 7;
    *strstr(want, "\n```") = '\0';
    ck_assert_int_gt(n, 20);
    ck_assert(test_under_valgrind() ? strncmp(text, want, strlen(text)) == 0 : strcmp(text, want) == 0);
}
END_TEST

static void put(run *r, ag_tensor *x)
{
    ag_real *v = run_numbers(r, x);
    for (int64_t i = 0; i < ag_numel(x); i++)
        fwrite(&(double){ v[i] }, sizeof(double), 1, stdout);
    free(v);
}

static int driver(const char *path)
{
    static texts x;
    nn_network *net = open_network(path);
    int64_t longest = 0;
    long length, id;
    for (; scanf("%ld", &length) == 1; x.n++) {
        if (x.n == 32 || length < 1 || x.total + length > 2048)
            return 1;
        x.start[x.n] = x.total;
        x.length[x.n] = length;
        longest = length > longest ? length : longest;
        while (length-- > 0 && scanf("%ld", &id) == 1)
            x.ids[x.total++] = (int32_t)id;
    }
    run r;
    run_init(&r, net);
    nn_text text = run_texts(&r, &x, &(nn_text_shape){ x.n, longest, x.total });
    ag_tensor *h = nn_network_hidden(&r.pass, &text);
    put(&r, h);
    if (strcmp(net->config.architecture, "bert") != 0)
        put(&r, nn_network_logits(&r.pass, h));
    run_release(&r);
    nn_network_close(net);
    return 0;
}

static int print_generated(const char *path, int64_t most)
{
    int32_t ids[2048] = { 1 };
    int64_t n = 1;
    nn_network *net = open_network(path);
    generate(net, ids, &n, most + 1 < 2048 ? most + 1 : 2048);
    for (int64_t i = 1; i < n; i++)
        printf("%d\n", (int)ids[i]);
    nn_network_close(net);
    return 0;
}

static int run_tests(void)
{
    Suite *suite = suite_create(__FILE__);
    TCase *tcase = tcase_create("networks");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, hidden_states_logits_and_derivatives_of_texts_are_those_of_transformers, 0, N_TEXT);
    tcase_add_loop_test(tcase, features_and_derivatives_of_convolutions_are_those_of_pytorch, 0, 2);
    tcase_add_loop_test(tcase, no_packing_or_padding_changes_what_a_text_gives, 0, N_TEXT);
    tcase_add_loop_test(tcase, what_is_masked_has_gradient_0_exactly_and_an_empty_text_makes_no_nan, 0, N_TEXT);
    tcase_add_loop_test(tcase, a_program_over_tasks_gives_what_each_task_gives_alone, 0, N_TEXT);
    tcase_add_loop_test(tcase, an_adapter_is_asked_once_for_every_module, 0, N_TEXT);
    tcase_add_test(tcase, of_experts_with_equal_logits_exactly_the_first_are_taken);
    tcase_add_test(tcase, texts_beyond_the_last_position_and_what_a_network_has_not_are_refused);
    tcase_add_test(tcase, stories260k_tells_greedily_what_its_authors_print);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "run") == 0)
        return driver(argv[2]);
    if (argc == 4 && strcmp(argv[1], "generate") == 0)
        return print_generated(argv[2], atoll(argv[3]));
    return run_tests();
}
