# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What :func:`~physicsnemo_fs.export.workflow.downscale` notes beside the members that an IO backend holds."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ATTRIBUTE = "physicsnemo_fs"


@dataclass(frozen=True)
class Note:
    """What made members.

    Args:
        seeds: Seed of each member; ``None`` if they are not known.
        package: Hash of the package's description; ``None`` if it is not known.
    """

    seeds: list[int] | None = None
    package: str | None = None

    @staticmethod
    def of(model: Any) -> "Note":
        """Give the note of a ``CorrDiff`` or ``CorrDiffRegional``."""
        seeds = None if model.seed is None else [int(model.seed) + m for m in range(model.number_of_samples)]
        return Note(seeds, getattr(model, "package_hash", None))

    @staticmethod
    def read(attributes: Mapping[str, Any]) -> "Note":
        """Give the note in the attributes of a file or store; an empty one if there is none."""
        return Note(**json.loads(attributes[ATTRIBUTE])) if ATTRIBUTE in attributes else Note()

    def write(self, io: Any) -> None:
        """Write the note to an IO backend, if its kind holds attributes."""
        root: Any = getattr(io, "root", None)
        text = json.dumps(asdict(self))
        if hasattr(root, "setncattr"):
            root.setncattr(ATTRIBUTE, text)
        elif hasattr(root, "attrs"):
            root.attrs[ATTRIBUTE] = text
