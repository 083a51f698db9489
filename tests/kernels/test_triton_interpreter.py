# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Runs the Triton kernels in Triton's interpreter, which has to be chosen before Triton is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_kernels_are_right_in_the_interpreter():
    pytest.importorskip("triton")
    files = [str(Path(__file__).with_name(f"test_triton_{name}.py")) for name in ("values", "layers", "fields")]
    command = [sys.executable, "-m", "pytest", "-x", *files]
    run = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
