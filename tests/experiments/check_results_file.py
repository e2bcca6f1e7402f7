"""Reads the sample result file with other people's readers and compares it with what was written.

    METALORA_SAMPLE=sample.h5 ./experiments_results && python3 check_results_file.py sample.h5 [METALORA]

Needs h5py, xarray, h5netcdf and pandas; netCDF4 and ncdump are used when they are there. With the program METALORA,
`show --json` is parsed and compared with NumPy as well.
"""
import json
import math
import shutil
import subprocess
import sys

import h5py
import numpy as np
import xarray as xr

path = sys.argv[1]
want = np.array([[(e + 1) / 2**k for k in range(3)] for e in range(4)])

with h5py.File(path) as f:
    assert f.attrs["status"] == "complete" and f.attrs["name"] == 'tiny "quoted"'
    assert f.attrs["seed"] == np.uint64(2**64 - 1) and f.attrs["config"] == "name: tiny\nseed: 1\n"
    assert list(f["test"]) == ["transductive", "5-shot"], "not in the order of writing"
    assert np.array_equal(f["test/5-shot/loss"], want) and f["test/5-shot/loss"].dtype == "<f8"
    assert np.array_equal(f["test/5-shot/episode_seed"], 2**63 + np.arange(4, dtype="u8"))
    for group in f["test"].values():
        for name in set(group) - {"episode", "inner_step", "episode_seed"}:
            assert [d[0].name.rsplit("/")[-1] for d in group[name].dims] == ["episode", "inner_step"]
    assert np.array_equal(f["parameters/layer1/weight"], np.arange(6, dtype="f4").reshape(2, 3) / 4)
    assert f["parameters/scale"][()] == 0 and f["system/seconds"][()] == 75.25
    assert f["system/seconds"].attrs["units"] == "s" and f["train/query_loss"].attrs["units"] == "nats"
    for group in ("train", "validation", "system/train"):
        for name, column in f[group].items():
            assert name == "iteration" or column.dims[0].keys() == ["iteration"]

engines = ["h5netcdf"]
try:
    import netCDF4  # noqa: F401
    engines.append("netcdf4")
except ImportError:
    pass
for engine in engines:
    with xr.open_dataset(path, engine=engine, group="test/transductive") as d:
        assert d.loss.dims == ("episode", "inner_step") and np.array_equal(d.loss, want)
        assert set(d.coords) == {"episode", "inner_step", "episode_seed"} and d.loss.attrs["units"] == "nats"
        assert d.accuracy.sel(inner_step=2, episode=3) == 0.75 + 3 / 16
    with xr.open_dataset(path, engine=engine, group="train") as d:
        table = d.to_dataframe()
        assert list(table.index) == [100, 200, 300] and table.query_loss[200] == 1
        assert list(table) == ["support_loss", "query_loss", "query_accuracy", "grad_norm", "lr"]

if shutil.which("ncdump"):
    text = subprocess.run(["ncdump", "-h", path], check=True, capture_output=True, text=True).stdout
    assert "double loss(episode, inner_step)" in text and "iteration = UNLIMITED" in text

if len(sys.argv) > 2:
    shown = json.loads(subprocess.run([sys.argv[2], "show", path, "--json"], check=True, capture_output=True, text=True).stdout)
    for step in shown["test"][1]["steps"]:
        column = want[:, step["step"]]
        assert math.isclose(step["loss"]["mean"], column.mean(), rel_tol=1e-14)
        assert math.isclose(step["loss"]["ci95"], 1.96 * column.std() / 2, rel_tol=1e-14)
        assert step["loss"]["median"] == np.median(column)
print("readers agree:", "h5py,", ", ".join(engines) + (", ncdump" if shutil.which("ncdump") else ""))
