# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Augmentations: exact symmetries of the flow, exact on the grid."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.flow.solver import KolmogorovSolver, initial_spectrum
from physicsnemo_fs.data.flow.symmetry import KolmogorovSymmetry, apply_symmetries
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.testing import assert_close, relative_error

GRID, MODE = 32, 4
SOLVER = KolmogorovSolver(GRID, 40.0, MODE, drag=0.1, dtype=torch.float64)
FIELD = SOLVER.to_grid(SOLVER.advance(initial_spectrum(0, 0, SOLVER), 5.0, 0.05))

symmetries = st.builds(KolmogorovSymmetry, st.booleans(), st.integers(0, 2 * MODE - 1), st.integers(0, GRID - 1))


def transformed(field: torch.Tensor, symmetry: KolmogorovSymmetry) -> torch.Tensor:
    return apply_symmetries(field[None, None], [symmetry], MODE)[0, 0]


def rate(field: torch.Tensor) -> torch.Tensor:
    return SOLVER.to_grid(SOLVER.rate(SOLVER.to_spectrum(field)))


@settings(max_examples=30, deadline=None)
@given(symmetry=symmetries)
def test_right_hand_side_commutes_with_every_symmetry(symmetry):
    assert_close(rate(transformed(FIELD, symmetry)), transformed(rate(FIELD), symmetry), 1e-12)


@pytest.mark.parametrize("wrong_map", [lambda w: w.flip(-1), lambda w: -w, lambda w: w.roll(1, -2)])
def test_right_hand_side_does_not_commute_with_other_maps(wrong_map):
    """The test above can fail: it rejects maps that are no symmetries."""
    assert relative_error(rate(wrong_map(FIELD)), wrong_map(rate(FIELD))) > 1e-2


def test_elementary_symmetries_are_the_documented_maps():
    flipped = FIELD.roll(-1, -1).flip(-1)
    half_period = GRID // (2 * MODE)
    assert torch.equal(transformed(FIELD, KolmogorovSymmetry(columns=3)), FIELD.roll(3, -1))
    assert torch.equal(transformed(FIELD, KolmogorovSymmetry(half_periods=1)), -flipped.roll(half_period, -2))
    assert torch.equal(transformed(FIELD, KolmogorovSymmetry(rotate=True)), flipped.roll(-1, -2).flip(-2))


@settings(max_examples=15, deadline=None)
@given(symmetry=symmetries)
def test_values_are_moved_and_negated_only(symmetry):
    moved = transformed(FIELD, symmetry).abs().flatten().sort().values
    assert torch.equal(moved, FIELD.abs().flatten().sort().values)


def test_draws_reach_the_whole_group():
    drawn = [KolmogorovSymmetry.draw(key, GRID, MODE) for key in range(2000)]
    assert {s.rotate for s in drawn} == {False, True}
    assert {s.half_periods for s in drawn} == set(range(2 * MODE))
    assert {s.columns for s in drawn} == set(range(GRID))


def test_a_grid_without_half_periods_is_refused():
    with pytest.raises(InputError, match="divisible by 2"):
        apply_symmetries(torch.zeros(1, 1, 30, 30), [KolmogorovSymmetry()], MODE)
