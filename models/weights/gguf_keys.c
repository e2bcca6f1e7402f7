/* GGUF's keys and their values (gguf_cursor.h). */
#include "models/weights/gguf_cursor.h"

#include <string.h>

enum { STRING = 8, ARRAY = 9, KEY_MOST = 65535, DEPTH_MOST = 8, LENGTH = sizeof(uint64_t), ARRAY_HEAD = 4 + 8 };

size_t nn_left(const nn_cursor *c)
{
    return c->w->size - c->at;
}

ag_code nn_take(nn_cursor *c, void *out, size_t bytes, const char *what, ag_error *err)
{
    AG_REQUIRE(bytes <= nn_left(c), err, AG_EDATA, "'%s' ends at byte %zu, in %s", c->w->path, c->w->size, what);
    memcpy(out, c->w->data + c->at, bytes);
    c->at += bytes;
    return AG_OK;
}

/* The bytes stay in the file. */
static ag_code take_bytes(nn_cursor *c, const char *what, const uint8_t **s, size_t *length, ag_error *err)
{
    uint64_t n = 0;
    AG_TRY(err, nn_take(c, &n, sizeof n, what, err));
    AG_REQUIRE(n <= nn_left(c), err, AG_EDATA, "'%s': %s at byte %zu has a length of %llu; %zu bytes are left", c->w->path, what,
               c->at - sizeof n, (unsigned long long)n, nn_left(c));
    *s = c->w->data + c->at;
    *length = (size_t)n;
    c->at += n;
    return AG_OK;
}

ag_code nn_take_name(nn_cursor *c, const char *what, size_t most, const char **name, ag_error *err)
{
    const uint8_t *s = NULL;
    size_t n = 0, at = c->at;
    AG_TRY(err, take_bytes(c, what, &s, &n, err));
    AG_REQUIRE(n > 0 && n <= most, err, AG_EDATA, "'%s': %s at byte %zu has %zu bytes; expected 1 to %zu", c->w->path, what, at, n, most);
    AG_REQUIRE(nn_utf8(s, n) && !memchr(s, 0, n), err, AG_EDATA, "'%s': %s at byte %zu is no UTF-8 or has a 0 in it", c->w->path, what,
               at);
    return nn_keep_text(c->w, (const char *)s, n, name, err);
}

/* ---- values ---- */

static ag_code take_number(nn_cursor *c, int type, const char *key, double *number, ag_error *err)
{
    uint8_t raw[8] = { 0 };
    AG_TRY(err, nn_take(c, raw, nn_number_bytes(type), "a value", err));
    AG_REQUIRE(type != NN_NUM_BOOL || raw[0] <= 1, err, AG_EDATA, "'%s': '%s' is the boolean %d; expected 0 or 1", c->w->path,
               nn_shown(key).text, raw[0]);
    *number = nn_number_at((nn_number_type)type, raw);
    return AG_OK;
}

/* take_array_head has seen that they are there. */
static ag_code take_numbers(nn_cursor *c, nn_meta *m, int type, uint64_t n, ag_error *err)
{
    m->kind = NN_META_NUMBERS;
    m->n = (int64_t)n;
    m->type = (nn_number_type)type;
    m->numbers = c->w->data + c->at;
    c->at += n * nn_number_bytes(type);
    for (uint64_t i = 0; type == NN_NUM_BOOL && i < n; i++)
        AG_REQUIRE(m->numbers[i] <= 1, err, AG_EDATA, "'%s': '%s' has the boolean %d; expected 0 or 1", c->w->path,
                   nn_shown(m->key).text, m->numbers[i]);
    return AG_OK;
}

/* All are seen to be there before memory is asked for. */
static ag_code measure_strings(nn_cursor *c, uint64_t n, size_t *bytes, ag_error *err)
{
    nn_cursor ahead = *c;
    const uint8_t *s = NULL;
    size_t length = 0;
    *bytes = 0;
    for (uint64_t i = 0; i < n; i++) {
        AG_TRY(err, take_bytes(&ahead, "a string of an array", &s, &length, err));
        *bytes += length + 1;
    }
    return AG_OK;
}

