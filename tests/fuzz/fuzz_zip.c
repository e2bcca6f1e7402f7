/* Importing Omniglot's archives: the bytes stand for both. The expectations are small: one character of two drawings in
 * each, whose digest is the one of the archive seeds.py makes. */
#include "experiments/omniglot_cache.h"
#include "experiments/omniglot_import.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char digest[] = "8d5b811c5fc379bc9d141d101cbc491fc8a08bd3968ebadc8b2d3d703366fc83";
static char folder[] = "fuzz-zip-XXXXXX";

static const char *const names[] = { "images_background.zip", "images_evaluation.zip", "omniglot-28x28.bin" };

static void inside(char path[64], const char *name)
{
    snprintf(path, 64, "%s/%s", folder, name);
}

static void remove_folder(void)
{
    char path[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        inside(path, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

/* Two links to the input. */
static void make_folder(const char *input)
{
    char path[64], up[64];
    fuzz_check(mkdtemp(folder), "cannot make a folder here");
    atexit(remove_folder);
    snprintf(up, sizeof up, "../%s", input);
    for (int i = 0; i < 2; i++) {
        inside(path, names[i]);
        fuzz_check(symlink(up, path) == 0, "cannot make '%s'", path);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    const xp_omniglot_expect expect = { .characters = { 1, 1 }, .drawings = 2, .digest = digest };
    const char *input = fuzz_file(0, data, size);
    char path[64], report[512];
    ag_error err = { 0 };
    if (!made)
        make_folder(input);
    made = true;
    inside(path, names[2]);
    bool good = fuzz_answer(xp_omniglot_import_expecting(&expect, folder, folder, report, sizeof report, &err), &err);
    fuzz_check(good == (access(path, F_OK) == 0), "%s, but the packed file is %s", good ? "imported" : "refused",
               good ? "missing" : "there");
    xp_omniglot_pack pack;
    if (good) {
        fuzz_check(xp_omniglot_cache_read(&pack, path, digest, &err) == AG_OK, "the packed file is refused: %s", err.message);
        xp_omniglot_pack_release(&pack);
        unlink(path);
    }
    return 0;
}
