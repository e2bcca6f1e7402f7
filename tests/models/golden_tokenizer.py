#!/usr/bin/env python3
"""Golden ids by the `tokenizers` package, over small tokenizers made here, and for llama2.c by a transcription of its run.c.

    python3 golden_tokenizer.py

Writes tokenizers/: one tokenizer a file, and golden.txt: the texts and what each tokenizer gives for them. Bytes that are no
printable ASCII are written \\xNN.

    text TEXT
    case FILE BEFORE AFTER        so many special tokens stand around a text
    NUMBER ids;TEXT               of each text, and what the ids decode to; = where that is the text"""
import json
import os
import random
import struct

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.implementations import BertWordPieceTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "tokenizers")

CORPUS = [
    "the quick brown fox jumps over the lazy dog; the dog doesn't mind, it's used to it",
    "please transfer 100 dollars from my checking account to my savings account on 12 May 2024",
    "what's my balance? I've been charged twice, they'll have to refund me! we're waiting, I'd say",
    "café naïve über straße Ångström Ωmega москва привет 東京 日本語 한국어 ไทย हिन्दी العربية",
    "def f(x):\n    return x + 1\n\n\tif x == 10:\r\n        print('ok')  # done\n",
]

TEXTS = [
    "", " ", "   ", "\n", "\t \r\n  ", "a", "Hello, World!", "the quick brown fox", "  the   quick  fox  ",
    "unaffable transferring", "What's my account balance?", "I've I'VE we'll WE'LL it's IT'S they'd don't 'tis ' s 's",
    "it\u017f it'\u017f IT'\u017f", "1 12 123 1234 12345 3.14 1,000 2024-05-12", "\u0661\u0662\u0663 \u00b2\u00b3 \u2167 \u4e00\u4e8c",
    "café CAFÉ cafe\u0301 naïve Ångström \u212b ü\u0308 \u1e69 s\u0323\u0307 s\u0307\u0323", "straße STRASSE ẞ İstanbul ı ΑΣ ΟΔΥΣΣΕΥΣ Ǆ",
    "москва МОСКВА Ёлка йод", "東京 日本語 abc日本def \uf900\u2f800 \U00020000\U0002f800 ひらがな カタカナ ｶﾞ",
    "한국어 \u1112\u1161\u11ab 가각 가\u11a7 \u1100\u1161\u11a7\u11a8", "ไทยกำ हिन्दी العربيّة עברית שָׁלוֹם", "emoji 😀👍🏽 👨‍👩‍👧‍👦 🇩🇪 ☃️ a😀b",
    "zero\u200bwidth\u200cnon\u200djoiner\u2060word\ufeffmark\u00adsoft", "nul\x00byte \x01\x02\x1f\x7f\x80\x85\x9f end", "\ufffd replacement \ufffe \uffff \ue000 private",
    "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u1680g\u180eh", "punct: !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ «» „“ … — ‐ 、。 ¿¡ § ¶ € £ ＋ ₹",
    "x" * 99, "y" * 100, "z" * 101, "é" * 100, "é" * 101, "日" * 101, "ab" * 60, "the" * 34,
    "[CLS] the [SEP] dog [MASK] [UNK] [PAD] [cls] [ SEP ] x[SEP]y [[SEP]] [SEP",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|><|im_start|> <|im_end|>x<|im_end", "<s>the</s> <pad><mask> a<mask>b <mask>  <MASK> z",
    "<left>  a  <left>b <right>   c<right>d  <both>  e <word> <word>x x<word> é<word> -<word>-", "Special SPECIAL special Spécial ABC abc xyz XYZ",
    "line one\nline two\r\nline three\n\n\nend\n", "\n\n  x", " \n \n y", "a  \n", "a \t b\t\tc", "   \u00a0 a \u3000\u3000b", "!!\n\n??\r\nx", " !a", "!a", "\u00a0a",
    "def f(x):\n    return x + 1\n", "aaaaaaaaaaaaaaaaaaaaaaaa", "lowlowerlowest newnewer", "the dog .. ?! , ' do not can't n't 'm 's",
    "\U0001d49c\U0001d7d8 \U00010400\U00010428 \u0345\u0301\u0316a\u0316\u0301\u0345 \U0001d165\U0001d16d", "\u0958 \u0dda \u0b94 \u1026 \u304c",
    "\u08e3\u08d4\u1df6\u2e43\U0001e944\U00011443\u1734\u166d", "Ⱥ Ⱦ K Å \u0130 \u1e9e \u10a0 \u13a0 \uab70 Ꞃ",
]


