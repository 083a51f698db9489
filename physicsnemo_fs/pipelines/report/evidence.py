# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What a report shows: arrays from files of ensembles and from ``scores.nc``."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import xarray as xr
from jaxtyping import Float

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.foreign import EnsembleSource
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.metrics.bootstrap import Interval, Resampling, block_bootstrap
from physicsnemo_fs.metrics.consistency import Consistency
from physicsnemo_fs.pipelines.report.calibration import Calibration, Scatter, read_calibration, read_scatter
from physicsnemo_fs.pipelines.report.resolutions import SameSeed, read_same_seed
from physicsnemo_fs.pipelines.score import REGRESSION, ScoreResult

SHOWN_MEMBERS = 3
SCATTER_TIMES = 8


@dataclass(frozen=True)
class ModelScores:
    """One model's part of ``scores.nc`` for one variable.

    Args:
        times: Scored times.
        regions: Region of each.
        leads: Lead time of each in hours; empty without.
        metrics: Value of each metric at each time.
        power: Mean power in each wavenumber shell.
        truth_power: The truth's.
        ranks: Share of each rank of the truth.
        values: Middle of each bin of values; empty without distributions.
        histogram: Share of the members' values in each.
        truth_histogram: The truth's.
        events: Table of forecasts and occurrences by threshold.
        crps_map: Mean CRPS at each point, ``None`` without maps.
        error_map: Mean error at each point.
        maxima: Annual maximum at each point, of the members and of the truth; ``None`` without.
    """

    times: np.ndarray
    regions: np.ndarray
    leads: np.ndarray
    metrics: dict[str, Float[np.ndarray, " time"]]
    power: Float[np.ndarray, " shell"]
    truth_power: Float[np.ndarray, " shell"]
    ranks: Float[np.ndarray, " rank"]
    values: Float[np.ndarray, " bin"]
    histogram: Float[np.ndarray, " bin"]
    truth_histogram: Float[np.ndarray, " bin"]
    events: dict[float, Float[np.ndarray, "count 2"]]
    crps_map: Float[np.ndarray, "height width"] | None
    error_map: Float[np.ndarray, "height width"] | None
    maxima: tuple[np.ndarray, np.ndarray] | None


@dataclass(frozen=True)
class Scores:
    """``scores.nc`` for one variable.

    Args:
        models: Scores by model, the judged ensemble first.
        confidence: Coverage of the intervals.
        blocks: Number of independent blocks.
        samples: Number of resamples.
        seed: Seed of the resampling.
    """

    models: dict[str, ModelScores]
    confidence: float
    blocks: int
    samples: int
    seed: int

    def resampling(self, blocks: np.ndarray) -> Resampling:
        """Give the scores' resampling for times in these blocks."""
        return Resampling(blocks, self.confidence, self.samples, self.seed)


@dataclass(frozen=True)
class Moment:
    """The fields of one time.

    Args:
        time: The time.
        coarse: Coarse input on its own grid, ``None`` if the file has none of this variable.
        interpolation: The coarse input on the output grid, or ``None``.
        truth: The truth.
        regression: The regression mean, or ``None``.
        members: The first members.
        mean: Mean of all members.
        spread: Standard deviation of all members, ``ddof=1``.
    """

    time: np.datetime64
    coarse: Float[np.ndarray, "coarse_height coarse_width"] | None
    interpolation: Float[np.ndarray, "height width"] | None
    truth: Float[np.ndarray, "height width"]
    regression: Float[np.ndarray, "height width"] | None
    members: Float[np.ndarray, "member height width"]
    mean: Float[np.ndarray, "height width"]
    spread: Float[np.ndarray, "height width"]


