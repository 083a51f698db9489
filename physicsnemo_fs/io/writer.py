# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Writing generated ensembles, whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import netCDF4
import numpy as np
import torch

from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.io.layout import EnsembleSpec, define_layout

Array = np.ndarray | torch.Tensor


class EnsembleWriter:
    """Write one file of generated ensembles in the layout of :mod:`physicsnemo_fs.io.layout`.

    The file gets its name only on a clean exit with every (time, member) written; before that, and after an
    exception, a file that already has this name is untouched.

    Args:
        path: Final name of the file.
        spec: What the file will hold.
        significant_bits: Mantissa bits kept of predicted values, 1 to 23 (bit rounding compresses better);
            ``None`` keeps float32.

    Raises:
        InputError: On entry if the folder is not writable; on exit if something was not written.

    Example:
        >>> import tempfile
        >>> from physicsnemo_fs.data.types import Grid
        >>> grid, coarse = Grid((8, 8), (1.0, 1.0)), Grid((2, 2), (1.0, 1.0))
        >>> days = np.array(["2020-01-01"], dtype="datetime64[ns]")
        >>> t2m = (Channel("t2m", "K"),)
        >>> spec = EnsembleSpec(grid, coarse, days, np.array([0]), t2m, t2m, (7, 8),
        ...                     has_truth=False, has_regression=False)
        >>> path = Path(tempfile.mkdtemp()) / "samples.nc"
        >>> with EnsembleWriter(path, spec) as writer:
        ...     writer.write(
        ...         0, np.zeros((2, 1, 8, 8)), input=np.zeros((1, 8, 8)), input_native=np.zeros((1, 2, 2))
        ...     )
        >>> path.exists()
        True
    """

    def __init__(self, path: str | Path, spec: EnsembleSpec, significant_bits: int | None = None):
        if significant_bits is not None and not 1 <= significant_bits <= 23:
            raise InputError(f"significant_bits of float32 must be 1 to 23: got {significant_bits}")
        self.path = Path(path)
        self.spec = spec
        self._significant_bits = significant_bits
        self._dataset: netCDF4.Dataset | None = None
        self._members_written = np.zeros((spec.times.size, len(spec.member_seeds)), dtype=bool)
        self._fields_written = {group: np.zeros(spec.times.size, dtype=bool) for group in spec.field_groups}

    def __enter__(self) -> "EnsembleWriter":
        self._session_context = self._session()
        self._session_context.__enter__()
        return self

    def __exit__(self, *exception) -> bool | None:
        return self._session_context.__exit__(*exception)

    @contextmanager
    def _session(self) -> Iterator[None]:
        with atomic_path(self.path) as temporary:
            try:
                with netCDF4.Dataset(temporary, "w", format="NETCDF4") as self._dataset:
                    define_layout(self._dataset, self.spec, self._significant_bits)
                    yield
                    self._require_complete()
            finally:
                self._dataset = None

    def write(
        self,
        time_index: int,
        prediction: Array,
        *,
        input: Array | None = None,
        input_native: Array | None = None,
        truth: Array | None = None,
        regression: Array | None = None,
        members: slice = slice(None),
    ) -> None:
        """Write the members of one time, and the fields they belong to.

        Members may arrive in several calls; the other fields are needed once for each time.

        Args:
            time_index: Position of the time in ``spec.times``.
            prediction: Members in physical units, ``[member, output channel, y, x]``, finite.
            input: Coarse input on the output grid in physical units, ``[input channel, y, x]``.
            input_native: Coarse input on its own grid, ``[input channel, coarse y, coarse x]``.
            truth: ``[output channel, y, x]``; NaN where missing.
            regression: Regression mean, ``[output channel, y, x]``.
            members: Which members ``prediction`` holds; all by default.

        Raises:
            InputError: If an index, a shape or a value does not fit, or the disk is full.
        """
        if self._dataset is None:
            raise RuntimeError("EnsembleWriter.write works only inside its with block")
        dataset = self._dataset
        time_index = self._checked_time(time_index)
        fields = {"input": input, "input_native": input_native, "truth": truth, "regression": regression}
        try:
            self._write_members(dataset, time_index, prediction, members)
            for group, values in fields.items():
                if values is not None:
                    self._write_fields(dataset, group, time_index, values)
        except (OSError, RuntimeError) as error:
            raise InputError(f"could not write to {self.path.parent}: {error}; is the disk full?") from error

    def _checked_time(self, time_index: int) -> int:
        count = self.spec.times.size
        if not 0 <= time_index < count:
            raise InputError(f"time_index must be 0 to {count - 1}: got {time_index}")
        return int(time_index)

    def _write_members(self, dataset: netCDF4.Dataset, time_index: int, prediction: Array, members: slice) -> None:
        positions = range(*members.indices(len(self.spec.member_seeds)))
        channels = self.spec.output_channels
        values = _to_float32(prediction)
        _require_shape("prediction", values, (len(positions), len(channels), *self.spec.grid.shape))
        self._require_finite(values, time_index, positions)
        group = dataset["prediction"]
        for c, channel in enumerate(channels):
            variable = group[channel.name]
            for position, field in zip(positions, values[:, c], strict=True):
                variable[position, time_index] = field
        self._members_written[time_index, list(positions)] = True

    def _require_finite(self, values: np.ndarray, time_index: int, positions: range) -> None:
        bad = ~np.isfinite(values).all(axis=(2, 3))
        if bad.any():
            row, c = np.argwhere(bad)[0]
            raise InputError(
                f"predictions must be finite: {self.spec.output_channels[c].name!r} at time index "
                f"{time_index} ({self.spec.times[time_index]}), member {positions[row]} (seed "
                f"{self.spec.member_seeds[positions[row]]}) is not; check the checkpoint and the precision"
            )

    def _write_fields(self, dataset: netCDF4.Dataset, name: str, time_index: int, values: Array) -> None:
        if name not in self.spec.field_groups:
            raise InputError(f"{name} was given for a file declared without it; set has_{name}=True in the spec")
        array = _to_float32(values)
        grid = self.spec.coarse_grid if name == "input_native" else self.spec.grid
        selected: list[tuple[int, Channel]] = (
            list(self.spec.current_inputs) if name.startswith("input") else list(enumerate(self.spec.output_channels))
        )
        count = len(self.spec.input_channels) if name.startswith("input") else len(self.spec.output_channels)
        _require_shape(name, array, (count, *grid.shape))
        for position, channel in selected:
            dataset[name][channel.name][time_index] = array[position]
        self._fields_written[name][time_index] = True

    def _require_complete(self) -> None:
        missing = np.argwhere(~self._members_written)
        if missing.size:
            raise InputError(
                f"every (time, member) must be written: {len(missing)} of {self._members_written.size} are "
                f"missing, first time index {missing[0][0]}, member {missing[0][1]}; "
                f"{self.path.name} was not made"
            )
        for group, written in self._fields_written.items():
            if not written.all():
                raise InputError(
                    f"{group} must be written for every time: time index {int(np.argmin(written))} has none; "
                    f"{self.path.name} was not made"
                )


def _to_float32(values: Array) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float32).numpy()
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float32)


def _require_shape(name: str, values: np.ndarray, expected: tuple[int, ...]) -> None:
    if values.shape != expected:
        raise InputError(f"{name} must have shape {expected}: got {values.shape}")
