#!/usr/bin/env python3
"""Golden networks by PyTorch and transformers: for every architecture a tiny random network of odd sizes and what it gives.

    python3 golden_networks.py [--seed N] [--out FOLDER]

Makes FOLDER/CASE/ (default golden_networks/ beside this script) with config.json and model.safetensors as transformers saves
them, and golden.safetensors, all of it computed in float64:

    ids [T], lengths [n]   texts one behind the other          x [n, h, w, c]   arrays of a convolution network
    hidden [T, width], logits [T, vocab], features [n, width]
    W of every weight W    [<g, s>, <g, c>, <g, g>, <Hv, s>, <Hv, c>]: the gradient g at W of the loss, and the Hessian times v,
                           where s = sin(1 + j), c = cos(1 + j) of the j-th number and v = s / 10 for all weights at once

The loss is sum sin(1 + i) hidden_i / T + sum cos(1 + i) logits_i / T, or sum sin(1 + i) features_i / n.
The llama network is also written as llama.gguf and llama.bin (llama2.c), permuted as those formats have it."""
import argparse
import json
import os
import re
import struct
import sys
from collections import OrderedDict

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.overrides import TorchFunctionMode

SIZES = dict(vocab_size=23, hidden_size=12, num_hidden_layers=2, num_attention_heads=4)
LENGTHS = [5, 1, 11, 7]


class Double(TorchFunctionMode):
    """transformers computes norms, rotations and softmax in float32 whatever the weights are; here in float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        args = [torch.float64 if a is torch.float32 else a for a in args]
        kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()}
        return (torch.Tensor.double if func is torch.Tensor.float else func)(*args, **kwargs)


def text_cases():
    import transformers as T
    eager = dict(attn_implementation="eager")
    llama = dict(SIZES, intermediate_size=14, num_key_value_heads=2, max_position_embeddings=16, rms_norm_eps=1e-5)
    bert = dict(SIZES, intermediate_size=15, max_position_embeddings=13, type_vocab_size=2)
    yield "bert", T.BertModel, T.BertConfig(**bert, **eager)
    yield "bert-prefixed", T.BertForMaskedLM, T.BertConfig(**dict(bert, num_hidden_layers=1, hidden_act="relu"), **eager)
    yield "llama", T.LlamaForCausalLM, T.LlamaConfig(**dict(llama, hidden_size=16), **eager)
    yield "llama-tied", T.LlamaForCausalLM, T.LlamaConfig(
        **dict(llama, head_dim=4, num_key_value_heads=1, num_hidden_layers=1, tie_word_embeddings=True),
        rope_parameters={"rope_theta": 500.0, "rope_type": "default"}, **eager)
    yield "gpt2", T.GPT2LMHeadModel, T.GPT2Config(vocab_size=23, n_embd=12, n_layer=2, n_head=3, n_positions=12, **eager)
    yield "moe", T.MixtralForCausalLM, T.MixtralConfig(
        **dict(llama, head_dim=6, num_attention_heads=2, num_key_value_heads=1, intermediate_size=7),
        num_local_experts=5, num_experts_per_tok=2, experts_implementation="eager", **eager)


CONV = {
    "conv1d": dict(model_type="conv1d", num_hidden_layers=2, hidden_size=4, kernel_size=3, in_channels=2, norm_epsilon=1e-5),
    "conv2d": dict(model_type="conv2d", num_hidden_layers=3, hidden_size=4, kernel_size=3, in_channels=3, norm_epsilon=0),
}


def conv_layers(c):
    """As models/convolution.c says."""
    d, k, width = int(c["model_type"][4]), c["kernel_size"], c["hidden_size"]
    conv = nn.Conv1d if d == 1 else nn.Conv2d
    layers = []
    for l in range(c["num_hidden_layers"]):
        parts = [("conv", conv(width if l else c["in_channels"], width, k, stride=2, padding=k // 2))]
        if c["norm_epsilon"] > 0:
            parts.append(("norm", nn.GroupNorm(1, width, eps=c["norm_epsilon"])))
        layers.append(nn.Sequential(OrderedDict(parts + [("act", nn.ReLU())])))
    return nn.Sequential(OrderedDict(layers=nn.Sequential(*layers)))


def randomise(model, stored):
    """Numbers that the stored type holds exactly; norms around 1."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            gamma = p.ndim == 1 and name.endswith(".weight")
            p.copy_((gamma + torch.randn(p.shape) * (0.2 if p.ndim == 1 else 0.35)).to(stored).double())


