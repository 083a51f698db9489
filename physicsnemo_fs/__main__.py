# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""``python -m physicsnemo_fs <command>``: the same as ``physicsnemo-fs <command>``."""

from physicsnemo_fs.cli import main

if __name__ == "__main__":
    main()
