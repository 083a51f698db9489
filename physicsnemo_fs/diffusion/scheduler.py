# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Noise schedule of diffusion with random fields instead of pixel noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from physicsnemo.diffusion.noise_schedulers import EDMNoiseScheduler
from torch import Tensor

from physicsnemo_fs.diffusion.kernel import Kernel
from physicsnemo_fs.diffusion.modes import modes_below_nyquist, shell_count, shell_mean
from physicsnemo_fs.diffusion.noise import RandomField, noise_like
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.random import complex_normal, derive_key

_NOT_A_MODE = 0xFFFFFFFF


class FunctionSpaceScheduler(EDMNoiseScheduler):
    r"""EDM noise schedule with coloured noise, :math:`x = x_0 + \sigma \xi`, :math:`\xi \sim N(0, C)`.

    A ``physicsnemo`` noise scheduler: it serves NVIDIA's losses and samplers as it is. What colour changes:

    - ``add_noise`` and ``init_latents`` draw :math:`\xi` from the random field.
    - Tweedie's formula is :math:`E[x_0 | x] = x + \sigma^2 C \nabla \log p`. In the probability-flow ODE,
      :math:`dx/d\sigma = (x - E[x_0 | x]) / \sigma`, C cancels: denoiser, time steps, solvers are unchanged.
    - What ``x0_to_score`` gives and a ``score_predictor`` must give is :math:`C \nabla \log p`, not the
      score. A guidance term must be multiplied by C too, see :meth:`RandomField.apply_covariance`.

    Give ``keys``, one per sample, for draws that depend on nothing else. Without them keys are counted from
    the seed in the order of the calls; ranks that share a seed then draw the same noise.

    Args:
        field: Random field of the noise; its variance is one, so that sigma is the pointwise standard
            deviation.
        sigma_min: Last positive noise level of sampling.
        sigma_max: First noise level of sampling, see :func:`noise_level_distribution`.
        rho: Exponent of the ``"edm"`` schedule.
        sigma_data: Standard deviation of the data, one number or one per channel.
        P_mean: Mean of the logarithm of the noise level in training.
        P_std: Standard deviation of the logarithm of the noise level in training.
        schedule: ``"edm"`` (Karras et al., equation 5) or ``"exponential"`` (uniform in the logarithm).
        seed: Seed of the keys that are counted.

    Raises:
        InputError: If noise levels are not increasing and positive, or the schedule is unknown.

    Example:
        >>> from physicsnemo_fs.diffusion.spectra import Matern
        >>> scheduler = FunctionSpaceScheduler(RandomField(Matern(0.5, 0.1)))
        >>> levels = scheduler.timesteps(12)
        >>> latents = scheduler.init_latents((1, 32, 32), levels[:1].expand(2), keys=[1, 2])
        >>> latents.shape, [round(float(level), 3) for level in levels[[0, -2, -1]]]
        (torch.Size([2, 1, 32, 32]), [20.0, 0.002, 0.0])

    Source: Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models",
        arXiv:2206.00364,
    equation 5; Lim et al., "Score-based diffusion models in function space", arXiv:2302.07400.
    """

    def __init__(
        self,
        field: RandomField,
        *,
        sigma_min: float = 0.002,
        sigma_max: float = 20.0,
        rho: float = 7.0,
        sigma_data: float | Sequence[float] | Tensor = 1.0,
        P_mean: float = -1.2,
        P_std: float = 1.2,
        schedule: str = "edm",
        seed: int = 0,
    ):
        if not 0 < sigma_min < sigma_max < math.inf:
            raise InputError(f"noise levels need 0 < sigma_min < sigma_max: got {sigma_min}, {sigma_max}")
        if schedule not in ("edm", "exponential"):
            raise InputError(f"schedule must be edm or exponential: got {schedule!r}")
        super().__init__(sigma_min, sigma_max, rho, torch.as_tensor(sigma_data, dtype=torch.float32), P_mean, P_std)
        self.field = field
        self.schedule = schedule
        self.seed = seed
        self._counted = 0

    def timesteps(
        self, num_steps: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Float[Tensor, " level"]:
        """Give ``num_steps`` falling noise levels from ``sigma_max`` to ``sigma_min``, and zero.

        One step goes from ``sigma_max`` to zero. Levels are computed in float64 and rounded once.

        Raises:
            InputError: If ``num_steps`` is less than one.
        """
        if num_steps < 1:
            raise InputError(f"num_steps must be at least one: got {num_steps}")
        fraction = torch.linspace(0, 1, num_steps, dtype=torch.float64)
        if self.schedule == "exponential":
            levels = self.sigma_max * (self.sigma_min / self.sigma_max) ** fraction
        else:
            first, last = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
            levels = (first + fraction * (last - first)) ** self.rho
        levels = torch.cat([levels, levels.new_zeros(1)])
        return levels.to(device=device, dtype=dtype or torch.get_default_dtype())

    def sample_time(
        self,
        N: int,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        keys: Sequence[int] | None = None,
    ) -> Float[Tensor, " sample"]:
        """Sample noise levels, log-normal with ``P_mean`` and ``P_std``.

        A key may be shared with :meth:`add_noise`: the level is independent of the noise.

        Raises:
            InputError: If there is not one key per sample.
        """
        keys = self._keys(keys, N)
        word = torch.tensor(_NOT_A_MODE, device=device)
        z, _ = complex_normal(keys, (word, word, word, word))
        levels = (self.P_mean + self.P_std * math.sqrt(2) * z.real).exp()
        return levels.to(dtype or torch.get_default_dtype())

    def add_noise(
        self,
        x0: Float[Tensor, "sample channel height width"],
        time: Float[Tensor, " sample"],
        *,
        keys: Sequence[int] | None = None,
    ) -> Float[Tensor, "sample channel height width"]:
        r"""Give :math:`x_0 + \sigma \xi`.

        Args:
            x0: Clean fields on a grid over the whole domain of the random field.
            time: Noise level of each sample.
            keys: One key per sample.

        Raises:
            InputError: If there is not one key per sample.
        """
        return x0 + _per_sample(time) * noise_like(self.field, x0, self._keys(keys, x0.shape[0]))

    def init_latents(
        self,
        spatial_shape: tuple[int, ...],
        tN: Float[Tensor, " sample"],
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        keys: Sequence[int] | None = None,
    ) -> Float[Tensor, "sample channel height width"]:
        r"""Give :math:`\sigma_N \xi`, the start of sampling; the same function at every resolution.

        Args:
            spatial_shape: ``(channel, height, width)``.
            tN: First noise level of each sample.
            device: Device of the latents, by default that of ``tN``.
            dtype: Type of the latents, by default that of ``tN``.
            keys: One key per sample (ensemble member).

        Raises:
            InputError: If the shape has no three axes, or there is not one key per sample.
        """
        if len(spatial_shape) != 3:
            raise InputError(f"latents have a shape (channel, height, width): got {tuple(spatial_shape)}")
        channels, height, width = spatial_shape
        noise = self.field.sample(
            self._keys(keys, len(tN)),
            channels,
            (height, width),
            device=device or tN.device,
            dtype=dtype or tN.dtype,
        )
        return _per_sample(tN).to(noise) * noise

    def _keys(self, keys: Sequence[int] | None, count: int) -> Sequence[int]:
        if keys is None:
            first, self._counted = self._counted, self._counted + count
            return [derive_key(self.seed, "counted", index) for index in range(first, first + count)]
        if len(keys) != count:
            raise InputError(f"there must be one key per sample: got {len(keys)} keys for {count} samples")
        return keys


def _per_sample(level: Float[Tensor, " sample"]) -> Float[Tensor, "sample 1 1 1"]:
    return level.reshape(-1, 1, 1, 1)


@dataclass(frozen=True)
class NoiseLevels:
    """Noise levels that fit data and noise, in units of the data's standard deviation.

    Args:
        P_mean: Mean of the logarithm of the noise level in training.
        P_std: Standard deviation of the logarithm of the noise level in training.
        sigma_max: First noise level of sampling.
    """

    P_mean: float
    P_std: float
    sigma_max: float


EDM_WIDTH = 1.2
"""EDM's standard deviation of ln sigma."""


def noise_level_distribution(
    power: Float[Tensor, "channel shell"],
    kernel: Kernel,
    *,
    shape: tuple[int, int] | None = None,
    extent: tuple[float, float] = (1.0, 1.0),
    min_share: float = 1e-6,
    least_sigma_max: float = 20.0,
    scale_shift: float = 0.0,
    scale_spread: float = 0.0,
) -> NoiseLevels:
    r"""Choose the noise levels of training and sampling from the signal-to-noise ratio of each mode.

    The modes of shell k, data power :math:`s_k` and noise power :math:`\lambda_k` per mode, are decided near
    :math:`\sigma^*_k = \sqrt{s_k / \lambda_k}`. With weights :math:`w_k \propto \sqrt{p_k}`, :math:`p_k` the
    shell's share of the data's variance,

    .. math::
        P_{mean} = m_s + \sum_k w_k \log \sigma^*_k, \quad
        P_{std}^2 = 1.2^2 + d_s^2 + \sum_k w_k \Bigl(\log \sigma^*_k - \sum_l w_l \log \sigma^*_l\Bigr)^2, \quad
        \sigma_{max} = \max(20, 5 \max_k \sigma^*_k)

    with EDM's width of 1.2 (2206.00364, table 1), and the shift :math:`m_s` and spread :math:`d_s` of the samples' own
    scales: a sample whose residual is twice as large is decided at twice the noise level.

    Args:
        power: Power per mode of the data (residuals) by shell, from
            :func:`physicsnemo_fs.diffusion.modes.measure_power`, in any unit: each channel is scaled to
            unit variance.
        kernel: Covariance of the noise.
        shape: Grid of the data, by default the square grid with these shells; white noise depends on it.
        extent: Physical lengths of the domain.
        min_share: Shells with less of the variance are left out.
        least_sigma_max: Least value of ``sigma_max``.
        scale_shift: :math:`m_s`, from :func:`physicsnemo_fs.diffusion.calibration.calibrate`.
        scale_spread: :math:`d_s`, from the same.

    Raises:
        InputError: If a channel of ``power`` has no variance.

    Example:
        >>> from physicsnemo_fs.diffusion.spectra import White
        >>> levels = noise_level_distribution(torch.ones(1, 32), White(), shape=(64, 64))
        >>> round(levels.P_mean, 1), round(levels.P_std, 1), levels.sigma_max
        (0.1, 1.2, 20.0)
    """
    modes = (power.shape[1] - 1, power.shape[1] - 1) if shape is None else modes_below_nyquist(shape)
    noise = shell_mean(kernel.mode_variance(modes, extent), extent)
    shells = min(power.shape[1], noise.shape[1])
    data, noise = power[:, :shells].double().cpu(), noise[:, :shells]
    shell_power = data * shell_count(modes, extent)[:shells]
    variance = shell_power.sum(dim=1, keepdim=True)
    if not bool(((variance > 0) & variance.isfinite()).all()):
        raise InputError("every channel of the power must have positive variance; is a channel constant?")
    share = shell_power / variance
    used = (share >= min_share) & (noise > 0)
    log_level = 0.5 * (data / variance / noise)[used].log()
    weight = share[used].sqrt() / share[used].sqrt().sum()
    mean = (weight * log_level).sum()
    spread = (weight * (log_level - mean).square()).sum()
    largest = float(log_level.max().exp())
    width = math.sqrt(EDM_WIDTH**2 + scale_spread**2 + float(spread))
    return NoiseLevels(float(mean) + scale_shift, width, max(least_sigma_max, 5 * largest))
