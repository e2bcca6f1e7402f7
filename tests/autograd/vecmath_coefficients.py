#!/usr/bin/env python3
"""Prints the constants of autograd/vecmath.h: minimax polynomials by Remez' exchange on a dense grid, float64.

    python3 tests/autograd/vecmath_coefficients.py

Needs numpy. Each polynomial is fitted to the error that counts (weighted: relative to the function's value); then its
coefficients are rounded to float32 one by one from the lowest, those that are left fitted anew each time.
"""
import math

import numpy as np

GRID = 4001


def remez(x, target, weight, powers):
    """Coefficients of sum c_k x^powers[k] that minimise max |weight (target - sum)| over the grid."""
    basis = np.stack([x ** p for p in powers], axis=1)
    n = len(powers)
    at = np.unique(np.round((1 - np.cos(np.pi * np.arange(n + 1) / n)) / 2 * (len(x) - 1)).astype(int))
    for _ in range(60):
        system = np.hstack([basis[at], ((-1.0) ** np.arange(n + 1) / weight[at])[:, None]])
        solution = np.linalg.solve(system, target[at])
        c, level = solution[:n], abs(solution[n])
        error = weight * (target - basis @ c)
        runs = np.split(np.arange(len(x)), np.flatnonzero(np.diff(np.sign(error))) + 1)
        peaks = [run[np.argmax(abs(error[run]))] for run in runs]
        while len(peaks) > n + 1:                                   # drop the smaller end
            peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
        if len(peaks) < n + 1:
            break
        at = np.array(peaks)
        if np.max(abs(error)) <= level * (1 + 1e-6):
            break
    return c, np.max(abs(error))


def fit(name, lo, hi, target, weight, powers):
    """target and weight are functions of x; prints the float32 coefficients, lowest power first."""
    x = lo + (hi - lo) * (1 - np.cos(np.pi * np.arange(GRID) / (GRID - 1))) / 2
    x = x[abs(x) > 1e-4 * (hi - lo)] if lo <= 0 else x
    w = weight(x)
    rest, rounded = target(x), []
    for k in range(len(powers)):
        c, error = remez(x, rest, w, powers[k:])
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
    fit("exp(x) = 1 + x + x^2 P", -half, half, lambda x: ((long_exp(x) - 1 - x) / x ** 2).astype(float), lambda x: x ** 2 / np.exp(x), range(5))
    for n in (7, 8, 9):
        fit("log(1 + x) = x - x^2/2 + x^3 P", 1 / root - 1, root - 1, lambda x: ((long_log(x) - x + x ** 2 / 2) / x ** 3).astype(float),
            lambda x: x ** 3 / np.log1p(x), range(n))
    for n in (4, 5):
        fit("tanh(x) = x + x P(x^2)", 0, 0.625, lambda x: np.tanh(x) / x - 1, lambda x: x / np.tanh(x), range(2, 2 * n + 2, 2))
    for n in (5, 6):
        fit("erf(x) = x + x P(x^2)", 0, 0.9, lambda x: each(math.erf)(x) / x - 1, lambda x: x / each(math.erf)(x), range(0, 2 * n, 2))
    for n in (7, 8, 9):
        fit("erfc(x) = exp(P(x))", 0.9, 4, each(lambda v: math.log(math.erfc(v))), each(lambda v: math.erfc(v) / math.erf(v)), range(n))
    for p in (0.25, 0.3, 0.35, 0.4):
      for n in (9, 10, 11):
        fit(f"Phi(-a) = exp(-a^2/2) t P(t), t = 1 / (1 + {p} a)", 1 / (1 + p * 14.5), 1,
            each(lambda t: erfcx((1 / t - 1) / p / root) / 2 / t), each(lambda t: t / erfcx((1 / t - 1) / p / root) * 2), range(n))


if __name__ == "__main__":
    main()
