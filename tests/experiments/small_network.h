/* A small random network as Hugging Face saves one: model.safetensors, config.json and vocab.txt in a folder. */
#ifndef TESTS_SMALL_NETWORK_H
#define TESTS_SMALL_NETWORK_H

#include "models/network.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Works outside of a running test, too, where Check's own assertions do not. */
#define small_require(cond)                                                     \
    do {                                                                        \
        if (!(cond)) {                                                          \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);  \
            abort();                                                            \
        }                                                                       \
    } while (0)

/* Lower-case words, one token each; then letters, so that any word of them has tokens. */
static const char *const small_words[] = {
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "call", "phone", "ring", "money", "pay", "bank", "rain", "sun", "weather",
    "music", "play", "song", "my", "the", "please", "now", "what", "is", "me", "for", "to", "a", "##s", ".", "?",
};
enum { SMALL_WORDS = sizeof small_words / sizeof *small_words, SMALL_VOCABULARY = SMALL_WORDS + 26 };

static inline nn_network_config small_config(const char *architecture)
{
    nn_network_config c = { .vocab_size = SMALL_VOCABULARY, .hidden_size = 16, .n_layer = 2, .n_head = 4, .n_kv_head = 4, .head_size = 4,
                            .intermediate_size = 24, .max_position = 24, .norm_epsilon = 1e-5, .rope_theta = 10000 };
    bool bert = strcmp(architecture, "bert") == 0;
    snprintf(c.architecture, sizeof c.architecture, "%s", architecture);
    snprintf(c.activation, sizeof c.activation, "%s", bert ? "gelu" : "silu");
    c.type_vocab = bert ? 2 : 0;
    return c;
}

static inline void small_write(const char *folder, const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    small_require(f);
    fputs(text, f);
    small_require(fclose(f) == 0);
}

static inline void small_write_config(const char *folder, const nn_network_config *c)
{
    char text[1000];
    snprintf(text, sizeof text, "{\"model_type\": \"%s\", \"vocab_size\": %d, \"hidden_size\": %d, \"num_hidden_layers\": %d, "
             "\"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"head_dim\": %d, \"intermediate_size\": %d, "
             "\"max_position_embeddings\": %d, \"hidden_act\": \"%s\", \"layer_norm_eps\": 1e-05, \"rms_norm_eps\": 1e-05, "
             "\"tie_word_embeddings\": false%s}\n", c->architecture, (int)c->vocab_size, (int)c->hidden_size, (int)c->n_layer, (int)c->n_head,
             (int)c->n_kv_head, (int)c->head_size, (int)c->intermediate_size, (int)c->max_position, c->activation,
             c->type_vocab ? ", \"type_vocab_size\": 2" : "");
    small_write(folder, "config.json", text);
}

static inline void small_write_vocabulary(const char *folder)
{
    char text[2000] = "";
    size_t used = 0;
    for (int i = 0; i < SMALL_WORDS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\n", small_words[i]);
    for (char c = 'a'; c <= 'z'; c++)                       /* "a" is a word already; its second id stays unused */
        used += (size_t)snprintf(text + used, sizeof text - used, c == 'a' ? "##%c\n" : "%c\n", c);
    small_write(folder, "vocab.txt", text);
}

/* How much wider than nn_network_random's its numbers are, so that a random network tells words apart. */
static inline ag_real small_scale(const nn_weight *w)
{
    bool words = strstr(w->name, "word_embeddings") || strstr(w->name, "embed_tokens"), places = strstr(w->name, "position") || strstr(w->name, "type");
    return words ? 50 : w->ndim > 1 && !places ? 8 : 1;
}

/* bert | llama. The folder is made; the numbers are a function of the seed. */
static inline void small_network_write(const char *folder, const char *architecture, uint64_t seed)
{
    nn_network *net;
    ag_error err = { 0 };
    char path[400];
    nn_network_config c = small_config(architecture);
    mkdir(folder, 0777);
    small_require(nn_network_random(&net, &c, seed, &err) == AG_OK);
    nn_to_store *tensors = calloc((size_t)net->n_weight, sizeof *tensors);
    for (int i = 0; i < net->n_weight; i++) {
        const nn_weight *w = &net->weight[i];
        ag_real *wide = malloc((size_t)w->numel * sizeof *wide);
        for (int64_t j = 0; j < w->numel; j++)
            wide[j] = w->data[j] * small_scale(w);
        tensors[i] = (nn_to_store){ .name = w->name, .ndim = w->ndim, .data = wide };
        memcpy(tensors[i].shape, w->shape, sizeof w->shape);
    }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    small_require(nn_safetensors_write(path, net->n_weight, tensors, 0, NULL, &err) == AG_OK);
    for (int i = 0; i < net->n_weight; i++)
        free((void *)tensors[i].data);
    free(tensors);
    nn_network_close(net);
    small_write_config(folder, &c);
    small_write_vocabulary(folder);
}

#endif
