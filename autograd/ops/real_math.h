/* The C library's functions for ag_real. */
#ifndef AG_REAL_MATH_H
#define AG_REAL_MATH_H

#include <math.h>

#ifdef AG_DOUBLE
#define R_EXP exp
#define R_LOG log
#define R_SQRT sqrt
#define R_TANH tanh
#define R_ERF erf
#define R_POW pow
#else
#define R_EXP expf
#define R_LOG logf
#define R_SQRT sqrtf
#define R_TANH tanhf
#define R_ERF erff
#define R_POW powf
#endif

#endif
