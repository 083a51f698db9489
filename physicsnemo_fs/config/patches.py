# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Diffusion on windows of a domain that does not fit."""

from dataclasses import dataclass

from physicsnemo_fs.config.keys import key


@dataclass
class PatchHyperParameters:
    """Windows that the diffusion is trained on, with training.patches.mean the regression too."""

    patch_shape_x: int | None = key(
        None, "Columns of the windows the diffusion is trained on; null for the whole domain.", least=16
    )
    patch_shape_y: int | None = key(None, "Rows of the windows; null for as many as columns.", least=16)
    patch_num: int = key(1, "Windows of each image: one noise, one mean, several places.", least=1)
    max_patch_per_gpu: int | None = key(
        None, "Windows the network sees at once, which sets the memory of training; null for all.", least=1
    )

    @property
    def patch_shape(self) -> tuple[int, int] | None:
        """Rows and columns of a window; ``None`` for the whole domain."""
        if self.patch_shape_x is None and self.patch_shape_y is None:
            return None
        rows, columns = self.patch_shape_y or self.patch_shape_x, self.patch_shape_x or self.patch_shape_y
        assert rows is not None  # noqa: S101 - one of them is given
        assert columns is not None  # noqa: S101 - the same
        return rows, columns


@dataclass
class PatchConfig:
    """What a window is told about the domain it lies in."""

    position_frequencies: int = key(
        1, "Frequencies of the sines and cosines of the place, four channels each; 0 for none.", least=0
    )
    context: bool = key(True, "Show every window the inputs averaged over the whole domain.")
    mean: bool = key(False, "Train the mean on windows too; false for the whole domain.")


@dataclass
class PatchGeneration:
    """How a domain is cut for a denoiser of windows."""

    overlap_pix: int | None = key(
        None, "Rows and columns that neighbouring windows share at least; null for a quarter of the window.", least=0
    )
    boundary_pix: int | None = key(
        None, "Rows and columns at a window's edges that count nothing; null for three eighths of the overlap.", least=0
    )
    max_patch_per_gpu: int = key(16, "Windows evaluated at once, which sets the memory of generation.", least=1)
    ranks_per_member: int | None = key(
        None,
        "Processes that make each member of a denoiser of windows together, each a strip of rows; null for 1, or more "
        "where there are fewer pieces of work than processes.",
        least=1,
    )
