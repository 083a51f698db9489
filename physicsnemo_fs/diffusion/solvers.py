# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Solvers of the probability-flow ODE, for ``physicsnemo.diffusion.samplers.sample(..., solver=...)``.

With coloured noise :math:`x = x_0 + \sigma \xi`, :math:`\xi \sim N(0, C)`, the probability-flow ODE is
:math:`dx/d\sigma = -\sigma C \nabla \log p = (x - E[x_0 | x]) / \sigma`: the covariance cancels, and the
solvers are those of white noise. Only noise that is added, the initial latents and the churn of
:class:`ChurnSolver`, is coloured.

Network evaluations for n steps down to zero: Euler n, Heun and DPM2 2 n - 1 (the last step is Euler's). Heun
with 12 steps costs 23.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from physicsnemo.diffusion import Denoiser
from torch import Tensor

from physicsnemo_fs.diffusion.noise import FieldSource, noise_like
from physicsnemo_fs.errors import InputError

State = Float[Tensor, "sample channel height width"]
Levels = Float[Tensor, " sample"]


@runtime_checkable
class Solver(Protocol):
    """One step of a solver: the protocol ``physicsnemo.diffusion.samplers.Solver``.

    Declared here because importing that package imports every image model of physicsnemo.
    """

    def step(self, x: State, t_cur: Levels, t_next: Levels) -> State:
        """Go from noise level ``t_cur`` to ``t_next``."""
        ...


def integrate(solver: Solver, x: State, time_steps: Float[Tensor, " level"]) -> State:
    """Take all steps from the first noise level to the last, like NVIDIA's ``sample``.

    Args:
        solver: Solver.
        x: Latents at the first noise level.
        time_steps: Falling noise levels, with zero at the end for clean samples.

    Example:
        >>> import torch
        >>> solver = EulerSolver(lambda x, t: x / t.view(-1, 1, 1, 1))
        >>> integrate(solver, torch.ones(1, 1, 1, 1), torch.tensor([2.0, 1.0, 0.0])).item()
        0.0
    """
    for level, following in pairwise(time_steps.to(x)):
        x = solver.step(x, level.expand(x.shape[0]), following.expand(x.shape[0]))
    return x


class EulerSolver:
    r"""First-order solver, :math:`x' = x + (\sigma' - \sigma) f(x, \sigma)`; one evaluation per step.

    Args:
        denoiser: Right-hand side :math:`f(x, \sigma) = (x - D(x, \sigma)) / \sigma` of the ODE, from the
            scheduler's ``get_denoiser``.

    Example:
        >>> import torch
        >>> solver = EulerSolver(lambda x, t: x)
        >>> one = torch.ones(1)
        >>> solver.step(torch.ones(1, 1, 1, 1), one, one / 2).item(), solver.evaluations(18)
        (0.5, 18)
    """

    def __init__(self, denoiser: Denoiser):
        self.denoiser = denoiser

    @staticmethod
    def evaluations(num_steps: int) -> int:
        """Give the number of network evaluations of ``num_steps`` steps down to zero."""
        return num_steps

    def step(self, x: State, t_cur: Levels, t_next: Levels) -> State:
        """Go from noise level ``t_cur`` to ``t_next``."""
        return x + _per_sample(t_next - t_cur) * self.denoiser(x, t_cur.contiguous())


class HeunSolver:
    r"""Second-order trapezoidal solver of EDM; two evaluations per step, one for the step to zero.

    :math:`x' = x + (\sigma' - \sigma) (f(x, \sigma) + f(\tilde x, \sigma')) / 2` with Euler's
    :math:`\tilde x`.

    Args:
        denoiser: Right-hand side of the ODE.

    Example:
        >>> HeunSolver(lambda x, t: x).evaluations(12)
        23

    Source: Karras et al., arXiv:2206.00364, algorithm 1.
    """

    def __init__(self, denoiser: Denoiser):
        self.denoiser = denoiser

    @staticmethod
    def evaluations(num_steps: int) -> int:
        """Give the number of network evaluations of ``num_steps`` steps down to zero."""
        return 2 * num_steps - 1

    def step(self, x: State, t_cur: Levels, t_next: Levels) -> State:
        """Go from noise level ``t_cur`` to ``t_next``."""
        length = _per_sample(t_next - t_cur)
        slope = self.denoiser(x, t_cur.contiguous())
        euler = x + length * slope
        if _ends_at_zero(t_next):
            return euler
        return x + length * 0.5 * (slope + self.denoiser(euler, t_next.contiguous()))


class DPM2Solver:
    r"""Second-order midpoint solver; two evaluations per step, one for the step to zero.

    The midpoint is that of the logarithm, :math:`\sigma_m = \sqrt{\sigma \sigma'}`, where the ODE is linear:
    :math:`x' = x + (\sigma' - \sigma) f(x + (\sigma_m - \sigma) f(x, \sigma), \sigma_m)`.

    Args:
        denoiser: Right-hand side of the ODE.

    Source: Lu et al., "DPM-Solver", arXiv:2206.00927, algorithm 1, in the variables of arXiv:2206.00364.
    """

    def __init__(self, denoiser: Denoiser):
        self.denoiser = denoiser

    @staticmethod
    def evaluations(num_steps: int) -> int:
        """Give the number of network evaluations of ``num_steps`` steps down to zero."""
        return 2 * num_steps - 1

    def step(self, x: State, t_cur: Levels, t_next: Levels) -> State:
        """Go from noise level ``t_cur`` to ``t_next``."""
        slope = self.denoiser(x, t_cur.contiguous())
        if _ends_at_zero(t_next):
            return x + _per_sample(t_next - t_cur) * slope
        middle = (t_cur * t_next).sqrt()
        x_middle = x + _per_sample(middle - t_cur) * slope
        return x + _per_sample(t_next - t_cur) * self.denoiser(x_middle, middle)


class ChurnSolver:
    r"""Stochastic sampling of EDM around any solver: raise the noise level, then step down from there.

    .. math:: \hat\sigma = (1 + \gamma) \sigma, \quad
        \hat x = x + S_{noise} \sqrt{\hat\sigma^2 - \sigma^2}\, \xi, \quad \xi \sim N(0, C),

    with :math:`\gamma = \min(S_{churn} / n, \sqrt 2 - 1)` for :math:`S_{min} \le \sigma \le S_{max}` and zero
    elsewhere. The added noise is the random field's, so that the law of x at each level is kept. It is keyed
    by member and step (draw 1 for the first step, draw 0 is that of the initial latents): it depends neither
    on the batch nor on earlier calls, and is the same function at every resolution.

    Args:
        solver: Solver of the ODE for the step down.
        field: Random field of the noise, the same as the scheduler's.
        keys: One key per member of the batch; may be the keys of the initial latents.
        time_steps: Falling noise levels of the run, from the scheduler's ``timesteps``.
        S_churn: Amount of noise added over the run.
        S_min: Least noise level that is raised.
        S_max: Largest noise level that is raised.
        S_noise: Factor on the added noise; 1 keeps the law.

    Raises:
        InputError: If an amount is negative, or a step starts at a level that is not one of the time steps.

    Source: Karras et al., arXiv:2206.00364, algorithm 2.
    """

    def __init__(
        self,
        solver: Solver,
        field: FieldSource,
        keys: Sequence[int],
        time_steps: Float[Tensor, " level"],
        *,
        S_churn: float,
        S_min: float = 0.0,
        S_max: float = math.inf,
        S_noise: float = 1.0,
    ):
        if min(S_churn, S_min, S_noise) < 0 or S_max < S_min:
            raise InputError(
                "churn needs S_churn, S_min, S_noise not negative and S_min <= S_max: got "
                f"{S_churn}, {S_min}, {S_noise}, S_max {S_max}"
            )
        self.solver = solver
        self.field = field
        self.keys = tuple(keys)
        self.levels = time_steps.tolist()
        self.gamma = min(S_churn / (len(self.levels) - 1), math.sqrt(2) - 1)
        self.S_min, self.S_max, self.S_noise = S_min, S_max, S_noise

    def step(self, x: State, t_cur: Levels, t_next: Levels) -> State:
        """Raise the noise level from ``t_cur``, then go to ``t_next``."""
        level = float(t_cur[0])
        if self.gamma == 0 or not self.S_min <= level <= self.S_max:
            return self.solver.step(x, t_cur, t_next)
        noise = noise_like(self.field, x, self.keys, draw=1 + self._index(level))
        raised = t_cur * (1 + self.gamma)
        scale = self.S_noise * (raised.square() - t_cur.square()).sqrt()
        return self.solver.step(x + _per_sample(scale) * noise, raised, t_next)

    def _index(self, level: float) -> int:
        index = min(range(len(self.levels)), key=lambda i: abs(self.levels[i] - level))
        if not math.isclose(self.levels[index], level, rel_tol=1e-3):
            raise InputError(f"a step must start at one of the solver's time_steps: got noise level {level}")
        return index


SOLVERS: dict[str, type[EulerSolver | HeunSolver | DPM2Solver]] = {
    "euler": EulerSolver,
    "heun": HeunSolver,
    "dpm2": DPM2Solver,
}


def make_solver(name: str, denoiser: Denoiser) -> EulerSolver | HeunSolver | DPM2Solver:
    """Make the solver that a configuration names; wrap it in :class:`ChurnSolver` for stochastic sampling.

    Args:
        name: ``"euler"``, ``"heun"`` or ``"dpm2"``.
        denoiser: Right-hand side of the ODE.

    Raises:
        InputError: If the name is unknown.

    Example:
        >>> make_solver("heun", lambda x, t: x).evaluations(12)
        23
    """
    if name not in SOLVERS:
        raise InputError(f"solver must be one of {', '.join(SOLVERS)}: got {name!r}")
    return SOLVERS[name](denoiser)


def _per_sample(level: Levels) -> Float[Tensor, "sample 1 1 1"]:
    return level.reshape(-1, 1, 1, 1)


def _ends_at_zero(level: Levels) -> bool:
    at_zero = level == 0
    if bool(at_zero.any()) and not bool(at_zero.all()):
        raise InputError("all samples of a batch must reach noise level zero together: got a mix; split the batch")
    return bool(at_zero.all())