static ag_code take_strings(nn_cursor *c, nn_meta *m, uint64_t n, ag_error *err)
{
    size_t bytes = 0, length = 0;
    const uint8_t *s = NULL;
    uint64_t *start = NULL, at = 0;
    char *text = NULL;
    AG_TRY(err, measure_strings(c, n, &bytes, err));
    AG_TRY(err, nn_keep(c->w, (n + 1) * sizeof *start, &start, err));
    AG_TRY(err, nn_keep(c->w, bytes, &text, err));
    for (uint64_t i = 0; i < n; i++) {
        AG_TRY(err, take_bytes(c, "a string of an array", &s, &length, err));
        start[i] = at;
        memcpy(text + at, s, length);
        text[at + length] = '\0';
        at += length + 1;
    }
    start[n] = at;
    m->kind = NN_META_STRINGS;
    m->n = (int64_t)n;
    m->text = text;
    m->start = start;
    return AG_OK;
}

static ag_code take_array_head(nn_cursor *c, const char *key, int *type, uint64_t *n, ag_error *err)
{
    uint32_t t = 0;
    AG_TRY(err, nn_take(c, &t, sizeof t, "an array's type", err));
    AG_TRY(err, nn_take(c, n, sizeof *n, "an array's length", err));
    const size_t least = t == STRING ? LENGTH : t == ARRAY ? ARRAY_HEAD : nn_number_bytes((int)(t & 0xFF));
    AG_REQUIRE(t <= NN_NUM_F64 && least > 0, err, AG_EDATA, "'%s': '%s' is an array of type %u; expected 0 to %d", c->w->path,
               nn_shown(key).text, t, NN_NUM_F64);
    AG_REQUIRE(*n <= nn_left(c) / least, err, AG_EDATA, "'%s': '%s' is an array of %llu; %zu bytes are left", c->w->path,
               nn_shown(key).text, (unsigned long long)*n, nn_left(c));
    *type = (int)t;
    return AG_OK;
}

/* Arrays of arrays are seen to be whole, and left there: nobody asks for them. */
static ag_code skip_arrays(nn_cursor *c, const char *key, uint64_t n, int depth, ag_error *err)
{
    AG_REQUIRE(depth < DEPTH_MOST, err, AG_EDATA, "'%s': '%s' has arrays in arrays %d deep; expected fewer", c->w->path,
               nn_shown(key).text, depth);
    for (uint64_t i = 0; i < n; i++) {
        nn_meta unused = { .key = key };
        int type = 0;
        uint64_t inner = 0;
        size_t bytes = 0;
        AG_TRY(err, take_array_head(c, key, &type, &inner, err));
        if (type == ARRAY)
            AG_TRY(err, skip_arrays(c, key, inner, depth + 1, err));
        else if (type != STRING)
            AG_TRY(err, take_numbers(c, &unused, type, inner, err));
        else {
            AG_TRY(err, measure_strings(c, inner, &bytes, err));
            c->at += bytes - inner + inner * LENGTH;
        }
    }
    return AG_OK;
}

static ag_code take_array(nn_cursor *c, nn_meta *m, ag_error *err)
{
    int type = 0;
    uint64_t n = 0;
    AG_TRY(err, take_array_head(c, m->key, &type, &n, err));
    if (type == ARRAY)
        return skip_arrays(c, m->key, n, 1, err);
    return type == STRING ? take_strings(c, m, n, err) : take_numbers(c, m, type, n, err);
}

static ag_code take_string(nn_cursor *c, nn_meta *m, ag_error *err)
{
    const uint8_t *s = NULL;
    size_t length = 0;
    AG_TRY(err, take_bytes(c, "a string", &s, &length, err));
    m->kind = NN_META_STRING;
    return nn_keep_text(c->w, (const char *)s, length, &m->string, err);
}

ag_code nn_gguf_key(nn_cursor *c, nn_meta *m, ag_error *err)
{
    uint32_t type = 0;
    AG_TRY(err, nn_take_name(c, "a key", KEY_MOST, &m->key, err));
    AG_TRY(err, nn_take(c, &type, sizeof type, "a key's type", err));
    AG_REQUIRE(type <= NN_NUM_F64, err, AG_EDATA, "'%s': '%s' is of type %u; expected 0 to %d", c->w->path, nn_shown(m->key).text, type,
               NN_NUM_F64);
    if (type == STRING)
        return take_string(c, m, err);
    if (type == ARRAY)
        return take_array(c, m, err);
    m->kind = NN_META_NUMBER;
    m->type = (nn_number_type)type;
    return take_number(c, (int)type, m->key, &m->number, err);
}
