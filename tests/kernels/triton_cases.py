# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the Triton kernels share: where they run, tolerances, random tensors."""

import os

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
MARKS = [] if INTERPRETED else [pytest.mark.gpu]

# relative L2 errors against float64, measured in the interpreter, which multiplies exactly what it is given
EXACT = 1e-6  # at most 3e-7
TF32 = 2e-3
TOLERANCE = {
    torch.float32: EXACT,
    torch.float16: 1.5e-3 if INTERPRETED else 4e-3,  # at most 6e-4; on a GPU the mixing adds TF32's error
    torch.bfloat16: 6e-3,  # at most 4.6e-3: the interpreter truncates what it stores; rounding halves that
}


def need_a_device():
    """Skip a module where neither a GPU nor the interpreter runs the kernels."""
    if not INTERPRETED and not torch.cuda.is_available():
        pytest.skip("no CUDA device; test_triton_interpreter.py runs these in the interpreter", allow_module_level=True)


def draw(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def draw_tensors(size, modes, channels=(3, 5), batch=2):
    x = draw(batch, channels[0], *size)
    return x, draw(2 * modes[0] * modes[1], *channels, 2, seed=1)


def on_device(dtype, *tensors):
    return [t.to(DEVICE, dtype).requires_grad_() for t in tensors]


@pytest.fixture
def poisoned(monkeypatch):
    """Fill every new output with NaN, so that an element that no program writes is seen."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: empty(*a, **k).fill_(torch.nan))
