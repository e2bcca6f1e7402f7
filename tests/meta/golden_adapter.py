#!/usr/bin/env python3
"""Golden outputs and gradients of single adapted modules by PEFT's own layers, in float64.

    python3 golden_adapter.py [--out FILE]

One record a line: name, count, numbers. A case has w and bias of the base, a, b, third (magnitude or E) of the adapter (vera:
wide_a, wide_b, a = lambda_b, b = lambda_d), x, y and the gradients gx, ga, gb, gthird of sum(c * y). Tensors lie as ours do
(docs/adapters.md): convolutions [n, h, w, c] and [kh, kw, in, out], an embedding's and a convolution's A turned."""
import argparse
import os

import peft
import torch
from transformers.pytorch_utils import Conv1D

HERE = os.path.dirname(os.path.abspath(__file__))
IN, OUT, RANK = 5, 4, 2


class Host(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.m = module
        self.config = {"model_type": "none"}

    def forward(self, x):
        return self.m(x)


def make(kind):
    if kind == "linear":
        return torch.nn.Linear(IN, OUT)
    if kind == "in_out":
        return Conv1D(OUT, IN)
    if kind == "embedding":
        return torch.nn.Embedding(IN, OUT)
    return torch.nn.Conv2d(3, OUT, (3, 2), stride=2, padding=1)


def given(kind):
    if kind == "embedding":
        return torch.tensor([4, 0, 2, 4])
    return torch.randn(2, 3, 5, 4) if kind == "conv" else torch.randn(3, IN)


def turned(kind, part, t):
    """From PyTorch's layout to ours."""
    if kind == "conv" and part in ("x", "y", "c"):
        return t.permute(0, 2, 3, 1)
    if kind == "conv" and part in ("w", "a") and t.dim() == 4:
        return t.permute(2, 3, 1, 0)
    if kind == "conv" and part == "a":                        # adalora: [r, c kh kw]
        return t.reshape(t.shape[0], 3, 3, 2).permute(2, 3, 1, 0)
    return t.T if kind == "embedding" and part == "a" else t


def parts(model, word):
    """The adapter's tensors in our order."""
    by_name = {n.rsplit("base_model.model.m.", 1)[-1]: p for n, p in model.named_parameters() if p.requires_grad}
    order = {"vera": ["vera_lambda_b", "vera_lambda_d"], "dora": ["_A", "_B", "magnitude"], "adalora": ["lora_A", "lora_B", "lora_E"]}
    return [next(p for n, p in by_name.items() if key in n) for key in order.get(word, ["_A", "_B"])]


def case(word, kind, config):
    torch.manual_seed(len(word) * 7 + len(kind))
    base = make(kind).double()
    model = peft.get_peft_model(Host(base), config(["m"], kind == "in_out")).double()
    tensors = parts(model, word)
    with torch.no_grad():
        for p in [*base.parameters(), *tensors]:
            p.copy_(torch.randn_like(p) * 0.5)
    x = given(kind)
    x = x.double().requires_grad_() if x.is_floating_point() else x
    y = model(x)
    c = torch.randn_like(y)
    inputs = [*tensors, *([x] if x.is_floating_point() else [])]
    grads = torch.autograd.grad((c * y).sum(), inputs)
    out = {"w": base.weight, "x": x, "y": y, "c": c}
    if getattr(base, "bias", None) is not None:
        out["bias"] = base.bias
    for name, p, g in zip(("a", "b", "third"), tensors, grads):
        out[name] = turned(kind, name, p)
        out["g" + name] = turned(kind, name, g)
    if x.is_floating_point():
        out["gx"] = turned(kind, "x", grads[-1])
    if word == "vera":
        out["wide_a"], out["wide_b"] = model.base_model.vera_A["default"], model.base_model.vera_B["default"]
    for name in ("w", "x", "y", "c"):
        out[name] = turned(kind, name, out[name])
    return out


def lora(**more):
    return lambda targets, fan: peft.LoraConfig(target_modules=targets, r=RANK, lora_alpha=3, fan_in_fan_out=fan, **more)


CASES = [(word, kind, lora(use_rslora=word == "rslora", use_dora=word == "dora"))
         for kind in ("linear", "in_out", "embedding", "conv") for word in ("lora", "rslora", "dora")]
CASES += [("adalora", kind, lambda targets, fan: peft.AdaLoraConfig(target_modules=targets, init_r=RANK, target_r=1, lora_alpha=3, total_step=9,
                                                                     fan_in_fan_out=fan)) for kind in ("linear", "in_out", "conv")]
CASES += [("vera", kind, lambda targets, fan: peft.VeraConfig(target_modules=targets, r=RANK, fan_in_fan_out=fan)) for kind in ("linear", "in_out")]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", default=os.path.join(HERE, "golden_adapter.txt"))
    with open(p.parse_args().out, "w", encoding="ascii") as f:
        for word, kind, config in CASES:
            for name, t in case(word, kind, config).items():
                f.write(" ".join([f"{word}.{kind}.{name}", str(t.numel()), *("%.17g" % v for v in t.detach().flatten().tolist())]) + "\n")


if __name__ == "__main__":
    main()
