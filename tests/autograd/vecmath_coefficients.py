#!/usr/bin/env python3
"""Prints the constants of autograd/vecmath.h: minimax polynomials by Lawson's iteration on a dense grid, float64.

    python3 tests/autograd/vecmath_coefficients.py

Needs numpy. Each polynomial is fitted to the error that counts (weighted: relative to the function's value); then its
coefficients are rounded to float32 one by one from the lowest, those that are left fitted anew each time.
"""
import math

import numpy as np

GRID, STEPS = 801, 150


def minimax(x, target, weight, powers):
    """Coefficients of sum c_k x^powers[k] that nearly minimise max |weight (target - sum)| over the grid: Lawson's
    iteration, least squares whose weights grow where the error is large."""
    basis = np.stack([x ** p for p in powers], axis=1) * weight[:, None]
    goal, share = target * weight, np.full(len(x), 1 / len(x))
    best = None, math.inf
    for _ in range(STEPS):
        root = np.sqrt(share)
        c = np.linalg.lstsq(basis * root[:, None], goal * root, rcond=None)[0]
        error = abs(goal - basis @ c)
        best = min(best, (c, np.max(error)), key=lambda pair: pair[1])
        share *= error
        share /= np.sum(share)
    return best


def fit(name, lo, hi, target, weight, powers):
    """target and weight are functions of x; prints the float32 coefficients, lowest power first."""
    x = lo + (hi - lo) * (1 - np.cos(np.pi * np.arange(GRID) / (GRID - 1))) / 2
    if lo <= 0:                                      # nearer to 0 float64 has no digits left, and the weight is small
        x = x[abs(x) > 0.01 * (hi - lo)]
    w = weight(x)
    rest, rounded = target(x), []
    for k in range(len(powers)):
        c, error = minimax(x, rest, w, powers[k:])
        rounded.append(float(np.float32(c[0])))
        rest = rest - rounded[-1] * x ** powers[k]
    print(f"{name}: error {np.max(abs(w * rest)) * 2 ** 24:.4f} x 2^-24 (before rounding the last: {error * 2 ** 24:.4f})")
    for p, c in zip(powers, rounded):
        print(f"    x^{p:<2d} {c:+.9g}f")


def split(name, value, bits):
    """value = high + low, high with so few bits that small whole multiples of it are exact."""
    scale = 2.0 ** (bits - 1 - math.floor(math.log2(abs(value))))
    high = math.floor(value * scale) / scale
    print(f"{name}: {high:.9g}f + {np.float32(value - high):.9g}f")


def each(f):
    return lambda x: np.array([f(v) for v in x])


def erfcx(z):
    """exp(z^2) erfc(z), z >= 0; beyond 5 the continued fraction of erfc."""
    if z < 5:
        return math.exp(z * z) * math.erfc(z)
    tail = z
    for k in range(60, 0, -1):
        tail = z + k / 2 / tail
    return 1 / tail / math.sqrt(math.pi)


def main():
    root = math.sqrt(2)
    half = math.log(2) / 2 * 1.001
    long_exp = lambda x: np.exp(x.astype(np.longdouble))
    long_log = lambda x: np.log1p(x.astype(np.longdouble))
    split("ln 2", math.log(2), 15)
    fit("exp(x) = 1 + x + x^2 P", -half, half,
        lambda x: ((long_exp(x) - 1 - x) / x ** 2).astype(float), lambda x: x ** 2 / np.exp(x), range(5))
    fit("log(1 + x) = x - x^2/2 + x^3 P", 1 / root - 1, root - 1,
        lambda x: ((long_log(x) - x + x ** 2 / 2) / x ** 3).astype(float),
        lambda x: x ** 3 / np.log1p(x), range(8))
    fit("tanh(x) = x + x P", 0, 0.625, lambda x: np.tanh(x) / x - 1, lambda x: x / np.tanh(x), range(2, 12, 2))
    fit("erf(x) = x + x P", 0, 0.9, lambda x: each(math.erf)(x) / x - 1, lambda x: x / each(math.erf)(x), range(0, 12, 2))
    fit("erfc(x) = exp(P)", 0.9, 4, each(lambda v: math.log(math.erfc(v))), each(lambda v: math.erfc(v) / math.erf(v)), range(7))
    density = lambda x: each(math.erf)(x / root) / 2 / x
    fit("Phi(x) = 1/2 + x P", 0, 1.05, density, lambda x: x / (0.5 + x * density(x)), range(0, 12, 2))
    ratio = each(lambda t: erfcx((1 / t - 1) / 0.3 / root) / 2 / t)
    fit("Phi(-a) = exp(-a^2/2) t P(t), t = 1 / (1 + 0.3 a)", 1 / (1 + 0.3 * 14.5), 1, ratio, lambda t: 1 / ratio(t), range(10))


if __name__ == "__main__":
    main()
