# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The main job end to end: data, training, ensembles at two resolutions, scores, report."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from physicsnemo_fs.config import (
    DemoConfig,
    GenerateConfig,
    GenerationConfig,
    GenerationIOConfig,
    GenerationPerformanceConfig,
)
from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.distributed import Ranks, process_group
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.executors import usable_cores
from physicsnemo_fs.files import make_folder, read_json, write_json
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.metrics.consistency import Consistency, same_seed_consistency
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.report import write_report
from physicsnemo_fs.pipelines.report.evidence import crps_ratio, read_scores, time_index
from physicsnemo_fs.pipelines.run_record import FINISHED
from physicsnemo_fs.pipelines.score import ScoreResult, score
from physicsnemo_fs.pipelines.train import train

REPORT = "report.html"
ENSEMBLE, DRESSED, REGRESSION = "ensemble", "dressed regression", "regression"


class Stopwatch:
    """Seconds of each step, kept in a file so that a continued run reports the time of the work it reuses.

    Args:
        path: A JSON file of seconds by step.
    """

    def __init__(self, path: Path):
        self.path = path
        self.seconds: dict[str, float] = read_json(path) if path.exists() else {}

    @contextmanager
    def step(self, name: str, result: Path | None = None, is_main: bool = True) -> Iterator[None]:
        """Time a step on the main rank.

        Args:
            name: What is done.
            result: A file that the step makes: if it is kept as it was, so is the time that it once took.
            is_main: Whether this is the main rank.
        """
        if not is_main:
            yield
            return
        print(f"== {name}", flush=True)  # noqa: T201
        before, started = _changed(result), time.perf_counter()
        yield
        if before is None or _changed(result) != before or name not in self.seconds:
            self.seconds[name] = time.perf_counter() - started
        write_json(self.seconds, self.path)


def _changed(path: Path | None) -> int | None:
    return path.stat().st_mtime_ns if path is not None and path.exists() else None


@dataclass(frozen=True)
class _Ensembles:
    """The files that the demo generates."""

    samples: Path
    fine: Path
    dressed: Path


def demo(config: DemoConfig) -> Path:
    """Run the whole job and write ``report.html``; what is done already is reused. A dry run plans the training only.

    All ranks that a launcher started train and sample; the first one scores and reports.

    Args:
        config: The whole configuration.

    Returns:
        The path of the report.

    Raises:
        InputError: If the second resolution is not finer.
    """
    training = replace(config.train, run_dir=str(Path(config.output) / "run"))
    if training.training.dry_run:
        train(training)
        return Path(config.output)
    base = _resolution(training)
    if config.fine_resolution <= base:
        raise InputError(
            f"fine_resolution must be finer than the resolution of training, {base}: got {config.fine_resolution}; "
            f"set fine_resolution={2 * base}"
        )
    output = make_folder(config.output)
    files = _Ensembles(
        output / f"samples_{base}.nc", output / f"samples_{config.fine_resolution}.nc", output / f"dressed_{base}.nc"
    )
    watch = Stopwatch(output / "timings.json")
    with process_group(training.training.perf.num_threads) as ranks:
        with watch.step("simulate and train", output / "run" / "diffusion" / FINISHED, ranks.is_main):
            train(training)
        for path, resolution, mode, most in (
            (files.samples, base, "all", None),
            (files.fine, config.fine_resolution, "all", config.fine_times),
            (files.dressed, base, "dressed", None),
        ):
            with watch.step(f"generate {path.name}", path, ranks.is_main):
                times = _some_times(files.samples, most, ranks) if most else None
                generate(_generation(config, path, resolution, mode, times))
    if ranks.is_main:
        _score_and_report(config, output, files, watch, facts(config, ranks.world_size))
    return output / REPORT


def _score_and_report(config: DemoConfig, output: Path, files: _Ensembles, watch: Stopwatch, made: dict[str, str]):
    with watch.step("score"):
        scores = score([files.samples, files.dressed], output / f"scores_{_resolution(config.train)}", kmax=config.kmax)
        fine_scores = score([files.fine], output / f"scores_{config.fine_resolution}", kmax=config.kmax, quiet=True)
        consistency = compare_resolutions(files.samples, files.fine)
    print("\n".join(summary(config, scores, fine_scores, consistency)), flush=True)  # noqa: T201
    with watch.step("report"):
        report = write_report(
            output / REPORT,
            samples=files.samples,
            fine_samples=files.fine,
            scores=scores,
            fine_scores=fine_scores,
            consistency=consistency,
            timings=watch.seconds,
            facts=made,
            title="Kolmogorov flow: 8 x 8 cells to 64 x 64, and to any other grid",
        )
    print(f"The whole job took {sum(watch.seconds.values()) / 60:.1f} minutes. Open {report}")  # noqa: T201


