"""The workloads of the benchmark, defined once: shapes, rates, generated data, initial weights, floating-point operations.

A case is a safetensors file that bench/workload (ours) and bench/peers read:
    metadata          everything of the workload's row below, as text
    param.00 ...      initial parameters in metalora's order: convolutions [3, 3, in, out], then beta, gamma; LoRA A [r, in], B [out, r]
    support_x, ...    support_y, query_x, query_y [batches, tasks, examples, ...]; images [h, w, c], classes and tokens int32
w4's frozen encoder is a folder beside it, with config.json and model.safetensors as Hugging Face has them.
"""
import json
import os

import numpy as np

SINUSOID = dict(model="mlp", way=1, shot=10, query=10, tasks=25, steps=1, inner_lr=0.01, chunk=5, check=5, seconds=3)
OMNIGLOT = dict(model="conv4", way=5, shot=1, query=15, tasks=32, steps=1, inner_lr=0.4, size=28, channels=1, filters=64, max_pool=0,
                chunk=1, check=3, seconds=6)
IMAGENET = dict(OMNIGLOT, size=84, channels=3, filters=32, max_pool=1, tasks=4, steps=5, inner_lr=0.01, tolerance=0.05)
LORA = dict(model="lora", way=5, shot=5, query=5, tasks=2, steps=3, inner_lr=0.05, targets="query,value", network="encoder", chunk=1,
            check=2, seconds=6)

# name: (what it is, its row, threads, the peers that are worth running: bench/peers/NAME_peer.py and its mode)
WORKLOADS = {
    "w1": ("sinusoid, MLP 40-40, 25 tasks, second order", SINUSOID, 1, ["jax vmap", "torch func"]),
    "w1-two-threads": ("the same", SINUSOID, 2, ["jax vmap", "torch func"]),
    "w2": ("Omniglot conv4-64, 5-way 1-shot, 15 queries, 32 tasks", OMNIGLOT, 2, ["jax pmap", "jax map", "torch eager"]),
    "w2-query1": ("the same with 1 query", dict(OMNIGLOT, query=1), 2, ["jax pmap", "torch func"]),
    "w2-20way": ("20-way, 5 steps, 1 query, 16 tasks", dict(OMNIGLOT, way=20, query=1, tasks=16, steps=5, inner_lr=0.1, tolerance=0.05), 2,
                 ["jax pmap", "torch eager"]),
    "w2-first-order": ("w2, first order", dict(OMNIGLOT, algorithm="fomaml"), 2, ["torch eager", "jax pmap"]),
    "w2-reptile": ("Reptile, 10 examples, 5 Adam steps, 5 tasks",
                   dict(OMNIGLOT, algorithm="reptile", shot=2, query=1, tasks=5, steps=5, inner_lr=1e-3), 2, ["jax map", "torch eager"]),
    "w3": ("84x84 conv4-32 with max-pooling, 4 tasks, 5 steps", IMAGENET, 2, ["jax map", "torch eager"]),
    "w4": ("LoRA r=8 on q, v of a 6x384 encoder, 5-way 5-shot, 3 steps, 2 tasks", LORA, 2, ["torch eager", "jax map"]),
    "w4-first-order": ("w4, first order", dict(LORA, algorithm="fomaml"), 2, ["torch eager", "jax map"]),
    "w4-reptile": ("w4, Reptile by Adam", dict(LORA, algorithm="reptile", query=1, inner_lr=1e-3), 2, ["torch eager", "jax map"]),
    "w4-all": ("LoRA on all linear maps", dict(LORA, targets="query,key,value,dense"), 2, ["torch eager", "jax map"]),
}

LAYERS, WIDTH, HEADS, WIDE, TOKENS, RANK, VOCABULARY = 6, 384, 12, 1536, 32, 8, 4096
LORA_ALPHA = 16.0
# A layer's linear maps in the encoder's order: name in the layer, what targets call it.
LINEAR = [("attention.self.query", "query"), ("attention.self.key", "key"), ("attention.self.value", "value"),
          ("attention.output.dense", "dense"), ("intermediate.dense", "dense"), ("output.dense", "dense")]


class Encoder:
    """Sizes of a row's encoder: those above, which the peers take for granted, or a smaller one for counting instructions."""

    def __init__(self, row):
        self.layers, self.width, self.tokens = row.get("layers", LAYERS), row.get("width", WIDTH), row.get("tokens", TOKENS)
        self.wide, self.heads, self.vocabulary = 4 * self.width, self.width * HEADS // WIDTH, VOCABULARY * self.width // WIDTH

    def maps(self):
        """name in the layer, what targets call it, in, out"""
        for name, target in LINEAR:
            yield name, target, self.wide if name == "output.dense" else self.width, self.wide if name == "intermediate.dense" else self.width


