/* Going through a GGUF file byte by byte, and its keys. */
#ifndef NN_GGUF_CURSOR_H
#define NN_GGUF_CURSOR_H

#include "models/weights/weights_internal.h"

typedef struct nn_cursor {
    nn_weights *w;
    size_t at;
} nn_cursor;

size_t nn_left(const nn_cursor *c);
/* The next bytes are copied to out; `what` they are, for the message where the file ends before. */
ag_code nn_take(nn_cursor *c, void *out, size_t bytes, const char *what, ag_error *err);
/* A string of 1 to `most` bytes of UTF-8 without a 0, kept. */
ag_code nn_take_name(nn_cursor *c, const char *what, size_t most, const char **name, ag_error *err);
/* A key and its value. */
ag_code nn_gguf_key(nn_cursor *c, nn_meta *m, ag_error *err);

#endif
