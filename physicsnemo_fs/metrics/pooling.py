# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Fields averaged, or their largest value taken, over blocks of points.

A forecast with the right rain a few points off is punished twice by scores at points. Scores of pooled fields
say from which scale on it is right (mean pooling), and whether it has the peaks (max pooling): the "pooled CRPS"
of Ravuri et al. (2021, doi:10.1038/s41586-021-03854-z).
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.errors import InputError

Pooling = Literal["mean", "max"]


def pool(
    fields: Float[np.ndarray, "*lead height width"], size: int, kind: Pooling
) -> Float[np.ndarray, "*lead rows columns"]:
    """Pool over blocks of ``size`` by ``size`` points; what does not fill a block at the far edges is left out.

    Args:
        fields: Values; a NaN makes its block NaN.
        size: Points along the side of a block.
        kind: ``"mean"`` (in float64) or ``"max"``.

    Raises:
        InputError: If a block is larger than the field.

    Example:
        >>> field = np.arange(8.0).reshape(2, 4)
        >>> pool(field, 2, "mean").tolist(), pool(field, 2, "max").tolist()
        ([[2.5, 4.5]], [[5.0, 7.0]])
    """
    height, width = fields.shape[-2:]
    if not 1 <= size <= min(height, width):
        raise InputError(f"a block must have 1 to {min(height, width)} points a side on this grid: got {size}")
    if size == 1:
        return fields
    rows, columns = height // size, width // size
    inside = fields[..., : rows * size, : columns * size]
    reduce, kept = (np.add, np.float64) if kind == "mean" else (np.maximum, fields.dtype)
    # Whole rows first: contiguous, and the second pass has that many fewer values.
    pooled = reduce.reduceat(inside, np.arange(0, rows * size, size), axis=-2, dtype=kept)
    pooled = reduce.reduceat(pooled, np.arange(0, columns * size, size), axis=-1)
    return pooled / size**2 if kind == "mean" else pooled
