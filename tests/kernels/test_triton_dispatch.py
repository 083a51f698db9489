# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""When the Triton kernels are chosen, and what is said when they cannot run."""

import subprocess
import sys

import pytest
import torch

from physicsnemo_fs.kernels import BACKEND_VARIABLE, choose_backend, dispatch, spectral_conv2d

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def tf32_switch(monkeypatch):
    """Restore torch's precision, and start where float32 means float32."""
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def capability(monkeypatch):
    """Pretend that the CUDA device has a compute capability."""

    def pretend(major, minor):
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, minor))

    return pretend


@pytest.mark.usefixtures("tf32_switch")
def test_a_gpu_with_tensor_cores_takes_triton_where_precision_allows(capability):
    pytest.importorskip("triton")
    capability(9, 0)
    for dtype in (torch.bfloat16, torch.float16):
        assert choose_backend(CUDA, (32, 32), dtype=dtype) == "triton"
        assert choose_backend(CUDA, (33, 32), dtype=dtype) == "pruned_fft"
        assert choose_backend(CUDA, (32, 33), dtype=dtype) == "pruned_fft"
    assert choose_backend(CUDA, (8, 8)) == "pruned_fft"
    torch.set_float32_matmul_precision("high")
    assert choose_backend(CUDA, (8, 8)) == "triton"
    assert choose_backend(CUDA, (8, 8), dtype=torch.float64) == "pruned_fft"
    assert choose_backend(CPU, (8, 8), dtype=torch.bfloat16) == "partial_dft"


@pytest.mark.usefixtures("tf32_switch")
def test_an_older_gpu_takes_the_fft_and_refuses_triton(capability):
    pytest.importorskip("triton")
    capability(7, 5)
    assert choose_backend(CUDA, (8, 8), dtype=torch.float16) == "pruned_fft"
    with pytest.raises(ValueError, match=r"backend 'triton' needs compute capability 8\.0: got 7\.5"):
        choose_backend(CUDA, (8, 8), "triton", torch.float16)


@pytest.mark.usefixtures("tf32_switch")
def test_exact_products_serve_float32_where_tf32_is_not_allowed():
    assert dispatch.triton_transform(torch.float32) == "triton_exact"
    assert dispatch.triton_transform(torch.bfloat16) == "triton"
    torch.set_float32_matmul_precision("high")
    assert dispatch.triton_transform(torch.float32) == "triton"


def test_every_way_to_allow_tf32_is_understood():
    # in a fork each, because torch does not let a process mix the old and the new way
    code = """
import os, torch
from physicsnemo_fs.kernels.dispatch import triton_transform
assert triton_transform(torch.float32) == "triton_exact"
for setting in (
    "torch.set_float32_matmul_precision('high')",
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.cuda.matmul.allow_tf32 = True",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.fp32_precision = 'tf32'",
):
    child = os.fork()
    if child == 0:
        exec(setting)
        os._exit(triton_transform(torch.float32) != "triton")
    assert os.waitpid(child, 0)[1] == 0, setting
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_cpu_refuses_triton_unless_it_is_interpreted(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    import physicsnemo_fs.kernels.spectral_conv.triton_kernels  # noqa: F401 - before the variable is set

    x, weight = torch.zeros(1, 1, 8, 8), torch.zeros(8, 1, 1, 2)
    with pytest.raises(ValueError, match=r"^backend 'triton' needs an NVIDIA GPU: got cpu; .*TRITON_INTERPRET=1"):
        spectral_conv2d(x, weight, (2, 2), backend="triton")
    monkeypatch.setenv(BACKEND_VARIABLE, "triton")
    with pytest.raises(ValueError, match=r"^PHYSICSNEMO_FS_BACKEND 'triton' needs an NVIDIA GPU"):
        spectral_conv2d(x, weight, (2, 2))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ValueError, match="before Triton is imported"):
        spectral_conv2d(x, weight, (2, 2))


def test_triton_refuses_float64():
    x, weight = torch.zeros(1, 1, 8, 8), torch.zeros(8, 1, 1, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"computes float32, bfloat16 and float16: got torch\.float64"):
        spectral_conv2d(x, weight, (2, 2), backend="triton")


def test_the_kernels_import_without_triton():
    code = """
import sys
class NoTriton:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "triton":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoTriton())
import torch
from physicsnemo_fs.kernels import spectral_conv2d
spectral_conv2d(torch.zeros(1, 1, 8, 8), torch.zeros(8, 1, 1, 2), (2, 2))
assert "triton" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_choice_is_traced_as_a_constant():
    def run(x):
        return x + len(dispatch.obstacle_to_triton(x.device, x.dtype)) + dispatch._tf32_is_allowed()

    x = torch.zeros(2)
    assert torch.equal(torch.compile(run, fullgraph=True, backend="aot_eager")(x), run(x))
