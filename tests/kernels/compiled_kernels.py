# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What the Triton kernels become for each GPU, compiled without one.

    python tests/kernels/compiled_kernels.py    # writes compiled_kernels.csv anew

The launches are the ones that the library makes: they are recorded, not repeated here.
"""

import csv
import importlib
import re
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from physicsnemo_fs.kernels.group_norm import triton_kernels as norms
from physicsnemo_fs.kernels.spectral_conv import triton_kernels as kernels

TABLE = Path(__file__).with_suffix(".csv")
NVIDIA = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
MATRIX_INSTRUCTIONS = ("mma.sync", "wgmma.mma_async", "tcgen05.mma")
SHARED_LIMIT = {80: 166912, 90: 232448, 100: 232448}
BATCH, CHANNELS, GROUPS, SIZE = 4, 64, 8, 128


def _analysis(dtype, modes, exact=False, size=SIZE):
    kernels.analysis(torch.empty(BATCH, CHANNELS, size, size, dtype=dtype), modes, modes, True, exact)


def _synthesis(dtype, modes, exact=False):
    kernels.synthesis(_pairs(modes), SIZE, SIZE, modes, modes, dtype, True, exact)


def _layer(dtype, modes, exact=False, size=SIZE):
    values, affine = torch.empty(BATCH, CHANNELS, size, size, dtype=dtype), torch.empty(3, BATCH, CHANNELS)
    kernels.layer(_pairs(modes), values, affine, "gelu", size, size, modes, modes, dtype, exact)


def _layer_backward(dtype, modes, exact=False, size=SIZE):
    values, affine = torch.empty(BATCH, CHANNELS, size, size, dtype=dtype), torch.empty(3, BATCH, CHANNELS)
    kernels.layer_backward(values, _pairs(modes), values, affine, "gelu", modes, modes, exact)


def _mapped(dtype, modes, result="layer", exact=False, size=SIZE):
    values, affine = torch.empty(BATCH, CHANNELS, size, size, dtype=dtype), torch.empty(3, BATCH, CHANNELS)
    factor = torch.empty(CHANNELS, CHANNELS, dtype=dtype)
    if result == "layer":
        kernels.concatenated_layer(_pairs(modes), values, factor, affine, "gelu", modes, modes, exact)
    elif result == "backward":
        kernels.concatenated_layer_backward(values, _pairs(modes), values, factor, affine, "gelu", modes, modes, exact)
    else:
        kernels.concatenated(_pairs(modes), values, factor.T, modes, modes, True, exact)


def _rows(dtype, modes, exact=False):
    kernels.rows.synthesise_rows(_pairs(modes), SIZE, SIZE, modes, modes, dtype, exact=exact)


def _product(function, exact=False):
    pairs, weight = _pairs(1), torch.empty(2, CHANNELS, CHANNELS, 2)
    function(pairs, pairs if function is kernels.mix_weight else weight, exact)


def _norm(dtype, size, backward=False):
    x, film = torch.empty(BATCH, CHANNELS, size, size, dtype=dtype), torch.empty(BATCH, CHANNELS, dtype=dtype)
    affine = torch.empty(CHANNELS), torch.empty(CHANNELS)
    if backward:
        return norms.backward(x, x, torch.empty(BATCH, GROUPS, 2), GROUPS, *affine, film, film, "gelu")
    return norms.forward(x, GROUPS, *affine, film, film, "gelu", 1e-5)


def _one_plane():
    kernels.layer(torch.empty(2, 1, 1, 2), None, torch.empty(3, 1, 1), "silu", 2, 1, 1, 1, torch.float16)


def _one_image():
    kernels.analysis(torch.empty(1, 1, 2, 1), 1, 1, True)


def _one_number():
    kernels.mix(torch.empty(1, 1, 1, 2), torch.empty(1, 1, 1, 2))


def _pairs(modes):
    return torch.empty(2 * modes * modes, BATCH, CHANNELS, 2)


_KERNELS = (
    (f"{kernels.__name__}.analysis", "_analysis_kernel"),
    (f"{kernels.__name__}.synthesis", "_synthesis_kernel"),
    (f"{kernels.__name__}.rows", "_rows_kernel"),
    (f"{kernels.__name__}.concatenated", "_concatenated_kernel"),
    (f"{kernels.__name__}.mixing", "_product_kernel"),
    (norms.__name__, "_forward_kernel"),
    (norms.__name__, "_backward_kernel"),
)
_TENSOR_CORES = {
    "analysis bf16 16": (_analysis, torch.bfloat16, 16),
    "analysis bf16 32": (_analysis, torch.bfloat16, 32),
    "analysis fp16 32": (_analysis, torch.float16, 32),
    "analysis tf32 32": (_analysis, torch.float32, 32),
    "synthesis bf16 16": (_synthesis, torch.bfloat16, 16),
    "synthesis bf16 32": (_synthesis, torch.bfloat16, 32),
    "synthesis tf32 32": (_synthesis, torch.float32, 32),
    "layer bf16 32": (_layer, torch.bfloat16, 32),
    "layer tf32 32": (_layer, torch.float32, 32),
    "layer_backward bf16 32": (_layer_backward, torch.bfloat16, 32),
    "layer_backward tf32 32": (_layer_backward, torch.float32, 32),
    "rows bf16 32": (_rows, torch.bfloat16, 32),
    "rows tf32 32": (_rows, torch.float32, 32),
    "mapped_layer bf16 32": (_mapped, torch.bfloat16, 32),
    "mapped_layer tf32 32": (_mapped, torch.float32, 32),
    "mapped_backward bf16 32": (_mapped, torch.bfloat16, 32, "backward"),
    "mapped_backward tf32 32": (_mapped, torch.float32, 32, "backward"),
    "mapped_image bf16 32": (_mapped, torch.bfloat16, 32, "image"),
    "mix tf32": (_product, kernels.mix),
    "mix_adjoint tf32": (_product, kernels.mix_adjoint),
    "mix_weight tf32": (_product, kernels.mix_weight),
}
ODD = 121
"""A grid whose rows begin at no multiple of 16 bytes."""
_FURTHER = {
    "analysis tf32 4": (_analysis, torch.float32, 4),
    "analysis tf32 16": (_analysis, torch.float32, 16),
    "analysis bf16 12 odd": (_analysis, torch.bfloat16, 12, False, ODD),
    "synthesis tf32 4": (_synthesis, torch.float32, 4),
    "synthesis tf32 16": (_synthesis, torch.float32, 16),
    "layer fp16 32": (_layer, torch.float16, 32),
    "layer bf16 12 odd": (_layer, torch.bfloat16, 12, False, ODD),
    "layer_backward fp16 32": (_layer_backward, torch.float16, 32),
    "layer_backward tf32 12 odd": (_layer_backward, torch.float32, 12, False, ODD),
    "mapped_layer fp16 32": (_mapped, torch.float16, 32),
    "mapped_backward bf16 12 odd": (_mapped, torch.bfloat16, 12, "backward", False, ODD),
    "mapped_image tf32 16": (_mapped, torch.float32, 16, "image"),
}
_SMALLEST = {"layer fp16 1": (_one_plane,), "analysis tf32 1": (_one_image,), "mix tf32 1": (_one_number,)}
_EXACT = {
    "analysis exact 32": (_analysis, torch.float32, 32, True),
    "synthesis exact 32": (_synthesis, torch.float32, 32, True),
    "layer exact 32": (_layer, torch.float32, 32, True),
    "layer_backward exact 32": (_layer_backward, torch.float32, 32, True),
    "rows exact 32": (_rows, torch.float32, 32, True),
    "mapped_layer exact 32": (_mapped, torch.float32, 32, "layer", True),
    "mapped_backward exact 32": (_mapped, torch.float32, 32, "backward", True),
    "mix exact": (_product, kernels.mix, True),
    "mix_adjoint exact": (_product, kernels.mix_adjoint, True),
    "mix_weight exact": (_product, kernels.mix_weight, True),
}
_NORMS = {
    "norm bf16 16": (_norm, torch.bfloat16, 16),
    "norm fp32 128": (_norm, torch.float32, 128),
    "norm bf16 128": (_norm, torch.bfloat16, 128),
    "norm_backward bf16 16": (_norm, torch.bfloat16, 16, True),
    "norm_backward fp32 128": (_norm, torch.float32, 128, True),
    "norm_backward bf16 128": (_norm, torch.bfloat16, 128, True),
}
WITHOUT_MATRIX_UNITS = _EXACT | _NORMS
CASES = [(name, arch) for name in _TENSOR_CORES | _NORMS for arch in SHARED_LIMIT]
CASES += [(name, 90) for name in _FURTHER | _SMALLEST | _EXACT]


class _Recorder:
    """Stands in for a kernel and keeps the arguments of its launch."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.launch = None

    def __getitem__(self, grid):
        return self

    def __call__(self, *arguments, **keywords):
        self.launch = arguments, keywords


