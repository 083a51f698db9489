# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Overlapping windows that cover a domain, with smooth weights that sum to one.

Along an axis the window :math:`i` has the weight :math:`w_i(x) \ge 0`, zero in a margin at each edge that lies inside
the domain, and :math:`\sum_i w_i(x) = 1`. Weights of the plane are products, so that only axes are kept in memory.
"""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from physicsnemo_fs.errors import InputError

Place = tuple[int, int]
"""First row and first column of a window."""


@dataclass(frozen=True)
class WindowAxis:
    r"""Windows along one axis, spread evenly; on a periodic axis they wrap.

    Neighbours share at least ``overlap`` samples. The weight rises as :math:`\sin^2` across what a window shares with
    its neighbour, the ``margin`` samples at its edge excepted, and is divided by the sum over the windows.

    Args:
        size: Samples of the domain.
        patch: Samples of a window.
        overlap: Samples that neighbours share at least.
        margin: Samples at an interior edge whose weight is zero, at most half of the overlap.
        periodic: Whether the axis is a circle.
        name: What an error calls the samples.

    Raises:
        InputError: If the window does not fit the domain, or overlap or margin do not fit the window.

    Example:
        >>> axis = WindowAxis(10, 4, 1, periodic=False)
        >>> axis.starts, float(axis.weights.sum())
        ((0, 3, 6), 10.0)
    """

    size: int
    patch: int
    overlap: int
    margin: int = 0
    periodic: bool = False
    name: str = "samples"

    def __post_init__(self):
        if not 1 <= self.patch <= self.size:
            raise InputError(
                f"a patch must fit the domain: got {self.patch} {self.name} in {self.size}; give at most {self.size}"
            )
        if not 0 <= self.overlap < self.patch:
            raise InputError(
                f"the overlap must be smaller than the patch: got {self.overlap} and {self.patch} {self.name}; give at "
                f"most {self.patch - 1}, a quarter of the patch is usual"
            )
        if not 0 <= 2 * self.margin <= self.overlap:
            raise InputError(
                f"the margin without weight must be at most half of the overlap: got {self.margin} and {self.overlap} "
                f"{self.name}; give at most {self.overlap // 2}"
            )

    @functools.cached_property
    def starts(self) -> tuple[int, ...]:
        """First sample of each window."""
        free, step = self.size - self.patch, self.patch - self.overlap
        if self.periodic:
            count = -(-self.size // step) if free or self.overlap else 1
            return tuple(i * self.size // count for i in range(count))
        count = 1 + -(-free // step)
        return tuple(i * free // max(1, count - 1) for i in range(count))

    @functools.cached_property
    def weights(self) -> Float64[Tensor, "window sample"]:
        """Weight of each sample of each window."""
        raw = torch.stack([self._ramp(i, -1).flip(-1) * self._ramp(i, 1) for i in range(len(self.starts))])
        total = torch.zeros(self.size, dtype=torch.float64)
        for start, row in zip(self.starts, raw, strict=True):
            total.index_add_(0, self.index(start), row)
        return torch.stack([row / total[self.index(s)] for s, row in zip(self.starts, raw, strict=True)])

    def index(self, start: int) -> Tensor:
        """Give the samples of the window that begins at ``start``."""
        index = torch.arange(start, start + self.patch)
        return index % self.size if self.periodic else index

    def spans(self, start: int) -> list[tuple[slice, slice]]:
        """Give (samples of the domain, samples of the window): one pair, or two where the window wraps."""
        inside = min(self.patch, self.size - start)
        pieces = [(slice(start, start + inside), slice(0, inside))]
        if inside < self.patch:
            pieces.append((slice(0, self.patch - inside), slice(inside, self.patch)))
        return pieces

    @functools.cached_property
    def borders(self) -> tuple[int, ...]:
        """Samples ``x`` between which and ``x - 1`` the weight of some window starts or ends, in ascending order."""
        found = set()
        for i, start in enumerate(self.starts):
            for side, edge in ((-1, start + self.margin), (1, start + self.patch - self.margin)):
                if self._shared(i, side):
                    found.add(edge % self.size)
        return tuple(sorted(found))

    def _shared(self, window: int, side: int) -> int:
        """Give the samples shared with the neighbour, at least 1 where there is one, 0 at the domain's edge."""
        count, other = len(self.starts), window + side
        if count == 1 or not (self.periodic or 0 <= other < count):
            return 0
        distance = abs(self.starts[other % count] - self.starts[window])
        if self.periodic and not 0 <= other < count:
            distance = self.size - distance
        return max(1, self.patch - distance)

    def _ramp(self, window: int, side: int) -> Tensor:
        """Give the fall of a window's weight towards one edge, which the last sample is next to."""
        shared = self._shared(window, side)
        if shared == 0:
            return torch.ones(self.patch, dtype=torch.float64)
        distance = torch.arange(self.patch - 1, -1, -1, dtype=torch.float64) + 0.5 - self.margin
        share = (distance / max(1, shared - 2 * self.margin)).clamp(0, 1)
        return torch.sin(0.5 * math.pi * share).square()


