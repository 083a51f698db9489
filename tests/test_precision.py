# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which precision a name means on which device."""

import pytest
import torch

from physicsnemo_fs import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(("in_hardware", "meaning"), [(True, "amp-bf16"), (False, "fp32")])
def test_auto_follows_the_hardware(monkeypatch, in_hardware, meaning):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: in_hardware)
    assert precision.resolve_precision(CPU, "auto") == meaning


@pytest.mark.parametrize("name", ["fp32", "amp-bf16"])
def test_a_named_precision_is_kept(monkeypatch, name):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: name == "fp32")
    assert precision.resolve_precision(CPU, name) == name


def test_full_precision_leaves_operations_alone():
    with precision.autocast(CPU, "fp32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
