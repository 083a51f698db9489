# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Writing a file of generated ensembles in one go, whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path, make_folder
from physicsnemo_fs.io import zarr_folder
from physicsnemo_fs.io.fields import Array, Fields, Place, fields_of, places_of, round_bits
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.io.netcdf_file import NetCDFFile, deflate
from physicsnemo_fs.io.pieces import put_in_place, require_format


class EnsembleWriter:
    """Write one file of generated ensembles in the layout of :mod:`physicsnemo_fs.io.layout`.

    The file gets its name only on a clean exit with every (time, member) written; before that, and after an
    exception, a file that already has this name is untouched.

    Args:
        path: Final name: ``.nc`` for NetCDF, ``.zarr`` for a Zarr folder.
        spec: What the file will hold.
        significant_bits: Mantissa bits kept of predicted values, 1 to 23 (bit rounding compresses better);
            ``None`` keeps float32.

    Raises:
        InputError: On entry if the folder is not writable; on exit if something was not written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from physicsnemo_fs.data.types import Channel, Grid
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
        require_format(self.path)
        self.spec = spec
        self._significant_bits = significant_bits
        self._target: NetCDFFile | zarr_folder.ZarrFolder | None = None
        self._written: set[Place] = set()

    def __enter__(self) -> "EnsembleWriter":
        self._session_context = self._session()
        self._session_context.__enter__()
        return self

    def __exit__(self, *exception) -> bool | None:
        return self._session_context.__exit__(*exception)

    @contextmanager
    def _session(self) -> Iterator[None]:
        with self._netcdf() if self.path.suffix == ".nc" else self._zarr():
            yield

    @contextmanager
    def _netcdf(self) -> Iterator[None]:
        with atomic_path(self.path) as temporary:
            with NetCDFFile(temporary, self.spec, self._significant_bits) as self._target:
                try:
                    yield
                finally:
                    file, self._target = self._target, None
                self._require_complete()
                file.finish()

    @contextmanager
    def _zarr(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(prefix=f".{self.path.stem}.", dir=make_folder(self.path.parent)) as folder:
            temporary = Path(folder) / self.path.name
            zarr_folder.define(temporary, self.spec, self._significant_bits)
            self._target = zarr_folder.ZarrFolder(temporary)
            try:
                yield
            finally:
                self._target = None
            self._require_complete()
            zarr_folder.finish(temporary)
            put_in_place(temporary, self.path)

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
        if self._target is None:
            raise RuntimeError("EnsembleWriter.write works only inside its with block")
        positions = range(*members.indices(len(self.spec.member_seeds)))
        given = {"input": input, "input_native": input_native, "truth": truth, "regression": regression}
        fields = fields_of(self.spec, time_index, prediction, positions, **given)
        try:
            self._put(fields)
        except (OSError, RuntimeError) as error:
            raise InputError(f"could not write to {self.path.parent}: {error}; is the disk full?") from error

    def _put(self, fields: Fields) -> None:
        for place, field in fields:
            rounded = round_bits(field, self._significant_bits if place.group == "prediction" else None)
            if isinstance(self._target, NetCDFFile):
                self._target.put(place, deflate(rounded))
            elif self._target is not None:
                self._target.put(place, rounded)
            self._written.add(place)

    def _require_complete(self) -> None:
        times, members = range(self.spec.times.size), range(len(self.spec.member_seeds))
        missing = [
            (time, member)
            for time in times
            for member in members
            if not self._written.issuperset(places_of(self.spec, time, [member], whole=False))
        ]
        if missing:
            raise InputError(
                f"every (time, member) must be written: {len(missing)} of {len(times) * len(members)} are "
                f"missing, first time index {missing[0][0]}, member {missing[0][1]}; "
                f"{self.path.name} was not made"
            )
        for time in times:
            for place in places_of(self.spec, time, [], whole=True):
                if place not in self._written:
                    raise InputError(
                        f"{place.group} must be written for every time: time index {time} has none; "
                        f"{self.path.name} was not made"
                    )
