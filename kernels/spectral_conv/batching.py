# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Rules of ``torch.func.vmap`` for the five operators: another axis is more images, or more modes."""

from torch import Tensor

from .operators import mode_mix, mode_mix_adjoint, mode_mix_weight, spectral_analysis, spectral_synthesis


@spectral_analysis.register_vmap
def _(info, in_dims, x, *settings):
    x = x.movedim(in_dims[0], 0)
    kept = spectral_analysis(x.flatten(0, 1), *settings)
    return kept.unflatten(1, x.shape[:2]), 1


@spectral_synthesis.register_vmap
def _(info, in_dims, coefficients, *settings):
    coefficients = coefficients.movedim(in_dims[0], 1)
    image = spectral_synthesis(coefficients.flatten(1, 2), *settings)
    return image.unflatten(0, coefficients.shape[1:3]), 0


def _by_weight(operator):
    """Make the rule of a product of coefficients with a weight."""

    def rule(info, in_dims, coefficients, weight, transform):
        if in_dims[1] is None:
            coefficients = coefficients.movedim(in_dims[0], 1)
            product = operator(coefficients.flatten(1, 2), weight, transform)
            return product.unflatten(1, coefficients.shape[1:3]), 1
        return _by_mode(operator)(info, in_dims, coefficients, weight, transform)

    return rule


def _by_mode(operator):
    """Make the rule of a product whose factors both become more modes."""

    def rule(info, in_dims, first, second, transform):
        pair = zip((first, second), in_dims[:2], strict=True)
        first, second = (_in_front(tensor, dim, info.batch_size) for tensor, dim in pair)
        product = operator(first.flatten(0, 1), second.flatten(0, 1), transform)
        return product.unflatten(0, first.shape[:2]), 0

    return rule


def _in_front(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


mode_mix.register_vmap(_by_weight(mode_mix))
mode_mix_adjoint.register_vmap(_by_weight(mode_mix_adjoint))
mode_mix_weight.register_vmap(_by_mode(mode_mix_weight))
