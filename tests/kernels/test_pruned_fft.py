# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from physicsnemo_fs.kernels.spectral_conv import pruned_fft


@pytest.mark.parametrize(("size", "modes"), [((20, 17), (3, 4)), ((16, 16), (8, 9)), ((33, 48), (5, 20))])
@pytest.mark.parametrize("planes_at_once", [1, 2, 4])
def test_values_do_not_depend_on_how_many_planes_are_transformed_at_once(monkeypatch, size, modes, planes_at_once):
    torch.manual_seed(0)
    x = torch.randn(3, 2, *size)
    coefficients = pruned_fft.analysis(x, *modes)
    values = pruned_fft.synthesis(coefficients, *size, *modes)
    monkeypatch.setattr(pruned_fft, "_planes_at_once", lambda _: planes_at_once)
    assert torch.equal(pruned_fft.analysis(x, *modes), coefficients)
    assert torch.equal(pruned_fft.synthesis(coefficients, *size, *modes), values)


@pytest.mark.parametrize("shape", [(2, 3, 1024, 1024), (8, 64, 128, 128), (2, 3, 16, 16), (0, 3, 16, 16)])
def test_a_cpu_transforms_what_fits_in_its_cache(shape):
    planes = torch.empty(shape).flatten(0, 1)
    count = pruned_fft._planes_at_once(planes)
    megabytes = count * shape[-2] * shape[-1] * 4 / 2**20
    assert 1 <= count <= max(1, len(planes))
    assert count == 1 or megabytes <= 2 * torch.get_num_threads()
