/* The classes of a table whose columns are text, label and, where there are three, domain.
 *
 *     xp_class_set s;
 *     xp_text_facts facts;
 *     AG_TRY(err, xp_text_classes(&s, "banking77", &table, 2, max_per_class, &facts, err));
 *     AG_TRY(err, xp_class_set_split(&s, ...));       // members are rows of the table
 *
 * Classes are in byte order of their labels; domains rank in the order in which the rows first name them. The texts of a
 * class stay in the order of the rows. A text that a class has twice counts once; a text of two classes is no example of
 * either and is left out: so support and query never share a text. */
#ifndef XP_TEXT_CLASSES_H
#define XP_TEXT_CLASSES_H

#include "experiments/class_set.h"
#include "experiments/text_table.h"

typedef struct xp_text_facts {
    int64_t repeated;            /* rows left out since their class had the text already */
    int64_t ambiguous;           /* texts left out since several classes have them */
} xp_text_facts;

/* noun: what an example is, "texts". Labels and domains are borrowed from t. Fails with AG_EDATA (an empty text or label;
 * a class in two domains; nothing left) naming the line, or AG_ENOMEM; *s is empty then. max_per_class 0: all. */
ag_code xp_text_classes(xp_class_set *s, const char *source, const char *noun, const xp_table *t, int n_column,
                        int64_t max_per_class, xp_text_facts *facts, ag_error *err);

#endif