def _resolution(training) -> int:
    return training.dataset.resolution or training.dataset.reference_resolution


def _some_times(path: Path, most: int, ranks: Ranks) -> list[str]:
    """Give some of a file's times, evenly spread, as the main rank finds them."""
    found = []
    if ranks.is_main:
        with EnsembleFile(path) as file:
            times = np.sort(file.times)
        found = [str(times[i]) for i in evenly_spread(len(times), min(most, len(times)))]
    return ranks.tell(found)


def _generation(
    config: DemoConfig, path: Path, resolution: int, mode: str, times: list[str] | None = None
) -> GenerateConfig:
    threads = config.train.training.perf.num_threads
    return GenerateConfig(
        run_dir=str(Path(config.output) / "run"),
        dataset=config.train.dataset,
        generation=GenerationConfig(
            num_ensembles=config.num_ensembles,
            times=times,
            max_times=config.max_times,
            seed_batch_size=config.seed_batch_size,
            resolution=resolution,
            inference_mode=mode,
            replace=True,
            io=GenerationIOConfig(output_filename=str(path)),
        ),
        sampler=config.sampler,
        perf=GenerationPerformanceConfig(num_threads=threads),
    )


def compare_resolutions(coarse: Path, fine: Path) -> Consistency:
    """Compare the same seeds at two resolutions: fields, and residuals about the mean, after low-pass.

    Args:
        coarse: Samples on the smaller grid.
        fine: Samples of the same seeds on the larger grid, at some of the same times.
    """
    with EnsembleFile(coarse) as small, EnsembleFile(fine) as large:
        variable = small.fields("prediction")[0]
        shared = [(file, [time_index(file, time) for time in large.times]) for file in (small, large)]
        members = [np.stack([file.prediction(variable, t) for t in times]) for file, times in shared]
        means = [np.stack([file.regression(variable, t) for t in times])[:, None] for file, times in shared]
    coarse_mean, fine_mean = (np.broadcast_to(m, u.shape).copy() for m, u in zip(means, members, strict=True))
    return same_seed_consistency(members[0], members[1], coarse_mean, fine_mean)


def summary(config: DemoConfig, scores: ScoreResult, fine_scores: ScoreResult, consistency: Consistency) -> list[str]:
    """Say the numbers that the project is judged by, one a line."""
    variable = scores.rows[0].variable

    def value(result: ScoreResult, model: str, metric: str) -> float:
        return result.row(model, metric, variable).value

    crps = value(scores, ENSEMBLE, "crps_fair")
    fine, own = (read_scores(result.scores_path, variable).models[ENSEMBLE] for result in (fine_scores, scores))
    spread = scores.row(ENSEMBLE, "spread_skill", variable)
    solver = config.sampler.solver
    evaluations = config.sampler.num_steps if solver == "euler" else 2 * config.sampler.num_steps - 1
    return [
        f"regression: relative L2 {value(scores, REGRESSION, 'relative_l2'):.3f}",
        f"ensemble: fair CRPS {crps:.4f}, {crps / value(scores, REGRESSION, 'mae'):.3f} x the regression's MAE, "
        f"{crps / value(scores, DRESSED, 'crps_fair'):.3f} x the dressed regression's CRPS",
        f"spread/skill {spread.value:.3f} ({spread.ci_lo:.3f} to {spread.ci_hi:.3f}); spectrum error "
        f"{value(scores, ENSEMBLE, 'spectrum_error_mean'):.2f} dB mean, "
        f"{value(scores, ENSEMBLE, 'spectrum_error_max'):.2f} dB max over k <= {config.kmax}",
        f"same seed on the finer grid, after low-pass: residuals differ by {consistency.residual:.1e}, fields by "
        f"{consistency.field:.1e}; CRPS there {crps_ratio(fine, own):.4f} x over {len(fine.times)} fields",
        f"{evaluations} network evaluations a sample ({solver}, {config.sampler.num_steps} steps)",
    ]


def facts(config: DemoConfig, processes: int) -> dict[str, str]:
    """Say what made the numbers: hardware, versions, date, command."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{usable_cores()} CPU cores"
    packages = ", ".join(f"{p} {version(p)}" for p in ("physicsnemo-fs", "nvidia-physicsnemo", "torch"))
    return {
        "hardware": f"{device} ({platform.machine()}), {processes} processes of {torch.get_num_threads()} threads",
        "versions": f"Python {platform.python_version()}, {packages}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": "physicsnemo-fs demo",
        "seed": str(config.train.seed),
        "members": str(config.num_ensembles),
    }
