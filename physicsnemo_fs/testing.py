# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Comparisons by relative error, for tests."""

import numpy as np
import torch


def relative_error(actual, expected) -> float:
    r"""Give the relative L2 error :math:`\|a - e\| / \|e\|` in float64.

    Example:
        >>> relative_error(torch.tensor([1.0, 1.1]), torch.tensor([1.0, 1.0])) < 0.08
        True
    """
    a, e = (
        np.asarray(v.detach().cpu() if isinstance(v, torch.Tensor) else v, dtype=np.float64) for v in (actual, expected)
    )
    if a.shape != e.shape:
        raise AssertionError(f"shapes must agree: got {a.shape} and {e.shape}")
    return float(np.linalg.norm(a - e) / max(np.linalg.norm(e), np.finfo(np.float64).tiny))


def assert_close(actual, expected, tolerance: float) -> None:
    """Raise AssertionError if the relative L2 error exceeds ``tolerance`` or is NaN."""
    error = relative_error(actual, expected)
    if not error <= tolerance:
        raise AssertionError(f"relative L2 error {error:.3e} exceeds {tolerance:.1e}")
