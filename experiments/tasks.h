/* Task sources: where episodes come from. One source, one file, one row in tasks.c.
 *
 *     xp_source *s;
 *     AG_TRY(err, xp_source_open(&s, &config.tasks, &options, err));
 *     xp_example_shape shape = xp_source_example(s);
 *     xp_episode_size want = { .way = 5, .shot = 1, .query = 15 };
 *     xp_source_episode(s, &(xp_episode_id){ seed, AG_STREAM_TRAIN, iteration, task }, &want, sx, sy, qx, qy, err);
 *     xp_source_close(s);
 *
 * An episode is a pure function of its id and of the wanted sizes; sampling is thread-safe and allocates nothing. */
#ifndef XP_TASKS_H
#define XP_TASKS_H

#include "autograd/real.h"
#include "autograd/status.h"
#include "experiments/config.h"
#include "models/text.h"
#include "models/tokenizer/tokenizer.h"

typedef struct xp_source xp_source;

typedef struct xp_source_options {
    const char *data_dir;        /* raw data (zip files); NULL: METALORA_DATA, else the cache's folder */
    const char *cache_dir;       /* packed data; NULL: $XDG_CACHE_HOME/metalora, else ~/.cache/metalora */
    uint64_t seed;               /* of the world shared by all tasks */
    void (*note)(void *ctx, const char *text);   /* gets what the user should know though nothing failed; may be NULL */
    void *note_ctx;
    const nn_tokenizer *tokenizer;   /* of text sources: of the model that will read them; must outlive the source */
    int64_t max_tokens;          /* of one text, special tokens included */
} xp_source_options;

typedef struct xp_episode_id {
    uint64_t seed, stream, iteration, task;   /* stream AG_STREAM_TRAIN, _VALIDATION or _TEST chooses the split */
} xp_episode_id;

typedef struct xp_episode_size {
    int64_t way, shot, query;    /* query and shot per class; regression: way = 1 */
    bool fixed_labels;           /* a label is the class's place among all of the split, not among the episode's */
    int64_t support_capacity, query_capacity;   /* texts: C of the two sets, from xp_source_text_shape */
} xp_episode_size;

/* What one example looks like. */
typedef struct xp_example_shape {
    int x_ndim;
    int64_t x_shape[4];          /* sinusoid [1]; images [28, 28, 1] (height, width, channel) */
    bool labels;                 /* y is an int32 class 0 .. way-1; else ag_real [y_width], of texts int32 [y_width] */
    int64_t y_width;             /* texts without labels: max_tokens, and y the token behind each place, -1: none */
    bool text;                   /* x of a whole set is one int32 array as models/text.h lays it out; x_ndim is 0 */
} xp_example_shape;

/* Opens the source named by tasks->source; opt may be NULL (all zero). *s is NULL on failure. Fails with AG_ECONFIG
 * (unknown source, a knob out of range, data that must be imported first: the message says how), AG_EDATA, AG_EIO,
 * AG_ENOMEM. Neither tasks nor opt is kept. */
ag_code xp_source_open(xp_source **s, const xp_tasks *tasks, const xp_source_options *opt, ag_error *err);
void xp_source_close(xp_source *s);   /* NULL is allowed */
xp_example_shape xp_source_example(const xp_source *s);
/* The i-th source's name and one-line description (static storage); NULL past the last. */
const char *xp_source_name(int i);
const char *xp_source_about(int i);
/* Classes of the split (0 where tasks have none) and examples of each (0: as many as wanted), for checks of way,
 * shot and query. lora-linear: the examples of a set are exactly tasks.dim, see xp_lora_linear_truth. */
int64_t xp_source_classes(const xp_source *s, uint64_t stream);
int64_t xp_source_examples_per_class(const xp_source *s);
/* Text sources: the shapes of an episode's two sets. The capacity is the greatest number of tokens in 1,000 simulated
 * episodes of the split, a multiple of 8; an episode that has more loses tokens by nn_text_pack's rule, and
 * xp_source_dropped counts them. Fails as an episode of this size would. */
ag_code xp_source_text_shape(const xp_source *s, uint64_t stream, const xp_episode_size *size, nn_text_shape *support,
                             nn_text_shape *query, ag_error *err);
int64_t xp_source_dropped(const xp_source *s);
/* Text sources: the texts that episodes of a split are made of, and their tokens. index [n] receives their numbers; NULL: only
 * the count is wanted. 0 for sources of something else. */
typedef struct xp_text_tokens {
    const int32_t *ids;
    const int64_t *start, *length;   /* by number: text i is length[i] tokens at ids + start[i] */
} xp_text_tokens;
int64_t xp_source_texts(const xp_source *s, uint64_t stream, int64_t *index, xp_text_tokens *tokens);
/* Which texts an episode is made of: index [way * (shot + query)] receives their numbers, support before query. Fails as
 * xp_source_episode does, and with AG_EINVAL where xp_source_texts gives none. */
ag_code xp_source_picks(const xp_source *s, const xp_episode_id *id, const xp_episode_size *size, int64_t *index, ag_error *err);
/* From now on an example is features + width * number instead of the text itself: x_ndim 1, x_shape [width]. Borrowed. The
 * episodes are the same ones. Fails with AG_EINVAL where xp_source_texts gives none. */
ag_code xp_source_use_features(xp_source *s, const ag_real *features, int64_t width, ag_error *err);

/* One episode. support_x ag_real [way*shot, x_shape...], query_x [way*query, x_shape...] (texts: int32, packed: n =
 * way*shot or way*query, length = max_tokens, capacity as size says); y int32 [way*shot] or
 * ag_real [way*shot, y_width], same for query. Texts without labels: int32 [shot, max_tokens], the token that follows the one
 * at each place, -1 where there is none or no token: row c of a language model's logits [capacity, vocabulary] says what
 * follows place[c] (models/text.h). Examples are ordered shot-major: (example 0 of each class, then
 * example 1 of each, ...). Support and query never share a drawing. Buffers are the caller's, overwritten; a buffer
 * of no examples (shot or query 0) may be NULL. Fails with AG_ECONFIG, giving the numbers, when way exceeds the
 * classes of the split or shot + query the examples of a class. */
ag_code xp_source_episode(const xp_source *s, const xp_episode_id *id, const xp_episode_size *size,
                          void *support_x, void *support_y, void *query_x, void *query_y, ag_error *err);

/* lora-linear: m [dim, dim] row-major = A* + U* U*^T, the matrix behind a task, for ||M - A_hat||_F^2.
 * Training tasks are a fixed set of tasks.n_task: id->task mod n_task chooses, seed and iteration play no part;
 * a validation or test id is a task of its own. A set of the task is exactly dim virtual examples: shot and query are
 * 0 or dim. With their mean as loss (squared error summed over outputs, averaged over examples):
 *   support      equals the loss over the task's N samples up to a constant of the task
 *   train query  the support again (one data set a task, as in the paper)
 *   other query  equals ||A_hat - M||_F^2: the noise-free error in expectation over x ~ N(0, I)
 * Fails with AG_EINVAL when s is another source. */
ag_code xp_lora_linear_truth(const xp_source *s, const xp_episode_id *id, double *m, ag_error *err);

#endif
