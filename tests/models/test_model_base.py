# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from random_networks import tiny_fsuno

from physicsnemo_fs.models.base import check_fields, parameter_dtype, refuse_set


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 2, 16, 16), (1, 3, 15, 16), (1, 3, 16, 15)])
def test_misfit_fields_are_named(shape):
    with pytest.raises(ValueError, match=r"y must have shape \[batch, 3, height >= 16, width >= 16\]: got"):
        check_fields("y", torch.zeros(shape), 3, 16)


def test_fields_that_fit_pass():
    check_fields("y", torch.zeros(1, 3, 16, 17), 3, 16)


def test_options_without_meaning_are_refused_by_name():
    refuse_set(class_labels=None, lead_time_label=None)
    with pytest.raises(ValueError, match="no use for class_labels, global_index: leave them unset"):
        refuse_set(class_labels=0, lead_time_label=None, global_index=False)


def test_to_moves_casts_and_drops_memory_formats():
    network = tiny_fsuno()
    assert network.to(memory_format=torch.channels_last) is network
    assert parameter_dtype(network.to(torch.float64, memory_format=torch.channels_last)) == torch.float64
    assert parameter_dtype(network.to(device="cpu", dtype=torch.float32)) == torch.float32
    assert all(parameter.is_contiguous() for parameter in network.parameters())
