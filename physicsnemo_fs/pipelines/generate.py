# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Generate an ensemble to one NetCDF file or Zarr folder, on any number of processes, whatever interrupts them."""

import logging
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import Module
from tqdm import tqdm

from physicsnemo_fs.config import GenerateConfig
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.recognition import SAMPLES, sample_numbers
from physicsnemo_fs.data.sampler import rank_share
from physicsnemo_fs.data.signature import data_signature
from physicsnemo_fs.data.types import Channel, DownscalingDataset
from physicsnemo_fs.diffusion.strips import Team
from physicsnemo_fs.distributed import Ranks, process_group
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.io.pieces import require_format
from physicsnemo_fs.pipelines.assembly import is_unsimulated, knows_its_statistics, open_dataset, region_names
from physicsnemo_fs.pipelines.generation.background import Background
from physicsnemo_fs.pipelines.generation.dry_run import describe
from physicsnemo_fs.pipelines.generation.memory import fitting_batch
from physicsnemo_fs.pipelines.generation.networks import (
    MODEL_NAMES,
    Networks,
    load_networks,
    provenance_of,
    require_fit,
    trained_channels,
    windows_of,
)
from physicsnemo_fs.pipelines.generation.plan import cut
from physicsnemo_fs.pipelines.generation.sampling import Job, Made, PieceSampler, has_regression
from physicsnemo_fs.pipelines.generation.teams import team_size
from physicsnemo_fs.pipelines.generation.times import choose_times
from physicsnemo_fs.pipelines.generation.work import (
    State,
    Work,
    claimed,
    clear_leftovers,
    is_finished,
    told_if_unwritable,
)
from physicsnemo_fs.pipelines.interruption import stop_requests
from physicsnemo_fs.pipelines.member_sources import MemberSource, member_source
from physicsnemo_fs.pipelines.pictures import samples_picture
from physicsnemo_fs.pipelines.pretrained import find_pretrained
from physicsnemo_fs.pipelines.stages import FirstGuess, Mean

__all__ = ["MODEL_NAMES", "Session", "generate", "generate_regions"]

logger = logging.getLogger(__name__)

AUTO = "auto"


def generate(config: GenerateConfig) -> Path:
    """Generate as :func:`generate_regions`, and give the first path: the only one, unless the split has regions."""
    return generate_regions(config)[0]


def generate_regions(config: GenerateConfig) -> list[Path]:
    """Generate ``num_ensembles`` members for each time and write them to ``output_filename``.

    A member's noise is a function of (seed, member, time, region): it depends neither on the batch size nor on which
    other times are generated, and it is the same function at every resolution. A split of several regions gives one
    file for each, ``<name>_<region>.nc``.

    The work is cut into pieces by times, members and ``seed_batch_size``, and all processes that a launcher started
    share them. Finished pieces lie in ``.<name>.generating`` beside the result until it is whole: the same call, on any
    number of processes, continues from them. A result that is there already is kept.

    Args:
        config: The whole configuration.

    Raises:
        InputError: If a checkpoint, the data, a time or the output does not fit, the output's name is taken, another
            command works on it, or the disk is full.
        SystemExit: With status ``START_AGAIN`` after SIGTERM or SIGUSR1.
    """
    _require_possible(config)
    with stop_requests(), process_group(config.perf.num_threads) as ranks:
        session = Session(config, ranks)
        if config.dry_run:
            return session.describe()
        return [session.write(path, region) for path, region in session.outputs]


def _require_possible(config: GenerateConfig) -> None:
    generation = config.generation
    if generation.num_ensembles < 1:
        raise InputError(f"generation.num_ensembles must be at least 1: got {generation.num_ensembles}")
    batch = generation.seed_batch_size
    if batch != AUTO and not (isinstance(batch, int) and batch >= 1):
        raise InputError(f"generation.seed_batch_size must be a whole number from 1, or auto: got {batch!r}")
    require_format(Path(generation.io.output_filename))


@dataclass(frozen=True)
class _Given:
    """A region's data: the chosen times, the mean of its fields, and what a result holds."""

    dataset: DownscalingDataset
    chosen: np.ndarray
    mean: Mean | None
    spec: EnsembleSpec


