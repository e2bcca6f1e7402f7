#!/usr/bin/env python3
"""Golden meta-gradients of MAML and first-order MAML by JAX, written from the papers (Finn, Abbeel & Levine 2017, eq. 1,
and its first-order variant; Li et al. 2017 for learned rates) and sharing no code with the C sources.

    python3 golden_maml.py [--float32] [--seed N] [--out FILE]

Parameters and examples are numbers that both sides compute (number() here and in test_golden.c), exact in float32, so the
file holds results only: per case the seed, and per method losses, accuracy and the whole gradient, first d/dtheta in the
order of the parameters, then d/dalpha where the rates are learned. Values are float64 unless --float32.

A relu or a maximum that two programs round to different sides would change a gradient by a jump, so each case takes the
first seed from --seed at which every pre-activation, every gap of a pooling window and every lead of a winning logit is
further than MARGIN from such a kink."""
import argparse
import dataclasses
import functools
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np

MARGIN = 3e-6
BITS = 19                      # a number is k / 2^19 with k in -2^19 .. 2^19 - 1
THETA, RATE, PICTURE, NOISE, X, AMPLITUDE, PHASE = 1, 2, 3, 4, 5, 6, 7


def number(seed, stream, tensor, shape):
    """SplitMix64 (Steele, Lea & Flood 2014) of a counter, in [-1, 1)."""
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.arange(n, dtype=np.uint64) + np.uint64((seed << 48) + (stream << 40) + (tensor << 32))
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (((z >> np.uint64(63 - BITS)).astype(np.float64) - 2.0**BITS) / 2.0**BITS).reshape(shape)


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    family: str                # sinusoid, stride, pool
    steps: int
    rates: str = "fixed"       # fixed, all, tensor, element
    norm_scale: bool = False   # batch norm has a gamma beside its beta
    adapt_norm: bool = False   # beta and gamma take part in the inner steps
    skip: int = 0              # seeds left out because float32 loses digits there (8e-6 where others lose 4e-6)


CASES = [
    Case("sinusoid-1", "sinusoid", 1),
    Case("sinusoid-5", "sinusoid", 5),
    Case("sinusoid-3-one-rate", "sinusoid", 3, "all"),
    Case("sinusoid-3-tensor-rates", "sinusoid", 3, "tensor"),
    Case("sinusoid-3-element-rates", "sinusoid", 3, "element"),
    *[Case(f"conv4-{k}{'-gamma' * g}{'-adapted' * a}", "stride", k, "fixed", bool(g), bool(a), 2 * ((k, g, a) == (3, 1, 0)))
      for k in (1, 3) for g in (0, 1) for a in (0, 1)],
    Case("conv4-2-tensor-rates", "stride", 2, "tensor", True, True),
    Case("conv4-2-element-rates", "stride", 2, "element", True, False),
    Case("pool-1", "pool", 1),
    Case("pool-3-gamma-adapted", "pool", 3, "fixed", True, True),
]

FILTERS, WAY, EPSILON = 8, 5, 1e-3
FAMILY = {                     # tasks, scale of the parameters, inner rate, support_scale
    "sinusoid": (25, 0.25, 0.01, 1.0),
    "stride": (4, 0.5, 0.4, float(WAY)),
    "pool": (4, 0.5, 0.05, float(WAY)),
}


def parameters(case):
    """[(shape, kind)] in the order of the model; kind is weight, beta or gamma."""
    if case.family == "sinusoid":
        widths = [1, 40, 40, 1]
        return [(s, "weight") for i in range(3) for s in ((widths[i], widths[i + 1]), (widths[i + 1],))]
    shapes, channels = [], 1 if case.family == "stride" else 3
    for _ in range(4):
        shapes += [((3, 3, channels, FILTERS), "weight"), ((FILTERS,), "beta")]
        shapes += [((FILTERS,), "gamma")] * case.norm_scale
        channels = FILTERS
    return shapes + [((FILTERS, WAY), "weight"), ((WAY,), "weight")]


def moves(case):
    """Which parameters the inner steps adapt."""
    return [case.adapt_norm or kind == "weight" for _, kind in parameters(case)]


