# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Gaussian random fields: one key is one function, at every resolution and at any point."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Complex128, Float, Float64
from torch import Tensor

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.diffusion.kernel import Kernel
from physicsnemo_fs.diffusion.modes import half_plane_weights
from physicsnemo_fs.diffusion.spectra import kernel_from_dict
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.random import complex_normal

_ROUNDING = 1e-9
_MODES_AT_ONCE = 2**20
_MODES_IN_A_SLAB = 2**17
_ALL = slice(None)
_POINTS_AT_ONCE = 2**20

Span = tuple[int, int]


@runtime_checkable
class FieldSource(Protocol):
    """What draws noise on a grid: a :class:`RandomField`, or a part of one."""

    def sample(
        self,
        keys: Sequence[int],
        channels: int,
        shape: tuple[int, int],
        *,
        draw: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Give one sample for each key, as :meth:`RandomField.sample`."""
        ...


@dataclass(frozen=True)
class RandomField:
    r"""Gaussian random field of unit pointwise variance, :math:`\xi(p) = \sum_k \sqrt{\lambda_k} z_k e_k(p)`.

    The standard complex Gaussian :math:`z_k` of a mode comes from a counter-based generator with the sample's
    key and the counter (kx, abs(ky), channel, draw), and :math:`\lambda_k` does not depend on the grid. A
    key is therefore one function: a finer grid only adds modes to those below the coarser grid's Nyquist
    mode (Nyquist modes are never used); with a band-limited kernel the values agree point by point. A sample
    depends on its own key and on nothing else in the batch, bit by bit.

    On a bounded domain the field of a larger torus is restricted to the domain, so that opposite edges are
    independent. The torus covariance is the periodic sum of the kernel's: choose the padding so that the
    correlation at the distance ``padding * extent`` is negligible.

    Args:
        kernel: Covariance, see :mod:`physicsnemo_fs.diffusion.spectra`.
        extent: Physical lengths ``(Ly, Lx)`` of the domain.
        boundary: ``"periodic"`` (torus) or ``"bounded"``.
        padding: Bounded domains: length the torus adds to each axis, as a fraction of the extent. A fraction
            that makes the padded grid whole (1 does for all grids) uses the FFT, others a slower separable
            sum.
        registration: ``"node"`` for grids at ``i L / N``, ``"cell"`` for ``(i + 1/2) L / N``.

    Raises:
        InputError: If extent or padding is not positive, or boundary or registration is unknown.

    Example:
        >>> from physicsnemo_fs.diffusion.spectra import Matern
        >>> noise = RandomField(Matern(0.5, 0.1, max_wavenumber=15))
        >>> coarse = noise.sample([7], 1, (32, 32), dtype=torch.float64)
        >>> fine = noise.sample([7], 1, (64, 64), dtype=torch.float64)
        >>> bool((fine[..., ::2, ::2] - coarse).abs().max() < 1e-12)
        True

    Source: Lord, Powell and Shardlow, "An Introduction to Computational Stochastic PDEs", chapter 7
        (circulant
    embedding); Lim et al., "Score-based diffusion models in function space", arXiv:2302.07400.
    """

    kernel: Kernel
    extent: tuple[float, float] = (1.0, 1.0)
    boundary: str = "periodic"
    padding: float = 1.0
    registration: str = "node"
    _amplitudes: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self):
        if len(self.extent) != 2 or min(self.extent) <= 0 or self.padding <= 0:
            raise InputError(
                f"a random field needs two positive lengths and positive padding: got extent {self.extent}, "
                f"padding {self.padding}"
            )
        if self.boundary not in ("periodic", "bounded") or self.registration not in ("node", "cell"):
            raise InputError(
                "boundary must be periodic or bounded and registration node or cell: got "
                f"{self.boundary!r} and {self.registration!r}"
            )

    @classmethod
    def on_grid(cls, kernel: Kernel, grid: Grid, padding: float = 1.0) -> "RandomField":
        """Give the field on the domain of a dataset's grid; the grid's resolution and origin play no role."""
        return cls(kernel, grid.extent, grid.boundary, padding, grid.registration)

    def to_dict(self) -> dict[str, Any]:
        """Give the field as plain JSON types, for checkpoints; :meth:`from_dict` is the inverse."""
        return {
            "kernel": self.kernel.to_dict(),
            "extent": list(self.extent),
            "boundary": self.boundary,
            "padding": self.padding,
            "registration": self.registration,
        }

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any]) -> "RandomField":
        """Make the field that :meth:`to_dict` described.

        Raises:
            InputError: If an entry is missing or unknown, or does not fit.
        """
        known = {"kernel", "extent", "boundary", "padding", "registration"}
        if set(spec) != known:
            raise InputError(f"a random field is described by {', '.join(sorted(known))}: got {sorted(spec)}")
        height, width = spec["extent"]
        kernel, extent = kernel_from_dict(spec["kernel"]), (float(height), float(width))
        return cls(kernel, extent, spec["boundary"], float(spec["padding"]), spec["registration"])

    @property
    def torus(self) -> tuple[float, float]:
        """Physical lengths of the torus on which the modes live."""
        stretch = 1.0 + self.padding if self.boundary == "bounded" else 1.0
        return self.extent[0] * stretch, self.extent[1] * stretch

    def modes(self, shape: tuple[int, int] | None = None) -> tuple[int, int]:
        """Give the highest mode per axis of the fields on a grid, or of the band if no grid is given.

        Raises:
            InputError: If neither a grid nor the kernel bounds the modes.
        """
        limit = self.kernel.max_wavenumber
        if shape is None and limit is None:
            raise InputError(
                "the modes to sum must be bounded: got no shape and a kernel of all wavenumbers; "
                "give the shape of a grid, or a kernel with max_wavenumber"
            )
        highest = []
        for axis, length in enumerate(self.torus):
            nyquist = math.inf if shape is None else shape[axis] * length / self.extent[axis] / 2
            below = math.inf if shape is None else math.ceil(nyquist - _ROUNDING) - 1
            band = math.inf if limit is None else math.floor(limit * length * (1 + _ROUNDING))
            highest.append(int(min(below, band)))
        return highest[0], highest[1]

    def sample(
        self,
        keys: Sequence[int],
        channels: int,
        shape: tuple[int, int],
        *,
        draw: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        rows: Span | None = None,
    ) -> Float[Tensor, "sample channel height width"]:
        """Sample the field on a grid over the whole domain.

        Args:
            keys: One 64-bit key per sample, see :func:`physicsnemo_fs.random.derive_key`.
            channels: Number of independent channels.
            shape: Grid ``(height, width)``; any sizes, even or odd.
            draw: Index of the draw under the same keys, for example the sampling step.
            device: Device of the result.
            dtype: Type of the result; the field is computed in float64 and rounded once.
            rows: First row and one past the last that are kept, the same bits as in the whole; all by default.

        Raises:
            InputError: If a key is not a 64-bit integer or the kernel was made for other channels.
        """
        grid, kept = self._torus_shape(shape), slice(*(rows or (0, shape[0])))
        if grid is None:
            y, x = self._positions(shape, 0, (0, shape[0]))[kept], self._positions(shape, 1, (0, shape[1]))
            return self.on_axes(keys, channels, y, x, shape=shape, draw=draw, device=device, dtype=dtype)
        modes = self.modes(shape)
        if channels * (2 * modes[0] + 1) * (modes[1] + 1) > _MODES_AT_ONCE:
            return self._sample_in_slabs(keys, channels, shape, grid, kept, draw, device, dtype)
        coefficients = self.coefficients(keys, channels, modes, draw=draw, device=device)
        coefficients = coefficients * self._registration_phase(modes, grid, coefficients.device)
        spectrum = coefficients.new_zeros(len(keys), channels, grid[0], grid[1] // 2 + 1)
        columns = slice(0, modes[1] + 1)
        spectrum[..., : modes[0] + 1, columns] = coefficients[..., modes[0] :, :]
        spectrum[..., grid[0] - modes[0] :, columns] = coefficients[..., : modes[0], :]
        # One transform at a time: batched FFTs round differently with the number of transforms.
        values = [torch.fft.irfft2(s, s=grid, norm="forward") for s in spectrum.flatten(end_dim=1)]
        values = [v[: shape[0], : shape[1]] for v in values]
        stacked = torch.stack(values) if values else spectrum.real.new_zeros(0, *shape)
        whole = stacked.reshape(len(keys), channels, *shape)
        return whole[..., kept, :].to(dtype or torch.get_default_dtype())

    def _sample_in_slabs(
        self,
        keys: Sequence[int],
        channels: int,
        shape: tuple[int, int],
        grid: tuple[int, int],
        kept: slice,
        draw: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> Tensor:
        """Sample channel by channel: along the rows in slabs of modes, then along the columns in slabs of rows.

        Beside the result there is one channel's half plane of (row, mode) and a slab.
        """
        self._check_channels(channels)
        size, real = (kept.stop - kept.start, shape[1]), dtype or torch.get_default_dtype()
        fields = torch.empty(len(keys), channels, *size, dtype=real, device=device)
        for key, channel in itertools.product(range(len(keys)), range(channels)):
            half = self._rows_of_modes(keys[key], channel, shape[0], self.modes(shape), grid, draw, fields.device)
            for rows in _slabs(shape[0], half.shape[1]):
                first, stop = max(rows.start, kept.start), min(rows.stop, kept.stop)
                if first < stop:
                    values = torch.fft.irfft(half[rows], n=grid[1], dim=1, norm="forward")[:, : shape[1]]
                    inside = values[first - rows.start : stop - rows.start]
                    fields[key, channel, first - kept.start : stop - kept.start] = inside
        return fields

    def _rows_of_modes(
        self, key: int, channel: int, rows: int, modes: Span, grid: Span, draw: int, device: torch.device
    ) -> Complex128[Tensor, "row mode"]:
        """Give one channel's transform along the rows: its values at rows, its modes along the columns."""
        half = torch.empty(rows, modes[1] + 1, dtype=torch.complex128, device=device)
        kernel = self.kernel.of_channel(channel)
        for columns in _slabs(modes[1] + 1, grid[0]):
            span = (columns.start, columns.stop)
            amplitude = kernel.mode_variance(modes, self.torus, span)[0].sqrt().to(device)
            modes_of_slab = _standard_modes([key], range(channel, channel + 1), modes[0], span, draw, device)[0, 0]
            modes_of_slab = modes_of_slab * amplitude * self._registration_phase(modes, grid, device, columns)
            spectrum = half.new_zeros(grid[0], span[1] - span[0])
            spectrum[: modes[0] + 1] = modes_of_slab[modes[0] :]
            spectrum[grid[0] - modes[0] :] = modes_of_slab[: modes[0]]
            half[:, columns] = torch.fft.ifft(spectrum, dim=0, norm="forward")[:rows]
        return half

    def on_axes(
        self,
        keys: Sequence[int],
        channels: int,
        y: Float[Tensor, " rows"],
        x: Float[Tensor, " columns"],
        *,
        shape: tuple[int, int] | None = None,
        draw: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Float[Tensor, "sample channel rows columns"]:
        r"""Evaluate the same functions on the product of two axes, by a separable partial inverse DFT.

        :math:`\xi(y, x) = \mathrm{Re} \sum_{k_x} w_{k_x} e^{2\pi i k_x x} \sum_{k_y} e^{2\pi i k_y y}
        \sqrt{\lambda_k} z_k`, in slabs of modes: memory is that of the window and of a slab.

        Args:
            keys: One key per sample.
            channels: Number of channels.
            y: Row positions in the unit of the extent, from the domain's corner.
            x: Column positions.
            shape: Grid whose modes are summed; may be left out if the kernel is band-limited.
            draw: Index of the draw.
            device: Device of the result.
            dtype: Type of the result.

        Raises:
            InputError: If nothing bounds the modes, or a key or the channels do not fit.
        """
        modes = self.modes(shape)
        where = torch.device(device or "cpu")
        rows = _waves(y, modes[0], self.torus[0], where)
        columns = _waves(x, modes[1], self.torus[1], where)[:, modes[1] :]
        columns = (columns * half_plane_weights(modes).to(where)).T
        width = max(1, _MODES_AT_ONCE // (channels * (2 * modes[0] + 1)))
        values = rows.real.new_zeros(len(keys), channels, len(y), len(x))
        for sample, key in enumerate(keys):
            for start in range(0, modes[1] + 1, width):
                span = (start, min(start + width, modes[1] + 1))
                slab = self.coefficients([key], channels, modes, draw=draw, device=where, span=span)
                values[sample] += ((rows @ slab[0]) @ columns[slice(*span)]).real
        return values.to(dtype or torch.get_default_dtype())

    def window(
        self,
        keys: Sequence[int],
        channels: int,
        shape: tuple[int, int],
        rows: Span,
        columns: Span,
        *,
        draw: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Float[Tensor, "sample channel rows columns"]:
        """Give the crop ``[rows, columns]`` of :meth:`sample` without making the whole field.

        Args:
            keys: One key per sample.
            channels: Number of channels.
            shape: Grid of the whole domain.
            rows: First row and one past the last; a window of a periodic domain may cross the edge.
            columns: First column and one past the last.
            draw: Index of the draw.
            device: Device of the result.
            dtype: Type of the result.
        """
        y, x = self._positions(shape, 0, rows), self._positions(shape, 1, columns)
        return self.on_axes(keys, channels, y, x, shape=shape, draw=draw, device=device, dtype=dtype)

    def at_points(
        self,
        key: int,
        points: Float[Tensor, "point 2"],
        *,
        channels: int = 1,
        shape: tuple[int, int] | None = None,
        draw: int = 0,
        dtype: torch.dtype | None = None,
    ) -> Float[Tensor, "channel point"]:
        """Evaluate the same function at arbitrary points, by the direct sum, in chunks of points.

        Args:
            key: Key of the sample.
            points: Positions ``(y, x)`` in the unit of the extent, from the domain's corner.
            channels: Number of channels.
            shape: Grid whose modes are summed; may be left out if the kernel is band-limited.
            draw: Index of the draw.
            dtype: Type of the result.

        Raises:
            InputError: If nothing bounds the modes, or the key or the channels do not fit.
        """
        modes = self.modes(shape)
        coefficients = self.coefficients([key], channels, modes, draw=draw, device=points.device)[0]
        coefficients = coefficients * half_plane_weights(modes).to(points.device)
        chunks = []
        for chunk in points.split(max(1, _POINTS_AT_ONCE // (2 * modes[0] + 1))):
            rows = _waves(chunk[:, 0], modes[0], self.torus[0], points.device)
            columns = _waves(chunk[:, 1], modes[1], self.torus[1], points.device)[:, modes[1] :]
            chunks.append(((rows @ coefficients) * columns).sum(dim=-1).real)
        return torch.cat(chunks, dim=-1).to(dtype or torch.get_default_dtype())

    def coefficients(
        self,
        keys: Sequence[int],
        channels: int,
        modes: tuple[int, int],
        *,
        draw: int = 0,
        device: torch.device | str | None = None,
        span: Span | None = None,
    ) -> Complex128[Tensor, "sample channel rows columns"]:
        r"""Give the Fourier coefficients :math:`\sqrt{\lambda_k} z_k` of the half plane of modes.

        Args:
            keys: One key per sample.
            channels: Number of channels.
            modes: Highest mode ``(my, mx)``; rows are ``-my..my``, columns ``0..mx``.
            draw: Index of the draw.
            device: Device of the result.
            span: First column and one past the last; all by default.

        Raises:
            InputError: If a key is not a 64-bit integer or the kernel was made for other channels.
        """
        self._check_channels(channels)
        first, stop = span or (0, modes[1] + 1)
        where = torch.device(device or "cpu")
        standard = _standard_modes(keys, range(channels), modes[0], (first, stop), draw, where)
        return standard * self._amplitude(modes, where)[..., first:stop]

    def apply_covariance(
        self, x: Float[Tensor, "*batch channel height width"]
    ) -> Float[Tensor, "*batch channel height width"]:
        r"""Multiply by the covariance matrix of the samples, :math:`(C x)_i = \sum_j \mathrm{cov}(p_i - p_j)
        x_j`.

        Guidance needs it: with coloured noise :math:`E[x_0 | x] = x + \sigma^2 C \nabla \log p(x)`.

        Raises:
            InputError: If the padded grid is not whole (see ``padding``) or the channels do not fit.
        """
        shape = (x.shape[-2], x.shape[-1])
        grid = self._torus_shape(shape)
        if grid is None:
            raise InputError(f"the padded grid must be whole: got padding {self.padding} on {shape}; use padding 1")
        self._check_channels(x.shape[-3])
        modes = self.modes(shape)
        rows = torch.arange(-modes[0], modes[0] + 1, device=x.device) % grid[0]
        variance = self._amplitude(modes, x.device).square()
        multiplier = variance.new_zeros(variance.shape[0], grid[0], grid[1] // 2 + 1)
        multiplier[:, rows, : modes[1] + 1] = variance
        spectrum = torch.fft.rfft2(x.double(), s=grid) * multiplier
        return torch.fft.irfft2(spectrum, s=grid, norm="forward")[..., : shape[0], : shape[1]].to(x.dtype)

    def _check_channels(self, channels: int) -> None:
        if self.kernel.channels not in (None, channels):
            raise InputError(f"the kernel was made for {self.kernel.channels} channels: got {channels}")

    def _torus_shape(self, shape: tuple[int, int]) -> tuple[int, int] | None:
        sizes = [n * length / own for n, length, own in zip(shape, self.torus, self.extent, strict=True)]
        whole = (round(sizes[0]), round(sizes[1]))
        is_whole = all(abs(size - n) <= _ROUNDING * size for size, n in zip(sizes, whole, strict=True))
        return whole if is_whole else None

    def _positions(self, shape: tuple[int, int], axis: int, span: Span) -> Float64[Tensor, " position"]:
        offset = 0.5 if self.registration == "cell" else 0.0
        index = torch.arange(span[0], span[1], dtype=torch.float64)
        return (index + offset) * (self.extent[axis] / shape[axis])

    def _registration_phase(
        self, modes: tuple[int, int], grid: tuple[int, int], device: torch.device, columns: slice = _ALL
    ) -> Tensor:
        if self.registration == "node":
            return torch.ones((), dtype=torch.complex128, device=device)
        half_cell = torch.tensor([0.5], dtype=torch.float64)
        along_rows, along_columns = (_waves(half_cell, m, n, device) for m, n in zip(modes, grid, strict=True))
        return along_rows.T * along_columns[:, modes[1] :][:, columns]

    def _amplitude(self, modes: tuple[int, int], device: torch.device) -> Tensor:
        key = (modes, device)
        if key not in self._amplitudes:
            self._amplitudes[key] = self.kernel.mode_variance(modes, self.torus).sqrt().to(device)
        return self._amplitudes[key]


def _slabs(count: int, length: int) -> Iterator[slice]:
    """Give slices of lines of some length, few enough to be transformed at once."""
    width = max(1, _MODES_IN_A_SLAB // length)
    for first in range(0, count, width):
        yield slice(first, min(first + width, count))


def _standard_modes(
    keys: Sequence[int], channels: range, highest_row: int, span: Span, draw: int, device: torch.device
) -> Complex128[Tensor, "sample channel rows columns"]:
    rows = torch.arange(highest_row + 1, device=device)[:, None]
    columns = torch.arange(*span, device=device)
    channel = torch.tensor(channels, device=device)[:, None, None]
    upper, lower = complex_normal(keys, (columns, rows, channel, torch.tensor(draw, device=device)))
    lower = lower[..., 1:, :].flip(-2)
    if span[0] == 0:
        lower[..., 0] = upper[..., 1:, 0].flip(-1).conj()
        upper[..., 0, 0] = upper[..., 0, 0].real * math.sqrt(2)
    return torch.cat([lower, upper], dim=-2)


def _waves(
    positions: Float[Tensor, " position"], highest: int, length: float, device: torch.device
) -> Complex128[Tensor, "position mode"]:
    modes = torch.arange(-highest, highest + 1, dtype=torch.float64, device=device)
    cycles = (positions.to(device=device, dtype=torch.float64) / length)[:, None] * modes
    return torch.polar(torch.ones_like(cycles), 2 * math.pi * (cycles - cycles.round()))


class NoiseLike:
    """Stand-in for ``torch.randn_like`` that draws from a random field, for samplers with ``randn_like=``.

    Every call is the next draw under the same keys. Draw 0 belongs to the initial latents
    (:meth:`RandomField.sample`), so the first call is draw 1.

    Args:
        field: Random field.
        keys: One key per member of the batch.
        draw: Index of the first draw.

    Example:
        >>> from physicsnemo_fs.diffusion.spectra import Matern
        >>> noise_like = NoiseLike(RandomField(Matern(0.5, 0.1)), keys=[1, 2])
        >>> noise_like(torch.zeros(2, 1, 8, 8)).shape, noise_like.draw
        (torch.Size([2, 1, 8, 8]), 2)
    """

    def __init__(self, field: RandomField, keys: Sequence[int], draw: int = 1):
        self.field = field
        self.keys = tuple(keys)
        self.draw = draw

    def __call__(self, x: Float[Tensor, "sample channel height width"]) -> Float[Tensor, "sample channel height width"]:
        """Give the next draw with the shape, device and type of ``x``."""
        noise = noise_like(self.field, x, self.keys, draw=self.draw)
        self.draw += 1
        return noise


def noise_like(
    field: FieldSource, x: Float[Tensor, "sample channel height width"], keys: Sequence[int], draw: int = 0
) -> Float[Tensor, "sample channel height width"]:
    """Sample the field with the shape, device and type of ``x``.

    Raises:
        InputError: If there is not one key per sample.
    """
    if len(keys) != x.shape[0]:
        raise InputError(f"there must be one key per sample: got {len(keys)} keys for {x.shape[0]} samples")
    shape = (x.shape[-2], x.shape[-1])
    return field.sample(keys, x.shape[1], shape, draw=draw, device=x.device, dtype=x.dtype)
