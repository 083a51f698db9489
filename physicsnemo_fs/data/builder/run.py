# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Building a store piece by piece: finished pieces are recorded, and the store has its name only when it is whole."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from pathlib import Path
from typing import Any

import numpy as np

from physicsnemo_fs import __version__
from physicsnemo_fs.data.builder.pieces import Job, make_invariants, make_piece
from physicsnemo_fs.data.builder.plan import Plan
from physicsnemo_fs.data.builder.writing import define_store, finish_store
from physicsnemo_fs.data.signature import first_difference
from physicsnemo_fs.data.splits import LABELS
from physicsnemo_fs.data.statistics import SUMS, fitted
from physicsnemo_fs.data.store_layout import FORMAT, Part
from physicsnemo_fs.data.store_reader import open_store
from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path, exclusive, make_folder, read_json, write_json

IN_FLIGHT = 64
STATIC = "static"
Progress = Callable[[int, int], None]


def build_store(
    path: str | Path,
    plan: Plan,
    executor: Executor,
    config: Mapping[str, Any],
    sources: Sequence[Path] = (),
    progress: Progress = lambda done, total: None,
) -> Path:
    """Build a store, or continue a build that was stopped.

    Until it is whole the store lies in ``.<name>.building`` beside ``path``. Its bytes do not depend on the executor,
    nor on stops.

    Args:
        path: The store's folder.
        plan: What to make, of sources that pickle.
        executor: Who does the work; all workers see the same file system.
        config: What determines the plan, as JSON types; kept in the store and compared on continuing.
        sources: Files that the plan reads; their sizes are kept and compared.
        progress: Called with the number of finished pieces and of all pieces.

    Returns:
        The store's folder.

    Raises:
        InputError: If another build was begun or finished there, another process builds it, or a worker died.
    """
    path = Path(path)
    record = build_record(config, sources)
    if path.exists():
        return _same_store(path, record)
    make_folder(path.parent)
    building = path.with_name(f".{path.name}.building")
    with exclusive(building / "lock", "one process builds a store"):
        _begin(building, plan, record)
        job = Job(building / "store", plan.light())
        _make_pieces(job, building, executor, progress)
        tables = _tables(plan, building)
        channels = {part: [c.to_dict() for c in fit] for part, fit in _fit(plan, tables).items()}
        regions = {place.region.name: _present(plan, tables, i) for i, place in enumerate(plan.places)}
        finish_store(job.store, {**record, "regions": list(regions), "present": regions, "channels": channels})
        os.replace(job.store, path)
        shutil.rmtree(building)  # a stop before this leaves pieces without a store: _begin clears them
    return path


def build_record(config: Mapping[str, Any], sources: Sequence[Path]) -> dict[str, Any]:
    """Give what determines a store, as JSON types."""
    files = [{"path": str(source), "size": _size(Path(source))} for source in sources]
    return {"format": FORMAT, "config": dict(config), "code_version": __version__, "sources": files}


def _size(source: Path) -> int:
    if source.is_dir():
        return sum(file.stat().st_size for file in source.rglob("*") if file.is_file())
    return source.stat().st_size


def _same_store(path: Path, record: Mapping[str, Any]) -> Path:
    difference = first_difference({key: open_store(path).attributes.get(key) for key in record}, dict(record))
    if difference:
        raise InputError(f"{path} holds a store with another {difference}; choose another output or remove it")
    return path


def _begin(building: Path, plan: Plan, record: Mapping[str, Any]) -> None:
    begun = building / "build.json"
    if begun.exists():
        difference = first_difference(read_json(begun), dict(record))
        if difference:
            raise InputError(
                f"{building} holds an unfinished build with another {difference}; give its configuration or remove "
                "the folder"
            )
        if (building / "store").exists():
            return
        shutil.rmtree(building / "pieces", ignore_errors=True)
    define_store(building / "store", plan)
    make_folder(building / "pieces")
    write_json(dict(record), begun)


def _make_pieces(job: Job, building: Path, executor: Executor, progress: Progress) -> None:
    work: dict[str, tuple[Any, ...]] = {f"{p[0]:08d}": (make_piece, job, p) for p in job.plan.pieces}
    if job.plan.invariants is not None:
        work[STATIC] = (make_invariants, job)
    missing = [name for name in work if not _record(building, name).exists()]
    done = len(work) - len(missing)
    progress(done, len(work))
    running: dict[Future, str] = {}
    try:
        while missing or running:
            while missing and len(running) < IN_FLIGHT and not any(future.done() for future in running):
                name = missing.pop(0)
                running[executor.submit(*work[name])] = name
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                _keep(future.result(), _record(building, running.pop(future)))
                done += 1
                progress(done, len(work))
    except BrokenExecutor as error:
        raise InputError(
            f"a worker died after {done} of {len(work)} pieces, perhaps for want of memory: give fewer workers; the "
            "same command continues"
        ) from error
    finally:
        for future in running:
            future.cancel()


def _record(building: Path, name: str) -> Path:
    return building / "pieces" / f"{name}.npy"


def _keep(table: np.ndarray, path: Path) -> None:
    with atomic_path(path) as temporary:
        np.save(temporary, table)


def _tables(plan: Plan, building: Path) -> dict[Part, np.ndarray]:
    """Give the statistics of every sample, shape ``(region, time, channel, column)``; static fields have one time."""
    moving = np.concatenate([np.load(_record(building, f"{p[0]:08d}")) for p in plan.pieces]).swapaxes(0, 1)
    columns = len(plan.channels("fine"))
    tables: dict[Part, np.ndarray] = {"fine": moving[:, :, :columns], "coarse": moving[:, :, columns:]}
    if plan.invariants is not None:
        tables["invariants"] = np.load(_record(building, STATIC))[:, None]
    return tables


def _fit(plan: Plan, tables: Mapping[Part, np.ndarray]) -> dict[Part, tuple[Channel, ...]]:
    """Give the channels with the normalisation of the training samples, if there are any."""
    training = plan.labels == LABELS["train"]
    found: dict[Part, tuple[Channel, ...]] = {}
    for part, table in tables.items():
        chosen = table[training] if part != "invariants" else table[training.any(axis=1), 0]
        pairs = zip(plan.channels(part), plan.normalisations(part), strict=True)
        found[part] = tuple(fitted(c, kind, chosen[:, i]) if len(chosen) else c for i, (c, kind) in enumerate(pairs))
    return found


def _present(plan: Plan, tables: Mapping[Part, np.ndarray], region: int) -> dict[str, dict[str, float]]:
    """Give the share of values that are there, by part and variable."""
    shares: dict[str, dict[str, float]] = {}
    for part, table in tables.items():
        present, missing = (table[region, :, :, SUMS.index(name)].sum(axis=0) for name in ("count", "missing"))
        names = [c.name for c in plan.channels(part)]
        shares[part] = {n: round(float(p / (p + m)), 6) for n, p, m in zip(names, present, missing, strict=True)}
    return shares
