# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""One domain on several processes: each owns a strip of rows, and neighbours exchange what their windows share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.diffusion.noise import Span
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.nn.windows import WindowGrid

Piece = tuple[int, int, int]
"""Number of a row of windows, and the first row of the domain and one past the last of a part of it."""


@dataclass(frozen=True)
class Team:
    """Consecutive processes that make every member together, seen by one of them.

    Args:
        rank: Number of this process in the team, from 0; the first one receives whole members.
        size: Processes of the team.
        first: Number of the team's first process among all.
    """

    rank: int = 0
    size: int = 1
    first: int = 0

    @classmethod
    def among(cls, rank: int, size: int) -> "Team":
        """Give the team of a process where all are cut into teams of one size.

        Example:
            >>> Team.among(5, 2)
            Team(rank=1, size=2, first=4)
        """
        return cls(rank % size, size, rank // size * size)

    @property
    def number(self) -> int:
        """Number of the team among teams of its size."""
        return self.first // self.size


@dataclass(frozen=True)
class Strips:
    r"""A domain cut into strips of rows, one a process, along the rows of its windows.

    A process evaluates some rows of windows and owns the rows of the domain from its first window to that of the next
    process. Before an evaluation it receives the rows of the noisy field that its windows reach beyond its own; after
    it, it sends the part of its sums that lies there. Sums of rows of windows are added in the order of the rows,
    whoever made them: the result has the same bits on any number of processes.

    Args:
        windows: Windows of the domain.
        team: The processes that share it.

    Raises:
        InputError: If there are fewer rows of windows than processes.

    Example:
        >>> strips = Strips(WindowGrid((64, 64), (32, 32), (8, 8)), Team())
        >>> strips.own, strips.rows
        ((0, 64), range(0, 3))
    """

    windows: WindowGrid
    team: Team

    def __post_init__(self):
        available = len(self.windows.rows.starts)
        if available < self.team.size:
            raise InputError(
                f"every process needs a row of windows: got {available} rows for {self.team.size} processes; "
                f"give generation.ranks_per_member of at most {available}"
            )

    @property
    def own(self) -> Span:
        """First row of the domain that this process owns, and one past the last."""
        return self._owned(self.team.rank)

    @property
    def rows(self) -> range:
        """Rows of windows that this process evaluates."""
        return self._rows(self.team.rank)

    def _rows(self, rank: int) -> range:
        count, world = len(self.windows.rows.starts), self.team.size
        return range(count * rank // world, count * (rank + 1) // world)

    def _owned(self, rank: int) -> Span:
        starts, size = (*self.windows.rows.starts, self.windows.shape[0]), self.windows.shape[0]
        rows = self._rows(rank)
        return starts[rows.start], size if rows.stop == len(starts) - 1 else starts[rows.stop]

    def _reached(self, rank: int) -> list[Span]:
        """Give the rows of the domain beyond its own that a process's windows reach, downwards."""
        stop, size = self._owned(rank)[1], self.windows.shape[0]
        end = self.windows.rows.starts[self._rows(rank).stop - 1] + self.windows.patch[0]
        if self.team.size == 1 and self.windows.boundary == "bounded":
            return []
        spans = [(stop, min(end, size))] if end > stop and stop < size else []
        return spans + ([(0, end - size)] if end > size else [])

    def _split(self, spans: Sequence[Span]) -> Iterator[tuple[int, Span]]:
        """Give the owner and the rows of each part of some spans."""
        for first, stop in spans:
            for rank in range(self.team.size):
                a, b = self._owned(rank)
                if max(a, first) < min(b, stop):
                    yield rank, (max(a, first), min(b, stop))

    def extended(self, field: Float[Tensor, "*lead own width"]) -> Float[Tensor, "*lead reached width"]:
        """Give this process's rows and those below that its windows reach.

        Args:
            field: The rows that this process owns.
        """
        me, top = self.team.rank, self.own[0]
        outgoing: dict[int, list[Tensor]] = {}
        for rank in range(self.team.size):
            for owner, (a, b) in self._split(self._reached(rank)):
                if owner == me and rank != me:
                    outgoing.setdefault(rank, []).append(field[..., a - top : b - top, :])
        parts = list(self._split(self._reached(me)))
        shapes: dict[int, list[tuple[int, ...]]] = {}
        for owner, (a, b) in parts:
            if owner != me:
                shapes.setdefault(owner, []).append((*field.shape[:-2], b - a, field.shape[-1]))
        incoming = {owner: iter(tensors) for owner, tensors in self._exchange(outgoing, shapes, field).items()}
        below = [field[..., a - top : b - top, :] if o == me else next(incoming[o]) for o, (a, b) in parts]
        return torch.cat([field, *below], dim=-2) if below else field

    def fuse(
        self, strips: Iterator[tuple[int, Float[Tensor, "*lead patch_height width"]]], like: Tensor
    ) -> Float[Tensor, "*lead own width"]:
        """Give the sum of all processes' strips on the rows that this one owns.

        Args:
            strips: Number and sum of each row of windows that this process evaluates, in their order.
            like: Field on this process's rows.
        """
        me, (top, _) = self.team.rank, self.own
        arriving = [
            (row, owner_span)
            for rank in range(self.team.size)
            if rank != me
            for row in self._rows(rank)
            for owner, owner_span in self._targets(row)
            if owner == me
        ]
        shared = {line for _, (a, b) in arriving for line in range(a, b)}
        total, kept = torch.zeros_like(like), list[tuple[Piece, Tensor]]()
        outgoing: dict[int, list[Tensor]] = {}
        for row, strip in strips:
            offset = 0
            for owner, (a, b) in self._targets(row):
                values = strip[..., offset : offset + b - a, :]
                offset += b - a
                if owner != me:
                    outgoing.setdefault(owner, []).append(values.clone())
                    continue
                for first, stop, is_shared in _runs(a, b, shared):
                    part = values[..., first - a : stop - a, :]
                    if is_shared:
                        kept.append(((row, first, stop), part.clone()))
                    else:
                        total[..., first - top : stop - top, :] += part
        shapes: dict[int, list[tuple[int, ...]]] = {}
        pieces: dict[int, list[Piece]] = {}
        for row, (a, b) in arriving:
            sender = next(r for r in range(self.team.size) if row in self._rows(r))
            shapes.setdefault(sender, []).append((*like.shape[:-2], b - a, like.shape[-1]))
            pieces.setdefault(sender, []).append((row, a, b))
        for sender, tensors in self._exchange(outgoing, shapes, like).items():
            kept += zip(pieces[sender], tensors, strict=True)
        for (_, a, b), values in sorted(kept, key=lambda piece: piece[0][0]):
            total[..., a - top : b - top, :] += values
        return total

    def _targets(self, row: int) -> list[tuple[int, Span]]:
        """Give owner and rows of the parts of a row of windows, downwards."""
        start = self.windows.rows.starts[row]
        spans = [(target.start, target.stop) for target, _ in self.windows.rows.spans(start)]
        return list(self._split(spans))

    def gathered(self, field: Float[Tensor, "*lead own width"]) -> Float[Tensor, "*lead height width"] | None:
        """Give the whole field on the team's first process, ``None`` on the others."""
        me = self.team.rank
        shapes = {}
        if me == 0:
            for rank in range(1, self.team.size):
                a, b = self._owned(rank)
                shapes[rank] = [(*field.shape[:-2], b - a, field.shape[-1])]
        arrived = self._exchange({} if me == 0 else {0: [field]}, shapes, field)
        return torch.cat([field, *(arrived[rank][0] for rank in sorted(arrived))], dim=-2) if me == 0 else None

    def _exchange(
        self, outgoing: dict[int, list[Tensor]], shapes: dict[int, list[tuple[int, ...]]], like: Tensor
    ) -> dict[int, list[Tensor]]:
        """Send tensors to processes and give what arrives from others, one message each."""
        sent = {rank: torch.cat([t.reshape(-1) for t in tensors]) for rank, tensors in outgoing.items()}
        sizes = {rank: [int(torch.Size(s).numel()) for s in given] for rank, given in shapes.items()}
        received = {rank: like.new_empty(sum(given)) for rank, given in sizes.items()}
        first = self.team.first
        operations = [dist.P2POp(dist.isend, message, first + rank) for rank, message in sorted(sent.items())]
        operations += [dist.P2POp(dist.irecv, message, first + rank) for rank, message in sorted(received.items())]
        for work in dist.batch_isend_irecv(operations) if operations else []:
            work.wait()
        return {
            rank: [part.reshape(s) for part, s in zip(message.split(sizes[rank]), shapes[rank], strict=True)]
            for rank, message in received.items()
        }


def _runs(first: int, stop: int, shared: set[int]) -> Iterator[tuple[int, int, bool]]:
    """Give the runs of rows that are all shared, or all not."""
    start = first
    for line in range(first + 1, stop + 1):
        if line == stop or (line in shared) != (start in shared):
            yield start, line, start in shared
            start = line
