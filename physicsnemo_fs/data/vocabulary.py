# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Names and units that earth2studio gives to variables, and conversions to those units."""

from dataclasses import dataclass

LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
ON_LEVELS = {
    "u": "m s-1",
    "v": "m s-1",
    "w": "Pa s-1",
    "z": "m2 s-2",
    "t": "K",
    "r": "%",
    "q": "kg kg-1",
    "pv": "K m2 kg-1 s-1",
}
WIND_SPEED_LEVELS = tuple(level for level in LEVELS if level not in (50, 150, 250))
NEAR_SURFACE = {
    "m s-1": "u10m v10m ws10m u100m v100m fg10m i10fg zust",
    "K": "t2m d2m sst skt stl1 stl2 stl3 stl4",
    "%": "r2m snowc",
    "kg kg-1": "q2m",
    "Pa": "sp msl pres",
    "kg m-2": "tcwv tclw tciw tcw sf ro",
    "m": "tp lsp cp fsr smlt tp01 tp06 tp12 tp24 tp1h cp06 ro06 sf06 sf1h sd sde blh cth cbh swh",
    "kg m-2 s-1": "tpf ie",
    "mm h-1": "tprate",
    "dB": "refc",
    "J kg-1": "cape",
    "J m-2": "fdir ttr ttr03 slhf ssr ssrd ssrd06 ssrd1h strd strd06 tisr tsr",
    "W m-2": "rlut rsut rsds",
    "1": "sic tcc hcc mcc lcc lsm salb csnow cicep cfrzr crain uvcossza ptype",
    "m2 s-2": "z",
}
UNITS = {
    **{name: unit for unit, names in NEAR_SURFACE.items() for name in names.split()},
    **{f"{name}{level}": unit for name, unit in ON_LEVELS.items() for level in LEVELS},
    **{f"ws{level}": "m s-1" for level in WIND_SPEED_LEVELS},
}
"""Unit by name: the names of weather that earth2studio 0.19 knows."""


@dataclass(frozen=True)
class Conversion:
    """Change of unit, ``scale * value + offset``.

    Args:
        scale: Factor; positive.
        offset: What is added after it.

    Example:
        >>> Conversion(1.0, 273.15)(1.0)
        274.15
    """

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, value):
        """Give values in the new unit."""
        return value if self == Conversion() else value * self.scale + self.offset

    def undo(self, value):
        """Give values in the old unit."""
        return value if self == Conversion() else (value - self.offset) / self.scale


SPELLINGS = {
    "m/s": "m s-1",
    "m s**-1": "m s-1",
    "m/s**2": "m s-2",
    "kg/kg": "kg kg-1",
    "kg kg**-1": "kg kg-1",
    "m**2 s**-2": "m2 s-2",
    "m^2/s^2": "m2 s-2",
    "J m**-2": "J m-2",
    "J/m^2": "J m-2",
    "W/m^2": "W m-2",
    "W m**-2": "W m-2",
    "kg m**-2": "kg m-2",
    "kg/m^2": "kg m-2",
    "kg m**-2 s**-1": "kg m-2 s-1",
    "Pa s**-1": "Pa s-1",
    "J kg**-1": "J kg-1",
    "mm/h": "mm h-1",
    "mm/hr": "mm h-1",
    "mm hr-1": "mm h-1",
    "kelvin": "K",
    "Kelvin": "K",
    "degK": "K",
    "Kelvins": "K",
    "kg/m2": "kg m-2",
    "J/m2": "J m-2",
    "W/m2": "W m-2",
    "W/m**2": "W m-2",
    "J/kg": "J kg-1",
    "mm hour-1": "mm h-1",
    "mm/hour": "mm h-1",
    "millibar": "hPa",
    "millibars": "hPa",
    "degC": "Celsius",
    "°C": "Celsius",
    "celsius": "Celsius",
    **dict.fromkeys(("degrees_Celsius", "degree_Celsius", "degree_celsius", "deg C", "deg_C"), "Celsius"),
    "percent": "%",
    "dBZ": "dB",
    "(0 - 1)": "1",
    "(0-1)": "1",
    "fraction": "1",
    "dimensionless": "1",
    "gpm": "geopotential m",
    "metres": "m",
    "meters": "m",
    "hectopascals": "hPa",
    "mbar": "hPa",
}
GRAVITY = 9.80665
CONVERSIONS = {
    ("Celsius", "K"): Conversion(1.0, 273.15),
    ("hPa", "Pa"): Conversion(100.0),
    ("%", "1"): Conversion(0.01),
    ("1", "%"): Conversion(100.0),
    ("mm", "m"): Conversion(1e-3),
    ("kg m-2", "m"): Conversion(1e-3),
    ("m", "kg m-2"): Conversion(1e3),
    ("mm", "kg m-2"): Conversion(1.0),
    ("cm", "m"): Conversion(1e-2),
    ("km", "m"): Conversion(1e3),
    ("g kg-1", "kg kg-1"): Conversion(1e-3),
    ("geopotential m", "m2 s-2"): Conversion(GRAVITY),
    ("km h-1", "m s-1"): Conversion(1 / 3.6),
    ("kg m-2 s-1", "mm h-1"): Conversion(3600.0),
    ("mm h-1", "kg m-2 s-1"): Conversion(1 / 3600.0),
}


def same_unit(unit: str) -> str:
    """Give the spelling of a unit that this table uses.

    Example:
        >>> same_unit("m s**-1"), same_unit("K")
        ('m s-1', 'K')
    """
    return SPELLINGS.get(unit.strip(), unit.strip())


def conversion(unit: str, wanted: str) -> Conversion | None:
    """Give the change from one unit to another, ``None`` if it is not known.

    Example:
        >>> conversion("mm", "m"), conversion("K", "m")
        (Conversion(scale=0.001, offset=0.0), None)
    """
    old, new = same_unit(unit), same_unit(wanted)
    return Conversion() if old == new else CONVERSIONS.get((old, new))
