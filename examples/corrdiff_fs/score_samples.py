# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Score generated ensembles: path=... output=..."""

from physicsnemo_fs.cli import score

if __name__ == "__main__":
    score()
