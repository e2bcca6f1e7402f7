"""PyTorch peer. eager: a loop over tasks with autograd.grad(create_graph), as MAML is written with it; func: torch.func's grad
under vmap; compile: that, through torch.compile. Fused kernels (layer_norm, linear, foreach; eager: batch_norm) throughout.

Images are [c, h, w] here. TensorFlow's SAME padding with stride 2 is (0, 1) on even sizes; PyTorch's is (1, 1). On images and
kernels turned by 180 degrees that is the same function, and nothing has to be padded by hand."""
import common

a = common.arguments(["eager", "func", "compile"])

import time  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch.func import grad, grad_and_value, vmap  # noqa: E402
from workloads import HEADS, LAYERS, LINEAR, LORA_ALPHA, RANK, TOKENS, WIDTH  # noqa: E402

torch.set_num_threads(a.threads)
FILTERS_AXES = (3, 2, 0, 1)   # [h, w, in, out] -> [out, in, h, w]


def to_torch(case, i, p):
    if case.model == "conv4" and p.ndim == 4:
        p = p.transpose(FILTERS_AXES)
        p = p if case.max_pool else p[:, :, ::-1, ::-1]
    elif case.model == "conv4" and p.ndim == 2 and case.max_pool:   # rows are [h, w, c]
        p = p.reshape(5, 5, -1, p.shape[1]).transpose(2, 0, 1, 3).reshape(p.shape)
    return torch.from_numpy(np.array(p, order="C"))


def from_torch(case, p):
    p = p.detach().numpy()
    if case.model == "conv4" and p.ndim == 4:
        p = p if case.max_pool else p[:, :, ::-1, ::-1]
        p = p.transpose(np.argsort(FILTERS_AXES))
    elif case.model == "conv4" and p.ndim == 2 and case.max_pool:
        p = p.reshape(-1, 5, 5, p.shape[1]).transpose(1, 2, 0, 3).reshape(p.shape)
    return np.ascontiguousarray(p)


def image_batch(case, b):
    def turned(x):
        x = x if case.max_pool else x[:, :, ::-1, ::-1]
        return np.ascontiguousarray(x.transpose(0, 1, 4, 2, 3))
    return turned(b[0]), b[1], turned(b[2]), b[3]


def mlp(p, x):
    return F.linear(F.relu(F.relu(x @ p[0] + p[1]) @ p[2] + p[3]), p[4].T, p[5])


def batch_norm(x, gamma, beta):
    """PyTorch 2.13's own, differentiated twice under vmap, gives another meta-gradient (0.8 % away on w2-query1, in float64 as well,
    where its eager one agrees with ours): there the composition is taken."""
    if a.mode == "eager":
        return F.batch_norm(x, None, None, gamma, beta, True, 0.1, 1e-5)
    d = x - x.mean((0, 2, 3), keepdim=True)
    return d * ((d * d).mean((0, 2, 3), keepdim=True) + 1e-5).rsqrt() * gamma[:, None, None] + beta[:, None, None]


def conv4(p, x):
    for i in range(4):
        w, beta, gamma = p[3 * i:3 * i + 3]
        x = F.conv2d(x, w, stride=1 if case.max_pool else 2, padding=1)
        x = F.relu(batch_norm(x, gamma, beta))
        if case.max_pool:
            x = F.max_pool2d(x, 2)
    x = x.flatten(1) if case.max_pool else x.mean((2, 3))
    return x @ p[-2] + p[-1]


def norm(x, name):
    return F.layer_norm(x, (WIDTH,), encoder[f"{name}.weight"], encoder[f"{name}.bias"], 1e-12)


