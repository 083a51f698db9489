# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Normalisation measured on training data: bit for bit the same for any number of ranks or workers."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.data.normalize import Moments, moments_of
from physicsnemo_fs.data.types import Channel, Fields
from physicsnemo_fs.data.warps import Identity, Log1p, Quantile, Warp
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.random import derive_key

Kind = Literal["standard", "minmax", "log1p", "quantile"]

POOL = 64
"""Values of each piece that the quantiles are estimated from."""

ROUNDING = 0.01
"""Share of the standard deviation by which packing may have carried a value below the minimum."""

SUMS = ("count", "mean", "squares", "missing", "minimum", "maximum")


@dataclass(frozen=True)
class Normalisation:
    """How one variable is normalised; the numbers come from the training data.

    Args:
        kind: ``"standard"`` (mean 0, standard deviation 1), ``"minmax"`` (the range becomes 0 to 1), ``"log1p"``
            (:class:`physicsnemo_fs.data.warps.Log1p`, then standard) or ``"quantile"`` (normal scores).
        scale: Where log1p bends, in the variable's unit.
        minimum: Least physical value of the variable, which generated values keep to.
        knots: Most knots of the quantile map.

    Raises:
        InputError: If the kind is unknown or a number is out of bounds.

    Example:
        >>> Normalisation.parse("tp", {"kind": "log1p", "scale": 0.1, "minimum": 0})
        Normalisation(kind='log1p', scale=0.1, minimum=0.0, knots=129)
    """

    kind: Kind = "standard"
    scale: float = 1.0
    minimum: float | None = None
    knots: int = 129

    def __post_init__(self):
        if self.kind not in get_args(Kind):
            raise InputError(f"a transform must be one of {', '.join(get_args(Kind))}: got {self.kind!r}")
        numbers = [value for value in (self.scale, self.minimum, self.knots) if value is not None]
        if not all(isinstance(value, int | float) for value in numbers):
            raise InputError(f"scale, minimum and knots of a transform must be numbers: got {numbers}")
        if not np.isfinite(numbers).all() or self.knots != int(self.knots):
            raise InputError(f"scale, minimum and knots of a transform must be finite, knots whole: got {numbers}")
        if not (self.scale > 0 and self.knots >= 2):
            raise InputError(f"a transform needs a positive scale and 2 or more knots: got {self.scale}, {self.knots}")

    @staticmethod
    def parse(name: str, declared: Any) -> "Normalisation":
        """Read a declaration of the configuration: the kind alone, or a mapping of the arguments.

        Raises:
            InputError: Naming the variable.
        """
        record = {"kind": declared} if isinstance(declared, str) else declared
        known = {f.name for f in fields(Normalisation)}
        if not isinstance(record, Mapping) or not set(record) <= known:
            raise InputError(
                f"the transform of {name!r} must be a kind or a mapping of {sorted(known)}: got {declared!r}"
            )
        minimum = record.get("minimum")
        try:
            return Normalisation(**{**record, "minimum": float(minimum) if isinstance(minimum, int) else minimum})
        except InputError as error:
            raise InputError(f"variable {name!r}: {error}") from error

    def before(self) -> Warp:
        """Give the warp whose result is averaged."""
        return Log1p(self.scale) if self.kind == "log1p" else Identity()


def parse_normalisations(declared: Mapping[str, Any] | None, channels: Sequence[Channel]) -> tuple[Normalisation, ...]:
    """Give each channel's normalisation: the declared one, else standard.

    Raises:
        InputError: If a declaration is of a variable that is not there.

    Example:
        >>> [n.kind for n in parse_normalisations({"tp": "log1p"}, [Channel("t2m"), Channel("tp")])]
        ['standard', 'log1p']
    """
    declared = declared or {}
    names = [c.name for c in channels]
    if foreign := sorted(set(declared) - set(names)):
        raise InputError(f"transforms must be of variables of the dataset: got {foreign[0]!r}, there are {names}")
    return tuple(Normalisation.parse(n, declared[n]) if n in declared else Normalisation() for n in names)