@dataclass(frozen=True)
class WindowGrid:
    r"""Overlapping windows of one shape that cover a domain of any shape.

    A field survives crop and fuse: :math:`\sum_i w_i(p)\, u(p) = u(p)`. Unlike physicsnemo's ``GridPatching2D``, whose
    weights are uniform, a sample near a window's edge counts little, windows wrap round periodic domains and no
    domain is padded by reflection.

    Args:
        shape: Rows and columns of the domain.
        patch: Rows and columns of a window.
        overlap: Rows and columns that neighbours share at least.
        margin: Rows and columns without weight at edges inside the domain; three eighths of the overlap if not given.
        boundary: ``"periodic"`` or ``"bounded"``.

    Raises:
        InputError: If patch, overlap, margin or boundary do not fit.

    Example:
        >>> windows = WindowGrid((96, 160), patch=(64, 64), overlap=(16, 16))
        >>> field = torch.randn(2, 3, 96, 160)
        >>> patches = [windows.crop(field, place) for place in windows.places]
        >>> len(patches), torch.allclose(windows.fuse(patches), field, atol=1e-6)
        (6, True)
    """

    shape: tuple[int, int]
    patch: tuple[int, int]
    overlap: tuple[int, int]
    margin: tuple[int, int] | None = None
    boundary: str = "bounded"

    def __post_init__(self):
        if self.boundary not in ("periodic", "bounded"):
            raise InputError(f"boundary must be periodic or bounded: got {self.boundary!r}")
        for name in ("shape", "patch", "overlap", "margin"):
            pair = getattr(self, name)
            if pair is not None:
                object.__setattr__(self, name, (int(pair[0]), int(pair[1])))
        _ = self.rows, self.columns

    @functools.cached_property
    def rows(self) -> WindowAxis:
        """Windows along the first axis."""
        return self._axis(0, "rows")

    @functools.cached_property
    def columns(self) -> WindowAxis:
        """Windows along the second axis."""
        return self._axis(1, "columns")

    def _axis(self, axis: int, name: str) -> WindowAxis:
        margin = usual_margin(self.overlap[axis]) if self.margin is None else self.margin[axis]
        periodic = self.boundary == "periodic"
        return WindowAxis(self.shape[axis], self.patch[axis], self.overlap[axis], margin, periodic, name)

    @property
    def places(self) -> list[Place]:
        """First row and column of every window, row by row."""
        return [(row, column) for row in self.rows.starts for column in self.columns.starts]

    def __len__(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)

    def crop(
        self, field: Float[Tensor, "*lead height width"], place: Place, top: int | None = None
    ) -> Float[Tensor, "*lead patch_height patch_width"]:
        """Give a window of a field; one that crosses the edge of a periodic domain is joined.

        Args:
            field: The field of the whole domain, or a band of rows of it.
            place: First row and column of the window.
            top: Row of the domain that a band begins with.
        """
        if top is None:
            rows = [field[..., source, :] for source, _ in self.rows.spans(place[0])]
        else:
            rows = [field[..., place[0] - top : place[0] - top + self.patch[0], :]]
        band = rows[0] if len(rows) == 1 else torch.cat(rows, dim=-2)
        columns = [band[..., source] for source, _ in self.columns.spans(place[1])]
        return columns[0] if len(columns) == 1 else torch.cat(columns, dim=-1)

    def strip(
        self, windows: Iterator[Float[Tensor, "*lead patch_height patch_width"]], row: int
    ) -> Float[Tensor, "*lead patch_height width"]:
        """Add one row of windows, each times its weights, from left to right.

        Args:
            windows: The windows of the row.
            row: Number of the row of windows.
        """
        strip: Tensor | None = None
        for column, window in enumerate(windows):
            if strip is None:
                strip = window.new_zeros(*window.shape[:-1], self.shape[1])
            weighted = window * self.columns.weights[column].to(window) * self.rows.weights[row].to(window)[:, None]
            for target, source in self.columns.spans(self.columns.starts[column]):
                strip[..., target] += weighted[..., source]
        assert strip is not None  # noqa: S101 - every row has a window
        return strip

    def add_strip(
        self,
        total: Float[Tensor, "*lead height width"],
        strip: Float[Tensor, "*lead patch_height width"],
        row: int,
    ) -> None:
        """Add a strip to the field of all windows, in place."""
        for target, source in self.rows.spans(self.rows.starts[row]):
            total[..., target, :] += strip[..., source, :]

    def fuse(
        self, patches: Sequence[Float[Tensor, "*lead patch_height patch_width"]]
    ) -> Float[Tensor, "*lead height width"]:
        """Give the weighted sum of the patches at :attr:`places`, row after row.

        Raises:
            InputError: If there is not one patch for each place.
        """
        if len(patches) != len(self):
            raise InputError(f"fusing needs one patch for each of the {len(self)} windows: got {len(patches)}")
        total = patches[0].new_zeros(*patches[0].shape[:-2], *self.shape)
        across = len(self.columns.starts)
        for row in range(len(self.rows.starts)):
            self.add_strip(total, self.strip(iter(patches[row * across : (row + 1) * across]), row), row)
        return total

    def to_dict(self) -> dict[str, Any]:
        """Give the windows as JSON types, for provenance; :meth:`from_dict` is the inverse."""
        return {
            "shape": list(self.shape),
            "patch": list(self.patch),
            "overlap": list(self.overlap),
            "margin": [self.rows.margin, self.columns.margin],
            "boundary": self.boundary,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "WindowGrid":
        """Make the windows that :meth:`to_dict` described.

        Raises:
            InputError: If an entry is missing or unknown, or does not fit.
        """
        known = {"shape", "patch", "overlap", "margin", "boundary"}
        if set(record) != known:
            raise InputError(f"windows are described by {', '.join(sorted(known))}: got {sorted(record)}")
        return cls(**record)


def usual_margin(overlap: int) -> int:
    """Give the margin that fused exact denoisers best: three eighths of the overlap (``benchmarks/patch_gaussian.py``).

    Example:
        >>> usual_margin(16)
        6
    """
    return 3 * overlap // 8


def area_matrix(size: int, cells: int) -> Float64[Tensor, "cell sample"]:
    """Give the matrix that averages ``size`` samples over each of ``cells`` equal cells; samples may be split.

    Example:
        >>> area_matrix(4, 2).tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    edges = torch.arange(cells + 1, dtype=torch.float64) * size / cells
    samples = torch.arange(size, dtype=torch.float64)
    shared = torch.minimum(edges[1:, None], samples + 1) - torch.maximum(edges[:-1, None], samples)
    return shared.clamp(min=0) * (cells / size)


def position_channels(
    shape: tuple[int, int],
    places: Sequence[Place],
    patch: tuple[int, int],
    boundary: str,
    frequencies: int,
    like: Tensor,
) -> Float[Tensor, "place channel patch_height patch_width"]:
    r"""Give smooth channels of the position in the whole domain, at windows.

    Sine and cosine of :math:`2\pi k s` on a periodic axis, of :math:`\pi k s` on a bounded one, for
    :math:`k = 1 \dots` ``frequencies``, with :math:`s \in [0, 1)` the position as a share of the domain: the sample's
    node on a periodic axis, the cell's centre on a bounded one.

    Args:
        shape: Rows and columns of the domain.
        places: First row and column of each window.
        patch: Rows and columns of a window.
        boundary: ``"periodic"`` or ``"bounded"``.
        frequencies: Number of frequencies; there are four channels for each.
        like: Tensor whose dtype and device are used.

    Example:
        >>> position_channels((32, 48), [(0, 0), (8, 16)], (16, 16), "bounded", 2, torch.zeros(1)).shape
        torch.Size([2, 8, 16, 16])
    """
    per_axis = []
    for axis in (0, 1):
        offset, turn = (0.0, 2 * math.pi) if boundary == "periodic" else (0.5, math.pi)
        index = torch.tensor([p[axis] for p in places], dtype=torch.float64)[:, None] + torch.arange(patch[axis])
        k = torch.arange(1, frequencies + 1, dtype=torch.float64)[:, None]
        angle = turn * k * ((index + offset) / shape[axis])[:, None]
        values = torch.cat([angle.sin(), angle.cos()], dim=1).to(like)
        values = values[:, :, :, None] if axis == 0 else values[:, :, None, :]
        per_axis.append(values.expand(-1, -1, *patch))
    return torch.cat(per_axis, dim=1)
