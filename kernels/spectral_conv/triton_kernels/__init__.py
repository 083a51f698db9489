# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The transforms and the mode mixing as Triton kernels. Import this only where Triton is installed."""

import triton
import triton.language as tl

from .dft import analysis, synthesis
from .mixing import _product_kernel, mix, mix_adjoint, mix_weight

# TRITON_INTERPRET acts where functions are decorated: Triton's own, then these
INTERPRETED = not any(isinstance(function, triton.JITFunction) for function in (tl.max, _product_kernel))

__all__ = ["INTERPRETED", "analysis", "mix", "mix_adjoint", "mix_weight", "synthesis"]
