# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Small generations for tests, and all that their results hold."""

from dataclasses import replace

import netCDF4
import numpy as np
import zarr
from small_run import small_dataset

from physicsnemo_fs.config import (
    GenerateConfig,
    GenerationConfig,
    GenerationIOConfig,
    GenerationPerformanceConfig,
    SamplerConfig,
)
from physicsnemo_fs.io.reader import EnsembleFile

DATED = {"history", "date_created"}
SAMPLER = SamplerConfig(num_steps=3)
ROUNDING = 4e-5  # measured with hardly trained networks, batches of 1 to 24: up to 1.5e-5 on some processors


def configuration(data, run_dir, path, sampler=SAMPLER, **generation):
    io = GenerationIOConfig(output_filename=str(path))
    options = GenerationConfig(num_ensembles=3, io=io, picture=False)
    return GenerateConfig(
        run_dir=str(run_dir),
        dataset=small_dataset(data),
        generation=replace(options, **generation),
        sampler=sampler,
        perf=GenerationPerformanceConfig(num_threads=1),
    )


def members(path):
    """Give all members, ``[time, member, y, x]``."""
    with EnsembleFile(path) as file:
        return np.stack([file.prediction("vorticity", t) for t in range(len(file.times))])


def same_to_rounding(a, b):
    """Tell whether fields differ by no more than sums in another order, as other batches take them, explain."""
    return np.abs(a - b).max() < ROUNDING * np.abs(b).max()


def everything(path):
    """Give data and attributes of a result, those excepted that hold dates or the result's own name."""
    group = zarr.open_group(path, mode="r") if path.suffix == ".zarr" else netCDF4.Dataset(path)
    found = _contents(group)
    record = found.pop(("provenance", "record"))
    return str(sorted(found.items(), key=str)), record.replace(str(path), "")


def _contents(group, name=""):
    in_zarr = isinstance(group, zarr.Group)
    attributes = dict(group.attrs) if in_zarr else {key: group.getncattr(key) for key in group.ncattrs()}
    found = {(name, key): value for key, value in attributes.items() if key not in DATED}
    for key, variable in group.arrays() if in_zarr else group.variables.items():
        if not in_zarr:
            variable.set_auto_mask(False)
        values = np.asarray(variable[...])
        found[name, key] = (str(values.dtype), values.shape, values.tobytes())
        attributes = dict(variable.attrs) if in_zarr else {a: variable.getncattr(a) for a in variable.ncattrs()}
        found |= {(name, key, a): np.asarray(value).tolist() for a, value in attributes.items()}
    for key, child in group.groups() if in_zarr else group.groups.items():
        found |= _contents(child, key)
    return found