def measure(name: str, arch: int) -> dict:
    """Compile one case and give its registers, stack, shared memory and matrix instructions."""
    function, *arguments = (_TENSOR_CORES | _FURTHER | _SMALLEST | WITHOUT_MATRIX_UNITS)[name]
    with ExitStack() as stack:
        recorders = []
        for module, kernel in _KERNELS:
            module = importlib.import_module(module)
            recorders.append(_Recorder(getattr(module, kernel)))
            stack.enter_context(patch.object(module, kernel, recorders[-1]))
        function(*arguments)
    recorder = [r for r in recorders if r.launch][-1]  # the kernel of the case is launched last
    compiled = _compile(recorder.kernel, *recorder.launch, arch)
    ptx = compiled.asm["ptx"]
    registers, stack = _usage(compiled.asm["cubin"])
    return {
        "kernel": name,
        "arch": arch,
        "triton": triton.__version__,
        "registers": registers,
        "stack": stack,
        "shared": compiled.metadata.shared,
        **{i: len(re.findall(rf"^\s*(?:@\S+ )?{re.escape(i)}", ptx, re.M)) for i in MATRIX_INSTRUCTIONS},
    }


def _compile(kernel, arguments, keywords, arch):
    """Compile a launch as the just-in-time compiler would: integers by divisibility, ones as constants."""
    signature, constants, attributes = {}, {}, {}
    values = dict(zip(kernel.arg_names, arguments, strict=False)) | keywords
    for index, argument in enumerate(kernel.arg_names):
        value = values.pop(argument)
        if isinstance(value, torch.Tensor):
            signature[argument] = TYPES[value.dtype]
        elif argument in keywords or value == 1:
            signature[argument], constants[(index,)] = "constexpr", value
        else:
            signature[argument] = "fp32" if isinstance(value, float) else "i32"
        if isinstance(value, torch.Tensor) or (signature[argument] == "i32" and value % 16 == 0):
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=values)


def _usage(cubin: bytes) -> tuple[int, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(NVIDIA / "cuobjdump"), "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", text).groups()
    return int(registers), int(stack)


if __name__ == "__main__":
    rows = [measure(*case) for case in CASES]
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
