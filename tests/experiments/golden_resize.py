#!/usr/bin/env python3
"""SHA-256 of pictures resized by Pillow's LANCZOS: the table in test_image_resize.c.

    pip install numpy pillow
    python3 golden_resize.py

No picture here shrinks in height more than twice as much as in width: there Pillow 13 goes down the columns first.
"""
import hashlib

import numpy as np
from PIL import Image

SIZES = [(105, 105, 28, 28), (105, 105, 84, 84), (28, 28, 105, 105), (40, 60, 90, 7), (3, 2, 1, 1), (33, 33, 33, 11)]

for h, w, oh, ow in SIZES:
    y, x = np.mgrid[:h, :w]
    for bilevel in (0, 1):
        p = (x * x * 3 + y * 7 * x + y * y * 5) % 256
        p = np.where(p < 100, 0, 255) if bilevel else p
        out = np.asarray(Image.fromarray(p.astype(np.uint8)).resize((ow, oh), Image.LANCZOS))
        print(f'    {{ {h}, {w}, {oh}, {ow}, {bilevel}, "{hashlib.sha256(out.tobytes()).hexdigest()}" }},')
