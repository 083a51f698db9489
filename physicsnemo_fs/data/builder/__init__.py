# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""From raw files to one training store: regions, regridding, the coarse partner, splits, workers."""