def noise(count=15):
    """Texts of characters that matter to some rule, next to each other in no order."""
    draw = random.Random(1)
    pool = list("aetxAZ09 '.,-\n\r\t\u00e9\u00df\u0130\u0301\u0323\u00a0\u200d\u4e2d\u3042\ud55c\u0e01\u0939\u094d\u0661\u00b2\U0001f600\u3000\x00\xad\ufffd_#")
    return ["".join(draw.choice(pool) for _ in range(draw.randrange(1, 30))) for _ in range(count)]


def letters():
    text = " ".join(CORPUS).lower()
    return sorted({c for c in normalizers.NFD().normalize_str(text) if not c.isspace()})


def bert_words():
    chars = letters()
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *chars, *("##" + c for c in chars if c.isalpha()), "the", "quick", "##ing", "##ly",
            "transfer", "##r", "account", "balance", "un", "##aff", "##able", "cafe", "naive", "##ff", "##fer", "##ring", "日", "本", "ss", "##ss",
            "москва", "моск", "##ва", "x", "##xx", "##xxxx", "##xxxxxxxx", "!", "?", "#", "[", "]", "'", "dog", "n't", "…", "—", "😀", "do", "not",
            "Special", "Café", "##É", "É", "İ", "##İ", "i\u0307", "##CAFÉ"]


def unique(words):
    return list(dict.fromkeys(words))


def wordpiece():
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(unique(bert_words()))}, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    t.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)])
    t.decoder = decoders.WordPiece()
    return t


def cased():
    """Everything the other way round, and added tokens of each kind, some in the vocabulary and some not."""
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(unique(bert_words()))}, unk_token="[UNK]", max_input_chars_per_word=12))
    t.normalizer = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", AddedToken("<mask>", lstrip=True, single_word=True)])
    t.add_tokens([AddedToken("<left>", lstrip=True), AddedToken("<right>", rstrip=True), AddedToken("<both>", lstrip=True, rstrip=True),
                  AddedToken("<word>", single_word=True, normalized=False), AddedToken("SPECIAL", normalized=True), "[SEP", "dog"])
    t.add_special_tokens([AddedToken("ABC", normalized=True), AddedToken("xyz", normalized=True)])
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    t.decoder = decoders.WordPiece(cleanup=False)
    return t


def accents_only():
    """Accents off, case kept; no post-processor and no decoder."""
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(unique(bert_words()))}, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=False)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return t


def train(t, size, alphabet, special):
    t.train_from_iterator(CORPUS * 2, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=special, show_progress=False))
    return t


def gpt2():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    t.decoder = decoders.ByteLevel()
    return train(t, 420, pre_tokenizers.ByteLevel.alphabet(), ["<|endoftext|>"])


def smollm():
    """Most bytes are not in the vocabulary."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    train(t, 250, [], ["<unk>", "<|im_start|>", "<|im_end|>"])
    t.post_processor = processors.TemplateProcessing("<|im_start|> $A", None, [("<|im_start|>", 1)])
    t.add_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<both>", lstrip=True, rstrip=True)])
    return t


def split_byte_level(pattern, ignore_merges, normalizer):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges, unk_token="<unk>"))
    t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    return train(t, 330, [], ["<unk>", "<s>", "</s>"])


SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def llama3():
    t = split_byte_level(SPLIT.replace("DIGITS", "{1,3}"), True, None)
    t.post_processor = processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing("<s> $A </s>", None, [("<s>", 1), ("</s>", 2)])])
    return t


def qwen2():
    return split_byte_level(SPLIT.replace("DIGITS", ""), False, normalizers.NFC())


def digits():
    """Runs of digits; no decoder."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=True)])
    return train(t, 260, [], [])


