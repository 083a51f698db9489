# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""How many processes make a member together."""

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.nn.windows import WindowGrid


def team_size(wanted: int | None, processes: int, pieces: int, windows: WindowGrid | None) -> int:
    """Give the processes of a team: as configured, or one, or as many as leave none without work.

    Args:
        wanted: ``generation.ranks_per_member``.
        processes: All processes.
        pieces: Pieces of work.
        windows: Windows of the domain; ``None`` for networks of whole fields.

    Raises:
        InputError: If the processes cannot be cut into such teams, or the networks see whole fields.

    Example:
        >>> windows = WindowGrid((64, 64), (16, 64), (0, 0))
        >>> team_size(None, 8, 100, windows), team_size(None, 8, 3, windows), team_size(None, 8, 1, windows)
        (1, 4, 4)
    """
    if wanted is None:
        rows = 1 if windows is None else len(windows.rows.starts)
        teams = [size for size in range(1, processes + 1) if processes % size == 0 and size <= rows]
        return next((size for size in teams if processes // size <= pieces), teams[-1])
    if windows is None and wanted > 1:
        raise InputError(
            f"generation.ranks_per_member={wanted} needs networks of windows: these see whole fields; leave it out, or "
            "train with training.hp.patch_shape_x"
        )
    if processes % wanted:
        raise InputError(
            f"generation.ranks_per_member must divide the number of processes: got {wanted} and {processes}; give a "
            "divisor, or start another number"
        )
    return wanted
