# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Time reading samples of four variables on 448 x 448 points against a bare loop over netCDF4 or zarr.

Files as weather archives have them: float32, zlib level 1 (gzip level 1 in Zarr), one chunk a time. Every variant reads
the same times in the same shuffled order into float32 arrays [variable, y, x], without transforms. The system's file
cache is warm; every chunk is decompressed anew: a file holds more times than a chunk cache, always in the same order.
``--clock cpu`` counts the processor time of all threads, which other programs do not disturb.

Example: python benchmarks/reading.py --output reading.csv
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import torch
import xarray as xr
import zarr
from timing import summarise, time_rounds, write_csv

from physicsnemo_fs.data.fields.gridded import open_fields
from physicsnemo_fs.data.fields.readers import FSNetCDFReader, FSZarrReader
from physicsnemo_fs.data.loader import batches
from physicsnemo_fs.data.schedule import pieces_of
from physicsnemo_fs.data.types import Batch, Fields

SIZE = 448
VARIABLES = ("t2m", "u10", "v10", "tp")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def write_files(folder: Path, times: int) -> dict[str, Path]:
    """Write the same smooth fields as NetCDF and as Zarr."""
    draws = np.random.default_rng(0)
    wavenumber = np.hypot(np.fft.fftfreq(2 * SIZE)[:, None], np.fft.rfftfreq(2 * SIZE))
    base = [
        np.fft.irfft2(np.fft.rfft2(draws.standard_normal((2 * SIZE, 2 * SIZE))) * np.exp(-((25 * wavenumber) ** 2)))
        for _ in VARIABLES
    ]
    coordinates = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(times) * np.timedelta64(1, "h"),
        "latitude": 30 + 0.02 * np.arange(SIZE),
        "longitude": 10 + 0.02 * np.arange(SIZE),
    }
    fields = {}
    for name, field in zip(VARIABLES, base, strict=True):
        frames = [np.roll(field, (3 * t, 5 * t), (0, 1))[:SIZE, :SIZE] for t in range(times)]
        fields[name] = (tuple(coordinates), np.stack(frames).astype(np.float32), {"units": "1"})
    data = xr.Dataset(fields, coordinates)
    chunks = (1, SIZE, SIZE)
    paths = {"netCDF4": folder / "fields.nc", "zarr": folder / "fields.zarr"}
    compressed = {"zlib": True, "complevel": 1, "chunksizes": chunks}
    data.to_netcdf(paths["netCDF4"], engine="netcdf4", encoding=dict.fromkeys(VARIABLES, compressed))
    gzip = zarr.codecs.GzipCodec(level=1)
    encoding = {name: {"compressors": gzip, "chunks": chunks} for name in VARIABLES}
    data.to_zarr(paths["zarr"], encoding=encoding, consolidated=False, zarr_format=3)
    return paths


def bare_netcdf4(path: Path) -> Callable[[list[int]], None]:
    """Give the bare loop over a NetCDF file."""
    file = netCDF4.Dataset(path)
    file.set_auto_maskandscale(False)

    def read(order: list[int]) -> None:
        for t in order:
            np.stack([file[name][t] for name in VARIABLES])

    return read


def bare_zarr(path: Path) -> Callable[[list[int]], None]:
    """Give the bare loop over a Zarr store."""
    group = zarr.open_group(path, mode="r")
    arrays = [group[name] for name in VARIABLES]

    def read(order: list[int]) -> None:
        for t in order:
            np.stack([array[t] for array in arrays])

    return read


class Raw:
    """The fields themselves as the targets of a dataset.

    Args:
        fields: What to read.
    """

    thread_safe = True

    def __init__(self, fields: Fields):
        self.fields = fields

    def fetch(self, indices, augmentation_keys=None) -> Batch:
        """Give the fields of the times ``indices``."""
        target = torch.from_numpy(self.fields.read(indices))
        return Batch(target[:, :0, :1, :1], target[:, :0], target, torch.tensor(indices))


def variants(kind: str, path: Path) -> dict[str, Callable[[list[int]], None]]:
    """Give the ways to read one kind of file, the bare loop first."""
    fields = open_fields(path, VARIABLES)
    reader = (FSNetCDFReader if kind == "netCDF4" else FSZarrReader)(path, VARIABLES)

    def through_fields(order: list[int]) -> None:
        for t in order:
            fields.read([t])

    def through_reader(order: list[int]) -> None:
        for t in order:
            reader[t]

    def through_loader(order: list[int]) -> None:
        with batches(Raw(fields), pieces_of(order, 1), prefetch=4, workers=2) as loaded:
            for _ in loaded:
                pass

    return {
        f"bare {kind}": (bare_netcdf4 if kind == "netCDF4" else bare_zarr)(path),
        "open_fields": through_fields,
        type(reader).__name__: through_reader,
        "loader, prefetch=4": through_loader,
    }


def rows(times: int, rounds: int, clock: str) -> list[dict]:
    """Time every way to read both kinds of file."""
    order = np.random.default_rng(1).permutation(times).tolist()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, path in write_files(Path(folder), times).items():
            ways = variants(kind, path)
            measured = time_rounds(lambda way: way(order), ways, rounds, lambda: None, CLOCKS[clock])
            for row in summarise({n: [v / times for v in values] for n, values in measured.items()}, f"bare {kind}"):
                rate = {"samples_per_second": round(1e3 / row["median_ms"], 1)}
                case = {"case": f"{kind}, {len(VARIABLES)} x {SIZE}^2, zlib 1", "clock": clock, "times": times}
                found.append(case | row | rate | {"cores": len(os.sched_getaffinity(0))})
    return found


def main() -> None:
    """Measure, print and write the CSV file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--times", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = rows(arguments.times, arguments.rounds, arguments.clock)
    for row in found:
        print("  ".join(str(v) for v in row.values()))
    write_csv(arguments.output, found)


if __name__ == "__main__":
    main()