def draw_theta(case, seed):
    scale = FAMILY[case.family][1]
    return [(1.0 + number(seed, THETA, i, shape) / 4) if kind == "gamma" else scale * number(seed, THETA, i, shape)
            for i, (shape, kind) in enumerate(parameters(case))]


def draw_rates(case, seed):
    """As the learner holds them: one number, one an adapted tensor, or one an element of those."""
    rate = FAMILY[case.family][2]
    if case.rates in ("fixed", "all"):
        return np.array([rate])
    shapes = [shape for (shape, _), m in zip(parameters(case), moves(case)) if m]
    n = len(shapes) if case.rates == "tensor" else sum(int(np.prod(s)) for s in shapes)
    return rate * (1 + number(seed, RATE, 0, (n,)) / 2)


def draw_batch(case, seed):
    """support x, y, query x, y, each with a leading task axis."""
    tasks = FAMILY[case.family][0]
    if case.family == "sinusoid":
        x = 4 * number(seed, X, 0, (tasks, 20, 1))
        a = 2.5 + 2 * number(seed, AMPLITUDE, 0, (tasks, 1, 1))
        phase = 1.5 + 1.5 * number(seed, PHASE, 0, (tasks, 1, 1))
        y = np.floor(a * np.sin(x - phase) * 2.0**18 + 0.5) / 2.0**18
        return x[:, :10], y[:, :10], x[:, 10:], y[:, 10:]
    shape = (28, 28, 1) if case.family == "stride" else (20, 20, 3)
    picture = number(seed, PICTURE, 0, (tasks, 1, WAY) + shape)         # of each class; examples are shot-major
    x = (3 * picture + number(seed, NOISE, 0, (tasks, 2, WAY) + shape)) / 4
    y = np.broadcast_to(np.arange(WAY, dtype=np.int32), (tasks, WAY))
    return x[:, 0], y, x[:, 1], y


def forward(case, theta, x):
    """(outputs, distance from the nearest kink)."""
    margins = []

    def relu(z):
        margins.append(jnp.min(jnp.abs(z)))
        return jax.nn.relu(z)

    if case.family == "sinusoid":
        h = relu(x @ theta[0] + theta[1])
        h = relu(h @ theta[2] + theta[3])
        return h @ theta[4] + theta[5], jnp.min(jnp.array(margins))
    at, pool, h = 0, case.family == "pool", x
    for _ in range(4):
        h = jax.lax.conv_general_dilated(h, theta[at], (1, 1) if pool else (2, 2), "SAME",
                                         dimension_numbers=("NHWC", "HWIO", "NHWC"))
        mean = h.mean((0, 1, 2))
        h = (h - mean) / jnp.sqrt(((h - mean) ** 2).mean((0, 1, 2)) + EPSILON)
        if case.norm_scale:
            h = h * theta[at + 2]
        h = relu(h + theta[at + 1])
        at += 2 + case.norm_scale
        if pool:
            n, rows, columns, c = h.shape
            h = h[:, :rows // 2 * 2, :columns // 2 * 2].reshape(n, rows // 2, 2, columns // 2, 2, c)
            window = jnp.sort(h.transpose(0, 1, 3, 5, 2, 4).reshape(-1, 4), axis=1)
            margins.append(jnp.min(jnp.where(window[:, 3] > 0, window[:, 3] - window[:, 2], 1.0)))
            h = h.max((2, 4))
    h = h.reshape(h.shape[0], -1) if pool else h.mean((1, 2))
    logits = h @ theta[at] + theta[at + 1]
    ordered = jnp.sort(logits, axis=1)
    margins.append(jnp.min(ordered[:, -1] - ordered[:, -2]))
    return logits, jnp.min(jnp.array(margins))


def loss(case, theta, x, y):
    """(loss, (accuracy, margin))."""
    out, margin = forward(case, theta, x)
    if case.family == "sinusoid":
        return jnp.mean((out - y) ** 2), (jnp.nan, margin)
    log_p = jax.nn.log_softmax(out)
    hits = jnp.mean((jnp.argmax(out, 1) == y).astype(out.dtype))
    return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], 1)), (hits, margin)


