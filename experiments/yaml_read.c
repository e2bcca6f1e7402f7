/* libyaml's events -> a tree with marks (yaml_read.h). */
#include "experiments/yaml_read.h"

#include <stdint.h>
#include <string.h>
#include <yaml.h>

typedef struct block {
    struct block *next;
} block;

typedef struct anchor {
    const char *name;
    const xp_yaml_node *node;
    int size;           /* nodes below and including it, aliases written out; 0 while it is being read */
} anchor;

typedef struct reader {
    xp_yaml *y;
    yaml_parser_t parser;
    yaml_event_t event;
    bool have_event;
    int depth, n_node, n_anchor;
    anchor anchors[XP_YAML_ANCHORS_MAX];
} reader;

static void *take(xp_yaml *y, size_t bytes)
{
    block *b = ag_alloc_zero(sizeof *b + bytes);
    if (!b)
        return NULL;
    b->next = y->memory;
    y->memory = b;
    return b + 1;
}

static const char *take_text(xp_yaml *y, const void *text, size_t length)
{
    char *copy = take(y, length + 1);
    if (copy)
        memcpy(copy, text, length);
    return copy;
}

void xp_yaml_free(xp_yaml *y)
{
    if (!y)
        return;
    for (block *b = y->memory, *next; b; b = next) {
        next = b->next;
        ag_free(b);
    }
    ag_free(y);
}

/* ---- places -------------------------------------------------------------------------------------------- */

static int clamp(size_t n)
{
    return n < INT32_MAX ? (int)n : INT32_MAX;
}

/* The width is known for what ends on its line; else the caret stands alone. */
static xp_yaml_mark span(yaml_mark_t a, yaml_mark_t b)
{
    bool same = a.line == b.line && b.column > a.column;
    return (xp_yaml_mark){ clamp(a.line + 1), clamp(a.column + 1), same ? clamp(b.column - a.column) : 1 };
}

static xp_yaml_mark event_mark(const reader *r)
{
    return span(r->event.start_mark, r->event.end_mark);
}

/* Line and column of a byte, for what libyaml's decoder stumbles over. */
static xp_yaml_mark byte_mark(const xp_yaml *y, size_t offset)
{
    xp_yaml_mark at = { 1, 1, 1 };
    for (size_t i = 0; i < offset && i < y->length; i++) {
        if (y->text[i] == '\n') {
            at.line++;
            at.column = 1;
        } else if ((y->text[i] & 0xC0) != 0x80) {
            at.column++;
        }
    }
    return at;
}

/* ---- events -------------------------------------------------------------------------------------------- */

static ag_code decoder_error(reader *r, ag_error *err)
{
    const yaml_parser_t *p = &r->parser;
    xp_yaml_mark at = byte_mark(r->y, p->problem_offset);
    if (p->problem_value >= 0 && p->problem_value < 32)
        return xp_yaml_fail(r->y, at, err, "a control character (byte 0x%02x), so this is not a text file; expected "
                            "YAML in UTF-8", (unsigned)p->problem_value);
    return xp_yaml_fail(r->y, at, err, "%s; expected YAML in UTF-8", p->problem);
}

static bool at_tab(const reader *r)
{
    const yaml_parser_t *p = &r->parser;
    return p->error == YAML_SCANNER_ERROR && p->problem_mark.index == p->mark.index &&
           p->buffer.pointer < p->buffer.last && *p->buffer.pointer == '\t';
}

static ag_code syntax_error(reader *r, ag_error *err)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return ag_fail(err, AG_ENOMEM, "%s: out of memory", r->y->name);
    if (p->error == YAML_READER_ERROR)
        return decoder_error(r, err);
    xp_yaml_mark at = span(p->problem_mark, p->problem_mark);
    if (at_tab(r))
        return xp_yaml_fail(r->y, at, err, "a tab; expected spaces, which alone indent YAML");
    if (r->y->one_line)
        return xp_yaml_fail(r->y, at, err, "not YAML: %s; expected a value, such as 0.4 or [40, 40]", p->problem);
    if (p->context)
        return xp_yaml_fail(r->y, at, err, "not YAML: %s %s begun at line %zu, column %zu; expected one 'key: value' "
                            "a line, indented with spaces", p->problem, p->context, p->context_mark.line + 1,
                            p->context_mark.column + 1);
    return xp_yaml_fail(r->y, at, err, "not YAML: %s; expected one 'key: value' a line, indented with spaces",
                        p->problem);
}