CASES = {f.__name__: f for f in (wordpiece, cased, accents_only, gpt2, smollm, llama3, qwen2, digits)}


def saved(name, t):
    """As committed: compact; some merges as "a b", which older files have, and sections that must not matter."""
    file = json.loads(t.to_str())
    if name in ("gpt2", "qwen2"):
        file["model"]["merges"] = [" ".join(m) for m in file["model"]["merges"]]
    if name == "wordpiece":
        file["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
        file["padding"] = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    if name == "llama3":     # a whole word that merging does not reach
        del file["model"]["merges"][-10:]
    return json.dumps(file, ensure_ascii=name in ("cased", "smollm"), separators=(",", ":"))


def oracle(name, text):
    t = Tokenizer.from_str(text)
    t.no_truncation()
    t.no_padding()
    return (lambda s: t.encode(s).ids, lambda s: t.encode(s, add_special_tokens=False).ids, lambda ids: t.decode(ids).encode("utf-8"))


# ---- llama2.c: transcribed line by line from run.c (Karpathy 2023, MIT licence), encode and decode ----

def llama2c_vocab():
    pieces = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{b:02X}>" for b in range(256))]
    merged = [" t", "he", " a", "the", " the", "in", "er", "qu", "ick", "ic", "ck", " qu", " quick", "é", " é", "日本", "ow", " l", "low", "lo", "er ", "aa", "aaaa", "  ",
              "xx", "xxxx", "<0x41><0x42>", "<<", "<0", "x4", "dd", "d1", "\n\n"]
    chars = sorted(set("".join(CORPUS)) - set("zZфé본")) + ["本"]
    words = unique([*merged, *chars])
    score = {w: -float(i // 2) for i, w in enumerate(words)}      # pairs of equal scores
    return [(0.0, p.encode()) for p in pieces] + [(score[w], w.encode()) for w in words]


def llama2c_file(vocab):
    out = struct.pack("<i", max(len(p) for _, p in vocab))
    return out + b"".join(struct.pack("<fi", s, len(p)) + p for s, p in vocab)


def llama2c_read(data):
    at, vocab = 4, []
    while at < len(data):
        score, n = struct.unpack_from("<fi", data, at)
        vocab.append((score, data[at + 8:at + 8 + n]))
        at += 8 + n
    return vocab


def llama2c_encode(vocab, text, bos):
    lookup = {p: i for i, (_, p) in reversed(list(enumerate(vocab)))}
    tokens = []
    if bos:
        tokens.append(1)
    if text:
        tokens.append(lookup[b" "])
    buffer, n = b"", len(text)
    for i in range(n):
        c = text[i]
        if c & 0xC0 != 0x80:
            buffer = b""
        buffer += text[i:i + 1]
        if i + 1 < n and text[i + 1] & 0xC0 == 0x80 and len(buffer) < 4:
            continue
        if buffer in lookup:
            tokens.append(lookup[buffer])
        else:
            tokens.extend(b + 3 for b in buffer)
        buffer = b""
    while True:
        best_score, best_id, best_at = -1e10, -1, -1
        for i in range(len(tokens) - 1):
            both = lookup.get(vocab[tokens[i]][1] + vocab[tokens[i + 1]][1], -1)
            if both != -1 and vocab[both][0] > best_score:
                best_score, best_id, best_at = vocab[both][0], both, i
        if best_at == -1:
            break
        tokens[best_at:best_at + 2] = [best_id]
    return tokens


def llama2c_decode(vocab, tokens):
    """What run.c prints; it stops at <s> and never prints </s>, here both are left out."""
    out, previous = b"", None
    for token in tokens:
        piece = vocab[token][1]
        if previous == 1 and piece.startswith(b" "):
            piece = piece[1:]
        if len(piece) == 6 and piece.startswith(b"<0x") and piece.endswith(b">"):
            piece = bytes([int(piece[3:5], 16)])
        if token not in (1, 2):
            out += piece
        previous = token
    return out


def llama2c_oracle(data):
    vocab = llama2c_read(data)
    return (lambda s: llama2c_encode(vocab, s.encode(), True), lambda s: llama2c_encode(vocab, s.encode(), False),
            lambda ids: llama2c_decode(vocab, ids))


# ---- GGUF ----

def gguf_oracle(path):
    """The file's tokens and merges, by the reference reader, in the package's BPE with SmolLM2's splitting, as transformers'
    reader of these files knows ByteLevel alone."""
    fields = gguf.GGUFReader(path).fields
    get = lambda key: fields["tokenizer.ggml." + key].contents()
    if (get("model"), get("pre")) != ("gpt2", "smollm"):
        sys.exit(f"{path}: expected SmolLM2's tokenizer")
    tokens = get("tokens")
    t = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [tuple(m.split(" ")) for m in get("merges")]))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(tokens[i], normalized=False) for i, kind in enumerate(get("token_type")) if kind == 3])
    bos = [get("bos_token_id")] if get("add_bos_token") else []
    plain = lambda s: t.encode(s).ids
    return (lambda s: bos + plain(s), plain, lambda ids: t.decode(ids).encode("utf-8"))


