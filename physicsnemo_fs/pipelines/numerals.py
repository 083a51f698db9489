# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Numbers, units and durations as a reader expects them."""

import math
import re

from physicsnemo_fs.metrics.bootstrap import Interval

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LARGEST_PLAIN, SMALLEST_PLAIN = 1e5, 1e-3
MOST_DIGITS = 6


def number(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits, very small and large ones as powers of ten.

    Example:
        >>> number(0.0671234), number(6.1e-7), number(float("nan"))
        ('0.0671', '6.1 × 10⁻⁷', '–')
    """
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if not SMALLEST_PLAIN <= abs(value) < LARGEST_PLAIN:
        mantissa, exponent = f"{value:.{min(digits, 2) - 1}e}".split("e")
        return f"{mantissa} × 10{str(int(exponent)).translate(RAISED)}".replace("-", "−")
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:.{decimals}f}".replace("-", "−")


def interval_text(interval: Interval, digits: int = 3) -> str:
    """Write the ends of an interval, or nothing if there is none, with enough digits to tell them apart.

    Example:
        >>> interval_text(Interval(0.97, 0.95, 0.99, 8))
        '0.950–0.990'
    """
    low, high = interval.low, interval.high
    if math.isnan(low):
        return ""
    while number(low, digits) == number(high, digits) and digits < MOST_DIGITS:
        digits += 1
    between = " to " if low < 0 else "–"
    return f"{number(low, digits)}{between}{number(high, digits)}"


def unit_text(unit: str) -> str:
    """Write a unit with raised exponents; nothing for a dimensionless one.

    Example:
        >>> unit_text("kg m-2 s-1"), unit_text("1")
        ('kg m⁻² s⁻¹', '')
    """
    return "" if unit == "1" else re.sub(r"(?<=[A-Za-z])-?\d+", lambda found: found[0].translate(RAISED), unit)


def duration(seconds: float) -> str:
    """Write a duration.

    Example:
        >>> duration(4.21), duration(222), duration(3725)
        ('4.2 s', '3 min 42 s', '1 h 2 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size_text(size: float) -> str:
    """Write a number of bytes.

    Example:
        >>> size_text(2_500_000)
        '2.5 MB'
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.3g} {unit}"
