#!/usr/bin/env python3
"""Episodes of the generated sources, made again by NumPy alone -> golden_tasks.h, which test_tasks.c includes.

    pip install numpy
    python3 golden_tasks.py > golden_tasks.h

NumPy has a Philox4x64-10 of its own (it counts up before it draws, hence the -1); uniform and normal numbers follow
autograd/random.h. The virtual examples are made from the whole sample matrix, as the papers write it.
"""
import numpy as np

TRAIN, TEST, WORLD = 2, 4, 5


class Random:
    def __init__(self, seed, stream, iteration, task):
        counter = [0, iteration, task, 0]
        number = (sum(c << (64 * i) for i, c in enumerate(counter)) - 1) % (1 << 256)
        self.bits = np.random.Philox(key=[seed, stream], counter=number)
        self.spare = None

    def unit(self):
        return (int(self.bits.random_raw()) >> 11) * 2.0**-53

    def uniform(self, lo, hi):
        return lo + (hi - lo) * self.unit()

    def normal(self):
        if self.spare is not None:
            z, self.spare = self.spare, None
            return z
        radius = np.sqrt(-2 * np.log(1 - self.unit()))
        angle = 2 * np.pi * self.unit()
        self.spare = radius * np.sin(angle)
        return radius * np.cos(angle)

    def normals(self, *shape):
        return np.array([self.normal() for _ in range(int(np.prod(shape)))]).reshape(shape)


def sinusoid(seed, iteration, task, shot, query, noise):
    r = Random(seed, TRAIN, iteration, task)
    amplitude, phase = r.uniform(0.1, 5.0), r.uniform(0, np.pi)
    x = np.array([r.uniform(-5, 5) for _ in range(shot + query)], dtype=np.float32)
    y = amplitude * np.sin(x.astype(float) - phase)
    if noise:
        y = y + noise * r.normals(shot + query)
    return x, y


def lora_linear(seed, stream, iteration, task, d, k, n, noise):
    a = Random(seed, WORLD, 0, 0).normals(d, d)
    r = Random(seed, stream, iteration, task)
    u = r.normals(d, k)
    m = (a + a.T) / 2 + u @ u.T
    draws = r.normals(n, 2, d)
    x = draws[:, 0].T
    y = m @ x + noise * draws[:, 1].T
    s, c = x @ x.T / n, y @ x.T / n
    lower = np.linalg.cholesky(s)
    return m, np.sqrt(d) * lower.T, np.sqrt(d) * (c @ np.linalg.inv(lower).T).T


def show(name, values):
    flat = ", ".join(f"{v:.17g}" for v in np.asarray(values, dtype=float).ravel())
    print(f"static const double {name}[] = {{ {flat} }};")


print("/* Made by golden_tasks.py; not to be edited. */")
x, y = sinusoid(7, 3, 11, 3, 4, 0)
show("golden_sine_x", x)
show("golden_sine_y", y)
x, y = sinusoid(7, 3, 11, 3, 4, 0.5)
show("golden_sine_noisy_y", y)
for name, stream, iteration, task, n in (("train", TRAIN, 0, 1, 50), ("test", TEST, 2, 9, 30)):
    m, x, y = lora_linear(5, stream, iteration, task, 4, 2, n, 0.1)
    show(f"golden_lora_{name}_m", m)
    show(f"golden_lora_{name}_x", x)
    show(f"golden_lora_{name}_y", y)
