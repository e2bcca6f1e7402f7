#!/usr/bin/env python3
"""Arrays as NumPy itself writes them -> golden_arrays.h, which test_array_sources.c includes.

    pip install numpy
    python3 golden_arrays.py > golden_arrays.h

A compressed .npz of x float16 [24, 2, 2] = example + 0.25 k, and y uint8 [24] = example mod 3.
"""
import io

import numpy as np

n = np.arange(24)
x = (n[:, None] + 0.25 * np.arange(4)).reshape(24, 2, 2).astype(np.float16)
buffer = io.BytesIO()
np.savez_compressed(buffer, x=x, y=(n % 3).astype(np.uint8))
data = buffer.getvalue()
print("/* Made by golden_arrays.py; not to be edited. */")
print(f"static const unsigned char golden_npz[{len(data)}] = {{")
for i in range(0, len(data), 24):
    print("    " + " ".join(f"{b}," for b in data[i : i + 24]))
print("};")
