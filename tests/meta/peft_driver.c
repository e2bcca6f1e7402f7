/* A test program as a tool of live_peft.py: networks, adapters and inputs given by files, results to stdout as text.
 *     save MODEL INPUT FOLDER key=value...   makes an adapter, adds noise to its values, writes it as PEFT's folder, prints the output
 *     save-drawn ...                         the same, unchanged
 *     run MODEL INPUT FOLDER                 reads PEFT's folder ("-": none) and prints the output
 * INPUT: "ids N LENGTH numbers..." or "x N H W C numbers...". MODEL: a folder of a checkpoint. */
#include "tests/meta/adapters.h"

#include "tests/check.h"

enum { MOST = 16 };

typedef struct settings {
    meta_adapter_options o;
    const char *targets[MOST], *exclude[MOST];
    int64_t layers[MOST];
    meta_pattern ranks[MOST], alphas[MOST];
    double noise;
} settings;

static int split(char *text, const char **to)
{
    int n = 0;
    for (char *part = strtok(text, ","); part && n < MOST; part = strtok(NULL, ","))
        to[n++] = part;
    return n;
}

static int split_patterns(char *text, meta_pattern *to)
{
    const char *part[MOST];
    int n = split(text, part);
    for (int i = 0; i < n; i++) {
        char *colon = strrchr((char *)(uintptr_t)part[i], ':');
        *colon = '\0';
        to[i] = (meta_pattern){ part[i], atof(colon + 1) };
    }
    return n;
}

static int set(settings *s, char *argument)
{
    meta_adapter_options *o = &s->o;
    const char *part[MOST];
    int n;
    char *value = strchr(argument, '=');
    if (!value)
        return 0;
    *value++ = '\0';
    if (strcmp(argument, "kind") == 0)
        o->kind = value;
    else if (strcmp(argument, "init") == 0)
        o->init = value;
    else if (strcmp(argument, "rank") == 0)
        o->rank = atoll(value);
    else if (strcmp(argument, "alpha") == 0)
        o->alpha = atof(value);
    else if (strcmp(argument, "rslora") == 0)
        o->rslora = true;
    else if (strcmp(argument, "noise") == 0)
        s->noise = atof(value);
    else if (strcmp(argument, "regex") == 0)
        o->target_regex = value;
    else if (strcmp(argument, "targets") == 0)
        o->n_target = split(value, s->targets);
    else if (strcmp(argument, "exclude") == 0)
        o->n_exclude = split(value, s->exclude);
    else if (strcmp(argument, "rank_pattern") == 0)
        o->n_rank_pattern = split_patterns(value, s->ranks);
    else if (strcmp(argument, "alpha_pattern") == 0)
        o->n_alpha_pattern = split_patterns(value, s->alphas);
    else if (strcmp(argument, "layers") == 0)
        for (o->n_layer = 0, n = split(value, part); o->n_layer < n; o->n_layer++)
            s->layers[o->n_layer] = atoll(part[o->n_layer]);
    else
        return 0;
    return 1;
}

/* What it points to stays until the program ends. */
static int read_input(const char *path, network_input *in)
{
    FILE *f = fopen(path, "r");
    char kind[8] = "";
    long long n[4];
    *in = (network_input){ .n = 0 };
    if (!f || fscanf(f, "%7s", kind) != 1)
        return 0;
    int texts = strcmp(kind, "ids") == 0, sizes = texts ? 2 : 4;
    int64_t total = 1;
    for (int i = 0; i < sizes; i++) {
        if (fscanf(f, "%lld", &n[i]) != 1)
            return 0;
        total *= n[i];
    }
    int32_t *ids = calloc((size_t)total, sizeof *ids);
    ag_real *x = calloc((size_t)total, sizeof *x);
    for (int64_t i = 0; i < total; i++) {
        double v;
        if (fscanf(f, "%lf", &v) != 1)
            return 0;
        ids[i] = (int32_t)v;
        x[i] = (ag_real)v;
    }
    fclose(f);
    for (int i = 0; i < sizes; i++)
        in->shape[i] = n[i];
    in->n = n[0];
    in->length = n[1];
    in->ids = texts ? ids : NULL;
    in->x = texts ? NULL : x;
    return 1;
}

static int complain(const ag_error *err)
{
    fprintf(stderr, "%s: %s (%s)\n", ag_code_name(err->code), err->message, err->trail);
    return 1;
}

static void print_output(const nn_network *net, const meta_adapter *a, const ag_real *values, const network_input *in)
{
    recording r;
    record_network(&r, net, a, values, in, NULL);
    ag_tensor *all[] = { r.hidden, r.logits };
    for (int k = 0; k < 2; k++) {
        int64_t n;
        ag_real *x = numbers_of(all[k], &n);
        printf("%lld", (long long)n);
        for (int64_t i = 0; i < n; i++)
            printf(" %.9g", (double)x[i]);
        printf("\n");
        free(x);
    }
    recording_release(&r);
}

static int save(nn_network *net, const network_input *in, const char *dir, int n, char **arguments, bool changed)
{
    settings s = { .noise = 0.05, .o = { .targets = s.targets, .exclude = s.exclude, .layers = s.layers, .rank_pattern = s.ranks,
                                         .alpha_pattern = s.alphas } };
    ag_error err = { 0 };
    meta_adapter *a;
    for (int i = 0; i < n; i++)
        if (!set(&s, arguments[i])) {
            fprintf(stderr, "what is '%s'?\n", arguments[i]);
            return 2;
        }
    if (meta_adapter_new(&a, net, &s.o, &err) != AG_OK)
        return complain(&err);
    ag_real *values = adapter_values(a, 3, changed ? s.noise : 0);
    if (meta_peft_save(dir, a, values, 0, NULL, &err) != AG_OK)
        return complain(&err);
    print_output(net, a, values, in);
    free(values);
    meta_adapter_free(a);
    return 0;
}

static int run(nn_network *net, const network_input *in, const char *dir)
{
    ag_error err = { 0 };
    meta_adapter *a = NULL;
    ag_real *values = NULL;
    if (strcmp(dir, "-") != 0 && meta_peft_load(&a, &values, dir, net, &err) != AG_OK)
        return complain(&err);
    print_output(net, a, values, in);
    ag_free(values);
    meta_adapter_free(a);
    return 0;
}

int peft_driver(int argc, char **argv)
{
    ag_error err = { 0 };
    network_input in;
    nn_network *net;
    if (argc < 5) {
        fprintf(stderr, "save | save-drawn | run, MODEL, INPUT and FOLDER are expected\n");
        return 2;
    }
    if (!read_input(argv[3], &in)) {
        fprintf(stderr, "'%s' is no input\n", argv[3]);
        return 2;
    }
    if (nn_network_open(&net, argv[2], NULL, &err) != AG_OK)
        return complain(&err);
    int code = strncmp(argv[1], "save", 4) == 0 ? save(net, &in, argv[4], argc - 5, argv + 5, strcmp(argv[1], "save") == 0)
                                                : run(net, &in, argv[4]);
    nn_network_close(net);
    free((void *)(uintptr_t)in.ids);
    free((void *)(uintptr_t)in.x);
    return code;
}
