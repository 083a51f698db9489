# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What ``physicsnemo-fs score`` does: scores, their report, and who works on them."""

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from tqdm import tqdm

from physicsnemo_fs.config.scores import ScoreConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.executors import Engine, InThisProcess, open_executor, usable_cores
from physicsnemo_fs.launchers import detect
from physicsnemo_fs.pipelines.report.scores_page import write_scores_report
from physicsnemo_fs.pipelines.score import score
from physicsnemo_fs.pipelines.score_files import path_list, region_files
from physicsnemo_fs.pipelines.score_setting import Request

WORTH_PROCESSES = 4e9
"""Bytes of samples from which starting processes pays."""


def run_score(config: ScoreConfig) -> int:
    """Score, report, and say where the results are.

    Returns:
        Number of files that could not be scored.
    """
    with _executor(config) as executor:
        if executor is None:
            return 0
        result = score(
            path_list(config.path),
            config.output,
            request=request_of(config),
            truth=config.truth,
            kmax=config.kmax,
            confidence=config.confidence,
            bootstrap_samples=config.bootstrap_samples,
            seed=config.seed,
            max_members=config.max_members,
            executor=None if isinstance(executor, InThisProcess) else executor,
            workers=config.workers,
        )
    written = [result.scores_path, result.summary_path]
    if config.report:
        page = result.scores_path.with_name(
            "report.html" if result.scores_path.name == "scores.nc" else f"{result.scores_path.stem}_report.html"
        )
        written.append(write_scores_report(page, result))
    tqdm.write("\n".join(map(str, written)))
    for _, message in result.failures:
        print(f"{detect().prefix}error: {message}", file=sys.stderr)  # noqa: T201
    return len(result.failures)


def request_of(config: ScoreConfig) -> Request:
    """Turn the configuration into a request.

    Raises:
        InputError: If thresholds, areas or ranges are no mappings of lists.
    """
    return Request(
        config.preset,
        _lists("thresholds", config.thresholds, "{tp: [1 mm, 10 mm]}"),
        config.pooling,
        config.windows,
        _lists("areas", config.areas, "{alps: [43, 49, 5, 17]}"),
        config.mask,
        config.weights,
        _lists("ranges", config.ranges, "{t2m: [230, 320]}"),
    )


def _lists(name: str, given: Any, example: str) -> dict[str, list]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(value, list) for value in given.values()):
        raise InputError(f"{name} must be lists by name, such as {name}='{example}': got {given!r}")
    return {str(key): list(value) for key, value in given.items()}


@contextmanager
def _executor(config: ScoreConfig) -> Iterator[Executor | None]:
    engine = config.executor
    alone = detect().world_size == 1
    if engine == "auto" and alone and not config.dask_address and not _pays(config):
        engine = "none"
    with open_executor(cast(Engine, engine), config.workers, config.dask_address) as executor:
        yield executor


def _pays(config: ScoreConfig) -> bool:
    paths = [path for entry in path_list(config.path) for path in region_files(Path(entry))]
    return (config.workers or usable_cores()) > 1 and sum(_size(path) for path in paths) > WORTH_PROCESSES


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.is_file() else 0
