# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""From raw files to a training store: what ``physicsnemo-fs build`` does."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from tqdm import tqdm

from physicsnemo_fs.config.build import BuildConfig, SourceConfig
from physicsnemo_fs.data.builder.places import Region
from physicsnemo_fs.data.builder.plan import Plan, Recipe, TimeSplits, make_plan
from physicsnemo_fs.data.builder.regrid import Method
from physicsnemo_fs.data.builder.run import build_store
from physicsnemo_fs.data.fields.gridded import open_fields
from physicsnemo_fs.data.splits import LABELS, UNUSED, parse_duration
from physicsnemo_fs.data.types import Channel, Fields
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.executors import Engine, open_executor
from physicsnemo_fs.pipelines.numerals import size_text

NOT_CONTENT = ("output", "executor", "workers", "dask_address", "dry_run", "picture")
DESCRIPTION = ("unit", "long_name", "standard_name")


def build(config: BuildConfig) -> Path | None:
    """Build a store, or say what would be built.

    Returns:
        The store's folder; ``None`` after a dry run and on MPI ranks that only worked.

    Raises:
        InputError: If sources, regions, times or variables do not fit, or the output holds something else.
    """
    if config.dry_run:
        print(describe(plan_of(config)))  # noqa: T201
        return None
    with open_executor(cast(Engine, config.executor), config.workers, config.dask_address) as executor:
        if executor is None:
            return None
        plan = plan_of(config)
        content = {name: value for name, value in asdict(config).items() if name not in NOT_CONTENT}
        sources = [path.resolve() for fields in (plan.fine, plan.coarse, plan.invariants) for path in _paths(fields)]
        with _bar(f"building {Path(config.output).name}") as progress:
            path = build_store(config.output, plan, executor, content, sources, progress)
    print(describe(plan))  # noqa: T201
    print(path)  # noqa: T201
    if config.picture:
        from physicsnemo_fs.pipelines.store_picture import store_picture

        print(store_picture(path, path.with_suffix(".png")))  # noqa: T201
    return path


def plan_of(config: BuildConfig) -> Plan:
    """Open the sources and plan the store, writing nothing."""
    recipe = recipe_of(config)
    fine = open_source(config.fine, "fine", config.period)
    coarse = open_source(config.coarse, "coarse", None) if config.coarse.data_path else None
    invariants = open_source(config.invariants, "invariants", None) if config.invariants.data_path else None
    return make_plan(recipe, fine, coarse, invariants)


def recipe_of(config: BuildConfig) -> Recipe:
    """Turn the configuration into a recipe.

    Raises:
        InputError: If a region or a duration is none.
    """
    splits = config.splits
    pairs = {"train": splits.train_periods, "validation": splits.validation_periods, "test": splits.test_periods}
    return Recipe(
        factor=config.lowres_scale_factor,
        regions=tuple(
            Region(r.name, cast(Any, r.box and tuple(r.box)), r.split, cast(Any, r.tile and tuple(r.tile)))
            for r in config.regions
        ),
        splits=TimeSplits(
            parse_duration(splits.block),
            splits.validation,
            splits.test,
            parse_duration(splits.gap),
            {split: periods for split, periods in pairs.items() if periods},
        ),
        spacing=config.fine.spacing,
        origin=cast(tuple[float, float], tuple(config.fine.origin)),
        fine_method=cast(Method, config.fine.method),
        coarse_method=cast(Method, config.coarse.method),
        invariants_method=cast(Method, config.invariants.method),
        least_valid=config.least_valid,
        tolerance=parse_duration(config.coarse.tolerance),
        transforms=_transforms(config),
    )


def _transforms(config: BuildConfig) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("fine", "coarse", "invariants"):
        declared = getattr(config, name).transforms or {}
        if not isinstance(declared, Mapping):
            raise InputError(
                f"{name}.transforms must be a mapping by variable: got {declared!r}; write for example {{t2m: minmax}}"
            )
        found.update(declared)
    return found