static ag_code advance(reader *r, ag_error *err)
{
    if (r->have_event)
        yaml_event_delete(&r->event);
    r->have_event = yaml_parser_parse(&r->parser, &r->event);
    return r->have_event ? AG_OK : syntax_error(r, err);
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

static ag_code add_nodes(reader *r, int n, xp_yaml_mark at, ag_error *err)
{
    r->n_node += n;
    if (r->n_node > XP_YAML_NODES_MAX)
        return xp_yaml_fail(r->y, at, err, "more than %d values once aliases are written out; expected an experiment, "
                            "which has about a hundred", XP_YAML_NODES_MAX);
    return AG_OK;
}

static ag_code new_node(reader *r, xp_yaml_kind kind, xp_yaml_node **out, ag_error *err)
{
    xp_yaml_mark at = event_mark(r);
    AG_TRY(err, add_nodes(r, 1, at, err));
    xp_yaml_node *n = take(r->y, sizeof *n);
    AG_REQUIRE(n, err, AG_ENOMEM, "%s: out of memory", r->y->name);
    n->kind = kind;
    n->at = at;
    *out = n;
    return AG_OK;
}

static ag_code refuse_tag(reader *r, const yaml_char_t *tag, ag_error *err)
{
    if (tag)
        return xp_yaml_fail(r->y, event_mark(r), err, "a tag; expected the value alone, its type is known");
    return AG_OK;
}

static ag_code open_anchor(reader *r, const yaml_char_t *name, const xp_yaml_node *node, int *index, ag_error *err)
{
    *index = -1;
    if (!name)
        return AG_OK;
    if (r->n_anchor == XP_YAML_ANCHORS_MAX)
        return xp_yaml_fail(r->y, node->at, err, "more than %d anchors; expected fewer", XP_YAML_ANCHORS_MAX);
    const char *copy = take_text(r->y, name, strlen((const char *)name));
    AG_REQUIRE(copy, err, AG_ENOMEM, "%s: out of memory", r->y->name);
    *index = r->n_anchor++;
    r->anchors[*index] = (anchor){ copy, node, 0 };
    return AG_OK;
}

static ag_code read_node(reader *r, xp_yaml_node **out, ag_error *err);

static ag_code read_scalar(reader *r, xp_yaml_node **out, ag_error *err)
{
    AG_TRY(err, refuse_tag(r, r->event.data.scalar.tag, err));
    xp_yaml_node *n;
    AG_TRY(err, new_node(r, XP_YAML_SCALAR, &n, err));
    n->length = r->event.data.scalar.length;
    n->text = take_text(r->y, r->event.data.scalar.value, n->length);
    AG_REQUIRE(n->text, err, AG_ENOMEM, "%s: out of memory", r->y->name);
    n->quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    int index;
    AG_TRY(err, open_anchor(r, r->event.data.scalar.anchor, n, &index, err));
    if (index >= 0)
        r->anchors[index].size = 1;
    *out = n;
    return AG_OK;
}

/* Shares what is below the anchor; the copy of the top node carries the alias's place and its own next. */
static ag_code read_alias(reader *r, xp_yaml_node **out, ag_error *err)
{
    const char *name = (const char *)r->event.data.alias.anchor;
    for (int i = r->n_anchor - 1; i >= 0; i--) {
        const anchor *a = &r->anchors[i];
        if (strcmp(a->name, name) != 0)
            continue;
        if (!a->size)
            return xp_yaml_fail(r->y, event_mark(r), err, "the alias '*%.40s' stands inside what it names; expected "
                                "a finished anchor", name);
        AG_TRY(err, add_nodes(r, a->size - 1, event_mark(r), err));
        AG_TRY(err, new_node(r, a->node->kind, out, err));
        xp_yaml_mark at = (*out)->at;
        **out = *a->node;
        (*out)->at = at;
        (*out)->next = NULL;
        return AG_OK;
    }
    return xp_yaml_fail(r->y, event_mark(r), err, "the alias '*%.40s' names no anchor; expected '&%.40s' before it",
                        name, name);
}

static ag_code check_key(reader *r, const xp_yaml_node *map, const xp_yaml_node *key, ag_error *err)
{
    if (key->kind != XP_YAML_SCALAR || strlen(key->text) != key->length)
        return xp_yaml_fail(r->y, key->at, err, "a key that is a list, a map or binary; expected a name");
    char shown[XP_YAML_SHOWN];
    for (const xp_yaml_node *k = map->first; k; k = k->next->next)
        if (strcmp(k->text, key->text) == 0)
            return xp_yaml_fail(r->y, key->at, err, "the key %s is given twice, first at line %d; expected it once",
                                xp_yaml_show(key, shown), k->at.line);
    return AG_OK;
}

/* The items of the list or map n, up to the event that ends it. */
static ag_code read_items(reader *r, xp_yaml_node *n, yaml_event_type_t end, ag_error *err)
{
    xp_yaml_node **tail = &n->first, *item;
    AG_TRY(err, advance(r, err));
    while (r->event.type != end) {
        AG_TRY(err, read_node(r, &item, err));
        if (n->kind == XP_YAML_MAP) {
            AG_TRY(err, check_key(r, n, item, err));
            AG_TRY(err, advance(r, err));
            AG_TRY(err, read_node(r, &item->next, err));   /* key -> value, linked in only as a pair */
        }
        *tail = item;
        tail = n->kind == XP_YAML_MAP ? &item->next->next : &item->next;
        n->n++;
        AG_TRY(err, advance(r, err));
    }
    return AG_OK;
}

static ag_code read_collection(reader *r, xp_yaml_kind kind, xp_yaml_node **out, ag_error *err)
{
    bool list = kind == XP_YAML_LIST;
    const yaml_char_t *name = list ? r->event.data.sequence_start.anchor : r->event.data.mapping_start.anchor;
    AG_TRY(err, refuse_tag(r, list ? r->event.data.sequence_start.tag : r->event.data.mapping_start.tag, err));
    if (r->depth == XP_YAML_DEPTH_MAX)
        return xp_yaml_fail(r->y, event_mark(r), err, "nested more than %d deep; expected sections with keys and "
                            "lists of numbers", XP_YAML_DEPTH_MAX);
    xp_yaml_node *n;
    int before = r->n_node, index;
    AG_TRY(err, new_node(r, kind, &n, err));
    AG_TRY(err, open_anchor(r, name, n, &index, err));
    r->depth++;
    AG_TRY(err, read_items(r, n, list ? YAML_SEQUENCE_END_EVENT : YAML_MAPPING_END_EVENT, err));
    r->depth--;
    if (index >= 0)
        r->anchors[index].size = r->n_node - before;
    *out = n;
    return AG_OK;
}

static ag_code read_node(reader *r, xp_yaml_node **out, ag_error *err)
{
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r, out, err);
    case YAML_ALIAS_EVENT:
        return read_alias(r, out, err);
    case YAML_SEQUENCE_START_EVENT:
        return read_collection(r, XP_YAML_LIST, out, err);
    case YAML_MAPPING_START_EVENT:
        return read_collection(r, XP_YAML_MAP, out, err);
    default:
        return xp_yaml_fail(r->y, event_mark(r), err, "not YAML: a value is missing; expected 'key: value'");
    }
}

