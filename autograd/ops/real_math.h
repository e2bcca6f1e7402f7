/* The C library's functions for ag_real; those that loops should vectorise are in autograd/vecmath.h. */
#ifndef AG_REAL_MATH_H
#define AG_REAL_MATH_H

#include <math.h>

#ifdef AG_DOUBLE
#define R_SQRT sqrt
#define R_POW pow
#else
#define R_SQRT sqrtf
#define R_POW powf
#endif

#endif
