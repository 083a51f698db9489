# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Generate an ensemble to NetCDF: see conf/config_generate.yaml."""

from physicsnemo_fs.cli import generate

if __name__ == "__main__":
    generate()
