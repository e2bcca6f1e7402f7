"""Golden values for test_statistics.c, from NumPy:  python3 golden_statistics.py > golden_statistics.h

Each case is a sample, its divergence limit, and what NumPy says of it. The interval is 1.96 s / sqrt(n) with the
population deviation s, as in the papers' code; for order statistics a value that is not finite counts as +inf.
"""
import numpy as np


def summary(x, above):
    finite = np.isfinite(x) & ~(x > above)
    ci = lambda v: 1.96 * np.std(v) / np.sqrt(len(v)) if len(v) else np.nan
    ordered = np.where(np.isfinite(x), x, np.inf)
    return [len(x), int((~finite).sum()), np.mean(x), ci(x), np.mean(x[finite]) if finite.any() else np.nan,
            ci(x[finite]), np.median(ordered), np.min(ordered), np.max(ordered)]


def c(v):
    return "NAN" if np.isnan(v) else ("INFINITY" if v > 0 else "-INFINITY") if np.isinf(v) else repr(float(v))


rng = np.random.default_rng(20240501)
with np.errstate(all="ignore"):
    tails = np.exp(3 * rng.standard_normal(101))
    broken = rng.standard_normal(40)
    broken[[3, 17, 20]] = np.nan, np.inf, -np.inf
    cases = {
        "one": (np.array([2.5]), np.inf),
        "two": (np.array([3.0, -1.0]), np.inf),
        "normal_600": (rng.standard_normal(600), np.inf),
        "accuracies": (rng.integers(0, 101, 599) / 100, np.inf),
        "heavy_tails": (tails, 50.0),
        "not_finite": (broken, 1.0),
        "all_nan": (np.full(4, np.nan), np.inf),
        "ties": (np.repeat([0.0, -0.0, 1.0], 4), np.inf),
        "far_from_zero": (1e9 + rng.standard_normal(50), np.inf),
        "half_infinite": (np.array([1.0, 2.0, np.inf, np.inf]), np.inf),
    }
    print("/* Made by golden_statistics.py with NumPy. */")
    for name, (x, _) in cases.items():
        print(f"static const double golden_{name}[] = {{")
        values = [c(v) for v in x]
        for i in range(0, len(values), 5):
            print("    " + ", ".join(values[i:i + 5]) + ",")
        print("};")
    print("/* name, values, n, limit, then the summary in the order of xp_summary */")
    print("static const struct golden_case {\n    const char *name;\n    const double *values;\n    int64_t n;\n"
          "    double above;\n    xp_summary want;\n} golden_cases[] = {")
    for name, (x, above) in cases.items():
        s = summary(x, above)
        print(f'    {{ "{name}", golden_{name}, {len(x)}, {c(above)},\n      {{ {s[0]}, {s[1]}, '
              + ", ".join(c(v) for v in s[2:]) + " } },")
    print("};")