class Session:
    """Networks, and what is made of them once for all regions.

    Args:
        config: The whole configuration.
        ranks: This process.

    Raises:
        InputError: If a checkpoint is missing or of another kind.
    """

    def __init__(self, config: GenerateConfig, ranks: Ranks):
        self.config, self.ranks = config, ranks
        shipped = find_pretrained(config.pretrained) if config.pretrained else None
        self.networks: Networks = load_networks(config, shipped, ranks)
        own = shipped is not None or self.networks.package is not None
        known = knows_its_statistics(config.dataset) and not own
        self.channels: dict[str, Channel] | None = None if known else trained_channels(self.networks)
        self.provenance = provenance_of(config, self.networks)
        self._source: MemberSource | None = None

    @property
    def outputs(self) -> list[tuple[Path, str | None]]:
        """Give the results with the names of their regions."""
        path = Path(self.config.generation.io.output_filename)
        regions = region_names(self.config.dataset, self.config.generation.split)
        if len(regions) < 2:
            return [(path, regions[0] if regions else None)]
        return [(path.with_stem(f"{path.stem}_{region}"), region) for region in regions]

    def write(self, path: Path, region: str | None) -> Path:
        """Generate one region to one result, together with the other processes.

        Args:
            path: The result.
            region: One of the split's regions; ``None`` where there are none.

        Raises:
            InputError: As :func:`generate_regions`.
        """
        ranks = self.ranks
        there = self._is_there(path, self._provenance(region))
        try:
            given = self._given(region, simulate=not there)
        except InputError as error:
            if not there:
                raise
            logger.warning("%s is kept, of the same configuration; its data cannot be compared: %s", path, error)
            return self._kept(path)
        if is_unsimulated(given.dataset) or self._is_there(path, given.spec.provenance):
            logger.info("%s is there already, of the same configuration and data: it is kept", path)
            return self._kept(path)
        job = self._job(region, given)
        with claimed(path) if ranks.is_main else nullcontext():
            if not self._is_there(path, job.spec.provenance):  # another command may have made it meanwhile
                self._work(path, job)
        return self._kept(path)

    def _is_there(self, path: Path, provenance: Mapping[str, Any]) -> bool:
        """Whether the result is there; decided by the main process for all."""
        finished = self.ranks.is_main and is_finished(path, provenance, self.config.generation.replace)
        return self.ranks.tell(finished)

    def _kept(self, path: Path) -> Path:
        """Give a finished result, with its picture and without the folder of its work."""
        if self.ranks.is_main:
            clear_leftovers(path)
            picture = path.with_suffix(".png")
            if self.config.generation.picture and not (
                picture.exists() and picture.stat().st_mtime_ns >= path.stat().st_mtime_ns
            ):
                samples_picture(path, picture)
        return path

    def describe(self) -> list[Path]:
        """Print what would be made, and give the results there would be."""
        for path, region in self.outputs:
            job = self.job(region)
            finished = is_finished(path, job.spec.provenance, self.config.generation.replace)
            work = Work(path, job.spec, self.config.generation.io.significant_bits)
            state = None if finished else work.peek(self._content(job))
            batch = self._batch(job) if state is None else state.batch
            if self.ranks.is_main:
                done = range(len(work.cut(batch))) if finished else () if state is None else state.finished
                print(describe(path, job, work.cut(batch), set(done), batch, self.ranks.world_size))  # noqa: T201
        return [path for path, _ in self.outputs]

    def _provenance(self, region: str | None) -> dict:
        return self.provenance if region is None else {**self.provenance, "region": region}

    def job(self, region: str | None) -> Job:
        """Open the data and say what is generated of a region."""
        return self._job(region, self._given(region, simulate=not self.config.dry_run))

    def _job(self, region: str | None, given: _Given) -> Job:
        dataset, mean = given.dataset, given.mean
        if self._source is None:
            self._source = member_source(self.config, mean, self.networks.diffusion, dataset, self.channels, self.ranks)
        precision = self.config.perf.fp_optimizations
        return Job(dataset, given.chosen, given.spec, mean, self._source, region, precision, self.ranks)

    def _given(self, region: str | None, simulate: bool) -> _Given:
        generation, networks = self.config.generation, self.networks
        dataset = self._open(region, simulate)
        require_fit(networks, dataset)
        chosen = choose_times(dataset, generation)
        seeds = [generation.seed + m for m in range(generation.num_ensembles)]
        if generation.inference_mode == "regression":
            seeds = seeds[:1]
        interpolated = generation.inference_mode == "dressed_interpolation"
        mean: Mean | None = FirstGuess.of(dataset) if interpolated else networks.regression
        spec = EnsembleSpec(
            grid=dataset.grid,
            coarse_grid=dataset.coarse_grid,
            times=dataset.times[chosen],
            blocks=dataset.blocks[chosen],
            output_channels=dataset.output_channels,
            input_channels=dataset.input_channels,
            member_seeds=tuple(seeds),
            provenance={
                **self._provenance(region),
                **windows_of((networks.diffusion, networks.regression), dataset.grid.shape),
                **({} if is_unsimulated(dataset) else {SAMPLES: sample_numbers(dataset, chosen.tolist())}),
            },
            has_truth=dataset.fetch([int(chosen[0])]).target is not None,
            has_regression=has_regression(mean),
        )
        return _Given(dataset, chosen, mean, spec)

    def _open(self, region: str | None, simulate: bool) -> DownscalingDataset:
        generation = self.config.generation
        opening = Opening(
            generation.split,  # type: ignore[arg-type]
            generation.resolution,
            self.channels,
            truth_required=False,
            ranks=self.ranks,
            region=region,
            simulate=simulate,
        )
        dataset = open_dataset(self.config.dataset, opening)
        if is_unsimulated(dataset):  # it has no statistics of its own to compare
            return open_dataset(self.config.dataset, replace(opening, channels=trained_channels(self.networks)))
        return dataset

    def _content(self, job: Job) -> dict:
        """Give what determines the result beyond the provenance."""
        return {
            "data": data_signature(job.dataset),
            "times": [str(time) for time in job.spec.times],
            "seeds": list(job.spec.member_seeds),
            "shape": list(job.spec.grid.shape),
        }

    def _batch(self, job: Job) -> int:
        """Give the samples of a piece: as configured, or as many as fit into memory."""
        batch, windows = self.config.generation.seed_batch_size, job.source.windows(job.dataset.grid.shape)
        if windows is not None:  # one row of windows of so many samples fills a call of the network
            fitting = max(1, self.config.generation.max_patch_per_gpu // len(windows.columns.starts))
            return fitting if batch == AUTO else min(batch, fitting)
        if batch != AUTO:
            return batch
        times, members = len(job.chosen), len(job.spec.member_seeds)
        share = -(-times * members // self.ranks.world_size)

        def call(count: int) -> None:
            PieceSampler(job, count).sample(cut(1, count, count)[0]) if count <= members else None

        networks: list[Module] = [n for n in (self.networks.regression, self.networks.diffusion) if n is not None]
        return min(fitting_batch(call, networks, self.ranks), share)

    def _work(self, path: Path, job: Job) -> None:
        ranks, generation = self.ranks, self.config.generation
        work = Work(path, job.spec, generation.io.significant_bits)
        begun = None
        if ranks.is_main:
            with told_if_unwritable(work.folder):
                begun = asdict(work.begin(self._content(job), self._batch(job), generation.replace))
        state = State(**ranks.tell(begun))
        self._make_pieces(work, job, state)
        ranks.barrier()
        if ranks.is_main:
            work.finish(state, generation.replace)
        ranks.barrier()

    def _make_pieces(self, work: Work, job: Job, state: State) -> None:
        ranks, generation = self.ranks, self.config.generation
        batch = generation.seed_batch_size
        pieces, finished = work.cut(state.batch), set(state.finished)
        todo = [piece for piece in pieces if piece.number not in finished]
        windows = job.source.windows(job.dataset.grid.shape)
        team = Team.among(ranks.rank, team_size(generation.ranks_per_member, ranks.world_size, len(todo), windows))
        if 0 < len(todo) < ranks.world_size // team.size:
            logger.warning(
                "%d pieces of work for %d processes: lower generation.seed_batch_size", len(todo), ranks.world_size
            )
        mine = [todo[i] for i in rank_share(len(todo), team.number, ranks.world_size // team.size)]
        kept = work.pieces(state.run)
        sampler = PieceSampler(job, state.batch if batch == AUTO else min(batch, state.batch), team)

        def keep(made: Made) -> None:
            with told_if_unwritable(work.folder):
                kept.keep(made.piece.name, sampler.fields(made))
            bar.update(len(made.piece))

        start = time.perf_counter()
        done = sum(len(piece) for piece in pieces) - sum(len(piece) for piece in todo)
        title = "generate" if job.region is None else f"generate {job.region}"
        own = sum(len(piece) for piece in mine)
        with tqdm(total=done + own, initial=done, unit="member", desc=title, disable=not ranks.is_main) as bar:
            with Background(keep) as background, ranks.progress.expected(self.config.perf.longest_pause):

                def watch() -> None:
                    background.check()
                    ranks.progress.made("an evaluation of the denoiser")

                for piece in mine:
                    made = sampler.sample(piece, watch)
                    if made is not None and windows is None:
                        background.put(made)
                    elif made is not None:  # a domain that needs windows has no room for what waits
                        keep(made)
                    del made
        seconds = time.perf_counter() - start
        if mine:
            share = background.waited / seconds
            logger.info("%d members in %.1f s; %.1f %% of it waited for writing", own, seconds, 100 * share)