def measure(
    values: Float[np.ndarray, "channel y x"], normalisations: Sequence[Normalisation], piece: int
) -> Float[np.ndarray, "channel column"]:
    """Give the mergeable statistics of one piece of the training data.

    Args:
        values: Physical values of one time, NaN where missing.
        normalisations: One a channel.
        piece: Number of the piece, which chooses the values kept for quantiles.

    Returns:
        For each channel count, mean and squared deviations of the warped values, number of missing ones, least and
        greatest physical value, then a sample of physical values (NaN where there were fewer).
    """
    table = np.full((len(values), len(SUMS) + POOL), np.nan)
    for row, channel, normalisation in zip(table, values, normalisations, strict=True):
        present = channel[np.isfinite(channel)].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):  # fitted() refuses what has no logarithm
            found = moments_of(normalisation.before().apply(present))
        extremes = (present.min(), present.max()) if present.size else (np.inf, -np.inf)
        row[: len(SUMS)] = found.count, found.mean, found.squares, channel.size - present.size, *extremes
        if normalisation.kind == "quantile" and present.size:
            draws = np.random.Generator(np.random.Philox(derive_key(piece, "quantile-sample")))
            row[len(SUMS) :] = draws.choice(present, POOL)
    return table


def fitted(channel: Channel, normalisation: Normalisation, table: Float[np.ndarray, "piece column"]) -> Channel:
    """Give the channel with the normalisation that the pieces of :func:`measure` say, merged in their order.

    Raises:
        InputError: If every value is missing, or the variable is constant.
    """
    moments = Moments()
    for count, mean, squares, missing, *_ in table:
        moments = moments.merged(Moments(int(count), mean, squares, int(missing)))
    if moments.count == 0:
        raise InputError(f"variable {channel.name!r} must have values in the training split: all of them are missing")
    if moments.squares == 0.0:
        raise InputError(
            f"variable {channel.name!r} must vary: it is {moments.mean:g} in the whole training split; choose other "
            "samples or leave it out"
        )
    least = float(table[:, SUMS.index("minimum")].min())
    if normalisation.kind == "log1p" and least <= -normalisation.scale:
        raise InputError(
            f"variable {channel.name!r} must exceed -scale for log1p: got {least:g} with scale "
            f"{normalisation.scale:g}; choose another transform"
        )
    if normalisation.minimum is not None and least < normalisation.minimum - ROUNDING * moments.std:
        raise InputError(
            f"variable {channel.name!r} must not fall below its declared minimum {normalisation.minimum:g}: got "
            f"{least:g}; lower it or repair the values"
        )
    channel = replace(channel, minimum=normalisation.minimum)
    if normalisation.kind == "minmax":
        low, high = float(table[:, 4].min()), float(table[:, 5].max())
        return replace(channel, mean=low, std=high - low)
    if normalisation.kind == "quantile":
        warp = _normal_scores(table[:, len(SUMS) :], int(normalisation.knots), channel.name)
        return replace(channel, mean=0.0, std=1.0, warp=warp)
    return replace(channel, mean=moments.mean, std=moments.std, warp=normalisation.before())


def _normal_scores(sample: Float[np.ndarray, "piece value"], knots: int, name: str) -> Quantile:
    """Map the sample's quantiles to those of the normal distribution; repeated values share their mean score."""
    pool = sample[np.isfinite(sample)]
    levels = (np.arange(knots) + 0.5) / knots
    normal = statistics.NormalDist()
    scores = np.array([normal.inv_cdf(level) for level in levels])
    values, group = np.unique(np.quantile(pool, levels), return_inverse=True)
    if len(values) < 2:
        raise InputError(
            f"variable {name!r} must take several values for quantile: nearly all are {values[0]:g}; choose log1p or "
            "standard, or more knots"
        )
    return Quantile(tuple(values), tuple(np.bincount(group, scores) / np.bincount(group)))


def fit_channels(
    source: Fields,
    positions: Sequence[int],
    normalisations: Sequence[Normalisation],
    rank: int = 0,
    world_size: int = 1,
    total: Callable[[Tensor], Tensor] = lambda table: table,
) -> tuple[Channel, ...]:
    """Measure the normalisation of every variable on some times, each rank reading its share of them.

    Args:
        source: The training fields.
        positions: Times to read.
        normalisations: One a channel, from :func:`parse_normalisations`.
        rank: This rank.
        world_size: Number of ranks.
        total: Sums a tensor over the ranks.

    Raises:
        InputError: If there are no times, or a variable is missing everywhere or constant.
    """
    if not len(positions):
        raise InputError("statistics need training samples: got none; check the period and the split")
    table = torch.zeros(len(positions), len(source.channels), len(SUMS) + POOL, dtype=torch.float64)
    for piece in range(rank, len(positions), world_size):
        values = source.read([int(positions[piece])])[0]
        table[piece] = torch.from_numpy(measure(values, normalisations, piece))
    merged = total(table).numpy()
    pairs = zip(source.channels, normalisations, strict=True)
    return tuple(fitted(channel, kind, merged[:, i]) for i, (channel, kind) in enumerate(pairs))
