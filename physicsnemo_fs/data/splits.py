# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which times are for training, validation and testing: whole blocks of time, or periods that are named."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, cast

import numpy as np
from jaxtyping import Int64, UInt8

from physicsnemo_fs.errors import InputError

Split = Literal["train", "validation", "test"]
LABELS: dict[str, int] = {"train": 0, "validation": 1, "test": 2}
"""Label of each split."""
UNUSED = 255
"""Label of a time in no split."""

GOLDEN_RATIO = (5.0**0.5 - 1.0) / 2.0
UNITS = {
    "s": "s",
    "min": "m",
    "h": "h",
    "hour": "h",
    "d": "D",
    "day": "D",
    "w": "W",
    "week": "W",
    "month": "M",
    "year": "Y",
}
FIRST_DAY, LAST_DAY = np.datetime64("1678-01-01"), np.datetime64("2262-01-01")
"""Ends of the whole years that 64 bits of nanoseconds hold."""
NO_GAP = np.timedelta64(0, "s")


def parse_duration(text: str) -> np.timedelta64:
    """Read a length of time: a count and ``s``, ``min``, ``h``, ``d``, ``w``, ``month`` or ``year``.

    Raises:
        InputError: If it is none.

    Example:
        >>> parse_duration("5d"), parse_duration("1 month")
        (np.timedelta64(5,'D'), np.timedelta64(1,'M'))
    """
    found = re.fullmatch(r"\s*(\d+)\s*([a-z]+)\s*", text.lower())
    name = found[2].rstrip("s") or "s" if found else ""
    if found is None or name not in UNITS:
        raise InputError(f"a duration must be a count and one of {', '.join(UNITS)}: got {text!r}; write 5d")
    unit = cast(Literal["s", "m", "h", "D", "W", "M", "Y"], UNITS[name])
    return np.timedelta64(int(found[1]), unit)


def require_fixed(duration: np.timedelta64, what: str) -> np.timedelta64:
    """Give a duration back, if it is always as long.

    Raises:
        InputError: If it is of months or years.

    Example:
        >>> require_fixed(parse_duration("2d"), "a gap")
        np.timedelta64(2,'D')
    """
    if np.datetime_data(duration)[0] in ("Y", "M"):
        raise InputError(f"{what} must be of one length: got {duration}, and months differ; write it in days")
    return duration


def parse_period(period: Sequence[str]) -> tuple[np.datetime64, np.datetime64]:
    """Read ``[start, end]`` in ISO 8601, both included to their own precision, as a half-open interval.

    Returns:
        First moment, and first moment after the period, ``datetime64[ns]``.

    Raises:
        InputError: If it is no pair of times, or the end comes before the start.

    Example:
        >>> parse_period(["2019-03", "2019-03-31"])
        (np.datetime64('2019-03-01T00:00:00.000000000'), np.datetime64('2019-04-01T00:00:00.000000000'))
    """
    try:
        start, end = (np.datetime64(str(moment)) for moment in period)
    except ValueError as error:
        raise InputError(
            f"a period must be [start, end] in ISO 8601: got {list(period)}; write for example [2019-03, 2019-05-15]"
        ) from error
    first, last = _within_nanoseconds(start), _within_nanoseconds(end + 1)
    if np.isnat(first) or np.isnat(last) or first >= last:
        raise InputError(f"a period must end after it starts: got {list(period)}; exchange or correct the times")
    return first, last


def _within_nanoseconds(moment: np.datetime64) -> np.datetime64:
    """Give a moment in nanoseconds since 1970, the first or last of them if it lies beyond."""
    day = moment.astype("datetime64[D]")
    return (moment if FIRST_DAY < day < LAST_DAY else np.clip(day, FIRST_DAY, LAST_DAY)).astype("datetime64[ns]")


def within(times: np.ndarray, period: Sequence[str]) -> np.ndarray:
    """Give which times lie in ``[start, end]``, boolean, shape of ``times``."""
    first, last = parse_period(period)
    return (times >= first) & (times < last)


