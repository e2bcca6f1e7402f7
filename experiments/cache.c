/* The cache's place (cache.h). */
#include "experiments/cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

ag_code xp_cache_path(const char *cache_dir, const char *name, char *path, ag_error *err)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n;
    if (cache_dir)
        n = snprintf(path, XP_PATH_MAX, "%s/%s", cache_dir, name);
    else if (xdg && *xdg == '/')   /* the XDG specification: a relative path is to be ignored */
        n = snprintf(path, XP_PATH_MAX, "%s/metalora/%s", xdg, name);
    else if (home && *home)
        n = snprintf(path, XP_PATH_MAX, "%s/.cache/metalora/%s", home, name);
    else
        return ag_fail(err, AG_ECONFIG, "no place for the data cache: set XDG_CACHE_HOME or HOME to a folder");
    AG_REQUIRE(n > 0 && n < XP_PATH_MAX, err, AG_ECONFIG, "the path of the data cache is longer than %d bytes", XP_PATH_MAX);
    return AG_OK;
}

static ag_code make_folder(const char *folder, ag_error *err)
{
    if (mkdir(folder, 0777) == 0 || errno == EEXIST)
        return AG_OK;
    bool mend = errno == EACCES || errno == EPERM || errno == EROFS || errno == ENOTDIR || errno == ENOENT || errno == ENAMETOOLONG;
    return ag_fail(err, mend ? AG_ECONFIG : AG_EIO, "%s: cannot make this folder: %s", folder, strerror(errno));
}

ag_code xp_make_folder_of(const char *path, ag_error *err)
{
    char folder[XP_PATH_MAX];
    if (!*path)
        return AG_OK;
    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        AG_TRY(err, make_folder(folder, err));
        *slash = '/';
    }
    return AG_OK;
}
