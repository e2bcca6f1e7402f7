/* Reading a result file into memory (run_summary.h). Nothing in the file is trusted: shapes are checked against each
 * other and against the file's size before memory is taken. */
#include "experiments/results_hdf5.h"
#include "experiments/run_summary.h"

#include <math.h>
#include <string.h>

/* One numeric data set of the wanted rank as int64 or double; *data is freed with ag_free. */
static ag_code read_numbers(hid_t group, const char *path, const char *name, hid_t type, int rank, hsize_t *shape,
                            void **data, ag_error *err)
{
    int found = -1;
    size_t n = 0;
    hid_t dataset = H5Dopen2(group, name, H5P_DEFAULT), stored = H5Dget_type(dataset);
    H5T_class_t class = stored < 0 ? H5T_NO_CLASS : H5Tget_class(stored);
    ag_code code = AG_OK;
    *data = NULL;
    if (class != H5T_INTEGER && class != H5T_FLOAT)
        code = xp_h5_fail(err, AG_EDATA, "'%s': '%s' is missing or does not hold numbers", path, name);
    hsize_t extent[H5S_MAX_RANK];
    if (code == AG_OK)
        code = xp_h5_extent(dataset, path, &found, extent, &n, err);
    if (code == AG_OK && found != rank)
        code = ag_fail(err, AG_EDATA, "'%s': '%s' has %d dimensions; expected %d", path, name, found, rank);
    if (code == AG_OK && !(*data = ag_alloc(n * 8)))
        code = ag_fail(err, AG_ENOMEM, "'%s': out of memory for '%s' (%zu numbers)", path, name, n);
    if (code == AG_OK && n > 0 && H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *data) < 0)
        code = xp_h5_fail(err, AG_EDATA, "'%s': cannot read '%s'", path, name);
    xp_h5_close(stored);
    xp_h5_close(dataset);
    if (code != AG_OK) {
        ag_free(*data);
        *data = NULL;
        return code;
    }
    memcpy(shape, extent, (size_t)rank * sizeof *shape);
    return AG_OK;
}

static ag_code read_curve(xp_curve *c, hid_t file, const char *path, const char *const names[3], ag_error *err)
{
    hsize_t n[3];
    void *data;
    AG_TRY(err, read_numbers(file, path, names[0], H5T_NATIVE_INT64, 1, &n[0], &data, err));
    c->iteration = data;
    AG_TRY(err, read_numbers(file, path, names[1], H5T_NATIVE_DOUBLE, 1, &n[1], &data, err));
    c->loss = data;
    AG_TRY(err, read_numbers(file, path, names[2], H5T_NATIVE_DOUBLE, 1, &n[2], &data, err));
    c->accuracy = data;
    hsize_t shortest = n[0];   /* columns of a run that was killed may end apart */
    for (int i = 1; i < 3; i++)
        shortest = n[i] < shortest ? n[i] : shortest;
    c->n = (int64_t)shortest;
    return AG_OK;
}

static ag_code read_loss_unit(xp_protocol *p, hid_t group, const char *path, ag_error *err)
{
    hid_t loss = H5Dopen2(group, "loss", H5P_DEFAULT);
    if (loss < 0)
        return xp_h5_fail(err, AG_EDATA, "'%s': cannot open the losses of '%s'", path, p->name);
    ag_code code = xp_h5_get_string(loss, path, "units", &p->loss_unit, err);
    xp_h5_close(loss);
    return code;
}

/* Which inner steps the columns are. */
static ag_code read_steps(xp_protocol *p, hid_t group, const char *path, ag_error *err)
{
    hsize_t n;
    void *data;
    AG_TRY(err, read_numbers(group, path, "inner_step", H5T_NATIVE_INT64, 1, &n, &data, err));
    p->step = data;
    AG_REQUIRE((int64_t)n == p->n_score, err, AG_EDATA, "'%s': the losses of '%s' have %lld columns and %lld inner steps", path, p->name,
               (long long)p->n_score, (long long)n);
    for (int64_t i = 0; i < p->n_score; i++)
        AG_REQUIRE(p->step[i] >= 0 && (i == 0 || p->step[i] > p->step[i - 1]), err, AG_EDATA,
                   "'%s': the inner steps of '%s' do not ascend", path, p->name);
    return AG_OK;
}

