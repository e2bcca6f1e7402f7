/* PEFT's folder: the bytes are adapter_config.json, and behind the first 0 byte adapter_model.safetensors; without one the
 * tensors are those of a folder this program wrote. What is read must stand being drawn, merged and written again. */
#include "meta/adapter.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[40], again[48];
static nn_network *net;
static uint8_t *tensors;                   /* of a well-formed adapter */
static size_t n_tensors;

static const char *path_in(const char *dir, const char *file)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    return path;
}

static void write_file(const char *file, const uint8_t *data, size_t size)
{
    int fd = open(path_in(folder, file), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    fuzz_check(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0, "cannot write in '%s'", folder);
}

static void remove_folders(void)
{
    static const char *const files[] = { "adapter_config.json", "adapter_model.safetensors" };
    for (int i = 0; i < 2; i++) {
        unlink(path_in(folder, files[i]));
        unlink(path_in(again, files[i]));
    }
    rmdir(folder);
    rmdir(again);
    nn_network_close(net);
    free(tensors);
}

static void keep_tensors(void)
{
    FILE *f = fopen(path_in(folder, "adapter_model.safetensors"), "rb");
    tensors = malloc(1 << 16);
    fuzz_check(f && tensors, "cannot read what was written");
    n_tensors = fread(tensors, 1, 1 << 16, f);
    fclose(f);
}

static void begin(void)
{
    const nn_network_config c = { .architecture = "llama", .vocab_size = 5, .hidden_size = 4, .n_layer = 2, .n_head = 2,
                                  .intermediate_size = 6, .max_position = 8 };
    ag_error err = { 0 };
    meta_adapter *a;
    snprintf(folder, sizeof folder, "fuzz-peft-%ld", (long)getpid());
    snprintf(again, sizeof again, "%s-again", folder);
    fuzz_check(nn_network_random(&net, &c, 1, &err) == AG_OK && meta_adapter_new(&a, net, &(meta_adapter_options){ .rank = 2 },
            &err) == AG_OK, "%s", err.message);
    ag_real *values = ag_alloc((size_t)meta_adapter_values(a) * sizeof *values);
    meta_adapter_draw(a, 1, values);
    fuzz_check(meta_peft_save(folder, a, values, 0, NULL, &err) == AG_OK, "%s", err.message);
    ag_free(values);
    meta_adapter_free(a);
    keep_tensors();
    atexit(remove_folders);
}

/* Read again, it is the same adapter. */
static void write_again(const meta_adapter *a, const ag_real *values)
{
    ag_error err = { 0 };
    ag_real *read;
    meta_adapter *b;
    fuzz_check(meta_peft_save(again, a, values, 0, NULL, &err) == AG_OK, "not written: %s", err.message);
    fuzz_check(meta_peft_load(&b, &read, again, net, &err) == AG_OK, "not read again: %s", err.message);
    fuzz_check(meta_adapter_modules(a) == meta_adapter_modules(b), "%d modules, read again %d", meta_adapter_modules(a),
               meta_adapter_modules(b));
    ag_free(read);
    meta_adapter_free(b);
}

static void use(const meta_adapter *a, ag_real *values)
{
    ag_error err = { 0 };
    ag_real merged[64];
    for (int i = 0; i < meta_adapter_modules(a); i++)
        fuzz_check(meta_adapter_merge(a, values, i, merged, &err) == AG_OK, "%s", err.message);
    write_again(a, values);
    meta_adapter_draw(a, 3, values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ag_error err = { 0 };
    ag_real *values;
    meta_adapter *a;
    if (!net)
        begin();
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t n_config = end ? (size_t)(end - data) : size;
    write_file("adapter_config.json", data, n_config);
    if (end)
        write_file("adapter_model.safetensors", end + 1, size - n_config - 1);
    else
        write_file("adapter_model.safetensors", tensors, n_tensors);
    if (fuzz_answer(meta_peft_load(&a, &values, folder, net, &err), &err))
        use(a, values);
    else
        fuzz_check(!a && !values, "a failure left something");
    ag_free(values);
    meta_adapter_free(a);
    return 0;
}
