/* A network's folder: the bytes are config.json, and behind the first 0 byte model.safetensors. Without one, a network of
 * that configuration is drawn, if it is small: it must run, and be the same one when written and opened again. */
#include "models/network_config.h"
#include "models/network_internal.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL = 1 << 10, LAYERS = 3, NUMBERS = 1 << 16, TEXTS = 2, TOKENS = 3 };

static char folder[40];

static const char *path_in(const char *file)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    return path;
}

static void remove_folder(void)
{
    unlink(path_in("config.json"));
    unlink(path_in("model.safetensors"));
    rmdir(folder);
}

static void begin(void)
{
    snprintf(folder, sizeof folder, "fuzz-network-%ld", (long)getpid());
    fuzz_check(mkdir(folder, 0777) == 0, "cannot make '%s' here", folder);
    atexit(remove_folder);
}

static void write_file(const char *file, const uint8_t *data, size_t size)
{
    int fd = open(path_in(file), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    fuzz_check(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0, "cannot write in '%s'", folder);
}

static bool small(const nn_network_config *c)
{
    const int64_t sizes[] = { c->vocab_size, c->hidden_size, c->n_head, c->n_kv_head, c->head_size, c->intermediate_size, c->max_position,
                              c->type_vocab, c->n_expert, c->in_channels };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] > SMALL)
            return false;
    return c->n_layer <= LAYERS;
}

static int64_t numbers(const nn_network *net)
{
    int64_t n = 0;
    for (int i = 0; i < net->n_weight; i++)
        n += net->weight[i].numel;
    return n;
}

/* Hidden states and logits of two short texts, the features of two small pictures. */
static void forward(nn_pass *p)
{
    const nn_network_config *c = &p->net->config;
    ag_tensor *y;
    if (!p->net->type->text) {
        const int64_t height = strcmp(c->architecture, "conv1d") ? 5 : 1;
        y = nn_network_features(p, ag_full(p->t, 0.5, 4, (int64_t[]){ TEXTS, height, 7, c->in_channels }));
    } else {
        const int32_t ids[TEXTS * TOKENS] = { 0, (int32_t)c->vocab_size - 1, 0, 0, 0, 0 };
        const int64_t length = c->max_position < TOKENS ? c->max_position : TOKENS, start[TEXTS] = { 0, TOKENS }, lengths[TEXTS] = { length, 1 };
        const nn_text_shape shape = { TEXTS, length, TEXTS * length };
        int32_t x[16 * TEXTS * TOKENS];
        nn_text_pack(&shape, ids, start, lengths, x);
        const ag_spec spec = { .dtype = AG_INT, .ndim = 1, .shape = { nn_text_numel(&shape) } };
        nn_text text = nn_text_split(p->t, ag_value(p->t, &spec, x), &shape);
        y = nn_network_hidden(p, &text);
        if (p->net->type->logits)
            y = nn_network_logits(p, y);
    }
    fuzz_check(y, "no outputs");
}

static void run(const nn_network *net)
{
    ag_error err = { 0 };
    ag_tape *t = ag_tape_new(NULL, NULL);
    ag_tensor **w = malloc((size_t)net->n_weight * sizeof *w);
    fuzz_check(t && w, "out of memory");
    for (int i = 0; i < net->n_weight; i++) {
        ag_spec spec = { .ndim = net->weight[i].ndim };
        memcpy(spec.shape, net->weight[i].shape, sizeof net->weight[i].shape);
        w[i] = ag_value(t, &spec, net->weight[i].data);
    }
    forward(&(nn_pass){ .t = t, .net = net, .weight = w });
    fuzz_check(ag_tape_status(t, &err) == AG_OK, "%s", err.message);
    ag_tape_free(t);
    free(w);
}

static void write_weights(const nn_network *net)
{
    ag_error err = { 0 };
    nn_to_store *tensors = calloc((size_t)net->n_weight, sizeof *tensors);
    fuzz_check(tensors, "out of memory");
    for (int i = 0; i < net->n_weight; i++) {
        tensors[i] = (nn_to_store){ .name = net->weight[i].name, .ndim = net->weight[i].ndim, .data = net->weight[i].data };
        memcpy(tensors[i].shape, net->weight[i].shape, sizeof net->weight[i].shape);
    }
    fuzz_check(nn_safetensors_write(path_in("model.safetensors"), net->n_weight, tensors, 0, NULL, &err) == AG_OK, "%s", err.message);
    free(tensors);
}

/* Convolutions lie in files as [out, in, ...], so theirs are not told again. */
static void open_again(const nn_network *net)
{
    ag_error err = { 0 };
    nn_network *again;
    if (!net->type->text)
        return;
    write_weights(net);
    fuzz_check(nn_network_open(&again, folder, NULL, &err) == AG_OK, "not opened again: %s", err.message);
    fuzz_check(again->n_weight == net->n_weight && again->n_module == net->n_module, "opened again with other modules");
    for (int i = 0; i < net->n_weight; i++)
        fuzz_check(memcmp(again->weight[i].data, net->weight[i].data, (size_t)net->weight[i].numel * sizeof(ag_real)) == 0,
                   "opened again, '%s' is another", net->weight[i].name);
    nn_network_close(again);
}

static void draw(const nn_network_config *c)
{
    ag_error err = { 0 };
    nn_network *net, *listed;
    if (!fuzz_answer(nn_network_begin(&listed, c, "fuzz", &err), &err))
        return;
    const bool few = numbers(listed) <= NUMBERS;
    nn_network_close(listed);
    if (!few)
        return;
    fuzz_check(nn_network_random(&net, c, 1, &err) == AG_OK, "%s", err.message);
    run(net);
    open_again(net);
    nn_network_close(net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ag_error err = { 0 };
    nn_network_config c;
    nn_network *net;
    if (!*folder)
        begin();
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    const size_t n_config = end ? (size_t)(end - data) : size;
    write_file("config.json", data, n_config);
    if (!fuzz_answer(nn_config_from_json(&c, path_in("config.json"), NULL, &err), &err)) {
        fuzz_check(strncmp(err.message, folder, strlen(folder)) == 0, "refused without the file's name: %s", err.message);
        return 0;
    }
    if (!end) {
        if (small(&c))
            draw(&c);
        return 0;
    }
    write_file("model.safetensors", end + 1, size - n_config - 1);
    if (fuzz_answer(nn_network_open(&net, folder, NULL, &err), &err))
        run(net);
    fuzz_check((err.code == AG_OK) == (net != NULL), "opened and not opened");
    nn_network_close(net);
    return 0;
}