def open_source(config: SourceConfig, name: str, period: list[str] | None) -> Fields:
    """Open a source with the names and units of the configuration.

    Args:
        config: The source.
        name: Its configuration key, for messages.
        period: ``[start, end]``.

    Raises:
        InputError: In one line, beginning with the key.
    """
    records = [_variable(entry, name) for entry in config.variables]

    try:
        fields = open_fields(
            config.data_path,
            [record["wanted"] for record in records],
            engine=config.engine,
            period=period,
            region=config.region,
            missing_value=config.missing_value,
            select=config.select,
        )
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    fields.channels = tuple(_described(c, r) for c, r in zip(fields.channels, records, strict=True))
    return cast(Fields, fields)


def _variable(entry: Any, name: str) -> Mapping[str, str]:
    if isinstance(entry, str):
        return {"wanted": entry}
    if not isinstance(entry, Mapping) or "name" not in entry or not set(entry) <= {"name", "source", *DESCRIPTION}:
        raise InputError(
            f"{name}.variables must be names or mappings of name, source, {', '.join(DESCRIPTION)}: got {entry!r}"
        )
    wanted = f"{entry['name']}={entry['source']}" if "source" in entry else str(entry["name"])
    return {"wanted": wanted, **{key: str(entry[key]) for key in DESCRIPTION if key in entry}}


def _described(channel: Channel, record: Mapping[str, str]) -> Channel:
    return replace(channel, **{key: value for key, value in record.items() if key != "wanted"})  # type: ignore[arg-type]


def _paths(fields: Any) -> list[Path]:
    return [] if fields is None else fields.paths


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    layout = "{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} pieces, {elapsed} < {remaining}"
    with tqdm(desc=title, total=1, bar_format=layout) as bar:

        def show(done: int, total: int) -> None:
            if bar.total != total:
                bar.reset(total)
                bar.initial = done
            bar.update(done - bar.n)

        yield show


def describe(plan: Plan) -> str:
    """Say what a plan makes, as lines of text."""
    times = plan.times
    lines = [
        f"times    {len(times)} from {_minute(times[0])} to {_minute(times[-1])}",
        *(f"{name:8} {_sources(fields)}" for name, fields in _named(plan)),
    ]
    if plan.coarse is None:
        lines.insert(2, f"coarse   averages of {plan.recipe.factor} x {plan.recipe.factor} fine cells")
    width = max(len(place.region.name) for place in plan.places)
    for place, labels in zip(plan.places, plan.labels, strict=True):
        fine, coarse = (f"{s[0]} x {s[1]}" for s in (place.fine.shape, place.coarse.shape))
        counts = [f"{split} {(labels == label).sum()}" for split, label in LABELS.items() if (labels == label).any()]
        if unused := int((labels == UNUSED).sum()):
            counts.append(f"unused {unused}")
        lines.append(f"region   {place.region.name:{width}}  fine {fine}, coarse {coarse}, {', '.join(counts)}")
    totals = ", ".join(f"{split} {plan.samples(split)}" for split in LABELS)
    lines.append(f"samples  {totals}")
    lines.append(f"size     {size_text(plan.value_bytes())} before compression, in {len(plan.pieces)} pieces of work")
    return "\n".join(lines)


def _named(plan: Plan) -> list[tuple[str, Any]]:
    pairs = [("fine", plan.fine), ("coarse", plan.coarse), ("static", plan.invariants)]
    return [(name, fields) for name, fields in pairs if fields is not None]


def _sources(fields: Fields) -> str:
    names = ", ".join(f"{c.name} [{c.unit}]" for c in fields.channels)
    files = len(_paths(fields))
    height, width = fields.grid.shape
    return f"{names} on {height} x {width} points, {files} file{'s' if files > 1 else ''}"


def _minute(time: np.datetime64) -> str:
    return str(time.astype("datetime64[m]"))
