/* Files written aside and renamed (replace_file.h). */
#include "experiments/replace_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ATTEMPTS = 100 };

/* Length of the folder part of path, with its last slash; 0 if there is none. */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

char *xp_aside_name(const char *path, int attempt)
{
    size_t folder = folder_length(path), size = strlen(path) + 64;
    char *name = ag_alloc(size);
    if (!name)
        return NULL;
    int n = snprintf(name, size, "%.*s.%s.tmp-%ld", (int)folder, path, path + folder, (long)getpid());
    if (attempt > 0)
        snprintf(name + n, size - (size_t)n, "-%d", attempt);
    return name;
}

/* Says why nothing can be created beside path; error is errno. */
static ag_code refuse(const char *what, const char *path, int error, ag_error *err)
{
    size_t n = folder_length(path);
    const char *folder = n ? path : ".";
    int length = n > 1 ? (int)n - 1 : 1;
    switch (error) {
    case ENOENT:
        return ag_fail(err, AG_ECONFIG, "%s '%s': the folder '%.*s' does not exist; create it or name another", what, path,
                       length, folder);
    case ENOTDIR:
        return ag_fail(err, AG_ECONFIG, "%s '%s': '%.*s' is not a folder", what, path, length, folder);
    case EACCES:
    case EPERM:
    case EROFS:
        return ag_fail(err, AG_ECONFIG, "%s '%s': the folder '%.*s' may not be written to (%s); name another", what, path,
                       length, folder, strerror(error));
    case ENAMETOOLONG:
        return ag_fail(err, AG_ECONFIG, "%s '%s': the name is too long", what, path);
    default:
        return ag_fail(err, AG_EIO, "%s '%s': cannot create a file in '%.*s': %s", what, path, length, folder,
                       strerror(error));
    }
}

ag_code xp_aside_create(const char *what, const char *path, char **name, ag_error *err)
{
    struct stat status;
    *name = NULL;
    AG_REQUIRE(path && path[folder_length(path)], err, AG_ECONFIG, "%s '%s': expected the name of a file", what,
               path ? path : "");
    if (stat(path, &status) == 0) {   /* a rename would put a file in the place of a device or pipe, too */
        AG_REQUIRE(!S_ISDIR(status.st_mode), err, AG_ECONFIG, "%s '%s': that is a folder; expected the name of a file", what,
                   path);
        AG_REQUIRE(S_ISREG(status.st_mode), err, AG_ECONFIG,
                   "%s '%s': that is a device, pipe or socket; expected the name of a file", what, path);
    }
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        char *aside = xp_aside_name(path, attempt);
        AG_REQUIRE(aside, err, AG_ENOMEM, "%s '%s': out of memory", what, path);
        int fd = open(aside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            close(fd);
            *name = aside;
            return AG_OK;
        }
        int error = errno;
        ag_free(aside);
        if (error != EEXIST)
            return refuse(what, path, error, err);
    }
    return refuse(what, path, EEXIST, err);
}

/* 0 or errno. */
static int fill(const char *name, const char *data, size_t n)
{
    int fd = open(name, O_WRONLY | O_TRUNC | O_CLOEXEC), error = 0;
    if (fd < 0)
        return errno;
    while (n > 0 && error == 0) {
        ssize_t done = write(fd, data, n < 1 << 30 ? n : 1 << 30);
        if (done < 0 && errno != EINTR)
            error = errno;
        if (done > 0) {
            data += done;
            n -= (size_t)done;
        }
    }
    if (close(fd) != 0 && error == 0)
        error = errno;
    return error;
}

ag_code xp_replace_file(const char *what, const char *path, const void *data, size_t bytes, bool durable, ag_error *err)
{
    char *aside;
    ag_code code = AG_OK;
    AG_TRY(err, xp_aside_create(what, path, &aside, err));
    int error = fill(aside, data, bytes);
    if (error == 0 && !durable && rename(aside, path) != 0)
        error = errno;
    if (error != 0)
        code = ag_fail(err, AG_EIO, "%s '%s': cannot write: %s", what, path, strerror(error));
    else if (durable)
        code = xp_aside_rename(what, aside, path, err);
    if (code != AG_OK)
        unlink(aside);
    ag_free(aside);
    return code;
}

void xp_aside_sweep(const char *path)
{
    size_t folder = folder_length(path), n = strlen(path + folder);
    char *name = ag_alloc(folder + NAME_MAX + 2);
    if (!name)
        return;
    snprintf(name, folder + 2, "%.*s", folder ? (int)folder : 1, folder ? path : ".");
    DIR *dir = opendir(name);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        const char *at = e->d_name;
        if (at[0] != '.' || strncmp(at + 1, path + folder, n) != 0 || strncmp(at + 1 + n, ".tmp-", 5) != 0
            || !at[n + 6] || at[n + 6 + strspn(at + n + 6, "0123456789-")])
            continue;
        snprintf(name, folder + NAME_MAX + 1, "%.*s%s", (int)folder, path, at);
        unlink(name);
    }
    if (dir)
        closedir(dir);
    ag_free(name);
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = fsync(fd) != 0 ? errno : 0;
    close(fd);
    return error;
}

/* A file system that cannot flush a folder (EINVAL) has done what it can. */
static int sync_folder(const char *path)
{
    size_t n = folder_length(path);
    char *folder = ag_alloc(n + 2);
    if (!folder)
        return ENOMEM;
    memcpy(folder, n ? path : ".", n ? n : 1);
    folder[n ? n : 1] = '\0';
    int error = sync_path(folder, O_RDONLY | O_DIRECTORY);
    ag_free(folder);
    return error == EINVAL ? 0 : error;
}

ag_code xp_aside_rename(const char *what, const char *aside, const char *path, ag_error *err)
{
    int error = sync_path(aside, O_RDONLY);
    AG_REQUIRE(error == 0, err, AG_EIO, "%s '%s': cannot flush '%s' to the disk: %s", what, path, aside, strerror(error));
    AG_REQUIRE(rename(aside, path) == 0, err, AG_EIO, "%s '%s': cannot rename '%s' to it: %s; the data are in that file",
               what, path, aside, strerror(errno));
    error = sync_folder(path);
    AG_REQUIRE(error == 0, err, error == ENOMEM ? AG_ENOMEM : AG_EIO, "%s '%s': cannot flush its folder to the disk: %s", what,
               path, strerror(error));
    return AG_OK;
}
