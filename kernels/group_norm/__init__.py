# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Group normalisation with what follows it in a block: modulation and activation."""

from .op import group_norm_film_activation

__all__ = ["group_norm_film_activation"]
