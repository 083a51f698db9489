# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Two-dimensional spectral convolution: one function, several backends."""

from ..dispatch import BACKEND_VARIABLE, available_backends, choose_backend
from . import batching  # noqa: F401 - registers its rules
from .layer import spectral_layer2d
from .op import largest_modes, spectral_conv2d

__all__ = [
    "BACKEND_VARIABLE",
    "available_backends",
    "choose_backend",
    "largest_modes",
    "spectral_conv2d",
    "spectral_layer2d",
]
