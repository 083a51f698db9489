# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Hydra configuration files, installed as ``physicsnemo_fs.conf``."""
