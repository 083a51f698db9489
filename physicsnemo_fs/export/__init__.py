# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Trained networks as packages that earth2studio runs."""

from importlib.util import find_spec
from typing import Any

from physicsnemo_fs.export.collect import to_ensemble_file
from physicsnemo_fs.export.package import Exported, export_package

__all__ = ["Exported", "export_package", "to_ensemble_file"]
if find_spec("earth2studio"):
    __all__ += ["CorrDiffRegional"]


def __getattr__(name: str) -> Any:
    """Import ``CorrDiffRegional`` on first use: it needs earth2studio, which the rest does not.

    Raises:
        ImportError: If earth2studio is missing, with the extra that brings it.
    """
    if name != "CorrDiffRegional":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from physicsnemo_fs.export.corrdiff_regional import CorrDiffRegional

    return CorrDiffRegional
