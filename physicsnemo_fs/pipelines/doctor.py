# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What this machine offers: for bug reports and first steps."""

import importlib.util
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from physicsnemo_fs.kernels import available_backends, choose_backend
from physicsnemo_fs.precision import multiplies_bfloat16

PACKAGES = ("physicsnemo-fs", "nvidia-physicsnemo", "torch", "triton", "numpy", "xarray", "netCDF4")


def _version(package: str) -> str:
    try:
        return version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def report() -> str:
    """Give devices, versions, the spectral kernel in use, MPI and whether results can be written here.

    Example:
        >>> "torch" in report()
        True
    """
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    device = torch.device("cuda" if devices else "cpu")
    lines = {
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "cuda": ", ".join(devices) or "no device",
        "bfloat16 matrices": "in hardware" if multiplies_bfloat16(device) else "emulated",
        "spectral kernel": f"{choose_backend(device, (16, 16))} of {', '.join(available_backends())}",
        "mpi": "mpi4py is there" if importlib.util.find_spec("mpi4py") else "mpi4py is missing",
        "outputs/": "writable" if os.access(Path.cwd(), os.W_OK) else "not writable",
    }
    return "\n".join(f"{name:20} {value}" for name, value in lines.items())
