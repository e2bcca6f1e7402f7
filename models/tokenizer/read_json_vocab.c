/* model.vocab of a tokenizer.json, read where it stands: tens of thousands of members, for which a JSON library would make a
 * tree that is thrown away at once (measured on MiniLM's file: 20 ms of 23). The rest of the file is the library's. */
#include "models/tokenizer/tokenizer_internal.h"

#include <jansson.h>
#include <string.h>

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* p at the opening quote; returns what is behind the closing one, end where there is none. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        p += *p == '\\' && p + 1 < end;
    return p < end ? p + 1 : end;
}

/* What is behind the value at p; right for JSON, and within the text for anything else. */
static const char *skip_value(const char *p, const char *end)
{
    int64_t depth = 0;
    while (p < end) {
        if (*p == '"') {
            p = skip_string(p, end);
            if (depth == 0)
                return p;
            continue;
        }
        if (depth == 0 && (*p == ',' || *p == '}' || *p == ']'))
            return p;
        depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        p++;
        if (depth == 0 && (p[-1] == '}' || p[-1] == ']'))
            return p;
    }
    return end;
}

/* The value of the object's last member of that name (as the library takes it): *stop is behind it. NULL: none. */
static const char *find_member(const char *p, const char *end, const char *name, const char **stop)
{
    const size_t n = strlen(name);
    const char *found = NULL;
    if (p >= end || *p != '{')
        return NULL;
    p = skip_space(p + 1, end);
    while (p < end && *p == '"') {
        const char *key = p + 1, *behind = skip_string(p, end);
        const bool wanted = (size_t)(behind - key) == n + 1 && memcmp(key, name, n) == 0;
        p = skip_space(behind, end);
        if (p >= end || *p != ':')
            return NULL;
        const char *value = skip_space(p + 1, end);
        p = skip_value(value, end);
        if (wanted) {
            found = value;
            *stop = p;
        }
        p = skip_space(p, end);
        if (p >= end || *p != ',')
            break;
        p = skip_space(p + 1, end);
    }
    return found;
}

bool nn_json_vocab_find(const char *data, size_t length, size_t *start, size_t *stop)
{
    const char *end = data + length, *behind_model = end, *behind = end;
    const char *model = find_member(skip_space(data, end), end, "model", &behind_model);
    const char *vocab = model ? find_member(model, behind_model, "vocab", &behind) : NULL;
    if (!vocab || *vocab != '{' || behind - vocab < 2 || behind[-1] != '}')
        return false;
    *start = (size_t)(vocab - data);
    *stop = (size_t)(behind - data);
    return true;
}

/* ---- members ---- */

/* A token without escapes is taken as it stands. */
static bool read_token(nn_json_vocab *v, const char *end, const char **token, size_t *length)
{
    const char *open = v->at, *close = skip_string(open, end);
    *token = open + 1;
    *length = (size_t)(close - open) - 2;
    bool escaped = false;
    for (const char *p = open; p < close; p++) {
        escaped |= *p == '\\';
        if ((unsigned char)*p < 0x20)
            return false;
    }
    v->at = close;
    if (close - open < 2 || close[-1] != '"')
        return false;
    if (!escaped)
        return true;
    json_decref(v->held);
    v->held = json_loadb(open, (size_t)(close - open), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    *token = json_string_value(v->held);
    *length = json_string_length(v->held);
    return *token && !memchr(*token, '\0', *length);
}

/* *id -1: no integer, or one that is too large. */
static void read_id(nn_json_vocab *v, const char *end, int64_t *id)
{
    const char *p = v->at;
    int64_t n = 0;
    while (p < end && *p >= '0' && *p <= '9' && n < NN_VOCAB_MAX)
        n = 10 * n + (*p++ - '0');
    *id = p > v->at && n < NN_VOCAB_MAX && (p - v->at == 1 || *v->at != '0') ? n : -1;
    v->at = p;
}

static const char *next_of(nn_json_vocab *v, const char *end, char wanted)
{
    v->at = skip_space(v->at, end);
    if (v->at >= end || *v->at != wanted)
        return NULL;
    return v->at = skip_space(v->at + 1, end);
}

bool nn_json_vocab_next(nn_json_vocab *v, const char **token, size_t *length, int64_t *id, ag_code *code, ag_error *err)
{
    const char *end = v->text + v->length - 1;       /* the closing brace */
    *code = AG_OK;
    v->at = skip_space(v->n == 0 ? v->text + 1 : v->at, end);
    if (v->at == end)
        return false;
    if ((v->n == 0 || next_of(v, end, ',')) && v->at < end && *v->at == '"' && read_token(v, end, token, length) && next_of(v, end, ':')) {
        read_id(v, end, id);
        v->n++;
        if (*id >= 0)
            return true;
        *code = ag_fail(err, AG_EDATA, "%s: the id of '%.*s' is out of range or no integer, expected 0 to %d", v->path,
                        *length < 40 ? (int)*length : 40, *token, NN_VOCAB_MAX - 1);
        return false;
    }
    *code = ag_fail(err, AG_EDATA, "%s, byte %lld: model.vocab is not tokens and their ids", v->path,
                    (long long)(v->offset + (v->at - v->text)));
    return false;
}

void nn_json_vocab_rewind(nn_json_vocab *v)
{
    json_decref(v->held);
    v->held = NULL;
    v->n = 0;
    v->at = v->text;
}
