#!/usr/bin/env python3
"""Splits and episodes of classes, drawn again by NumPy's Philox -> golden_class_draw.h, which test_class_set.c includes.

    pip install numpy
    python3 golden_class_draw.py > golden_class_draw.h

Twelve classes of 3, 4, ... 14 examples, numbered 100 class + 0, 1, ...; class c is of domain c mod 3. The orders of drawing are
those experiments/class_set.h documents; ag_random_below and ag_random_choose follow autograd/random.h.
"""
import numpy as np

TRAIN, VALIDATION, TEST, WORLD = 2, 3, 4, 5


class Random:
    """autograd/random.h; NumPy's Philox counts up before it draws, hence the -1."""

    def __init__(self, seed, stream, iteration, task):
        counter = (((task << 64) + iteration) << 64) - 1
        self.bits = np.random.Philox(key=[seed, stream], counter=counter % (1 << 256))

    def uniform(self, lo, hi):
        return lo + (hi - lo) * (int(self.bits.random_raw()) >> 11) * 2.0**-53


COUNTS = [c + 3 for c in range(12)]


def below(r, n):
    product = int(r.bits.random_raw()) * n
    while product % 2**64 < 2**64 % n:
        product = int(r.bits.random_raw()) * n
    return product >> 64


def choose(r, n, k):
    out = []
    for i in range(k):
        top = n - k + i
        pick = below(r, top + 1)
        out.append(top if pick in out else pick)
    for i in range(k, 1, -1):
        j = below(r, i)
        out[i - 1], out[j] = out[j], out[i - 1]
    return out


def by_class(counts):
    r = Random(0, WORLD, 0, 0)
    order = list(range(12))
    for i in range(12, 1, -1):
        j = below(r, i)
        order[i - 1], order[j] = order[j], order[i - 1]
    split = [3] * 12
    for s, (first, n) in enumerate(zip((0, counts[0], counts[0] + counts[1]), counts)):
        for c in order[first : first + n]:
            split[c] = s
    return split


def by_domain(counts):
    ends = [sum(counts[: s + 1]) for s in range(3)]
    return [next((s for s in range(3) if c % 3 < ends[s]), 3) for c in range(12)]


def episode(split, share, seed, stream, iteration, task, way, shot, query):
    """[(example, row, label, support)]"""
    r = Random(seed, stream, iteration, task)
    need = shot + query
    usable = [c for c in sorted(range(12), key=lambda c: (c % 3, c)) if split[c] == stream - TRAIN and COUNTS[c] >= need]
    if share == 1 or (share and r.uniform(0, 1) < share):
        domains = [d for d in range(3) if sum(c % 3 == d for c in usable) >= way]
        d = domains[below(r, len(domains))]
        usable = [c for c in usable if c % 3 == d]
    out = []
    for label, c in enumerate(usable[i] for i in choose(r, len(usable), way)):
        for e, pick in enumerate(choose(r, COUNTS[c], need)):
            support = e < shot
            out.append((100 * c + pick, (e if support else e - shot) * way + label, label, int(support)))
    return out


if __name__ == "__main__":
    cases = [
        ("by_class_picks", by_class([5, 3, 3]), 0, (7, TRAIN, 3, 11, 3, 2, 3)),
        ("by_class_test", by_class([5, 3, 3]), 0, (7, TEST, 3, 11, 2, 1, 4)),
        ("domain", by_domain([2, 0, 1]), 1, (9, TRAIN, 0, 5, 2, 3, 4)),
        ("mixed", by_domain([3, 0, 0]), 0.7, (1, TRAIN, 0, 0, 2, 1, 2)),
        ("mixed_all", by_domain([3, 0, 0]), 0.7, (1, TRAIN, 0, 1, 2, 1, 2)),
    ]
    print("/* Made by golden_class_draw.py; not to be edited. */")
    print("static const int golden_by_class[12] = {", ", ".join(map(str, by_class([5, 3, 3]))), "};")
    for name, split, share, arguments in cases:
        rows = episode(split, share, *arguments)
        print(f"static const xp_pick golden_{name}[{len(rows)}] = {{")
        for example, row, label, support in rows:
            print(f"    {{ {example}, {row}, {label}, {support} }},")
        print("};")
