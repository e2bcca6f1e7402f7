#!/usr/bin/env python3
"""Golden checkpoints: written by the safetensors and gguf packages, and what these (and numpy) read from them.

    python3 golden_weights.py [--seed N] [--out FOLDER]

golden_weights.safetensors, golden_weights.gguf: a tensor of every type that can be read, named by its type.
golden_weights.txt: "format name shape...", then the numbers, one a line, as C's strtod reads them."""
import argparse
import os
import pathlib

import gguf
import numpy as np
import safetensors.numpy

Q = gguf.GGMLQuantizationType
HERE = pathlib.Path(__file__).resolve().parent


def halves(rng, n):
    """Half-precision numbers of every kind: zeros, subnormals, the largest, infinities, NaN, and any."""
    special = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x83FF, 0x8400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x3555]
    return np.concatenate([special, rng.integers(0, 0x7C00, n - len(special))]).astype(np.uint16).view(np.float16)


def plain(rng):
    normal = rng.normal(size=(2, 3, 5))
    return {
        "F32": normal.astype(np.float32),
        "F16": halves(rng, 40).reshape(4, 10),
        "F64": np.array([np.pi, -1e-300, 1e30, 0.1]),
        "I8": rng.integers(-128, 128, (3, 7), dtype=np.int8),
        "U8": rng.integers(0, 256, 9, dtype=np.uint8),
        "I16": rng.integers(-(2**15), 2**15, 5, dtype=np.int16),
        "I32": rng.integers(-(2**24), 2**24, (1, 5), dtype=np.int32),
        "I64": rng.integers(-(2**53), 2**53, 3, dtype=np.int64),
        "BOOL": np.array([True, False, True]),
        "number": np.array(1.5, np.float32),
        "nothing": np.zeros((2, 0), np.float32),
    }


def expected(lines, kind, name, values):
    lines.append(" ".join(map(str, [kind, name, *values.shape])))
    if values.dtype in (np.float16, np.float32):
        values = values.astype(np.float32)                    # and as few digits as tell it from its neighbours
        lines.extend("nan" if np.isnan(v) else np.format_float_scientific(v, trim="-") for v in values.ravel())
    else:
        lines.extend(repr(float(v)) for v in values.ravel())


def bfloat16(rng, shape):
    bits = rng.integers(0, 2**16, shape).astype(np.uint32)
    bits[(bits & 0x7F80) == 0x7F80] &= 0xFF00FFFF ^ 0x4000
    return bits.astype(np.uint16), (bits << np.uint32(16)).view(np.float32)


def write_safetensors(rng, path, lines):
    """BF16, which numpy does not know, goes in as U16 of the same length of name and is renamed in the header."""
    tensors = plain(rng)
    tensors["BF16"], widened = bfloat16(rng, (2, 6))
    data = safetensors.numpy.save(tensors, metadata={"a key": "a value ä"})
    data = data.replace(b'"BF16":{"dtype":"U16"', b'"BF16":{"dtype":"BF16"')
    n = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + n + 1].rstrip()      # one byte longer now
    assert header.endswith(b"}}")
    padded = header + b" " * (-len(header) % 8)
    path.write_bytes(len(padded).to_bytes(8, "little") + padded + data[8 + n + 1 :])
    tensors["BF16"] = widened
    for name, values in tensors.items():
        expected(lines, "safetensors", name, values)


def write_metadata(w):
    w.add_uint8("a.u8", 200)
    w.add_int8("a.i8", -100)
    w.add_uint16("a.u16", 60000)
    w.add_int16("a.i16", -30000)
    w.add_uint32("a.u32", 4000000000)
    w.add_int32("a.i32", -2000000000)
    w.add_float32("a.f32", 0.1)
    w.add_bool("a.bool", True)
    w.add_string("a.string", "grüß dich")
    w.add_uint64("a.u64", 2**53)
    w.add_int64("a.i64", -(2**53))
    w.add_float64("a.f64", 0.1)
    w.add_array("a.strings", ["", "a", "Ġthe", "<|end|>"])
    w.add_array("a.integers", [1, -2, 3])
    w.add_array("a.floats", [0.5, -0.25])
    w.add_array("a.booleans", [True, False])


def write_gguf(rng, path, lines):
    w = gguf.GGUFWriter(path, "llama")
    w.add_custom_alignment(64)
    write_metadata(w)
    for name, values in plain(rng).items():
        if name not in ("U8", "BOOL", "number", "nothing"):
            w.add_tensor(name, values)
            expected(lines, "gguf", name, values)
    for kind in (Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.BF16):
        stored = gguf.quantize(rng.normal(size=(3, 64)).astype(np.float32) * rng.uniform(1e-6, 100, (3, 1)).astype(np.float32), kind)
        w.add_tensor(kind.name, stored, raw_dtype=kind)
        expected(lines, "gguf", kind.name, gguf.dequantize(stored, kind))
    # Any bits: scales that are subnormal, and the corners of the quantised range.
    for kind, size in ((Q.Q8_0, 34), (Q.Q4_0, 18), (Q.Q4_1, 20)):
        stored = rng.integers(0, 256, (2, 2, size), dtype=np.uint8)
        stored[..., 1] &= 0xBB
        stored[..., 3] &= 0xBB if kind == Q.Q4_1 else 0xFF
        stored = stored.reshape(2, 2 * size)
        w.add_tensor(kind.name + ".any", stored, raw_dtype=kind)
        expected(lines, "gguf", kind.name + ".any", gguf.dequantize(stored, kind))
    w.add_tensor("Q6_K", np.zeros((1, 210), np.uint8), raw_dtype=Q.Q6_K)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write(out, seed):
    rng, lines = np.random.default_rng(seed), []
    write_safetensors(rng, out / "golden_weights.safetensors", lines)
    write_gguf(rng, out / "golden_weights.gguf", lines)
    (out / "golden_weights.txt").write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", type=pathlib.Path, default=HERE)
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    write(a.out, a.seed)
