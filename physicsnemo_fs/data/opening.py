# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""How a dataset is opened: for which split, on which grid, with whose normalisation."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Literal

from physicsnemo_fs.data.fields.origins import fingerprint, paths_of
from physicsnemo_fs.data.statistics import Normalisation, fit_channels
from physicsnemo_fs.data.types import Channel, Fields
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.files import read_record, write_json

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Opening:
    """What the pipelines ask of a dataset.

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``.
        resolution: Fine samples along the shorter side; ``None`` takes the dataset's own.
        channels: Normalisation by channel name where it is known, from a training split or a checkpoint; otherwise the
            dataset measures it on its training split.
        truth_required: Refuse samples without truth.
        ranks: The processes that open it together.
        statistics: File that keeps what was measured on the training split, for the next start.
        region: One of the dataset's regions; ``None`` joins them.
        simulate: Whether to make what is missing and can be made; otherwise noise of its shape stands for it.

    Example:
        >>> Opening("validation").truth_required
        True
    """

    split: Split
    resolution: int | None = None
    channels: Mapping[str, Channel] | None = None
    truth_required: bool = True
    ranks: Ranks = field(default_factory=Ranks)
    statistics: Path | None = None
    region: str | None = None
    simulate: bool = True

    def measured(
        self, name: str, config: Any, source: Fields, positions: Sequence[int], kinds: Sequence[Normalisation]
    ) -> tuple[Channel, ...]:
        """Give a source's normalisation, measured by all ranks together unless the file has it already.

        Args:
            name: What is measured, ``"target"`` for example.
            config: The dataset's configuration; the file's numbers count for an equal one only, of the same data files
                by their sizes and times of change.
            source: The fields.
            positions: Times of the training split.
            kinds: One a channel.
        """
        key = {
            "files": [fingerprint(path) for path in paths_of(source)],
            "units": [c.unit for c in source.channels],
            "config": asdict(config) if is_dataclass(config) and not isinstance(config, type) else config,
            "variables": [c.name for c in source.channels],
            "times": [str(source.times[p]) for p in (positions[0], positions[-1])] if len(source.times) else [],
            "count": len(positions),
        }
        kept = read_record(self.statistics) if self.statistics and self.statistics.exists() else {}
        ranks, known = self.ranks, kept.get(name, {})
        # the main process decides: another's files may have other times of change
        records = ranks.tell(known["channels"] if known.get("of") == key else None)
        if records is not None:
            return tuple(Channel.from_dict(record) for record in records)
        found = fit_channels(source, positions, kinds, ranks.rank, ranks.world_size, ranks.sum)
        ranks.barrier()
        if self.statistics and ranks.is_main:
            record = {"of": key, "channels": [channel.to_dict() for channel in found]}
            write_json({**kept, name: record}, self.statistics)
        ranks.barrier()
        return found
