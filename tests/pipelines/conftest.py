# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""One small data folder and one small finished run for all tests of the pipelines."""

import pytest
from small_run import small_config

from physicsnemo_fs.pipelines.train import train


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def run_dir(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(small_config(data, folder))
    return folder