@dataclass(frozen=True)
class Evidence:
    """All that the sections of a report draw on.

    Args:
        variable: Name of the variable.
        name: Its long name.
        unit: Its unit as the file writes it.
        grid: Grid of the ensemble.
        members: Number of members.
        times: Number of times.
        result: Scores of the ensemble and its baselines, with intervals.
        scores: The same by time and scale.
        moment: One time.
        calibration: Ranks and spread; ``None`` for a single member.
        scatter: Mean of the members against truth; ``None`` where nothing is known.
        rmse_ratio: RMSE of the ensemble mean over the regression's, ``None`` without regression.
        consistency: How well the two resolutions agree, if there are two.
        pair: One member at both.
        fine: Scores of the ensemble on the finer grid.
        tag: Begins the names of figures.
        regions: Number of regions that were scored together.
    """

    variable: str
    name: str
    unit: str
    grid: Grid
    members: int
    times: int
    result: ScoreResult
    scores: Scores
    moment: Moment
    calibration: Calibration | None
    scatter: Scatter | None
    rmse_ratio: Interval | None
    consistency: Consistency | None
    pair: SameSeed | None
    fine: Scores | None
    tag: str = ""
    regions: int = 1

    @property
    def ensemble(self) -> str:
        """Name of the judged model."""
        return next(iter(self.scores.models))

    def interval(self, model: str, metric: str) -> Interval:
        """Give a score with its interval.

        Args:
            model: Name of the model.
            metric: Name of the metric; ``crps`` is the fair one, and of a single forecast its MAE.
        """
        if metric == "crps":
            fair = self.interval(model, "crps_fair")
            return self.interval(model, "mae") if np.isnan(fair.estimate) else fair
        row = self.result.row(model, metric, self.variable)
        return Interval(row.value, row.ci_lo, row.ci_hi, self.scores.blocks)


def gather(
    samples: EnsembleSource,
    result: ScoreResult,
    fine_samples: EnsembleFile | None = None,
    fine_result: ScoreResult | None = None,
    consistency: Consistency | None = None,
    variable: str | None = None,
    tag: str = "",
    most_times: int | None = None,
) -> Evidence:
    """Read everything of one variable of a run.

    Args:
        samples: The ensemble, with truth; the first region's, if there are several.
        result: Its scores.
        fine_samples: The same members on a finer grid, at some of the times.
        fine_result: Scores of those.
        consistency: How well the two agree.
        variable: Name of the variable; ``None`` for the first.
        tag: Begins the names of figures, so that they are unique on a page.
        most_times: Most times, evenly spread, that are read again for calibration; ``None`` for all.

    Raises:
        InputError: If files lack truth, a time or a seed, or do not fit the scores.
    """
    if not samples.has_truth:
        raise InputError(f"a report needs truth: {samples.path.name} has only the groups {list(samples.groups)}")
    variable = variable or samples.variables[0]
    scores = read_scores(result.scores_path, variable)
    ensemble, regression = next(iter(scores.models.values())), scores.models.get(REGRESSION)
    finer = fine_samples if consistency is not None else None
    time = median_time(ensemble, samples.times if finer is None else np.intersect1d(samples.times, finer.times))
    order = np.argsort(samples.times)
    channel = samples.channel(variable)
    return Evidence(
        variable=variable,
        name=channel.long_name or variable,
        unit=channel.unit,
        grid=samples.grid,
        members=len(samples.members),
        times=len(ensemble.times),
        result=result,
        scores=scores,
        moment=read_moment(samples, variable, time),
        calibration=None
        if len(samples.members) < 2
        else read_calibration(samples, variable, scores.resampling(samples.blocks), most_times),
        scatter=read_scatter(samples, variable, most_times or SCATTER_TIMES),
        rmse_ratio=None
        if regression is None or len(ensemble.times) != len(order)
        else rmse_ratio(ensemble, regression, scores.resampling(samples.blocks[order])),
        consistency=None if finer is None else consistency,
        pair=None
        if finer is None
        else read_same_seed(
            cast(EnsembleFile, samples), finer, variable, (time_index(samples, time), time_index(finer, time))
        ),
        fine=None if finer is None or fine_result is None else read_scores(fine_result.scores_path, variable),
        tag=tag,
        regions=1 + int(ensemble.regions.max(initial=0)),
    )


def read_scores(path: Path, variable: str) -> Scores:
    """Read the scores of each model that has the variable.

    Args:
        path: ``scores.nc``.
        variable: Name of the variable.

    Raises:
        InputError: If no model has the variable.
    """
    found: dict[str, tuple[int, ModelScores]] = {}
    with xr.open_datatree(path, engine="netcdf4") as tree:
        for child in tree["models"].children.values():
            group = child.to_dataset()
            if variable in group:
                found[str(group.attrs["model"])] = (int(group.attrs["position"]), _model_scores(group, variable))
        about = dict(tree.attrs)
    if not found:
        raise InputError(f"{path.name} must hold scores of {variable!r}: no model there has it")
    return Scores(
        {name: scores for name, (_, scores) in sorted(found.items(), key=lambda item: item[1][0])},
        float(about["confidence"]),
        int(about["independent_blocks"]),
        int(about["bootstrap_samples"]),
        int(about["seed"]),
    )


