/* The one number type. The same files build twice: float32 for work, float64 (AG_DOUBLE) for checks. */
#ifndef AG_REAL_H
#define AG_REAL_H

#include <stdint.h>

#ifdef AG_DOUBLE
typedef double ag_real;
#define AG_REAL_NAME "float64"
#else
typedef float ag_real;
#define AG_REAL_NAME "float32"
#endif

#endif
