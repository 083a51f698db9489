# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from physicsnemo_fs.data.statistics import Normalisation, fit_channels, parse_normalisations
from physicsnemo_fs.data.types import Channel, Fields, Grid
from physicsnemo_fs.errors import InputError


@dataclass
class InMemory:
    values: np.ndarray
    channels: tuple[Channel, ...]
    lead_hours: np.ndarray | None = None

    def __post_init__(self):
        self.grid = Grid(self.values.shape[-2:], (1.0, 1.0))
        self.times = np.datetime64("2020-01-01", "ns") + np.arange(len(self.values)) * np.timedelta64(1, "h")

    def read(self, positions, window=None):
        return self.values[list(positions)][(..., *(window or ()))]


def fields(seed=0, times=20):
    draws = np.random.default_rng(seed)
    normal = 280 + 10 * draws.standard_normal((times, 12, 10))
    rain = np.maximum(draws.standard_normal((times, 12, 10)), 0) ** 3
    rain[2, :3] = np.nan
    return InMemory(np.stack([normal, rain], axis=1).astype(np.float32), (Channel("t2m", "K"), Channel("tp", "mm")))


def test_the_protocol_is_met():
    assert isinstance(fields(), Fields)


@pytest.mark.parametrize("kind", ["standard", "minmax", "log1p", "quantile"])
def test_any_number_of_ranks_gives_the_same_bits(kind):
    source = fields()
    declared = parse_normalisations({"tp": {"kind": kind, "minimum": 0}}, source.channels)

    def by(world_size):
        shares = []

        def collect(table):
            shares.append(table)
            raise InterruptedError

        for rank in range(world_size):
            with pytest.raises(InterruptedError):
                fit_channels(source, range(20), declared, rank, world_size, collect)
        return fit_channels(source, range(20), declared, 0, world_size, lambda _: torch.stack(shares).sum(0))

    alone = fit_channels(source, range(20), declared)
    assert alone == by(3)
    assert alone[1].minimum == 0


def test_standard_and_log_values_have_mean_0_and_spread_1():
    source = fields()
    for kind in ("standard", "log1p"):
        for channel, values in zip(
            fit_channels(source, range(20), parse_normalisations({"tp": kind}, source.channels)),
            np.moveaxis(source.values, 1, 0),
            strict=True,
        ):
            normalised = channel.normalize(values.astype(np.float64))
            assert np.nanmean(normalised) == pytest.approx(0, abs=1e-12)
            assert np.nanstd(normalised) == pytest.approx(1, abs=1e-12)


def test_minmax_values_fill_the_unit_interval():
    source = fields()
    t2m, _ = fit_channels(source, range(20), parse_normalisations({"t2m": "minmax"}, source.channels))
    normalised = t2m.normalize(source.values[:, 0].astype(np.float64))
    assert normalised.min() == 0
    assert normalised.max() == 1


def test_quantile_values_are_nearly_normal_and_zeros_share_one_score():
    source = fields(times=60)
    t2m, tp = fit_channels(
        source, range(60), parse_normalisations({"t2m": "quantile", "tp": "quantile"}, source.channels)
    )
    normalised = t2m.normalize(source.values[:, 0].astype(np.float64))
    assert float(normalised.mean()) == pytest.approx(0, abs=0.05)  # 3840 values: standard error 0.016
    assert float(normalised.std()) == pytest.approx(1, abs=0.05)
    # half of the rain is zero: the mean normal score of the lower half is -0.80
    assert float(tp.normalize(np.zeros(1))[0]) == pytest.approx(-0.8, abs=0.06)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"t2n": "log1p"}, "must be of variables of the dataset: got 't2n'"),
        ({"tp": "cube"}, "one of standard, minmax, log1p, quantile: got 'cube'"),
        ({"tp": {"sort": "log1p"}}, "transform of 'tp' must be a kind or a mapping"),
        ({"tp": {"kind": "log1p", "scale": -1}}, "positive scale"),
        ({"tp": {"kind": "log1p", "scale": "x"}}, "must be numbers"),
        ({"tp": {"kind": "quantile", "knots": 2.5}}, "'tp': scale, minimum and knots .* knots whole"),
        ({"tp": {"kind": "standard", "minimum": float("nan")}}, "'tp': scale, minimum and knots .* must be finite"),
    ],
)
def test_a_wrong_declaration_is_named(declared, message):
    with pytest.raises(InputError, match=message):
        parse_normalisations(declared, fields().channels)


def test_a_variable_without_values_or_spread_is_named():
    source = fields()
    source.values[:, 1] = np.nan
    with pytest.raises(InputError, match="'tp' must have values in the training split"):
        fit_channels(source, range(20), [Normalisation(), Normalisation()])
    source.values[:, 1] = 3.0
    with pytest.raises(InputError, match="'tp' must vary: it is 3 in the whole training split"):
        fit_channels(source, range(20), [Normalisation(), Normalisation("minmax")])
    with pytest.raises(InputError, match="statistics need training samples"):
        fit_channels(source, [], [Normalisation(), Normalisation()])


def test_a_variable_of_nearly_one_value_has_no_quantiles():
    source = fields()
    source.values[:, 1] = 0.0
    source.values[3, 1, 0, 0] = 1.0
    with pytest.raises(InputError, match="'tp' must take several values for quantile: nearly all are 0; choose log1p"):
        fit_channels(source, range(20), [Normalisation(), Normalisation("quantile")])


def test_a_minimum_above_the_values_is_refused():
    source = fields()
    with pytest.raises(InputError, match=r"'t2m' must not fall below its declared minimum 275: got 2\d\d\.\d+"):
        fit_channels(source, range(20), [Normalisation(minimum=275.0), Normalisation()])
    source.values[:, 1] -= 1e-6
    assert fit_channels(source, range(20), [Normalisation(), Normalisation(minimum=0.0)])[1].minimum == 0.0


def test_values_without_a_logarithm_are_refused():
    source = fields()
    source.values[3, 1, 0, 0] = -0.5
    with pytest.raises(InputError, match=r"'tp' must exceed -scale for log1p: got -0\.5 with scale 0\.1"):
        fit_channels(source, range(20), [Normalisation(), Normalisation("log1p", 0.1)])
