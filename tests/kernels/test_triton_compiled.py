# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels compile for every supported GPU, fit, do not spill, and use the matrix units."""

import csv
import importlib

import pytest

triton = pytest.importorskip("triton")
compiled_kernels = importlib.import_module("compiled_kernels")

REGISTERS = 16  # tolerated difference from the recorded number


@pytest.fixture(scope="module")
def recorded():
    with compiled_kernels.TABLE.open() as file:
        return {(row["kernel"], int(row["arch"])): row for row in csv.DictReader(file)}


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "arch"), compiled_kernels.CASES)
def test_kernels_fit_without_spilling(kernel, arch, recorded):
    now = compiled_kernels.measure(kernel, arch)
    assert now["stack"] == 0
    assert now["shared"] <= compiled_kernels.SHARED_LIMIT[arch]
    on_matrix_units = any(now[i] for i in compiled_kernels.MATRIX_INSTRUCTIONS)
    assert on_matrix_units == (kernel not in compiled_kernels.WITHOUT_MATRIX_UNITS)

    row = recorded[kernel, arch]
    if row["triton"] == triton.__version__:
        assert now["shared"] == int(row["shared"]), "run python tests/kernels/compiled_kernels.py"
        assert abs(now["registers"] - int(row["registers"])) <= REGISTERS
        for instruction in compiled_kernels.MATRIX_INSTRUCTIONS:
            assert bool(now[instruction]) == (row[instruction] != "0")
