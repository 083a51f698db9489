# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Train the regression and the residual diffusion: see conf/config_train.yaml."""

from physicsnemo_fs.cli import train

if __name__ == "__main__":
    train()
