/* main for a fuzz target built without libFuzzer: feeds it every file named, and every file of every folder named (none:
 * the target's committed corpus), whole and cut short at several places. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CUTS = 12, PATH = 4096 };

static long n_files, n_inputs;

static void feed(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1);   /* so that a byte read too far is seen by the sanitizers */
    fuzz_check(exact, "out of memory");
    if (size)
        memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    n_inputs++;
}

static void replay_file(const char *path, size_t size)
{
    uint8_t *data = malloc(size + 1);
    FILE *f = fopen(path, "rb");
    fuzz_check(data && f, "%s: %s", path, strerror(errno));
    fuzz_check(fread(data, 1, size, f) == size, "%s: cannot read", path);
    fclose(f);
    feed(data, size);
    for (size_t i = 0; i < CUTS && size > CUTS; i++)
        feed(data, size * i / CUTS);
    free(data);
    n_files++;
}

static void replay(const char *path)
{
    struct stat status;
    fuzz_check(stat(path, &status) == 0, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode)) {
        replay_file(path, (size_t)status.st_size);
        return;
    }
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    fuzz_check(n >= 0, "%s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        char inner[PATH];
        snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            replay(inner);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    if (argc == 1)
        replay(FUZZ_CORPUS);
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%ld files, %ld inputs\n", n_files, n_inputs);
    return n_files > 0 ? 0 : 1;
}
