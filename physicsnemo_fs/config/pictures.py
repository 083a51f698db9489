# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Pictures and videos of samples and data."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from physicsnemo_fs.config.keys import key


@dataclass
class PictureConfig:
    """``physicsnemo-fs picture``."""

    path: str = key(MISSING, "Samples (this project's, CorrDiff's, earth2studio's), or data with fields over time.")
    output: str | None = key(None, "The .png to write; null puts it beside the file.")
    truth: str | None = key(None, "File with the truth, for samples that hold none.")
    variable: str | None = key(None, "Variable to draw; null for the first.")
    columns: list[str] = key(
        ["coarse", "truth", "member", "mean", "spread"],
        "What to draw, of coarse, interpolation, regression, truth, member, mean and spread; absent ones are left out.",
    )
    members: int = key(1, "Members to draw.", least=1)
    times: Any = key(None, "ISO times; null takes some, evenly spread.")
    max_times: int = key(3, "Most times, evenly spread.", least=1)
    maps: bool = key(True, "Draw maps where the grid has positions and cartopy is installed (extra maps).")
    dpi: int = key(110, "Pixels an inch.", least=20)


@dataclass
class VideoConfig(PictureConfig):
    """``physicsnemo-fs video``."""

    output: str | None = key(None, "The .mp4 to write; null puts it beside the file.")
    max_times: int = key(500, "Most times, evenly spread.", least=1)
    fps: float = key(8.0, "Frames a second.", above=0)