def encode(p, ids):
    n, factors = ids.shape[0], iter(p)
    e = encoder
    h = e["embeddings.word_embeddings.weight"][ids] + e["embeddings.position_embeddings.weight"]
    h = norm(h, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        lora = {name: (next(factors), next(factors)) for name, target in LINEAR if target in case.targets}

        def linear(name, x):
            y = F.linear(x, e[f"{at}{name}.weight"], e[f"{at}{name}.bias"])
            if name in lora:
                y = y + LORA_ALPHA / RANK * F.linear(F.linear(x, lora[name][0]), lora[name][1])
            return y

        q, k, v = (linear(f"attention.self.{c}", h).view(n, TOKENS, HEADS, -1).transpose(1, 2) for c in ("query", "key", "value"))
        seen = torch.softmax(q @ k.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5, -1) @ v
        seen = linear("attention.output.dense", seen.transpose(1, 2).reshape(n, TOKENS, WIDTH))
        h = norm(h + seen, f"{at}attention.output.LayerNorm")
        h = norm(h + linear("output.dense", F.gelu(linear("intermediate.dense", h))), f"{at}output.LayerNorm")
    return F.linear(h.mean(1), p[-2], p[-1])


def loss_of(p, x, y):
    out = forward(p, x)
    return F.mse_loss(out, y) if case.model == "mlp" else F.cross_entropy(out, y)


# ---- torch.func ----

def adapt(p, x, y):
    for _ in range(case.steps):
        p = [v - case.inner_lr * g for v, g in zip(p, grad(loss_of)(p, x, y))]
    return p


def meta_func(p, xs, ys, xq, yq):
    def mean_loss(p):
        return vmap(lambda xs, ys, xq, yq: loss_of(adapt(p, xs, ys), xq, yq))(xs, ys, xq, yq).mean()
    if case.algorithm == "maml":
        return grad_and_value(mean_loss)(p)
    g, loss = vmap(grad_and_value(loss_of))(vmap(adapt, in_dims=(None, 0, 0))(p, xs, ys), xq, yq)
    return [x.mean(0) for x in g], loss.mean()


# ---- eager ----

def reptile_task(p, x, y):
    """Adam with beta1 = 0. Where the task ends, and its loss before the first step."""
    p = [v.detach().clone().requires_grad_() for v in p]
    second, first_loss = [torch.zeros_like(v) for v in p], None
    for t in range(1, case.steps + 1):
        loss = loss_of(p, x, y)
        g = torch.autograd.grad(loss, p)
        first_loss = loss.item() if first_loss is None else first_loss
        with torch.no_grad():
            torch._foreach_mul_(second, 0.999)
            torch._foreach_addcmul_(second, g, g, 0.001)
            size = torch._foreach_sqrt(torch._foreach_div(second, 1 - 0.999 ** t))
            torch._foreach_add_(size, 1e-8)
            torch._foreach_addcdiv_(p, g, size, -case.inner_lr)
    return [v.detach() for v in p], first_loss


def meta_reptile(p, xs, ys, xq, yq):
    total, loss, n = [torch.zeros_like(v) for v in p], 0.0, xs.shape[0]
    for x, y in zip(xs, ys):
        end, first_loss = reptile_task(p, x, y)
        torch._foreach_add_(total, end)
        loss += first_loss / n
    return [v.detach() - t / n for v, t in zip(p, total)], loss


def meta_eager(p, xs, ys, xq, yq):
    p, loss, n = [v.detach().requires_grad_() for v in p], 0.0, xs.shape[0]
    for b in range(n):
        fast = p
        for _ in range(case.steps):
            g = torch.autograd.grad(loss_of(fast, xs[b], ys[b]), fast, create_graph=case.algorithm == "maml")
            fast = [v - case.inner_lr * d for v, d in zip(fast, g)]
        query = loss_of(fast, xq[b], yq[b]) / n
        query.backward()
        loss += query.item()
    return [v.grad for v in p], loss


def step(i):
    if a.mode == "eager":
        g, loss = meta(params, *data[i])
    else:
        with torch.no_grad():
            g, loss = meta([p.detach() for p in params], *data[i])
            loss = loss.item()
    for p, d in zip(params, g):
        p.grad = d
    step.gradient = g
    outer.step()
    return loss


def product():
    x, y, out = torch.ones(1024, 1024), torch.ones(1024, 1024), torch.empty(1024, 1024)
    begin = time.process_time()
    torch.mm(x, y, out=out)
    return (time.process_time() - begin) / a.threads   # of a thread, as bench_peak


if a.case == "peak":
    common.peak(a, f"torch {torch.__version__}", product)
    raise SystemExit
case = common.Case(a)
forward = {"mlp": mlp, "conv4": conv4, "lora": encode}[case.model]
if case.model == "lora":
    encoder = {name: torch.from_numpy(np.array(w)) for name, w in case.encoder.items()}
params = [to_torch(case, i, p).requires_grad_() for i, p in enumerate(case.params)]
data = []
for b in case.batches:
    xs, ys, xq, yq = (torch.from_numpy(np.array(v)) for v in (image_batch(case, b) if case.model == "conv4" else b))
    data.append((xs, ys, xq, yq) if case.model == "mlp" else (xs, ys.long(), xq, yq.long()))
meta = meta_func
if a.mode == "eager":
    meta = meta_reptile if case.algorithm == "reptile" else meta_eager
elif a.mode == "compile":
    meta = torch.compile(meta_func, fullgraph=True, dynamic=False)
kind = torch.optim.SGD if case.algorithm == "reptile" else torch.optim.Adam
outer = kind(params, lr=case.outer_lr, foreach=True)
common.run(a, case, f"torch {a.mode}", step, lambda: [from_torch(case, g) for g in step.gradient])