def block_numbers(times: np.ndarray, block: np.timedelta64) -> Int64[np.ndarray, " time"]:
    """Number the block of length ``block`` that each time lies in, counted from 1970-01-01.

    Times of one block are taken to depend on each other. A block has the same number in every file.

    Args:
        times: ``datetime64[ns]``, shape ``(time,)``.
        block: Positive length, in fixed units or in calendar months or years.

    Raises:
        InputError: If ``block`` is not positive.

    Example:
        >>> times = np.array(["1970-01-01T06", "1970-01-04", "1970-02-01"], "datetime64[ns]")
        >>> block_numbers(times, np.timedelta64(2, "D")).tolist(), block_numbers(times, np.timedelta64(1, "M")).tolist()
        ([0, 1, 15], [0, 0, 1])
    """
    unit, _ = np.datetime_data(block)
    length = int(block.astype(np.int64))
    if length < 1:
        raise InputError(f"a block of time must have positive length: got {block}; write for example 5d")
    if unit not in ("M", "Y"):
        unit, length = "ns", int(block.astype("timedelta64[ns]").astype(np.int64))
    return times.astype(f"datetime64[{unit}]").astype(np.int64) // length


def split_by_blocks(
    times: np.ndarray,
    block: np.timedelta64,
    validation: float = 0.1,
    test: float = 0.1,
    gap: np.timedelta64 = NO_GAP,
) -> UInt8[np.ndarray, " time"]:
    r"""Label each time by the block that it lies in; whole blocks are held out, spread evenly over the record.

    Blocks, numbered :math:`b` by :func:`block_numbers`, are ranked by :math:`(b\,\varphi) \bmod 1` with the golden
    ratio :math:`\varphi`: any share of the lowest ranks is spread as evenly as possible over the years, and more data
    moves few blocks from one split to another. The lowest are for testing, the next for validation.

    Args:
        times: ``datetime64[ns]``, increasing, shape ``(time,)``.
        block: Length of a block.
        validation: Share of the blocks for validation; at least one block unless 0.
        test: Share of the blocks for testing; at least one block unless 0.
        gap: Training times closer than this to a held-out time are not used, nor validation times closer to a test
            time.

    Returns:
        0 for training, 1 for validation, 2 for testing, 255 for unused.

    Raises:
        InputError: If the shares are not fractions, or a split that is asked for stays empty.

    Example:
        >>> days = np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]").astype("datetime64[ns]")
        >>> split_by_blocks(days, np.timedelta64(1, "D"), validation=0.2, test=0.2).tolist()
        [0, 1, 0, 0, 2, 0, 1, 0, 0, 2]
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise InputError(
            f"shares of validation and test must be at least 0 and leave blocks for training: got {validation} and "
            f"{test}; reduce them"
        )
    numbers = block_numbers(times, block)
    blocks = np.unique(numbers)
    ranked = blocks[np.argsort((blocks * GOLDEN_RATIO) % 1.0, kind="stable")]
    tests, validations = (max(1, round(share * len(blocks))) if share else 0 for share in (test, validation))
    labels = np.full(len(times), LABELS["train"], np.uint8)
    labels[np.isin(numbers, ranked[:tests])] = LABELS["test"]
    labels[np.isin(numbers, ranked[tests : tests + validations])] = LABELS["validation"]
    labels = _apart(times, labels, gap)
    wanted = {"train": True, "validation": validation > 0, "test": test > 0}
    _check_filled(labels, [split for split, asked in wanted.items() if asked], f"{len(blocks)} blocks of {block}")
    return labels


def split_by_periods(
    times: np.ndarray,
    periods: Mapping[str, Sequence[Sequence[str]]],
    gap: np.timedelta64 = NO_GAP,
) -> UInt8[np.ndarray, " time"]:
    """Label each time by the named period that it lies in.

    Args:
        times: ``datetime64[ns]``, increasing, shape ``(time,)``.
        periods: Pairs ``[start, end]`` of each split, see :func:`parse_period`.
        gap: As in :func:`split_by_blocks`.

    Returns:
        0 for training, 1 for validation, 2 for testing, 255 for unused.

    Raises:
        InputError: If a split is unknown or holds no time, or periods of two splits overlap.

    Example:
        >>> days = np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]").astype("datetime64[ns]")
        >>> periods = {"train": [["2020-01-01", "2020-01-02"]], "test": [["2020-01-04", "2020"]]}
        >>> split_by_periods(days, periods).tolist()
        [0, 0, 255, 2]
    """
    labels = np.full(len(times), UNUSED, np.uint8)
    for split, pairs in periods.items():
        if split not in LABELS:
            raise InputError(f"a split must be one of {', '.join(LABELS)}: got {split!r}; rename it")
        for pair in pairs if isinstance(pairs, Sequence) else [pairs]:
            if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
                raise InputError(f"periods of {split} must be pairs [start, end]: got {pairs!r}; write [[2019, 2020]]")
            chosen = within(times, pair)
            taken = chosen & (labels != UNUSED) & (labels != LABELS[split])
            if taken.any():
                raise InputError(
                    f"periods of different splits must not overlap: {list(pair)} of {split} holds {times[taken][0]} of "
                    "another; shorten one"
                )
            labels[chosen] = LABELS[split]
    labels = _apart(times, labels, gap)
    _check_filled(labels, [split for split, pairs in periods.items() if len(pairs)], "the periods")
    return labels


def positions_of(labels: UInt8[np.ndarray, " time"], split: str) -> Int64[np.ndarray, " chosen"]:
    """Give the positions of the times that carry a split's label.

    Raises:
        InputError: If there are none.

    Example:
        >>> positions_of(np.array([0, 2, 0], np.uint8), "train").tolist()
        [0, 2]
    """
    _check_filled(labels, [split], "the record")
    return np.flatnonzero(labels == LABELS[split])


def own_windows(labels: UInt8[np.ndarray, " time"], split: str, window_size: int) -> Int64[np.ndarray, " sample"]:
    """Give the times of a split; in training without those that have a held-out time among the frames beside them.

    Args:
        labels: Split of each time.
        split: Which.
        window_size: Frames on either side of a sample's own.

    Example:
        >>> own_windows(np.array([0, 0, 0, 2, 0], np.uint8), "train", 1).tolist()
        [0, 1]
    """
    chosen = positions_of(labels, split)
    if split != "train" or not window_size:
        return chosen
    held_out = np.flatnonzero((labels != LABELS["train"]) & (labels != UNUSED))
    near = (np.abs(chosen[:, None] - held_out[None, :]) <= window_size).any(axis=1)
    if near.all():
        raise InputError("no training window is free of held-out times: reduce window_size or give longer blocks")
    return chosen[~near]


def _apart(times: np.ndarray, labels: np.ndarray, gap: np.timedelta64) -> np.ndarray:
    gap = require_fixed(gap, "a gap")
    apart = labels.copy()
    for split, held_out in (("train", ("validation", "test")), ("validation", ("test",))):
        others = times[np.isin(labels, [LABELS[name] for name in held_out])]
        if len(others):
            apart[(labels == LABELS[split]) & (_distance(times, others) < gap)] = UNUSED
    return apart


def _distance(times: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Give how far each time is from the nearest of some sorted others."""
    after = np.searchsorted(others, times).clip(0, len(others) - 1)
    before = (after - 1).clip(0)
    return np.minimum(np.abs(others[after] - times), np.abs(others[before] - times))


def _check_filled(labels: np.ndarray, splits: Sequence[str], where: str) -> None:
    for split in splits:
        if not (labels == LABELS[split]).any():
            raise InputError(
                f"the {split} split must hold a time: {where} leave none of {len(labels)} times for it; give shorter "
                "blocks, a shorter gap, or other periods"
            )
