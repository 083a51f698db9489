# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Kolmogorov flow: solver, trajectories on disk, symmetries, coarse views."""
