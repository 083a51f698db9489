# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Trained networks as packages that earth2studio runs."""

from importlib.util import find_spec
from typing import Any

__all__ = ["Exported", "export_package", "to_ensemble_file"]
if find_spec("earth2studio"):
    __all__ += ["CorrDiffRegional"]
PLACES = {
    "CorrDiffRegional": "corrdiff_regional",
    "Exported": "package",
    "export_package": "package",
    "to_ensemble_file": "collect",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: CorrDiffRegional needs earth2studio, and the others do not.

    Raises:
        ImportError: If earth2studio is missing, with the extra that brings it.
    """
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
