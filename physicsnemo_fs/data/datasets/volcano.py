# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Interferograms of volcanoes: the InSAR data set of the generative adversarial neural operator (GANO).

Rahman, Florez, Anandkumar, Ross and Azizzadenesheli, "Generative adversarial neural operators", Transactions on
Machine Learning Research, 2022.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from physicsnemo_fs.data.splits import LABELS
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.errors import InputError

STORED = 128
"""Pixels along a side of a published interferogram."""

SIDE = 120
"""Pixels along a side that are used: rows and columns 0 to 119."""

EPOCH = np.datetime64("2000-01-01", "ns")
"""Nominal time of the first interferogram."""

FILE_BYTES = STORED * STORED * np.dtype("<c8").itemsize

PHASE = (
    Channel("phase_cos", std=0.5**0.5, long_name="cosine of the phase"),
    Channel("phase_sin", std=0.5**0.5, long_name="sine of the phase"),
)
"""The channels: :math:`\\cos^2 + \\sin^2 = 1`, so that each has the mean square 1/2 if the phase has no preference."""


class VolcanoFields:
    r"""Wrapped phase :math:`\phi` of interferograms as :math:`(\cos \phi, \sin \phi)`.

    A file holds 128 x 128 complex numbers, little-endian pairs of float32, row by row. The phase of a zero or of NaN
    is unknown: both channels are NaN there. At a coarser resolution a value is the average of the unit phasors
    :math:`e^{i \phi}` of a block, which is shorter than 1 where the phase varies.

    The data has no times. Those given here put the files of a folder, which share acquisitions, on one day, a second
    apart; if there is one folder only, each file on its own day.

    Args:
        path: Folder that holds the ``.int`` files, at any depth.
        resolution: Points along a side; a divisor of 120.

    Raises:
        InputError: If there are no files, one has another size, or the resolution does not divide 120.
    """

    thread_safe = True

    def __init__(self, path: str | Path, resolution: int = SIDE):
        if resolution < 1 or SIDE % resolution:
            raise InputError(f"the resolution must divide {SIDE}: got {resolution}; choose 120, 60, 40 or 30")
        self.files = _list_files(Path(path))
        self.channels = tuple(Channel(channel.name, long_name=channel.long_name) for channel in PHASE)
        self.grid = Grid((resolution,) * 2, (float(SIDE),) * 2, registration="cell", boundary="bounded")
        self.times = _nominal_times(volcano_blocks(self.files))
        self.lead_hours: np.ndarray | None = None

    def read(
        self, positions: Sequence[int] | np.ndarray, window: tuple[slice, slice] | None = None
    ) -> Float[np.ndarray, "time channel y x"]:
        """Give the cosine and sine of the phase, NaN where it is unknown.

        Raises:
            InputError: If a file has gone or shrunk.
        """
        rows, columns = window or (slice(None), slice(None))
        return np.stack([self._read_file(self.files[p])[:, rows, columns] for p in positions])

    def _read_file(self, path: Path) -> Float[np.ndarray, "2 y x"]:
        try:
            values = np.fromfile(path, "<c8").reshape(STORED, STORED)[:SIDE, :SIDE]
        except (OSError, ValueError) as error:
            raise InputError(f"{path} must hold {STORED} x {STORED} complex numbers: it does not ({error})") from error
        with np.errstate(invalid="ignore", divide="ignore"):
            phasor = values / np.abs(values)
        fine = np.stack([phasor.real, phasor.imag]).astype(np.float32)
        fine[:, ~np.isfinite(fine).all(axis=0)] = np.nan
        size = self.grid.shape[0]
        return fine if size == SIDE else fine.reshape(2, size, SIDE // size, size, -1).mean(axis=(2, 4))


def volcano_labels(files: Sequence[Path], train: float = 0.8, validation: float = 0.1) -> UInt8[np.ndarray, " file"]:
    """Label files in the order of their paths: the first for training, the next for validation, the rest for testing.

    Interferograms of one folder share acquisitions: a folder is never divided, unless a split would stay empty.

    Raises:
        InputError: If the shares are none, or there are too few files.

    Example:
        >>> files = [Path(f"{folder}/{i}.int") for folder in "abcdefghij" for i in range(2)]
        >>> volcano_labels(files, 0.75).tolist()
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2]
    """
    share = np.arange(len(files)) / len(files)
    first = np.searchsorted(volcano_blocks(files), volcano_blocks(files), side="left")
    bounds = [train, train + validation]
    for start in (share[first], share):
        labels = np.searchsorted(bounds, start + 1e-9, side="right").astype(np.uint8)
        if len(np.unique(labels)) == len(LABELS):
            return labels
    raise InputError(
        f"every split needs an interferogram: shares {train} and {validation} of {len(files)} files leave one empty; "
        "choose others"
    )


def volcano_blocks(files: Sequence[Path]) -> Int[np.ndarray, " file"]:
    """Number the folder of each file.

    Example:
        >>> volcano_blocks([Path("a/1.int"), Path("a/2.int"), Path("b/1.int")]).tolist()
        [0, 0, 1]
    """
    return np.unique([str(path.parent) for path in files], return_inverse=True)[1].astype(np.int64)


def _nominal_times(blocks: Int[np.ndarray, " file"]) -> np.ndarray:
    days = blocks if blocks[-1] else np.arange(len(blocks))
    seconds = np.arange(len(blocks)) - np.searchsorted(days, days)
    return EPOCH + days * np.timedelta64(86400, "s") + seconds * np.timedelta64(1, "s")


def _list_files(path: Path) -> list[Path]:
    files = sorted(path.rglob("*.int"), key=lambda file: (str(file.parent), file.name))
    if not files:
        raise InputError(
            f"the folder must hold .int files: {path} has none; set dataset.data_path to the unpacked folder"
        )
    for file in files:
        size = os.stat(file).st_size
        if size != FILE_BYTES:
            raise InputError(
                f"an interferogram must have {FILE_BYTES} bytes ({STORED} x {STORED} complex64): {file} has {size}; "
                "unpack it again or take it away"
            )
    return files
