# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The map projection of the High-Resolution Rapid Refresh (HRRR) model, and grids that are regular on it."""

import math

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError

RADIUS = 6371229.0
STANDARD_LATITUDE = 38.5
CENTRAL_LONGITUDE = 262.5
HRRR_PROJECTION = {
    "grid_mapping_name": "lambert_conformal_conic",
    "standard_parallel": [STANDARD_LATITUDE, STANDARD_LATITUDE],
    "latitude_of_projection_origin": STANDARD_LATITUDE,
    "longitude_of_central_meridian": CENTRAL_LONGITUDE,
    "false_easting": 0.0,
    "false_northing": 0.0,
    "earth_radius": RADIUS,
}
"""CF grid-mapping attributes."""

TOLERANCE = 0.05
"""Largest distance of a point from its place, in spacings."""


def project(
    latitude: Float[np.ndarray, "*place"], longitude: Float[np.ndarray, "*place"]
) -> tuple[Float[np.ndarray, "*place"], Float[np.ndarray, "*place"]]:
    r"""Give ``(y, x)`` in metres of places on the sphere, in HRRR's Lambert conformal conic projection.

    .. math:: x = \rho \sin \theta, \quad y = R \cot \varphi_0 - \rho \cos \theta, \quad
        \theta = (\lambda - \lambda_0) \sin \varphi_0, \quad
        \rho = R \cot \varphi_0 \left(
        \frac{\tan(\pi/4 + \varphi_0/2)}{\tan(\pi/4 + \varphi/2)} \right)^{\sin \varphi_0}

    Example:
        >>> y, x = project(np.array([38.5, 21.138123]), np.array([-97.5, 237.280472]))
        >>> [round(float(value) / 1000, 1) for value in (y[0], x[0], y[1], x[1])]
        [0.0, 0.0, -1587.3, -2697.5]

    Source: Snyder, "Map projections: a working manual", US Geological Survey Professional Paper 1395, 1987, section 15.
    """
    origin = math.radians(STANDARD_LATITUDE)
    cone = math.sin(origin)
    turned = (longitude - CENTRAL_LONGITUDE + 180) % 360 - 180
    ratio = math.tan(math.pi / 4 + origin / 2) / np.tan(np.pi / 4 + np.radians(latitude) / 2)
    distance = RADIUS / math.tan(origin) * ratio**cone
    angle = np.radians(turned) * cone
    return RADIUS / math.tan(origin) - distance * np.cos(angle), distance * np.sin(angle)


def hrrr_grid(latitude: Float[np.ndarray, "y x"], longitude: Float[np.ndarray, "y x"]) -> Grid:
    """Give the grid of points that are regular on HRRR's projection, rows and columns ascending.

    Args:
        latitude: Degrees north of each point.
        longitude: Degrees east.

    Raises:
        InputError: If the points are not regular there.
    """
    y, x = project(latitude, longitude)
    rows, columns = (axis[None].T if k == 0 else axis[None] for k, axis in enumerate((_regular(y, 0), _regular(x, 1))))
    dy, dx = float(rows[1, 0] - rows[0, 0]), float(columns[0, 1] - columns[0, 0])
    off = max(np.abs(y - rows).max() / abs(dy), np.abs(x - columns).max() / abs(dx))
    if off > TOLERANCE or dy < 0 or dx < 0:
        raise InputError(
            f"latitude and longitude must be HRRR's, rows from south to north: points are up to {off:.2g} spacings off "
            "its Lambert grid; give the published files"
        )
    height, width = latitude.shape
    return Grid(
        (height, width),
        (height * dy, width * dx),
        (float(rows[0, 0]) - dy / 2, float(columns[0, 0]) - dx / 2),
        registration="cell",
        boundary="bounded",
        unit="m",
        latitude=latitude,
        longitude=longitude,
        projection=HRRR_PROJECTION,
    )


def _regular(coordinate: np.ndarray, axis: int) -> Float[np.ndarray, " point"]:
    along = coordinate.mean(axis=1 - axis)
    return np.linspace(along[0], along[-1], len(along))
