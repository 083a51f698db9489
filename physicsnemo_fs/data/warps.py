# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Monotone pointwise maps that make a skewed variable closer to normal, and their exact inverses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from physicsnemo_fs.errors import InputError

Values = TypeVar("Values", float, np.ndarray, Tensor)


class Warp(Protocol):
    """A strictly increasing map of physical values and its inverse."""

    def apply(self, value: Values) -> Values:
        """Warp physical values."""
        ...

    def invert(self, value: Values) -> Values:
        """Give the physical values of warped ones."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Give the warp as JSON types, for :func:`warp_from_dict`."""
        ...


@dataclass(frozen=True)
class Identity:
    """No warp."""

    def apply(self, value: Values) -> Values:
        """Give the values themselves."""
        return value

    def invert(self, value: Values) -> Values:
        """Give the values themselves."""
        return value

    def to_dict(self) -> dict[str, Any]:
        """Give the warp as JSON types."""
        return {"kind": "identity"}


@dataclass(frozen=True)
class Log1p:
    r"""For precipitation and the like: :math:`w(v) = \ln(1 + v / s)`, linear well below ``scale``, a logarithm above.

    Values must exceed ``-scale``; there the map ends.

    Args:
        scale: The value s, in the variable's unit, where the map bends; positive.

    Raises:
        InputError: If ``scale`` is not positive and finite.

    Example:
        >>> warp = Log1p(0.1)
        >>> f"{warp.apply(0.9):.6f}", f"{warp.invert(warp.apply(12.5)):.9f}"
        ('2.302585', '12.500000000')
    """

    scale: float = 1.0

    def __post_init__(self):
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise InputError(f"the scale of log1p must be positive and finite: got {self.scale}")

    def apply(self, value: Values) -> Values:
        """Warp physical values."""
        return torch.log1p(value / self.scale) if isinstance(value, Tensor) else np.log1p(value / self.scale)

    def invert(self, value: Values) -> Values:
        """Give the physical values of warped ones."""
        return self.scale * (torch.expm1(value) if isinstance(value, Tensor) else np.expm1(value))

    def to_dict(self) -> dict[str, Any]:
        """Give the warp as JSON types."""
        return {"kind": "log1p", "scale": self.scale}


@dataclass(frozen=True)
class Quantile:
    """Quantile mapping: piecewise linear through (value, score) knots, continued by its end pieces.

    Args:
        values: Physical values, strictly increasing, at least two.
        scores: Warped values at the knots, strictly increasing: normal scores of the training data.

    Raises:
        InputError: If the knots do not increase strictly, or their numbers differ.

    Example:
        >>> warp = Quantile((0.0, 1.0, 10.0), (-1.0, 0.0, 1.0))
        >>> warp.apply(5.5), warp.invert(warp.apply(28.0))
        (0.5, 28.0)
    """

    values: tuple[float, ...]
    scores: tuple[float, ...]

    def __post_init__(self):
        object.__setattr__(self, "values", tuple(map(float, self.values)))
        object.__setattr__(self, "scores", tuple(map(float, self.scores)))
        knots = (np.array(self.values), np.array(self.scores))
        if len(self.values) != len(self.scores) or len(self.values) < 2:
            raise InputError(
                "quantile knots must come in two or more pairs: "
                f"got {len(self.values)} values, {len(self.scores)} scores"
            )
        if not all(np.isfinite(k).all() and (np.diff(k) > 0).all() for k in knots):
            raise InputError("quantile knots must be finite and rise strictly: got others; is the variable constant?")

    def apply(self, value: Values) -> Values:
        """Warp physical values."""
        return _piecewise(value, self.values, self.scores)

    def invert(self, value: Values) -> Values:
        """Give the physical values of warped ones."""
        return _piecewise(value, self.scores, self.values)

    def to_dict(self) -> dict[str, Any]:
        """Give the warp as JSON types."""
        return {"kind": "quantile", "values": list(self.values), "scores": list(self.scores)}


def _piecewise(value: Values, x: Sequence[float], y: Sequence[float]) -> Values:
    """Interpolate linearly through the knots in float64, NaN staying NaN."""
    if isinstance(value, Tensor):
        knots = [torch.tensor(k, dtype=torch.float64, device=value.device) for k in (x, y)]
        wide = value.double()
        left = (torch.searchsorted(knots[0], wide.contiguous(), right=True) - 1).clamp(0, len(x) - 2)
    else:
        knots = [np.asarray(k, dtype=np.float64) for k in (x, y)]
        wide = np.asarray(value, dtype=np.float64)
        left = np.clip(np.searchsorted(knots[0], wide, side="right") - 1, 0, len(x) - 2)
    x0, x1, y0, y1 = knots[0][left], knots[0][left + 1], knots[1][left], knots[1][left + 1]
    result = y0 + (wide - x0) * ((y1 - y0) / (x1 - x0))
    if isinstance(value, Tensor):
        return result.to(value.dtype)
    return result.astype(value.dtype) if isinstance(value, np.ndarray) else float(result)


def warp_from_dict(record: Mapping[str, Any]) -> Warp:
    """Give the warp that :meth:`Warp.to_dict` described.

    Raises:
        InputError: If the kind is unknown or an entry is missing.

    Example:
        >>> warp_from_dict(Log1p(0.5).to_dict())
        Log1p(scale=0.5)
    """
    known = {"identity": Identity, "log1p": Log1p, "quantile": Quantile}
    kind = record.get("kind")
    if kind not in known:
        raise InputError(f"a warp must be one of {', '.join(known)}: got {kind!r}")
    try:
        return known[kind](**{name: value for name, value in record.items() if name != "kind"})
    except TypeError as error:
        raise InputError(f"a {kind} warp is described wrongly: {error}") from error
