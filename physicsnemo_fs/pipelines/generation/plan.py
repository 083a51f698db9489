# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""How an ensemble is cut into pieces of work: by times, members and batch size alone, never by the number of ranks.

Members that are sampled together are rounded together, so that equal pieces give equal bits on any number of ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from physicsnemo_fs.io.fields import Place, places_of
from physicsnemo_fs.io.layout import EnsembleSpec

VALUE_BYTES = 4


@dataclass(frozen=True)
class Piece:
    """Members of some times that are sampled together: all of several times, or some of one.

    Args:
        number: Position among the pieces.
        times: Positions of the times, ascending.
        members: Positions of the members, ascending, the same for each time.
    """

    number: int
    times: range
    members: range

    @property
    def name(self) -> str:
        """Name of the piece's record."""
        return f"{self.number:08d}"

    def __len__(self) -> int:
        return len(self.times) * len(self.members)

    @property
    def has_fields(self) -> bool:
        """Whether the piece holds what a time has once: inputs, truth, mean."""
        return self.members.start == 0

    def places(self, spec: EnsembleSpec) -> list[Place]:
        """Give where its fields lie in the file."""
        return [place for time in self.times for place in places_of(spec, time, self.members, self.has_fields)]


def cut(times: int, members: int, batch: int) -> tuple[Piece, ...]:
    """Cut ``times`` x ``members`` into pieces of at most ``batch`` samples.

    Several whole times share a piece where they fit; otherwise a time has as few pieces of nearly equal size as fit.

    Example:
        >>> [(list(p.times), list(p.members)) for p in cut(3, 2, 4)]
        [([0, 1], [0, 1]), ([2], [0, 1])]
        >>> [(list(p.times), list(p.members)) for p in cut(1, 5, 3)]
        [([0], [0, 1, 2]), ([0], [3, 4])]
    """
    if batch >= members:
        together = batch // members
        starts = range(0, times, together)
        blocks = [(range(t, min(t + together, times)), range(members)) for t in starts]
    else:
        parts = -(-members // batch)
        edges = [-(-members * part // parts) for part in range(parts + 1)]
        blocks = [(range(t, t + 1), range(a, b)) for t in range(times) for a, b in pairwise(edges)]
    return tuple(Piece(number, *block) for number, block in enumerate(blocks))


def value_bytes(spec: EnsembleSpec, pieces: Sequence[Piece]) -> int:
    """Give the bytes of all fields of some pieces before compression."""
    field, coarse = prod(spec.grid.shape), prod(spec.coarse_grid.shape)
    once = sum(len(c) * (coarse if name == "input_native" else field) for name, c in spec.field_groups.items())
    members = sum(len(piece) for piece in pieces) * len(spec.output_channels) * field
    return VALUE_BYTES * (members + once * sum(len(piece.times) for piece in pieces if piece.has_fields))