static ag_code read_scores(xp_protocol *p, hid_t group, const char *path, ag_error *err)
{
    hsize_t loss[2], accuracy[2];
    void *data;
    AG_TRY(err, read_numbers(group, path, "loss", H5T_NATIVE_DOUBLE, 2, loss, &data, err));
    p->loss = data;
    AG_REQUIRE(loss[0] >= 1 && loss[1] >= 1, err, AG_EDATA, "'%s': the losses of '%s' are empty", path, p->name);
    p->n_episode = (int64_t)loss[0];
    p->n_score = (int64_t)loss[1];
    AG_TRY(err, read_steps(p, group, path, err));
    AG_TRY(err, read_loss_unit(p, group, path, err));
    AG_TRY(err, xp_h5_get_number(group, path, "diverged_above", H5T_NATIVE_DOUBLE, &p->diverged_above, err));
    if (H5Lexists(group, "accuracy", H5P_DEFAULT) <= 0)
        return AG_OK;
    AG_TRY(err, read_numbers(group, path, "accuracy", H5T_NATIVE_DOUBLE, 2, accuracy, &data, err));
    p->accuracy = data;
    AG_REQUIRE(accuracy[0] == loss[0] && accuracy[1] == loss[1], err, AG_EDATA,
               "'%s': losses and accuracies of '%s' differ in shape", path, p->name);
    return AG_OK;
}

/* The i-th group of /test in the order of writing. */
static ag_code read_protocol(xp_protocol *p, hid_t test, hsize_t i, const char *path, ag_error *err)
{
    char name[256];
    if (H5Lget_name_by_idx(test, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT) < 0)
        return xp_h5_fail(err, AG_EDATA, "'%s': cannot list the test protocols", path);
    p->name = ag_strdup(name);
    AG_REQUIRE(p->name, err, AG_ENOMEM, "'%s': out of memory", path);
    hid_t group = H5Gopen2(test, name, H5P_DEFAULT);
    if (group < 0)
        return xp_h5_fail(err, AG_EDATA, "'%s': cannot open 'test/%s'", path, name);
    ag_code code = read_scores(p, group, path, err);
    xp_h5_close(group);
    return code;
}

static ag_code read_protocols(xp_run *run, hid_t file, ag_error *err)
{
    enum { MOST = 4096 };
    H5G_info_t info = { .nlinks = 0 };
    hid_t test = H5Gopen2(file, "test", H5P_DEFAULT);
    ag_code code = AG_OK;
    if (test < 0 || H5Gget_info(test, &info) < 0 || info.nlinks > MOST)
        code = xp_h5_fail(err, AG_EDATA, "'%s': cannot read the group 'test'", run->path);
    else if (info.nlinks && !(run->protocols = ag_alloc_zero((size_t)info.nlinks * sizeof *run->protocols)))
        code = ag_fail(err, AG_ENOMEM, "'%s': out of memory", run->path);
    for (hsize_t i = 0; code == AG_OK && i < info.nlinks; i++) {
        run->n_protocol = (int)i + 1;
        code = read_protocol(&run->protocols[i], test, i, run->path, err);
    }
    xp_h5_close(test);
    return code;
}

static ag_code read_root(xp_run *run, hid_t file, ag_error *err)
{
    const struct { const char *name; char **value; } strings[] = {
        { "status", &run->status }, { "name", &run->name }, { "version", &run->version }, { "config", &run->config },
        { "instruction_set", &run->instruction_set }, { "gemm", &run->gemm }, { "libraries", &run->libraries },
        { "precision", &run->precision },
    };
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        AG_TRY(err, xp_h5_get_string(file, run->path, strings[i].name, strings[i].value, err));
    AG_TRY(err, xp_h5_get_number(file, run->path, "seed", H5T_NATIVE_UINT64, &run->seed, err));
    AG_TRY(err, xp_h5_get_number(file, run->path, "repeats", H5T_NATIVE_INT64, &run->repeats, err));
    return xp_h5_get_number(file, run->path, "iterations", H5T_NATIVE_INT64, &run->iterations, err);
}

