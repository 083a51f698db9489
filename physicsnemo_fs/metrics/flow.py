# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Scores of two-dimensional flow: energy and enstrophy by scale, from vorticity.

With :math:`P_\omega(j)` the power of vorticity in shell j and :math:`\kappa_j` its angular wavenumber,

.. math:: Z(j) = \tfrac12 P_\omega(j), \qquad E(j) = \tfrac12 P_\omega(j) / \kappa_j^2 .
"""

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.data.types import Grid


def vorticity(
    u: Float[np.ndarray, "*lead height width"], v: Float[np.ndarray, "*lead height width"], grid: Grid
) -> Float[np.ndarray, "*lead height width"]:
    r"""Give :math:`\partial_x v - \partial_y u`, exact for band-limited fields on a torus.

    On bounded grids it comes from central differences, one-sided at the edges.

    Args:
        u: Velocity along x.
        v: Velocity along y, in the same unit.
        grid: Their grid; rows ascend.

    Returns:
        Unit of velocity over unit of the grid; NaN spreads to neighbours, on a torus to everything.

    Example:
        >>> grid = Grid((16, 16), (2 * np.pi, 2 * np.pi))
        >>> zeros = np.zeros(grid.shape)
        >>> found = vorticity(zeros, zeros + np.sin(grid.x), grid)
        >>> bool(np.allclose(found, np.cos(grid.x)))
        True
    """
    if grid.boundary == "periodic":
        return _derivative(v, grid, -1) - _derivative(u, grid, -2)
    dy, dx = grid.spacing
    return np.gradient(v, dx, axis=-1) - np.gradient(u, dy, axis=-2)


def _derivative(field: np.ndarray, grid: Grid, axis: int) -> np.ndarray:
    size, length = grid.shape[axis], grid.extent[axis]
    wavenumber = 2 * np.pi * np.fft.rfftfreq(size, length / size)
    if size % 2 == 0:
        wavenumber[-1] = 0.0  # the derivative of the Nyquist mode is not on the grid
    shape = (-1, 1) if axis == -2 else (-1,)
    factor = 1j * wavenumber.reshape(shape)
    return np.fft.irfft(np.fft.rfft(field, axis=axis) * factor, size, axis=axis)


def enstrophy_spectrum(power: Float[np.ndarray, "*lead shell"]) -> Float[np.ndarray, "*lead shell"]:
    """Give the enstrophy in each shell from the power of vorticity, in its unit squared.

    Example:
        >>> enstrophy_spectrum(np.array([0.0, 2.0])).tolist()
        [0.0, 1.0]
    """
    return power / 2


def energy_spectrum(
    power: Float[np.ndarray, "*lead shell"], wavenumber: Float[np.ndarray, " shell"]
) -> Float[np.ndarray, "*lead shell"]:
    """Give the kinetic energy in each shell from the power of vorticity; shell 0 (the mean flow) is not known: 0.

    Args:
        power: Power of vorticity.
        wavenumber: Cycles per unit length of each shell, from 0.

    Example:
        >>> energy_spectrum(np.array([1.0, 2.0]), np.array([0.0, 1 / (2 * np.pi)])).round(12).tolist()
        [0.0, 1.0]
    """
    angular = 2 * np.pi * wavenumber
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(angular > 0, power / 2 / angular**2, 0.0)
