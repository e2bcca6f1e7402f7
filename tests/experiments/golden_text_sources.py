#!/usr/bin/env python3
"""What CLINC150, Banking77 and HWU64 hold, read by Python's csv and json -> golden_text_sources.h, which test_text_table.c
includes. No text of theirs is in it, only counts and digests.

    python3 golden_text_sources.py --data-dir DIR > golden_text_sources.h

DIR holds clinc150/, banking77/ and hwu64/. digest: SHA-256 over, class by class in byte order of the labels,
"label\\tdomain\\tcount\\n" and then the texts, each with "\\n". A text that a class has twice counts once, one of two classes not.
"""
import argparse
import csv
import hashlib
import json
import pathlib

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", type=pathlib.Path, required=True)
folder = parser.parse_args().data_dir


def rows_of(path):
    with open(folder / path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def clinc():
    data = json.loads((folder / "clinc150/data_full.json").read_text("utf-8"))
    domains = json.loads((folder / "clinc150/domains.json").read_text("utf-8"))
    entries = [e for part in ("train", "val", "test") for e in data[part]]
    return [(text, intent, d) for d, intents in domains.items() for text, intent in entries if intent in intents]


def banking():
    return [(r["text"], r["category"], "") for part in ("train", "test") for r in rows_of(f"banking77/{part}.csv")]


def hwu():
    return [(r["text"], r["label"], r["scenario"]) for r in rows_of("hwu64/hwu64_10fold.csv")]


def golden(name, rows):
    owners, classes, domain = {}, {}, {}
    for text, label, d in rows:
        owners.setdefault(text, set()).add(label)
        classes.setdefault(label, {})[text] = None
        domain[label] = d
    ambiguous = {t for t, o in owners.items() if len(o) > 1}
    h, texts = hashlib.sha256(), 0
    for label in sorted(classes, key=str.encode):
        own = [t for t in classes[label] if t not in ambiguous]
        h.update(f"{label}\t{domain[label]}\t{len(own)}\n".encode() + "".join(t + "\n" for t in own).encode())
        texts += len(own)
    repeated = sum(t not in ambiguous for t, _, _ in rows) - texts
    print(f'static const golden_data golden_{name} = {{ "{name}", {len(rows)}, {len(classes)}, {texts}, {repeated}, {len(ambiguous)},')
    print(f'    "{h.hexdigest()}" }};')


print("/* Made by golden_text_sources.py; not to be edited. */")
print("typedef struct golden_data {\n    const char *name;\n    int rows, classes, texts, repeated, ambiguous;\n    const char *digest;\n} golden_data;")
golden("clinc150", clinc())
golden("banking77", banking())
golden("hwu64", hwu())
