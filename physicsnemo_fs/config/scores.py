# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scoring and comparing ensembles."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from physicsnemo_fs.config.keys import key

ENGINES = ("auto", "processes", "mpi", "dask", "none")


@dataclass
class ScoreConfig:
    """``score_samples.py``."""

    path: Any = key(
        MISSING,
        "A samples file or a list of them, one a model; wildcards join a model's regions. The first truth is used.",
    )
    output: str = key("outputs/scores", "Folder for scores.nc and scores_summary.csv, or the name of the .nc file.")
    truth: str | None = key(None, "File with the truth, for samples that hold none; null takes the samples' own.")
    preset: str = key(
        "none",
        "none, precipitation (pooled CRPS, events, FSS, extremes), climate, fluid (energy and enstrophy) or insar.",
        choices=("none", "precipitation", "climate", "fluid", "insar"),
    )
    thresholds: Any = key(
        None, "Events by variable, in the file's unit: {tp: [1 mm, 10 mm]}. Gives Brier, ROC, reliability, FSS ..."
    )
    pooling: list[int] | None = key(None, "Blocks [px] of the pooled CRPS: [4, 16, 64]; null takes the preset's.")
    windows: list[int] | None = key(None, "Neighbourhoods [px] of the FSS; null takes the preset's, [5, 17].")
    areas: Any = key(
        None, "Named parts of the domain: {alps: [south, north, west, east]} in degrees, or in the plane's unit."
    )
    mask: str | None = key(None, "file.nc:variable on the samples' grid; points where it is 0 or missing do not count.")
    weights: str = key("none", "Weight of points: none (as CorrDiff), area (of their cells), or file.nc:variable.")
    ranges: Any = key(
        None,
        "Range of histograms by variable: {t2m: [230, 320]}; null takes the truth's. Parts merge with equal ranges.",
    )
    kmax: int | None = key(None, "Largest wavenumber of the spectrum error; null takes the energetic ones.", least=1)
    confidence: float = key(0.95, "Level of the bootstrap intervals.", above=0, below=1)
    bootstrap_samples: int = key(1000, "Resamples of the bootstrap over independent blocks.", least=1)
    seed: int = key(0, "Seed of the bootstrap and of the random ties of the rank histogram.")
    max_members: int | None = key(None, "Score the first members only; null for all.", least=1)
    report: bool = key(True, "Write report.html beside the scores.")
    executor: str = key(
        "auto",
        "Who works: processes, mpi, dask, none (this process), or auto: what is there and pays.",
        choices=ENGINES,
    )
    workers: int | None = key(None, "Processes; null for one a usable core.", least=1)
    dask_address: str | None = key(None, "Of Dask's scheduler, such as tcp://host:8786.")


@dataclass
class CompareConfig:
    """``physicsnemo-fs compare``."""

    path: Any = key(MISSING, "Two or more scores.nc, or samples files with truth; the first is the reference.")
    output: str | None = key(None, "Folder for comparison.csv and comparison.html; null prints the table only.")
    confidence: float = key(0.95, "Level of the intervals.", above=0, below=1)
    bootstrap_samples: int = key(1000, "Resamples of the paired bootstrap over independent blocks.", least=1)
    seed: int = key(0, "Seed of the bootstrap.")


@dataclass
class MergeConfig:
    """``physicsnemo-fs merge``."""

    path: Any = key(MISSING, "Two or more scores.nc of parts: disjoint times of the same models, with equal settings.")
    output: str = key("outputs/scores", "Folder for scores.nc and scores_summary.csv, or the name of the .nc file.")
    confidence: float = key(0.95, "Level of the bootstrap intervals.", above=0, below=1)
    bootstrap_samples: int = key(1000, "Resamples of the bootstrap over independent blocks.", least=1)
    seed: int = key(0, "Seed of the bootstrap.")
