# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Kolmogorov-flow data on disk: one NetCDF4 file per split, named by the configuration that made it."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import netCDF4
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from physicsnemo_fs import __version__
from physicsnemo_fs.data.flow.kolmogorov import KolmogorovConfig, simulate
from physicsnemo_fs.data.normalize import Moments
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.random import derive_key

Split = Literal["train", "validation", "test"]

FORMAT = "physicsnemo_fs kolmogorov 1"
"""Names the layout and the numerics of the solver; a change of either makes new files."""

VARIABLE = "vorticity"
DIMENSIONS = ("trajectory", "time", "y", "x")


@dataclass(frozen=True)
class KolmogorovSplits:
    """The flows of a training, a validation and a test set: the same physics, different trajectories.

    At Re 40 statistics are stationary from about 80 flow time units on, and the largest scales remember some
    50 units, so that many short trajectories say more than a few long ones.

    Args:
        train: Training flow; its seed is replaced by one derived from ``seed``, as in the others.
        validation: Validation flow.
        test: Test flow.
        seed: Seed of all initial conditions.

    Raises:
        InputError: If the splits differ in their physics.

    Example:
        >>> splits = KolmogorovSplits(*[KolmogorovConfig()] * 3, seed=1)
        >>> splits.flow("train").seed != splits.flow("test").seed
        True
    """

    train: KolmogorovConfig
    validation: KolmogorovConfig
    test: KolmogorovConfig
    seed: int = 0

    def __post_init__(self):
        for name in ("reynolds", "forcing_mode", "forcing_amplitude", "drag"):
            values = {split: getattr(getattr(self, split), name) for split in get_args(Split)}
            if len(set(values.values())) > 1:
                raise InputError(f"all splits must have the same {name}: got {values}; use one value")

    def flow(self, split: Split) -> KolmogorovConfig:
        """Give the configuration of a split, with its own seed."""
        return replace(getattr(self, split), seed=derive_key(self.seed, "kolmogorov-split", split))


