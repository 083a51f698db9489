# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Downscale a local file with an exported package, through earth2studio.

``python earth2studio_pipeline.py PACKAGE COARSE_FILE OUTPUT TIME [TIME ...]``

The coarse file holds one array with the dimensions time, variable, lat, lon: the data source is earth2studio's
``DataArrayFile``. The output is NetCDF or Zarr, by its name, of earth2studio's IO backends.
"""

import argparse

from earth2studio.data import DataArrayFile
from earth2studio.io import NetCDF4Backend, ZarrBackend
from earth2studio.models.dx import CorrDiff

from physicsnemo_fs.export import CorrDiffRegional
from physicsnemo_fs.export.workflow import downscale


def main() -> None:
    """Run the pipeline that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package")
    parser.add_argument("coarse")
    parser.add_argument("output", help="a name in .nc or .zarr")
    parser.add_argument("times", nargs="+")
    parser.add_argument("--samples", type=int, help="members; otherwise the package's number")
    parser.add_argument("--seed", type=int, help="seed of the first member; otherwise the package's")
    parser.add_argument("--stock", action="store_true", help="use earth2studio's own class")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    model = (CorrDiff if given.stock else CorrDiffRegional).from_pretrained(given.package)
    model.number_of_samples = given.samples or model.number_of_samples
    model.seed = model.seed if given.seed is None else given.seed
    zarr = given.output.endswith(".zarr")
    io = ZarrBackend(given.output) if zarr else NetCDF4Backend(given.output, {"mode": "w"})
    downscale(model, DataArrayFile(given.coarse), given.times, io, given.device)
    if not zarr:
        io.close()


if __name__ == "__main__":
    main()
