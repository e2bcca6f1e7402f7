#!/usr/bin/env python3
"""Draws docs/quickstart.svg from the result file of configs/quickstart.yaml:

    ./dev run configs/quickstart.yaml && python3 docs/quickstart_picture.py quickstart.h5

Needs h5py and matplotlib.
"""
import pathlib
import sys

import h5py
import matplotlib
import numpy as np

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "metalora", "font.size": 10})
from matplotlib import pyplot as plt  # noqa: E402  (after the backend is chosen)

with h5py.File(sys.argv[1], "r") as run:
    loss = run["test/10-shot/loss"][:]
    iteration, training = run["train/iteration"][:], run["train/query_loss"][:]
steps = np.arange(loss.shape[1])
mean, ci = loss.mean(0), 1.96 * loss.std(0) / np.sqrt(len(loss))

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
width = 250
smooth = np.convolve(training, np.ones(width) / width, "valid")
left.plot(iteration[width - 1::50], smooth[::50], color="#1b6ca8")
left.set(xlabel="meta-iteration", ylabel="error after one step", title="meta-training", ylim=(0, None))
right.fill_between(steps, mean - ci, mean + ci, color="#1b6ca8", alpha=0.25, linewidth=0)
right.plot(steps, mean, "o-", color="#1b6ca8", label=f"mean of {len(loss)} tasks, 95 % CI")
right.plot(steps, np.median(loss, 0), "s--", color="#c75b12", markersize=4, label="median")
right.set(xlabel="gradient steps on ten points", ylabel="mean squared error", title="new sine waves", ylim=(0, None))
right.legend(frameon=False)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig(pathlib.Path(__file__).with_name("quickstart.svg"), metadata={"Date": None})
