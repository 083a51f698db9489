# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Probabilistic downscaling with neural operators in function space, on NVIDIA PhysicsNeMo.

Importing the package starts no CUDA context, no network connection and no process group.
"""

from importlib.metadata import version

__version__ = version("physicsnemo-fs")
__all__ = ["__version__"]