static ag_code read_system(xp_run *run, hid_t file, ag_error *err)
{
    hid_t system = H5Gopen2(file, "system", H5P_DEFAULT);
    if (system < 0)
        return xp_h5_fail(err, AG_EDATA, "'%s': cannot open the group 'system'", run->path);
    hsize_t none;
    void *seconds = NULL;
    ag_code code = xp_h5_get_number(system, run->path, "threads", H5T_NATIVE_INT64, &run->threads, err);
    if (code == AG_OK)
        code = xp_h5_get_string(system, run->path, "host", &run->host, err);
    if (code == AG_OK)
        code = xp_h5_get_string(system, run->path, "started", &run->started, err);
    if (code == AG_OK && H5Lexists(system, "seconds", H5P_DEFAULT) > 0)
        code = read_numbers(system, run->path, "seconds", H5T_NATIVE_DOUBLE, 0, &none, &seconds, err);
    run->seconds = seconds ? *(double *)seconds : NAN;
    ag_free(seconds);
    xp_h5_close(system);
    return code;
}

static ag_code read_run(xp_run *run, hid_t file, ag_error *err)
{
    static const char *const train[] = { "train/iteration", "train/query_loss", "train/query_accuracy" };
    static const char *const validation[] = { "validation/iteration", "validation/loss", "validation/accuracy" };
    AG_TRY(err, read_root(run, file, err));
    AG_TRY(err, read_system(run, file, err));
    AG_TRY(err, read_curve(&run->train, file, run->path, train, err));
    AG_TRY(err, read_curve(&run->validation, file, run->path, validation, err));
    return read_protocols(run, file, err);
}

ag_code xp_run_read(xp_run *run, const char *path, ag_error *err)
{
    AG_REQUIRE(run && path, err, AG_EINVAL, "xp_run_read: run or path is NULL");
    *run = (xp_run){ .path = ag_strdup(path), .seconds = NAN };
    AG_REQUIRE(run->path, err, AG_ENOMEM, "'%s': out of memory", path);
    hid_t file = H5I_INVALID_HID;
    xp_h5_silence silence = xp_h5_begin();
    ag_code code = xp_h5_open_run(path, &file, err);
    if (code == AG_OK)
        code = read_run(run, file, err);
    xp_h5_close(file);
    xp_h5_end(silence);
    if (code == AG_OK)
        return AG_OK;
    xp_run_release(run);
    return ag_trail(err, code, __func__);
}

static void release_curve(xp_curve *c)
{
    ag_free(c->iteration);
    ag_free(c->loss);
    ag_free(c->accuracy);
}

void xp_run_release(xp_run *run)
{
    char *const strings[] = { run->path, run->status, run->name, run->version, run->config, run->instruction_set,
                              run->gemm, run->libraries, run->precision, run->host, run->started };
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        ag_free(strings[i]);
    release_curve(&run->train);
    release_curve(&run->validation);
    for (int i = 0; i < run->n_protocol; i++) {
        ag_free(run->protocols[i].name);
        ag_free(run->protocols[i].loss_unit);
        ag_free(run->protocols[i].step);
        ag_free(run->protocols[i].loss);
        ag_free(run->protocols[i].accuracy);
    }
    ag_free(run->protocols);
    *run = (xp_run){ 0 };
}

void xp_run_score(const xp_protocol *p, int64_t i, xp_summary *loss, xp_summary *accuracy)
{
    xp_summarise(p->loss + i, p->n_episode, p->n_score, p->diverged_above, loss);
    if (p->accuracy && accuracy)
        xp_summarise(p->accuracy + i, p->n_episode, p->n_score, INFINITY, accuracy);
}
