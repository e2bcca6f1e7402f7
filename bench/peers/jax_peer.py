"""JAX peer, jit-compiled. vmap: all tasks at once; map: one after the other by lax.map, the gradient taken inside so that no
residual is kept for all; pmap: map on two host devices, each with half of the tasks. Convolutions are patches times matrix,
which XLA's CPU compiler differentiates twice far faster than conv_general_dilated."""
import common

a = common.arguments(["vmap", "map", "pmap"])

import os  # noqa: E402

if a.mode == "pmap":
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={a.threads}"
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import lax  # noqa: E402
from workloads import HEADS, LAYERS, LINEAR, LORA_ALPHA, RANK, TOKENS, WIDTH  # noqa: E402


def mlp(p, x, _):
    return jax.nn.relu(jax.nn.relu(x @ p[0] + p[1]) @ p[2] + p[3]) @ p[4] + p[5]


def conv(x, w, stride):
    n, size, _, c = x.shape
    out = (size + stride - 1) // stride
    pad = max((out - 1) * stride + 3 - size, 0)
    pad = (pad // 2, pad - pad // 2)
    x = jnp.pad(x, ((0, 0), pad, pad, (0, 0)))
    last = (out - 1) * stride + 1
    patches = jnp.concatenate([x[:, i:i + last:stride, j:j + last:stride] for i in range(3) for j in range(3)], -1)
    return (patches.reshape(n * out * out, 9 * c) @ w.reshape(9 * c, -1)).reshape(n, out, out, -1)


def conv4(p, x, _):
    for i in range(4):
        w, beta, gamma = p[3 * i:3 * i + 3]
        x = conv(x, w, 1 if case.max_pool else 2)
        d = x - x.mean((0, 1, 2))
        x = jax.nn.relu(d * lax.rsqrt((d * d).mean((0, 1, 2)) + 1e-5) * gamma + beta)
        if case.max_pool:
            n, size, _, c = x.shape
            half = size // 2
            x = x[:, :2 * half, :2 * half].reshape(n, half, 2, half, 2, c).max((2, 4))
    x = x.reshape(x.shape[0], -1) if case.max_pool else x.mean((1, 2))
    return x @ p[-2] + p[-1]


def encode(p, ids, e):
    n, factors = ids.shape[0], iter(p)

    def norm(x, name):
        d = x - x.mean(-1, keepdims=True)
        return d * lax.rsqrt((d * d).mean(-1, keepdims=True) + 1e-12) * e[f"{name}.weight"] + e[f"{name}.bias"]

    h = norm(e["embeddings.word_embeddings.weight"][ids] + e["embeddings.position_embeddings.weight"], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        lora = {name: (next(factors), next(factors)) for name, target in LINEAR if target in case.targets}

        def linear(name, x):
            y = x @ e[f"{at}{name}.weight"].T + e[f"{at}{name}.bias"]
            if name in lora:
                y = y + LORA_ALPHA / RANK * ((x @ lora[name][0].T) @ lora[name][1].T)
            return y

        q, k, v = (linear(f"attention.self.{c}", h).reshape(n, TOKENS, HEADS, -1).transpose(0, 2, 1, 3) for c in ("query", "key", "value"))
        seen = jax.nn.softmax(q @ k.swapaxes(-1, -2) * (WIDTH // HEADS) ** -0.5, -1) @ v
        seen = linear("attention.output.dense", seen.transpose(0, 2, 1, 3).reshape(n, TOKENS, WIDTH))
        h = norm(h + seen, f"{at}attention.output.LayerNorm")
        h = norm(h + linear("output.dense", jax.nn.gelu(linear("intermediate.dense", h), approximate=False)), f"{at}output.LayerNorm")
    return h.mean(1) @ p[-2].T + p[-1]


def loss_of(p, x, y, e):
    out = forward(p, x, e)
    if case.model == "mlp":
        return ((out - y) ** 2).mean()
    return -jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], 1).mean()


def adapt(p, x, y, e):
    for _ in range(case.steps):
        p = [v - case.inner_lr * g for v, g in zip(p, jax.grad(loss_of)(p, x, y, e))]
    return p


def reptile_task(p, x, y, e):
    """Adam with beta1 = 0. The loss before the first step, and the way gone."""
    at, second, first_loss = p, [jnp.zeros_like(v) for v in p], None
    for t in range(1, case.steps + 1):
        loss, g = jax.value_and_grad(loss_of)(at, x, y, e)
        first_loss = loss if first_loss is None else first_loss
        second = [0.999 * s + 0.001 * d * d for s, d in zip(second, g)]
        at = [v - case.inner_lr * d / (jnp.sqrt(s / (1 - 0.999 ** t)) + 1e-8) for v, d, s in zip(at, g, second)]
    return first_loss, [v - w for v, w in zip(p, at)]


def task_gradient(p, xs, ys, xq, yq, e):
    if case.algorithm == "reptile":
        return reptile_task(p, xs, ys, e)
    if case.algorithm == "fomaml":
        return jax.value_and_grad(loss_of)(adapt(p, xs, ys, e), xq, yq, e)
    return jax.value_and_grad(lambda p: loss_of(adapt(p, xs, ys, e), xq, yq, e))(p)


def meta(p, b, e):
    if a.mode == "vmap" and case.algorithm == "maml":
        return jax.value_and_grad(lambda p: jax.vmap(lambda *t: loss_of(adapt(p, t[0], t[1], e), t[2], t[3], e))(*b).mean())(p)
    if a.mode == "vmap":
        loss, g = jax.vmap(lambda *t: task_gradient(p, *t, e))(*b)
    else:
        loss, g = lax.map(lambda t: task_gradient(p, *t, e), b)
    return loss.mean(), [v.mean(0) for v in g]


def update(state, b, e):
    p, m, v, t = state
    loss, g = meta(p, b, e)
    if a.mode == "pmap":
        loss, g = lax.pmean((loss, g), "device")
    if case.algorithm == "reptile":
        return ([x - case.outer_lr * d for x, d in zip(p, g)], m, v, t), loss
    t = t + 1
    m = [0.9 * x + 0.1 * d for x, d in zip(m, g)]
    v = [0.999 * x + 0.001 * d * d for x, d in zip(v, g)]
    p = [x - case.outer_lr * (y / (1 - 0.9 ** t)) / (jnp.sqrt(z / (1 - 0.999 ** t)) + 1e-8) for x, y, z in zip(p, m, v)]
    return (p, m, v, t), loss


def step(i):
    global state
    state, loss = compiled(state, data[i], encoder)
    return float(loss)


def gradient():
    """The first one, as Adam's first moment or the outer step shows it."""
    if case.algorithm == "reptile":
        return [(start - np.asarray(p)) / case.outer_lr for start, p in zip(case.params, state[0])]
    return [np.asarray(m) / 0.1 for m in state[1]]


def shape_for_devices(x):
    return jnp.asarray(x.reshape(a.threads, -1, *x.shape[1:]) if a.mode == "pmap" else x)


case = common.Case(a)
forward = {"mlp": mlp, "conv4": conv4, "lora": encode}[case.model]
encoder = {k: jnp.asarray(v) for k, v in case.encoder.items()} if case.model == "lora" else None
data = [tuple(shape_for_devices(np.array(v)) for v in b) for b in case.batches]
if a.mode == "pmap":
    compiled = jax.pmap(update, "device", in_axes=(None, 0, None), out_axes=(None, None))
else:
    compiled = jax.jit(update, donate_argnums=0)
params = [jnp.asarray(np.array(p)) for p in case.params]
state = (params, [jnp.zeros_like(p) for p in params], [jnp.zeros_like(p) for p in params], jnp.float32(0))
common.run(a, case, f"jax {a.mode}", step, gradient)
