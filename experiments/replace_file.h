/* A file is written aside, in the same folder, and renamed over its name when whole: readers see the old file or
 * the new one, never half of one, also after a crash of the process or of the machine. */
#ifndef XP_REPLACE_FILE_H
#define XP_REPLACE_FILE_H

#include "autograd/status.h"

/* The name aside: "dir/run.h5" -> "dir/.run.h5.tmp-PID", freed with ag_free; NULL without memory.
 * attempt > 0 gives further names, for when the first is a left-over of another process. */
char *xp_aside_name(const char *path, int attempt);
/* Creates an empty file aside under a name nobody uses; *name is freed with ag_free.
 * AG_ECONFIG when the folder is missing, is no folder or may not be written, or path is a folder or device; AG_EIO otherwise.
 * `what` names the thing in messages, for instance "result file". */
ag_code xp_aside_create(const char *what, const char *path, char **name, ag_error *err);
/* Writes a file aside and renames it to path; durable: flushed to the disk before and after. On failure what was at path
 * stays and nothing is left aside. AG_ECONFIG as xp_aside_create, AG_EIO. */
ag_code xp_replace_file(const char *what, const char *path, const void *data, size_t bytes, bool durable, ag_error *err);
/* Flushes the closed file `aside` to the disk, renames it to path and flushes the folder.
 * AG_EIO on failure; the file aside is then left where it is and the message names it. */
ag_code xp_aside_rename(const char *what, const char *aside, const char *path, ag_error *err);
/* Removes what killed processes left aside of path. Only for the one process that may write path (journal.h locks). */
void xp_aside_sweep(const char *path);

#endif
