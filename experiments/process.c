/* Running other programs (process.h). */
#include "experiments/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { TICK_MS = 100, GRACE = 30 /* ticks between asking a process to end and killing it */ };

typedef struct running {
    const xp_process *p;
    pid_t pid;                   /* and its group's; 0: it was waited for */
    int from;                    /* its output; -1: closed */
    char *output;
    size_t used, room;
    int status;                  /* as waitpid gives it */
} running;

/* ---- starting ---- */

/* Our environment and one variable: pointers into both. Freed with ag_free. */
static char **environment(const char *variable)
{
    size_t n = 0, used = 0, name = variable ? strcspn(variable, "=") + 1 : 0;
    while (environ[n])
        n++;
    char **all = ag_alloc((n + 2) * sizeof *all);
    for (size_t i = 0; all && i < n; i++)
        if (!variable || strncmp(environ[i], variable, name) != 0)
            all[used++] = environ[i];
    if (all && variable)
        memcpy(&all[used++], &variable, sizeof variable);   /* char *const *: posix_spawn changes none */
    if (all)
        all[used] = NULL;
    return all;
}

static int spawn_with(running *r, int to, posix_spawn_file_actions_t *files, posix_spawnattr_t *how, char **env)
{
    char *const *argv;
    sigset_t none, pipe;
    memcpy(&argv, &r->p->argv, sizeof argv);
    sigemptyset(&none);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    int error = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    error = error ? error : posix_spawn_file_actions_adddup2(files, to, 1);
    error = error ? error : posix_spawn_file_actions_adddup2(files, to, 2);
    error = error ? error : posix_spawnattr_setflags(how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    error = error ? error : posix_spawnattr_setpgroup(how, 0);
    error = error ? error : posix_spawnattr_setsigdefault(how, &pipe);
    error = error ? error : posix_spawnattr_setsigmask(how, &none);
    return error ? error : posix_spawnp(&r->pid, argv[0], files, how, argv, env);
}

static int spawn(running *r, int to, char **env)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    int error = posix_spawn_file_actions_init(&files);
    if (error)
        return error;
    error = posix_spawnattr_init(&how);
    if (!error) {
        error = spawn_with(r, to, &files, &how, env);
        posix_spawnattr_destroy(&how);
    }
    posix_spawn_file_actions_destroy(&files);
    return error;
}

static ag_code refuse_name(const char *name, ag_error *err)
{
    return ag_fail(err, AG_ECONFIG, "there is no program '%s' in PATH", name);
}

static ag_code start(running *r, ag_error *err)
{
    int ends[2];
    const char *name = r->p->argv[0];
    char **env = environment(r->p->variable);
    AG_REQUIRE(env, err, AG_ENOMEM, "%s: out of memory", name);
    if (pipe(ends) != 0) {
        ag_free(env);
        return ag_fail(err, AG_EIO, "%s: no pipe: %s", name, strerror(errno));
    }
    for (int i = 0; i < 2; i++)
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    r->from = ends[0];
    int error = spawn(r, ends[1], env);
    close(ends[1]);
    ag_free(env);
    if (error)
        r->pid = 0;
    if (error == ENOENT)
        return refuse_name(name, err);
    AG_REQUIRE(error != ENOMEM, err, AG_ENOMEM, "%s: out of memory", name);
    AG_REQUIRE(error == 0, err, error == EACCES ? AG_ECONFIG : AG_EIO, "%s: cannot be started: %s", name, strerror(error));
    return AG_OK;
}

/* ---- watching ---- */

/* Keeps the end when there is more than fits. */
static void keep(running *r, const char *bytes, size_t n)
{
    if (n > r->room) {
        bytes += n - r->room;
        n = r->room;
    }
    size_t over = r->used + n > r->room ? r->used + n - r->room : 0;
    memmove(r->output, r->output + over, r->used - over);
    memcpy(r->output + r->used - over, bytes, n);
    r->used += n - over;
}

/* All there is to read at the moment. */
static void take_output(running *r)
{
    char bytes[4096];
    while (r->from >= 0) {
        ssize_t n = read(r->from, bytes, sizeof bytes);
        if (n > 0)
            keep(r, bytes, (size_t)n);
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0 && errno == EAGAIN)
            return;
        else {
            close(r->from);
            r->from = -1;
        }
    }
}

static ag_code look_for_end(running *r, ag_error *err)
{
    pid_t ended = waitpid(r->pid, &r->status, WNOHANG);
    int error = errno;
    if (ended == r->pid || (ended < 0 && error != EINTR))
        r->pid = 0;
    AG_REQUIRE(ended >= 0 || error == EINTR, err, AG_EIO, "%s: how it ended is unknown: %s", r->p->argv[0], strerror(error));
    return AG_OK;
}

static void pause_for(int ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = 1000000L * ms }, NULL);
}

/* Until it has ended; a grandchild may hold the pipe open for longer. */
static ag_code watch(running *r, ag_error *err)
{
    while (r->pid) {
        AG_REQUIRE(!r->p->stop || *r->p->stop == 0, err, AG_ESTOP, "%s: stopped on request", r->p->argv[0]);
        if (r->p->tick)
            r->p->tick(r->p->ctx);
        struct pollfd f = { .fd = r->from, .events = POLLIN };
        if (r->from >= 0)
            poll(&f, 1, TICK_MS);
        else
            pause_for(TICK_MS / 10);
        take_output(r);
        AG_TRY(err, look_for_end(r, err));
    }
    take_output(r);
    return AG_OK;
}

/* It and all it started that is still in its group. Waited for last: until then no other group can have its number. */
static void end_group(running *r)
{
    siginfo_t info = { 0 };
    kill(-r->pid, SIGTERM);
    for (int i = 0; i < GRACE && info.si_pid != r->pid; i++) {
        if (waitid(P_PID, (id_t)r->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno != EINTR)
            break;
        if (info.si_pid != r->pid)
            pause_for(TICK_MS);
    }
    kill(-r->pid, SIGKILL);
    while (waitpid(r->pid, &r->status, 0) < 0 && errno == EINTR)
        continue;
    r->pid = 0;
}

/* POSIX lets a program that is not there show as this, too: posix_spawn had returned already. */
static bool never_began(const running *r)
{
    enum { NOT_FOUND = 127 };
    return WIFEXITED(r->status) && WEXITSTATUS(r->status) == NOT_FOUND && r->used == 0;
}

ag_code xp_process_run(const xp_process *p, char *output, size_t n, int *status, ag_error *err)
{
    running r = { .p = p, .from = -1, .output = output, .room = n - 1 };
    ag_code code = start(&r, err);
    if (code == AG_OK)
        code = watch(&r, err);
    if (r.pid)
        end_group(&r);
    if (r.from >= 0)
        close(r.from);
    output[r.used] = '\0';
    *status = WIFSIGNALED(r.status) ? 128 + WTERMSIG(r.status) : WEXITSTATUS(r.status);
    if (code == AG_OK && never_began(&r))
        code = refuse_name(p->argv[0], err);
    return ag_trail(err, code, __func__);
}
