# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Numbers in words: every claim of the report is a function of what was measured."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from physicsnemo_fs.metrics.bootstrap import Interval
from physicsnemo_fs.metrics.consistency import Consistency
from physicsnemo_fs.pipelines.numerals import interval_text, number

SAME_TO_ROUNDING = 1e-5
SAME_FIELD = 5e-3
DECIBELS = 1.0
DECIBELS_TOLD = 30.0
SMALLEST_SHARE = 1e-5
NEW_DETAIL = 1e-3


def enumeration(parts: Sequence[str]) -> str:
    """Join with commas and a last ``and``.

    Example:
        >>> enumeration(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def shell_ranges(shells: Sequence[int] | Int[np.ndarray, " shell"]) -> str:
    """Write increasing integers as ranges.

    Example:
        >>> shell_ranges([1, 4, 5, 6, 19])
        '1, 4–6 and 19'
    """
    runs: list[list[int]] = []
    for shell in shells:
        if runs and shell == runs[-1][-1] + 1:
            runs[-1].append(int(shell))
        else:
            runs.append([int(shell)])
    return enumeration([f"{run[0]}–{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs])


def _difference(ratio: float) -> str:
    change = 100 * abs(1 - ratio)
    digits = 0 if change >= 1.95 else 1
    return f"{change:.{digits}f} % {'lower' if ratio < 1 else 'higher'}"


def crps_sentence(ratios: Mapping[str, Interval]) -> str:
    """Say how the ensemble's CRPS compares with each baseline's.

    Args:
        ratios: The ensemble's CRPS over the baseline's, by the baseline's name.

    Example:
        >>> crps_sentence({"interpolation": Interval(0.15, 0.14, 0.16, 8)})
        "The ensemble's forecast error (fair CRPS) is 85 % lower than for interpolation."
    """
    if not ratios:
        return ""
    open_ones = [name for name, ratio in ratios.items() if ratio.low <= 1 <= ratio.high]
    firm = [f"{_difference(ratio.estimate)} than for {name}" for name, ratio in ratios.items() if name not in open_ones]
    sentences = [f"The ensemble's forecast error (fair CRPS) is {enumeration(firm)}."] if firm else []
    if open_ones:
        subject = "It" if firm else "The ensemble's forecast error (fair CRPS)"
        sentences.append(
            f"{subject} cannot be told apart from that of {enumeration(open_ones)} on these data "
            f"(ratio {enumeration([interval_text(ratios[name]) for name in open_ones])})."
        )
    return " ".join(sentences)


def spread_sentence(value: float, low: float, high: float) -> str:
    """Say whether spread and error agree.

    Args:
        value: Spread over error.
        low: Lower end of its interval; NaN without one.
        high: Upper end.

    Example:
        >>> spread_sentence(0.97, 0.95, 0.99)
        'The ensemble is overconfident: its spread is 3 % too small for its error (interval 0.950–0.990).'
    """
    if math.isnan(value):
        return "A single member has no spread."
    if math.isnan(low):
        return f"Spread over error is {number(value)}; one independent block gives no interval."
    text = interval_text(Interval(value, low, high, 0))
    if low <= 1 <= high:
        return f"Spread and error agree: their ratio is {number(value)}, and its interval {text} holds 1."
    verdict, size = ("overconfident", "small") if high < 1 else ("underconfident", "large")
    change = f"{100 * abs(1 - value):.{0 if abs(1 - value) >= 0.0195 else 1}f}"
    return f"The ensemble is {verdict}: its spread is {change} % too {size} for its error (interval {text})."


def reach_sentence(
    error: Float[np.ndarray, " shell"],
    shells: Int[np.ndarray, " shell"],
    truth_power: Float[np.ndarray, " shell"],
) -> str:
    """Say up to which wavenumber the members' power is the truth's, and how much of the variance that is.

    Args:
        error: Power of the members over the truth's in decibels, at ``shells``.
        shells: Wavenumbers 1, 2 ...
        truth_power: The truth's power in all shells 0, 1, 2 ...

    Example:
        >>> reach_sentence(np.array([0.1, -3.0]), np.array([1, 2]), np.array([0.0, 99.0, 1.0]))
        "Up to wavenumber 1 the members' power is within 1 dB of the truth's: 99.0 % of the truth's variance."
    """
    off = np.flatnonzero(~(np.abs(error) <= DECIBELS))
    count = int(off[0]) if off.size else shells.size
    if not count:
        return f"Already at wavenumber {shells[0]} the members' power is more than {DECIBELS:g} dB off the truth's."
    share = _share(truth_power[shells[:count]].sum() / truth_power[1:].sum())
    return (
        f"Up to wavenumber {shells[count - 1]} the members' power is within {DECIBELS:g} dB of the truth's: {share} of "
        "the truth's variance."
    )


def small_scale_sentence(
    error: Float[np.ndarray, " shell"], shells: Int[np.ndarray, " shell"], members: int = 2
) -> str:
    """Say whether small scales are missing or too strong: the finer half of the wavenumbers.

    Args:
        error: Power of the members over the truth's in decibels, at ``shells``.
        shells: Wavenumbers 1, 2 ...
        members: Number of members.

    Example:
        >>> small_scale_sentence(np.array([0.0, 0.1, -4.0, -6.0]), np.arange(1, 5))
        'Small scales are missing: beyond wavenumber 2 the members have 5.0 dB too little power and are too smooth.'
    """
    finer = error[(shells > shells[-1] / 2) & np.isfinite(error)]
    level = float(finer.mean()) if finer.size else 0.0
    if abs(level) <= DECIBELS:
        return ""
    what, much, look = ("missing", "little", "smooth") if level < 0 else ("too strong", "much", "rough")
    size = f"{abs(level):.1f}" if abs(level) <= DECIBELS_TOLD else f"more than {DECIBELS_TOLD:g}"
    who, verb = ("the members have", "are") if members > 1 else ("the forecast has", "is")
    return (
        f"Small scales are {what}: beyond wavenumber {shells[-1] // 2} {who} {size} dB too {much} power and {verb} too "
        f"{look}."
    )


def spectrum_limit(
    error: Float[np.ndarray, " shell"],
    shells: Int[np.ndarray, " shell"],
    truth_power: Float[np.ndarray, " shell"],
    where: str,
) -> str:
    """Say where the members' power is off by more than a decibel; nothing if it is not.

    Args:
        error: Power of the members over the truth's in decibels, at ``shells``.
        shells: Wavenumbers to judge.
        truth_power: The truth's power in all shells 0, 1, 2 ...
        where: The grid, in words.

    Example:
        >>> spectrum_limit(np.array([0.1, -3.0]), np.array([1, 2]), np.array([0.0, 99.0, 1.0]), "64 × 64")
        "At 64 × 64 the members have too little power at wavenumber 2 (by up to 3.0 dB), where 1.0 % of the truth's \
variance is."
    """
    known = np.isfinite(error)
    error, shells = error[known], shells[known]
    off = np.abs(error) > DECIBELS
    if not off.any():
        return ""
    kinds = []
    for much, chosen in (("much", error > DECIBELS), ("little", error < -DECIBELS)):
        if chosen.any():
            plural = "s" if chosen.sum() > 1 else ""
            size = _decibels(float(np.abs(error[chosen]).max()))
            kinds.append(f"too {much} power at wavenumber{plural} {shell_ranges(shells[chosen])} ({size})")
    share = _share(truth_power[shells[off]].sum() / truth_power[1:].sum())
    return f"At {where} the members have {enumeration(kinds)}, where {share} of the truth's variance is."


def _decibels(value: float) -> str:
    return f"by more than {DECIBELS_TOLD:g} dB" if value > DECIBELS_TOLD else f"by up to {value:.1f} dB"


def _share(value: float) -> str:
    if value < SMALLEST_SHARE:
        return f"less than {100 * SMALLEST_SHARE:g} %"
    if value > 1 - SMALLEST_SHARE:
        return "all" if value == 1 else f"more than {100 * (1 - SMALLEST_SHARE):g} %"
    if value > 0.9:
        return f"{100 * value:.{max(1, -math.floor(math.log10(1 - value)) - 1)}f} %"
    return f"{number(100 * value, 2)} %"


def detail_limit(truth_power: Float[np.ndarray, " shell"], carried: int, coarse: str, fine: str) -> str:
    """Say how little there is to see on the finer grid alone; nothing if it is a tenth of a percent or more.

    Args:
        truth_power: The truth's power on the finer grid, in all shells 0, 1, 2 ...
        carried: Last wavenumber of the coarser grid.
        coarse: The coarser grid, in words.
        fine: The finer grid.

    Example:
        >>> detail_limit(np.array([0.0, 1.0, 0.0]), 1, "64 × 64", "128 × 128")
        "Beyond the reach of 64 × 64 there is less than 0.001 % of the truth's variance: 128 × 128 tests \
consistency, not new detail."
    """
    share = truth_power[carried + 1 :].sum() / truth_power[1:].sum()
    if share >= NEW_DETAIL:
        return ""
    return (
        f"Beyond the reach of {coarse} there is {_share(share)} of the truth's variance: {fine} tests consistency, not "
        "new detail."
    )


def rank_sentence(share: Float[np.ndarray, " rank"], half_width: Float[np.ndarray, " rank"]) -> str:
    """Say how often the truth leaves the ensemble.

    Args:
        share: Share of each rank of the truth.
        half_width: Half width of each rank's band round the flat line.

    Example:
        >>> rank_sentence(np.full(5, 0.2), np.full(5, 0.01))
        'The truth lies outside all 4 members at 40.0 % of the points (40.0 % if calibrated), and 0 of the 5 ranks \
leave the band.'
    """
    flat = 1 / share.size
    outside = int((np.abs(share - flat) > half_width).sum())
    return (
        f"The truth lies outside all {share.size - 1} members at {100 * (share[0] + share[-1]):.1f} % of the points "
        f"({200 * flat:.1f} % if calibrated), and {outside} of the {share.size} ranks leave the band."
    )


def mean_sentence(ratio: Interval) -> str:
    """Say whether the mean of the members beats the regression.

    Args:
        ratio: RMSE of the ensemble mean over the regression's.

    Example:
        >>> mean_sentence(Interval(1.03, 1.01, 1.05, 8))
        'The mean of the members is no better than the regression: its RMSE is 3 % higher.'
    """
    if math.isnan(ratio.low):
        return f"The RMSE of the members' mean is {number(ratio.estimate)} times the regression's, without an interval."
    if ratio.high < 1:
        return f"The mean of the members beats the regression: its RMSE is {_difference(ratio.estimate)}."
    if ratio.low > 1:
        return f"The mean of the members is no better than the regression: its RMSE is {_difference(ratio.estimate)}."
    return (
        "The mean of the members is as good as the regression, not better: the ratio of their RMSE is "
        f"{number(ratio.estimate)} ({interval_text(ratio)})."
    )


def consistency_sentence(consistency: Consistency, coarse: str, fine: str) -> str:
    """Say whether one seed is one function at two resolutions.

    Args:
        consistency: Relative differences in the band both grids carry.
        coarse: The smaller grid, in words.
        fine: The larger grid.

    Example:
        >>> consistency_sentence(Consistency(3e-4, 6e-7), "64 × 64", "128 × 128")
        'The same seed gives the same field at 64 × 64 and at 128 × 128, to 0.030 %; the generated residual alone \
agrees to rounding (6.0 × 10⁻⁷).'
    """
    size = (
        f"{100 * consistency.field:.2g} %" if consistency.field >= 1e-3 else f"{number(100 * consistency.field, 2)} %"
    )
    if consistency.field > SAME_FIELD:
        first = f"The same seed gives different fields at {coarse} and at {fine}: they differ by {size} after low-pass"
    elif consistency.field > SAME_TO_ROUNDING:
        first = f"The same seed gives the same field at {coarse} and at {fine}, to {size}"
    else:
        first = (
            f"The same seed gives the same field at {coarse} and at {fine} to rounding ({number(consistency.field, 2)})"
        )
    if consistency.residual is None:
        return f"{first}."
    if consistency.residual <= SAME_TO_ROUNDING:
        return f"{first}; the generated residual alone agrees to rounding ({number(consistency.residual, 2)})."
    return f"{first}; the generated residual alone differs by {100 * consistency.residual:.2g} %."


def finer_sentence(ratio: float, coarse: str, fine: str, times: int = 0) -> str:
    """Say what the score does at the finer grid.

    Args:
        ratio: CRPS at the finer grid over that at the coarser one.
        coarse: The grid of training, in words.
        fine: The finer grid.
        times: How many times the ratio is of; 0 for all.

    Example:
        >>> finer_sentence(1.002, "64 × 64", "128 × 128")
        'At 128 × 128, without further training, fair CRPS is 0.20 % higher than at 64 × 64.'
    """
    change = 100 * (ratio - 1)
    direction = "higher" if change > 0 else "lower"
    found = "the same as" if abs(change) < 0.005 else f"{abs(change):.2f} % {direction} than"
    counted = f" ({times} times drawn on both)" if times else ""
    return f"At {fine}, without further training, fair CRPS is {found} at {coarse}{counted}."


def evidence_sentence(times: int, blocks: int, confidence: float) -> str:
    """Say what the intervals rest on and what they leave out.

    Example:
        >>> evidence_sentence(1, 1, 0.95).startswith("There are no intervals")
        True
    """
    if blocks < 2:
        return "There are no intervals: all times belong to one independent block."
    return (
        f"The {100 * confidence:g} % intervals rest on {blocks} independent blocks (trajectories, days) with {times} "
        "times in all. They leave out how another training with another seed would differ: this is one training."
    )