def views(model):
    """name in our network -> (parameter, function that takes our weight out of a tensor like the parameter)"""
    found = {}
    for name, p in model.named_parameters():
        name = re.sub(r"^bert\.", "", name)
        if name.endswith("mlp.experts.gate_up_proj"):
            half = p.shape[1] // 2
            for e in range(p.shape[0]):
                at = name.replace("mlp.experts.gate_up_proj", f"block_sparse_moe.experts.{e}.")
                found[at + "w1.weight"] = p, lambda x, e=e, n=half: x[e, :n]
                found[at + "w3.weight"] = p, lambda x, e=e, n=half: x[e, n:]
        elif name.endswith("mlp.experts.down_proj"):
            for e in range(p.shape[0]):
                found[name.replace("mlp.experts.down_proj", f"block_sparse_moe.experts.{e}.w2.weight")] = p, lambda x, e=e: x[e]
        elif p.ndim >= 3:                       # convolutions: ours are [kh, kw, in, out]
            found[name] = p, lambda x: (x if x.ndim == 4 else x.unsqueeze(2)).permute(2, 3, 1, 0)
        elif not name.startswith(("cls.", "pooler.")):
            found[name.replace("mlp.gate.weight", "block_sparse_moe.gate.weight")] = p, lambda x: x
    return found


def wave(x, function):
    return function(1.0 + torch.arange(x.numel())).reshape(x.shape)


def derivatives(loss, model):
    at = views(model)
    used = [p for p in model.parameters() if any(p is q for q, _ in at.values())]
    grads = dict(zip(map(id, used), torch.autograd.grad(loss, used, create_graph=True)))
    along = sum((view(grads[id(p)]) * wave(view(p), torch.sin) / 10).sum() for p, view in at.values())
    second = dict(zip(map(id, used), torch.autograd.grad(along, used, materialize_grads=True)))
    result = {}
    for name, (p, view) in at.items():
        g, h = view(grads[id(p)]), view(second[id(p)])
        s, c = wave(g, torch.sin), wave(g, torch.cos)
        result[name] = torch.stack([(g * s).sum(), (g * c).sum(), (g * g).sum(), (h * s).sum(), (h * c).sum()]).detach()
    return result


def text_results(model):
    """Each text alone: nothing is padded or masked here."""
    ids = torch.randint(1, SIZES["vocab_size"], (sum(LENGTHS),))     # 0 is BERT's padding, which gets no gradient in PyTorch
    hidden, logits = [], []
    for text in ids.split(LENGTHS):
        if model.config.model_type == "bert":
            hidden.append(getattr(model, "bert", model)(text[None]).last_hidden_state[0])
        else:
            out = model(text[None], output_hidden_states=True)
            hidden.append(out.hidden_states[-1][0])
            logits.append(out.logits[0])
    result = {"hidden": torch.cat(hidden)}
    loss = (result["hidden"] * wave(result["hidden"], torch.sin)).sum()
    if logits:
        result["logits"] = torch.cat(logits)
        loss = loss + (result["logits"] * wave(result["logits"], torch.cos)).sum()
    result.update(derivatives(loss / len(ids), model))
    result.update(ids=ids.int(), lengths=torch.tensor(LENGTHS, dtype=torch.int32))
    return result


def conv_results(model, c):
    x = torch.randn(3, c["in_channels"], *([13] if c["model_type"] == "conv1d" else [9, 6])).float().double()
    features = model(x).flatten(2).mean(2)
    result = derivatives((features * wave(features, torch.sin)).sum() / len(x), model)
    places = x.unsqueeze(2) if x.ndim == 3 else x
    result.update(x=places.permute(0, 2, 3, 1).contiguous(), features=features)
    return result


