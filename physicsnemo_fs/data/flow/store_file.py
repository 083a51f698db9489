# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""One file of Kolmogorov flow: what it holds, how it is written whole, checked and read."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import netCDF4
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from physicsnemo_fs import __version__
from physicsnemo_fs.data.flow.kolmogorov import KolmogorovConfig, simulate
from physicsnemo_fs.data.normalize import Moments
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path

FORMAT = "physicsnemo_fs kolmogorov 1"
"""Names the layout and the numerics of the solver; a change of either makes new files."""

VARIABLE = "vorticity"
DIMENSIONS = ("trajectory", "time", "y", "x")


def store_key(flow: KolmogorovConfig, training: KolmogorovConfig) -> str:
    """Give the content key of a split's file: a hash of its flow, of the training flow and of the format.

    Example:
        >>> from dataclasses import replace
        >>> flow = KolmogorovConfig()
        >>> store_key(flow, flow) == store_key(replace(flow, seed=1), flow)
        False
    """
    text = json.dumps([FORMAT, asdict(flow), asdict(training)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


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
