# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Data is known again by what it holds."""

from types import SimpleNamespace

import torch

from physicsnemo_fs.data.recognition import sample_numbers


def dataset(seed, invariants):
    def fetch(positions):
        draws = torch.Generator().manual_seed(seed + positions[0])
        coarse, target = (torch.randn(1, 2, n, n, generator=draws) for n in (4, 8))
        return SimpleNamespace(coarse=coarse, target=target, invariants=torch.ones(1, invariants, 8, 8))

    return SimpleNamespace(fetch=fetch)


def test_numbers_tell_samples_apart_with_and_without_static_fields():
    for invariants in (0, 1):
        numbers = sample_numbers(dataset(0, invariants), range(3))
        assert numbers == sample_numbers(dataset(0, invariants), range(3))
        assert numbers != sample_numbers(dataset(9, invariants), range(3))
        assert [len(row) for row in numbers] == [3 * (2 + invariants)] * 3
