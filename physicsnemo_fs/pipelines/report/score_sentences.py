# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What scores mean, in words a forecaster uses: too wet, too warm, too few extremes, unreliable."""

import math
import re

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.metrics.bootstrap import Interval
from physicsnemo_fs.metrics.events import event_ratio, reliability_error, roc_area
from physicsnemo_fs.pipelines.numerals import interval_text, number

WORDS = (
    (re.compile(r"precip|rain|\btp\b|humidity|snow", re.IGNORECASE), ("wet", "dry")),
    (re.compile(r"temperature|\bt2m\b", re.IGNORECASE), ("warm", "cold")),
    (re.compile(r"wind speed|\bws\b", re.IGNORECASE), ("strong", "weak")),
)
TAIL = 0.001
FAIR_SHARE = 0.9
RELIABLE = 0.1
"""Largest calibration error, as a share of how often the event happens, that counts as reliable."""


def _sides(name: str, variable: str) -> tuple[str, str]:
    text = f"{name} {variable}"
    return next((words for pattern, words in WORDS if pattern.search(text)), ("high", "low"))


def bias_sentence(bias: Interval, name: str, variable: str, unit: str) -> str:
    """Say whether the forecast is biased, and to which side.

    Args:
        bias: Mean error of the ensemble mean.
        name: Long name of the variable.
        variable: Its short name.
        unit: Its unit, or empty.

    Example:
        >>> bias_sentence(Interval(0.3, 0.2, 0.4, 9), "2 m temperature", "t2m", "K")
        'On average it is too warm, by 0.300 K (interval 0.200–0.400).'
    """
    if math.isnan(bias.estimate):
        return ""
    size = f"{number(abs(bias.estimate))} {unit}".strip()
    if math.isnan(bias.low):
        return f"Its mean error is {number(bias.estimate)} {unit}".strip() + "; one block gives no interval."
    text = interval_text(bias)
    if bias.low <= 0 <= bias.high:
        return f"There is no bias to be seen: the mean error {number(bias.estimate)} {unit} has the interval {text}."
    side = _sides(name, variable)[0 if bias.estimate > 0 else 1]
    return f"On average it is too {side}, by {size} (interval {text})."


def dispersion_sentence(share: Float[np.ndarray, " rank"]) -> str:
    """Say what the shape of the rank histogram means.

    Args:
        share: Share of each rank of the truth.

    Example:
        >>> dispersion_sentence(np.array([0.4, 0.2, 0.4]))[:62]
        'The rank histogram is a bowl: the ensemble is under-dispersive'
    """
    flat = 1 / share.size
    low, high, middle = share[0] / flat, share[-1] / flat, share[1:-1].mean() / flat if share.size > 2 else 1.0
    if min(low, high) > 1.25 * middle:
        return "The rank histogram is a bowl: the ensemble is under-dispersive, the truth too often beyond all members."
    if max(low, high) < 0.8 * middle:
        return "The rank histogram is a dome: the ensemble is over-dispersive, its members too far apart."
    if max(low, high) > 1.5 * min(low, high):
        side = "below" if low > high else "above"
        return f"The rank histogram slopes: the truth is too often {side} all members, which a bias does."
    return ""


def tail_sentence(
    values: Float[np.ndarray, " bin"],
    share: Float[np.ndarray, " bin"],
    truth: Float[np.ndarray, " bin"],
    unit: str,
) -> str:
    """Say whether the largest values come as often as in the truth.

    Args:
        values: Middle of each bin.
        share: Share of the members' values in each.
        truth: Share of the truth's.
        unit: Unit of the values, or empty.

    Example:
        >>> tail_sentence(np.array([0.0, 1.0, 2.0]), np.array([0.9, 0.1, 0.0]), np.array([0.99, 0.0095, 0.0005]), "mm")
        'Values above 1.50 mm, the most extreme 0.05 % of the truth, the members have 0.000 times as often.'
    """
    beyond = np.cumsum(truth[::-1])[::-1]
    found = np.flatnonzero(beyond <= TAIL)
    found = found[beyond[found] > 0]
    if not found.size:
        return ""
    first = int(found[0])
    edge = values[first] - (values[1] - values[0]) / 2
    often = share[first:].sum() / beyond[first]
    rare = f"Values above {number(edge)} {unit}".rstrip()
    tail = f", the most extreme {100 * beyond[first]:.2g} % of the truth, the members have "
    if FAIR_SHARE <= often <= 1 / FAIR_SHARE:
        return f"{rare}{tail}about as often ({often:.2f} times)."
    return f"{rare}{tail}{often:.3f} times as often."


def event_sentence(label: str, table: Float[np.ndarray, "count 2"]) -> str:
    """Say whether an event is forecast as often as it happens, reliably, and told apart.

    Args:
        label: The event, such as ``above 10 mm``.
        table: Its table of forecasts and occurrences.

    Example:
        >>> event_sentence("above 1 mm", np.array([[0.8, 0.0], [0.2, 0.2]]))
        'Events above 1 mm: forecast about as often as they happen, reliably (calibration error 0, ROC area 1.00).'
    """
    if not table[:, 1].sum() > 0:
        return f"Events {label} never happen in these data."
    ratio, error, area = float(event_ratio(table)), float(reliability_error(table)), float(roc_area(table))
    often = "about as often as they happen" if 0.9 <= ratio <= 1.1 else f"{ratio:.2f} times as often as they happen"
    base = table[:, 1].sum() / table[:, 0].sum()
    reliable = "reliably" if error <= RELIABLE * max(base, 0.05) else "not quite reliably"
    told = f"calibration error {number(error, 2)}, ROC area {area:.2f}"
    return f"Events {label}: forecast {often}, {reliable} ({told})."