def write_json(path, data):
    with open(path, "w", encoding="ascii") as f:
        json.dump(data, f, indent=1, sort_keys=True)
        f.write("\n")


def save(out, name, config, weights, result):
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    write_json(os.path.join(folder, "config.json"), config)
    for file, tensors in ("model", weights), ("golden", result):
        path = os.path.join(folder, file + ".safetensors")
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, path)
        os.chmod(path, 0o644)


def transformers_weights(model, name, stored):
    """As save_pretrained names them: Mixtral's experts are split again, a tied lm_head is left out."""
    import tempfile
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        weights = {k: v.to(stored) for k, v in load_file(os.path.join(scratch, "model.safetensors")).items()}
    if name == "bert-prefixed":                 # as the first checkpoints, converted from TensorFlow
        return {re.sub(r"LayerNorm\.bias", "LayerNorm.beta", re.sub(r"LayerNorm\.weight", "LayerNorm.gamma", k)): v
                for k, v in weights.items() if not k.startswith("cls.")}
    if name == "gpt2":                          # as the first checkpoints
        return {k.removeprefix("transformer."): v for k, v in weights.items()}
    return weights


def plain_config(config):
    """What config.json would have, without what is transformers' own default for any model."""
    keep = "hidden_act activation_function layer_norm_eps layer_norm_epsilon rms_norm_eps rope_parameters tie_word_embeddings model_type"
    data = config.to_dict()
    return {k: v for k, v in data.items() if v is not None and (k in keep.split() or (type(v) is int and not re.search("token_id|chunk", k)))}


def neighbours(w, heads):
    """Rows for rotations of neighbouring entries, as convert_hf_to_gguf.py's permute."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def permuted(weights, config):
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    return {k: neighbours(v.numpy(), heads[k.split(".")[-2]]) if k.split(".")[-2] in heads else v.numpy() for k, v in weights.items()}


def write_gguf(path, weights, c):
    import gguf
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, c.num_hidden_layers)
    for k, v in permuted(weights, c).items():
        w.add_tensor(names.get_name(k, try_suffixes=(".weight",)), v)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_llama2c(path, weights, c):
    """karpathy/llama2.c, export.py, legacy_export; a negative vocabulary: the classifier is not the embedding."""
    w = permuted(weights, c)
    layer = lambda part: [w[f"model.layers.{l}.{part}.weight"] for l in range(c.num_hidden_layers)]
    parts = [w["model.embed_tokens.weight"]]
    for part in ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                 "post_attention_layernorm", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"):
        parts += layer(part)
    half = c.hidden_size // c.num_attention_heads // 2
    parts += [w["model.norm.weight"], np.zeros(2 * c.max_position_embeddings * half, np.float32), w["lm_head.weight"]]
    with open(path, "wb") as f:
        f.write(struct.pack("<7i", c.hidden_size, c.intermediate_size, c.num_hidden_layers, c.num_attention_heads,
                            c.num_key_value_heads, -c.vocab_size, c.max_position_embeddings))
        for p in parts:
            f.write(np.ascontiguousarray(p, dtype="<f4").tobytes())


def make(out, seed):
    torch.set_default_dtype(torch.float64)
    for i, (name, kind, config) in enumerate(text_cases()):
        torch.manual_seed(seed + i)
        stored = torch.bfloat16 if name == "llama-tied" else torch.float32
        with Double():
            model = kind(config).eval()
        randomise(model, stored)
        with Double():
            result = text_results(model)
        weights = transformers_weights(model, name, stored)
        save(out, name, plain_config(config), weights, result)
        if name == "llama":
            write_gguf(os.path.join(out, "llama", "llama.gguf"), weights, config)
            write_llama2c(os.path.join(out, "llama", "llama.bin"), weights, config)
    for i, (name, config) in enumerate(CONV.items()):
        torch.manual_seed(seed + 100 + i)
        model = conv_layers(config)
        randomise(model, torch.float32)
        weights = {k: v.float() for k, v in model.state_dict().items()}
        save(out, name, config, weights, conv_results(model, config))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", default=os.path.join(here, "golden_networks"))
    args = p.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    make(args.out, args.seed)


if __name__ == "__main__":
    sys.exit(main())
