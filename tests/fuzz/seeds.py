"""Makes the seeds that the fuzzers start from, with Python's own zip, PNG and SHA-256.

    python3 seeds.py FOLDER BUILD      FOLDER/TARGET/*; BUILD/tests/experiments_results writes the result file

tests/fuzz/corpus holds the smallest set that covers as much as they and what the fuzzers found from them (libFuzzer's
-merge=1). Also prints the digest that fuzz_zip.c expects. Needs h5repack, else the standard library only.
"""
import hashlib
import io
import os
import pathlib
import re
import struct
import subprocess
import sys
import zipfile
import zlib

out, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
here = pathlib.Path(__file__).resolve().parent
SIDE, ROW = 105, 14


def put(target, name, data):
    folder = out / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def bits(number):
    return bytes((i * (number + 3) >> 3) & (255 if i % ROW < 13 else 128) for i in range(SIDE * ROW))


def png(rows, width=SIDE, height=SIDE, depth=1, colour=0, interlace=0, extra=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + rows[i : i + ROW] for i in range(0, len(rows), ROW))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def archive(files, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as z:
        for name, data in files:
            z.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def checkpoint(entries):
    def padded(b):
        return b + bytes(-len(b) % 64)

    version = re.search(r"VERSION ([0-9.]+)", (here.parent.parent / "CMakeLists.txt").read_text().split("project(")[1])[1]
    body = b"".join(padded(struct.pack("<QQ", len(n), len(d)) + n) + padded(d) for n, d in entries)
    length = 128 + len(body) + 32
    head = b"\x89MLCKPT\n" + struct.pack("<QIIQ", 0x0102030405060708, 1, len(entries), length)
    head += hashlib.sha256(b"config").digest() + version.encode().ljust(32, b"\0") + bytes(32)
    return head + body + hashlib.sha256(head + body).digest()


# Configurations and overrides.
for folder in ("configs", "tests/experiments/broken", "tests/experiments/composed"):
    for f in (here.parent.parent / folder).glob("*.yaml"):
        text = f.read_bytes()
        if len(text) < 4096:
            put("config", f.stem, text)
        for i, line in enumerate(re.findall(rb"--set ('?)(.*?)\1$", text, re.M)):
            put("set", f"{f.stem}-{i}", line[1])
put("set", "good", b"inner.lr=0.4\nouter.iterations=7\ntasks.x=[-1, 2.5]\nmodel.hidden=[8,8]\nname='a b'\neval.select=last\n")
put("set", "references", b"outer.lr=${inner.lr}\nseed=18446744073709551615\nname=${env:HOME}\ninner=3\ninner.steps={a: 1}\n")
put("set", "odd", b"=\ninner.lr\ninner.lr=\ninner..lr=1\n.=2\na.b.c=1\ninner.lr=[1\neval.shots=[1,1]\ndefaults=x\n")

# Pictures.
put("png", "good", png(bits(0)))
put("png", "white", png(b"\xff" * SIDE * ROW))
put("png", "small", png(bits(1)[: 16 * ROW], 16, 16))
put("png", "grey8", png(bits(1), depth=8))
put("png", "palette", png(bits(1), colour=3))
put("png", "interlaced", png(bits(1), interlace=1))
text = b"tEXt" + b"Comment\0hello"
put("png", "text", png(bits(2), extra=struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))))
put("png", "huge", png(bits(2), 0x7FFFFFFF, 0x7FFFFFFF))

