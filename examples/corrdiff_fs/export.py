# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Write a run as a package for earth2studio: see conf/config_export.yaml."""

from physicsnemo_fs.cli import export

if __name__ == "__main__":
    export()
