# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The dataset contract: channels, grids, batches, and what a downscaling dataset offers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from physicsnemo_fs.data.warps import Identity, Warp, warp_from_dict
from physicsnemo_fs.errors import InputError


@dataclass(frozen=True)
class Channel:
    r"""One physical variable as a network channel: :math:`(w(v) - m) / s` with a warp :math:`w`, exactly inverted.

    Args:
        name: Short name, for example ``"t2m"`` or ``"vorticity"``.
        unit: Physical unit of the value.
        mean: Mean of the warped training split; without a warp in ``unit``.
        std: Standard deviation of the same; positive.
        long_name: What a plot's axis says.
        standard_name: CF standard name, empty if there is none.
        warp: Monotone pointwise map before the affine one.
        minimum: Least physical value (0 for precipitation): what lies below is set to it when a network's values are
            turned into physical ones.

    Raises:
        InputError: If ``std`` is not positive and finite.

    Example:
        >>> t2m = Channel("t2m", "K", mean=280.0, std=10.0)
        >>> t2m.normalize(290.0), t2m.denormalize(1.0)
        (1.0, 290.0)
        >>> from physicsnemo_fs.data.warps import Log1p
        >>> rain = Channel("tp", "mm h-1", mean=0.2, std=0.5, warp=Log1p(0.1), minimum=0.0)
        >>> f"{rain.denormalize(rain.normalize(3.0)):.9f}", float(rain.denormalize(-2.0))
        ('3.000000000', 0.0)
    """

    name: str
    unit: str = "1"
    mean: float = 0.0
    std: float = 1.0
    long_name: str = ""
    standard_name: str = ""
    warp: Warp = Identity()  # noqa: RUF009 - frozen
    minimum: float | None = None

    def __post_init__(self):
        if not (np.isfinite(self.mean) and np.isfinite(self.std) and self.std > 0):
            raise InputError(
                f"channel {self.name!r} needs a finite mean and a positive finite std: got mean {self.mean}, "
                f"std {self.std}; is the variable constant or all missing?"
            )

    def normalize(self, value):
        """Turn physical values into normalised ones."""
        return (self.warp.apply(value) - self.mean) / self.std

    def denormalize(self, value):
        """Turn normalised values into physical ones, none below ``minimum``."""
        physical = self.warp.invert(value * self.std + self.mean)
        if self.minimum is None:
            return physical
        return physical.clamp(min=self.minimum) if isinstance(physical, Tensor) else np.maximum(physical, self.minimum)

    def to_dict(self) -> dict[str, Any]:
        """Give the channel as JSON types.

        Example:
            >>> Channel.from_dict(Channel("t", "K", 280.0, 10.0).to_dict()).mean
            280.0
        """
        record: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**record, "warp": self.warp.to_dict()}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> "Channel":
        """Give the channel that :meth:`to_dict` described; entries that are absent take their defaults.

        Raises:
            InputError: If an entry is unknown or no channel.
        """
        try:
            return Channel(**{**record, "warp": warp_from_dict(record.get("warp", {"kind": "identity"}))})
        except TypeError as error:
            raise InputError(f"a channel is described wrongly: {error}") from error


