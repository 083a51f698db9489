# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Layers that act on functions: spectral convolutions, exact resampling, embeddings, blocks."""
