# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Geographic data, and trainings small enough for tests."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from physicsnemo_fs.config import (
    ExportConfig,
    FSUNOConfig,
    GenerateConfig,
    GenerationConfig,
    GenerationIOConfig,
    HyperParameters,
    NetCDFDatasetConfig,
    NoiseConfig,
    SamplerConfig,
    TrainConfig,
    TrainingConfig,
    TrainingIOConfig,
)
from physicsnemo_fs.config.patches import PatchConfig
from physicsnemo_fs.export.package import export_package
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.pipelines.checkpoints import load_network, save_network
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.train import train

TIMES = 60
STEPS = 4
SCALE = {"t2m": 1.0, "tp": 1e-3}
"""From the units of the data to earth2studio's."""


@dataclass(frozen=True)
class Run:
    """What a run is trained on.

    Args:
        shape: Rows and columns.
        grid: ``"curvilinear"`` or ``"regular"``.
        noise: Kernel of the noise.
        west: Western edge.
        transforms: Of the dataset.
        unit: Of temperature.
        window: Frames on either side.
        name: Of temperature.
        patch: Rows and columns of the windows that the diffusion is trained on, of forecasts the mean too.
        leads: Lead times in hours, which follow each other; none for analyses.
    """

    shape: tuple[int, int] = (32, 32)
    grid: str = "curvilinear"
    noise: str = "white"
    west: float = 260.0
    transforms: dict | None = None
    unit: str = "K"
    window: int = 0
    name: str = "t2m"
    patch: tuple[int, int] | None = None
    leads: tuple[int, ...] = ()


RUNS = {
    "white_square": Run(),
    "coloured_square": Run(noise="matched"),
    "regular_wide": Run((24, 40), "regular", "matched"),
    "greenwich": Run((24, 40), "regular", "matched", west=-4.0),
    "transformed": Run(
        (24, 40), "curvilinear", "matched", transforms={"tp": {"kind": "log1p", "scale": 0.5, "minimum": 0}}
    ),
    "celsius": Run((24, 24), "curvilinear", "white", unit="degC", name="temperature"),
    "windows": Run((32, 40), "regular", "matched", patch=(16, 20)),
    "windows_of_forecasts": Run((24, 40), "curvilinear", "white", patch=(16, 20), leads=(6, 12, 18)),
    "frames": Run((24, 24), "curvilinear", "white", window=1),
}


@dataclass(frozen=True)
class Trained:
    """A finished run and its data."""

    folder: Path
    dataset: NetCDFDatasetConfig
    run: Run


