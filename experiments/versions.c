/* Versions of everything a result depends on, for --version and the result file. */
#include "autograd/autograd.h"
#include "autograd/real.h"
#include "experiments/archive.h"
#include "experiments/cli_commands.h"
#include "experiments/image_png.h"
#include "experiments/results_hdf5.h"
#include "experiments/runner.h"
#include "experiments/yaml_read.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>

static char libraries[256];

static void write_libraries(void)
{
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    snprintf(libraries, sizeof libraries, "BLIS %s, HDF5 %u.%u.%u, libyaml %s, libzip %s, libspng %s, libsodium %s",
             ag_gemm_version(), major, minor, release, xp_yaml_version(), xp_zip_version(), xp_png_version(),
             sodium_version_string());
}

const char *xp_library_versions(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, write_libraries);
    return libraries;
}

ag_code xp_cli_version(char **text, ag_error *err)
{
    xp_text t = { 0 };
    xp_text_add(&t, "metalora %s\n", METALORA_VERSION);
    xp_text_add(&t, "  GEMM kernels     %s\n", ag_gemm_kernels());
    xp_text_add(&t, "  instruction set  %s\n", ag_instruction_set());
    xp_text_add(&t, "  precision        %s\n", AG_REAL_NAME);
    xp_text_add(&t, "  libraries        %s\n", xp_library_versions());
    return xp_text_take(&t, text, err);
}
