#!/usr/bin/env python3
"""Omniglot by Pillow and hashlib, as an oracle for experiments/omniglot_*.c and image_resize.c.

    pip install numpy pillow
    python3 golden_omniglot.py --data-dir DIR              # prints the numbers, compares them with the sources
    python3 golden_omniglot.py --data-dir DIR --write-split   # writes experiments/omniglot_split.h anew

DIR holds images_background.zip and images_evaluation.zip.

source digest: SHA-256 over the drawings in byte order of their names; of each the name
    ("images_background/Angelic/character01/0965_01.png"), a zero byte, 105 x 105 bytes (0 ink, 1 paper).
packed digest: SHA-256 of uint8 [1623][20][28][28], each drawing Image.convert("L").resize((28, 28), LANCZOS).
dealt sums: sum of the 20 x 28 x 28 bytes of the first three characters in the split's order.
split: the characters "part/alphabet/character" in byte order, shuffled once by Python's random.Random(1).
"""
import argparse
import hashlib
import io
import pathlib
import random
import re
import sys
import zipfile

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPLIT = ROOT / "experiments" / "omniglot_split.h"
PARTS = ("images_background", "images_evaluation")


def drawings(folder):
    """name -> PNG bytes, in byte order of the names"""
    found = {}
    if (folder / "omniglot").is_dir():
        folder = folder / "omniglot"
    for part in PARTS:
        with zipfile.ZipFile(folder / f"{part}.zip") as z:
            for name in z.namelist():
                if name.endswith(".png"):
                    found[name] = z.read(name)
    return sorted(found.items(), key=lambda item: item[0].encode())


def digests(items):
    source, packed = hashlib.sha256(), hashlib.sha256()
    for name, png in items:
        image = Image.open(io.BytesIO(png))
        assert image.size == (105, 105) and image.mode == "1", name
        source.update(name.encode() + b"\0" + np.asarray(image, dtype=np.uint8).tobytes())
        packed.update(small(png).tobytes())
    return source.hexdigest(), packed.hexdigest()


def small(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("L").resize((28, 28), Image.LANCZOS))


def dealt_sums(items):
    order = re.findall(r'"(images_\w+/.*)"', SPLIT.read_text())
    return [sum(int(small(png).sum()) for name, png in items if name.startswith(c + "/")) for c in order[:3]]


def split_text(items):
    characters = sorted({name.rsplit("/", 1)[0] for name, _ in items}, key=str.encode)
    assert len(characters) == 1623
    assert characters == list(dict.fromkeys(name.rsplit("/", 1)[0] for name, _ in items))   # as they lie in the pack
    random.Random(1).shuffle(characters)
    head = ("/* The order in which Omniglot's 1,623 characters are dealt to the splits: by default the first 1,100 train,\n"
            " * the next 100 validate, the last 423 test. Made once by tests/experiments/golden_omniglot.py --write-split\n"
            " * (the sorted names, shuffled by Python's random.Random(1)); never to change: results depend on it.\n"
            " * Included by source_omniglot.c alone. */\n"
            "static const char *const omniglot_order[1623] = {\n")
    return head + "".join(f'    "{c}",\n' for c in characters) + "};\n"


def constant(file, name):
    text = (ROOT / file).read_text()
    return re.search(rf'define {name}\s+\\?\s*"([0-9a-f]{{64}})"', text).group(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=pathlib.Path, required=True)
    parser.add_argument("--write-split", action="store_true")
    args = parser.parse_args()
    items = drawings(args.data_dir)
    if args.write_split:
        SPLIT.write_text(split_text(items))
    source, packed = digests(items)
    print(f"{len(items)} drawings\nsource digest {source}\npacked digest {packed}")
    wrong = []
    if SPLIT.read_text() != split_text(items):
        wrong.append("experiments/omniglot_split.h")
    if constant("experiments/omniglot_import.h", "XP_OMNIGLOT_DIGEST") != source:
        wrong.append("XP_OMNIGLOT_DIGEST in experiments/omniglot_import.h")
    if constant("tests/experiments/test_omniglot.c", "PACKED_DIGEST") != packed:
        wrong.append("PACKED_DIGEST in tests/experiments/test_omniglot.c")
    sums = ", ".join(map(str, dealt_sums(items)))
    print(f"dealt sums {sums}")
    if f"dealt_sums[3] = {{ {sums} }}" not in (ROOT / "tests/experiments/test_omniglot.c").read_text():
        wrong.append("dealt_sums in tests/experiments/test_omniglot.c")
    for what in wrong:
        print(f"differs: {what}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
