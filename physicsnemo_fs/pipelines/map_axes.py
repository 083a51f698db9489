# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Maps by cartopy (extra ``maps``): projections of grids, fields and coastlines on them; nothing is ever downloaded."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from physicsnemo_fs.data.types import Grid

RESOLUTIONS = ("50m", "110m", "10m")
"""Of Natural Earth's coastlines, the one for pictures of regions first."""
COASTLINES = "shapefiles/natural_earth/physical/ne_{resolution}_coastline.shp"
"""Where ``python -m cartopy.feature.download physical`` puts them, below cartopy's folder of data."""


def can_map(grid: Grid) -> bool:
    """Say whether fields on a grid can be drawn on maps: it has positions, and cartopy is installed."""
    return grid.latitude is not None and grid.longitude is not None and find_spec("cartopy") is not None


def map_axis(
    figure: Figure, place: tuple[int, int, int], field: Float[np.ndarray, "height width"], grid: Grid, **limits: Any
) -> Any:
    """Draw a field on a map of its own projection, with coastlines where their file is on this machine already.

    Args:
        figure: Where to draw.
        place: Rows, columns and number of the axis.
        field: The field.
        grid: Its grid, with latitudes and longitudes.
        limits: Colours and their ends.
    """
    import cartopy.crs as ccrs

    plate = ccrs.PlateCarree()
    axis: Any = figure.add_subplot(*place, projection=projection_of(grid))
    axis.pcolormesh(grid.longitude, grid.latitude, field, transform=plate, shading="nearest", **limits)
    axis.gridlines(linewidth=0.3, alpha=0.6)
    path = coastline_file()
    if path is not None:
        from cartopy.io.shapereader import Reader

        axis.add_geometries(Reader(path).geometries(), plate, facecolor="none", edgecolor="black", linewidth=0.5)
    return axis


def coastline_file() -> Path | None:
    """Give the file of coastlines that lies in cartopy's folders, or ``None``."""
    import cartopy

    folders = [cartopy.config[name] for name in ("pre_existing_data_dir", "data_dir")]
    places = (
        Path(folder) / COASTLINES.format(resolution=resolution)
        for folder in folders
        for resolution in RESOLUTIONS
        if str(folder) not in ("", ".")
    )
    return next((place for place in places if place.is_file()), None)


def projection_of(grid: Grid) -> Any:
    """Give the map projection of a grid: its own if it is Lambert's conformal conic, else longitude and latitude.

    Longitudes and latitudes are centred on the grid, so that a grid across the date line stays in one piece.
    """
    import cartopy.crs as ccrs

    known = grid.projection or {}
    if known.get("grid_mapping_name") != "lambert_conformal_conic":
        return ccrs.PlateCarree(central_longitude=_middle(np.asarray(grid.longitude)))
    parallels = np.atleast_1d(known.get("standard_parallel", (33.0, 45.0))).tolist()
    middle = (known.get("longitude_of_central_meridian", 0.0), known.get("latitude_of_projection_origin", 0.0))
    return ccrs.LambertConformal(*(float(np.ravel(value)[0]) for value in middle), standard_parallels=parallels)


def _middle(longitude: np.ndarray) -> float:
    """Give the middle of the arc that longitudes lie on, the circle without their widest gap.

    Example:
        >>> _middle(np.array([170.0, 175.0, -175.0, -170.0])), _middle(np.array([0.0, 10.0]))
        (180.0, 5.0)
    """
    ordered = np.unique(np.round(longitude % 360, 6))
    gaps = np.diff(np.append(ordered, ordered[0] + 360))
    start = ordered[(int(gaps.argmax()) + 1) % ordered.size]
    width = 360 - gaps.max()
    middle = (start + width / 2) % 360
    return float(middle if middle <= 180 else middle - 360)