def spread(case, rates, theta):
    """The learner's rates as one array per parameter, None where it is not adapted."""
    out, at = [], 0
    for p, moved in zip(theta, moves(case)):
        if not moved:
            out.append(None)
        elif case.rates == "element":
            out.append(rates[at:at + p.size].reshape(p.shape))
            at += p.size
        else:
            out.append(rates[at])
            at += case.rates == "tensor"
    return out


def one_task(case, first_order, theta, rates, support_x, support_y, query_x, query_y):
    """Query loss after adaptation, and (support loss before, accuracy, margin, of the worst)."""
    scale = FAMILY[case.family][3]
    alpha, phi, margins, first_loss = spread(case, rates, theta), list(theta), [], None
    for step in range(case.steps):
        (value, (_, margin)), g = jax.value_and_grad(lambda p: loss(case, p, support_x, support_y), has_aux=True)(phi)
        margins.append(margin)
        first_loss = value if step == 0 else first_loss
        if first_order:
            g = [jax.lax.stop_gradient(gi) for gi in g]
        phi = [p if a is None else p - a * scale * gi for p, a, gi in zip(phi, alpha, g)]
    value, (hits, margin) = loss(case, phi, query_x, query_y)
    return value, (first_loss, hits, jnp.min(jnp.array(margins + [margin])))


@functools.lru_cache(maxsize=None)
def outer(case, first_order):
    """theta, rates, batch -> means over the tasks of query loss, support loss, accuracy, gradients; least margin."""
    one = jax.jit(jax.value_and_grad(lambda theta, rates, *episode: one_task(case, first_order, theta, rates, *episode),
                                     argnums=(0, 1), has_aux=True))

    def mean(theta, rates, batch):
        tasks = [one(theta, rates, *episode) for episode in zip(*batch)]
        margin = min(float(aux[2]) for (_, aux), _ in tasks)
        average = lambda *values: np.mean(np.stack([np.asarray(v) for v in values]), 0)
        (query, (support, hits, _)), gradients = jax.tree.map(average, *tasks)
        return query, support, hits, margin, gradients

    return mean


def results(case, first_seed):
    """{record name: array} of one case."""
    real = jnp.zeros(()).dtype
    cast = lambda a: jnp.asarray(a, a.dtype if a.dtype == np.int32 else real)
    methods = {"maml": outer(case, False), "fomaml": outer(case, True)}
    for seed in range(first_seed + case.skip, first_seed + 200):
        inputs = ([cast(p) for p in draw_theta(case, seed)], cast(draw_rates(case, seed)),
                  [cast(a) for a in draw_batch(case, seed)])
        if methods["fomaml"](*inputs)[3] > MARGIN:
            break
    else:
        sys.exit(f"{case.name}: no seed of 200 keeps {MARGIN} away from every kink")
    out = {f"{case.name}/seed": np.array([seed])}
    for method, function in methods.items():
        query, support, hits, _, (g_theta, g_rates) = function(*inputs)
        gradient = [np.ravel(g) for g in g_theta] + ([np.ravel(g_rates)] if case.rates != "fixed" else [])
        out[f"{case.name}/{method}/support_loss"] = np.array([support])
        out[f"{case.name}/{method}/query_loss"] = np.array([query])
        if case.family != "sinusoid":
            out[f"{case.name}/{method}/query_accuracy"] = np.array([hits])
        out[f"{case.name}/{method}/gradient"] = np.concatenate(gradient)
    return out


def compute(float32=False, first_seed=1, progress=lambda name: None):
    jax.config.update("jax_enable_x64", not float32)
    out = {}
    for case in CASES:
        progress(case.name)
        out.update(results(case, first_seed))
    return out


def write(records, path, float32=False):
    """One record: its name and length on a line, then a value a line."""
    with open(path, "w", encoding="ascii") as f:
        for name, values in records.items():
            f.write(f"{name} {values.size}\n")
            f.writelines(f"{float(v):.9g}\n" if float32 else f"{float(v):.12g}\n" for v in values)


def main():
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden_maml.txt")
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--float32", action="store_true", help="compute and write float32")
    p.add_argument("--seed", type=int, default=1, help="first seed tried for each case, 0 to 65000")
    p.add_argument("--out", default=default)
    args = p.parse_args()
    write(compute(args.float32, args.seed, lambda name: print(name, file=sys.stderr)), args.out, args.float32)


if __name__ == "__main__":
    main()
