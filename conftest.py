# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Modules whose import needs an extra are left out of the doctests where it is not installed."""

from importlib.util import find_spec

NEEDS_EARTH2STUDIO = ["physicsnemo_fs/export/corrdiff_regional.py", "physicsnemo_fs/export/workflow.py"]
collect_ignore = [] if find_spec("earth2studio") else NEEDS_EARTH2STUDIO
