# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Spectral kernels, installed as ``physicsnemo_fs.kernels``."""

if __name__ != "physicsnemo_fs.kernels":
    raise ImportError(
        f"import physicsnemo_fs.kernels, not {__name__}: a second copy would register its operators twice"
    )

from .group_norm import group_norm_film_activation
from .pointwise import pointwise_map
from .resample import fourier_resample
from .spectral_conv import (
    BACKEND_VARIABLE,
    available_backends,
    choose_backend,
    largest_modes,
    spectral_conv2d,
    spectral_layer2d,
)

__all__ = [
    "BACKEND_VARIABLE",
    "available_backends",
    "choose_backend",
    "fourier_resample",
    "group_norm_film_activation",
    "largest_modes",
    "pointwise_map",
    "spectral_conv2d",
    "spectral_layer2d",
]