def weather(run: Run) -> xr.Dataset:
    """Smooth random temperature and rain, and orography, with a relation between scales."""
    draws = np.random.default_rng(3)
    height, width = run.shape
    ky, kx = np.fft.fftfreq(2 * height)[:, None] * 2 * height, np.fft.rfftfreq(2 * width) * 2 * width
    slope = (1 + np.hypot(ky, kx)) ** -2.0

    def smooth(count: int) -> np.ndarray:
        noise = draws.normal(size=(count, 2 * height, 2 * width))
        field = np.fft.irfft2(np.fft.rfft2(noise) * slope, s=noise.shape[-2:])[:, :height, :width]
        return field / field.std()

    warm = smooth(TIMES)
    rain = np.maximum(0.0, smooth(TIMES) + 0.3) ** 2
    base = 285.0 if run.unit == "K" else 12.0
    y, x = np.arange(height) * 10.0 + 5.0, np.arange(width) * 10.0 + 5.0
    time = np.datetime64("2021-01-01", "ns") + np.arange(TIMES) * np.timedelta64(12, "h")
    when = {"time": ("time", time, {"standard_name": "time"})}
    if run.leads:
        hours = np.resize(run.leads, TIMES)
        when["lead_time"] = ("time", hours, {"units": "hours", "standard_name": "forecast_period"})
    rows, columns = ("y", "x") if run.grid == "curvilinear" else ("latitude", "longitude")
    dims = ("time", rows, columns)
    fields = {
        run.name: (dims, (base + 6.0 * warm).astype("f4"), {"units": run.unit}),
        "tp": (dims, (2.0 * rain).astype("f4"), {"units": "mm"}),
        "orography": (dims[1:], (500 + 300 * smooth(1)[0]).astype("f4"), {"units": "m"}),
    }
    if run.grid == "regular":
        places = {rows: 40.0 + 0.1 * (np.arange(height) + 0.5), columns: run.west + 0.1 * (np.arange(width) + 0.5)}
        return xr.Dataset(fields, {**when, **places})
    ys, xs = np.meshgrid((y - y.mean()) / 100.0, (x - x.mean()) / 100.0, indexing="ij")
    north, east = 42.0 + 0.9 * ys - 0.05 * xs**2, run.west + 4.0 + 1.2 * xs + 0.04 * xs * ys
    places = {"y": ("y", y, {"units": "km"}), "x": ("x", x, {"units": "km"})}
    located = {
        "lat": (dims[1:], north, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": (dims[1:], east, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    return xr.Dataset(fields, {**when, **places, **located})


def trained(run: Run, folder: Path) -> Trained:
    """Train both stages on random weather."""
    weather(run).to_netcdf(folder / "weather.nc")
    dataset = NetCDFDatasetConfig(
        data_path=str(folder / "weather.nc"),
        target=[run.name, "tp"],
        invariants=["orography"],
        lowres_scale_factor=4,
        window_size=run.window,
        transforms=run.transforms,
    )
    io = TrainingIOConfig(save_checkpoint_freq=64, validation_freq=64, validation_samples=2, sample_pictures=False)
    windows = {"patch_shape_y": run.patch[0], "patch_shape_x": run.patch[1], "patch_num": 2} if run.patch else {}
    config = TrainConfig(
        run_dir=str(folder / "run"),
        dataset=dataset,
        model=FSUNOConfig(
            model_channels=4, channel_mult=[1, 2], level_grid=[16, 8], n_modes=[0, 3], boundary="pad", local_kernel=3
        ),
        noise=NoiseConfig(kernel=run.noise),
        training=TrainingConfig(
            hp=HyperParameters(training_duration=64, total_batch_size=8, lr_rampup=8, ema_halflife=16, **windows),
            io=io,
            calibration_samples=16,
            patches=PatchConfig(mean=bool(run.leads)),
            lead_time_scale=24.0 if run.leads else None,
        ),
    )
    train(config)
    if run.patch:
        stir(next((folder / "run" / "diffusion").glob("*.mdlus")))
    return Trained(folder / "run", dataset, run)


def stir(path: Path) -> None:
    """Draw a network's last layer, which so short a training leaves near zero: what it sees then matters."""
    network = load_network(path, FSEDMPrecondSR)
    last = network.backbone.stack.project.conv.weight
    torch.nn.init.normal_(last, std=0.5, generator=torch.Generator().manual_seed(0))
    save_network(network, path)


def generated(run: Trained, path: Path, members: int = 3, **options) -> Path:
    """Generate the test split with ``generate.py``."""
    generation = GenerationConfig(
        num_ensembles=members, picture=False, io=GenerationIOConfig(output_filename=str(path))
    )
    config = GenerateConfig(
        run_dir=str(run.folder),
        dataset=run.dataset,
        generation=replace(generation, **options),
        sampler=SamplerConfig(num_steps=STEPS),
    )
    return generate(config)


def packaged(run: Trained, folder: Path, name: str = "p", **options) -> tuple[Path, Path]:
    """Export a run; give the package, and samples of ``generate.py`` with two members."""
    package = export_package(exporting(run, folder / name)).folder
    return package, generated(run, folder / "s.nc", members=2, **options)


def exporting(trained_run: Trained, package: Path, **options) -> ExportConfig:
    """Give the configuration of an export."""
    name = trained_run.run.name
    names = {} if name == "t2m" else {name: "t2m"}
    config = ExportConfig(
        run=str(trained_run.folder), package=str(package), names=names, sampler=SamplerConfig(num_steps=STEPS)
    )
    return replace(config, **options)
