# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Build a training store from raw files: fine.data_path=... fine.variables=[...] output=..."""

from physicsnemo_fs.cli import build

if __name__ == "__main__":
    build()
