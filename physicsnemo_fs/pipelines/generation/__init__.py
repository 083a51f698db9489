# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The parts of generation: networks, times, pieces of work, sampling, writing, and the folder of unfinished work."""