def _model_scores(group: xr.Dataset, variable: str) -> ModelScores:
    def field(name: str) -> np.ndarray | None:
        return group[f"{variable}_{name}"].values if f"{variable}_{name}" in group else None

    maxima, truth_maxima = field("annual_maximum_map"), field("truth_annual_maximum_map")
    return ModelScores(
        times=group["time"].values.astype("datetime64[ns]"),
        regions=_optional(group, "region").astype(int),
        leads=_optional(group, "lead_time"),
        metrics={str(name): row.to_numpy() for name, row in group[variable].to_pandas().iterrows()},
        power=group[f"{variable}_power"].values,
        truth_power=group[f"{variable}_truth_power"].values,
        ranks=group[f"{variable}_rank_histogram"].values,
        values=_optional(group, f"{variable}_values"),
        histogram=_optional(group, f"{variable}_histogram"),
        truth_histogram=_optional(group, f"{variable}_truth_histogram"),
        events={
            float(table.attrs["threshold"]): table.values
            for name, table in group.items()
            if str(name).startswith(f"{variable}_event_")
        },
        crps_map=field("crps_map"),
        error_map=field("error_map"),
        maxima=None if maxima is None or truth_maxima is None else (maxima, truth_maxima),
    )


def _optional(group: xr.Dataset, name: str) -> np.ndarray:
    return group[name].values if name in group else np.zeros(0)


def rmse_ratio(own: ModelScores, other: ModelScores, resampling: Resampling) -> Interval:
    """Give the RMSE of one forecast over another's at the same times, with its paired interval.

    Args:
        own: Scores of the one.
        other: Scores of the other.
        resampling: How to resample, its blocks in the order of the scores' times.
    """
    series = [(scores.metrics["rmse"] ** 2, np.ones(len(scores.times))) for scores in (own, other)]
    return block_bootstrap(lambda a, b: np.sqrt(a / b), series, resampling)


def crps_ratio(own: ModelScores, other: ModelScores) -> float:
    """Give the fair CRPS of one forecast over another's, at the times both have."""
    means = [
        scores.metrics["crps_fair"][np.isin(scores.times, np.intersect1d(own.times, other.times))].mean()
        for scores in (own, other)
    ]
    return float(means[0] / means[1])


def median_time(scores: ModelScores, among: np.ndarray) -> np.datetime64:
    """Give the time whose CRPS is the median, so that the picture shows neither the best nor the worst case.

    Args:
        scores: The ensemble's scores.
        among: Times to choose from.

    Raises:
        InputError: If none of them was scored.
    """
    crps = scores.metrics["mae" if np.isnan(scores.metrics["crps_fair"]).all() else "crps_fair"]
    shared = np.flatnonzero(np.isin(scores.times, among) & ~np.isnan(crps))
    if not shared.size:
        raise InputError(
            f"scores and samples must share times: none of the {len(scores.times)} scored ones is among the "
            f"{len(among)} samples"
        )
    return scores.times[shared[np.argsort(crps[shared], kind="stable")[(shared.size - 1) // 2]]]


def time_index(file: EnsembleSource, time: np.datetime64) -> int:
    """Give the position of a time in a file.

    Raises:
        InputError: If it is not there.
    """
    found = np.flatnonzero(file.times == time)
    if not found.size:
        raise InputError(f"{file.path.name} must hold the time {time}: it has {file.times.size} others")
    return int(found[0])


def read_moment(file: EnsembleSource, variable: str, time: np.datetime64) -> Moment:
    """Read the fields of one time."""
    index = time_index(file, time)
    has_input = variable in file.input_variables
    native = (
        has_input
        and isinstance(file, EnsembleFile)
        and "input_native" in file.groups
        and variable in file.fields("input_native")
    )
    members = file.prediction(variable, index)
    return Moment(
        time=time,
        coarse=cast(EnsembleFile, file).input_native(variable, index) if native else None,
        interpolation=file.input(variable, index) if has_input else None,
        truth=file.truth(variable, index),
        regression=file.regression(variable, index) if file.has_regression else None,
        members=members[:SHOWN_MEMBERS],
        mean=members.mean(axis=0),
        spread=members.std(axis=0, ddof=1) if len(members) > 1 else np.zeros(members.shape[1:]),
    )
