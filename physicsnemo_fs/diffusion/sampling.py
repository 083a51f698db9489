# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Draw residuals from a trained denoiser: the reverse diffusion with the noise the network was trained with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.diffusion.noise import FieldSource, RandomField
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler
from physicsnemo_fs.diffusion.solvers import SOLVERS, ChurnSolver, Solver, integrate, make_solver
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.base import sees_lead_time


@runtime_checkable
class ResidualDenoiser(Protocol):
    """A denoiser of residuals: :class:`physicsnemo_fs.models.edm.FSEDMPrecondSR`, or an adapter of another."""

    @property
    def noise(self) -> dict[str, Any] | None:
        """Description of the random field it was trained with."""

    @property
    def sigma_data(self) -> float | list[float]:
        """Standard deviation of the data."""

    @property
    def sigma_min(self) -> float:
        """Smallest noise level it was trained for."""

    @property
    def sigma_max(self) -> float:
        """Largest noise level it was trained for."""

    @property
    def img_out_channels(self) -> int:
        """Channels of the residual."""

    def __call__(
        self,
        x: Tensor,
        t: Tensor,
        condition: Tensor | None = None,
        *,
        encoded: Tensor | None = None,
        lead_time_label: Tensor | None = None,
    ) -> Tensor:
        """Give the denoised residual.

        ``encoded`` is given to denoisers with a method ``encode`` only, ``lead_time_label`` to those with a
        ``lead_time_scale``.
        """
        ...


@dataclass(frozen=True)
class Churn:
    """Stochasticity of the sampler, Karras et al. (2206.00364), algorithm 2; ``amount`` 0 is the deterministic flow.

    Args:
        amount: S_churn.
        smallest: S_min.
        largest: S_max.
        scale: S_noise.
    """

    amount: float = 0.0
    smallest: float = 0.0
    largest: float = float("inf")
    scale: float = 1.0

    def around(self, solver: Solver, field: FieldSource, keys: Sequence[int], levels: Tensor) -> Solver:
        """Give a solver with this stochasticity, or the solver itself if there is none.

        Args:
            solver: The deterministic one.
            field: What the noise is drawn from.
            keys: One key per sample.
            levels: Noise levels of the steps.
        """
        if self.amount <= 0:
            return solver
        bounds = {"S_min": self.smallest, "S_max": self.largest, "S_noise": self.scale}
        return ChurnSolver(solver, field, keys, levels, S_churn=self.amount, **bounds)


@dataclass(frozen=True)
class ResidualSampler:
    """Samples of the residual given its conditions.

    Args:
        denoiser: The trained network; it carries the description of its noise.
        scheduler: Noise levels and noise.
        solver: ``"euler"``, ``"heun"`` or ``"dpm2"``.
        num_steps: Steps; Heun and DPM2 evaluate the network ``2 * num_steps - 1`` times.
        churn: Stochasticity.

    Example:
        >>> from physicsnemo_fs.diffusion.spectra import Matern
        >>> from physicsnemo_fs.models.edm import FSEDMPrecondSR
        >>> from physicsnemo_fs.models.fsuno import FSUNO
        >>> backbone = FSUNO(3, 1, channel_mult=(1, 2), level_grid=(32, 16), n_modes=(0, 2))
        >>> noise = RandomField(Matern(0.5, 0.1)).to_dict()
        >>> denoiser = FSEDMPrecondSR(backbone, sigma_min=0.01, sigma_max=20.0, noise=noise)
        >>> sampler = ResidualSampler.for_denoiser(denoiser, num_steps=2)
        >>> sampler.sample(torch.randn(2, 2, 32, 48), keys=[1, 2]).shape
        torch.Size([2, 1, 32, 48])
    """

    denoiser: ResidualDenoiser
    scheduler: FunctionSpaceScheduler
    solver: str = "heun"
    num_steps: int = 12
    churn: Churn = Churn()

    @classmethod
    def for_denoiser(
        cls,
        denoiser: ResidualDenoiser,
        *,
        solver: str = "heun",
        num_steps: int = 12,
        schedule: str = "edm",
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        rho: float = 7.0,
        churn: Churn | None = None,
    ) -> "ResidualSampler":
        """Make the sampler that fits a checkpoint: its noise, and its noise levels where none are given.

        Raises:
            InputError: If the checkpoint does not describe its noise.
        """
        if denoiser.noise is None:
            raise InputError(
                "the diffusion checkpoint does not say which noise it was trained with; construct FSEDMPrecondSR "
                "with noise=RandomField(...).to_dict()"
            )
        scheduler = FunctionSpaceScheduler(
            RandomField.from_dict(denoiser.noise),
            sigma_min=denoiser.sigma_min if sigma_min is None else sigma_min,
            sigma_max=denoiser.sigma_max if sigma_max is None else sigma_max,
            rho=rho,
            sigma_data=denoiser.sigma_data,
            schedule=schedule,
        )
        return cls(denoiser, scheduler, solver, num_steps, churn or Churn())

    @property
    def evaluations(self) -> int:
        """Network evaluations a sample."""
        return SOLVERS[self.solver].evaluations(self.num_steps)

    def _labels(self, lead_time: Tensor | None) -> dict[str, Tensor]:
        """Give the lead time, if the denoiser sees it.

        Raises:
            InputError: If it does and there is none.
        """
        if not sees_lead_time(self.denoiser):
            return {}
        if lead_time is None:
            raise InputError("the denoiser was trained with lead times: got samples without; give forecasts")
        return {"lead_time_label": lead_time}

    @torch.no_grad()
    def sample(
        self,
        condition: Float[Tensor, "batch condition height width"],
        keys: Sequence[int],
        watch: Callable[[], None] | None = None,
        encoded: Float[Tensor, "batch encoded_channel grid_height grid_width"] | None = None,
        lead_time: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch channel height width"]:
        """Draw one residual for each condition.

        Args:
            condition: Conditions on the output grid.
            keys: One key per sample; the sample is a function of its key and its condition alone.
            watch: Called before every evaluation of the network; what it raises ends the sampling.
            encoded: What the denoiser's ``encode`` gave for the conditions, which is then not done at every evaluation.
            lead_time: Lead time of each sample in hours; used if the denoiser sees it.

        Raises:
            InputError: If there is not one key per condition.
        """
        shape = (self.denoiser.img_out_channels, condition.shape[-2], condition.shape[-1])
        levels = self.scheduler.timesteps(self.num_steps, device=condition.device, dtype=condition.dtype)
        start = levels[:1].expand(condition.shape[0])
        latents = self.scheduler.init_latents(shape, start, device=condition.device, dtype=condition.dtype, keys=keys)

        given: dict[str, Tensor] = {"condition": condition} if encoded is None else {"encoded": encoded}
        given |= self._labels(lead_time)

        def clean(x: Tensor, t: Tensor) -> Tensor:
            if watch is not None:
                watch()
            return self.denoiser(x, t, **given).to(x.dtype)

        rhs = self.scheduler.get_denoiser(x0_predictor=clean)
        solver = self.churn.around(make_solver(self.solver, rhs), self.scheduler.field, keys, levels)
        return integrate(solver, latents, levels)
