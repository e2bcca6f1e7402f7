/* Writing a run's result file (results.h, docs/results-file.md).
 *
 * The file is built in memory, and a whole copy of it replaces the one on the disk about once a second. So what is on
 * the disk opens plainly in any reader at any moment, also after kill -9, and a full disk never meets HDF5, whose
 * version 1.10 cannot close a file that it could not write (it crashes at exit). Letting HDF5 write and flush the file
 * itself was tried: one of 32 killed runs had wrong values where a chunk began. */
#include "experiments/replace_file.h"
#include "experiments/results.h"
#include "experiments/results_table.h"
#include "experiments/seal.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static const double SNAPSHOT_SECONDS = 1, SNAPSHOT_SHARE = 0.05;   /* at most that share of the time is spent on them */

struct xp_results {
    char *path;
    bool force, published;
    dev_t device;                                /* of the file at path, when it is ours */
    ino_t inode;
    hid_t file;
    xp_table train, validation, clock;
    double started, next_snapshot;               /* monotonic clock [s] */
    bool has_seconds;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Creates, writes and describes a whole data set; *dataset is left open. */
static ag_code put_dataset(hid_t group, const char *name, hid_t file_type, hid_t memory_type, int rank,
                           const hsize_t *shape, const void *data, const char *unit, const char *long_name,
                           hid_t *dataset, ag_error *err)
{
    AG_TRY(err, xp_h5_create_dataset(group, name, file_type, rank, shape, 0, dataset, err));
    ag_code code = AG_OK;
    if (H5Dwrite(*dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        code = xp_h5_fail(err, AG_EIO, "cannot write the data set '%s'", name);
    if (code == AG_OK)
        code = xp_h5_describe(*dataset, unit, long_name, err);
    if (code != AG_OK) {
        xp_h5_close(*dataset);
        *dataset = H5I_INVALID_HID;
    }
    return code;
}

/* ---- from memory to the disk ---- */

static ag_code flush(xp_results *r, ag_error *err)
{
    AG_TRY(err, xp_table_flush(&r->train, err));
    AG_TRY(err, xp_table_flush(&r->validation, err));
    AG_TRY(err, xp_table_flush(&r->clock, err));
    if (H5Fflush(r->file, H5F_SCOPE_LOCAL) < 0)
        return xp_h5_fail(err, AG_EIO, "result file '%s': cannot complete it in memory", r->path);
    return AG_OK;
}

/* The file as bytes with their seal, freed with ag_free. */
static ag_code make_image(const xp_results *r, void **image, size_t *bytes, ag_error *err)
{
    ssize_t size = H5Fget_file_image(r->file, NULL, 0);
    if (size <= 0)
        return xp_h5_fail(err, AG_EIO, "result file '%s': cannot measure it", r->path);
    *bytes = (size_t)size + XP_SEAL_BYTES;
    *image = ag_alloc(*bytes);
    AG_REQUIRE(*image, err, AG_ENOMEM, "result file '%s': out of memory for %zd bytes", r->path, size);
    ag_code code = AG_OK;
    if (H5Fget_file_image(r->file, *image, (size_t)size) != size)
        code = xp_h5_fail(err, AG_EIO, "result file '%s': cannot copy it", r->path);
    if (code == AG_OK)
        code = xp_seal_write(*image, (size_t)size, err);
    if (code != AG_OK)
        ag_free(*image);
    return code;
}

/* Whether what is at the path now may be replaced: nothing, our own, or anything at the first time with force. */
static bool may_replace(const xp_results *r)
{
    struct stat status;
    if (lstat(r->path, &status) != 0)
        return true;
    return r->published ? status.st_dev == r->device && status.st_ino == r->inode : r->force;
}

/* The last copy is kept under another name when somebody else's file has the place. */
static ag_code keep_aside(const xp_results *r, const void *image, size_t bytes, ag_error *err)
{
    size_t size = strlen(r->path) + 32;
    char *kept = ag_alloc(size);
    AG_REQUIRE(kept, err, AG_ENOMEM, "result file '%s': out of memory", r->path);
    snprintf(kept, size, "%s.kept-%ld", r->path, (long)getpid());
    ag_code code = xp_replace_file("result file", kept, image, bytes, true, err);
    if (code == AG_OK)
        code = ag_fail(err, AG_ECONFIG, "the result file '%s' was made by someone else during the run; this run's is '%s'",
                       r->path, kept);
    ag_free(kept);
    return code;
}

static ag_code put_in_place(xp_results *r, const void *image, size_t bytes, bool last, ag_error *err)
{
    struct stat status;
    if (!may_replace(r) && last)
        return keep_aside(r, image, bytes, err);
    AG_REQUIRE(may_replace(r), err, AG_ECONFIG, "the result file '%s' was made by someone else during the run", r->path);
    AG_TRY(err, xp_replace_file("result file", r->path, image, bytes, last, err));
    r->published = lstat(r->path, &status) == 0;
    r->device = status.st_dev;
    r->inode = status.st_ino;
    return AG_OK;
}

static ag_code snapshot(xp_results *r, bool last, ag_error *err)
{
    void *image = NULL;
    size_t bytes = 0;
    double start = now();
    AG_TRY(err, flush(r, err));
    AG_TRY(err, make_image(r, &image, &bytes, err));
    ag_code code = put_in_place(r, image, bytes, last, err);
    ag_free(image);
    double took = now() - start, pause = took / SNAPSHOT_SHARE;
    r->next_snapshot = start + took + (pause > SNAPSHOT_SECONDS ? pause : SNAPSHOT_SECONDS);
    return code;
}

static ag_code after_row(xp_results *r, ag_error *err)
{
    if (now() >= r->next_snapshot)
        return snapshot(r, false, err);
    bool full = r->train.waiting == XP_TABLE_BUFFER || r->validation.waiting == XP_TABLE_BUFFER;
    return full ? flush(r, err) : AG_OK;
}

/* ---- create ---- */

static void utc_now(char text[32])
{
    time_t t = time(NULL);
    struct tm parts;
    if (!gmtime_r(&t, &parts) || strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        text[0] = '\0';
}

static ag_code write_root(hid_t file, const xp_config *c, const xp_provenance *p, ag_error *err)
{
    AG_TRY(err, xp_h5_set_string(file, "format", XP_RESULTS_FORMAT, err));
    AG_TRY(err, xp_h5_set_string(file, "Conventions", "CF-1.10", err));
    AG_TRY(err, xp_h5_set_string(file, "status", "running", err));
    AG_TRY(err, xp_h5_set_string(file, "name", c->name, err));
    AG_TRY(err, xp_h5_set_uint(file, "seed", c->seed, err));
    AG_TRY(err, xp_h5_set_int(file, "repeats", c->repeats, err));
    AG_TRY(err, xp_h5_set_int(file, "iterations", c->outer.iterations, err));
    AG_TRY(err, xp_h5_set_string(file, "config", c->resolved, err));
    AG_TRY(err, xp_h5_set_string(file, "version", p->version, err));
    AG_TRY(err, xp_h5_set_string(file, "instruction_set", p->instruction_set, err));
    AG_TRY(err, xp_h5_set_string(file, "gemm", p->gemm, err));
    AG_TRY(err, xp_h5_set_string(file, "libraries", p->libraries, err));
    return xp_h5_set_string(file, "precision", AG_REAL_NAME, err);
}

static ag_code write_system(hid_t file, const xp_provenance *p, ag_error *err)
{
    char started[32];
    struct utsname host = { .nodename = "" };
    hid_t group;
    utc_now(started);
    uname(&host);
    AG_TRY(err, xp_h5_create_group(file, "system", &group, err));
    ag_code code = xp_h5_set_string(group, "command_line", p->command_line, err);
    if (code == AG_OK)
        code = xp_h5_set_int(group, "threads", p->threads, err);
    if (code == AG_OK)
        code = xp_h5_set_string(group, "host", host.nodename, err);
    if (code == AG_OK)
        code = xp_h5_set_string(group, "started", started, err);
    xp_h5_close(group);
    return code;
}

static ag_code create_empty_group(hid_t parent, const char *name, ag_error *err)
{
    hid_t group;
    AG_TRY(err, xp_h5_create_group(parent, name, &group, err));
    xp_h5_close(group);
    return AG_OK;
}

static ag_code create_tables(xp_results *r, const char *loss_unit, ag_error *err)
{
    static const xp_column train[] = {
        { "support_loss", NULL, "loss on the support sets before adaptation, mean over the tasks" },
        { "query_loss", NULL, "loss on the query sets after adaptation, mean over the tasks: the meta-objective" },
        { "query_accuracy", "1", "accuracy on the query sets after adaptation, mean over the tasks" },
        { "grad_norm", "1", "Euclidean norm of the meta-gradient before clipping" },
        { "lr", "1", "learning rate of the outer step" },
    };
    static const xp_column validation[] = {
        { "loss", NULL, "query loss after the last inner step, mean over the validation episodes" },
        { "accuracy", "1", "query accuracy after the last inner step, mean over the validation episodes" },
    };
    static const xp_column wall[] = { { "seconds", "s", "wall clock since the start" } };
    AG_TRY(err, xp_table_create(&r->train, r->file, "train", 5, train, loss_unit, err));
    AG_TRY(err, xp_table_create(&r->validation, r->file, "validation", 2, validation, loss_unit, err));
    AG_TRY(err, create_empty_group(r->file, "test", err));
    AG_TRY(err, create_empty_group(r->file, "parameters", err));
    return xp_table_create(&r->clock, r->file, "system/train", 1, wall, loss_unit, err);
}

/* In memory only; the name tells it from other open files. */
static hid_t create_file(const char *name)
{
    enum { GROWTH = 1 << 20 };
    hid_t order = xp_h5_track_order(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS), file = H5I_INVALID_HID;
    if (order >= 0 && access >= 0 && H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0
        && H5Pset_fapl_core(access, GROWTH, false) >= 0)
        file = H5Fcreate(name, H5F_ACC_TRUNC, order, access);
    xp_h5_close(access);
    xp_h5_close(order);
    return file;
}

static ag_code refuse_existing(const char *path, bool force, ag_error *err)
{
    struct stat status;
    AG_REQUIRE(force || lstat(path, &status) != 0, err, AG_ECONFIG,
               "the result file '%s' exists; name another with --out, or replace it with --force", path);
    return AG_OK;
}

/* Whether a file can be made there, before hours are spent. */
static ag_code check_place(const char *path, ag_error *err)
{
    char *aside;
    AG_TRY(err, xp_aside_create("result file", path, &aside, err));
    unlink(aside);
    ag_free(aside);
    return AG_OK;
}

static ag_code fill_new(xp_results *r, const char *path, const xp_config *c, const xp_provenance *p, ag_error *err)
{
    r->path = ag_strdup(path);
    AG_REQUIRE(r->path, err, AG_ENOMEM, "result file '%s': out of memory", path);
    AG_TRY(err, check_place(path, err));
    r->file = create_file(path);
    if (r->file < 0)
        return xp_h5_fail(err, AG_EIO, "result file '%s': cannot create it in memory", path);
    AG_TRY(err, write_root(r->file, c, p, err));
    AG_TRY(err, write_system(r->file, p, err));
    return create_tables(r, p->loss_unit ? p->loss_unit : "1", err);
}

ag_code xp_results_create(xp_results **out, const char *path, bool force, const xp_config *c, const xp_provenance *p,
                          ag_error *err)
{
    AG_REQUIRE(out && c && p, err, AG_EINVAL, "xp_results_create: out, config or provenance is NULL");
    *out = NULL;
    AG_REQUIRE(path && *path, err, AG_ECONFIG, "the name of the result file is empty");
    AG_TRY(err, refuse_existing(path, force, err));
    xp_results *r = ag_alloc_zero(sizeof *r);
    AG_REQUIRE(r, err, AG_ENOMEM, "result file '%s': out of memory", path);
    r->file = r->train.iteration = r->validation.iteration = r->clock.iteration = H5I_INVALID_HID;
    r->force = force;
    r->started = now();
    xp_h5_silence silence = xp_h5_begin();
    ag_code code = fill_new(r, path, c, p, err);
    xp_h5_end(silence);
    if (code != AG_OK) {
        xp_results_abandon(r);
        return ag_trail(err, code, __func__);
    }
    *out = r;
    return AG_OK;
}

ag_code xp_results_publish(xp_results *r, ag_error *err)
{
    AG_REQUIRE(r, err, AG_EINVAL, "xp_results_publish: results is NULL");
    xp_h5_silence silence = xp_h5_begin();
    ag_code code = snapshot(r, false, err);
    xp_h5_end(silence);
    return code == AG_OK ? code : ag_trail(err, code, __func__);
}

/* ---- rows, scores, parameters ---- */

ag_code xp_results_train(xp_results *r, const xp_train_row *row, ag_error *err)
{
    AG_REQUIRE(r && row, err, AG_EINVAL, "xp_results_train: results or row is NULL");
    const double values[] = { row->support_loss, row->query_loss, row->query_accuracy, row->grad_norm, row->lr };
    AG_REQUIRE(r->train.waiting < XP_TABLE_BUFFER, err, AG_EINVAL, "xp_results_train: an earlier row was not written");
    xp_table_add(&r->train, row->iteration, values);
    xp_table_add(&r->clock, row->iteration, &row->seconds);
    xp_h5_silence silence = xp_h5_begin();
    ag_code code = after_row(r, err);
    xp_h5_end(silence);
    return code == AG_OK ? code : ag_trail(err, code, __func__);
}

ag_code xp_results_validation(xp_results *r, const xp_validation_row *row, ag_error *err)
{
    AG_REQUIRE(r && row, err, AG_EINVAL, "xp_results_validation: results or row is NULL");
    const double values[] = { row->loss, row->accuracy };
    AG_REQUIRE(r->validation.waiting < XP_TABLE_BUFFER, err, AG_EINVAL,
               "xp_results_validation: an earlier row was not written");
    xp_table_add(&r->validation, row->iteration, values);
    xp_h5_silence silence = xp_h5_begin();
    ag_code code = after_row(r, err);
    xp_h5_end(silence);
    return code == AG_OK ? code : ag_trail(err, code, __func__);
}

/* The coordinates `at` [n] as a dimension scale; NULL: 0, 1, ..., n - 1. */
static ag_code put_count_scale(hid_t group, const char *name, int64_t n, const int64_t *at, const char *long_name, hid_t *scale,
                               ag_error *err)
{
    const hsize_t shape = (hsize_t)n;
    int64_t *counts = ag_alloc((size_t)n * sizeof *counts);
    AG_REQUIRE(counts, err, AG_ENOMEM, "out of memory for %lld numbers of '%s'", (long long)n, name);
    for (int64_t i = 0; i < n; i++)
        counts[i] = at ? at[i] : i;
    ag_code code = put_dataset(group, name, H5T_STD_I64LE, H5T_NATIVE_INT64, 1, &shape, counts, "1", long_name, scale, err);
    if (code == AG_OK)
        code = xp_h5_make_scale(*scale, name, err);
    ag_free(counts);
    return code;
}

/* scales: episode, inner_step; left open whatever happens. */
static ag_code put_scores(hid_t group, const xp_scores *s, hid_t scales[2], ag_error *err)
{
    const hsize_t shape[2] = { (hsize_t)s->n_episode, (hsize_t)s->n_score };
    const struct { const char *name, *unit, *long_name; const void *data; hid_t file, memory; int rank; } sets[] = {
        { "episode_seed", "1", "task number of the episode: with seed and stream it makes the episode again",
          s->episode_seed, H5T_STD_U64LE, H5T_NATIVE_UINT64, 1 },
        { "loss", s->loss_unit ? s->loss_unit : "1", "query loss after so many inner steps (0: before adaptation)", s->loss,
          H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2 },
        { "accuracy", "1", "query accuracy after so many inner steps (0: before adaptation)", s->accuracy, H5T_IEEE_F64LE,
          H5T_NATIVE_DOUBLE, 2 },
    };
    AG_TRY(err, put_count_scale(group, "episode", s->n_episode, NULL, "test episode", &scales[0], err));
    AG_TRY(err, put_count_scale(group, "inner_step", s->n_score, s->step, "inner steps taken", &scales[1], err));
    for (int i = 0; i < 3; i++) {
        hid_t dataset;
        if (!sets[i].data)
            continue;
        AG_TRY(err, put_dataset(group, sets[i].name, sets[i].file, sets[i].memory, sets[i].rank, shape, sets[i].data,
                                sets[i].unit, sets[i].long_name, &dataset, err));
        ag_code code = AG_OK;
        for (unsigned k = 0; k < (unsigned)sets[i].rank && code == AG_OK; k++)
            code = xp_h5_attach_scale(dataset, scales[k], k, err);
        if (code == AG_OK && sets[i].rank == 2 && s->episode_seed)
            code = xp_h5_set_string(dataset, "coordinates", "episode_seed", err);
        xp_h5_close(dataset);
        AG_TRY(err, code);
    }
    return AG_OK;
}

static ag_code create_protocol(hid_t file, const xp_scores *s, ag_error *err)
{
    char path[256];
    hid_t group, scales[2] = { H5I_INVALID_HID, H5I_INVALID_HID };
    snprintf(path, sizeof path, "test/%s", s->protocol);
    AG_TRY(err, xp_h5_create_group(file, path, &group, err));
    ag_code code = put_scores(group, s, scales, err);
    if (code == AG_OK)
        code = xp_h5_set_double(group, "diverged_above", s->diverged_above, err);
    xp_h5_close(scales[0]);
    xp_h5_close(scales[1]);
    xp_h5_close(group);
    return code;
}

/* A name that HDF5, netCDF and xarray all accept as one step of a path. */
static bool is_link_name(const char *name, size_t length)
{
    return length > 0 && length <= 200 && !memchr(name, '/', length) && strncmp(name, ".", length) != 0
           && strncmp(name, "..", length) != 0;
}

ag_code xp_results_scores(xp_results *r, const xp_scores *s, ag_error *err)
{
    AG_REQUIRE(r && s && s->protocol && s->loss, err, AG_EINVAL, "xp_results_scores: results, scores, protocol or loss is NULL");
    AG_REQUIRE(is_link_name(s->protocol, strlen(s->protocol)), err, AG_EINVAL,
               "xp_results_scores: '%.80s' is no protocol name; expected 1 to 200 characters without '/'", s->protocol);
    AG_REQUIRE(s->n_episode >= 1 && s->n_score >= 1, err, AG_EINVAL,
               "xp_results_scores: %lld episodes, %lld scored steps; expected at least 1 of each", (long long)s->n_episode,
               (long long)s->n_score);
    for (int64_t i = 0; s->step && i < s->n_score; i++)
        AG_REQUIRE(s->step[i] >= 0 && (i == 0 || s->step[i] > s->step[i - 1]), err, AG_EINVAL,
                   "xp_results_scores: step %lld; expected steps in ascending order, from 0", (long long)s->step[i]);
    xp_h5_silence silence = xp_h5_begin();
    ag_code code = create_protocol(r->file, s, err);
    if (code == AG_OK)
        code = snapshot(r, false, err);
    xp_h5_end(silence);
    return code == AG_OK ? code : ag_trail(err, code, __func__);
}

static ag_code check_parameter(const char *name, int ndim, const int64_t *shape, ag_error *err)
{
    for (const char *at = name;;) {
        size_t n = strcspn(at, "/");
        AG_REQUIRE(is_link_name(at, n), err, AG_EINVAL, "xp_results_parameter: '%.200s' is no parameter name", name);
        if (!at[n])
            break;
        at += n + 1;
    }
    AG_REQUIRE(ndim >= 0 && ndim <= H5S_MAX_RANK, err, AG_ESHAPE, "parameter '%s': %d dimensions", name, ndim);
    for (int i = 0; i < ndim; i++)
        AG_REQUIRE(shape[i] >= 0, err, AG_ESHAPE, "parameter '%s': dimension %d is %lld", name, i, (long long)shape[i]);
    return AG_OK;
}

/* Opens /parameters and, in turn, the groups named before the last slash; *last is the rest of the name. */
static ag_code open_parameter_group(hid_t file, const char *name, hid_t *group, const char **last, ag_error *err)
{
    hid_t at = H5Gopen2(file, "parameters", H5P_DEFAULT);
    if (at < 0)
        return xp_h5_fail(err, AG_EIO, "cannot open the group 'parameters'");
    for (const char *slash; (slash = strchr(name, '/')); name = slash + 1) {
        char step[256];
        hid_t next = H5I_INVALID_HID;
        ag_code code = AG_OK;
        snprintf(step, sizeof step, "%.*s", (int)(slash - name), name);
        if (H5Lexists(at, step, H5P_DEFAULT) <= 0)
            code = xp_h5_create_group(at, step, &next, err);
        else if ((next = H5Gopen2(at, step, H5P_DEFAULT)) < 0)
            code = xp_h5_fail(err, AG_EIO, "cannot open the group '%s'", step);
        xp_h5_close(at);
        AG_TRY(err, code);
        at = next;
    }
    *group = at;
    *last = name;
    return AG_OK;
}

static ag_code put_parameter(hid_t file, const char *name, int ndim, const int64_t *shape, const ag_real *data,
                             ag_error *err)
{
    const bool wide = sizeof(ag_real) == sizeof(double);
    hsize_t extent[H5S_MAX_RANK];
    hid_t group = H5I_INVALID_HID, dataset = H5I_INVALID_HID;
    const char *last = name;
    for (int i = 0; i < ndim; i++)
        extent[i] = (hsize_t)shape[i];
    AG_TRY(err, open_parameter_group(file, name, &group, &last, err));
    ag_code code = put_dataset(group, last, wide ? H5T_IEEE_F64LE : H5T_IEEE_F32LE,
                               wide ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT, ndim, extent, data, NULL, name, &dataset, err);
    xp_h5_close(dataset);
    xp_h5_close(group);
    return code;
}

ag_code xp_results_parameter(xp_results *r, const char *name, int ndim, const int64_t *shape, const ag_real *data,
                             ag_error *err)
{
    AG_REQUIRE(r && name && data && (shape || ndim == 0), err, AG_EINVAL, "xp_results_parameter: an argument is NULL");
    AG_TRY(err, check_parameter(name, ndim, shape, err));
    xp_h5_silence silence = xp_h5_begin();
    ag_code code = put_parameter(r->file, name, ndim, shape, data, err);
    xp_h5_end(silence);
    return code == AG_OK ? code : ag_trail(err, code, __func__);
}

static ag_code put_system(hid_t file, const char *name, double value, const char *unit, ag_error *err)
{
    char path[256];
    hid_t dataset;
    snprintf(path, sizeof path, "system/%s", name);
    if (H5Lexists(file, path, H5P_DEFAULT) > 0)
        dataset = H5Dopen2(file, path, H5P_DEFAULT);
    else
        AG_TRY(err, xp_h5_create_dataset(file, path, H5T_IEEE_F64LE, 0, NULL, 0, &dataset, err));
    ag_code code = AG_OK;
    if (dataset < 0 || H5Dwrite(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, &value) < 0)
        code = xp_h5_fail(err, AG_EIO, "cannot write '%s'", path);
    if (code == AG_OK)
        code = xp_h5_set_string(dataset, "units", unit ? unit : "1", err);
    xp_h5_close(dataset);
    return code;
}

ag_code xp_results_base(xp_results *r, const char *digest, ag_error *err)
{
    AG_REQUIRE(r && digest, err, AG_EINVAL, "xp_results_base: results or digest is NULL");
    xp_h5_silence silence = xp_h5_begin();
    ag_code code = xp_h5_set_string(r->file, "base_digest", digest, err);
    xp_h5_end(silence);
    return code == AG_OK ? code : ag_trail(err, code, __func__);
}

ag_code xp_results_system(xp_results *r, const char *name, double value, const char *unit, ag_error *err)
{
    AG_REQUIRE(r && name, err, AG_EINVAL, "xp_results_system: results or name is NULL");
    AG_REQUIRE(is_link_name(name, strlen(name)) && strcmp(name, "train") != 0, err, AG_EINVAL,
               "xp_results_system: '%.80s' is no name for a figure", name);
    xp_h5_silence silence = xp_h5_begin();
    ag_code code = put_system(r->file, name, value, unit, err);
    xp_h5_end(silence);
    if (code != AG_OK)
        return ag_trail(err, code, __func__);
    r->has_seconds |= strcmp(name, "seconds") == 0;
    return AG_OK;
}

/* ---- close ---- */

static ag_code write_end(xp_results *r, const char *status, ag_error *err)
{
    char finished[32];
    utc_now(finished);
    if (!r->has_seconds)
        AG_TRY(err, put_system(r->file, "seconds", now() - r->started, "s", err));
    hid_t group = H5Gopen2(r->file, "system", H5P_DEFAULT);
    if (group < 0)
        return xp_h5_fail(err, AG_EIO, "cannot open the group 'system'");
    ag_code code = xp_h5_set_string(group, "finished", finished, err);
    xp_h5_close(group);
    AG_TRY(err, code);
    AG_TRY(err, xp_h5_set_string(r->file, "status", status, err));
    return snapshot(r, true, err);
}

static void free_results(xp_results *r)
{
    xp_h5_silence silence = xp_h5_begin();
    if (r->file >= 0) {
        xp_table_close(&r->train);
        xp_table_close(&r->validation);
        xp_table_close(&r->clock);
        H5Fclose(r->file);   /* in memory only: nothing can be lost */
    }
    xp_h5_end(silence);
    ag_free(r->path);
    ag_free(r);
}

ag_code xp_results_close(xp_results *r, const char *status, ag_error *err)
{
    AG_REQUIRE(r, err, AG_EINVAL, "xp_results_close: results is NULL");
    ag_code code = AG_OK;
    if (!status || (strcmp(status, "complete") && strcmp(status, "interrupted") && strcmp(status, "failed")))
        code = ag_fail(err, AG_EINVAL, "xp_results_close: the status '%s' is not complete, interrupted or failed",
                       status ? status : "(NULL)");
    xp_h5_silence silence = xp_h5_begin();
    if (code == AG_OK)
        code = write_end(r, status, err);
    xp_h5_end(silence);
    free_results(r);
    return code == AG_OK ? code : ag_trail(err, code, __func__);
}

void xp_results_abandon(xp_results *r)
{
    if (!r)
        return;
    if (r->published && may_replace(r))
        unlink(r->path);
    free_results(r);
}