def gguf_file(path, t):
    """The tokenizer's own tokens and merges as a GGUF file without tensors."""
    model = json.loads(t.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(tokens)
    w.add_token_types([3 if token[0] == "<" and len(token) > 2 else 1 for token in tokens])
    w.add_token_merges([" ".join(m) for m in model["merges"]])
    w.add_bos_token_id(1)
    w.add_add_bos_token(True)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


# ---- files ----

def bert_vocab_txt():
    """Of vocabulary files people have made by hand: spaces behind tokens, a token twice, no newline at the end."""
    words = unique(bert_words())
    words[20] += " \t"
    return "\n".join([*words, "quick", "dog", "mix", "quick"])


def vocab_oracle(path):
    t = BertWordPieceTokenizer(path)
    return (lambda s: t.encode(s).ids, lambda s: t.encode(s, add_special_tokens=False).ids, lambda ids: t.decode(ids).encode("utf-8"))


def written(data):
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02x}" for b in data)


def case(name, functions, texts):
    """The block of one tokenizer in golden.txt."""
    encode, plain, decode = functions
    empty = encode("")
    before = next(i for i in range(len(empty) + 1) if all(encode(t)[i:i + len(plain(t))] == plain(t) for t in texts))
    lines = [f"case {name} {before} {len(empty) - before}"]
    for i, text in enumerate(texts):
        ids = encode(text)
        assert ids == empty[:before] + plain(text) + empty[before:], (name, text)
        decoded = decode(ids)
        lines.append(f"{i} {' '.join(map(str, ids))};{'=' if decoded == text.encode('utf-8') else written(decoded)}")
    return lines


def main():
    os.makedirs(FOLDER, exist_ok=True)
    texts = TEXTS + noise()
    lines = [f"text {written(t.encode('utf-8'))}" for t in texts]
    for name, make in CASES.items():
        text = saved(name, make())
        with open(os.path.join(FOLDER, name + ".json"), "w", encoding="utf-8") as f:
            f.write(text)
        lines += case(name + ".json", oracle(name, text), texts)
    path = os.path.join(FOLDER, "smollm.gguf")
    gguf_file(path, smollm())
    lines += case("smollm.gguf", gguf_oracle(path), texts)
    path = os.path.join(FOLDER, "vocab.txt")
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.write(bert_vocab_txt())
    lines += case("vocab.txt", vocab_oracle(path), texts)
    data = llama2c_file(llama2c_vocab())
    with open(os.path.join(FOLDER, "tokenizer.bin"), "wb") as f:
        f.write(data)
    lines += case("tokenizer.bin", llama2c_oracle(data), texts)
    with open(os.path.join(FOLDER, "golden.txt"), "w", encoding="ascii") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
