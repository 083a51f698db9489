# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The exact symmetries of Kolmogorov flow, as augmentations that stay on the grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.random import generator


@dataclass(frozen=True)
class KolmogorovSymmetry:
    r"""One element of the symmetry group of the flow forced by :math:`\sin(n y)` along x.

    It maps a solution :math:`\omega(y, x)` to a solution (Chandler and Kerswell 2013, J. Fluid Mech. 722,
    554-595, section 2.2), by these operations in turn:

    - rotation by pi, :math:`\omega(-y, -x)`, if ``rotate``;
    - ``half_periods`` times shift-and-reflect, :math:`-\omega(y - \pi / n, -x)`;
    - shift by ``columns`` nodes along x.

    Args:
        rotate: Whether to rotate by pi.
        half_periods: Shift along y in half periods of the force, 0 to ``2 n - 1``.
        columns: Shift along x in nodes of the grid that it is applied on.
    """

    rotate: bool = False
    half_periods: int = 0
    columns: int = 0

    @classmethod
    def draw(cls, key: int, grid: int, forcing_mode: int) -> "KolmogorovSymmetry":
        """Draw an element uniformly, as a function of the key alone.

        Example:
            >>> KolmogorovSymmetry.draw(5, 64, 4) == KolmogorovSymmetry.draw(5, 64, 4)
            True
        """
        uniform = torch.rand(3, generator=generator("kolmogorov-symmetry", key), dtype=torch.float64).tolist()
        rotate, half_periods, columns = (
            int(share * count) for share, count in zip(uniform, (2, 2 * forcing_mode, grid), strict=True)
        )
        return cls(bool(rotate), half_periods, columns)


def apply_symmetries(
    fields: Float[Tensor, "sample frame y x"], symmetries: Sequence[KolmogorovSymmetry], forcing_mode: int
) -> Float[Tensor, "sample frame y x"]:
    """Apply one symmetry to all frames of each sample; values are moved and negated, never interpolated.

    Raises:
        InputError: If half a period of the force is not a whole number of nodes.

    Example:
        >>> w = torch.arange(64.0).reshape(1, 1, 8, 8)
        >>> quarter = KolmogorovSymmetry(half_periods=2)
        >>> torch.equal(apply_symmetries(w, [quarter], 2), w.roll(4, -2))
        True
    """
    grid = fields.shape[-1]
    if grid % (2 * forcing_mode):
        raise InputError(
            f"augmentation needs a stored grid divisible by 2 * forcing_mode = {2 * forcing_mode}: got "
            f"{grid}; store another grid or switch augmentation off"
        )
    elements = torch.tensor([(s.rotate, s.half_periods, s.columns) for s in symmetries])
    rotation = 1 - 2 * elements[:, 0]
    reflection = 1 - 2 * (elements[:, 1] % 2)
    shift = elements[:, 1] * (grid // (2 * forcing_mode))
    nodes = torch.arange(grid)
    rows = (nodes - shift[:, None]) * rotation[:, None] % grid
    columns = (nodes - elements[:, 2:]) * (rotation * reflection)[:, None] % grid
    samples = torch.arange(len(fields))[:, None, None]
    moved = fields.transpose(0, 1)[:, samples, rows[:, :, None], columns[:, None, :]]
    return (moved * reflection[:, None, None]).transpose(0, 1).contiguous()
