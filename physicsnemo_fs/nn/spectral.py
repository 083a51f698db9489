# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Spectral convolution layer whose checkpoints interchange with PhysicsNeMo's."""

import warnings
from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.kernels import largest_modes, spectral_conv2d, spectral_layer2d
from physicsnemo_fs.kernels.activations import require_pair

_NATIVE_NAMES = ("weights1", "weights2")


class SpectralModule(torch.nn.Module, ABC):
    """Modes and channels of a spectral convolution, and the rule for grids that are too small for its modes.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        modes1: Half of the number of kept rows: 0..modes1-1 and -modes1..-1.
        modes2: Kept columns of the real-FFT half, the constant one included.

    Raises:
        InputError: A count is not positive, or an input does not have ``in_channels`` channels.
    """

    def __init__(self, in_channels: int, out_channels: int, modes1: int, modes2: int):
        super().__init__()
        if min(in_channels, out_channels, modes1, modes2) < 1:
            raise InputError(
                "in_channels, out_channels, modes1 and modes2 must be positive: "
                f"got {in_channels}, {out_channels}, {modes1}, {modes2}; raise the one below 1"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.modes1 = modes1
        self.modes2 = modes2
        self._clipped_grids: set[tuple[int, int]] = set()

    @abstractmethod
    def zero_(self) -> None:
        """Make it the zero map, from which it can learn."""

    def supported_modes(self, x: Tensor, out_size: tuple[int, int] | None) -> tuple[int, int]:
        """Give the module's modes, or those that the grids support; say so once for each such grid."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise InputError(
                f"the input must be [batch, {self.in_channels}, height, width]: got {tuple(x.shape)}; "
                "check the layer's in_channels"
            )
        size = (x.shape[2], x.shape[3])
        limits = largest_modes(size, None if out_size is None else require_pair("out_size", out_size))
        if min(limits) < 1:
            raise InputError(
                f"a spectral convolution needs at least 2 rows and 1 column: got {size} to {out_size or size}"
            )
        modes = (min(self.modes1, limits[0]), min(self.modes2, limits[1]))
        if modes != (self.modes1, self.modes2) and not torch.compiler.is_compiling():
            self._warn_of_clipping(modes, size, out_size or size)
        return modes

    def require_addends(
        self, x: Tensor, out_size: tuple[int, int] | None, skip: Tensor | None, pointwise: torch.nn.Conv2d | None
    ) -> None:
        """Require that what is added to the result has its shape.

        Raises:
            InputError: If it has another one, both are given, or the map is not one of single points of this grid.
        """
        shape = (x.shape[0], self.out_channels, *(x.shape[2:] if out_size is None else out_size))
        if skip is not None and tuple(skip.shape) != shape:
            raise InputError(f"skip must be the result's {shape}: got {tuple(skip.shape)}; check batch and grid")
        if pointwise is None:
            return
        if skip is not None:
            raise InputError("pointwise must come without skip: got both; add them before")
        if shape[2:] != tuple(x.shape[2:]):
            raise InputError(f"pointwise must come with the grid of x, {tuple(x.shape[2:])}: got out_size {shape[2:]}")
        settings = (pointwise.kernel_size, pointwise.stride, pointwise.padding, pointwise.groups)
        if settings != ((1, 1), (1, 1), (0, 0), 1):
            raise InputError(
                "pointwise must map each point by itself (kernel size 1, stride 1, no padding, one group): got "
                f"kernel_size, stride, padding, groups {settings}"
            )

    def extra_repr(self) -> str:
        """Give the arguments for ``repr``."""
        return f"{self.in_channels}, {self.out_channels}, modes1={self.modes1}, modes2={self.modes2}"

    def _warn_of_clipping(self, modes: tuple[int, int], size: tuple[int, int], out_size: tuple[int, int]) -> None:
        grid = (min(size[0], out_size[0]), min(size[1], out_size[1]))
        if grid not in self._clipped_grids:
            self._clipped_grids.add(grid)
            warnings.warn(
                f"the spectral convolution uses modes {modes} of its {(self.modes1, self.modes2)}: "
                f"a grid of {grid} supports no more",
                stacklevel=4,
            )


class SpectralConv2d(SpectralModule):
    """Learn one matrix for each of the lowest modes of :func:`physicsnemo_fs.kernels.spectral_conv2d`.

    The layer acts on functions: the same weights serve every grid, and ``forward`` can evaluate its result
    on another one. On a grid that is too small for its modes the layer uses those that the grid supports, and
    warns once for each such grid (except inside ``torch.compile``, which cannot warn).

    The parameter ``weight`` lies mode-major in memory. The state dict speaks the native layout of
    ``physicsnemo.nn.module.spectral_layers.SpectralConv2d`` instead, ``weights1`` and ``weights2`` of shape
    ``[in_channels, out_channels, modes1, modes2, 2]``, both when it is saved and when it is loaded;
    the attributes of these names are views. Where FSDP2 has sharded the parameter, saving gathers it on all ranks and
    loading shards what it is given. Only ``weight`` is a parameter: pass
    ``dict(module.named_parameters())``, not the state dict, to ``torch.func.functional_call``.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        modes1: Half of the number of kept rows: 0..modes1-1 and -modes1..-1.
        modes2: Kept columns of the real-FFT half, the constant one included.

    Raises:
        InputError: A count is not positive, or the input does not have ``in_channels`` channels.

    Example:
        >>> layer = SpectralConv2d(in_channels=2, out_channels=3, modes1=4, modes2=5)
        >>> layer(torch.zeros(1, 2, 16, 20)).shape
        torch.Size([1, 3, 16, 20])
        >>> layer(torch.zeros(1, 2, 16, 20), out_size=(24, 30)).shape
        torch.Size([1, 3, 24, 30])
        >>> {name: tuple(value.shape) for name, value in layer.state_dict().items()}
        {'weights1': (2, 3, 4, 5, 2), 'weights2': (2, 3, 4, 5, 2)}
    """

    def __init__(self, in_channels: int, out_channels: int, modes1: int, modes2: int):
        super().__init__(in_channels, out_channels, modes1, modes2)
        self.weight = torch.nn.Parameter(torch.empty(2 * modes1 * modes2, in_channels, out_channels, 2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both parts uniformly from [0, 1 / (in_channels * out_channels)), as PhysicsNeMo does."""
        torch.nn.init.uniform_(self.weight, 0.0, 1.0 / (self.in_channels * self.out_channels))

    @property
    def weights1(self) -> Float[Tensor, "in_channels out_channels modes1 modes2 2"]:
        """Rows 0..modes1-1 in the native layout, a view of the parameter."""
        return self._native_views()[0]

    @property
    def weights2(self) -> Float[Tensor, "in_channels out_channels modes1 modes2 2"]:
        """Rows -modes1..-1 in the native layout, a view of the parameter."""
        return self._native_views()[1]

    def forward(
        self,
        x: Float[Tensor, "batch in_channels height width"],
        out_size: tuple[int, int] | None = None,
        skip: Float[Tensor, "batch out_channels out_height out_width"] | None = None,
        pointwise: torch.nn.Conv2d | None = None,
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        """Give the result's values on the input's grid, or on ``out_size = (height, width)``.

        Args:
            x: Values on a periodic, regular grid.
            out_size: The grid of the result.
            skip: What is added to the result.
            pointwise: A map of kernel size 1 whose values of ``x`` are added, on the input's grid only.
        """
        modes = self.supported_modes(x, out_size)
        self.require_addends(x, out_size, skip, pointwise)
        weight = self.weight if modes == (self.modes1, self.modes2) else self._lowest_modes(*modes)
        if skip is None and pointwise is None:
            return spectral_conv2d(x, weight, modes, out_size)
        if pointwise is None:
            return spectral_layer2d(x, weight, modes, skip=skip, out_size=out_size)
        matrix, bias = pointwise.weight.flatten(1), pointwise.bias
        return spectral_layer2d(x, weight, modes, skip, bias, out_size=out_size, skip_weight=matrix)

    def zero_(self) -> None:
        """Make it the zero map."""
        torch.nn.init.zeros_(self.weight)

    def _lowest_modes(self, modes1: int, modes2: int) -> Tensor:
        """Give the block of the weight that belongs to fewer modes, in the same order."""
        block = self.weight.view(2 * self.modes1, self.modes2, self.in_channels, self.out_channels, 2)
        rows = torch.cat([block[:modes1], block[2 * self.modes1 - modes1 :]])
        return rows[:, :modes2].reshape(-1, self.in_channels, self.out_channels, 2)

    def _native_views(self, whole: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shape = (2, self.modes1, self.modes2, self.in_channels, self.out_channels, 2)
        weight = self.weight if whole is None else whole
        nonnegative, negative = weight.view(shape).permute(0, 3, 4, 1, 2, 5)
        return nonnegative, negative

    def _apply(self, fn, recurse=True):
        # module.to(memory_format=channels_last) would reorder any 4-D parameter
        super()._apply(fn, recurse)
        with torch.no_grad():
            self.weight.data = self.weight.data.contiguous()
            if self.weight.grad is not None:
                self.weight.grad.data = self.weight.grad.data.contiguous()
        return self

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        for name, value in zip(_NATIVE_NAMES, self._native_views(_gathered(self.weight)), strict=True):
            native = value.contiguous()
            destination[prefix + name] = native if keep_vars else native.detach()

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        native_keys = [prefix + name for name in _NATIVE_NAMES]
        own = {key: value for key, value in state_dict.items() if key not in native_keys}
        if prefix + "weight" in own and strict:
            unexpected_keys.append(prefix + "weight")
        own[prefix + "weight"] = self.weight
        missing = [key for key in native_keys if key not in state_dict]
        shape = (self.in_channels, self.out_channels, self.modes1, self.modes2, 2)
        misfits = [key for key in native_keys if key in state_dict and state_dict[key].shape != shape]
        error_msgs.extend(
            f"size mismatch for {key}: got {tuple(state_dict[key].shape)} from the checkpoint, the layer has {shape}"
            for key in misfits
        )
        if not missing and not misfits:
            own[prefix + "weight"] = _placed_like(self.weight, _mode_major(*(state_dict[key] for key in native_keys)))
        super()._load_from_state_dict(own, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        if strict:
            missing_keys.extend(missing)


def _gathered(parameter: Tensor) -> Tensor:
    """Give a parameter whole, from all ranks if FSDP2 has sharded it."""
    return getattr(parameter, "full_tensor", lambda: parameter)()


def _placed_like(parameter: Any, whole: Tensor) -> Tensor:
    """Shard a whole tensor as a parameter is."""
    if not hasattr(parameter, "device_mesh"):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(parameter.device), parameter.device_mesh, parameter.placements)


def _mode_major(nonnegative: Tensor, negative: Tensor) -> Tensor:
    """Give the native pair ``[in, out, m1, m2, 2]`` as one contiguous ``[2*m1*m2, in, out, 2]``."""
    rows = torch.cat([nonnegative.detach(), negative.detach()], dim=2)
    return rows.permute(2, 3, 0, 1, 4).flatten(0, 1).contiguous()


def to_neuraloperator(
    weights1: Float[Tensor, "in_channels out_channels modes1 modes2 2"],
    weights2: Float[Tensor, "in_channels out_channels modes1 modes2 2"],
) -> Complex[Tensor, "in_channels out_channels rows modes2"]:
    """Give the native pair as the weight of neuraloperator's ``SpectralConv(n_modes=(2*modes1, 2*(modes2-1)))``.

    Its rows are sorted by frequency, -modes1..modes1-1. On odd heights version 2.0 of neuraloperator returns other
    values: it shifts the spectrum back by the wrong half.

    Example:
        >>> layer = SpectralConv2d(2, 3, 4, 5)
        >>> to_neuraloperator(layer.weights1, layer.weights2).shape
        torch.Size([2, 3, 8, 5])
    """
    return torch.view_as_complex(torch.cat([weights2, weights1], dim=2).contiguous())


def from_neuraloperator(
    weight: Complex[Tensor, "in_channels out_channels rows modes2"],
) -> dict[str, Float[Tensor, "in_channels out_channels modes1 modes2 2"]]:
    """Give the state of a :class:`SpectralConv2d` from the dense weight of neuraloperator's ``SpectralConv``.

    Raises:
        InputError: The number of rows is odd, which has no counterpart here.

    Example:
        >>> layer = SpectralConv2d(2, 3, modes1=4, modes2=5)
        >>> weight = torch.randn(2, 3, 8, 5, dtype=torch.complex64)
        >>> layer.load_state_dict(from_neuraloperator(weight))
        <All keys matched successfully>
        >>> torch.equal(to_neuraloperator(layer.weights1, layer.weights2), weight)
        True
    """
    if weight.ndim != 4 or not weight.is_complex() or weight.shape[2] % 2:
        raise InputError(
            "weight must be complex [in_channels, out_channels, rows, modes2] with an even number of rows: "
            f"got {tuple(weight.shape)} of {weight.dtype}; use a layer of even n_modes[0]"
        )
    negative, nonnegative = torch.view_as_real(weight).chunk(2, dim=2)
    return dict(zip(_NATIVE_NAMES, (nonnegative.contiguous(), negative.contiguous()), strict=True))
