/* Walking folders (folder.h). */
#include "experiments/folder.h"

#include "experiments/cache.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The next entry but "." and ".."; NULL at the end. */
static const char *next_name(DIR *dir)
{
    struct dirent *e;
    while ((e = readdir(dir)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            return e->d_name;
    return NULL;
}

/* Calls act for what begins with the prefix; the sum of what it returns. */
static int64_t walk(const char *folder, const char *prefix, int64_t (*act)(const char *path))
{
    char path[XP_PATH_MAX];
    int64_t sum = 0;
    const char *name;
    DIR *dir = opendir(folder);
    while (dir && (name = next_name(dir))) {
        int n = snprintf(path, sizeof path, "%s/%s", folder, name);
        if (n > 0 && n < XP_PATH_MAX && strncmp(name, prefix, strlen(prefix)) == 0)
            sum += act(path);
    }
    if (dir)
        closedir(dir);
    return sum;
}

static int64_t remove_one(const char *path)
{
    struct stat st;
    bool folder = lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
    if (folder)
        walk(path, "", remove_one);
    if (folder)
        rmdir(path);
    else
        unlink(path);
    return 0;
}

static int64_t bytes_of(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return 0;
    return S_ISDIR(st.st_mode) ? walk(path, "", bytes_of) : S_ISREG(st.st_mode) ? (int64_t)st.st_size : 0;
}

void xp_folder_remove(const char *path)
{
    remove_one(path);
}

void xp_folder_sweep(const char *folder, const char *prefix)
{
    walk(folder, prefix, remove_one);
}

int64_t xp_folder_bytes(const char *path)
{
    return bytes_of(path);
}
