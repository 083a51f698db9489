# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scorecards in ``scores.nc``: their sums by case, so that scores can be compared and merged without the samples."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.measures import Setting
from physicsnemo_fs.metrics.scorecard import Contribution, Scorecard
from physicsnemo_fs.metrics.statistics import Case, FieldSum

Stored = dict[str, dict[str, tuple[Scorecard, dict[Case, int]]]]
"""Scorecard and block of each case, by model and variable."""


def write_sums(group: netCDF4.Group, card: Scorecard, blocks: np.ndarray) -> None:
    """Write a scorecard's sums, for :func:`read_sums`; annual maxima and maps are not kept.

    Args:
        group: An empty group.
        card: The scorecard.
        blocks: Block of each of its cases.
    """
    group.createDimension("case", len(card.cases))
    group.setncattr("card", json.dumps(_description(card)))
    columns = {"region": card.regions, "time": card.times.astype(np.int64), "lead": card.leads, "block": blocks}
    for name, values in columns.items():
        group.createVariable(name, values.dtype, ("case",))[:] = values
    for number, area in enumerate(card.areas):
        inner = group.createGroup(f"area_{number}")
        inner.setncattr("area", area)
        for name, statistic in card.statistics_of(area).items():
            _write_statistic(inner.createGroup(name), statistic.sums, statistic.weights, statistic.missing)


def _write_statistic(group: netCDF4.Group, sums: np.ndarray, weights: np.ndarray, missing: np.ndarray) -> None:
    names = ["case"]
    for axis, size in enumerate(sums.shape[1:]):
        group.createDimension(f"axis_{axis}", size)
        names.append(f"axis_{axis}")
    group.createVariable("total", np.float64, names)[:] = sums
    group.createVariable("weight", np.float64, ("case",))[:] = weights
    group.createVariable("missing", np.int64, ("case",))[:] = missing


def _description(card: Scorecard) -> dict:
    grid = card.grid
    return {
        "members": card.members,
        "variable": card.variable,
        "unit": card.unit,
        "kmax": card.kmax,
        "setting": asdict(card.setting),
        "grid": {
            "shape": grid.shape,
            "extent": grid.extent,
            "origin": grid.origin,
            "registration": grid.registration,
            "boundary": grid.boundary,
            "unit": grid.unit,
        },
    }


def read_sums(path: Path) -> Stored:
    """Read the scorecards of ``scores.nc``.

    Raises:
        InputError: If the file is none of this project's scores.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    try:
        with netCDF4.Dataset(path) as dataset:
            if "models" not in dataset.groups:
                raise InputError(f"{path} must hold scores with a group 'models': it has {sorted(dataset.groups)}")
            groups = sorted(dataset["models"].groups.values(), key=lambda group: group.position)
            return {
                str(group.model): {name: _read_card(inner) for name, inner in group["sums"].groups.items()}
                for group in groups
            }
    except (OSError, RuntimeError, KeyError, IndexError) as error:
        raise InputError(f"{path} holds no scores that can be read ({error}); score the samples again") from error


def _read_card(group: netCDF4.Group) -> tuple[Scorecard, dict[Case, int]]:
    known: dict[str, Any] = json.loads(group.card)
    setting = Setting(**_tuples(known["setting"]))
    about = _tuples(known["grid"])
    areas = {inner.area: np.ones(about["shape"], dtype=bool) for inner in group.groups.values() if inner.area}
    options = {"variable": known["variable"], "unit": known["unit"], "kmax": known["kmax"]}
    card = Scorecard(Grid(**about), known["members"], areas=areas, setting=setting, **options)
    columns = [np.ma.getdata(group[name][:]) for name in ("region", "time", "lead", "block")]
    cases = [Case(int(region), int(time), float(lead)) for region, time, lead, _ in zip(*columns, strict=True)]
    sums: list[dict[tuple[str, str], FieldSum]] = [{} for _ in cases]
    for inner in group.groups.values():
        for name, statistic in inner.groups.items():
            total, weight, missing = (np.ma.getdata(statistic[part][:]) for part in ("total", "weight", "missing"))
            for place, entry in enumerate(sums):
                entry[inner.area, name] = FieldSum(total[place], float(weight[place]), int(missing[place]))
    for case, entry in zip(cases, sums, strict=True):
        card.take(case, Contribution(entry, {}))
    return card, {case: int(block) for case, block in zip(cases, columns[3], strict=True)}


def _tuples(record: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