static ag_code read_stream(reader *r, ag_error *err)
{
    AG_TRY(err, advance(r, err));       /* stream start */
    AG_TRY(err, advance(r, err));       /* document start, or the end */
    if (r->event.type == YAML_STREAM_END_EVENT)
        return AG_OK;
    AG_TRY(err, advance(r, err));
    xp_yaml_node *root;
    AG_TRY(err, read_node(r, &root, err));
    r->y->root = root;
    AG_TRY(err, advance(r, err));       /* document end */
    AG_TRY(err, advance(r, err));
    if (r->event.type != YAML_STREAM_END_EVENT)
        return xp_yaml_fail(r->y, event_mark(r), err, "a second document begins; expected one experiment in a file");
    return AG_OK;
}

static ag_code read_tree(xp_yaml *y, ag_error *err)
{
    reader r = { .y = y };
    AG_REQUIRE(yaml_parser_initialize(&r.parser), err, AG_ENOMEM, "%s: out of memory", y->name);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)y->text, y->length);
    ag_code code = read_stream(&r, err);
    if (r.have_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return code;
}

static ag_code copy_source(xp_yaml *y, const char *text, size_t length, const char *name, ag_error *err)
{
    AG_REQUIRE(length <= XP_YAML_BYTES_MAX, err, AG_ECONFIG, "%s: more than %d bytes; expected an experiment's YAML, "
               "which has about a thousand", name, XP_YAML_BYTES_MAX);
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {   /* a byte order mark is no column */
        text += 3;
        length -= 3;
    }
    y->name = take_text(y, name, strlen(name));
    y->text = take_text(y, text, length);
    y->length = length;
    AG_REQUIRE(y->name && y->text, err, AG_ENOMEM, "%s: out of memory", name);
    return AG_OK;
}

ag_code xp_yaml_parse(xp_yaml **out, const char *text, size_t length, const char *name, bool one_line, ag_error *err)
{
    *out = NULL;
    AG_REQUIRE(text && name, err, AG_EINVAL, "xp_yaml_parse: text or name is NULL");
    xp_yaml *y = ag_alloc_zero(sizeof *y);
    AG_REQUIRE(y, err, AG_ENOMEM, "%s: out of memory", name);
    y->one_line = one_line;
    ag_code code = copy_source(y, text, length, name, err);
    if (code == AG_OK)
        code = read_tree(y, err);
    if (code != AG_OK) {
        xp_yaml_free(y);
        return ag_trail(err, code, __func__);
    }
    *out = y;
    return AG_OK;
}

const char *xp_yaml_version(void)
{
    return yaml_get_version_string();
}
