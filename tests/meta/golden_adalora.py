"""Makes golden_adalora.h: AdaLoRA's orthogonality penalty and its gradient, by PEFT's own AdaLoraModel in float64.

Two modules of rank 3, [8, 8] and [12, 8] as in tests/meta/adapters.c; number i of A (which = 0, 2) or B (which = 1, 3) is
0.3 sin(1.7 (i + 1) + which).
"""
import math
import types

import peft
import torch

WEIGHT = 0.5


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.dense = torch.nn.Linear(8, 8), torch.nn.Linear(8, 12)

    def forward(self):
        return types.SimpleNamespace(loss=torch.zeros((), dtype=torch.float64))


config = peft.AdaLoraConfig(target_modules=["query", "dense"], init_r=3, target_r=3, total_step=10, orth_reg_weight=WEIGHT)
model = peft.tuners.adalora.AdaLoraModel(Net(), {"default": config}, "default").double()
parts = [getattr(m, part)["default"] for m in (model.model.query, model.model.dense) for part in ("lora_A", "lora_B")]
with torch.no_grad():
    for which, p in enumerate(parts):
        numbers = [0.3 * math.sin(1.7 * (i + 1) + which) for i in range(p.numel())]
        p.copy_(torch.tensor(numbers, dtype=torch.float64).reshape(p.shape))
loss = model().loss
loss.backward()
numbers = [g for p in parts for g in p.grad.flatten().tolist()]
print(f"/* Made by golden_adalora.py with peft {peft.__version__}, torch {torch.__version__.split('+')[0]}. */")
print(f"static const double golden_adalora_penalty = {loss.item()!r};")
print("static const double golden_adalora_gradient[] = {")
for i in range(0, len(numbers), 4):
    print("    " + " ".join(f"{v!r}," for v in numbers[i : i + 4]))
print("};")
