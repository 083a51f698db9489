# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which implementation runs: by name, by environment, or by a plain rule."""

import importlib.util
import os
from contextlib import AbstractContextManager, nullcontext

import torch

BACKEND_VARIABLE = "PHYSICSNEMO_FS_BACKEND"

_NAMES = ("reference", "pruned_fft", "partial_dft", "triton")
_MOST_COLUMNS_OF_PARTIAL_DFT = 12  # where the two met in measurements on one CPU thread, see README.md
_MOST_MODES_OF_TRITON = 32  # beyond, a model of its arithmetic exceeds its traffic, see README.md


def available_backends() -> tuple[str, ...]:
    """Give the names that ``backend=`` and ``PHYSICSNEMO_FS_BACKEND`` accept.

    Example:
        >>> "reference" in available_backends()
        True
    """
    return _NAMES


def choose_backend(
    device: torch.device, modes: tuple[int, int], backend: str | None = None, dtype: torch.dtype = torch.float32
) -> str:
    """Give the name of the backend that :func:`.spectral_conv2d` will run.

    A name that is asked for, by argument or by ``PHYSICSNEMO_FS_BACKEND``, is that name or an error. Else

    - on a CPU "partial_dft" for up to 12 columns;
    - on an NVIDIA GPU of compute capability 8.0 or higher with Triton installed, for up to 32 modes either way,
      "triton" for bfloat16 and float16, and for float32 where torch's own switch allows TF32 in matrix products
      (``torch.set_float32_matmul_precision("high")``, ``torch.backends.cuda.matmul.fp32_precision = "tf32"``);
    - "pruned_fft" everywhere else;
    - "reference" in place of all of them while forward derivatives (``torch.func.jvp``) are taken.

    Args:
        device: Where the input lies.
        modes: ``(m1, m2)``, m2 counted in the real-FFT half.
        backend: The caller's wish, stronger than the environment variable.
        dtype: The dtype of the input.

    Raises:
        ValueError: There is no backend of that name, or "triton" is asked for and cannot run: it takes float32,
            bfloat16 and float16, on such a GPU, or on a CPU in Triton's interpreter (``TRITON_INTERPRET=1``). Or one
            without forward derivatives is asked for while they are taken.

    Example:
        >>> choose_backend(torch.device("cpu"), (8, 8), backend="reference")
        'reference'
    """
    asked, origin = (backend, "backend") if backend is not None else (_of_environment(), BACKEND_VARIABLE)
    if asked is None:
        name = automatic_backend(device, modes, dtype)
    else:
        name = named_backend(asked, _NAMES, device, dtype, instead="pruned_fft", origin=origin)
    return without_forward_derivatives(name, "reference", forced=asked is not None)


def named_backend(
    name: str, names: tuple[str, ...], device: torch.device, dtype: torch.dtype, instead: str, origin: str = "backend"
) -> str:
    """Give the backend that somebody named, if it is one of ``names`` and can run.

    Raises:
        ValueError: Otherwise, naming ``origin``, where the name came from, and what to choose ``instead``.
    """
    _require_known(name, names, origin)
    if name == "triton" and (obstacle := obstacle_to_triton(device, dtype)):
        raise ValueError(f"{origin} 'triton' {obstacle}, or choose {instead}")
    return name


def takes_forward_derivatives() -> bool:
    """Tell whether forward derivatives (``torch.func.jvp``) are being taken: only torch's own functions have them."""
    return torch.autograd.forward_ad._current_level >= 0


def without_forward_derivatives(name: str, instead: str, forced: bool) -> str:
    """Give what stands for a backend while forward derivatives are taken.

    Args:
        name: The backend that was chosen.
        instead: The one that has them.
        forced: Whether somebody asked for ``name``.

    Raises:
        ValueError: If somebody did, and it has none.
    """
    if not takes_forward_derivatives() or name == instead:
        return name
    if forced:
        raise ValueError(f"backend {name!r} has no forward derivatives (jvp); choose {instead} or leave it unset")
    return instead


def automatic_backend(device: torch.device, modes: tuple[int, int], dtype: torch.dtype) -> str:
    """Give the backend of the rule of :func:`choose_backend`, whatever is asked for."""
    if device.type == "cpu":
        return "partial_dft" if modes[1] <= _MOST_COLUMNS_OF_PARTIAL_DFT else "pruned_fft"
    low_precision = dtype != torch.float32 or _tf32_is_allowed()
    fits = max(modes) <= _MOST_MODES_OF_TRITON
    return "triton" if low_precision and fits and not obstacle_to_triton(device, dtype) else "pruned_fft"


def _of_environment() -> str | None:
    return os.environ.get(BACKEND_VARIABLE) or None


def _require_known(name: str, names: tuple[str, ...], origin: str) -> None:
    if name not in names:
        raise ValueError(f"{origin} must be one of {', '.join(names)}: got {name!r}; choose one or leave it unset")


def environment_allows_triton() -> bool:
    """Tell whether ``PHYSICSNEMO_FS_BACKEND`` leaves the operators beside the convolution free to choose "triton".

    Raises:
        ValueError: It names no backend.
    """
    if (name := _of_environment()) is not None:
        _require_known(name, _NAMES, BACKEND_VARIABLE)
    return name in (None, "triton")


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Give a context in which operands keep the dtypes that were chosen for them; the meta device has no autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def triton_transform(dtype: torch.dtype) -> str:
    """Give "triton", or "triton_exact" for float32 where torch's switch does not allow TF32.

    Example:
        >>> triton_transform(torch.bfloat16)
        'triton'
    """
    return "triton_exact" if dtype == torch.float32 and not _tf32_is_allowed() else "triton"


@torch.compiler.assume_constant_result
def _tf32_is_allowed() -> bool:
    # the one reading that no way of setting the switch makes an error
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


@torch.compiler.assume_constant_result
def obstacle_to_triton(device: torch.device, dtype: torch.dtype) -> str:
    """Say what keeps the Triton kernels from running; nothing if they can run."""
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"computes float32, bfloat16 and float16: got {dtype}; convert the tensors"
    if importlib.util.find_spec("triton") is None:
        return "needs the package triton, which is not installed; install it"
    if device.type == "cuda" and torch.version.cuda:
        major, minor = torch.cuda.get_device_capability(device)
        return "" if major >= 8 else f"needs compute capability 8.0: got {major}.{minor}; use a newer GPU"
    if device.type != "cpu" or os.environ.get("TRITON_INTERPRET") != "1":
        return f"needs an NVIDIA GPU: got {device}; move x there, set TRITON_INTERPRET=1 for Triton's interpreter"
    from .spectral_conv import triton_kernels

    return "" if triton_kernels.INTERPRETED else "needs TRITON_INTERPRET=1 before Triton is imported; set it earlier"