# Archives. The first is the one that is accepted.
names = [f"Abc/character01/0001_{i:02d}.png" for i in (1, 2)]
good = [(n, png(bits(i))) for i, n in enumerate(names)]
put("zip", "good", archive(good))
put("zip", "stored", archive(good, zipfile.ZIP_STORED))
put("zip", "extras", archive([("Abc/", b""), ("__MACOSX/Abc/character01/._0001_01.png", b"x"), ("readme.txt", b"hi"), *good]))
put("zip", "climbs", archive([("../up.png", b"x"), *good]))
put("zip", "absolute", archive([("/etc/passwd", b"x")]))
put("zip", "few", archive(good[:1]))
put("zip", "bomb", archive([(names[0], bytes(1 << 20))]))
put("zip", "twice", archive(good[:1]) + archive(good))
put("zip", "no-picture", archive([(n, b"not a picture") for n in names]))
sha = hashlib.sha256()
for part in ("images_background", "images_evaluation"):
    for i, name in enumerate(names):
        pixels = bytes(bits(i)[y * ROW + x // 8] >> (7 - x % 8) & 1 for y in range(SIDE) for x in range(SIDE))
        sha.update(f"{part}/{name}\0".encode() + pixels)
print("the digest in fuzz_zip.c:", sha.hexdigest())

# Checkpoints.
put("checkpoint", "empty", checkpoint([]))
put("checkpoint", "three", checkpoint([(b"iteration", bytes(8)), (b"parameters", bytes(range(100))), (b"nothing", b"")]))
put("checkpoint", "long-name", checkpoint([(b"n" * 255, b"x" * 64), (b"m", b"y" * 65)]))

# Journals.
def journal(records):
    data = tag = b"\x89MLJRNL\n" + struct.pack("<II", 0x01020304, 1)
    for kind, body in records:
        record = struct.pack("<II", kind, len(body)) + body
        tag = hashlib.sha256(tag + record).digest()[:16]
        data += record + tag
    return data


def scores(episodes, steps, accuracy, seed, arrays):
    head = struct.pack("<qqdII", episodes, steps, 100.0, accuracy, seed)
    return head + b"5-shot\0nats\0" + struct.pack(f"<{arrays}d", *range(arrays))


keys = ("version", "precision", "instruction_set", "gemm", "libraries", "command_line", "config")
head = (1, b"".join(k.encode() + b"\0" + b"x\0" for k in keys))
train, validation = (2, struct.pack("<q6d", 1, *range(6))), (3, struct.pack("<q2d", 1, 0.5, 0.25))
whole = journal([head, train, validation, (5, struct.pack("<q", 1)), (6, struct.pack("<q", 1)), (4, scores(2, 1, 1, 1, 10))])
put("journal", "whole", whole)
put("journal", "cut", whole[:-30])
put("journal", "zeros", journal([head, train]) + bytes(100))
put("journal", "regression", journal([head, train, train, (4, scores(3, 0, 0, 0, 3))]))
put("journal", "no-head", journal([train]))
put("journal", "short-row", journal([head, (2, bytes(55))]))
put("journal", "scores-overflow", journal([head, (4, scores(1 << 30, (1 << 31) - 1, 0, 0, 0))]))

# A result file, packed by h5repack (hdf5-tools), as the runner's own takes 136 kB for a few rows.
def seal(data, length=None):
    return data + b"MLSEAL1\n" + struct.pack("<Q", len(data) if length is None else length) + hashlib.sha256(data).digest()


sample, packed = out.resolve() / "sample.h5", out.resolve() / "packed.h5"
env = dict(os.environ, METALORA_SAMPLE=str(sample), CK_VERBOSITY="silent")
subprocess.run([build / "tests/experiments_results"], env=env, cwd=out, stdout=subprocess.DEVNULL, check=False)
subprocess.run(["h5repack", "-l", "COMPA", sample, packed], check=True)
run = packed.read_bytes()
sample.unlink()
packed.unlink()
put("results", "sealed", seal(run))
put("results", "unsealed", run[:4000])
put("results", "other-length", seal(run[:2000], 7))
put("results", "sealed-text", seal(b"name: a\n"))
put("results", "sealed-signature", seal(b"\x89HDF\r\n\x1a\n"))
put("results", "seal-alone", seal(b""))

# What a run may write (fuzz_written.c): strings by line, then numbers.
put("written", "plain", b"a name\nname: a\\nseed: 1\ncomplete\n5-shot\nnats\nlayer1/weight\nhost metalora run x\n" + struct.pack("<9d", *range(9)))
put("written", "odd", b"\xff\xfe\x1b[2J\n\nfailed\n..\n\xe2\x96\x88\na/../b\n\x7f\n" + struct.pack("<6d", 1e308, -1e308, float("nan"), float("inf"), -0.0, 5e-324))

# Checkpoints of networks.
def safetensors(header, data=b""):
    return struct.pack("<Q", len(header)) + header + data


info = b'"%s":{"dtype":"%s","shape":%s,"data_offsets":%s}'
put("safetensors", "empty", safetensors(b"{}      "))
put("safetensors", "two", safetensors(b"{" + info % (b"a", b"F32", b"[2,2]", b"[0,16]") + b"," + info % (b"b", b"F16", b"[3]", b"[16,22]") + b"}", bytes(22)))
put("safetensors", "meta", safetensors(b'{"__metadata__":{"format":"pt"},' + info % (b"a", b"BF16", b"[]", b"[0,2]") + b"}", b"\x80\x3f"))
put("safetensors", "overlap", safetensors(b"{" + info % (b"a", b"I8", b"[4]", b"[0,4]") + b"," + info % (b"b", b"I64", b"[1]", b"[2,10]") + b"}", bytes(10)))
put("safetensors", "twice", safetensors(b"{" + b",".join([info % (b"a", b"F64", b"[1]", b"[0,8]")] * 2) + b"}", bytes(8)))
put("safetensors", "large", safetensors(b"{" + info % (b"a", b"U8", b"[2,18446744073709551614]", b"[0,16]") + b"}", bytes(16)))
put("safetensors", "sub-byte", safetensors(b"{" + info % (b"a", b"F4", b"[4,0,9]", b"[0,0]") + b"," + info % (b"b", b"F6_E2M3", b"[4]", b"[0,3]") + b"}", bytes(3)))


def gguf_string(s):
    return struct.pack("<Q", len(s)) + s


def gguf(keys, tensors, room=0, version=3):
    data = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    data += b"".join(gguf_string(k) + struct.pack("<I", kind) + value for k, kind, value in keys)
    for name, shape, kind, offset in tensors:
        data += gguf_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    return data + bytes(-len(data) % 32 + room)


def gguf_array(kind, n, data):
    return struct.pack("<IQ", kind, n) + data


every = [(b"k%d" % i, i, bytes([1]) + bytes(n - 1)) for i, n in enumerate((1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8)) if n]
texts = [(b"s", 8, gguf_string(b"llama")), (b"t", 9, gguf_array(8, 2, gguf_string(b"a") + gguf_string(b""))), (b"n", 9, gguf_array(5, 2, bytes(8)))]
put("gguf", "keys", gguf(every, []))
put("gguf", "texts", gguf([*texts, (b"general.alignment", 4, struct.pack("<I", 64))], []))
put("gguf", "nested", gguf([(b"n", 9, gguf_array(9, 2, gguf_array(8, 1, gguf_string(b"x")) + gguf_array(0, 1, b"y")))], []))
put("gguf", "tensors", gguf(texts, [(b"a", (32, 2), 8, 0), (b"b", (32,), 2, 96), (b"c", (32, 1), 3, 128), (b"d", (3,), 1, 160), (b"e", (), 0, 192)], 196))
put("gguf", "overlap", gguf([], [(b"a", (16,), 0, 0), (b"b", (8,), 0, 32)], 96, 2))
put("gguf", "absurd", gguf([(b"a", 9, gguf_array(8, 1 << 61, b""))], [(b"a", (1 << 40, 1 << 40), 0, 0)]))


def llama2c(dim, hidden, layers, heads, kv_heads, vocab, seq):
    n = abs(vocab) * dim * (2 if vocab < 0 else 1) + layers * (2 * dim + 2 * dim * dim + 2 * dim // heads * kv_heads * dim + 3 * hidden * dim)
    return struct.pack("<7i", dim, hidden, layers, heads, kv_heads, vocab, seq) + bytes(4 * (n + dim + seq * dim // heads))


put("llama2c", "tied", llama2c(4, 3, 2, 2, 1, 5, 2))
put("llama2c", "untied", llama2c(4, 3, 1, 1, 1, -5, 2))
put("llama2c", "cut", llama2c(4, 3, 1, 1, 1, -5, 2)[:-9])
put("llama2c", "version-1", struct.pack("<8i", 0x616B3432, 1, 4, 3, 1, 1, 1, 5))
put("llama2c", "vast", struct.pack("<7i", *[1 << 24] * 7) + bytes(100))

# Tokenizers: a byte for the kind, then the file (fuzz_tokenizer.c).
tokenizers = here.parent / "models" / "tokenizers"
for kind, ending in enumerate((".json", ".txt", ".bin")):
    for f in tokenizers.glob("*" + ending):
        if f.name != "golden.txt":
            put("tokenizer", f.name, bytes([kind]) + f.read_bytes())
small = '{"model":{"type":"%s","vocab":{"[UNK]":0,"a":1,"##a":2,"x":3,"aa":4}%s},"added_tokens":[{"id":5,"content":"<s>","special":true,"lstrip":true}]%s}'
put("tokenizer", "small-wordpiece", b"\0" + (small % ("WordPiece", "", ',"pre_tokenizer":{"type":"BertPreTokenizer"},"normalizer":{"type":"BertNormalizer"},"decoder":{"type":"WordPiece"}')).encode())
put("tokenizer", "small-bpe", b"\0" + (small % ("BPE", ',"merges":["a a"]', ',"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"}')).encode())
put("tokenizer", "small-vocab", b"\1[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##a\nthe\n")


def gguf_tokenizer():
    def text(t):
        return struct.pack("<Q", len(t)) + t

    def pair(key, kind, value):
        return text(b"tokenizer.ggml." + key) + struct.pack("<I", kind) + value

    def array(kind, values):
        return struct.pack("<IQ", kind, len(values)) + b"".join(values)

    tokens = [b"<s>", b"a", b"\xc4\xa0", b"aa", b"\xc4\xa0a"]
    pairs = [pair(b"model", 8, text(b"gpt2")), pair(b"pre", 8, text(b"smollm")), pair(b"tokens", 9, array(8, [text(t) for t in tokens])),
             pair(b"merges", 9, array(8, [text(b"a a"), text(b"\xc4\xa0 a")])),
             pair(b"token_type", 9, array(5, [struct.pack("<i", 3)] + [struct.pack("<i", 1)] * 4)),
             pair(b"bos_token_id", 4, struct.pack("<I", 0)), pair(b"add_bos_token", 7, b"\1")]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs)


put("tokenizer", "gguf", b"\3" + gguf_tokenizer())

# Networks' folders: config.json, and behind a 0 byte model.safetensors (fuzz_network.c).
for f in (here.parent / "models" / "golden_networks").glob("*/config.json"):
    config, weights = f.read_bytes(), f.with_name("model.safetensors").read_bytes()
    put("network", f.parent.name, config)
    if len(weights) < 8192:
        put("network", f.parent.name + "-weights", config + b"\0" + weights)
put("network", "many", b'{"model_type":"mixtral","vocab_size":2,"hidden_size":2,"num_attention_heads":1,"num_hidden_layers":4096,"num_local_experts":256,"num_experts_per_tok":2,"intermediate_size":1}')
put("network", "twice", b'{"model_type":"llama","model_type":"gpt2"}')

# Tables of text, and arrays.
put("table", "csv", b'\0\xef\xbb\xbftext,label,domain\r\n"a ""b"", c",x,d\r\n\r\n"two\nlines",x,d\n\xc3\xa9,y,e')
put("table", "csv-same", b"\0text,label\na,x\na,x\na,y\nb,x\nc,y\n")
put("table", "tsv", b"\1label\ttext\nx\ta, b\ny\t\"c\td\"\n")
put("table", "jsonl", b'\2{"text": "a \\"b\\" \\u00e9\\ud83d\\ude00", "label": -7}\n\n{"label": "x", "more": [1, {}], "text": "c"}\r\n')
put("table", "jsonl-domain", b'\2{"text": "a", "label": "b", "domain": "c"}\n{"text": "a", "label": "d", "domain": 3}\n')
put("table", "clinc", b'\3{"val": [["v", "c"]], "train": [["t", "a"], ["o", "b"]], "test": [["e", "b"]], "oos_val": []}\0{"z": ["b", "a"], "y": ["c"]}')
for kind, size in (("<f2", 2), (">f4", 4), ("<f8", 8), ("|u1", 1), (">i8", 8), ("|b1", 1)):
    header = ("{'descr': '%s', 'fortran_order': False, 'shape': (2, 3), }" % kind).ljust(117) + "\n"
    put("table", "npy-" + kind[1:], b"\4\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + bytes(range(6 * size)))
put("table", "npy-2", b"\4\x93NUMPY\2\0" + struct.pack("<I", 70) + b"{'shape': (4,), 'descr': '<i2', 'fortran_order': False}".ljust(69) + b"\n" + b"\xff\x7f" * 4)
