# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Small files of ensembles for the tests of this folder."""

from dataclasses import replace

import netCDF4
import numpy as np

from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.io.writer import EnsembleWriter

MEMBERS, HEIGHT, WIDTH = 3, 8, 12
TIMES = np.array(["2020-01-01T00", "2020-01-01T06", "2020-01-02T00"], dtype="datetime64[ns]")
T2M = Channel("t2m", "K", long_name="2 m temperature", standard_name="air_temperature")
WIND = Channel("u10m", "m s-1")
PLANE = Grid((HEIGHT, WIDTH), (2.0, 3.0), registration="cell", unit="km")
LATITUDE, LONGITUDE = np.meshgrid(np.linspace(40.0, 47.0, HEIGHT), np.linspace(5.0, 16.0, WIDTH), indexing="ij")
GEOGRAPHIC = replace(PLANE, boundary="bounded", latitude=LATITUDE, longitude=LONGITUDE)


def make_spec(**changes) -> EnsembleSpec:
    fields = {
        "grid": PLANE,
        "coarse_grid": PLANE.at((2, 3)),
        "times": TIMES,
        "blocks": np.array([4, 4, 9]),
        "output_channels": (T2M, WIND),
        "input_channels": (T2M, Channel("t2m@-1", "K"), Channel("z500", "m")),
        "member_seeds": (11, 12, 13),
        "provenance": {"model_name": "demo", "sampler": {"solver": "heun", "steps": 12}},
    }
    return EnsembleSpec(**(fields | changes))


def make_fields(time_index: int, spec: EnsembleSpec) -> dict[str, np.ndarray]:
    random = np.random.default_rng(time_index)
    members, _, *grid = spec.shape
    outputs, inputs = len(spec.output_channels), len(spec.input_channels)
    fields = {
        "prediction": random.normal(280.0, 5.0, (members, outputs, *grid)),
        "input": random.normal(280.0, 5.0, (inputs, *grid)),
        "input_native": random.normal(280.0, 5.0, (inputs, *spec.coarse_grid.shape)),
    }
    if spec.has_truth:
        fields["truth"] = random.normal(280.0, 5.0, (outputs, *grid))
    if spec.has_regression:
        fields["regression"] = random.normal(280.0, 5.0, (outputs, *grid))
    return {name: value.astype(np.float32) for name, value in fields.items()}


def write_file(path, spec: EnsembleSpec, **options):
    with EnsembleWriter(path, spec, **options) as writer:
        for index in range(spec.times.size):
            writer.write(index, **make_fields(index, spec))
    return path


def write_corrdiff_file(path, member_dimension: str = "ensemble"):
    """Write a file as CorrDiff's generator lays it out: no provenance, unlimited dimensions, hours."""
    random = np.random.default_rng(0)
    with netCDF4.Dataset(path, "w") as dataset:
        for name, size in (("time", None), (member_dimension, None), ("y", HEIGHT), ("x", WIDTH)):
            dataset.createDimension(name, size)
        time = dataset.createVariable("time", "i8", ("time",))
        time.setncatts({"units": "hours since 1990-01-01", "calendar": "standard"})
        time[:] = [262968, 262974, 262992]
        for name, values in (("lat", LATITUDE), ("lon", LONGITUDE)):
            dataset.createVariable(name, "f4", ("y", "x"))[:] = values
        for group, dimensions, size in (
            ("input", ("time", "y", "x"), (3,)),
            ("truth", ("time", "y", "x"), (3,)),
            ("prediction", (member_dimension, "time", "y", "x"), (MEMBERS, 3)),
        ):
            variable = dataset.createGroup(group).createVariable("t2m", "f4", dimensions)
            variable[:] = random.normal(size=(*size, HEIGHT, WIDTH))
    return path