@dataclass(frozen=True)
class Grid:
    r"""Sample positions of a field on a rectangular domain.

    Positions along an axis of length ``L`` with ``N`` samples are ``origin + (i + r) L / N``, where ``r`` is 0 for
    node registration (spectral solvers) and 1/2 for cell registration (averages over cells).

    Args:
        shape: Number of samples ``(height, width)``.
        extent: Physical lengths ``(Ly, Lx)`` of the domain in ``unit``.
        origin: Position of the domain's corner ``(y, x)`` in ``unit``.
        registration: ``"node"`` or ``"cell"``.
        boundary: ``"periodic"`` (torus) or ``"bounded"``.
        unit: Unit of the coordinates.
        latitude: Degrees north, shape ``(height, width)``, for geographic grids.
        longitude: Degrees east, shape ``(height, width)``, for geographic grids.
        projection: CF grid-mapping attributes of projected coordinates; ``None`` for latitude-longitude and planes.

    Example:
        >>> Grid((4, 4), (1.0, 1.0), registration="cell").y.tolist()
        [0.125, 0.375, 0.625, 0.875]
    """

    shape: tuple[int, int]
    extent: tuple[float, float]
    origin: tuple[float, float] = (0.0, 0.0)
    registration: Literal["node", "cell"] = "node"
    boundary: Literal["periodic", "bounded"] = "periodic"
    unit: str = "1"
    latitude: np.ndarray | None = field(default=None, compare=False, repr=False)
    longitude: np.ndarray | None = field(default=None, compare=False, repr=False)
    projection: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self):
        if min(self.shape) < 1 or min(self.extent) <= 0:
            raise InputError(f"a grid needs positive shape and extent: got shape {self.shape}, extent {self.extent}")

    def _axis(self, axis: int) -> np.ndarray:
        offset = 0.5 if self.registration == "cell" else 0.0
        n = self.shape[axis]
        return self.origin[axis] + (np.arange(n) + offset) * (self.extent[axis] / n)

    @property
    def y(self) -> np.ndarray:
        """Row positions, float64, shape ``(height,)``."""
        return self._axis(0)

    @property
    def x(self) -> np.ndarray:
        """Column positions, float64, shape ``(width,)``."""
        return self._axis(1)

    @property
    def spacing(self) -> tuple[float, float]:
        """Distance between samples ``(dy, dx)`` in ``unit``."""
        return self.extent[0] / self.shape[0], self.extent[1] / self.shape[1]

    def at(self, shape: tuple[int, int]) -> "Grid":
        """Give the same domain sampled with another shape (geographic coordinates are dropped)."""
        return self if shape == self.shape else replace(self, shape=shape, latitude=None, longitude=None)


@dataclass
class Batch:
    """Normalised fields of several samples.

    Args:
        coarse: Coarse input frames as channels.
        invariants: Static fine fields (orography, forcing), the same grid as the target.
        target: Fine truth; ``None`` at inference without truth.
        index: Sample ids within the dataset.
        valid: Where the truth is known; ``None`` means everywhere. The target holds 0 elsewhere.
        lead_time: Hours since the forecast started, for datasets of forecasts.
    """

    coarse: Float[Tensor, "batch input coarse_height coarse_width"]
    invariants: Float[Tensor, "batch invariant height width"]
    target: Float[Tensor, "batch output height width"] | None
    index: Int[Tensor, " batch"]
    valid: Bool[Tensor, "batch output height width"] | None = None
    lead_time: Float[Tensor, " batch"] | None = None


@runtime_checkable
class Fields(Protocol):
    """Variables on one grid over time, read lazily, in physical units, NaN where a value is missing.

    Attributes:
        channels: The variables: names, units, long names; not normalised.
        grid: Their grid; rows and columns ascend as it says.
        times: Valid times, ``datetime64[ns]``, strictly increasing; empty for static fields.
        lead_hours: Hours since the start of the forecast at each time, where the source has them.
    """

    channels: tuple[Channel, ...]
    grid: Grid
    times: np.ndarray
    lead_hours: np.ndarray | None

    def read(
        self, positions: Sequence[int], window: tuple[slice, slice] | None = None
    ) -> Float[np.ndarray, "time channel y x"]:
        """Give the fields at positions of ``times`` (``[0]`` for static ones), float32, whole or in a window."""
        ...


@runtime_checkable
class DownscalingDataset(Protocol):
    """What the pipelines need of a dataset.

    Attributes:
        input_channels: Coarse input channels, one per frame of the window (``vorticity``, ``vorticity@-1`` ...).
        output_channels: Fine target channels.
        invariant_channels: Static fine channels, possibly none.
        grid: Fine grid of target and invariants.
        coarse_grid: Grid of the coarse input.
        times: Valid time of each sample, ``datetime64[ns]``, unique, shape ``(len,)``.
        blocks: Label of the statistically independent block (trajectory, day) of each sample, shape ``(len,)``.

    Two more are optional and False where they are missing: ``thread_safe``, that threads may call ``fetch`` together,
    and ``input_is_average``, that inputs are exactly the truth's averages over the cells of ``coarse_grid``.
    """

    input_channels: tuple[Channel, ...]
    output_channels: tuple[Channel, ...]
    invariant_channels: tuple[Channel, ...]
    grid: Grid
    coarse_grid: Grid
    times: np.ndarray
    blocks: np.ndarray

    def __len__(self) -> int: ...

    def fetch(self, indices: Sequence[int], augmentation_keys: Sequence[int] | None = None) -> Batch:
        """Give the samples of ``indices``; with keys, each augmented (symmetries, place of a patch) by its own key.

        A sample depends on its index and key alone, never on the rest of the batch.
        """
        ...