def store_key(flow: KolmogorovConfig, training: KolmogorovConfig) -> str:
    """Give the content key of a split's file: a hash of its flow, of the training flow and of the format.

    Example:
        >>> flow = KolmogorovConfig()
        >>> store_key(flow, flow) == store_key(replace(flow, seed=1), flow)
        False
    """
    text = json.dumps([FORMAT, asdict(flow), asdict(training)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def store_path(folder: str | Path, splits: KolmogorovSplits, split: Split) -> Path:
    """Give the path of a split's file within ``folder``."""
    flow = splits.flow(split)
    key = store_key(flow, splits.flow("train"))
    return Path(folder) / f"kolmogorov_re{flow.reynolds:g}_{split}_{flow.stored}_{key}.nc"


def prepare(
    folder: str | Path,
    splits: KolmogorovSplits,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> dict[Split, Path]:
    """Make sure that the files of all splits exist, simulating what is missing.

    Files appear whole or not at all, so that several processes may prepare the same folder.

    Args:
        folder: Where the files are; it is made if it is missing.
        splits: What they hold.
        device: Where to simulate.
        progress: Whether to show a progress bar.

    Returns:
        The path of each split.

    Raises:
        InputError: If an existing file is damaged, the folder cannot be written or the flow is unstable.
    """
    return {split: prepare_split(folder, splits, split, device, progress) for split in get_args(Split)}


def prepare_split(
    folder: str | Path,
    splits: KolmogorovSplits,
    split: Split,
    device: torch.device | str = "cpu",
    progress: bool = True,
    moments_needed: bool = True,
) -> Path:
    """Make sure that one split's file exists; the arguments are those of :func:`prepare`.

    A missing file is made with the moments of the training split, which is simulated too if it is missing, unless
    ``moments_needed`` is false.
    """
    path = store_path(folder, splits, split)
    if path.exists():
        read_header(path, expected_key=store_key(splits.flow(split), splits.flow("train")))
        return path
    moments = None
    if split != "train" and moments_needed:
        moments = training_moments(folder, splits, device, progress)
    with _bar(f"simulating {path.name}", progress) as report:
        write_store(path, splits.flow(split), splits.flow("train"), moments, device, report)
    return path


def training_moments(
    folder: str | Path, splits: KolmogorovSplits, device: torch.device | str = "cpu", progress: bool = True
) -> Moments:
    """Give the moments of the training split, simulating it if it is missing."""
    moments = read_header(prepare_split(folder, splits, "train", device, progress)).moments
    assert moments is not None  # noqa: S101 - a training split holds its own
    return moments


def open_split(
    folder: str | Path,
    splits: KolmogorovSplits,
    split: Split,
    moments: Moments | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> "KolmogorovStore":
    """Open one split, simulating what is missing; the other arguments are those of :func:`prepare`.

    ``moments``, from a checkpoint, are used for this opening and never kept in the file.
    """
    path = prepare_split(folder, splits, split, device, progress, moments_needed=moments is None)
    moments = moments or read_header(path).moments or training_moments(folder, splits, device, progress)
    return KolmogorovStore(path, moments)


@contextmanager
def _bar(title: str, shown: bool) -> Iterator[Callable[[float], None]]:
    layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}"
    with tqdm(desc=title, total=1.0, bar_format=layout, disable=not shown) as bar:
        yield lambda share: _advance(bar, share)


def _advance(bar: tqdm, share: float) -> None:
    bar.update(min(share, bar.total - bar.n))


def write_store(
    path: str | Path,
    flow: KolmogorovConfig,
    training: KolmogorovConfig,
    moments: Moments | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> None:
    """Simulate a flow into a NetCDF4 file that appears under its name only when it is whole.

    Args:
        path: The file.
        flow: What to simulate.
        training: Flow of the training split, part of the file's key.
        moments: Moments of the training split, where they are known.
        device: Where to simulate.
        progress: As in :func:`physicsnemo_fs.data.flow.kolmogorov.simulate`.
    """
    with atomic_path(path) as temporary, netCDF4.Dataset(temporary, "w", format="NETCDF4") as file:
        variable = _define(file, flow)
        own = Moments()
        for time, frame in enumerate(simulate(flow, device, progress)):
            values = frame.to("cpu", torch.float32).numpy()
            variable[:, time] = values
            own = own.updated(values)
        moments = own if flow == training else moments
        file.setncatts(
            {
                "title": f"Kolmogorov flow at Reynolds number {flow.reynolds:g}",
                "format": FORMAT,
                "key": store_key(flow, training),
                "config": json.dumps(asdict(flow)),
                "training_config": json.dumps(asdict(training)),
                "training_moments": json.dumps(None if moments is None else asdict(moments)),
                "code_version": __version__,
            }
        )


def _define(file: netCDF4.Dataset, flow: KolmogorovConfig) -> netCDF4.Variable:
    nodes = 2 * np.pi * np.arange(flow.stored) / flow.stored
    coordinates = {
        "trajectory": (np.arange(flow.trajectories), "i4", "1", "independent initial conditions"),
        "time": (flow.interval * np.arange(flow.frames), "f8", "s", "time since the first frame"),
        "y": (nodes, "f8", "1", "position across the force"),
        "x": (nodes, "f8", "1", "position along the force"),
    }
    for name, (values, dtype, unit, long_name) in coordinates.items():
        file.createDimension(name, len(values))
        coordinate = file.createVariable(name, dtype, (name,))
        coordinate[:] = values
        coordinate.setncatts({"units": unit, "long_name": long_name})
    variable = file.createVariable(
        VARIABLE, "f4", DIMENSIONS, chunksizes=(1, 1, flow.stored, flow.stored), fletcher32=True
    )
    variable.setncatts({"units": "s-1", "long_name": "vorticity, one flow time unit being one second"})
    variable.set_auto_mask(False)
    return variable


@dataclass(frozen=True)
class StoreHeader:
    """What a file says about itself.

    Args:
        flow: Flow of the file.
        training: Flow of the training split that belongs to it.
        moments: Moments of that training split; ``None`` if they were not known when the file was written.
    """

    flow: KolmogorovConfig
    training: KolmogorovConfig
    moments: Moments | None


def read_header(path: str | Path, expected_key: str | None = None) -> StoreHeader:
    """Read and check a file's header.

    Args:
        path: The file.
        expected_key: :func:`store_key` that the file must have, if given.

    Raises:
        InputError: If the file is missing, damaged, of another kind or of another configuration.
    """
    with _opened(path) as file:
        return _header(file, path, expected_key)


@contextmanager
def _opened(path: str | Path) -> Iterator[netCDF4.Dataset]:
    if not Path(path).is_file():
        raise InputError(f"a data file must exist: {path} does not; check data_path or prepare the data again")
    try:
        with netCDF4.Dataset(path) as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"a data file must be whole NetCDF4: {path} is not ({error}); delete it and prepare it again"
        ) from error


def _header(file: netCDF4.Dataset, path: str | Path, expected_key: str | None) -> StoreHeader:
    if getattr(file, "format", None) != FORMAT:
        raise InputError(
            f"a data file must have the attribute format = {FORMAT!r}: {path} has "
            f"{getattr(file, 'format', None)!r}; delete it and prepare it again"
        )
    try:
        flow, training = (KolmogorovConfig(**json.loads(file.getncattr(n))) for n in ("config", "training_config"))
        record = json.loads(file.training_moments)
        moments = None if record is None else Moments(**record)
        key, variable = file.key, file.variables[VARIABLE]
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(
            f"a data file must carry its configuration and the variable {VARIABLE}: {path} does not "
            f"({error}); delete it and prepare it again"
        ) from error
    shape = (flow.trajectories, flow.frames, flow.stored, flow.stored)
    if variable.dimensions != DIMENSIONS or variable.shape != shape:
        raise InputError(
            f"{VARIABLE} must have the dimensions {DIMENSIONS} and shape {shape}: {path} has "
            f"{variable.dimensions} and {variable.shape}; delete it and prepare it again"
        )
    if key != store_key(flow, training) or expected_key not in (None, key):
        raise InputError(
            f"a data file must have the key {expected_key or store_key(flow, training)} of its flow: {path} "
            f"has {key}; delete it or give another folder"
        )
    return StoreHeader(flow, training, moments)


class KolmogorovStore:
    """The fields of one file, in memory: a source for the Kolmogorov dataset.

    Args:
        path: A file written by :func:`prepare`.
        moments: Moments of the training split, in place of those that the file holds.

    Attributes:
        grid_size: Nodes along each axis.
        trajectory_ids: Label of each trajectory.
        seconds: Time of each frame within its trajectory.
        training_interval: Time between frames of the training split.
        forcing_mode: Wavenumber of the force.
        moments: Moments of the training split.

    Raises:
        InputError: If the file is missing, damaged, of another kind, or holds values that are not finite.
    """

    def __init__(self, path: str | Path, moments: Moments | None = None):
        with _opened(path) as file:
            header = _header(file, path, None)
            moments = moments or header.moments
            if moments is None:
                raise InputError(f"{path} was simulated without the training split's statistics; open it by open_split")
            variable = file.variables[VARIABLE]
            variable.set_auto_mask(False)
            self._fields = torch.from_numpy(np.ascontiguousarray(variable[:]))
        if not torch.isfinite(self._fields.sum()):
            raise InputError(f"vorticity must be finite: {path} holds other values; delete it and prepare it again")
        self.grid_size = header.flow.stored
        self.trajectory_ids: Int[np.ndarray, " trajectory"] = np.arange(header.flow.trajectories)
        self.seconds: Float[np.ndarray, " time"] = header.flow.interval * np.arange(header.flow.frames)
        self.training_interval = header.training.interval
        self.forcing_mode = header.flow.forcing_mode
        self.moments = moments

    def read(
        self, trajectories: Int[np.ndarray, " sample"], frames: Int[np.ndarray, "sample frame"]
    ) -> Float[Tensor, "sample frame y x"]:
        """Give frames by their position in the file."""
        return self._fields[torch.from_numpy(trajectories)[:, None], torch.from_numpy(frames)]
