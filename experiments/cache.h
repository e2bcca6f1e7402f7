/* Where packed data and models are kept: one folder a user. */
#ifndef XP_CACHE_H
#define XP_CACHE_H

#include "autograd/status.h"

enum { XP_PATH_MAX = 4096 };

/* The path of `name` in cache_dir; NULL: in $XDG_CACHE_HOME/metalora, else $HOME/.cache/metalora. path has XP_PATH_MAX bytes.
 * Fails with AG_ECONFIG when none is set or the path is too long. */
ag_code xp_cache_path(const char *cache_dir, const char *name, char *path, ag_error *err);
/* Makes the folder that path lies in, and those above it. AG_ECONFIG when it may not be made there, AG_EIO otherwise. */
ag_code xp_make_folder_of(const char *path, ag_error *err);

#endif
