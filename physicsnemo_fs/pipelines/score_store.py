# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scorecards in ``scores.nc``: their sums by case, so that scores can be compared and merged without the samples."""

import json
import math
from collections.abc import Mapping
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
"""Scorecard and label of the block of each case, by model and variable."""


def write_sums(group: netCDF4.Group, card: Scorecard, labels: Mapping[Case, int]) -> None:
    """Write all that a scorecard has summed, for :func:`read_sums`.

    Args:
        group: An empty group.
        card: The scorecard.
        labels: Block of each case.
    """
    group.createDimension("case", len(card.cases))
    group.setncattr("card", json.dumps(_description(card)))
    blocks = np.array([labels[case] for case in card.cases], dtype=np.int64)
    columns = {"region": card.regions, "time": card.times.astype(np.int64), "lead": card.leads, "block": blocks}
    for name, values in columns.items():
        group.createVariable(name, values.dtype, ("case",))[:] = values
    keys = [(area, name) for area in card.areas for name in card.statistics_of(area)]
    statistics = [card.statistics_of(area)[name] for area, name in keys]
    shapes = [statistic.sums.shape[1:] for statistic in statistics]
    group.setncattr("statistics", json.dumps([[*key, shape] for key, shape in zip(keys, shapes, strict=True)]))
    group.createDimension("statistic", len(keys))
    group.createDimension("value", sum(math.prod(shape) for shape in shapes))
    totals = np.concatenate([statistic.sums.reshape(len(card.cases), -1) for statistic in statistics], axis=1)
    group.createVariable("total", np.float64, ("case", "value"))[:] = totals
    for name, kind in (("weights", np.float64), ("missing", np.int64)):
        each = np.stack([getattr(statistic, name) for statistic in statistics], axis=1)
        group.createVariable(name, kind, ("case", "statistic"))[:] = each
    if card.maps.sums or card.maxima.fields:
        _write_fields(group, card)


def _write_fields(group: netCDF4.Group, card: Scorecard) -> None:
    for name, size in zip(("y", "x", "member"), (*card.grid.shape, 1 + card.members), strict=True):
        group.createDimension(name, size)
    packed: dict[str, Any] = {"compression": "zlib", "complevel": 1}
    for name, values in card.maps.sums.items():
        group.createVariable(f"map_{name}", np.int64, ("y", "x"), **packed)[:] = values
    for (region, year), fields in card.maxima.fields.items():
        variable = group.createVariable(f"maxima_{region}_{year}", np.float32, ("member", "y", "x"), **packed)
        variable.setncatts(
            {"region": region, "year": year, "comment": "largest values of the truth, then of the members"}
        )
        variable[:] = fields


def _description(card: Scorecard) -> dict:
    grid = card.grid
    return {
        "members": card.members,
        "variable": card.variable,
        "unit": card.unit,
        "kmax": card.kmax,
        "places": card.places,
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
    statistics = [(area, name, tuple(shape)) for area, name, shape in json.loads(group.statistics)]
    areas = {area: np.ones(about["shape"], dtype=bool) for area, _, _ in statistics if area}
    options = {"variable": known["variable"], "unit": known["unit"], "kmax": known["kmax"]}
    card = Scorecard(Grid(**about), known["members"], areas=areas, setting=setting, **options)
    card.places = known["places"]
    columns = [np.ma.getdata(group[name][:]) for name in ("region", "time", "lead", "block")]
    cases = [Case(int(region), int(time), float(lead)) for region, time, lead, _ in zip(*columns, strict=True)]
    total, weight, missing = (np.ma.getdata(group[name][:]) for name in ("total", "weights", "missing"))
    ends = np.cumsum([0, *(math.prod(shape) for _, _, shape in statistics)])
    for place, case in enumerate(cases):
        sums = {
            (area, name): FieldSum(
                total[place, ends[i] : ends[i + 1]].reshape(shape), float(weight[place, i]), int(missing[place, i])
            )
            for i, (area, name, shape) in enumerate(statistics)
        }
        card.take(case, Contribution(sums, {}))
    _read_fields(group, card)
    return card, {case: int(block) for case, block in zip(cases, columns[3], strict=True)}


def _read_fields(group: netCDF4.Group, card: Scorecard) -> None:
    maps = {name[4:]: np.ma.getdata(v[:]) for name, v in group.variables.items() if name.startswith("map_")}
    card.maps = card.maps.plus(maps)
    for name, variable in group.variables.items():
        if name.startswith("maxima_"):
            card.maxima.fields[int(variable.region), int(variable.year)] = np.ma.getdata(variable[:])


def _tuples(record: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
