/* Whole folders: what is in them, and away with them. Symbolic links are not followed. */
#ifndef XP_FOLDER_H
#define XP_FOLDER_H

#include <stdint.h>

/* Removes what can be removed of path and all in it; one that is not there is none. */
void xp_folder_remove(const char *path);
/* Removes what is in the folder and begins with the prefix. */
void xp_folder_sweep(const char *folder, const char *prefix);
/* [bytes] of the files in path, by their lengths; what cannot be read counts nothing. */
int64_t xp_folder_bytes(const char *path);

#endif