def full(row):
    return {"algorithm": "maml", "outer_lr": 0.5 if row.get("algorithm") == "reptile" else 1e-3, **row}


def write_safetensors(path, arrays, metadata):
    """Written aside and renamed, so that a case is whole or not there."""
    header, at = {"__metadata__": {k: str(v) for k, v in metadata.items()}}, 0
    for name, a in arrays.items():
        header[name] = {"dtype": {"float32": "F32", "int32": "I32"}[a.dtype.name], "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{path}.part", "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for a in arrays.values():
            f.write(np.ascontiguousarray(a).tobytes())
    os.replace(f"{path}.part", path)


def read_safetensors(path):
    """Arrays by name (read-only, mapped) and the metadata."""
    raw = np.memmap(path, np.uint8, "r")
    size = int.from_bytes(raw[:8].tobytes(), "little")
    header = json.loads(raw[8:8 + size].tobytes())
    metadata = header.pop("__metadata__", {})
    data = raw[8 + size:]
    arrays = {}
    for name, e in header.items():
        begin, end = e["data_offsets"]
        arrays[name] = data[begin:end].view({"F32": np.float32, "I32": np.int32}[e["dtype"]]).reshape(e["shape"])
    return arrays, metadata


def normal(r, std, *shape):
    return (r.standard_normal(shape) * std).astype(np.float32)


def zeros(*shape):
    return np.zeros(shape, np.float32)


def ones(*shape):
    return np.ones(shape, np.float32)


def initial(row, r):
    if row["model"] == "mlp":
        return [normal(r, 1, 1, 40), normal(r, 0.5, 40), normal(r, (2 / 40) ** 0.5, 40, 40), zeros(40), normal(r, (1 / 40) ** 0.5, 40, 1), zeros(1)]
    if row["model"] == "conv4":
        params, c, f = [], row["channels"], row["filters"]
        for _ in range(4):
            params += [normal(r, (2 / (9 * c)) ** 0.5, 3, 3, c, f), zeros(f), ones(f)]
            c = f
        features = f * (row["size"] // 16) ** 2 if row["max_pool"] else f
        return params + [normal(r, features ** -0.5, features, row["way"]), zeros(row["way"])]
    params, encoder = [], Encoder(row)
    for _ in range(encoder.layers):
        for _, target, n_in, n_out in encoder.maps():
            if target in row["targets"].split(","):
                params += [normal(r, n_in ** -0.5, RANK, n_in), normal(r, 0.02, n_out, RANK)]
    return params + [normal(r, 0.02, row["way"], encoder.width), zeros(row["way"])]


def sines(row, r):
    n = row["tasks"]
    amplitude, phase = r.uniform(0.1, 5, (n, 1, 1)), r.uniform(0, np.pi, (n, 1, 1))
    x = r.uniform(-5, 5, (n, row["shot"] + row["query"], 1))
    y = amplitude * np.sin(x - phase)
    x, y, k = x.astype(np.float32), y.astype(np.float32), row["shot"]
    return x[:, :k], y[:, :k], x[:, k:], y[:, k:]


def images(row, r):
    """Noise around a prototype of each class."""
    shape = (row["size"], row["size"], row["channels"])
    prototype = r.standard_normal((row["tasks"], row["way"], *shape), dtype=np.float32)
    sets = []
    for each in (row["shot"], row["query"]):
        y = np.tile(np.arange(row["way"], dtype=np.int32), (row["tasks"], each))
        x = np.tile(prototype, (1, each, 1, 1, 1)) + r.standard_normal((*y.shape, *shape), dtype=np.float32)
        sets += [x * np.float32(0.7), y]
    return sets


def texts(row, r):
    """Four tokens in ten are of the dozen that belong to the class."""
    e = Encoder(row)
    own = r.integers(0, e.vocabulary, (row["tasks"], row["way"], 12))
    sets = []
    for each in (row["shot"], row["query"]):
        y = np.tile(np.arange(row["way"], dtype=np.int32), (row["tasks"], each))
        size = (*y.shape, e.tokens)
        of_class = np.take_along_axis(np.tile(own, (1, each, 1)), r.integers(0, 12, size), 2)
        sets += [np.where(r.random(size) < 0.4, of_class, r.integers(0, e.vocabulary, size)).astype(np.int32), y]
    return sets


def write_case(path, row):
    row = full(row)
    draw = {"mlp": sines, "conv4": images, "lora": texts}[row["model"]]
    r = np.random.default_rng(2)
    batches = [draw(row, r)]
    while len(batches) < 3 and sum(a.nbytes for a in batches[0]) * (len(batches) + 1) < 32e6:
        batches.append(draw(row, r))
    arrays = {f"param.{i:02d}": p for i, p in enumerate(initial(row, np.random.default_rng(1)))}
    for i, name in enumerate(("support_x", "support_y", "query_x", "query_y")):
        arrays[name] = np.stack([b[i] for b in batches])
    write_safetensors(path, arrays, row)
    if row["model"] == "lora":
        write_encoder(os.path.join(os.path.dirname(path), row["network"]), Encoder(row))


def write_encoder(folder, sizes):
    """The shape of MiniLM-L6 with a small vocabulary and random weights."""
    if os.path.exists(f"{folder}/model.safetensors"):
        return
    r, width = np.random.default_rng(3), sizes.width
    e = {"embeddings.word_embeddings.weight": normal(r, 0.5, sizes.vocabulary, width),
         "embeddings.position_embeddings.weight": normal(r, 0.1, sizes.tokens, width), "embeddings.token_type_embeddings.weight": zeros(2, width)}

    def norm(name):
        e[f"{name}.weight"], e[f"{name}.bias"] = ones(width), zeros(width)

    norm("embeddings.LayerNorm")
    for layer in range(sizes.layers):
        at = f"encoder.layer.{layer}."
        for name, _, n_in, n_out in sizes.maps():
            e[f"{at}{name}.weight"], e[f"{at}{name}.bias"] = normal(r, n_in ** -0.5, n_out, n_in), zeros(n_out)
        norm(f"{at}attention.output.LayerNorm")
        norm(f"{at}output.LayerNorm")
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/config.json", "w") as f:
        json.dump(dict(model_type="bert", architectures=["BertModel"], hidden_size=width, num_hidden_layers=sizes.layers,
                       num_attention_heads=sizes.heads, intermediate_size=sizes.wide, vocab_size=sizes.vocabulary,
                       max_position_embeddings=sizes.tokens, type_vocab_size=2, layer_norm_eps=1e-12, hidden_act="gelu"), f)
    write_safetensors(f"{folder}/model.safetensors", e, {"format": "pt"})


def linear_maps(row):
    """(forward operations of one example, its input needs a gradient, its weight does) of every matrix product or convolution."""
    maps = []
    if row["model"] == "mlp":
        return [(2 * 40, 0, 1), (2 * 1600, 1, 1), (2 * 40, 1, 1)]
    if row["model"] == "conv4":
        size, c, f = row["size"], row["channels"], row["filters"]
        for block in range(4):
            out = size if row["max_pool"] else (size + 1) // 2
            maps.append((2 * out * out * f * 9 * c, int(block > 0), 1))
            c, size = f, out // 2 if row["max_pool"] else out
        return maps + [(2 * (f * size * size if row["max_pool"] else f) * row["way"], 1, 1)]
    e = Encoder(row)
    for layer in range(e.layers):
        for name, target, n_in, n_out in e.maps():
            moves = int(layer > 0 or name not in ("attention.self.query", "attention.self.key", "attention.self.value"))
            maps.append((2 * e.tokens * n_in * n_out, moves, 0))
            if target in row["targets"].split(","):
                maps += [(2 * e.tokens * n_in * RANK, moves, 1), (2 * e.tokens * RANK * n_out, 1, 1)]
        maps += [(2 * e.tokens * e.tokens * e.width, 1, 1)] * 2   # q k' and p v
    return maps + [(2 * e.width * row["way"], 1, 1)]


def gflop(row):
    """Of one meta-iteration, products and convolutions only, the same for whoever computes it: a map's forward (1), the product for its
    input's gradient (x) and its weight's (w); differentiating that gradient needs the forward's own x and w again and both products of
    each of those two. A program that recomputes does more; one that skips does less."""
    row = full(row)
    first = sum(c * (1 + x + w) for c, x, w in linear_maps(row))
    second = sum(c * (x + w + w * (1 + x) + x * (1 + w)) for c, x, w in linear_maps(row))
    n_support, n_query = row["way"] * row["shot"], row["way"] * row["query"]
    if row["algorithm"] == "reptile":
        return row["tasks"] * row["steps"] * n_support * first * 1e-9
    each = first + (second if row["algorithm"] == "maml" else 0)
    return row["tasks"] * (row["steps"] * n_support * each + n_query * first) * 1e-9
